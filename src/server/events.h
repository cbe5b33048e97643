// What happens, as events that operators' systems are told: one function for each type, and the one
// place that knows what their data holds. Members are only ever added. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/id.h"
#include "base/time.h"
#include "identity/key_record.h"
#include "routing/account_pool.h"
#include "telemetry/event.h"

namespace weir::server {

// Events of one thing that happens once get their id from it, so that they are told once even when
// they are offered twice. The others get theirs from 32 random bytes.
using EventRandom = std::array<std::uint8_t, 32>;

// A wallet fell below its package's wallet_low with `request`.
//   owner  "key:key_01J..." or "workspace:acme"
//   unit   "quota_token" or "nano_usd", of which `left` is so many
telemetry::Event WalletLowEvent(const RequestId& request, std::string_view owner,
                                std::string_view unit, std::int64_t left, Instant now);

// An account takes no calls for a while.
telemetry::Event AccountRestedEvent(const routing::RestBegan& rest, Instant now,
                                    const EventRandom& random);

// Never anything of the secret, not even what is displayed of it.
//   actor  the operator who did it
telemetry::Event KeyCreatedEvent(const identity::KeyRecord& key, std::string_view actor,
                                 Instant now);
telemetry::Event KeyRevokedEvent(const identity::KeyRecord& key, std::string_view actor,
                                 Instant now);

telemetry::Event WebhookTestEvent(std::string_view endpoint, Instant now,
                                  const EventRandom& random);

}  // namespace weir::server
