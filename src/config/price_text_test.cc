#include "config/price_text.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "config/parse.h"

namespace weir::config {
namespace {

TEST(PriceText, IsWhatAFileWouldSay) {
  Price price{.input = {2'500'000},
              .cached_input = {250'000},
              .cache_write = {2'500'000},
              .output = {15'000'000}};
  price.version = DerivedVersion(price);
  EXPECT_EQ(PriceText(price), "{input: 2.50, cached_input: 0.25, output: 15.00}");
  price.reasoning = {15'000'000};
  EXPECT_EQ(PriceText(price), "{input: 2.50, cached_input: 0.25, output: 15.00}");
  price.tool_call = {10'000'000};
  price.tiers = {{272'000,
                  {.input = {5'000'000},
                   .cached_input = {500'000},
                   .cache_write = {2'500'000},
                   .output = {22'500'000}}}};
  price.images = {{"1x1", "", {40'000'000}}};
  price.version = 12;
  EXPECT_EQ(PriceText(price),
            "{input: 2.50, cached_input: 0.25, output: 15.00, tool_call: 0.01, tiers: "
            "[{above_input_tokens: 272000, input: 5.00, cached_input: 0.50, output: 22.50}], "
            "images: [{size: \"1x1\", price: 0.04}], version: 12}");
}

TEST(PriceText, AListHasItsDates) {
  Price price{.input = {1}, .cached_input = {1}, .cache_write = {1}, .output = {2}};
  price.version = DerivedVersion(price);
  PriceList list = price;
  EXPECT_EQ(PriceListText(list), "{input: 0.000001, output: 0.000002}");
  list.Add(Instant{1'780'272'000'000'000'000}, price);
  EXPECT_EQ(PriceListText(list),
            "[{input: 0.000001, output: 0.000002}, {valid_from: 2026-06-01T00:00:00Z, "
            "input: 0.000001, output: 0.000002}]");
}

// What is written is what was meant, whatever it was.
TEST(PriceFileText, RandomCatalogs_ReadBackAsTheyWere) {
  SeededRandom random(77);
  const auto below = [&](std::int64_t end) {
    return static_cast<std::int64_t>(random.Next() % static_cast<std::uint64_t>(end));
  };
  const auto grown = [&](const TokenRates& floor) {
    TokenRates rates;
    for (std::size_t i = 0; i < kTokenRates; ++i) {
      (rates.*kTokenRate[i]).p = (floor.*kTokenRate[i]).p + below(2) * below(1 << 24);
      if (i >= 4 && below(2) == 0) rates.*kTokenRate[i] = kNotGiven;
    }
    return rates;
  };
  PriceCatalog catalog;
  for (int i = 0; i < 400; ++i) {
    PriceList list;
    for (std::int64_t version = 0; version <= below(3); ++version) {
      Price price;
      SetBaseRates(price, grown({{}, {}, {}, {}, {}, {}, {}, {}}));
      std::int64_t above = 0;
      for (std::int64_t tier = below(3); tier > 0; --tier) {
        above += 1 + below(1000);
        price.tiers.push_back(
            {above,
             grown(Resolved(price.tiers.empty() ? BaseRates(price) : price.tiers.back().rates))});
      }
      price.per_request = {below(2) * below(kNanoPerUsd)};
      price.video_second = {below(2) * below(kNanoPerUsd)};
      if (below(2) == 0) price.images = {{"1024x1024", "", {5}}, {"", "h\"d\\", {below(1000)}}};
      price.version = below(2) == 0 ? DerivedVersion(price) : 5;
      if (PriceFault(price)) continue;
      const bool dated = !list.versions().empty() || below(2) == 0;
      list.Add(dated ? std::optional(Instant{(version + 1) * kNanoPerUsd * 86'400}) : std::nullopt,
               price);
    }
    if (list) catalog.Set("model/" + std::to_string(below(1000)) + " \"q\" : #", list);
  }
  catalog.Seal();
  const std::string text = PriceFileText(catalog, "Two lines\nof comment");
  EXPECT_TRUE(text.starts_with("# Two lines\n# of comment\nprices:\n"));
  const auto back = ParsePriceFile(text, "p");
  ASSERT_TRUE(back) << FormatConfigError(back.error().front());
  ASSERT_EQ(back->entries().size(), catalog.entries().size());
  ASSERT_GT(catalog.entries().size(), 200U);
  for (std::size_t i = 0; i < catalog.entries().size(); ++i) {
    EXPECT_EQ(back->entries()[i].first, catalog.entries()[i].first);
    EXPECT_EQ(back->entries()[i].second, catalog.entries()[i].second)
        << PriceListText(catalog.entries()[i].second) << "\n"
        << PriceListText(back->entries()[i].second);
  }
}

// The bounds of the file's options are those of a price: what one takes the other does.
TEST(PriceFileText, PricesAtTheirBounds_ReadBack) {
  Price price;
  for (const auto rate : kTokenRate) {
    TokenRates rates = BaseRates(price);
    rates.*rate = kTokenRateMax;
    SetBaseRates(price, rates);
  }
  price.per_request = price.audio_second = price.video_second = price.tool_call = kUnitPriceMax;
  price.tiers = {{1, BaseRates(price)}, {kTierTokensMax, BaseRates(price)}};
  price.images = {
      {std::string(kImageTextMax, 's'), std::string(kImageTextMax, 'q'), kUnitPriceMax}};
  price.version = UINT32_MAX;
  ASSERT_EQ(PriceFault(price), std::nullopt);
  PriceCatalog catalog;
  catalog.Set("m", price);
  catalog.Seal();
  const auto back = ParsePriceFile(PriceFileText(catalog, ""), "p");
  ASSERT_TRUE(back) << FormatConfigError(back.error().front());
  EXPECT_EQ(*back->Find("m"), *catalog.Find("m")) << PriceText(price);
}

TEST(PriceCatalog, TheLastOfAName_Stays) {
  PriceCatalog catalog;
  for (const std::int64_t input : {1, 2, 3}) catalog.Set("b", Price{.input = {input}});
  catalog.Set("a", Price{});
  catalog.Seal();
  ASSERT_EQ(catalog.entries().size(), 2U);
  EXPECT_EQ(catalog.Find("b")->At({})->price.input.p, 3);
  EXPECT_EQ(catalog.Find("c"), nullptr);
  EXPECT_EQ(catalog.Find(""), nullptr);
}

TEST(PriceFileText, OfNothing_IsAFile) { EXPECT_TRUE(ParsePriceFile(PriceFileText({}, ""), "p")); }

}  // namespace
}  // namespace weir::config
