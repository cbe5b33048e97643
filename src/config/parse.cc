#include "config/parse.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <tuple>
#include <type_traits>
#include <utility>

#include "config/accounts.h"
#include "config/nearest.h"
#include "config/node_reader.h"
#include "config/option_table.h"
#include "config/options.h"
#include "config/parse_policy.h"
#include "config/scalar.h"
#include "config/webhook.h"
#include "config/yaml_tree.h"

namespace weir::config {
namespace {

constexpr std::size_t kUpstreamsMax = 256;
constexpr std::size_t kAccountsMax = 10'000;  // over all upstreams
constexpr std::size_t kPoolsMax = 1000;
constexpr std::size_t kPackagesMax = 1000;
constexpr std::size_t kWorkspacesMax = 10'000;
constexpr std::size_t kModelsMax = 1000;
constexpr std::size_t kKeysMax = 10'000;
constexpr std::size_t kWebhooksMax = 100;

static_assert(static_cast<int>(Durability::kPower) == 1);
static_assert(static_cast<int>(HangUpRule::kDrainAndBill) == 2);
static_assert(static_cast<int>(UpstreamKind::kGemini) == 3);
static_assert(static_cast<int>(AdaptProfile::kResponsesStrict) == 1);
static_assert(static_cast<int>(WalletKind::kUsd) == 2);
static_assert(static_cast<int>(HoldRule::kAdaptive) == 1);
static_assert(kCapResponses == 1 && kCapChat == 2 && kCapTranscription == 4 && kCapMessages == 8 &&
              kCapGenerateContent == 16);

class Reader : private NodeReader {
 public:
  using NodeReader::NodeReader;

  Config Read(const YamlNode& root, const FileLookup& files);
  void ReadPriceFile(const YamlNode& root, PriceCatalog& catalog);

 private:
  void ReadUpstream(const YamlNode& node, const std::string& path, Config& config);
  void ReadAccounts(const YamlNode& list, const std::string& path, Config& config);
  // Adds the accounts upstreams have without listing them; then all are known to pools by name.
  void NameAccounts(Config& config);
  void CheckAccounts(const Config& config);
  void ReadPool(const YamlNode& node, const std::string& path, Config& config);
  void ReadPoolAccounts(const YamlNode& node, const std::string& path, const Config& config,
                        Pool& pool);
  void ReadPackage(const YamlNode& node, const std::string& path, Config& config);
  void ReadWorkspace(const YamlNode& node, const std::string& path, Config& config);
  void ReadDowngrade(const YamlNode& node, const std::string& path, Model& model);
  void CheckDowngrades(const Config& config);
  void ReadModel(const YamlNode& node, const std::string& path, Config& config);
  std::optional<PriceVersion> ReadPrice(const YamlNode& node, const std::string& path);
  PriceList ReadPrices(const YamlNode& node, const std::string& path);
  void ReadTiers(const YamlNode& node, const std::string& path, Price& price);
  void ReadImages(const YamlNode& node, const std::string& path, Price& price);
  void LoadPriceFiles(const YamlNode& root, const FileLookup& files, Config& config);
  void FindPrices(Config& config);
  void ReadRoutes(const YamlNode& node, const std::string& path, const Config& config,
                  Model& model);
  std::optional<std::uint32_t> ReadUpstreamName(const YamlNode& node, const std::string& path,
                                                const Config& config);
  void ReadKey(const YamlNode& node, const std::string& path, Config& config);
  void ReadPolicy(const YamlNode& node, const std::string& path, Config& config);
  void ReadWebhook(const YamlNode& node, const std::string& path, Config& config);
  void ReadPayloadRules(const YamlNode& list, const std::string& path, KeySpec& key);

  // Where an object of the file stands whose references are checked once all lists are read.
  struct Place {
    std::uint32_t index = 0;
    const YamlNode* node = nullptr;
    std::string path;
  };
  std::vector<Place> account_places_;
  std::vector<Place> downgrade_places_;
  std::vector<Place> catalog_places_;
  Names account_names_;
  Names pool_names_;
  Names package_names_;
  Names workspace_names_;
  Lines upstream_lines_;
  Lines pool_lines_;
  Lines package_lines_;
  Lines workspace_lines_;
  Lines model_lines_;
  Lines key_lines_;
  Lines secret_lines_;
  Lines webhook_lines_;
  PolicyReader policies_{file_, env_, zones_, errors_};
};

void Reader::ReadUpstream(const YamlNode& node, const std::string& path, Config& config) {
  Upstream upstream;
  const YamlNode* accounts = nullptr;
  const auto given =
      ReadObject(node, path, "upstreams[].", UpstreamFields(), upstream,
                 [&](std::string_view option, const YamlNode& value, const std::string&) {
                   if (option == "upstreams[].accounts") accounts = &value;
                   return accounts == &value;
                 });
  if (node.kind != YamlKind::kMap) return;
  CheckName(node, path, "name", upstream.name, upstream_lines_);
  const auto has = [&](std::string_view option) {
    return std::ranges::find(given, option) != given.end();
  };
  if (upstream.kind == UpstreamKind::kSandbox) {
    for (const std::string_view option : {"base_url", "api_key", "ca_file"}) {
      if (!has("upstreams[]." + std::string(option))) continue;
      Report(node, Join(path, option), "means nothing for a sandbox",
             "remove it, or write kind: openai");
    }
  } else if (!has("upstreams[].base_url")) {
    Report(node, Join(path, "base_url"), "is missing",
           "add base_url: https://HOST/v1, or write kind: sandbox");
  } else if (accounts != nullptr && has("upstreams[].api_key")) {
    Report(NodeAt(node, {"api_key"}), Join(path, "api_key"), "is given beside accounts",
           "move it to an account of its own, or remove accounts");
  }
  config.upstreams.push_back(std::move(upstream));
  if (accounts != nullptr) ReadAccounts(*accounts, Join(path, "accounts"), config);
}

// Of the upstream read last.
void Reader::ReadAccounts(const YamlNode& list, const std::string& path, Config& config) {
  const auto upstream = static_cast<std::uint32_t>(config.upstreams.size() - 1);
  const Upstream& owner = config.upstreams.back();
  if (list.kind == YamlKind::kList && list.items.empty()) {
    Report(list, path, "is empty", "name at least one account, or write api_key instead");
  }
  Lines lines;
  const auto items = Items(&list, path, kAccountsMax - account_places_.size());
  for (std::size_t i = 0; i < items.size(); ++i) {
    const std::string item_path = fmt::format("{}[{}]", path, i);
    Account account;
    const auto given = ReadObject(items[i], item_path, "upstreams[].accounts[].", AccountFields(),
                                  account, [](const auto&...) { return false; });
    if (items[i].kind != YamlKind::kMap) continue;
    CheckName(items[i], item_path, "name", account.id, lines);
    const bool key_given =
        std::ranges::find(given, "upstreams[].accounts[].api_key") != given.end();
    if (!key_given && owner.kind != UpstreamKind::kSandbox) {
      Report(items[i], Join(item_path, "api_key"), "is missing",
             "add api_key: ${NAME}, or \"\" to send none");
    }
    account.id = owner.name + "/" + account.id;
    account.upstream = upstream;
    account_places_.push_back(
        {static_cast<std::uint32_t>(config.accounts.size()), &items[i], item_path});
    config.accounts.push_back(std::move(account));
  }
}

void Reader::NameAccounts(Config& config) {
  AddImpliedAccounts(config);
  for (std::size_t i = 0; i < config.accounts.size(); ++i) {
    account_names_.emplace(config.accounts[i].id, static_cast<std::uint32_t>(i));
  }
}

// Models and keys are read behind the accounts that name them.
void Reader::CheckAccounts(const Config& config) {
  std::map<std::string_view, const Model*> models;
  std::vector<std::string_view> ids;
  std::vector<std::string_view> key_names;
  for (const Model& model : config.models) {
    models.emplace(model.id, &model);
    ids.push_back(model.id);
  }
  for (const KeySpec& key : config.keys) key_names.push_back(key.name);
  const auto wildcard = models.find("*");
  for (const auto& [index, node, path] : account_places_) {
    const Account& account = config.accounts[index];
    for (const std::string& id : account.models) {
      auto found = models.find(id);
      if (found == models.end()) found = wildcard;
      if (found == models.end()) {
        const std::string_view near = Nearest(id, ids);
        Report(NodeAt(*node, {"models"}), Join(path, "models"),
               fmt::format("no model has the id \"{:.64}\"", id),
               near.empty() ? "add it to models, or remove it here"
                            : fmt::format("did you mean {}?", near));
      } else if (std::ranges::find(found->second->routes, account.upstream,
                                   &ModelRoute::upstream) == found->second->routes.end()) {
        const std::string_view owner = config.upstreams[account.upstream].name;
        Report(NodeAt(*node, {"models"}), Join(path, "models"),
               fmt::format("\"{:.64}\" has no route to {}", id, owner),
               fmt::format("add {} to the routes of the model, or remove it here", owner));
      }
    }
    for (const std::string& key : account.keys) {
      if (key_lines_.contains(key)) continue;
      const std::string_view near = Nearest(key, key_names);
      Report(NodeAt(*node, {"reserved_for"}), Join(path, "reserved_for"),
             fmt::format("no key of this file is named \"{:.64}\"", key),
             near.empty() ? "add it to keys, or remove it here"
                          : fmt::format("did you mean {}?", near));
    }
  }
}

void Reader::ReadPool(const YamlNode& node, const std::string& path, Config& config) {
  Pool pool;
  ReadObject(node, path, "pools[].", PoolFields(), pool,
             [&](std::string_view option, const YamlNode& value, const std::string& value_path) {
               if (option != "pools[].accounts") return false;
               ReadPoolAccounts(value, value_path, config, pool);
               return true;
             });
  if (node.kind != YamlKind::kMap) return;
  CheckName(node, path, "name", pool.name, pool_lines_);
  pool_names_.emplace(pool.name, static_cast<std::uint32_t>(config.pools.size()));
  config.pools.push_back(std::move(pool));
}

void Reader::ReadPoolAccounts(const YamlNode& node, const std::string& path, const Config& config,
                              Pool& pool) {
  static const Option& option = *FindOption("pools[].accounts");
  std::vector<std::string> patterns;
  Set(node, path, option, &patterns);
  if (node.kind == YamlKind::kList && node.items.empty()) {
    Report(node, path, "is empty", "name at least one account, or remove the line to have all");
  }
  // What the list says twice over ("openai/team-a" and "openai/*") is in the pool once.
  std::vector<bool> taken(config.accounts.size());
  for (std::size_t p = 0; p < patterns.size(); ++p) {
    const std::string& pattern = patterns[p];
    const YamlNode& item = ItemAt(node, p, patterns.size());
    const bool all = pattern == "*";
    if (!all && !pattern.ends_with("/*")) {
      const auto index = FindName(item, path, pattern, account_names_, "account", "accounts");
      if (!index) continue;
      if (!config.accounts[*index].keys.empty()) {
        Report(item, path, fmt::format("\"{:.128}\" is reserved for keys", pattern),
               "remove it here, or remove its reserved_for");
        continue;
      }
      taken[*index] = true;
      continue;
    }
    const std::string_view upstream =
        all ? std::string_view() : std::string_view(pattern).substr(0, pattern.size() - 2);
    bool any = false;
    for (std::size_t i = 0; i < config.accounts.size(); ++i) {
      const Account& account = config.accounts[i];
      if (!account.keys.empty()) continue;
      if (!all && config.upstreams[account.upstream].name != upstream) continue;
      taken[i] = any = true;
    }
    if (any) continue;
    Report(item, path, fmt::format("no account that is not reserved matches \"{:.128}\"", pattern),
           "name an upstream before /*, or an account");
  }
  for (std::size_t i = 0; i < taken.size(); ++i) {
    if (taken[i]) pool.accounts.push_back(static_cast<std::uint32_t>(i));
  }
  pool.members = std::move(patterns);
}

void Reader::ReadPackage(const YamlNode& node, const std::string& path, Config& config) {
  Package package;
  ReadObject(node, path, "packages[].", PackageFields(), package,
             [&](std::string_view option, const YamlNode& value, const std::string& value_path) {
               if (option != "packages[].pools") return false;
               std::vector<std::string> pools;
               Set(value, value_path, *FindOption(option), &pools);
               if (value.kind == YamlKind::kList && value.items.empty()) {
                 Report(value, value_path, "is empty", "name at least one pool");
               }
               for (std::size_t i = 0; i < pools.size(); ++i) {
                 const auto index = FindName(ItemAt(value, i, pools.size()), value_path, pools[i],
                                             pool_names_, "pool", "pools");
                 if (index) package.pools.push_back(*index);
               }
               return true;
             });
  if (node.kind != YamlKind::kMap) return;
  CheckName(node, path, "name", package.name, package_lines_);
  package_names_.emplace(package.name, static_cast<std::uint32_t>(config.packages.size()));
  config.packages.push_back(std::move(package));
}

void Reader::ReadWorkspace(const YamlNode& node, const std::string& path, Config& config) {
  Workspace workspace;
  ReadObject(node, path, "workspaces[].", WorkspaceFields(), workspace,
             [](const auto&...) { return false; });
  if (node.kind != YamlKind::kMap) return;
  CheckName(node, path, "name", workspace.name, workspace_lines_);
  if (!workspace.package.empty()) {
    FindName(NodeAt(node, {"package"}), Join(path, "package"), workspace.package, package_names_,
             "package", "packages");
  }
  workspace_names_.emplace(workspace.name, static_cast<std::uint32_t>(config.workspaces.size()));
  config.workspaces.push_back(std::move(workspace));
}

void Reader::ReadDowngrade(const YamlNode& node, const std::string& path, Model& model) {
  Downgrade downgrade;
  ReadObject(node, path, "models[].downgrade.", DowngradeFields(), downgrade,
             [](const auto&...) { return false; });
  if (node.kind == YamlKind::kMap) model.downgrade = std::move(downgrade);
}

// A call that is moved to a lesser model must be one that model can answer and is sold for.
void Reader::CheckDowngrades(const Config& config) {
  std::vector<std::string_view> ids;
  for (const Model& model : config.models) ids.push_back(model.id);
  for (const auto& [index, node, path] : downgrade_places_) {
    const Model& model = config.models[index];
    if (!model.downgrade || model.downgrade->to.empty()) continue;
    const std::string& to = model.downgrade->to;
    const YamlNode& at = NodeAt(*node, {"downgrade", "to"});
    const std::string at_path = Join(path, "downgrade.to");
    const auto target = std::ranges::find(config.models, to, &Model::id);
    if (target == config.models.end() || to == "*") {
      const std::string_view near = Nearest(to, ids);
      Report(at, at_path, fmt::format("no model has the id \"{:.64}\"", to),
             near.empty() || near == "*" ? "name another model of this file"
                                         : fmt::format("did you mean {}?", near));
    } else if (to == model.id) {
      Report(at, at_path, "is the model itself", "name another model of this file");
    } else if ((model.capabilities & ~target->capabilities) != 0) {
      Report(at, at_path, fmt::format("\"{:.64}\" has not all capabilities of this model", to),
             "name a model that can be asked for the same");
    } else if ((model.price || model.price_by_name) && !target->price) {
      Report(at, at_path, fmt::format("\"{:.64}\" has no price, so it would not be served", to),
             "give it one, or name another model");
    }
  }
}

std::optional<std::uint32_t> Reader::ReadUpstreamName(const YamlNode& node, const std::string& path,
                                                      const Config& config) {
  static const Option& option = *FindOption("upstreams[].name");
  const auto name = ReadFormedText(node, path, option);
  if (!name) return std::nullopt;
  std::vector<std::string_view> names;
  for (const Upstream& upstream : config.upstreams) {
    if (upstream.name == *name) {
      return static_cast<std::uint32_t>(&upstream - config.upstreams.data());
    }
    const bool known = std::ranges::find(names, upstream.name) != names.end();
    if (!upstream.name.empty() && !known) names.push_back(upstream.name);
  }
  const std::string_view near = Nearest(*name, names);
  Report(node, path, fmt::format("no upstream is named \"{}\"", *name),
         !near.empty()   ? fmt::format("did you mean {}?", near)
         : names.empty() ? std::string("add one of that name to upstreams")
                         : fmt::format("known: {}", fmt::join(names, ", ")));
  return std::nullopt;
}

void Reader::ReadRoutes(const YamlNode& node, const std::string& path, const Config& config,
                        Model& model) {
  static const Option& model_option = *FindOption("models[].id");
  if (!Expect(node, YamlKind::kList, path, HowToWrite(OptionType::kRouteList))) return;
  if (node.items.empty()) Report(node, path, "is empty", "name at least one upstream");
  if (node.items.size() > kUpstreamsMax) {
    return Report(node, path, fmt::format("has {} items", node.items.size()),
                  fmt::format("use at most {}", kUpstreamsMax));
  }
  for (std::size_t i = 0; i < node.items.size(); ++i) {
    const YamlNode& item = node.items[i];
    const std::string item_path = fmt::format("{}[{}]", path, i);
    ModelRoute route;
    std::optional<std::uint32_t> upstream;
    if (item.kind != YamlKind::kMap) {
      upstream = ReadUpstreamName(item, item_path, config);
    } else {
      bool named = false;
      for (const YamlEntry& entry : item.entries) {
        const std::string entry_path = Join(item_path, entry.key);
        if (entry.key == "upstream") {
          named = true;
          upstream = ReadUpstreamName(entry.value, entry_path, config);
        } else if (entry.key == "model") {
          if (auto text = ReadFormedText(entry.value, entry_path, model_option)) {
            route.upstream_model = *std::move(text);
          }
        } else {
          ReportAt(entry.line, entry.column, entry_path, "is not an option",
                   "a route has upstream and model");
        }
      }
      if (!named) {
        Report(item, Join(item_path, "upstream"), "is missing", "name an upstream");
      }
    }
    if (!upstream) continue;
    route.upstream = *upstream;
    if (std::ranges::any_of(model.routes, [&](const ModelRoute& other) {
          return other.upstream == route.upstream && other.upstream_model == route.upstream_model;
        })) {
      Report(item, item_path, "is in the list twice", "keep one of the two");
      continue;
    }
    model.routes.push_back(std::move(route));
  }
}

void Reader::ReadTiers(const YamlNode& node, const std::string& path, Price& price) {
  const auto items = Items(&node, path, kPriceTiersMax);
  for (std::size_t i = 0; i < items.size(); ++i) {
    PriceTier tier;
    tier.rates = price.tiers.empty() ? BaseRates(price) : price.tiers.back().rates;
    ReadObject(items[i], fmt::format("{}[{}]", path, i), "models[].price.tiers[].", TierFields(),
               tier, [](const auto&...) { return false; });
    price.tiers.push_back(tier);
  }
}

void Reader::ReadImages(const YamlNode& node, const std::string& path, Price& price) {
  const auto items = Items(&node, path, kImagePricesMax);
  for (std::size_t i = 0; i < items.size(); ++i) {
    ImagePrice image;
    ReadObject(items[i], fmt::format("{}[{}]", path, i), "models[].price.images[].", ImageFields(),
               image, [](const auto&...) { return false; });
    price.images.push_back(std::move(image));
  }
}

std::optional<PriceVersion> Reader::ReadPrice(const YamlNode& node, const std::string& path) {
  PriceVersion version;
  Price& price = version.price;
  const YamlNode* tiers = nullptr;
  const YamlNode* images = nullptr;
  const std::size_t errors_before = errors_.size();
  const auto given = ReadObject(node, path, "models[].price.", PriceFields(), version,
                                [&](std::string_view option, const YamlNode& value, const auto&) {
                                  if (option == "models[].price.tiers") {
                                    tiers = &value;
                                  } else if (option == "models[].price.images") {
                                    images = &value;
                                  } else {
                                    return false;
                                  }
                                  return true;
                                });
  const auto has = [&](std::string_view option) {
    return std::ranges::find(given, option) != given.end();
  };
  if (!has("models[].price.cached_input")) price.cached_input = price.input;
  if (!has("models[].price.cache_write")) price.cache_write = price.input;
  // Behind the rates, wherever they stand: what a tier does not give is as below it.
  if (tiers != nullptr) ReadTiers(*tiers, Join(path, "tiers"), price);
  if (images != nullptr) ReadImages(*images, Join(path, "images"), price);
  if (errors_.size() != errors_before) return std::nullopt;
  if (auto fault = PriceFault(price)) {
    Report(node, path, std::move(*fault), "correct the price");
    return std::nullopt;
  }
  if (!has("models[].price.version")) price.version = DerivedVersion(price);
  return version;
}

PriceList Reader::ReadPrices(const YamlNode& node, const std::string& path) {
  constexpr std::size_t kVersionsMax = 64;
  PriceList prices;
  if (node.kind != YamlKind::kList) {
    if (!Expect(node, YamlKind::kMap, path, HowToWrite(OptionType::kPrice))) return prices;
    if (auto version = ReadPrice(node, path)) prices.Add(version->valid_from, version->price);
    return prices;
  }
  const auto items = Items(&node, path, kVersionsMax);
  if (items.empty()) Report(node, path, "is empty", "write at least one price");
  std::optional<Instant> last;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const std::string item_path = fmt::format("{}[{}]", path, i);
    const auto version = ReadPrice(items[i], item_path);
    if (!version) continue;
    if (i > 0 && (!version->valid_from || (last && *version->valid_from <= *last))) {
      Report(NodeAt(items[i], {"valid_from"}), Join(item_path, "valid_from"),
             version->valid_from ? "is not later than that of the price before it" : "is missing",
             "write the prices in the order in which they become valid");
      continue;
    }
    last = version->valid_from;
    prices.Add(version->valid_from, version->price);
  }
  return prices;
}

void Reader::ReadPriceFile(const YamlNode& root, PriceCatalog& catalog) {
  constexpr std::size_t kNameMax = 256;
  if (!Expect(root, YamlKind::kMap, "", "write prices: and below it MODEL: PRICE lines")) return;
  for (const YamlEntry& entry : root.entries) {
    if (entry.key != "prices") {
      ReportAt(entry.line, entry.column, Join("", entry.key), "is not an option",
               "a price file has prices alone");
      continue;
    }
    if (!Expect(entry.value, YamlKind::kMap, "prices", "write MODEL: PRICE lines below it")) return;
    for (const YamlEntry& model : entry.value.entries) {
      if (errors_.size() > kConfigErrorsMax) return;
      const std::string path = Join("prices", model.key);
      if (model.key.empty() || model.key.size() > kNameMax ||
          !FaultOfForm(TextForm::kPrintable, model.key).empty()) {
        ReportAt(model.line, model.column, path, "is not the name of a model",
                 "use at most 256 characters and no control characters");
        continue;
      }
      if (PriceList prices = ReadPrices(model.value, path)) {
        catalog.Set(model.key, std::move(prices));
      }
    }
  }
}

void Reader::LoadPriceFiles(const YamlNode& root, const FileLookup& files, Config& config) {
  if (config.price_files.empty()) return;
  PriceCatalog catalog;
  for (std::size_t i = 0; i < config.price_files.size(); ++i) {
    const std::string& name = config.price_files[i];
    const auto text = files ? files(name) : std::nullopt;
    if (!text) {
      Report(NodeAt(root, {"price_files"}), fmt::format("price_files[{}]", i), "cannot be read",
             "check the path; it is beside this file unless it begins with /");
      continue;
    }
    const YamlNode prices = ReadYaml(*text, name, errors_, kPriceFileBytesMax);
    Reader(name, kNoVariables, zones_, errors_).ReadPriceFile(prices, catalog);
  }
  catalog.Seal();
  config.catalog = std::make_shared<const PriceCatalog>(std::move(catalog));
}

// Gives models with `price: catalog` theirs. By the names of their upstreams, which are what is
// billed, before their id, which may be any; all routes must cost the same, because which of them
// serves is not known when the hold is taken.
void Reader::FindPrices(Config& config) {
  for (const auto& [index, node, path] : catalog_places_) {
    Model& model = config.models[index];
    const YamlNode& at = NodeAt(*node, {"price"});
    const std::string at_path = Join(path, "price");
    const bool named_by_callers =
        model.id == "*" && std::ranges::all_of(model.routes, [](const ModelRoute& route) {
          return route.upstream_model.empty();
        });
    if (named_by_callers) {
      if (config.catalog == nullptr && !config.price_ceiling) {
        Report(at, at_path, "there is no catalog", "name price_files, or give a price_ceiling");
      }
      continue;
    }
    model.price_by_name = false;
    const auto find = [&](const std::string& name) -> const PriceList* {
      return config.catalog == nullptr ? nullptr : config.catalog->Find(name);
    };
    for (const ModelRoute& route : model.routes) {
      if (route.upstream >= config.upstreams.size()) continue;  // reported
      const std::string& name = route.upstream_model.empty() ? model.id : route.upstream_model;
      const PriceList* found =
          find(fmt::format("{}/{}", config.upstreams[route.upstream].name, name));
      if (found == nullptr) found = find(name);
      if (found == nullptr) found = find(model.id);
      if (found == nullptr && config.price_ceiling) found = &config.price_ceiling;
      if (found == nullptr) {
        Report(at, at_path, fmt::format("no price file has \"{:.64}\"", name),
               "import it, give the model a price of its own, or set price_ceiling");
        break;
      }
      if (model.price && !(model.price == *found)) {
        Report(at, at_path, "its routes have different prices in the price files",
               "give the model a price of its own");
        break;
      }
      model.price = *found;
    }
  }
}

void Reader::ReadModel(const YamlNode& node, const std::string& path, Config& config) {
  Model model;
  bool routes_given = false;
  const auto given = ReadObject(
      node, path, "models[].", ModelFields(), model,
      [&](std::string_view option, const YamlNode& value, const std::string& value_path) {
        if (option == "models[].routes") {
          routes_given = true;
          ReadRoutes(value, value_path, config, model);
          return true;
        }
        if (option == "models[].price") {
          model.price_by_name = value.kind == YamlKind::kScalar && value.text == "catalog";
          if (!model.price_by_name) model.price = ReadPrices(value, value_path);
          return true;
        }
        if (option == "models[].downgrade") {
          ReadDowngrade(value, value_path, model);
          return true;
        }
        return false;
      });
  if (node.kind != YamlKind::kMap) return;
  CheckName(node, path, "id", model.id, model_lines_);
  if (model.id == "*" && std::ranges::find(given, "models[].capabilities") == given.end()) {
    model.capabilities = kCapsOfWildcard;
  }
  if (!routes_given && config.upstreams.size() == 1) {
    model.routes.push_back({});
  } else if (!routes_given) {
    Report(node, Join(path, "routes"), "is missing",
           "name the upstreams that serve it, such as routes: [openai]");
  }
  for (ModelRoute& route : model.routes) {
    if (route.upstream_model.empty() && model.id != "*") route.upstream_model = model.id;
  }
  if (model.price_by_name) {
    catalog_places_.push_back({static_cast<std::uint32_t>(config.models.size()), &node, path});
  }
  if (model.downgrade) {
    downgrade_places_.push_back({static_cast<std::uint32_t>(config.models.size()), &node, path});
  }
  config.models.push_back(std::move(model));
}

void Reader::ReadPayloadRules(const YamlNode& list, const std::string& path, KeySpec& key) {
  const auto items = Items(&list, path, dialect::kPayloadRulesMax);
  for (std::size_t i = 0; i < items.size(); ++i) {
    const std::string item_path = fmt::format("{}[{}]", path, i);
    const std::size_t errors_before = errors_.size();
    PayloadRuleText text;
    ReadObject(items[i], item_path, "keys[].payload_rules[].", PayloadRuleFields(), text,
               [](const auto&...) { return false; });
    if (errors_.size() != errors_before) continue;
    auto rule = dialect::ParsePayloadRule(text.path, text.value);
    if (!rule) {
      Report(items[i], item_path, std::move(rule.error()),
             "write a path such as reasoning.effort and a value such as true, 5 or '\"low\"'");
      continue;
    }
    key.payload_rules.push_back(*std::move(rule));
  }
}

void Reader::ReadKey(const YamlNode& node, const std::string& path, Config& config) {
  KeySpec key;
  key.limits = config.key_defaults;
  ReadObject(node, path, "keys[].", KeyFields(), key,
             [&](std::string_view option, const YamlNode& value, const std::string& value_path) {
               if (option != "keys[].payload_rules") return false;
               ReadPayloadRules(value, value_path, key);
               return true;
             });
  if (node.kind != YamlKind::kMap) return;
  CheckName(node, path, "name", key.name, key_lines_);
  if (!key.payload_rules.empty() && !key.codex_adaptation) {
    Report(NodeAt(node, {"payload_rules"}), Join(path, "payload_rules"),
           "means nothing without codex_adaptation", "add codex_adaptation: true, or remove it");
  }
  CheckName(node, path, "secret", std::string(key.secret.Reveal()), secret_lines_);
  std::vector<std::string_view> ids;
  for (const Model& model : config.models) ids.push_back(model.id);
  for (std::size_t i = 0; i < key.models.size(); ++i) {
    if (config.FindModel(key.models[i]) != nullptr) continue;
    const std::string_view near = Nearest(key.models[i], ids);
    Report(NodeAt(node, {"models"}), Join(path, "models"),
           fmt::format("no model has the id \"{:.64}\"", key.models[i]),
           near.empty() ? "add it to models, or remove it here"
                        : fmt::format("did you mean {}?", near));
  }
  if (!key.workspace.empty()) {
    FindName(NodeAt(node, {"workspace"}), Join(path, "workspace"), key.workspace, workspace_names_,
             "workspace", "workspaces");
  }
  if (!key.package.empty()) {
    FindName(NodeAt(node, {"package"}), Join(path, "package"), key.package, package_names_,
             "package", "packages");
  }
  config.keys.push_back(std::move(key));
}

void Reader::ReadPolicy(const YamlNode& node, const std::string& path, Config& config) {
  if (auto policy = policies_.Read(node, path, config)) {
    config.policies.push_back(*std::move(policy));
  }
}

void Reader::ReadWebhook(const YamlNode& node, const std::string& path, Config& config) {
  const std::size_t errors_before = errors_.size();
  Webhook webhook;
  ReadObject(node, path, "webhooks[].", WebhookFields(), webhook,
             [](const auto&...) { return false; });
  if (node.kind != YamlKind::kMap) return;
  CheckName(node, path, "name", webhook.name, webhook_lines_);
  if (errors_.size() != errors_before) return;
  const auto url = ParseWebhookUrl(webhook.url);
  if (!url) {
    Report(NodeAt(node, {"url"}), Join(path, "url"), "is not the URL of a webhook",
           "write https://HOST[:PORT][/PATH][?QUERY] without user or fragment");
  } else if (!url->tls && !webhook.allow_private) {
    Report(NodeAt(node, {"url"}), Join(path, "url"), "is http://, which others can read",
           "write https://, or add allow_private: true for a receiver in a network of your own");
  }
  if (!ParseWebhookSecret(webhook.secret.Reveal())) {
    Report(NodeAt(node, {"secret"}), Join(path, "secret"), "is not a secret of Standard Webhooks",
           "write whsec_ and the base64 of 24 to 64 random bytes, as of: openssl rand -base64 32");
  }
  const YamlNode& list = NodeAt(node, {"events"});
  for (std::size_t i = 0; i < webhook.events.size(); ++i) {
    const std::string& event = webhook.events[i];
    if (std::ranges::find(kWebhookEvents, event) != kWebhookEvents.end()) continue;
    const std::string_view near = Nearest(event, kWebhookEvents);
    Report(ItemAt(list, i, webhook.events.size()), fmt::format("{}.events[{}]", path, i),
           fmt::format("\"{}\" is not a type of event", event),
           near.empty() ? fmt::format("write some of {}", fmt::join(kWebhookEvents, ", "))
                        : fmt::format("did you mean {}?", near));
  }
  config.webhooks.push_back(std::move(webhook));
}

Config Reader::Read(const YamlNode& root, const FileLookup& files) {
  Config config;
  // The lists refer to one another and to key_defaults, wherever in the file they stand: last, and
  // each behind those it refers to. What accounts and downgrades refer to comes behind them.
  struct List {
    std::string_view name;
    std::size_t count_max;
    void (Reader::*read)(const YamlNode&, const std::string&, Config&);
    const YamlNode* node = nullptr;
  };
  std::array lists = {List{"upstreams", kUpstreamsMax, &Reader::ReadUpstream},
                      List{"models", kModelsMax, &Reader::ReadModel},
                      List{"pools", kPoolsMax, &Reader::ReadPool},
                      List{"packages", kPackagesMax, &Reader::ReadPackage},
                      List{"workspaces", kWorkspacesMax, &Reader::ReadWorkspace},
                      List{"keys", kKeysMax, &Reader::ReadKey},
                      List{"policies", kPoliciesMax, &Reader::ReadPolicy},
                      List{"webhooks", kWebhooksMax, &Reader::ReadWebhook}};
  ReadObject(root, "", "", ConfigFields(), config,
             [&](std::string_view option, const YamlNode& value, const std::string& path) {
               if (option == "price_ceiling") {
                 config.price_ceiling = ReadPrices(value, path);
                 return true;
               }
               const auto list = std::ranges::find(lists, option, &List::name);
               if (list == lists.end()) return false;
               list->node = &value;
               return true;
             });
  if (root.kind != YamlKind::kMap) return config;

  LoadPriceFiles(root, files, config);
  for (const List& list : lists) {
    if (list.name == "pools") NameAccounts(config);
    const auto items = Items(list.node, std::string(list.name), list.count_max);
    for (std::size_t i = 0; i < items.size(); ++i) {
      (this->*list.read)(items[i], fmt::format("{}[{}]", list.name, i), config);
    }
    // A file without them has one pool and one package, which may be named like any other.
    if (list.name == "pools" && items.empty()) pool_names_.emplace(kDefaultName, 0);
    if (list.name == "packages" && items.empty()) package_names_.emplace(kDefaultName, 0);
  }
  CheckAccounts(config);
  FindPrices(config);
  CheckDowngrades(config);

  const YamlNode* upstreams = lists[0].node;
  const YamlNode* models = lists[1].node;
  if (upstreams == nullptr || (upstreams->kind == YamlKind::kList && upstreams->items.empty())) {
    ReportAt(root.line, root.column, "upstreams", "is missing",
             "name at least one account at a provider, or one of kind: sandbox");
  }
  if (models == nullptr || (models->kind == YamlKind::kList && models->items.empty())) {
    ReportAt(root.line, root.column, "models", "is missing",
             "name at least one model; id: \"*\" takes every name");
  }
  if (config.listen.port != 0 && config.listen.port == config.admin.port &&
      config.listen.host == config.admin.host) {
    Report(NodeAt(root, {"admin", "listen"}), "admin.listen", "is the same address as listen",
           "give the admin API a port of its own");
  }
  auto& prefix = config.brand.key_prefix;
  if (const auto at = prefix.find("{env}"); at != std::string::npos) {
    std::string environment = config.environment;
    std::ranges::replace(environment, '-', '_');  // a prefix has no '-'
    prefix.replace(at, 5, environment);
    if (prefix.size() > 32) {
      Report(NodeAt(root, {"brand", "key_prefix"}), "brand.key_prefix",
             "is longer than 32 characters with the environment in it", "shorten one of the two");
    }
  }
  return config;
}

}  // namespace

std::string FormatConfigError(const ConfigError& error) {
  std::string text = error.file;
  if (error.line > 0) text += fmt::format(":{}:{}", error.line, error.column);
  text += ": ";
  if (!error.path.empty()) text += error.path + ": ";
  text += error.message;
  if (!error.fix.empty()) text += fmt::format("; {}", error.fix);
  return text;
}

std::expected<Config, std::vector<ConfigError>> ParseConfig(std::string_view yaml_text,
                                                            std::string_view file_name,
                                                            const EnvLookup& env,
                                                            const FileLookup& files,
                                                            const ZoneLookup& zones) {
  std::vector<ConfigError> errors;
  const YamlNode root = ReadYaml(yaml_text, file_name, errors);
  Config config;
  if (root.kind == YamlKind::kNull) {
    AddError(errors, {std::string(file_name), 1, 1, "", "is empty",
                      "name upstreams and models, or start without a file"});
  } else {
    config = Reader(file_name, env, zones, errors).Read(root, files);
  }
  if (errors.empty()) {
    FinishAccounts(config);
    return config;
  }
  SortErrors(file_name, errors);
  return std::unexpected(std::move(errors));
}

std::expected<PriceCatalog, std::vector<ConfigError>> ParsePriceFile(std::string_view yaml_text,
                                                                     std::string_view file_name) {
  std::vector<ConfigError> errors;
  PriceCatalog catalog;
  const YamlNode root = ReadYaml(yaml_text, file_name, errors, kPriceFileBytesMax);
  Reader(file_name, kNoVariables, {}, errors).ReadPriceFile(root, catalog);
  if (errors.empty()) {
    catalog.Seal();
    return catalog;
  }
  SortErrors(file_name, errors);
  return std::unexpected(std::move(errors));
}

}  // namespace weir::config
