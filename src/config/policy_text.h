// Policies as text: amounts as people write them, and a policy as the file and the admin API do.
// What is written reads back as the same policy (parse.h).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "config/policy.h"

namespace weir::config {

// Whether a window of this kind begins again and again: minute, hour, day, week, month.
constexpr bool Repeats(WindowKind kind) { return kind <= WindowKind::kMonth; }

// The window of a policy that names none. All but kMonth are the only one the unit can have.
constexpr WindowKind DefaultWindow(QuotaUnit unit) {
  switch (unit) {
    case QuotaUnit::kConcurrent:
      return WindowKind::kLifetime;
    case QuotaUnit::kContextTokens:
      return WindowKind::kRequest;
    case QuotaUnit::kAttempts:
    case QuotaUnit::kFallbackAttempts:
    case QuotaUnit::kFallbackSpend:
      return WindowKind::kAction;
    default:
      return WindowKind::kMonth;
  }
}

std::string_view Name(WindowKind kind);
std::string_view Name(CapKind cap);
std::string_view Name(PolicyAction action);
std::string_view Name(ReviewCadence cadence);

// An amount of `unit`, in its steps: "12.50" of usd is 12,500,000,000. Exact, from the characters:
// none for what is no plain decimal, has more decimals than the unit, is negative or above
// kQuotaMax.
std::optional<std::int64_t> ParseAmount(QuotaUnit unit, std::string_view text);
// The shortest: "12.5".   REQUIRES  steps that ParseAmount can give
std::string FormatAmount(QuotaUnit unit, std::int64_t steps);

enum class Defaults : std::uint8_t {
  kOmitted,  // what is as it would be without it is left out: the canonical text
  kWritten,
};

// The policy as one JSON object, with the members of `policies`. Amounts that have decimals are
// texts, so that they are exact in every client. A version is written when it is not the derived
// one.
std::string FormatPolicy(const Policy& policy, Defaults defaults = Defaults::kOmitted);

// A number that follows from all the rest, in 1..2^31-1: the same on every start and machine, and
// another one after any change.
std::uint32_t DerivedVersion(const Policy& policy);

}  // namespace weir::config
