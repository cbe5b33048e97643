// Something an operator wants to be told when it happens, and not only when somebody looks: a
// policy that passed a threshold, a wallet that is low, an account that rests. What is told to whom
// is server/courier's.
#pragma once

#include <cstddef>
#include <string>

#include "base/id.h"
#include "base/time.h"

namespace weir::telemetry {

// Frozen: what leaves in a webhook, and what is kept until it has.
struct Event {
  // "evt_" and the 26 characters of an id. Stable: the same thing told again has the same id, by
  // which whoever receives it knows that, and we do too.
  std::string id;
  std::string type;  // "policy.alert", "wallet.low", ...: config::kWebhookEvents
  Instant time;      // when it happened
  std::string data;  // a JSON object; never a secret, a prompt or a body
  friend bool operator==(const Event&, const Event&) = default;
};

// A message is less than 20 kB (Standard Webhooks 1.0.0), of which the data is all but the rest.
inline constexpr std::size_t kEventDataBytesMax = 19'500;

inline std::string EventIdText(const Id128& id) { return "evt_" + ToString(id); }

}  // namespace weir::telemetry
