// How amounts and windows of quota policies are written. Private to this folder.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "admin/json_writer.h"
#include "config/policy.h"
#include "policy/calendar.h"

namespace weir::admin {

// An amount as people write it, in a text: exact in every client. Below zero it is nothing.
void WriteSteps(std::string_view name, config::QuotaUnit unit, __int128 steps, JsonWriter& json);

// null for the ends of all time.
void WriteSpan(const policy::WindowSpan& span, JsonWriter& json);
std::optional<Instant> WhenThere(Instant at);

}  // namespace weir::admin
