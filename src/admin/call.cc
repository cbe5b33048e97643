#include "admin/call.h"

namespace weir::admin {

namespace {

std::optional<Id128> ParsePrefixed(std::string_view prefix, std::string_view text) {
  if (text.starts_with(prefix)) text.remove_prefix(prefix.size());
  return ParseId(text);
}

}  // namespace

std::optional<KeyId> ParseKeyId(std::string_view text) {
  const auto id = ParsePrefixed(kKeyIdPrefix, text);
  return id ? std::optional(KeyId{*id}) : std::nullopt;
}

std::optional<RequestId> ParseRequestId(std::string_view text) {
  const auto id = ParsePrefixed(kRequestIdPrefix, text);
  return id ? std::optional(RequestId{*id}) : std::nullopt;
}

std::string KeyIdText(const KeyId& id) { return std::string(kKeyIdPrefix) + ToString(id); }

std::string RequestIdText(const RequestId& id) {
  return std::string(kRequestIdPrefix) + ToString(id);
}

AdminResponse JsonResponse(std::string body, int status) {
  AdminResponse response;
  response.status = status;
  response.body = std::move(body);
  return response;
}

}  // namespace weir::admin
