#include "gateway/sandbox_text.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace weir::gateway {
namespace {

TEST(SandboxText, Prefix_NeverCutsACharacter) {
  const std::string_view text = "a\xC3\xBC\xF0\x9F\x98\x80z";  // 1 + 2 + 4 + 1 bytes
  const std::size_t expected[] = {0, 1, 1, 3, 3, 3, 3, 7, 8, 8};
  for (std::size_t n = 0; n < std::size(expected); ++n) {
    EXPECT_EQ(Utf8Prefix(text, n).size(), expected[n]) << n;
  }
  EXPECT_EQ(Utf8Prefix("\x80\x80\x80", 2).size(), 0u) << "not UTF-8: no loop, no byte before it";
}

TEST(SandboxText, Pieces_AreWordsAndJoinToTheText) {
  const std::string text = "one, two  three\n\n" + std::string(200, 'x') + "\xC3\xBC\xC3\xBC end";
  std::string joined;
  std::string_view left = text;
  EXPECT_EQ(NextPiece(left, 1), "one, ");
  while (!left.empty()) {
    const auto piece = NextPiece(left, 1);
    ASSERT_FALSE(piece.empty());
    EXPECT_LE(piece.size(), 65u + 3);
    joined += piece;
    left.remove_prefix(piece.size());
    if (!left.empty()) EXPECT_NE(static_cast<unsigned char>(left.front()) & 0xC0, 0x80);
  }
  EXPECT_EQ(joined, text);
  EXPECT_EQ(NextPiece("ab cd ef", 4), "ab cd ");
  EXPECT_EQ(NextPiece("ab", 100), "ab");
  EXPECT_EQ(NextPiece("", 1), "");
}

TEST(SandboxText, Tokens_AreBytesByFourRoundedUp) {
  EXPECT_EQ(TokensOfBytes(0), 0);
  EXPECT_EQ(TokensOfBytes(1), 1);
  EXPECT_EQ(TokensOfBytes(4), 1);
  EXPECT_EQ(TokensOfBytes(5), 2);
  EXPECT_EQ(TokensOfBytes(SIZE_MAX), INT64_C(1) << 62);
}

TEST(SandboxText, Hash_DependsOnEveryByteAndTheSeed) {
  std::set<std::uint64_t> seen;
  std::string text(20, 'a');
  seen.insert(HashBytes(text, 0));
  seen.insert(HashBytes(text, 1));
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string other = text;
    other[i] = 'b';
    seen.insert(HashBytes(other, 0));
    seen.insert(HashBytes(std::string_view(text).substr(0, i), 0));
  }
  EXPECT_EQ(seen.size(), 2 + 2 * text.size());
  EXPECT_EQ(HashBytes(text, 0), HashBytes(std::string(20, 'a'), 0));
}

TEST(SandboxText, Hex_HasTheDigitsAskedFor) {
  for (const std::size_t digits :
       {std::size_t{0}, std::size_t{1}, std::size_t{16}, std::size_t{48}}) {
    std::string out;
    AppendHex(out, 7, digits);
    EXPECT_EQ(out.size(), digits);
    EXPECT_EQ(out.find_first_not_of("0123456789abcdef"), std::string::npos);
  }
}

}  // namespace
}  // namespace weir::gateway
