// One worker's event loop: Asio's reactor, a coarse clock for deadlines, and the Runtime that
// coroutines see. A loop and everything on it belong to one thread; only Post() and Stop() may be
// called from others.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <utility>

#include "base/runtime.h"
#include "net/poller.h"

namespace weir::net {

namespace asio = boost::asio;
using SystemError = boost::system::error_code;
// The concrete executor, not any_io_executor: type erasure costs half a microsecond a request
// (docs/adr/0003-asio.md).
using Executor = asio::io_context::executor_type;
using TcpSocket = asio::basic_stream_socket<asio::ip::tcp, Executor>;
using TcpAcceptor = asio::basic_socket_acceptor<asio::ip::tcp, Executor>;
using TcpResolver = asio::ip::basic_resolver<asio::ip::tcp, Executor>;
using Timer = asio::basic_waitable_timer<std::chrono::steady_clock,
                                         asio::wait_traits<std::chrono::steady_clock>, Executor>;

class Loop;

// A deadline that is checked on the loop's coarse tick (kTick late at most), because a timer of its
// own for every read costs more than the read. Armed and disarmed by writing two pointers.
class Deadline {
 public:
  Deadline() = default;
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;
  virtual ~Deadline() { Disarm(); }

  void Arm(Loop& loop, Tick at);
  void Disarm();
  bool armed() const { return previous_ != nullptr; }

 protected:
  // Called on the loop's thread, disarmed. May arm again or destroy the object.
  virtual void OnDeadline() = 0;

 private:
  friend class Loop;
  Tick at_;
  Deadline* previous_ = nullptr;
  Deadline* next_ = nullptr;
};

class Loop final : public Runtime {
 public:
  static constexpr Duration kTick = Milliseconds(50);

  Loop();
  ~Loop() override;

  void Run();
  void Stop();
  // After Run() has returned and its thread was joined: ends sleeps early and runs what is ready
  // until `done`, two seconds at most, so that coroutines end instead of being abandoned.
  void Finish(const std::function<bool()>& done);
  // True from Finish on: what repeats itself stops.
  bool finishing() const { return finishing_; }
  template <class F>
  void Post(F&& f) {
    asio::post(context_, std::forward<F>(f));
  }
  asio::io_context& context() { return context_; }
  Poller& poller() { return poller_; }

  Instant WallNow() override;
  Tick Now() override;
  Task<void> Sleep(Duration duration) override;
  Random& Entropy() override;

 private:
  friend class Deadline;
  void StartTicking();
  void OnTick();

  asio::io_context context_;
  Poller poller_;
  Timer ticker_;
  bool ticking_ = false;
  bool finishing_ = false;
  // Timers of sleeping coroutines, so that Finish can wake them.
  struct Sleeper {
    Timer* timer = nullptr;
    Sleeper* previous = nullptr;
    Sleeper* next = nullptr;
  };
  Sleeper sleepers_;
  struct Head final : Deadline {
    void OnDeadline() override {}
  };
  Head first_;  // sentinel of the ring of armed deadlines
};

}  // namespace weir::net
