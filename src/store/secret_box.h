// Credentials at rest: AES-256-GCM boxes under the master key of a deployment.
//
//   box = version(1) key_id(8) nonce(12) ciphertext(= plain) tag(16)
//
// The tag also covers version, key id and `associated`, which says what the box is the secret of: a
// box that was put into another row does not open there. The key id is a hash of the key, so that a
// box tells a wrong key from damage.
//
// A nonce is 96 random bits. NIST SP 800-38D (8.3) allows 2^32 boxes under one key that way, far
// more than operators will ever make.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/secret.h"

namespace weir::store {

inline constexpr std::size_t kMasterKeyBytes = 32;
inline constexpr std::size_t kMasterKeyIdBytes = 8;
using MasterKeyId = std::array<std::uint8_t, kMasterKeyIdBytes>;

class SecretBox {
 public:
  // `master_key` has kMasterKeyBytes; anything else is a broken invariant.
  explicit SecretBox(const Secret& master_key);

  // fails  kUnavailable (no random bytes, or the library refuses)
  Result<std::vector<std::uint8_t>> Seal(std::string_view plain, std::string_view associated) const;

  // fails  kConflict (sealed under another key), kBadInput (not a box, damaged, or the box of
  //        something else). Neither says anything of the content.
  Result<Secret> Open(std::span<const std::uint8_t> box, std::string_view associated) const;

  const MasterKeyId& id() const { return id_; }

 private:
  Secret key_;
  MasterKeyId id_{};
};

// "1f09a3..": how messages name a key without telling it.
std::string MasterKeyName(const MasterKeyId& id);

// Where the master key comes from: `given` (the text of WEIR_MASTER_KEY) or the file
// data_dir/master.key, 32 bytes with mode 0600.
class MasterKeySource {
 public:
  MasterKeySource(std::string data_dir, std::optional<Secret> given)
      : data_dir_(std::move(data_dir)), given_(std::move(given)) {}

  // The key, or none when nothing was given and there is no file.
  //   fails  kBadInput (the text is not 32 bytes in base64 or hex, the file is not 32 bytes long
  //          or others may read it), kUnavailable (it cannot be read). Each says what to do.
  Result<std::optional<Secret>> Load() const;
  // As Load, but makes the file when there is no key: the first credential needs one.
  Result<Secret> LoadOrCreate() const;

 private:
  std::string data_dir_;
  std::optional<Secret> given_;
};

// 32 bytes as 64 hex digits or as base64, of either alphabet, padded or not.
//   fails  kBadInput
Result<Secret> ParseMasterKey(std::string_view text);

// A master key in a file: 32 bytes, or their text. For rotation.
//   fails  as MasterKeySource::Load
Result<Secret> ReadMasterKeyFile(const std::string& path);

}  // namespace weir::store
