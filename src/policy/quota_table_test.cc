// Counters: their windows, what is held and used of them, thresholds, and that they come back from
// their records. A model with books of its own follows random runs.
#include "policy/quota_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "base/random.h"

namespace weir::policy {
namespace {

using config::Dimension;
using config::Policy;
using config::QuotaUnit;
using config::WindowKind;

constexpr Instant kNow{1'700'000'000'000'000'000};  // 2023-11-14T22:13:20Z
constexpr Duration kDay = Seconds(86'400);

Policy Of(WindowKind kind, std::int64_t limit) {
  Policy policy;
  policy.id = "p";
  policy.unit = QuotaUnit::kTotalTokens;
  policy.limit = limit;
  policy.window.kind = kind;
  return policy;
}

// A table, its records as a journal has them, and one policy.
struct Desk {
  explicit Desk(Policy wanted) : policies{std::move(wanted)} {}

  std::vector<Policy> policies;
  QuotaTable table;
  std::vector<std::variant<ledger::CounterRecord, ledger::WindowRecord, ledger::AlertRecord>>
      records;
  Instant now = kNow;
  std::string user = "ada";
  std::vector<std::unique_ptr<PolicySet>> sets;

  QuotaUse Use() {
    sets.push_back(std::make_unique<PolicySet>(policies, std::span<const config::Raise>{}));
    Facts facts;
    facts[Dimension::kUser] = user;
    std::vector<QuotaUse> uses;
    EXPECT_TRUE(sets.back()->Match(facts, now, uses));
    return uses.at(0);
  }
  Standing Look() { return table.Look(Use(), now); }
  // None: there is no room.
  std::optional<QuotaLeg> Hold(std::int64_t amount) {
    const QuotaUse use = Use();
    const Standing standing = table.Look(use, now);
    if (standing.rule == QuotaRule::kHard && amount > 0 && amount > standing.Available()) {
      return std::nullopt;
    }
    Facts facts;
    facts[Dimension::kUser] = user;
    if (const auto counter = table.Opening(use, standing, facts, now)) {
      EXPECT_TRUE(table.Apply(*counter));
      records.push_back(*counter);
    }
    if (const auto window = table.Turning(use, standing, now)) {
      EXPECT_TRUE(table.Apply(*window));
      records.push_back(*window);
    }
    const std::uint32_t number = table.NumberOf(use.counter).value();
    table.SetAlerts(number, *use.policy);
    return table.Hold(number, amount, now);
  }
  std::string Tell() {
    std::vector<ledger::AlertRecord> crossed;
    table.Crossed(table.NumberOf(Use().counter).value(), now, crossed);
    std::string text;
    for (const auto& record : crossed) {
      EXPECT_TRUE(table.Apply(record));
      records.push_back(record);
      text += std::to_string(record.percent) + " ";
    }
    return text;
  }
};

TEST(QuotaTable, SettledAndHeld_NeverExceedTheLimit) {
  Desk desk(Of(WindowKind::kDay, 100));
  const auto first = desk.Hold(60);
  ASSERT_TRUE(first);
  EXPECT_FALSE(desk.Hold(41)) << "60 are held";
  const auto second = desk.Hold(40);
  ASSERT_TRUE(second);
  desk.table.Resolve(*first, 10);
  EXPECT_EQ(desk.Look().settled, 10);
  EXPECT_EQ(desk.Look().Available(), 50);
  desk.table.Resolve(*second, 90);
  EXPECT_EQ(desk.Look().settled, 50) << "what is above the hold is not the counter's";
  EXPECT_EQ(desk.Look().held, 0);
}

TEST(QuotaTable, Window_BeginsAnew) {
  Desk desk(Of(WindowKind::kDay, 100));
  desk.table.Resolve(desk.Hold(100).value(), 100);
  EXPECT_FALSE(desk.Hold(1));
  const Instant midnight = desk.Look().window.ends_at;
  EXPECT_EQ(midnight.ns % kDay.ns, 0);
  desk.now = {midnight.ns - 1};
  EXPECT_FALSE(desk.Hold(1));
  desk.now = midnight;
  EXPECT_TRUE(desk.Hold(100));
}

// A request belongs to the window in which it was admitted.
TEST(QuotaTable, RequestThatEndsInALaterWindow_CountsInNone) {
  Desk desk(Of(WindowKind::kDay, 100));
  const auto late = desk.Hold(80).value();
  desk.now = desk.Look().window.ends_at;
  EXPECT_EQ(desk.Look().Available(), 100);
  const auto next = desk.Hold(90).value();
  desk.table.Resolve(late, 80);
  EXPECT_EQ(desk.Look().settled, 0);
  EXPECT_EQ(desk.Look().held, 90);
  EXPECT_FALSE(desk.table.IsCurrent(late));
  QuotaLeg old = late;
  EXPECT_FALSE(desk.table.HoldMore(old, 1));
  desk.table.Resolve(next, 90);
  EXPECT_EQ(desk.Look().settled, 90);
}

TEST(QuotaTable, SlidingWindow_ForgetsBySixtieths) {
  Policy policy = Of(WindowKind::kHour, 100);
  policy.window.sliding = true;
  Desk desk(policy);
  desk.now = {kNow.ns - kNow.ns % Seconds(3600).ns};
  const Instant start = desk.now;
  desk.table.Resolve(desk.Hold(60).value(), 60);
  desk.now = start + Minutes(30);
  desk.table.Resolve(desk.Hold(40).value(), 40);
  EXPECT_FALSE(desk.Hold(1));
  // Sixty minutes later the first still counts: it may have come at the end of its minute.
  desk.now = {start.ns + Minutes(61).ns - 1};
  EXPECT_EQ(desk.Look().Available(), 0);
  EXPECT_EQ(desk.table.AvailableAt(desk.Look(), 1, desk.now), start + Minutes(61));
  EXPECT_EQ(desk.table.AvailableAt(desk.Look(), 61, desk.now), start + Minutes(91));
  desk.now = start + Minutes(61);
  EXPECT_EQ(desk.Look().Available(), 60);
  desk.now = start + Minutes(91);
  EXPECT_EQ(desk.Look().Available(), 100);
  desk.now = start + Seconds(100 * 86'400);
  EXPECT_EQ(desk.Look().Available(), 100);
}

TEST(QuotaTable, Concurrency_IsHeldAndNeverUsed) {
  Policy policy = Of(WindowKind::kLifetime, 2);
  policy.unit = QuotaUnit::kConcurrent;
  Desk desk(policy);
  const auto one = desk.Hold(1).value();
  ASSERT_TRUE(desk.Hold(1));
  EXPECT_FALSE(desk.Hold(1));
  desk.table.Resolve(one, 0);
  EXPECT_TRUE(desk.Hold(1));
}

TEST(QuotaTable, LoweredLimit_AdmitsNothingUntilThereIsRoom) {
  Desk desk(Of(WindowKind::kDay, 100));
  const auto held = desk.Hold(80).value();
  desk.policies[0].limit = 50;
  EXPECT_EQ(desk.Look().Available(), -30);
  EXPECT_FALSE(desk.Hold(1));
  EXPECT_TRUE(desk.Hold(0)) << "what uses nothing always fits";
  desk.table.Resolve(held, 20);
  EXPECT_TRUE(desk.Hold(30));
  EXPECT_FALSE(desk.Hold(1));
}

TEST(QuotaTable, FirmCapAndNone_CountWhatIsUsed) {
  Policy policy = Of(WindowKind::kDay, 100);
  policy.cap = config::CapKind::kFirm;
  Desk desk(policy);
  desk.table.Resolve(desk.Hold(10).value(), 500);
  EXPECT_EQ(desk.Look().settled, 500);
  policy.cap = config::CapKind::kHard;
  policy.shadow = true;
  Desk shadow(policy);
  const auto leg = shadow.Hold(1'000);
  ASSERT_TRUE(leg);
  shadow.table.Resolve(*leg, 2'000);
  EXPECT_EQ(shadow.Look().settled, 2'000);
}

TEST(QuotaTable, Thresholds_AreToldOnceForEachWindow) {
  Policy policy = Of(WindowKind::kDay, 1000);
  policy.forecast = false;
  Desk desk(policy);
  const auto spend = [&](std::int64_t n) { desk.table.Resolve(desk.Hold(n).value(), n); };
  spend(499);
  EXPECT_EQ(desk.Tell(), "");
  spend(1);
  EXPECT_EQ(desk.Tell(), "50 ");
  EXPECT_EQ(desk.Tell(), "");
  spend(400);
  EXPECT_EQ(desk.Tell(), "75 90 ");
  spend(100);
  EXPECT_EQ(desk.Tell(), "100 ");
  // A higher limit arms those again that are above what is used.
  desk.policies[0].limit = 1200;
  desk.Hold(0);
  EXPECT_EQ(desk.Tell(), "");
  spend(80);
  EXPECT_EQ(desk.Tell(), "90 ");
  desk.now = desk.Look().window.ends_at;
  spend(600);
  EXPECT_EQ(desk.Tell(), "50 ");
}

TEST(QuotaTable, Forecast_IsToldWhenTheRateUsesTheLimitUp) {
  Policy policy = Of(WindowKind::kDay, 1000);
  policy.alert_percent.clear();
  Desk desk(policy);
  desk.now = {kNow.ns - kNow.ns % kDay.ns};
  const Instant midnight = desk.now;
  const auto spend = [&](std::int64_t n) { desk.table.Resolve(desk.Hold(n).value(), n); };
  desk.now = midnight + Seconds(8'000);
  spend(400);
  EXPECT_EQ(desk.Tell(), "") << "not in the first tenth of the window";
  desk.now = midnight + Seconds(43'200);
  spend(1);
  EXPECT_EQ(desk.Tell(), "") << "401 in half a day are 802 in a day";
  spend(100);
  EXPECT_EQ(desk.Tell(), "0 ");
  EXPECT_EQ(desk.Tell(), "");
}

TEST(QuotaTable, CountersThatAreOver_MakeRoom_AndTheirNumbersAreUsedAgain) {
  Policy policy = Of(WindowKind::kMinute, 10);
  policy.per = {Dimension::kUser};
  Desk desk(policy);
  for (int round = 0; round < 50; ++round) {
    for (int i = 0; i < 20; ++i) {
      desk.user = "u" + std::to_string(round) + "-" + std::to_string(i);
      desk.table.Resolve(desk.Hold(3).value(), 3);
    }
    desk.now = desk.now + Minutes(1);
  }
  EXPECT_LE(desk.table.numbers(), 60U) << "1,000 users came, 20 a minute";
}

// A counter is not dropped as long as something is held of it.
TEST(QuotaTable, CounterWithAnOpenRequest_Stays) {
  Policy policy = Of(WindowKind::kMinute, 10);
  policy.per = {Dimension::kUser};
  Desk desk(policy);
  desk.user = "long";
  const auto leg = desk.Hold(5).value();
  for (int i = 0; i < 200; ++i) {
    desk.now = desk.now + Minutes(1);
    desk.user = "u" + std::to_string(i);
    desk.table.Resolve(desk.Hold(1).value(), 1);
  }
  desk.table.Resolve(leg, 5);
  desk.user = "long";
  EXPECT_EQ(desk.Look().Available(), 10);
}

TEST(QuotaTable, Records_OfOthers_AreRefused) {
  QuotaTable table;
  ledger::CounterRecord counter{.time = kNow, .number = 0, .counter = {1, 2}, .policy = "p"};
  counter.number = 1;
  EXPECT_FALSE(table.Apply(counter)) << "numbers have no gaps";
  counter.number = 0;
  counter.unit = config::kQuotaUnits;
  EXPECT_FALSE(table.Apply(counter));
  counter.unit = 0;
  EXPECT_FALSE(table.Apply(ledger::WindowRecord{.time = kNow, .number = 0}));
  EXPECT_FALSE(table.Hold(0, 1, kNow));
  ASSERT_TRUE(table.Apply(counter));
  EXPECT_FALSE(table.Hold(0, 1, kNow)) << "it has no window yet";
  ASSERT_TRUE(table.Apply(ledger::WindowRecord{
      .time = kNow, .number = 0, .starts_at = {0}, .ends_at = {INT64_MAX}, .limit = {10}}));
  EXPECT_FALSE(table.Hold(0, 11, kNow));
  ASSERT_TRUE(table.Hold(0, 10, kNow));
  counter.counter = {3, 4};
  EXPECT_FALSE(table.Apply(counter)) << "its number has an open request";
  EXPECT_FALSE(table.Apply(ledger::AlertRecord{.time = kNow, .number = 5}));
}

// Random traffic of several users over several windows: a model that keeps everything it was ever
// told agrees on what is left, and a table made of the records agrees too.
TEST(QuotaTable, RandomRuns_AgreeWithAModel_AndComeBackFromTheirRecords) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SeededRandom random{seed};
    const auto draw = [&](std::uint64_t n) { return static_cast<std::int64_t>(random.Next() % n); };
    Policy policy = Of(static_cast<WindowKind>(draw(3)), 1 + draw(400));
    policy.per = {Dimension::kUser};
    policy.window.sliding = draw(2) == 0;
    Desk desk(policy);
    struct Event {
      QuotaLeg leg;
      std::int64_t used = -1;  // -1: open
    };
    std::map<std::string, std::vector<Event>> users;
    // What a journal would hold, in order.
    struct Step {
      std::string user;
      std::size_t event;
      bool hold;
      std::size_t records;  // written before it
    };
    std::vector<Step> steps;
    const Duration length = {SlidingLength(policy.window).ns};
    for (int i = 0; i < 400; ++i) {
      desk.now = desk.now + Duration{draw(static_cast<std::uint64_t>(length.ns / 40))};
      desk.user = "u" + std::to_string(draw(3));
      auto& events = users[desk.user];
      const std::int64_t limit = desk.policies[0].limit;
      // What the model says is left: everything of the window, whoever resolved it when.
      const Standing standing = desk.Look();
      __int128 taken = 0;
      for (const Event& event : events) {
        bool counts = false;
        if (policy.window.sliding) {
          const Duration bucket = BucketLength(policy.window);
          const std::int64_t age = desk.now.ns / bucket.ns - event.leg.at.ns / bucket.ns;
          counts = event.used < 0 || age <= kBuckets;
        } else {
          counts =
              event.leg.at >= standing.window.starts_at && event.leg.at < standing.window.ends_at;
        }
        if (counts) taken += event.used < 0 ? event.leg.held : event.used;
      }
      ASSERT_EQ(static_cast<std::int64_t>(standing.Available()),
                static_cast<std::int64_t>(limit - taken))
          << "seed " << seed << " step " << i;
      const bool resolve = draw(2) == 0;
      const auto open = std::ranges::find(events, -1, &Event::used);
      if (resolve && open != events.end()) {
        open->used = draw(static_cast<std::uint64_t>(open->leg.held) + 1);
        desk.table.Resolve(open->leg, open->used);
        steps.push_back({desk.user, static_cast<std::size_t>(open - events.begin()), false,
                         desk.records.size()});
        continue;
      }
      const std::int64_t amount = draw(static_cast<std::uint64_t>(limit));
      const auto leg = desk.Hold(amount);
      ASSERT_EQ(leg.has_value(), taken + amount <= limit);
      if (!leg) continue;
      events.push_back({.leg = *leg});
      steps.push_back({desk.user, events.size() - 1, true, desk.records.size()});
    }
    QuotaTable again;
    std::size_t applied = 0;
    for (const Step& step : steps) {
      for (; applied < step.records; ++applied) {
        ASSERT_TRUE(std::visit([&](const auto& record) { return again.Apply(record); },
                               desk.records[applied]));
      }
      const Event& event = users[step.user][step.event];
      if (step.hold) {
        ASSERT_TRUE(again.Hold(event.leg.counter, event.leg.held, event.leg.at));
      } else {
        again.Resolve(event.leg, event.used);
      }
    }
    for (std::uint32_t n = 0; n < desk.table.numbers(); ++n) {
      const auto before = desk.table.View(n, desk.now);
      const auto after = again.View(n, desk.now);
      ASSERT_EQ(before.has_value(), after.has_value());
      if (!before) continue;
      EXPECT_EQ(before->settled, after->settled);
      EXPECT_EQ(before->held, after->held);
      EXPECT_EQ(before->limit, after->limit);
      EXPECT_EQ(before->values, after->values);
      EXPECT_EQ(before->window, after->window);
    }
  }
}

}  // namespace
}  // namespace weir::policy
