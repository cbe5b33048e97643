// Finds a smaller schedule that breaks the same rule, and writes a schedule down for people.
#pragma once

#include <cstdint>
#include <string>

#include "sim/simulator.h"

namespace weir::sim {

struct Shrunk {
  Schedule schedule;
  Outcome outcome;
  std::uint64_t runs = 0;
};

// Leaves actions out, in halves and then one by one, then takes faults away from the requests that
// are left and switches kinds of faults off, for as long as the same rule stays broken.
//   REQUIRES  that the schedule breaks a rule
//   runs_max  how many schedules it may run for that
Shrunk Shrink(Simulator& simulator, Schedule schedule, std::uint64_t runs_max);

// Without a kind of fault: none of its actions, and no other meets it.
Schedule Without(Schedule schedule, Fault fault);

// The settings and the actions, a line each.
std::string Describe(const Schedule& schedule);

// The command that runs it again.
std::string CommandOf(const Schedule& schedule, Canary canary);

}  // namespace weir::sim
