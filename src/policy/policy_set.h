// All policies in force, ready to be asked which of them a request meets.
//
// Made once for a configuration and never changed: a request keeps the set it began with. A
// policy's retry rule becomes policies of its own ("ID/attempts", ...), so that budgets of recovery
// are counted, held and told by the same machinery as all others.
//
// Matching looks each dimension of the request up once and then tests the conditions of the few
// policies that one condition already points to, so its cost follows the number of policies that
// match and not of those there are.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/id.h"
#include "base/time.h"
#include "config/config.h"

namespace weir::policy {

// Who asks for what: what policies look at. Views into what outlives the request.
struct Facts {
  std::array<std::string_view, config::kDimensions> values{};  // empty: unknown. kProvider: unused
  // The upstreams that may serve it, each once. Policies on a provider hold for all of them and are
  // charged for the one that served.
  std::span<const std::string_view> providers = {};
  std::string_view action = {};        // what the caller calls its action; empty: the request alone
  std::string_view action_scope = {};  // whose action: two callers' "1" are not one action

  std::string_view& operator[](config::Dimension d) { return values[static_cast<std::size_t>(d)]; }
  std::string_view operator[](config::Dimension d) const {
    return values[static_cast<std::size_t>(d)];
  }
};

// A policy that a request meets, and which of its counters.
struct QuotaUse {
  const config::Policy* policy = nullptr;
  std::int64_t limit = 0;       // with what was approved on top
  std::uint64_t providers = 0;  // bits of Facts::providers that it is about; 0: whoever serves
  Id128 counter;                // empty: the request is judged alone and nothing is kept
};

// Of one request. More than the ledger writes into a record cannot be held at once: a request that
// meets more is refused.
inline constexpr std::size_t kUsesMax = 128;

class PolicySet {
 public:
  PolicySet() = default;
  PolicySet(std::span<const config::Policy> policies, std::span<const config::Raise> raises);
  PolicySet(const PolicySet&) = delete;  // uses point into it
  PolicySet& operator=(const PolicySet&) = delete;

  bool empty() const { return policies_.empty(); }
  // Whether a request's dimension or action can matter.
  bool LooksAtActions() const { return actions_; }

  // The policies the request meets, in their order: `out` is cleared first. False when it meets
  // more than kUsesMax: then nothing may be served, for some of them would not be held.
  //   cost  a look-up for each dimension that policies name, 30 ns for each policy that matches.
  [[nodiscard]] bool Match(const Facts& facts, Instant now, std::vector<QuotaUse>& out) const;

  // The next moment at which Match may answer another thing for the same facts: a campaign or an
  // approval begins or ends. INT64_MAX: never.
  Instant ChangesAfter(Instant now) const;

  const config::Policy* Find(std::string_view id) const;
  std::span<const config::Policy* const> all() const { return order_; }

 private:
  struct Entry {
    config::Policy policy;
    bool on_provider = false;         // in match, except or per
    std::uint64_t identity_high = 0;  // of its counters: the hash of id, unit and window
    std::uint64_t identity_low = 0;
    std::vector<config::Raise> raises;
  };
  // Policies that a value of a dimension points to.
  struct Place {
    std::uint64_t hash = 0;  // of dimension and value; 0: free
    config::Dimension dimension = config::Dimension::kKey;
    std::string_view value;
    std::uint32_t first = 0;  // into listed_
    std::uint32_t count = 0;
  };

  void Add(const config::Policy& policy, std::span<const config::Raise> raises);
  void BuildIndex();
  void Consider(const Entry& entry, const Facts& facts, Instant now,
                std::vector<QuotaUse>& out) const;
  void Use(const Entry& entry, const Facts& facts, std::string_view provider,
           std::uint64_t providers, Instant now, std::vector<QuotaUse>& out) const;

  std::deque<Entry> policies_;  // addresses stay
  std::vector<const config::Policy*> order_;
  std::vector<std::uint32_t> always_;  // those no condition points to
  std::vector<std::uint32_t> listed_;
  std::vector<Place> places_;     // open addressing
  std::uint32_t dimensions_ = 0;  // that places_ has
  std::vector<Instant> changes_;  // of campaigns and approvals, sorted
  bool actions_ = false;
};

// "team=growth,user=ada": what names a policy's counter besides the policy. '%', ',', '=' in a
// value are escaped as in a URL. `provider` stands for kProvider.
std::string CounterText(const config::Policy& policy, const Facts& facts,
                        std::string_view provider);

// The same of a use.
std::string CounterText(const QuotaUse& use, const Facts& facts);

}  // namespace weir::policy
