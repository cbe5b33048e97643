#include "dialect/json_view.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

namespace weir::dialect {
namespace {

TEST(CheckJson, WhatIsJson_IsTaken) {
  for (const std::string_view text :
       {R"({})", R"([])", R"("")", "0", "-0.5e+10", "true", "null",
        " \t\r\n{ \"a\" : [ 1 , {} ] } ", R"({"a":"\ud83d\ude00\"\\\/\b\f\n\r\t"})",
        R"(["\ud800"])", R"([1e999999,123456789012345678901234567890])",
        "{\"\xC3\xBC\":\"\xF0\x9F\x9A\x80\"}"}) {
    EXPECT_TRUE(CheckJson(text)) << text;
  }
}

TEST(CheckJson, WhatIsNot_IsRefused) {
  for (const std::string_view text : {"",
                                      " ",
                                      "{",
                                      "[",
                                      "\"",
                                      "{\"a\"",
                                      "{\"a\":",
                                      "{\"a\":1",
                                      "{\"a\":1,}",
                                      "[1,]",
                                      "[,1]",
                                      "{,}",
                                      "{a:1}",
                                      "{1:1}",
                                      "[1 2]",
                                      "{\"a\" 1}",
                                      "01",
                                      "1.",
                                      ".5",
                                      "+1",
                                      "1e",
                                      "-",
                                      "--1",
                                      "tru",
                                      "truex",
                                      "nul",
                                      "NaN",
                                      "1x",
                                      "{}{}",
                                      "{} x",
                                      "[}",
                                      "{]",
                                      "]",
                                      R"("\x")",
                                      R"("\u12")",
                                      R"("\u12g4")",
                                      R"("\)",
                                      "\"a\nb\"",
                                      "[\"\t\"]",
                                      "\"\xFF\"",
                                      "\"\xED\xA0\x80\"",
                                      "\"\xC0\x80\"",
                                      "{\"a\":\"\xE2\x82\"}",
                                      "// c\n1",
                                      "'a'"}) {
    const auto checked = CheckJson(text);
    ASSERT_FALSE(checked) << text;
    EXPECT_EQ(checked.error().refusal, Refusal::kInvalidJson) << text;
  }
}

TEST(CheckJson, Depth_IsBoundedWithoutRecursion) {
  const auto nested = [](std::size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_TRUE(CheckJson(nested(kJsonDepthMax)));
  EXPECT_FALSE(CheckJson(nested(kJsonDepthMax + 1)));
  EXPECT_FALSE(CheckJson(nested(10), 9));
  EXPECT_FALSE(CheckJson(std::string(1 << 20, '[')));
}

TEST(JsonMembers, AreViewsOfTheVeryBytes) {
  const std::string_view text = R"({ "a" : "x\"}," , "b":[1,{"c":2}],"d":{} , "e":-1.5e3 })";
  ASSERT_TRUE(CheckJson(text));
  JsonMembers members(text);
  JsonMember member;
  std::vector<std::string> seen;
  while (members.Next(member)) {
    EXPECT_GE(member.whole.data(), text.data());
    EXPECT_TRUE(member.whole.ends_with(member.value));
    seen.push_back(std::string(member.name) + "=" + std::string(member.value));
  }
  EXPECT_EQ(seen,
            (std::vector<std::string>{R"(a="x\"},")", R"(b=[1,{"c":2}])", "d={}", "e=-1.5e3"}));
}

TEST(JsonElements, AreHandedOutInOrder) {
  for (const std::string_view text :
       {R"([1,"a]",[2],{"b":[3]},null])", "[ 1 , \"a]\" , [2] , {\"b\":[3]} , null ]"}) {
    JsonElements elements(text);
    std::string_view element;
    std::vector<std::string_view> seen;
    while (elements.Next(element)) seen.push_back(element);
    EXPECT_EQ(seen, (std::vector<std::string_view>{"1", "\"a]\"", "[2]", "{\"b\":[3]}", "null"}));
  }
  std::string_view element;
  EXPECT_FALSE(JsonElements("[]").Next(element));
  EXPECT_FALSE(JsonElements("[ \n]").Next(element));
}

TEST(FindMembers, ANameTwiceHoweverEscaped_IsSeen) {
  const std::array<std::string_view, 2> names = {"role", "id"};
  std::array<JsonMember, 2> found;
  EXPECT_TRUE(FindMembers(R"({"id":1,"x":2,"x":3})", names, found));
  EXPECT_TRUE(found[0].value.empty());
  EXPECT_EQ(found[1].value, "1");
  EXPECT_FALSE(FindMembers(R"({"role":1,"r\u006fle":2})", names, found));
  EXPECT_TRUE(FindMembers(R"({"r\u006fle":2})", names, found));
  EXPECT_EQ(found[0].value, "2");
}

TEST(DecodeJson, Cases) {
  EXPECT_EQ(DecodeJson(R"(a\n\t\"\\\/\u00fc\ud83d\ude80)"), "a\n\t\"\\/\xC3\xBC\xF0\x9F\x9A\x80");
  EXPECT_EQ(DecodeJson(R"(\ud83dx)"), "\xEF\xBF\xBDx");
  EXPECT_EQ(DecodeJson(R"(\ude80\ud83d\u0041)"),
            "\xEF\xBF\xBD\xEF\xBF\xBD"
            "A");
  EXPECT_TRUE(JsonTextIs(R"(\u0061b)", "ab"));
  EXPECT_FALSE(JsonTextIs(R"(a\nb)", R"(a\nb)"));
  EXPECT_FALSE(JsonTextIs("ab", "abc"));
}

}  // namespace
}  // namespace weir::dialect
