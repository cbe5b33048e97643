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
#include "routing/acquire.h"
#include "routing/affinity.h"

namespace weir::routing {

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
  // Tells of a rest that the report began or made longer.
  std::optional<RestBegan> Release(const Lease& lease, const Report& report, Tick now,
                                   std::vector<Grant>& grants);
  // A waiting call gives up. False when its grant is already on the way: it must be released.
  bool Leave(TicketId ticket, Tick now, std::vector<Grant>& grants);
  void Advance(Tick now, std::vector<Grant>& grants);
  // When Advance has something to do, or kNoDeadline.
  Tick NextDue() const;

  // An operator's hand, by the account's id. False when there is no such account.
  bool Cool(std::string_view id, Duration rest, Tick now, std::vector<Grant>& grants);
  bool Clear(std::string_view id, Tick now, std::vector<Grant>& grants);

  // The accounts to be asked now whether they are well: those that rest for what a question can
  // show, and those that no call has used yet, each once per its upstream's health_probe. At most
  // `max`; the others come with the next call.
  std::vector<ProbeDue> TakeProbes(Tick now, std::size_t max);
  // What the answer showed (AccountHealth::NoteProbe). Tells of a rest it began.
  std::optional<RestBegan> NoteProbe(std::string_view id, Outcome outcome, Tick now,
                                     std::vector<Grant>& grants);

  std::optional<AccountView> ViewAccount(std::string_view id, Tick now) const;
  PoolView ViewPool(std::uint32_t pool, Tick now) const;
  // How full the first pool of a package is, in 1/1000: calls under way and waiting, of the calls
  // it can take at once. 0 without limits.
  // Counts the accounts anew at most every 50 ms.
  std::int64_t Pressure(std::uint32_t package, Tick now);
  const StickyCounts& sticky() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace weir::routing
