// The entries below are made up; their fields and shapes are those of the two lists.
#include "prices/import.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/parse.h"
#include "config/price_text.h"

namespace weir::prices {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

Import Imported(std::string_view json, std::string_view only = {}) {
  auto import = ImportPrices(json, std::nullopt, only);
  EXPECT_TRUE(import) << (import ? "" : import.error());
  return import ? *std::move(import) : Import{};
}

std::string PriceOf(const Import& import, std::string_view model) {
  const config::PriceList* found = import.catalog.Find(model);
  return found == nullptr ? "none" : config::PriceListText(*found);
}

std::vector<std::string> Lines(const std::vector<Note>& notes) {
  std::vector<std::string> lines;
  for (const Note& note : notes) lines.push_back(note.model + " " + note.what);
  return lines;
}

// One LiteLLM entry named m of these fields, as text: its price, or why it was left out.
std::string LiteLlm(std::string_view fields, std::string_view mode = "chat") {
  const Import import = Imported("{\"m\":{\"litellm_provider\":\"x\",\"mode\":\"" +
                                 std::string(mode) + "\"," + std::string(fields) + "}}");
  if (!import.refused.empty()) return import.refused.front().what;
  if (import.unpriced != 0) return "unpriced";
  return PriceOf(import, "m");
}

std::string ModelsDev(std::string_view cost) {
  const Import import = Imported("{\"p\":{\"id\":\"p\",\"models\":{\"m\":{\"id\":\"m\",\"cost\":" +
                                 std::string(cost) + "}}}}");
  if (!import.refused.empty()) return import.refused.front().what;
  if (import.unpriced != 0) return "unpriced";
  return PriceOf(import, "p/m");
}

TEST(LiteLlm, RatesAndTiers) {
  EXPECT_EQ(LiteLlm(R"("input_cost_per_token":1.25e-06,"output_cost_per_token":1e-05,)"
                    R"("cache_read_input_token_cost":1.25e-07)"),
            "{input: 1.25, cached_input: 0.125, output: 10.00}");
  EXPECT_EQ(LiteLlm(R"("input_cost_per_token":3e-06,"output_cost_per_token":1.5e-05,)"
                    R"("cache_creation_input_token_cost":3.75e-06,)"
                    R"("cache_creation_input_token_cost_above_1hr":6e-06,)"
                    R"("cache_read_input_token_cost":3e-07,)"
                    R"("input_cost_per_token_above_200k_tokens":6e-06,)"
                    R"("output_cost_per_token_above_200k_tokens":2.25e-05,)"
                    R"("cache_creation_input_token_cost_above_200k_tokens":7.5e-06,)"
                    R"("cache_creation_input_token_cost_above_1hr_above_200k_tokens":1.2e-05,)"
                    R"("cache_read_input_token_cost_above_200k_tokens":6e-07)"),
            "{input: 3.00, cached_input: 0.30, cache_write: 3.75, output: 15.00, cache_write_1h: "
            "6.00, tiers: [{above_input_tokens: 200000, input: 6.00, cached_input: 0.60, "
            "cache_write: 7.50, output: 22.50, cache_write_1h: 12.00}]}");
  // Fields in any order, tiers in any order, what a tier does not give as below it.
  EXPECT_EQ(LiteLlm(R"("output_cost_per_token_above_256k_tokens":4e-06,)"
                    R"("input_cost_per_token_above_32k_tokens":2e-06,)"
                    R"("output_cost_per_token":3e-06,"input_cost_per_token":1e-06)"),
            "{input: 1.00, output: 3.00, tiers: [{above_input_tokens: 32000, input: 2.00}, "
            "{above_input_tokens: 256000, output: 4.00}]}");
  EXPECT_EQ(LiteLlm(R"("input_cost_per_token":1e-06,"output_cost_per_token":2e-06,)"
                    R"("output_cost_per_reasoning_token":4e-06,"input_cost_per_audio_token":3e-06,)"
                    R"("output_cost_per_audio_token":8e-06)"),
            "{input: 1.00, output: 2.00, reasoning: 4.00, input_audio: 3.00, output_audio: 8.00}");
  EXPECT_EQ(
      LiteLlm(R"("tiered_pricing":[{"input_cost_per_token":5e-08,"output_cost_per_token":4e-07,)"
              R"("range":[0,256000.0]},{"input_cost_per_token":2.5e-07,)"
              R"("output_cost_per_token":2e-06,"range":[256000.0,1000000.0]}])"),
      "{input: 0.05, output: 0.40, tiers: [{above_input_tokens: 256000, input: 0.25, output: "
      "2.00}]}");
}

TEST(LiteLlm, OtherThingsThanTokens) {
  EXPECT_EQ(LiteLlm(R"("input_cost_per_second":0.0001,"output_cost_per_second":0.0)",
                    "audio_transcription"),
            "{input: 0.00, output: 0.00, audio_second: 0.0001}");
  EXPECT_EQ(LiteLlm(R"("output_cost_per_video_per_second":0.4)", "video_generation"),
            "{input: 0.00, output: 0.00, video_second: 0.4}");
  EXPECT_EQ(LiteLlm(R"("output_cost_per_image":0.04)", "image_generation"),
            "{input: 0.00, output: 0.00, images: [{price: 0.04}]}");
  EXPECT_EQ(LiteLlm(R"("input_cost_per_token":1e-07,"output_cost_per_token":0.0)", "embedding"),
            "{input: 0.10, output: 0.00}");
  EXPECT_EQ(LiteLlm(R"("input_cost_per_query":0.002,"input_cost_per_token":0.0)", "rerank"),
            "{input: 0.00, output: 0.00, request: 0.002}");
  EXPECT_EQ(LiteLlm(R"("input_cost_per_token":1e-06,"output_cost_per_token":1e-06,)"
                    R"("search_context_cost_per_query":{"search_context_size_low":0.03,)"
                    R"("search_context_size_high":0.05,"search_context_size_medium":0.035})"),
            "{input: 1.00, output: 1.00, tool_call: 0.05}");
}

TEST(LiteLlm, KindsOfImages_AreOneModel) {
  const Import import = Imported(R"({
    "1024-x-1024/draw-2": {"mode":"image_generation","litellm_provider":"x",
                           "input_cost_per_pixel":1.9e-08,"output_cost_per_pixel":0.0},
    "hd/1024-x-1792/draw-2": {"mode":"image_generation","output_cost_per_image":0.12},
    "azure/low/512-x-512/draw-2": {"mode":"image_generation","output_cost_per_image":0.01},
    "low/1024-x-1024/draw-2": {"mode":"image_generation","input_cost_per_image":0.011,
                               "input_cost_per_pixel":1.0490417e-08,"output_cost_per_pixel":0.0},
    "512-x-512/50-steps/bedrock/draw-3": {"mode":"image_generation","output_cost_per_image":0.018},
    "draw-4": {"mode":"image_generation","input_cost_per_token":5e-06,"output_cost_per_token":4e-05},
    "low/1024-x-1024/draw-4": {"mode":"image_generation","output_cost_per_image":0.011}
  })");
  EXPECT_EQ(
      PriceOf(import, "draw-2"),
      "{input: 0.00, output: 0.00, images: [{size: \"1024x1024\", price: 0.019922944}, {size: "
      "\"1024x1792\", quality: \"hd\", price: 0.12}, {size: \"1024x1024\", quality: \"low\", "
      "price: 0.011}]}");
  EXPECT_EQ(PriceOf(import, "azure/draw-2"),
            "{input: 0.00, output: 0.00, images: [{size: \"512x512\", quality: \"low\", price: "
            "0.01}]}");
  EXPECT_EQ(
      PriceOf(import, "bedrock/draw-3"),
      "{input: 0.00, output: 0.00, images: [{size: \"512x512\", quality: \"50-steps\", price: "
      "0.018}]}");
  EXPECT_EQ(PriceOf(import, "draw-4"), "{input: 5.00, output: 40.00}") << "never both";
  EXPECT_THAT(Lines(import.raised),
              ElementsAre("draw-4 is sold by kinds of images as well; its price by the token alone "
                          "was taken"));
}

TEST(LiteLlm, WhatUsageDoesNotTellApart_CostsTheDearer) {
  const Import import = Imported(R"({"m":{"mode":"chat","input_cost_per_token":1e-06,
      "input_cost_per_image_token":9e-07,"output_cost_per_token":2e-06,
      "output_cost_per_image_token":3e-05,"cache_read_input_token_cost":1e-07,
      "cache_read_input_audio_token_cost":3e-07}})");
  EXPECT_EQ(PriceOf(import, "m"), "{input: 1.00, cached_input: 0.30, output: 30.00}");
  EXPECT_THAT(Lines(import.raised),
              ElementsAre("m cached_input is that of the dearest tokens it stands for",
                          "m output is that of the dearest tokens it stands for"));
}

TEST(LiteLlm, WhatCannotBeKept_IsNamedAndNeverFree) {
  const struct {
    const char* fields;
    const char* fault;
  } rows[] = {
      {R"("input_cost_per_token":0.0,"output_cost_per_token":0)",
       "costs nothing; a free model is given its price by hand"},
      {R"("input_cost_per_token":1e-06)", "has a price of input and none of output"},
      {R"("output_cost_per_token":1e-06)", "has no price of input"},
      {R"("input_cost_per_token":"1e-06","output_cost_per_token":1)",
       "input_cost_per_token is not a price"},
      {R"("input_cost_per_token":-1e-06,"output_cost_per_token":1e-06)",
       "input_cost_per_token is not a price"},
      {R"("input_cost_per_token":2,"output_cost_per_token":1e-06)",
       "input is above one USD a token"},
      {R"("input_cost_per_token":1e30,"output_cost_per_token":1e-06)",
       "input_cost_per_token is not a price"},
      {R"("input_cost_per_token":2e-06,"output_cost_per_token":9e-06,)"
       R"("output_cost_per_token_above_128k_tokens":8e-06)",
       "output falls from 9.00 to 8.00 above 128000 input tokens"},
      {R"("input_cost_per_character":1e-06)", "unpriced"},
      {R"("input_cost_per_token":null)", "unpriced"},
      {R"("max_tokens":5)", "unpriced"},
      {R"("tiered_pricing":[{"input_cost_per_token":1e-06,"range":["x",1]}])",
       "tiered_pricing has a range that is none"},
  };
  for (const auto& row : rows) EXPECT_THAT(LiteLlm(row.fields), HasSubstr(row.fault)) << row.fields;
}

TEST(LiteLlm, TheReport_SaysWhatWasNotTaken) {
  const Import import = Imported(R"({
    "sample_spec": {"input_cost_per_token": 0.0, "mode": "one of: chat"},
    "a": {"mode":"chat","input_cost_per_token":1.00000000000001e-06,"output_cost_per_token":2e-06,
          "input_cost_per_token_priority":2e-06,"output_cost_per_token_above_272k_tokens_priority":1,
          "input_cost_per_token_batches":5e-07,"file_search_cost_per_1k_calls":0.0025,
          "code_interpreter_cost_per_session":0.0,"supports_vision":true,"max_tokens":10,
          "moon_phase":"new"},
    "b": {"mode":"chat","input_cost_per_token":1e-06,"output_cost_per_token":2e-06,
          "moon_phase":"full"},
    "b": {"mode":"chat","input_cost_per_token":1e-09,"output_cost_per_token":2e-09},
    "c": 5,
    "other/d": {"mode":"chat","input_cost_per_token":1e-06,"output_cost_per_token":2e-06}
  })",
                                 "?");
  EXPECT_EQ(import.format, Format::kLiteLlm);
  EXPECT_EQ(PriceOf(import, "a"), "{input: 1.000001, output: 2.00}");
  EXPECT_THAT(Lines(import.raised),
              ElementsAre("a input_cost_per_token 1.00000000000001e-06 is finer than is kept and "
                          "was rounded up"));
  EXPECT_THAT(Lines(import.refused), ElementsAre("b is in the list twice", "c is not an object"));
  EXPECT_THAT(
      import.not_taken,
      ElementsAre(Pair("file_search_cost_per_1k_calls", 1), Pair("input_cost_per_token_batches", 1),
                  Pair("input_cost_per_token_priority", 1),
                  Pair("output_cost_per_token_above_272k_tokens_priority", 1)));
  EXPECT_THAT(import.unknown, ElementsAre(Pair("moon_phase", 2)));
  EXPECT_EQ(import.filtered, 1U);
}

TEST(ModelsDev, Costs) {
  EXPECT_EQ(ModelsDev(R"({"input":2.5,"output":15,"cache_read":0.25})"),
            "{input: 2.50, cached_input: 0.25, output: 15.00}");
  EXPECT_EQ(
      ModelsDev(R"({"input":1.25,"output":10,"reasoning":12,"cache_write":1.5625,)"
                R"("input_audio":3,"output_audio":20})"),
      "{input: 1.25, cache_write: 1.5625, output: 10.00, reasoning: 12.00, input_audio: 3.00, "
      "output_audio: 20.00}");
  EXPECT_EQ(ModelsDev(R"({"input":2,"output":12,"cache_read":0.2,"context_over_200k":)"
                      R"({"input":4,"output":18,"cache_read":0.4}})"),
            "{input: 2.00, cached_input: 0.20, output: 12.00, tiers: [{above_input_tokens: 200000, "
            "input: 4.00, cached_input: 0.40, output: 18.00}]}");
  // The newer form says where the tier begins, and counts.
  EXPECT_EQ(ModelsDev(R"({"input":5,"output":30,"tiers":[{"input":10,"output":45,"tier":)"
                      R"({"type":"context","size":272000}}],"context_over_200k":)"
                      R"({"input":10,"output":45}})"),
            "{input: 5.00, output: 30.00, tiers: [{above_input_tokens: 272000, input: 10.00, "
            "output: 45.00}]}");
  EXPECT_EQ(ModelsDev(R"({"input":0.0000001,"output":1})"), "{input: 0.000001, output: 1.00}");
}

TEST(ModelsDev, WhatCannotBeKept_IsNamed) {
  EXPECT_THAT(ModelsDev(R"({"input":0,"output":0})"), HasSubstr("costs nothing"));
  EXPECT_EQ(ModelsDev("null"), "unpriced");
  EXPECT_EQ(ModelsDev("{}"), "unpriced");
  EXPECT_EQ(ModelsDev("[]"), "has a cost that is no object");
  EXPECT_EQ(ModelsDev(R"({"input":1})"), "has a price of input and none of output");
  EXPECT_EQ(ModelsDev(R"({"input":1,"output":true})"), "cost.output is not a price");
  EXPECT_EQ(ModelsDev(R"({"input":1,"output":1,"tiers":[{"input":2,"tier":{"type":"speed"}}]})"),
            "has a tier by something other than the length of the input");
  EXPECT_THAT(ModelsDev(R"({"input":2,"output":1,"context_over_200k":{"input":1}})"),
              HasSubstr("input falls from 2.00 to 1.00"));
  const Import import = Imported(
      R"({"p":{"models":{"a":{"cost":{"input":1,"output":1,"image":3}}}},"q":{"id":"q"}})");
  EXPECT_THAT(import.not_taken, ElementsAre(Pair("cost.image", 1)));
  EXPECT_THAT(import.unknown, ElementsAre(Pair("provider without models", 1)));
}

TEST(ImportPrices, OtherTexts_AreRefusedInASentence) {
  EXPECT_THAT(ImportPrices("").error(), HasSubstr("is not JSON: "));
  EXPECT_EQ(ImportPrices("[]").error(), "is not a JSON object");
  EXPECT_EQ(ImportPrices("{}").error(), "is neither LiteLLM's list of prices nor models.dev's");
  EXPECT_EQ(ImportPrices(R"({"a":{"b":1}})").error(),
            "is neither LiteLLM's list of prices nor models.dev's");
  EXPECT_TRUE(ImportPrices("{}", Format::kLiteLlm));
}

TEST(ImportPrices, NamesThatNoPriceFileTakes_AreRefused) {
  const Import import = Imported(
      "{\"a\\n\":{\"mode\":\"chat\",\"input_cost_per_token\":1e-06,\"output_cost_per_token\":1e-06}"
      ","
      "\"\":{\"mode\":\"chat\",\"input_cost_per_token\":1e-06,\"output_cost_per_token\":1e-06},"
      "\"a \\\"b\\\" \\\\ # :\":{\"mode\":\"chat\",\"input_cost_per_token\":1e-06,"
      "\"output_cost_per_token\":1e-06}}");
  EXPECT_EQ(import.refused.size(), 2U);
  const std::string file = config::PriceFileText(import.catalog, "");
  const auto back = config::ParsePriceFile(file, "p");
  ASSERT_TRUE(back) << file;
  EXPECT_NE(back->Find("a \"b\" \\ # :"), nullptr);
}

TEST(Matches, StarsAndQuestionMarks) {
  EXPECT_TRUE(Matches("gpt-*", "gpt-5.5"));
  EXPECT_TRUE(Matches("*", ""));
  EXPECT_TRUE(Matches("**a**", "bab"));
  EXPECT_TRUE(Matches("openai/*5", "openai/gpt-5.5"));
  EXPECT_TRUE(Matches("gpt-?.?", "gpt-5.5"));
  EXPECT_FALSE(Matches("gpt-?", "gpt-"));
  EXPECT_FALSE(Matches("gpt", "gpt-5"));
  EXPECT_FALSE(Matches("", "a"));
  EXPECT_FALSE(Matches("*a", "ab"));
  EXPECT_FALSE(Matches(std::string(1000, '*') + "b", std::string(10'000, 'a')));
}

}  // namespace
}  // namespace weir::prices
