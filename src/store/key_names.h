// The names of keys, for tools that show a ledger beside it: reads data_dir/keys.db and changes
// nothing. Without the file, or with one that cannot be read, keys have no names and only ids.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/id.h"

namespace weir::store {

// In no order. A revoked key may have the name of a later one.
std::vector<std::pair<KeyId, std::string>> ReadKeyNames(const std::string& path);

}  // namespace weir::store
