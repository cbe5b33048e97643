// Limits of one key: requests and tokens per minute, requests at once. Pure functions over small
// states; nothing is charged until the caller assigns the state it was given back.
//
// Rates are GCRA in exact integers. Instead of dividing time by the limit N, time is
// multiplied by it: with period P, burst B = N and a cost q, at the time t = now x N
//
//   T' = max(T, t) + q x P      allowed iff T' - t <= B x P      then T = T'
//
// so no rate is rounded, ever. T - t is the backlog: it drains by N every nanosecond, and
// remaining = (B x P - backlog) / P.
//
// States live in memory only: a restart forgets them and lets every key burst anew. Budgets are not
// here for that reason.
#pragma once

#include <cstdint>

#include "base/time.h"

namespace weir::policy {

// The state of a limit after a decision, for the X-RateLimit-* headers. limit = 0: no such limit.
struct LimitView {
  std::int64_t limit = 0;
  std::int64_t remaining = 0;
  Duration reset;  // until `remaining` is `limit` again
};

// The highest limit per period; larger ones are treated as this. Bounds every product below 2^120.
inline constexpr std::int64_t kLimitMax = std::int64_t{1} << 36;
// A correction may not block a key for longer than this: what it would owe beyond is forgiven.
inline constexpr Duration kRateDebtMax = Seconds(24 * 3600);
// When a concurrency limit is hit, nobody knows when a request will end; callers ask again soon.
inline constexpr Duration kConcurrencyRetryAfter = Seconds(1);

// A rate per minute and what was taken of it. Time is that of one clock that never goes back.
struct Rate {
  __int128 full_at = 0;    // T, in nanoseconds x limit
  std::int64_t limit = 0;  // N: per minute; 0 = unlimited
};

struct RateDecision {
  bool allowed = true;
  Duration retry_after;  // > 0 iff refused
  Rate after;            // assign it to charge; unchanged when refused
};

// The rate under a new limit: what was used of the minute stays used.
Rate WithLimit(const Rate& rate, std::int64_t limit, Tick now);

// Whether `cost` units fit now. A cost above the limit counts as the limit: it needs the whole
// minute to itself instead of never passing.
RateDecision Take(const Rate& rate, std::int64_t cost, Tick now);

// The rate after it became known that `units` more (or, negative, fewer) were used than taken.
// May go into debt, which blocks until drained; a refund never gives more than a full minute.
Rate Correct(const Rate& rate, std::int64_t units, Tick now);

LimitView View(const Rate& rate, Tick now);

}  // namespace weir::policy
