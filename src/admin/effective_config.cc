// The configuration in force, option by option, from the same table that reads the file: an option
// cannot be forgotten here, and a secret is "***" because its type says so.

#include <fmt/format.h>

#include "admin/handlers.h"
#include "admin/json_writer.h"
#include "admin/token.h"
#include "config/option_table.h"
#include "config/price_text.h"

namespace weir::admin {

namespace {

// Which object of a list, and for the lists within those of which one.
struct Indices {
  std::size_t outer = 0;
  std::size_t inner = 0;
};

// `path` with its list indices: "upstreams[].name" and 2 -> "upstreams[2].name".
std::string WithIndex(std::string_view path, Indices indices) {
  std::string out(path);
  for (const std::size_t index : {indices.outer, indices.inner}) {
    const std::size_t at = out.find("[]");
    if (at != std::string::npos) out.replace(at, 2, fmt::format("[{}]", index));
  }
  return out;
}

template <class Object>
void WriteFields(std::span<const config::Field<Object>> fields, Object& object, Indices indices,
                 JsonWriter& json) {
  for (const config::Field<Object>& field : fields) {
    const config::ValueRef value = field.at(object);
    if (std::holds_alternative<std::monostate>(value))
      continue;  // lists of names: below, and routes: see the models resource
    json.Open('{')
        .Text("path", WithIndex(field.option.path, indices))
        .TextOrNull("value", config::FormatValue(field.option, value))
        .Flag("needs_restart", field.option.effect == config::Effect::kRestart)
        .Close('}');
  }
}

// The members of a pool or of a package, by name.
template <class Object>
void WriteNames(std::string_view path, Indices indices, const std::vector<std::uint32_t>& members,
                const std::vector<Object>& objects, std::string Object::* name, JsonWriter& json) {
  std::vector<std::string_view> names;
  for (const std::uint32_t member : members) {
    if (member < objects.size()) names.push_back(objects[member].*name);
  }
  json.Open('{')
      .Text("path", WithIndex(path, indices))
      .Text("value", fmt::format("[{}]", fmt::join(names, ", ")))
      .Flag("needs_restart", false)
      .Close('}');
}

void WriteAccounts(const config::Config& config, JsonWriter& json) {
  std::vector<std::size_t> counts(config.upstreams.size());
  for (const config::Account& account : config.accounts) {
    // One without '/' is the upstream's api_key, which is an option of its own.
    const std::size_t slash = account.id.find('/');
    if (slash == std::string::npos || account.upstream >= counts.size()) continue;
    config::Account as_written = account;
    as_written.id.erase(0, slash + 1);
    WriteFields(config::AccountFields(), as_written, {account.upstream, counts[account.upstream]++},
                json);
  }
}

// A price as one value, because it may be a list, with lists inside.
void WritePrice(std::string_view path, std::string_view text, JsonWriter& json) {
  json.Open('{')
      .Text("path", path)
      .TextOrNull("value", text)
      .Flag("needs_restart", false)
      .Close('}');
}

// The catalog itself is left out, as it has thousands of entries; what it makes of a model is said
// there, and its files are named.
std::string OptionsJson(config::Config config) {  // a copy: the table hands out places to write to
  JsonWriter json;
  json.Open('[');
  WriteFields(config::ConfigFields(), config, {}, json);
  if (config.price_ceiling) {
    WritePrice("price_ceiling", config::PriceListText(config.price_ceiling), json);
  }
  for (std::size_t i = 0; i < config.upstreams.size(); ++i) {
    WriteFields(config::UpstreamFields(), config.upstreams[i], {i}, json);
  }
  WriteAccounts(config, json);
  for (std::size_t i = 0; i < config.pools.size(); ++i) {
    WriteFields(config::PoolFields(), config.pools[i], {i}, json);
    WriteNames("pools[].accounts", {i}, config.pools[i].accounts, config.accounts,
               &config::Account::id, json);
  }
  for (std::size_t i = 0; i < config.packages.size(); ++i) {
    WriteFields(config::PackageFields(), config.packages[i], {i}, json);
    WriteNames("packages[].pools", {i}, config.packages[i].pools, config.pools, &config::Pool::name,
               json);
  }
  for (std::size_t i = 0; i < config.workspaces.size(); ++i) {
    WriteFields(config::WorkspaceFields(), config.workspaces[i], {i}, json);
  }
  for (std::size_t i = 0; i < config.models.size(); ++i) {
    WriteFields(config::ModelFields(), config.models[i], {i}, json);
    WritePrice(
        fmt::format("models[{}].price", i),
        config.models[i].price_by_name ? "catalog" : config::PriceListText(config.models[i].price),
        json);
    if (config.models[i].downgrade) {
      WriteFields(config::DowngradeFields(), *config.models[i].downgrade, {i}, json);
    }
  }
  for (std::size_t i = 0; i < config.keys.size(); ++i) {
    WriteFields(config::KeyFields(), config.keys[i], {i}, json);
    for (std::size_t j = 0; j < config.keys[i].payload_rules.size(); ++j) {
      const dialect::PayloadRule& rule = config.keys[i].payload_rules[j];
      config::PayloadRuleText text{dialect::PathText(rule), rule.value};
      WriteFields(config::PayloadRuleFields(), text, {i, j}, json);
    }
  }
  for (std::size_t i = 0; i < config.policies.size(); ++i) {
    WriteFields(config::PolicyFields(), config.policies[i], {i}, json);
  }
  for (std::size_t i = 0; i < config.webhooks.size(); ++i) {
    WriteFields(config::WebhookFields(), config.webhooks[i], {i}, json);
  }
  json.Close(']');
  return json.Take();
}

// Over the options and what the price files say, so that two nodes that differ in either show it.
std::string HashOf(const config::Config& config, std::string options) {
  if (config.catalog != nullptr) {
    for (const auto& [model, prices] : config.catalog->entries()) {
      options += model;
      for (const config::PriceVersion& version : prices.versions()) {
        options += config::Format(version.id);
        if (version.valid_from) options += std::to_string(version.valid_from->ns);
      }
    }
  }
  return HashToken(options).substr(0, 16);
}

}  // namespace

std::string ConfigHash(const config::Config& config) { return HashOf(config, OptionsJson(config)); }

AdminResponse GetConfig(const Call& call) {
  const auto config = call.ports.config();
  const std::string options = OptionsJson(*config);
  return JsonResponse(
      fmt::format(R"({{"hash":"{}","options":{}}})", HashOf(*config, options), options));
}

}  // namespace weir::admin
