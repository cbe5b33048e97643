// The auditor: books of its own, kept from the journal's records by other code than the machine's,
// and compared with the machine that replayed the same records. `weir ledger verify` runs it; a
// simulator may run it after every event.
//
// What it is not: it decides nothing and repairs nothing, and it must not share the arithmetic that
// it checks. The one thing it takes from elsewhere is what usage costs (policy/quote).
//
// The invariants carry the numbers of the ledger's design. Checked here, from records alone:
//   I1   debits and credits are equal in sum, pending and posted apart
//   I2   the machine's balances are what the records add up to
//   I3   a capped key has settled + held <= budget after every record, and in the machine's book
//   I4   a hold is resolved at most once, by its own key, and only if it was taken
//   I5   0 <= charged <= hold, charged + overrun = price of the usage; a void releases all of it
//   I9   an id is admitted once
//   I11  what keys were charged is what the operator received
//   I20  resolving what is open leaves nothing pending
//   I24  every record of a request carries the price of its admission
//   I26  no overrun where the usage is within the bounds of its admission
// docs/guide/ledger.md says where each of the others is checked.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/credit_control.h"
#include "ledger/id_table.h"
#include "ledger/record.h"

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
  // Of kinds that are newer than this auditor. With any of them I2, I3 and I11 are not judged: the
  // books here would lack them.
  std::uint64_t unknown_records() const { return unknown_; }

 private:
  using Sum = ledger::Sum;
  struct KeyBook {
    Sum funded = 0;
    Sum charged = 0;
    Sum held = 0;
    bool capped = false;
    std::int64_t open = 0;
  };
  struct Request {
    KeyId key;
    bool open = true;
    NanoUsd hold;
    ledger::PinnedPrice price;
    std::int64_t input_bound = 0;
    std::int64_t output_bound = 0;
  };

  void Record(const ledger::IntentRecord& record);
  void Record(const ledger::CheckpointRecord& record);
  void Record(const ledger::SettleRecord& record);
  void Record(const ledger::VoidRecord& record);
  void Record(const ledger::FundRecord& record);
  template <class Other>
  void Record(const Other&) {
    ++unknown_;
  }

  void Broken(std::string_view invariant, std::string what);
  KeyBook& BookOf(const KeyId& key);
  // The open request of a record, or null when there is none, which is then said.
  Request* CheckI4IsOpen(const RequestId& id, const KeyId& key, std::string_view record);
  void CheckI3WithinBudget(const KeyId& key, const KeyBook& book);
  void CheckI5SettledAtItsPrice(const Request& request, const ledger::SettleRecord& record);
  void CheckI24PriceIsThatOfAdmission(const Request& request, const ledger::PinnedPrice& price,
                                      const RequestId& id);
  void CheckI26NoOverrunWithinBounds(const Request& request, const ledger::SettleRecord& record);
  void CheckI1DebitsAreCredits(const ledger::Book& book);
  void CheckI2BalancesAreFolds(const CreditControl& machine);
  void CheckI3Rules(const ledger::Book& book);
  void CheckI11ChargesWereReceived(const CreditControl& machine);

  ledger::IdTable<KeyId, KeyBook, IdHash> keys_;
  ledger::IdTable<RequestId, Request, IdHash> requests_;
  Sum charged_ = 0;
  Sum overrun_ = 0;
  Sum held_ = 0;
  std::uint64_t position_ = 0;
  std::uint64_t unknown_ = 0;
  std::uint64_t violation_count_ = 0;
  std::vector<Violation> violations_;
};

}  // namespace weir::gateway
