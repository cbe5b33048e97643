#include "server/events.h"

#include <cstring>
#include <string>
#include <utility>

#include "base/money.h"
#include "store/canonical_json.h"

namespace weir::server {
namespace {

using store::CanonicalObject;
using telemetry::Event;

// Frozen: ids of events are what receivers know them by.
constexpr std::uint64_t kWalletLowScope = 0x77616C6C65746C6F;
constexpr std::uint64_t kKeyCreatedScope = 0x6B65796372656174;
constexpr std::uint64_t kKeyRevokedScope = 0x6B65797265766F6B;

std::string IdOf(const Id128& thing, std::uint64_t scope) {
  return telemetry::EventIdText({thing.high, thing.low ^ scope});
}

std::string NewId(Instant now, const EventRandom& random) {
  std::array<std::uint64_t, 2> bits{};
  std::memcpy(bits.data(), random.data(), sizeof bits);
  return telemetry::EventIdText(MakeId(now, bits[0], bits[1]));
}

Event KeyEvent(const identity::KeyRecord& key, std::string_view type, std::uint64_t scope,
               std::string_view actor, Instant now) {
  CanonicalObject data;
  data.Text("id", "key_" + ToString(key.id))
      .Text("name", key.name)
      .Text("environment", key.environment)
      .TextOrNull("workspace", key.workspace)
      .TextOrNull("package", key.package)
      .Text("actor", actor);
  return {.id = IdOf(key.id, scope), .type = std::string(type), .time = now, .data = data.Write()};
}

}  // namespace

Event WalletLowEvent(const RequestId& request, std::string_view owner, std::string_view unit,
                     std::int64_t left, Instant now) {
  CanonicalObject data;
  data.Text("owner", owner).Text("request_id", "req_" + ToString(request));
  if (unit == "quota_token") {
    data.Text("unit", "quota_token").Number("left", left);
  } else {
    data.Text("unit", "usd").Text("left", FormatUsd(NanoUsd{left}));
  }
  return {.id = IdOf(request, kWalletLowScope),
          .type = "wallet.low",
          .time = now,
          .data = data.Write()};
}

Event AccountRestedEvent(const routing::RestBegan& rest, Instant now, const EventRandom& random) {
  CanonicalObject data;
  data.Text("account", rest.account)
      .Text("why", routing::Name(rest.why))
      .TextOrNull("model", rest.model)
      .Number("rest_ms", rest.rest.ns / 1'000'000);
  return {.id = NewId(now, random), .type = "account.rested", .time = now, .data = data.Write()};
}

Event KeyCreatedEvent(const identity::KeyRecord& key, std::string_view actor, Instant now) {
  return KeyEvent(key, "key.created", kKeyCreatedScope, actor, now);
}

Event KeyRevokedEvent(const identity::KeyRecord& key, std::string_view actor, Instant now) {
  return KeyEvent(key, "key.revoked", kKeyRevokedScope, actor, now);
}

Event WebhookTestEvent(std::string_view endpoint, Instant now, const EventRandom& random) {
  CanonicalObject data;
  data.Text("endpoint", endpoint).Text("message", "This is a test. Nothing happened.");
  return {.id = NewId(now, random), .type = "webhook.test", .time = now, .data = data.Write()};
}

}  // namespace weir::server
