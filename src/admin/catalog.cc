// What is served and from where: the models, upstreams, pools, packages and workspaces of the
// configuration in force.

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "admin/account_json.h"
#include "admin/handlers.h"
#include "admin/json_writer.h"
#include "admin/price_text.h"
#include "config/scalar.h"
#include "store/key_store.h"

namespace weir::admin {
namespace {

// As in the file.
std::string_view NameOf(config::UpstreamKind kind) {
  switch (kind) {
    case config::UpstreamKind::kSandbox:
      return "sandbox";
    case config::UpstreamKind::kOpenAi:
      return "openai";
    case config::UpstreamKind::kAnthropic:
      return "anthropic";
    case config::UpstreamKind::kGemini:
      return "gemini";
  }
  return "unknown";
}

std::string_view NameOf(config::AdaptProfile profile) {
  switch (profile) {
    case config::AdaptProfile::kOpenAiApi:
      return "openai_api";
    case config::AdaptProfile::kResponsesStrict:
      return "responses_strict";
  }
  return "unknown";
}

// What the file says of it; how it does now is beside this, not in it.
void WriteAccount(const config::Account& account, JsonWriter& json) {
  json.Open('{').Text("id", account.id).TextOrNull("api_key", account.api_key.empty() ? "" : "***");
  WriteAccountTerms(account, json);
  json.Close('}');
}

}  // namespace

void WriteCapabilities(std::uint32_t capabilities, JsonWriter& json) {
  json.Open("capabilities", '[');
  for (const auto& [bit, name] :
       {std::pair(config::kCapResponses, "responses"), std::pair(config::kCapChat, "chat"),
        std::pair(config::kCapTranscription, "transcription"),
        std::pair(config::kCapMessages, "messages"),
        std::pair(config::kCapGenerateContent, "generate_content")}) {
    if ((capabilities & bit) != 0) json.Element(name);
  }
  json.Close(']');
}

void WriteAccountTerms(const config::Account& account, JsonWriter& json) {
  json.Flag("enabled", account.enabled).Flag("draining", account.draining);
  if (account.models.empty()) {
    json.Null("models");
  } else {
    json.Texts("models", account.models);
  }
  WriteCapabilities(account.capabilities, json);
  json.Number("weight", account.weight)
      .Number("priority", account.priority)
      .Number("concurrency", account.concurrency)
      .Number("requests_per_minute", account.requests_per_minute)
      .Number("tokens_per_minute", account.tokens_per_minute)
      .Time("expires_at", account.expires_at)
      .Texts("reserved_for", account.keys)
      .Text("profile", NameOf(account.adapt))
      .TextOrNull("proxy", account.proxy ? config::FormatProxy(*account.proxy) : std::string());
}

namespace {

void WriteRates(const config::TokenRates& given, JsonWriter& json) {
  const config::TokenRates rates = config::Resolved(given);
  for (std::size_t i = 0; i < config::kTokenRates; ++i) {
    json.Text(fmt::format("{}_usd_per_million", config::kTokenRateName[i]),
              config::FormatUsdPerMillion(rates.*config::kTokenRate[i]));
  }
}

}  // namespace

void WritePrice(const config::PriceVersion& version, JsonWriter& json) {
  const config::Price& price = version.price;
  WriteRates(config::BaseRates(price), json);
  json.Usd("per_request_usd", price.per_request)
      .Usd("audio_second_usd", price.audio_second)
      .Usd("video_second_usd", price.video_second)
      .Usd("tool_call_usd", price.tool_call)
      .Open("tiers", '[');
  for (const config::PriceTier& tier : price.tiers) {
    json.Open('{').Number("above_input_tokens", tier.above_input_tokens);
    WriteRates(tier.rates, json);
    json.Close('}');
  }
  json.Close(']').Open("images", '[');
  for (const config::ImagePrice& image : price.images) {
    json.Open('{')
        .TextOrNull("size", image.size)
        .TextOrNull("quality", image.quality)
        .Usd("price_usd", image.each)
        .Close('}');
  }
  json.Close(']')
      .Number("version", price.version)
      .Text("id", config::Format(version.id))
      .Time("valid_from", version.valid_from);
}

AdminResponse ListModels(const Call& call) {
  const auto config = call.ports.config();
  JsonWriter json;
  json.Open('{').Open("data", '[');
  for (const config::Model& model : config->models) {
    json.Open('{')
        .Text("id", model.id)
        .TextOrNull("owned_by", model.owned_by)
        .Number("created", model.created)
        .TextOrNull("permission", model.permission);
    WriteCapabilities(model.capabilities, json);
    json.Open("routes", '[');
    for (const config::ModelRoute& route : model.routes) {
      json.Open('{')
          .Text("upstream", route.upstream < config->upstreams.size()
                                ? config->upstreams[route.upstream].name
                                : std::string())
          .Text("upstream_model", route.upstream_model)
          .Close('}');
    }
    json.Close(']');
    if (const config::PriceVersion* price = config->PriceOf(model, model.id, call.now)) {
      json.Open("price", '{');
      WritePrice(*price, json);
      json.Close('}');
    } else {
      json.Null("price");
    }
    json.Flag("price_from_catalog", model.price_by_name).Open("prices", '[');
    for (const config::PriceVersion& version : model.price.versions()) {
      json.Open('{');
      WritePrice(version, json);
      json.Close('}');
    }
    json.Close(']');
    if (model.downgrade) {
      json.Open("downgrade", '{')
          .Text("to", model.downgrade->to)
          .Number("above_percent", model.downgrade->above_percent)
          .Close('}');
    } else {
      json.Null("downgrade");
    }
    json.Number("input_tokens_max", model.input_tokens_max)
        .Number("output_tokens_max", model.output_tokens_max)
        .Close('}');
  }
  json.Close(']').Close('}');
  return JsonResponse(json.Take());
}

AdminResponse ListUpstreams(const Call& call) {
  const auto config = call.ports.config();
  JsonWriter json;
  json.Open('{').Open("data", '[');
  // By upstream in one pass: there may be ten thousand accounts.
  std::vector<std::vector<const config::Account*>> accounts(config->upstreams.size());
  for (const config::Account& account : config->accounts) {
    if (account.upstream < accounts.size()) accounts[account.upstream].push_back(&account);
  }
  for (std::size_t i = 0; i < accounts.size(); ++i) {
    const config::Upstream& upstream = config->upstreams[i];
    // The account of an upstream whose file has api_key instead of accounts.
    const auto own = std::ranges::find_if(
        accounts[i], [&](const auto* account) { return account->id == upstream.name; });
    const bool has_key = own != accounts[i].end() && !(*own)->api_key.empty();
    const bool http = upstream.kind != config::UpstreamKind::kSandbox;
    const auto ms = [](Duration duration) { return duration.ns / 1'000'000; };
    json.Open('{')
        .Text("name", upstream.name)
        .Text("kind", NameOf(upstream.kind))
        .TextOrNull("base_url", http ? config::FormatUrl({.tls = upstream.tls,
                                                          .host = upstream.host,
                                                          .port = upstream.port,
                                                          .path = upstream.base_path})
                                     : std::string())
        .TextOrNull("api_key", has_key ? "***" : "")
        .TextOrNull("ca_file", upstream.ca_file)
        .Number("concurrency", upstream.concurrency)
        .Number("connect_deadline_ms", ms(upstream.connect_deadline))
        .Number("first_byte_deadline_ms", ms(upstream.first_byte_deadline))
        .Number("event_deadline_ms", ms(upstream.event_deadline))
        .Number("total_deadline_ms", ms(upstream.total_deadline))
        .Number("reply_bytes_max", upstream.reply_bytes_max)
        .Open("accounts", '[');
    for (const config::Account* account : accounts[i]) WriteAccount(*account, json);
    json.Close(']').Close('}');
  }
  json.Close(']').Close('}');
  return JsonResponse(json.Take());
}

AdminResponse ListPools(const Call& call) {
  const auto config = call.ports.config();
  JsonWriter json;
  json.Open('{').Number("concurrency", config->concurrency).Open("data", '[');
  for (std::uint32_t i = 0; i < config->pools.size(); ++i) {
    const config::Pool& pool = config->pools[i];
    const routing::PoolView now = call.ports.accounts.view_pool(i);
    json.Open('{').Text("name", pool.name).Open("accounts", '[');
    for (const std::uint32_t account : pool.accounts) {
      if (account < config->accounts.size()) json.Element(config->accounts[account].id);
    }
    json.Close(']')
        .Number("concurrency", pool.concurrency)
        .Open("queue", '{')
        .Number("size", pool.queue.size)
        .Number("per_key", pool.queue.per_key)
        .Number("wait_ms", pool.queue.wait.ns / 1'000'000)
        .Close('}')
        .Open("state", '{')
        .Number("usable_accounts", now.usable)
        .Number("resting_accounts", now.resting);
    // 0 means no limit in the view; with nothing usable there is no capacity at all.
    if (now.capacity == 0 && now.usable > 0) {
      json.Null("capacity");
    } else {
      json.Number("capacity", now.capacity);
    }
    json.Number("in_flight", now.in_flight).Number("waiting", now.waiting).Close('}').Close('}');
  }
  json.Close(']').Close('}');
  return JsonResponse(json.Take());
}

AdminResponse ListPackages(const Call& call) {
  const auto config = call.ports.config();
  std::vector<std::int64_t> keys(config->packages.size());
  for (const identity::KeyRecordPtr& key : call.ports.keys.table()->All()) {
    if (key->state == identity::KeyState::kRevoked) continue;
    const std::uint32_t package = config->PackageOf(key->name, key->workspace, key->package);
    if (package < keys.size()) ++keys[package];
  }
  JsonWriter json;
  json.Open('{').Open("data", '[');
  for (std::size_t i = 0; i < keys.size(); ++i) {
    json.Open('{').Text("name", config->packages[i].name).Open("pools", '[');
    for (const std::uint32_t pool : config->packages[i].pools) {
      if (pool < config->pools.size()) json.Element(config->pools[pool].name);
    }
    json.Close(']').Flag("default", i == 0).Number("keys", keys[i]).Close('}');
  }
  json.Close(']').Close('}');
  return JsonResponse(json.Take());
}

AdminResponse ListWorkspaces(const Call& call) {
  const auto config = call.ports.config();
  std::map<std::string_view, std::int64_t> keys;
  for (const config::Workspace& workspace : config->workspaces) keys.emplace(workspace.name, 0);
  for (const identity::KeyRecordPtr& key : call.ports.keys.table()->All()) {
    if (key->state == identity::KeyState::kRevoked) continue;
    if (const auto found = keys.find(key->workspace); found != keys.end()) ++found->second;
  }
  JsonWriter json;
  json.Open('{').Open("data", '[');
  for (const config::Workspace& workspace : config->workspaces) {
    const std::uint32_t package = config->PackageOf({}, workspace.name, {});
    json.Open('{')
        .Text("name", workspace.name)
        .TextOrNull("package", package < config->packages.size() ? config->packages[package].name
                                                                 : std::string())
        .Number("keys", keys[workspace.name])
        .Close('}');
  }
  json.Close(']').Close('}');
  return JsonResponse(json.Take());
}

}  // namespace weir::admin
