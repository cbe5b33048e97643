#!/usr/bin/env python3
"""HTTP/1.1 framing over real sockets: what must be refused, what must be served, nothing smuggled.

Every row is bytes on a connection, followed by a second request that carries a marker. A row that is
refused gets one reply with the expected status, its connection is closed, and the marker is never seen by
the upstream. A row that is served gets its reply and then exactly one for the second request. So a parser
that reads a length differently from another one in front of it fails here, whichever way it differs.

The rows are RFC 9112 and RFC 9110 read strictly; limits and deadlines are the configured ones.
"""
import os
import shutil
import socket
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "harness"))
import raw_http  # noqa: E402
import weir  # noqa: E402

KEY = "wr_" + "torture0" * 5
BODY = b'{"model":"m1","input":"x"}'
SECONDS = 5  # a connection still open after this long was not closed

CONFIG = """
listen: 127.0.0.1:{port}
admin:
  listen: 127.0.0.1:{admin_port}
workers: 1
data_dir: {folder}/data
limits:
  body_bytes_max: 64KiB
  header_deadline: 500ms
  idle_deadline: 1s
  body_stall_deadline: 500ms
  requests_per_connection_max: 5
upstreams:
  - name: recorder
    base_url: http://127.0.0.1:{upstream}/v1
    api_key: upstream-secret
    first_byte_deadline: 3s
    event_deadline: 1s
models:
  - id: m1
    routes: [recorder]
    price: {{input: 1, output: 2}}
keys:
  - name: torture
    secret: {key}
    limits:
      requests_per_minute: 1000000
"""


def h(text):
    return text.encode("latin-1")


HOST = h("Host: gateway.test\r\n")
AUTH = h(f"Authorization: Bearer {KEY}\r\n")
JSON = h("Content-Type: application/json\r\n")


def post(extra=b"", body=BODY, length=None, target=b"/v1/responses", version=b"HTTP/1.1", host=HOST):
    """A POST whose length header is right unless `length` says otherwise (b"" = none)."""
    framing = h(f"Content-Length: {len(body)}\r\n") if length is None else length
    return b"POST " + target + b" " + version + b"\r\n" + host + AUTH + JSON + framing + extra + b"\r\n" + body


def get(extra=b"", target=b"/v1/models", line=None, host=HOST):
    return (line or b"GET " + target + b" HTTP/1.1\r\n") + host + AUTH + extra + b"\r\n"


def chunked(body, extra=b""):
    return post(b"Transfer-Encoding: chunked\r\n" + extra, body, length=b"")


def cl(value):
    return post(length=h(f"Content-Length:{value}\r\n"))


CHUNKED_BODY = h(f"{len(BODY):x}\r\n") + BODY + b"\r\n0\r\n\r\n"
SIZE = h(f"{len(BODY):x}")


def te(value):
    return post(h(f"Transfer-Encoding:{value}\r\n"), CHUNKED_BODY, length=b"")


REFUSED = [
    # (name, bytes, statuses)
    # --- two lengths, or none that can be trusted
    ("content-length and transfer-encoding", post(b"Transfer-Encoding: chunked\r\n", CHUNKED_BODY), {400}),
    ("transfer-encoding and content-length", post(b"", CHUNKED_BODY,
     b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"), {400}),
    ("content-length twice, different", post(b"Content-Length: 7\r\n"), {400}),
    ("content-length twice, equal", post(h(f"Content-Length: {len(BODY)}\r\n")), {400}),
    ("content-length as a list, equal", cl(f" {len(BODY)}, {len(BODY)}"), {400}),
    ("content-length as a list, different", cl(f" {len(BODY)}, 0"), {400}),
    ("content-length with plus", cl(f" +{len(BODY)}"), {400}),
    ("content-length negative", cl(" -1"), {400}),
    ("content-length hex", cl(" 0x1a"), {400}),
    ("content-length with letter", cl(" 26a"), {400}),
    ("content-length with inner space", cl(" 2 6"), {400}),
    ("content-length with exponent", cl(" 1e1"), {400}),
    ("content-length with point", cl(" 26.0"), {400}),
    ("content-length empty", cl(""), {400}),
    ("content-length quoted", cl(' "26"'), {400}),
    ("content-length of 2^64", cl(" 18446744073709551616"), {400, 413}),
    ("content-length of 2^64 + 26", cl(" 18446744073709551642"), {400, 413}),
    ("content-length of 40 digits", cl(" " + "9" * 40), {400, 413}),
    ("content-length with semicolon", cl(" 26;x"), {400}),
    # --- transfer codings other than exactly chunked
    ("transfer-encoding gzip, chunked", te(" gzip, chunked"), {400, 501}),
    ("transfer-encoding chunked, chunked", te(" chunked, chunked"), {400, 501}),
    ("transfer-encoding chunked, identity", te(" chunked, identity"), {400, 501}),
    ("transfer-encoding identity", te(" identity"), {400, 501}),
    ("transfer-encoding empty", te(""), {400, 501}),
    ("transfer-encoding xchunked", te(" xchunked"), {400, 501}),
    ("transfer-encoding with parameter", te(" chunked;a=b"), {400, 501}),
    ("transfer-encoding quoted", te(' "chunked"'), {400, 501}),
    ("transfer-encoding with trailing comma", te(" chunked,"), {400, 501}),
    ("transfer-encoding with vertical tab", te(" \x0bchunked"), {400, 501}),
    ("transfer-encoding with form feed", te(" chunked\x0c"), {400, 501}),
    ("transfer-encoding twice", post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                                     CHUNKED_BODY, b""), {400, 501}),
    ("transfer-encoding in HTTP/1.0", post(b"Transfer-Encoding: chunked\r\n", CHUNKED_BODY, b"",
                                           version=b"HTTP/1.0"), {400, 501}),
    ("transfer_encoding twin", post(b"Transfer_Encoding: chunked\r\n"), {400}),
    ("content_length twin", post(b"Content_Length: 0\r\n"), {400}),
    # --- header lines
    ("space before colon", post(b"X-A : b\r\n"), {400}),
    ("tab before colon", post(b"X-A\t: b\r\n"), {400}),
    ("space before colon of content-length", post(b"", BODY, b"Content-Length : 26\r\n"), {400}),
    ("obsolete line folding, space", post(b"X-A: b\r\n c\r\n"), {400}),
    ("obsolete line folding, tab", post(b"X-A: b\r\n\tc\r\n"), {400}),
    ("space before the first header", b"GET /v1/models HTTP/1.1\r\n " + HOST + AUTH + b"\r\n", {400}),
    ("bare CR in a value", post(b"X-A: b\rc\r\n"), {400}),
    ("bare CR that hides a header", post(b"X-A: b\rTransfer-Encoding: chunked\r\n"), {400}),
    ("bare LF after a header", post(b"X-A: b\n"), {400}),
    ("bare LF that hides a header", post(b"X-A: b\nX-B: c\r\n"), {400}),
    ("bare LF after the request line", b"GET /v1/models HTTP/1.1\n" + HOST + AUTH + b"\r\n", {400}),
    ("bare LF as the end of the head", b"GET /v1/models HTTP/1.1\r\n" + HOST + AUTH + b"\n", {400}),
    ("all line ends bare LF", b"GET /v1/models HTTP/1.1\n" + HOST.replace(b"\r", b"") + b"\n", {400}),
    ("NUL in a value", post(b"X-A: b\0c\r\n"), {400}),
    ("NUL in a name", post(b"X-\0A: b\r\n"), {400}),
    ("control character in a value", post(b"X-A: b\x01c\r\n"), {400}),
    ("DEL in a value", post(b"X-A: b\x7fc\r\n"), {400}),
    ("escape in a value", post(b"X-A: \x1b[0m\r\n"), {400}),
    ("empty name", post(b": b\r\n"), {400}),
    ("no colon", post(b"X-A\r\n"), {400}),
    ("parenthesis in a name", post(b"X(A): b\r\n"), {400}),
    ("non-ASCII in a name", post(b"X-\xe9: b\r\n"), {400}),
    ("quote in a name", post(b'X"A: b\r\n'), {400}),
    # --- the request line
    ("space in the target", get(target=b"/v1/mod els"), {400}),
    ("tab as separator", get(line=b"GET\t/v1/models HTTP/1.1\r\n"), {400}),
    ("two spaces as separator", get(line=b"GET  /v1/models HTTP/1.1\r\n"), {400}),
    ("space after the version", get(line=b"GET /v1/models HTTP/1.1 \r\n"), {400}),
    ("space before the method", get(line=b" GET /v1/models HTTP/1.1\r\n"), {400}),
    ("no version", get(line=b"GET /v1/models\r\n"), {400}),
    ("no target", get(line=b"GET HTTP/1.1\r\n"), {400}),
    ("version 2.0", get(line=b"GET /v1/models HTTP/2.0\r\n"), {400, 505}),
    ("version 1.10", get(line=b"GET /v1/models HTTP/1.10\r\n"), {400, 505}),
    ("version 1.2", get(line=b"GET /v1/models HTTP/1.2\r\n"), {400, 505}),
    ("version in lower case", get(line=b"GET /v1/models http/1.1\r\n"), {400, 505}),
    ("version with another name", get(line=b"GET /v1/models HTTX/1.1\r\n"), {400, 505}),
    ("CR inside the request line", get(line=b"GET /v1/models\r HTTP/1.1\r\n"), {400}),
    ("NUL in the target", get(target=b"/v1/models\0"), {400}),
    ("control character in the target", get(target=b"/v1/models\x02"), {400}),
    ("non-ASCII in the target", get(target=b"/v1/models\xff"), {400}),
    ("non-token method", get(line=b"G(T /v1/models HTTP/1.1\r\n"), {400, 501}),
    ("preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 505}),
    ("TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40 + b"\r\n\r\n", {400}),
    # --- host
    ("no host", get(host=b""), {400}),
    ("two hosts", get(b"Host: other.test\r\n"), {400}),
    ("two equal hosts", get(b"Host: gateway.test\r\n"), {400}),
    ("space in host", get(host=b"Host: a b\r\n"), {400}),
    ("host with a path", get(host=b"Host: a/b\r\n"), {400}),
    ("host as a list", get(host=b"Host: a, b\r\n"), {400}),
    ("host with user information", get(host=b"Host: user@a\r\n"), {400}),
    # --- chunks
    ("chunk size with plus", chunked(b"+" + SIZE + b"\r\n" + BODY + b"\r\n0\r\n\r\n"), {400}),
    ("chunk size negative", chunked(b"-1\r\n" + BODY + b"\r\n0\r\n\r\n"), {400}),
    ("chunk size with 0x", chunked(b"0x" + SIZE + b"\r\n" + BODY + b"\r\n0\r\n\r\n"), {400}),
    ("chunk size with leading space", chunked(b" " + SIZE + b"\r\n" + BODY + b"\r\n0\r\n\r\n"), {400}),
    ("chunk size with trailing space", chunked(SIZE + b" \r\n" + BODY + b"\r\n0\r\n\r\n"), {400}),
    ("chunk size empty", chunked(b"\r\n" + BODY + b"\r\n0\r\n\r\n"), {400}),
    ("chunk size no hex", chunked(b"zz\r\n" + BODY + b"\r\n0\r\n\r\n"), {400}),
    ("chunk size of 17 digits", chunked(b"0" * 15 + SIZE + b"\r\n" + BODY + b"\r\n0\r\n\r\n"), {400, 413}),
    ("chunk size of 2^64", chunked(b"10000000000000000\r\n" + BODY), {400, 413}),
    ("chunk size of 2^64 - 1", chunked(b"ffffffffffffffff\r\n" + BODY), {400, 413}),
    ("chunk size line ends in bare LF", chunked(SIZE + b"\n" + BODY + b"\r\n0\r\n\r\n"), {400}),
    ("chunk data ends in bare LF", chunked(SIZE + b"\r\n" + BODY + b"\n0\r\n\r\n"), {400}),
    ("chunk longer than its size", chunked(b"5\r\n" + BODY + b"\r\n0\r\n\r\n"), {400}),
    ("chunk without line end", chunked(SIZE + b"\r\n" + BODY + b"0\r\n\r\n"), {400}),
    ("chunk extension of 300 bytes", chunked(SIZE + b";" + b"a" * 300 + b"\r\n" + BODY + b"\r\n0\r\n\r\n"), {400}),
    ("chunk extension with bare LF", chunked(SIZE + b";a\nb\r\n" + BODY + b"\r\n0\r\n\r\n"), {400}),
    ("chunk extension with bare CR", chunked(SIZE + b";a\rb\r\n" + BODY + b"\r\n0\r\n\r\n"), {400}),
    ("chunk extension with NUL", chunked(SIZE + b";a\0b\r\n" + BODY + b"\r\n0\r\n\r\n"), {400}),
    ("last chunk line ends in bare LF", chunked(SIZE + b"\r\n" + BODY + b"\r\n0\n\r\n"), {400}),
    ("trailer content-length", chunked(CHUNKED_BODY[:-2] + b"Content-Length: 5\r\n\r\n"), {400}),
    ("trailer transfer-encoding", chunked(CHUNKED_BODY[:-2] + b"Transfer-Encoding: chunked\r\n\r\n"), {400}),
    ("trailer authorization", chunked(CHUNKED_BODY[:-2] + b"Authorization: Bearer x\r\n\r\n"), {400}),
    ("trailer with bare LF", chunked(CHUNKED_BODY[:-2] + b"X-T: a\n\r\n"), {400}),
    # --- bodies where none belongs
    ("GET with a body", get(b"Content-Length: 26\r\n") + BODY, {400}),
    ("GET with a chunked body", get(b"Transfer-Encoding: chunked\r\n") + CHUNKED_BODY, {400}),
    ("HEAD with a body", b"HEAD /v1/models HTTP/1.1\r\n" + HOST + AUTH + b"Content-Length: 26\r\n\r\n" + BODY, {400}),
    # --- limits
    ("request line over 8 KiB", get(target=b"/v1/models?" + b"a" * 9000), {400, 414, 431}),
    ("header line over 16 KiB", get(b"X-A: " + b"a" * 17000 + b"\r\n"), {400, 431}),
    ("headers over 32 KiB", get(b"".join(h(f"X-{i}: ") + b"a" * 8000 + b"\r\n" for i in range(5))), {400, 431}),
    ("more than 100 headers", get(b"".join(h(f"X-{i}: a\r\n") for i in range(110))), {400, 431}),
    ("body over the limit, by its length", post(length=b"Content-Length: 70000\r\n"), {413}),
    ("body over the limit, by its chunks", chunked(b"ffff\r\n" + b"a" * 65535 + b"\r\nffff\r\n" + b"a" * 65535 +
                                                 b"\r\n0\r\n\r\n"), {413}),
]

DEEP = b'{"model":"m1","input":' + b"[" * 70 + b"]" * 70 + b"}"

SERVED = [
    # (name, bytes, status): the connection stays in step
    ("post", post(), 200),
    ("get", get(), 200),
    ("chunked post", chunked(CHUNKED_BODY), 200),
    ("chunked post, one byte a chunk", chunked(b"".join(b"1\r\n" + BODY[i:i + 1] + b"\r\n" for i in range(len(BODY))) +
                                               b"0\r\n\r\n"), 200),
    ("chunked post, size in upper case and leading zeros", chunked(b"000" + SIZE.upper() + b"\r\n" + BODY +
                                                                  b"\r\n0\r\n\r\n"), 200),
    ("chunked post, short extension", chunked(SIZE + b";a=b\r\n" + BODY + b"\r\n0\r\n\r\n"), 200),
    ("transfer-encoding in another case", te(" Chunked"), 200),
    ("header names in any case", post().replace(b"Content-Length", b"cOnTeNt-LeNgTh"), 200),
    ("white space around a value", post(b"X-A: \t b \t\r\n"), 200),
    ("no white space around a value", post(b"X-A:b\r\n"), 200),
    ("empty value", post(b"X-A:\r\n"), 200),
    ("obs-text in a value", post(b"X-A: caf\xe9\r\n"), 200),
    ("underscore in a harmless name", post(b"session_id: abc\r\n"), 200),
    ("absolute-form target", get(target=b"http://gateway.test/v1/models"), 200),
    ("query in the target", get(target=b"/v1/models?limit=1"), 200),
    ("100 headers", get(b"".join(h(f"X-{i}: a\r\n") for i in range(90))), 200),
    ("GET with content-length 0", get(b"Content-Length: 0\r\n"), 200),
    ("unknown path", get(target=b"/nothing"), 404),
    ("a path that climbs", get(target=b"/v1/../admin/v1/keys"), 404),
    ("a path with encoded dots", get(target=b"/v1/%2e%2e/admin"), 404),
    ("an encoded slash is no slash", get(target=b"/v1%2fmodels"), 404),
    ("a doubled slash", get(target=b"//v1/models"), 404),
    ("wrong method", b"DELETE /v1/responses HTTP/1.1\r\n" + HOST + AUTH + b"\r\n", 405),
    ("unknown method", b"BREW /v1/models HTTP/1.1\r\n" + HOST + AUTH + b"\r\n", 405),
    ("body that is no JSON", post(body=b"{nope"), 400),
    ("body that is empty", post(body=b""), 400),
    ("body that is a list", post(body=b"[]"), 400),
    ("body with a NUL", post(body=b'{"model":"m1\0"}'), 400),
    ("body that is not UTF-8", post(body=b'{"model":"m1","input":"\xff\xfe"}'), 400),
    ("a model that is a lone surrogate", post(body=b'{"model":"\\ud800","input":"x"}'), 404),
    ("body 70 levels deep", post(body=DEEP), 400),
    ("model named twice", post(body=b'{"model":"m1","model":"m2","input":"x"}'), 400),
    ("unknown model", post(body=b'{"model":"m9","input":"x"}'), 404),
]

GOOD_JSON = (b'{"id":"resp_1","object":"response","status":"completed","model":"m1","output":[],'
             b'"usage":{"input_tokens":1,"output_tokens":1,"total_tokens":2}}')


def reply(extra=b"", body=GOOD_JSON, length=None, status=b"200 OK"):
    framing = h(f"content-length: {len(body)}\r\n") if length is None else length
    return b"HTTP/1.1 " + status + b"\r\ncontent-type: application/json\r\n" + framing + extra + b"\r\n" + body


SMUGGLED = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 19\r\n\r\n{"smuggled":"true"}'
SIZE_UP = h(f"{len(GOOD_JSON):x}")

# What an upstream may not send. The caller gets 502, and no byte of it is ever taken for another reply.
UPSTREAM_REFUSED = {
    "cl_and_te": reply(b"transfer-encoding: chunked\r\n", SIZE_UP + b"\r\n" + GOOD_JSON + b"\r\n0\r\n\r\n"),
    "cl_twice": reply(b"content-length: 3\r\n"),
    "cl_twice_equal": reply(h(f"content-length: {len(GOOD_JSON)}\r\n")),
    "cl_negative": reply(length=b"content-length: -1\r\n"),
    "cl_plus": reply(length=b"content-length: +10\r\n"),
    "cl_overflow": reply(length=b"content-length: 18446744073709551700\r\n"),
    "te_gzip": reply(b"transfer-encoding: gzip, chunked\r\n", length=b""),
    "te_unknown": reply(b"transfer-encoding: xchunked\r\n", length=b""),
    "bare_lf": reply().replace(b"\r\n", b"\n"),
    "bare_cr": reply(b"x-a: b\rc\r\n"),
    "nul": reply(b"x-a: b\0c\r\n"),
    "folded": reply(b"x-a: b\r\n c\r\n"),
    "space_before_colon": reply(b"x-a : b\r\n"),
    "no_colon": reply(b"x-a\r\n"),
    "bad_status": reply(status=b"2000 OK"),
    "short_status": reply(status=b"20 OK"),
    "bad_version": reply().replace(b"HTTP/1.1", b"HTTP/9.9"),
    "not_http": b"SSH-2.0-OpenSSH_9.2\r\n\r\n" + raw_http.Upstream.CLOSE,
    "empty": raw_http.Upstream.CLOSE,
    "half_head": b"HTTP/1.1 200 OK\r\ncontent-le" + raw_http.Upstream.CLOSE,
    "short_body": reply(length=b"content-length: 5000\r\n") + raw_http.Upstream.CLOSE,
    "chunk_bad_size": reply(b"transfer-encoding: chunked\r\n", b"zz\r\n" + GOOD_JSON, b""),
    "chunk_cut": reply(b"transfer-encoding: chunked\r\n", SIZE_UP + b"\r\n" + GOOD_JSON, b"") +
    raw_http.Upstream.CLOSE,
    "chunk_bare_lf": reply(b"transfer-encoding: chunked\r\n", SIZE_UP + b"\n" + GOOD_JSON + b"\n0\n\n", b""),
    "huge_header": reply(b"x-a: " + b"a" * 70000 + b"\r\n"),
    "many_headers": reply(b"x-a: a\r\n" * 400),
    "switching": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
}

# What is sound, or sound up to its end; anything after it must not become the next caller's reply.
UPSTREAM_SERVED = {
    "good": reply(),
    "chunked": reply(b"transfer-encoding: chunked\r\n", SIZE_UP + b"\r\n" + GOOD_JSON + b"\r\n0\r\n\r\n", b""),
    "until_close": reply(length=b"") + raw_http.Upstream.CLOSE,
    "informational_first": b"HTTP/1.1 100 Continue\r\n\r\n" + reply(),
    "followed_by_another": reply() + SMUGGLED,
    "closes": reply(b"connection: close\r\n") + raw_http.Upstream.CLOSE,
}


class Torture:
    def __init__(self, port, upstream):
        self.port, self.upstream, self.tally, self.count = port, upstream, weir.Tally(), 0

    def follower(self, close):
        """A second request on the same connection, with a marker of its own."""
        self.count += 1
        marker = h(f"marker{self.count:05d}")
        body = b'{"model":"m1","input":"' + marker + b'"}'
        return marker, post(b"Connection: close\r\n" if close else b"", body)

    def refused(self, name, data, statuses):
        marker, second = self.follower(close=False)
        replies, closed = raw_http.talk(self.port, data + second, SECONDS)
        seen = self.upstream.seen(marker)
        good = (len(replies) == 1 and replies[0].status in statuses and replies[0].complete and closed and
                seen == 0 and replies[0].headers.get("connection") == "close")
        self.tally.check(f"refused: {name}", good, f"{replies} closed={closed} reached upstream={seen}")

    def served(self, name, data, status):
        marker, second = self.follower(close=True)
        replies, closed = raw_http.talk(self.port, data + second, SECONDS)
        seen = self.upstream.seen(marker)
        good = [r.status for r in replies] == [status, 200] and replies[-1].complete and closed and seen == 1
        self.tally.check(f"served: {name}", good, f"{replies} closed={closed} reached upstream={seen}")

    def one(self, name, parts, status, closed=True):
        """A single exchange, with no second request."""
        replies, was_closed = raw_http.talk(self.port, parts, SECONDS)
        good = [r.status for r in replies] == ([status] if status else []) and was_closed == closed
        self.tally.check(name, good, f"{replies} closed={was_closed}")
        return replies

    def upstream_refused(self, word):
        body = h(f'{{"model":"m1","input":"reply={word}"}}')
        replies, _ = raw_http.talk(self.port, post(b"Connection: close\r\n", body), SECONDS)
        good = len(replies) == 1 and replies[0].status == 502 and replies[0].complete
        self.tally.check(f"upstream sends {word}", good, f"{replies}")
        self.sane(f"after upstream sent {word}")

    def upstream_served(self, word):
        body = h(f'{{"model":"m1","input":"reply={word}"}}')
        replies, _ = raw_http.talk(self.port, post(b"Connection: close\r\n", body), SECONDS)
        good = len(replies) == 1 and replies[0].status == 200 and replies[0].body == GOOD_JSON
        self.tally.check(f"upstream sends {word}", good, f"{replies}")
        for _ in range(3):
            self.sane(f"after upstream sent {word}")

    def sane(self, name):
        marker, request = self.follower(close=True)
        replies, _ = raw_http.talk(self.port, request, SECONDS)
        good = len(replies) == 1 and replies[0].status == 200 and replies[0].body == GOOD_JSON and \
            self.upstream.seen(marker) == 1
        self.tally.check(name, good, f"{replies}")


def timed(tally, name, limit_seconds, action):
    started = time.monotonic()
    action()
    took = time.monotonic() - started
    tally.check(name, took < limit_seconds, f"took {took:.1f} s")


def connections(torture):
    """Keep-alive, its end, split writes and deadlines."""
    tally = torture.tally
    torture.one("HTTP/1.0 closes", post(version=b"HTTP/1.0"), 200)
    replies = torture.one("HTTP/1.0 is not answered in chunks",
                          post(version=b"HTTP/1.0", body=b'{"model":"m1","input":"x","stream":false}'), 200)
    tally.check("HTTP/1.0 has no transfer-encoding", replies and "transfer-encoding" not in replies[0].headers)
    torture.one("connection: close is kept", post(b"Connection: close\r\n"), 200)
    torture.one("connection: close among others", post(b"Connection: foo, Close\r\n"), 200)
    torture.one("byte by byte", [bytes([b]) for b in post(b"Connection: close\r\n")], 200)

    replies, closed = raw_http.talk(torture.port, get() * 7, SECONDS)
    tally.check("requests of a connection are bounded",
                [r.status for r in replies] == [200] * 5 and closed and replies[-1].headers["connection"] == "close",
                f"{replies} {closed}")

    with socket.create_connection(("127.0.0.1", torture.port), SECONDS) as peer:
        peer.sendall(post(b"Expect: 100-continue\r\nConnection: close\r\n")[:-len(BODY)])
        peer.settimeout(SECONDS)
        first = peer.recv(1 << 16)
        tally.check("expect: 100-continue is answered", first.startswith(b"HTTP/1.1 100 "), first[:80])
        peer.sendall(BODY)
        rest = b""
        while part := peer.recv(1 << 16):
            rest += part
        tally.check("and then the request", rest.startswith(b"HTTP/1.1 200 "), rest[:80])

    timed(tally, "silence before a request ends", 3, lambda: torture.one("closed when idle", b"", None))
    timed(tally, "half a head ends", 3, lambda: torture.one("408 or closed", b"GET /v1/mod", 408))
    timed(tally, "half a body ends", 4, lambda: torture.one("408 for a body", post()[:-5], 408))
    replies, closed = raw_http.talk(torture.port, get(), SECONDS)
    tally.check("idle after a request is closed", [r.status for r in replies] == [200] and closed, f"{replies} {closed}")


def keys(torture):
    """A key in a wrong shape is refused without a hint, and never reaches the upstream."""
    tally = torture.tally
    for name, line in [("none", b""), ("wrong", b"Authorization: Bearer wr_wrong\r\n"),
                       ("basic", b"Authorization: Basic d3I6d3I=\r\n"), ("empty", b"Authorization: Bearer \r\n"),
                       ("long", b"Authorization: Bearer " + b"a" * 8000 + b"\r\n")]:
        marker, request = torture.follower(close=True)
        replies, _ = raw_http.talk(torture.port, request.replace(AUTH, line), SECONDS)
        tally.check(f"key: {name}", [r.status for r in replies] == [401] and torture.upstream.seen(marker) == 0,
                    f"{replies}")
    secret = KEY.encode()
    tally.check("the caller's key never reaches the upstream", torture.upstream.seen(secret) == 0)
    tally.check("the upstream's own key does", torture.upstream.seen(b"upstream-secret") > 0)
    hop = post(b"Connection: close, X-Drop\r\nX-Drop: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nProxy-Authorization: x\r\n",
               b'{"model":"m1","input":"hopbyhop"}')
    raw_http.talk(torture.port, hop, SECONDS)
    with torture.upstream.lock:
        sent = next((r for r in torture.upstream.requests if b"hopbyhop" in r), b"").lower()
    for header in (b"x-drop", b"keep-alive", b"\nte:", b"proxy-authorization"):
        tally.check(f"hop-by-hop {header} is not forwarded", sent and header not in sent, sent[:300])


def main():
    folder = tempfile.mkdtemp(prefix="weir-torture-")
    upstream = raw_http.Upstream({**UPSTREAM_REFUSED, **UPSTREAM_SERVED})
    port = weir.free_port()
    server = weir.Server(CONFIG.format(port=port, admin_port=weir.free_port(), folder=folder,
                                       upstream=upstream.port, key=KEY), folder, port)
    torture = Torture(port, upstream)
    try:
        torture.sane("first of all")
        for row in SERVED:
            torture.served(*row)
        for row in REFUSED:
            torture.refused(*row)
        connections(torture)
        keys(torture)
        for word in UPSTREAM_SERVED:
            torture.upstream_served(word)
        for word in UPSTREAM_REFUSED:
            torture.upstream_refused(word)
        torture.sane("after all of it")
        torture.tally.check("still running", server.child.poll() is None, server.errors())
    finally:
        status = server.stop()
        upstream.close()
    torture.tally.check("ends cleanly", status == 0, f"{status}\n{server.errors()}")
    shutil.rmtree(folder, ignore_errors=True)
    return torture.tally.finish()


if __name__ == "__main__":
    sys.exit(main())
