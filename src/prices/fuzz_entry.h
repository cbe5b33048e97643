// The bodies of the fuzz targets of this folder, shared with corpus_test.cc, which runs every kept
// input as an ordinary test. Each checks properties that hold for every input; a broken one ends
// the process. Not part of the library.
#pragma once

#include <algorithm>
#include <string_view>

#include "base/check.h"
#include "config/parse.h"
#include "config/price_text.h"
#include "prices/import.h"
#include "prices/json_tree.h"

namespace weir::prices::fuzz {

inline bool IsFree(const config::Price& price) {
  const config::TokenRates rates = config::Resolved(config::BaseRates(price));
  return std::ranges::all_of(config::kTokenRate, [&](auto rate) { return (rates.*rate).p == 0; }) &&
         price.per_request.n == 0 && price.audio_second.n == 0 && price.video_second.n == 0 &&
         price.tool_call.n == 0 && price.tiers.empty() &&
         std::ranges::all_of(price.images, [](const auto& image) { return image.each.n == 0; });
}

// Any bytes are a list or are refused in a sentence; what is taken is in order, costs something,
// and a start reads the file that is made of it as the same prices.
inline void ImportEntry(Format format, std::string_view input) {
  const auto import = ImportPrices(input, format);
  if (!import) {
    CHECK(!import.error().empty(), "a refusal says why");
    return;
  }
  for (const Note& note : import->refused) CHECK(!note.what.empty(), "a refusal says why");
  for (const auto& [model, prices] : import->catalog.entries()) {
    CHECK(prices.versions().size() == 1, "a list has one price of a model");
    const config::PriceVersion& version = prices.versions().front();
    CHECK(!config::PriceFault(version.price), "what is taken is in order");
    CHECK(!IsFree(version.price), "nothing is free");
    CHECK(version.price.version == config::DerivedVersion(version.price), "versions are derived");
  }
  const std::string file = config::PriceFileText(import->catalog, "of a fuzzer");
  const auto back = config::ParsePriceFile(file, "p");
  CHECK(back.has_value(), "what is written reads back");
  CHECK(std::ranges::equal(back->entries(), import->catalog.entries()), "as the same prices");
}

inline void LiteLlmEntry(std::string_view input) { ImportEntry(Format::kLiteLlm, input); }
inline void ModelsDevEntry(std::string_view input) { ImportEntry(Format::kModelsDev, input); }

}  // namespace weir::prices::fuzz
