#include "dialect/reply_body.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <string>

#include "dialect/sse.h"
#include "dialect/usage_reader.h"

namespace weir::dialect {
namespace {

TEST(RefusalBody, BodiesOfQuotaFlowsPage_LetterForLetter) {
  const RefusalDetail detail{.request_id = "req_1"};
  const auto body = [&](Refusal refusal) {
    return RefusalBody(ErrorShape::kOpenAiQuotaFlow, refusal, detail);
  };
  EXPECT_EQ(body(Refusal::kMissingApiKey),
            R"({"error":"Missing API key","message":"Please provide an API key in the x-api-key, )"
            R"(x-goog-api-key, or Authorization header"})");
  EXPECT_EQ(body(Refusal::kInvalidApiKey),
            R"({"error":{"message":"Invalid API key","type":"authentication_error"}})");
  EXPECT_EQ(body(Refusal::kPermissionDenied),
            R"({"error":{"message":"This API key does not have permission to access OpenAI",)"
            R"("type":"permission_denied","code":"permission_denied"}})");
}

TEST(RefusalBody, MissingKeyElsewhere_IsAnObjectWithTheSameSentence) {
  EXPECT_EQ(
      RefusalBody(ErrorShape::kOpenAi, Refusal::kMissingApiKey, {}),
      R"({"error":{"message":"Please provide an API key in the x-api-key, x-goog-api-key, or )"
      R"(Authorization header","type":"authentication_error","param":null,)"
      R"("code":"invalid_api_key"}})");
}

TEST(RefusalBody, OpenAi_WithEveryDetail) {
  const RefusalDetail detail{.message = "Say \"less\"",
                             .param = "model",
                             .hint = "h",
                             .docs_url = "d",
                             .request_id = "r",
                             .policy = "p",
                             .resets_in = Milliseconds(1500)};
  EXPECT_EQ(RefusalBody(ErrorShape::kOpenAi, Refusal::kUsageLimitReached, detail),
            R"({"error":{"message":"Say \"less\"","type":"usage_limit_reached","param":"model",)"
            R"("code":"usage_limit_reached","resets_in_seconds":2,"policy":"p","hint":"h",)"
            R"("docs_url":"d","request_id":"r"}})");
}

TEST(RefusalBody, AnthropicAndGemini) {
  EXPECT_EQ(RefusalBody(ErrorShape::kAnthropic, Refusal::kBudgetExceeded, {.request_id = "r"}),
            R"({"type":"error","error":{"type":"billing_error","message":"The budget of this API )"
            R"(key is used up","details":{"error_code":"budget_exceeded"}},"request_id":"r"})");
  EXPECT_EQ(RefusalBody(ErrorShape::kGemini, Refusal::kRateLimitRequests, {}),
            R"({"error":{"code":429,"message":"Too many requests per minute for this API key",)"
            R"("status":"RESOURCE_EXHAUSTED"}})");
}

TEST(RefusalBody, EveryRefusalInEveryShape_IsJsonWithAMessage) {
  for (const auto& text : kRefusalTexts) {
    for (const auto shape : {ErrorShape::kOpenAi, ErrorShape::kOpenAiQuotaFlow,
                             ErrorShape::kAnthropic, ErrorShape::kGemini}) {
      const RefusalDetail detail{.message = "\xFF\n\"", .policy = "\x01"};
      boost::system::error_code failed;
      const auto body = boost::json::parse(RefusalBody(shape, text.refusal, detail), failed);
      ASSERT_FALSE(failed) << text.name;
      ASSERT_TRUE(body.as_object().contains("error"));
      if (const auto* error = body.at("error").if_object()) {
        EXPECT_TRUE(error->at("message").is_string());
      }
    }
  }
}

TEST(ShapeOfPath, Cases) {
  const std::pair<std::string_view, ErrorShape> table[] = {
      {"/openai/v1/responses", ErrorShape::kOpenAiQuotaFlow},
      {"/openai", ErrorShape::kOpenAiQuotaFlow},
      {"/openaix/v1", ErrorShape::kOpenAi},
      {"/v1/responses", ErrorShape::kOpenAi},
      {"/v1/models/gpt-5.5", ErrorShape::kOpenAi},
      {"/v1/models/ft:gpt:x", ErrorShape::kOpenAi},
      {"/v1/models/gemini-3.5:generateContent", ErrorShape::kGemini},
      {"/v1beta/models/gemini-3.5:streamGenerateContent", ErrorShape::kGemini},
      {"/v1/messages", ErrorShape::kAnthropic},
      {"/v1/messages/count_tokens", ErrorShape::kAnthropic},
      {"/v1/messagesx", ErrorShape::kOpenAi},
      {"", ErrorShape::kOpenAi},
  };
  for (const auto& [path, shape] : table) EXPECT_EQ(ShapeOfPath(path), shape) << path;
}

TEST(StreamErrorEvent, IsReadAsAnErrorByOurOwnMeter_InEveryDialect) {
  for (const auto dialect : {Dialect::kOpenAiResponses, Dialect::kOpenAiChat,
                             Dialect::kAnthropicMessages, Dialect::kGeminiGenerate}) {
    SCOPED_TRACE(Name(dialect));
    const std::string bytes =
        StreamErrorEvent(dialect, Refusal::kUpstreamError, "It \"broke\"\n", 7);
    SseSplitter splitter;
    SseEvent event;
    StreamMeter meter(dialect);
    splitter.Append(bytes);
    ASSERT_EQ(splitter.Next(event), SseStatus::kEvent);
    EXPECT_EQ(event.raw, bytes);
    EXPECT_EQ(meter.OnEvent(event).end, StreamEnd::kError);
    EXPECT_EQ(meter.error().message, "It \"broke\"\n");
    EXPECT_EQ(splitter.Next(event), SseStatus::kNeedMore);
    EXPECT_FALSE(splitter.Finish());
  }
}

TEST(StreamErrorEvent, Responses_IsFlat) {
  EXPECT_EQ(StreamErrorEvent(Dialect::kOpenAiResponses, Refusal::kUpstreamError, "m", 7),
            "event: error\ndata: {\"type\":\"error\",\"code\":\"upstream_error\",\"message\":\"m\","
            "\"param\":null,\"sequence_number\":7}\n\n");
}

TEST(ShouldRetry, MoneyNever_LaterByTheSdksOwnRule) {
  for (const auto& text : kRefusalTexts) {
    if (text.status == 402 || text.status == 401 || text.status == 400) {
      EXPECT_EQ(ShouldRetry(text.refusal), false) << text.name;
    }
  }
  EXPECT_EQ(ShouldRetry(Refusal::kRateLimitRequests), std::nullopt);
  EXPECT_EQ(ShouldRetry(Refusal::kNoCapacity), std::nullopt);
  EXPECT_EQ(ShouldRetry(Refusal::kUsageLimitReached), false);
  EXPECT_EQ(ShouldRetry(Refusal::kIdempotencyKeyInUse), true);
  EXPECT_EQ(ShouldRetry(Refusal::kResponseNotStored), false);
}

}  // namespace
}  // namespace weir::dialect
