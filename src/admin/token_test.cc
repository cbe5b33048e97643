#include "admin/token.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>

namespace weir::admin {
namespace {

class TokenTest : public testing::Test {
 protected:
  TokenTest() {
    directory_ =
        std::filesystem::temp_directory_path() / ("weir_token_test." + std::to_string(getpid()));
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
  }
  ~TokenTest() override { std::filesystem::remove_all(directory_); }
  std::string path() const { return (directory_ / "admin-token").string(); }
  std::filesystem::path directory_;
};

TEST(Token, IsNeverTheSameTwice_AndHasItsForm) {
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) {
    const auto token = GenerateToken();
    ASSERT_TRUE(token.has_value());
    const std::string text(token->Reveal());
    EXPECT_TRUE(text.starts_with("wadm_"));
    EXPECT_EQ(text.size(), 48U);
    EXPECT_TRUE(seen.insert(text).second);
  }
}

TEST(Token, HashIsSha256InHex) {
  EXPECT_EQ(HashToken("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_TRUE(TokenHasHash("abc", HashToken("abc")));
  EXPECT_FALSE(TokenHasHash("abd", HashToken("abc")));
  EXPECT_FALSE(TokenHasHash("abc", ""));
  EXPECT_FALSE(TokenHasHash("", HashToken("abc")));
}

TEST(Token, OfGivenBytes_HasTheForm_AndShowsFourCharacters) {
  std::array<std::uint8_t, 32> bytes{};
  const Secret token = MakeToken(bytes);
  EXPECT_EQ(token.Reveal(), "wadm_" + std::string(43, 'A'));
  bytes.fill(0xFF);
  EXPECT_EQ(MakeToken(bytes).Reveal(), "wadm_" + std::string(42, '_') + "8");
  EXPECT_EQ(DisplayToken(token.Reveal()), "wadm_...AAAA");
  EXPECT_EQ(DisplayToken("short"), "wadm_...");
  EXPECT_EQ(TokenDigest("abc")[0], 0xBA);
}

TEST_F(TokenTest, IsMadeOnceAndReadableByItsOwnerOnly) {
  EXPECT_EQ(LoadToken(directory_.string()).error().code, ErrorCode::kNotFound);
  const auto first = LoadOrCreateToken(directory_.string());
  ASSERT_TRUE(first.has_value());
  EXPECT_TRUE(first->created);
  struct stat status{};
  ASSERT_EQ(stat(path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
  const auto second = LoadOrCreateToken(directory_.string());
  ASSERT_TRUE(second.has_value());
  EXPECT_FALSE(second->created);
  EXPECT_EQ(second->token, first->token);
  EXPECT_EQ(LoadToken(directory_.string())->Reveal(), first->token.Reveal());
}

TEST_F(TokenTest, AFileThatOthersMayRead_IsRefusedWithTheFix) {
  ASSERT_TRUE(LoadOrCreateToken(directory_.string()).has_value());
  chmod(path().c_str(), 0644);
  const auto token = LoadOrCreateToken(directory_.string());
  ASSERT_FALSE(token.has_value());
  EXPECT_NE(token.error().detail.find("chmod 600"), std::string::npos);
}

TEST_F(TokenTest, AFileThatIsNoToken_IsNeitherUsedNorReplaced) {
  for (const std::string& text : {std::string(), std::string("wadm_short"),
                                  "wadm_" + std::string(43, '/'), "wadm_" + std::string(44, 'A')}) {
    std::ofstream(path()) << text;
    chmod(path().c_str(), 0600);
    ASSERT_FALSE(LoadOrCreateToken(directory_.string()).has_value()) << text;
    std::ifstream in(path());
    EXPECT_EQ(std::string((std::istreambuf_iterator<char>(in)), {}), text);
  }
}

TEST_F(TokenTest, ADirectoryThatCannotBeWritten_IsSaidInOneSentence) {
  const auto token = LoadOrCreateToken((directory_ / "missing").string());
  ASSERT_FALSE(token.has_value());
  EXPECT_EQ(token.error().code, ErrorCode::kUnavailable);
  EXPECT_NE(token.error().detail.find("data_dir"), std::string::npos);
}

}  // namespace
}  // namespace weir::admin
