// The small steps of reading JSON text. The searches, where the time goes, take sixteen bytes at a
// time.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace weir::dialect {

static_assert(std::endian::native == std::endian::little, "the lowest byte is the first one");

inline std::uint64_t LoadWord(const char* at) {
  std::uint64_t word = 0;
  std::memcpy(&word, at, sizeof word);
  return word;
}

// Sixteen bytes of text; an operator works on each of them.
using Block = unsigned char __attribute__((ext_vector_type(16)));
using BlockFlags = bool __attribute__((ext_vector_type(16)));

inline constexpr std::ptrdiff_t kBlock = sizeof(Block);

inline Block LoadBlock(const char* at) {
  Block block;
  std::memcpy(&block, at, sizeof block);
  return block;
}

// Bit i: whether byte i is set in `marks`, the outcome of comparing blocks.
template <class Marks>
inline std::uint32_t BitsOf(Marks marks) {
  return std::bit_cast<std::uint16_t>(__builtin_convertvector(marks, BlockFlags));
}

// FindFirst, of what is not in the first block. Apart, so that the first look stays small enough to
// stand in its caller.
template <class Wanted>
[[gnu::noinline]] const char* FindFar(const char* at, const char* end, Wanted wanted) {
  for (; end - at >= kBlock; at += kBlock) {
    const std::uint32_t found = BitsOf(wanted(LoadBlock(at)));
    if (found != 0) return at + std::countr_zero(found);
  }
  while (at != end && !wanted(static_cast<unsigned char>(*at))) ++at;
  return at;
}

// FindFirst, where at least a block is left.
template <class Wanted>
inline const char* FindNear(const char* at, const char* end, Wanted wanted) {
  const std::uint32_t found = BitsOf(wanted(LoadBlock(at)));
  if (found != 0) return at + std::countr_zero(found);
  return FindFar(at + kBlock, end, wanted);
}

// The first byte in [at, end) that is `wanted`, or end. `wanted` is asked of blocks, and of single
// bytes where less than a block is left. Most names and values are shorter than a block.
template <class Wanted>
inline const char* FindFirst(const char* at, const char* end, Wanted wanted) {
  return end - at >= kBlock ? FindNear(at, end, wanted) : FindFar(at, end, wanted);
}

inline constexpr auto kQuoteOrBackslash = [](auto c) { return (c == '"') | (c == '\\'); };

// What ends a number or literal.
inline constexpr auto kScalarEnd = [](auto c) {
  return (c == ',') | ((c | 0x20) == '}') | (c == ' ') | (c == '\n') | (c == '\r') | (c == '\t');
};

// The first '"' or '\\' in [at, end), or end.
inline const char* FindQuoteOrBackslash(const char* at, const char* end) {
  return FindFirst(at, end, kQuoteOrBackslash);
}

// The first '\\' in [at, end), or end.
inline const char* FindBackslash(const char* at, const char* end) {
  return FindFirst(at, end, [](auto c) { return c == '\\'; });
}

// The first of '"' '[' ']' '{' '}' in [at, end), or end. '[' and '{', ']' and '}' differ in one
// bit, which is set before comparing.
inline const char* FindQuoteOrBracket(const char* at, const char* end) {
  return FindFirst(at, end, [](auto c) {
    const auto folded = c | 0x20;
    return (c == '"') | (folded == '{') | (folded == '}');
  });
}

constexpr bool IsJsonSpace(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

// The first byte in [at, end) that is not white space, or end.
inline const char* SkipSpace(const char* at, const char* end) {
  return FindFirst(at, end,
                   [](auto c) { return (c != ' ') & (c != '\n') & (c != '\r') & (c != '\t'); });
}

// Where a number or literal that begins at `at` ends: the first of white space, ',', ']' and '}' in
// [at, end), or end.
inline const char* FindScalarEnd(const char* at, const char* end) {
  return FindFirst(at, end, kScalarEnd);
}

// Writes a code point below 0x110000 that is not a surrogate; returns its length.
constexpr std::size_t EncodeUtf8(std::uint32_t code_point, std::array<char, 4>& out) {
  if (code_point < 0x80) {
    out[0] = static_cast<char>(code_point);
    return 1;
  }
  if (code_point < 0x800) {
    out[0] = static_cast<char>(0xC0 | (code_point >> 6));
    out[1] = static_cast<char>(0x80 | (code_point & 0x3F));
    return 2;
  }
  if (code_point < 0x10000) {
    out[0] = static_cast<char>(0xE0 | (code_point >> 12));
    out[1] = static_cast<char>(0x80 | ((code_point >> 6) & 0x3F));
    out[2] = static_cast<char>(0x80 | (code_point & 0x3F));
    return 3;
  }
  out[0] = static_cast<char>(0xF0 | (code_point >> 18));
  out[1] = static_cast<char>(0x80 | ((code_point >> 12) & 0x3F));
  out[2] = static_cast<char>(0x80 | ((code_point >> 6) & 0x3F));
  out[3] = static_cast<char>(0x80 | (code_point & 0x3F));
  return 4;
}

inline constexpr std::array<std::int8_t, 256> kHexDigits = [] {
  std::array<std::int8_t, 256> digits{};
  digits.fill(-1);
  for (std::int8_t i = 0; i < 16; ++i) {
    digits[static_cast<unsigned char>("0123456789abcdef"[i])] = i;
    digits[static_cast<unsigned char>("0123456789ABCDEF"[i])] = i;
  }
  return digits;
}();

// 0..15, or -1.
constexpr int HexDigit(char c) { return kHexDigits[static_cast<unsigned char>(c)]; }

}  // namespace weir::dialect
