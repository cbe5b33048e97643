// Time as integers. Decisions take `now` as a parameter; only adapters below the line read clocks.
#pragma once

#include <compare>
#include <cstdint>

namespace weir {

// A length of time in nanoseconds.
struct Duration {
  std::int64_t ns = 0;
  friend constexpr auto operator<=>(Duration, Duration) = default;
  friend constexpr Duration operator+(Duration a, Duration b) { return {a.ns + b.ns}; }
  friend constexpr Duration operator-(Duration a, Duration b) { return {a.ns - b.ns}; }
};

constexpr Duration Microseconds(std::int64_t n) { return {n * 1'000}; }
constexpr Duration Milliseconds(std::int64_t n) { return {n * 1'000'000}; }
constexpr Duration Seconds(std::int64_t n) { return {n * 1'000'000'000}; }
constexpr Duration Minutes(std::int64_t n) { return Seconds(n * 60); }

// A point on the wall clock: nanoseconds since 1970-01-01T00:00:00Z. For windows, expiry and
// what people read.
struct Instant {
  std::int64_t ns = 0;
  friend constexpr auto operator<=>(Instant, Instant) = default;
  friend constexpr Instant operator+(Instant a, Duration d) { return {a.ns + d.ns}; }
  friend constexpr Duration operator-(Instant a, Instant b) { return {a.ns - b.ns}; }
};

// A point on a clock that never goes back and has no meaning outside this process: deadlines
// and latencies. A type of its own, so that it cannot be mixed with Instant.
struct Tick {
  std::int64_t ns = 0;
  friend constexpr auto operator<=>(Tick, Tick) = default;
  friend constexpr Tick operator+(Tick a, Duration d) { return {a.ns + d.ns}; }
  friend constexpr Duration operator-(Tick a, Tick b) { return {a.ns - b.ns}; }
};

inline constexpr Tick kNoDeadline{INT64_MAX};

// Whole seconds, rounded up: what Retry-After needs, where rounding down invites an early retry.
constexpr std::int64_t CeilSeconds(Duration d) {
  return d.ns <= 0 ? 0 : (d.ns + 999'999'999) / 1'000'000'000;
}

}  // namespace weir
