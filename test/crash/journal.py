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
INTENT, CHECKPOINT, SETTLE, VOID, FUND, PRICE, GRANT, GRANT_END, EXTEND = range(1, 10)
NANO_USD, QUOTA_TOKEN = 0, 1
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
        if self.version == 3:
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
        """What follows a record of version 3: bit 0 a wallet, bit 1 an Idempotency-Key."""
        bits = self.take("B")
        if bits & ~known:
            raise ValueError(f"a record with {bits:#x}")
        return bits


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


def of_version_3(reader, kind, time, prices):
    """A record about a request, a price or a grant. `prices` are those that records before it have."""
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
        fields["wallet"] = reader.wallet_hold() if reader.with_(1) else None
        return Record(kind, time, request, None, None, fields, None)
    key = reader.id()
    if kind == INTENT:
        of = price()
        fields = {name: reader.varint() for name in ("hold", "input_bound", "output_bound")}
        bits = reader.with_(3)
        fields["wallet"] = reader.wallet_hold() if bits & 1 else None
        fields["idempotency"] = (reader.id(), reader.id()) if bits & 2 else None
        return Record(kind, time, request, key, of, fields, None)
    if kind == SETTLE:
        of = price()
        fields = {"charged": reader.varint(), "overrun": reader.varint(), "cause": reader.take("B")}
        usage = reader.usage()
        fields["wallet"] = (reader.varint(), reader.varint()) if reader.with_(1) else None
        return Record(kind, time, request, key, of, fields, usage)
    if kind == VOID:
        fields = {"released": reader.varint(), "cause": reader.take("B")}
        return Record(kind, time, request, key, None, fields, reader.usage())
    raise ValueError(f"record kind {kind}")


def of_version_1_or_2(reader, kind, time):
    if kind == FUND:
        key = reader.id()
        fields = {"amount": reader.zigzag(), "capped": reader.take("B"), "leg": reader.varint()}
        return Record(kind, time, None, key, None, fields, None)
    request, key, price, fields, usage = reader.id(), reader.id(), reader.price(), {}, None
    if kind == INTENT:
        fields = {name: reader.varint() for name in ("hold", "input_bound", "output_bound")}
        fields |= {"wallet": None, "idempotency": None}
    elif kind == CHECKPOINT:
        usage = reader.usage()
    elif kind == SETTLE:
        fields = {"charged": reader.varint(), "overrun": reader.varint(), "cause": reader.take("B"), "wallet": None}
        usage = reader.usage()
    elif kind == VOID:
        fields = {"released": reader.varint(), "cause": reader.take("B")}
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
        if reader.version == 3:
            record = of_version_3(reader, kind, time, prices)
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
