// The credit machine: who is refused, in which order, at which value; what is booked; and what a
// crash after any record leaves behind. An auditor of its own keeps the books beside it in the
// random runs and knows nothing of accounts.
#include "gateway/credit_control.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "base/random.h"
#include "policy/quote.h"

namespace weir::gateway {
namespace {

constexpr Instant kNow{1'700'000'000'000'000'000};
// A token of input costs 1,000 nano-USD, one of output 2,000.
constexpr config::Price kPrice{.input = {1'000'000},
                               .cached_input = {100'000},
                               .cache_write = {1'000'000},
                               .output = {2'000'000},
                               .per_request = {0},
                               .version = 4};

RequestId Request(std::uint64_t n) { return {{0x0192'0000'0000'0000 + n, n * 7919}}; }
KeyId Key(std::uint64_t n) { return {{0x0191'0000'0000'0000 + n, n * 104'729}}; }
Usage Used(std::int64_t input, std::int64_t output, UsageSource source = UsageSource::kProvider) {
  return {.input_tokens = input, .output_tokens = output, .source = source};
}

config::KeyLimits NoLimits() {
  return {.requests_per_minute = 0, .tokens_per_minute = 0, .concurrent_requests = 0, .budget = {}};
}
config::KeyLimits Budget(std::int64_t nano) {
  config::KeyLimits limits = NoLimits();
  limits.budget = NanoUsd{nano};
  return limits;
}

struct CreditTest : testing::Test {
  CreditControl credit;
  ledger::RecordBuffer records;
  std::uint64_t next_request = 1;

  // Asks for a request of 100 input and `output` output tokens: 100,000 nano + 2,000 per token.
  AdmitReply Admit(const config::KeyLimits& limits, std::int64_t output = 100,
                   std::int64_t choices = 1, Instant now = kNow, std::uint64_t key = 1) {
    const AdmitCommand command{.request = Request(next_request++),
                               .key = Key(key),
                               .limits = limits,
                               .quote = {.price = kPrice,
                                         .input_tokens_bound = 100,
                                         .output_tokens_bound = output * choices,
                                         .output_choices = choices,
                                         .output_tokens_useful = 10}};
    AdmitReply reply = credit.Admit(command, now, records);
    EXPECT_EQ(credit.book().CheckInvariants(), std::nullopt);
    return reply;
  }
  SettleReply Settle(std::uint64_t request, const Usage& usage, bool charge = true,
                     Instant now = kNow) {
    const SettleReply reply = credit.Settle({Request(request), usage, charge}, now, records);
    EXPECT_EQ(credit.book().CheckInvariants(), std::nullopt);
    return reply;
  }
  KeyStanding Standing(std::uint64_t key = 1) const { return credit.Standing(Key(key)).value(); }
};

std::string_view Text(Refusal refusal) { return TextOf(refusal).name; }

TEST_F(CreditTest, Admit_WithinEverything_HoldsTheBoundAndFillsTheViews) {
  config::KeyLimits limits = Budget(1'000'000);
  limits.requests_per_minute = 60;
  limits.tokens_per_minute = 1000;
  const AdmitReply reply = Admit(limits);
  EXPECT_EQ(Text(reply.refusal), Text(Refusal::kNone));
  EXPECT_EQ(reply.held.n, 300'000);
  EXPECT_EQ(reply.budget_remaining.n, 700'000);
  EXPECT_EQ(reply.output_tokens_granted, 100);
  EXPECT_FALSE(reply.clamped);
  EXPECT_EQ(reply.requests.limit, 60);
  EXPECT_EQ(reply.requests.remaining, 59);
  EXPECT_EQ(reply.requests.reset, Seconds(1));
  EXPECT_EQ(reply.tokens.remaining, 1000 - 25 - 100);
  EXPECT_EQ(reply.position.n, 3U);  // the funding of the budget, the price, then the intent
  EXPECT_EQ(records.count, 3U);
}

// 100 nano-USD a millisecond: held for the bound, charged for what it was, and the same after a
// crash that left nothing but a checkpoint.
TEST_F(CreditTest, Audio_IsHeldChargedAndRecovered) {
  config::Price price = kPrice;
  price.audio_second = {100'000};
  const auto admit = [&] {
    return credit.Admit({.request = Request(next_request++),
                         .key = Key(1),
                         .limits = Budget(1'000'000),
                         .quote = {.price = price,
                                   .input_tokens_bound = 100,
                                   .output_tokens_bound = 10,
                                   .audio_ms_bound = 3'000,
                                   .output_tokens_useful = 10}},
                        kNow, records);
  };
  EXPECT_EQ(admit().held.n, 100'000 + 20'000 + 300'000);
  Usage used = Used(10, 5);
  used.audio_ms = 2'500;
  EXPECT_EQ(Settle(1, used).charged.n, 10'000 + 10'000 + 250'000);

  EXPECT_EQ(admit().held.n, 420'000);
  used.source = UsageSource::kCheckpoint;
  credit.Checkpoint({Request(2), used}, kNow, records);
  CreditControl again;
  std::span<const std::uint8_t> bytes = records.bytes;
  while (!bytes.empty()) ASSERT_EQ(again.Replay(ledger::Decode(bytes).value()), std::nullopt);
  ledger::RecordBuffer resolved;
  EXPECT_EQ(again.ResolveOpen(kNow, resolved).charged.n, 270'000);
  EXPECT_EQ(again.Totals().charged.n, 540'000);
}

// Every row is refused by its own check and by all that come after it: the first one answers.
TEST_F(CreditTest, Refusals_AnswerInOrder) {
  config::KeyLimits limits = Budget(300'000);
  limits.concurrent_requests = 1;
  limits.requests_per_minute = 1;
  limits.tokens_per_minute = 125;
  ASSERT_EQ(Admit(limits).refusal, Refusal::kNone);

  const AdmitReply concurrency = Admit(limits);
  EXPECT_EQ(Text(concurrency.refusal), Text(Refusal::kConcurrencyLimit));
  EXPECT_EQ(concurrency.retry_after, Seconds(1));
  limits.concurrent_requests = 2;
  const AdmitReply requests = Admit(limits);
  EXPECT_EQ(Text(requests.refusal), Text(Refusal::kRateLimitRequests));
  EXPECT_EQ(requests.retry_after, Minutes(1));
  limits.requests_per_minute = 2;
  const AdmitReply tokens = Admit(limits);
  EXPECT_EQ(Text(tokens.refusal), Text(Refusal::kRateLimitTokens));
  EXPECT_EQ(tokens.retry_after, Minutes(1));
  limits.tokens_per_minute = 250;
  const AdmitReply budget = Admit(limits);
  EXPECT_EQ(Text(budget.refusal), Text(Refusal::kInFlightReserved));
  EXPECT_EQ(budget.retry_after, Seconds(1));
  limits.budget = NanoUsd{600'000};
  EXPECT_EQ(Text(Admit(limits).refusal), Text(Refusal::kNone));
  EXPECT_EQ(Text(Admit(limits).refusal), Text(Refusal::kConcurrencyLimit));
}

TEST_F(CreditTest, Refused_LeavesNoTrace) {
  config::KeyLimits limits = Budget(300'000);
  limits.requests_per_minute = 10;
  limits.tokens_per_minute = 10'000;
  ASSERT_EQ(Admit(limits).refusal, Refusal::kNone);
  const KeyStanding standing = Standing();
  const auto appended = records.bytes;
  const JournalPosition position = credit.last_position();
  for (int i = 0; i < 50; ++i) {
    const AdmitReply refused = Admit(limits);
    ASSERT_EQ(Text(refused.refusal), Text(Refusal::kInFlightReserved));
    EXPECT_EQ(refused.requests.remaining, 9);
    EXPECT_EQ(refused.tokens.remaining, 10'000 - 125);
    EXPECT_EQ(refused.position.n, 0U);
    EXPECT_EQ(refused.held.n, 0);
  }
  EXPECT_EQ(Standing().held, standing.held);
  EXPECT_EQ(Standing().requests_open, 1);
  EXPECT_EQ(records.bytes, appended);
  EXPECT_EQ(credit.last_position(), position);
}

TEST_F(CreditTest, Concurrency_IsGivenBackBySettle) {
  config::KeyLimits limits = NoLimits();
  limits.concurrent_requests = 2;
  ASSERT_EQ(Admit(limits).refusal, Refusal::kNone);
  ASSERT_EQ(Admit(limits).refusal, Refusal::kNone);
  ASSERT_EQ(Admit(limits).refusal, Refusal::kConcurrencyLimit);
  Settle(1, {});
  EXPECT_EQ(Admit(limits).refusal, Refusal::kNone);
  EXPECT_EQ(Admit(limits, 100, 1, kNow, 2).refusal, Refusal::kNone);  // another key's own
}

TEST_F(CreditTest, TokensPerMinute_AreCorrectedToWhatWasUsed) {
  config::KeyLimits limits = NoLimits();
  limits.tokens_per_minute = 1000;
  ASSERT_EQ(Admit(limits).tokens.remaining, 875);
  Settle(1, Used(10, 15));
  EXPECT_EQ(Admit(limits).tokens.remaining, 1000 - 25 - 125);
  Settle(2, Used(1000, 1000));  // far above what was taken: into debt
  const AdmitReply refused = Admit(limits);
  EXPECT_EQ(Text(refused.refusal), Text(Refusal::kRateLimitTokens));
  // 2,025 were used and 125 are asked for: 1,150 too many, at 1,000 a minute.
  EXPECT_EQ(refused.retry_after, Milliseconds(69'000));
  EXPECT_EQ(Admit(limits, 100, 1, kNow + Milliseconds(69'000)).refusal, Refusal::kNone);
}

TEST_F(CreditTest, TokensPerMinute_OfARequestThatUsedNothing_AreGivenBack) {
  config::KeyLimits limits = NoLimits();
  limits.tokens_per_minute = 125;
  ASSERT_EQ(Admit(limits).tokens.remaining, 0);
  Settle(1, {});
  EXPECT_EQ(Admit(limits).tokens.remaining, 0);
}

TEST_F(CreditTest, ClockSetBack_DoesNotBlock_AndDoesNotRefill) {
  config::KeyLimits limits = NoLimits();
  limits.requests_per_minute = 2;
  ASSERT_EQ(Admit(limits).refusal, Refusal::kNone);
  ASSERT_EQ(Admit(limits, 100, 1, kNow + Duration{-Seconds(3600).ns}).refusal, Refusal::kNone);
  const AdmitReply refused = Admit(limits, 100, 1, kNow + Duration{-Seconds(3599).ns});
  EXPECT_EQ(Text(refused.refusal), Text(Refusal::kRateLimitRequests));
  EXPECT_EQ(refused.retry_after, Seconds(29));
  EXPECT_EQ(Admit(limits, 100, 1, kNow + Duration{-Seconds(3570).ns}).refusal, Refusal::kNone);
}

struct BudgetRow {
  const char* why;
  std::int64_t budget;
  std::int64_t spent;   // settled before
  std::int64_t held;    // in flight
  std::int64_t output;  // asked for, per choice
  std::int64_t choices;
  Refusal refusal;
  std::int64_t granted;  // per choice; with a refusal: what would fit
};

// Input costs 100,000, a token of output 2,000, and fewer than 10 tokens are of no use.
TEST(CreditBudget, Fits_Clamps_OrSaysWhyNot) {
  using enum Refusal;
  const BudgetRow rows[] = {
      {"exactly", 300'000, 0, 0, 100, 1, kNone, 100},
      {"one nano less takes a token", 299'999, 0, 0, 100, 1, kNone, 99},
      {"the least that is useful", 120'000, 0, 0, 100, 1, kNone, 10},
      {"less is refused with what would fit", 119'999, 0, 0, 100, 1, kRequestExceedsBudget, 9},
      {"unless less was asked for", 118'000, 0, 0, 9, 1, kNone, 9},
      {"less than asked and than useful", 117'999, 0, 0, 9, 1, kRequestExceedsBudget, 8},
      {"a clamp is per choice", 160'000, 0, 0, 100, 3, kNone, 10},
      {"and so is what is useful", 159'999, 0, 0, 100, 3, kRequestExceedsBudget, 9},
      {"not even one token", 101'999, 0, 0, 100, 1, kRequestExceedsBudget, 0},
      {"not even the input", 99'999, 0, 0, 100, 1, kRequestExceedsBudget, 0},
      {"spend before leaves a clamp", 300'000, 100'000, 0, 100, 1, kNone, 50},
      {"spend before leaves less than useful", 300'000, 181'000, 0, 100, 1, kRequestExceedsBudget,
       9},
      {"spend before leaves nothing", 300'000, 200'000, 0, 100, 1, kBudgetExceeded, 0},
      {"all is spent", 300'000, 300'000, 0, 100, 1, kBudgetExceeded, 0},
      {"a request larger than the whole budget, also when some is spent", 101'000, 50'000, 0, 100,
       1, kRequestExceedsBudget, 0},
      {"others hold what is needed", 300'000, 0, 200'000, 100, 1, kInFlightReserved, 0},
      {"others hold some: a clamp", 300'000, 0, 100'000, 100, 1, kNone, 50},
      {"holds are not in the way when it never fits", 119'999, 0, 110'000, 100, 1,
       kRequestExceedsBudget, 9},
      {"holds and spend: spend alone is in the way", 300'000, 200'000, 100'000, 100, 1,
       kBudgetExceeded, 0},
      {"holds and spend: without the holds a clamp would do", 300'000, 180'000, 1'000, 100, 1,
       kInFlightReserved, 0},
      {"an empty budget", 0, 0, 0, 100, 1, kRequestExceedsBudget, 0},
      {"a negative budget is an empty one", -5, 0, 0, 100, 1, kRequestExceedsBudget, 0},
      {"no output asked for", 100'000, 0, 0, 0, 1, kNone, 0},
      {"no output asked for, budget spent", 100'000, 1'000, 0, 0, 1, kBudgetExceeded, 0},
  };
  for (const BudgetRow& row : rows) {
    CreditControl credit;
    ledger::RecordBuffer records;
    // One request of input only brings the key to `spent`, another one to `held`.
    const auto take = [&](std::uint64_t n, std::int64_t nano) {
      config::Price price{};
      price.per_request = {nano};
      const AdmitCommand command{.request = Request(n),
                                 .key = Key(1),
                                 .limits = Budget(row.budget),
                                 .quote = {.price = price}};
      ASSERT_EQ(credit.Admit(command, kNow, records).refusal, kNone) << row.why;
    };
    if (row.spent > 0) {
      take(1, row.spent);
      credit.Settle({Request(1), Used(0, 0)}, kNow, records);
    }
    if (row.held > 0) take(2, row.held);
    const AdmitReply reply =
        credit.Admit({.request = Request(3),
                      .key = Key(1),
                      .limits = Budget(row.budget),
                      .quote = {.price = kPrice,
                                .input_tokens_bound = 100,
                                .output_tokens_bound = row.output * row.choices,
                                .output_choices = row.choices,
                                .output_tokens_useful = 10}},
                     kNow, records);
    EXPECT_EQ(Text(reply.refusal), Text(row.refusal)) << row.why;
    if (row.refusal == kNone) {
      EXPECT_EQ(reply.output_tokens_granted, row.granted) << row.why;
      EXPECT_EQ(reply.clamped, row.granted < row.output) << row.why;
      EXPECT_EQ(reply.held.n,
                (row.output == 0 ? 100'000 : 100'000 + row.granted * row.choices * 2000))
          << row.why;
      EXPECT_EQ(reply.budget_remaining.n, row.budget - row.spent - row.held - reply.held.n)
          << row.why;
    } else {
      EXPECT_EQ(reply.output_tokens_fitting, row.granted) << row.why;
      EXPECT_EQ(reply.retry_after.ns > 0, row.refusal == kInFlightReserved) << row.why;
    }
    EXPECT_EQ(credit.book().CheckInvariants(), std::nullopt) << row.why;
  }
}

TEST_F(CreditTest, Settle_ChargesThePrice_AndTheRestOfTheHoldIsFree) {
  ASSERT_EQ(Admit(Budget(300'000)).refusal, Refusal::kNone);
  const SettleReply reply = Settle(1, Used(50, 20));
  EXPECT_EQ(reply.price.n, 90'000);
  EXPECT_EQ(reply.charged.n, 90'000);
  EXPECT_EQ(reply.overrun.n, 0);
  EXPECT_EQ(Standing().settled.n, 90'000);
  EXPECT_EQ(Standing().held.n, 0);
}

TEST_F(CreditTest, Settle_AboveTheHold_ChargesTheHold_AndTheOperatorPaysTheRest) {
  ASSERT_EQ(Admit(Budget(300'000)).refusal, Refusal::kNone);
  const SettleReply reply = Settle(1, Used(100, 101));
  EXPECT_EQ(reply.price.n, 302'000);
  EXPECT_EQ(reply.charged.n, 300'000);
  EXPECT_EQ(reply.overrun.n, 2'000);
  EXPECT_EQ(Standing().settled.n, 300'000);
  EXPECT_EQ(credit.Totals().overrun.n, 2'000);
  EXPECT_EQ(credit.Totals().charged.n, 300'000);
}

TEST_F(CreditTest, Settle_HostileUsage_EndsNothing) {
  for (std::uint64_t n = 1; n <= 50; ++n) {
    ASSERT_EQ(Admit(NoLimits()).refusal, Refusal::kNone);
    EXPECT_EQ(Settle(n, Used(INT64_MAX, INT64_MAX)).charged.n, 300'000);
    ASSERT_EQ(Admit(NoLimits()).refusal, Refusal::kNone);
    EXPECT_EQ(Settle(++n, Used(INT64_MIN, INT64_MIN)).price.n, 0);
  }
}

TEST_F(CreditTest, Settle_NothingUsed_OrNotToBeCharged_Voids) {
  ASSERT_EQ(Admit(Budget(600'000)).refusal, Refusal::kNone);
  ASSERT_EQ(Admit(Budget(600'000)).refusal, Refusal::kNone);
  EXPECT_EQ(Settle(1, {}).charged.n, 0);
  const SettleReply reply = Settle(2, Used(50, 20), false);
  EXPECT_EQ(reply.price.n, 90'000);
  EXPECT_EQ(reply.charged.n, 0);
  EXPECT_EQ(reply.overrun.n, 0);
  EXPECT_EQ(Standing().settled.n, 0);
  EXPECT_EQ(Standing().held.n, 0);
}

TEST_F(CreditTest, BudgetChanges_AreFollowed) {
  ASSERT_EQ(Admit(Budget(300'000)).refusal, Refusal::kNone);
  Settle(1, Used(100, 100));
  EXPECT_EQ(Text(Admit(Budget(300'000)).refusal), Text(Refusal::kBudgetExceeded));
  EXPECT_EQ(Admit(Budget(700'000)).budget_remaining.n, 100'000);  // raised
  EXPECT_EQ(Admit(Budget(250'000)).budget_remaining.n, 0);        // below what is committed
  EXPECT_EQ(Standing().budget->n, 700'000);                       // the last one that admitted
  Settle(3, {});
  EXPECT_EQ(Text(Admit(Budget(250'000)).refusal), Text(Refusal::kBudgetExceeded));
  EXPECT_EQ(Admit(Budget(650'000)).budget_remaining.n, 50'000);  // lowered, still enough
  EXPECT_EQ(Standing().budget->n, 650'000);
  EXPECT_EQ(Standing().settled.n, 300'000);
  Settle(6, {});
  EXPECT_EQ(Admit(NoLimits()).refusal, Refusal::kNone);  // lifted
  EXPECT_EQ(Standing().budget, std::nullopt);
  Settle(7, Used(100, 100));
  EXPECT_EQ(Admit(Budget(1'000'000)).budget_remaining.n, 100'000);  // set: all ever spent counts
  EXPECT_EQ(Standing().settled.n, 600'000);
}

TEST_F(CreditTest, BudgetSet_OnAKeyThatSpentMore_LetsNothingIn) {
  ASSERT_EQ(Admit(NoLimits()).refusal, Refusal::kNone);
  Settle(1, Used(100, 100));
  EXPECT_EQ(Text(Admit(Budget(299'999)).refusal), Text(Refusal::kBudgetExceeded));
  EXPECT_EQ(Text(Admit(Budget(300'000)).refusal), Text(Refusal::kBudgetExceeded));
  EXPECT_EQ(Admit(Budget(600'000)).refusal, Refusal::kNone);
}

TEST_F(CreditTest, Checkpoint_NeverGoesDown) {
  ASSERT_EQ(Admit(NoLimits()).refusal, Refusal::kNone);
  const auto note = [&](std::int64_t output) {
    return credit.Checkpoint({Request(1), Used(50, output)}, kNow, records).position.n;
  };
  EXPECT_EQ(note(10), 3U);
  EXPECT_EQ(note(9), 3U);
  EXPECT_EQ(note(11), 4U);
  EXPECT_EQ(records.count, 4U);
}

using CreditDeathTest = CreditTest;

TEST_F(CreditDeathTest, SettledTwice_OrNeverAdmitted_IsOurBug) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  ASSERT_EQ(Admit(NoLimits()).refusal, Refusal::kNone);
  Settle(1, Used(1, 1));
  EXPECT_DEATH(Settle(1, Used(1, 1)), "settled exactly once");
  EXPECT_DEATH(credit.Checkpoint({Request(99), Used(1, 1)}, kNow, records), "open request");
}

// ---- Replay -------------------------------------------------------------------------------------

std::vector<ledger::Record> Records(const ledger::RecordBuffer& buffer) {
  std::vector<ledger::Record> records;
  std::span<const std::uint8_t> bytes = buffer.bytes;
  while (!bytes.empty()) records.push_back(ledger::Decode(bytes).value());
  EXPECT_EQ(records.size(), buffer.count);
  return records;
}

std::string Describe(const CreditControl& credit, std::uint64_t keys) {
  std::string text;
  for (std::uint64_t key = 1; key <= keys; ++key) {
    const auto standing = credit.Standing(Key(key));
    text += std::to_string(key) + ": ";
    if (standing) {
      text += std::to_string(standing->budget ? standing->budget->n : -1) + " settled " +
              std::to_string(standing->settled.n) + " held " + std::to_string(standing->held.n) +
              " open " + std::to_string(standing->requests_open);
    }
    text += "; ";
  }
  const CreditTotals totals = credit.Totals();
  return text + "charged " + std::to_string(totals.charged.n) + " overrun " +
         std::to_string(totals.overrun.n) + " at " + std::to_string(credit.last_position().n);
}

TEST_F(CreditTest, Crash_WithACheckpoint_ChargesIt_WithoutOne_Voids) {
  ASSERT_EQ(Admit(Budget(1'000'000)).refusal, Refusal::kNone);
  ASSERT_EQ(Admit(Budget(1'000'000)).refusal, Refusal::kNone);
  ASSERT_EQ(Admit(Budget(1'000'000)).refusal, Refusal::kNone);
  credit.Checkpoint({Request(2), Used(50, 20)}, kNow, records);
  credit.Checkpoint({Request(3), Used(100, 200)}, kNow, records);  // more than was held

  CreditControl restored;
  for (const auto& record : Records(records)) ASSERT_EQ(restored.Replay(record), std::nullopt);
  EXPECT_EQ(Describe(restored, 1), Describe(credit, 1));
  ledger::RecordBuffer resolutions;
  const Resolution done = restored.ResolveOpen(kNow + Seconds(5), resolutions);
  EXPECT_EQ(done.voided, 1U);
  EXPECT_EQ(done.settled, 2U);
  EXPECT_EQ(done.charged.n, 90'000 + 300'000);
  EXPECT_EQ(done.overrun.n, 200'000);
  EXPECT_EQ(done.released.n, 300'000 + 210'000);
  EXPECT_EQ(restored.Standing(Key(1))->held.n, 0);
  EXPECT_EQ(restored.Standing(Key(1))->settled.n, 390'000);
  EXPECT_EQ(restored.book().CheckInvariants(), std::nullopt);
  const auto resolved = Records(resolutions);
  ASSERT_EQ(resolved.size(), 3U);
  EXPECT_EQ(std::get<ledger::VoidRecord>(resolved[0]).request, Request(1));
  EXPECT_EQ(std::get<ledger::SettleRecord>(resolved[1]).request, Request(2));
  EXPECT_EQ(std::get<ledger::SettleRecord>(resolved[1]).cause, ledger::ResolveCause::kRecovery);
}

TEST_F(CreditTest, Replay_OfAJournalThatIsNotOurs_SaysWhy) {
  ASSERT_EQ(Admit(Budget(300'000)).refusal, Refusal::kNone);
  Settle(1, Used(50, 20));
  auto good = Records(records);  // fund, price, intent, settle
  ASSERT_EQ(good.size(), 4U);
  const ledger::Record price = good[1];
  good.erase(good.begin() + 1);
  auto& intent = std::get<ledger::IntentRecord>(good[1]);
  const ledger::Record unpriced = intent;
  intent.price_id = 0;  // as versions 1 and 2 had it: its price in the record
  const auto with_hold = [&](std::int64_t hold) {
    return ledger::IntentRecord{.time = kNow, .request = Request(1), .key = Key(1), .hold = {hold}};
  };
  const auto settle = [&](std::int64_t charged, std::int64_t overrun) {
    return ledger::SettleRecord{.time = kNow,
                                .request = Request(1),
                                .key = Key(1),
                                .charged = {charged},
                                .overrun = {overrun},
                                .usage = {}};
  };
  ledger::PriceRecord damaged = std::get<ledger::PriceRecord>(price);
  damaged.bytes.back() ^= 1;
  const std::pair<std::vector<ledger::Record>, const char*> journals[] = {
      {{good[1], good[1]}, "exists"},
      {{good[0], good[0]}, "out of order"},
      {{good[2]}, "pending_not_found"},
      {{good[1], good[2], good[2]}, "pending_not_found"},
      {{ledger::CheckpointRecord{kNow, Request(5), Key(1), {}, {}}}, "pending_not_found"},
      {{good[0], with_hold(300'001)}, "exceeds_credits"},
      {{good[0], unpriced}, "no record has its price"},
      {{damaged}, "its bytes are not those of a price"},
      {{good[0], good[1], ledger::FundRecord{kNow, Key(1), {-1}, true, 1}}, "below"},
      {{good[1], ledger::FundRecord{kNow, Key(1), {0}, true, 0}}, "below"},
      {{ledger::FundRecord{kNow, Key(1), {INT64_MIN}, true, 0}}, "below"},
      {{ledger::FundRecord{kNow, Key(1), {5}, false, 0}}, "below"},
      {{ledger::FundRecord{kNow, Key(1), {INT64_MAX}, true, 0}}, "below"},
      {{good[1], settle(intent.hold.n + 1, 0)}, "exceeds_pending_amount"},
      {{good[1], settle(1, -1)}, "amount_out_of_range"},
  };
  for (const auto& [journal, why] : journals) {
    CreditControl subject;
    std::optional<std::string> problem;
    for (std::size_t i = 0; i < journal.size(); ++i) {
      EXPECT_EQ(problem, std::nullopt) << why;
      problem = subject.Replay(journal[i]);
    }
    ASSERT_TRUE(problem) << why;
    EXPECT_NE(problem->find(why), std::string::npos) << *problem;
  }
}

// ---- Random runs --------------------------------------------------------------------------------

// What callers and upstreams saw, added up without any account.
struct Auditor {
  struct Open {
    std::uint64_t key;
    std::int64_t held;
    std::int64_t delivered = -1;  // price of the last checkpoint
  };
  std::map<std::uint64_t, Open> open;
  std::map<std::uint64_t, std::int64_t> settled;  // by key
  std::int64_t charged = 0;
  std::int64_t overrun = 0;

  std::int64_t Held(std::uint64_t key) const {
    std::int64_t sum = 0;
    for (const auto& [request, one] : open) sum += one.key == key ? one.held : 0;
    return sum;
  }
};

struct Traffic {
  static constexpr std::uint64_t kKeys = 4;
  CreditControl credit;
  Auditor audit;
  ledger::RecordBuffer records;
  SeededRandom random;
  std::map<std::uint64_t, std::int64_t> budget;
  std::uint64_t next = 1;
  Instant now = kNow;
  int admitted = 0;
  int refused = 0;
  // How the world stood after each record: for the crash test.
  std::vector<std::string> standing_after;

  explicit Traffic(std::uint64_t seed) : random(seed) {
    for (std::uint64_t key = 1; key <= kKeys; ++key) budget[key] = Below(3'000'000);
  }
  std::int64_t Below(std::int64_t end) {
    return static_cast<std::int64_t>(random.Next() % static_cast<std::uint64_t>(end));
  }

  void AdmitOne() {
    const std::uint64_t key = 1 + random.Next() % kKeys;
    if (Below(40) == 0) budget[key] = Below(4'000'000);
    config::KeyLimits limits = Budget(budget[key]);
    limits.concurrent_requests = 6;
    limits.requests_per_minute = 500;
    if (key == kKeys) limits.budget.reset();
    const std::uint64_t id = next++;
    const AdmitReply reply = credit.Admit({.request = Request(id),
                                           .key = Key(key),
                                           .limits = limits,
                                           .quote = {.price = kPrice,
                                                     .input_tokens_bound = Below(200),
                                                     .output_tokens_bound = Below(400),
                                                     .output_choices = 1 + Below(3),
                                                     .output_tokens_useful = 10}},
                                          now, records);
    if (reply.refusal != Refusal::kNone) {
      ++refused;
      return;
    }
    ++admitted;
    audit.open[id] = {key, reply.held.n};
    if (limits.budget) {
      // The claim: settled + held <= budget, at every instant.
      ASSERT_LE(audit.settled[key] + audit.Held(key), budget[key]);
      ASSERT_EQ(reply.budget_remaining.n, budget[key] - audit.settled[key] - audit.Held(key));
    }
  }

  void SettleOne() {
    if (audit.open.empty()) return;
    auto at = audit.open.begin();
    std::advance(at, Below(static_cast<std::int64_t>(audit.open.size())));
    const auto [id, one] = *at;
    const bool charge = Below(10) != 0;
    Usage usage = Used(Below(220), Below(440));
    if (Below(10) == 0) usage.source = UsageSource::kNone;
    const SettleReply reply = credit.Settle({Request(id), usage, charge}, now, records);
    const std::int64_t price = usage.source == UsageSource::kNone
                                   ? 0
                                   : usage.input_tokens * 1000 + usage.output_tokens * 2000;
    ASSERT_EQ(reply.price.n, price);
    const std::int64_t charged = charge ? std::min(price, one.held) : 0;
    ASSERT_EQ(reply.charged.n, charged);
    ASSERT_EQ(reply.overrun.n, charge ? price - charged : 0);
    audit.settled[one.key] += charged;
    audit.charged += charged;
    audit.overrun += reply.overrun.n;
    audit.open.erase(at);
  }

  void CheckpointOne() {
    if (audit.open.empty()) return;
    auto at = audit.open.begin();
    std::advance(at, Below(static_cast<std::int64_t>(audit.open.size())));
    const Usage usage = Used(Below(200), Below(400));
    const auto before = records.count;
    credit.Checkpoint({Request(at->first), usage}, now, records);
    if (records.count != before) {
      at->second.delivered = usage.input_tokens * 1000 + usage.output_tokens * 2000;
    }
  }

  void Step() {
    now = now + Milliseconds(Below(200));
    switch (Below(6)) {
      case 0:
      case 1:
      case 2:
        AdmitOne();
        break;
      case 3:
        CheckpointOne();
        break;
      default:
        SettleOne();
    }
  }

  void Check() {
    for (std::uint64_t key = 1; key <= kKeys; ++key) {
      const auto standing = credit.Standing(Key(key));
      if (!standing) continue;
      ASSERT_EQ(standing->settled.n, audit.settled[key]);
      ASSERT_EQ(standing->held.n, audit.Held(key));
      if (standing->budget) ASSERT_LE(standing->settled + standing->held, *standing->budget);
    }
    ASSERT_EQ(credit.Totals().charged.n, audit.charged);
    ASSERT_EQ(credit.Totals().overrun.n, audit.overrun);
    ASSERT_EQ(credit.Totals().requests_open, audit.open.size());
    ASSERT_EQ(credit.book().CheckInvariants(), std::nullopt);
    ASSERT_EQ(credit.last_position().n, records.count);
  }
};

TEST(CreditRandom, Interleavings_NeverPassABudget_AndAgreeWithTheAuditor) {
  int admitted = 0, refused = 0;
  for (std::uint64_t seed = 1; seed <= 25; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Traffic run(seed);
    for (int step = 0; step < 400; ++step) {
      run.Step();
      run.Check();
      if (testing::Test::HasFatalFailure()) return;
    }
    admitted += run.admitted;
    refused += run.refused;
  }
  EXPECT_GT(admitted, 1000);
  EXPECT_GT(refused, 200);
}

// Kills the process after every record: what is on disk alone decides, resolving it twice or
// killing the recovery after any of its own records comes to the same accounts, and nothing is
// charged that was not delivered.
TEST(CreditRandom, CrashAfterAnyRecord_RecoversToTheSameBooks) {
  for (std::uint64_t seed = 100; seed < 104; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Traffic run(seed);
    for (int step = 0; step < 200; ++step) run.Step();
    const auto journal = Records(run.records);
    ASSERT_GT(journal.size(), 50U);
    for (std::size_t cut = 0; cut <= journal.size(); ++cut) {
      std::map<RequestId, std::pair<std::int64_t, std::int64_t>> open;  // hold, delivered price
      std::int64_t charged = 0;
      CreditControl restored;
      for (std::size_t i = 0; i < cut; ++i) {
        ASSERT_EQ(restored.Replay(journal[i]), std::nullopt);
        if (const auto* intent = std::get_if<ledger::IntentRecord>(&journal[i])) {
          open[intent->request] = {intent->hold.n, 0};
        } else if (const auto* mark = std::get_if<ledger::CheckpointRecord>(&journal[i])) {
          open[mark->request].second =
              mark->usage.input_tokens * 1000 + mark->usage.output_tokens * 2000;
        } else if (const auto* settle = std::get_if<ledger::SettleRecord>(&journal[i])) {
          charged += settle->charged.n;
          open.erase(settle->request);
        } else if (const auto* voided = std::get_if<ledger::VoidRecord>(&journal[i])) {
          open.erase(voided->request);
        }
      }
      for (const auto& [request, one] : open) charged += std::min(one.first, one.second);
      ledger::RecordBuffer resolutions;
      const Resolution done = restored.ResolveOpen(run.now, resolutions);
      ASSERT_EQ(done.settled + done.voided, open.size());
      ASSERT_EQ(restored.Totals().charged.n, charged);
      ASSERT_EQ(restored.Totals().held.n, 0);
      ASSERT_EQ(restored.Totals().requests_open, 0U);
      ASSERT_EQ(restored.book().CheckInvariants(), std::nullopt);
      const std::string expected = Describe(restored, Traffic::kKeys);

      const auto resolved = Records(resolutions);
      for (std::size_t second = 0; second <= resolved.size(); ++second) {
        CreditControl again;
        for (std::size_t i = 0; i < cut; ++i) ASSERT_EQ(again.Replay(journal[i]), std::nullopt);
        for (std::size_t i = 0; i < second; ++i) {
          ASSERT_EQ(again.Replay(resolved[i]), std::nullopt);
        }
        ledger::RecordBuffer rest;
        again.ResolveOpen(run.now + Seconds(60), rest);
        ASSERT_EQ(rest.count, resolved.size() - second);
        ASSERT_EQ(Describe(again, Traffic::kKeys), expected);
      }
    }
  }
}

TEST(CreditRandom, SameCommands_MakeTheSameBytes) {
  Traffic first(7), second(7);
  for (int step = 0; step < 500; ++step) {
    first.Step();
    second.Step();
  }
  EXPECT_EQ(first.records.bytes, second.records.bytes);
}

TEST(CreditStep, DispatchesToTheFour) {
  CreditControl credit;
  ledger::RecordBuffer records;
  const AdmitCommand admit{.request = Request(1), .key = Key(1), .limits = NoLimits(), .quote = {}};
  EXPECT_EQ(std::get<AdmitReply>(credit.Step(admit, kNow, records)).position.n, 2U);
  EXPECT_EQ(std::get<CheckpointReply>(
                credit.Step(CheckpointCommand{Request(1), Used(1, 1)}, kNow, records))
                .position.n,
            3U);
  EXPECT_EQ(
      std::get<ExtendReply>(credit.Step(ExtendCommand{Request(1), 5}, kNow, records)).position.n,
      4U);
  EXPECT_EQ(std::get<SettleReply>(credit.Step(SettleCommand{Request(1), {}, true}, kNow, records))
                .position.n,
            5U);
}

}  // namespace
}  // namespace weir::gateway
