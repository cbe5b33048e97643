// What `weir policy simulate` makes of a log, from the row to the sentence.
#include "cli/simulate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "cli/cli.h"
#include "config/price_codec.h"
#include "policy/quote.h"
#include "store/request_log.h"

namespace weir::cli {
namespace {

using config::Dimension;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr Instant kStart{1'767'225'600'000'000'000};  // 2026-01-01T00:00:00Z

config::Price ATokenCosts(std::int64_t nano) {
  config::Price price;
  price.input = price.cached_input = price.cache_write = price.output = {nano * 1000};
  return price;
}

config::Config WithModels() {
  config::Config config;
  config.upstreams.push_back({.name = "openai"});
  for (const auto& [id, cost] : {std::pair("big", 1000), std::pair("small", 100)}) {
    config::Model model;
    model.id = id;
    model.family = std::string(id) + "-family";
    model.model_class = std::string(id) == "big" ? "premium" : "standard";
    model.routes = {{.upstream = 0, .upstream_model = id}};
    model.price = config::PriceList(ATokenCosts(cost));
    config.models.push_back(model);
  }
  return config;
}

config::Policy Cap(std::string id, std::int64_t requests_a_day) {
  config::Policy policy;
  policy.id = std::move(id);
  policy.owner = "finance";
  policy.unit = config::QuotaUnit::kRequests;
  policy.limit = requests_a_day;
  policy.window.kind = config::WindowKind::kDay;
  policy.per = {Dimension::kTeam};
  return policy;
}

// One request of a thousand tokens in and out, served by the big model.
telemetry::ExchangeRecord Row(std::uint64_t n, Duration at, std::string_view team) {
  telemetry::ExchangeRecord row;
  row.started_at = kStart + at;
  row.request = RequestId{MakeId(row.started_at, 0, n)};
  row.key = KeyId{{1, 1}};
  row.status = 200;
  row.operation = "responses";
  row.model = row.model_charged = "big";
  row.upstream = "openai";
  row.attempts = 1;
  row.total = Seconds(2);
  row.usage = {.input_tokens = 1000, .output_tokens = 1000, .source = UsageSource::kProvider};
  row.charge = true;
  row.charged = {2'000'000};
  row.hold_position = n + 1;
  row.input_tokens_bound = 4000;
  row.output_tokens_bound = row.output_tokens_asked = 8000;
  row.output_choices = 1;
  row.output_tokens_useful = 256;
  row.multiplier_ppm = 1'000'000;
  std::vector<std::uint8_t> price;
  config::EncodePrice(ATokenCosts(1000), price);
  row.price = {price.begin(), price.end()};
  row.attributes.Add(Dimension::kKey, "k");
  row.attributes.Add(Dimension::kTeam, team);
  row.attributes.Add(Dimension::kProvider, "openai");
  row.attributes.Add(Dimension::kModelFamily, "big-family");
  row.attributes.Add(Dimension::kModelClass, "premium");
  row.attributes.Add(Dimension::kModality, "text");
  return row;
}

class SimulateTest : public testing::Test {
 protected:
  SimulateTest() {
    directory_ =
        std::filesystem::temp_directory_path() / ("weir_simulate_test." + std::to_string(getpid()));
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
  }
  ~SimulateTest() override { std::filesystem::remove_all(directory_); }

  std::string path() const { return (directory_ / "requests.db").string(); }
  void Write(const std::vector<telemetry::ExchangeRecord>& rows) {
    auto log = *store::RequestLog::Open(path(), {.keep = {}});
    for (const auto& row : rows) log->Append(row);
  }
  struct Told {
    std::string text;
    boost::json::value json;
    store::PastLog::Counts counts;
  };
  Told Tell(const config::Config& next, const config::Config* in_force = nullptr) {
    Told told;
    const auto done = Simulate(path(), {kStart, kStart + Seconds(86'400)}, next, in_force,
                               [&](const Simulation& simulation) {
                                 told.text = SimulateText(simulation);
                                 told.json = boost::json::parse(SimulateJson(simulation));
                                 told.counts = simulation.counts;
                               });
    EXPECT_TRUE(done) << done.error().detail;
    return told;
  }
  static std::string At(const boost::json::value& json, std::string_view pointer) {
    boost::system::error_code none;
    const auto* value = json.find_pointer(pointer, none);
    return value == nullptr ? "missing" : boost::json::serialize(*value);
  }

  std::filesystem::path directory_;
};

TEST_F(SimulateTest, SaysWhoWouldHaveBeenRefusedWhenAndWhatItSaves) {
  // Written out of order, as they end.
  Write({Row(3, Seconds(30), "growth"), Row(1, Seconds(10), "growth"), Row(2, Seconds(20), "data"),
         Row(4, Seconds(40), "growth")});
  config::Config next = WithModels();
  next.policies = {Cap("team-day", 1)};
  const Told told = Tell(next);
  EXPECT_EQ(At(told.json, "/requests"), "4");
  EXPECT_EQ(At(told.json, "/simulated/refused"), "2");
  EXPECT_EQ(At(told.json, "/simulated/cost_usd"), R"("0.004")");
  EXPECT_EQ(At(told.json, "/as_it_was/booked_usd"), R"("0.008")");
  EXPECT_EQ(At(told.json, "/saves_usd"), R"("0.004")");
  EXPECT_EQ(At(told.json, "/in_force"), "null");
  EXPECT_EQ(At(told.json, "/simulated/policies/0/id"), R"("team-day")");
  EXPECT_EQ(At(told.json, "/simulated/policies/0/met"), "4");
  EXPECT_EQ(At(told.json, "/simulated/policies/0/nearest/permille"), "1000");
  EXPECT_EQ(At(told.json, "/simulated/policies/0/who/0/who"), R"("team=growth")");
  EXPECT_EQ(At(told.json, "/simulated/policies/0/who/0/refused"), "2");
  EXPECT_EQ(At(told.json, "/simulated/policies/0/who/0/first_at"),
            R"("2026-01-01T00:00:30.000000Z")");
  EXPECT_THAT(told.text, HasSubstr("4 requests from 2026-01-01T00:00:00Z"));
  EXPECT_THAT(told.text, HasSubstr("team=growth"));
  EXPECT_THAT(told.text, HasSubstr("2 refused; 2026-01-01T00:00:30Z to 2026-01-01T00:00:40Z; "
                                   "saves 0.004 USD"));
  EXPECT_THAT(told.text, HasSubstr("It saves 0.004 USD."));
  EXPECT_THAT(told.text, Not(HasSubstr("in force")));
}

TEST_F(SimulateTest, ComparesWithThePoliciesInForce) {
  Write({Row(1, Seconds(10), "growth"), Row(2, Seconds(20), "growth"),
         Row(3, Seconds(30), "growth")});
  config::Config now = WithModels();
  now.policies = {Cap("team-day", 2)};
  config::Config next = WithModels();
  next.policies = {Cap("team-day", 2)};
  next.policies[0].action = config::PolicyAction::kDegrade;
  next.policies[0].degrade_to = "small";
  next.policies[0].match = {{Dimension::kModelClass, {"premium"}}};
  const Told told = Tell(next, &now);
  EXPECT_EQ(At(told.json, "/in_force/refused"), "1");
  EXPECT_EQ(At(told.json, "/simulated/degraded"), "1");
  EXPECT_EQ(At(told.json, "/moved"), R"([{"from":"refused","to":"degraded","requests":1}])");
  EXPECT_EQ(At(told.json, "/difference_usd"), R"("0.0002")");
  EXPECT_THAT(told.text, HasSubstr("1 degraded instead of refused"));
  EXPECT_THAT(told.text, HasSubstr("0.0002 USD more"));
  const Told same = Tell(now, &now);
  EXPECT_THAT(same.text, HasSubstr("nothing happens to any request that did not happen"));
}

TEST_F(SimulateTest, TakesWhatPoliciesHadASayAbout) {
  std::vector<telemetry::ExchangeRecord> rows = {Row(1, Seconds(10), "growth")};
  telemetry::ExchangeRecord row = Row(2, Seconds(20), "growth");  // refused by a policy then
  row.hold_position = 0;
  row.policy_refused = "old";
  row.usage = {};
  row.charged = {};
  row.charge = false;
  rows.push_back(row);
  row = Row(3, Seconds(30), "growth");  // sent to the small model by a policy then
  row.policy_degraded = "old";
  row.model_charged = "small";
  row.charged = {200'000};
  row.attributes = {};
  row.attributes.Add(Dimension::kTeam, "growth");
  row.attributes.Add(Dimension::kModel, "big");
  row.attributes.Add(Dimension::kModelClass, "standard");
  rows.push_back(row);
  row = Row(4, Seconds(40), "growth");  // no key
  row.hold_position = 0;
  rows.push_back(row);
  row = Row(5, Seconds(50), "growth");  // a count of tokens
  row.input_tokens_bound = 0;
  rows.push_back(row);
  row = Row(6, Seconds(60), "growth");  // of before
  row.output_choices = 0;
  rows.push_back(row);
  row = Row(7, Seconds(70), "growth");  // nobody knows the price
  row.price = "?";
  rows.push_back(row);
  rows.push_back(Row(8, Seconds(86'400), "growth"));  // later than asked for
  Write(rows);
  config::Config next = WithModels();
  next.policies = {Cap("premium-day", 100)};
  next.policies[0].match = {{Dimension::kModelClass, {"premium"}}};
  const Told told = Tell(next);
  EXPECT_EQ(told.counts.taken, 3);
  EXPECT_EQ(told.counts.others, 2);
  EXPECT_EQ(told.counts.too_old, 1);
  EXPECT_EQ(told.counts.unpriced, 1);
  EXPECT_EQ(At(told.json, "/simulated/policies/0/met"), "3") << "as they were asked";
  EXPECT_EQ(At(told.json, "/simulated/estimated_requests"), "1");
  EXPECT_EQ(At(told.json, "/as_it_was/refused"), "1");
  EXPECT_EQ(At(told.json, "/as_it_was/degraded"), "1");
  EXPECT_EQ(At(told.json, "/simulated/cost_usd"), R"("0.006")") << "each at the big model's price";
  EXPECT_THAT(told.text, HasSubstr("1 left out, of models without a price now; 1 left out, of "
                                   "before the log kept what policies see"));
}

TEST_F(SimulateTest, FactsThatTakeTurns_StayApart) {
  std::vector<telemetry::ExchangeRecord> rows;
  for (std::uint64_t n = 0; n < 300; ++n) {
    rows.push_back(Row(n, Milliseconds(static_cast<std::int64_t>(n) * 50),
                       n % 3 == 0 ? "a" : (n % 3 == 1 ? "b" : "c")));
    if (n % 7 == 0) rows.back().model = rows.back().model_charged = "small";
    if (n % 11 == 0) rows.back().input_tokens_bound = 0;  // passed over
  }
  Write(rows);
  config::Config next = WithModels();
  next.policies = {Cap("day", 1'000'000)};
  next.policies[0].per = {Dimension::kTeam, Dimension::kModel};
  const Told told = Tell(next);
  EXPECT_EQ(At(told.json, "/simulated/counters"), "6");
  EXPECT_EQ(told.counts.taken, 300 - 28);
}

TEST_F(SimulateTest, ModelsAreWhatTheFileSaysNow) {
  Write({Row(1, Seconds(10), "growth")});
  config::Config next = WithModels();
  next.models[0].model_class = "preview";
  next.policies = {Cap("preview-day", 0), Cap("premium-day", 0)};
  next.policies[0].match = {{Dimension::kModelClass, {"preview"}}};
  next.policies[1].match = {{Dimension::kModelClass, {"premium"}}};
  config::Config now = WithModels();
  now.policies = next.policies;
  const Told told = Tell(next, &now);
  EXPECT_EQ(At(told.json, "/simulated/policies/0/refused"), "1");
  EXPECT_EQ(At(told.json, "/simulated/policies/1/refused"), "0");
  EXPECT_EQ(At(told.json, "/in_force/policies/1/refused"), "1");
}

TEST_F(SimulateTest, NoLog_SaysWhatToDo) {
  std::vector<std::string> words = {"weir",
                                    "policy",
                                    "simulate",
                                    "--file",
                                    (directory_ / "c.yaml").string(),
                                    "--data-dir",
                                    (directory_ / "nowhere").string()};
  FILE* file = std::fopen(words[4].c_str(), "w");
  ASSERT_NE(file, nullptr);
  std::fputs(
      "upstreams: [{name: s, kind: sandbox}]\nmodels: [{id: m, routes: [s], price: "
      "{input: 1, output: 1}}]\n",
      file);
  std::fclose(file);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  testing::internal::CaptureStderr();
  EXPECT_EQ(RunCli(static_cast<int>(words.size()), argv.data()), kExitFailed);
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("name the data directory with --data-dir"));
}

TEST(ParseAgo, DaysAndDurations) {
  EXPECT_EQ(ParseAgo("30d"), Seconds(30 * 86'400));
  EXPECT_EQ(ParseAgo("12h"), Minutes(12 * 60));
  EXPECT_EQ(ParseAgo("0d"), Seconds(0));
  for (const char* wrong : {"", "d", "-1d", "1.5d", "99999d", "30"}) {
    EXPECT_EQ(ParseAgo(wrong), std::nullopt) << wrong;
  }
}

}  // namespace
}  // namespace weir::cli
