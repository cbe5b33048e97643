#!/usr/bin/env python3
"""A scripted storm over a pool of accounts: how well Weir makes twenty troubled accounts look like one sound one.

    ./dev bench storm [--json] [--seconds N] [--seed N] [--sessions N] [--keep FOLDER]

`weir mock-upstream` plays all accounts (eight calls at once each), `weir serve` has them in one pool with a queue,
and callers of 2,000 sessions send streams and JSON to /v1/responses and /v1/chat/completions. A plan made from the
seed turns the mock's faults: 429 with and without Retry-After, usage limits with a reset (as a reply and inside a
stream), hangs before and in the reply, resets at a byte, 5xx, response.created followed by an error, empty streams,
refused keys, slow accounts. Phases: calm; storm (at most three fifths of the accounts in trouble at once); contended
(six accounts, four equal keys with 24 to 116 callers); all limited for 2 s, then for longer than callers wait;
recovery.

What the figures mean. Nothing in them is Weir's word but queue_ms: they come from what callers saw, from the mock's
log, and from when faults were really on. A slot is "free" when it was so for 100 ms in a row.

  success_share           served whole / (served whole + failed although they need not have). A failure is everything
                          that is not a whole and correct reply, but for refusals (429, 5xx before the first byte)
                          of requests for which no account that would have answered had a free slot between arrival
                          and the end of the allowed wait (4 s). Aim 1.
  success_share_before_content   the same without replies that broke behind their first content: another account
                          cannot take those over, because the caller already has a part.
  wasted_calls            calls that came to an account more than 50 ms after it had said that it is dead (usage limit
                          until its reset, key refused). Aim 0.
  sticky_hit_rate         of each two calls in a row of a session: the share at the same account. Not counted where
                          either account was in trouble (faulty, slow, resting as it said, or not yet back: until its
                          first whole reply, at most 10 s) or full since the call before, and in the contended phase.
                          Aim > 0.99. ..._with_full counts moves away from or back to a full account as misses.
  queue_fairness          most / least served replies among the four equal keys of the contended phase, without its
                          first quarter. One sends only chat, one only responses, two send both. Aim 1.
  failed_while_free       429 and 503 for a request at whose end an account that Weir had no reason to distrust had a
                          free slot. Aim 0. failed_while_answering counts also accounts that had failed without
                          saying for how long, or that were waiting for a first good reply.
  queue_ms_p50, _p99      time in the queue of all requests, as the reply's header says; queued_ms_*: of those that
                          had to wait.
  attempts_mean, _p50, _p99, _max    calls at accounts for each request that reached one.
  stuck, lost             requests without an end within 30 s; replies that were cut or wrong and did not say so. Aim 0.
  refused_without_retry_after        429 and 503 without a Retry-After of at least 1, or refusals without a code. Aim 0.
  recovery_ms_p50, _p99   from the moment an account answers again until it gets its next call.

`raw` has the counts, and requests and calls behind every bad figure with their ids. Exit status 1 when stuck, lost,
wasted_calls, failed_while_free or refused_without_retry_after is not 0.
"""
import argparse
import json
import os
import shutil
import sys
import tempfile

from storm.script import Script
from storm.world import storm

ACCOUNTS = 20
FIGURES = ("success_share", "success_share_before_content", "wasted_calls", "sticky_hit_rate",
           "sticky_hit_rate_with_full", "queue_fairness", "failed_while_free", "failed_while_answering", "queue_ms_p50",
           "queue_ms_p99", "queued_ms_p50", "queued_ms_p99", "attempts_mean", "attempts_p50", "attempts_p99",
           "attempts_max", "stuck", "lost", "refused_without_retry_after", "recovery_ms_p50", "recovery_ms_p99")
MUST_BE_ZERO = ("stuck", "lost", "wasted_calls", "failed_while_free", "refused_without_retry_after")


def show(figures):
    for name in FIGURES:
        value = figures[name]
        print(f"  {name:32} {'-' if value is None else f'{value:,.4f}' if isinstance(value, float) else f'{value:,}'}")
    for name, value in figures["raw"].items():
        if isinstance(value, dict):
            print(f"\n{name}")
            for key, count in sorted(value.items(), key=lambda item: str(item[0])):
                print(f"  {count:>7,}  {key}")
        elif isinstance(value, list) and name != "exit_status":
            if value:
                print(f"\n{name}, the first {len(value)}")
            for item in value:
                print("  " + json.dumps(item))
        else:
            print(f"\n{name}: {value}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=75, help="of the storm, 30 to 600")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sessions", type=int, default=2000)
    parser.add_argument("--callers", type=int, default=40, help="at once, outside the contended phase")
    parser.add_argument("--binary", help="the weir to measure")
    parser.add_argument("--keep", help="keep logs in this folder")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    seconds = min(max(options.seconds, 30), 600)
    if options.binary:
        os.environ["WEIR_BINARY"] = os.path.abspath(options.binary)
    folder = options.keep or tempfile.mkdtemp(prefix="weir-storm-")
    os.makedirs(folder, exist_ok=True)
    try:
        figures, world = storm(Script(seconds, options.seed, ACCOUNTS), options.seed, folder,
                               sessions=options.sessions, main_callers=options.callers)
        raw = figures["raw"]
        bad = [item["request_id"] for name in ("refused_while_free", "dishonest", "stuck_or_lost", "failures")
               for item in raw[name]]
        raw["weir_log"] = world.log_lines(bad)[:60]
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    figures.update(seconds=seconds, seed=options.seed, sessions=options.sessions)
    if options.json:
        print(json.dumps(figures))
    else:
        show(figures)
    return 1 if any(figures[name] for name in MUST_BE_ZERO) else 0


if __name__ == "__main__":
    sys.exit(main())
