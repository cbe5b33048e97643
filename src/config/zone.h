// A time zone as a value: the moments at which a place's clock was or will be changed. Where the
// moments come from (the system's tz database) is an adapter's affair (store/time_zones); what is
// computed from them (policy/calendar) is the same on every machine.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/time.h"

namespace weir::config {

// From `at` on local time is UTC + offset_seconds.
struct ZoneChange {
  Instant at;
  std::int32_t offset_seconds = 0;
  friend bool operator==(const ZoneChange&, const ZoneChange&) = default;
};

struct Zone {
  std::string name = "UTC";         // IANA: "Europe/Berlin"
  std::string tzdb_version;         // "2025b"; empty: unknown
  std::int32_t offset_seconds = 0;  // before the first change
  std::vector<ZoneChange> changes;  // ascending, each to another offset than before
  friend bool operator==(const Zone&, const Zone&) = default;
};

}  // namespace weir::config
