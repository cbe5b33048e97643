// The webhooks resource: the endpoints of the configuration with how they fare, what was delivered
// to them and what was not, a test, and the operator's hand on both. Endpoints are made in the
// file. No secret of one is shown, and of its URL only the origin.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "admin/body_reader.h"
#include "admin/handlers.h"
#include "admin/json_writer.h"
#include "server/courier.h"

namespace weir::admin {
namespace {

using store::Delivery;
using store::DeliveryId;
using store::DeliveryState;

constexpr std::string_view kDeliveryPrefix = "dlv_";

std::string IdText(DeliveryId id) { return fmt::format("{}{}", kDeliveryPrefix, id.n); }

// "dlv_12" or "12".
std::optional<DeliveryId> ParseDeliveryId(std::string_view text) {
  if (text.starts_with(kDeliveryPrefix)) text.remove_prefix(kDeliveryPrefix.size());
  DeliveryId id;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id.n);
  if (error != std::errc() || end != text.data() + text.size() || id.n < 1) return std::nullopt;
  return id;
}

AdminResponse NoEndpoint() {
  return Problem(ProblemType::kNotFound,
                 "There is no webhook of this name in the configuration; GET /admin/v1/webhooks "
                 "lists them.");
}

void WriteStatus(std::int64_t status, std::string_view error, JsonWriter& json) {
  if (status == 0) {
    json.Null("last_status");
  } else {
    json.Number("last_status", status);
  }
  json.TextOrNull("last_error", error);
}

void WriteDelivery(const Delivery& delivery, JsonWriter& json) {
  json.Open('{')
      .Text("id", IdText(delivery.id))
      .Text("endpoint", delivery.endpoint)
      .Text("state", Name(delivery.state))
      .Text("event_id", delivery.event_id)
      .Text("event_type", delivery.event_type)
      .Time("event_time", delivery.event_time)
      .Number("attempts", delivery.attempts)
      .Time("created_at", delivery.created_at)
      .Time("next_attempt_at", delivery.state == DeliveryState::kPending
                                   ? std::optional(delivery.next_at)
                                   : std::nullopt)
      .Time("last_attempt_at", delivery.last_at);
  WriteStatus(delivery.last_status, delivery.last_error, json);
  json.Close('}');
}

AdminResponse DeliveryResponse(const Delivery& delivery) {
  JsonWriter json;
  WriteDelivery(delivery, json);
  return JsonResponse(json.Take(), 202);
}

void WriteEndpoint(const server::EndpointView& view, JsonWriter& json) {
  json.Open('{').Text("name", view.name).Text("origin", view.origin);
  if (view.events.empty()) {
    json.Null("events");
  } else {
    json.Texts("events", view.events);
  }
  const store::EndpointRecord& record = view.record;
  json.Flag("allow_private", view.allow_private)
      .Text("state", Name(record.state))
      .Number("pending", record.pending)
      .Time("disabled_at", record.disabled_at)
      .Time("failing_since", record.failing_since)
      .Time("erring_since", record.erring_since)
      .Time("last_success_at", record.last_success_at)
      .Time("last_attempt_at", record.last_at);
  WriteStatus(record.last_status, record.last_error, json);
  json.Close('}');
}

}  // namespace

AdminResponse ListWebhooks(const Call& call) {
  const auto endpoints = call.ports.courier->Endpoints();
  if (!endpoints) return Problem(endpoints.error());
  JsonWriter json;
  json.Open('{').Open("data", '[');
  for (const server::EndpointView& view : *endpoints) WriteEndpoint(view, json);
  json.Close(']').Close('}');
  return JsonResponse(json.Take());
}

AdminResponse ListDeliveries(const Call& call) {
  static constexpr std::array<std::string_view, 4> kKnown = {"endpoint", "state", "limit",
                                                             "cursor"};
  QueryReader reader(call.request.query, kKnown);
  store::DeliveryQuery query;
  query.endpoint = reader.Text("endpoint");
  query.limit = reader.Count("limit", 1, kPageMax).value_or(kPageDefault);
  if (const auto text = reader.Text("state")) {
    const auto& names = store::kDeliveryStateNames;
    const auto name = std::ranges::find(names, *text);
    if (name == names.end()) {
      reader.Refuse("state", fmt::format("must be one of: {}", fmt::join(names, ", ")));
    } else {
      query.state = static_cast<DeliveryState>(name - names.begin());
    }
  }
  if (const auto text = reader.Text("cursor")) {
    query.before = ParseDeliveryId(*text);
    if (!query.before)
      reader.Refuse("cursor", "is not a cursor; use next_cursor of the page before");
  }
  if (!reader.errors().empty()) return InvalidBody(reader.errors());
  const auto deliveries = call.ports.courier->Deliveries(query);
  if (!deliveries) return Problem(deliveries.error());
  JsonWriter json;
  json.Open('{').Open("data", '[');
  for (const Delivery& delivery : *deliveries) WriteDelivery(delivery, json);
  const bool more = static_cast<std::int64_t>(deliveries->size()) == query.limit;
  json.Close(']')
      .TextOrNull("next_cursor", more ? IdText(deliveries->back().id) : std::string())
      .Close('}');
  return JsonResponse(json.Take());
}

AdminResponse TestWebhook(const Call& call) {
  const auto delivery = call.ports.courier->Test(call.id);
  if (delivery) return DeliveryResponse(*delivery);
  if (delivery.error().code == ErrorCode::kNotFound) return NoEndpoint();
  if (delivery.error().code == ErrorCode::kConflict) {
    return Problem(ProblemType::kConflict,
                   "Nothing can be sent: " + delivery.error().detail +
                       ". Enable it: POST /admin/v1/webhooks/NAME/enable; or wait.");
  }
  return Problem(delivery.error());
}

AdminResponse RetryDelivery(const Call& call) {
  const auto id = ParseDeliveryId(call.id);
  const auto none = [] {
    return Problem(ProblemType::kNotFound,
                   "There is no delivery with this id; they are kept for 30 days.");
  };
  if (!id) return none();
  const auto delivery = call.ports.courier->Retry(*id);
  if (delivery) return DeliveryResponse(*delivery);
  if (delivery.error().code == ErrorCode::kNotFound) return none();
  if (delivery.error().code == ErrorCode::kConflict) {
    return Problem(ProblemType::kConflict, "It cannot be sent: " + delivery.error().detail +
                                               ". Enable it, or put it back into the file.");
  }
  return Problem(delivery.error());
}

AdminResponse EnableWebhook(const Call& call) {
  const auto reopened = call.ports.courier->Enable(call.id);
  if (!reopened) {
    return reopened.error().code == ErrorCode::kNotFound ? NoEndpoint() : Problem(reopened.error());
  }
  JsonWriter json;
  json.Open('{').Text("name", call.id).Number("pending_again", *reopened).Close('}');
  return JsonResponse(json.Take());
}

}  // namespace weir::admin
