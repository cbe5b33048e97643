#include "sim/request.h"

#include <fmt/format.h>

#include "sim/draw.h"
#include "sim/policy_plan.h"
#include "sim/upstreams.h"

namespace weir::sim {

std::string ModelName(std::size_t model) { return fmt::format("m{}", model); }

Request MakeRequest(std::uint64_t seed, FaultSet faults) {
  const bool broken = faults.Has(Fault::kCallerBroken) && Draw(SeedOf(seed, 3)).Chance(300);
  Draw draw(SeedOf(seed, 4));
  Request request;
  request.key = static_cast<std::size_t>(draw.Below(kKeys));
  request.model = static_cast<std::size_t>(draw.Below(kModels));
  std::string model = ModelName(request.model);
  const bool chat = draw.Chance(500);
  const bool stream = draw.Chance(600);
  const std::int64_t output_max = draw.Chance(300)   ? 0
                                  : draw.Chance(100) ? draw.Between(1, 2 * kOutputTokensMax)
                                                     : draw.Between(1, 600);
  const std::int64_t choices = chat && draw.Chance(100) ? draw.Between(2, 3) : 1;
  const bool usage = draw.Chance(500);
  const auto input = static_cast<std::size_t>(draw.Between(1, 3000) >> draw.Below(8));
  const std::int64_t fault = draw.Below(12);
  if (broken && fault == 0) request.key = kUnknownKey;
  if (broken && fault == 1) model = "no-such-model";
  request.path = chat ? "/v1/chat/completions" : "/v1/responses";
  const std::string text(input, 'a');
  request.body = fmt::format("{{\"model\":\"{}\",", model);
  request.body += chat
                      ? fmt::format("\"messages\":[{{\"role\":\"user\",\"content\":\"{}\"}}]", text)
                      : fmt::format("\"input\":\"{}\"", text);
  if (stream) request.body += ",\"stream\":true";
  if (chat && stream && usage) request.body += ",\"stream_options\":{\"include_usage\":true}";
  if (choices > 1) request.body += fmt::format(",\"n\":{}", choices);
  if (output_max > 0) {
    request.body +=
        fmt::format(",\"{}\":{}", chat ? "max_completion_tokens" : "max_output_tokens", output_max);
  }
  request.body += broken && fault == 2 ? "" : "}";
  request.stream = stream;
  if (draw.Chance(400)) request.idempotency = fmt::format("once-{:x}", seed);
  Draw who(SeedOf(seed, 9));
  if (who.Chance(600)) request.user = UserName(static_cast<std::size_t>(who.Below(kUsers)));
  if (who.Chance(400)) request.action = ActionName(static_cast<std::size_t>(who.Below(kActions)));
  return request;
}

Request MakeOtherRequest(std::uint64_t seed, FaultSet faults) {
  const Request first = MakeRequest(seed, faults);
  Request other = MakeRequest(SeedOf(seed, 59), faults);
  other.key = first.key;
  other.idempotency = first.idempotency;
  return other;
}

std::vector<Repeat> RepeatsOf(std::uint64_t seed, FaultSet faults) {
  std::vector<Repeat> repeats;
  Draw draw(SeedOf(seed, 8));
  if (!faults.Has(Fault::kCallerRepeats)) return repeats;
  for (std::int64_t left = draw.Below(4); left > 0; --left) {
    repeats.push_back({.after = draw.Pause(Seconds(60)), .other_body = draw.Chance(150)});
  }
  return repeats;
}

CallerPlan PlanOfCaller(std::uint64_t seed, FaultSet faults) {
  Draw draw(SeedOf(seed, 1));
  const auto happens = [&](Fault fault, std::int64_t per_mille) {
    const bool drawn = draw.Chance(per_mille);
    return drawn && faults.Has(fault);
  };
  CallerPlan plan;
  plan.body_after = draw.Pause(Milliseconds(20));
  if (happens(Fault::kCallerHangsUp, 300)) plan.hangs_up_after = draw.Pause(Seconds(20));
  plan.deaf = happens(Fault::kCallerDeaf, 100);
  plan.reads_after = happens(Fault::kCallerSlow, 300) ? Seconds(8) : Microseconds(100);
  if (happens(Fault::kCallerBroken, 100)) {
    constexpr ErrorCode kCodes[] = {ErrorCode::kConnectionLost, ErrorCode::kTimeout,
                                    ErrorCode::kBadInput, ErrorCode::kTooLarge};
    plan.body_fails = kCodes[draw.Below(4)];
  }
  plan.retries = happens(Fault::kCallerRetries, 500) ? draw.Between(1, 3) : 0;
  return plan;
}

std::string DescribeRequest(const Schedule& schedule, const Action& action) {
  const FaultSet faults = action.calm_caller ? FaultSet{} : schedule.faults;
  const Request request = MakeRequest(action.seed, faults);
  const CallerPlan plan = PlanOfCaller(action.seed, faults);
  const bool stream = request.body.find("\"stream\":true") != std::string::npos;
  std::string text = fmt::format("request   k{} {} {}, {} bytes", request.key, request.path,
                                 stream ? "stream" : "json", request.body.size());
  if (!request.user.empty()) text += ", of " + request.user;
  if (!request.action.empty()) text += ", of action " + request.action;
  if (plan.body_fails) text += ", the body fails";
  if (plan.hangs_up_after) {
    text += fmt::format(", hangs up after {} us", plan.hangs_up_after->ns / 1000);
  }
  if (plan.deaf) text += ", never reads";
  if (plan.reads_after >= Seconds(1)) text += ", reads slowly";
  if (plan.retries > 0) text += fmt::format(", tries {} times more", plan.retries);
  if (request.idempotency.empty()) return text;
  text += ", with an Idempotency-Key";
  for (const Repeat& repeat : RepeatsOf(action.seed, faults)) {
    text += fmt::format(", again after {} us{}", repeat.after.ns / 1000,
                        repeat.other_body ? " with another body" : "");
  }
  return text;
}

}  // namespace weir::sim
