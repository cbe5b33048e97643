#include "sim/schedule.h"

#include <algorithm>
#include <charconv>

#include "sim/draw.h"
#include "sim/policy_plan.h"

namespace weir::sim {
namespace {

using Kind = Action::Kind;

struct KindFault {
  Kind kind;
  Fault fault;
};
// The faults that are actions of their own.
constexpr KindFault kActionFaults[] = {
    {Kind::kCrash, Fault::kCrash},         {Kind::kPowerCut, Fault::kPowerCut},
    {Kind::kDiskFull, Fault::kDiskFull},   {Kind::kDiskBroken, Fault::kDiskBroken},
    {Kind::kClockJump, Fault::kClockJump}, {Kind::kDrain, Fault::kDrain},
    {Kind::kReload, Fault::kReload},       {Kind::kBudgetChange, Fault::kBudgetChange},
    {Kind::kGrants, Fault::kGrants},       {Kind::kPolicyChange, Fault::kPolicyChange},
};

void DrawWallets(Draw draw, Settings& settings) {
  for (std::size_t& package : settings.packages) {
    package = draw.Chance(350) ? 0 : draw.Chance(600) ? 1 : 2;
  }
  for (config::HoldRule& hold : settings.holds) {
    hold = draw.Chance(500) ? config::HoldRule::kStrict : config::HoldRule::kAdaptive;
  }
  settings.shared_wallet = draw.Chance(300);
}

// How long it is from one action to the next, at most. With policies it may be long enough that
// their windows turn.
Duration DrawPolicySettings(Draw draw, Duration gap, Settings& settings) {
  settings.policies_seed = draw.Next();
  settings.policies = DrawPolicies(settings.policies_seed);
  settings.attempts = draw.Chance(500) ? 10 : draw.Between(1, 4);
  const bool long_gaps = draw.Chance(400);
  const Duration longer = Seconds(std::int64_t{20} << draw.Below(6));
  return long_gaps && !settings.policies.empty() ? longer : gap;
}

Settings MakeSettings(Draw draw, FaultSet faults) {
  Settings settings;
  settings.durability =
      draw.Chance(500) ? config::Durability::kProcess : config::Durability::kPower;
  settings.hang_up_rule = static_cast<config::HangUpRule>(draw.Below(3));
  for (config::KeyLimits& limits : settings.keys) {
    limits.requests_per_minute = draw.Chance(800) ? 0 : draw.Between(1, 20);
    limits.tokens_per_minute = draw.Chance(800) ? 0 : draw.Between(100, 100'000);
    limits.concurrent_requests = draw.Chance(700) ? 0 : draw.Between(1, 6);
    limits.budget = DrawBudget(draw.Next());
  }
  settings.accounts = draw.Between(1, 4);
  settings.account_slots = draw.Chance(500) ? 0 : draw.Between(1, 4);
  settings.queue_size = draw.Chance(500) ? 0 : draw.Between(1, 20);
  settings.commit_time = faults.Has(Fault::kDiskSlow) ? Seconds(2) : Milliseconds(5);
  settings.think_time = draw.Chance(500) ? Milliseconds(20) : Seconds(2);
  return settings;
}

}  // namespace

std::string_view Name(Fault fault) { return kFaultNames[static_cast<std::size_t>(fault)].name; }

std::optional<Fault> ParseFault(std::string_view name) {
  for (const FaultName& known : kFaultNames) {
    if (known.name == name) return known.fault;
  }
  return std::nullopt;
}

// Worth a few calls, some dozens, or far more than a schedule spends.
std::optional<NanoUsd> DrawBudget(std::uint64_t seed) {
  Draw draw(seed);
  switch (draw.Below(8)) {
    case 0:
      return std::nullopt;
    case 1:
      return NanoUsd{draw.Between(0, 1000)};
    case 2:
      return NanoUsd{draw.Between(0, 1'000'000'000'000)};
    case 3:
    case 4:
      return NanoUsd{draw.Between(2'000'000, 40'000'000)};
    default:
      return NanoUsd{draw.Between(200'000, 5'000'000)};
  }
}

config::WalletKind WalletOfPackage(std::size_t package) {
  switch (package) {
    case 1:
      return config::WalletKind::kQuotaTokens;
    case 2:
      return config::WalletKind::kUsd;
    default:
      return config::WalletKind::kNone;
  }
}

GrantPlan DrawGrant(std::uint64_t seed, config::WalletKind kind) {
  Draw draw(seed);
  GrantPlan plan;
  const bool tokens = kind == config::WalletKind::kQuotaTokens;
  const std::int64_t call = tokens ? 4'000 : 4'000'000;  // about what one call holds
  switch (draw.Below(6)) {
    case 0:
      plan.amount = draw.Between(0, call / 4);
      break;
    case 1:
    case 2:
      plan.amount = draw.Between(0, 1000 * call);
      break;
    case 3:
      plan.amount = draw.Between(call / 4, 6 * call);
      break;
    default:
      plan.amount = draw.Between(call, 100 * call);
  }
  plan.priority = static_cast<std::int32_t>(draw.Below(3));
  if (draw.Chance(100)) plan.effective_in = draw.Pause(Seconds(20));
  if (draw.Chance(400)) plan.expires_in = draw.Pause(Seconds(120));
  return plan;
}

Schedule MakeSchedule(std::uint64_t seed, std::uint32_t actions) {
  Schedule schedule;
  schedule.seed = seed;
  schedule.size = actions;
  Draw draw(SeedOf(seed, 10));
  // Of some seeds nearly all faults are on, of others nearly none.
  const std::int64_t share = draw.Between(50, 700);
  for (const FaultName& fault : kFaultNames) {
    if (draw.Chance(share)) schedule.faults.Add(fault.fault);
  }
  schedule.settings = MakeSettings(Draw(SeedOf(seed, 11)), schedule.faults);
  DrawWallets(Draw(SeedOf(seed, 12)), schedule.settings);

  std::vector<Kind> faults;
  for (const KindFault& entry : kActionFaults) {
    if (schedule.faults.Has(entry.fault)) faults.push_back(entry.kind);
  }
  const Duration short_gap = draw.Chance(500) ? Milliseconds(50) : Seconds(1);
  const Duration gap = DrawPolicySettings(Draw(SeedOf(seed, 13)), short_gap, schedule.settings);
  const std::int64_t fault_share = draw.Between(20, 200);
  Tick at = Tick{0} + Seconds(2);
  for (std::uint32_t number = 0; number < actions; ++number) {
    at = at + draw.Pause(gap);
    Action action{.number = number, .at = at, .seed = SeedOf(seed, 100 + number)};
    // Drawn whether there are faults or not: leaving a kind out must not move what follows.
    const bool is_fault = draw.Chance(fault_share);
    const auto which = static_cast<std::size_t>(draw.Below(1000));
    if (is_fault && !faults.empty()) action.kind = faults[which % faults.size()];
    schedule.actions.push_back(action);
  }
  return schedule;
}

bool KeepOnly(Schedule& schedule, std::string_view only) {
  std::vector<Action> kept;
  if (only == "none") only = {};
  while (!only.empty()) {
    const auto comma = only.find(',');
    std::string_view word = only.substr(0, comma);
    only = comma == std::string_view::npos ? std::string_view() : only.substr(comma + 1);
    std::uint32_t number = 0;
    const auto read = std::from_chars(word.data(), word.data() + word.size(), number);
    if (read.ec != std::errc() || number >= schedule.size) return false;
    word.remove_prefix(static_cast<std::size_t>(read.ptr - word.data()));
    Action action = schedule.actions[number];
    for (const char c : word) {
      if (c != 'c' && c != 'u') return false;
      (c == 'c' ? action.calm_caller : action.calm_upstreams) = true;
    }
    kept.push_back(action);
  }
  std::ranges::sort(kept, {}, &Action::number);
  const auto repeated = std::ranges::adjacent_find(kept, {}, &Action::number);
  if (repeated != kept.end()) return false;
  schedule.actions = std::move(kept);
  return true;
}

std::string OnlyText(const Schedule& schedule) {
  std::string text;
  for (const Action& action : schedule.actions) {
    if (!text.empty()) text += ',';
    text += std::to_string(action.number);
    if (action.calm_caller) text += 'c';
    if (action.calm_upstreams) text += 'u';
  }
  return text.empty() ? "none" : text;
}

std::string FaultsText(FaultSet faults) {
  std::string text;
  for (const FaultName& fault : kFaultNames) {
    if (!faults.Has(fault.fault)) continue;
    if (!text.empty()) text += ',';
    text += fault.name;
  }
  return text.empty() ? "none" : text;
}

}  // namespace weir::sim
