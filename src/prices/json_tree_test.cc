#include "prices/json_tree.h"

#include <gtest/gtest.h>

namespace weir::prices {
namespace {

TEST(ReadJson, NumbersKeepTheirCharacters) {
  const auto root = ReadJson(
      " {\"a\": 1.250e-06 "
      ",\n\"b\":[0.1,-0,1E+5],\"c\":{\"d\":\"\\u0041\\n\",\"e\":null,\"f\":true},"
      "\"a\":2} \n");
  ASSERT_TRUE(root) << root.error();
  EXPECT_EQ(root->Find("a")->text, "1.250e-06");
  EXPECT_EQ(root->Find("a")->kind, JsonKind::kNumber);
  ASSERT_EQ(root->Find("b")->items.size(), 3U);
  EXPECT_EQ(root->Find("b")->items[1].text, "-0");
  EXPECT_EQ(root->Find("b")->items[2].text, "1E+5");
  EXPECT_EQ(root->Find("c")->Find("d")->text, "A\n");
  EXPECT_EQ(root->Find("c")->Find("e")->kind, JsonKind::kNull);
  EXPECT_EQ(root->Find("c")->Find("f")->text, "true");
  EXPECT_EQ(root->members.size(), 4U) << "what is given twice is there twice";
  EXPECT_EQ(root->Find("z"), nullptr);
}

TEST(ReadJson, WhatIsNoJsonObject_IsRefused) {
  for (const char* text : {"",
                           " ",
                           "[]",
                           "1",
                           "\"a\"",
                           "null",
                           "{",
                           "{\"a\":1",
                           "{\"a\":1}}",
                           "{\"a\":1} x",
                           "{\"a\":1}{}",
                           "{\"a\" 1}",
                           "{a:1}",
                           "{\"a\":nul}",
                           "{\"a\":nullx}",
                           "{\"a\":tru}",
                           "{\"a\":\"\\x\"}",
                           "{\"a\":\"\\ud800\"}",
                           "{\"a\":[1,]}",
                           "{\"a\":[1 2]}",
                           "{,}",
                           "{\"a\":1,}",
                           "\xFF{}",
                           "{\"\xFF\":1}"}) {
    EXPECT_FALSE(ReadJson(text)) << text;
  }
  EXPECT_FALSE(ReadJson(std::string_view("{}\0", 3)));
}

TEST(ReadJson, DepthAndSizeAreBounded) {
  std::string deep = "{\"a\":";
  for (std::size_t i = 0; i < kJsonDepthMax; ++i) deep += "[";
  const std::string closed = deep + std::string(kJsonDepthMax, ']') + "}";
  EXPECT_TRUE(ReadJson(closed));
  std::string deeper = "{\"a\":" + std::string(100'000, '[');
  EXPECT_FALSE(ReadJson(deeper));
  const auto refused = ReadJson("{\"a\":[" + closed + "]}");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), "is nested too deep");
  EXPECT_FALSE(ReadJson(std::string(kJsonBytesMax + 1, ' ')));
}

}  // namespace
}  // namespace weir::prices
