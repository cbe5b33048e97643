// forward: one attempt at one upstream, streamed to the caller as it arrives.
//
// What leaves here and when:
//   - nothing before the intent is on disk;
//   - whole events only, in one write for all that arrived together;
//   - never the end: the terminal event, or the last bytes of a JSON reply, stay in x.held until
//     Finish has the charge on disk.
// Usage is read from the bytes that pass. When the upstream gives none, our own count stands in:
// kEstimated for a reply that ended well, kCheckpoint for one that was cut.
#include <algorithm>
#include <string>

#include "dialect/failure_class.h"
#include "dialect/reply_body.h"
#include "dialect/sse.h"
#include "dialect/unsupported_parameter.h"
#include "dialect/usage_reader.h"
#include "gateway/attempt.h"
#include "gateway/credential.h"
#include "gateway/pipeline.h"
#include "gateway/transcribe.h"

namespace weir::gateway {
namespace {

using dialect::StreamEnd;

// A JSON reply up to this size is held whole, so that its head can say what it cost. Larger ones
// are passed on as they come, all but their last piece.
constexpr std::size_t kHeldJsonMax = 256 << 10;
constexpr std::size_t kPrefaceBytesMax = 256 << 10;
// What is kept back behind the event with the usage, until the end.
constexpr std::size_t kTailBytesMax = 256 << 10;
// Output is held for in such pieces, and so much before it is seen: our count of it is an estimate,
// and what an upstream sends meanwhile is the operator's.
constexpr std::int64_t kHoldChunk = 1024;
constexpr std::int64_t kHoldMargin = 256;
constexpr std::int64_t kCheckpointTokens = 256;
constexpr Duration kCheckpointInterval = Milliseconds(500);

// What the caller's request headers mean to an upstream. Identity, framing and the caller's
// software stay here; what changes the reply or helps the upstream's cache goes on.
bool PassesUpstream(std::string_view name) {
  switch (name.size()) {
    case 6:
      return EqualsIgnoreCase(name, "accept");
    case 9:
      return EqualsIgnoreCase(name, "thread-id");
    case 10:
      return EqualsIgnoreCase(name, "session-id") || EqualsIgnoreCase(name, "session_id") ||
             EqualsIgnoreCase(name, "tracestate");
    case 11:
      return EqualsIgnoreCase(name, "openai-beta") || EqualsIgnoreCase(name, "traceparent");
    case 12:
      return EqualsIgnoreCase(name, "x-session-id");
    case 19:
      return EqualsIgnoreCase(name, "x-client-request-id");
    default:
      return name.size() > 8 && EqualsIgnoreCase(name.substr(0, 8), "x-codex-");
  }
}

bool IsAnthropic(const Exchange& x) {
  return x.operation.dialect == dialect::Dialect::kAnthropicMessages;
}

std::string UpstreamHeaders(const Exchange& x, const Attempt& attempt) {
  std::string out;
  out.reserve(512);
  // A form's type names its boundary.
  const bool form = x.operation.body == BodyKind::kForm;
  out += "content-type: ";
  out += form ? x.head->Find("content-type") : "application/json";
  out += "\r\n";
  AppendCredential(*attempt.upstream, *attempt.account, x.head->Find("anthropic-version"), out);
  out += "accept-encoding: identity\r\nuser-agent: weir\r\n";
  const bool anthropic = IsAnthropic(x);
  for (const auto& [name, value] : x.head->headers) {
    if (!PassesUpstream(name) && !(anthropic && EqualsIgnoreCase(name, "anthropic-beta"))) continue;
    out += name;
    out += ": ";
    out += value;
    out += "\r\n";
  }
  return out;
}

// A model's name as part of a path.
void AppendPathEncoded(std::string_view text, std::string& out) {
  constexpr std::string_view kPlain = "-._~/+=@,";
  constexpr std::string_view kHex = "0123456789ABCDEF";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool alnum = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    if (alnum || kPlain.contains(c)) {
      out += c;
      continue;
    }
    out += '%';
    out += kHex[byte >> 4];
    out += kHex[byte & 15];
  }
}

// The path and query at the upstream. Nothing of the caller's query goes on but what is named here:
// it may carry the caller's key.
std::string TargetOf(const Exchange& x, const config::Upstream& upstream,
                     std::string_view upstream_model) {
  std::string target = upstream.base_path;
  if (x.operation.dialect == dialect::Dialect::kGeminiGenerate) {
    target += "/models/";
    if (upstream_model == x.plan.shape.model) {
      target += x.operation.model;
    } else {
      AppendPathEncoded(upstream_model, target);
    }
    target += ':';
    target += x.operation.verb;
    if (x.operation.streams) target += "?alt=sse";
    return target;
  }
  target += x.operation.upstream_path;
  // What the SDKs' beta namespace sends.
  if (IsAnthropic(x) && x.head->query == "beta=true") target += "?beta=true";
  return target;
}

Task<void> ReadFailure(Exchange& x, Attempt& attempt, std::unique_ptr<UpstreamReply> reply,
                       UpstreamClock& clock, Runtime& runtime) {
  std::string body;
  bool whole = false;
  while (body.size() < dialect::kErrorBodyBytesMax) {
    const auto bytes = co_await reply->Read(attempt.upstream->event_deadline);
    if (!bytes) break;
    if (bytes->empty()) {
      whole = true;
      break;
    }
    body.append(*bytes);
  }
  clock.Stop();
  if (body.size() > dialect::kErrorBodyBytesMax) body.resize(dialect::kErrorBodyBytesMax);
  const auto failure = dialect::Classify(
      x.operation.dialect, reply->status(),
      [&](std::string_view name) { return reply->Find(name); }, body, runtime.WallNow());
  if (x.adaptation.wanted && reply->status() == 400) {
    x.adaptation.unsupported = dialect::UnsupportedParameter(body).value_or(std::string());
  }
  Fail(x, attempt, failure, reply->status(), std::move(body), whole);
  if (reply->Find("x-should-retry") == "false") x.failure->should_retry = false;
}

// What a reply that is held whole is called. A transcript may be text of several kinds.
std::string_view ContentTypeOf(const Exchange& x, bool json) {
  if (json) return "application/json";
  const std::string_view type = x.reply->Find("content-type");
  return type.empty() ? "text/plain; charset=utf-8" : type;
}

Task<void> ForwardJson(Exchange& x, Attempt& attempt, Ports& ports, Runtime& runtime,
                       UpstreamClock& clock, Tick deadline) {
  const config::Upstream& upstream = *attempt.upstream;
  dialect::JsonMeter meter(x.operation.dialect);
  const bool json = IsJsonReply(x);
  const std::string_view type = ContentTypeOf(x, json);
  std::int64_t total = 0;
  bool ended = false;
  std::optional<Error> lost;
  while (!ended) {
    const auto bytes = co_await x.reply->Read(upstream.event_deadline);
    if (!bytes) {
      lost = bytes.error();
      break;
    }
    if (bytes->empty()) {
      ended = true;
      break;
    }
    if (runtime.Now() >= deadline) {
      lost = Error{ErrorCode::kTimeout, ErrorSource::kUpstream, Retry::kNever, "total_deadline"};
      break;
    }
    total += static_cast<std::int64_t>(bytes->size());
    if (total > upstream.reply_bytes_max) {
      lost = Error{ErrorCode::kTooLarge, ErrorSource::kUpstream, Retry::kNever,
                   "the reply is larger than reply_bytes_max"};
      break;
    }
    if (json) meter.Append(*bytes);
    if (x.held.size() + bytes->size() > kHeldJsonMax) {
      // Large: pass on what is held and keep the new piece, so that the end always waits.
      if (!x.streaming) {
        if (!co_await AwaitDurable(x, x.admission.position, ports, runtime)) {
          lost = JournalError();
          break;
        }
        ReplyHead head;
        head.status = x.status;
        head.content_type = type;
        head.headers = CommonHeaders(x, runtime.WallNow());
        ports.downstream.Start(std::move(head));
        x.streaming = true;
        x.kept_type = type;
        x.timings.first_byte = runtime.Now() - x.timings.started_at;
      }
      clock.Stop();
      KeepBytes(x, x.held);
      // Who does not read has left as one who hangs up has; nothing else would tell.
      if (!co_await ports.downstream.Send(x.held)) x.interrupt.Fire(Interruption::kCallerGone);
      clock.Start();
      x.held.clear();
      if (x.interrupt.why() != Interruption::kNone) {
        lost = Error{ErrorCode::kInterrupted, ErrorSource::kCaller, Retry::kNever, "caller gone"};
        break;
      }
    }
    x.held.append(*bytes);
  }
  clock.Stop();
  x.served_model = meter.served_model();
  x.usage = meter.usage();
  const std::int64_t estimated = json ? meter.EstimatedOutputTokens() : (total + 3) / 4;
  if (ended) {
    CompleteAudio(x.plan, estimated, x.usage);
    if (x.usage.source == UsageSource::kNone) {
      x.usage = OwnCount(x, estimated, UsageSource::kEstimated);
    }
    x.held_type = type;
    NoteAlive(attempt, ports, runtime.Now());
    NoteMade(x, attempt, meter.response_id());
    co_return;
  }

  // Cut. Nothing can be said to a caller who got part of it but the cut itself.
  x.held.clear();
  if (x.interrupt.why() != Interruption::kNone) {
    x.charge = x.streaming && x.hang_up_rule() != config::HangUpRule::kAbortAndVoid;
    x.cut = x.streaming;
    if (x.usage.source == UsageSource::kNone) {
      x.usage = OwnCount(x, estimated, UsageSource::kCheckpoint);
    }
    attempt.detail = "interrupted";
    x.reply.reset();  // the upstream learns of it now, not after the settlement
    co_return;
  }
  FailWithoutReply(x, attempt, *lost);
  if (x.streaming) {
    x.charge = true;
    if (x.usage.source == UsageSource::kNone) {
      x.usage = OwnCount(x, estimated, UsageSource::kCheckpoint);
    }
    x.cut = true;
  } else {
    x.reply.reset();
  }
}

// The state of a stream on its way through.
struct StreamPassage {
  dialect::SseSplitter splitter;
  dialect::StreamMeter meter;
  std::string out;          // whole events that will leave in one write
  std::int64_t events = 0;  // passed on, for the sequence number of an error of ours
  bool ended = false;       // the terminal event was read
  bool caller_gone = false;

  std::int64_t checkpoint_tokens = 0;
  Tick checkpoint_at;

  bool out_of_hold = false;    // more output than anything pays for
  bool out_of_policy = false;  // and it is a policy that does not

  StreamPassage(dialect::Dialect family, dialect::StreamMeter::Options options)
      : meter(family, options) {}

  // Until the first content another account may still serve the call, so what precedes it
  // ("response.created") waits for it, within bounds.
  bool MayLeave(bool streaming) const {
    return !out.empty() && !ended &&
           (streaming || meter.content_seen() || out.size() > kPrefaceBytesMax);
  }
};

void NoteDelivered(Exchange& x, StreamPassage& passage, Tick now, Ports& ports) {
  const std::int64_t tokens = passage.meter.EstimatedOutputTokens();
  if (tokens == passage.checkpoint_tokens) return;
  if (tokens - passage.checkpoint_tokens < kCheckpointTokens &&
      now - passage.checkpoint_at < kCheckpointInterval) {
    return;
  }
  passage.checkpoint_tokens = tokens;
  passage.checkpoint_at = now;
  ports.credit.Checkpoint(
      {.request = x.id, .usage = OwnCount(x, tokens, UsageSource::kCheckpoint)});
}

// A stream whose hold is smaller than what it may still send needs more before it gets there.
// False: nothing pays for more.
bool HoldMore(Exchange& x, StreamPassage& passage, Ports& ports) {
  const std::int64_t bound =
      x.admission.output_tokens_granted * std::max<std::int64_t>(x.plan.quote.output_choices, 1);
  const std::int64_t held = x.admission.output_tokens_held;
  const std::int64_t seen = passage.meter.EstimatedOutputTokens();
  if (held >= bound || seen + kHoldMargin <= held) return true;
  const std::int64_t wanted = std::min(seen + kHoldMargin + kHoldChunk, bound) - held;
  const ExtendReply reply = ports.credit.Extend({.request = x.id, .output_tokens = wanted});
  x.admission.output_tokens_held = reply.output_tokens_held;
  if (reply.granted) {
    x.admission.held = reply.held;
    x.admission.wallet_held = reply.wallet_held;
  }
  passage.out_of_policy = reply.by_policy;
  return reply.granted;
}

// Gemini's streams have no last event, those of transcripts need none.
bool EndsWithBody(const Exchange& x) {
  return x.operation.dialect == dialect::Dialect::kGeminiGenerate ||
         x.operation.body == BodyKind::kForm;
}

// Takes the whole events that have arrived; false when the stream cannot be read any further.
bool TakeEvents(Exchange& x, StreamPassage& passage) {
  dialect::SseEvent event;
  while (true) {
    switch (passage.splitter.Next(event)) {
      case dialect::SseStatus::kNeedMore:
        return true;
      case dialect::SseStatus::kTooLarge:
      case dialect::SseStatus::kMalformed:
        return false;
      case dialect::SseStatus::kEvent:
        break;
    }
    const dialect::EventVerdict verdict = passage.meter.OnEvent(event);
    if (verdict.terminal || verdict.last || passage.ended || !x.held.empty()) {
      x.held.append(verdict.bytes);
      passage.ended = passage.ended || verdict.terminal;
      // Whoever goes on for ever behind its last event is passed on like any other.
      if (!passage.ended && x.held.size() > kTailBytesMax) {
        passage.out.append(x.held);
        x.held.clear();
      }
      continue;
    }
    passage.out.append(verdict.bytes);
    if (!verdict.bytes.empty()) ++passage.events;
  }
}

// Sends what is in passage.out; the first time after the intent is on disk. False: stop.
Task<bool> PassOn(Exchange& x, StreamPassage& passage, Ports& ports, Runtime& runtime) {
  if (!x.streaming) {
    if (!co_await AwaitDurable(x, x.admission.position, ports, runtime)) co_return false;
    ReplyHead head;
    head.status = x.status;
    head.content_type = kEventStream;
    head.headers = CommonHeaders(x, runtime.WallNow());
    head.headers += "cache-control: no-cache\r\nx-accel-buffering: no\r\n";
    ports.downstream.Start(std::move(head));
    x.streaming = true;
    x.kept_type = kEventStream;
    x.timings.first_byte = runtime.Now() - x.timings.started_at;
  }
  KeepBytes(x, passage.out);
  if (!passage.caller_gone && !co_await ports.downstream.Send(passage.out)) {
    passage.caller_gone = true;
  }
  passage.out.clear();
  co_return true;
}

Usage StreamUsage(const Exchange& x, const StreamPassage& passage, UsageSource otherwise) {
  Usage usage = passage.meter.usage();
  CompleteAudio(x.plan, passage.meter.EstimatedOutputTokens(), usage);
  if (usage.source != UsageSource::kNone) return usage;
  return OwnCount(x, passage.meter.EstimatedOutputTokens(), otherwise);
}

// No text, no call, and no output that the upstream counted: limited accounts answer like this.
bool IsEmpty(const Exchange& x, const StreamPassage& passage) {
  return x.operation.kind == OperationKind::kGenerate && dialect::IsOpenAi(x.operation.dialect) &&
         passage.meter.end() == StreamEnd::kCompleted && !passage.meter.content_seen() &&
         passage.meter.usage().output_tokens == 0;
}

// The stream broke before its end. What was delivered is charged; the caller is told in the stream,
// never by a fake end.
void BreakStream(Exchange& x, Attempt& attempt, StreamPassage& passage, const Error& error) {
  const bool interrupted = x.interrupt.why() != Interruption::kNone || passage.caller_gone;
  const bool caller_gone = x.interrupt.why() == Interruption::kCallerGone || passage.caller_gone;
  x.usage = StreamUsage(x, passage, UsageSource::kCheckpoint);
  x.charge = passage.meter.content_seen() &&
             !(caller_gone && x.hang_up_rule() == config::HangUpRule::kAbortAndVoid);
  attempt.detail = error.detail;
  x.reply.reset();  // the upstream learns of it now, not after the settlement
  if (caller_gone) {
    x.interrupt.Fire(Interruption::kCallerGone);
    return;
  }
  const Refusal out_of_hold = passage.out_of_policy ? Refusal::kPolicyBudgetExceeded
                              : x.plan.wallet       ? Refusal::kInsufficientBalance
                                                    : Refusal::kBudgetExceeded;
  if (!x.streaming) {  // nothing has left: another upstream may do better
    FailWithoutReply(x, attempt, error);
    if (passage.out_of_hold) {
      x.failure->reply.refusal = out_of_hold;
      x.failure->reply.status = TextOf(out_of_hold).status;
    }
    return;
  }
  x.ending = EndingKind::kCut;
  const Refusal refusal = interrupted                         ? Refusal::kDraining
                          : passage.out_of_hold               ? out_of_hold
                          : error.code == ErrorCode::kTimeout ? Refusal::kUpstreamTimeout
                                                              : Refusal::kUpstreamError;
  x.reason.refusal = refusal;
  x.held = dialect::StreamErrorEvent(x.operation.dialect, refusal, TextOf(refusal).message,
                                     passage.events);
}

Task<void> ForwardStream(Exchange& x, Attempt& attempt, Ports& ports, Runtime& runtime,
                         UpstreamClock& clock, Tick deadline) {
  const config::Upstream& upstream = *attempt.upstream;
  const Duration heartbeat = x.config().caller_limits.heartbeat_interval;
  StreamPassage passage(x.operation.dialect, {.strip_usage = x.plan.strip_usage,
                                              .hold_usage = x.plan.wallet.has_value()});
  Tick last_byte = runtime.Now();
  passage.checkpoint_at = last_byte;
  std::optional<Error> broken;
  while (!passage.ended && !broken) {
    const auto bytes = co_await x.reply->Read(std::min(heartbeat, upstream.event_deadline));
    const Tick now = clock.Stop();
    if (!bytes) {
      const bool idle = bytes.error().code == ErrorCode::kTimeout &&
                        now - last_byte < upstream.event_deadline && now < deadline &&
                        x.interrupt.why() == Interruption::kNone;
      if (!idle) {
        broken = bytes.error();
        break;
      }
      // A model that thinks this long has taken the call: what it sent so far may go.
      if (!x.streaming && !passage.out.empty() && !co_await PassOn(x, passage, ports, runtime)) {
        broken = JournalError();
      }
      // Keeps proxies and clients from giving up on a model that thinks. Anthropic has an event
      // for it; elsewhere it is a comment.
      const std::string_view beat =
          IsAnthropic(x) ? "event: ping\ndata: {\"type\": \"ping\"}\n\n" : ": ping\n\n";
      if (x.streaming && !passage.caller_gone && !co_await ports.downstream.Send(beat)) {
        passage.caller_gone = true;
      }
    } else if (bytes->empty()) {
      if (EndsWithBody(x) && passage.meter.end() == StreamEnd::kCompleted) {
        passage.ended = true;
      } else {
        broken = Error{ErrorCode::kConnectionLost, ErrorSource::kUpstream, Retry::kOther,
                       "the stream ended without its last event"};
      }
    } else {
      last_byte = now;
      passage.splitter.Append(*bytes);
      const bool readable = TakeEvents(x, passage);
      if (passage.meter.content_seen()) NoteAlive(attempt, ports, now);
      // What came together with the end leaves together with it, in Finish.
      if (passage.MayLeave(x.streaming) && !co_await PassOn(x, passage, ports, runtime)) {
        broken = JournalError();
      }
      // Behind the write: a start after a crash charges what is noted here, and nobody pays for
      // what still waits for its intent to be on disk.
      const bool delivered =
          !passage.caller_gone || x.hang_up_rule() == config::HangUpRule::kDrainAndBill;
      if (x.streaming && passage.out.empty() && delivered) {
        NoteDelivered(x, passage, runtime.Now(), ports);
      }
      if (!passage.ended && !broken && !HoldMore(x, passage, ports)) {
        passage.out_of_hold = true;
        broken = Error{ErrorCode::kTooLarge, ErrorSource::kCaller, Retry::kNever,
                       "nothing pays for more output"};
      }
      if (!readable) {
        broken = Error{ErrorCode::kBadInput, ErrorSource::kUpstream, Retry::kOther,
                       "the event stream is malformed or has an oversized event"};
      }
    }
    if (!passage.ended && !broken && now >= deadline) {
      broken = Error{ErrorCode::kTimeout, ErrorSource::kUpstream, Retry::kNever, "total_deadline"};
    }
    if (passage.caller_gone && x.hang_up_rule() != config::HangUpRule::kDrainAndBill) {
      broken = Error{ErrorCode::kInterrupted, ErrorSource::kCaller, Retry::kNever, "caller gone"};
    }
    clock.Start();
  }
  x.served_model = passage.meter.served_model();
  // A transcript that is whole is not lost with what should have come behind it.
  if (x.operation.body == BodyKind::kForm && !passage.caller_gone &&
      x.interrupt.why() == Interruption::kNone && passage.meter.end() == StreamEnd::kCompleted) {
    passage.ended = true;
  }
  if (!passage.ended) {
    BreakStream(x, attempt, passage, *broken);
    co_return;
  }

  // An error before any content is a refusal in disguise: nothing has left, so it may be retried or
  // shown with a status of its own.
  const bool failed =
      passage.meter.end() == StreamEnd::kFailed || passage.meter.end() == StreamEnd::kError;
  if (failed) {
    const auto failure =
        dialect::ClassifyStreamError(x.operation.dialect, passage.meter.error(), runtime.WallNow());
    if (!x.streaming && !passage.meter.content_seen()) {
      x.held.clear();
      Fail(x, attempt, failure, 200, {}, false);
      x.reply.reset();
      co_return;
    }
    attempt.failure = failure.failure_class;
    attempt.detail = failure.error.message;
    attempt.report = {.outcome = OutcomeOf(failure.failure_class), .rest = failure.reset};
    x.ending = EndingKind::kUpstreamFailed;
  } else if (!x.streaming && IsEmpty(x, passage)) {
    x.held.clear();
    FailWithoutReply(x, attempt,
                     {ErrorCode::kBadInput, ErrorSource::kUpstream, Retry::kOther,
                      "the stream ended well and held nothing"});
    attempt.report.outcome = routing::Outcome::kEmptyReply;
    x.reply.reset();
    co_return;
  } else {
    NoteAlive(attempt, ports, runtime.Now());
  }
  x.usage = StreamUsage(x, passage, failed ? UsageSource::kCheckpoint : UsageSource::kEstimated);
  x.charge = !failed || passage.meter.content_seen() ||
             passage.meter.usage().source == UsageSource::kProvider;
  NoteMade(x, attempt, passage.meter.response_id());
  if (!x.streaming) {
    // The whole stream arrived at once. Its head leaves with everything else in Finish.
    x.held.insert(0, passage.out);
    passage.out.clear();
    if (!co_await PassOn(x, passage, ports, runtime)) {
      FailWithoutReply(x, attempt, JournalError());
      x.reply.reset();
    }
  } else {
    x.held.insert(0, passage.out);
  }
  if (passage.caller_gone) x.ending = EndingKind::kCallerGone;
}

}  // namespace

Task<void> Forward(Exchange& x, Ports& ports, Runtime& runtime) {
  Attempt& attempt = x.attempts.back();
  const config::Upstream& upstream = *attempt.upstream;
  const config::ModelRoute& route = *attempt.route;

  // Each attempt has its own name for the model; the other edits are the same for all.
  std::vector<dialect::Edit> edits = x.plan.edits;
  const std::string& upstream_model = route.upstream_model.empty() || route.upstream_model == "*"
                                          ? x.plan.shape.model
                                          : route.upstream_model;
  if (upstream_model != x.plan.shape.model) {
    dialect::EditModel(x.plan.shape, upstream_model, edits);
  }
  const auto pieces = dialect::Pieces(x.plan.body, edits);
  if (!pieces) {
    FailWithoutReply(x, attempt,
                     {ErrorCode::kBadInput, ErrorSource::kUs, Retry::kNever, pieces.error()});
    co_return;
  }

  UpstreamRequest request;
  request.upstream = &upstream;
  request.target = TargetOf(x, upstream, upstream_model);
  request.account = attempt.account;
  request.headers = UpstreamHeaders(x, attempt);
  request.body = pieces->pieces;
  // Of the exchange and not of the attempt: ten attempts take no longer than one may.
  const Tick deadline = x.timings.started_at + upstream.total_deadline;
  request.deadline = deadline;
  UpstreamClock clock(x, runtime);
  attempt.sent_at = runtime.Now();
  auto reply = co_await ports.upstreams.Send(std::move(request), x.interrupt);
  if (!reply) {
    clock.Stop();
    FailWithoutReply(x, attempt, reply.error());
    co_return;
  }
  attempt.status = (*reply)->status();
  if (attempt.status < 200 || attempt.status > 299) {
    co_return co_await ReadFailure(x, attempt, std::move(*reply), clock, runtime);
  }
  if (!(*reply)->Find("content-encoding").empty() &&
      (*reply)->Find("content-encoding") != "identity") {
    clock.Stop();
    FailWithoutReply(x, attempt,
                     {ErrorCode::kBadInput, ErrorSource::kUpstream, Retry::kOther,
                      "the reply is compressed although it was not asked to be"});
    co_return;
  }
  x.status = attempt.status;
  x.charge = true;
  x.failure.reset();
  x.reply = std::move(*reply);
  const bool form = x.operation.body == BodyKind::kForm;  // its stream is never gathered
  if ((x.plan.stream || form) && IsEventStream(*x.reply)) {
    co_return co_await ForwardStream(x, attempt, ports, runtime, clock, deadline);
  }
  if (IsEventStream(*x.reply) && dialect::IsOpenAi(x.operation.dialect)) {
    co_return co_await ForwardAggregated(x, attempt, ports, runtime, clock, deadline);
  }
  co_await ForwardJson(x, attempt, ports, runtime, clock, deadline);
}

}  // namespace weir::gateway
