// What each event says, and that none says more than it may.
#include "server/events.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json.hpp>
#include <string>

#include "config/webhook.h"

namespace weir::server {
namespace {

using telemetry::Event;
using testing::HasSubstr;
using testing::Not;

constexpr Instant kNow{1'800'000'000'000'000'000};
constexpr RequestId kRequest{{0x019F'0000'0000'0000, 42}};

identity::KeyRecord Key() {
  identity::KeyRecord key;
  key.id = KeyId{{0x019F'0000'0000'0001, 7}};
  key.name = "ci";
  key.display = "wr_...canary";
  key.environment = "production";
  key.workspace = "acme";
  return key;
}

EventRandom Bytes(std::uint8_t n) {
  EventRandom bytes{};
  bytes.fill(n);
  return bytes;
}

std::vector<Event> All() {
  return {WalletLowEvent(kRequest, "workspace:acme", "quota_token", 5, kNow),
          AccountRestedEvent({.account = "openai/a",
                              .why = routing::Outcome::kServerError,
                              .rest = Seconds(30),
                              .model = ""},
                             kNow, Bytes(1)),
          KeyCreatedEvent(Key(), "admin", kNow), KeyRevokedEvent(Key(), "admin", kNow),
          WebhookTestEvent("ops", kNow, Bytes(2))};
}

TEST(Events, SayWhatHappened) {
  EXPECT_EQ(WalletLowEvent(kRequest, "workspace:acme", "quota_token", 5, kNow).data,
            R"({"left":5,"owner":"workspace:acme","request_id":"req_)" + ToString(kRequest) +
                R"(","unit":"quota_token"})");
  EXPECT_THAT(WalletLowEvent(kRequest, "key:key_1", "nano_usd", 1'500'000'000, kNow).data,
              HasSubstr(R"("left":"1.5")"));
  EXPECT_THAT(WalletLowEvent(kRequest, "key:key_1", "nano_usd", 1, kNow).data,
              HasSubstr(R"("unit":"usd")"));
  EXPECT_EQ(All()[1].data,
            R"({"account":"openai/a","model":null,"rest_ms":30000,"why":"server_error"})");
  EXPECT_EQ(All()[2].data, R"({"actor":"admin","environment":"production","id":"key_)" +
                               ToString(Key().id) +
                               R"(","name":"ci","package":null,"workspace":"acme"})");
  EXPECT_EQ(All()[3].data, All()[2].data);
  EXPECT_THAT(All()[4].data, HasSubstr(R"("endpoint":"ops")"));
}

TEST(Events, HaveATypeThatIsKnown_AnIdWithoutAFullStop_AndAnObject) {
  for (const Event& event : All()) {
    EXPECT_NE(std::ranges::find(config::kWebhookEvents, event.type), config::kWebhookEvents.end())
        << event.type;
    ASSERT_EQ(event.id.size(), 30U);
    EXPECT_TRUE(event.id.starts_with("evt_"));
    EXPECT_TRUE(ParseId(std::string_view(event.id).substr(4)).has_value()) << event.id;
    EXPECT_EQ(event.time, kNow);
    EXPECT_TRUE(boost::json::parse(event.data).is_object()) << event.data;
    EXPECT_LE(event.data.size(), telemetry::kEventDataBytesMax);
    EXPECT_THAT(event.data, Not(HasSubstr("canary")));
  }
}

TEST(Events, TheSameThing_HasTheSameId_AndNoTwoThingsDo) {
  EXPECT_EQ(All()[0].id, All()[0].id);
  EXPECT_EQ(All()[2].id, KeyCreatedEvent(Key(), "admin", kNow + Seconds(9)).id);
  std::vector<std::string> ids;
  for (const Event& event : All()) ids.push_back(event.id);
  ids.push_back(WebhookTestEvent("ops", kNow, Bytes(3)).id);
  identity::KeyRecord other = Key();
  other.id.low += 1;
  ids.push_back(KeyCreatedEvent(other, "admin", kNow).id);
  std::ranges::sort(ids);
  EXPECT_EQ(std::ranges::adjacent_find(ids), ids.end());
}

TEST(Events, HostileNames_StayTexts) {
  identity::KeyRecord key = Key();
  key.name = "\"},\"x\":\"\n\xFF";
  EXPECT_EQ(boost::json::parse(KeyCreatedEvent(key, "admin", kNow).data).as_object().size(), 6U);
}

}  // namespace
}  // namespace weir::server
