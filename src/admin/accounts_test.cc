// The accounts resource over a real store in a directory and the real account pool; only time and
// the workers are played. What an operator sends in must never come out again: kCanary.

#include "config/accounts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <filesystem>
#include <string>

#include "admin/admin_api.h"
#include "admin/token.h"
#include "base/check.h"
#include "base/random.h"
#include "config/defaults.h"
#include "routing/account_pool.h"
#include "store/account_store.h"
#include "store/key_store.h"
#include "store/request_log.h"

namespace weir::admin {
namespace {

namespace json = boost::json;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::string_view kToken = "wadm_test-token-0123456789";
constexpr Instant kStart{1'767'225'600'000'000'000};  // 2026-01-01T00:00:00Z
constexpr std::string_view kCanary = "sk-canary-credential-wxyz";

// The sandbox and two providers: "openai" with an account of the file, "bare" with an api_key.
config::Config File() {
  config::Config config = config::EmbeddedDefault();
  config.accounts.clear();
  config.pools.clear();
  config.packages.clear();
  for (const std::string name : {"openai", "bare"}) {
    config::Upstream upstream;
    upstream.name = name;
    upstream.host = "api.example.com";
    upstream.base_path = "/v1";
    upstream.api_key = Secret("canary-of-the-file-0123456789");
    config.upstreams.push_back(std::move(upstream));
  }
  config::Account filed;
  filed.id = "openai/filed";
  filed.upstream = 1;
  filed.api_key = Secret("canary-of-the-file-0123456789");
  config.accounts.push_back(std::move(filed));
  config.models[0].id = "m1";
  config.models[0].routes = {{.upstream = 1, .upstream_model = "m1"}};
  config::FinishAccounts(config);
  return config;
}

class AccountsTest : public testing::Test {
 protected:
  AccountsTest() {
    directory_ = std::filesystem::temp_directory_path() /
                 ("weir_accounts_test." + std::to_string(getpid()) + "." +
                  testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
    auto keys = store::KeyStore::Open(":memory:", pepper_);
    auto requests = store::RequestLog::Open((directory_ / "requests.db").string());
    auto accounts =
        store::AccountStore::Open((directory_ / "accounts.db").string(),
                                  store::MasterKeySource(directory_.string(), std::nullopt));
    CHECK(keys && requests && accounts, "stores open in a new directory");
    keys_ = std::move(*keys);
    requests_ = std::move(*requests);
    accounts_ = std::move(*accounts);
    file_ = std::make_shared<const config::Config>(File());
    config_ = file_;
    pool_ = std::make_unique<routing::AccountPool>(config_, 1);
    Publish();
    published_ = 0;
    api_ = std::make_unique<AdminApi>(
        AdminPorts{
            .keys = *keys_,
            .requests = *requests_,
            .pepper = pepper_,
            .config = [this] { return config_; },
            .status = [] { return NodeStatus{}; },
            .now = [this] { return kStart + (now_ - Tick{}); },
            .random = [this]() -> Result<std::array<std::uint8_t, 32>> {
              std::array<std::uint8_t, 32> bytes{};
              for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random_.Next());
              return bytes;
            },
            .keys_changed = [] {},
            .standing = [](KeyId) { return std::nullopt; },
            .metrics = [] { return std::string(); },
            .accounts =
                {.store = accounts_.get(),
                 .file = [this] { return file_; },
                 .changed = [this] { Publish(); },
                 .cool = [this](std::string_view id,
                                Duration rest) { return pool_->Cool(id, rest, now_, grants_); },
                 .clear = [this](std::string_view id) { return pool_->Clear(id, now_, grants_); },
                 .view = [this](std::string_view id) { return pool_->ViewAccount(id, now_); },
                 .view_pool = [this](std::uint32_t pool) { return pool_->ViewPool(pool, now_); },
                 .sticky = [this] { return pool_->sticky(); }}},
        HashToken(kToken));
  }
  ~AccountsTest() override { std::filesystem::remove_all(directory_); }

  void Publish() {
    ++published_;
    config_ = std::make_shared<const config::Config>(
        config::WithAccounts(*file_, accounts_->accounts(), accounts_->overrides(), {}).config);
    pool_->Configure(config_, now_, kStart, grants_);
  }

  AdminResponse Send(std::string_view method, std::string_view target, std::string_view body = {}) {
    const std::string authorization = "Bearer " + std::string(kToken);
    const std::size_t question = std::min(target.find('?'), target.size());
    AdminResponse response =
        api_->Handle({.method = method,
                      .path = target.substr(0, question),
                      .query = target.substr(std::min(question + 1, target.size())),
                      .headers = {{"Host", "127.0.0.1:8081"},
                                  {"Authorization", authorization},
                                  {"Content-Type", "application/json"}},
                      .body = body});
    EXPECT_THAT(response.body, Not(HasSubstr("canary"))) << target;
    EXPECT_THAT(response.headers, Not(HasSubstr("canary"))) << target;
    return response;
  }

  json::object Json(const AdminResponse& response, int status = 200) {
    EXPECT_EQ(response.status, status) << response.body;
    json::error_code error;
    json::value value = json::parse(response.body, error);
    return value.is_object() ? value.get_object() : json::object();
  }

  std::string Refused(const AdminResponse& response, int status) {
    EXPECT_EQ(response.status, status) << response.body;
    EXPECT_EQ(response.content_type, "application/problem+json");
    return response.body;
  }

  json::object Create(std::string_view name, std::string_view more = "") {
    return Json(Send("POST", "/admin/v1/accounts",
                     R"({"upstream":"openai","name":")" + std::string(name) + R"(","api_key":")" +
                         std::string(kCanary) + R"(")" + std::string(more) + "}"),
                201);
  }

  std::vector<std::string> Ids(std::string_view query = "") {
    std::vector<std::string> ids;
    const json::object page = Json(Send("GET", "/admin/v1/accounts" + std::string(query)));
    for (const json::value& account : page.at("data").as_array()) {
      ids.emplace_back(account.at("id").as_string());
    }
    return ids;
  }

  std::string Trail() {
    std::string text;
    const json::object page = Json(Send("GET", "/admin/v1/audit/accounts"));
    for (const json::value& entry : page.at("data").as_array()) {
      text += std::string(entry.at("action").as_string()) + " " +
              std::string(entry.at("account").as_string()) + "; ";
    }
    return text;
  }

  const config::Account* InForce(std::string_view id) {
    const auto at = std::ranges::find(config_->accounts, id, &config::Account::id);
    return at == config_->accounts.end() ? nullptr : &*at;
  }

  identity::Pepper pepper_{"0123456789abcdef0123456789abcdef"};
  std::filesystem::path directory_;
  std::unique_ptr<store::KeyStore> keys_;
  std::unique_ptr<store::RequestLog> requests_;
  std::unique_ptr<store::AccountStore> accounts_;
  std::shared_ptr<const config::Config> file_;
  std::shared_ptr<const config::Config> config_;
  std::vector<routing::Grant> grants_;
  Tick now_ = Tick{} + Seconds(1000);
  SeededRandom random_{7};
  std::unique_ptr<routing::AccountPool> pool_;
  int published_ = 0;
  std::unique_ptr<AdminApi> api_;
};

constexpr std::string_view kNew = "/admin/v1/accounts/openai%2Fnew";
constexpr std::string_view kFiled = "/admin/v1/accounts/openai%2Ffiled";

TEST_F(AccountsTest, ANewAccount_IsInForceBeforeTheAnswer_AndShowsOnlyTheEndOfItsKey) {
  const AdminResponse response =
      Send("POST", "/admin/v1/accounts",
           R"({"upstream":"openai","name":"new","api_key":"sk-canary-credential-wxyz",
               "models":["m1"],"capabilities":["responses","audioTranscription"],"weight":7,
               "priority":3,"concurrency":2,"requests_per_minute":60,"tokens_per_minute":1000,
               "expires_at":"2027-01-01","profile":"responses_strict",
               "proxy":"http://10.0.0.1:3128"})");
  const json::object made = Json(response, 201);
  EXPECT_THAT(response.headers, HasSubstr("location: /admin/v1/accounts/openai%2Fnew\r\n"));
  EXPECT_EQ(made.at("id").as_string(), "openai/new");
  EXPECT_EQ(made.at("source").as_string(), "api");
  EXPECT_EQ(made.at("api_key").as_string(), "***");
  EXPECT_EQ(made.at("api_key_ends_in").as_string(), "wxyz");
  EXPECT_EQ(json::serialize(made.at("capabilities")), R"(["responses","transcription"])");
  EXPECT_EQ(json::serialize(made.at("state")),
            R"({"fitness":"open","why":null,"rests_for_seconds":0,"usable":true,"errs":false,)"
            R"("slow":false,"in_flight":0,"served":0,"failed":0,"latency_ms":0,"capacity":2})");
  EXPECT_EQ(published_, 1);
  const config::Account* account = InForce("openai/new");
  ASSERT_NE(account, nullptr);
  EXPECT_EQ(account->api_key.Reveal(), kCanary);
  EXPECT_EQ(account->upstream, 1U);
  EXPECT_EQ(account->weight, 7);
  EXPECT_EQ(account->priority, 3);
  EXPECT_EQ(account->adapt, config::AdaptProfile::kResponsesStrict);
  EXPECT_EQ(account->proxy, (config::Proxy{"10.0.0.1", 3128}));
  EXPECT_EQ(config_->pools[0].accounts.size(), file_->pools[0].accounts.size() + 1);
  EXPECT_EQ(Json(Send("GET", kNew)).at("weight").as_int64(), 7);
  EXPECT_EQ(Trail(), "create openai/new; ");
}

TEST_F(AccountsTest, AWrongBody_ChangesNothingAndSaysWhat) {
  struct Case {
    const char* body;
    const char* want;
  };
  const Case cases[] = {
      {R"({})", "upstream"},
      {R"({"upstream":"openai","name":"a"})", "api_key"},
      {R"({"upstream":"nobody","name":"a","api_key":"k"})", "known are: "},
      {R"({"upstream":"openai","name":"a/b","api_key":"k"})", "/name"},
      {R"({"upstream":"openai","name":"a","api_key":"canary with blanks"})", "/api_key"},
      {R"({"upstream":"openai","name":"a","api_key":7})", "/api_key"},
      {R"({"upstream":"openai","name":"a","api_key":"k","wieght":1})", "/wieght"},
      {R"({"upstream":"openai","name":"a","api_key":"k","weight":0})", "/weight"},
      {R"({"upstream":"openai","name":"a","api_key":"k","weight":1001})", "/weight"},
      {R"({"upstream":"openai","name":"a","api_key":"k","capabilities":["sing"]})",
       "/capabilities"},
      {R"({"upstream":"bare","name":"a","api_key":"k","models":["m1"]})", "has no route to bare"},
      {R"({"upstream":"openai","name":"a","api_key":"k","reserved_for":["nobody"]})",
       "names no key"},
      {R"({"upstream":"openai","name":"a","api_key":"k","expires_at":"2020-01-01"})",
       "in the future"},
      {R"({"upstream":"openai","name":"a","api_key":"k","proxy":"ftp://x"})", "/proxy"},
      {R"({"upstream":"openai","name":"a","api_key":"k","profile":"codex"})", "/profile"},
  };
  for (const Case& c : cases) {
    EXPECT_THAT(Refused(Send("POST", "/admin/v1/accounts", c.body), 422), HasSubstr(c.want))
        << c.body;
  }
  EXPECT_EQ(published_, 0);
  EXPECT_TRUE(accounts_->accounts().empty());
  EXPECT_EQ(Trail(), "");
}

TEST_F(AccountsTest, ATakenId_IsAConflict_FromEitherSource) {
  Create("new");
  for (const char* name : {"new", "filed"}) {
    Refused(Send("POST", "/admin/v1/accounts",
                 std::string(R"({"upstream":"openai","api_key":"k","name":")") + name + "\"}"),
            409);
  }
}

TEST_F(AccountsTest, OfTheFile_OnlyEnabledAndDrainingCanBeSet) {
  EXPECT_THAT(Refused(Send("PATCH", kFiled, R"({"weight":5,"enabled":false})"), 422),
              HasSubstr("in the configuration file"));
  EXPECT_THAT(Refused(Send("PATCH", kFiled, R"({"api_key":"sk-canary"})"), 422),
              HasSubstr("/api_key"));
  EXPECT_TRUE(InForce("openai/filed")->enabled);
  EXPECT_FALSE(Json(Send("PATCH", kFiled, R"({"enabled":false})")).at("enabled").as_bool());
  EXPECT_FALSE(InForce("openai/filed")->enabled);
  EXPECT_EQ(InForce("openai/filed")->api_key.Reveal(), "canary-of-the-file-0123456789");
  EXPECT_TRUE(Json(Send("POST", std::string(kFiled) + "/drain")).at("draining").as_bool());
  // As the file says it again, nothing stays behind that a later file would have to fight.
  Json(Send("PATCH", kFiled, R"({"enabled":true,"draining":false})"));
  EXPECT_TRUE(accounts_->overrides().empty());
  Refused(Send("DELETE", kFiled), 409);
  EXPECT_EQ(Json(Send("GET", "/admin/v1/accounts/bare")).at("source").as_string(), "file");
  EXPECT_EQ(Trail(), "enable openai/filed; drain openai/filed; disable openai/filed; ");
}

TEST_F(AccountsTest, AChange_ReachesOnlyWhatItNames_AndANewKeyForgetsTheOldOnesRest) {
  Create("new", R"(,"weight":7)");
  Json(Send("POST", std::string(kNew) + "/cool", R"({"seconds":60})"));
  json::object changed = Json(Send("PATCH", kNew, R"({"priority":9})"));
  EXPECT_EQ(changed.at("weight").as_int64(), 7);
  EXPECT_EQ(changed.at("priority").as_int64(), 9);
  EXPECT_EQ(changed.at("state").at("fitness").as_string(), "resting");
  EXPECT_EQ(InForce("openai/new")->api_key.Reveal(), kCanary);
  changed = Json(Send("PATCH", kNew, R"({"api_key":"sk-another-canary-abcd"})"));
  EXPECT_EQ(changed.at("api_key_ends_in").as_string(), "abcd");
  EXPECT_EQ(changed.at("state").at("fitness").as_string(), "open");
  Refused(Send("PATCH", kNew, R"({"name":"other"})"), 422);
  const int before = published_;
  Json(Send("PATCH", kNew, R"({"priority":9})"));
  EXPECT_EQ(published_, before);  // nothing changed, nothing is written
}

TEST_F(AccountsTest, CoolAndClear_MoveItsHealth) {
  Create("new");
  json::object cooled = Json(Send("POST", std::string(kNew) + "/cool", R"({"seconds":60})"));
  EXPECT_EQ(cooled.at("state").at("fitness").as_string(), "resting");
  EXPECT_EQ(cooled.at("state").at("rests_for_seconds").as_int64(), 60);
  EXPECT_FALSE(cooled.at("state").at("usable").as_bool());
  EXPECT_EQ(cooled.at("state").at("capacity").as_int64(), 0);
  now_ = now_ + Seconds(20);
  EXPECT_EQ(Json(Send("GET", kNew)).at("state").at("rests_for_seconds").as_int64(), 40);
  const json::object cleared = Json(Send("POST", std::string(kNew) + "/clear"));
  EXPECT_EQ(cleared.at("state").at("fitness").as_string(), "open");
  EXPECT_TRUE(cleared.at("state").at("capacity").is_null());  // no limit
  for (const char* body : {R"({})", R"({"seconds":0})", R"({"seconds":2592001})", R"({"s":1})"}) {
    Refused(Send("POST", std::string(kNew) + "/cool", body), 422);
  }
  EXPECT_EQ(Trail(), "clear openai/new; cool openai/new; create openai/new; ");
}

TEST_F(AccountsTest, DrainTwice_IsOneChange) {
  Create("new");
  EXPECT_TRUE(Json(Send("POST", std::string(kNew) + "/drain")).at("draining").as_bool());
  EXPECT_TRUE(Json(Send("POST", std::string(kNew) + "/drain")).at("draining").as_bool());
  EXPECT_FALSE(Json(Send("GET", kNew)).at("state").at("usable").as_bool());
  EXPECT_FALSE(Json(Send("POST", std::string(kNew) + "/undrain")).at("draining").as_bool());
  EXPECT_EQ(Trail(), "undrain openai/new; drain openai/new; create openai/new; ");
}

TEST_F(AccountsTest, ADeletedAccount_IsGone_AndItsNameIsFree) {
  Create("new");
  EXPECT_FALSE(Json(Send("DELETE", kNew)).at("in_force").as_bool());
  EXPECT_EQ(InForce("openai/new"), nullptr);
  for (const char* method : {"GET", "PATCH", "DELETE"}) Refused(Send(method, kNew, "{}"), 404);
  for (const char* verb : {"/cool", "/clear", "/drain", "/undrain"}) {
    Refused(Send("POST", std::string(kNew) + verb,
                 verb[1] == 'c' && verb[2] == 'o' ? R"({"seconds":1})" : "{}"),
            404);
  }
  Create("new");
}

TEST_F(AccountsTest, TheList_IsSortedFilteredAndPaged) {
  Create("b");
  Create("a");
  EXPECT_EQ(Ids(),
            (std::vector<std::string>{"bare", "openai/a", "openai/b", "openai/filed", "sandbox"}));
  EXPECT_EQ(Ids("?source=api"), (std::vector<std::string>{"openai/a", "openai/b"}));
  EXPECT_EQ(Ids("?upstream=bare"), std::vector<std::string>{"bare"});
  const json::object page = Json(Send("GET", "/admin/v1/accounts?limit=2"));
  EXPECT_EQ(page.at("next_cursor").as_string(), "openai/a");
  EXPECT_EQ(Ids("?limit=2&cursor=openai%2Fa"),
            (std::vector<std::string>{"openai/b", "openai/filed"}));
  EXPECT_TRUE(Json(Send("GET", "/admin/v1/accounts?limit=5")).at("next_cursor").is_null());
  Refused(Send("GET", "/admin/v1/accounts?source=both"), 422);
}

TEST_F(AccountsTest, AfterAReload_WhatTheFileTookAway_IsShownAndNotInForce) {
  Create("new");
  Create("filed2");
  config::Config next = File();
  next.upstreams[1].name = "renamed";
  next.accounts[0].id = "renamed/filed";
  file_ = std::make_shared<const config::Config>(std::move(next));
  Publish();
  const json::object gone = Json(Send("GET", kNew));
  EXPECT_FALSE(gone.at("in_force").as_bool());
  EXPECT_TRUE(gone.at("state").is_null());
  EXPECT_EQ(gone.at("upstream").as_string(), "openai");
  Refused(Send("POST", std::string(kNew) + "/cool", R"({"seconds":1})"), 409);
  EXPECT_EQ(Ids("?source=api").size(), 2U);
  file_ = std::make_shared<const config::Config>(File());
  Publish();
  EXPECT_TRUE(Json(Send("GET", kNew)).at("in_force").as_bool());
}

TEST_F(AccountsTest, AReservedAccount_MakesThePoolOfItsKey) {
  Json(Send("POST", "/admin/v1/keys", R"({"name":"hers"})"), 201);
  Create("new", R"(,"reserved_for":["hers"])");
  ASSERT_EQ(config_->pools.size(), 2U);
  EXPECT_EQ(config_->pools[1].name, "key:hers");
  EXPECT_EQ(config_->PackageOf("hers", "", ""), 1U);
}

TEST_F(AccountsTest, PoolsAndStatus_ShowLiveFigures) {
  Create("new", R"(,"concurrency":3)");
  Json(Send("POST", std::string(kNew) + "/cool", R"({"seconds":60})"));
  const json::object pool =
      Json(Send("GET", "/admin/v1/pools")).at("data").as_array()[0].as_object();
  EXPECT_EQ(json::serialize(pool.at("state")),
            R"({"usable_accounts":3,"resting_accounts":1,"capacity":null,"in_flight":0,)"
            R"("waiting":0})");
  EXPECT_EQ(json::serialize(Json(Send("GET", "/admin/v1/status")).at("sticky")),
            R"({"kept":0,"away":0,"escaped":0})");
}

TEST_F(AccountsTest, NoResource_TellsACredential) {
  Create("new");
  for (const char* path : {"/admin/v1/accounts", "/admin/v1/upstreams", "/admin/v1/config",
                           "/admin/v1/audit/accounts", "/admin/v1/pools", "/admin/v1/status"}) {
    EXPECT_EQ(Send("GET", path).status, 200) << path;  // Send looks for the canary
  }
  // Of a short one even the end would be too much.
  const json::object made = Json(
      Send("POST", "/admin/v1/accounts", R"({"upstream":"openai","name":"s","api_key":"canary7"})"),
      201);
  EXPECT_TRUE(made.at("api_key_ends_in").is_null());
}

}  // namespace
}  // namespace weir::admin
