"""Starts the real program for tests that talk to it over sockets, and stops it by its own process id.

The binary is $WEIR_BINARY, else the newest of build/debug/weir and build/release/weir. Everything else a
test needs (ports, folders) is chosen free here and gone afterwards.
"""
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
START_SECONDS = 30


def binary():
    named = os.environ.get("WEIR_BINARY")
    if named:
        return os.path.abspath(named)
    built = [os.path.join(ROOT, "build", preset, "weir") for preset in ("debug", "release")]
    built = [path for path in built if os.path.exists(path)]
    if not built:
        raise SystemExit("there is no weir to test; ./dev build, or set WEIR_BINARY")
    return max(built, key=os.path.getmtime)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Tally:
    """Counts checks and prints one line for each that failed, then the line ./dev adds up."""

    def __init__(self):
        self.passed = 0
        self.failed = 0

    def check(self, name, good, why=""):
        if good:
            self.passed += 1
        else:
            self.failed += 1
            print(f"FAIL {name}: {why}", flush=True)
        return good

    def finish(self):
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        return 1 if self.failed else 0


class Process:
    """A child with its error output in a file, so that a failed test can show it."""

    def __init__(self, argv, folder, name="weir", env=None, cwd=None):
        self.folder = folder
        self.log_path = os.path.join(folder, f"{name}.log")
        self.log = open(self.log_path, "ab")
        self.child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log,
                                      cwd=cwd or folder, env={**os.environ, **(env or {})})

    def read_line(self, seconds=START_SECONDS):
        """The first line of standard output, or fails with what the program said instead."""
        selector = selectors.DefaultSelector()
        selector.register(self.child.stdout, selectors.EVENT_READ)
        line, end = b"", time.monotonic() + seconds
        while not line.endswith(b"\n"):
            left = end - time.monotonic()
            if left <= 0 or not selector.select(left):
                break
            part = os.read(self.child.stdout.fileno(), 1)
            if not part:
                break
            line += part
        selector.close()
        if not line.endswith(b"\n"):
            self.stop()
            raise SystemExit(f"{self.child.args[0]} did not start: {line!r}\n{self.errors()}")
        return line.decode()

    def errors(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()[-4000:]

    def kill(self):
        self.child.kill()
        self.child.wait()

    def stop(self, seconds=20):
        """SIGTERM, then the exit status; a program that does not end is killed and -9 returned."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
        if self.child.stdout:
            self.child.stdout.close()
        self.log.close()
        return self.child.returncode


class Demo(Process):
    """`weir demo`: an example with a mock upstream, described by one JSON line."""

    def __init__(self, example="quotaflow"):
        self.temporary = tempfile.mkdtemp(prefix="weir-test-")
        # Examples are found from the root of the tree.
        super().__init__([binary(), "demo", "--example", example, "--json"], self.temporary, cwd=ROOT)
        started = json.loads(self.read_line())
        self.base_url = started["base_url"].rstrip("/")
        self.admin_url = started["admin_url"].rstrip("/")
        self.admin_token = started["admin_token"]
        self.keys = started["keys"]
        self.upstreams = started["upstreams"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.temporary, ignore_errors=True)


class Server(Process):
    """`weir serve` with a configuration of the test's own, in a folder that outlives a restart."""

    def __init__(self, config, folder, port):
        path = os.path.join(folder, "weir.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(config)
        super().__init__([binary(), "serve", "--config", path], folder)
        self.port = port
        wait_for_port(self, port)


def wait_for_port(process, port, seconds=START_SECONDS):
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.child.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 0.5).close()
            return
        except OSError:
            time.sleep(0.01)
    process.stop()
    raise SystemExit(f"{process.child.args} did not start:\n{process.errors()}")


def fetch(url, method="GET", body=None, headers=None, seconds=30):
    """(status, headers, body) of one plain request; errors of the status kind are replies too."""
    if isinstance(body, (dict, list)):
        body = json.dumps(body).encode()
        headers = {"content-type": "application/json", **(headers or {})}
    request = urllib.request.Request(url, data=body, method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=seconds) as reply:
            return reply.status, reply.headers, reply.read()
    except urllib.error.HTTPError as reply:
        return reply.code, reply.headers, reply.read()
