#include "cli/report.h"

#include <fmt/format.h>
#include <time.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <iterator>
#include <memory>
#include <optional>
#include <utility>

#include "admin/json_writer.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/serve.h"
#include "config/policy_text.h"
#include "config/scalar.h"
#include "policy/quota_unit.h"
#include "prices/rerate.h"
#include "store/outcome_store.h"
#include "store/past_log.h"
#include "store/request_scan.h"

namespace weir::cli {
namespace {

using admin::JsonWriter;
using config::ReviewCadence;
using policy::Figures;
using policy::Signal;
using store::ExchangeReader;

// Ids and names come from files and from callers: nothing that moves a terminal's cursor.
std::string Plain(std::string_view text) {
  std::string plain(text.substr(0, 256));
  for (char& c : plain) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  }
  return plain;
}

std::string Usd(policy::NanoUsdSum sum) { return prices::FormatSum(sum); }

std::string Percent(std::int64_t permille) {
  return fmt::format("{}.{}%", permille / 10, permille % 10);
}

std::string NumberOr(std::optional<std::int64_t> number) {
  return number ? std::to_string(*number) : "-";
}

// The policies as they are, deciding nothing: what was counted is counted again, whatever the
// limits are now. As shadows, because their budgets of recovery then are shadows too.
std::vector<config::Policy> Undeciding(const std::vector<config::Policy>& policies) {
  std::vector<config::Policy> shadows = policies;
  for (config::Policy& policy : shadows) policy.shadow = true;
  return shadows;
}

// Counts what policies counted.
class CountingSink final : public store::PastLog::Sink {
 public:
  CountingSink(const config::Config& config, policy::Replay& replay)
      : config_(config), replay_(replay) {}
  void Know(const ExchangeReader& exchange) override {
    std::string_view provider;
    replay_.Know(store::FactsOf(exchange, config_, store::PastView::kAsServed, provider));
  }
  void Add(const policy::PastRequest& request) override { replay_.Add(request); }

 private:
  const config::Config& config_;
  policy::Replay& replay_;
};

// Hands each exchange to the review and to the counters.
class ReportTaker final : public store::RequestScan::Taker {
 public:
  ReportTaker(const config::Config& config, policy::Review& review, store::PastLog& log)
      : config_(config), review_(review), log_(log) {}

  void Take(const ExchangeReader& exchange, bool first) override {
    log_.Take(exchange, first);
    if (!store::MetPolicies(exchange)) return;
    const auto number = [&](ExchangeReader::Number which) { return exchange.number(which); };
    policy::ReviewedRequest request{
        .facts = FactsNumber(exchange),
        .action = exchange.word(ExchangeReader::kAction),
        .started_at = store::StartOf(exchange),
        .refused = !exchange.word(ExchangeReader::kPolicyRefused).empty(),
        .refused_by = exchange.word(ExchangeReader::kPolicyRefused),
        .degraded_by = exchange.word(ExchangeReader::kPolicyDegraded),
        .shadows = exchange.word(ExchangeReader::kPoliciesShadow),
        .attempts = number(ExchangeReader::kAttempts),
        .output_granted = number(ExchangeReader::kOutputBound),
        .usage = store::UsageOf(exchange),
        .cost = store::CostOf(exchange)};
    const std::int64_t status = number(ExchangeReader::kStatus);
    request.served = number(ExchangeReader::kEnding) ==
                         static_cast<std::int64_t>(telemetry::EndingKind::kServed) &&
                     status >= 200 && status < 300;
    review_.Add(request);
  }
  void EndSlot() override { log_.EndSlot(); }

 private:
  std::uint32_t FactsNumber(const ExchangeReader& exchange) {
    key_.clear();
    store::AppendFactsKey(exchange, store::PastView::kAsServed, key_);
    bool is_new = false;
    const std::uint32_t number = facts_.Of(key_, is_new);
    if (is_new) {
      std::string_view provider;
      review_.Know(store::FactsOf(exchange, config_, store::PastView::kAsServed, provider));
    }
    return number;
  }

  const config::Config& config_;
  policy::Review& review_;
  store::PastLog& log_;
  store::Interned facts_;
  std::string key_;
};

void AppendSignal(const Signal& signal, std::string& out) {
  auto to = std::back_inserter(out);
  fmt::format_to(to, "    ! {}{}: {} before, {} now\n", policy::TitleOf(signal.kind),
                 signal.subject.empty() ? std::string() : " (" + Plain(signal.subject) + ")",
                 NumberOr(signal.before), signal.now);
  if (signal.policy.empty()) {
    fmt::format_to(to, "      no policy of this owner limits that; {}.\n",
                   policy::AdviceOf(signal.kind));
  } else {
    fmt::format_to(to, "      change {}: {}.\n", Plain(signal.policy),
                   policy::AdviceOf(signal.kind));
  }
}

void AppendOwner(const policy::OwnerReview& owner, std::string& out) {
  auto to = std::back_inserter(out);
  const Figures& before = owner.figures.before;
  const Figures& now = owner.figures.now;
  fmt::format_to(to, "{}\n", owner.owner.empty() ? "(no owner)" : Plain(owner.owner));
  fmt::format_to(to, "    {} requests (before: {}), {} USD (before: {}), {} refused, {} degraded\n",
                 now.requests, before.requests, Usd(now.cost), Usd(before.cost), now.refused,
                 now.degraded);
  if (now.accepted + now.rejected > 0) {
    const auto each = now.cost_per_accepted();
    fmt::format_to(to, "    {} results accepted, {} rejected; {} USD per accepted result\n",
                   now.accepted, now.rejected, each ? Usd(*each) : "-");
  }
  if (owner.signals.empty()) fmt::format_to(to, "    nothing to look at\n");
  for (const Signal& signal : owner.signals) AppendSignal(signal, out);
}

void WriteOr(std::string_view name, std::optional<std::int64_t> number, JsonWriter& json) {
  if (number) {
    json.Number(name, *number);
  } else {
    json.Null(name);
  }
}

void WriteFigures(std::string_view name, const Figures& figures, JsonWriter& json) {
  json.Open(name, '{')
      .Number("requests", figures.requests)
      .Number("served", figures.served)
      .Number("refused", figures.refused)
      .Number("degraded", figures.degraded)
      .Number("shadow_refused", figures.shadow_refused)
      .Number("truncated", figures.truncated)
      .Text("cost_usd", Usd(figures.cost));
  WriteOr("input_tokens_per_served", figures.input_each(), json);
  WriteOr("output_tokens_per_served", figures.output_each(), json);
  WriteOr("output_to_input_permille", figures.output_ratio(), json);
  WriteOr("truncated_permille", figures.truncated_share(), json);
  WriteOr("cache_permille", figures.cache_share(), json);
  WriteOr("final_images_permille", figures.final_share(), json);
  WriteOr("rerendered_videos_permille", figures.rerender_share(), json);
  WriteOr("outside_production_permille", figures.elsewhere_share(), json);
  WriteOr("nano_usd_per_token", figures.nano_usd_per_token(), json);
  WriteOr("dear_cost_permille", figures.dear_share(), json);
  json.Number("accepted", figures.accepted).Number("rejected", figures.rejected);
  WriteOr("attempts_per_accepted_permille", figures.attempts_per_accepted(), json);
  const auto each = figures.cost_per_accepted();
  json.TextOrNull("cost_per_accepted_usd", each ? Usd(*each) : std::string()).Close('}');
}

constexpr Duration kLongestFilled = Seconds(31LL * 86'400);

bool IsDue(const config::Policy& policy, ReviewCadence cadence) { return policy.review == cadence; }

Instant Now() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return {static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec};
}

}  // namespace

policy::Review::Periods PeriodsOf(ReviewCadence cadence, Instant to) {
  constexpr std::int64_t kDay = 86'400LL * 1'000'000'000;
  std::int64_t days = 1;
  if (cadence == ReviewCadence::kWeekly) days = 7;
  if (cadence == ReviewCadence::kMonthly) days = 30;
  return {.from = {to.ns - 2 * days * kDay}, .middle = {to.ns - days * kDay}, .to = to};
}

Result<ReportTold> MakeReport(const std::string& data_dir, const config::Config& config,
                              ReviewCadence cadence, Instant to) {
  auto scan = store::RequestScan::Open(data_dir + "/requests.db");
  if (!scan) return std::unexpected(scan.error());
  const policy::Review::Periods periods = PeriodsOf(cadence, to);
  const policy::PolicySet set(config.policies, config.raises);
  policy::Review review(set, periods);
  ReportTold told{.cadence = cadence, .review = {}, .counted = {}};
  auto outcomes = store::OutcomeStore::OpenToRead(data_dir + "/outcomes.db");
  if (outcomes) {
    auto read = (*outcomes)->ForEach(periods.from, [&](const store::OutcomeRecord& outcome) {
      told.outcomes = true;
      review.TellOutcome(outcome.scope, outcome.action, outcome.accepted);
    });
    if (!read) return std::unexpected(read.error());
  } else if (outcomes.error().code != ErrorCode::kNotFound) {
    return std::unexpected(outcomes.error());
  }
  const policy::PolicySet counting(Undeciding(config.policies), config.raises);
  policy::Replay replay(counting, {},
                        {.attempts_max = config.fallback.attempts,
                         .fallback_spend_percent = config.fallback.spend_percent,
                         .alerts = true,
                         .notes_from = periods.middle});
  CountingSink sink(config, replay);
  // A window that began before the period is counted from its begin, up to a month back.
  const Instant filled_from = std::min(periods.from, Instant{to.ns - kLongestFilled.ns});
  store::PastLog log(store::PastView::kAsServed, config, filled_from, periods.to, sink);
  ReportTaker taker(config, review, log);
  if (auto read = (*scan)->Run(filled_from, periods.to, taker); !read) {
    return std::unexpected(read.error());
  }
  replay.Finish();
  told.review = review.Finish();
  for (const policy::PolicyReplayed& replayed : replay.policies()) {
    told.counted.push_back({.most_permille = replayed.most_permille(),
                            .most_who = replayed.most_who,
                            .alerts = replayed.alerts});
  }
  // The review points into the set of this function: into the configuration from here on.
  for (policy::PolicyReview& one : told.review.policies) {
    const std::string_view id = one.id;
    const auto found =
        std::ranges::find(config.policies, id.substr(0, id.find('/')), &config::Policy::id);
    one.policy = &*found;
  }
  return told;
}

std::string ReportText(const ReportTold& told) {
  const policy::Review::Report& review = told.review;
  std::string out;
  auto to = std::back_inserter(out);
  fmt::format_to(to, "{} review: {} to {}, beside {} to {}\n", config::Name(told.cadence),
                 config::FormatTime(review.periods.middle), config::FormatTime(review.periods.to),
                 config::FormatTime(review.periods.from),
                 config::FormatTime(review.periods.middle));
  if (review.periods.from == review.periods.middle) {
    fmt::format_to(to, "The log has nothing of the period before: nothing is compared.\n");
  }
  if (!told.outcomes) {
    fmt::format_to(to,
                   "No outcome was told (POST /v1/actions/ID/outcome): what an accepted result "
                   "costs is not known.\n");
  }
  out += '\n';
  for (const policy::OwnerReview& owner : review.owners) AppendOwner(owner, out);
  fmt::format_to(to, "\n{:<28} {:>16} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7} {:>14} {:>14}\n",
                 "policy", "limit", "most", "requests", "refused", "degraded", "shadow", "alerts",
                 "cost USD", "per accepted");
  for (std::size_t i = 0; i < review.policies.size(); ++i) {
    const policy::PolicyReview& one = review.policies[i];
    const Figures& now = one.figures.now;
    const bool derived = one.id.contains('/');
    const auto each = now.cost_per_accepted();
    fmt::format_to(
        to, "{:<28} {:>16} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7} {:>14} {:>14}{}\n", Plain(one.id),
        derived ? std::string("-") : policy::AmountText(one.policy->unit, one.policy->limit),
        Percent(told.counted[i].most_permille), now.requests, now.refused, now.degraded,
        now.shadow_refused, told.counted[i].alerts, Usd(now.cost),
        each ? Usd(*each) : std::string("-"),
        IsDue(*one.policy, told.cadence) && !derived ? "  due" : "");
  }
  return out;
}

std::string ReportJson(const ReportTold& told) {
  const policy::Review::Report& review = told.review;
  JsonWriter json;
  json.Open('{')
      .Text("cadence", config::Name(told.cadence))
      .Time("before_from", review.periods.from)
      .Time("from", review.periods.middle)
      .Time("to", review.periods.to)
      .Flag("outcomes_told", told.outcomes)
      .Number("actions_left_out", review.actions_left_out)
      .Open("owners", '[');
  for (const policy::OwnerReview& owner : review.owners) {
    json.Open('{').TextOrNull("owner", owner.owner);
    WriteFigures("before", owner.figures.before, json);
    WriteFigures("now", owner.figures.now, json);
    json.Open("signals", '[');
    for (const Signal& signal : owner.signals) {
      json.Open('{')
          .Text("kind", policy::Name(signal.kind))
          .Text("title", policy::TitleOf(signal.kind))
          .TextOrNull("subject", signal.subject);
      WriteOr("before", signal.before, json);
      json.Number("now", signal.now)
          .TextOrNull("policy", signal.policy)
          .Text("advice", policy::AdviceOf(signal.kind))
          .Close('}');
    }
    json.Close(']').Close('}');
  }
  json.Close(']').Open("policies", '[');
  for (std::size_t i = 0; i < review.policies.size(); ++i) {
    const policy::PolicyReview& one = review.policies[i];
    json.Open('{')
        .Text("id", one.id)
        .TextOrNull("owner", one.policy->owner)
        .Text("review", config::Name(one.policy->review))
        .Flag("due", IsDue(*one.policy, told.cadence));
    if (one.id.contains('/')) {
      json.Null("unit").Null("limit");
    } else {
      json.Text("unit", config::Name(one.policy->unit))
          .Text("limit", policy::AmountDigits(one.policy->unit, one.policy->limit));
    }
    json.Number("most_permille", told.counted[i].most_permille)
        .Text("most_counter", told.counted[i].most_who)
        .Number("alerts", told.counted[i].alerts);
    WriteFigures("before", one.figures.before, json);
    WriteFigures("now", one.figures.now, json);
    json.Close('}');
  }
  json.Close(']').Close('}');
  return json.Take() + "\n";
}

namespace {

struct Options {
  std::string config;
  std::string data_dir;
  std::string cadence = "weekly";
  std::string until;
  bool json = false;
};

int Run(const Options& options) {
  ReviewCadence cadence = ReviewCadence::kWeekly;
  for (const ReviewCadence one :
       {ReviewCadence::kDaily, ReviewCadence::kWeekly, ReviewCadence::kMonthly}) {
    if (config::Name(one) == options.cadence) cadence = one;
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
  const auto config = LoadConfig(options.config, EnvironmentVariable);
  if (!config) return kExitFailed;
  const std::string data_dir = options.data_dir.empty() ? config->data_dir : options.data_dir;
  const auto told = MakeReport(data_dir, *config, cadence, to);
  if (!told) {
    PrintError(told.error().detail + (told.error().code == ErrorCode::kNotFound
                                          ? "; name the data directory with --data-dir"
                                          : ""));
    return kExitFailed;
  }
  const std::string text = options.json ? ReportJson(*told) : ReportText(*told);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return kExitDone;
}

}  // namespace

void AddReport(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "report", "What changed since the period before, for each owner, and the policy to change");
  command->add_option("--cadence", options->cadence, "How long the periods are")
      ->check(CLI::IsMember({"daily", "weekly", "monthly"}))
      ->capture_default_str();
  command->add_option("--config", options->config, "The file with the policies")->type_name("FILE");
  command->add_option("--data-dir", options->data_dir, "Where the log is (default: of the file)")
      ->type_name("DIR");
  command->add_option("--until", options->until, "Where the last period ends (default: now)")
      ->type_name("TIME");
  command->add_flag("--json", options->json, "Print one JSON value");
  command->callback([options, &exit_code] { exit_code = Run(*options); });
}

}  // namespace weir::cli
