// Money as integers.
//
// Amounts are nano-USD (1e-9 USD) in an int64: +-9.2e9 USD an account. Prices are pico-USD
// (1e-12 USD) per unit, because a token at 0.02 USD per million is 20,000 pUSD but only 20 nUSD.
// A request is priced exactly in pUSD and rounded once, up, to nUSD. There is no floating point
// in this program where money or usage is.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace weir {

// Nano-USD. 1 USD = 1,000,000,000.
struct NanoUsd {
  std::int64_t n = 0;
  friend constexpr auto operator<=>(NanoUsd, NanoUsd) = default;
  friend constexpr NanoUsd operator+(NanoUsd a, NanoUsd b) { return {a.n + b.n}; }
  friend constexpr NanoUsd operator-(NanoUsd a, NanoUsd b) { return {a.n - b.n}; }
};

// Pico-USD per one unit (a token, a second, a request). 1 USD per million tokens = 1,000,000.
struct PicoUsdPerUnit {
  std::int64_t p = 0;
  friend constexpr auto operator<=>(PicoUsdPerUnit, PicoUsdPerUnit) = default;
};

// An exact sum of price x quantity before rounding. 128 bits: no product of two int64 overflows it.
using PicoUsd = __int128;

inline constexpr std::int64_t kNanoPerUsd = 1'000'000'000;
inline constexpr NanoUsd kMaxNanoUsd{INT64_MAX / 4};  // room for sums of a few without overflow

// price x quantity, exact.
constexpr PicoUsd Times(PicoUsdPerUnit price, std::int64_t quantity) {
  return static_cast<PicoUsd>(price.p) * quantity;
}

// Rounds an exact amount up to nano-USD: the one rounding of a charge. REQUIRES amount >= 0.
// Saturates at kMaxNanoUsd, which no budget reaches, so a saturated hold is refused, never free.
constexpr NanoUsd CeilToNano(PicoUsd amount) {
  const PicoUsd nano = (amount + 999) / 1000;
  return nano > kMaxNanoUsd.n ? kMaxNanoUsd : NanoUsd{static_cast<std::int64_t>(nano)};
}

// "12.5", "0.000000001", "-3": plain decimal USD with at most nine decimals, no exponent.
std::optional<NanoUsd> ParseUsd(std::string_view text);

// Plain decimal USD, trailing zeros dropped: 1500000000 -> "1.5".
std::string FormatUsd(NanoUsd amount);

// USD per million units as a decimal text ("2.50", at most six decimals) -> pUSD per unit.
// 1 USD per 1e6 units = 1e12 pUSD / 1e6 = 1e6 pUSD per unit, so six decimals are exact.
std::optional<PicoUsdPerUnit> ParseUsdPerMillion(std::string_view text);

}  // namespace weir
