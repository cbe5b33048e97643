// The credit machine with policies: every policy a request meets holds at once or none does, a
// limit is never passed by any number of requests, windows turn under open requests, thresholds are
// told with the settlement that crossed them, and a crash leaves what the records say.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "gateway/credit_control.h"

namespace weir::gateway {
namespace {

using config::Dimension;
using config::Policy;
using config::QuotaUnit;
using config::WindowKind;

constexpr Instant kNow{1'700'000'000'000'000'000};

RequestId Request(std::uint64_t n) { return {{0x0192'0000'0000'0000 + n, n * 7919}}; }
KeyId Key(std::uint64_t n) { return {{0x0191'0000'0000'0000 + n, n * 104'729}}; }
Usage Used(std::int64_t input, std::int64_t output) {
  return {.input_tokens = input, .output_tokens = output, .source = UsageSource::kProvider};
}
config::Price PriceOfATokenEach(std::int64_t nano) {
  config::Price price;
  price.input = price.cached_input = price.cache_write = price.output = {nano * 1000};
  return price;
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

// What an exchange keeps for as long as its request is open.
struct Asked {
  policy::Facts facts;
  std::vector<policy::QuotaUse> uses;
};

struct QuotaTest : testing::Test {
  std::unique_ptr<CreditControl> credit = std::make_unique<CreditControl>();
  ledger::RecordBuffer records;
  std::vector<ledger::Record> journal;
  std::shared_ptr<const policy::PolicySet> set;
  std::map<std::uint64_t, std::unique_ptr<Asked>> asked;
  Instant now = kNow;
  Instant high = kNow;  // the latest time that the machine was told
  std::uint64_t next_request = 1;
  std::string team = "growth";
  std::string action;
  HoldMode mode = HoldMode::kStrict;
  std::vector<std::string_view> providers;

  void Policies(std::vector<Policy> policies, std::vector<config::Raise> raises = {}) {
    set = std::make_shared<const policy::PolicySet>(policies, raises);
  }
  AdmitReply Admit(std::int64_t input, std::int64_t output, std::int64_t useful = 10) {
    auto ask = std::make_unique<Asked>();
    ask->facts[Dimension::kTeam] = team;
    ask->facts.providers = providers;
    ask->facts.action = action;
    EXPECT_TRUE(set->Match(ask->facts, now, ask->uses));
    AdmitCommand command{.request = Request(next_request),
                         .key = Key(1),
                         .limits = {.requests_per_minute = 0, .budget = {}},
                         .quote = {.price = PriceOfATokenEach(1),
                                   .input_tokens_bound = input,
                                   .output_tokens_bound = output,
                                   .output_tokens_useful = useful},
                         .mode = mode,
                         .quotas = ask->uses,
                         .facts = &ask->facts,
                         .attempts_max = 10,
                         .fallback_spend_percent = 300};
    const AdmitReply reply = credit->Admit(command, now, records);
    if (reply.refusal == Refusal::kNone) asked[next_request] = std::move(ask);
    ++next_request;
    Keep();
    return reply;
  }
  SettleReply Settle(std::uint64_t n, const Usage& usage, bool charge = true,
                     std::int64_t attempts = 1, std::uint64_t providers_bit = 0) {
    const SettleReply reply = credit->Settle({.request = Request(n),
                                              .usage = usage,
                                              .charge = charge,
                                              .attempts = attempts,
                                              .by_fallback = attempts > 1,
                                              .providers = providers_bit},
                                             now, records);
    asked.erase(n);
    Keep();
    return reply;
  }
  void Keep() {
    std::span<const std::uint8_t> bytes = records.bytes;
    while (!bytes.empty()) journal.push_back(ledger::Decode(bytes).value());
    records.Clear();
  }
  // As a kill and a start would: what is open is resolved.
  void Restart() {
    credit = std::make_unique<CreditControl>();
    for (const ledger::Record& record : journal) {
      const auto fault = credit->Replay(record);
      ASSERT_EQ(fault, std::nullopt) << *fault;
    }
    credit->ResolveOpen(now, records);
    asked.clear();
    Keep();
  }
  std::string_view Why(const AdmitReply& reply) const { return TextOf(reply.refusal).name; }
  policy::CounterView View(std::string_view policy, std::string_view values = "") const {
    for (std::uint32_t n = 0; n < credit->quotas().numbers(); ++n) {
      const auto view = credit->ViewQuota(n);
      if (view && view->policy == policy && view->values == values) return *view;
    }
    ADD_FAILURE() << "no counter of " << policy << " " << values;
    return {};
  }
};

TEST_F(QuotaTest, AllPolicies_HoldAtOnce_AndSettleWhatWasUsed) {
  Policies({Named("requests", QuotaUnit::kRequests, 10),
            Named("tokens", QuotaUnit::kTotalTokens, 5'000), Named("usd", QuotaUnit::kUsd, 6'000)});
  const AdmitReply reply = Admit(1'000, 2'000);
  ASSERT_EQ(Why(reply), "None");
  EXPECT_EQ(View("requests").held, 1);
  EXPECT_EQ(View("tokens").held, 3'000);
  EXPECT_EQ(View("usd").held, 3'000);
  ASSERT_TRUE(reply.quota);
  EXPECT_EQ(*reply.quota, 1U) << "of the tokens 40 % are left, of the dollars half";
  EXPECT_EQ(reply.quota_remaining, 2'000);
  Settle(1, Used(900, 300));
  EXPECT_EQ(View("requests").settled, 1);
  EXPECT_EQ(View("tokens").settled, 1'200);
  EXPECT_EQ(View("usd").settled, 1'200);
  EXPECT_EQ(View("usd").held, 0);
}

TEST_F(QuotaTest, Refusal_LeavesNoTrace) {
  Policies({Named("tokens", QuotaUnit::kTotalTokens, 5'000),
            Named("requests", QuotaUnit::kRequests, 1)});
  ASSERT_EQ(Why(Admit(100, 100)), "None");
  const std::size_t before = journal.size();
  const AdmitReply refused = Admit(100, 100);
  EXPECT_EQ(Why(refused), "PolicyInFlight");
  EXPECT_EQ(*refused.quota, 1U);
  EXPECT_EQ(journal.size(), before);
  EXPECT_EQ(View("tokens").held, 200);
  Settle(1, Used(100, 100));
  const AdmitReply exhausted = Admit(100, 100);
  EXPECT_EQ(Why(exhausted), "QuotaExceeded");
  EXPECT_GT(exhausted.retry_after, Duration{0});
  EXPECT_EQ(exhausted.quota_resets_at, View("requests").window.ends_at);
  EXPECT_EQ(now + exhausted.retry_after, exhausted.quota_resets_at);
}

TEST_F(QuotaTest, Output_IsClampedToWhatPoliciesLeave) {
  Policies({Named("tokens", QuotaUnit::kTotalTokens, 1'000)});
  const AdmitReply reply = Admit(400, 5'000);
  ASSERT_EQ(Why(reply), "None");
  EXPECT_TRUE(reply.clamped);
  EXPECT_EQ(reply.output_tokens_granted, 600);
  EXPECT_EQ(reply.held, NanoUsd{1'000}) << "the hold is that of what was granted";
  Settle(1, Used(400, 560));
  EXPECT_EQ(Why(Admit(20, 5'000, 30)), "QuotaExceeded") << "20 tokens are less than is useful";
  EXPECT_EQ(Admit(20, 5'000, 20).output_tokens_granted, 20);
}

TEST_F(QuotaTest, LimitOfARequest_ShortensItWhateverIsUseful) {
  Policies({Named("short", QuotaUnit::kOutputTokens, 100, WindowKind::kRequest)});
  const AdmitReply reply = Admit(10, 5'000, 256);
  ASSERT_EQ(Why(reply), "None");
  EXPECT_EQ(reply.output_tokens_granted, 100);
  EXPECT_TRUE(reply.clamped);
  EXPECT_EQ(credit->quotas().size(), 0U) << "nothing is kept of it";
  mode = HoldMode::kAdaptive;
  EXPECT_EQ(Admit(10, 5'000, 256).output_tokens_granted, 100) << "a stream cannot grow beyond it";
}

TEST_F(QuotaTest, FiftyAtOnce_OnALimitWorthFour) {
  Policies({Named("usd", QuotaUnit::kUsd, 1'199)});
  int admitted = 0;
  for (int i = 0; i < 50; ++i) admitted += Admit(100, 200, 200).refusal == Refusal::kNone;
  EXPECT_EQ(admitted, 3) << "a fourth would need 300 and 299 are left, of which 199 are output";
  EXPECT_LE(View("usd").settled + View("usd").held, 1'199);
}

TEST_F(QuotaTest, WindowTurnsUnderAnOpenRequest) {
  Policies({Named("minute", QuotaUnit::kTotalTokens, 1'000, WindowKind::kMinute)});
  ASSERT_EQ(Why(Admit(400, 600)), "None");
  EXPECT_EQ(Why(Admit(10, 10)), "PolicyInFlight");
  now = now + Minutes(1);
  ASSERT_EQ(Why(Admit(300, 600)), "None") << "the open request is of the minute before";
  Settle(1, Used(400, 600));
  EXPECT_EQ(View("minute").settled, 0);
  EXPECT_EQ(View("minute").held, 900);
  Settle(3, Used(1, 1));
  EXPECT_EQ(View("minute").settled, 2);
}

// A clock that is set back must not open a window again that has ended.
TEST_F(QuotaTest, ClockSetBack_StaysInTheWindow) {
  Policies({Named("minute", QuotaUnit::kRequests, 1, WindowKind::kMinute)});
  ASSERT_EQ(Why(Admit(1, 1, 1)), "None");
  Settle(1, Used(1, 1));
  now = now + Minutes(1);
  ASSERT_EQ(Why(Admit(1, 1, 1)), "None");
  Settle(2, Used(1, 1));
  now = kNow;
  EXPECT_EQ(Why(Admit(1, 1, 1)), "QuotaExceeded");
  Restart();
  EXPECT_EQ(Why(Admit(1, 1, 1)), "QuotaExceeded") << "the records say how far time had come";
}

TEST_F(QuotaTest, Split_CountsEachValueApart) {
  Policy each = Named("each", QuotaUnit::kRequests, 1);
  each.per = {Dimension::kTeam};
  Policies({each});
  ASSERT_EQ(Why(Admit(1, 1, 1)), "None");
  team = "data";
  ASSERT_EQ(Why(Admit(1, 1, 1)), "None");
  Settle(1, Used(1, 1));
  Settle(2, Used(1, 1));
  EXPECT_EQ(Why(Admit(1, 1, 1)), "QuotaExceeded");
  EXPECT_EQ(View("each", "team=growth").settled, 1);
  EXPECT_EQ(View("each", "team=data").settled, 1);
}

TEST_F(QuotaTest, Provider_IsHeldForAllAndChargedForTheOneThatServed) {
  Policy each = Named("each", QuotaUnit::kTotalTokens, 10'000);
  each.per = {Dimension::kProvider};
  Policies({each});
  providers = {"azure", "openai"};
  ASSERT_EQ(Why(Admit(100, 100)), "None");
  EXPECT_EQ(View("each", "provider=azure").held, 200);
  EXPECT_EQ(View("each", "provider=openai").held, 200);
  Settle(1, Used(80, 40), true, 1, 0b10);
  EXPECT_EQ(View("each", "provider=azure").settled, 0);
  EXPECT_EQ(View("each", "provider=openai").settled, 120);
}

TEST_F(QuotaTest, ReleasedRequest_CountsItsAttemptsAlone) {
  Policy agents = Named("agents", QuotaUnit::kTotalTokens, 10'000);
  agents.retry = {.attempts = 3, .fallback_attempts = {}, .fallback_spend = NanoUsd{700}};
  Policies({agents});
  action = "a1";
  const AdmitReply reply = Admit(100, 100);
  ASSERT_EQ(Why(reply), "None");
  EXPECT_EQ(reply.recovery.attempts, 3);
  EXPECT_EQ(reply.recovery.fallback_spend, NanoUsd{700});
  Settle(1, {}, false, 2);
  EXPECT_EQ(View("agents").settled, 0);
  EXPECT_EQ(View("agents/attempts", "action=a1").settled, 2);
  EXPECT_EQ(Admit(100, 100).recovery.attempts, 1);
  Settle(2, Used(10, 10), true, 1);
  EXPECT_EQ(Why(Admit(100, 100)), "AttemptsExhausted");
  EXPECT_EQ(View("agents/fallback_spend", "action=a1").settled, 0) << "no fallback was charged";
  action = "a2";
  EXPECT_EQ(Why(Admit(100, 100)), "None");
  Settle(4, Used(10, 10), true, 2);
  EXPECT_EQ(View("agents/fallback_spend", "action=a2").settled, 20) << "a fallback served it";
}

TEST_F(QuotaTest, Alerts_AreInTheCommitOfTheSettlement_Once) {
  Policy usd = Named("usd", QuotaUnit::kUsd, 1'000);
  usd.alert_percent = {50, 90};
  Policies({usd});
  Admit(100, 100);
  Settle(1, Used(100, 100));
  EXPECT_TRUE(credit->TakeAlerts().empty());
  Admit(100, 300);
  const std::size_t before = journal.size();
  Settle(2, Used(100, 300));
  ASSERT_EQ(journal.size(), before + 2);
  ASSERT_TRUE(std::holds_alternative<ledger::SettleRecord>(journal[before]));
  ASSERT_TRUE(std::holds_alternative<ledger::AlertRecord>(journal[before + 1]));
  const auto alerts = credit->TakeAlerts();
  ASSERT_EQ(alerts.size(), 1U);
  EXPECT_EQ(alerts[0].policy, "usd");
  EXPECT_EQ(alerts[0].percent, 50);
  EXPECT_EQ(alerts[0].settled, 600);
  EXPECT_EQ(alerts[0].limit, 1'000);
  Restart();
  EXPECT_EQ(credit->TakeAlerts().size(), 1U) << "whoever had not taken it gets it again";
  Admit(10, 10);
  Settle(3, Used(10, 10));
  EXPECT_TRUE(credit->TakeAlerts().empty()) << "told once for each window, also across a restart";
}

TEST_F(QuotaTest, Raise_AllowsMoreForItsTime) {
  const Policy usd = Named("usd", QuotaUnit::kUsd, 0, WindowKind::kMonth);
  Policy gate = usd;
  gate.action = config::PolicyAction::kApproval;
  Policies({gate});
  EXPECT_EQ(Why(Admit(100, 100)), "ApprovalRequired");
  Policies(
      {gate},
      {{.approval = "a", .policy = "usd", .amount = 500, .from = kNow, .to = kNow + Minutes(5)}});
  ASSERT_EQ(Why(Admit(100, 100)), "None");
  Settle(2, Used(100, 100));
  now = now + Minutes(5);
  EXPECT_EQ(Why(Admit(100, 100)), "ApprovalRequired") << "what was not used is rolled back";
  EXPECT_EQ(View("usd").settled, 200);
}

TEST_F(QuotaTest, Shadow_DecidesAndDoesNotAct) {
  Policy shadow = Named("shadow", QuotaUnit::kRequests, 1);
  shadow.shadow = true;
  Policies({Named("real", QuotaUnit::kRequests, 10), shadow});
  EXPECT_EQ(Admit(1, 1, 1).shadow_refusals, 0U);
  const AdmitReply reply = Admit(1, 1, 1);
  EXPECT_EQ(Why(reply), "None");
  EXPECT_EQ(reply.shadow_refusals, 0b10U);
}

TEST_F(QuotaTest, Extension_NeedsRoomOfEveryPolicy) {
  Policies({Named("tokens", QuotaUnit::kTotalTokens, 3'000)});
  mode = HoldMode::kAdaptive;
  const AdmitReply reply = Admit(100, 100'000);
  ASSERT_EQ(Why(reply), "None");
  EXPECT_EQ(reply.output_tokens_held, 1'024);
  ExtendReply more = credit->Extend({Request(1), 1'024}, now, records);
  Keep();
  EXPECT_TRUE(more.granted);
  EXPECT_EQ(View("tokens").held, 100 + 2'048);
  more = credit->Extend({Request(1), 1'024}, now, records);
  Keep();
  EXPECT_FALSE(more.granted);
  EXPECT_TRUE(more.by_policy);
  EXPECT_EQ(View("tokens").held, 2'148);
  Settle(1, Used(90, 2'000));
  EXPECT_EQ(View("tokens").settled, 2'090);
  EXPECT_EQ(View("tokens").held, 0);
}

// Each part of a stream belongs to the window in which it was held.
TEST_F(QuotaTest, ExtensionInALaterWindow_IsOfThatWindow) {
  Policies({Named("minute", QuotaUnit::kTotalTokens, 3'000, WindowKind::kMinute)});
  mode = HoldMode::kAdaptive;
  ASSERT_EQ(Admit(100, 100'000).output_tokens_held, 1'024);
  now = now + Minutes(1);
  ASSERT_TRUE(credit->Extend({Request(1), 2'000}, now, records).granted);
  Keep();
  EXPECT_EQ(View("minute").held, 2'000);
  Settle(1, Used(90, 1'500));
  EXPECT_EQ(View("minute").settled, 1'590 - 1'124) << "the first part was the minute's before";
  Restart();
  EXPECT_EQ(View("minute").settled, 466);
}

// Its window ended while it grew, so it holds of one counter twice.
TEST_F(QuotaTest, AThreshold_IsToldOnce_AlsoToWhoHasTwoLinesOfTheCounter) {
  Policy minute = Named("minute", QuotaUnit::kTotalTokens, 3'000, WindowKind::kMinute);
  minute.alert_percent = {50};
  Policies({minute});
  mode = HoldMode::kAdaptive;
  ASSERT_EQ(Why(Admit(100, 100'000)), "None");
  now = now + Minutes(1);
  ASSERT_TRUE(credit->Extend({Request(1), 2'000}, now, records).granted);
  Keep();
  Settle(1, Used(100, 2'700));
  EXPECT_EQ(View("minute").settled, 2'800 - 1'124);
  EXPECT_EQ(credit->TakeAlerts().size(), 1U);
}

// Window time is the latest that the machine has seen, by whatever showed it.
TEST_F(QuotaTest, ATimeThatAnyCommandShowed_IsNotForgotten) {
  const auto later = [&](const std::string& by) {
    credit = std::make_unique<CreditControl>();
    journal.clear();
    asked.clear();
    next_request = 1;
    now = kNow;
    mode = HoldMode::kAdaptive;
    Policies({Named("minute", QuotaUnit::kOutputTokens, 5'000, WindowKind::kMinute)});
    EXPECT_EQ(Why(Admit(10, 50'000)), "None");
    EXPECT_EQ(Why(Admit(10, 50'000)), "None");
    now = now + Minutes(1);
    if (by == "extension") {
      EXPECT_TRUE(credit->Extend({Request(1), 10}, now, records).granted);
    } else if (by == "checkpoint") {
      credit->Checkpoint({Request(1), {.output_tokens = 1, .source = UsageSource::kCheckpoint}},
                         now, records);
    } else if (by == "settlement") {
      Settle(1, Used(1, 1));
    } else if (by == "grant" || by == "revocation" || by == "sweep") {
      const ledger::GrantRecord grant{
          .grant = {{7, 7}}, .wallet = {{8, 8}}, .amount = {9}, .effective_at = kNow};
      credit->Give(grant, by == "grant" ? now : kNow, records);
      if (by == "revocation") credit->Revoke(grant.grant, now, records);
      if (by == "sweep") credit->Sweep(now, records);
    }
    Keep();
    now = kNow;
    EXPECT_EQ(Why(Admit(10, 20)), "None") << by;
    return View("minute").window.starts_at > kNow;
  };
  EXPECT_FALSE(later("nothing"));
  for (const char* by : {"extension", "checkpoint", "settlement", "grant", "revocation", "sweep"}) {
    EXPECT_TRUE(later(by)) << by;
  }
}

// What was refused left no record of the time; what was extended then did.
TEST_F(QuotaTest, ATimeThatAnExtensionWasHeldAt_IsKnownAfterACrash) {
  Policy sliding = Named("sliding", QuotaUnit::kTotalTokens, 5'000, WindowKind::kHour);
  sliding.window.sliding = true;
  Policies({sliding});
  mode = HoldMode::kAdaptive;
  ASSERT_EQ(Why(Admit(10, 50'000)), "None");
  now = kNow + Seconds(7'200);
  ASSERT_EQ(Why(Admit(6'000, 10)), "RequestExceedsLimit");
  now = kNow;
  ASSERT_TRUE(credit->Extend({Request(1), 10}, now, records).granted);
  Keep();
  Restart();
  ASSERT_EQ(Why(Admit(10, 20)), "None");
  const auto& intent = std::get<ledger::IntentRecord>(journal.back());
  EXPECT_EQ(intent.quotas->behind, Seconds(7'200));
}

TEST_F(QuotaTest, Crash_LeavesWhatTheRecordsSay) {
  Policies({Named("tokens", QuotaUnit::kTotalTokens, 10'000),
            Named("slots", QuotaUnit::kConcurrent, 2, WindowKind::kLifetime)});
  Admit(100, 1'000);
  Admit(200, 1'000);
  credit->Checkpoint(
      {Request(2), {.input_tokens = 150, .output_tokens = 70, .source = UsageSource::kCheckpoint}},
      now, records);
  Keep();
  EXPECT_EQ(Why(Admit(1, 1, 1)), "PolicyConcurrency");
  Restart();
  EXPECT_EQ(View("tokens").held, 0);
  EXPECT_EQ(View("tokens").settled, 220) << "the first had delivered nothing";
  EXPECT_EQ(Why(Admit(1, 1, 1)), "None") << "no slot is lost";
}

TEST_F(QuotaTest, JournalOfOthers_IsRefused) {
  Policies({Named("tokens", QuotaUnit::kTotalTokens, 1'000)});
  Admit(100, 100);
  Settle(1, Used(50, 50));
  const auto first_bad = [&](auto&& change) {
    std::vector<ledger::Record> changed = journal;
    change(changed);
    CreditControl machine;
    for (const ledger::Record& record : changed) {
      if (machine.Replay(record)) return true;
    }
    return false;
  };
  EXPECT_FALSE(first_bad([](auto&) {}));
  EXPECT_TRUE(first_bad([](auto& all) {
    for (auto& record : all) {
      if (auto* intent = std::get_if<ledger::IntentRecord>(&record))
        intent->quotas->lines[0].amount.n = 1'001;
    }
  })) << "more than its limit";
  EXPECT_TRUE(first_bad([](auto& all) {
    for (auto& record : all) {
      if (auto* settle = std::get_if<ledger::SettleRecord>(&record)) settle->quotas[0].n = 201;
    }
  })) << "more than was held";
  EXPECT_TRUE(first_bad([](auto& all) {
    for (auto& record : all) {
      if (auto* settle = std::get_if<ledger::SettleRecord>(&record)) settle->quotas.push_back({});
    }
  })) << "a line that it does not have";
  EXPECT_TRUE(first_bad([](auto& all) {
    std::erase_if(all,
                  [](const auto& r) { return std::holds_alternative<ledger::CounterRecord>(r); });
  }));
  EXPECT_TRUE(first_bad([](auto& all) {
    std::erase_if(all,
                  [](const auto& r) { return std::holds_alternative<ledger::WindowRecord>(r); });
  }));
}

// Random traffic with policies of every kind, crashes and clocks that jump: books of the test's own
// say after every step that no hard limit is passed and that what is left is what was not used.
TEST_F(QuotaTest, RandomRuns_NeverPassALimit_AndSurviveCrashes) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SeededRandom random{seed};
    const auto draw = [&](std::uint64_t n) { return static_cast<std::int64_t>(random.Next() % n); };
    credit = std::make_unique<CreditControl>();
    journal.clear();
    asked.clear();
    next_request = 1;
    now = high = kNow;
    std::vector<Policy> policies;
    const std::vector<QuotaUnit> units = {QuotaUnit::kRequests,   QuotaUnit::kTotalTokens,
                                          QuotaUnit::kUsd,        QuotaUnit::kOutputTokens,
                                          QuotaUnit::kConcurrent, QuotaUnit::kInputTokens};
    for (int i = 0; i < 5; ++i) {
      const QuotaUnit unit = units[static_cast<std::size_t>(draw(units.size()))];
      const bool counted = unit == QuotaUnit::kRequests || unit == QuotaUnit::kConcurrent;
      Policy policy = Named("p" + std::to_string(i), unit, 1 + draw(counted ? 6 : 4'000),
                            static_cast<WindowKind>(draw(3)));
      if (unit == QuotaUnit::kConcurrent) policy.window.kind = WindowKind::kLifetime;
      policy.window.sliding = policy.window.kind <= WindowKind::kMonth && draw(3) == 0;
      if (draw(2) == 0) policy.per = {Dimension::kTeam};
      policy.alert_percent = {50, 100};
      policies.push_back(policy);
    }
    Policies(policies);
    for (int step = 0; step < 300; ++step) {
      now = now + Duration{draw(Seconds(40).ns)};
      high = std::max(high, now);
      if (draw(60) == 0) now = {now.ns - draw(Seconds(7'000).ns)};
      team = draw(2) == 0 ? "growth" : "data";
      mode = draw(3) == 0 ? HoldMode::kAdaptive : HoldMode::kStrict;
      switch (draw(6)) {
        case 0:
        case 1:
        case 2:
          Admit(draw(300), 1 + draw(3'000), 1 + draw(20));
          break;
        case 3:
        case 4:
          if (!asked.empty()) {
            auto at = asked.begin();
            std::advance(at, draw(asked.size()));
            Settle(at->first, draw(5) == 0 ? Usage{} : Used(draw(400), draw(4'000)), draw(4) != 0);
          }
          break;
        default:
          if (draw(8) == 0) {
            Restart();
          } else if (!asked.empty()) {
            credit->Extend({Request(asked.begin()->first), draw(2'000)}, now, records);
            Keep();
          }
          break;
      }
      for (std::uint32_t n = 0; n < credit->quotas().numbers(); ++n) {
        const auto view = credit->ViewQuota(n);
        if (!view) continue;
        ASSERT_LE(view->settled + view->held, view->limit)
            << "seed " << seed << " step " << step << " " << view->policy << " " << view->values;
        ASSERT_GE(view->held, 0);
      }
    }
    // Quiet: nothing is held any more, and a start from the records agrees with what was seen.
    while (!asked.empty()) Settle(asked.begin()->first, Used(1, 1));
    std::map<std::string, std::pair<std::int64_t, std::int64_t>> seen;
    const auto look = [&] {
      credit->Peek(Key(1), {}, high);  // a start knows the time of the last record only
      std::map<std::string, std::pair<std::int64_t, std::int64_t>> all;
      for (std::uint32_t n = 0; n < credit->quotas().numbers(); ++n) {
        const auto view = credit->ViewQuota(n);
        if (!view || view->window.ends_at <= high) continue;
        EXPECT_EQ(view->held, 0);
        all[std::string(view->policy) + " " + std::string(view->values)] = {view->settled,
                                                                            view->limit};
      }
      return all;
    };
    seen = look();
    Restart();
    EXPECT_EQ(look(), seen) << "seed " << seed;
  }
}

}  // namespace
}  // namespace weir::gateway
