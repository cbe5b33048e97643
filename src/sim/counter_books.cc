#include "sim/counter_books.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "sim/quota_law.h"

namespace weir::sim {
namespace {

using config::QuotaUnit;
using ledger::QuotaRule;
using ledger::Sum;

// A sliding window is so many buckets long.
constexpr std::int64_t kBuckets = 60;

Breach Of(std::string_view rule, const ledger::CounterRecord& made, std::string_view what) {
  return {std::string(rule),
          fmt::format("counter {} ({} {}): {}", made.number, made.policy, made.values, what)};
}

Breach Unknown(std::string_view rule, std::uint32_t number, std::string_view what) {
  return {std::string(rule), fmt::format("counter {}: {}", number, what)};
}

bool CountsAttempts(QuotaUnit unit) {
  return unit == QuotaUnit::kAttempts || unit == QuotaUnit::kFallbackAttempts ||
         unit == QuotaUnit::kFallbackSpend;
}

// The end of the bucket that a moment is in.
Instant BucketEnd(Instant at, Duration bucket) {
  std::int64_t into = at.ns % bucket.ns;
  if (into < 0) into += bucket.ns;
  return at + Duration{bucket.ns - into};
}

}  // namespace

// A bucket counts as long as any of it is in the window.
Sum CounterBooks::Counter::UsedAt(Instant at) const {
  Sum sum = 0;
  for (const Use& use : uses) {
    const bool counts =
        !slides() || BucketEnd(use.at, made.bucket) + Duration{kBuckets * made.bucket.ns} > at;
    if (counts) sum += use.amount;
  }
  return sum;
}

std::optional<Breach> CounterBooks::Take(const ledger::CounterRecord& record, Instant at) {
  if (record.unit >= config::kQuotaUnits || record.window > 8) {
    return Of("I9", record, "counts what does not exist");
  }
  // Both who had the number and this counter itself, under another, are over.
  for (auto one = counters_.begin(); one != counters_.end();) {
    const Counter& counter = one->second;
    if (one->first != record.number && counter.made.counter != record.counter) {
      ++one;
      continue;
    }
    if (counter.legs > 0) return Of("I9", counter.made, "is given up while it is held");
    if (!MayBeGone(counter, at)) return Of("I17", counter.made, "is given up in its window");
    one = counters_.erase(one);
  }
  counters_[record.number].made = record;
  return std::nullopt;
}

std::optional<Breach> CounterBooks::Take(const ledger::WindowRecord& record, Instant at) {
  const auto found = counters_.find(record.number);
  if (found == counters_.end()) return Unknown("I17", record.number, "has a window and is none");
  Counter& counter = found->second;
  const std::int64_t limit_before = counter.limit;
  const bool goes_on = counter.turn > 0 && counter.starts_at == record.starts_at &&
                       counter.ends_at == record.ends_at;
  counter.limit = record.limit.n;
  counter.rule = record.rule;
  if (goes_on) {
    if (counter.limit <= limit_before) return std::nullopt;
    // Thresholds that are not reached any more wait again; so does the forecast.
    const Sum used = counter.UsedAt(at);
    std::erase_if(counter.told, [&](int percent) {
      return percent == 0 || used * 100 < static_cast<Sum>(counter.limit) * percent;
    });
    return std::nullopt;
  }
  if (at < record.starts_at || at >= record.ends_at) {
    return Of("I17", counter.made, "a window begins at a moment that is not in it");
  }
  const auto ended = ended_.find(counter.made.counter);
  if (ended != ended_.end() && record.starts_at < ended->second) {
    return Of("I17", counter.made, "a window begins in the one before");
  }
  ended_[counter.made.counter] = record.ends_at;
  ++counter.turn;
  counter.starts_at = record.starts_at;
  counter.ends_at = record.ends_at;
  counter.uses.clear();
  counter.held = 0;
  counter.told.clear();
  return std::nullopt;
}

std::optional<Breach> CounterBooks::Take(const ledger::AlertRecord& record, Instant at,
                                         std::uint64_t position) {
  const auto found = counters_.find(record.number);
  if (found == counters_.end()) return Unknown("I18", record.number, "is told of and is none");
  Counter& counter = found->second;
  if (!counter.told.insert(record.percent).second) {
    return Of("I18", counter.made, fmt::format("{} % are told again", record.percent));
  }
  const Sum used = counter.UsedAt(at);
  const Sum limit = counter.limit;
  if (record.settled.n != used || record.limit.n != limit) {
    return Of("I18", counter.made,
              fmt::format("told {} of {}, it is at {} of {}", record.settled.n, record.limit.n,
                          used, limit));
  }
  bool is_so = used > 0 && used * 100 >= limit * record.percent;
  if (record.percent == 0) {
    const Sum whole = (counter.ends_at - counter.starts_at).ns;
    const Sum passed = (at - counter.starts_at).ns;
    is_so = used < limit && passed * 10 >= whole && used * whole > limit * passed;
  }
  if (!is_so) {
    return Of("I18", counter.made,
              fmt::format("{} % are told at {} of {}", record.percent, used, limit));
  }
  told_.push_back({position, counter.made.policy, counter.made.values, record, counter.starts_at,
                   counter.ends_at});
  return std::nullopt;
}

std::optional<Breach> CounterBooks::Hold(std::span<const ledger::QuotaLine> lines, Instant at,
                                         std::vector<Leg>& legs) {
  for (const ledger::QuotaLine& line : lines) {
    const auto found = counters_.find(line.counter);
    if (found == counters_.end() || found->second.turn == 0 || line.amount.n < 0) {
      return Unknown("I4", line.counter, "is held of and is none");
    }
    Counter& counter = found->second;
    if (at < counter.starts_at || at >= counter.ends_at) {
      return Of("I17", counter.made, "is held of in a window that is not that of the moment");
    }
    Leg* mine = nullptr;
    for (Leg& leg : legs) {
      if (leg.number == line.counter && leg.turn == counter.turn) mine = &leg;
    }
    if (mine == nullptr) {
      legs.push_back({.number = line.counter,
                      .turn = counter.turn,
                      .unit = counter.unit(),
                      .rule = counter.rule,
                      .held = 0,
                      .at = at});
      mine = &legs.back();
      ++counter.legs;
    }
    mine->held += line.amount.n;
    counter.held += line.amount.n;
    const Sum used = counter.UsedAt(at);
    if (counter.rule == QuotaRule::kHard && line.amount.n > 0 &&
        used + counter.held > counter.limit) {
      return Of("I3", counter.made,
                fmt::format("{} used and {} held of {}", used, counter.held, counter.limit));
    }
  }
  return std::nullopt;
}

std::optional<Breach> CounterBooks::Close(const std::vector<Leg>& legs,
                                          std::span<const ledger::Amount> used, const Came* came) {
  const bool without = came == nullptr && used.empty();
  if (!without && used.size() != legs.size()) {
    return Breach{"I4", fmt::format("{} lines end with {} figures", legs.size(), used.size())};
  }
  // What is due fills the lines of a counter one after the other; the last takes the rest.
  std::map<std::uint32_t, Sum> due;
  std::map<std::uint32_t, std::size_t> last;
  for (std::size_t i = 0; i < legs.size(); ++i) last[legs[i].number] = i;
  for (std::size_t i = 0; i < legs.size() && !without; ++i) {
    const Leg& leg = legs[i];
    const Sum figure = used[i].n;
    const bool hard = leg.rule == QuotaRule::kHard;
    const auto wrong = [&](std::string_view what) {
      return Of("I5", counters_.at(leg.number).made,
                fmt::format("{} used of {} held, {}", figure, leg.held, what));
    };
    if (figure < 0 || (hard && figure > leg.held)) return wrong("which is more than that");
    if (came == nullptr) {
      if (figure != 0 && !CountsAttempts(leg.unit)) return wrong("by a request that was released");
      continue;
    }
    const auto all = UseByHand(leg.unit, came->usage, came->price, came->multiplier_ppm);
    if (!all) continue;
    Sum& left = due.emplace(leg.number, *all).first->second;
    const bool takes_the_rest = last[leg.number] == i && !hard;
    const Sum now = takes_the_rest ? left : std::min(left, leg.held);
    left -= now;
    if (figure != now) return wrong(fmt::format("its usage comes to {}", now));
  }
  for (std::size_t i = 0; i < legs.size(); ++i) {
    const Leg& leg = legs[i];
    Counter& counter = counters_.at(leg.number);
    --counter.legs;
    if (leg.turn != counter.turn) continue;
    counter.held -= leg.held;
    if (!without && used[i].n > 0) counter.uses.push_back({leg.at, used[i].n});
  }
  return std::nullopt;
}

}  // namespace weir::sim
