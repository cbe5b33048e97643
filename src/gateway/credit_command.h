// The commands of the credit machine and its answers: plain values, so that they can be queued,
// logged and replayed.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error_list.h"
#include "base/id.h"
#include "base/money.h"
#include "base/time.h"
#include "base/usage.h"
#include "config/config.h"
#include "config/price_codec.h"
#include "ledger/record.h"
#include "policy/limiter.h"
#include "policy/quota_fit.h"
#include "policy/wallet_rate.h"

namespace weir::gateway {

// A place in the journal. Everything at or before a durable position is on disk.
struct JournalPosition {
  std::uint64_t n = 0;
  friend constexpr auto operator<=>(JournalPosition, JournalPosition) = default;
};

// The most a request can cost, and how much of that is output we may cap.
struct Quote {
  config::Price price;
  config::PriceId price_id;                 // of the price; 0: the machine finds it out
  std::int64_t input_tokens_bound = 0;      // >= what any tokenizer makes of the input
  std::int64_t output_tokens_bound = 0;     // over all choices (n); min(asked, the model's) x n
  std::int64_t output_choices = 1;          // n: a clamp is per choice
  std::int64_t audio_ms_bound = 0;          // >= how long any decoder finds the audio
  std::int64_t tool_calls_bound = 0;        // of the provider's own tools, billed one by one
  std::int64_t output_tokens_useful = 0;    // per choice; a clamp below this is a refusal instead
  std::int64_t multiplier_ppm = 1'000'000;  // of what wallets and policies count in quota tokens
};

using ledger::GrantId;
using ledger::IdempotencyUse;
using ledger::WalletId;

// The wallet that pays, besides the key's budget.
struct WalletUse {
  WalletId wallet;
  policy::WalletRate rate;
  ledger::Amount low;  // a balance below it is told once; 0: never
};

// How much of what a request can cost is held at once.
enum class HoldMode : std::uint8_t {
  kStrict,    // all of it, clamped to what fits
  kAdaptive,  // what such requests of the key usually use; more while it runs (Extend), or it is
              // cut
};

struct AdmitCommand {
  RequestId request;
  KeyId key;
  config::KeyLimits limits;  // of the key, at admission
  Quote quote;
  std::optional<WalletUse> wallet = {};
  std::optional<IdempotencyUse> idempotency = {};
  HoldMode mode = HoldMode::kStrict;
  // The policies that the request meets, and what it is: both outlive the request's settlement.
  std::span<const policy::QuotaUse> quotas = {};
  const policy::Facts* facts = nullptr;     // never null with quotas
  std::int64_t attempts_max = 1;            // calls of upstreams that the path would make
  std::int64_t fallback_spend_percent = 0;  // of the hold, that failed ones may cost
};

using policy::LimitView;

struct AdmitReply {
  Refusal refusal = Refusal::kNone;
  Duration retry_after;  // > 0 when the refusal is about time
  LimitView requests;
  LimitView tokens;
  NanoUsd held;                            // the reservation: the most this request will be charged
  NanoUsd budget_remaining;                // limit - settled - held, after this decision
  std::int64_t output_tokens_granted = 0;  // per choice; < asked means clamped
  bool clamped = false;
  std::int64_t output_tokens_fitting = 0;  // with kRequestExceedsBudget: what would have fitted
  JournalPosition position;                // of the intent record
  ledger::Amount wallet_held;
  ledger::Amount wallet_remaining;      // of the wallet that pays, after this decision
  std::int64_t output_tokens_held = 0;  // over all choices; less than granted: Extend before more
  // A request with the same Idempotency-Key and body has finished: nothing was admitted, its reply
  // is to be sent again.
  std::optional<RequestId> replay = {};
  // The policy that refused, or that has least of its limit left: an index into quotas.
  std::optional<std::size_t> quota = {};
  std::int64_t quota_limit = 0;       // of it, in steps of its unit
  std::int64_t quota_remaining = 0;   // after this decision
  Instant quota_resets_at;            // when more will be available; INT64_MAX: not by itself
  std::uint64_t shadow_refusals = 0;  // bits of the first 64 of quotas: shadows that would refuse
  policy::RecoveryLeft recovery;      // what policies allow of attempts to recover
};

// How the per-minute limits of a key stand, for replies that were never admitted.
struct RateViews {
  LimitView requests;
  LimitView tokens;
};

struct SettleCommand {
  RequestId request;
  Usage usage;         // source kNone: nothing billable, the hold is released whole
  bool charge = true;  // false: void although there was usage (abort_and_void, upstream failure)
  std::int64_t attempts = 0;    // calls of upstreams that were made
  NanoUsd fallback_spend = {};  // what those after the first may have cost although they failed
  bool by_fallback = false;     // one after the first served it
  std::uint64_t providers = 0;  // bits of Facts::providers: who served; 0: unknown, or nobody
};

struct SettleReply {
  NanoUsd price;    // of the usage at the pinned price
  NanoUsd charged;  // min(price, held): what the customer pays
  NanoUsd overrun;  // price - charged: the operator's
  JournalPosition position;
  std::optional<policy::WalletRate> wallet = {};  // whose figures the next three are
  ledger::Amount wallet_charged;
  ledger::Amount wallet_overrun;
  ledger::Amount wallet_remaining;
  bool wallet_low = false;  // for the first time since it was not
};

// Holds more output for a request that runs.
struct ExtendCommand {
  RequestId request;
  std::int64_t output_tokens = 0;  // more, over all choices
};

struct ExtendReply {
  bool granted = false;
  std::int64_t output_tokens_held = 0;  // over all choices, after this decision
  JournalPosition position;
  NanoUsd held;  // in all, when granted
  ledger::Amount wallet_held;
  bool by_policy = false;  // a policy refused it, and neither budget nor wallet
};

// Gives a wallet something. The same grant given again changes nothing.
enum class GrantStatus : std::uint8_t {
  kCreated,
  kExists,    // the same
  kConflict,  // the id has another content, or the wallet another unit
};
struct GrantReply {
  GrantStatus status = GrantStatus::kConflict;
  JournalPosition position;  // of the grant, or of the last record
};

struct RevokeReply {
  bool found = false;
  ledger::Amount removed;
  JournalPosition position;
};

// How one key stands. Sums saturate at kMaxNanoUsd.
struct KeyStanding {
  std::optional<NanoUsd> budget;  // as of the last admission; none: no cap
  NanoUsd settled;
  NanoUsd held;
  std::int64_t requests_open = 0;
};

// How a policy's counter stands for a request that would come now.
struct QuotaStanding {
  policy::Standing standing;
  Instant more_at;  // when more than now will be available; INT64_MAX: not by itself
};

// A threshold of a policy's counter was crossed.
struct QuotaAlert {
  JournalPosition position;  // of its record
  Instant time;
  std::string policy;
  std::string values;  // of the counter: "team=growth"
  config::QuotaUnit unit = config::QuotaUnit::kUsd;
  std::int64_t percent =
      0;  // of the limit; 0: at this rate it will be used up before the window ends
  std::int64_t settled = 0;  // in steps of the unit, as the next
  std::int64_t limit = 0;
  Instant window_starts_at;
  Instant window_ends_at;
};

struct CheckpointCommand {
  RequestId request;
  Usage usage;  // source kCheckpoint
};

}  // namespace weir::gateway
