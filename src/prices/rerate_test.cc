#include "prices/rerate.h"

#include <gtest/gtest.h>

namespace weir::prices {
namespace {

constexpr config::Price kPrice{.input = {2'000'000}, .output = {10'000'000}};

Usage Used(std::int64_t input, std::int64_t output, UsageSource source = UsageSource::kProvider) {
  return {.input_tokens = input, .output_tokens = output, .source = source};
}

TEST(Rerate, SumsByModel) {
  Rerate rerate;
  rerate.Add("b", Used(10, 1), {30'000}, &kPrice);
  rerate.Add("b", Used(10, 1), {25'000}, &kPrice);
  rerate.Add("a", Used(5, 0), {20'000}, &kPrice);
  rerate.Add("a", Used(5, 0), {20'000}, nullptr);
  rerate.Add("a", Used(5, 0, UsageSource::kNone), {0}, &kPrice);
  rerate.Add("a", Used(5, 5), {0}, &kPrice);  // a hang-up that was not charged
  ASSERT_EQ(rerate.models().size(), 2U);
  const Rerated& b = rerate.models().find("b")->second;
  EXPECT_EQ(b.requests, 2);
  EXPECT_EQ(b.changed_requests, 1);
  EXPECT_TRUE(b.booked == 55'000 && b.now == 60'000 && b.difference() == 5'000);
  const Rerated& a = rerate.models().find("a")->second;
  EXPECT_EQ(a.requests, 1);
  EXPECT_EQ(a.unpriced_requests, 1);
  EXPECT_TRUE(a.difference() == -10'000);
  const Rerated total = rerate.total();
  EXPECT_EQ(total.requests, 3);
  EXPECT_TRUE(total.difference() == -5'000);
}

TEST(FormatSum, IsPlainUsd) {
  EXPECT_EQ(FormatSum(0), "0");
  EXPECT_EQ(FormatSum(1), "0.000000001");
  EXPECT_EQ(FormatSum(-1'500'000'000), "-1.5");
  EXPECT_EQ(FormatSum(static_cast<NanoUsdSum>(INT64_MAX) * 1000), "9223372036854.775807");
  EXPECT_EQ(FormatSum(-static_cast<NanoUsdSum>(kNanoPerUsd)), "-1");
}

}  // namespace
}  // namespace weir::prices
