// Prices as the API shows them: decimal US dollars per million tokens, as in the file.
#pragma once

#include "admin/json_writer.h"
#include "config/config.h"

namespace weir::admin {

// The members of a price into the object that is open.
void WritePrice(const config::PriceVersion& version, JsonWriter& json);

}  // namespace weir::admin
