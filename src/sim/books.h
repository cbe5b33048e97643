// The auditor's own books: what the records on the journal say, added up without the ledger's book,
// the credit machine or the price code. Shares with them the format of a record and nothing else.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "base/id.h"
#include "base/money.h"
#include "base/usage.h"
#include "config/price_codec.h"
#include "ledger/account.h"
#include "ledger/record.h"

namespace weir::sim {

// What usage costs at a price: exact in pico-USD, rounded up once.
NanoUsd PriceByHand(const config::Price& price, const Usage& usage);

// A rule of the ledger that was broken.
struct Breach {
  std::string rule;  // short and stable: the shrinker compares it
  std::string detail;
};

class Books {
 public:
  struct Key {
    bool capped = false;
    ledger::Sum funded = 0;
    ledger::Sum settled = 0;
    ledger::Sum held = 0;
    std::int64_t open = 0;
    std::uint32_t fund_legs = 0;
  };
  struct Open {
    KeyId key;
    std::uint64_t price_id = 0;
    NanoUsd hold;
    std::int64_t output_tokens_bound = 0;
    std::optional<Usage> delivered;
    std::uint64_t position = 0;
  };
  struct Closed {
    NanoUsd charged;
    NanoUsd overrun;
    Usage usage;
    bool voided = false;
    ledger::ResolveCause cause = ledger::ResolveCause::kSettled;
    std::uint64_t position = 0;
  };

  // The next record. Checks I3, I4, I5, I24 and what recovery may charge; after a breach the books
  // are no longer of use.
  std::optional<Breach> Add(const ledger::Record& record);

  std::uint64_t position() const { return position_; }
  const std::map<KeyId, Key>& keys() const { return keys_; }
  const std::map<RequestId, Open>& unresolved() const { return open_; }
  const std::map<RequestId, Closed>& resolved() const { return closed_; }
  Key Of(const KeyId& key) const;

 private:
  std::optional<Breach> Take(const ledger::IntentRecord& record);
  std::optional<Breach> Take(const ledger::CheckpointRecord& record);
  std::optional<Breach> Take(const ledger::SettleRecord& record);
  std::optional<Breach> Take(const ledger::VoidRecord& record);
  std::optional<Breach> Take(const ledger::FundRecord& record);
  std::optional<Breach> Take(const ledger::ExtendRecord& record);
  std::optional<Breach> Take(const ledger::PriceRecord& record);
  // The workload has no wallets.
  std::optional<Breach> Take(const ledger::GrantRecord&) { return std::nullopt; }
  std::optional<Breach> Take(const ledger::GrantEndRecord&) { return std::nullopt; }
  std::optional<Breach> Close(const RequestId& request, const KeyId& key,
                              std::optional<std::uint64_t> price_id, const Closed& closed,
                              NanoUsd released);

  std::map<std::uint64_t, config::Price> prices_;
  std::map<KeyId, Key> keys_;
  std::map<RequestId, Open> open_;
  std::map<RequestId, Closed> closed_;
  std::uint64_t position_ = 0;
};

}  // namespace weir::sim
