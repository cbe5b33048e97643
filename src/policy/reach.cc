#include "policy/reach.h"

#include <algorithm>

#include "policy/calendar.h"

namespace weir::policy {
namespace {

bool IsAskedFor(config::Dimension dimension) {
  return (config::BitOf(dimension) & kAskedForBits) != 0;
}

bool Holds(const config::Condition& condition, const Facts& facts) {
  const std::string_view value = facts[condition.dimension];
  return !value.empty() && std::ranges::find(condition.values, value) != condition.values.end();
}

}  // namespace

bool CanMeet(const config::Policy& policy, const Facts& facts) {
  const auto may_hold = [&](const config::Condition& condition) {
    return IsAskedFor(condition.dimension) || Holds(condition, facts);
  };
  const auto keeps_out = [&](const config::Condition& condition) {
    return !IsAskedFor(condition.dimension) && Holds(condition, facts);
  };
  return std::ranges::all_of(policy.match, may_hold) &&
         std::ranges::none_of(policy.except, keeps_out);
}

std::optional<std::string> CounterOf(const config::Policy& policy, const Facts& facts) {
  if (std::ranges::any_of(policy.per, IsAskedFor)) return std::nullopt;
  return CounterText(policy, facts, {});
}

bool IsCounterOf(const config::Policy& policy, std::string_view text) {
  for (std::size_t i = 0; i < policy.per.size(); ++i) {
    const std::string_view name = Name(policy.per[i]);
    if (i > 0) {
      if (!text.starts_with(',')) return false;
      text.remove_prefix(1);
    }
    if (!text.starts_with(name) || !text.substr(name.size()).starts_with('=')) return false;
    text.remove_prefix(name.size() + 1);
    text.remove_prefix(std::min(text.find_first_of(",="), text.size()));
  }
  return text.empty();
}

std::int64_t WindowsWithin(const config::Window& window, Instant from, Instant to) {
  switch (window.kind) {
    case config::WindowKind::kRequest:
    case config::WindowKind::kAction:
      return 0;
    case config::WindowKind::kCampaign:
    case config::WindowKind::kLifetime:
      return 1;
    default:
      break;
  }
  const std::int64_t time = to.ns - from.ns;
  if (window.sliding)
    return 1 + time / SlidingLength(window).ns + (time % SlidingLength(window).ns != 0);
  const auto first = WindowAt(window, from);
  if (!first || to <= first->ends_at) return 1;
  const std::int64_t length = first->ends_at.ns - first->starts_at.ns;
  const bool is_even =
      window.kind == config::WindowKind::kMinute || window.kind == config::WindowKind::kHour;
  // Minutes and hours are all of one length. Days, weeks and months are walked: there are few.
  if (is_even) return 1 + (to.ns - first->ends_at.ns + length - 1) / length;
  std::int64_t count = 1;
  for (auto span = first; span && span->ends_at < to; ++count) {
    span = WindowAt(window, span->ends_at);
  }
  return count;
}

}  // namespace weir::policy
