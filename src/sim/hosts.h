// The credit machine and the account pool of one life of the process, on the simulated clock: what
// server/credit_host and server/pool_host are with threads. They hold no rule and make the same
// promises; ARCHITECTURE.md, "Threads and ownership", is the page both follow.
//
// A life ends by a crash: then every call here has no effect, because the destructors of the
// coroutines that a kill takes must not reach a machine that is gone.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "gateway/credit_control.h"
#include "gateway/ports.h"
#include "routing/account_pool.h"
#include "sim/auditor.h"
#include "sim/canary.h"
#include "sim/disk.h"
#include "sim/draw.h"
#include "sim/executor.h"

namespace weir::sim {

class CreditHost final : public gateway::Credit {
 public:
  struct Options {
    Duration commit_time;  // at most
    Canary canary = Canary::kNone;
    std::function<void()> on_broken;  // the process must end
  };

  CreditHost(Executor& executor, Disk& disk, Auditor& auditor, std::uint64_t seed, Options options);
  ~CreditHost() override;

  // Replays the disk and resolves what was open, as CreditHost::Start of server/ does.
  // `cut_off`: killed before the resolutions were on the disk; start another host then. False: the
  // disk has no space for them.
  bool Start(bool cut_off);
  // Kill. What is being written stays or goes, as the disk says.
  void Die();
  // Everything that was queued is on the disk, or waits for space.
  bool quiet() const { return queue_.count == 0 && !committing_; }

  gateway::AdmitReply Admit(const gateway::AdmitCommand& command) override;
  gateway::RateViews Peek(const KeyId& key, const config::KeyLimits& limits) override;
  gateway::SettleReply Settle(const gateway::SettleCommand& command) override;
  void Checkpoint(const gateway::CheckpointCommand& command) override;
  gateway::ExtendReply Extend(const gateway::ExtendCommand& command) override;
  gateway::GrantReply Give(const ledger::GrantRecord& grant) override;
  // As the operator's and the clock's hand of server/credit_host.
  void Revoke(const gateway::GrantId& grant);
  void Sweep();
  std::optional<gateway::WalletView> Wallet(const gateway::WalletId& id) override {
    return machine_->ViewWallet(id, executor_.WallNow());
  }
  std::optional<gateway::KeyStanding> Standing(const KeyId& key) override {
    return machine_->Standing(key);
  }
  Task<bool> Durable(gateway::JournalPosition position) override;

  gateway::CreditControl& machine() { return *machine_; }

 private:
  struct Waiter;
  void Urge();
  void Later(Duration delay);
  void Begin();
  void Write();
  void WakeWaiters();
  void SpoilRecords(std::size_t from);
  void SpoilReplay(ledger::Record& record) const;
  void PlantExtension(const gateway::ExtendCommand& command, gateway::ExtendReply& reply);

  Executor& executor_;
  Disk& disk_;
  Auditor& auditor_;
  Draw draw_;
  Options options_;
  std::unique_ptr<gateway::CreditControl> machine_;
  ledger::RecordBuffer queue_;
  std::uint64_t queue_first_ = 1;
  ledger::RecordBuffer batch_;  // being written
  std::uint64_t batch_first_ = 1;
  bool committing_ = false;
  bool available_ = true;
  bool dead_ = false;
  std::uint64_t durable_ = 0;
  // For canaries.
  gateway::JournalPosition last_settlement_;
  struct Admitted {
    KeyId key;
    std::optional<gateway::WalletUse> wallet;
    std::int64_t wallet_held = 0;
  };
  std::map<RequestId, Admitted> admitted_;
  std::map<RequestId, std::vector<policy::QuotaUse>> quotas_told_;
  Tick begun_;
  Tick due_ = kNoDeadline;
  Timer timer_;
  std::vector<Waiter*> waiters_;
};

class AccountHost final : public gateway::Accounts {
 public:
  AccountHost(Executor& executor, std::shared_ptr<const config::Config> config, std::uint64_t seed);
  ~AccountHost() override;

  void Configure(std::shared_ptr<const config::Config> config);
  // An operator's hand: every account is well.
  void ClearAll(const config::Config& config);
  void Die();
  routing::PoolView View() const { return machine_.ViewPool(0, executor_.Now()); }

  Task<routing::AcquireReply> Acquire(routing::AcquireCommand command,
                                      gateway::Interrupt& interrupt) override;
  void NoteAlive(const routing::Lease& lease, Duration first_content) override;
  void Release(const routing::Lease& lease, const routing::Report& report) override;
  std::int64_t Pressure(std::uint32_t package) override;

 private:
  struct Waiting;
  void Deliver();
  void Resume();

  Executor& executor_;
  Draw draw_;
  routing::AccountPool machine_;
  std::vector<routing::Grant> grants_;  // of the command under way
  std::vector<routing::Grant> box_;     // on their way to those who wait
  std::map<routing::TicketId, Waiting*> waits_;
  Timer advance_;
  Timer resume_;
  bool notified_ = false;
  bool dead_ = false;
};

}  // namespace weir::sim
