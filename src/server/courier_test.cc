// The courier with its thread, over real sockets, to a receiver of the test's own. Time is the
// system's; what a test waits for is a condition and not a time. Schedules are dispatcher_test's.
#include "server/courier.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <unistd.h>

#include <condition_variable>
#include <ctime>
#include <filesystem>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "config/webhook.h"
#include "net/http_server.h"
#include "net/loop.h"
#include "server/events.h"
#include "server/webhook_message.h"

namespace weir::server {
namespace {

using store::DeliveryState;
using telemetry::Event;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr std::string_view kSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

Instant WallNow() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return {static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec};
}

// Takes webhooks and answers with a status; or does not answer until it is let go.
class Receiver final : public net::HttpHandler {
 public:
  struct Got {
    std::string path;
    std::string id;
    std::string timestamp;
    std::string signature;
    std::string body;
  };

  Receiver() : http_(loop_, *this, {}) {
    const auto port = http_.Listen("127.0.0.1", 0);
    EXPECT_TRUE(port);
    port_ = *port;
    thread_ = std::thread([this] { loop_.Run(); });
  }
  ~Receiver() override {
    loop_.Stop();
    thread_.join();
    http_.CloseAll();
    loop_.Finish([this] { return http_.open() == 0; });
  }

  Task<void> Handle(const gateway::RequestHead& head, gateway::Downstream& downstream,
                    Tick) override {
    const auto body = co_await downstream.ReadBody(1 << 20);
    Got one{.path = std::string(head.path),
            .id = std::string(head.Find("webhook-id")),
            .timestamp = std::string(head.Find("webhook-timestamp")),
            .signature = std::string(head.Find("webhook-signature")),
            .body = std::string(body ? *body : std::string_view())};
    int status = 0;
    {
      const std::lock_guard lock(mutex_);
      got_.push_back(std::move(one));
      status = status_;
    }
    changed_.notify_all();
    if (status == 0) {
      downstream.Cut();
      co_return;
    }
    gateway::ReplyHead reply;
    reply.status = status;
    if (status == 302) reply.headers = "location: /elsewhere\r\n";
    co_await downstream.Reply(std::move(reply), "{\"canary\":\"what a receiver says\"}");
  }
  std::string BadRequestBody(int, std::string_view) override { return "{}"; }

  // Waits until so many have come in all.
  std::vector<Got> Await(std::size_t count) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(
        changed_.wait_for(lock, std::chrono::seconds(20), [&] { return got_.size() >= count; }));
    return got_;
  }
  std::size_t count() {
    const std::lock_guard lock(mutex_);
    return got_.size();
  }
  void Answer(int status) {  // 0: cuts the connection
    const std::lock_guard lock(mutex_);
    status_ = status;
  }
  std::string Url(std::string_view path = "/in") const {
    return "http://127.0.0.1:" + std::to_string(port_) + std::string(path);
  }

 private:
  net::Loop loop_;
  net::HttpServer http_;
  std::uint16_t port_ = 0;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Got> got_;
  int status_ = 204;
};

struct CourierTest : testing::Test {
  std::string folder = testing::TempDir() + "courier_" + std::to_string(::getpid()) + "_" +
                       testing::UnitTest::GetInstance()->current_test_info()->name();
  Receiver receiver;
  std::unique_ptr<Courier> courier;
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<store::Attempt> recorded;
  std::size_t queue_max = 100;

  CourierTest() {
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
  }
  ~CourierTest() override {
    courier.reset();
    std::filesystem::remove_all(folder);
  }
  config::Webhook Hook(std::string name, std::vector<std::string> events = {}) const {
    return {.name = std::move(name),
            .url = receiver.Url(),
            .secret = Secret(std::string(kSecret)),
            .events = std::move(events),
            .allow_private = true};
  }
  void Start(const std::vector<config::Webhook>& webhooks) {
    courier.reset();
    auto started = Courier::Start(webhooks, {.path = folder + "/webhooks.db",
                                             .wall_now = WallNow,
                                             .queue_max = queue_max,
                                             .recorded = [this](const store::Attempt& attempt) {
                                               const std::lock_guard lock(mutex);
                                               recorded.push_back(attempt);
                                               changed.notify_all();
                                             }});
    ASSERT_TRUE(started) << started.error().detail;
    courier = *std::move(started);
  }
  // Waits until so many attempts were written down in all.
  std::vector<store::Attempt> AwaitRecorded(std::size_t count) {
    std::unique_lock lock(mutex);
    EXPECT_TRUE(
        changed.wait_for(lock, std::chrono::seconds(20), [&] { return recorded.size() >= count; }));
    return recorded;
  }
  static Event Low(std::uint64_t n) {
    return WalletLowEvent(RequestId{{1, n}}, "workspace:acme", "quota_token", 5, WallNow());
  }
  std::vector<store::Delivery> All() { return *courier->Deliveries({}); }
  static std::int64_t Threads() {
    std::int64_t threads = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
      (void)entry;
      ++threads;
    }
    return threads;
  }
};

TEST_F(CourierTest, AnOfferedEvent_ArrivesSigned) {
  Start({Hook("ops")});
  const Event event = Low(1);
  courier->Offer(event);
  const auto got = receiver.Await(1).front();
  EXPECT_EQ(got.path, "/in");
  EXPECT_EQ(got.id, event.id);
  EXPECT_EQ(got.body, WebhookBody(event));
  EXPECT_EQ(got.signature, WebhookSignature(got.id, std::stoll(got.timestamp), got.body,
                                            *config::ParseWebhookSecret(kSecret)));
  AwaitRecorded(1);
  ASSERT_EQ(All().size(), 1U);
  EXPECT_EQ(All()[0].state, DeliveryState::kDelivered);
  courier->Offer(event);  // the same again is nothing new
  courier->Offer(Low(2));
  EXPECT_EQ(receiver.Await(2)[1].id, Low(2).id);
}

TEST_F(CourierTest, WithoutEndpoints_ThereIsNoFileNoThreadAndNothingToSee) {
  const std::int64_t threads = Threads();
  Start({});
  EXPECT_FALSE(courier->has_endpoints());
  courier->Offer(Low(1));
  courier->Keep(Low(2));
  courier->Take({Low(3)}, 7);
  EXPECT_EQ(courier->taken(), std::nullopt);
  EXPECT_TRUE(courier->Endpoints()->empty());
  EXPECT_TRUE(All().empty());
  EXPECT_EQ(courier->Test("ops").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(courier->Retry({1}).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(courier->Enable("ops").error().code, ErrorCode::kNotFound);
  EXPECT_FALSE(std::filesystem::exists(folder + "/webhooks.db"));
  EXPECT_EQ(Threads(), threads);
  // The first endpoint brings all of it; what was before is nobody's affair.
  ASSERT_TRUE(courier->Configure({Hook("ops")}));
  EXPECT_TRUE(courier->has_endpoints());
  EXPECT_EQ(Threads(), threads + 1);
  courier->Offer(Low(4));
  EXPECT_EQ(receiver.Await(1)[0].id, Low(4).id);
}

TEST_F(CourierTest, Endpoints_AreToldWhatTheyWant) {
  Start({Hook("ops", {"key.created"}), Hook("money", {"wallet.low"}), Hook("all")});
  courier->Offer(Low(1));
  AwaitRecorded(2);
  std::vector<std::string> told;
  for (const auto& delivery : All()) told.push_back(delivery.endpoint);
  EXPECT_THAT(told, testing::UnorderedElementsAre("money", "all"));
  const auto views = courier->Endpoints();
  ASSERT_EQ(views->size(), 3U);
  EXPECT_EQ((*views)[0].name, "ops");
  EXPECT_THAT((*views)[0].events, ElementsAre("key.created"));
  EXPECT_THAT((*views)[0].origin, Not(HasSubstr("/in")));
  EXPECT_EQ((*views)[1].record.last_status, 204);
}

TEST_F(CourierTest, WhatIsOnDisk_OutlivesTheCourier) {
  receiver.Answer(500);
  Start({Hook("ops")});
  courier->Keep(Low(1));
  AwaitRecorded(1);
  // Kept although nobody may deliver it any more.
  courier->Offer(Low(2));
  courier->Stop();
  courier->Offer(Low(3));
  EXPECT_EQ(All().size(), 2U);
  receiver.Answer(204);
  Start({Hook("ops")});
  for (const auto& delivery : All()) {
    ASSERT_TRUE(courier->Retry(delivery.id));  // now, and not in five seconds
  }
  AwaitRecorded(3);
  EXPECT_EQ(courier->Deliveries({.state = DeliveryState::kDelivered})->size(), 2U);
}

TEST_F(CourierTest, Keep_IsOnDiskWhenItReturns) {
  Start({Hook("ops")});
  courier->Keep(Low(1));
  EXPECT_EQ(All().size(), 1U);
  EXPECT_EQ(receiver.Await(1)[0].id, Low(1).id);
}

TEST_F(CourierTest, TheJournalsPosition_IsWhereTheNextStartGoesOn) {
  Start({Hook("ops")});
  EXPECT_EQ(courier->taken(), std::nullopt);
  courier->Take({Low(1), Low(2)}, 40);
  courier->Take({}, 41);
  courier->Stop();
  Start({Hook("ops")});
  EXPECT_EQ(courier->taken(), 41);
  courier->Take({Low(2), Low(3)}, 42);  // offered again: told once
  courier->Stop();
  EXPECT_EQ(All().size(), 3U);
  // Nobody was told for a while: what happened then is not told later.
  Start({});
  EXPECT_EQ(courier->taken(), std::nullopt);
  EXPECT_EQ(All().size(), 3U);
  Start({Hook("ops")});
  EXPECT_EQ(courier->taken(), std::nullopt);
}

TEST_F(CourierTest, AFullQueue_DropsAndCounts_AndThePositionWaits) {
  queue_max = 2;
  Start({Hook("ops")});
  telemetry::Metrics metrics(1, "test", {});
  courier->Register(metrics);
  courier->Take({Low(1), Low(2), Low(3)}, 10);  // one more than there is room for
  courier->Take({}, 11);
  EXPECT_THAT(metrics.Text(), HasSubstr("weir_webhook_dropped_total 1\n"));
  receiver.Await(2);
  courier->Stop();
  queue_max = 100;
  Start({Hook("ops")});
  EXPECT_EQ(courier->taken(), std::nullopt);
  courier->Take({Low(1), Low(2)}, 10);
  courier->Take({Low(3)}, 11);
  receiver.Await(3);
  courier->Stop();
  EXPECT_EQ(All().size(), 3U);
}

TEST_F(CourierTest, ADiskThatRefuses_IsTriedAgain_AndThePathDoesNotNotice) {
  Start({Hook("ops")});
  // Somebody else writes to the file: as good as a disk that refuses.
  sqlite3* other = nullptr;
  ASSERT_EQ(sqlite3_open((folder + "/webhooks.db").c_str(), &other), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(other, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr), SQLITE_OK);
  courier->Offer(Low(1));
  courier->Keep(Low(2));  // falls back to what Offer does
  courier->Take({Low(3)}, 9);
  EXPECT_TRUE(All().empty());
  ASSERT_EQ(sqlite3_exec(other, "ROLLBACK", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(other);
  AwaitRecorded(3);
  EXPECT_EQ(All().size(), 3U);
  courier->Stop();
  Start({Hook("ops")});
  EXPECT_EQ(courier->taken(), 9);
}

TEST_F(CourierTest, TooLargeAnEvent_IsDroppedAndCounted) {
  Start({Hook("ops")});
  telemetry::Metrics metrics(1, "test", {});
  courier->Register(metrics);
  Event large = Low(1);
  large.data = "{\"x\":\"" + std::string(telemetry::kEventDataBytesMax, 'x') + "\"}";
  courier->Offer(large);
  courier->Keep(large);
  courier->Take({large}, 5);
  EXPECT_THAT(metrics.Text(), HasSubstr("weir_webhook_dropped_total 3\n"));
  courier->Offer(Low(2));
  EXPECT_EQ(receiver.Await(1)[0].id, Low(2).id);
}

TEST_F(CourierTest, ARedirectIsAFailure_AndNotFollowed) {
  receiver.Answer(302);
  Start({Hook("ops")});
  courier->Offer(Low(1));
  const auto attempt = AwaitRecorded(1).front();
  EXPECT_EQ(attempt.status, 302);
  EXPECT_EQ(attempt.verdict, store::Attempt::Verdict::kRetry);
  EXPECT_THAT(attempt.error, Not(HasSubstr("canary")));
  EXPECT_EQ(receiver.count(), 1U);
}

TEST_F(CourierTest, AConnectionThatIsCut_IsAFailure_AndTheNextTrySaysTheSame) {
  receiver.Answer(0);
  Start({Hook("ops")});
  courier->Offer(Low(1));
  const auto attempt = AwaitRecorded(1).front();
  EXPECT_EQ(attempt.status, 0);
  EXPECT_NE(attempt.error, "");
  receiver.Answer(200);
  ASSERT_TRUE(courier->Retry(attempt.delivery));
  EXPECT_EQ(AwaitRecorded(2)[1].status, 200);
  const auto got = receiver.Await(2);
  EXPECT_EQ(got[0].id, got[1].id);
  EXPECT_EQ(got[0].body, got[1].body);
}

TEST_F(CourierTest, AnEndpointThatMayNot_ReachesNoPrivateAddress) {
  config::Webhook hook = Hook("ops");
  hook.url = "https://127.0.0.1:1/in";
  hook.allow_private = false;
  Start({hook});
  courier->Offer(Low(1));
  EXPECT_THAT(AwaitRecorded(1).front().error, HasSubstr("private network"));
}

TEST_F(CourierTest, Gone_DisablesIt_AndEnableBringsBackWhatWasHeld) {
  receiver.Answer(410);
  Start({Hook("ops")});
  courier->Keep(Low(1));
  AwaitRecorded(1);
  courier->Keep(Low(2));
  EXPECT_EQ((*courier->Endpoints())[0].record.state, store::EndpointState::kDisabled);
  EXPECT_EQ(courier->Test("ops").error().code, ErrorCode::kConflict);
  EXPECT_EQ(courier->Retry({1}).error().code, ErrorCode::kConflict);
  receiver.Answer(204);
  EXPECT_EQ(*courier->Enable("ops"), 2);
  AwaitRecorded(3);
  EXPECT_EQ((*courier->Endpoints())[0].record.state, store::EndpointState::kOk);
  EXPECT_EQ(*courier->Enable("ops"), 0);
}

TEST_F(CourierTest, ATest_GoesToItsEndpointAlone_WhateverThatWants) {
  Start({Hook("ops", {"policy.alert"}), Hook("all")});
  const auto delivery = courier->Test("ops");
  ASSERT_TRUE(delivery);
  EXPECT_EQ(delivery->event_type, "webhook.test");
  const auto got = receiver.Await(1).front();
  EXPECT_EQ(got.id, delivery->event_id);
  EXPECT_THAT(got.body, HasSubstr(R"("type":"webhook.test")"));
  AwaitRecorded(1);
  EXPECT_EQ(All().size(), 1U);
  EXPECT_EQ(courier->Test("nobody").error().code, ErrorCode::kNotFound);
}

TEST_F(CourierTest, AReload_LosesNothing) {
  receiver.Answer(500);
  Start({Hook("ops")});
  courier->Keep(Low(1));
  AwaitRecorded(1);
  ASSERT_TRUE(courier->Configure({Hook("other")}));
  EXPECT_EQ(courier->Retry(All()[0].id).error().code, ErrorCode::kConflict);
  receiver.Answer(204);
  config::Webhook moved = Hook("ops");
  moved.url = receiver.Url("/moved");
  ASSERT_TRUE(courier->Configure({Hook("other"), moved}));
  ASSERT_TRUE(courier->Retry(All()[0].id));
  EXPECT_EQ(receiver.Await(2)[1].path, "/moved");
  // An endpoint that cannot be one changes nothing.
  config::Webhook broken = Hook("ops");
  broken.secret = Secret("canary");
  const auto refused = courier->Configure({broken});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().detail, Not(HasSubstr("canary")));
  EXPECT_EQ(courier->Endpoints()->size(), 2U);
}

TEST_F(CourierTest, Metrics_SayWhatAttemptsCameTo) {
  Start({Hook("ops")});
  telemetry::Metrics metrics(1, "test", {});
  courier->Register(metrics);
  EXPECT_THAT(metrics.Text(), HasSubstr("weir_webhook_deliveries_total{outcome=\"failed\"} 0\n"));
  courier->Offer(Low(1));
  AwaitRecorded(1);
  receiver.Answer(503);
  courier->Offer(Low(2));
  AwaitRecorded(2);
  const std::string text = metrics.Text();
  EXPECT_THAT(text, HasSubstr("weir_webhook_deliveries_total{outcome=\"delivered\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("weir_webhook_deliveries_total{outcome=\"retry\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("weir_webhook_pending 1\n"));
  EXPECT_THAT(text, HasSubstr("weir_webhook_endpoints{state=\"erring\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("weir_webhook_endpoints{state=\"ok\"} 0\n"));
}

TEST_F(CourierTest, ManyThreads_MayOffer) {
  queue_max = 10'000;
  Start({Hook("ops")});
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (std::uint64_t n = 0; n < 50; ++n) courier->Offer(Low(100 * t + n));
    });
  }
  for (auto& thread : threads) thread.join();
  AwaitRecorded(200);
  EXPECT_EQ(courier->Deliveries({.state = DeliveryState::kDelivered, .limit = 1000})->size(), 200U);
}

}  // namespace
}  // namespace weir::server
