// When the windows of a policy begin and end.
//
// A window is counted from the policy's anchor, never from the window before it: the n-th day, week
// or month begins at the local moment anchor + n x every, so neither a month of 28 days nor a
// change of clocks moves those that come after. A local moment is turned into an instant by one
// rule: the first instant at which the zone's clock shows it or a later one. So a moment that
// clocks skip is the instant of the change, one that they show twice is the first of the two, and a
// day that a place never had is no window.
//
// Minutes and hours are counted in elapsed time from the anchor's instant: an hour is 3,600
// seconds, also where clocks are changed.
//
// Pure. Invariants, but for sliding windows: (1) the windows of a policy are disjoint, leave no gap
// and are in order; (2) none is empty; (3) WindowAt contains the moment it was asked for.
#pragma once

#include <cstdint>
#include <optional>

#include "base/time.h"
#include "config/policy.h"

namespace weir::policy {

// [starts_at, ends_at)
struct WindowSpan {
  Instant starts_at;
  Instant ends_at;
  friend bool operator==(const WindowSpan&, const WindowSpan&) = default;
};

// All of time, as far as anything here is concerned: of lifetime, request and action.
inline constexpr WindowSpan kAllTime{{0}, {INT64_MAX}};

// A sliding window is counted in so many steps.
inline constexpr std::int64_t kBuckets = 60;

// The window of `window` that contains `now`; none for a campaign outside its dates.
//   sliding   [the oldest moment that still counts, the end of the bucket that `now` is in): a use
//             counts until its whole bucket is older than the window is long, so never too short,
//             and at most a bucket too long. These spans overlap.
//   cost      O(log of the zone's changes), no allocation
std::optional<WindowSpan> WindowAt(const config::Window& window, Instant now);

// How long a sliding window is: `every` times a minute, an hour, 24 hours, 7 days or 30 days.
//   REQUIRES  kMinute..kMonth
Duration SlidingLength(const config::Window& window);
// One of its kBuckets steps, rounded up. Buckets begin at whole multiples of it since 1970.
Duration BucketLength(const config::Window& window);

// The first instant at which the clocks of `zone` (null: UTC) show `local_seconds` or later.
Instant FirstInstantAt(const config::Zone* zone, std::int64_t local_seconds);
// What they show at `now`, in whole seconds of local civil time since 1970-01-01.
std::int64_t LocalSecondsAt(const config::Zone* zone, Instant now);

}  // namespace weir::policy
