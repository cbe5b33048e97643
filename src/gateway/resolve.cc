#include <algorithm>
#include <array>
#include <optional>
#include <span>

#include "dialect/json_scan.h"
#include "dialect/multipart.h"
#include "dialect/transcription.h"
#include "gateway/pipeline.h"
#include "gateway/wallet_owner.h"

namespace weir::gateway {
namespace {

bool IsJson(std::string_view content_type) {
  if (content_type.empty())
    return true;  // nobody sends another thing to these endpoints unlabelled
  const std::string_view media = content_type.substr(0, content_type.find(';'));
  std::string_view trimmed = media;
  while (!trimmed.empty() && trimmed.back() == ' ') trimmed.remove_suffix(1);
  return EqualsIgnoreCase(trimmed, "application/json");
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The model a path names, decoded once, as the upstream will decode it: what is looked up must be
// what is served. Nothing for a name that is too long, has control characters or a broken escape,
// or has a segment that an upstream's server could take for a way to another of its endpoints.
std::optional<std::string> ModelOfPath(std::string_view raw) {
  if (raw.size() > 3 * dialect::kModelBytesMax) return std::nullopt;
  std::string model;
  for (std::size_t i = 0; i < raw.size(); ++i) {
    char c = raw[i];
    if (c == '%') {
      if (i + 2 >= raw.size()) return std::nullopt;
      const int high = HexDigit(raw[i + 1]);
      const int low = HexDigit(raw[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      c = static_cast<char>(high * 16 + low);
      i += 2;
    }
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F) return std::nullopt;
    model += c;
  }
  if (model.empty() || model.size() > dialect::kModelBytesMax) return std::nullopt;
  std::string_view rest = model;
  while (true) {
    const auto end = rest.find_first_of("/\\");
    const std::string_view segment = rest.substr(0, end);
    if (segment.empty() || segment == "." || segment == "..") return std::nullopt;
    if (end == std::string_view::npos) return model;
    rest.remove_prefix(end + 1);
  }
}

// Gemini streams a JSON array unless it is asked for events; an array is not metered as it passes.
bool AsksForEvents(std::string_view query) {
  while (!query.empty()) {
    const auto end = query.find('&');
    const std::string_view pair = query.substr(0, end);
    if (pair == "alt=sse" || pair == "$alt=sse" || pair == "%24alt=sse") return true;
    query = end == std::string_view::npos ? std::string_view() : query.substr(end + 1);
  }
  return false;
}

// Whether the input can be more than the bytes of the body say: images and files are counted by
// what they show, earlier responses and stored prompts are added by the upstream, and its own tools
// feed results back in. Then only the model's context bounds the input. A false alarm costs a
// larger hold and nothing else.
bool InputIsElsewhere(const dialect::RequestShape& shape, std::string_view body) {
  if (!shape.previous_response_id.empty() || !shape.conversation_id.empty()) return true;
  constexpr std::string_view kOpenAi[] = {
      "input_image\"", "input_file\"", "image_url\"",   "file_id\"",
      "input_audio\"", "web_search",   "file_search\"", "code_interpreter\"",
      "computer",      "mcp\"",        "prompt\""};
  constexpr std::string_view kAnthropic[] = {"image\"",       "document\"", "container",
                                             "web_search",    "web_fetch",  "code_execution",
                                             "mcp_servers\"", "file_id\""};
  constexpr std::string_view kGemini[] = {
      "inlineData\"",    "inline_data\"",    "fileData\"",      "file_data\"",
      "cachedContent\"", "cached_content\"", "googleSearch",    "google_search",
      "urlContext\"",    "url_context\"",    "codeExecution\"", "code_execution\"",
      "fileSearch\"",    "file_search\"",    "googleMaps\"",    "google_maps\""};
  std::span<const std::string_view> marks = kOpenAi;
  if (shape.dialect == dialect::Dialect::kAnthropicMessages) marks = kAnthropic;
  if (shape.dialect == dialect::Dialect::kGeminiGenerate) marks = kGemini;
  // One pass from quote to quote: a body is long and its quotes are few, and behind most of them
  // stands a byte that no mark begins with.
  static constexpr auto kFirst = [] {
    std::array<bool, 256> first{};
    for (const unsigned char c : std::string_view("cdfgimpuw")) first[c] = true;
    return first;
  }();
  const char* const end = body.data() + body.size();
  const auto quote_from = [end](const char* at) {
    return dialect::FindFirst(at, end, [](auto c) { return c == '"'; });
  };
  for (const char* at = quote_from(body.data()); at != end; at = quote_from(at)) {
    if (++at == end || !kFirst[static_cast<unsigned char>(*at)]) continue;
    const std::string_view rest(at, static_cast<std::size_t>(end - at));
    for (const std::string_view mark : marks) {
      if (mark.front() == *at && rest.starts_with(mark)) return true;
    }
  }
  return false;
}

// The searches and other calls of the provider's own tools that a request may cause, of the body's
// own word: OpenAI's max_tool_calls, Anthropic's max_uses of each such tool. Who says nothing gets
// kToolCallsAssumed; what goes beyond that is the operator's.
std::int64_t ToolCallsBound(std::string_view body) {
  constexpr std::int64_t kToolCallsAssumed = 10;
  constexpr std::int64_t kToolCallsMax = 1'000;
  constexpr std::string_view kTools[] = {"\"web_search", "\"file_search\"", "\"googleSearch",
                                         "\"google_search", "\"code_interpreter\""};
  if (std::ranges::none_of(kTools, [&](std::string_view tool) { return body.contains(tool); })) {
    return 0;
  }
  std::int64_t bound = 0;
  for (const std::string_view name : {"\"max_tool_calls\"", "\"max_uses\""}) {
    for (std::size_t at = body.find(name); at != std::string_view::npos;
         at = body.find(name, at + 1)) {
      std::string_view rest = body.substr(at + name.size());
      rest.remove_prefix(std::min(rest.find_first_not_of(" \t\r\n:"), rest.size()));
      std::int64_t value = 0;
      std::size_t digits = 0;
      for (; digits < rest.size() && rest[digits] >= '0' && rest[digits] <= '9'; ++digits) {
        value = std::min(value * 10 + (rest[digits] - '0'), kToolCallsMax);
      }
      bound = std::min(bound + (digits > 0 ? value : kToolCallsAssumed), kToolCallsMax);
    }
  }
  return bound > 0 ? bound : kToolCallsAssumed;
}

}  // namespace

bool IsRouted(const config::Config& config, const config::Model& model,
              const Operation& operation) {
  return std::ranges::any_of(model.routes, [&](const config::ModelRoute& route) {
    return Speaks(config.upstreams[route.upstream].kind, operation.dialect);
  });
}

namespace {

// Words that ask for what the list price is of, or for less. Seen in the vendors' pages in 2026;
// another word is one that we do not know the price of.
constexpr std::array<std::string_view, 5> kUsualTiers = {"auto", "default", "standard",
                                                         "standard_only", "flex"};
constexpr std::array<std::string_view, 1> kUsualSpeeds = {"standard"};
constexpr std::array<std::string_view, 1> kUsualPlaces = {"global"};

}  // namespace

std::string_view UncoveredService(const config::Model& model, const dialect::RequestShape& shape) {
  const auto among = [](const auto& words, const std::string& word) {
    return std::ranges::find(words, word) != words.end();
  };
  const auto covered = [&](const std::string& asked, std::span<const std::string_view> usual) {
    return asked.empty() || among(usual, asked) || among(model.service_tiers, asked);
  };
  if (!covered(shape.service_tier, kUsualTiers)) return "service_tier";
  if (!covered(shape.speed, kUsualSpeeds)) return "speed";
  if (!covered(shape.inference_geo, kUsualPlaces)) return "inference_geo";
  return {};
}

Quote MakeQuote(const config::Model& model, const config::PriceVersion& price, bool capped,
                const Operation& operation, const dialect::RequestShape& shape,
                std::string_view body, std::int64_t useful_min) {
  Quote quote;
  if (operation.kind == OperationKind::kCountTokens) return quote;
  quote.price = price.price;
  quote.price_id = price.id;
  quote.multiplier_ppm = model.multiplier.ppm;
  const auto bytes = static_cast<std::int64_t>(body.size());
  // Looked for only where it matters: the hold decides nothing where nothing bounds it.
  const bool elsewhere = capped && !shape.audio && InputIsElsewhere(shape, body);
  quote.input_tokens_bound =
      elsewhere ? model.input_tokens_max : std::min(bytes, model.input_tokens_max);
  const std::int64_t asked =
      shape.output.tokens > 0 ? shape.output.tokens : model.output_tokens_max;
  const std::int64_t per_choice = std::min(asked, model.output_tokens_max);
  quote.output_choices = shape.choices;
  quote.output_tokens_bound = per_choice * shape.choices;
  quote.output_tokens_useful = std::min(useful_min, per_choice);
  if (price.price.tool_call > NanoUsd{0} && shape.has_tools) {
    quote.tool_calls_bound = ToolCallsBound(body);
  }
  if (shape.audio) {
    quote.audio_ms_bound = shape.audio->length.ms_max;
    quote.output_tokens_useful = per_choice;  // no member bounds it: all of it is held, or nothing
  }
  return quote;
}

std::expected<Plan, RefusalReason> Resolve(const Snapshot& snapshot, const identity::KeyRecord& key,
                                           const RequestHead& head, const Operation& operation,
                                           dialect::RequestReader& reader, std::string_view body,
                                           Instant now) {
  const config::Config& config = *snapshot.config;
  const std::string_view content_type = head.Find("content-type");
  const bool form = operation.body == BodyKind::kForm;
  if (form ? !dialect::IsMultipartForm(content_type) : !IsJson(content_type)) {
    return std::unexpected(RefusalReason{
        .refusal = Refusal::kUnsupportedMediaType,
        .message = form ? "This endpoint takes multipart/form-data, with the parts 'file' and "
                          "'model'"
                        : ""});
  }
  if (!head.Find("content-encoding").empty()) {
    return std::unexpected(RefusalReason{.refusal = Refusal::kUnsupportedMediaType,
                                         .message = "Compressed request bodies are not accepted"});
  }
  auto shape =
      form ? dialect::ReadTranscription(content_type, body) : reader.Read(operation.dialect, body);
  if (!shape) {
    return std::unexpected(RefusalReason{.refusal = shape.error().refusal,
                                         .message = std::move(shape.error().message),
                                         .param = std::move(shape.error().param)});
  }
  if (operation.dialect == dialect::Dialect::kGeminiGenerate) {
    auto model = ModelOfPath(operation.model);
    if (!model) {
      return std::unexpected(RefusalReason{.refusal = Refusal::kInvalidRequest,
                                           .message = "The model in the path is malformed",
                                           .param = "model"});
    }
    shape->model = *std::move(model);
    if (operation.streams && !AsksForEvents(head.query)) {
      return std::unexpected(
          RefusalReason{.refusal = Refusal::kInvalidRequest,
                        .message = "Only event streams are served here: add ?alt=sse to the URL"});
    }
  }

  // A model the key may not use is one that does not exist, as far as this key can tell.
  const config::Model* model = config.FindModel(shape->model);
  if (model == nullptr || !identity::AllowsModel(key, shape->model) ||
      (model->capabilities & operation.capability) == 0 || !IsRouted(config, *model, operation)) {
    return std::unexpected(RefusalReason{.refusal = Refusal::kModelNotFound,
                                         .message = {},
                                         .param = "model",
                                         .hint = "GET /models lists the models of this API key"});
  }
  if (!model->permission.empty() && !identity::HasPermission(key, model->permission)) {
    return std::unexpected(RefusalReason{.refusal = Refusal::kPermissionDenied});
  }
  const config::PriceVersion* const price = config.PriceOf(*model, shape->model, now);
  if (price == nullptr) {
    return std::unexpected(RefusalReason{.refusal = Refusal::kModelUnpriced});
  }

  if (const std::string_view member = UncoveredService(*model, *shape);
      !member.empty() && operation.kind == OperationKind::kGenerate) {
    return std::unexpected(RefusalReason{
        .refusal = Refusal::kInvalidRequest,
        .message = "The price of this model does not cover this " + std::string(member),
        .param = std::string(member),
        .hint = "Leave " + std::string(member) + " out"});
  }

  Plan plan;
  plan.model = model;
  plan.body = body;
  plan.stream = operation.streams || (operation.may_stream && shape->stream);
  plan.package = config.PackageOf(key.name, key.workspace, key.package);
  plan.wallet = UnitOf(config.packages[plan.package].wallet);
  const bool capped =
      key.limits.budget.has_value() || plan.wallet.has_value() || snapshot.has_policies();
  plan.quote =
      MakeQuote(*model, *price, capped, operation, *shape, body, config.useful_output_tokens_min);
  plan.unbounded = form;
  plan.shape = std::move(*shape);
  return plan;
}

}  // namespace weir::gateway
