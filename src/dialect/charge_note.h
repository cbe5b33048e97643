// What a wallet was charged, written into a reply's own usage: the multiplier of the route and the
// tokens that were taken, beside what the provider says. Prepaid customers read their bill there.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "dialect/dialect.h"

namespace weir::dialect {

struct ChargeNote {
  std::int64_t input_tokens = 0;
  std::int64_t output_tokens = 0;
  std::string_view multiplier;  // "x3"
  std::string_view charged_as;  // the member: "charged_quota_tokens"
  std::int64_t charged = 0;
};

// `body` with the note in its usage:
// {"usage":{"route_multiplier":"x3","charged_quota_tokens":15600,
// ...}}; input_tokens and output_tokens are added where the family calls them otherwise. A body
// without usage gets one. What is no JSON object comes back as it was.
std::string WithCharge(Dialect dialect, std::string_view body, const ChargeNote& note);

// The same for the last events of a stream: in the last one that has usage. When none has, a chat
// stream gets a chunk of its own before "[DONE]"; others come back as they were.
std::string WithChargeInStream(Dialect dialect, std::string_view events, const ChargeNote& note);

}  // namespace weir::dialect
