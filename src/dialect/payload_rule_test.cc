// Which rules are taken, and in what form they are kept.
#include "dialect/payload_rule.h"

#include <gtest/gtest.h>

namespace weir::dialect {
namespace {

std::string FaultOf(std::string_view path, std::string_view value) {
  const auto rule = ParsePayloadRule(path, value);
  return rule ? "" : rule.error();
}

TEST(ParsePayloadRule, WhatMakesNoSense_IsRefusedWithTheReason) {
  for (const std::string_view path : {"", ".", "a.", ".a", "a..b"}) {
    EXPECT_EQ(FaultOf(path, "1"), "a segment of the path must have 1 to 64 bytes") << path;
  }
  for (const std::string_view path : {"a b", "a\"b", "a.\xC3\xBC", "a\nb", "a,b"}) {
    EXPECT_EQ(FaultOf(path, "1"), "a path has only letters, digits, '_', '-' and '.'") << path;
  }
  for (const std::string_view path : {"model", "stream", "model.x", "stream.0"}) {
    EXPECT_TRUE(FaultOf(path, "1").contains("cannot be set by a payload rule")) << path;
  }
  std::string deep = "a";
  for (std::size_t i = 1; i < kPayloadPathMax; ++i) deep += ".a";
  EXPECT_EQ(FaultOf(deep, "1"), "");
  EXPECT_EQ(FaultOf(deep + ".a", "1"), "a path has at most 16 segments");
  EXPECT_EQ(FaultOf(std::string(64, 'a'), "1"), "");
  EXPECT_NE(FaultOf(std::string(65, 'a'), "1"), "");
  for (const std::string_view value : {"", "text", "{", "1 2", "\"\xFF\"", "\"a\nb\""}) {
    EXPECT_EQ(FaultOf("a", value), "the value must be JSON; a text needs its quotes") << value;
  }
  EXPECT_NE(FaultOf("a", std::string(60, '[') + std::string(60, ']')), "");
  EXPECT_EQ(FaultOf("a", "\"" + std::string(kPayloadValueBytesMax - 2, 'x') + "\""), "");
  EXPECT_EQ(FaultOf("a", "\"" + std::string(kPayloadValueBytesMax - 1, 'x') + "\""),
            "the value has more than 4096 bytes");
}

TEST(ParsePayloadRule, AValue_IsKeptOnOneLineAsItWasWritten) {
  const auto rule = ParsePayloadRule("a.0.b-c", " {\"b\":\n\t1.10,\r\n\"c\": \"x\\n\"} \n");
  ASSERT_TRUE(rule);
  EXPECT_EQ(rule->value, "{\"b\":  1.10,  \"c\": \"x\\n\"}");
  EXPECT_EQ(rule->path, (std::vector<std::string>{"a", "0", "b-c"}));
  EXPECT_EQ(PathText(*rule), "a.0.b-c");
}

}  // namespace
}  // namespace weir::dialect
