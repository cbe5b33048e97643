// The simulated clock and the one thread of a simulation: a queue of events in the order of their
// times; those of one time run in an order that the seed draws. Everything that happens in a
// simulation happens inside an event, so the same seed gives the same run, byte for byte.
//
// Time costs nothing: it jumps to the next event.
#pragma once

#include <coroutine>
#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/random.h"
#include "base/runtime.h"
#include "base/task.h"
#include "base/time.h"

namespace weir::sim {

class Executor final : public Runtime {
 public:
  struct EventId {
    std::uint32_t slot = 0;
    std::uint32_t generation = 0;  // 0: none
  };

  explicit Executor(std::uint64_t seed);
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  Instant WallNow() override { return wall_ + Duration{now_.ns}; }
  Tick Now() override { return now_; }
  Task<void> Sleep(Duration duration) override;
  Random& Entropy() override { return entropy_; }

  // Somebody sets the wall clock; the other one goes on.
  void SetWallBy(Duration by) { wall_ = wall_ + by; }

  EventId At(Tick at, std::function<void()> event);
  EventId In(Duration in, std::function<void()> event) { return At(now_ + in, std::move(event)); }
  // Harmless when it has run already.
  void Cancel(EventId id);
  // Runs the next event; false when there is none.
  bool Step();

  std::uint64_t events() const { return events_; }

  // What happened, folded into one number: equal for two runs if and only if (as far as 64 bits
  // tell) the same things happened at the same times in the same order.
  void Note(std::uint64_t what);
  void Note(std::string_view what);
  std::uint64_t hash() const { return hash_; }

 private:
  struct Slot {
    std::uint32_t generation = 1;
    std::function<void()> event;
  };
  struct Due {
    Tick at;
    std::uint64_t order = 0;
    std::uint32_t slot = 0;
    std::uint32_t generation = 0;
  };
  static bool Later(const Due& a, const Due& b) {
    return a.at != b.at ? a.at > b.at : a.order > b.order;
  }

  Tick now_{1'000'000'000};
  Instant wall_{1'800'000'000'000'000'000};
  SeededRandom order_;
  SeededRandom entropy_;
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_;
  std::vector<Due> due_;  // a heap
  std::uint64_t events_ = 0;
  std::uint64_t hash_ = 0xCBF29CE484222325ULL;
};

// An event that dies with its owner.
class Timer {
 public:
  explicit Timer(Executor& executor) : executor_(executor) {}
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer() { Cancel(); }

  void Set(Tick at, std::function<void()> event) {
    Cancel();
    id_ = executor_.At(at, std::move(event));
  }
  void Cancel() { executor_.Cancel(std::exchange(id_, {})); }

 private:
  Executor& executor_;
  Executor::EventId id_;
};

// One wait of one coroutine, on its frame. Whoever ends it does not run the waiter: that is an
// event of its own, as it is when a thread or a loop wakes another. A coroutine that is destroyed
// while it waits leaves nothing behind.
class Wait {
 public:
  explicit Wait(Executor& executor) : executor_(executor), timer_(executor) {}

  void Wake() { WakeIn({0}); }
  // A later call replaces an earlier one, unless it is over.
  void WakeIn(Duration in) {
    if (over_) return;
    timer_.Set(executor_.Now() + in, [this] { End(); });
  }
  // Runs the waiter inside the call, as an interrupt may.
  void WakeAtOnce() {
    if (over_) return;
    timer_.Cancel();
    End();
  }

  bool await_ready() const noexcept { return over_; }
  void await_suspend(std::coroutine_handle<> waiter) noexcept { waiter_ = waiter; }
  void await_resume() const noexcept {}

 private:
  void End() {
    over_ = true;
    if (waiter_) std::exchange(waiter_, nullptr).resume();  // may destroy this
  }

  Executor& executor_;
  Timer timer_;
  std::coroutine_handle<> waiter_;
  bool over_ = false;
};

// A coroutine that can be destroyed wherever it waits, with all it awaits: what kill -9 does to it.
class Root {
 public:
  struct promise_type {
    Root get_return_object() {
      return Root(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    std::suspend_always final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    [[noreturn]] void unhandled_exception() const noexcept { std::terminate(); }
  };

  Root() = default;
  explicit Root(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
  Root(Root&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Root& operator=(Root&& other) noexcept {
    if (this != &other) {
      Destroy();
      handle_ = std::exchange(other.handle_, nullptr);
    }
    return *this;
  }
  ~Root() { Destroy(); }

  void Start() { handle_.resume(); }
  void Destroy() {
    if (handle_) std::exchange(handle_, nullptr).destroy();
  }

 private:
  std::coroutine_handle<promise_type> handle_;
};

}  // namespace weir::sim
