#include "prices/decimal.h"

#include <algorithm>
#include <string>

namespace weir::prices {
namespace {

constexpr std::size_t kDigitsMax = 40;
constexpr std::int64_t kExponentMax = 10'000;
constexpr std::int64_t kValueMax = std::int64_t{1} << 61;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// What a number is before it is scaled: digits x 10^exponent.
struct Decimal {
  std::string digits;  // without zeros in front and behind; empty: zero
  std::int64_t exponent = 0;
};

// Takes digits off the front of `text` into `digits`; how many there were.
std::size_t TakeDigits(std::string_view& text, std::string& digits) {
  std::size_t count = 0;
  while (count < text.size() && IsDigit(text[count])) ++count;
  digits.append(text.substr(0, count));
  text.remove_prefix(count);
  return count;
}

// number = int [ frac ] [ exp ]; a minus is no price.
std::optional<Decimal> ReadNumber(std::string_view text) {
  constexpr std::size_t kTextMax = 400;
  if (text.size() > kTextMax) return std::nullopt;
  Decimal number;
  const bool leading_zero = text.starts_with('0');
  const std::size_t whole = TakeDigits(text, number.digits);
  if (whole == 0 || (leading_zero && whole > 1)) return std::nullopt;
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    const std::size_t fraction = TakeDigits(text, number.digits);
    if (fraction == 0) return std::nullopt;
    number.exponent = -static_cast<std::int64_t>(fraction);
  }
  if (text.starts_with('e') || text.starts_with('E')) {
    text.remove_prefix(1);
    const bool negative = text.starts_with('-');
    if (negative || text.starts_with('+')) text.remove_prefix(1);
    std::string digits;
    if (TakeDigits(text, digits) == 0) return std::nullopt;
    std::int64_t exponent = 0;
    for (const char c : digits) exponent = std::min(exponent * 10 + (c - '0'), kExponentMax);
    number.exponent += negative ? -exponent : exponent;
  }
  if (!text.empty()) return std::nullopt;
  while (number.digits.ends_with('0')) {
    number.digits.pop_back();
    ++number.exponent;
  }
  number.digits.erase(0, std::min(number.digits.find_first_not_of('0'), number.digits.size()));
  return number;
}

}  // namespace

std::optional<Scaled> ScaleUp(std::string_view text, int decimals, std::int64_t multiplier) {
  const auto number = ReadNumber(text);
  if (!number) return std::nullopt;
  if (number->digits.empty()) return Scaled{};
  if (number->digits.size() > kDigitsMax) return std::nullopt;
  // digits x multiplier as decimal digits again, so that cutting at any place is exact.
  std::string product;
  unsigned __int128 carry = 0;
  for (std::size_t i = number->digits.size(); i-- > 0;) {
    carry += static_cast<unsigned __int128>(number->digits[i] - '0') *
             static_cast<unsigned __int128>(multiplier);
    product += static_cast<char>('0' + static_cast<int>(carry % 10));
    carry /= 10;
  }
  for (; carry != 0; carry /= 10) product += static_cast<char>('0' + static_cast<int>(carry % 10));
  std::ranges::reverse(product);

  const std::int64_t shift = number->exponent + decimals;
  Scaled scaled;
  std::size_t kept = product.size();
  if (shift < 0) {
    const auto cut = static_cast<std::uint64_t>(-shift);
    kept = cut >= product.size() ? 0 : product.size() - static_cast<std::size_t>(cut);
    scaled.rounded = std::ranges::any_of(std::string_view(product).substr(kept),
                                         [](char c) { return c != '0'; });
  }
  for (std::size_t i = 0; i < kept; ++i) {
    if (scaled.value > kValueMax / 10) return std::nullopt;
    scaled.value = scaled.value * 10 + (product[i] - '0');
  }
  for (std::int64_t i = 0; i < shift; ++i) {
    if (scaled.value > kValueMax / 10) return std::nullopt;
    scaled.value *= 10;
  }
  if (scaled.rounded) ++scaled.value;
  if (scaled.value > kValueMax) return std::nullopt;
  return scaled;
}

}  // namespace weir::prices
