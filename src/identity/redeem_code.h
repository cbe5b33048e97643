// Redeem codes: how one is made, how it looks, and what is kept of it.
//
//   code   = prefix 5( "-" 4char )              ; "QTA-7K2M-9QXR-1V0D-HJ6T-83ZW"
//   prefix = 1*8( upper-case letter / digit )   ; the brand's; nobody has to type it
//   char   = Crockford's base32                 ; no I, L, O, U
//
// Nineteen of the twenty characters are random, 95 bits, and the last is a check (Luhn mod 32): a
// mistyped character is found before anything is asked. People type codes, so case, blanks and
// dashes do not matter, O is 0, and I and L are 1. What is kept is the HMAC of the twenty under the
// pepper, as of a key.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/secret.h"
#include "identity/api_key.h"

namespace weir::identity {

inline constexpr std::size_t kCodeChars = 20;  // the check among them
// What may be presented as a code. Longer is never one.
inline constexpr std::size_t kCodeTextMax = 64;

// A new code. The same prefix and bytes always give the same one.
//   key_prefix    of the brand: "qta_live_" makes "QTA-..."
//   random_bytes  from the system's generator; the whole strength of the code
Secret GenerateCode(std::string_view key_prefix, std::span<const std::uint8_t, 32> random_bytes);

// The twenty characters of a code as somebody typed it; none when it cannot be one.
std::optional<std::string> NormalCode(std::string_view typed);

// REQUIRES a text of NormalCode.
KeyDigest DigestOfCode(const Pepper& pepper, std::string_view normal);

// What may be shown of a code: "...83ZW".
std::string DisplayCode(std::string_view normal);

}  // namespace weir::identity
