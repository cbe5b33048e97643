#include "base/money.h"

namespace weir {
namespace {

// Parses a plain decimal with at most `decimals` fraction digits into units of 10^-decimals.
// Refuses anything else (exponents, signs other than a leading '-', more digits, overflow).
std::optional<std::int64_t> ParseDecimal(std::string_view text, int decimals) {
  bool negative = false;
  if (!text.empty() && text.front() == '-') {
    negative = true;
    text.remove_prefix(1);
  }
  std::int64_t value = 0;
  int fraction_digits = -1;  // -1 until the point was seen
  bool any_digit = false;
  for (const char c : text) {
    if (c == '.') {
      if (fraction_digits >= 0 || !any_digit) return std::nullopt;
      fraction_digits = 0;
      continue;
    }
    if (c < '0' || c > '9') return std::nullopt;
    any_digit = true;
    if (fraction_digits >= 0 && ++fraction_digits > decimals) {
      if (c != '0') return std::nullopt;  // more precision than we can keep: say so, do not round
      continue;
    }
    if (__builtin_mul_overflow(value, 10, &value)) return std::nullopt;
    if (__builtin_add_overflow(value, c - '0', &value)) return std::nullopt;
  }
  if (!any_digit || text.back() == '.') return std::nullopt;
  for (int i = fraction_digits < 0 ? 0 : fraction_digits; i < decimals; ++i) {
    if (__builtin_mul_overflow(value, 10, &value)) return std::nullopt;
  }
  return negative ? -value : value;
}

}  // namespace

std::optional<NanoUsd> ParseUsd(std::string_view text) {
  const auto value = ParseDecimal(text, 9);
  if (!value || *value > kMaxNanoUsd.n || *value < -kMaxNanoUsd.n) return std::nullopt;
  return NanoUsd{*value};
}

std::string FormatUsd(NanoUsd amount) {
  const bool negative = amount.n < 0;
  const auto magnitude =
      negative ? 0 - static_cast<std::uint64_t>(amount.n) : static_cast<std::uint64_t>(amount.n);
  std::string text = negative ? "-" : "";
  text += std::to_string(magnitude / kNanoPerUsd);
  std::string fraction = std::to_string(magnitude % kNanoPerUsd);
  fraction.insert(0, 9 - fraction.size(), '0');
  while (!fraction.empty() && fraction.back() == '0') fraction.pop_back();
  if (!fraction.empty()) text += "." + fraction;
  return text;
}

std::optional<PicoUsdPerUnit> ParseUsdPerMillion(std::string_view text) {
  const auto value = ParseDecimal(text, 6);
  if (!value || *value < 0) return std::nullopt;
  return PicoUsdPerUnit{*value};
}

}  // namespace weir
