#include "sim/quota_law.h"

#include <algorithm>
#include <utility>

namespace weir::sim {
namespace {

using config::Dimension;
using config::Policy;
using config::QuotaUnit;
using config::WindowKind;

std::string ValueOf(const Asker& asker, Dimension dimension) {
  switch (dimension) {
    case Dimension::kKey:
      return asker.key;
    case Dimension::kWorkspace:
      return asker.workspace;
    case Dimension::kTeam:
      return asker.team;
    case Dimension::kUser:
      return asker.user;
    case Dimension::kModel:
      return asker.model;
    case Dimension::kEndpoint:
      return asker.endpoint;
    default:
      return {};
  }
}

bool IsOneOf(const config::Condition& condition, const Asker& asker) {
  const std::string value = ValueOf(asker, condition.dimension);
  return !value.empty() && std::ranges::count(condition.values, value) > 0;
}

bool IsMet(const Policy& policy, const Asker& asker) {
  const auto holds = [&](const config::Condition& one) { return IsOneOf(one, asker); };
  return std::ranges::all_of(policy.match, holds) && std::ranges::none_of(policy.except, holds);
}

std::string ValuesText(const std::vector<Dimension>& split, const Asker& asker, WindowKind kind) {
  std::string text;
  const auto add = [&](std::string_view name, const std::string& value) {
    if (!text.empty()) text += ',';
    text += name;
    text += '=';
    text += value;
  };
  for (const Dimension dimension : split) add(Name(dimension), ValueOf(asker, dimension));
  if (kind == WindowKind::kAction && !asker.action.empty()) add("action", asker.action);
  return text;
}

Duration LengthOf(const config::Window& window) {
  switch (window.kind) {
    case WindowKind::kMinute:
      return Seconds(60 * window.every);
    case WindowKind::kHour:
      return Seconds(3'600 * window.every);
    case WindowKind::kDay:
      return Seconds(86'400 * window.every);
    default:
      return {};
  }
}

std::int64_t TimesUp(std::int64_t tokens, std::int64_t ppm) {
  const __int128 product = static_cast<__int128>(tokens) * ppm;
  return static_cast<std::int64_t>(product / 1'000'000 + (product % 1'000'000 != 0 ? 1 : 0));
}

std::optional<std::int64_t> AmountOf(QuotaUnit unit, const HeldFor& held) {
  switch (unit) {
    case QuotaUnit::kRequests:
    case QuotaUnit::kConcurrent:
      return 1;
    case QuotaUnit::kInputTokens:
    case QuotaUnit::kCachedTokens:
    case QuotaUnit::kUncachedTokens:
      return held.input_tokens;
    case QuotaUnit::kOutputTokens:
      return held.output_tokens;
    case QuotaUnit::kTotalTokens:
      return held.input_tokens + held.output_tokens;
    case QuotaUnit::kUsd:
    case QuotaUnit::kCredits:
      return held.usd.n;
    case QuotaUnit::kQuotaTokens:
      return TimesUp(held.input_tokens + held.output_tokens, held.multiplier_ppm);
    default:
      return std::nullopt;
  }
}

std::int64_t LimitOf(const std::string& id, const std::string& values, std::int64_t limit,
                     const config::Config& config, Instant at) {
  for (const config::Raise& raise : config.raises) {
    const bool is_for_it = raise.policy == id && (raise.values.empty() || raise.values == values);
    if (is_for_it && raise.from <= at && at < raise.to) limit += raise.amount;
  }
  return limit;
}

// A limit, of a policy or of its budgets of recovery.
void AddDue(const Policy& policy, const std::string& suffix, QuotaUnit unit, WindowKind kind,
            std::int64_t limit, const config::Config& config, const Asker& asker, Instant asked_at,
            const HeldFor& held, std::vector<Due>& dues) {
  Due due{.policy = policy.id + suffix,
          .values = ValuesText(policy.per, asker, kind),
          .scope = {},
          .unit = unit,
          .kind = kind};
  due.alone = kind == WindowKind::kRequest || (kind == WindowKind::kAction && asker.action.empty());
  const bool recovers = !suffix.empty();
  if (kind == WindowKind::kAction)
    due.scope = asker.workspace.empty() ? asker.key : asker.workspace;
  if (!recovers) {
    due.length = LengthOf(policy.window);
    due.sliding = policy.window.sliding && due.length.ns > 0;
  }
  due.limit = LimitOf(due.policy, due.values, limit, config, asked_at);
  const bool tells_only =
      policy.shadow || (!recovers && policy.action == config::PolicyAction::kAlert);
  const bool firm = !recovers && policy.cap == config::CapKind::kFirm;
  due.rule = tells_only ? ledger::QuotaRule::kNone
             : firm     ? ledger::QuotaRule::kFirm
                        : ledger::QuotaRule::kHard;
  // A firm limit holds what is usual.
  if (!firm) due.amount = AmountOf(unit, held);
  const bool grows = unit == QuotaUnit::kOutputTokens || unit == QuotaUnit::kTotalTokens ||
                     unit == QuotaUnit::kUsd || unit == QuotaUnit::kCredits ||
                     unit == QuotaUnit::kQuotaTokens;
  due.may_be_left_out = due.rule == ledger::QuotaRule::kHard && !grows &&
                        (due.amount ? *due.amount == 0 : unit != QuotaUnit::kAttempts);
  dues.push_back(std::move(due));
}

}  // namespace

std::vector<Due> DuesOf(const config::Config& config, const Asker& asker, Instant asked_at,
                        const HeldFor& held) {
  std::vector<Due> dues;
  for (const Policy& policy : config.policies) {
    if (!IsMet(policy, asker)) continue;
    const auto add = [&](const std::string& suffix, QuotaUnit unit, WindowKind kind,
                         std::int64_t limit) {
      AddDue(policy, suffix, unit, kind, limit, config, asker, asked_at, held, dues);
    };
    add("", policy.unit, policy.window.kind, policy.limit);
    const config::RetryRule& retry = policy.retry;
    if (retry.attempts) {
      add("/attempts", QuotaUnit::kAttempts, WindowKind::kAction, *retry.attempts);
    }
    if (retry.fallback_attempts) {
      add("/fallback_attempts", QuotaUnit::kFallbackAttempts, WindowKind::kAction,
          *retry.fallback_attempts);
    }
    if (retry.fallback_spend) {
      add("/fallback_spend", QuotaUnit::kFallbackSpend, WindowKind::kAction,
          retry.fallback_spend->n);
    }
  }
  return dues;
}

std::vector<std::string> ModelsFor(const config::Config& config, const std::string& model) {
  std::vector<std::string> models{model};
  for (const Policy& policy : config.policies) {
    if (policy.action == config::PolicyAction::kDegrade) models.push_back(policy.degrade_to);
  }
  return models;
}

Bounds WindowByHand(const Due& due, Instant at) {
  constexpr Instant kAnchor{config::kDefaultAnchorSeconds * 1'000'000'000};
  std::int64_t n = (at - kAnchor).ns / due.length.ns;
  if ((at - kAnchor).ns < n * due.length.ns) --n;
  const Instant starts_at = kAnchor + Duration{n * due.length.ns};
  return {starts_at, starts_at + due.length};
}

std::optional<ledger::Sum> UseByHand(QuotaUnit unit, const Usage& usage, NanoUsd price,
                                     std::int64_t multiplier_ppm) {
  switch (unit) {
    case QuotaUnit::kRequests:
      return 1;
    case QuotaUnit::kConcurrent:
      return 0;
    case QuotaUnit::kInputTokens:
      return usage.input_tokens;
    case QuotaUnit::kCachedTokens:
      return usage.cached_input_tokens;
    case QuotaUnit::kUncachedTokens:
      return usage.input_tokens - usage.cached_input_tokens;
    case QuotaUnit::kOutputTokens:
      return usage.output_tokens;
    case QuotaUnit::kTotalTokens:
      return usage.input_tokens + usage.output_tokens;
    case QuotaUnit::kUsd:
    case QuotaUnit::kCredits:
      return price.n;
    case QuotaUnit::kQuotaTokens:
      return TimesUp(usage.input_tokens + usage.output_tokens, multiplier_ppm);
    default:
      return std::nullopt;
  }
}

}  // namespace weir::sim
