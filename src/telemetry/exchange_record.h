// What is kept of one exchange after it ended: the log line, the row of the request log and the
// metrics are all made from this. Plain values, no prompt, no key, no body.
#pragma once

#include <cstdint>
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
};

}  // namespace weir::telemetry
