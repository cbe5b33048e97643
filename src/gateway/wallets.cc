#include "gateway/wallets.h"

#include <algorithm>
#include <tuple>

#include "base/check.h"

namespace weir::gateway {

using ledger::Amount;
using ledger::GrantEndReason;
using ledger::GrantEndRecord;
using ledger::GrantRecord;
using ledger::Sum;
using ledger::TransferKind;
using ledger::TransferStatus;
using ledger::Unit;

ledger::AccountIndex OperatorAccounts::Of(ledger::AccountKind kind, Unit unit) {
  auto& account = accounts_.at(static_cast<std::size_t>(unit)).at(static_cast<std::size_t>(kind));
  if (!account) account = book_.Open({kind, {}, unit}, false);
  return *account;
}

const Wallets::Wallet* Wallets::FindWallet(const WalletId& id) const {
  const std::uint32_t* const index = wallet_index_.Find(id);
  return index == nullptr ? nullptr : &wallets_[*index];
}

Sum Wallets::Left(const Grant& grant) const { return book_.Get(grant.account).available(); }

Sum Wallets::Spent(const Grant& grant) const {
  return book_.Get(grant.account).debits_posted - grant.removed;
}

bool Wallets::Over(const Grant& grant, Instant now) const {
  return grant.revoked || grant.made.expires_at <= now;
}

bool Wallets::Usable(const Grant& grant, Instant now) const {
  return !Over(grant, now) && grant.made.effective_at <= now;
}

std::optional<GrantRecord> Wallets::Find(const GrantId& id) const {
  const std::uint32_t* const index = grant_index_.Find(id);
  if (index == nullptr) return std::nullopt;
  return grants_[*index].made;
}

bool Wallets::MayCreate(const GrantRecord& record) const {
  if (grant_index_.Find(record.grant) != nullptr) return false;
  const Wallet* const wallet = FindWallet(record.wallet);
  return (wallet == nullptr || wallet->unit == record.unit) && record.amount >= Amount{0} &&
         record.amount <= ledger::kMaxAmount;
}

bool Wallets::Apply(const GrantRecord& record) {
  if (!MayCreate(record)) return false;
  CHECK(grants_.size() < UINT32_MAX, "a grant index has 32 bits");
  const auto index = static_cast<std::uint32_t>(grants_.size());
  std::uint32_t wallet_at = static_cast<std::uint32_t>(wallets_.size());
  if (const std::uint32_t* const known = wallet_index_.Find(record.wallet)) {
    wallet_at = *known;
  } else {
    wallets_.push_back({.id = record.wallet, .unit = record.unit, .grants = {}, .entries = {}});
    wallet_index_.Insert(record.wallet, wallet_at);
  }
  const ledger::AccountIndex account =
      book_.Open({ledger::AccountKind::kGrant, record.grant, record.unit}, true);
  grants_.push_back({.made = record, .account = account, .wallet = wallet_at});
  grant_index_.Insert(record.grant, index);
  const TransferStatus status =
      book_.Create({.id = {record.grant, 0},
                    .kind = TransferKind::kSingle,
                    .pending = {},
                    .debit = operators_.Of(ledger::AccountKind::kSource, record.unit),
                    .credit = account,
                    .amount = record.amount});
  CHECK(status == TransferStatus::kCreated, "the source has no rule and the grant's id is new");
  Wallet& wallet = wallets_[wallet_at];
  const auto order = [&](std::uint32_t grant) {
    const GrantRecord& made = grants_[grant].made;
    return std::tuple(made.priority, made.expires_at, grant);
  };
  wallet.entries.push_back({.number = wallet.entries.size() + 1,
                            .time = record.time,
                            .move = WalletMove::kGiven,
                            .grant = record.grant,
                            .amount = record.amount});
  wallet.grants.insert(std::ranges::upper_bound(wallet.grants, order(index), {}, order), index);
  return true;
}

bool Wallets::Apply(const GrantEndRecord& record) {
  const std::uint32_t* const index = grant_index_.Find(record.grant);
  if (index == nullptr) return false;
  Grant& grant = grants_[*index];
  const bool expired = record.reason == GrantEndReason::kExpired;
  const auto to = expired ? ledger::AccountKind::kBreakage : ledger::AccountKind::kSource;
  const TransferStatus status = book_.Create({.id = {record.grant, grant.ends + 1},
                                              .kind = TransferKind::kSingle,
                                              .pending = {},
                                              .debit = grant.account,
                                              .credit = operators_.Of(to, grant.made.unit),
                                              .amount = record.removed});
  if (status != TransferStatus::kCreated) return false;
  ++grant.ends;
  grant.removed += record.removed.n;
  if (expired) breakage_.at(static_cast<std::size_t>(grant.made.unit)) += record.removed.n;
  grant.revoked = grant.revoked || !expired;
  Wallet& wallet = wallets_[grant.wallet];
  wallet.entries.push_back({.number = wallet.entries.size() + 1,
                            .time = record.time,
                            .move = expired ? WalletMove::kExpired : WalletMove::kRevoked,
                            .grant = record.grant,
                            .amount = record.removed});
  DropFinished(wallet);
  return true;
}

void Wallets::Tidy(const WalletId& id) {
  if (const std::uint32_t* const index = wallet_index_.Find(id)) DropFinished(wallets_[*index]);
}

// Nothing is ever added to a grant, so one that is empty stays so.
void Wallets::DropFinished(Wallet& wallet) {
  std::erase_if(wallet.grants, [&](std::uint32_t index) {
    const ledger::Account& account = book_.Get(grants_[index].account);
    if (account.available() != 0 || account.debits_pending != 0) return false;
    wallet.spent_before += Spent(grants_[index]);
    return true;
  });
}

void Wallets::Ending(const WalletId& id, Instant now, std::vector<GrantEndRecord>& out) const {
  const Wallet* const wallet = FindWallet(id);
  if (wallet == nullptr) return;
  for (const std::uint32_t index : wallet->grants) {
    const Grant& grant = grants_[index];
    const Sum left = Left(grant);
    if (left <= 0 || !Over(grant, now)) continue;
    out.push_back({.time = now,
                   .grant = grant.made.grant,
                   .removed = ledger::Clipped(left),
                   .reason = grant.revoked ? GrantEndReason::kRevoked : GrantEndReason::kExpired});
  }
}

std::optional<GrantEndRecord> Wallets::Revoking(const GrantId& id, Instant now) const {
  const std::uint32_t* const index = grant_index_.Find(id);
  if (index == nullptr || grants_[*index].revoked) return std::nullopt;
  return GrantEndRecord{.time = now,
                        .grant = id,
                        .removed = ledger::Clipped(Left(grants_[*index])),
                        .reason = GrantEndReason::kRevoked};
}

Sum Wallets::Available(const WalletId& id, Unit unit, Instant now, std::size_t lines) const {
  const Wallet* const wallet = FindWallet(id);
  if (wallet == nullptr || wallet->unit != unit) return 0;
  Sum sum = 0;
  for (const std::uint32_t index : wallet->grants) {
    if (lines == 0) break;
    const Sum left = Usable(grants_[index], now) ? Left(grants_[index]) : 0;
    if (left <= 0) continue;
    sum += left;
    --lines;
  }
  return sum;
}

Sum Wallets::Alone(const WalletId& id, Unit unit, Instant now) const {
  const Wallet* const wallet = FindWallet(id);
  if (wallet == nullptr || wallet->unit != unit) return 0;
  Sum sum = 0;
  std::size_t lines = ledger::kHoldLinesMax;
  for (const std::uint32_t index : wallet->grants) {
    if (lines == 0) break;
    if (!Usable(grants_[index], now)) continue;
    const ledger::Account& account = book_.Get(grants_[index].account);
    const Sum left = account.credits_posted - account.debits_posted;
    if (left <= 0) continue;
    sum += left;
    --lines;
  }
  return sum;
}

std::vector<GrantHold> Wallets::Plan(const WalletId& id, Amount amount, Instant now) const {
  std::vector<GrantHold> plan;
  Sum wanted = amount.n;
  const Wallet* const wallet = FindWallet(id);
  if (wallet != nullptr) {
    for (const std::uint32_t index : wallet->grants) {
      if (wanted == 0) break;
      const Sum left = Usable(grants_[index], now) ? Left(grants_[index]) : 0;
      if (left <= 0) continue;
      const Sum taken = std::min(left, wanted);
      plan.push_back({index, ledger::Clipped(taken)});
      wanted -= taken;
    }
  }
  CHECK(wanted == 0 && plan.size() <= ledger::kHoldLinesMax,
        "what is held was seen to be available");
  return plan;
}

std::optional<std::vector<GrantHold>> Wallets::Resolve(
    const std::vector<ledger::HoldLine>& lines) const {
  std::vector<GrantHold> holds;
  for (const ledger::HoldLine& line : lines) {
    const std::uint32_t* const index = grant_index_.Find(line.grant);
    if (index == nullptr) return std::nullopt;
    holds.push_back({*index, line.amount});
  }
  return holds;
}

bool Wallets::NoteLow(const WalletId& id, Amount low, Instant now) {
  const std::uint32_t* const index = wallet_index_.Find(id);
  if (index == nullptr) return false;
  Wallet& wallet = wallets_[*index];
  const bool is_low = Alone(id, wallet.unit, now) < low.n;
  const bool first = is_low && !wallet.low;
  wallet.low = is_low;
  return first;
}

std::vector<WalletEntry> Wallets::Entries(const WalletId& id, std::uint64_t before,
                                          std::size_t limit) const {
  std::vector<WalletEntry> entries;
  const Wallet* const wallet = FindWallet(id);
  if (wallet == nullptr || before == 0) return entries;
  const auto end =
      static_cast<std::size_t>(std::min<std::uint64_t>(before - 1, wallet->entries.size()));
  for (std::size_t at = end; at > 0 && entries.size() < limit; --at) {
    entries.push_back(wallet->entries[at - 1]);
  }
  return entries;
}

std::optional<WalletView> Wallets::View(const WalletId& id, Instant now) const {
  const Wallet* const wallet = FindWallet(id);
  if (wallet == nullptr) return std::nullopt;
  WalletView view{.id = id, .unit = wallet->unit, .grants = {}};
  Sum held = 0, upcoming = 0, spent = wallet->spent_before;
  for (const std::uint32_t index : wallet->grants) {
    const Grant& grant = grants_[index];
    const ledger::Account& account = book_.Get(grant.account);
    spent += Spent(grant);
    held += account.debits_pending;
    if (!Over(grant, now) && grant.made.effective_at > now) upcoming += Left(grant);
    if (Over(grant, now) && account.debits_pending == 0) continue;
    view.grants.push_back(
        {.id = grant.made.grant,
         .category = grant.made.category,
         .priority = grant.made.priority,
         .effective_at = grant.made.effective_at,
         .expires_at = grant.made.expires_at,
         .amount = grant.made.amount,
         .remaining = ledger::Clipped(account.credits_posted - account.debits_posted),
         .held = ledger::Clipped(account.debits_pending),
         .revoked = grant.revoked});
  }
  view.available = ledger::Clipped(Available(id, wallet->unit, now, SIZE_MAX));
  view.held = ledger::Clipped(held);
  view.upcoming = ledger::Clipped(upcoming);
  view.spent = ledger::Clipped(spent);
  return view;
}

}  // namespace weir::gateway
