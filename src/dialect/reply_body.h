// The bodies of our own refusals in the caller's dialect, and the event that ends a stream which
// cannot go on. Texts and statuses come from base/error_list.h; the shapes from the vendors' pages,
// and from QuotaFlow's page where that page gives a body letter for letter.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error_list.h"
#include "base/time.h"
#include "dialect/dialect.h"

namespace weir::dialect {

// How errors look is decided by the path the caller used, also where no request was read yet.
enum class ErrorShape : std::uint8_t {
  kOpenAi,           // {"error":{"message","type","param","code"}}
  kOpenAiQuotaFlow,  // the same under /openai/, where a missing key has a body of its own
  kAnthropic,        // {"type":"error","error":{"type","message"},"request_id"}
  kGemini,           // {"error":{"code","message","status"}}
};

// The shape for a path without its query: /openai/... , /v1/messages..., /v1beta/... ; else OpenAI.
ErrorShape ShapeOfPath(std::string_view path);

// What a refusal may say besides the standard text. Empty members are left out.
struct RefusalDetail {
  std::string_view message = {};  // instead of the standard message
  std::string_view param = {};    // the member at fault
  std::string_view hint = {};     // what to do about it, one sentence
  std::string_view docs_url = {};
  std::string_view request_id = {};
  std::string_view policy = {};            // the name of the rule that refused
  std::string_view owner = {};             // who answers for it
  std::string_view resets_at = {};         // when it has room again, as RFC 3339 writes it
  std::optional<Duration> resets_in = {};  // usage_limit_reached: rounded up to seconds
};

// A whole JSON body. Three OpenAI bodies are exactly what QuotaFlow's page shows and take no
// details: a missing key under /openai/, an invalid key, a missing permission.
std::string RefusalBody(ErrorShape shape, Refusal refusal, const RefusalDetail& detail);

// The event that tells a reader that the stream broke, whole with its blank line. Never followed by
// a terminal event or [DONE]: a cut must not look like an end. `sequence_number` is for Responses,
// where every event has one. Gemini has no error event; its streams get a data chunk with `error`.
std::string StreamErrorEvent(Dialect dialect, Refusal refusal, std::string_view message,
                             std::int64_t sequence_number = 0);

// What x-should-retry says, which the OpenAI and Anthropic SDKs obey before anything else: false
// for money (402), for what will be refused again (400, 401, 403, 404, ...) and for a used-up
// usage window; nothing where the SDK's own rule for 408, 429 and 5xx is right.
std::optional<bool> ShouldRetry(Refusal refusal);

// Gemini's status word for an HTTP status ("RESOURCE_EXHAUSTED"), and Anthropic's error type.
std::string_view GeminiStatus(int http_status);
std::string_view AnthropicType(int http_status);

}  // namespace weir::dialect
