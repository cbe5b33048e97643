#include "admin/problem.h"

#include <fmt/format.h>

#include <array>

#include "admin/json_writer.h"

namespace weir::admin {

namespace {

struct Text {
  ProblemType type;
  int status;
  std::string_view slug;
  std::string_view title;
};

constexpr std::array kTexts = {
    Text{ProblemType::kUnauthorized, 401, "unauthorized", "The admin token is missing or wrong"},
    Text{ProblemType::kTooManyFailures, 429, "too-many-failures", "Too many wrong admin tokens"},
    Text{ProblemType::kForeignRequest, 403, "foreign-request",
         "The request comes from another site"},
    Text{ProblemType::kForbidden, 403, "forbidden", "Your role may not do this"},
    Text{ProblemType::kNotFound, 404, "not-found", "There is no such resource"},
    Text{ProblemType::kMethodNotAllowed, 405, "method-not-allowed",
         "The resource does not know this method"},
    Text{ProblemType::kUnsupportedMediaType, 415, "unsupported-media-type",
         "The body must be application/json"},
    Text{ProblemType::kTooLarge, 413, "too-large", "The body is too large"},
    Text{ProblemType::kInvalidJson, 400, "invalid-json", "The body is not valid JSON"},
    Text{ProblemType::kInvalidRequest, 422, "invalid-request", "The request is not valid"},
    Text{ProblemType::kConflict, 409, "conflict", "The request does not fit the present state"},
    Text{ProblemType::kUnavailable, 503, "unavailable", "A part of the gateway is not working"},
};

const Text& TextOf(ProblemType type) {
  for (const Text& text : kTexts) {
    if (text.type == type) return text;
  }
  return kTexts.back();
}

}  // namespace

std::string ProblemUri(ProblemType type) {
  return "urn:weir:problem:" + std::string(TextOf(type).slug);
}

AdminResponse Problem(ProblemType type, std::string_view detail,
                      std::span<const FieldError> errors) {
  const Text& text = TextOf(type);
  JsonWriter json;
  json.Open('{')
      .Text("type", ProblemUri(type))
      .Text("title", text.title)
      .Number("status", text.status)
      .Text("detail", detail);
  if (!errors.empty()) {
    json.Open("errors", '[');
    for (const FieldError& error : errors) {
      json.Open('{').Text("detail", error.detail);
      if (error.parameter.empty()) {
        json.Text("pointer", error.pointer);
      } else {
        json.Text("parameter", error.parameter);
      }
      json.Close('}');
    }
    json.Close(']');
  }
  json.Close('}');
  AdminResponse response;
  response.status = text.status;
  response.content_type = "application/problem+json";
  response.body = json.Take();
  return response;
}

AdminResponse InvalidBody(std::span<const FieldError> errors) {
  return Problem(ProblemType::kInvalidRequest,
                 fmt::format("{} {} wrong; see errors. Nothing was changed.", errors.size(),
                             errors.size() == 1 ? "thing is" : "things are"),
                 errors);
}

AdminResponse Problem(const Error& error) {
  switch (error.code) {
    case ErrorCode::kNotFound:
      return Problem(ProblemType::kNotFound, error.detail);
    case ErrorCode::kConflict:
      return Problem(ProblemType::kConflict, error.detail);
    case ErrorCode::kTooLarge:
      return Problem(ProblemType::kTooLarge, error.detail);
    default: {
      AdminResponse response = Problem(ProblemType::kUnavailable, error.detail);
      response.headers = "retry-after: 1\r\n";
      return response;
    }
  }
}

AdminResponse BodyTooLarge() {
  return Problem(ProblemType::kTooLarge,
                 "The body is larger than " + std::to_string(kBodyBytesMax) + " bytes.");
}

}  // namespace weir::admin
