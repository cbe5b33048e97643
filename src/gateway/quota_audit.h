// The auditor's books of counters: what policies count, kept from the journal's records alone.
//
// Shares nothing with policy/quota_table, whose figures it checks: it takes the rules from ADR 0036
// and the format from ledger/record.h. Time is the latest of all records so far, which is what
// window time is.
//
//   I3   settled + held <= limit of a hard counter after everything that holds some of it
//   I4   a request's settlement has a figure for each line it holds, and none for others; it holds
//        of counters there are
//   I5   what is used is what the usage comes to, at most what is held of a hard counter; what is
//        released whole uses attempts at most
//   I9   a number stands for one counter as long as a request holds of it
//   I17  a window holds the moment at which it begins and at which something is held of it; a
//        counter's next begins when it is over, and until then nobody else gets the number
//   I18  a threshold is told once in a window, or once more when a higher limit has room for it
//        again; and it is true
//
// What it cannot see: which provider served. A line on another is settled with nothing, so a line
// without use is taken as such.
#pragma once

#include <bitset>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/id.h"
#include "base/money.h"
#include "base/time.h"
#include "base/usage.h"
#include "ledger/id_table.h"
#include "ledger/record.h"
#include "policy/quota_table.h"

namespace weir::gateway {

class QuotaAudit {
 public:
  struct Finding {
    std::string_view invariant;
    std::string what;
  };

  // One thing that a request holds.
  struct Line {
    std::uint32_t counter = 0;
    std::uint32_t window = 0;  // of the counter: counts up; 0: it was none
    std::uint8_t unit = 0;
    ledger::QuotaRule rule = ledger::QuotaRule::kHard;
    std::int64_t held = 0;
    Instant at;
  };
  using Lines = std::vector<Line>;

  // What a request that was charged came to.
  struct Outcome {
    Usage usage;
    NanoUsd price;  // of the usage, at the price of the admission
    std::int64_t multiplier_ppm = 1'000'000;
  };

  // `at`: the latest time of the records so far, this one included.
  void See(const ledger::CounterRecord& record, Instant at);
  void See(const ledger::WindowRecord& record, Instant at);
  void See(const ledger::AlertRecord& record, Instant at);
  // An admission (`lines` is empty then) or an extension. `who`: as messages name the request.
  void Hold(std::string_view who, std::span<const ledger::QuotaLine> holds, Instant at,
            Lines& lines);
  // A settlement, or a release: then `outcome` is null. Nothing is held afterwards.
  void Resolve(std::string_view who, std::span<const ledger::Amount> used, const Outcome* outcome,
               Lines& lines);

  // Compares with counters that were rebuilt from exactly the records that were seen.
  void Compare(const policy::QuotaTable& table, Instant at);

  // What is broken, since this was called last.
  std::vector<Finding> TakeFindings() { return std::exchange(findings_, {}); }

 private:
  using Sum = ledger::Sum;
  struct Counter {
    ledger::CounterRecord made;
    ledger::WindowRecord window;
    std::uint32_t windows = 0;  // so many have begun
    Sum held = 0;               // in the present window
    Sum settled = 0;            // in it; of a window that slides in `buckets`
    std::map<std::int64_t, Sum> buckets;
    std::bitset<101> told;
    std::int64_t lines = 0;  // open ones, of whatever window
    bool slides() const { return made.bucket.ns > 0; }
    bool over(Instant at) const { return windows == 0 || window.ends_at <= at; }
  };
  // The last window of a counter, whatever number it had.
  struct Past {
    std::uint32_t number = 0;
    bool has_window = false;
    Instant starts_at;
    Instant ends_at;
  };

  void Broken(std::string_view invariant, std::string what) {
    findings_.push_back({invariant, std::move(what)});
  }
  Counter* Find(std::uint32_t number);
  static Sum SettledAt(const Counter& counter, Instant at);
  // Says so when the counter, which is about to go, is needed. False: it must stay.
  bool MayGo(const Counter& counter, Instant at);
  void CheckI17Begins(const Counter& counter, const ledger::WindowRecord& record, Instant at);
  void CheckI18IsTrue(const Counter& counter, const ledger::AlertRecord& record, Instant at);
  void CheckI5Used(std::string_view who, std::span<const ledger::Amount> used,
                   const Outcome* outcome, const Lines& lines);

  std::map<std::uint32_t, Counter> counters_;   // by number
  ledger::IdTable<Id128, Past, IdHash> pasts_;  // by the counter's id
  std::vector<Finding> findings_;
};

}  // namespace weir::gateway
