#!/usr/bin/env python3
"""Events told by signed webhooks, end to end: the real program, and receivers that behave and misbehave.

The signature is checked by an HMAC of this file's own. Nothing is waited for but conditions; the one clock is
the gateway's, whose first retry comes after five seconds. `--events N` is how many go through the storm.
"""
import argparse
import base64
import collections
import concurrent.futures
import hashlib
import hmac
import http.server
import json
import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "harness"))
import weir  # noqa: E402

PATH_CANARY = "canary-path-b81f"  # part of every URL: must never be shown
SECRETS = {name: "whsec_" + base64.b64encode(bytes([index]) * 32).decode()
           for index, name in enumerate(("one", "two"), start=1)}
PATIENCE = 25  # seconds; only a failure waits so long


def key_of(secret):
    return base64.b64decode(secret.removeprefix("whsec_"))


def signed_with(delivery, secret):
    text = f"{delivery.headers['webhook-id']}.{delivery.headers['webhook-timestamp']}.".encode() + delivery.body
    wanted = base64.b64encode(hmac.new(key_of(secret), text, hashlib.sha256).digest()).decode()
    given = [part.split(",", 1) for part in delivery.headers["webhook-signature"].split(" ")]
    return any(version == "v1" and hmac.compare_digest(value, wanted) for version, value in given)


class Delivery:
    def __init__(self, path, headers, body):
        self.path, self.headers, self.body, self.at = path, headers, body, time.time()

    @property
    def id(self):
        return self.headers["webhook-id"]

    @property
    def event(self):
        return json.loads(self.body)


class Receiver:
    """An HTTP server on a free port. What it does with a delivery is a function, by the first part of the path."""

    def __init__(self, tls=None, port=0):
        self.got, self.acts, self.changed = [], {}, threading.Condition()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                delivery = Delivery(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
                with outer.changed:
                    outer.got.append(delivery)
                    outer.changed.notify_all()
                    act = outer.acts.get(self.path.split("/")[1], answer(204))
                act(self, delivery)

            def do_GET(self):
                with outer.changed:
                    outer.got.append(Delivery("GET " + self.path, {}, b""))
                self.send_error(404)

            def log_message(self, *_):
                pass

        class Quiet(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_):
                pass  # a gateway that was killed in the middle

        self.server = Quiet(("127.0.0.1", port), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.scheme = "https" if tls else "http"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def url(self, name, host="127.0.0.1"):
        return f"{self.scheme}://{host}:{self.port}/{name}/{PATH_CANARY}?token={PATH_CANARY}"

    def at(self, name):
        with self.changed:
            return [delivery for delivery in self.got if delivery.path.split("/")[1] == name]

    def wait(self, name, count=1, seconds=PATIENCE):
        """The deliveries at `name` once there are `count`, or those there are."""
        with self.changed:
            self.changed.wait_for(lambda: len([d for d in self.got if d.path.split("/")[1] == name]) >= count, seconds)
        return self.at(name)

    def act(self, name, act):
        with self.changed:
            self.acts[name] = act

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def answer(status, headers=(), body=b""):
    def act(handler, _):
        handler.send_response(status)
        for name, value in headers:
            handler.send_header(name, value)
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)
    return act


def first_then(first, then):
    """Another answer for the first delivery of each id."""
    seen, lock = set(), threading.Lock()

    def act(handler, delivery):
        with lock:
            new = delivery.id not in seen
            seen.add(delivery.id)
        (first if new else then)(handler, delivery)
    return act


def reset(handler, _):
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True
    handler.connection.close()


class Hang:
    def __init__(self):
        self.over = threading.Event()

    def __call__(self, handler, _):
        self.over.wait(60)
        handler.close_connection = True


CONFIG = """
listen: 127.0.0.1:{port}
admin:
  listen: 127.0.0.1:{admin_port}
workers: 2
data_dir: {folder}/data
upstreams:
  - name: sandbox
    kind: sandbox
  - name: away
    base_url: http://127.0.0.1:{closed_port}/v1
    api_key: canary-upstream-secret-77
    health_probe: 0s
models:
  - id: m1
    routes: [sandbox]
    price: {{input: 1, output: 2}}
  - id: m2
    routes: [away]
    price: {{input: 1, output: 2}}
packages:
  - name: prepaid
    pools: [default]
    wallet: quota_tokens
    wallet_low: 100000
  - name: open
    pools: [default]
keys:
  - name: payer
    secret: wr_payerpayerpayerpayer
    package: prepaid
    prepaid: 100001
  - name: other
    secret: wr_otherotherotherother
    package: open
{webhooks}
"""


class Gateway:
    def __init__(self, webhooks):
        self.folder = tempfile.mkdtemp(prefix="weir-webhooks-")
        self.port, self.admin_port, self.closed_port = weir.free_port(), weir.free_port(), weir.free_port()
        self.webhooks = webhooks
        self.server = None

    def config(self):
        lines = ["webhooks:"] if self.webhooks else []
        for hook in self.webhooks:
            lines.append(f"  - name: {hook['name']}")
            lines.append(f"    url: \"{hook['url']}\"")
            lines.append(f"    secret: \"{hook.get('secret', SECRETS['one'])}\"")
            lines.append(f"    events: [{', '.join(hook.get('events', []))}]")
            lines.append(f"    allow_private: {'true' if hook.get('private', True) else 'false'}")
        return CONFIG.format(port=self.port, admin_port=self.admin_port, folder=self.folder,
                             closed_port=self.closed_port, webhooks="\n".join(lines))

    def start(self):
        self.server = weir.Server(self.config(), self.folder, self.port)
        return self

    def reload(self, webhooks):
        self.webhooks = webhooks
        with open(f"{self.folder}/weir.yaml", "w", encoding="utf-8") as file:
            file.write(self.config())
        before = self.log().count("reload")
        self.server.child.send_signal(signal.SIGHUP)
        return wait_until(lambda: self.log().count("reload") > before)

    def log(self):
        with open(self.server.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def admin(self, method, path, body=None):
        with open(f"{self.folder}/data/admin-token", encoding="utf-8") as file:
            token = file.read().strip()
        status, _, reply = weir.fetch(f"http://127.0.0.1:{self.admin_port}/admin/v1{path}", method, body,
                                      {"authorization": f"Bearer {token}"})
        return status, json.loads(reply or b"null")

    def test(self, name):
        """Sends a test event; the id of the event, and of its delivery."""
        status, delivery = self.admin("POST", f"/webhooks/{name}/test")
        assert status == 202, (status, delivery)
        return delivery["event_id"], delivery["id"]

    def deliveries(self, query=""):
        return self.admin("GET", f"/webhooks/deliveries?limit=1000{query}")[1]["data"]

    def delivery(self, delivery_id):
        return next(one for one in self.deliveries() if one["id"] == delivery_id)

    def endpoint(self, name):
        return next(one for one in self.admin("GET", "/webhooks")[1]["data"] if one["name"] == name)

    def ask(self, key, model, **more):
        return weir.fetch(f"http://127.0.0.1:{self.port}/v1/responses", "POST",
                          {"model": model, "input": "Reply with only: ok", "max_output_tokens": 300, **more},
                          {"authorization": f"Bearer {key}"})

    def command(self, *words):
        return subprocess.run([weir.binary(), "webhooks", *words, "--data-dir", f"{self.folder}/data"],
                              capture_output=True, text=True, timeout=60, check=False)

    def stop(self):
        status = self.server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        return status


def wait_until(condition, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())


def test_events(tally, gateway, receiver):
    event_id, delivery_id = gateway.test("plain")
    got = receiver.wait("plain")
    if not tally.check("a test event arrives", len(got) == 1, gateway.server.errors()):
        return
    one = got[0]
    tally.check("signed, by an HMAC of the test's own", signed_with(one, SECRETS["one"]), str(one.headers))
    tally.check("and by no other secret", not signed_with(one, SECRETS["two"]))
    tally.check("with the id of the event", one.id == event_id and re.fullmatch(r"evt_[0-9A-Z]{26}", one.id), one.id)
    tally.check("with the time of the attempt", abs(int(one.headers["webhook-timestamp"]) - one.at) < 30, "")
    tally.check("as JSON", one.headers["content-type"] == "application/json", str(one.headers))
    tally.check("type, timestamp and data, and nothing else",
                list(one.event) == ["type", "timestamp", "data"] and one.event["type"] == "webhook.test" and
                one.event["data"]["endpoint"] == "plain", one.body)
    tally.check("the query of the URL is sent", one.path.endswith(f"?token={PATH_CANARY}"), one.path)
    tally.check("and it is said to have arrived",
                wait_until(lambda: gateway.delivery(delivery_id)["state"] == "delivered"), "")


def happenings(tally, gateway, receiver):
    _, made = gateway.admin("POST", "/keys", {"name": "told"})
    key_id = made["key"]["id"]
    gateway.admin("DELETE", f"/keys/{key_id}")
    status, _, body = gateway.ask("wr_payerpayerpayerpayer", "m1")
    tally.check("a prepaid call is served", status == 200, body[:300])
    for _ in range(3):  # an account that nobody answers at comes to rest
        gateway.ask("wr_otherotherotherother", "m2")
    wanted = {"key.created", "key.revoked", "wallet.low", "account.rested"}
    wait_until(lambda: wanted <= {one.event["type"] for one in receiver.at("everything")})
    told = {one.event["type"]: one.event["data"] for one in receiver.at("everything")}
    tally.check("all that happens is told", wanted <= set(told), str(sorted(told)))
    tally.check("a key by its id and name, without its secret",
                told["key.created"].get("id") == key_id and told["key.created"]["name"] == "told" and
                made["secret"] not in json.dumps(told), str(told["key.created"]))
    tally.check("a wallet by its owner", told["wallet.low"].get("left", 10 ** 9) < 100000 and
                told["wallet.low"]["owner"].startswith("key:"), str(told["wallet.low"]))
    tally.check("an account by its name", told["account.rested"].get("account") == "away", str(told["account.rested"]))
    only = {one.event["type"] for one in receiver.at("money")}
    tally.check("an endpoint gets what it wants and nothing else", only == {"wallet.low"}, str(only))
    tally.check("each of them signed", all(signed_with(one, SECRETS["one"]) for one in receiver.at("everything")))


def faults(tally, gateway, receiver, resetting):
    """Each endpoint meets its fault once and is well after it: all of them at the same time."""
    elsewhere = Receiver()
    hang = Hang()
    acts = {"error": answer(500, body=b"canary-reply"), "redirect": answer(302, [("location", elsewhere.url("x"))]),
            "reset": reset, "busy": answer(429, [("retry-after", "6")]), "hang": hang, "slow": None}

    def slow(handler, delivery):
        hang.over.wait(1.5)
        answer(200, body=b"x" * 2_000_000)(handler, delivery)
    # A reset is on a receiver of its own: on a connection that was used before, the request is sent once more at
    # once, and nothing has failed.
    at = {name: resetting if name == "reset" else receiver for name in acts}
    for name, act in acts.items():
        at[name].act(name, slow if name == "slow" else first_then(act, answer(204)))
    begun = {name: gateway.test(name) for name in acts}
    started = time.monotonic()
    quick, _ = gateway.test("plain")
    tally.check("receivers in trouble hold up no other",
                wait_until(lambda: quick in [one.id for one in receiver.at("plain")], 3),
                f"{time.monotonic() - started:.1f} s")
    tally.check("a slow one is waited for, however much it says",
                wait_until(lambda: gateway.delivery(begun["slow"][1])["state"] == "delivered"), "")
    for name in ("error", "redirect", "reset", "busy"):
        event_id, delivery_id = begun[name]
        got = at[name].wait(name, 2)
        tally.check(f"{name}: tried again", len(got) == 2, f"{len(got)} {gateway.delivery(delivery_id)}")
        if len(got) < 2:
            continue
        wait = got[1].at - got[0].at
        least = 6.0 if name == "busy" else 4.5
        tally.check(f"{name}: after the time it should", least <= wait <= least + 4, f"{wait:.2f} s")
        tally.check(f"{name}: with the same id and body, signed anew",
                    {got[0].id, got[1].id} == {event_id} and got[0].body == got[1].body and
                    got[0].headers["webhook-timestamp"] != got[1].headers["webhook-timestamp"] and
                    signed_with(got[1], SECRETS["one"]), "")
        tally.check(f"{name}: and it is done",
                    wait_until(lambda d=delivery_id: gateway.delivery(d)["state"] == "delivered"), "")
        tally.check(f"{name}: after two attempts", gateway.delivery(delivery_id)["attempts"] == 2, "")
    tally.check("a redirect is not followed", not elsewhere.got, str([one.path for one in elsewhere.got]))
    elsewhere.close()
    hung = begun["hang"][1]
    tally.check("no reply within fifteen seconds is a failure",
                wait_until(lambda: gateway.delivery(hung)["attempts"] == 1) and
                14 <= time.monotonic() - started <= 22, f"{time.monotonic() - started:.1f} s")
    tally.check("and is said so", gateway.delivery(hung)["last_status"] is None and
                "time" in (gateway.delivery(hung)["last_error"] or ""), str(gateway.delivery(hung)))
    hang.over.set()
    tally.check("what a receiver says is shown nowhere", "canary-reply" not in json.dumps(gateway.deliveries()), "")


def gone(tally, gateway, receiver):
    before = len(receiver.at("gone"))
    receiver.act("gone", answer(410))
    _, first = gateway.test("gone")
    tally.check("410 disables an endpoint", wait_until(lambda: gateway.endpoint("gone")["state"] == "disabled"), "")
    gateway.admin("POST", "/keys", {"name": "while-gone"})
    held = gateway.deliveries("&endpoint=gone&state=disabled")
    tally.check("what happens meanwhile is held back", len(held) == 2 and len(receiver.at("gone")) == before + 1,
                str(held))
    status, problem = gateway.admin("POST", "/webhooks/gone/test")
    tally.check("and a test is refused, with what to do", status == 409 and "Enable" in problem["detail"], str(problem))
    tally.check("the log says so once", gateway.log().count("webhook endpoint disabled") == 1, "")
    receiver.act("gone", answer(204))
    done = gateway.command("enable", "gone")
    tally.check("weir webhooks enable", done.returncode == 0 and "2 deliveries" in done.stdout,
                done.stdout + done.stderr)
    got = receiver.wait("gone", before + 3)[before:]
    tally.check("brings back what was held", len(got) == 3 and got[0].id in {got[1].id, got[2].id}, str(len(got)))
    tally.check("and it is well", wait_until(lambda: gateway.endpoint("gone")["state"] == "ok"), "")
    tally.check("the first one too", gateway.delivery(first)["state"] == "delivered", "")


def command_line(tally, gateway, receiver):
    done = gateway.command("test", "plain")
    tally.check("weir webhooks test says that it arrived", done.returncode == 0 and "status 204" in done.stdout,
                done.stdout + done.stderr)
    receiver.act("broken", answer(500))
    done = gateway.command("test", "broken")
    tally.check("or that it did not, with status 1", done.returncode == 1 and "it answered 500" in done.stderr,
                done.stdout + done.stderr)
    receiver.act("broken", answer(204))
    failed = next(one["id"] for one in gateway.deliveries("&endpoint=broken"))
    done = gateway.command("retry", failed)
    tally.check("weir webhooks retry", done.returncode == 0, done.stdout + done.stderr)
    tally.check("sends it again", wait_until(lambda: gateway.delivery(failed)["state"] == "delivered"), "")
    done = gateway.command("retry", failed, "--json")
    tally.check("also one that had arrived, by its id", done.returncode == 0 and json.loads(done.stdout)["id"] == failed,
                done.stdout + done.stderr)
    got = receiver.wait("broken", 3)
    tally.check("always with the same webhook-id", len({one.id for one in got}) == 1 and len(got) == 3, str(len(got)))
    done = gateway.command("list")
    tally.check("weir webhooks list", done.returncode == 0 and "plain" in done.stdout and
                f"http://127.0.0.1:{receiver.port}" in done.stdout and PATH_CANARY not in done.stdout, done.stdout)
    done = gateway.command("deliveries", "--state", "delivered", "--endpoint", "plain")
    tally.check("weir webhooks deliveries", done.returncode == 0 and "webhook.test" in done.stdout, done.stdout)
    done = gateway.command("test", "nobody")
    tally.check("an unknown name is one sentence", done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr)


def private_addresses(tally, gateway, receiver):
    for name in ("shut-out", "shut-out-by-name"):
        _, delivery_id = gateway.test(name)
        wait_until(lambda d=delivery_id: gateway.delivery(d)["attempts"] == 1)
        one = gateway.delivery(delivery_id)
        tally.check(f"{name}: no address of this machine", one["state"] == "pending" and
                    "private network" in (one["last_error"] or ""), str(one))
    tally.check("and nothing came there", not receiver.at("shut-out") and not receiver.at("shut-out-by-name"))


def encrypted(tally, gateway, trusted, untrusted):
    event_id, _ = gateway.test("tls")
    got = trusted.wait("tls")
    tally.check("over TLS to a certificate that is trusted", len(got) == 1 and got[0].id == event_id and
                signed_with(got[0], SECRETS["one"]), str(gateway.deliveries("&endpoint=tls")))
    for name in ("tls-untrusted", "tls-other-name"):
        _, delivery_id = gateway.test(name)
        wait_until(lambda d=delivery_id: gateway.delivery(d)["attempts"] == 1)
        tally.check(f"{name}: refused", "TLS" in (gateway.delivery(delivery_id)["last_error"] or ""),
                    str(gateway.delivery(delivery_id)))
    tally.check("and nothing was said to it", not untrusted.got and len(trusted.got) == 1)


def reloads(tally, gateway, receiver, hooks):
    receiver.act("moves", answer(503))
    event_id, delivery_id = gateway.test("moves")
    wait_until(lambda: gateway.delivery(delivery_id)["attempts"] == 1)
    # Two secrets for one endpoint, another URL for one, one that goes and one that is new.
    changed = [hook for hook in hooks if hook["name"] not in ("money", "moves")]
    changed += [{"name": "moves", "url": receiver.url("moved"), "events": ["webhook.test"]},
                {"name": "fresh", "url": receiver.url("fresh"), "events": ["webhook.test"]}]
    for hook in changed:
        if hook["name"] == "plain":
            hook["secret"] = f"{SECRETS['two']} {SECRETS['one']}"
    tally.check("a reload is taken", gateway.reload(changed), gateway.server.errors())
    text = gateway.log()
    tally.check("and names what changed without showing it", "webhooks.fresh added" in text and
                "webhooks.moves.url changed" in text and "webhooks.plain.secret changed" in text, text[-1500:])
    gateway.test("plain")
    wait_until(lambda: any(signed_with(one, SECRETS["two"]) for one in receiver.at("plain")))
    last = receiver.at("plain")[-1]
    tally.check("two secrets sign both: who knows either accepts", signed_with(last, SECRETS["one"]) and
                signed_with(last, SECRETS["two"]) and last.headers["webhook-signature"].count("v1,") == 2,
                last.headers["webhook-signature"])
    gateway.test("fresh")
    tally.check("a new endpoint is told", len(receiver.wait("fresh")) == 1)
    tally.check("one that went is no more", "money" not in [one["name"] for one in gateway.admin("GET", "/webhooks")[1]["data"]])
    got = receiver.wait("moved")
    tally.check("what was pending goes to the new address", len(got) == 1 and got[0].id == event_id,
                str(gateway.delivery(delivery_id)))
    broken = [dict(hook, secret="whsec_canary") if hook["name"] == "plain" else hook for hook in changed]
    gateway.reload(broken)
    tally.check("a broken file changes nothing", "reload refused" in gateway.log() and
                gateway.endpoint("plain")["state"] == "ok", gateway.log()[-800:])
    gateway.reload(changed)


def killed(tally, gateway, receiver):
    """kill -9 between an event and its delivery, and between a delivery and its being written down."""
    hang = Hang()
    receiver.act("killed", hang)
    before = len(receiver.at("killed"))
    told = {gateway.test("killed")[0] for _ in range(3)}
    _, made = gateway.admin("POST", "/keys", {"name": "before-the-kill"})  # its response says it is on disk
    first = receiver.wait("killed", before + 3)[before:]
    tally.check("they have left", told <= {one.id for one in first}, str(len(first)))
    gateway.server.kill()
    hang.over.set()
    receiver.act("killed", answer(204))
    gateway.start()
    wait_until(lambda: not gateway.deliveries("&endpoint=killed&state=pending"))
    ids = collections.Counter(one.id for one in receiver.at("killed")[before:])
    tally.check("all of them arrive after the kill", told <= set(ids) and
                any(one.event["data"].get("id") == made["key"]["id"] for one in receiver.at("killed")), str(ids))
    tally.check("those that had left again, with the id by which a receiver knows", max(ids.values()) >= 2 and
                len(ids) == 4, str(ids))
    tally.check("and none is failed", not gateway.deliveries("&endpoint=killed&state=failed"))


def storm(tally, gateway, receiver, count):
    """Many events, a receiver that fails each fifth of them once, two kills: each arrives, under one id."""
    faulty = {0: answer(500), 1: reset, 2: answer(404)}  # none that asks for a pause, which takes its time

    seen, lock = collections.Counter(), threading.Lock()

    def act(handler, delivery):
        number = int(hashlib.sha256(delivery.id.encode()).hexdigest(), 16)
        with lock:
            seen[delivery.id] += 1
            first = seen[delivery.id] == 1
        if number % 5 == 0 and first:
            return faulty[number // 5 % 3](handler, delivery)
        return answer(204)(handler, delivery)
    receiver.act("storm", act)
    told = set()
    for round_ in range(3):
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            told |= {event_id for event_id, _ in pool.map(lambda _: gateway.test("storm"), range(count // 3))}
        if round_ < 2:
            gateway.server.kill()
            gateway.start()
    done = wait_until(lambda: not gateway.deliveries("&endpoint=storm&state=pending"), 60 + count / 20)
    got = receiver.at("storm")
    ids = collections.Counter(one.id for one in got)
    tally.check(f"{count} events, each delivered at least once", done and set(ids) == told,
                f"{len(ids)} of {len(told)}; {len(got)} deliveries")
    tally.check("every one of them signed", all(signed_with(one, SECRETS["one"]) for one in got))
    tally.check("and none was given up", not gateway.deliveries("&endpoint=storm&state=failed"), "")


def nothing_leaks(tally, gateway):
    secrets = [*SECRETS.values(), PATH_CANARY, "canary-upstream-secret-77"]
    text = gateway.log()
    _, webhooks = gateway.admin("GET", "/webhooks")
    _, config = gateway.admin("GET", "/config")
    _, _, metrics = weir.fetch(f"http://127.0.0.1:{gateway.admin_port}/metrics")
    for secret in secrets:
        tally.check("no secret in the log", secret not in text, secret)
        tally.check("none in the admin API", secret not in json.dumps([webhooks, config, gateway.deliveries()]), secret)
        tally.check("none in the metrics", secret.encode() not in metrics, secret)
        for name in os.listdir(f"{gateway.folder}/data"):
            with open(f"{gateway.folder}/data/{name}", "rb") as file:
                tally.check("none at rest", secret.encode() not in file.read(), f"{secret} in {name}")
    tally.check("the metrics count deliveries", re.search(rb'weir_webhook_deliveries_total\{outcome="delivered"\} [1-9]',
                                                          metrics) is not None, metrics[-2000:])
    promtool = shutil.which("promtool")
    if promtool:
        done = subprocess.run([promtool, "check", "metrics"], input=metrics.decode(), capture_output=True, text=True,
                              check=False)
        tally.check("promtool accepts them", done.returncode == 0, done.stdout + done.stderr)


def without_webhooks(tally):
    gateway = Gateway([]).start()
    threads = [open(f"/proc/{gateway.server.child.pid}/task/{task}/comm", encoding="utf-8").read().strip()
               for task in os.listdir(f"/proc/{gateway.server.child.pid}/task")]
    tally.check("without webhooks there is no thread for them", "weir-webhooks" not in threads and "weir-admin" in threads,
                str(threads))
    tally.check("and no file", "webhooks.db" not in os.listdir(f"{gateway.folder}/data"))
    status, listed = gateway.admin("GET", "/webhooks")
    tally.check("and the list is empty", status == 200 and listed["data"] == [], str(listed))
    gateway.stop()


def certificate(folder, name, host):
    """A key and a certificate that signs itself for `host`."""
    pair = f"{folder}/{name}.pem", f"{folder}/{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", pair[1], "-out", pair[0], "-days", "2", "-subj", f"/CN={host}", "-addext",
                    f"subjectAltName=DNS:{host}"], check=True, capture_output=True)
    return pair


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=300)
    options = parser.parse_args()
    tally = weir.Tally()
    certificates = tempfile.mkdtemp(prefix="weir-webhooks-")
    trusted_pair = certificate(certificates, "trusted", "localhost")
    receiver, resetting = Receiver(), Receiver()
    trusted = Receiver(trusted_pair)
    untrusted = Receiver(certificate(certificates, "untrusted", "localhost"))
    test = ["webhook.test"]
    hooks = [{"name": "everything", "url": receiver.url("everything")},
             {"name": "money", "url": receiver.url("money"), "events": ["wallet.low"]},
             {"name": "gone", "url": receiver.url("gone"), "events": [*test, "key.created"]},
             {"name": "killed", "url": receiver.url("killed"), "events": [*test, "key.created"]},
             {"name": "shut-out", "url": f"https://127.0.0.1:{receiver.port}/shut-out", "private": False, "events": test},
             {"name": "shut-out-by-name", "url": f"https://localhost:{receiver.port}/shut-out-by-name",
              "private": False, "events": test},
             {"name": "tls", "url": trusted.url("tls", "localhost"), "events": test},
             {"name": "tls-untrusted", "url": untrusted.url("tls", "localhost"), "events": test},
             {"name": "tls-other-name", "url": trusted.url("tls", "127.0.0.1"), "events": test}]
    hooks += [{"name": name, "url": receiver.url(name), "events": test}
              for name in ("plain", "error", "redirect", "busy", "hang", "slow", "broken", "moves", "storm")]
    hooks.append({"name": "reset", "url": resetting.url("reset"), "events": test})
    os.environ["SSL_CERT_FILE"] = trusted_pair[0]  # what the gateway takes for the system's authorities
    gateway = Gateway(hooks).start()
    try:
        test_events(tally, gateway, receiver)
        happenings(tally, gateway, receiver)
        faults(tally, gateway, receiver, resetting)
        gone(tally, gateway, receiver)
        command_line(tally, gateway, receiver)
        private_addresses(tally, gateway, receiver)
        encrypted(tally, gateway, trusted, untrusted)
        reloads(tally, gateway, receiver, hooks)
        killed(tally, gateway, receiver)
        storm(tally, gateway, receiver, options.events // 3 * 3)
        nothing_leaks(tally, gateway)
        tally.check("it stops as it should", gateway.server.stop() == 0, gateway.server.errors())
    finally:
        gateway.stop()
        for one in (receiver, resetting, trusted, untrusted):
            one.close()
        shutil.rmtree(certificates, ignore_errors=True)
    del os.environ["SSL_CERT_FILE"]
    without_webhooks(tally)
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
