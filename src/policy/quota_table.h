// The counters behind quota policies: how much of each was used and is held in its present window.
//
//   Look --> Standing --(fits)--> Opening/Turning --Apply--> Hold --> leg --> Resolve
//                                 records, as a journal has them         \--> the next window
//                                 began:
//                                                                             nothing to count
//
// Not double entry: a window of requests or tokens has no other side to be credited, and a million
// of them must fit into memory (ADR 0036). What the ledger promises of accounts holds all the same,
// and the auditors check it: settled + held never exceed the limit of a hard cap when something is
// held, a hold is resolved once, for at most what it held.
//
// A request belongs to the window in which it was admitted, also when it ends in a later one: then
// what it used was that window's, which is over, and the present one is not touched.
//
// Deterministic, no clock, no lock. Records are made and applied apart, so that a replay applies
// what the journal holds by the same code. A counter whose window is over and of which nothing is
// held is dropped when room for another is needed; its number is used again.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/id.h"
#include "base/time.h"
#include "ledger/id_table.h"
#include "ledger/record.h"
#include "policy/calendar.h"
#include "policy/policy_set.h"

namespace weir::policy {

using ledger::QuotaRule;

// How what a use of a policy is kept.
QuotaRule RuleOf(const config::Policy& policy);

// Where a counter stands for a request that comes now.
struct Standing {
  static constexpr std::uint32_t kNone = UINT32_MAX;
  std::uint32_t counter = kNone;  // none: there is none yet, or it is not kept
  bool current = false;           // its window and its limit are those of the use
  WindowSpan window{};            // the request's
  std::int64_t settled = 0;       // in it
  std::int64_t held = 0;
  std::int64_t limit = 0;
  QuotaRule rule = QuotaRule::kHard;

  __int128 Alone() const { return static_cast<__int128>(limit) - settled; }  // if nothing were held
  __int128 Available() const { return Alone() - held; }
};

// What a request holds of one counter.
struct QuotaLeg {
  std::uint32_t counter = 0;
  std::uint32_t window = 0;  // of the counter: counts up
  std::int64_t held = 0;
  Instant at;  // when it was held: decides the bucket of a sliding window
  std::uint64_t providers = 0;
  config::QuotaUnit unit = config::QuotaUnit::kRequests;
  QuotaRule rule = QuotaRule::kHard;
};

struct CounterView {
  std::uint32_t number = 0;
  std::string_view policy;
  std::string_view values;
  config::QuotaUnit unit = config::QuotaUnit::kRequests;
  config::WindowKind window_kind = config::WindowKind::kMonth;
  bool sliding = false;
  WindowSpan window{};
  std::int64_t settled = 0;
  std::int64_t held = 0;
  std::int64_t limit = 0;
  QuotaRule rule = QuotaRule::kHard;
};

class QuotaTable {
 public:
  // What happens to counters of actions: how long after its first request one is kept.
  static constexpr Duration kActionKept = Seconds(24 * 3600);

  Standing Look(const QuotaUse& use, Instant now) const;

  // What must be written and applied before something is held of a use that has a counter: the
  // counter when it is new, its window when that is new or has another limit.
  std::optional<ledger::CounterRecord> Opening(const QuotaUse& use, const Standing& standing,
                                               const Facts& facts, Instant now);
  std::optional<ledger::WindowRecord> Turning(const QuotaUse& use, const Standing& standing,
                                              Instant now) const;

  // False, and no effect, when a record is none that this table wrote.
  bool Apply(const ledger::CounterRecord& record);
  bool Apply(const ledger::WindowRecord& record);
  bool Apply(const ledger::AlertRecord& record);

  // Holds; the number must be of a counter with a window. False when it is not, or when a hard cap
  // has no room for it: then the caller did not look.
  std::optional<QuotaLeg> Hold(std::uint32_t counter, std::int64_t amount, Instant at);
  // The counter of a use: known once Opening and Turning are applied.
  std::optional<std::uint32_t> NumberOf(const Id128& counter) const;
  // Holds more on a leg of the counter's present window; false when that began later.
  bool HoldMore(QuotaLeg& leg, std::int64_t amount);
  // Whether the leg is of the counter's present window.
  bool IsCurrent(const QuotaLeg& leg) const;
  // Resolves a leg: `used` of it counts, at most what it held unless the cap is firm or there is
  // none.
  void Resolve(const QuotaLeg& leg, std::int64_t used);

  // Whom to tell what when thresholds are crossed. Kept by the counter, not by the journal.
  void SetAlerts(std::uint32_t counter, const config::Policy& policy);
  // The thresholds that the counter has crossed and not told: to be written and applied.
  void Crossed(std::uint32_t counter, Instant now, std::vector<ledger::AlertRecord>& out) const;

  // When so much more will be available of a counter that has too little: the end of its window, or
  // the moment at which enough of a sliding one has passed.
  Instant AvailableAt(const Standing& standing, std::int64_t amount, Instant now) const;

  std::size_t size() const { return index_.size(); }
  std::size_t numbers() const { return counters_.size(); }
  std::optional<CounterView> View(std::uint32_t number, Instant now) const;

 private:
  // The settled amounts of a sliding window by the time they were held.
  struct Ring {
    static constexpr std::size_t kSlots = kBuckets + 1;  // and the one that is passing out
    Duration bucket;
    std::int64_t newest = INT64_MIN;  // number of the newest bucket: time / bucket
    std::array<std::int64_t, kSlots> settled{};
  };
  struct Counter {
    Id128 id;
    WindowSpan window{};
    std::int64_t settled = 0;
    std::int64_t held = 0;
    std::int64_t limit = 0;
    std::array<std::uint64_t, 2> told{};   // bits: percents told; 0: the forecast
    std::array<std::uint8_t, 8> alerts{};  // percents, ascending; 0 ends them
    std::uint32_t window_number = 0;       // 0: none yet
    std::uint32_t legs = 0;                // open ones, of whatever window
    std::uint32_t policy = 0;              // index into policies_
    config::QuotaUnit unit = config::QuotaUnit::kRequests;
    config::WindowKind window_kind = config::WindowKind::kMonth;
    QuotaRule rule = QuotaRule::kHard;
    bool forecast = false;
    bool used = false;
    std::unique_ptr<Ring> ring;  // of a sliding window
    std::string values;
  };

  const Counter* Get(std::uint32_t number) const;
  std::int64_t SettledAt(const Counter& counter, Instant now) const;
  void Settle(Counter& counter, std::int64_t amount, Instant at);
  std::uint32_t FreeNumber(Instant now);
  void Drop(std::uint32_t number);
  std::uint32_t PolicyIndex(std::string_view policy);

  std::vector<Counter> counters_;  // by number
  ledger::IdTable<Id128, std::uint32_t, IdHash> index_;
  std::vector<std::uint32_t> free_;
  std::uint32_t looked_at_ = 0;  // by the search for counters that are over
  std::vector<std::string> policies_;
  std::vector<std::pair<std::uint64_t, std::uint32_t>> policy_index_;  // sorted by hash
};

}  // namespace weir::policy
