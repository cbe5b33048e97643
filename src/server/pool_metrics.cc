#include "server/pool_metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <string>
#include <utility>

namespace weir::server {
namespace {

using Family = telemetry::Metrics::Family;

constexpr std::string_view kOther = "other";

// Adds up figures by name, at most `labelled` of them with a series of their own.
class Figures {
 public:
  Figures(std::string_view label, std::size_t labelled, std::vector<std::string_view> names)
      : label_(label), labelled_(labelled), others_(names.size()) {
    for (const std::string_view name : names) families_.push_back({.name = name, .series = {}});
  }

  // `values` as many as there are names.
  void Add(std::string_view name, bool hidden, std::span<const std::int64_t> values) {
    // Something that is called like the rest would be a series of the same labels: it is counted
    // there.
    const bool own = !hidden && name != kOther && families_[0].series.size() < labelled_;
    for (std::size_t i = 0; i < families_.size(); ++i) {
      if (own) {
        families_[i].series.push_back({fmt::format("{}=\"{}\"", label_, name), values[i]});
      } else {
        others_[i] += values[i];
      }
    }
    any_other_ = any_other_ || !own;
  }

  std::vector<Family> Take() {
    for (std::size_t i = 0; any_other_ && i < families_.size(); ++i) {
      families_[i].series.push_back({fmt::format("{}=\"{}\"", label_, kOther), others_[i]});
    }
    return std::move(families_);
  }

 private:
  std::string_view label_;
  std::size_t labelled_;
  std::vector<Family> families_;
  std::vector<std::int64_t> others_;
  bool any_other_ = false;
};

}  // namespace

std::vector<Family> AccountFamilies(
    const config::Config& config,
    const std::function<std::optional<routing::AccountView>(std::string_view)>& view) {
  Figures figures("account", kAccountsLabelled, {"weir_account_usable", "weir_account_in_flight"});
  for (const config::Account& account : config.accounts) {
    const auto seen = view(account.id).value_or(routing::AccountView{});
    const std::array<std::int64_t, 2> values = {seen.usable ? 1 : 0, seen.in_flight};
    figures.Add(account.id, /*hidden=*/false, values);
  }
  return figures.Take();
}

std::vector<Family> PoolFamilies(const config::Config& config,
                                 const std::function<routing::PoolView(std::uint32_t)>& view) {
  Figures figures("pool", kPoolsLabelled,
                  {"weir_pool_usable_accounts", "weir_pool_resting_accounts", "weir_pool_capacity",
                   "weir_pool_in_flight", "weir_pool_waiting"});
  for (std::uint32_t i = 0; i < config.pools.size(); ++i) {
    const routing::PoolView seen = view(i);
    const std::array<std::int64_t, 5> values = {seen.usable, seen.resting, seen.capacity,
                                                seen.in_flight, seen.waiting};
    // The pool of a key has the key's name in its own, which whoever scrapes may not learn.
    figures.Add(config.pools[i].name, config.pools[i].name.contains(':'), values);
  }
  return figures.Take();
}

void PoolMetrics::Register(telemetry::Metrics& metrics, PoolHost& pool,
                           std::function<std::shared_ptr<const config::Config>()> config) {
  metrics.AddCollector([&pool, config = std::move(config)] {
    const auto now = config();
    auto families =
        AccountFamilies(*now, [&](std::string_view id) { return pool.ViewAccount(id); });
    std::ranges::move(PoolFamilies(*now, [&](std::uint32_t i) { return pool.ViewPool(i); }),
                      std::back_inserter(families));
    return families;
  });
  metrics.AddCollector([this, &pool] {
    std::vector<Family> families = {{.name = "weir_account_rests_total", .series = {}},
                                    {.name = "weir_sticky_total", .series = {}},
                                    {.name = "weir_account_probes_total", .series = {}}};
    // All classes from the start: a rate over a series that appears with its first rest misses it.
    for (std::size_t i = 0; i < rests_.size(); ++i) {
      const auto why = static_cast<routing::Outcome>(i);
      const bool rests = routing::RuleOf(why) != nullptr || why == routing::Outcome::kModelGone;
      if (!rests) continue;
      families[0].series.push_back({fmt::format("class=\"{}\"", routing::Name(why)),
                                    rests_[i].load(std::memory_order_relaxed)});
    }
    const routing::StickyCounts sticky = pool.Sticky();
    families[1].series = {{"result=\"kept\"", sticky.kept},
                          {"result=\"away\"", sticky.away},
                          {"result=\"escaped\"", sticky.escaped}};
    using enum routing::Outcome;
    for (const routing::Outcome outcome : {kServed, kAuthDead, kServerError, kNothing}) {
      families[2].series.push_back(
          {fmt::format("result=\"{}\"", routing::Name(outcome)),
           probes_[static_cast<std::size_t>(outcome)].load(std::memory_order_relaxed)});
    }
    return families;
  });
}

void PoolMetrics::CountRest(routing::Outcome why) {
  rests_[static_cast<std::size_t>(why)].fetch_add(1, std::memory_order_relaxed);
}

void PoolMetrics::CountProbe(routing::Outcome outcome) {
  probes_[static_cast<std::size_t>(outcome)].fetch_add(1, std::memory_order_relaxed);
}

}  // namespace weir::server
