#include "dialect/charge_note.h"

#include <gtest/gtest.h>

#include "dialect/json_view.h"

namespace weir::dialect {
namespace {

// Quota.host's own example.
constexpr ChargeNote kNote{.input_tokens = 1800,
                           .output_tokens = 3400,
                           .multiplier = "x3",
                           .charged_as = "charged_quota_tokens",
                           .charged = 15'600};

TEST(ChargeNote, JsonReply_HasTheNoteInItsUsage) {
  const struct {
    Dialect dialect;
    const char* body;
    const char* noted;
  } rows[] = {
      {Dialect::kOpenAiChat,
       R"({"id":"c","usage":{"prompt_tokens":1800,"completion_tokens":3400}})",
       R"({"id":"c","usage":{"input_tokens":1800,"output_tokens":3400,"route_multiplier":"x3",)"
       R"("charged_quota_tokens":15600,"prompt_tokens":1800,"completion_tokens":3400}})"},
      {Dialect::kOpenAiResponses, R"({"usage":{"input_tokens":1800,"output_tokens":3400}})",
       R"({"usage":{"route_multiplier":"x3","charged_quota_tokens":15600,)"
       R"("input_tokens":1800,"output_tokens":3400}})"},
      {Dialect::kAnthropicMessages, R"({"usage":{}})",
       R"({"usage":{"input_tokens":1800,"output_tokens":3400,"route_multiplier":"x3",)"
       R"("charged_quota_tokens":15600}})"},
      {Dialect::kGeminiGenerate, R"({"usageMetadata":{"a":1}})",
       R"({"usageMetadata":{"input_tokens":1800,"output_tokens":3400,"route_multiplier":"x3",)"
       R"("charged_quota_tokens":15600,"a":1}})"},
      // No usage, or none to speak of: it gets one.
      {Dialect::kOpenAiChat, R"({"id":"c"})",
       R"({"usage":{"input_tokens":1800,"output_tokens":3400,"route_multiplier":"x3",)"
       R"("charged_quota_tokens":15600},"id":"c"})"},
      {Dialect::kOpenAiChat, R"( { } )",
       R"( {"usage":{"input_tokens":1800,"output_tokens":3400,"route_multiplier":"x3",)"
       R"("charged_quota_tokens":15600} } )"},
      {Dialect::kOpenAiChat, R"({"usage":null,"id":"c"})",
       R"({"usage":{"input_tokens":1800,"output_tokens":3400,"route_multiplier":"x3",)"
       R"("charged_quota_tokens":15600},"id":"c"})"},
  };
  for (const auto& row : rows) {
    const std::string noted = WithCharge(row.dialect, row.body, kNote);
    EXPECT_EQ(noted, row.noted) << row.body;
    EXPECT_TRUE(CheckJson(noted)) << noted;
  }
}

TEST(ChargeNote, WhatIsNoObject_ComesBackAsItWas) {
  for (const char* body :
       {"", "[1]", "null", "{\"a\":", "plain text", "{\"usage\":{},\"usage\":{}}x"}) {
    EXPECT_EQ(WithCharge(Dialect::kOpenAiChat, body, kNote), body);
  }
}

TEST(ChargeNote, Stream_HasItInTheLastEventWithUsage) {
  const std::string chat =
      "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\n\n"
      ": ping\n\n"
      "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":2}}\r\n\r\n"
      "data: [DONE]\n\n";
  const std::string noted = WithChargeInStream(Dialect::kOpenAiChat, chat, kNote);
  EXPECT_EQ(
      noted,
      "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\n\n"
      ": ping\n\n"
      "data: {\"choices\":[],\"usage\":{\"input_tokens\":1800,\"output_tokens\":3400,"
      "\"route_multiplier\":\"x3\",\"charged_quota_tokens\":15600,\"prompt_tokens\":2}}\r\n\r\n"
      "data: [DONE]\n\n");

  const std::string responses =
      "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":"
      "{\"id\":\"r\",\"usage\":{\"input_tokens\":1}}}\n\n";
  EXPECT_EQ(WithChargeInStream(Dialect::kOpenAiResponses, responses, kNote),
            "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":"
            "{\"id\":\"r\",\"usage\":{\"output_tokens\":3400,\"route_multiplier\":\"x3\","
            "\"charged_quota_tokens\":15600,\"input_tokens\":1}}}\n\n");

  const std::string anthropic =
      "event: message_delta\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":5}}\n\n"
      "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
  EXPECT_NE(WithChargeInStream(Dialect::kAnthropicMessages, anthropic, kNote)
                .find("\"charged_quota_tokens\":15600,\"output_tokens\":5"),
            std::string::npos);
}

TEST(ChargeNote, ChatStreamWithoutUsage_GetsAChunkBeforeItsEnd_OthersNothing) {
  EXPECT_EQ(WithChargeInStream(Dialect::kOpenAiChat, "data: [DONE]\n\n", kNote),
            "data: {\"object\":\"chat.completion.chunk\",\"choices\":[],\"usage\":{"
            "\"input_tokens\":1800,\"output_tokens\":3400,\"route_multiplier\":\"x3\","
            "\"charged_quota_tokens\":15600}}\n\ndata: [DONE]\n\n");
  for (const char* events : {"", "data: {\"a\":1}\n\n", ": ping\n\n", "data: {\ndata: }\n\n"}) {
    EXPECT_EQ(WithChargeInStream(Dialect::kOpenAiChat, events, kNote), events);
    EXPECT_EQ(WithChargeInStream(Dialect::kOpenAiResponses, events, kNote), events);
  }
}

}  // namespace
}  // namespace weir::dialect
