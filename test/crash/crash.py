#!/usr/bin/env python3
"""kill -9 of the real process under load, again and again, then three logs must tell the same story.

    ./dev crash --cycles N [--streams 50] [--seed S] [--at any|random|NAME] [--evidence FILE]

Half of the kills come at a random moment. The others come at a named point, where the process ends itself
(`--crash-at` of `weir serve`, src/server/crash_point.h): before and after the commit of an intent, before and
after that of a settlement, before the end of a reply and behind it, and twice in a row while the start after a
crash resolves what was open. POINTS says what each one is. `--at` asks for one kind alone.

Three witnesses that do not know each other: the callers write down what they saw, the upstream what it sent,
the gateway what it booked. The auditor joins them and counts

  lost         a caller saw the end of a reply, and there is not exactly one settlement with the usage the
               upstream sent
  double       a request is resolved more than once, or charged more than the price of what was sent
  unrecovered  for a reply that was cut: price of what the upstream sent minus what was charged. Not below
               zero, and not above one checkpoint interval for each stream

Half of the keys are paid from prepaid wallets of quota tokens, half of them hold adaptively and outgrow it. Half
of the requests carry an Idempotency-Key and are sent again, after a kill, too, until their caller has an answer:
the kept reply byte for byte, 409 response_not_stored, or a fresh run if nothing was charged.

  wallet       a grant is charged or held above what it is, or a charge is not the tokens times the multiplier
  repeated     an Idempotency-Key is charged twice, or answered with another reply than the first

Every request meets several quota policies: limits per minute, sliding and not, per key and per team, slots, attempts of
an action, a firm limit and a shadow; some are so low that requests are refused.

  quota        a hard limit is passed after any record, a request is not held on a policy it meets, a figure is not
               what the usage comes to, a threshold is told twice or not truly, something stays held

Lost, double, wallet, repeated and quota must be zero, and `weir ledger verify` must find nothing either. A request left open after the last start is lost too: its hold
would never come back. The callers, the upstream and the moments of the kills come from the seed.

A run of 500 cycles or more adds a line to test/evidence/crash.jsonl; --evidence names another file.
"""
import argparse
import asyncio
import collections
import datetime
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "harness"))
sys.path.insert(0, HERE)
import journal  # noqa: E402
import quotas  # noqa: E402
import weir  # noqa: E402

EVENT_TEXT = "forty bytes of text are just ten tokens "
TOKENS_PER_EVENT = 10
EVENT_SECONDS = 0.02
# The gateway notes what was delivered every 256 tokens or 500 ms, whichever comes first; the note is on
# disk a group commit later, and what the upstream has sent may wait in a socket for a moment.
CHECKPOINT_TOKENS = 256
LAG_TOKENS = int(0.3 / EVENT_SECONDS) * TOKENS_PER_EVENT
# Our own count of the input, which stands in when the upstream could not say: bytes of the body / 4, where
# the body the upstream saw may be edited a little.
INPUT_SLACK_TOKENS = 64

# What is killed where, and what must be on disk then. The numbers are those of the failure matrix that the
# ledger was designed from: E1 to E9.
POINTS = {
    "intent_commit": "E1: the hold is taken in memory and nothing of it is on disk",
    "intent_durable": "E2: the hold is on disk, nothing was sent upstream",
    "dispatched": "E3: the upstream answers, the caller has no byte",
    "checkpoint": "E4: in the middle of a stream, a note of what was delivered is on disk",
    "extended": "E4: a stream has outgrown its hold, and more of it is on disk",
    "usage_read": "E5: the usage is known, the settlement is not even queued",
    "settle_commit": "E5: the settlement is queued, its commit has not begun",
    "committed": "E6: the commit is done, nobody was told of it",
    "unkept": "E7: the settlement is on disk, its reply is not kept for the same Idempotency-Key",
    "settled": "E7: the settlement is on disk, the end of the reply was not sent",
    "final_byte": "E8: the caller has it all",
    "recovery": "E9: the start is about to write how it resolves what was open; twice, then once behind it",
}
LONG_RUN = 500
EVIDENCE = os.path.join(weir.ROOT, "test", "evidence", "crash.jsonl")

CONFIG = """
listen: 127.0.0.1:{port}
admin:
  listen: 127.0.0.1:{admin_port}
workers: 2
data_dir: {folder}/data
limits:
  drain_deadline: 5s
upstreams:
  - name: witness
    base_url: http://127.0.0.1:{upstream}/v1
    api_key: upstream-secret
pools:
  - name: default
packages:
  - {{name: plain, pools: [default]}}
  - {{name: grows, pools: [default], hold: adaptive}}
  - {{name: tokens, pools: [default], wallet: quota_tokens}}
  - {{name: tokens-grow, pools: [default], wallet: quota_tokens, hold: adaptive}}
models:
  - id: m1
    routes: [witness]
    multiplier: 3
    price: {{input: 1.25, cached_input: 0.125, output: 10}}
policies:
  - {{id: each-minute, per: [key], unit: requests, limit: 40, window: minute, alerts: [50, 100]}}
  - {{id: team-tokens, per: [team], unit: total_tokens, limit: 400000, window: minute, sliding: true}}
  - {{id: slots, per: [team], unit: concurrent, limit: 11, window: lifetime}}
  - {{id: spend, unit: usd, limit: 1000, window: day, alerts: [1, 2, 5, 10]}}
  - {{id: firm, match: {{team: [t0, t1]}}, per: [team], unit: usd, limit: 20, window: hour, cap: firm}}
  - {{id: shadow, per: [key], unit: output_tokens, limit: 1, window: hour, shadow: true, forecast: false}}
  - {{id: agents, match: {{team: t0}}, unit: quota_tokens, limit: 9000000, window: minute,
     retry: {{attempts: 9}}}}
keys:
{keys}
"""
# The same by hand: the unit, what it is counted apart by, and the teams it is for.
POLICIES = {
    "each-minute": ("requests", "key", None),
    "team-tokens": ("total_tokens", "team", None),
    "slots": ("concurrent", "team", None),
    "spend": ("usd", "", None),
    "firm": ("usd", "team", ("t0", "t1")),
    "shadow": ("output_tokens", "key", None),
    "agents": ("quota_tokens", "", ("t0",)),
}
TEAMS = 4
PACKAGES = ("plain", "grows", "tokens", "tokens-grow")  # of callers, in turn
MULTIPLIER_PPM = 3_000_000
PREPAID = 2_000_000_000
KEY = """  - name: caller{number}
    secret: {secret}
    package: {package}
    prepaid: {prepaid}
    attributes: {{team: {team}}}
    limits: {{requests_per_minute: 1000000, budget: 1000}}
"""


def package_of(number):
    return PACKAGES[number % len(PACKAGES)]


def team_of(number):
    return f"t{number // len(PACKAGES) % TEAMS}"


def policies_of(number, action):
    """{(policy, values): unit} of the counters that a request of this caller is held on."""
    due = {}
    for policy, (unit, split, teams) in POLICIES.items():
        if teams is None or team_of(number) in teams:
            value = {"key": f"key=caller{number}", "team": f"team={team_of(number)}", "": ""}[split]
            due[policy, value] = unit
    if action and team_of(number) == "t0":
        due["agents/attempts", f"action={action}"] = "attempts"
    return due


def secret_of(number):
    return f"wr_crash{number:03d}" + "0" * 40


class Upstream:
    """Answers with text of a known size and keeps, for each tag, what it has handed to the socket."""

    def __init__(self):
        self.sent = {}  # tag -> {"output": tokens, "input": tokens, "ended": bool}
        self.repeated = []

    async def start(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=1024)
        self.port = self.server.sockets[0].getsockname()[1]

    async def serve(self, reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(re.search(rb"(?i)content-length: *(\d+)", head).group(1))
                body = await reader.readexactly(length)
                tag = re.search(rb"(?i)x-client-request-id: *([^\r]+)", head).group(1).decode()
                if not await self.answer(tag, json.loads(body), length, writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def answer(self, tag, body, length, writer):
        events, size = (int(word) for word in body["input"].split()[1:3])
        if tag in self.sent:
            self.repeated.append(tag)
        entry = self.sent[tag] = {"input": (length + 3) // 4, "output": 0, "ended": False}
        text, tokens = EVENT_TEXT * size, TOKENS_PER_EVENT * size
        response = {"id": f"resp_{tag}", "object": "response", "model": "m1", "status": "in_progress", "output": [],
                    "usage": None}

        def usage():
            total = entry["input"] + entry["output"]
            return {"input_tokens": entry["input"], "input_tokens_details": {"cached_tokens": 0},
                    "output_tokens": entry["output"], "output_tokens_details": {"reasoning_tokens": 0},
                    "total_tokens": total}

        if not body.get("stream"):
            await asyncio.sleep(events * EVENT_SECONDS / 4)
            entry["output"] = events * tokens
            part = {"type": "output_text", "text": text * events, "annotations": []}
            message = {"type": "message", "role": "assistant", "content": [part]}
            reply = json.dumps({**response, "status": "completed", "output": [message], "usage": usage()}).encode()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(reply) +
                         reply)
            await writer.drain()
            entry["ended"] = True
            return True

        def chunk(event):
            data = f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
            return b"%x\r\n%s\r\n" % (len(data), data)

        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n" +
                     chunk({"type": "response.created", "sequence_number": 0, "response": response}))
        delta = {"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0,
                 "delta": text}
        for number in range(events):
            await asyncio.sleep(EVENT_SECONDS)
            if writer.is_closing():
                return False
            writer.write(chunk({**delta, "sequence_number": number + 1}))
            entry["output"] += tokens
            await writer.drain()
        writer.write(chunk({"type": "response.completed", "sequence_number": events + 1,
                            "response": {**response, "status": "completed", "usage": usage()}}) + b"0\r\n\r\n")
        await writer.drain()
        entry["ended"] = True
        return True


class Callers:
    """Streams that never stop asking; each has a key of its own and one request at a time."""

    def __init__(self, port, count, seed):
        self.port, self.count, self.seed = port, count, seed
        self.log = []  # one entry a request that was sent
        self.running = True

    def run(self):
        return [asyncio.create_task(self.caller(number)) for number in range(self.count)]

    async def caller(self, number):
        chance = random.Random(self.seed * 1000 + number)
        sequence = 0
        # An event of four times the text outgrows a hold of 1,024 tokens in half a second.
        size = 4 if package_of(number).endswith(("grows", "grow")) else 1
        while self.running:
            sequence += 1
            name = f"c{number:03d}-{sequence:06d}"
            asked = {"caller": number, "stream": chance.random() < 0.7, "size": size,
                     "events": chance.randint(1, 45 if size > 1 else 80),
                     "once": name if chance.random() < 0.5 else None,
                     "action": name if chance.random() < 0.5 else None}
            repeats = 12 if asked["once"] else 0
            for again in range(repeats + 1):
                entry = {**asked, "tag": f"{name}.{again}", "request": None, "end": None, "from": time.time_ns(),
                         "hang_up": again == 0 and chance.random() < 0.08}
                try:
                    await asyncio.wait_for(self.ask(entry), 30)
                except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError,
                        asyncio.TimeoutError):
                    await asyncio.sleep(0.02)
                entry["to"] = time.time_ns()
                if not self.running or entry["end"] == "whole" and (again > 0 or chance.random() < 0.7):
                    break
                if entry.get("code") == "response_not_stored":
                    break
                if entry.get("status") == 429:
                    await asyncio.sleep(0.1)  # a limit is reached, of which there are some
                if again > 0:
                    await asyncio.sleep(0.1 * again)  # a start may take a moment, and so may a call that is in use

    async def ask(self, entry):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            name = entry["tag"].split(".")[0]
            body = json.dumps({"model": "m1", "input": f"{name} {entry['events']} {entry['size']}",
                               "stream": entry["stream"], "max_output_tokens": 2000}).encode()
            self.log.append(entry)
            once = f"Idempotency-Key: {entry['once']}\r\n" if entry["once"] else ""
            once += f"X-Weir-Action-Id: {entry['action']}\r\n" if entry["action"] else ""
            writer.write(b"POST /v1/responses HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer %s\r\n"
                         b"X-Client-Request-Id: %s\r\n%s"
                         b"Content-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" %
                         (secret_of(entry["caller"]).encode(), entry["tag"].encode(), once.encode(), len(body), body))
            head = await reader.readuntil(b"\r\n\r\n")
            entry["status"] = int(head[9:12])
            found = re.search(rb"(?i)\r\nx-request-id: *req_(\w{26})", head)
            entry["request"] = found.group(1).decode() if found else None
            first = re.search(rb"(?i)x-original-request-id: *req_(\w{26})", head)
            entry["replays"] = first.group(1).decode() if first else None
            if entry["hang_up"]:
                await asyncio.sleep(0.1)
                return
            data = await reader.read(-1)  # to the end of the connection
            if entry["status"] == 200:
                if entry["stream"]:
                    data = unchunked(data)
                    whole = data is not None and b"event: response.completed" in data
                else:
                    length = re.search(rb"(?i)content-length: *(\d+)", head)
                    whole = length is not None and len(data) == int(length.group(1))
                entry["end"] = "whole" if whole else "cut"
                if whole and entry["once"]:
                    entry["digest"] = hashlib.sha256(data).hexdigest()
            else:
                found = re.search(rb'"code": *"(\w+)"', data)
                entry["code"] = found.group(1).decode() if found else None
        finally:
            writer.transport.abort()


def unchunked(data):
    """The body of a chunked reply, heartbeats left out; None when it does not end as it should."""
    body = b""
    while True:
        size, found, data = data.partition(b"\r\n")
        if not found:
            return None
        length = int(size, 16)
        if length == 0:
            return body.replace(b": ping\n\n", b"") if data == b"\r\n" else None
        if len(data) < length + 2:
            return None
        body, data = body + data[:length], data[length + 2:]


class Doomed(weir.Process):
    """A gateway that ends itself at a point. It may do so before it listens."""

    def __init__(self, folder, port, point):
        super().__init__([weir.binary(), "serve", "--config", os.path.join(folder, "weir.yaml"), "--crash-at", point],
                         folder)
        self.port = port

    def died(self, seconds):
        """Whether it killed itself within that time; it is killed if not."""
        try:
            status = self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            self.log.close()
            return False
        self.child.stdout.close()
        self.log.close()
        if status != -9:
            raise SystemExit(f"the gateway ended with {status} instead of at its point:\n{self.errors()}")
        return True


class Counting(weir.Tally):
    """Knows how many facts of each kind were wrong: "lost", "double", "quota"."""

    def __init__(self):
        super().__init__()
        self.wrong = collections.Counter()

    def check(self, name, good, why=""):
        self.wrong[name.split(":")[0]] += not good
        return super().check(name, good, why)


def plan_of(options, cycle, chance):
    """None for a random moment, or "POINT:N" for a named one."""
    names = list(POINTS) if options.at == "any" else [options.at]
    if options.at == "random" or (options.at == "any" and cycle % 2 == 0):
        return None
    name = names[cycle // 2 % len(names)]
    # Deep in the run of the process as often as at its first request.
    if name == "recovery":
        return name
    return f"{name}:{chance.choice((1, 1, 2) if name == 'extended' else (1, 1, 2, 5, 20))}"


async def crash(options, folder):
    upstream = Upstream()
    await upstream.start()
    port = weir.free_port()
    keys = "".join(KEY.format(number=n, secret=secret_of(n), package=package_of(n), team=team_of(n),
                              prepaid=PREPAID if "tokens" in package_of(n) else 0) for n in range(options.streams))
    config = CONFIG.format(port=port, admin_port=weir.free_port(), folder=folder, upstream=upstream.port, keys=keys)
    chance = random.Random(options.seed)
    callers = Callers(port, options.streams, options.seed)
    loop = asyncio.get_running_loop()
    tasks, starts, reached = [], [], collections.Counter()
    for cycle in range(options.cycles):
        began = time.monotonic()
        plan = plan_of(options, cycle, chance) if tasks else None
        if plan is not None:
            # The start after a crash is itself killed: before it writes, again, and right after it wrote.
            for point in ("recovery", "recovery", "recovered") if plan == "recovery" else (plan,):
                doomed = Doomed(folder, port, point)
                died = await loop.run_in_executor(None, doomed.died, options.seconds + 2)
                reached[point.split(":")[0]] += died
                if not died:
                    reached["missed"] += 1
                    break
            continue
        server = await loop.run_in_executor(None, weir.Server, config, folder, port)
        starts.append(time.monotonic() - began)
        if not tasks:
            tasks = callers.run()
        await asyncio.sleep(chance.uniform(0.05, options.seconds))
        if server.child.poll() is not None:
            raise SystemExit(f"the gateway ended by itself in cycle {cycle}:\n{server.errors()}")
        server.kill()
        server.log.close()
        reached["random"] += 1
        if (cycle + 1) % 10 < 2:
            print(f"{cycle + 1} cycles, {len(callers.log)} requests", flush=True)
    # The last start recovers; the callers finish what they have, and the process ends as it should.
    server = await loop.run_in_executor(None, weir.Server, config, folder, port)
    await asyncio.sleep(0.5)
    callers.running = False
    await asyncio.gather(*tasks)
    status = await loop.run_in_executor(None, server.stop)
    upstream.server.close()
    return upstream, callers.log, status, starts, server, reached


def audit_wallets(tally, records):
    """Every grant, after every record, and every charge; from the records alone."""
    grants, open_requests, charged_requests = {}, {}, 0

    def hold(request, wallet):
        for grant, amount in wallet.lines:
            known = tally.check("wallet: a grant that is held was given", grant in grants, f"{request} {grant}")
            if known:
                grants[grant]["held"] += amount
                open_requests.setdefault(request, (wallet.multiplier_ppm, []))[1].append((grant, amount))
                entry = grants[grant]
                tally.check("wallet: spent and held are within the grant",
                            entry["spent"] + entry["held"] + entry["ended"] <= entry["amount"], f"{request} {entry}")
        open_requests.setdefault(request, (wallet.multiplier_ppm, []))

    for record in records:
        fields = record.fields
        if record.kind == journal.GRANT:
            tally.check("wallet: a grant is given once", fields["grant"] not in grants, fields["grant"])
            grants[fields["grant"]] = {"amount": fields["amount"], "spent": 0, "held": 0, "ended": 0}
        elif record.kind == journal.GRANT_END:
            grants[fields["grant"]]["ended"] += fields["removed"]
        elif record.kind in (journal.INTENT, journal.EXTEND) and fields["wallet"]:
            hold(record.request, fields["wallet"])
        elif record.kind in (journal.SETTLE, journal.VOID) and record.request in open_requests:
            multiplier, lines = open_requests.pop(record.request)
            left = 0
            if record.kind == journal.SETTLE:
                charged_requests += 1
                left, overrun = fields["wallet"]
                held = sum(amount for _, amount in lines)
                due = journal.quota_tokens(MULTIPLIER_PPM, record.usage)
                tally.check("wallet: all tokens times the multiplier, at most what is held",
                            multiplier == MULTIPLIER_PPM and left == min(due, held) and left + overrun == due,
                            f"{record} held {held}")
            for grant, amount in lines:
                taken = min(left, amount)
                left -= taken
                grants[grant]["held"] -= amount
                grants[grant]["spent"] += taken
    tally.check("wallet: nothing stays held", not open_requests and not any(g["held"] for g in grants.values()),
                str(open_requests)[:200])
    return charged_requests


def audit_repeats(tally, callers, intents, resolutions):
    """At most one charge for each Idempotency-Key, and one reply: by the hash in the records, and by what callers
    sent."""
    by_hash = collections.Counter(intents[request].fields["idempotency"][0] for request, found in resolutions.items()
                                  for record in found
                                  if record.kind == journal.SETTLE and intents[request].fields["idempotency"])
    for key, count in by_hash.items():
        tally.check("repeated: an Idempotency-Key is charged once", count == 1, f"{key}: {count}")
    by_name = {}
    for entry in callers:
        if entry["once"]:
            by_name.setdefault(entry["once"], []).append(entry)
    seen = {"replayed": 0, "not_stored": 0, "asked_again": 0}

    def charged(request):
        return any(record.kind == journal.SETTLE for record in resolutions.get(request, []))

    for name, entries in by_name.items():
        seen["asked_again"] += len(entries) - 1
        settled = {entry["request"] for entry in entries if entry["request"] and charged(entry["request"])}
        tally.check("repeated: one of a name is charged", len(settled) <= 1, f"{name}: {settled}")
        digests = {entry["digest"] for entry in entries if "digest" in entry}
        tally.check("repeated: one reply for all", len(digests) <= 1, f"{name}: {entries}")
        for entry in entries:
            if entry.get("replays"):
                seen["replayed"] += 1
                tally.check("repeated: what is sent again was charged", charged(entry["replays"]), str(entry))
            seen["not_stored"] += entry.get("code") == "response_not_stored"
    return seen


def audit_quotas(tally, callers, records):
    """Every counter after every record; and which ones a request was held on, where its caller is known."""
    keys = {record.request: record.key for record in records if record.kind == journal.INTENT}
    # The key of a caller, and what a request that had an answer said of itself.
    number_of, action_of = {}, {}
    for entry in callers:
        if entry["request"] in keys:
            number_of[keys[entry["request"]]] = entry["caller"]
            action_of[entry["request"]] = entry["action"]

    def due(intent):
        if intent.request not in action_of:
            return None
        return policies_of(number_of[intent.key], action_of[intent.request])

    counted = quotas.Audit(tally, due)
    for record in records:
        counted.take(record)
    return counted.finish()


def audit(tally, upstream, callers, records):
    intents, resolutions = {}, {}
    for record in records:
        if record.kind == journal.INTENT:
            tally.check("one intent a request", record.request not in intents, record.request)
            intents[record.request] = record
        elif record.kind in (journal.SETTLE, journal.VOID):
            resolutions.setdefault(record.request, []).append(record)

    key_of_caller, by_key = {}, {}
    for entry in callers:
        if entry["request"] in intents:
            key_of_caller[entry["caller"]] = intents[entry["request"]].key
    for request, intent in intents.items():
        by_key.setdefault(intent.key, []).append((intent.time, request))

    for request in intents:
        found = resolutions.get(request, [])
        tally.check("lost: every hold is resolved", len(found) >= 1, request)
        tally.check("double: once", len(found) <= 1, f"{request}: {found}")
    for request in resolutions:
        tally.check("no resolution without an intent", request in intents, request)

    answered = {entry["request"] for entry in callers}
    seen = {"whole": 0, "cut": 0, "unseen": 0, "voided": 0, "unbooked": 0}
    unrecovered_nano, unrecovered_tokens_max = 0, 0
    for entry in callers:
        tag, request = entry["tag"], entry["request"]
        if request is None:
            # The caller saw no head. It had one request at a time, so what its key booked meanwhile is it.
            key = key_of_caller.get(entry["caller"])
            near = [r for at, r in by_key.get(key, []) if entry["from"] - 5_000_000 <= at <= entry["to"]]
            near = [r for r in near if r not in answered]
            if len(near) != 1:
                tally.check("a request without an answer is booked once at most", len(near) == 0, f"{tag}: {near}")
                # The call starts while its intent is on the way to the disk. A kill between the two leaves
                # an upstream call that nobody booked and no caller saw: a few milliseconds of output.
                if tag in upstream.sent:
                    seen["unbooked"] += 1
                    tally.check("unrecovered: a call that was never booked had hardly begun",
                                not entry["stream"] or upstream.sent[tag]["output"] <= LAG_TOKENS * entry["size"],
                                f"{tag} {upstream.sent[tag]}")
                continue
            request = near[0]
            seen["unseen"] += 1
        elif entry.get("status") != 200 or entry.get("replays"):
            continue
        sent = upstream.sent.get(tag)
        record = resolutions.get(request, [None])[0]
        if record is None:
            tally.check("lost: booked", False, f"{tag} {request}: {entry}")
            continue
        # A void has no price of its own.
        at = intents[request].price
        if entry["end"] == "whole":
            seen["whole"] += 1
            same = (record.kind == journal.SETTLE and sent is not None and record.usage.input == sent["input"] and
                    record.usage.output == sent["output"])
            tally.check("lost: what a caller saw whole is settled as sent", same, f"{tag} {sent} {record}")
            if same:
                price = journal.price_nano_usd(at, record.usage)
                booked = record.fields["charged"] + record.fields["overrun"]
                tally.check("settled at its price", price == booked and record.fields["overrun"] == 0,
                            f"{tag} {price} {record.fields}")
            continue
        seen["cut"] += 1
        charged = record.fields["charged"] if record.kind == journal.SETTLE else 0
        seen["voided"] += record.kind == journal.VOID
        truth = journal.Usage(0, sent["input"] if sent else 0, 0, 0, sent["output"] if sent else 0, 0, 0)
        price = journal.price_nano_usd(at, truth)
        slack = at.input * INPUT_SLACK_TOKENS // 1000
        tally.check("double: a cut reply is charged at most what was sent", charged <= price + slack,
                    f"{tag} charged {charged} of {price}: {sent} {record}")
        if entry["stream"]:
            missing = truth.output - (record.usage.output if record.kind == journal.SETTLE else 0)
            unrecovered_tokens_max = max(unrecovered_tokens_max, missing)
            unrecovered_nano += max(price - charged, 0)
            tally.check("unrecovered: at most one checkpoint interval",
                        missing <= CHECKPOINT_TOKENS + LAG_TOKENS * entry["size"],
                        f"{tag} {missing} tokens: {sent} {record}")
    repeats = audit_repeats(tally, callers, intents, resolutions)
    wallets = audit_wallets(tally, records)
    extended = sum(record.kind == journal.EXTEND for record in records)
    counted = audit_quotas(tally, callers, records)
    refused = sum(entry.get("code") in ("quota_exceeded", "in_flight_reserved", "concurrency_limit_exceeded",
                                        "budget_exceeded") for entry in callers)
    tally.check("the load was real", all((seen["whole"], seen["cut"], wallets, extended, repeats["asked_again"],
                                          counted["alerts"], counted["windows"] >= counted["counters"], refused)),
                f"{seen} {repeats} {wallets} {extended} {counted} {refused}")
    tally.check("no request was sent upstream twice", not upstream.repeated, str(upstream.repeated[:5]))
    return {"seen_" + name: count for name, count in (seen | repeats).items()} | {
        "wallet_charges": wallets, "extensions": extended, "policy_refusals": refused,
        **{"quota_" + name: count for name, count in counted.items()},
        "unrecovered_usd": unrecovered_nano / 1e9, "unrecovered_tokens_max": unrecovered_tokens_max}


def verify_by_gateway(tally, data, records):
    """The gateway's own auditor finds nothing, and its export has every record and names every line of a policy."""
    def run(*arguments):
        return subprocess.run([weir.binary(), "ledger", *arguments, "--data-dir", data], capture_output=True, text=True,
                              check=False)

    verified = run("verify", "--json")
    good = verified.returncode == 0 and json.loads(verified.stdout)["good"]
    tally.check("weir ledger verify finds nothing", good, verified.stdout[:2000] + verified.stderr[:2000])
    rows = [json.loads(line) for line in run("export").stdout.splitlines()]
    kinds = {journal.COUNTER: "counter", journal.WINDOW: "window", journal.ALERT: "alert"}
    for kind, name in kinds.items():
        tally.check("weir ledger export has each record of policies",
                    sum(row["kind"] == name for row in rows) == sum(record.kind == kind for record in records), name)
    for row, record in zip(rows, records):
        lines = row.get("quotas", [])
        amounts = [line.get("held", line.get("used")) for line in lines]
        written = record.fields.get("quotas", [])
        written = [entry[1] if isinstance(entry, tuple) else entry for entry in written]
        tally.check("weir ledger export names each line", amounts == written and all(line["policy"] for line in lines),
                    f"{row} {record}")
    tally.check("weir ledger export has every record", len(rows) == len(records), f"{len(rows)} of {len(records)}")


def commit_now():
    """What is checked out at the start; "-dirty" when it is not all of what runs."""
    return subprocess.run(["git", "-C", weir.ROOT, "describe", "--always", "--dirty", "--abbrev=12"],
                          capture_output=True, text=True, check=False).stdout.strip()


def keep(options, commit, callers, records, reached, tally, story, seconds):
    """One line for whoever asks what was ever tried."""
    path = options.evidence or EVIDENCE
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    line = {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "commit": commit,
            "seed": options.seed, "streams": options.streams, "cycles": options.cycles,
            "kills": dict(sorted(reached.items())),
            "requests": len(callers), "records": len(records), "lost": tally.wrong["lost"],
            "double": tally.wrong["double"], "wallet": tally.wrong["wallet"],
            "repeated": tally.wrong["repeated"], "quota": tally.wrong["quota"], "replayed": story["seen_replayed"],
            "quota_holds": story.get("quota_hard_holds", 0), "quota_alerts": story.get("quota_alerts", 0),
            "policy_refusals": story["policy_refusals"],
            "wallet_charges": story["wallet_charges"], "extensions": story["extensions"],
            "wrong": tally.failed, "facts": tally.passed,
            "unrecovered_usd": round(story["unrecovered_usd"], 9),
            "unrecovered_tokens_max": story["unrecovered_tokens_max"], "seconds": round(seconds)}
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=10)
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=1.5, help="the longest time between a start and its kill")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--at", choices=["any", "random", *POINTS], default="any", help="where the kills come")
    parser.add_argument("--evidence", metavar="FILE", help="add a line with the result")
    options = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="weir-crash-")
    tally = Counting()
    started, commit = time.monotonic(), commit_now()
    print(f"seed {options.seed}", flush=True)
    upstream, callers, status, starts, server, reached = asyncio.run(crash(options, folder))
    tally.check("the last process ends cleanly", status == 0, f"{status}\n{server.errors()}")
    records = journal.read(os.path.join(folder, "data"))
    story = audit(tally, upstream, callers, records)
    verify_by_gateway(tally, os.path.join(folder, "data"), records)
    kinds = [sum(record.kind == kind for record in records) for kind in range(1, 6)]
    print(f"{options.cycles} cycles in {time.monotonic() - started:.0f} s, slowest start {max(starts):.2f} s; "
          f"{len(callers)} requests, {len(upstream.sent)} reached the upstream; journal: {kinds[0]} intents, "
          f"{kinds[1]} checkpoints, {kinds[2]} settled, {kinds[3]} voided")
    print(" ".join(f"{name}={value}" for name, value in story.items()))
    print("killed " + " ".join(f"{name}={count}" for name, count in sorted(reached.items())))
    if options.at == "any" and options.cycles >= 4 * len(POINTS):
        for point in (*POINTS, "recovered"):
            tally.check("every point was reached", reached[point] > 0, f"{point}: {dict(reached)}")
    wrong = " ".join(f"{name}={tally.wrong[name]}" for name in ("lost", "double", "wallet", "repeated", "quota"))
    print(f"{wrong}; {tally.passed} facts agree")
    if options.evidence or options.cycles >= LONG_RUN:
        keep(options, commit, callers, records, reached, tally, story, time.monotonic() - started)
    tally.passed = options.cycles  # what is counted are cycles, not the thousands of facts about them
    if tally.failed:
        print(f"kept: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
