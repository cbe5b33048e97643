"""Callers over raw HTTP/1.1 connections, and the verdict on what each of them saw."""
import asyncio
import dataclasses
import json
import time

CAPACITY_CODES = {"capacity_queue_full", "capacity_queue_timeout", "no_capacity", "usage_limit_reached",
                  "upstream_rate_limited", "upstream_overloaded"}
HEAD_BYTES_MAX = 1 << 16


@dataclasses.dataclass
class Seen:
    """One request as its caller saw it. Times are wall-clock milliseconds."""
    id: str
    session: str
    key: str
    api: str
    stream: bool
    phase: str
    sent: float
    ended: float = 0.0
    # ok; refused: an error reply; told: a stream that began and ended with an error event; wrong, cut,
    # lost: not whole and nothing said, before or behind the head; stuck: no end before the caller's deadline
    verdict: str = "lost"
    status: int = 0
    code: str = ""
    retry_after: str = ""
    queue_ms: int = 0
    attempts: int = 1
    sticky: str = ""
    request_id: str = ""
    content: bool = False  # some of the answer had arrived
    detail: str = ""


class Reader:
    def __init__(self, reader):
        self.reader = reader

    async def head(self):
        text = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = text.split("\r\n")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return int(lines[0].split(" ")[1]), headers

    async def body(self, headers, into):
        """Appends the body's bytes to `into` as they come, so that a cut leaves what came before it."""
        if headers.get("transfer-encoding") == "chunked":
            while True:
                size = int(await self.reader.readuntil(b"\r\n"), 16)
                into += (await self.reader.readexactly(size + 2))[:-2]
                if size == 0:
                    return
        into += await self.reader.readexactly(int(headers.get("content-length", "0")))


class Connection:
    """One connection that is opened again when the other side closed it."""

    def __init__(self, port):
        self.port, self.streams = port, None

    async def exchange(self, method, path, headers, body, into):
        """(status, headers); the body's bytes are in `into` even when it fails half-way."""
        if self.streams is None:
            self.streams = await asyncio.open_connection("127.0.0.1", self.port, limit=HEAD_BYTES_MAX)
        reader, writer = self.streams
        lines = [f"{method} {path} HTTP/1.1", "host: storm", f"content-length: {len(body)}", *headers]
        whole = False
        try:
            writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + body)
            await writer.drain()
            status, got = await Reader(reader).head()
            into["head"] = (status, got)
            await Reader(reader).body(got, into["body"])
            whole = got.get("connection") != "close"
            return status, got
        finally:
            if not whole:
                self.close()

    def close(self):
        if self.streams is not None:
            self.streams[1].close()
            self.streams = None


def body_of(api, stream, text):
    if api == "responses":
        return json.dumps({"model": "gpt-5.5", "input": text, "stream": stream}).encode()
    return json.dumps({"model": "gpt-5.5", "messages": [{"role": "user", "content": text}],
                       "stream": stream}).encode()


def events_of(body):
    for block in body.decode(errors="replace").split("\n\n"):
        for line in block.split("\n"):
            if line.startswith("data: "):
                yield line[6:]


def judge_stream(seen, body, expected, whole):
    text, ended, error = "", False, ""
    for line in events_of(body):
        if line == "[DONE]":
            ended = seen.api == "chat" and error == ""
            continue
        try:
            event = json.loads(line)
        except ValueError:
            seen.detail = "an event is not JSON"
            continue
        if event.get("type") == "response.output_text.delta":
            text += event["delta"]
        elif event.get("type") == "response.completed":
            ended = True
        elif event.get("type") in ("error", "response.failed") or "error" in event and "type" not in event:
            about = event.get("error") or (event.get("response") or {}).get("error") or event
            error = str(about.get("code") or about.get("type"))
        for choice in event.get("choices") or []:
            text += choice["delta"].get("content") or ""
    seen.content = text != ""
    if error:
        seen.verdict, seen.code = "told", error
    elif ended and whole and text == expected:
        seen.verdict = "ok"
    else:
        seen.verdict = "wrong" if ended and whole else "cut"
        seen.detail = f"{len(body)} bytes, ended={ended}, whole={whole}, text={text[:40]!r}"


def judge_json(seen, body, expected):
    try:
        reply = json.loads(body)
        if seen.status != 200:
            seen.verdict, seen.code = "refused", str(reply["error"].get("code") or reply["error"]["type"])
            return
        text = (reply["output"][-1]["content"][0]["text"] if seen.api == "responses"
                else reply["choices"][0]["message"]["content"])
        seen.verdict = "ok" if text == expected else "wrong"
        seen.detail = "" if text == expected else f"text={text[:40]!r}"
    except (ValueError, KeyError, TypeError, IndexError) as problem:
        seen.verdict, seen.detail = "wrong", f"{problem!r} in {bytes(body[:120])!r}"


async def ask(connection, seen, secret, deadline):
    """One request from its first byte to its verdict."""
    expected = f"{seen.id} the storm goes on"
    headers = [f"authorization: Bearer {secret}", "content-type: application/json",
               f"x-session-id: {seen.session}", f"x-client-request-id: {seen.id}"]
    path = "/v1/responses" if seen.api == "responses" else "/v1/chat/completions"
    into = {"head": None, "body": bytearray()}
    whole = False
    seen.sent = time.time() * 1000
    try:
        async with asyncio.timeout(deadline):
            await connection.exchange("POST", path, headers,
                                      body_of(seen.api, seen.stream, f"Reply with only: {expected}"), into)
        whole = True
    except TimeoutError:
        seen.verdict = "stuck"
    except (OSError, asyncio.IncompleteReadError, ValueError) as problem:
        seen.detail = repr(problem)[:120]
    seen.ended = time.time() * 1000
    if into["head"] is None:
        return seen
    seen.status, got = into["head"]
    seen.retry_after = got.get("retry-after", "")
    seen.request_id = got.get("x-request-id", "")
    seen.queue_ms = int(got.get("x-weir-queue-ms", "0"))
    seen.attempts = int(got.get("x-weir-attempts", "1"))
    seen.sticky = got.get("x-weir-sticky", "")
    if seen.verdict == "stuck":
        seen.detail = f"{len(into['body'])} bytes came"
    elif got.get("content-type", "").startswith("text/event-stream"):
        judge_stream(seen, into["body"], expected, whole)
    elif whole:
        judge_json(seen, into["body"], expected)
    else:
        seen.verdict = "cut"
    return seen
