#include "sim/shrink.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "sim/policy_plan.h"
#include "sim/request.h"

namespace weir::sim {
namespace {

using Kind = Action::Kind;

std::optional<Fault> FaultOf(Kind kind) {
  switch (kind) {
    case Kind::kRequest:
      return std::nullopt;
    case Kind::kCrash:
      return Fault::kCrash;
    case Kind::kPowerCut:
      return Fault::kPowerCut;
    case Kind::kDiskFull:
      return Fault::kDiskFull;
    case Kind::kDiskBroken:
      return Fault::kDiskBroken;
    case Kind::kClockJump:
      return Fault::kClockJump;
    case Kind::kDrain:
      return Fault::kDrain;
    case Kind::kReload:
      return Fault::kReload;
    case Kind::kBudgetChange:
      return Fault::kBudgetChange;
    case Kind::kGrants:
      return Fault::kGrants;
    case Kind::kPolicyChange:
      return Fault::kPolicyChange;
  }
  return std::nullopt;
}

std::string_view RuleName(config::HangUpRule rule) {
  switch (rule) {
    case config::HangUpRule::kAbortAndBillObserved:
      return "abort_and_bill_observed";
    case config::HangUpRule::kAbortAndVoid:
      return "abort_and_void";
    case config::HangUpRule::kDrainAndBill:
      return "drain_and_bill";
  }
  return "";
}

}  // namespace

Schedule Without(Schedule schedule, Fault fault) {
  schedule.faults.Remove(fault);
  std::erase_if(schedule.actions,
                [&](const Action& action) { return FaultOf(action.kind) == fault; });
  return schedule;
}

Shrunk Shrink(Simulator& simulator, Schedule schedule, std::uint64_t runs_max) {
  Shrunk best{std::move(schedule), {}, 1};
  best.outcome = simulator.Run(best.schedule);
  if (!best.outcome.violation) return best;
  const std::string rule = best.outcome.violation->rule;
  const auto still_breaks = [&](Schedule candidate) {
    if (best.runs >= runs_max) return false;
    ++best.runs;
    Outcome outcome = simulator.Run(candidate);
    if (!outcome.violation || outcome.violation->rule != rule) return false;
    best.schedule = std::move(candidate);
    best.outcome = std::move(outcome);
    return true;
  };

  // Delta debugging (Zeller 2002): ever smaller parts are left out.
  for (std::size_t part = std::max<std::size_t>(best.schedule.actions.size() / 2, 1);;) {
    bool smaller = false;
    for (std::size_t at = 0; at < best.schedule.actions.size();) {
      Schedule candidate = best.schedule;
      auto& actions = candidate.actions;
      const std::size_t end = std::min(at + part, actions.size());
      actions.erase(actions.begin() + static_cast<std::ptrdiff_t>(at),
                    actions.begin() + static_cast<std::ptrdiff_t>(end));
      if (still_breaks(std::move(candidate))) {
        smaller = true;
      } else {
        at += part;
      }
    }
    if (part == 1 && !smaller) break;
    if (part > 1) part = part / 2;
  }
  for (const FaultName& fault : kFaultNames) {
    if (best.schedule.faults.Has(fault.fault)) still_breaks(Without(best.schedule, fault.fault));
  }
  for (bool Action::* calm : {&Action::calm_caller, &Action::calm_upstreams}) {
    for (std::size_t i = 0; i < best.schedule.actions.size(); ++i) {
      if (best.schedule.actions[i].kind != Kind::kRequest) continue;
      Schedule candidate = best.schedule;
      candidate.actions[i].*calm = true;
      still_breaks(std::move(candidate));
    }
  }
  return best;
}

std::string Describe(const Schedule& schedule) {
  const Settings& settings = schedule.settings;
  std::string text = fmt::format(
      "settings  durability {}, on_hang_up {}, {} accounts with {} slots, a queue of {}, {} "
      "attempts\n"
      "faults    {}\n",
      settings.durability == config::Durability::kProcess ? "process" : "power",
      RuleName(settings.hang_up_rule), settings.accounts, settings.account_slots,
      settings.queue_size, settings.attempts, FaultsText(schedule.faults));
  for (std::size_t i = 0; i < settings.keys.size(); ++i) {
    const config::KeyLimits& limits = settings.keys[i];
    constexpr std::string_view kWallets[] = {"no wallet", "quota tokens", "dollars"};
    const std::size_t package = settings.packages[i];
    text += fmt::format(
        "key k{}    budget {}, at once {}, per minute {} requests {} tokens, {}, {} holds{}\n", i,
        limits.budget ? FormatUsd(*limits.budget) + " USD" : "none", limits.concurrent_requests,
        limits.requests_per_minute, limits.tokens_per_minute, kWallets[package],
        settings.holds[package] == config::HoldRule::kStrict ? "strict" : "adaptive",
        settings.shared_wallet && i < 2 ? ", shared workspace" : "");
  }
  for (const config::Policy& policy : settings.policies) {
    text += "policy " + DescribePolicy(policy) + "\n";
  }
  for (const Action& action : schedule.actions) {
    const auto fault = FaultOf(action.kind);
    text += fmt::format(
        "{:>9}.{:06} ms  {:>3}  {}{}{}\n", action.at.ns / 1'000'000, action.at.ns % 1'000'000,
        action.number, fault ? std::string(Name(*fault)) : DescribeRequest(schedule, action),
        action.calm_caller ? ", calm caller" : "", action.calm_upstreams ? ", calm upstreams" : "");
  }
  return text;
}

std::string CommandOf(const Schedule& schedule, Canary canary) {
  std::string text = fmt::format("weir sim --seed {} --events {}", schedule.seed, schedule.size);
  const FaultSet whole = MakeSchedule(schedule.seed, schedule.size).faults;
  std::string without;
  for (const FaultName& fault : kFaultNames) {
    if (!whole.Has(fault.fault) || schedule.faults.Has(fault.fault)) continue;
    without += (without.empty() ? "" : ",") + std::string(fault.name);
  }
  if (!without.empty()) text += " --without " + without;
  if (schedule.actions.size() < schedule.size) text += " --only " + OnlyText(schedule);
  for (const CanaryInfo& info : kCanaries) {
    if (info.canary == canary) text += fmt::format(" --canary {}", info.name);
  }
  return text;
}

}  // namespace weir::sim
