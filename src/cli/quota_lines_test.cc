#include "cli/quota_lines.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace weir::cli {
namespace {

constexpr RequestId kOne{{1, 1}};

ledger::CounterRecord Counter(std::uint32_t number, std::string policy) {
  return {.number = number,
          .counter = {2, number + 1},
          .unit = static_cast<std::uint8_t>(config::QuotaUnit::kTotalTokens),
          .policy = std::move(policy),
          .values = "team=t0"};
}
ledger::IntentRecord Intent(std::vector<ledger::QuotaLine> lines) {
  return {.request = kOne, .quotas = ledger::QuotaHold{.lines = std::move(lines)}};
}
ledger::SettleRecord Settle(std::vector<ledger::Amount> used) {
  return {.request = kOne, .quotas = std::move(used)};
}
std::string Text(const std::vector<NamedLine>& lines) {
  std::string text;
  for (const NamedLine& line : lines) {
    text += line.policy + " " + line.values + " " + std::to_string(line.amount) + ";";
  }
  return text;
}

TEST(QuotaLines, FiguresOfASettlement_AreThoseOfTheLinesOfItsHold) {
  QuotaLines lines;
  EXPECT_TRUE(lines.See(Counter(0, "a")).empty());
  EXPECT_TRUE(lines.See(Counter(7, "b")).empty());
  lines.See(ledger::WindowRecord{.number = 0, .ends_at = {10}});
  lines.See(ledger::WindowRecord{.number = 7, .ends_at = {10}});
  EXPECT_EQ(Text(lines.See(Intent({{7, {5}}, {0, {1}}}))), "b team=t0 5;a team=t0 1;");
  EXPECT_EQ(Text(lines.See(ledger::ExtendRecord{.request = kOne, .quotas = {{7, {3}}}})),
            "b team=t0 3;");
  EXPECT_EQ(Text(lines.See(Settle({{6}, {1}}))), "b team=t0 6;a team=t0 1;");
  EXPECT_TRUE(lines.See(Settle({{6}, {1}})).empty()) << "it has ended";
}

TEST(QuotaLines, AnExtensionInALaterWindow_IsALineOfItsOwn) {
  QuotaLines lines;
  lines.See(Counter(0, "a"));
  lines.See(ledger::WindowRecord{.number = 0, .ends_at = {10}});
  lines.See(Intent({{0, {5}}}));
  lines.See(ledger::WindowRecord{.number = 0, .ends_at = {10}, .limit = {9}});
  lines.See(ledger::ExtendRecord{.request = kOne, .quotas = {{0, {3}}}});
  lines.See(ledger::WindowRecord{.number = 0, .starts_at = {10}, .ends_at = {20}});
  lines.See(ledger::ExtendRecord{.request = kOne, .quotas = {{0, {2}}}});
  EXPECT_EQ(Text(lines.See(Settle({{8}, {1}}))), "a team=t0 8;a team=t0 1;");
}

TEST(QuotaLines, ANumberThatIsGivenAgain_StandsForTheNewCounter) {
  QuotaLines lines;
  lines.See(Counter(0, "a"));
  lines.See(Counter(0, "b"));
  ASSERT_NE(lines.Find(0), nullptr);
  EXPECT_EQ(lines.Find(0)->policy, "b");
  EXPECT_EQ(lines.Find(1), nullptr);
}

TEST(QuotaLines, RecordsThatFitNothing_AreSafe) {
  QuotaLines lines;
  EXPECT_EQ(Text(lines.See(Intent({{9, {5}}}))), "  5;");
  EXPECT_EQ(Text(lines.See(Settle({{1}, {2}, {3}}))), "  1;");
  ledger::CounterRecord other = Counter(9, "a");
  other.unit = 255;
  lines.See(other);
  EXPECT_EQ(Text(lines.See(Intent({{9, {5}}}))), "  5;");
  EXPECT_TRUE(lines.See(ledger::VoidRecord{.request = {{5, 5}}, .quotas = {{1}}}).empty());
}

}  // namespace
}  // namespace weir::cli
