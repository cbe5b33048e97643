// What an attempt to deliver an event means, and when the next one is: Standard Webhooks 1.0.0,
// "Deliverability and reliability". Pure.
//
//   attempt   1    2     3      4      5     6     7      8      9      10
//   after     0    5 s   5 min  30 min 2 h   5 h   10 h   14 h   20 h   24 h   the one before
//
// Ten attempts over 75 hours and 35 minutes, each wait a tenth more or less, so that what failed
// together does not come back together.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/random.h"
#include "base/time.h"
#include "store/webhook_store.h"

namespace weir::server {

inline constexpr std::array kDeliveryWaits = {Seconds(5),       Minutes(5),       Minutes(30),
                                              Minutes(2 * 60),  Minutes(5 * 60),  Minutes(10 * 60),
                                              Minutes(14 * 60), Minutes(20 * 60), Minutes(24 * 60)};

// No wait is longer, Retry-After and all.
inline constexpr Duration kDeliveryWaitMax = Minutes(27 * 60);

// What came back. status 0: nothing did, in time.
struct DeliveryReply {
  std::int64_t status = 0;
  std::optional<Duration> retry_after;
};

struct DeliveryDecision {
  store::Attempt::Verdict verdict = store::Attempt::Verdict::kDelivered;
  Duration wait;   // until the next attempt, with kRetry
  Duration pause;  // until the next attempt of any delivery to this endpoint; 0: none
};

//   attempts   made before this one
//   throttled  how many replies of the endpoint in a row asked for a pause before this one
DeliveryDecision Decide(const DeliveryReply& reply, std::int64_t attempts, std::int64_t throttled,
                        Random& random);

}  // namespace weir::server
