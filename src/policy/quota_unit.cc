#include "policy/quota_unit.h"

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "policy/wallet_rate.h"

namespace weir::policy {
namespace {

constexpr std::int64_t kBytesPerToken = 4;

std::int64_t Count(std::int64_t n) { return std::clamp<std::int64_t>(n, 0, kTokensMax); }

std::int64_t Steps(__int128 n) {
  return static_cast<std::int64_t>(std::clamp<__int128>(n, 0, config::kQuotaMax));
}

WalletRate TokensAt(std::int64_t multiplier_ppm) {
  return {.unit = ledger::Unit::kQuotaToken, .multiplier_ppm = multiplier_ppm};
}

TokenBounds WithOutput(const Demand& demand, std::int64_t output) {
  TokenBounds bounds = demand.bounds;
  bounds.output = output;
  return bounds;
}

}  // namespace

std::int64_t HeldOf(QuotaUnit unit, const Demand& demand, std::int64_t output, NanoUsd usd) {
  const TokenBounds& bounds = demand.bounds;
  switch (unit) {
    case QuotaUnit::kRequests:
    case QuotaUnit::kConcurrent:
      return 1;
    // All of the input may come from a cache, or none of it.
    case QuotaUnit::kInputTokens:
    case QuotaUnit::kCachedTokens:
    case QuotaUnit::kUncachedTokens:
    case QuotaUnit::kContextTokens:
      return Count(bounds.input);
    case QuotaUnit::kOutputTokens:
      return Count(output);
    case QuotaUnit::kTotalTokens:
      return Count(bounds.input) + Count(output);
    case QuotaUnit::kUsd:
    case QuotaUnit::kCredits:
      if (usd < NanoUsd{0}) usd = HoldOf(*demand.price, WithOutput(demand, output));
      return Steps(usd.n);
    case QuotaUnit::kQuotaTokens:
      return WalletHoldOf(TokensAt(demand.multiplier_ppm), {}, WithOutput(demand, output)).n;
    case QuotaUnit::kImages:
      return Count(bounds.images);
    case QuotaUnit::kVideoJobs:
      return Count(demand.video_jobs);
    case QuotaUnit::kVideoSeconds:
      return Count(bounds.video_ms);
    case QuotaUnit::kVideoRerenders:
      return Count(demand.video_rerenders);
    case QuotaUnit::kAudioSeconds:
      return Count(bounds.audio_ms);
    case QuotaUnit::kEmbeddings:
      return Count(demand.embeddings);
    case QuotaUnit::kAttempts:
      return Count(demand.attempts);
    case QuotaUnit::kFallbackAttempts:
      return std::max<std::int64_t>(Count(demand.attempts) - 1, 0);
    case QuotaUnit::kFallbackSpend:
      return Steps(demand.fallback_spend.n);
  }
  return 0;
}

Demand Expected(Demand demand) {
  demand.bounds.input = (Count(demand.bounds.input) + kBytesPerToken - 1) / kBytesPerToken;
  return demand;
}

std::optional<std::int64_t> OutputFitting(QuotaUnit unit, const Demand& demand,
                                          std::int64_t output_max, std::int64_t amount) {
  if (amount < 0) return std::nullopt;
  const std::int64_t choices = std::max<std::int64_t>(demand.choices, 1);
  const std::int64_t most = std::max<std::int64_t>(output_max, 0);
  switch (unit) {
    case QuotaUnit::kOutputTokens:
      return std::min(amount / choices, most);
    case QuotaUnit::kTotalTokens: {
      const std::int64_t left = amount - Count(demand.bounds.input);
      if (left < 0) return std::nullopt;
      return std::min(left / choices, most);
    }
    case QuotaUnit::kUsd:
    case QuotaUnit::kCredits:
      return OutputFitting(*demand.price, demand.bounds, choices, most, NanoUsd{amount});
    case QuotaUnit::kQuotaTokens:
      return WalletOutputFitting(TokensAt(demand.multiplier_ppm), {}, demand.bounds, choices, most,
                                 ledger::Amount{amount});
    default:
      return most;
  }
}

std::string AmountDigits(QuotaUnit unit, std::int64_t steps) {
  const std::int64_t one = config::StepsOf(unit);
  std::string text = std::to_string(steps / one);
  // Credits are whole: what is left of one is not shown.
  if (one == 1 || unit == QuotaUnit::kCredits) return text;
  std::string decimals = std::to_string(one + std::abs(steps % one)).substr(1);
  decimals.erase(decimals.find_last_not_of('0') + 1);
  return decimals.empty() ? text : text + "." + decimals;
}

std::string AmountText(QuotaUnit unit, std::int64_t steps) {
  std::string text = AmountDigits(unit, steps) + " ";
  if (unit == QuotaUnit::kUsd || unit == QuotaUnit::kFallbackSpend) return text + "USD";
  text += Name(unit);
  std::ranges::replace(text, '_', ' ');
  return text;
}

std::int64_t UsedOf(QuotaUnit unit, const Spent& spent, std::int64_t held) {
  const Usage& usage = spent.usage;
  switch (unit) {
    case QuotaUnit::kConcurrent:
    case QuotaUnit::kContextTokens:
      return 0;
    case QuotaUnit::kAttempts:
      return Count(spent.attempts);
    case QuotaUnit::kFallbackAttempts:
      return std::max<std::int64_t>(Count(spent.attempts) - 1, 0);
    case QuotaUnit::kFallbackSpend:
      return Steps(spent.fallback_spend.n);
    default:
      break;
  }
  if (!spent.charged) return 0;
  switch (unit) {
    case QuotaUnit::kInputTokens:
      return usage.input_tokens;
    case QuotaUnit::kOutputTokens:
      return usage.output_tokens;
    case QuotaUnit::kTotalTokens:
      return usage.input_tokens + usage.output_tokens;
    case QuotaUnit::kCachedTokens:
      return usage.cached_input_tokens;
    case QuotaUnit::kUncachedTokens:
      return usage.input_tokens - usage.cached_input_tokens;
    case QuotaUnit::kUsd:
    case QuotaUnit::kCredits:
      return Steps(spent.price.n);
    case QuotaUnit::kQuotaTokens:
      return WalletPriceOf(TokensAt(spent.multiplier_ppm), {}, usage).n;
    case QuotaUnit::kImages:
      return usage.images;
    case QuotaUnit::kVideoSeconds:
      return usage.video_ms;
    case QuotaUnit::kAudioSeconds:
      return usage.audio_ms;
    default:  // known before the call: requests, jobs, rerenders, embeddings
      return held;
  }
}

}  // namespace weir::policy
