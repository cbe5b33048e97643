// The key that signs receipts: Ed25519 (RFC 8032). Its seed is 32 random bytes in
// data_dir/receipt.key, made at the first start with mode 0600. Whoever has the public half can
// check a receipt offline and for ever; whoever has the file can make receipts, so it is a secret
// like the pepper.
//
// A lost file is replaced by a new one at the next start: receipts from before are then checked
// with the old public key.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/secret.h"

namespace weir::store {

inline constexpr std::size_t kReceiptKeyBytes = 32;
inline constexpr std::size_t kReceiptSignatureBytes = 64;

// Any thread; nothing changes after it is made.
class ReceiptKey {
 public:
  //   fails  as ReadOrCreateKeyFile
  static Result<ReceiptKey> LoadOrCreate(const std::string& data_dir);
  // `seed` has kReceiptKeyBytes; anything else is a broken invariant.
  explicit ReceiptKey(Secret seed);

  // The public half, 64 hex digits.
  const std::string& public_key() const { return public_key_; }
  // The signature of `text`, 128 hex digits.    cost  about 50 us
  std::string Sign(std::string_view text) const;

 private:
  Secret seed_;
  std::string public_key_;
};

// 64 hex digits in lower case, or none.
std::optional<std::string> ParseReceiptPublicKey(std::string_view text);

// Whether `signature` (hex) is that of `text` under `public_key` (hex). False for anything
// malformed.
bool VerifyReceiptSignature(std::string_view text, std::string_view signature,
                            std::string_view public_key);

}  // namespace weir::store
