#include "config/defaults.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace weir::config {
namespace {

std::vector<std::string> Ids(const Config& config) {
  std::vector<std::string> ids;
  for (const Model& model : config.models) ids.push_back(model.id);
  return ids;
}

TEST(EmbeddedDefault, ServesTheListedModelsFromTheSandbox) {
  const Config config = EmbeddedDefault();
  EXPECT_EQ(Ids(config), (std::vector<std::string>{"gpt-5.5", "gpt-5.4", "gpt-5.3-codex", "gpt-5.2",
                                                   "gpt-4o-mini-transcribe"}));
  ASSERT_EQ(config.upstreams.size(), 1U);
  EXPECT_EQ(config.upstreams[0].kind, UpstreamKind::kSandbox);
  for (const Model& model : config.models) {
    ASSERT_TRUE(model.price) << model.id;
    EXPECT_GT(model.price.versions().front().price.input.p, 0);
    EXPECT_LE(model.price.versions().front().price.cached_input,
              model.price.versions().front().price.input);
    EXPECT_GE(model.price.versions().front().price.output,
              model.price.versions().front().price.input);
    ASSERT_EQ(model.routes.size(), 1U);
    EXPECT_EQ(model.routes[0].upstream_model, model.id);
  }
  EXPECT_EQ(config.FindModel("gpt-5.2")->price.versions().front().price.cached_input.p, 175'000);
  EXPECT_EQ(config.FindModel("gpt-4o-mini-transcribe")->capabilities, kCapTranscription);
  EXPECT_EQ(config.FindModel("unknown"), nullptr);
}

TEST(OpenAiDefault, TakesEveryNameAtACeilingNoListedPriceIsAbove) {
  const Config config = OpenAiDefault(Secret("sk-test"));
  ASSERT_EQ(config.upstreams.size(), 1U);
  EXPECT_EQ(config.upstreams[0].host, "api.openai.com");
  EXPECT_EQ(config.upstreams[0].base_path, "/v1");
  EXPECT_EQ(config.upstreams[0].port, 443);
  EXPECT_TRUE(config.upstreams[0].tls);
  EXPECT_EQ(config.upstreams[0].api_key, Secret("sk-test"));
  const Model* any = config.FindModel("some-model-of-next-year");
  ASSERT_NE(any, nullptr);
  EXPECT_EQ(any->id, "*");
  EXPECT_EQ(any->routes[0].upstream_model, "");  // as the caller named it
  for (const Model& model : config.models) {
    EXPECT_LE(model.price.versions().front().price.input,
              any->price.versions().front().price.input);
    EXPECT_LE(model.price.versions().front().price.output,
              any->price.versions().front().price.output);
  }
}

TEST(FindModel, AnExactName_WinsOverTheWildcardWhereverItStands) {
  Config config;
  config.models.resize(2);
  config.models[0].id = "*";
  config.models[1].id = "m";
  EXPECT_EQ(config.FindModel("m"), &config.models[1]);
  EXPECT_EQ(config.FindModel("M"), &config.models[0]);
  EXPECT_EQ(config.FindModel(""), &config.models[0]);
  config.models.erase(config.models.begin());
  EXPECT_EQ(config.FindModel("M"), nullptr);
}

}  // namespace
}  // namespace weir::config
