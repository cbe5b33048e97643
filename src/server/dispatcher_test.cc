// Days of deliveries over a scripted network and a clock that is a variable. The outbox is real.
#include "server/dispatcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <unistd.h>

#include <deque>
#include <filesystem>
#include <list>
#include <string>
#include <vector>

#include "config/webhook.h"
#include "server/delivery_rule.h"
#include "server/webhook_message.h"

namespace weir::server {
namespace {

using store::DeliveryState;
using store::EndpointState;
using testing::ElementsAre;
using testing::HasSubstr;
using Verdict = store::Attempt::Verdict;

constexpr Instant kNow{1'800'000'000'000'000'000};
constexpr std::string_view kSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

class Clock final : public Runtime {
 public:
  Instant now = kNow;
  Instant WallNow() override { return now; }
  Tick Now() override { return {now.ns}; }
  Task<void> Sleep(Duration) override { co_return; }
  Random& Entropy() override { return random_; }

 private:
  SeededRandom random_{7};
};

class Reply final : public gateway::UpstreamReply {
 public:
  Reply(int status, std::string retry_after)
      : status_(status), retry_after_(std::move(retry_after)) {}
  int status() const override { return status_; }
  std::string_view Find(std::string_view name) const override {
    return name == "retry-after" ? std::string_view(retry_after_) : std::string_view();
  }
  const std::vector<gateway::HeaderView>& headers() const override { return headers_; }
  Task<Result<std::string_view>> Read(Duration) override { co_return std::string_view(); }

 private:
  int status_;
  std::string retry_after_;
  std::vector<gateway::HeaderView> headers_;
};

// Answers each endpoint as it is told to: a status (0: the connection fails), at once or when it is
// let go.
class Network final : public gateway::Upstreams {
 public:
  struct Seen {
    std::string endpoint;
    std::string target;
    std::string headers;
    std::string body;
    Tick deadline;
  };
  struct Waiting final : gateway::Interrupt::Hook {
    void OnInterrupt() override { go.Set(); }
    Signal go;
    std::string endpoint;
  };

  Task<Result<std::unique_ptr<gateway::UpstreamReply>>> Send(
      gateway::UpstreamRequest request, gateway::Interrupt& interrupt) override {
    const std::string name = request.upstream->name;
    std::string body;
    for (const auto piece : request.body) body += piece;
    seen.push_back({name, request.target, request.headers, body, request.deadline});
    if (hanging.contains(name)) {
      const auto at = waiting.emplace(waiting.end());
      at->endpoint = name;
      interrupt.SetHook(&*at);
      co_await at->go;
      interrupt.SetHook(nullptr);
      waiting.erase(at);
    }
    if (interrupt.why() != gateway::Interruption::kNone) {
      co_return Fail(ErrorCode::kInterrupted, ErrorSource::kCaller, "interrupted");
    }
    int status = 204;
    std::string retry_after;
    if (auto& script = scripts[name]; !script.empty()) {
      std::tie(status, retry_after) = script.front();
      if (script.size() > 1) script.pop_front();
    }
    if (status == 0) {
      co_return Fail(ErrorCode::kConnectFailed, ErrorSource::kUpstream, "cannot connect to it");
    }
    co_return std::make_unique<Reply>(status, retry_after);
  }
  void LetGo(std::string_view endpoint) {
    for (auto& one : waiting) {
      if (one.endpoint == endpoint) return one.go.Set();
    }
    FAIL() << "nothing waits at " << endpoint;
  }

  std::vector<Seen> seen;
  std::map<std::string, std::deque<std::pair<int, std::string>>> scripts;  // the last one stays
  std::set<std::string> hanging;
  std::list<Waiting> waiting;
};

config::Webhook Webhook(std::string name, bool allow_private = false) {
  return {.name = name,
          .url = "https://" + name + ".example.com/in?x=1",
          .secret = Secret(std::string(kSecret)),
          .events = {},
          .allow_private = allow_private};
}

struct DispatcherTest : testing::Test {
  std::string folder = testing::TempDir() + "dispatcher_" + std::to_string(::getpid()) + "_" +
                       testing::UnitTest::GetInstance()->current_test_info()->name();
  Clock clock;
  Network outside;
  Network anywhere;
  std::unique_ptr<store::WebhookStore> store;
  std::unique_ptr<Dispatcher> dispatcher;
  std::vector<std::pair<store::Attempt, store::WebhookStore::Change>> recorded;
  std::vector<std::string> problems;
  int rooms = 0;
  std::uint64_t events = 0;

  DispatcherTest() {
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
    auto opened = store::WebhookStore::Open(folder + "/webhooks.db", {});
    EXPECT_TRUE(opened);
    store = *std::move(opened);
    dispatcher = std::make_unique<Dispatcher>(
        Dispatcher::Ports{*store, outside, anywhere, clock},
        Dispatcher::Hooks{
            .recorded =
                [this](const store::Attempt& attempt, const store::WebhookStore::Change& change) {
                  recorded.emplace_back(attempt, change);
                },
            .problem = [this](const Error& error) { problems.push_back(error.detail); },
            .room = [this] { ++rooms; }});
    Configure({Webhook("a"), Webhook("b")});
  }
  ~DispatcherTest() override {
    dispatcher->Stop();
    EXPECT_TRUE(dispatcher->idle());
    dispatcher.reset();
    store.reset();
    std::filesystem::remove_all(folder);
  }

  void Configure(const std::vector<config::Webhook>& webhooks) {
    std::vector<EndpointPtr> endpoints;
    std::vector<store::WebhookStore::Known> known;
    for (const config::Webhook& webhook : webhooks) {
      auto endpoint = MakeEndpoint(webhook);
      ASSERT_TRUE(endpoint) << endpoint.error().detail;
      endpoints.push_back(*endpoint);
      known.push_back({.name = webhook.name});
    }
    ASSERT_TRUE(store->Configure(known, clock.now));
    dispatcher->Configure(endpoints);
  }
  // An event for each of `endpoints`; the id of the first delivery of it.
  std::int64_t Add(std::vector<std::string> endpoints) {
    const std::vector<store::WebhookStore::Addition> one = {
        {{.id = telemetry::EventIdText({1, ++events}),
          .type = "wallet.low",
          .time = clock.now,
          .data = "{}"},
         endpoints}};
    const auto added = store->Add(one, std::nullopt, clock.now);
    EXPECT_TRUE(added);
    return added->last.n - static_cast<std::int64_t>(endpoints.size()) + 1;
  }
  store::Delivery Of(std::int64_t id) { return **store->Find({id}); }
  EndpointState StateOf(std::string_view name) { return (*store->Endpoint(name))->state; }
  // Turns until nothing more is to be done at this moment.
  std::optional<Instant> Settle() {
    for (int i = 0; i < 1'000; ++i) {
      const int before = rooms;
      const auto next = dispatcher->Turn();
      if (rooms == before) return next;
    }
    ADD_FAILURE() << "it never comes to rest";
    return std::nullopt;
  }
};

TEST_F(DispatcherTest, WhatIsPending_IsSentSigned_AndDone) {
  const std::int64_t id = Add({"a"});
  EXPECT_EQ(Settle(), std::nullopt);
  ASSERT_EQ(outside.seen.size(), 1U);
  const Network::Seen& seen = outside.seen[0];
  EXPECT_EQ(seen.target, "/in?x=1");
  EXPECT_EQ(seen.body,
            R"({"type":"wallet.low","timestamp":"2027-01-15T08:00:00.000000Z","data":{}})");
  const telemetry::Event event = {
      .id = telemetry::EventIdText({1, 1}), .type = {}, .time = {}, .data = {}};
  EXPECT_EQ(seen.headers,
            WebhookHeaders(event, seen.body, kNow, *config::ParseWebhookSecret(kSecret)));
  EXPECT_EQ(seen.deadline, (Tick{kNow.ns} + Seconds(15)));
  EXPECT_EQ(Of(id).state, DeliveryState::kDelivered);
  EXPECT_EQ(Of(id).last_status, 204);
  EXPECT_EQ(Of(id).last_error, "");
  EXPECT_EQ(Settle(), std::nullopt);
  EXPECT_EQ(outside.seen.size(), 1U);
}

TEST_F(DispatcherTest, AReceiverThatIsAway_IsTriedTenTimesOverThreeDays_AlwaysWithTheSameId) {
  outside.scripts["a"] = {{0, ""}, {500, ""}, {302, ""}, {404, ""}, {503, ""}};
  const std::int64_t id = Add({"a"});
  std::vector<Instant> times;
  std::optional<Instant> next;
  do {
    times.push_back(clock.now);
    next = Settle();
    if (!next) break;
    EXPECT_EQ(outside.seen.size(), times.size());
    // A moment before, nothing happens.
    clock.now = *next + Duration{-1};
    EXPECT_EQ(Settle(), next);
    clock.now = *next;
  } while (times.size() < 20);
  ASSERT_EQ(times.size(), 10U);
  for (std::size_t i = 0; i + 1 < times.size(); ++i) {
    const std::int64_t wait = (times[i + 1] - times[i]).ns;
    EXPECT_GE(wait, kDeliveryWaits.at(i).ns * 9 / 10) << i;
    EXPECT_LE(wait, kDeliveryWaits.at(i).ns * 11 / 10) << i;
    EXPECT_EQ(outside.seen[i].body, outside.seen[i + 1].body);
    EXPECT_THAT(outside.seen[i].headers, HasSubstr("webhook-id: " + Of(id).event_id + "\r\n"));
    EXPECT_THAT(
        outside.seen[i].headers,
        HasSubstr("webhook-timestamp: " + std::to_string(times[i].ns / 1'000'000'000) + "\r\n"));
  }
  EXPECT_EQ(Of(id).state, DeliveryState::kFailed);
  EXPECT_EQ(Of(id).attempts, 10);
  EXPECT_EQ(Of(id).last_error, "it answered 503");
  EXPECT_EQ(recorded[0].first.error, "cannot connect to it");
  EXPECT_EQ(recorded[2].first.error, "it answered 302; redirects are not followed");
  EXPECT_EQ(recorded[0].second.now, EndpointState::kErring);
  EXPECT_EQ(recorded[9].second.before, EndpointState::kErring);
  EXPECT_EQ(recorded[9].second.now, EndpointState::kFailing);
  // Others are still tried, and one that arrives makes it well again.
  outside.scripts["a"] = {{200, ""}};
  Add({"a"});
  Settle();
  EXPECT_EQ(StateOf("a"), EndpointState::kOk);
}

TEST_F(DispatcherTest, ASlowReceiver_HasItsOwnRoom_AndHoldsUpNobody) {
  outside.hanging = {"a"};
  for (int i = 0; i < 6; ++i) Add({"a", "b"});
  Settle();
  EXPECT_EQ(outside.waiting.size(), Dispatcher::kUnderWayMax);
  std::int64_t delivered = 0;
  for (std::int64_t id = 1; id <= 12; ++id) {
    if (Of(id).endpoint == "b") EXPECT_EQ(Of(id).state, DeliveryState::kDelivered);
    delivered += Of(id).state == DeliveryState::kDelivered ? 1 : 0;
  }
  EXPECT_EQ(delivered, 6);
  outside.LetGo("a");
  EXPECT_EQ(outside.waiting.size(), Dispatcher::kUnderWayMax - 1);
  Settle();
  EXPECT_EQ(outside.waiting.size(), Dispatcher::kUnderWayMax);
  while (!outside.waiting.empty()) {
    outside.LetGo("a");
    Settle();
  }
  EXPECT_EQ(*store->PendingCount(), 0);
  EXPECT_EQ(outside.seen.size(), 12U);
}

TEST_F(DispatcherTest, AReceiverUnderLoad_IsLeftAlone_ThenAskedOneByOne) {
  outside.hanging = {"a"};
  outside.scripts["a"] = {{429, "40"}, {429, ""}, {204, ""}};
  for (int i = 0; i < 3; ++i) Add({"a"});
  Settle();
  ASSERT_EQ(outside.waiting.size(), 3U);
  outside.LetGo("a");  // 429, in 40 seconds
  outside.LetGo("a");  // 429 without a time: ten seconds, within the forty
  Add({"b"});
  EXPECT_EQ(Settle(), std::nullopt) << "one is under way still, and tells when it ends";
  EXPECT_EQ(Of(4).state, DeliveryState::kDelivered);
  outside.LetGo("a");  // one that was under way, and well
  for (int i = 0; i < 3; ++i) Add({"a"});
  EXPECT_EQ(Settle(), kNow + Seconds(40)) << "a success ends no pause";
  EXPECT_TRUE(outside.waiting.empty());
  clock.now = kNow + Seconds(60);
  Settle();
  EXPECT_EQ(outside.waiting.size(), Dispatcher::kUnderWayMax) << "and it is well again";

  outside.scripts["a"] = {{504, ""}};
  outside.LetGo("a");
  clock.now = clock.now + Seconds(6);
  Settle();
  EXPECT_EQ(outside.waiting.size(), Dispatcher::kUnderWayMax - 1) << "none is added to them";
  while (!outside.waiting.empty()) outside.LetGo("a");
  EXPECT_EQ(Settle(), clock.now + Seconds(40)) << "the fourth in a row";
  clock.now = clock.now + Seconds(40);
  Settle();
  EXPECT_EQ(outside.waiting.size(), 1U);
}

TEST_F(DispatcherTest, Gone_DisablesTheEndpoint_UntilItIsEnabled) {
  outside.scripts["a"] = {{410, ""}};
  const std::int64_t first = Add({"a"});
  outside.hanging = {"a"};
  Settle();
  const std::int64_t second = Add({"a"});
  Add({"b"});
  outside.hanging.clear();
  outside.LetGo("a");
  EXPECT_EQ(Settle(), std::nullopt);
  EXPECT_EQ(Of(first).state, DeliveryState::kDisabled);
  EXPECT_EQ(Of(second).state, DeliveryState::kDisabled);
  EXPECT_EQ(recorded[0].second.now, EndpointState::kDisabled);
  EXPECT_EQ(outside.seen.size(), 2U);  // a's first, b's
  outside.scripts["a"] = {{204, ""}};
  ASSERT_EQ(*store->Enable("a", clock.now), 2);
  Settle();
  EXPECT_EQ(Of(first).state, DeliveryState::kDelivered);
  EXPECT_EQ(Of(second).state, DeliveryState::kDelivered);
}

TEST_F(DispatcherTest, ReloadedEndpoints_LoseNothingThatIsPending) {
  outside.scripts["a"] = {{500, ""}};
  const std::int64_t id = Add({"a"});
  outside.hanging = {"b"};
  const std::int64_t under_way = Add({"b"});
  Settle();
  Configure({});
  clock.now = clock.now + Minutes(10);
  EXPECT_EQ(Settle(), std::nullopt);
  EXPECT_EQ(outside.seen.size(), 2U);
  EXPECT_EQ(Of(id).state, DeliveryState::kPending);
  outside.LetGo("b");  // what was under way ends as it would have
  EXPECT_EQ(Of(under_way).state, DeliveryState::kDelivered);

  outside.scripts["a"] = {{204, ""}};
  config::Webhook moved = Webhook("a", true);
  moved.url = "http://10.0.0.1:8080/elsewhere";
  Configure({moved});
  Settle();
  EXPECT_EQ(Of(id).state, DeliveryState::kDelivered);
  ASSERT_EQ(anywhere.seen.size(), 1U);
  EXPECT_EQ(anywhere.seen[0].target, "/elsewhere");
}

TEST_F(DispatcherTest, OnlyAnEndpointThatMay_ReachesPrivateAddresses) {
  Configure({Webhook("a", false), Webhook("b", true)});
  Add({"a", "b"});
  Settle();
  ASSERT_EQ(outside.seen.size(), 1U);
  EXPECT_EQ(outside.seen[0].endpoint, "a");
  ASSERT_EQ(anywhere.seen.size(), 1U);
  EXPECT_EQ(anywhere.seen[0].endpoint, "b");
}

TEST_F(DispatcherTest, AStop_CutsWhatIsUnderWay_WhichIsNoAttempt) {
  outside.hanging = {"a"};
  const std::int64_t id = Add({"a"});
  Settle();
  EXPECT_FALSE(dispatcher->idle());
  dispatcher->Stop();
  EXPECT_TRUE(dispatcher->idle());
  EXPECT_EQ(Of(id).attempts, 0);
  EXPECT_EQ(Of(id).state, DeliveryState::kPending);
  EXPECT_TRUE(recorded.empty());
  EXPECT_EQ(Settle(), std::nullopt);
  EXPECT_EQ(outside.seen.size(), 1U);
}

TEST_F(DispatcherTest, AnAttemptThatCannotBeWrittenDown_IsNotMadeAgain_UntilItIs) {
  sqlite3* other = nullptr;
  ASSERT_EQ(sqlite3_open((folder + "/webhooks.db").c_str(), &other), SQLITE_OK);
  const std::int64_t id = Add({"a"});
  outside.hanging = {"a"};
  Settle();
  // Somebody else writes to the file: as good as a disk that refuses.
  ASSERT_EQ(sqlite3_exec(other, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr), SQLITE_OK);
  outside.LetGo("a");
  EXPECT_EQ(problems.size(), 1U);
  EXPECT_EQ(Settle(), clock.now + Seconds(1));
  clock.now = clock.now + Seconds(1);
  EXPECT_EQ(Settle(), clock.now + Seconds(1));
  EXPECT_EQ(outside.seen.size(), 1U);
  ASSERT_EQ(sqlite3_exec(other, "ROLLBACK", nullptr, nullptr, nullptr), SQLITE_OK);
  EXPECT_EQ(Settle(), std::nullopt);
  EXPECT_EQ(Of(id).state, DeliveryState::kDelivered);
  EXPECT_EQ(outside.seen.size(), 1U);
  sqlite3_close(other);
}

TEST_F(DispatcherTest, AClockThatWasSetBack_HoldsNothingUpForLongerThanTheLongestWait) {
  outside.scripts["a"] = {{429, ""}, {204, ""}};
  const std::int64_t id = Add({"a"});
  Settle();
  clock.now = kNow + Duration{-Minutes(60 * 24 * 365).ns};
  Settle();
  EXPECT_EQ(Of(id).state, DeliveryState::kDelivered);
}

TEST_F(DispatcherTest, ManyEvents_AreSentInTheOrderTheyAreDue) {
  std::vector<std::int64_t> ids;
  for (int i = 0; i < 50; ++i) ids.push_back(Add({"a"}));
  Settle();
  ASSERT_EQ(outside.seen.size(), 50U);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    EXPECT_THAT(outside.seen[i].headers, HasSubstr(Of(ids[i]).event_id));
  }
}

TEST(MakeEndpoint, RefusesWhatCannotBeSentTo_WithoutShowingIt) {
  const auto fault = [](config::Webhook webhook) {
    const auto made = MakeEndpoint(webhook);
    return made ? std::string() : made.error().detail;
  };
  config::Webhook webhook = Webhook("a");
  EXPECT_EQ(fault(webhook), "");
  webhook.url = "http://a.example.com/token";
  EXPECT_EQ(fault(webhook), "webhook a: http:// is for allow_private: true only");
  webhook.allow_private = true;
  EXPECT_EQ(fault(webhook), "");
  webhook.url = "a.example.com/token";
  EXPECT_EQ(fault(webhook), "webhook a: its url is not https://HOST[:PORT][/PATH][?QUERY]");
  webhook = Webhook("a");
  webhook.secret = Secret("canary");
  EXPECT_EQ(fault(webhook), "webhook a: its secret is not whsec_ and the base64 of 24 to 64 bytes");
}

TEST(MakeEndpoint, WantsWhatItNames_OrEverything) {
  config::Webhook webhook = Webhook("a");
  EXPECT_TRUE((*MakeEndpoint(webhook))->Wants("key.created"));
  webhook.events = {"wallet.low", "policy.alert"};
  EXPECT_TRUE((*MakeEndpoint(webhook))->Wants("policy.alert"));
  EXPECT_FALSE((*MakeEndpoint(webhook))->Wants("policy"));
  EXPECT_FALSE((*MakeEndpoint(webhook))->Wants("key.created"));
  EXPECT_EQ((*MakeEndpoint(webhook))->origin, "https://a.example.com");
}

}  // namespace
}  // namespace weir::server
