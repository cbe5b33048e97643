// `weir report`: the review of a period, owner by owner, with the policy to change. The command
// reads files and prints; what is told is made here, apart, so that it can be tested with
// configurations that come from no file.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/config.h"
#include "policy/review.h"
#include "policy/what_if.h"

namespace weir::cli {

// What is told of one policy besides what the review has of it.
struct PolicyCounted {
  std::int64_t most_permille = 0;  // of its limit, at the most
  std::string most_who;
  std::int64_t alerts = 0;
};

struct ReportTold {
  config::ReviewCadence cadence = config::ReviewCadence::kWeekly;
  policy::Review::Report review;
  std::vector<PolicyCounted> counted;  // by the policies of the review
  bool outcomes = false;               // false: nothing was ever told of an action
};

std::string ReportText(const ReportTold& told);
// One JSON value and a newline.
std::string ReportJson(const ReportTold& told);

// The two periods of a cadence that end at `to`: days of 24 hours, weeks of seven of them, months
// of thirty.
policy::Review::Periods PeriodsOf(config::ReviewCadence cadence, Instant to);

// Reviews the log in `data_dir` (requests.db, and outcomes.db if there is one).
Result<ReportTold> MakeReport(const std::string& data_dir, const config::Config& config,
                              config::ReviewCadence cadence, Instant to);

}  // namespace weir::cli
