#include "routing/wait_queue.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

namespace weir::routing {
namespace {

KeyId Key(std::uint64_t n) { return {{0, n}}; }

// Serves one at a time, as accounts become free, and says whose they were.
std::vector<std::uint64_t> Drain(WaitQueue& queue, std::map<TicketId, std::uint64_t>& owner,
                                 std::size_t n) {
  std::vector<std::uint64_t> order;
  for (std::size_t i = 0; i < n; ++i) {
    bool given = false;
    queue.Serve([&](TicketId ticket) {
      if (given) return WaitQueue::Offer::kNoMore;
      given = true;
      order.push_back(owner.at(ticket));
      return WaitQueue::Offer::kTaken;
    });
  }
  return order;
}

struct Filled {
  WaitQueue queue;
  std::map<TicketId, std::uint64_t> owner;
  TicketId next = 1;
  void Add(std::uint64_t key, std::int64_t cost = WaitQueue::kQuantum) {
    owner[next] = key;
    queue.Add(Key(key), {next++, cost});
  }
};

TEST(WaitQueue, GreedyKey_WaitsForItsOwnCallsOnly) {
  Filled f;
  for (int i = 0; i < 100; ++i) f.Add(1);
  f.Add(2);
  f.Add(3);
  EXPECT_EQ(f.queue.PositionOf(Key(4)), 4U) << "one of each other key is ahead";
  EXPECT_EQ(f.queue.PositionOf(Key(2)), 5U);
  const auto order = Drain(f.queue, f.owner, 4);
  EXPECT_EQ(order, (std::vector<std::uint64_t>{1, 2, 3, 1}));
}

TEST(WaitQueue, EqualKeys_GetEqualShares_HoweverTheyArrive) {
  Filled f;
  for (int i = 0; i < 60; ++i) f.Add(1);
  for (int i = 0; i < 60; ++i) f.Add(2);
  for (int i = 0; i < 60; ++i) f.Add(3);
  std::map<std::uint64_t, int> served;
  for (const auto key : Drain(f.queue, f.owner, 90)) ++served[key];
  EXPECT_EQ(served[1], 30);
  EXPECT_EQ(served[2], 30);
  EXPECT_EQ(served[3], 30);
}

TEST(WaitQueue, CostlyCalls_GetTheSameShareOfWork) {
  Filled f;
  for (int i = 0; i < 100; ++i) f.Add(1, 4 * WaitQueue::kQuantum);
  for (int i = 0; i < 400; ++i) f.Add(2);
  std::map<std::uint64_t, int> served;
  for (const auto key : Drain(f.queue, f.owner, 100)) ++served[key];
  EXPECT_NEAR(served[1], 20, 2);
  EXPECT_NEAR(served[2], 80, 2);
}

TEST(WaitQueue, EntryThatNobodyCanTake_DoesNotBlockThoseBehindIt) {
  Filled f;
  f.Add(1);
  f.Add(1);
  f.Add(2);
  std::vector<TicketId> taken;
  f.queue.Serve([&](TicketId ticket) {
    if (ticket == 1) return WaitQueue::Offer::kNotNow;
    taken.push_back(ticket);
    return WaitQueue::Offer::kTaken;
  });
  EXPECT_EQ(taken, (std::vector<TicketId>{2, 3}));
  EXPECT_EQ(f.queue.size(), 1U);
}

TEST(WaitQueue, NothingToGive_EndsAtOnceAndChangesNothing) {
  Filled f;
  for (std::uint64_t key = 1; key <= 5; ++key) f.Add(key, WaitQueue::kCostMax);
  int offers = 0;
  for (int i = 0; i < 1000; ++i) {
    f.queue.Serve([&](TicketId) {
      ++offers;
      return WaitQueue::Offer::kNoMore;
    });
  }
  EXPECT_LE(offers, 1000);
  EXPECT_EQ(f.queue.size(), 5U);
  const auto order = Drain(f.queue, f.owner, 5);
  EXPECT_EQ(order.size(), 5U) << "everybody is served in the end, whatever the cost";
}

TEST(WaitQueue, KeyWhoseTurnCameToNothing_KeepsItsPlace) {
  // Key 1 asks for what is rarely free, key 2 for what often is. However often the line is looked
  // at in vain, the next of key 1's kind is key 1's.
  Filled f;
  f.Add(1);
  for (int i = 0; i < 50; ++i) f.Add(2);
  f.Add(3);
  const auto offer = [&](std::uint64_t kind, std::vector<std::uint64_t>& taken) {
    bool given = false;
    f.queue.Serve([&](TicketId ticket) {
      if (given || (kind == 1) != (f.owner.at(ticket) != 2)) return WaitQueue::Offer::kNotNow;
      given = true;
      taken.push_back(f.owner.at(ticket));
      return WaitQueue::Offer::kTaken;
    });
  };
  std::vector<std::uint64_t> taken;
  for (int i = 0; i < 20; ++i) offer(2, taken);
  EXPECT_EQ(taken, std::vector<std::uint64_t>(20, 2));
  taken.clear();
  offer(1, taken);
  offer(1, taken);
  EXPECT_EQ(taken, (std::vector<std::uint64_t>{1, 3}));
}

TEST(WaitQueue, WhoLeaves_IsForgottenWithItsDeficit) {
  Filled f;
  f.Add(1);
  f.Add(2);
  EXPECT_TRUE(f.queue.Remove(Key(1), 1));
  EXPECT_FALSE(f.queue.Remove(Key(1), 1));
  EXPECT_FALSE(f.queue.Remove(Key(2), 99));
  EXPECT_FALSE(f.queue.Remove(Key(7), 1));
  EXPECT_EQ(f.queue.SizeOf(Key(1)), 0U);
  EXPECT_EQ(f.queue.size(), 1U);
  EXPECT_EQ(Drain(f.queue, f.owner, 3), (std::vector<std::uint64_t>{2}));
}

}  // namespace
}  // namespace weir::routing
