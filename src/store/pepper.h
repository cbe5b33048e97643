// The pepper and other bytes that must not be guessed, from the system.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/secret.h"

namespace weir::store {

// 32 bytes from the system's generator.    fails  kUnavailable, which no caller can mend
Result<std::array<std::uint8_t, 32>> SystemRandom32();

// The pepper of a deployment: `given` (from the environment) if there is one, else the file
// data_dir/pepper, which is made on the first start with 32 random bytes and mode 0600.
//   given   at least 32 characters; several nodes that share keys must be given the same
//   fails   kBadInput (given is too short, the file is not 32 bytes or others may read it),
//           kUnavailable (the directory cannot be written). Each says what to do.
// A lost pepper makes every key invalid: back it up, apart from keys.db.
Result<Secret> LoadOrCreatePepper(const std::string& data_dir, const std::optional<Secret>& given);

}  // namespace weir::store
