// One schedule, run to its end: the real path, credit machine, ledger, account pool and recovery
// between simulated callers, upstreams and a simulated disk. The same schedule always does the
// same things; Outcome::hash says so.
//
//   the actions, one after the other -> the faults stop -> everything must come to its end ->
//   a request must be served -> a start from the disk must come to the same accounts
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "dialect/request_shape.h"
#include "identity/api_key.h"
#include "sim/auditor.h"
#include "sim/canary.h"
#include "sim/schedule.h"

namespace weir::sim {

struct Outcome {
  std::optional<Violation> violation;  // the first one; the run ends with it
  std::uint64_t hash = 0;
  std::uint64_t events = 0;
  AuditCounts counts;
  std::uint64_t crashes = 0;
  std::uint64_t power_cuts = 0;
  Duration simulated;
};

// What is made once and used by every schedule. One thread at a time.
class Simulator {
 public:
  explicit Simulator(Canary canary = Canary::kNone) : canary_(canary) {}

  Outcome Run(const Schedule& schedule);

 private:
  const Canary canary_;
  dialect::RequestReader reader_;
  std::shared_ptr<const identity::Pepper> pepper_ =
      std::make_shared<const identity::Pepper>("the pepper of simulations, 32 by");
};

}  // namespace weir::sim
