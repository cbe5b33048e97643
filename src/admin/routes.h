// The table of the admin API: method and path to handler, and nothing else. api/openapi.yaml has
// the same paths; routes_test holds them equal.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "admin/call.h"

namespace weir::admin {

using Handler = AdminResponse (*)(const Call& call);

// Who may call it: an operator of that role or of a higher one. What is open holds no secret and no
// name of a key. A route that says nothing is the admins'.
enum class Access : std::uint8_t { kOpen, kViewer, kApprover, kAdmin };

constexpr bool Allows(Access access, store::Role role) {
  switch (access) {
    case Access::kOpen:
    case Access::kViewer:
      return true;
    case Access::kApprover:
      return role == store::Role::kApprover || role == store::Role::kAdmin;
    case Access::kAdmin:
      break;
  }
  return role == store::Role::kAdmin;
}

struct Route {
  std::string_view method;
  std::string_view path;  // at most one segment is "{id}"
  Handler handler;
  Access access = Access::kAdmin;
};

std::span<const Route> Routes();

// The rest of `path` where `pattern` has "{id}", or empty with `matches` for a pattern without.
struct Match {
  bool matches = false;
  std::string_view id;
};
Match MatchPath(std::string_view pattern, std::string_view path);

}  // namespace weir::admin
