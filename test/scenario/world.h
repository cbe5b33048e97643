// A small world around the path: callers, upstreams, a clock and a journal that a script moves by
// hand. Everything is on one thread and nothing happens unless the script says so, so a scenario
// has no timing. The path, the credit machine and the wire dialects in it are the real ones.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/random.h"
#include "base/runtime.h"
#include "gateway/credit_control.h"
#include "gateway/exchange.h"
#include "gateway/ports.h"
#include "routing/account_pool.h"

namespace weir::scenario {

// What a scripted upstream does for one call.
struct ScriptedReply {
  std::optional<ErrorCode> fail;  // no reply at all
  bool hangs = false;             // until `resume` or an interrupt, then `fail`
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers;
  // Pieces as Read hands them out. "@cut", "@wait" and "@idle" are acts: the connection is lost,
  // nothing comes until `resume`, one wait of the reader runs out.
  std::vector<std::string> pieces;
};

struct UpstreamCallSeen {
  std::string target;
  std::string headers;
  std::string body;
};

class ScriptedUpstreams final : public gateway::Upstreams {
 public:
  Task<Result<std::unique_ptr<gateway::UpstreamReply>>> Send(
      gateway::UpstreamRequest request, gateway::Interrupt& interrupt) override;

  struct Account {
    std::deque<ScriptedReply> script;
    std::optional<ScriptedReply> always;  // once the script is over
    std::vector<UpstreamCallSeen> calls;
    Signal resume;
    int open = 0;  // replies not read to their end and not dropped
  };
  std::map<std::string, Account> accounts;
};

// The runtime of a scenario: time stands still until the script moves it.
class ScriptedRuntime final : public Runtime {
 public:
  Instant WallNow() override { return now; }
  Tick Now() override { return {now.ns}; }
  Task<void> Sleep(Duration) override { co_return; }
  Random& Entropy() override { return random; }

  Instant now{1'800'000'000'000'000'000};
  SeededRandom random{42};
};

// The credit machine without threads. The journal is a switch: it writes at once, holds back until
// `journal flush`, or has no space.
class ScriptedCredit final : public gateway::Credit {
 public:
  explicit ScriptedCredit(ScriptedRuntime& runtime) : runtime_(runtime) {}
  gateway::AdmitReply Admit(const gateway::AdmitCommand& command) override;
  gateway::RateViews Peek(const KeyId& key, const config::KeyLimits& limits) override {
    return machine.Peek(key, limits, runtime_.now);
  }
  gateway::SettleReply Settle(const gateway::SettleCommand& command) override;
  void Checkpoint(const gateway::CheckpointCommand& command) override;
  gateway::ExtendReply Extend(const gateway::ExtendCommand& command) override {
    records_ = {};
    return machine.Extend(command, runtime_.now, records_);
  }
  gateway::GrantReply Give(const ledger::GrantRecord& grant) override {
    records_ = {};
    return machine.Give(grant, runtime_.now, records_);
  }
  std::optional<gateway::WalletView> Wallet(const gateway::WalletId& id) override {
    return machine.ViewWallet(id, runtime_.now);
  }
  std::optional<gateway::KeyStanding> Standing(const KeyId& key) override {
    return machine.Standing(key);
  }
  std::vector<gateway::QuotaStanding> Quotas(std::span<const policy::QuotaUse> uses) override {
    return machine.LookQuotas(uses, runtime_.now);
  }
  Task<bool> Durable(gateway::JournalPosition position) override;

  enum class Journal : std::uint8_t { kAtOnce, kHeld, kFull };
  Journal journal = Journal::kAtOnce;
  int checkpoints = 0;
  void Flush();
  gateway::CreditControl machine;

 private:
  ScriptedRuntime& runtime_;
  ledger::RecordBuffer records_;
  std::vector<Signal*> waiters_;
};

// The real account pool on the script's clock.
class ScriptedAccounts final : public gateway::Accounts {
 public:
  explicit ScriptedAccounts(ScriptedRuntime& runtime) : runtime_(runtime) {}
  Task<routing::AcquireReply> Acquire(routing::AcquireCommand command,
                                      gateway::Interrupt& interrupt) override;
  void NoteAlive(const routing::Lease& lease, Duration first_content) override;
  void Release(const routing::Lease& lease, const routing::Report& report) override;
  std::int64_t Pressure(std::uint32_t package) override;

  void Configure(std::shared_ptr<const config::Config> config);
  void Advance();
  std::unique_ptr<routing::AccountPool> machine;

 private:
  struct Wait;
  void Deliver();
  ScriptedRuntime& runtime_;
  std::vector<routing::Grant> grants_;
  std::map<routing::TicketId, Wait*> waits_;
};

class Caller final : public gateway::Downstream {
 public:
  Task<Result<std::string_view>> ReadBody(std::int64_t bytes_max) override;
  Task<bool> Reply(gateway::ReplyHead head, std::string_view body) override;
  void Start(gateway::ReplyHead head) override;
  Task<bool> Send(std::string_view bytes) override;
  Task<bool> End(std::string_view last_bytes) override;
  void Cut() override { cut = true; }
  bool started() const override { return started_; }
  void WatchHangUp(gateway::Interrupt& interrupt) override { interrupt_ = &interrupt; }

  void HangUp();
  void Interrupt(gateway::Interruption why);

  std::string method;
  std::string path;
  std::string query;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  gateway::RequestHead head;
  gateway::Exchange exchange;

  int status = 0;
  std::string reply_headers;
  std::string received;
  std::vector<std::string> writes;  // each Send, Reply or End
  bool complete = false;
  bool cut = false;
  bool finished = false;  // Serve returned

 private:
  gateway::Interrupt* interrupt_ = nullptr;
  bool started_ = false;
  bool gone_ = false;
};

}  // namespace weir::scenario
