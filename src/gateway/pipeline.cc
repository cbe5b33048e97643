#include "gateway/pipeline.h"

#include "base/check.h"

namespace weir::gateway {
namespace {

// An admission must be settled on every path, also on one that a later change forgets. A ticket
// that is dropped unsettled gives the hold back and is a broken invariant where tests run.
class Ticket {
 public:
  Ticket(Exchange& x, Credit& credit) : x_(x), credit_(credit) { x_.admitted = true; }
  Ticket(const Ticket&) = delete;
  Ticket& operator=(const Ticket&) = delete;
  ~Ticket() {
    if (!x_.admitted) return;
    credit_.Settle({.request = x_.id, .usage = {}, .charge = false});
    x_.admitted = false;
  }
  void Settle(const SettleCommand& command) {
    x_.settlement = credit_.Settle(command);
    x_.admitted = false;
  }

 private:
  Exchange& x_;
  Credit& credit_;
};

// The same for an account's slot.
class Slot {
 public:
  Slot(Attempt& attempt, Accounts& accounts) : attempt_(attempt), accounts_(accounts) {}
  Slot(const Slot&) = delete;
  Slot& operator=(const Slot&) = delete;
  ~Slot() { accounts_.Release(attempt_.lease, attempt_.report); }

 private:
  Attempt& attempt_;
  Accounts& accounts_;
};

Task<void> ReplyJson(Exchange& x, std::string body, Ports& ports, Runtime& runtime) {
  x.status = 200;
  NoteLimits(x, ports);
  ReplyHead head;
  head.headers = CommonHeaders(x, runtime.WallNow());
  const bool sent = co_await ports.downstream.Reply(std::move(head), body);
  x.ending = sent ? EndingKind::kServed : EndingKind::kCallerGone;
}

}  // namespace

RefusalReason ExplainBody(const Error& error) {
  switch (error.code) {
    case ErrorCode::kTooLarge:
      return {.refusal = Refusal::kBodyTooLarge};
    case ErrorCode::kTimeout:
      return {.refusal = Refusal::kRequestTimeout};
    case ErrorCode::kInterrupted:
      return {.refusal = Refusal::kDraining};
    default:
      return {.refusal = Refusal::kInvalidRequest, .message = error.detail};
  }
}

Task<void> Serve(Exchange& x, Ports& ports, Runtime& runtime) {
  // accept: a path and a method that exist
  std::string_view allow;
  const auto operation = FindOperation(*x.head, allow);
  if (!operation) {
    co_return co_await Refuse(x, {.refusal = operation.error(), .allow = allow}, ports, runtime);
  }
  x.operation = *operation;

  // authenticate: who is it
  auto principal = Authenticate(*x.snapshot, *x.head, x.operation, x.started_at);
  if (!principal) co_return co_await Refuse(x, principal.error(), ports, runtime);
  x.principal = std::move(*principal);
  const identity::KeyRecord& key = *x.principal->key;

  if (x.operation.kind == OperationKind::kListModels) {
    co_return co_await ReplyJson(x, ListModels(x.config(), key), ports, runtime);
  }
  if (x.operation.kind == OperationKind::kGetModel) {
    auto model = GetModel(x.config(), key, x.operation.model);
    if (!model) co_return co_await Refuse(x, model.error(), ports, runtime);
    co_return co_await ReplyJson(x, std::move(*model), ports, runtime);
  }

  if (x.operation.kind == OperationKind::kGetRequest) {
    auto receipt = co_await FindReceipt(x, ports);
    if (!receipt) co_return co_await Refuse(x, receipt.error(), ports, runtime);
    co_return co_await ReplyJson(x, std::move(*receipt), ports, runtime);
  }

  if (x.operation.kind == OperationKind::kBalance) {
    co_return co_await ReplyJson(x, Balance(x, ports.credit), ports, runtime);
  }
  if (x.operation.kind == OperationKind::kStatement || x.operation.kind == OperationKind::kRedeem) {
    const bool redeem = x.operation.kind == OperationKind::kRedeem;
    auto answer = redeem ? co_await Redeem(x, ports) : co_await Statement(x, ports);
    if (!answer) co_return co_await Refuse(x, answer.error(), ports, runtime);
    co_return co_await ReplyJson(x, std::move(*answer), ports, runtime);
  }

  if (x.operation.kind == OperationKind::kAskApproval ||
      x.operation.kind == OperationKind::kGetApproval) {
    const bool asks = x.operation.kind == OperationKind::kAskApproval;
    auto answer = asks ? co_await AskApproval(x, ports) : co_await FindApproval(x, ports);
    if (!answer) co_return co_await Refuse(x, answer.error(), ports, runtime);
    co_return co_await ReplyJson(x, std::move(*answer), ports, runtime);
  }
  if (x.operation.kind == OperationKind::kLimits) {
    auto limits = Limits(x, ports.credit);
    if (!limits) co_return co_await Refuse(x, limits.error(), ports, runtime);
    co_return co_await ReplyJson(x, std::move(*limits), ports, runtime);
  }
  if (x.operation.kind == OperationKind::kGetAction ||
      x.operation.kind == OperationKind::kTellOutcome) {
    const bool tells = x.operation.kind == OperationKind::kTellOutcome;
    auto answer = tells ? co_await TellOutcome(x, ports) : co_await FindAction(x, ports);
    if (!answer) co_return co_await Refuse(x, answer.error(), ports, runtime);
    co_return co_await ReplyJson(x, std::move(*answer), ports, runtime);
  }

  // resolve: what do they want, what can it cost
  if (auto fault = ReadMetadata(x)) co_return co_await Refuse(x, *std::move(fault), ports, runtime);
  const auto body = co_await ports.downstream.ReadBody(x.config().caller_limits.body_bytes_max);
  if (!body) co_return co_await Refuse(x, ExplainBody(body.error()), ports, runtime);
  if (auto fault = ReadIdempotency(x, *body)) {
    co_return co_await Refuse(x, *std::move(fault), ports, runtime);
  }
  auto plan = ResolveAdapted(x, *body);
  if (!plan) co_return co_await Refuse(x, plan.error(), ports, runtime);
  x.plan = std::move(*plan);
  PlanRouting(x);
  Relieve(x, ports.accounts);

  // admit: limits, policies and one hold over all of it, all or none. A policy may send it to a
  // lesser model instead of refusing it, which then meets policies of its own.
  do {
    if (auto fault = MeetPolicies(x)) {
      co_return co_await Refuse(x, *std::move(fault), ports, runtime);
    }
    x.admission = ports.credit.Admit(MakeAdmit(x));
  } while (DegradedByPolicy(x));
  if (x.admission.refusal != Refusal::kNone) {
    co_return co_await Refuse(x, ExplainRefusal(x.admission, x), ports, runtime);
  }
  if (x.admission.replay) co_return co_await SendAgain(x, ports, runtime);
  Ticket ticket(x, ports.credit);
  ApplyGrant(x);

  // route, forward: one account after the other, never after a byte has reached the caller. With
  // drain_and_bill the upstream finishes whatever the caller does; a drain of ours still ends it.
  ports.downstream.WatchHangUp(x.interrupt);
  while (co_await NextAccount(x, ports, runtime)) {
    const Slot slot(x.attempts.back(), ports.accounts);
    if (x.hang_up_rule() == config::HangUpRule::kDrainAndBill) x.interrupt.IgnoreCaller();
    co_await Forward(x, ports, runtime);
    if (!MayTryAnother(x, ports.downstream) && !LeaveOutUnsupported(x)) break;
  }

  // meter, settle: Forward left in x what was used; the charge is on disk before the reply ends
  ticket.Settle(MakeSettle(x));
  co_await Finish(x, ports, runtime);
}

}  // namespace weir::gateway
