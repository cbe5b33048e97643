#include "identity/redeem_code.h"

namespace weir::identity {
namespace {

constexpr std::string_view kAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
constexpr std::size_t kGroup = 4;
constexpr std::size_t kPrefixMax = 8;
constexpr std::string_view kScope = "redeem code\n";  // no digest of a key is one of a code

char Upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }

bool IsLetterOrDigit(char c) { return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

// The character that makes `payload` right. Luhn mod N finds every single wrong character and
// nearly every pair that changed places.
char CheckOf(std::string_view payload) {
  const std::size_t n = kAlphabet.size();
  std::size_t sum = 0;
  bool doubled = true;
  for (auto at = payload.rbegin(); at != payload.rend(); ++at, doubled = !doubled) {
    const std::size_t value = kAlphabet.find(*at) * (doubled ? 2 : 1);
    sum += value / n + value % n;
  }
  return kAlphabet[(n - sum % n) % n];
}

}  // namespace

Secret GenerateCode(std::string_view key_prefix, std::span<const std::uint8_t, 32> random_bytes) {
  std::string text;
  for (const char c : key_prefix) {
    if (!IsLetterOrDigit(Upper(c)) || text.size() == kPrefixMax) break;
    text += Upper(c);
  }
  if (text.empty()) text = "CODE";
  // A byte has 256 values, 8 of each character.
  std::string body;
  for (std::size_t i = 0; i + 1 < kCodeChars; ++i) body += kAlphabet[random_bytes[i] % 32];
  body += CheckOf(body);
  for (std::size_t i = 0; i < body.size(); ++i) {
    if (i % kGroup == 0) text += '-';
    text += body[i];
  }
  return Secret(std::move(text));
}

std::optional<std::string> NormalCode(std::string_view typed) {
  if (typed.size() > kCodeTextMax) return std::nullopt;
  // From its end: the prefix may be any word, or left out.
  std::string normal;
  for (auto at = typed.rbegin(); at != typed.rend() && normal.size() < kCodeChars; ++at) {
    char c = Upper(*at);
    if (c == '-' || c == ' ') continue;
    if (c == 'O') c = '0';
    if (c == 'I' || c == 'L') c = '1';
    if (kAlphabet.find(c) == std::string_view::npos) return std::nullopt;
    normal.insert(normal.begin(), c);
  }
  if (normal.size() != kCodeChars) return std::nullopt;
  const std::string_view all = normal;
  if (CheckOf(all.substr(0, kCodeChars - 1)) != all.back()) return std::nullopt;
  return normal;
}

KeyDigest DigestOfCode(const Pepper& pepper, std::string_view normal) {
  std::string text(kScope);
  text += normal;
  return pepper.Digest(text);
}

std::string DisplayCode(std::string_view normal) {
  return "..." + std::string(normal.substr(normal.size() - kGroup));
}

}  // namespace weir::identity
