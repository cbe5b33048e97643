#include "server/crash_point.h"

#include <signal.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <set>
#include <string>
#include <utility>
#include <variant>

#include "ledger/record.h"

namespace weir::server {
namespace {

constexpr std::array<std::string_view, 13> kNames = {
    "intent_commit", "intent_durable", "dispatched", "checkpoint", "extended",
    "usage_read",    "settle_commit",  "committed",  "unkept",     "settled",
    "final_byte",    "recovery",       "recovered"};

// What a batch holds, as far as a point is about it.
struct Contents {
  bool intent = false;
  bool checkpoint = false;
  bool extension = false;
  bool resolution = false;  // by an exchange itself
  bool recovery = false;    // by a start
};

Contents ContentsOf(const store::JournalBatch& batch) {
  Contents contents;
  std::span<const std::uint8_t> bytes = batch.records;
  for (std::uint32_t i = 0; i < batch.count; ++i) {
    const auto record = ledger::Decode(bytes);
    if (!record) break;
    if (std::holds_alternative<ledger::IntentRecord>(*record)) contents.intent = true;
    if (std::holds_alternative<ledger::CheckpointRecord>(*record)) contents.checkpoint = true;
    if (std::holds_alternative<ledger::ExtendRecord>(*record)) contents.extension = true;
    const auto resolved = [&](const auto* resolution) {
      if (resolution == nullptr) return;
      const bool start = resolution->cause == ledger::ResolveCause::kRecovery;
      (start ? contents.recovery : contents.resolution) = true;
    };
    resolved(std::get_if<ledger::SettleRecord>(&*record));
    resolved(std::get_if<ledger::VoidRecord>(&*record));
  }
  return contents;
}

class CrashJournal final : public store::Journal {
 public:
  CrashJournal(std::unique_ptr<store::Journal> journal, std::shared_ptr<CrashPoint> point)
      : journal_(std::move(journal)), point_(std::move(point)) {}

  store::AppendOutcome Append(const store::JournalBatch& batch) override {
    const Contents contents = ContentsOf(batch);
    if (contents.intent) point_->Reached(CrashAt::kIntentCommit);
    if (contents.resolution) point_->Reached(CrashAt::kSettleCommit);
    if (contents.recovery) point_->Reached(CrashAt::kRecovery);
    const store::AppendOutcome outcome = journal_->Append(batch);
    if (outcome != store::AppendOutcome::kDurable) return outcome;
    if (contents.checkpoint) point_->Reached(CrashAt::kCheckpoint);
    if (contents.extension) point_->Reached(CrashAt::kExtended);
    if (contents.resolution) point_->Reached(CrashAt::kCommitted);
    if (contents.recovery) point_->Reached(CrashAt::kRecovered);
    return outcome;
  }
  Result<void> ReadAll(const Visit& visit) override { return journal_->ReadAll(visit); }
  Result<store::JournalSlice> ReadSome(std::uint64_t after, std::size_t bytes_max) override {
    return journal_->ReadSome(after, bytes_max);
  }
  std::string last_problem() const override { return journal_->last_problem(); }
  store::JournalTail Tail() const override { return journal_->Tail(); }

 private:
  std::unique_ptr<store::Journal> journal_;
  std::shared_ptr<CrashPoint> point_;
};

class CrashCredit final : public gateway::Credit {
 public:
  CrashCredit(CrashPoint& point, gateway::Credit& credit) : point_(point), credit_(credit) {}

  gateway::AdmitReply Admit(const gateway::AdmitCommand& command) override {
    gateway::AdmitReply reply = credit_.Admit(command);
    if (reply.refusal == Refusal::kNone) admitted_ = reply.position;
    if (point_.wants(CrashAt::kUnkept) && reply.refusal == Refusal::kNone && !reply.replay &&
        command.idempotency) {
      keyed_.insert(command.request);
    }
    return reply;
  }
  gateway::RateViews Peek(const KeyId& key, const config::KeyLimits& limits) override {
    return credit_.Peek(key, limits);
  }
  gateway::SettleReply Settle(const gateway::SettleCommand& command) override {
    if (command.usage.source == UsageSource::kProvider) point_.Reached(CrashAt::kUsageRead);
    gateway::SettleReply reply = credit_.Settle(command);
    if (keyed_.erase(command.request) > 0 && command.usage.source == UsageSource::kProvider) {
      settlements_.insert(reply.position);
    }
    return reply;
  }
  void Checkpoint(const gateway::CheckpointCommand& command) override {
    credit_.Checkpoint(command);
  }
  gateway::ExtendReply Extend(const gateway::ExtendCommand& command) override {
    return credit_.Extend(command);
  }
  gateway::GrantReply Give(const ledger::GrantRecord& grant) override {
    return credit_.Give(grant);
  }
  std::optional<gateway::WalletView> Wallet(const gateway::WalletId& id) override {
    return credit_.Wallet(id);
  }
  std::optional<gateway::KeyStanding> Standing(const KeyId& key) override {
    return credit_.Standing(key);
  }
  Task<bool> Durable(gateway::JournalPosition position) override {
    return settlements_.erase(position) > 0 ? DurableUnkept(position) : credit_.Durable(position);
  }

  // The last admission of this worker: everything before it is on disk when it is.
  gateway::JournalPosition admitted() const { return admitted_; }

 private:
  Task<bool> DurableUnkept(gateway::JournalPosition position) {
    const bool durable = co_await credit_.Durable(position);
    if (durable) point_.Reached(CrashAt::kUnkept);
    co_return durable;
  }

  CrashPoint& point_;
  gateway::Credit& credit_;
  gateway::JournalPosition admitted_;
  std::set<RequestId> keyed_;  // open, with an Idempotency-Key
  std::set<gateway::JournalPosition> settlements_;
};

class CrashUpstreams final : public gateway::Upstreams {
 public:
  CrashUpstreams(CrashPoint& point, gateway::Upstreams& upstreams, CrashCredit& credit)
      : point_(point), upstreams_(upstreams), credit_(credit) {}

  Task<Result<std::unique_ptr<gateway::UpstreamReply>>> Send(
      gateway::UpstreamRequest request, gateway::Interrupt& interrupt) override {
    const gateway::JournalPosition admitted = credit_.admitted();
    if (point_.wants(CrashAt::kIntentDurable) && co_await credit_.Durable(admitted)) {
      point_.Reached(CrashAt::kIntentDurable);
    }
    auto reply = co_await upstreams_.Send(std::move(request), interrupt);
    if (reply && point_.wants(CrashAt::kDispatched) && co_await credit_.Durable(admitted)) {
      point_.Reached(CrashAt::kDispatched);
    }
    co_return reply;
  }

 private:
  CrashPoint& point_;
  gateway::Upstreams& upstreams_;
  CrashCredit& credit_;
};

class CrashDownstream final : public gateway::Downstream {
 public:
  CrashDownstream(CrashPoint& point, gateway::Downstream& caller)
      : point_(point), caller_(caller) {}

  Task<Result<std::string_view>> ReadBody(std::int64_t bytes_max) override {
    return caller_.ReadBody(bytes_max);
  }
  Task<bool> Reply(gateway::ReplyHead head, std::string_view body) override {
    const bool served = head.status == 200;
    if (served) point_.Reached(CrashAt::kSettled);
    const bool sent = co_await caller_.Reply(std::move(head), body);
    if (served && sent) point_.Reached(CrashAt::kFinalByte);
    co_return sent;
  }
  void Start(gateway::ReplyHead head) override { caller_.Start(std::move(head)); }
  Task<bool> Send(std::string_view bytes) override { return caller_.Send(bytes); }
  Task<bool> End(std::string_view last_bytes) override {
    point_.Reached(CrashAt::kSettled);
    const bool sent = co_await caller_.End(last_bytes);
    if (sent) point_.Reached(CrashAt::kFinalByte);
    co_return sent;
  }
  void Cut() override { caller_.Cut(); }
  bool started() const override { return caller_.started(); }
  void WatchHangUp(gateway::Interrupt& interrupt) override { caller_.WatchHangUp(interrupt); }

 private:
  CrashPoint& point_;
  gateway::Downstream& caller_;
};

class CrashHandler final : public net::HttpHandler {
 public:
  CrashHandler(CrashPoint& point, net::HttpHandler& handler) : point_(point), handler_(handler) {}

  Task<void> Handle(const gateway::RequestHead& head, gateway::Downstream& downstream,
                    Tick started_at) override {
    // Pages about the program and lists of models settle nothing.
    if (head.method == "GET" || head.method == "HEAD") {
      co_return co_await handler_.Handle(head, downstream, started_at);
    }
    CrashDownstream watched(point_, downstream);
    co_await handler_.Handle(head, watched, started_at);
  }
  std::string BadRequestBody(int status, std::string_view reason) override {
    return handler_.BadRequestBody(status, reason);
  }

 private:
  CrashPoint& point_;
  net::HttpHandler& handler_;
};

}  // namespace

std::optional<CrashPlan> ParseCrashPlan(std::string_view text) {
  CrashPlan plan;
  const std::size_t colon = text.find(':');
  const std::string_view name = text.substr(0, colon);
  if (colon != std::string_view::npos) {
    const std::string_view digits = text.substr(colon + 1);
    const char* end = digits.data() + digits.size();
    const auto [stop, error] = std::from_chars(digits.data(), end, plan.nth);
    if (error != std::errc() || stop != end || plan.nth < 1) return std::nullopt;
  }
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] != name) continue;
    plan.at = static_cast<CrashAt>(i);
    return plan;
  }
  return std::nullopt;
}

void CrashPoint::Reached(CrashAt at) {
  if (at != plan_.at || left_.fetch_sub(1) != 1) return;
  ::kill(::getpid(), SIGKILL);
  while (true) ::pause();  // the signal may reach another thread first
}

std::unique_ptr<store::Journal> WithCrashPoint(std::unique_ptr<store::Journal> journal,
                                               std::shared_ptr<CrashPoint> point) {
  return std::make_unique<CrashJournal>(std::move(journal), std::move(point));
}

struct CrashPorts::Parts {
  Parts(std::shared_ptr<CrashPoint> at, gateway::Upstreams& upstreams_in,
        gateway::Credit& credit_in)
      : point(std::move(at)), credit(*point, credit_in), upstreams(*point, upstreams_in, credit) {}
  std::shared_ptr<CrashPoint> point;
  CrashCredit credit;
  CrashUpstreams upstreams;
  std::optional<CrashHandler> handler;
};

CrashPorts::CrashPorts(std::shared_ptr<CrashPoint> point, gateway::Upstreams& upstreams,
                       gateway::Credit& credit)
    : parts_(std::make_unique<Parts>(std::move(point), upstreams, credit)) {}
CrashPorts::~CrashPorts() = default;

gateway::Upstreams& CrashPorts::upstreams() { return parts_->upstreams; }
gateway::Credit& CrashPorts::credit() { return parts_->credit; }

net::HttpHandler& CrashPorts::Wrap(net::HttpHandler& handler) {
  return parts_->handler.emplace(*parts_->point, handler);
}

}  // namespace weir::server
