#include "sim/disk.h"

#include "base/check.h"

namespace weir::sim {

void Disk::Keep(const store::JournalBatch& batch) {
  CHECK(batch.first_position == last_ + 1, "batches follow each other");
  batches_.push_back(
      {batch.first_position, batch.count, {batch.records.begin(), batch.records.end()}});
  last_ += batch.count;
  const bool synced = durability_ == config::Durability::kPower || draw_.Chance(100);
  if (synced) synced_ = batches_.size();
}

store::AppendOutcome Disk::Append(const store::JournalBatch& batch) {
  if (breaks) {
    breaks = false;
    AppendHalfDone(batch);
    return store::AppendOutcome::kBroken;
  }
  if (full) return store::AppendOutcome::kNoSpace;
  Keep(batch);
  return store::AppendOutcome::kDurable;
}

void Disk::AppendHalfDone(const store::JournalBatch& batch) {
  if (!full && draw_.Chance(500)) Keep(batch);
}

std::uint64_t Disk::CutPower() {
  const auto unsynced = static_cast<std::int64_t>(batches_.size() - synced_);
  const std::uint64_t before = last_;
  if (durability_ == config::Durability::kPower || unsynced == 0) return 0;
  batches_.resize(synced_ + static_cast<std::size_t>(draw_.Between(0, unsynced)));
  last_ = batches_.empty() ? 0 : batches_.back().first + batches_.back().count - 1;
  synced_ = batches_.size();
  return before - last_;
}

Result<void> Disk::ReadAll(const Visit& visit) {
  for (const Batch& batch : batches_) {
    if (auto problem = visit({batch.first, batch.count, batch.bytes})) {
      return Fail(ErrorCode::kBadInput, ErrorSource::kEnvironment, *std::move(problem));
    }
  }
  return {};
}

}  // namespace weir::sim
