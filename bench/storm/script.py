"""What goes wrong when: a seeded plan of faults over time, made before anything runs.

A Window is one fault of one account from `start` to `end` (seconds from the start of the storm). The world
applies them; the judge reads the times at which they were really applied.
"""
import dataclasses
import random

EARLY = 0.15  # seconds


@dataclasses.dataclass
class Window:
    account: int
    kind: str
    start: float
    end: float
    rules: list           # of the mock: dicts with `fault` and perhaps `stream`
    answers: bool = False  # its calls are still answered whole, only later
    told: float = 0.0     # seconds the upstream itself asks to wait in each such reply; 0: it says nothing
    dead: bool = False    # its first reply says that calls are useless until `told` is over, or for good
    # Wall times in ms, once applied: on from..to, off from..to; None: not yet, or never.
    on: tuple = None
    off: tuple = None


@dataclasses.dataclass
class Phase:
    name: str
    start: float
    end: float
    json_ms: int = 150    # how long a healthy account takes
    callers: str = "main"


def rule(fault, stream=None):
    return {"fault": fault, **({} if stream is None else {"stream": stream})}


def limited(seconds):
    return [rule({"status": 429, "body": "usage_limit_reached", "resets_in_seconds": seconds})]


# name -> (weight, make): make(random, seconds) gives the fields of a Window. `seconds` is whole.
def burst_told(_, seconds):
    return {"rules": [rule({"status": 429, "retry_after": str(seconds)})], "told": seconds}


def burst_bare(_, seconds):
    return {"rules": [rule({"status": 429})]}


def usage_limit(_, seconds):
    return {"rules": limited(seconds), "told": seconds, "dead": True}


def usage_limit_in_stream(_, seconds):
    event = {"error_event": "usage_limit_reached", "resets_in_seconds": seconds, "error_after_events": 1}
    return {"rules": [rule(event, True)] + limited(seconds), "told": seconds, "dead": True}


def hang_before_head(_, seconds):
    return {"rules": [rule({"hang": "before_head"})]}


def hang_after_head(_, seconds):
    return {"rules": [rule({"hang": "after_head"})]}


def hang_mid_stream(_, seconds):
    return {"rules": [rule({"hang": "mid_stream"})]}


def reset_early(chance, seconds):  # before the first content of any reply
    return {"rules": [rule({"reset_at_byte": chance.randint(0, 250)})]}


def reset_late(chance, seconds):  # behind it in a stream
    return {"rules": [rule({"reset_at_byte": chance.randint(2900, 4500)}, True),
                      rule({"reset_at_byte": chance.randint(1, 400)}, False)]}


def server_error(chance, seconds):
    status, body = chance.choice([(500, "server_error"), (502, "html"), (504, "empty")])
    return {"rules": [rule({"status": status, "body": body})]}


def overloaded(chance, seconds):
    return {"rules": [rule({"status": chance.choice([503, 529]), "body": "overloaded"})]}


def created_then_error(chance, seconds):
    event = {"error_event": "server_error", "error_after_events": 1,
             "error_event_as": chance.choice(["error", "response.failed"])}
    return {"rules": [rule(event, True), rule({"status": 500}, False)]}


def empty_stream(_, seconds):
    return {"rules": [rule({"end_at_byte": 0}, True), rule({"status": 500, "body": "empty"}, False)]}


def slow(chance, seconds):
    wait = chance.randint(800, 1400)
    return {"rules": [rule({"first_event_delay_ms": wait, "event_delay_ms": 12}, True),
                      rule({"latency_ms": wait}, False)], "answers": True}


def key_refused(_, seconds):
    return {"rules": [rule({"status": 401, "body": "invalid_api_key"})], "dead": True}


KINDS = {
    "burst_told": (3, burst_told), "burst_bare": (2, burst_bare), "usage_limit": (4, usage_limit),
    "usage_limit_in_stream": (2, usage_limit_in_stream), "hang_before_head": (1, hang_before_head),
    "hang_after_head": (1, hang_after_head), "hang_mid_stream": (1, hang_mid_stream),
    "reset_early": (2, reset_early), "reset_late": (1, reset_late), "server_error": (2, server_error),
    "overloaded": (2, overloaded), "created_then_error": (2, created_then_error),
    "empty_stream": (1, empty_stream), "slow": (2, slow)}


class Script:
    def __init__(self, seconds, seed, accounts, brief=False):
        self.chance = random.Random(seed)
        self.seconds, self.accounts = seconds, accounts
        self.windows = []
        self.phases = []
        if brief:
            self.phases = [Phase("calm", 0, 1), Phase("storm", 1, seconds - 2),
                           Phase("recovery", seconds - 2, seconds)]
            self.storm(1, seconds - 2, most=accounts // 2, longest=2, up=2.0)
            return
        at = [round(seconds * share, 1) for share in (0.08, 0.60, 0.80, 0.87, 0.95)]
        self.phases = [Phase("calm", 0, at[0]), Phase("storm", at[0], at[1]),
                       Phase("contended", at[1], at[2], json_ms=300, callers="rivals"),
                       Phase("all limited briefly", at[2], at[3]), Phase("all limited long", at[3], at[4]),
                       Phase("recovery", at[4], seconds)]
        self.storm(at[0], at[1], most=accounts * 3 // 5, longest=5, up=7.0)
        # Few accounts for many callers. Their limits end with the phase.
        whole = int(at[2] - at[1])
        for account in range(accounts * 3 // 10, accounts):
            self.add(account, "usage_limit", at[1], at[1] + whole)
        # Every account is away, for less than a caller may wait and then for more.
        for start, length in ((at[2] + 0.5, 2), (at[3], int(at[4] - at[3]))):
            for account in range(accounts):
                self.add(account, "usage_limit", start, start + length)

    def add(self, account, kind, start, end):
        if any(w.account == account and w.start < end and start < w.end for w in self.windows):
            return  # one thing at a time
        made = (key_refused if kind == "key_refused" else KINDS[kind][1])(self.chance, round(end - start))
        # A limit is over a little before the time its replies name: a call at exactly that time must be served, and
        # the hand that turns the fault off may be late.
        self.windows.append(Window(account, kind, start, end - (EARLY if made.get("told") else 0), **made))

    def storm(self, start, end, most, longest, up):
        """Each account is well for a while and then not, but at most `most` at once are not."""
        chance = self.chance
        # Two keys are refused from some moment on and for good.
        for account in chance.sample(range(self.accounts), max(self.accounts // 10, 1)):
            self.add(account, "key_refused", start + (end - start) * chance.uniform(0.1, 0.5), self.seconds + 3600)
        names = list(KINDS)
        weights = [KINDS[name][0] for name in names]
        planned = []
        for account in range(self.accounts):
            at = start + chance.expovariate(1 / up)
            while at < end - 1:
                length = min(chance.randint(1, longest), int(end - at))
                planned.append((at, account, chance.choices(names, weights)[0], length))
                at += length + 1 + chance.expovariate(1 / up)
        for at, account, kind, length in sorted(planned):
            if sum(1 for w in self.windows if w.start <= at < w.end) < most:
                self.add(account, kind, at, at + length)

    def boundaries(self):
        times = {w.start for w in self.windows} | {w.end for w in self.windows} | {p.start for p in self.phases}
        return sorted(t for t in times if t <= self.seconds)

    def active(self, at):
        return [w for w in self.windows if w.start <= at < w.end]

    def phase(self, at):
        return [p for p in self.phases if p.start <= at][-1]
