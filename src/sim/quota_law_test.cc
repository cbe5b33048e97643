#include "sim/quota_law.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace weir::sim {
namespace {

using config::Dimension;
using config::Policy;
using config::QuotaUnit;
using config::WindowKind;

constexpr Instant kNow{1'800'000'000'000'000'000};

Policy Named(std::string id, QuotaUnit unit = QuotaUnit::kRequests,
             WindowKind window = WindowKind::kDay) {
  Policy policy;
  policy.id = std::move(id);
  policy.unit = unit;
  policy.limit = 10;
  policy.window.kind = window;
  return policy;
}

Asker Somebody() {
  return {.key = "k1",
          .workspace = "",
          .team = "t1",
          .user = "u2",
          .action = "a1",
          .model = "m0",
          .endpoint = "responses"};
}

std::vector<Due> DuesOf(const std::vector<Policy>& policies, const Asker& asker = Somebody(),
                        const std::vector<config::Raise>& raises = {}) {
  config::Config config;
  config.policies = policies;
  config.raises = raises;
  return sim::DuesOf(
      config, asker, kNow,
      {.input_tokens = 100, .output_tokens = 50, .usd = NanoUsd{777}, .multiplier_ppm = 1'500'001});
}

TEST(QuotaLaw, ConditionsMustHold_AndExceptionsMustNot) {
  Policy of_team = Named("team");
  of_team.match = {{Dimension::kTeam, {"t0", "t1"}}, {Dimension::kModel, {"m0"}}};
  Policy of_other = Named("other");
  of_other.match = {{Dimension::kTeam, {"t1"}}, {Dimension::kKey, {"k0"}}};
  Policy not_me = Named("not-me");
  not_me.except = {{Dimension::kUser, {"u2"}}};
  EXPECT_EQ(DuesOf({of_team, of_other, not_me}).size(), 1U);
  EXPECT_EQ(DuesOf({of_team, of_other, not_me})[0].policy, "team");
  Asker unknown = Somebody();
  unknown.user = "";
  unknown.team = "";
  EXPECT_EQ(DuesOf({of_team, not_me}, unknown).size(), 1U) << "nothing is no value";
}

TEST(QuotaLaw, ASplit_NamesTheCounter_AndAnActionIsItsCallers) {
  Policy each = Named("each", QuotaUnit::kRequests, WindowKind::kAction);
  each.per = {Dimension::kUser, Dimension::kKey};
  Due due = DuesOf({each}).at(0);
  EXPECT_EQ(due.values, "user=u2,key=k1,action=a1");
  EXPECT_EQ(due.scope, "k1");
  Asker shared = Somebody();
  shared.workspace = "w";
  EXPECT_EQ(DuesOf({each}, shared).at(0).scope, "w");
  shared.action = "";
  EXPECT_TRUE(DuesOf({each}, shared).at(0).alone) << "of an action of its own nothing is kept";
  EXPECT_TRUE(DuesOf({Named("one", QuotaUnit::kRequests, WindowKind::kRequest)}).at(0).alone);
}

TEST(QuotaLaw, EachUnit_IsHeldForWhatCanBeUsed) {
  const std::vector<std::pair<QuotaUnit, std::int64_t>> table = {
      {QuotaUnit::kRequests, 1},         {QuotaUnit::kConcurrent, 1},
      {QuotaUnit::kInputTokens, 100},    {QuotaUnit::kCachedTokens, 100},
      {QuotaUnit::kUncachedTokens, 100}, {QuotaUnit::kOutputTokens, 50},
      {QuotaUnit::kTotalTokens, 150},    {QuotaUnit::kUsd, 777},
      {QuotaUnit::kCredits, 777},        {QuotaUnit::kQuotaTokens, 226}};
  for (const auto& [unit, amount] : table) {
    EXPECT_EQ(DuesOf({Named("p", unit)}).at(0).amount, amount) << Name(unit);
  }
}

TEST(QuotaLaw, RulesAndLimits_AreThoseOfThePolicy) {
  Policy firm = Named("firm");
  firm.cap = config::CapKind::kFirm;
  EXPECT_EQ(DuesOf({firm})[0].rule, ledger::QuotaRule::kFirm);
  EXPECT_FALSE(DuesOf({firm})[0].amount.has_value());
  firm.shadow = true;
  EXPECT_EQ(DuesOf({firm})[0].rule, ledger::QuotaRule::kNone);
  Policy tells = Named("tells");
  tells.action = config::PolicyAction::kAlert;
  tells.retry.attempts = 3;
  const auto dues = DuesOf({tells});
  ASSERT_EQ(dues.size(), 2U);
  EXPECT_EQ(dues[0].rule, ledger::QuotaRule::kNone);
  EXPECT_EQ(dues[1].policy, "tells/attempts");
  EXPECT_EQ(dues[1].limit, 3);
  EXPECT_EQ(dues[1].rule, ledger::QuotaRule::kHard);
  EXPECT_EQ(dues[1].values, "action=a1");

  Policy each = Named("each");
  each.per = {Dimension::kTeam};
  const auto limit = [&](std::vector<config::Raise> raises) {
    return DuesOf({each}, Somebody(), raises).at(0).limit;
  };
  const config::Raise raise{.approval = "a",
                            .policy = "each",
                            .values = "team=t1",
                            .amount = 5,
                            .from = kNow,
                            .to = kNow + Seconds(1)};
  config::Raise other = raise;
  other.values = "team=t0";
  config::Raise late = raise;
  late.from = kNow + Seconds(1);
  config::Raise over = raise;
  over.to = kNow;
  config::Raise all = raise;
  all.values = "";
  EXPECT_EQ(limit({raise}), 15);
  EXPECT_EQ(limit({raise, all}), 20);
  EXPECT_EQ(limit({other, late, over}), 10);
}

TEST(QuotaLaw, Windows_AreCountedFromTheAnchor) {
  Policy hours = Named("hours", QuotaUnit::kRequests, WindowKind::kHour);
  hours.window.every = 5;
  const Due due = DuesOf({hours}).at(0);
  EXPECT_EQ(due.length, Seconds(5 * 3'600));
  const Instant anchor{config::kDefaultAnchorSeconds * 1'000'000'000};
  for (const std::int64_t n : {-2, -1, 0, 1, 7'000}) {
    const Instant starts_at = anchor + Duration{n * due.length.ns};
    EXPECT_EQ(WindowByHand(due, starts_at).starts_at, starts_at) << n;
    const Bounds last = WindowByHand(due, Instant{starts_at.ns + due.length.ns - 1});
    EXPECT_EQ(last.starts_at, starts_at) << n;
    EXPECT_EQ(last.ends_at, starts_at + due.length) << n;
  }
  Policy sliding = Named("sliding", QuotaUnit::kRequests, WindowKind::kMinute);
  sliding.window.sliding = true;
  EXPECT_TRUE(DuesOf({sliding}).at(0).sliding);
  Policy life = Named("life", QuotaUnit::kRequests, WindowKind::kLifetime);
  EXPECT_EQ(DuesOf({life}).at(0).length, Duration{});
}

TEST(QuotaLaw, ADegradingPolicy_MayMoveARequest) {
  config::Config config;
  Policy degrade = Named("p");
  degrade.action = config::PolicyAction::kDegrade;
  degrade.degrade_to = "m0";
  config.policies = {degrade};
  EXPECT_EQ(ModelsFor(config, "m1"), (std::vector<std::string>{"m1", "m0"}));
  config.policies.clear();
  EXPECT_EQ(ModelsFor(config, "m1"), std::vector<std::string>{"m1"});
}

}  // namespace
}  // namespace weir::sim
