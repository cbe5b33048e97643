#include "config/price.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::config {
namespace {

using testing::HasSubstr;

Price Tiered() {
  Price price{.input = {2'500'000},
              .cached_input = {250'000},
              .cache_write = {2'500'000},
              .output = {15'000'000}};
  price.tiers = {{272'000,
                  {.input = {5'000'000},
                   .cached_input = {500'000},
                   .cache_write = {5'000'000},
                   .output = {22'500'000}}}};
  return price;
}

std::string FaultOf(const Price& price) { return PriceFault(price).value_or("none"); }

TEST(PriceFault, APriceOfEveryDimension_IsInOrder) {
  Price price = Tiered();
  price.cache_write_1h = {4'000'000};
  price.reasoning = {20'000'000};
  price.input_audio = {40'000'000};
  price.output_audio = {80'000'000};
  price.audio_second = price.video_second = price.tool_call = price.per_request = {1'000'000};
  price.images = {{"1024x1024", "high", {167'000'000}}, {"", "", {40'000'000}}};
  price.tiers[0].rates.cache_write_1h = {8'000'000};
  price.tiers[0].rates.reasoning = {22'500'000};
  price.tiers[0].rates.input_audio = {40'000'000};
  price.tiers[0].rates.output_audio = {80'000'000};
  EXPECT_EQ(FaultOf(price), "none");
  EXPECT_EQ(FaultOf(Price{}), "none") << "free, as an operator may decide";
}

TEST(PriceFault, ARateThatFalls_IsNamed) {
  for (std::size_t i = 0; i < kTokenRates; ++i) {
    Price price = Tiered();
    TokenRates base = Resolved(BaseRates(price));
    TokenRates above = base;
    SetBaseRates(price, base);
    price.tiers[0].rates = above;
    EXPECT_EQ(FaultOf(price), "none") << kTokenRateName[i];
    (price.tiers[0].rates.*kTokenRate[i]).p -= 1;
    EXPECT_THAT(FaultOf(price), HasSubstr(std::string(kTokenRateName[i]) + " falls from "));
  }
  Price price = Tiered();
  price.tiers[0].rates.output = {14'000'000};
  EXPECT_EQ(
      FaultOf(price),
      "output falls from 15.00 to 14.00 above 272000 input tokens, so that more tokens could cost "
      "less than fewer");
}

TEST(PriceFault, ARateThatIsNotGiven_FallsWithWhatStandsForIt) {
  Price price = Tiered();
  price.reasoning = {23'000'000};  // the tier's is its output's, which is less
  EXPECT_THAT(FaultOf(price), HasSubstr("reasoning falls from 23.00 to 22.50"));
  price.tiers[0].rates.reasoning = {23'000'000};
  EXPECT_EQ(FaultOf(price), "none");
}

TEST(PriceFault, ATierFallsBelowTheOneBeforeIt_NotOnlyBelowTheBase) {
  Price price = Tiered();
  price.tiers.push_back({500'000, price.tiers[0].rates});
  EXPECT_EQ(FaultOf(price), "none");
  price.tiers[1].rates.input = {4'999'999};
  EXPECT_THAT(FaultOf(price), HasSubstr("input falls from 5.00 to 4.999999 above 500000"));
}

TEST(PriceFault, Bounds_HoldToTheLastUnit) {
  struct Row {
    const char* fault;
    void (*change)(Price&);
  };
  const Row rows[] = {
      {"none", [](Price& p) { p.tiers[0].rates.output = p.output = kTokenRateMax; }},
      {"output is above one USD", [](Price& p) { p.output = {kTokenRateMax.p + 1}; }},
      {"above 272000 input tokens, input is above",
       [](Price& p) { p.tiers[0].rates.input = {kTokenRateMax.p + 1}; }},
      {"input is negative", [](Price& p) { p.input = {-2}; }},
      {"cached_input is negative", [](Price& p) { p.cached_input = kNotGiven; }},
      {"reasoning is negative", [](Price& p) { p.reasoning = {-2}; }},
      {"none", [](Price& p) { p.per_request = kUnitPriceMax; }},
      {"request is above 1000 USD", [](Price& p) { p.per_request = {kUnitPriceMax.n + 1}; }},
      {"tool_call is negative", [](Price& p) { p.tool_call = {-1}; }},
      {"video_second is above", [](Price& p) { p.video_second = {INT64_MAX}; }},
      {"audio_second is negative", [](Price& p) { p.audio_second = {INT64_MIN}; }},
      {"does not come after", [](Price& p) { p.tiers[0].above_input_tokens = 0; }},
      {"does not come after", [](Price& p) { p.tiers[0].above_input_tokens = INT64_MAX; }},
      {"does not come after", [](Price& p) { p.tiers.push_back(p.tiers[0]); }},
      {"has 9 tiers", [](Price& p) { p.tiers.resize(9); }},
      {"has 65 kinds", [](Price& p) { p.images.resize(65); }},
      {"same size and quality", [](Price& p) { p.images = {{"1", "a"}, {"2", "a"}, {"1", "a"}}; }},
      {"not a short plain text", [](Price& p) { p.images = {{"a b", ""}}; }},
      {"not a short plain text", [](Price& p) { p.images = {{"", std::string(33, 'x')}}; }},
      {"image 1 is negative", [](Price& p) { p.images = {{"", "", {-1}}}; }},
  };
  for (const Row& row : rows) {
    Price price = Tiered();
    row.change(price);
    EXPECT_THAT(FaultOf(price), HasSubstr(row.fault));
  }
}

TEST(Price, Canonical_DropsWhatIsTheSameWithoutIt) {
  Price price = Tiered();
  const Price plain = price;
  price.reasoning = price.output_audio = price.output;
  price.input_audio = price.input;
  price.cache_write_1h = price.cache_write;
  price.tiers[0].rates.reasoning = price.tiers[0].rates.output;
  EXPECT_NE(price, plain);
  EXPECT_EQ(Canonical(price), plain);
  price.reasoning = {1};
  EXPECT_EQ(Canonical(price).reasoning.p, 1);
  price.reasoning = {0};
  EXPECT_EQ(Canonical(price).reasoning.p, 0) << "free is not the same as not given";
}

TEST(Price, BaseRates_CarryEveryRate) {
  TokenRates rates;
  for (std::size_t i = 0; i < kTokenRates; ++i) rates.*kTokenRate[i] = {static_cast<int>(i) + 7};
  Price price;
  SetBaseRates(price, rates);
  EXPECT_EQ(BaseRates(price), rates);
}

TEST(Price, ImageOf_TakesTheClosestOfSizeAndQuality) {
  Price price;
  price.images = {
      {"", "", {1}}, {"", "high", {2}}, {"1024x1024", "", {3}}, {"512x512", "low", {4}}};
  EXPECT_EQ(ImageOf(price, "512x512", "low"), 3U);
  EXPECT_EQ(ImageOf(price, "1024x1024", "high"), 2U);
  EXPECT_EQ(ImageOf(price, "512x512", "high"), 1U);
  EXPECT_EQ(ImageOf(price, "1x1", ""), 0U);
  price.images.erase(price.images.begin());
  EXPECT_EQ(ImageOf(price, "1x1", "low"), std::nullopt);
}

}  // namespace
}  // namespace weir::config
