// What a wallet pays for usage: quota tokens or dollars, times a route's multiplier. The same laws
// as policy/quote: exact, rounded once and up, and usage within the bounds costs at most the hold.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/usage.h"
#include "config/config.h"
#include "ledger/account.h"
#include "policy/quote.h"

namespace weir::policy {

inline constexpr std::int64_t kMultiplierOne = 1'000'000;
inline constexpr std::int64_t kMultiplierMax = 1'000 * kMultiplierOne;

struct WalletRate {
  ledger::Unit unit = ledger::Unit::kQuotaToken;
  std::int64_t multiplier_ppm = kMultiplierOne;  // 0 .. kMultiplierMax
  friend bool operator==(const WalletRate&, const WalletRate&) = default;
};

// Quota tokens: (input + output) x multiplier. Dollars: the price x multiplier, rounded once from
// the exact price. Nothing for usage of source kNone.
//   source  5,200 tokens x 3 = 15,600 (Quota.host's page)
ledger::Amount WalletPriceOf(const WalletRate& rate, const config::Price& price,
                             const Usage& usage);

// The least amount that no usage within the bounds can exceed. Saturates at kMaxAmount.
ledger::Amount WalletHoldOf(const WalletRate& rate, const config::Price& price,
                            const TokenBounds& bounds);

// The largest output per choice, at most `output_max`, whose hold is within `amount`; as
// OutputFitting.
std::optional<std::int64_t> WalletOutputFitting(const WalletRate& rate, const config::Price& price,
                                                const TokenBounds& bounds, std::int64_t choices,
                                                std::int64_t output_max, ledger::Amount amount);

// "x3", "x0.5": as replies show it.
std::string MultiplierText(std::int64_t multiplier_ppm);

}  // namespace weir::policy
