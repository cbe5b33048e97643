// An account of the double-entry book: four balances and a rule.
//
// Balances are 128 bits although every amount is an int64 of nano-USD: a sum of 2^64 transfers of
// 2^62 each still fits, so no transfer is ever refused for overflow and no hostile figure of an
// upstream can wedge an account.
#pragma once

#include <cstdint>

#include "base/id.h"
#include "base/money.h"

namespace weir::ledger {

// A sum of nano-USD.
using Sum = __int128;

// Brings a sum back to what money is shown in; saturates at kMaxNanoUsd either way.
constexpr NanoUsd Saturated(Sum sum) {
  if (sum > kMaxNanoUsd.n) return kMaxNanoUsd;
  if (sum < -kMaxNanoUsd.n) return {-kMaxNanoUsd.n};
  return {static_cast<std::int64_t>(sum)};
}

// What an account is for. Frozen: part of an account's identity.
enum class AccountKind : std::uint8_t {
  kKey = 1,      // what one API key may spend and has spent
  kSource = 2,   // where budgets come from; the operator's promise
  kRevenue = 3,  // where charges go
  kOverrun = 4,  // what a call cost above its hold: the operator pays
};

struct AccountId {
  AccountKind kind = AccountKind::kKey;
  Id128 owner;  // the key; empty for the operator's accounts
  friend bool operator==(const AccountId&, const AccountId&) = default;
};

// Where an account stands in its Book: stable for the Book's life, never on disk.
struct AccountIndex {
  std::uint32_t n = 0;
  friend bool operator==(AccountIndex, AccountIndex) = default;
};

struct Account {
  AccountId id;
  // I3: debits_pending + debits_posted <= credits_posted.
  bool debits_must_not_exceed_credits = false;
  Sum debits_pending = 0;
  Sum debits_posted = 0;
  Sum credits_pending = 0;
  Sum credits_posted = 0;

  // What may still be debited under the rule; without the rule the figure bounds nothing.
  Sum available() const { return credits_posted - debits_posted - debits_pending; }
};

}  // namespace weir::ledger
