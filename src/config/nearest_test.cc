#include "config/nearest.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

namespace weir::config {
namespace {

constexpr std::array<std::string_view, 4> kNames = {"name", "listen", "idle_deadline", "m"};

TEST(Nearest, OneSlipOfTheHand_IsUnderstood) {
  EXPECT_EQ(Nearest("nmae", kNames), "name");   // swapped
  EXPECT_EQ(Nearest("nam", kNames), "name");    // lost
  EXPECT_EQ(Nearest("namee", kNames), "name");  // twice
  EXPECT_EQ(Nearest("nane", kNames), "name");   // beside
  EXPECT_EQ(Nearest("listn", kNames), "listen");
  EXPECT_EQ(Nearest("idle_dedalin", kNames), "idle_deadline");  // several in a long name
}

TEST(Nearest, AnotherWord_IsNotGuessedAt) {
  EXPECT_EQ(Nearest("colour", kNames), "");
  EXPECT_EQ(Nearest("nxxe", kNames), "");
  EXPECT_EQ(Nearest("", kNames), "");
  EXPECT_EQ(Nearest("n", kNames), "");  // every one-letter name is one letter away
  EXPECT_EQ(Nearest("name", {}), "");
}

TEST(Nearest, LongTexts_HaveNoNeighbours) {
  const std::string longest(64, 'x');
  const std::string longer(65, 'x');
  const std::vector<std::string_view> names = {longest, longer};
  EXPECT_EQ(Nearest(std::string(63, 'x'), names), longest);
  EXPECT_EQ(Nearest(longer, names), "");
}

}  // namespace
}  // namespace weir::config
