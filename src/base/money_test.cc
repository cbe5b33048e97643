// Texts into integers and back, exact to the last digit that is kept, and the one rounding.
#include "base/money.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace weir {
namespace {

struct UsdRow {
  const char* text;
  std::optional<std::int64_t> nano;
};

TEST(Money, ParseUsd_TakesPlainDecimals_AndNothingElse) {
  const UsdRow rows[] = {
      {"0", 0},
      {"12.5", 12'500'000'000},
      {"0.000000001", 1},
      {"-3", -3'000'000'000},
      {"-0.000000001", -1},
      {"-0", 0},
      {"007.10", 7'100'000'000},
      {"1.000000000000", 1'000'000'000},  // zeros behind the ninth say nothing
      {"1.0000000001", std::nullopt},     // more than can be kept is refused, never rounded
      {"0.0000000000001", std::nullopt},
      {"", std::nullopt},
      {"-", std::nullopt},
      {"--1", std::nullopt},
      {"+1", std::nullopt},
      {" 1", std::nullopt},
      {"1 ", std::nullopt},
      {"1e3", std::nullopt},
      {"1,5", std::nullopt},
      {"0x10", std::nullopt},
      {".5", std::nullopt},
      {"5.", std::nullopt},
      {".", std::nullopt},
      {"-.5", std::nullopt},
      {"1.2.3", std::nullopt},
      {"1..2", std::nullopt},
      {"/", std::nullopt},  // the neighbours of the digits
      {":", std::nullopt},
  };
  for (const UsdRow& row : rows) {
    const auto parsed = ParseUsd(row.text);
    ASSERT_EQ(parsed.has_value(), row.nano.has_value()) << '"' << row.text << '"';
    if (parsed) EXPECT_EQ(parsed->n, *row.nano) << '"' << row.text << '"';
  }
}

TEST(Money, ParseUsd_TheLargestAmount_AndOneMore_EitherWay) {
  EXPECT_EQ(ParseUsd("2305843009.213693951"), kMaxNanoUsd);
  EXPECT_EQ(ParseUsd("2305843009.213693952"), std::nullopt);
  EXPECT_EQ(ParseUsd("-2305843009.213693951"), (NanoUsd{-kMaxNanoUsd.n}));
  EXPECT_EQ(ParseUsd("-2305843009.213693952"), std::nullopt);
}

// Each of the three places where 64 bits can run over, with the text that just fits before it.
TEST(Money, ParseUsdPerMillion_WhatDoesNotFitInto64Bits_IsRefused) {
  EXPECT_EQ(ParseUsdPerMillion("9223372036854.775807")->p, INT64_MAX);
  EXPECT_EQ(ParseUsdPerMillion("9223372036854.775808"), std::nullopt);   // the last digit
  EXPECT_EQ(ParseUsdPerMillion("92233720368547.758070"), std::nullopt);  // one place too many
  EXPECT_EQ(ParseUsdPerMillion("9223372036854")->p, 9'223'372'036'854'000'000);
  EXPECT_EQ(ParseUsdPerMillion("9223372036855"), std::nullopt);  // while the places are filled
}

TEST(Money, ParseUsdPerMillion_IsExactToSixDecimals_AndNeverNegative) {
  EXPECT_EQ(ParseUsdPerMillion("2.50")->p, 2'500'000);
  EXPECT_EQ(ParseUsdPerMillion("0.000001")->p, 1);
  EXPECT_EQ(ParseUsdPerMillion("0.0000010")->p, 1);
  EXPECT_EQ(ParseUsdPerMillion("0.0000001"), std::nullopt);
  EXPECT_EQ(ParseUsdPerMillion("-0")->p, 0);
  EXPECT_EQ(ParseUsdPerMillion("-0.000001"), std::nullopt);
  EXPECT_EQ(ParseUsdPerMillion("free"), std::nullopt);
}

TEST(Money, FormatUsd_DropsZerosThatSayNothing) {
  const struct {
    std::int64_t nano;
    const char* text;
  } rows[] = {{0, "0"},
              {1, "0.000000001"},
              {-1, "-0.000000001"},
              {1'500'000'000, "1.5"},
              {100'000'000'000, "100"},
              {1'000'000'010, "1.00000001"},
              {-12'000'000'000, "-12"},
              {INT64_MAX, "9223372036.854775807"},
              {INT64_MIN, "-9223372036.854775808"}};
  for (const auto& row : rows) EXPECT_EQ(FormatUsd({row.nano}), row.text);
}

TEST(Money, EveryAmount_ReadsBackAsWritten) {
  SeededRandom random(3);
  for (int round = 0; round < 10'000; ++round) {
    const auto nano = static_cast<std::int64_t>(random.Next() >> (3 + random.Next() % 61));
    for (const NanoUsd amount : {NanoUsd{nano}, NanoUsd{-nano}}) {
      EXPECT_EQ(ParseUsd(FormatUsd(amount)), amount) << nano;
    }
  }
}

TEST(Money, CeilToNano_RoundsUpOnce_AndSaturates) {
  EXPECT_EQ(CeilToNano(0).n, 0);
  EXPECT_EQ(CeilToNano(1).n, 1);
  EXPECT_EQ(CeilToNano(1000).n, 1);
  EXPECT_EQ(CeilToNano(1001).n, 2);
  const PicoUsd most = PicoUsd{kMaxNanoUsd.n} * 1000;
  EXPECT_EQ(CeilToNano(most), kMaxNanoUsd);
  EXPECT_EQ(CeilToNano(most + 1), kMaxNanoUsd);
  EXPECT_EQ(CeilToNano(Times({INT64_MAX}, INT64_MAX)), kMaxNanoUsd);
}

TEST(Money, Times_OfTheLargest_DoesNotOverflow) {
  EXPECT_TRUE(Times({INT64_MAX}, INT64_MAX) == PicoUsd{INT64_MAX} * INT64_MAX);
  EXPECT_TRUE(Times({INT64_MAX}, -INT64_MAX) == -PicoUsd{INT64_MAX} * INT64_MAX);
}

TEST(Money, Order_IsThatOfTheNumbers) {
  EXPECT_EQ(NanoUsd{3} + NanoUsd{4}, NanoUsd{7});
  EXPECT_EQ(NanoUsd{3} - NanoUsd{4}, NanoUsd{-1});
  EXPECT_LT(NanoUsd{3}, NanoUsd{4});
  EXPECT_LE(NanoUsd{4}, NanoUsd{4});
  EXPECT_LT(PicoUsdPerUnit{3}, PicoUsdPerUnit{4});
}

}  // namespace
}  // namespace weir
