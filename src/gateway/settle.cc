#include <algorithm>

#include "gateway/pipeline.h"

namespace weir::gateway {

SettleCommand MakeSettle(const Exchange& x) {
  SettleCommand command{.request = x.id,
                        .usage = x.usage,
                        .charge = x.charge,
                        .attempts = static_cast<std::int64_t>(x.attempts.size()),
                        .by_fallback = x.attempts.size() > 1};
  if (!x.quotas.empty() && !x.attempts.empty()) {
    command.fallback_spend = FallbackSpend(x);
    const auto served = std::ranges::find(x.providers, x.attempts.back().upstream->name);
    const auto bit = static_cast<std::size_t>(served - x.providers.begin());
    if (bit < x.providers.size() && bit < 63) command.providers = std::uint64_t{1} << bit;
  }
  if (x.operation.kind == OperationKind::kCountTokens) {
    command.usage = {};
    command.charge = false;
  }
  return command;
}

}  // namespace weir::gateway
