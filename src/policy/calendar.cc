#include "policy/calendar.h"

#include <algorithm>
#include <chrono>  // its calendar, not its clocks
#include <span>

namespace weir::policy {
namespace {

constexpr std::int64_t kMinute = 60;
constexpr std::int64_t kHour = 3'600;
constexpr std::int64_t kDay = 86'400;
constexpr std::int64_t kWeek = 7 * kDay;
constexpr std::int64_t kSlidingMonth = 30 * kDay;

constexpr std::int64_t kNsPerSecond = 1'000'000'000;
// No clock of any place differs from UTC by more (RFC 8536: at most 26 hours).
constexpr std::int64_t kOffsetMax = 26 * kHour;
// Farther away than any Instant, and near enough for sums of two.
constexpr std::int64_t kNever = INT64_MAX / 4;
// Of months, whose years std::chrono counts in 16 bits.
constexpr std::int64_t kEveryMax = 100'000;
constexpr std::int64_t kYearMax = 9'999;

constexpr std::int64_t FloorDiv(std::int64_t a, std::int64_t b) {
  return a / b - (a % b < 0 ? 1 : 0);
}

constexpr std::int64_t FloorSeconds(Instant at) { return FloorDiv(at.ns, kNsPerSecond); }

constexpr Instant AtSeconds(std::int64_t seconds) {
  if (seconds > INT64_MAX / kNsPerSecond) return {INT64_MAX};
  if (seconds < INT64_MIN / kNsPerSecond) return {INT64_MIN};
  return {seconds * kNsPerSecond};
}

std::span<const config::ZoneChange> ChangesOf(const config::Zone* zone) {
  if (zone == nullptr) return {};
  return zone->changes;
}

std::int64_t LocalAt(const config::Zone* zone, std::int64_t seconds) {
  if (zone == nullptr) return seconds;
  const auto after = std::ranges::upper_bound(zone->changes, AtSeconds(seconds), {},
                                              [](const auto& change) { return change.at; });
  return seconds +
         (after == zone->changes.begin() ? zone->offset_seconds : std::prev(after)->offset_seconds);
}

// In seconds since 1970, as everything below.
std::int64_t FirstAt(const config::Zone* zone, std::int64_t local) {
  const auto changes = ChangesOf(zone);
  // What lies wholly before this shows less than `local`, whatever its offset is.
  auto next = std::ranges::upper_bound(changes, AtSeconds(local - kOffsetMax), {},
                                       [](const auto& change) { return change.at; });
  // From here on, one span of constant offset after the other: [begin, *next).
  std::int64_t begin = -kNever;
  std::int64_t offset = zone == nullptr ? 0 : zone->offset_seconds;
  if (next != changes.begin()) {
    begin = FloorSeconds(std::prev(next)->at);
    offset = std::prev(next)->offset_seconds;
  }
  for (; next != changes.end() && FloorSeconds(next->at) + offset <= local; ++next) {
    begin = FloorSeconds(next->at);
    offset = next->offset_seconds;
  }
  return std::max(begin, local - offset);
}

struct Months {
  std::int64_t month = 0;  // since year 0
  unsigned day = 1;
  std::int64_t second = 0;  // of the day
};

Months MonthsOf(std::int64_t local) {
  const std::int64_t day = FloorDiv(local, kDay);
  const std::chrono::year_month_day date{
      std::chrono::sys_days(std::chrono::days(static_cast<int>(day)))};
  return {
      static_cast<int>(date.year()) * std::int64_t{12} + static_cast<unsigned>(date.month()) - 1,
      static_cast<unsigned>(date.day()), local - day * kDay};
}

// The local moment of the anchor's day and time in another month; in a shorter one on its last day.
std::int64_t LocalIn(std::int64_t month, const Months& anchor) {
  const std::int64_t year = FloorDiv(month, 12);
  if (year > kYearMax) return kNever;
  if (year < -kYearMax) return -kNever;
  const auto of_year = std::chrono::year(static_cast<int>(year)) /
                       std::chrono::month(static_cast<unsigned>(month - year * 12 + 1));
  const unsigned last = static_cast<unsigned>((of_year / std::chrono::last).day());
  const std::chrono::sys_days day(of_year / std::chrono::day(std::min(anchor.day, last)));
  return day.time_since_epoch().count() * kDay + anchor.second;
}

// The windows of a policy as numbers: window 0 begins at the anchor.
class Windows {
 public:
  explicit Windows(const config::Window& window)
      : window_(window), every_(std::clamp<std::int64_t>(window.every, 1, kEveryMax)) {
    switch (window.kind) {
      case config::WindowKind::kMinute:
      case config::WindowKind::kHour:
        step_ = every_ * (window.kind == config::WindowKind::kMinute ? kMinute : kHour);
        anchor_ = FirstAt(window.zone.get(), window.anchor_seconds);
        break;
      case config::WindowKind::kDay:
      case config::WindowKind::kWeek:
        step_ = every_ * (window.kind == config::WindowKind::kDay ? kDay : kWeek);
        break;
      default:
        months_ = MonthsOf(window.anchor_seconds);
        break;
    }
  }

  // Never less than the start of the window before it; equal where that one is empty.
  std::int64_t Start(std::int64_t n) const {
    switch (window_.kind) {
      case config::WindowKind::kMinute:
      case config::WindowKind::kHour:
        return anchor_ + n * step_;
      case config::WindowKind::kDay:
      case config::WindowKind::kWeek:
        return FirstAt(window_.zone.get(), window_.anchor_seconds + n * step_);
      default:
        return FirstAt(window_.zone.get(), LocalIn(months_.month + n * every_, months_));
    }
  }

  // The one that has begun by `now`, or one near it: where clocks are changed the local time says
  // no more.
  std::int64_t Guess(std::int64_t now) const {
    switch (window_.kind) {
      case config::WindowKind::kMinute:
      case config::WindowKind::kHour:
        return FloorDiv(now - anchor_, step_);
      case config::WindowKind::kDay:
      case config::WindowKind::kWeek:
        return FloorDiv(LocalAt(window_.zone.get(), now) - window_.anchor_seconds, step_);
      default:
        return FloorDiv(MonthsOf(LocalAt(window_.zone.get(), now)).month - months_.month, every_);
    }
  }

 private:
  const config::Window& window_;
  std::int64_t every_ = 1;
  std::int64_t step_ = 1;    // seconds, of all but months
  std::int64_t anchor_ = 0;  // of minutes and hours
  Months months_;
};

bool Repeats(config::WindowKind kind) { return kind <= config::WindowKind::kMonth; }

}  // namespace

std::optional<WindowSpan> WindowAt(const config::Window& window, Instant now) {
  if (window.kind == config::WindowKind::kCampaign) {
    const WindowSpan span{window.starts_at.value_or(kAllTime.starts_at),
                          window.ends_at.value_or(kAllTime.ends_at)};
    if (now < span.starts_at || now >= span.ends_at) return std::nullopt;
    return span;
  }
  if (!Repeats(window.kind)) return kAllTime;
  if (window.sliding) {
    const std::int64_t bucket = BucketLength(window).ns;
    const std::int64_t begin = FloorDiv(now.ns, bucket) * bucket;
    return WindowSpan{{begin - SlidingLength(window).ns}, {begin + bucket}};
  }
  const Windows windows(window);
  const std::int64_t seconds = FloorSeconds(now);
  std::int64_t n = windows.Guess(seconds);
  std::int64_t start = windows.Start(n);
  while (start > seconds) start = windows.Start(--n);
  // Past those that are empty too, so that the span found is not.
  std::int64_t end = windows.Start(n + 1);
  while (end <= seconds) {
    start = end;
    end = windows.Start(++n + 1);
  }
  return WindowSpan{AtSeconds(start), AtSeconds(end)};
}

Duration SlidingLength(const config::Window& window) {
  // Longer than anything is kept, and short enough to be counted in nanoseconds.
  constexpr std::int64_t kLengthMax = 36'500 * kDay;
  const auto times = [&](std::int64_t seconds) {
    const std::int64_t every = std::clamp<std::int64_t>(window.every, 1, kEveryMax);
    return Seconds(std::min(every * seconds, kLengthMax));
  };
  switch (window.kind) {
    case config::WindowKind::kMinute:
      return times(kMinute);
    case config::WindowKind::kHour:
      return times(kHour);
    case config::WindowKind::kDay:
      return times(kDay);
    case config::WindowKind::kWeek:
      return times(kWeek);
    case config::WindowKind::kMonth:
      return times(kSlidingMonth);
    default:
      return kAllTime.ends_at - kAllTime.starts_at;
  }
}

Duration BucketLength(const config::Window& window) {
  const std::int64_t length = SlidingLength(window).ns;
  return {length / kBuckets + (length % kBuckets == 0 ? 0 : 1)};
}

Instant FirstInstantAt(const config::Zone* zone, std::int64_t local_seconds) {
  return AtSeconds(FirstAt(zone, local_seconds));
}

std::int64_t LocalSecondsAt(const config::Zone* zone, Instant now) {
  return LocalAt(zone, FloorSeconds(now));
}

}  // namespace weir::policy
