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

TEST(Books, ABudgetThatIsLifted_BoundsNothing) {
  Books books;
  EXPECT_FALSE(books.Add(PriceOnce()));
  EXPECT_FALSE(books.Add(Fund(10)));
  EXPECT_FALSE(books.Add(Fund(0, 1, false)));
  EXPECT_FALSE(books.Add(Intent(9'000)));
}

}  // namespace
}  // namespace weir::sim
