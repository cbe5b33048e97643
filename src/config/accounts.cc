#include "config/accounts.h"

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <utility>

namespace weir::config {
namespace {

// No name of the file has a ':'.
constexpr std::string_view kReservedPrefix = "key:";

std::vector<std::uint32_t> SharedAccounts(const Config& config) {
  std::vector<std::uint32_t> shared;
  for (std::uint32_t i = 0; i < config.accounts.size(); ++i) {
    if (config.accounts[i].keys.empty()) shared.push_back(i);
  }
  return shared;
}

// What accounts reserved for keys become. The pools and packages of the file stand in front.
void AddReserved(Config& config, std::span<const KeyPlace> places) {
  std::map<std::string, std::vector<std::uint32_t>> reserved;
  for (std::uint32_t i = 0; i < config.accounts.size(); ++i) {
    for (const std::string& key : config.accounts[i].keys) reserved[key].push_back(i);
  }
  config.reserved_packages.clear();
  // Filled at the end: until then PackageOf must find what the key has without its own accounts.
  std::vector<std::pair<std::string, std::uint32_t>> found;
  for (auto& [key, accounts] : reserved) {
    std::uint32_t own = 0;
    const auto spec = std::ranges::find(config.keys, key, &KeySpec::name);
    const auto place = std::ranges::find(places, key, &KeyPlace::key);
    if (spec != config.keys.end()) {
      own = config.PackageOf({}, spec->workspace, spec->package);
    } else if (place != places.end()) {
      own = config.PackageOf({}, place->workspace, place->package);
    }
    Pool pool;
    pool.name = std::string(kReservedPrefix) + key;
    pool.accounts = std::move(accounts);
    pool.queue = config.pools[config.packages[own].pools.front()].queue;
    Package package;
    package.name = pool.name;
    package.pools.push_back(static_cast<std::uint32_t>(config.pools.size()));
    package.wallet = config.packages[own].wallet;
    package.wallet_low = config.packages[own].wallet_low;
    package.hold = config.packages[own].hold;
    package.pools.insert(package.pools.end(), config.packages[own].pools.begin(),
                         config.packages[own].pools.end());
    config.pools.push_back(std::move(pool));
    found.emplace_back(key, static_cast<std::uint32_t>(config.packages.size()));
    config.packages.push_back(std::move(package));
  }
  config.reserved_packages = std::move(found);
}

bool TakesIn(const Pool& pool, std::string_view upstream) {
  return std::ranges::any_of(pool.members, [&](std::string_view member) {
    if (member == "*") return true;
    return member.ends_with("/*") && member.substr(0, member.size() - 2) == upstream;
  });
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
    if (!pool.accounts.empty()) continue;
    pool.accounts = SharedAccounts(config);
    if (pool.members.empty()) pool.members = {"*"};
  }
  if (config.packages.empty())
    config.packages.push_back({.name = std::string(kDefaultName), .pools = {0}});
  AddReserved(config, {});
}

WithAccountsReply WithAccounts(const Config& file, std::span<const StoredAccount> stored,
                               std::span<const AccountOverride> overrides,
                               std::span<const KeyPlace> places) {
  WithAccountsReply reply{.config = file, .left_out = {}};
  Config& config = reply.config;
  const auto is_made = [](const auto& named) { return named.name.starts_with(kReservedPrefix); };
  std::erase_if(config.pools, is_made);
  std::erase_if(config.packages, is_made);

  std::map<std::string, std::uint32_t, std::less<>> upstreams;
  for (std::uint32_t i = 0; i < config.upstreams.size(); ++i) {
    upstreams.emplace(config.upstreams[i].name, i);
  }
  std::map<std::string, std::uint32_t, std::less<>> ids;
  for (std::uint32_t i = 0; i < config.accounts.size(); ++i) ids.emplace(config.accounts[i].id, i);

  std::vector<bool> joined(config.upstreams.size());  // by a shared stored account
  for (const auto& [upstream, account] : stored) {
    const auto owner = upstreams.find(upstream);
    const auto index = static_cast<std::uint32_t>(config.accounts.size());
    if (owner == upstreams.end() || !ids.emplace(account.id, index).second) {
      reply.left_out.push_back(account.id);
      continue;
    }
    config.accounts.push_back(account);
    config.accounts.back().upstream = owner->second;
    if (!account.keys.empty()) continue;
    joined[owner->second] = true;
    for (Pool& pool : config.pools) {
      if (TakesIn(pool, upstream)) pool.accounts.push_back(index);
    }
  }
  for (std::uint32_t i = 0; i < file.accounts.size(); ++i) {
    Account& account = config.accounts[i];
    const Upstream& owner = config.upstreams[account.upstream];
    if (joined[account.upstream] && account.id == owner.name && account.api_key.empty() &&
        owner.kind != UpstreamKind::kSandbox) {
      account.enabled = false;
    }
  }
  for (const auto& [id, enabled, draining] : overrides) {
    const auto found = ids.find(id);
    if (found == ids.end() || found->second >= file.accounts.size()) continue;
    Account& account = config.accounts[found->second];
    account.enabled = enabled.value_or(account.enabled);
    account.draining = draining.value_or(account.draining);
  }
  AddReserved(config, places);
  return reply;
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
