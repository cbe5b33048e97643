#include "server/session.h"

#include <utility>

#include "dialect/reply_body.h"
#include "gateway/pipeline.h"

namespace weir::server {
namespace {

using telemetry::Live;

// Adds one to a gauge for as long as it lives.
class Present {
 public:
  Present(telemetry::Metrics& metrics, std::int32_t worker, Live what)
      : metrics_(metrics), worker_(worker), what_(what) {
    metrics_.Move(worker_, what_, 1);
  }
  Present(const Present&) = delete;
  Present& operator=(const Present&) = delete;
  ~Present() { metrics_.Move(worker_, what_, -1); }

 private:
  telemetry::Metrics& metrics_;
  std::int32_t worker_;
  Live what_;
};

RequestId NewRequestId(Runtime& runtime, Instant now) {
  Random& random = runtime.Entropy();
  const std::uint64_t high = random.Next();
  return RequestId{MakeId(now, high, random.Next())};
}

}  // namespace

std::optional<Page> HealthPage(std::string_view path, bool draining) {
  if (path == "/livez") return Page{200, "application/json", "{\"status\":\"ok\"}\n"};
  if (path != "/readyz") return std::nullopt;
  if (draining) return Page{503, "application/json", "{\"status\":\"draining\"}\n"};
  return Page{200, "application/json", "{\"status\":\"ok\"}\n"};
}

Session::Session(std::int32_t worker, const SessionShared& shared, net::Loop& loop,
                 gateway::Upstreams& upstreams, gateway::Credit& credit,
                 gateway::Accounts& accounts, std::shared_ptr<const gateway::Snapshot> snapshot)
    : worker_(worker),
      shared_(shared),
      loop_(loop),
      upstreams_(upstreams),
      credit_(credit),
      accounts_(accounts),
      snapshot_(std::move(snapshot)) {}

std::string Session::BadRequestBody(int status, std::string_view reason) {
  std::string body = "{\"error\":{\"message\":";
  dialect::AppendJsonString(body, reason);
  body += ",\"type\":\"invalid_request_error\",\"param\":null,\"code\":";
  body += status == 431 || status == 414 ? "\"request_head_too_large\"" : "\"bad_http\"";
  body += "}}";
  return body;
}

Task<void> Session::Handle(const gateway::RequestHead& head, gateway::Downstream& downstream,
                           Tick started_at) {
  // The exchange keeps the snapshot it starts with, whatever is published meanwhile.
  const std::shared_ptr<const gateway::Snapshot> snapshot = snapshot_;
  if (head.method == "GET" || head.method == "HEAD") {
    auto page = HealthPage(head.path, shared_.draining.load(std::memory_order_relaxed));
    if (!page && shared_.page) page = shared_.page(*snapshot->config, head.path, head.Find("host"));
    if (page) {
      gateway::ReplyHead reply;
      reply.status = page->status;
      reply.content_type = page->content_type;
      co_await downstream.Reply(std::move(reply), page->body);
      co_return;
    }
  }

  const Present present(shared_.metrics, worker_, Live::kRequests);
  gateway::Exchange x;
  x.started_at = loop_.WallNow();
  x.id = NewRequestId(loop_, x.started_at);
  x.head = &head;
  x.snapshot = snapshot.get();
  x.reader = &reader_;
  x.timings.started_at = started_at;
  gateway::Ports ports{downstream, upstreams_, credit_, accounts_};
  co_await gateway::Serve(x, ports, loop_);
  Record(x);
}

void Session::Record(gateway::Exchange& x) {
  telemetry::ExchangeRecord record;
  record.request = x.id;
  if (x.principal) record.key = x.principal->key->id;
  record.started_at = x.started_at;
  record.ending = x.ending;
  record.refusal = x.reason.refusal;
  record.status = x.status;
  record.operation = x.operation.name;
  record.model = x.plan.shape.model;
  record.model_served = x.served_model;
  record.attempts = static_cast<std::int32_t>(x.attempts.size());
  if (!x.attempts.empty()) {
    record.upstream = x.attempts.back().account->id;
    record.sandbox = x.attempts.back().upstream->kind == config::UpstreamKind::kSandbox;
  }
  record.stream = x.plan.stream;
  record.usage = x.usage;
  record.held = x.admission.held;
  record.charged = x.settlement.charged;
  record.overrun = x.settlement.overrun;
  record.total = loop_.Now() - x.timings.started_at;
  record.queue_time = x.timings.queue;
  record.sticky = Name(x.routing.stickiness);
  record.changes = gateway::ChangesOf(x);
  record.upstream_time = x.timings.upstream;
  record.first_byte = x.timings.first_byte;
  record.durable_time = x.timings.durable;
  shared_.metrics.RecordExchange(worker_, record);
  if (x.config().log_exchanges) shared_.log.Exchange(record);
  shared_.requests.Append(record);
}

}  // namespace weir::server
