// How the request log keeps exchanges on disk: many records in one blob, each told as its
// difference from the one before where that is shorter. One SQLite row for each exchange costs its
// thread ten times as much.
//
// FROZEN. Version 5; `varint` is unsigned LEB128, `zigzag` a varint of (n << 1) ^ (n >> 63):
//
//   batch   := version:u8(=5) record*
//   record  := request:16 bytes, big endian, then words, then numbers, then attributes
//   words   := key operation model model_served upstream model_charged changes attempts price
//              action policy_refused policy_degraded policies_shadow
//   word    := 0:varint             the same as in the record before (empty before the first)
//            | length + 1:varint, the bytes      key: 16 bytes big endian, or none
//   price   := empty, or as config/price_codec has it
//   numbers := zigzag each, in the order of Number below
//   attributes := changed:varint { length:varint, the bytes }
//              bit i of `changed` says that the i-th config::Dimension has another value than in
//              the record before (empty before the first); those values follow, by rising i
//
// Whoever needs another number appends it to the list under a new version; older versions are read
// for as long as logs are kept. Version 1 has the numbers before kAudioMs, version 2 those before
// kChoices, and both have the words before kModelCharged. Version 3 has the numbers before
// kCacheWrite1hTokens, and another price: empty, or zigzag each: version, input, cached input,
// cache write, output (pUSD each), request, second of audio (nUSD). Version 4 has the words before
// kAction, the numbers before kOutputAsked and no attributes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/id.h"
#include "config/policy.h"
#include "telemetry/exchange_record.h"

namespace weir::store {

// The slot an exchange is filed under: its id's time in units of 1,024 ms. Ids of a later slot are
// larger than all of an earlier one.
inline constexpr int kSlotBits = 26;
constexpr std::int64_t SlotOf(const RequestId& request) {
  return static_cast<std::int64_t>(request.high >> kSlotBits);
}

// Encodes. Used by one thread at a time.
class ExchangeBatch {
 public:
  // cost  about 0.1 us; allocates only while the batch grows.
  void Append(const telemetry::ExchangeRecord& record);

  std::uint32_t count() const { return count_; }
  std::span<const std::uint8_t> bytes() const { return bytes_; }
  void Clear();

 private:
  struct Place {
    std::size_t at = 0;
    std::size_t size = 0;
  };
  void PutAttributes(const telemetry::Attributes& attributes, std::uint8_t* buffer,
                     std::uint8_t*& to);
  std::uint8_t* PutBytes(std::string_view bytes, std::uint8_t* buffer, std::uint8_t* to);

  std::vector<std::uint8_t> bytes_;
  std::array<Place, 13> words_{};                    // of the last record, in bytes_
  std::array<Place, config::kDimensions> values_{};  // of its attributes
  telemetry::Attributes attributes_;
  std::uint32_t count_ = 0;
};

// Decodes a batch, record by record. Safe on any bytes.
class ExchangeReader {
 public:
  enum Word : std::uint8_t {
    kKey,
    kOperation,
    kModel,
    kModelServed,
    kUpstream,
    kModelCharged,  // this and the rest from version 3
    kChanges,
    kAttemptsTold,
    kPrice,
    kAction,  // this and the rest from version 5
    kPolicyRefused,
    kPolicyDegraded,
    kPoliciesShadow,
    kWords
  };
  enum Number : std::uint8_t {
    kStartedUs,  // after the millisecond of the id
    kEnding,
    kRefusal,
    kStatus,
    kAttempts,
    kFlags,  // 1 stream, 2 sandbox; from version 3 also 4 charge, 8 budget; from 4 16 adaptive
    kUsageSource,
    kInputTokens,
    kCachedInputTokens,
    kCacheWriteTokens,
    kOutputTokens,
    kReasoningTokens,
    kHeldNanoUsd,
    kChargedNanoUsd,
    kOverrunNanoUsd,
    kTotalUs,
    kUpstreamUs,
    kFirstByteUs,
    kDurableUs,
    kAudioMs,  // from version 2
    kChoices,  // this and the rest from version 3: sticky, hang-up rule, upstream kind, 4 bits each
    kQueueUs,
    kQueuePosition,
    kInputBound,
    kOutputBound,
    kAudioBoundMs,
    kOutputGranted,
    kHoldPosition,
    kSettlePosition,
    kRequestsLimit,
    kRequestsRemaining,
    kTokensLimit,
    kTokensRemaining,
    kBudgetNanoUsd,
    kBudgetRemainingNanoUsd,
    kCacheWrite1hTokens,  // this and the rest from version 4
    kInputAudioTokens,
    kOutputAudioTokens,
    kToolCalls,
    kImages,
    kVideoMs,
    kImageKind,   // one more than its place in the price's list; 0: the dearest
    kWalletUnit,  // 0: no wallet paid, 1 nano-USD, 2 quota tokens
    kWalletMultiplierPpm,
    kWalletHeld,
    kWalletCharged,
    kWalletOverrun,
    kWalletLeft,
    kToolCallsBound,
    kOutputAsked,  // this and the rest from version 5
    kOutputChoices,
    kOutputUseful,
    kMultiplierPpm,
    kFallbackSpendNanoUsd,
    kNumbers
  };

  // `bytes` must live as long as the reader and what it gives.
  explicit ExchangeReader(std::span<const std::uint8_t> bytes);

  // Goes to the next record. False at the end, and at bytes that Append never writes: then
  // damaged() is true.
  bool Next();
  bool damaged() const { return damaged_; }

  const RequestId& request() const { return request_; }
  std::string_view word(Word which) const { return words_[which]; }
  std::int64_t number(Number which) const { return numbers_[which]; }
  // Empty: it has none.
  std::string_view attribute(config::Dimension which) const {
    return values_[static_cast<std::size_t>(which)];
  }
  // Bits of the dimensions whose value is another than in the record before.
  std::uint32_t attributes_changed() const { return changed_; }
  KeyId key() const;
  std::string price() const;
  telemetry::ExchangeRecord Record() const;

 private:
  bool Varint(std::uint64_t& value);
  bool Read();
  bool ReadAttributes();

  std::span<const std::uint8_t> rest_;
  std::uint8_t version_ = 0;
  RequestId request_;
  std::array<std::string_view, kWords> words_{};
  std::array<std::int64_t, kNumbers> numbers_{};
  std::array<std::string_view, config::kDimensions> values_{};
  std::uint32_t changed_ = 0;
  std::size_t words_there_ = kWords;  // as many as the batch's version has, as the next
  std::size_t numbers_there_ = kNumbers;
  bool damaged_ = false;
};

}  // namespace weir::store
