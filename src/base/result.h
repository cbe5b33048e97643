// Result<T>: a value or a failure. Failures are what may go wrong around us; a refusal (no key,
// no budget) is not a failure but a value of its own, see base/error_list.h.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <utility>

namespace weir {

// What went wrong, as far as some code reacts to the difference. Closed on purpose: a new code
// exists only when a caller of ours, or code of ours, does something else because of it.
enum class ErrorCode : std::uint8_t {
  kBadInput,        // malformed bytes: framing, JSON, configuration
  kTooLarge,        // a bound was exceeded
  kTimeout,         // a deadline passed
  kConnectFailed,   // no connection: DNS, refused, TLS
  kConnectionLost,  // a connection ended in the middle of a message
  kInterrupted,     // we were told to stop: caller gone, drain
  kUnavailable,     // a part of ours that is needed is not working (journal, disk)
  kNotFound,        // the named thing does not exist
  kConflict,        // the named thing exists already, or changed meanwhile
};

// Who caused it: decides the blame in logs and the status a caller sees.
enum class ErrorSource : std::uint8_t { kCaller, kUpstream, kUs, kEnvironment };

// Whether trying again may help. Decided by who creates the error; the default is never.
enum class Retry : std::uint8_t {
  kNever,
  kSame,   // the same upstream may be tried again
  kOther,  // another upstream may be tried
};

struct Error {
  ErrorCode code = ErrorCode::kUnavailable;
  ErrorSource source = ErrorSource::kUs;
  Retry retry = Retry::kNever;
  std::string detail;  // for an operator; never a secret, a prompt or a body
};

template <class T>
using Result = std::expected<T, Error>;

// A shorthand for `return std::unexpected(Error{...})`.
inline std::unexpected<Error> Fail(ErrorCode code, ErrorSource source, std::string detail,
                                   Retry retry = Retry::kNever) {
  return std::unexpected(Error{code, source, retry, std::move(detail)});
}

}  // namespace weir
