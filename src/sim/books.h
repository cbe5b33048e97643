// The auditor's own books: what the records on the journal say, added up without the ledger's book,
// the credit machine or the price code. Shares with them the format of a record and nothing else.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/id.h"
#include "base/money.h"
#include "base/usage.h"
#include "config/price_codec.h"
#include "ledger/account.h"
#include "ledger/record.h"
#include "sim/breach.h"
#include "sim/counter_books.h"

namespace weir::sim {

// What usage costs at a price: exact in pico-USD, rounded up once.
NanoUsd PriceByHand(const config::Price& price, const Usage& usage);
// What a wallet pays for it: tokens, or the exact price, times millionths; rounded up once.
std::int64_t WalletPriceByHand(ledger::Unit unit, std::int64_t multiplier_ppm,
                               const config::Price& price, const Usage& usage);

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
  struct Grant {
    ledger::GrantRecord made;
    ledger::Sum spent = 0;
    ledger::Sum held = 0;
    ledger::Sum ended = 0;  // taken off it
    bool revoked = false;
    ledger::Sum free() const { return made.amount.n - spent - held - ended; }
  };
  struct Open {
    KeyId key;
    std::uint64_t price_id = 0;
    NanoUsd hold;
    std::int64_t output_tokens_bound = 0;
    std::optional<Usage> delivered;
    std::uint64_t position = 0;
    std::optional<ledger::WalletHold> wallet = {};  // with the lines of extensions
    std::optional<ledger::IdempotencyUse> idempotency = {};
    std::int64_t input_tokens_bound = 0;
    std::int64_t multiplier_ppm = 1'000'000;   // of what policies count
    std::vector<CounterBooks::Leg> legs = {};  // of counters
    ledger::Sum wallet_held() const;
  };
  struct Closed {
    NanoUsd charged;
    NanoUsd overrun;
    Usage usage;
    std::optional<ledger::WalletCharge> wallet = {};
    std::vector<ledger::Amount> quotas = {};  // used of each of its legs; none: nothing
    std::vector<CounterBooks::Leg> legs = {};
    std::int64_t multiplier_ppm = 1'000'000;
    std::int64_t output_tokens_bound = 0;
    bool voided = false;
    ledger::ResolveCause cause = ledger::ResolveCause::kSettled;
    std::uint64_t position = 0;
  };

  // The next record. Checks I3, I4, I5, I9, I10, I17, I18, I19, I24 and what recovery may charge;
  // after a breach the books are no longer of use.
  std::optional<Breach> Add(const ledger::Record& record);
  // Somebody asked at this time: Idempotency-Keys that are older than a day may be free.
  void Passed(Instant now) { latest_ = std::max(latest_, now); }

  std::uint64_t position() const { return position_; }
  const std::map<KeyId, Key>& keys() const { return keys_; }
  const std::map<RequestId, Open>& unresolved() const { return open_; }
  const std::map<RequestId, Closed>& resolved() const { return closed_; }
  const std::map<ledger::GrantId, Grant>& grants() const { return grants_; }
  const CounterBooks& quotas() const { return quotas_; }
  // The latest time of the records: what windows go by.
  Instant recorded() const { return recorded_; }
  Key Of(const KeyId& key) const;

 private:
  std::optional<Breach> Take(const ledger::IntentRecord& record);
  std::optional<Breach> Take(const ledger::CheckpointRecord& record);
  std::optional<Breach> Take(const ledger::SettleRecord& record);
  std::optional<Breach> Take(const ledger::VoidRecord& record);
  std::optional<Breach> Take(const ledger::FundRecord& record);
  std::optional<Breach> Take(const ledger::ExtendRecord& record);
  std::optional<Breach> Take(const ledger::CounterRecord& record) {
    return quotas_.Take(record, recorded_);
  }
  std::optional<Breach> Take(const ledger::WindowRecord& record) {
    return quotas_.Take(record, recorded_);
  }
  std::optional<Breach> Take(const ledger::AlertRecord& record) {
    return quotas_.Take(record, recorded_, position_);
  }
  std::optional<Breach> Take(const ledger::PriceRecord& record);
  std::optional<Breach> Take(const ledger::GrantRecord& record);
  std::optional<Breach> Take(const ledger::GrantEndRecord& record);
  std::optional<Breach> Hold(const RequestId& request, const ledger::WalletHold& hold, Instant at);
  std::optional<Breach> Close(const RequestId& request, const KeyId& key,
                              std::optional<std::uint64_t> price_id, const Closed& closed,
                              NanoUsd released);

  std::map<std::uint64_t, config::Price> prices_;
  std::map<KeyId, Key> keys_;
  std::map<RequestId, Open> open_;
  std::map<RequestId, Closed> closed_;
  std::map<ledger::GrantId, Grant> grants_;
  std::vector<ledger::GrantId> grant_order_;  // by age
  struct KeyUse {
    RequestId request;
    Instant since;
  };
  std::map<Id128, KeyUse> key_uses_;
  CounterBooks quotas_;
  Instant latest_;
  Instant recorded_;
  std::uint64_t position_ = 0;
};

}  // namespace weir::sim
