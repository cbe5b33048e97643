// Accounts that were made at run time, what an operator set of those of the file, and the trail of
// who did it: accounts.db.
//
// Invariants:
//   1. No credential is on the disk in clear: rows hold boxes of store/secret_box, bound to the
//      account's id.
//   2. What accounts() and overrides() give is never ahead of the disk.
//   3. One process has the file at a time (an exclusive lock while it is open): otherwise a
//      reseal beside a running gateway would leave boxes under two keys.
//
// Any thread; one lock inside.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "config/accounts.h"
#include "store/key_store.h"
#include "store/secret_box.h"

namespace weir::store {

struct AccountAuditEntry {
  std::int64_t sequence = 0;  // from 1, without gaps
  std::string account;        // id
  AuditNote note;             // never holds a credential
};

// As many as a file may have.
inline constexpr std::size_t kStoredAccountsMax = 10'000;

struct ResealKeys {
  Secret from;
  Secret to;
};

class AccountStore {
 public:
  // Opens or creates the file, brings its schema up to date and opens every box.
  //   path   data_dir/accounts.db; ":memory:" in tests
  //   keys   where the master key is; asked for only when there is a credential
  //   fails  kUnavailable (cannot be opened, written or read, or another process has it),
  //          kConflict (sealed under another master key, or there is none), kBadInput (a box or a
  //          row makes no sense). Each says what to do.
  static Result<std::unique_ptr<AccountStore>> Open(const std::string& path, MasterKeySource keys);
  ~AccountStore();
  AccountStore(const AccountStore&) = delete;
  AccountStore& operator=(const AccountStore&) = delete;

  // In the order of their ids.
  std::vector<config::StoredAccount> accounts() const;
  std::vector<config::AccountOverride> overrides() const;

  // Adds an account.
  //   fails  kConflict (there is one of that id, or kStoredAccountsMax), kBadInput (a list entry
  //          with a line break), kUnavailable
  Result<void> Insert(const config::StoredAccount& account, const AuditNote& note);
  // Replaces the account of that id.    fails  kNotFound, kBadInput, kUnavailable
  Result<void> Update(const config::StoredAccount& account, const AuditNote& note);
  // fails  kNotFound, kUnavailable
  Result<void> Remove(std::string_view id, const AuditNote& note);
  // Replaces what is set of an account of the file; nothing set removes it.  fails  kUnavailable
  Result<void> Override(const config::AccountOverride& change, const AuditNote& note);
  // Of what changes nothing on the disk: cool and clear.    fails  kUnavailable
  Result<void> Note(std::string_view id, const AuditNote& note);

  // The audit trail, newest first.
  //   before  only entries with a smaller sequence; 0: from the newest
  //   limit   1..1000
  Result<std::vector<AccountAuditEntry>> Audit(std::int64_t before, int limit) const;

  // Opens every box with `from` and seals it under `to`, all or none.
  //   returns  how many
  //   fails    as Open; kUnavailable also while a gateway runs on this directory
  static Result<std::int64_t> Reseal(const std::string& path, const ResealKeys& keys,
                                     const AuditNote& note);

 private:
  struct State;
  explicit AccountStore(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace weir::store
