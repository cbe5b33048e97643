// The table of the admin API: method and path to handler, and nothing else. api/openapi.yaml has
// the same paths; routes_test holds them equal.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "admin/call.h"

namespace weir::admin {

using Handler = AdminResponse (*)(const Call& call);

// Whether a caller must show the admin token. What is open holds no secret and no name of a key.
enum class Access : std::uint8_t { kToken, kOpen };

struct Route {
  std::string_view method;
  std::string_view path;  // at most one segment is "{id}"
  Handler handler;
  Access access = Access::kToken;
};

std::span<const Route> Routes();

// The rest of `path` where `pattern` has "{id}", or empty with `matches` for a pattern without.
struct Match {
  bool matches = false;
  std::string_view id;
};
Match MatchPath(std::string_view pattern, std::string_view path);

}  // namespace weir::admin
