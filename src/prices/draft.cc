#include "prices/draft.h"

#include <fmt/format.h>

#include <algorithm>

#include "prices/decimal.h"

namespace weir::prices {
namespace {

constexpr int kNanoDecimals = 9;

}  // namespace

std::optional<std::int64_t> Draft::Read(std::string_view field, const JsonNode& number,
                                        int decimals, std::int64_t multiplier, std::string& fault) {
  const auto scaled =
      number.kind == JsonKind::kNumber ? ScaleUp(number.text, decimals, multiplier) : std::nullopt;
  if (!scaled) {
    fault = fmt::format("{} is not a price", field);
    return std::nullopt;
  }
  any_ = true;
  if (scaled->rounded) {
    notes_.push_back(
        fmt::format("{} {:.40} is finer than is kept and was rounded up", field, number.text));
  }
  return scaled->value;
}

std::optional<std::string> Draft::SetRate(Rate rate, std::int64_t above, std::string_view field,
                                          const JsonNode& number, int decimals, bool at_least) {
  std::string fault;
  const auto value = Read(field, number, decimals, 1, fault);
  if (!value) return fault;
  if (above == 0) {
    Rates& rates = at_least ? least_ : base_;
    PicoUsdPerUnit& kept = rates[static_cast<std::size_t>(rate)];
    kept = std::max(kept, PicoUsdPerUnit{*value});
    return std::nullopt;
  }
  if (tiers_.size() > config::kPriceTiersMax && !tiers_.contains(above)) return std::nullopt;
  Rates& given = tiers_[above];  // so that both have the tier
  Rates& least = tiers_least_[above];
  PicoUsdPerUnit& kept = (at_least ? least : given)[static_cast<std::size_t>(rate)];
  kept = std::max(kept, PicoUsdPerUnit{*value});
  return std::nullopt;
}

std::optional<std::string> Draft::SetAmount(NanoUsd config::Price::* amount, std::string_view field,
                                            const JsonNode& number) {
  std::string fault;
  const auto value = Read(field, number, kNanoDecimals, 1, fault);
  if (!value) return fault;
  price_.*amount = std::max(price_.*amount, NanoUsd{*value});
  return std::nullopt;
}

std::optional<std::string> Draft::AddImage(std::string size, std::string quality,
                                           std::string_view field, const JsonNode& number,
                                           std::int64_t multiplier) {
  std::string fault;
  const auto value = Read(field, number, kNanoDecimals, multiplier, fault);
  if (!value) return fault;
  for (config::ImagePrice& image : price_.images) {
    if (image.size != size || image.quality != quality) continue;
    image.each = std::max(image.each, NanoUsd{*value});
    return std::nullopt;
  }
  // One more than are kept is enough for the price to be refused.
  if (price_.images.size() <= config::kImagePricesMax) {
    price_.images.push_back({std::move(size), std::move(quality), {*value}});
  }
  return std::nullopt;
}

config::TokenRates Draft::Filled(const config::TokenRates& below, const Rates& given,
                                 const Rates& at_least, bool base) {
  config::TokenRates rates = below;
  for (const auto& [rate, value] : given) rates.*config::kTokenRate[rate] = value;
  if (base) {
    const auto absent = [&](Rate rate) { return !given.contains(static_cast<std::size_t>(rate)); };
    if (absent(Rate::kCachedInput)) rates.cached_input = rates.input;
    if (absent(Rate::kCacheWrite)) rates.cache_write = rates.input;
  }
  for (const auto& [rate, value] : at_least) {
    PicoUsdPerUnit& kept = rates.*config::kTokenRate[rate];
    if (value <= config::Resolved(rates).*config::kTokenRate[rate]) continue;
    kept = value;
    notes_.push_back(fmt::format("{} is that of the dearest tokens it stands for",
                                 config::kTokenRateName[rate]));
  }
  return rates;
}

std::expected<config::Price, std::string> Draft::Finish(bool output_required) {
  if (output_required && sells_tokens() && !(has(Rate::kInput) && has(Rate::kOutput))) {
    return std::unexpected(has(Rate::kInput) ? "has a price of input and none of output"
                                             : "has no price of input");
  }
  config::SetBaseRates(price_, Filled({}, base_, least_, true));
  config::TokenRates below = config::BaseRates(price_);
  for (const auto& [above, given] : tiers_) {
    below = Filled(below, given, tiers_least_[above], false);
    price_.tiers.push_back({above, below});
  }
  if (auto fault = config::PriceFault(price_)) return std::unexpected(*std::move(fault));
  const config::TokenRates base = config::Resolved(config::BaseRates(price_));
  const bool sells =
      std::ranges::any_of(config::kTokenRate, [&](auto rate) { return (base.*rate).p > 0; }) ||
      price_.per_request.n > 0 || price_.audio_second.n > 0 || price_.video_second.n > 0 ||
      price_.tool_call.n > 0 || !price_.tiers.empty() ||
      std::ranges::any_of(price_.images, [](const auto& image) { return image.each.n > 0; });
  if (!sells) return std::unexpected("costs nothing; a free model is given its price by hand");
  return price_;
}

}  // namespace weir::prices
