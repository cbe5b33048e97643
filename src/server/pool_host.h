// The account pool among threads: one PoolHost for the process, one AccountPort for each worker.
//
//   worker   Acquire/Release -> lock { machine } -> reply; grants for others go to their ports'
//   boxes worker   a queued Acquire sleeps until its mailbox calls Resume() weir-pool thread sleeps
//   until the machine has something due (a rest or a wait that ends) while
//                      somebody waits; with nobody waiting it has nothing to do
//
// Holds no rule: who gets which account is routing/account_pool's.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "gateway/ports.h"
#include "routing/account_pool.h"

namespace weir::server {

// How a grant reaches a worker.
class PoolMailbox {
 public:
  virtual ~PoolMailbox() = default;
  // From any thread: have the worker call its AccountPort::Resume() soon. At most one call is
  // outstanding. Must not block.
  virtual void NotifyGrants() = 0;
};

class PoolHost;

// Accounts as one worker sees them. Used on the worker's thread; it must not die while an Acquire()
// of it waits.
class AccountPort final : public gateway::Accounts {
 public:
  AccountPort(PoolHost& host, PoolMailbox& mailbox);
  ~AccountPort() override;
  AccountPort(const AccountPort&) = delete;
  AccountPort& operator=(const AccountPort&) = delete;

  Task<routing::AcquireReply> Acquire(routing::AcquireCommand command,
                                      gateway::Interrupt& interrupt) override;
  void NoteAlive(const routing::Lease& lease, Duration first_content) override;
  void Release(const routing::Lease& lease, const routing::Report& report) override;
  std::int64_t Pressure(std::uint32_t package) override;

  // Resumes every wait that ended. Called because the mailbox asked for it; harmless otherwise.
  void Resume();

 private:
  friend class PoolHost;
  struct State;
  PoolHost& host_;
  std::unique_ptr<State> state_;
};

class PoolHost {
 public:
  struct Options {
    // A clock that never goes back. Called under the host's lock, from any thread.
    std::function<Tick()> now;
    std::function<Instant()> wall_now;
    std::uint64_t seed = 0;
    // An account went to rest; called outside the lock, from any thread.
    std::function<void(const routing::RestBegan&)> on_rest;
    // An account answered a probe; the same.
    std::function<void(routing::Outcome)> on_probe;
  };

  PoolHost(std::shared_ptr<const config::Config> config, Options options);
  // Every AccountPort must be gone.
  ~PoolHost();
  PoolHost(const PoolHost&) = delete;
  PoolHost& operator=(const PoolHost&) = delete;

  // Any thread. Call before the workers see the configuration.
  void Configure(std::shared_ptr<const config::Config> config);
  bool Cool(std::string_view account, Duration rest);
  bool Clear(std::string_view account);
  // Accounts to be asked now whether they are well, and what the answer showed.
  std::vector<routing::ProbeDue> TakeProbes(std::size_t max);
  void NoteProbe(std::string_view account, routing::Outcome outcome);
  std::optional<routing::AccountView> ViewAccount(std::string_view account) const;
  routing::PoolView ViewPool(std::uint32_t pool) const;
  routing::StickyCounts Sticky() const;

 private:
  friend class AccountPort;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace weir::server
