"""What the storm says of Weir, from three sources that are not Weir: what the callers saw, the mock's log of
calls, and the times at which faults were really on.

The mock's log tells when a call ended, and `n`, the order in which calls arrived. Between them stand markers:
requests of the harness to the mock itself, every few milliseconds, which arrive and end at once. So a call
arrived between the marker before and the marker behind it, and never later than it ended.

Doubt is settled so that no figure accuses falsely by the width of it: a slot is busy from the earliest moment
its call can have arrived, a call that may have come before Weir could know is not wasted, and a slot counts as
free only when it was so for FREE_MS in a row, which a handover between two calls may take on a busy machine.
"""
import bisect
import collections
import dataclasses

FREE_MS = 100
DOUBT_MS = 10_000    # an account that failed and was not asked again is in doubt for this long at most
FOREVER = float("inf")


@dataclasses.dataclass
class Call:
    n: int
    account: int
    id: str           # of the caller's request
    came: float       # not before this; milliseconds
    came_by: float    # and not after this
    ended: float
    window: object    # the fault it met, or None
    whole: bool

    @property
    def well(self):
        return self.whole and (self.window is None or self.window.answers)


def calls_of(lines, windows_by_rule, account_of):
    """Calls in the order of arrival."""
    lines = sorted(lines, key=lambda line: line["n"])
    latest = [0.0] * len(lines)
    least = FOREVER
    for i in range(len(lines) - 1, -1, -1):
        least = min(least, lines[i]["at_ms"])
        latest[i] = least
    calls, marker = [], 0.0
    for line, came_by in zip(lines, latest):
        account = account_of.get(line["authorization_suffix"])
        if account is None:
            marker = max(marker, line["at_ms"]) if line["path"].endswith("/models") else marker
            continue
        calls.append(Call(line["n"], account, line["client_request_id"], min(marker or came_by, came_by), came_by,
                          line["at_ms"], windows_by_rule.get(line["fault"]), line["finished"]))
    return calls


# ---------------------------------------------------------------- sets of time: sorted disjoint (from, to)
def union(spans):
    out = []
    for lo, hi in sorted(spans):
        if hi <= lo:
            continue
        if out and lo <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], hi))
        else:
            out.append((lo, hi))
    return out


def without(spans, taken):
    out, taken = [], union(taken)
    for lo, hi in union(spans):
        for a, b in taken:
            if b <= lo or a >= hi:
                continue
            if a > lo:
                out.append((lo, a))
            lo = max(lo, b)
        if lo < hi:
            out.append((lo, hi))
    return out


def both(a, b):
    return without(a, without([(-FOREVER, FOREVER)], b))


def at_least(calls, count):
    """When `count` or more of the calls were under way."""
    steps = sorted([(c.came, 1) for c in calls] + [(c.ended, -1) for c in calls])
    out, level, since = [], 0, None
    for at, step in steps:
        level += step
        if level >= count and since is None:
            since = at
        elif level < count and since is not None:
            out.append((since, at))
            since = None
    return union(out)


class Spans:
    """A set of time that is asked often."""

    def __init__(self, spans):
        self.spans = union(spans)
        self.starts = [lo for lo, _ in self.spans]

    def overlaps(self, lo, hi):
        i = max(bisect.bisect_right(self.starts, lo) - 1, 0)
        while i < len(self.spans) and self.spans[i][0] <= hi:
            if self.spans[i][1] >= lo:
                return True
            i += 1
        return False

    def first(self, lo, hi, length):
        """When the first `length` in a row within lo..hi begins, or None."""
        i = max(bisect.bisect_right(self.starts, lo) - 1, 0)
        while i < len(self.spans) and self.spans[i][0] <= hi:
            a, b = max(self.spans[i][0], lo), min(self.spans[i][1], hi)
            if b - a >= length:
                return a
            i += 1
        return None


def quantile(values, share):
    values = sorted(values)
    return values[min(int(len(values) * share), len(values) - 1)] if values else None


class Account:
    """Everything known of one account."""

    def __init__(self, calls, windows, slots, whole, known_ms):
        self.known_ms = known_ms
        self.calls = calls
        self.by_end = sorted(calls, key=lambda c: c.ended)
        self.windows = windows
        self.told_until = {id(w): self.told(w) for w in windows}
        self.full = at_least(calls, slots)
        # Not answering: the fault is on, or the time it named is not over. `trouble` is what a session may leave
        # for: that, a slow account, and until the first whole reply behind either.
        bad, trouble = [], []
        for w in windows:
            end = max(w.off[1] if w.off else FOREVER, self.told_until[id(w)])
            if not w.answers:
                bad.append((w.on[0], end))
            back = next((c.ended for c in self.by_end if c.well and c.window is None and c.came >= end), FOREVER)
            trouble.append((w.on[0], max(end, min(back, end + DOUBT_MS))))
        self.answers = without([whole], bad)
        self.free = Spans(without(self.answers, self.full))
        self.trouble = Spans(trouble)
        self.is_full = Spans(self.full)
        # In doubt: it failed and has not served since. When it named no time, when to ask it again is a guess;
        # when it did, one call at a time tells.
        guess, asked, since, guessed = [], [], None, False
        for c in self.by_end:
            if c.window is not None and not c.window.answers:
                if since is not None:
                    (guess if guessed else asked).append((since, c.ended))
                since, guessed = c.came, c.window.told == 0
            elif c.well and since is not None:
                (guess if guessed else asked).append((since, c.ended))
                since = None
        if since is not None:
            (guess if guessed else asked).append((since, FOREVER))
        probing = both(asked, at_least(calls, 1))
        self.usable = Spans(without(without(without(self.answers, self.full), guess), probing))

    def told(self, window):
        if not window.told:
            return 0.0
        return max((c.ended + window.told * 1000 for c in self.calls if c.window is window), default=0.0)

    def wasted(self):
        """Calls that came while Weir knew that they could not be served."""
        out = []
        for w in self.windows:
            if not w.dead:
                continue
            first = min((c.ended for c in self.calls if c.window is w), default=None)
            if first is None:
                continue
            until = first + w.told * 1000 if w.told else (w.off[0] if w.off else FOREVER)
            out += [c for c in self.calls if first + self.known_ms < c.came and c.came_by < until]
        return out

    def recoveries(self):
        """From the moment it answers again until the next call it got; None: it got none."""
        for lo, hi in self.answers:
            if not any(w.on[0] < lo and not w.answers for w in self.windows):
                continue
            asked = next((c.came_by - lo for c in self.calls if lo <= c.came <= hi), None)
            yield asked, hi - lo, max((w for w in self.windows if w.on[0] < lo), key=lambda w: w.on[0])


@dataclasses.dataclass
class Rules:
    """What the judge holds Weir to: its configuration, and how soon it is to know what it was told."""
    slots: int = 8           # calls at once of each account
    wait_ms: float = 4000    # in the queue
    per_key: int = 60        # of one key in the queue
    known_ms: float = 50     # after an account's reply Weir is held to know what it said


def line_was_full(s, seen, first_came, per_key):
    """Whether so many requests of the same key waited as may: sent, not refused, and at no account yet."""
    waiting = sum(1 for o in seen if o.key == s.key and o is not s and o.sent <= s.ended and
                  s.sent <= first_came.get(o.id, o.ended) and o.code != "capacity_queue_full")
    return waiting >= per_key


def judge(seen, lines, windows_by_rule, windows, account_of, phases, held_to):
    """All figures. `phases`: (name, from, to, callers) in wall time."""
    calls = calls_of(lines, windows_by_rule, account_of)
    whole = (min(s.sent for s in seen) - 1000, max(s.ended for s in seen) + 1000)
    per_account = collections.defaultdict(list)
    for call in calls:
        per_account[call.account].append(call)
    accounts = [Account(per_account[a], [w for w in windows if w.account == a and w.on], held_to.slots, whole,
                        held_to.known_ms)
                for a in sorted(account_of.values())]
    out = {}

    # --- success
    def first_free(lo, hi):
        return min((at for at in (a.free.first(lo, hi, FREE_MS) for a in accounts) if at is not None), default=None)

    def just_free(s, of_account):
        return any(of_account(a).first(s.ended - FREE_MS - 1, s.ended, FREE_MS) is not None for a in accounts)

    first_came = {}
    for call in calls:
        first_came.setdefault(call.id, call.came_by)
    served = [s for s in seen if s.verdict == "ok"]
    failures, honest = [], []
    for s in seen:
        if s.verdict == "ok":
            continue
        if s.verdict != "refused":
            free_at = s.sent
        elif s.code == "capacity_queue_full" and line_was_full(s, seen, first_came, held_to.per_key):
            # Who finds the line full has no wait: what becomes free later is owed to those in it.
            free_at = s.sent if just_free(s, lambda a: a.free) else None
        else:
            free_at = first_free(s.sent, max(s.sent + held_to.wait_ms, s.ended))
        (honest if free_at is None else failures).append((s, free_at))
    behind = [s for s, _ in failures if s.content]
    out["success_share"] = len(served) / max(len(served) + len(failures), 1)
    out["success_share_before_content"] = len(served) / max(len(served) + len(failures) - len(behind), 1)

    # --- wasted
    wasted = [c for a in accounts for c in a.wasted()]
    out["wasted_calls"] = len(wasted)

    # --- sticky
    by_id = {s.id: s for s in seen}
    contended = [(lo, hi) for _, lo, hi, callers in phases if callers != "main"]
    by_session = collections.defaultdict(list)
    for call in calls:
        if call.id in by_id:
            by_session[by_id[call.id].session].append(call)
    kept = moved = moved_full = 0
    moves = []
    for of_session in by_session.values():
        for before, now in zip(of_session, of_session[1:]):
            if any(lo <= now.came_by and before.came <= hi for lo, hi in contended):
                continue
            if any(accounts[c.account].trouble.overlaps(before.came, now.came_by) for c in (before, now)):
                continue
            if before.account == now.account:
                kept += 1
            elif accounts[before.account].is_full.overlaps(before.came, now.came_by) or \
                    accounts[now.account].is_full.overlaps(before.came, now.came_by):
                moved_full += 1
            else:
                moved += 1
                moves.append((before, now))
    out["sticky_hit_rate"] = kept / (kept + moved) if kept + moved else None
    out["sticky_hit_rate_with_full"] = kept / (kept + moved + moved_full) if kept + moved else None

    # --- fairness
    out["queue_fairness"] = None
    by_key = collections.Counter()
    for _, lo, hi, callers in phases:
        if callers == "rivals":
            inner = lo + (hi - lo) / 4  # until everybody waits
            by_key.update({s.key: 0 for s in seen if s.phase == "contended"})
            by_key.update(s.key for s in served if inner <= s.ended <= hi)
    if by_key:
        out["queue_fairness"] = max(by_key.values()) / max(min(by_key.values()), 1)

    # --- refused although there was room
    refused = [s for s in seen if s.verdict == "refused" and s.status in (429, 503)]
    while_free = [s for s in refused if just_free(s, lambda a: a.usable)]
    while_answering = [s for s in refused if just_free(s, lambda a: a.free)]
    out["failed_while_free"] = len(while_free)
    out["failed_while_answering"] = len(while_answering)

    # --- waiting, attempts
    attempts = collections.Counter(c.id for c in calls)
    waits = [s.queue_ms for s in seen]
    queued = [s.queue_ms for s in seen if s.queue_ms > 0]
    out["queue_ms_p50"], out["queue_ms_p99"] = quantile(waits, 0.5), quantile(waits, 0.99)
    out["queued_ms_p50"], out["queued_ms_p99"] = quantile(queued, 0.5), quantile(queued, 0.99)
    each = [attempts[s.id] for s in seen if attempts[s.id]]
    out["attempts_mean"] = sum(each) / max(len(each), 1)
    out["attempts_p50"], out["attempts_p99"] = quantile(each, 0.5), quantile(each, 0.99)
    out["attempts_max"] = max(each, default=0)

    # --- what must never be
    out["stuck"] = sum(s.verdict == "stuck" for s in seen)
    out["lost"] = sum(s.verdict in ("lost", "cut", "wrong") for s in seen)
    dishonest = [s for s in refused if not (s.retry_after.isdigit() and int(s.retry_after) >= 1)]
    dishonest += [s for s in seen if s.verdict == "refused" and not s.code]
    out["refused_without_retry_after"] = len(dishonest)

    back = [r for a in accounts for r in a.recoveries()]
    asked_again = [ms for ms, _, _ in back if ms is not None]
    out["recovery_ms_p50"], out["recovery_ms_p99"] = quantile(asked_again, 0.5), quantile(asked_again, 0.99)

    def show(s, **more):
        return {"id": s.id, "request_id": s.request_id, "phase": s.phase, "verdict": s.verdict, "status": s.status,
                "code": s.code, "retry_after": s.retry_after, "api": s.api, "stream": s.stream, "sent_ms": round(s.sent),
                "took_ms": round(s.ended - s.sent), "queue_ms": s.queue_ms, "detail": s.detail, "content": s.content,
                "calls": [f"acct-{c.account + 1:02}:{c.window.kind if c.window else 'well'}@{c.came:.0f}+"
                          f"{c.ended - c.came:.0f}" for c in calls if c.id == s.id], **more}

    def show_call(c):
        return {"id": c.id, "account": f"acct-{c.account + 1:02}", "came_ms": round(c.came), "ended_ms": round(c.ended),
                "met": c.window.kind if c.window else "well"}

    out["raw"] = {
        "requests": len(seen), "served": len(served), "calls": len(calls),
        "verdicts": collections.Counter(
            " ".join(filter(None, (s.phase + ":", s.verdict, str(s.status), s.code,
                                   "behind content" if s.content and s.verdict != "ok" else ""))) for s in seen),
        "failures_could_have": collections.Counter(
            " ".join(filter(None, (s.phase + ":", s.verdict, str(s.status), s.code,
                                   "behind content" if s.content else "",
                                   "free later only" if at > s.ended else "")))
            for s, at in failures),
        "refused_honestly": len(honest), "cut_behind_content": len(behind),
        "calls_by_fault": collections.Counter(c.window.kind if c.window else "well" for c in calls),
        "served_by_key_contended": dict(sorted(by_key.items())),
        "sticky": {"kept": kept, "moved": moved, "moved_from_or_to_full": moved_full},
        "sticky_headers": collections.Counter(s.sticky for s in seen if s.sticky),
        # Accounts that answered again and got no call for more than five seconds, or none at all.
        "left_alone": [{"account": f"acct-{w.account + 1:02}", "after": w.kind, "well_for_ms": round(length),
                        "asked_after_ms": ms and round(ms), "answers_from_ms": round(w.off[1])}
                       for ms, length, w in back if (length if ms is None else ms) > 5000],
        "marker_gap_ms_p99": quantile([c.came_by - c.came for c in calls], 0.99),
        "wasted": [show_call(c) for c in wasted[:20]],
        "failures": [show(s, free_at_ms=round(at)) for s, at in failures if not s.content][:40],
        "refused_while_free": [show(s) for s in while_free[:20]],
        "refused_while_answering": [show(s) for s in while_answering[:20]],
        "dishonest": [show(s) for s in dishonest[:20]],
        "stuck_or_lost": [show(s) for s in seen if s.verdict in ("stuck", "lost", "cut", "wrong")][:20],
        "moves": [{"session": by_id[b.id].session, "from": show_call(b), "to": show_call(n)} for b, n in moves[:20]],
    }
    return out
