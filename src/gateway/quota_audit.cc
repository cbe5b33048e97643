#include "gateway/quota_audit.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "config/policy.h"
#include "policy/wallet_rate.h"

namespace weir::gateway {
namespace {

using config::QuotaUnit;
using config::WindowKind;
using ledger::Amount;
using ledger::QuotaRule;
using ledger::Sum;

// A sliding window is as long as so many buckets; the one that is passing out counts, too.
constexpr std::int64_t kBucketsOfAWindow = 60;

std::int64_t BucketAt(Instant at, Duration bucket) {
  std::int64_t n = at.ns / bucket.ns;
  if (n * bucket.ns > at.ns) --n;  // division rounds towards zero, time does not
  return n;
}

std::string Text(Sum n) { return std::to_string(ledger::Clipped(n).n); }

std::string Of(const ledger::CounterRecord& made) {
  std::string text = "counter " + std::to_string(made.number) + " of policy " + made.policy;
  if (!made.values.empty()) text += " (" + made.values + ")";
  return text;
}
std::string Of(std::uint32_t number) { return "counter " + std::to_string(number); }

std::string Span(Instant starts_at, Instant ends_at) {
  return "[" + std::to_string(starts_at.ns) + ", " + std::to_string(ends_at.ns) + ")";
}

bool IsOfAttempts(std::uint8_t unit) {
  const auto of = static_cast<QuotaUnit>(unit);
  return of == QuotaUnit::kAttempts || of == QuotaUnit::kFallbackAttempts ||
         of == QuotaUnit::kFallbackSpend;
}

// What the usage comes to in the unit; nothing where the record does not say.
//   held  of the request: what is known before the call is used as it was held
std::optional<Sum> UseIn(std::uint8_t unit, const QuotaAudit::Outcome& outcome, Sum held) {
  const Usage& usage = outcome.usage;
  switch (static_cast<QuotaUnit>(unit)) {
    case QuotaUnit::kRequests:
    case QuotaUnit::kVideoJobs:
    case QuotaUnit::kVideoRerenders:
    case QuotaUnit::kEmbeddings:
      return held;
    case QuotaUnit::kInputTokens:
      return usage.input_tokens;
    case QuotaUnit::kOutputTokens:
      return usage.output_tokens;
    case QuotaUnit::kTotalTokens:
      return static_cast<Sum>(usage.input_tokens) + usage.output_tokens;
    case QuotaUnit::kCachedTokens:
      return usage.cached_input_tokens;
    case QuotaUnit::kUncachedTokens:
      return static_cast<Sum>(usage.input_tokens) - usage.cached_input_tokens;
    case QuotaUnit::kUsd:
    case QuotaUnit::kCredits:
      return outcome.price.n;
    case QuotaUnit::kQuotaTokens:
      return policy::WalletPriceOf({ledger::Unit::kQuotaToken, outcome.multiplier_ppm}, {}, usage)
          .n;
    case QuotaUnit::kConcurrent:
    case QuotaUnit::kContextTokens:
      return 0;
    case QuotaUnit::kImages:
      return usage.images;
    case QuotaUnit::kVideoSeconds:
      return usage.video_ms;
    case QuotaUnit::kAudioSeconds:
      return usage.audio_ms;
    case QuotaUnit::kAttempts:
    case QuotaUnit::kFallbackAttempts:
    case QuotaUnit::kFallbackSpend:
      break;
  }
  return std::nullopt;
}

}  // namespace

QuotaAudit::Counter* QuotaAudit::Find(std::uint32_t number) {
  const auto found = counters_.find(number);
  return found == counters_.end() ? nullptr : &found->second;
}

Sum QuotaAudit::SettledAt(const Counter& counter, Instant at) {
  if (!counter.slides()) return counter.settled;
  Sum sum = 0;
  // Any time is safe, also that of a record which somebody made up.
  const Sum from = Sum{BucketAt(at, counter.made.bucket)} - kBucketsOfAWindow;
  const auto oldest = static_cast<std::int64_t>(std::max<Sum>(from, INT64_MIN));
  for (auto one = counter.buckets.lower_bound(oldest); one != counter.buckets.end(); ++one) {
    sum += one->second;
  }
  return sum;
}

bool QuotaAudit::MayGo(const Counter& counter, Instant at) {
  if (counter.lines > 0) {
    Broken("I9", Of(counter.made) + " is given up while " + std::to_string(counter.lines) +
                     " lines hold of it");
    return false;
  }
  if (!counter.over(at)) {
    Broken("I17", Of(counter.made) + " is given up while its window " +
                      Span(counter.window.starts_at, counter.window.ends_at) + " goes on");
  }
  return true;
}

void QuotaAudit::See(const ledger::CounterRecord& record, Instant at) {
  if (record.unit >= config::kQuotaUnits ||
      record.window > static_cast<std::uint8_t>(WindowKind::kAction) ||
      (record.bucket.ns > 0 && record.window > static_cast<std::uint8_t>(WindowKind::kMonth)) ||
      record.bucket.ns < 0) {
    Broken("I9", Of(record) + " counts a unit or has a window that does not exist");
    return;
  }
  if (const Counter* const before = Find(record.number)) {
    if (!MayGo(*before, at)) return;
    counters_.erase(record.number);
  }
  Past* past = pasts_.Find(record.counter);
  if (past == nullptr) {
    past = &pasts_.Insert(record.counter, {});
  } else if (const Counter* const same = Find(past->number);
             same != nullptr && same->made.counter == record.counter) {
    // Under another number: what it has counted there would be forgotten.
    if (!MayGo(*same, at)) return;
    counters_.erase(past->number);
  }
  past->number = record.number;
  counters_[record.number].made = record;
}

void QuotaAudit::CheckI17Begins(const Counter& counter, const ledger::WindowRecord& record,
                                Instant at) {
  const Past& past = *pasts_.Find(counter.made.counter);
  const auto kind = static_cast<WindowKind>(counter.made.window);
  const std::string window =
      "window " + Span(record.starts_at, record.ends_at) + " of " + Of(counter.made);
  if (record.ends_at <= record.starts_at) {
    Broken("I17", window + " has no moment");
    return;
  }
  // Of a campaign the operator may move both ends.
  if (kind == WindowKind::kCampaign) return;
  if (at < record.starts_at || at >= record.ends_at) {
    Broken("I17", window + " begins at " + std::to_string(at.ns) + ", which is not in it");
  }
  if (!past.has_window) return;
  if (counter.slides() || kind == WindowKind::kLifetime) {
    Broken("I17", window + " follows one that has no end");
  } else if (at < past.ends_at) {
    Broken("I17", window + " begins before the end of " + Span(past.starts_at, past.ends_at));
  }
}

void QuotaAudit::See(const ledger::WindowRecord& record, Instant at) {
  Counter* const counter = Find(record.number);
  if (counter == nullptr) {
    Broken("I17", "a window of " + Of(record.number) + ", which there is not");
    return;
  }
  if (record.limit < Amount{0}) Broken("I3", Of(counter->made) + " has less than nothing");
  const bool begins = counter->windows == 0 || counter->window.starts_at != record.starts_at ||
                      counter->window.ends_at != record.ends_at;
  if (begins) {
    CheckI17Begins(*counter, record, at);
    Past& past = *pasts_.Find(counter->made.counter);
    past.has_window = true;
    past.starts_at = record.starts_at;
    past.ends_at = record.ends_at;
    ++counter->windows;
    counter->held = 0;
    counter->settled = 0;
    counter->buckets.clear();
    counter->told.reset();
  } else if (record.limit > counter->window.limit) {
    // What the higher limit has room for again may be told again.
    const Sum settled = SettledAt(*counter, at);
    for (std::size_t percent = 0; percent < counter->told.size(); ++percent) {
      const bool reached = percent > 0 && settled * 100 >= static_cast<Sum>(record.limit.n) *
                                                               static_cast<Sum>(percent);
      if (!reached) counter->told.reset(percent);
    }
  }
  counter->window = record;
}

void QuotaAudit::CheckI18IsTrue(const Counter& counter, const ledger::AlertRecord& record,
                                Instant at) {
  const Sum settled = SettledAt(counter, at);
  const Sum limit = counter.window.limit.n;
  if (record.settled.n != ledger::Clipped(settled).n || record.limit.n != limit) {
    Broken("I18", "an alert of " + Of(counter.made) + " says " + Text(record.settled.n) + " of " +
                      Text(record.limit.n) + ", by the records it is at " + Text(settled) + " of " +
                      Text(limit));
    return;
  }
  bool is_so = false;
  if (record.percent > 0) {
    is_so = settled > 0 && settled * 100 >= limit * record.percent;
  } else {
    // At the rate since its beginning the limit is reached before its end.
    const Sum length = static_cast<Sum>(counter.window.ends_at.ns) - counter.window.starts_at.ns;
    const Sum elapsed = static_cast<Sum>(at.ns) - counter.window.starts_at.ns;
    const bool ends = !counter.slides() && counter.window.ends_at.ns != INT64_MAX &&
                      counter.made.window <= static_cast<std::uint8_t>(WindowKind::kCampaign);
    is_so = ends && settled < limit && elapsed * 10 >= length && settled * length > limit * elapsed;
  }
  if (!is_so) {
    Broken("I18", "an alert of " + Of(counter.made) + " tells of " +
                      std::to_string(record.percent) + " %, and " + Text(settled) + " of " +
                      Text(limit) + " are used");
  }
}

void QuotaAudit::See(const ledger::AlertRecord& record, Instant at) {
  Counter* const counter = Find(record.number);
  if (counter == nullptr || counter->windows == 0 || record.percent >= counter->told.size()) {
    Broken("I18", "an alert of " + Of(record.number) + ", which has no such threshold");
    return;
  }
  if (counter->told.test(record.percent)) {
    Broken("I18", "an alert of " + Of(counter->made) + " tells of " +
                      std::to_string(record.percent) + " % again");
  }
  counter->told.set(record.percent);
  CheckI18IsTrue(*counter, record, at);
}

void QuotaAudit::Hold(std::string_view who, std::span<const ledger::QuotaLine> holds, Instant at,
                      Lines& lines) {
  for (std::size_t i = 0; i < holds.size(); ++i) {
    const ledger::QuotaLine& hold = holds[i];
    const auto same = [&](const auto& other) { return other.counter == hold.counter; };
    if (std::ranges::any_of(holds.first(i), same)) {
      Broken("I4", std::string(who) + " holds twice of " + Of(hold.counter));
    }
    Counter* const counter = Find(hold.counter);
    if (counter == nullptr || counter->windows == 0 || hold.amount < Amount{0}) {
      Broken("I4", std::string(who) + " holds " + Text(hold.amount.n) + " of " + Of(hold.counter) +
                       (counter == nullptr ? ", which there is not" : ""));
      lines.push_back({.counter = hold.counter});
      continue;
    }
    const ledger::WindowRecord& window = counter->window;
    if (counter->made.window != static_cast<std::uint8_t>(WindowKind::kCampaign) &&
        (at < window.starts_at || at >= window.ends_at)) {
      Broken("I17", std::string(who) + " holds of " + Of(counter->made) + " at " +
                        std::to_string(at.ns) + ", and its window is " +
                        Span(window.starts_at, window.ends_at));
    }
    const auto mine = std::ranges::find_if(lines, [&](const Line& line) {
      return line.counter == hold.counter && line.window == counter->windows;
    });
    if (mine != lines.end()) {
      mine->held = ledger::Clipped(static_cast<Sum>(mine->held) + hold.amount.n).n;
    } else {
      ++counter->lines;
      lines.push_back({.counter = hold.counter,
                       .window = counter->windows,
                       .unit = counter->made.unit,
                       .rule = window.rule,
                       .held = hold.amount.n,
                       .at = at});
    }
    counter->held += hold.amount.n;
    const Sum settled = SettledAt(*counter, at);
    if (window.rule == QuotaRule::kHard && hold.amount > Amount{0} &&
        settled + counter->held > window.limit.n) {
      Broken("I3", Of(counter->made) + " has " + Text(settled) + " used and " +
                       Text(counter->held) + " held of " + Text(window.limit.n) + " with " +
                       std::string(who));
    }
  }
}

void QuotaAudit::CheckI5Used(std::string_view who, std::span<const Amount> used,
                             const Outcome* outcome, const Lines& lines) {
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const Line& line = lines[i];
    if (used[i] < Amount{0} || (line.rule == QuotaRule::kHard && used[i].n > line.held)) {
      Broken("I5", std::string(who) + " held " + Text(line.held) + " of " + Of(line.counter) +
                       " and used " + Text(used[i].n));
    }
    if (outcome == nullptr) {
      if (used[i].n != 0 && !IsOfAttempts(line.unit)) {
        Broken("I5", std::string(who) + " was released and used " + Text(used[i].n) + " of " +
                         Of(line.counter));
      }
      continue;
    }
    // A counter has several lines when its window ended while the request grew. They are looked at
    // together, at the first.
    const auto same = [&](const Line& other) { return other.counter == line.counter; };
    if (std::ranges::any_of(std::span(lines).first(i), same)) continue;
    Sum held = 0;
    Sum sum = 0;
    for (std::size_t j = i; j < lines.size(); ++j) {
      if (!same(lines[j])) continue;
      held += lines[j].held;
      sum += used[j].n;
    }
    const auto use = UseIn(line.unit, *outcome, held);
    if (!use || sum == 0) continue;  // nothing: another provider served
    // Each but the last is filled before the next.
    Sum left = *use;
    for (std::size_t j = i; j < lines.size(); ++j) {
      if (!same(lines[j])) continue;
      const bool last = std::ranges::none_of(std::span(lines).subspan(j + 1), same);
      const bool bounded = !last || lines[j].rule == QuotaRule::kHard;
      const Sum due = bounded ? std::min<Sum>(left, lines[j].held) : left;
      left -= due;
      if (used[j].n == ledger::Clipped(due).n) continue;
      Broken("I5", std::string(who) + " used " + Text(used[j].n) + " of " + Of(line.counter) +
                       " with " + Text(lines[j].held) + " held, by its usage it is " + Text(due));
    }
  }
}

void QuotaAudit::Resolve(std::string_view who, std::span<const Amount> used, const Outcome* outcome,
                         Lines& lines) {
  // A release that used nothing has no figures.
  const bool none = outcome == nullptr && used.empty();
  if (!none && used.size() != lines.size()) {
    Broken("I4", std::string(who) + " holds " + std::to_string(lines.size()) +
                     " lines and is resolved with " + std::to_string(used.size()) + " figures");
    used = {};
  }
  if (!used.empty()) CheckI5Used(who, used, outcome, lines);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const Line& line = lines[i];
    Counter* const counter = line.window == 0 ? nullptr : Find(line.counter);
    if (counter == nullptr) continue;
    --counter->lines;
    // What a window that is over had is nobody's any more.
    if (line.window != counter->windows) continue;
    counter->held -= line.held;
    const Sum amount = used.empty() ? 0 : used[i].n;
    if (!counter->slides()) {
      counter->settled += amount;
    } else if (amount != 0) {
      counter->buckets[BucketAt(line.at, counter->made.bucket)] += amount;
      // So that a counter with a long past is as quick as a new one. The newest line is not behind
      // the time by which they are judged.
      const std::int64_t newest = counter->buckets.rbegin()->first;
      counter->buckets.erase(counter->buckets.begin(),
                             counter->buckets.lower_bound(newest - kBucketsOfAWindow));
    }
  }
  lines.clear();
}

void QuotaAudit::Compare(const policy::QuotaTable& table, Instant at) {
  for (std::uint32_t number = 0; number < table.numbers(); ++number) {
    const auto view = table.View(number, at);
    if (!view) continue;
    const Counter* const counter = Find(number);
    if (counter == nullptr) {
      Broken("I2", "the machine has " + Of(number) + ", and no record has it");
      continue;
    }
    const bool over = counter->over(at);
    const Amount settled = ledger::Clipped(over ? 0 : SettledAt(*counter, at));
    const Amount held = ledger::Clipped(over ? 0 : counter->held);
    const ledger::CounterRecord& made = counter->made;
    const bool same = view->policy == made.policy && view->values == made.values &&
                      static_cast<std::uint8_t>(view->unit) == made.unit &&
                      static_cast<std::uint8_t>(view->window_kind) == made.window &&
                      view->sliding == counter->slides() &&
                      view->window.starts_at == counter->window.starts_at &&
                      view->window.ends_at == counter->window.ends_at &&
                      view->rule == counter->window.rule && view->limit == counter->window.limit.n;
    if (!same) Broken("I2", "the machine has another " + Of(made) + " than the records");
    if (view->settled == settled.n && view->held == held.n) continue;
    Broken("I2", Of(made) + ": the records add up to " + Text(settled.n) + " used and " +
                     Text(held.n) + " held, the machine says " + Text(view->settled) + " and " +
                     Text(view->held));
  }
  // One that is over may have been given up, which no record says.
  for (const auto& [number, counter] : counters_) {
    if (table.View(number, at) || (counter.over(at) && counter.lines == 0)) continue;
    Broken("I2", "the machine does not have " + Of(counter.made));
  }
}

}  // namespace weir::gateway
