"""The auditor's own counters of quota policies, from the records of a journal alone (see journal.py), and by hand from
the policies of the workload: which counters a request must be held on, and for how much.

It shares nothing with src/policy/quota_table.h or with the two auditors in src: every use is kept with its moment, and
what counts at a later one is added up from them.
"""
import collections

import journal

MINUTE = 60_000_000_000
# A sliding window is so many buckets long, and counts the one that is passing out.
BUCKETS = 60
ATTEMPTS = ("attempts", "fallback_attempts", "fallback_spend")
Leg = collections.namedtuple("Leg", "number turn unit rule at")


class Counter:
    def __init__(self, made):
        self.made = made
        self.turn = 0  # of its window
        self.starts_at = self.ends_at = self.limit = 0
        self.rule = None
        self.uses, self.held, self.legs, self.told = [], 0, 0, set()

    def name(self):
        return self.made["policy"], self.made["values"]

    def used(self, at):
        bucket = self.made["bucket_ns"]
        if not bucket:
            return sum(amount for _, amount in self.uses)
        oldest = at // bucket - BUCKETS
        return sum(amount for when, amount in self.uses if when // bucket >= oldest)

    def over(self, at):
        return self.turn == 0 or self.ends_at <= at


def use_of(unit, record, price, multiplier_ppm):
    """What a settlement's usage comes to; None where it does not say."""
    usage = record.usage
    return {"requests": 1, "concurrent": 0, "input_tokens": usage.input, "output_tokens": usage.output,
            "total_tokens": usage.input + usage.output, "cached_tokens": usage.cached_input,
            "uncached_tokens": usage.input - usage.cached_input, "usd": journal.price_nano_usd(price, usage),
            "credits": journal.price_nano_usd(price, usage),
            "quota_tokens": journal.quota_tokens(multiplier_ppm, usage)}.get(unit)


def held_for(unit, intent):
    """What an admission holds of a hard limit; None where more than one amount would be right."""
    fields = intent.fields
    return {"requests": 1, "concurrent": 1, "input_tokens": fields["input_bound"],
            "output_tokens": fields["output_bound"], "total_tokens": fields["input_bound"] + fields["output_bound"],
            "usd": fields["hold"], "quota_tokens": -(-(fields["input_bound"] + fields["output_bound"]) *
                                                     (fields["multiplier_ppm"] or 0) // 1_000_000)}.get(unit)


class Audit:
    """Takes every record in order. `due`: for an intent, {(policy, values): unit} of the counters that it must be held
    on and of no others, or None where that is not known."""

    def __init__(self, tally, due):
        self.tally, self.due = tally, due
        self.at = 0  # the latest time of all records: what windows go by
        self.counters, self.ended, self.legs, self.held, self.intents = {}, {}, {}, {}, {}
        self.seen = collections.Counter()

    def check(self, what, good, why=""):
        return self.tally.check(f"quota: {what}", good, why)

    def take(self, record):
        behind = record.fields.get("behind", 0)
        self.at = max(self.at, record.time + behind)
        take = {journal.COUNTER: self.counter, journal.WINDOW: self.window, journal.ALERT: self.alert,
                journal.INTENT: self.intent, journal.EXTEND: self.extend, journal.SETTLE: self.end,
                journal.VOID: self.end}.get(record.kind)
        if take:
            take(record)

    def counter(self, record):
        fields = record.fields
        for number, known in list(self.counters.items()):
            if number == fields["number"] or known.made["counter"] == fields["counter"]:
                self.check("a counter is given up when nothing is held of it and its window is over",
                           known.legs == 0 and known.over(self.at), f"{known.made} {known.legs} lines")
                del self.counters[number]
        self.counters[fields["number"]] = Counter(fields)
        self.seen["counters"] += 1

    def window(self, record):
        fields, known = record.fields, self.counters.get(record.fields["number"])
        if not self.check("a window is of a counter", known is not None, str(fields)):
            return
        before, known.limit, known.rule = known.limit, fields["limit"], fields["rule"]
        if known.turn and (known.starts_at, known.ends_at) == (fields["starts_at"], fields["ends_at"]):
            if known.limit > before:
                used = known.used(self.at)
                known.told = {percent for percent in known.told if percent and used * 100 >= known.limit * percent}
            return
        identity = known.made["counter"]
        self.check("a window holds the moment it begins at, and follows the one before",
                   fields["starts_at"] <= self.at < fields["ends_at"] and
                   fields["starts_at"] >= self.ended.get(identity, fields["starts_at"]), f"{fields} at {self.at}")
        if known.made["window"] == "minute" and not known.made["bucket_ns"]:
            self.check("a minute is one of the clock's", fields["starts_at"] % MINUTE == 0 and
                       fields["ends_at"] - fields["starts_at"] == MINUTE, str(fields))
        self.ended[identity] = fields["ends_at"]
        known.turn += 1
        known.starts_at, known.ends_at = fields["starts_at"], fields["ends_at"]
        known.uses, known.held, known.told = [], 0, set()
        self.seen["windows"] += 1

    def alert(self, record):
        fields, known = record.fields, self.counters.get(record.fields["number"])
        if not self.check("an alert is of a counter", known is not None, str(fields)):
            return
        percent, used, limit = fields["percent"], known.used(self.at), known.limit
        self.check("a threshold is told once", percent not in known.told, f"{known.name()} {fields}")
        known.told.add(percent)
        elapsed, length = self.at - known.starts_at, known.ends_at - known.starts_at
        so = used * 100 >= limit * percent if percent else used < limit and used * length > limit * elapsed
        self.check("an alert is true", so and (fields["settled"], fields["limit"]) == (used, limit),
                   f"{known.name()} {fields}: {used} of {limit}")
        self.seen["alerts"] += 1

    def hold(self, request, lines):
        legs = self.legs.setdefault(request, [])
        held = self.held.setdefault(request, [])
        for number, amount in lines:
            known = self.counters.get(number)
            if not self.check("what is held of is a counter with a window of the moment", known is not None and
                              known.starts_at <= self.at < known.ends_at, f"{request} {number}"):
                continue
            mine = [i for i, leg in enumerate(legs) if (leg.number, leg.turn) == (number, known.turn)]
            if mine:
                held[mine[0]] += amount
            else:
                legs.append(Leg(number, known.turn, known.made["unit"], known.rule, self.at))
                held.append(amount)
                known.legs += 1
            known.held += amount
            if known.rule == "hard" and amount:
                used = known.used(self.at)
                self.seen["hard_holds"] += 1
                self.check("no hard limit is passed", used + known.held <= known.limit,
                           f"{known.name()}: {used} used and {known.held} held of {known.limit}")

    def intent(self, record):
        self.intents[record.request] = record
        self.hold(record.request, record.fields["quotas"])
        due = self.due(record)
        if due is None:
            return
        named = {self.counters[number].name(): (self.counters[number], amount)
                 for number, amount in record.fields["quotas"] if number in self.counters}
        self.check("a request is held on each policy it meets and on no other", set(named) == set(due),
                   f"{record.request}: {sorted(named)} and not {sorted(due)}")
        for name, (known, amount) in named.items():
            wanted = held_for(known.made["unit"], record) if known.rule == "hard" else None
            self.check("a hold is what the request can use", wanted is None or amount == wanted,
                       f"{record.request} {name}: {amount}, {record.fields}")
        self.seen["held_requests"] += bool(named)

    def extend(self, record):
        self.hold(record.request, record.fields["quotas"])

    def end(self, record):
        legs, held = self.legs.pop(record.request, []), self.held.pop(record.request, [])
        used = record.fields["quotas"]
        released = record.kind == journal.VOID
        if not (released and not used):
            if not self.check("a settlement has a figure for each line", len(used) == len(legs),
                              f"{record.request}: {len(legs)} lines, {used}"):
                return
        left, last = {}, {leg.number: i for i, leg in enumerate(legs)}
        for i, (leg, amount) in enumerate(zip(legs, held)):
            known = self.counters[leg.number]
            known.legs -= 1
            figure = used[i] if used else 0
            self.check("no hard line uses more than it holds", leg.rule != "hard" or figure <= amount,
                       f"{record.request} {known.name()}: {figure} of {amount}")
            if released:
                self.check("what is released uses attempts at most", figure == 0 or leg.unit in ATTEMPTS,
                           f"{record.request} {known.name()}: {figure}")
            else:
                intent = self.intents[record.request]
                due = use_of(leg.unit, record, intent.price, intent.fields["multiplier_ppm"] or 0)
                if due is not None:
                    rest = left.setdefault(leg.number, due)
                    now = rest if leg.rule != "hard" and last[leg.number] == i else min(rest, amount)
                    left[leg.number] -= now
                    self.check("a line uses what its usage comes to", figure == now,
                               f"{record.request} {known.name()}: {figure} and not {now}")
            if leg.turn == known.turn:
                known.held -= amount
                if figure:
                    known.uses.append((leg.at, figure))

    def finish(self):
        for known in self.counters.values():
            self.check("nothing stays held", known.held == 0 and known.legs == 0, f"{known.name()} {known.held}")
        return self.seen
