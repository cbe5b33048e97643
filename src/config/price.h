// What one unit of a model costs, in every dimension that providers sell by.
//
// Integers only: pico-USD for a token, nano-USD for what is sold in larger pieces. Invariants of a
// price that PriceFault finds nothing wrong with, which is every price a Config holds:
//
//  1. No rate is negative or above its maximum, so that no sum of a request overflows.
//  2. No rate falls from one tier to the next. With that the price of a request never falls when
//     any quantity rises, which is why usage within the bounds costs at most the hold.
//
// A Price is plain: copying one without tiers and images allocates nothing.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/money.h"
#include "base/usage.h"

namespace weir::config {

// A rate that is not given. What is charged then stands beside the rate.
inline constexpr PicoUsdPerUnit kNotGiven{-1};

// What tokens cost. Every token of the input is charged once: as cached, written, audio or plain;
// every token of the output as reasoning, audio or plain.
struct TokenRates {
  PicoUsdPerUnit input = {};
  PicoUsdPerUnit cached_input = {};
  PicoUsdPerUnit cache_write = {};
  PicoUsdPerUnit cache_write_1h = kNotGiven;  // as cache_write
  PicoUsdPerUnit input_audio = kNotGiven;     // as input
  PicoUsdPerUnit output = {};
  PicoUsdPerUnit reasoning = kNotGiven;     // as output
  PicoUsdPerUnit output_audio = kNotGiven;  // as output
  friend bool operator==(const TokenRates&, const TokenRates&) = default;
};

// The rates by number, for tables and loops. Frozen: the order is that of the encoded price.
inline constexpr std::size_t kTokenRates = 8;
inline constexpr std::array<PicoUsdPerUnit TokenRates::*, kTokenRates> kTokenRate = {
    &TokenRates::input,       &TokenRates::cached_input, &TokenRates::cache_write,
    &TokenRates::output,      &TokenRates::reasoning,    &TokenRates::cache_write_1h,
    &TokenRates::input_audio, &TokenRates::output_audio};
inline constexpr std::array<std::string_view, kTokenRates> kTokenRateName = {
    "input",     "cached_input",   "cache_write", "output",
    "reasoning", "cache_write_1h", "input_audio", "output_audio"};

// From `above_input_tokens` + 1 tokens of input on, these rates are those of the whole request, its
// output included.
struct PriceTier {
  std::int64_t above_input_tokens = 0;
  TokenRates rates;
  friend bool operator==(const PriceTier&, const PriceTier&) = default;
};

// What an image of this size and quality costs. An empty text stands for any.
struct ImagePrice {
  std::string size;     // "1024x1024"
  std::string quality;  // "high"
  NanoUsd each = {};
  friend bool operator==(const ImagePrice&, const ImagePrice&) = default;
};

// The members before `per_request` are TokenRates, flat because most prices have no tier.
struct Price {
  PicoUsdPerUnit input = {};
  PicoUsdPerUnit cached_input = {};
  PicoUsdPerUnit cache_write = {};
  PicoUsdPerUnit cache_write_1h = kNotGiven;
  PicoUsdPerUnit input_audio = kNotGiven;
  PicoUsdPerUnit output = {};
  PicoUsdPerUnit reasoning = kNotGiven;
  PicoUsdPerUnit output_audio = kNotGiven;
  NanoUsd per_request = {};
  // Of a second of audio, besides its tokens. A nano-USD a second is a pico-USD a millisecond, so
  // the price of whole milliseconds is exact.
  NanoUsd audio_second = {};
  NanoUsd video_second = {};
  NanoUsd tool_call = {};             // a search or another tool that the provider runs and bills
  std::vector<PriceTier> tiers = {};  // by rising above_input_tokens
  std::vector<ImagePrice> images = {};
  // Kept with every charge. What the file says, else DerivedVersion.
  std::uint32_t version = 1;

  friend bool operator==(const Price&, const Price&) = default;
};

inline constexpr PicoUsdPerUnit kTokenRateMax{1'000'000'000'000};  // one USD a token
inline constexpr NanoUsd kUnitPriceMax{1'000 * kNanoPerUsd};       // of a request, an image, ...
inline constexpr std::int64_t kTierTokensMax = std::int64_t{1} << 40;
inline constexpr std::size_t kPriceTiersMax = 8;
inline constexpr std::size_t kImagePricesMax = 64;
inline constexpr std::size_t kImageTextMax = 32;  // bytes of a size or a quality

// The rates of a price below its first tier.
constexpr TokenRates BaseRates(const Price& price) {
  return {.input = price.input,
          .cached_input = price.cached_input,
          .cache_write = price.cache_write,
          .cache_write_1h = price.cache_write_1h,
          .input_audio = price.input_audio,
          .output = price.output,
          .reasoning = price.reasoning,
          .output_audio = price.output_audio};
}

constexpr void SetBaseRates(Price& price, const TokenRates& rates) {
  price.input = rates.input;
  price.cached_input = rates.cached_input;
  price.cache_write = rates.cache_write;
  price.cache_write_1h = rates.cache_write_1h;
  price.input_audio = rates.input_audio;
  price.output = rates.output;
  price.reasoning = rates.reasoning;
  price.output_audio = rates.output_audio;
}

// The same with no rate left open: what each token is charged.
TokenRates Resolved(const TokenRates& rates);

// The same price in its shortest form: a rate equal to what it would be if it were not given is
// not given. Prices that charge the same have the same canonical form, but for their version.
Price Canonical(const Price& price);

// What is wrong with a price, in a sentence that names the rate; nothing if it is in order.
std::optional<std::string> PriceFault(const Price& price);

// Which of the price's images an image of this size and quality is: the one that names both, else
// the size, else the quality, else neither. Nothing when none fits; it is then charged as the
// dearest (kDearestImage).
std::optional<std::uint32_t> ImageOf(const Price& price, std::string_view size,
                                     std::string_view quality);

}  // namespace weir::config
