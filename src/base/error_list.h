// Every refusal a caller can meet: one line each, and the only place that knows its status, type,
// code and standard message. dialect/reply_body writes them in the caller's dialect.
//
// Statuses follow one rule: 402 is money and never worth a retry, 429 is "later" and always has
// Retry-After, 403 is permission, 503 is "we have no capacity" and has Retry-After too.
// Messages given by a seed document are kept letter for letter. LangChain treats the words billing,
// quota and "credit balance" in a 429 as final, so rate-limit messages avoid them.
//
// The order within a group is the order in which checks win. Values are never renumbered: they are
// in the request log.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace weir {

// name, value, status, type, code ("" = null), message
#define WEIR_REFUSALS(X)                                                                         \
  X(kNone, 0, 200, "", "", "")                                                                   \
  X(kMissingApiKey, 1, 401, "authentication_error", "invalid_api_key",                           \
    "Please provide an API key in the x-api-key, x-goog-api-key, or Authorization header")       \
  X(kInvalidApiKey, 2, 401, "authentication_error", "", "Invalid API key")                       \
  X(kPermissionDenied, 3, 403, "permission_denied", "permission_denied",                         \
    "This API key does not have permission to access OpenAI")                                    \
  X(kUnknownPath, 10, 404, "invalid_request_error", "unknown_url",                               \
    "Unknown request URL. Check the path and the API version")                                   \
  X(kMethodNotAllowed, 11, 405, "invalid_request_error", "method_not_allowed",                   \
    "This method is not allowed for this URL")                                                   \
  X(kUpgradeRefused, 12, 426, "invalid_request_error", "upgrade_not_supported",                  \
    "WebSocket transport is not available here; send POST /responses")                           \
  X(kUnsupportedMediaType, 13, 415, "invalid_request_error", "unsupported_media_type",           \
    "The request body must be application/json")                                                 \
  X(kBodyTooLarge, 14, 413, "invalid_request_error", "request_too_large",                        \
    "The request body is larger than this gateway accepts")                                      \
  X(kInvalidJson, 15, 400, "invalid_request_error", "invalid_json",                              \
    "The request body is not valid JSON")                                                        \
  X(kInvalidRequest, 16, 400, "invalid_request_error", "invalid_request",                        \
    "The request is not valid")                                                                  \
  X(kModelNotFound, 17, 404, "invalid_request_error", "model_not_found",                         \
    "The model does not exist or this API key may not use it")                                   \
  X(kModelUnpriced, 18, 503, "server_error", "model_unpriced",                                   \
    "The model has no price yet, so it is not served")                                           \
  X(kRequestTimeout, 19, 408, "invalid_request_error", "request_timeout",                        \
    "The request body did not arrive in time")                                                   \
  X(kIdempotencyKeyInUse, 20, 409, "invalid_request_error", "idempotency_key_in_use",            \
    "A request with this Idempotency-Key is in progress")                                        \
  X(kIdempotencyKeyReused, 21, 422, "invalid_request_error", "idempotency_key_reused",           \
    "This Idempotency-Key was used with another request")                                        \
  X(kResponseNotStored, 22, 409, "invalid_request_error", "response_not_stored",                 \
    "The request with this Idempotency-Key has run, and its reply was not kept")                 \
  X(kRequestNotFound, 23, 404, "invalid_request_error", "request_not_found",                     \
    "There is no request with this id of this API key")                                          \
  X(kCodeNotValid, 24, 400, "invalid_request_error", "code_not_valid", "This code is not valid") \
  X(kCodeRedeemed, 25, 409, "invalid_request_error", "code_already_redeemed",                    \
    "This code was redeemed already")                                                            \
  X(kNoWallet, 26, 409, "invalid_request_error", "no_wallet",                                    \
    "This API key has no wallet that this can go to")                                            \
  X(kMetadataRefused, 27, 400, "invalid_request_error", "metadata_not_allowed",                  \
    "This API key may not say this of its requests")                                             \
  X(kActionNotFound, 28, 404, "invalid_request_error", "action_not_found",                       \
    "There is no action with this id of this API key")                                           \
  X(kConcurrencyLimit, 30, 429, "rate_limit_error", "concurrency_limit_exceeded",                \
    "Too many requests of this API key are in progress")                                         \
  X(kRateLimitRequests, 31, 429, "rate_limit_error", "rate_limit_exceeded",                      \
    "Too many requests per minute for this API key")                                             \
  X(kRateLimitTokens, 32, 429, "rate_limit_error", "rate_limit_exceeded",                        \
    "Too many tokens per minute for this API key")                                               \
  X(kTooManyCodes, 33, 429, "rate_limit_error", "rate_limit_exceeded",                           \
    "Too many codes that are not valid were tried")                                              \
  X(kRequestExceedsBudget, 40, 402, "billing_error", "request_exceeds_budget",                   \
    "This request can cost more than the budget of this API key allows")                         \
  X(kInFlightReserved, 41, 429, "rate_limit_error", "in_flight_reserved",                        \
    "The rest of the budget is reserved by requests in progress")                                \
  X(kBudgetExceeded, 42, 402, "billing_error", "budget_exceeded",                                \
    "The budget of this API key is used up")                                                     \
  X(kInsufficientBalance, 43, 402, "billing_error", "insufficient_balance",                      \
    "Your balance is too low for this route.")                                                   \
  X(kQuotaExceeded, 44, 429, "quota_exceeded", "quota_exceeded",                                 \
    "A quota policy has no room for this request until its window ends")                         \
  X(kPolicyBudgetExceeded, 45, 402, "billing_error", "budget_exceeded",                          \
    "The budget of a quota policy is used up")                                                   \
  X(kRequestExceedsLimit, 46, 400, "invalid_request_error", "request_exceeds_limit",             \
    "This request is larger than a quota policy allows")                                         \
  X(kApprovalRequired, 47, 403, "approval_required", "approval_required",                        \
    "This request needs an approval that it does not have")                                      \
  X(kPolicyInFlight, 48, 429, "rate_limit_error", "in_flight_reserved",                          \
    "The rest of what a policy allows is reserved by requests in progress")                      \
  X(kPolicyRequestExceedsBudget, 49, 402, "billing_error", "request_exceeds_budget",             \
    "This request can cost more than a quota policy allows")                                     \
  X(kPolicyConcurrency, 50, 429, "rate_limit_error", "concurrency_limit_exceeded",               \
    "Too many requests that a policy counts are in progress")                                    \
  X(kPolicyBudgetLater, 51, 429, "quota_exceeded", "budget_exceeded",                            \
    "The budget of a quota policy is used up until its window ends")                             \
  X(kPolicyBlocked, 52, 403, "permission_denied", "policy_blocked",                              \
    "A quota policy does not allow this request")                                                \
  X(kAttemptsExhausted, 53, 429, "quota_exceeded", "attempts_exhausted",                         \
    "This action has used the attempts that a quota policy allows it")                           \
  X(kNoCapacity, 60, 503, "server_error", "no_capacity",                                         \
    "No upstream account can take this request now")                                             \
  X(kUsageLimitReached, 61, 429, "usage_limit_reached", "usage_limit_reached",                   \
    "The usage limit has been reached")                                                          \
  X(kUpstreamRateLimited, 62, 429, "rate_limit_error", "upstream_rate_limited",                  \
    "The upstream is limiting requests")                                                         \
  X(kUpstreamRejectedUs, 63, 502, "server_error", "upstream_auth_failed",                        \
    "The upstream account was refused")                                                          \
  X(kUpstreamError, 64, 502, "server_error", "upstream_error", "The upstream failed")            \
  X(kUpstreamTimeout, 65, 504, "server_error", "upstream_timeout",                               \
    "The upstream did not answer in time")                                                       \
  X(kUpstreamOverloaded, 66, 503, "server_error", "upstream_overloaded",                         \
    "The upstream is overloaded")                                                                \
  X(kCapacityQueueFull, 67, 429, "capacity_error", "capacity_queue_full", "Capacity queue full") \
  X(kCapacityQueueTimeout, 68, 429, "capacity_error", "capacity_queue_timeout",                  \
    "No capacity became free in time")                                                           \
  X(kCapabilityUnavailable, 69, 503, "server_error", "capability_unavailable",                   \
    "No upstream account of this API key can serve this kind of request")                        \
  X(kLedgerUnavailable, 80, 503, "server_error", "ledger_unavailable",                           \
    "The ledger cannot record this request now")                                                 \
  X(kDraining, 81, 503, "server_error", "draining", "This gateway is shutting down")             \
  X(kReceiptUnavailable, 83, 503, "server_error", "receipt_unavailable",                         \
    "The receipt cannot be looked up now")                                                       \
  X(kStatementUnavailable, 84, 503, "server_error", "statement_unavailable",                     \
    "The statement cannot be made now")                                                          \
  X(kInternal, 82, 500, "server_error", "internal_error", "Internal error")

enum class Refusal : std::uint8_t {
#define WEIR_X(name, value, status, type, code, message) name = value,
  WEIR_REFUSALS(WEIR_X)
#undef WEIR_X
};

struct RefusalText {
  Refusal refusal;
  int status;
  std::string_view name;  // the enum's name without k, for logs and metrics
  std::string_view type;
  std::string_view code;
  std::string_view message;
};

inline constexpr auto kRefusalTexts = std::to_array<RefusalText>({
#define WEIR_X(name, value, status, type, code, message) \
  {Refusal::name, status, std::string_view(#name).substr(1), type, code, message},
    WEIR_REFUSALS(WEIR_X)
#undef WEIR_X
});

constexpr const RefusalText& TextOf(Refusal refusal) {
  for (const auto& text : kRefusalTexts) {
    if (text.refusal == refusal) return text;
  }
  return kRefusalTexts.back();
}

}  // namespace weir
