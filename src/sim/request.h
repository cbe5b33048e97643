// What a simulated caller sends and how it behaves, drawn from the seed of one action.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/caller.h"
#include "sim/schedule.h"

namespace weir::sim {

// A key that no table has.
inline constexpr std::size_t kUnknownKey = kKeys + 1;

std::string ModelName(std::size_t model);

// One request as it will be sent.
struct Request {
  std::size_t key = 0;
  std::size_t model = 0;
  bool stream = false;
  std::string path;
  std::string body;
  std::string idempotency;  // the Idempotency-Key; empty: none
  std::string user;         // as it says itself; empty: it does not
  std::string action;       // of which it is a part; empty: of one of its own
};

// The same Idempotency-Key once more.
struct Repeat {
  Duration after;
  bool other_body = false;
};

Request MakeRequest(std::uint64_t seed, FaultSet faults);
// Another body for the key and the Idempotency-Key of the request of this seed.
Request MakeOtherRequest(std::uint64_t seed, FaultSet faults);
CallerPlan PlanOfCaller(std::uint64_t seed, FaultSet faults);
std::vector<Repeat> RepeatsOf(std::uint64_t seed, FaultSet faults);

// Both in one line, for people.
std::string DescribeRequest(const Schedule& schedule, const Action& action);

}  // namespace weir::sim
