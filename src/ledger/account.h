// An account of the double-entry book: four balances, a unit and a rule.
//
// Balances are 128 bits although every amount is an int64: a sum of 2^64 transfers of 2^62 each
// still fits, so no transfer is ever refused for overflow and no hostile figure of an upstream can
// wedge an account.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/id.h"
#include "base/money.h"

namespace weir::ledger {

// What an account counts. A transfer stays within one unit. Frozen: on disk.
enum class Unit : std::uint8_t {
  kNanoUsd = 0,
  kQuotaToken = 1,  // tokens times a route's multiplier, as prepaid packs sell them
};
inline constexpr std::uint8_t kUnitMax = 1;

std::string_view Name(Unit unit);

// So much of an account's unit.
struct Amount {
  std::int64_t n = 0;
  friend constexpr auto operator<=>(Amount, Amount) = default;
  friend constexpr Amount operator+(Amount a, Amount b) { return {a.n + b.n}; }
  friend constexpr Amount operator-(Amount a, Amount b) { return {a.n - b.n}; }
};
inline constexpr Amount kMaxAmount{kMaxNanoUsd.n};

constexpr Amount AmountOf(NanoUsd usd) { return {usd.n}; }
constexpr NanoUsd UsdOf(Amount amount) { return {amount.n}; }  // of an account in nano-USD

// A sum of amounts.
using Sum = __int128;

// Brings a sum back to what is shown; saturates at the largest amount either way.
constexpr Amount Clipped(Sum sum) {
  if (sum > kMaxAmount.n) return kMaxAmount;
  if (sum < -kMaxAmount.n) return {-kMaxAmount.n};
  return {static_cast<std::int64_t>(sum)};
}
constexpr NanoUsd Saturated(Sum sum) { return UsdOf(Clipped(sum)); }

// What an account is for. Frozen: part of an account's identity.
enum class AccountKind : std::uint8_t {
  kKey = 1,       // what one API key may spend and has spent
  kSource = 2,    // where budgets and grants come from; the operator's promise
  kRevenue = 3,   // where charges go
  kOverrun = 4,   // what a call cost above its hold: the operator pays
  kGrant = 5,     // one prepaid grant of a wallet
  kBreakage = 6,  // what expired unused
};

std::string_view Name(AccountKind kind);

struct AccountId {
  AccountKind kind = AccountKind::kKey;
  Id128 owner;  // the key or the grant; empty for the operator's accounts
  Unit unit = Unit::kNanoUsd;
  friend bool operator==(const AccountId&, const AccountId&) = default;
};

// The chart of allowed flows: whether anything may ever move from one kind of account to another.
//
//   source -> key, grant          a budget or a grant is given
//   key, grant -> source          it is lowered or revoked
//   key, grant -> revenue         a request is held and charged
//   overrun -> revenue            what it cost above its hold
//   grant -> breakage             a grant expires
bool FlowAllowed(AccountKind debit, AccountKind credit);

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
