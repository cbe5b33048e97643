// What is kept of one exchange after it ended: the log line, the row of the request log and the
// metrics are all made from this. Plain values, no prompt, no key, no body.
#pragma once

#include <cstdint>
#include <string>

#include "base/error_list.h"
#include "base/id.h"
#include "base/money.h"
#include "base/time.h"
#include "base/usage.h"

namespace weir::telemetry {

// How an exchange ended. Frozen: the values are in the request log.
enum class EndingKind : std::uint8_t {
  kServed = 1,          // the whole reply left
  kRefused = 2,         // we said no: see refusal
  kUpstreamFailed = 3,  // the upstream's error was passed on, or it never answered
  kCallerGone = 4,      // the caller hung up
  kCut = 5,             // the reply broke off after it began (upstream lost, drain, deadline)
};

constexpr std::string_view Name(EndingKind kind) {
  switch (kind) {
    case EndingKind::kServed: return "served";
    case EndingKind::kRefused: return "refused";
    case EndingKind::kUpstreamFailed: return "upstream_failed";
    case EndingKind::kCallerGone: return "caller_gone";
    case EndingKind::kCut: return "cut";
  }
  return "unknown";
}

struct ExchangeRecord {
  RequestId request;
  KeyId key;               // empty: not authenticated
  Instant started_at;
  EndingKind ending = EndingKind::kServed;
  Refusal refusal = Refusal::kNone;
  int status = 0;          // what the caller saw
  std::string operation;   // "responses", "chat_completions", "models", ...
  std::string model;       // asked for
  std::string model_served;
  std::string upstream;    // account that answered, or the last tried
  std::int32_t attempts = 0;
  bool stream = false;
  bool sandbox = false;
  Usage usage;
  NanoUsd held;
  NanoUsd charged;
  NanoUsd overrun;
  Duration total;          // from the request's first byte to the reply's last
  Duration upstream_time;  // waiting for upstreams, first byte of the reply included
  Duration first_byte;     // until the caller got the first byte
  Duration durable_time;   // waiting for the journal
};

}  // namespace weir::telemetry
