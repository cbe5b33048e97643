#include "config/price.h"

#include <fmt/format.h>

#include <algorithm>

#include "config/scalar.h"

namespace weir::config {
namespace {

constexpr PicoUsdPerUnit Or(PicoUsdPerUnit rate, PicoUsdPerUnit otherwise) {
  return rate == kNotGiven ? otherwise : rate;
}

TokenRates Shortest(const TokenRates& rates) {
  TokenRates shortest = Resolved(rates);
  const auto drop = [](PicoUsdPerUnit& rate, PicoUsdPerUnit otherwise) {
    if (rate == otherwise) rate = kNotGiven;
  };
  drop(shortest.cache_write_1h, shortest.cache_write);
  drop(shortest.input_audio, shortest.input);
  drop(shortest.reasoning, shortest.output);
  drop(shortest.output_audio, shortest.output);
  return shortest;
}

bool IsPlainText(std::string_view text) {
  return text.size() <= kImageTextMax &&
         std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7F; });
}

std::string RateText(PicoUsdPerUnit rate) { return FormatUsdPerMillion(rate); }

// A rate out of its range; what may be absent is, when it is.
std::optional<std::string> RateFault(const TokenRates& rates, std::string_view where) {
  const TokenRates resolved = Resolved(rates);
  for (std::size_t i = 0; i < kTokenRates; ++i) {
    const PicoUsdPerUnit rate = resolved.*kTokenRate[i];
    if (rate < PicoUsdPerUnit{0}) return fmt::format("{}{} is negative", where, kTokenRateName[i]);
    if (rate > kTokenRateMax) {
      return fmt::format("{}{} is above one USD a token", where, kTokenRateName[i]);
    }
  }
  return std::nullopt;
}

std::optional<std::string> TierFault(const Price& price) {
  if (price.tiers.size() > kPriceTiersMax) {
    return fmt::format("has {} tiers; at most {} are kept", price.tiers.size(), kPriceTiersMax);
  }
  TokenRates below = Resolved(BaseRates(price));
  std::int64_t above = -1;
  for (const PriceTier& tier : price.tiers) {
    if (tier.above_input_tokens <= std::max<std::int64_t>(above, 0) ||
        tier.above_input_tokens > kTierTokensMax) {
      return fmt::format("the tier above {} input tokens does not come after the one before it",
                         tier.above_input_tokens);
    }
    above = tier.above_input_tokens;
    if (auto fault = RateFault(tier.rates, fmt::format("above {} input tokens, ", above))) {
      return fault;
    }
    const TokenRates rates = Resolved(tier.rates);
    for (std::size_t i = 0; i < kTokenRates; ++i) {
      if (rates.*kTokenRate[i] < below.*kTokenRate[i]) {
        return fmt::format(
            "{} falls from {} to {} above {} input tokens, so that more tokens could cost less "
            "than fewer",
            kTokenRateName[i], RateText(below.*kTokenRate[i]), RateText(rates.*kTokenRate[i]),
            above);
      }
    }
    below = rates;
  }
  return std::nullopt;
}

std::optional<std::string> ImageFault(const Price& price) {
  if (price.images.size() > kImagePricesMax) {
    return fmt::format("has {} kinds of images; at most {} are kept", price.images.size(),
                       kImagePricesMax);
  }
  for (std::size_t i = 0; i < price.images.size(); ++i) {
    const ImagePrice& image = price.images[i];
    if (!IsPlainText(image.size) || !IsPlainText(image.quality)) {
      return fmt::format("the size or quality of image {} is not a short plain text", i + 1);
    }
    if (image.each < NanoUsd{0} || image.each > kUnitPriceMax) {
      return fmt::format("the price of image {} is negative or above 1000 USD", i + 1);
    }
    for (std::size_t j = 0; j < i; ++j) {
      if (price.images[j].size == image.size && price.images[j].quality == image.quality) {
        return fmt::format("images {} and {} are of the same size and quality", j + 1, i + 1);
      }
    }
  }
  return std::nullopt;
}

}  // namespace

TokenRates Resolved(const TokenRates& rates) {
  TokenRates resolved = rates;
  resolved.cache_write_1h = Or(rates.cache_write_1h, rates.cache_write);
  resolved.input_audio = Or(rates.input_audio, rates.input);
  resolved.reasoning = Or(rates.reasoning, rates.output);
  resolved.output_audio = Or(rates.output_audio, rates.output);
  return resolved;
}

Price Canonical(const Price& price) {
  Price canonical = price;
  SetBaseRates(canonical, Shortest(BaseRates(price)));
  for (PriceTier& tier : canonical.tiers) tier.rates = Shortest(tier.rates);
  return canonical;
}

std::optional<std::string> PriceFault(const Price& price) {
  if (auto fault = RateFault(BaseRates(price), "")) return fault;
  const std::pair<std::string_view, NanoUsd> amounts[] = {{"request", price.per_request},
                                                          {"audio_second", price.audio_second},
                                                          {"video_second", price.video_second},
                                                          {"tool_call", price.tool_call}};
  for (const auto& [name, amount] : amounts) {
    if (amount < NanoUsd{0}) return fmt::format("{} is negative", name);
    if (amount > kUnitPriceMax) return fmt::format("{} is above 1000 USD", name);
  }
  if (auto fault = TierFault(price)) return fault;
  return ImageFault(price);
}

std::optional<std::uint32_t> ImageOf(const Price& price, std::string_view size,
                                     std::string_view quality) {
  const std::pair<std::string_view, std::string_view> wanted[] = {
      {size, quality}, {size, ""}, {"", quality}, {"", ""}};
  for (const auto& [of_size, of_quality] : wanted) {
    for (std::size_t i = 0; i < price.images.size(); ++i) {
      if (price.images[i].size == of_size && price.images[i].quality == of_quality) {
        return static_cast<std::uint32_t>(i);
      }
    }
  }
  return std::nullopt;
}

}  // namespace weir::config
