#include "gateway/attempt.h"

#include <algorithm>
#include <utility>

#include "gateway/pipeline.h"
#include "gateway/transcribe.h"

namespace weir::gateway {
namespace {

std::int64_t CeilQuarter(std::int64_t bytes) { return (bytes + 3) / 4; }

// Our own count of the input, when the upstream gives none.
std::int64_t EstimatedInput(const Exchange& x) {
  return std::min(CeilQuarter(static_cast<std::int64_t>(x.plan.body.size())),
                  x.plan.quote.input_tokens_bound);
}

}  // namespace

routing::Outcome OutcomeOf(dialect::FailureClass failure) {
  using enum dialect::FailureClass;
  switch (failure) {
    case kNone:
      return routing::Outcome::kServed;
    case kBurst:
      return routing::Outcome::kBurst;
    case kWindowExhausted:
      return routing::Outcome::kWindowExhausted;
    case kOverloaded:
      return routing::Outcome::kOverloaded;
    case kAuthDead:
      return routing::Outcome::kAuthDead;
    case kBillingDead:
      return routing::Outcome::kBillingDead;
    case kModelGone:
      return routing::Outcome::kModelGone;
    case kServerError:
    case kUnknown:
      return routing::Outcome::kServerError;
    case kCallersFault:
      break;
  }
  return routing::Outcome::kNothing;
}

void Fail(Exchange& x, Attempt& attempt, const dialect::UpstreamFailure& failure, int status,
          std::string body, bool body_whole) {
  attempt.failure = failure.failure_class;
  attempt.retry = failure.retry;
  attempt.detail = failure.error.message;
  attempt.report = {.outcome = OutcomeOf(failure.failure_class), .rest = failure.reset};
  // Who turns a call away does not bill it; what broke behind a proxy or inside a stream may have
  // run.
  attempt.may_be_billed = status < 400 || (status >= 500 && status != 503 && status != 529);
  const dialect::Dialect family = x.operation.dialect;
  FailureToShow show;
  show.reply = dialect::ShowFailure(family, failure, status, body, body_whole);
  if (show.reply.status == 429 && failure.reset && *failure.reset < Seconds(60)) {
    show.retry_after_ms = (failure.reset->ns + 999'999) / 1'000'000;
  }
  if (show.reply.pass_through) {
    show.body = std::move(body);
  }
  x.failure = std::move(show);
  x.charge = false;
}

void FailWithoutReply(Exchange& x, Attempt& attempt, const Error& error) {
  attempt.failure = dialect::FailureClass::kServerError;
  attempt.retry = error.retry;
  attempt.may_be_billed =
      error.source == ErrorSource::kUpstream && error.code != ErrorCode::kConnectFailed;
  attempt.detail = error.detail;
  attempt.report.outcome =
      error.source == ErrorSource::kUpstream || error.source == ErrorSource::kEnvironment
          ? routing::Outcome::kServerError
          : routing::Outcome::kNothing;
  const Refusal refusal = error.code == ErrorCode::kTimeout       ? Refusal::kUpstreamTimeout
                          : error.code == ErrorCode::kUnavailable ? Refusal::kLedgerUnavailable
                                                                  : Refusal::kUpstreamError;
  FailureToShow show;
  show.reply.refusal = refusal;
  show.reply.status = TextOf(refusal).status;
  if (show.reply.status == 503) show.reply.retry_after_seconds = 1;
  x.failure = std::move(show);
  x.charge = false;
}

Error JournalError() {
  return {ErrorCode::kUnavailable, ErrorSource::kUs, Retry::kNever, "the journal has no space"};
}

void NoteAlive(Attempt& attempt, Ports& ports, Tick now) {
  if (attempt.report.outcome == routing::Outcome::kServed) return;
  attempt.report.outcome = routing::Outcome::kServed;
  ports.accounts.NoteAlive(attempt.lease, now - attempt.sent_at);
}

void NoteMade(Exchange& x, Attempt& attempt, std::string_view response_id) {
  attempt.report.made = {MadeBy(x, response_id), MadeBy(x, x.reply->Find("x-codex-turn-state"))};
  attempt.report.tokens = x.usage.input_tokens + x.usage.output_tokens;
}

Usage OwnCount(const Exchange& x, std::int64_t output_tokens, UsageSource source) {
  if (x.plan.shape.audio) return OwnAudioCount(x.plan, output_tokens, source);
  // A token may be longer than four bytes, and an upstream makes no more of them than it was told.
  const std::int64_t bound = x.admission.output_tokens_granted * x.plan.quote.output_choices;
  if (bound > 0) output_tokens = std::min(output_tokens, bound);
  return {.input_tokens = EstimatedInput(x), .output_tokens = output_tokens, .source = source};
}

bool IsEventStream(const UpstreamReply& reply) {
  return reply.Find("content-type").starts_with("text/event-stream");
}

}  // namespace weir::gateway
