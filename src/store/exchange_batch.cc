#include "store/exchange_batch.h"

#include <bit>
#include <cstring>
#include <string>
#include <vector>

#include "config/price_codec.h"

namespace weir::store {
namespace {

constexpr std::uint8_t kVersion = 5;
constexpr std::uint8_t kVersionBeforePolicies = 4;
constexpr std::uint8_t kVersionBeforeWallets = 3;
constexpr std::uint8_t kVersionBeforeReceipts = 2;
constexpr std::uint8_t kVersionBeforeAudio = 1;
constexpr std::int64_t kFlagStream = 1;
constexpr std::int64_t kFlagSandbox = 2;
constexpr std::int64_t kFlagCharge = 4;
constexpr std::int64_t kFlagBudget = 8;
constexpr std::int64_t kFlagAdaptive = 16;
constexpr std::size_t kIdBytes = 16;
constexpr std::size_t kVarintBytesMax = 10;
// A word that is longer is appended on its own; nearly all are shorter.
constexpr std::size_t kShortWordBytes = 64;

std::uint64_t BigEndian(std::uint64_t value) {
  return std::endian::native == std::endian::big ? value : std::byteswap(value);
}

void PutId(const Id128& id, std::uint8_t* to) {
  const std::uint64_t halves[2] = {BigEndian(id.high), BigEndian(id.low)};
  std::memcpy(to, halves, kIdBytes);
}

Id128 GetId(const void* from) {
  std::uint64_t halves[2];
  std::memcpy(halves, from, kIdBytes);
  return {BigEndian(halves[0]), BigEndian(halves[1])};
}

std::uint8_t* PutVarint(std::uint64_t value, std::uint8_t* to) {
  for (; value >= 0x80; value >>= 7) *to++ = static_cast<std::uint8_t>(value | 0x80);
  *to++ = static_cast<std::uint8_t>(value);
  return to;
}

std::uint64_t ZigZag(std::int64_t value) {
  return (static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63);
}

// The microsecond an id's millisecond begins with; as an unsigned number, so that no clock can
// overflow it.
std::uint64_t MicrosecondOf(const Id128& id) { return (id.high >> 16) * 1000; }

template <class Enum>
std::int64_t Code(Enum value) {
  return static_cast<std::int64_t>(value);
}

// Words of closed lists, kept as their places in them. FROZEN: new ones come last.
constexpr std::string_view kSticky[] = {"", "kept", "away", "escaped"};
constexpr std::string_view kHangUpRules[] = {"", "abort_and_bill_observed", "abort_and_void",
                                             "drain_and_bill"};
constexpr std::string_view kUpstreamKinds[] = {"", "sandbox", "openai", "anthropic", "gemini"};
constexpr std::string_view kWalletUnits[] = {"", "nano_usd", "quota_token"};
constexpr int kChoiceBits = 4;

// 0, the empty word, for one that is not in the list.
template <std::size_t kSize>
std::int64_t PlaceIn(const std::string_view (&list)[kSize], std::string_view word) {
  for (std::size_t i = 1; i < kSize; ++i) {
    if (list[i] == word) return static_cast<std::int64_t>(i);
  }
  return 0;
}

template <std::size_t kSize>
std::string_view WordAt(const std::string_view (&list)[kSize], std::int64_t choices, int place) {
  const auto at = static_cast<std::uint64_t>(choices) >> (place * kChoiceBits) & 0xF;
  return at < kSize ? list[at] : std::string_view();
}

constexpr std::size_t kPriceNumbers = 7;  // of version 3

}  // namespace

void ExchangeBatch::Append(const telemetry::ExchangeRecord& record) {
  // Written into a small array and appended whole: growing the buffer byte by byte would check its
  // capacity for each.
  constexpr std::size_t kBytesMax =
      kIdBytes +
      (ExchangeReader::kWords + config::kDimensions) * (kVarintBytesMax + kShortWordBytes) +
      (ExchangeReader::kNumbers + 1) * kVarintBytesMax;
  std::uint8_t buffer[kBytesMax];
  std::uint8_t* to = buffer;
  if (bytes_.empty()) {
    bytes_.reserve(256);
    bytes_.push_back(kVersion);
  }

  PutId(record.request, to);
  to += kIdBytes;

  std::uint8_t key[kIdBytes];
  PutId(record.key, key);
  const std::string_view words[ExchangeReader::kWords] = {
      {reinterpret_cast<const char*>(key), record.key.empty() ? 0 : kIdBytes},
      record.operation,
      record.model,
      record.model_served,
      record.upstream,
      record.model_charged,
      record.changes,
      record.attempts_told,
      record.price,
      record.action,
      record.policy_refused,
      record.policy_degraded,
      record.policies_shadow};
  for (std::size_t i = 0; i < ExchangeReader::kWords; ++i) {
    const std::string_view word = words[i];
    Place& before = words_[i];
    if (word.size() == before.size &&
        (word.empty() || std::memcmp(word.data(), bytes_.data() + before.at, word.size()) == 0)) {
      *to++ = 0;
      continue;
    }
    to = PutVarint(word.size() + 1, to);
    before = {bytes_.size() + static_cast<std::size_t>(to - buffer), word.size()};
    to = PutBytes(word, buffer, to);
  }

  const telemetry::WalletKept wallet = record.wallet.value_or(telemetry::WalletKept{});
  const auto started =
      static_cast<std::uint64_t>(record.started_at.ns / 1000) - MicrosecondOf(record.request);
  const std::int64_t numbers[ExchangeReader::kNumbers] = {
      static_cast<std::int64_t>(started), Code(record.ending), Code(record.refusal), record.status,
      record.attempts,
      (record.stream ? kFlagStream : 0) | (record.sandbox ? kFlagSandbox : 0) |
          (record.charge ? kFlagCharge : 0) | (record.budget ? kFlagBudget : 0) |
          (record.adaptive ? kFlagAdaptive : 0),
      Code(record.usage.source), record.usage.input_tokens, record.usage.cached_input_tokens,
      record.usage.cache_write_tokens, record.usage.output_tokens, record.usage.reasoning_tokens,
      record.held.n, record.charged.n, record.overrun.n, record.total.ns / 1000,
      record.upstream_time.ns / 1000, record.first_byte.ns / 1000, record.durable_time.ns / 1000,
      record.usage.audio_ms,
      PlaceIn(kSticky, record.sticky) | PlaceIn(kHangUpRules, record.hang_up_rule) << kChoiceBits |
          PlaceIn(kUpstreamKinds, record.upstream_kind) << (2 * kChoiceBits),
      record.queue_time.ns / 1000, record.queue_position, record.input_tokens_bound,
      record.output_tokens_bound, record.audio_ms_bound, record.output_tokens_granted,
      static_cast<std::int64_t>(record.hold_position),
      static_cast<std::int64_t>(record.settle_position), record.requests.limit,
      record.requests.remaining, record.tokens.limit, record.tokens.remaining,
      record.budget ? record.budget->n : 0, record.budget_remaining.n,
      record.usage.cache_write_1h_tokens, record.usage.input_audio_tokens,
      record.usage.output_audio_tokens, record.usage.tool_calls, record.usage.images,
      record.usage.video_ms,
      // kDearestImage is the largest, so one more of it is 0.
      static_cast<std::int64_t>(static_cast<std::uint32_t>(record.usage.image_kind + 1)),
      record.wallet ? PlaceIn(kWalletUnits, wallet.unit) : 0, wallet.multiplier_ppm, wallet.held,
      wallet.charged, wallet.overrun, wallet.left, record.tool_calls_bound,
      record.output_tokens_asked, record.output_choices, record.output_tokens_useful,
      record.multiplier_ppm, record.fallback_spend.n};
  for (const std::int64_t number : numbers) to = PutVarint(ZigZag(number), to);
  PutAttributes(record.attributes, buffer, to);
  bytes_.insert(bytes_.end(), buffer, to);
  ++count_;
}

// Behind what is in the buffer from `buffer` to `to`: into it as well, or both into the batch.
std::uint8_t* ExchangeBatch::PutBytes(std::string_view bytes, std::uint8_t* buffer,
                                      std::uint8_t* to) {
  if (bytes.size() <= kShortWordBytes) {
    if (!bytes.empty()) std::memcpy(to, bytes.data(), bytes.size());
    return to + bytes.size();
  }
  bytes_.insert(bytes_.end(), buffer, to);
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  return buffer;
}

void ExchangeBatch::PutAttributes(const telemetry::Attributes& attributes, std::uint8_t* buffer,
                                  std::uint8_t*& to) {
  if (attributes == attributes_) {
    *to++ = 0;
    return;
  }
  std::array<std::string_view, config::kDimensions> values{};
  attributes.ForEach([&](config::Dimension dimension, std::string_view value) {
    values[static_cast<std::size_t>(dimension)] = value;
  });
  std::uint32_t changed = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const Place& before = values_[i];
    const bool same = values[i].size() == before.size &&
                      (values[i].empty() ||
                       std::memcmp(values[i].data(), bytes_.data() + before.at, before.size) == 0);
    if (!same) changed |= 1U << i;
  }
  to = PutVarint(changed, to);
  for (std::uint32_t bits = changed; bits != 0; bits &= bits - 1) {
    const auto i = static_cast<std::size_t>(std::countr_zero(bits));
    to = PutVarint(values[i].size(), to);
    values_[i] = {bytes_.size() + static_cast<std::size_t>(to - buffer), values[i].size()};
    to = PutBytes(values[i], buffer, to);
  }
  attributes_ = attributes;
}

void ExchangeBatch::Clear() {
  bytes_.clear();
  words_ = {};
  values_ = {};
  attributes_ = {};
  count_ = 0;
}

ExchangeReader::ExchangeReader(std::span<const std::uint8_t> bytes) : rest_(bytes) {
  damaged_ = rest_.empty() || rest_.front() < kVersionBeforeAudio || rest_.front() > kVersion;
  if (!damaged_) version_ = rest_.front();
  if (version_ <= kVersionBeforePolicies) {
    words_there_ = kAction;
    numbers_there_ = version_ == kVersionBeforeWallets ? kCacheWrite1hTokens : kOutputAsked;
  }
  if (!damaged_ && version_ <= kVersionBeforeReceipts) {
    words_there_ = kModelCharged;
    numbers_there_ = rest_.front() == kVersionBeforeAudio ? kAudioMs : kChoices;
  }
  if (!damaged_) rest_ = rest_.subspan(1);
}

bool ExchangeReader::Varint(std::uint64_t& value) {
  value = 0;
  for (std::size_t i = 0; i < kVarintBytesMax && i < rest_.size(); ++i) {
    value |= std::uint64_t{rest_[i] & 0x7FU} << (7 * i);
    if (rest_[i] < 0x80) {
      rest_ = rest_.subspan(i + 1);
      return true;
    }
  }
  return false;
}

bool ExchangeReader::Next() {
  if (damaged_ || rest_.empty()) return false;
  damaged_ = !Read();
  return !damaged_;
}

bool ExchangeReader::Read() {
  if (rest_.size() < kIdBytes) return false;
  request_ = RequestId{GetId(rest_.data())};
  rest_ = rest_.subspan(kIdBytes);
  for (std::size_t i = 0; i < words_there_; ++i) {
    std::string_view& word = words_[i];
    std::uint64_t length = 0;
    if (!Varint(length)) return false;
    if (length == 0) continue;
    --length;
    if (length > rest_.size()) return false;
    word = {reinterpret_cast<const char*>(rest_.data()), static_cast<std::size_t>(length)};
    rest_ = rest_.subspan(static_cast<std::size_t>(length));
  }
  if (!words_[kKey].empty() && words_[kKey].size() != kIdBytes) return false;
  for (std::size_t i = 0; i < numbers_there_; ++i) {
    std::uint64_t value = 0;
    if (!Varint(value)) return false;
    numbers_[i] = static_cast<std::int64_t>((value >> 1) ^ (0 - (value & 1)));
  }
  return version_ <= kVersionBeforePolicies || ReadAttributes();
}

bool ExchangeReader::ReadAttributes() {
  std::uint64_t changed = 0;
  if (!Varint(changed) || changed >> config::kDimensions != 0) return false;
  changed_ = static_cast<std::uint32_t>(changed);
  for (std::uint32_t bits = changed_; bits != 0; bits &= bits - 1) {
    std::uint64_t length = 0;
    if (!Varint(length) || length > rest_.size()) return false;
    values_[static_cast<std::size_t>(std::countr_zero(bits))] = {
        reinterpret_cast<const char*>(rest_.data()), static_cast<std::size_t>(length)};
    rest_ = rest_.subspan(static_cast<std::size_t>(length));
  }
  return true;
}

std::string ExchangeReader::price() const {
  if (version_ > kVersionBeforeWallets || words_[kPrice].empty()) {
    return std::string(words_[kPrice]);
  }
  ExchangeReader word({});  // for its Varint
  word.rest_ = {reinterpret_cast<const std::uint8_t*>(words_[kPrice].data()),
                words_[kPrice].size()};
  std::array<std::int64_t, kPriceNumbers> rates{};
  for (std::int64_t& rate : rates) {
    std::uint64_t value = 0;
    if (!word.Varint(value)) return {};
    rate = static_cast<std::int64_t>((value >> 1) ^ (0 - (value & 1)));
  }
  const config::Price price{.input = {rates[1]},
                            .cached_input = {rates[2]},
                            .cache_write = {rates[3]},
                            .output = {rates[4]},
                            .per_request = {rates[5]},
                            .audio_second = {rates[6]},
                            .version = static_cast<std::uint32_t>(rates[0])};
  if (price.version == 0 || config::PriceFault(price)) return {};
  std::vector<std::uint8_t> bytes;
  config::EncodePrice(price, bytes);
  return {bytes.begin(), bytes.end()};
}

KeyId ExchangeReader::key() const {
  return words_[kKey].empty() ? KeyId{} : KeyId{GetId(words_[kKey].data())};
}

telemetry::ExchangeRecord ExchangeReader::Record() const {
  // Multiplied as unsigned numbers: damaged bytes may not overflow.
  const auto nanoseconds = [](std::uint64_t microseconds) {
    return static_cast<std::int64_t>(microseconds * 1000);
  };
  const auto duration = [&](Number which) {
    return Duration{nanoseconds(static_cast<std::uint64_t>(number(which)))};
  };
  telemetry::ExchangeRecord record;
  record.request = request_;
  record.key = key();
  record.started_at = {
      nanoseconds(static_cast<std::uint64_t>(number(kStartedUs)) + MicrosecondOf(request_))};
  record.ending = static_cast<telemetry::EndingKind>(number(kEnding));
  record.refusal = static_cast<Refusal>(number(kRefusal));
  record.status = static_cast<int>(number(kStatus));
  record.operation = words_[kOperation];
  record.model = words_[kModel];
  record.model_served = words_[kModelServed];
  record.upstream = words_[kUpstream];
  record.attempts = static_cast<std::int32_t>(number(kAttempts));
  record.stream = (number(kFlags) & kFlagStream) != 0;
  record.sandbox = (number(kFlags) & kFlagSandbox) != 0;
  record.usage.source = static_cast<UsageSource>(number(kUsageSource));
  record.usage.input_tokens = number(kInputTokens);
  record.usage.cached_input_tokens = number(kCachedInputTokens);
  record.usage.cache_write_tokens = number(kCacheWriteTokens);
  record.usage.output_tokens = number(kOutputTokens);
  record.usage.reasoning_tokens = number(kReasoningTokens);
  record.usage.audio_ms = number(kAudioMs);
  record.usage.cache_write_1h_tokens = number(kCacheWrite1hTokens);
  record.usage.input_audio_tokens = number(kInputAudioTokens);
  record.usage.output_audio_tokens = number(kOutputAudioTokens);
  record.usage.tool_calls = number(kToolCalls);
  record.usage.images = number(kImages);
  record.usage.video_ms = number(kVideoMs);
  record.usage.image_kind = static_cast<std::uint32_t>(number(kImageKind)) - 1;
  record.held = {number(kHeldNanoUsd)};
  record.charged = {number(kChargedNanoUsd)};
  record.overrun = {number(kOverrunNanoUsd)};
  record.total = duration(kTotalUs);
  record.upstream_time = duration(kUpstreamUs);
  record.first_byte = duration(kFirstByteUs);
  record.durable_time = duration(kDurableUs);
  record.model_charged = words_[kModelCharged];
  record.changes = words_[kChanges];
  record.attempts_told = words_[kAttemptsTold];
  record.price = price();
  record.charge = (number(kFlags) & kFlagCharge) != 0;
  record.sticky = WordAt(kSticky, number(kChoices), 0);
  record.hang_up_rule = WordAt(kHangUpRules, number(kChoices), 1);
  record.upstream_kind = WordAt(kUpstreamKinds, number(kChoices), 2);
  record.queue_time = duration(kQueueUs);
  record.queue_position = number(kQueuePosition);
  record.input_tokens_bound = number(kInputBound);
  record.output_tokens_bound = number(kOutputBound);
  record.audio_ms_bound = number(kAudioBoundMs);
  record.output_tokens_granted = number(kOutputGranted);
  record.hold_position = static_cast<std::uint64_t>(number(kHoldPosition));
  record.settle_position = static_cast<std::uint64_t>(number(kSettlePosition));
  record.requests = {number(kRequestsLimit), number(kRequestsRemaining)};
  record.tokens = {number(kTokensLimit), number(kTokensRemaining)};
  if ((number(kFlags) & kFlagBudget) != 0) record.budget = NanoUsd{number(kBudgetNanoUsd)};
  record.budget_remaining = {number(kBudgetRemainingNanoUsd)};
  record.tool_calls_bound = number(kToolCallsBound);
  record.adaptive = (number(kFlags) & kFlagAdaptive) != 0;
  const std::string_view unit = WordAt(kWalletUnits, number(kWalletUnit), 0);
  if (!unit.empty()) {
    record.wallet = {.unit = unit,
                     .multiplier_ppm = number(kWalletMultiplierPpm),
                     .held = number(kWalletHeld),
                     .charged = number(kWalletCharged),
                     .overrun = number(kWalletOverrun),
                     .left = number(kWalletLeft)};
  }
  for (std::size_t i = 0; i < values_.size(); ++i) {
    record.attributes.Add(static_cast<config::Dimension>(i), values_[i]);
  }
  record.action = words_[kAction];
  record.policy_refused = words_[kPolicyRefused];
  record.policy_degraded = words_[kPolicyDegraded];
  record.policies_shadow = words_[kPoliciesShadow];
  record.output_tokens_asked = number(kOutputAsked);
  record.output_choices = number(kOutputChoices);
  record.output_tokens_useful = number(kOutputUseful);
  record.multiplier_ppm = number(kMultiplierPpm);
  record.fallback_spend = {number(kFallbackSpendNanoUsd)};
  return record;
}

}  // namespace weir::store
