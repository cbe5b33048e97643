#include "gateway/operation.h"

#include <algorithm>
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
    Route{"GET", "/balance", {.kind = OperationKind::kBalance, .name = "balance"}},
    Route{"GET", "/balance/statement", {.kind = OperationKind::kStatement, .name = "statement"}},
    Route{"POST", "/redeem", {.kind = OperationKind::kRedeem, .name = "redeem"}},
    Route{"POST", "/approvals", {.kind = OperationKind::kAskApproval, .name = "ask_approval"}},
    Route{"GET", "/limits", {.kind = OperationKind::kLimits, .name = "limits"}},
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
    Route{"POST",
          "/audio/transcriptions",
          {.kind = OperationKind::kGenerate,
           .name = "audio_transcriptions",
           .dialect = Dialect::kOpenAiTranscription,
           .upstream_path = "/audio/transcriptions",
           .capability = config::kCapTranscription,
           .may_stream = true,
           .body = BodyKind::kForm}},
    Route{"POST",
          "/messages",
          {.kind = OperationKind::kGenerate,
           .name = "messages",
           .dialect = Dialect::kAnthropicMessages,
           .upstream_path = "/messages",
           .capability = config::kCapMessages,
           .may_stream = true}},
    Route{"POST",
          "/messages/count_tokens",
          {.kind = OperationKind::kCountTokens,
           .name = "messages_count_tokens",
           .dialect = Dialect::kAnthropicMessages,
           .upstream_path = "/messages/count_tokens",
           .capability = config::kCapMessages}},
};

// Gemini's calls are verbs behind the last colon of /models/{model}:{verb}.
constexpr std::array kVerbs = {
    Operation{.kind = OperationKind::kGenerate,
              .name = "generate_content",
              .dialect = Dialect::kGeminiGenerate,
              .capability = config::kCapGenerateContent,
              .may_stream = true,
              .verb = "generateContent"},
    Operation{.kind = OperationKind::kGenerate,
              .name = "generate_content",
              .dialect = Dialect::kGeminiGenerate,
              .capability = config::kCapGenerateContent,
              .may_stream = true,
              .streams = true,
              .verb = "streamGenerateContent"},
    Operation{.kind = OperationKind::kCountTokens,
              .name = "gemini_count_tokens",
              .dialect = Dialect::kGeminiGenerate,
              .capability = config::kCapGenerateContent,
              .verb = "countTokens"},
};

constexpr std::string_view kModelPath = "/models/";
constexpr std::string_view kRequestPath = "/requests/";
constexpr std::string_view kApprovalPath = "/approvals/";
constexpr std::string_view kActionPath = "/actions/";
constexpr std::string_view kOutcome = "/outcome";

// The verb of a path that begins with kModelPath, or null. A model's own name may have colons.
const Operation* FindVerb(std::string_view path) {
  if (!path.starts_with(kModelPath)) return nullptr;
  const auto colon = path.rfind(':');
  if (colon == std::string_view::npos || colon <= kModelPath.size()) return nullptr;
  const std::string_view verb = path.substr(colon + 1);
  for (const auto& known : kVerbs) {
    if (known.verb == verb) return &known;
  }
  return nullptr;
}

}  // namespace

std::optional<std::string> Unescaped(std::string_view text) {
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
  };
  std::string decoded;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      if (i + 2 >= text.size()) return std::nullopt;
      const int high = digit(text[i + 1]);
      const int low = digit(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      c = static_cast<char>(high * 16 + low);
      i += 2;
    }
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F) return std::nullopt;
    decoded += c;
  }
  return decoded;
}

std::string_view FamilyPermission(Dialect dialect) {
  switch (dialect) {
    case Dialect::kOpenAiResponses:
    case Dialect::kOpenAiChat:
    case Dialect::kOpenAiTranscription:
      return "openai";
    case Dialect::kAnthropicMessages:
      return "anthropic";
    case Dialect::kGeminiGenerate:
      return "gemini";
  }
  return "openai";
}

bool Speaks(config::UpstreamKind kind, Dialect dialect) {
  switch (kind) {
    case config::UpstreamKind::kSandbox:
    case config::UpstreamKind::kOpenAi:
      return dialect::IsOpenAi(dialect);
    case config::UpstreamKind::kAnthropic:
      return dialect == Dialect::kAnthropicMessages;
    case config::UpstreamKind::kGemini:
      return dialect == Dialect::kGeminiGenerate;
  }
  return false;
}

std::expected<Operation, Refusal> FindOperation(const RequestHead& head, std::string_view& allow) {
  std::string_view path = head.path;
  const bool openai_only = path.starts_with("/openai/");
  if (openai_only) path.remove_prefix(std::string_view("/openai").size());
  const bool gemini_only = !openai_only && path.starts_with("/v1beta/");
  if (!gemini_only && !path.starts_with("/v1/")) return std::unexpected(Refusal::kUnknownPath);
  path.remove_prefix(std::string_view(gemini_only ? "/v1beta" : "/v1").size());
  // HEAD is GET without the body (RFC 9110 section 9.3.2); the adapter leaves the body out.
  const std::string_view method = head.method == "HEAD" ? std::string_view("GET") : head.method;

  if (const Operation* verb = openai_only ? nullptr : FindVerb(path)) {
    if (method != "POST") {
      allow = "POST";
      return std::unexpected(Refusal::kMethodNotAllowed);
    }
    Operation operation = *verb;
    path.remove_prefix(kModelPath.size());
    operation.model = path.substr(0, path.size() - verb->verb.size() - 1);
    return operation;
  }
  if (gemini_only) return std::unexpected(Refusal::kUnknownPath);

  bool known = false;
  for (const auto& route : kRoutes) {
    if (route.path != path) continue;
    if (openai_only && !dialect::IsOpenAi(route.operation.dialect)) continue;
    if (route.method == method) {
      if (route.operation.kind != OperationKind::kSocket) return route.operation;
      // Codex asks for a WebSocket first. 426 makes it fall back to POST at once; any other status
      // costs it seconds.
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
  if (path.starts_with(kRequestPath) && path.size() > kRequestPath.size()) {
    if (method != "GET") {
      allow = "GET, HEAD";
      return std::unexpected(Refusal::kMethodNotAllowed);
    }
    return Operation{.kind = OperationKind::kGetRequest,
                     .name = "get_request",
                     .model = path.substr(kRequestPath.size())};
  }
  if (path.starts_with(kApprovalPath) && path.size() > kApprovalPath.size()) {
    if (method != "GET") {
      allow = "GET, HEAD";
      return std::unexpected(Refusal::kMethodNotAllowed);
    }
    return Operation{.kind = OperationKind::kGetApproval,
                     .name = "get_approval",
                     .model = path.substr(kApprovalPath.size())};
  }
  if (path.starts_with(kActionPath) && path.size() > kActionPath.size()) {
    // An id of an action has its '/' escaped, so what stands behind one is ours.
    std::string_view id = path.substr(kActionPath.size());
    const std::size_t slash = std::min(id.find('/'), id.size());
    const std::string_view rest = id.substr(slash);
    id = id.substr(0, slash);
    if (id.empty() || (!rest.empty() && rest != kOutcome)) {
      return std::unexpected(Refusal::kUnknownPath);
    }
    const bool tells = !rest.empty();
    if (method != (tells ? "POST" : "GET")) {
      allow = tells ? "POST" : "GET, HEAD";
      return std::unexpected(Refusal::kMethodNotAllowed);
    }
    return Operation{.kind = tells ? OperationKind::kTellOutcome : OperationKind::kGetAction,
                     .name = tells ? "tell_outcome" : "get_action",
                     .model = id};
  }
  return std::unexpected(Refusal::kUnknownPath);
}

}  // namespace weir::gateway
