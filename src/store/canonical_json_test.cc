// One form for each value, and nothing that two readers could read differently.
#include "store/canonical_json.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace weir::store {
namespace {

TEST(CanonicalText, IsWhatRfc8785Says) {
  struct Case {
    std::string_view text;
    std::string_view want;
  };
  for (const Case& c : std::initializer_list<Case>{
           {"", R"("")"},
           {"plain /", R"("plain /")"},
           {"\"\\", R"("\"\\")"},
           {"\b\t\n\f\r", R"("\b\t\n\f\r")"},
           {std::string_view("\0\x1F\x7F", 3), "\"\\u0000\\u001f\x7F\""},
           {"\xE2\x82\xAC", "\"\xE2\x82\xAC\""},  // the euro sign of its example
           {"\xF0\x9F\x98\x82", "\"\xF0\x9F\x98\x82\""},
           {"a\xFFz", "\"a\xEF\xBF\xBDz\""},                              // no UTF-8
           {"\xC0\xAF", "\"\xEF\xBF\xBD\xEF\xBF\xBD\""},                  // too long a form
           {"\xED\xA0\x80", "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\""},  // half a pair
           {"\xE2\x82", "\"\xEF\xBF\xBD\xEF\xBF\xBD\""},                  // cut
       }) {
    EXPECT_EQ(CanonicalText(c.text), c.want);
  }
}

TEST(CanonicalObject, SortsItsMembersByTheirNames) {
  CanonicalObject inner;
  inner.Flag("z", false).Null("A");
  const std::string text = CanonicalObject()
                               .Text("b", "x")
                               .Number("a", -7)
                               .Json("B", inner.Write())
                               .TextOrNull("aa", "")
                               .Json("l", CanonicalList(std::vector<std::string>{"1", "\"2\""}))
                               .Write();
  EXPECT_EQ(text, R"({"B":{"A":null,"z":false},"a":-7,"aa":null,"b":"x","l":[1,"2"]})");
  EXPECT_EQ(Canonicalised(text), text);
  EXPECT_EQ(CanonicalObject().Write(), "{}");
}

TEST(CanonicalObject, ANumber_IsNeverMoreThanEveryReaderTakes) {
  EXPECT_EQ(CanonicalObject().Number("n", INT64_MAX).Write(), R"({"n":9007199254740991})");
  EXPECT_EQ(CanonicalObject().Number("n", INT64_MIN).Write(), R"({"n":-9007199254740991})");
}

TEST(Canonicalised, AnyWriting_IsOneForm) {
  const std::string want = R"({"a":[1,{"x":null,"y":true}],"b":"é\n"})";
  for (const std::string_view text :
       {R"({"b":"é\n","a":[1,{"y":true,"x":null}]})",
        " {\n \"b\" : \"\\u00e9\\u000A\" ,\t\"a\":[ 1 , {\"x\":null , \"y\":true} ] } \n"}) {
    EXPECT_EQ(Canonicalised(text), want);
  }
  EXPECT_EQ(Canonicalised(R"({"s":{"s":1},"b":2,"s2":3})", "s"), R"({"b":2,"s2":3})");
  EXPECT_EQ(Canonicalised(R"({"a":{"s":1}})", "s"), R"({"a":{"s":1}})");  // the outermost alone
}

TEST(Canonicalised, WhatTwoReadersMayReadDifferently_IsRefused) {
  struct Case {
    std::string text;
    std::string_view why;
  };
  for (const Case& c : std::initializer_list<Case>{
           {"", "not JSON"},
           {"{", "not JSON"},
           {"{} {}", "not JSON"},
           {"[]", "not a JSON object"},
           {R"({"a":1.5})", "not whole"},
           {R"({"a":1e2})", "not whole"},
           {R"({"a":9007199254740992})", "too large"},
           {R"({"a":18446744073709551615})", "too large"},
           {R"({"a":1,"a":2})", "twice"},
           {R"({"o":{"a":"x:y","a":"\":"}})", "twice"},
           {R"({"a":1,"\u0061":2})", "twice"},
           {"{\"\xC3\xA9\":1}", "ASCII"},
           {std::string(40, '[') + std::string(40, ']'), "not JSON"},
           {"{\"a\":\"\xFF\"}", "not JSON"},
       }) {
    const auto result = Canonicalised(c.text);
    ASSERT_FALSE(result) << c.text;
    EXPECT_TRUE(result.error().detail.contains(c.why)) << c.text << ": " << result.error().detail;
  }
}

}  // namespace
}  // namespace weir::store
