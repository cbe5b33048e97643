// Ed25519 as RFC 8032 has it, and a file that stays private.
#include "store/receipt_key.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace weir::store {
namespace {

namespace fs = std::filesystem;

Secret SeedOf(std::string_view hex) {
  std::string bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
  }
  return Secret(bytes);
}

// RFC 8032 section 7.1, TEST 2.
constexpr std::string_view kSeed =
    "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
constexpr std::string_view kPublic =
    "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
constexpr std::string_view kSignature =
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";

TEST(ReceiptKey, SignsAsTheStandardsExample) {
  const ReceiptKey key(SeedOf(kSeed));
  EXPECT_EQ(key.public_key(), kPublic);
  EXPECT_EQ(key.Sign("r"), kSignature);
  EXPECT_TRUE(VerifyReceiptSignature("r", kSignature, kPublic));
}

TEST(VerifyReceiptSignature, AnythingElse_DoesNotFit) {
  EXPECT_FALSE(VerifyReceiptSignature("s", kSignature, kPublic));
  EXPECT_FALSE(VerifyReceiptSignature("", kSignature, kPublic));
  EXPECT_FALSE(VerifyReceiptSignature("r", "", kPublic));
  EXPECT_FALSE(VerifyReceiptSignature("r", kSignature, ""));
  EXPECT_FALSE(VerifyReceiptSignature("r", kSignature.substr(2), kPublic));
  EXPECT_FALSE(VerifyReceiptSignature("r", kPublic, kPublic));
  EXPECT_FALSE(VerifyReceiptSignature("r", kSignature, kSignature.substr(0, 64)));
  std::string other(kSignature);
  other[0] = '8';
  EXPECT_FALSE(VerifyReceiptSignature("r", other, kPublic));
  other[0] = 'g';
  EXPECT_FALSE(VerifyReceiptSignature("r", other, kPublic));
}

TEST(ParseReceiptPublicKey, TakesHexOfEitherCase) {
  std::string upper(kPublic);
  for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  EXPECT_EQ(ParseReceiptPublicKey(upper), kPublic);
  for (const std::string_view text : {"", "3d", "x"})
    EXPECT_EQ(ParseReceiptPublicKey(text), std::nullopt);
  EXPECT_EQ(ParseReceiptPublicKey(std::string(64, 'g')), std::nullopt);
  EXPECT_EQ(ParseReceiptPublicKey(std::string(kPublic) + "0"), std::nullopt);
}

TEST(ReceiptKey, IsMadeOnceAndKeptPrivate) {
  const fs::path folder =
      fs::path(testing::TempDir()) / ("receipt_key_" + std::to_string(::getpid()));
  fs::create_directories(folder);
  const auto first = ReceiptKey::LoadOrCreate(folder.string());
  ASSERT_TRUE(first) << first.error().detail;
  EXPECT_EQ(ReceiptKey::LoadOrCreate(folder.string())->public_key(), first->public_key());
  const fs::path file = folder / "receipt.key";
  EXPECT_EQ(fs::status(file).permissions() & (fs::perms::group_all | fs::perms::others_all),
            fs::perms::none);
  fs::permissions(file, fs::perms::group_read, fs::perm_options::add);
  EXPECT_FALSE(ReceiptKey::LoadOrCreate(folder.string()));
  fs::remove(file);
  std::ofstream(file) << "short";
  fs::permissions(file, fs::perms::owner_read);
  EXPECT_FALSE(ReceiptKey::LoadOrCreate(folder.string()));
  fs::remove_all(folder);
}

}  // namespace
}  // namespace weir::store
