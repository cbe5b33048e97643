#include "sim/schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "sim/policy_plan.h"
#include "sim/shrink.h"

namespace weir::sim {
namespace {

bool Same(const Schedule& a, const Schedule& b) {
  return a.faults == b.faults && Describe(a) == Describe(b) &&
         std::ranges::equal(a.actions, b.actions, [](const Action& x, const Action& y) {
           return x.seed == y.seed && x.at == y.at && x.kind == y.kind;
         });
}

TEST(Schedule, ASeed_AlwaysMakesTheSame_AndAnotherAnother) {
  EXPECT_TRUE(Same(MakeSchedule(7, 40), MakeSchedule(7, 40)));
  EXPECT_FALSE(Same(MakeSchedule(7, 40), MakeSchedule(8, 40)));
}

TEST(Schedule, Swarm_EveryFaultIsOnInSomeAndOffInOthers) {
  for (const FaultName& fault : kFaultNames) {
    int on = 0;
    for (std::uint64_t seed = 0; seed < 200; ++seed)
      on += MakeSchedule(seed, 1).faults.Has(fault.fault);
    EXPECT_GT(on, 30) << fault.name;
    EXPECT_LT(on, 170) << fault.name;
  }
}

TEST(Schedule, LeavingAFaultOut_MovesNothingElse) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const Schedule whole = MakeSchedule(seed, 40);
    const Schedule less = Without(whole, Fault::kCrash);
    EXPECT_FALSE(less.faults.Has(Fault::kCrash));
    auto left = less.actions.begin();
    for (const Action& action : whole.actions) {
      if (action.kind == Action::Kind::kCrash) continue;
      ASSERT_NE(left, less.actions.end());
      EXPECT_EQ(left->seed, action.seed);
      EXPECT_EQ(left->at, action.at);
      ++left;
    }
    EXPECT_EQ(left, less.actions.end());
  }
}

TEST(Schedule, OnlyText_ReadAgain_IsTheSameSchedule) {
  Schedule schedule = MakeSchedule(3, 20);
  ASSERT_TRUE(KeepOnly(schedule, "2,5u,9cu,11c"));
  EXPECT_EQ(OnlyText(schedule), "2,5u,9cu,11c");
  EXPECT_TRUE(schedule.actions[2].calm_caller && schedule.actions[2].calm_upstreams);
  EXPECT_EQ(schedule.actions[1].number, 5U);
}

TEST(Schedule, OnlyText_ThatIsNone_IsRefused) {
  for (const char* text : {"x", "20", "1,,2", "1x", "1,1", "-1", "4294967296"}) {
    Schedule schedule = MakeSchedule(3, 20);
    EXPECT_FALSE(KeepOnly(schedule, text)) << text;
  }
}

TEST(PolicyPlan, AllKinds_AreDrawn) {
  std::set<config::QuotaUnit> units;
  std::set<config::WindowKind> windows;
  std::set<config::PolicyAction> actions;
  std::set<std::size_t> counts;
  int sliding = 0;
  int shadow = 0;
  int firm = 0;
  int retries = 0;
  int shared = 0;
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    const auto policies = DrawPolicies(seed);
    counts.insert(policies.size());
    for (const config::Policy& policy : policies) {
      units.insert(policy.unit);
      windows.insert(policy.window.kind);
      actions.insert(policy.action);
      sliding += policy.window.sliding;
      shadow += policy.shadow;
      firm += policy.cap == config::CapKind::kFirm;
      retries += policy.retry.attempts.has_value();
      shared += policy.per.empty();
      EXPECT_GE(policy.limit, 0);
      EXPECT_TRUE(policy.unit != config::QuotaUnit::kConcurrent ||
                  policy.window.kind == config::WindowKind::kLifetime);
      EXPECT_TRUE(std::ranges::is_sorted(policy.alert_percent));
      EXPECT_FALSE(DescribePolicy(policy).empty());
    }
  }
  EXPECT_EQ(units.size(), 10U);
  EXPECT_EQ(windows.size(), 6U);
  EXPECT_EQ(actions.size(), 4U);
  EXPECT_EQ(counts.size(), kPolicies + 1);
  for (const int some : {sliding, shadow, firm, retries, shared}) EXPECT_GT(some, 30);
}

TEST(PolicyPlan, AChange_LeavesWhatIsCounted) {
  std::set<std::string> ids;
  std::size_t raised = 0;
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    auto policies = DrawPolicies(seed);
    std::vector<config::Raise> raises;
    for (std::uint64_t n = 0; n < 40; ++n) {
      ChangePolicies(seed * 100 + n, seed, Instant{7}, policies, raises);
      raised += raises.size();
      ids.clear();
      for (const config::Policy& policy : policies) {
        ids.insert(policy.id);
        const config::Policy first =
            DrawPolicy(seed, static_cast<std::size_t>(policy.id.back() - '0'));
        EXPECT_EQ(policy.unit, first.unit);
        EXPECT_EQ(policy.per, first.per);
        EXPECT_EQ(policy.match, first.match);
        EXPECT_EQ(policy.alert_percent, first.alert_percent);
        EXPECT_EQ(policy.window.kind, first.window.kind);
        EXPECT_EQ(policy.window.sliding, first.window.sliding);
        EXPECT_EQ(policy.window.every, first.window.every);
      }
      EXPECT_EQ(ids.size(), policies.size());
    }
  }
  EXPECT_GT(raised, 50U);
}

TEST(Fault, Names_AreUnique_AndReadAgain) {
  std::set<std::string_view> names;
  for (const FaultName& fault : kFaultNames) {
    names.insert(fault.name);
    EXPECT_EQ(Name(fault.fault), fault.name);
    EXPECT_EQ(ParseFault(fault.name), fault.fault);
  }
  EXPECT_EQ(names.size(), kFaultNames.size());
  EXPECT_EQ(ParseFault("flood"), std::nullopt);
}

}  // namespace
}  // namespace weir::sim
