#!/usr/bin/env python3
"""The commands of examples/quotahost/README.md, as a reader would paste them, against the example.

Blocks of bash run as they are, with the four variables that the page names. The samples in JavaScript and
Python are those of Quota.host's page; only their host and key are replaced.
"""
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "harness"))
import weir  # noqa: E402

PAGE = os.path.join(weir.ROOT, "examples", "quotahost", "README.md")
CURL = 'curl() { command curl -sS --max-time 30 -w "\\n%{http_code}" "$@"; }\n'
ROUTES = {"quota/fast": 1, "quota/balanced": 2, "quota/sonnet": 3, "quota/sonnet-pro": 5, "quota/opus": 8,
          "quota/opus-max": 15}


def blocks(language):
    with open(PAGE, encoding="utf-8") as file:
        text = file.read()
    found = re.findall(r"^( *)```" + language + r"\n(.*?)^ *```$", text, re.S | re.M)
    return [re.sub("^" + indent, "", body, flags=re.M) for indent, body in found]


def bash(block, env):
    done = subprocess.run(["bash", "-c", CURL + block], capture_output=True, text=True, check=False,
                          env={**os.environ, **env})
    body, _, status = done.stdout.rpartition("\n")
    assert status.strip().isdigit(), done.stdout + done.stderr
    return int(status), body


def post(url, body, token):
    request = urllib.request.Request(url, json.dumps(body).encode(), {
        "Authorization": f"Bearer {token}", "Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.status, dict(reply.headers), json.loads(reply.read())
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), json.loads(error.read())


# What the page's Python sample needs of the package it imports, where that is not installed.
STAND_IN = """
import json as codec, urllib.request
def post(url, headers, json):
    reply = urllib.request.urlopen(urllib.request.Request(url, codec.dumps(json).encode(), headers), timeout=30)
    class Reply:
        text = reply.read()
        def json(self):
            return codec.loads(self.text)
    return Reply()
"""


def charged(usage, multiplier):
    assert usage["route_multiplier"] == f"x{multiplier}", usage
    assert usage["charged_quota_tokens"] == (usage["input_tokens"] + usage["output_tokens"]) * multiplier, usage
    assert usage["prompt_tokens"] == usage["input_tokens"], usage
    return usage["charged_quota_tokens"]


class Walk:
    """The page from its beginning to its end; what is left is followed by hand."""

    def __init__(self, demo):
        self.demo = demo
        self.gateway = demo.base_url.removesuffix("/v1")
        self.key = demo.keys["quickstart"]
        self.env = {"BASE": self.gateway + "/v1", "QUOTA_API_KEY": self.key, "ADMIN": demo.admin_url,
                    "ADMIN_TOKEN": demo.admin_token}
        self.left = 1_000_000
        self.steps = iter(blocks("bash"))

    def next(self, **more):
        return bash(next(self.steps), {**self.env, **more})

    def keys(self):
        assert all(re.fullmatch(r"qta_live_[0-9A-Za-z]{49}", key) for key in self.demo.keys.values())

    def models(self):
        status, body = self.next()
        assert status == 200, body
        assert {model["id"] for model in json.loads(body)["data"]} == set(ROUTES), body

    def call(self):
        status, body = self.next()
        reply = json.loads(body)
        assert status == 200 and reply["object"] == "chat.completion", body
        self.left -= charged(reply["usage"], 3)

    def stream(self):
        status, body = self.next()
        assert status == 200 and body.rstrip().endswith("data: [DONE]"), body
        chunks = [json.loads(line[6:]) for line in body.split("\n") if line.startswith("data: {")]
        assert not any(chunk.get("usage") for chunk in chunks[:-1]), body
        self.left -= charged(chunks[-1]["usage"], 2)

    def balance(self):
        status, body = self.next()
        wallet = json.loads(body)["wallet"]
        assert status == 200 and wallet["unit"] == "quota_token", body
        assert (wallet["available"], wallet["held"]) == (self.left, 0), (wallet, self.left)
        assert wallet["spent"] == 1_000_000 - self.left, wallet
        assert [grant["amount"] for grant in wallet["grants"]] == [1_000_000], wallet
        status, under_openai = bash('curl "${BASE%/v1}/openai/v1/balance" -H "x-api-key: $QUOTA_API_KEY"', self.env)
        assert status == 200 and json.loads(under_openai) == json.loads(body), under_openai

    def statement(self):
        status, body = self.next()
        page = json.loads(body)
        assert status == 200 and page["next_before"] is None, body
        assert [line["type"] for line in page["data"]] == ["charge", "charge", "grant"], body
        assert sum(line["amount"] for line in page["data"]) == self.left, body
        assert page["data"][1]["multiplier"] == "x3", body

    def javascript(self):
        (sample,) = blocks("javascript")
        done = subprocess.run(["node", "--input-type=module", "-e", self.here(sample) +
                               "console.log(JSON.stringify(data));"],
                              capture_output=True, text=True, check=True, timeout=30)
        self.left -= charged(json.loads(done.stdout)["usage"], 3)

    def python(self):
        (sample,) = blocks("python")
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "requests.py"), "w", encoding="utf-8") as file:
                file.write(STAND_IN)
            # At the end of the path, so that the real one is used where there is one.
            start = f"import sys; sys.path.append({folder!r})\n"
            done = subprocess.run([sys.executable, "-c", start + self.here(sample)], capture_output=True, text=True,
                                  check=True, timeout=30)
        reply = eval(done.stdout, {"__builtins__": {}})  # the page prints a dict
        self.left -= charged(reply["usage"], 3)

    def here(self, sample):
        changed = sample.replace("https://api.quota.host", self.gateway).replace("qta_live_...", self.key)
        assert changed.count(self.gateway) == 1 and changed.count(self.key) == 1, changed
        return changed

    def packs(self):
        status, body = self.next()
        made = json.loads(body)
        assert status == 201 and made["valid_for_seconds"] == 365 * 24 * 3600, body
        code = made["codes"][0]["code"]
        assert re.fullmatch(r"QTA(-[0-9A-HJKMNP-TV-Z]{4}){5}", code), code
        redeem = next(self.steps)
        for _ in range(2):  # the same key gets the same answer
            status, body = bash(redeem, {**self.env, "CODE": code})
            given = json.loads(body)
            assert status == 200 and given["grant"]["amount"] == 500_000, body
            assert given["wallet"]["available"] == self.left + 500_000, body
        status, body = bash(redeem, {**self.env, "CODE": code, "QUOTA_API_KEY": self.demo.keys["nearly-empty"]})
        assert status == 409 and json.loads(body)["error"]["code"] == "code_already_redeemed", body
        last = "1" if code[-1] == "0" else "0"
        status, body = bash(redeem, {**self.env, "CODE": code[:-1] + last})
        assert status == 400 and json.loads(body)["error"]["code"] == "code_not_valid", body
        self.left += 500_000

    def usage_block(self):
        """(1800 + 3400) x 3 = 15600, member by member."""
        (usage, error) = (json.loads(block) for block in blocks("json"))
        control = self.demo.upstreams["routes"] + "/_control"
        post(control, {"times": 1, "fault": {"usage": {"input_tokens": 1800, "output_tokens": 3400}}}, "any")
        ask = {"model": "quota/sonnet", "messages": [{"role": "user", "content": "Review. " + "x" * 2000}]}
        status, headers, reply = post(self.gateway + "/v1/chat/completions", ask, self.key)
        assert status == 200, reply
        assert {name: reply["usage"][name] for name in usage["usage"]} == usage["usage"], reply["usage"]
        assert headers["x-quota-wallet-charged-quota-tokens"] == "15600", headers
        self.left -= 15600
        assert headers["x-quota-wallet-left-quota-tokens"] == str(self.left), (headers, self.left)
        self.error = error

    def too_low(self):
        ask = {"model": "quota/opus", "messages": [{"role": "user", "content": "Review."}]}
        status, headers, reply = post(self.gateway + "/v1/chat/completions", ask, self.demo.keys["nearly-empty"])
        assert status == 402 and headers["x-should-retry"] == "false", (status, headers)
        assert {name: reply["error"][name] for name in self.error["error"]} == self.error["error"], reply

    def receipt(self):
        """The last request's receipt says what the wallet paid, and holds."""
        status, body = bash('curl "$BASE/balance/statement?limit=1" -H "Authorization: Bearer $QUOTA_API_KEY"',
                            self.env)
        line = json.loads(body)["data"][0]
        assert (line["type"], line["amount"]) == ("charge", -15600), body
        status, body = bash(f'curl "$BASE/requests/{line["request_id"]}" -H "Authorization: Bearer $QUOTA_API_KEY"',
                            self.env)
        assert status == 200 and json.loads(body)["wallet"]["charged"] == "15600", body
        check = subprocess.run([weir.binary(), "receipt", "verify", "-"], input=body, capture_output=True, text=True,
                               check=False)
        assert check.returncode == 0, check.stdout + check.stderr

    def operator(self):
        """weir wallets and weir codes, against the running gateway."""
        def run(*words):
            done = subprocess.run([weir.binary(), *words, "--admin-url", self.demo.admin_url, "--token",
                                   self.demo.admin_token, "--json"], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout)

        shown = run("wallets", "show", "quickstart")
        assert shown["available"] == self.left, shown
        assert len(run("wallets", "list")["data"]) == 2
        words = ("wallets", "grant", "nearly-empty", "--amount", "7", "--idempotency-key", "order-1")
        grant = run(*words)
        assert run(*words) == grant
        assert run("wallets", "show", "nearly-empty")["available"] == 107
        assert run("wallets", "revoke", grant["id"])["removed"] == 7
        batch = run("codes", "create", "--amount", "5", "--count", "2")["batch"]
        assert len(run("codes", "list", "--batch", batch)["data"]) == 2
        assert run("codes", "revoke", batch)["revoked"] == 2

    def nothing_is_left_over(self):
        assert next(self.steps, None) is None, "a block of the page was not run"


def main():
    tally = weir.Tally()
    with weir.Demo("quotahost") as demo:
        walk = Walk(demo)
        for step in ("keys", "models", "call", "stream", "balance", "statement", "javascript", "python", "packs",
                     "usage_block", "too_low", "receipt", "operator", "nothing_is_left_over"):
            try:
                getattr(walk, step)()
                tally.check(step, True)
            except (AssertionError, ValueError, KeyError, StopIteration, subprocess.SubprocessError) as error:
                tally.check(step, False, repr(error))
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
