// The auditor's books must find each way of being wrong, or they prove nothing.
#include "sim/books.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

namespace weir::sim {
namespace {

using ledger::CheckpointRecord;
using ledger::FundRecord;
using ledger::IntentRecord;
using ledger::Record;
using ledger::ResolveCause;
using ledger::SettleRecord;
using ledger::VoidRecord;

constexpr KeyId kKey{{0, 1}};
constexpr RequestId kOne{{1, 1}};
const config::Price kPrice{.input = {1'000'000},
                           .cached_input = {250'000},
                           .cache_write = {1'250'000},
                           .output = {4'000'000},
                           .per_request = {7}};
const std::uint64_t kPriceId = config::IdOf(kPrice).n;

ledger::PriceRecord PriceOnce() {
  ledger::PriceRecord record{.time = {}, .id = kPriceId, .bytes = {}};
  config::EncodePrice(kPrice, record.bytes);
  return record;
}

Usage Used(std::int64_t input, std::int64_t output, UsageSource source = UsageSource::kProvider) {
  return {.input_tokens = input, .output_tokens = output, .source = source};
}

IntentRecord Intent(std::int64_t hold) {
  return {.request = kOne, .key = kKey, .price_id = kPriceId, .hold = {hold}};
}
SettleRecord Settle(std::int64_t charged, std::int64_t overrun, Usage usage) {
  return {.request = kOne,
          .key = kKey,
          .price_id = kPriceId,
          .charged = {charged},
          .overrun = {overrun},
          .usage = usage};
}
VoidRecord Void(std::int64_t released) {
  return {.request = kOne, .key = kKey, .released = {released}};
}
FundRecord Fund(std::int64_t amount, std::uint32_t leg = 0, bool capped = true) {
  return {.key = kKey, .amount = {amount}, .capped = capped, .leg = leg};
}

constexpr ledger::WalletId kWallet{{3, 3}};
constexpr Instant kNow{1'000'000'000};
ledger::GrantId Grant(std::uint64_t n) { return {{4, n}}; }

ledger::GrantRecord Give(std::uint64_t n, std::int64_t amount, std::int32_t priority = 0) {
  return {.time = kNow,
          .grant = Grant(n),
          .wallet = kWallet,
          .amount = {amount},
          .priority = priority,
          .effective_at = kNow,
          .expires_at = kNow + Seconds(10)};
}
ledger::WalletHold HoldOf(std::vector<ledger::HoldLine> lines) {
  return {.wallet = kWallet, .multiplier_ppm = 2'500'000, .lines = std::move(lines)};
}
IntentRecord PaidBy(std::vector<ledger::HoldLine> lines) {
  IntentRecord record = Intent(9'000);
  record.time = kNow;
  record.wallet = HoldOf(std::move(lines));
  return record;
}
SettleRecord PaidWith(std::int64_t charged, std::int64_t overrun) {
  SettleRecord record = Settle(5'007, 0, Used(1, 1));
  record.wallet = ledger::WalletCharge{{charged}, {overrun}};
  return record;
}
ledger::ExtendRecord More(std::vector<ledger::HoldLine> lines, std::int64_t hold = 1) {
  return {.time = kNow, .request = kOne, .hold = {hold}, .wallet = HoldOf(std::move(lines))};
}
ledger::GrantEndRecord End(std::uint64_t n, std::int64_t removed, Instant at,
                           ledger::GrantEndReason reason = ledger::GrantEndReason::kExpired) {
  return {.time = at, .grant = Grant(n), .removed = {removed}, .reason = reason};
}

TEST(WalletPriceByHand, TimesTheMultiplier_RoundsUpOnce) {
  EXPECT_EQ(WalletPriceByHand(ledger::Unit::kQuotaToken, 3'000'000, kPrice, Used(1'800, 3'400)),
            15'600);
  EXPECT_EQ(WalletPriceByHand(ledger::Unit::kQuotaToken, 333'333, kPrice, Used(1, 1)), 1);
  EXPECT_EQ(WalletPriceByHand(ledger::Unit::kQuotaToken, 0, kPrice, Used(9, 9)), 0);
  EXPECT_EQ(WalletPriceByHand(ledger::Unit::kNanoUsd, 500'000, kPrice, Used(1, 1)), 2'504);
  EXPECT_EQ(WalletPriceByHand(ledger::Unit::kNanoUsd, 500'000, kPrice, {}), 0);
}

TEST(PriceByHand, RoundsUpOnce_AndCountsEachKindOfToken) {
  // 3 x 1,000,000 + 2 x 250,000 + 5 x 4,000,000 pUSD + 7 nUSD
  EXPECT_EQ(PriceByHand(kPrice, {.input_tokens = 5,
                                 .cached_input_tokens = 2,
                                 .output_tokens = 5,
                                 .source = UsageSource::kProvider}),
            NanoUsd{23'507});
  config::Price tiny;
  tiny.output = {1};
  EXPECT_EQ(PriceByHand(tiny, Used(0, 1)), NanoUsd{1});
  EXPECT_EQ(PriceByHand(tiny, Used(0, 1000)), NanoUsd{1});
  EXPECT_EQ(PriceByHand(tiny, Used(0, 1001)), NanoUsd{2});
  EXPECT_EQ(PriceByHand(kPrice, {}), NanoUsd{0});
  EXPECT_EQ(PriceByHand(kPrice, Used(1, std::int64_t{1} << 40)),
            NanoUsd{(std::int64_t{4000} << 40) + 1007});
}

TEST(Books, RecordsOfAWholeLife_AddUp) {
  Books books;
  for (const Record& record : std::vector<Record>{
           PriceOnce(), Fund(10'000), Intent(9'000),
           CheckpointRecord{.request = kOne, .usage = Used(1, 1, UsageSource::kCheckpoint)},
           Settle(5'007, 0, Used(1, 1))}) {
    const auto breach = books.Add(record);
    ASSERT_FALSE(breach) << breach->rule << ": " << breach->detail;
  }
  EXPECT_TRUE(books.Of(kKey).settled == 5'007);
  EXPECT_TRUE(books.Of(kKey).held == 0);
  EXPECT_EQ(books.Of(kKey).open, 0);
  EXPECT_TRUE(books.unresolved().empty());
  EXPECT_EQ(books.resolved().at(kOne).position, 5U);
}

TEST(Books, EachWayOfBeingWrong_IsFound) {
  SettleRecord other_price = Settle(5'007, 0, Used(1, 1));
  other_price.price_id = kPriceId + 1;
  SettleRecord other_key = Settle(5'007, 0, Used(1, 1));
  other_key.key = KeyId{{0, 2}};
  VoidRecord recovered = Void(9'000);
  recovered.cause = ResolveCause::kRecovery;
  SettleRecord recovered_charge = Settle(5'007, 0, Used(1, 1));
  recovered_charge.cause = ResolveCause::kRecovery;
  const CheckpointRecord note{.request = kOne, .usage = Used(1, 5, UsageSource::kCheckpoint)};
  CheckpointRecord less = note;
  IntentRecord unpriced = Intent(1);
  unpriced.price_id = 5;
  less.usage.output_tokens = 4;
  IntentRecord keyed = Intent(9'000);
  keyed.idempotency = ledger::IdempotencyUse{{8, 8}, {1, 1}};
  IntentRecord keyed_again = keyed;
  keyed_again.request = {{1, 2}};
  const struct {
    std::string why;
    std::vector<Record> records;
    std::string rule;
  } kTable[] = {
      {"held above the budget", {Fund(8'999), Intent(9'000)}, "I3"},
      {"a budget below what is held", {Fund(9'000), Intent(9'000), Fund(-1, 1)}, "I3"},
      {"admitted twice", {Intent(9'000), Intent(9'000)}, "I4"},
      {"settled without admission", {Settle(5'007, 0, Used(1, 1))}, "I4"},
      {"settled twice",
       {Intent(9'000), Settle(5'007, 0, Used(1, 1)), Settle(5'007, 0, Used(1, 1))},
       "I4"},
      {"voided after it was settled",
       {Intent(9'000), Settle(5'007, 0, Used(1, 1)), Void(9'000)},
       "I4"},
      {"settled for another key", {Intent(9'000), other_key}, "I4"},
      {"settled at another price", {Intent(9'000), other_price}, "I24"},
      {"charged above the hold", {Intent(5'006), Settle(5'007, 0, Used(1, 1))}, "I5"},
      {"charged less than it could be", {Intent(9'000), Settle(5'006, 1, Used(1, 1))}, "I5"},
      {"charged another sum than the price", {Intent(9'000), Settle(5'008, 0, Used(1, 1))}, "I5"},
      {"overrun forgotten", {Intent(5'000), Settle(5'000, 0, Used(1, 1))}, "I5"},
      {"released in part", {Intent(9'000), Void(8'999)}, "I5"},
      {"a negative hold", {Intent(-1)}, "I5"},
      {"a checkpoint of nothing", {note}, "I4"},
      {"a checkpoint that goes back", {Intent(9'000), note, less}, "checkpoint"},
      {"voided by a start in spite of a checkpoint", {Intent(9'000), note, recovered}, "recovery"},
      {"charged by a start without a checkpoint", {Intent(9'000), recovered_charge}, "recovery"},
      {"a price written down twice", {PriceOnce()}, "price"},
      {"admitted at a price that nobody knows", {unpriced}, "price"},
      {"funded twice by one leg", {Fund(1), Fund(1)}, "I4"},
      {"a grant given twice", {Give(1, 10), Give(1, 10)}, "I4"},
      {"held above a grant", {Give(1, 4), PaidBy({{Grant(1), {5}}})}, "I3"},
      {"a grant out of its turn", {Give(1, 10, 1), Give(2, 10), PaidBy({{Grant(1), {5}}})}, "I19"},
      {"a grant left over for the next",
       {Give(1, 10), Give(2, 10), PaidBy({{Grant(1), {9}}, {Grant(2), {1}}})},
       "I19"},
      {"a grant that nobody gave", {PaidBy({{Grant(9), {1}}})}, "I19"},
      {"an extension above the balance",
       {Give(1, 10), PaidBy({{Grant(1), {6}}}), More({{Grant(1), {5}}})},
       "I3"},
      {"an extension that takes away",
       {Give(1, 10), PaidBy({{Grant(1), {6}}}), More({{Grant(1), {1}}}, -1)},
       "I5"},
      {"an extension of nobody", {Give(1, 10), More({{Grant(1), {1}}})}, "I4"},
      {"an extension for another payer",
       {Give(1, 10), Intent(9'000), More({{Grant(1), {1}}})},
       "I5"},
      {"a grant ended below what is held",
       {Give(1, 10), PaidBy({{Grant(1), {6}}}), End(1, 5, kNow + Seconds(10))},
       "I19"},
      {"a grant ended before its time", {Give(1, 10), End(1, 5, kNow + Seconds(9))}, "I19"},
      {"the end of a grant that nobody gave", {End(1, 0, kNow)}, "I19"},
      {"a wallet that pays less than it could",
       {Give(1, 10), PaidBy({{Grant(1), {6}}}), PaidWith(4, 1)},
       "I5"},
      {"a wallet that pays above its hold",
       {Give(1, 10), PaidBy({{Grant(1), {4}}}), PaidWith(5, 0)},
       "I5"},
      {"a release that is credited twice",
       {Give(1, 10), PaidBy({{Grant(1), {6}}}), PaidWith(4, 0)},
       "I5"},
      {"a settlement that forgets the wallet",
       {Give(1, 10), PaidBy({{Grant(1), {6}}}), Settle(5'007, 0, Used(1, 1))},
       "I5"},
      {"a key that is in use", {keyed, keyed_again}, "I10"},
      {"a key that was charged", {keyed, Settle(5'007, 0, Used(1, 1)), keyed_again}, "I10"},
  };
  for (const auto& row : kTable) {
    Books books;
    ASSERT_FALSE(books.Add(PriceOnce()));
    std::optional<Breach> breach;
    for (const Record& record : row.records) {
      EXPECT_FALSE(breach) << row.why << ": found too early";
      breach = books.Add(record);
    }
    ASSERT_TRUE(breach) << row.why;
    EXPECT_EQ(breach->rule, row.rule) << row.why << ": " << breach->detail;
  }
}

TEST(Books, AWalletsWholeLife_AddsUp) {
  Books books;
  for (const Record& record : std::vector<Record>{
           PriceOnce(), Give(1, 4), Give(2, 10), PaidBy({{Grant(1), {4}}, {Grant(2), {1}}}),
           More({{Grant(2), {3}}}), End(2, 6, kNow, ledger::GrantEndReason::kRevoked),
           PaidWith(5, 0), End(2, 3, kNow, ledger::GrantEndReason::kRevoked)}) {
    const auto breach = books.Add(record);
    ASSERT_FALSE(breach) << breach->rule << ": " << breach->detail;
  }
  const Books::Grant& second = books.grants().at(Grant(2));
  EXPECT_TRUE(books.grants().at(Grant(1)).spent == 4);
  EXPECT_TRUE(second.spent == 1 && second.held == 0 && second.ended == 9 && second.free() == 0);
}

TEST(Books, AKeyThatIsFreeAgain_MayBeUsed) {
  IntentRecord first = Intent(9'000);
  first.idempotency = ledger::IdempotencyUse{{8, 8}, {1, 1}};
  IntentRecord again = first;
  again.request = {{1, 2}};
  Books voided;
  EXPECT_FALSE(voided.Add(PriceOnce()));
  EXPECT_FALSE(voided.Add(first));
  EXPECT_FALSE(voided.Add(Void(9'000)));
  EXPECT_FALSE(voided.Add(again));
  Books a_day_later;
  EXPECT_FALSE(a_day_later.Add(PriceOnce()));
  EXPECT_FALSE(a_day_later.Add(first));
  EXPECT_FALSE(a_day_later.Add(Settle(5'007, 0, Used(1, 1))));
  a_day_later.Passed(Instant{0} + Seconds(86'400));
  EXPECT_FALSE(a_day_later.Add(again));
}

TEST(Books, ABudgetThatIsLifted_BoundsNothing) {
  Books books;
  EXPECT_FALSE(books.Add(PriceOnce()));
  EXPECT_FALSE(books.Add(Fund(10)));
  EXPECT_FALSE(books.Add(Fund(0, 1, false)));
  EXPECT_FALSE(books.Add(Intent(9'000)));
}

}  // namespace
}  // namespace weir::sim
