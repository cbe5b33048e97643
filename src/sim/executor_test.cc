#include "sim/executor.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

namespace weir::sim {
namespace {

std::string RunLetters(std::uint64_t seed) {
  Executor executor(seed);
  std::string order;
  for (const char letter : std::string("abcdefgh")) {
    executor.At(Tick{2'000'000'000}, [&order, letter] { order += letter; });
  }
  executor.At(Tick{3'000'000'000}, [&order] { order += '.'; });
  executor.At(Tick{1'500'000'000}, [&order] { order += '^'; });
  while (executor.Step()) {
  }
  return order;
}

TEST(Executor, EventsOfOneTime_RunInAnOrderOfTheSeed_OthersByTime) {
  std::set<std::string> orders;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const std::string order = RunLetters(seed);
    EXPECT_EQ(order, RunLetters(seed));
    EXPECT_EQ(order.front(), '^');
    EXPECT_EQ(order.back(), '.');
    orders.insert(order);
  }
  EXPECT_GT(orders.size(), 15U);
}

TEST(Executor, ATimeThatIsPast_IsNow) {
  Executor executor(1);
  executor.At(Tick{5'000'000'000}, [&] {
    executor.At(Tick{1}, [&] { EXPECT_EQ(executor.Now(), (Tick{5'000'000'000})); });
  });
  while (executor.Step()) {
  }
  EXPECT_EQ(executor.events(), 2U);
}

TEST(Executor, ACancelledEvent_DoesNotRun_NorTheOneThatHasItsPlace) {
  Executor executor(1);
  int ran = 0;
  const auto first = executor.In(Seconds(1), [&] { ran += 1; });
  executor.Cancel(first);
  executor.In(Seconds(1), [&] { ran += 10; });
  executor.Cancel(first);  // again: harmless to who came after
  while (executor.Step()) {
  }
  EXPECT_EQ(ran, 10);
}

TEST(Executor, TheWallClock_IsSet_AndTheOtherIsNot) {
  Executor executor(1);
  const Instant wall = executor.WallNow();
  const Tick now = executor.Now();
  executor.SetWallBy(Duration{-Seconds(3600).ns});
  EXPECT_EQ(executor.WallNow(), wall + Duration{-Seconds(3600).ns});
  EXPECT_EQ(executor.Now(), now);
}

TEST(Executor, TheHash_TellsWhatHappenedAndInWhichOrder) {
  Executor a(1);
  Executor b(1);
  a.Note(1);
  a.Note("x");
  b.Note("x");
  b.Note(1);
  EXPECT_NE(a.hash(), b.hash());
}

Root Sleeper(Executor& executor, std::vector<int>& seen) {
  seen.push_back(1);
  co_await executor.Sleep(Seconds(1));
  seen.push_back(2);
}

TEST(Root, SleepsAndGoesOn) {
  Executor executor(1);
  std::vector<int> seen;
  Root root = Sleeper(executor, seen);
  EXPECT_TRUE(seen.empty());
  root.Start();
  while (executor.Step()) {
  }
  EXPECT_EQ(seen, (std::vector{1, 2}));
}

TEST(Root, DestroyedWhileItWaits_LeavesNoEventBehind) {
  Executor executor(1);
  std::vector<int> seen;
  Root root = Sleeper(executor, seen);
  root.Start();
  root.Destroy();
  EXPECT_FALSE(executor.Step());
  EXPECT_EQ(seen, std::vector{1});
}

Root Waiter(Executor& executor, Wait*& wait, int& woken) {
  Wait own(executor);
  wait = &own;
  co_await own;
  ++woken;
}

TEST(Wait, WokenTwice_RunsOnce_AndNotInsideTheCall) {
  Executor executor(1);
  Wait* wait = nullptr;
  int woken = 0;
  Root root = Waiter(executor, wait, woken);
  root.Start();
  wait->Wake();
  wait->Wake();
  EXPECT_EQ(woken, 0);
  while (executor.Step()) {
  }
  EXPECT_EQ(woken, 1);
}

TEST(Wait, AtOnce_RunsInsideTheCall) {
  Executor executor(1);
  Wait* wait = nullptr;
  int woken = 0;
  Root root = Waiter(executor, wait, woken);
  root.Start();
  wait->WakeIn(Seconds(1));
  wait->WakeAtOnce();
  EXPECT_EQ(woken, 1);
  EXPECT_FALSE(executor.Step());
}

}  // namespace
}  // namespace weir::sim
