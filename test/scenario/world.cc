#include "scenario/world.h"

namespace weir::scenario {
namespace {

class ScriptedReplyReader final : public gateway::UpstreamReply, gateway::Interrupt::Hook {
 public:
  ScriptedReplyReader(ScriptedUpstreams::Account& account, ScriptedReply script,
                      gateway::Interrupt& interrupt)
      : account_(account), script_(std::move(script)), interrupt_(interrupt) {
    for (const auto& [name, value] : script_.headers) views_.push_back({name, value});
    ++account_.open;
    interrupt_.SetHook(this);
  }
  ~ScriptedReplyReader() override {
    --account_.open;
    interrupt_.SetHook(nullptr);
  }
  int status() const override { return script_.status; }
  const std::vector<gateway::HeaderView>& headers() const override { return views_; }
  std::string_view Find(std::string_view lower_name) const override {
    for (const auto& header : views_) {
      if (gateway::EqualsIgnoreCase(header.name, lower_name)) return header.value;
    }
    return {};
  }
  Task<Result<std::string_view>> Read(Duration) override {
    while (true) {
      if (interrupt_.why() != gateway::Interruption::kNone) {
        co_return Fail(ErrorCode::kInterrupted, ErrorSource::kCaller, "interrupted");
      }
      if (next_ == script_.pieces.size()) co_return std::string_view();
      const std::string& piece = script_.pieces[next_++];
      if (piece == "@cut") {
        co_return Fail(ErrorCode::kConnectionLost, ErrorSource::kUpstream, "cut", Retry::kOther);
      }
      if (piece == "@idle") {
        co_return Fail(ErrorCode::kTimeout, ErrorSource::kUpstream, "idle", Retry::kOther);
      }
      if (piece != "@wait") co_return std::string_view(piece);
      waiting_ = true;
      co_await account_.resume;
      waiting_ = false;
    }
  }

 private:
  void OnInterrupt() override {
    if (waiting_) account_.resume.Set();
  }
  ScriptedUpstreams::Account& account_;
  ScriptedReply script_;
  gateway::Interrupt& interrupt_;
  std::vector<gateway::HeaderView> views_;
  std::size_t next_ = 0;
  bool waiting_ = false;
};

}  // namespace

Task<Result<std::unique_ptr<gateway::UpstreamReply>>> ScriptedUpstreams::Send(
    gateway::UpstreamRequest request, gateway::Interrupt& interrupt) {
  Account& account = accounts[request.account->id];
  UpstreamCallSeen seen{request.target, request.headers, {}};
  for (const auto piece : request.body) seen.body.append(piece);
  account.calls.push_back(std::move(seen));
  if (account.script.empty() && account.always) account.script.push_back(*account.always);
  if (account.script.empty()) {
    co_return Fail(ErrorCode::kConnectFailed, ErrorSource::kUpstream, "nothing scripted",
                   Retry::kOther);
  }
  ScriptedReply script = std::move(account.script.front());
  account.script.pop_front();
  if (script.hangs) {
    // No head until the script resumes it; an interrupt ends the wait.
    struct Hook final : gateway::Interrupt::Hook {
      explicit Hook(Signal& signal) : signal(signal) {}
      void OnInterrupt() override { signal.Set(); }
      Signal& signal;
    };
    Hook hook(account.resume);
    interrupt.SetHook(&hook);
    co_await account.resume;
    interrupt.SetHook(nullptr);
    if (interrupt.why() != gateway::Interruption::kNone) {
      co_return Fail(ErrorCode::kInterrupted, ErrorSource::kCaller, "interrupted");
    }
  }
  if (script.fail) {
    co_return Fail(*script.fail, ErrorSource::kUpstream, "scripted failure", Retry::kOther);
  }
  co_return std::make_unique<ScriptedReplyReader>(account, std::move(script), interrupt);
}

struct ScriptedAccounts::Wait final : gateway::Interrupt::Hook {
  void OnInterrupt() override {
    if (!accounts->machine->Leave(ticket, accounts->runtime_.Now(), accounts->grants_)) return;
    accounts->waits_.erase(ticket);
    accounts->Deliver();
    ended.Set();
  }
  ScriptedAccounts* accounts = nullptr;
  routing::TicketId ticket = 0;
  Signal ended;
  routing::AcquireReply reply;
};

Task<routing::AcquireReply> ScriptedAccounts::Acquire(routing::AcquireCommand command,
                                                      gateway::Interrupt& interrupt) {
  auto first = machine->Acquire(command, runtime_.Now(), grants_);
  Wait wait;
  wait.accounts = this;
  wait.ticket = first.ticket;
  if (first.kind == routing::AcquireReply::Kind::kQueued) waits_[first.ticket] = &wait;
  Deliver();
  if (first.kind != routing::AcquireReply::Kind::kQueued) co_return first;
  interrupt.SetHook(&wait);
  co_await wait.ended;
  interrupt.SetHook(nullptr);
  wait.reply.position = first.position;
  co_return wait.reply;
}

void ScriptedAccounts::Deliver() {
  for (routing::Grant& grant : std::exchange(grants_, {})) {
    const auto found = waits_.find(grant.ticket);
    Wait& wait = *found->second;
    waits_.erase(found);
    wait.reply = std::move(grant.reply);
    wait.ended.Set();
  }
}

void ScriptedAccounts::NoteAlive(const routing::Lease& lease, Duration first_content) {
  machine->NoteAlive(lease, first_content, runtime_.Now(), grants_);
  Deliver();
}

void ScriptedAccounts::Release(const routing::Lease& lease, const routing::Report& report) {
  machine->Release(lease, report, runtime_.Now(), grants_);
  Deliver();
}

std::int64_t ScriptedAccounts::Pressure(std::uint32_t package) {
  return machine->Pressure(package, runtime_.Now());
}

void ScriptedAccounts::Configure(std::shared_ptr<const config::Config> config) {
  if (!machine) machine = std::make_unique<routing::AccountPool>(config, 1);
  machine->Configure(std::move(config), runtime_.Now(), runtime_.now, grants_);
  Deliver();
}

void ScriptedAccounts::Advance() {
  if (!machine) return;
  machine->Advance(runtime_.Now(), grants_);
  Deliver();
}

gateway::AdmitReply ScriptedCredit::Admit(const gateway::AdmitCommand& command) {
  records_ = {};
  return machine.Admit(command, runtime_.now, records_);
}

gateway::SettleReply ScriptedCredit::Settle(const gateway::SettleCommand& command) {
  records_ = {};
  return machine.Settle(command, runtime_.now, records_);
}

void ScriptedCredit::Checkpoint(const gateway::CheckpointCommand& command) {
  ++checkpoints;
  records_ = {};
  machine.Checkpoint(command, runtime_.now, records_);
}

Task<bool> ScriptedCredit::Durable(gateway::JournalPosition) {
  if (journal == Journal::kHeld) {
    Signal written;
    waiters_.push_back(&written);
    co_await written;
  }
  co_return journal != Journal::kFull;
}

void ScriptedCredit::Flush() {
  for (Signal* waiter : std::exchange(waiters_, {})) waiter->Set();
}

Task<Result<std::string_view>> Caller::ReadBody(std::int64_t bytes_max) {
  if (static_cast<std::int64_t>(body.size()) > bytes_max) {
    co_return Fail(ErrorCode::kTooLarge, ErrorSource::kCaller, "too large");
  }
  co_return std::string_view(body);
}

Task<bool> Caller::Reply(gateway::ReplyHead reply, std::string_view bytes) {
  if (gone_) co_return false;
  Start(std::move(reply));
  co_return co_await End(bytes);
}

void Caller::Start(gateway::ReplyHead reply) {
  status = reply.status;
  reply_headers = "content-type: " + std::string(reply.content_type) + "\r\n" + reply.headers;
}

Task<bool> Caller::Send(std::string_view bytes) {
  if (gone_) co_return false;
  started_ = true;
  received.append(bytes);
  writes.emplace_back(bytes);
  co_return true;
}

Task<bool> Caller::End(std::string_view last_bytes) {
  complete = co_await Send(last_bytes);
  co_return complete;
}

void Caller::HangUp() {
  gone_ = true;
  if (interrupt_ != nullptr) interrupt_->Fire(gateway::Interruption::kCallerGone);
}

void Caller::Interrupt(gateway::Interruption why) {
  if (interrupt_ != nullptr) interrupt_->Fire(why);
}

}  // namespace weir::scenario
