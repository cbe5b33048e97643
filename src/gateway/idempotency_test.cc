#include "gateway/idempotency.h"

#include <gtest/gtest.h>

namespace weir::gateway {
namespace {

using State = IdempotencyTable::State;
constexpr Instant kNow{1'700'000'000'000'000'000};
RequestId Request(std::uint64_t n) { return {{1, n}}; }
IdempotencyUse Use(std::uint64_t key, std::uint64_t body = 1) { return {{2, key}, {3, body}}; }

TEST(Idempotency, KeyGoesFromFreeToInProgressToFinishedAndBackAfterADay) {
  IdempotencyTable table;
  EXPECT_EQ(table.Look(Use(1), kNow).state, State::kFree);
  table.Begin(Use(1), Request(7), kNow);
  EXPECT_EQ(table.Look(Use(1), kNow).state, State::kInProgress);
  EXPECT_EQ(table.Look(Use(1, 2), kNow).state, State::kOtherRequest);
  EXPECT_EQ(table.Look(Use(2), kNow).state, State::kFree);
  table.End(Use(1).key, true);
  EXPECT_EQ(table.Look(Use(1), kNow).state, State::kFinished);
  EXPECT_EQ(table.Look(Use(1), kNow).request, Request(7));
  EXPECT_EQ(table.Look(Use(1, 2), kNow).state, State::kOtherRequest);
  const Instant last = kNow + IdempotencyTable::kLifetime;
  EXPECT_EQ(table.Look(Use(1), {last.ns - 1}).state, State::kFinished);
  EXPECT_EQ(table.Look(Use(1), last).state, State::kFree);
  EXPECT_EQ(table.size(), 0U);
}

TEST(Idempotency, RequestThatWasNotCharged_GivesItsKeyBack) {
  IdempotencyTable table;
  table.Begin(Use(1), Request(7), kNow);
  table.End(Use(1).key, false);
  EXPECT_EQ(table.Look(Use(1, 2), kNow).state, State::kFree);
  table.Begin(Use(1, 2), Request(8), kNow + Seconds(1));
  table.End(Use(1).key, true);
  // The first use is a day old, the second is not: it is not forgotten with the first.
  const Instant later = kNow + IdempotencyTable::kLifetime;
  EXPECT_EQ(table.Look(Use(1, 2), later).state, State::kFinished);
  EXPECT_EQ(table.Look(Use(1, 2), later + Seconds(1)).state, State::kFree);
}

TEST(Idempotency, RequestThatRunsForADay_KeepsItsKey) {
  IdempotencyTable table;
  table.Begin(Use(1), Request(7), kNow);
  const Instant late = kNow + Seconds(3 * 86'400);
  EXPECT_EQ(table.Look(Use(1), late).state, State::kInProgress);
  table.End(Use(1).key, true);
  EXPECT_EQ(table.Look(Use(1), late).state, State::kFree);
  table.End(Use(9).key, true);  // of nobody: nothing happens
}

TEST(Idempotency, ReplayOfAKeyThatWasForgotten_TakesTheLaterRequest) {
  IdempotencyTable table;
  table.Begin(Use(1), Request(7), kNow);
  EXPECT_EQ(table.Replace(Use(1, 2), kNow).state, State::kInProgress);
  table.End(Use(1).key, true);
  EXPECT_EQ(table.Replace(Use(1, 2), kNow).state, State::kFree);
  table.Begin(Use(1, 2), Request(8), kNow);
  EXPECT_EQ(table.Look(Use(1, 2), kNow).request, Request(8));
  EXPECT_EQ(table.size(), 1U);
}

}  // namespace
}  // namespace weir::gateway
