// The ledger resource: how much a key may still spend.

#include <algorithm>

#include "admin/handlers.h"
#include "admin/json_writer.h"
#include "store/key_store.h"

namespace weir::admin {

AdminResponse GetKeyLedger(const Call& call) {
  const auto id = ParseKeyId(call.id);
  const identity::KeyRecordPtr key = id ? call.ports.keys.table()->FindById(*id) : nullptr;
  if (key == nullptr) return Problem(ProblemType::kNotFound, "There is no key with this id.");
  if (!call.ports.standing) {
    return Problem(ProblemType::kUnavailable, "The ledger is not open in this process.");
  }
  // A key that never made a request is unknown to the credit machine: it has spent nothing.
  const gateway::KeyStanding standing =
      call.ports.standing(key->id).value_or(gateway::KeyStanding{});
  // The budget that counts for the next request is the one stored with the key, which an operator
  // may have changed since the last.
  const std::optional<NanoUsd> budget = key->limits.budget;
  std::optional<NanoUsd> remaining;
  if (budget) {
    const PicoUsd left = PicoUsd{budget->n} - standing.settled.n - standing.held.n;
    remaining = NanoUsd{static_cast<std::int64_t>(std::max(left, PicoUsd{0}))};
  }
  JsonWriter json;
  json.Open('{')
      .Text("key_id", KeyIdText(key->id))
      .Usd("budget_usd", budget)
      .Usd("spent_usd", standing.settled)
      .Usd("held_usd", standing.held)
      .Usd("remaining_usd", remaining)
      .Number("requests_open", standing.requests_open)
      .Close('}');
  return JsonResponse(json.Take());
}

}  // namespace weir::admin
