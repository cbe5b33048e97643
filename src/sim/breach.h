// A rule that the auditor's books found broken.
#pragma once

#include <string>

namespace weir::sim {

struct Breach {
  std::string rule;  // short and stable: the shrinker compares it
  std::string detail;
};

}  // namespace weir::sim
