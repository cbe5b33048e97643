// What policies.db holds, as the values that the configuration in force is made of.
#pragma once

#include <expected>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "config/parse.h"
#include "config/with_policies.h"
#include "store/policy_store.h"

namespace weir::server {

struct StoredPolicies {
  std::vector<config::Policy> policies;  // with their versions
  std::vector<config::StoredRaise> raises;
};

// Reads every active policy against `file`, as a policy of it would be.
//   fails  kUnavailable (the store), kConflict: a policy does not fit the file. It is not left out,
//          because then there would be no limit; the detail says what to do.
Result<StoredPolicies> ReadStoredPolicies(const store::PolicyStore& store,
                                          const config::Config& file,
                                          const config::ZoneLookup& zones);

// One policy as somebody writes it: the only place that calls the parser for text that is not the
// file's.
std::expected<config::Policy, std::vector<config::ConfigError>> ReadPolicy(
    std::string_view text, const config::Config& file, const config::ZoneLookup& zones);
// A text with several: what a file of policies holds.
std::expected<std::vector<config::Policy>, std::vector<config::ConfigError>> ReadPolicies(
    std::string_view text, const config::Config& file, const config::ZoneLookup& zones);

}  // namespace weir::server
