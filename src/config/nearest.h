// "Did you mean ...?" Private to this folder.
#pragma once

#include <span>
#include <string_view>

namespace weir::config {

// The candidate that `text` was probably meant to be, or nothing when none is near: at most a third
// of its letters wrong, counting two swapped neighbours as one.
//   cost   O(candidates x 64 x 64); longer texts have no neighbours
std::string_view Nearest(std::string_view text, std::span<const std::string_view> candidates);

}  // namespace weir::config
