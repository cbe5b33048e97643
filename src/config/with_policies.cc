#include "config/with_policies.h"

#include <map>
#include <string_view>
#include <utility>

namespace weir::config {

WithPoliciesReply WithPolicies(Config config, std::span<const Policy> stored,
                               std::span<const StoredRaise> raises) {
  WithPoliciesReply reply{.config = std::move(config), .left_out = {}};
  Config& merged = reply.config;
  std::erase_if(merged.policies, [](const Policy& policy) { return policy.stored; });
  merged.raises.clear();

  std::map<std::string, QuotaUnit, std::less<>> units;
  for (const Policy& policy : merged.policies) units.emplace(policy.id, policy.unit);
  for (const Policy& policy : stored) {
    if (!units.emplace(policy.id, policy.unit).second) {
      reply.left_out.push_back("the stored policy " + policy.id +
                               " is not in force: the file has one of that id");
      continue;
    }
    if (merged.policies.size() >= kPoliciesMax) {
      units.erase(policy.id);
      reply.left_out.push_back("the stored policy " + policy.id +
                               " is not in force: there are too many with those of the file");
      continue;
    }
    merged.policies.push_back(policy);
    Policy& added = merged.policies.back();
    added.stored = true;
    if (added.action == PolicyAction::kDegrade && merged.FindModel(added.degrade_to) == nullptr) {
      added.action = PolicyAction::kBlock;
      reply.left_out.push_back("the stored policy " + policy.id + " blocks: the model " +
                               policy.degrade_to + ", to which it degrades, is gone from the file");
    }
  }

  for (const auto& [raise, unit] : raises) {
    const auto policy = units.find(raise.policy);
    std::string_view why;
    if (policy == units.end()) {
      why = "its policy is gone";
    } else if (policy->second != unit) {
      why = "its policy counts another unit now";
    } else if (raise.amount <= 0 || raise.amount > kQuotaMax || raise.to <= raise.from) {
      why = "it allows nothing";
    }
    if (why.empty()) {
      merged.raises.push_back(raise);
    } else {
      reply.left_out.push_back("the approval " + raise.approval + " of more of " + raise.policy +
                               " has no effect: " + std::string(why));
    }
  }
  return reply;
}

}  // namespace weir::config
