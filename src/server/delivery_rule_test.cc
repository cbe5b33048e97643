// The rule as a table, and the schedule as a sum.
#include "server/delivery_rule.h"

#include <gtest/gtest.h>

namespace weir::server {
namespace {

using Verdict = store::Attempt::Verdict;

// Draws what it is told: the least, the middle or the most of a jitter is then exact.
class Fixed final : public Random {
 public:
  explicit Fixed(std::uint64_t value) : value_(value) {}
  std::uint64_t Next() override { return value_; }

 private:
  std::uint64_t value_;
};

DeliveryDecision After(std::int64_t status, std::int64_t attempts = 0,
                       std::optional<Duration> retry_after = std::nullopt,
                       std::int64_t throttled = 0) {
  Fixed random(static_cast<std::uint64_t>(
      attempts >= 0 && attempts < 9 ? kDeliveryWaits[static_cast<std::size_t>(attempts)].ns / 10
                                    : 0));
  return Decide({.status = status, .retry_after = retry_after}, attempts, throttled, random);
}

TEST(DeliveryRule, StatusesMeanWhatTheSpecificationSays) {
  struct Case {
    std::int64_t status;
    Verdict verdict;
    Duration pause;
  };
  for (const Case& c : std::initializer_list<Case>{
           {200, Verdict::kDelivered, {}},     {201, Verdict::kDelivered, {}},
           {204, Verdict::kDelivered, {}},     {299, Verdict::kDelivered, {}},
           {0, Verdict::kRetry, {}},           {199, Verdict::kRetry, {}},
           {300, Verdict::kRetry, {}},         {301, Verdict::kRetry, {}},
           {302, Verdict::kRetry, {}},         {307, Verdict::kRetry, {}},
           {308, Verdict::kRetry, {}},         {400, Verdict::kRetry, {}},
           {401, Verdict::kRetry, {}},         {404, Verdict::kRetry, {}},
           {409, Verdict::kRetry, {}},         {410, Verdict::kDisable, {}},
           {411, Verdict::kRetry, {}},         {429, Verdict::kRetry, Seconds(5)},
           {500, Verdict::kRetry, {}},         {501, Verdict::kRetry, {}},
           {502, Verdict::kRetry, Seconds(5)}, {503, Verdict::kRetry, {}},
           {504, Verdict::kRetry, Seconds(5)}, {599, Verdict::kRetry, {}}}) {
    const DeliveryDecision decision = After(c.status);
    EXPECT_EQ(decision.verdict, c.verdict) << c.status;
    EXPECT_EQ(decision.pause, c.pause) << c.status;
    EXPECT_EQ(decision.wait, c.verdict == Verdict::kRetry ? Seconds(5) : Duration{}) << c.status;
  }
}

TEST(DeliveryRule, TenAttempts_OverThreeDays_ThenItIsGivenUp) {
  Duration total;
  for (std::int64_t attempts = 0; attempts < 9; ++attempts) {
    const DeliveryDecision decision = After(500, attempts);
    ASSERT_EQ(decision.verdict, Verdict::kRetry) << attempts;
    total = total + decision.wait;
  }
  EXPECT_EQ(total, Minutes(75 * 60 + 35) + Seconds(5));
  EXPECT_EQ(After(500, 9).verdict, Verdict::kFailed);
  EXPECT_EQ(After(429, 9).verdict, Verdict::kFailed);
  EXPECT_EQ(After(500, 1'000).verdict, Verdict::kFailed);
  EXPECT_EQ(After(204, 9).verdict, Verdict::kDelivered);
  EXPECT_EQ(After(410, 9).verdict, Verdict::kDisable);
}

TEST(DeliveryRule, EachWait_IsATenthMoreOrLess) {
  for (std::int64_t attempts = 0; attempts < 9; ++attempts) {
    const std::int64_t wait = kDeliveryWaits[static_cast<std::size_t>(attempts)].ns;
    const auto drawn = [&](std::int64_t value) {
      Fixed random(static_cast<std::uint64_t>(value));
      return Decide({.status = 500, .retry_after = {}}, attempts, 0, random).wait.ns;
    };
    EXPECT_EQ(drawn(0), wait - wait / 10);
    EXPECT_EQ(drawn(2 * (wait / 10)), wait + wait / 10);
    EXPECT_EQ(drawn(2 * (wait / 10) + 1), wait - wait / 10);  // around again
    EXPECT_LE(drawn(2 * (wait / 10)), kDeliveryWaitMax.ns);
  }
  SeededRandom random(1);
  for (int i = 0; i < 1'000; ++i) {
    const Duration wait = Decide({.status = 0, .retry_after = {}}, 0, 0, random).wait;
    EXPECT_GE(wait, Milliseconds(4'500));
    EXPECT_LE(wait, Milliseconds(5'500));
  }
}

TEST(DeliveryRule, RetryAfter_IsNeverCutShort_AndHasABound) {
  // Longer than the schedule: it decides; shorter: the schedule does.
  EXPECT_EQ(After(503, 0, Seconds(60)).wait, Seconds(60));
  EXPECT_EQ(After(503, 0, Seconds(60)).pause, Seconds(60));
  EXPECT_EQ(After(503, 1, Seconds(60)).wait, Minutes(5));
  EXPECT_EQ(After(429, 0, Seconds(2)).wait, Seconds(5));
  EXPECT_EQ(After(429, 0, Seconds(2)).pause, Seconds(2));
  EXPECT_EQ(After(500, 0, Seconds(60)).pause, Seconds(60));
  EXPECT_EQ(After(302, 0, Seconds(60)).wait, Seconds(60));
  EXPECT_EQ(After(429, 0, Minutes(60 * 24 * 365)).wait, Minutes(60 * 24));
  EXPECT_EQ(After(429, 0, Minutes(60 * 24 * 365)).pause, Minutes(60 * 24));
  EXPECT_EQ(After(204, 0, Seconds(60)).pause, Duration{});
  EXPECT_EQ(After(429, 9, Seconds(60)).pause, Seconds(60));  // others wait, though this one failed
}

TEST(DeliveryRule, AnEndpointUnderLoad_IsLeftAloneForLongerEachTime) {
  const std::array<std::int64_t, 9> seconds = {5, 10, 20, 40, 80, 160, 320, 320, 320};
  for (std::size_t throttled = 0; throttled < seconds.size(); ++throttled) {
    EXPECT_EQ(After(502, 0, std::nullopt, static_cast<std::int64_t>(throttled)).pause,
              Seconds(seconds[throttled]));
  }
  EXPECT_EQ(After(502, 0, std::nullopt, INT64_MAX).pause, Seconds(320));
}

}  // namespace
}  // namespace weir::server
