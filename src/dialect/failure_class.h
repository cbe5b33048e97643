// What an upstream's error means: for the account it came from, for a second attempt, and for the
// caller. All that is known about vendors' errors is in failure_class.cc, evidence beside the rule.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/error_list.h"
#include "base/result.h"
#include "base/time.h"
#include "dialect/dialect.h"
#include "dialect/usage_reader.h"

namespace weir::dialect {

// Frozen: the values are in the request log.
enum class FailureClass : std::uint8_t {
  kNone = 0,             // not a failure (2xx)
  kBurst = 1,            // 429 that passes in seconds: cool the account briefly, try another
  kWindowExhausted = 2,  // a usage window is used up: the account rests until `reset`
  kOverloaded = 3,       // the vendor has no capacity: 503, 529
  kAuthDead = 4,         // the account's credential is refused: off until an operator acts
  kBillingDead = 5,      // the account has no money or its spend limit is reached: off likewise
  kModelGone = 6,        // this account does not serve the model; others may
  kCallersFault = 7,     // any account would say the same: never retried
  kServerError = 8,      // the vendor failed: 5xx, 408, a reply that makes no sense
  kUnknown = 9,          // nothing we know; treated as the vendor's failure
};

constexpr std::string_view Name(FailureClass c) {
  switch (c) {
    case FailureClass::kNone:
      return "none";
    case FailureClass::kBurst:
      return "burst";
    case FailureClass::kWindowExhausted:
      return "window_exhausted";
    case FailureClass::kOverloaded:
      return "overloaded";
    case FailureClass::kAuthDead:
      return "auth_dead";
    case FailureClass::kBillingDead:
      return "billing_dead";
    case FailureClass::kModelGone:
      return "model_gone";
    case FailureClass::kCallersFault:
      return "callers_fault";
    case FailureClass::kServerError:
      return "server_error";
    case FailureClass::kUnknown:
      return "unknown";
  }
  return "unknown";
}

// The value of a header of the reply, by lower-case name; empty when absent.
using HeaderLookup = std::function<std::string_view(std::string_view)>;

// How much of an error body is worth reading; pass at most this much to Classify.
inline constexpr std::size_t kErrorBodyBytesMax = 64 << 10;

struct UpstreamFailure {
  FailureClass failure_class = FailureClass::kUnknown;
  // kOther: another account may do better; kSame: also this one; kNever: every account would say
  // the same. Only a hint: never after the caller got a byte, and never beyond the plan's attempts.
  Retry retry = Retry::kNever;
  // How long the account should rest, as the upstream said it; > 0, at most 400 days.
  std::optional<Duration> reset;
  UpstreamErrorText error;  // for the log
};

// The meaning of a reply whose status is not 2xx.
//   body      its first kErrorBodyBytesMax bytes, decoded; may be empty or cut.
//   now       turns resets_at and HTTP dates into durations.
UpstreamFailure Classify(Dialect dialect, int status, const HeaderLookup& header,
                         std::string_view body, Instant now);

// The meaning of an error inside a stream whose status was 200: response.failed, an error event or
// a chunk with `error`.
UpstreamFailure ClassifyStreamError(Dialect dialect, const UpstreamErrorText& error, Instant now);

// What the caller is shown.
struct FailureReply {
  // True: the upstream's own body and status go to the caller, because the fault is in what the
  // caller sent and only the upstream can say what. False: RefusalBody(refusal).
  bool pass_through = false;
  int status = 502;
  Refusal refusal = Refusal::kUpstreamError;
  // Retry-After in whole seconds, >= 1; always set for 429 and 503.
  std::optional<std::int64_t> retry_after_seconds;
  std::optional<Duration> resets_in;  // for RefusalDetail, with kUsageLimitReached
};

// Never passes a body that is not JSON of the dialect's error shape, nor one about the operator's
// account (401, 402, 403, 429 for billing), nor one of a 5xx.
//   body_whole  false when the body was longer than what was read: it is not passed then.
FailureReply ShowFailure(Dialect dialect, const UpstreamFailure& failure, int status,
                         std::string_view body, bool body_whole);

// The value of Retry-After: seconds, rounded up, or an HTTP date. None: neither, or not later than
// now; at most 400 days.
std::optional<Duration> ParseRetryAfter(std::string_view value, Instant now);

}  // namespace weir::dialect
