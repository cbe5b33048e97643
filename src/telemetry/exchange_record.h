// What is kept of one exchange after it ended: the log line, the row of the request log, the
// metrics and the receipt are all made from this. Plain values, no prompt, no key, no body.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/ending.h"
#include "base/error_list.h"
#include "base/id.h"
#include "base/money.h"
#include "base/time.h"
#include "base/usage.h"

namespace weir::telemetry {

using weir::EndingKind;
using weir::Name;

// What one unit cost when the request was admitted. Version 0: it was not admitted, or nothing kept
// the price then.
struct PriceKept {
  std::uint32_t version = 0;
  PicoUsdPerUnit input;
  PicoUsdPerUnit cached_input;
  PicoUsdPerUnit cache_write;
  PicoUsdPerUnit output;
  NanoUsd per_request;
  NanoUsd audio_second;
  friend bool operator==(const PriceKept&, const PriceKept&) = default;
};

// A limit per minute as it stood after the decision. limit 0: none.
struct LimitKept {
  std::int64_t limit = 0;
  std::int64_t remaining = 0;
  friend bool operator==(const LimitKept&, const LimitKept&) = default;
};

struct ExchangeRecord {
  RequestId request;
  KeyId key;  // empty: not authenticated
  Instant started_at;
  EndingKind ending = EndingKind::kServed;
  Refusal refusal = Refusal::kNone;
  int status = 0;         // what the caller saw
  std::string operation;  // "responses", "chat_completions", "models", ...
  std::string model;      // asked for
  std::string model_served;
  std::string upstream;  // account that answered, or the last tried
  std::int32_t attempts = 0;
  std::string_view sticky;  // "kept", "away", "escaped"; empty: no session. A literal.
  std::string changes;      // of the caller's request: "model=a->b, drop:temperature"; often empty
  bool stream = false;
  bool sandbox = false;
  Usage usage;
  NanoUsd held;
  NanoUsd charged;
  NanoUsd overrun;
  Duration total;          // from the request's first byte to the reply's last
  Duration queue_time;     // waiting for an account
  Duration upstream_time;  // waiting for upstreams, first byte of the reply included
  Duration first_byte;     // until the caller got the first byte
  Duration durable_time;   // waiting for the journal

  // What only a receipt tells.
  std::string model_charged;  // whose price it has, after a downgrade; empty: of none
  // "openai/a 429 burst, openai/b 200 served", when there were several or the one failed.
  std::string attempts_told;
  std::string_view upstream_kind;  // "sandbox", "openai", "anthropic", "gemini"; empty: none
  std::string_view hang_up_rule;   // in force: "abort_and_void", ...; empty: not admitted
  PriceKept price;
  bool charge = false;  // false: nothing was to be charged, whatever was used
  // What the hold is the price of.
  std::int64_t input_tokens_bound = 0;
  std::int64_t output_tokens_bound = 0;  // over all choices
  std::int64_t audio_ms_bound = 0;
  std::int64_t output_tokens_granted = 0;  // per choice, when a bound was lowered; else 0
  std::uint64_t hold_position = 0;         // in the journal; 0: never admitted
  std::uint64_t settle_position = 0;
  std::int64_t queue_position = 0;  // on entering the queue; 0: it did not wait
  LimitKept requests;
  LimitKept tokens;
  std::optional<NanoUsd> budget;  // of the key at the admission; none: no cap
  NanoUsd budget_remaining;       // after it
};

}  // namespace weir::telemetry
