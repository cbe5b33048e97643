// What is read of a request, and above all what is refused: whatever is admitted here is priced by
// what we read, so it must be read as the upstream reads it.
#include "dialect/request_shape.h"

#include <gtest/gtest.h>

#include <string>

namespace weir::dialect {
namespace {

using namespace std::string_view_literals;

constexpr Dialect kR = Dialect::kOpenAiResponses;
constexpr Dialect kC = Dialect::kOpenAiChat;
constexpr Dialect kA = Dialect::kAnthropicMessages;
constexpr Dialect kG = Dialect::kGeminiGenerate;

std::expected<RequestShape, ShapeError> Read(Dialect dialect, std::string_view body) {
  RequestReader reader;
  return reader.Read(dialect, body);
}

RequestShape MustRead(Dialect dialect, std::string_view body) {
  auto shape = Read(dialect, body);
  EXPECT_TRUE(shape.has_value()) << body << ": " << (shape ? "" : shape.error().message);
  return shape ? *shape : RequestShape{};
}

std::string_view At(std::string_view body, Span span) { return body.substr(span.at, span.length); }

TEST(RequestShape, Responses_EverythingWeActOn_IsRead) {
  const std::string_view body =
      R"( {"model": "gpt-5.5", "stream":true , "max_output_tokens": 100 , "tools":[{"type":"x"}],)"
      R"("reasoning":{"summary":"auto","effort":"low"},"prompt_cache_key":"k1","session_id":"s1",)"
      R"("conversation":{"id":"conv_1"},"previous_response_id":"resp_1","input":"hi"} )";
  const RequestShape shape = MustRead(kR, body);
  EXPECT_TRUE(shape.has_model);
  EXPECT_EQ(shape.model, "gpt-5.5");
  EXPECT_EQ(At(body, shape.model_value), "\"gpt-5.5\"");
  EXPECT_TRUE(shape.stream);
  EXPECT_EQ(shape.output.key, OutputBoundKey::kMaxOutputTokens);
  EXPECT_EQ(shape.output.tokens, 100);
  EXPECT_EQ(At(body, shape.output.value), "100");
  EXPECT_TRUE(shape.has_tools);
  EXPECT_EQ(shape.reasoning_effort, "low");
  EXPECT_EQ(shape.prompt_cache_key, "k1");
  EXPECT_EQ(shape.session_id, "s1");
  EXPECT_EQ(shape.conversation_id, "conv_1");
  EXPECT_EQ(shape.previous_response_id, "resp_1");
  EXPECT_EQ(shape.after_open, 2U);
  EXPECT_FALSE(shape.empty_object);
}

TEST(RequestShape, Chat_BothBounds_TheNewerOneLeads) {
  const std::string_view body =
      R"({"max_tokens":5,"model":"m","max_completion_tokens":9,"n":3,"reasoning_effort":"high"})";
  const RequestShape shape = MustRead(kC, body);
  EXPECT_EQ(shape.output.key, OutputBoundKey::kMaxCompletionTokens);
  EXPECT_EQ(shape.output.tokens, 9);
  EXPECT_EQ(shape.output_second.key, OutputBoundKey::kMaxTokens);
  EXPECT_EQ(shape.output_second.tokens, 5);
  EXPECT_EQ(shape.choices, 3);
  EXPECT_EQ(shape.reasoning_effort, "high");
  EXPECT_FALSE(shape.stream);
}

TEST(RequestShape, Chat_StreamOptions_InItsThreeStates) {
  const std::string_view with =
      R"({"model":"m","stream":true,"stream_options":{"x":1,"include_usage":true}})";
  RequestShape shape = MustRead(kC, with);
  EXPECT_TRUE(shape.has_stream_options);
  EXPECT_TRUE(shape.include_usage);
  EXPECT_EQ(At(with, shape.include_usage_value), "true");
  EXPECT_EQ(At(with, shape.stream_options_value), R"({"x":1,"include_usage":true})");

  const std::string_view empty = R"({"model":"m","stream_options":{ }})";
  shape = MustRead(kC, empty);
  EXPECT_TRUE(shape.has_stream_options);
  EXPECT_TRUE(shape.stream_options_empty);
  EXPECT_EQ(empty[shape.stream_options_open - 1], '{');

  const std::string_view null = R"({"model":"m","stream_options":null})";
  shape = MustRead(kC, null);
  EXPECT_FALSE(shape.has_stream_options);
  EXPECT_EQ(At(null, shape.stream_options_value), "null");
}

// What the price depends on besides the model, wherever a family has it.
TEST(RequestShape, TheServiceThatIsAskedFor_IsReadOnce) {
  for (const Dialect dialect : {kR, kC, kA}) {
    EXPECT_EQ(MustRead(dialect, R"({"model":"m","service_tier":"priority"})").service_tier,
              "priority");
  }
  EXPECT_EQ(MustRead(kR, R"({"model":"m","s\u0065rvice_tier":"fl\u0065x"})").service_tier, "flex");
  EXPECT_EQ(MustRead(kG, R"({"serviceTier":"priority"})").service_tier, "priority");
  EXPECT_EQ(MustRead(kG, R"({"service_tier":"priority"})").service_tier, "priority");
  EXPECT_EQ(MustRead(kR, R"({"model":"m","service_tier":null})").service_tier, "");
  EXPECT_EQ(MustRead(kR, R"({"model":"m","metadata":{"service_tier":"priority"}})").service_tier,
            "");
  const RequestShape shape =
      MustRead(kA, R"({"model":"m","speed":"fast","inference_geo":"us","max_tokens":1})");
  EXPECT_EQ(shape.speed, "fast");
  EXPECT_EQ(shape.inference_geo, "us");
  EXPECT_EQ(MustRead(kC, R"({"model":"m","speed":"fast"})").speed, "");
  EXPECT_FALSE(Read(kR, R"({"model":"m","service_tier":"flex","service_tier":"priority"})"));
  EXPECT_FALSE(Read(kG, R"({"service_tier":"flex","serviceTier":"priority"})"));
}

TEST(RequestShape, Anthropic_And_Gemini) {
  RequestShape shape = MustRead(
      kA, R"({"model":"claude-x","max_tokens":1024,"output_config":{"effort":"low"},"tools":[]})");
  EXPECT_EQ(shape.output.key, OutputBoundKey::kMaxTokens);
  EXPECT_EQ(shape.output.tokens, 1024);
  EXPECT_EQ(shape.reasoning_effort, "low");
  EXPECT_FALSE(shape.has_tools);

  // Both spellings are one field to Google's servers.
  for (const std::string_view body :
       {R"({"generationConfig":{"maxOutputTokens":64,"candidateCount":2}})",
        R"({"generation_config":{"max_output_tokens":64,"candidate_count":2}})"}) {
    shape = MustRead(kG, body);
    EXPECT_FALSE(shape.has_model);
    EXPECT_EQ(shape.output.key, OutputBoundKey::kGeminiMaxOutput);
    EXPECT_EQ(shape.output.tokens, 64);
    EXPECT_EQ(shape.choices, 2);
    EXPECT_EQ(body[shape.generation_config_open - 1], '{');
  }
  shape = MustRead(kG, "{}");
  EXPECT_TRUE(shape.empty_object);
  EXPECT_EQ(shape.output.key, OutputBoundKey::kNone);
}

TEST(RequestShape, MembersOfNestedObjects_AreNotTheRequests) {
  const RequestShape shape =
      MustRead(kC, R"({"messages":[{"model":"x","stream":true,"n":99,"a":{"max_tokens":1}}],)"
                   R"("metadata":{"model":"y","include_usage":true},"model":"m"})");
  EXPECT_EQ(shape.model, "m");
  EXPECT_FALSE(shape.stream);
  EXPECT_EQ(shape.choices, 1);
  EXPECT_EQ(shape.output.key, OutputBoundKey::kNone);
  EXPECT_FALSE(shape.include_usage);
}

TEST(RequestShape, EscapesInNamesAndValues_AreDecoded) {
  const RequestShape shape = MustRead(
      kC, R"({"mod\u0065l":"a\/b\u00e9\ud83d\ude80","\u0073tream":true,"session_id":"\ud800\n"})");
  EXPECT_EQ(shape.model, "a/b\xC3\xA9\xF0\x9F\x9A\x80");
  EXPECT_TRUE(shape.stream);
  EXPECT_EQ(shape.session_id, "\xEF\xBF\xBD\n");
}

TEST(RequestShape, LongSignals_AreCut) {
  const RequestShape shape =
      MustRead(kR, R"({"model":"m","session_id":")" + std::string(1000, 's') + "\"}");
  EXPECT_EQ(shape.session_id, std::string(kSignalBytesMax, 's'));
}

TEST(RequestShape, NullMeansNotGiven) {
  const std::string_view body =
      R"({"model":"m","stream":null,"max_tokens":null,"n":null,"tools":null,"session_id":null})";
  const RequestShape shape = MustRead(kC, body);
  EXPECT_FALSE(shape.stream);
  EXPECT_EQ(shape.output.key, OutputBoundKey::kMaxTokens);
  EXPECT_EQ(shape.output.tokens, 0);
  EXPECT_EQ(At(body, shape.output.value), "null");
  EXPECT_EQ(shape.choices, 1);
}

struct Refused {
  Dialect dialect;
  std::string_view body;
  Refusal refusal;
  std::string_view param;
};

TEST(RequestShape, Refusals) {
  using enum Refusal;
  const Refused table[] = {
      {kC, "", kInvalidJson, ""},
      {kC, "  \n ", kInvalidJson, ""},
      {kC, "null", kInvalidJson, ""},
      {kC, R"(["model"])", kInvalidJson, ""},
      {kC, R"("model")", kInvalidJson, ""},
      {kC, R"({"model":"m")", kInvalidJson, ""},
      {kC, R"({"model":"m)", kInvalidJson, ""},
      {kC, R"({"model")", kInvalidJson, ""},
      {kC, R"({"model":)", kInvalidJson, ""},
      {kC, R"({"model":"m"}})", kInvalidJson, ""},
      {kC, R"({"model":"m"} {})", kInvalidJson, ""},
      {kC, R"({"model":"m",})", kInvalidJson, ""},
      {kC, R"({,"model":"m"})", kInvalidJson, ""},
      {kC, R"({"model":"m" "n":1})", kInvalidJson, ""},
      {kC, R"({"model" "m"})", kInvalidJson, ""},
      {kC, R"({model:"m"})", kInvalidJson, ""},
      {kC, R"({"model":"m","x":[1,]})", kInvalidJson, ""},
      {kC, R"({"model":"m","x":[1 2]})", kInvalidJson, ""},
      {kC, R"({"model":"m","x":[1}})", kInvalidJson, ""},
      {kC, R"({"model":"m","x":nul})", kInvalidJson, ""},
      {kC, R"({"model":"m","x":NaN})", kInvalidJson, ""},
      {kC, R"({"model":"m","x":01})", kInvalidJson, ""},
      {kC, R"({"model":"m","x":1.})", kInvalidJson, ""},
      {kC, R"({"model":"m","x":+1})", kInvalidJson, ""},
      {kC, R"({"model":"m","x":"\q"})", kInvalidJson, ""},
      {kC, R"({"model":"m","x":"\u12g4"})", kInvalidJson, ""},
      {kC, R"({"model":"m","x":"a"b})", kInvalidJson, ""},
      {kC, "{\"model\":\"m\",\"x\":\"\n\"}", kInvalidJson, ""},
      {kC, "{\"model\":\"m\",\"x\":\"\xff\"}", kInvalidJson, ""},
      {kC, "{\"model\":\"m\",\"x\":\"\xed\xa0\x80\"}", kInvalidJson, ""},
      {kC, "\xEF\xBB\xBF{\"model\":\"m\"}", kInvalidJson, ""},
      {kC, "{\"model\":\"m\"}\0"sv, kInvalidJson, ""},
      {kC, "{}", kInvalidRequest, "model"},
      {kC, R"({"model":""})", kInvalidRequest, "model"},
      {kC, R"({"model":null})", kInvalidRequest, "model"},
      {kC, R"({"model":1})", kInvalidRequest, "model"},
      {kC, R"({"model":["m"]})", kInvalidRequest, "model"},
      {kC, R"({"model":{"m":1}})", kInvalidRequest, "model"},
      {kC, R"({"model":"a\u0000b"})", kInvalidRequest, "model"},
      {kC, R"({"model":"a","model":"a"})", kInvalidRequest, "model"},
      {kC, R"({"model":"a","mod\u0065l":"b"})", kInvalidRequest, "model"},
      {kC, R"({"model":"a","stream":true,"stream":false})", kInvalidRequest, "stream"},
      {kC, R"({"model":"a","stream":"true"})", kInvalidRequest, "stream"},
      {kC, R"({"model":"a","stream":1})", kInvalidRequest, "stream"},
      {kC, R"({"model":"a","stream":{}})", kInvalidRequest, "stream"},
      {kC, R"({"model":"a","stream_options":[]})", kInvalidRequest, "stream_options"},
      {kC, R"({"model":"a","stream_options":true})", kInvalidRequest, "stream_options"},
      {kC, R"({"model":"a","stream_options":{"include_usage":"y"}})", kInvalidRequest,
       "stream_options.include_usage"},
      {kC, R"({"model":"a","stream_options":{"include_usage":true,"include_usage":false}})",
       kInvalidRequest, "stream_options.include_usage"},
      {kC, R"({"model":"a","max_tokens":0})", kInvalidRequest, "max_tokens"},
      {kC, R"({"model":"a","max_tokens":-1})", kInvalidRequest, "max_tokens"},
      {kC, R"({"model":"a","max_tokens":1.0})", kInvalidRequest, "max_tokens"},
      {kC, R"({"model":"a","max_tokens":1e2})", kInvalidRequest, "max_tokens"},
      {kC, R"({"model":"a","max_tokens":"5"})", kInvalidRequest, "max_tokens"},
      {kC, R"({"model":"a","max_tokens":true})", kInvalidRequest, "max_tokens"},
      {kC, R"({"model":"a","max_tokens":9007199254740993})", kInvalidRequest, "max_tokens"},
      {kC, R"({"model":"a","max_tokens":99999999999999999999999})", kInvalidRequest, "max_tokens"},
      {kC, R"({"model":"a","max_completion_tokens":0})", kInvalidRequest, "max_completion_tokens"},
      {kR, R"({"model":"a","max_output_tokens":0})", kInvalidRequest, "max_output_tokens"},
      {kR, R"({"model":"a","max_output_tokens":1,"max_output_tokens":2})", kInvalidRequest,
       "max_output_tokens"},
      {kC, R"({"model":"a","n":0})", kInvalidRequest, "n"},
      {kC, R"({"model":"a","n":129})", kInvalidRequest, "n"},
      {kC, R"({"model":"a","n":[1]})", kInvalidRequest, "n"},
      {kG, R"({"generationConfig":{"maxOutputTokens":0}})", kInvalidRequest,
       "generationConfig.maxOutputTokens"},
      {kG, R"({"generationConfig":{"maxOutputTokens":1,"max_output_tokens":9}})", kInvalidRequest,
       "generationConfig.maxOutputTokens"},
      {kG, R"({"generationConfig":{},"generation_config":{}})", kInvalidRequest,
       "generationConfig"},
      {kG, R"({"generationConfig":[]})", kInvalidRequest, "generationConfig"},
  };
  for (const auto& row : table) {
    SCOPED_TRACE(row.body);
    const auto shape = Read(row.dialect, row.body);
    ASSERT_FALSE(shape.has_value());
    EXPECT_EQ(shape.error().refusal, row.refusal) << shape.error().message;
    EXPECT_EQ(shape.error().param, row.param);
    EXPECT_FALSE(shape.error().message.empty());
  }
}

TEST(RequestShape, Bounds_AtTheirEdges_ArePassed) {
  EXPECT_EQ(MustRead(kC, R"({"model":"a","max_tokens":9007199254740992})").output.tokens,
            kTokensMax);
  EXPECT_EQ(MustRead(kC, R"({"model":"a","max_tokens":1})").output.tokens, 1);
  EXPECT_EQ(MustRead(kC, R"({"model":"a","n":128})").choices, 128);
  const std::string longest(kModelBytesMax, 'm');
  EXPECT_EQ(MustRead(kC, R"({"model":")" + longest + "\"}").model, longest);
  EXPECT_FALSE(Read(kC, R"({"model":")" + longest + "m\"}"));
}

TEST(RequestShape, Depth64_IsTheLast) {
  const auto nested = [](std::size_t arrays) {
    return R"({"model":"m","x":)" + std::string(arrays, '[') + std::string(arrays, ']') + "}";
  };
  EXPECT_TRUE(Read(kC, nested(kJsonDepthMax - 1)));
  const auto deeper = Read(kC, nested(kJsonDepthMax));
  ASSERT_FALSE(deeper);
  EXPECT_EQ(deeper.error().refusal, Refusal::kInvalidJson);
  EXPECT_FALSE(Read(kC, R"({"model":"m","x":)" + std::string(1'000'000, '[')));
}

TEST(RequestShape, EveryPrefix_IsRefusedAsJson) {
  const std::string body =
      R"({"model":"m\"","x":[1.5e+3,true,{"y":"\u00e9"}],"max_tokens":7,"stream":false})";
  ASSERT_TRUE(Read(kC, body));
  for (std::size_t length = 0; length < body.size(); ++length) {
    const auto shape = Read(kC, body.substr(0, length));
    ASSERT_FALSE(shape) << length;
    EXPECT_EQ(shape.error().refusal, Refusal::kInvalidJson) << length;
  }
}

// After an error simdjson's own objects are dead; ours must not be.
TEST(RequestReader, AfterErrorsAndLargeBodies_ReadsOn) {
  RequestReader reader;
  const std::string large = R"({"model":"m","input":")" + std::string(1 << 20, 'x') + "\"}";
  for (int round = 0; round < 3; ++round) {
    EXPECT_FALSE(reader.Read(kC, "{\"model\":\"\xff"));
    EXPECT_FALSE(reader.Read(kC, ""));
    EXPECT_TRUE(reader.Read(kC, large));
    EXPECT_TRUE(reader.Read(kC, R"({"model":"m"})"));
  }
}

TEST(RequestShape, Message_NeverRepeatsTheBody) {
  const auto shape = Read(kC, R"({"model":"m","max_tokens":"secret-text"})");
  ASSERT_FALSE(shape);
  EXPECT_EQ(shape.error().message.find("secret"), std::string::npos);
}

}  // namespace
}  // namespace weir::dialect
