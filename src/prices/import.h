// Price lists that others keep, as prices of ours: LiteLLM's model_prices_and_context_window.json
// and models.dev's api.json.
//
// Nothing is guessed. What has no place in a Price is named; an entry whose price would be
// incomplete, free, falling or not a number is left out and named; what is finer than a pico-USD is
// rounded up and named. Where a list sells apart what a Price has together (image tokens and text
// tokens), the dearer rate is taken for both, and named. So an imported price is never below the
// list's, for what usage can tell apart.
#pragma once

#include <cstdint>
#include <expected>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/price_list.h"

namespace weir::prices {

enum class Format : std::uint8_t {
  kLiteLlm,    // {"gpt-5.5": {"input_cost_per_token": 5e-06, ...}, ...}
  kModelsDev,  // {"openai": {"models": {"gpt-5.5": {"cost": {"input": 5, ...}}}}, ...}
};

struct Note {
  std::string model;
  std::string what;  // "output falls from ...", a sentence's second half
};

struct Import {
  Format format = Format::kLiteLlm;
  config::PriceCatalog catalog;                  // sealed
  std::vector<Note> refused;                     // entries with a price that were left out
  std::vector<Note> raised;                      // rounded up, or the dearer of two taken
  std::map<std::string, std::size_t> not_taken;  // fields with a price that has no place: how many
  std::map<std::string, std::size_t> unknown;    // other fields this program does not know
  std::size_t unpriced = 0;                      // entries without any price
  std::size_t filtered = 0;                      // left out by `only`
};

// Reads a list.
//   json    at most 32 MiB
//   format  absent: told by its shape
//   only    names to take, in which * stands for any characters and ? for one; empty: all
//   fails   with one sentence when the text is no such list; never throws
std::expected<Import, std::string> ImportPrices(std::string_view json,
                                                std::optional<Format> format = std::nullopt,
                                                std::string_view only = {});

// Whether `name` is of the pattern.   cost  name x pattern at most
bool Matches(std::string_view pattern, std::string_view name);

}  // namespace weir::prices
