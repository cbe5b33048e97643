// Prices as the configuration writes them: for files that the program makes, for differences and
// for people. What is written reads back as the same price (parse.h).
#pragma once

#include <string>
#include <string_view>

#include "config/price_list.h"

namespace weir::config {

// "{input: 2.50, cached_input: 0.25, output: 15.00, tiers: [{above_input_tokens: 272000, ...}]}":
// YAML on one line, without what is as it would be without it. The version is written when it is
// not the derived one.
std::string PriceText(const Price& price);

// The same of a list: one price without a date as itself, else "[{valid_from: ..., ...}, ...]";
// empty for none.
std::string PriceListText(const PriceList& prices);

// A price file with every entry, a line each. `comment` is put in front, each of its lines behind
// a '#'.
std::string PriceFileText(const PriceCatalog& catalog, std::string_view comment);

}  // namespace weir::config
