#include "config/accounts.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

namespace weir::config {
namespace {

std::vector<std::uint32_t> SharedAccounts(const Config& config) {
  std::vector<std::uint32_t> shared;
  for (std::uint32_t i = 0; i < config.accounts.size(); ++i) {
    if (config.accounts[i].keys.empty()) shared.push_back(i);
  }
  return shared;
}

}  // namespace

void AddImpliedAccounts(Config& config) {
  std::vector<bool> has(config.upstreams.size());
  for (const Account& account : config.accounts) {
    if (account.upstream < has.size()) has[account.upstream] = true;
  }
  for (std::uint32_t i = 0; i < config.upstreams.size(); ++i) {
    if (has[i]) continue;
    Account account;
    account.id = config.upstreams[i].name;
    account.upstream = i;
    account.api_key = config.upstreams[i].api_key;
    config.accounts.push_back(std::move(account));
  }
}

void FinishAccounts(Config& config) {
  AddImpliedAccounts(config);
  if (config.pools.empty()) config.pools.push_back({.name = std::string(kDefaultName)});
  for (Pool& pool : config.pools) {
    if (pool.accounts.empty()) pool.accounts = SharedAccounts(config);
  }
  if (config.packages.empty())
    config.packages.push_back({.name = std::string(kDefaultName), .pools = {0}});

  std::map<std::string, std::vector<std::uint32_t>> reserved;
  for (std::uint32_t i = 0; i < config.accounts.size(); ++i) {
    for (const std::string& key : config.accounts[i].keys) reserved[key].push_back(i);
  }
  config.reserved_packages.clear();
  for (auto& [key, accounts] : reserved) {
    std::uint32_t own = 0;
    const auto spec = std::ranges::find(config.keys, key, &KeySpec::name);
    if (spec != config.keys.end()) own = config.PackageOf({}, spec->workspace, spec->package);
    Pool pool;
    pool.name = "key:" + key;
    pool.accounts = std::move(accounts);
    pool.queue = config.pools[config.packages[own].pools.front()].queue;
    Package package;
    package.name = pool.name;
    package.pools.push_back(static_cast<std::uint32_t>(config.pools.size()));
    package.pools.insert(package.pools.end(), config.packages[own].pools.begin(),
                         config.packages[own].pools.end());
    config.pools.push_back(std::move(pool));
    config.reserved_packages.emplace_back(key, static_cast<std::uint32_t>(config.packages.size()));
    config.packages.push_back(std::move(package));
  }
}

std::uint32_t Config::PackageOf(std::string_view key, std::string_view workspace,
                                std::string_view package) const {
  const auto reserved = std::ranges::lower_bound(
      reserved_packages, key, {}, [](const auto& entry) { return std::string_view(entry.first); });
  if (reserved != reserved_packages.end() && reserved->first == key) return reserved->second;
  if (package.empty() && !workspace.empty()) {
    const auto found = std::ranges::find(workspaces, workspace, &Workspace::name);
    if (found != workspaces.end()) package = found->package;
  }
  if (package.empty()) return 0;
  const auto found = std::ranges::find(packages, package, &Package::name);
  return found == packages.end() ? 0 : static_cast<std::uint32_t>(found - packages.begin());
}

}  // namespace weir::config
