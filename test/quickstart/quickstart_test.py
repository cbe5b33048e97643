#!/usr/bin/env python3
"""The curl blocks of QuotaFlow's pages, as a reader would paste them, against a running gateway.

The blocks are kept as documented, so a page that stops working is seen here. Only the host is replaced,
by a shell function named curl that also adds the status to the output.
"""
import json
import os
import subprocess
import sys
import tempfile
import wave

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "harness"))
import weir  # noqa: E402

PRELUDE = r"""
set -u
curl() {
  command curl -sS --max-time 30 -w '\n%{http_code} %{content_type}' "${@//https:\/\/api.quotaflow.ai/$GATEWAY}"
}
"""

DOCUMENTED_MODELS = {"gpt-5.2", "gpt-5.3-codex", "gpt-5.4", "gpt-5.5", "gpt-4o-mini-transcribe"}


def models(status, kind, body):
    listed = json.loads(body)
    assert status == 200 and kind.startswith("application/json"), (status, kind)
    assert listed["object"] == "list", listed
    assert all(model["object"] == "model" for model in listed["data"]), listed
    missing = DOCUMENTED_MODELS - {model["id"] for model in listed["data"]}
    assert not missing, f"not listed: {missing}"


def response(expected_text=None):
    def check(status, kind, body):
        assert status == 200 and kind.startswith("application/json"), (status, kind, body)
        reply = json.loads(body)
        assert reply["object"] == "response" and reply["status"] == "completed", reply
        assert reply["id"].startswith("resp_") and reply["model"] == "gpt-5.5", reply
        text = "".join(part["text"] for item in reply["output"] if item["type"] == "message"
                       for part in item["content"])
        assert text and (expected_text is None or text.strip() == expected_text), text
        usage = reply["usage"]
        assert usage["input_tokens"] + usage["output_tokens"] == usage["total_tokens"] > 0, usage
    return check


def events(status, kind, body):
    assert status == 200 and kind.startswith("text/event-stream"), (status, kind, body)
    assert "\r" not in body, "events use LF alone"
    seen = []
    for block in body.strip("\n").split("\n\n"):
        lines = [line for line in block.split("\n") if not line.startswith(":")]
        if not lines:
            continue
        name = next(line[7:] for line in lines if line.startswith("event: "))
        data = json.loads(next(line[6:] for line in lines if line.startswith("data: ")))
        assert data["type"] == name, block
        assert data["sequence_number"] == len(seen), block
        seen.append(data)
    names = [event["type"] for event in seen]
    assert names[0] == "response.created" and names[-1] == "response.completed", names
    assert "response.output_text.delta" in names, names
    said = "".join(event["delta"] for event in seen if event["type"] == "response.output_text.delta")
    final = "".join(part["text"] for item in seen[-1]["response"]["output"] if item["type"] == "message"
                    for part in item["content"])
    assert said == final, (said, final)
    assert seen[-1]["response"]["usage"]["total_tokens"] > 0, seen[-1]


def completion(status, kind, body):
    assert status == 200 and kind.startswith("application/json"), (status, kind, body)
    reply = json.loads(body)
    assert reply["object"] == "chat.completion" and reply["id"].startswith("chatcmpl-"), reply
    choice = reply["choices"][0]
    assert choice["message"]["role"] == "assistant" and choice["finish_reason"] == "stop", choice
    assert choice["message"]["content"].strip() == "ready", choice
    assert reply["usage"]["total_tokens"] > 0, reply


def transcript(status, kind, body):
    assert status == 200 and kind.startswith("application/json"), (status, kind, body)
    reply = json.loads(body)
    assert reply["text"] and reply["usage"]["type"] == "tokens", reply
    assert reply["usage"]["input_token_details"]["audio_tokens"] > 0, reply


def unknown_path(status, kind, body):
    assert status == 404 and kind.startswith("application/json"), (status, kind, body)
    assert json.loads(body)["error"]["message"], body


def missing_key(status, kind, body):
    assert status == 401, status
    assert json.loads(body) == {
        "error": "Missing API key",
        "message": "Please provide an API key in the x-api-key, x-goog-api-key, or Authorization header"}, body


def invalid_key(status, kind, body):
    assert status == 401, status
    assert json.loads(body) == {"error": {"message": "Invalid API key", "type": "authentication_error"}}, body


BLOCKS = [
    ("quickstart, list models", models, r"""
curl https://api.quotaflow.ai/openai/v1/models \
  -H "Authorization: Bearer $QUOTAFLOW_API_KEY"
"""),
    ("quickstart, create a response", response("QuotaFlow is connected."), r"""
curl https://api.quotaflow.ai/openai/v1/responses \
  -H "Authorization: Bearer $QUOTAFLOW_API_KEY" \
  -H "Content-Type: application/json" \
  -d '{
    "model": "gpt-5.5",
    "input": "Reply with only: QuotaFlow is connected.",
    "stream": false
  }'
"""),
    ("quickstart, sticky session id", events, r"""
curl https://api.quotaflow.ai/openai/v1/responses \
  -H "Authorization: Bearer $QUOTAFLOW_API_KEY" \
  -H "Content-Type: application/json" \
  -H "x-session-id: customer-or-agent-session-123" \
  -d '{
    "model": "gpt-5.5",
    "input": "Continue this coding task.",
    "stream": true
  }'
"""),
    ("responses page", response(), r"""
curl https://api.quotaflow.ai/openai/v1/responses \
  -H "Authorization: Bearer $QUOTAFLOW_API_KEY" \
  -H "Content-Type: application/json" \
  -H "x-session-id: repo-agent-123" \
  -d '{
    "model": "gpt-5.5",
    "input": "Summarize the change in one paragraph.",
    "stream": false
  }'
"""),
    ("chat completions page", completion, r"""
curl https://api.quotaflow.ai/openai/v1/chat/completions \
  -H "Authorization: Bearer $QUOTAFLOW_API_KEY" \
  -H "Content-Type: application/json" \
  -d '{
    "model": "gpt-5.5",
    "messages": [{"role":"user","content":"Return only the word ready."}],
    "stream": false
  }'
"""),
    ("audio page: speech to text through the OpenAI-compatible QuotaFlow endpoint", transcript, r"""
curl https://api.quotaflow.ai/openai/v1/audio/transcriptions \
  -H "Authorization: Bearer $QUOTAFLOW_API_KEY" \
  -F "model=gpt-4o-mini-transcribe" \
  -F "file=@./sample.wav"
"""),
    ("audio page: do not assume speech generation", unknown_path, r"""
curl https://api.quotaflow.ai/openai/v1/audio/speech \
  -H "Authorization: Bearer $QUOTAFLOW_API_KEY" \
  -H "Content-Type: application/json" \
  -d '{"model": "gpt-4o-mini-tts", "input": "Hello", "voice": "alloy"}'
"""),
    ("audio page: or audio translation support", unknown_path, r"""
curl https://api.quotaflow.ai/openai/v1/audio/translations \
  -H "Authorization: Bearer $QUOTAFLOW_API_KEY" \
  -F "model=gpt-4o-mini-transcribe" \
  -F "file=@./sample.wav"
"""),
    ("codex page, smoke test", models, r"""
export OPENAI_API_KEY="$QUOTAFLOW_API_KEY"
export OPENAI_BASE_URL="https://api.quotaflow.ai/openai/v1"
curl "$OPENAI_BASE_URL/models" \
  -H "Authorization: Bearer $OPENAI_API_KEY"
"""),
    ("curl page, non-streaming", response(), r"""
curl https://api.quotaflow.ai/openai/v1/responses \
  -H "Authorization: Bearer $QUOTAFLOW_API_KEY" \
  -H "Content-Type: application/json" \
  -H "x-session-id: curl-test" \
  -d '{
    "model": "gpt-5.5",
    "input": "Return a JSON object with status connected.",
    "stream": false
  }'
"""),
    ("curl page, streaming", events, r"""
curl -N https://api.quotaflow.ai/openai/v1/responses \
  -H "Authorization: Bearer $QUOTAFLOW_API_KEY" \
  -H "Content-Type: application/json" \
  -H "x-session-id: curl-stream-test" \
  -d '{
    "model": "gpt-5.5",
    "input": "Count from one to five slowly.",
    "stream": true
  }'
"""),
    ("authentication, x-api-key", models, r"""
curl https://api.quotaflow.ai/openai/v1/models -H "x-api-key: $QUOTAFLOW_API_KEY"
"""),
    ("authentication, x-goog-api-key", models, r"""
curl https://api.quotaflow.ai/openai/v1/models -H "x-goog-api-key: $QUOTAFLOW_API_KEY"
"""),
    ("errors page, missing key", missing_key, r"""
curl https://api.quotaflow.ai/openai/v1/models
"""),
    ("errors page, invalid key", invalid_key, r"""
curl https://api.quotaflow.ai/openai/v1/models -H "Authorization: Bearer qf_your_key_here"
"""),
]


def main():
    tally = weir.Tally()
    with weir.Demo("quotaflow") as demo, tempfile.TemporaryDirectory() as folder:
        with wave.open(os.path.join(folder, "sample.wav"), "wb") as sample:
            sample.setparams((1, 2, 8000, 0, "NONE", ""))
            sample.writeframes(bytes(2 * 8000))
        gateway = demo.base_url.split("/openai")[0].removesuffix("/v1")
        key = next(secret for name, secret in demo.keys.items())
        env = {**os.environ, "GATEWAY": gateway, "QUOTAFLOW_API_KEY": key}
        for name, check, block in BLOCKS:
            done = subprocess.run(["bash", "-c", PRELUDE + block], capture_output=True, text=True, env=env,
                                  cwd=folder, check=False)
            body, _, last = done.stdout.rpartition("\n")
            status, _, kind = last.partition(" ")
            try:
                check(int(status or 0), kind, body)
                tally.check(name, True)
            except (AssertionError, ValueError, KeyError, StopIteration) as error:
                tally.check(name, False, f"{error!r} {done.stderr.strip()} {done.stdout[:400]!r}")
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
