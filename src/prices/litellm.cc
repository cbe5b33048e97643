// The fields as they stand in the list and its own sample_spec (seen in 2026). A name says what is
// sold, from which length of input on, and for which kind of service:
//
//   input_cost_per_token [_above_272k_tokens] [_priority | _flex | _batches]

#include "prices/litellm.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "prices/decimal.h"
#include "prices/draft.h"

namespace weir::prices {
namespace {

constexpr int kPicoDecimals = 12;  // USD a token

struct TokenField {
  std::string_view name;
  Rate rate;
  bool at_least;  // of tokens that usage does not tell apart from others of this rate
};

constexpr std::array kTokenFields = {
    TokenField{"input_cost_per_token", Rate::kInput, false},
    TokenField{"output_cost_per_token", Rate::kOutput, false},
    TokenField{"cache_read_input_token_cost", Rate::kCachedInput, false},
    TokenField{"cache_creation_input_token_cost", Rate::kCacheWrite, false},
    TokenField{"cache_creation_input_token_cost_above_1hr", Rate::kCacheWrite1h, false},
    TokenField{"output_cost_per_reasoning_token", Rate::kReasoning, false},
    TokenField{"input_cost_per_audio_token", Rate::kInputAudio, false},
    TokenField{"output_cost_per_audio_token", Rate::kOutputAudio, false},
    TokenField{"input_cost_per_image_token", Rate::kInput, true},
    TokenField{"output_cost_per_image_token", Rate::kOutput, true},
    TokenField{"input_cost_per_video_token", Rate::kInput, true},
    TokenField{"output_cost_per_video_token", Rate::kOutput, true},
    TokenField{"cache_read_input_audio_token_cost", Rate::kCachedInput, true},
    TokenField{"cache_read_input_image_token_cost", Rate::kCachedInput, true},
    TokenField{"cache_creation_input_audio_token_cost", Rate::kCacheWrite, true},
};

// What a field of another kind of service ends in: such calls are not priced by this list.
constexpr std::array<std::string_view, 3> kOtherService = {"_priority", "_flex", "_batches"};

// Fields that say nothing about a price.
constexpr std::array<std::string_view, 23> kInformative = {"litellm_provider",
                                                           "mode",
                                                           "source",
                                                           "metadata",
                                                           "deprecation_date",
                                                           "tpm",
                                                           "rpm",
                                                           "output_vector_size",
                                                           "comment",
                                                           "tool_use_system_prompt_tokens",
                                                           "display_name",
                                                           "bedrock_invocation_model",
                                                           "uses_embed_content",
                                                           "supports",
                                                           "max_",
                                                           "supported_",
                                                           "mode_",
                                                           "annotation",
                                                           "web_search_billing_unit",
                                                           "description",
                                                           "provider_specific_entry",
                                                           "use_in_",
                                                           "default_"};

bool IsPrice(std::string_view field) {
  return field.contains("cost") || field.contains("price") || field.contains("pricing");
}

struct FieldName {
  std::string_view base;
  std::int64_t above = 0;
};

// "x_above_272k_tokens" is x above 272,000; every other name is itself.
FieldName Split(std::string_view field) {
  constexpr std::string_view kTail = "k_tokens";
  constexpr std::string_view kAbove = "_above_";
  if (!field.ends_with(kTail)) return {field};
  const auto at = field.rfind(kAbove);
  if (at == std::string_view::npos) return {field};
  const std::string_view number =
      field.substr(at + kAbove.size(), field.size() - at - kAbove.size() - kTail.size());
  std::int64_t thousands = 0;
  for (const char c : number) {
    if (c < '0' || c > '9' || thousands > 1'000'000) return {field};
    thousands = thousands * 10 + (c - '0');
  }
  if (thousands == 0) return {field};
  return {field.substr(0, at), thousands * 1000};
}

// "low/1024-x-1536/gpt-image-1" names a kind of image of the model behind it.
struct ImageName {
  std::string model;
  std::string size;
  std::string quality;
  std::int64_t pixels = 0;
};

std::optional<std::int64_t> Dimension(std::string_view text) {
  std::int64_t value = 0;
  if (text.empty() || text.size() > 5) return std::nullopt;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  return value;
}

std::optional<ImageName> ReadImageName(std::string_view name) {
  std::vector<std::string_view> parts;
  for (std::string_view rest = name;;) {
    const auto slash = rest.find('/');
    parts.push_back(rest.substr(0, slash));
    if (slash == std::string_view::npos || parts.size() > 8) break;
    rest = rest.substr(slash + 1);
  }
  for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
    const auto by = parts[i].find("-x-");
    if (by == std::string_view::npos) continue;
    const auto width = Dimension(parts[i].substr(0, by));
    const auto height = Dimension(parts[i].substr(by + 3));
    if (!width || !height) continue;
    ImageName image;
    image.size = fmt::format("{}x{}", *width, *height);
    image.pixels = *width * *height;
    std::size_t front = i;
    std::size_t behind = i + 1;
    if (parts[behind].ends_with("-steps") && behind + 1 < parts.size()) {
      image.quality = parts[behind++];
    } else if (front > 0) {
      image.quality = parts[--front];
    }
    for (std::size_t part = 0; part < parts.size(); ++part) {
      if (part >= front && part < behind) continue;
      image.model += (image.model.empty() ? "" : "/") + std::string(parts[part]);
    }
    return image;
  }
  return std::nullopt;
}

bool WholeTokens(const JsonNode& number, std::int64_t& tokens) {
  const auto scaled =
      number.kind == JsonKind::kNumber ? ScaleUp(number.text, 0) : std::optional<Scaled>();
  if (!scaled || scaled->rounded || scaled->value > config::kTierTokensMax) return false;
  tokens = scaled->value;
  return true;
}

bool IsZero(std::string_view number) {
  return std::ranges::all_of(number.substr(0, number.find_first_of("eE")),
                             [](char c) { return c == '0' || c == '.'; });
}

class Entry {
 public:
  Entry(const JsonNode& fields, Import& import) : fields_(fields), import_(import) {
    const JsonNode* mode = fields.Find("mode");
    if (mode != nullptr && mode->kind == JsonKind::kText) mode_ = mode->text;
  }

  // Fills `draft`.   returns  what is wrong with the entry, or nothing
  std::optional<std::string> Read(const std::optional<ImageName>& image, Draft& draft) {
    for (const auto& [field, value] : fields_.members) {
      if (value.kind == JsonKind::kNull) continue;
      if (auto fault = ReadField(field, value, image, draft)) return fault;
    }
    return std::nullopt;
  }

  bool generates_text() const {
    return mode_.empty() || mode_ == "chat" || mode_ == "completion" || mode_ == "responses";
  }

 private:
  std::optional<std::string> ReadField(const std::string& field, const JsonNode& value,
                                       const std::optional<ImageName>& image, Draft& draft) {
    const FieldName name = Split(field);
    const auto token = std::ranges::find(kTokenFields, name.base, &TokenField::name);
    if (token != kTokenFields.end()) {
      return draft.SetRate(token->rate, name.above, field, value, kPicoDecimals, token->at_least);
    }
    if (name.above == 0) {
      if (const auto taken = ReadPiece(field, value, image, draft)) return *taken;
    }
    if (field == "tiered_pricing") return ReadTiers(value, draft);
    if (field == "search_context_cost_per_query") return ReadSearch(value, draft);
    NoteUntaken(field, value);
    return std::nullopt;
  }

  // What is not sold by the token. Nothing: not one of these, in this mode.
  std::optional<std::optional<std::string>> ReadPiece(const std::string& field,
                                                      const JsonNode& value,
                                                      const std::optional<ImageName>& image,
                                                      Draft& draft) {
    const bool audio = mode_ == "audio_transcription";
    const bool video = mode_ == "video_generation";
    const bool images = mode_ == "image_generation" || mode_ == "image_edit";
    const bool by_second = field == "input_cost_per_second" || field == "output_cost_per_second";
    if (audio && (by_second || field == "input_cost_per_audio_per_second")) {
      return draft.SetAmount(&config::Price::audio_second, field, value);
    }
    if (video &&
        (field == "output_cost_per_second" || field == "output_cost_per_video_per_second")) {
      return draft.SetAmount(&config::Price::video_second, field, value);
    }
    if (images && (field == "output_cost_per_image" || field == "input_cost_per_image")) {
      return draft.AddImage(image ? image->size : "", image ? image->quality : "", field, value, 1);
    }
    // Some kinds have both; the price of the pixel is then that of the image, with an error.
    const bool by_image = fields_.Find("input_cost_per_image") != nullptr ||
                          fields_.Find("output_cost_per_image") != nullptr;
    if (images && image && by_image &&
        (field == "input_cost_per_pixel" || field == "output_cost_per_pixel")) {
      return std::optional<std::string>();
    }
    if (images && image && (field == "input_cost_per_pixel" || field == "output_cost_per_pixel")) {
      return draft.AddImage(image->size, image->quality, field, value, image->pixels);
    }
    if (field == "input_cost_per_query" || field == "input_cost_per_request") {
      return draft.SetAmount(&config::Price::per_request, field, value);
    }
    return std::nullopt;
  }

  // [{"range": [0, 32000], "input_cost_per_token": ...}, ...]
  std::optional<std::string> ReadTiers(const JsonNode& list, Draft& draft) {
    if (list.kind != JsonKind::kList) return "tiered_pricing is not a list";
    for (const JsonNode& tier : list.items) {
      const JsonNode* range = tier.Find("range");
      if (range == nullptr || range->items.empty()) {
        NoteUntaken("tiered_pricing", tier);
        continue;
      }
      const JsonNode& begin = range->items.front();
      std::int64_t above = 0;
      for (const auto& [field, value] : tier.members) {
        if (field == "range" || value.kind == JsonKind::kNull) continue;
        const auto token = std::ranges::find(kTokenFields, field, &TokenField::name);
        if (token == kTokenFields.end()) {
          NoteUntaken("tiered_pricing." + field, value);
          continue;
        }
        if (!WholeTokens(begin, above)) {
          return "tiered_pricing has a range that is none";
        }
        if (auto fault = draft.SetRate(token->rate, above, "tiered_pricing." + field, value,
                                       kPicoDecimals, token->at_least)) {
          return fault;
        }
      }
    }
    return std::nullopt;
  }

  // The dearest of small, medium and large: which of them a call takes is not told.
  std::optional<std::string> ReadSearch(const JsonNode& sizes, Draft& draft) {
    if (sizes.kind != JsonKind::kObject) return "search_context_cost_per_query is not an object";
    for (const auto& [size, value] : sizes.members) {
      if (value.kind == JsonKind::kNull) continue;
      if (auto fault = draft.SetAmount(&config::Price::tool_call,
                                       "search_context_cost_per_query." + size, value)) {
        return fault;
      }
    }
    return std::nullopt;
  }

  void NoteUntaken(const std::string& field, const JsonNode& value) {
    const auto noted = field.substr(0, 128);
    const bool other_service =
        std::ranges::any_of(kOtherService, [&](auto tail) { return field.ends_with(tail); });
    if (other_service || IsPrice(field)) {
      const bool nothing = value.kind == JsonKind::kNumber && IsZero(value.text);
      if (!nothing) ++import_.not_taken[noted];
    } else if (std::ranges::none_of(kInformative,
                                    [&](auto head) { return field.starts_with(head); })) {
      ++import_.unknown[noted];
    }
  }

  const JsonNode& fields_;
  Import& import_;
  std::string_view mode_;
};

}  // namespace

// Kinds of images stand as entries of their own behind or before the model's, so drafts are kept
// by model until all was read.
void ImportLiteLlm(const JsonNode& root, std::string_view only, Import& import) {
  struct Pending {
    std::optional<Draft> own;
    Draft images;
    bool output_required = false;
    std::string fault;
  };
  std::map<std::string, Pending> drafts;
  for (const auto& [name, fields] : root.members) {
    if (name == "sample_spec") continue;
    const auto image = ReadImageName(name);
    const std::string& model = image ? image->model : name;
    if (!only.empty() && !Matches(only, model)) {
      ++import.filtered;
      continue;
    }
    Pending& pending = drafts[model];
    if (fields.kind != JsonKind::kObject) {
      pending.fault = "is not an object";
      continue;
    }
    if (!image && pending.own) pending.fault = "is in the list twice";
    Entry entry(fields, import);
    if (!image) {
      pending.own.emplace();
      pending.output_required = entry.generates_text();
    }
    if (auto fault = entry.Read(image, image ? pending.images : *pending.own)) {
      pending.fault = *std::move(fault);
    }
  }
  for (auto& [model, pending] : drafts) {
    const bool by_token = pending.own && pending.own->sells_tokens();
    if (by_token && !pending.images.empty()) {
      import.raised.push_back(
          {model, "is sold by kinds of images as well; its price by the token alone was taken"});
    }
    Draft& draft = by_token || pending.images.empty()
                       ? (pending.own ? *pending.own : pending.images)
                       : pending.images;
    AddDraft(model, draft, pending.output_required, std::move(pending.fault), import);
  }
}

}  // namespace weir::prices
