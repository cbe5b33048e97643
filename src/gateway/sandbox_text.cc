#include "gateway/sandbox_text.h"

#include <cstring>

#include "base/random.h"

namespace weir::gateway {
namespace {

constexpr char kHexDigits[] = "0123456789abcdef";

bool IsSpace(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }
bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

}  // namespace

std::string_view Utf8Prefix(std::string_view text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  std::size_t end = bytes_max;
  while (end > 0 && IsContinuation(text[end])) --end;
  return text.substr(0, end);
}

std::string_view NextPiece(std::string_view text, std::size_t bytes_min) {
  const std::size_t bytes_max = bytes_min + 64;
  std::size_t end = bytes_min;
  while (end < text.size() && end < bytes_max && !IsSpace(text[end])) ++end;
  while (end < text.size() && end < bytes_max && IsSpace(text[end])) ++end;
  while (end < text.size() && IsContinuation(text[end])) ++end;
  return text.substr(0, end);
}

std::string AsciiLower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

std::string_view TrimSpace(std::string_view text) {
  while (!text.empty() && IsSpace(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsSpace(text.back())) text.remove_suffix(1);
  return text;
}

std::uint64_t HashBytes(std::string_view bytes, std::uint64_t seed) {
  std::uint64_t hash = seed ^ (bytes.size() * 0x9E3779B97F4A7C15ULL);
  while (!bytes.empty()) {
    std::uint64_t word = 0;
    const std::size_t n = bytes.size() < 8 ? bytes.size() : 8;
    std::memcpy(&word, bytes.data(), n);
    bytes.remove_prefix(n);
    hash = (hash ^ word) * 0xBF58476D1CE4E5B9ULL;
    hash ^= hash >> 32;
  }
  return SeededRandom(hash).Next();
}

void AppendHex(std::string& out, std::uint64_t seed, std::size_t digits) {
  SeededRandom random(seed);
  while (digits > 0) {
    std::uint64_t bits = random.Next();
    for (int i = 0; i < 16 && digits > 0; ++i, --digits, bits >>= 4) out += kHexDigits[bits & 15];
  }
}

}  // namespace weir::gateway
