#include "sim/hosts.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "ledger/record.h"

namespace weir::sim {
namespace {

// As server/credit_host has them.
constexpr Duration kCommitInterval = Microseconds(300);
constexpr Duration kIntentDelay = Milliseconds(2);
constexpr Duration kCheckpointDelay = Milliseconds(200);
constexpr Duration kRetryInterval = Milliseconds(100);
// Small, so that a slow or full disk reaches it.
constexpr std::size_t kQueueBytesMax = 4096;

}  // namespace

// ---- credit -------------------------------------------------------------------------------------

struct CreditHost::Waiter {
  Waiter(CreditHost& host, std::uint64_t position)
      : host(host), position(position), wait(host.executor_) {
    host.waiters_.push_back(this);
  }
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;
  ~Waiter() { std::erase(host.waiters_, this); }

  CreditHost& host;
  std::uint64_t position;
  Wait wait;
  bool durable = false;
};

CreditHost::CreditHost(Executor& executor, Disk& disk, Auditor& auditor, std::uint64_t seed,
                       Options options)
    : executor_(executor),
      disk_(disk),
      auditor_(auditor),
      draw_(seed),
      options_(std::move(options)),
      machine_(std::make_unique<gateway::CreditControl>()),
      timer_(executor) {}

CreditHost::~CreditHost() { CHECK(waiters_.empty(), "whoever waits here is gone before it is"); }

bool CreditHost::Start(bool cut_off) {
  std::vector<ledger::Record> records;
  const auto read =
      disk_.ReadAll([&](const store::JournalBatch& batch) -> std::optional<std::string> {
        std::span<const std::uint8_t> bytes = batch.records;
        for (std::uint32_t i = 0; i < batch.count; ++i) {
          auto record = ledger::Decode(bytes);
          if (!record) return std::string(Name(record.error()));
          records.push_back(*std::move(record));
        }
        return std::nullopt;
      });
  if (!read) {
    auditor_.Report("replay", read.error().detail);
    return true;
  }
  const auto resolved_later = [&](const RequestId& id) {
    return std::ranges::any_of(records, [&](const ledger::Record& record) {
      const auto* settle = std::get_if<ledger::SettleRecord>(&record);
      const auto* voided = std::get_if<ledger::VoidRecord>(&record);
      return (settle != nullptr && settle->request == id) ||
             (voided != nullptr && voided->request == id);
    });
  };
  for (const ledger::Record& record : records) {
    if (options_.canary == Canary::kForgetHold) {
      const auto* intent = std::get_if<ledger::IntentRecord>(&record);
      const auto* note = std::get_if<ledger::CheckpointRecord>(&record);
      if ((intent != nullptr && !resolved_later(intent->request)) ||
          (note != nullptr && !resolved_later(note->request))) {
        continue;
      }
    }
    ledger::Record told = record;
    SpoilReplay(told);
    if (const auto problem = machine_->Replay(told)) {
      auditor_.Report("replay", *problem);
      return true;
    }
  }
  auditor_.OnReplayed(*machine_);
  auditor_.OnAlerts(machine_->TakeAlerts());
  std::uint64_t first = machine_->last_position().n + 1;
  machine_->ResolveOpen(executor_.WallNow(), queue_);
  auditor_.OnResolved(queue_.bytes, *machine_);
  auditor_.OnAlerts(machine_->TakeAlerts());
  if (queue_.count > 0 && !cut_off) {
    const store::JournalBatch batch{
        .first_position = first, .count = queue_.count, .records = queue_.bytes};
    const store::AppendOutcome outcome = disk_.Append(batch);
    // Broken is a start that failed like any other: the next one looks at what is there.
    if (outcome != store::AppendOutcome::kDurable) return false;
  }
  first += queue_.count;
  queue_.Clear();
  queue_first_ = first;
  durable_ = first - 1;
  return true;
}

void CreditHost::Die() {
  dead_ = true;
  timer_.Cancel();
  if (!committing_) return;
  if (options_.canary == Canary::kTornBatch && batch_.count > 1) {
    std::span<const std::uint8_t> rest = batch_.bytes;
    CHECK(ledger::Decode(rest).has_value(), "what was encoded can be decoded");
    disk_.AppendHalfDone(
        {.first_position = batch_first_, .count = batch_.count - 1, .records = rest});
    return;
  }
  disk_.AppendHalfDone(
      {.first_position = batch_first_, .count = batch_.count, .records = batch_.bytes});
}

// Plants the canaries that change what a start is told.
void CreditHost::SpoilReplay(ledger::Record& record) const {
  auto* const intent = std::get_if<ledger::IntentRecord>(&record);
  auto* const settle = std::get_if<ledger::SettleRecord>(&record);
  if (options_.canary == Canary::kForgetKey && intent != nullptr) intent->idempotency.reset();
  if (options_.canary == Canary::kForgetUse && settle != nullptr) settle->quotas.clear();
}

// Plants the canaries that change what is written. `from`: where the command's records begin.
void CreditHost::SpoilRecords(std::size_t from) {
  const bool above = options_.canary == Canary::kChargeAbove;
  const bool twice = options_.canary == Canary::kReleaseTwice;
  const bool credit = options_.canary == Canary::kCreditTwice;
  const bool tell = options_.canary == Canary::kTellTwice;
  if (!above && !twice && !credit && !tell) return;
  std::span<const std::uint8_t> bytes = std::span(queue_.bytes).subspan(from);
  ledger::RecordBuffer spoiled;
  while (!bytes.empty()) {
    auto record = ledger::Decode(bytes);
    CHECK(record.has_value(), "what was encoded can be decoded");
    if (auto* settle = std::get_if<ledger::SettleRecord>(&*record); above && settle != nullptr) {
      settle->charged = settle->charged + std::exchange(settle->overrun, NanoUsd{0});
    }
    if (auto* settle = std::get_if<ledger::SettleRecord>(&*record);
        credit && settle != nullptr && settle->wallet) {
      std::int64_t& charged = settle->wallet->charged.n;
      const std::int64_t released = admitted_[settle->request].wallet_held - charged;
      charged = std::max<std::int64_t>(charged - released, 0);
    }
    ledger::Encode(*record, spoiled);
    if ((twice && std::holds_alternative<ledger::VoidRecord>(*record)) ||
        (tell && std::holds_alternative<ledger::AlertRecord>(*record))) {
      ledger::Encode(*record, spoiled);
      ++queue_.count;
    }
  }
  queue_.bytes.resize(from);
  queue_.bytes.insert(queue_.bytes.end(), spoiled.bytes.begin(), spoiled.bytes.end());
}

gateway::AdmitReply CreditHost::Admit(const gateway::AdmitCommand& command) {
  gateway::AdmitReply reply;
  if (dead_ || !available_ || queue_.bytes.size() > kQueueBytesMax) {
    reply.refusal = Refusal::kLedgerUnavailable;
    reply.retry_after = Seconds(1);
    return reply;
  }
  const std::size_t from = queue_.bytes.size();
  gateway::AdmitCommand told = command;
  if (options_.canary == Canary::kStaleBudget) {
    const auto standing = machine_->Standing(command.key);
    if (standing && standing->requests_open > 0) told.limits.budget.reset();
  }
  if (options_.canary == Canary::kSkipPolicy && !command.quotas.empty()) {
    // Kept, because a request that grows asks by them.
    auto& kept = quotas_told_[command.request];
    kept.assign(command.quotas.begin(), command.quotas.end() - 1);
    told.quotas = kept;
  }
  reply = machine_->Admit(told, executor_.WallNow(), queue_);
  auditor_.OnAdmit(command, reply, std::span(queue_.bytes).subspan(from), *machine_);
  if (reply.refusal == Refusal::kNone && !reply.replay) {
    Later(kIntentDelay);
    if (options_.canary != Canary::kNone) {
      admitted_[command.request] = {command.key, command.wallet, reply.wallet_held.n};
    }
  }
  return reply;
}

gateway::RateViews CreditHost::Peek(const KeyId& key, const config::KeyLimits& limits) {
  auditor_.OnPeek();
  return machine_->Peek(key, limits, executor_.WallNow());
}

gateway::SettleReply CreditHost::Settle(const gateway::SettleCommand& command) {
  if (dead_) return {};
  const std::size_t from = queue_.bytes.size();
  const gateway::SettleReply reply = machine_->Settle(command, executor_.WallNow(), queue_);
  last_settlement_ = reply.position;
  SpoilRecords(from);
  auditor_.OnCommand(std::span(queue_.bytes).subspan(from), *machine_);
  auditor_.OnAlerts(machine_->TakeAlerts());
  Urge();
  return reply;
}

void CreditHost::Checkpoint(const gateway::CheckpointCommand& command) {
  if (dead_) return;
  const std::size_t from = queue_.bytes.size();
  machine_->Checkpoint(command, executor_.WallNow(), queue_);
  auditor_.OnCommand(std::span(queue_.bytes).subspan(from), *machine_);
  Later(kCheckpointDelay);
}

gateway::ExtendReply CreditHost::Extend(const gateway::ExtendCommand& command) {
  if (dead_) return {};
  const std::size_t from = queue_.bytes.size();
  gateway::ExtendReply reply = machine_->Extend(command, executor_.WallNow(), queue_);
  if (options_.canary == Canary::kExtendAbove && !reply.granted) PlantExtension(command, reply);
  auditor_.OnCommand(std::span(queue_.bytes).subspan(from), *machine_);
  if (reply.granted) Later(kCheckpointDelay);
  return reply;
}

// Holds a little more than there is: of the wallet, or else of the budget.
void CreditHost::PlantExtension(const gateway::ExtendCommand& command,
                                gateway::ExtendReply& reply) {
  const Admitted& admitted = admitted_[command.request];
  const auto standing = machine_->Standing(admitted.key);
  ledger::ExtendRecord record{.time = executor_.WallNow(),
                              .request = command.request,
                              .hold = {},
                              .output_tokens_bound = command.output_tokens,
                              .wallet = {}};
  if (admitted.wallet) {
    const auto view = machine_->ViewWallet(admitted.wallet->wallet, record.time);
    if (!view || view->grants.empty()) return;
    record.wallet = ledger::WalletHold{
        .wallet = admitted.wallet->wallet,
        .unit = admitted.wallet->rate.unit,
        .multiplier_ppm = admitted.wallet->rate.multiplier_ppm,
        .lines = {{view->grants.back().id, view->available + ledger::Amount{1}}}};
  } else if (standing && standing->budget) {
    record.hold = *standing->budget - standing->settled - standing->held + NanoUsd{1};
  }
  ledger::Encode(record, queue_);
  reply.granted = true;
  reply.output_tokens_held += command.output_tokens;
}

void CreditHost::Revoke(const gateway::GrantId& grant) {
  if (dead_) return;
  const std::size_t from = queue_.bytes.size();
  machine_->Revoke(grant, executor_.WallNow(), queue_);
  auditor_.OnCommand(std::span(queue_.bytes).subspan(from), *machine_);
  Urge();
}

void CreditHost::Sweep() {
  if (dead_) return;
  const std::size_t from = queue_.bytes.size();
  machine_->Sweep(executor_.WallNow(), queue_);
  auditor_.OnCommand(std::span(queue_.bytes).subspan(from), *machine_);
  Later(kCheckpointDelay);
}

gateway::GrantReply CreditHost::Give(const ledger::GrantRecord& grant) {
  if (dead_) return {};
  const std::size_t from = queue_.bytes.size();
  const gateway::GrantReply reply = machine_->Give(grant, executor_.WallNow(), queue_);
  auditor_.OnCommand(std::span(queue_.bytes).subspan(from), *machine_);
  Urge();
  return reply;
}

Task<bool> CreditHost::Durable(gateway::JournalPosition position) {
  if (dead_) co_return false;
  if (options_.canary == Canary::kAckEarly && position == last_settlement_) co_return true;
  if (position.n <= durable_) co_return true;
  if (!available_) co_return false;
  if (position.n >= queue_first_) Urge();
  Waiter waiter(*this, position.n);
  co_await waiter.wait;
  co_return waiter.durable;
}

// Somebody waits for what is queued.
void CreditHost::Urge() { Later({0}); }

// What is queued is written `delay` from now at the latest.
void CreditHost::Later(Duration delay) {
  due_ = std::min(due_, executor_.Now() + delay);
  if (committing_ || queue_.count == 0) return;
  timer_.Set(std::max(due_, begun_ + kCommitInterval), [this] { Begin(); });
}

void CreditHost::Begin() {
  begun_ = executor_.Now();
  due_ = kNoDeadline;
  batch_.Clear();
  std::swap(batch_, queue_);
  batch_first_ = std::exchange(queue_first_, queue_first_ + batch_.count);
  committing_ = true;
  timer_.Set(executor_.Now() + draw_.Pause(options_.commit_time), [this] { Write(); });
}

void CreditHost::Write() {
  const store::AppendOutcome outcome = disk_.Append(
      {.first_position = batch_first_, .count = batch_.count, .records = batch_.bytes});
  executor_.Note(static_cast<std::uint64_t>(outcome) << 56 | batch_first_);
  if (outcome == store::AppendOutcome::kBroken) {
    committing_ = false;   // the disk has decided already
    options_.on_broken();  // ends this life
    return;
  }
  if (outcome == store::AppendOutcome::kNoSpace) {
    available_ = false;
    WakeWaiters();
    timer_.Set(executor_.Now() + kRetryInterval, [this] { Write(); });
    return;
  }
  durable_ = batch_first_ + batch_.count - 1;
  available_ = true;
  committing_ = false;
  batch_.Clear();
  WakeWaiters();
  if (queue_.count > 0 && due_ != kNoDeadline) Later(due_ - executor_.Now());
}

void CreditHost::WakeWaiters() {
  std::vector<Waiter*> woken;
  for (Waiter* waiter : waiters_) {
    if (waiter->position <= durable_ || !available_) woken.push_back(waiter);
  }
  if (options_.canary == Canary::kLostWakeup && woken.size() > 1) woken.pop_back();
  for (Waiter* waiter : woken) {
    waiter->durable = waiter->position <= durable_;
    if (waiter->durable) auditor_.OnDurable(waiter->position);
    waiter->wait.WakeIn(draw_.Pause(Microseconds(100)));
  }
}

// ---- accounts -----------------------------------------------------------------------------------

struct AccountHost::Waiting final : gateway::Interrupt::Hook {
  explicit Waiting(AccountHost& host) : host(host), wait(host.executor_) {}
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;
  ~Waiting() { host.waits_.erase(ticket); }
  void OnInterrupt() override {
    // False: its grant is on the way, and is given back when it comes.
    if (!host.machine_.Leave(ticket, host.executor_.Now(), host.grants_)) return;
    host.waits_.erase(ticket);
    host.Deliver();
    reply = {};
    wait.Wake();
  }
  AccountHost& host;
  routing::TicketId ticket = 0;
  Wait wait;
  routing::AcquireReply reply;
};

AccountHost::AccountHost(Executor& executor, std::shared_ptr<const config::Config> config,
                         std::uint64_t seed)
    : executor_(executor),
      draw_(seed),
      machine_(config, seed),
      advance_(executor),
      resume_(executor) {
  Configure(std::move(config));
}

AccountHost::~AccountHost() { CHECK(waits_.empty(), "whoever waits here is gone before it is"); }

void AccountHost::Die() {
  dead_ = true;
  advance_.Cancel();
  resume_.Cancel();
}

void AccountHost::Configure(std::shared_ptr<const config::Config> config) {
  machine_.Configure(std::move(config), executor_.Now(), executor_.WallNow(), grants_);
  Deliver();
}

void AccountHost::ClearAll(const config::Config& config) {
  for (const config::Account& account : config.accounts) {
    machine_.Clear(account.id, executor_.Now(), grants_);
    Deliver();
  }
}

Task<routing::AcquireReply> AccountHost::Acquire(routing::AcquireCommand command,
                                                 gateway::Interrupt& interrupt) {
  using Kind = routing::AcquireReply::Kind;
  if (dead_ || interrupt.why() != gateway::Interruption::kNone) {
    co_return routing::AcquireReply{};
  }
  routing::AcquireReply first = machine_.Acquire(command, executor_.Now(), grants_);
  if (first.kind != Kind::kQueued) {
    Deliver();
    co_return first;
  }
  Waiting waiting(*this);
  waiting.ticket = first.ticket;
  waits_.emplace(first.ticket, &waiting);
  Deliver();
  interrupt.SetHook(&waiting);
  co_await waiting.wait;
  interrupt.SetHook(nullptr);
  routing::AcquireReply reply = std::move(waiting.reply);
  reply.position = first.position;
  if (interrupt.why() != gateway::Interruption::kNone && reply.kind == Kind::kGranted) {
    routing::Report nothing;
    nothing.outcome = routing::Outcome::kNothing;
    Release(reply.lease, nothing);
    co_return routing::AcquireReply{};
  }
  co_return reply;
}

void AccountHost::Deliver() {
  for (routing::Grant& grant : grants_) box_.push_back(std::move(grant));
  grants_.clear();
  if (!box_.empty() && !std::exchange(notified_, true)) {
    resume_.Set(executor_.Now() + draw_.Pause(Microseconds(200)), [this] { Resume(); });
  }
  const Tick due = machine_.NextDue();
  if (due == kNoDeadline) {
    advance_.Cancel();
  } else {
    advance_.Set(due, [this] {
      machine_.Advance(executor_.Now(), grants_);
      Deliver();
    });
  }
}

void AccountHost::Resume() {
  notified_ = false;
  for (routing::Grant& grant : std::exchange(box_, {})) {
    const auto found = waits_.find(grant.ticket);
    CHECK(found != waits_.end(), "who waits is known until its wait ends");
    Waiting& waiting = *found->second;
    waits_.erase(found);
    waiting.reply = std::move(grant.reply);
    waiting.wait.Wake();
  }
}

void AccountHost::NoteAlive(const routing::Lease& lease, Duration first_content) {
  if (dead_) return;
  machine_.NoteAlive(lease, first_content, executor_.Now(), grants_);
  Deliver();
}

void AccountHost::Release(const routing::Lease& lease, const routing::Report& report) {
  if (dead_) return;
  machine_.Release(lease, report, executor_.Now(), grants_);
  Deliver();
}

std::int64_t AccountHost::Pressure(std::uint32_t package) {
  return machine_.Pressure(package, executor_.Now());
}

}  // namespace weir::sim
