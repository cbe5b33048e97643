// Exact GCRA against two oracles: hand-counted values, and a simulation that drains one nanosecond
// at a time in plain integers.
#include "policy/limiter.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/random.h"

namespace weir::policy {
namespace {

constexpr std::int64_t kMinuteNs = 60'000'000'000;
constexpr Tick kStart{1'700'000'000'000'000'000};

Tick After(Duration d) { return kStart + d; }

bool TakeInto(Rate& rate, std::int64_t cost, Tick now) {
  const RateDecision decision = Take(rate, cost, now);
  if (decision.allowed) rate = decision.after;
  return decision.allowed;
}

TEST(Rate, Burst_IsTheLimit_AndOneMoreIsRefusedForExactlyOneShare) {
  Rate rate = WithLimit({}, 100, kStart);
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(TakeInto(rate, 1, kStart)) << i;
  const RateDecision refused = Take(rate, 1, kStart);
  EXPECT_FALSE(refused.allowed);
  EXPECT_EQ(refused.retry_after.ns, 600'000'000);  // a hundredth of a minute
  EXPECT_FALSE(Take(rate, 1, After({599'999'999})).allowed);
  EXPECT_TRUE(Take(rate, 1, After({600'000'000})).allowed);
}

TEST(Rate, RetryAfter_OfARateThatDoesNotDivide_IsTheFirstNanosecondThatWorks) {
  for (const std::int64_t limit : {3, 7, 11, 999, 1'000'003}) {
    Rate rate = WithLimit({}, limit, kStart);
    ASSERT_TRUE(TakeInto(rate, limit, kStart));
    for (const std::int64_t cost : {std::int64_t{1}, std::int64_t{2}, limit}) {
      const RateDecision refused = Take(rate, cost, kStart);
      ASSERT_FALSE(refused.allowed);
      EXPECT_TRUE(Take(rate, cost, kStart + refused.retry_after).allowed) << limit;
      EXPECT_FALSE(Take(rate, cost, kStart + (refused.retry_after - Duration{1})).allowed) << limit;
    }
  }
}

TEST(Rate, View_CountsWholeUnitsAndTheTimeUntilFull) {
  Rate rate = WithLimit({}, 60, kStart);
  EXPECT_EQ(View(rate, kStart).remaining, 60);
  EXPECT_EQ(View(rate, kStart).reset.ns, 0);
  ASSERT_TRUE(TakeInto(rate, 45, kStart));
  EXPECT_EQ(View(rate, kStart).remaining, 15);
  EXPECT_EQ(View(rate, kStart).reset, Seconds(45));
  EXPECT_EQ(View(rate, After({999'999'999})).remaining, 15);
  EXPECT_EQ(View(rate, After(Seconds(1))).remaining, 16);
  EXPECT_EQ(View(rate, After(Seconds(44))).reset, Seconds(1));
  EXPECT_EQ(View(rate, After(Seconds(500))).remaining, 60);
}

TEST(Rate, NoLimit_NeverRefusesAndShowsNothing) {
  const Rate rate = WithLimit({}, 0, kStart);
  EXPECT_TRUE(Take(rate, INT64_MAX, kStart).allowed);
  EXPECT_EQ(View(rate, kStart).limit, 0);
  EXPECT_EQ(WithLimit({}, -5, kStart).limit, 0);
}

TEST(Rate, CostAboveTheLimit_NeedsTheWholeMinute) {
  Rate rate = WithLimit({}, 1000, kStart);
  ASSERT_TRUE(TakeInto(rate, 1, kStart));
  EXPECT_FALSE(Take(rate, 5000, kStart).allowed);
  EXPECT_TRUE(Take(rate, 5000, After({kMinuteNs / 1000})).allowed);
}

TEST(Rate, Correct_MovesIntoDebt_AndRefundsNoMoreThanAFullMinute) {
  Rate rate = WithLimit({}, 1000, kStart);
  ASSERT_TRUE(TakeInto(rate, 1000, kStart));
  rate = Correct(rate, 500, kStart);  // used half a minute more than was taken
  EXPECT_EQ(View(rate, kStart).remaining, 0);
  EXPECT_EQ(View(rate, kStart).reset, Seconds(90));
  EXPECT_FALSE(Take(rate, 1, After(Seconds(30))).allowed);
  rate = Correct(rate, -1'000'000, kStart);
  EXPECT_EQ(View(rate, kStart).remaining, 1000);
  EXPECT_FALSE(Take(Take(rate, 1000, kStart).after, 1, kStart).allowed);  // not more than full
}

TEST(Rate, Debt_IsBounded_WhateverIsSaidToBeUsed) {
  Rate rate = WithLimit({}, kLimitMax, kStart);
  for (int i = 0; i < 1000; ++i) rate = Correct(rate, std::int64_t{1} << 41, kStart);
  EXPECT_LE(View(rate, kStart).reset, kRateDebtMax);
  Rate small = WithLimit({}, 1, kStart);
  for (int i = 0; i < 1000; ++i) small = Correct(small, std::int64_t{1} << 41, kStart);
  EXPECT_EQ(View(small, kStart).reset, kRateDebtMax);
  EXPECT_EQ(View(WithLimit(small, kLimitMax, kStart), kStart).limit, kLimitMax);
}

TEST(Rate, WithLimit_KeepsWhatWasUsed) {
  Rate rate = WithLimit({}, 100, kStart);
  ASSERT_TRUE(TakeInto(rate, 60, kStart));
  EXPECT_EQ(View(WithLimit(rate, 1000, kStart), kStart).remaining, 940);
  EXPECT_EQ(View(WithLimit(rate, 70, kStart), kStart).remaining, 10);
  EXPECT_EQ(View(WithLimit(rate, 50, kStart), kStart).remaining, 0);
  EXPECT_EQ(View(WithLimit(rate, 100, kStart), kStart).remaining, 40);
}

// The oracle keeps the backlog as a number of its own and drains it by limit x elapsed.
TEST(Rate, RandomUse_AgreesWithALeakyBucketByHand) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    SeededRandom random(seed);
    const auto limit = static_cast<std::int64_t>(1 + random.Next() % 100'000);
    Rate rate = WithLimit({}, limit, kStart);
    Tick now = kStart;
    __int128 level = 0;
    std::int64_t allowed = 0;
    for (int step = 0; step < 2000; ++step) {
      const Duration wait{static_cast<std::int64_t>(random.Next() % (3 * kMinuteNs / 100))};
      now = now + wait;
      level = std::max<__int128>(level - static_cast<__int128>(wait.ns) * limit, 0);
      const auto cost = static_cast<std::int64_t>(random.Next() % (limit / 20 + 2));
      const bool fits = level + static_cast<__int128>(cost) * kMinuteNs <=
                        static_cast<__int128>(limit) * kMinuteNs;
      const RateDecision decision = Take(rate, cost, now);
      ASSERT_EQ(decision.allowed, fits) << "seed " << seed << " step " << step;
      if (fits) {
        rate = decision.after;
        level += static_cast<__int128>(cost) * kMinuteNs;
        allowed += cost;
      }
      if (step % 7 == 0) {
        const auto units = static_cast<std::int64_t>(random.Next() % 100) - 50;
        rate = Correct(rate, units, now);
        level = std::max<__int128>(level + static_cast<__int128>(units) * kMinuteNs, 0);
      }
      const LimitView view = View(rate, now);
      ASSERT_EQ(view.reset.ns, static_cast<std::int64_t>((level + limit - 1) / limit));
    }
    EXPECT_GT(allowed, 0);
  }
}

}  // namespace
}  // namespace weir::policy
