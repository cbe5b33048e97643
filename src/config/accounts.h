// Fills in what a file may leave out about accounts, so that the path knows one form only: every
// upstream has accounts, every account a pool, every key a package.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"

namespace weir::config {

// The name of the pool and the package that a file without any has.
inline constexpr std::string_view kDefaultName = "default";

// The first step of FinishAccounts, for the parser: an upstream without accounts gets one, with its
// name and its api_key, behind all others.
void AddImpliedAccounts(Config& config);

// Call once, after upstreams, accounts, pools, packages and keys are in.
//   - An upstream without accounts gets one (AddImpliedAccounts).
//   - Without pools there is one, "default", of all accounts that are reserved for nobody, without
//     a queue. A pool without accounts gets the same.
//   - Without packages there is one, "default", of the first pool.
//   - Accounts reserved for keys become a pool and a package "key:NAME" for each such key, which
//     asks those accounts first and the key's own pools behind them.
void FinishAccounts(Config& config);

// An account that was made at run time. Its upstream goes by name, because the file's upstreams may
// stand in another order after the next start.
struct StoredAccount {
  std::string upstream;
  Account account;  // `upstream` in it is not read
};

// What an operator set of an account of the file at run time.
struct AccountOverride {
  std::string account;  // id
  std::optional<bool> enabled;
  std::optional<bool> draining;
};

// Where a key belongs that the file does not name but that accounts are reserved for.
struct KeyPlace {
  std::string key;
  std::string workspace;
  std::string package;
};

struct WithAccountsReply {
  Config config;
  // Ids of stored accounts that are not in it: their upstream is gone, or the file has one of
  // that id, which wins.
  std::vector<std::string> left_out;
};

// The configuration in force: what FinishAccounts made of the file, with accounts of the store
// behind those of the file and the overrides on top.
//   - Pools that list "*", "UPSTREAM/*" or nothing take shared stored accounts in; the pools and
//     packages "key:NAME" are made anew. What the file named keeps its index.
//   - The implied account of an upstream without an api_key is switched off while shared stored
//     accounts stand beside it, unless an override says otherwise: it could only be refused. That
//     of a sandbox stays.
WithAccountsReply WithAccounts(const Config& file, std::span<const StoredAccount> stored,
                               std::span<const AccountOverride> overrides,
                               std::span<const KeyPlace> places);

}  // namespace weir::config
