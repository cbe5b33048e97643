#include "policy/quote.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace weir::policy {
namespace {

// 2.50, 0.25 cached, 3.125 cache write, 10.00 output: USD per million tokens.
constexpr config::Price kPrice{.input = {2'500'000},
                               .cached_input = {250'000},
                               .cache_write = {3'125'000},
                               .output = {10'000'000},
                               .per_request = {0},
                               .version = 1};

Usage Used(std::int64_t input, std::int64_t cached, std::int64_t written, std::int64_t output) {
  return {.input_tokens = input,
          .cached_input_tokens = cached,
          .cache_write_tokens = written,
          .output_tokens = output,
          .reasoning_tokens = 0,
          .source = UsageSource::kProvider};
}

struct PriceRow {
  const char* why;
  Usage usage;
  std::int64_t nano;
};

TEST(Quote, Prices) {
  const PriceRow rows[] = {
      {"plain", Used(1000, 0, 0, 100), 2'500'000 + 1'000'000},
      {"cached input at its own price", Used(1000, 400, 0, 0), 600 * 2500 + 400 * 250},
      {"cache writes at theirs", Used(1000, 400, 600, 0), 400 * 250 + 600 * 3125},
      {"one token of a price below a nano rounds up once", Used(0, 0, 0, 0), 0},
      {"cached tokens beyond the input are not tokens", Used(10, 25, 0, 0), 10 * 250},
      {"cached and written together beyond the input", Used(10, 6, 9, 0), 6 * 250 + 4 * 3125},
      {"negative counts are nothing", Used(-5, -5, -5, -5), 0},
  };
  for (const PriceRow& row : rows) EXPECT_EQ(PriceOf(kPrice, row.usage).n, row.nano) << row.why;
}

TEST(Quote, Rounding_HappensOnceAndUp) {
  config::Price cheap{};
  cheap.input = {20};  // 0.00002 USD per million
  cheap.output = {21};
  EXPECT_EQ(PriceOf(cheap, Used(1, 0, 0, 0)).n, 1);
  EXPECT_EQ(PriceOf(cheap, Used(25, 0, 0, 23)).n, 1);  // 500 + 483 pUSD: one ceil, not two
  EXPECT_EQ(PriceOf(cheap, Used(25, 0, 0, 24)).n, 2);  // 1004 pUSD
}

TEST(Quote, RequestPrice_IsAdded_UnlessNothingWasUsed) {
  config::Price price = kPrice;
  price.per_request = {5};
  EXPECT_EQ(PriceOf(price, Used(0, 0, 0, 0)).n, 5);
  EXPECT_EQ(PriceOf(price, Usage{}).n, 0);
  EXPECT_EQ(HoldOf(price, {.input = 0, .output = 0}).n, 5);
}

// 0.006 USD a minute is 0.0001 a second: 100 nano for a millisecond and a thousandth of that exact.
TEST(Quote, Audio_IsPricedByTheMillisecond_BesidesItsTokens) {
  config::Price price{};
  price.audio_second = {100'000};
  const auto audio = [](std::int64_t ms) {
    return Usage{.source = UsageSource::kProvider, .audio_ms = ms};
  };
  EXPECT_EQ(PriceOf(price, audio(60'000)).n, 6'000'000);
  EXPECT_EQ(PriceOf(price, audio(1)).n, 100);
  EXPECT_EQ(HoldOf(price, {.audio_ms = 1'500}).n, 150'000);
  price.audio_second = {1};  // a pico-USD a millisecond: rounded once, up
  EXPECT_EQ(PriceOf(price, audio(1'000)).n, 1);
  EXPECT_EQ(PriceOf(price, audio(1'001)).n, 2);
  price.input = {2'000'000};
  Usage both = audio(1'000);
  both.input_tokens = 10;
  EXPECT_EQ(PriceOf(price, both).n, 20'001);
  EXPECT_EQ(OutputFitting(price, {.input = 10, .audio_ms = 1'000}, 1, 5, {20'000}), std::nullopt);
  EXPECT_EQ(OutputFitting(price, {.input = 10, .audio_ms = 1'000}, 1, 5, {20'001}), 5);
}

TEST(Quote, Hold_UsesTheDearestInputRate) {
  EXPECT_EQ(HoldOf(kPrice, {.input = 1000, .output = 0}).n, 3'125'000);
  config::Price no_write = kPrice;
  no_write.cache_write = {};
  EXPECT_EQ(HoldOf(no_write, {.input = 1000, .output = 0}).n, 2'500'000);
}

TEST(Quote, HostileCounts_SaturateAndDoNotOverflow) {
  config::Price dear{};
  dear.input = dear.cached_input = dear.cache_write = dear.output = {INT64_MAX};
  dear.per_request = kMaxNanoUsd;
  EXPECT_EQ(PriceOf(dear, Used(INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX)), kMaxNanoUsd);
  EXPECT_EQ(HoldOf(dear, {.input = INT64_MAX, .output = INT64_MAX}), kMaxNanoUsd);
  config::Price by_time{};
  by_time.audio_second = kMaxNanoUsd;
  EXPECT_EQ(HoldOf(by_time, {.audio_ms = INT64_MAX}), kMaxNanoUsd);
  EXPECT_EQ(PriceOf(by_time, {.source = UsageSource::kProvider, .audio_ms = -1}).n, 0);
  EXPECT_EQ(TokensTaken({.input = INT64_MAX, .output = INT64_MAX}), kTokensMax / 4 + 1024);
  EXPECT_EQ(OutputFitting(dear, {.input = INT64_MAX, .audio_ms = INT64_MAX}, INT64_MAX, INT64_MAX,
                          kMaxNanoUsd),
            std::nullopt);
}

TEST(Quote, OutputFitting_IsTheLargestThatFits) {
  // 1,000 input at the dearest rate is 3,125,000 nano; each token of output 10,000.
  EXPECT_EQ(OutputFitting(kPrice, {.input = 1000}, 1, 500, {3'124'999}), std::nullopt);
  EXPECT_EQ(OutputFitting(kPrice, {.input = 1000}, 1, 500, {3'125'000}), 0);
  EXPECT_EQ(OutputFitting(kPrice, {.input = 1000}, 1, 500, {3'134'999}), 0);
  EXPECT_EQ(OutputFitting(kPrice, {.input = 1000}, 1, 500, {3'135'000}), 1);
  EXPECT_EQ(OutputFitting(kPrice, {.input = 1000}, 4, 500, {3'164'999}), 0);
  EXPECT_EQ(OutputFitting(kPrice, {.input = 1000}, 4, 500, {3'165'000}), 1);
  EXPECT_EQ(OutputFitting(kPrice, {.input = 1000}, 1, 500, {1'000'000'000}), 500);
  config::Price free_output = kPrice;
  free_output.output = {};
  EXPECT_EQ(OutputFitting(free_output, {.input = 1000}, 1, 500, {3'125'000}), 500);
}

TEST(Quote, TokensTaken_IsAQuarterOfTheInputAndAtMost1024OfTheOutput) {
  EXPECT_EQ(TokensTaken({.input = 0, .output = 0}), 0);
  EXPECT_EQ(TokensTaken({.input = 1, .output = 1}), 2);
  EXPECT_EQ(TokensTaken({.input = 4001, .output = 1024}), 1001 + 1024);
  EXPECT_EQ(TokensTaken({.input = 4000, .output = 128'000}), 1000 + 1024);
}

// The law the whole design rests on: usage within the bounds costs at most the hold, and what
// OutputFitting grants is held within the amount while one token more is not.
TEST(Quote, UsageWithinTheBounds_NeverCostsMoreThanTheHold) {
  SeededRandom random(42);
  const auto below = [&](std::int64_t end) {
    return static_cast<std::int64_t>(random.Next() % static_cast<std::uint64_t>(end));
  };
  for (int round = 0; round < 100'000; ++round) {
    config::Price price{};
    for (PicoUsdPerUnit* rate :
         {&price.input, &price.cached_input, &price.cache_write, &price.output}) {
      *rate = {below(std::int64_t{1} << (1 + below(34)))};
    }
    price.per_request = {below(3) == 0 ? below(1'000'000) : 0};
    price.audio_second = {below(3) == 0 ? below(kNanoPerUsd) : 0};
    const TokenBounds bounds{
        .input = below(1 << 20), .output = below(1 << 18), .audio_ms = below(1 << 24)};
    const std::int64_t input = below(bounds.input + 1);
    const std::int64_t cached = below(bounds.input + 1);
    const std::int64_t written = below(bounds.input + 1);
    Usage usage = Used(input, cached, written, below(bounds.output + 1));
    usage.audio_ms = below(bounds.audio_ms + 1);
    const NanoUsd hold = HoldOf(price, bounds);
    ASSERT_LE(PriceOf(price, usage), hold) << "round " << round;

    Usage more = usage;
    more.input_tokens += below(100);
    more.output_tokens += below(100);
    more.audio_ms += below(100);
    ASSERT_GE(PriceOf(price, more), PriceOf(price, usage)) << "round " << round;

    const auto hold_of = [&](std::int64_t output) {
      return HoldOf(price, {.input = bounds.input, .output = output, .audio_ms = bounds.audio_ms});
    };
    const std::int64_t choices = 1 + below(4);
    const NanoUsd amount{below(hold.n + hold.n / 2 + 1000)};
    const std::int64_t output_max = below(1 << 18);
    const auto fits = OutputFitting(price, bounds, choices, output_max, amount);
    if (!fits) {
      ASSERT_GT(hold_of(0), amount);
      continue;
    }
    ASSERT_LE(*fits, output_max);
    ASSERT_LE(hold_of(*fits * choices), amount);
    if (*fits < output_max) {
      ASSERT_GT(hold_of((*fits + 1) * choices), amount);
    }
  }
}

}  // namespace
}  // namespace weir::policy
