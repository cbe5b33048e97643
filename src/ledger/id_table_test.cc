#include "ledger/id_table.h"

#include <gtest/gtest.h>

#include <unordered_map>

#include "base/random.h"

namespace weir::ledger {
namespace {

struct Crowded {
  // Few distinct hashes, so that probes are long and deletions must move what lies behind them.
  std::size_t operator()(std::uint64_t key) const { return key % 5; }
};
struct Plain {
  std::size_t operator()(std::uint64_t key) const { return key; }
};

template <class Hash>
void CompareWithStandardMap(std::uint64_t keys) {
  SeededRandom random(keys);
  IdTable<std::uint64_t, std::uint64_t, Hash> table;
  std::unordered_map<std::uint64_t, std::uint64_t> model;
  for (int step = 0; step < 20'000; ++step) {
    const std::uint64_t key = random.Next() % keys;
    const auto known = model.find(key);
    const std::uint64_t* found = table.Find(key);
    ASSERT_EQ(found != nullptr, known != model.end());
    if (found == nullptr) {
      ASSERT_FALSE(table.Erase(key));
      const std::uint64_t value = random.Next();
      table.Insert(key, value);
      model[key] = value;
    } else {
      ASSERT_EQ(*found, known->second);
      if (random.Next() % 2 == 0) {
        ASSERT_TRUE(table.Erase(key));
        model.erase(known);
      }
    }
    ASSERT_EQ(table.size(), model.size());
  }
  std::size_t visited = 0;
  table.ForEach([&](std::uint64_t key, std::uint64_t value) {
    ++visited;
    EXPECT_EQ(model.at(key), value);
  });
  EXPECT_EQ(visited, model.size());
}

TEST(IdTable, RandomUse_AgreesWithAStandardMap) {
  CompareWithStandardMap<Plain>(1000);
  CompareWithStandardMap<Plain>(12);
}

TEST(IdTable, MadeForSoMany_TakesThemAndMore) {
  IdTable<std::uint64_t, std::uint64_t, Plain> table(1000);
  for (std::uint64_t key = 1; key <= 3000; ++key) table.Insert(key, key * key);
  EXPECT_EQ(table.size(), 3000U);
  for (std::uint64_t key = 1; key <= 3000; ++key) ASSERT_EQ(*table.Find(key), key * key);
  const auto& same = table;
  EXPECT_EQ(same.Find(0), nullptr);
}

TEST(IdTable, CollidingKeys_AreStillFound_AfterDeletions) { CompareWithStandardMap<Crowded>(60); }

}  // namespace
}  // namespace weir::ledger
