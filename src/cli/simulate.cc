#include "cli/simulate.h"

#include <fmt/format.h>
#include <time.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <iterator>
#include <memory>
#include <utility>
#include <vector>

#include "admin/json_writer.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/serve.h"
#include "config/scalar.h"
#include "policy/quota_unit.h"
#include "prices/rerate.h"
#include "store/request_scan.h"

namespace weir::cli {
namespace {

using admin::JsonWriter;
using policy::Fate;
using policy::PolicyReplayed;
using policy::Tally;

// Ids and values come from files and from callers: nothing that moves a terminal's cursor.
std::string Plain(std::string_view text) {
  std::string plain(text.substr(0, 256));
  for (char& c : plain) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  }
  return plain;
}

// "87.5%", of thousandths.
std::string Percent(std::int64_t permille) {
  return fmt::format("{}.{}%", permille / 10, permille % 10);
}

std::string Usd(policy::NanoUsdSum sum) { return prices::FormatSum(sum); }

std::string When(const Tally& tally) {
  if (tally.first_at.ns == INT64_MAX) return {};
  return fmt::format("{} to {}", config::FormatTime(tally.first_at),
                     config::FormatTime(tally.last_at));
}

// "12 refused, 3 clamped".
std::string Deeds(const Tally& tally) {
  std::string text;
  for (const auto& [count, word] : {std::pair(tally.refused, "refused"),
                                    {tally.degraded, "degraded"},
                                    {tally.clamped, "clamped"},
                                    {tally.stopped, "stopped"},
                                    {tally.shadow, "refused if it were no shadow"}}) {
    if (count == 0) continue;
    if (!text.empty()) text += ", ";
    text += fmt::format("{} {}", count, word);
  }
  return text;
}

// Those it acted on most, first.
std::vector<const std::pair<const std::string, Tally>*> ByDeeds(const PolicyReplayed& replayed) {
  std::vector<const std::pair<const std::string, Tally>*> lines;
  for (const auto& line : replayed.who) lines.push_back(&line);
  std::ranges::sort(lines, [](const auto* a, const auto* b) {
    const std::int64_t of_a = a->second.acted() + a->second.shadow;
    const std::int64_t of_b = b->second.acted() + b->second.shadow;
    return of_a != of_b ? of_a > of_b : a->first < b->first;
  });
  return lines;
}

std::string LeftOut(const store::PastLog::Counts& counts) {
  std::string text;
  for (const auto& [count, why] : {std::pair(counts.unpriced, "of models without a price now"),
                                   {counts.too_old, "of before the log kept what policies see"}}) {
    if (count > 0) text += fmt::format("; {} left out, {}", count, why);
  }
  return text;
}

void AppendPolicy(const PolicyReplayed& replayed, std::size_t who_max, std::string& out) {
  const config::Policy& policy = *replayed.policy;
  const Tally& tally = replayed.tally;
  auto to = std::back_inserter(out);
  fmt::format_to(to, "{:<28} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}  {}\n",
                 Plain(policy.id) + (policy.shadow ? " (shadow)" : ""), replayed.met, tally.refused,
                 tally.degraded, tally.clamped, tally.stopped, tally.shadow,
                 Percent(replayed.most_permille()), Usd(tally.saved));
  std::size_t shown = 0;
  for (const auto* line : ByDeeds(replayed)) {
    if (shown++ == who_max) {
      fmt::format_to(to, "    and {} more; --json has all of them\n",
                     replayed.who.size() - who_max);
      break;
    }
    const auto& [who, one] = *line;
    fmt::format_to(to, "    {:<40} {}; {}; saves {} USD\n", who.empty() ? "(all)" : Plain(who),
                   Deeds(one), When(one), Usd(one.saved));
  }
}

void WriteTally(const Tally& tally, JsonWriter& json) {
  json.Number("refused", tally.refused)
      .Number("degraded", tally.degraded)
      .Number("clamped", tally.clamped)
      .Number("stopped", tally.stopped)
      .Number("shadow_refused", tally.shadow)
      .Text("saved_usd", Usd(tally.saved));
  const bool any = tally.first_at.ns != INT64_MAX;
  json.Time("first_at", any ? std::optional(tally.first_at) : std::nullopt)
      .Time("last_at", any ? std::optional(tally.last_at) : std::nullopt);
}

void WriteReplay(std::string_view name, const policy::Replay& replay, JsonWriter& json) {
  const policy::ReplayTotals& totals = replay.totals();
  json.Open(name, '{');
  for (std::size_t fate = 0; fate < policy::kFates; ++fate) {
    json.Number(policy::Name(static_cast<Fate>(fate)), totals.fates[fate]);
  }
  json.Text("cost_usd", Usd(totals.cost))
      .Number("estimated_requests", totals.estimated)
      .Number("counters", static_cast<std::int64_t>(totals.counters))
      .Open("policies", '[');
  for (const PolicyReplayed& replayed : replay.policies()) {
    const config::Policy& policy = *replayed.policy;
    json.Open('{')
        .Text("id", policy.id)
        .TextOrNull("owner", policy.owner)
        .Text("unit", config::Name(policy.unit))
        .Text("limit", policy::AmountDigits(policy.unit, policy.limit))
        .Flag("shadow", policy.shadow)
        .Number("met", replayed.met)
        .Text("cost_usd", Usd(replayed.cost));
    WriteTally(replayed.tally, json);
    json.Open("nearest", '{')
        .Number("permille", replayed.most_permille())
        .Text("who", replayed.most_who)
        .Time("at", replayed.most > 0 ? std::optional(replayed.most_at) : std::nullopt)
        .Close('}')
        .Open("who", '[');
    for (const auto& [who, tally] : replayed.who) {
      json.Open('{').Text("who", who);
      WriteTally(tally, json);
      json.Close('}');
    }
    json.Close(']').Close('}');
  }
  json.Close(']').Close('}');
}

Instant Now() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return {static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec};
}

}  // namespace

std::optional<Duration> ParseAgo(std::string_view text) {
  constexpr std::int64_t kDaysMax = 36'500;
  if (!text.ends_with('d')) return config::ParseDuration(text);
  const auto days = config::ParseCount(text.substr(0, text.size() - 1));
  if (!days || *days < 0 || *days > kDaysMax) return std::nullopt;
  return Seconds(*days * 86'400);
}

std::string SimulateText(const Simulation& simulation, const SimulateTextOptions& options) {
  const policy::WhatIf& what_if = *simulation.what_if;
  const policy::Replay& after = what_if.after();
  const policy::ReplayTotals& totals = after.totals();
  std::string out;
  auto to = std::back_inserter(out);
  fmt::format_to(to, "{} requests from {} to {}{}\n\n", totals.requests,
                 config::FormatTime(simulation.span.from), config::FormatTime(simulation.span.to),
                 LeftOut(simulation.counts));
  fmt::format_to(to, "{:<28} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}  {}\n", "policy", "met",
                 "refused", "degraded", "clamped", "stopped", "shadow", "nearest", "saves USD");
  for (const PolicyReplayed& replayed : after.policies()) {
    AppendPolicy(replayed, options.who_max, out);
  }
  const auto fate = [&](Fate which) { return totals.fates[static_cast<std::size_t>(which)]; };
  fmt::format_to(to,
                 "\nIn all: {} served as they were, {} with a shorter answer, {} by another model, "
                 "{} stopped, {} refused.\n",
                 fate(Fate::kServed), fate(Fate::kClamped), fate(Fate::kDegraded),
                 fate(Fate::kStopped), fate(Fate::kRefused));
  fmt::format_to(to,
                 "They cost {} USD; booked were {} USD, and policies refused {} and sent {} "
                 "to another model. It saves {} USD.\n",
                 Usd(totals.cost), Usd(what_if.booked()), what_if.refused(), what_if.degraded(),
                 Usd(what_if.booked() - totals.cost));
  if (totals.estimated > 0) {
    fmt::format_to(to,
                   "{} were refused then, so what they use is an estimate: what others of their "
                   "key and model used.\n",
                   totals.estimated);
  }
  if (!simulation.beside_others) return out;
  const policy::ReplayTotals& before = what_if.before().totals();
  fmt::format_to(to, "\nBeside the policies in force, which replayed the same way cost {} USD:\n",
                 Usd(before.cost));
  bool any = false;
  for (std::size_t from = 0; from < policy::kFates; ++from) {
    for (std::size_t into = 0; into < policy::kFates; ++into) {
      const auto a = static_cast<Fate>(from);
      const auto b = static_cast<Fate>(into);
      if (a == b || what_if.moved(a, b) == 0) continue;
      any = true;
      fmt::format_to(to, "    {:>9} {} instead of {}\n", what_if.moved(a, b), policy::Name(b),
                     policy::Name(a));
    }
  }
  if (!any) fmt::format_to(to, "    nothing happens to any request that did not happen\n");
  fmt::format_to(
      to, "    {} USD {}\n",
      Usd(totals.cost < before.cost ? before.cost - totals.cost : totals.cost - before.cost),
      totals.cost < before.cost ? "less" : "more");
  return out;
}

std::string SimulateJson(const Simulation& simulation) {
  const policy::WhatIf& what_if = *simulation.what_if;
  JsonWriter json;
  json.Open('{')
      .Time("from", simulation.span.from)
      .Time("to", simulation.span.to)
      .Number("requests", what_if.after().totals().requests)
      .Open("left_out", '{')
      .Number("not_of_policies", simulation.counts.others)
      .Number("unpriced", simulation.counts.unpriced)
      .Number("too_old", simulation.counts.too_old)
      .Close('}')
      .Open("as_it_was", '{')
      .Text("booked_usd", Usd(what_if.booked()))
      .Number("refused", what_if.refused())
      .Number("degraded", what_if.degraded())
      .Close('}');
  WriteReplay("simulated", what_if.after(), json);
  json.Text("saves_usd", Usd(what_if.booked() - what_if.after().totals().cost));
  if (simulation.beside_others) {
    WriteReplay("in_force", what_if.before(), json);
    json.Open("moved", '[');
    for (std::size_t from = 0; from < policy::kFates; ++from) {
      for (std::size_t into = 0; into < policy::kFates; ++into) {
        const auto a = static_cast<Fate>(from);
        const auto b = static_cast<Fate>(into);
        if (a == b || what_if.moved(a, b) == 0) continue;
        json.Open('{')
            .Text("from", policy::Name(a))
            .Text("to", policy::Name(b))
            .Number("requests", what_if.moved(a, b))
            .Close('}');
      }
    }
    json.Close(']').Text("difference_usd",
                         Usd(what_if.after().totals().cost - what_if.before().totals().cost));
  } else {
    json.Null("in_force").Null("moved").Null("difference_usd");
  }
  json.Close('}');
  return json.Take() + "\n";
}

Result<void> Simulate(const std::string& path, SimulateSpan span, const config::Config& next,
                      const config::Config* in_force,
                      const std::function<void(const Simulation&)>& tell) {
  auto scan = store::RequestScan::Open(path);
  if (!scan) return std::unexpected(scan.error());
  const config::Config& before = in_force == nullptr ? next : *in_force;
  const policy::PolicySet none({}, {});
  const policy::PolicySet set_before(before.policies, before.raises);
  const policy::PolicySet set_after(next.policies, next.raises);
  policy::WhatIf what_if(in_force == nullptr ? none : set_before, set_after,
                         store::LesserOf(before, span.to), store::LesserOf(next, span.to),
                         {.attempts_max = next.fallback.attempts,
                          .fallback_spend_percent = next.fallback.spend_percent});
  store::WhatIfSink sink(before, next, what_if);
  store::PastLog log(store::PastView::kAsAsked, next, span.from, span.to, sink);
  if (auto read = (*scan)->Run(span.from, span.to, log); !read) return read;
  what_if.Finish();
  tell({.span = span,
        .beside_others = in_force != nullptr,
        .counts = log.counts(),
        .what_if = &what_if});
  return {};
}

namespace {

struct Options {
  std::string file;
  std::string config;
  std::string data_dir;
  std::string since = "30d";
  std::string until;
  bool json = false;
};

int Run(const Options& options) {
  const auto since = ParseAgo(options.since);
  const auto absolute = since ? std::nullopt : config::ParseTime(options.since);
  if (!since && !absolute) {
    PrintError("--since is a time, such as 30d, 12h or 2026-01-31");
    return kExitUsage;
  }
  Instant to = Now();
  if (!options.until.empty()) {
    const auto until = config::ParseTime(options.until);
    if (!until) {
      PrintError("--until is a time, such as 2026-01-31 or 2026-01-31T09:00:00Z");
      return kExitUsage;
    }
    to = *until;
  }
  const auto next = LoadConfig(options.file, EnvironmentVariable);
  if (!next) return kExitFailed;
  std::optional<config::Config> in_force;
  if (!options.config.empty()) {
    in_force = LoadConfig(options.config, EnvironmentVariable);
    if (!in_force) return kExitFailed;
  }
  std::string data_dir = options.data_dir;
  if (data_dir.empty()) data_dir = in_force ? in_force->data_dir : next->data_dir;
  const SimulateSpan span{.from = absolute ? *absolute : Instant{to.ns - since->ns}, .to = to};
  const auto told = Simulate(data_dir + "/requests.db", span, *next,
                             in_force ? &*in_force : nullptr, [&](const Simulation& simulation) {
                               const std::string text = options.json ? SimulateJson(simulation)
                                                                     : SimulateText(simulation);
                               std::fwrite(text.data(), 1, text.size(), stdout);
                             });
  if (told) return kExitDone;
  PrintError(told.error().detail + (told.error().code == ErrorCode::kNotFound
                                        ? "; name the data directory with --data-dir"
                                        : ""));
  return kExitFailed;
}

}  // namespace

CLI::App& PolicyCommand(CLI::App& app) {
  const auto made =
      app.get_subcommands([](const CLI::App* command) { return command->get_name() == "policy"; });
  if (!made.empty()) return *made.front();
  CLI::App* policy = app.add_subcommand("policy", "Quota policies, and what they mean");
  policy->require_subcommand(1);
  return *policy;
}

void AddPolicySimulate(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<Options>();
  CLI::App* command = PolicyCommand(app).add_subcommand(
      "simulate", "What the policies of a file would have done with the requests of the log");
  command->add_option("--file", options->file, "A configuration file with the policies to try")
      ->type_name("FILE")
      ->required();
  command
      ->add_option("--config", options->config,
                   "The file with the policies in force, to compare with")
      ->type_name("FILE");
  command
      ->add_option("--data-dir", options->data_dir,
                   "Where the log is (default: the one of --config, else of --file)")
      ->type_name("DIR");
  command->add_option("--since", options->since, "How far back, or from when: 30d, 12h, 2026-01-31")
      ->type_name("TIME")
      ->capture_default_str();
  command->add_option("--until", options->until, "Up to when (default: now)")->type_name("TIME");
  command->add_flag("--json", options->json, "Print one JSON value");
  command->callback([options, &exit_code] { exit_code = Run(*options); });
}

}  // namespace weir::cli
