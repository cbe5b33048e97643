// What the auditor says of counters: it agrees with every journal the machine writes, and names the
// one invariant that each kind of damage to a record breaks.
#include "gateway/quota_audit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/random.h"
#include "gateway/ledger_audit.h"

namespace weir::gateway {
namespace {

using config::Dimension;
using config::Policy;
using config::QuotaUnit;
using config::WindowKind;
using Records = std::vector<ledger::Record>;

constexpr Instant kNow{1'700'000'000'000'000'000};  // 22:13:20, a Tuesday

RequestId Request(std::uint64_t n) { return {{0x0192'0000'0000'0000 + n, n * 7919}}; }
Usage Used(std::int64_t input, std::int64_t output) {
  return {.input_tokens = input, .output_tokens = output, .source = UsageSource::kProvider};
}

Policy Named(std::string id, QuotaUnit unit, std::int64_t limit,
             WindowKind window = WindowKind::kDay) {
  Policy policy;
  policy.id = std::move(id);
  policy.unit = unit;
  policy.limit = limit;
  policy.window.kind = window;
  policy.alert_percent.clear();
  policy.forecast = false;
  return policy;
}

// A machine with policies, and the records it wrote.
class Story {
 public:
  void Policies(const std::vector<Policy>& policies) {
    sets_.push_back(std::make_unique<policy::PolicySet>(policies, std::vector<config::Raise>{}));
  }
  bool Admit(std::uint64_t n, std::int64_t input, std::int64_t output,
             HoldMode mode = HoldMode::kStrict, std::string_view team = "growth",
             std::string_view action = "a1") {
    auto asked = std::make_unique<Asked>();
    asked->facts[Dimension::kTeam] = team;
    asked->facts.action = action;
    asked->facts.providers = providers;
    EXPECT_TRUE(sets_.back()->Match(asked->facts, now, asked->uses));
    config::Price price;
    price.input = price.cached_input = price.cache_write = price.output = {1'000};
    AdmitCommand command{.request = Request(n),
                         .key = KeyId{{1, 1}},
                         .limits = {.requests_per_minute = 0, .budget = {}},
                         .quote = {.price = price,
                                   .input_tokens_bound = input,
                                   .output_tokens_bound = output,
                                   .output_tokens_useful = 10,
                                   .multiplier_ppm = 2'000'000},
                         .mode = mode,
                         .quotas = asked->uses,
                         .facts = &asked->facts,
                         .attempts_max = 10,
                         .fallback_spend_percent = 300};
    const bool admitted = machine_->Admit(command, now, buffer_).refusal == Refusal::kNone;
    if (admitted) open[n] = std::move(asked);
    return admitted;
  }
  void Settle(std::uint64_t n, const Usage& usage, bool charge = true, std::int64_t attempts = 1,
              std::uint64_t provider = 0) {
    machine_->Settle({.request = Request(n),
                      .usage = usage,
                      .charge = charge,
                      .attempts = attempts,
                      .by_fallback = attempts > 1,
                      .providers = provider},
                     now, buffer_);
    open.erase(n);
  }
  bool Extend(std::uint64_t n, std::int64_t output) {
    return machine_->Extend({Request(n), output}, now, buffer_).granted;
  }
  void Checkpoint(std::uint64_t n, const Usage& usage) {
    machine_->Checkpoint({Request(n), usage}, now, buffer_);
  }
  // kill -9, and a start that resolves what was open.
  void Restart() {
    machine_ = std::make_unique<CreditControl>();
    open.clear();
    for (const ledger::Record& record : records()) {
      const auto problem = machine_->Replay(record);
      ASSERT_EQ(problem, std::nullopt) << *problem;
    }
    machine_->ResolveOpen(now, buffer_);
  }
  Records records() const {
    Records all;
    std::span<const std::uint8_t> bytes = buffer_.bytes;
    while (!bytes.empty()) all.push_back(ledger::Decode(bytes).value());
    return all;
  }
  const CreditControl& machine() const { return *machine_; }

  struct Asked {
    policy::Facts facts;
    std::vector<policy::QuotaUse> uses;
  };
  Instant now = kNow;
  std::map<std::uint64_t, std::unique_ptr<Asked>> open;
  std::vector<std::string_view> providers;

 private:
  std::vector<std::unique_ptr<policy::PolicySet>> sets_;  // a request keeps the one it began with
  std::unique_ptr<CreditControl> machine_ = std::make_unique<CreditControl>();
  ledger::RecordBuffer buffer_;
};

// The lines of its first request, in their order. A minute passes while it grows.
enum : std::size_t { kRequests, kTokens, kOfTheMinute, kFirm, kShadow, kSlots, kAttempts, kNext };

std::vector<Policy> PoliciesOfTheStory(std::int64_t requests) {
  Policy count = Named("requests", QuotaUnit::kRequests, requests);
  count.alert_percent = {20};
  Policy tokens = Named("tokens", QuotaUnit::kTotalTokens, 10'000, WindowKind::kHour);
  tokens.window.sliding = true;
  tokens.alert_percent = {50, 90};
  Policy firm = Named("firm", QuotaUnit::kUsd, 100'000, WindowKind::kMonth);
  firm.cap = config::CapKind::kFirm;
  Policy shadow = Named("shadow", QuotaUnit::kQuotaTokens, 1);
  shadow.shadow = true;
  Policy slots = Named("slots", QuotaUnit::kConcurrent, 3, WindowKind::kLifetime);
  slots.retry.attempts = 4;
  return {count, tokens, Named("minute", QuotaUnit::kOutputTokens, 5'000, WindowKind::kMinute),
          firm,  shadow, slots};
}

// A stream that outgrows its minute, a request that is released, a limit that is lowered, a
// settlement that crosses two thresholds, and a request that is open.
Records WholeStory(bool with_open = true) {
  Story story;
  story.Policies(PoliciesOfTheStory(10));
  EXPECT_TRUE(story.Admit(1, 100, 50'000, HoldMode::kAdaptive));
  story.now = story.now + Minutes(1);
  EXPECT_TRUE(story.Extend(1, 2'000));
  story.Settle(1, Used(90, 2'500));
  EXPECT_TRUE(story.Admit(2, 100, 3'000));
  story.Settle(2, {}, false, 2);
  story.Policies(PoliciesOfTheStory(9));
  EXPECT_TRUE(story.Admit(3, 100, 2'500, HoldMode::kStrict, "growth", "a2"));
  story.Settle(3, Used(100, 2'400));
  if (with_open) {
    EXPECT_TRUE(story.Admit(4, 10, 20, HoldMode::kStrict, "growth", "a3"));
    story.Checkpoint(4, {.output_tokens = 5, .source = UsageSource::kCheckpoint});
  }
  return story.records();
}

template <class Kind>
Kind& Nth(Records& records, std::size_t n = 0) {
  for (ledger::Record& record : records) {
    auto* const one = std::get_if<Kind>(&record);
    if (one != nullptr && n-- == 0) return *one;
  }
  ADD_FAILURE() << "the story has no such record";
  static Kind none;
  return none;
}

// The n-th window of a policy's counter.
ledger::WindowRecord& WindowOf(Records& records, std::string_view policy, std::size_t n = 0) {
  std::uint32_t number = UINT32_MAX;
  for (ledger::Record& record : records) {
    if (const auto* counter = std::get_if<ledger::CounterRecord>(&record)) {
      if (counter->policy == policy) number = counter->number;
    }
    auto* const window = std::get_if<ledger::WindowRecord>(&record);
    if (window != nullptr && window->number == number && n-- == 0) return *window;
  }
  ADD_FAILURE() << policy << " has no such window";
  static ledger::WindowRecord none;
  return none;
}

std::string Broken(const LedgerAudit& audit) {
  std::string names;
  for (const auto& violation : audit.violations()) {
    names += std::string(violation.invariant) + " at " + std::to_string(violation.position) + ": " +
             violation.what + "\n";
  }
  return names;
}

// Sees the records, replays as far as the machine takes them, and compares.
std::string Audited(const Records& records) {
  LedgerAudit audit;
  CreditControl machine;
  bool whole = true;
  for (const auto& record : records) {
    audit.See(record);
    whole = whole && !machine.Replay(record);
  }
  if (whole) {
    audit.Compare(machine);
    audit.Resolve(machine, kNow + Minutes(1));
  }
  return Broken(audit);
}

void ExpectBroken(const Records& records, const std::string& invariant, const char* what) {
  const std::string found = Audited(records);
  EXPECT_TRUE(found.starts_with(invariant + " ") ||
              found.find("\n" + invariant + " ") != std::string::npos)
      << what << ": found " << (found.empty() ? "nothing" : found);
}

TEST(QuotaAudit, WhatTheMachineWrote_IsGood) {
  EXPECT_EQ(Audited(WholeStory()), "");
  auto records = WholeStory();
  const auto& lines = Nth<ledger::IntentRecord>(records).quotas->lines;
  ASSERT_EQ(lines.size(), kNext + 0U);
  const auto& used = Nth<ledger::SettleRecord>(records).quotas;
  ASSERT_EQ(used.size(), kNext + 1U);
  EXPECT_EQ(used[kTokens].n, 2'590);
  EXPECT_EQ(used[kOfTheMinute].n, 1'024);
  EXPECT_EQ(used[kNext].n, 2'500 - 1'024);
  EXPECT_EQ(used[kShadow].n, 2 * 2'590);
  EXPECT_EQ(Nth<ledger::VoidRecord>(records).quotas[kAttempts].n, 2);
  const auto alerts = std::ranges::count_if(records, [](const auto& record) {
    return std::holds_alternative<ledger::AlertRecord>(record);
  });
  EXPECT_EQ(alerts, 2);
}

TEST(QuotaAudit, EachKindOfDamage_BreaksTheInvariantItIsAbout) {
  struct Row {
    const char* what;
    const char* invariant;
    std::function<void(Records&)> damage;
  };
  const auto intent = [](Records& records) -> ledger::QuotaHold& {
    return *Nth<ledger::IntentRecord>(records).quotas;
  };
  const auto settle = [](Records& records) -> std::vector<ledger::Amount>& {
    return Nth<ledger::SettleRecord>(records).quotas;
  };
  const auto more = [](Records& records) -> std::vector<ledger::QuotaLine>& {
    return Nth<ledger::ExtendRecord>(records).quotas;
  };
  const auto released = [](Records& records) -> std::vector<ledger::Amount>& {
    return Nth<ledger::VoidRecord>(records).quotas;
  };
  const auto alert = [](Records& records) -> ledger::AlertRecord& {
    return Nth<ledger::AlertRecord>(records);
  };
  const std::vector<Row> rows = {
      {"a limit below what is held", "I3",
       [](Records& records) { WindowOf(records, "requests").limit = {0}; }},
      {"a hold above the limit", "I3",
       [&](Records& records) { intent(records).lines[kTokens].amount = {10'001}; }},
      {"a step above the limit beside what was used", "I3",
       [&](Records& records) {
         Nth<ledger::IntentRecord>(records, 1).quotas->lines[kTokens].amount = {7'411};
       }},
      {"an extension above the limit", "I3",
       [&](Records& records) { more(records)[0].amount = {8'877}; }},
      {"a limit of less than nothing", "I3",
       [](Records& records) { WindowOf(records, "shadow").limit = {-1}; }},
      {"a line of a counter that no record has", "I4",
       [&](Records& records) { intent(records).lines[kRequests].counter = 99; }},
      {"two lines of one counter", "I4",
       [&](Records& records) { intent(records).lines[1] = intent(records).lines[0]; }},
      {"a line of less than nothing", "I4",
       [&](Records& records) { intent(records).lines[kFirm].amount = {-1}; }},
      {"a settlement without a figure of one line", "I4",
       [&](Records& records) { settle(records).pop_back(); }},
      {"a settlement with a figure of no line", "I4",
       [&](Records& records) { settle(records).push_back({}); }},
      {"a settlement without figures", "I4", [&](Records& records) { settle(records).clear(); }},
      {"a release with a figure of no line", "I4",
       [&](Records& records) { released(records).push_back({}); }},
      {"a hold that no admission has", "I4",
       [&](Records& records) { Nth<ledger::IntentRecord>(records).quotas.reset(); }},
      {"a token too much", "I5", [&](Records& records) { ++settle(records)[kTokens].n; }},
      {"a token too little", "I5", [&](Records& records) { --settle(records)[kTokens].n; }},
      {"more than was held", "I5", [&](Records& records) { settle(records)[kRequests] = {2}; }},
      {"less than nothing", "I5", [&](Records& records) { settle(records)[kShadow] = {-1}; }},
      {"more attempts than were held", "I5",
       [&](Records& records) { settle(records)[kAttempts] = {5}; }},
      {"a window that is not filled before the next", "I5",
       [&](Records& records) {
         --settle(records)[kOfTheMinute].n;
         ++settle(records)[kNext].n;
       }},
      {"a slot that is used up", "I5", [&](Records& records) { settle(records)[kSlots] = {1}; }},
      {"a nano-dollar of a firm limit too much", "I5",
       [&](Records& records) { ++settle(records)[kFirm].n; }},
      {"tokens of a request that was released", "I5",
       [&](Records& records) { released(records)[kTokens] = {1}; }},
      {"another multiplier than at admission", "I5",
       [&](Records& records) { intent(records).multiplier_ppm = 1'000'000; }},
      {"another usage than the figures are of", "I5",
       [&](Records& records) { ++Nth<ledger::SettleRecord>(records).usage.output_tokens; }},
      {"a number that is given away while it is held", "I9",
       [](Records& records) {
         ledger::CounterRecord other = Nth<ledger::CounterRecord>(records);
         other.counter = {7, 7};
         records.push_back(other);
       }},
      {"a counter that is opened again while it is held", "I9",
       [](Records& records) {
         ledger::CounterRecord again = Nth<ledger::CounterRecord>(records);
         again.number = 99;
         records.push_back(again);
       }},
      {"a unit that does not exist", "I9",
       [](Records& records) { Nth<ledger::CounterRecord>(records).unit = config::kQuotaUnits; }},
      {"a window of a counter that no record has", "I17",
       [](Records& records) { WindowOf(records, "firm").number = 99; }},
      {"a window that ends before it begins", "I17",
       [](Records& records) { WindowOf(records, "requests").ends_at = {}; }},
      {"a window that begins before its time", "I17",
       [](Records& records) { WindowOf(records, "minute").starts_at = kNow + Seconds(1); }},
      {"a window that begins before the one before it ends", "I17",
       [](Records& records) { WindowOf(records, "minute").ends_at = kNow + Seconds(100); }},
      {"a window that ends early", "I17",
       [](Records& records) { WindowOf(records, "requests").ends_at = kNow + Seconds(30); }},
      {"a window that does not turn", "I17",
       [](Records& records) {
         const ledger::WindowRecord turns = WindowOf(records, "minute", 1);
         std::erase(records, ledger::Record(turns));
       }},
      {"the end of what has no end", "I17",
       [](Records& records) {
         ledger::WindowRecord next = WindowOf(records, "slots");
         next.time = kNow + Minutes(2);
         next.starts_at = next.time;
         records.push_back(next);
       }},
      {"another span of a window that slides", "I17",
       [](Records& records) {
         ledger::WindowRecord next = WindowOf(records, "tokens");
         next.time = kNow + Minutes(2);
         next.starts_at = next.time;
         records.push_back(next);
       }},
      {"an alert twice", "I18", [&](Records& records) { records.push_back(alert(records)); }},
      {"an alert of another threshold", "I18",
       [&](Records& records) { alert(records).percent = 30; }},
      {"an alert of another amount", "I18", [&](Records& records) { ++alert(records).settled.n; }},
      {"an alert of another limit", "I18", [&](Records& records) { ++alert(records).limit.n; }},
      {"an alert of a counter that no record has", "I18",
       [&](Records& records) { alert(records).number = 99; }},
      {"a forecast that is none", "I18",
       [&](Records& records) { Nth<ledger::AlertRecord>(records, 1).percent = 0; }},
  };
  for (const Row& row : rows) {
    Records records = WholeStory();
    row.damage(records);
    ExpectBroken(records, row.invariant, row.what);
  }
}

TEST(QuotaAudit, ACounterThatIsOpenedAgainInItsWindow_IsI17) {
  for (const bool other_number : {true, false}) {
    Records records = WholeStory(false);
    ledger::CounterRecord again = Nth<ledger::CounterRecord>(records);
    if (other_number) again.number = 99;
    records.push_back(again);
    ExpectBroken(records, "I17", "its window goes on");
    // On the next day it may be.
    Records later = WholeStory(false);
    again.time = kNow + Seconds(86'400);
    later.push_back(again);
    if (!other_number) {
      EXPECT_EQ(Audited(later), "");
    }
  }
}

// A machine that counted something else than its records say does not agree.
TEST(QuotaAudit, MachineWithOtherFigures_DoesNotAgree) {
  const Records records = WholeStory();
  using Change = std::function<void(ledger::Record&)>;
  const std::vector<std::pair<const char*, Change>> changes = {
      {"a token less",
       [](ledger::Record& record) {
         if (auto* one = std::get_if<ledger::SettleRecord>(&record)) --one->quotas[kTokens].n;
       }},
      {"an attempt less",
       [](ledger::Record& record) {
         if (auto* one = std::get_if<ledger::VoidRecord>(&record)) one->quotas.clear();
       }},
      {"a line of nothing",
       [](ledger::Record& record) {
         auto* const one = std::get_if<ledger::IntentRecord>(&record);
         if (one != nullptr && one->request == Request(4)) one->quotas->lines[kSlots].amount = {};
       }},
      {"another limit",
       [](ledger::Record& record) {
         if (auto* one = std::get_if<ledger::WindowRecord>(&record)) one->limit.n += 1'000;
       }},
      {"another name", [](ledger::Record& record) {
         if (auto* one = std::get_if<ledger::CounterRecord>(&record)) one->policy += "x";
       }}};
  for (const auto& [what, change] : changes) {
    LedgerAudit audit;
    CreditControl machine;
    for (ledger::Record record : records) {
      audit.See(record);
      change(record);
      ASSERT_EQ(machine.Replay(record), std::nullopt) << what;
    }
    EXPECT_EQ(Broken(audit), "") << what;
    audit.Compare(machine);
    EXPECT_TRUE(Broken(audit).starts_with("I2 at 0: ")) << what << ": " << Broken(audit);
  }
  LedgerAudit audit;
  for (const ledger::Record& record : records) audit.See(record);
  audit.Compare(CreditControl());
  EXPECT_NE(Broken(audit).find("I2 at 0: the machine does not have counter 1"), std::string::npos);
}

// A bucket counts until it has passed out whole, and no longer.
TEST(QuotaAudit, ASlidingWindow_ForgetsAfterItsLengthAndABucket) {
  const auto run = [](Duration later, std::int64_t output) {
    Story story;
    Policy sliding = Named("tokens", QuotaUnit::kTotalTokens, 1'000, WindowKind::kHour);
    sliding.window.sliding = true;  // buckets of a minute
    story.Policies({sliding});
    EXPECT_TRUE(story.Admit(1, 100, 800));
    story.Settle(1, Used(100, 500));
    story.now = story.now + later;
    EXPECT_TRUE(story.Admit(2, 100, output)) << later.ns;
    return story.records();
  };
  // The first was held at 22:13:20: it counts to the end of 23:13.
  const Duration in_it = Minutes(60) + Seconds(39);
  const Duration behind = in_it + Seconds(1);
  EXPECT_EQ(Audited(run(in_it, 300)), "");
  EXPECT_EQ(Audited(run(behind, 900)), "");
  Records early = run(behind, 900);
  Nth<ledger::IntentRecord>(early, 1).time = kNow + in_it;
  ExpectBroken(early, "I3", "600 still count");
}

TEST(QuotaAudit, AThresholdThatAHigherLimitHasRoomForAgain_MayBeToldAgain) {
  const auto run = [](std::int64_t second_limit) {
    Story story;
    Policy usd = Named("usd", QuotaUnit::kUsd, 1'000);
    usd.alert_percent = {50, 100};
    story.Policies({usd});
    EXPECT_TRUE(story.Admit(1, 100, 500));
    story.Settle(1, Used(100, 450));
    usd.limit = second_limit;
    story.Policies({usd});
    EXPECT_TRUE(story.Admit(2, 100, 350));
    story.Settle(2, Used(100, 350));
    return story.records();
  };
  Records raised = run(2'000);  // 550 of 1,000; 1,000 of 2,000
  EXPECT_EQ(Audited(raised), "");
  EXPECT_EQ(Nth<ledger::AlertRecord>(raised, 1).percent, 50);
  Records once = run(1'050);  // 550 are still more than half of it
  EXPECT_EQ(Audited(once), "");
  ledger::AlertRecord again = Nth<ledger::AlertRecord>(once);
  again.settled = {1'000};
  again.limit = {1'050};
  once.push_back(again);
  ExpectBroken(once, "I18", "it was told at 550 of 1,000");
}

TEST(QuotaAudit, AForecast_IsJudgedByTheRateSoFar) {
  Story story;
  Policy hour = Named("hour", QuotaUnit::kUsd, 1'000, WindowKind::kHour);
  hour.forecast = true;
  story.Policies({hour});
  EXPECT_TRUE(story.Admit(1, 100, 300));  // 22:13:20, 800 s of 3,600 have passed
  story.Settle(1, Used(100, 250));
  Records records = story.records();
  EXPECT_EQ(Nth<ledger::AlertRecord>(records).percent, 0);
  EXPECT_EQ(Audited(records), "");
  Nth<ledger::AlertRecord>(records).time = kNow + Seconds(600);  // 350 of 1,000 in 1,400 of 3,600 s
  ExpectBroken(records, "I18", "at that rate it is enough");
}

// What another provider served is nothing to this one's limit.
TEST(QuotaAudit, ALineOfAProviderThatDidNotServe_IsSettledWithNothing) {
  Story story;
  Policy each = Named("each", QuotaUnit::kTotalTokens, 10'000);
  each.per = {Dimension::kProvider};
  story.Policies({each});
  story.providers = {"azure", "openai"};
  EXPECT_TRUE(story.Admit(1, 100, 100));
  story.Settle(1, Used(80, 40), true, 1, 0b10);
  EXPECT_EQ(Audited(story.records()), "");
}

TEST(QuotaAudit, AnyContent_IsSafe) {
  const Instant never{INT64_MAX};
  const Instant first{INT64_MIN};
  QuotaAudit audit;
  QuotaAudit::Lines lines;
  const std::vector<ledger::QuotaLine> holds = {{UINT32_MAX, {INT64_MAX}}, {3, {INT64_MIN}}};
  audit.Hold("somebody", holds, never, lines);
  audit.Resolve("somebody", {}, nullptr, lines);
  for (const std::int64_t bucket : {std::int64_t{0}, std::int64_t{1}, INT64_MAX, INT64_MIN}) {
    for (std::uint8_t window = 0; window < 12; ++window) {
      for (const Instant at : {first, Instant{-1}, kNow, never}) {
        audit.See({.number = 3,
                   .counter = {1, 1},
                   .unit = window,
                   .window = window,
                   .bucket = {bucket},
                   .policy = "p",
                   .values = ""},
                  at);
        audit.See({.number = 3, .starts_at = first, .ends_at = never, .limit = {INT64_MAX}}, at);
        audit.See({.number = 3, .percent = 255}, at);
        audit.See({.number = 3, .percent = 0, .settled = {INT64_MAX}, .limit = {INT64_MIN}}, at);
        audit.Hold("somebody", holds, at, lines);
        const std::vector<ledger::Amount> used(lines.size(), {INT64_MAX});
        const QuotaAudit::Outcome outcome{
            .usage = Used(INT64_MAX, INT64_MAX), .price = {INT64_MAX}, .multiplier_ppm = INT64_MAX};
        audit.Resolve("somebody", used, &outcome, lines);
      }
    }
  }
  EXPECT_FALSE(audit.TakeFindings().empty());
  EXPECT_TRUE(audit.TakeFindings().empty());
}

// Whatever the machine is told, its journal passes: policies of every kind that change on the way,
// crashes, and clocks that jump.
TEST(QuotaAudit, RandomRuns_AreGood) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SeededRandom random(seed);
    const auto draw = [&](std::int64_t n) {
      return static_cast<std::int64_t>(random.Next() % static_cast<std::uint64_t>(n));
    };
    Story story;
    const auto policies = [&] {
      constexpr QuotaUnit kUnits[] = {
          QuotaUnit::kRequests,       QuotaUnit::kTotalTokens, QuotaUnit::kUsd,
          QuotaUnit::kConcurrent,     QuotaUnit::kInputTokens, QuotaUnit::kOutputTokens,
          QuotaUnit::kUncachedTokens, QuotaUnit::kQuotaTokens};
      std::vector<Policy> all;
      for (int i = 0; i < 6; ++i) {
        const QuotaUnit unit = kUnits[static_cast<std::size_t>(
            (seed + static_cast<std::uint64_t>(i) * 3) % std::size(kUnits))];
        const bool counted = unit == QuotaUnit::kRequests || unit == QuotaUnit::kConcurrent;
        Policy policy =
            Named("p" + std::to_string(i), unit, draw(counted ? 8 : 6'000),
                  static_cast<WindowKind>((seed / 3 + static_cast<std::uint64_t>(i)) % 4));
        if (unit == QuotaUnit::kConcurrent) policy.window.kind = WindowKind::kLifetime;
        policy.window.sliding = policy.window.kind <= WindowKind::kMonth &&
                                (seed + static_cast<std::uint64_t>(i)) % 3 == 0;
        if ((seed + static_cast<std::uint64_t>(i)) % 2 == 0) policy.per = {Dimension::kTeam};
        policy.alert_percent = {50, 100};
        policy.forecast = true;
        policy.shadow = draw(6) == 0;
        if (draw(5) == 0) policy.cap = config::CapKind::kFirm;
        if (i == 0)
          policy.retry = {.attempts = draw(12), .fallback_attempts = {}, .fallback_spend = {}};
        all.push_back(policy);
      }
      return all;
    };
    story.Policies(policies());
    for (std::uint64_t n = 1; n <= 300; ++n) {
      story.now = story.now + Duration{draw(Seconds(40).ns)};
      if (draw(40) == 0) story.now = {story.now.ns + draw(Seconds(14'000).ns) - Seconds(7'000).ns};
      if (draw(25) == 0) story.Policies(policies());
      const auto some = [&] {
        auto at = story.open.begin();
        std::advance(at, draw(static_cast<std::int64_t>(story.open.size())));
        return at->first;
      };
      story.Admit(n, draw(300), 1 + draw(3'000),
                  draw(3) == 0 ? HoldMode::kAdaptive : HoldMode::kStrict,
                  draw(2) == 0 ? "growth" : "data", "a" + std::to_string(draw(4)));
      if (draw(60) == 0) {
        story.Restart();
        if (HasFatalFailure()) return;
      }
      if (story.open.empty()) continue;
      if (draw(3) == 0) story.Extend(some(), draw(2'000));
      if (draw(4) == 0) {
        story.Checkpoint(some(), {.output_tokens = draw(900), .source = UsageSource::kCheckpoint});
      }
      if (draw(3) != 0) {
        story.Settle(some(), draw(5) == 0 ? Usage{} : Used(draw(400), draw(4'000)), draw(4) != 0,
                     draw(4));
      }
      // The machine that lives, which has dropped what is over.
      if (n % 50 == 0) {
        LedgerAudit audit;
        for (const ledger::Record& record : story.records()) audit.See(record);
        audit.Compare(story.machine());
        ASSERT_EQ(Broken(audit), "") << "seed " << seed << " after " << n;
      }
    }
    ASSERT_EQ(Audited(story.records()), "") << "seed " << seed;
  }
}

}  // namespace
}  // namespace weir::gateway
