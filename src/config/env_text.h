// ${NAME} in values. Private to this folder.
#pragma once

#include <cstddef>
#include <expected>
#include <string>
#include <string_view>

#include "config/parse.h"

namespace weir::config {

inline constexpr std::size_t kValueBytesMax = 64 << 10;

struct EnvText {
  std::string text;
  bool from_environment = false;  // then it may be a secret, and errors must not show it
};

struct EnvFault {
  std::string message;
  std::string fix;
};

// Replaces every ${NAME} and ${NAME:-text} in `raw`; $${ becomes ${. A replacement is not looked at
// again, so a variable cannot name another.
std::expected<EnvText, EnvFault> ReplaceEnv(std::string_view raw, const EnvLookup& env);

}  // namespace weir::config
