// Time zones of the system's tz database (Debian's tzdata), as values. Read with Howard Hinnant's
// date library, and the rule behind the last listed change by tz_rule: where files are "slim", the
// list ends with the last law that was passed, and everywhere it ends in 2037.
//
// Fails closed: a name that is not there, and a file that is not understood to its end, is no zone.
//
// From any thread. A zone is read once and kept; what the system's database says after an update is
// seen by the next start, so windows do not move under a gateway that runs.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "config/zone.h"

namespace weir::store {

// The zone of an IANA name ("Europe/Berlin"), or null.
//   has    every change from 1900 up to 2100; after that its last offset
//   cost   a file of a few KiB, once for each name
std::shared_ptr<const config::Zone> FindZone(std::string_view name);

// The release of the database, such as "2025b"; empty when it does not say.
std::string TzdbVersion();

}  // namespace weir::store
