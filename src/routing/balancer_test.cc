#include "routing/balancer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace weir::routing {
namespace {

struct Loads final : LoadOf {
  std::int64_t InFlight(std::uint32_t account) const override { return load.at(account); }
  bool Skip(std::uint32_t account) const override { return skipped.contains(account); }
  explicit Loads(std::size_t n) : load(n, 0) {}
  std::vector<std::int64_t> load;
  std::set<std::uint32_t> skipped;
};

std::vector<Member> Accounts(std::uint32_t n, std::uint32_t weight = 1) {
  std::vector<Member> members;
  for (std::uint32_t i = 0; i < n; ++i) {
    members.push_back({i, weight, HashText("account-" + std::to_string(i))});
  }
  return members;
}

SessionHash Session(int i) { return HashText("session-" + std::to_string(i)); }

TEST(Tier, Session_KeepsItsAccount_AndAgreesWithAnyOrderOfAccounts) {
  for (const std::uint32_t n : {1U, 2U, 20U, 64U, 65U, 3000U}) {
    auto members = Accounts(n);
    const Tier tier(members);
    std::ranges::reverse(members);
    const Tier other(members);
    const Loads loads(n);
    for (int i = 0; i < 300; ++i) {
      std::uint32_t home = 0;
      const auto picked = tier.PickForSession(Session(i), loads, home);
      EXPECT_EQ(picked, home);
      std::uint32_t elsewhere = 0;
      EXPECT_EQ(other.PickForSession(Session(i), loads, elsewhere), picked) << n;
    }
  }
}

TEST(Tier, AccountAway_MovesOnlyItsOwnSessions_AndGetsThemBack) {
  for (const std::uint32_t n : {20U, 1000U}) {
    Tier tier(Accounts(n));
    const Loads loads(n);
    std::map<int, std::uint32_t> before;
    std::uint32_t home = 0;
    for (int i = 0; i < 2000; ++i) before[i] = tier.PickForSession(Session(i), loads, home);
    const std::uint32_t away = before[0];
    tier.SetUsable(away, false);
    std::set<std::uint32_t> refuges;
    for (int i = 0; i < 2000; ++i) {
      const auto now = tier.PickForSession(Session(i), loads, home);
      EXPECT_EQ(home, before[i]) << "home stays home";
      if (before[i] == away) {
        EXPECT_NE(now, away);
        refuges.insert(now);
      } else {
        EXPECT_EQ(now, before[i]);
      }
    }
    if (n == 20) EXPECT_GT(refuges.size(), 10U) << "its sessions spread over all others";
    tier.SetUsable(away, true);
    for (int i = 0; i < 2000; ++i) {
      EXPECT_EQ(tier.PickForSession(Session(i), loads, home), before[i]);
    }
  }
}

TEST(Tier, NewAccount_TakesItsShareAndNothingElseMoves) {
  const Tier small(Accounts(19));
  const Tier large(Accounts(20));
  const Loads loads(20);
  int moved = 0;
  for (int i = 0; i < 4000; ++i) {
    std::uint32_t home = 0;
    const auto before = small.PickForSession(Session(i), loads, home);
    const auto after = large.PickForSession(Session(i), loads, home);
    if (before == after) continue;
    EXPECT_EQ(after, 19U);
    ++moved;
  }
  EXPECT_NEAR(moved, 4000 / 20, 60);
}

TEST(Tier, SessionsSpread_AsTheWeightsSay) {
  for (const std::uint32_t n : {4U, 400U}) {
    auto members = Accounts(n);
    std::uint64_t weights = 0;
    for (auto& member : members) {
      member.weight = member.account % 4 == 3 ? 7 : 1;
      weights += member.weight;
    }
    const Tier tier(members);
    const Loads loads(n);
    const int sessions = 40'000;
    std::map<std::uint32_t, int> by_weight;
    for (int i = 0; i < sessions; ++i) {
      std::uint32_t home = 0;
      const auto picked = tier.PickForSession(Session(i), loads, home);
      by_weight[members[picked].weight] += 1;
    }
    const double heavy = static_cast<double>(by_weight[7]) / sessions;
    const double expected = 7.0 * (n / 4) / static_cast<double>(weights);
    EXPECT_NEAR(heavy, expected, 0.02) << n;
  }
}

TEST(Tier, LeastLoaded_SpreadsCallsAsTheWeightsSay) {
  auto members = Accounts(10);
  members[0].weight = 4;
  const Tier tier(members);
  Loads loads(10);
  SeededRandom random(7);
  for (int i = 0; i < 13'000; ++i) ++loads.load[tier.PickLeastLoaded(loads, random)];
  for (std::uint32_t i = 1; i < 10; ++i)
    EXPECT_NEAR(static_cast<double>(loads.load[i]), 1000, 20) << i;
  EXPECT_NEAR(static_cast<double>(loads.load[0]), 4000, 80);
}

TEST(Tier, Choice_NeverTakesWhatIsUnusableOrSkipped) {
  SeededRandom random(11);
  for (int round = 0; round < 300; ++round) {
    const auto n = static_cast<std::uint32_t>(1 + random.Next() % 400);
    Tier tier(Accounts(n));
    Loads loads(n);
    std::set<std::uint32_t> open;
    for (std::uint32_t i = 0; i < n; ++i) {
      const bool usable = random.Next() % 3 != 0;
      tier.SetUsable(i, usable);
      tier.SetUsable(i, usable);  // twice is once
      if (random.Next() % 4 == 0) loads.skipped.insert(i);
      if (usable && !loads.skipped.contains(i)) open.insert(i);
    }
    std::size_t usable = 0;
    for (std::uint32_t i = 0; i < n; ++i) usable += tier.IsUsable(i) ? 1 : 0;
    EXPECT_EQ(tier.usable(), usable);
    for (int i = 0; i < 20; ++i) {
      const auto any = tier.PickLeastLoaded(loads, random);
      std::uint32_t home = 0;
      const auto own = tier.PickForSession(random.Next() | 1, loads, home);
      EXPECT_EQ(any == kNoAccount, open.empty());
      EXPECT_EQ(own == kNoAccount, open.empty());
      if (any != kNoAccount) EXPECT_TRUE(open.contains(any));
      if (own != kNoAccount) EXPECT_TRUE(open.contains(own));
    }
  }
}

TEST(Wins, WithEqualWeights_IsTheLargerHash_AndIsAnOrder) {
  SeededRandom random(3);
  for (int i = 0; i < 10'000; ++i) {
    const std::uint64_t a = random.Next();
    const std::uint64_t b = random.Next();
    EXPECT_EQ(Wins(a, 5, b, 5), a > b);
    const std::uint64_t w = 1 + random.Next() % 1000;
    const std::uint64_t v = 1 + random.Next() % 1000;
    EXPECT_FALSE(Wins(a, w, b, v) && Wins(b, v, a, w));
  }
  EXPECT_TRUE(Wins(UINT64_MAX, 1, 0, 1000)) << "no overflow at the ends";
  EXPECT_FALSE(Wins(0, 1000, UINT64_MAX, 1));
}

}  // namespace
}  // namespace weir::routing
