// Asking for more of a quota policy, and deciding on it: the rules between a request and its end.
//
//   requested --approve (somebody else)--> approved --its time comes--> active --its time is
//   over--> ended
//       \--deny--> denied                       \--------end early---------/
//        \--nobody decided in a week--> expired
//
// What is approved is in force because server::Server puts it into the configuration
// (config::Raise), whose own end is what stops it. That a state is moved on by Sweep is for the
// books and for those who are told: nothing is granted or goes on being granted by it.
//
// Invariants:
//   1. Nobody approves what they asked for. They may take it back, which is to deny it.
//   2. What is approved is at most what was asked for, and within the policy's approval rule:
//      amount_max bounds what all windows of its time get together.
//   3. Every change is in the trail of policies.db, in the same transaction.
//
// Any thread; the store has a lock, and a decision says which state it decides on.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"
#include "config/config.h"
#include "store/policy_store.h"
#include "telemetry/event.h"

namespace weir::server {

inline constexpr Duration kDecideWithin = Seconds(7 * 24 * 3600);
inline constexpr Duration kApprovalAheadMax = Seconds(366LL * 24 * 3600);  // of its beginning
inline constexpr std::size_t kApprovalTextMax = 2'000;                     // bytes of a reason

struct ApprovalFault {
  enum class Kind : std::uint8_t {
    kNotFound,   // no such approval or policy
    kForbidden,  // not by this operator
    kConflict,   // not in this state, or too many wait
    kInvalid,    // what `member` says cannot be
    kUnavailable,
  };
  Kind kind = Kind::kUnavailable;
  std::string member;  // with kInvalid
  std::string detail;  // a sentence with what to do
};

template <class T>
using ApprovalResult = std::expected<T, ApprovalFault>;

// What somebody asks for.
struct ApprovalAsk {
  std::string policy;
  std::string counter;  // empty: every one
  std::int64_t amount = 0;
  Duration duration;
  std::optional<Instant> from;  // none: from the decision on
  std::string reason;
  std::string requester;       // an operator, or "key:NAME"
  std::string rollback_owner;  // empty: the policy's owner
};

// What an approver says. What is not said is as it was asked for.
struct ApprovalAnswer {
  std::optional<std::int64_t> amount;
  std::optional<Duration> duration;
  std::optional<Instant> from;
  std::string rollback_owner;
  std::string note;
};

class Approvals {
 public:
  struct Options {
    std::function<Instant()> now;
    std::function<Result<std::array<std::uint8_t, 32>>()> random;   // for ids
    std::function<std::shared_ptr<const config::Config>()> config;  // in force
    // Called after what is in force has changed on disk, before the caller is answered.
    std::function<Result<void>()> changed;
    std::function<void(const telemetry::Event&)> tell;
  };

  // `store` outlives it.
  Approvals(store::PolicyStore& store, Options options)
      : store_(store), options_(std::move(options)) {}

  ApprovalResult<store::Approval> Ask(const ApprovalAsk& ask);
  ApprovalResult<store::Approval> Approve(const store::ApprovalId& id, std::string_view actor,
                                          const ApprovalAnswer& answer);
  ApprovalResult<store::Approval> Deny(const store::ApprovalId& id, std::string_view actor,
                                       std::string_view note);
  // Before its time is over.
  ApprovalResult<store::Approval> End(const store::ApprovalId& id, std::string_view actor,
                                      std::string_view note);
  // What came of it, once it has ended. Once.
  ApprovalResult<store::Approval> Review(const store::ApprovalId& id, std::string_view actor,
                                         std::string_view text);
  // Moves on what time has moved on. Call it now and then; how late changes nothing but the books.
  //   returns  how many
  ApprovalResult<std::size_t> Sweep();

 private:
  ApprovalResult<store::Approval> Get(const store::ApprovalId& id) const;
  ApprovalResult<store::Approval> Change(const store::Approval& before, store::Approval after,
                                         std::string_view action, std::string_view actor,
                                         std::string_view reason);
  void Tell(std::string_view type, const store::Approval& approval) const;

  store::PolicyStore& store_;
  const Options options_;
};

// The policy of that id, or null.
const config::Policy* FindPolicy(const config::Config& config, std::string_view id);

// Why so much, for so long, is more than the policy's rule lets anybody approve; empty when it is
// not.   REQUIRES amount and duration above 0
std::string RuleFault(const config::Policy& policy, std::int64_t amount, Instant from,
                      Duration duration);

inline constexpr std::string_view kApprovalIdPrefix = "apr_";
std::string ApprovalIdText(const store::ApprovalId& id);
std::optional<store::ApprovalId> ParseApprovalId(std::string_view text);

// An approval as everybody sees it: a JSON object. Amounts are texts of the unit.
//   spent  what was used of the counter in its time, where that is known
std::string ApprovalJson(const store::Approval& approval,
                         std::optional<std::int64_t> spent = std::nullopt);

// What is approved, as the configuration has it.
config::Raise RaiseOf(const store::Approval& approval);

}  // namespace weir::server
