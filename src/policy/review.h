// What a person who answers for a budget should look at: how the last period differs from the one
// before it, owner by owner, and which policy to change. The signals are those of the guide to
// quota management (seed 003): each is a ratio that moved, never a judgement about one request.
//
// Pure aggregation over requests that ended. Only integers: ratios are in thousandths, averages
// and prices whole. Whose a request is follows from the policies it meets: an owner's figures are
// those of all requests that some policy of theirs looks at.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/usage.h"
#include "policy/policy_set.h"
#include "policy/what_if.h"

namespace weir::policy {

// One request that ended. Everything it points to outlives the call.
struct ReviewedRequest {
  std::uint32_t facts = 0;  // a number of Review::Know: as it was served
  std::string_view action;  // empty: an action of its own
  Instant started_at;
  bool served = false;  // the whole answer left
  bool refused = false;
  std::string_view refused_by;   // a policy; empty: none
  std::string_view degraded_by;  // the last one
  std::string_view shadows;      // "a, b": that would have refused it
  std::int64_t attempts = 0;
  std::int64_t output_granted = 0;  // over all choices
  Usage usage;
  NanoUsd cost;
};

// What the requests of one owner, key or policy came to in one period.
struct Figures {
  std::int64_t requests = 0;
  std::int64_t served = 0;
  std::int64_t refused = 0;
  std::int64_t degraded = 0;
  std::int64_t shadow_refused = 0;
  std::int64_t truncated = 0;   // of the served: the answer reached the bound
  NanoUsdSum input_tokens = 0;  // of the served, as the next three
  NanoUsdSum cached_tokens = 0;
  NanoUsdSum output_tokens = 0;
  NanoUsdSum cost = 0;
  NanoUsdSum dear_cost = 0;  // of models that are not of class standard
  std::int64_t images = 0;
  std::int64_t final_images = 0;
  std::int64_t videos = 0;
  std::int64_t video_rerenders = 0;  // for an action that had one, or said to be again
  std::int64_t production = 0;       // requests, as the next
  std::int64_t elsewhere = 0;        // in other environments
  // Of requests whose action has an outcome.
  std::int64_t accepted = 0;  // actions, as the next
  std::int64_t rejected = 0;
  std::int64_t told_attempts = 0;
  NanoUsdSum told_cost = 0;

  // None: nothing to divide by.
  std::optional<std::int64_t> input_each() const;  // tokens per served request
  std::optional<std::int64_t> output_each() const;
  std::optional<std::int64_t> output_ratio() const;     // permille of the input
  std::optional<std::int64_t> truncated_share() const;  // permille of the served
  std::optional<std::int64_t> cache_share() const;      // permille of the input
  std::optional<std::int64_t> final_share() const;      // permille of the images
  std::optional<std::int64_t> rerender_share() const;   // permille of the videos
  std::optional<std::int64_t> elsewhere_share() const;  // permille of the requests
  std::optional<std::int64_t> nano_usd_per_token() const;
  std::optional<std::int64_t> dear_share() const;             // permille of the cost
  std::optional<std::int64_t> attempts_per_accepted() const;  // permille: 1000 is one
  std::optional<std::int64_t> cost_per_accepted() const;      // nano-USD
};

struct Compared {
  Figures before;
  Figures now;
};

enum class SignalKind : std::uint8_t {
  kInputUp,      // tokens of input per served request
  kOutputUp,     // output to input
  kTruncated,    // answers that end at the bound
  kFinalImages,  // images in final quality
  kRerenders,    // videos made again
  kCacheDown,    // input from a cache
  kAttempts,     // billable attempts per accepted result
  kKeyUp,        // a key above its baseline
  kLoadTest,     // other environments with more requests than production
  kDearer,       // what a token costs
};
inline constexpr std::size_t kSignalKinds = 10;
std::string_view Name(SignalKind kind);
// What it says, for a person: "Input tokens per served request".
std::string_view TitleOf(SignalKind kind);
// What to do about it, in a sentence.
std::string_view AdviceOf(SignalKind kind);

struct Signal {
  SignalKind kind = SignalKind::kInputUp;
  std::string subject;                 // a key's name; empty: the owner as a whole
  std::optional<std::int64_t> before;  // none: nothing to compare with
  std::int64_t now = 0;                // in the same measure
  std::string policy;                  // of the owner, to change; empty: none limits this
};

struct OwnerReview {
  std::string owner;  // empty: requests that no policy with an owner looks at
  Compared figures;
  std::vector<Signal> signals;  // in the order of their kinds
};

struct PolicyReview {
  const config::Policy* policy = nullptr;
  std::string id;    // the policy's, or of one of its budgets of recovery: "ID/attempts"
  Compared figures;  // of the requests it looks at; refused and degraded: by it
};

// From when on each signal is given. In thousandths, where it is a ratio.
struct ReviewThresholds {
  std::int64_t input_growth = 1'250;
  std::int64_t output_ratio_growth = 1'500;
  std::int64_t truncated_share = 50;
  std::int64_t final_share = 500;
  std::int64_t rerender_share = 200;
  std::int64_t cache_drop = 800;  // of what it was
  std::int64_t attempts_per_accepted = 1'500;
  std::int64_t key_growth = 2'000;
  std::int64_t key_share = 50;  // of its owner's cost, below which a key is noise
  std::int64_t elsewhere_share = 500;
  std::int64_t price_growth = 1'200;
  std::int64_t requests_min = 20;  // served, below which nothing is said of averages
};

class Review {
 public:
  // Two periods that touch: [from, middle) and [middle, to). What is kept of the first may begin
  // later than `from`: averages and shares are compared as they are, sums by their rates.
  struct Periods {
    Instant from;
    Instant middle;
    Instant to;
  };
  // `set` outlives it.
  Review(const PolicySet& set, Periods periods, ReviewThresholds thresholds = {});
  Review(const Review&) = delete;
  Review& operator=(const Review&) = delete;

  // Facts that requests have, by number: 0, 1, 2, ... Its texts are copied.
  std::uint32_t Know(const Facts& facts);
  // What came of an action. Before any request of it is added.
  //   scope  whose action: Facts::action_scope
  void TellOutcome(std::string_view scope, std::string_view action, bool accepted);
  // In any order, but for the requests of one action, which come as they were.
  void Add(const ReviewedRequest& request);

  struct Report {
    Periods periods;
    Compared all;
    std::vector<OwnerReview> owners;     // by name
    std::vector<PolicyReview> policies;  // as the set has them
    std::int64_t actions_left_out = 0;   // of those there was no room for
  };
  Report Finish();

 private:
  struct Known {
    std::string texts;
    Facts facts;
    std::vector<std::uint32_t> policies;
    std::vector<std::uint32_t> owners;
    std::string key;
  };
  struct Action {
    bool accepted = false;
    bool told = false;
    bool video = false;  // it has had one
    // Owners and policies that have counted its outcome, by period.
    std::array<bool, 2> counted{};
  };
  struct Owner {
    std::string name;
    Compared figures;
    std::map<std::string, Compared, std::less<>> keys;
  };

  std::uint32_t OwnerIndex(const std::string& name);
  std::uint32_t PolicyIndex(std::string_view id) const;
  void Count(const ReviewedRequest& request, const Known& known, const Action* action,
             bool first_of_action, bool rerender, Figures& figures) const;
  std::vector<Signal> SignalsOf(const Owner& owner) const;
  std::string PolicyFor(SignalKind kind, const std::string& owner) const;
  bool IsEnough(const Compared& compared) const;

  static constexpr std::uint32_t kNone = UINT32_MAX;
  static constexpr std::size_t kActionsMax = 4'000'000;

  const PolicySet& set_;
  const Periods periods_;
  const ReviewThresholds thresholds_;
  std::deque<Known> known_;
  std::vector<PolicyReview> policies_;
  std::map<std::string_view, std::uint32_t> policy_of_;  // of their ids
  std::deque<Owner> owners_;
  std::map<std::string, std::uint32_t> owner_of_;
  std::unordered_map<std::uint64_t, Action> actions_;  // by the hash of scope and name
  std::int64_t actions_left_out_ = 0;
  Compared all_;
  Instant first_seen_{INT64_MAX};  // of the first period
};

}  // namespace weir::policy
