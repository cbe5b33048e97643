#include "config/policy_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "config/scalar.h"

namespace weir::config {
namespace {

constexpr std::array<std::string_view, 9> kWindowNames = {
    "minute", "hour", "day", "week", "month", "campaign", "lifetime", "request", "action"};
constexpr std::array<std::string_view, 2> kCapNames = {"hard", "firm"};
constexpr std::array<std::string_view, 4> kActionNames = {"block", "degrade", "approval", "alert"};
constexpr std::array<std::string_view, 4> kReviewNames = {"none", "daily", "weekly", "monthly"};

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// How many decimals an amount may have; credits have steps and no decimals.
std::size_t DecimalsOf(QuotaUnit unit) {
  switch (unit) {
    case QuotaUnit::kUsd:
    case QuotaUnit::kFallbackSpend:
      return 9;
    case QuotaUnit::kVideoSeconds:
    case QuotaUnit::kAudioSeconds:
      return 3;
    default:
      return 0;
  }
}

std::string Quoted(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (static_cast<std::uint8_t>(c) < 0x20) {
      quoted += fmt::format("\\u{:04x}", static_cast<std::uint8_t>(c));
      continue;
    }
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "\"";
}

template <class Items, class Text>
std::string List(const Items& items, Text text) {
  std::string list = "[";
  for (const auto& item : items) {
    if (list.size() > 1) list += ",";
    list += text(item);
  }
  return list + "]";
}

std::string Texts(const std::vector<std::string>& texts) { return List(texts, Quoted); }

class JsonObject {
 public:
  explicit JsonObject(Defaults defaults) : all_(defaults == Defaults::kWritten) {}

  // `json` is a value already. One that is as it would be without it is left out, unless all are
  // wanted.
  void Add(std::string_view name, std::string_view json, bool is_default) {
    if (is_default && !all_) return;
    text_ += fmt::format("{}\"{}\":{}", text_.empty() ? "" : ",", name, json);
  }
  void Add(std::string_view name, std::string_view json) { Add(name, json, false); }
  // Not written where there is nothing to write, even if all are wanted.
  void AddText(std::string_view name, std::string_view text) {
    if (!text.empty()) Add(name, Quoted(text));
  }
  void AddFlag(std::string_view name, bool value, bool fallback) {
    Add(name, value ? "true" : "false", value == fallback);
  }

  bool empty() const { return text_.empty(); }
  std::string Take() const { return "{" + text_ + "}"; }

 private:
  bool all_;
  std::string text_;
};

std::string Amount(QuotaUnit unit, std::int64_t steps) {
  const std::string text = FormatAmount(unit, steps);
  return DecimalsOf(unit) == 0 ? text : Quoted(text);
}

std::string Conditions(const std::vector<Condition>& conditions) {
  JsonObject object(Defaults::kOmitted);
  for (const Condition& condition : conditions) {
    object.Add(Name(condition.dimension), Texts(condition.values));
  }
  return object.Take();
}

void AddWindow(const Policy& policy, JsonObject& json) {
  const Window& window = policy.window;
  const Window fallback;
  json.Add("window", Quoted(Name(window.kind)), window.kind == DefaultWindow(policy.unit));
  if (window.kind == WindowKind::kCampaign) {
    if (window.starts_at) json.Add("starts_at", Quoted(FormatTime(*window.starts_at)));
    if (window.ends_at) json.Add("ends_at", Quoted(FormatTime(*window.ends_at)));
  }
  if (!Repeats(window.kind)) return;
  json.Add("every", std::to_string(window.every), window.every == fallback.every);
  json.AddFlag("sliding", window.sliding, fallback.sliding);
  if (window.sliding) return;
  json.Add("anchor", Quoted(FormatLocalTime(window.anchor_seconds)),
           window.anchor_seconds == fallback.anchor_seconds);
  const std::string_view zone =
      window.zone == nullptr ? "UTC" : std::string_view(window.zone->name);
  json.Add("timezone", Quoted(zone), zone == "UTC");
}

std::string ApprovalText(const Policy& policy, Defaults defaults) {
  const ApprovalRule& approval = policy.approval;
  JsonObject json(defaults);
  json.Add("approvers", Texts(approval.approvers), approval.approvers.empty());
  json.AddText("condition", approval.condition);
  if (approval.amount_max) json.Add("amount_max", Amount(policy.unit, *approval.amount_max));
  json.Add("duration_max", Quoted(FormatDuration(approval.duration_max)),
           approval.duration_max == ApprovalRule().duration_max);
  return json.Take();
}

std::string RetryText(const RetryRule& retry, Defaults defaults) {
  JsonObject json(defaults);
  if (retry.attempts) json.Add("attempts", std::to_string(*retry.attempts));
  if (retry.fallback_attempts) {
    json.Add("fallback_attempts", std::to_string(*retry.fallback_attempts));
  }
  if (retry.fallback_spend) json.Add("fallback_spend", Quoted(FormatUsd(*retry.fallback_spend)));
  json.Add("non_retryable", Texts(retry.non_retryable), retry.non_retryable.empty());
  return json.Take();
}

std::string TextOf(const Policy& policy, Defaults defaults, std::uint32_t version) {
  const Policy fallback;
  JsonObject json(defaults);
  json.Add("id", Quoted(policy.id));
  json.AddText("owner", policy.owner);
  json.Add("match", Conditions(policy.match), policy.match.empty());
  json.Add("except", Conditions(policy.except), policy.except.empty());
  json.Add("per", List(policy.per, [](Dimension d) { return Quoted(Name(d)); }),
           policy.per.empty());
  json.Add("unit", Quoted(Name(policy.unit)));
  json.Add("limit", Amount(policy.unit, policy.limit));
  json.Add("cap", Quoted(Name(policy.cap)), policy.cap == fallback.cap);
  AddWindow(policy, json);
  json.Add("action", Quoted(Name(policy.action)), policy.action == fallback.action);
  json.AddText("degrade_to", policy.degrade_to);
  json.AddFlag("shadow", policy.shadow, fallback.shadow);
  json.AddFlag("clamp", policy.clamp, fallback.clamp);
  json.Add("alerts", List(policy.alert_percent, [](std::int64_t n) { return std::to_string(n); }),
           policy.alert_percent == fallback.alert_percent);
  json.AddFlag("forecast", policy.forecast, fallback.forecast);
  if (policy.over_limit_status != 0) {
    json.Add("over_limit_status", std::to_string(policy.over_limit_status));
  }
  const std::string approval = ApprovalText(policy, defaults);
  json.Add("approval", approval, approval == "{}");
  const std::string retry = RetryText(policy.retry, defaults);
  json.Add("retry", retry, retry == "{}");
  json.Add("logging", Texts(policy.logging), policy.logging.empty());
  json.Add("review", Quoted(Name(policy.review)), policy.review == fallback.review);
  json.AddText("contact", policy.contact);
  json.AddText("note", policy.note);
  if (version != 0) json.Add("version", std::to_string(version));
  return json.Take();
}

}  // namespace

std::string_view Name(WindowKind kind) { return kWindowNames[static_cast<std::size_t>(kind)]; }
std::string_view Name(CapKind cap) { return kCapNames[static_cast<std::size_t>(cap)]; }
std::string_view Name(PolicyAction action) {
  return kActionNames[static_cast<std::size_t>(action)];
}
std::string_view Name(ReviewCadence cadence) {
  return kReviewNames[static_cast<std::size_t>(cadence)];
}

std::optional<std::int64_t> ParseAmount(QuotaUnit unit, std::string_view text) {
  const std::size_t point = std::min(text.find('.'), text.size());
  const std::string_view whole = text.substr(0, point);
  if (whole.empty() || !std::ranges::all_of(whole, IsDigit)) return std::nullopt;
  if (whole.size() > 1 && whole.front() == '0') return std::nullopt;  // octal to some readers
  std::string_view decimals;
  if (point < text.size()) {
    decimals = text.substr(point + 1);
    if (decimals.empty() || decimals.size() > DecimalsOf(unit) ||
        !std::ranges::all_of(decimals, IsDigit)) {
      return std::nullopt;
    }
  }
  __int128 steps = 0;
  const auto take = [&](char digit) {
    steps = steps * 10 + (digit - '0');
    return steps <= kQuotaMax;
  };
  for (const char digit : whole) {
    if (!take(digit)) return std::nullopt;
  }
  for (std::size_t i = 0; i < DecimalsOf(unit); ++i) {
    if (!take(i < decimals.size() ? decimals[i] : '0')) return std::nullopt;
  }
  if (DecimalsOf(unit) == 0) steps *= StepsOf(unit);
  if (steps > kQuotaMax) return std::nullopt;
  return static_cast<std::int64_t>(steps);
}

std::string FormatAmount(QuotaUnit unit, std::int64_t steps) {
  const std::int64_t one = StepsOf(unit);
  std::string text = std::to_string(steps / one);
  const std::size_t decimals = DecimalsOf(unit);
  if (decimals == 0 || steps % one == 0) return text;
  std::string fraction = std::to_string(steps % one);
  fraction.insert(0, decimals - fraction.size(), '0');
  fraction.resize(fraction.find_last_not_of('0') + 1);
  return text + "." + fraction;
}

std::uint32_t DerivedVersion(const Policy& policy) {
  // FNV-1a (Fowler, Noll, Vo): nothing here is secret or forged, and it is the same everywhere.
  std::uint64_t hash = 14'695'981'039'346'656'037ULL;
  for (const char c : TextOf(policy, Defaults::kOmitted, 0)) {
    hash = (hash ^ static_cast<std::uint8_t>(c)) * 1'099'511'628'211ULL;
  }
  // FNV's own way to fewer bits: all of them count.
  const std::uint64_t folded = (hash >> 31 ^ hash ^ hash >> 62) & 0x7FFF'FFFF;
  return folded == 0 ? 1 : static_cast<std::uint32_t>(folded);
}

std::string FormatPolicy(const Policy& policy, Defaults defaults) {
  const bool own = policy.version != 0 && policy.version != DerivedVersion(policy);
  return TextOf(policy, defaults, own ? policy.version : 0);
}

}  // namespace weir::config
