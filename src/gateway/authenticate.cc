#include "gateway/pipeline.h"

namespace weir::gateway {

std::expected<identity::Principal, RefusalReason> Authenticate(const Snapshot& snapshot,
                                                               const RequestHead& head,
                                                               const Operation& operation,
                                                               Instant now) {
  identity::PresentedHeaders presented;
  for (const auto& [name, value] : head.headers) {
    // By length first: nearly every header is told apart by it.
    switch (name.size()) {
      case 7:
        if (EqualsIgnoreCase(name, "api-key")) presented.api_key = value;
        break;
      case 9:
        if (EqualsIgnoreCase(name, "x-api-key")) presented.x_api_key = value;
        break;
      case 13:
        if (EqualsIgnoreCase(name, "authorization")) presented.authorization = value;
        break;
      case 14:
        if (EqualsIgnoreCase(name, "x-goog-api-key")) presented.x_goog_api_key = value;
        break;
      default:
        break;
    }
  }
  presented.query = head.query;
  std::string scratch;
  const std::string_view key = identity::ExtractKey(presented, scratch);
  auto principal = identity::Authenticate(*snapshot.keys, *snapshot.pepper, key,
                                          snapshot.config->environment, now);
  if (!principal) return std::unexpected(RefusalReason{.refusal = principal.error()});
  // A key without the permission may still list models: that is how its owner finds out.
  const bool generates =
      operation.kind == OperationKind::kGenerate || operation.kind == OperationKind::kCountTokens;
  if (generates && !identity::HasPermission(*principal->key, FamilyPermission(operation.dialect))) {
    return std::unexpected(RefusalReason{.refusal = Refusal::kPermissionDenied});
  }
  return std::move(*principal);
}

}  // namespace weir::gateway
