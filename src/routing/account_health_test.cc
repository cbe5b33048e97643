#include "routing/account_health.h"

#include <gtest/gtest.h>

namespace weir::routing {
namespace {

constexpr Tick kStart{1'000'000'000'000};

TEST(AccountHealth, EachClass_RestsAsItsRuleSays) {
  struct Row {
    Outcome outcome;
    int failures;  // in a row, one at a time, each behind the rest of the one before
    std::optional<Duration> given;
    Duration rest;  // 0: none
    bool soft;
  };
  const Row rows[] = {
      {Outcome::kServed, 1, {}, {}, false},
      {Outcome::kNothing, 5, {}, {}, false},
      {Outcome::kModelGone, 5, {}, {}, false},
      {Outcome::kBurst, 1, {}, Seconds(1), false},
      {Outcome::kBurst, 3, {}, Seconds(4), false},
      {Outcome::kBurst, 20, {}, Seconds(60), false},
      {Outcome::kBurst, 1, Seconds(7), Seconds(7), false},
      {Outcome::kBurst, 1, Minutes(600), Minutes(10), false},
      {Outcome::kWindowExhausted, 1, {}, Minutes(5), false},
      {Outcome::kWindowExhausted, 9, {}, Minutes(60), false},
      {Outcome::kWindowExhausted, 1, Seconds(13'872), Seconds(13'872), false},
      {Outcome::kWindowExhausted, 1, Seconds(7 * 86'400), Seconds(7 * 86'400), false},
      {Outcome::kWindowExhausted, 1, Seconds(400LL * 86'400), Seconds(31 * 86'400), false},
      {Outcome::kOverloaded, 1, {}, Seconds(2), true},
      {Outcome::kAuthDead, 1, {}, Minutes(30), false},
      {Outcome::kBillingDead, 2, {}, Minutes(30), false},
      {Outcome::kServerError, 1, {}, {}, false},
      {Outcome::kServerError, 2, {}, {}, false},
      {Outcome::kServerError, 3, {}, Seconds(5), true},
      {Outcome::kServerError, 4, {}, Seconds(10), true},
      {Outcome::kEmptyReply, 1, {}, {}, false},
      {Outcome::kEmptyReply, 2, {}, Seconds(30), true},
  };
  for (const Row& row : rows) {
    AccountHealth health;
    Tick now = kStart;
    for (int i = 0; i < row.failures; ++i) {
      if (health.until() > now) now = health.until();
      health.Note(row.outcome, row.given, now);
    }
    const auto name = Name(row.outcome);
    if (row.rest.ns == 0) {
      EXPECT_EQ(health.At(now), Fitness::kOpen) << name << ' ' << row.failures;
      continue;
    }
    EXPECT_EQ(health.until() - now, row.rest) << name << ' ' << row.failures;
    EXPECT_EQ(health.At(now), row.soft ? Fitness::kCoolingSoft : Fitness::kCooling) << name;
    EXPECT_EQ(health.At(now + row.rest), Fitness::kHalfOpen) << name;
    health.Note(Outcome::kServed, {}, now + row.rest);
    EXPECT_EQ(health.At(now + row.rest), Fitness::kOpen) << name;
    EXPECT_EQ(health.failures(), 0) << name;
  }
}

TEST(AccountHealth, CallsThatFailTogether_AreOneFailure) {
  AccountHealth health;
  for (int i = 0; i < 50; ++i) health.Note(Outcome::kBurst, {}, kStart);
  EXPECT_EQ(health.until() - kStart, Seconds(1)) << "fifty calls at once did not fail in a row";
}

TEST(AccountHealth, LaterReset_Wins_EarlierDoesNotShortenARest) {
  AccountHealth health;
  health.Note(Outcome::kWindowExhausted, Seconds(3600), kStart);
  health.Note(Outcome::kBurst, {}, kStart);
  EXPECT_EQ(health.until() - kStart, Seconds(3600));
  EXPECT_EQ(health.why(), Outcome::kWindowExhausted);
  health.Note(Outcome::kWindowExhausted, Seconds(7200), kStart);
  EXPECT_EQ(health.until() - kStart, Seconds(7200)) << "what the upstream says last";
}

TEST(AccountHealth, CallFromBeforeTheRest_ThatEndsWell_DoesNotEndIt) {
  AccountHealth health;
  health.Note(Outcome::kWindowExhausted, Seconds(3600), kStart);
  EXPECT_FALSE(health.Note(Outcome::kServed, {}, kStart + Seconds(5)));
  EXPECT_EQ(health.At(kStart + Seconds(5)), Fitness::kCooling);
  // A rest for the vendor's sake is over when the vendor serves.
  AccountHealth soft;
  soft.Note(Outcome::kOverloaded, {}, kStart);
  EXPECT_TRUE(soft.Note(Outcome::kServed, {}, kStart + Seconds(1)));
  EXPECT_EQ(soft.At(kStart + Seconds(1)), Fitness::kOpen);
}

TEST(AccountHealth, ServedBetweenErrors_IsNoRow) {
  AccountHealth health;
  for (int i = 0; i < 100; ++i) {
    health.Note(Outcome::kServerError, {}, kStart);
    health.Note(Outcome::kServerError, {}, kStart);
    health.Note(Outcome::kServed, {}, kStart);
  }
  EXPECT_EQ(health.At(kStart), Fitness::kOpen);
  EXPECT_TRUE(health.Errs(kStart)) << "but sessions are better off elsewhere";
  EXPECT_FALSE(health.Errs(kStart + Seconds(31))) << "an old opinion is none";
}

TEST(AccountHealth, OperatorsHand_CoolsAndClears) {
  AccountHealth health;
  health.Cool(Minutes(5), kStart);
  EXPECT_EQ(health.At(kStart), Fitness::kCooling);
  health.Clear();
  EXPECT_EQ(health.At(kStart), Fitness::kOpen);
}

TEST(RestOf, AnyNumberOfFailures_StaysWithinItsCap) {
  for (std::uint8_t o = 0; o < kOutcomes; ++o) {
    const CooldownRule* const rule = RuleOf(static_cast<Outcome>(o));
    if (rule == nullptr) continue;
    for (const int failures : {0, 1, 63, 64, 1'000'000}) {
      EXPECT_LE(RestOf(*rule, failures, {}), rule->cap);
      EXPECT_GT(RestOf(*rule, failures, {}).ns, 0);
    }
    EXPECT_LE(RestOf(*rule, 1, Duration{INT64_MAX}), rule->given_cap);
    EXPECT_EQ(RestOf(*rule, 1, Duration{0}), rule->first) << "no time is no time given";
  }
}

// --- probes: a question that costs nothing ----------------------------------------------------

AccountHealth Failed(Outcome outcome, int times) {
  AccountHealth health;
  for (int i = 0; i < times; ++i) health.Note(outcome, std::nullopt, kStart);
  return health;
}

TEST(AccountHealth, ProbeThatIsAnswered_HalvesTheRestOfWhatItCanShow) {
  const struct {
    Outcome why;
    int times;
    bool heals;
  } rows[] = {{Outcome::kAuthDead, 1, true},    {Outcome::kServerError, 3, true},
              {Outcome::kBurst, 1, false},      {Outcome::kWindowExhausted, 1, false},
              {Outcome::kOverloaded, 1, false}, {Outcome::kBillingDead, 1, false},
              {Outcome::kEmptyReply, 2, false}};
  for (const auto& row : rows) {
    AccountHealth health = Failed(row.why, row.times);
    ASSERT_NE(health.At(kStart), Fitness::kOpen) << Name(row.why);
    EXPECT_EQ(health.WantsProbe(kStart), row.heals) << Name(row.why);
    const Tick until = health.until();
    EXPECT_EQ(health.NoteProbe(Outcome::kServed, kStart), row.heals) << Name(row.why);
    if (row.heals) {
      EXPECT_EQ(health.At(kStart), Fitness::kHalfOpen) << Name(row.why);
    } else {
      EXPECT_EQ(health.until(), until) << Name(row.why);
    }
  }
}

TEST(AccountHealth, CallThatFailsBehindAGoodProbe_RestsAsLongAsIfThereHadBeenNone) {
  AccountHealth health = Failed(Outcome::kServerError, 3);
  ASSERT_EQ(health.until(), kStart + Seconds(5));
  health.NoteProbe(Outcome::kServed, kStart + Seconds(1));
  health.Note(Outcome::kServerError, std::nullopt, kStart + Seconds(1));
  EXPECT_EQ(health.until(), kStart + Seconds(11)) << "the second failure in a row doubles";
}

TEST(AccountHealth, ProbeThatIsRefused_RestsAnAccountNobodyUsedAndKeepsARefusedOneAtRest) {
  AccountHealth fresh;
  EXPECT_TRUE(fresh.NoteProbe(Outcome::kAuthDead, kStart));
  EXPECT_EQ(fresh.At(kStart), Fitness::kCooling);
  EXPECT_EQ(fresh.until(), kStart + Minutes(30));
  // No call is spent on finding out what the probe knows.
  EXPECT_TRUE(fresh.NoteProbe(Outcome::kAuthDead, kStart + Minutes(29)));
  EXPECT_EQ(fresh.until(), kStart + Minutes(59));
}

TEST(AccountHealth, ProbeThatShowsNothing_ChangesNothing) {
  for (const Outcome outcome : {Outcome::kNothing, Outcome::kBurst, Outcome::kModelGone}) {
    AccountHealth health;
    EXPECT_FALSE(health.NoteProbe(outcome, kStart)) << Name(outcome);
    EXPECT_EQ(health.At(kStart), Fitness::kOpen) << Name(outcome);
  }
}

}  // namespace
}  // namespace weir::routing
