#include "identity/flat_json.h"

#include <gtest/gtest.h>

namespace weir::identity {
namespace {

std::string Shown(std::string_view json) {
  const auto members = ReadFlatJson(json);
  if (!members) return std::string(members.error());
  std::string out;
  for (const FlatMember& member : *members) {
    out += "[" + member.name +
           (member.number ? "#" + std::to_string(*member.number) : "=" + member.text) + "]";
  }
  return out;
}

TEST(FlatJson, TextsAndNumbers_AreReadInTheirOrder) {
  EXPECT_EQ(Shown("{}"), "");
  EXPECT_EQ(Shown(" \t\r\n{ } \n"), "");
  EXPECT_EQ(Shown(R"({"a":"x","b":7})"), "[a=x][b#7]");
  EXPECT_EQ(Shown(" { \"b\" : -1 , \"a\" : \"\" } "), "[b#-1][a=]");
  EXPECT_EQ(Shown(R"({"":0})"), "[#0]");
  EXPECT_EQ(Shown(R"({"n":9223372036854775807,"m":-9223372036854775808})"),
            "[n#9223372036854775807][m#-9223372036854775808]");
}

TEST(FlatJson, Escapes_MeanWhatTheyMeanInJson) {
  EXPECT_EQ(Shown(R"({"a":"\"\\\/\b\f\n\r\t"})"), "[a=\"\\/\b\f\n\r\t]");
  EXPECT_EQ(Shown(R"({"\u0061":"\u0041\u007a"})"), "[a=Az]");
  // Beyond ASCII something stays there that is not ASCII either.
  EXPECT_EQ(Shown(R"({"a":"\u00e9"})"), "[a=\xEF\xBF\xBD]");
  EXPECT_EQ(Shown(R"({"a":"\ud83d\ude00"})"), "[a=\xEF\xBF\xBD\xEF\xBF\xBD]");
  EXPECT_EQ(Shown("{\"a\":\"caf\xc3\xa9\"}"), "[a=caf\xc3\xa9]");
}

TEST(FlatJson, WhatIsNoSuchObject_IsRefused) {
  struct Case {
    std::string json;
    std::string_view fault;
  };
  constexpr std::string_view kNot = "is not one JSON object";
  constexpr std::string_view kOther = "has a member that is neither a string nor a whole number";
  constexpr std::string_view kText = "has a string that is not valid JSON";
  for (const auto& [json, fault] : std::initializer_list<Case>{
           {"", kNot},
           {"{", kNot},
           {"[]", kNot},
           {"\"a\"", kNot},
           {"{}x", kNot},
           {"{}{}", kNot},
           {R"({"a":1)", kNot},
           {R"({"a":1,})", kNot},
           {R"({,"a":1})", kNot},
           {R"({"a" 1})", kNot},
           {R"({a:1})", kNot},
           {R"({'a':1})", kNot},
           {R"({"a":1 "b":2})", kNot},
           {R"({"a":01})", kOther},
           {R"({"a":+1})", kOther},
           {R"({"a":-})", kOther},
           {R"({"a":1.0})", kOther},
           {R"({"a":1e3})", kOther},
           {R"({"a":1E3})", kOther},
           {R"({"a":9223372036854775808})", kOther},
           {R"({"a":true})", kOther},
           {R"({"a":null})", kOther},
           {R"({"a":{}})", kOther},
           {R"({"a":["x"]})", kOther},
           {R"({"a":})", kOther},
           {R"({"a":"x)", kText},
           {R"({"a":"\)", kText},
           {R"({"a":"\x"})", kText},
           {R"({"a":"\u00g1"})", kText},
           {R"({"a":"\u00)", kText},
           {R"({"a":"\u-001"})", kText},
           {"{\"a\":\"x\ny\"}", kText},
           {std::string("{\"a\":\"x\0y\"}", 11), kText},
           {R"({"a":1,"a":2})", "has a member twice"},
           {R"({"a":1,"\u0061":2})", "has a member twice"},
           {std::string("\0{}", 3), kNot},
           {"\xEF\xBB\xBF{}", kNot},
       }) {
    EXPECT_EQ(Shown(json), fault) << json;
  }
}

TEST(FlatJson, Members_AreBounded) {
  std::string json = "{";
  for (std::size_t i = 0; i < kFlatMembersMax; ++i) json += "\"m" + std::to_string(i) + "\":1,";
  std::string right = json;
  right.back() = '}';
  EXPECT_EQ(ReadFlatJson(right)->size(), kFlatMembersMax);
  EXPECT_EQ(Shown(json + "\"more\":1}"), "has too many members");
}

// Cut anywhere, an object is none.
TEST(FlatJson, CutShort_IsRefused) {
  const std::string json = R"({"exp":1800000000,"user":"a\u0041\\","x":"y"})";
  ASSERT_TRUE(ReadFlatJson(json));
  for (std::size_t cut = 0; cut < json.size(); ++cut) {
    EXPECT_FALSE(ReadFlatJson(std::string_view(json).substr(0, cut))) << cut;
  }
}

}  // namespace
}  // namespace weir::identity
