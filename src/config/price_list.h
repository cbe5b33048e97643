// The prices of a model over time, and those of the models a deployment does not list itself.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/time.h"
#include "config/price.h"
#include "config/price_codec.h"

namespace weir::config {

struct PriceVersion {
  std::optional<Instant> valid_from;  // none: always has been; only the first of a list
  Price price;
  PriceId id = {};  // IdOf(price), kept because a request asks for it
};

// Versions by rising valid_from; the one valid at an admission is what is charged. Empty: no price,
// which is refused and never free.
class PriceList {
 public:
  PriceList() = default;
  PriceList(Price price) { Add(std::nullopt, std::move(price)); }  // NOLINT(*-explicit-*)

  // REQUIRES a valid_from later than the last one's, unless the list is empty.
  void Add(std::optional<Instant> valid_from, Price price);

  explicit operator bool() const { return !versions_.empty(); }
  std::span<const PriceVersion> versions() const { return versions_; }

  // The version in force, or null before the first.   cost  a comparison a version, from the last
  const PriceVersion* At(Instant now) const;

  friend bool operator==(const PriceList& a, const PriceList& b);

 private:
  std::vector<PriceVersion> versions_;
};

// Prices by model, from price files.
class PriceCatalog {
 public:
  // Replaces what `model` had.   cost  linear; Seal once all are added
  void Set(std::string model, PriceList prices);
  // Sorts, so that Find may be asked.
  void Seal();

  // The price of exactly this name, or null.
  const PriceList* Find(std::string_view model) const;
  std::span<const std::pair<std::string, PriceList>> entries() const { return entries_; }

 private:
  std::vector<std::pair<std::string, PriceList>> entries_;
};

}  // namespace weir::config
