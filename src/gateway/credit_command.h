// The commands of the credit machine and its answers: plain values, so that they can be queued,
// logged and replayed.
#pragma once

#include <cstdint>
#include <optional>

#include "base/error_list.h"
#include "base/id.h"
#include "base/money.h"
#include "base/time.h"
#include "base/usage.h"
#include "config/config.h"
#include "policy/limiter.h"

namespace weir::gateway {

// A place in the journal. Everything at or before a durable position is on disk.
struct JournalPosition {
  std::uint64_t n = 0;
  friend constexpr auto operator<=>(JournalPosition, JournalPosition) = default;
};

// The most a request can cost, and how much of that is output we may cap.
struct Quote {
  config::Price price;
  std::int64_t input_tokens_bound = 0;    // >= what any tokenizer makes of the input
  std::int64_t output_tokens_bound = 0;   // over all choices (n); min(asked, the model's) x n
  std::int64_t output_choices = 1;        // n: a clamp is per choice
  std::int64_t audio_ms_bound = 0;        // >= how long any decoder finds the audio
  std::int64_t output_tokens_useful = 0;  // per choice; a clamp below this is a refusal instead
};

struct AdmitCommand {
  RequestId request;
  KeyId key;
  config::KeyLimits limits;  // of the key, at admission
  Quote quote;
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
};

struct SettleReply {
  NanoUsd price;    // of the usage at the pinned price
  NanoUsd charged;  // min(price, held): what the customer pays
  NanoUsd overrun;  // price - charged: the operator's
  JournalPosition position;
};

struct CheckpointCommand {
  RequestId request;
  Usage usage;  // source kCheckpoint
};

}  // namespace weir::gateway
