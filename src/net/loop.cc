#include "net/loop.h"

#include <openssl/rand.h>

#include <array>
#include <chrono>
#include <ctime>

#include "base/check.h"

namespace weir::net {
namespace {

std::int64_t ReadClock(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

// Unpredictable bytes from OpenSSL's generator, drawn in blocks because a call costs about as much
// as a request's parsing.
class SystemRandom final : public Random {
 public:
  std::uint64_t Next() override {
    if (next_ == block_.size()) {
      CHECK(RAND_bytes(reinterpret_cast<unsigned char*>(block_.data()),
                       static_cast<int>(sizeof(block_))) == 1,
            "without randomness no id and no key is safe");
      next_ = 0;
    }
    return block_[next_++];
  }

 private:
  std::array<std::uint64_t, 64> block_{};
  std::size_t next_ = 64;
};

}  // namespace

void Deadline::Arm(Loop& loop, Tick at) {
  Disarm();
  if (at == kNoDeadline) return;
  at_ = at;
  previous_ = &loop.first_;
  next_ = loop.first_.next_;
  next_->previous_ = this;
  loop.first_.next_ = this;
  loop.StartTicking();
}

void Deadline::Disarm() {
  if (previous_ == nullptr) return;
  previous_->next_ = next_;
  next_->previous_ = previous_;
  previous_ = next_ = nullptr;
}

// UNSAFE_IO drops the reactor's own locks (a descriptor is used on one thread) and keeps the
// queue's, so that Post() works from other threads.
Loop::Loop()
    : context_(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE_IO), poller_(context_), ticker_(context_) {
  first_.previous_ = first_.next_ = &first_;
}

Loop::~Loop() { first_.previous_ = first_.next_ = nullptr; }

void Loop::Run() {
  auto work = asio::make_work_guard(context_);
  context_.run();
}

void Loop::Stop() { context_.stop(); }

Instant Loop::WallNow() { return {ReadClock(CLOCK_REALTIME)}; }

// CLOCK_BOOTTIME goes on while the machine sleeps: a stream that hung over a suspend is over.
Tick Loop::Now() { return {ReadClock(CLOCK_BOOTTIME)}; }

Task<void> Loop::Sleep(Duration duration) {
  struct Awaiter {
    Timer& timer;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> waiter) {
      timer.async_wait([waiter](SystemError) { waiter.resume(); });
    }
    void await_resume() const noexcept {}
  };
  if (finishing_) co_return;
  Timer timer(context_, std::chrono::nanoseconds(duration.ns));
  Sleeper sleeper{&timer, &sleepers_, sleepers_.next};
  if (sleepers_.next != nullptr) sleepers_.next->previous = &sleeper;
  sleepers_.next = &sleeper;
  co_await Awaiter{timer};
  sleeper.previous->next = sleeper.next;
  if (sleeper.next != nullptr) sleeper.next->previous = sleeper.previous;
}

void Loop::Finish(const std::function<bool()>& done) {
  finishing_ = true;
  for (Sleeper* sleeper = sleepers_.next; sleeper != nullptr; sleeper = sleeper->next) {
    sleeper->timer->cancel();
  }
  const Tick until = Now() + Seconds(2);
  do {
    context_.restart();
    context_.run_for(std::chrono::milliseconds(2));
  } while (!done() && Now() < until);
}

Random& Loop::Entropy() {
  static thread_local SystemRandom random;
  return random;
}

void Loop::StartTicking() {
  if (ticking_) return;
  ticking_ = true;
  ticker_.expires_after(std::chrono::nanoseconds(kTick.ns));
  ticker_.async_wait([this](SystemError error) {
    ticking_ = false;
    if (!error) OnTick();
  });
}

void Loop::OnTick() {
  const Tick now = Now();
  // Move the ring aside and take its members one by one: what OnDeadline arms lands in the fresh
  // ring and is not visited again, and what it disarms or destroys leaves whichever ring it is in.
  Head batch;
  if (first_.next_ != &first_) {
    batch.next_ = first_.next_;
    batch.previous_ = first_.previous_;
    batch.next_->previous_ = &batch;
    batch.previous_->next_ = &batch;
    first_.next_ = first_.previous_ = &first_;
    while (batch.next_ != &batch) {
      Deadline* deadline = batch.next_;
      const Tick at = deadline->at_;
      deadline->Disarm();
      if (at <= now) {
        deadline->OnDeadline();
      } else {
        deadline->Arm(*this, at);
      }
    }
    batch.next_ = batch.previous_ = nullptr;
  }
  if (first_.next_ != &first_) StartTicking();
}

}  // namespace weir::net
