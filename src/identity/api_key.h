// API keys: how one is made, how it looks, and what is kept of it.
//
//   key      = prefix body checksum
//   prefix   = 0*32( lower / digit / "_" )          ; the brand's: "wr_", "qf_", "qta_production_"
//   body     = 43 base62                            ; 32 random bytes, big-endian, padded with "0"
//   checksum = 6 base62                             ; CRC-32 (IEEE) of prefix and body, padded
//   base62   = "0"-"9" / "A"-"Z" / "a"-"z"          ; digits in this order
//
// The checksum lets a scanner tell a real key from a look-alike without asking anyone, as GitHub's
// tokens do (github.blog, "Behind GitHub's new authentication token formats", 2021). It is no
// proof of anything: authentication never looks at it, because the text of a key may also be given
// by the operator and then has any form.
//
// What is kept is HMAC-SHA-256(pepper, key): whoever reads the database but not the pepper cannot
// even test a guess, and 256 random bits need no slow hash.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "base/secret.h"

namespace weir::identity {

inline constexpr std::size_t kKeyBodyLength = 43;
inline constexpr std::size_t kKeyChecksumLength = 6;
inline constexpr std::size_t kKeyPrefixLengthMax = 32;
// What may be presented as a key. Longer is never one; it is refused after the same work.
inline constexpr std::size_t kKeyLengthMax = 512;

// HMAC-SHA-256 of a key's text. Not secret in the way a key is, but never logged either.
struct KeyDigest {
  std::array<std::uint8_t, 32> bytes{};
  friend constexpr auto operator<=>(const KeyDigest&, const KeyDigest&) = default;

  // The leading bytes: uniformly distributed, because an HMAC is.
  std::uint64_t Leading() const {
    std::uint64_t value = 0;
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
  }
};

// Equality in a time that does not depend on the content.
bool EqualsInConstantTime(const KeyDigest& a, const KeyDigest& b);

// The key of the HMAC, ready to use: both pads are hashed once, so a digest of a key costs a few
// SHA-256 blocks and no allocation. Immutable; any thread.
class Pepper {
 public:
  // secret  any bytes; 32 random ones are right. Not kept.
  explicit Pepper(std::string_view secret);

  // HMAC-SHA-256(secret, text).   cost  under 1 us for text up to 512 bytes
  KeyDigest Digest(std::string_view text) const;

 private:
  std::array<std::uint32_t, 8> inner_{};  // SHA-256 state after the inner pad
  std::array<std::uint32_t, 8> outer_{};  // ... and after the outer pad
};

// A new key. The same prefix and bytes always give the same key.
//   prefix        lower-case letters, digits and '_', at most kKeyPrefixLengthMax
//   random_bytes  from the system's generator; the whole strength of the key
Secret GenerateKey(std::string_view prefix, std::span<const std::uint8_t, 32> random_bytes);

// Whether `text` is `prefix`, 43 base62 digits and their right checksum. For people and tools (the
// command line, secret scanning): false does not mean that authentication would refuse the text.
bool LooksGenerated(std::string_view text, std::string_view prefix);

// Whether `text` might be a key of this deployment: false only for a text that has the form of a
// generated key but a wrong checksum, that is, a mistyped one. Texts of any other form are true.
bool PlausibleKey(std::string_view text, std::string_view prefix);

// What may be shown of a key: "qf_...X4kQ". Of a text too short to lose four characters: "...".
std::string DisplayKey(std::string_view text, std::string_view prefix);

}  // namespace weir::identity
