#include "config/price_list.h"

#include <algorithm>

namespace weir::config {

void PriceList::Add(std::optional<Instant> valid_from, Price price) {
  const PriceId id = IdOf(price);
  versions_.push_back({valid_from, std::move(price), id});
}

const PriceVersion* PriceList::At(Instant now) const {
  for (auto version = versions_.rbegin(); version != versions_.rend(); ++version) {
    if (!version->valid_from || *version->valid_from <= now) return &*version;
  }
  return nullptr;
}

bool operator==(const PriceList& a, const PriceList& b) {
  return std::ranges::equal(a.versions_, b.versions_, [](const auto& left, const auto& right) {
    return left.valid_from == right.valid_from && left.id == right.id &&
           Canonical(left.price) == Canonical(right.price);
  });
}

void PriceCatalog::Set(std::string model, PriceList prices) {
  entries_.emplace_back(std::move(model), std::move(prices));
}

void PriceCatalog::Seal() {
  // Of equal names the last one set stays.
  std::vector<std::size_t> order(entries_.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::sort(order, [&](std::size_t a, std::size_t b) {
    const int names = entries_[a].first.compare(entries_[b].first);
    return names != 0 ? names < 0 : a > b;
  });
  std::vector<std::pair<std::string, PriceList>> sorted;
  sorted.reserve(order.size());
  for (const std::size_t i : order) {
    if (!sorted.empty() && sorted.back().first == entries_[i].first) continue;
    sorted.push_back(std::move(entries_[i]));
  }
  entries_ = std::move(sorted);
}

const PriceList* PriceCatalog::Find(std::string_view model) const {
  const auto found = std::ranges::lower_bound(
      entries_, model, {}, [](const auto& entry) -> std::string_view { return entry.first; });
  return found != entries_.end() && found->first == model ? &found->second : nullptr;
}

}  // namespace weir::config
