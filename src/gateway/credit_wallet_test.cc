// The credit machine with wallets, idempotency keys and extensions: what is held of which grant,
// what burns first, what a crash leaves. An auditor with books of its own follows random runs.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "base/random.h"
#include "gateway/credit_control.h"

namespace weir::gateway {
namespace {

using ledger::Amount;
using ledger::GrantRecord;
using ledger::Unit;

constexpr Instant kNow{1'700'000'000'000'000'000};
constexpr WalletId kWallet{{5, 5}};

RequestId Request(std::uint64_t n) { return {{0x0192'0000'0000'0000 + n, n * 7919}}; }
KeyId Key(std::uint64_t n) { return {{0x0191'0000'0000'0000 + n, n * 104'729}}; }
GrantId Grant(std::uint64_t n) { return {{0x0193'0000'0000'0000 + n, n}}; }
Usage Used(std::int64_t input, std::int64_t output, UsageSource source = UsageSource::kProvider) {
  return {.input_tokens = input, .output_tokens = output, .source = source};
}
config::KeyLimits NoLimits() {
  return {.requests_per_minute = 0, .tokens_per_minute = 0, .concurrent_requests = 0, .budget = {}};
}
config::Price PriceOfATokenEach(std::int64_t nano) {
  config::Price price;
  price.input = price.cached_input = price.cache_write = price.output = {nano * 1000};
  return price;
}

std::vector<ledger::Record> Records(const ledger::RecordBuffer& buffer) {
  std::vector<ledger::Record> all;
  std::span<const std::uint8_t> bytes = buffer.bytes;
  while (!bytes.empty()) {
    auto record = ledger::Decode(bytes);
    if (!record) {
      ADD_FAILURE() << Name(record.error());
      break;
    }
    all.push_back(std::move(*record));
  }
  return all;
}

struct WalletTest : testing::Test {
  CreditControl credit;
  ledger::RecordBuffer records;
  std::uint64_t next_request = 1;
  Instant now = kNow;

  GrantReply Give(std::uint64_t id, std::int64_t amount, std::int32_t priority = 0,
                  Instant expires = ledger::kNoExpiry, WalletId wallet = kWallet) {
    return credit.Give({.grant = Grant(id),
                        .wallet = wallet,
                        .unit = Unit::kQuotaToken,
                        .amount = {amount},
                        .priority = priority,
                        .effective_at = kNow,
                        .expires_at = expires},
                       now, records);
  }
  AdmitCommand Command(std::int64_t input, std::int64_t output, std::int64_t ppm = 3'000'000) {
    return {.request = Request(next_request++),
            .key = Key(1),
            .limits = NoLimits(),
            .quote = {.price = PriceOfATokenEach(1),
                      .input_tokens_bound = input,
                      .output_tokens_bound = output,
                      .output_tokens_useful = 10},
            .wallet = WalletUse{kWallet, {Unit::kQuotaToken, ppm}, {}}};
  }
  AdmitReply Admit(const AdmitCommand& command) {
    AdmitReply reply = credit.Admit(command, now, records);
    EXPECT_EQ(credit.book().CheckInvariants(), std::nullopt);
    return reply;
  }
  AdmitReply Admit(std::int64_t input, std::int64_t output, std::int64_t ppm = 3'000'000) {
    return Admit(Command(input, output, ppm));
  }
  SettleReply Settle(std::uint64_t request, const Usage& usage, bool charge = true) {
    const SettleReply reply = credit.Settle({Request(request), usage, charge}, now, records);
    EXPECT_EQ(credit.book().CheckInvariants(), std::nullopt);
    return reply;
  }
  WalletView View() const { return credit.ViewWallet(kWallet, now).value_or(WalletView{}); }
  std::string_view Why(const AdmitReply& reply) const { return TextOf(reply.refusal).name; }
  Amount Remaining(std::uint64_t grant) const {
    for (const GrantView& view : View().grants) {
      if (view.id == Grant(grant)) return view.remaining;
    }
    return {-1};
  }
};

TEST_F(WalletTest, Charge_IsAllTokensTimesTheMultiplier) {
  ASSERT_EQ(Give(1, 100'000).status, GrantStatus::kCreated);
  const AdmitReply reply = Admit(2'000, 4'000);
  ASSERT_EQ(Why(reply), "None");
  EXPECT_EQ(reply.wallet_held, Amount{18'000});
  EXPECT_EQ(reply.wallet_remaining, Amount{82'000});
  const SettleReply settled = Settle(1, Used(1'800, 3'400));
  EXPECT_EQ(settled.wallet_charged, Amount{15'600});
  EXPECT_EQ(settled.wallet_overrun, Amount{0});
  EXPECT_EQ(settled.wallet_remaining, Amount{84'400});
  EXPECT_EQ(settled.charged, NanoUsd{5'200}) << "the key's own account counts dollars beside it";
  EXPECT_EQ(View().spent, Amount{15'600});
}

TEST_F(WalletTest, UsageAboveTheHold_IsTheOperators) {
  Give(1, 100);
  ASSERT_EQ(Admit(10, 10, 1'000'000).wallet_held, Amount{20});
  const SettleReply settled = Settle(1, Used(10, 90));
  EXPECT_EQ(settled.wallet_charged, Amount{20});
  EXPECT_EQ(settled.wallet_overrun, Amount{80});
  EXPECT_EQ(View().available, Amount{80});
}

// A wallet of dollars and the key's account are two views of one call, not two calls.
TEST_F(WalletTest, Totals_OfADollarWallet_CountEachCallOnce) {
  credit.Give({.grant = Grant(1),
               .wallet = kWallet,
               .unit = Unit::kNanoUsd,
               .amount = {1'000},
               .effective_at = kNow},
              now, records);
  AdmitCommand command = Command(10, 10, 2'000'000);
  command.wallet->rate.unit = Unit::kNanoUsd;
  ASSERT_EQ(Admit(command).wallet_held, Amount{40});
  ASSERT_EQ(
      Why(credit.Admit(
          {.request = Request(9), .key = Key(2), .limits = NoLimits(), .quote = command.quote}, now,
          records)),
      "None");
  EXPECT_EQ(credit.Totals().held, NanoUsd{20 + 20});
  EXPECT_EQ(credit.requests_open(), 2U);

  const SettleReply settled = Settle(1, Used(10, 15));  // five above the hold
  EXPECT_EQ(settled.charged, NanoUsd{20});
  EXPECT_EQ(settled.overrun, NanoUsd{5});
  EXPECT_EQ(settled.wallet_charged, Amount{40});
  EXPECT_EQ(settled.wallet_overrun, Amount{10});
  EXPECT_EQ(credit.Totals().held, NanoUsd{20});
  EXPECT_EQ(credit.Totals().charged, NanoUsd{20});
  EXPECT_EQ(credit.Totals().overrun, NanoUsd{5});
  Settle(9, Used(1, 2));
  EXPECT_EQ(credit.Totals().charged, NanoUsd{20 + 3});

  CreditControl again;
  for (const auto& record : Records(records)) ASSERT_EQ(again.Replay(record), std::nullopt);
  EXPECT_EQ(again.Totals().charged, NanoUsd{23});
  EXPECT_EQ(again.Totals().overrun, NanoUsd{5});
  EXPECT_EQ(again.Totals().held, NanoUsd{0});
  EXPECT_EQ(View().spent, Amount{40}) << "what the wallet paid is the wallet's figure";
}

TEST_F(WalletTest, Grants_BurnByPriorityThenExpiryThenAge_AndAreReleasedInReverse) {
  Give(1, 100, /*priority=*/5);
  Give(2, 100, 0, kNow + Seconds(200));
  Give(3, 100, 0, kNow + Seconds(100));
  Give(4, 100, 0, kNow + Seconds(200));
  const auto order = [&] {
    std::string text;
    for (const GrantView& grant : View().grants) text += std::to_string(grant.id.low);
    return text;
  };
  EXPECT_EQ(order(), "3241");
  ASSERT_EQ(Admit(50, 200, 1'000'000).wallet_held, Amount{250});
  EXPECT_EQ(View().held, Amount{250});
  Settle(1, Used(50, 80));  // 130: all of the third, 30 of the second; the fourth is untouched
  EXPECT_EQ(Remaining(3), Amount{-1}) << "used up";
  EXPECT_EQ(Remaining(2), Amount{70});
  EXPECT_EQ(Remaining(4), Amount{100});
  EXPECT_EQ(Remaining(1), Amount{100});
  EXPECT_EQ(View().held, Amount{0});
}

TEST_F(WalletTest, TooLittle_SaysWhy) {
  EXPECT_EQ(Why(Admit(10, 10)), "InsufficientBalance") << "no wallet yet";
  Give(1, 300);
  EXPECT_EQ(Why(Admit(101, 50)), "InsufficientBalance") << "not even the input";
  const AdmitReply clamped = Admit(50, 500);
  ASSERT_EQ(Why(clamped), "None");
  EXPECT_TRUE(clamped.clamped);
  EXPECT_EQ(clamped.output_tokens_granted, 50);
  EXPECT_EQ(clamped.wallet_held, Amount{300});
  EXPECT_EQ(Why(Admit(10, 10)), "InFlightReserved") << "what is held may come back";
  Settle(3, Used(40, 50));
  EXPECT_EQ(View().available, Amount{30});
  EXPECT_EQ(Why(Admit(10, 10)), "InsufficientBalance");
  EXPECT_EQ(Why(Admit(5, 5)), "None");
}

TEST_F(WalletTest, BudgetOfTheKey_CountsBesideTheWallet) {
  Give(1, 1'000'000);
  AdmitCommand command = Command(50, 100);
  command.limits.budget = NanoUsd{60};
  const AdmitReply clamped = Admit(command);
  ASSERT_EQ(Why(clamped), "None");
  EXPECT_EQ(clamped.output_tokens_granted, 10) << "the budget is the tighter of the two";
  EXPECT_EQ(clamped.wallet_held, Amount{180});
  Settle(1, Used(50, 10));
  command.request = Request(99);
  EXPECT_EQ(Why(Admit(command)), "BudgetExceeded") << "the wallet is not blamed for the budget";
}

TEST_F(WalletTest, RefusedAdmission_LeavesNoTrace) {
  Give(1, 10);
  Give(2, 100, 0, kNow + Seconds(1));
  now = kNow + Seconds(2);
  const auto before = records.bytes;
  EXPECT_EQ(Why(Admit(100, 100)), "InsufficientBalance");
  EXPECT_EQ(records.bytes, before) << "not even the expired grant is ended by it";
}

TEST_F(WalletTest, Expiry_TakesWhatNobodyHolds_AndTheRestWhenItComesBack) {
  Give(1, 100, 0, kNow + Seconds(10));
  ASSERT_EQ(Admit(10, 30, 1'000'000).wallet_held, Amount{40});
  now = kNow + Seconds(10);
  EXPECT_EQ(View().available, Amount{0});
  credit.Sweep(now, records);
  EXPECT_EQ(Remaining(1), Amount{40}) << "the 60 that no request holds are gone";
  // The request still pays with what it holds; what it leaves expires at once.
  EXPECT_EQ(Settle(1, Used(10, 10)).wallet_charged, Amount{20});
  EXPECT_TRUE(View().grants.empty());
  EXPECT_EQ(View().spent, Amount{20});
  EXPECT_EQ(Why(Admit(1, 1, 1'000'000)), "InsufficientBalance");
}

TEST_F(WalletTest, GrantOfTheFuture_IsShownAndNotUsed) {
  credit.Give({.grant = Grant(1),
               .wallet = kWallet,
               .unit = Unit::kQuotaToken,
               .amount = {500},
               .effective_at = kNow + Seconds(60)},
              now, records);
  EXPECT_EQ(View().upcoming, Amount{500});
  EXPECT_EQ(Why(Admit(1, 1)), "InsufficientBalance");
  now = kNow + Seconds(60);
  EXPECT_EQ(Why(Admit(1, 10)), "None");
}

TEST_F(WalletTest, Revoked_GoesBackToTheSource_AndWhatIsHeldWhenItIsReleased) {
  Give(1, 100);
  ASSERT_EQ(Admit(10, 30, 1'000'000).wallet_held, Amount{40});
  const RevokeReply revoked = credit.Revoke(Grant(1), now, records);
  EXPECT_TRUE(revoked.found);
  EXPECT_EQ(revoked.removed, Amount{60});
  EXPECT_EQ(credit.Revoke(Grant(1), now, records).removed, Amount{0}) << "once";
  EXPECT_FALSE(credit.Revoke(Grant(2), now, records).found);
  EXPECT_EQ(Why(Admit(1, 1)), "InsufficientBalance");
  Settle(1, Used(5, 5));
  EXPECT_EQ(View().spent, Amount{10});
  EXPECT_TRUE(View().grants.empty());
}

TEST_F(WalletTest, SameGrantAgain_ChangesNothing_AnotherOfItsIdIsRefused) {
  ASSERT_EQ(Give(1, 100).status, GrantStatus::kCreated);
  const auto before = records.bytes;
  now = now + Seconds(5);
  EXPECT_EQ(Give(1, 100).status, GrantStatus::kExists);
  EXPECT_EQ(Give(1, 101).status, GrantStatus::kConflict);
  EXPECT_EQ(Give(1, 100, 0, ledger::kNoExpiry, {{6, 6}}).status, GrantStatus::kConflict)
      << "a code is redeemed into one wallet";
  GrantRecord dollars{.grant = Grant(2),
                      .wallet = kWallet,
                      .unit = Unit::kNanoUsd,
                      .amount = {1},
                      .effective_at = kNow};
  EXPECT_EQ(credit.Give(dollars, now, records).status, GrantStatus::kConflict)
      << "a wallet counts one unit";
  EXPECT_EQ(records.bytes, before);
  EXPECT_EQ(View().available, Amount{100});
}

TEST_F(WalletTest, LowBalance_IsToldOnceUntilItIsFilled) {
  Give(1, 100);
  const auto spend = [&](std::int64_t tokens) {
    AdmitCommand command = Command(tokens, 0, 1'000'000);
    command.wallet->low = {50};
    const RequestId id = command.request;
    EXPECT_EQ(Why(Admit(command)), "None");
    return credit.Settle({id, Used(tokens, 0), true}, now, records).wallet_low;
  };
  EXPECT_FALSE(spend(50));
  EXPECT_TRUE(spend(1));
  EXPECT_FALSE(spend(1));
  Give(2, 100);
  EXPECT_FALSE(spend(1));
  EXPECT_TRUE(spend(98));
}

TEST_F(WalletTest, ManySmallGrants_AreUsedUpToTheLinesOfAHold) {
  for (std::uint64_t i = 1; i <= 100; ++i) Give(i, 1);
  EXPECT_EQ(View().available, Amount{100});
  const AdmitReply reply = Admit(ledger::kHoldLinesMax, 0, 1'000'000);
  ASSERT_EQ(Why(reply), "None");
  EXPECT_EQ(reply.wallet_remaining, Amount{36});
  Settle(1, Used(ledger::kHoldLinesMax, 0));
  EXPECT_EQ(Why(Admit(37, 0, 1'000'000)), "InsufficientBalance");
  EXPECT_EQ(Why(Admit(36, 0, 1'000'000)), "None");
}

// ---- Idempotency keys ---------------------------------------------------------------------------

TEST_F(WalletTest, IdempotencyKey_LetsOneRequestThrough) {
  AdmitCommand command = Command(1, 1);
  command.wallet.reset();
  command.idempotency = IdempotencyUse{{1, 1}, {2, 2}};
  ASSERT_EQ(Why(Admit(command)), "None");
  AdmitCommand again = command;
  again.request = Request(50);
  EXPECT_EQ(Why(Admit(again)), "IdempotencyKeyInUse");
  again.idempotency->body = {3, 3};
  EXPECT_EQ(Why(Admit(again)), "IdempotencyKeyReused");
  again.idempotency->body = {2, 2};
  Settle(1, Used(1, 1));
  const AdmitReply replay = Admit(again);
  EXPECT_EQ(Why(replay), "None");
  EXPECT_EQ(replay.replay, Request(1));
  EXPECT_EQ(credit.Totals().requests_open, 0U) << "nothing was admitted";
}

// The clock was set two days ahead, somebody asked and was refused, the clock was set back: the key
// is free, and no record says why. A start must not take that for a foreign journal.
TEST_F(WalletTest, KeyForgottenByAClockThatWasSetBack_IsReplayed) {
  AdmitCommand command = Command(1, 1);
  command.wallet.reset();
  command.idempotency = IdempotencyUse{{1, 1}, {2, 2}};
  ASSERT_EQ(Why(Admit(command)), "None");
  Settle(1, Used(1, 1));
  now = kNow + Seconds(2 * 86'400);
  AdmitCommand refused = Command(1, 1);
  refused.idempotency = IdempotencyUse{{1, 9}, {2, 2}};
  EXPECT_EQ(Why(Admit(refused)), "InsufficientBalance");
  now = kNow + Seconds(60);
  command.request = Request(60);
  ASSERT_EQ(Why(Admit(command)), "None");
  ASSERT_EQ(credit.Totals().requests_open, 1U);
  CreditControl again;
  for (const ledger::Record& record : Records(records)) {
    ASSERT_EQ(again.Replay(record), std::nullopt);
  }
  EXPECT_EQ(again.Totals().requests_open, 1U);
}

// A journal of version 2 has its prices in the records. The first records of version 3 behind it
// must find theirs in a record of its own.
TEST_F(WalletTest, PriceOfAnOlderJournal_IsWrittenBeforeARecordRefersToIt) {
  const ledger::IntentRecord old{
      .time = kNow, .request = Request(90), .key = Key(1), .price = {.input = {5}}, .hold = {10}};
  ASSERT_EQ(credit.Replay(ledger::Record(old)), std::nullopt);
  ASSERT_EQ(
      credit.Replay(ledger::Record(ledger::CheckpointRecord{
          .time = kNow, .request = Request(90), .usage = Used(1, 1, UsageSource::kCheckpoint)})),
      std::nullopt);
  credit.ResolveOpen(now, records);
  AdmitCommand command = Command(1, 1);
  command.wallet.reset();
  command.quote.price = {};
  command.quote.price.input = {5};
  command.quote.price.version = 0;
  ASSERT_EQ(Why(Admit(command)), "None");
  const auto written = Records(records);
  ASSERT_EQ(written.size(), 3U) << "a price once, a settlement, an intent";
  const auto& price = std::get<ledger::PriceRecord>(written[0]);
  EXPECT_EQ(std::get<ledger::SettleRecord>(written[1]).price_id, price.id);
  EXPECT_EQ(std::get<ledger::IntentRecord>(written[2]).price_id, price.id);
}

TEST_F(WalletTest, RefusedOrFailedRequest_DoesNotUseItsKeyUp) {
  AdmitCommand command = Command(1, 1);
  command.idempotency = IdempotencyUse{{1, 1}, {2, 2}};
  EXPECT_EQ(Why(Admit(command)), "InsufficientBalance");
  Give(1, 100);
  command.request = Request(51);
  ASSERT_EQ(Why(Admit(command)), "None");
  Settle(51, {}, false);
  command.request = Request(52);
  const AdmitReply retried = Admit(command);
  EXPECT_EQ(Why(retried), "None");
  EXPECT_EQ(retried.replay, std::nullopt);
}

// ---- Extensions -------------------------------------------------------------------------------

TEST_F(WalletTest, Adaptive_HoldsWhatIsUsual_AndMoreWhileThereIsMore) {
  Give(1, 2'000);
  AdmitCommand command = Command(100, 50'000, 1'000'000);
  command.mode = HoldMode::kAdaptive;
  command.limits.budget = NanoUsd{1'000'000};
  const AdmitReply reply = Admit(command);
  ASSERT_EQ(Why(reply), "None");
  EXPECT_EQ(reply.output_tokens_granted, 50'000) << "the upstream is not told of the hold";
  EXPECT_EQ(reply.output_tokens_held, 1'024);
  EXPECT_EQ(reply.wallet_held, Amount{1'124});
  const ExtendReply more = credit.Extend({Request(1), 800}, now, records);
  EXPECT_TRUE(more.granted);
  EXPECT_EQ(more.output_tokens_held, 1'824);
  const auto before = records.bytes;
  const ExtendReply refused = credit.Extend({Request(1), 800}, now, records);
  EXPECT_FALSE(refused.granted);
  EXPECT_EQ(refused.output_tokens_held, 1'824);
  EXPECT_EQ(records.bytes, before);
  EXPECT_EQ(credit.book().CheckInvariants(), std::nullopt);
  const SettleReply settled = Settle(1, Used(100, 1'824));
  EXPECT_EQ(settled.wallet_charged, Amount{1'924});
  EXPECT_EQ(settled.charged, NanoUsd{1'924});
  EXPECT_EQ(settled.overrun, NanoUsd{0});
}

TEST_F(WalletTest, Adaptive_WithLessThanIsUsual_IsClampedAndNeverCut) {
  Give(1, 300);
  AdmitCommand command = Command(100, 50'000, 1'000'000);
  command.mode = HoldMode::kAdaptive;
  const AdmitReply reply = Admit(command);
  ASSERT_EQ(Why(reply), "None");
  EXPECT_TRUE(reply.clamped);
  EXPECT_EQ(reply.output_tokens_granted, 200) << "the upstream ends where the hold does";
  EXPECT_EQ(reply.output_tokens_held, 200);
}

TEST_F(WalletTest, Adaptive_LearnsFromWhatWasUsed) {
  AdmitCommand command = Command(0, 50'000);
  command.wallet.reset();
  command.mode = HoldMode::kAdaptive;
  for (std::uint64_t i = 0; i < 40; ++i) {
    command.request = Request(100 + i);
    Admit(command);
    Settle(100 + i, Used(0, i == 3 ? 9'000 : 3'000));
  }
  command.request = Request(500);
  EXPECT_EQ(Admit(command).output_tokens_held, 3'072) << "the long one is forgotten by now";
}

// ---- Crashes ------------------------------------------------------------------------------------

struct Auditor {
  struct Open {
    std::int64_t held = 0;
    std::int64_t wallet_held = 0;
    std::int64_t delivered = -1;  // tokens
  };
  std::map<RequestId, Open> open;
  std::int64_t granted = 0, spent = 0, ended = 0;
};

// Random traffic over a few wallets, then a crash behind every record: the books of what is left
// are those of an auditor that reads the records alone, and a second recovery changes nothing.
TEST(CreditWalletRandom, CrashAfterAnyRecord_LosesNothingAndPassesNoGrant) {
  constexpr std::int64_t kPpm = 2'000'000;
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    SeededRandom random(seed);
    const auto below = [&](std::uint64_t n) { return random.Next() % n; };
    CreditControl credit;
    ledger::RecordBuffer buffer;
    Instant now = kNow;
    std::vector<RequestId> open;
    std::uint64_t next = 1;
    for (int step = 0; step < 250; ++step) {
      now = now + Milliseconds(static_cast<std::int64_t>(below(400)));
      const WalletId wallet{{7, 1 + below(2)}};
      switch (below(8)) {
        case 0:
          credit.Give({.grant = Grant(next++),
                       .wallet = wallet,
                       .unit = Unit::kQuotaToken,
                       .amount = {static_cast<std::int64_t>(below(2'000))},
                       .priority = static_cast<std::int32_t>(below(3)),
                       .effective_at = now,
                       .expires_at = now + Seconds(static_cast<std::int64_t>(below(30)))},
                      now, buffer);
          break;
        case 1:
          credit.Sweep(now, buffer);
          break;
        case 2:
          if (!open.empty()) {
            credit.Checkpoint(
                {open[below(open.size())],
                 Used(static_cast<std::int64_t>(below(50)), static_cast<std::int64_t>(below(100)))},
                now, buffer);
          }
          break;
        case 3:
          if (!open.empty()) credit.Extend({open[below(open.size())], 64}, now, buffer);
          break;
        case 4:
          if (next > 2) credit.Revoke(Grant(1 + below(next)), now, buffer);
          break;
        case 5:
          if (!open.empty()) {
            const std::size_t at = below(open.size());
            credit.Settle(
                {open[at],
                 Used(static_cast<std::int64_t>(below(60)), static_cast<std::int64_t>(below(200))),
                 below(8) != 0},
                now, buffer);
            open.erase(open.begin() + static_cast<std::ptrdiff_t>(at));
          }
          break;
        default: {
          const RequestId id = Request(next++);
          AdmitCommand command{
              .request = id,
              .key = Key(1 + below(2)),
              .limits = NoLimits(),
              .quote = {.price = PriceOfATokenEach(1),
                        .input_tokens_bound = static_cast<std::int64_t>(below(60)),
                        .output_tokens_bound = static_cast<std::int64_t>(below(400)),
                        .output_tokens_useful = 10},
              .wallet = WalletUse{wallet, {Unit::kQuotaToken, kPpm}, {}},
              .mode = below(2) == 0 ? HoldMode::kStrict : HoldMode::kAdaptive};
          if (below(3) == 0) command.idempotency = IdempotencyUse{{1, below(9)}, {1, below(2)}};
          const AdmitReply reply = credit.Admit(command, now, buffer);
          if (reply.refusal == Refusal::kNone && !reply.replay) open.push_back(id);
        }
      }
      ASSERT_EQ(credit.book().CheckInvariants(), std::nullopt);
      ASSERT_EQ(credit.last_position().n, buffer.count);
    }
    const auto journal = Records(buffer);
    ASSERT_GT(journal.size(), 80U);
    for (std::size_t cut = 0; cut <= journal.size(); ++cut) {
      Auditor audit;
      CreditControl restored;
      const auto replay = [&](CreditControl& into) {
        for (std::size_t i = 0; i < cut; ++i) ASSERT_EQ(into.Replay(journal[i]), std::nullopt);
      };
      replay(restored);
      for (std::size_t i = 0; i < cut; ++i) {
        const auto lines = [](const std::optional<ledger::WalletHold>& hold) {
          std::int64_t sum = 0;
          for (const auto& line : hold->lines) sum += line.amount.n;
          return sum;
        };
        if (const auto* grant = std::get_if<GrantRecord>(&journal[i])) {
          audit.granted += grant->amount.n;
        } else if (const auto* end = std::get_if<ledger::GrantEndRecord>(&journal[i])) {
          audit.ended += end->removed.n;
        } else if (const auto* intent = std::get_if<ledger::IntentRecord>(&journal[i])) {
          audit.open[intent->request] = {intent->hold.n, lines(intent->wallet)};
        } else if (const auto* more = std::get_if<ledger::ExtendRecord>(&journal[i])) {
          audit.open[more->request].held += more->hold.n;
          audit.open[more->request].wallet_held += lines(more->wallet);
        } else if (const auto* mark = std::get_if<ledger::CheckpointRecord>(&journal[i])) {
          audit.open[mark->request].delivered =
              mark->usage.input_tokens + mark->usage.output_tokens;
        } else if (const auto* settle = std::get_if<ledger::SettleRecord>(&journal[i])) {
          const auto& one = audit.open.at(settle->request);
          ASSERT_LE(settle->charged.n, one.held);
          ASSERT_LE(settle->wallet->charged.n, one.wallet_held);
          const Usage& used = settle->usage;
          ASSERT_EQ((settle->wallet->charged + settle->wallet->overrun).n,
                    2 * (used.input_tokens + used.output_tokens));
          audit.spent += settle->wallet->charged.n;
          audit.open.erase(settle->request);
        } else if (const auto* voided = std::get_if<ledger::VoidRecord>(&journal[i])) {
          audit.open.erase(voided->request);
        }
      }
      for (const auto& [request, one] : audit.open) {
        if (one.delivered >= 0) audit.spent += std::min(2 * one.delivered, one.wallet_held);
      }
      ledger::RecordBuffer resolutions;
      restored.ResolveOpen(now, resolutions);
      restored.Sweep(now,
                     resolutions);  // what had ended when it was killed, and nobody had said so
      ASSERT_EQ(restored.book().CheckInvariants(), std::nullopt);
      ASSERT_EQ(restored.book().pending_count(), 0U);
      const auto resolved = Records(resolutions);
      for (const auto& record : resolved) {
        if (const auto* end = std::get_if<ledger::GrantEndRecord>(&record)) {
          audit.ended += end->removed.n;
        }
      }
      std::int64_t spent = 0, left = 0;
      for (std::size_t i = 0; i < restored.wallets().size(); ++i) {
        const auto view = restored.ViewWallet(restored.wallets().WalletAt(i), now);
        spent += view->spent.n;
        for (const GrantView& grant : view->grants) left += grant.remaining.n;
      }
      ASSERT_EQ(spent, audit.spent);
      ASSERT_EQ(left, audit.granted - audit.spent - audit.ended);

      // Killed while it recovers, at any of its own records.
      if (cut % 9 != 0) continue;
      for (std::size_t second = 0; second <= resolved.size(); ++second) {
        CreditControl again;
        replay(again);
        for (std::size_t i = 0; i < second; ++i) {
          ASSERT_EQ(again.Replay(resolved[i]), std::nullopt);
        }
        ledger::RecordBuffer rest;
        again.ResolveOpen(now, rest);
        ASSERT_EQ(again.Totals().charged, restored.Totals().charged);
        ASSERT_EQ(again.book().pending_count(), 0U);
      }
    }
  }
}

}  // namespace
}  // namespace weir::gateway
