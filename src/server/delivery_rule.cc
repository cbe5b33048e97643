#include "server/delivery_rule.h"

#include <algorithm>

namespace weir::server {
namespace {

using Verdict = store::Attempt::Verdict;

// A receiver may ask for a day; who asks for longer is asked again.
constexpr Duration kRetryAfterMax = Minutes(24 * 60);
// Of an endpoint that is under load and does not say for how long: 5 s, 10 s, ... 5 min 20 s.
constexpr Duration kPauseFirst = Seconds(5);
constexpr std::int64_t kPauseDoublingsMax = 6;

bool AsksForPause(std::int64_t status) { return status == 429 || status == 502 || status == 504; }

Duration Jittered(Duration wait, Random& random) {
  const std::int64_t span = wait.ns / 10;
  const auto drawn =
      static_cast<std::int64_t>(random.Next() % static_cast<std::uint64_t>(2 * span + 1));
  return {wait.ns - span + drawn};
}

}  // namespace

DeliveryDecision Decide(const DeliveryReply& reply, std::int64_t attempts, std::int64_t throttled,
                        Random& random) {
  DeliveryDecision decision;
  if (reply.status >= 200 && reply.status <= 299) return decision;
  if (reply.status == 410) {
    decision.verdict = Verdict::kDisable;
    return decision;
  }
  const Duration asked = std::min(reply.retry_after.value_or(Duration{}), kRetryAfterMax);
  if (asked.ns > 0) {
    decision.pause = asked;
  } else if (AsksForPause(reply.status)) {
    decision.pause = {kPauseFirst.ns << std::clamp<std::int64_t>(throttled, 0, kPauseDoublingsMax)};
  }
  if (attempts >= static_cast<std::int64_t>(kDeliveryWaits.size())) {
    decision.verdict = Verdict::kFailed;
    return decision;
  }
  decision.verdict = Verdict::kRetry;
  const auto step = static_cast<std::size_t>(std::max<std::int64_t>(attempts, 0));
  decision.wait = std::max(Jittered(kDeliveryWaits.at(step), random), asked);
  return decision;
}

}  // namespace weir::server
