#include "server/pool_host.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/check.h"

namespace weir::server {

using routing::AcquireReply;
using routing::Grant;
using routing::TicketId;

struct AccountPort::State {
  // A call in the queue, on its coroutine's frame.
  struct Wait final : gateway::Interrupt::Hook {
    explicit Wait(AccountPort& port) : port(port) {}
    void OnInterrupt() override;
    AccountPort& port;
    TicketId ticket = 0;
    Signal ended;
    AcquireReply reply;
  };

  explicit State(PoolMailbox& to) : mailbox(to) {}

  PoolMailbox& mailbox;
  std::unordered_map<TicketId, Wait*> waits;  // the worker's alone
  std::vector<Grant> taken;                   // Resume's, kept for its memory
  // Under the host's mutex:
  std::vector<Grant> box;
  bool notified = false;
};

struct PoolHost::State {
  State(std::shared_ptr<const config::Config> config, Options with)
      : options(std::move(with)), machine(std::move(config), options.seed) {}

  const Options options;
  mutable std::mutex mutex;  // everything below
  std::condition_variable wake;
  routing::AccountPool machine;
  std::unordered_map<TicketId, AccountPort::State*> owners;
  std::vector<Grant> grants;  // of the command under way
  Tick sleeps_until = kNoDeadline;
  bool stopping = false;
  std::thread thread;

  // Under the lock, behind every command: brings grants to their ports and sees that the thread is
  // awake in time.
  void Deliver() {
    for (Grant& grant : grants) {
      const auto owner = owners.find(grant.ticket);
      CHECK(owner != owners.end(), "a ticket has an owner until it ends");
      AccountPort::State& port = *owner->second;
      owners.erase(owner);
      port.box.push_back(std::move(grant));
      if (!std::exchange(port.notified, true)) port.mailbox.NotifyGrants();
    }
    grants.clear();
    if (machine.NextDue() < sleeps_until) wake.notify_one();
  }

  void AdvanceUntilStopped() {
    std::unique_lock lock(mutex);
    while (!stopping) {
      const Tick now = options.now();
      machine.Advance(now, grants);
      Deliver();
      sleeps_until = machine.NextDue();
      if (sleeps_until == kNoDeadline) {
        wake.wait(lock);
      } else if (sleeps_until > now) {
        wake.wait_for(lock, std::chrono::nanoseconds((sleeps_until - now).ns));
      }
      sleeps_until = Tick{INT64_MIN};  // awake: it looks again by itself
    }
  }
};

void AccountPort::State::Wait::OnInterrupt() {
  PoolHost::State& host = *port.host_.state_;
  {
    const std::lock_guard lock(host.mutex);
    // False: its grant is on the way to the box, and is given back when it comes.
    if (!host.machine.Leave(ticket, host.options.now(), host.grants)) return;
    host.owners.erase(ticket);
    host.Deliver();
  }
  port.state_->waits.erase(ticket);
  reply = {};
  ended.Set();
}

AccountPort::AccountPort(PoolHost& host, PoolMailbox& mailbox)
    : host_(host), state_(std::make_unique<State>(mailbox)) {}

AccountPort::~AccountPort() {
  CHECK(state_->waits.empty(), "a coroutine that waits here would never go on");
}

Task<AcquireReply> AccountPort::Acquire(routing::AcquireCommand command,
                                        gateway::Interrupt& interrupt) {
  PoolHost::State& host = *host_.state_;
  if (interrupt.why() != gateway::Interruption::kNone) co_return AcquireReply{};
  AcquireReply first;
  State::Wait wait(*this);
  {
    const std::lock_guard lock(host.mutex);
    first = host.machine.Acquire(command, host.options.now(), host.grants);
    if (first.kind == AcquireReply::Kind::kQueued) {
      wait.ticket = first.ticket;
      host.owners.emplace(first.ticket, state_.get());
      state_->waits.emplace(first.ticket, &wait);
    }
    host.Deliver();
  }
  if (first.kind != AcquireReply::Kind::kQueued) co_return first;
  interrupt.SetHook(&wait);
  co_await wait.ended;
  interrupt.SetHook(nullptr);
  AcquireReply reply = std::move(wait.reply);
  reply.position = first.position;
  if (interrupt.why() != gateway::Interruption::kNone &&
      reply.kind == AcquireReply::Kind::kGranted) {
    routing::Report nothing;
    nothing.outcome = routing::Outcome::kNothing;
    Release(reply.lease, nothing);
    co_return AcquireReply{};
  }
  co_return reply;
}

void AccountPort::Resume() {
  PoolHost::State& host = *host_.state_;
  std::vector<Grant> taken = std::move(state_->taken);
  {
    const std::lock_guard lock(host.mutex);
    state_->notified = false;
    taken.swap(state_->box);
  }
  for (Grant& grant : taken) {
    const auto found = state_->waits.find(grant.ticket);
    CHECK(found != state_->waits.end(), "who waits is known until its wait ends");
    State::Wait& wait = *found->second;
    state_->waits.erase(found);
    wait.reply = std::move(grant.reply);
    wait.ended.Set();
  }
  taken.clear();
  state_->taken = std::move(taken);
}

void AccountPort::NoteAlive(const routing::Lease& lease, Duration first_content) {
  PoolHost::State& host = *host_.state_;
  const std::lock_guard lock(host.mutex);
  host.machine.NoteAlive(lease, first_content, host.options.now(), host.grants);
  host.Deliver();
}

void AccountPort::Release(const routing::Lease& lease, const routing::Report& report) {
  PoolHost::State& host = *host_.state_;
  std::optional<routing::RestBegan> began;
  {
    const std::lock_guard lock(host.mutex);
    began = host.machine.Release(lease, report, host.options.now(), host.grants);
    host.Deliver();
  }
  if (began && host.options.on_rest) host.options.on_rest(*began);
}

std::int64_t AccountPort::Pressure(std::uint32_t package) {
  PoolHost::State& host = *host_.state_;
  const std::lock_guard lock(host.mutex);
  return host.machine.Pressure(package, host.options.now());
}

PoolHost::PoolHost(std::shared_ptr<const config::Config> config, Options options)
    : state_(std::make_unique<State>(config, std::move(options))) {
  CHECK(state_->options.now && state_->options.wall_now, "the host needs its clocks");
  Configure(std::move(config));  // now with the time of day, which expiry needs
  state_->thread = std::thread([state = state_.get()] {
    pthread_setname_np(pthread_self(), "weir-pool");
    state->AdvanceUntilStopped();
  });
}

PoolHost::~PoolHost() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  state_->wake.notify_all();
  state_->thread.join();
}

void PoolHost::Configure(std::shared_ptr<const config::Config> config) {
  const std::lock_guard lock(state_->mutex);
  state_->machine.Configure(std::move(config), state_->options.now(), state_->options.wall_now(),
                            state_->grants);
  state_->Deliver();
}

bool PoolHost::Cool(std::string_view account, Duration rest) {
  const std::lock_guard lock(state_->mutex);
  const bool known = state_->machine.Cool(account, rest, state_->options.now(), state_->grants);
  state_->Deliver();
  return known;
}

bool PoolHost::Clear(std::string_view account) {
  const std::lock_guard lock(state_->mutex);
  const bool known = state_->machine.Clear(account, state_->options.now(), state_->grants);
  state_->Deliver();
  return known;
}

std::vector<routing::ProbeDue> PoolHost::TakeProbes(std::size_t max) {
  const std::lock_guard lock(state_->mutex);
  return state_->machine.TakeProbes(state_->options.now(), max);
}

void PoolHost::NoteProbe(std::string_view account, routing::Outcome outcome) {
  std::optional<routing::RestBegan> began;
  {
    const std::lock_guard lock(state_->mutex);
    began = state_->machine.NoteProbe(account, outcome, state_->options.now(), state_->grants);
    state_->Deliver();
  }
  if (state_->options.on_probe) state_->options.on_probe(outcome);
  if (began && state_->options.on_rest) state_->options.on_rest(*began);
}

std::optional<routing::AccountView> PoolHost::ViewAccount(std::string_view account) const {
  const std::lock_guard lock(state_->mutex);
  return state_->machine.ViewAccount(account, state_->options.now());
}

routing::PoolView PoolHost::ViewPool(std::uint32_t pool) const {
  const std::lock_guard lock(state_->mutex);
  return state_->machine.ViewPool(pool, state_->options.now());
}

routing::StickyCounts PoolHost::Sticky() const {
  const std::lock_guard lock(state_->mutex);
  return state_->machine.sticky();
}

}  // namespace weir::server
