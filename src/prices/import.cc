#include "prices/import.h"

#include <algorithm>

#include "prices/draft.h"
#include "prices/json_tree.h"
#include "prices/litellm.h"
#include "prices/models_dev.h"

namespace weir::prices {
namespace {

constexpr std::size_t kNameMax = 256;  // as price files have it

// By its first entry that is an object: of LiteLLM's a model, of models.dev's a provider.
std::optional<Format> FormatOf(const JsonNode& root) {
  for (const auto& [name, entry] : root.members) {
    if (entry.kind != JsonKind::kObject) continue;
    if (entry.Find("models") != nullptr) return Format::kModelsDev;
    if (entry.Find("litellm_provider") != nullptr || entry.Find("mode") != nullptr ||
        entry.Find("input_cost_per_token") != nullptr) {
      return Format::kLiteLlm;
    }
  }
  return std::nullopt;
}

bool IsName(std::string_view name) {
  return !name.empty() && name.size() <= kNameMax && name.front() != ' ' && name.back() != ' ' &&
         std::ranges::all_of(name, [](char c) {
           return static_cast<unsigned char>(c) >= 0x20 && static_cast<unsigned char>(c) < 0x7F;
         });
}

}  // namespace

void AddDraft(const std::string& model, Draft& draft, bool output_required, std::string fault,
              Import& import) {
  if (fault.empty() && draft.empty()) {
    ++import.unpriced;
    return;
  }
  if (fault.empty() && !IsName(model)) fault = "is not a name that a price file takes";
  if (fault.empty()) {
    auto price = draft.Finish(output_required);
    if (price) {
      price->version = config::DerivedVersion(*price);
      import.catalog.Set(model, *std::move(price));
      for (const std::string& note : draft.notes()) import.raised.push_back({model, note});
      return;
    }
    fault = std::move(price.error());
  }
  import.refused.push_back({model, std::move(fault)});
}

std::expected<Import, std::string> ImportPrices(std::string_view json, std::optional<Format> format,
                                                std::string_view only) {
  auto root = ReadJson(json);
  if (!root) return std::unexpected(std::move(root.error()));
  if (!format) format = FormatOf(*root);
  if (!format) {
    return std::unexpected("is neither LiteLLM's list of prices nor models.dev's");
  }
  Import import;
  import.format = *format;
  switch (*format) {
    case Format::kLiteLlm:
      ImportLiteLlm(*root, only, import);
      break;
    case Format::kModelsDev:
      ImportModelsDev(*root, only, import);
      break;
  }
  import.catalog.Seal();
  return import;
}

// With one place to go back to: the last '*'.
bool Matches(std::string_view pattern, std::string_view name) {
  std::size_t p = 0;
  std::size_t n = 0;
  std::optional<std::size_t> star;
  std::size_t from = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      from = n;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p;
      ++n;
    } else if (star) {
      p = *star + 1;
      n = ++from;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

}  // namespace weir::prices
