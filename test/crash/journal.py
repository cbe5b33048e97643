"""Reads the gateway's journal without the gateway: the auditor's own decoder of the frozen record format.

It is written from the grammar at the head of src/ledger/record.h, not from the code, so that a mistake there
is not repeated here. A change of the format shows up as a refusal to read.
"""
import collections
import glob
import os
import shutil
import sqlite3
import struct
import tempfile

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
Record = collections.namedtuple("Record", "kind time request key price fields usage")
Price = collections.namedtuple("Price", "version input cached_input cache_write output per_request audio_second")
Usage = collections.namedtuple("Usage", "source input cached_input cache_write output reasoning audio_ms")
WalletHold = collections.namedtuple("WalletHold", "wallet unit multiplier_ppm lines")  # lines: [(grant, amount)]
INTENT, CHECKPOINT, SETTLE, VOID, FUND, PRICE, GRANT, GRANT_END, EXTEND, COUNTER, WINDOW, ALERT = range(1, 13)
NANO_USD, QUOTA_TOKEN = 0, 1
# Of policies: what is counted, over what, and how a limit is kept.
UNITS = ("requests", "input_tokens", "output_tokens", "total_tokens", "cached_tokens", "uncached_tokens", "usd",
         "credits", "quota_tokens", "concurrent", "context_tokens", "images", "video_jobs", "video_seconds",
         "video_rerenders", "audio_seconds", "embeddings", "attempts", "fallback_attempts", "fallback_spend")
WINDOWS = ("minute", "hour", "day", "week", "month", "campaign", "lifetime", "request", "action")
RULES = ("none", "hard", "firm")
QUOTA_LINES, QUOTA_LEGS = 128, 1024  # of one record, of one request
NEVER = 2**63 - 1
# The figures of a usage of version 3, in the order of their bits. A Usage has the first six; the workloads
# here have none of the others, and a record that has one is refused.
FIGURES = 12


def id_text(value):
    return "".join(ALPHABET[value >> shift & 31] for shift in range(125, -1, -5))


class Reader:
    def __init__(self, data):
        self.data, self.at, self.version = data, 0, 1

    def take(self, form):
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values if len(values) > 1 else values[0]

    def varint(self):
        value = shift = 0
        while True:
            byte = self.take("B")
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
            if shift > 63:
                raise ValueError("varint too long")

    def zigzag(self):
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def id(self):
        high, low = self.take("QQ")
        return id_text(high << 64 | low)

    def price(self):
        plain = [self.varint() for _ in Price._fields[:-1]]
        return Price(*plain, self.audio())

    def usage(self):
        if self.version >= 3:
            return self.sparse_usage()
        plain = [self.take("B"), *(self.varint() for _ in Usage._fields[1:-1])]
        return Usage(*plain, self.audio())

    def sparse_usage(self):
        source, given = self.take("B"), self.varint()
        if given >> FIGURES:
            raise ValueError(f"usage with figures {given:#x}")
        figures = []
        for bit in range(FIGURES):
            value = self.varint() if given >> bit & 1 else 0
            if given >> bit & 1 and value == 0:
                raise ValueError("a figure of a usage is given as 0")
            figures.append(value)
        known = len(Usage._fields) - 1
        if any(figures[known:]):
            raise ValueError("a usage has figures that nothing here uses")
        return Usage(source, *figures[:known])

    def audio(self):
        """The figure that only version 2 has."""
        return self.varint() if self.version == 2 else 0

    def wallet_hold(self):
        wallet, unit, multiplier, count = self.id(), self.take("B"), self.varint(), self.varint()
        return WalletHold(wallet, unit, multiplier, [(self.id(), self.varint()) for _ in range(count)])

    def with_(self, known):
        """What follows a record of version 3 or 4: bit 0 a wallet, bit 1 an Idempotency-Key, bit 2 what policies
        count. Version 4 always has the last, version 3 never."""
        bits = self.take("B")
        if bits & ~(known | 4) or bool(bits & 4) != (self.version == 4):
            raise ValueError(f"a record of version {self.version} with {bits:#x}")
        return bits

    def text(self, most):
        length = self.varint()
        if length > most or self.at + length > len(self.data):
            raise ValueError(f"a text of {length} bytes")
        self.at += length
        return self.data[self.at - length:self.at].decode("ascii")

    def counted(self, most):
        count = self.varint()
        if not 0 < count <= most:
            raise ValueError(f"{count} lines")
        return range(count)

    def quota_lines(self):
        """How far the record's time lies before that by which windows go, and [(counter, amount)]."""
        behind = self.varint()
        return behind, [(self.varint(), self.varint()) for _ in self.counted(QUOTA_LINES)]

    def quota_use(self):
        return [self.varint() for _ in self.counted(QUOTA_LEGS)]

    def one_of(self, names):
        value = self.take("B")
        if value >= len(names):
            raise ValueError(f"{value} is none of {names}")
        return names[value]


def price_of_bytes(data):
    """A price in the form of config/price_codec, as far as the configurations here use it: no tiers, no images."""
    reader = Reader(data)
    if reader.take("B") != 1:
        raise ValueError("price version")
    given = reader.varint()
    # The eight rates, request, audio_second, video_second, tool_call, version, tiers, images.
    values = [reader.varint() if given >> bit & 1 else 0 for bit in range(13)]
    if given >> 13 or any(values[4:8]) or reader.at != len(data):
        raise ValueError("a price that nothing here uses")
    return Price(values[12], values[0], values[1], values[2], values[3], values[8], values[9])


def fnv1a(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


def of_policies(reader, kind, time):
    """A counter, a window of one, or a threshold that was crossed."""
    fields = {"number": reader.varint()}
    if fields["number"] >> 32:
        raise ValueError(f"counter {fields['number']}")
    if kind == COUNTER:
        fields |= {"counter": reader.id(), "unit": reader.one_of(UNITS), "window": reader.one_of(WINDOWS),
                   "bucket_ns": reader.varint(), "policy": reader.text(128), "values": reader.text(1024)}
    elif kind == WINDOW:
        fields["starts_at"], fields["ends_at"] = reader.take("qq")
        fields |= {"rule": reader.one_of(RULES), "limit": reader.varint()}
    else:
        fields |= {"percent": reader.take("B"), "settled": reader.varint(), "limit": reader.varint()}
    return Record(kind, time, None, None, None, fields, None)


def of_version_3_or_4(reader, kind, time, prices):
    """A record about a request, a price, a grant or what policies count. `prices` are those that records before it
    have."""
    if (kind in (COUNTER, WINDOW, ALERT)) != (reader.version == 4 and kind not in (INTENT, SETTLE, VOID, EXTEND)):
        raise ValueError(f"record kind {kind} of version {reader.version}")
    if kind in (COUNTER, WINDOW, ALERT):
        return of_policies(reader, kind, time)

    def price():
        identity = reader.take("Q")
        if identity not in prices:
            raise ValueError(f"no record has price {identity:016x}")
        return prices[identity]

    if kind == PRICE:
        identity, data = reader.take("Q"), reader.data[reader.at:]
        reader.at = len(reader.data)
        if fnv1a(data) != identity or identity in prices:
            raise ValueError(f"price {identity:016x} has other bytes, or was written before")
        prices[identity] = price_of_bytes(data)
        return Record(kind, time, None, None, prices[identity], {"id": identity}, None)
    if kind == GRANT:
        fields = {"grant": reader.id(), "wallet": reader.id(), "unit": reader.take("B"), "amount": reader.varint(),
                  "priority": reader.zigzag()}
        fields["effective_at"], fields["expires_at"], fields["category"] = reader.take("qqB")
        return Record(kind, time, None, None, None, fields, None)
    if kind == GRANT_END:
        fields = {"grant": reader.id(), "removed": reader.varint(), "reason": reader.take("B")}
        return Record(kind, time, None, None, None, fields, None)
    request = reader.id()
    if kind == CHECKPOINT:
        return Record(kind, time, request, None, None, {}, reader.usage())
    if kind == EXTEND:
        fields = {"hold": reader.varint(), "output_bound": reader.varint()}
        bits = reader.with_(1)
        fields["wallet"] = reader.wallet_hold() if bits & 1 else None
        fields["behind"], fields["quotas"] = reader.quota_lines() if bits & 4 else (0, [])
        return Record(kind, time, request, None, None, fields, None)
    key = reader.id()
    if kind == INTENT:
        of = price()
        fields = {name: reader.varint() for name in ("hold", "input_bound", "output_bound")}
        bits = reader.with_(3)
        fields["wallet"] = reader.wallet_hold() if bits & 1 else None
        fields["idempotency"] = (reader.id(), reader.id()) if bits & 2 else None
        fields["multiplier_ppm"] = reader.varint() if bits & 4 else None
        fields["behind"], fields["quotas"] = reader.quota_lines() if bits & 4 else (0, [])
        return Record(kind, time, request, key, of, fields, None)
    if kind == SETTLE:
        of = price()
        fields = {"charged": reader.varint(), "overrun": reader.varint(), "cause": reader.take("B")}
        usage = reader.usage()
        bits = reader.with_(1)
        fields["wallet"] = (reader.varint(), reader.varint()) if bits & 1 else None
        fields["quotas"] = reader.quota_use() if bits & 4 else []
        return Record(kind, time, request, key, of, fields, usage)
    if kind == VOID:
        fields = {"released": reader.varint(), "cause": reader.take("B")}
        usage = reader.usage()
        # Of version 3 it ends here.
        fields["quotas"] = reader.quota_use() if reader.version == 4 and reader.with_(0) & 4 else []
        return Record(kind, time, request, key, None, fields, usage)
    raise ValueError(f"record kind {kind}")


def of_version_1_or_2(reader, kind, time):
    if kind == FUND:
        key = reader.id()
        fields = {"amount": reader.zigzag(), "capped": reader.take("B"), "leg": reader.varint()}
        return Record(kind, time, None, key, None, fields, None)
    request, key, price, fields, usage = reader.id(), reader.id(), reader.price(), {}, None
    if kind == INTENT:
        fields = {name: reader.varint() for name in ("hold", "input_bound", "output_bound")}
        fields |= {"wallet": None, "idempotency": None, "behind": 0, "quotas": []}
    elif kind == CHECKPOINT:
        usage = reader.usage()
    elif kind == SETTLE:
        fields = {"charged": reader.varint(), "overrun": reader.varint(), "cause": reader.take("B"), "wallet": None,
                  "quotas": []}
        usage = reader.usage()
    elif kind == VOID:
        fields = {"released": reader.varint(), "cause": reader.take("B"), "quotas": []}
        usage = reader.usage()
    else:
        raise ValueError(f"record kind {kind}")
    return Record(kind, time, request, key, price, fields, usage)


def decode(data, prices=None):
    """All records of a batch, in order; raises ValueError or struct.error on anything unexpected. `prices` are
    those of earlier batches, and gets those of this one."""
    records, at = [], 0
    prices = {} if prices is None else prices
    while at < len(data):
        length = struct.unpack_from("<H", data, at)[0]
        reader = Reader(data[at:at + length])
        reader.take("H")
        reader.version, kind, time = reader.take("BBq")
        if reader.version in (3, 4):
            record = of_version_3_or_4(reader, kind, time, prices)
        elif reader.version in (1, 2):
            record = of_version_1_or_2(reader, kind, time)
        else:
            raise ValueError(f"record version {reader.version}")
        if reader.at != length:
            raise ValueError(f"record of kind {kind} has {length - reader.at} bytes too many")
        records.append(record)
        at += length
    return records


def price_nano_usd(price, usage):
    """Exact in pUSD, rounded once, up."""
    plain = usage.input - usage.cached_input - usage.cache_write
    pico = (price.input * plain + price.cached_input * usage.cached_input + price.cache_write * usage.cache_write +
            price.output * usage.output + price.audio_second * usage.audio_ms + price.per_request * 1000)
    return -(-pico // 1000)


def quota_tokens(multiplier_ppm, usage):
    """What a wallet of quota tokens pays: all tokens times the multiplier, rounded up."""
    return -(-(usage.input + usage.output) * multiplier_ppm // 1_000_000)


def read(data_dir):
    """Every record of the journal below data_dir. The gateway must be stopped: it holds the file alone."""
    with tempfile.TemporaryDirectory() as copy:
        for path in glob.glob(os.path.join(data_dir, "*")):
            if os.path.isfile(path):
                shutil.copy(path, copy)
        for path in sorted(glob.glob(os.path.join(copy, "*.db")) + glob.glob(os.path.join(copy, "*.sqlite"))):
            with sqlite3.connect(path) as database:
                tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
                if "journal" not in tables:
                    continue
                rows = database.execute("SELECT first_position, count, records FROM journal ORDER BY first_position")
                records, expected, prices = [], 1, {}
                for first, count, data in rows:
                    if first != expected:
                        raise ValueError(f"position {first} where {expected} belongs")
                    batch = decode(data, prices)
                    if len(batch) != count:
                        raise ValueError(f"{len(batch)} records in a batch of {count}")
                    records += batch
                    expected += count
                return records
    raise ValueError(f"there is no journal in {data_dir}")
