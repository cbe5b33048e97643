#include "config/diff.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <type_traits>
#include <utility>

#include "config/option_table.h"
#include "config/policy_text.h"
#include "config/price_text.h"
#include "config/scalar.h"

namespace weir::config {
namespace {

// Whether two places hold one value. FormatValue would do, but for secrets, which all look alike.
bool SameValue(const Option& option, const ValueRef& a, const ValueRef& b) {
  if (const auto* secret = std::get_if<Secret*>(&a)) return **secret == *std::get<Secret*>(b);
  if (const auto* text = std::get_if<std::string*>(&a)) return **text == *std::get<std::string*>(b);
  return FormatValue(option, a) == FormatValue(option, b);
}

std::string Shown(const Option& option, const ValueRef& value) {
  std::string text = FormatValue(option, value);
  if (text.size() > 80) text = text.substr(0, 77) + "...";
  return text.empty() ? "none" : text;
}

// The two objects are not changed: the table's accessors serve the parser, which writes through
// them, and so take no const.
template <class Object>
void DiffFields(std::span<const Field<Object>> fields, std::string_view prefix,
                const std::string& name, const Object& before, const Object& after,
                std::vector<ConfigChange>& changes) {
  auto& old_object = const_cast<Object&>(before);
  auto& new_object = const_cast<Object&>(after);
  for (const Field<Object>& field : fields) {
    const ValueRef old_value = field.at(old_object);
    const ValueRef new_value = field.at(new_object);
    if (SameValue(field.option, old_value, new_value)) continue;
    const bool secret = field.option.type == OptionType::kSecret;
    changes.push_back({name + std::string(field.option.path.substr(prefix.size())),
                       secret ? std::string("changed")
                              : fmt::format("{} -> {}", Shown(field.option, old_value),
                                            Shown(field.option, new_value)),
                       field.option.effect == Effect::kRestart});
  }
}

// Compares two lists of named things: `both` for what is in both, in the order of `after`.
template <class Object, class Both>
void DiffNamed(std::string_view list, std::string Object::* name, const std::vector<Object>& before,
               const std::vector<Object>& after, Both both, std::vector<ConfigChange>& changes) {
  for (const Object& object : after) {
    const auto old = std::ranges::find(before, object.*name, name);
    const std::string path = fmt::format("{}.{}", list, object.*name);
    if (old == before.end()) {
      changes.push_back({path, "added", false});
    } else {
      both(path, *old, object);
    }
  }
  for (const Object& object : before) {
    if (std::ranges::find(after, object.*name, name) == after.end()) {
      changes.push_back({fmt::format("{}.{}", list, object.*name), "removed", false});
    }
  }
}

// "[a, {upstream: b, model: x}]": routes as the file writes them, by name, because indices move.
std::string RoutesText(const Config& config, const Model& model) {
  std::string text;
  for (const ModelRoute& route : model.routes) {
    if (!text.empty()) text += ", ";
    const std::string_view upstream = route.upstream < config.upstreams.size()
                                          ? std::string_view(config.upstreams[route.upstream].name)
                                          : std::string_view("?");
    if (route.upstream_model.empty() || route.upstream_model == model.id) {
      text += upstream;
    } else {
      text += fmt::format("{{upstream: {}, model: {}}}", upstream, route.upstream_model);
    }
  }
  return "[" + text + "]";
}

// "[a, b]": what an object names by index, by name, because indices move.
template <class Object>
std::string NamesText(const std::vector<std::uint32_t>& indices, const std::vector<Object>& objects,
                      std::string Object::* name, bool in_order) {
  std::vector<std::string_view> names;
  for (const std::uint32_t index : indices) {
    names.push_back(index < objects.size() ? std::string_view(objects[index].*name) : "?");
  }
  if (!in_order) std::ranges::sort(names);
  return fmt::format("[{}]", fmt::join(names, ", "));
}

void NoteText(std::string path, const std::string& before, const std::string& after,
              std::vector<ConfigChange>& changes) {
  if (before == after) return;
  const auto shown = [](const std::string& text) {
    return text.size() > 80 ? text.substr(0, 77) + "..." : text;
  };
  changes.push_back({std::move(path), fmt::format("{} -> {}", shown(before), shown(after)), false});
}

// Without what FinishAccounts makes of the rest: an upstream's only account, which changes with its
// upstream, and the pools and packages of keys that accounts are reserved for, which change with
// those accounts. The first have no '/' in their names, the others a ':'.
template <class Object>
std::vector<Object> Listed(const std::vector<Object>& all, std::string Object::* name) {
  std::vector<Object> listed;
  for (const Object& object : all) {
    const std::string& text = object.*name;
    if constexpr (std::is_same_v<Object, Account>) {
      if (!text.contains('/')) continue;
    }
    if (!text.contains(':')) listed.push_back(object);
  }
  return listed;
}

void DiffPools(const Config& before, const Config& after, std::vector<ConfigChange>& changes) {
  DiffNamed(
      "accounts", &Account::id, Listed(before.accounts, &Account::id),
      Listed(after.accounts, &Account::id),
      [&](const std::string& path, const Account& a, const Account& b) {
        DiffFields(AccountFields(), "upstreams[].accounts[]", path, a, b, changes);
      },
      changes);
  DiffNamed(
      "pools", &Pool::name, Listed(before.pools, &Pool::name), Listed(after.pools, &Pool::name),
      [&](const std::string& path, const Pool& a, const Pool& b) {
        DiffFields(PoolFields(), "pools[]", path, a, b, changes);
        NoteText(path + ".accounts", NamesText(a.accounts, before.accounts, &Account::id, false),
                 NamesText(b.accounts, after.accounts, &Account::id, false), changes);
      },
      changes);
  DiffNamed(
      "packages", &Package::name, Listed(before.packages, &Package::name),
      Listed(after.packages, &Package::name),
      [&](const std::string& path, const Package& a, const Package& b) {
        NoteText(path + ".pools", NamesText(a.pools, before.pools, &Pool::name, true),
                 NamesText(b.pools, after.pools, &Pool::name, true), changes);
      },
      changes);
  DiffNamed(
      "workspaces", &Workspace::name, before.workspaces, after.workspaces,
      [&](const std::string& path, const Workspace& a, const Workspace& b) {
        DiffFields(WorkspaceFields(), "workspaces[]", path, a, b, changes);
      },
      changes);
  // The first of each is what those without a choice of their own get.
  const auto first = [](const auto& list) {
    return list.empty() ? std::string("first none") : "first " + list.front().name;
  };
  NoteText("packages", first(before.packages), first(after.packages), changes);
}

// Rate by rate where that is all that differs; else as the file writes them.
void DiffPrices(const std::string& path, const PriceList& before, const PriceList& after,
                std::vector<ConfigChange>& changes) {
  if (!before || !after) {
    if (before || after) changes.push_back({path, after ? "added" : "removed", false});
    return;
  }
  const PriceVersion& a = before.versions().front();
  const PriceVersion& b = after.versions().front();
  const bool single = before.versions().size() == 1 && after.versions().size() == 1;
  if (single && a.price.tiers == b.price.tiers && a.price.images == b.price.images) {
    PriceVersion versioned = b;
    // A version that follows from the rates says nothing that they do not.
    const bool derived =
        a.price.version == DerivedVersion(a.price) && b.price.version == DerivedVersion(b.price);
    if (derived) versioned.price.version = a.price.version;
    DiffFields(PriceFields(), "models[].price", path, a, versioned, changes);
    return;
  }
  NoteText(path, PriceListText(before), PriceListText(after), changes);
}

// Which prices a catalog has that changed, by their number: a catalog has thousands.
void DiffCatalogs(const PriceCatalog* before, const PriceCatalog* after,
                  std::vector<ConfigChange>& changes) {
  static const PriceCatalog kNone;
  if (before == nullptr) before = &kNone;
  if (after == nullptr) after = &kNone;
  std::size_t added = 0;
  std::size_t removed = 0;
  std::size_t changed = 0;
  for (const auto& [model, prices] : after->entries()) {
    const PriceList* old = before->Find(model);
    if (old == nullptr) ++added;
    if (old != nullptr && !(*old == prices)) ++changed;
  }
  for (const auto& [model, prices] : before->entries()) {
    if (after->Find(model) == nullptr) ++removed;
  }
  if (added + removed + changed == 0) return;
  changes.push_back(
      {"catalog", fmt::format("{} added, {} removed, {} changed", added, removed, changed), false});
}

// Those of the file: what is made through the admin API is told there.
std::vector<Policy> OfFile(const std::vector<Policy>& all) {
  std::vector<Policy> policies;
  for (const Policy& policy : all) {
    if (!policy.stored) policies.push_back(policy);
  }
  return policies;
}

void DiffPolicies(const Config& before, const Config& after, std::vector<ConfigChange>& changes) {
  DiffNamed(
      "policies", &Policy::id, OfFile(before.policies), OfFile(after.policies),
      [&](const std::string& path, const Policy& a, const Policy& b) {
        Policy versioned = b;
        // A version that follows from the rest says nothing that it does not.
        const bool derived = a.version == DerivedVersion(a) && b.version == DerivedVersion(b);
        if (derived) versioned.version = a.version;
        DiffFields(PolicyFields(), "policies[]", path, a, versioned, changes);
      },
      changes);
}

}  // namespace

std::vector<ConfigChange> DiffConfigs(const Config& before, const Config& after) {
  std::vector<ConfigChange> changes;
  DiffFields(ConfigFields(), "", "", before, after, changes);
  DiffPrices("price_ceiling", before.price_ceiling, after.price_ceiling, changes);
  DiffCatalogs(before.catalog.get(), after.catalog.get(), changes);
  DiffNamed(
      "upstreams", &Upstream::name, before.upstreams, after.upstreams,
      [&](const std::string& path, const Upstream& a, const Upstream& b) {
        DiffFields(UpstreamFields(), "upstreams[]", path, a, b, changes);
      },
      changes);
  DiffPools(before, after, changes);
  DiffNamed(
      "models", &Model::id, before.models, after.models,
      [&](const std::string& path, const Model& a, const Model& b) {
        DiffFields(ModelFields(), "models[]", path, a, b, changes);
        NoteText(path + ".routes", RoutesText(before, a), RoutesText(after, b), changes);
        DiffPrices(path + ".price", a.price, b.price, changes);
        if (a.price_by_name != b.price_by_name) {
          changes.push_back(
              {path + ".price",
               b.price_by_name ? "from the catalog now" : "no longer from the catalog", false});
        }
        if (a.downgrade && b.downgrade) {
          DiffFields(DowngradeFields(), "models[]", path, *a.downgrade, *b.downgrade, changes);
        } else if (a.downgrade || b.downgrade) {
          changes.push_back({path + ".downgrade", b.downgrade ? "added" : "removed", false});
        }
      },
      changes);
  DiffNamed(
      "keys", &KeySpec::name, before.keys, after.keys,
      [&](const std::string& path, const KeySpec& a, const KeySpec& b) {
        DiffFields(KeyFields(), "keys[]", path, a, b, changes);
        NoteText(path + ".payload_rules", FormatPayloadRules(a.payload_rules),
                 FormatPayloadRules(b.payload_rules), changes);
      },
      changes);
  DiffPolicies(before, after, changes);
  DiffNamed(
      "webhooks", &Webhook::name, before.webhooks, after.webhooks,
      [&](const std::string& path, const Webhook& a, const Webhook& b) {
        DiffFields(WebhookFields(), "webhooks[]", path, a, b, changes);
      },
      changes);
  return changes;
}

std::string DescribeChanges(std::span<const ConfigChange> changes) {
  constexpr std::size_t kShown = 20;
  if (changes.empty()) return "no changes";
  std::string text =
      changes.size() == 1 ? std::string("1 change") : fmt::format("{} changes", changes.size());
  for (std::size_t i = 0; i < std::min(changes.size(), kShown); ++i) {
    text += fmt::format("{} {} {}{}", i == 0 ? ":" : ";", changes[i].path, changes[i].text,
                        changes[i].needs_restart ? " (needs a restart)" : "");
  }
  if (changes.size() > kShown) text += fmt::format("; and {} more", changes.size() - kShown);
  return text;
}

Config WithoutRestartChanges(const Config& before, Config after) {
  // The table says which these are; its accessors write, and `kept` is a copy to take from.
  Config kept = before;
  for (const Field<Config>& field : ConfigFields()) {
    if (field.option.effect != Effect::kRestart) continue;
    std::visit(
        [&](auto place) {
          using Place = decltype(place);
          if constexpr (std::is_pointer_v<Place>) *place = *std::get<Place>(field.at(kept));
        },
        field.at(after));
  }
  return after;
}

}  // namespace weir::config
