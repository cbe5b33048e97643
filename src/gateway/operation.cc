#include "gateway/operation.h"

#include <array>

namespace weir::gateway {
namespace {

using dialect::Dialect;

struct Route {
  std::string_view method;
  std::string_view path;  // behind /v1
  Operation operation;
};

constexpr std::array kRoutes = {
    Route{"GET", "/models", {.kind = OperationKind::kListModels, .name = "list_models"}},
    Route{"POST",
          "/responses",
          {.kind = OperationKind::kGenerate,
           .name = "responses",
           .dialect = Dialect::kOpenAiResponses,
           .upstream_path = "/responses",
           .capability = config::kCapResponses,
           .may_stream = true}},
    Route{"GET", "/responses", {.kind = OperationKind::kSocket, .name = "responses_socket"}},
    Route{"POST",
          "/responses/input_tokens",
          {.kind = OperationKind::kCountTokens,
           .name = "responses_input_tokens",
           .dialect = Dialect::kOpenAiResponses,
           .upstream_path = "/responses/input_tokens",
           .capability = config::kCapResponses}},
    Route{"POST",
          "/responses/compact",
          {.kind = OperationKind::kGenerate,
           .name = "responses_compact",
           .dialect = Dialect::kOpenAiResponses,
           .upstream_path = "/responses/compact",
           .capability = config::kCapResponses}},
    Route{"POST",
          "/chat/completions",
          {.kind = OperationKind::kGenerate,
           .name = "chat_completions",
           .dialect = Dialect::kOpenAiChat,
           .upstream_path = "/chat/completions",
           .capability = config::kCapChat,
           .may_stream = true}},
};

constexpr std::string_view kModelPath = "/models/";

}  // namespace

std::expected<Operation, Refusal> FindOperation(const RequestHead& head, std::string_view& allow) {
  std::string_view path = head.path;
  if (path.starts_with("/openai/")) path.remove_prefix(std::string_view("/openai").size());
  if (!path.starts_with("/v1/")) return std::unexpected(Refusal::kUnknownPath);
  path.remove_prefix(std::string_view("/v1").size());
  // HEAD is GET without the body (RFC 9110 section 9.3.2); the adapter leaves the body out.
  const std::string_view method = head.method == "HEAD" ? std::string_view("GET") : head.method;

  bool known = false;
  for (const auto& route : kRoutes) {
    if (route.path != path) continue;
    if (route.method == method) {
      if (route.operation.kind != OperationKind::kSocket) return route.operation;
      // Codex asks for a WebSocket first. 426 makes it fall back to POST at once; any other status
      // costs it seconds (wire.md section 0, point 2).
      if (!head.Find("upgrade").empty()) return std::unexpected(Refusal::kUpgradeRefused);
    }
    if (route.operation.kind == OperationKind::kSocket) continue;
    known = true;
    allow = route.method == "GET" ? "GET, HEAD" : route.method;
  }
  if (known) return std::unexpected(Refusal::kMethodNotAllowed);

  if (path.starts_with(kModelPath) && path.size() > kModelPath.size()) {
    if (method != "GET") {
      allow = "GET, HEAD";
      return std::unexpected(Refusal::kMethodNotAllowed);
    }
    return Operation{.kind = OperationKind::kGetModel,
                     .name = "get_model",
                     .model = path.substr(kModelPath.size())};
  }
  return std::unexpected(Refusal::kUnknownPath);
}

}  // namespace weir::gateway
