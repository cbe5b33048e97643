"""The processes of a storm, the hand that turns the mock's faults, and the callers' loops."""
import asyncio
import itertools
import json
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "test", "harness"))
import weir  # noqa: E402

from . import callers, judge  # noqa: E402

SLOTS, QUEUE_SIZE, QUEUE_PER_KEY, WAIT_MS = 8, 200, 60, 4000
CALLER_DEADLINE_SECONDS = 30
MARKER_SECONDS = 0.005
# The equal keys of the contended phase: how many callers, and what they ask for. Keys differ in both, and what is
# asked for must not change a key's share either: all accounts serve all of it.
RIVALS = {"rival1": (24, ["chat"]), "rival2": (40, ["responses"]), "rival3": (60, ["responses", "chat"]),
          "rival4": (116, ["responses", "chat"])}
BOTH = ["responses", "chat"]

CONFIG = """
listen: 127.0.0.1:{port}
admin:
  listen: 127.0.0.1:{admin_port}
workers: 2
data_dir: {folder}/data
upstreams:
  - name: mock
    base_url: {upstream}/v1
    connect_deadline: 1s
    first_byte_deadline: 2s
    event_deadline: 2s
    total_deadline: 20s
    accounts:
{accounts}
pools:
  - name: main
    accounts: ["mock/*"]
    queue: {{size: {queue_size}, per_key: {per_key}, wait: {wait}ms}}
packages:
  - name: all
    pools: [main]
models:
  - id: gpt-5.5
    routes: [mock]
    price: {{input: 1.25, output: 10}}
key_defaults:
  requests_per_minute: 0
keys:
{keys}
"""


def secret_of(name):
    return "wr_" + (name + "0" * 40)[:40]


class World:
    def __init__(self, folder, script, seed, sessions=2000, main_callers=40, turns=5, think=0.1):
        self.folder, self.script, self.seed = folder, script, seed
        self.chance = random.Random(seed + 1)
        self.sessions = [f"session-{n:05}" for n in range(sessions)]
        self.chance.shuffle(self.sessions)
        self.next_session = itertools.cycle(self.sessions)
        self.main_keys = [f"key{n}" for n in range(1, 7)]
        self.main_callers, self.turns, self.think = main_callers, turns, think
        self.account_of = {f"t-{n + 1:02}": n for n in range(script.accounts)}
        self.seen, self.rules, self.rule_count = [], {}, 0
        self.count = itertools.count(1)
        self.port, self.admin_port = weir.free_port(), weir.free_port()
        self.mock = self.server = None
        self.began = self.wall = 0.0
        self.lags = []

    # ------------------------------------------------------------ processes
    def start(self):
        log = os.path.join(self.folder, "calls.jsonl")
        self.mock = weir.Process([weir.binary(), "mock-upstream", "--port", "0", "--log", log], self.folder, "mock")
        url = json.loads(self.mock.read_line())["url"]
        self.mock_port = int(url.rsplit(":", 1)[1])
        accounts = "\n".join(f"      - {{name: acct-{n + 1:02}, api_key: acct-{n + 1:02}, concurrency: {SLOTS}}}"
                             for n in range(self.script.accounts))
        keys = "\n".join(f"  - {{name: {name}, secret: {secret_of(name)}}}" for name in [*self.main_keys, *RIVALS])
        self.server = weir.Server(CONFIG.format(
            port=self.port, admin_port=self.admin_port, folder=self.folder, upstream=url, accounts=accounts, keys=keys,
            queue_size=QUEUE_SIZE, per_key=QUEUE_PER_KEY, wait=WAIT_MS), self.folder, self.port)

    def stop(self):
        """Weir's and the mock's exit status."""
        return [process.stop() if process else None for process in (self.server, self.mock)]

    # ------------------------------------------------------------ faults
    def rules_at(self, at):
        """(window or None, rule) in the order in which the mock is to try them."""
        found = [(w, {"match": {"authorization_suffix": f"t-{w.account + 1:02}",
                                **({"stream": r["stream"]} if "stream" in r else {})}, "fault": r["fault"]})
                 for w in self.script.active(at) for r in w.rules]
        ms = self.script.phase(at).json_ms
        for path in ("/responses", "/chat/completions"):
            found.append((None, {"match": {"path": path, "stream": False}, "fault": {"latency_ms": ms}}))
        # A dozen events of a response, half as many of a chat: about as long as the JSON.
        for path, events in (("/responses", 14), ("/chat/completions", 8)):
            found.append((None, {"match": {"path": path, "stream": True}, "fault": {
                "latency_ms": ms // 3, "event_delay_ms": ms * 2 // 3 // events}}))
        return found

    async def apply(self, at):
        """All rules anew, in one write on one connection, so that nothing is served in between."""
        found = self.rules_at(at)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.mock_port)
        bodies = [json.dumps(rule).encode() for _, rule in found]
        before = time.time() * 1000
        writer.write(b"DELETE /_control HTTP/1.1\r\nhost: storm\r\n\r\n" + b"".join(
            b"POST /_control HTTP/1.1\r\nhost: storm\r\ncontent-length: %d\r\n\r\n%s" % (len(b), b) for b in bodies))
        await writer.drain()
        replies = callers.Reader(reader)
        for _ in range(len(found) + 1):
            status, headers = await replies.head()
            body = bytearray()
            await replies.body(headers, body)
            if status != 200:
                raise SystemExit(f"storm: the mock refused a fault: {body.decode()}")
        after = time.time() * 1000
        writer.close()
        for window, _ in found:
            self.rule_count += 1
            self.rules[self.rule_count] = window
        on = {id(w) for w, _ in found if w}
        for window in self.script.windows:
            if id(window) in on and window.on is None:
                window.on = (before, after)
            elif id(window) not in on and window.on and window.off is None:
                window.off = (before, after)

    async def weather(self):
        for at in self.script.boundaries():
            await asyncio.sleep(max(self.began + at - time.monotonic(), 0))
            await self.apply(at + 0.001)

    async def markers(self):
        connection = callers.Connection(self.mock_port)
        try:
            while True:
                into = {"head": None, "body": bytearray()}
                try:
                    await connection.exchange("GET", "/v1/models", [], b"", into)
                except (OSError, asyncio.IncompleteReadError):
                    pass  # it closes after so many requests
                before = time.monotonic()
                await asyncio.sleep(MARKER_SECONDS)
                self.lags.append(time.monotonic() - before - MARKER_SECONDS)
        finally:
            connection.close()

    # ------------------------------------------------------------ callers
    def now(self):
        return time.monotonic() - self.began

    async def one(self, connection, session, key, chance, apis):
        seen = callers.Seen(f"s{self.seed}-{next(self.count):06}", session, key,
                            chance.choice(apis), chance.random() < 0.5,
                            self.script.phase(self.now()).name, 0.0)
        await callers.ask(connection, seen, secret_of(key), CALLER_DEADLINE_SECONDS)
        self.seen.append(seen)
        return seen

    async def caller(self, kind, key, chance, until, apis):
        """Sessions one after the other, a few turns each."""
        connection = callers.Connection(self.port)
        try:
            while self.now() < until:
                session = next(self.next_session)
                of_session = key or self.main_keys[int(session[-5:]) % len(self.main_keys)]
                for _ in range(chance.randint(2, 2 * self.turns - 2)):
                    if self.now() >= until:
                        break
                    if self.script.phase(self.now()).callers != kind:
                        if kind == "rivals":
                            return
                        await asyncio.sleep(0.1)
                        continue
                    seen = await self.one(connection, session, of_session, chance, apis)
                    if seen.verdict == "refused":
                        pause = min(int(seen.retry_after or "1"), 1) if kind == "rivals" else 0.5
                    else:
                        pause = 0 if kind == "rivals" else chance.expovariate(1 / self.think)
                    await asyncio.sleep(pause)
        finally:
            connection.close()

    async def rivals(self):
        for phase in self.script.phases:
            if phase.callers != "rivals":
                continue
            await asyncio.sleep(max(phase.start - self.now(), 0) + 0.05)
            crowd = [key for key, (count, _) in RIVALS.items() for _ in range(count)]
            self.chance.shuffle(crowd)
            coming = []
            for key in crowd:  # within a second, not all in one moment
                coming.append(asyncio.create_task(
                    self.caller("rivals", key, random.Random(self.chance.random()), phase.end, RIVALS[key][1])))
                await asyncio.sleep(1 / len(crowd))
            await asyncio.gather(*coming)

    async def run(self):
        self.began, self.wall = time.monotonic(), time.time() * 1000
        await self.apply(0.001)
        marking = asyncio.create_task(self.markers())
        weather = asyncio.create_task(self.weather())
        try:
            # The last calls of all may take as long as callers wait; then even a stuck one is over.
            async with asyncio.timeout(self.script.seconds + CALLER_DEADLINE_SECONDS + 10):
                await asyncio.gather(self.rivals(), *(
                    self.caller("main", None, random.Random(self.chance.random()), self.script.seconds, BOTH)
                    for _ in range(self.main_callers)))
        finally:
            for task in (marking, weather):
                task.cancel()
            await asyncio.gather(marking, weather, return_exceptions=True)
        if weather.done() and not weather.cancelled() and weather.exception():
            raise weather.exception()

    def judge(self, known_ms=50):
        with open(os.path.join(self.folder, "calls.jsonl"), encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        phases = [(p.name, self.wall + p.start * 1000, self.wall + p.end * 1000, p.callers)
                  for p in self.script.phases]
        result = judge.judge(self.seen, lines, self.rules, self.script.windows, self.account_of, phases,
                             judge.Rules(SLOTS, WAIT_MS, QUEUE_PER_KEY, known_ms))
        result["raw"]["harness_lag_ms_p99"] = judge.quantile([lag * 1000 for lag in self.lags], 0.99)
        result["raw"]["harness_lag_ms_max"] = max((lag * 1000 for lag in self.lags), default=None)
        return result

    def log_lines(self, request_ids):
        """Weir's own lines of these requests."""
        wanted = {r for r in request_ids if r}
        with open(self.server.log_path, encoding="utf-8", errors="replace") as file:
            return [line.rstrip() for line in file if any(r in line for r in wanted)] if wanted else []


def storm(script, seed, folder, known_ms=50, **options):
    """(figures, world) of one run; every process it started has ended."""
    world = World(folder, script, seed, **options)
    try:
        world.start()
        asyncio.run(world.run())
    finally:
        status = world.stop()
    figures = world.judge(known_ms)
    figures["raw"]["exit_status"] = status
    return figures, world
