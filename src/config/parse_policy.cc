#include "config/parse_policy.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "config/nearest.h"
#include "config/policy_text.h"

namespace weir::config {
namespace {

constexpr std::string_view kPrefix = "policies[].";

bool Has(const std::vector<std::string_view>& given, std::string_view member) {
  return std::ranges::any_of(given, [&](std::string_view path) {
    return path.starts_with(kPrefix) && path.substr(kPrefix.size()) == member;
  });
}

std::string_view UnitNote(QuotaUnit unit) {
  switch (DefaultWindow(unit)) {
    case WindowKind::kLifetime:
      return "is counted while requests run and has no window";
    case WindowKind::kRequest:
      return "is of one request";
    default:
      return "is of one action of a user";
  }
}

// Whether the file has what a condition names; a dimension whose values come from elsewhere has
// any.
bool Exists(Dimension dimension, const std::string& value, const Config& config) {
  switch (dimension) {
    case Dimension::kProvider:
      return std::ranges::find(config.upstreams, value, &Upstream::name) != config.upstreams.end();
    case Dimension::kModel:
      return config.FindModel(value) != nullptr;
    case Dimension::kModelFamily:
      return std::ranges::find(config.models, value, &Model::family) != config.models.end();
    case Dimension::kModelClass:
      return std::ranges::find(kModelClassNames, value) != kModelClassNames.end() ||
             std::ranges::find(config.models, value, &Model::model_class) != config.models.end();
    default:
      return true;
  }
}

// What there is, and "no ... VALUE" of what there is not.
struct KnownValues {
  std::vector<std::string_view> values;
  std::string_view what;
};

KnownValues ValuesOf(Dimension dimension, const Config& config) {
  KnownValues known;
  switch (dimension) {
    case Dimension::kProvider:
      known.what = "upstream is named";
      for (const Upstream& upstream : config.upstreams) known.values.push_back(upstream.name);
      break;
    case Dimension::kModel:
      known.what = "model has the id";
      for (const Model& model : config.models) known.values.push_back(model.id);
      break;
    case Dimension::kModelFamily:
      known.what = "model has the family";
      for (const Model& model : config.models) known.values.push_back(model.family);
      break;
    default:
      known.what = "model has the class";
      known.values.assign(kModelClassNames.begin(), kModelClassNames.end());
      for (const Model& model : config.models) known.values.push_back(model.model_class);
      break;
  }
  return known;
}

// JSON writes a character beyond 16 bits as two escapes, YAML as one: "\ud83d\ude00" becomes
// "\U0001f600". Only in JSON, where a backslash is always an escape.
std::string JoinSurrogates(std::string_view text) {
  const auto unit = [&](std::size_t at) -> std::optional<std::uint32_t> {
    if (at + 6 > text.size() || text[at] != '\\' || text[at + 1] != 'u') return std::nullopt;
    std::uint32_t value = 0;
    for (const char c : text.substr(at + 2, 4)) {
      const int lower = c | 0x20;
      if (c >= '0' && c <= '9') {
        value = value * 16 + static_cast<std::uint32_t>(c - '0');
      } else if (lower >= 'a' && lower <= 'f') {
        value = value * 16 + static_cast<std::uint32_t>(lower - 'a' + 10);
      } else {
        return std::nullopt;
      }
    }
    return value;
  };
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos || (text[first] != '{' && text[first] != '[')) {
    return std::string(text);
  }
  std::string joined;
  joined.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const auto high = unit(i);
    const auto low = high && *high >= 0xD800 && *high < 0xDC00 ? unit(i + 6) : std::nullopt;
    if (low && *low >= 0xDC00 && *low < 0xE000) {
      joined += fmt::format("\\U{:08x}", 0x10000 + ((*high - 0xD800) << 10) + (*low - 0xDC00));
      i += 12;
    } else if (text[i] == '\\' && i + 1 < text.size()) {
      joined += text.substr(i, 2);
      i += 2;
    } else {
      joined += text[i++];
    }
  }
  return joined;
}

}  // namespace

void PolicyReader::CheckWindow(const YamlNode& node, const std::string& path, const Given& given,
                               Policy& policy) {
  Window& window = policy.window;
  const WindowKind only = DefaultWindow(policy.unit);
  if (!Has(given, "window")) {
    window.kind = only;
  } else if (only != WindowKind::kMonth && window.kind != only) {
    Report(NodeAt(node, {"window"}), Join(path, "window"),
           fmt::format("cannot be {}: {} {}", Name(window.kind), Name(policy.unit),
                       UnitNote(policy.unit)),
           fmt::format("write {}, or remove it", Name(only)));
    return;
  }
  const auto refuse = [&](std::string_view member, std::string why, std::string fix) {
    if (!Has(given, member)) return;
    Report(NodeAt(node, {member}), Join(path, member), std::move(why), std::move(fix));
  };
  if (!Repeats(window.kind)) {
    // A flag that says no is no contradiction.
    for (const std::string_view member : {"every", "sliding", "anchor", "timezone"}) {
      if (member == "sliding" && !window.sliding) continue;
      refuse(member, fmt::format("means nothing with window: {}", Name(window.kind)),
             "remove it, or write window: minute, hour, day, week or month");
    }
  } else if (window.sliding) {
    for (const std::string_view member : {"anchor", "timezone"}) {
      refuse(member, "means nothing with sliding: true, which always ends now",
             "remove it, or remove sliding");
    }
  }
  if (window.kind != WindowKind::kCampaign) {
    for (const std::string_view member : {"starts_at", "ends_at"}) {
      refuse(member, fmt::format("means nothing with window: {}", Name(window.kind)),
             "remove it, or write window: campaign");
    }
    return;
  }
  for (const std::string_view member : {"starts_at", "ends_at"}) {
    if (Has(given, member)) continue;
    Report(node, Join(path, member), "is missing",
           "a campaign has two dates, such as starts_at: 2026-06-01 and ends_at: 2026-07-01");
  }
  if (window.starts_at && window.ends_at && *window.ends_at <= *window.starts_at) {
    Report(NodeAt(node, {"ends_at"}), Join(path, "ends_at"), "is not later than starts_at",
           "write the moment from which it is over");
  }
}

void PolicyReader::CheckAction(const YamlNode& node, const std::string& path, const Given& given,
                               const Config& config, const Policy& policy) {
  const YamlNode& at = NodeAt(node, {"degrade_to"});
  const std::string at_path = Join(path, "degrade_to");
  if (policy.action != PolicyAction::kDegrade) {
    if (Has(given, "degrade_to")) {
      Report(at, at_path, fmt::format("means nothing with action: {}", Name(policy.action)),
             "remove it, or write action: degrade");
    }
    return;
  }
  if (policy.degrade_to.empty()) {
    // One that was refused has been reported.
    if (!Has(given, "degrade_to") || (at.kind == YamlKind::kScalar && at.text.empty())) {
      Report(at, at_path, "is missing", "name the model that serves beyond the limit");
    }
    return;
  }
  if (policy.degrade_to == "*" || config.FindModel(policy.degrade_to) == nullptr) {
    const KnownValues known = ValuesOf(Dimension::kModel, config);
    const std::string_view near = Nearest(policy.degrade_to, known.values);
    Report(at, at_path, fmt::format("no model has the id \"{:.64}\"", policy.degrade_to),
           near.empty() || near == "*" ? "name a model of the file"
                                       : fmt::format("did you mean {}?", near));
    return;
  }
  const auto models = std::ranges::find(policy.match, Dimension::kModel, &Condition::dimension);
  if (models != policy.match.end() && models->values == std::vector{policy.degrade_to}) {
    Report(at, at_path, "is the only model the policy is about",
           "name another model, or write action: block");
  }
}

// A value nothing can have is a policy that never holds, which nobody means to write.
void PolicyReader::CheckConditions(const YamlNode& node, const std::string& path,
                                   std::string_view member,
                                   const std::vector<Condition>& conditions, const Config& config) {
  for (const Condition& condition : conditions) {
    const std::string_view name = Name(condition.dimension);
    for (const std::string& value : condition.values) {
      if (Exists(condition.dimension, value, config)) continue;
      const KnownValues known = ValuesOf(condition.dimension, config);
      Report(NodeAt(node, {member, name}), Join(Join(path, member), name),
             fmt::format("no {} \"{:.64}\"", known.what, value),
             DidYouMean(value, known.values, "correct it, or remove it here"));
    }
  }
}

std::optional<Policy> PolicyReader::Read(const YamlNode& node, const std::string& path,
                                         const Config& config) {
  const std::size_t errors_before = errors_.size();
  Policy policy;
  // Amounts are read behind the unit, wherever that stands.
  struct Amount {
    std::string_view option;
    const YamlNode* node = nullptr;
    std::string path;
  };
  std::array<Amount, 2> amounts = {
      {{"policies[].limit", nullptr, {}}, {"policies[].approval.amount_max", nullptr, {}}}};
  const auto given =
      ReadObject(node, path, std::string(kPrefix), PolicyFields(), policy,
                 [&](std::string_view option, const YamlNode& value, const std::string& at) {
                   const auto amount = std::ranges::find(amounts, option, &Amount::option);
                   if (amount == amounts.end()) return false;
                   *amount = {amount->option, &value, at};
                   return true;
                 });
  if (node.kind != YamlKind::kMap) return std::nullopt;
  for (const Amount& amount : amounts) {
    if (amount.node == nullptr) continue;
    const auto fields = PolicyFields();
    const auto field =
        std::ranges::find_if(fields, [&](const auto& f) { return f.option.path == amount.option; });
    Set(*amount.node, amount.path, field->option, field->at(policy));
  }
  CheckName(node, path, "id", policy.id, lines_);
  CheckConditions(node, path, "match", policy.match, config);
  CheckConditions(node, path, "except", policy.except, config);
  if (policy.per.size() > kPolicyPerMax) {
    Report(NodeAt(node, {"per"}), Join(path, "per"),
           fmt::format("has {} dimensions", policy.per.size()),
           fmt::format("use at most {}", kPolicyPerMax));
  }
  CheckWindow(node, path, given, policy);
  CheckAction(node, path, given, config, policy);
  const YamlNode& alerts = NodeAt(node, {"alerts"});
  if (policy.alert_percent.size() > kAlertThresholdsMax) {
    Report(alerts, Join(path, "alerts"), fmt::format("has {} items", policy.alert_percent.size()),
           fmt::format("use at most {}", kAlertThresholdsMax));
  }
  for (std::size_t i = 1; i < policy.alert_percent.size(); ++i) {
    if (policy.alert_percent[i] > policy.alert_percent[i - 1]) continue;
    Report(ItemAt(alerts, i, policy.alert_percent.size()), Join(path, "alerts"),
           fmt::format("has {} behind {}", policy.alert_percent[i], policy.alert_percent[i - 1]),
           "write each once, the smallest first");
    break;
  }
  if (errors_.size() != errors_before) return std::nullopt;
  if (policy.version == 0) policy.version = DerivedVersion(policy);
  return policy;
}

std::expected<Policy, std::vector<ConfigError>> ParsePolicy(std::string_view text,
                                                            std::string_view file_name,
                                                            const ZoneLookup& zones,
                                                            const Config& config) {
  std::vector<ConfigError> errors;
  const YamlNode root = ReadYaml(JoinSurrogates(text), file_name, errors, kPolicyBytesMax);
  auto policy = PolicyReader(file_name, kVerbatim, zones, errors).Read(root, "", config);
  if (errors.empty() && policy) return *std::move(policy);
  SortErrors(file_name, errors);
  return std::unexpected(std::move(errors));
}

namespace {

// A file of policies: under `policies`, as a list, or one alone.
class PolicyFileReader : private NodeReader {
 public:
  using NodeReader::NodeReader;

  std::vector<Policy> Read(const YamlNode& root, const Config& config) {
    const YamlNode* list = &root;
    std::string path;
    if (root.kind == YamlKind::kMap) {
      const auto entry = std::ranges::find(root.entries, "policies", &YamlEntry::key);
      if (entry != root.entries.end()) {
        list = &entry->value;
        path = "policies";
        for (const YamlEntry& other : root.entries) {
          if (&other == &*entry) continue;
          ReportAt(other.line, other.column, Join("", other.key), "is not an option",
                   "a file of policies has policies alone");
        }
      }
    }
    PolicyReader reader(file_, env_, zones_, errors_);
    std::vector<Policy> policies;
    const auto add = [&](const YamlNode& node, const std::string& at) {
      if (auto policy = reader.Read(node, at, config)) policies.push_back(*std::move(policy));
    };
    if (list == &root && root.kind == YamlKind::kMap) {
      add(root, "");
      return policies;
    }
    const auto items = Items(list, path, kPoliciesMax);
    for (std::size_t i = 0; i < items.size(); ++i) add(items[i], fmt::format("{}[{}]", path, i));
    return policies;
  }
};

}  // namespace

std::expected<std::vector<Policy>, std::vector<ConfigError>> ParsePolicies(
    std::string_view text, std::string_view file_name, const ZoneLookup& zones,
    const Config& config) {
  std::vector<ConfigError> errors;
  const YamlNode root = ReadYaml(JoinSurrogates(text), file_name, errors);
  auto policies = PolicyFileReader(file_name, kVerbatim, zones, errors).Read(root, config);
  if (errors.empty()) return policies;
  SortErrors(file_name, errors);
  return std::unexpected(std::move(errors));
}

}  // namespace weir::config
