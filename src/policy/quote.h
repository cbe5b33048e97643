// What usage costs at a price, and what must be held so that it can never cost more.
//
// All sums are exact in pico-USD and rounded once, up. The law everything rests on: usage within
// the bounds costs at most the hold, because every bound is held at the dearest rate that anything
// within it can be charged at, over every tier that the input bound reaches.
#pragma once

#include <cstdint>
#include <optional>

#include "base/money.h"
#include "base/usage.h"
#include "config/config.h"

namespace weir::policy {

// The most a request can use. All >= 0.
struct TokenBounds {
  std::int64_t input = 0;
  std::int64_t output = 0;    // over all choices
  std::int64_t audio_ms = 0;  // of audio to transcribe
  std::int64_t tool_calls = 0;
  std::int64_t images = 0;
  std::int64_t video_ms = 0;
  std::uint32_t image_kind = kDearestImage;  // of all images; which it is when that is known
};

// Counts above this are not usage but a fault of who sent them; they are priced as this.
inline constexpr std::int64_t kTokensMax = std::int64_t{1} << 40;

// Usage as it can be: counts in [0, kTokensMax]; cached, cache-write and audio tokens beside each
// other inside the input, in this order where they do not all fit; reasoning and audio tokens
// inside the output likewise. What an upstream says goes through here before it is priced.
Usage Plausible(const Usage& usage);

// The exact price: each token at the rate of what it is and of the tier that the whole input
// reaches, audio and video by the millisecond, images, tool calls and the request itself by the
// piece.
PicoUsd ExactPrice(const config::Price& price, const Usage& usage);

// ExactPrice, rounded up to nano-USD; nothing for usage of source kNone.
NanoUsd PriceOf(const config::Price& price, const Usage& usage);

// The least amount that no usage within the bounds can exceed. Saturates at kMaxNanoUsd.
NanoUsd HoldOf(const config::Price& price, const TokenBounds& bounds);

// The same before rounding.
PicoUsd ExactHold(const config::Price& price, const TokenBounds& bounds);

// The largest output per choice, at most `output_max`, whose hold is within `amount`. Nothing when
// not even the input fits.
//   bounds   its output is not looked at.
//   choices  >= 1; the output is bought that many times.
std::optional<std::int64_t> OutputFitting(const config::Price& price, const TokenBounds& bounds,
                                          std::int64_t choices, std::int64_t output_max,
                                          NanoUsd amount);

// The same for an exact amount.
std::optional<std::int64_t> OutputFittingExact(const config::Price& price,
                                               const TokenBounds& bounds, std::int64_t choices,
                                               std::int64_t output_max, PicoUsd amount);

// What a request takes of its tokens-per-minute limit at admission: a quarter of the input bound
// (which counts bytes; text has about four to a token) and the output bound up to 1,024 tokens.
// Charging the whole output bound would stop a key that names no maximum after one request of a
// model with 128,000; settling corrects to what was used, exactly, so the rate holds over time and
// only a burst can pass it, by what its open requests use above the estimate.
std::int64_t TokensTaken(const TokenBounds& bounds);

}  // namespace weir::policy
