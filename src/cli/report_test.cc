// What `weir report` makes of a log and of outcomes.
#include "cli/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "cli/cli.h"
#include "config/price_codec.h"
#include "store/outcome_store.h"
#include "store/request_log.h"

namespace weir::cli {
namespace {

using config::Dimension;
using config::ReviewCadence;
using ::testing::HasSubstr;

constexpr std::int64_t kDayNs = 86'400LL * 1'000'000'000;
constexpr Instant kTo{1'767'225'600'000'000'000};  // 2026-01-01T00:00:00Z

config::Config WithPolicies() {
  config::Config config;
  config::Policy month;
  month.id = "support-month";
  month.owner = "support";
  month.match = {{Dimension::kTeam, {"support"}}};
  month.unit = config::QuotaUnit::kRequests;
  month.limit = 40;
  month.window.kind = config::WindowKind::kLifetime;
  month.forecast = false;
  month.review = ReviewCadence::kDaily;
  month.retry.attempts = 3;
  config::Policy context = month;
  context.id = "context";
  context.unit = config::QuotaUnit::kContextTokens;
  context.window.kind = config::WindowKind::kRequest;
  context.limit = 100'000;
  context.review = ReviewCadence::kMonthly;
  context.retry = {};
  config.policies = {month, context};
  return config;
}

telemetry::ExchangeRecord Row(std::uint64_t n, Instant at, std::int64_t input) {
  telemetry::ExchangeRecord row;
  row.started_at = at;
  row.request = RequestId{MakeId(at, 0, n)};
  row.key = KeyId{{1, 1}};
  row.ending = telemetry::EndingKind::kServed;
  row.status = 200;
  row.operation = "responses";
  row.model = row.model_charged = "m";
  row.attempts = 1;
  row.total = Seconds(1);
  row.usage = {.input_tokens = input, .output_tokens = 100, .source = UsageSource::kProvider};
  row.charge = true;
  row.charged = {1'000'000};
  row.hold_position = n + 1;
  row.input_tokens_bound = 50'000;
  row.output_tokens_bound = row.output_tokens_asked = 1000;
  row.output_choices = 1;
  row.output_tokens_useful = 1;
  std::vector<std::uint8_t> price;
  config::EncodePrice({.input = {1'000'000}, .output = {1'000'000}}, price);
  row.price = {price.begin(), price.end()};
  row.attributes.Add(Dimension::kKey, "bot");
  row.attributes.Add(Dimension::kTeam, "support");
  return row;
}

class ReportTest : public testing::Test {
 protected:
  ReportTest() {
    directory_ =
        std::filesystem::temp_directory_path() / ("weir_report_test." + std::to_string(getpid()));
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
    log_ = *store::RequestLog::Open((directory_ / "requests.db").string(), {.keep = {}});
  }
  ~ReportTest() override {
    log_.reset();
    std::filesystem::remove_all(directory_);
  }
  // `count` requests in the day that is so many days before kTo.
  void Add(int count, int days_before, std::int64_t input, std::string_view action = {}) {
    for (int i = 0; i < count; ++i) {
      auto row = Row(++n_, Instant{kTo.ns - days_before * kDayNs} + Seconds(10 * (i + 1)), input);
      row.action = action;
      log_->Append(row);
    }
    log_->Flush();
  }
  static std::string At(const boost::json::value& json, std::string_view pointer) {
    boost::system::error_code none;
    const auto* value = json.find_pointer(pointer, none);
    return value == nullptr ? "missing" : boost::json::serialize(*value);
  }
  ReportTold Make(const config::Config& config, ReviewCadence cadence = ReviewCadence::kDaily) {
    auto told = MakeReport(directory_.string(), config, cadence, kTo);
    EXPECT_TRUE(told) << told.error().detail;
    return told ? std::move(*told) : ReportTold{};
  }

  std::filesystem::path directory_;
  std::unique_ptr<store::RequestLog> log_;
  std::uint64_t n_ = 0;
};

TEST_F(ReportTest, SaysWhatMovedAndWhichPolicyToChange) {
  Add(20, 2, 1000);
  Add(20, 1, 2000);
  const config::Config config = WithPolicies();
  const ReportTold told = Make(config);
  const auto json = boost::json::parse(ReportJson(told));
  EXPECT_EQ(At(json, "/cadence"), R"("daily")");
  EXPECT_EQ(At(json, "/owners/0/owner"), R"("support")");
  EXPECT_EQ(At(json, "/owners/0/now/requests"), "20");
  EXPECT_EQ(At(json, "/owners/0/now/cost_usd"), R"("0.02")");
  EXPECT_EQ(At(json, "/owners/0/signals/0/kind"), R"("input_up")");
  EXPECT_EQ(At(json, "/owners/0/signals/0/before"), "1000");
  EXPECT_EQ(At(json, "/owners/0/signals/0/now"), "2000");
  EXPECT_EQ(At(json, "/owners/0/signals/0/policy"), R"("context")");
  EXPECT_EQ(At(json, "/owners/0/now/cost_per_accepted_usd"), "null");
  EXPECT_EQ(At(json, "/outcomes_told"), "false");
  const std::string text = ReportText(told);
  EXPECT_THAT(text, HasSubstr("daily review: 2025-12-31T00:00:00Z to 2026-01-01T00:00:00Z"));
  EXPECT_THAT(text, HasSubstr("! Input tokens per served request: 1000 before, 2000 now"));
  EXPECT_THAT(text, HasSubstr("change context: Cap input by workflow"));
  EXPECT_THAT(text, HasSubstr("No outcome was told"));
}

TEST_F(ReportTest, CountersAreFilledFromBeforeThePeriod) {
  Add(15, 3, 1000);
  Add(15, 1, 1000);
  const config::Config config = WithPolicies();
  const auto json = boost::json::parse(ReportJson(Make(config)));
  EXPECT_EQ(At(json, "/policies/0/id"), R"("support-month")");
  EXPECT_EQ(At(json, "/policies/0/most_permille"), "750") << "30 of 40, 15 of them before";
  EXPECT_EQ(At(json, "/policies/0/alerts"), "2") << "50 and 75 percent";
  EXPECT_EQ(At(json, "/policies/0/now/requests"), "15");
  EXPECT_EQ(At(json, "/policies/0/due"), "true");
  EXPECT_EQ(At(json, "/policies/1/id"), R"("support-month/attempts")");
  EXPECT_EQ(At(json, "/policies/1/limit"), "null");
  EXPECT_EQ(At(json, "/policies/2/due"), "false");
}

TEST_F(ReportTest, WhatAnAcceptedResultCosts) {
  Add(3, 1, 1000, "one");
  Add(1, 1, 1000, "two");
  {
    auto outcomes = *store::OutcomeStore::Open((directory_ / "outcomes.db").string());
    const auto told = [](std::string action, bool accepted) {
      return store::OutcomeRecord{.scope = "bot",
                                  .action = std::move(action),
                                  .accepted = accepted,
                                  .note = {},
                                  .key = {{1, 1}},
                                  .at = kTo};
    };
    ASSERT_TRUE(outcomes->Tell(told("one", true)));
    ASSERT_TRUE(outcomes->Tell(told("two", false)));
  }
  const config::Config config = WithPolicies();
  const ReportTold told = Make(config);
  const auto json = boost::json::parse(ReportJson(told));
  EXPECT_EQ(At(json, "/owners/0/now/accepted"), "1");
  EXPECT_EQ(At(json, "/owners/0/now/rejected"), "1");
  EXPECT_EQ(At(json, "/owners/0/now/cost_per_accepted_usd"), R"("0.004")");
  EXPECT_EQ(At(json, "/policies/0/now/cost_per_accepted_usd"), R"("0.004")");
  EXPECT_EQ(At(json, "/owners/0/signals/0/kind"), R"("attempts")");
  EXPECT_EQ(At(json, "/owners/0/signals/0/policy"), R"("support-month")");
  EXPECT_THAT(ReportText(told), HasSubstr("1 results accepted, 1 rejected; 0.004 USD per"));
}

TEST_F(ReportTest, NothingOfThePeriodBefore_IsSaid) {
  Add(20, 1, 1000);
  const config::Config config = WithPolicies();
  EXPECT_THAT(ReportText(Make(config)), HasSubstr("nothing is compared"));
}

TEST_F(ReportTest, NoLog_SaysSo) {
  const config::Config config = WithPolicies();
  const auto told =
      MakeReport((directory_ / "nowhere").string(), config, ReviewCadence::kDaily, kTo);
  ASSERT_FALSE(told);
  EXPECT_EQ(told.error().code, ErrorCode::kNotFound);
}

TEST(PeriodsOf, TouchAndAreOfOneLength) {
  for (const auto& [cadence, days] : {std::pair(ReviewCadence::kDaily, 1),
                                      {ReviewCadence::kWeekly, 7},
                                      {ReviewCadence::kMonthly, 30}}) {
    const auto periods = PeriodsOf(cadence, kTo);
    EXPECT_EQ(periods.to - periods.middle, Duration{days * kDayNs});
    EXPECT_EQ(periods.middle - periods.from, Duration{days * kDayNs});
  }
}

}  // namespace
}  // namespace weir::cli
