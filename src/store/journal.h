// The only promise the ledger needs of a store: what was appended is there after a crash, in order.
//
// Implemented by store/sqlite_journal and by the simulator's store, which loses what was not yet
// promised. Used by one thread at a time.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "base/result.h"

namespace weir::store {

// Encoded records (ledger/record.h) as they were appended, one behind the other.
struct JournalBatch {
  std::uint64_t first_position = 1;  // of the first record; positions count from 1 without gaps
  std::uint32_t count = 0;
  std::span<const std::uint8_t> records;
};

// Where a journal ends, and what proves how it came there: whoever keeps `position` and `chain`
// elsewhere (an anchor) can later tell a journal that was cut off or rewritten from this one.
struct JournalTail {
  std::uint64_t position = 0;  // of the last record; 0: empty
  std::uint64_t batches = 0;   // known after ReadAll
  std::array<std::uint8_t, 32> chain{};
};

// Frozen names: they are in metrics.
enum class AppendOutcome : std::uint8_t {
  kDurable = 0,  // the whole batch survives what the journal was opened to survive
  kNoSpace = 1,  // nothing was written; the same batch may be tried again
  kBroken = 2,   // it is unknown what was written. The caller must end the process: a write or sync
                 // that failed may be reported as done by the next one (fsyncgate, 2018), so only a
                 // start from what is really on disk is safe
};

class Journal {
 public:
  virtual ~Journal() = default;

  // Appends a batch, all or nothing. REQUIRES first_position to follow the last record.
  virtual AppendOutcome Append(const JournalBatch& batch) = 0;

  // Calls `visit` with every batch in order. Ends early when `visit` returns a sentence saying what
  // is wrong with the batch, and fails with it. Fails with kBadInput when the journal was altered;
  // the sentence names the batch, the last good position and what to do.
  using Visit = std::function<std::optional<std::string>(const JournalBatch& batch)>;
  virtual Result<void> ReadAll(const Visit& visit) = 0;

  // Why the last Append was not durable, for the log.
  virtual std::string last_problem() const = 0;

  // The end, as ReadAll and Append left it. Empty for a journal that keeps no chain.
  virtual JournalTail Tail() const { return {}; }
};

}  // namespace weir::store
