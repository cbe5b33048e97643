#include "config/price_text.h"

#include <fmt/format.h>

#include "config/scalar.h"

namespace weir::config {
namespace {

// "name: value" members of a mapping on one line.
class FlowMap {
 public:
  void Add(std::string_view name, std::string_view value) {
    text_ += fmt::format("{}{}: {}", text_.empty() ? "" : ", ", name, value);
  }
  std::string Take() const { return "{" + text_ + "}"; }

 private:
  std::string text_;
};

// In double quotes, as YAML and JSON read them. Control characters do not occur: names of models
// and of images have none.
std::string Quoted(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "\"";
}

void AddPrice(const Price& price, FlowMap& map) {
  const Price canonical = Canonical(price);
  const TokenRates base = BaseRates(canonical);
  for (std::size_t i = 0; i < kTokenRates; ++i) {
    const auto rate = kTokenRate[i];
    const bool as_input = (rate == &TokenRates::cached_input || rate == &TokenRates::cache_write) &&
                          base.*rate == base.input;
    if (base.*rate == kNotGiven || as_input) continue;
    map.Add(kTokenRateName[i], FormatUsdPerMillion(base.*rate));
  }
  const std::pair<std::string_view, NanoUsd> amounts[] = {{"request", canonical.per_request},
                                                          {"audio_second", canonical.audio_second},
                                                          {"video_second", canonical.video_second},
                                                          {"tool_call", canonical.tool_call}};
  for (const auto& [name, amount] : amounts) {
    if (amount.n != 0) map.Add(name, FormatUsd(amount));
  }
  if (!canonical.tiers.empty()) {
    std::string tiers;
    TokenRates below = base;  // as a reader of the text has them
    for (const PriceTier& tier : canonical.tiers) {
      FlowMap of_tier;
      of_tier.Add("above_input_tokens", std::to_string(tier.above_input_tokens));
      for (std::size_t i = 0; i < kTokenRates; ++i) {
        const auto rate = kTokenRate[i];
        // A rate that is not written is the one below, or if that is not given either, the one of
        // this tier that stands for it.
        TokenRates unwritten = tier.rates;
        unwritten.*rate = below.*rate;
        const PicoUsdPerUnit wanted = Resolved(tier.rates).*rate;
        if (Resolved(unwritten).*rate == wanted) continue;
        of_tier.Add(kTokenRateName[i], FormatUsdPerMillion(wanted));
        below.*rate = wanted;
      }
      tiers += (tiers.empty() ? "" : ", ") + of_tier.Take();
    }
    map.Add("tiers", "[" + tiers + "]");
  }
  if (!canonical.images.empty()) {
    std::string images;
    for (const ImagePrice& image : canonical.images) {
      FlowMap of_image;
      if (!image.size.empty()) of_image.Add("size", Quoted(image.size));
      if (!image.quality.empty()) of_image.Add("quality", Quoted(image.quality));
      of_image.Add("price", FormatUsd(image.each));
      images += (images.empty() ? "" : ", ") + of_image.Take();
    }
    map.Add("images", "[" + images + "]");
  }
  if (price.version != 0 && price.version != DerivedVersion(price)) {
    map.Add("version", std::to_string(price.version));
  }
}

}  // namespace

std::string PriceText(const Price& price) {
  FlowMap map;
  AddPrice(price, map);
  return map.Take();
}

std::string PriceListText(const PriceList& prices) {
  const auto versions = prices.versions();
  if (versions.empty()) return "";
  if (versions.size() == 1 && !versions.front().valid_from) {
    return PriceText(versions.front().price);
  }
  std::string text;
  for (const PriceVersion& version : versions) {
    FlowMap map;
    if (version.valid_from) map.Add("valid_from", FormatTime(*version.valid_from));
    AddPrice(version.price, map);
    text += (text.empty() ? "" : ", ") + map.Take();
  }
  return "[" + text + "]";
}

std::string PriceFileText(const PriceCatalog& catalog, std::string_view comment) {
  std::string text;
  while (!comment.empty()) {
    const auto end = comment.find('\n');
    text += fmt::format("# {}\n", comment.substr(0, end));
    comment = end == std::string_view::npos ? std::string_view() : comment.substr(end + 1);
  }
  if (catalog.entries().empty()) return text + "prices: {}\n";
  text += "prices:\n";
  for (const auto& [model, prices] : catalog.entries()) {
    text += fmt::format("  {}: {}\n", Quoted(model), PriceListText(prices));
  }
  return text;
}

}  // namespace weir::config
