// What the API says of counters, and what it says policies would decide: over a real credit machine
// with a real journal. Time is a variable.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <deque>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "admin/admin_api.h"
#include "admin/token.h"
#include "config/defaults.h"
#include "server/credit_host.h"
#include "store/account_store.h"
#include "store/key_store.h"
#include "store/receipt_key.h"
#include "store/request_log.h"
#include "store/sqlite_journal.h"
#include "store/wallet_store.h"

namespace weir::admin {
namespace {

namespace json = boost::json;
using config::Dimension;
using config::Policy;
using config::PolicyAction;
using config::QuotaUnit;
using config::WindowKind;
using ::testing::HasSubstr;

constexpr std::string_view kToken = "wadm_test-token-0123456789";
constexpr Instant kStart{1'767'225'600'000'000'000};  // 2026-01-01T00:00:00Z

config::Price ATokenCosts(std::int64_t nano) {
  config::Price price;
  price.input = price.cached_input = price.cache_write = price.output = {nano * 1000};
  return price;
}

Policy Make(std::string id, QuotaUnit unit, std::int64_t limit,
            WindowKind window = WindowKind::kDay) {
  Policy policy;
  policy.id = std::move(id);
  policy.owner = "finance";
  policy.unit = unit;
  policy.limit = limit;
  policy.window.kind = window;
  return policy;
}

class NoMailbox final : public server::WorkerMailbox {
 public:
  void NotifyDurable() override {}
};

class QuotasTest : public testing::Test {
 protected:
  QuotasTest() {
    directory_ = std::filesystem::temp_directory_path() /
                 ("weir_quotas_test." + std::to_string(getpid()) + "." +
                  testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(directory_);
    keys_ = *store::KeyStore::Open(":memory:", pepper_);
    requests_ = *store::RequestLog::Open((directory_ / "requests.db").string());
    accounts_ = *store::AccountStore::Open(
        ":memory:", store::MasterKeySource(directory_.string(), std::nullopt));
    wallets_ = *store::WalletStore::Open(":memory:");
    auto journal = store::SqliteJournal::Open((directory_ / "ledger.db").string(),
                                              config::Durability::kProcess);
    server::CreditHost::Options options;
    options.wall_now = [this] { return now_; };
    server::CreditStart start;
    credit_ = *server::CreditHost::Start(*std::move(journal), std::move(options), start);
    port_ = std::make_unique<server::CreditPort>(*credit_, mailbox_);
  }
  ~QuotasTest() override {
    api_.reset();
    port_.reset();
    credit_.reset();
    requests_.reset();
    std::filesystem::remove_all(directory_);
  }

  void Start(std::vector<Policy> policies) {
    config::Config config = config::EmbeddedDefault();
    config.models.clear();
    for (const auto& [id, cost] : {std::pair("big", 1000), std::pair("small", 100)}) {
      config::Model model;
      model.id = id;
      model.model_class = std::string(id) == "big" ? "premium" : "standard";
      model.routes = {{.upstream = 0, .upstream_model = id}};
      model.price = config::PriceList(ATokenCosts(cost));
      model.output_tokens_max = 1000;
      config.models.push_back(model);
    }
    config.policies = std::move(policies);
    config_ = std::make_shared<const config::Config>(std::move(config));
    set_ = std::make_shared<const policy::PolicySet>(config_->policies, config_->raises);
    api_ = std::make_unique<AdminApi>(
        AdminPorts{
            .keys = *keys_,
            .requests = *requests_,
            .pepper = pepper_,
            .config = [this] { return config_; },
            .status = [] { return NodeStatus{}; },
            .now = [this] { return now_; },
            .random = []() -> Result<std::array<std::uint8_t, 32>> {
              return std::array<std::uint8_t, 32>{};
            },
            .keys_changed = [] {},
            .standing = [](KeyId) { return std::nullopt; },
            .metrics = [] { return std::string(); },
            .accounts = {.store = accounts_.get()},
            .receipt_key = &receipt_key_,
            .wallets = {.store = wallets_.get()},
            .quotas = {.set = [this] { return set_; },
                       .look =
                           [this](std::span<const policy::QuotaUse> uses) {
                             return credit_->Quotas(uses);
                           },
                       .available_at =
                           [this](const policy::Standing& standing, std::int64_t amount) {
                             return credit_->QuotaAvailableAt(standing, amount);
                           },
                       .usual_output =
                           [this](const KeyId& key, config::PriceId price) {
                             return credit_->UsualOutput(key, price);
                           },
                       .list =
                           [this](std::string_view policy, std::uint32_t from, std::size_t limit) {
                             return credit_->ListCounters(policy, from, limit);
                           }}},
        HashToken(kToken), std::vector<std::string>{});
  }

  // A request of a team that is admitted; settled too, unless it stays open.
  void Request(std::string_view team, bool settled = true) {
    policy::Facts& facts = facts_.emplace_back();
    facts[Dimension::kTeam] = team;
    facts[Dimension::kEnvironment] = config_->environment;
    auto& uses = uses_.emplace_back();
    ASSERT_TRUE(set_->Match(facts, now_, uses));
    gateway::AdmitCommand command{
        .request = {{7, ++n_}}, .key = {{1, 1}}, .limits = {}, .quote = {}};
    command.limits.requests_per_minute = 0;
    command.quote = {.price = ATokenCosts(1),
                     .input_tokens_bound = 100,
                     .output_tokens_bound = 100,
                     .output_tokens_useful = 1};
    command.quotas = uses;
    command.facts = &facts;
    ASSERT_EQ(port_->Admit(command).refusal, Refusal::kNone);
    if (!settled) return;
    port_->Settle(
        {.request = {{7, n_}},
         .usage = {.input_tokens = 40, .output_tokens = 10, .source = UsageSource::kProvider},
         .attempts = 1});
  }

  AdminResponse Send(std::string_view method, std::string_view target, std::string_view body = {}) {
    const std::string authorization = "Bearer " + std::string(kToken);
    return api_->Handle({.method = method,
                         .path = target.substr(0, target.find('?')),
                         .query = target.find('?') == std::string_view::npos
                                      ? std::string_view()
                                      : target.substr(target.find('?') + 1),
                         .headers = {{"Host", "127.0.0.1:8081"},
                                     {"Authorization", authorization},
                                     {"Content-Type", "application/json"}},
                         .body = body});
  }
  json::value Ask(std::string_view method, std::string_view target, std::string_view body = {},
                  int status = 200) {
    const AdminResponse response = Send(method, target, body);
    EXPECT_EQ(response.status, status) << response.body;
    json::error_code error;
    json::value value = json::parse(response.body, error);
    EXPECT_FALSE(error) << response.body;
    return value;
  }
  json::value Evaluate(std::string_view body) {
    return Ask("POST", "/admin/v1/policies/evaluate", body);
  }
  static std::string At(const json::value& value, std::string_view pointer) {
    boost::system::error_code none;
    const auto* found = value.find_pointer(pointer, none);
    return found == nullptr ? "missing" : json::serialize(*found);
  }

  identity::Pepper pepper_{"0123456789abcdef0123456789abcdef"};
  store::ReceiptKey receipt_key_{Secret(std::string(32, 'r'))};
  std::filesystem::path directory_;
  Instant now_ = kStart;
  std::unique_ptr<store::KeyStore> keys_;
  std::unique_ptr<store::RequestLog> requests_;
  std::unique_ptr<store::AccountStore> accounts_;
  std::unique_ptr<store::WalletStore> wallets_;
  NoMailbox mailbox_;
  std::unique_ptr<server::CreditHost> credit_;
  std::unique_ptr<server::CreditPort> port_;
  std::shared_ptr<const config::Config> config_;
  std::shared_ptr<const policy::PolicySet> set_;
  std::deque<policy::Facts> facts_;
  std::deque<std::vector<policy::QuotaUse>> uses_;
  std::uint64_t n_ = 0;
  std::unique_ptr<AdminApi> api_;
};

// ---- counters
// ------------------------------------------------------------------------------------

TEST_F(QuotasTest, CountersAreShownAsTheyStand) {
  Policy team = Make("team-day", QuotaUnit::kTotalTokens, 1000);
  team.per = {Dimension::kTeam};
  Start({team, Make("all-day", QuotaUnit::kRequests, 10)});
  Request("growth");
  Request("growth", false);
  Request("data");
  const json::value page = Ask("GET", "/admin/v1/quotas");
  EXPECT_EQ(At(page, "/data/0/policy"), R"("team-day")");
  EXPECT_EQ(At(page, "/data/0/counter"), R"("team=growth")");
  EXPECT_EQ(At(page, "/data/0/unit"), R"("total_tokens")");
  EXPECT_EQ(At(page, "/data/0/window"), R"("day")");
  EXPECT_EQ(At(page, "/data/0/ends_at"), R"("2026-01-02T00:00:00.000000Z")");
  EXPECT_EQ(At(page, "/data/0/limit"), R"("1000")");
  EXPECT_EQ(At(page, "/data/0/settled"), R"("50")");
  EXPECT_EQ(At(page, "/data/0/held"), R"("200")");
  EXPECT_EQ(At(page, "/data/0/remaining"), R"("750")");
  EXPECT_EQ(At(page, "/data/0/rule"), R"("hard")");
  EXPECT_EQ(At(page, "/next_cursor"), "null");
  EXPECT_EQ(page.at("data").as_array().size(), 3U);
  const json::value of_one = Ask("GET", "/admin/v1/policies/all-day/counters");
  ASSERT_EQ(of_one.at("data").as_array().size(), 1U);
  EXPECT_EQ(At(of_one, "/data/0/settled"), R"("2")");
}

TEST_F(QuotasTest, PagesLeaveNothingOut) {
  Policy team = Make("team-day", QuotaUnit::kRequests, 1000);
  team.per = {Dimension::kTeam};
  team.retry.attempts = 5;
  Start({team, Make("team", QuotaUnit::kRequests, 1000)});
  for (const char* name : {"a", "b", "c", "d", "e"}) Request(name);
  std::vector<std::string> seen;
  std::string cursor;
  for (int pages = 0; pages < 10; ++pages) {
    const json::value page = Ask("GET", "/admin/v1/policies/team-day/counters?limit=2" + cursor);
    for (const json::value& counter : page.at("data").as_array()) {
      seen.push_back(At(counter, "/counter"));
      EXPECT_EQ(At(counter, "/policy"), R"("team-day")") << "not those of team";
    }
    if (page.at("next_cursor").is_null()) break;
    cursor = "&cursor=" + std::string(page.at("next_cursor").as_string());
  }
  EXPECT_EQ(seen.size(), 5U);
}

TEST_F(QuotasTest, WhatIsWrongIsSaid) {
  Start({Make("cap", QuotaUnit::kRequests, 10)});
  EXPECT_EQ(Send("GET", "/admin/v1/policies/gone/counters").status, 404);
  EXPECT_EQ(Send("GET", "/admin/v1/policies/cap/counters").status, 200) << "none yet";
  EXPECT_EQ(Send("GET", "/admin/v1/quotas?limit=0").status, 422);
  EXPECT_EQ(Send("GET", "/admin/v1/quotas?cursor=x").status, 422);
}

// ---- evaluate
// ------------------------------------------------------------------------------------

TEST_F(QuotasTest, AnAllowedRequest_IsToldWhatItNeedsAndLeaves) {
  Policy team = Make("team-day", QuotaUnit::kUsd, 10'000'000);
  team.per = {Dimension::kTeam};
  Start({team});
  const json::value said = Evaluate(
      R"({"attributes":{"team":"growth"},"model":"big","input_tokens":500,"output_tokens":300})");
  EXPECT_EQ(At(said, "/decision"), R"("allowed")");
  EXPECT_EQ(At(said, "/model"), R"("big")");
  EXPECT_EQ(At(said, "/refusal"), "null");
  EXPECT_EQ(At(said, "/output_tokens_granted"), "300");
  EXPECT_EQ(At(said, "/hold_usd"), R"("0.0008")");
  EXPECT_EQ(At(said, "/policies/0/id"), R"("team-day")");
  EXPECT_EQ(At(said, "/policies/0/owner"), R"("finance")");
  EXPECT_EQ(At(said, "/policies/0/counter"), R"("team=growth")");
  EXPECT_EQ(At(said, "/policies/0/decision"), R"("allows")");
  EXPECT_EQ(At(said, "/policies/0/limit"), R"("0.01")");
  EXPECT_EQ(At(said, "/policies/0/needed"), R"("0.0008")");
  EXPECT_EQ(At(said, "/policies/0/remaining_after"), R"("0.0092")");
  EXPECT_EQ(At(said, "/policies/0/resets_at"), R"("2026-01-02T00:00:00.000000Z")");
  EXPECT_TRUE(Ask("GET", "/admin/v1/quotas").at("data").as_array().empty()) << "without a trace";
}

TEST_F(QuotasTest, ItDecidesByTheCountersOfNow) {
  Policy team = Make("team-day", QuotaUnit::kRequests, 2);
  team.per = {Dimension::kTeam};
  Start({team});
  Request("growth");
  Request("growth", false);
  const std::string_view body = R"({"attributes":{"team":"growth"},"model":"big"})";
  const json::value said = Evaluate(body);
  EXPECT_EQ(At(said, "/decision"), R"("refused")");
  EXPECT_EQ(At(said, "/policy"), R"("team-day")");
  EXPECT_EQ(At(said, "/refusal/status"), "429");
  EXPECT_EQ(At(said, "/refusal/code"), R"("in_flight_reserved")") << "one has not ended";
  EXPECT_EQ(At(said, "/policies/0/decision"), R"("refuses")");
  EXPECT_EQ(At(said, "/policies/0/settled"), R"("1")");
  EXPECT_EQ(At(said, "/policies/0/held"), R"("1")");
  EXPECT_EQ(At(said, "/policies/0/needed"), R"("1")");
  EXPECT_EQ(At(Evaluate(R"({"attributes":{"team":"data"},"model":"big"})"), "/decision"),
            R"("allowed")");
  now_ = kStart + Seconds(86'400);
  EXPECT_EQ(At(Evaluate(body), "/decision"), R"("allowed")") << "the next day";
}

TEST_F(QuotasTest, TheOneThatShortens_IsNamed) {
  Start({Make("out", QuotaUnit::kOutputTokens, 400, WindowKind::kRequest),
         Make("usd", QuotaUnit::kUsd, 1'000'000'000)});
  const json::value said = Evaluate(R"({"model":"big","input_tokens":10,"output_tokens":900})");
  EXPECT_EQ(At(said, "/decision"), R"("clamped")");
  EXPECT_EQ(At(said, "/output_tokens_granted"), "400");
  EXPECT_EQ(At(said, "/policies/0/decision"), R"("clamps")");
  EXPECT_EQ(At(said, "/policies/0/resets_at"), "null");
  EXPECT_EQ(At(said, "/policies/1/decision"), R"("allows")");
}

TEST_F(QuotasTest, ItFollowsTheRequestToALesserModel) {
  Policy premium = Make("premium", QuotaUnit::kRequests, 0);
  premium.match = {{Dimension::kModelClass, {"premium"}}};
  premium.action = PolicyAction::kDegrade;
  premium.degrade_to = "small";
  Start({premium, Make("small-day", QuotaUnit::kUsd, 1'000'000'000)});
  const json::value said = Evaluate(R"({"model":"big","input_tokens":10,"output_tokens":20})");
  EXPECT_EQ(At(said, "/decision"), R"("degraded")");
  EXPECT_EQ(At(said, "/model"), R"("small")");
  EXPECT_EQ(At(said, "/moves"), R"([{"policy":"premium","from":"big","to":"small"}])");
  EXPECT_EQ(At(said, "/hold_usd"), R"("0.000003")");
  EXPECT_EQ(At(said, "/policies/0/id"), R"("small-day")") << "those it meets there";
}

TEST_F(QuotasTest, ShadowsAndAlerts_SayWhatTheyWould) {
  Policy shadow = Make("shadow", QuotaUnit::kRequests, 0);
  shadow.shadow = true;
  Policy alert = Make("alert", QuotaUnit::kRequests, 0);
  alert.action = PolicyAction::kAlert;
  Start({shadow, alert, Make("cap", QuotaUnit::kRequests, 5)});
  const json::value said = Evaluate(R"({"model":"big"})");
  EXPECT_EQ(At(said, "/decision"), R"("allowed")");
  EXPECT_EQ(At(said, "/policies/0/decision"), R"("shadow_refuses")");
  EXPECT_EQ(At(said, "/policies/1/decision"), R"("alerts")");
  EXPECT_EQ(At(said, "/policies/2/decision"), R"("allows")");
}

// Their endpoints come later; their units, windows and policies are judged now.
TEST_F(QuotasTest, ImagesVideoAndAudio) {
  Policy final = Make("final-images", QuotaUnit::kImages, 3);
  final.match = {{Dimension::kModality, {"image"}}, {Dimension::kImageClass, {"final"}}};
  Policy seconds = Make("video-seconds", QuotaUnit::kVideoSeconds, 20'000);
  seconds.match = {{Dimension::kModality, {"video"}}};
  Policy again = Make("rerenders", QuotaUnit::kVideoRerenders, 1, WindowKind::kAction);
  again.match = {{Dimension::kModality, {"video"}}};
  Policy audio = Make("audio", QuotaUnit::kAudioSeconds, 60'000);
  audio.match = {{Dimension::kModality, {"audio"}}};
  Policy media = Make("media-usd", QuotaUnit::kUsd, 5 * kNanoPerUsd);
  Start({final, seconds, again, audio, media});

  EXPECT_EQ(At(Evaluate(R"({"operation":"images_generations","images":3,"image_class":"final",
                            "usd_override":"1.5"})"),
               "/decision"),
            R"("allowed")");
  json::value said = Evaluate(
      R"({"operation":"images_generations","images":4,"image_class":"final","usd_override":"1"})");
  EXPECT_EQ(At(said, "/policy"), R"("final-images")");
  EXPECT_EQ(At(said, "/refusal/status"), "400") << "no window ever has room for four";
  EXPECT_EQ(At(Evaluate(R"({"images":4,"image_class":"draft","usd_override":"1"})"), "/decision"),
            R"("allowed")");
  said = Evaluate(R"({"images":1,"image_class":"draft","usd_override":"5.01"})");
  EXPECT_EQ(At(said, "/policy"), R"("media-usd")");
  EXPECT_EQ(At(said, "/refusal/status"), "402");

  EXPECT_EQ(At(Evaluate(R"({"video_seconds":"12.5","usd_override":"2"})"), "/decision"),
            R"("allowed")");
  said = Evaluate(R"({"video_seconds":21,"usd_override":"2"})");
  EXPECT_EQ(At(said, "/policy"), R"("video-seconds")");
  EXPECT_EQ(At(said, "/policies/0/needed"), R"("21")");
  said = Evaluate(R"({"video_seconds":5,"video_rerenders":2,"usd_override":"1","action":"a"})");
  EXPECT_EQ(At(said, "/policy"), R"("rerenders")");
  EXPECT_EQ(At(Evaluate(R"({"audio_seconds":60,"usd_override":"0.1"})"), "/decision"),
            R"("allowed")");
  EXPECT_EQ(At(Evaluate(R"({"audio_seconds":"60.001","usd_override":"0.1"})"), "/policy"),
            R"("audio")");
}

TEST_F(QuotasTest, AWrongQuestion_IsSaidByMember) {
  Start({Make("cap", QuotaUnit::kRequests, 5)});
  for (const auto& [body, what] : std::initializer_list<std::pair<const char*, const char*>>{
           {R"({})", "/model"},
           {R"({"model":"nothing"})", "usd_override"},
           {R"({"model":"big","key":"nobody"})", "/key"},
           {R"({"model":"big","input_tokens":-1})", "/input_tokens"},
           {R"({"model":"big","attributes":{"tem":"x"}})", "/attributes/tem"},
           {R"({"model":"big","attributes":{"team":""}})", "/attributes/team"},
           {R"({"model":"big","modality":"smell"})", "/modality"},
           {R"({"model":"big","video_seconds":"1.0001"})", "/video_seconds"},
           {R"({"model":"big","audio_seconds":1.5})", "/audio_seconds"},
           {R"({"model":"big","usd_override":1.5})", "/usd_override"},
           {R"({"model":"big","imagees":1})", "/imagees"},
       }) {
    const AdminResponse response = Send("POST", "/admin/v1/policies/evaluate", body);
    EXPECT_EQ(response.status, 422) << body;
    EXPECT_THAT(response.body, HasSubstr(what)) << body;
  }
}

}  // namespace
}  // namespace weir::admin
