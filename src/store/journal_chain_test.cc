// What follows what in a journal, and the sentence for each way in which it does not.
#include "store/journal_chain.h"

#include <gtest/gtest.h>

#include <vector>

namespace weir::store {
namespace {

struct Batch {
  std::uint64_t first;
  std::uint32_t count;
  std::vector<std::uint8_t> records;
  JournalBatch view() const { return {first, count, records}; }
};

struct ChainTest : testing::Test {
  std::vector<Batch> batches = {{1, 2, {1, 2}}, {3, 1, {3}}, {4, 3, {4, 5, 6}}};
  std::vector<Chain> chains;
  JournalReader::Visit nothing = [](const JournalBatch&) { return std::nullopt; };

  ChainTest() {
    Chainer chainer;
    for (const Batch& batch : batches) {
      chains.push_back(chainer.Next(chains.empty() ? Chain{} : chains.back(), batch.view()));
    }
  }
  static std::string Why(const Result<void>& taken) {
    return taken ? std::string() : taken.error().detail;
  }
};

TEST_F(ChainTest, BatchesInOrder_AreTaken_AndTheirChainsShown) {
  std::vector<std::uint64_t> positions;
  const JournalReader::SeeChain see = [&](std::uint64_t position,
                                          std::span<const std::uint8_t, 32> chain) {
    EXPECT_TRUE(std::ranges::equal(chain, chains.at(positions.size())));
    positions.push_back(position);
  };
  ChainReader reader(&see);
  std::size_t visited = 0;
  for (std::size_t i = 0; i < batches.size(); ++i) {
    const auto taken = reader.Take(batches[i].view(), chains[i],
                                   [&](const JournalBatch& batch) -> std::optional<std::string> {
                                     visited += batch.count;
                                     return std::nullopt;
                                   });
    ASSERT_TRUE(taken) << taken.error().detail;
  }
  EXPECT_EQ(visited, 6U);
  EXPECT_EQ(positions, (std::vector<std::uint64_t>{2, 3, 6}));
  EXPECT_EQ(reader.tail().position, 6U);
  EXPECT_EQ(reader.tail().batches, 3U);
  EXPECT_EQ(reader.tail().chain, chains.back());
}

// Frozen: anchors that people keep are of this chain.
TEST_F(ChainTest, TheFirstChain_IsTheHashOfThirtyTwoZerosThePositionTheCountAndTheRecords) {
  constexpr std::uint8_t kBegin[] = {0x0f, 0x8e, 0x6e, 0xf2};
  Chainer chainer;
  EXPECT_EQ(chainer.Next({}, batches[0].view()), chains[0]);
  EXPECT_TRUE(std::equal(std::begin(kBegin), std::end(kBegin), chains[0].begin()));
  EXPECT_NE(chainer.Next(chains[0], batches[0].view()), chains[0]);
}

TEST_F(ChainTest, WhatDoesNotFit_IsNamed_WithTheLastGoodPosition) {
  struct Row {
    const char* what;
    Batch batch;
    std::size_t size;  // of the chain that is shown
    const char* says;
  };
  const Row rows[] = {
      {"a gap", batches[2], 32, "journal row 4: records from 3 are missing"},
      {"one again", batches[0], 32, "journal row 1: records from 3 are missing"},
      {"another record", {3, 1, {7}}, 32, "journal row 3: its chain does not fit"},
      {"another count", {3, 2, {3}}, 32, "journal row 3: its chain does not fit"},
      {"a short chain", batches[1], 31, "journal row 3: its chain does not fit"},
  };
  for (const Row& row : rows) {
    ChainReader reader;
    ASSERT_TRUE(reader.Take(batches[0].view(), chains[0], nothing));
    const auto taken = reader.Take(
        row.batch.view(), std::span<const std::uint8_t>(chains[1]).first(row.size), nothing);
    EXPECT_TRUE(Why(taken).starts_with(row.says)) << row.what << ": " << Why(taken);
    EXPECT_NE(Why(taken).find("; the last good position is 2. Restore"), std::string::npos);
    EXPECT_EQ(taken.error().code, ErrorCode::kBadInput);
    EXPECT_EQ(reader.tail().position, 2U) << "and it was not taken";
    EXPECT_TRUE(reader.Take(batches[1].view(), chains[1], nothing)) << "the right one still is";
  }
}

TEST_F(ChainTest, AVisitorThatRefuses_EndsIt_BeforeTheBatch) {
  ChainReader reader;
  const auto taken = reader.Take(batches[0].view(), chains[0],
                                 [](const JournalBatch&) { return std::optional("not mine"); });
  EXPECT_EQ(Why(taken),
            "journal row 1: not mine; the last good position is 0. Restore the journal from a "
            "backup");
  EXPECT_EQ(reader.tail().batches, 0U);
}

}  // namespace
}  // namespace weir::store
