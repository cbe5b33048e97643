#include "base/money.h"
#include "gateway/pipeline.h"

namespace weir::gateway {

AdmitCommand MakeAdmit(const RequestId& id, const identity::KeyRecord& key, const Plan& plan) {
  return {.request = id, .key = key.id, .limits = key.limits, .quote = plan.quote};
}

RefusalReason ExplainRefusal(const AdmitReply& reply, const Plan& plan) {
  RefusalReason reason{.refusal = reply.refusal};
  if (reply.refusal == Refusal::kRequestExceedsBudget) {
    if (reply.output_tokens_fitting > 0 && !plan.unbounded) {
      reason.hint = "Set the maximum output to " + std::to_string(reply.output_tokens_fitting) +
                    " tokens or less, or ask for a larger budget";
    } else {
      reason.hint = "Send a shorter input, or ask for a larger budget";
    }
  } else if (reply.refusal == Refusal::kBudgetExceeded) {
    reason.hint =
        "Left of the budget: " + FormatUsd(reply.budget_remaining) + " USD. Ask for a larger one";
  }
  return reason;
}

void ApplyGrant(const AdmitReply& admission, const identity::KeyRecord& key,
                const Operation& operation, Plan& plan) {
  // The hold is only as good as the bound behind it, so under a budget the upstream is told the
  // bound even if the caller set none, or set one above the model's.
  const bool bounded = key.limits.budget.has_value() && !plan.unbounded &&
                       operation.kind == OperationKind::kGenerate && operation.may_stream &&
                       admission.output_tokens_granted > 0;
  const std::int64_t asked = plan.shape.output.tokens;
  if (bounded && (asked == 0 || asked > admission.output_tokens_granted)) {
    dialect::EditOutputBound(plan.shape, admission.output_tokens_granted, plan.edits);
  }
  if (plan.stream) plan.strip_usage = dialect::EditIncludeUsage(plan.shape, plan.edits);
}

}  // namespace weir::gateway
