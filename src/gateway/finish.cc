#include <string>

#include "config/scalar.h"
#include "dialect/charge_note.h"
#include "dialect/reply_body.h"
#include "gateway/pipeline.h"

namespace weir::gateway {
namespace {

// How long the last bytes of an upstream's framing are waited for after the caller has everything.
// They nearly always came with the body; waiting keeps the connection for the next request.
constexpr Duration kTailWait = Milliseconds(100);

void AppendHeader(std::string& out, std::string_view name, std::string_view value) {
  out += name;
  out += ": ";
  out += value;
  out += "\r\n";
}

void AppendHeader(std::string& out, std::string_view name, std::int64_t value) {
  char digits[24];
  std::size_t at = sizeof(digits);
  auto magnitude = static_cast<std::uint64_t>(value < 0 ? 0 : value);
  do {
    digits[--at] = static_cast<char>('0' + magnitude % 10);
    magnitude /= 10;
  } while (magnitude != 0);
  AppendHeader(out, name, std::string_view(digits + at, sizeof(digits) - at));
}

// At most a kilobyte of it: a body may have been changed in a hundred places.
std::string Joined(const std::vector<std::string>& changes) {
  constexpr std::size_t kBytesMax = 1024;
  std::string text;
  for (const std::string& change : changes) {
    if (text.size() + change.size() > kBytesMax) return text + ", ...";
    if (!text.empty()) text += ", ";
    text += change;
  }
  return text;
}

// A duration as OpenAI writes it in its reset headers (Go's format): "120ms", "1s", "6m0s".
std::string GoDuration(Duration d) {
  const std::int64_t ms = d.ns <= 0 ? 0 : (d.ns + 999'999) / 1'000'000;
  if (ms < 1000) return std::to_string(ms) + "ms";
  const std::int64_t seconds = (ms + 999) / 1000;
  if (seconds < 60) return std::to_string(seconds) + "s";
  return std::to_string(seconds / 60) + "m" + std::to_string(seconds % 60) + "s";
}

// Both families that clients read: X-RateLimit-* with a Unix time, and OpenAI's per-unit names.
void AppendLimits(const AdmitReply& admission, Instant now, std::string& out) {
  const LimitView& requests = admission.requests;
  if (requests.limit > 0) {
    AppendHeader(out, "x-ratelimit-limit", requests.limit);
    AppendHeader(out, "x-ratelimit-remaining", requests.remaining);
    AppendHeader(out, "x-ratelimit-reset", CeilSeconds({now.ns + requests.reset.ns}));
    AppendHeader(out, "x-ratelimit-limit-requests", requests.limit);
    AppendHeader(out, "x-ratelimit-remaining-requests", requests.remaining);
    AppendHeader(out, "x-ratelimit-reset-requests", GoDuration(requests.reset));
  }
  const LimitView& tokens = admission.tokens;
  if (tokens.limit > 0) {
    AppendHeader(out, "x-ratelimit-limit-tokens", tokens.limit);
    AppendHeader(out, "x-ratelimit-remaining-tokens", tokens.remaining);
    AppendHeader(out, "x-ratelimit-reset-tokens", GoDuration(tokens.reset));
  }
}

// What of an upstream's head is the caller's business. Its limits, cookies and organisation are the
// operator's.
void AppendPassedHeaders(const UpstreamReply& reply, std::string& out) {
  for (const auto& [name, value] : reply.headers()) {
    for (const std::string_view passed :
         {"openai-version", "openai-processing-ms", "openai-model", "x-codex-turn-state",
          "x-reasoning-included", "x-models-etag"}) {
      if (EqualsIgnoreCase(name, passed)) AppendHeader(out, passed, value);
    }
  }
}

// Why another model serves: a policy's id, or the class of the task that pressure moved.
std::string WhyMoved(const Exchange& x) {
  return x.relief.policy.empty() ? std::string(Name(x.relief.task)) : "policy " + x.relief.policy;
}

// The policy that the request met and that has the least left of its limit.
void AppendPolicy(const Exchange& x, Instant now, std::string& out) {
  const AdmitReply& admission = x.admission;
  const std::string& prefix = x.config().brand.header_prefix;
  if (admission.quota && *admission.quota < x.quotas.size()) {
    const config::Policy& policy = *x.quotas[*admission.quota].policy;
    std::string value = policy.id;
    value += "; unit=";
    value += Name(policy.unit);
    value += "; limit=" + policy::AmountDigits(policy.unit, admission.quota_limit);
    value += "; remaining=" + policy::AmountDigits(policy.unit, admission.quota_remaining);
    if (admission.quota_resets_at.ns != INT64_MAX) {
      value += "; reset=" + std::to_string(CeilSeconds(admission.quota_resets_at - now));
    }
    AppendHeader(out, prefix + "-policy", value);
  }
  if (const std::string shadows = ShadowRefusals(x); !shadows.empty()) {
    AppendHeader(out, prefix + "-policy-shadow", shadows);
  }
}

void NoteFirstByte(Exchange& x, Runtime& runtime) {
  if (x.timings.first_byte.ns == 0) x.timings.first_byte = runtime.Now() - x.timings.started_at;
}

}  // namespace

Task<bool> AwaitDurable(Exchange& x, JournalPosition position, Ports& ports, Runtime& runtime) {
  const Tick before = runtime.Now();
  const bool durable = co_await ports.credit.Durable(position);
  x.timings.durable = x.timings.durable + (runtime.Now() - before);
  co_return durable;
}

std::string ChangesOf(const Exchange& x) {
  const std::string shadows = ShadowRefusals(x);
  if (x.relief.model.empty() && x.relief.effort.empty() && shadows.empty()) {
    return Joined(x.adaptation.changes);
  }
  std::vector<std::string> all;
  if (!x.relief.model.empty()) {
    all.push_back("model=" + x.relief.model + ";" + WhyMoved(x));
  }
  if (!x.relief.effort.empty()) all.push_back("effort=" + x.relief.effort);
  if (!shadows.empty()) all.push_back("shadow=" + shadows);
  all.insert(all.end(), x.adaptation.changes.begin(), x.adaptation.changes.end());
  return Joined(all);
}

std::string CommonHeaders(const Exchange& x, Instant now) {
  std::string out;
  out.reserve(512);
  const auto id = IdText(x.id);
  out += "x-request-id: req_";
  out.append(id.data(), id.size());
  out += "\r\n";
  if (x.operation.dialect == dialect::Dialect::kAnthropicMessages) {
    // Anthropic's name for it, which its SDKs show in errors.
    out += "request-id: req_";
    out.append(id.data(), id.size());
    out += "\r\n";
  }
  AppendLimits(x.admission, now, out);
  AppendPolicy(x, now, out);
  const std::string& prefix = x.config().brand.header_prefix;
  if (x.admission.clamped && x.admission.refusal == Refusal::kNone) {
    AppendHeader(out, prefix + "-max-output-tokens", x.admission.output_tokens_granted);
  }
  if (!x.relief.model.empty()) {
    AppendHeader(out, prefix + "-downgrade", x.relief.model + "; " + WhyMoved(x));
  }
  if (!x.relief.effort.empty()) AppendHeader(out, prefix + "-reasoning-effort", x.relief.effort);
  if (!x.adaptation.changes.empty()) {
    AppendHeader(out, prefix + "-adapted", Joined(x.adaptation.changes));
  }
  const std::string_view sticky = Name(x.routing.stickiness);
  if (!sticky.empty()) AppendHeader(out, prefix + "-sticky", sticky);
  if (x.routing.queue_position > 0) {
    AppendHeader(out, prefix + "-queue-position", x.routing.queue_position);
    AppendHeader(out, prefix + "-queue-ms", x.timings.queue.ns / 1'000'000);
  }
  if (x.attempts.size() > 1) {
    AppendHeader(out, prefix + "-attempts", static_cast<std::int64_t>(x.attempts.size()));
  }
  if (x.reply) AppendPassedHeaders(*x.reply, out);
  return out;
}

void NoteLimits(Exchange& x, Ports& ports) {
  if (!x.principal || x.admission.requests.limit > 0 || x.admission.tokens.limit > 0) return;
  const RateViews views = ports.credit.Peek(x.principal->key->id, x.principal->key->limits);
  x.admission.requests = views.requests;
  x.admission.tokens = views.tokens;
}

Task<void> Refuse(Exchange& x, RefusalReason reason, Ports& ports, Runtime& runtime) {
  NoteLimits(x, ports);
  const RefusalText& text = TextOf(reason.refusal);
  const std::string request_id = "req_" + ToString(x.id);
  dialect::RefusalDetail detail;
  detail.message = reason.message;
  detail.param = reason.param;
  detail.hint = reason.hint;
  detail.docs_url = x.config().brand.docs_url;
  detail.request_id = request_id;
  if (reason.refusal == Refusal::kUsageLimitReached) detail.resets_in = x.admission.retry_after;
  detail.policy = reason.policy;
  detail.owner = reason.owner;
  std::string resets_at;
  if (reason.resets_at) {
    resets_at = config::FormatTime(*reason.resets_at);
    detail.resets_at = resets_at;
    detail.resets_in = *reason.resets_at - runtime.WallNow();
  }
  ReplyHead head;
  head.status = text.status;
  head.headers = CommonHeaders(x, runtime.WallNow());
  // 429 and 503 without Retry-After make clients give up or hammer.
  if (text.status == 429 || text.status == 503 || x.admission.retry_after.ns > 0) {
    const std::int64_t seconds = CeilSeconds(x.admission.retry_after);
    AppendHeader(head.headers, "retry-after", seconds > 0 ? seconds : 1);
  }
  if (text.status == 401) AppendHeader(head.headers, "www-authenticate", "Bearer");
  if (text.status == 426) AppendHeader(head.headers, "upgrade", "HTTP/1.1");
  if (!reason.allow.empty()) AppendHeader(head.headers, "allow", reason.allow);
  if (const auto retry = dialect::ShouldRetry(reason.refusal)) {
    AppendHeader(head.headers, "x-should-retry", *retry ? "true" : "false");
  }
  const std::string body =
      dialect::RefusalBody(dialect::ShapeOfPath(x.head->path), reason.refusal, detail);
  x.status = text.status;
  x.ending = EndingKind::kRefused;
  x.reason = std::move(reason);
  NoteFirstByte(x, runtime);
  if (!co_await ports.downstream.Reply(std::move(head), body)) x.ending = EndingKind::kCallerGone;
}

namespace {

// What the wallet paid, in the reply's own usage.
void NoteCharge(Exchange& x) {
  if (!x.settlement.wallet || !x.charge || x.held.empty()) return;
  const bool tokens = x.settlement.wallet->unit == ledger::Unit::kQuotaToken;
  const std::string multiplier = policy::MultiplierText(x.settlement.wallet->multiplier_ppm);
  const dialect::ChargeNote note{.input_tokens = x.usage.input_tokens,
                                 .output_tokens = x.usage.output_tokens,
                                 .multiplier = multiplier,
                                 .charged_as = tokens ? "charged_quota_tokens" : "charged_nano_usd",
                                 .charged = x.settlement.wallet_charged.n};
  if (x.held_type.empty()) {
    x.held = dialect::WithChargeInStream(x.operation.dialect, x.held, note);
  } else if (!x.streaming) {  // of a larger one the beginning has left
    x.held = dialect::WithCharge(x.operation.dialect, x.held, note);
  }
}

void AppendWallet(const Exchange& x, std::string& out) {
  if (!x.settlement.wallet) return;
  const bool tokens = x.settlement.wallet->unit == ledger::Unit::kQuotaToken;
  const std::string unit = tokens ? "-quota-tokens" : "-nano-usd";
  const std::string& prefix = x.config().brand.header_prefix;
  AppendHeader(out, prefix + "-wallet-charged" + unit, x.settlement.wallet_charged.n);
  AppendHeader(out, prefix + "-wallet-left" + unit, x.settlement.wallet_remaining.n);
}

// No attempt served: the last failure, in the caller's words.
Task<void> ShowUpstreamFailure(Exchange& x, Ports& ports, Runtime& runtime) {
  const FailureToShow& failure = *x.failure;
  ReplyHead head;
  head.status = failure.reply.status;
  head.headers = CommonHeaders(x, runtime.WallNow());
  if (failure.reply.retry_after_seconds) {
    AppendHeader(head.headers, "retry-after", *failure.reply.retry_after_seconds);
  }
  if (failure.retry_after_ms) {
    AppendHeader(head.headers, "retry-after-ms", *failure.retry_after_ms);
  }
  const std::optional<bool> retry = failure.should_retry ? failure.should_retry
                                    : failure.reply.pass_through
                                        ? std::optional<bool>()
                                        : dialect::ShouldRetry(failure.reply.refusal);
  if (retry) {
    AppendHeader(head.headers, "x-should-retry", *retry ? "true" : "false");
  }
  std::string body;
  if (failure.reply.pass_through) {
    body = failure.body;
  } else {
    const std::string request_id = "req_" + ToString(x.id);
    dialect::RefusalDetail detail;
    detail.request_id = request_id;
    detail.resets_in = failure.reply.resets_in;
    body = dialect::RefusalBody(dialect::ShapeOfPath(x.head->path), failure.reply.refusal, detail);
    x.reason.refusal = failure.reply.refusal;
  }
  x.status = head.status;
  x.ending = EndingKind::kUpstreamFailed;
  NoteFirstByte(x, runtime);
  if (!co_await ports.downstream.Reply(std::move(head), body)) x.ending = EndingKind::kCallerGone;
}

}  // namespace

Task<void> Finish(Exchange& x, Ports& ports, Runtime& runtime) {
  if (x.interrupt.why() == Interruption::kCallerGone) {
    x.ending = EndingKind::kCallerGone;
    if (x.status == 0) x.status = 499;  // nginx's number for it; nobody sees it but the log
    co_return;
  }
  if (!x.streaming && x.held_type.empty()) {
    // A drain of ours is why the attempt broke off, whatever it or one before it said.
    if (x.interrupt.why() == Interruption::kDrain) {
      co_return co_await Refuse(x, {.refusal = Refusal::kDraining}, ports, runtime);
    }
    if (x.failure) co_return co_await ShowUpstreamFailure(x, ports, runtime);
    const Refusal refusal =
        x.reason.refusal == Refusal::kNone ? Refusal::kNoCapacity : x.reason.refusal;
    co_return co_await Refuse(x, {.refusal = refusal}, ports, runtime);
  }

  if (x.cut) {
    ports.downstream.Cut();
    x.ending = EndingKind::kCut;
    co_return;
  }

  // The caller may know that the call is over only when its charge cannot be lost any more.
  if (!co_await AwaitDurable(x, x.settlement.position, ports, runtime)) {
    if (!x.streaming) {
      co_return co_await Refuse(x, {.refusal = Refusal::kLedgerUnavailable}, ports, runtime);
    }
    ports.downstream.Cut();
    x.ending = EndingKind::kCut;
    co_return;
  }
  NoteFirstByte(x, runtime);
  NoteCharge(x);
  KeepBytes(x, x.held);
  if (x.ending != EndingKind::kCut) KeepReply(x, ports);
  bool sent = false;
  if (x.streaming) {
    sent = co_await ports.downstream.End(x.held);
  } else {
    ReplyHead head;
    head.status = x.status;
    head.content_type = x.held_type;
    head.headers = CommonHeaders(x, runtime.WallNow());
    AppendHeader(head.headers, x.config().brand.header_prefix + "-charged-nano-usd",
                 x.settlement.charged.n);
    AppendWallet(x, head.headers);
    sent = co_await ports.downstream.Reply(std::move(head), x.held);
  }
  if (!sent) x.ending = EndingKind::kCallerGone;
  if (x.reply) co_await x.reply->Read(kTailWait);
  x.reply.reset();
}

}  // namespace weir::gateway
