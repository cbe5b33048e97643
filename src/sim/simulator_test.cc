#include "sim/simulator.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "sim/shrink.h"

namespace weir::sim {
namespace {

constexpr std::uint32_t kActions = 40;

std::string Text(const Outcome& outcome) {
  return outcome.violation ? outcome.violation->rule + ": " + outcome.violation->detail : "";
}

TEST(Simulator, TheSameSeed_DoesTheSameThings) {
  Simulator one;
  Simulator other;
  std::set<std::uint64_t> hashes;
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    const Outcome first = one.Run(MakeSchedule(seed, kActions));
    hashes.insert(first.hash);
    // Behind another history: a schedule inherits nothing from the one before it.
    other.Run(MakeSchedule(seed + 1000, 5));
    const Outcome second = other.Run(MakeSchedule(seed, kActions));
    EXPECT_EQ(first.hash, second.hash) << seed;
    EXPECT_EQ(first.events, second.events) << seed;
  }
  EXPECT_EQ(hashes.size(), 30U);
}

TEST(Simulator, SomeHundredSchedules_BreakNoRule_AndMeetEverything) {
  Simulator simulator;
  AuditCounts sum;
  std::uint64_t crashes = 0;
  std::uint64_t power_cuts = 0;
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    const Outcome outcome = simulator.Run(MakeSchedule(seed, kActions));
    ASSERT_FALSE(outcome.violation) << "seed " << seed << ": " << Text(outcome);
    sum.served += outcome.counts.served;
    sum.refused += outcome.counts.refused;
    sum.voided += outcome.counts.voided;
    sum.recovered += outcome.counts.recovered;
    sum.overruns += outcome.counts.overruns;
    sum.lost_records += outcome.counts.lost_records;
    sum.attempts += outcome.counts.attempts;
    sum.admitted += outcome.counts.admitted;
    sum.grants += outcome.counts.grants;
    sum.extensions += outcome.counts.extensions;
    sum.out_of_hold += outcome.counts.out_of_hold;
    sum.replays += outcome.counts.replays;
    sum.counters += outcome.counts.counters;
    sum.windows += outcome.counts.windows;
    sum.quota_lines += outcome.counts.quota_lines;
    sum.alerts += outcome.counts.alerts;
    sum.policy_refusals += outcome.counts.policy_refusals;
    crashes += outcome.crashes;
    power_cuts += outcome.power_cuts;
  }
  EXPECT_GT(sum.served, 1000U);
  EXPECT_GT(sum.refused, 500U);
  EXPECT_GT(sum.voided, 300U);
  EXPECT_GT(sum.recovered, 100U);
  EXPECT_GT(sum.overruns, 20U);
  EXPECT_GT(sum.lost_records, 20U);
  EXPECT_GT(sum.grants, 1000U);
  EXPECT_GT(sum.extensions, 20U);
  EXPECT_GT(sum.out_of_hold, 0U);
  EXPECT_GT(sum.replays, 100U);
  EXPECT_GT(sum.counters, 500U);
  EXPECT_GT(sum.windows, sum.counters + 100);  // they turn, or get other limits
  EXPECT_GT(sum.quota_lines, 2000U);
  EXPECT_GT(sum.alerts, 200U);
  EXPECT_GT(sum.policy_refusals, 500U);
  EXPECT_GT(crashes, 300U);
  EXPECT_GT(power_cuts, 30U);
}

// Schedules that found something, by the seed and the size of the schedule they are of.
TEST(Simulator, WhatWasFoundOnce_StaysFound) {
  Simulator simulator;
  for (const std::uint64_t seed : {2, 517, 570, 594, 3816}) {
    const Outcome outcome = simulator.Run(MakeSchedule(seed, kActions));
    EXPECT_FALSE(outcome.violation) << "seed " << seed << ": " << Text(outcome);
  }
}

TEST(Simulator, AScheduleWithoutFaults_ServesWhatItAdmits) {
  Simulator simulator;
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    Schedule schedule = MakeSchedule(seed, kActions);
    for (const FaultName& fault : kFaultNames) schedule = Without(std::move(schedule), fault.fault);
    schedule.settings.account_slots = 0;
    schedule.settings.holds = {};  // whoever outgrows an adaptive hold may be cut
    const Outcome outcome = simulator.Run(schedule);
    ASSERT_FALSE(outcome.violation) << "seed " << seed << ": " << Text(outcome);
    EXPECT_EQ(outcome.counts.served, outcome.counts.admitted) << seed;
    EXPECT_EQ(outcome.counts.overruns, 0U) << seed;
    EXPECT_EQ(outcome.counts.recovered, 0U) << seed;
  }
}

TEST(Canary, EachPlantedBug_IsFoundWithinItsSeeds) {
  for (const CanaryInfo& info : kCanaries) {
    Simulator simulator(info.canary);
    std::uint64_t seed = 1;
    while (seed <= info.seeds && !simulator.Run(MakeSchedule(seed, kActions)).violation) ++seed;
    EXPECT_LE(seed, info.seeds) << info.name << " was not found";
  }
}

TEST(Shrink, AFailingSchedule_BecomesSmall_AndItsCommandSaysHow) {
  for (const Canary canary : {Canary::kAckEarly, Canary::kForgetHold, Canary::kReleaseTwice}) {
    Simulator simulator(canary);
    std::uint64_t seed = 1;
    Outcome found;
    for (;; ++seed) {
      found = simulator.Run(MakeSchedule(seed, kActions));
      if (found.violation) break;
    }
    const Shrunk shrunk = Shrink(simulator, MakeSchedule(seed, kActions), 2000);
    ASSERT_TRUE(shrunk.outcome.violation);
    EXPECT_EQ(shrunk.outcome.violation->rule, found.violation->rule);
    EXPECT_LE(shrunk.schedule.actions.size(), 8U);
    EXPECT_LE(shrunk.runs, 2000U);
    const std::string command = CommandOf(shrunk.schedule, canary);
    EXPECT_NE(command.find("--only " + OnlyText(shrunk.schedule)), std::string::npos) << command;
    EXPECT_NE(command.find("--canary "), std::string::npos) << command;
    // What the command says is the schedule that was found.
    Schedule again = MakeSchedule(seed, kActions);
    ASSERT_TRUE(KeepOnly(again, OnlyText(shrunk.schedule)));
    for (const FaultName& fault : kFaultNames) {
      if (!shrunk.schedule.faults.Has(fault.fault)) again = Without(std::move(again), fault.fault);
    }
    EXPECT_EQ(simulator.Run(again).hash, shrunk.outcome.hash);
  }
}

TEST(Shrink, AScheduleThatBreaksNothing_IsLeftAsItIs) {
  Simulator simulator;
  const Shrunk shrunk = Shrink(simulator, MakeSchedule(1, 10), 100);
  EXPECT_FALSE(shrunk.outcome.violation);
  EXPECT_EQ(shrunk.schedule.actions.size(), 10U);
  EXPECT_EQ(shrunk.runs, 1U);
}

}  // namespace
}  // namespace weir::sim
