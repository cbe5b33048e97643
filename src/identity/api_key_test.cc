// Keys: the grammar by vectors that were computed outside this program (Python's hmac and zlib).
#include "identity/api_key.h"

#include <gtest/gtest.h>

#include <set>

namespace weir::identity {
namespace {

std::array<std::uint8_t, 32> Bytes(std::uint8_t fill) {
  std::array<std::uint8_t, 32> bytes{};
  bytes.fill(fill);
  return bytes;
}

std::array<std::uint8_t, 32> Counting() {
  std::array<std::uint8_t, 32> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i);
  return bytes;
}

std::string Hex(const KeyDigest& digest) {
  std::string text;
  for (const std::uint8_t b : digest.bytes) {
    text += "0123456789abcdef"[b >> 4];
    text += "0123456789abcdef"[b & 15];
  }
  return text;
}

TEST(GenerateKey, Vectors_MatchAnIndependentImplementation) {
  struct Case {
    std::string_view prefix;
    std::array<std::uint8_t, 32> bytes;
    std::string_view want;
  };
  const Case cases[] = {
      {"wr_", Bytes(0), "wr_00000000000000000000000000000000000000000001SPzYw"},
      {"wr_", Bytes(255), "wr_yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp14B4jrO"},
      {"qf_", Counting(), "qf_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf1ospwi"},
      {"qta_production_", Counting(),
       "qta_production_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf3QwJPg"},
      {"", Bytes(1), "0El6XFXwsUFD8J2vGxsaboW7rZYnQRBP5d9erwRwd291Whv5k"},
  };
  for (const Case& c : cases) {
    const Secret key = GenerateKey(c.prefix, c.bytes);
    EXPECT_EQ(key.Reveal(), c.want);
    EXPECT_EQ(key.Reveal().size(), c.prefix.size() + 49);
    EXPECT_TRUE(LooksGenerated(key.Reveal(), c.prefix));
    EXPECT_TRUE(PlausibleKey(key.Reveal(), c.prefix));
  }
}

TEST(GenerateKey, EveryRandomBit_ChangesTheKey) {
  std::set<std::string> seen{std::string(GenerateKey("wr_", Bytes(0)).Reveal())};
  for (std::size_t bit = 0; bit < 256; ++bit) {
    auto bytes = Bytes(0);
    bytes[bit / 8] = static_cast<std::uint8_t>(1U << (bit % 8));
    EXPECT_TRUE(seen.emplace(GenerateKey("wr_", bytes).Reveal()).second) << bit;
  }
}

TEST(LooksGenerated, AnyChangedCharacter_IsNoticed) {
  const std::string key(GenerateKey("qf_", Counting()).Reveal());
  for (std::size_t i = 0; i < key.size(); ++i) {
    std::string changed = key;
    changed[i] = changed[i] == 'a' ? 'b' : 'a';
    EXPECT_FALSE(LooksGenerated(changed, "qf_")) << i;
  }
  EXPECT_FALSE(LooksGenerated(key.substr(0, key.size() - 1), "qf_"));
  EXPECT_FALSE(LooksGenerated(key + "a", "qf_"));
  EXPECT_FALSE(LooksGenerated(key, "wr_"));
  EXPECT_FALSE(LooksGenerated("", "qf_"));
  EXPECT_FALSE(LooksGenerated("", ""));
}

TEST(PlausibleKey, OnlyAMistypedKey_IsImplausible) {
  const std::string key(GenerateKey("qf_", Counting()).Reveal());
  std::string mistyped = key;
  mistyped.back() = mistyped.back() == 'a' ? 'b' : 'a';
  EXPECT_FALSE(PlausibleKey(mistyped, "qf_"));
  mistyped = key;
  std::swap(mistyped[10], mistyped[11]);
  EXPECT_FALSE(PlausibleKey(mistyped, "qf_"));
  // Whatever an operator may have chosen is plausible.
  for (const std::string& chosen :
       {std::string("sk-test"), std::string("qf_short"), std::string("qf_") + std::string(49, '-'),
        std::string(512, 'x'), std::string("secret with blanks"), std::string(1, '\0')}) {
    EXPECT_TRUE(PlausibleKey(chosen, "qf_")) << chosen;
  }
  EXPECT_FALSE(PlausibleKey("", "qf_"));
  EXPECT_FALSE(PlausibleKey(std::string(513, 'x'), "qf_"));
}

TEST(Pepper, Digest_IsHmacSha256) {
  // RFC 4231, test cases 1, 2 and 6 (a key longer than a block).
  EXPECT_EQ(Hex(Pepper(std::string(20, '\x0b')).Digest("Hi There")),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(Hex(Pepper("Jefe").Digest("what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(Hex(Pepper(std::string(131, '\xaa'))
                    .Digest("Test Using Larger Than Block-Size Key - Hash Key First")),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST(Pepper, EveryLengthAroundABlock_AgreesWithOneUpdate) {
  // A digest of a text must not depend on where SHA-256's blocks fall; 55, 56 and 64 are the edges.
  const Pepper pepper("pepper");
  std::set<std::string> seen;
  for (std::size_t n = 0; n <= 130; ++n) {
    EXPECT_TRUE(seen.insert(Hex(pepper.Digest(std::string(n, 'k')))).second) << n;
    EXPECT_EQ(pepper.Digest(std::string(n, 'k')), pepper.Digest(std::string(n, 'k')));
  }
  EXPECT_NE(Pepper("pepper").Digest("k"), Pepper("Pepper").Digest("k"));
}

TEST(KeyDigest, Equality_SeesEveryByte) {
  const KeyDigest a = Pepper("p").Digest("k");
  EXPECT_TRUE(EqualsInConstantTime(a, a));
  for (std::size_t i = 0; i < a.bytes.size(); ++i) {
    KeyDigest b = a;
    b.bytes[i] ^= 1;
    EXPECT_FALSE(EqualsInConstantTime(a, b)) << i;
  }
}

TEST(DisplayKey, ShowsPrefixAndLastFour_ButNeverMostOfASecret) {
  const std::string key(GenerateKey("qf_", Counting()).Reveal());
  EXPECT_EQ(DisplayKey(key, "qf_"), "qf_..." + key.substr(key.size() - 4));
  EXPECT_EQ(DisplayKey("sk-0123456789abcdef", "qf_"), "...cdef");
  EXPECT_EQ(DisplayKey("qf_0123456789abcdef", "qf_"), "qf_...cdef");
  EXPECT_EQ(DisplayKey("qf_0123456789abcde", "qf_"), "qf_...");
  EXPECT_EQ(DisplayKey("", "qf_"), "...");
}

}  // namespace
}  // namespace weir::identity
