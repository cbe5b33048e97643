// A price as bytes, and the number it is known by: what a record that was charged at a price refers
// to, so that it is understood without the configuration of its day.
//
// FROZEN. Version 1; `varint` is unsigned LEB128 in its shortest form:
//
//   price  := 1:u8 given:varint value:varint... [tiers] [images]
//             bit i of `given` says that the i-th of these follows, in this order: the eight rates
//             of kTokenRate (pUSD a token), request, audio_second, video_second, tool_call (nUSD),
//             version; bit 13 tiers, bit 14 images
//   tiers  := count:varint { above_input_tokens:varint given:varint value:varint... }
//             of the eight rates
//   images := count:varint { length:u8 size  length:u8 quality  each:varint }   nUSD
//
// What is zero is not written (of the four rates that may be absent: what is absent is not). The
// form is canonical: Decode takes nothing that Encode does not write, so equal prices have equal
// bytes and equal ids. A new dimension is a new bit, which older programs refuse.
#pragma once

#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/price.h"

namespace weir::config {

// FNV-1a, 64 bits, of the encoded price: an identity among the few prices of one operator, who
// chooses them; nothing to be safe against a forger with.
struct PriceId {
  std::uint64_t n = 0;
  friend constexpr auto operator<=>(PriceId, PriceId) = default;
};

inline constexpr std::size_t kPriceBytesMax = 8192;  // every encoded price is shorter

enum class PriceDecodeFault : std::uint8_t {
  kUnknownVersion,  // written by a newer program
  kMalformed,       // bytes that EncodePrice never writes
  kNotAPrice,       // a price that PriceFault would refuse
};

std::string_view Name(PriceDecodeFault fault);

// Appends the canonical form of a price. REQUIRES that PriceFault finds nothing.
void EncodePrice(const Price& price, std::vector<std::uint8_t>& out);

// The price of exactly these bytes. Safe on any bytes.
std::expected<Price, PriceDecodeFault> DecodePrice(std::span<const std::uint8_t> bytes);

PriceId IdOf(std::span<const std::uint8_t> encoded);
PriceId IdOf(const Price& price);

// "00f3a1..." : sixteen hexadecimal digits.
std::string Format(PriceId id);

// The version of a price whose file gives none: the same for the same rates, on every start and
// every node, and another one for others. Never 0. The price's own version is not looked at.
std::uint32_t DerivedVersion(const Price& price);

}  // namespace weir::config
