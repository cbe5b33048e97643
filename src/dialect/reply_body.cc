#include "dialect/reply_body.h"

#include <fmt/format.h>

#include "dialect/json_edit.h"

namespace weir::dialect {
namespace {

// ,"name":"value" unless the value is empty.
void AddText(std::string& out, std::string_view name, std::string_view value) {
  if (value.empty()) return;
  out += fmt::format(",\"{}\":", name);
  AppendJsonString(out, value);
}

// ,"name":"value" or ,"name":null: for the members a client expects to be there.
void AddTextOrNull(std::string& out, std::string_view name, std::string_view value) {
  out += fmt::format(",\"{}\":", name);
  if (value.empty()) {
    out += "null";
  } else {
    AppendJsonString(out, value);
  }
}

std::string_view MessageOf(Refusal refusal, std::string_view message) {
  return message.empty() ? TextOf(refusal).message : message;
}

std::string OpenAiBody(Refusal refusal, const RefusalDetail& detail) {
  const RefusalText& text = TextOf(refusal);
  // The two bodies QuotaFlow's page shows without more; clients compare them whole.
  if (refusal == Refusal::kInvalidApiKey) {
    return R"({"error":{"message":"Invalid API key","type":"authentication_error"}})";
  }
  if (refusal == Refusal::kPermissionDenied) {
    return R"({"error":{"message":"This API key does not have permission to access OpenAI",)"
           R"("type":"permission_denied","code":"permission_denied"}})";
  }
  std::string body = "{\"error\":{\"message\":";
  AppendJsonString(body, MessageOf(refusal, detail.message));
  AddTextOrNull(body, "type", text.type);
  AddTextOrNull(body, "param", detail.param);
  AddTextOrNull(body, "code", text.code);
  if (detail.resets_in) {
    body += fmt::format(",\"resets_in_seconds\":{}", CeilSeconds(*detail.resets_in));
  }
  AddText(body, "resets_at", detail.resets_at);
  AddText(body, "policy", detail.policy);
  AddText(body, "owner", detail.owner);
  AddText(body, "hint", detail.hint);
  AddText(body, "docs_url", detail.docs_url);
  AddText(body, "request_id", detail.request_id);
  body += "}}";
  return body;
}

}  // namespace

ErrorShape ShapeOfPath(std::string_view path) {
  const auto under = [path](std::string_view folder) {
    return path.starts_with(folder) && (path.size() == folder.size() ||
                                        path[folder.size()] == '/' || path[folder.size()] == ':');
  };
  if (under("/openai")) return ErrorShape::kOpenAiQuotaFlow;
  if (under("/v1/messages")) return ErrorShape::kAnthropic;
  if (under("/v1beta")) return ErrorShape::kGemini;
  // Newer Gemini SDKs call /v1/models/X:generateContent; OpenAI's /v1/models/X has no verb.
  if (path.starts_with("/v1/models/")) {
    const auto colon = path.rfind(':');
    if (colon != std::string_view::npos) {
      const std::string_view verb = path.substr(colon + 1);
      for (const std::string_view known : {"generateContent", "streamGenerateContent",
                                           "countTokens", "embedContent", "batchEmbedContents"}) {
        if (verb == known) return ErrorShape::kGemini;
      }
    }
  }
  return ErrorShape::kOpenAi;
}

std::string_view GeminiStatus(int http_status) {
  switch (http_status) {
    case 400:
      return "INVALID_ARGUMENT";
    case 401:
      return "UNAUTHENTICATED";
    case 402:
    case 429:
      return "RESOURCE_EXHAUSTED";
    case 403:
      return "PERMISSION_DENIED";
    case 404:
      return "NOT_FOUND";
    case 409:
      return "ABORTED";
    case 499:
      return "CANCELLED";
    case 503:
      return "UNAVAILABLE";
    case 504:
      return "DEADLINE_EXCEEDED";
    default:
      return http_status >= 500 ? "INTERNAL" : "INVALID_ARGUMENT";
  }
}

std::string_view AnthropicType(int http_status) {
  switch (http_status) {
    case 401:
      return "authentication_error";
    case 402:
      return "billing_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 409:
      return "conflict_error";
    case 413:
      return "request_too_large";
    case 429:
      return "rate_limit_error";
    case 503:
    case 529:
      return "overloaded_error";
    case 504:
      return "timeout_error";
    default:
      return http_status >= 500 ? "api_error" : "invalid_request_error";
  }
}

std::string RefusalBody(ErrorShape shape, Refusal refusal, const RefusalDetail& detail) {
  const RefusalText& text = TextOf(refusal);
  switch (shape) {
    case ErrorShape::kOpenAiQuotaFlow:
      if (refusal == Refusal::kMissingApiKey) {
        return R"({"error":"Missing API key","message":"Please provide an API key in the )"
               R"(x-api-key, x-goog-api-key, or Authorization header"})";
      }
      return OpenAiBody(refusal, detail);
    case ErrorShape::kOpenAi:
      return OpenAiBody(refusal, detail);
    case ErrorShape::kAnthropic: {
      const std::string_view message =
          refusal == Refusal::kPermissionDenied && detail.message.empty()
              ? "This API key does not have permission to access Anthropic"
              : MessageOf(refusal, detail.message);
      std::string body = "{\"type\":\"error\",\"error\":{\"type\":";
      AppendJsonString(body, AnthropicType(text.status));
      body += ",\"message\":";
      AppendJsonString(body, message);
      if (!text.code.empty()) {
        body += ",\"details\":{\"error_code\":";
        AppendJsonString(body, text.code);
        body += '}';
      }
      body += '}';
      AddText(body, "request_id", detail.request_id);
      body += '}';
      return body;
    }
    case ErrorShape::kGemini: {
      const std::string_view message =
          refusal == Refusal::kPermissionDenied && detail.message.empty()
              ? "This API key does not have permission to access Gemini"
              : MessageOf(refusal, detail.message);
      std::string body = fmt::format("{{\"error\":{{\"code\":{},\"message\":", text.status);
      AppendJsonString(body, message);
      AddText(body, "status", GeminiStatus(text.status));
      body += "}}";
      return body;
    }
  }
  return OpenAiBody(refusal, detail);
}

std::string StreamErrorEvent(Dialect dialect, Refusal refusal, std::string_view message,
                             std::int64_t sequence_number) {
  const RefusalText& text = TextOf(refusal);
  const RefusalDetail detail{.message = message};
  switch (dialect) {
    case Dialect::kOpenAiResponses: {
      // Flat, unlike the error of an HTTP reply (OpenAI's openapi.json 2.3.0, ResponseErrorEvent).
      std::string event = "event: error\ndata: {\"type\":\"error\"";
      AddTextOrNull(event, "code", text.code);
      event += ",\"message\":";
      AppendJsonString(event, MessageOf(refusal, message));
      event += fmt::format(",\"param\":null,\"sequence_number\":{}}}\n\n", sequence_number);
      return event;
    }
    case Dialect::kOpenAiChat:
    case Dialect::kOpenAiTranscription: {
      std::string event = "data: {\"error\":{\"message\":";
      AppendJsonString(event, MessageOf(refusal, message));
      AddTextOrNull(event, "type", text.type);
      event += ",\"param\":null";
      AddTextOrNull(event, "code", text.code);
      event += "}}\n\n";
      return event;
    }
    case Dialect::kAnthropicMessages:
      return "event: error\ndata: " + RefusalBody(ErrorShape::kAnthropic, refusal, detail) + "\n\n";
    case Dialect::kGeminiGenerate:
      return "data: " + RefusalBody(ErrorShape::kGemini, refusal, detail) + "\n\n";
  }
  return {};
}

std::optional<bool> ShouldRetry(Refusal refusal) {
  // The first request of the key runs still; asked again its reply is there.
  if (refusal == Refusal::kIdempotencyKeyInUse) return true;
  switch (TextOf(refusal).status) {
    case 408:  // the body did not arrive: the same request may well arrive next time
    case 429:
    case 500:
    case 502:
    case 503:
    case 504:
      break;
    default:
      return false;
  }
  // An operator or hours must pass; a client that retries only waits longer for the same answer.
  if (refusal == Refusal::kModelUnpriced || refusal == Refusal::kUsageLimitReached ||
      refusal == Refusal::kUpstreamRejectedUs || refusal == Refusal::kQuotaExceeded ||
      refusal == Refusal::kPolicyBudgetLater || refusal == Refusal::kAttemptsExhausted) {
    return false;
  }
  return std::nullopt;
}

}  // namespace weir::dialect
