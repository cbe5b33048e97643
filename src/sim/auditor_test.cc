// What no canary can break from outside: the rules about bytes and their order, each on its own.
#include "sim/auditor.h"

#include <gtest/gtest.h>

#include <string>

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
