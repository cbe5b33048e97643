// Decimal numbers as their characters say them: a price goes from a JSON text to integers without
// ever being a double.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace weir::prices {

struct Scaled {
  std::int64_t value = 0;
  bool rounded = false;  // up, because it was finer than one unit

  friend bool operator==(const Scaled&, const Scaled&) = default;
};

// number x multiplier x 10^decimals, rounded up to a whole: "1.25e-06" with 12 decimals is
// 1,250,000. Nothing for what is no JSON number (RFC 8259), is negative, has more than 40
// significant digits, or gives more than 2^61.
//   multiplier  1 .. 2^40
std::optional<Scaled> ScaleUp(std::string_view number, int decimals, std::int64_t multiplier = 1);

}  // namespace weir::prices
