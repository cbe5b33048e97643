#include "net/poller.h"

#include <sys/epoll.h>

#include <array>
#include <boost/asio/post.hpp>
#include <cerrno>

#include "base/check.h"

namespace weir::net {
namespace {

constexpr int kEventsPerTurn = 128;

std::uint64_t Pack(Poller::Token token) {
  return (static_cast<std::uint64_t>(token.generation) << 32) | token.slot;
}

Poller::Token Unpack(std::uint64_t packed) {
  return {static_cast<std::uint32_t>(packed), static_cast<std::uint32_t>(packed >> 32)};
}

}  // namespace

Poller::Poller(boost::asio::io_context& context) : context_(context), epoll_(context) {
  const int fd = ::epoll_create1(EPOLL_CLOEXEC);
  CHECK(fd >= 0, "the process may open one more descriptor at its start");
  epoll_.assign(fd);
  Arm();
}

Poller::Token Poller::Add(int fd, Waiter& waiter) {
  if (free_.empty()) {
    free_.push_back(static_cast<std::uint32_t>(slots_.size()));
    slots_.emplace_back();
  }
  const std::uint32_t index = free_.back();
  free_.pop_back();
  Slot& slot = slots_[index];
  slot.waiter = &waiter;
  const Token token{index, slot.generation};
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.u64 = Pack(token);
  // Out of kernel memory or watches: the stream then learns nothing and ends by its deadline.
  static_cast<void>(::epoll_ctl(epoll_.native_handle(), EPOLL_CTL_ADD, fd, &event));
  return token;
}

// The registration in the kernel goes with the descriptor, which its owner closes.
void Poller::Remove(Token token) {
  Slot& slot = slots_[token.slot];
  CHECK(slot.generation == token.generation && slot.waiter != nullptr, "removed once");
  slot.waiter = nullptr;
  slot.woken = false;
  ++slot.generation;
  free_.push_back(token.slot);
}

void Poller::Wake(Token token) {
  Slot& slot = slots_[token.slot];
  if (slot.woken) return;
  slot.woken = true;
  woken_.push_back(token);
  if (woken_.size() == 1) boost::asio::post(context_, [this] { RunWoken(); });
}

void Poller::RunWoken() {
  turn_.swap(woken_);  // who is woken from here on has its turn after the others on the loop
  for (const Token token : turn_) {
    if (Find(token) != nullptr) slots_[token.slot].woken = false;
    Dispatch(token, 0);
  }
  turn_.clear();
}

void Poller::Arm() {
  epoll_.async_wait(boost::asio::posix::descriptor_base::wait_read,
                    [this](boost::system::error_code error) {
                      if (!error) Turn();
                    });
}

void Poller::Turn() {
  std::array<epoll_event, kEventsPerTurn> events;
  const int count = ::epoll_wait(epoll_.native_handle(), events.data(), kEventsPerTurn, 0);
  for (int i = 0; i < count; ++i) {
    const auto& event = events[static_cast<std::size_t>(i)];
    Dispatch(Unpack(event.data.u64), event.events);
  }
  // Re-armed behind the turn: what is ready already, or was left for want of room, fires it again.
  Arm();
}

void Poller::Dispatch(Token token, std::uint32_t events) {
  Waiter* waiter = Find(token);
  if (waiter == nullptr) return;
  waiter->Note(events);
  waiter->ResumeWriter();
  waiter = Find(token);
  if (waiter != nullptr) waiter->ResumeReader();
}

}  // namespace weir::net
