// The body of the fuzz target of price_codec, shared with price_codec_test.cc, which runs every
// kept input as an ordinary test. A broken property ends the process. Not part of the library.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "config/price_codec.h"

namespace weir::config::fuzz {

// Whatever decodes is in order, and has these bytes and no others.
inline void PriceCodecEntry(std::string_view input) {
  const std::span bytes(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
  const auto price = DecodePrice(bytes);
  if (!price) {
    CHECK(!Name(price.error()).empty(), "a fault has a name");
    return;
  }
  CHECK(!PriceFault(*price), "what decodes is in order");
  std::vector<std::uint8_t> again;
  EncodePrice(*price, again);
  CHECK(std::ranges::equal(again, bytes), "a price has one form");
  CHECK(IdOf(*price) == IdOf(bytes), "and one id");
  CHECK(Canonical(*price) == *price, "which is the canonical one");
  CHECK(DerivedVersion(*price) != 0, "a version is not 0");
}

}  // namespace weir::config::fuzz
