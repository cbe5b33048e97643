#!/usr/bin/env python3
"""What whoever runs the gateway relies on: health, metrics, logs without secrets, signals, the command line.

Each check talks to the real program. promtool judges the metrics where it is installed.
"""
import concurrent.futures
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "harness"))
import weir  # noqa: E402

PROMPT = "canary-prompt-7d1f"  # must never be logged
UPSTREAM_SECRET = "canary-upstream-secret-51ac"
KEY = "wr_" + "operate0" * 5

CONFIG = """
listen: 127.0.0.1:{port}
admin:
  listen: 127.0.0.1:{admin_port}
workers: 2
data_dir: {folder}/data
limits:
  drain_deadline: {drain}
key_defaults:
  requests_per_minute: {rate}
upstreams:
  - name: here
    base_url: {upstream}/v1
    api_key: {upstream_secret}
    health_probe: {probe}
models:
  - id: m1
    routes: [here]
    price: {{input: 1, output: 2}}
keys:
  - name: caller
    secret: {key}
"""


class Gateway:
    """One configured gateway whose folder stays while it is stopped and started again."""

    upstream = None  # the address of a mock, one for all

    def __init__(self, **values):
        self.folder = tempfile.mkdtemp(prefix="weir-operate-")
        self.port, self.admin_port = weir.free_port(), weir.free_port()
        self.values = {"drain": "30s", "rate": 1000000, "probe": "0s", **values}
        self.server = None

    def config(self, **values):
        return CONFIG.format(port=self.port, admin_port=self.admin_port, folder=self.folder, key=KEY,
                             upstream_secret=UPSTREAM_SECRET, upstream=self.upstream, **{**self.values, **values})

    def start(self):
        self.server = weir.Server(self.config(), self.folder, self.port)
        return self

    def stop(self):
        status = self.server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        return status

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin_url(self):
        return f"http://127.0.0.1:{self.admin_port}"

    def ask(self, text="Reply with only: ok", **more):
        return weir.fetch(f"{self.url}/v1/responses", "POST", {"model": "m1", "input": text, **more},
                          {"authorization": f"Bearer {KEY}"})

    def command(self, *words, **options):
        return subprocess.run([weir.binary(), *words, "--data-dir", f"{self.folder}/data"], capture_output=True,
                              text=True, timeout=60, check=False, **options)


def health(tally, gateway):
    for url in (gateway.url, gateway.admin_url):
        for path in ("/livez", "/readyz"):
            status, _, _ = weir.fetch(url + path)
            tally.check(f"{path} is 200", status == 200, f"{url} {status}")
    for path, word in (("/llms.txt", b"/responses"), ("/llms-full.txt", b"/responses"), ("/openapi.yaml", b"openapi:")):
        status, _, body = weir.fetch(gateway.url + path)
        tally.check(f"{path} describes the gateway", status == 200 and word in body, f"{status} {body[:200]}")


def exchanges(tally, gateway):
    status, headers, body = gateway.ask(f"ECHO:{PROMPT}")
    tally.check("a request is served", status == 200 and PROMPT.encode() in body, f"{status} {body[:200]}")
    request_id = headers.get("x-request-id", "")
    tally.check("it has an id", re.fullmatch(r"req_\w{26}", request_id) is not None, request_id)
    status, _, _ = weir.fetch(f"{gateway.url}/v1/models", headers={"authorization": "Bearer wr_wrong-canary-key"})
    tally.check("a wrong key is refused", status == 401, str(status))
    return request_id


def metrics(tally, gateway):
    status, headers, body = weir.fetch(f"{gateway.admin_url}/metrics")
    tally.check("/metrics is there", status == 200 and headers["content-type"].startswith("text/plain"), str(status))
    tally.check("/metrics is not public", weir.fetch(f"{gateway.url}/metrics")[0] == 404)
    text = body.decode()
    for secret in (KEY, PROMPT, UPSTREAM_SECRET):
        tally.check("/metrics holds no secret", secret not in text, secret)
    promtool = shutil.which("promtool")
    if promtool is None:
        print("skipped: promtool is not installed")
        return
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    tally.check("promtool accepts the metrics", done.returncode == 0, done.stdout + done.stderr)


def logs(tally, gateway, request_id):
    deadline = time.monotonic() + 5
    while request_id not in gateway.server.errors() and time.monotonic() < deadline:
        time.sleep(0.02)
    text = gateway.server.errors()
    lines = []
    for line in filter(None, text.split("\n")):
        try:
            lines.append(json.loads(line))
        except ValueError:
            tally.check("every line of the log is JSON", False, line)
    line = next((line for line in lines if request_id in line.values()), {})
    tally.check("the exchange is in the log", bool(line), text[-1000:])
    for word in ("m1", "here"):
        tally.check(f"its line names {word}", word in json.dumps(line), str(line))
    for secret in (KEY, PROMPT, UPSTREAM_SECRET, "wr_wrong-canary-key"):
        tally.check("the log holds no secret and no prompt", secret not in text, secret)


def data_at_rest(tally, gateway):
    # Read as bytes: whatever the format, a key or a prompt must not be in it.
    for name in os.listdir(f"{gateway.folder}/data"):
        path = f"{gateway.folder}/data/{name}"
        if not os.path.isfile(path):
            continue
        with open(path, "rb") as file:
            content = file.read()
        for secret in (KEY, PROMPT):
            tally.check("no key and no prompt at rest", secret.encode() not in content, f"{secret} in {name}")
    mode = os.stat(f"{gateway.folder}/data/admin-token").st_mode & 0o777
    tally.check("the admin token is readable by its owner only", mode == 0o600, oct(mode))


def command_line(tally, gateway):
    done = gateway.command("keys", "create", "--name", "made", "--json")
    made = json.loads(done.stdout) if done.returncode == 0 else {}
    secret = made.get("secret") or made.get("key", {}).get("secret", "")
    tally.check("keys create prints a secret", bool(secret), done.stdout + done.stderr)
    use = {"authorization": f"Bearer {secret}"}
    status, _, _ = weir.fetch(f"{gateway.url}/v1/models", headers=use)
    tally.check("and it works at once", status == 200, str(status))
    done = gateway.command("keys", "list", "--json")
    tally.check("keys list names it and hides it", done.returncode == 0 and "made" in done.stdout and
                secret not in done.stdout, done.stdout + done.stderr)
    key_id = made.get("id") or made.get("key", {}).get("id", "")
    done = gateway.command("keys", "revoke", key_id)
    tally.check("keys revoke", done.returncode == 0, done.stdout + done.stderr)
    status, _, body = weir.fetch(f"{gateway.url}/v1/models", headers=use)
    tally.check("a revoked key is refused at once, without a hint", status == 401 and b"evoked" not in body,
                f"{status} {body}")
    done = subprocess.run([weir.binary(), "version", "--json"], capture_output=True, text=True, check=False)
    tally.check("version --json", done.returncode == 0 and "version" in json.loads(done.stdout), done.stdout)
    done = subprocess.run([weir.binary(), "no-such-command"], capture_output=True, text=True, check=False)
    tally.check("a wrong command line is status 2", done.returncode == 2, str(done.returncode))


def validate(tally, gateway):
    path = f"{gateway.folder}/broken.yaml"
    with open(path, "w", encoding="utf-8") as file:
        file.write(gateway.config() + "wrokers: 3\n")
    done = subprocess.run([weir.binary(), "validate", path], capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    tally.check("an unknown option is refused with its line and the fix",
                done.returncode != 0 and "wrokers" in said and re.search(r"broken\.yaml:\d+", said) is not None and
                "workers" in said.replace("wrokers", ""), said)
    tally.check("validate shows no secret", KEY not in said and UPSTREAM_SECRET not in said, said)
    done = subprocess.run([weir.binary(), "serve", "--config", path], capture_output=True, text=True, timeout=20,
                          check=False)
    tally.check("serve refuses it too", done.returncode != 0 and "wrokers" in done.stderr, done.stderr)
    other = tempfile.mkdtemp(prefix="weir-operate-")
    with open(f"{other}/weir.yaml", "w", encoding="utf-8") as file:
        file.write(gateway.config())
    done = subprocess.run([weir.binary(), "serve", "--config", f"{other}/weir.yaml"], capture_output=True, text=True,
                          timeout=20, check=False)
    tally.check("a second process on the same data is refused in one sentence",
                done.returncode == 1 and done.stderr.count("\n") <= 2 and done.stderr.strip(), done.stderr)
    shutil.rmtree(other)


def reload(tally, gateway):
    def keep_asking():
        statuses, end = set(), time.monotonic() + 1.5
        while time.monotonic() < end:
            statuses.add(gateway.ask()[0])
        return statuses

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(keep_asking) for _ in range(4)]
        path = f"{gateway.folder}/weir.yaml"
        for number in range(10):
            text = gateway.config(rate=1000000 + number)
            if number % 3 == 2:
                text += "broken: [\n"
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            gateway.server.child.send_signal(signal.SIGHUP)
            time.sleep(0.1)
        statuses = set().union(*(one.result() for one in asking))
    tally.check("reloads, good and broken, drop no request", statuses == {200}, str(statuses))
    tally.check("and the process goes on", gateway.server.child.poll() is None)


def drain(tally):
    gateway = Gateway(drain="20s").start()
    with socket.create_connection(("127.0.0.1", gateway.port), 20) as peer:
        body = b'{"model":"m1","input":"Count from 1 to 8 slowly","stream":true}'
        peer.sendall(b"POST /v1/responses HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer " + KEY.encode() +
                     b"\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        data = peer.recv(1 << 16)
        gateway.server.child.send_signal(signal.SIGTERM)
        while part := peer.recv(1 << 16):
            data += part
    tally.check("a stream that is open at SIGTERM finishes", b"event: response.completed" in data and
                data.endswith(b"0\r\n\r\n"), data[-300:])
    status = gateway.server.stop()
    tally.check("then the process ends with status 0", status == 0, str(status))
    started = time.monotonic()
    gateway.server = weir.Server(gateway.config(), gateway.folder, gateway.port)
    tally.check("a second start is quick", time.monotonic() - started < 5)
    tally.check("and knows its key", gateway.ask()[0] == 200)
    gateway.stop()


def hard_stop(tally):
    gateway = Gateway(drain="300ms").start()
    with socket.create_connection(("127.0.0.1", gateway.port), 20) as peer:
        body = b'{"model":"m1","input":"Count from 1 to 1000 slowly","stream":true}'
        peer.sendall(b"POST /v1/responses HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer " + KEY.encode() +
                     b"\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        data = peer.recv(1 << 16)
        started = time.monotonic()
        gateway.server.child.send_signal(signal.SIGTERM)
        while part := peer.recv(1 << 16):
            data += part
    tally.check("a stream longer than the drain is cut, and never looks whole",
                b"response.completed" not in data and b"data: " in data, data[-300:])
    status = gateway.server.stop()
    tally.check("within the drain's bound", status == 0 and time.monotonic() - started < 10, str(status))
    gateway.stop()


RUN_TIME_SECRET = "canary-run-time-credential-83e0"


def holds(folder, text):
    """The files under `folder` that hold `text`, read as bytes."""
    found = []
    for path, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(path, name), "rb") as file:
                if text.encode() in file.read():
                    found.append(name)
    return found


def accounts_at_run_time(tally):
    gateway = Gateway().start()

    def accounts(*words, env=None, **options):
        done = gateway.command("accounts", *words, "--json", env={**os.environ, **(env or {})}, **options)
        return done, json.loads(done.stdout) if done.returncode == 0 else {}

    def served(name):
        return accounts("list")[1].get("data") and next(
            account["state"]["served"] for account in accounts("list")[1]["data"] if account["id"] == name)

    done, made = accounts("create", "--upstream", "here", "--name", "extra", "--key-env", "EXTRA",
                          env={"EXTRA": RUN_TIME_SECRET})
    tally.check("an account is made while it runs", made.get("id") == "here/extra" and made["in_force"],
                done.stdout + done.stderr)
    tally.check("its credential is not shown", RUN_TIME_SECRET not in done.stdout + done.stderr and
                made.get("api_key_ends_in") == "83e0", done.stdout)
    # With the account of the file off, only the new one is left to serve.
    done, off = accounts("update", "here", "--disable")
    tally.check("one of the file is switched off", off.get("enabled") is False, done.stdout + done.stderr)
    tally.check("calls are served through the new one", [gateway.ask()[0] for _ in range(3)] == [200] * 3 and
                served("here/extra") == 3, str(served("here/extra")))
    text = weir.fetch(f"{gateway.admin_url}/metrics")[2].decode()
    tally.check("its metrics have a label of their own", 'weir_account_usable{account="here/extra"} 1\n' in text and
                'weir_account_usable{account="here"} 0\n' in text and "weir_pool_usable_accounts" in text, text[-2000:])

    done, cooled = accounts("cool", "here/extra", "--seconds", "30")
    tally.check("it rests when told", cooled.get("state", {}).get("fitness") == "resting", done.stdout + done.stderr)
    status, headers, _ = gateway.ask()
    tally.check("with none left the refusal says when to come back", status in (429, 503) and
                1 <= int(headers.get("retry-after", "0")) <= 30, f"{status} {dict(headers)}")
    accounts("clear", "here/extra")
    tally.check("cleared it serves again", gateway.ask()[0] == 200)

    # A drain lets a call under way finish.
    with socket.create_connection(("127.0.0.1", gateway.port), 20) as peer:
        body = b'{"model":"m1","input":"Count from 1 to 8 slowly","stream":true}'
        peer.sendall(b"POST /v1/responses HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer " + KEY.encode() +
                     b"\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        data = peer.recv(1 << 16)
        done, drained = accounts("drain", "here/extra")
        tally.check("it drains", drained.get("draining") is True and drained["state"]["in_flight"] == 1,
                    done.stdout + done.stderr)
        while not data.endswith(b"0\r\n\r\n") and (part := peer.recv(1 << 16)):
            data += part
    tally.check("the stream under way finishes", b"event: response.completed" in data, data[-300:])
    tally.check("and no new call goes there", gateway.ask()[0] in (429, 503))

    gateway.server.kill()
    tally.check("kill -9 leaves no credential on the disk", holds(f"{gateway.folder}/data", RUN_TIME_SECRET) == [],
                str(holds(f"{gateway.folder}/data", RUN_TIME_SECRET)))
    gateway.server = weir.Server(gateway.config(), gateway.folder, gateway.port)
    _, again = accounts("list", "--source", "api")
    account = (again.get("data") or [{}])[0]
    tally.check("it is there after kill -9, and still draining", account.get("id") == "here/extra" and
                account["draining"] and account["in_force"], str(again))
    accounts("undrain", "here/extra")
    tally.check("and serves once undrained", gateway.ask()[0] == 200 and served("here/extra") == 1)
    gateway.server.child.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    tally.check("a reload of the file keeps it", gateway.ask()[0] == 200 and served("here/extra") == 2)

    # Rotation of the master key: refused beside a running gateway, then wrong key, reseal, start.
    os.rename(f"{gateway.folder}/data/master.key", f"{gateway.folder}/old.key")
    reseal = ("reseal", "--old-key-file", f"{gateway.folder}/old.key")
    done, _ = accounts(*reseal)
    tally.check("reseal beside a running gateway is refused", done.returncode == 1 and "stop" in done.stderr,
                done.stderr)
    log_before = gateway.server.errors()
    gateway.server.stop()
    done = subprocess.run([weir.binary(), "serve", "--config", f"{gateway.folder}/weir.yaml"], capture_output=True,
                          text=True, timeout=20, check=False)
    tally.check("another master key is refused in one sentence with the fix", done.returncode == 1 and
                "reseal" in done.stderr and RUN_TIME_SECRET not in done.stderr, done.stderr)
    done, resealed = accounts(*reseal)
    tally.check("reseal", resealed.get("resealed") == 1, done.stdout + done.stderr)
    os.remove(f"{gateway.folder}/old.key")
    gateway.server = weir.Server(gateway.config(), gateway.folder, gateway.port)
    tally.check("it starts and serves with the new key", gateway.ask()[0] == 200)
    tally.check("no log line holds the credential", RUN_TIME_SECRET not in log_before + gateway.server.errors())
    done, _ = accounts("delete", "here/extra")
    tally.check("deleted it is gone", done.returncode == 0 and
                "here/extra" not in [one["id"] for one in accounts("list")[1]["data"]], done.stderr)
    tally.check("the credential is nowhere in the folder", holds(gateway.folder, RUN_TIME_SECRET) == [],
                str(holds(gateway.folder, RUN_TIME_SECRET)))
    gateway.stop()


def receipts(tally):
    gateway = Gateway().start()
    owner = {"authorization": f"Bearer {KEY}"}
    done = gateway.command("keys", "create", "--name", "other", "--json")
    other = {"authorization": "Bearer " + json.loads(done.stdout)["secret"]}

    def receipt(request_id, headers, prefix="/v1"):
        status, _, body = weir.fetch(f"{gateway.url}{prefix}/requests/{request_id}", headers=headers)
        return status, body

    def verify(body, *options):
        path = f"{gateway.folder}/receipt.json"
        with open(path, "wb") as file:
            file.write(body)
        return subprocess.run([weir.binary(), "receipt", "verify", path, *options], capture_output=True, text=True,
                              timeout=60, check=False)

    # Right behind the reply, on another connection: each one must be there.
    waits = []
    for _ in range(20):
        status, headers, _ = gateway.ask()
        began = time.monotonic()
        found, body = receipt(headers["x-request-id"], owner)
        waits.append(time.monotonic() - began)
        tally.check("a receipt is there when the reply is", status == 200 and found == 200, f"{found} {body[:300]}")
    print(f"receipts: found after {sorted(waits)[10] * 1000:.1f} ms at the median, {max(waits) * 1000:.1f} ms at most")
    request_id = headers["x-request-id"]
    told = json.loads(body)
    tally.check("it names request, key and price", told["id"] == request_id and told["key"]["name"] == "caller" and
                told["price"]["output_pico_usd"] == "2000000", str(told))
    cost = told["usage"]["input_tokens"] * 1000 + told["usage"]["output_tokens"] * 2000
    tally.check("its charge is usage times price", told["charge"]["charged_nano_usd"] == str(cost) != "0", str(told))
    tally.check("it names the records of the ledger",
                0 < told["ledger"]["hold_position"] < told["ledger"]["settle_position"], str(told["ledger"]))
    tally.check("it is under /openai too, and without its prefix",
                receipt(request_id, owner, "/openai/v1")[0] == receipt(request_id[4:], owner)[0] == 200)
    for secret in (KEY, UPSTREAM_SECRET, "Reply with only"):
        tally.check("it holds no secret and no prompt", secret not in body.decode(), secret)

    status, others = receipt(request_id, other)
    nothing = receipt("req_" + "0" * 26, other)
    tally.check("another key gets 404", status == 404 and b"request_not_found" in others, f"{status} {others}")
    strip = re.compile(rb'"request_id":"[^"]*"')
    tally.check("the same as of nothing", nothing[0] == 404 and strip.sub(b"", nothing[1]) == strip.sub(b"", others),
                f"{nothing} {others}")
    tally.check("without a key there is none", receipt(request_id, {})[0] == 401)

    key = gateway.command("receipt", "key").stdout.strip()
    status, _, public = weir.fetch(f"{gateway.url}/.well-known/receipt-key")
    tally.check("the key is published", status == 200 and json.loads(public)["public_key"] == key, f"{public} {key}")
    good = verify(body, "--key", key)
    tally.check("it is verified offline", good.returncode == 0 and request_id in good.stdout, good.stdout + good.stderr)
    tally.check("also when it was indented", verify(json.dumps(told, indent=2).encode(), "--key", key).returncode == 0)
    at = body.index(b'"charged_nano_usd":"') + 20
    bad = verify(body[:at] + (b"9" if body[at:at + 1] != b"9" else b"8") + body[at + 1:], "--key", key)
    tally.check("with one digit changed it is not", bad.returncode == 1 and "signature does not fit" in bad.stderr and
                "charged_nano_usd" in bad.stderr, bad.stdout + bad.stderr)
    tally.check("nor with another's key", verify(body, "--key", "00" * 32).returncode == 1)
    shown = gateway.command("receipt", "show", request_id)
    tally.check("the operator sees the account", json.loads(shown.stdout or "{}").get("account") == "here" and
                verify(shown.stdout.encode(), "--key", key).returncode == 0, shown.stdout + shown.stderr)

    # A refused request has one, too.
    status, headers, _ = weir.fetch(f"{gateway.url}/v1/responses", "POST", {"model": "nope", "input": "x"}, owner)
    found, body = receipt(headers["x-request-id"], owner)
    tally.check("a refusal has a receipt", status == 404 and found == 200 and
                json.loads(body)["refusal"]["code"] == "model_not_found" and json.loads(body)["ledger"] is None and
                verify(body, "--key", key).returncode == 0, f"{found} {body}")

    # A caller that hangs up in the middle of a stream.
    text = json.dumps({"model": "m1", "stream": True, "input": "Count from 1 to 1000 slowly"})
    with socket.create_connection(("127.0.0.1", gateway.port)) as caller:
        caller.sendall((f"POST /v1/responses HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
                        f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n{text}").encode())
        seen = b""
        while b"output_text.delta" not in seen:
            piece = caller.recv(4096)
            if not piece:
                break
            seen += piece
    request_id = re.search(rb"x-request-id: (req_\w{26})", seen).group(1).decode()
    found, body = receipt(request_id, owner)
    told = json.loads(body)
    tally.check("a hung-up stream's receipt names the rule", found == 200 and told["ending"] == "caller_gone" and
                told["hang_up"] == {"rule": "abort_and_bill_observed", "applied": True} and
                told["usage"]["source"] == "checkpoint", f"{found} {body}")
    tally.check("and holds", verify(body, "--key", key).returncode == 0, verify(body, "--key", key).stderr)

    # The key stays: receipts from before a restart are checked with the same one.
    gateway.server.stop()
    gateway.start()
    tally.check("a restart keeps the key", gateway.command("receipt", "key").stdout.strip() == key)
    tally.check("and the receipts", receipt(request_id, owner)[0] == 200)
    mode = os.stat(f"{gateway.folder}/data/receipt.key").st_mode & 0o777
    tally.check("its file is private", mode == 0o600, oct(mode))
    gateway.stop()


def rate_limit(tally):
    gateway = Gateway(rate=100).start()
    replies = [gateway.ask() for _ in range(140)]
    statuses = [status for status, _, _ in replies]
    refused = [headers for status, headers, _ in replies if status == 429]
    tally.check("100 requests a minute are served and not many more", 100 <= statuses.count(200) <= 110,
                f"{statuses.count(200)} of {len(statuses)}")
    tally.check("the rest is 429 with retry-after", refused and all(
        re.fullmatch(r"[1-9]\d?", headers.get("retry-after", "")) for headers in refused),
        str([headers.get("retry-after") for headers in refused][:5]))
    tally.check("with the limits in the headers", replies[0][1].get("x-ratelimit-limit-requests") == "100",
                str(dict(replies[0][1])))
    gateway.stop()


def main():
    tally = weir.Tally()
    folder = tempfile.mkdtemp(prefix="weir-operate-")
    mock = weir.Process([weir.binary(), "mock-upstream", "--port", "0"], folder, "mock")
    Gateway.upstream = json.loads(mock.read_line())["url"]
    try:
        run(tally)
    finally:
        mock.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return tally.finish()


def health_probes(tally):
    """An account is asked for its models in the background: a refused credential is found before a call is."""
    def control(method, body=None):
        weir.fetch(f"{Gateway.upstream}/_control", method, body)

    def eventually(name, held):
        end = time.monotonic() + 15
        while not (good := held()) and time.monotonic() < end:
            time.sleep(0.05)
        tally.check(name, good, weir.fetch(f"{gateway.admin_url}/metrics")[2].decode()[-1500:])

    def counts(line):
        return any(found.startswith(line) and int(found.rsplit(" ", 1)[1]) > 0
                   for found in weir.fetch(f"{gateway.admin_url}/metrics")[2].decode().splitlines())

    def fitness():
        data = json.loads(gateway.command("accounts", "list", "--json").stdout)["data"]
        return data[0]["state"]["fitness"]

    control("POST", {"match": {"path": "/models"}, "fault": {"status": 401, "body": "invalid_api_key"}})
    gateway = Gateway(probe="1s").start()
    try:
        eventually("a credential that is refused is found without a call",
                   lambda: counts('weir_account_probes_total{result="auth_dead"}') and fitness() == "resting")
        tally.check("no call is spent on it", gateway.ask()[0] == 503)
        control("DELETE")
        control("POST", {"match": {"path": "/models"}, "fault": {"status": 200, "body_text": '{"data":[]}'}})
        eventually("it is taken back when it is accepted again",
                   lambda: counts('weir_account_probes_total{result="served"}') and fitness() != "resting")
        tally.check("and serves", gateway.ask()[0] == 200)
    finally:
        control("DELETE")
        gateway.stop()


def ledger_of_a_running_gateway(tally):
    """`weir ledger` under load: what it says holds, nothing it does keeps a caller from an answer."""
    gateway = Gateway().start()
    statuses, stop = [], threading.Event()

    def call():
        while not stop.is_set():
            statuses.append(gateway.ask("Reply with only: x")[0])

    def ledger(*words):
        done = gateway.command("ledger", *words)
        tally.check(f"ledger {words[0]} of a running gateway", done.returncode == 0, done.stdout + done.stderr)
        return done.stdout

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    try:
        while len(statuses) < 50 and gateway.server.child.poll() is None:
            time.sleep(0.01)
        anchors = []
        for _ in range(3):
            before = len(statuses)
            anchors.append(ledger("anchor"))
            verified = json.loads(ledger("verify", "--json"))
            tally.check("it is good", verified["good"] is True, str(verified))
            tally.check("and not behind what its anchor says",
                        verified["records"] >= json.loads(anchors[-1])["position"], str(verified))
            while len(statuses) == before and gateway.server.child.poll() is None:
                time.sleep(0.01)
        path = f"{gateway.folder}/anchor.json"
        with open(path, "w", encoding="utf-8") as file:
            file.write(anchors[0])
        tally.check("an anchor of before holds", "holds" in ledger("verify", "--anchor", path))
        positions = [json.loads(line)["position"] for line in ledger("export").splitlines()]
        tally.check("export has every record once", positions == list(range(1, len(positions) + 1)),
                    str(positions[:5]))
        [balance] = json.loads(ledger("balance", "caller", "--json"))
        tally.check("a key is found by its name", balance["name"] == "caller" and float(balance["spent_usd"]) > 0,
                    str(balance))
        charges = [line for line in ledger("statement", "caller", "--json").splitlines() if '"settle"' in line]
        tally.check("the statement goes on behind it", charges and
                    sum(round(float(json.loads(line)["charged_usd"]) * 1e9) for line in charges)
                    >= round(float(balance["spent_usd"]) * 1e9), str(balance))
        tally.check("the trial balance balances", json.loads(ledger("trial-balance", "--json"))["balanced"])
        with open(f"{gateway.folder}/data/admin-token", encoding="utf-8") as file:
            token = file.read().strip()
        status, _, body = weir.fetch(f"{gateway.admin_url}/admin/v1/ledger/anchor",
                                     headers={"authorization": f"Bearer {token}"})
        with open(path, "wb") as file:
            file.write(body)
        tally.check("the API has an anchor, too", status == 200 and "holds" in ledger("verify", "--anchor", path),
                    f"{status} {body[:200]}")
    finally:
        stop.set()
        for caller in callers:
            caller.join()
        folder = gateway.folder
        gateway.server.stop()
    tally.check("every call was served meanwhile", set(statuses) == {200}, str(sorted(set(statuses))))
    # Stopped, the same commands read the file: the last anchor of the running one holds there.
    done = gateway.command("ledger", "verify", "--anchor", path)
    tally.check("the anchor holds for the file", done.returncode == 0 and "holds" in done.stdout,
                done.stdout + done.stderr)
    tally.check("every call is in it", f"settle={len(statuses)}" in done.stdout, done.stdout)
    shutil.rmtree(folder, ignore_errors=True)


def run(tally):
    gateway = Gateway().start()
    try:
        health(tally, gateway)
        request_id = exchanges(tally, gateway)
        metrics(tally, gateway)
        logs(tally, gateway, request_id)
        data_at_rest(tally, gateway)
        command_line(tally, gateway)
        validate(tally, gateway)
        reload(tally, gateway)
    finally:
        status = gateway.stop()
    tally.check("SIGTERM ends it with status 0", status == 0, str(status))
    drain(tally)
    hard_stop(tally)
    rate_limit(tally)
    accounts_at_run_time(tally)
    health_probes(tally)
    receipts(tally)
    ledger_of_a_running_gateway(tally)


if __name__ == "__main__":
    sys.exit(main())
