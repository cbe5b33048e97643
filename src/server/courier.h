// Tells operators' systems what happens, by signed webhooks (Standard Webhooks 1.0.0): one Courier
// for the process, with a thread and a loop of its own as soon as there is an endpoint, and nothing
// at all before.
//
//   any thread   Offer(), Take() -> lock { queue } -> goes on
//   admin        Keep(), Test(), Retry(), Enable() -> the outbox, on disk -> goes on
//   weir-webhooks   queue -> outbox (store/webhook_store), then Dispatcher::Turn over net/
//
// Deliveries are at least once: a kill between a receiver's reply and the outbox sends it again,
// with the same id. Their order is not promised.
//
// Invariants:
//   1. Offer and Take wait for no disk and no network, whatever receivers do.
//   2. What Keep has returned for is delivered, however often the process is killed, or given up by
//      the schedule.
//   3. What was Taken from the journal is on disk together with the position it was taken up to.
//   4. A reload loses nothing that is pending.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "config/config.h"
#include "store/webhook_store.h"
#include "telemetry/event.h"
#include "telemetry/log.h"
#include "telemetry/metrics.h"

namespace weir::server {

// An endpoint of the configuration, and how it fares. Without its secret, and of its URL only what
// may be shown.
struct EndpointView {
  std::string name;
  std::string origin;               // "https://hooks.example.com"
  std::vector<std::string> events;  // empty: all
  bool allow_private = false;
  store::EndpointRecord record;
};

class Courier {
 public:
  struct Options {
    std::string path;  // data_dir/webhooks.db
    store::WebhookStore::Options store = {};
    telemetry::Log* log = nullptr;  // outlives it; null: nothing is said
    std::function<Instant()> wall_now;
    // Events that wait to be written; more are dropped and counted.
    std::size_t queue_max = 4'096;
    // After an attempt was written down, on the courier's thread. For tests.
    std::function<void(const store::Attempt&)> recorded = {};
  };

  // Opens the outbox and begins with what is pending in it. Without endpoints it opens only one
  // that is there already, to show it, and starts no thread.
  //   fails  as WebhookStore::Open
  static Result<std::unique_ptr<Courier>> Start(const std::vector<config::Webhook>& webhooks,
                                                Options options);
  ~Courier();
  Courier(const Courier&) = delete;
  Courier& operator=(const Courier&) = delete;

  // From now on these endpoints. One with the URL of before keeps its state, another URL is a new
  // endpoint.    fails  as WebhookStore::Open; then nothing has changed
  Result<void> Configure(const std::vector<config::Webhook>& webhooks);

  // Tells whoever wants it. Any thread; never waits. On disk soon, in the order of the calls: what
  // was offered within the last milliseconds before a kill may be lost. With no endpoint it does
  // nothing; what is too large, or finds the queue full, is dropped and counted.
  void Offer(telemetry::Event event);
  // The same, on disk when it returns; for threads that may wait for one. When the disk refuses, as
  // Offer.
  void Keep(telemetry::Event event);
  // Events that the journal has on record up to `position`, and nothing else of it: after a kill
  // the next start offers again what came behind taken(). Any thread, positions ascending; never
  // waits. When one had to be dropped, taken() stays behind it, so that the next start offers it
  // again.
  void Take(std::vector<telemetry::Event> events, std::int64_t position);
  // Up to where the journal's events were taken before this start. None: nothing was, or there was
  // no endpoint meanwhile; what happened before is then nobody's affair.
  std::optional<std::int64_t> taken() const;
  bool has_endpoints() const;

  // A webhook.test event to one endpoint, whatever events it wants.
  //   fails  kNotFound, kConflict (it is disabled, or too much is pending to it), kUnavailable
  Result<store::Delivery> Test(std::string_view endpoint);
  // Sends a delivery again, now.
  //   fails  kNotFound, kConflict (its endpoint is disabled or not in the configuration),
  //          kUnavailable
  Result<store::Delivery> Retry(store::DeliveryId id);
  // Takes an endpoint that answered 410 back into service; returns how many of its deliveries are
  // pending again.    fails  kNotFound, kUnavailable
  Result<std::int64_t> Enable(std::string_view endpoint);

  // In the order of the configuration.
  Result<std::vector<EndpointView>> Endpoints() const;
  Result<std::vector<store::Delivery>> Deliveries(const store::DeliveryQuery& query) const;

  // Once; the courier outlives the metrics' last scrape.
  void Register(telemetry::Metrics& metrics);

  // Writes what is queued and delivers no more; attempts under way are cut, and made again by the
  // next start. Call when nobody offers any more.
  void Stop();

 private:
  struct State;
  explicit Courier(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace weir::server
