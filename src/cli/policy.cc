// `weir policy ...`: what quota policies mean, without asking a running gateway.

#include "config/policy.h"

#include <fmt/format.h>
#include <time.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/serve.h"
#include "config/scalar.h"
#include "policy/calendar.h"
#include "store/time_zones.h"

namespace weir::cli {
namespace {

struct WindowsOptions {
  std::string policy;  // empty: the window that the options describe
  std::string config;
  std::string window = "month";
  std::int64_t every = 1;
  std::string anchor;
  std::string timezone = "UTC";
  std::string from;
  std::string to;
  std::int64_t count = 12;
  bool count_given = false;
  bool unix_seconds = false;
  bool runs = false;
};

Instant Now() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return {static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec};
}

std::int64_t SecondsOf(Instant at) { return at.ns / Seconds(1).ns; }

// "2026-03-08T00:00-05:00": what clocks there show, and how far from UTC they are.
std::string LocalText(const config::Zone* zone, Instant at) {
  const std::int64_t local = policy::LocalSecondsAt(zone, at);
  std::int64_t offset = local - SecondsOf(at);
  const char sign = offset < 0 ? '-' : '+';
  if (offset < 0) offset = -offset;
  std::string text = fmt::format("{}{}{:02}:{:02}", config::FormatLocalTime(local), sign,
                                 offset / 3'600, offset / 60 % 60);
  if (offset % 60 != 0) text += fmt::format(":{:02}", offset % 60);
  return text;
}

// "23h", "24h30m", "31d": days of 24 hours where it is whole ones.
std::string LengthText(std::int64_t seconds) {
  if (seconds % 86'400 == 0) return fmt::format("{}d", seconds / 86'400);
  std::string text;
  if (seconds >= 86'400) text += fmt::format("{}d", seconds / 86'400);
  if (seconds / 3'600 % 24 != 0) text += fmt::format("{}h", seconds / 3'600 % 24);
  if (seconds / 60 % 60 != 0) text += fmt::format("{}m", seconds / 60 % 60);
  if (seconds % 60 != 0) text += fmt::format("{}s", seconds % 60);
  return text;
}

// Windows of one length that follow one another.
struct Run {
  Instant starts_at;
  Instant ends_at;
  std::int64_t length = 0;  // of each, in seconds
  std::int64_t count = 0;
};

void PrintRun(const WindowsOptions& options, const config::Zone* zone, const Run& run) {
  if (options.unix_seconds) {
    std::printf("%lld %lld", static_cast<long long>(SecondsOf(run.starts_at)),
                static_cast<long long>(SecondsOf(run.ends_at)));
  } else {
    std::printf("%s  %s  %s", LocalText(zone, run.starts_at).c_str(),
                LocalText(zone, run.ends_at).c_str(), LengthText(run.length).c_str());
  }
  if (options.runs)
    std::printf("%s%lld", options.unix_seconds ? " " : " x ", static_cast<long long>(run.count));
  std::printf("\n");
}

// The window of a policy of the file, or none (it has said why).
std::optional<config::Window> PolicyWindow(const WindowsOptions& options) {
  const auto config = LoadConfig(options.config, EnvironmentVariable);
  if (!config) return std::nullopt;
  const auto policy = std::ranges::find(config->policies, options.policy, &config::Policy::id);
  if (policy == config->policies.end()) {
    PrintError("the configuration has no policy of that id; name its file with --config");
    return std::nullopt;
  }
  return policy->window;
}

// The window that the command line describes, or none (it has said why).
std::optional<config::Window> DescribedWindow(const WindowsOptions& options) {
  config::Window window;
  // The choices of --window are these, in the order of the enum.
  constexpr std::string_view kKinds[] = {"minute", "hour", "day", "week", "month"};
  for (std::size_t i = 0; i < std::size(kKinds); ++i) {
    if (options.window == kKinds[i]) window.kind = static_cast<config::WindowKind>(i);
  }
  window.every = options.every;
  if (!options.anchor.empty()) {
    const auto anchor = config::ParseLocalTime(options.anchor);
    if (!anchor) {
      PrintError("--anchor is a local time, such as 2026-01-31 or 2026-01-31T09:00");
      return std::nullopt;
    }
    window.anchor_seconds = *anchor;
  }
  if (options.timezone != "UTC") {
    window.zone = store::FindZone(options.timezone);
    if (window.zone == nullptr) {
      PrintError("there is no time zone of that name; --timezone is one such as Europe/Berlin");
      return std::nullopt;
    }
  }
  return window;
}

// Windows that do not follow one another are said in a sentence.
bool PrintOtherWindow(const config::Window& window) {
  if (window.sliding) {
    std::printf("slides: the last %s, in steps of %s\n",
                LengthText(SecondsOf({policy::SlidingLength(window).ns})).c_str(),
                LengthText(SecondsOf({policy::BucketLength(window).ns})).c_str());
    return true;
  }
  switch (window.kind) {
    case config::WindowKind::kLifetime:
      std::printf("never begins anew\n");
      return true;
    case config::WindowKind::kRequest:
      std::printf("is of each request alone\n");
      return true;
    case config::WindowKind::kAction:
      std::printf("is of each action of a user alone\n");
      return true;
    default:
      return false;
  }
}

int RunWindows(const WindowsOptions& options) {
  const auto window = options.policy.empty() ? DescribedWindow(options) : PolicyWindow(options);
  if (!window) return options.policy.empty() ? kExitUsage : kExitFailed;
  if (PrintOtherWindow(*window)) return kExitDone;
  Instant from = Now();
  std::optional<Instant> to;
  for (const auto& [text, name] : {std::pair(&options.from, "--from"), {&options.to, "--to"}}) {
    if (text->empty()) continue;
    const auto at = config::ParseTime(*text);
    if (!at) {
      PrintError(std::string(name) + " is a time, such as 2026-01-31 or 2026-01-31T09:00:00Z");
      return kExitUsage;
    }
    if (text == &options.from) from = *at;
    if (text == &options.to) to = *at;
  }
  // The only one there is, whenever that is.
  if (window->kind == config::WindowKind::kCampaign) from = window->starts_at.value_or(from);
  const bool counted = !to || options.count_given;
  const config::Zone* zone = window->zone.get();
  std::optional<Run> run;
  std::int64_t shown = 0;
  auto span = policy::WindowAt(*window, from);
  while (span && (!counted || shown < options.count) && (!to || span->starts_at < *to)) {
    const std::int64_t length = SecondsOf(span->ends_at) - SecondsOf(span->starts_at);
    if (run && options.runs && run->length == length) {
      run->ends_at = span->ends_at;
      ++run->count;
    } else {
      if (run) PrintRun(options, zone, *run);
      run = Run{span->starts_at, span->ends_at, length, 1};
    }
    ++shown;
    span = policy::WindowAt(*window, span->ends_at);
  }
  if (run) PrintRun(options, zone, *run);
  return kExitDone;
}

void AddWindows(CLI::App& policy, int& exit_code) {
  const auto options = std::make_shared<WindowsOptions>();
  CLI::App* command =
      policy.add_subcommand("windows", "When the windows of a policy begin and end");
  CLI::Option* named =
      command
          ->add_option("policy", options->policy,
                       "A policy of the configuration (default: what the options describe)")
          ->type_name("ID");
  command->add_option("--config", options->config, "Its configuration file (YAML)")
      ->type_name("FILE")
      ->needs(named);
  command->add_option("--window", options->window, "What a window is")
      ->excludes(named)
      ->check(CLI::IsMember({"minute", "hour", "day", "week", "month"}))
      ->capture_default_str();
  command->add_option("--every", options->every, "So many of them make one")
      ->excludes(named)
      ->check(CLI::Range(1, 1'000))
      ->capture_default_str();
  command
      ->add_option("--anchor", options->anchor,
                   "A local time at which one begins (default: 2024-01-01T00:00, a Monday)")
      ->excludes(named)
      ->type_name("TIME");
  command->add_option("--timezone", options->timezone, "Whose clocks count")
      ->excludes(named)
      ->type_name("NAME")
      ->capture_default_str();
  command->add_option("--from", options->from, "Begin with the window of this time (default: now)")
      ->type_name("TIME");
  command->add_option("--to", options->to, "Stop before windows that begin at this time")
      ->type_name("TIME");
  CLI::Option* count = command->add_option("--count", options->count, "Print so many")
                           ->check(CLI::Range(1, 1'000'000))
                           ->capture_default_str();
  command->add_flag("--unix", options->unix_seconds, "Print times as seconds since 1970");
  command->add_flag(
      "--runs", options->runs,
      "Print windows of one length that follow one another on one line, and how many");
  command->callback([options, count, &exit_code] {
    options->count_given = count->count() > 0;
    exit_code = RunWindows(*options);
  });
}

}  // namespace

void AddPolicy(CLI::App& app, int& exit_code) {
  CLI::App* policy = app.add_subcommand("policy", "Quota policies, and what they mean");
  policy->require_subcommand(1);
  AddWindows(*policy, exit_code);
}

}  // namespace weir::cli
