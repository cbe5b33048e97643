// The trail of who changed what of policies, approvals and operators, as a chain: each row has the
// hash of the one before, so that a row that is changed, removed, put in or moved is found, and the
// first such row is named. A tail that was cut off is found by whoever kept a head from before it.
//
// FROZEN. hash = SHA-256(prev_hash seq ts actor action object before after reason outcome), numbers
// as 8 bytes, big-endian, texts as their length like a number and then their bytes. The first row's
// prev_hash is 32 zeros.
//
// Rows are written by store/policy_store, in the transaction of the change they tell of.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

struct sqlite3;

namespace weir::store {

// What one row tells. Never holds a secret.
struct AuditEvent {
  Instant at;
  std::string actor;    // the name of an operator, "key:NAME", "weir" for what time did
  std::string action;   // "policy.put", "approval.approve", "operator.create", ...
  std::string object;   // "policy:ID", "approval:ID", "operator:NAME", "route:GET /..."
  std::string before;   // JSON or words; empty: nothing was there
  std::string after;    // likewise
  std::string reason;   // given by the actor; may be empty
  std::string outcome;  // "done", "refused"
};

// The end of a chain.
struct AuditHead {
  std::int64_t seq = 0;  // 0: there is no row
  std::array<std::uint8_t, 32> hash{};
  friend bool operator==(const AuditHead&, const AuditHead&) = default;
};

// "17:4fe1...": what `weir audit head` prints and `verify --head` takes.
std::string FormatAuditHead(const AuditHead& head);
std::optional<AuditHead> ParseAuditHead(std::string_view text);

// The head once the event is written behind `before`.
AuditHead NextHead(const AuditHead& before, const AuditEvent& event);

struct AuditRow {
  AuditHead head;  // after it
  AuditEvent event;
};

// Writes a row and returns the new head.   fails  kUnavailable
Result<AuditHead> AppendAudit(sqlite3* db, const AuditHead& before, const AuditEvent& event);

// The rows before a sequence, newest first.
Result<std::vector<AuditRow>> ListAudit(sqlite3* db, std::int64_t before, std::int64_t limit);

// What a walk over a whole chain came to.
struct AuditCheck {
  AuditHead head;              // the last good row
  std::int64_t first_bad = 0;  // 0: none
  std::string why;             // with first_bad: a sentence
};
//   known  a head from earlier, kept elsewhere: the chain must still have it
Result<AuditCheck> CheckAudit(sqlite3* db, const std::optional<AuditHead>& known);
// The same for the file of a data directory, which a gateway may have open.
//   path   data_dir/policies.db
//   fails  kNotFound (there is no such file), kUnavailable
Result<AuditCheck> VerifyAudit(const std::string& path, const std::optional<AuditHead>& known);

}  // namespace weir::store
