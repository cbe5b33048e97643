// The quotas resource: the counters behind policies, as they stand. What they belong to is the
// policies resource's.

#include <algorithm>
#include <array>
#include <charconv>

#include "admin/body_reader.h"
#include "admin/handlers.h"
#include "admin/json_writer.h"
#include "admin/quota_json.h"
#include "config/policy_text.h"
#include "policy/policy_set.h"
#include "policy/quota_unit.h"

namespace weir::admin {

void WriteSteps(std::string_view name, config::QuotaUnit unit, __int128 steps, JsonWriter& json) {
  json.Text(name, policy::AmountDigits(unit, static_cast<std::int64_t>(std::clamp<__int128>(
                                                 steps, 0, config::kQuotaMax))));
}

std::optional<Instant> WhenThere(Instant at) {
  return at.ns == INT64_MAX ? std::nullopt : std::optional(at);
}

void WriteSpan(const policy::WindowSpan& span, JsonWriter& json) {
  const bool all = span == policy::kAllTime;
  json.Time("starts_at", all ? std::nullopt : std::optional(span.starts_at))
      .Time("ends_at", WhenThere(span.ends_at));
}

namespace {

std::string_view RuleText(ledger::QuotaRule rule) {
  switch (rule) {
    case ledger::QuotaRule::kNone:
      return "none";
    case ledger::QuotaRule::kHard:
      return "hard";
    case ledger::QuotaRule::kFirm:
      return "firm";
  }
  return "none";
}

void WriteCounter(const server::CreditHost::QuotaCounter& counter, JsonWriter& json) {
  const policy::CounterView& view = counter.view;
  json.Open('{')
      .Text("policy", counter.policy)
      .Text("counter", counter.values)
      .Text("unit", config::Name(view.unit))
      .Text("window", config::Name(view.window_kind))
      .Flag("sliding", view.sliding);
  WriteSpan(view.window, json);
  json.Text("rule", RuleText(view.rule));
  WriteSteps("limit", view.unit, view.limit, json);
  WriteSteps("settled", view.unit, view.settled, json);
  WriteSteps("held", view.unit, view.held, json);
  WriteSteps("remaining", view.unit, static_cast<__int128>(view.limit) - view.settled - view.held,
             json);
  json.Close('}');
}

AdminResponse Page(const Call& call, std::string_view policy) {
  static constexpr std::array<std::string_view, 2> kKnown = {"limit", "cursor"};
  QueryReader query(call.request.query, kKnown);
  const auto limit = query.Count("limit", 1, kPageMax).value_or(kPageDefault);
  const auto from = query.Count("cursor", 0, UINT32_MAX).value_or(0);
  if (!query.errors().empty()) return InvalidBody(query.errors());
  const auto page = call.ports.quotas.list(policy, static_cast<std::uint32_t>(from),
                                           static_cast<std::size_t>(limit));
  JsonWriter json;
  json.Open('{').Open("data", '[');
  for (const auto& counter : page.counters) WriteCounter(counter, json);
  json.Close(']')
      .TextOrNull("next_cursor", page.next ? std::to_string(*page.next) : std::string())
      .Close('}');
  return JsonResponse(json.Take());
}

}  // namespace

AdminResponse ListQuotas(const Call& call) { return Page(call, {}); }

// Also of a policy that is gone: its counters stay until their windows are over.
AdminResponse ListPolicyCounters(const Call& call) {
  if (call.ports.quotas.set()->Find(call.id) == nullptr &&
      call.ports.quotas.list(call.id, 0, 1).counters.empty()) {
    return Problem(ProblemType::kNotFound, "There is no policy with this id.");
  }
  return Page(call, call.id);
}

}  // namespace weir::admin
