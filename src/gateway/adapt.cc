// adapt: the request in the form an upstream of the Codex kind takes, and the one retry without a
// parameter that it names as unsupported. Only for keys that ask for it, never for a Codex client.
#include <algorithm>

#include "dialect/codex_adapt.h"
#include "dialect/unsupported_parameter.h"
#include "gateway/pipeline.h"

namespace weir::gateway {
namespace {

// One body serves every account of the package, so one that takes little decides for all.
dialect::AdaptProfile ProfileOf(const Exchange& x) {
  const config::Config& config = x.config();
  const identity::KeyRecord& key = *x.principal->key;
  const std::uint32_t package = config.PackageOf(key.name, key.workspace, key.package);
  for (const std::uint32_t pool : config.packages[package].pools) {
    for (const std::uint32_t account : config.pools[pool].accounts) {
      if (config.accounts[account].adapt == config::AdaptProfile::kResponsesStrict) {
        return dialect::AdaptProfile::kResponsesStrict;
      }
    }
  }
  return dialect::AdaptProfile::kOpenAiApi;
}

bool TakesNoBound(const std::vector<std::string>& changes) {
  return std::ranges::any_of(changes, [](const std::string& change) {
    return change == "drop:max_output_tokens" || change == "drop:max_tokens" ||
           change == "drop:max_completion_tokens";
  });
}

bool IsAdapted(const Exchange& x) {
  return x.principal->key->codex_adaptation &&
         x.operation.dialect == dialect::Dialect::kOpenAiResponses &&
         x.operation.kind == OperationKind::kGenerate &&
         x.operation.capability == config::kCapResponses &&
         !dialect::IsCodexClient(x.head->Find("user-agent"));
}

// The plan of a body of ours. Whether the reply streams is for the caller to say.
std::expected<Plan, RefusalReason> PlanOf(Exchange& x, std::string body) {
  Adaptation& adaptation = x.adaptation;
  adaptation.body = std::move(body);
  auto plan = Resolve(*x.snapshot, *x.principal->key, *x.head, x.operation, *x.reader,
                      adaptation.body, x.started_at);
  if (!plan) return plan;
  plan->stream = adaptation.stream;
  plan->unbounded = adaptation.unbounded || TakesNoBound(adaptation.changes);
  return plan;
}

}  // namespace

std::expected<Plan, RefusalReason> ResolveAdapted(Exchange& x, std::string_view body) {
  const auto as_sent = [&] {
    return Resolve(*x.snapshot, *x.principal->key, *x.head, x.operation, *x.reader, body,
                   x.started_at);
  };
  if (!IsAdapted(x)) return as_sent();
  const auto asked = x.reader->Read(x.operation.dialect, body);
  if (!asked) return as_sent();  // which says what is wrong with it
  Adaptation& adaptation = x.adaptation;
  const bool compact = x.operation.upstream_path.ends_with("/compact");
  const dialect::AdaptProfile profile = ProfileOf(x);
  adaptation.wanted = true;
  adaptation.stream = x.operation.may_stream && asked->stream;
  // A strict upstream takes no bound, whether or not the caller set one.
  adaptation.unbounded = profile == dialect::AdaptProfile::kResponsesStrict && !compact;
  auto adapted = dialect::AdaptForCodex(
      body, profile,
      compact ? dialect::AdaptEndpoint::kResponsesCompact : dialect::AdaptEndpoint::kResponses,
      x.principal->key->payload_rules);
  if (!adapted) {
    return std::unexpected(RefusalReason{.refusal = adapted.error().refusal,
                                         .message = std::move(adapted.error().message),
                                         .param = std::move(adapted.error().param)});
  }
  adaptation.changes = std::move(adapted->changes);
  return PlanOf(x, std::move(adapted->text));
}

bool LeaveOutUnsupported(Exchange& x) {
  Adaptation& adaptation = x.adaptation;
  if (adaptation.unsupported.empty() || adaptation.retried ||
      x.interrupt.why() != Interruption::kNone) {
    return false;
  }
  adaptation.retried = true;
  auto body = dialect::DropMember(x.plan.body, adaptation.unsupported);
  if (!body) return false;
  adaptation.changes.push_back("drop:" + adaptation.unsupported);
  auto plan = PlanOf(x, std::move(*body));
  if (!plan) return false;
  // What was admitted stays admitted: the model, its price and the hold.
  plan->model = x.plan.model;
  plan->quote = x.plan.quote;
  plan->unbounded = plan->unbounded || x.plan.unbounded;
  x.plan = std::move(*plan);
  if (!x.relief.effort.empty()) LowerThought(x);
  ApplyGrant(x);
  x.failure.reset();
  x.routing.tried.pop_back();  // the account did nothing wrong
  return true;
}

}  // namespace weir::gateway
