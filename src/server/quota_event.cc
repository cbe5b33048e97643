#include "server/quota_event.h"

#include <algorithm>
#include <string_view>

#include "config/scalar.h"
#include "dialect/json_edit.h"
#include "policy/quota_unit.h"

namespace weir::server {
namespace {

// The policy that an alert is of. What a retry rule made goes by the name of its policy too.
const config::Policy* PolicyOf(const gateway::QuotaAlert& alert, const config::Config& config) {
  const std::string_view id = std::string_view(alert.policy).substr(0, alert.policy.find('/'));
  const auto found = std::ranges::find(config.policies, id, &config::Policy::id);
  return found == config.policies.end() ? nullptr : &*found;
}

class ObjectText {
 public:
  ObjectText& Text(std::string_view name, std::string_view value) {
    Name(name);
    dialect::AppendJsonString(text_, value);
    return *this;
  }
  ObjectText& Plain(std::string_view name, std::string_view value) {
    Name(name);
    text_ += value;
    return *this;
  }
  std::string Take() { return std::move(text_) + "}"; }

 private:
  void Name(std::string_view name) {
    text_ += text_.size() > 1 ? ",\"" : "\"";
    text_ += name;
    text_ += "\":";
  }
  std::string text_ = "{";
};

bool HasEnd(Instant at) { return at.ns != INT64_MAX; }

}  // namespace

Instant UsedUpAt(const gateway::QuotaAlert& alert) {
  const __int128 elapsed = static_cast<__int128>(alert.time.ns) - alert.window_starts_at.ns;
  const __int128 whole = elapsed * alert.limit / std::max<std::int64_t>(alert.settled, 1);
  return {
      static_cast<std::int64_t>(std::min<__int128>(alert.window_starts_at.ns + whole, INT64_MAX))};
}

telemetry::Event EventOf(const gateway::QuotaAlert& alert, const config::Config& config) {
  const bool forecast = alert.percent == 0;
  const config::Policy* const policy = PolicyOf(alert, config);
  const auto digits = [&](std::int64_t steps) {
    return "\"" + policy::AmountDigits(alert.unit, steps) + "\"";
  };
  ObjectText data;
  data.Text("policy", alert.policy);
  if (policy != nullptr) {
    data.Text("owner", policy->owner).Plain("version", std::to_string(policy->version));
  }
  // What the counter counts apart; empty: everything that the policy is about.
  data.Text("counter", alert.values);
  if (forecast) {
    data.Text("used_up_at", config::FormatTime(UsedUpAt(alert)));
  } else {
    data.Plain("percent", std::to_string(alert.percent));
  }
  // Amounts are texts: a USD has nine decimals, which a reader of JSON numbers may round.
  data.Text("unit", Name(alert.unit))
      .Plain("used", digits(alert.settled))
      .Plain("limit", digits(alert.limit))
      .Plain("remaining", digits(std::max<std::int64_t>(alert.limit - alert.settled, 0)));
  if (HasEnd(alert.window_ends_at)) {
    data.Text("window_starts_at", config::FormatTime(alert.window_starts_at))
        .Text("window_ends_at", config::FormatTime(alert.window_ends_at));
  }
  if (policy != nullptr) {
    data.Plain("shadow", policy->shadow ? "true" : "false").Text("contact", policy->contact);
  }
  // Time and position name the record, and nothing else has both.
  const Id128 id{static_cast<std::uint64_t>(alert.time.ns), alert.position.n};
  return {.id = telemetry::EventIdText(id),
          .type = forecast ? "policy.forecast" : "policy.alert",
          .time = alert.time,
          .data = data.Take()};
}

void LogAlert(const gateway::QuotaAlert& alert, const config::Config& config, telemetry::Log& log) {
  const config::Policy* const policy = PolicyOf(alert, config);
  const std::string used = policy::AmountText(alert.unit, alert.settled);
  const std::string limit = policy::AmountText(alert.unit, alert.limit);
  log.Write(telemetry::Level::kWarning,
            alert.percent == 0 ? "policy will be used up" : "policy crossed a threshold",
            {{"policy", alert.policy},
             {"owner", policy == nullptr ? std::string_view() : std::string_view(policy->owner)},
             {"counter", alert.values},
             {"percent", alert.percent},
             {"used", used},
             {"limit", limit}});
}

}  // namespace weir::server
