// The webhooks resource over a real courier, whose deliveries go to an address that nobody listens
// at: what is shown of endpoints and deliveries, and what an operator can do to them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <set>
#include <string>

#include "admin/admin_api.h"
#include "admin/token.h"
#include "base/check.h"
#include "base/random.h"
#include "config/defaults.h"
#include "server/courier.h"
#include "store/account_store.h"
#include "store/key_store.h"
#include "store/request_log.h"
#include "store/wallet_store.h"

namespace weir::admin {
namespace {

namespace json = boost::json;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::string_view kToken = "wadm_test-token-0123456789";
constexpr Instant kNow{1'767'225'600'000'000'000};  // 2026-01-01T00:00:00Z

class WebhooksApiTest : public testing::Test {
 protected:
  WebhooksApiTest() {
    directory_ = std::filesystem::temp_directory_path() /
                 ("weir_webhooks_api." + std::to_string(getpid()) + "." +
                  testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(directory_);
    auto keys = store::KeyStore::Open(":memory:", pepper_);
    auto requests = store::RequestLog::Open((directory_ / "requests.db").string());
    CHECK(keys.has_value() && requests.has_value(), "new files open");
    keys_ = *std::move(keys);
    requests_ = *std::move(requests);
    config_ = std::make_shared<const config::Config>(config::EmbeddedDefault());
    Start({Hook("ops"), Hook("money", {"wallet.low"})});
    api_ = std::make_unique<AdminApi>(
        AdminPorts{.keys = *keys_,
                   .requests = *requests_,
                   .pepper = pepper_,
                   .config = [this] { return config_; },
                   .status = [] { return NodeStatus{}; },
                   .now = [] { return kNow; },
                   .random = [this]() -> Result<std::array<std::uint8_t, 32>> {
                     std::array<std::uint8_t, 32> bytes{};
                     for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random_.Next());
                     return bytes;
                   },
                   .keys_changed = [] {},
                   .standing = [](KeyId) { return std::nullopt; },
                   .metrics = [] { return std::string(); },
                   .courier = courier_.get()},
        HashToken(kToken));
  }
  ~WebhooksApiTest() override {
    courier_.reset();
    std::filesystem::remove_all(directory_);
  }

  // Nobody may be at port 1 of this machine, and this endpoint may not even look.
  static config::Webhook Hook(std::string name, std::vector<std::string> events = {}) {
    return {.name = std::move(name),
            .url = "https://127.0.0.1:1/canary-path?token=canary",
            .secret = Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
            .events = std::move(events)};
  }
  void Start(const std::vector<config::Webhook>& webhooks) {
    auto courier = server::Courier::Start(webhooks, {.path = (directory_ / "webhooks.db").string(),
                                                     .wall_now = [] { return kNow; },
                                                     .recorded =
                                                         [this](const store::Attempt&) {
                                                           const std::lock_guard lock(mutex_);
                                                           ++recorded_;
                                                           changed_.notify_all();
                                                         }});
    CHECK(courier.has_value(), "a new file opens");
    courier_ = *std::move(courier);
  }
  void AwaitAttempts(int count) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(
        changed_.wait_for(lock, std::chrono::seconds(20), [&] { return recorded_ >= count; }));
  }

  AdminResponse Send(std::string_view method, std::string_view target, std::string_view body = {}) {
    const std::string authorization = "Bearer " + std::string(kToken);
    const std::size_t mark = std::min(target.find('?'), target.size());
    return api_->Handle(
        {.method = method,
         .path = target.substr(0, mark),
         .query = mark == target.size() ? std::string_view() : target.substr(mark + 1),
         .headers = {{"Host", "127.0.0.1:8081"},
                     {"Authorization", authorization},
                     {"Content-Type", "application/json"}},
         .body = body});
  }
  json::object Json(const AdminResponse& response, int status = 200) {
    EXPECT_EQ(response.status, status) << response.body;
    EXPECT_THAT(response.body, Not(HasSubstr("canary")));
    EXPECT_THAT(response.body, Not(HasSubstr("whsec_")));
    json::error_code error;
    const json::value value = json::parse(response.body, error);
    return value.is_object() ? value.get_object() : json::object();
  }
  std::string Detail(const AdminResponse& response, int status) {
    const json::object problem = Json(response, status);
    return problem.contains("detail") ? std::string(problem.at("detail").as_string())
                                      : std::string();
  }
  json::array Deliveries(const std::string& query = {}) {
    return Json(Send("GET", "/admin/v1/webhooks/deliveries" + query)).at("data").as_array();
  }

  identity::Pepper pepper_{"0123456789abcdef0123456789abcdef"};
  std::filesystem::path directory_;
  std::unique_ptr<store::KeyStore> keys_;
  std::unique_ptr<store::RequestLog> requests_;
  std::shared_ptr<const config::Config> config_;
  SeededRandom random_{7};
  std::mutex mutex_;
  std::condition_variable changed_;
  int recorded_ = 0;
  std::unique_ptr<server::Courier> courier_;
  std::unique_ptr<AdminApi> api_;
};

TEST_F(WebhooksApiTest, List_ShowsHowEndpointsFare_AndNothingSecret) {
  json::array data = Json(Send("GET", "/admin/v1/webhooks")).at("data").as_array();
  ASSERT_EQ(data.size(), 2U);
  json::object ops = data[0].as_object();
  EXPECT_EQ(ops.at("name").as_string(), "ops");
  EXPECT_EQ(ops.at("origin").as_string(), "https://127.0.0.1:1");
  EXPECT_TRUE(ops.at("events").is_null());
  EXPECT_EQ(ops.at("state").as_string(), "ok");
  EXPECT_TRUE(ops.at("last_attempt_at").is_null());
  EXPECT_EQ(json::serialize(data[1].as_object().at("events")), R"(["wallet.low"])");

  Json(Send("POST", "/admin/v1/webhooks/ops/test"), 202);
  AwaitAttempts(1);
  data = Json(Send("GET", "/admin/v1/webhooks")).at("data").as_array();
  ops = data[0].as_object();
  EXPECT_EQ(ops.at("state").as_string(), "erring");
  EXPECT_EQ(ops.at("pending").as_int64(), 1);
  EXPECT_TRUE(ops.at("last_status").is_null());
  EXPECT_THAT(std::string(ops.at("last_error").as_string()), HasSubstr("private network"));
  EXPECT_EQ(data[1].as_object().at("state").as_string(), "ok");
}

TEST_F(WebhooksApiTest, Test_SendsToOneEndpoint) {
  const json::object delivery = Json(Send("POST", "/admin/v1/webhooks/money/test"), 202);
  EXPECT_EQ(delivery.at("id").as_string(), "dlv_1");
  EXPECT_EQ(delivery.at("endpoint").as_string(), "money");
  EXPECT_EQ(delivery.at("event_type").as_string(), "webhook.test");
  EXPECT_EQ(Deliveries().size(), 1U);
  EXPECT_THAT(Detail(Send("POST", "/admin/v1/webhooks/nobody/test"), 404),
              HasSubstr("no webhook of this name"));
  EXPECT_THAT(Detail(Send("POST", "/admin/v1/webhooks/deliveries/test"), 404),
              HasSubstr("no webhook of this name"));
}

TEST_F(WebhooksApiTest, Deliveries_AreListedNewestFirst_FilteredAndInPages) {
  for (int i = 0; i < 5; ++i) {
    Json(Send("POST", i % 2 == 0 ? "/admin/v1/webhooks/ops/test" : "/admin/v1/webhooks/money/test"),
         202);
  }
  AwaitAttempts(5);
  EXPECT_EQ(Deliveries().size(), 5U);
  EXPECT_EQ(Deliveries("?endpoint=money").size(), 2U);
  EXPECT_EQ(Deliveries("?state=pending").size(), 5U);
  EXPECT_EQ(Deliveries("?state=delivered").size(), 0U);
  EXPECT_EQ(Deliveries("?endpoint=nobody").size(), 0U);
  const json::object first = Deliveries()[0].as_object();
  EXPECT_EQ(first.at("id").as_string(), "dlv_5");
  EXPECT_EQ(first.at("attempts").as_int64(), 1);
  EXPECT_EQ(first.at("state").as_string(), "pending");
  EXPECT_FALSE(first.at("next_attempt_at").is_null());

  std::set<std::string> seen;
  std::string cursor;
  for (int page = 0; page < 4; ++page) {
    const json::object got = Json(Send("GET", "/admin/v1/webhooks/deliveries?limit=2" +
                                                  (cursor.empty() ? "" : "&cursor=" + cursor)));
    for (const json::value& one : got.at("data").as_array()) {
      EXPECT_TRUE(seen.insert(std::string(one.as_object().at("id").as_string())).second);
    }
    if (got.at("next_cursor").is_null()) break;
    cursor = std::string(got.at("next_cursor").as_string());
  }
  EXPECT_EQ(seen.size(), 5U);
  for (const char* query : {"?state=gone", "?limit=0", "?limit=1001", "?cursor=x", "?cursor=dlv_0",
                            "?cursor=-5", "?name=ops"}) {
    const AdminResponse refused = Send("GET", "/admin/v1/webhooks/deliveries" + std::string(query));
    EXPECT_EQ(refused.status, 422) << query;
    EXPECT_THAT(refused.body, HasSubstr("\"parameter\":")) << query;
  }
}

TEST_F(WebhooksApiTest, Retry_SendsOneAgain) {
  Json(Send("POST", "/admin/v1/webhooks/ops/test"), 202);
  AwaitAttempts(1);
  const json::object again = Json(Send("POST", "/admin/v1/webhooks/deliveries/dlv_1/retry"), 202);
  EXPECT_EQ(again.at("state").as_string(), "pending");
  AwaitAttempts(2);
  Json(Send("POST", "/admin/v1/webhooks/deliveries/1/retry"), 202);
  for (const char* id : {"dlv_99", "99", "dlv_", "x", "-1", "1x", "99999999999999999999"}) {
    EXPECT_THAT(
        Detail(Send("POST", "/admin/v1/webhooks/deliveries/" + std::string(id) + "/retry"), 404),
        HasSubstr("no delivery with this id"))
        << id;
  }
  ASSERT_TRUE(courier_->Configure({Hook("money")}));
  EXPECT_THAT(Detail(Send("POST", "/admin/v1/webhooks/deliveries/dlv_1/retry"), 409),
              HasSubstr("not in the configuration"));
}

TEST_F(WebhooksApiTest, Enable_OfOneThatIsWell_ChangesNothing) {
  const json::object enabled = Json(Send("POST", "/admin/v1/webhooks/ops/enable"));
  EXPECT_EQ(enabled.at("name").as_string(), "ops");
  EXPECT_EQ(enabled.at("pending_again").as_int64(), 0);
  EXPECT_THAT(Detail(Send("POST", "/admin/v1/webhooks/nobody/enable"), 404),
              HasSubstr("no webhook of this name"));
}

TEST_F(WebhooksApiTest, ADisabledEndpoint_IsSaid_AndEnabled) {
  Json(Send("POST", "/admin/v1/webhooks/ops/test"), 202);
  AwaitAttempts(1);
  {
    // As if it had answered 410: a second hand on the file, which the courier does not hold.
    auto store = store::WebhookStore::Open((directory_ / "webhooks.db").string(), {});
    ASSERT_TRUE(store);
    ASSERT_TRUE((*store)->Record({.delivery = {1},
                                  .endpoint = "ops",
                                  .at = kNow,
                                  .status = 410,
                                  .error = "it answered 410",
                                  .verdict = store::Attempt::Verdict::kDisable}));
  }
  EXPECT_EQ(Json(Send("GET", "/admin/v1/webhooks"))
                .at("data")
                .as_array()[0]
                .as_object()
                .at("state")
                .as_string(),
            "disabled");
  EXPECT_THAT(Detail(Send("POST", "/admin/v1/webhooks/ops/test"), 409), HasSubstr("is disabled"));
  EXPECT_THAT(Detail(Send("POST", "/admin/v1/webhooks/deliveries/dlv_1/retry"), 409),
              HasSubstr("is disabled"));
  EXPECT_EQ(Json(Send("POST", "/admin/v1/webhooks/ops/enable")).at("pending_again").as_int64(), 1);
  AwaitAttempts(2);
}

TEST_F(WebhooksApiTest, KeysThatAreMadeAndRevoked_AreTold) {
  const json::object made = Json(Send("POST", "/admin/v1/keys", R"({"name":"ci"})"), 201);
  const std::string id(made.at("key").as_object().at("id").as_string());
  Json(Send("PATCH", "/admin/v1/keys/" + id, R"({"state":"disabled"})"));
  Json(Send("DELETE", "/admin/v1/keys/" + id));
  Json(Send("DELETE", "/admin/v1/keys/" + id));  // again is no change
  std::vector<std::string> types;
  for (const json::value& one : Deliveries("?endpoint=ops")) {
    types.emplace_back(one.as_object().at("event_type").as_string());
  }
  EXPECT_THAT(types, testing::ElementsAre("key.revoked", "key.created"));
  EXPECT_TRUE(Deliveries("?endpoint=money").empty());
}

}  // namespace
}  // namespace weir::admin
