// A price while it is read from somebody else's list: rates in any order, tiers in any order, and
// what had to be changed. Private to this folder.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/price.h"
#include "prices/json_tree.h"

namespace weir::prices {

// The token rates by their number in config::kTokenRate.
enum class Rate : std::uint8_t {
  kInput,
  kCachedInput,
  kCacheWrite,
  kOutput,
  kReasoning,
  kCacheWrite1h,
  kInputAudio,
  kOutputAudio,
};

class Draft {
 public:
  // A rate as the list has it.
  //   above     tokens of input above which it is the rate; 0: from the first
  //   number    a JSON number; USD x 10^-decimals is a pico-USD
  //   at_least  keeps the dearer of this and what was or will be set: kinds of tokens that usage
  //             does not tell apart share a rate
  //   returns   what is wrong with the number, or nothing
  std::optional<std::string> SetRate(Rate rate, std::int64_t above, std::string_view field,
                                     const JsonNode& number, int decimals, bool at_least = false);

  // An amount in USD for one of what is sold in larger pieces; the dearest of several counts.
  std::optional<std::string> SetAmount(NanoUsd config::Price::* amount, std::string_view field,
                                       const JsonNode& number);

  // A kind of image.
  //   multiplier  what one costs is number x this: pixels
  std::optional<std::string> AddImage(std::string size, std::string quality, std::string_view field,
                                      const JsonNode& number, std::int64_t multiplier);

  bool empty() const { return !any_; }
  bool has(Rate rate) const {
    return base_.contains(static_cast<std::size_t>(rate)) ||
           least_.contains(static_cast<std::size_t>(rate));
  }
  bool sells_tokens() const { return !base_.empty(); }

  // The price, or why it is none. What was rounded up or taken dearer is in notes().
  //   output_required  a list that gives tokens of input alone is not taken for one whose output
  //                    is free
  std::expected<config::Price, std::string> Finish(bool output_required);

  const std::vector<std::string>& notes() const { return notes_; }

 private:
  using Rates = std::map<std::size_t, PicoUsdPerUnit>;
  std::optional<std::int64_t> Read(std::string_view field, const JsonNode& number, int decimals,
                                   std::int64_t multiplier, std::string& fault);
  config::TokenRates Filled(const config::TokenRates& below, const Rates& given,
                            const Rates& at_least, bool base);

  bool any_ = false;
  Rates base_;
  Rates least_;
  std::map<std::int64_t, Rates> tiers_;
  std::map<std::int64_t, Rates> tiers_least_;
  config::Price price_;
  std::vector<std::string> notes_;
};

struct Import;

// Finishes a draft into the catalog, or into what was refused: `fault` when that is not empty.
void AddDraft(const std::string& model, Draft& draft, bool output_required, std::string fault,
              Import& import);

}  // namespace weir::prices
