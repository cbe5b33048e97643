// The commands of the account pool and its answers: plain values.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/error_list.h"
#include "base/id.h"
#include "base/time.h"
#include "config/config.h"
#include "routing/account_health.h"
#include "routing/balancer.h"
#include "routing/wait_queue.h"

namespace weir::routing {

// What kind of call it is: everything that decides which accounts are eligible. Indices are those
// of the command's configuration.
struct Need {
  std::uint32_t package = 0;     // index into Config::packages
  std::uint32_t model = 0;       // index into Config::models
  std::uint32_t capability = 0;  // one bit of config::Capability
  friend bool operator==(const Need&, const Need&) = default;
};

struct AcquireCommand {
  const config::Config* config = nullptr;  // of the call; may be one older than the pool's
  Need need;
  KeyId key;
  SessionHash session = 0;
  // What an earlier reply gave this call to refer to (Report::made): it goes to the account of that
  // reply. With `must_meet` a busy one is waited for, because to another the reference means
  // nothing; one that cannot come back in time is passed over.
  std::uint64_t refers_to = 0;
  bool must_meet = false;
  std::span<const std::uint32_t> tried = {};  // slots of the leases this call had already
  std::int64_t cost = WaitQueue::kQuantum;    // in the queue's units
  std::int64_t tokens = 0;                    // upper bound, for accounts with tokens per minute
  bool may_wait = true;
};

// One call's claim on one slot of an account.
struct Lease {
  std::shared_ptr<const config::Config> config;  // what the next three refer to; null: no lease
  std::uint32_t account = 0;                     // index into Config::accounts
  std::uint32_t model = 0;                       // index into Config::models
  std::uint32_t route = 0;                       // index into the model's routes
  std::uint32_t slot = kNoAccount;               // the pool's own name for the account, for `tried`
  std::uint32_t pool = 0;                        // the pool's own, as are the rest
  std::uint32_t upstream = 0;
  std::uint64_t model_hash = 0;
  std::int64_t tokens = 0;
  Tick since;
  bool probe = false;
};

// How a session fared.
enum class Stickiness : std::uint8_t {
  kNone,     // no session
  kKept,     // at its account
  kAway,     // its account rests, is off or was tried
  kEscaped,  // its account is busy, errs or is slow
};

constexpr std::string_view Name(Stickiness stickiness) {
  switch (stickiness) {
    case Stickiness::kNone:
      break;
    case Stickiness::kKept:
      return "kept";
    case Stickiness::kAway:
      return "away";
    case Stickiness::kEscaped:
      return "escaped";
  }
  return {};
}

struct AcquireReply {
  enum class Kind : std::uint8_t { kGranted, kQueued, kRefused };
  Kind kind = Kind::kRefused;
  Lease lease;  // kGranted
  Stickiness stickiness = Stickiness::kNone;
  TicketId ticket = 0;               // kQueued
  std::int64_t position = 0;         // kQueued: 1 is next
  Tick deadline;                     // kQueued: the wait ends then
  Refusal refusal = Refusal::kNone;  // kRefused
  Duration retry_after;              // kRefused: > 0
};

// The end of a wait: a lease, or a refusal.
struct Grant {
  TicketId ticket = 0;
  AcquireReply reply;
};

struct Report {
  Outcome outcome = Outcome::kServed;
  std::optional<Duration> rest;  // as the upstream said it
  std::int64_t tokens = 0;       // what the call used, for accounts with tokens per minute
  // What later calls may refer to, hashed with their workspace; 0: nothing.
  std::array<std::uint64_t, 2> made = {};
};

// An account to ask whether it is well.
struct ProbeDue {
  std::shared_ptr<const config::Config> config;
  std::uint32_t account = 0;  // index into its accounts
};

// An account went to rest: a line for the operator's log.
struct RestBegan {
  std::string account;  // id
  Outcome why = Outcome::kServed;
  Duration rest;
  std::string model;  // the rest is for this model alone; empty: for all
};

}  // namespace weir::routing
