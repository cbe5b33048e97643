// The small steps of reading JSON text. The two searches, where the time goes, take eight bytes at
// a time.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace weir::dialect {

static_assert(std::endian::native == std::endian::little, "the lowest byte is the first one");

inline constexpr std::uint64_t kEachByte = 0x0101010101010101ULL;

// The high bit of each byte that is zero. Bytes above the lowest zero byte may be marked wrongly
// (the borrow), so only the lowest mark is used.
constexpr std::uint64_t ZeroBytes(std::uint64_t word) {
  return (word - kEachByte) & ~word & (kEachByte * 0x80);
}

constexpr std::uint64_t BytesEqual(std::uint64_t word, unsigned char value) {
  return ZeroBytes(word ^ (kEachByte * value));
}

inline std::uint64_t LoadWord(const char* at) {
  std::uint64_t word = 0;
  std::memcpy(&word, at, sizeof word);
  return word;
}

// The first '"' or '\\' in [at, end), or end.
inline const char* FindQuoteOrBackslash(const char* at, const char* end) {
  for (; end - at >= 8; at += 8) {
    const std::uint64_t word = LoadWord(at);
    const std::uint64_t found = BytesEqual(word, '"') | BytesEqual(word, '\\');
    if (found != 0) return at + std::countr_zero(found) / 8;
  }
  while (at != end && *at != '"' && *at != '\\') ++at;
  return at;
}

// The first '\\' in [at, end), or end.
inline const char* FindBackslash(const char* at, const char* end) {
  for (; end - at >= 8; at += 8) {
    const std::uint64_t found = BytesEqual(LoadWord(at), '\\');
    if (found != 0) return at + std::countr_zero(found) / 8;
  }
  while (at != end && *at != '\\') ++at;
  return at;
}

// The first of '"' '[' ']' '{' '}' in [at, end), or end. '[' and '{', ']' and '}' differ in one
// bit, which is set before comparing.
inline const char* FindQuoteOrBracket(const char* at, const char* end) {
  for (; end - at >= 8; at += 8) {
    const std::uint64_t word = LoadWord(at);
    const std::uint64_t folded = word | (kEachByte * 0x20);
    const std::uint64_t found =
        BytesEqual(word, '"') | BytesEqual(folded, '{') | BytesEqual(folded, '}');
    if (found != 0) return at + std::countr_zero(found) / 8;
  }
  while (at != end && *at != '"' && (*at | 0x20) != '{' && (*at | 0x20) != '}') ++at;
  return at;
}

constexpr bool IsJsonSpace(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

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

// 0..15, or -1.
constexpr int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace weir::dialect
