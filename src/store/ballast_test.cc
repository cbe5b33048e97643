#include "store/ballast.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace weir::store {
namespace {

struct BallastTest : testing::Test {
  std::string folder = testing::TempDir() + "ballast_" + std::to_string(::getpid()) + "_" +
                       testing::UnitTest::GetInstance()->current_test_info()->name();
  std::string path = folder + "/ballast";
  BallastTest() { std::filesystem::create_directory(folder); }
  ~BallastTest() override { std::filesystem::remove_all(folder); }
  std::int64_t Blocks() const {
    struct stat found{};
    return ::stat(path.c_str(), &found) == 0 ? found.st_blocks * 512 : -1;
  }
};

TEST_F(BallastTest, Restored_HasItsBlocks_AndReleaseGivesThemBackOnce) {
  Ballast ballast(path, 1 << 20);
  EXPECT_FALSE(ballast.Release());
  EXPECT_TRUE(ballast.Restore());
  EXPECT_GE(Blocks(), 1 << 20);
  EXPECT_TRUE(ballast.Restore());  // it is there
  EXPECT_TRUE(ballast.Release());
  EXPECT_EQ(Blocks(), -1);
  EXPECT_FALSE(ballast.Release());
  EXPECT_TRUE(ballast.Restore());
}

TEST_F(BallastTest, FileOfHoles_IsFilled) {
  std::ofstream(path).close();
  std::filesystem::resize_file(path, 1 << 20);
  ASSERT_LT(Blocks(), 1 << 20);
  EXPECT_TRUE(Ballast(path, 1 << 20).Restore());
  EXPECT_GE(Blocks(), 1 << 20);
}

TEST_F(BallastTest, NoSpaceForItTwice_MakesNone) {
  const auto disk = std::filesystem::space(folder);
  Ballast ballast(path, static_cast<std::int64_t>(disk.capacity / 2 + 1));
  EXPECT_FALSE(ballast.Restore());
  EXPECT_EQ(Blocks(), -1);
}

TEST_F(BallastTest, OfNoBytes_IsNeverMade) {
  Ballast none(path, 0);
  EXPECT_FALSE(none.Restore());
  EXPECT_FALSE(none.Release());
  EXPECT_EQ(Blocks(), -1);
}

TEST_F(BallastTest, InAFolderThatIsGone_IsNoHarm) {
  Ballast ballast(folder + "/gone/ballast", 1 << 20);
  EXPECT_FALSE(ballast.Restore());
  EXPECT_FALSE(ballast.Release());
}

}  // namespace
}  // namespace weir::store
