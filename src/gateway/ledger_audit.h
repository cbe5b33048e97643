// The auditor: books of its own, kept from the journal's records by other code than the machine's,
// and compared with the machine that replayed the same records. `weir ledger verify` runs it; a
// simulator may run it after every event.
//
// What it is not: it decides nothing and repairs nothing, and it must not share the arithmetic that
// it checks. What it takes from elsewhere is what usage costs (policy/quote, policy/wallet_rate).
//
// The invariants carry the numbers of the ledger's design. Checked here, from records alone:
//   I1   debits and credits are equal in sum, pending and posted apart
//   I2   the machine's balances are what the records add up to
//   I3   a capped key has settled + held <= budget after every record, a grant settled + held <=
//        amount, and so has the machine's book; a hard counter settled + held <= limit
//   I4   a hold is resolved at most once, by its own key, and only if it was taken
//   I5   0 <= charged <= hold, charged + overrun = price of the usage; a void releases all of it;
//        the same for a wallet, in its unit and times the multiplier of the admission
//   I9   an id is admitted once, a grant and a price are written once; the number of a counter is
//        its own while something is held of it
//   I10  an Idempotency-Key has one request that was charged, or is open, in a day
//   I11  what keys and wallets were charged, and what grants lost, is what the operator received
//   I19  0 <= held <= remaining <= amount of every grant; holds take grants in burn order; what a
//        request holds is never taken off a grant; a grant ends when it may
//   I17  windows of a counter follow each other, and what is held is held of the one of its time
//   I18  a threshold is told once, and it is true
//   I20  resolving what is open leaves nothing pending
//   I24  every record of a request carries the price of its admission, which a record before has
//   I26  no overrun where the usage is within the bounds of its admission
// What policies count is in gateway/quota_audit, with I3 to I5, I9, I17 and I18 as they are there.
// docs/guide/ledger.md says where each of the others is checked.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/credit_control.h"
#include "gateway/quota_audit.h"
#include "ledger/id_table.h"
#include "ledger/record.h"
#include "policy/wallet_rate.h"

namespace weir::gateway {

struct Violation {
  std::string_view invariant;  // "I5"
  std::uint64_t position = 0;  // of the record; 0: of the whole
  std::string what;
};

class LedgerAudit {
 public:
  // The first so many are kept; violation_count() knows of all.
  static constexpr std::size_t kViolationsKept = 100;

  // One record, in order. Any content is safe.
  void See(const ledger::Record& record);

  // Compares with the machine that replayed exactly the records that were seen.
  void Compare(const CreditControl& machine);

  // Resolves what is open in a machine of the caller's that is not used any further.
  void Resolve(CreditControl& machine, Instant now);

  const std::vector<Violation>& violations() const { return violations_; }
  std::uint64_t violation_count() const { return violation_count_; }
  std::uint64_t records() const { return position_; }

 private:
  using Sum = ledger::Sum;
  struct KeyBook {
    Sum funded = 0;
    Sum charged = 0;
    Sum held = 0;
    bool capped = false;
    std::int64_t open = 0;
  };
  struct GrantBook {
    ledger::GrantRecord made;
    Sum charged = 0;
    Sum held = 0;
    Sum removed = 0;
    bool revoked = false;
    Sum left() const { return made.amount.n - charged - held - removed; }
  };
  struct WalletBook {
    ledger::Unit unit = ledger::Unit::kQuotaToken;
    std::vector<GrantId> grants;  // in burn order
  };
  // What a request holds of its wallet, in the order in which it was taken.
  struct WalletShare {
    WalletId wallet;
    policy::WalletRate rate;
    std::vector<ledger::HoldLine> lines;
    Sum held = 0;
  };
  struct Request {
    KeyId key;
    bool open = true;
    Sum hold = 0;
    std::uint64_t price_id = 0;
    std::optional<ledger::PinnedPrice> pinned;  // of versions 1 and 2
    std::int64_t input_bound = 0;
    Sum output_bound = 0;
    std::optional<WalletShare> wallet;
    std::optional<Id128> idempotency;
    QuotaAudit::Lines quotas;
    std::int64_t multiplier_ppm = 1'000'000;  // of what it counts in quota tokens
  };
  struct KeyInUse {
    RequestId request;
    Instant since;
  };
  // What flowed in one unit, all keys and wallets together.
  struct Flows {
    Sum charged = 0;
    Sum overrun = 0;
    Sum held = 0;
    Sum given = 0;      // by the source
    Sum returned = 0;   // to it
    Sum forfeited = 0;  // by grants that expired
  };
  struct PriceHash {
    std::size_t operator()(std::uint64_t id) const { return id; }
  };

  void Record(const ledger::IntentRecord& record);
  void Record(const ledger::CheckpointRecord& record);
  void Record(const ledger::SettleRecord& record);
  void Record(const ledger::VoidRecord& record);
  void Record(const ledger::FundRecord& record);
  void Record(const ledger::PriceRecord& record);
  void Record(const ledger::GrantRecord& record);
  void Record(const ledger::GrantEndRecord& record);
  void Record(const ledger::ExtendRecord& record);
  void Record(const ledger::CounterRecord& record);
  void Record(const ledger::WindowRecord& record);
  void Record(const ledger::AlertRecord& record);

  void Broken(std::string_view invariant, std::string what);
  void NoteFindings();  // of quotas_
  KeyBook& BookOf(const KeyId& key);
  Flows& FlowsIn(ledger::Unit unit) { return flows_.at(static_cast<std::size_t>(unit)); }
  const Flows& FlowsIn(ledger::Unit unit) const {
    return flows_.at(static_cast<std::size_t>(unit));
  }
  const config::Price& PriceOf(const Request& request) const;
  void HoldOfWallet(const RequestId& id, const ledger::WalletHold& hold, Instant now,
                    WalletShare& share);
  // Closes an open request: `charged` of its wallet in the order of its lines, the rest given back.
  void Release(const RequestId& id, Request& request, NanoUsd charged, Sum of_wallet);
  // The open request of a record, or null when there is none, which is then said.
  Request* CheckI4IsOpen(const RequestId& id, const KeyId& key, std::string_view record);
  void CheckI3WithinBudget(const KeyId& key, const KeyBook& book);
  void CheckI3Grant(const GrantBook& grant);
  void CheckI5SettledAtItsPrice(const Request& request, const ledger::SettleRecord& record);
  void CheckI5WalletCharge(const Request& request, const ledger::SettleRecord& record);
  void CheckI10KeyIsFree(const ledger::IntentRecord& record);
  void CheckI19BurnOrder(const RequestId& id, const ledger::WalletHold& hold, Instant now);
  void CheckI24PriceIsThatOfAdmission(const Request& request, std::uint64_t price_id,
                                      const ledger::PinnedPrice& price, const RequestId& id);
  void CheckI26NoOverrunWithinBounds(const Request& request, const ledger::SettleRecord& record);
  void CheckI1DebitsAreCredits(const ledger::Book& book);
  void CheckI2BalancesAreFolds(const CreditControl& machine);
  void CheckI2GrantsAreFolds(const ledger::Book& book);
  void CheckI3Rules(const ledger::Book& book);
  void CheckI11ChargesWereReceived(const ledger::Book& book);
  void CheckI20NothingIsHeld(const policy::QuotaTable& counters);

  ledger::IdTable<std::uint64_t, config::Price, PriceHash> prices_;
  ledger::IdTable<std::uint64_t, bool, PriceHash> written_;  // ids that a record of a price has
  ledger::IdTable<KeyId, KeyBook, IdHash> keys_;
  ledger::IdTable<RequestId, Request, IdHash> requests_;
  ledger::IdTable<WalletId, WalletBook, IdHash> wallets_;
  ledger::IdTable<GrantId, GrantBook, IdHash> grants_;
  ledger::IdTable<Id128, KeyInUse, IdHash> idempotency_;
  QuotaAudit quotas_;
  std::array<Flows, ledger::kUnitMax + 1> flows_;
  Instant latest_;
  std::uint64_t position_ = 0;
  std::uint64_t violation_count_ = 0;
  std::vector<Violation> violations_;
};

}  // namespace weir::gateway
