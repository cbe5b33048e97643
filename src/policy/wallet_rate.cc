#include "policy/wallet_rate.h"

#include <algorithm>

#include "base/check.h"

namespace weir::policy {
namespace {

using ledger::Amount;
using ledger::Unit;

// ppm of nano-USD in pico-USD: pUSD x ppm / this = nUSD.
constexpr PicoUsd kPicoPpmPerNano = PicoUsd{1'000} * kMultiplierOne;

std::int64_t Ppm(const WalletRate& rate) {
  return std::clamp<std::int64_t>(rate.multiplier_ppm, 0, kMultiplierMax);
}

std::int64_t Tokens(std::int64_t tokens) { return std::clamp<std::int64_t>(tokens, 0, kTokensMax); }

Amount Ceil(PicoUsd value, PicoUsd divisor) {
  return ledger::Clipped((value + divisor - 1) / divisor);
}

Amount QuotaTokens(std::int64_t tokens, std::int64_t ppm) {
  return Ceil(static_cast<PicoUsd>(tokens) * ppm, kMultiplierOne);
}

}  // namespace

Amount WalletPriceOf(const WalletRate& rate, const config::Price& price, const Usage& usage) {
  if (usage.source == UsageSource::kNone) return {};
  switch (rate.unit) {
    case Unit::kNanoUsd:
      return Ceil(ExactPrice(price, usage) * Ppm(rate), kPicoPpmPerNano);
    case Unit::kQuotaToken:
      break;
  }
  const Usage used = Plausible(usage);
  return QuotaTokens(used.input_tokens + used.output_tokens, Ppm(rate));
}

Amount WalletHoldOf(const WalletRate& rate, const config::Price& price, const TokenBounds& bounds) {
  switch (rate.unit) {
    case Unit::kNanoUsd:
      return Ceil(ExactHold(price, bounds) * Ppm(rate), kPicoPpmPerNano);
    case Unit::kQuotaToken:
      break;
  }
  return QuotaTokens(Tokens(bounds.input) + Tokens(bounds.output), Ppm(rate));
}

std::optional<std::int64_t> WalletOutputFitting(const WalletRate& rate, const config::Price& price,
                                                const TokenBounds& bounds, std::int64_t choices,
                                                std::int64_t output_max, Amount amount) {
  const std::int64_t ppm = Ppm(rate);
  const std::int64_t most = std::max<std::int64_t>(output_max, 0);
  if (ppm == 0) return most;
  const std::int64_t each = std::max<std::int64_t>(choices, 1);
  // ceil(x x ppm / d) <= amount is the same as x <= floor(amount x d / ppm).
  if (rate.unit == Unit::kNanoUsd) {
    return OutputFittingExact(price, bounds, each, most,
                              static_cast<PicoUsd>(amount.n) * kPicoPpmPerNano / ppm);
  }
  const PicoUsd left = static_cast<PicoUsd>(amount.n) * kMultiplierOne / ppm - Tokens(bounds.input);
  if (left < 0) return std::nullopt;
  return static_cast<std::int64_t>(std::min<PicoUsd>(left / each, most));
}

std::string MultiplierText(std::int64_t multiplier_ppm) {
  const std::int64_t ppm = std::clamp<std::int64_t>(multiplier_ppm, 0, kMultiplierMax);
  std::string text = "x" + std::to_string(ppm / kMultiplierOne);
  std::string decimals = std::to_string(kMultiplierOne + ppm % kMultiplierOne).substr(1);
  decimals.erase(decimals.find_last_not_of('0') + 1);
  return decimals.empty() ? text : text + "." + decimals;
}

}  // namespace weir::policy
