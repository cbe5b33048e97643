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
#include "telemetry/attributes.h"

namespace weir::telemetry {

using weir::EndingKind;
using weir::Name;

// What a wallet paid, in its unit.
struct WalletKept {
  std::string_view unit;            // "nano_usd", "quota_token". A literal.
  std::int64_t multiplier_ppm = 0;  // of the route
  std::int64_t held = 0;
  std::int64_t charged = 0;
  std::int64_t overrun = 0;  // the operator's
  std::int64_t left = 0;     // in the wallet, after it
  bool low = false;          // for the first time since it was not. Not kept in the request log.
  friend bool operator==(const WalletKept&, const WalletKept&) = default;
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
  // What one unit cost when the request was admitted, as config/price_codec has it. Empty: it was
  // not admitted, or nothing kept the price then.
  std::string price;
  std::optional<WalletKept> wallet;  // none: no wallet paid
  bool adaptive = false;             // the hold grew with the stream
  bool charge = false;               // false: nothing was to be charged, whatever was used
  // What the hold is the price of.
  std::int64_t input_tokens_bound = 0;
  std::int64_t output_tokens_bound = 0;  // over all choices
  std::int64_t audio_ms_bound = 0;
  std::int64_t tool_calls_bound = 0;
  std::int64_t output_tokens_granted = 0;  // per choice, when a bound was lowered; else 0
  std::uint64_t hold_position = 0;         // in the journal; 0: never admitted
  std::uint64_t settle_position = 0;
  std::int64_t queue_position = 0;  // on entering the queue; 0: it did not wait
  LimitKept requests;
  LimitKept tokens;
  std::optional<NanoUsd> budget;  // of the key at the admission; none: no cap
  NanoUsd budget_remaining;       // after it

  // What quota policies saw of it, also where there were none. kProvider is the upstream that was
  // tried last; kModel is there when a policy sent it to another model, and is the first one.
  // kEndpoint is `operation`.
  Attributes attributes;
  std::string action;           // of a user, that it was part of; empty: of none
  std::string policy_refused;   // the id of the policy that refused it; empty: none did
  std::string policy_degraded;  // of the one that sent it to another model, the last
  std::string policies_shadow;  // in shadow, that would have refused it: "a, b"
  // What it wanted before anything was shortened, also where it was refused.
  std::int64_t output_tokens_asked = 0;   // over all choices
  std::int64_t output_choices = 0;        // 0: it was never planned
  std::int64_t output_tokens_useful = 0;  // per choice
  std::int64_t multiplier_ppm = 0;        // of the route, for quota tokens
  NanoUsd fallback_spend;                 // what attempts after the first may have cost
};

}  // namespace weir::telemetry
