#!/usr/bin/env python3
"""Windows of quota policies in every time zone, against Python's zoneinfo.

    ./dev zones [--zones NAME,...] [--jobs N]     every zone of the system's tz database
    zones_test.py                                 the slice that CI runs: 20 zones

What is compared: `weir policy windows`, which reads the database with the date library and computes with
policy/calendar, and the few lines below, which read the same database with zoneinfo and know of windows only the
sentences of the guide. From 1970 to 2037, for hours, days and weeks, and for months counted from days 1, 28, 29, 30
and 31; and a hour of the night at which clocks are often changed. Prints "N passed, M failed", one for each zone and
kind of window.
"""
import argparse
import calendar
import concurrent.futures
import datetime
import itertools
import os
import subprocess
import sys
import zoneinfo

EPOCH = datetime.datetime(1970, 1, 1)
UTC = datetime.timezone.utc
FROM, TO = 0, int(datetime.datetime(2038, 1, 1, tzinfo=UTC).timestamp())
# The places of the design page, and others whose clocks did something odd: no midnight, two of them, half an hour,
# a day that never was, a rule that Ramadan moves, one that ends in 2087, seconds in the offset.
SLICE = ("America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "Asia/Beirut", "America/Santiago",
         "America/Havana", "Pacific/Apia", "Asia/Kathmandu", "Europe/Dublin", "Africa/Casablanca", "America/Nuuk",
         "America/Scoresbysund", "Pacific/Kwajalein", "Antarctica/Troll", "Asia/Pyongyang", "Africa/Monrovia",
         "America/St_Johns", "Asia/Gaza", "Europe/Berlin", "UTC")
# (name, --window, --every, --anchor)
KINDS = [("hour", "hour", 1, "1970-01-01T00:00"),
         ("day", "day", 1, "2024-01-01T00:00"),
         ("day at 02:30", "day", 1, "1999-12-31T02:30"),
         ("3 days", "day", 3, "2001-03-04T00:00"),
         ("week", "week", 1, "2024-01-01T00:00"),
         ("2 weeks", "week", 2, "2010-06-16T01:00")]
KINDS += [(f"month from {day}", "month", 1, f"2001-01-{day:02}T00:00") for day in (1, 28, 29, 30, 31)]
KINDS += [("quarter from 31 at 02:30", "month", 3, "2001-01-31T02:30")]


class Zone:
    """A clock that is read; all times of UTC in whole seconds since 1970."""

    def __init__(self, name):
        self.zone = zoneinfo.ZoneInfo(name)

    def offset(self, at):
        local = datetime.datetime.fromtimestamp(at, UTC).astimezone(self.zone)
        return int(local.utcoffset().total_seconds())

    def first(self, local):
        """When its clock first shows `local`; where that is skipped, the moment of the change."""
        seconds = int((local - EPOCH).total_seconds())
        # fold=0: the first of two; of a moment that is skipped, by the offset before the change.
        at = seconds - int(local.replace(tzinfo=self.zone).utcoffset().total_seconds())
        shown = at + self.offset(at)
        if shown == seconds:
            return at
        # Skipped: the clock jumped from below `local` to above it at most that far before.
        low, high = at - (shown - seconds) - 1, at
        after = self.offset(high)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.offset(middle) == after else (middle, high)
        return high


def moments(window, every, anchor):
    """Local moments at which windows begin, with room around the years that are asked for."""
    if window == "month":
        for months in itertools.count(-((anchor.year - 1968) * 12 // every) * every, every):
            year, month = divmod(anchor.year * 12 + anchor.month - 1 + months, 12)
            if year > 2039:
                return
            day = min(anchor.day, calendar.monthrange(year, month + 1)[1])
            yield anchor.replace(year=year, month=month + 1, day=day)
        return
    step = datetime.timedelta(days=every * (7 if window == "week" else 1))
    local = anchor - step * ((anchor - datetime.datetime(1969, 1, 1)) // step)
    while local.year < 2040:
        yield local
        local += step


def expected(zone, window, every, anchor):
    """Runs of windows of one length: (first start, last end, number)."""
    if window == "hour":
        # Elapsed time from the anchor on: one run.
        step = 3600 * every
        begin = zone.first(anchor)
        begin += (FROM - begin) // step * step
        count = -((begin - TO) // step)
        return [(begin, begin + count * step, count)]
    starts = []
    for local in moments(window, every, anchor):
        at = zone.first(local)
        if starts and at < starts[-1]:
            raise AssertionError(f"the oracle is wrong: {local} is before the window before it")
        if not starts or at != starts[-1]:  # a day that never was is no window
            starts.append(at)
    runs = []
    for begin, end in itertools.pairwise(starts):
        if end <= FROM or begin >= TO:
            continue
        if runs and (runs[-1][1] - runs[-1][0]) == (end - begin) * runs[-1][2]:
            runs[-1] = (runs[-1][0], end, runs[-1][2] + 1)
        else:
            runs.append((begin, end, 1))
    return runs


def windows_of(binary, name, window, every, anchor):
    done = subprocess.run(
        [binary, "policy", "windows", "--timezone", name, "--window", window, "--every", str(every), "--anchor", anchor,
         "--from", "1970-01-01", "--to", "2038-01-01", "--unix", "--runs"],
        capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        return done.stderr.strip()
    return [tuple(int(number) for number in line.split()) for line in done.stdout.splitlines()]


def check(binary, name):
    """What is wrong in a zone, a line for each kind of window."""
    zone = Zone(name)
    faults = []
    for kind, window, every, anchor in KINDS:
        want = expected(zone, window, every, datetime.datetime.fromisoformat(anchor))
        have = windows_of(binary, name, window, every, anchor)
        if have != want:
            differ = [f"{h} instead of {w}" for h, w in itertools.zip_longest(have, want) if h != w] \
                if isinstance(have, list) else [have]
            faults.append(f"{name}, {kind}: {differ[0]}")
    return faults


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--all", action="store_true", help="every zone of the database")
    parser.add_argument("--zones", default="", help="these instead, with commas between them")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    binary = os.environ.get("WEIR_BINARY", "build/debug/weir")
    # What "localtime" and "Factory" mean is no place's business.
    every = sorted(zoneinfo.available_timezones() - {"localtime", "posixrules", "Factory"})
    names = options.zones.split(",") if options.zones else every if options.all else list(SLICE)
    passed = failed = 0
    with concurrent.futures.ProcessPoolExecutor(options.jobs) as pool:
        for faults in pool.map(check, itertools.repeat(binary), names):
            passed += len(KINDS) - len(faults)
            failed += len(faults)
            for fault in faults:
                print(fault)
    print(f"{len(names)} zones, {len(KINDS)} kinds of windows, 1970 to 2037")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
