// LiteLLM's model_prices_and_context_window.json. Private to this folder; see import.h.
#pragma once

#include "prices/import.h"
#include "prices/json_tree.h"

namespace weir::prices {

void ImportLiteLlm(const JsonNode& root, std::string_view only, Import& import);

}  // namespace weir::prices
