#include "sim/policy_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "sim/draw.h"
#include "sim/schedule.h"

namespace weir::sim {
namespace {

using config::Dimension;
using config::Policy;
using config::QuotaUnit;
using config::WindowKind;

QuotaUnit DrawUnit(Draw& draw) {
  constexpr QuotaUnit kUnits[] = {QuotaUnit::kRequests,
                                  QuotaUnit::kRequests,
                                  QuotaUnit::kRequests,
                                  QuotaUnit::kTotalTokens,
                                  QuotaUnit::kTotalTokens,
                                  QuotaUnit::kUsd,
                                  QuotaUnit::kUsd,
                                  QuotaUnit::kOutputTokens,
                                  QuotaUnit::kOutputTokens,
                                  QuotaUnit::kInputTokens,
                                  QuotaUnit::kQuotaTokens,
                                  QuotaUnit::kCredits,
                                  QuotaUnit::kUncachedTokens,
                                  QuotaUnit::kCachedTokens,
                                  QuotaUnit::kConcurrent,
                                  QuotaUnit::kConcurrent};
  return kUnits[static_cast<std::size_t>(draw.Below(std::size(kUnits)))];
}

// Nothing, a few calls' worth, or far more than a schedule spends.
std::int64_t DrawLimit(Draw draw, QuotaUnit unit) {
  switch (unit) {
    case QuotaUnit::kRequests:
      return draw.Between(0, 60) >> draw.Below(5);
    case QuotaUnit::kConcurrent:
      return draw.Between(draw.Chance(100) ? 0 : 1, 6);
    case QuotaUnit::kUsd:
    case QuotaUnit::kCredits:
      return draw.Between(0, 2'000'000'000) >> draw.Below(14);
    default:
      return draw.Between(0, 400'000) >> draw.Below(9);
  }
}

config::Window DrawWindow(Draw draw, QuotaUnit unit) {
  config::Window window;
  const std::int64_t which = draw.Below(100);
  window.kind = which < 60   ? WindowKind::kMinute
                : which < 75 ? WindowKind::kHour
                : which < 82 ? WindowKind::kDay
                : which < 89 ? WindowKind::kLifetime
                : which < 97 ? WindowKind::kAction
                             : WindowKind::kRequest;
  window.every = draw.Chance(250) ? draw.Between(2, 5) : 1;
  window.sliding = draw.Chance(350) && window.kind <= WindowKind::kMonth;
  if (window.kind > WindowKind::kMonth) window.every = 1;
  // Slots are of the moment: no window of theirs ends.
  if (unit == QuotaUnit::kConcurrent) window = {.kind = WindowKind::kLifetime, .zone = nullptr};
  return window;
}

std::vector<Dimension> DrawSplit(Draw draw) {
  switch (draw.Below(8)) {
    case 0:
      return {Dimension::kKey};
    case 1:
      return {Dimension::kTeam};
    case 2:
      return {Dimension::kUser};
    case 3:
      return {Dimension::kModel};
    case 4:
      return {Dimension::kTeam, Dimension::kUser};
    default:
      return {};
  }
}

std::vector<config::Condition> DrawMatch(Draw draw) {
  switch (draw.Below(8)) {
    case 0:
      return {{Dimension::kKey, {"k0", "k2"}}};
    case 1:
      return {{Dimension::kTeam, {TeamOf(static_cast<std::size_t>(draw.Below(kTeams)))}}};
    case 2:
      return {{Dimension::kModel, {"m0"}}};
    case 3:
      return {{Dimension::kEndpoint, {"chat_completions"}}, {Dimension::kTeam, {"t0", "t1"}}};
    case 4:
      return {{Dimension::kUser, {"u0", "u1"}}};
    default:
      return {};
  }
}

void DrawAction(Draw draw, Policy& policy) {
  const std::int64_t which = draw.Below(100);
  policy.action = which < 70   ? config::PolicyAction::kBlock
                  : which < 85 ? config::PolicyAction::kDegrade
                  : which < 92 ? config::PolicyAction::kApproval
                               : config::PolicyAction::kAlert;
  policy.degrade_to = draw.Chance(500) ? "m0" : "m1";
  policy.cap = draw.Chance(200) ? config::CapKind::kFirm : config::CapKind::kHard;
  policy.shadow = draw.Chance(100);
  policy.clamp = draw.Chance(750);
}

void DrawRetry(Draw draw, config::RetryRule& retry) {
  retry = {};
  if (draw.Chance(700)) return;
  if (draw.Chance(600)) retry.attempts = draw.Between(1, 8);
  if (draw.Chance(400)) retry.fallback_attempts = draw.Between(0, 4);
  if (draw.Chance(300)) retry.fallback_spend = NanoUsd{draw.Between(0, 100'000'000)};
}

}  // namespace

std::string TeamOf(std::size_t key) { return fmt::format("t{}", key % kTeams); }
std::string UserName(std::size_t user) { return fmt::format("u{}", user); }
std::string ActionName(std::size_t action) { return fmt::format("a{}", action); }

config::Policy DrawPolicy(std::uint64_t seed, std::size_t number) {
  const std::uint64_t own = SeedOf(seed, number);
  const auto part = [own](std::uint64_t n) { return Draw(SeedOf(own, n)); };
  Policy policy;
  policy.id = fmt::format("q{}", number);
  policy.owner = "sim";
  Draw draw = part(0);
  policy.unit = DrawUnit(draw);
  policy.limit = DrawLimit(part(1), policy.unit);
  policy.window = DrawWindow(part(2), policy.unit);
  policy.per = DrawSplit(part(3));
  policy.match = DrawMatch(part(4));
  // The request that must be served at the end meets none.
  policy.except = {{Dimension::kKey, {fmt::format("k{}", kKeys)}}};
  DrawAction(part(5), policy);
  DrawRetry(part(6), policy.retry);
  Draw alerts = part(7);
  policy.forecast = alerts.Chance(500);
  if (alerts.Chance(300)) policy.alert_percent.clear();
  if (alerts.Chance(200)) policy.alert_percent = {1, alerts.Between(2, 100)};
  policy.over_limit_status = alerts.Chance(200) ? 429 : alerts.Chance(200) ? 402 : 0;
  return policy;
}

std::vector<config::Policy> DrawPolicies(std::uint64_t seed) {
  std::vector<Policy> policies;
  Draw draw(SeedOf(seed, 100));
  const std::int64_t share = draw.Chance(250) ? 0 : draw.Between(200, 1000);
  for (std::size_t number = 0; number < kPolicies; ++number) {
    if (draw.Chance(share)) policies.push_back(DrawPolicy(seed, number));
  }
  return policies;
}

void ChangePolicies(std::uint64_t seed, std::uint64_t policies_seed, Instant now,
                    std::vector<config::Policy>& policies, std::vector<config::Raise>& raises) {
  Draw draw(seed);
  const auto number = static_cast<std::size_t>(draw.Below(kPolicies));
  const Policy planned = DrawPolicy(policies_seed, number);
  const auto found = std::ranges::find(policies, planned.id, &Policy::id);
  const std::int64_t what = draw.Below(100);
  if (found == policies.end()) {
    policies.push_back(planned);
    std::ranges::sort(policies, {}, &Policy::id);
  } else if (what < 45) {
    found->limit = DrawLimit(draw, found->unit);
  } else if (what < 55) {
    DrawAction(draw, *found);
  } else if (what < 62) {
    DrawRetry(draw, found->retry);
  } else if (what < 72) {
    policies.erase(found);
  } else if (what < 92) {
    config::Raise raise{.approval = fmt::format("r{}", raises.size()),
                        .policy = found->id,
                        .values = {},
                        .amount = DrawLimit(draw, found->unit),
                        .from = now,
                        .to = now + draw.Pause(Seconds(120))};
    if (found->per == std::vector{Dimension::kTeam} && draw.Chance(700)) raise.values = "team=t0";
    raises.push_back(std::move(raise));
  } else {
    raises.clear();
  }
}

std::string DescribePolicy(const config::Policy& policy) {
  constexpr std::string_view kWindows[] = {"minute", "hour",     "day",     "week",  "month",
                                           "dates",  "lifetime", "request", "action"};
  constexpr std::string_view kActionNames[] = {"block", "degrade", "approval", "alert"};
  std::string text =
      fmt::format("{}: {} {} per {}{}{}", policy.id, policy.limit, Name(policy.unit),
                  policy.window.sliding ? "sliding " : "",
                  policy.window.every > 1 ? fmt::format("{} ", policy.window.every) : "",
                  kWindows[static_cast<std::size_t>(policy.window.kind)]);
  for (const Dimension dimension : policy.per) text += fmt::format(", each {}", Name(dimension));
  for (const config::Condition& condition : policy.match) {
    text += fmt::format(", of {} {}", Name(condition.dimension), fmt::join(condition.values, "|"));
  }
  text += fmt::format(", {}, {}", kActionNames[static_cast<std::size_t>(policy.action)],
                      policy.cap == config::CapKind::kHard ? "hard" : "firm");
  if (policy.shadow) text += ", shadow";
  if (!policy.clamp) text += ", not clamped";
  if (policy.retry.attempts) text += fmt::format(", {} attempts", *policy.retry.attempts);
  if (policy.retry.fallback_attempts) {
    text += fmt::format(", {} fallbacks", *policy.retry.fallback_attempts);
  }
  if (policy.retry.fallback_spend) {
    text += fmt::format(", {} nUSD of fallbacks", policy.retry.fallback_spend->n);
  }
  return text;
}

}  // namespace weir::sim
