// Whether requests of a key can meet a policy at all, which of its counters is theirs, and how many
// windows a time touches: for those who ask for more of a policy without a request at hand.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "policy/policy_set.h"

namespace weir::policy {

// What is known of a request before it asks for a model.
inline constexpr std::uint32_t kAskedForBits =
    config::BitOf(config::Dimension::kProvider) | config::BitOf(config::Dimension::kModel) |
    config::BitOf(config::Dimension::kModelFamily) | config::BitOf(config::Dimension::kModelClass) |
    config::BitOf(config::Dimension::kEndpoint) | config::BitOf(config::Dimension::kModality);

// Whether the policy can hold for requests with these facts, whatever model and endpoint they ask
// for: what they ask for is not looked at in `facts`.
bool CanMeet(const config::Policy& policy, const Facts& facts);

// The policy's counter for such requests ("team=growth"; empty: it has just one), or none when they
// may come to several, because it counts by what they ask for.
std::optional<std::string> CounterOf(const config::Policy& policy, const Facts& facts);

// Whether "team=growth,user=ada" is the text of one of the policy's counters: its dimensions in
// their order, each with a value.
bool IsCounterOf(const config::Policy& policy, std::string_view text);

// How many windows of the policy a time touches, at most: each of them gets what is approved for
// that time. 1 for a campaign and a lifetime; 0 where each request or action is a window of its own
// and they cannot be counted.   REQUIRES from < to
std::int64_t WindowsWithin(const config::Window& window, Instant from, Instant to);

}  // namespace weir::policy
