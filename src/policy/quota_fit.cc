#include "policy/quota_fit.h"

#include <algorithm>
#include <array>

namespace weir::policy {
namespace {

using config::Policy;
using config::PolicyAction;
using Sum = __int128;

Sum RoomOf(const Standing& standing, Room room) {
  switch (room) {
    case Room::kAvailable:
      return standing.Available();
    case Room::kAlone:
      return standing.Alone();
    case Room::kWhole:
      break;
  }
  return standing.limit;
}

std::int64_t Choices(const Ask& ask) { return std::max<std::int64_t>(ask.demand.choices, 1); }

bool IsFirm(const Policy& policy) { return policy.cap == config::CapKind::kFirm; }

// Whether the answer is shortened to what the policy has left.
bool Shrinks(const Policy& policy) {
  return GrowsWithOutput(policy.unit) && !IsFirm(policy) && policy.clamp;
}

// What a request with `output` tokens a choice needs.
std::int64_t Need(const Policy& policy, const Ask& ask, std::int64_t output,
                  NanoUsd usd = NanoUsd{-1}) {
  if (!IsFirm(policy)) return HeldOf(policy.unit, ask.demand, output * Choices(ask), usd);
  const std::int64_t usual = std::min(output, ask.output_usual);
  return HeldOf(policy.unit, Expected(ask.demand), usual * Choices(ask));
}

// The least that must fit for the request to be worth anything.
std::int64_t LeastNeed(const Policy& policy, const Ask& ask) {
  return Need(policy, ask, Shrinks(policy) ? std::min(ask.output, ask.output_useful) : ask.output);
}

// Why a policy says no to `amount`; kNone when it does not.
Refusal RefusalOf(const Policy& policy, const Standing& standing, Sum amount) {
  if (amount <= 0 || amount <= standing.Available()) return Refusal::kNone;
  if (policy.action == PolicyAction::kApproval && amount > standing.Alone()) {
    return Refusal::kApprovalRequired;
  }
  if (standing.limit == 0) return Refusal::kPolicyBlocked;
  if (policy.unit == QuotaUnit::kConcurrent) return Refusal::kPolicyConcurrency;
  if (amount <= standing.Alone()) return Refusal::kPolicyInFlight;
  if (IsRecovery(policy.unit)) return Refusal::kAttemptsExhausted;
  const bool money = IsMoney(policy.unit);
  if (amount > standing.limit || policy.window.kind == config::WindowKind::kRequest) {
    return money ? Refusal::kPolicyRequestExceedsBudget : Refusal::kRequestExceedsLimit;
  }
  // 402 is for what will not be there later by itself; whoever sets the policy may see it
  // otherwise.
  const bool later = policy.over_limit_status == 0 ? !money : policy.over_limit_status == 429;
  if (!later) return Refusal::kPolicyBudgetExceeded;
  return money ? Refusal::kPolicyBudgetLater : Refusal::kQuotaExceeded;
}

}  // namespace

Verdict JudgeFixed(std::span<const QuotaUse> uses, std::span<const Standing> standings,
                   const Ask& ask) {
  for (std::size_t i = 0; i < uses.size(); ++i) {
    const Policy& policy = *uses[i].policy;
    const Standing& standing = standings[i];
    if (standing.rule == QuotaRule::kNone || Shrinks(policy)) continue;
    if (IsRecovery(policy.unit)) {
      // The first attempt must be allowed; whether others are is seen when they are needed.
      const std::int64_t least = policy.unit == QuotaUnit::kAttempts ? 1 : 0;
      const Refusal refusal = RefusalOf(policy, standing, least);
      if (refusal != Refusal::kNone) return {refusal, i, least};
      continue;
    }
    const std::int64_t need = Need(policy, ask, ask.output);
    const Refusal refusal = RefusalOf(policy, standing, need);
    if (refusal != Refusal::kNone) return {refusal, i, need};
  }
  return {};
}

std::optional<std::int64_t> OutputLeft(std::span<const QuotaUse> uses,
                                       std::span<const Standing> standings, const Ask& ask,
                                       std::int64_t output_max, Room room) {
  // Policies of one unit bound the output alike: the one that has least is asked.
  constexpr std::array kUnits = {QuotaUnit::kOutputTokens, QuotaUnit::kTotalTokens, QuotaUnit::kUsd,
                                 QuotaUnit::kQuotaTokens};
  std::array<Sum, kUnits.size()> least;
  least.fill(config::kQuotaMax);
  std::array<bool, kUnits.size()> asked{};
  for (std::size_t i = 0; i < uses.size(); ++i) {
    const Policy& policy = *uses[i].policy;
    if (standings[i].rule == QuotaRule::kNone || !Shrinks(policy)) continue;
    const QuotaUnit unit = policy.unit == QuotaUnit::kCredits ? QuotaUnit::kUsd : policy.unit;
    const auto at = static_cast<std::size_t>(std::ranges::find(kUnits, unit) - kUnits.begin());
    asked[at] = true;
    least[at] = std::min(least[at], RoomOf(standings[i], room));
  }
  std::int64_t output = output_max;
  for (std::size_t at = 0; at < kUnits.size(); ++at) {
    if (!asked[at]) continue;
    // Less than nothing is left of a limit that was lowered: what costs nothing still fits.
    const auto fits = OutputFitting(kUnits[at], ask.demand, output,
                                    static_cast<std::int64_t>(std::max<Sum>(least[at], 0)));
    if (!fits) return std::nullopt;
    output = std::min(output, *fits);
  }
  return output;
}

Verdict JudgeOutput(std::span<const QuotaUse> uses, std::span<const Standing> standings,
                    const Ask& ask) {
  for (std::size_t i = 0; i < uses.size(); ++i) {
    const Policy& policy = *uses[i].policy;
    if (standings[i].rule == QuotaRule::kNone || !Shrinks(policy)) continue;
    const std::int64_t need = LeastNeed(policy, ask);
    const Refusal refusal = RefusalOf(policy, standings[i], need);
    if (refusal != Refusal::kNone) return {refusal, i, need};
  }
  return {};
}

RecoveryLeft LeftForRecovery(std::span<const QuotaUse> uses, std::span<const Standing> standings) {
  RecoveryLeft left;
  for (std::size_t i = 0; i < uses.size(); ++i) {
    const QuotaUnit unit = uses[i].policy->unit;
    if (!IsRecovery(unit) || standings[i].rule == QuotaRule::kNone) continue;
    const auto available =
        static_cast<std::int64_t>(std::clamp<Sum>(standings[i].Available(), 0, config::kQuotaMax));
    if (unit == QuotaUnit::kAttempts) {
      left.attempts = std::min(left.attempts.value_or(available), available);
    } else if (unit == QuotaUnit::kFallbackAttempts) {
      left.fallback_attempts = std::min(left.fallback_attempts.value_or(available), available);
    } else {
      left.fallback_spend =
          std::min(left.fallback_spend.value_or(NanoUsd{available}), NanoUsd{available});
    }
  }
  return left;
}

std::int64_t AmountOf(const QuotaUse& use, const Standing& standing, const Ask& ask,
                      std::int64_t output, NanoUsd usd, const RecoveryLeft& granted) {
  const Policy& policy = *use.policy;
  switch (policy.unit) {
    case QuotaUnit::kAttempts:
    case QuotaUnit::kFallbackAttempts:
    case QuotaUnit::kFallbackSpend: {
      const std::int64_t wanted = HeldOf(policy.unit, ask.demand, output);
      if (standing.rule == QuotaRule::kNone) return wanted;
      if (policy.unit == QuotaUnit::kAttempts) {
        return std::min(wanted, granted.attempts.value_or(wanted));
      }
      if (policy.unit == QuotaUnit::kFallbackAttempts) {
        return std::min(wanted, granted.fallback_attempts.value_or(wanted));
      }
      return std::min(wanted, granted.fallback_spend.value_or(NanoUsd{wanted}).n);
    }
    default:
      break;
  }
  if (!IsFirm(policy)) return HeldOf(policy.unit, ask.demand, output, usd);
  const std::int64_t usual = std::min(output, ask.output_usual * Choices(ask));
  return HeldOf(policy.unit, Expected(ask.demand), usual);
}

bool WouldRefuse(const QuotaUse& use, const Standing& standing, const Ask& ask) {
  if (IsRecovery(use.policy->unit)) return false;
  return RefusalOf(*use.policy, standing, LeastNeed(*use.policy, ask)) != Refusal::kNone;
}

}  // namespace weir::policy
