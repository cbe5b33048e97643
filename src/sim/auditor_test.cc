// What no canary can break from outside: the rules about bytes and their order, each on its own.
#include "sim/auditor.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace weir::sim {
namespace {

class AuditorTest : public testing::Test {
 protected:
  static constexpr KeyId kKey{{0, 1}};
  static constexpr RequestId kOne{{1, 1}};

  // An admitted request of 100 bytes and 10 tokens, whose records are not on the disk.
  CallTruth& Admit() {
    CallTruth& call = auditor_.OnCall(kOne, kKey, {});
    gateway::AdmitCommand command{.request = kOne, .key = kKey};
    command.limits.requests_per_minute = 0;
    command.quote.price.output = {1'000'000};
    command.quote.input_tokens_bound = 100;
    command.quote.output_tokens_bound = 10;
    const auto reply = machine_.Admit(command, executor_.WallNow(), records_);
    auditor_.OnAdmit(command, reply, records_.bytes, machine_);
    call.status = 200;
    return call;
  }
  void Settle(std::int64_t output_tokens) {
    const std::size_t from = records_.bytes.size();
    machine_.Settle({.request = kOne,
                     .usage = {.output_tokens = output_tokens, .source = UsageSource::kProvider}},
                    executor_.WallNow(), records_);
    auditor_.OnCommand(std::span(records_.bytes).subspan(from), machine_);
  }
  void Write() {
    ASSERT_EQ(disk_.Append({.first_position = disk_.last_position() + 1,
                            .count = records_.count,
                            .records = records_.bytes}),
              store::AppendOutcome::kDurable);
    records_.Clear();
  }
  std::string Rule() const { return auditor_.violation() ? auditor_.violation()->rule : ""; }

  Executor executor_{1};
  Disk disk_{config::Durability::kPower, 1};
  Auditor auditor_{executor_, disk_};
  gateway::CreditControl machine_;
  ledger::RecordBuffer records_;
};

TEST_F(AuditorTest, AReplyInItsOrder_IsFine) {
  CallTruth& call = Admit();
  Write();
  auditor_.OnHandOver(call, "~0~ ####", false);
  Settle(1);
  Write();
  auditor_.OnHandOver(call, "~0~", true);
  EXPECT_EQ(Rule(), "");
  EXPECT_EQ(call.text_bytes, 4);
  auditor_.OnQuiet(machine_);
  EXPECT_EQ(Rule(), "");
}

TEST_F(AuditorTest, AByteBeforeTheIntentIsOnDisk_IsI8) {
  auditor_.OnHandOver(Admit(), "#", false);
  EXPECT_EQ(Rule(), "I8");
}

TEST_F(AuditorTest, AnErrorBeforeTheIntentIsOnDisk_IsFine) {
  CallTruth& call = Admit();
  call.status = 503;
  auditor_.OnHandOver(call, "{}", true);
  EXPECT_EQ(Rule(), "");
}

TEST_F(AuditorTest, AnEndBeforeTheSettlementIsOnDisk_IsI6) {
  CallTruth& call = Admit();
  Write();
  Settle(1);
  auditor_.OnHandOver(call, "", true);
  EXPECT_EQ(Rule(), "I6");
}

TEST_F(AuditorTest, BytesOfTwoAttempts_AreI7) {
  CallTruth& call = Admit();
  Write();
  auditor_.OnHandOver(call, "data ~0~", false);
  auditor_.OnHandOver(call, "data ~0~ ~1~", false);
  EXPECT_EQ(Rule(), "I7");
}

TEST_F(AuditorTest, AnotherChargeThanTold_IsFound) {
  CallTruth& call = Admit();
  Settle(1);
  Write();
  call.told_charge = NanoUsd{999};
  auditor_.OnHandOver(call, "", true);
  EXPECT_EQ(Rule(), "told");
}

TEST_F(AuditorTest, AnExchangeThatEndsWithItsHold_IsI20) {
  CallTruth& call = Admit();
  const gateway::Exchange x;
  auditor_.OnFinished(call, x);
  EXPECT_EQ(Rule(), "I20");
}

TEST_F(AuditorTest, AChargeForAnError_IsFound) {
  CallTruth& call = Admit();
  Settle(1);
  gateway::Exchange x;
  x.ending = EndingKind::kUpstreamFailed;
  auditor_.OnFinished(call, x);
  EXPECT_EQ(Rule(), "unserved");
}

TEST_F(AuditorTest, OverrunOfUpstreamsThatKeepToTheirBounds_IsI26) {
  CallTruth& call = Admit();
  call.got_reply = true;
  Settle(11);
  auditor_.OnFinished(call, {});
  EXPECT_EQ(Rule(), "I26");
}

TEST_F(AuditorTest, OverrunOfOneThatLies_IsFine) {
  CallTruth& call = Admit();
  call.got_reply = true;
  auditor_.OnAttempt(call);
  call.attempts.back().told_lies = true;
  Settle(11);
  auditor_.OnFinished(call, {});
  EXPECT_EQ(Rule(), "");
}

TEST_F(AuditorTest, AHoldWhenAllIsQuiet_IsI20) {
  Admit();
  auditor_.OnQuiet(machine_);
  EXPECT_EQ(Rule(), "I20");
}

TEST_F(AuditorTest, ADurableRecordThatIsGone_IsAPromiseBroken_UnlessAPowerCutMayTakeIt) {
  Admit();
  auditor_.OnDurable(1);
  auditor_.OnRestart(true, 1, false);
  EXPECT_EQ(Rule(), "");
  auditor_.OnDurable(1);
  auditor_.OnRestart(false, 0, false);
  EXPECT_EQ(Rule(), "promise");
}

TEST_F(AuditorTest, AMachineThatForgotARequest_IsI2) {
  Admit();
  auditor_.OnCommand({}, gateway::CreditControl());
  EXPECT_EQ(Rule(), "I2");
}

TEST_F(AuditorTest, ARefusalWithARecord_IsFound) {
  Admit();
  gateway::AdmitReply refused;
  refused.refusal = Refusal::kBudgetExceeded;
  auditor_.OnAdmit({.request = RequestId{{1, 2}}, .key = kKey}, refused, records_.bytes, machine_);
  EXPECT_EQ(Rule(), "refusal");
}

// ---- policies -----------------------------------------------------------------------------------

class PolicyAuditTest : public AuditorTest {
 protected:
  void SetUp() override {
    config::Policy tokens;
    tokens.id = "tokens";
    tokens.unit = config::QuotaUnit::kTotalTokens;
    tokens.limit = 1'000;
    tokens.window.kind = config::WindowKind::kDay;
    tokens.per = {config::Dimension::kTeam};
    tokens.alert_percent = {5};
    tokens.forecast = false;
    config::Policy requests = tokens;
    requests.id = "requests";
    requests.unit = config::QuotaUnit::kRequests;
    requests.limit = 2;
    requests.per = {};
    requests.alert_percent.clear();
    requests.retry.attempts = 10;  // two requests of one action hold five each
    config_.policies = {tokens, requests};
    config_.models.emplace_back().id = "m0";
    facts_[config::Dimension::kTeam] = "t0";
    facts_[config::Dimension::kModel] = "m0";
    facts_.action = "a0";
    facts_.action_scope = "k0";
  }
  // `left_out`: of the policies it meets, the machine is not told of so many.
  CallTruth& AdmitWithPolicies(std::uint64_t n, std::size_t left_out = 0) {
    CallTruth& call = auditor_.OnCall(RequestId{{1, n}}, kKey, {});
    call.config = std::make_shared<const config::Config>(config_);
    call.asked_at = executor_.WallNow();
    call.asker = {.key = "k0",
                  .workspace = "",
                  .team = "t0",
                  .user = "",
                  .action = "a0",
                  .model = "m0",
                  .endpoint = "responses"};
    auto& set = sets_.emplace_back(std::make_unique<policy::PolicySet>(
        told_.policies.empty() ? config_.policies : told_.policies, config_.raises));
    auto& uses = uses_.emplace_back(std::make_unique<std::vector<policy::QuotaUse>>());
    EXPECT_TRUE(set->Match(facts_, executor_.WallNow(), *uses));
    gateway::AdmitCommand command{.request = call.id, .key = kKey};
    command.limits.requests_per_minute = 0;
    command.quote.price.output = {1'000'000};
    command.quote.input_tokens_bound = 100;
    command.quote.output_tokens_bound = 10;
    command.quotas = std::span(*uses).first(uses->size() - left_out);
    command.facts = &facts_;
    command.attempts_max = 5;
    const std::size_t from = records_.bytes.size();
    const auto reply = machine_.Admit(command, executor_.WallNow(), records_);
    auditor_.OnAdmit(command, reply, std::span(records_.bytes).subspan(from), machine_);
    call.status = 200;
    return call;
  }
  void SettleOne(const CallTruth& call, bool with_alerts = true) {
    ledger::RecordBuffer records;
    machine_.Settle(
        {.request = call.id,
         .usage = {.input_tokens = 100, .output_tokens = 10, .source = UsageSource::kProvider},
         .attempts = 1},
        executor_.WallNow(), records);
    std::span<const std::uint8_t> bytes = records.bytes;
    if (!with_alerts) {
      ASSERT_TRUE(ledger::Decode(bytes).has_value());
      bytes =
          std::span<const std::uint8_t>(records.bytes).first(records.bytes.size() - bytes.size());
    }
    auditor_.OnCommand(bytes, machine_);
  }

  config::Config config_;
  config::Config told_;  // what the machine is told instead; none: the same
  policy::Facts facts_;
  std::vector<std::unique_ptr<policy::PolicySet>> sets_;
  std::vector<std::unique_ptr<std::vector<policy::QuotaUse>>> uses_;
};

TEST_F(PolicyAuditTest, ARequestThatIsHeldOnAllItMeets_IsFine) {
  CallTruth& call = AdmitWithPolicies(1);
  EXPECT_EQ(Rule(), "");
  SettleOne(call);
  auditor_.OnAlerts(machine_.TakeAlerts());
  EXPECT_EQ(auditor_.counts().alerts, 1U);
  EXPECT_EQ(auditor_.counts().counters, 3U);
  auditor_.OnQuiet(machine_);
  EXPECT_EQ(Rule(), "");
}

TEST_F(PolicyAuditTest, APolicyThatIsNotHeld_IsFound) {
  AdmitWithPolicies(1, 1);
  EXPECT_EQ(Rule(), "policy");
}

TEST_F(PolicyAuditTest, ALimitOfSomebodyElse_IsFound) {
  told_ = config_;
  told_.policies[0].limit = 1'001;
  AdmitWithPolicies(1);
  EXPECT_EQ(Rule(), "policy");
}

TEST_F(PolicyAuditTest, ACounterOfSomebodyElse_IsFound) {
  AdmitWithPolicies(1);
  facts_[config::Dimension::kTeam] = "t1";
  AdmitWithPolicies(2);
  EXPECT_EQ(Rule(), "policy");
}

TEST_F(PolicyAuditTest, ACrossingThatNobodyIsToldOf_IsI18) {
  SettleOne(AdmitWithPolicies(1), false);
  EXPECT_EQ(Rule(), "I18");
}

TEST_F(PolicyAuditTest, AnAlertThatIsNotPassedOn_IsI18) {
  SettleOne(AdmitWithPolicies(1));
  auditor_.OnAlerts({});
  EXPECT_EQ(Rule(), "I18");
}

TEST_F(PolicyAuditTest, AnAlertThatIsPassedOnTwice_IsI18) {
  SettleOne(AdmitWithPolicies(1));
  const auto alerts = machine_.TakeAlerts();
  auditor_.OnAlerts(alerts);
  EXPECT_EQ(Rule(), "");
  auditor_.OnAlerts(alerts);
  EXPECT_EQ(Rule(), "I18");
}

TEST_F(PolicyAuditTest, MoreAttemptsThanAreHeld_AreI26) {
  CallTruth& call = AdmitWithPolicies(1);
  call.got_reply = true;
  for (int i = 0; i < 6; ++i) auditor_.OnAttempt(call);
  SettleOne(call);
  auditor_.OnFinished(call, {});
  EXPECT_EQ(Rule(), "I26");
}

TEST_F(PolicyAuditTest, ARefusalByAPolicyThatHasRoom_IsFound) {
  AdmitWithPolicies(1);
  const CallTruth& second = AdmitWithPolicies(2);
  const auto refuse = [&](std::uint64_t n) {
    CallTruth& call = auditor_.OnCall(RequestId{{1, n}}, kKey, {});
    call.config = second.config;
    call.asked_at = second.asked_at;
    call.asker = second.asker;
    gateway::AdmitCommand command{.request = call.id, .key = kKey};
    command.quotas = *uses_.back();
    command.facts = &facts_;
    gateway::AdmitReply refused;
    refused.refusal = Refusal::kPolicyInFlight;
    refused.quota = 1;  // "requests"
    auditor_.OnAdmit(command, refused, {}, machine_);
  };
  refuse(8);
  EXPECT_EQ(Rule(), "") << "both are taken";
  ledger::RecordBuffer records;
  machine_.Settle({.request = second.id, .usage = {}}, executor_.WallNow(), records);
  auditor_.OnCommand(records.bytes, machine_);
  EXPECT_EQ(Rule(), "");
  refuse(9);
  EXPECT_EQ(Rule(), "refusal");
}

TEST_F(PolicyAuditTest, AMachineThatForgotACounter_IsI2) {
  AdmitWithPolicies(1);
  SettleOne(AdmitWithPolicies(2));
  EXPECT_EQ(Rule(), "");
  auditor_.OnCommand({}, gateway::CreditControl());
  EXPECT_EQ(Rule(), "I2");
}

TEST_F(AuditorTest, WhatAStartCharges_WasDelivered) {
  CallTruth& call = Admit();
  call.text_bytes = 16;
  for (const std::int64_t tokens : {4, 5}) {
    const std::size_t from = records_.bytes.size();
    machine_.Checkpoint(
        {.request = kOne, .usage = {.output_tokens = tokens, .source = UsageSource::kCheckpoint}},
        executor_.WallNow(), records_);
    auditor_.OnCommand(std::span(records_.bytes).subspan(from), machine_);
    if (tokens == 4) continue;
    ledger::RecordBuffer resolutions;
    machine_.ResolveOpen(executor_.WallNow(), resolutions);
    auditor_.OnResolved(resolutions.bytes, machine_);
  }
  EXPECT_EQ(Rule(), "delivered");
}

}  // namespace
}  // namespace weir::sim
