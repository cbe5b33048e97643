// Randomness as a parameter. Decisions draw from a Random they are given, so that a seed replays
// them; the one that draws from the system lives below the line.
#pragma once

#include <cstdint>

namespace weir {

class Random {
 public:
  virtual ~Random() = default;
  virtual std::uint64_t Next() = 0;
};

// SplitMix64 (Steele, Lea, Flood 2014): small, fast, good enough for choices and tests. Never for
// keys or ids that must not be guessed.
class SeededRandom final : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed) : state_(seed) {}
  std::uint64_t Next() override {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15ULL);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }

 private:
  std::uint64_t state_;
};

}  // namespace weir
