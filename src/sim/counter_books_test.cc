// The auditor's counters must find each way of being wrong, or they prove nothing.
#include "sim/counter_books.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "sim/books.h"

namespace weir::sim {
namespace {

using config::QuotaUnit;
using config::WindowKind;
using ledger::AlertRecord;
using ledger::CounterRecord;
using ledger::ExtendRecord;
using ledger::IntentRecord;
using ledger::QuotaRule;
using ledger::Record;
using ledger::SettleRecord;
using ledger::VoidRecord;
using ledger::WindowRecord;

constexpr Instant kNow{1'800'000'000'000'000'000};  // on the minute
constexpr Instant kNextMinute{kNow.ns + 60'000'000'000};
constexpr KeyId kKey{{0, 1}};
const config::Price kPrice{.input = {1'000'000},
                           .cached_input = {},
                           .cache_write = {},
                           .output = {1'000'000},
                           .per_request = {}};
const std::uint64_t kPriceId = config::IdOf(kPrice).n;

RequestId Request(std::uint64_t n) { return {{1, n}}; }

ledger::PriceRecord PriceOnce() {
  ledger::PriceRecord record{.time = kNow, .id = kPriceId, .bytes = {}};
  config::EncodePrice(kPrice, record.bytes);
  return record;
}
CounterRecord Open(std::uint32_t number, QuotaUnit unit, std::uint64_t id = 0, Duration bucket = {},
                   WindowKind kind = WindowKind::kMinute) {
  return {.time = kNow,
          .number = number,
          .counter = {5, id == 0 ? number + 1 : id},
          .unit = static_cast<std::uint8_t>(unit),
          .window = static_cast<std::uint8_t>(kind),
          .bucket = bucket,
          .policy = "p",
          .values = "team=t0"};
}
WindowRecord Begin(std::uint32_t number, std::int64_t limit, Instant at = kNow,
                   QuotaRule rule = QuotaRule::kHard) {
  return {.time = at,
          .number = number,
          .starts_at = at < kNextMinute ? kNow : kNextMinute,
          .ends_at = at < kNextMinute ? kNextMinute : kNextMinute + Seconds(60),
          .rule = rule,
          .limit = {limit}};
}
WindowRecord ForEver(std::uint32_t number, std::int64_t limit) {
  return {
      .time = kNow, .number = number, .starts_at = {0}, .ends_at = {INT64_MAX}, .limit = {limit}};
}
IntentRecord Hold(std::vector<ledger::QuotaLine> lines, std::uint64_t request = 1,
                  Instant at = kNow) {
  return {.time = at,
          .request = Request(request),
          .key = kKey,
          .price_id = kPriceId,
          .hold = {1'000'000},
          .quotas = ledger::QuotaHold{.multiplier_ppm = 2'000'000, .lines = std::move(lines)}};
}
ExtendRecord More(std::vector<ledger::QuotaLine> lines, Instant at = kNow) {
  return {.time = at, .request = Request(1), .hold = {1}, .quotas = std::move(lines)};
}
// 30 tokens of input, 70 of output: 100,000 nUSD, 200 quota tokens.
SettleRecord Settle(std::vector<ledger::Amount> used, std::uint64_t request = 1,
                    Instant at = kNow) {
  return {.time = at,
          .request = Request(request),
          .key = kKey,
          .price_id = kPriceId,
          .charged = {100'000},
          .usage = {.input_tokens = 30,
                    .cached_input_tokens = 0,
                    .output_tokens = 70,
                    .source = UsageSource::kProvider},
          .quotas = std::move(used)};
}
VoidRecord Release(std::vector<ledger::Amount> used, std::int64_t released = 1'000'000) {
  return {.time = kNow,
          .request = Request(1),
          .key = kKey,
          .released = {released},
          .quotas = std::move(used)};
}
AlertRecord Tell(std::uint32_t number, std::uint8_t percent, std::int64_t settled,
                 std::int64_t limit, Instant at = kNow) {
  return {.time = at, .number = number, .percent = percent, .settled = {settled}, .limit = {limit}};
}

// Every unit that a usage says something of.
const std::vector<std::pair<QuotaUnit, std::int64_t>> kUses = {
    {QuotaUnit::kRequests, 1},      {QuotaUnit::kConcurrent, 0},
    {QuotaUnit::kInputTokens, 30},  {QuotaUnit::kOutputTokens, 70},
    {QuotaUnit::kTotalTokens, 100}, {QuotaUnit::kUncachedTokens, 30},
    {QuotaUnit::kCachedTokens, 0},  {QuotaUnit::kUsd, 100'000},
    {QuotaUnit::kCredits, 100'000}, {QuotaUnit::kQuotaTokens, 200}};

TEST(CounterBooks, AWholeLife_AddsUp_InEveryUnit) {
  for (const auto& [unit, use] : kUses) {
    Books books;
    const std::int64_t held = std::max<std::int64_t>(use, 1);
    for (const Record& record : std::vector<Record>{PriceOnce(), Open(0, unit), Begin(0, held),
                                                    Hold({{0, {held}}}), Settle({{use}})}) {
      const auto breach = books.Add(record);
      ASSERT_FALSE(breach) << Name(unit) << ": " << breach->rule << ": " << breach->detail;
    }
    const CounterBooks::Counter& counter = books.quotas().counters().at(0);
    EXPECT_TRUE(counter.UsedAt(kNow) == use) << Name(unit);
    EXPECT_TRUE(counter.held == 0 && counter.legs == 0) << Name(unit);
  }
}

TEST(CounterBooks, EachWayOfBeingWrong_IsFound) {
  constexpr auto kTokens = QuotaUnit::kTotalTokens;
  const std::vector<Record> tokens = {Open(0, kTokens), Begin(0, 1'000)};
  const auto with = [&](std::vector<Record> more) {
    std::vector<Record> all = tokens;
    for (Record& record : more) all.push_back(std::move(record));
    return all;
  };
  const Duration second = Seconds(1);
  WindowRecord no_moment = Begin(0, 1'000);
  no_moment.ends_at = kNow;
  WindowRecord early = Begin(0, 1'000, kNextMinute);
  early.time = kNow;
  WindowRecord overlapping = Begin(0, 1'000, kNextMinute);
  overlapping.starts_at = kNow + second;
  CounterRecord no_unit = Open(0, kTokens);
  no_unit.unit = 20;
  const struct {
    std::string why;
    std::vector<Record> records;
    std::string rule;
  } kTable[] = {
      {"held above the limit", with({Hold({{0, {1'001}}})}), "I3"},
      {"two requests above it", with({Hold({{0, {500}}}), Hold({{0, {501}}}, 2)}), "I3"},
      {"held beside what was used",
       with({Hold({{0, {100}}}), Settle({{100}}), Hold({{0, {901}}}, 2)}), "I3"},
      {"extended above it", with({Hold({{0, {500}}}), More({{0, {501}}})}), "I3"},
      {"held above a limit that was lowered", with({Begin(0, 99), Hold({{0, {100}}})}), "I3"},
      {"a sliding window that forgets too early",
       {Open(0, kTokens, 0, second), ForEver(0, 150), Hold({{0, {100}}}), Settle({{100}}),
        Hold({{0, {51}}}, 2, kNow + Seconds(60))},
       "I3"},
      {"held of no counter", {Hold({{0, {1}}})}, "I4"},
      {"held of a counter without a window", {Open(0, kTokens), Hold({{0, {1}}})}, "I4"},
      {"held less than nothing", with({Hold({{0, {-1}}})}), "I4"},
      {"no figure", with({Hold({{0, {100}}}), Settle({})}), "I4"},
      {"a figure too many", with({Hold({{0, {100}}}), Settle({{100}, {0}})}), "I4"},
      {"a figure of a request that holds nothing",
       with({Hold({{0, {100}}}), Settle({{100}}), Hold({}, 2), Settle({{0}}, 2)}), "I4"},
      {"a release with a figure too many", with({Hold({{0, {100}}}), Release({{0}, {0}})}), "I4"},
      {"used more than its usage", with({Hold({{0, {200}}}), Settle({{101}})}), "I5"},
      {"used less than its usage", with({Hold({{0, {200}}}), Settle({{99}})}), "I5"},
      {"used nothing", with({Hold({{0, {200}}}), Settle({{0}})}), "I5"},
      {"used more than was held", with({Hold({{0, {99}}}), Settle({{100}})}), "I5"},
      {"used less than nothing", with({Hold({{0, {200}}}), Settle({{-1}})}), "I5"},
      {"released and used", with({Hold({{0, {200}}}), Release({{1}})}), "I5"},
      {"released, and more attempts than were held",
       {Open(0, QuotaUnit::kAttempts), Begin(0, 9), Hold({{0, {2}}}), Release({{3}})},
       "I5"},
      {"the later window before the earlier is full",
       with({Hold({{0, {60}}}), Begin(0, 1'000, kNextMinute), More({{0, {60}}}, kNextMinute),
             Settle({{40}, {60}}, 1, kNextMinute)}),
       "I5"},
      {"a number given away while it is held",
       with({Hold({{0, {1}}}), Open(0, QuotaUnit::kRequests, 9)}), "I9"},
      {"a counter opened twice while it is held", with({Hold({{0, {1}}}), Open(1, kTokens, 1)}),
       "I9"},
      {"a unit that does not exist", {no_unit}, "I9"},
      {"a number given away in its window", with({Open(0, QuotaUnit::kRequests, 9)}), "I17"},
      {"a counter opened twice in its window", with({Open(1, kTokens, 1)}), "I17"},
      {"a window of no counter", {Begin(0, 1)}, "I17"},
      {"a window without a moment", {Open(0, kTokens), no_moment}, "I17"},
      {"a window before its time", with({early}), "I17"},
      {"a window in the one before", with({overlapping}), "I17"},
      {"another window of what never ends",
       {Open(0, kTokens, 0, second), ForEver(0, 150), Begin(0, 150)},
       "I17"},
      {"held behind the end of the window", with({Hold({{0, {1}}}, 1, kNextMinute)}), "I17"},
      {"told of no counter", {Tell(0, 50, 1, 1)}, "I18"},
      {"told before it is so", with({Hold({{0, {100}}}), Settle({{100}}), Tell(0, 11, 100, 1'000)}),
       "I18"},
      {"told another sum", with({Hold({{0, {100}}}), Settle({{100}}), Tell(0, 10, 101, 1'000)}),
       "I18"},
      {"told another limit", with({Hold({{0, {100}}}), Settle({{100}}), Tell(0, 10, 100, 999)}),
       "I18"},
      {"told twice",
       with(
           {Hold({{0, {100}}}), Settle({{100}}), Tell(0, 10, 100, 1'000), Tell(0, 10, 100, 1'000)}),
       "I18"},
      {"told again at a limit that is lower",
       with({Hold({{0, {100}}}), Settle({{100}}), Tell(0, 10, 100, 1'000), Begin(0, 500),
             Tell(0, 10, 100, 500)}),
       "I18"},
      {"a forecast in the first tenth",
       with({Hold({{0, {100}}}), Settle({{100}}), Tell(0, 0, 100, 1'000, kNow + Seconds(5))}),
       "I18"},
      {"a forecast that does not come true",
       with({Hold({{0, {100}}}), Settle({{100}}), Tell(0, 0, 100, 1'000, kNow + Seconds(6))}),
       "I18"},
  };
  for (const auto& row : kTable) {
    Books books;
    ASSERT_FALSE(books.Add(PriceOnce()));
    std::optional<Breach> breach;
    for (const Record& record : row.records) {
      EXPECT_FALSE(breach) << row.why << ": found too early: " << breach->detail;
      breach = books.Add(record);
    }
    ASSERT_TRUE(breach) << row.why;
    EXPECT_EQ(breach->rule, row.rule) << row.why << ": " << breach->detail;
  }
}

// What looks wrong and is not.
TEST(CounterBooks, WhatIsAllowed_IsNoBreach) {
  constexpr auto kTokens = QuotaUnit::kTotalTokens;
  const struct {
    std::string why;
    std::vector<Record> records;
  } kTable[] = {
      {"nothing, beside more than a lowered limit",
       {Open(0, kTokens), Begin(0, 1'000), Hold({{0, {500}}}), Begin(0, 10), Hold({{0, {0}}}, 2)}},
      {"above a firm limit",
       {Open(0, kTokens), Begin(0, 50, kNow, QuotaRule::kFirm), Hold({{0, {60}}}),
        Settle({{100}})}},
      {"above what tells only",
       {Open(0, kTokens), Begin(0, 0, kNow, QuotaRule::kNone), Hold({{0, {60}}}), Settle({{100}})}},
      {"a hard hold under a limit that tells only by now",
       {Open(0, kTokens), Begin(0, 500), Hold({{0, {100}}}), Begin(0, 0, kNow, QuotaRule::kNone),
        Settle({{100}})}},
      {"a release without figures",
       {Open(0, kTokens), Begin(0, 500), Hold({{0, {100}}}), Release({})}},
      {"attempts of a release",
       {Open(0, QuotaUnit::kAttempts), Begin(0, 9), Hold({{0, {2}}}), Release({{2}})}},
      {"a settlement behind the end of its window",
       {Open(0, kTokens), Begin(0, 100), Hold({{0, {100}}}), Begin(0, 100, kNextMinute),
        Hold({{0, {100}}}, 2, kNextMinute), Settle({{100}}, 1, kNextMinute)}},
      {"two windows of one request, the first full",
       {Open(0, kTokens), Begin(0, 100), Hold({{0, {60}}}), Begin(0, 100, kNextMinute),
        More({{0, {60}}}, kNextMinute), Settle({{60}, {40}}, 1, kNextMinute)}},
      {"a number given on when its window is over",
       {Open(0, kTokens), Begin(0, 100), Hold({{0, {100}}}, 1), Settle({{100}}),
        [] {
          CounterRecord next = Open(0, QuotaUnit::kRequests, 9);
          next.time = kNextMinute;
          return next;
        }()}},
      {"a sliding window that forgets in time",
       {Open(0, kTokens, 0, Seconds(1)), ForEver(0, 100), Hold({{0, {100}}}), Settle({{100}}),
        Hold({{0, {100}}}, 2, kNow + Seconds(61))}},
      {"told again at a limit that had room for it",
       {Open(0, kTokens), Begin(0, 200), Hold({{0, {100}}}), Settle({{100}}), Tell(0, 50, 100, 200),
        Begin(0, 400), Begin(0, 200), Tell(0, 50, 100, 200)}},
      {"told in the next window",
       {Open(0, kTokens), Begin(0, 100), Hold({{0, {100}}}), Settle({{100}}),
        Tell(0, 100, 100, 100), Begin(0, 100, kNextMinute), Hold({{0, {100}}}, 2, kNextMinute),
        Settle({{100}}, 2, kNextMinute), Tell(0, 100, 100, 100, kNextMinute)}},
      {"a forecast",
       {Open(0, kTokens), Begin(0, 500), Hold({{0, {100}}}), Settle({{100}}),
        Tell(0, 0, 100, 500, kNow + Seconds(11))}},
  };
  for (const auto& row : kTable) {
    Books books;
    ASSERT_FALSE(books.Add(PriceOnce()));
    for (const Record& record : row.records) {
      const auto breach = books.Add(record);
      ASSERT_FALSE(breach) << row.why << ": " << breach->rule << ": " << breach->detail;
    }
  }
}

TEST(CounterBooks, TheEarlierWindowOfAGrowingRequest_KeepsItsPart) {
  Books books;
  for (const Record& record : std::vector<Record>{
           PriceOnce(), Open(0, QuotaUnit::kTotalTokens), Begin(0, 100), Hold({{0, {60}}}),
           Begin(0, 100, kNextMinute), More({{0, {60}}}, kNextMinute)}) {
    ASSERT_FALSE(books.Add(record));
  }
  EXPECT_TRUE(books.quotas().counters().at(0).held == 60);
  ASSERT_FALSE(books.Add(Settle({{60}, {40}}, 1, kNextMinute)));
  EXPECT_TRUE(books.quotas().counters().at(0).UsedAt(kNextMinute) == 40);
  EXPECT_TRUE(books.quotas().counters().at(0).held == 0);
}

}  // namespace
}  // namespace weir::sim
