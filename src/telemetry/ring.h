// A bounded queue of many producers and one consumer that never blocks.
//
// Each cell has a sequence number that says whose turn it is (D. Vyukov's bounded queue, 2010): a
// producer claims a position with one compare-and-swap, fills the value in place and publishes the
// cell. Values stay where they are, so that one with memory of its own keeps it for the next round.
// A full queue is an answer, not a wait.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace weir::telemetry {

template <class T>
class Ring {
 public:
  // Room for `size` values, rounded up to a power of two, at least 2.
  explicit Ring(std::size_t size)
      : mask_(std::bit_ceil(size < 2 ? std::size_t{2} : size) - 1),
        cells_(std::make_unique<Cell[]>(mask_ + 1)) {
    for (std::size_t i = 0; i <= mask_; ++i) cells_[i].turn.store(i, std::memory_order_relaxed);
  }

  // Calls `fill` with the place of the next value, which holds what was left there a round ago.
  // False when the queue is full; nothing is called then. Any thread.
  template <class Fill>
  bool Push(Fill&& fill) {
    std::size_t at = tail_.load(std::memory_order_relaxed);
    for (;;) {
      Cell& cell = cells_[at & mask_];
      const std::size_t turn = cell.turn.load(std::memory_order_acquire);
      if (turn == at) {
        if (tail_.compare_exchange_weak(at, at + 1, std::memory_order_relaxed)) {
          fill(cell.value);
          cell.turn.store(at + 1, std::memory_order_release);
          return true;
        }
      } else if (turn < at) {
        return false;
      } else {
        at = tail_.load(std::memory_order_relaxed);
      }
    }
  }

  // How many places were ever claimed. Once the consumer has taken that many values, everything
  // pushed before the call has been taken. Any thread.
  std::size_t claimed() const { return tail_.load(std::memory_order_acquire); }

  // Calls `take` with the oldest value, which may be left there or moved out. False when the queue
  // is empty, or when the next producer has not finished its value. The one consumer only.
  template <class Take>
  bool Pop(Take&& take) {
    Cell& cell = cells_[head_ & mask_];
    if (cell.turn.load(std::memory_order_acquire) != head_ + 1) return false;
    take(cell.value);
    cell.turn.store(head_ + mask_ + 1, std::memory_order_release);
    ++head_;
    return true;
  }

 private:
  struct Cell {
    std::atomic<std::size_t> turn;
    T value;
  };

  std::size_t mask_;
  std::unique_ptr<Cell[]> cells_;
  alignas(64) std::atomic<std::size_t> tail_{0};
  alignas(64) std::size_t head_ = 0;
};

}  // namespace weir::telemetry
