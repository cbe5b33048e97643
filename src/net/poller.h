// Readiness of plain TCP sockets, edge-triggered: a socket is registered once for its life, and no
// wait costs a system call. Asio's own waits re-arm the reactor each time (two epoll_ctl a
// request), which is why the byte streams of the request path wait here; docs/adr/0003-asio.md has
// the figures. The poller itself is one descriptor that Asio waits for.
//
// Everything on the loop's thread.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <cstdint>
#include <vector>

namespace weir::net {

class Poller {
 public:
  // Who waits for a socket. A turn tells it first what happened, then lets it resume its writer,
  // then its reader; either may end the waiter, so the poller looks it up again in between.
  class Waiter {
   public:
    // `events` as of epoll; 0 for Wake. Takes note, resumes nobody.
    virtual void Note(std::uint32_t events) = 0;
    virtual void ResumeWriter() = 0;
    virtual void ResumeReader() = 0;

   protected:
    ~Waiter() = default;
  };

  // Names one registration for good: a number that is used again has another generation, so an
  // event that is late finds nobody.
  struct Token {
    std::uint32_t slot = 0;
    std::uint32_t generation = 0;
  };

  explicit Poller(boost::asio::io_context& context);
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  // Registers for reading, writing and the peer's end until Remove. `waiter` must outlive that.
  Token Add(int fd, Waiter& waiter);
  void Remove(Token token);
  // Runs the waiter's turn from the loop, soon, without an event.
  void Wake(Token token);

 private:
  struct Slot {
    Waiter* waiter = nullptr;  // null: free
    std::uint32_t generation = 0;
    bool woken = false;
  };

  void Arm();
  void Turn();
  void RunWoken();
  void Dispatch(Token token, std::uint32_t events);
  Waiter* Find(Token token) const {
    const Slot& slot = slots_[token.slot];
    return slot.generation == token.generation ? slot.waiter : nullptr;
  }

  boost::asio::io_context& context_;
  boost::asio::posix::basic_stream_descriptor<boost::asio::io_context::executor_type> epoll_;
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_;
  std::vector<Token> woken_;
  std::vector<Token> turn_;  // the woken ones of the turn under way
};

}  // namespace weir::net
