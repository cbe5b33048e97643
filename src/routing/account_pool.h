// Which of the operator's accounts serves a call, now or after a wait: one deterministic machine
// for a node. Commands carry `now`; what they set free for others comes back as grants.
//
//   Acquire  eligible -> pinned -> session -> priority -> least loaded of two; else a place in the
//            queue; else a refusal that says when to come back.
//   NoteAlive, Release  what the attempt said of its account.
//   Advance  rests that ended, waits that ran out.
//
// Invariants:
//  1. An account never has more calls under way than its slots, nor a pool, an upstream or the node
//     more than theirs.
//  2. No call goes to an account that rests for a reason of its own (Fitness::kCooling), is
//  disabled,
//     has expired or belongs to other keys.
//  3. While a call waits, no account that could take it is free.
//  4. A lease is released exactly once; a ticket ends in exactly one grant, refusal or departure.
//  5. The same commands with the same seed and times give the same answers.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

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
  // The account that made what the call refers to, by HashText of its id; 0: none. It is waited for
  // when it is busy, and passed over when it cannot come back in time.
  std::uint64_t pinned = 0;
  std::span<const std::uint32_t> tried = {};  // slots of the leases this call had already
  std::int64_t cost = WaitQueue::kQuantum;    // in the queue's units
  std::int64_t tokens = 0;                    // upper bound, for accounts with tokens per minute
  bool may_wait = true;
};

// One call's claim on one slot of an account.
struct Lease {
  std::shared_ptr<const config::Config> config;  // what the next two refer to; null: no lease
  std::uint32_t account = 0;                     // index into Config::accounts
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
  bool by_window = false;            // kRefused: every account waits for its usage window
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
};

// What operators see.
struct AccountView {
  Fitness fitness = Fitness::kOpen;
  Outcome why = Outcome::kServed;
  Duration rests_for;  // while it cools
  bool usable = false;
  bool errs = false;
  bool slow = false;
  std::int64_t in_flight = 0;
  std::int64_t served = 0;
  std::int64_t failed = 0;
  Duration latency;
};
struct PoolView {
  std::int64_t accounts = 0;
  std::int64_t usable = 0;  // could take a call now or are merely busy
  std::int64_t resting = 0;
  std::int64_t capacity = 0;  // calls at once over the usable ones; 0: unlimited
  std::int64_t in_flight = 0;
  std::int64_t waiting = 0;
  friend bool operator==(const PoolView&, const PoolView&) = default;
};
struct StickyCounts {
  std::int64_t kept = 0;
  std::int64_t away = 0;
  std::int64_t escaped = 0;
};

class AccountPool {
 public:
  AccountPool(std::shared_ptr<const config::Config> config, std::uint64_t seed);
  ~AccountPool();
  AccountPool(const AccountPool&) = delete;
  AccountPool& operator=(const AccountPool&) = delete;

  // A new configuration. Accounts of the same id keep their health and their calls; those who wait
  // are asked again where they stand, or refused when what they wait for is gone.
  void Configure(std::shared_ptr<const config::Config> config, Tick now, Instant wall,
                 std::vector<Grant>& grants);

  AcquireReply Acquire(const AcquireCommand& command, Tick now, std::vector<Grant>& grants);
  // The first content of a reply arrived, `latency` after the call was sent.
  void NoteAlive(const Lease& lease, Duration latency, Tick now, std::vector<Grant>& grants);
  void Release(const Lease& lease, const Report& report, Tick now, std::vector<Grant>& grants);
  // A waiting call gives up. False when its grant is already on the way: it must be released.
  bool Leave(TicketId ticket, Tick now, std::vector<Grant>& grants);
  void Advance(Tick now, std::vector<Grant>& grants);
  // When Advance has something to do, or kNoDeadline.
  Tick NextDue() const;

  // An operator's hand, by the account's id. False when there is no such account.
  bool Cool(std::string_view id, Duration rest, Tick now, std::vector<Grant>& grants);
  bool Clear(std::string_view id, Tick now, std::vector<Grant>& grants);

  std::optional<AccountView> ViewAccount(std::string_view id, Tick now) const;
  PoolView ViewPool(std::uint32_t pool, Tick now) const;
  // How full the first pool of a package is, in 1/1000: calls under way and waiting, of the calls
  // it can take at once. 0 without limits.
  std::int64_t Pressure(std::uint32_t package, Tick now) const;
  const StickyCounts& sticky() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace weir::routing
