// What a reload changes, in words, and which of it waits for a restart. Nothing is refused here: a
// reload takes what it can and says what it could not.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "config/config.h"

namespace weir::config {

struct ConfigChange {
  std::string path;            // "models.gpt-5.5.price.input", "keys.ci", "listen"
  std::string text;            // "2.50 -> 3.00", "added", "removed", "changed" for a secret
  bool needs_restart = false;  // in force only after one: listen, admin.listen, workers, ...
};

// In the order of the reference page. Lists are compared by name, so a reordering of upstreams or
// keys is no change; the order of a model's routes is, and that of a package's pools.
std::vector<ConfigChange> DiffConfigs(const Config& before, const Config& after);

// One line for the log: "2 changes: limits.idle_deadline 75s -> 60s; listen ... (needs a restart)".
std::string DescribeChanges(std::span<const ConfigChange> changes);

// `after` with every setting that needs a restart as it is in `before`: what a reload may publish.
Config WithoutRestartChanges(const Config& before, Config after);

}  // namespace weir::config
