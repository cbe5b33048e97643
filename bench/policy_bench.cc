// What quota policies cost: a decision with its hold and its settlement by how many policies a
// request meets, a million counters in memory and at a start, and the replay of stored requests.
//
//   build/release/bench/policy_bench --benchmark_min_time=1
//
// All on one core. The counters of the memory figure are printed as bytes each, by what malloc says
// it has handed out.
#include <benchmark/benchmark.h>
#include <malloc.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "config/price_codec.h"
#include "gateway/credit_control.h"
#include "policy/policy_set.h"
#include "policy/quote.h"
#include "policy/what_if.h"
#include "store/past_log.h"
#include "store/request_log.h"
#include "store/request_scan.h"

namespace weir {
namespace {

using config::Dimension;
using config::Policy;
using config::QuotaUnit;
using config::WindowKind;

constexpr Instant kNow{1'767'225'600'000'000'000};

RequestId Request(std::uint64_t n) { return {MakeId(kNow, 0, n * 0x9E3779B97F4A7C15ULL)}; }

config::Price SomePrice() {
  config::Price price;
  price.input = price.cache_write = {2'500'000};
  price.cached_input = {250'000};
  price.output = {10'000'000};
  return price;
}

// Policies that every request of team "t" meets, of the units and windows that are usual.
std::vector<Policy> Matching(std::int64_t count) {
  constexpr QuotaUnit kUnits[] = {QuotaUnit::kUsd, QuotaUnit::kTotalTokens, QuotaUnit::kRequests,
                                  QuotaUnit::kInputTokens, QuotaUnit::kOutputTokens};
  constexpr WindowKind kWindows[] = {WindowKind::kMonth, WindowKind::kDay, WindowKind::kHour};
  std::vector<Policy> policies;
  for (std::int64_t i = 0; i < count; ++i) {
    Policy policy;
    policy.id = "policy-" + std::to_string(i);
    policy.match = {{Dimension::kTeam, {"t"}}};
    if (i % 2 == 1) policy.per = {Dimension::kUser};
    policy.unit = kUnits[i % std::ssize(kUnits)];
    policy.limit = config::kQuotaMax / 2;
    policy.window.kind = kWindows[i % std::ssize(kWindows)];
    policies.push_back(policy);
  }
  return policies;
}

// One request: matched, admitted with everything held, settled. 64 are open at any time; a hundred
// users take turns. Beside it stand a thousand policies that it does not meet.
void DecideHoldSettle(benchmark::State& state) {
  std::vector<Policy> policies = Matching(state.range(0));
  for (int i = 0; i < 1000; ++i) {
    Policy other = policies.empty() ? Policy() : policies.front();
    other.id = "other-" + std::to_string(i);
    other.match = {{Dimension::kTeam, {"other-" + std::to_string(i)}}};
    policies.push_back(other);
  }
  const policy::PolicySet set(policies, {});
  gateway::CreditControl machine;
  ledger::RecordBuffer records;
  std::vector<std::string> users;
  for (int i = 0; i < 100; ++i) users.push_back("user-" + std::to_string(i));
  struct Open {
    policy::Facts facts;
    std::vector<policy::QuotaUse> uses;
  };
  std::vector<Open> open(65);
  const config::Price price = SomePrice();
  const config::PriceId price_id = config::IdOf(price);
  Instant now = kNow;
  std::uint64_t n = 0;
  for (auto _ : state) {
    ++n;
    now = now + Microseconds(30);
    Open& mine = open[n % open.size()];
    mine.facts[Dimension::kKey] = "k";
    mine.facts[Dimension::kTeam] = "t";
    mine.facts[Dimension::kUser] = users[n % users.size()];
    mine.facts[Dimension::kModel] = "m";
    if (!set.Match(mine.facts, now, mine.uses)) state.SkipWithError("too many");
    gateway::AdmitCommand command{
        .request = Request(n), .key = {{1, 1}}, .limits = {}, .quote = {}};
    command.limits.requests_per_minute = 0;
    command.quote = {.price = price,
                     .price_id = price_id,
                     .input_tokens_bound = 2000,
                     .output_tokens_bound = 1000,
                     .output_tokens_useful = 256};
    command.quotas = mine.uses;
    command.facts = &mine.facts;
    if (machine.Admit(command, now, records).refusal != Refusal::kNone) {
      state.SkipWithError("refused");
    }
    if (n > 64) {
      benchmark::DoNotOptimize(machine.Settle(
          {.request = Request(n - 64),
           .usage = {.input_tokens = 400, .output_tokens = 20, .source = UsageSource::kProvider},
           .attempts = 1},
          now, records));
    }
    if (records.count > 256) records.Clear();
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(DecideHoldSettle)->Arg(0)->Arg(1)->Arg(10)->Arg(100);

// Matching alone.
void Match(benchmark::State& state) {
  const std::vector<Policy> policies = Matching(state.range(0));
  const policy::PolicySet set(policies, {});
  policy::Facts facts;
  facts[Dimension::kKey] = "k";
  facts[Dimension::kTeam] = "t";
  facts[Dimension::kUser] = "user-1";
  std::vector<policy::QuotaUse> uses;
  for (auto _ : state) benchmark::DoNotOptimize(set.Match(facts, kNow, uses));
}
BENCHMARK(Match)->Arg(1)->Arg(10)->Arg(100);

std::size_t Handed() {
  const auto info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

// A counter for each of a million users and a request of each, as a start reads them: a counter, a
// window, an intent, a settlement.
void MillionCounters(benchmark::State& state) {
  const auto users = static_cast<std::uint32_t>(state.range(0));
  Policy policy;
  policy.id = "user-day";
  policy.per = {Dimension::kUser};
  policy.unit = QuotaUnit::kRequests;
  policy.limit = 100;
  policy.window.kind = WindowKind::kDay;
  const policy::PolicySet set(std::vector{policy}, {});
  ledger::RecordBuffer records;
  {
    gateway::CreditControl machine;
    std::vector<policy::QuotaUse> uses;
    for (std::uint32_t i = 0; i < users; ++i) {
      const std::string user = "user-" + std::to_string(i) + "@example.com";
      policy::Facts facts;
      facts[Dimension::kUser] = user;
      static_cast<void>(set.Match(facts, kNow, uses));
      gateway::AdmitCommand command{
          .request = Request(i + 1), .key = {{1, 1}}, .limits = {}, .quote = {}};
      command.limits.requests_per_minute = 0;
      command.quote = {.price = SomePrice(),
                       .input_tokens_bound = 100,
                       .output_tokens_bound = 100,
                       .output_tokens_useful = 1};
      command.quotas = uses;
      command.facts = &facts;
      machine.Admit(command, kNow, records);
      machine.Settle(
          {.request = Request(i + 1),
           .usage = {.input_tokens = 40, .output_tokens = 20, .source = UsageSource::kProvider},
           .attempts = 1},
          kNow, records);
    }
  }
  std::size_t bytes = 0;
  for (auto _ : state) {
    const std::size_t before = Handed();
    gateway::CreditControl machine;
    std::span<const std::uint8_t> rest = records.bytes;
    while (!rest.empty()) {
      auto record = ledger::Decode(rest);
      if (!record || machine.Replay(*record)) {
        state.SkipWithError("not replayed");
        break;
      }
    }
    bytes = Handed() - before;
    state.counters["counters"] = static_cast<double>(machine.quotas().size());
  }
  state.counters["bytes_each"] = static_cast<double>(bytes) / users;
  state.counters["journal_bytes_each"] = static_cast<double>(records.bytes.size()) / users;
  state.SetItemsProcessed(static_cast<std::int64_t>(records.count) * state.iterations());
}
BENCHMARK(MillionCounters)->Arg(1'000'000)->Unit(benchmark::kMillisecond)->Iterations(3);

// Five policies such as a deployment has, over teams, users, models and one that limits each
// request.
std::vector<Policy> FivePolicies() {
  std::vector<Policy> policies(5);
  policies[0].id = "team-month";
  policies[0].per = {Dimension::kTeam};
  policies[0].unit = QuotaUnit::kUsd;
  policies[0].limit = 500 * kNanoPerUsd;
  policies[0].window.kind = WindowKind::kMonth;
  policies[1].id = "user-day";
  policies[1].per = {Dimension::kUser};
  policies[1].unit = QuotaUnit::kTotalTokens;
  policies[1].limit = 2'000'000;
  policies[1].window.kind = WindowKind::kDay;
  policies[2].id = "premium-day";
  policies[2].match = {{Dimension::kModelClass, {"premium"}}};
  policies[2].per = {Dimension::kTeam};
  policies[2].unit = QuotaUnit::kRequests;
  policies[2].limit = 50'000;
  policies[2].window.kind = WindowKind::kDay;
  policies[3].id = "at-once";
  policies[3].per = {Dimension::kKey};
  policies[3].unit = QuotaUnit::kConcurrent;
  policies[3].limit = 500;
  policies[3].window.kind = WindowKind::kLifetime;
  policies[4].id = "output";
  policies[4].unit = QuotaUnit::kOutputTokens;
  policies[4].limit = 4'000;
  policies[4].window.kind = WindowKind::kRequest;
  return policies;
}

struct Past {
  std::vector<policy::Facts> facts;
  std::vector<std::string> texts;
  std::vector<policy::PastRequest> requests;
};

// So many requests of ten teams with a hundred users each, twenty a second, some seconds long.
std::unique_ptr<Past> MakePast(std::size_t count, const config::Price& price) {
  auto past = std::make_unique<Past>();
  for (int i = 0; i < 1000; ++i) {
    past->texts.push_back("user-" + std::to_string(i));
    past->texts.push_back("team-" + std::to_string(i % 10));
    past->texts.push_back("key-" + std::to_string(i % 10));
  }
  for (std::size_t i = 0; i < 1000; ++i) {
    policy::Facts facts;
    facts[Dimension::kUser] = past->texts[3 * i];
    facts[Dimension::kTeam] = past->texts[3 * i + 1];
    facts[Dimension::kKey] = past->texts[3 * i + 2];
    facts[Dimension::kEnvironment] = "production";
    facts[Dimension::kModel] = i % 2 == 0 ? "big" : "small";
    facts[Dimension::kModelClass] = i % 2 == 0 ? "premium" : "standard";
    past->facts.push_back(facts);
  }
  SeededRandom random(1);
  Instant at = kNow;
  for (std::size_t i = 0; i < count; ++i) {
    at = at + Milliseconds(static_cast<std::int64_t>(random.Next() % 100));
    policy::PastRequest request{
        .facts = static_cast<std::uint32_t>(random.Next() % past->facts.size()),
        .started_at = at,
        .ended_at = at + Milliseconds(static_cast<std::int64_t>(500 + random.Next() % 10'000)),
        .price = &price,
        .bounds = {.input = 3'000},
        .output_asked = 8'000,
        .output_useful = 256};
    request.usage = {.input_tokens = 800,
                     .output_tokens = static_cast<std::int64_t>(random.Next() % 1'500),
                     .source = UsageSource::kProvider};
    request.cost = policy::PriceOf(price, request.usage);
    past->requests.push_back(request);
  }
  return past;
}

// The engine alone: requests that are in memory.
void WhatIfReplay(benchmark::State& state) {
  const config::Price price = SomePrice();
  const auto past = MakePast(1'000'000, price);
  const std::vector<Policy> policies = FivePolicies();
  const policy::PolicySet set(policies, {});
  std::int64_t refused = 0;
  for (auto _ : state) {
    policy::Replay replay(set, {});
    for (const policy::Facts& facts : past->facts) replay.Know(facts);
    for (const policy::PastRequest& request : past->requests) replay.Add(request);
    replay.Finish();
    refused = replay.totals().fates[static_cast<std::size_t>(policy::Fate::kRefused)];
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(past->requests.size()) * state.iterations());
  state.counters["refused"] = static_cast<double>(refused);
}
BENCHMARK(WhatIfReplay)->Unit(benchmark::kMillisecond);

// From the file: read, decode, order, replay under the new policies, and under others beside them.
void WhatIfOfALog(benchmark::State& state) {
  const std::string folder =
      (std::filesystem::temp_directory_path() / "weir_policy_bench").string();
  std::filesystem::remove_all(folder);
  std::filesystem::create_directory(folder);
  const config::Price price = SomePrice();
  const auto past = MakePast(1'000'000, price);
  {
    auto log = *store::RequestLog::Open(folder + "/requests.db", {.keep = {}});
    std::vector<std::uint8_t> bytes;
    config::EncodePrice(price, bytes);
    telemetry::ExchangeRecord row;
    row.key = {{1, 1}};
    row.status = 200;
    row.operation = "responses";
    row.upstream = "openai";
    row.attempts = 1;
    row.price = {bytes.begin(), bytes.end()};
    row.charge = true;
    row.hold_position = 1;
    row.output_choices = 1;
    std::uint64_t n = 0;
    for (const policy::PastRequest& request : past->requests) {
      const policy::Facts& facts = past->facts[request.facts];
      row.started_at = request.started_at;
      row.request = {MakeId(request.started_at, 0, ++n)};
      row.model = row.model_charged = facts[Dimension::kModel];
      row.total = request.ended_at - request.started_at;
      row.usage = request.usage;
      row.charged = request.cost;
      row.input_tokens_bound = request.bounds.input;
      row.output_tokens_asked = request.output_asked;
      row.output_tokens_useful = request.output_useful;
      row.multiplier_ppm = request.multiplier_ppm;
      row.attributes = {};
      for (std::size_t i = 0; i < facts.values.size(); ++i) {
        if (static_cast<Dimension>(i) == Dimension::kModel) continue;
        row.attributes.Add(static_cast<Dimension>(i), facts.values[i]);
      }
      log->Append(row);
      if (n % 10'000 == 0) log->Flush();
    }
  }
  config::Config config;
  for (const char* id : {"big", "small"}) {
    config::Model model;
    model.id = id;
    model.model_class = model.id == "big" ? "premium" : "standard";
    model.price = config::PriceList(price);
    config.models.push_back(model);
  }
  const std::vector<Policy> policies = FivePolicies();
  const policy::PolicySet none({}, {});
  const policy::PolicySet set(policies, {});
  for (auto _ : state) {
    policy::WhatIf what_if(state.range(0) == 0 ? none : set, set, {}, {}, {});
    store::WhatIfSink sink(config, config, what_if);
    store::PastLog log(store::PastView::kAsAsked, config, kNow, kNow + Seconds(86'400 * 365), sink);
    auto scan = *store::RequestScan::Open(folder + "/requests.db");
    if (!scan->Run(kNow, kNow + Seconds(86'400 * 365), log)) state.SkipWithError("not read");
    what_if.Finish();
    if (log.counts().taken != static_cast<std::int64_t>(past->requests.size())) {
      state.SkipWithError("some are missing");
    }
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(past->requests.size()) * state.iterations());
  state.counters["file_bytes_each"] =
      static_cast<double>(std::filesystem::file_size(folder + "/requests.db")) /
      static_cast<double>(past->requests.size());
  std::filesystem::remove_all(folder);
}
BENCHMARK(WhatIfOfALog)->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond);

// What keeping what policies see costs the request log.
void AppendToTheLog(benchmark::State& state) {
  store::ExchangeBatch batch;
  telemetry::ExchangeRecord rows[2];
  for (telemetry::ExchangeRecord& row : rows) {
    row.request = Request(1);
    row.key = {{1, 1}};
    row.started_at = kNow;
    row.status = 200;
    row.operation = "responses";
    row.model = row.model_charged = "gpt-5.5";
    row.model_served = "gpt-5.5-2026-01-01";
    row.upstream = "openai";
    row.usage = {.input_tokens = 400, .output_tokens = 20, .source = UsageSource::kProvider};
    row.price = std::string(40, 'p');
    row.output_choices = 1;
    if (state.range(0) == 0) continue;
    const char* const user = &row == rows ? "ada" : "grace";
    for (const auto& [dimension, value] : {std::pair(Dimension::kKey, "support-bot"),
                                           {Dimension::kTeam, "support"},
                                           {Dimension::kUser, state.range(0) == 1 ? "ada" : user},
                                           {Dimension::kWorkspace, "acme"},
                                           {Dimension::kWorkflow, "summaries"},
                                           {Dimension::kEnvironment, "production"},
                                           {Dimension::kProvider, "openai"},
                                           {Dimension::kModelFamily, "gpt-5"},
                                           {Dimension::kModelClass, "premium"},
                                           {Dimension::kModality, "text"}}) {
      row.attributes.Add(dimension, value);
    }
  }
  std::size_t n = 0;
  std::size_t bytes = 0;
  for (auto _ : state) {
    batch.Append(rows[++n % 2]);
    if (batch.bytes().size() > (128 << 10)) {
      bytes = batch.bytes().size() / batch.count();
      batch.Clear();
    }
  }
  state.counters["bytes_each"] = static_cast<double>(bytes);
}
// Without attributes, with the same each time, with a user that changes each time.
BENCHMARK(AppendToTheLog)->Arg(0)->Arg(1)->Arg(2);

}  // namespace
}  // namespace weir

BENCHMARK_MAIN();
