#include <algorithm>

#include "base/money.h"
#include "gateway/pipeline.h"
#include "gateway/wallet_owner.h"

namespace weir::gateway {

HoldMode HoldModeOf(const Exchange& x) {
  const config::Package& package = x.config().packages[x.routing.need.package];
  // Only a stream can be cut where its hold ends.
  return package.hold == config::HoldRule::kAdaptive && x.plan.stream && !x.plan.shape.audio
             ? HoldMode::kAdaptive
             : HoldMode::kStrict;
}

AdmitCommand MakeAdmit(const Exchange& x) {
  const identity::KeyRecord& key = *x.principal->key;
  AdmitCommand command{.request = x.id, .key = key.id, .limits = key.limits, .quote = x.plan.quote};
  const config::Package& package = x.config().packages[x.routing.need.package];
  if (const auto unit = UnitOf(package.wallet)) {
    command.wallet = WalletUse{.wallet = WalletOf(key, *unit),
                               .rate = {*unit, x.plan.model->multiplier.ppm},
                               .low = WalletAmount(package.wallet_low, *unit)};
  }
  command.mode = HoldModeOf(x);
  command.quotas = x.quotas;
  command.facts = &x.facts;
  command.attempts_max = x.config().fallback.attempts * 2;  // when all it meets are limits
  command.fallback_spend_percent = x.config().fallback.spend_percent;
  command.idempotency = x.idempotency;
  return command;
}

RefusalReason ExplainRefusal(const AdmitReply& reply, const Exchange& x) {
  if (reply.quota) return ExplainPolicy(x);
  RefusalReason reason{.refusal = reply.refusal};
  switch (reply.refusal) {
    case Refusal::kRequestExceedsBudget:
      if (reply.output_tokens_fitting > 0 && !x.plan.unbounded) {
        reason.hint = "Set the maximum output to " + std::to_string(reply.output_tokens_fitting) +
                      " tokens or less, or ask for a larger budget";
      } else {
        reason.hint = "Send a shorter input, or ask for a larger budget";
      }
      break;
    case Refusal::kBudgetExceeded:
      reason.hint =
          "Left of the budget: " + FormatUsd(reply.budget_remaining) + " USD. Ask for a larger one";
      break;
    case Refusal::kInsufficientBalance:
      // Quota.host's sentence, with the name of whoever runs this.
      reason.message = "Your " + x.config().brand.name + " balance is too low for this route.";
      reason.hint =
          "GET /v1/balance shows what is left; buy or redeem a pack, or send a shorter "
          "request";
      break;
    case Refusal::kIdempotencyKeyReused:
      reason.hint = "Use a new key for a new request";
      break;
    default:
      break;
  }
  return reason;
}

void ApplyGrant(Exchange& x) {
  const AdmitReply& admission = x.admission;
  Plan& plan = x.plan;
  const bool by_policy = std::ranges::any_of(x.quotas, [](const policy::QuotaUse& use) {
    return policy::GrowsWithOutput(use.policy->unit) &&
           policy::RuleOf(*use.policy) != ledger::QuotaRule::kNone;
  });
  // The hold is only as good as the bound behind it, so under a budget the upstream is told the
  // bound even if the caller set none, or set one above the model's.
  const bool bounded =
      (x.principal->key->limits.budget.has_value() || admission.wallet_held.n > 0 || by_policy) &&
      !plan.unbounded && x.operation.kind == OperationKind::kGenerate && x.operation.may_stream &&
      admission.output_tokens_granted > 0;
  const std::int64_t asked = plan.shape.output.tokens;
  if (bounded && (asked == 0 || asked > admission.output_tokens_granted)) {
    dialect::EditOutputBound(plan.shape, admission.output_tokens_granted, plan.edits);
  }
  if (plan.stream) {
    const bool added = dialect::EditIncludeUsage(plan.shape, plan.edits);
    // Who pays from a wallet reads the charge in the usage of the last chunk, asked for or not.
    plan.strip_usage = added && !plan.wallet;
  }
}

}  // namespace weir::gateway
