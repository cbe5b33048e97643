// Errors of the admin API: RFC 9457 problem details. The types are a closed list; api/openapi.yaml
// names them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "admin/admin_api.h"
#include "base/result.h"

namespace weir::admin {

enum class ProblemType : std::uint8_t {
  kUnauthorized,
  kTooManyFailures,
  kForeignRequest,
  kForbidden,
  kNotFound,
  kMethodNotAllowed,
  kUnsupportedMediaType,
  kTooLarge,
  kInvalidJson,
  kInvalidRequest,
  kConflict,
  kUnavailable,
};

// One thing wrong with a request: a member of the body (`pointer`, RFC 6901) or of the query
// (`parameter`).
struct FieldError {
  std::string pointer;
  std::string parameter;
  std::string detail;
};

// The `type` of a problem: "urn:weir:problem:invalid-request".
std::string ProblemUri(ProblemType type);

// `detail` says in one sentence what was wrong with this request and how to put it right.
AdminResponse Problem(ProblemType type, std::string_view detail,
                      std::span<const FieldError> errors = {});

// The response to a body or a query with these things wrong.
AdminResponse InvalidBody(std::span<const FieldError> errors);

// A failure of a store.
AdminResponse Problem(const Error& error);

}  // namespace weir::admin
