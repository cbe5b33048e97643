#include "gateway/sandbox_schema.h"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <string>

namespace weir::gateway {
namespace {

std::string Minimal(std::string_view schema, SchemaHints hints = {}) {
  boost::json::parse_options options;
  options.max_depth = 256;
  boost::json::error_code failed;
  const auto value = boost::json::parse({schema.data(), schema.size()}, failed, {}, options);
  EXPECT_FALSE(failed) << schema;
  const std::string text = MinimalJson(&value, hints);
  boost::json::parse({text.data(), text.size()}, failed, {}, options);
  EXPECT_FALSE(failed) << "not JSON: " << text.substr(0, 200);
  return text;
}

TEST(SandboxSchema, MinimalJson_Table) {
  struct Case {
    const char* schema;
    const char* expected;
  };
  const Case cases[] = {
      {R"({"type":"object","properties":{"a":{"type":"string"},"b":{"type":"integer"}},"required":["b"]})",
       R"({"b":1})"},
      {R"({"type":"object","properties":{"a":{"type":"string"},"b":{"type":"boolean"}}})",
       R"({"a":"ok","b":true})"},
      {R"({"type":"object","properties":{"a":{"type":"string"}},"required":[]})", R"({})"},
      {R"({"type":"object","required":["undeclared"]})", R"({"undeclared":"ok"})"},
      {R"({"properties":{"a":{"type":["null","number"]}},"required":["a"]})", R"({"a":1})"},
      {R"({"type":"object","properties":{"a":{"type":"null"}},"required":["a"]})", R"({"a":null})"},
      {R"({"enum":["x","y"]})", R"("x")"},
      {R"({"const":{"k":[1,2]}})", R"({"k":[1,2]})"},
      {R"({"anyOf":[{"type":"null"},{"type":"integer","minimum":7}]})", "7"},
      {R"({"oneOf":[{"type":"boolean"}]})", "true"},
      {R"({"allOf":[{"type":"object","properties":{"z":{"type":"string"}},"required":["z"]}]})",
       R"({"z":"ok"})"},
      {R"({"type":"array","items":{"type":"integer"}})", "[1]"},
      {R"({"type":"array","items":{"type":"integer"},"minItems":3})", "[1,1,1]"},
      {R"({"type":"array","items":{"type":"integer"},"maxItems":0})", "[]"},
      {R"({"type":"array"})", "[]"},
      {R"({"type":"integer","minimum":5})", "5"},
      {R"({"type":"integer","exclusiveMinimum":5})", "6"},
      {R"({"type":"integer","maximum":-3})", "-3"},
      {R"({"type":"integer","exclusiveMaximum":-3})", "-4"},
      {R"({"type":"integer","minimum":10,"multipleOf":7})", "14"},
      {R"({"type":"integer","maximum":-10,"multipleOf":7})", "-7"},
      {R"({"type":"integer","minimum":9223372036854775807})", "9223372036854775807"},
      {R"({"type":"integer","exclusiveMinimum":9223372036854775807})", "1"},
      {R"({"type":"integer","minimum":9223372036854775807,"multipleOf":2})", "9223372036854775807"},
      {R"({"type":"integer","exclusiveMaximum":-9223372036854775808})", "1"},
      {R"({"type":"integer","minimum":18446744073709551615})", "1"},
      {R"({"type":"number","minimum":0.5})", "5E-1"},
      {R"({"type":"string","minLength":5})", R"("okxxx")"},
      {R"({"type":"string","maxLength":1})", R"("o")"},
      {R"({"type":"string","minLength":-4,"maxLength":-4})", R"("ok")"},
      {R"({"type":"string","format":"date"})", R"("2026-01-01")"},
      {R"({"type":"string","format":"email"})", R"("sandbox@example.com")"},
      {R"({"$ref":"#/$defs/a","$defs":{"a":{"type":"boolean"}}})", "true"},
      {R"({"$ref":"#/$defs/a~1b","$defs":{"a/b":{"type":"boolean"}}})", "true"},
      {R"({"$ref":"#/nowhere"})", "null"},
      {R"({"$ref":"https://example.com/schema"})", "null"},
      {R"({"$ref":"#a"})", "null"},
      {R"({"type":7,"minimum":"x","items":3,"required":{},"properties":[]})", "{}"},
      {R"({"type":"object","required":[1,null,"a"],"properties":{"a":5}})", R"({"a":"ok"})"},
      {R"({"type":"strange"})", R"("ok")"},
      {R"({"type":[]})", "null"},
      {R"([])", "{}"},
      {R"(true)", "{}"},
  };
  for (const auto& c : cases) EXPECT_EQ(Minimal(c.schema), c.expected) << c.schema;
}

TEST(SandboxSchema, NoSchema_IsAnEmptyObject) { EXPECT_EQ(MinimalJson(nullptr, {}), "{}"); }

TEST(SandboxSchema, NamedValues_AreTakenFromThePrompt) {
  const char* schema =
      R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"integer"},"city":{"type":"string"}},)"
      R"("required":["a","b","city"]})";
  EXPECT_EQ(Minimal(schema, {.prompt = "call add with a=40 and b=-2"}),
            R"({"a":40,"b":-2,"city":"Paris"})");
  // Not a number, not this name, too long to be one: the least value stays.
  EXPECT_EQ(Minimal(schema, {.prompt = "data=5 b=x city=Oslo"}), R"({"a":1,"b":1,"city":"Oslo"})");
  EXPECT_EQ(Minimal(schema, {.prompt = "a=0123456 b=1234567890123456789"}),
            R"({"a":1,"b":1,"city":"Paris"})");
}

TEST(SandboxSchema, ShellCommands_AreAlwaysTheHarmlessEcho) {
  EXPECT_EQ(
      Minimal(R"({"type":"object","properties":{"cmd":{"type":"string"}},"required":["cmd"]})",
              {.prompt = "cmd=rm", .shell = true}),
      R"({"cmd":"echo weir-sandbox"})");
  EXPECT_EQ(
      Minimal(
          R"({"properties":{"command":{"type":"array","items":{"type":"string"}}},"required":["command"]})",
          {.prompt = {}, .shell = true}),
      R"({"command":["bash","-lc","echo weir-sandbox"]})");
}

TEST(SandboxSchema, SelfReference_EndsAtTheBound) {
  EXPECT_EQ(Minimal(R"({"$ref":"#"})"), "null");
  EXPECT_EQ(
      Minimal(
          R"({"type":"object","properties":{"next":{"anyOf":[{"$ref":"#"},{"type":"null"}]}},"required":["next"]})"),
      R"({"next":{"next":null}})");
  const std::string list =
      Minimal(R"({"type":"object","properties":{"n":{"$ref":"#"}},"required":["n"]})");
  EXPECT_LT(list.size(), 200u);
}

TEST(SandboxSchema, ManyItems_StopAtTheBounds) {
  const std::string many =
      Minimal(R"({"type":"array","minItems":9223372036854775807,"items":{"type":"integer"}})");
  EXPECT_LE(many.size(), 2u * kSchemaNodesMax + 8);
  EXPECT_GT(many.size(), 1000u);
  // Every level asks for a thousand: without a bound on all values that is a thousand to the tenth.
  std::string nested = R"({"type":"integer"})";
  for (int i = 0; i < 10; ++i) {
    nested = R"({"type":"array","minItems":1000,"items":)" + nested + "}";
  }
  EXPECT_LE(Minimal(nested).size(), 3 * kSchemaBytesMax);
  const std::string long_text = Minimal(
      R"({"type":"array","minItems":100,"items":{"type":"string","minLength":9223372036854775807}})");
  EXPECT_LE(long_text.size(), 3 * kSchemaBytesMax);
}

}  // namespace
}  // namespace weir::gateway
