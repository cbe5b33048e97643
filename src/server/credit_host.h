// The credit machine among threads: one CreditHost for the process, one CreditPort for each worker.
//
//   worker   Admit/Settle/Checkpoint -> lock { machine; records into the queue } -> reply
//   journal thread   takes the whole queue, appends it in one transaction (group commit), publishes
//                    the durable position, wakes each worker that waits for it, once
//   worker   Durable(position) -> goes on at once, or sleeps until its mailbox calls Resume()
//
// Holds no rule: what is allowed and charged is gateway/credit_control's.
//
// When the journal has no space, the ballast is given up for it (Options::release_space): the batch
// is written after all and open requests settle as ever, but Admit refuses with kLedgerUnavailable
// until there is space for the ballast again. Without a ballast, or when that is used up too,
// nobody is told "durable": Durable returns false, Admit refuses, and the batch is tried again
// until it succeeds, so open requests can still be settled in memory. When the journal is broken
// the process ends (CHECK), as store/journal.h says why.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/task.h"
#include "base/time.h"
#include "gateway/credit_control.h"
#include "gateway/ports.h"
#include "store/journal.h"

namespace weir::server {

// How the journal thread reaches a worker. Implemented over the worker's loop by net/.
class WorkerMailbox {
 public:
  virtual ~WorkerMailbox() = default;
  // Called on the journal thread: have the worker call its CreditPort::Resume() soon, on its own
  // thread. At most one call is outstanding: the next comes only after Resume() began. Must not
  // block and must not call Resume() itself. What it left behind may come due after the CreditPort
  // is gone: the mailbox must then not call it.
  virtual void NotifyDurable() = 0;
};

class CreditHost;

// Credit as one worker sees it. All of it, Resume() and the destructor are used on the worker's
// thread; it must not die while a Durable() of it waits.
class CreditPort final : public gateway::Credit {
 public:
  CreditPort(CreditHost& host, WorkerMailbox& mailbox);
  ~CreditPort() override;
  CreditPort(const CreditPort&) = delete;
  CreditPort& operator=(const CreditPort&) = delete;

  gateway::AdmitReply Admit(const gateway::AdmitCommand& command) override;
  gateway::RateViews Peek(const KeyId& key, const config::KeyLimits& limits) override;
  gateway::SettleReply Settle(const gateway::SettleCommand& command) override;
  void Checkpoint(const gateway::CheckpointCommand& command) override;
  gateway::ExtendReply Extend(const gateway::ExtendCommand& command) override;
  gateway::GrantReply Give(const ledger::GrantRecord& grant) override;
  std::optional<gateway::WalletView> Wallet(const gateway::WalletId& id) override;
  std::optional<gateway::KeyStanding> Standing(const KeyId& key) override;
  std::vector<gateway::QuotaStanding> Quotas(std::span<const policy::QuotaUse> uses) override;
  // Goes on without suspending when `position` is on disk already. Position 0 always is.
  Task<bool> Durable(gateway::JournalPosition position) override;

  // Resumes every coroutine whose position became durable, or cannot. Called because the mailbox
  // asked for it; harmless otherwise.
  void Resume();

 private:
  friend class CreditHost;
  struct State;
  CreditHost& host_;
  std::unique_ptr<State> state_;
};

// What the start found in the journal, for the log.
struct CreditStart {
  std::uint64_t records = 0;
  Duration replay_time;
  store::JournalTail tail;         // what the chain came to, before anything was resolved
  gateway::Resolution resolution;  // of requests that were open at the crash
  gateway::CreditTotals totals;    // after it
  // Every threshold that the journal says was crossed: whoever tells them knows which it told.
  std::vector<gateway::QuotaAlert> alerts = {};
};

class CreditHost {
 public:
  struct Options {
    // The wall clock. Called under the host's lock, from any worker.
    std::function<Instant()> wall_now;
    // Commits are at least this far apart when there is much to do; the first one after a pause
    // does not wait. Larger means fewer transactions and later terminal events.
    Duration commit_interval = Microseconds(300);
    // The same after a commit of many records: then requests come faster than commits, and fewer
    // commits cost less than the wait.
    Duration busy_commit_interval = Milliseconds(1);
    // An intent that nobody waits for may be this much later than its upstream call: it then shares
    // the commit of its settlement. Who waits for it (the first byte of a stream) ends the delay.
    Duration intent_delay = Milliseconds(2);
    // A checkpoint alone waits this long for a commit that is due anyway.
    Duration checkpoint_delay = Milliseconds(200);
    // After a failed append.
    Duration retry_interval = Milliseconds(100);
    // ReadJournal waits so long for the journal thread.
    Duration read_deadline = Seconds(10);
    // Gives space on the journal's disk back, once; false when there is none to give. May be null.
    // Both are called on the journal thread, release_space by Start too.
    std::function<bool()> release_space;
    // Takes it again; false while there is too little. Null exactly when release_space is.
    std::function<bool()> restore_space;
    Duration restore_interval = Seconds(2);
    // What may wait for the journal; beyond it Admit refuses with kLedgerUnavailable.
    std::size_t queue_bytes_max = 64 << 20;
    std::size_t keys_expected = 0;
    // Thresholds of policies that were crossed, in order, once their records are on disk. Called on
    // the journal thread: whoever takes them must not wait. May be null.
    std::function<void(std::vector<gateway::QuotaAlert>)> on_alerts;
  };

  // Replays the journal, resolves what was open and makes that durable, then starts the journal
  // thread. Call before listening. Fails, with a sentence for the operator, when the journal cannot
  // be read, is not ours, or has no space for the resolutions.
  static Result<std::unique_ptr<CreditHost>> Start(std::unique_ptr<store::Journal> journal,
                                                   Options options, CreditStart& start);
  // Writes what is queued. Every CreditPort must be gone.
  ~CreditHost();
  CreditHost(const CreditHost&) = delete;
  CreditHost& operator=(const CreditHost&) = delete;

  // Any thread; for the admin API and metrics.
  // Both return once it is on disk; kUnavailable when it cannot be written.
  Result<gateway::GrantReply> Give(const ledger::GrantRecord& grant);
  Result<gateway::RevokeReply> Revoke(const gateway::GrantId& grant);
  // Takes off every grant what has expired of it, so that the book says so too.
  void Sweep();
  std::optional<gateway::WalletView> Wallet(const gateway::WalletId& id);
  // The grant as it was made; none if there is no such grant.
  std::optional<ledger::GrantRecord> FindGrant(const gateway::GrantId& id);
  // See Wallets::Entries.
  std::vector<gateway::WalletEntry> Entries(const gateway::WalletId& id, std::uint64_t before,
                                            std::size_t limit);
  std::optional<gateway::KeyStanding> Standing(const KeyId& key);
  gateway::CreditTotals Totals();  // visits every key
  // How the counters of policies stand. Nothing is held of them.
  std::vector<gateway::QuotaStanding> Quotas(std::span<const policy::QuotaUse> uses);
  Instant QuotaAvailableAt(const policy::Standing& standing, std::int64_t amount);
  std::int64_t UsualOutput(const KeyId& key, config::PriceId price);

  // A counter as it stands, on its own.
  struct QuotaCounter {
    std::string policy;
    std::string values;
    policy::CounterView view;  // without its texts, which are the two above
  };
  struct QuotaPage {
    std::vector<QuotaCounter> counters;
    std::optional<std::uint32_t> next;  // none: there are no more
  };
  // The counters of a policy and of its budgets of recovery ("ID/attempts"), or of all when
  // `policy` is empty, from number `from` on, at most `limit`.
  //   cost  looks at each counter there is, a few thousand at a time under the lock
  QuotaPage ListCounters(std::string_view policy, std::uint32_t from, std::size_t limit);
  std::int64_t QuotaCounters();
  std::size_t RequestsOpen();
  ledger::Amount Breakage(ledger::Unit unit);  // what expired unused of grants, ever

  // Any thread that may wait: some of the journal as it is on disk, read by the journal thread
  // between two commits, so that a reader delays a commit by one slice at most.
  //   fails  kUnavailable when it cannot be read, when the disk has been taking nothing for a
  //          while, and at the end
  Result<store::JournalSlice> ReadJournal(std::uint64_t after, std::size_t bytes_max);

  struct JournalCounters {
    std::uint64_t records = 0;
    std::uint64_t commits = 0;
    std::uint64_t failures = 0;
    bool available = true;  // admissions are taken
  };
  JournalCounters Counters();

 private:
  friend class CreditPort;
  struct State;
  explicit CreditHost(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace weir::server
