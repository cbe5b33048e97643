#include "policy/quote.h"

#include <algorithm>

namespace weir::policy {
namespace {

constexpr std::int64_t kBytesPerToken = 4;
constexpr std::int64_t kOutputTokensTaken = 1024;

std::int64_t Clamped(std::int64_t tokens) {
  return std::clamp<std::int64_t>(tokens, 0, kTokensMax);
}

// nUSD a second x ms = pUSD, exact.
PicoUsd AudioPrice(const config::Price& price, std::int64_t audio_ms) {
  return static_cast<PicoUsd>(price.audio_second.n) * audio_ms;
}

// What a request costs before its first token of output, at the most.
PicoUsd InputHold(const config::Price& price, const TokenBounds& bounds) {
  const PicoUsdPerUnit dearest = std::max({price.input, price.cached_input, price.cache_write});
  return Times(dearest, Clamped(bounds.input)) + AudioPrice(price, Clamped(bounds.audio_ms)) +
         static_cast<PicoUsd>(price.per_request.n) * 1000;
}

}  // namespace

Usage Plausible(const Usage& usage) {
  Usage plausible = usage;
  plausible.input_tokens = Clamped(usage.input_tokens);
  plausible.cached_input_tokens =
      std::clamp<std::int64_t>(usage.cached_input_tokens, 0, plausible.input_tokens);
  plausible.cache_write_tokens = std::clamp<std::int64_t>(
      usage.cache_write_tokens, 0, plausible.input_tokens - plausible.cached_input_tokens);
  plausible.output_tokens = Clamped(usage.output_tokens);
  plausible.reasoning_tokens =
      std::clamp<std::int64_t>(usage.reasoning_tokens, 0, plausible.output_tokens);
  plausible.audio_ms = Clamped(usage.audio_ms);
  return plausible;
}

PicoUsd ExactPrice(const config::Price& price, const Usage& usage) {
  const Usage used = Plausible(usage);
  const std::int64_t plain_input =
      used.input_tokens - used.cached_input_tokens - used.cache_write_tokens;
  return Times(price.input, plain_input) + Times(price.cached_input, used.cached_input_tokens) +
         Times(price.cache_write, used.cache_write_tokens) +
         Times(price.output, used.output_tokens) + AudioPrice(price, used.audio_ms) +
         static_cast<PicoUsd>(price.per_request.n) * 1000;
}

NanoUsd PriceOf(const config::Price& price, const Usage& usage) {
  return usage.source == UsageSource::kNone ? NanoUsd{0} : CeilToNano(ExactPrice(price, usage));
}

NanoUsd HoldOf(const config::Price& price, const TokenBounds& bounds) {
  return CeilToNano(InputHold(price, bounds) + Times(price.output, Clamped(bounds.output)));
}

std::optional<std::int64_t> OutputFitting(const config::Price& price, const TokenBounds& bounds,
                                          std::int64_t choices, std::int64_t output_max,
                                          NanoUsd amount) {
  // CeilToNano(sum) <= amount is the same as sum <= amount x 1000: no rounding is needed here.
  const PicoUsd left = static_cast<PicoUsd>(amount.n) * 1000 - InputHold(price, bounds);
  if (left < 0) return std::nullopt;
  const PicoUsd each = Times(price.output, std::max<std::int64_t>(choices, 1));
  if (each == 0 || left / each >= output_max) return std::max<std::int64_t>(output_max, 0);
  return static_cast<std::int64_t>(left / each);
}

std::int64_t TokensTaken(const TokenBounds& bounds) {
  const std::int64_t input = Clamped(bounds.input);
  return (input + kBytesPerToken - 1) / kBytesPerToken +
         std::min(Clamped(bounds.output), kOutputTokensTaken);
}

}  // namespace weir::policy
