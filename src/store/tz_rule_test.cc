#include "store/tz_rule.h"

#include <gtest/gtest.h>

#include <string>

#include "config/scalar.h"

namespace weir::store {
namespace {

Instant At(const std::string& text) { return config::ParseTime(text).value(); }

// "2038-03-14T08:00:00Z -18000, ..."
std::string Shown(std::string_view text, const char* from, const char* to) {
  const auto rule = ParseTzRule(text);
  if (!rule) return "no rule";
  std::string shown;
  for (const config::ZoneChange& change : ChangesOf(*rule, At(from), At(to))) {
    if (!shown.empty()) shown += ", ";
    shown += config::FormatTime(change.at) + " " + std::to_string(change.offset_seconds);
  }
  return shown;
}

TEST(ChangesOf, EveryFormOfRule) {
  struct Case {
    const char* rule;
    const char* from;
    const char* to;
    const char* want;
  };
  const Case cases[] = {
      {"EST5EDT,M3.2.0,M11.1.0", "2026-01-01", "2027-01-01",
       "2026-03-08T07:00:00Z -14400, 2026-11-01T06:00:00Z -18000"},
      {"CET-1CEST,M3.5.0,M10.5.0/3", "2026-01-01", "2027-01-01",
       "2026-03-29T01:00:00Z 7200, 2026-10-25T01:00:00Z 3600"},
      // South of the equator a year begins in summer.
      {"<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", "2026-01-01", "2027-01-01",
       "2026-04-04T15:00:00Z 37800, 2026-10-03T15:30:00Z 39600"},
      // Winter time that is the exception (Dublin): a summer that ends in spring.
      {"IST-1GMT0,M10.5.0,M3.5.0/1", "2026-01-01", "2027-01-01",
       "2026-03-29T01:00:00Z 3600, 2026-10-25T01:00:00Z 0"},
      // On the day before, by a negative time (Nuuk), and long after (Cairo's last Friday at
      // 24:00).
      {"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "2026-01-01", "2027-01-01",
       "2026-03-29T01:00:00Z -3600, 2026-10-25T01:00:00Z -7200"},
      {"EET-2EEST,M4.5.5/0,M10.5.4/24", "2026-01-01", "2027-01-01",
       "2026-04-23T22:00:00Z 10800, 2026-10-29T21:00:00Z 7200"},
      // Gaza's are counted from a Thursday, by 50 hours.
      {"EET-2EEST,M3.4.4/50,M10.4.4/50", "2026-01-01", "2027-01-01",
       "2026-03-28T00:00:00Z 10800, 2026-10-23T23:00:00Z 7200"},
      // By the number of the day, with and without 29 February.
      {"AAA0BBB,J60/0,J300/0", "2028-01-01", "2029-01-01",
       "2028-03-01T00:00:00Z 3600, 2028-10-26T23:00:00Z 0"},
      {"AAA0BBB,59/0,299/0", "2028-01-01", "2029-01-01",
       "2028-02-29T00:00:00Z 3600, 2028-10-25T23:00:00Z 0"},
      {"AAA0BBB,J59/0,J300/0", "2028-01-01", "2028-03-01", "2028-02-28T00:00:00Z 3600"},
      // A summer all year round (RFC 8536 section 3.3.1).
      {"XXX3EDT4,0/0,J365/23", "2026-01-01", "2028-01-01", ""},
      {"UTC0", "2026-01-01", "2027-01-01", ""},
      {"<+0545>-5:45", "2026-01-01", "2027-01-01", ""},
      // [from, to)
      {"EST5EDT,M3.2.0,M11.1.0", "2026-03-08T07:00:00Z", "2026-11-01T06:00:00Z",
       "2026-03-08T07:00:00Z -14400"},
      {"EST5EDT,M3.2.0,M11.1.0", "2026-03-08T07:00:01Z", "2026-11-01T06:00:01Z",
       "2026-11-01T06:00:00Z -18000"},
      {"EST5EDT,M3.2.0,M11.1.0", "2026-06-01", "2026-06-01", ""},
  };
  for (const Case& c : cases) EXPECT_EQ(Shown(c.rule, c.from, c.to), c.want) << c.rule;
}

TEST(OffsetAt, IsWhatTheRuleSaysOfAnyMoment) {
  const TzRule rule = ParseTzRule("EST5EDT,M3.2.0,M11.1.0").value();
  EXPECT_EQ(OffsetAt(rule, At("2026-03-08T06:59:59Z")), -18000);
  EXPECT_EQ(OffsetAt(rule, At("2026-03-08T07:00:00Z")), -14400);
  EXPECT_EQ(OffsetAt(rule, At("2026-01-01")), -18000);
  EXPECT_EQ(OffsetAt(rule, {Seconds(-2'208'988'800).ns}), -18000);
  const TzRule south = ParseTzRule("<+1030>-10:30<+11>-11,M10.1.0,M4.1.0").value();
  EXPECT_EQ(OffsetAt(south, At("2026-01-01")), 39600);
  EXPECT_EQ(OffsetAt(ParseTzRule("XXX3EDT4,0/0,J365/23").value(), At("2026-01-01")), -14400)
      << "between two summers";
  EXPECT_EQ(OffsetAt(ParseTzRule("<-0330>3:30").value(), At("2026-01-01")), -12600);
}

TEST(ParseTzRule, WhatIsNoRule_IsRefused) {
  for (const char* bad : {"",
                          "EST",
                          "5",
                          "ES5",
                          "EST5EDT",
                          "EST5EDT4",
                          "EST5EDT,",
                          "EST5EDT,M3.2.0",
                          "EST5EDT,M3.2.0,",
                          "EST5EDT,M3.2.0,M11.1.0,",
                          "EST5EDT,M13.2.0,M11.1.0",
                          "EST5EDT,M3.6.0,M11.1.0",
                          "EST5EDT,M3.2.7,M11.1.0",
                          "EST25",
                          "EST5:60",
                          "EST5EDT,M3.2.0/168,M11.1.0",
                          "EST5EDT,J0,J1",
                          "EST5EDT,J366,J1",
                          "EST5EDT,366,1",
                          "<+05-5",
                          "<>5",
                          " EST5",
                          "EST5 ",
                          "EST5\n",
                          "EST99999999999",
                          "CET-1CEST,M3.5.0,M10.5.0/3 "}) {
    EXPECT_FALSE(ParseTzRule(bad)) << bad;
  }
}

}  // namespace
}  // namespace weir::store
