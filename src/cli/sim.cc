// `weir sim`: simulated schedules of the whole path, each from a seed (sim/).

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "admin/json_writer.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "sim/shrink.h"

namespace weir::cli {

namespace {

// The shrinker's patience.
constexpr std::uint64_t kShrinkRunsMax = 2000;

struct Options {
  std::uint64_t seed = 1;
  std::uint32_t events = 40;
  std::uint64_t count = 1;
  std::string canary;
  std::string only;
  std::string without;
  bool shrink = false;
  bool describe = false;
  bool keep_going = false;
  bool json = false;
};

struct Sum {
  std::uint64_t schedules = 0;
  std::uint64_t violations = 0;
  std::uint64_t events = 0;
  std::uint64_t crashes = 0;
  std::uint64_t power_cuts = 0;
  std::uint64_t hash = 0;
  Duration simulated;
  sim::AuditCounts counts;
};

void Add(const sim::Outcome& outcome, Sum& sum) {
  ++sum.schedules;
  sum.violations += outcome.violation.has_value();
  sum.events += outcome.events;
  sum.crashes += outcome.crashes;
  sum.power_cuts += outcome.power_cuts;
  sum.hash = sum.hash * 0x100000001B3ULL ^ outcome.hash;
  sum.simulated = sum.simulated + outcome.simulated;
  sum.counts.requests += outcome.counts.requests;
  sum.counts.admitted += outcome.counts.admitted;
  sum.counts.refused += outcome.counts.refused;
  sum.counts.attempts += outcome.counts.attempts;
  sum.counts.served += outcome.counts.served;
  sum.counts.settled += outcome.counts.settled;
  sum.counts.voided += outcome.counts.voided;
  sum.counts.recovered += outcome.counts.recovered;
  sum.counts.overruns += outcome.counts.overruns;
  sum.counts.records += outcome.counts.records;
  sum.counts.restarts += outcome.counts.restarts;
  sum.counts.lost_records += outcome.counts.lost_records;
  sum.counts.grants += outcome.counts.grants;
  sum.counts.extensions += outcome.counts.extensions;
  sum.counts.replays += outcome.counts.replays;
  sum.counts.out_of_hold += outcome.counts.out_of_hold;
  sum.counts.counters += outcome.counts.counters;
  sum.counts.windows += outcome.counts.windows;
  sum.counts.quota_lines += outcome.counts.quota_lines;
  sum.counts.alerts += outcome.counts.alerts;
  sum.counts.policy_refusals += outcome.counts.policy_refusals;
}

// A broken invariant inside the machine ends the process; this says of which schedule.
char abort_text[96];
void OnAbort(int) {
  const auto ignored = write(STDERR_FILENO, abort_text, std::strlen(abort_text));
  static_cast<void>(ignored);
}

std::vector<std::string> Words(const std::string& text) {
  std::vector<std::string> words;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    words.push_back(text.substr(at, comma - at));
    at = comma + 1;
  }
  return words;
}

// The schedule of a seed with what the options leave out of it; false after saying what is wrong.
bool MakeSchedule(const Options& options, std::uint64_t seed, sim::Schedule& schedule) {
  schedule = sim::MakeSchedule(seed, options.events);
  if (!options.only.empty() && !sim::KeepOnly(schedule, options.only)) {
    PrintError("--only takes numbers of actions below --events, such as 3,7u,9cu");
    return false;
  }
  for (const std::string& word : Words(options.without)) {
    const auto fault = sim::ParseFault(word);
    if (!fault) {
      PrintError("there is no fault " + word + "; docs/guide/simulator.md lists them");
      return false;
    }
    schedule = sim::Without(std::move(schedule), *fault);
  }
  return true;
}

void Explain(const sim::Schedule& schedule, const sim::Violation& violation, sim::Canary canary) {
  std::printf("%s\n%s is broken at %lld.%06lld ms: %s\nagain: %s\n",
              sim::Describe(schedule).c_str(), violation.rule.c_str(),
              static_cast<long long>(violation.at.ns / 1'000'000),
              static_cast<long long>(violation.at.ns % 1'000'000), violation.detail.c_str(),
              sim::CommandOf(schedule, canary).c_str());
}

int RunSim(const Options& options) {
  sim::Canary canary = sim::Canary::kNone;
  if (!options.canary.empty()) {
    const auto known = sim::ParseCanary(options.canary);
    if (!known) {
      PrintError("there is no canary " + options.canary + "; docs/guide/simulator.md lists them");
      return kExitUsage;
    }
    canary = *known;
  }
  std::signal(SIGABRT, OnAbort);
  sim::Simulator simulator(canary);
  Sum sum;
  for (std::uint64_t i = 0; i < options.count; ++i) {
    if (sum.violations > 0 && !options.keep_going) break;
    const std::uint64_t seed = options.seed + i;
    sim::Schedule schedule;
    if (!MakeSchedule(options, seed, schedule)) return kExitUsage;
    if (options.describe) std::printf("%s", sim::Describe(schedule).c_str());
    std::snprintf(abort_text, sizeof(abort_text), "weir sim: in seed %llu of %u events\n",
                  static_cast<unsigned long long>(seed), options.events);
    const sim::Outcome outcome = simulator.Run(schedule);
    Add(outcome, sum);
    if (!outcome.violation) continue;
    std::printf("seed %llu: %s: %s\n", static_cast<unsigned long long>(seed),
                outcome.violation->rule.c_str(), outcome.violation->detail.c_str());
    if (options.shrink) {
      const sim::Shrunk shrunk = sim::Shrink(simulator, schedule, kShrinkRunsMax);
      std::printf("shrunk from %zu actions to %zu in %llu runs\n", schedule.actions.size(),
                  shrunk.schedule.actions.size(), static_cast<unsigned long long>(shrunk.runs));
      Explain(shrunk.schedule, *shrunk.outcome.violation, canary);
    } else {
      std::printf("again: %s --shrink\n", sim::CommandOf(schedule, canary).c_str());
    }
  }
  const sim::AuditCounts& counts = sum.counts;
  if (options.json) {
    admin::JsonWriter json;
    const auto number = [&](std::string_view name, std::uint64_t value) {
      json.Number(name, static_cast<std::int64_t>(value));
    };
    json.Open('{');
    number("seed_first", options.seed);
    number("seed_last", options.seed + sum.schedules - 1);
    number("actions", options.events);
    number("schedules", sum.schedules);
    number("violations", sum.violations);
    number("events", sum.events);
    number("requests", counts.requests);
    number("admitted", counts.admitted);
    number("attempts", counts.attempts);
    number("served", counts.served);
    number("settled", counts.settled);
    number("voided", counts.voided);
    number("recovered", counts.recovered);
    number("overruns", counts.overruns);
    number("records", counts.records);
    number("crashes", sum.crashes);
    number("power_cuts", sum.power_cuts);
    number("lost_records", counts.lost_records);
    number("grants", counts.grants);
    number("extensions", counts.extensions);
    number("out_of_hold", counts.out_of_hold);
    number("replays", counts.replays);
    number("counters", counts.counters);
    number("windows", counts.windows);
    number("quota_lines", counts.quota_lines);
    number("alerts", counts.alerts);
    number("policy_refusals", counts.policy_refusals);
    number("simulated_seconds", static_cast<std::uint64_t>(sum.simulated.ns / 1'000'000'000));
    char hash[20];
    std::snprintf(hash, sizeof(hash), "%016llx", static_cast<unsigned long long>(sum.hash));
    json.Text("hash", hash).Close('}');
    std::printf("%s\n", json.Take().c_str());
  } else {
    std::printf(
        "%llu schedules, %llu violations; %llu events in %lld simulated hours\n"
        "%llu requests: %llu refused at admission, %llu admitted, %llu served, %llu attempts\n"
        "%llu crashes (%llu power cuts), %llu requests resolved by a start, %llu records lost "
        "where "
        "allowed\n"
        "%llu records: %llu settled (%llu above the hold, by upstreams that lie), %llu voided\n"
        "%llu grants, %llu extensions, %llu replies cut for want of more, %llu replies sent again\n"
        "%llu counters of policies with %llu windows or limits, %llu holds of them, %llu requests "
        "refused by policies, %llu alerts\n"
        "hash %016llx\n",
        static_cast<unsigned long long>(sum.schedules),
        static_cast<unsigned long long>(sum.violations),
        static_cast<unsigned long long>(sum.events),
        static_cast<long long>(sum.simulated.ns / 3'600'000'000'000),
        static_cast<unsigned long long>(counts.requests),
        static_cast<unsigned long long>(counts.refused),
        static_cast<unsigned long long>(counts.admitted),
        static_cast<unsigned long long>(counts.served),
        static_cast<unsigned long long>(counts.attempts),
        static_cast<unsigned long long>(sum.crashes),
        static_cast<unsigned long long>(sum.power_cuts),
        static_cast<unsigned long long>(counts.recovered),
        static_cast<unsigned long long>(counts.lost_records),
        static_cast<unsigned long long>(counts.records),
        static_cast<unsigned long long>(counts.settled),
        static_cast<unsigned long long>(counts.overruns),
        static_cast<unsigned long long>(counts.voided),
        static_cast<unsigned long long>(counts.grants),
        static_cast<unsigned long long>(counts.extensions),
        static_cast<unsigned long long>(counts.out_of_hold),
        static_cast<unsigned long long>(counts.replays),
        static_cast<unsigned long long>(counts.counters),
        static_cast<unsigned long long>(counts.windows),
        static_cast<unsigned long long>(counts.quota_lines),
        static_cast<unsigned long long>(counts.policy_refusals),
        static_cast<unsigned long long>(counts.alerts), static_cast<unsigned long long>(sum.hash));
  }
  return sum.violations == 0 ? kExitDone : kExitFailed;
}

}  // namespace

void AddSim(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "sim", "Run simulated schedules of crashes, faults and requests, and audit the money");
  command->add_option("--seed", options->seed, "The first seed")->capture_default_str();
  command->add_option("--events", options->events, "Actions of a schedule: requests and faults")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  command->add_option("--count", options->count, "Schedules, of consecutive seeds")
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1'000'000'000}))
      ->capture_default_str();
  command->add_option("--canary", options->canary, "Plant a bug, to see that it is found")
      ->type_name("NAME");
  command->add_option("--only", options->only, "These actions alone, as --shrink prints them")
      ->type_name("LIST");
  command->add_option("--without", options->without, "Kinds of faults to leave out")
      ->type_name("LIST");
  command->add_flag("--shrink", options->shrink, "Reduce the first schedule that fails");
  command->add_flag("--describe", options->describe, "Print each schedule before it runs");
  command->add_flag("--keep-going", options->keep_going, "Do not stop at the first that fails");
  command->add_flag("--json", options->json, "Print the sums as one JSON object");
  command->callback([options, &exit_code] { exit_code = RunSim(*options); });
}

}  // namespace weir::cli
