#include "policy/quote.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

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
    for (PicoUsdPerUnit* rate :
         {&price.cache_write_1h, &price.input_audio, &price.reasoning, &price.output_audio}) {
      if (below(3) == 0) *rate = {below(std::int64_t{1} << (1 + below(34)))};
    }
    price.per_request = {below(3) == 0 ? below(1'000'000) : 0};
    price.audio_second = {below(3) == 0 ? below(kNanoPerUsd) : 0};
    price.tool_call = {below(3) == 0 ? below(kNanoPerUsd) : 0};
    price.video_second = {below(3) == 0 ? below(kNanoPerUsd) : 0};
    if (below(3) == 0) price.images = {{"a", "", {below(1000)}}, {"b", "", {below(1000)}}};
    for (std::int64_t above = below(1 << 20); below(2) == 0; above += 1 + below(1 << 18)) {
      config::TokenRates rates = config::BaseRates(price);
      const std::int64_t times = 1 + below(3);
      for (const auto rate : config::kTokenRate) {
        if ((rates.*rate).p > 0) (rates.*rate).p *= times + static_cast<int>(price.tiers.size());
      }
      price.tiers.push_back({above, rates});
      if (price.tiers.size() == 4) break;
    }
    const bool monotone = !config::PriceFault(price);
    const TokenBounds bounds{.input = below(1 << 20),
                             .output = below(1 << 18),
                             .audio_ms = below(1 << 24),
                             .tool_calls = below(5),
                             .images = below(5),
                             .video_ms = below(1 << 16),
                             .image_kind = below(2) == 0 ? kDearestImage : 1};
    const std::int64_t input = below(bounds.input + 1);
    const std::int64_t cached = below(bounds.input + 1);
    const std::int64_t written = below(bounds.input + 1);
    Usage usage = Used(input, cached, written, below(bounds.output + 1));
    usage.audio_ms = below(bounds.audio_ms + 1);
    usage.cache_write_1h_tokens = below(bounds.input + 1);
    usage.input_audio_tokens = below(bounds.input + 1);
    usage.reasoning_tokens = below(bounds.output + 1);
    usage.output_audio_tokens = below(bounds.output + 1);
    usage.tool_calls = below(bounds.tool_calls + 1);
    usage.images = below(bounds.images + 1);
    usage.video_ms = below(bounds.video_ms + 1);
    usage.image_kind = bounds.image_kind == kDearestImage && below(2) == 0 ? 0 : bounds.image_kind;
    const NanoUsd hold = HoldOf(price, bounds);
    ASSERT_LE(PriceOf(price, usage), hold) << "round " << round;

    Usage more = usage;
    more.input_tokens += below(100);
    more.output_tokens += below(100);
    more.audio_ms += below(100);
    more.tool_calls += below(3);
    more.images += below(3);
    more.video_ms += below(100);
    if (monotone) {
      ASSERT_GE(PriceOf(price, more), PriceOf(price, usage)) << "round " << round;
    }

    const auto hold_of = [&](std::int64_t output) {
      TokenBounds of_output = bounds;
      of_output.output = output;
      return HoldOf(price, of_output);
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

// A price with what providers really sell apart: an hour's cache, audio, searches, images, a tier.
config::Price Rich() {
  config::Price price = kPrice;
  price.cache_write_1h = {5'000'000};
  price.input_audio = {40'000'000};
  price.reasoning = {12'000'000};
  price.output_audio = {80'000'000};
  price.video_second = {500'000'000};
  price.tool_call = {10'000'000};
  price.images = {{"1024x1024", "low", {11'000'000}}, {"1024x1024", "high", {167'000'000}}};
  price.tiers = {{1000,
                  {.input = {5'000'000},
                   .cached_input = {500'000},
                   .cache_write = {6'250'000},
                   .cache_write_1h = {10'000'000},
                   .input_audio = {40'000'000},
                   .output = {15'000'000},
                   .reasoning = {15'000'000},
                   .output_audio = {80'000'000}}}};
  return price;
}

TEST(Quote, EveryDimension_IsPricedApart) {
  struct Row {
    const char* why;
    Usage usage;
    std::int64_t nano;
  };
  const Row rows[] = {
      {"an hour's cache",
       {.input_tokens = 10, .cache_write_tokens = 10, .cache_write_1h_tokens = 4},
       6 * 3125 + 4 * 5000},
      {"more for an hour than written",
       {.input_tokens = 10, .cache_write_tokens = 3, .cache_write_1h_tokens = 9},
       7 * 2500 + 3 * 5000},
      {"audio in the input", {.input_tokens = 10, .input_audio_tokens = 4}, 6 * 2500 + 4 * 40'000},
      {"audio and cached: what was cached is not audio again",
       {.input_tokens = 10, .cached_input_tokens = 8, .input_audio_tokens = 4},
       8 * 250 + 2 * 40'000},
      {"reasoning and audio in the output",
       {.output_tokens = 10, .reasoning_tokens = 3, .output_audio_tokens = 5},
       2 * 10'000 + 3 * 12'000 + 5 * 80'000},
      {"reasoning and audio beyond the output",
       {.output_tokens = 10, .reasoning_tokens = 8, .output_audio_tokens = 8},
       8 * 12'000 + 2 * 80'000},
      {"tool calls", {.tool_calls = 3}, 30'000'000},
      {"images of a kind", {.images = 2, .image_kind = 0}, 22'000'000},
      {"images of no kind are the dearest", {.images = 2}, 334'000'000},
      {"a kind the price does not have", {.images = 1, .image_kind = 2}, 167'000'000},
      {"video by the millisecond", {.video_ms = 1'001}, 500'500'000},
      {"less than nothing", {.tool_calls = -1, .images = -1, .video_ms = -1}, 0},
  };
  for (const Row& row : rows) {
    Usage usage = row.usage;
    usage.source = UsageSource::kProvider;
    EXPECT_EQ(PriceOf(Rich(), usage).n, row.nano) << row.why;
  }
}

TEST(Quote, RatesThatAreNotGiven_AreThoseTheyStandBeside) {
  Usage usage = Used(10, 0, 4, 10);
  usage.cache_write_1h_tokens = 2;
  usage.input_audio_tokens = 3;
  usage.reasoning_tokens = 4;
  usage.output_audio_tokens = 5;
  Usage plain = Used(10, 0, 4, 10);
  EXPECT_EQ(PriceOf(kPrice, usage), PriceOf(kPrice, plain));
}

TEST(Quote, ATier_ReplacesTheRatesOfTheWholeRequest_OneTokenAboveItsEdge) {
  const config::Price price = Rich();
  EXPECT_EQ(PriceOf(price, Used(1000, 0, 0, 10)).n, 1000 * 2500 + 10 * 10'000);
  EXPECT_EQ(PriceOf(price, Used(1001, 0, 0, 10)).n, 1001 * 5000 + 10 * 15'000);
  EXPECT_EQ(PriceOf(price, Used(1001, 1000, 0, 0)).n, 1000 * 500 + 5000) << "cached ones count";
  config::Price three = price;
  three.tiers.push_back({2000, price.tiers[0].rates});
  three.tiers[1].rates.output = {20'000'000};
  EXPECT_EQ(PriceOf(three, Used(2000, 0, 0, 1)).n, 2000 * 5000 + 15'000);
  EXPECT_EQ(PriceOf(three, Used(2001, 0, 0, 1)).n, 2001 * 5000 + 20'000);
}

TEST(Quote, TheHold_IsOfTheDearestTierWithinReach) {
  const config::Price price = Rich();
  EXPECT_EQ(HoldOf(price, {.input = 1000, .output = 10}).n, 1000 * 40'000 + 10 * 80'000);
  config::Price silent = price;
  silent.input_audio = silent.output_audio = silent.reasoning = config::kNotGiven;
  silent.tiers[0].rates.input_audio = silent.tiers[0].rates.output_audio = config::kNotGiven;
  EXPECT_EQ(HoldOf(silent, {.input = 1000, .output = 10}).n, 1000 * 5000 + 10 * 10'000);
  EXPECT_EQ(HoldOf(silent, {.input = 1001, .output = 10}).n, 1001 * 10'000 + 10 * 15'000);
  // A cheaper tier never lowers the hold, although no loader takes such a table.
  silent.tiers.push_back({2000, {}});
  EXPECT_EQ(HoldOf(silent, {.input = 2001, .output = 10}).n, 2001 * 10'000 + 10 * 15'000);
  EXPECT_EQ(OutputFitting(silent, {.input = 1001}, 1, 500, {1001 * 10'000 + 29'999}), 1);
  EXPECT_EQ(HoldOf(price, {.tool_calls = 2, .images = 1, .video_ms = 1}).n,
            20'000'000 + 167'000'000 + 500'000);
  EXPECT_EQ(HoldOf(price, {.images = 1, .image_kind = 0}).n, 11'000'000);
}

// The oracle: every token is laid out as one of eight kinds and paid one by one, with the rates
// looked up for it anew. Nothing of quote.cc is used.
struct Laid {
  std::array<int, config::kTokenRates> of{};  // by kTokenRate
  int calls = 0;
  int images = 0;
  int kind = 0;
};

__int128 Slowly(const config::Price& price, const Laid& laid) {
  const int input = laid.of[0] + laid.of[1] + laid.of[2] + laid.of[5] + laid.of[6];
  config::TokenRates rates = config::BaseRates(price);
  for (const config::PriceTier& tier : price.tiers) {
    if (tier.above_input_tokens < input) rates = tier.rates;
  }
  __int128 sum = price.per_request.n * 1000;
  // input, cached_input, cache_write, output, reasoning, cache_write_1h, input_audio, output_audio
  constexpr int kStandsIn[] = {0, 1, 2, 3, 3, 2, 0, 3};
  for (std::size_t kind = 0; kind < config::kTokenRates; ++kind) {
    for (int token = 0; token < laid.of[kind]; ++token) {
      std::int64_t rate = (rates.*config::kTokenRate[kind]).p;
      if (rate < 0) rate = (rates.*config::kTokenRate[kStandsIn[kind]]).p;
      sum += rate;
    }
  }
  for (int call = 0; call < laid.calls; ++call) sum += price.tool_call.n * 1000;
  for (int image = 0; image < laid.images; ++image) {
    sum += price.images[static_cast<std::size_t>(laid.kind)].each.n * 1000;
  }
  return sum;
}

Usage Summed(const Laid& laid) {
  const auto& n = laid.of;
  return {.input_tokens = n[0] + n[1] + n[2] + n[5] + n[6],
          .cached_input_tokens = n[1],
          .cache_write_tokens = n[2] + n[5],
          .output_tokens = n[3] + n[4] + n[7],
          .reasoning_tokens = n[4],
          .source = UsageSource::kProvider,
          .cache_write_1h_tokens = n[5],
          .input_audio_tokens = n[6],
          .output_audio_tokens = n[7],
          .tool_calls = laid.calls,
          .images = laid.images,
          .image_kind = static_cast<std::uint32_t>(laid.kind)};
}

// All ways to lay out `tokens` tokens over the kinds in `kinds`, from `at` on.
void EveryLaying(Laid laid, const std::vector<std::size_t>& kinds, std::size_t at, int tokens,
                 std::vector<Laid>& all) {
  if (at + 1 == kinds.size()) {
    laid.of[kinds[at]] = tokens;
    all.push_back(laid);
    return;
  }
  for (int n = 0; n <= tokens; ++n) {
    laid.of[kinds[at]] = n;
    EveryLaying(laid, kinds, at + 1, tokens - n, all);
  }
}

config::Price MonotoneTable(SeededRandom& random) {
  const auto below = [&](std::int64_t end) {
    return static_cast<std::int64_t>(random.Next() % static_cast<std::uint64_t>(end));
  };
  config::Price price;
  config::TokenRates floor{{}, {}, {}, {}, {}, {}, {}, {}};
  const auto grown = [&] {
    config::TokenRates rates;
    for (std::size_t i = 0; i < config::kTokenRates; ++i) {
      (rates.*config::kTokenRate[i]).p = (floor.*config::kTokenRate[i]).p + below(3000);
      if (i >= 4 && below(2) == 0) rates.*config::kTokenRate[i] = config::kNotGiven;
    }
    return rates;
  };
  config::SetBaseRates(price, grown());
  price.per_request = {below(3)};
  price.tool_call = {below(20)};
  price.images = {{"a", "", {below(20)}}, {"b", "", {below(20)}}};
  for (std::int64_t above = 1 + below(3); above < 5; above += 1 + below(3)) {
    floor =
        config::Resolved(price.tiers.empty() ? config::BaseRates(price) : price.tiers.back().rates);
    price.tiers.push_back({above, grown()});
  }
  return price;
}

TEST(Quote, AgainstASlowOracle_OverEverySmallUsage) {
  constexpr int kInput = 4;
  constexpr int kOutput = 2;
  std::vector<Laid> all;
  std::vector<Laid> inputs;
  for (int input = 0; input <= kInput; ++input) EveryLaying({}, {0, 1, 2, 5, 6}, 0, input, inputs);
  for (const Laid& laid : inputs) {
    for (int output = 0; output <= kOutput; ++output) {
      EveryLaying(laid, {3, 4, 7}, 0, output, all);
    }
  }
  SeededRandom random(20);
  int tables = 0;
  int refused = 0;
  for (int round = 0; round < 400; ++round) {
    const config::Price price = MonotoneTable(random);
    // A rate that is not given in a tier may fall with what stands for it.
    const bool monotone = !config::PriceFault(price);
    monotone ? ++tables : ++refused;
    // The dearest that can happen for each bound on input and output.
    std::array<std::array<__int128, kOutput + 1>, kInput + 1> dearest{};
    for (Laid laid : all) {
      laid.calls = round % 3;
      laid.images = round % 2;
      laid.kind = round / 2 % 2;
      const Usage usage = Summed(laid);
      const __int128 slowly = Slowly(price, laid);
      ASSERT_TRUE(ExactPrice(price, usage) == slowly) << round;
      for (auto in = usage.input_tokens; in <= kInput; ++in) {
        for (auto out = usage.output_tokens; out <= kOutput; ++out) {
          auto& most = dearest[static_cast<std::size_t>(in)][static_cast<std::size_t>(out)];
          most = std::max(most, slowly);
        }
      }
      if (!monotone) continue;
      for (std::size_t kind = 0; kind < config::kTokenRates; ++kind) {
        Laid more = laid;
        ++more.of[kind];
        ASSERT_TRUE(ExactPrice(price, Summed(more)) >= slowly) << round << " kind " << kind;
      }
    }
    for (int in = 0; in <= kInput; ++in) {
      for (int out = 0; out <= kOutput; ++out) {
        const NanoUsd hold =
            HoldOf(price, {.input = in,
                           .output = out,
                           .tool_calls = round % 3,
                           .images = round % 2,
                           .image_kind = static_cast<std::uint32_t>(round / 2 % 2)});
        const NanoUsd most =
            CeilToNano(dearest[static_cast<std::size_t>(in)][static_cast<std::size_t>(out)]);
        ASSERT_GE(hold, most) << round << ": " << in << " in, " << out << " out";
        if (monotone) ASSERT_EQ(hold, most) << "and not a nano more than can happen";
      }
    }
  }
  EXPECT_GT(tables, 100);
  EXPECT_GT(refused, 10);
}

}  // namespace
}  // namespace weir::policy
