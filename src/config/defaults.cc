#include "config/defaults.h"

#include <string>
#include <string_view>
#include <utility>

#include "config/accounts.h"

namespace weir::config {
namespace {

// USD per million tokens in units of a tenth of a cent, so that the table below is readable and
// exact: 1,250 is 1.25 USD.
constexpr PicoUsdPerUnit Mills(std::int64_t mills) { return {mills * 1'000}; }

struct Listed {
  std::string_view id;
  std::int64_t created;  // unix seconds of its release, as GET /models shows it
  std::uint32_t capabilities;
  std::int64_t input_mills;
  std::int64_t cached_input_mills;
  std::int64_t output_mills;
  std::int64_t output_tokens_max;
  std::int64_t input_tokens_max;
};

// Public list prices of the standard tier for short contexts, as seen in the middle of 2026. CHECK
// THEM BEFORE YOU BILL BY THEM: the provider's page is the truth, this is a copy. The priority tier
// costs more, and so do contexts beyond 272,000 tokens, which is why these models take no more
// here. The transcription model is listed with one price for text and one for audio input; here it
// has the dearer.
constexpr Listed kListed[] = {
    {"gpt-5.5", 1'776'902'400, kCapResponses | kCapChat, 5'000, 500, 30'000, 128'000, 272'000},
    {"gpt-5.4", 1'772'668'800, kCapResponses | kCapChat, 2'500, 250, 15'000, 128'000, 272'000},
    {"gpt-5.3-codex", 1'770'249'600, kCapResponses | kCapChat, 1'750, 175, 14'000, 128'000,
     272'000},
    {"gpt-5.2", 1'765'411'200, kCapResponses | kCapChat, 1'750, 175, 14'000, 128'000, 272'000},
    {"gpt-4o-mini-transcribe", 1'742'428'800, kCapTranscription, 3'000, 3'000, 5'000, 2'000,
     16'000},
};

// The models above on upstream 0.
void AddListedModels(Config& config) {
  for (const Listed& listed : kListed) {
    Model model;
    model.id = listed.id;
    model.owned_by = "openai";
    model.created = listed.created;
    model.capabilities = listed.capabilities;
    model.routes.push_back({0, model.id});
    Price price;
    price.input = Mills(listed.input_mills);
    price.cached_input = Mills(listed.cached_input_mills);
    price.cache_write = Mills(listed.input_mills);
    price.output = Mills(listed.output_mills);
    price.version = DerivedVersion(price);
    model.price = price;
    model.output_tokens_max = listed.output_tokens_max;
    model.input_tokens_max = listed.input_tokens_max;
    config.models.push_back(std::move(model));
  }
}

}  // namespace

Config EmbeddedDefault() {
  Config config;
  // Keys of the sandbox are keys of no other deployment, whatever the data directory.
  config.environment = "sandbox";
  Upstream sandbox;
  sandbox.name = "sandbox";
  sandbox.kind = UpstreamKind::kSandbox;
  config.upstreams.push_back(std::move(sandbox));
  AddListedModels(config);
  FinishAccounts(config);
  return config;
}

Config OpenAiDefault(Secret api_key) {
  Config config;
  Upstream openai;
  openai.name = "openai";
  openai.host = "api.openai.com";
  openai.base_path = "/v1";
  openai.api_key = std::move(api_key);
  config.upstreams.push_back(std::move(openai));
  AddListedModels(config);
  Model any;
  any.id = "*";
  any.owned_by = "openai";
  any.routes.push_back({0, ""});
  Price price;
  price.input = kCeilingInputPrice;
  price.cached_input = kCeilingInputPrice;
  price.cache_write = kCeilingInputPrice;
  price.output = kCeilingOutputPrice;
  price.version = DerivedVersion(price);
  any.price = price;
  any.input_tokens_max = 1'050'000;  // the longest context any listed model has
  config.models.push_back(std::move(any));
  FinishAccounts(config);
  return config;
}

}  // namespace weir::config
