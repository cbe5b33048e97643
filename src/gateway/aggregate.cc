// A reply that streams although JSON was asked for, gathered into one JSON reply. It leaves as any
// JSON reply does: whole, in Finish, when its charge is on disk.
#include <utility>

#include "dialect/sse.h"
#include "dialect/stream_aggregate.h"
#include "dialect/usage_reader.h"
#include "gateway/attempt.h"
#include "gateway/pipeline.h"

namespace weir::gateway {
namespace {

Error Broken(ErrorCode code, std::string_view detail) {
  return {code, ErrorSource::kUpstream, Retry::kOther, std::string(detail)};
}

}  // namespace

Task<void> ForwardAggregated(Exchange& x, Attempt& attempt, Ports& ports, Runtime& runtime,
                             UpstreamClock& clock, Tick deadline) {
  const config::Upstream& upstream = *attempt.upstream;
  dialect::SseSplitter splitter;
  dialect::StreamMeter meter(x.operation.dialect);
  dialect::StreamAggregate aggregate(
      x.operation.dialect,
      {.bytes_max = static_cast<std::size_t>(upstream.reply_bytes_max), .model = {}});
  std::optional<Error> broken;
  bool more = true;
  while (more && !broken) {
    const auto bytes = co_await x.reply->Read(upstream.event_deadline);
    if (!bytes) {
      broken = bytes.error();
      break;
    }
    if (bytes->empty()) break;
    if (runtime.Now() >= deadline) {
      broken = Broken(ErrorCode::kTimeout, "total_deadline");
      break;
    }
    splitter.Append(*bytes);
    dialect::SseEvent event;
    while (more && !broken) {
      const dialect::SseStatus status = splitter.Next(event);
      if (status == dialect::SseStatus::kNeedMore) break;
      if (status != dialect::SseStatus::kEvent) {
        broken =
            Broken(ErrorCode::kBadInput, "the event stream is malformed or has an oversized event");
        break;
      }
      meter.OnEvent(event);
      more = aggregate.Add(event);
    }
    if (meter.content_seen()) NoteAlive(attempt, ports, runtime.Now());
  }
  clock.Stop();
  x.served_model = meter.served_model();
  if (broken) {
    FailWithoutReply(x, attempt, *broken);
    x.reply.reset();
    co_return;
  }
  auto body = aggregate.Finish();
  if (!body) {
    if (body.error().failure == dialect::AggregateFailure::kUpstream) {
      Fail(x, attempt,
           dialect::ClassifyStreamError(x.operation.dialect, body.error().error, runtime.WallNow()),
           200, {}, false);
    } else {
      FailWithoutReply(x, attempt,
                       Broken(ErrorCode::kBadInput, "the stream could not be gathered: " +
                                                        std::string(Name(body.error().failure))));
    }
    x.reply.reset();
    co_return;
  }
  x.usage = meter.usage();
  if (x.usage.source == UsageSource::kNone) {
    x.usage = OwnCount(x, meter.EstimatedOutputTokens(), UsageSource::kEstimated);
  }
  x.held = std::move(*body);
  x.held_type = "application/json";
  NoteAlive(attempt, ports, runtime.Now());
  NoteMade(x, attempt, meter.response_id());
}

}  // namespace weir::gateway
