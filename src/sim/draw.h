// Draws of a simulation: integers from a seed, the same on every machine. Nothing in sim/ takes
// randomness from anywhere else.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/random.h"
#include "base/time.h"

namespace weir::sim {

// A seed of its own for the n-th part of something that has a seed: leaving one part out changes no
// other, which is what makes a schedule shrinkable.
inline std::uint64_t SeedOf(std::uint64_t seed, std::uint64_t n) {
  SeededRandom random(seed ^ (n + 1) * 0xD1342543DE82EF95ULL);
  return random.Next();
}

class Draw {
 public:
  explicit Draw(std::uint64_t seed) : random_(seed) {}

  std::uint64_t Next() { return random_.Next(); }
  // One of 0 .. n-1.   REQUIRES n > 0
  std::int64_t Below(std::int64_t n) {
    return static_cast<std::int64_t>(Next() % static_cast<std::uint64_t>(n));
  }
  // One of first .. last.
  std::int64_t Between(std::int64_t first, std::int64_t last) {
    return first + Below(std::max<std::int64_t>(last - first, 0) + 1);
  }
  bool Chance(std::int64_t per_mille) { return Below(1000) < per_mille; }
  // At most `most`, of all magnitudes: short ones are as frequent as long ones, so that waits of
  // microseconds and of seconds meet in one schedule.
  Duration Pause(Duration most) { return {Between(0, most.ns) >> (2 * Below(8))}; }

 private:
  SeededRandom random_;
};

}  // namespace weir::sim
