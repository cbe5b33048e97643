// models.dev's api.json. Private to this folder; see import.h.
#pragma once

#include "prices/import.h"
#include "prices/json_tree.h"

namespace weir::prices {

void ImportModelsDev(const JsonNode& root, std::string_view only, Import& import);

}  // namespace weir::prices
