#include "gateway/pipeline.h"

namespace weir::gateway {

// The routes of a model in the operator's order, each tried once.
const config::ModelRoute* NextRoute(const Plan& plan, const std::vector<Attempt>& attempts) {
  const auto& routes = plan.model->routes;
  return attempts.size() < routes.size() ? &routes[attempts.size()] : nullptr;
}

bool MayTryAnother(const Exchange& x, const Downstream& downstream) {
  return x.attempts.back().retry != Retry::kNever && !downstream.started() && !x.streaming &&
         x.interrupt.why() == Interruption::kNone;
}

}  // namespace weir::gateway
