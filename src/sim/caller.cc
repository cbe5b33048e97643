#include "sim/caller.h"

#include <charconv>

namespace weir::sim {

SimCaller::SimCaller(Executor& executor, Auditor& auditor, CallTruth& truth, CallerPlan plan,
                     std::string_view body, Duration write_stall, std::uint64_t seed)
    : executor_(executor),
      auditor_(auditor),
      truth_(truth),
      plan_(plan),
      body_(body),
      write_stall_(write_stall),
      draw_(seed),
      hang_up_(executor) {
  if (plan_.hangs_up_after) {
    hang_up_.Set(executor_.Now() + *plan_.hangs_up_after, [this] { HangUp(); });
  }
}

void SimCaller::HangUp() {
  if (gone_) return;
  gone_ = true;
  truth_.hung_up = true;
  if (waiting_ != nullptr) waiting_->Wake();
  if (interrupt_ != nullptr) interrupt_->Fire(gateway::Interruption::kCallerGone);
}

void SimCaller::Drain() {
  if (interrupt_ != nullptr) {
    interrupt_->Fire(gateway::Interruption::kDrain);
    return;
  }
  HangUp();
}

void SimCaller::WatchHangUp(gateway::Interrupt& interrupt) {
  interrupt_ = &interrupt;
  if (gone_) interrupt.Fire(gateway::Interruption::kCallerGone);
}

Task<Result<std::string_view>> SimCaller::ReadBody(std::int64_t bytes_max) {
  if (!gone_ && plan_.body_after.ns > 0) {
    Wait wait(executor_);
    waiting_ = &wait;
    wait.WakeIn(plan_.body_after);
    co_await wait;
    waiting_ = nullptr;
  }
  if (plan_.body_fails == ErrorCode::kConnectionLost) HangUp();
  if (gone_) co_return Fail(ErrorCode::kConnectionLost, ErrorSource::kCaller, "the caller left");
  if (plan_.body_fails) co_return Fail(*plan_.body_fails, ErrorSource::kCaller, "simulated");
  if (static_cast<std::int64_t>(body_.size()) > bytes_max) {
    co_return Fail(ErrorCode::kTooLarge, ErrorSource::kCaller, "too large");
  }
  co_return body_;
}

void SimCaller::Start(gateway::ReplyHead head) {
  truth_.status = head.status;
  const auto figure = [&](std::string_view name) -> std::optional<std::int64_t> {
    const auto at = head.headers.find(name);
    if (at == std::string::npos) return std::nullopt;
    std::int64_t value = 0;
    const char* const begin = head.headers.data() + at + name.size();
    std::from_chars(begin, head.headers.data() + head.headers.size(), value);
    return value;
  };
  if (const auto charged = figure("x-weir-charged-nano-usd: ")) {
    truth_.told_charge = NanoUsd{*charged};
  }
  truth_.told_wallet = figure("x-weir-wallet-charged-quota-tokens: ");
  if (!truth_.told_wallet) truth_.told_wallet = figure("x-weir-wallet-charged-nano-usd: ");
}

Task<bool> SimCaller::Reply(gateway::ReplyHead head, std::string_view body) {
  if (gone_) co_return false;
  Start(std::move(head));
  co_return co_await Write(body, true);
}

Task<bool> SimCaller::Send(std::string_view bytes) { co_return co_await Write(bytes, false); }

Task<bool> SimCaller::End(std::string_view last_bytes) {
  co_return co_await Write(last_bytes, true);
}

Task<bool> SimCaller::Write(std::string_view bytes, bool end) {
  if (gone_) co_return false;
  started_ = true;
  auditor_.OnHandOver(truth_, bytes, end);
  const Duration pause = plan_.deaf ? write_stall_ : draw_.Pause(plan_.reads_after);
  if (pause.ns > 0) {
    Wait wait(executor_);
    waiting_ = &wait;
    wait.WakeIn(pause);
    co_await wait;
    waiting_ = nullptr;
    if (plan_.deaf && !gone_) {
      gone_ = true;
      truth_.hung_up = true;
    }
  }
  co_return !gone_;
}

}  // namespace weir::sim
