// What a simulated caller sends and how it behaves, drawn from the seed of one action.
#pragma once

#include <cstdint>
#include <string>

#include "sim/caller.h"
#include "sim/schedule.h"

namespace weir::sim {

// A key that no table has.
inline constexpr std::size_t kUnknownKey = kKeys + 1;

std::string ModelName(std::size_t model);

// One request as it will be sent.
struct Request {
  std::size_t key = 0;
  std::string path;
  std::string body;
};

Request MakeRequest(std::uint64_t seed, FaultSet faults);
CallerPlan PlanOfCaller(std::uint64_t seed, FaultSet faults);

// Both in one line, for people.
std::string DescribeRequest(const Schedule& schedule, const Action& action);

}  // namespace weir::sim
