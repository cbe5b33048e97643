#include "policy/wallet_rate.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace weir::policy {
namespace {

using ledger::Amount;
using ledger::Unit;

Usage Tokens(std::int64_t input, std::int64_t output) {
  return {.input_tokens = input, .output_tokens = output, .source = UsageSource::kProvider};
}

TEST(WalletRate, QuotaTokens_AreAllTokensTimesTheMultiplierRoundedUp) {
  const struct {
    std::int64_t input, output, ppm, charged;
  } rows[] = {
      {1800, 3400, 3'000'000, 15'600},  // Quota.host's own example
      {1800, 3400, 1'000'000, 5'200},
      {1, 0, 500'000, 1},
      {1, 1, 500'000, 1},
      {1, 2, 500'000, 2},
      {0, 0, 15'000'000, 0},
      {7, 0, 0, 0},
      {1, 0, 1, 1},
      {1'000'000, 0, 1, 1},
      {1'000'001, 0, 1, 2},
      {10, 10, 15'000'000, 300},
      {333, 0, 1'500'000, 500},
  };
  for (const auto& row : rows) {
    const WalletRate rate{Unit::kQuotaToken, row.ppm};
    EXPECT_EQ(WalletPriceOf(rate, {}, Tokens(row.input, row.output)), Amount{row.charged})
        << row.input << "+" << row.output << " x " << row.ppm;
  }
  EXPECT_EQ(WalletPriceOf({}, {}, Usage{}), Amount{0}) << "nothing was used";
}

TEST(WalletRate, Dollars_AreRoundedOnceFromTheExactPrice) {
  config::Price price;
  price.input = {100};  // 0.1 nUSD a token
  price.output = {700};
  // 3 x 100 + 700 = 1,000 pUSD = 1 nUSD; 20 % more is 1.2, which is 2.
  EXPECT_EQ(WalletPriceOf({Unit::kNanoUsd, 1'000'000}, price, Tokens(3, 1)), Amount{1});
  EXPECT_EQ(WalletPriceOf({Unit::kNanoUsd, 1'200'000}, price, Tokens(3, 1)), Amount{2});
  // Twice 0.5 nUSD is 1 and not 2: the price is not rounded before it is multiplied.
  EXPECT_EQ(WalletPriceOf({Unit::kNanoUsd, 2'000'000}, price, Tokens(5, 0)), Amount{1});
}

TEST(WalletRate, Multiplier_ReadsAsItIsShown) {
  EXPECT_EQ(MultiplierText(3'000'000), "x3");
  EXPECT_EQ(MultiplierText(500'000), "x0.5");
  EXPECT_EQ(MultiplierText(1'250'000), "x1.25");
  EXPECT_EQ(MultiplierText(1), "x0.000001");
  EXPECT_EQ(MultiplierText(0), "x0");
}

TEST(WalletRate, HugeFigures_SaturateAndNeverWrap) {
  const WalletRate dearest{Unit::kQuotaToken, kMultiplierMax};
  const Amount hold = WalletHoldOf(dearest, {}, {.input = INT64_MAX, .output = INT64_MAX});
  EXPECT_GT(hold.n, 0);
  EXPECT_LE(hold, ledger::kMaxAmount);
  EXPECT_EQ(WalletHoldOf({Unit::kQuotaToken, INT64_MAX}, {}, {.input = 1}), Amount{1'000});
  EXPECT_EQ(WalletHoldOf({Unit::kQuotaToken, -5}, {}, {.input = 1}), Amount{0});
}

// The two laws that make a cap hold: usage within the bounds costs at most the hold, and the output
// that is said to fit does, and one token more does not.
TEST(WalletRate, RandomRates_NeverCostMoreThanTheHold_AndFitExactly) {
  SeededRandom random(11);
  const auto up_to = [&](std::int64_t most) {
    return static_cast<std::int64_t>(random.Next() % static_cast<std::uint64_t>(most + 1));
  };
  for (int round = 0; round < 20'000; ++round) {
    config::Price price;
    price.input = {up_to(5'000)};
    price.cached_input = {up_to(5'000)};
    price.cache_write = {up_to(5'000)};
    price.output = {up_to(20'000)};
    price.per_request = {up_to(3)};
    const WalletRate rate{up_to(1) == 0 ? Unit::kNanoUsd : Unit::kQuotaToken, up_to(4'000'000)};
    const TokenBounds bounds{.input = up_to(300), .output = up_to(300)};
    const Amount hold = WalletHoldOf(rate, price, bounds);
    Usage usage = Tokens(up_to(bounds.input), up_to(bounds.output));
    usage.cached_input_tokens = up_to(usage.input_tokens);
    ASSERT_LE(WalletPriceOf(rate, price, usage), hold) << round;

    const std::int64_t choices = 1 + up_to(3);
    const Amount amount{up_to(2'000)};
    const auto fits = WalletOutputFitting(rate, price, bounds, choices, 100, amount);
    const auto held = [&](std::int64_t output) {
      return WalletHoldOf(rate, price, {.input = bounds.input, .output = output * choices});
    };
    if (!fits) {
      ASSERT_GT(held(0), amount) << round;
      continue;
    }
    ASSERT_LE(held(*fits), amount) << round;
    if (*fits < 100) {
      ASSERT_GT(held(*fits + 1), amount) << round;
    }
  }
}

}  // namespace
}  // namespace weir::policy
