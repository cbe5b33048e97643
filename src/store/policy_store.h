// Quota policies made at run time, approvals of more, and the trail of who did what:
// data_dir/policies.db.
//
//   policy    version 1, 2, ...: one of them active at most, or none (retired). Versions stay.
//
//   approval  requested --approved--> approved --its time comes--> active --over--> ended
//                 \--denied--> denied     \------------------------ended early------/
//                  \--nobody decided in time--> expired
//
// Every change is written together with a row of the chained trail (store/audit_chain), in one
// transaction: there is no change without a line saying who made it. A file whose chain is broken
// is not opened: its policies cannot be trusted either.
//
// What a policy's JSON means is not known here: it is kept as it was checked.
//
// Any thread, one at a time (a mutex inside). Never a worker, for it waits for the disk.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/id.h"
#include "base/result.h"
#include "base/time.h"
#include "config/policy.h"
#include "store/audit_chain.h"

namespace weir::store {

struct PolicyVersion {
  std::string id;
  std::uint32_t version = 0;
  std::string json;
  Instant created_at;
  std::string created_by;
  std::optional<Instant> retired_at;  // none: it is the active one
};

// Frozen: on disk.
enum class ApprovalState : std::uint8_t {
  kRequested = 1,
  kApproved = 2,  // its time has not come
  kActive = 3,
  kDenied = 4,
  kExpired = 5,  // nobody decided
  kEnded = 6,
};
inline constexpr std::array<std::string_view, 6> kApprovalStateNames = {
    "requested", "approved", "active", "denied", "expired", "ended"};
constexpr std::string_view Name(ApprovalState state) {
  return kApprovalStateNames[static_cast<std::size_t>(state) - 1];
}

struct ApprovalId : Id128 {};

// What was allowed: so many steps more, in this time.
struct ApprovalGrant {
  std::int64_t amount = 0;
  Instant starts_at;
  Instant ends_at;
};

struct Approval {
  ApprovalId id;
  std::string policy;
  std::string counter;  // of the policy ("team=growth"); empty: every one
  config::QuotaUnit unit = config::QuotaUnit::kUsd;
  std::string requester;  // an operator, or "key:NAME"
  std::string reason;
  std::int64_t asked_amount = 0;  // in steps of the unit
  Duration asked_duration;
  std::optional<Instant> asked_from;  // none: from the decision on
  Instant asked_at;
  Instant decide_by;
  ApprovalState state = ApprovalState::kRequested;
  std::string decided_by;
  std::optional<Instant> decided_at;
  std::string decision;  // in words
  std::optional<ApprovalGrant> granted;
  std::string rollback_owner;  // who puts things right when it ends
  std::optional<Instant> ended_at;
  std::string ended_by;  // empty: its time was over
  std::string review;
  std::string reviewed_by;
  std::optional<Instant> reviewed_at;
};

struct ApprovalQuery {
  std::optional<ApprovalState> state;
  bool review_missing = false;       // only those that ended and have no review
  std::optional<ApprovalId> before;  // older than this one: the last of the page before
  std::int64_t limit = 50;           // 1..1000
};

inline constexpr std::size_t kPolicyJsonMax = 32 << 10;  // bytes of one
inline constexpr std::int64_t kOpenApprovalsMax = 20;    // that one requester waits for
inline constexpr std::int64_t kOpenApprovalsOfAllMax = 10'000;

class PolicyStore {
 public:
  // Opens or creates the file, brings its schema up to date and checks the chain.
  //   path   data_dir/policies.db; ":memory:" in tests
  //   fails  kUnavailable (cannot be opened, written or read), kBadInput (the chain is broken),
  //          kConflict (written by a newer version). Each says what to do.
  static Result<std::unique_ptr<PolicyStore>> Open(const std::string& path);
  ~PolicyStore();
  PolicyStore(const PolicyStore&) = delete;
  PolicyStore& operator=(const PolicyStore&) = delete;

  // The active versions, by id.
  Result<std::vector<PolicyVersion>> Active() const;
  // The active version of a policy, or none.
  Result<std::optional<PolicyVersion>> Find(std::string_view id) const;
  // All versions of a policy, newest first.
  Result<std::vector<PolicyVersion>> Versions(std::string_view id) const;
  // The version that a policy put now gets.
  Result<std::uint32_t> NextVersion(std::string_view id) const;

  // Makes `policy` the active version; its version must be NextVersion.
  //   fails  kConflict (somebody was quicker, or there are config::kPoliciesMax), kTooLarge,
  //          kUnavailable
  Result<void> Put(const PolicyVersion& policy, const AuditEvent& event);
  // No version of it is active any more.   fails  kNotFound, kUnavailable
  Result<void> Retire(std::string_view id, const AuditEvent& event);

  // fails  kConflict (the requester waits for too many, or all do), kUnavailable
  Result<void> Insert(const Approval& approval, const AuditEvent& event);
  // Replaces the approval of that id if it is still in state `from`.
  //   fails  kConflict (it is not), kNotFound, kUnavailable
  Result<void> Update(const Approval& approval, ApprovalState from, const AuditEvent& event);
  Result<std::optional<Approval>> Find(const ApprovalId& id) const;
  // Newest first.
  Result<std::vector<Approval>> List(const ApprovalQuery& query) const;
  // Those that are approved or active.
  Result<std::vector<Approval>> Granted() const;
  // Those that time has moved on: requests to expire, approvals that begin or end.
  //   cost  a look at the rows of three states
  Result<std::vector<Approval>> Due(Instant now) const;

  // Writes a row of the trail alone, of what changes nothing in here.   fails  kUnavailable
  Result<void> Note(const AuditEvent& event);
  // Newest first.    before  only rows with a smaller seq; 0: from the newest
  Result<std::vector<AuditRow>> Audit(std::int64_t before, std::int64_t limit) const;
  AuditHead head() const;

 private:
  struct State;
  explicit PolicyStore(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace weir::store
