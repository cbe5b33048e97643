// {provider: {"models": {model: {"cost": {...}}}}}; a cost is USD per million tokens (seen in
// 2026). "tiers" is the newer form of "context_over_200k" and says where it begins; with both, the
// newer counts.

#include "prices/models_dev.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "prices/decimal.h"
#include "prices/draft.h"

namespace weir::prices {
namespace {

constexpr int kPicoDecimals = 6;  // USD per million tokens
constexpr std::int64_t kOldTier = 200'000;

constexpr std::array<std::pair<std::string_view, Rate>, 7> kFields = {{
    {"input", Rate::kInput},
    {"output", Rate::kOutput},
    {"cache_read", Rate::kCachedInput},
    {"cache_write", Rate::kCacheWrite},
    {"reasoning", Rate::kReasoning},
    {"input_audio", Rate::kInputAudio},
    {"output_audio", Rate::kOutputAudio},
}};

// What a tier is sold by, when that is the length of the input; nothing: by something else.
std::optional<std::int64_t> TierOf(const JsonNode& rates) {
  const JsonNode* tier = rates.Find("tier");
  const JsonNode* type = tier == nullptr ? nullptr : tier->Find("type");
  const JsonNode* size = tier == nullptr ? nullptr : tier->Find("size");
  if (type == nullptr || type->text != "context" || size == nullptr ||
      size->kind != JsonKind::kNumber) {
    return std::nullopt;
  }
  const auto tokens = ScaleUp(size->text, 0);
  if (!tokens || tokens->rounded || tokens->value < 1) return std::nullopt;
  return tokens->value;
}

std::optional<std::string> ReadRates(const JsonNode& rates, std::int64_t above, Draft& draft,
                                     Import& import) {
  for (const auto& [field, value] : rates.members) {
    if (value.kind == JsonKind::kNull || field == "tiers" || field == "tier" ||
        field == "context_over_200k") {
      continue;
    }
    const auto known = std::ranges::find(kFields, field, &decltype(kFields)::value_type::first);
    if (known == kFields.end()) {
      ++import.not_taken["cost." + field.substr(0, 128)];
      continue;
    }
    if (auto fault = draft.SetRate(known->second, above, "cost." + field, value, kPicoDecimals)) {
      return fault;
    }
  }
  return std::nullopt;
}

std::optional<std::string> ReadCost(const JsonNode& cost, Draft& draft, Import& import) {
  if (auto fault = ReadRates(cost, 0, draft, import)) return fault;
  const JsonNode* tiers = cost.Find("tiers");
  if (tiers != nullptr && tiers->kind == JsonKind::kList && !tiers->items.empty()) {
    for (const JsonNode& tier : tiers->items) {
      const auto above = TierOf(tier);
      if (!above) return "has a tier by something other than the length of the input";
      if (auto fault = ReadRates(tier, *above, draft, import)) return fault;
    }
    return std::nullopt;
  }
  if (const JsonNode* old = cost.Find("context_over_200k")) {
    return ReadRates(*old, kOldTier, draft, import);
  }
  return std::nullopt;
}

}  // namespace

void ImportModelsDev(const JsonNode& root, std::string_view only, Import& import) {
  for (const auto& [provider, listed] : root.members) {
    const JsonNode* models = listed.Find("models");
    if (models == nullptr || models->kind != JsonKind::kObject) {
      ++import.unknown["provider without models"];
      continue;
    }
    for (const auto& [id, fields] : models->members) {
      std::string model = provider;
      model.append("/").append(id);
      if (!only.empty() && !Matches(only, model)) {
        ++import.filtered;
        continue;
      }
      const JsonNode* cost = fields.Find("cost");
      Draft draft;
      std::string fault;
      if (cost != nullptr && cost->kind != JsonKind::kNull) {
        fault = cost->kind == JsonKind::kObject ? ReadCost(*cost, draft, import).value_or("")
                                                : std::string("has a cost that is no object");
      }
      AddDraft(model, draft, true, std::move(fault), import);
    }
  }
}

}  // namespace weir::prices
