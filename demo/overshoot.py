"""Many calls at once on a cap worth a few: does anything get past it?

    demo/overshoot.sh [--calls 50] [--again 0] [--runs N] [--at-once 4]
    demo/overshoot.sh --url URL --key KEY --model M --cap USD --price-in P --price-out P

The first form starts a gateway of its own with a slow mock upstream, on free ports and in a folder that is
removed. Each run makes a key whose budget is worth four calls and sends all calls at the same moment: streams
and JSON, Chat Completions and Responses, bounded and unbounded. While they run it reads what the ledger says is
spent and held, as fast as it is told; afterwards it adds up what the replies it got must have cost. A run
is good when

  * spent + held was never above the cap, at any reading,
  * what was spent is, to the nano-dollar, what the replies that came back cost,
  * nothing is held any more.

--again N: a caller that is told to come later (429) does so at once, up to N times, which spends the cap to its
end. --runs repeats it all with a fresh key each; --at-once of them run at the same time.

The second form sends the same calls to another gateway. Its books cannot be read from here, so what was spent is
computed from the usage in the replies and the prices (USD per million tokens) given. Make a key there whose
cap is --cap USD and worth a few calls, and set --max-tokens so that a call is worth a known part of it. It speaks
Chat Completions under URL/chat/completions. Replies without usage are counted and said, not guessed.

Exit status: 0 nothing got past the cap, 1 something did or a run was not as it must be, 2 wrong command line.
"""
import argparse
import asyncio
import collections
import decimal
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
NANO = 10**9
CALL_SECONDS = 120
# Of the model that is served here, in USD per million tokens.
PRICE_IN, PRICE_OUT = decimal.Decimal("2.50"), decimal.Decimal("10")

CONFIG = """
listen: 127.0.0.1:0
admin:
  listen: 127.0.0.1:0
data_dir: {folder}/data
log: {{exchanges: false}}
useful_output_tokens_min: 16
upstreams:
  - name: slow
    base_url: {mock}/v1
    api_key: unused
models:
  - id: m1
    routes: [slow]
    price: {{input: {price_in}, output: {price_out}}}
"""


def nano_usd(usage, price_in, price_out):
    """What the usage costs, exactly, rounded once, up. Prices are USD per million tokens."""
    pico = (usage[0] * price_in + usage[1] * price_out) * 10**6
    return int((pico / 1000).to_integral_value(rounding=decimal.ROUND_CEILING))


def usd(nano):
    return f"{'-' if nano < 0 else ''}{abs(nano) // NANO}.{abs(nano) % NANO:09d} USD"


class Outcome:
    """What one caller saw."""

    def __init__(self):
        self.code = "no_reply"  # "passed", an error code, or what went wrong
        self.usage = None       # (input, output) tokens


def read_usage(value):
    """(input, output) of a reply or an event in either of OpenAI's shapes, or None."""
    usage = value.get("usage") or (value.get("response") or {}).get("usage")
    if not isinstance(usage, dict):
        return None
    pair = [usage.get(a, usage.get(b)) for a, b in (("prompt_tokens", "input_tokens"),
                                                   ("completion_tokens", "output_tokens"))]
    return tuple(pair) if None not in pair else None


def unchunked(body):
    """The content of a chunked body, and whether its end was there."""
    out, at = [], 0
    while True:
        line = body.find(b"\r\n", at)
        if line < 0:
            return b"".join(out), False
        size = int(body[at:line].split(b";")[0], 16)
        if size == 0:
            return b"".join(out), True
        if line + 2 + size > len(body):
            return b"".join(out), False
        out.append(body[line + 2:line + 2 + size])
        at = line + 2 + size + 2


class Target:
    """Where calls go, and as whom."""

    def __init__(self, url, model, max_tokens, both_shapes):
        parts = urllib.parse.urlsplit(url)
        self.host, self.tls = parts.hostname, parts.scheme == "https"
        self.port = parts.port or (443 if self.tls else 80)
        self.authority = parts.netloc
        self.path, self.model = parts.path.rstrip("/"), model
        self.max_tokens, self.both_shapes = max_tokens, both_shapes

    def request(self, number, key):
        """One of six kinds of call, by its number."""
        stream = number % 2 == 0
        responses = self.both_shapes and number % 4 >= 2
        # Every third call here leaves its length to the gateway, which must then bound it itself.
        bound = None if self.both_shapes and number % 3 == 2 else self.max_tokens
        text = f"Count from 1 to {20 + number * 37 % 300}"  # what it costs differs; some use all they asked for
        body = {"model": self.model, "stream": stream}
        if responses:
            body |= {"input": text} | ({"max_output_tokens": bound} if bound else {})
        else:
            body |= {"messages": [{"role": "user", "content": text}]} | ({"max_tokens": bound} if bound else {})
            if stream:
                body["stream_options"] = {"include_usage": True}
        payload = json.dumps(body).encode()
        path = self.path + ("/responses" if responses else "/chat/completions")
        return (f"POST {path} HTTP/1.1\r\nHost: {self.authority}\r\nAuthorization: Bearer {key}\r\n"
                f"Content-Type: application/json\r\nAccept-Encoding: identity\r\nConnection: close\r\n"
                f"Content-Length: {len(payload)}\r\n\r\n").encode() + payload

    async def caller(self, number, key, start, again):
        """All that one caller saw: one call, and when it was told to come later up to `again` more."""
        seen = [await self.call(number, key, start)]
        while again and seen[-1].code.startswith("429"):
            again -= 1
            await asyncio.sleep(0.03 + number % 7 * 0.02)
            seen.append(await self.call(number, key, start))
        return seen

    async def call(self, number, key, start):
        outcome = Outcome()
        writer = None
        try:
            reader, writer = await asyncio.open_connection(self.host, self.port, limit=1 << 20,
                                                           ssl=ssl.create_default_context() if self.tls else None)
            await start.wait()  # every connection stands: the calls leave together
            writer.write(self.request(number, key))
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), CALL_SECONDS)
            body = await asyncio.wait_for(reader.read(-1), CALL_SECONDS)
            self.judge(outcome, head, body)
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError,
                asyncio.TimeoutError) as error:
            outcome.code = "cut" if outcome.code == "passed" else type(error).__name__
        finally:
            if writer is not None:
                writer.transport.abort()
        return outcome

    def judge(self, outcome, head, body):
        status = int(head.split(b" ", 2)[1])
        lower = head.lower()
        whole = True
        if b"transfer-encoding: chunked" in lower:
            body, whole = unchunked(body)
        elif found := re.search(rb"content-length: *(\d+)", lower):
            whole = len(body) >= int(found.group(1))
        if status != 200:
            try:
                error = json.loads(body).get("error", {})
                outcome.code = f"{status} {error.get('code') or error.get('type') or ''}".strip()
            except (ValueError, AttributeError):
                outcome.code = str(status)
            return
        outcome.code = "passed" if whole else "cut"
        if b"text/event-stream" in lower:
            for line in body.splitlines():
                if line.startswith(b"data: {"):
                    outcome.usage = read_usage(json.loads(line[6:])) or outcome.usage
        elif whole:
            outcome.usage = read_usage(json.loads(body))


class Gateway:
    """A gateway of our own before a slow mock upstream; both end with us."""

    def __init__(self, binary, folder):
        self.children = []
        mock = self.spawn([binary, "mock-upstream", "--port", "0"], folder)
        self.mock = json.loads(mock.stdout.readline())["url"]
        # Slow enough that all calls of a run overlap: JSON after 150 ms, streams 5 ms an event.
        for fault in ({"match": {"stream": False}, "fault": {"latency_ms": 150}},
                      {"match": {"stream": True}, "fault": {"first_event_delay_ms": 50, "event_delay_ms": 5}}):
            self.ask(self.mock + "/_control", fault)
        config = os.path.join(folder, "weir.yaml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(CONFIG.format(folder=folder, mock=self.mock, price_in=PRICE_IN, price_out=PRICE_OUT))
        self.log = os.path.join(folder, "weir.log")
        served = self.spawn([binary, "serve", "--config", config], folder, self.log)
        self.url = self.admin = None
        for line in served.stdout:
            words = line.split()
            if words[:1] == ["gateway"]:
                self.url = words[1]
            elif words[:1] == ["dashboard"]:
                self.admin = words[1].rstrip("/") + "/admin/v1"
            if self.url and self.admin:
                break
        else:
            with open(self.log, encoding="utf-8") as log:
                raise SystemExit("the gateway did not start:\n" + log.read()[-2000:])
        token = os.path.join(folder, "data", "admin-token")
        end = time.monotonic() + 10
        while not os.path.exists(token) and time.monotonic() < end:
            time.sleep(0.01)
        with open(token, encoding="utf-8") as file:
            self.headers = {"authorization": "Bearer " + file.read().strip()}

    def spawn(self, argv, folder, log=None):
        with open(log or os.devnull, "ab") as errors:
            child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
                                     cwd=folder, text=True)
        self.children.append(child)
        return child

    def ask(self, url, body=None, headers=None):
        body = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json", **(headers or {})}
        request = urllib.request.Request(url, data=body, headers=headers)
        with urllib.request.urlopen(request, timeout=30) as reply:
            return json.loads(reply.read())

    def make_key(self, name, cap_nano):
        limits = {"requests_per_minute": 0, "concurrent_requests": 0,
                  "budget_usd": str(decimal.Decimal(cap_nano) / NANO)}
        made = self.ask(self.admin + "/keys", {"name": name, "limits": limits}, self.headers)
        return made["key"]["id"], made["secret"]

    def standing(self, key):
        """(spent, held) in nano-dollars."""
        found = self.ask(f"{self.admin}/ledger/keys/{key}", headers=self.headers)
        return tuple(int(decimal.Decimal(found[name]) * NANO) for name in ("spent_usd", "held_usd"))

    def stop(self):
        for child in reversed(self.children):
            child.terminate()
        for child in self.children:
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()


async def one_run(options, gateway, target, number):
    """Fires all calls of a run; returns its tally."""
    loop = asyncio.get_running_loop()
    cap, key, secret = options.cap_nano, None, options.key
    if gateway:
        key, secret = await loop.run_in_executor(None, gateway.make_key, f"run-{number}", cap)
    start = asyncio.Event()
    calls = [asyncio.create_task(target.caller(n, secret, start, options.again)) for n in range(options.calls)]
    await asyncio.sleep(0.02)
    start.set()
    peak, readings = 0, 0
    every_call = asyncio.gather(*calls)
    while gateway and not every_call.done():
        spent, held = await loop.run_in_executor(None, gateway.standing, key)
        peak, readings = max(peak, spent + held), readings + 1
        await asyncio.sleep(0.005)
    outcomes = [outcome for seen in await every_call for outcome in seen]
    tally = {"codes": collections.Counter(outcome.code for outcome in outcomes), "cap": cap, "readings": readings,
             "without_usage": sum(o.code in ("passed", "cut") and o.usage is None for o in outcomes)}
    replies = sum(nano_usd(o.usage, options.price_in, options.price_out) for o in outcomes if o.usage)
    if gateway:
        spent, held = await loop.run_in_executor(None, gateway.standing, key)
        peak = max(peak, spent + held)
    else:
        spent, held, peak = replies, 0, replies
    tally |= {"spent": spent, "held": held, "peak": peak, "overshoot": max(peak - cap, 0), "problems": []}
    if gateway and held:
        tally["problems"].append(f"{held} nUSD are still held although every call has ended")
    if gateway and spent != replies:
        tally["problems"].append(f"{spent} nUSD were spent, the replies cost {replies}")
    if not tally["codes"]["passed"]:
        tally["problems"].append("no call passed, so nothing was shown")
    return tally


async def all_runs(options, gateway, target):
    places = asyncio.Semaphore(options.at_once)
    done, began = [], time.monotonic()

    async def guarded(number):
        async with places:
            done.append(await one_run(options, gateway, target, number))
            if len(done) % 50 == 0 and options.runs > 50:
                print(f"{len(done)} runs, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)

    await asyncio.gather(*(guarded(number) for number in range(options.runs)))
    return done


def report(options, tallies, seconds):
    codes = sum((tally["codes"] for tally in tallies), collections.Counter())
    total = {name: sum(tally[name] for tally in tallies) for name in ("cap", "spent", "held", "overshoot", "readings",
                                                                     "without_usage")}
    passed = codes.pop("passed", 0)
    refused = sum(codes.values())
    if options.runs > 1:
        print(f"runs       {options.runs}, {options.at_once} at once, in {seconds:.1f} s")
    print(f"calls      {passed + refused}")
    print(f"passed     {passed}")
    print(f"refused    {refused}" + "".join(f"\n  {count:6d}   {code}" for code, count in sorted(codes.items())))
    print(f"cap        {usd(total['cap'])}")
    print(f"spent      {usd(total['spent'])}" + ("" if options.own else "  (from the usage of the replies)"))
    if options.own:
        print(f"held       {usd(total['held'])}")
        print(f"highest    {max(tally['peak'] / tally['cap'] for tally in tallies):.1%} of a cap spent and held, "
              f"in {total['readings']} readings while the calls ran")
    if total["without_usage"]:
        print(f"unknown    {total['without_usage']} replies without usage: what they cost is not in this sum")
    print(f"overshoot  {total['overshoot']} nUSD")
    problems = [problem for tally in tallies for problem in tally["problems"]]
    for problem in problems[:10]:
        print(f"FAIL       {problem}")
    bad = sum(bool(tally["overshoot"] or tally["problems"]) for tally in tallies)
    print(f"{len(tallies) - bad} passed, {bad} failed")
    return 1 if bad else 0


def find_binary():
    named = os.environ.get("WEIR_BINARY")
    if named:
        return os.path.abspath(named)
    built = [os.path.join(ROOT, "build", preset, "weir") for preset in ("release", "debug")]
    built = [path for path in built if os.path.exists(path)]
    if not built:
        raise SystemExit("there is no weir here yet: run ./dev build, or set WEIR_BINARY")
    return max(built, key=os.path.getmtime)


def main():
    parser = argparse.ArgumentParser(prog="demo/overshoot.sh", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=50, help="at once on one key")
    parser.add_argument("--again", type=int, default=0, help="more tries of a caller after a 429")
    parser.add_argument("--runs", type=int, default=1, help="repeat, with a fresh key each")
    parser.add_argument("--at-once", type=int, default=4, help="runs at the same time")
    parser.add_argument("--max-tokens", type=int, default=200, help="what a bounded call asks for")
    parser.add_argument("--cap", type=decimal.Decimal, help="USD; here: what four calls can cost")
    parser.add_argument("--url", help="another gateway, for example http://127.0.0.1:4000/v1")
    parser.add_argument("--key", help="a key of it")
    parser.add_argument("--model")
    parser.add_argument("--price-in", type=decimal.Decimal, help="USD per million input tokens")
    parser.add_argument("--price-out", type=decimal.Decimal, help="USD per million output tokens")
    options = parser.parse_args()
    options.own = options.url is None
    others = ("key", "model", "price_in", "price_out")
    if options.own:
        if any(getattr(options, name) is not None for name in others):
            parser.error("--key, --model and prices belong to --url")
        options.price_in, options.price_out = PRICE_IN, PRICE_OUT
    elif any(getattr(options, name) is None for name in (*others, "cap")):
        parser.error("--url needs --key, --model, --cap, --price-in and --price-out")
    elif options.runs != 1:
        parser.error("--runs needs fresh keys, which only the gateway started here can make")
    if options.calls < 1 or options.runs < 1 or options.at_once < 1:
        parser.error("--calls, --runs and --at-once are at least 1")
    # A body is below 150 bytes, and a byte is at most one token.
    options.cap_nano = (int(options.cap * NANO) if options.cap else
                        4 * nano_usd((150, options.max_tokens), PRICE_IN, PRICE_OUT))
    folder = tempfile.mkdtemp(prefix="weir-overshoot-")
    gateway = None
    try:
        if options.own:
            gateway = Gateway(find_binary(), folder)
        target = Target(options.url or gateway.url, options.model or "m1", options.max_tokens, options.own)
        began = time.monotonic()
        tallies = asyncio.run(all_runs(options, gateway, target))
        return report(options, tallies, time.monotonic() - began)
    finally:
        if gateway:
            gateway.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
