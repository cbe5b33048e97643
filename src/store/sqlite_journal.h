// The journal in a SQLite file: one row for each batch, one transaction for each row.
//
// A row holds the encoded records of a batch and a chain: SHA-256 over the chain of the row before,
// the position, the count and the records. A row that was changed, removed or put elsewhere breaks
// it; a tail that was cut off does not (that needs an anchor kept outside). One row per record
// would be readable in plain SQL but costs the journal thread more than twice as much at 64
// records (bench/credit_bench); `weir ledger` reads the records instead.
//
// One connection in all: it writes, reads and checkpoints. That is faster (locking_mode=EXCLUSIVE
// needs no shared memory), and SQLite 3.40.1 as Debian 12 ships it can reset a WAL wrongly only
// when two connections meet. A lock file keeps a second process out.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "config/config.h"
#include "store/journal.h"

namespace weir::store {

class SqliteJournal : public Journal {
 public:
  struct Options {
    config::Durability durability = config::Durability::kProcess;
    std::int64_t pages_max = 0;  // of 4 KiB; at this size Append answers kNoSpace. 0: the disk's
    // Only to look: the file must exist, nothing in it is changed, not even by a checkpoint at the
    // end. The lock is taken all the same, because a gateway must not run meanwhile. Append must
    // not be called.
    bool read_only = false;
  };

  // Opens or makes the journal at `path`, locks `path`.lock, migrates.
  //   fails  kConflict when another process has it or a newer program made it; kBadInput when its
  //          end is damaged; kNotFound when read_only finds none; kUnavailable when SQLite or the
  //          file system fails. The detail is one sentence for whoever started us.
  static Result<std::unique_ptr<SqliteJournal>> Open(const std::string& path,
                                                     const Options& options);
  static Result<std::unique_ptr<SqliteJournal>> Open(const std::string& path,
                                                     config::Durability durability) {
    return Open(path, Options{.durability = durability});
  }

  // The version of SQLite that runs, for the log of the start.
  static const char* SqliteVersion();
};

}  // namespace weir::store
