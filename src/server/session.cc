#include "server/session.h"

#include <algorithm>
#include <utility>

#include "dialect/reply_body.h"
#include "gateway/pipeline.h"
#include "server/events.h"
#include "server/receipt.h"

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
      snapshot_(std::move(snapshot)),
      receipts_(shared.receipts, [&loop](std::function<void()> f) { loop.Post(std::move(f)); }),
      replies_(shared.replies, [&loop](std::function<void()> f) { loop.Post(std::move(f)); }),
      wallets_(shared.teller, shared.receipts,
               [&loop](std::function<void()> f) { loop.Post(std::move(f)); }),
      approvals_(shared.policies, shared.approvals, shared.receipts,
                 [&loop](std::function<void()> f) { loop.Post(std::move(f)); }),
      actions_(shared.actions, shared.receipts,
               [&loop](std::function<void()> f) { loop.Post(std::move(f)); }) {}

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
    if (!page && head.path == kReceiptKeyPath) {
      page = Page{200, "application/json", ReceiptKeyBody(shared_.receipts.key())};
    }
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
  gateway::Ports ports{.downstream = downstream,
                       .upstreams = upstreams_,
                       .credit = credit_,
                       .accounts = accounts_,
                       .receipts = &receipts_,
                       .replies = &replies_,
                       .wallets = &wallets_,
                       .approvals = &approvals_,
                       .actions = &actions_};
  co_await gateway::Serve(x, ports, loop_);
  Record(x);
}

namespace {

constexpr std::string_view Name(config::UpstreamKind kind) {
  switch (kind) {
    case config::UpstreamKind::kSandbox:
      return "sandbox";
    case config::UpstreamKind::kOpenAi:
      return "openai";
    case config::UpstreamKind::kAnthropic:
      return "anthropic";
    case config::UpstreamKind::kGemini:
      return "gemini";
  }
  return "";
}

constexpr std::string_view Name(config::HangUpRule rule) {
  switch (rule) {
    case config::HangUpRule::kAbortAndBillObserved:
      return "abort_and_bill_observed";
    case config::HangUpRule::kAbortAndVoid:
      return "abort_and_void";
    case config::HangUpRule::kDrainAndBill:
      return "drain_and_bill";
  }
  return "";
}

// "openai/a 429 burst, openai/b 200 served". One that served at once tells nothing of its own.
std::string AttemptsTold(const gateway::Exchange& x) {
  if (x.attempts.empty() || (x.attempts.size() == 1 && x.ending == EndingKind::kServed)) return {};
  std::string text;
  for (const gateway::Attempt& attempt : x.attempts) {
    if (!text.empty()) text += ", ";
    text += attempt.account->id;
    text += ' ';
    text += std::to_string(attempt.status);
    text += ' ';
    text += attempt.failure == dialect::FailureClass::kNone ? routing::Name(attempt.report.outcome)
                                                            : dialect::Name(attempt.failure);
  }
  return text;
}

// What policies see of it, kept also where there are none: what they would do is asked later.
telemetry::Attributes AttributesOf(const gateway::Exchange& x) {
  using config::Dimension;
  policy::Facts facts;
  if (x.principal) {
    const identity::KeyRecord& key = *x.principal->key;
    facts[Dimension::kEnvironment] = x.config().environment;
    // A request that ended before it could say anything of itself is its key's.
    const auto& said = x.metadata.attributes.empty() ? key.attributes : x.metadata.attributes;
    for (const config::Attribute& attribute : said) facts[attribute.dimension] = attribute.value;
    facts[Dimension::kKey] = key.name;
    facts[Dimension::kWorkspace] = key.workspace;
  }
  if (!x.attempts.empty()) facts[Dimension::kProvider] = x.attempts.back().upstream->name;
  if (const config::Model* const model = x.plan.model; model != nullptr) {
    facts[Dimension::kModelFamily] = model->family;
    facts[Dimension::kModelClass] = model->model_class;
    facts[Dimension::kModality] = x.plan.shape.audio ? "audio" : "text";
    if (!x.relief.policy.empty()) {
      const std::string_view moved = x.relief.model;
      const std::string_view first = moved.substr(0, moved.find("->"));
      facts[Dimension::kModel] = first == "*" ? std::string_view(x.plan.shape.model) : first;
    }
  }
  telemetry::Attributes attributes;
  for (std::size_t i = 0; i < facts.values.size(); ++i) {
    attributes.Add(static_cast<Dimension>(i), facts.values[i]);
  }
  return attributes;
}

// What quota policies were asked and said.
void RecordPolicies(const gateway::Exchange& x, telemetry::ExchangeRecord& record) {
  record.attributes = AttributesOf(x);
  record.action = x.metadata.action;
  record.policy_refused = x.reason.policy;
  record.policy_degraded = x.relief.policy;
  record.policies_shadow = gateway::ShadowRefusals(x);
  if (x.plan.model == nullptr) return;
  const gateway::Quote& quote = x.plan.quote;
  record.output_tokens_asked = quote.output_tokens_bound;
  record.output_choices = quote.output_choices;
  record.output_tokens_useful = quote.output_tokens_useful;
  record.multiplier_ppm = quote.multiplier_ppm;
  if (x.attempts.size() > 1) record.fallback_spend = gateway::FallbackSpend(x);
}

// What the credit machine was asked and said.
void RecordAdmission(const gateway::Exchange& x, telemetry::ExchangeRecord& record) {
  const gateway::AdmitReply& admission = x.admission;
  record.requests = {admission.requests.limit, admission.requests.remaining};
  record.tokens = {admission.tokens.limit, admission.tokens.remaining};
  if (x.plan.model == nullptr) return;
  record.model_charged = x.plan.model->id;
  const gateway::Quote& quote = x.plan.quote;
  record.price = PriceBytes(quote.price);
  record.budget = x.principal->key->limits.budget;
  record.budget_remaining = admission.budget_remaining;
  record.input_tokens_bound = quote.input_tokens_bound;
  record.audio_ms_bound = quote.audio_ms_bound;
  record.tool_calls_bound = quote.tool_calls_bound;
  if (admission.position.n == 0) return;
  record.hang_up_rule = Name(x.hang_up_rule());
  record.charge = x.charge && x.operation.kind != gateway::OperationKind::kCountTokens;
  record.output_tokens_bound =
      admission.output_tokens_granted * std::max<std::int64_t>(quote.output_choices, 1);
  record.output_tokens_granted = admission.clamped ? admission.output_tokens_granted : 0;
  record.hold_position = admission.position.n;
  record.settle_position = x.settlement.position.n;
  record.adaptive = gateway::HoldModeOf(x) == gateway::HoldMode::kAdaptive;
  if (const auto& rate = x.settlement.wallet) {
    record.wallet = {.unit = rate->unit == ledger::Unit::kQuotaToken ? "quota_token" : "nano_usd",
                     .multiplier_ppm = rate->multiplier_ppm,
                     .held = admission.wallet_held.n,
                     .charged = x.settlement.wallet_charged.n,
                     .overrun = x.settlement.wallet_overrun.n,
                     .left = x.settlement.wallet_remaining.n,
                     .low = x.settlement.wallet_low};
  }
}

// An operator's chance to sell the next pack before calls fail.
void TellLow(const gateway::Exchange& x, const telemetry::WalletKept& wallet, Instant now,
             const SessionShared& shared) {
  const identity::KeyRecord& key = *x.principal->key;
  const std::string owner =
      key.workspace.empty() ? "key:key_" + ToString(key.id) : "workspace:" + key.workspace;
  shared.log.Write(telemetry::Level::kWarning, "wallet is low",
                   {{"owner", owner}, {"unit", wallet.unit}, {"left", wallet.left}});
  shared.courier.Offer(WalletLowEvent(x.id, owner, wallet.unit, wallet.left, now));
}

}  // namespace

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
    record.upstream_kind = Name(x.attempts.back().upstream->kind);
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
  record.attempts_told = AttemptsTold(x);
  record.queue_position = x.routing.queue_position;
  RecordAdmission(x, record);
  RecordPolicies(x, record);
  shared_.metrics.RecordExchange(worker_, record);
  if (record.wallet && record.wallet->low) TellLow(x, *record.wallet, loop_.WallNow(), shared_);
  if (x.config().log_exchanges) shared_.log.Exchange(record);
  shared_.requests.Append(record);
}

}  // namespace weir::server
