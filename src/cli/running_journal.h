// The ledger of a gateway that runs, read over its admin API: slice by slice, checked here, batch
// by batch, against the chain. Nothing is opened on disk, because the gateway has the file alone.
//
// What it shows ends where the ledger ended when the reading began, however much is written
// meanwhile.
#pragma once

#include <string>

#include "cli/admin_call.h"
#include "store/journal.h"

namespace weir::cli {

class RunningJournal final : public store::JournalReader {
 public:
  explicit RunningJournal(Connection connection) : connection_(std::move(connection)) {}

  // Whether a gateway answers there.
  //   fails  with a sentence that says why not
  Result<void> Reach() const;

  // Fails also when the gateway ends meanwhile.
  Result<void> ReadAll(const Visit& visit) override;
  store::JournalTail Tail() const override { return tail_; }  // of what ReadAll read
  void OnChain(SeeChain see) override { see_chain_ = std::move(see); }

 private:
  Connection connection_;
  SeeChain see_chain_;
  store::JournalTail tail_;
};

// What GET /admin/v1/ledger/journal answered.
//   fails  kBadInput when it is not of that form
Result<store::JournalSlice> ParseSlice(const boost::json::value& body);

}  // namespace weir::cli
