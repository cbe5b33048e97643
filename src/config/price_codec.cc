#include "config/price_codec.h"

#include <fmt/format.h>

#include <algorithm>

namespace weir::config {
namespace {

constexpr std::uint8_t kFormat = 1;
constexpr unsigned kRequestBit = kTokenRates;
constexpr unsigned kVersionBit = kRequestBit + 4;
constexpr unsigned kTiersBit = kVersionBit + 1;
constexpr unsigned kImagesBit = kTiersBit + 1;
constexpr std::uint64_t kRateBits = (1U << kTokenRates) - 1;
constexpr std::uint64_t kAllBits = (1U << (kImagesBit + 1)) - 1;

constexpr NanoUsd Price::* kAmounts[] = {&Price::per_request, &Price::audio_second,
                                         &Price::video_second, &Price::tool_call};

class Writer {
 public:
  explicit Writer(std::vector<std::uint8_t>& out) : out_(out) {}

  void Byte(std::uint8_t byte) { out_.push_back(byte); }
  void Varint(std::uint64_t value) {
    while (value >= 0x80) {
      out_.push_back(static_cast<std::uint8_t>(value | 0x80));
      value >>= 7;
    }
    out_.push_back(static_cast<std::uint8_t>(value));
  }
  void Varint(std::int64_t value) { Varint(static_cast<std::uint64_t>(value)); }
  void Text(const std::string& text) {
    Byte(static_cast<std::uint8_t>(text.size()));
    out_.insert(out_.end(), text.begin(), text.end());
  }
  void Rates(const TokenRates& rates, std::uint64_t given) {
    for (std::size_t i = 0; i < kTokenRates; ++i) {
      if ((given >> i & 1) != 0) Varint((rates.*kTokenRate[i]).p);
    }
  }

 private:
  std::vector<std::uint8_t>& out_;
};

// Reads what Writer writes; after the first fault everything is zero and `bad`.
class Reader {
 public:
  explicit Reader(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

  bool bad() const { return bad_; }
  bool AtEnd() const { return bytes_.empty(); }

  std::uint8_t Byte() {
    if (bytes_.empty()) return Fail();
    const std::uint8_t byte = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return byte;
  }
  std::uint64_t Varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 63; shift += 7) {
      const std::uint8_t byte = Byte();
      if (bad_) return 0;
      value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) {
        if (byte == 0 && shift != 0) return Fail();  // not its shortest form
        return value;
      }
    }
    return Fail();  // nothing here has 63 bits
  }
  std::int64_t Count() { return static_cast<std::int64_t>(Varint()); }
  std::string Text() {
    const std::size_t size = Byte();
    if (size > bytes_.size()) {
      Fail();
      return {};
    }
    std::string text(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(size));
    bytes_ = bytes_.subspan(size);
    return text;
  }
  TokenRates Rates(std::uint64_t given) {
    TokenRates rates;
    for (std::size_t i = 0; i < kTokenRates; ++i) {
      if ((given >> i & 1) != 0) (rates.*kTokenRate[i]).p = Count();
    }
    return rates;
  }

 private:
  std::uint8_t Fail() {
    bad_ = true;
    bytes_ = {};
    return 0;
  }

  std::span<const std::uint8_t> bytes_;
  bool bad_ = false;
};

// Which rates are written: those that differ from what a reader takes for a rate it does not find.
std::uint64_t GivenOf(const TokenRates& rates) {
  const TokenRates absent;
  std::uint64_t given = 0;
  for (std::size_t i = 0; i < kTokenRates; ++i) {
    if (rates.*kTokenRate[i] != absent.*kTokenRate[i]) given |= std::uint64_t{1} << i;
  }
  return given;
}

std::uint64_t Fnv1a(std::span<const std::uint8_t> bytes) {
  std::uint64_t hash = 0xCBF29CE484222325ULL;
  for (const std::uint8_t byte : bytes) hash = (hash ^ byte) * 0x100000001B3ULL;
  return hash;
}

}  // namespace

std::string_view Name(PriceDecodeFault fault) {
  switch (fault) {
    case PriceDecodeFault::kUnknownVersion:
      return "unknown version";
    case PriceDecodeFault::kMalformed:
      return "malformed";
    case PriceDecodeFault::kNotAPrice:
      return "not a price";
  }
  return "malformed";
}

void EncodePrice(const Price& price, std::vector<std::uint8_t>& out) {
  const Price canonical = Canonical(price);
  const TokenRates rates = BaseRates(canonical);
  std::uint64_t given = GivenOf(rates);
  for (unsigned i = 0; i < std::size(kAmounts); ++i) {
    if ((canonical.*kAmounts[i]).n != 0) given |= std::uint64_t{1} << (kRequestBit + i);
  }
  if (canonical.version != 0) given |= std::uint64_t{1} << kVersionBit;
  if (!canonical.tiers.empty()) given |= std::uint64_t{1} << kTiersBit;
  if (!canonical.images.empty()) given |= std::uint64_t{1} << kImagesBit;

  Writer to(out);
  to.Byte(kFormat);
  to.Varint(given);
  to.Rates(rates, given);
  for (const auto amount : kAmounts) {
    if ((canonical.*amount).n != 0) to.Varint((canonical.*amount).n);
  }
  if (canonical.version != 0) to.Varint(std::uint64_t{canonical.version});
  if (!canonical.tiers.empty()) {
    to.Varint(std::uint64_t{canonical.tiers.size()});
    for (const PriceTier& tier : canonical.tiers) {
      const std::uint64_t of_tier = GivenOf(tier.rates);
      to.Varint(tier.above_input_tokens);
      to.Varint(of_tier);
      to.Rates(tier.rates, of_tier);
    }
  }
  if (!canonical.images.empty()) {
    to.Varint(std::uint64_t{canonical.images.size()});
    for (const ImagePrice& image : canonical.images) {
      to.Text(image.size);
      to.Text(image.quality);
      to.Varint(image.each.n);
    }
  }
}

std::expected<Price, PriceDecodeFault> DecodePrice(std::span<const std::uint8_t> bytes) {
  using enum PriceDecodeFault;
  if (bytes.empty() || bytes.size() > kPriceBytesMax) return std::unexpected(kMalformed);
  if (bytes.front() != kFormat) return std::unexpected(kUnknownVersion);
  Reader from(bytes.subspan(1));
  Price price;
  price.version = 0;
  const std::uint64_t given = from.Varint();
  if ((given & ~kAllBits) != 0) return std::unexpected(kUnknownVersion);
  SetBaseRates(price, from.Rates(given & kRateBits));
  for (unsigned i = 0; i < std::size(kAmounts); ++i) {
    if ((given >> (kRequestBit + i) & 1) != 0) (price.*kAmounts[i]).n = from.Count();
  }
  if ((given >> kVersionBit & 1) != 0) {
    const std::uint64_t version = from.Varint();
    if (version > UINT32_MAX) return std::unexpected(kMalformed);
    price.version = static_cast<std::uint32_t>(version);
  }
  if ((given >> kTiersBit & 1) != 0) {
    const std::uint64_t count = from.Varint();
    if (from.bad() || count > kPriceTiersMax) return std::unexpected(kMalformed);
    for (std::uint64_t i = 0; i < count; ++i) {
      PriceTier& tier = price.tiers.emplace_back();
      tier.above_input_tokens = from.Count();
      const std::uint64_t of_tier = from.Varint();
      if ((of_tier & ~kRateBits) != 0) return std::unexpected(kMalformed);
      tier.rates = from.Rates(of_tier);
    }
  }
  if ((given >> kImagesBit & 1) != 0) {
    const std::uint64_t count = from.Varint();
    if (from.bad() || count > kImagePricesMax) return std::unexpected(kMalformed);
    for (std::uint64_t i = 0; i < count; ++i) {
      ImagePrice& image = price.images.emplace_back();
      image.size = from.Text();
      image.quality = from.Text();
      image.each.n = from.Count();
    }
  }
  if (from.bad() || !from.AtEnd()) return std::unexpected(kMalformed);
  if (PriceFault(price)) return std::unexpected(kNotAPrice);
  // What could have been written shorter was not written by us.
  std::vector<std::uint8_t> again;
  EncodePrice(price, again);
  if (!std::ranges::equal(again, bytes)) return std::unexpected(kMalformed);
  return price;
}

PriceId IdOf(std::span<const std::uint8_t> encoded) { return {Fnv1a(encoded)}; }

PriceId IdOf(const Price& price) {
  std::vector<std::uint8_t> encoded;
  EncodePrice(price, encoded);
  return IdOf(encoded);
}

std::string Format(PriceId id) { return fmt::format("{:016x}", id.n); }

std::uint32_t DerivedVersion(const Price& price) {
  Price unversioned = price;
  unversioned.version = 0;
  const std::uint64_t hash = IdOf(unversioned).n;
  // FNV's own way to 32 bits: both halves count.
  const auto folded = static_cast<std::uint32_t>(hash >> 32 ^ hash);
  return folded == 0 ? 1 : folded;
}

}  // namespace weir::config
