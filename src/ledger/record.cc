#include "ledger/record.h"

#include <bit>
#include <cstring>

#include "base/check.h"

namespace weir::ledger {
namespace {

constexpr std::uint8_t kVersionPlain = 1;
constexpr std::uint8_t kVersionAudio = 2;
constexpr std::uint8_t kVersion = 3;
constexpr std::uint8_t kVersionQuotas = 4;
constexpr std::uint8_t kWithWallet = 1;
constexpr std::uint8_t kWithIdempotency = 2;
constexpr std::uint8_t kWithQuotas = 4;
constexpr std::uint64_t kImageKindBit = 1 << kUsageFigures;
constexpr std::size_t kHeadBytes = 12;  // length, version, kind, time

enum class Kind : std::uint8_t {
  kIntent = 1,
  kCheckpoint = 2,
  kSettle = 3,
  kVoid = 4,
  kFund = 5,
  kPrice = 6,
  kGrant = 7,
  kGrantEnd = 8,
  kExtend = 9,
  kCounter = 10,
  kWindow = 11,
  kAlert = 12,
};
constexpr Kind kLastOfVersion2 = Kind::kFund;

// The kinds a version has.
constexpr bool Has(std::uint8_t version, Kind kind) {
  switch (version) {
    case kVersionPlain:
    case kVersionAudio:
      return kind >= Kind::kIntent && kind <= kLastOfVersion2;
    case kVersion:
      return kind >= Kind::kIntent && kind <= Kind::kExtend && kind != Kind::kFund;
    case kVersionQuotas:
      return kind == Kind::kIntent || kind == Kind::kSettle || kind == Kind::kVoid ||
             (kind >= Kind::kExtend && kind <= Kind::kAlert);
    default:
      return false;
  }
}

std::uint8_t VersionOf(bool quotas) { return quotas ? kVersionQuotas : kVersion; }

// Writes one record into a small array and appends it whole: growing the buffer byte by byte would
// check its capacity a hundred times.
class Writer {
 public:
  Writer(Kind kind, Instant time, std::uint8_t version = kVersion) {
    size_ = 2;  // the length is written last
    Byte(version);
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
  void Zigzag(std::int64_t value) {
    Varint((static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63));
  }
  void Bytes(std::span<const std::uint8_t> bytes) {
    CHECK(bytes.size() <= kPriceRecordBytesMax, "a price is shorter");
    std::memcpy(bytes_ + size_, bytes.data(), bytes.size());
    size_ += bytes.size();
  }
  void UsageCounts(const Usage& usage) {
    Byte(static_cast<std::uint8_t>(usage.source));
    std::uint64_t given = 0;
    for (std::size_t i = 0; i < kUsageFigures; ++i) {
      if (usage.*kUsageFigure[i] != 0) given |= std::uint64_t{1} << i;
    }
    if (usage.image_kind != kDearestImage) given |= kImageKindBit;
    Varint(given);
    for (std::size_t i = 0; i < kUsageFigures; ++i) {
      if (usage.*kUsageFigure[i] != 0) Count(usage.*kUsageFigure[i]);
    }
    if (usage.image_kind != kDearestImage) Varint(usage.image_kind);
  }
  void Wallet(const WalletHold& hold) {
    CHECK(hold.lines.size() <= kHoldLinesMax, "a hold has at most kHoldLinesMax lines");
    Id(hold.wallet);
    Byte(static_cast<std::uint8_t>(hold.unit));
    Count(hold.multiplier_ppm);
    Varint(hold.lines.size());
    for (const HoldLine& line : hold.lines) {
      Id(line.grant);
      Count(line.amount.n);
    }
  }
  void Lines(Duration behind, std::span<const QuotaLine> lines) {
    Count(behind.ns);
    CHECK(lines.size() <= kQuotaLinesMax, "a record has at most kQuotaLinesMax lines");
    Varint(lines.size());
    for (const QuotaLine& line : lines) {
      Varint(line.counter);
      Count(line.amount.n);
    }
  }
  void Amounts(std::span<const Amount> amounts) {
    CHECK(amounts.size() <= kQuotaLegsMax, "a request has at most kQuotaLegsMax lines");
    Varint(amounts.size());
    for (const Amount amount : amounts) Count(amount.n);
  }
  void Text(std::string_view text, std::size_t bytes_max) {
    CHECK(text.size() <= bytes_max, "the names of a counter are bounded where they are made");
    Varint(text.size());
    std::memcpy(bytes_ + size_, text.data(), text.size());
    size_ += text.size();
  }
  void AppendTo(RecordBuffer& out) {
    bytes_[0] = static_cast<std::uint8_t>(size_);
    bytes_[1] = static_cast<std::uint8_t>(size_ >> 8);
    out.bytes.insert(out.bytes.end(), bytes_, bytes_ + size_);
    ++out.count;
  }

 private:
  // The longest records: a price, and an intent with all the lines of a wallet's hold.
  static_assert(kHeadBytes + 8 + kPriceRecordBytesMax <= kRecordBytesMax);
  static_assert(kHeadBytes + 32 + 8 + 30 + 1 + 16 + 1 + 10 + 2 + kHoldLinesMax * 26 + 32 + 22 +
                    kQuotaLinesMax * 15 <=
                kRecordBytesMax);
  static_assert(kHeadBytes + 32 + 8 + 20 + 1 + 13 * 11 + 1 + 20 + 2 + kQuotaLegsMax * 10 <=
                kRecordBytesMax);
  static_assert(kHeadBytes + 64 + kCounterPolicyMax + kCounterValuesMax <= kRecordBytesMax);
  static_assert(kRecordBytesMax <= UINT16_MAX);
  std::uint8_t bytes_[kRecordBytesMax];
  std::size_t size_ = 0;
};

// Reads what Writer wrote. Once something is wrong, ok() stays false and every value is zero.
class Reader {
 public:
  Reader(std::span<const std::uint8_t> bytes, std::uint8_t version)
      : bytes_(bytes), version_(version) {}

  bool ok() const { return ok_; }
  std::uint8_t version() const { return version_; }
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
    for (int shift = 0;; shift += 7) {
      const std::uint8_t byte = Byte();
      if (!ok_) return 0;
      // The tenth byte has room for one bit, and is the last: with more it is refused. A last byte
      // of zero is not the shortest form.
      if (shift == 63 && byte > 1) return Bad();
      value |= std::uint64_t{byte & 0x7FU} << shift;
      if (byte < 0x80) return byte == 0 && shift > 0 ? Bad() : value;
    }
  }
  std::int64_t Count() {
    const std::uint64_t value = Varint();
    return value > INT64_MAX ? Bad() : static_cast<std::int64_t>(value);
  }
  // An amount may not be larger than a transfer takes.
  Amount AnAmount() {
    const std::int64_t value = Count();
    return value > kMaxAmount.n ? Amount{Bad()} : Amount{value};
  }
  NanoUsd Usd() { return UsdOf(AnAmount()); }
  std::int64_t Zigzag() {
    const std::uint64_t value = Varint();
    return static_cast<std::int64_t>((value >> 1) ^ (0 - (value & 1)));
  }
  std::vector<std::uint8_t> Rest() {
    std::vector<std::uint8_t> rest(bytes_.begin(), bytes_.end());
    if (rest.empty() || rest.size() > kPriceRecordBytesMax) Bad();
    bytes_ = {};
    return rest;
  }
  std::int32_t Int32() {
    const std::int64_t value = Zigzag();
    return value < INT32_MIN || value > INT32_MAX ? Bad() : static_cast<std::int32_t>(value);
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
    if (version_ == kVersionAudio) price.audio_second = {Count()};
    return price;
  }
  Usage UsageCounts() {
    Usage usage;
    usage.source =
        static_cast<UsageSource>(Enum(static_cast<std::uint8_t>(UsageSource::kCheckpoint)));
    if (version_ >= kVersion) return Figures(usage);
    usage.input_tokens = Count();
    usage.cached_input_tokens = Count();
    usage.cache_write_tokens = Count();
    usage.output_tokens = Count();
    usage.reasoning_tokens = Count();
    if (version_ == kVersionAudio) usage.audio_ms = Count();
    return usage;
  }
  WalletHold Wallet() {
    WalletHold hold;
    hold.wallet = Id<WalletId>();
    hold.unit = static_cast<Unit>(Enum(kUnitMax));
    hold.multiplier_ppm = Count();
    const std::uint64_t count = Varint();
    if (count > kHoldLinesMax) Bad();
    for (std::uint64_t i = 0; ok_ && i < count; ++i) {
      HoldLine line;
      line.grant = Id<GrantId>();
      line.amount = AnAmount();
      hold.lines.push_back(line);
    }
    return hold;
  }
  std::vector<QuotaLine> Lines(Duration& behind) {
    behind = {Count()};
    const std::uint64_t count = Varint();
    if (count == 0 || count > kQuotaLinesMax) Bad();
    std::vector<QuotaLine> lines;
    for (std::uint64_t i = 0; ok_ && i < count; ++i) {
      QuotaLine line;
      line.counter = Count32();
      line.amount = AnAmount();
      lines.push_back(line);
    }
    return lines;
  }
  std::vector<Amount> Amounts() {
    const std::uint64_t count = Varint();
    if (count == 0 || count > kQuotaLegsMax) Bad();
    std::vector<Amount> amounts;
    for (std::uint64_t i = 0; ok_ && i < count; ++i) amounts.push_back(AnAmount());
    return amounts;
  }
  std::string Text(std::size_t bytes_max) {
    const std::uint64_t length = Varint();
    if (length > bytes_max || length > bytes_.size()) {
      Bad();
      return {};
    }
    std::string text(reinterpret_cast<const char*>(bytes_.data()), length);
    bytes_ = bytes_.subspan(length);
    return text;
  }
  // The members of a record that are there. A record of version 4 has what policies count: without
  // it, it was written as version 3.
  std::uint8_t With(std::uint8_t known) {
    if (version_ != kVersionQuotas) return Enum(known);
    const std::uint8_t with = Enum(static_cast<std::uint8_t>(known | kWithQuotas));
    if ((with & kWithQuotas) == 0) Bad();
    return with;
  }
  ResolveCause Cause() {
    return static_cast<ResolveCause>(Enum(static_cast<std::uint8_t>(ResolveCause::kRecovery)));
  }

 private:
  Usage Figures(Usage usage) {
    const std::uint64_t given = Varint();
    if (given >= kImageKindBit << 1) Bad();
    for (std::size_t i = 0; i < kUsageFigures; ++i) {
      if ((given >> i & 1) == 0) continue;
      usage.*kUsageFigure[i] = Count();
      if (usage.*kUsageFigure[i] == 0) Bad();  // zero is not written
    }
    if ((given & kImageKindBit) != 0) {
      usage.image_kind = Count32();
      if (usage.image_kind == kDearestImage) Bad();
    }
    return usage;
  }
  std::uint8_t Bad() {
    ok_ = false;
    bytes_ = {};
    return 0;
  }

  std::span<const std::uint8_t> bytes_;
  std::uint8_t version_;
  bool ok_ = true;
};

// Whether a record has figures that version 2 has and version 1 has not.
template <class R>
bool HasAudio(const R& record) {
  bool has = false;
  if constexpr (requires { record.price; }) has = record.price.audio_second.n != 0;
  if constexpr (requires { record.usage; }) has = has || record.usage.audio_ms != 0;
  return has;
}

// --- versions 1 and 2 ----------------------------------------------------------------------------

// The fields every record about a request begins with.
template <class R>
R ReadSubject(Instant time, Reader& from) {
  R record;
  record.time = time;
  record.request = from.Id<RequestId>();
  record.key = from.Id<KeyId>();
  record.price = from.Price();
  return record;
}

Record ReadOldBody(Kind kind, Instant time, Reader& from) {
  switch (kind) {
    case Kind::kIntent: {
      auto record = ReadSubject<IntentRecord>(time, from);
      record.hold = from.Usd();
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
      record.charged = from.Usd();
      record.overrun = from.Usd();
      record.cause = from.Cause();
      record.usage = from.UsageCounts();
      return record;
    }
    case Kind::kVoid: {
      auto record = ReadSubject<VoidRecord>(time, from);
      record.released = from.Usd();
      record.cause = from.Cause();
      record.usage = from.UsageCounts();
      return record;
    }
    default:
      break;
  }
  FundRecord record;
  record.time = time;
  record.key = from.Id<KeyId>();
  record.amount = {from.Zigzag()};
  record.capped = from.Enum(1) == 1;
  record.leg = from.Count32();
  return record;
}

// --- versions 3 and 4 ----------------------------------------------------------------------------

Record ReadBody(Kind kind, Instant time, Reader& from) {
  switch (kind) {
    case Kind::kIntent: {
      IntentRecord record;
      record.time = time;
      record.request = from.Id<RequestId>();
      record.key = from.Id<KeyId>();
      record.price_id = from.Fixed();
      record.hold = from.Usd();
      record.input_tokens_bound = from.Count();
      record.output_tokens_bound = from.Count();
      const std::uint8_t with = from.With(kWithWallet | kWithIdempotency);
      if ((with & kWithWallet) != 0) record.wallet = from.Wallet();
      if ((with & kWithIdempotency) != 0) {
        const Id128 key = from.Id<Id128>();
        record.idempotency = IdempotencyUse{key, from.Id<Id128>()};
      }
      if ((with & kWithQuotas) != 0) {
        record.quotas = QuotaHold{.multiplier_ppm = from.Count(), .behind = {}, .lines = {}};
        record.quotas->lines = from.Lines(record.quotas->behind);
      }
      return record;
    }
    case Kind::kCheckpoint: {
      CheckpointRecord record;
      record.time = time;
      record.request = from.Id<RequestId>();
      record.usage = from.UsageCounts();
      return record;
    }
    case Kind::kSettle: {
      SettleRecord record;
      record.time = time;
      record.request = from.Id<RequestId>();
      record.key = from.Id<KeyId>();
      record.price_id = from.Fixed();
      record.charged = from.Usd();
      record.overrun = from.Usd();
      record.cause = from.Cause();
      record.usage = from.UsageCounts();
      const std::uint8_t with = from.With(kWithWallet);
      if ((with & kWithWallet) != 0) {
        const Amount charged = from.AnAmount();
        record.wallet = WalletCharge{charged, from.AnAmount()};
      }
      if ((with & kWithQuotas) != 0) record.quotas = from.Amounts();
      return record;
    }
    case Kind::kVoid: {
      VoidRecord record;
      record.time = time;
      record.request = from.Id<RequestId>();
      record.key = from.Id<KeyId>();
      record.released = from.Usd();
      record.cause = from.Cause();
      record.usage = from.UsageCounts();
      if (from.version() == kVersionQuotas && (from.With(0) & kWithQuotas) != 0) {
        record.quotas = from.Amounts();
      }
      return record;
    }
    case Kind::kCounter: {
      CounterRecord record;
      record.time = time;
      record.number = from.Count32();
      record.counter = from.Id<Id128>();
      record.unit = from.Byte();
      record.window = from.Byte();
      record.bucket = {from.Count()};
      record.policy = from.Text(kCounterPolicyMax);
      record.values = from.Text(kCounterValuesMax);
      return record;
    }
    case Kind::kWindow: {
      WindowRecord record;
      record.time = time;
      record.number = from.Count32();
      record.starts_at = {static_cast<std::int64_t>(from.Fixed())};
      record.ends_at = {static_cast<std::int64_t>(from.Fixed())};
      record.rule = static_cast<QuotaRule>(from.Enum(kQuotaRuleMax));
      record.limit = from.AnAmount();
      return record;
    }
    case Kind::kAlert: {
      AlertRecord record;
      record.time = time;
      record.number = from.Count32();
      record.percent = from.Enum(100);
      record.settled = from.AnAmount();
      record.limit = from.AnAmount();
      return record;
    }
    case Kind::kPrice: {
      PriceRecord record;
      record.time = time;
      record.id = from.Fixed();
      record.bytes = from.Rest();
      return record;
    }
    case Kind::kGrant: {
      GrantRecord record;
      record.time = time;
      record.grant = from.Id<GrantId>();
      record.wallet = from.Id<WalletId>();
      record.unit = static_cast<Unit>(from.Enum(kUnitMax));
      record.amount = from.AnAmount();
      record.priority = from.Int32();
      record.effective_at = {static_cast<std::int64_t>(from.Fixed())};
      record.expires_at = {static_cast<std::int64_t>(from.Fixed())};
      record.category = static_cast<GrantCategory>(from.Enum(kGrantCategoryMax));
      return record;
    }
    case Kind::kGrantEnd: {
      GrantEndRecord record;
      record.time = time;
      record.grant = from.Id<GrantId>();
      record.removed = from.AnAmount();
      record.reason = static_cast<GrantEndReason>(
          from.Enum(static_cast<std::uint8_t>(GrantEndReason::kRevoked)));
      return record;
    }
    default:
      break;
  }
  ExtendRecord record;
  record.time = time;
  record.request = from.Id<RequestId>();
  record.hold = from.Usd();
  record.output_tokens_bound = from.Count();
  const std::uint8_t with = from.With(kWithWallet);
  if ((with & kWithWallet) != 0) record.wallet = from.Wallet();
  if ((with & kWithQuotas) != 0) record.quotas = from.Lines(record.quotas_behind);
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
  const bool quotas = record.quotas && !record.quotas->lines.empty();
  Writer to(Kind::kIntent, record.time, VersionOf(quotas));
  to.Id(record.request);
  to.Id(record.key);
  to.Fixed(record.price_id);
  to.Count(record.hold.n);
  to.Count(record.input_tokens_bound);
  to.Count(record.output_tokens_bound);
  to.Byte(static_cast<std::uint8_t>((record.wallet ? kWithWallet : 0) |
                                    (record.idempotency ? kWithIdempotency : 0) |
                                    (quotas ? kWithQuotas : 0)));
  if (record.wallet) to.Wallet(*record.wallet);
  if (record.idempotency) {
    to.Id(record.idempotency->key);
    to.Id(record.idempotency->body);
  }
  if (quotas) {
    to.Count(record.quotas->multiplier_ppm);
    to.Lines(record.quotas->behind, record.quotas->lines);
  }
  to.AppendTo(out);
}

void Encode(const CheckpointRecord& record, RecordBuffer& out) {
  Writer to(Kind::kCheckpoint, record.time);
  to.Id(record.request);
  to.UsageCounts(record.usage);
  to.AppendTo(out);
}

void Encode(const SettleRecord& record, RecordBuffer& out) {
  const bool quotas = !record.quotas.empty();
  Writer to(Kind::kSettle, record.time, VersionOf(quotas));
  to.Id(record.request);
  to.Id(record.key);
  to.Fixed(record.price_id);
  to.Count(record.charged.n);
  to.Count(record.overrun.n);
  to.Byte(static_cast<std::uint8_t>(record.cause));
  to.UsageCounts(record.usage);
  to.Byte(
      static_cast<std::uint8_t>((record.wallet ? kWithWallet : 0) | (quotas ? kWithQuotas : 0)));
  if (record.wallet) {
    to.Count(record.wallet->charged.n);
    to.Count(record.wallet->overrun.n);
  }
  if (quotas) to.Amounts(record.quotas);
  to.AppendTo(out);
}

void Encode(const VoidRecord& record, RecordBuffer& out) {
  const bool quotas = !record.quotas.empty();
  Writer to(Kind::kVoid, record.time, VersionOf(quotas));
  to.Id(record.request);
  to.Id(record.key);
  to.Count(record.released.n);
  to.Byte(static_cast<std::uint8_t>(record.cause));
  to.UsageCounts(record.usage);
  if (quotas) {
    to.Byte(kWithQuotas);
    to.Amounts(record.quotas);
  }
  to.AppendTo(out);
}

void Encode(const FundRecord& record, RecordBuffer& out) {
  Writer to(Kind::kFund, record.time, kVersionPlain);
  to.Id(record.key);
  to.Zigzag(record.amount.n);
  to.Byte(record.capped ? 1 : 0);
  to.Varint(record.leg);
  to.AppendTo(out);
}

void Encode(const PriceRecord& record, RecordBuffer& out) {
  Writer to(Kind::kPrice, record.time);
  to.Fixed(record.id);
  to.Bytes(record.bytes);
  to.AppendTo(out);
}

void Encode(const GrantRecord& record, RecordBuffer& out) {
  Writer to(Kind::kGrant, record.time);
  to.Id(record.grant);
  to.Id(record.wallet);
  to.Byte(static_cast<std::uint8_t>(record.unit));
  to.Count(record.amount.n);
  to.Zigzag(record.priority);
  to.Fixed(static_cast<std::uint64_t>(record.effective_at.ns));
  to.Fixed(static_cast<std::uint64_t>(record.expires_at.ns));
  to.Byte(static_cast<std::uint8_t>(record.category));
  to.AppendTo(out);
}

void Encode(const GrantEndRecord& record, RecordBuffer& out) {
  Writer to(Kind::kGrantEnd, record.time);
  to.Id(record.grant);
  to.Count(record.removed.n);
  to.Byte(static_cast<std::uint8_t>(record.reason));
  to.AppendTo(out);
}

void Encode(const ExtendRecord& record, RecordBuffer& out) {
  const bool quotas = !record.quotas.empty();
  Writer to(Kind::kExtend, record.time, VersionOf(quotas));
  to.Id(record.request);
  to.Count(record.hold.n);
  to.Count(record.output_tokens_bound);
  to.Byte(
      static_cast<std::uint8_t>((record.wallet ? kWithWallet : 0) | (quotas ? kWithQuotas : 0)));
  if (record.wallet) to.Wallet(*record.wallet);
  if (quotas) to.Lines(record.quotas_behind, record.quotas);
  to.AppendTo(out);
}

void Encode(const CounterRecord& record, RecordBuffer& out) {
  Writer to(Kind::kCounter, record.time, kVersionQuotas);
  to.Varint(record.number);
  to.Id(record.counter);
  to.Byte(record.unit);
  to.Byte(record.window);
  to.Count(record.bucket.ns);
  to.Text(record.policy, kCounterPolicyMax);
  to.Text(record.values, kCounterValuesMax);
  to.AppendTo(out);
}

void Encode(const WindowRecord& record, RecordBuffer& out) {
  Writer to(Kind::kWindow, record.time, kVersionQuotas);
  to.Varint(record.number);
  to.Fixed(static_cast<std::uint64_t>(record.starts_at.ns));
  to.Fixed(static_cast<std::uint64_t>(record.ends_at.ns));
  to.Byte(static_cast<std::uint8_t>(record.rule));
  to.Count(record.limit.n);
  to.AppendTo(out);
}

void Encode(const AlertRecord& record, RecordBuffer& out) {
  Writer to(Kind::kAlert, record.time, kVersionQuotas);
  to.Varint(record.number);
  to.Byte(record.percent);
  to.Count(record.settled.n);
  to.Count(record.limit.n);
  to.AppendTo(out);
}

void Encode(const Record& record, RecordBuffer& out) {
  std::visit([&](const auto& one) { Encode(one, out); }, record);
}

std::expected<Record, DecodeFault> Decode(std::span<const std::uint8_t>& bytes) {
  if (bytes.size() < kHeadBytes) return std::unexpected(DecodeFault::kTruncated);
  const std::size_t length = static_cast<std::size_t>(bytes[0] | (bytes[1] << 8));
  const std::uint8_t version = bytes[2];
  if (version < kVersionPlain || version > kVersionQuotas) {
    return std::unexpected(DecodeFault::kUnknownVersion);
  }
  const auto kind = static_cast<Kind>(bytes[3]);
  if (!Has(version, kind)) {
    return std::unexpected(DecodeFault::kUnknownKind);
  }
  if (length < kHeadBytes || length > kRecordBytesMax) {
    return std::unexpected(DecodeFault::kMalformed);
  }
  if (bytes.size() < length) return std::unexpected(DecodeFault::kTruncated);
  Reader from(bytes.subspan(4, length - 4), version);
  const Instant time{static_cast<std::int64_t>(from.Fixed())};
  Record record = version >= kVersion ? ReadBody(kind, time, from) : ReadOldBody(kind, time, from);
  if (!from.ok() || !from.AtEnd()) return std::unexpected(DecodeFault::kMalformed);
  // Version 2 without audio was never written: there is one form of every record.
  const bool has_audio = std::visit([](const auto& one) { return HasAudio(one); }, record);
  if (version < kVersion && has_audio != (version == kVersionAudio)) {
    return std::unexpected(DecodeFault::kMalformed);
  }
  bytes = bytes.subspan(length);
  return record;
}

}  // namespace weir::ledger
