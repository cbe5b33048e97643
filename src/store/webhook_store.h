// The outbox of the webhooks: data_dir/webhooks.db. Events to be told, one delivery for each
// endpoint that is told, what became of the attempts, and how the endpoints fare.
//
//   Add -> pending --Record: delivered--> delivered
//             |  ^ \--Record: retry, until the schedule ends--> failed
//             |  \------------------- Retry ----- any of the other three
//             \--Record: disable (410), or added to a disabled endpoint--> disabled
//                                                                --Enable--> pending, what is
//                                                                recent
//
// Invariants:
//   1. An event is kept once, whoever offers it how often; what is in here when Add returns is
//   there
//      after a kill.
//   2. Events of the journal and the position up to which they were taken are one transaction:
//   after
//      a crash neither is there without the other.
//   3. A delivery that is pending is not deleted before its time, and there is a bound on how many
//      of an endpoint may be pending: what is accepted is kept, what is not is counted.
//
// Any thread, one at a time (a mutex inside); never a worker, for it waits for the disk.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "config/config.h"
#include "telemetry/event.h"

namespace weir::store {

// Frozen: the values are on disk.
enum class DeliveryState : std::uint8_t {
  kPending = 0,
  kDelivered = 1,
  kFailed = 2,
  kDisabled = 3
};
inline constexpr std::array<std::string_view, 4> kDeliveryStateNames = {"pending", "delivered",
                                                                        "failed", "disabled"};
constexpr std::string_view Name(DeliveryState state) {
  return kDeliveryStateNames[static_cast<std::size_t>(state)];
}

struct DeliveryId {
  std::int64_t n = 0;
  friend constexpr auto operator<=>(DeliveryId, DeliveryId) = default;
};

// An event on its way to one endpoint.
struct Delivery {
  DeliveryId id;
  std::string endpoint;
  std::string event_id;
  std::string event_type;
  Instant event_time;
  DeliveryState state = DeliveryState::kPending;
  std::int64_t attempts = 0;  // made so far; begins again with Retry
  Instant created_at;
  Instant next_at;  // while pending
  std::optional<Instant> last_at;
  std::int64_t last_status = 0;  // of HTTP; 0: no reply came
  std::string last_error;        // empty: it arrived, or nothing was tried
};

// One that is pending, with all that is sent.
struct DueDelivery {
  DeliveryId id;
  std::int64_t attempts = 0;
  Instant next_at;
  telemetry::Event event;
};

// What one attempt came to.
struct Attempt {
  enum class Verdict : std::uint8_t {
    kDelivered,
    kRetry,    // at next_at
    kFailed,   // given up
    kDisable,  // the receiver wants no more: nor does any other delivery to it leave
  };
  DeliveryId delivery;
  std::string endpoint;
  Instant at;
  std::int64_t status = 0;
  std::string error;
  Verdict verdict = Verdict::kDelivered;
  Instant next_at;
};

// How an endpoint fares, in the order in which one hides the next.
enum class EndpointState : std::uint8_t {
  kDisabled,  // it answered 410
  kFailing,   // a delivery was given up, and none arrived since
  kErring,    // the last attempt failed
  kOk,        // the last attempt succeeded, or there was none
};
inline constexpr std::array<std::string_view, 4> kEndpointStateNames = {"disabled", "failing",
                                                                        "erring", "ok"};
constexpr std::string_view Name(EndpointState state) {
  return kEndpointStateNames[static_cast<std::size_t>(state)];
}

struct EndpointRecord {
  std::string name;
  EndpointState state = EndpointState::kOk;
  std::optional<Instant> disabled_at;
  std::optional<Instant> failing_since;
  std::optional<Instant> erring_since;
  std::optional<Instant> last_success_at;
  std::optional<Instant> last_at;
  std::int64_t last_status = 0;
  std::string last_error;
  std::int64_t pending = 0;
};

struct DeliveryQuery {
  std::optional<std::string> endpoint;
  std::optional<DeliveryState> state;
  std::optional<DeliveryId> before;  // older than this one: the last of the page before
  std::int64_t limit = 50;           // 1..1000
};

class WebhookStore {
 public:
  struct Options {
    config::Durability durability = config::Durability::kProcess;
    Duration keep = Seconds(30LL * 24 * 3600);
    std::int64_t rows_max = 100'000;  // deliveries that are not pending
    std::int64_t pending_per_endpoint_max = 10'000;
    // Enable makes what was added in the last so long pending again: as long as an endpoint that
    // was away would have been tried.
    Duration enable_reach = Seconds(76 * 3600);
  };

  // Opens or creates the file and brings its schema up to date.
  //   path   data_dir/webhooks.db; ":memory:" in tests
  //   fails  kUnavailable (cannot be opened, written or read), kConflict (written by a newer
  //          version)
  static Result<std::unique_ptr<WebhookStore>> Open(const std::string& path,
                                                    const Options& options);
  ~WebhookStore();
  WebhookStore(const WebhookStore&) = delete;
  WebhookStore& operator=(const WebhookStore&) = delete;

  // Makes endpoints known. One whose URL is another than it was is a new one under the old name: it
  // is enabled, and nothing is held against it.    url_digest  SHA-256 of the URL
  struct Known {
    std::string name;
    std::array<std::uint8_t, 32> url_digest{};
  };
  Result<void> Configure(std::span<const Known> endpoints, Instant now);

  // Keeps events, each for the endpoints it is told to, all or none; on disk when it returns.
  //   position  of the journal, up to which its events are kept now; none: they are not from there
  struct Addition {
    telemetry::Event event;
    std::vector<std::string> endpoints;
  };
  struct Added {
    std::int64_t deliveries = 0;
    std::int64_t dropped = 0;  // to an endpoint that has too many pending
    DeliveryId last;           // the newest of the deliveries, if there are any
  };
  Result<Added> Add(std::span<const Addition> additions, std::optional<std::int64_t> position,
                    Instant now);
  // The position of the last Add that had one.
  Result<std::optional<std::int64_t>> Position() const;
  Result<void> ForgetPosition();

  // Pending ones of an endpoint by when they are due, the first ones; not only those due now.
  Result<std::vector<DueDelivery>> Pending(std::string_view endpoint, std::size_t limit) const;

  // Writes down an attempt; returns the state of its endpoint before and now. A delivery that is no
  // longer pending takes nothing but success.
  struct Change {
    EndpointState before = EndpointState::kOk;
    EndpointState now = EndpointState::kOk;
  };
  Result<Change> Record(const Attempt& attempt);

  // Newest first.
  Result<std::vector<Delivery>> List(const DeliveryQuery& query) const;
  Result<std::optional<Delivery>> Find(DeliveryId id) const;
  // Sends one again, now: with a whole schedule before it, or, if it is pending, the next attempt
  // of its own.    fails  kNotFound, kConflict (the endpoint is disabled), kUnavailable
  Result<Delivery> Retry(DeliveryId id, Instant now);
  // Takes an endpoint back into service. One that is not disabled stays as it is.
  //   returns  how many deliveries are pending again
  Result<std::int64_t> Enable(std::string_view endpoint, Instant now);
  // One that is not known has no record.
  Result<std::optional<EndpointRecord>> Endpoint(std::string_view name) const;
  // Deliveries that are pending, to whatever endpoint.
  Result<std::int64_t> PendingCount() const;

  // Deletes what is too old or too much, a few hundred rows a call.
  //   returns  how many deliveries were deleted
  Result<std::int64_t> Prune(Instant now);

 private:
  struct State;
  explicit WebhookStore(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace weir::store
