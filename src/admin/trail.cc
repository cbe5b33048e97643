// The chained trail of policies, approvals, operators and refused calls, as an operator reads it.
// store/audit_chain has its form; `weir audit verify` checks it.

#include <array>

#include "admin/body_reader.h"
#include "admin/handlers.h"
#include "admin/json_writer.h"
#include "store/policy_store.h"

namespace weir::admin {

AdminResponse GetPolicyAudit(const Call& call) {
  static constexpr std::array<std::string_view, 2> kKnown = {"limit", "cursor"};
  QueryReader query(call.request.query, kKnown);
  const auto limit = query.Count("limit", 1, kPageMax).value_or(kPageDefault);
  const auto before = query.Count("cursor", 1, INT64_MAX).value_or(0);
  if (!query.errors().empty()) return InvalidBody(query.errors());
  const auto rows = call.ports.policies.store->Audit(before, limit);
  if (!rows) return Problem(rows.error());
  JsonWriter json;
  json.Open('{').Open("data", '[');
  for (const store::AuditRow& row : *rows) {
    json.Open('{')
        .Number("sequence", row.head.seq)
        .Time("at", row.event.at)
        .Text("actor", row.event.actor)
        .Text("action", row.event.action)
        .Text("object", row.event.object)
        .TextOrNull("before", row.event.before)
        .TextOrNull("after", row.event.after)
        .TextOrNull("reason", row.event.reason)
        .Text("outcome", row.event.outcome)
        .Text("head", store::FormatAuditHead(row.head))
        .Close('}');
  }
  const bool more = static_cast<std::int64_t>(rows->size()) == limit && rows->back().head.seq > 1;
  json.Close(']')
      .TextOrNull("next_cursor", more ? std::to_string(rows->back().head.seq) : std::string())
      .Close('}');
  return JsonResponse(json.Take());
}

}  // namespace weir::admin
