#include "config/price_codec.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/random.h"
#include "config/price_fuzz_entry.h"

namespace weir::config {
namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes Encoded(const Price& price) {
  Bytes bytes;
  EncodePrice(price, bytes);
  return bytes;
}

Price Largest() {
  Price price;
  const TokenRates dearest = {kTokenRateMax, kTokenRateMax, kTokenRateMax, kTokenRateMax,
                              kTokenRateMax, kTokenRateMax, kTokenRateMax, kTokenRateMax};
  SetBaseRates(price, dearest);
  price.reasoning = price.cache_write_1h = price.input_audio =
      price.output_audio = {kTokenRateMax.p - 1};
  price.per_request = price.audio_second = price.video_second = price.tool_call = kUnitPriceMax;
  price.version = UINT32_MAX;
  for (std::size_t i = 0; i < kPriceTiersMax; ++i) {
    price.tiers.push_back({kTierTokensMax - 100 + static_cast<std::int64_t>(i), BaseRates(price)});
  }
  for (std::size_t i = 0; i < kImagePricesMax; ++i) {
    price.images.push_back({std::string(kImageTextMax - 1, 'x') + static_cast<char>('!' + i),
                            std::string(kImageTextMax, 'q'), kUnitPriceMax});
  }
  return price;
}

Price RandomPrice(Random& random) {
  const auto below = [&](std::int64_t end) {
    return static_cast<std::int64_t>(random.Next() % static_cast<std::uint64_t>(end));
  };
  const auto rates = [&](const TokenRates& floor) {
    TokenRates made;
    for (std::size_t i = 0; i < kTokenRates; ++i) {
      const bool needed = i < 4;
      (made.*kTokenRate[i]).p =
          needed || below(2) == 0 ? (floor.*kTokenRate[i]).p + (below(2) == 0 ? 0 : below(1 << 20))
                                  : kNotGiven.p;
    }
    // What stands for a rate that is not given may be below the floor's own.
    for (std::size_t i = 4; i < kTokenRates; ++i) {
      if (Resolved(made).*kTokenRate[i] < floor.*kTokenRate[i]) {
        made.*kTokenRate[i] = floor.*kTokenRate[i];
      }
    }
    return made;
  };
  Price price;
  SetBaseRates(price, rates({{}, {}, {}, {}, {}, {}, {}, {}}));
  price.version = below(2) == 0 ? 0 : static_cast<std::uint32_t>(random.Next());
  for (NanoUsd* amount :
       {&price.per_request, &price.audio_second, &price.video_second, &price.tool_call}) {
    if (below(3) == 0) *amount = {below(kUnitPriceMax.n + 1)};
  }
  std::int64_t above = 0;
  for (std::int64_t i = below(4); i > 0; --i) {
    const TokenRates floor =
        Resolved(price.tiers.empty() ? BaseRates(price) : price.tiers.back().rates);
    above += 1 + below(300'000);
    price.tiers.push_back({above, rates(floor)});
  }
  for (std::int64_t i = below(3); i > 0; --i) {
    price.images.push_back({std::to_string(i), below(2) == 0 ? "" : "hd", {below(1'000'000)}});
  }
  return price;
}

// Frozen: these bytes are on disk.
TEST(PriceCodec, Bytes_AreWhatTheyAlwaysWere) {
  const Price plain{.input = {2'500'000},
                    .cached_input = {250'000},
                    .cache_write = {2'500'000},
                    .output = {10'000'000}};
  EXPECT_EQ(Encoded(plain), (Bytes{1, 0x8F, 0x20, 0xA0, 0xCB, 0x98, 0x01, 0x90, 0xA1, 0x0F, 0xA0,
                                   0xCB, 0x98, 0x01, 0x80, 0xAD, 0xE2, 0x04, 0x01}));
  Price rich = plain;
  rich.version = 0;
  rich.reasoning = {0};
  rich.per_request = {5};
  rich.tiers = {{200,
                 {.input = {2'500'000},
                  .cached_input = {250'000},
                  .cache_write = {2'500'000},
                  .output = {10'000'000},
                  .reasoning = {7}}}};
  rich.images = {{"1x1", "", {9}}};
  EXPECT_EQ(Encoded(rich),
            (Bytes{1,    0x9F, 0xC2, 0x01, 0xA0, 0xCB, 0x98, 0x01, 0x90, 0xA1, 0x0F, 0xA0,
                   0xCB, 0x98, 0x01, 0x80, 0xAD, 0xE2, 0x04, 0,    5,    1,    0xC8, 0x01,
                   0x1F, 0xA0, 0xCB, 0x98, 0x01, 0x90, 0xA1, 0x0F, 0xA0, 0xCB, 0x98, 0x01,
                   0x80, 0xAD, 0xE2, 0x04, 7,    1,    3,    '1',  'x',  '1',  0,    9}));
  EXPECT_EQ(Encoded(Price{.version = 0}), (Bytes{1, 0}));
}

TEST(PriceCodec, Id_IsFnv1aOfTheBytes) {
  // The vectors of the function's page: http://www.isthe.com/chongo/tech/comp/fnv/.
  EXPECT_EQ(IdOf(Bytes{}).n, 0xCBF29CE484222325ULL);
  EXPECT_EQ(IdOf(Bytes{'a'}).n, 0xAF63DC4C8601EC8CULL);
  EXPECT_EQ(IdOf(Bytes{'f', 'o', 'o', 'b', 'a', 'r'}).n, 0x85944171F73967E8ULL);
  EXPECT_EQ(IdOf(Price{.version = 0}), IdOf(Bytes{1, 0}));
  EXPECT_EQ(Format(PriceId{0xF3}), "00000000000000f3");
}

TEST(PriceCodec, TheLargestPrice_FitsAndComesBack) {
  const Price price = Largest();
  ASSERT_EQ(PriceFault(price), std::nullopt);
  const Bytes bytes = Encoded(price);
  EXPECT_LT(bytes.size(), kPriceBytesMax);
  EXPECT_EQ(DecodePrice(bytes), price);
}

TEST(PriceCodec, RandomPrices_ComeBackCanonical_AndNoOtherBytesMeanThem) {
  SeededRandom random(4);
  for (int round = 0; round < 5'000; ++round) {
    const Price price = RandomPrice(random);
    if (PriceFault(price)) continue;  // two images of one kind
    const Bytes bytes = Encoded(price);
    const auto back = DecodePrice(bytes);
    ASSERT_TRUE(back) << round;
    ASSERT_EQ(*back, Canonical(price)) << round;
    ASSERT_EQ(IdOf(*back), IdOf(price)) << round;
    for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
      ASSERT_FALSE(DecodePrice(std::span(bytes).first(cut))) << round << " cut at " << cut;
    }
    Bytes longer = bytes;
    longer.push_back(0);
    ASSERT_FALSE(DecodePrice(longer)) << round;
    // One bit turned: another price or none, never the same.
    Bytes turned = bytes;
    turned[random.Next() % turned.size()] ^= static_cast<std::uint8_t>(1U << (random.Next() % 8));
    if (const auto other = DecodePrice(turned)) {
      ASSERT_NE(*other, *back) << round;
      ASSERT_EQ(Encoded(*other), turned) << round;
    }
  }
}

TEST(PriceCodec, HostileBytes_AreRefusedWithTheRightFault) {
  using enum PriceDecodeFault;
  struct Row {
    const char* why;
    Bytes bytes;
    PriceDecodeFault fault;
  };
  const Row rows[] = {
      {"nothing", {}, kMalformed},
      {"another format", {2, 0}, kUnknownVersion},
      {"a dimension of a newer program", {1, 0x80, 0x80, 0x02}, kUnknownVersion},
      {"a varint with a zero at its end", {1, 0x80, 0x00}, kMalformed},
      {"a varint of ten bytes",
       {1, 0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01},
       kMalformed},
      {"a rate of zero that need not be there", {1, 0x01, 0x00}, kMalformed},
      {"reasoning as output", {1, 0x18, 0x05, 0x05}, kMalformed},
      {"a rate above the maximum", {1, 0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F}, kNotAPrice},
      {"a version of 33 bits", {1, 0x80, 0x20, 0x80, 0x80, 0x80, 0x80, 0x10}, kMalformed},
      {"no tiers, said so", {1, 0x80, 0x40, 0x00}, kMalformed},
      {"nine tiers", {1, 0x80, 0x40, 0x09}, kMalformed},
      {"a tier at nothing", {1, 0x80, 0x40, 0x01, 0x00, 0x00}, kNotAPrice},
      {"a tier with a rate that falls", {1, 0x81, 0x40, 0x05, 0x01, 0x07, 0x01, 0x04}, kNotAPrice},
      {"a tier with a dimension it cannot have",
       {1, 0x80, 0x40, 0x01, 0x07, 0x80, 0x02, 5},
       kMalformed},
      {"an image whose name never ends", {1, 0x80, 0x80, 0x01, 0x01, 0xFF, 'x'}, kMalformed},
      {"too long", Bytes(kPriceBytesMax + 1, 1), kMalformed},
  };
  for (const Row& row : rows) {
    const auto price = DecodePrice(row.bytes);
    ASSERT_FALSE(price) << row.why;
    EXPECT_EQ(price.error(), row.fault) << row.why << ": " << Name(price.error());
  }
}

TEST(PriceCodec, DerivedVersion_FollowsTheRatesAlone) {
  Price price{.input = {2'500'000}, .output = {10'000'000}};
  const std::uint32_t version = DerivedVersion(price);
  EXPECT_NE(version, 0U);
  price.version = 77;
  EXPECT_EQ(DerivedVersion(price), version);
  price.reasoning = price.output;  // says what was so already
  EXPECT_EQ(DerivedVersion(price), version);
  price.output = {10'000'001};
  EXPECT_NE(DerivedVersion(price), version);
}

// Every input that the fuzzer keeps, cut anywhere and with every byte changed.
TEST(PriceCodec, TheCorpus_HoldsItsProperties) {
  int files = 0;
  const auto folder = std::filesystem::path(WEIR_SOURCE_DIR) / "fuzz/corpus/price_codec";
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    SCOPED_TRACE(file.path().string());
    std::ifstream in(file.path(), std::ios::binary);
    const std::string input((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    for (std::size_t cut = 0; cut <= input.size(); ++cut) {
      fuzz::PriceCodecEntry(std::string_view(input).substr(0, cut));
    }
    for (std::size_t at = 0; at < input.size(); ++at) {
      for (int byte = 0; byte < 256; ++byte) {
        std::string changed = input;
        changed[at] = static_cast<char>(byte);
        fuzz::PriceCodecEntry(changed);
      }
    }
    ++files;
  }
  EXPECT_GE(files, 3);
}

}  // namespace
}  // namespace weir::config
