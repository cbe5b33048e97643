// The policies in force: those of the file, those made through the admin API, and what was approved
// on top. As config::WithAccounts is for accounts.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "config/config.h"

namespace weir::config {

// Approved in steps of that unit: once the policy counts another one, the amount means nothing.
struct StoredRaise {
  Raise raise;
  QuotaUnit unit = QuotaUnit::kUsd;
};

struct WithPoliciesReply {
  Config config;
  // What of the stored ones is not in force as it was made, a sentence each.
  std::vector<std::string> left_out;
};

// `config` with its own policies first, then the stored ones.
//   - A policy of the file wins over a stored one of its id.
//   - A stored policy that degrades to a model that is gone blocks instead: without it there would
//   be
//     no limit.
//   - A raise counts for a policy that is there and counts in its unit, and only when it ends after
//     it begins.
// May be called on its own result: what was stored in it is replaced.
WithPoliciesReply WithPolicies(Config config, std::span<const Policy> stored,
                               std::span<const StoredRaise> raises);

}  // namespace weir::config
