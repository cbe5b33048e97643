#include "ledger/record.h"

#include <bit>
#include <cstring>

#include "base/check.h"

namespace weir::ledger {
namespace {

constexpr std::uint8_t kVersionPlain = 1;
constexpr std::uint8_t kVersionAudio = 2;
constexpr std::size_t kHeadBytes = 12;  // length, version, kind, time

enum class Kind : std::uint8_t { kIntent = 1, kCheckpoint = 2, kSettle = 3, kVoid = 4, kFund = 5 };

// Writes one record into a small array and appends it whole: growing the buffer byte by byte would
// check its capacity a hundred times.
class Writer {
 public:
  // `audio`: the record has figures that only version 2 has.
  Writer(Kind kind, Instant time, bool audio) : audio_(audio) {
    size_ = 2;  // the length is written last
    Byte(audio ? kVersionAudio : kVersionPlain);
    Byte(static_cast<std::uint8_t>(kind));
    Fixed(static_cast<std::uint64_t>(time.ns));
  }

  void Byte(std::uint8_t value) { bytes_[size_++] = value; }
  void Fixed(std::uint64_t value) {
    if constexpr (std::endian::native == std::endian::big) value = std::byteswap(value);
    std::memcpy(bytes_ + size_, &value, sizeof value);
    size_ += sizeof value;
  }
  void Varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) Byte(static_cast<std::uint8_t>(value | 0x80));
    Byte(static_cast<std::uint8_t>(value));
  }
  void Count(std::int64_t value) {
    CHECK(value >= 0, "amounts and counts on disk are never negative");
    Varint(static_cast<std::uint64_t>(value));
  }
  void Id(const Id128& id) {
    Fixed(id.high);
    Fixed(id.low);
  }
  void Price(const PinnedPrice& price) {
    Varint(price.version);
    Count(price.input.p);
    Count(price.cached_input.p);
    Count(price.cache_write.p);
    Count(price.output.p);
    Count(price.per_request.n);
    if (audio_) Count(price.audio_second.n);
  }
  void UsageCounts(const Usage& usage) {
    Byte(static_cast<std::uint8_t>(usage.source));
    Count(usage.input_tokens);
    Count(usage.cached_input_tokens);
    Count(usage.cache_write_tokens);
    Count(usage.output_tokens);
    Count(usage.reasoning_tokens);
    if (audio_) Count(usage.audio_ms);
  }
  void AppendTo(RecordBuffer& out) {
    bytes_[0] = static_cast<std::uint8_t>(size_);
    bytes_[1] = static_cast<std::uint8_t>(size_ >> 8);
    out.bytes.insert(out.bytes.end(), bytes_, bytes_ + size_);
    ++out.count;
  }

 private:
  // The longest record: head 12, ids 32, price 5 + 6 x 10, two amounts, a cause, usage 1 + 6 x 10.
  static_assert(kHeadBytes + 32 + 65 + 21 + 61 <= kRecordBytesMax);
  std::uint8_t bytes_[kRecordBytesMax];
  std::size_t size_ = 0;
  bool audio_;
};

// Reads what Writer wrote. Once something is wrong, ok() stays false and every value is zero.
class Reader {
 public:
  Reader(std::span<const std::uint8_t> bytes, bool audio) : bytes_(bytes), audio_(audio) {}

  bool ok() const { return ok_; }
  bool AtEnd() const { return bytes_.empty(); }
  std::uint8_t Byte() {
    if (bytes_.empty()) return Bad();
    const std::uint8_t value = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return value;
  }
  std::uint64_t Fixed() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 8) value |= std::uint64_t{Byte()} << shift;
    return value;
  }
  std::uint64_t Varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const std::uint8_t byte = Byte();
      if (!ok_) return 0;
      // The tenth byte has room for one bit; a last byte of zero is not the shortest form.
      if (shift == 63 && byte > 1) return Bad();
      value |= std::uint64_t{byte & 0x7FU} << shift;
      if (byte < 0x80) return byte == 0 && shift > 0 ? Bad() : value;
    }
    return Bad();
  }
  std::int64_t Count() {
    const std::uint64_t value = Varint();
    return value > INT64_MAX ? Bad() : static_cast<std::int64_t>(value);
  }
  // An amount may not be larger than a transfer takes.
  NanoUsd Amount() {
    const std::int64_t value = Count();
    return value > kMaxNanoUsd.n ? NanoUsd{Bad()} : NanoUsd{value};
  }
  std::uint32_t Count32() {
    const std::uint64_t value = Varint();
    return value > UINT32_MAX ? Bad() : static_cast<std::uint32_t>(value);
  }
  std::uint8_t Enum(std::uint8_t value_max) {
    const std::uint8_t value = Byte();
    return value > value_max ? Bad() : value;
  }
  template <class IdType>
  IdType Id() {
    IdType id;
    id.high = Fixed();
    id.low = Fixed();
    if (id.empty()) Bad();
    return id;
  }
  PinnedPrice Price() {
    PinnedPrice price;
    price.version = Count32();
    price.input = {Count()};
    price.cached_input = {Count()};
    price.cache_write = {Count()};
    price.output = {Count()};
    price.per_request = {Count()};
    if (audio_) price.audio_second = {Count()};
    return price;
  }
  Usage UsageCounts() {
    Usage usage;
    usage.source =
        static_cast<UsageSource>(Enum(static_cast<std::uint8_t>(UsageSource::kCheckpoint)));
    usage.input_tokens = Count();
    usage.cached_input_tokens = Count();
    usage.cache_write_tokens = Count();
    usage.output_tokens = Count();
    usage.reasoning_tokens = Count();
    if (audio_) usage.audio_ms = Count();
    return usage;
  }
  ResolveCause Cause() {
    return static_cast<ResolveCause>(Enum(static_cast<std::uint8_t>(ResolveCause::kRecovery)));
  }

 private:
  std::uint8_t Bad() {
    ok_ = false;
    bytes_ = {};
    return 0;
  }

  std::span<const std::uint8_t> bytes_;
  bool audio_;
  bool ok_ = true;
};

// Whether a record has figures that only version 2 has.
template <class R>
bool HasAudio(const R& record) {
  bool has = false;
  if constexpr (requires { record.price; }) has = record.price.audio_second.n != 0;
  if constexpr (requires { record.usage; }) has = has || record.usage.audio_ms != 0;
  return has;
}

// The fields every record about a request begins with.
template <class R>
void WriteSubject(const R& record, Writer& to) {
  to.Id(record.request);
  to.Id(record.key);
  to.Price(record.price);
}

template <class R>
R ReadSubject(Instant time, Reader& from) {
  R record;
  record.time = time;
  record.request = from.Id<RequestId>();
  record.key = from.Id<KeyId>();
  record.price = from.Price();
  return record;
}

Record ReadBody(Kind kind, Instant time, Reader& from) {
  switch (kind) {
    case Kind::kIntent: {
      auto record = ReadSubject<IntentRecord>(time, from);
      record.hold = from.Amount();
      record.input_tokens_bound = from.Count();
      record.output_tokens_bound = from.Count();
      return record;
    }
    case Kind::kCheckpoint: {
      auto record = ReadSubject<CheckpointRecord>(time, from);
      record.usage = from.UsageCounts();
      return record;
    }
    case Kind::kSettle: {
      auto record = ReadSubject<SettleRecord>(time, from);
      record.charged = from.Amount();
      record.overrun = from.Amount();
      record.cause = from.Cause();
      record.usage = from.UsageCounts();
      return record;
    }
    case Kind::kVoid: {
      auto record = ReadSubject<VoidRecord>(time, from);
      record.released = from.Amount();
      record.cause = from.Cause();
      record.usage = from.UsageCounts();
      return record;
    }
    case Kind::kFund:
      break;
  }
  FundRecord record;
  record.time = time;
  record.key = from.Id<KeyId>();
  const std::uint64_t zigzag = from.Varint();
  record.amount = {static_cast<std::int64_t>((zigzag >> 1) ^ (0 - (zigzag & 1)))};
  record.capped = from.Enum(1) == 1;
  record.leg = from.Count32();
  return record;
}

}  // namespace

std::string_view Name(DecodeFault fault) {
  switch (fault) {
    case DecodeFault::kTruncated:
      return "truncated";
    case DecodeFault::kUnknownVersion:
      return "unknown_version";
    case DecodeFault::kUnknownKind:
      return "unknown_kind";
    case DecodeFault::kMalformed:
      return "malformed";
  }
  return "unknown";
}

void Encode(const IntentRecord& record, RecordBuffer& out) {
  Writer to(Kind::kIntent, record.time, HasAudio(record));
  WriteSubject(record, to);
  to.Count(record.hold.n);
  to.Count(record.input_tokens_bound);
  to.Count(record.output_tokens_bound);
  to.AppendTo(out);
}

void Encode(const CheckpointRecord& record, RecordBuffer& out) {
  Writer to(Kind::kCheckpoint, record.time, HasAudio(record));
  WriteSubject(record, to);
  to.UsageCounts(record.usage);
  to.AppendTo(out);
}

void Encode(const SettleRecord& record, RecordBuffer& out) {
  Writer to(Kind::kSettle, record.time, HasAudio(record));
  WriteSubject(record, to);
  to.Count(record.charged.n);
  to.Count(record.overrun.n);
  to.Byte(static_cast<std::uint8_t>(record.cause));
  to.UsageCounts(record.usage);
  to.AppendTo(out);
}

void Encode(const VoidRecord& record, RecordBuffer& out) {
  Writer to(Kind::kVoid, record.time, HasAudio(record));
  WriteSubject(record, to);
  to.Count(record.released.n);
  to.Byte(static_cast<std::uint8_t>(record.cause));
  to.UsageCounts(record.usage);
  to.AppendTo(out);
}

void Encode(const FundRecord& record, RecordBuffer& out) {
  Writer to(Kind::kFund, record.time, HasAudio(record));
  to.Id(record.key);
  to.Varint((static_cast<std::uint64_t>(record.amount.n) << 1) ^
            static_cast<std::uint64_t>(record.amount.n >> 63));
  to.Byte(record.capped ? 1 : 0);
  to.Varint(record.leg);
  to.AppendTo(out);
}

void Encode(const Record& record, RecordBuffer& out) {
  std::visit([&](const auto& one) { Encode(one, out); }, record);
}

std::expected<Record, DecodeFault> Decode(std::span<const std::uint8_t>& bytes) {
  if (bytes.size() < kHeadBytes) return std::unexpected(DecodeFault::kTruncated);
  const std::size_t length = static_cast<std::size_t>(bytes[0] | (bytes[1] << 8));
  const bool audio = bytes[2] == kVersionAudio;
  if (bytes[2] != kVersionPlain && !audio) return std::unexpected(DecodeFault::kUnknownVersion);
  if (bytes[3] < static_cast<std::uint8_t>(Kind::kIntent) ||
      bytes[3] > static_cast<std::uint8_t>(Kind::kFund)) {
    return std::unexpected(DecodeFault::kUnknownKind);
  }
  if (length < kHeadBytes || length > kRecordBytesMax) {
    return std::unexpected(DecodeFault::kMalformed);
  }
  if (bytes.size() < length) return std::unexpected(DecodeFault::kTruncated);
  Reader from(bytes.subspan(4, length - 4), audio);
  const Instant time{static_cast<std::int64_t>(from.Fixed())};
  Record record = ReadBody(static_cast<Kind>(bytes[3]), time, from);
  // Version 2 without audio is never written: there is one form of every record.
  const bool says_audio = std::visit([](const auto& one) { return HasAudio(one); }, record);
  if (!from.ok() || !from.AtEnd() || audio != says_audio)
    return std::unexpected(DecodeFault::kMalformed);
  bytes = bytes.subspan(length);
  return record;
}

}  // namespace weir::ledger
