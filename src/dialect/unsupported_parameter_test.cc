// The error bodies are as upstreams sent them; where they were published stands beside them.
#include "dialect/unsupported_parameter.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>

#include "dialect/failure_class.h"

namespace weir::dialect {
namespace {

TEST(UnsupportedParameter, WhatUpstreamsSay) {
  struct Case {
    std::string_view evidence, body, name;
  };
  const Case table[] = {
      {"RayBytes/ChatMock#103, kortix-ai/suna#5124",
       R"({"detail":"Unsupported parameter: max_output_tokens"})", "max_output_tokens"},
      {"appatalks/eva-agent#83, RA.Aid#70",
       R"({"error":{"message":"Unsupported parameter: 'temperature' is not supported with this model.","type":"invalid_request_error","param":"temperature","code":"unsupported_parameter"}})",
       "temperature"},
      {"OpenHands/software-agent-sdk#1837: no code",
       R"({"error":{"message":"Unsupported parameter: 'temperature' is not supported with this model.","type":"invalid_request_error","param":"temperature","code":null}})",
       "temperature"},
      {"tailcallhq/forgecode#1081",
       R"({"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.","type":"invalid_request_error","param":"max_tokens","code":"unsupported_parameter"}})",
       "max_tokens"},
      {"caozhiyuan/copilot-api#164: a code of its own",
       R"({"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model.","code":"invalid_request_body"}})",
       "max_tokens"},
      {"formulahendry/wechat-acp#16",
       R"({"error":{"message":"Unrecognized request argument supplied: reasoning_effort","type":"invalid_request_error","param":null,"code":null}})",
       "reasoning_effort"},
      {"the path of a nested one",
       R"({"error":{"message":"Unknown parameter: 'reasoning.summary'.","param":"reasoning.summary","code":"unknown_parameter"}})",
       "reasoning.summary"},
      {"an element's member", R"({"detail":"Unknown parameter: include_list[12].x_1."})",
       "include_list[12].x_1"},
      {"the code is enough", R"({"error":{"message":"no","param":"n","code":"unknown_parameter"}})",
       "n"},
  };
  for (const auto& c : table) EXPECT_EQ(UnsupportedParameter(c.body), c.name) << c.evidence;
}

TEST(UnsupportedParameter, WhatSaysSomethingElse_GivesNothing) {
  for (
      const std::string_view body :
      {// jcode#1028: part of what the caller said; and one retry would only find the next one.
       R"({"error":{"code":"unknown_parameter","message":"Unknown parameter: 'input[3].status'.","param":"input[3].status","type":"invalid_request_error"}})",
       // 9router#560: the parameter is known, its value is not.
       R"({"error":{"message":"Unsupported value: 'temperature' does not support 0.16 with this model.","param":"temperature","code":"unsupported_value"}})",
       R"({"error":{"message":"Item with id 'rs_1' not found.","param":"input","code":null}})",
       R"({"error":{"message":"","param":"temperature","code":"invalid_value"}})",
       R"({"detail":"Store must be set to false"})", R"({"detail":["Unsupported parameter: x"]})",
       R"({"error":"Unsupported parameter: x"})", R"({"detail":"unsupported parameter: x"})",
       R"({"detail":"Unsupported parameter: "})", R"({"detail":"Unsupported parameter: 'x"})",
       R"({"detail":"Unsupported parameter: a, b"} )", R"(["Unsupported parameter: x"])", "",
       "Unsupported parameter: x", R"({"detail":"Unsupported parameter: x")",
       R"({"detail":"Unsupported parameter: x","detail":"Unsupported parameter: y"})"}) {
    const auto named = UnsupportedParameter(body);
    if (body.find("a, b") != std::string_view::npos) {
      EXPECT_EQ(named, "a") << body;  // one at a time: there is one retry
    } else {
      EXPECT_FALSE(named) << body;
    }
  }
}

TEST(UnsupportedParameter, NamesThatMustStay_AreNeverGiven) {
  for (const std::string_view name :
       {"model", "input", "messages", "instructions", "tools", "tool_choice", "prompt", "store",
        "stream", "text", "response_format", "previous_response_id", "conversation", "functions",
        "function_call", "input[0].content", "model.x", "text.format", "tools[0].strict"}) {
    const std::string body = fmt::format(R"({{"detail":"Unsupported parameter: '{}'"}})", name);
    EXPECT_FALSE(UnsupportedParameter(body)) << name;
    EXPECT_FALSE(DropMember(fmt::format(R"({{"{}":1}})", name), name)) << name;
  }
  EXPECT_EQ(UnsupportedParameter(R"({"detail":"Unsupported parameter: model_x"})"), "model_x");
}

TEST(UnsupportedParameter, NamesOfOtherBytes_AreNeverGiven) {
  for (const std::string_view name :
       {"a b", "a-b", "a\\\"b", "a/b", "\\u00fc", "a..b", ".a", "a.", "a[", "a[]", "a[x]", "a[1]",
        "a[1", "a]b", "a[12345].b", "[0].a", "a\\n", "x\\r\\nset-cookie:y"}) {
    const std::string body =
        fmt::format(R"({{"error":{{"param":"{}","code":"unknown_parameter"}}}})", name);
    EXPECT_FALSE(UnsupportedParameter(body)) << name;
  }
  const std::string longest(kParameterBytesMax, 'a');
  EXPECT_EQ(UnsupportedParameter(fmt::format(R"({{"detail":"Unknown parameter: {}"}})", longest)),
            longest);
  EXPECT_FALSE(
      UnsupportedParameter(fmt::format(R"({{"detail":"Unknown parameter: {}a"}})", longest)));
  const std::string large(kErrorBodyBytesMax, ' ');
  EXPECT_FALSE(UnsupportedParameter(R"({"detail":"Unsupported parameter: x"})" + large));
}

TEST(DropMember, OneMemberAndOneComma_TheRestStays) {
  struct Case {
    std::string_view body, path, after;
  };
  const Case table[] = {
      {R"({"a":1})", "a", "{}"},
      {R"({ "a" : 1 })", "a", "{  }"},
      {R"({"a":1,"b":2})", "a", R"({"b":2})"},
      {R"({"a":1,"b":2})", "b", R"({"a":1})"},
      {R"({"a":1 , "b":[1,{}] , "c":3})", "b", R"({"a":1 ,  "c":3})"},
      {R"({"a":{"b":1,"c": 1.0},"x":"\u0061"})", "a.b", R"({"a":{"c": 1.0},"x":"\u0061"})"},
      {R"({"l":[{"b":1},{"b":2,"c":3}]})", "l[1].b", R"({"l":[{"b":1},{"c":3}]})"},
      {R"({"l":[[0,{"b":1}]]})", "l[0][1].b", R"({"l":[[0,{}]]})"},
      {R"({"t\u0065mp":1,"b":2})", "temp", R"({"b":2})"},
      {R"({"a":"},,{"})", "a", "{}"},
      {"\n{\"a\":1,\n\"b\":2}\n", "b", "\n{\"a\":1}\n"},
  };
  for (const auto& c : table) EXPECT_EQ(DropMember(c.body, c.path), c.after) << c.body;
}

TEST(DropMember, WhatIsNotThere_IsAnError) {
  const std::string_view body = R"({"a":{"b":1},"l":[1],"n":null,"d":1,"d":2})";
  for (const std::string_view path : {"x", "a.x", "a.b.c", "a[0].b", "l[1].x", "l[0].x", "l.b",
                                      "n.x", "d", "l[0]", "", "a.", "A"}) {
    EXPECT_FALSE(DropMember(body, path)) << path;
  }
  EXPECT_FALSE(DropMember("[1]", "a"));
  EXPECT_FALSE(DropMember(R"({"a":1)", "a"));
  EXPECT_FALSE(DropMember("", "a"));
}

}  // namespace
}  // namespace weir::dialect
