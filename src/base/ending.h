// How an exchange ended: every path ends in exactly one of these, and the log, the metrics and the
// request log tell endings apart by it.
#pragma once

#include <cstdint>
#include <string_view>

namespace weir {

// Frozen: the values are in the request log.
enum class EndingKind : std::uint8_t {
  kServed = 1,          // the whole reply left
  kRefused = 2,         // we said no: see refusal
  kUpstreamFailed = 3,  // the upstream's error was passed on, or it never answered
  kCallerGone = 4,      // the caller hung up
  kCut = 5,             // the reply broke off after it began (upstream lost, drain, deadline)
};

constexpr std::string_view Name(EndingKind kind) {
  switch (kind) {
    case EndingKind::kServed:
      return "served";
    case EndingKind::kRefused:
      return "refused";
    case EndingKind::kUpstreamFailed:
      return "upstream_failed";
    case EndingKind::kCallerGone:
      return "caller_gone";
    case EndingKind::kCut:
      return "cut";
  }
  return "unknown";
}

}  // namespace weir
