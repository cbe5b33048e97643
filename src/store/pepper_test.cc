#include "store/pepper.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

namespace weir::store {
namespace {

namespace fs = std::filesystem;

class PepperTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "weir-pepper-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    directory_ = name;
  }
  void TearDown() override { fs::remove_all(directory_); }

  // Writes data_dir/pepper.
  void Write(std::string_view bytes, mode_t mode) {
    std::ofstream(File(), std::ios::binary) << bytes;
    ASSERT_EQ(chmod(File().c_str(), mode), 0);
  }
  std::string File() const { return directory_ + "/pepper"; }

  std::string directory_;
};

TEST_F(PepperTest, FirstStart_MakesOneThatLaterStartsFind) {
  const auto first = LoadOrCreatePepper(directory_, std::nullopt);
  ASSERT_TRUE(first) << first.error().detail;
  EXPECT_EQ(first->Reveal().size(), 32U);
  struct stat status{};
  ASSERT_EQ(stat(File().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
  EXPECT_EQ(status.st_size, 32);
  EXPECT_EQ(*LoadOrCreatePepper(directory_, std::nullopt), *first);
  // Nothing else is left lying about.
  EXPECT_EQ(std::distance(fs::directory_iterator(directory_), fs::directory_iterator()), 1);
}

TEST_F(PepperTest, TwoDeployments_HaveDifferentOnes) {
  const auto first = LoadOrCreatePepper(directory_, std::nullopt);
  fs::remove(File());
  EXPECT_NE(*LoadOrCreatePepper(directory_, std::nullopt), *first);
}

TEST_F(PepperTest, AGivenOne_WinsAndIsNotWritten) {
  const Secret given(std::string(32, 'g'));
  EXPECT_EQ(*LoadOrCreatePepper(directory_, given), given);
  EXPECT_FALSE(fs::exists(File()));
  const auto refused = LoadOrCreatePepper(directory_, Secret(std::string(31, 'g')));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kBadInput);
  EXPECT_FALSE(refused.error().detail.contains("ggg"));
}

TEST_F(PepperTest, AFileThatIsNoPepper_IsRefusedAndLeftAlone) {
  struct Case {
    std::string bytes;
    mode_t mode;
    const char* says;
  };
  const Case cases[] = {{"", 0600, "not 32 bytes"},
                        {std::string(31, 'x'), 0600, "not 32 bytes"},
                        {std::string(33, 'x'), 0600, "not 32 bytes"},
                        {std::string(32, 'x'), 0644, "others may read it"},
                        {std::string(32, 'x'), 0620, "others may read it"}};
  for (const Case& c : cases) {
    Write(c.bytes, c.mode);
    const auto pepper = LoadOrCreatePepper(directory_, std::nullopt);
    ASSERT_FALSE(pepper);
    EXPECT_EQ(pepper.error().code, ErrorCode::kBadInput);
    EXPECT_TRUE(pepper.error().detail.contains(c.says)) << pepper.error().detail;
    EXPECT_EQ(fs::file_size(File()), c.bytes.size());
    fs::remove(File());
  }
}

TEST_F(PepperTest, ALinkInItsPlace_IsNotFollowed) {
  Write(std::string(32, 'x'), 0600);
  fs::rename(File(), directory_ + "/elsewhere");
  fs::create_symlink(directory_ + "/elsewhere", File());
  EXPECT_FALSE(LoadOrCreatePepper(directory_, std::nullopt));
}

TEST_F(PepperTest, ADirectoryThatIsNotThere_IsAFailureWithAFix) {
  const auto pepper = LoadOrCreatePepper(directory_ + "/missing", std::nullopt);
  ASSERT_FALSE(pepper);
  EXPECT_EQ(pepper.error().code, ErrorCode::kUnavailable);
  EXPECT_TRUE(pepper.error().detail.contains("missing/pepper"));
}

TEST_F(PepperTest, FirstStartsAtOnce_AgreeOnOne) {
  std::vector<Secret> peppers(4);
  {
    std::vector<std::jthread> starts;
    for (Secret& pepper : peppers) {
      starts.emplace_back([&pepper, this] {
        if (auto made = LoadOrCreatePepper(directory_, std::nullopt)) pepper = *made;
      });
    }
  }
  for (const Secret& pepper : peppers) {
    EXPECT_EQ(pepper.Reveal().size(), 32U);
    EXPECT_EQ(pepper, peppers.front());
  }
}

TEST(SystemRandom32, IsDifferentEveryTime) {
  const auto first = SystemRandom32();
  const auto second = SystemRandom32();
  ASSERT_TRUE(first && second);
  EXPECT_NE(*first, *second);
}

}  // namespace
}  // namespace weir::store
