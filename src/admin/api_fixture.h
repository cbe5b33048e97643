// What tests of operators, policies and approvals share: the API over real stores in memory, and
// operators who call it. Time is a variable. Not part of the library.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "admin/admin_api.h"
#include "admin/token.h"
#include "base/check.h"
#include "base/random.h"
#include "config/defaults.h"
#include "server/approvals.h"
#include "server/courier.h"
#include "server/stored_policies.h"
#include "store/account_store.h"
#include "store/key_store.h"
#include "store/operator_store.h"
#include "store/policy_store.h"
#include "store/receipt_key.h"
#include "store/request_log.h"
#include "store/time_zones.h"
#include "store/wallet_store.h"

namespace weir::admin {

class ApiFixture : public testing::Test {
 protected:
  static constexpr Instant kStart{1'767'225'600'000'000'000};  // 2026-01-01T00:00:00Z

  ApiFixture() {
    directory_ = std::filesystem::temp_directory_path() /
                 ("weir_api_test." + std::to_string(getpid()) + "." +
                  testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(directory_);
    keys_ = *store::KeyStore::Open(":memory:", pepper_);
    requests_ = *store::RequestLog::Open((directory_ / "requests.db").string());
    accounts_ = *store::AccountStore::Open(
        ":memory:", store::MasterKeySource(directory_.string(), std::nullopt));
    wallets_ = *store::WalletStore::Open(":memory:");
    operators_ = *store::OperatorStore::Open(":memory:");
    policies_path_ = (directory_ / "policies.db").string();
    policies_ = *store::PolicyStore::Open(policies_path_);
    courier_ = *server::Courier::Start(
        {}, {.path = (directory_ / "webhooks.db").string(), .wall_now = [this] { return now_; }});
    Use(config::EmbeddedDefault());
    approvals_ = std::make_unique<server::Approvals>(
        *policies_,
        server::Approvals::Options{
            .now = [this] { return now_; },
            .random = [this] { return Random(); },
            .config = [this] { return config_; },
            .changed = [this] { return Publish(); },
            .tell = [this](const telemetry::Event& event) { events_.push_back(event); }});
    tokens_["admin"] = "wadm_test-token-0123456789";
  }
  ~ApiFixture() override { std::filesystem::remove_all(directory_); }

  // Before the first request; the ports may be changed first.
  AdminPorts Ports() {
    return {
        .keys = *keys_,
        .requests = *requests_,
        .pepper = pepper_,
        .config = [this] { return config_; },
        .status = [] { return NodeStatus{.version = "1.2.3", .started_at = kStart}; },
        .now = [this] { return now_; },
        .random = [this] { return Random(); },
        .keys_changed = [] {},
        .standing = [](KeyId) { return std::nullopt; },
        .metrics = [] { return std::string("weir_up 1\n"); },
        .accounts = {.store = accounts_.get(),
                     .file = [this] { return file_; },
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
                     .approvals = approvals_.get(),
                     .file = [this] { return file_; },
                     .read =
                         [this](std::string_view text) {
                           return server::ReadPolicies(text, *file_, store::FindZone);
                         },
                     .changed = [this] { return Publish(); },
                     .spent = [this](const store::Approval&) { return spent_; }},
        .courier = courier_.get(),
        .journal = {},
        .quotas = {.set = [] { return std::make_shared<const policy::PolicySet>(); },
                   .look =
                       [](std::span<const policy::QuotaUse>) {
                         return std::vector<gateway::QuotaStanding>();
                       },
                   .available_at = [](const policy::Standing&, std::int64_t) { return Instant{}; },
                   .usual_output = [](const KeyId&, config::PriceId) -> std::int64_t { return 0; },
                   .list = [](std::string_view, std::uint32_t,
                              std::size_t) { return server::CreditHost::QuotaPage{}; }}};
  }

  // The file says this from now on.
  void Use(config::Config file) {
    file_ = std::make_shared<const config::Config>(std::move(file));
    EXPECT_TRUE(Publish());
  }
  // As the server does it.
  Result<void> Publish() {
    auto stored = server::ReadStoredPolicies(*policies_, *file_, store::FindZone);
    if (!stored) return std::unexpected(stored.error());
    config_ = std::make_shared<const config::Config>(
        config::WithPolicies(*file_, stored->policies, stored->raises).config);
    ++published_;
    return {};
  }
  Result<std::array<std::uint8_t, 32>> Random() {
    std::array<std::uint8_t, 32> bytes{};
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random_.Next());
    return bytes;
  }

  AdminApi& api() {
    if (!api_) api_ = std::make_unique<AdminApi>(Ports(), HashToken(tokens_.at("admin")));
    return *api_;
  }

  // As the operator of that name; "" without a token, and "=TEXT" with that one.
  AdminResponse As(std::string_view who, std::string_view method, std::string_view target,
                   std::string_view body = {}, std::vector<gateway::HeaderView> more = {}) {
    std::string authorization;
    if (!who.empty()) {
      authorization = "Bearer " + (who.starts_with('=') ? std::string(who.substr(1))
                                                        : tokens_.at(std::string(who)));
    }
    const auto query = std::min(target.find('?'), target.size());
    AdminRequest request{
        .method = method,
        .path = target.substr(0, query),
        .query = target.substr(std::min(query + 1, target.size())),
        .headers = {{"Host", "127.0.0.1:8081"}, {"Content-Type", "application/json"}},
        .body = body};
    if (!authorization.empty()) request.headers.push_back({"Authorization", authorization});
    request.headers.insert(request.headers.end(), more.begin(), more.end());
    return api().Handle(request);
  }

  boost::json::object Json(const AdminResponse& response, int status = 200) {
    EXPECT_EQ(response.status, status) << response.body;
    boost::json::error_code error;
    boost::json::value value = boost::json::parse(response.body, error);
    EXPECT_FALSE(error) << response.body;
    return value.is_object() ? value.get_object() : boost::json::object();
  }

  // A problem as RFC 9457 has it; returns it whole.
  std::string Problem(const AdminResponse& response, int status, std::string_view type) {
    const boost::json::object problem = Json(response, status);
    EXPECT_EQ(response.content_type, "application/problem+json");
    EXPECT_EQ(problem.at("type").as_string(), "urn:weir:problem:" + std::string(type))
        << response.body;
    return response.body;
  }

  // Makes an operator, whom As() knows from then on. Returns the id.
  std::string Hire(const std::string& name, const std::string& role) {
    const boost::json::object made =
        Json(As("admin", "POST", "/admin/v1/operators",
                boost::json::serialize(boost::json::object{{"name", name}, {"role", role}})),
             201);
    tokens_[name] = std::string(made.at("token").as_string());
    return std::string(made.at("operator").as_object().at("id").as_string());
  }

  // The newest rows of the trail, as "actor action object outcome".
  std::vector<std::string> Trail(std::int64_t count) {
    std::vector<std::string> lines;
    for (const store::AuditRow& row : *policies_->Audit(0, count)) {
      lines.push_back(row.event.actor + " " + row.event.action + " " + row.event.object + " " +
                      row.event.outcome);
    }
    return lines;
  }

  identity::Pepper pepper_{"0123456789abcdef0123456789abcdef"};
  store::ReceiptKey receipt_key_{Secret(std::string(32, 'r'))};
  std::filesystem::path directory_;
  std::string policies_path_;
  std::unique_ptr<store::KeyStore> keys_;
  std::unique_ptr<store::RequestLog> requests_;
  std::unique_ptr<store::AccountStore> accounts_;
  std::unique_ptr<store::WalletStore> wallets_;
  std::unique_ptr<store::OperatorStore> operators_;
  std::unique_ptr<store::PolicyStore> policies_;
  std::shared_ptr<const config::Config> file_;
  std::shared_ptr<const config::Config> config_;  // in force
  int published_ = 0;
  std::optional<std::int64_t> spent_;
  std::vector<telemetry::Event> events_;
  std::unique_ptr<server::Approvals> approvals_;
  std::unique_ptr<server::Courier> courier_;
  Instant now_ = kStart;
  SeededRandom random_{7};
  std::map<std::string, std::string> tokens_;
  std::unique_ptr<AdminApi> api_;
};

}  // namespace weir::admin
