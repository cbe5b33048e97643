// Whose wallet pays for a call.
#pragma once

#include <optional>
#include <string_view>

#include "config/config.h"
#include "identity/key_record.h"
#include "ledger/record.h"

namespace weir::gateway {

// The unit of the wallets of a package; none for a package without.
std::optional<ledger::Unit> UnitOf(config::WalletKind kind);

// The wallet of a key of its own, and that of a workspace. One for each unit: a package that
// changes its unit changes the wallet.
ledger::WalletId WalletOfKey(const KeyId& key, ledger::Unit unit);
ledger::WalletId WalletOfWorkspace(std::string_view workspace, ledger::Unit unit);

// The workspace's wallet, or the key's own when it has no workspace.
ledger::WalletId WalletOf(const identity::KeyRecord& key, ledger::Unit unit);

// An amount of millionths of a USD or of quota tokens, as files and the admin API write it, in the
// wallet's unit.
ledger::Amount WalletAmount(std::int64_t written, ledger::Unit unit);

}  // namespace weir::gateway
