#include "identity/key_record.h"

#include <algorithm>
#include <utility>

namespace weir::identity {

bool HasPermission(const KeyRecord& key, std::string_view permission) {
  return std::ranges::find(key.permissions, permission) != key.permissions.end();
}

bool AllowsModel(const KeyRecord& key, std::string_view model_id) {
  if (!key.models) return true;
  return std::ranges::binary_search(*key.models, model_id, std::less<>());
}

std::shared_ptr<const std::vector<std::string>> ModelAllowList(std::vector<std::string> models) {
  if (models.empty()) return nullptr;
  std::ranges::sort(models);
  const auto repeats = std::ranges::unique(models);
  models.erase(repeats.begin(), repeats.end());
  return std::make_shared<const std::vector<std::string>>(std::move(models));
}

MadeKey MakeKey(const NewKey& wanted, KeyId id, std::string_view prefix, const Pepper& pepper,
                std::span<const std::uint8_t, 32> random_bytes, Instant now) {
  return MakeKeyWithSecret(wanted, id, prefix, pepper, GenerateKey(prefix, random_bytes), now);
}

MadeKey MakeKeyWithSecret(const NewKey& wanted, KeyId id, std::string_view prefix,
                          const Pepper& pepper, Secret secret, Instant now) {
  KeyRecord record;
  record.id = id;
  record.name = wanted.name;
  record.display = DisplayKey(secret.Reveal(), prefix);
  record.digest = pepper.Digest(secret.Reveal());
  record.environment = wanted.environment;
  record.permissions = wanted.permissions;
  record.models = ModelAllowList(wanted.models);
  record.expires_at = wanted.expires_at;
  record.workspace = wanted.workspace;
  record.package = wanted.package;
  record.codex_adaptation = wanted.codex_adaptation;
  record.payload_rules = wanted.payload_rules;
  record.allow_downgrade = wanted.allow_downgrade;
  record.attributes = wanted.attributes;
  record.metadata = wanted.metadata;
  record.limits = wanted.limits;
  record.created_at = now;
  return {std::move(record), std::move(secret)};
}

MadeKey Rotate(const KeyRecord& key, std::string_view prefix, const Pepper& pepper,
               std::span<const std::uint8_t, 32> random_bytes, Instant now, Duration overlap) {
  MadeKey made{key, GenerateKey(prefix, random_bytes)};
  made.record.display = DisplayKey(made.secret.Reveal(), prefix);
  made.record.digest = pepper.Digest(made.secret.Reveal());
  made.record.rotated_at = now;
  made.record.previous.reset();
  if (overlap > Duration{}) {
    Instant valid_until{INT64_MAX};  // an overlap beyond the end of time is one without end
    if (__builtin_add_overflow(now.ns, overlap.ns, &valid_until.ns)) valid_until.ns = INT64_MAX;
    made.record.previous = PreviousSecret{key.digest, valid_until};
  }
  return made;
}

KeyRecord Revoke(KeyRecord key, Instant now) {
  if (key.state == KeyState::kRevoked) return key;
  key.state = KeyState::kRevoked;
  key.previous.reset();
  key.revoked_at = now;
  return key;
}

}  // namespace weir::identity
