#include "gateway/pipeline.h"

namespace weir::gateway {

// The routes of a model in the operator's order, each tried once. Those whose upstream speaks
// another family are no routes of this call.
const config::ModelRoute* NextRoute(const config::Config& config, const Operation& operation,
                                    const Plan& plan, std::size_t attempts) {
  for (const auto& route : plan.model->routes) {
    if (!Speaks(config.upstreams[route.upstream].kind, operation.dialect)) continue;
    if (attempts == 0) return &route;
    --attempts;
  }
  return nullptr;
}

bool MayTryAnother(const Exchange& x, const Downstream& downstream) {
  return x.attempts.back().retry != Retry::kNever && !downstream.started() && !x.streaming &&
         x.interrupt.why() == Interruption::kNone;
}

}  // namespace weir::gateway
