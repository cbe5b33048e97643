#include "identity/redeem_code.h"

#include <gtest/gtest.h>

#include <array>
#include <set>

#include "base/random.h"

namespace weir::identity {
namespace {

std::array<std::uint8_t, 32> Bytes(SeededRandom& random) {
  std::array<std::uint8_t, 32> bytes{};
  for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random.Next());
  return bytes;
}

std::string Code(std::uint64_t seed, std::string_view prefix = "qta_live_") {
  SeededRandom random(seed);
  return std::string(GenerateCode(prefix, Bytes(random)).Reveal());
}

constexpr std::string_view kAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

TEST(RedeemCode, HasTheBrandsPrefixAndFiveGroups) {
  const std::string code = Code(1);
  EXPECT_EQ(code.size(), 3 + 5 * 5U) << code;
  EXPECT_TRUE(code.starts_with("QTA-")) << code;
  EXPECT_EQ(code.find_first_not_of(std::string(kAlphabet) + "-", 4), std::string::npos) << code;
  EXPECT_TRUE(Code(1, "").starts_with("CODE-"));
  EXPECT_TRUE(Code(1, "averylongprefix_").starts_with("AVERYLON-"));
}

TEST(RedeemCode, AsSomebodyTypesIt_IsTheSame) {
  const std::string code = Code(2);
  const auto normal = NormalCode(code);
  ASSERT_TRUE(normal);
  EXPECT_EQ(normal->size(), kCodeChars);
  std::string lower, dashless, spaced;
  for (const char c : code) {
    lower += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (c != '-') dashless += c;
    spaced += c == '-' ? ' ' : c;
  }
  std::string lookalikes = code;
  for (std::size_t i = 4; i < lookalikes.size(); ++i) {
    if (lookalikes[i] == '0') lookalikes[i] = 'o';
    if (lookalikes[i] == '1') lookalikes[i] = 'l';
  }
  for (const std::string& typed : {lower, dashless, spaced, " " + code + " ", code.substr(4),
                                   "OTHER-" + code.substr(4), lookalikes}) {
    EXPECT_EQ(NormalCode(typed), normal) << typed;
  }
}

TEST(RedeemCode, OneWrongCharacter_IsFound) {
  const std::string normal = *NormalCode(Code(3));
  for (std::size_t i = 0; i < normal.size(); ++i) {
    for (const char other : kAlphabet) {
      if (other == normal[i]) continue;
      std::string wrong = normal;
      wrong[i] = other;
      EXPECT_FALSE(NormalCode(wrong)) << wrong;
    }
  }
}

TEST(RedeemCode, WhatCannotBeOne_IsNone) {
  const std::string code = Code(4);
  for (const std::string& typed :
       {std::string(), std::string("QTA"), code.substr(0, code.size() - 1),
        code.substr(0, code.size() - 1) + "U", code + "!", std::string(65, '0'),
        std::string("\0\0", 2), std::string(20, 'U')}) {
    EXPECT_FALSE(NormalCode(typed)) << typed;
  }
}

TEST(RedeemCode, AreAllDifferent_AndSoAreTheirDigests) {
  const Pepper pepper(std::string(32, 'p'));
  std::set<std::string> codes;
  std::set<KeyDigest> digests;
  for (std::uint64_t seed = 0; seed < 1000; ++seed) {
    const std::string code = Code(seed);
    codes.insert(code);
    digests.insert(DigestOfCode(pepper, *NormalCode(code)));
  }
  EXPECT_EQ(codes.size(), 1000U);
  EXPECT_EQ(digests.size(), 1000U);
  EXPECT_NE(DigestOfCode(pepper, *NormalCode(Code(1))), pepper.Digest(*NormalCode(Code(1))));
}

TEST(RedeemCode, OnlyItsLastGroupIsShown) {
  const std::string normal = *NormalCode(Code(5));
  EXPECT_EQ(DisplayCode(normal), "..." + normal.substr(16));
}

}  // namespace
}  // namespace weir::identity
