#include "policy/reach.h"

#include <gtest/gtest.h>

namespace weir::policy {
namespace {

using config::Dimension;
using config::Policy;

Facts FactsOf(std::string_view team, std::string_view user = {}) {
  Facts facts;
  facts[Dimension::kKey] = "ci";
  facts[Dimension::kTeam] = team;
  facts[Dimension::kUser] = user;
  return facts;
}

TEST(Reach, APolicyIsMet_WhenItsConditionsOnTheKeysSideHold) {
  Policy policy;
  EXPECT_TRUE(CanMeet(policy, FactsOf("growth")));
  policy.match = {{Dimension::kTeam, {"core", "growth"}}};
  EXPECT_TRUE(CanMeet(policy, FactsOf("growth")));
  EXPECT_FALSE(CanMeet(policy, FactsOf("sales")));
  EXPECT_FALSE(CanMeet(policy, FactsOf("")));
  policy.match.push_back({Dimension::kKey, {"other"}});
  EXPECT_FALSE(CanMeet(policy, FactsOf("growth")));
}

TEST(Reach, WhatIsAskedFor_IsNotLookedAt) {
  Policy policy;
  policy.match = {{Dimension::kTeam, {"growth"}},        {Dimension::kModel, {"big"}},
                  {Dimension::kEndpoint, {"responses"}}, {Dimension::kProvider, {"openai"}},
                  {Dimension::kModelFamily, {"gpt-5"}},  {Dimension::kModelClass, {"premium"}},
                  {Dimension::kModality, {"video"}}};
  EXPECT_TRUE(CanMeet(policy, FactsOf("growth")));
  policy.except = {{Dimension::kModel, {"big"}}};
  EXPECT_TRUE(CanMeet(policy, FactsOf("growth")));
}

TEST(Reach, AnException_KeepsItsRequestsOut) {
  Policy policy;
  policy.except = {{Dimension::kTeam, {"growth"}}};
  EXPECT_FALSE(CanMeet(policy, FactsOf("growth")));
  EXPECT_TRUE(CanMeet(policy, FactsOf("core")));
  EXPECT_TRUE(CanMeet(policy, FactsOf("")));
}

TEST(Reach, TheCounter_IsTheOneOfTheKeysSide) {
  Policy policy;
  EXPECT_EQ(CounterOf(policy, FactsOf("growth")), "");
  policy.per = {Dimension::kTeam, Dimension::kUser};
  EXPECT_EQ(CounterOf(policy, FactsOf("growth", "a,b")), "team=growth,user=a%2Cb");
  EXPECT_TRUE(IsCounterOf(policy, *CounterOf(policy, FactsOf("growth", "a,b"))));
  EXPECT_EQ(CounterOf(policy, FactsOf("growth")), "team=growth,user=");
  policy.per.push_back(Dimension::kModel);
  EXPECT_FALSE(CounterOf(policy, FactsOf("growth", "ada")));
}

TEST(Reach, OnlyTheTextOfACounter_IsOne) {
  Policy policy;
  EXPECT_TRUE(IsCounterOf(policy, ""));
  EXPECT_FALSE(IsCounterOf(policy, "team=growth"));
  policy.per = {Dimension::kTeam, Dimension::kUser};
  EXPECT_TRUE(IsCounterOf(policy, "team=growth,user=ada"));
  EXPECT_TRUE(IsCounterOf(policy, "team=,user="));
  for (const std::string_view wrong :
       {"", "team=growth", "team=growth,", "user=ada,team=growth", "team=growth,user=ada,",
        "team=growth,user=ada,key=x", "team=growth,user", "team=growth user=ada", "tea=x,user=y",
        "team=growth,user=a=b"}) {
    EXPECT_FALSE(IsCounterOf(policy, wrong)) << wrong;
  }
}

TEST(Reach, ATime_TouchesSoManyWindows) {
  using config::WindowKind;
  const Instant start{1'767'225'600'000'000'000};  // 2026-01-01T00:00:00Z, a Thursday
  const auto within = [&](config::Window window, Duration after, Duration length) {
    return WindowsWithin(window, start + after, start + after + length);
  };
  const Duration day = Seconds(86'400);
  const Duration hour = Seconds(3'600);
  EXPECT_EQ(within({.kind = WindowKind::kDay}, {}, day), 1);
  EXPECT_EQ(within({.kind = WindowKind::kDay}, {}, day + Duration{1}), 2);
  EXPECT_EQ(within({.kind = WindowKind::kDay}, hour, day), 2);
  EXPECT_EQ(within({.kind = WindowKind::kDay}, {}, Seconds(7 * 86'400)), 7);
  EXPECT_EQ(within({.kind = WindowKind::kDay, .every = 7}, {}, Seconds(7 * 86'400)), 2);
  EXPECT_EQ(within({.kind = WindowKind::kMonth}, {}, Seconds(60 * 86'400)), 3);
  EXPECT_EQ(within({.kind = WindowKind::kMonth}, {}, day), 1);
  EXPECT_EQ(within({.kind = WindowKind::kHour}, {}, day), 24);
  EXPECT_EQ(within({.kind = WindowKind::kMinute}, Seconds(30), Seconds(60)), 2);
  EXPECT_EQ(within({.kind = WindowKind::kMinute}, {}, Seconds(366 * 86'400)), 366 * 1'440);
  EXPECT_EQ(within({.kind = WindowKind::kDay, .sliding = true}, {}, hour), 2);
  EXPECT_EQ(within({.kind = WindowKind::kDay, .sliding = true}, {}, day), 2);
  EXPECT_EQ(within({.kind = WindowKind::kDay, .sliding = true}, {}, day + hour), 3);
  EXPECT_EQ(within({.kind = WindowKind::kLifetime}, {}, day), 1);
  EXPECT_EQ(within({.kind = WindowKind::kRequest}, {}, day), 0);
  EXPECT_EQ(within({.kind = WindowKind::kAction}, {}, day), 0);
  EXPECT_EQ(
      within(
          {.kind = WindowKind::kCampaign, .starts_at = start + day, .ends_at = start + day + day},
          {}, hour),
      1);
}

}  // namespace
}  // namespace weir::policy
