#include "policy/quote.h"

#include <algorithm>

namespace weir::policy {
namespace {

constexpr std::int64_t kBytesPerToken = 4;
constexpr std::int64_t kOutputTokensTaken = 1024;

std::int64_t Clamped(std::int64_t count) { return std::clamp<std::int64_t>(count, 0, kTokensMax); }

constexpr PicoUsdPerUnit Or(PicoUsdPerUnit rate, PicoUsdPerUnit otherwise) {
  return rate == config::kNotGiven ? otherwise : rate;
}

// nUSD a unit.
PicoUsd Whole(NanoUsd price, std::int64_t units) {
  return static_cast<PicoUsd>(price.n) * units * 1000;
}

// nUSD a second x ms = pUSD, exact.
PicoUsd ByTime(NanoUsd second, std::int64_t ms) { return static_cast<PicoUsd>(second.n) * ms; }

NanoUsd DearestImage(const config::Price& price) {
  NanoUsd dearest{0};
  for (const config::ImagePrice& image : price.images) dearest = std::max(dearest, image.each);
  return dearest;
}

NanoUsd ImagePriceOf(const config::Price& price, std::uint32_t kind) {
  return kind < price.images.size() ? price.images[kind].each : DearestImage(price);
}

// What is not sold by the token.
PicoUsd BesidesTokens(const config::Price& price, const Usage& used) {
  PicoUsd sum = Whole(price.per_request, 1) + ByTime(price.audio_second, used.audio_ms);
  if (used.tool_calls != 0) sum += Whole(price.tool_call, used.tool_calls);
  if (used.video_ms != 0) sum += ByTime(price.video_second, used.video_ms);
  if (used.images != 0) sum += Whole(ImagePriceOf(price, used.image_kind), used.images);
  return sum;
}

PicoUsd TokenPrice(const config::TokenRates& rates, const Usage& used) {
  const std::int64_t plain_input = used.input_tokens - used.cached_input_tokens -
                                   used.cache_write_tokens - used.input_audio_tokens;
  const std::int64_t plain_output =
      used.output_tokens - used.reasoning_tokens - used.output_audio_tokens;
  return Times(rates.input, plain_input) + Times(rates.cached_input, used.cached_input_tokens) +
         Times(rates.cache_write, used.cache_write_tokens - used.cache_write_1h_tokens) +
         Times(Or(rates.cache_write_1h, rates.cache_write), used.cache_write_1h_tokens) +
         Times(Or(rates.input_audio, rates.input), used.input_audio_tokens) +
         Times(rates.output, plain_output) +
         Times(Or(rates.reasoning, rates.output), used.reasoning_tokens) +
         Times(Or(rates.output_audio, rates.output), used.output_audio_tokens);
}

// The dearest that a token of input and one of output can cost within a bound on the input.
struct Dearest {
  PicoUsdPerUnit input;
  PicoUsdPerUnit output;
};

// A rate that is not given is below all others and never the dearest.
Dearest DearestOf(const config::TokenRates& rates) {
  return {.input = std::max({rates.input, rates.cached_input, rates.cache_write,
                             rates.cache_write_1h, rates.input_audio}),
          .output = std::max({rates.output, rates.reasoning, rates.output_audio})};
}

// Over all tiers that the input can reach, and not of the highest alone: the hold then holds even
// for a table that should never have been loaded.
Dearest DearestWithin(const config::Price& price, std::int64_t input_bound) {
  Dearest dearest = DearestOf(config::BaseRates(price));
  for (const config::PriceTier& tier : price.tiers) {
    if (input_bound <= tier.above_input_tokens) continue;
    const Dearest of_tier = DearestOf(tier.rates);
    dearest.input = std::max(dearest.input, of_tier.input);
    dearest.output = std::max(dearest.output, of_tier.output);
  }
  return dearest;
}

// What a request costs before its first token of output, at the most.
PicoUsd InputHold(const config::Price& price, const Dearest& dearest, const TokenBounds& bounds) {
  return Times(dearest.input, Clamped(bounds.input)) +
         BesidesTokens(price, {.audio_ms = Clamped(bounds.audio_ms),
                               .tool_calls = Clamped(bounds.tool_calls),
                               .images = Clamped(bounds.images),
                               .video_ms = Clamped(bounds.video_ms),
                               .image_kind = bounds.image_kind});
}

}  // namespace

Usage Plausible(const Usage& usage) {
  Usage plausible = usage;
  const auto within = [](std::int64_t count, std::int64_t whole) {
    return std::clamp<std::int64_t>(count, 0, whole);
  };
  plausible.input_tokens = Clamped(usage.input_tokens);
  plausible.cached_input_tokens = within(usage.cached_input_tokens, plausible.input_tokens);
  std::int64_t left = plausible.input_tokens - plausible.cached_input_tokens;
  plausible.cache_write_tokens = within(usage.cache_write_tokens, left);
  plausible.cache_write_1h_tokens =
      within(usage.cache_write_1h_tokens, plausible.cache_write_tokens);
  left -= plausible.cache_write_tokens;
  plausible.input_audio_tokens = within(usage.input_audio_tokens, left);
  plausible.output_tokens = Clamped(usage.output_tokens);
  plausible.reasoning_tokens = within(usage.reasoning_tokens, plausible.output_tokens);
  plausible.output_audio_tokens =
      within(usage.output_audio_tokens, plausible.output_tokens - plausible.reasoning_tokens);
  plausible.audio_ms = Clamped(usage.audio_ms);
  plausible.tool_calls = Clamped(usage.tool_calls);
  plausible.images = Clamped(usage.images);
  plausible.video_ms = Clamped(usage.video_ms);
  return plausible;
}

PicoUsd ExactPrice(const config::Price& price, const Usage& usage) {
  const Usage used = Plausible(usage);
  const config::PriceTier* reached = nullptr;
  for (const config::PriceTier& tier : price.tiers) {
    if (used.input_tokens > tier.above_input_tokens) reached = &tier;
  }
  return TokenPrice(reached == nullptr ? config::BaseRates(price) : reached->rates, used) +
         BesidesTokens(price, used);
}

NanoUsd PriceOf(const config::Price& price, const Usage& usage) {
  return usage.source == UsageSource::kNone ? NanoUsd{0} : CeilToNano(ExactPrice(price, usage));
}

PicoUsd ExactHold(const config::Price& price, const TokenBounds& bounds) {
  const Dearest dearest = DearestWithin(price, Clamped(bounds.input));
  return InputHold(price, dearest, bounds) + Times(dearest.output, Clamped(bounds.output));
}

NanoUsd HoldOf(const config::Price& price, const TokenBounds& bounds) {
  return CeilToNano(ExactHold(price, bounds));
}

std::optional<std::int64_t> OutputFittingExact(const config::Price& price,
                                               const TokenBounds& bounds, std::int64_t choices,
                                               std::int64_t output_max, PicoUsd amount) {
  const Dearest dearest = DearestWithin(price, Clamped(bounds.input));
  const PicoUsd left = amount - InputHold(price, dearest, bounds);
  if (left < 0) return std::nullopt;
  const PicoUsd each = Times(dearest.output, std::max<std::int64_t>(choices, 1));
  if (each == 0 || left / each >= output_max) return std::max<std::int64_t>(output_max, 0);
  return static_cast<std::int64_t>(left / each);
}

std::optional<std::int64_t> OutputFitting(const config::Price& price, const TokenBounds& bounds,
                                          std::int64_t choices, std::int64_t output_max,
                                          NanoUsd amount) {
  // CeilToNano(sum) <= amount is the same as sum <= amount x 1000: no rounding is needed here.
  return OutputFittingExact(price, bounds, choices, output_max,
                            static_cast<PicoUsd>(amount.n) * 1000);
}

std::int64_t TokensTaken(const TokenBounds& bounds) {
  const std::int64_t input = Clamped(bounds.input);
  return (input + kBytesPerToken - 1) / kBytesPerToken +
         std::min(Clamped(bounds.output), kOutputTokensTaken);
}

}  // namespace weir::policy
