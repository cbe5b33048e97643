// Tokens of the admin API. Who has the one in the file may do everything the API can do; operators
// (admin/operators.cc) have others of the same form.
//
// The file's is made once, at the first start, printed once, and written to data_dir/admin-token
// (mode 0600) for the command line. The server keeps its SHA-256 only: 256 random bits need no slow
// hash.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/secret.h"

namespace weir::admin {

inline constexpr std::string_view kTokenPrefix = "wadm_";
inline constexpr std::string_view kTokenFile = "admin-token";

// "wadm_" and 43 base64url characters of 32 bytes from the system's generator.
Result<Secret> GenerateToken();

// The same of bytes the caller has.
Secret MakeToken(const std::array<std::uint8_t, 32>& bytes);
// What may be shown of a token: "wadm_...X4kQ".
std::string DisplayToken(std::string_view token);

// SHA-256, and the same as 64 lower-case hex digits.
std::array<std::uint8_t, 32> TokenDigest(std::string_view token);
std::string HashToken(std::string_view token);

// Compared in a time that does not depend on where they differ.
bool TokenHasHash(std::string_view token, std::string_view hash);

// The token of `data_dir`, made and stored if there is none.
//   created   true when it was made now, so that the caller prints it once
//   fails     kUnavailable when the directory cannot be written or the file is not a token, with a
//             sentence that says what to do
struct TokenFile {
  Secret token;
  bool created = false;
};
Result<TokenFile> LoadOrCreateToken(const std::string& data_dir);

// The token of `data_dir`; kNotFound when serve has not written one.
Result<Secret> LoadToken(const std::string& data_dir);

}  // namespace weir::admin
