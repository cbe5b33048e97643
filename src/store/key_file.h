// Thirty-two secret bytes in a file of their own: the pepper and the master key.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/secret.h"

namespace weir::store {

inline constexpr std::size_t kKeyFileBytes = 32;

// What to do about each thing that can be wrong, as the second half of a sentence.
struct KeyFileFixes {
  std::string_view unusable;  // the file or its directory cannot be read or written
  std::string_view others;    // others may read it
  std::string_view length;    // it is not 32 bytes long
};

// The bytes, or none when there is no file.
//   fails  kBadInput (no file, not 32 bytes, others may read it), kUnavailable
Result<std::optional<Secret>> ReadKeyFile(const std::string& path, const KeyFileFixes& fixes);

// The bytes of data_dir/name, which is made with mode 0600 and random bytes if it is not there. A
// crash leaves no half file, and of two that make it at once both get the same bytes.
Result<Secret> ReadOrCreateKeyFile(const std::string& data_dir, std::string_view name,
                                   const KeyFileFixes& fixes);

}  // namespace weir::store
