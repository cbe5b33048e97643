// What policies say together, as the credit machine would have them.
#include "policy/decision.h"

#include <gtest/gtest.h>

#include <deque>
#include <string>
#include <vector>

#include "policy/quote.h"
#include "policy/usual_output.h"

namespace weir::policy {
namespace {

using config::Policy;
using config::WindowKind;

config::Price ATokenCosts(std::int64_t nano) {
  config::Price price;
  price.input = price.cached_input = price.cache_write = price.output = {nano * 1000};
  return price;
}

class Table {
 public:
  Table& Add(QuotaUnit unit, std::int64_t limit, bool alone = false, std::int64_t settled = 0) {
    Policy& policy = policies_.emplace_back();
    policy.id = "p" + std::to_string(policies_.size());
    policy.unit = unit;
    policy.limit = limit;
    if (alone) policy.window.kind = WindowKind::kRequest;
    uses_.push_back({.policy = &policy, .limit = limit});
    if (!alone) uses_.back().counter = {1, policies_.size()};
    standings_.push_back(
        {.window = kAllTime, .settled = settled, .limit = limit, .rule = RuleOf(policy)});
    return *this;
  }
  Policy& last() { return policies_.back(); }
  Decision Say(std::int64_t output, std::int64_t useful = 10) {
    Ask ask{.demand = {.price = &price, .bounds = {.input = 100}, .choices = choices},
            .output = output,
            .output_useful = useful,
            .output_usual = output};
    for (std::size_t i = 0; i < uses_.size(); ++i) standings_[i].rule = RuleOf(*uses_[i].policy);
    decision_ = Decide(uses_, standings_, ask, 300, scratch_);
    return decision_;
  }
  std::vector<std::size_t> Clampers(std::int64_t asked) {
    std::vector<std::size_t> out;
    WhoClamped(uses_, standings_, decision_, asked, out);
    return out;
  }
  config::Price price = ATokenCosts(10);
  std::int64_t choices = 1;

 private:
  std::deque<Policy> policies_;
  std::vector<QuotaUse> uses_;
  std::vector<Standing> standings_;
  Decision decision_;
  DecisionScratch scratch_;
};

TEST(Decide, NoPolicies_GrantsWhatWasAsked) {
  const Decision decision = Table().Say(500);
  EXPECT_TRUE(decision.allowed());
  EXPECT_EQ(decision.output, 500);
  EXPECT_FALSE(decision.clamped);
  EXPECT_EQ(decision.hold, NanoUsd{6000});
  EXPECT_EQ(decision.ask.demand.fallback_spend, NanoUsd{18'000});
}

TEST(Decide, LimitsOfOneRequest_ShortenItBeforeAnythingElseIsJudged) {
  Table table;
  table.Add(QuotaUnit::kOutputTokens, 50, true).Add(QuotaUnit::kTotalTokens, 160);
  table.last().clamp = false;  // judged whole: 100 and 500 would not fit, 100 and 50 do
  const Decision decision = table.Say(500);
  EXPECT_TRUE(decision.allowed());
  EXPECT_EQ(decision.output, 50);
  EXPECT_TRUE(decision.clamped);
  EXPECT_EQ(table.Clampers(500), std::vector<std::size_t>{0});
}

TEST(Decide, TheOneWithLeast_Clamps) {
  Table table;
  table.Add(QuotaUnit::kTotalTokens, 10'000).Add(QuotaUnit::kUsd, 3000).Add(QuotaUnit::kUsd, 9000);
  const Decision decision = table.Say(500);
  EXPECT_EQ(decision.output, 200);
  EXPECT_EQ(table.Clampers(500), std::vector<std::size_t>{1});
}

TEST(Decide, LessThanIsUseful_IsRefusedByTheOneThatLeavesIt) {
  Table table;
  table.Add(QuotaUnit::kTotalTokens, 10'000).Add(QuotaUnit::kUsd, 2000, false, 960);
  Decision decision = table.Say(500, 5);
  EXPECT_EQ(decision.verdict.refusal, Refusal::kPolicyBudgetExceeded) << "4 of the 5 fit";
  EXPECT_EQ(decision.verdict.use, 1U);
  EXPECT_EQ(decision.verdict.amount, 1050);
  decision = table.Say(500, 4);
  EXPECT_TRUE(decision.allowed());
  EXPECT_EQ(decision.output, 4);
  EXPECT_TRUE(table.Say(4, 500).allowed()) << "what was asked for is useful";
}

TEST(Decide, WhatDoesNotShrink_IsJudgedFirst) {
  Table table;
  table.Add(QuotaUnit::kUsd, 0).Add(QuotaUnit::kRequests, 1, false, 1);
  EXPECT_EQ(table.Say(10).verdict.use, 1U);
}

TEST(Decide, ChoicesShareWhatIsLeft) {
  Table table;
  table.choices = 3;
  table.Add(QuotaUnit::kOutputTokens, 100);
  const Decision decision = table.Say(500);
  EXPECT_EQ(decision.output, 33);
  EXPECT_EQ(decision.hold, HoldOf(table.price, {.input = 100, .output = 99}));
}

TEST(Decide, TellsWhatIsLeftForRecovery) {
  Table table;
  table.Add(QuotaUnit::kAttempts, 3, false, 1);
  const Decision decision = table.Say(10);
  EXPECT_EQ(decision.recovery.attempts, 2);
  EXPECT_EQ(decision.recovery.fallback_spend, std::nullopt);
  Table used;
  used.Add(QuotaUnit::kAttempts, 3, false, 3);
  EXPECT_EQ(used.Say(10).verdict.refusal, Refusal::kAttemptsExhausted);
}

TEST(UsualOutput, IsNearlyTheLargestOfTheLastTwenty) {
  UsualOutput usual;
  EXPECT_EQ(usual.tokens(), 1024);
  usual.Note(1023);
  EXPECT_EQ(usual.tokens(), 1024);
  usual.Note(1024);
  EXPECT_EQ(usual.tokens(), 2048);
  for (int i = 0; i < 19; ++i) usual.Note(1);
  EXPECT_EQ(usual.tokens(), 1024) << "one of twenty is the exception";
  usual.Note(5000);
  usual.Note(5000);
  EXPECT_EQ(usual.tokens(), 5120);
  for (int i = 0; i < 20; ++i) usual.Note(1);
  EXPECT_EQ(usual.tokens(), 1024);
}

}  // namespace
}  // namespace weir::policy
