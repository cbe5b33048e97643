#include "sim/disk.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace weir::sim {
namespace {

using store::AppendOutcome;

constexpr std::uint8_t kBytes[] = {1, 2, 3};

AppendOutcome Append(Disk& disk, std::uint32_t count = 1) {
  return disk.Append(
      {.first_position = disk.last_position() + 1, .count = count, .records = kBytes});
}

TEST(Disk, WhatWasWritten_IsReadInItsOrder) {
  Disk disk(config::Durability::kProcess, 1);
  EXPECT_EQ(Append(disk, 2), AppendOutcome::kDurable);
  EXPECT_EQ(Append(disk, 3), AppendOutcome::kDurable);
  std::vector<std::uint64_t> firsts;
  ASSERT_TRUE(disk.ReadAll([&](const store::JournalBatch& batch) -> std::optional<std::string> {
    firsts.push_back(batch.first_position);
    return std::nullopt;
  }));
  EXPECT_EQ(firsts, (std::vector<std::uint64_t>{1, 3}));
  EXPECT_EQ(disk.last_position(), 5U);
}

TEST(Disk, Full_WritesNothing_AndTheSameBatchLater) {
  Disk disk(config::Durability::kProcess, 1);
  disk.full = true;
  EXPECT_EQ(Append(disk), AppendOutcome::kNoSpace);
  EXPECT_EQ(disk.last_position(), 0U);
  disk.full = false;
  EXPECT_EQ(Append(disk), AppendOutcome::kDurable);
}

TEST(Disk, Broken_WritesAllOrNothing_Once) {
  std::set<std::uint64_t> left;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Disk disk(config::Durability::kProcess, seed);
    disk.breaks = true;
    EXPECT_EQ(Append(disk, 4), AppendOutcome::kBroken);
    left.insert(disk.last_position());
    EXPECT_EQ(Append(disk), AppendOutcome::kDurable);
  }
  EXPECT_EQ(left, (std::set<std::uint64_t>{0, 4}));
}

TEST(Disk, APowerCut_TakesWholeBatchesFromTheEnd_AndNoneWithDurabilityPower) {
  std::set<std::uint64_t> left;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    Disk process(config::Durability::kProcess, seed);
    Disk power(config::Durability::kPower, seed);
    for (int i = 0; i < 5; ++i) {
      Append(process, 2);
      Append(power, 2);
    }
    const std::uint64_t lost = process.CutPower();
    EXPECT_EQ(process.last_position(), 10 - lost);
    EXPECT_EQ(process.last_position() % 2, 0U);
    left.insert(process.last_position());
    EXPECT_EQ(power.CutPower(), 0U);
    EXPECT_EQ(power.last_position(), 10U);
    // What a cut has left is not taken by the next one.
    EXPECT_EQ(process.CutPower(), 0U);
  }
  EXPECT_GE(left.size(), 4U);
}

}  // namespace
}  // namespace weir::sim
