// What a wall clock that jumps makes of the time that windows go by.
#include "server/steady_wall.h"

#include <gtest/gtest.h>

namespace weir::server {
namespace {

constexpr Instant kWall{1'700'000'000'000'000'000};
constexpr Tick kBoot{5'000'000'000};
constexpr Duration kYear = Seconds(365 * 86'400);

TEST(SteadyWall, ClockThatGoesRight_IsFollowed) {
  SteadyWall clock;
  for (std::int64_t s = 0; s < 100'000; s += 700) {
    EXPECT_EQ(clock.At(kWall + Seconds(s), kBoot + Seconds(s)), kWall + Seconds(s));
  }
  // Slewed, a leap second, a small step: nothing to doubt.
  EXPECT_EQ(clock.At(kWall + Seconds(100'300), kBoot + Seconds(100'000)), kWall + Seconds(100'300));
  EXPECT_FALSE(clock.doubts());
}

TEST(SteadyWall, JumpAhead_IsNotFollowed_AndForgottenWhenItGoesBack) {
  SteadyWall clock;
  clock.At(kWall, kBoot);
  EXPECT_EQ(clock.At(kWall + kYear, kBoot + Seconds(1)), kWall + Seconds(1));
  EXPECT_TRUE(clock.doubts());
  EXPECT_EQ(clock.At(kWall + kYear + Seconds(60), kBoot + Seconds(61)), kWall + Seconds(61));
  EXPECT_EQ(clock.At(kWall + Seconds(90), kBoot + Seconds(90)), kWall + Seconds(90));
  EXPECT_FALSE(clock.doubts());
}

TEST(SteadyWall, JumpThatLasts_IsFollowedInTheEnd) {
  SteadyWall clock;
  clock.At(kWall, kBoot);
  clock.At(kWall + kYear, kBoot);
  const Duration nearly{SteadyWall::kConfirmed.ns - 1};
  EXPECT_EQ(clock.At(kWall + kYear + nearly, kBoot + nearly), kWall + nearly);
  const Duration then = SteadyWall::kConfirmed;
  EXPECT_EQ(clock.At(kWall + kYear + then, kBoot + then), kWall + kYear + then);
  EXPECT_FALSE(clock.doubts());
}

TEST(SteadyWall, ClockThatJumpsAgain_BeginsAnotherDoubt) {
  SteadyWall clock;
  clock.At(kWall, kBoot);
  clock.At(kWall + kYear, kBoot);
  const Duration later = Minutes(10);
  clock.At(kWall + kYear + kYear, kBoot + later);
  const Duration then = SteadyWall::kConfirmed;
  EXPECT_EQ(clock.At(kWall + kYear + kYear, kBoot + then), kWall + then)
      << "only 5 minutes of the second";
}

TEST(SteadyWall, GoingBack_IsFollowedAtOnce) {
  SteadyWall clock;
  clock.At(kWall, kBoot);
  const Instant back{kWall.ns - kYear.ns};
  EXPECT_EQ(clock.At(back, kBoot + Seconds(1)), back);
  // And the way ahead again is a jump.
  EXPECT_EQ(clock.At(kWall, kBoot + Seconds(2)), back + Seconds(1));
}

// A machine that sleeps: the other clock counts on, so waking up is no jump.
TEST(SteadyWall, Sleep_IsNoJump) {
  SteadyWall clock;
  clock.At(kWall, kBoot);
  EXPECT_EQ(clock.At(kWall + Seconds(40'000), kBoot + Seconds(40'000)), kWall + Seconds(40'000));
}

}  // namespace
}  // namespace weir::server
