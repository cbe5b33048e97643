#include "server/stored_policies.h"

#include <utility>

#include "server/approvals.h"

namespace weir::server {

Result<StoredPolicies> ReadStoredPolicies(const store::PolicyStore& store,
                                          const config::Config& file,
                                          const config::ZoneLookup& zones) {
  StoredPolicies stored;
  const auto active = store.Active();
  if (!active) return std::unexpected(active.error());
  for (const store::PolicyVersion& version : *active) {
    auto policy = ReadPolicy(version.json, file, zones);
    if (!policy) {
      const config::ConfigError& first = policy.error().front();
      return Fail(ErrorCode::kConflict, ErrorSource::kEnvironment,
                  "the policy " + version.id + " (version " + std::to_string(version.version) +
                      "), which was made through the admin API, does not fit the file: " +
                      first.path + ": " + first.message + "; " + first.fix +
                      ". Put back what it names, then change or delete the policy, then take it "
                      "out of the file");
    }
    policy->version = version.version;
    policy->stored = true;
    stored.policies.push_back(*std::move(policy));
  }
  const auto granted = store.Granted();
  if (!granted) return std::unexpected(granted.error());
  for (const store::Approval& approval : *granted) {
    stored.raises.push_back({.raise = RaiseOf(approval), .unit = approval.unit});
  }
  return stored;
}

std::expected<config::Policy, std::vector<config::ConfigError>> ReadPolicy(
    std::string_view text, const config::Config& file, const config::ZoneLookup& zones) {
  return config::ParsePolicy(text, "policy", zones, file);
}

std::expected<std::vector<config::Policy>, std::vector<config::ConfigError>> ReadPolicies(
    std::string_view text, const config::Config& file, const config::ZoneLookup& zones) {
  return config::ParsePolicies(text, "policies", zones, file);
}

}  // namespace weir::server
