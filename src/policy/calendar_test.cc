// The zones of these tests are written out, so that they say the same on every machine and for
// ever; store/time_zones_test and test/zones do the same with the system's database.
#include "policy/calendar.h"

#include <gtest/gtest.h>

#include <string_view>
#include <vector>

#include "base/random.h"
#include "config/scalar.h"

namespace weir::policy {
namespace {

using config::Window;
using config::WindowKind;
using config::Zone;

constexpr std::int64_t kHour = 3'600;
constexpr std::int64_t kDay = 24 * kHour;

// "2026-03-08T05:00" in UTC, seconds if need be.
Instant At(std::string_view text) {
  std::string whole(text);
  if (whole.size() == 10) whole += "T00:00";
  if (whole.size() == 16) whole += ":00";
  const auto instant = config::ParseTime(whole + "Z");
  EXPECT_TRUE(instant) << text;
  return instant.value_or(Instant{});
}

// The same characters as a local moment.
std::int64_t Local(std::string_view text) { return At(text).ns / Seconds(1).ns; }

struct Change {
  std::string_view at;
  std::int32_t offset;
};

std::shared_ptr<const Zone> ZoneOf(std::int32_t offset, const std::vector<Change>& changes) {
  Zone zone;
  zone.name = "Test";
  zone.offset_seconds = offset;
  for (const Change& change : changes) zone.changes.push_back({At(change.at), change.offset});
  return std::make_shared<const Zone>(std::move(zone));
}

// As tzdata 2025b has them, for the years the tests are about.
const auto kNewYork = ZoneOf(-18000, {{"2025-03-09T07:00", -14400},
                                      {"2025-11-02T06:00", -18000},
                                      {"2026-03-08T07:00", -14400},
                                      {"2026-11-01T06:00", -18000},
                                      {"2027-03-14T07:00", -14400}});
const auto kLordHowe = ZoneOf(39600, {{"2025-04-05T15:00", 37800},
                                      {"2025-10-04T15:30", 39600},
                                      {"2026-04-04T15:00", 37800},
                                      {"2026-10-03T15:30", 39600}});
const auto kCairo = ZoneOf(7200, {{"2025-04-24T22:00", 10800},
                                  {"2025-10-30T21:00", 7200},
                                  {"2026-04-23T22:00", 10800},
                                  {"2026-10-29T21:00", 7200}});
const auto kBeirut = ZoneOf(7200, {{"2026-03-28T22:00", 10800}, {"2026-10-24T21:00", 7200}});
const auto kSantiago = ZoneOf(-10800, {{"2026-04-05T03:00", -14400}, {"2026-09-06T04:00", -10800}});
const auto kHavana = ZoneOf(-18000, {{"2026-03-08T05:00", -14400}, {"2026-11-01T05:00", -18000}});
const auto kApia = ZoneOf(
    -39600,
    {{"2011-09-24T14:00", -36000}, {"2011-12-30T10:00", 50400}, {"2012-03-31T14:00", 46800}});
const auto kKathmandu = ZoneOf(19800, {{"1985-12-31T18:30", 20700}});
const auto kDublin = ZoneOf(0, {{"2026-03-29T01:00", 3600}, {"2026-10-25T01:00", 0}});
const auto kKwajalein = ZoneOf(-43200, {{"1993-08-21T12:00", 43200}});
// Clocks that go back by 23 hours, as those of Kwajalein did in 1969: a day is had twice.
const auto kTwice = ZoneOf(39600, {{"2019-09-30T13:00", -43200}});

Window Of(WindowKind kind, std::shared_ptr<const Zone> zone = nullptr,
          std::string_view anchor = "2024-01-01", std::int64_t every = 1) {
  Window window;
  window.kind = kind;
  window.zone = std::move(zone);
  window.anchor_seconds = Local(anchor);
  window.every = every;
  return window;
}

std::string Shown(const std::optional<WindowSpan>& span) {
  if (!span) return "none";
  const auto shown = [](Instant at) { return config::FormatTime(at); };
  return shown(span->starts_at) + " " + shown(span->ends_at);
}

std::int64_t Hours(const WindowSpan& span) {
  return (span.ends_at - span.starts_at).ns / Seconds(kHour).ns;
}
std::int64_t Minutes60(const WindowSpan& span) {
  return (span.ends_at - span.starts_at).ns / Seconds(60).ns;
}

TEST(WindowAt, DaysOfChangedClocks_AreAsLongAsTheyAre) {
  struct Case {
    std::shared_ptr<const Zone> zone;
    const char* inside;
    const char* want;
    std::int64_t minutes;
  };
  const Case cases[] = {
      // 23 and 25 hours.
      {kNewYork, "2026-03-08T12:00", "2026-03-08T05:00:00Z 2026-03-09T04:00:00Z", 23 * 60},
      {kNewYork, "2026-11-01T12:00", "2026-11-01T04:00:00Z 2026-11-02T05:00:00Z", 25 * 60},
      {kNewYork, "2026-07-01T12:00", "2026-07-01T04:00:00Z 2026-07-02T04:00:00Z", 24 * 60},
      // Clocks that are changed by half an hour.
      {kLordHowe, "2026-04-05T00:00", "2026-04-04T13:00:00Z 2026-04-05T13:30:00Z", 24 * 60 + 30},
      {kLordHowe, "2026-10-04T00:00", "2026-10-03T13:30:00Z 2026-10-04T13:00:00Z", 23 * 60 + 30},
      // Days without a midnight begin with the change.
      {kCairo, "2026-04-24T12:00", "2026-04-23T22:00:00Z 2026-04-24T21:00:00Z", 23 * 60},
      {kBeirut, "2026-03-29T12:00", "2026-03-28T22:00:00Z 2026-03-29T21:00:00Z", 23 * 60},
      {kSantiago, "2026-09-06T12:00", "2026-09-06T04:00:00Z 2026-09-07T03:00:00Z", 23 * 60},
      {kHavana, "2026-03-08T12:00", "2026-03-08T05:00:00Z 2026-03-09T04:00:00Z", 23 * 60},
      // A day with two midnights begins with the first, and once.
      {kHavana, "2026-11-01T04:30", "2026-11-01T04:00:00Z 2026-11-02T05:00:00Z", 25 * 60},
      {kHavana, "2026-11-01T05:30", "2026-11-01T04:00:00Z 2026-11-02T05:00:00Z", 25 * 60},
      // The day before one that ends by going back.
      {kCairo, "2026-10-29T12:00", "2026-10-28T21:00:00Z 2026-10-29T22:00:00Z", 25 * 60},
      // A day that a place never had: the one before it goes on to the one after.
      {kApia, "2011-12-30T09:59:59", "2011-12-29T10:00:00Z 2011-12-30T10:00:00Z", 24 * 60},
      {kApia, "2011-12-30T10:00", "2011-12-30T10:00:00Z 2011-12-31T10:00:00Z", 24 * 60},
      {kKathmandu, "2026-01-01T12:00", "2025-12-31T18:15:00Z 2026-01-01T18:15:00Z", 24 * 60},
      // Its last day at +05:30 lacks a quarter of an hour.
      {kKathmandu, "1985-12-31T18:29", "1985-12-30T18:30:00Z 1985-12-31T18:30:00Z", 24 * 60},
      {kDublin, "2026-03-29T12:00", "2026-03-29T00:00:00Z 2026-03-29T23:00:00Z", 23 * 60},
      {kDublin, "2026-10-25T12:00", "2026-10-24T23:00:00Z 2026-10-26T00:00:00Z", 25 * 60},
      {kKwajalein, "1993-08-21T12:00", "1993-08-21T12:00:00Z 1993-08-22T12:00:00Z", 24 * 60},
      {nullptr, "2026-03-08T23:59", "2026-03-08T00:00:00Z 2026-03-09T00:00:00Z", 24 * 60},
  };
  for (const Case& c : cases) {
    const auto span = WindowAt(Of(WindowKind::kDay, c.zone), At(c.inside));
    ASSERT_TRUE(span);
    EXPECT_EQ(Shown(span), c.want) << c.inside;
    EXPECT_EQ(Minutes60(*span), c.minutes) << c.inside;
  }
}

TEST(WindowAt, TheBeginIsInside_AndTheEndIsNot) {
  const Window day = Of(WindowKind::kDay, kHavana);
  const auto span = WindowAt(day, At("2026-11-01T12:00"));
  EXPECT_EQ(WindowAt(day, span->starts_at), span);
  EXPECT_EQ(WindowAt(day, {span->ends_at.ns - 1}), span);
  EXPECT_EQ(WindowAt(day, span->ends_at)->starts_at, span->ends_at);
  EXPECT_EQ(WindowAt(day, {span->starts_at.ns - 1})->ends_at, span->starts_at);
}

TEST(WindowAt, AnAnchorInAGapOrAFold_IsTheChangeOrTheFirst) {
  // 02:30 does not exist on 2026-03-08 in New York: the change is at 07:00Z. It exists once on
  // 2026-11-01, and 01:30 twice, first at 05:30Z.
  const Window gap = Of(WindowKind::kDay, kNewYork, "2026-01-01T02:30");
  EXPECT_EQ(Shown(WindowAt(gap, At("2026-03-08T07:00"))),
            "2026-03-08T07:00:00Z 2026-03-09T06:30:00Z");
  EXPECT_EQ(Shown(WindowAt(gap, At("2026-11-01T07:30"))),
            "2026-11-01T07:30:00Z 2026-11-02T07:30:00Z");
  const Window fold = Of(WindowKind::kDay, kNewYork, "2026-01-01T01:30");
  EXPECT_EQ(Shown(WindowAt(fold, At("2026-11-01T06:30"))),
            "2026-11-01T05:30:00Z 2026-11-02T06:30:00Z");
  // The anchor itself may be such a moment.
  EXPECT_EQ(WindowAt(Of(WindowKind::kDay, kNewYork, "2026-03-08T02:30"), At("2026-03-08T07:00"))
                ->starts_at,
            At("2026-03-08T07:00"));
  EXPECT_EQ(WindowAt(Of(WindowKind::kHour, kNewYork, "2026-03-08T02:30"), At("2026-03-08T07:00"))
                ->starts_at,
            At("2026-03-08T07:00"));
}

TEST(WindowAt, MonthsOfLateDays_EndOnTheLastDayAndComeBack) {
  const char* const kStarts[] = {"2025-12-31", "2026-01-31", "2026-02-28", "2026-03-31",
                                 "2026-04-30", "2026-05-31", "2026-06-30"};
  for (std::size_t i = 0; i + 1 < std::size(kStarts); ++i) {
    const auto span = WindowAt(Of(WindowKind::kMonth, nullptr, "2025-01-31"), At(kStarts[i]));
    EXPECT_EQ(span->starts_at, At(kStarts[i]));
    EXPECT_EQ(span->ends_at, At(kStarts[i + 1]));
  }
  // 29 exists in a leap year's February.
  EXPECT_EQ(Shown(WindowAt(Of(WindowKind::kMonth, nullptr, "2024-02-29"), At("2025-02-28"))),
            "2025-02-28T00:00:00Z 2025-03-29T00:00:00Z");
  EXPECT_EQ(Shown(WindowAt(Of(WindowKind::kMonth, nullptr, "2024-02-29"), At("2028-02-28"))),
            "2028-01-29T00:00:00Z 2028-02-29T00:00:00Z");
  EXPECT_EQ(Shown(WindowAt(Of(WindowKind::kMonth, nullptr, "2025-01-30"), At("2100-02-28"))),
            "2100-02-28T00:00:00Z 2100-03-30T00:00:00Z");
}

TEST(WindowAt, MonthsInAZone_FollowItsClocks) {
  const Window month = Of(WindowKind::kMonth, kNewYork, "2026-01-01");
  EXPECT_EQ(Shown(WindowAt(month, At("2026-03-31T23:00"))),
            "2026-03-01T05:00:00Z 2026-04-01T04:00:00Z");
  EXPECT_EQ(Shown(WindowAt(month, At("2026-04-01T03:59:59"))),
            "2026-03-01T05:00:00Z 2026-04-01T04:00:00Z");
  EXPECT_EQ(Shown(WindowAt(month, At("2026-04-01T04:00"))),
            "2026-04-01T04:00:00Z 2026-05-01T04:00:00Z");
}

TEST(WindowAt, Every_CountsFromTheAnchorInBothDirections) {
  const Window quarter = Of(WindowKind::kMonth, nullptr, "2026-02-01", 3);
  EXPECT_EQ(Shown(WindowAt(quarter, At("2026-06-15"))),
            "2026-05-01T00:00:00Z 2026-08-01T00:00:00Z");
  EXPECT_EQ(Shown(WindowAt(quarter, At("2026-01-31"))),
            "2025-11-01T00:00:00Z 2026-02-01T00:00:00Z");
  EXPECT_EQ(Shown(WindowAt(quarter, At("1970-01-01"))),
            "1969-11-01T00:00:00Z 1970-02-01T00:00:00Z");
  const Window fortnight = Of(WindowKind::kWeek, nullptr, "2026-01-05", 2);
  EXPECT_EQ(Shown(WindowAt(fortnight, At("2026-01-04"))),
            "2025-12-22T00:00:00Z 2026-01-05T00:00:00Z");
  EXPECT_EQ(Shown(WindowAt(fortnight, At("2026-01-18T23:59"))),
            "2026-01-05T00:00:00Z 2026-01-19T00:00:00Z");
  // Ten days of local calendar are ten days, not 240 hours.
  const Window ten = Of(WindowKind::kDay, kNewYork, "2026-03-01", 10);
  const auto span = WindowAt(ten, At("2026-03-05"));
  EXPECT_EQ(Hours(*span), 239);
}

TEST(WindowAt, Weeks_BeginOnTheAnchorsDay) {
  // Without an anchor on Monday.
  EXPECT_EQ(Shown(WindowAt(Window{.kind = WindowKind::kWeek}, At("2026-03-11T12:00"))),
            "2026-03-09T00:00:00Z 2026-03-16T00:00:00Z");
  EXPECT_EQ(
      Shown(WindowAt(Of(WindowKind::kWeek, kNewYork, "2026-03-06T17:00"), At("2026-03-08T12:00"))),
      "2026-03-06T22:00:00Z 2026-03-13T21:00:00Z")
      << "Friday at five, whatever the clocks do in between";
}

TEST(WindowAt, MinutesAndHours_AreElapsedTime) {
  const Window hour = Of(WindowKind::kHour, kNewYork);
  // Local 01:00 is had twice: two windows.
  EXPECT_EQ(Shown(WindowAt(hour, At("2026-11-01T05:59"))),
            "2026-11-01T05:00:00Z 2026-11-01T06:00:00Z");
  EXPECT_EQ(Shown(WindowAt(hour, At("2026-11-01T06:00"))),
            "2026-11-01T06:00:00Z 2026-11-01T07:00:00Z");
  // By the quarter, as clocks in Kathmandu show full hours.
  EXPECT_EQ(Shown(WindowAt(Of(WindowKind::kHour, kKathmandu), At("2026-06-01T10:20"))),
            "2026-06-01T10:15:00Z 2026-06-01T11:15:00Z");
  EXPECT_EQ(Shown(WindowAt(Of(WindowKind::kHour, nullptr, "2026-01-01T00:00", 6),
                           At("2026-01-02T05:59"))),
            "2026-01-02T00:00:00Z 2026-01-02T06:00:00Z");
  EXPECT_EQ(Shown(WindowAt(Of(WindowKind::kMinute, kLordHowe, "2026-01-01T00:00", 5),
                           At("2025-12-31T12:58"))),
            "2025-12-31T12:55:00Z 2025-12-31T13:00:00Z");
  EXPECT_EQ(Shown(WindowAt(Of(WindowKind::kMinute), {At("2026-01-01T00:01").ns - 1})),
            "2026-01-01T00:00:00Z 2026-01-01T00:01:00Z");
}

TEST(WindowAt, ADefaultWindow_IsACalendarMonth) {
  EXPECT_EQ(Shown(WindowAt(Window{}, At("2026-02-15"))),
            "2026-02-01T00:00:00Z 2026-03-01T00:00:00Z");
}

TEST(WindowAt, ACampaign_IsItsDates) {
  Window campaign = Of(WindowKind::kCampaign);
  campaign.starts_at = At("2026-06-01");
  campaign.ends_at = At("2026-07-01");
  EXPECT_EQ(WindowAt(campaign, {At("2026-06-01").ns - 1}), std::nullopt);
  EXPECT_EQ(Shown(WindowAt(campaign, At("2026-06-01"))),
            "2026-06-01T00:00:00Z 2026-07-01T00:00:00Z");
  EXPECT_TRUE(WindowAt(campaign, {At("2026-07-01").ns - 1}));
  EXPECT_EQ(WindowAt(campaign, At("2026-07-01")), std::nullopt);
}

TEST(WindowAt, WhatNeverBeginsAnew_IsAllOfTime) {
  for (const WindowKind kind : {WindowKind::kLifetime, WindowKind::kRequest, WindowKind::kAction}) {
    EXPECT_EQ(WindowAt(Of(kind, kCairo), At("2026-01-01")), kAllTime);
  }
}

TEST(WindowAt, ASlidingWindow_IsWhatStillCounts) {
  Window hour = Of(WindowKind::kHour);
  hour.sliding = true;
  EXPECT_EQ(Shown(WindowAt(hour, At("2026-01-01T12:00:30"))),
            "2026-01-01T11:00:00Z 2026-01-01T12:01:00Z");
  EXPECT_EQ(Shown(WindowAt(hour, At("2026-01-01T12:01"))),
            "2026-01-01T11:01:00Z 2026-01-01T12:02:00Z");
  SeededRandom random(7);
  for (const WindowKind kind : {WindowKind::kMinute, WindowKind::kHour, WindowKind::kDay,
                                WindowKind::kWeek, WindowKind::kMonth}) {
    for (int i = 0; i < 1000; ++i) {
      Window window = Of(kind, kHavana, "2026-01-01T00:00", 1 + random.Next() % 13);
      window.sliding = true;
      const Instant now{static_cast<std::int64_t>(random.Next() % At("2040-01-01").ns)};
      const auto span = WindowAt(window, now);
      ASSERT_TRUE(span);
      // Never shorter than it says, and longer by no more than a bucket.
      const Duration counted = now - span->starts_at;
      ASSERT_GE(counted, SlidingLength(window));
      ASSERT_LT(counted, SlidingLength(window) + BucketLength(window));
      ASSERT_LT(now, span->ends_at);
      ASSERT_EQ(span->ends_at - span->starts_at, SlidingLength(window) + BucketLength(window));
    }
  }
}

TEST(SlidingLength, IsElapsedTime) {
  const std::pair<WindowKind, std::int64_t> cases[] = {{WindowKind::kMinute, 60},
                                                       {WindowKind::kHour, kHour},
                                                       {WindowKind::kDay, kDay},
                                                       {WindowKind::kWeek, 7 * kDay},
                                                       {WindowKind::kMonth, 30 * kDay}};
  for (const auto& [kind, seconds] : cases) {
    EXPECT_EQ(SlidingLength(Of(kind)), Seconds(seconds));
    EXPECT_EQ(SlidingLength(Of(kind, nullptr, "2026-01-01", 7)), Seconds(7 * seconds));
    EXPECT_EQ(BucketLength(Of(kind)), Seconds(seconds / kBuckets));
  }
  // Absurd values stay in order.
  EXPECT_GT(SlidingLength(Of(WindowKind::kMonth, nullptr, "2026-01-01", INT64_MAX)), Seconds(1));
  EXPECT_EQ(SlidingLength(Of(WindowKind::kMinute, nullptr, "2026-01-01", -1)), Seconds(60));
}

TEST(FirstInstantAt, IsWhenTheClockFirstShowsItOrMore) {
  EXPECT_EQ(FirstInstantAt(nullptr, Local("2026-01-01")), At("2026-01-01"));
  EXPECT_EQ(FirstInstantAt(kNewYork.get(), Local("2026-03-08T01:59:59")),
            At("2026-03-08T06:59:59"));
  for (const char* skipped : {"2026-03-08T02:00", "2026-03-08T02:30", "2026-03-08T03:00"}) {
    EXPECT_EQ(FirstInstantAt(kNewYork.get(), Local(skipped)), At("2026-03-08T07:00"));
  }
  EXPECT_EQ(FirstInstantAt(kNewYork.get(), Local("2026-11-01T01:00")), At("2026-11-01T05:00"));
  EXPECT_EQ(FirstInstantAt(kNewYork.get(), Local("2026-11-01T02:00")), At("2026-11-01T07:00"));
  // A day had twice: the first time.
  EXPECT_EQ(FirstInstantAt(kTwice.get(), Local("2019-09-30T12:00")), At("2019-09-30T01:00"));
  EXPECT_EQ(FirstInstantAt(kApia.get(), Local("2011-12-30T15:00")), At("2011-12-30T10:00"));
}

TEST(LocalSecondsAt, IsWhatTheClockShows) {
  EXPECT_EQ(LocalSecondsAt(kNewYork.get(), At("2026-03-08T06:59:59")),
            Local("2026-03-08T01:59:59"));
  EXPECT_EQ(LocalSecondsAt(kNewYork.get(), At("2026-03-08T07:00")), Local("2026-03-08T03:00"));
  EXPECT_EQ(LocalSecondsAt(kNewYork.get(), At("2020-01-01")), Local("2019-12-31T19:00"))
      << "before the first change";
  EXPECT_EQ(LocalSecondsAt(nullptr, {-1}), -1) << "rounded down";
}

// A clock that reads the zone second by second: nothing in common with the one that is tested.
std::int64_t SlowFirst(const Zone& zone, std::int64_t local) {
  for (std::int64_t at = local - 26 * kHour;; ++at) {
    std::int64_t offset = zone.offset_seconds;
    for (const config::ZoneChange& change : zone.changes) {
      if (change.at.ns <= at * Seconds(1).ns) offset = change.offset_seconds;
    }
    if (at + offset >= local) return at;
  }
}

// Zones no place has: changes close together, by odd amounts, there and back.
std::shared_ptr<const Zone> OddZone(SeededRandom& random) {
  Zone zone;
  zone.offset_seconds = static_cast<std::int32_t>(random.Next() % (25 * kHour)) - 12 * 3600;
  std::int32_t offset = zone.offset_seconds;
  std::int64_t at = 0;
  for (int i = 0; i < 30; ++i) {
    at += static_cast<std::int64_t>(1 + random.Next() % (i % 3 == 0 ? kHour : 40 * kDay));
    const auto next = static_cast<std::int32_t>(random.Next() % (25 * kHour)) - 12 * 3600;
    if (next == offset) continue;
    zone.changes.push_back({{at * Seconds(1).ns}, next});
    offset = next;
  }
  return std::make_shared<const Zone>(std::move(zone));
}

TEST(FirstInstantAt, AgreesWithAClockThatIsRead) {
  SeededRandom random(3);
  for (int i = 0; i < 20; ++i) {
    const auto zone = OddZone(random);
    for (int j = 0; j < 3; ++j) {
      const config::ZoneChange& near = zone->changes[random.Next() % zone->changes.size()];
      const std::int64_t local = near.at.ns / Seconds(1).ns +
                                 static_cast<std::int64_t>(random.Next() % (30 * kHour)) -
                                 15 * kHour;
      ASSERT_EQ(FirstInstantAt(zone.get(), local), Instant{Seconds(SlowFirst(*zone, local)).ns});
    }
  }
}

TEST(WindowAt, WindowsAreDisjointGapFreeAndInOrder) {
  SeededRandom random(11);
  const std::vector<std::shared_ptr<const Zone>> zones = {nullptr,    kNewYork,  kLordHowe, kCairo,
                                                          kBeirut,    kSantiago, kHavana,   kApia,
                                                          kKathmandu, kDublin,   kKwajalein};
  for (int i = 0; i < 3000; ++i) {
    Window window;
    window.kind = static_cast<WindowKind>(random.Next() % 5);
    window.every = 1 + static_cast<std::int64_t>(random.Next() % (i % 2 == 0 ? 3 : 40));
    window.zone = i % 4 == 0 ? OddZone(random) : zones[random.Next() % zones.size()];
    window.anchor_seconds =
        static_cast<std::int64_t>(random.Next() % At("2040-01-01").ns) / Seconds(1).ns;
    // Near a change, where things go wrong.
    Instant now{static_cast<std::int64_t>(random.Next() % At("2040-01-01").ns)};
    if (window.zone != nullptr && i % 8 != 0) {
      const auto& changes = window.zone->changes;
      now = {changes[random.Next() % changes.size()].at.ns +
             static_cast<std::int64_t>(random.Next() % Seconds(4 * kDay).ns) -
             Seconds(2 * kDay).ns};
    }
    auto span = WindowAt(window, now);
    ASSERT_TRUE(span);
    ASSERT_LE(span->starts_at, now);
    ASSERT_LT(now, span->ends_at);
    for (int j = 0; j < 5; ++j) {
      // Whatever moment of it is asked for, it is the same one.
      const std::int64_t length = (span->ends_at - span->starts_at).ns;
      const Instant inside{span->starts_at.ns + static_cast<std::int64_t>(random.Next() % length)};
      ASSERT_EQ(WindowAt(window, inside), span);
      ASSERT_EQ(WindowAt(window, {span->ends_at.ns - 1}), span);
      const auto next = WindowAt(window, span->ends_at);
      ASSERT_TRUE(next);
      ASSERT_EQ(next->starts_at, span->ends_at);
      ASSERT_GT(next->ends_at, next->starts_at);
      ASSERT_EQ(WindowAt(window, {next->starts_at.ns - 1}), span);
      span = next;
    }
  }
}

TEST(WindowAt, TheEndsOfTime_AreNoTrouble) {
  for (const WindowKind kind : {WindowKind::kMinute, WindowKind::kHour, WindowKind::kDay,
                                WindowKind::kWeek, WindowKind::kMonth}) {
    for (const std::int64_t every : {std::int64_t{1}, std::int64_t{1000}, INT64_MAX, INT64_MIN}) {
      Window window = Of(kind, kNewYork, "2026-01-31T23:59:59", every);
      for (const Instant now :
           {Instant{0}, Instant{-1}, Instant{INT64_MAX - 1}, Instant{INT64_MIN + Seconds(1).ns}}) {
        const auto span = WindowAt(window, now);
        ASSERT_TRUE(span);
        EXPECT_LE(span->starts_at, now);
        EXPECT_LT(now, span->ends_at);
      }
    }
  }
}

}  // namespace
}  // namespace weir::policy
