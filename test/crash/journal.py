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
INTENT, CHECKPOINT, SETTLE, VOID, FUND = 1, 2, 3, 4, 5


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

    def id(self):
        high, low = self.take("QQ")
        value = high << 64 | low
        return "".join(ALPHABET[value >> shift & 31] for shift in range(125, -1, -5))

    def price(self):
        plain = [self.varint() for _ in Price._fields[:-1]]
        return Price(*plain, self.audio())

    def usage(self):
        plain = [self.take("B"), *(self.varint() for _ in Usage._fields[1:-1])]
        return Usage(*plain, self.audio())

    def audio(self):
        """The figure that only version 2 has."""
        return self.varint() if self.version == 2 else 0


def decode(data):
    """All records of a batch, in order; raises ValueError or struct.error on anything unexpected."""
    records, at = [], 0
    while at < len(data):
        length = struct.unpack_from("<H", data, at)[0]
        reader = Reader(data[at:at + length])
        reader.take("H")
        version, kind, time = reader.take("BBq")
        if version not in (1, 2):
            raise ValueError(f"record version {version}")
        reader.version = version
        if kind == FUND:
            key = reader.id()
            zigzag = reader.varint()
            fields = {"amount": (zigzag >> 1) ^ -(zigzag & 1), "capped": reader.take("B"), "leg": reader.varint()}
            record = Record(kind, time, None, key, None, fields, None)
        else:
            request, key, price, fields, usage = reader.id(), reader.id(), reader.price(), {}, None
            if kind == INTENT:
                fields = {name: reader.varint() for name in ("hold", "input_bound", "output_bound")}
            elif kind == CHECKPOINT:
                usage = reader.usage()
            elif kind == SETTLE:
                fields = {"charged": reader.varint(), "overrun": reader.varint(), "cause": reader.take("B")}
                usage = reader.usage()
            elif kind == VOID:
                fields = {"released": reader.varint(), "cause": reader.take("B")}
                usage = reader.usage()
            else:
                raise ValueError(f"record kind {kind}")
            record = Record(kind, time, request, key, price, fields, usage)
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
                records, expected = [], 1
                for first, count, data in rows:
                    if first != expected:
                        raise ValueError(f"position {first} where {expected} belongs")
                    batch = decode(data)
                    if len(batch) != count:
                        raise ValueError(f"{len(batch)} records in a batch of {count}")
                    records += batch
                    expected += count
                return records
    raise ValueError(f"there is no journal in {data_dir}")
