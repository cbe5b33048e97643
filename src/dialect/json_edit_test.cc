#include "dialect/json_edit.h"

#include <gtest/gtest.h>

#include <string>

namespace weir::dialect {
namespace {

RequestShape Shape(Dialect dialect, std::string_view body) {
  RequestReader reader;
  auto shape = reader.Read(dialect, body);
  EXPECT_TRUE(shape.has_value()) << body;
  return shape ? *shape : RequestShape{};
}

TEST(Pieces, NoEdits_TheBodyItself) {
  std::vector<Edit> edits;
  const std::string_view body = "{\"a\":1}";
  const auto list = Pieces(body, edits);
  ASSERT_TRUE(list);
  ASSERT_EQ(list->pieces.size(), 1U);
  EXPECT_EQ(list->pieces[0].data(), body.data());
  EXPECT_EQ(list->size, body.size());
}

TEST(Pieces, Unsorted_AreSortedAndInsertsKeepTheirOrder) {
  EXPECT_EQ(Apply("abcdef", {{4, 1, "X"}, {0, 0, "1"}, {0, 0, "2"}, {0, 1, "A"}, {6, 0, "!"}}),
            "12AbcdXf!");
}

TEST(Pieces, OverlappingOrOutside_IsAnError) {
  EXPECT_FALSE(Apply("abcdef", {{1, 3, ""}, {2, 1, ""}}));
  EXPECT_FALSE(Apply("abcdef", {{1, 3, ""}, {3, 0, "x"}}));
  EXPECT_FALSE(Apply("abc", {{4, 0, "x"}}));
  EXPECT_FALSE(Apply("abc", {{2, 2, "x"}}));
  EXPECT_FALSE(Apply("abc", {{1, SIZE_MAX, "x"}}));
  EXPECT_TRUE(Apply("abc", {{3, 0, "x"}, {1, 2, ""}}));
}

struct EditCase {
  Dialect dialect;
  std::string_view body, edited;
};

TEST(EditOutputBound, Cases) {
  using enum Dialect;
  const EditCase table[] = {
      {kOpenAiResponses, R"({"model":"m"})", R"({"max_output_tokens":10,"model":"m"})"},
      {kOpenAiResponses, R"({"model":"m","max_output_tokens": 11 })",
       R"({"model":"m","max_output_tokens": 10 })"},
      {kOpenAiResponses, R"({"model":"m","max_output_tokens":10})",
       R"({"model":"m","max_output_tokens":10})"},
      {kOpenAiResponses, R"({"model":"m","max_output_tokens":null})",
       R"({"model":"m","max_output_tokens":10})"},
      {kOpenAiChat, R"({"model":"m"})", R"({"max_completion_tokens":10,"model":"m"})"},
      {kOpenAiChat, R"({"model":"m","max_tokens":99})", R"({"model":"m","max_tokens":10})"},
      {kOpenAiChat, R"({"model":"m","max_tokens":99,"max_completion_tokens":5})",
       R"({"model":"m","max_tokens":10,"max_completion_tokens":5})"},
      {kOpenAiChat, R"({"model":"m","max_completion_tokens":null,"max_tokens":null})",
       R"({"model":"m","max_completion_tokens":10,"max_tokens":10})"},
      {kAnthropicMessages, R"({"model":"m"})", R"({"max_tokens":10,"model":"m"})"},
      {kGeminiGenerate, "{}", R"({"generationConfig":{"maxOutputTokens":10}})"},
      {kGeminiGenerate, R"({"contents":[]})",
       R"({"generationConfig":{"maxOutputTokens":10},"contents":[]})"},
      {kGeminiGenerate, R"({"generationConfig":{}})",
       R"({"generationConfig":{"maxOutputTokens":10}})"},
      {kGeminiGenerate, R"({"generation_config":{"topK":1}})",
       R"({"generation_config":{"maxOutputTokens":10,"topK":1}})"},
      {kGeminiGenerate, R"({"generationConfig":null})",
       R"({"generationConfig":{"maxOutputTokens":10}})"},
      {kGeminiGenerate, R"({"generationConfig":{"max_output_tokens":11}})",
       R"({"generationConfig":{"max_output_tokens":10}})"},
  };
  for (const auto& row : table) {
    std::vector<Edit> edits;
    EditOutputBound(Shape(row.dialect, row.body), 10, edits);
    EXPECT_EQ(Apply(row.body, edits), row.edited);
  }
  std::vector<Edit> edits;
  EditOutputBound(Shape(Dialect::kOpenAiChat, R"({"model":"m"})"), 10, edits, true);
  EXPECT_EQ(Apply(R"({"model":"m"})", edits), R"({"max_tokens":10,"model":"m"})");
}

TEST(EditIncludeUsage, Cases) {
  const EditCase table[] = {
      {Dialect::kOpenAiChat, R"({"model":"m","stream":true})",
       R"({"stream_options":{"include_usage":true},"model":"m","stream":true})"},
      {Dialect::kOpenAiChat, R"({"model":"m","stream":true,"stream_options":{}})",
       R"({"model":"m","stream":true,"stream_options":{"include_usage":true}})"},
      {Dialect::kOpenAiChat, R"({"model":"m","stream":true,"stream_options":{"a":1}})",
       R"({"model":"m","stream":true,"stream_options":{"include_usage":true,"a":1}})"},
      {Dialect::kOpenAiChat, R"({"model":"m","stream":true,"stream_options":null})",
       R"({"model":"m","stream":true,"stream_options":{"include_usage":true}})"},
      {Dialect::kOpenAiChat,
       R"({"model":"m","stream":true,"stream_options":{"include_usage":false}})",
       R"({"model":"m","stream":true,"stream_options":{"include_usage":true}})"},
      {Dialect::kOpenAiChat,
       R"({"model":"m","stream":true,"stream_options":{"include_usage":null}})",
       R"({"model":"m","stream":true,"stream_options":{"include_usage":true}})"},
  };
  for (const auto& row : table) {
    std::vector<Edit> edits;
    EXPECT_TRUE(EditIncludeUsage(Shape(row.dialect, row.body), edits)) << row.body;
    EXPECT_EQ(Apply(row.body, edits), row.edited);
  }
  const EditCase untouched[] = {
      {Dialect::kOpenAiChat, R"({"model":"m"})", ""},
      {Dialect::kOpenAiChat,
       R"({"model":"m","stream":true,"stream_options":{"include_usage":true}})", ""},
      {Dialect::kOpenAiResponses, R"({"model":"m","stream":true})", ""},
      {Dialect::kAnthropicMessages, R"({"model":"m","stream":true})", ""},
  };
  for (const auto& row : untouched) {
    std::vector<Edit> edits;
    EXPECT_FALSE(EditIncludeUsage(Shape(row.dialect, row.body), edits)) << row.body;
    EXPECT_TRUE(edits.empty());
  }
}

TEST(Edits, AllAtOnce_LeaveTheRestByteForByte) {
  const std::string_view body =
      "{ \"x\" : [1 , 2.50e1],\t\"model\"\n:\"gpt\" ,\"stream\":true,\"z\":\"\\u00e9\" }";
  const RequestShape shape = Shape(Dialect::kOpenAiChat, body);
  std::vector<Edit> edits;
  EditIncludeUsage(shape, edits);
  EditOutputBound(shape, 7, edits);
  EditModel(shape, "up\"stream", edits);
  EXPECT_EQ(Apply(body, edits),
            "{\"stream_options\":{\"include_usage\":true},\"max_completion_tokens\":7, \"x\" : "
            "[1 , 2.50e1],\t\"model\"\n:\"up\\\"stream\" ,\"stream\":true,\"z\":\"\\u00e9\" }");
}

TEST(EditModel, SameName_ChangesNothing) {
  std::vector<Edit> edits;
  EditModel(Shape(Dialect::kOpenAiChat, R"({"model":"m"})"), "m", edits);
  EXPECT_TRUE(edits.empty());
}

TEST(AppendJsonString, AnyBytes_BecomeValidUtf8) {
  const std::pair<std::string_view, std::string_view> table[] = {
      {"", R"("")"},
      {"plain", R"("plain")"},
      {"a\"b\\c\n\r\t", R"("a\"b\\c\n\r\t")"},
      {std::string_view("\0\x1f\x7f", 3), "\"\\u0000\\u001f\\u007f\""},
      {"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x9A\x80", "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x9A\x80\""},
      {"\xFFx", "\"\xEF\xBF\xBDx\""},
      {"\xC3", "\"\xEF\xBF\xBD\""},
      {"\xC0\xAF", "\"\xEF\xBF\xBD\xEF\xBF\xBD\""},                  // overlong
      {"\xED\xA0\x80", "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\""},  // a surrogate
  };
  for (const auto& [text, quoted] : table) {
    std::string out;
    AppendJsonString(out, text);
    EXPECT_EQ(out, quoted);
  }
}

}  // namespace
}  // namespace weir::dialect
