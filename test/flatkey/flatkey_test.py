#!/usr/bin/env python3
"""The commands of examples/flatkey/README.md, as a reader would paste them, and each row of the guide's matrix.

Blocks of bash run as they are, with the variables that the page names. What the page only tells (a fourth call,
another environment, a customer's plan) is done by hand behind them.
"""
import concurrent.futures
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "harness"))
import weir  # noqa: E402

PAGE = os.path.join(weir.ROOT, "examples", "flatkey", "README.md")
CURL = 'curl() { command curl -sS --max-time 30 -w "\\n%{http_code}" "$@"; }\n'


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


def call(method, url, token, body=None, headers=None):
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), {
        "Authorization": f"Bearer {token}", "Content-Type": "application/json", **(headers or {})}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.status, dict(reply.headers), json.loads(reply.read() or b"{}")
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), json.loads(error.read() or b"{}")


def ask(model, text="Answer in one word.", **more):
    return {"model": model, "max_completion_tokens": 100, "messages": [{"role": "user", "content": text}], **more}


class Walk:
    def __init__(self, demo):
        self.demo = demo
        self.base = demo.base_url.removesuffix("/v1") + "/v1"
        self.admin = demo.admin_url + "/admin/v1"
        self.env = {"BASE": self.base, "KEY": demo.keys["staging"], "ADMIN": demo.admin_url,
                    "ADMIN_TOKEN": demo.admin_token}
        self.steps = iter(blocks("bash"))

    def next(self):
        return bash(next(self.steps), self.env)

    def chat(self, key, model, text="Answer in one word.", headers=None, **more):
        return call("POST", self.base + "/chat/completions", self.demo.keys.get(key, key), ask(model, text, **more),
                    headers)

    def operate(self, method, path, body=None):
        return call(method, self.admin + path, self.demo.admin_token, body)

    def counters(self, policy):
        status, _, page = self.operate("GET", f"/policies/{policy}/counters")
        assert status == 200, page
        return page["data"]

    # --- the seven steps ------------------------------------------------------------------------

    def step1_model_row(self):
        status, body = self.next()
        assert status == 200, body
        assert {"gpt-5.5", "gpt-5.4-mini", "gpt-image-1", "sora-2"} <= {m["id"] for m in json.loads(body)["data"]}, body

    def step2_key(self):
        status, body = self.next()
        made = json.loads(body)
        assert status == 201 and made["key"]["attributes"]["workflow"] == "summary-trial", body
        self.env["TRIAL_KEY"] = made["secret"]

    def step3_limit_first(self):
        status, body = self.next()
        assert status in (200, 201), body
        assert json.loads(body)["version"] == 1, body

    def step4_smoke_test(self):
        block = next(self.steps)
        status, body = bash(block, self.env)
        assert status == 200 and json.loads(body)["usage"]["prompt_tokens"] > 0, body
        status, headers, _ = self.chat(self.env["TRIAL_KEY"], "gpt-5.4-mini")
        assert status == 200, headers
        # Two of three are used: nothing has less left.
        assert headers["x-flatkey-policy"].startswith("summary-trial; unit=requests; limit=3; remaining=1; reset="), \
            headers
        self.env["REQUEST_ID"] = headers["x-request-id"]
        self.charged = int(headers["x-flatkey-charged-nano-usd"])

    def step5_logged_unit(self):
        status, body = self.next()
        receipt = json.loads(body)
        assert status == 200, body
        assert receipt["charge"]["charged_nano_usd"] == str(self.charged), body
        status, body = self.next()
        (counter,) = json.loads(body)["data"]
        assert status == 200 and counter["settled"] == "2" and counter["held"] == "0", body

    def step6_over_limit(self):
        assert self.chat(self.env["TRIAL_KEY"], "gpt-5.4-mini")[0] == 200
        calls = self.calls()
        status, headers, body = self.chat(self.env["TRIAL_KEY"], "gpt-5.4-mini")
        (expected,) = (json.loads(block) for block in blocks("json"))
        assert status == 429 and headers["x-should-retry"] == "false", (status, headers)
        assert {name: body["error"][name] for name in expected["error"]} == expected["error"], body
        assert int(headers["retry-after"]) == body["error"]["resets_in_seconds"] > 0, (headers, body)
        assert self.calls() == calls, "a refused call reached the upstream"

    def step7_other_modalities(self):
        def refused(body, policy):
            verdict = json.loads(body)
            assert verdict.get("decision") == "refused", verdict
            assert verdict["policy"] == policy, verdict
        for policy in ("image-finals", "video-length", "audio-daily"):
            status, body = self.next()
            assert status == 200, body
            refused(body, policy)
        # And within the limits each passes, and nothing was counted by asking.
        for attributes, more in (({"team": "creative", "image_class": "final"},
                                  {"modality": "image", "model": "gpt-image-1", "images": 20}),
                                 ({"team": "creative"},
                                  {"modality": "video", "model": "sora-2", "video_jobs": 1, "video_seconds": 12}),
                                 ({"team": "support"},
                                  {"modality": "audio", "model": "gpt-4o-transcribe", "audio_seconds": 3600})):
            for _ in range(2):
                status, _, verdict = self.operate("POST", "/policies/evaluate", {"attributes": attributes, **more})
                assert status == 200 and verdict["decision"] != "refused", verdict
        assert self.counters("image-finals") == []

    # --- the rows of the matrix -----------------------------------------------------------------

    def calls(self):
        status, _, stats = call("GET", self.demo.upstreams["router"] + "/_stats", "any")
        assert status == 200, stats
        return stats["requests"]

    def development_uses_low_cost_models(self):
        status, headers, body = self.chat("dev", "gpt-5.5")
        assert status == 200, body
        assert headers["x-flatkey-downgrade"] == "gpt-5.5->gpt-5.4-mini; policy dev-models", headers
        status, headers, _ = self.chat("dev", "gpt-5.4-mini")
        assert status == 200 and "x-flatkey-downgrade" not in headers, headers

    def deprecated_rows_are_blocked(self):
        status, _, body = self.chat("support-production", "gpt-4.1")
        assert status == 403 and body["error"]["code"] == "policy_blocked", body
        assert body["error"]["policy"] == "deprecated", body

    def preview_needs_an_approval(self):
        status, _, body = self.chat("support-production", "gpt-6-preview")
        assert status == 403 and body["error"]["code"] == "approval_required", body
        assert "required for a new premium or preview route" in body["error"]["hint"], body

    def answers_are_shortened(self):
        status, headers, body = self.chat("support-production", "gpt-5.4-mini", max_completion_tokens=5000)
        assert status == 200 and headers["x-flatkey-max-output-tokens"] == "800", (headers, body)

    def context_above_the_approved_is_rejected(self):
        status, _, body = self.chat("support-production", "gpt-5.4-mini", text="word " * 4000)
        assert status == 400 and body["error"]["policy"] == "support-summary-context", body

    def customers_have_plans(self):
        headers = {"x-flatkey-customer": "acme", "x-flatkey-user": "ada", "x-flatkey-customer-tier": "free"}
        status, replied, body = self.chat("customer-app", "gpt-5.4-mini", headers=headers)
        assert status == 200, body
        assert [c["counter"] for c in self.counters("customer-free")] == ["customer=acme"]
        status, _, body = self.chat("customer-app", "gpt-5.4-mini", headers={**headers, "x-flatkey-team": "growth"})
        assert status == 400 and body["error"]["param"] == "x-flatkey-team", body

    def a_fallback_budget_stops_an_action(self):
        control = self.demo.upstreams["router"] + "/_control"
        call("POST", control, "any", {"times": 10, "fault": {"status": 500}})
        action = {"x-flatkey-action-id": "task-1"}
        before = self.calls()
        status, _, body = self.chat("growth-batch", "gpt-5.4-mini", headers=action)
        assert status >= 500, body
        assert self.calls() - before <= 2, "one primary and one fallback attempt"
        used = self.calls() - before
        for _ in range(2 - used):
            self.chat("growth-batch", "gpt-5.4-mini", headers=action)
        status, headers, body = self.chat("growth-batch", "gpt-5.4-mini", headers=action)
        assert status == 429 and body["error"]["code"] == "attempts_exhausted", body
        assert headers["x-should-retry"] == "false", headers
        call("DELETE", control, "any")
        assert self.chat("growth-batch", "gpt-5.4-mini", headers={"x-flatkey-action-id": "task-2"})[0] == 200

    def fifty_at_once_pass_no_limit(self):
        """Staging has cents a day: however many ask at once, what is charged and held stays within them."""
        with concurrent.futures.ThreadPoolExecutor(50) as pool:
            done = list(pool.map(lambda n: self.chat("staging", "gpt-5.5", text=f"{n} " * 50), range(50)))
        refused = [body["error"] for status, _, body in done if status != 200]
        assert refused and all(e["policy"] == "dev-daily" for e in refused), refused[:3]
        assert {status for status, _, _ in done} <= {200, 429}
        (counter,) = self.counters("dev-daily")
        assert float(counter["settled"]) + float(counter["held"]) <= float(counter["limit"]) == 0.05, counter

    def a_shadow_does_not_act(self):
        (counter,) = [c for c in self.counters("trial-hourly") if c["counter"] == "key=staging"]
        assert int(counter["settled"]) > 0, counter

    def nothing_is_left_over(self):
        assert next(self.steps, None) is None, "a block of the page was not run"


def main():
    tally = weir.Tally()
    with weir.Demo("flatkey") as demo:
        walk = Walk(demo)
        for step in ("step1_model_row", "step2_key", "step3_limit_first", "step4_smoke_test", "step5_logged_unit",
                     "step6_over_limit", "step7_other_modalities", "nothing_is_left_over",
                     "development_uses_low_cost_models", "deprecated_rows_are_blocked", "preview_needs_an_approval",
                     "answers_are_shortened", "context_above_the_approved_is_rejected", "customers_have_plans",
                     "a_fallback_budget_stops_an_action", "fifty_at_once_pass_no_limit", "a_shadow_does_not_act"):
            try:
                getattr(walk, step)()
                tally.check(step, True)
            except (AssertionError, ValueError, KeyError, StopIteration, subprocess.SubprocessError) as error:
                tally.check(step, False, repr(error))
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
