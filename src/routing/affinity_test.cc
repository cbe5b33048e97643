#include "routing/affinity.h"

#include <gtest/gtest.h>

#include "routing/balancer.h"

namespace weir::routing {
namespace {

TEST(Affinity, OldestIsForgottenFirst_AndNothingElse) {
  Affinity affinity(100);
  for (std::uint64_t i = 1; i <= 250; ++i) affinity.Remember(i, static_cast<std::uint32_t>(i));
  EXPECT_EQ(affinity.size(), 100U);
  for (std::uint64_t i = 1; i <= 250; ++i) {
    EXPECT_EQ(affinity.Find(i), i <= 150 ? kNoAccount : static_cast<std::uint32_t>(i)) << i;
  }
}

TEST(Affinity, SameAgain_MovesToTheLastAccountWithoutTakingRoom) {
  Affinity affinity(2);
  for (std::uint32_t i = 0; i < 10; ++i) affinity.Remember(7, i);
  affinity.Remember(8, 1);
  EXPECT_EQ(affinity.Find(7), 9U);
  EXPECT_EQ(affinity.size(), 2U);
  affinity.Remember(9, 1);
  EXPECT_EQ(affinity.Find(7), kNoAccount);
}

}  // namespace
}  // namespace weir::routing
