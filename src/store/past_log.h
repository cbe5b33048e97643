// Stored requests as what-if and reports want them: in the order in which they began, with what
// policies see of each. Reads no file itself: store/request_scan hands the exchanges over.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "config/config.h"
#include "policy/policy_set.h"
#include "policy/what_if.h"
#include "store/request_scan.h"

namespace weir::store {

// Texts under numbers, for those that repeat a million times.
class Interned {
 public:
  // The number of a text: 0, 1, 2, ... in the order in which they came. `is_new`: now for the
  // first time.
  std::uint32_t Of(std::string_view text, bool& is_new);

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const {
      return std::hash<std::string_view>()(text);
    }
  };
  std::unordered_map<std::string, std::uint32_t, Hash, std::equal_to<>> numbers_;
};

// A request that a policy sent to another model is of the one, or of the other.
enum class PastView : std::uint8_t {
  kAsAsked,   // for policies that are tried: with those that were refused
  kAsServed,  // for what was counted: without
};

// What policies see of an exchange. The views live as long as `exchange` stands where it does, and
// `config`.
//   config    whose families and classes of models count; a model that it does not have keeps those
//             of then
//   provider  kept for Facts::providers
policy::Facts FactsOf(const ExchangeReader& exchange, const config::Config& config, PastView view,
                      std::string_view& provider);

// What a text of these facts differs by, appended: equal texts have equal facts.
void AppendFactsKey(const ExchangeReader& exchange, PastView view, std::string& key);

// Of what an exchange keeps as numbers. Safe on damaged ones.
Instant StartOf(const ExchangeReader& exchange);
Usage UsageOf(const ExchangeReader& exchange);   // plausible
NanoUsd CostOf(const ExchangeReader& exchange);  // what was charged and what the operator bore

// Whether policies had a say about it, or would have: it was admitted, or a policy refused it.
bool MetPolicies(const ExchangeReader& exchange);

// The model that a policy may send a request to, as a configuration has it.
policy::Replay::FindLesser LesserOf(const config::Config& config, Instant now);

// Hands on every exchange that policies are about, in the order in which they began.
class PastLog final : public RequestScan::Taker {
 public:
  struct Counts {
    std::int64_t taken = 0;
    std::int64_t others = 0;    // policies had no say: no key, another call, failed before them
    std::int64_t unpriced = 0;  // a model whose price nobody knows any more
    std::int64_t too_old = 0;   // of before the log kept what policies see
  };

  class Sink {
   public:
    virtual ~Sink() = default;
    // An exchange whose facts are new: numbered 0, 1, 2, ... in the order of these calls.
    virtual void Know(const ExchangeReader& exchange) = 0;
    // `facts` is such a number. What it points to lives until the next call.
    virtual void Add(const policy::PastRequest& request) = 0;
  };

  // All outlive it. Exchanges that began outside [from, to) are passed over.
  //   config  whose prices stand for those that were not kept
  PastLog(PastView view, const config::Config& config, Instant from, Instant to, Sink& sink)
      : view_(view), config_(config), from_(from), to_(to), sink_(sink) {}

  void Take(const ExchangeReader& exchange, bool first) override;
  void EndSlot() override;

  const Counts& counts() const { return counts_; }

 private:
  struct Waiting {
    policy::PastRequest request;
    std::size_t action_at = 0;  // in actions_
    std::size_t action_size = 0;
  };
  // Where the words stand by which facts are told apart: the same place is the same text.
  struct Place {
    const char* operation = nullptr;
    const char* model = nullptr;
    const char* charged = nullptr;
    friend bool operator==(const Place&, const Place&) = default;
  };

  // What was taken last is not the record before the next.
  void ForgetPlace() { forgotten_ = true; }
  std::uint32_t FactsNumber(const ExchangeReader& exchange, bool first);
  const config::Price* PriceOf(const ExchangeReader& exchange, bool degraded, Instant started_at);

  const PastView view_;
  const config::Config& config_;
  const Instant from_;
  const Instant to_;
  Sink& sink_;
  Counts counts_;
  Interned facts_;
  std::string key_;  // kept for its memory
  std::uint32_t last_facts_ = 0;
  Place last_place_;
  bool forgotten_ = true;
  Interned prices_of_;
  std::deque<std::unique_ptr<config::Price>> prices_;  // null: bytes that are none
  const char* last_price_at_ = nullptr;
  const config::Price* last_price_ = nullptr;
  std::vector<Waiting> waiting_;
  std::vector<std::pair<std::int64_t, std::uint32_t>> order_;
  std::string actions_;
};

// Feeds a what-if.
class WhatIfSink final : public PastLog::Sink {
 public:
  // All outlive it.
  WhatIfSink(const config::Config& before, const config::Config& after, policy::WhatIf& what_if)
      : before_(before), after_(after), what_if_(what_if) {}
  void Know(const ExchangeReader& exchange) override;
  void Add(const policy::PastRequest& request) override { what_if_.Add(request); }

 private:
  const config::Config& before_;
  const config::Config& after_;
  policy::WhatIf& what_if_;
};

}  // namespace weir::store
