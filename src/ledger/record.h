// The journal record: what the ledger writes down, and all it needs to be rebuilt from.
//
// FROZEN. Little endian; `varint` is unsigned LEB128 in its shortest form, `zigzag` a varint of
// (n << 1) ^ (n >> 63), `id` high:u64 low:u64.
//
//   record  := length:u16  version:u8  kind:u8  time_ns:i64  body
//              length counts the whole record, its own two bytes included
//
// Version 3, which is what is written (FundRecord aside, which is still of version 1):
//
//   body(1) := request:id key:id price_id:u64 hold:varint input_bound:varint        Intent
//              output_bound:varint with:u8 [wallet_hold] [idempotency]
//   body(2) := request:id usage                                                     Checkpoint
//   body(3) := request:id key:id price_id:u64 charged:varint overrun:varint         Settle
//              cause:u8 usage with:u8 [wallet_charge]
//   body(4) := request:id key:id released:varint cause:u8 usage                     Void
//   body(6) := price_id:u64 bytes...                                                Price
//   body(7) := grant:id wallet:id unit:u8 amount:varint priority:zigzag             Grant
//              effective_at:i64 expires_at:i64 category:u8
//   body(8) := grant:id removed:varint reason:u8                                    GrantEnd
//   body(9) := request:id hold:varint output_bound:varint with:u8 [wallet_hold]     Extend
//
//   with          := bit 0 a wallet, bit 1 an idempotency key
//   wallet_hold   := wallet:id unit:u8 multiplier_ppm:varint count:varint
//                    { grant:id amount:varint }
//   wallet_charge := charged:varint overrun:varint          in the wallet's unit
//   idempotency   := key_hash:id body_hash:id
//   usage         := source:u8 given:varint value:varint...
//                    bit i of `given` says that the i-th figure of kUsageFigures follows, never 0
//
// Version 4 is version 3 with what quota policies count, and is written where there is some:
//
//   body(1) := ... with:u8 [wallet_hold] [idempotency] [quota_hold]                 Intent
//   body(3) := ... with:u8 [wallet_charge] [quota_use]                              Settle
//   body(4) := ... usage with:u8 quota_use                                          Void
//   body(9) := ... with:u8 [wallet_hold] [quota_more]                               Extend
//   body(10) := number:varint counter:id unit:u8 window:u8 bucket_ns:varint         Counter
//               policy:text values:text
//   body(11) := number:varint starts_at:i64 ends_at:i64 rule:u8 limit:varint        Window
//   body(12) := number:varint percent:u8 settled:varint limit:varint                Alert
//
//   with       := bit 2 what policies count
//   quota_hold := multiplier_ppm:varint quota_more
//   quota_more := behind_ns:varint count:varint { number:varint amount:varint }
//                 behind: how far the record's time lies before the latest the machine had seen,
//                 by which windows go; 0 unless a clock was set back
//   quota_use  := count:varint { amount:varint }     of the request's lines, in their order
//   text       := length:varint bytes
//
// A counter is written once, before the first record that has its number; a number that is given
// again stands for the new counter from there on. A window is written when it begins and when its
// limit changes; it ends when the next begins.
//
// A price is written once, before the first record that refers to it, in the form of
// config/price_codec, so that every record is understood without the configuration of its day.
//
// Versions 1 and 2 had the price in every record about a request:
//
//   body(1) := request:id key:id price hold:varint input_bound:varint output_bound:varint Intent
//   body(2) := request:id key:id price usage                                       Checkpoint
//   body(3) := request:id key:id price charged:varint overrun:varint cause:u8 usage    Settle
//   body(4) := request:id key:id price released:varint cause:u8 usage                    Void
//   body(5) := key:id amount:zigzag capped:u8 leg:varint                                 Fund
//   price   := version:varint input:varint cached_input:varint cache_write:varint output:varint
//              per_request:varint                          pUSD per token; nUSD per request
//   usage   := source:u8 input:varint cached_input:varint cache_write:varint output:varint
//              reasoning:varint
//
//   Version 2 is version 1 with one figure more at the end of two of them:
//   price(2) := price audio_second:varint                  nUSD per second of audio
//   usage(2) := usage audio_ms:varint                      milliseconds of audio
//
// A change of the format is a new version; old versions are read for ever.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/id.h"
#include "base/money.h"
#include "base/time.h"
#include "base/usage.h"
#include "ledger/account.h"

namespace weir::ledger {

// The price of a record of versions 1 and 2.
struct PinnedPrice {
  std::uint32_t version = 0;
  PicoUsdPerUnit input;
  PicoUsdPerUnit cached_input;
  PicoUsdPerUnit cache_write;
  PicoUsdPerUnit output;
  NanoUsd per_request;
  NanoUsd audio_second = {};
  friend bool operator==(const PinnedPrice&, const PinnedPrice&) = default;
};

struct WalletId : Id128 {};
struct GrantId : Id128 {};

inline constexpr Instant kNoExpiry{INT64_MAX};

// The figures of a usage by number. Frozen: the order is that of the `given` bits.
inline constexpr std::size_t kUsageFigures = 12;
inline constexpr std::array<std::int64_t Usage::*, kUsageFigures> kUsageFigure = {
    &Usage::input_tokens,
    &Usage::cached_input_tokens,
    &Usage::cache_write_tokens,
    &Usage::output_tokens,
    &Usage::reasoning_tokens,
    &Usage::audio_ms,
    &Usage::cache_write_1h_tokens,
    &Usage::input_audio_tokens,
    &Usage::output_audio_tokens,
    &Usage::tool_calls,
    &Usage::images,
    &Usage::video_ms};

// Why a request was resolved. Frozen: on disk.
enum class ResolveCause : std::uint8_t {
  kSettled = 0,   // by the exchange itself
  kRecovery = 1,  // by the start after a crash
};

// So much of a grant is held.
struct HoldLine {
  GrantId grant;
  Amount amount;
  friend bool operator==(const HoldLine&, const HoldLine&) = default;
};
inline constexpr std::size_t kHoldLinesMax = 64;

// What a request holds of a wallet, in burn order.
struct WalletHold {
  WalletId wallet;
  Unit unit = Unit::kQuotaToken;
  std::int64_t multiplier_ppm = 1'000'000;
  std::vector<HoldLine> lines;
  friend bool operator==(const WalletHold&, const WalletHold&) = default;
};

struct WalletCharge {
  Amount charged;  // at most what is held
  Amount overrun;  // the operator's
  friend bool operator==(const WalletCharge&, const WalletCharge&) = default;
};

// So much of what a policy allows is held, by the number of its counter.
struct QuotaLine {
  std::uint32_t counter = 0;
  Amount amount;
  friend bool operator==(const QuotaLine&, const QuotaLine&) = default;
};
inline constexpr std::size_t kQuotaLinesMax = 128;      // of one record
inline constexpr std::size_t kQuotaLegsMax = 1024;      // of one request, with its extensions
inline constexpr std::size_t kCounterPolicyMax = 128;   // bytes
inline constexpr std::size_t kCounterValuesMax = 1024;  // bytes

// The time by which windows go, of a record at `time` that lies so far behind it. Bounded, because
// a journal that was altered may hold any two.
constexpr Instant WindowTimeOf(Instant time, Duration behind) {
  if (behind.ns <= 0) return time;
  return time.ns > INT64_MAX - behind.ns ? Instant{INT64_MAX} : time + behind;
}

struct QuotaHold {
  std::int64_t multiplier_ppm = 1'000'000;  // of the route: what a quota token is
  Duration behind;  // of the record's time to that by which windows go, >= 0
  std::vector<QuotaLine> lines;
  friend bool operator==(const QuotaHold&, const QuotaHold&) = default;
};

// What a caller calls its request, and what the request was, both hashed with the key.
struct IdempotencyUse {
  Id128 key;
  Id128 body;
  friend bool operator==(const IdempotencyUse&, const IdempotencyUse&) = default;
};

// A hold was taken. The request may be sent upstream.
struct IntentRecord {
  Instant time;
  RequestId request;
  KeyId key;
  PinnedPrice price;           // of versions 1 and 2
  std::uint64_t price_id = 0;  // of version 3; 0: `price` counts
  NanoUsd hold;
  std::int64_t input_tokens_bound = 0;
  std::int64_t output_tokens_bound = 0;  // over all choices, after clamping
  std::optional<WalletHold> wallet = {};
  std::optional<IdempotencyUse> idempotency = {};
  std::optional<QuotaHold> quotas = {};  // never with no lines
  friend bool operator==(const IntentRecord&, const IntentRecord&) = default;
};

// What an open call has delivered so far; the last one counts.
struct CheckpointRecord {
  Instant time;
  RequestId request;
  KeyId key;          // empty in version 3
  PinnedPrice price;  // of versions 1 and 2
  Usage usage;
  friend bool operator==(const CheckpointRecord&, const CheckpointRecord&) = default;
};

// The hold was resolved: `charged` to the key, `overrun` to the operator, the rest released.
struct SettleRecord {
  Instant time;
  RequestId request;
  KeyId key;
  PinnedPrice price;           // of versions 1 and 2
  std::uint64_t price_id = 0;  // of version 3
  NanoUsd charged;
  NanoUsd overrun;
  ResolveCause cause = ResolveCause::kSettled;
  Usage usage;
  std::optional<WalletCharge> wallet = {};
  std::vector<Amount> quotas = {};  // used, of each line the request holds
  friend bool operator==(const SettleRecord&, const SettleRecord&) = default;
};

// The hold was released whole. `usage` is what was used and not charged, if anything.
struct VoidRecord {
  Instant time;
  RequestId request;
  KeyId key;
  PinnedPrice price;  // of versions 1 and 2
  NanoUsd released;
  ResolveCause cause = ResolveCause::kSettled;
  Usage usage;
  std::vector<Amount> quotas = {};  // as SettleRecord's: what an attempt uses although it fails
  friend bool operator==(const VoidRecord&, const VoidRecord&) = default;
};

// The budget of a key changed by `amount` (negative: lowered), or its rule did.
struct FundRecord {
  Instant time;
  KeyId key;
  NanoUsd amount;
  bool capped = true;     // whether the key has a budget at all from here on
  std::uint32_t leg = 0;  // of the funding transfer: counts up per key
  friend bool operator==(const FundRecord&, const FundRecord&) = default;
};

// A price that later records refer to.
struct PriceRecord {
  Instant time;
  std::uint64_t id = 0;
  std::vector<std::uint8_t> bytes;
  friend bool operator==(const PriceRecord&, const PriceRecord&) = default;
};

// What a grant was given for. Frozen: on disk.
enum class GrantCategory : std::uint8_t {
  kPaid = 0,   // a pack, a top-up
  kPromo = 1,  // a gift
  kPlan = 2,   // what a plan includes
};
inline constexpr std::uint8_t kGrantCategoryMax = 2;

// A wallet was given a grant. Grants burn by lower priority, then sooner expiry, then age.
struct GrantRecord {
  Instant time;
  GrantId grant;
  WalletId wallet;
  Unit unit = Unit::kQuotaToken;
  Amount amount;
  std::int32_t priority = 0;
  Instant effective_at;
  Instant expires_at = kNoExpiry;
  GrantCategory category = GrantCategory::kPaid;
  friend bool operator==(const GrantRecord&, const GrantRecord&) = default;
};

enum class GrantEndReason : std::uint8_t {
  kExpired = 0,  // what is left goes to breakage
  kRevoked = 1,  // what is left goes back to the source
};

// What no request holds was taken off a grant.
struct GrantEndRecord {
  Instant time;
  GrantId grant;
  Amount removed;
  GrantEndReason reason = GrantEndReason::kExpired;
  friend bool operator==(const GrantEndRecord&, const GrantEndRecord&) = default;
};

// An open request holds more: figures are what is added.
struct ExtendRecord {
  Instant time;
  RequestId request;
  NanoUsd hold;
  std::int64_t output_tokens_bound = 0;
  std::optional<WalletHold> wallet = {};
  std::vector<QuotaLine> quotas = {};
  Duration quotas_behind = {};  // as QuotaHold's
  friend bool operator==(const ExtendRecord&, const ExtendRecord&) = default;
};

// What one policy counts for one of the things it counts apart.
struct CounterRecord {
  Instant time;
  std::uint32_t number = 0;
  Id128 counter;            // of the policy, its unit, its window and the values
  std::uint8_t unit = 0;    // config::QuotaUnit
  std::uint8_t window = 0;  // config::WindowKind
  Duration bucket;          // of a sliding window; 0: it does not slide
  std::string policy;       // its id
  std::string values;       // "team=growth,user=ada"; empty: of everything
  friend bool operator==(const CounterRecord&, const CounterRecord&) = default;
};

// How a limit is kept. Frozen: on disk.
enum class QuotaRule : std::uint8_t {
  kNone = 0,  // it is counted and nothing refused
  kHard = 1,  // settled + held never exceed it
  kFirm = 2,  // nothing begins that is expected to exceed it
};
inline constexpr std::uint8_t kQuotaRuleMax = 2;

// A counter's window begins, with nothing used of it; or goes on under another limit.
struct WindowRecord {
  Instant time;
  std::uint32_t number = 0;
  Instant starts_at;
  Instant ends_at;
  QuotaRule rule = QuotaRule::kHard;
  Amount limit;
  friend bool operator==(const WindowRecord&, const WindowRecord&) = default;
};

// A threshold of a window was crossed: told once.
struct AlertRecord {
  Instant time;
  std::uint32_t number = 0;
  std::uint8_t percent = 0;  // of the limit, 1..100; 0: at this rate it will be used up
  Amount settled;
  Amount limit;
  friend bool operator==(const AlertRecord&, const AlertRecord&) = default;
};

using Record = std::variant<IntentRecord, CheckpointRecord, SettleRecord, VoidRecord, FundRecord,
                            PriceRecord, GrantRecord, GrantEndRecord, ExtendRecord, CounterRecord,
                            WindowRecord, AlertRecord>;

inline constexpr std::size_t kRecordBytesMax = 12 << 10;  // every record is shorter
// Of the bytes of a price.
inline constexpr std::size_t kPriceRecordBytesMax = 8 << 10;

// Encoded records, one behind the other. The owner clears and reuses it, so appending allocates
// only while it grows.
struct RecordBuffer {
  std::vector<std::uint8_t> bytes;
  std::uint32_t count = 0;
  void Clear() {
    bytes.clear();
    count = 0;
  }
};

// Appends one record. REQUIRES amounts and counts >= 0 (Fund's amount aside).
void Encode(const IntentRecord& record, RecordBuffer& out);
void Encode(const CheckpointRecord& record, RecordBuffer& out);
void Encode(const SettleRecord& record, RecordBuffer& out);
void Encode(const VoidRecord& record, RecordBuffer& out);
void Encode(const FundRecord& record, RecordBuffer& out);
void Encode(const PriceRecord& record, RecordBuffer& out);
void Encode(const GrantRecord& record, RecordBuffer& out);
void Encode(const GrantEndRecord& record, RecordBuffer& out);
void Encode(const ExtendRecord& record, RecordBuffer& out);
void Encode(const CounterRecord& record, RecordBuffer& out);
void Encode(const WindowRecord& record, RecordBuffer& out);
void Encode(const AlertRecord& record, RecordBuffer& out);
void Encode(const Record& record, RecordBuffer& out);

enum class DecodeFault : std::uint8_t {
  kTruncated,       // the bytes end inside the record
  kUnknownVersion,  // written by a newer program
  kUnknownKind,
  kMalformed,  // lengths, ranges or varints that Encode never writes
};

std::string_view Name(DecodeFault fault);

// Takes the first record off `bytes`. Safe on any bytes; on a fault `bytes` is unchanged.
std::expected<Record, DecodeFault> Decode(std::span<const std::uint8_t>& bytes);

}  // namespace weir::ledger
