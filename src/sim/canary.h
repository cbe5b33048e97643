// Bugs that are planted to see whether the simulator finds them. Each is a wrapper in sim/ around a
// real part, which stays as it is; none is reachable but through `weir sim --canary`.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace weir::sim {

enum class Canary : std::uint8_t {
  kNone,
  kAckEarly,      // a settlement is said to be durable before it is
  kForgetHold,    // a start passes over intents that nothing resolved
  kChargeAbove,   // a settlement charges the price and not at most the hold
  kReleaseTwice,  // a hold that is released is released again
  kStaleBudget,   // an admission sees no budget while another of its key is open
  kLostWakeup,    // of several who wait for one commit the last is not woken
  kTornBatch,     // a crash leaves part of a batch
  kCreditTwice,   // what a wallet's hold is released of is credited twice
  kForgetKey,     // a start does not know the Idempotency-Keys of before
  kExtendAbove,   // an extension is granted that nothing pays for
  kSkipPolicy,    // an admission is not held on the last of the policies it meets
  kTellTwice,     // a threshold that is crossed is told twice
  kForgetUse,     // a start does not know what was used of counters
};

struct CanaryInfo {
  Canary canary;
  std::string_view name;
  // Within this many schedules of 40 actions from seed 1 on it must be found.
  std::uint64_t seeds = 0;
};
inline constexpr auto kCanaries = std::to_array<CanaryInfo>({
    {Canary::kAckEarly, "ack-early", 50},
    {Canary::kForgetHold, "forget-hold", 200},
    {Canary::kChargeAbove, "charge-above-hold", 200},
    {Canary::kReleaseTwice, "release-twice", 50},
    {Canary::kStaleBudget, "stale-budget", 200},
    {Canary::kLostWakeup, "lost-wakeup", 200},
    {Canary::kTornBatch, "torn-batch", 500},
    {Canary::kCreditTwice, "credit-twice", 50},
    {Canary::kForgetKey, "forget-key", 500},
    {Canary::kExtendAbove, "extend-above-balance", 500},
    {Canary::kSkipPolicy, "skip-policy", 50},
    {Canary::kTellTwice, "tell-twice", 100},
    {Canary::kForgetUse, "forget-use", 200},
});

inline std::optional<Canary> ParseCanary(std::string_view name) {
  for (const CanaryInfo& info : kCanaries) {
    if (info.name == name) return info.canary;
  }
  return std::nullopt;
}

}  // namespace weir::sim
