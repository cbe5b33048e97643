#!/usr/bin/env python3
"""Simulated schedules in numbers: `weir sim` over a range of seeds, on every core, and a line of evidence.

    ./dev sim [--count N] [--seed N] [--events N] [--jobs N] [--no-evidence]

Without --seed it goes on where the last line of test/evidence/sim.jsonl ended, so that runs add up to seeds that
were never tried before. A seed makes another schedule when what is drawn from it changes, so each such change gets a
name here (WORKLOAD), and lines of others do not count. A line says what was run: date, commit (and whether the tree was changed since), seeds, what
happened in them, violations, seconds, and the sum of schedules over all lines of its workload. A run that finds a violation says so
in its line, prints the shrunk schedule and fails.
"""
import argparse
import datetime
import json
import os
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EVIDENCE = os.path.join(ROOT, "test", "evidence", "sim.jsonl")
CHUNK = 2000  # schedules of one process; small enough that cores end together
SUMS = ("schedules", "violations", "events", "requests", "admitted", "attempts", "served", "settled", "voided",
        "recovered", "overruns", "records", "crashes", "power_cuts", "lost_records", "grants", "extensions",
        "out_of_hold", "replays", "counters", "windows", "quota_lines", "alerts", "policy_refusals",
        "simulated_seconds")
WORKLOAD = "policies"  # lines from before there were names have none


def chunks(first, count, size=CHUNK):
    """(seed, count) of each process, in order."""
    while count > 0:
        part = min(count, size)
        yield first, part
        first, count = first + part, count - part


def read_evidence(path):
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def of_workload(lines, workload=WORKLOAD):
    return [line for line in lines if line.get("workload") == workload]


def next_seed(lines):
    """Behind the last seed of all lines, those of another number of actions included."""
    return 1 + max((line["seed_last"] for line in lines), default=0)


def add_up(results):
    return {name: sum(result[name] for result in results) for name in SUMS}


def git(*arguments):
    done = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def run_all(binary, jobs, events, work):
    """The JSON of each chunk, and what those that failed printed besides."""
    results, failures, running = [], [], []
    work = list(work)

    def reap(process, seed):
        out = process.communicate()[0]
        last = out.rstrip().rsplit("\n", 1)[-1]
        if process.returncode != 0:
            failures.append(out if out.strip() else f"seeds from {seed}: ended with {process.returncode}")
        if last.startswith("{"):
            results.append(json.loads(last))

    while work or running:
        while work and len(running) < jobs:
            seed, count = work.pop(0)
            command = [binary, "sim", "--json", "--shrink", "--keep-going", "--seed", str(seed), "--count", str(count),
                       "--events", str(events)]
            running.append((subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True),
                            seed))
        reap(*running.pop(0))
    return results, failures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--events", type=int, default=40)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--no-evidence", action="store_true")
    options = parser.parse_args()
    binary = os.environ.get("WEIR_BINARY")
    if not binary:
        sys.exit("set WEIR_BINARY, or run this as ./dev sim")

    lines = of_workload(read_evidence(EVIDENCE))
    seed = options.seed if options.seed is not None else next_seed(lines)
    # Before, because a long run may see a commit come in.
    commit, changed = git("rev-parse", "--short=12", "HEAD"), bool(git("status", "--porcelain", "src"))
    began = time.monotonic()
    results, failures = run_all(binary, options.jobs, options.events, chunks(seed, options.count))
    seconds = time.monotonic() - began
    line = {"date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "commit": commit, "changed": changed, "workload": WORKLOAD,
            "actions": options.events, "seed_first": seed, "seed_last": seed + options.count - 1, **add_up(results),
            "seconds": round(seconds, 1)}
    line["schedules_in_all"] = line["schedules"] + sum(before["schedules"] for before in lines)
    for failure in failures:
        print(failure)
    if not options.no_evidence:
        os.makedirs(os.path.dirname(EVIDENCE), exist_ok=True)
        with open(EVIDENCE, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    print(json.dumps(line))
    broken = max(line["violations"], len(failures))
    print(f"{line['schedules'] - line['violations']} passed, {broken} failed")
    sys.exit(1 if broken or line["schedules"] < options.count else 0)


if __name__ == "__main__":
    main()
