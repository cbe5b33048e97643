// Wallets and their grants over the book: what is prepaid, in which order it burns, and what of it
// requests hold.
//
//   Create --> grant --effective_at--> usable --expires_at--> ended (what no request holds goes to
//                                        \----Revoke-------> breakage or back to the source)
//
// A grant is an account of the book that must not owe, so settled + held <= granted for every grant
// at every instant (I3), whatever happens here. A wallet is no account: it is the list of its
// grants in burn order. Grants burn by lower priority, then sooner expiry, then age; what a charge
// leaves of a hold is released in the reverse order (I19).
//
// Part of the credit machine: deterministic, no clock, no lock. Records are made and applied apart,
// so that a replay applies what the journal holds by the same code.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/time.h"
#include "ledger/book.h"
#include "ledger/id_table.h"
#include "ledger/record.h"

namespace weir::gateway {

using ledger::GrantId;
using ledger::WalletId;

// What a request holds of one grant.
struct GrantHold {
  std::uint32_t grant = 0;  // index into Wallets
  ledger::Amount amount;
};

struct GrantView {
  GrantId id;
  ledger::GrantCategory category = ledger::GrantCategory::kPaid;
  std::int32_t priority = 0;
  Instant effective_at;
  Instant expires_at = ledger::kNoExpiry;
  ledger::Amount amount;     // as it was given
  ledger::Amount remaining;  // what requests hold included
  ledger::Amount held;
  bool revoked = false;
};

struct WalletView {
  WalletId id;
  ledger::Unit unit = ledger::Unit::kQuotaToken;
  ledger::Amount available;       // could be held by a request now
  ledger::Amount held;            // by requests
  ledger::Amount upcoming;        // of grants that are not effective yet
  ledger::Amount spent;           // ever
  std::vector<GrantView> grants;  // in burn order, those that are over left out
};

// Something was put into a wallet or taken off it, other than by a request.
enum class WalletMove : std::uint8_t { kGiven, kExpired, kRevoked };
struct WalletEntry {
  std::uint64_t number = 0;  // among the entries of the wallet, from 1, without gaps
  Instant time;
  WalletMove move = WalletMove::kGiven;
  GrantId grant;
  ledger::Amount amount;
};

// The operator's side of every flow, one account of each kind and unit, opened when it is first
// needed.
class OperatorAccounts {
 public:
  explicit OperatorAccounts(ledger::Book& book) : book_(book) {}
  ledger::AccountIndex Of(ledger::AccountKind kind, ledger::Unit unit);

 private:
  static constexpr std::size_t kKinds = 8;
  ledger::Book& book_;
  std::array<std::array<std::optional<ledger::AccountIndex>, kKinds>, ledger::kUnitMax + 1>
      accounts_;
};

class Wallets {
 public:
  // Both outlive it.
  Wallets(ledger::Book& book, OperatorAccounts& operators) : book_(book), operators_(operators) {}

  // The grant as it was made; none if there is no such grant.
  std::optional<ledger::GrantRecord> Find(const GrantId& id) const;
  // False, and no effect, when there is a grant of this id, or the wallet counts another unit.
  bool MayCreate(const ledger::GrantRecord& record) const;
  bool Apply(const ledger::GrantRecord& record);
  // Takes off a grant what no request holds of it. False when there is not so much.
  bool Apply(const ledger::GrantEndRecord& record);

  // What ends now: grants that expired, and what requests gave back of revoked ones. One record
  // each, to be applied.
  void Ending(const WalletId& id, Instant now, std::vector<ledger::GrantEndRecord>& out) const;
  // The record that revokes a grant; none if there is none or it is revoked already.
  std::optional<ledger::GrantEndRecord> Revoking(const GrantId& id, Instant now) const;

  // What a request may hold now, of at most `lines` grants.
  ledger::Sum Available(const WalletId& id, ledger::Unit unit, Instant now,
                        std::size_t lines = ledger::kHoldLinesMax) const;
  // The same if no other request held anything.
  ledger::Sum Alone(const WalletId& id, ledger::Unit unit, Instant now) const;
  // `amount` in burn order. REQUIRES amount <= Available.
  std::vector<GrantHold> Plan(const WalletId& id, ledger::Amount amount, Instant now) const;
  // The lines of a record, with the grants as indices; none when a grant is unknown.
  std::optional<std::vector<GrantHold>> Resolve(const std::vector<ledger::HoldLine>& lines) const;
  GrantId IdOf(std::uint32_t grant) const { return grants_[grant].made.grant; }
  ledger::AccountIndex AccountOf(std::uint32_t grant) const { return grants_[grant].account; }

  // Behind a resolution: grants that are used up leave the list, so that a wallet with a long past
  // is as quick as a new one.
  void Tidy(const WalletId& id);

  // True when the wallet is below `low` for the first time since it was not.
  bool NoteLow(const WalletId& id, ledger::Amount low, Instant now);

  std::optional<WalletView> View(const WalletId& id, Instant now) const;
  // The wallet's last entries with a smaller number than `before`, at most `limit`, newest first.
  std::vector<WalletEntry> Entries(const WalletId& id, std::uint64_t before,
                                   std::size_t limit) const;
  // What expired unused, ever, of all wallets of the unit.
  ledger::Amount Breakage(ledger::Unit unit) const {
    return ledger::Clipped(breakage_.at(static_cast<std::size_t>(unit)));
  }
  std::size_t size() const { return wallets_.size(); }
  // For lists and sweeps: the wallet in this place, in the order they were first given something.
  WalletId WalletAt(std::size_t index) const { return wallets_[index].id; }

 private:
  struct Grant {
    ledger::GrantRecord made;
    ledger::AccountIndex account;
    std::uint32_t wallet = 0;
    std::uint32_t ends = 0;   // transfers that took something off: the next one's leg
    ledger::Sum removed = 0;  // by them
    bool revoked = false;
  };
  struct Wallet {
    WalletId id;
    ledger::Unit unit = ledger::Unit::kQuotaToken;
    std::vector<std::uint32_t> grants;  // in burn order; those that are over leave at some time
    ledger::Sum spent_before = 0;       // of grants that left
    std::vector<WalletEntry> entries;   // oldest first
    bool low = false;
  };

  const Wallet* FindWallet(const WalletId& id) const;
  ledger::Sum Left(const Grant& grant) const;   // what no request holds
  ledger::Sum Spent(const Grant& grant) const;  // by requests
  bool Usable(const Grant& grant, Instant now) const;
  bool Over(const Grant& grant, Instant now) const;
  void DropFinished(Wallet& wallet);

  ledger::Book& book_;
  OperatorAccounts& operators_;
  std::array<ledger::Sum, ledger::kUnitMax + 1> breakage_{};
  std::vector<Wallet> wallets_;
  std::vector<Grant> grants_;  // never removed: an id stays burned
  ledger::IdTable<WalletId, std::uint32_t, IdHash> wallet_index_;
  ledger::IdTable<GrantId, std::uint32_t, IdHash> grant_index_;
};

}  // namespace weir::gateway
