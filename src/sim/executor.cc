#include "sim/executor.h"

#include <algorithm>

#include "base/check.h"
#include "sim/draw.h"

namespace weir::sim {

Executor::Executor(std::uint64_t seed) : order_(SeedOf(seed, 1)), entropy_(SeedOf(seed, 2)) {}

Executor::EventId Executor::At(Tick at, std::function<void()> event) {
  std::uint32_t slot = 0;
  if (free_.empty()) {
    slot = static_cast<std::uint32_t>(slots_.size());
    slots_.emplace_back();
  } else {
    slot = free_.back();
    free_.pop_back();
  }
  slots_[slot].event = std::move(event);
  due_.push_back({std::max(at, now_), order_.Next(), slot, slots_[slot].generation});
  std::ranges::push_heap(due_, Later);
  return {slot, slots_[slot].generation};
}

void Executor::Cancel(EventId id) {
  if (id.generation == 0 || slots_[id.slot].generation != id.generation) return;
  ++slots_[id.slot].generation;
  slots_[id.slot].event = nullptr;
  free_.push_back(id.slot);
}

bool Executor::Step() {
  while (!due_.empty()) {
    std::ranges::pop_heap(due_, Later);
    const Due next = due_.back();
    due_.pop_back();
    if (slots_[next.slot].generation != next.generation) continue;  // cancelled
    const std::function<void()> event = std::move(slots_[next.slot].event);
    ++slots_[next.slot].generation;
    slots_[next.slot].event = nullptr;
    free_.push_back(next.slot);
    CHECK(next.at >= now_, "the simulated clock does not go back");
    now_ = next.at;
    ++events_;
    event();
    return true;
  }
  return false;
}

void Executor::Note(std::uint64_t what) {
  SeededRandom mix(hash_ ^ what ^ static_cast<std::uint64_t>(now_.ns) * 0x9E3779B97F4A7C15ULL);
  hash_ = mix.Next();
}

void Executor::Note(std::string_view what) {
  std::uint64_t folded = 0xCBF29CE484222325ULL;
  for (const char c : what) folded = (folded ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  Note(folded);
}

Task<void> Executor::Sleep(Duration duration) {
  Wait wait(*this);
  wait.WakeIn(duration);
  co_await wait;
}

}  // namespace weir::sim
