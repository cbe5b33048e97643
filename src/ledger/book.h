// The book: accounts and the transfers between them, in memory, deterministic, double entry.
//
// Knows nothing of requests, prices, keys or the disk: gateway/credit_control decides what to
// transfer, the journal keeps it. No clock, no lock: whoever owns the Book is its only user.
//
// Invariants (CheckInvariants looks for a violation of each):
//   I1  In each unit the sums of all debits and of all credits are equal, pending and posted
//       separately.
//   I2  The pending balances are the sum of the open pending transfers.
//   I3  An account that must not owe has debits_pending + debits_posted <= credits_posted.
//   I4  A pending transfer is resolved at most once, by its own accounts, for at most its amount.
//   I5  No balance is negative.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ledger/account.h"
#include "ledger/id_table.h"
#include "ledger/transfer.h"

namespace weir::ledger {

class Book {
 public:
  struct Options {
    // How many transfers that can no longer change are remembered, so that a repeated one is
    // answered kExists. Open pending transfers are always known; ids are ours and unique, so the
    // memory catches a command delivered twice and not an old one replayed by a caller.
    std::size_t settled_transfers_remembered = 1024;
    std::size_t accounts_expected = 0;
  };

  Book() : Book(Options{}) {}
  explicit Book(Options options);

  // Opens an account with zero balances. REQUIRES an id that was not opened before.
  AccountIndex Open(const AccountId& id, bool debits_must_not_exceed_credits);

  // Sets or lifts the rule; false, and no effect, when the account breaks it already.
  bool SetRule(AccountIndex account, bool debits_must_not_exceed_credits);

  // Applies one transfer, or tells the first reason not to, in TransferStatus order. Validates
  // first; nothing fails between the first effect and the last. A refusal has one effect at most:
  // for lack of credits it burns the id.
  //   cost  two table look-ups at most, no allocation once the tables have grown.
  TransferStatus Create(const Transfer& transfer);

  const Account& Get(AccountIndex account) const { return accounts_[account.n]; }
  std::size_t account_count() const { return accounts_.size(); }
  std::size_t pending_count() const { return pending_count_; }

  // The first violated invariant as a sentence, or nothing. Visits everything: for tests, the
  // simulator and `ledger verify`, not for the path.
  std::optional<std::string> CheckInvariants() const;

 private:
  friend struct BookVandal;  // of the tests: breaks it, to see that CheckInvariants notices

  enum class State : std::uint8_t {
    kOpen,
    kPosted,
    kVoided,
    kDone,    // needs no resolution
    kBurned,  // was refused for lack of credits
  };
  struct Entry {
    Transfer transfer;
    State state = State::kDone;
  };

  TransferStatus CreateUnresolved(const Transfer& transfer);
  TransferStatus Resolve(const Transfer& transfer);
  void Remember(const TransferId& id);

  std::vector<Account> accounts_;
  IdTable<TransferId, Entry, TransferIdHash> transfers_;
  std::size_t pending_count_ = 0;
  // Ids that can no longer change, oldest first from settled_next_ once the ring is full.
  std::vector<TransferId> settled_;
  std::size_t settled_next_ = 0;
  std::size_t settled_max_;
};

}  // namespace weir::ledger
