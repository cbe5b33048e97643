// The simulated disk under the ledger's journal: keeps whole batches, and loses what its promises
// allow it to lose and nothing else.
//
//   kill      everything that was written stays: it is in the operating system's hands.
//   power cut what was synced stays, and of the rest any number of whole batches from the front.
//             With Durability::kPower every append is synced; with kProcess the system syncs now
//             and then, by itself.
//   no space  an append writes nothing and may be tried again.
//   broken    an append writes the whole batch or nothing, and nobody knows which.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/config.h"
#include "sim/draw.h"
#include "store/journal.h"

namespace weir::sim {

class Disk final : public store::Journal {
 public:
  Disk(config::Durability durability, std::uint64_t seed) : durability_(durability), draw_(seed) {}

  store::AppendOutcome Append(const store::JournalBatch& batch) override;
  Result<void> ReadAll(const Visit& visit) override;
  std::string last_problem() const override { return "simulated"; }

  bool full = false;
  bool breaks = false;  // the next append

  // A kill in the middle of an append: the batch is there or it is not.
  void AppendHalfDone(const store::JournalBatch& batch);
  // The number of records that were lost.
  std::uint64_t CutPower();

  struct Batch {
    std::uint64_t first = 0;
    std::uint32_t count = 0;
    std::vector<std::uint8_t> bytes;
  };
  // What a start would find.
  std::uint64_t last_position() const { return last_; }
  const std::vector<Batch>& batches() const { return batches_; }

 private:
  void Keep(const store::JournalBatch& batch);

  const config::Durability durability_;
  Draw draw_;
  std::vector<Batch> batches_;
  std::size_t synced_ = 0;  // batches that a power cut does not take
  std::uint64_t last_ = 0;
};

}  // namespace weir::sim
