#include "admin/admin_api.h"

#include <algorithm>
#include <array>
#include <expected>
#include <utility>

#include "admin/problem.h"
#include "admin/routes.h"
#include "admin/token.h"
#include "store/policy_store.h"

namespace weir::admin {

namespace {

// Wrong tokens answered with 401 within a minute; further ones get 429 and no word on whether they
// were right. The right one always works: a limit on it would let anyone who can reach the port
// lock the operator out, and 256 bits are not guessed at any rate.
constexpr std::size_t kFailuresMax = 5;
constexpr Duration kFailureWindow = Minutes(1);

// Host without its port: "127.0.0.1:8081" -> "127.0.0.1", "[::1]:8081" -> "[::1]".
std::string_view HostWithoutPort(std::string_view host) {
  if (host.starts_with('[')) {
    const std::size_t end = host.find(']');
    return end == std::string_view::npos ? std::string_view() : host.substr(0, end + 1);
  }
  return host.substr(0, host.find(':'));
}

bool IsAddress(std::string_view host) {
  if (host.starts_with('[')) return true;
  int dots = 0;
  for (const char c : host) {
    if (c == '.') {
      ++dots;
    } else if (c < '0' || c > '9') {
      return false;
    }
  }
  return dots == 3;
}

}  // namespace

std::string_view AdminRequest::Find(std::string_view name) const {
  for (const auto& header : headers) {
    if (gateway::EqualsIgnoreCase(header.name, name)) return header.value;
  }
  return {};
}

std::size_t AdminRequest::Count(std::string_view name) const {
  return static_cast<std::size_t>(std::ranges::count_if(
      headers, [&](const auto& header) { return gateway::EqualsIgnoreCase(header.name, name); }));
}

struct AdminApi::State {
  AdminPorts ports;
  std::string token_hash;
  std::vector<std::string> hosts;
  std::array<Instant, kFailuresMax> failures{};  // the last ones, oldest at `oldest`
  std::size_t oldest = 0;

  // Why a browser that was lured here must not get an answer, or empty.
  std::string_view ForeignBecause(const AdminRequest& request) const {
    if (request.Count("host") != 1) return "A request needs exactly one Host header.";
    const std::string_view host = request.Find("host");
    const std::string_view name = HostWithoutPort(host);
    // A page of another site can point a name of its own at this address and then read the
    // answers. It needs a name with a dot for that: addresses and plain names are nobody's.
    const bool known =
        !name.empty() && (name.find('.') == std::string_view::npos || IsAddress(name) ||
                          std::ranges::any_of(hosts, [&](const std::string& own) {
                            return gateway::EqualsIgnoreCase(own, name);
                          }));
    if (!known) {
      return "The Host header names a host this listener does not serve. Use its address.";
    }
    if (request.Count("origin") > 0) {
      const std::string_view origin = request.Find("origin");
      const std::size_t slashes = origin.find("://");
      if (request.Count("origin") > 1 || slashes == std::string_view::npos ||
          !gateway::EqualsIgnoreCase(origin.substr(slashes + 3), host)) {
        return "The Origin header names another site.";
      }
    }
    const std::string_view fetch_site = request.Find("sec-fetch-site");
    if (fetch_site == "cross-site" || fetch_site == "same-site") {
      return "A browser sent this request for another site.";
    }
    return {};
  }

  struct Caller {
    std::string name;
    store::Role role = store::Role::kAdmin;
  };

  std::optional<Caller> CallerOf(std::string_view token) const {
    if (token.empty()) return std::nullopt;
    if (TokenHasHash(token, token_hash)) {
      return Caller{std::string(kFileOperator), store::Role::kAdmin};
    }
    if (ports.operators == nullptr) return std::nullopt;
    const auto found = ports.operators->FindByToken(TokenDigest(token));
    return found ? std::optional(Caller{found->name, found->role}) : std::nullopt;
  }

  // A line of the trail for a refusal. Of the path only the pattern is written: what a stranger
  // sends is not for the books. That it cannot be written does not change the answer.
  void NoteRefusal(std::string_view actor, std::string_view method, const Route* route,
                   std::string_view why, Instant now) const {
    if (ports.policies.store == nullptr) return;
    (void)ports.policies.store->Note(
        {.at = now,
         .actor = std::string(actor),
         .action = "auth.refused",
         .object = route == nullptr
                       ? std::string("route:unknown")
                       : "route:" + std::string(method) + " " + std::string(route->path),
         .before = {},
         .after = {},
         .reason = std::string(why),
         .outcome = "refused"});
  }

  // Who calls, or the response that refuses them.
  std::expected<Caller, AdminResponse> Authenticate(const AdminRequest& request,
                                                    std::string_view method, const Route* route,
                                                    Instant now) {
    const std::string_view authorization = request.Find("authorization");
    constexpr std::string_view kScheme = "bearer ";
    std::string_view token;
    if (request.Count("authorization") == 1 && authorization.size() > kScheme.size() &&
        gateway::EqualsIgnoreCase(authorization.substr(0, kScheme.size()), kScheme)) {
      token = authorization.substr(kScheme.size());
    }
    if (auto caller = CallerOf(token)) return *std::move(caller);
    // A missing token is a mistake, not a guess.
    if (!token.empty()) {
      const Instant free_at = failures[oldest] + kFailureWindow;
      if (failures[oldest].ns != 0 && now < free_at) {
        AdminResponse response =
            Problem(ProblemType::kTooManyFailures, "Wait, then send the right admin token.");
        response.headers = "retry-after: " + std::to_string(CeilSeconds(free_at - now)) + "\r\n";
        return std::unexpected(std::move(response));
      }
      failures[oldest] = now;
      oldest = (oldest + 1) % kFailuresMax;
      // Here, where they are at most five a minute.
      NoteRefusal("unknown", method, route, "wrong token", now);
    }
    AdminResponse response = Problem(
        ProblemType::kUnauthorized,
        "Send Authorization: Bearer with an operator's token, or with the admin token, which the "
        "first start printed and wrote to the file admin-token in data_dir.");
    response.headers = "www-authenticate: Bearer realm=\"weir admin\"\r\n";
    return std::unexpected(std::move(response));
  }

  AdminResponse Answer(const AdminRequest& request) {
    // Probes come under whatever name the orchestrator uses, and learn nothing.
    const bool probe = request.path == "/livez" || request.path == "/readyz";
    if (const std::string_view why = ForeignBecause(request); !probe && !why.empty()) {
      return Problem(ProblemType::kForeignRequest, why);
    }
    const Instant now = ports.now();
    const std::string_view method = request.method == "HEAD" ? "GET" : request.method;
    const Route* route = nullptr;
    Match match;
    std::string allow;
    for (const Route& candidate : Routes()) {
      const Match found = MatchPath(candidate.path, request.path);
      if (!found.matches) continue;
      if (candidate.method == method) {
        route = &candidate;
        match = found;
      }
      if (!allow.empty()) allow += ", ";
      allow += candidate.method;
    }
    // Before anything is said about paths: who has no token learns nothing of them.
    Caller caller;
    if (route == nullptr || route->access != Access::kOpen) {
      auto known = Authenticate(request, method, route, now);
      if (!known) return std::move(known.error());
      caller = *std::move(known);
    }
    if (route != nullptr) {
      if (!Allows(route->access, caller.role)) {
        NoteRefusal(caller.name, method, route, "role " + std::string(Name(caller.role)), now);
        return Problem(ProblemType::kForbidden,
                       "You are " + caller.name + ", " + std::string(Name(caller.role)) +
                           "; this needs the role " +
                           (route->access == Access::kApprover ? "approver or admin" : "admin") +
                           ".");
      }
      return route->handler({.request = request,
                             .ports = ports,
                             .id = match.id,
                             .now = now,
                             .actor = caller.name,
                             .role = caller.role});
    }
    if (allow.empty()) {
      return Problem(ProblemType::kNotFound,
                     "There is nothing at this path. The API begins with /admin/v1.");
    }
    AdminResponse response =
        Problem(ProblemType::kMethodNotAllowed, "This resource knows: " + allow + ".");
    response.headers = "allow: " + allow + "\r\n";
    return response;
  }
};

AdminApi::AdminApi(AdminPorts ports, std::string token_hash, std::vector<std::string> hosts)
    : state_(std::make_unique<State>(State{.ports = std::move(ports),
                                           .token_hash = std::move(token_hash),
                                           .hosts = std::move(hosts)})) {}

AdminApi::~AdminApi() = default;

AdminResponse AdminApi::Handle(const AdminRequest& request) {
  AdminResponse response = state_->Answer(request);
  // Secrets pass here once; no cache may keep them, and nothing here is for another site's page.
  response.headers +=
      "cache-control: no-store\r\n"
      "x-content-type-options: nosniff\r\n"
      "referrer-policy: no-referrer\r\n"
      "cross-origin-resource-policy: same-origin\r\n";
  return response;
}

}  // namespace weir::admin
