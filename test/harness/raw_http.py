"""Raw sockets for tests of framing: bytes out, replies in, and an upstream that answers with given bytes."""
import re
import socket
import threading


class Reply:
    def __init__(self, status, headers, body, complete):
        self.status, self.headers, self.body, self.complete = status, headers, body, complete

    def __repr__(self):
        return f"{self.status} {self.body[:120]!r}{'' if self.complete else ' (cut)'}"


def parse_replies(data):
    """Splits what came over a connection into replies, as strictly as a client would."""
    replies = []
    while data:
        head, found, rest = data.partition(b"\r\n\r\n")
        match = re.match(rb"HTTP/1\.1 (\d{3}) ", head)
        if not found or not match:
            replies.append(Reply(0, {}, data, False))
            break
        status = int(match.group(1))
        headers = {}
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            headers[name.decode().lower()] = value.strip().decode("latin-1")
        if status < 200 or status in (204, 304):
            replies.append(Reply(status, headers, b"", True))
            data = rest
        elif headers.get("transfer-encoding") == "chunked":
            body, complete = b"", False
            while True:
                size, found, rest = rest.partition(b"\r\n")
                if not found or not re.fullmatch(rb"[0-9a-fA-F]+", size):
                    break
                count = int(size, 16)
                if count == 0:
                    complete = rest.startswith(b"\r\n")
                    rest = rest[2:]
                    break
                body, rest = body + rest[:count], rest[count + 2:]
            replies.append(Reply(status, headers, body, complete))
            data = rest if complete else b""
        else:
            count = int(headers.get("content-length", len(rest)))
            replies.append(Reply(status, headers, rest[:count], len(rest) >= count))
            data = rest[count:]
    return replies


def talk(port, parts, seconds):
    """Sends `parts` one by one and reads to the end of the connection: (replies, closed).

    closed is False when the peer left the connection open for `seconds` after the last byte."""
    if isinstance(parts, bytes):
        parts = [parts]
    received = b""
    with socket.create_connection(("127.0.0.1", port), seconds) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.settimeout(seconds)
        closed = False
        try:
            for part in parts:
                peer.sendall(part)
        except OSError:
            pass  # refused before all was sent; the reply tells
        try:
            while True:
                got = peer.recv(1 << 16)
                if not got:
                    closed = True
                    break
                received += got
        except ConnectionError:
            closed = True
        except TimeoutError:
            pass
    return parse_replies(received), closed


class Upstream:
    """An HTTP upstream that records every request and answers with exact bytes.

    `script` maps a word to bytes; a request whose body holds reply=WORD gets those, any other the reply
    called "good". A reply ending in CLOSE closes the connection after it."""

    CLOSE = b"<close>"

    def __init__(self, script):
        self.script = script
        self.requests = []
        self.lock = threading.Lock()
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(128)
        self.port = self.listener.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def seen(self, word):
        with self.lock:
            return sum(word in request for request in self.requests)

    def close(self):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer):
        data = b""
        with peer:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                head, found, rest = data.partition(b"\r\n\r\n")
                length = re.search(rb"(?im)^content-length: *(\d+)\r?$", head)
                count = int(length.group(1)) if length else 0
                if not found or len(rest) < count:
                    try:
                        got = peer.recv(1 << 16)
                    except OSError:
                        return
                    if not got:
                        if data:
                            with self.lock:  # bytes that are no whole request count as seen
                                self.requests.append(data)
                        return
                    data += got
                    continue
                request, data = head + found + rest[:count], rest[count:]
                with self.lock:
                    self.requests.append(request)
                word = re.search(rb"reply=([a-z0-9_]+)", request)
                answer = self.script[word.group(1).decode() if word else "good"]
                try:
                    peer.sendall(answer.removesuffix(self.CLOSE))
                except OSError:
                    return
                if answer.endswith(self.CLOSE):
                    return
