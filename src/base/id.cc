#include "base/id.h"

namespace weir {
namespace {

constexpr std::string_view kAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

int Digit(char c) {
  if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  const auto at = kAlphabet.find(c);
  return at == std::string_view::npos ? -1 : static_cast<int>(at);
}

}  // namespace

Id128 MakeId(Instant now, std::uint64_t random_high, std::uint64_t random_low) {
  const auto ms = static_cast<std::uint64_t>(now.ns / 1'000'000);
  return {(ms << 16) | (random_high & 0xFFFF), random_low};
}

std::array<char, 26> IdText(const Id128& id) {
  std::array<char, 26> text{};
  unsigned __int128 value = (static_cast<unsigned __int128>(id.high) << 64) | id.low;
  for (std::size_t i = text.size(); i-- > 0;) {
    text[i] = kAlphabet[static_cast<std::size_t>(value & 31)];
    value >>= 5;
  }
  return text;
}

std::string ToString(const Id128& id) {
  const auto text = IdText(id);
  return {text.data(), text.size()};
}

std::optional<Id128> ParseId(std::string_view text) {
  if (text.size() != 26 || Digit(text.front()) < 0 || Digit(text.front()) > 7) return std::nullopt;
  unsigned __int128 value = 0;
  for (const char c : text) {
    const int digit = Digit(c);
    if (digit < 0) return std::nullopt;
    value = (value << 5) | static_cast<unsigned>(digit);
  }
  return Id128{static_cast<std::uint64_t>(value >> 64), static_cast<std::uint64_t>(value)};
}

}  // namespace weir
