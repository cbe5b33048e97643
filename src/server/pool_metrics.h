// What a scrape sees of accounts and pools. Their number is the operator's and may be large, so the
// labels are bounded here: the first kAccountsLabelled accounts in the order of the configuration,
// and kPoolsLabelled pools, have series of their own, the rest share "other". So do the pools of
// accounts that are reserved for a key: /metrics is open, and names of keys are not.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "routing/account_pool.h"
#include "server/pool_host.h"
#include "telemetry/metrics.h"

namespace weir::server {

inline constexpr std::size_t kAccountsLabelled = 200;
inline constexpr std::size_t kPoolsLabelled = 200;

// An account or pool that the view does not know, because the configuration changed meanwhile,
// counts as nothing.
std::vector<telemetry::Metrics::Family> AccountFamilies(
    const config::Config& config,
    const std::function<std::optional<routing::AccountView>(std::string_view)>& view);
std::vector<telemetry::Metrics::Family> PoolFamilies(
    const config::Config& config, const std::function<routing::PoolView(std::uint32_t)>& view);

class PoolMetrics {
 public:
  // Once. All three outlive the metrics' last scrape.
  void Register(telemetry::Metrics& metrics, PoolHost& pool,
                std::function<std::shared_ptr<const config::Config>()> config);
  // An account went to rest; any thread.
  void CountRest(routing::Outcome why);
  // An account answered a probe; any thread.
  void CountProbe(routing::Outcome outcome);

 private:
  using Counts = std::array<std::atomic<std::int64_t>, routing::kOutcomes>;
  Counts rests_{};
  Counts probes_{};
};

}  // namespace weir::server
