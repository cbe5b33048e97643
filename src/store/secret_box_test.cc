// What a box must refuse matters more than what it opens: every byte of one is changed in turn.
#include "store/secret_box.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

namespace weir::store {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::string_view kCredential = "sk-canary-credential-0123456789";

Secret KeyOf(char c) { return Secret(std::string(kMasterKeyBytes, c)); }

std::vector<std::uint8_t> Sealed(const SecretBox& with, std::string_view plain = kCredential,
                                 std::string_view associated = "row-1") {
  auto box = with.Seal(plain, associated);
  EXPECT_TRUE(box.has_value());
  return *std::move(box);
}

TEST(SecretBox, OpensWhatItSealed) {
  const SecretBox box(KeyOf('k'));
  for (const std::string& plain : {std::string(kCredential), std::string(),
                                   std::string("\0\xff\n", 3), std::string(5000, 'x')}) {
    const auto opened = box.Open(Sealed(box, plain), "row-1");
    ASSERT_TRUE(opened.has_value()) << plain.size();
    EXPECT_EQ(opened->Reveal(), plain);
  }
}

TEST(SecretBox, HoldsNothingOfTheTextAndNeverTheSameTwice) {
  const SecretBox box(KeyOf('k'));
  std::set<std::vector<std::uint8_t>> seen;
  for (int i = 0; i < 100; ++i) {
    const auto sealed = Sealed(box);
    const std::string text(sealed.begin(), sealed.end());
    EXPECT_THAT(text, Not(HasSubstr("canary")));
    EXPECT_THAT(text, Not(HasSubstr("kkkk")));
    EXPECT_TRUE(seen.insert(sealed).second);
  }
}

TEST(SecretBox, AChangeOfAnyBit_IsRefused) {
  const SecretBox box(KeyOf('k'));
  const auto sealed = Sealed(box);
  for (std::size_t at = 0; at < sealed.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      auto changed = sealed;
      changed[at] = static_cast<std::uint8_t>(changed[at] ^ (1U << bit));
      const auto opened = box.Open(changed, "row-1");
      ASSERT_FALSE(opened.has_value()) << at << " " << bit;
      // Only the key id tells of another key.
      EXPECT_EQ(opened.error().code,
                at >= 1 && at < 1 + kMasterKeyIdBytes ? ErrorCode::kConflict : ErrorCode::kBadInput)
          << at;
      EXPECT_THAT(opened.error().detail, Not(HasSubstr("canary")));
    }
  }
}

TEST(SecretBox, ATornOrLongerBox_IsRefused) {
  const SecretBox box(KeyOf('k'));
  auto sealed = Sealed(box);
  for (std::size_t size = 0; size < sealed.size(); ++size) {
    EXPECT_FALSE(box.Open(std::span(sealed).first(size), "row-1").has_value()) << size;
  }
  sealed.push_back(0);
  EXPECT_FALSE(box.Open(sealed, "row-1").has_value());
}

TEST(SecretBox, TheBoxOfAnotherRow_IsRefused) {
  const SecretBox box(KeyOf('k'));
  const auto sealed = Sealed(box);
  for (const std::string_view other : {"row-2", "row-", "row-11", ""}) {
    const auto opened = box.Open(sealed, other);
    ASSERT_FALSE(opened.has_value()) << other;
    EXPECT_EQ(opened.error().code, ErrorCode::kBadInput);
  }
}

TEST(SecretBox, AnotherKey_IsNamedWithoutBeingTold) {
  const SecretBox old(KeyOf('o'));
  const SecretBox now(KeyOf('n'));
  const auto opened = now.Open(Sealed(old), "row-1");
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().code, ErrorCode::kConflict);
  EXPECT_THAT(opened.error().detail, HasSubstr(MasterKeyName(old.id())));
  EXPECT_THAT(opened.error().detail, HasSubstr(MasterKeyName(now.id())));
  EXPECT_THAT(opened.error().detail, Not(HasSubstr("oooo")));
  EXPECT_EQ(MasterKeyName(old.id()).size(), 2 * kMasterKeyIdBytes);
}

TEST(ParseMasterKey, TakesBase64AndHexOf32Bytes_AndNothingElse) {
  const std::string hex = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F";
  const std::string base64 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
  std::string bytes;
  for (char c = 0; c < 32; ++c) bytes += c;
  for (const std::string& good : {hex, base64, base64 + "=", base64 + "=\n", hex + "\r\n"}) {
    const auto key = ParseMasterKey(good);
    ASSERT_TRUE(key.has_value()) << good;
    EXPECT_EQ(key->Reveal(), bytes);
  }
  const auto urlsafe = ParseMasterKey(std::string(42, '-') + "8");
  const auto standard = ParseMasterKey(std::string(42, '+') + "8");
  ASSERT_TRUE(urlsafe && standard);
  EXPECT_EQ(urlsafe->Reveal(), standard->Reveal());
  for (const std::string& bad :
       {std::string(), std::string("secret"), hex.substr(1), hex + "00", base64.substr(1),
        base64 + "==", base64.substr(0, 42) + "9" /* bits behind the end */, std::string(64, 'g'),
        std::string(43, '*'), " " + base64}) {
    const auto key = ParseMasterKey(bad);
    ASSERT_FALSE(key.has_value()) << bad;
    EXPECT_EQ(key.error().code, ErrorCode::kBadInput);
    EXPECT_THAT(key.error().detail, HasSubstr("openssl rand -base64 32"));
  }
}

class MasterKeyFile : public testing::Test {
 protected:
  MasterKeyFile() {
    dir_ = (std::filesystem::temp_directory_path() /
            ("weir_master_key." + std::to_string(getpid()) + "." +
             testing::UnitTest::GetInstance()->current_test_info()->name()))
               .string();
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directories(dir_);
  }
  ~MasterKeyFile() override { std::filesystem::remove_all(dir_); }

  void Write(std::string_view bytes, mode_t mode) {
    std::ofstream(dir_ + "/master.key", std::ios::binary) << bytes;
    chmod((dir_ + "/master.key").c_str(), mode);
  }

  std::string dir_;
};

TEST_F(MasterKeyFile, IsMadeAtFirstNeedOnly_ForItsOwnerOnly) {
  const MasterKeySource source(dir_, std::nullopt);
  const auto none = source.Load();
  ASSERT_TRUE(none.has_value());
  EXPECT_FALSE(none->has_value());
  EXPECT_TRUE(std::filesystem::is_empty(dir_));
  const auto made = source.LoadOrCreate();
  ASSERT_TRUE(made.has_value());
  EXPECT_EQ(made->Reveal().size(), kMasterKeyBytes);
  struct stat status{};
  ASSERT_EQ(stat((dir_ + "/master.key").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
  EXPECT_EQ((*source.Load())->Reveal(), made->Reveal());
  EXPECT_EQ(source.LoadOrCreate()->Reveal(), made->Reveal());
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir_), {}), 1);
}

TEST_F(MasterKeyFile, ReadableByOthersOrCut_IsRefused) {
  const MasterKeySource source(dir_, std::nullopt);
  for (const mode_t mode : {0640U, 0604U, 0660U}) {
    Write(std::string(32, 'k'), mode);
    const auto key = source.Load();
    ASSERT_FALSE(key.has_value()) << mode;
    EXPECT_THAT(key.error().detail, HasSubstr("chmod 600"));
    EXPECT_FALSE(source.LoadOrCreate().has_value());
  }
  for (const std::size_t size : {0, 31, 33}) {
    Write(std::string(size, 'k'), 0600);
    const auto key = source.Load();
    ASSERT_FALSE(key.has_value()) << size;
    EXPECT_EQ(key.error().code, ErrorCode::kBadInput);
    EXPECT_THAT(key.error().detail, HasSubstr("backup"));
  }
}

TEST_F(MasterKeyFile, WhatIsGiven_WinsAndWritesNothing) {
  const MasterKeySource source(dir_, Secret(std::string(64, 'a')));
  EXPECT_EQ(source.LoadOrCreate()->Reveal(), std::string(32, '\xaa'));
  EXPECT_EQ((*source.Load())->Reveal(), std::string(32, '\xaa'));
  EXPECT_TRUE(std::filesystem::is_empty(dir_));
  EXPECT_FALSE(MasterKeySource(dir_, Secret("short")).LoadOrCreate().has_value());
  EXPECT_TRUE(std::filesystem::is_empty(dir_));
}

TEST_F(MasterKeyFile, AFileForRotation_HasBytesOrTheirText) {
  const std::string path = dir_ + "/master.key";
  for (const std::string& text :
       {std::string(32, '\xaa'), std::string(64, 'a'), std::string(64, 'a') + "\n"}) {
    Write(text, 0600);
    const auto key = ReadMasterKeyFile(path);
    ASSERT_TRUE(key.has_value()) << text.size();
    EXPECT_EQ(key->Reveal(), std::string(32, '\xaa'));
  }
  Write("not a key", 0600);
  EXPECT_THAT(ReadMasterKeyFile(path).error().detail, Not(HasSubstr("not a key")));
  EXPECT_FALSE(ReadMasterKeyFile(dir_ + "/none").has_value());
}

}  // namespace
}  // namespace weir::store
