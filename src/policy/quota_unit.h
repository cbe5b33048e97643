// What a request holds and uses of each unit that policies count.
//
// The same law as for prices: what is used of a unit within the bounds is at most what is held of
// it. It holds for hard caps; a firm cap holds what such requests usually use (`expected`).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/money.h"
#include "base/usage.h"
#include "config/config.h"
#include "policy/quote.h"

namespace weir::policy {

using config::QuotaUnit;

// The most one request can use, its output aside.
struct Demand {
  const config::Price* price = nullptr;  // never null where money is counted
  TokenBounds bounds;                    // its output is not looked at
  std::int64_t choices = 1;
  std::int64_t multiplier_ppm = 1'000'000;
  std::int64_t video_jobs = 0;
  std::int64_t video_rerenders = 0;
  std::int64_t embeddings = 0;  // inputs to embed
  std::int64_t attempts = 1;    // calls of upstreams it may make
  NanoUsd fallback_spend;       // that those after the first may cost
};

// Whether what is held of the unit grows with the output.
constexpr bool GrowsWithOutput(QuotaUnit unit) {
  return unit == QuotaUnit::kOutputTokens || unit == QuotaUnit::kTotalTokens ||
         unit == QuotaUnit::kUsd || unit == QuotaUnit::kCredits || unit == QuotaUnit::kQuotaTokens;
}
// Whether a request goes on with less than it asks for: then it fails over less often.
constexpr bool IsRecovery(QuotaUnit unit) {
  return unit == QuotaUnit::kAttempts || unit == QuotaUnit::kFallbackAttempts ||
         unit == QuotaUnit::kFallbackSpend;
}

// The most that is used of `unit`, in steps, when at most `output` tokens are made over all
// choices.
//   usd  what the request costs at most with that output, when the caller knows it; else negative
std::int64_t HeldOf(QuotaUnit unit, const Demand& demand, std::int64_t output,
                    NanoUsd usd = NanoUsd{-1});

// `demand` as it usually is: text has about four bytes to a token, and the bound counts bytes.
Demand Expected(Demand demand);

// The largest output per choice, at most `output_max`, of which at most `amount` is held; nothing
// when not even the input fits.   REQUIRES GrowsWithOutput(unit)
std::optional<std::int64_t> OutputFitting(QuotaUnit unit, const Demand& demand,
                                          std::int64_t output_max, std::int64_t amount);

// What one request came to.
struct Spent {
  Usage usage;          // plausible
  NanoUsd price;        // of the usage
  bool charged = true;  // false: released whole; only attempts count
  std::int64_t attempts = 0;
  NanoUsd fallback_spend;  // what attempts after the first cost, served or not
  std::int64_t multiplier_ppm = 1'000'000;
};

// "12.5 USD", "1000 tokens": an amount of the unit as people write it.
std::string AmountText(QuotaUnit unit, std::int64_t steps);
// The same without the unit.
std::string AmountDigits(QuotaUnit unit, std::int64_t steps);

// What was used of `unit`, in steps.
//   held  what the request held of it: for what is known before the call (a request, a job)
std::int64_t UsedOf(QuotaUnit unit, const Spent& spent, std::int64_t held);

}  // namespace weir::policy
