// What is served and from where: the models and upstreams of the configuration in force.

#include <string>
#include <utility>

#include "admin/handlers.h"
#include "admin/json_writer.h"
#include "admin/price_text.h"
#include "config/scalar.h"

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

}  // namespace

void WritePrice(const config::Price& price, JsonWriter& json) {
  json.Text("input_usd_per_million", config::FormatUsdPerMillion(price.input))
      .Text("cached_input_usd_per_million", config::FormatUsdPerMillion(price.cached_input))
      .Text("cache_write_usd_per_million", config::FormatUsdPerMillion(price.cache_write))
      .Text("output_usd_per_million", config::FormatUsdPerMillion(price.output))
      .Usd("per_request_usd", price.per_request)
      .Number("version", price.version);
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
        .TextOrNull("permission", model.permission)
        .Open("capabilities", '[');
    for (const auto& [bit, name] :
         {std::pair(config::kCapResponses, "responses"), std::pair(config::kCapChat, "chat"),
          std::pair(config::kCapTranscription, "transcription"),
          std::pair(config::kCapMessages, "messages"),
          std::pair(config::kCapGenerateContent, "generate_content")}) {
      if ((model.capabilities & bit) != 0) json.Element(name);
    }
    json.Close(']').Open("routes", '[');
    for (const config::ModelRoute& route : model.routes) {
      json.Open('{')
          .Text("upstream", route.upstream < config->upstreams.size()
                                ? config->upstreams[route.upstream].name
                                : std::string())
          .Text("upstream_model", route.upstream_model)
          .Close('}');
    }
    json.Close(']');
    if (model.price) {
      json.Open("price", '{');
      WritePrice(*model.price, json);
      json.Close('}');
    } else {
      json.Null("price");
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
  for (const config::Upstream& upstream : config->upstreams) {
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
        .TextOrNull("api_key", upstream.api_key.empty() ? "" : "***")
        .TextOrNull("ca_file", upstream.ca_file)
        .Number("connect_deadline_ms", ms(upstream.connect_deadline))
        .Number("first_byte_deadline_ms", ms(upstream.first_byte_deadline))
        .Number("event_deadline_ms", ms(upstream.event_deadline))
        .Number("total_deadline_ms", ms(upstream.total_deadline))
        .Number("reply_bytes_max", upstream.reply_bytes_max)
        .Close('}');
  }
  json.Close(']').Close('}');
  return JsonResponse(json.Take());
}

}  // namespace weir::admin
