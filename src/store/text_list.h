// Lists of short texts in one column, one a line: what a row keeps of models, permissions, keys.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace weir::store {

// `what` is the subject of the error: "a model of a key".
//   fails  kBadInput: an item is empty, or has a line break, which would make two of it
Result<std::string> JoinLines(std::span<const std::string> items, std::string_view what);
std::vector<std::string> SplitLines(std::string_view text);

}  // namespace weir::store
