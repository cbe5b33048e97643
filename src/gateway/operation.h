// What a path and a method ask for. One table; a new endpoint is one line in it.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "base/error_list.h"
#include "dialect/dialect.h"
#include "dialect/reply_body.h"
#include "gateway/ports.h"

namespace weir::gateway {

enum class OperationKind : std::uint8_t {
  kListModels,
  kGetModel,
  kGetRequest,
  kBalance,
  kStatement,
  kRedeem,
  kAskApproval,
  kGetApproval,
  kLimits,
  kGetAction,
  kTellOutcome,
  kGenerate,     // forwarded, metered, charged
  kCountTokens,  // forwarded, never charged: it generates nothing
  kSocket,       // the WebSocket transport of /responses
};

enum class BodyKind : std::uint8_t {
  kJson,
  kForm,  // multipart/form-data; it goes upstream as it is, but for the model's name
};

struct Operation {
  OperationKind kind = OperationKind::kGenerate;
  std::string_view name;  // in logs and metrics
  dialect::Dialect dialect = dialect::Dialect::kOpenAiResponses;
  std::string_view upstream_path;  // behind the upstream's base path
  std::uint32_t capability = 0;    // the model needs it
  bool may_stream = false;         // it generates; `stream` in the body means an event stream
  bool streams = false;            // an event stream whatever the body says (Gemini's verb)
  BodyKind body = BodyKind::kJson;
  // kGetModel, Gemini, and kGetRequest, kGetApproval, kGetAction and kTellOutcome, where it is an
  // id: as the path has it, percent escapes and all.
  std::string_view model;
  std::string_view verb;  // Gemini: behind the model's colon
};

// The API family of an operation: the permission a key needs for it, and what its upstream speaks.
std::string_view FamilyPermission(dialect::Dialect dialect);
bool Speaks(config::UpstreamKind kind, dialect::Dialect dialect);

// A segment of a path or a value of a query as what it stands for, decoded once. Nothing when an
// escape is broken or it stands for a control character.
std::optional<std::string> Unescaped(std::string_view text);

// The operation, or kUnknownPath, kMethodNotAllowed, kUpgradeRefused.
//   allow   set with kMethodNotAllowed: the value of the Allow header.
std::expected<Operation, Refusal> FindOperation(const RequestHead& head, std::string_view& allow);

}  // namespace weir::gateway
