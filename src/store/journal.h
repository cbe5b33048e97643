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
#include <vector>

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

// Some of a journal, in order, as it is stored.
struct JournalSlice {
  struct Batch {
    std::uint64_t first_position = 1;
    std::uint32_t count = 0;
    std::vector<std::uint8_t> records;
    std::array<std::uint8_t, 32> chain{};
  };
  std::vector<Batch> batches;
  JournalTail tail;  // where the journal ended then
};

// A journal to look at: a file, or what a running gateway says of its own.
class JournalReader {
 public:
  virtual ~JournalReader() = default;

  // Calls `visit` with every batch in order. Ends early when `visit` returns a sentence saying what
  // is wrong with the batch, and fails with it. Fails with kBadInput when the journal was altered;
  // the sentence names the batch, the last good position and what to do.
  using Visit = std::function<std::optional<std::string>(const JournalBatch& batch)>;
  virtual Result<void> ReadAll(const Visit& visit) = 0;

  // The end, as ReadAll and Append left it. Empty for a journal that keeps no chain.
  virtual JournalTail Tail() const { return {}; }

  // For the check of an anchor: called by ReadAll with the last position and the chain of every
  // batch as it is verified, in order. Never called by a journal that keeps no chain.
  using SeeChain =
      std::function<void(std::uint64_t last_position, std::span<const std::uint8_t, 32> chain)>;
  virtual void OnChain(SeeChain) {}
};

class Journal : public JournalReader {
 public:
  // Appends a batch, all or nothing. REQUIRES first_position to follow the last record.
  virtual AppendOutcome Append(const JournalBatch& batch) = 0;

  // Why the last Append was not durable, for the log.
  virtual std::string last_problem() const = 0;

  // Batches behind position `after`: at most `bytes_max` of records and some hundred of them, but
  // one if there is any.
  // What was appended never changes, so slices that are read one behind the other, with appends in
  // between, are the journal.
  virtual Result<JournalSlice> ReadSome(std::uint64_t /*after*/, std::size_t /*bytes_max*/) {
    return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment,
                "this journal cannot be read while it is written");
  }
};

}  // namespace weir::store
