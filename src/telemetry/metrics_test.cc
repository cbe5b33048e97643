#include "telemetry/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <thread>

namespace weir::telemetry {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

ExchangeRecord Served() {
  ExchangeRecord record;
  record.operation = "responses";
  record.ending = EndingKind::kServed;
  record.status = 200;
  record.attempts = 1;
  record.usage = {.input_tokens = 100,
                  .cached_input_tokens = 40,
                  .cache_write_tokens = 5,
                  .output_tokens = 20,
                  .reasoning_tokens = 7,
                  .source = UsageSource::kProvider,
                  .audio_ms = 8'470};
  record.charged = {12'345};
  record.total = Milliseconds(120);
  record.upstream_time = Milliseconds(120) - Microseconds(30);
  record.first_byte = Milliseconds(90);
  record.durable_time = Microseconds(700);
  return record;
}

TEST(Metrics, AnExchange_IsCountedUnderItsOperationEndingAndStatusClass) {
  Metrics metrics(1, "1.2.3", {});
  metrics.RecordExchange(0, Served());
  const std::string text = metrics.Text();
  EXPECT_THAT(
      text,
      HasSubstr(
          "weir_requests_total{operation=\"responses\",ending=\"served\",status=\"2xx\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("weir_tokens_total{kind=\"input\"} 100\n"));
  EXPECT_THAT(text, HasSubstr("weir_tokens_total{kind=\"cached_input\"} 40\n"));
  EXPECT_THAT(text, HasSubstr("weir_tokens_total{kind=\"cache_write\"} 5\n"));
  EXPECT_THAT(text, HasSubstr("weir_tokens_total{kind=\"output\"} 20\n"));
  EXPECT_THAT(text, HasSubstr("weir_tokens_total{kind=\"reasoning\"} 7\n"));
  EXPECT_THAT(text, HasSubstr("weir_audio_seconds_total 8.47\n"));
  EXPECT_THAT(text, HasSubstr("weir_charged_nano_usd_total 12345\n"));
  EXPECT_THAT(text, HasSubstr("weir_upstream_attempts_total 1\n"));
  EXPECT_THAT(text, HasSubstr("weir_build_info{version=\"1.2.3\"} 1\n"));
  EXPECT_THAT(text, Not(HasSubstr("refusal=")));
}

TEST(Metrics, AWalletThatBecameLow_IsCountedOnce) {
  Metrics metrics(1, "1", {});
  ExchangeRecord record = Served();
  record.wallet = {.unit = "quota_token", .left = 5};
  metrics.RecordExchange(0, record);
  EXPECT_THAT(metrics.Text(), HasSubstr("weir_wallet_low_total 0\n"));
  record.wallet->low = true;
  metrics.RecordExchange(0, record);
  EXPECT_THAT(metrics.Text(), HasSubstr("weir_wallet_low_total 1\n"));
}

TEST(Metrics, ARefusal_IsCountedByItsName) {
  Metrics metrics(1, "v", {});
  ExchangeRecord record = Served();
  record.ending = EndingKind::kRefused;
  record.refusal = Refusal::kBudgetExceeded;
  record.status = 402;
  metrics.RecordExchange(0, record);
  EXPECT_THAT(metrics.Text(), HasSubstr("weir_refusals_total{operation=\"responses\","
                                        "refusal=\"BudgetExceeded\"} 1\n"));
  EXPECT_THAT(metrics.Text(), HasSubstr("ending=\"refused\",status=\"4xx\"} 1\n"));
}

// A caller chooses the path, so an operation text we do not know must not become a label.
TEST(Metrics, AnUnknownOperationOrStatus_FallsIntoTheLastLabel) {
  Metrics metrics(1, "v", {});
  ExchangeRecord record = Served();
  record.operation = "\"} 1\nevil";
  record.status = 0;
  metrics.RecordExchange(0, record);
  record.status = 999;
  metrics.RecordExchange(0, record);
  EXPECT_THAT(metrics.Text(),
              HasSubstr("operation=\"other\",ending=\"served\",status=\"none\"} 2\n"));
  EXPECT_THAT(metrics.Text(), Not(HasSubstr("evil")));
}

TEST(Metrics, EveryRefusal_HasAPlaceOfItsOwn) {
  Metrics metrics(1, "v", {});
  ExchangeRecord record = Served();
  std::int64_t expected = 0;
  for (const RefusalText& text : kRefusalTexts) {
    if (text.refusal == Refusal::kNone) continue;
    record.refusal = text.refusal;
    metrics.RecordExchange(0, record);
    ++expected;
  }
  const std::string text = metrics.Text();
  std::int64_t found = 0;
  for (std::size_t at = text.find("refusal=\""); at != std::string::npos;
       at = text.find("refusal=\"", at + 1)) {
    ++found;
    EXPECT_EQ(text.substr(text.find("} ", at), 4), "} 1\n");
  }
  EXPECT_EQ(found, expected);
}

TEST(Metrics, ABucket_HoldsItsBoundAndNotOneNanosecondMore) {
  struct Case {
    std::int64_t ns;
    std::string_view in;      // this bucket counts it
    std::string_view not_in;  // the one before does not
  };
  for (const Case& c : {Case{5'000'000, "le=\"0.005\"} 1", ""},
                        Case{5'000'001, "le=\"0.01\"} 1", "le=\"0.005\"} 1"},
                        Case{600'000'000'000, "le=\"600\"} 1", "le=\"300\"} 1"},
                        Case{600'000'000'001, "le=\"+Inf\"} 1", "le=\"600\"} 1"},
                        Case{-1, "le=\"0.005\"} 1", ""}}) {
    Metrics metrics(1, "v", {});
    ExchangeRecord record;
    record.ending = EndingKind::kCut;  // only the duration is observed
    record.total = {c.ns};
    metrics.RecordExchange(0, record);
    const std::string text = metrics.Text();
    EXPECT_THAT(text, HasSubstr("weir_request_duration_seconds_bucket{" + std::string(c.in)))
        << c.ns;
    if (!c.not_in.empty()) {
      EXPECT_THAT(text,
                  Not(HasSubstr("weir_request_duration_seconds_bucket{" + std::string(c.not_in))))
          << c.ns;
    }
    EXPECT_THAT(text, HasSubstr("weir_request_duration_seconds_count 1\n"));
  }
}

TEST(Metrics, ASum_IsWrittenInSecondsExactly) {
  Metrics metrics(1, "v", {1'700'000'000'500'000'000});
  ExchangeRecord record = Served();
  record.total = {1'000'000'001};
  metrics.RecordExchange(0, record);
  metrics.RecordExchange(0, record);
  EXPECT_THAT(metrics.Text(), HasSubstr("weir_request_duration_seconds_sum 2.000000002\n"));
  EXPECT_THAT(metrics.Text(), HasSubstr("weir_start_time_seconds 1700000000.5\n"));
}

TEST(Metrics, Overhead_IsTotalWithoutUpstreamAndOnlyOfServedRequests) {
  Metrics metrics(1, "v", {});
  metrics.RecordExchange(0, Served());
  ExchangeRecord cut = Served();
  cut.ending = EndingKind::kCut;
  metrics.RecordExchange(0, cut);
  EXPECT_THAT(metrics.Text(), HasSubstr("weir_overhead_seconds_sum 0.00003\n"));
  EXPECT_THAT(metrics.Text(), HasSubstr("weir_overhead_seconds_count 1\n"));
}

TEST(Metrics, Shards_AreSummed_AndCountedByTheirOwnThreadsOnly) {
  constexpr int kShards = 4;
  constexpr int kEach = 2000;
  Metrics metrics(kShards, "v", {});
  std::vector<std::thread> workers;
  for (int shard = 0; shard < kShards; ++shard) {
    workers.emplace_back([&metrics, shard] {
      const ExchangeRecord record = Served();
      for (int i = 0; i < kEach; ++i) metrics.RecordExchange(shard, record);
      metrics.Move(shard, Live::kRequests, 3);
      metrics.Move(shard, Live::kRequests, -1);
    });
  }
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(metrics.Text().empty());  // scrapes in between
  for (std::thread& worker : workers) worker.join();
  EXPECT_THAT(metrics.Text(), HasSubstr("weir_upstream_attempts_total 8000\n"));
  EXPECT_THAT(metrics.Text(), HasSubstr("weir_requests_in_progress 8\n"));
  EXPECT_EQ(metrics.Now(Live::kRequests), 8);
}

TEST(Metrics, Callbacks_OfOneName_AreOneFamily) {
  Metrics metrics(1, "v", {});
  metrics.AddGauge("weir_keys", "Keys by state.", "state=\"active\"", [] { return 3; });
  metrics.AddCounter("weir_log_lines_dropped_total", "Lines lost.", "", [] { return 9; });
  metrics.AddGauge("weir_keys", "ignored", "state=\"revoked\"", [] { return 1; });
  const std::string text = metrics.Text();
  EXPECT_THAT(text, HasSubstr("# HELP weir_keys Keys by state.\n# TYPE weir_keys gauge\n"
                              "weir_keys{state=\"active\"} 3\nweir_keys{state=\"revoked\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("weir_log_lines_dropped_total 9\n"));
  EXPECT_THAT(text, Not(HasSubstr("ignored")));
}

TEST(Metrics, ACollector_IsAskedAtEachScrape) {
  Metrics metrics(1, "v", {});
  std::int64_t accounts = 1;
  metrics.AddCollector([&] {
    std::vector<Metrics::Family> families = {{.name = "weir_account_usable", .series = {}},
                                             {.name = "weir_sticky_total", .series = {}}};
    for (std::int64_t i = 0; i < accounts; ++i) {
      families[0].series.push_back({"account=\"a" + std::to_string(i) + "\"", i});
    }
    families[1].series.push_back({"result=\"kept\"", 7});
    return families;
  });
  EXPECT_THAT(metrics.Text(), HasSubstr("# TYPE weir_account_usable gauge\n"
                                        "weir_account_usable{account=\"a0\"} 0\n# HELP"));
  accounts = 2;
  const std::string text = metrics.Text();
  EXPECT_THAT(text, HasSubstr("weir_account_usable{account=\"a1\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("# TYPE weir_sticky_total counter\n"
                              "weir_sticky_total{result=\"kept\"} 7\n"));
}

// The reference page and the exposition come from one table; this says that nothing in the text is
// missing from it, and nothing in it from the text.
TEST(Metrics, TheText_HasExactlyTheDescribedFamilies) {
  Metrics metrics(1, "v", {});
  for (const std::string_view name :
       {"weir_open_connections", "weir_open_reservations", "weir_keys", "weir_quota_counters",
        "weir_webhook_pending", "weir_webhook_endpoints"}) {
    metrics.AddGauge(name, "x", "", [] { return 0; });
  }
  for (const std::string_view name :
       {"weir_journal_records_total", "weir_journal_commits_total", "weir_journal_failures_total",
        "weir_request_log_dropped_total", "weir_log_lines_dropped_total", "weir_quota_alerts_total",
        "weir_webhook_deliveries_total", "weir_webhook_dropped_total"}) {
    metrics.AddCounter(name, "x", "", [] { return 0; });
  }
  metrics.AddCollector([] {
    std::vector<Metrics::Family> families;
    for (const std::string_view name :
         {"weir_account_usable", "weir_account_in_flight", "weir_account_rests_total",
          "weir_pool_usable_accounts", "weir_pool_resting_accounts", "weir_pool_capacity",
          "weir_pool_in_flight", "weir_pool_waiting", "weir_sticky_total",
          "weir_account_probes_total", "weir_wallet_breakage_total"}) {
      families.push_back({.name = name, .series = {}});
    }
    return families;
  });
  std::set<std::string> families;
  std::istringstream lines(metrics.Text());
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("# TYPE ")) families.insert(line.substr(7, line.find(' ', 7) - 7));
  }
  std::set<std::string> described;
  for (const MetricDescription& d : MetricDescriptions()) described.insert(std::string(d.name));
  EXPECT_EQ(families, described);
}

TEST(MetricsDeathTest, AFigureThatNobodyDescribed_EndsTheStart) {
  Metrics metrics(1, "v", {});
  EXPECT_DEATH(metrics.AddGauge("weir_secret_figure", "x", "", [] { return 0; }), "reference");
  EXPECT_DEATH(metrics.AddGauge("weir_journal_records_total", "x", "", [] { return 0; }),
               "reference");
  metrics.AddCollector(
      [] { return std::vector<Metrics::Family>{{.name = "weir_secret_figure", .series = {}}}; });
  EXPECT_DEATH(metrics.Text(), "reference");
}

TEST(Metrics, Promtool_HasNoComplaint) {
  if (std::system("command -v promtool >/dev/null 2>&1") != 0) {
    GTEST_SKIP() << "promtool is not installed (Debian package prometheus)";
  }
  Metrics metrics(2, "1.2.3", {1'700'000'000'000'000'000});
  metrics.RecordExchange(0, Served());
  ExchangeRecord refused = Served();
  refused.refusal = Refusal::kInvalidApiKey;
  refused.ending = EndingKind::kRefused;
  refused.status = 401;
  metrics.RecordExchange(1, refused);
  metrics.AddGauge("weir_keys", "Keys by state.", "state=\"active\"", [] { return 3; });
  const auto path = std::filesystem::temp_directory_path() /
                    ("weir_metrics_test." + std::to_string(getpid()) + ".txt");
  std::ofstream(path) << metrics.Text();
  const int code = std::system(
      ("promtool check metrics < " + path.string() + " > " + path.string() + ".out 2>&1").c_str());
  std::ifstream out(path.string() + ".out");
  const std::string said((std::istreambuf_iterator<char>(out)), {});
  std::filesystem::remove(path);
  std::filesystem::remove(path.string() + ".out");
  EXPECT_EQ(code, 0) << said;
  EXPECT_EQ(said, "");
}

}  // namespace
}  // namespace weir::telemetry
