// What requests of a key usually answer, from the last few: what firm caps and adaptive holds hold.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace weir::policy {

class UsualOutput {
 public:
  // Held where nothing is known yet, and what holds are rounded up to.
  static constexpr std::int64_t kChunk = 1024;

  // Nearly the largest of the last few: the 95th percentile of twenty, in whole chunks.
  std::int64_t tokens() const {
    const std::size_t count = std::min(count_, kKept);
    if (count == 0) return kChunk;
    auto outputs = outputs_;
    std::sort(outputs.begin(), outputs.begin() + static_cast<std::ptrdiff_t>(count));
    return (outputs[(count * 95 + 99) / 100 - 1] / kChunk + 1) * kChunk;
  }

  void Note(std::int64_t output_tokens) { outputs_[count_++ % kKept] = output_tokens; }

 private:
  static constexpr std::size_t kKept = 20;
  std::array<std::int64_t, kKept> outputs_{};
  std::size_t count_ = 0;
};

}  // namespace weir::policy
