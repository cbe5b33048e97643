#!/usr/bin/env python3
"""A short slice of `./dev bench storm`, for what must hold in any weather and on any machine: no request is lost or
stuck, no call goes to an account that said it is dead, none is refused while a sound account has a free slot, and
whoever is not served is told so and when to come back.

Shares and times are the bench's business. The first half checks the judge itself on made-up logs: a judge that
cannot find a defect would pass everything.
"""
import json
import os
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "test", "harness"))
sys.path.insert(0, os.path.join(ROOT, "bench"))
import weir  # noqa: E402
from storm import judge, script, world  # noqa: E402
from storm.callers import Seen  # noqa: E402

SECONDS, SEED = 10, 7


class Made:
    """A made-up storm of two accounts, in milliseconds from 0."""

    def __init__(self):
        self.lines, self.seen, self.windows = [], [], []
        # Markers every 10 ms; `n` follows the order of arrival.
        self.events = [(t, {"at_ms": t, "path": "/v1/models", "authorization_suffix": "", "client_request_id": "",
                            "fault": 0, "finished": True}) for t in range(0, 20_000, 10)]

    def fault(self, account, kind, on, off, **fields):
        window = script.Window(account, kind, 0, 0, [], **fields)
        window.on, window.off = (on, on), (off, off)
        self.windows.append(window)
        return len(self.windows)

    def call(self, account, came, ended, request="r1", fault=0, whole=True):
        self.events.append((came + 0.5, {"at_ms": ended, "path": "/v1/responses", "fault": fault, "finished": whole,
                                         "authorization_suffix": f"t-{account}", "client_request_id": request}))

    def ask(self, request="r1", sent=5000, ended=5100, verdict="ok", session="s", **fields):
        self.seen.append(Seen(request, session, "k", "responses", False, "storm", sent, ended, verdict, **fields))

    def judge(self, slots=1):
        for n, (_, line) in enumerate(sorted(self.events, key=lambda event: event[0]), 1):
            self.lines.append({"n": n, **line})
        return judge.judge(self.seen, self.lines, dict(enumerate(self.windows, 1)), self.windows,
                           {"t-0": 0, "t-1": 1}, [("storm", 0, 20_000, "main")],
                           judge.Rules(slots=slots, wait_ms=1000, per_key=1))


def wasted(tally):
    made = Made()
    made.ask(ended=9000)
    fault = made.fault(0, "usage_limit", 1000, 5000, told=4, dead=True)
    made.call(0, 1500, 1500, fault=fault)   # this one tells
    made.call(0, 1530, 1530, fault=fault)   # was on its way
    tally.check("calls on their way are not wasted", made.judge()["wasted_calls"] == 0)
    made = Made()
    made.ask(ended=9000)
    fault = made.fault(0, "usage_limit", 1000, 5000, told=4, dead=True)
    made.call(0, 1500, 1500, fault=fault)
    made.call(0, 1600, 1600, fault=fault)
    made.call(0, 5450, 5480)                # a little before the reset
    made.call(0, 5520, 5530)
    got = made.judge()["wasted_calls"]
    tally.check("a call after the word and one before the reset are wasted", got == 2, str(got))
    made = Made()
    made.ask(ended=9000)
    fault = made.fault(1, "key_refused", 1000, 20_000, dead=True)
    made.call(1, 1500, 1500, fault=fault)
    made.call(1, 9000, 9000, fault=fault)
    tally.check("a refused key stays refused", made.judge()["wasted_calls"] == 1)


def free(tally):
    def refused(*busy, **fields):
        made = Made()
        made.ask("r0", sent=1000, ended=1001)
        for account, came, ended in busy:
            made.call(account, came, ended, "r0")
        made.ask(verdict="refused", status=429, code="no_capacity", retry_after="1", **fields)
        return made

    got = refused((0, 4000, 9000), (1, 4000, 9000)).judge()
    tally.check("refused while all are full", (got["failed_while_free"], got["success_share"]) == (0, 1), str(got))
    got = refused((0, 4000, 9000), (1, 4000, 4900)).judge()
    tally.check("refused while one is free", (got["failed_while_free"], got["success_share"]) == (1, 0.5))
    got = refused((0, 4000, 9000), (1, 4000, 5060)).judge()
    tally.check("a moment's room is a handover", got["failed_while_free"] == 0)
    tally.check("but it could have waited for it", got["success_share"] == 0.5)
    made = refused((0, 4000, 9000))
    made.call(1, 3000, 3000, "r0", made.fault(1, "burst_told", 2900, 9000, told=6))
    got = made.judge()
    tally.check("who rests as it said is not free", (got["failed_while_free"], got["success_share"]) == (0, 1))
    made = refused((0, 4000, 9000))
    made.call(1, 3000, 3000, "r0", made.fault(1, "server_error", 2900, 3500))
    got = made.judge()
    tally.check("one in doubt may be left alone", (got["failed_while_free"], got["failed_while_answering"]) == (0, 1))
    made = refused((0, 4000, 9000), (1, 4000, 5060))
    made.seen[-1].code = "capacity_queue_full"
    tally.check("a line that was not full", made.judge()["success_share"] == 0.5)
    made = refused((0, 4000, 9000), (1, 4000, 5060))
    made.seen[-1].code = "capacity_queue_full"
    made.ask("r9", sent=4500, ended=7000)
    tally.check("a full line is no failure", made.judge()["success_share"] == 1)
    made = refused((0, 4000, 9000), (1, 4000, 9000))
    made.seen[-1].retry_after = ""
    tally.check("a refusal without Retry-After", made.judge()["refused_without_retry_after"] == 1)


def sticky(tally):
    def two(second, *faults):
        made = Made()
        made.ask("r1", sent=1000, ended=1100)
        made.ask("r2", sent=8000, ended=8100)
        made.call(0, 1000, 1100, "r1")
        made.call(second, 8000, 8100, "r2")
        for fault in faults:
            made.fault(*fault)
        return made.judge(slots=8)["sticky_hit_rate"]

    tally.check("the same account", two(0) == 1)
    tally.check("another without a reason", two(1) == 0)
    tally.check("another because the first failed", two(1, (0, "server_error", 7000, 9000)) is None)
    tally.check("another long after a failure", two(1, (0, "server_error", 1, 2)) is None)  # in doubt: never asked


def slice_of_storm(tally):
    with tempfile.TemporaryDirectory(prefix="weir-storm-") as folder:
        # A build with sanitizers beside other work may take some time to read what it was told.
        figures, ran = world.storm(script.Script(SECONDS, SEED, 20, brief=True), SEED, folder, known_ms=250,
                                   sessions=60, main_callers=16)
        raw = figures["raw"]
        said = json.dumps({name: raw[name] for name in ("verdicts", "calls_by_fault")})
        for name, of in (("stuck", "stuck_or_lost"), ("lost", "stuck_or_lost"), ("wasted_calls", "wasted"),
                         ("failed_while_free", "refused_while_free"), ("refused_without_retry_after", "dishonest")):
            items = "\n".join(json.dumps(item) for item in raw[of])
            tally.check(name, figures[name] == 0, f"{figures[name]} {said}\n{items}\n" + "\n".join(
                ran.log_lines([item.get("request_id") for item in raw[of]])[:20]))
        # A slice that meets no fault, or serves nobody, would pass all of the above.
        tally.check("most are served", raw["served"] > raw["requests"] * 0.8 and raw["served"] > 100, said)
        tally.check("there was a storm", sum(n for kind, n in raw["calls_by_fault"].items() if kind != "well") > 10, said)
        tally.check("both ended well", raw["exit_status"] == [0, 0], str(raw["exit_status"]))


def main():
    tally = weir.Tally()
    for part in (wasted, free, sticky, slice_of_storm):
        part(tally)
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
