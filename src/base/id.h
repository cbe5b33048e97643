// Identifiers: 128 bits, time first, so that append-only tables stay in order.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/time.h"

namespace weir {

// 48 bits of milliseconds since 1970, then 80 random bits (the layout of a ULID). The text form
// is 26 characters of Crockford base32, which sorts like the number.
struct Id128 {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  friend constexpr auto operator<=>(const Id128&, const Id128&) = default;
  constexpr bool empty() const { return high == 0 && low == 0; }
};

// One type for each kind of thing: a request id is not a key id.
struct RequestId : Id128 {};
struct KeyId : Id128 {};

Id128 MakeId(Instant now, std::uint64_t random_high, std::uint64_t random_low);

// 26 characters, upper case.
std::array<char, 26> IdText(const Id128& id);
std::string ToString(const Id128& id);
std::optional<Id128> ParseId(std::string_view text);

struct IdHash {
  std::size_t operator()(const Id128& id) const {
    return static_cast<std::size_t>((id.high * 0x9E3779B97F4A7C15ULL) ^ id.low);
  }
};

}  // namespace weir
