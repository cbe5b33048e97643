// The wire form, against values that other implementations made.
#include "server/webhook_message.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <string>
#include <vector>

#include "config/webhook.h"

namespace weir::server {
namespace {

std::vector<std::string> Keys(std::string_view secret) {
  return config::ParseWebhookSecret(secret).value_or(std::vector<std::string>());
}

telemetry::Event Low() {
  return {.id = "evt_01K0000000000000000000000A",
          .type = "wallet.low",
          .time = {1'800'000'000'123'456'789},
          .data = R"({"owner":"workspace:acme","left":5})"};
}

// The test vector that the reference libraries publish, and everybody else with them.
TEST(WebhookMessage, SignsAsTheReferenceLibrariesDo) {
  EXPECT_EQ(
      WebhookSignature("msg_p5jXN8AQM9LWM0D4loKWxJek", 1'614'265'330, R"({"test": 2432232314})",
                       Keys("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")),
      "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

TEST(WebhookMessage, TwoKeys_AreTwoSignatures_OfTheSameText) {
  const std::string one = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
  const std::string two = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
  const auto sign = [](const std::string& secret) {
    return WebhookSignature("evt_1", 1, "{}", Keys(secret));
  };
  EXPECT_EQ(sign(one + " " + two), sign(one) + " " + sign(two));
  EXPECT_NE(sign(one), sign(two));
}

TEST(WebhookMessage, TheSignature_CoversIdTimeAndBody) {
  const auto keys = Keys("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
  const std::string right = WebhookSignature("evt_1", 1, "{}", keys);
  EXPECT_NE(WebhookSignature("evt_2", 1, "{}", keys), right);
  EXPECT_NE(WebhookSignature("evt_1", 2, "{}", keys), right);
  EXPECT_NE(WebhookSignature("evt_1", 1, "{ }", keys), right);
}

TEST(WebhookMessage, TheBody_IsTypeTimestampAndData) {
  EXPECT_EQ(WebhookBody(Low()), R"({"type":"wallet.low","timestamp":"2027-01-15T08:00:00.123456Z",)"
                                R"("data":{"owner":"workspace:acme","left":5}})");
  const auto parsed = boost::json::parse(WebhookBody(Low()));
  EXPECT_EQ(parsed.as_object().size(), 3U);
  // The largest there may be is less than 20 kB.
  telemetry::Event large = Low();
  large.type = std::string(64, 't');
  large.data = std::string(telemetry::kEventDataBytesMax, 'x');
  EXPECT_LT(WebhookBody(large).size(), 20'000U);
}

TEST(WebhookMessage, TheHeaders_CarryTheTimeOfTheAttempt_NotOfTheEvent) {
  const auto keys = Keys("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
  const std::string body = WebhookBody(Low());
  const std::string headers = WebhookHeaders(Low(), body, {1'800'000'600'999'999'999}, keys);
  EXPECT_EQ(headers,
            "content-type: application/json\r\n"
            "webhook-id: evt_01K0000000000000000000000A\r\n"
            "webhook-timestamp: 1800000600\r\n"
            "webhook-signature: " +
                WebhookSignature(Low().id, 1'800'000'600, body, keys) +
                "\r\naccept-encoding: identity\r\nuser-agent: weir\r\n");
}

}  // namespace
}  // namespace weir::server
