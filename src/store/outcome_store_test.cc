#include "store/outcome_store.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

namespace weir::store {
namespace {

constexpr Instant kStart{1'767'225'600'000'000'000};

OutcomeRecord Outcome(std::string action, bool accepted, std::string note = {}, Duration at = {}) {
  return {.scope = "acme",
          .action = std::move(action),
          .accepted = accepted,
          .note = std::move(note),
          .key = {{1, 2}},
          .at = kStart + at};
}

std::string Told(const OutcomeStore& store, std::string_view scope, std::string_view action) {
  const auto outcomes = store.Of(scope, action);
  EXPECT_TRUE(outcomes);
  std::string text;
  for (const OutcomeRecord& outcome : *outcomes) {
    text += (outcome.accepted ? "yes:" : "no:") + outcome.note + ";";
  }
  return text;
}

TEST(OutcomeStore, TheLastWordCounts_AndWhatWasSaidBeforeIsKept) {
  auto store = *OutcomeStore::Open(":memory:");
  EXPECT_EQ(Told(*store, "acme", "a"), "");
  ASSERT_TRUE(store->Tell(Outcome("a", true)));
  ASSERT_TRUE(store->Tell(Outcome("a", false, "wrong tone", Seconds(1))));
  ASSERT_TRUE(store->Tell(Outcome("b", true)));
  EXPECT_EQ(Told(*store, "acme", "a"), "no:wrong tone;yes:;");
  EXPECT_EQ(Told(*store, "acme", "b"), "yes:;");
  EXPECT_EQ(Told(*store, "other", "a"), "") << "another's action of that name";
}

TEST(OutcomeStore, TheSameAgain_ChangesNothing) {
  auto store = *OutcomeStore::Open(":memory:");
  ASSERT_TRUE(store->Tell(Outcome("a", true, "good")));
  const auto again = store->Tell(Outcome("a", true, "good", Seconds(60)));
  ASSERT_TRUE(again);
  EXPECT_EQ(again->at, kStart) << "when it was said first";
  EXPECT_EQ(Told(*store, "acme", "a"), "yes:good;");
  ASSERT_TRUE(store->Tell(Outcome("a", true, "very good", Seconds(61))));
  EXPECT_EQ(Told(*store, "acme", "a"), "yes:very good;yes:good;");
}

TEST(OutcomeStore, AMindThatChangesForEver_FillsNoDisk) {
  auto store = *OutcomeStore::Open(":memory:");
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(store->Tell(Outcome("a", i % 2 == 0, std::to_string(i), Seconds(i))));
  }
  const auto outcomes = store->Of("acme", "a");
  ASSERT_TRUE(outcomes);
  ASSERT_EQ(outcomes->size(), kOutcomesKept);
  EXPECT_EQ(outcomes->front().note, "99");
  EXPECT_EQ(outcomes->back().note, "80");
}

TEST(OutcomeStore, WhatIsTooOld_IsForgotten) {
  auto store = *OutcomeStore::Open(":memory:", {.keep = Seconds(10)});
  ASSERT_TRUE(store->Tell(Outcome("a", true)));
  ASSERT_TRUE(store->Tell(Outcome("b", true, "", Seconds(10))));
  EXPECT_EQ(Told(*store, "acme", "a"), "yes:;");
  ASSERT_TRUE(store->Tell(Outcome("c", true, "", Seconds(11))));
  EXPECT_EQ(Told(*store, "acme", "a"), "");
  EXPECT_EQ(Told(*store, "acme", "b"), "yes:;");
}

TEST(OutcomeStore, ForEach_GivesWhatCountsOfEachSince) {
  auto store = *OutcomeStore::Open(":memory:");
  ASSERT_TRUE(store->Tell(Outcome("old", true)));
  ASSERT_TRUE(store->Tell(Outcome("a", true, "", Seconds(50))));
  ASSERT_TRUE(store->Tell(Outcome("b", true, "", Seconds(100))));
  ASSERT_TRUE(store->Tell(Outcome("a", false, "", Seconds(150))));
  std::string told;
  ASSERT_TRUE(store->ForEach(kStart + Seconds(100), [&](const OutcomeRecord& outcome) {
    told += outcome.action + (outcome.accepted ? "+" : "-");
  }));
  EXPECT_EQ(told, "b+a-");
}

TEST(OutcomeStore, AReportReadsBesideIt) {
  const std::string folder = testing::TempDir() + "outcomes_" + std::to_string(::getpid());
  std::filesystem::create_directory(folder);
  const std::string path = folder + "/outcomes.db";
  EXPECT_EQ(OutcomeStore::OpenToRead(path).error().code, ErrorCode::kNotFound);
  EXPECT_FALSE(std::filesystem::exists(path));
  {
    auto store = *OutcomeStore::Open(path);
    ASSERT_TRUE(store->Tell(Outcome("a", true)));
    auto reader = OutcomeStore::OpenToRead(path);
    ASSERT_TRUE(reader) << reader.error().detail;
    EXPECT_EQ(Told(**reader, "acme", "a"), "yes:;");
    ASSERT_TRUE(store->Tell(Outcome("a", false, "", Seconds(1))));
    EXPECT_EQ(Told(**reader, "acme", "a"), "no:;yes:;") << "as it is now";
    EXPECT_FALSE((*reader)->Tell(Outcome("b", true))) << "it reads alone";
  }
  auto reader = OutcomeStore::OpenToRead(path);
  ASSERT_TRUE(reader) << "of a gateway that is stopped";
  EXPECT_EQ(Told(**reader, "acme", "a"), "no:;yes:;");
  auto again = OutcomeStore::Open(path);
  ASSERT_TRUE(again);
  EXPECT_EQ(Told(**again, "acme", "a"), "no:;yes:;") << "and after a restart";
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace weir::store
