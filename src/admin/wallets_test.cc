// Wallets and codes as an operator meets them, over the real credit machine and a store in memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <filesystem>
#include <set>

#include "admin/admin_api.h"
#include "admin/token.h"
#include "base/random.h"
#include "config/defaults.h"
#include "gateway/credit_control.h"
#include "gateway/wallet_owner.h"
#include "identity/redeem_code.h"
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
constexpr Instant kStart{1'767'225'600'000'000'000};  // 2026-01-01T00:00:00Z

class WalletsTest : public testing::Test {
 protected:
  WalletsTest() {
    directory_ = std::filesystem::temp_directory_path() /
                 ("weir_wallets_test." + std::to_string(getpid()) + "." +
                  testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(directory_);
    keys_ = *store::KeyStore::Open(":memory:", pepper_);
    requests_ = *store::RequestLog::Open((directory_ / "requests.db").string());
    store_ = *store::WalletStore::Open(":memory:");
    config::Config config = config::EmbeddedDefault();
    config.brand.key_prefix = "qta_live_";
    config.packages[0].wallet = config::WalletKind::kQuotaTokens;
    config.packages[0].wallet_low = 500;
    config::Package dollars = config.packages[0];
    dollars.name = "dollars";
    dollars.wallet = config::WalletKind::kUsd;
    config::Package none = config.packages[0];
    none.name = "none";
    none.wallet = config::WalletKind::kNone;
    config.packages.push_back(dollars);
    config.packages.push_back(none);
    config.workspaces.push_back({.name = "acme", .package = {}});
    config_ = std::make_shared<const config::Config>(std::move(config));
    WalletPorts wallets{
        .store = store_.get(),
        .view = [this](const gateway::WalletId& id) { return credit_.ViewWallet(id, now_); },
        .find = [this](const gateway::GrantId& id) { return credit_.wallets().Find(id); },
        .give = [this](const ledger::GrantRecord& grant) -> Result<gateway::GrantReply> {
          if (disk_full_) return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment, "full");
          return credit_.Give(grant, now_, records_);
        },
        .revoke = [this](const gateway::GrantId& id) -> Result<gateway::RevokeReply> {
          return credit_.Revoke(id, now_, records_);
        },
        .sweep = [this] { credit_.Sweep(now_, records_); }};
    api_ = std::make_unique<AdminApi>(
        AdminPorts{.keys = *keys_,
                   .requests = *requests_,
                   .pepper = pepper_,
                   .config = [this] { return config_; },
                   .status = [] { return NodeStatus{}; },
                   .now = [this] { return now_; },
                   .random = [this]() -> Result<std::array<std::uint8_t, 32>> {
                     std::array<std::uint8_t, 32> bytes{};
                     for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random_.Next());
                     return bytes;
                   },
                   .keys_changed = [] {},
                   .standing = [](KeyId) { return std::nullopt; },
                   .metrics = [] { return std::string(); },
                   .accounts = {},
                   .receipt_key = nullptr,
                   .wallets = std::move(wallets)},
        HashToken(kToken));
  }
  ~WalletsTest() override { std::filesystem::remove_all(directory_); }

  AdminResponse Send(std::string_view method, std::string_view target, std::string_view body = {},
                     std::string_view idempotency_key = {}) {
    const std::string authorization = "Bearer " + std::string(kToken);
    const auto query = std::min(target.find('?'), target.size());
    AdminRequest request{.method = method,
                         .path = target.substr(0, query),
                         .query = target.substr(std::min(query + 1, target.size())),
                         .headers = {{"Host", "127.0.0.1:8081"},
                                     {"Authorization", authorization},
                                     {"Content-Type", "application/json"}},
                         .body = body};
    if (!idempotency_key.empty()) {
      request.headers.push_back({"Idempotency-Key", idempotency_key});
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
  // The id of a new key.
  std::string Key(std::string_view name, std::string_view more = "") {
    const std::string body = "{\"name\":\"" + std::string(name) + "\"" + std::string(more) + "}";
    return std::string(
        Json(Send("POST", "/admin/v1/keys", body), 201).at("key").as_object().at("id").as_string());
  }
  std::string Wallet(const std::string& owner) {
    return json::serialize(Json(Send("GET", "/admin/v1/wallets/" + owner)));
  }
  std::int64_t AuditLines() { return static_cast<std::int64_t>(store_->Audit(0, 1000)->size()); }

  identity::Pepper pepper_{"0123456789abcdef0123456789abcdef"};
  std::filesystem::path directory_;
  std::unique_ptr<store::KeyStore> keys_;
  std::unique_ptr<store::RequestLog> requests_;
  std::unique_ptr<store::WalletStore> store_;
  std::shared_ptr<const config::Config> config_;
  gateway::CreditControl credit_;
  ledger::RecordBuffer records_;
  Instant now_ = kStart;
  SeededRandom random_{7};
  bool disk_full_ = false;
  std::unique_ptr<AdminApi> api_;
};

TEST_F(WalletsTest, AGrant_IsInTheWalletAndInTheTrail) {
  const std::string owner = "key:" + Key("alice");
  EXPECT_THAT(Wallet(owner), HasSubstr(R"("available":0,"held":0,"upcoming":0,"spent":0)"));
  const AdminResponse given = Send(
      "POST", "/admin/v1/wallets/" + owner + "/grants",
      R"({"amount":1000,"category":"promo","priority":-2,"expires_at":"2026-02-01T00:00:00Z"})");
  const json::object grant = Json(given, 201);
  EXPECT_TRUE(grant.at("id").as_string().starts_with("grant_"));
  EXPECT_EQ(grant.at("amount").as_int64(), 1000);
  const std::string wallet = Wallet(owner);
  EXPECT_THAT(wallet, HasSubstr(R"("unit":"quota_token","in_use":true,"available":1000)"));
  EXPECT_THAT(wallet, HasSubstr(R"("low":false)"));
  EXPECT_THAT(wallet, HasSubstr(R"("category":"promo","priority":-2,"effective_at":null)"));
  EXPECT_EQ(AuditLines(), 1);
  const std::string audit = Send("GET", "/admin/v1/audit/wallets").body;
  EXPECT_THAT(audit, HasSubstr("\"subject\":\"" + owner));
  EXPECT_THAT(audit, HasSubstr("of 1000 quota tokens"));
  now_ = kStart + Seconds(32LL * 24 * 3600);
  EXPECT_THAT(Wallet(owner), HasSubstr(R"("available":0)"));
  EXPECT_THAT(Wallet(owner), HasSubstr(R"("low":true,"grants":[])"));
  EXPECT_EQ(credit_.Totals().breakage.at(1), ledger::Amount{1000}) << "the list swept it";
}

TEST_F(WalletsTest, TheSameIdempotencyKey_GivesOnce) {
  const std::string path = "/admin/v1/wallets/key:" + Key("alice") + "/grants";
  const std::string body = R"({"amount":1000,"expires_at":"2026-02-01T00:00:00Z"})";
  const auto first = Json(Send("POST", path, body, "order-1"), 201);
  const auto again = Json(Send("POST", path, body, "order-1"), 200);
  EXPECT_EQ(first, again);
  now_ = kStart + Seconds(90LL * 24 * 3600);  // a retry that comes after it expired
  EXPECT_EQ(Json(Send("POST", path, body, "order-1"), 200), first);
  EXPECT_EQ(AuditLines(), 1);
  Json(Send("POST", path, R"({"amount":1001})", "order-1"), 409);
  const std::string other = "/admin/v1/wallets/key:" + Key("bob") + "/grants";
  Json(Send("POST", other, body, "order-1"), 409);
  Json(Send("POST", path, R"({"amount":1000})", "order-2"), 201);
  Json(Send("POST", path, R"({"amount":1000})"), 201);
  Json(Send("POST", path, R"({"amount":1000})"), 201);
  EXPECT_EQ(AuditLines(), 4);
}

TEST_F(WalletsTest, WhatIsWrongInAGrant_IsSaidAndGivesNothing) {
  const std::string path = "/admin/v1/wallets/key:" + Key("alice") + "/grants";
  for (const char* body :
       {R"({})", R"({"amount":0})", R"({"amount":-1})", R"({"amount":1.5})", R"({"amount":"1"})",
        R"({"amount":1,"category":"gift"})", R"({"amount":1,"priority":1000001})",
        R"({"amount":1,"expires_at":"2025-01-01T00:00:00Z"})",
        R"({"amount":1,"effective_at":"2026-03-01","expires_at":"2026-02-01"})",
        R"({"amount":1,"unit":"usd"})", R"({"amount":9223372036854775807})"}) {
    EXPECT_EQ(Send("POST", path, body).status, 422) << body;
  }
  EXPECT_EQ(Send("POST", path, R"({"amount":1})", std::string(256, 'k')).status, 422);
  EXPECT_EQ(AuditLines(), 0);
  Json(Send("POST", "/admin/v1/wallets/key:01J/grants", R"({"amount":1})"), 404);
  Json(Send("POST", "/admin/v1/wallets/workspace:nobody/grants", R"({"amount":1})"), 404);
  Json(Send("POST", "/admin/v1/wallets/alice/grants", R"({"amount":1})"), 404);
  const std::string none = Key("none", R"(,"package":"none")");
  EXPECT_THAT(Send("POST", "/admin/v1/wallets/key:" + none + "/grants", R"({"amount":1})").body,
              HasSubstr("has no wallet"));
  Json(Send("GET", "/admin/v1/wallets/key:" + none), 409);
  disk_full_ = true;
  EXPECT_EQ(Send("POST", path, R"({"amount":1})").status, 503);
}

TEST_F(WalletsTest, DollarWallets_AreGivenMillionthsAndShownAsDollars) {
  const std::string owner = "key:" + Key("carol", R"(,"package":"dollars")");
  Json(Send("POST", "/admin/v1/wallets/" + owner + "/grants", R"({"amount":12500000})"), 201);
  EXPECT_THAT(Wallet(owner), HasSubstr(R"("unit":"usd","in_use":true,"available":"12.5")"));
}

TEST_F(WalletsTest, AKeyOfAWorkspace_StandsForTheWorkspace) {
  const std::string key = Key("dave", R"(,"workspace":"acme")");
  Json(Send("POST", "/admin/v1/wallets/key:" + key + "/grants", R"({"amount":7})"), 201);
  EXPECT_THAT(Wallet("workspace:acme"), HasSubstr(R"("available":7)"));
  EXPECT_EQ(Wallet("key%3A" + key), Wallet("workspace%3aacme"));
}

TEST_F(WalletsTest, List_HasThoseThatHaveOne_PageByPage) {
  std::set<std::string> owners;
  for (const char* name : {"a", "b", "c"}) owners.insert("key:" + Key(name));
  Key("without");
  owners.insert("workspace:acme");
  for (const std::string& owner : owners) {
    Json(Send("POST", "/admin/v1/wallets/" + owner + "/grants", R"({"amount":1})"), 201);
  }
  std::set<std::string> seen;
  std::string target = "/admin/v1/wallets?limit=2";
  for (int page = 0; page < 3; ++page) {
    const json::object list = Json(Send("GET", target));
    for (const json::value& wallet : list.at("data").as_array()) {
      EXPECT_TRUE(seen.insert(std::string(wallet.at("owner").as_string())).second);
    }
    if (list.at("next_cursor").is_null()) break;
    target = "/admin/v1/wallets?limit=2&cursor=" + std::string(list.at("next_cursor").as_string());
  }
  EXPECT_EQ(seen, owners);
}

TEST_F(WalletsTest, Revoke_TakesWhatIsLeft_Once) {
  const std::string owner = "key:" + Key("alice");
  const auto grant =
      Json(Send("POST", "/admin/v1/wallets/" + owner + "/grants", R"({"amount":1000})"), 201);
  const std::string path = "/admin/v1/grants/" + std::string(grant.at("id").as_string());
  EXPECT_EQ(Json(Send("DELETE", path)).at("removed").as_int64(), 1000);
  EXPECT_EQ(Json(Send("DELETE", path)).at("removed").as_int64(), 0);
  EXPECT_THAT(Wallet(owner), HasSubstr(R"("available":0)"));
  EXPECT_EQ(AuditLines(), 2) << "the second changed nothing";
  Json(Send("DELETE", "/admin/v1/grants/grant_01J0000000000000000000000A"), 404);
  Json(Send("DELETE", "/admin/v1/grants/x"), 404);
}

TEST_F(WalletsTest, Codes_AreShownOnce_AndStoredAsDigests) {
  const json::object made = Json(
      Send("POST", "/admin/v1/codes",
           R"({"amount":5000,"count":3,"category":"paid","valid_for":"30d","unit":"quota_token",)"
           R"("redeem_by":"2026-06-01"})"),
      201);
  ASSERT_EQ(made.at("codes").as_array().size(), 3U);
  EXPECT_EQ(made.at("valid_for_seconds").as_int64(), 30 * 24 * 3600);
  const std::string list = Send("GET", "/admin/v1/codes").body;
  for (const json::value& code : made.at("codes").as_array()) {
    const std::string text(code.at("code").as_string());
    EXPECT_TRUE(text.starts_with("QTA-")) << text;
    EXPECT_THAT(list, Not(HasSubstr(text)));
    EXPECT_THAT(list, HasSubstr(text.substr(text.size() - 4)));
    const auto redeemed =
        store_->Redeem(identity::DigestOfCode(pepper_, *identity::NormalCode(text)),
                       ledger::WalletId{{1, 1}}, ledger::Unit::kQuotaToken, KeyId{{2, 2}}, now_);
    EXPECT_EQ(redeemed->outcome, store::RedeemOutcome::kBound);
  }
  EXPECT_THAT(Send("GET", "/admin/v1/codes").body, HasSubstr(R"("state":"redeemed")"));
  EXPECT_THAT(Send("GET", "/admin/v1/audit/wallets").body,
              HasSubstr("3 paid codes of 5000 quota tokens"));
  const std::string batch(made.at("batch").as_string());
  EXPECT_EQ(Json(Send("GET", "/admin/v1/codes?batch=" + batch)).at("data").as_array().size(), 3U);
  const std::string id(made.at("codes").at(0).at("id").as_string());
  Json(Send("DELETE", "/admin/v1/codes/" + id), 409);
  EXPECT_EQ(Json(Send("DELETE", "/admin/v1/codes/" + batch)).at("revoked").as_int64(), 0);
}

TEST_F(WalletsTest, Codes_CanBeRevoked_OneOrAllThatWereMadeTogether) {
  const json::object made =
      Json(Send("POST", "/admin/v1/codes", R"({"amount":5,"count":3,"unit":"usd"})"), 201);
  EXPECT_EQ(made.at("amount").as_string(), "0.000005");
  const std::string id(made.at("codes").at(0).at("id").as_string());
  EXPECT_EQ(Json(Send("DELETE", "/admin/v1/codes/" + id)).at("revoked").as_int64(), 1);
  EXPECT_EQ(Json(Send("DELETE", "/admin/v1/codes/" + id)).at("revoked").as_int64(), 0);
  const std::string batch(made.at("batch").as_string());
  EXPECT_EQ(Json(Send("DELETE", "/admin/v1/codes/" + batch)).at("revoked").as_int64(), 2);
  Json(Send("DELETE", "/admin/v1/codes/code_01J0000000000000000000000A"), 404);
  Json(Send("DELETE", "/admin/v1/codes/batch_01J0000000000000000000000A"), 404);
}

TEST_F(WalletsTest, WhatIsWrongInCodes_IsSaid) {
  for (const char* body :
       {R"({"amount":5})" /* of which unit? there are two */, R"({"unit":"usd"})",
        R"({"amount":5,"unit":"usd","count":0})", R"({"amount":5,"unit":"usd","count":1001})",
        R"({"amount":5,"unit":"usd","valid_for":"0d"})",
        R"({"amount":5,"unit":"usd","valid_for":"-1h"})",
        R"({"amount":5,"unit":"usd","valid_for":30})",
        R"({"amount":5,"unit":"usd","valid_for":"99999999999999d"})",
        R"({"amount":5,"unit":"usd","valid_for":"1d","expires_at":"2026-06-01"})",
        R"({"amount":5,"unit":"usd","redeem_by":"2025-06-01"})",
        R"({"amount":5,"unit":"usd","reedem_by":"2026-06-01"})"}) {
    EXPECT_EQ(Send("POST", "/admin/v1/codes", body).status, 422) << body;
  }
  EXPECT_EQ(Send("GET", "/admin/v1/codes?batch=x").status, 422);
  EXPECT_EQ(store_->List({})->size(), 0U);
}

}  // namespace
}  // namespace weir::admin
