#include "policy/quota_table.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace weir::policy {
namespace {

using config::Policy;
using config::WindowKind;
using ledger::AlertRecord;
using ledger::Amount;
using ledger::CounterRecord;
using ledger::WindowRecord;

// A sixtieth of a minute. It keeps the numbers of buckets far from where they would overflow.
constexpr Duration kBucketMin = Seconds(1);

std::int64_t BucketOf(Instant at, Duration bucket) {
  return at.ns / bucket.ns - (at.ns % bucket.ns < 0 ? 1 : 0);
}

std::int64_t Slot(std::int64_t bucket) {
  constexpr std::int64_t kSlots = kBuckets + 1;
  const std::int64_t slot = bucket % kSlots;
  return slot < 0 ? slot + kSlots : slot;
}

std::int64_t Clip(__int128 n) {
  return static_cast<std::int64_t>(std::clamp<__int128>(n, 0, config::kQuotaMax));
}

bool Slides(const config::Window& window) {
  return window.sliding && window.kind <= WindowKind::kMonth;
}

std::uint64_t HashOf(std::string_view text) {
  std::uint64_t hash = 0xCBF29CE484222325ULL;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  return hash;
}

}  // namespace

QuotaRule RuleOf(const Policy& policy) {
  if (policy.shadow || policy.action == config::PolicyAction::kAlert) return QuotaRule::kNone;
  return policy.cap == config::CapKind::kFirm ? QuotaRule::kFirm : QuotaRule::kHard;
}

const QuotaTable::Counter* QuotaTable::Get(std::uint32_t number) const {
  return number < counters_.size() && counters_[number].used ? &counters_[number] : nullptr;
}

// Without the buckets that have passed out of the window by now.
std::int64_t QuotaTable::SettledAt(const Counter& counter, Instant now) const {
  if (!counter.ring) return counter.settled;
  const Ring& ring = *counter.ring;
  if (ring.newest == INT64_MIN) return 0;
  const std::int64_t present = std::max(BucketOf(now, ring.bucket), ring.newest);
  const std::int64_t oldest = present - kBuckets;
  __int128 sum = 0;
  for (std::int64_t bucket = std::max(oldest, ring.newest - kBuckets); bucket <= ring.newest;
       ++bucket) {
    sum += ring.settled[static_cast<std::size_t>(Slot(bucket))];
  }
  return Clip(sum);
}

void QuotaTable::Settle(Counter& counter, std::int64_t amount, Instant at) {
  if (amount == 0) return;
  if (!counter.ring) {
    counter.settled = Clip(static_cast<__int128>(counter.settled) + amount);
    return;
  }
  Ring& ring = *counter.ring;
  const std::int64_t bucket = BucketOf(at, ring.bucket);
  if (ring.newest == INT64_MIN) ring.newest = bucket;
  constexpr auto kKept = kBuckets;
  if (bucket > ring.newest + kKept) {
    ring.settled.fill(0);
    ring.newest = bucket;
  }
  for (; ring.newest < bucket; ++ring.newest) {
    ring.settled[static_cast<std::size_t>(Slot(ring.newest + 1))] = 0;
  }
  // Held so long ago that its bucket has passed out.
  if (bucket < ring.newest - kKept) return;
  std::int64_t& sum = ring.settled[static_cast<std::size_t>(Slot(bucket))];
  sum = Clip(static_cast<__int128>(sum) + amount);
}

Standing QuotaTable::Look(const QuotaUse& use, Instant now) const {
  Standing standing{.window = kAllTime, .limit = use.limit, .rule = RuleOf(*use.policy)};
  if (use.counter.empty()) return standing;
  const std::uint32_t* const number = index_.Find(use.counter);
  const Counter* const counter = number == nullptr ? nullptr : &counters_[*number];
  if (number != nullptr) standing.counter = *number;
  const config::Window& window = use.policy->window;
  const bool fixed = !Slides(window) && window.kind <= WindowKind::kMonth;
  if (counter != nullptr && counter->window_number > 0 &&
      (fixed || window.kind == WindowKind::kAction) && now >= counter->window.starts_at &&
      now < counter->window.ends_at) {
    // The window goes on: it is not computed anew, and a change of the time zone's rules or of the
    // anchor takes effect when it ends.
    standing.window = counter->window;
  } else if (fixed || window.kind == WindowKind::kCampaign) {
    standing.window = WindowAt(window, now).value_or(kAllTime);
  } else if (window.kind == WindowKind::kAction) {
    standing.window = {now, now + kActionKept};
  }
  if (counter == nullptr || counter->window_number == 0) return standing;
  const bool same_window = counter->window.starts_at == standing.window.starts_at &&
                           counter->window.ends_at == standing.window.ends_at;
  standing.current =
      same_window && counter->limit == standing.limit && counter->rule == standing.rule;
  if (same_window) {
    standing.settled = SettledAt(*counter, now);
    standing.held = counter->held;
  }
  return standing;
}

std::uint32_t QuotaTable::PolicyIndex(std::string_view policy) {
  const std::uint64_t hash = HashOf(policy);
  auto at = std::ranges::lower_bound(policy_index_, std::pair(hash, std::uint32_t{0}));
  for (auto found = at; found != policy_index_.end() && found->first == hash; ++found) {
    if (policies_[found->second] == policy) return found->second;
  }
  const auto index = static_cast<std::uint32_t>(policies_.size());
  policies_.emplace_back(policy);
  policy_index_.insert(at, {hash, index});
  return index;
}

void QuotaTable::Drop(std::uint32_t number) {
  Counter& counter = counters_[number];
  const std::uint32_t* const indexed = index_.Find(counter.id);
  if (indexed != nullptr && *indexed == number) index_.Erase(counter.id);
  counter = Counter{};
}

// A number that no counter has: one that was given back, one of a counter that is over, or a new
// one. Two counters are looked at for each that is made, so the search keeps up with the growth.
std::uint32_t QuotaTable::FreeNumber(Instant now) {
  for (int i = 0; i < 2 && !counters_.empty(); ++i) {
    if (looked_at_ >= counters_.size()) looked_at_ = 0;
    const Counter& counter = counters_[looked_at_];
    if (counter.used && counter.legs == 0 && counter.window.ends_at <= now &&
        counter.window_number > 0) {
      Drop(looked_at_);
      free_.push_back(looked_at_);
    }
    ++looked_at_;
  }
  while (!free_.empty()) {
    const std::uint32_t number = free_.back();
    free_.pop_back();
    if (!counters_[number].used) return number;
  }
  return static_cast<std::uint32_t>(counters_.size());
}

std::optional<CounterRecord> QuotaTable::Opening(const QuotaUse& use, const Standing& standing,
                                                 const Facts& facts, Instant now) {
  if (use.counter.empty() || standing.counter != Standing::kNone) return std::nullopt;
  const config::Window& window = use.policy->window;
  std::string values = CounterText(use, facts);
  if (values.size() > ledger::kCounterValuesMax) values.resize(ledger::kCounterValuesMax);
  return CounterRecord{.time = now,
                       .number = FreeNumber(now),
                       .counter = use.counter,
                       .unit = static_cast<std::uint8_t>(use.policy->unit),
                       .window = static_cast<std::uint8_t>(window.kind),
                       .bucket = Slides(window) ? BucketLength(window) : Duration{},
                       .policy = use.policy->id,
                       .values = std::move(values)};
}

std::optional<WindowRecord> QuotaTable::Turning(const QuotaUse& use, const Standing& standing,
                                                Instant now) const {
  if (use.counter.empty() || standing.current) return std::nullopt;
  const std::uint32_t* const number = index_.Find(use.counter);
  CHECK(number != nullptr, "a counter is opened before its window");
  return WindowRecord{.time = now,
                      .number = *number,
                      .starts_at = standing.window.starts_at,
                      .ends_at = standing.window.ends_at,
                      .rule = standing.rule,
                      .limit = Amount{standing.limit}};
}

bool QuotaTable::Apply(const CounterRecord& record) {
  if (record.unit >= config::kQuotaUnits || record.number > counters_.size() ||
      record.window > static_cast<std::uint8_t>(WindowKind::kAction) ||
      (record.bucket.ns != 0 && record.bucket < kBucketMin)) {
    return false;
  }
  if (record.number == counters_.size()) {
    counters_.emplace_back();
  } else if (counters_[record.number].used) {
    if (counters_[record.number].legs > 0) return false;
    Drop(record.number);
  }
  // A replay does not drop what was dropped when the journal was written: the same counter may
  // still stand under the number it had before.
  if (const std::uint32_t* const before = index_.Find(record.counter)) {
    const std::uint32_t number = *before;
    if (counters_[number].legs > 0) return false;
    Drop(number);
    free_.push_back(number);
  }
  Counter& counter = counters_[record.number];
  counter.used = true;
  counter.id = record.counter;
  counter.unit = static_cast<config::QuotaUnit>(record.unit);
  counter.window_kind = static_cast<WindowKind>(record.window);
  if (record.bucket.ns > 0) {
    counter.ring = std::make_unique<Ring>();
    counter.ring->bucket = record.bucket;
  }
  counter.policy = PolicyIndex(record.policy);
  counter.values = record.values;
  counter.values.shrink_to_fit();
  index_.Insert(record.counter, record.number);
  return true;
}

bool QuotaTable::Apply(const WindowRecord& record) {
  if (Get(record.number) == nullptr) return false;
  Counter& counter = counters_[record.number];
  const WindowSpan window{record.starts_at, record.ends_at};
  const bool begins = counter.window_number == 0 || counter.window.starts_at != window.starts_at ||
                      counter.window.ends_at != window.ends_at;
  if (begins) {
    ++counter.window_number;
    counter.window = window;
    counter.settled = 0;
    counter.held = 0;
    counter.told = {};
  }
  if (record.limit.n > counter.limit) {
    // What the higher limit has room for again may be told again.
    const std::int64_t settled = SettledAt(counter, record.time);
    for (std::uint32_t percent = 1; percent <= 100; ++percent) {
      if (static_cast<__int128>(settled) * 100 >= static_cast<__int128>(record.limit.n) * percent)
        continue;
      counter.told[percent / 64] &= ~(std::uint64_t{1} << (percent % 64));
    }
    counter.told[0] &= ~std::uint64_t{1};
  }
  counter.limit = record.limit.n;
  counter.rule = record.rule;
  return true;
}

bool QuotaTable::Apply(const AlertRecord& record) {
  if (Get(record.number) == nullptr || record.percent > 100) return false;
  counters_[record.number].told[record.percent / 64] |= std::uint64_t{1} << (record.percent % 64);
  return true;
}

std::optional<std::uint32_t> QuotaTable::NumberOf(const Id128& counter) const {
  const std::uint32_t* const number = index_.Find(counter);
  return number == nullptr ? std::nullopt : std::optional(*number);
}

std::optional<QuotaLeg> QuotaTable::Hold(std::uint32_t number, std::int64_t amount, Instant at) {
  if (Get(number) == nullptr || amount < 0) return std::nullopt;
  Counter& counter = counters_[number];
  if (counter.window_number == 0) return std::nullopt;
  const __int128 held = static_cast<__int128>(counter.held) + amount;
  // Nothing always fits, also beside more than a lowered limit allows.
  if (counter.rule == QuotaRule::kHard && amount > 0 &&
      held + SettledAt(counter, at) > counter.limit) {
    return std::nullopt;
  }
  counter.held = Clip(held);
  ++counter.legs;
  return QuotaLeg{.counter = number,
                  .window = counter.window_number,
                  .held = amount,
                  .at = at,
                  .unit = counter.unit,
                  .rule = counter.rule};
}

bool QuotaTable::IsCurrent(const QuotaLeg& leg) const {
  return counters_[leg.counter].window_number == leg.window;
}

bool QuotaTable::HoldMore(QuotaLeg& leg, std::int64_t amount) {
  if (Get(leg.counter) == nullptr || !IsCurrent(leg) || amount < 0) return false;
  Counter& counter = counters_[leg.counter];
  counter.held = Clip(static_cast<__int128>(counter.held) + amount);
  leg.held = Clip(static_cast<__int128>(leg.held) + amount);
  return true;
}

void QuotaTable::Resolve(const QuotaLeg& leg, std::int64_t used) {
  CHECK(Get(leg.counter) != nullptr && counters_[leg.counter].legs > 0,
        "a counter lives as long as something is held of it");
  Counter& counter = counters_[leg.counter];
  --counter.legs;
  if (!IsCurrent(leg)) return;
  counter.held -= std::min(counter.held, leg.held);
  Settle(counter, leg.rule == QuotaRule::kHard ? std::min(used, leg.held) : used, leg.at);
}

void QuotaTable::SetAlerts(std::uint32_t number, const Policy& policy) {
  Counter& counter = counters_[number];
  counter.alerts = {};
  const std::size_t count = std::min(policy.alert_percent.size(), counter.alerts.size());
  for (std::size_t i = 0; i < count; ++i) {
    counter.alerts[i] =
        static_cast<std::uint8_t>(std::clamp<std::int64_t>(policy.alert_percent[i], 1, 100));
  }
  counter.forecast = policy.forecast;
}

void QuotaTable::Crossed(std::uint32_t number, Instant now, std::vector<AlertRecord>& out) const {
  const Counter& counter = counters_[number];
  if (counter.limit <= 0 || counter.window_number == 0) return;
  if (counter.alerts[0] == 0 && !counter.forecast) return;
  const __int128 settled = SettledAt(counter, now);
  if (settled == 0) return;
  const auto told = [&](std::uint8_t percent) {
    return (counter.told[percent / 64] >> (percent % 64) & 1) != 0;
  };
  const auto tell = [&](std::uint8_t percent) {
    out.push_back({.time = now,
                   .number = number,
                   .percent = percent,
                   .settled = Amount{static_cast<std::int64_t>(settled)},
                   .limit = Amount{counter.limit}});
  };
  for (const std::uint8_t percent : counter.alerts) {
    if (percent == 0) break;
    if (settled * 100 >= static_cast<__int128>(counter.limit) * percent && !told(percent)) {
      tell(percent);
    }
  }
  // At the rate so far the limit is reached before the window's end. Not in its first tenth, where
  // one request would be a trend, and not once it is reached.
  const bool has_end = !counter.ring && counter.window_kind <= WindowKind::kCampaign &&
                       counter.window.ends_at.ns != INT64_MAX;
  if (!counter.forecast || !has_end || told(0) || settled >= counter.limit) return;
  const __int128 length =
      static_cast<__int128>(counter.window.ends_at.ns) - counter.window.starts_at.ns;
  const __int128 elapsed = static_cast<__int128>(now.ns) - counter.window.starts_at.ns;
  if (elapsed * 10 < length || elapsed >= length) return;
  if (settled * length > counter.limit * elapsed) tell(0);
}

Instant QuotaTable::AvailableAt(const Standing& standing, std::int64_t amount, Instant now) const {
  const Counter* const counter = Get(standing.counter);
  if (counter == nullptr || !counter->ring || counter->ring->newest == INT64_MIN) {
    return standing.window.ends_at;
  }
  const Ring& ring = *counter->ring;
  __int128 missing = static_cast<__int128>(amount) - standing.Available();
  const std::int64_t present = std::max(BucketOf(now, ring.bucket), ring.newest);
  constexpr auto kKept = kBuckets;
  const auto passed_out = [&ring](std::int64_t bucket) {
    const __int128 end = static_cast<__int128>(bucket + kKept + 1) * ring.bucket.ns;
    return Instant{static_cast<std::int64_t>(std::min<__int128>(end, INT64_MAX))};
  };
  for (std::int64_t bucket = std::max(present, ring.newest) - kKept; bucket <= ring.newest;
       ++bucket) {
    if (bucket < ring.newest - kKept) continue;
    missing -= ring.settled[static_cast<std::size_t>(Slot(bucket))];
    // A bucket counts as long as the window reaches into it.
    if (missing <= 0) return passed_out(bucket);
  }
  return passed_out(ring.newest);
}

std::optional<CounterView> QuotaTable::View(std::uint32_t number, Instant now) const {
  const Counter* const counter = Get(number);
  if (counter == nullptr) return std::nullopt;
  // Of a window that is over nothing is left, though no request has begun the next.
  const bool over = counter->window.ends_at <= now;
  return CounterView{.number = number,
                     .policy = policies_[counter->policy],
                     .values = counter->values,
                     .unit = counter->unit,
                     .window_kind = counter->window_kind,
                     .sliding = counter->ring != nullptr,
                     .window = counter->window,
                     .settled = over ? 0 : SettledAt(*counter, now),
                     .held = over ? 0 : counter->held,
                     .limit = counter->limit,
                     .rule = counter->rule};
}

}  // namespace weir::policy
