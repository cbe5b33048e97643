// What fits beside what policies have left, and what is held and used of every unit.
#include "policy/quota_fit.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/random.h"

namespace weir::policy {
namespace {

using config::CapKind;
using config::Policy;
using config::PolicyAction;
using config::WindowKind;

config::Price PriceOfATokenEach(std::int64_t nano) {
  config::Price price;
  price.input = price.cached_input = price.cache_write = price.output = {nano * 1000};
  return price;
}

// One policy and one request, and what the one says to the other.
struct Case {
  Policy policy;
  Standing standing;
  config::Price price = PriceOfATokenEach(1);
  Ask ask;

  explicit Case(QuotaUnit unit, std::int64_t limit) {
    policy.id = "p";
    policy.unit = unit;
    policy.limit = standing.limit = limit;
    ask.demand.price = &price;
    ask.demand.bounds.input = 100;
    ask.output = 200;
    ask.output_useful = 50;
    ask.output_usual = 80;
  }
  Case(const Case&) = delete;
  Case& operator=(const Case&) = delete;

  QuotaUse Use() const { return {.policy = &policy, .limit = standing.limit, .counter = {1, 1}}; }
  Standing Stand() const {
    Standing stand = standing;
    stand.rule = RuleOf(policy);
    return stand;
  }
  std::string Fixed() const {
    const QuotaUse use = Use();
    const Standing stand = Stand();
    return std::string(TextOf(JudgeFixed({&use, 1}, {&stand, 1}, ask).refusal).name);
  }
  std::string Output() const {
    const QuotaUse use = Use();
    const Standing stand = Stand();
    return std::string(TextOf(JudgeOutput({&use, 1}, {&stand, 1}, ask).refusal).name);
  }
  std::int64_t Left(Room room = Room::kAvailable) const {
    const QuotaUse use = Use();
    const Standing stand = Stand();
    return OutputLeft({&use, 1}, {&stand, 1}, ask, ask.output, room).value_or(-1);
  }
};

TEST(QuotaFit, EveryUnit_HoldsItsBound) {
  const config::Price price = PriceOfATokenEach(3);
  Demand demand{.price = &price,
                .bounds = {.input = 100, .audio_ms = 2'500, .images = 4, .video_ms = 7'000},
                .multiplier_ppm = 2'000'000,
                .video_jobs = 1,
                .video_rerenders = 2,
                .embeddings = 16,
                .attempts = 5,
                .fallback_spend = {900}};
  const std::vector<std::pair<QuotaUnit, std::int64_t>> table = {
      {QuotaUnit::kRequests, 1},         {QuotaUnit::kInputTokens, 100},
      {QuotaUnit::kOutputTokens, 50},    {QuotaUnit::kTotalTokens, 150},
      {QuotaUnit::kCachedTokens, 100},   {QuotaUnit::kUncachedTokens, 100},
      {QuotaUnit::kQuotaTokens, 300},    {QuotaUnit::kConcurrent, 1},
      {QuotaUnit::kContextTokens, 100},  {QuotaUnit::kImages, 4},
      {QuotaUnit::kVideoJobs, 1},        {QuotaUnit::kVideoSeconds, 7'000},
      {QuotaUnit::kVideoRerenders, 2},   {QuotaUnit::kAudioSeconds, 2'500},
      {QuotaUnit::kEmbeddings, 16},      {QuotaUnit::kAttempts, 5},
      {QuotaUnit::kFallbackAttempts, 4}, {QuotaUnit::kFallbackSpend, 900}};
  for (const auto& [unit, held] : table) EXPECT_EQ(HeldOf(unit, demand, 50), held) << Name(unit);
  const std::int64_t usd =
      HoldOf(price, {.input = 100, .output = 50, .audio_ms = 2'500, .images = 4, .video_ms = 7'000})
          .n;
  EXPECT_EQ(HeldOf(QuotaUnit::kUsd, demand, 50), usd);
  EXPECT_EQ(HeldOf(QuotaUnit::kCredits, demand, 50), usd);
  EXPECT_EQ(HeldOf(QuotaUnit::kUsd, demand, 50, NanoUsd{77}), 77);
}

TEST(QuotaFit, EveryUnit_CountsWhatWasUsed) {
  Spent spent{.usage = {.input_tokens = 90,
                        .cached_input_tokens = 30,
                        .output_tokens = 40,
                        .source = UsageSource::kProvider,
                        .audio_ms = 1'500,
                        .images = 2,
                        .video_ms = 3'000},
              .price = {555},
              .attempts = 3,
              .fallback_spend = {70},
              .multiplier_ppm = 1'500'000};
  const std::vector<std::pair<QuotaUnit, std::int64_t>> table = {{QuotaUnit::kRequests, 9},
                                                                 {QuotaUnit::kInputTokens, 90},
                                                                 {QuotaUnit::kOutputTokens, 40},
                                                                 {QuotaUnit::kTotalTokens, 130},
                                                                 {QuotaUnit::kCachedTokens, 30},
                                                                 {QuotaUnit::kUncachedTokens, 60},
                                                                 {QuotaUnit::kUsd, 555},
                                                                 {QuotaUnit::kCredits, 555},
                                                                 {QuotaUnit::kQuotaTokens, 195},
                                                                 {QuotaUnit::kConcurrent, 0},
                                                                 {QuotaUnit::kContextTokens, 0},
                                                                 {QuotaUnit::kImages, 2},
                                                                 {QuotaUnit::kVideoJobs, 9},
                                                                 {QuotaUnit::kVideoSeconds, 3'000},
                                                                 {QuotaUnit::kVideoRerenders, 9},
                                                                 {QuotaUnit::kAudioSeconds, 1'500},
                                                                 {QuotaUnit::kEmbeddings, 9},
                                                                 {QuotaUnit::kAttempts, 3},
                                                                 {QuotaUnit::kFallbackAttempts, 2},
                                                                 {QuotaUnit::kFallbackSpend, 70}};
  for (const auto& [unit, used] : table) EXPECT_EQ(UsedOf(unit, spent, 9), used) << Name(unit);
  spent.charged = false;
  for (const auto& [unit, used] : table) {
    EXPECT_EQ(UsedOf(unit, spent, 9), IsRecovery(unit) ? used : 0) << Name(unit);
  }
}

// Usage within the bounds is at most what is held of it, in every unit.
TEST(QuotaFit, RandomUsageWithinTheBounds_IsAtMostWhatIsHeld) {
  SeededRandom random{3};
  const auto draw = [&](std::int64_t n) {
    return n <= 0 ? 0
                  : static_cast<std::int64_t>(random.Next() % static_cast<std::uint64_t>(n + 1));
  };
  for (int i = 0; i < 20'000; ++i) {
    config::Price price;
    price.input = {draw(9'000)};
    price.cached_input = {draw(9'000)};
    price.cache_write = {draw(9'000)};
    price.output = {draw(30'000)};
    const Demand demand{.price = &price,
                        .bounds = {.input = draw(5'000),
                                   .audio_ms = draw(9'000),
                                   .images = draw(5),
                                   .video_ms = draw(9'000)},
                        .multiplier_ppm = draw(15'000'000)};
    const std::int64_t output = draw(4'000);
    Spent spent{.multiplier_ppm = demand.multiplier_ppm};
    spent.usage = Plausible({.input_tokens = draw(demand.bounds.input),
                             .cached_input_tokens = draw(5'000),
                             .cache_write_tokens = draw(5'000),
                             .output_tokens = draw(output),
                             .source = UsageSource::kProvider,
                             .audio_ms = draw(demand.bounds.audio_ms),
                             .images = draw(demand.bounds.images),
                             .video_ms = draw(demand.bounds.video_ms)});
    spent.price = PriceOf(price, spent.usage);
    for (std::size_t u = 0; u < config::kQuotaUnits; ++u) {
      const auto unit = static_cast<QuotaUnit>(u);
      if (IsRecovery(unit)) continue;
      const std::int64_t held = HeldOf(unit, demand, output);
      ASSERT_LE(UsedOf(unit, spent, held), held) << Name(unit);
    }
  }
}

// The largest output that fits is held within the amount, and one token more is not.
TEST(QuotaFit, OutputFitting_IsExact) {
  SeededRandom random{5};
  const auto draw = [&](std::int64_t n) {
    return static_cast<std::int64_t>(random.Next() % static_cast<std::uint64_t>(n + 1));
  };
  for (int i = 0; i < 20'000; ++i) {
    config::Price price;
    price.input = {1 + draw(900)};
    price.output = {1 + draw(3'000)};
    const Demand demand{.price = &price,
                        .bounds = {.input = draw(500)},
                        .choices = 1 + draw(3),
                        .multiplier_ppm = 1 + draw(3'000'000)};
    for (const QuotaUnit unit : {QuotaUnit::kOutputTokens, QuotaUnit::kTotalTokens, QuotaUnit::kUsd,
                                 QuotaUnit::kQuotaTokens}) {
      const std::int64_t amount = draw(3'000);
      const auto fits = OutputFitting(unit, demand, 100'000, amount);
      if (!fits) {
        ASSERT_GT(HeldOf(unit, demand, 0), amount) << Name(unit);
        continue;
      }
      ASSERT_LE(HeldOf(unit, demand, *fits * demand.choices), amount) << Name(unit);
      if (*fits == 100'000) continue;  // all that was asked for
      ASSERT_GT(HeldOf(unit, demand, (*fits + 1) * demand.choices), amount) << Name(unit);
    }
  }
}

TEST(QuotaFit, WhatDoesNotShrink_FitsOrDoesNot) {
  Case requests(QuotaUnit::kRequests, 3);
  requests.standing.settled = 2;
  EXPECT_EQ(requests.Fixed(), "None");
  requests.standing.held = 1;
  EXPECT_EQ(requests.Fixed(), "PolicyInFlight");
  requests.standing.settled = 3;
  EXPECT_EQ(requests.Fixed(), "QuotaExceeded");
  Case input(QuotaUnit::kInputTokens, 99);
  EXPECT_EQ(input.Fixed(), "RequestExceedsLimit") << "its 100 tokens are more than the whole limit";
  Case slots(QuotaUnit::kConcurrent, 2);
  slots.standing.held = 2;
  EXPECT_EQ(slots.Fixed(), "PolicyConcurrency");
  Case banned(QuotaUnit::kRequests, 0);
  EXPECT_EQ(banned.Fixed(), "PolicyBlocked");
  banned.policy.action = PolicyAction::kApproval;
  EXPECT_EQ(banned.Fixed(), "ApprovalRequired");
  banned.policy.shadow = true;
  EXPECT_EQ(banned.Fixed(), "None");
  banned.policy.shadow = false;
  banned.policy.action = PolicyAction::kAlert;
  EXPECT_EQ(banned.Fixed(), "None");
}

TEST(QuotaFit, StatusOfMoney_IsThePolicysChoice) {
  Case usd(QuotaUnit::kUsd, 1'000);
  usd.standing.settled = 980;
  EXPECT_EQ(usd.Output(), "PolicyBudgetExceeded");
  usd.policy.over_limit_status = 429;
  EXPECT_EQ(usd.Output(), "PolicyBudgetLater");
  Case tokens(QuotaUnit::kTotalTokens, 1'000);
  tokens.standing.settled = 980;
  EXPECT_EQ(tokens.Output(), "QuotaExceeded");
  tokens.policy.over_limit_status = 402;
  EXPECT_EQ(tokens.Output(), "PolicyBudgetExceeded");
  usd.standing.settled = 0;
  usd.standing.limit = 120;
  EXPECT_EQ(usd.Output(), "PolicyRequestExceedsBudget");
  usd.standing.limit = 1'000;
  usd.standing.held = 900;
  EXPECT_EQ(usd.Output(), "PolicyInFlight");
}

TEST(QuotaFit, Output_IsShortenedToTheTightestPolicy) {
  Case tokens(QuotaUnit::kTotalTokens, 1'000);
  Case usd(QuotaUnit::kUsd, 1'000);
  tokens.standing.settled = 780;
  usd.standing.settled = 820;
  EXPECT_EQ(tokens.Left(), 120);
  EXPECT_EQ(usd.Left(), 80);
  const std::vector<QuotaUse> uses = {tokens.Use(), usd.Use()};
  const std::vector<Standing> standings = {tokens.Stand(), usd.Stand()};
  EXPECT_EQ(OutputLeft(uses, standings, tokens.ask, 200, Room::kAvailable), 80);
  EXPECT_EQ(OutputLeft(uses, standings, tokens.ask, 200, Room::kWhole), 200);
  EXPECT_EQ(OutputLeft(uses, standings, tokens.ask, 30, Room::kAvailable), 30);
}

TEST(QuotaFit, PolicyThatDoesNotClamp_RefusesInstead) {
  Case tokens(QuotaUnit::kOutputTokens, 150);
  EXPECT_EQ(tokens.Fixed(), "None");
  EXPECT_EQ(tokens.Left(), 150);
  tokens.policy.clamp = false;
  EXPECT_EQ(tokens.Fixed(), "RequestExceedsLimit");
  EXPECT_EQ(tokens.Left(), 200) << "it does not shorten";
}

// A firm cap holds what such requests usually cost: a quarter of the bytes and the usual output.
TEST(QuotaFit, FirmCap_HoldsTheExpected) {
  Case tokens(QuotaUnit::kTotalTokens, 105);
  tokens.policy.cap = CapKind::kFirm;
  EXPECT_EQ(tokens.Fixed(), "None");
  const QuotaUse use = tokens.Use();
  EXPECT_EQ(AmountOf(use, tokens.Stand(), tokens.ask, 200, NanoUsd{300}, {}), 25 + 80);
  tokens.standing.limit = 104;
  EXPECT_EQ(tokens.Fixed(), "RequestExceedsLimit");
  tokens.policy.cap = CapKind::kHard;
  EXPECT_EQ(AmountOf(use, tokens.Stand(), tokens.ask, 200, NanoUsd{300}, {}), 300);
}

// A limit that was lowered below what is used: what costs nothing still fits, as a free model does.
TEST(QuotaFit, WhatCostsNothing_FitsBesideALoweredLimit) {
  Case usd(QuotaUnit::kUsd, 10);
  usd.standing.settled = 50;
  usd.price = PriceOfATokenEach(0);
  EXPECT_EQ(usd.Left(), 200);
  EXPECT_EQ(usd.Output(), "None");
}

TEST(QuotaFit, Recovery_IsGrantedWhatIsLeft_AndTheFirstAttemptMustBe) {
  Case attempts(QuotaUnit::kAttempts, 2);
  attempts.ask.demand.attempts = 10;
  EXPECT_EQ(attempts.Fixed(), "None");
  Case fallback(QuotaUnit::kFallbackAttempts, 1);
  Case spend(QuotaUnit::kFallbackSpend, 700);
  fallback.standing.settled = 1;
  const std::vector<QuotaUse> uses = {attempts.Use(), fallback.Use(), spend.Use()};
  const std::vector<Standing> standings = {attempts.Stand(), fallback.Stand(), spend.Stand()};
  const RecoveryLeft left = LeftForRecovery(uses, standings);
  EXPECT_EQ(left.attempts, 2);
  EXPECT_EQ(left.fallback_attempts, 0);
  EXPECT_EQ(left.fallback_spend, NanoUsd{700});
  Ask ask = attempts.ask;
  ask.demand.fallback_spend = {900};
  EXPECT_EQ(AmountOf(uses[0], standings[0], ask, 200, {}, left), 2);
  EXPECT_EQ(AmountOf(uses[1], standings[1], ask, 200, {}, left), 0);
  EXPECT_EQ(AmountOf(uses[2], standings[2], ask, 200, {}, left), 700);
  attempts.standing.settled = 2;
  EXPECT_EQ(attempts.Fixed(), "AttemptsExhausted");
  attempts.standing.settled = 1;
  attempts.standing.held = 1;
  EXPECT_EQ(attempts.Fixed(), "PolicyInFlight");
  EXPECT_EQ(fallback.Fixed(), "None") << "without a fallback the request may still be tried once";
}

TEST(QuotaFit, Shadow_SaysWhatItWouldHaveDone) {
  Case usd(QuotaUnit::kUsd, 1'000);
  usd.policy.shadow = true;
  EXPECT_FALSE(WouldRefuse(usd.Use(), usd.Stand(), usd.ask));
  usd.standing.settled = 980;
  EXPECT_TRUE(WouldRefuse(usd.Use(), usd.Stand(), usd.ask));
  usd.standing.settled = 850;
  EXPECT_FALSE(WouldRefuse(usd.Use(), usd.Stand(), usd.ask)) << "it would have been shortened";
}

TEST(QuotaFit, Amounts_AreWrittenAsPeopleWriteThem) {
  EXPECT_EQ(AmountText(QuotaUnit::kUsd, 12'500'000'000), "12.5 USD");
  EXPECT_EQ(AmountText(QuotaUnit::kUsd, 1), "0.000000001 USD");
  EXPECT_EQ(AmountText(QuotaUnit::kCredits, 1'999), "1 credits");
  EXPECT_EQ(AmountText(QuotaUnit::kAudioSeconds, 90'500), "90.5 audio seconds");
  EXPECT_EQ(AmountText(QuotaUnit::kTotalTokens, 1'000), "1000 total tokens");
  EXPECT_EQ(AmountDigits(QuotaUnit::kRequests, 7), "7");
}

}  // namespace
}  // namespace weir::policy
