// relieve: under pressure a lesser model for simple and standard calls, one step less thought for
// complex ones. Before the hold, so the price is that of the model that serves.
#include "gateway/pipeline.h"

namespace weir::gateway {

bool LowerThought(Exchange& x) {
  const dialect::RequestShape& shape = x.plan.shape;
  const std::string_view lower = routing::LowerEffort(shape.reasoning_effort);
  if (lower.empty() || shape.reasoning_effort_value.length == 0) return false;
  x.plan.edits.push_back({shape.reasoning_effort_value.at, shape.reasoning_effort_value.length,
                          "\"" + std::string(lower) + "\""});
  x.relief.effort = shape.reasoning_effort + "->" + std::string(lower);
  return true;
}

bool MoveTo(Exchange& x, const config::Model& lesser) {
  const identity::KeyRecord& key = *x.principal->key;
  const config::PriceVersion* const price = x.config().PriceOf(lesser, lesser.id, x.started_at);
  const bool allowed =
      price != nullptr && (lesser.capabilities & x.operation.capability) != 0 &&
      identity::AllowsModel(key, lesser.id) && IsRouted(x.config(), lesser, x.operation) &&
      UncoveredService(lesser, x.plan.shape).empty() &&
      (lesser.permission.empty() || identity::HasPermission(key, lesser.permission));
  if (!allowed) return false;
  const bool capped =
      key.limits.budget.has_value() || x.plan.wallet.has_value() || x.snapshot->has_policies();
  x.plan.model = &lesser;
  x.plan.quote = MakeQuote(lesser, *price, capped, x.operation, x.plan.shape, x.plan.body,
                           x.config().useful_output_tokens_min);
  x.routing.need.model = static_cast<std::uint32_t>(&lesser - x.config().models.data());
  return true;
}

void Relieve(Exchange& x, Accounts& accounts) {
  const config::Model& model = *x.plan.model;
  const identity::KeyRecord& key = *x.principal->key;
  if (!model.downgrade || !key.allow_downgrade || x.operation.kind != OperationKind::kGenerate) {
    return;
  }
  const std::int64_t pressure = accounts.Pressure(x.routing.need.package);
  if (pressure <= model.downgrade->above_percent * 10) return;

  const dialect::RequestShape& shape = x.plan.shape;
  x.relief.task = routing::ClassOf({.input_bytes = static_cast<std::int64_t>(x.plan.body.size()),
                                    .turns = shape.turns,
                                    .tools = shape.has_tools,
                                    .effort = shape.reasoning_effort});
  if (x.relief.task == routing::TaskClass::kComplex) {
    LowerThought(x);
    return;
  }
  const config::Model* const lesser = x.config().FindModel(model.downgrade->to);
  if (lesser != nullptr && MoveTo(x, *lesser)) x.relief.model = model.id + "->" + lesser->id;
}

}  // namespace weir::gateway
