// What is told of a threshold: whose, how much, until when, and under an id that stays the same.
#include "server/quota_event.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::server {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr Instant kStart{1'767'225'600'000'000'000};  // 2026-01-01

gateway::QuotaAlert Alert() {
  return {.position = {41},
          .time = kStart + Seconds(10 * 86'400),
          .policy = "team-growth",
          .values = "team=growth",
          .unit = config::QuotaUnit::kUsd,
          .percent = 75,
          .settled = 375'500'000'000,
          .limit = 500'000'000'000,
          .window_starts_at = kStart,
          .window_ends_at = kStart + Seconds(31 * 86'400)};
}
config::Config WithPolicy() {
  config::Config config;
  config::Policy policy;
  policy.id = "team-growth";
  policy.owner = "growth \"lead\"";
  policy.contact = "ask@example.com";
  policy.version = 7;
  config.policies.push_back(policy);
  return config;
}

TEST(QuotaEvent, Threshold_SaysWhoseHowMuchAndUntilWhen) {
  const telemetry::Event event = EventOf(Alert(), WithPolicy());
  EXPECT_EQ(event.type, "policy.alert");
  EXPECT_EQ(event.time, Alert().time);
  EXPECT_EQ(
      event.data,
      R"({"policy":"team-growth","owner":"growth \"lead\"","version":7,"counter":"team=growth",)"
      R"("percent":75,"unit":"usd","used":"375.5","limit":"500","remaining":"124.5",)"
      R"("window_starts_at":"2026-01-01T00:00:00Z","window_ends_at":"2026-02-01T00:00:00Z",)"
      R"("shadow":false,"contact":"ask@example.com"})");
}

TEST(QuotaEvent, Forecast_SaysWhenItIsUsedUp) {
  gateway::QuotaAlert alert = Alert();
  alert.percent = 0;
  alert.settled = 250'000'000'000;  // half in ten days: all of it in twenty
  EXPECT_EQ(UsedUpAt(alert), kStart + Seconds(20 * 86'400));
  const telemetry::Event event = EventOf(alert, WithPolicy());
  EXPECT_EQ(event.type, "policy.forecast");
  EXPECT_THAT(event.data, HasSubstr(R"("used_up_at":"2026-01-21T00:00:00Z")"));
  EXPECT_THAT(event.data, Not(HasSubstr("percent")));
  alert.window_starts_at = {0};
  alert.limit = config::kQuotaMax;
  alert.settled = 1;
  EXPECT_EQ(UsedUpAt(alert).ns, INT64_MAX) << "never, as far as a clock can say";
}

TEST(QuotaEvent, Id_IsTheSameForTheSameRecord_AndNoOther) {
  const std::string id = EventOf(Alert(), WithPolicy()).id;
  EXPECT_EQ(EventOf(Alert(), config::Config{}).id, id);
  gateway::QuotaAlert next = Alert();
  next.position = {42};
  EXPECT_NE(EventOf(next, WithPolicy()).id, id);
  EXPECT_EQ(id.size(), 30U);
  EXPECT_TRUE(id.starts_with("evt_"));
}

TEST(QuotaEvent, PolicyThatIsGone_IsToldAllTheSame) {
  gateway::QuotaAlert alert = Alert();
  alert.window_ends_at = {INT64_MAX};
  const telemetry::Event event = EventOf(alert, config::Config{});
  EXPECT_THAT(event.data, HasSubstr(R"("policy":"team-growth","counter")"));
  EXPECT_THAT(event.data, Not(HasSubstr("window_ends_at")));
}

// What a retry rule made is told with the owner of its policy.
TEST(QuotaEvent, DerivedPolicy_HasTheOwnerOfItsPolicy) {
  gateway::QuotaAlert alert = Alert();
  alert.policy = "team-growth/attempts";
  alert.unit = config::QuotaUnit::kAttempts;
  EXPECT_THAT(EventOf(alert, WithPolicy()).data, HasSubstr(R"(growth \"lead\")"));
}

}  // namespace
}  // namespace weir::server
