// The rule at the end of a compiled time zone, by which its clocks are changed after the last
// change that is listed: "CET-1CEST,M3.5.0,M10.5.0/3" (POSIX TZ, as RFC 8536 section 3.3 extends
// it).
//
// Pure: text in, moments out. Reading the file is time_zones's affair.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "config/zone.h"

namespace weir::store {

struct TzRule {
  // The day of a year on which clocks are changed.
  struct Day {
    enum class Kind : std::uint8_t {
      kWeekday,      // the week-th (5: the last) `weekday` of `month`
      kWithoutLeap,  // the day-th, from 1; 29 February is never counted
      kWithLeap,     // the day-th, from 0
    };
    Kind kind = Kind::kWeekday;
    int month = 0;    // 1..12
    int week = 0;     // 1..5
    int weekday = 0;  // 0: Sunday
    int day = 0;
    std::int32_t seconds = 7'200;  // of that day, in the local time until then; -167 h..167 h
  };
  struct Summer {
    std::int32_t offset_seconds = 0;
    Day begin;
    Day end;
  };
  std::int32_t offset_seconds = 0;  // local time is UTC + it
  std::optional<Summer> summer;     // none: clocks are not changed
};

// None for what is no such rule, or one that we do not understand.
std::optional<TzRule> ParseTzRule(std::string_view text);

// The changes the rule makes in [from, to), in order, each to another offset than before.
std::vector<config::ZoneChange> ChangesOf(const TzRule& rule, Instant from, Instant to);

// What holds at `at` by the rule.
std::int32_t OffsetAt(const TzRule& rule, Instant at);

}  // namespace weir::store
