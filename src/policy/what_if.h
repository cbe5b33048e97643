// What policies would have done with the requests of the past: a replay through the engine that
// decides about real ones (PolicySet, QuotaTable, quota_fit), with requests overlapping in time as
// they did. Each holds when it began and settles when it ended.
//
//   Add(request) --meets, holds--> open until it ended --settles what it used-->
//        \--refused: holds nothing
//
// What it cannot know, and assumes:
//   1. A request that policies refused then has no usage. It gets what such requests of its key and
//      model used on average, or a quarter of its input and a usual answer where there were none.
//   2. A request that is sent to another model uses the same tokens there. One that is shortened
//      stops there.
//   3. A caller does what it did: one that is refused does not come again, nor stays away.
//   4. Holds are strict: a stream that held as it grew held less than here.
//   5. One that made more attempts than policies allow ends without an answer after those.
// Requests that failed for other reasons than policies before they held anything (a key that is no
// good, a limit per minute, an empty wallet) are not to be given: they would fail again.
//
// Pure and deterministic; no money is rounded but as charges are.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/usage.h"
#include "policy/decision.h"
#include "policy/policy_set.h"
#include "policy/quota_table.h"
#include "policy/usual_output.h"

namespace weir::policy {

// One request as it was. Everything it points to outlives the call.
struct PastRequest {
  std::uint32_t facts = 0;  // a number of Replay::Know: as it was asked, before any policy moved it
  std::string_view action;  // empty: an action of its own
  Instant started_at;
  Instant ended_at;
  const config::Price* price = nullptr;  // of what it asked for
  TokenBounds bounds;                    // its output aside
  std::int64_t choices = 1;
  std::int64_t output_asked = 0;   // per choice
  std::int64_t output_useful = 1;  // per choice
  std::int64_t multiplier_ppm = 1'000'000;
  std::int64_t attempts = 1;
  NanoUsd fallback_spend;
  Usage usage;            // plausible
  bool charged = true;    // false: whatever it used, nothing was to be charged
  NanoUsd cost;           // what it was charged and what the operator bore
  bool refused = false;   // by a policy then: its usage is not known
  bool degraded = false;  // by a policy then: its cost is at another price than `price`
};

// A model that a policy sends a request to instead.
struct LesserModel {
  std::string id;
  std::string family;
  std::string model_class;
  config::Price price;
  std::int64_t multiplier_ppm = 1'000'000;
  std::int64_t output_tokens_max = 0;
  std::int64_t input_tokens_max = 0;
  std::string provider;  // the upstream that it is taken to go to; empty: the same
};

// What becomes of a request, from the best to the worst.
enum class Fate : std::uint8_t {
  kServed,    // as it was
  kClamped,   // with a shorter answer at most
  kDegraded,  // by another model
  kStopped,   // without an answer, when the attempts it may make were used up
  kRefused,
};
inline constexpr std::size_t kFates = 5;
constexpr std::string_view Name(Fate fate) {
  constexpr std::array<std::string_view, kFates> kNames = {"served", "clamped", "degraded",
                                                           "stopped", "refused"};
  return kNames[static_cast<std::size_t>(fate)];
}

using NanoUsdSum = __int128;

// How often something happened, when, and what it came to.
struct Tally {
  std::int64_t refused = 0;
  std::int64_t degraded = 0;
  std::int64_t clamped = 0;
  std::int64_t stopped = 0;
  std::int64_t shadow = 0;  // would have been refused, by a policy in shadow
  NanoUsdSum saved = 0;     // of what these requests cost then
  Instant first_at{INT64_MAX};
  Instant last_at;

  std::int64_t acted() const { return refused + degraded + clamped + stopped; }
};

// What one policy did.
struct PolicyReplayed {
  const config::Policy* policy = nullptr;
  std::int64_t met = 0;  // requests
  std::int64_t alerts = 0;
  NanoUsdSum cost = 0;  // of those that were served
  Tally tally;
  // The nearest that a counter came to its limit, with what was held.
  __int128 most = 0;
  std::int64_t most_limit = 0;
  std::string most_who;
  Instant most_at;
  std::map<std::string, Tally, std::less<>> who;  // "team=growth", of those it acted on
  std::int64_t who_left_out = 0;                  // requests of those there was no room for

  // In thousandths of the limit.
  std::int64_t most_permille() const;
};

struct ReplayTotals {
  std::int64_t requests = 0;
  std::int64_t estimated = 0;  // whose usage is not known
  std::array<std::int64_t, kFates> fates{};
  NanoUsdSum cost = 0;
  std::size_t counters = 0;
};

class Replay {
 public:
  struct Options {
    std::int64_t attempts_max = 10;  // as the path would make: Config::fallback
    std::int64_t fallback_spend_percent = 300;
    std::size_t who_max = 10'000;  // of each policy that are told apart
    bool alerts = false;           // count the thresholds that are crossed
    // What came before fills the windows, and neither alerts nor how near limits came are noted.
    Instant notes_from{INT64_MIN};
  };
  // The model of that name for a request of these facts; none: it cannot go there.
  using FindLesser =
      std::function<std::optional<LesserModel>(std::string_view model, const Facts& facts)>;

  // `set` outlives it.
  Replay(const PolicySet& set, FindLesser find_lesser, Options options);
  Replay(const PolicySet& set, FindLesser find_lesser)
      : Replay(set, std::move(find_lesser), Options{}) {}
  Replay(const Replay&) = delete;
  Replay& operator=(const Replay&) = delete;

  // Facts that requests have, by number: 0, 1, 2, ... Its texts are copied. Once for each distinct
  // one; its action is not looked at.
  std::uint32_t Know(const Facts& facts);

  // REQUIRES requests by rising started_at; one that is earlier is taken as beginning with the
  // last.
  struct Outcome {
    Fate fate = Fate::kServed;
    NanoUsd cost;
    const config::Policy* policy = nullptr;  // that refused, stopped or degraded it
  };
  Outcome Add(const PastRequest& request);
  // Settles what is open. Call it last.
  void Finish();

  const ReplayTotals& totals() const { return totals_; }
  // By the policies of the set, in their order.
  std::span<const PolicyReplayed> policies() const { return policies_; }
  const QuotaTable& table() const { return table_; }

 private:
  // One distinct Facts, and what policies it meets until something changes.
  struct Known {
    std::string texts;  // what the views are of
    Facts facts;
    std::vector<std::string_view> providers;
    bool matched = false;
    bool judged = true;  // false: it meets more policies than can be held
    std::vector<QuotaUse> uses;
    std::vector<std::uint32_t> of;  // policies_ of the uses
    std::uint32_t estimate = 0;     // into estimates_
    // Where policies may send it: index into lessers_ by the policy's degrade_to.
    std::vector<std::pair<const std::string*, std::uint32_t>> lessers;
  };
  struct Lesser {
    bool there = false;
    LesserModel model;
    std::uint32_t facts = 0;
  };
  // What requests of one key and model come to.
  struct Estimate {
    std::int64_t count = 0;
    NanoUsdSum input = 0;
    NanoUsdSum cached = 0;
    NanoUsdSum output = 0;
    NanoUsdSum duration = 0;
    UsualOutput usual;
  };
  struct Open {
    std::vector<QuotaLeg> legs;
    std::vector<std::uint32_t> of;  // policies_ of the legs, where alerts are counted
    Spent spent;
    std::uint32_t next_free = 0;
  };
  struct End {
    Instant at;
    std::uint32_t open = 0;
  };

  // A request on its way through the models it may be sent to.
  struct Course {
    Known* known = nullptr;
    const config::Price* price = nullptr;
    TokenBounds bounds;
    std::int64_t output = 0;  // per choice
    std::int64_t multiplier_ppm = 0;
    const config::Policy* moved_by = nullptr;
    std::uint32_t moved_by_index = 0;
  };

  void MatchAll(Known& known);
  void Meet(const PastRequest& request, Known& known);
  Decision Judge(const PastRequest& request, const Course& course);
  bool Degrade(const PastRequest& request, const Decision& decision, Course& course);
  void Hold(const PastRequest& request, const Decision& decision, const Course& course,
            const Spent& spent, Instant ends_at);
  void OpenCounters(const Facts& facts);
  void SettleUntil(Instant now);
  void Settle(std::uint32_t open, Instant at);
  std::uint32_t NewOpen();
  Tally& TallyOf(std::uint32_t policy, const QuotaUse& use, const Facts& facts);
  void Note(Fate fate, std::uint32_t policy, const QuotaUse& use, const Facts& facts,
            NanoUsdSum saved);
  void NoteMost(std::uint32_t policy, const QuotaUse& use, const Standing& standing,
                __int128 committed, const Facts& facts);
  std::uint32_t Stopper(const PastRequest& request) const;
  Usage Estimated(const PastRequest& request, const Known& known) const;

  const PolicySet& set_;
  const FindLesser find_lesser_;
  const Options options_;
  std::vector<std::pair<const config::Policy*, std::uint32_t>> index_;  // sorted
  std::vector<PolicyReplayed> policies_;
  std::vector<std::pair<const Facts*, std::uint64_t>> most_of_;  // whose most_who is, by policy
  std::deque<Known> known_;                                      // addresses stay
  std::vector<std::unique_ptr<Lesser>> lessers_;  // addresses stay: prices are pointed to
  std::deque<Estimate> estimates_;
  std::map<std::pair<std::string, std::string>, std::uint32_t> estimate_of_;
  QuotaTable table_;
  Instant now_;
  Instant matches_until_;

  // Of the request that is decided; kept for their memory.
  std::span<const QuotaUse> uses_;
  std::span<const std::uint32_t> of_;
  std::vector<QuotaUse> own_uses_;
  std::vector<std::uint32_t> own_of_;
  std::vector<Standing> standings_;
  DecisionScratch scratch_;
  std::vector<ledger::AlertRecord> crossed_;
  std::vector<std::size_t> clamped_;
  Facts own_facts_;

  std::vector<Open> open_;
  std::uint32_t free_ = kNone;
  std::vector<End> ends_;  // a heap, the earliest on top
  static constexpr std::uint32_t kNone = UINT32_MAX;
  ReplayTotals totals_;
};

// Two sets of policies beside each other, and what really happened.
class WhatIf {
 public:
  WhatIf(const PolicySet& before, const PolicySet& after, Replay::FindLesser lesser_before,
         Replay::FindLesser lesser_after, Replay::Options options)
      : before_(before, std::move(lesser_before), options),
        after_(after, std::move(lesser_after), options) {}

  // The same facts as either configuration has them: its families and classes of models. Numbered
  // 0, 1, 2, ...
  std::uint32_t Know(const Facts& before, const Facts& after);
  // `request.facts` is a number of Know.
  void Add(PastRequest request);
  void Finish();

  const Replay& before() const { return before_; }
  const Replay& after() const { return after_; }
  // So many requests went from one fate to another.
  std::int64_t moved(Fate from, Fate to) const {
    return moved_[static_cast<std::size_t>(from)][static_cast<std::size_t>(to)];
  }
  // As it was: what was booked, refused and degraded then.
  NanoUsdSum booked() const { return booked_; }
  std::int64_t refused() const { return refused_; }
  std::int64_t degraded() const { return degraded_; }

 private:
  Replay before_;
  Replay after_;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> numbers_;  // those of either replay
  std::array<std::array<std::int64_t, kFates>, kFates> moved_{};
  NanoUsdSum booked_ = 0;
  std::int64_t refused_ = 0;
  std::int64_t degraded_ = 0;
};

}  // namespace weir::policy
