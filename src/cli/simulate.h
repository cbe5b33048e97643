// `weir policy simulate`: what the policies of a file would have done with the requests of a log.
// The command reads files and prints; what is told is made here, apart, so that it can be tested
// with configurations that come from no file.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "base/time.h"
#include "config/config.h"
#include "policy/what_if.h"
#include "store/past_log.h"

namespace weir::cli {

struct SimulateSpan {
  Instant from;
  Instant to;
};

// A finished replay, ready to be told.
struct Simulation {
  SimulateSpan span;
  bool beside_others = false;  // the policies in force were given, to compare with
  store::PastLog::Counts counts;
  const policy::WhatIf* what_if = nullptr;
};

struct SimulateTextOptions {
  std::size_t who_max = 20;  // lines under each policy
};

std::string SimulateText(const Simulation& simulation, const SimulateTextOptions& options = {});
// One JSON value and a newline.
std::string SimulateJson(const Simulation& simulation);

// Replays the log at `path` under the policies of `next` and of `in_force`, and calls `tell`.
//   in_force  null: no policies
Result<void> Simulate(const std::string& path, SimulateSpan span, const config::Config& next,
                      const config::Config* in_force,
                      const std::function<void(const Simulation&)>& tell);

// "30d", "12h", "90m"; none when it is no time.
std::optional<Duration> ParseAgo(std::string_view text);

}  // namespace weir::cli
