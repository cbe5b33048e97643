// Sends what the outbox of the webhooks holds: which delivery is next, how many at once, what their
// replies mean. Everything of the courier but its thread, its clock and its sockets, which it is
// given, so that a test has four days of retries in a millisecond.
//
//   outbox (store/webhook_store) --Turn: due, and its endpoint has room--> attempt under way
//        ^                                                                     |
//        \---- Record: delivered, next_at, failed or disabled <----------------/ reply, or none
//
// Invariants:
//   1. An endpoint has a bounded number of attempts under way and none while it has asked for a
//      pause; what one endpoint does never holds up another.
//   2. An attempt is written down before the same delivery is tried again, whatever the disk does.
//   3. An attempt that a stop cut short is none: it is made again, with the same id.
//   4. An endpoint that may not reach private addresses goes through `outside`, which sees to it.
//
// Everything on one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/runtime.h"
#include "base/task.h"
#include "config/config.h"
#include "gateway/ports.h"
#include "store/webhook_store.h"

namespace weir::server {

// An endpoint as it is sent to. Immutable; an attempt keeps the one it began with.
struct Endpoint {
  std::string name;
  std::string origin;               // "https://hooks.example.com": what may be shown of its URL
  std::string target;               // path and query
  config::Upstream upstream;        // its address, with the deadlines of a delivery
  std::vector<std::string> keys;    // to sign with: secret
  std::vector<std::string> events;  // empty: all
  bool allow_private = false;

  bool Wants(std::string_view event_type) const;
};
using EndpointPtr = std::shared_ptr<const Endpoint>;

// fails  kBadInput: the URL or the secret is not of its form, or it is http:// without
// allow_private
Result<EndpointPtr> MakeEndpoint(const config::Webhook& webhook);

class Dispatcher {
 public:
  static constexpr std::size_t kUnderWayMax = 4;  // of one endpoint
  static constexpr Duration kDeadline = Seconds(15);

  // All of it outlives the dispatcher.
  struct Ports {
    store::WebhookStore& store;
    gateway::Upstreams& outside;   // goes to public addresses only
    gateway::Upstreams& anywhere;  // for endpoints with allow_private
    Runtime& runtime;
  };
  struct Hooks {
    // An attempt was written down.
    std::function<void(const store::Attempt&, const store::WebhookStore::Change&)> recorded;
    // The outbox cannot be read or written now.
    std::function<void(const Error&)> problem;
    // An attempt has ended, so a Turn may begin another. Must not call Turn itself.
    std::function<void()> room;
  };
  Dispatcher(Ports ports, Hooks hooks) : ports_(ports), hooks_(std::move(hooks)) {}

  // From now on these. Attempts under way go on; what is pending to one that is gone waits for its
  // return.
  void Configure(const std::vector<EndpointPtr>& endpoints);

  // Begins every attempt that is due and has room.
  //   returns  when to be called again at the latest; none: when `room` is called, or something was
  //            added
  std::optional<Instant> Turn();

  // Begins nothing more, and ends what is under way; `idle` once it has ended.
  void Stop();
  bool idle() const { return interrupts_.empty(); }

 private:
  // What is known of an endpoint besides its configuration. Kept when it goes: attempts to it may
  // be under way.
  struct Lane {
    EndpointPtr endpoint;  // null: not in the configuration
    std::size_t under_way = 0;
    std::int64_t throttled = 0;  // replies in a row that asked for a pause
    Instant paused_until;
  };

  std::optional<Instant> TurnOf(Lane& lane, Instant now);
  Task<void> Deliver(EndpointPtr endpoint, store::DueDelivery due);
  void Settle(const Endpoint& endpoint, const store::DueDelivery& due, Instant at,
              std::int64_t status, std::optional<Duration> retry_after, std::string error);
  bool Write(const store::Attempt& attempt);

  Ports ports_;
  Hooks hooks_;
  std::map<std::string, Lane, std::less<>> lanes_;
  std::set<store::DeliveryId> busy_;  // under way, or made and not yet written down
  std::set<gateway::Interrupt*> interrupts_;
  std::vector<store::Attempt> unwritten_;
  bool stopping_ = false;
};

}  // namespace weir::server
