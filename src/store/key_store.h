// The keys on disk: data_dir/keys.db, an SQLite file of its own, because keys change when an
// operator says so and the ledger changes thousands of times a second.
//
// It holds digests, never secrets. Every change is written together with a row of the audit trail,
// in one transaction: there is no change without a line saying who made it.
//
// Threads: any, one at a time (a mutex inside). Meant for the admin thread; workers use a table()
// they were given and never come here.
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
#include "identity/api_key.h"
#include "identity/key_record.h"
#include "identity/key_table.h"

namespace weir::store {

// Who changes a key, when and how. Never holds a secret.
struct AuditNote {
  Instant at;
  std::string actor;   // "admin", "config", "cli"
  std::string action;  // "create", "rotate", "revoke", "disable", "enable", "limits"
  std::string detail;  // for a reader: "budget 5 -> 10"; may be empty
};

struct AuditEntry {
  std::int64_t sequence = 0;  // from 1, without gaps
  KeyId key;
  AuditNote note;
};

class KeyStore {
 public:
  // Opens or creates the file, brings its schema up to date and reads all keys.
  //   path    data_dir/keys.db; ":memory:" in tests
  //   pepper  the one the digests in the file were made with
  //   fails   kUnavailable (cannot be opened, written or read), kBadInput (written by a newer
  //           version, or a row that makes no sense), kConflict (made with another pepper: every
  //           key would silently be invalid)
  static Result<std::unique_ptr<KeyStore>> Open(const std::string& path,
                                                const identity::Pepper& pepper);
  ~KeyStore();
  KeyStore(const KeyStore&) = delete;
  KeyStore& operator=(const KeyStore&) = delete;

  // All keys as they are on disk now. Each change makes a new table, which shares with the last.
  std::shared_ptr<const identity::KeyTable> table() const;

  // The key of that name that is not revoked, or null.
  identity::KeyRecordPtr FindByName(std::string_view name) const;

  // Adds a key.    fails  kConflict (its name, id or secret is taken), kUnavailable
  Result<void> Insert(const identity::KeyRecord& record, const AuditNote& note);

  // Replaces the key with that id.
  //   fails  kNotFound, kConflict (its name or secret is another key's), kUnavailable
  Result<void> Update(const identity::KeyRecord& record, const AuditNote& note);

  // The audit trail, newest first.
  //   before  only entries with a smaller sequence; 0: from the newest
  //   limit   1..1000
  Result<std::vector<AuditEntry>> Audit(std::int64_t before, int limit) const;

 private:
  struct State;
  explicit KeyStore(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace weir::store
