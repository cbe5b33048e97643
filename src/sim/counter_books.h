// The auditor's own counters: what quota policies count, by the records alone and by other code
// than the credit machine's (policy/quota_table) and the ledger's audit (gateway/quota_audit).
//
// Every use is kept with its moment, and what counts at a later one is added up from them.
//
//   I3   settled + held <= the limit of a hard counter, after everything that holds some of it
//   I4   a request holds of counters there are, and ends with a figure for each of its lines
//   I5   it uses what its usage comes to, as far as it holds; released, nothing but attempts
//   I9   nobody else gets the number of a counter that is held
//   I17  a window begins at its moment, behind the one before; a counter lives to its end
//   I18  a threshold is told once for each time it may be, and is true
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/id.h"
#include "base/time.h"
#include "base/usage.h"
#include "config/policy.h"
#include "ledger/account.h"
#include "ledger/record.h"
#include "sim/breach.h"

namespace weir::sim {

class CounterBooks {
 public:
  struct Use {
    Instant at;
    ledger::Sum amount = 0;
  };
  struct Counter {
    ledger::CounterRecord made;
    std::uint32_t turn = 0;  // of its window: counts up; 0: none yet
    Instant starts_at;
    Instant ends_at;
    ledger::QuotaRule rule = ledger::QuotaRule::kHard;
    std::int64_t limit = 0;
    std::vector<Use> uses;  // in this window
    ledger::Sum held = 0;   // in it
    std::int64_t legs = 0;  // open ones, of whatever window
    std::set<int> told;     // thresholds
    bool slides() const { return made.bucket.ns > 0; }
    config::QuotaUnit unit() const { return static_cast<config::QuotaUnit>(made.unit); }
    config::WindowKind kind() const { return static_cast<config::WindowKind>(made.window); }
    ledger::Sum UsedAt(Instant at) const;
  };
  // What a request holds of one.
  struct Leg {
    std::uint32_t number = 0;
    std::uint32_t turn = 0;
    config::QuotaUnit unit = config::QuotaUnit::kRequests;
    ledger::QuotaRule rule = ledger::QuotaRule::kHard;
    ledger::Sum held = 0;
    Instant at;
  };
  // What a request that is charged came to.
  struct Came {
    Usage usage;
    NanoUsd price;
    std::int64_t multiplier_ppm = 1'000'000;
  };
  // An alert, as the journal has it.
  struct Told {
    std::uint64_t position = 0;
    std::string policy;
    std::string values;
    ledger::AlertRecord record;
    Instant window_starts_at;
    Instant window_ends_at;
  };

  // `at`: the latest time of all records, this one included.
  std::optional<Breach> Take(const ledger::CounterRecord& record, Instant at);
  std::optional<Breach> Take(const ledger::WindowRecord& record, Instant at);
  std::optional<Breach> Take(const ledger::AlertRecord& record, Instant at, std::uint64_t position);
  std::optional<Breach> Hold(std::span<const ledger::QuotaLine> lines, Instant at,
                             std::vector<Leg>& legs);
  // `came`: null for a release.
  std::optional<Breach> Close(const std::vector<Leg>& legs, std::span<const ledger::Amount> used,
                              const Came* came);

  const std::map<std::uint32_t, Counter>& counters() const { return counters_; }
  const std::vector<Told>& told() const { return told_; }
  // Whether the journal need not say that the counter is gone.
  static bool MayBeGone(const Counter& counter, Instant at) {
    return counter.legs == 0 && (counter.turn == 0 || counter.ends_at <= at);
  }

 private:
  std::map<std::uint32_t, Counter> counters_;
  std::map<Id128, Instant> ended_;  // when the last window of a counter ends, by the counter
  std::vector<Told> told_;
};

}  // namespace weir::sim
