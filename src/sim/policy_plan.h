// The quota policies of a simulated deployment, drawn from a seed, and what an operator does to
// them on the way. Every policy has a number, and whatever is changed of it, it goes on counting
// the same thing: its unit, its window, its split and its thresholds stay.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/time.h"
#include "config/policy.h"

namespace weir::sim {

inline constexpr std::size_t kPolicies = 6;
inline constexpr std::size_t kTeams = 2;
inline constexpr std::size_t kUsers = 3;
inline constexpr std::size_t kActions = 4;

// What callers are known by.
std::string TeamOf(std::size_t key);  // of a key
std::string UserName(std::size_t user);
std::string ActionName(std::size_t action);

// Some of the policies of a deployment: none to kPolicies.
std::vector<config::Policy> DrawPolicies(std::uint64_t seed);
// The one with that number, as it is at first.
config::Policy DrawPolicy(std::uint64_t seed, std::size_t number);

// Limits, actions and rules change, policies come and go, more is approved for a while.
//   policies_seed  what DrawPolicies had
void ChangePolicies(std::uint64_t seed, std::uint64_t policies_seed, Instant now,
                    std::vector<config::Policy>& policies, std::vector<config::Raise>& raises);

// In one line, for people.
std::string DescribePolicy(const config::Policy& policy);

}  // namespace weir::sim
