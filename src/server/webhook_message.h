// One delivery as Standard Webhooks 1.0.0 has it (standardwebhooks.com, read 2026-11): the body,
// and the headers that let its receiver know that it is from here, when it was sent, and whether it
// was seen before. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/time.h"
#include "telemetry/event.h"

namespace weir::server {

// {"type":"wallet.low","timestamp":"2026-...Z","data":{...}}: the same bytes for every attempt.
std::string WebhookBody(const telemetry::Event& event);

// "v1,BASE64" for each key, with a blank in between: HMAC-SHA256 over "id.timestamp.body".
//   keys  as bytes; a receiver that knows any of them accepts
std::string WebhookSignature(std::string_view id, std::int64_t unix_seconds, std::string_view body,
                             std::span<const std::string> keys);

// The headers of an attempt at `now`, as finished lines.
std::string WebhookHeaders(const telemetry::Event& event, std::string_view body, Instant now,
                           std::span<const std::string> keys);

}  // namespace weir::server
