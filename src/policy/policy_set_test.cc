// Which policies a request meets, and which of their counters: conditions, splits, providers,
// actions, raises, the order of the file, and that the index never leaves one out.
#include "policy/policy_set.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"

namespace weir::policy {
namespace {

using config::Condition;
using config::Dimension;
using config::Policy;
using config::QuotaUnit;
using config::WindowKind;

constexpr Instant kNow{1'700'000'000'000'000'000};

Policy Named(std::string id, std::vector<Condition> match = {}) {
  Policy policy;
  policy.id = std::move(id);
  policy.match = std::move(match);
  policy.limit = 100;
  policy.unit = QuotaUnit::kRequests;
  return policy;
}

Facts Who(std::string_view team, std::string_view user = {}) {
  Facts facts;
  facts[Dimension::kTeam] = team;
  facts[Dimension::kUser] = user;
  facts[Dimension::kModel] = "gpt-5.5";
  facts[Dimension::kEnvironment] = "production";
  return facts;
}

std::vector<QuotaUse> Met(const PolicySet& set, const Facts& facts, Instant now = kNow) {
  std::vector<QuotaUse> uses;
  EXPECT_TRUE(set.Match(facts, now, uses));
  return uses;
}
std::string Ids(const PolicySet& set, const Facts& facts, Instant now = kNow) {
  std::string text;
  for (const QuotaUse& use : Met(set, facts, now)) text += use.policy->id + " ";
  return text;
}

TEST(PolicySet, AllConditions_MustHold) {
  const PolicySet set(std::vector{Named("all"), Named("team", {{Dimension::kTeam, {"growth"}}}),
                                  Named("both", {{Dimension::kTeam, {"growth"}},
                                                 {Dimension::kUser, {"ada", "bob"}}})},
                      {});
  EXPECT_EQ(Ids(set, Who("growth", "ada")), "all team both ");
  EXPECT_EQ(Ids(set, Who("growth", "eve")), "all team ");
  EXPECT_EQ(Ids(set, Who("growth")), "all team ") << "an unknown user is none of the named";
  EXPECT_EQ(Ids(set, Who("data", "ada")), "all ");
}

TEST(PolicySet, Except_LeavesOut) {
  Policy policy = Named("low-cost-only", {{Dimension::kEnvironment, {"production"}}});
  policy.except = {{Dimension::kModel, {"gpt-5.4-mini", "gpt-5.5"}}};
  const PolicySet set(std::vector{policy}, {});
  Facts facts = Who("growth");
  EXPECT_EQ(Ids(set, facts), "");
  facts[Dimension::kModel] = "gpt-5.5-pro";
  EXPECT_EQ(Ids(set, facts), "low-cost-only ");
}

TEST(PolicySet, Uses_ComeInTheOrderOfTheFile) {
  const PolicySet set(std::vector{Named("z", {{Dimension::kTeam, {"growth"}}}), Named("a"),
                                  Named("m", {{Dimension::kUser, {"ada"}}}),
                                  Named("b", {{Dimension::kModel, {"gpt-5.5"}}})},
                      {});
  EXPECT_EQ(Ids(set, Who("growth", "ada")), "z a m b ");
}

TEST(PolicySet, Counters_AreOneForAll_OrOneForEachValue) {
  Policy each = Named("each");
  each.per = {Dimension::kTeam, Dimension::kUser};
  const PolicySet set(std::vector{Named("shared"), each}, {});
  const auto ada = Met(set, Who("growth", "ada"));
  const auto bob = Met(set, Who("growth", "bob"));
  const auto again = Met(set, Who("growth", "ada"));
  EXPECT_EQ(ada[0].counter, bob[0].counter);
  EXPECT_NE(ada[1].counter, bob[1].counter);
  EXPECT_EQ(ada[1].counter, again[1].counter);
  EXPECT_EQ(CounterText(ada[0], Who("growth", "ada")), "");
  EXPECT_EQ(CounterText(ada[1], Who("growth", "ada")), "team=growth,user=ada");
  EXPECT_EQ(CounterText(ada[1], Who("a,b=c%", "x")), "team=a%2Cb%3Dc%25,user=x");
}

TEST(PolicySet, Values_DoNotRunIntoEachOther) {
  Policy each = Named("each");
  each.per = {Dimension::kTeam, Dimension::kUser};
  const PolicySet set(std::vector{each}, {});
  EXPECT_NE(Met(set, Who("ab", "c"))[0].counter, Met(set, Who("a", "bc"))[0].counter);
  EXPECT_NE(Met(set, Who("ab", ""))[0].counter, Met(set, Who("", "ab"))[0].counter);
}

// What a counter counted means nothing in another unit or over another window; a limit may change.
TEST(PolicySet, Counter_StaysUnderAnotherLimit_AndNotUnderAnotherUnitOrWindow) {
  const auto counter = [](const Policy& policy) {
    const PolicySet set(std::vector{policy}, {});
    return Met(set, Who("growth"))[0].counter;
  };
  const Policy policy = Named("p");
  Policy limit = policy, unit = policy, window = policy, sliding = policy, condition = policy;
  limit.limit = 7;
  condition.match = {{Dimension::kTeam, {"growth"}}};
  unit.unit = QuotaUnit::kUsd;
  window.window.kind = WindowKind::kDay;
  sliding.window.sliding = true;
  EXPECT_EQ(counter(limit), counter(policy));
  EXPECT_EQ(counter(condition), counter(policy));
  EXPECT_NE(counter(unit), counter(policy));
  EXPECT_NE(counter(window), counter(policy));
  EXPECT_NE(counter(sliding), counter(policy));
}

TEST(PolicySet, Identity_IsFrozen) {
  Policy policy = Named("support-monthly");
  policy.unit = QuotaUnit::kUsd;
  policy.per = {Dimension::kTeam};
  const PolicySet set(std::vector{policy}, {});
  EXPECT_EQ(ToString(Met(set, Who("growth"))[0].counter), "4RWFMXBQE44DM1BKHEV14NM1HF");
}

TEST(PolicySet, Provider_HoldsForAllThatMayServe) {
  Policy openai = Named("openai", {{Dimension::kProvider, {"openai"}}});
  Policy each = Named("each");
  each.per = {Dimension::kProvider};
  const PolicySet set(std::vector{openai, each}, {});
  const std::vector<std::string_view> two = {"azure", "openai"};
  const std::vector<std::string_view> one = {"azure"};
  Facts facts = Who("growth");
  facts.providers = two;
  const auto uses = Met(set, facts);
  ASSERT_EQ(uses.size(), 3U);
  EXPECT_EQ(uses[0].providers, 0b10U);
  EXPECT_EQ(uses[1].providers, 0b01U);
  EXPECT_EQ(uses[2].providers, 0b10U);
  EXPECT_EQ(CounterText(uses[2], facts), "provider=openai");
  facts.providers = one;
  EXPECT_EQ(Ids(set, facts), "each ");
}

TEST(PolicySet, RequestAlone_HasNoCounter) {
  Policy request = Named("request");
  request.window.kind = WindowKind::kRequest;
  Policy action = Named("action");
  action.window.kind = WindowKind::kAction;
  const PolicySet set(std::vector{request, action}, {});
  EXPECT_TRUE(set.LooksAtActions());
  Facts facts = Who("growth");
  EXPECT_TRUE(Met(set, facts)[0].counter.empty());
  EXPECT_TRUE(Met(set, facts)[1].counter.empty()) << "a request without an action is one";
  facts.action = "7";
  facts.action_scope = "team-red";
  const Id128 red = Met(set, facts)[1].counter;
  EXPECT_FALSE(red.empty());
  EXPECT_EQ(CounterText(Met(set, facts)[1], facts), "action=7");
  facts.action_scope = "team-blue";
  EXPECT_NE(Met(set, facts)[1].counter, red);
}

TEST(PolicySet, RetryRule_BecomesPoliciesOfItsOwn) {
  Policy policy = Named("agents", {{Dimension::kTeam, {"growth"}}});
  policy.retry = {.attempts = 2, .fallback_attempts = 1, .fallback_spend = NanoUsd{500}};
  policy.shadow = true;
  const PolicySet set(std::vector{policy}, {});
  EXPECT_EQ(Ids(set, Who("growth")),
            "agents agents/attempts agents/fallback_attempts agents/fallback_spend ");
  const Policy* const attempts = set.Find("agents/attempts");
  ASSERT_NE(attempts, nullptr);
  EXPECT_EQ(attempts->unit, QuotaUnit::kAttempts);
  EXPECT_EQ(attempts->limit, 2);
  EXPECT_EQ(attempts->window.kind, WindowKind::kAction);
  EXPECT_TRUE(attempts->shadow);
  EXPECT_EQ(set.Find("agents/fallback_spend")->limit, 500);
}

TEST(PolicySet, Campaign_IsInForceBetweenItsDates) {
  Policy policy = Named("launch");
  policy.window.kind = WindowKind::kCampaign;
  policy.window.starts_at = kNow;
  policy.window.ends_at = kNow + Seconds(10);
  const PolicySet set(std::vector{policy}, {});
  EXPECT_EQ(Ids(set, Who("growth"), {kNow.ns - 1}), "");
  EXPECT_EQ(Ids(set, Who("growth"), kNow), "launch ");
  EXPECT_EQ(Ids(set, Who("growth"), {kNow.ns + Seconds(10).ns - 1}), "launch ");
  EXPECT_EQ(Ids(set, Who("growth"), kNow + Seconds(10)), "");
}

TEST(PolicySet, Raise_AddsToTheLimit_ForItsTimeAndItsCounter) {
  Policy policy = Named("p");
  policy.per = {Dimension::kTeam};
  const std::vector<config::Raise> raises = {{.approval = "a1",
                                              .policy = "p",
                                              .values = "",
                                              .amount = 5,
                                              .from = kNow,
                                              .to = kNow + Seconds(9)},
                                             {.approval = "a2",
                                              .policy = "p",
                                              .values = "team=growth",
                                              .amount = 70,
                                              .from = {0},
                                              .to = {INT64_MAX}},
                                             {.approval = "a3",
                                              .policy = "other",
                                              .values = "",
                                              .amount = 900,
                                              .from = {0},
                                              .to = {INT64_MAX}}};
  const PolicySet set(std::vector{policy}, raises);
  EXPECT_EQ(Met(set, Who("growth"))[0].limit, 175);
  EXPECT_EQ(Met(set, Who("data"))[0].limit, 105);
  EXPECT_EQ(Met(set, Who("data"), kNow + Seconds(9))[0].limit, 100);
  EXPECT_EQ(Met(set, Who("data"), {kNow.ns - 1})[0].limit, 100);
}

TEST(PolicySet, MoreThanCanBeHeld_IsSaid) {
  std::vector<Policy> policies;
  for (std::size_t i = 0; i < kUsesMax; ++i) policies.push_back(Named("p" + std::to_string(i)));
  std::vector<QuotaUse> uses;
  EXPECT_TRUE(PolicySet(policies, {}).Match(Who("growth"), kNow, uses));
  EXPECT_EQ(uses.size(), kUsesMax);
  policies.push_back(Named("one-more"));
  EXPECT_FALSE(PolicySet(policies, {}).Match(Who("growth"), kNow, uses));
  // And through the index too.
  for (Policy& policy : policies) policy.match = {{Dimension::kTeam, {"growth"}}};
  EXPECT_FALSE(PolicySet(policies, {}).Match(Who("growth"), kNow, uses));
}

// The index only points: what it finds is what asking every policy finds.
TEST(PolicySet, Index_FindsWhatAskingAllFinds) {
  SeededRandom random{7};
  const auto draw = [&](std::uint64_t n) { return random.Next() % n; };
  const std::vector<Dimension> dimensions = {Dimension::kTeam, Dimension::kUser, Dimension::kModel,
                                             Dimension::kEnvironment, Dimension::kModelClass};
  for (int round = 0; round < 200; ++round) {
    std::vector<Policy> policies;
    for (std::uint64_t i = 0; i < 1 + draw(60); ++i) {
      Policy policy = Named("p" + std::to_string(i));
      for (const Dimension dimension : dimensions) {
        std::set<std::string> values;
        for (std::uint64_t v = 0; v < 1 + draw(3); ++v)
          values.insert("v" + std::to_string(draw(4)));
        const Condition condition{dimension, {values.begin(), values.end()}};
        if (draw(3) == 0) policy.match.push_back(condition);
        if (draw(8) == 0) policy.except.push_back(condition);
      }
      policies.push_back(policy);
    }
    const PolicySet set(policies, {});
    for (int request = 0; request < 20; ++request) {
      Facts facts;
      std::vector<std::string> values(dimensions.size());
      for (std::size_t d = 0; d < dimensions.size(); ++d) {
        if (draw(5) != 0) values[d] = "v" + std::to_string(draw(4));
        facts[dimensions[d]] = values[d];
      }
      std::string expected;
      for (const Policy& policy : policies) {
        const auto holds = [&](const Condition& condition) {
          const std::string value(facts[condition.dimension]);
          return !value.empty() &&
                 std::ranges::find(condition.values, value) != condition.values.end();
        };
        if (std::ranges::all_of(policy.match, holds) &&
            std::ranges::none_of(policy.except, holds)) {
          expected += policy.id + " ";
        }
      }
      ASSERT_EQ(Ids(set, facts), expected) << "round " << round;
    }
  }
}

TEST(ChangesAfter, IsWhenACampaignOrAnApprovalBeginsOrEnds) {
  Policy campaign;
  campaign.id = "launch";
  campaign.window.kind = config::WindowKind::kCampaign;
  campaign.window.starts_at = Instant{100};
  campaign.window.ends_at = Instant{400};
  Policy other;
  other.id = "other";
  const config::Raise raise{
      .approval = "a", .policy = "other", .values = "", .amount = 1, .from = {200}, .to = {300}};
  const config::Raise of_none{
      .approval = "b", .policy = "gone", .values = "", .amount = 1, .from = {210}, .to = {310}};
  const PolicySet set(std::vector{campaign, other}, std::vector{raise, of_none});
  std::vector<std::int64_t> changes;
  for (Instant at{0}; at.ns != INT64_MAX;) {
    at = set.ChangesAfter(at);
    changes.push_back(at.ns);
  }
  EXPECT_EQ(changes, (std::vector<std::int64_t>{100, 200, 300, 400, INT64_MAX}));
}

}  // namespace
}  // namespace weir::policy
