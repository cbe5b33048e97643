// Against the system's database, as a gateway reads it: the places of the design page, and that no
// zone there is left out. Every window of every zone is compared with another reader of the same
// database by test/zones.
#include "store/time_zones.h"

#include <date/tz.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "config/scalar.h"
#include "policy/calendar.h"

namespace weir::store {
namespace {

Instant At(const std::string& text) { return config::ParseTime(text + ":00Z").value(); }

TEST(FindZone, DaysOfChangedClocks_AreThoseOfTheDesign) {
  struct Case {
    const char* zone;
    const char* inside;
    const char* starts_at;
    std::int64_t minutes;
  };
  const Case cases[] = {
      {"America/New_York", "2026-03-08T12:00", "2026-03-08T05:00", 23 * 60},
      {"America/New_York", "2026-11-01T12:00", "2026-11-01T04:00", 25 * 60},
      {"Australia/Lord_Howe", "2026-04-05T00:00", "2026-04-04T13:00", 24 * 60 + 30},
      {"Australia/Lord_Howe", "2026-10-04T00:00", "2026-10-03T13:30", 23 * 60 + 30},
      {"Africa/Cairo", "2026-04-24T12:00", "2026-04-23T22:00", 23 * 60},
      {"Asia/Beirut", "2026-03-29T12:00", "2026-03-28T22:00", 23 * 60},
      {"America/Santiago", "2026-09-06T12:00", "2026-09-06T04:00", 23 * 60},
      {"America/Havana", "2026-03-08T12:00", "2026-03-08T05:00", 23 * 60},
      {"America/Havana", "2026-11-01T05:30", "2026-11-01T04:00", 25 * 60},
      {"Pacific/Apia", "2011-12-30T09:59", "2011-12-29T10:00", 24 * 60},
      {"Pacific/Apia", "2011-12-30T10:00", "2011-12-30T10:00", 24 * 60},
      {"Asia/Kathmandu", "2026-01-01T12:00", "2025-12-31T18:15", 24 * 60},
      {"Europe/Dublin", "2026-03-29T12:00", "2026-03-29T00:00", 23 * 60},
      {"Europe/Dublin", "2026-10-25T12:00", "2026-10-24T23:00", 25 * 60},
      {"Etc/UTC", "2026-10-25T12:00", "2026-10-25T00:00", 24 * 60},
      // Behind the last change that is listed: by the rule.
      {"America/New_York", "2099-03-08T12:00", "2099-03-08T05:00", 23 * 60},
      {"Europe/Berlin", "2050-10-30T12:00", "2050-10-29T22:00", 25 * 60},
      {"Asia/Kathmandu", "2099-01-01T12:00", "2098-12-31T18:15", 24 * 60},
  };
  for (const Case& c : cases) {
    config::Window day{.kind = config::WindowKind::kDay};
    day.zone = FindZone(c.zone);
    ASSERT_NE(day.zone, nullptr) << c.zone;
    EXPECT_EQ(day.zone->name, c.zone);
    const auto span = policy::WindowAt(day, At(c.inside));
    ASSERT_TRUE(span);
    EXPECT_EQ(config::FormatTime(span->starts_at), std::string(c.starts_at) + ":00Z") << c.zone;
    EXPECT_EQ((span->ends_at - span->starts_at).ns, Seconds(c.minutes * 60).ns) << c.zone;
  }
}

TEST(FindZone, WhatIsNotThere_IsNoZone) {
  for (const char* name :
       {"", "Europe", "Europe/", "Europe/Berlim", "europe/berlin", "PST", "Berlin", "../passwd",
        "Europe/../Europe/Berlin", "/usr/share/zoneinfo/Europe/Berlin", "zone1970.tab", "tzdata.zi",
        "leapseconds", "iso3166.tab", "localtime", "posixrules", "Factory", "UTC ", "UTC+1"}) {
    EXPECT_EQ(FindZone(name), nullptr) << name;
  }
  EXPECT_EQ(FindZone(std::string(100'000, 'a')), nullptr);
  EXPECT_EQ(FindZone(std::string_view("UTC\0", 4)), nullptr);
}

TEST(FindZone, EveryZoneOfTheDatabase_IsReadToItsEnd) {
  std::size_t zones = 0;
  for (const date::time_zone& place : date::get_tzdb().zones) {
    if (place.name() == "localtime" || place.name() == "posixrules" || place.name() == "Factory") {
      continue;
    }
    const auto zone = FindZone(place.name());
    ASSERT_NE(zone, nullptr) << place.name();
    ++zones;
    std::int32_t offset = zone->offset_seconds;
    Instant at{INT64_MIN};
    for (const config::ZoneChange& change : zone->changes) {
      EXPECT_GT(change.at, at) << place.name();
      EXPECT_NE(change.offset_seconds, offset) << place.name();
      EXPECT_EQ(change.at.ns % Seconds(1).ns, 0);
      at = change.at;
      offset = change.offset_seconds;
    }
  }
  EXPECT_GT(zones, 300U);
  // The rule goes on where the list ends, without a step.
  const auto berlin = FindZone("Europe/Berlin");
  ASSERT_FALSE(berlin->changes.empty());
  EXPECT_EQ(config::FormatTime(berlin->changes.back().at), "2099-10-25T01:00:00Z");
  EXPECT_GT(berlin->changes.size(), 2U * 120);
}

TEST(FindZone, TheDefaultAnchor_IsAtAFullHourOfToday) {
  // Hours are counted from it in elapsed time, so its offset and those of later times must differ
  // by whole hours. Two places change their clocks by less, every year.
  for (const date::time_zone& place : date::get_tzdb().zones) {
    const auto zone = FindZone(place.name());
    if (zone == nullptr || zone->changes.empty() || place.name() == "Australia/Lord_Howe" ||
        place.name() == "Australia/LHI") {
      continue;
    }
    const Instant anchor = policy::FirstInstantAt(zone.get(), config::kDefaultAnchorSeconds);
    const std::int64_t then =
        policy::LocalSecondsAt(zone.get(), anchor) - anchor.ns / Seconds(1).ns;
    for (const config::ZoneChange& change : zone->changes) {
      if (change.at < anchor) continue;
      EXPECT_EQ((change.offset_seconds - then) % 3'600, 0) << place.name();
    }
  }
}

TEST(FindZone, IsReadOnceAndShared) {
  EXPECT_EQ(FindZone("Europe/Paris"), FindZone("Europe/Paris"));
  // An alias is a zone of its own name.
  EXPECT_EQ(FindZone("Asia/Calcutta")->changes, FindZone("Asia/Kolkata")->changes);
  EXPECT_EQ(FindZone("Asia/Calcutta")->name, "Asia/Calcutta");
}

TEST(FindZone, FromManyThreads_IsOneZone) {
  constexpr int kThreads = 8;
  const std::vector<std::string> names = {"Asia/Tokyo", "Africa/Lagos", "America/Lima", "nowhere",
                                          "Europe/Oslo"};
  std::vector<std::vector<std::shared_ptr<const config::Zone>>> found(kThreads);
  {
    std::vector<std::jthread> threads;
    for (auto& of_thread : found) {
      threads.emplace_back([&] {
        for (const std::string& name : names) of_thread.push_back(FindZone(name));
      });
    }
  }
  for (const auto& of_thread : found) EXPECT_EQ(of_thread, found.front());
  EXPECT_EQ(found.front()[3], nullptr);
}

TEST(TzdbVersion, IsThatOfTheSystem) {
  const std::string version = TzdbVersion();
  ASSERT_GE(version.size(), 5U) << version;
  EXPECT_TRUE(version.starts_with("20")) << version;
  EXPECT_EQ(FindZone("UTC")->tzdb_version, version);
}

}  // namespace
}  // namespace weir::store
