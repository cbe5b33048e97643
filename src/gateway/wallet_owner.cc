#include "gateway/wallet_owner.h"

#include <algorithm>

#include "routing/balancer.h"

namespace weir::gateway {
namespace {

// Two hashes of one name make 128 bits; these keep them apart. Frozen: wallets are on disk.
constexpr std::uint64_t kHighScope = 0x77616c6c65742d68;
constexpr std::uint64_t kLowScope = 0x77616c6c65742d6c;
constexpr std::uint64_t kUnitSpread = 0x9E3779B97F4A7C15;
constexpr std::int64_t kNanoPerMillionth = 1'000;

std::uint64_t Spread(ledger::Unit unit) {
  return (static_cast<std::uint64_t>(unit) + 1) * kUnitSpread;
}

}  // namespace

std::optional<ledger::Unit> UnitOf(config::WalletKind kind) {
  switch (kind) {
    case config::WalletKind::kNone:
      return std::nullopt;
    case config::WalletKind::kQuotaTokens:
      return ledger::Unit::kQuotaToken;
    case config::WalletKind::kUsd:
      return ledger::Unit::kNanoUsd;
  }
  return std::nullopt;
}

ledger::WalletId WalletOfKey(const KeyId& key, ledger::Unit unit) {
  return {{key.high, key.low ^ Spread(unit)}};
}

ledger::WalletId WalletOfWorkspace(std::string_view workspace, ledger::Unit unit) {
  return {{routing::HashText(workspace, kHighScope),
           routing::HashText(workspace, kLowScope) ^ Spread(unit)}};
}

ledger::WalletId WalletOf(const identity::KeyRecord& key, ledger::Unit unit) {
  return key.workspace.empty() ? WalletOfKey(key.id, unit) : WalletOfWorkspace(key.workspace, unit);
}

ledger::Amount WalletAmount(std::int64_t written, ledger::Unit unit) {
  if (unit != ledger::Unit::kNanoUsd)
    return {std::clamp<std::int64_t>(written, 0, ledger::kMaxAmount.n)};
  return ledger::Clipped(static_cast<ledger::Sum>(std::max<std::int64_t>(written, 0)) *
                         kNanoPerMillionth);
}

}  // namespace weir::gateway
