// What is known of one API key: everything but its text.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/id.h"
#include "base/secret.h"
#include "base/time.h"
#include "config/config.h"
#include "dialect/payload_rule.h"
#include "identity/api_key.h"

namespace weir::identity {

// Frozen: the values are on disk. Expiry is not a state, it is a comparison with the clock.
enum class KeyState : std::uint8_t {
  kActive = 1,
  kDisabled = 2,  // by an operator, who may enable it again
  kRevoked = 3,   // for good
};

constexpr std::string_view Name(KeyState state) {
  switch (state) {
    case KeyState::kActive:
      return "active";
    case KeyState::kDisabled:
      return "disabled";
    case KeyState::kRevoked:
      return "revoked";
  }
  return "unknown";
}

// The secret a key had before its last rotation. It works while now < valid_until.
struct PreviousSecret {
  KeyDigest digest;
  Instant valid_until;
  friend bool operator==(const PreviousSecret&, const PreviousSecret&) = default;
};

struct KeyRecord {
  KeyId id;
  std::string name;     // unique among keys that are not revoked
  std::string display;  // "qf_...X4kQ"
  KeyDigest digest;
  std::optional<PreviousSecret> previous;
  KeyState state = KeyState::kActive;
  std::string environment;
  std::vector<std::string> permissions;  // empty: none
  // Models it may use and see, sorted; null: all. Shared, because keys of one plan have one list.
  std::shared_ptr<const std::vector<std::string>> models;
  std::optional<Instant> expires_at;  // works while now < expires_at
  std::string workspace;              // empty: one of its own
  std::string package;                // empty: the workspace's
  bool codex_adaptation = false;
  // Applied in this order where the adaptation is; at most kPayloadRulesMax.
  std::vector<dialect::PayloadRule> payload_rules;
  bool allow_downgrade = true;
  std::vector<config::Attribute> attributes;  // for policies; sorted by dimension
  std::uint32_t metadata = 0;  // dimensions its requests may set unsigned: config::BitOf
  config::KeyLimits limits;
  Instant created_at;
  std::optional<Instant> rotated_at;
  std::optional<Instant> revoked_at;
};

bool HasPermission(const KeyRecord& key, std::string_view permission);
bool AllowsModel(const KeyRecord& key, std::string_view model_id);

// A sorted list without repeats, or null for an empty one.
std::shared_ptr<const std::vector<std::string>> ModelAllowList(std::vector<std::string> models);

// A record and the secret that belongs to it: the only time the two are together.
struct MadeKey {
  KeyRecord record;
  Secret secret;
};

// What the operator decides about a new key.
struct NewKey {
  std::string name;
  std::string environment;
  std::vector<std::string> permissions;
  std::vector<std::string> models;  // empty: all
  std::optional<Instant> expires_at;
  std::string workspace;  // empty: one of its own
  std::string package;    // empty: the workspace's
  bool codex_adaptation = false;
  std::vector<dialect::PayloadRule> payload_rules;
  bool allow_downgrade = true;
  std::vector<config::Attribute> attributes;
  std::uint32_t metadata = 0;
  config::KeyLimits limits;
};

// A new active key with a generated secret.
MadeKey MakeKey(const NewKey& wanted, KeyId id, std::string_view prefix, const Pepper& pepper,
                std::span<const std::uint8_t, 32> random_bytes, Instant now);

// The same with a secret the operator chose.
MadeKey MakeKeyWithSecret(const NewKey& wanted, KeyId id, std::string_view prefix,
                          const Pepper& pepper, Secret secret, Instant now);

// `key` with a new generated secret; the old one works until now + overlap. One older still stops
// at once: a key has two secrets at most.   overlap >= 0; 0: the old secret stops at once
MadeKey Rotate(const KeyRecord& key, std::string_view prefix, const Pepper& pepper,
               std::span<const std::uint8_t, 32> random_bytes, Instant now, Duration overlap);

// `key` revoked: both secrets stop at once. Revoking again changes nothing.
KeyRecord Revoke(KeyRecord key, Instant now);

}  // namespace weir::identity
