#!/usr/bin/env python3
"""Policies, approvals and operators end to end, as the people around them use them: the command line, HTTP, kills
and a hand in the file. Each check talks to the real program."""
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "harness"))
import weir  # noqa: E402

KEY = "wr_" + "policies" * 5
WAIT_SECONDS = 30

CONFIG = """
listen: 127.0.0.1:{port}
admin:
  listen: 127.0.0.1:{admin_port}
workers: 2
data_dir: {folder}/data
key_defaults: {{requests_per_minute: 1000000}}
upstreams: [{{name: here, kind: sandbox}}]
models:
  - {{id: m1, routes: [here], price: {{input: 1, output: 2}}}}
{more_models}
keys:
  - {{name: caller, secret: {key}}}
"""

POLICIES = """
policies:
  - id: growth-total
    owner: growth-lead
    match: {team: growth}
    per: [team]
    unit: requests
    limit: 2
    window: lifetime
    contact: growth-lead@example.com
  - {id: spare, unit: usd, limit: 12.50, match: {team: nobody}, approval: {approvers: [carol], amount_max: 5}}
"""


class Reply:
    def __init__(self, status, _, body):
        self.status = status
        self.text = body.decode()


class Gateway:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="weir-policies-")
        self.port, self.admin_port = weir.free_port(), weir.free_port()
        self.server = None

    def config(self, more_models=""):
        return CONFIG.format(port=self.port, admin_port=self.admin_port, folder=self.folder, key=KEY,
                             more_models=more_models)

    def start(self, more_models="  - {id: m2, routes: [here], price: {input: 1, output: 2}}"):
        self.server = weir.Server(self.config(more_models), self.folder, self.port)

    def stop(self):
        return self.server.stop()

    def data(self):
        return os.path.join(self.folder, "data")

    def token(self):
        with open(os.path.join(self.data(), "admin-token"), encoding="utf-8") as file:
            return file.read().strip()

    def cli(self, *words, token=None):
        """Exit status, output, errors of `weir WORDS`, as whoever has the token."""
        env = {**os.environ, "WEIR_DATA_DIR": self.data()}
        env.pop("WEIR_ADMIN_TOKEN", None)
        if token:
            env["WEIR_ADMIN_TOKEN"] = token
        done = subprocess.run([weir.binary(), *words], capture_output=True, text=True, timeout=60, env=env,
                              cwd=self.folder)
        return done.returncode, done.stdout, done.stderr

    def json(self, *words, token=None):
        status, out, err = self.cli(*words, "--json", token=token)
        if status != 0:
            raise AssertionError(f"weir {' '.join(words)}: {err}")
        return json.loads(out)

    def request(self, method, path, body=None, headers=None, admin=False):
        port = self.admin_port if admin else self.port
        return Reply(*weir.fetch(f"http://127.0.0.1:{port}{path}", method, body, headers))

    def ask_model(self, key, **headers):
        return self.request("POST", "/v1/responses", {"model": "m1", "input": "hi", "max_output_tokens": 16},
                            {"authorization": f"Bearer {key}", **headers})


def until(what, good):
    """Polls, because what is waited for is another thread's; never longer than WAIT_SECONDS."""
    end = time.monotonic() + WAIT_SECONDS
    while True:
        if good():
            return True
        if time.monotonic() > end:
            print(f"never: {what}", flush=True)
            return False
        time.sleep(0.05)


def write(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def run(gateway, tally):
    check = tally.check
    gateway.start()

    # --- operators, by name and role
    people = {}
    for name, role in (("alice", "approver"), ("bob", "approver"), ("vera", "viewer"), ("root2", "admin")):
        made = gateway.json("operators", "create", "--name", name, "--role", role)
        people[name] = made["token"]
        check(f"{name} has a token", made["token"].startswith("wadm_") and made["operator"]["role"] == role, made)
    status, out, err = gateway.cli("operators", "list", token=people["vera"])
    check("a viewer lists", status == 0 and "alice" in out and people["alice"] not in out, err)
    status, _, err = gateway.cli("keys", "create", "--name", "x", token=people["vera"])
    check("a viewer makes no key", status == 1 and "needs the role admin" in err, err)
    status, _, err = gateway.cli("policy", "delete", "x", token=people["bob"])
    check("an approver changes no policy", status == 1 and "needs the role admin" in err, err)

    # --- a key with attributes, a policy at run time
    key = gateway.json("keys", "create", "--name", "growth-bot", "--attribute", "team=growth", "--metadata", "user",
                       token=people["root2"])["secret"]
    file = write(gateway.folder, "new.yaml", POLICIES)
    put = gateway.json("policy", "put", "--file", file, token=people["root2"])
    check("both are at version 1", [p["version"] for p in put["data"]] == [1, 1], put)
    status, out, err = gateway.cli("policy", "list")
    check("the list has them", status == 0 and "growth-total" in out and "growth-lead" in out, out + err)
    replies = [gateway.ask_model(key).status for _ in range(3)]
    check("two in all, in force at once", replies == [200, 200, 429], replies)
    refused = gateway.ask_model(key)
    check("the refusal says whose", '"policy":"growth-total"' in refused.text and "growth-lead" in refused.text,
          refused.text)
    check("another key is free", gateway.ask_model(KEY).status == 200)

    # --- versions
    one = write(gateway.folder, "one.yaml", "{id: spare, unit: usd, limit: 20, match: {team: nobody}, "
                "approval: {approvers: [carol], amount_max: 5}}\n")
    status, _, err = gateway.cli("policy", "put", "--file", one, "--expect-version", "7")
    check("not over another version", status == 1 and "at version 1 now" in err, err)
    status, out, err = gateway.cli("policy", "put", "--file", one, "--expect-version", "1")
    check("over the one that was seen", status == 0 and "spare is at version 2" in out, out + err)
    status, out, err = gateway.cli("policy", "versions", "spare", token=people["vera"])
    check("all versions stay", status == 0 and "root2" in out and "admin" in out and "12.5" in out and "retired" in out,
          out + err)
    bad = write(gateway.folder, "bad.yaml", "{id: spare, unit: usd, limit: much}\n")
    status, _, err = gateway.cli("policy", "put", "--file", bad)
    check("what is wrong is said", status == 1 and "limit" in err, err)

    # --- an approval: asked for by one, decided by another
    asked = gateway.json("approvals", "ask", "--policy", "growth-total", "--counter", "team=growth", "--amount", "5",
                         "--for", "4h", "--reason", "launch", token=people["alice"])
    check("it waits", asked["state"] == "requested" and asked["rollback_owner"] == "growth-lead", asked)
    check("and allows nothing", gateway.ask_model(key).status == 429)
    status, _, err = gateway.cli("approvals", "approve", asked["id"], token=people["alice"])
    check("not by who asked", status == 1 and "somebody else has to decide" in err, err)
    status, _, err = gateway.cli("approvals", "approve", asked["id"], token=people["vera"])
    check("not by a viewer", status == 1 and "needs the role approver" in err, err)
    status, _, err = gateway.cli("approvals", "approve", asked["id"], "--amount", "6", token=people["bob"])
    check("not more than was asked for", status == 1 and "at most what was asked for" in err, err)
    granted = gateway.json("approvals", "approve", asked["id"], "--amount", "1", "--for", "3s", "--note", "one",
                           token=people["bob"])
    check("bob allows one more", granted["state"] == "active" and granted["granted"]["amount"] == "1", granted)
    replies = [gateway.ask_model(key).status for _ in range(2)]
    check("one more, at once", replies == [200, 429], replies)
    ended = lambda: gateway.json("approvals", "show", asked["id"], token=people["vera"])["state"] == "ended"  # noqa
    check("it ends by itself", until("ended", ended))
    check("and allows nothing any more", gateway.ask_model(key).status == 429)
    status, out, _ = gateway.cli("approvals", "list", "--review-missing", token=people["vera"])
    check("it waits for its review", status == 0 and asked["id"] in out, out)
    status, out, err = gateway.cli("approvals", "review", asked["id"], "--text", "one of one", token=people["alice"])
    check("reviewed", status == 0 and "one of one" in out, out + err)
    status, out, _ = gateway.cli("approvals", "list", "--review-missing", token=people["vera"])
    check("and done with", asked["id"] not in out, out)
    asked = gateway.json("approvals", "ask", "--policy", "spare", "--amount", "5", "--for", "1h", "--reason", "x",
                         token=people["alice"])
    status, _, err = gateway.cli("approvals", "approve", asked["id"], token=people["bob"])
    check("only the policy's approvers", status == 1 and "Only these approve" in err and "carol" in err, err)
    status, _, err = gateway.cli("approvals", "ask", "--policy", "spare", "--amount", "5.01", "--for", "1h",
                                 "--reason", "x", token=people["alice"])
    check("not above the policy's rule", status == 1 and "5 USD" in err, err)

    # --- the owner of a key asks
    body = {"policy": "growth-total", "amount": 3, "duration": "1h", "reason": "demo"}
    by_key = gateway.request("POST", "/v1/approvals", body, {"authorization": f"Bearer {key}"})
    check("a key asks", by_key.status == 200, by_key.text)
    wish = json.loads(by_key.text)
    check("for its own counter", wish["requester"] == "key:growth-bot" and wish["counter"] == "team=growth", wish)
    other = gateway.request("POST", "/v1/approvals", body, {"authorization": f"Bearer {KEY}"})
    check("not for one of others", other.status == 400 and "about requests of this API key" in other.text, other.text)
    granted = gateway.json("approvals", "approve", wish["id"], token=people["alice"])
    check("an operator decides", granted["state"] == "active", granted)
    seen = gateway.request("GET", f"/v1/approvals/{wish['id']}", None, {"authorization": f"Bearer {key}"})
    check("the key sees it", json.loads(seen.text)["state"] == "active", seen.text)
    unseen = gateway.request("GET", f"/v1/approvals/{wish['id']}", None, {"authorization": f"Bearer {KEY}"})
    check("no other does", unseen.status == 404, unseen.text)
    check("it is in force", gateway.ask_model(key).status == 200)

    # --- all of it survives a kill
    gateway.server.kill()
    gateway.server.stop()
    gateway.start()
    replies = [gateway.ask_model(key).status for _ in range(2)]
    check("after a kill the approval holds, and its rest is what it was", replies == [200, 429], replies)
    status, _, err = gateway.cli("approvals", "end", wish["id"], "--note", "over", token=people["bob"])
    check("ended early", status == 0, err)
    status, _, err = gateway.cli("approvals", "end", wish["id"], token=people["bob"])
    check("once", status == 1 and "has ended" in err, err)

    # --- a file that does not fit a stored policy is refused
    about = write(gateway.folder, "about.yaml", "{id: about-m2, unit: requests, limit: 9, match: {model: m2}}\n")
    status, _, err = gateway.cli("policy", "put", "--file", about)
    check("a policy about m2", status == 0, err)
    write(gateway.folder, "weir.yaml", gateway.config())
    gateway.server.child.send_signal(signal.SIGHUP)
    check("the reload without m2 is refused", until("refused", lambda: "about-m2" in gateway.server.errors()),
          gateway.server.errors())
    models = gateway.request("GET", "/v1/models", None, {"authorization": f"Bearer {KEY}"})
    check("and m2 is still there", '"m2"' in models.text, models.text)
    gateway.cli("policy", "delete", "about-m2")
    gateway.server.child.send_signal(signal.SIGHUP)
    gone = lambda: '"m2"' not in gateway.request(  # noqa
        "GET", "/v1/models", None, {"authorization": f"Bearer {KEY}"}).text
    check("without the policy it is taken", until("reloaded", gone))

    # --- a token that is taken away
    status, _, err = gateway.cli("operators", "change", "bob", "--state", "disabled")
    check("bob is disabled", status == 0, err)
    status, _, err = gateway.cli("approvals", "list", token=people["bob"])
    check("his token stops at once", status == 1 and "Send Authorization" in err, err)
    gateway.cli("operators", "change", "bob", "--state", "active")
    check("and works again", gateway.cli("approvals", "list", token=people["bob"])[0] == 0)
    gateway.cli("operators", "delete", "bob")
    status, _, err = gateway.cli("approvals", "list", token=people["bob"])
    check("a deleted one's token is none", status == 1, err)

    # --- the trail
    status, out, err = gateway.cli("audit", "verify")
    check("the trail verifies while the gateway runs", status == 0 and "rows are right" in out, out + err)
    head = gateway.cli("audit", "head")[1].strip()
    reply = gateway.request("GET", "/admin/v1/audit/policies?limit=1000", None,
                            {"authorization": f"Bearer {people['vera']}"}, admin=True)
    rows = json.loads(reply.text)["data"]
    told = {(row["actor"], row["action"], row["outcome"]) for row in rows}
    for line in (("root2", "policy.put", "done"), ("alice", "approval.request", "done"),
                 ("alice", "approval.approve", "refused"), ("bob", "approval.approve", "done"),
                 ("weir", "approval.end", "done"), ("vera", "auth.refused", "refused"),
                 ("unknown", "auth.refused", "refused"), ("admin", "operator.delete", "done"),
                 ("key:growth-bot", "approval.request", "done")):
        check(f"the trail has {line}", line in told, sorted(told))
    for secret in (*people.values(), key, KEY):
        check("no secret in the trail", secret not in reply.text)
        check("no secret in the log", secret not in gateway.server.errors())
    check("the gateway ends well", gateway.stop() == 0)
    path = os.path.join(gateway.data(), "policies.db")
    whole = write(gateway.folder, "keep", "")
    shutil.copy(path, whole)
    middle = rows[len(rows) // 2]["sequence"]
    for name, sql, bad_row in (
            ("changed", f"UPDATE audit SET actor = actor || 'x' WHERE seq = {middle}", middle),
            ("deleted", f"DELETE FROM audit WHERE seq = {middle}", middle),
            ("cut off", f"DELETE FROM audit WHERE seq > {middle}", middle + 1)):
        shutil.copy(whole, path)
        hand = sqlite3.connect(path)
        for trigger in ("audit_is_never_changed", "audit_is_never_deleted"):
            hand.execute(f"DROP TRIGGER {trigger}")
        hand.execute(sql)
        hand.commit()
        hand.close()
        status, _, err = gateway.cli("audit", "verify", "--head", head)
        check(f"a row {name} is named", status == 1 and f"row {bad_row}" in err, err)
    # The last of these has a right chain; the one before it has not, and nothing starts on it.
    shutil.copy(whole, path)
    hand = sqlite3.connect(path)
    hand.execute("DROP TRIGGER audit_is_never_changed")
    hand.execute("UPDATE audit SET outcome = 'done' WHERE action = 'auth.refused'")
    hand.commit()
    hand.close()
    status, _, err = gateway.cli("serve", "--config", os.path.join(gateway.folder, "weir.yaml"))
    check("no start on a broken trail", status == 1 and "audit trail" in err, err)
    shutil.copy(whole, path)
    check("the kept file verifies", gateway.cli("audit", "verify", "--head", head)[0] == 0)


def main():
    tally = weir.Tally()
    gateway = Gateway()
    try:
        run(gateway, tally)
    finally:
        if gateway.server:
            gateway.server.stop()
        shutil.rmtree(gateway.folder, ignore_errors=True)
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
