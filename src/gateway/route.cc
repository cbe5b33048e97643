// route: an account for the next attempt, now or after a wait in the queue.
#include <algorithm>
#include <string_view>

#include "gateway/pipeline.h"

namespace weir::gateway {
namespace {

// Input that counts as one more call in the queue's fairness.
constexpr std::int64_t kTokensPerTurn = 16'384;

// The first signal that names the session. Headers before the body, as agents set them on purpose;
// the order is that of gateways whose users rely on it.
std::string_view SessionSignal(const Exchange& x) {
  for (const std::string_view name :
       {"session_id", "x-session-id", "session-id", "x-session-affinity"}) {
    const std::string_view value = x.head->Find(name);
    if (!value.empty()) return value;
  }
  const dialect::RequestShape& shape = x.plan.shape;
  for (const std::string* value :
       {&shape.session_id, &shape.conversation_id, &shape.prompt_cache_key}) {
    if (!value->empty()) return *value;
  }
  return {};
}

bool IsLimit(const Attempt& attempt) {
  return attempt.failure == dialect::FailureClass::kBurst ||
         attempt.failure == dialect::FailureClass::kWindowExhausted;
}

// Whether policies allow one more attempt after `made` of them. What it may cost counts before it
// is made, so that a budget for fallbacks is never passed.
bool WithinPolicies(const Exchange& x, std::int64_t made) {
  const policy::RecoveryLeft& left = x.admission.recovery;
  if (left.attempts && made >= *left.attempts) return false;
  if (left.fallback_attempts && made > *left.fallback_attempts) return false;
  if (left.fallback_spend) {
    const std::int64_t percent = x.config().fallback.spend_percent;
    const NanoUsd wanted =
        ledger::Saturated(static_cast<ledger::Sum>(x.admission.held.n) * percent / 100);
    const NanoUsd granted = std::min(*left.fallback_spend, wanted);
    if (FallbackSpend(x) + x.admission.held > granted) return false;
  }
  return true;
}

// Whether the request may go on after what it met. What fails at ten accounts is not the accounts'
// fault, unless all of them were at a limit, which the next may not be and which passes. And what
// may be billed although it failed is the operator's loss: it is bounded by the request's own hold.
bool WithinFallback(const Exchange& x) {
  const config::Fallback& fallback = x.config().fallback;
  const auto made = static_cast<std::int64_t>(x.attempts.size());
  if (made == 0) return true;
  const std::int64_t rounds = std::ranges::all_of(x.attempts, IsLimit) ? 2 : 1;
  const std::int64_t billed = std::ranges::count_if(x.attempts, &Attempt::may_be_billed);
  if (!WithinPolicies(x, made)) return false;
  return made < fallback.attempts * rounds &&
         (billed == 0 || billed * 100 < fallback.spend_percent);
}

// 0 for no text.
std::uint64_t HashIn(std::string_view text, std::uint64_t scope) {
  return text.empty() ? 0 : routing::HashText(text, scope) | 1;
}

}  // namespace

void PlanRouting(Exchange& x) {
  const identity::KeyRecord& key = *x.principal->key;
  const config::Config& config = x.config();
  Routing& routing = x.routing;
  routing.need = {.package = x.plan.package,
                  .model = static_cast<std::uint32_t>(x.plan.model - config.models.data()),
                  .capability = x.operation.capability};
  routing.scope =
      key.workspace.empty() ? key.id.high ^ key.id.low : routing::HashText(key.workspace);
  routing.session = HashIn(SessionSignal(x), routing.scope);
  routing.refers_to = HashIn(x.plan.shape.previous_response_id, routing.scope);
  routing.must_meet = routing.refers_to != 0;
  if (routing.refers_to == 0) {
    routing.refers_to = HashIn(x.head->Find("x-codex-turn-state"), routing.scope);
  }
}

std::uint64_t MadeBy(const Exchange& x, std::string_view id) { return HashIn(id, x.routing.scope); }

Task<bool> NextAccount(Exchange& x, Ports& ports, Runtime& runtime) {
  Routing& routing = x.routing;
  if (!WithinFallback(x)) co_return false;
  const Tick before = runtime.Now();
  routing::AcquireReply reply = co_await ports.accounts.Acquire(
      {.config = &x.config(),
       .need = routing.need,
       .key = x.principal->key->id,
       .session = routing.session,
       .refers_to = routing.refers_to,
       .must_meet = routing.must_meet,
       .tried = routing.tried,
       .cost =
           routing::WaitQueue::kQuantum * (1 + x.plan.quote.input_tokens_bound / kTokensPerTurn),
       .tokens = x.plan.quote.input_tokens_bound},
      x.interrupt);
  if (reply.position > 0) {
    x.timings.queue = x.timings.queue + (runtime.Now() - before);
    if (routing.queue_position == 0) routing.queue_position = reply.position;
  }
  if (reply.kind == routing::AcquireReply::Kind::kRefused) {
    NoteNoAccount(x, reply);
    co_return false;
  }
  routing.tried.push_back(reply.lease.slot);
  routing.stickiness = reply.stickiness;
  Attempt& attempt = x.attempts.emplace_back();
  attempt.lease = std::move(reply.lease);
  const config::Config& config = *attempt.lease.config;
  attempt.account = &config.accounts[attempt.lease.account];
  attempt.upstream = &config.upstreams[attempt.account->upstream];
  attempt.route = &config.models[attempt.lease.model].routes[attempt.lease.route];
  co_return true;
}

void NoteNoAccount(Exchange& x, const routing::AcquireReply& reply) {
  if (x.interrupt.why() != Interruption::kNone) return;
  if (!x.failure) {
    x.reason.refusal = reply.refusal;
    x.admission.retry_after = reply.retry_after;
    return;
  }
  // Every account was asked. For limits the caller is told when the first of them is over, not when
  // that of the account is that happened to be asked last.
  FailureToShow& failure = *x.failure;
  if (x.attempts.size() < 2 || failure.reply.status != 429 || failure.reply.pass_through) return;
  failure.reply.retry_after_seconds = CeilSeconds(reply.retry_after);
  failure.retry_after_ms.reset();
  if (failure.reply.resets_in) failure.reply.resets_in = reply.retry_after;
}

NanoUsd FallbackSpend(const Exchange& x) {
  ledger::Sum sum = 0;
  for (std::size_t i = 1; i < x.attempts.size(); ++i) {
    if (x.attempts[i].may_be_billed) sum += x.admission.held.n;
  }
  return ledger::Saturated(sum);
}

namespace {

// A policy says that nothing is tried again after such a failure.
bool IsFinalByPolicy(const Exchange& x) {
  const std::string_view failure = dialect::Name(x.attempts.back().failure);
  return std::ranges::any_of(x.quotas, [failure](const policy::QuotaUse& use) {
    return std::ranges::find(use.policy->retry.non_retryable, failure) !=
           use.policy->retry.non_retryable.end();
  });
}

}  // namespace

bool MayTryAnother(const Exchange& x, const Downstream& downstream) {
  return x.attempts.back().retry != Retry::kNever && !downstream.started() && !x.streaming &&
         x.interrupt.why() == Interruption::kNone && !IsFinalByPolicy(x);
}

}  // namespace weir::gateway
