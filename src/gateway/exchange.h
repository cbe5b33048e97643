// One exchange: everything that is known of a request from its head to its ending. Made by the
// session, filled stage by stage, read by nobody else while it runs. Lives on one worker.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ending.h"
#include "base/error_list.h"
#include "base/id.h"
#include "base/time.h"
#include "base/usage.h"
#include "config/config.h"
#include "dialect/failure_class.h"
#include "dialect/json_edit.h"
#include "dialect/request_shape.h"
#include "gateway/operation.h"
#include "gateway/ports.h"
#include "identity/authenticate.h"
#include "identity/key_table.h"
#include "identity/metadata.h"
#include "policy/policy_set.h"
#include "routing/acquire.h"
#include "routing/downgrade.h"

namespace weir::gateway {

// What the operator decided, as one immutable value. An exchange keeps the one it started with, so
// a reload never changes the price or the limits of a request under way.
struct Snapshot {
  std::shared_ptr<const config::Config> config;
  std::shared_ptr<const identity::KeyTable> keys;
  std::shared_ptr<const identity::Pepper> pepper;
  std::shared_ptr<const policy::PolicySet> policies = {};  // null: there are none

  bool has_policies() const { return policies != nullptr && !policies->empty(); }
};

// Why the caller gets an error body of ours, and what it may say beyond the standard text.
struct RefusalReason {
  Refusal refusal = Refusal::kNone;
  std::string message;  // empty: the standard one
  std::string param;
  std::string hint;
  std::string policy;                // that refused: its id
  std::string owner;                 // of it
  std::optional<Instant> resets_at;  // when it will have room again
  std::string_view allow;            // with kMethodNotAllowed
};

// What will be asked of an upstream, and what it can cost.
struct Plan {
  const config::Model* model = nullptr;
  dialect::RequestShape shape;
  std::string_view body;
  Quote quote;
  bool stream = false;
  bool strip_usage = false;            // we asked the upstream for usage, the caller did not
  bool unbounded = false;              // the upstream takes no bound on the output
  std::uint32_t package = 0;           // of the key: index into Config::packages
  std::optional<ledger::Unit> wallet;  // that pays, besides the budget
  std::vector<dialect::Edit> edits;
};

// One try at one account.
struct Attempt {
  routing::Lease lease;  // keeps the configuration that the next three are of
  const config::Upstream* upstream = nullptr;
  const config::Account* account = nullptr;
  const config::ModelRoute* route = nullptr;
  Tick sent_at;
  routing::Report report{.outcome = routing::Outcome::kNothing};  // of the account
  int status = 0;                                                 // 0: no reply
  dialect::FailureClass failure = dialect::FailureClass::kNone;
  Retry retry = Retry::kNever;
  bool may_be_billed = false;  // although it failed
  std::string detail;          // for the log
};

// An upstream's failure, ready to be shown to the caller if no other attempt follows.
struct FailureToShow {
  dialect::FailureReply reply;
  std::string body;                            // with pass_through
  std::optional<std::int64_t> retry_after_ms;  // as exact as the upstream said it
  std::optional<bool> should_retry;            // the upstream's own x-should-retry
};

// Which account the exchange asks for, and how it fared in the queue.
struct Routing {
  routing::Need need;
  routing::SessionHash session = 0;
  std::uint64_t refers_to = 0;  // an earlier reply, or the state of a turn
  bool must_meet = false;
  std::uint64_t scope = 0;  // of the workspace; sessions of two workspaces never meet
  std::vector<std::uint32_t> tried;
  std::int64_t queue_position = 0;  // on entering it; 0: it did not wait
  routing::Stickiness stickiness = routing::Stickiness::kNone;
};

// What was done to the caller's request, each with a name of its own: nothing is silent.
struct Adaptation {
  bool wanted = false;
  bool stream = false;               // what the caller asked for, whatever the body now says
  bool unbounded = false;            // the upstream takes no bound on the output
  std::string body;                  // what plan.body then is
  std::vector<std::string> changes;  // "drop:temperature", ...
  std::string unsupported;           // a parameter the upstream named; it may be left out once
  bool retried = false;
};
struct Relief {
  std::string model;   // "gpt-5.5->gpt-5.4", when a lesser model serves
  std::string effort;  // "high->medium"
  std::string policy;  // that moved it to the lesser model; empty: pressure did
  routing::TaskClass task = routing::TaskClass::kStandard;
};

struct Timings {
  Tick started_at;
  Duration queue;       // waiting for an account
  Duration upstream;    // waiting for upstreams
  Duration durable;     // waiting for the journal
  Duration first_byte;  // until the first byte to the caller; 0: none was sent
};

struct Exchange {
  RequestId id;
  Instant started_at;
  const RequestHead* head = nullptr;
  const Snapshot* snapshot = nullptr;
  dialect::RequestReader* reader = nullptr;  // the worker's
  Operation operation;
  std::optional<identity::Principal> principal;
  Plan plan;
  identity::RequestMetadata metadata;
  policy::Facts facts;                      // what policies see of it
  std::vector<std::string_view> providers;  // upstreams that may serve it, each once
  std::vector<policy::QuotaUse> quotas;     // the policies it meets
  std::size_t policy_moves = 0;             // to other models, by policies that degrade
  AdmitReply admission;
  bool admitted = false;  // and not settled yet
  Adaptation adaptation;
  Relief relief;
  Routing routing;
  std::vector<Attempt> attempts;
  std::optional<FailureToShow> failure;
  Interrupt interrupt;

  // The reply of the attempt that served, kept until its last bytes may go.
  std::unique_ptr<UpstreamReply> reply;
  std::string held;        // what the caller gets only after the charge is on disk
  std::string held_type;   // content type of a JSON reply that is held whole
  bool streaming = false;  // Start was called: held ends the reply, otherwise it is the reply
  bool cut = false;        // the reply broke off and only a closed connection can say so
  std::string served_model;

  // What the reply is kept under, when the caller named a key; and what of it has left.
  std::optional<IdempotencyUse> idempotency;
  std::string kept;
  std::string kept_type;  // content type of what left before the end

  Usage usage;
  bool charge = true;
  SettleReply settlement;

  EndingKind ending = EndingKind::kServed;
  RefusalReason reason;
  int status = 0;
  Timings timings;

  const config::Config& config() const { return *snapshot->config; }
  // The model's, or the deployment's.
  config::HangUpRule hang_up_rule() const {
    return plan.model != nullptr ? plan.model->on_hang_up.value_or(config().hang_up_rule)
                                 : config().hang_up_rule;
  }
};

}  // namespace weir::gateway
