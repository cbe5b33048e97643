// Policies on the path: what they see of a request, which of them it meets, and what they say to
// its caller. What they allow is decided with the hold, in the credit machine.
#include <algorithm>

#include "config/scalar.h"
#include "gateway/pipeline.h"

namespace weir::gateway {
namespace {

using config::Dimension;

// How often a request may be sent to another model: policies may send it round in a ring.
constexpr std::size_t kMovesMax = 4;

bool Generates(const Exchange& x) {
  return x.operation.kind == OperationKind::kGenerate ||
         x.operation.kind == OperationKind::kCountTokens;
}

// The upstreams that may serve the plan's model, each once.
void GatherProviders(Exchange& x) {
  x.providers.clear();
  for (const config::ModelRoute& route : x.plan.model->routes) {
    const config::Upstream& upstream = x.config().upstreams[route.upstream];
    if (!Speaks(upstream.kind, x.operation.dialect)) continue;
    if (std::ranges::find(x.providers, upstream.name) == x.providers.end()) {
      x.providers.push_back(upstream.name);
    }
  }
}

void GatherFacts(Exchange& x) {
  const identity::KeyRecord& key = *x.principal->key;
  const config::Model& model = *x.plan.model;
  policy::Facts& facts = x.facts;
  facts = {};
  facts[Dimension::kEnvironment] = x.config().environment;
  for (const config::Attribute& attribute : x.metadata.attributes) {
    facts[attribute.dimension] = attribute.value;
  }
  facts[Dimension::kKey] = key.name;
  facts[Dimension::kWorkspace] = key.workspace;
  // A wildcard serves any name, and the name is what policies mean.
  facts[Dimension::kModel] = model.id == "*" ? std::string_view(x.plan.shape.model) : model.id;
  facts[Dimension::kModelFamily] = model.family;
  facts[Dimension::kModelClass] = model.model_class;
  facts[Dimension::kEndpoint] = x.operation.name;
  facts[Dimension::kModality] = x.plan.shape.audio ? "audio" : "text";
  GatherProviders(x);
  facts.providers = x.providers;
  facts.action = x.metadata.action;
  facts.action_scope = key.workspace.empty() ? key.name : key.workspace;
}

// "500 USD a month", "2 attempts an action".
std::string LimitText(const config::Policy& policy, std::int64_t limit) {
  std::string text = policy::AmountText(policy.unit, limit);
  if (policy.unit == config::QuotaUnit::kConcurrent) return text;
  const config::Window& window = policy.window;
  static constexpr std::string_view kNames[] = {"minute",   "hour",     "day",     "week",  "month",
                                                "campaign", "lifetime", "request", "action"};
  if (window.kind == config::WindowKind::kLifetime) return text + " in all";
  text += " for each ";
  if (window.every > 1 && window.kind <= config::WindowKind::kMonth) {
    return text + std::to_string(window.every) + " " +
           std::string(kNames[static_cast<std::size_t>(window.kind)]) + "s";
  }
  return text + std::string(kNames[static_cast<std::size_t>(window.kind)]);
}

}  // namespace

std::optional<RefusalReason> ReadMetadata(Exchange& x) {
  if (!Generates(x) && x.operation.kind != OperationKind::kAskApproval) return std::nullopt;
  identity::MetadataHeaders headers(x.config().brand.header_prefix);
  for (const auto& [name, value] : x.head->headers) headers.Take(name, value);
  auto metadata = headers.Read(*x.principal->key, x.config().metadata_secret, x.started_at);
  if (!metadata) {
    return RefusalReason{.refusal = Refusal::kMetadataRefused,
                         .message = std::move(metadata.error().message),
                         .param = std::move(metadata.error().header)};
  }
  x.metadata = *std::move(metadata);
  return std::nullopt;
}

std::optional<RefusalReason> MeetPolicies(Exchange& x) {
  if (!x.snapshot->has_policies() || x.operation.kind != OperationKind::kGenerate) {
    return std::nullopt;
  }
  GatherFacts(x);
  if (x.snapshot->policies->Match(x.facts, x.started_at, x.quotas)) return std::nullopt;
  x.quotas.clear();
  return RefusalReason{.refusal = Refusal::kInternal,
                       .message = "This request meets more policies than can be held at once",
                       .hint = "An operator must write fewer policies that match one request"};
}

bool DegradedByPolicy(Exchange& x) {
  if (x.admission.refusal == Refusal::kNone || !x.admission.quota) return false;
  const config::Policy& policy = *x.quotas[*x.admission.quota].policy;
  if (policy.action != config::PolicyAction::kDegrade) return false;
  // What frees itself in a moment is waited for by the caller; a lesser answer would stay.
  const std::string before = x.plan.model->id;
  const config::Model* const lesser = x.config().FindModel(policy.degrade_to);
  if (lesser == nullptr || lesser == x.plan.model || x.policy_moves >= kMovesMax) return false;
  if (!MoveTo(x, *lesser)) return false;
  ++x.policy_moves;
  // The first model was asked for, the last one serves.
  const auto arrow = x.relief.model.find("->");
  x.relief.model =
      (arrow == std::string::npos ? before : x.relief.model.substr(0, arrow)) + "->" + lesser->id;
  x.relief.policy = policy.id;
  return true;
}

RefusalReason ExplainPolicy(const Exchange& x) {
  const AdmitReply& reply = x.admission;
  const config::Policy& policy = *x.quotas[*reply.quota].policy;
  RefusalReason reason{.refusal = reply.refusal, .policy = policy.id, .owner = policy.owner};
  const bool resets = reply.quota_resets_at.ns != INT64_MAX;
  const bool later =
      reply.refusal == Refusal::kQuotaExceeded || reply.refusal == Refusal::kPolicyBudgetExceeded ||
      reply.refusal == Refusal::kPolicyBudgetLater || reply.refusal == Refusal::kAttemptsExhausted;
  if (resets && later) reason.resets_at = reply.quota_resets_at;
  // Every dialect has a message, so all of it is there: which, whose, until when, what to do.
  reason.message = std::string(TextOf(reply.refusal).message) + ": policy " + policy.id;
  if (!policy.owner.empty()) reason.message += " of " + policy.owner;
  if (reply.quota_limit > 0) {
    reason.message += " allows " + LimitText(policy, reply.quota_limit) + ", left are " +
                      policy::AmountDigits(policy.unit, reply.quota_remaining);
  }
  if (reason.resets_at) reason.message += "; it resets at " + config::FormatTime(*reason.resets_at);
  switch (reply.refusal) {
    case Refusal::kRequestExceedsLimit:
    case Refusal::kPolicyRequestExceedsBudget:
      reason.hint = "Send a shorter input or set a lower maximum output, or ask for more";
      break;
    case Refusal::kApprovalRequired:
      reason.hint = policy.approval.condition.empty()
                        ? "Ask for an approval of more"
                        : "Ask for an approval: " + policy.approval.condition;
      break;
    case Refusal::kPolicyInFlight:
    case Refusal::kPolicyConcurrency:
      reason.hint = "Try again when requests in progress have ended";
      break;
    case Refusal::kAttemptsExhausted:
      reason.hint = "Begin another action, or ask for more attempts";
      break;
    default:
      reason.hint = "Ask for more";
      break;
  }
  if (!policy.contact.empty()) reason.hint += ": " + policy.contact;
  return reason;
}

std::string ShadowRefusals(const Exchange& x) {
  std::string text;
  for (std::size_t i = 0; i < x.quotas.size() && i < 64; ++i) {
    if ((x.admission.shadow_refusals >> i & 1) == 0) continue;
    if (!text.empty()) text += ", ";
    text += x.quotas[i].policy->id;
  }
  return text;
}

}  // namespace weir::gateway
