// Who may use the admin API besides the holder of the admin token: data_dir/operators.db.
//
// It holds hashes of tokens, never tokens. The trail of who made or deleted whom is policies.db's
// (store/audit_chain), so that one chain has it all.
//
//   active <--> disabled
//      \------------\--deleted--> the row stays, its name is free again
//
// Any thread, one at a time (a mutex inside). Meant for the admin thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/id.h"
#include "base/result.h"
#include "base/time.h"

namespace weir::store {

// What an operator may do, least first. Frozen: on disk.
enum class Role : std::uint8_t {
  kViewer = 1,    // sees everything there is to see, changes nothing
  kApprover = 2,  // and decides on approvals
  kAdmin = 3,     // everything
};
inline constexpr std::array<std::string_view, 3> kRoleNames = {"viewer", "approver", "admin"};
constexpr std::string_view Name(Role role) {
  return kRoleNames[static_cast<std::size_t>(role) - 1];
}

enum class OperatorState : std::uint8_t { kActive = 1, kDisabled = 2, kDeleted = 3 };
constexpr std::string_view Name(OperatorState state) {
  switch (state) {
    case OperatorState::kActive:
      return "active";
    case OperatorState::kDisabled:
      return "disabled";
    case OperatorState::kDeleted:
      return "deleted";
  }
  return "unknown";
}

using TokenHash = std::array<std::uint8_t, 32>;

struct OperatorId : Id128 {};

struct OperatorRecord {
  OperatorId id;
  std::string name;  // unique among those that are not deleted
  Role role = Role::kViewer;
  TokenHash token_hash{};
  std::string display;  // "wadm_...X4kQ"
  OperatorState state = OperatorState::kActive;
  Instant created_at;
  std::string created_by;
  std::optional<Instant> deleted_at;
};

inline constexpr std::size_t kOperatorsMax = 1'000;  // not deleted

class OperatorStore {
 public:
  // Opens or creates the file, brings its schema up to date and reads it.
  //   path   data_dir/operators.db; ":memory:" in tests
  //   fails  kUnavailable (cannot be opened, written or read), kConflict (written by a newer
  //          version), kBadInput (a row makes no sense)
  static Result<std::unique_ptr<OperatorStore>> Open(const std::string& path);
  ~OperatorStore();
  OperatorStore(const OperatorStore&) = delete;
  OperatorStore& operator=(const OperatorStore&) = delete;

  // The active operator with that token, or none.   cost  a look at each operator
  std::optional<OperatorRecord> FindByToken(const TokenHash& hash) const;
  // The one that is not deleted, or none.
  std::optional<OperatorRecord> FindByName(std::string_view name) const;
  std::optional<OperatorRecord> Find(const OperatorId& id) const;  // deleted ones, too
  // Oldest first, deleted ones, too.
  std::vector<OperatorRecord> All() const;

  // fails  kConflict (its name or token is taken, or there are kOperatorsMax), kUnavailable
  Result<void> Insert(const OperatorRecord& record);
  // Replaces the operator with that id.   fails  kNotFound, kConflict, kUnavailable
  Result<void> Update(const OperatorRecord& record);

 private:
  struct State;
  explicit OperatorStore(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace weir::store
