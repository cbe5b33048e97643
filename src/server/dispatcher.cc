#include "server/dispatcher.h"

#include <algorithm>
#include <array>
#include <utility>

#include "config/webhook.h"
#include "dialect/failure_class.h"
#include "server/delivery_rule.h"
#include "server/webhook_message.h"

namespace weir::server {
namespace {

using Verdict = store::Attempt::Verdict;

// Of a reply's body, which nobody reads: as much as makes the connection good for another request.
constexpr std::size_t kDrainBytesMax = 64 << 10;
constexpr Duration kDrainWait = Seconds(1);
// After the outbox could not be read or written.
constexpr Duration kProblemWait = Seconds(1);
// What is kept of why an attempt failed.
constexpr std::size_t kErrorBytesMax = 200;

std::optional<Instant> Earlier(std::optional<Instant> a, std::optional<Instant> b) {
  if (!a || !b) return a ? a : b;
  return std::min(*a, *b);
}

// A receiver's own words stay out of it: they are whatever stands at an address that somebody
// chose.
std::string ErrorOf(std::int64_t status) {
  if (status >= 200 && status <= 299) return {};
  std::string text = "it answered " + std::to_string(status);
  if (status >= 300 && status <= 399) text += "; redirects are not followed";
  return text;
}

Task<void> Drain(gateway::UpstreamReply& reply, Runtime& runtime) {
  const Tick until = runtime.Now() + kDrainWait;
  std::size_t read = 0;
  while (read < kDrainBytesMax && runtime.Now() < until) {
    const auto bytes = co_await reply.Read(until - runtime.Now());
    if (!bytes || bytes->empty()) co_return;
    read += bytes->size();
  }
}

}  // namespace

bool Endpoint::Wants(std::string_view event_type) const {
  return events.empty() || std::ranges::find(events, event_type) != events.end();
}

Result<EndpointPtr> MakeEndpoint(const config::Webhook& webhook) {
  const auto bad = [&](std::string_view what) {
    return Fail(ErrorCode::kBadInput, ErrorSource::kEnvironment,
                "webhook " + webhook.name + ": " + std::string(what));
  };
  auto url = config::ParseWebhookUrl(webhook.url);
  if (!url) return bad("its url is not https://HOST[:PORT][/PATH][?QUERY]");
  if (!url->tls && !webhook.allow_private) return bad("http:// is for allow_private: true only");
  auto keys = config::ParseWebhookSecret(webhook.secret.Reveal());
  if (!keys) return bad("its secret is not whsec_ and the base64 of 24 to 64 bytes");
  auto endpoint = std::make_shared<Endpoint>();
  endpoint->name = webhook.name;
  endpoint->origin = config::OriginText(*url);
  endpoint->target = std::move(url->target);
  endpoint->keys = *std::move(keys);
  endpoint->events = webhook.events;
  endpoint->allow_private = webhook.allow_private;
  config::Upstream& upstream = endpoint->upstream;
  upstream.name = webhook.name;
  upstream.tls = url->tls;
  upstream.host = std::move(url->host);
  upstream.port = url->port;
  upstream.connect_deadline = Dispatcher::kDeadline;
  upstream.first_byte_deadline = Dispatcher::kDeadline;
  upstream.total_deadline = Dispatcher::kDeadline;
  return endpoint;
}

void Dispatcher::Configure(const std::vector<EndpointPtr>& endpoints) {
  for (auto& [name, lane] : lanes_) lane.endpoint = nullptr;
  for (const EndpointPtr& endpoint : endpoints) lanes_[endpoint->name].endpoint = endpoint;
}

std::optional<Instant> Dispatcher::Turn() {
  if (stopping_) return std::nullopt;
  const Instant now = ports_.runtime.WallNow();
  std::erase_if(unwritten_, [this](const store::Attempt& attempt) { return Write(attempt); });
  std::optional<Instant> next;
  if (!unwritten_.empty()) next = now + kProblemWait;
  for (auto& [name, lane] : lanes_) next = Earlier(next, TurnOf(lane, now));
  return next;
}

std::optional<Instant> Dispatcher::TurnOf(Lane& lane, Instant now) {
  if (lane.endpoint == nullptr) return std::nullopt;
  // One at a time to an endpoint under load.
  const std::size_t room = lane.throttled > 0 ? 1 : kUnderWayMax;
  if (lane.under_way >= room) return std::nullopt;
  // A time further off than any wait is one of before the clock was set back.
  const auto later = [&](Instant at) { return at > now && at - now <= kDeliveryWaitMax; };
  if (later(lane.paused_until)) return lane.paused_until;
  // Of so many, the busy ones left out, one more is left than may begin.
  const auto pending =
      ports_.store.Pending(lane.endpoint->name, lane.under_way + unwritten_.size() + room + 1);
  if (!pending) {
    if (hooks_.problem) hooks_.problem(pending.error());
    return now + kProblemWait;
  }
  for (const store::DueDelivery& due : *pending) {
    if (busy_.contains(due.id)) continue;
    if (later(due.next_at)) return due.next_at;
    if (lane.under_way >= room) return std::nullopt;
    ++lane.under_way;
    busy_.insert(due.id);
    Spawn(Deliver(lane.endpoint, due));
  }
  return std::nullopt;
}

Task<void> Dispatcher::Deliver(EndpointPtr endpoint, store::DueDelivery due) {
  gateway::Interrupt interrupt;
  interrupts_.insert(&interrupt);
  const Instant at = ports_.runtime.WallNow();
  const std::string body = WebhookBody(due.event);
  const std::array<std::string_view, 1> pieces = {body};
  gateway::UpstreamRequest request;
  request.upstream = &endpoint->upstream;
  request.target = endpoint->target;
  request.headers = WebhookHeaders(due.event, body, at, endpoint->keys);
  request.body = pieces;
  request.deadline = ports_.runtime.Now() + kDeadline;
  gateway::Upstreams& upstreams = endpoint->allow_private ? ports_.anywhere : ports_.outside;
  auto reply = co_await upstreams.Send(std::move(request), interrupt);
  if (reply) {
    const int status = (*reply)->status();
    const auto retry_after = dialect::ParseRetryAfter((*reply)->Find("retry-after"), at);
    co_await Drain(**reply, ports_.runtime);
    reply->reset();  // it refers to the interrupt
    Settle(*endpoint, due, at, status, retry_after, ErrorOf(status));
  } else if (reply.error().code != ErrorCode::kInterrupted) {
    Settle(*endpoint, due, at, 0, std::nullopt, reply.error().detail);
  } else {
    busy_.erase(due.id);
  }
  interrupts_.erase(&interrupt);
  --lanes_.find(endpoint->name)->second.under_way;
  if (hooks_.room) hooks_.room();
}

void Dispatcher::Settle(const Endpoint& endpoint, const store::DueDelivery& due, Instant at,
                        std::int64_t status, std::optional<Duration> retry_after,
                        std::string error) {
  Lane& lane = lanes_.find(endpoint.name)->second;
  const DeliveryDecision decision = Decide({.status = status, .retry_after = retry_after},
                                           due.attempts, lane.throttled, ports_.runtime.Entropy());
  const Instant now = ports_.runtime.WallNow();
  if (decision.pause.ns > 0) {
    ++lane.throttled;
    lane.paused_until = std::max(lane.paused_until, now + decision.pause);
  } else if (status != 0) {
    lane.throttled = 0;
  }
  error.resize(std::min(error.size(), kErrorBytesMax));
  store::Attempt attempt{.delivery = due.id,
                         .endpoint = endpoint.name,
                         .at = at,
                         .status = status,
                         .error = std::move(error),
                         .verdict = decision.verdict,
                         .next_at = now + decision.wait};
  if (!Write(attempt)) unwritten_.push_back(std::move(attempt));
}

bool Dispatcher::Write(const store::Attempt& attempt) {
  const auto change = ports_.store.Record(attempt);
  if (!change) {
    if (hooks_.problem) hooks_.problem(change.error());
    return false;
  }
  busy_.erase(attempt.delivery);
  if (hooks_.recorded) hooks_.recorded(attempt, *change);
  return true;
}

void Dispatcher::Stop() {
  stopping_ = true;
  // Firing may end an attempt at once, which takes it out of the set.
  const std::vector<gateway::Interrupt*> under_way(interrupts_.begin(), interrupts_.end());
  for (gateway::Interrupt* const interrupt : under_way) {
    if (interrupts_.contains(interrupt)) interrupt->Fire(gateway::Interruption::kDrain);
  }
}

}  // namespace weir::server
