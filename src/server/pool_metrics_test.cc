// How many series there can be at most, and that what has none of its own is counted all the same.
#include "server/pool_metrics.h"

#include <gtest/gtest.h>

#include <string>

namespace weir::server {
namespace {

config::Config Many(std::size_t count) {
  config::Config config;
  for (std::size_t i = 0; i < count; ++i) {
    config::Account account;
    account.id = "up/" + std::to_string(i);
    config.accounts.push_back(std::move(account));
    config.pools.push_back({.name = "p" + std::to_string(i)});
  }
  return config;
}

std::optional<routing::AccountView> BusyAndUsable(std::string_view) {
  routing::AccountView view;
  view.usable = true;
  view.in_flight = 3;
  return view;
}

TEST(PoolMetrics, EachAccount_HasASeriesUpToTheBound_TheRestShareOne) {
  for (const std::size_t count : {std::size_t{0}, std::size_t{1}, kAccountsLabelled,
                                  kAccountsLabelled + 1, 10 * kAccountsLabelled}) {
    const auto families = AccountFamilies(Many(count), BusyAndUsable);
    ASSERT_EQ(families.size(), 2U);
    EXPECT_EQ(families[0].name, "weir_account_usable");
    const auto& series = families[1].series;
    ASSERT_EQ(series.size(), std::min(count, kAccountsLabelled + 1)) << count;
    if (count == 0) continue;
    EXPECT_EQ(series[0].labels, "account=\"up/0\"");
    EXPECT_EQ(series[0].value, 3);
    if (count <= kAccountsLabelled) continue;
    EXPECT_EQ(series.back().labels, "account=\"other\"");
    EXPECT_EQ(series.back().value, static_cast<std::int64_t>(count - kAccountsLabelled) * 3);
    EXPECT_EQ(families[0].series.back().value,
              static_cast<std::int64_t>(count - kAccountsLabelled));
  }
}

TEST(PoolMetrics, AnAccountThePoolDoesNotKnowYet_IsNotUsable) {
  const auto families = AccountFamilies(
      Many(1), [](std::string_view) { return std::optional<routing::AccountView>(); });
  EXPECT_EQ(families[0].series[0].value, 0);
}

TEST(PoolMetrics, APool_HasFiveFigures_AndTheRestShareOne) {
  const auto view = [](std::uint32_t) {
    return routing::PoolView{
        .accounts = 9, .usable = 1, .resting = 2, .capacity = 3, .in_flight = 4, .waiting = 5};
  };
  const auto families = PoolFamilies(Many(kPoolsLabelled + 2), view);
  ASSERT_EQ(families.size(), 5U);
  for (std::size_t i = 0; i < families.size(); ++i) {
    const auto& series = families[i].series;
    ASSERT_EQ(series.size(), kPoolsLabelled + 1);
    EXPECT_EQ(series[0].labels, "pool=\"p0\"");
    EXPECT_EQ(series[0].value, static_cast<std::int64_t>(i) + 1);
    EXPECT_EQ(series.back().labels, "pool=\"other\"");
    EXPECT_EQ(series.back().value, 2 * (static_cast<std::int64_t>(i) + 1));
  }
}

TEST(PoolMetrics, ThePoolOfAKey_IsNotNamed_AndNoTwoSeriesHaveOneLabel) {
  config::Config config;
  config.pools = {{.name = "other"}, {.name = "p"}, {.name = "key:canary"}};
  for (const auto& family :
       PoolFamilies(config, [](std::uint32_t) { return routing::PoolView{.waiting = 1}; })) {
    ASSERT_EQ(family.series.size(), 2U);
    EXPECT_EQ(family.series[0].labels, "pool=\"p\"");
    EXPECT_EQ(family.series[1].labels, "pool=\"other\"");
    if (family.name == "weir_pool_waiting") {
      EXPECT_EQ(family.series[1].value, 2);
    }
  }
}

}  // namespace
}  // namespace weir::server
