// The API as its callers meet it, over real stores: keys in an in-memory SQLite, the request log in
// a file of a temporary directory. Time is a variable.

#include "admin/admin_api.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <filesystem>
#include <set>

#include "admin/routes.h"
#include "admin/token.h"
#include "base/random.h"
#include "config/accounts.h"
#include "config/defaults.h"
#include "server/courier.h"
#include "server/receipt.h"
#include "store/account_store.h"
#include "store/key_store.h"
#include "store/operator_store.h"
#include "store/policy_store.h"
#include "store/request_log.h"
#include "store/wallet_store.h"

namespace weir::admin {
namespace {

namespace json = boost::json;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::string_view kToken = "wadm_test-token-0123456789";
constexpr Instant kStart{1'767'225'600'000'000'000};  // 2026-01-01T00:00:00Z

class AdminApiTest : public testing::Test {
 protected:
  AdminApiTest() {
    auto keys = store::KeyStore::Open(":memory:", pepper_);
    CHECK(keys.has_value(), "an in-memory database opens");
    keys_ = std::move(*keys);
    directory_ = std::filesystem::temp_directory_path() /
                 ("weir_admin_test." + std::to_string(getpid()) + "." +
                  testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(directory_);
    auto requests = store::RequestLog::Open((directory_ / "requests.db").string());
    CHECK(requests.has_value(), "a new file opens");
    requests_ = std::move(*requests);
    auto accounts = store::AccountStore::Open(
        ":memory:", store::MasterKeySource(directory_.string(), std::nullopt));
    CHECK(accounts.has_value(), "an in-memory database opens");
    accounts_ = std::move(*accounts);
    auto wallets = store::WalletStore::Open(":memory:");
    CHECK(wallets.has_value(), "an in-memory database opens");
    wallets_ = std::move(*wallets);
    auto courier = server::Courier::Start(
        {}, {.path = (directory_ / "webhooks.db").string(), .wall_now = [this] { return now_; }});
    CHECK(courier.has_value(), "without webhooks there is nothing to open");
    courier_ = *std::move(courier);
    operators_ = *store::OperatorStore::Open(":memory:");
    policies_ = *store::PolicyStore::Open(":memory:");
    config::Config config = config::EmbeddedDefault();
    config.brand.key_prefix = "wr_";
    config.accounts[0].api_key = Secret("canary-upstream-secret");
    config_ = std::make_shared<const config::Config>(std::move(config));
    api_ = std::make_unique<AdminApi>(
        AdminPorts{.keys = *keys_,
                   .requests = *requests_,
                   .pepper = pepper_,
                   .config = [this] { return config_; },
                   .status =
                       [this] {
                         return NodeStatus{
                             .version = "1.2.3", .started_at = kStart, .draining = draining_};
                       },
                   .now = [this] { return now_; },
                   .random = [this]() -> Result<std::array<std::uint8_t, 32>> {
                     std::array<std::uint8_t, 32> bytes{};
                     for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random_.Next());
                     return bytes;
                   },
                   .keys_changed = [this] { ++published_; },
                   .standing = [this](KeyId) { return standing_; },
                   .metrics = [] { return std::string("weir_up 1\n"); },
                   .accounts = {.store = accounts_.get(),
                                .file = [this] { return config_; },
                                .changed = [] {},
                                .cool = [](std::string_view, Duration) { return true; },
                                .clear = [](std::string_view) { return true; },
                                .view = [](std::string_view) { return std::nullopt; },
                                .view_pool = [](std::uint32_t) { return routing::PoolView{}; },
                                .sticky = [] { return routing::StickyCounts{}; }},
                   .receipt_key = &receipt_key_,
                   .wallets = {.store = wallets_.get(),
                               .view = [](const gateway::WalletId&) { return std::nullopt; },
                               .find = [](const gateway::GrantId&) { return std::nullopt; },
                               .give = nullptr,
                               .revoke = nullptr,
                               .sweep = [] {}},
                   .operators = operators_.get(),
                   .policies = {.store = policies_.get(),
                                .approvals = nullptr,
                                .file = [this] { return config_; },
                                .read = nullptr,
                                .changed = nullptr,
                                .spent = nullptr},
                   .courier = courier_.get(),
                   .journal =
                       [this](std::uint64_t after, std::size_t bytes_max) {
                         asked_after_ = after;
                         asked_bytes_ = bytes_max;
                         return slice_;
                       },
                   .quotas = {.set = [] { return std::make_shared<const policy::PolicySet>(); },
                              .look =
                                  [](std::span<const policy::QuotaUse>) {
                                    return std::vector<gateway::QuotaStanding>();
                                  },
                              .available_at = [](const policy::Standing&,
                                                 std::int64_t) { return Instant{}; },
                              .usual_output = [](const KeyId&, config::PriceId) -> std::int64_t {
                                return 0;
                              },
                              .list = [](std::string_view, std::uint32_t,
                                         std::size_t) { return server::CreditHost::QuotaPage{}; }}},
        HashToken(kToken), std::vector<std::string>{"admin.example.com"});
  }
  ~AdminApiTest() override { std::filesystem::remove_all(directory_); }

  AdminResponse Send(std::string_view method, std::string_view target, std::string_view body = {},
                     std::vector<gateway::HeaderView> more = {}) {
    const std::string authorization = "Bearer " + std::string(kToken);
    AdminRequest request{.method = method,
                         .path = target.substr(0, target.find('?')),
                         .query = target.find('?') == std::string_view::npos
                                      ? std::string_view()
                                      : target.substr(target.find('?') + 1),
                         .headers = {{"Host", "127.0.0.1:8081"},
                                     {"Authorization", authorization},
                                     {"Content-Type", "application/json"}},
                         .body = body};
    for (const auto& header : more) {
      std::erase_if(request.headers, [&](const auto& known) {
        return gateway::EqualsIgnoreCase(known.name, header.name);
      });
    }
    for (const auto& header : more) {
      if (header.value != "(none)") request.headers.push_back(header);
    }
    return api_->Handle(request);
  }

  json::object Json(const AdminResponse& response, int status = 200) {
    EXPECT_EQ(response.status, status) << response.body;
    json::error_code error;
    json::value value = json::parse(response.body, error);
    EXPECT_FALSE(error) << response.body;
    return value.is_object() ? value.get_object() : json::object();
  }

  // A problem as RFC 9457 has it; returns its detail and errors as one text.
  std::string Problem(const AdminResponse& response, int status, std::string_view type) {
    const json::object problem = Json(response, status);
    EXPECT_EQ(response.content_type, "application/problem+json");
    EXPECT_EQ(problem.at("type").as_string(), "urn:weir:problem:" + std::string(type));
    EXPECT_EQ(problem.at("status").as_int64(), status);
    EXPECT_FALSE(problem.at("title").as_string().empty());
    EXPECT_FALSE(problem.at("detail").as_string().empty());
    return response.body;
  }

  std::string Create(std::string_view body) {  // the id
    const json::object made = Json(Send("POST", "/admin/v1/keys", body), 201);
    return std::string(made.at("key").as_object().at("id").as_string());
  }

  identity::Pepper pepper_{"0123456789abcdef0123456789abcdef"};
  store::ReceiptKey receipt_key_{Secret(std::string(32, 'r'))};
  std::unique_ptr<store::KeyStore> keys_;
  std::filesystem::path directory_;
  std::unique_ptr<store::RequestLog> requests_;
  std::unique_ptr<store::AccountStore> accounts_;
  std::unique_ptr<store::WalletStore> wallets_;
  std::unique_ptr<server::Courier> courier_;
  std::unique_ptr<store::OperatorStore> operators_;
  std::unique_ptr<store::PolicyStore> policies_;
  std::shared_ptr<const config::Config> config_;
  Instant now_ = kStart;
  SeededRandom random_{7};
  bool draining_ = false;
  int published_ = 0;
  std::optional<gateway::KeyStanding> standing_;
  Result<store::JournalSlice> slice_ = store::JournalSlice{};
  std::uint64_t asked_after_ = 0;
  std::size_t asked_bytes_ = 0;
  std::unique_ptr<AdminApi> api_;
};

// ------------------------------------------------------------------------------ who may ask

TEST_F(AdminApiTest, EveryRouteButTheOpenOnes_NeedsTheToken) {
  for (const Route& route : Routes()) {
    for (const std::string_view token :
         {"(none)", "Bearer wadm_wrong", "Basic d2FkbQ==", "Bearer"}) {
      now_ = now_ + Minutes(2);  // so that the limit on failures does not answer
      std::string path(route.path);
      if (const auto at = path.find("{id}"); at != std::string::npos) path.replace(at, 4, "x");
      const AdminResponse response = Send(route.method, path, {}, {{"Authorization", token}});
      if (route.access == Access::kOpen) {
        EXPECT_LT(response.status, 300) << path;
      } else {
        Problem(response, 401, "unauthorized");
        EXPECT_THAT(response.headers, HasSubstr("www-authenticate: Bearer")) << path;
      }
    }
  }
}

TEST_F(AdminApiTest, WithoutToken_UnknownPathsLookLikeKnownOnes) {
  const auto known = Send("GET", "/admin/v1/keys", {}, {{"Authorization", "(none)"}});
  const auto unknown = Send("GET", "/admin/v1/nothing", {}, {{"Authorization", "(none)"}});
  EXPECT_EQ(known.body, unknown.body);
  Problem(Send("GET", "/admin/v1/nothing"), 404, "not-found");
}

TEST_F(AdminApiTest, TheSixthWrongTokenInAMinute_Is429_AndTheRightOneAlwaysWorks) {
  const auto wrong = [&] {
    return Send("GET", "/admin/v1/status", {}, {{"Authorization", "Bearer wadm_guess"}});
  };
  for (int i = 0; i < 5; ++i) {
    Problem(wrong(), 401, "unauthorized");
    now_ = now_ + Seconds(1);
  }
  const AdminResponse limited = wrong();
  Problem(limited, 429, "too-many-failures");
  EXPECT_THAT(limited.headers, HasSubstr("retry-after: 55\r\n"));
  Json(Send("GET", "/admin/v1/status"));
  // A request without a token is a mistake and not counted as a guess.
  Problem(Send("GET", "/admin/v1/status", {}, {{"Authorization", "(none)"}}), 401, "unauthorized");
  now_ = kStart + Minutes(1);
  Problem(wrong(), 401, "unauthorized");
}

TEST_F(AdminApiTest, TwoAuthorizationHeaders_AreNoToken) {
  const std::string right = "Bearer " + std::string(kToken);
  Problem(Send("GET", "/admin/v1/status", {},
               {{"Authorization", right}, {"Authorization", "Bearer other"}}),
          401, "unauthorized");
}

TEST_F(AdminApiTest, HostAndOrigin_MustBeThisMachines) {
  struct Case {
    std::vector<gateway::HeaderView> headers;
    int status;
  };
  for (const Case& c : std::initializer_list<Case>{
           {{{"Host", "localhost:8081"}}, 200},
           {{{"Host", "LOCALHOST"}}, 200},
           {{{"Host", "[::1]:8081"}}, 200},
           {{{"Host", "10.1.2.3"}}, 200},
           {{{"Host", "weir:8081"}}, 200},
           {{{"Host", "admin.example.com:8081"}}, 200},
           {{{"Host", "evil.example"}}, 403},
           {{{"Host", "127.0.0.1.evil.example"}}, 403},
           {{{"Host", "1.2.3.4x"}}, 403},
           {{{"Host", ""}}, 403},
           {{{"Host", ":8081"}}, 403},
           {{{"Host", "(none)"}}, 403},
           {{{"Host", "localhost"}, {"Host", "localhost"}}, 403},
           {{{"Origin", "http://127.0.0.1:8081"}}, 200},
           {{{"Origin", "http://127.0.0.1:9999"}}, 403},
           {{{"Origin", "https://evil.example"}}, 403},
           {{{"Origin", "null"}}, 403},
           {{{"Origin", ""}}, 403},
           {{{"Sec-Fetch-Site", "same-origin"}}, 200},
           {{{"Sec-Fetch-Site", "cross-site"}}, 403},
       }) {
    EXPECT_EQ(Send("GET", "/admin/v1/status", {}, c.headers).status, c.status)
        << c.headers[0].name << " " << c.headers[0].value;
  }
}

TEST_F(AdminApiTest, AWrongMethod_Is405WithTheOnesItKnows) {
  const AdminResponse response = Send("PUT", "/admin/v1/keys/x");
  Problem(response, 405, "method-not-allowed");
  EXPECT_THAT(response.headers, HasSubstr("allow: GET, PATCH, DELETE\r\n"));
  EXPECT_EQ(Send("HEAD", "/admin/v1/status").status, 200);
}

TEST_F(AdminApiTest, EveryResponse_ForbidsCaches) {
  for (const std::string_view path : {"/", "/admin/v1/status", "/admin/v1/nothing"}) {
    EXPECT_THAT(Send("GET", path).headers, HasSubstr("cache-control: no-store\r\n"));
    EXPECT_THAT(Send("GET", path).headers, HasSubstr("x-content-type-options: nosniff\r\n"));
  }
}

// ------------------------------------------------------------------------------ keys

TEST_F(AdminApiTest, Create_GivesTheSecretOnce_AndItsDigestIsStored) {
  const AdminResponse response =
      Send("POST", "/admin/v1/keys",
           R"({"name":"ci","models":["m2","m1"],"expires_at":"2027-01-31","workspace":"red",
          "limits":{"requests_per_minute":60,"budget_usd":"12.50"}})");
  const json::object made = Json(response, 201);
  const std::string secret(made.at("secret").as_string());
  const json::object& key = made.at("key").as_object();
  const std::string id(key.at("id").as_string());
  EXPECT_TRUE(identity::LooksGenerated(secret, "wr_")) << secret;
  EXPECT_THAT(response.headers, HasSubstr("location: /admin/v1/keys/" + id + "\r\n"));
  EXPECT_EQ(json::serialize(key.at("models")), R"(["m1","m2"])");
  EXPECT_EQ(
      json::serialize(key.at("limits")),
      R"({"requests_per_minute":60,"tokens_per_minute":0,"concurrent_requests":0,"budget_usd":"12.5"})");
  EXPECT_EQ(key.at("expires_at").as_string(), "2027-01-31T00:00:00.000000Z");
  EXPECT_EQ(key.at("state").as_string(), "active");
  EXPECT_EQ(key.at("permissions").as_array().size(), 1U);
  EXPECT_EQ(published_, 1);

  const auto* record = keys_->table()->FindByDigest(pepper_.Digest(secret));
  ASSERT_NE(record, nullptr);
  EXPECT_EQ((*record)->limits.budget, NanoUsd{12'500'000'000});

  const AdminResponse again = Send("GET", "/admin/v1/keys/" + id);
  EXPECT_EQ(Json(again), key);
  EXPECT_THAT(again.body, Not(HasSubstr(secret)));
  EXPECT_THAT(Send("GET", "/admin/v1/keys").body, Not(HasSubstr(secret)));
  EXPECT_THAT(Send("GET", "/admin/v1/audit").body, Not(HasSubstr(secret)));
}

TEST_F(AdminApiTest, Create_TakesDefaultsFromTheConfiguration) {
  const std::string id = Create(R"({"name":"a"})");
  const json::object key = Json(Send("GET", "/admin/v1/keys/" + id));
  EXPECT_EQ(key.at("limits").as_object().at("requests_per_minute").as_int64(),
            config_->key_defaults.requests_per_minute);
  EXPECT_EQ(key.at("environment").as_string(), config_->environment);
  EXPECT_TRUE(key.at("models").is_null());
}

TEST_F(AdminApiTest, Create_WithANameInUse_IsAConflict_UntilThatKeyIsRevoked) {
  const std::string id = Create(R"({"name":"a"})");
  Problem(Send("POST", "/admin/v1/keys", R"({"name":"a"})"), 409, "conflict");
  EXPECT_EQ(published_, 1);
  Json(Send("DELETE", "/admin/v1/keys/" + id));
  Create(R"({"name":"a"})");
}

TEST_F(AdminApiTest, Create_RefusesWhatItDoesNotUnderstand_AndChangesNothing) {
  struct Case {
    std::string_view body;
    std::string_view pointer;
    std::string_view detail;
  };
  for (const Case& c : std::initializer_list<Case>{
           {R"({})", "/name", "is missing"},
           {R"({"name":1})", "/name", "must be a string"},
           {R"({"name":""})", "/name", "at least 1"},
           {R"({"name":"a b"})", "/name", "letters, digits"},
           {R"({"name":"a\u0000"})", "/name", "letters, digits"},
           {R"({"name":"a","budget":"1"})", "/budget", "is not known here"},
           {R"({"name":"a","limits":{"budgt_usd":"1"}})", "/limits/budgt_usd", "is not known here"},
           {R"({"name":"a","a/b~c":1})", "/a~1b~0c", "is not known here"},
           {R"({"name":"a","limits":[]})", "/limits", "must be an object"},
           {R"({"name":"a","limits":null})", "/limits", "must be an object"},
           {R"({"name":"a","limits":{"budget_usd":12.5}})", "/limits/budget_usd", "decimal string"},
           {R"({"name":"a","limits":{"budget_usd":"-1"}})", "/limits/budget_usd", "decimal string"},
           {R"({"name":"a","limits":{"budget_usd":"1e3"}})", "/limits/budget_usd",
            "decimal string"},
           {R"({"name":"a","limits":{"budget_usd":"0.0000000001"}})", "/limits/budget_usd",
            "decimal string"},
           {R"({"name":"a","limits":{"budget_usd":"99999999999999"}})", "/limits/budget_usd",
            "decimal string"},
           {R"({"name":"a","limits":{"requests_per_minute":-1}})", "/limits/requests_per_minute",
            "whole number"},
           {R"({"name":"a","limits":{"requests_per_minute":1e2}})", "/limits/requests_per_minute",
            "whole number"},
           {R"({"name":"a","limits":{"requests_per_minute":18446744073709551615}})",
            "/limits/requests_per_minute", "whole number"},
           {R"({"name":"a","limits":{"requests_per_minute":true}})", "/limits/requests_per_minute",
            "whole number"},
           {R"({"name":"a","models":[]})", "/models", "write null for all"},
           {R"({"name":"a","models":["ok",5]})", "/models/1", "must be a string"},
           {R"({"name":"a","models":["a\nb"]})", "/models/0", "printable ASCII"},
           {R"({"name":"a","permissions":null})", "/permissions", "must be a list"},
           {R"({"name":"a","workspace":""})", "/workspace", "at least 1"},
           {R"({"name":"a","package":5})", "/package", "must be a string"},
           {R"({"name":"a","package":"gold"})", "/package",
            "names no package of the configuration; known are: default"},
           {R"({"name":"a","package":"key:hers"})", "/package", "letters, digits"},
           {R"({"name":"a","codex_adaptation":"yes"})", "/codex_adaptation", "must be true or"},
           {R"({"name":"a","payload_rules":{}})", "/payload_rules", "must be a list of at most 32"},
           {R"({"name":"a","payload_rules":[1]})", "/payload_rules", "the one at 0"},
           {R"({"name":"a","payload_rules":[{"path":"a","value":1},{"path":"model","value":1}]})",
            "/payload_rules/1/path", "'model' cannot be set"},
           {R"({"name":"a","payload_rules":[{"path":"a b","value":1}]})", "/payload_rules/0/path",
            "without blanks"},
           {R"({"name":"a","payload_rules":[{"path":"a..b","value":1}]})", "/payload_rules/0/path",
            "1 to 64 bytes"},
           {R"({"name":"a","payload_rules":[{"path":"a"}]})", "/payload_rules/0/value",
            "is missing"},
           {R"({"name":"a","payload_rules":[{"value":1}]})", "/payload_rules/0/path", "is missing"},
           {R"({"name":"a","payload_rules":[{"path":"a","value":1,"valueType":"json"}]})",
            "/payload_rules/0/valueType", "is not known here"},
           {R"({"name":"a","allow_downgrade":null})", "/allow_downgrade", "must be true or"},
           {R"({"name":"a","attributes":[]})", "/attributes", "must be an object"},
           {R"({"name":"a","attributes":{"team":1}})", "/attributes/team", "must be a string"},
           {R"({"name":"a","attributes":{"team":""}})", "/attributes/team", "must not be empty"},
           {R"({"name":"a","attributes":{"team":"a\nb"}})", "/attributes/team", "printable ASCII"},
           {R"({"name":"a","attributes":{"workspace":"acme"}})", "/attributes/workspace",
            "known are: team, user, customer, customer_tier, workflow, feature"},
           {R"({"name":"a","metadata":{}})", "/metadata", "must be a list of: team, user"},
           {R"({"name":"a","metadata":["user","key"]})", "/metadata", "must be a list of: team"},
           {R"({"name":"a","metadata":[1]})", "/metadata", "must be a list of: team, user"},
           {R"({"name":"a","expires_at":"soon"})", "/expires_at", "must be a time"},
           {R"({"name":"a","expires_at":1800000000})", "/expires_at", "must be a time"},
           {R"({"name":"a","expires_at":"2025-01-01"})", "/expires_at", "in the future"},
       }) {
    const std::string body =
        Problem(Send("POST", "/admin/v1/keys", c.body), 422, "invalid-request");
    EXPECT_THAT(body, HasSubstr("\"pointer\":\"" + std::string(c.pointer) + "\"")) << c.body;
    EXPECT_THAT(body, HasSubstr(std::string(c.detail))) << c.body;
  }
  EXPECT_EQ(keys_->table()->size(), 0U);
  EXPECT_EQ(published_, 0);
}

TEST_F(AdminApiTest, Create_ReportsAllErrorsAtOnce) {
  const json::object problem = Json(
      Send("POST", "/admin/v1/keys", R"({"nam":"a","limits":{"tokens_per_minute":"5"}})"), 422);
  EXPECT_EQ(problem.at("errors").as_array().size(), 3U) << json::serialize(problem);
}

TEST_F(AdminApiTest, HostileBodies_AreRefusedBeforeAnythingIsRead) {
  const std::string deep = std::string(5000, '[') + std::string(5000, ']');
  const std::string deep_object = [] {
    std::string text = R"({"name":"a","x":)";
    for (int i = 0; i < 2000; ++i) text += "{\"x\":";
    return text + "1" + std::string(2001, '}');
  }();
  const std::string large = R"({"name":")" + std::string(kBodyBytesMax, 'a') + "\"}";
  for (const std::string_view body :
       {std::string_view(""), std::string_view("{"), std::string_view("null"),
        std::string_view("[]"), std::string_view("\"a\""), std::string_view("{\"name\":\"a\"}{}"),
        std::string_view("{'name':'a'}"), std::string_view("{\"name\":\"a\",}"),
        std::string_view("{\"name\":\"\xFF\"}"), std::string_view("{\"name\":\"\\ud800\"}"),
        std::string_view("{\"name\":NaN}"), std::string_view("\xEF\xBB\xBF{\"name\":\"a\"}"),
        std::string_view("{\"name\":\"a\",\"name\":\"b\"}"),
        std::string_view("{\"name\":\"a\",\"limits\":{\"budget_usd\":\"1\",\"budget_usd\":null}}"),
        std::string_view(deep), std::string_view(deep_object)}) {
    Problem(Send("POST", "/admin/v1/keys", body), 400, "invalid-json");
  }
  Problem(Send("POST", "/admin/v1/keys", large), 413, "too-large");
  for (const std::string_view type :
       {"(none)", "text/plain", "application/x-www-form-urlencoded"}) {
    Problem(Send("POST", "/admin/v1/keys", R"({"name":"a"})", {{"Content-Type", type}}), 415,
            "unsupported-media-type");
  }
  EXPECT_EQ(keys_->table()->size(), 0U);
  Json(Send("POST", "/admin/v1/keys", R"({"name":"a:\"b"})"), 422);  // colons and quotes in a text
  Json(Send("POST", "/admin/v1/keys", R"({"name":"a"})",
            {{"Content-Type", "application/json; charset=utf-8"}}),
       201);
}

TEST_F(AdminApiTest, Patch_ChangesWhatIsNamedAndNothingElse) {
  const std::string id = Create(R"({"name":"a","models":["m1"],"limits":{"budget_usd":"5"}})");
  const std::string path = "/admin/v1/keys/" + id;
  json::object key = Json(Send("PATCH", path, R"({"limits":{"tokens_per_minute":9}})"));
  EXPECT_EQ(key.at("limits").as_object().at("tokens_per_minute").as_int64(), 9);
  EXPECT_EQ(key.at("limits").as_object().at("budget_usd").as_string(), "5");
  EXPECT_EQ(json::serialize(key.at("models")), R"(["m1"])");
  key = Json(Send("PATCH", path, R"({"limits":{"budget_usd":null},"models":null})"));
  EXPECT_TRUE(key.at("limits").as_object().at("budget_usd").is_null());
  EXPECT_TRUE(key.at("models").is_null());
  key = Json(Send("PATCH", path, R"({"state":"disabled","name":"b"})"));
  EXPECT_EQ(key.at("state").as_string(), "disabled");
  EXPECT_EQ(key.at("name").as_string(), "b");
  EXPECT_EQ(published_, 4);
  // The same again is no change: no row of the audit trail, nothing published.
  Json(Send("PATCH", path, R"({"state":"disabled","name":"b"})"));
  EXPECT_EQ(published_, 4);
  const json::object audit = Json(Send("GET", "/admin/v1/audit"));
  EXPECT_EQ(audit.at("data").as_array().size(), 4U);
  EXPECT_THAT(json::serialize(audit.at("data").as_array()[0]),
              HasSubstr("name a -> b; state active -> disabled"));
  Problem(Send("PATCH", path, R"({"state":"revoked"})"), 422, "invalid-request");
}

TEST_F(AdminApiTest, ARevokedKey_StaysAsItIs) {
  const std::string id = Create(R"({"name":"a"})");
  const std::string path = "/admin/v1/keys/" + id;
  now_ = now_ + Seconds(5);
  const json::object revoked = Json(Send("DELETE", path));
  EXPECT_EQ(revoked.at("state").as_string(), "revoked");
  EXPECT_EQ(revoked.at("revoked_at").as_string(), "2026-01-01T00:00:05.000000Z");
  now_ = now_ + Seconds(5);
  EXPECT_EQ(Json(Send("DELETE", path)), revoked);
  EXPECT_EQ(published_, 2);
  Problem(Send("PATCH", path, R"({"state":"active"})"), 409, "conflict");
  Problem(Send("POST", path + "/rotate"), 409, "conflict");
}

TEST_F(AdminApiTest, Rotate_GivesANewSecret_AndTheOldOneForTheOverlap) {
  const json::object made = Json(Send("POST", "/admin/v1/keys", R"({"name":"a"})"), 201);
  const std::string old_secret(made.at("secret").as_string());
  const std::string path =
      "/admin/v1/keys/" + std::string(made.at("key").as_object().at("id").as_string());
  const json::object rotated = Json(Send("POST", path + "/rotate", R"({"overlap_seconds":60})"));
  const std::string secret(rotated.at("secret").as_string());
  EXPECT_NE(secret, old_secret);
  EXPECT_EQ(rotated.at("key").as_object().at("previous_secret_valid_until").as_string(),
            "2026-01-01T00:01:00.000000Z");
  EXPECT_NE(keys_->table()->FindByDigest(pepper_.Digest(secret)), nullptr);
  EXPECT_NE(keys_->table()->FindByDigest(pepper_.Digest(old_secret)), nullptr);
  now_ = now_ + Seconds(60);
  EXPECT_TRUE(Json(Send("GET", path)).at("previous_secret_valid_until").is_null());
  // Without a body and with an empty one: no overlap.
  Json(Send("POST", path + "/rotate", {}, {{"Content-Type", "(none)"}}));
  EXPECT_EQ(keys_->table()->FindByDigest(pepper_.Digest(secret)), nullptr);
  for (const std::string_view body :
       {R"({"overlap_seconds":-1})", R"({"overlap_seconds":2592001})", R"({"overlap":5})"}) {
    Problem(Send("POST", path + "/rotate", body), 422, "invalid-request");
  }
}

TEST_F(AdminApiTest, AnExpiredKey_ShowsAsExpired_AndDisabledWins) {
  const std::string id = Create(R"({"name":"a","expires_at":"2026-01-01T00:00:10Z"})");
  const auto state = [&] {
    return std::string(Json(Send("GET", "/admin/v1/keys/" + id)).at("state").as_string());
  };
  now_ = kStart + Seconds(10) + Duration{-1};
  EXPECT_EQ(state(), "active");
  now_ = kStart + Seconds(10);
  EXPECT_EQ(state(), "expired");
  EXPECT_EQ(Json(Send("GET", "/admin/v1/keys?state=expired")).at("data").as_array().size(), 1U);
  EXPECT_EQ(Json(Send("GET", "/admin/v1/keys?state=active")).at("data").as_array().size(), 0U);
  Json(Send("PATCH", "/admin/v1/keys/" + id, R"({"state":"disabled"})"));
  EXPECT_EQ(state(), "disabled");
}

TEST_F(AdminApiTest, List_PagesThroughAllKeysNewestFirst) {
  std::set<std::string> made;
  for (int i = 0; i < 7; ++i) {
    now_ = now_ + Seconds(1);
    made.insert(Create(R"({"name":"k)" + std::to_string(i) + "\"}"));
  }
  std::set<std::string> seen;
  std::string target = "/admin/v1/keys?limit=3";
  std::vector<std::size_t> pages;
  for (;;) {
    const json::object page = Json(Send("GET", target));
    pages.push_back(page.at("data").as_array().size());
    for (const json::value& key : page.at("data").as_array()) {
      if (seen.empty()) {
        EXPECT_EQ(key.as_object().at("name").as_string(), "k6");
      }
      EXPECT_TRUE(seen.insert(std::string(key.as_object().at("id").as_string())).second);
    }
    if (page.at("next_cursor").is_null()) break;
    target = "/admin/v1/keys?limit=3&cursor=" + std::string(page.at("next_cursor").as_string());
  }
  EXPECT_EQ(seen, made);
  EXPECT_THAT(pages, testing::ElementsAre(3, 3, 1));
  EXPECT_EQ(Json(Send("GET", "/admin/v1/keys?limit=7")).at("next_cursor"), nullptr);
  EXPECT_EQ(Json(Send("GET", "/admin/v1/keys?name=k%33")).at("data").as_array().size(), 1U);
}

TEST_F(AdminApiTest, WrongQueries_AreRefusedByName) {
  for (const std::string_view query :
       {"limit=0", "limit=1001", "limit=1x", "limit=99999999999999999999", "cursor=abc",
        "state=gone", "stat=active", "limit=1&limit=2", "limit=%zz", "limit=%2", "%00=1"}) {
    const std::string body =
        Problem(Send("GET", "/admin/v1/keys?" + std::string(query)), 422, "invalid-request");
    EXPECT_THAT(body, HasSubstr("\"parameter\":")) << query;
  }
  Json(Send("GET", "/admin/v1/keys?"));
  Json(Send("GET", "/admin/v1/keys?&&limit=5&"));
}

TEST_F(AdminApiTest, AKeyThatDoesNotExist_Is404_WhateverTheIdLooksLike) {
  const std::string missing = "key_" + ToString(MakeId(kStart, 1, 2));
  for (const std::string& id : {missing, std::string("x"), std::string("%2e%2e"),
                                std::string(10'000, 'A'), std::string("key_")}) {
    Problem(Send("GET", "/admin/v1/keys/" + id), 404, "not-found");
    Problem(Send("PATCH", "/admin/v1/keys/" + id, R"({"name":"b"})"), 404, "not-found");
    Problem(Send("DELETE", "/admin/v1/keys/" + id), 404, "not-found");
    Problem(Send("POST", "/admin/v1/keys/" + id + "/rotate"), 404, "not-found");
    Problem(Send("GET", "/admin/v1/ledger/keys/" + id), 404, "not-found");
  }
}

// ------------------------------------------------------------------------------ the rest

telemetry::ExchangeRecord Record(int second) {
  telemetry::ExchangeRecord record;
  record.started_at = kStart + Seconds(second);
  record.request = RequestId{MakeId(record.started_at, 1, static_cast<std::uint64_t>(second))};
  record.ending = EndingKind::kServed;
  record.status = 200;
  record.operation = "responses";
  record.model = "gpt-5.5";
  record.attempts = 2;
  record.usage = {.input_tokens = 1000, .output_tokens = 10, .source = UsageSource::kProvider};
  record.held = {9'000'000};
  record.charged = {5'300'000};
  record.total = Milliseconds(7);
  return record;
}

TEST_F(AdminApiTest, Requests_AreListedNewestFirstAndFiltered) {
  const KeyId key{MakeId(kStart, 5, 6)};
  for (int i = 0; i < 5; ++i) {
    telemetry::ExchangeRecord record = Record(i);
    if (i == 1) record.key = key;
    if (i == 2) record.status = 429;
    if (i == 3) record.model = "x\"\n\xFF<script>";
    requests_->Append(std::move(record));
  }
  requests_->Flush();
  const json::object all = Json(Send("GET", "/admin/v1/requests"));
  ASSERT_EQ(all.at("data").as_array().size(), 5U);
  EXPECT_EQ(all.at("data").as_array()[0].as_object().at("started_at").as_string(),
            "2026-01-01T00:00:04.000000Z");
  const auto count = [&](const std::string& query) {
    return Json(Send("GET", "/admin/v1/requests?" + query)).at("data").as_array().size();
  };
  EXPECT_EQ(count("status=429"), 1U);
  EXPECT_EQ(count("model=gpt-5.5"), 4U);
  EXPECT_EQ(count("key=key_" + ToString(key)), 1U);
  const json::object page = Json(Send("GET", "/admin/v1/requests?limit=3"));
  EXPECT_EQ(count("limit=3&cursor=" + std::string(page.at("next_cursor").as_string())), 2U);
  for (const std::string_view query : {"status=99", "key=nobody", "cursor=x", "user=1"}) {
    Problem(Send("GET", "/admin/v1/requests?" + std::string(query)), 422, "invalid-request");
  }
}

TEST_F(AdminApiTest, ARequest_IsExplainedWithItsPriceAndHold) {
  requests_->Append(Record(0));
  requests_->Flush();
  const std::string id = "req_" + ToString(Record(0).request);
  const json::object request = Json(Send("GET", "/admin/v1/requests/" + id));
  EXPECT_EQ(request.at("id").as_string(), id);
  EXPECT_EQ(request.at("held_usd").as_string(), "0.009");
  EXPECT_EQ(request.at("charged_usd").as_string(), "0.0053");
  const std::string story = json::serialize(request.at("explanation"));
  EXPECT_THAT(story, HasSubstr("Served: the whole reply left with status 200."));
  EXPECT_THAT(story, HasSubstr("2 calls to upstreams were made"));
  EXPECT_THAT(story, HasSubstr("0.009 USD were held before the call"));
  EXPECT_THAT(story, HasSubstr("0.0037 USD given back"));
  const json::object& price = request.at("price").as_object();
  EXPECT_EQ(price.at("equals_what_was_booked").as_bool(),
            price.at("cost_usd").as_string() == "0.0053");
  Problem(Send("GET", "/admin/v1/requests/" + ToString(Record(9).request)), 404, "not-found");
  Problem(Send("GET", "/admin/v1/requests/x"), 404, "not-found");
}

// Nothing is flushed here: the log has it in its queue.
TEST_F(AdminApiTest, AReceipt_IsSignedAtThePriceOfTheAdmissionAndNamesTheAccount) {
  telemetry::ExchangeRecord record = Record(0);
  record.upstream = "openai/team-a";
  record.attempts_told = "openai/gone 0 server_error, openai/team-a 200 served";
  record.price = server::PriceBytes({.input = {5'000'000},
                                     .cached_input = {5'000'000},
                                     .cache_write = {5'000'000},
                                     .output = {30'000'000},
                                     .version = 9});
  record.charge = true;
  requests_->Append(record);
  const std::string path = "/admin/v1/requests/req_" + ToString(record.request);
  const AdminResponse response = Send("GET", path + "/receipt");
  EXPECT_EQ(response.status, 200);
  EXPECT_THAT(response.body, HasSubstr(R"("account":"openai/team-a")"));
  EXPECT_THAT(response.body, HasSubstr(R"("account":"openai/gone")"));
  EXPECT_THAT(server::CheckReceipt(response.body, receipt_key_.public_key()).faults,
              testing::IsEmpty());
  EXPECT_EQ(Json(Send("GET", "/admin/v1/receipt-key")).at("public_key").as_string(),
            receipt_key_.public_key());
  const json::object price = Json(Send("GET", path)).at("price").as_object();
  EXPECT_EQ(price.at("basis").as_string(), "the price of the admission");
  EXPECT_EQ(price.at("version").as_int64(), 9);
  EXPECT_TRUE(price.at("equals_what_was_booked").as_bool());
  Problem(Send("GET", "/admin/v1/requests/" + ToString(Record(9).request) + "/receipt"), 404,
          "not-found");
}

TEST_F(AdminApiTest, TheLedgerOfAKey_IsBudgetMinusSpentMinusHeld) {
  const std::string id = Create(R"({"name":"a","limits":{"budget_usd":"1"}})");
  const auto ledger = [&] { return Json(Send("GET", "/admin/v1/ledger/keys/" + id)); };
  EXPECT_EQ(ledger().at("remaining_usd").as_string(), "1");  // never seen by the machine
  standing_ = gateway::KeyStanding{
      .budget = NanoUsd{kNanoPerUsd}, .settled = {250'000'000}, .held = {1}, .requests_open = 2};
  EXPECT_EQ(ledger().at("spent_usd").as_string(), "0.25");
  EXPECT_EQ(ledger().at("held_usd").as_string(), "0.000000001");
  EXPECT_EQ(ledger().at("remaining_usd").as_string(), "0.749999999");
  EXPECT_EQ(ledger().at("requests_open").as_int64(), 2);
  // A budget that was lowered below what is spent leaves nothing, not less than nothing.
  Json(Send("PATCH", "/admin/v1/keys/" + id, R"({"limits":{"budget_usd":"0.1"}})"));
  EXPECT_EQ(ledger().at("remaining_usd").as_string(), "0");
  Json(Send("PATCH", "/admin/v1/keys/" + id, R"({"limits":{"budget_usd":null}})"));
  EXPECT_TRUE(ledger().at("remaining_usd").is_null());
}

TEST_F(AdminApiTest, TheJournal_IsHandedOutInSlices_AsItIsStored) {
  store::JournalSlice slice;
  slice.tail.position = 9;
  slice.tail.chain.fill(0xab);
  store::JournalSlice::Batch batch{.first_position = 5, .count = 2, .records = {0, 1, 0xff, 0xfe}};
  batch.chain.fill(0x0c);
  slice.batches.push_back(batch);
  slice_ = slice;
  const json::object answer = Json(Send("GET", "/admin/v1/ledger/journal?after=4"));
  EXPECT_EQ(asked_after_, 4U);
  EXPECT_GT(asked_bytes_, 0U);
  EXPECT_EQ(answer.at("position").as_int64(), 9);
  EXPECT_EQ(answer.at("chain").as_string().size(), 64U);
  EXPECT_TRUE(answer.at("chain").as_string().starts_with("abab"));
  const json::object& first = answer.at("batches").as_array().at(0).as_object();
  EXPECT_EQ(first.at("first_position").as_int64(), 5);
  EXPECT_EQ(first.at("count").as_int64(), 2);
  EXPECT_EQ(first.at("records").as_string(), "AAH//g==");
  EXPECT_EQ(first.at("chain").as_string().size(), 64U);

  // A batch is as long as it is, and is never cut.
  slice.batches[0].records.assign(100'000, 7);
  slice_ = slice;
  EXPECT_EQ(Json(Send("GET", "/admin/v1/ledger/journal"))
                .at("batches")
                .as_array()
                .at(0)
                .as_object()
                .at("records")
                .as_string()
                .size(),
            133'336U);
  EXPECT_EQ(asked_after_, 0U);
  Problem(Send("GET", "/admin/v1/ledger/journal?after=-1"), 422, "invalid-request");
  Problem(Send("GET", "/admin/v1/ledger/journal?before=1"), 422, "invalid-request");
  slice_ = Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment, "no space");
  Problem(Send("GET", "/admin/v1/ledger/journal"), 503, "unavailable");
  Problem(Send("GET", "/admin/v1/ledger/anchor"), 503, "unavailable");
}

TEST_F(AdminApiTest, TheAnchor_IsWhereTheLedgerEnds) {
  slice_->tail.position = 7;
  slice_->tail.chain.fill(0x12);
  const json::object anchor = Json(Send("GET", "/admin/v1/ledger/anchor"));
  EXPECT_EQ(asked_after_, static_cast<std::uint64_t>(INT64_MAX)) << "no batches are asked for";
  EXPECT_EQ(anchor.at("position").as_int64(), 7);
  EXPECT_EQ(anchor.at("chain").as_string().size(), 64U);
  EXPECT_TRUE(anchor.at("chain").as_string().starts_with("1212"));
  EXPECT_EQ(anchor.at("time").as_string(), "2026-01-01T00:00:00.000000Z");
}

TEST_F(AdminApiTest, NothingThatDescribesTheNode_HoldsASecret) {
  config::Config config = *config_;
  config.keys.push_back({.name = "k", .secret = Secret("canary-key-secret")});
  config_ = std::make_shared<const config::Config>(std::move(config));
  for (const Route& route : Routes()) {
    if (route.method != "GET" || route.path.find("{id}") != std::string_view::npos) continue;
    const AdminResponse response = Send("GET", route.path);
    EXPECT_EQ(response.status, 200) << route.path;
    EXPECT_THAT(response.body, Not(HasSubstr("canary"))) << route.path;
  }
  EXPECT_THAT(Send("GET", "/admin/v1/upstreams").body, HasSubstr(R"("api_key":"***")"));
  EXPECT_THAT(Send("GET", "/admin/v1/config").body, HasSubstr(R"("value":"***")"));
}

// Two upstreams, one with accounts of which one is the key "hers"'s, and all that is made of them.
config::Config Pooled() {
  config::Config config = config::EmbeddedDefault();
  config.accounts.clear();
  config.pools.clear();
  config.packages.clear();
  config::Upstream openai;
  openai.name = "openai";
  openai.host = "api.openai.com";
  openai.base_path = "/v1";
  openai.concurrency = 30;
  config.upstreams.push_back(std::move(openai));
  for (const std::string id : {"openai/a", "openai/hers"}) {
    config::Account account;
    account.id = id;
    account.upstream = 1;
    account.api_key = Secret("canary-" + id);
    config.accounts.push_back(std::move(account));
  }
  config.accounts[0].capabilities = config::kCapChat | config::kCapTranscription;
  config.accounts[0].models = {"gpt-5.5"};
  config.accounts[0].adapt = config::AdaptProfile::kResponsesStrict;
  config.accounts[0].proxy = config::Proxy{"10.0.0.1", 3128};
  config.accounts[0].draining = true;
  config.accounts[1].keys = {"hers"};
  config.pools = {{.name = "main",
                   .accounts = {0},
                   .concurrency = 4,
                   .queue = {.size = 9, .per_key = 2, .wait = Seconds(5)}}};
  config.packages = {{.name = "plain", .pools = {0}}, {.name = "gold", .pools = {0}}};
  config.workspaces = {{.name = "acme", .package = "gold"}, {.name = "bare"}};
  config.models[0].downgrade = config::Downgrade{"gpt-5.4", 70};
  config::FinishAccounts(config);
  return config;
}

TEST_F(AdminApiTest, Accounts_AreShownBelowTheirUpstreamsWithoutTheirKeys) {
  config_ = std::make_shared<const config::Config>(Pooled());
  const AdminResponse response = Send("GET", "/admin/v1/upstreams");
  EXPECT_THAT(response.body, Not(HasSubstr("canary")));
  const json::array data = Json(response).at("data").as_array();
  ASSERT_EQ(data.size(), 2U);
  EXPECT_EQ(json::serialize(data[0].at("accounts").at(0).at("id")), R"("sandbox")");
  EXPECT_TRUE(data[0].at("accounts").at(0).at("api_key").is_null());
  EXPECT_TRUE(data[1].at("api_key").is_null());  // it has accounts instead
  EXPECT_EQ(data[1].at("concurrency").as_int64(), 30);
  ASSERT_EQ(data[1].at("accounts").as_array().size(), 2U);
  EXPECT_EQ(json::serialize(data[1].at("accounts").at(0)),
            R"({"id":"openai/a","api_key":"***","enabled":true,"draining":true,)"
            R"("models":["gpt-5.5"],"capabilities":["chat","transcription"],"weight":1,)"
            R"("priority":50,"concurrency":0,"requests_per_minute":0,"tokens_per_minute":0,)"
            R"("expires_at":null,"reserved_for":[],"profile":"responses_strict",)"
            R"("proxy":"http://10.0.0.1:3128"})");
  EXPECT_EQ(json::serialize(data[1].at("accounts").at(1).at("reserved_for")), R"(["hers"])");
  const json::object model =
      Json(Send("GET", "/admin/v1/models")).at("data").as_array()[0].as_object();
  EXPECT_EQ(json::serialize(model.at("downgrade")), R"({"to":"gpt-5.4","above_percent":70})");
}

TEST_F(AdminApiTest, PoolsPackagesAndWorkspaces_AreListedWithTheirKeys) {
  config_ = std::make_shared<const config::Config>(Pooled());
  Create(R"({"name":"hers"})");
  Create(R"({"name":"one","workspace":"acme"})");
  Create(R"({"name":"two","workspace":"acme","package":"plain"})");
  Create(R"({"name":"three","package":"gold"})");
  Json(Send("DELETE", "/admin/v1/keys/" + Create(R"({"name":"gone","workspace":"acme"})")));
  EXPECT_EQ(
      Send("GET", "/admin/v1/pools").body,
      R"({"concurrency":0,"data":[)"
      R"({"name":"main","accounts":["openai/a"],"concurrency":4,)"
      R"("queue":{"size":9,"per_key":2,"wait_ms":5000},)"
      R"("state":{"usable_accounts":0,"resting_accounts":0,"capacity":0,"in_flight":0,"waiting":0}},)"
      R"({"name":"key:hers","accounts":["openai/hers"],"concurrency":0,)"
      R"("queue":{"size":9,"per_key":2,"wait_ms":5000},)"
      R"("state":{"usable_accounts":0,"resting_accounts":0,"capacity":0,"in_flight":0,"waiting":0}}]})");
  EXPECT_EQ(Send("GET", "/admin/v1/packages").body,
            R"({"data":[{"name":"plain","pools":["main"],"default":true,"keys":1},)"
            R"({"name":"gold","pools":["main"],"default":false,"keys":2},)"
            R"({"name":"key:hers","pools":["key:hers","main"],"default":false,"keys":1}]})");
  EXPECT_EQ(Send("GET", "/admin/v1/workspaces").body,
            R"({"data":[{"name":"acme","package":"gold","keys":2},)"
            R"({"name":"bare","package":"plain","keys":0}]})");
}

TEST_F(AdminApiTest, TheBelongingOfAKey_IsCheckedWhenItIsNamedAndOnlyThen) {
  config_ = std::make_shared<const config::Config>(Pooled());
  EXPECT_THAT(Problem(Send("POST", "/admin/v1/keys", R"({"name":"a","workspace":"acne"})"), 422,
                      "invalid-request"),
              HasSubstr("names no workspace of the configuration; known are: acme, bare"));
  EXPECT_THAT(Problem(Send("POST", "/admin/v1/keys", R"({"name":"a","package":"silver"})"), 422,
                      "invalid-request"),
              HasSubstr("known are: plain, gold\""));
  const std::string path = "/admin/v1/keys/" + Create(R"({"name":"a","workspace":"acme",
      "package":"gold","codex_adaptation":true,"allow_downgrade":false})");
  json::object key = Json(Send("GET", path));
  EXPECT_EQ(key.at("workspace").as_string(), "acme");
  EXPECT_EQ(key.at("package").as_string(), "gold");
  EXPECT_TRUE(key.at("codex_adaptation").as_bool());
  EXPECT_FALSE(key.at("allow_downgrade").as_bool());
  EXPECT_TRUE(
      Json(Send("GET", "/admin/v1/keys")).at("data").at(0).at("codex_adaptation").as_bool());

  // The file forgets both; the key can still be changed otherwise, but not to what is gone.
  config_ = std::make_shared<const config::Config>([] {
    config::Config config = Pooled();
    config.workspaces = {{.name = "other"}};
    config.packages = {{.name = "plain", .pools = {0}}};
    return config;
  }());
  key = Json(Send("PATCH", path, R"({"allow_downgrade":true})"));
  EXPECT_EQ(key.at("package").as_string(), "gold");
  Problem(Send("PATCH", path, R"({"package":"gold"})"), 422, "invalid-request");
  Problem(Send("PATCH", path, R"({"workspace":"acme"})"), 422, "invalid-request");
  key = Json(Send("PATCH", path, R"({"workspace":null,"package":null,"codex_adaptation":false})"));
  EXPECT_TRUE(key.at("workspace").is_null());
  EXPECT_TRUE(key.at("package").is_null());
  EXPECT_THAT(json::serialize(Json(Send("GET", "/admin/v1/audit")).at("data").at(0)),
              HasSubstr("workspace acme -> none; package gold -> none; codex_adaptation -> false"));
}

TEST_F(AdminApiTest, Attributes_AreKeptReplacedWholeAndAudited) {
  const std::string path = "/admin/v1/keys/" + Create(R"({"name":"a",
      "attributes":{"user":"u 1","team":"growth"},"metadata":["workflow","user","user"]})");
  const auto shown = [&] {
    const json::object key = Json(Send("GET", path));
    return json::serialize(key.at("attributes")) + json::serialize(key.at("metadata"));
  };
  EXPECT_EQ(shown(), R"({"team":"growth","user":"u 1"}["user","workflow"])");
  EXPECT_EQ(json::serialize(
                Json(Send("GET", "/admin/v1/keys")).at("data").at(0).at("attributes").at("team")),
            R"("growth")");
  Json(Send("PATCH", path, R"({"allow_downgrade":false})"));
  Problem(Send("PATCH", path, R"({"attributes":{"team":"x","model":"y"}})"), 422,
          "invalid-request");
  EXPECT_EQ(shown(), R"({"team":"growth","user":"u 1"}["user","workflow"])");
  Json(Send("PATCH", path, R"({"attributes":{"customer_tier":"gold"},"metadata":[]})"));
  EXPECT_EQ(shown(), R"({"customer_tier":"gold"}[])");
  EXPECT_THAT(json::serialize(Json(Send("GET", "/admin/v1/audit")).at("data").at(0)),
              HasSubstr("attributes [team=growth user=u 1] -> [customer_tier=gold]; "
                        "metadata [user workflow] -> []"));
  Json(Send("PATCH", path, R"({"attributes":{}})"));
  EXPECT_EQ(shown(), "{}[]");
}

TEST_F(AdminApiTest, PayloadRules_AreKeptInOrderReplacedWholeAndAudited) {
  const std::string path =
      "/admin/v1/keys/" + Create(R"({"name":"a","codex_adaptation":true,"payload_rules":[
          {"path":"reasoning.effort","value":"low"},{"path":"tools.0","value":{"type":"x"}}]})");
  const auto rules = [&] { return json::serialize(Json(Send("GET", path)).at("payload_rules")); };
  EXPECT_EQ(rules(), R"([{"path":"reasoning.effort","value":"low"},)"
                     R"({"path":"tools.0","value":{"type":"x"}}])");
  Json(Send("PATCH", path, R"({"allow_downgrade":false})"));
  EXPECT_THAT(rules(), HasSubstr("reasoning.effort"));
  Problem(Send("PATCH", path, R"({"payload_rules":[{"path":"stream","value":true}]})"), 422,
          "invalid-request");
  EXPECT_THAT(rules(), HasSubstr("reasoning.effort"));
  Json(Send("PATCH", path, R"({"payload_rules":[{"path":"top_p","value":null}]})"));
  EXPECT_EQ(rules(), R"([{"path":"top_p","value":null}])");
  EXPECT_THAT(json::serialize(Json(Send("GET", "/admin/v1/audit")).at("data").at(0)),
              HasSubstr("payload_rules [reasoning.effort tools.0] -> [top_p]"));
  Json(Send("PATCH", path, R"({"payload_rules":[]})"));
  EXPECT_EQ(rules(), "[]");
}

TEST_F(AdminApiTest, TheConfig_ShowsAccountsAndPoolsAsTheFileHasThem) {
  config_ = std::make_shared<const config::Config>(Pooled());
  const std::string body = Send("GET", "/admin/v1/config").body;
  const auto option = [](const std::string& path, const std::string& value) {
    return R"({"path":")" + path + R"(","value":")" + value + R"(","needs_restart":false})";
  };
  EXPECT_THAT(body, HasSubstr(option("upstreams[1].accounts[0].name", "a")));
  EXPECT_THAT(body, HasSubstr(option("upstreams[1].accounts[1].api_key", "***")));
  EXPECT_THAT(body, HasSubstr(option("upstreams[1].accounts[1].reserved_for", "[hers]")));
  EXPECT_THAT(body, Not(HasSubstr("upstreams[0].accounts")));  // its only one is implied
  EXPECT_THAT(body, HasSubstr(option("pools[0].accounts", "[openai/a]")));
  EXPECT_THAT(body, HasSubstr(option("pools[0].queue.wait", "5s")));
  EXPECT_THAT(body, HasSubstr(option("packages[1].pools", "[main]")));
  EXPECT_THAT(body, HasSubstr(option("workspaces[0].package", "gold")));
  EXPECT_THAT(body, HasSubstr(option("models[0].downgrade.above", "70")));
}

TEST_F(AdminApiTest, Models_ShowPricesAsTheFileHasThem) {
  config::Config config = *config_;
  config.models.resize(1);
  config.models[0].price = config::Price{.input = {2'500'000},
                                         .cached_input = {250'000},
                                         .cache_write = {2'500'000},
                                         .output = {15'000'001},
                                         .per_request = {},
                                         .version = 3};
  config_ = std::make_shared<const config::Config>(std::move(config));
  const json::object model =
      Json(Send("GET", "/admin/v1/models")).at("data").as_array()[0].as_object();
  const json::object& price = model.at("price").as_object();
  EXPECT_EQ(price.at("output_usd_per_million").as_string(), "15.000001");
  EXPECT_EQ(price.at("version").as_int64(), 3);
  EXPECT_EQ(price.at("reasoning_usd_per_million").as_string(), "15.000001") << "as output";
  EXPECT_TRUE(price.at("valid_from").is_null());
  EXPECT_EQ(model.at("prices").as_array().size(), 1U);
  EXPECT_FALSE(model.at("routes").as_array().empty());
}

TEST_F(AdminApiTest, Models_ShowThePriceInForceAndThoseToCome) {
  config::Config config = *config_;
  config.models.resize(2);
  config::Price price{.input = {1}, .output = {2}};
  price.tiers = {{1000, {.input = {3}, .output = {4}}}};
  price.images = {{"1x1", "", {5}}};
  config.models[0].price = price;
  price.input = {2};
  config.models[0].price.Add(Instant{INT64_MAX}, price);
  config.models[1].price = {};
  config.models[1].price.Add(Instant{INT64_MAX}, price);
  config_ = std::make_shared<const config::Config>(std::move(config));
  const json::array models = Json(Send("GET", "/admin/v1/models")).at("data").as_array();
  const json::object& now = models[0].at("price").as_object();
  EXPECT_EQ(now.at("input_usd_per_million").as_string(), "0.000001");
  EXPECT_EQ(now.at("tiers").at(0).at("output_usd_per_million").as_string(), "0.000004");
  EXPECT_EQ(now.at("images").at(0).at("size").as_string(), "1x1");
  EXPECT_TRUE(now.at("images").at(0).at("quality").is_null());
  EXPECT_EQ(models[0].at("prices").as_array().size(), 2U);
  EXPECT_NE(models[0].at("prices").at(1).at("id").as_string(), now.at("id").as_string());
  EXPECT_TRUE(models[1].at("price").is_null()) << "not yet for sale";
}

TEST_F(AdminApiTest, TheConfigHash_FollowsTheConfiguration) {
  const auto hash = [&] {
    return std::string(Json(Send("GET", "/admin/v1/status")).at("config_hash").as_string());
  };
  const std::string before = hash();
  EXPECT_EQ(before.size(), 16U);
  EXPECT_EQ(Json(Send("GET", "/admin/v1/config")).at("hash").as_string(), before);
  config::Config config = *config_;
  config.key_defaults.requests_per_minute += 1;
  config_ = std::make_shared<const config::Config>(std::move(config));
  EXPECT_NE(hash(), before);
  config::Config pooled = Pooled();
  config_ = std::make_shared<const config::Config>(pooled);
  const std::string with_pools = hash();
  pooled.pools[0].accounts = {1};
  config_ = std::make_shared<const config::Config>(pooled);
  EXPECT_NE(hash(), with_pools);
  std::set<std::string> hashes = {hash()};
  for (const std::int64_t input : {1, 2}) {
    config::PriceCatalog catalog;
    catalog.Set("m", config::Price{.input = {input}});
    pooled.catalog = std::make_shared<const config::PriceCatalog>(std::move(catalog));
    config_ = std::make_shared<const config::Config>(pooled);
    hashes.insert(hash());
    EXPECT_EQ(Json(Send("GET", "/admin/v1/config")).at("hash").as_string(), hash());
  }
  EXPECT_EQ(hashes.size(), 3U) << "what the price files say counts";
}

TEST_F(AdminApiTest, StatusAndProbes_TellADrain) {
  now_ = kStart + Seconds(90);
  json::object status = Json(Send("GET", "/admin/v1/status"));
  EXPECT_EQ(status.at("uptime_seconds").as_int64(), 90);
  EXPECT_EQ(status.at("state").as_string(), "serving");
  EXPECT_EQ(Send("GET", "/readyz", {}, {{"Authorization", "(none)"}}).status, 200);
  draining_ = true;
  status = Json(Send("GET", "/admin/v1/status"));
  EXPECT_EQ(status.at("state").as_string(), "draining");
  EXPECT_EQ(Send("GET", "/readyz").status, 503);
  EXPECT_EQ(Send("GET", "/livez").status, 200);
  EXPECT_EQ(Send("GET", "/livez", {}, {{"Host", "weir.svc.cluster.local"}}).status, 200);
  const AdminResponse metrics = Send("GET", "/metrics", {}, {{"Authorization", "(none)"}});
  EXPECT_EQ(metrics.body, "weir_up 1\n");
  EXPECT_THAT(metrics.content_type, HasSubstr("version=0.0.4"));
}

TEST_F(AdminApiTest, ThePage_EscapesTheBrandAndAllowsNoScript) {
  config::Config config = *config_;
  config.brand.name = "<script>alert('x')</script>";
  config_ = std::make_shared<const config::Config>(std::move(config));
  const AdminResponse page = Send("GET", "/", {}, {{"Authorization", "(none)"}});
  EXPECT_EQ(page.content_type, "text/html; charset=utf-8");
  EXPECT_THAT(page.headers,
              HasSubstr("content-security-policy: default-src 'none'; style-src 'sha256-"));
  EXPECT_THAT(page.body, Not(HasSubstr("<script>")));
  EXPECT_THAT(page.body, HasSubstr("&lt;script&gt;alert(&#39;x&#39;)"));
  EXPECT_THAT(page.body, HasSubstr("/admin/v1"));
}

}  // namespace
}  // namespace weir::admin
