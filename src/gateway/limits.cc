// GET /limits: what quota policies leave the owner of a key. Its attributes and what the request
// says of itself decide which policies those are, as they would for a call.
#include <algorithm>
#include <string>

#include "config/policy_text.h"
#include "config/scalar.h"
#include "dialect/reply_body.h"
#include "gateway/pipeline.h"
#include "policy/calendar.h"
#include "policy/quota_unit.h"

namespace weir::gateway {
namespace {

using config::Dimension;

// The value of `model` in the query; none when it is not there.
std::optional<std::string_view> ModelInQuery(std::string_view query) {
  while (!query.empty()) {
    const std::size_t end = std::min(query.find('&'), query.size());
    const std::string_view pair = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    if (pair.starts_with("model=")) return pair.substr(6);
  }
  return std::nullopt;
}

void AppendText(std::string& out, std::string_view name, std::string_view value) {
  out += ",\"";
  out += name;
  out += "\":";
  if (value.empty()) {
    out += "null";
  } else {
    dialect::AppendJsonString(out, value);
  }
}

// Amounts are decimal texts, exact in every client.
void AppendAmount(std::string& out, std::string_view name, config::QuotaUnit unit, __int128 steps) {
  const auto clipped = static_cast<std::int64_t>(std::clamp<__int128>(steps, 0, config::kQuotaMax));
  AppendText(out, name, policy::AmountDigits(unit, clipped));
}

void AppendTime(std::string& out, std::string_view name, Instant at) {
  AppendText(out, name, at.ns == INT64_MAX ? std::string() : config::FormatTime(at));
}

void AppendLimit(const policy::QuotaUse& use, const QuotaStanding& quota,
                 const policy::Facts& facts, std::string& out) {
  const config::Policy& policy = *use.policy;
  const policy::Standing& standing = quota.standing;
  out += "{\"policy\":";
  dialect::AppendJsonString(out, policy.id);
  AppendText(out, "owner", policy.owner);
  AppendText(out, "counter", policy::CounterText(use, facts));
  AppendText(out, "unit", Name(policy.unit));
  AppendText(out, "window", config::Name(policy.window.kind));
  AppendAmount(out, "limit", policy.unit, standing.limit);
  AppendAmount(out, "used", policy.unit, standing.settled);
  AppendAmount(out, "held", policy.unit, standing.held);
  AppendAmount(out, "remaining", policy.unit, standing.Available());
  AppendTime(out, "resets_at", quota.more_at);
  AppendText(out, "contact", policy.contact);
  out += '}';
}

}  // namespace

std::expected<std::string, RefusalReason> Limits(const Exchange& x, Credit& credit) {
  const identity::KeyRecord& key = *x.principal->key;
  const config::Config& config = x.config();
  identity::MetadataHeaders headers(config.brand.header_prefix);
  for (const auto& [name, value] : x.head->headers) headers.Take(name, value);
  auto metadata = headers.Read(key, config.metadata_secret, x.started_at);
  if (!metadata) {
    return std::unexpected(RefusalReason{.refusal = Refusal::kMetadataRefused,
                                         .message = std::move(metadata.error().message),
                                         .param = std::move(metadata.error().header)});
  }
  policy::Facts facts;
  facts[Dimension::kEnvironment] = config.environment;
  for (const config::Attribute& attribute : metadata->attributes) {
    facts[attribute.dimension] = attribute.value;
  }
  facts[Dimension::kKey] = key.name;
  facts[Dimension::kWorkspace] = key.workspace;
  facts.action = metadata->action;
  facts.action_scope = key.workspace.empty() ? key.name : key.workspace;

  std::string asked;
  std::vector<std::string_view> providers;
  if (const auto text = ModelInQuery(x.head->query)) {
    auto decoded = Unescaped(*text);
    const config::Model* const model = decoded ? config.FindModel(*decoded) : nullptr;
    if (model == nullptr || !identity::AllowsModel(key, *decoded)) {
      return std::unexpected(RefusalReason{.refusal = Refusal::kModelNotFound,
                                           .message = {},
                                           .param = "model",
                                           .hint = "GET /models lists the models of this API key"});
    }
    asked = *std::move(decoded);
    facts[Dimension::kModel] = model->id == "*" ? std::string_view(asked) : model->id;
    facts[Dimension::kModelFamily] = model->family;
    facts[Dimension::kModelClass] = model->model_class;
    for (const config::ModelRoute& route : model->routes) {
      const std::string& name = config.upstreams[route.upstream].name;
      if (std::ranges::find(providers, name) == providers.end()) providers.push_back(name);
    }
    facts.providers = providers;
  }

  std::string out = "{\"object\":\"list\",\"data\":[";
  if (x.snapshot->has_policies()) {
    std::vector<policy::QuotaUse> uses;
    // Of more than can be held at once the first are shown; a call would be refused and say so.
    static_cast<void>(x.snapshot->policies->Match(facts, x.started_at, uses));
    // Shadows and alerts leave everything to everybody.
    std::erase_if(uses, [](const policy::QuotaUse& use) {
      return policy::RuleOf(*use.policy) == ledger::QuotaRule::kNone;
    });
    const std::vector<QuotaStanding> standings = credit.Quotas(uses);
    for (std::size_t i = 0; i < uses.size() && i < standings.size(); ++i) {
      if (i > 0) out += ',';
      AppendLimit(uses[i], standings[i], facts, out);
    }
  }
  out += "]}";
  return out;
}

}  // namespace weir::gateway
