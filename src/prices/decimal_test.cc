#include "prices/decimal.h"

#include <gtest/gtest.h>

#include <string>

#include "base/random.h"

namespace weir::prices {
namespace {

TEST(ScaleUp, Numbers_AreTakenExactly) {
  const struct {
    const char* text;
    int decimals;
    std::int64_t multiplier;
    std::int64_t value;
    bool rounded;
  } rows[] = {
      {"1.25e-06", 12, 1, 1'250'000, false},
      {"1.25E-6", 12, 1, 1'250'000, false},
      {"0.00000125", 12, 1, 1'250'000, false},
      {"2.1875e-06", 12, 1, 2'187'500, false},
      {"1e-12", 12, 1, 1, false},
      {"1e-13", 12, 1, 1, true},
      {"1.0000000000001e-6", 12, 1, 1'000'001, true},
      {"1.1999999999999999e-06", 12, 1, 1'200'000, true},  // as a double is sometimes printed
      {"0", 12, 1, 0, false},
      {"0.0", 12, 1, 0, false},
      {"0e99999999999999", 12, 1, 0, false},
      {"3", 6, 1, 3'000'000, false},
      {"0.0375", 6, 1, 37'500, false},
      {"1.0E+2", 6, 1, 100'000'000, false},
      {"1.9e-08", 9, 1'048'576, 19'922'944, false},  // a pixel, 1024 x 1024 of them
      {"2.4414e-07", 9, 65'536, 15'999'960, true},
      {"1e-400", 12, 1, 1, true},
      {"1e-99999999999999999999", 12, 1, 1, true},
      {"2305843009213693952", 0, 1, std::int64_t{1} << 61, false},
      {"0.001", 3, std::int64_t{1} << 40, std::int64_t{1} << 40, false},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(ScaleUp(row.text, row.decimals, row.multiplier), (Scaled{row.value, row.rounded}))
        << row.text;
  }
}

TEST(ScaleUp, WhatIsNoPrice_IsRefused) {
  for (const char* text : {"",
                           "-1",
                           "-0",
                           "+1",
                           "01",
                           "1.",
                           ".5",
                           "1e",
                           "1e+",
                           "1 ",
                           " 1",
                           "1.2.3",
                           "0x1",
                           "NaN",
                           "Infinity",
                           "1e5e5",
                           "1,5",
                           "2305843009213693953",
                           "1e30",
                           "1e99999999999999999999",
                           "12345678901234567890123456789012345678901"}) {
    EXPECT_EQ(ScaleUp(text, 0), std::nullopt) << text;
  }
  EXPECT_EQ(ScaleUp("0." + std::string(400, '0') + "1", 0), std::nullopt);
  EXPECT_EQ(ScaleUp(std::string("1\0", 2), 0), std::nullopt);
}

// The same number in all its spellings, against whole arithmetic.
TEST(ScaleUp, RandomNumbers_AgreeWithWholeArithmetic) {
  SeededRandom random(9);
  const auto below = [&](std::int64_t end) {
    return static_cast<std::int64_t>(random.Next() % static_cast<std::uint64_t>(end));
  };
  for (int round = 0; round < 50'000; ++round) {
    const std::int64_t digits = below(1'000'000'000);
    const int shift = static_cast<int>(below(24)) - 12;  // of the point, to the left
    const std::int64_t multiplier = 1 + below(1'000);
    __int128 whole = static_cast<__int128>(digits) * multiplier;
    __int128 unit = 1;
    for (int i = 0; i < shift; ++i) unit *= 10;
    for (int i = 0; i > shift; --i) whole *= 10;
    const __int128 up = (whole + unit - 1) / unit;
    if (up > (std::int64_t{1} << 61)) continue;
    const Scaled expected{static_cast<std::int64_t>(up), whole % unit != 0};

    const std::string text = std::to_string(digits);
    const int decimals = static_cast<int>(below(10));
    ASSERT_EQ(ScaleUp(text + "e" + std::to_string(-shift - decimals), decimals, multiplier),
              expected)
        << text << " " << shift;
    std::string pointed = std::string(13, '0') + text;
    pointed.insert(pointed.size() - 12, ".");  // x 10^-12
    pointed.erase(0, std::min(pointed.find_first_not_of('0'), pointed.find('.') - 1));
    ASSERT_EQ(ScaleUp(pointed, 12 - shift, multiplier), expected) << pointed;
  }
}

}  // namespace
}  // namespace weir::prices
