// The upstream fault matrix as far as a status, headers and a body tell it.
#include "dialect/failure_class.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

namespace weir::dialect {
namespace {

constexpr Dialect kC = Dialect::kOpenAiChat;
constexpr Dialect kA = Dialect::kAnthropicMessages;
constexpr Dialect kG = Dialect::kGeminiGenerate;
// 2026-11-20T12:00:00Z
constexpr Instant kNow{1'795'176'000LL * 1'000'000'000};

using Headers = std::vector<std::pair<std::string_view, std::string_view>>;

HeaderLookup Lookup(const Headers& headers) {
  return [&headers](std::string_view name) -> std::string_view {
    for (const auto& [known, value] : headers) {
      if (known == name) return value;
    }
    return {};
  };
}

struct Row {
  Dialect dialect;
  int status;
  Headers headers;
  std::string_view body;
  FailureClass failure_class;
  std::int64_t reset_seconds;  // 0: none
  Refusal refusal;             // kNone: the upstream's body passes
};

constexpr std::string_view kHtml = "<html><body>502 Bad Gateway</body></html>";
constexpr std::string_view kBadRequest =
    R"({"error":{"message":"bad temperature","type":"invalid_request_error","param":"temperature","code":null}})";

const Row kTable[] = {
    // Plain rate limits: seconds, dates, milliseconds, limit headers, nothing.
    {kC, 429, {{"retry-after", "7"}}, "{}", FailureClass::kBurst, 7, Refusal::kUpstreamRateLimited},
    {kC,
     429,
     {{"retry-after", "Fri, 20 Nov 2026 12:00:09 GMT"}},
     "",
     FailureClass::kBurst,
     9,
     Refusal::kUpstreamRateLimited},
    {kC,
     429,
     {{"retry-after", "Fri, 20 Nov 2026 11:00:00 GMT"}},
     "",
     FailureClass::kBurst,
     0,
     Refusal::kUpstreamRateLimited},
    {kC,
     429,
     {{"retry-after-ms", "1500"}, {"retry-after", "9"}},
     "",
     FailureClass::kBurst,
     2,
     Refusal::kUpstreamRateLimited},
    {kC, 429, {{"retry-after", "0.4"}}, "", FailureClass::kBurst, 1, Refusal::kUpstreamRateLimited},
    {kC,
     429,
     {{"retry-after", "soon"}},
     "",
     FailureClass::kBurst,
     0,
     Refusal::kUpstreamRateLimited},
    {kC, 429, {{"retry-after", "-3"}}, "", FailureClass::kBurst, 0, Refusal::kUpstreamRateLimited},
    {kC, 429, {}, "", FailureClass::kBurst, 0, Refusal::kUpstreamRateLimited},
    {kC,
     429,
     {{"x-ratelimit-remaining-requests", "0"},
      {"x-ratelimit-reset-requests", "1m2.5s"},
      {"x-ratelimit-remaining-tokens", "9"},
      {"x-ratelimit-reset-tokens", "6m0s"}},
     "",
     FailureClass::kBurst,
     63,
     Refusal::kUpstreamRateLimited},
    {kC,
     429,
     {},
     R"({"error":{"type":"tokens","code":"rate_limit_exceeded","message":"m"}})",
     FailureClass::kBurst,
     0,
     Refusal::kUpstreamRateLimited},
    {kC,
     429,
     {},
     R"({"error":{"type":"rate_limit_error","code":"slow_down"}})",
     FailureClass::kBurst,
     0,
     Refusal::kUpstreamRateLimited},
    // Longer than five minutes is no burst.
    {kC,
     429,
     {{"retry-after", "300"}},
     "",
     FailureClass::kBurst,
     300,
     Refusal::kUpstreamRateLimited},
    {kC,
     429,
     {{"retry-after", "301"}},
     "",
     FailureClass::kWindowExhausted,
     301,
     Refusal::kUsageLimitReached},
    {kC,
     429,
     {{"retry-after", "99999999999999999999"}},
     "",
     FailureClass::kWindowExhausted,
     400LL * 86400,
     Refusal::kUsageLimitReached},
    // Used-up windows: body seconds, body date, Codex's headers before both.
    {kC,
     429,
     {},
     R"({"error":{"type":"usage_limit_reached","message":"The usage limit has been reached","resets_in_seconds":3600}})",
     FailureClass::kWindowExhausted,
     3600,
     Refusal::kUsageLimitReached},
    {kC,
     429,
     {},
     R"({"error":{"type":"usage_limit_reached","resets_at":1795176100}})",
     FailureClass::kWindowExhausted,
     100,
     Refusal::kUsageLimitReached},
    {kC,
     429,
     {},
     R"({"error":{"type":"usage_limit_reached","resets_at":1}})",
     FailureClass::kWindowExhausted,
     0,
     Refusal::kUsageLimitReached},
    {kC,
     429,
     {{"x-codex-primary-used-percent", "100"},
      {"x-codex-primary-window-minutes", "300"},
      {"x-codex-primary-reset-after-seconds", "600"},
      {"x-codex-secondary-used-percent", "40"},
      {"x-codex-secondary-window-minutes", "10080"},
      {"x-codex-secondary-reset-after-seconds", "90000"}},
     R"({"error":{"type":"usage_limit_reached","resets_in_seconds":5}})",
     FailureClass::kWindowExhausted,
     600,
     Refusal::kUsageLimitReached},
    {kC,
     429,
     {{"x-codex-primary-used-percent", "100.0"},
      {"x-codex-primary-window-minutes", "300"},
      {"x-codex-primary-reset-after-seconds", "600"},
      {"x-codex-secondary-used-percent", "100"},
      {"x-codex-secondary-window-minutes", "10080"},
      {"x-codex-secondary-reset-at", "1795266000"}},
     "",
     FailureClass::kWindowExhausted,
     90000,
     Refusal::kUsageLimitReached},
    {kC,
     429,
     {{"x-codex-primary-used-percent", "12"}, {"x-codex-primary-reset-after-seconds", "600"}},
     "",
     FailureClass::kBurst,
     0,
     Refusal::kUpstreamRateLimited},
    // Money under several statuses.
    {kC,
     429,
     {},
     R"({"error":{"type":"insufficient_quota","code":"insufficient_quota"}})",
     FailureClass::kBillingDead,
     0,
     Refusal::kUpstreamRejectedUs},
    {kC,
     429,
     {},
     R"({"error":{"type":"insufficient_quota","code":"credit_balance_exhausted"}})",
     FailureClass::kBillingDead,
     0,
     Refusal::kUpstreamRejectedUs},
    {kC, 402, {}, "", FailureClass::kBillingDead, 0, Refusal::kUpstreamRejectedUs},
    {kA,
     402,
     {},
     R"({"type":"error","error":{"type":"billing_error","message":"m"}})",
     FailureClass::kBillingDead,
     0,
     Refusal::kUpstreamRejectedUs},
    {kA,
     429,
     {},
     R"({"type":"error","error":{"type":"rate_limit_error","message":"m","details":{"error_code":"enforced_spend_limit_reached"}}})",
     FailureClass::kBillingDead,
     0,
     Refusal::kUpstreamRejectedUs},
    {kA,
     429,
     {{"retry-after", "3"}},
     R"({"type":"error","error":{"type":"rate_limit_error","message":"m","details":{"error_code":"ramp_limit_exceeded"}}})",
     FailureClass::kBurst,
     3,
     Refusal::kUpstreamRateLimited},
    {kA,
     400,
     {},
     R"({"type":"error","error":{"type":"invalid_request_error","message":"You have reached your specified API usage limits. You will regain access on 2026-12-01."}})",
     FailureClass::kBillingDead,
     0,
     Refusal::kUpstreamRejectedUs},
    // The credential.
    {kC,
     401,
     {},
     R"({"error":{"message":"Incorrect API key provided: sk-abc","code":"invalid_api_key"}})",
     FailureClass::kAuthDead,
     0,
     Refusal::kUpstreamRejectedUs},
    {kC, 401, {}, "", FailureClass::kAuthDead, 0, Refusal::kUpstreamRejectedUs},
    {kC,
     403,
     {},
     R"({"error":{"message":"Country not supported"}})",
     FailureClass::kAuthDead,
     0,
     Refusal::kUpstreamRejectedUs},
    {kC, 403, {}, kHtml, FailureClass::kServerError, 0, Refusal::kUpstreamError},
    {kG,
     400,
     {},
     R"({"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}})",
     FailureClass::kAuthDead,
     0,
     Refusal::kUpstreamRejectedUs},
    // The model.
    {kC,
     404,
     {},
     R"({"error":{"message":"Project `proj_1` does not have access","code":"model_not_found"}})",
     FailureClass::kModelGone,
     0,
     Refusal::kModelNotFound},
    {kC,
     403,
     {},
     R"({"error":{"message":"m","code":"model_not_found"}})",
     FailureClass::kModelGone,
     0,
     Refusal::kModelNotFound},
    {kA,
     404,
     {},
     R"({"type":"error","error":{"type":"not_found_error","message":"model: claude-x"}})",
     FailureClass::kModelGone,
     0,
     Refusal::kModelNotFound},
    {kG,
     404,
     {},
     R"({"error":{"code":404,"message":"models/x is not found","status":"NOT_FOUND"}})",
     FailureClass::kModelGone,
     0,
     Refusal::kModelNotFound},
    {kC,
     400,
     {},
     R"({"detail":"The 'gpt-x' model is not supported when using Codex with a ChatGPT account."})",
     FailureClass::kModelGone,
     0,
     Refusal::kModelNotFound},
    // The caller.
    {kC, 400, {}, kBadRequest, FailureClass::kCallersFault, 0, Refusal::kNone},
    {kC, 422, {}, kBadRequest, FailureClass::kCallersFault, 0, Refusal::kNone},
    {kC, 409, {}, kBadRequest, FailureClass::kCallersFault, 0, Refusal::kNone},
    {kC, 413, {}, kBadRequest, FailureClass::kCallersFault, 0, Refusal::kNone},
    {kC,
     404,
     {},
     R"({"error":{"message":"no such response","code":"not_found"}})",
     FailureClass::kCallersFault,
     0,
     Refusal::kNone},
    {kC, 400, {}, kHtml, FailureClass::kCallersFault, 0, Refusal::kInvalidRequest},
    {kC, 400, {}, R"({"error":"text"})", FailureClass::kCallersFault, 0, Refusal::kInvalidRequest},
    {kA, 400, {}, kBadRequest, FailureClass::kCallersFault, 0, Refusal::kInvalidRequest},
    {kC, 413, {}, kHtml, FailureClass::kCallersFault, 0, Refusal::kBodyTooLarge},
    {kG,
     400,
     {},
     R"({"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT"}})",
     FailureClass::kCallersFault,
     0,
     Refusal::kNone},
    // The vendor.
    {kC, 404, {}, kHtml, FailureClass::kServerError, 0, Refusal::kUpstreamError},
    {kC,
     500,
     {},
     R"({"error":{"message":"secret","type":"server_error"}})",
     FailureClass::kServerError,
     0,
     Refusal::kUpstreamError},
    {kC, 502, {}, kHtml, FailureClass::kServerError, 0, Refusal::kUpstreamError},
    {kC, 504, {}, kHtml, FailureClass::kServerError, 0, Refusal::kUpstreamTimeout},
    {kC, 408, {}, "", FailureClass::kServerError, 0, Refusal::kUpstreamTimeout},
    {kC, 520, {}, kHtml, FailureClass::kServerError, 0, Refusal::kUpstreamError},
    {kC, 302, {}, "", FailureClass::kServerError, 0, Refusal::kUpstreamError},
    {kC,
     503,
     {{"retry-after", "4"}},
     kHtml,
     FailureClass::kOverloaded,
     4,
     Refusal::kUpstreamOverloaded},
    {kA,
     529,
     {},
     R"({"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}})",
     FailureClass::kOverloaded,
     0,
     Refusal::kUpstreamOverloaded},
    {kC,
     500,
     {},
     R"({"error":{"code":"server_is_overloaded"}})",
     FailureClass::kOverloaded,
     0,
     Refusal::kUpstreamOverloaded},
    {kG,
     429,
     {},
     R"({"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED","details":[{"@type":"q","violations":[{"quotaId":"GenerateRequestsPerMinutePerProject"}]},{"@type":"r","retryDelay":"27s"}]}})",
     FailureClass::kBurst,
     27,
     Refusal::kUpstreamRateLimited},
    {kG,
     429,
     {},
     R"({"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"violations":[{"quotaId":"GenerateRequestsPerDayPerProject"}]},{"retryDelay":"27s"}]}})",
     FailureClass::kWindowExhausted,
     27,
     Refusal::kUsageLimitReached},
    {kC, 418, {}, "teapot", FailureClass::kUnknown, 0, Refusal::kUpstreamError},
};

TEST(Classify, And_Show_Table) {
  for (const auto& row : kTable) {
    SCOPED_TRACE(std::to_string(row.status) + " " + std::string(row.body));
    const UpstreamFailure failure =
        Classify(row.dialect, row.status, Lookup(row.headers), row.body, kNow);
    EXPECT_EQ(Name(failure.failure_class), Name(row.failure_class));
    EXPECT_EQ(failure.reset ? CeilSeconds(*failure.reset) : 0, row.reset_seconds);
    const FailureReply reply = ShowFailure(row.dialect, failure, row.status, row.body, true);
    EXPECT_EQ(reply.pass_through, row.refusal == Refusal::kNone);
    if (reply.pass_through) {
      EXPECT_EQ(reply.status, row.status);
    } else {
      EXPECT_EQ(TextOf(reply.refusal).name, TextOf(row.refusal).name);
      EXPECT_EQ(reply.status, TextOf(row.refusal).status);
    }
    if (reply.status == 429 || reply.status == 503) {
      ASSERT_TRUE(reply.retry_after_seconds);
      EXPECT_GE(*reply.retry_after_seconds, 1);
    }
    if (reply.refusal == Refusal::kUsageLimitReached) EXPECT_TRUE(reply.resets_in);
  }
}

TEST(Classify, Retry_NeverForTheCaller_OtherForTheAccount) {
  const auto retry = [](int status, std::string_view body) {
    return Classify(kC, status, Lookup({}), body, kNow).retry;
  };
  EXPECT_EQ(retry(400, kBadRequest), Retry::kNever);
  EXPECT_EQ(retry(401, ""), Retry::kOther);
  EXPECT_EQ(retry(429, ""), Retry::kOther);
  EXPECT_EQ(retry(404, R"({"error":{"code":"model_not_found"}})"), Retry::kOther);
  EXPECT_EQ(retry(500, ""), Retry::kSame);
  EXPECT_EQ(retry(200, ""), Retry::kNever);
}

TEST(ShowFailure, WaitOfABurst_IsClampedToWhatSdksObey) {
  const auto wait = [](std::string_view seconds) {
    const Headers headers = {{"retry-after", seconds}};
    return ShowFailure(kC, Classify(kC, 429, Lookup(headers), "", kNow), 429, "", true)
        .retry_after_seconds;
  };
  EXPECT_EQ(wait("200"), 60);
  EXPECT_EQ(wait("3"), 3);
  EXPECT_EQ(wait(""), 5);
  EXPECT_EQ(wait("7200"), 7200);  // a window: the truth
}

TEST(ShowFailure, BodyThatWasNotReadWhole_DoesNotPass) {
  const UpstreamFailure failure = Classify(kC, 400, Lookup({}), kBadRequest, kNow);
  EXPECT_FALSE(ShowFailure(kC, failure, 400, kBadRequest, false).pass_through);
}

TEST(ClassifyStreamError, Words) {
  const auto classify = [](std::string_view type, std::string_view code) {
    UpstreamErrorText error;
    error.type = type;
    error.code = code;
    return ClassifyStreamError(kC, error, kNow).failure_class;
  };
  EXPECT_EQ(classify("usage_limit_reached", ""), FailureClass::kWindowExhausted);
  EXPECT_EQ(classify("", "rate_limit_exceeded"), FailureClass::kBurst);
  EXPECT_EQ(classify("", "insufficient_quota"), FailureClass::kBillingDead);
  EXPECT_EQ(classify("", "context_length_exceeded"), FailureClass::kCallersFault);
  EXPECT_EQ(classify("overloaded_error", ""), FailureClass::kOverloaded);
  EXPECT_EQ(classify("server_error", ""), FailureClass::kServerError);
  EXPECT_EQ(classify("", ""), FailureClass::kUnknown);
  UpstreamErrorText error;
  error.type = "usage_limit_reached";
  error.resets_at = 1'795'176'060;
  EXPECT_EQ(ClassifyStreamError(kC, error, kNow).reset, Seconds(60));
  error = {};
  error.code = "503";
  EXPECT_EQ(ClassifyStreamError(kG, error, kNow).failure_class, FailureClass::kOverloaded);
}

// Every prefix of a body, and bodies that are no JSON: no crash, and a class.
TEST(Classify, CutBodies_StillGiveAClass) {
  for (const auto& row : kTable) {
    for (std::size_t length = 0; length < row.body.size(); ++length) {
      const auto body = row.body.substr(0, length);
      const UpstreamFailure failure =
          Classify(row.dialect, row.status, Lookup(row.headers), body, kNow);
      ShowFailure(row.dialect, failure, row.status, body, true);
    }
  }
}

TEST(RetryAfter, IsSecondsOrADate_LaterThanNow) {
  constexpr Instant kAt{1'795'176'000'000'000'000};  // 2026-11-20T12:00:00Z
  struct Case {
    std::string_view value;
    std::int64_t seconds;  // 0: none
  };
  for (const Case& c : std::initializer_list<Case>{{"7", 7},
                                                   {"0.2", 1},
                                                   {"0", 0},
                                                   {"-5", 0},
                                                   {"", 0},
                                                   {"soon", 0},
                                                   {"7 ", 0},
                                                   {"Fri, 20 Nov 2026 12:00:09 GMT", 9},
                                                   {"Fri, 20 Nov 2026 12:00:00 GMT", 0},
                                                   {"Fri, 20 Nov 2026 11:00:00 GMT", 0},
                                                   {"99999999999999999999", 400 * 86'400}}) {
    const auto wait = ParseRetryAfter(c.value, kAt);
    EXPECT_EQ(wait ? wait->ns : 0, Seconds(c.seconds).ns) << c.value;
  }
}

}  // namespace
}  // namespace weir::dialect
