// What a handler gets and may use. Private to this folder.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "admin/admin_api.h"
#include "admin/problem.h"
#include "base/id.h"
#include "store/operator_store.h"

namespace weir::admin {

struct Call {
  const AdminRequest& request;
  const AdminPorts& ports;
  std::string_view id;  // the {id} of the path, not checked
  Instant now;
  std::string_view actor;  // the operator who calls; empty for what is open
  store::Role role = store::Role::kViewer;
};

inline constexpr std::string_view kKeyIdPrefix = "key_";
inline constexpr std::string_view kRequestIdPrefix = "req_";

// "key_01J..." or the bare 26 characters; none when it is neither.
std::optional<KeyId> ParseKeyId(std::string_view text);
std::optional<RequestId> ParseRequestId(std::string_view text);
std::string KeyIdText(const KeyId& id);
std::string RequestIdText(const RequestId& id);

// The holder of the admin token, among the names of operators.
inline constexpr std::string_view kFileOperator = "admin";

// A 200 (or `status`) with a JSON body.
AdminResponse JsonResponse(std::string body, int status = 200);

// A list may be this long; more is asked for with the cursor.
inline constexpr std::int64_t kPageMax = 1000;
inline constexpr std::int64_t kPageDefault = 50;

}  // namespace weir::admin
