#include <algorithm>

#include "gateway/pipeline.h"

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

// Whether the input can be more than the bytes of the body say: images and files are counted by
// what they show, earlier responses and stored prompts are added by the upstream, and its own tools
// feed results back in. Then only the model's context bounds the input. A false alarm costs a
// larger hold and nothing else.
bool InputIsElsewhere(const dialect::RequestShape& shape, std::string_view body) {
  if (!shape.previous_response_id.empty() || !shape.conversation_id.empty()) return true;
  for (const std::string_view mark :
       {"\"input_image\"", "\"input_file\"", "\"image_url\"", "\"file_id\"", "\"input_audio\"",
        "\"web_search", "\"file_search\"", "\"code_interpreter\"", "\"computer", "\"mcp\"",
        "\"prompt\""}) {
    if (body.find(mark) != std::string_view::npos) return true;
  }
  return false;
}

// The upper bound of what the request can use.
//   input   A byte-level token covers at least one byte of UTF-8, and the JSON around a message is
//           longer than the tokens a provider adds for it, so bytes bound tokens (money.md section
//           3).
//   output  What the caller allows, or the model's maximum, for each choice.
Quote MakeQuote(const config::Model& model, const identity::KeyRecord& key,
                const Operation& operation, const dialect::RequestShape& shape,
                std::string_view body, std::int64_t useful_min) {
  Quote quote;
  quote.price = *model.price;
  if (operation.kind == OperationKind::kCountTokens) {
    quote.price = {};
    return quote;
  }
  const auto bytes = static_cast<std::int64_t>(body.size());
  // Looked for only where it matters: the hold decides nothing for a key without a budget.
  const bool elsewhere = key.limits.budget.has_value() && InputIsElsewhere(shape, body);
  quote.input_tokens_bound =
      elsewhere ? model.input_tokens_max : std::min(bytes, model.input_tokens_max);
  const std::int64_t asked =
      shape.output.tokens > 0 ? shape.output.tokens : model.output_tokens_max;
  const std::int64_t per_choice = std::min(asked, model.output_tokens_max);
  quote.output_choices = shape.choices;
  quote.output_tokens_bound = per_choice * shape.choices;
  quote.output_tokens_useful = std::min(useful_min, per_choice);
  return quote;
}

}  // namespace

std::expected<Plan, RefusalReason> Resolve(const Snapshot& snapshot, const identity::KeyRecord& key,
                                           const RequestHead& head, const Operation& operation,
                                           dialect::RequestReader& reader, std::string_view body) {
  const config::Config& config = *snapshot.config;
  if (!IsJson(head.Find("content-type"))) {
    return std::unexpected(RefusalReason{.refusal = Refusal::kUnsupportedMediaType});
  }
  if (!head.Find("content-encoding").empty()) {
    return std::unexpected(RefusalReason{.refusal = Refusal::kUnsupportedMediaType,
                                         .message = "Compressed request bodies are not accepted"});
  }
  auto shape = reader.Read(operation.dialect, body);
  if (!shape) {
    return std::unexpected(RefusalReason{.refusal = shape.error().refusal,
                                         .message = std::move(shape.error().message),
                                         .param = std::move(shape.error().param)});
  }

  // A model the key may not use is one that does not exist, as far as this key can tell.
  const config::Model* model = config.FindModel(shape->model);
  if (model == nullptr || !identity::AllowsModel(key, shape->model) ||
      (model->capabilities & operation.capability) == 0) {
    return std::unexpected(RefusalReason{.refusal = Refusal::kModelNotFound,
                                         .message = {},
                                         .param = "model",
                                         .hint = "GET /models lists the models of this API key"});
  }
  if (!identity::HasPermission(key, model->permission)) {
    return std::unexpected(RefusalReason{.refusal = Refusal::kPermissionDenied});
  }
  if (!model->price) return std::unexpected(RefusalReason{.refusal = Refusal::kModelUnpriced});

  Plan plan;
  plan.model = model;
  plan.body = body;
  plan.stream = operation.may_stream && shape->stream;
  plan.quote = MakeQuote(*model, key, operation, *shape, body, config.useful_output_tokens_min);
  plan.shape = std::move(*shape);
  return plan;
}

}  // namespace weir::gateway
