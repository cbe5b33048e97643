// Fills in what a file may leave out about accounts, so that the path knows one form only: every
// upstream has accounts, every account a pool, every key a package.
#pragma once

#include <string_view>

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

}  // namespace weir::config
