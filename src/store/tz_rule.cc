#include "store/tz_rule.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace weir::store {
namespace {

constexpr std::int64_t kDay = 86'400;

// Takes from the front of a text what it is asked for.
class Cursor {
 public:
  explicit Cursor(std::string_view text) : rest_(text) {}

  bool done() const { return rest_.empty(); }
  bool Next(char c) const { return !rest_.empty() && rest_.front() == c; }
  bool Take(char c) {
    if (!Next(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }

  // "CET" or "<+0330>": what local time is called is nothing to us.
  bool TakeName() {
    const bool quoted = Take('<');
    std::size_t length = 0;
    while (length < rest_.size() && InName(rest_[length], quoted)) ++length;
    rest_.remove_prefix(length);
    return length >= 3 && (!quoted || Take('>'));
  }

  bool TakeNumber(int min, int max, int& value) {
    value = 0;
    std::size_t length = 0;
    while (length < rest_.size() && length < 4 && rest_[length] >= '0' && rest_[length] <= '9') {
      value = value * 10 + (rest_[length++] - '0');
    }
    rest_.remove_prefix(length);
    return length > 0 && value >= min && value <= max;
  }

  // "[+-]hh[:mm[:ss]]"
  bool TakeTime(int hours_max, std::int32_t& seconds) {
    const bool negative = Take('-');
    if (!negative) Take('+');
    int hours = 0;
    int minutes = 0;
    int rest = 0;
    if (!TakeNumber(0, hours_max, hours)) return false;
    if (Take(':')) {
      if (!TakeNumber(0, 59, minutes)) return false;
      if (Take(':') && !TakeNumber(0, 59, rest)) return false;
    }
    seconds = hours * 3'600 + minutes * 60 + rest;
    if (negative) seconds = -seconds;
    return true;
  }

  bool TakeDay(TzRule::Day& day) {
    using Kind = TzRule::Day::Kind;
    if (Take('M')) {
      day.kind = Kind::kWeekday;
      if (!TakeNumber(1, 12, day.month) || !Take('.') || !TakeNumber(1, 5, day.week) ||
          !Take('.') || !TakeNumber(0, 6, day.weekday)) {
        return false;
      }
    } else if (Take('J')) {
      day.kind = Kind::kWithoutLeap;
      if (!TakeNumber(1, 365, day.day)) return false;
    } else {
      day.kind = Kind::kWithLeap;
      if (!TakeNumber(0, 365, day.day)) return false;
    }
    return !Take('/') || TakeTime(167, day.seconds);
  }

 private:
  static bool InName(char c, bool quoted) {
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return true;
    return quoted && ((c >= '0' && c <= '9') || c == '+' || c == '-');
  }

  std::string_view rest_;
};

int YearOf(std::int64_t seconds) {
  const std::chrono::sys_days day(std::chrono::floor<std::chrono::days>(
      std::chrono::sys_seconds(std::chrono::seconds(seconds))));
  return static_cast<int>(std::chrono::year_month_day(day).year());
}

// The local moment of the change in `year`, in seconds since 1970.
std::int64_t LocalIn(int year, const TzRule::Day& day) {
  const std::chrono::year y(year);
  std::chrono::sys_days date(y / std::chrono::January / 1);
  switch (day.kind) {
    case TzRule::Day::Kind::kWeekday: {
      const auto month = y / std::chrono::month(static_cast<unsigned>(day.month));
      const std::chrono::weekday weekday(static_cast<unsigned>(day.weekday));
      date = day.week == 5
                 ? std::chrono::sys_days(month / weekday[std::chrono::last])
                 : std::chrono::sys_days(month / weekday[static_cast<unsigned>(day.week)]);
      break;
    }
    case TzRule::Day::Kind::kWithoutLeap:
      date += std::chrono::days(day.day - 1 + (y.is_leap() && day.day >= 60 ? 1 : 0));
      break;
    case TzRule::Day::Kind::kWithLeap:
      date += std::chrono::days(day.day);
      break;
  }
  return date.time_since_epoch().count() * kDay + day.seconds;
}

struct Moment {
  std::int64_t at = 0;
  bool begins_summer = false;
  std::int32_t offset = 0;
};

// All moments of some years, in order; of those at one instant only the one that lasts.
std::vector<Moment> Moments(const TzRule& rule, int first_year, int last_year) {
  std::vector<Moment> moments;
  if (!rule.summer) return moments;
  const TzRule::Summer& summer = *rule.summer;
  for (int year = first_year; year <= last_year; ++year) {
    moments.push_back(
        {LocalIn(year, summer.end) - summer.offset_seconds, false, rule.offset_seconds});
    moments.push_back(
        {LocalIn(year, summer.begin) - rule.offset_seconds, true, summer.offset_seconds});
  }
  // A summer that ends when the next begins ("0/0,J365/25") does not end.
  std::ranges::sort(moments, {}, [](const Moment& m) { return std::pair(m.at, m.begins_summer); });
  std::vector<Moment> lasting;
  for (const Moment& moment : moments) {
    if (!lasting.empty() && lasting.back().at == moment.at) lasting.pop_back();
    lasting.push_back(moment);
  }
  return lasting;
}

std::int64_t SecondsOf(Instant at) {
  const std::int64_t ns = Seconds(1).ns;
  return at.ns / ns - (at.ns % ns < 0 ? 1 : 0);
}

}  // namespace

std::optional<TzRule> ParseTzRule(std::string_view text) {
  // POSIX counts west of Greenwich.
  const auto offset = [](Cursor& cursor, std::int32_t& seconds) {
    if (!cursor.TakeTime(24, seconds)) return false;
    seconds = -seconds;
    return true;
  };
  TzRule rule;
  Cursor cursor(text);
  if (!cursor.TakeName() || !offset(cursor, rule.offset_seconds)) return std::nullopt;
  if (cursor.done()) return rule;
  TzRule::Summer summer;
  summer.offset_seconds = rule.offset_seconds + 3'600;
  if (!cursor.TakeName()) return std::nullopt;
  if (!cursor.Next(',') && !offset(cursor, summer.offset_seconds)) return std::nullopt;
  if (!cursor.Take(',') || !cursor.TakeDay(summer.begin) || !cursor.Take(',') ||
      !cursor.TakeDay(summer.end) || !cursor.done()) {
    return std::nullopt;
  }
  rule.summer = summer;
  return rule;
}

std::int32_t OffsetAt(const TzRule& rule, Instant at) {
  const int year = YearOf(SecondsOf(at));
  std::int32_t offset = rule.offset_seconds;
  for (const Moment& moment : Moments(rule, year - 1, year + 1)) {
    if (moment.at <= SecondsOf(at)) offset = moment.offset;
  }
  return offset;
}

std::vector<config::ZoneChange> ChangesOf(const TzRule& rule, Instant from, Instant to) {
  std::vector<config::ZoneChange> changes;
  if (to <= from) return changes;
  std::int32_t offset = OffsetAt(rule, {from.ns - 1});
  for (const Moment& moment :
       Moments(rule, YearOf(SecondsOf(from)) - 1, YearOf(SecondsOf(to)) + 1)) {
    const Instant at{Seconds(moment.at).ns};
    if (at < from || at >= to || moment.offset == offset) continue;
    changes.push_back({at, moment.offset});
    offset = moment.offset;
  }
  return changes;
}

}  // namespace weir::store
