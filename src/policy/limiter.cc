#include "policy/limiter.h"

#include <algorithm>

namespace weir::policy {
namespace {

// P: every rate is per minute.
constexpr __int128 kPeriodNs = Minutes(1).ns;

// t: the time in the unit of the rate.
__int128 Scaled(const Rate& rate, Tick now) { return static_cast<__int128>(now.ns) * rate.limit; }

// T' - t before a cost: what was taken and has not drained yet, times P. Never negative.
__int128 Backlog(const Rate& rate, Tick now) {
  return std::max<__int128>(rate.full_at - Scaled(rate, now), 0);
}

Duration CeilDrain(__int128 backlog, std::int64_t limit) {
  return {static_cast<std::int64_t>((backlog + limit - 1) / limit)};
}

}  // namespace

Rate WithLimit(const Rate& rate, std::int64_t limit, Tick now) {
  Rate changed{.full_at = 0, .limit = std::clamp<std::int64_t>(limit, 0, kLimitMax)};
  if (changed.limit == rate.limit) return rate;
  // The backlog is in units x P, whatever the limit: it carries over as it is.
  const __int128 debt_max = static_cast<__int128>(kRateDebtMax.ns) * changed.limit;
  if (rate.limit > 0) changed.full_at = std::min(Backlog(rate, now), debt_max);
  changed.full_at += Scaled(changed, now);
  return changed;
}

RateDecision Take(const Rate& rate, std::int64_t cost, Tick now) {
  if (rate.limit == 0) return {.allowed = true, .retry_after = {}, .after = rate};
  const __int128 burst = rate.limit * kPeriodNs;
  const __int128 after =
      Backlog(rate, now) + std::clamp<std::int64_t>(cost, 0, rate.limit) * kPeriodNs;
  if (after > burst) {
    return {.allowed = false, .retry_after = CeilDrain(after - burst, rate.limit), .after = rate};
  }
  return {.allowed = true,
          .retry_after = {},
          .after = {.full_at = Scaled(rate, now) + after, .limit = rate.limit}};
}

Rate Correct(const Rate& rate, std::int64_t units, Tick now) {
  if (rate.limit == 0) return rate;
  const __int128 debt_max = static_cast<__int128>(kRateDebtMax.ns) * rate.limit;
  const __int128 backlog =
      std::clamp<__int128>(Backlog(rate, now) + units * kPeriodNs, 0, debt_max);
  return {.full_at = Scaled(rate, now) + backlog, .limit = rate.limit};
}

LimitView View(const Rate& rate, Tick now) {
  if (rate.limit == 0) return {};
  const __int128 backlog = Backlog(rate, now);
  const __int128 left = rate.limit * kPeriodNs - backlog;
  return {.limit = rate.limit,
          .remaining = left <= 0 ? 0 : static_cast<std::int64_t>(left / kPeriodNs),
          .reset = CeilDrain(backlog, rate.limit)};
}

}  // namespace weir::policy
