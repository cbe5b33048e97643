// `weir prices` as an operator meets it, on files in a directory of its own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <time.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "cli/cli.h"
#include "store/request_log.h"

namespace weir::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct Outcome {
  int code = 0;
  std::string out;
  std::string err;
};

class PricesCommand : public testing::Test {
 protected:
  PricesCommand() {
    directory_ =
        std::filesystem::temp_directory_path() / ("weir_prices_test." + std::to_string(getpid()));
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
  }
  ~PricesCommand() override { std::filesystem::remove_all(directory_); }

  std::string Path(const std::string& name) { return (directory_ / name).string(); }
  std::string Write(const std::string& name, std::string_view text) {
    std::ofstream(directory_ / name, std::ios::binary) << text;
    return Path(name);
  }
  std::string Read(const std::string& name) {
    std::ifstream in(directory_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  }
  static Outcome Prices(std::vector<std::string> words) {
    words.insert(words.begin(), {"weir", "prices"});
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    Outcome outcome;
    outcome.code = RunCli(static_cast<int>(words.size()), argv.data());
    std::fflush(stdout);
    outcome.out = testing::internal::GetCapturedStdout();
    outcome.err = testing::internal::GetCapturedStderr();
    return outcome;
  }

  std::filesystem::path directory_;
};

constexpr std::string_view kList = R"({
  "big": {"litellm_provider":"x","mode":"chat","input_cost_per_token":1.25e-06,
          "output_cost_per_token":1e-05,"input_cost_per_token_priority":2.5e-06},
  "fine": {"litellm_provider":"x","mode":"chat","input_cost_per_token":1e-13,
           "output_cost_per_token":1e-05},
  "free\u001b[2J": {"litellm_provider":"x","mode":"chat","input_cost_per_token":0,
                    "output_cost_per_token":0}
})";

TEST_F(PricesCommand, Import_WritesAPriceFileAndAReport) {
  const std::string list = Write("list.json", kList);
  const Outcome outcome = Prices({"import", list, "--out", Path("prices.yaml")});
  EXPECT_EQ(outcome.code, kExitDone) << outcome.err;
  EXPECT_THAT(Read("prices.yaml"), HasSubstr("prices:\n  \"big\": {input: 1.25, output: 10.00}\n"
                                             "  \"fine\": {input: 0.000001, output: 10.00}\n"));
  EXPECT_THAT(outcome.out, HasSubstr("2 prices from LiteLLM\n"));
  EXPECT_THAT(outcome.out,
              HasSubstr("left out:\n  free?[2J: is not a name that a price file takes"));
  EXPECT_THAT(outcome.out, HasSubstr("fine: input_cost_per_token 1e-13 is finer"));
  EXPECT_THAT(outcome.out, HasSubstr("  input_cost_per_token_priority (1)\n"));
  EXPECT_FALSE(std::filesystem::exists(Path("prices.yaml.new")));

  const Outcome printed = Prices({"import", list, "--out", "-", "--only", "b*"});
  EXPECT_EQ(printed.out,
            "# Written by weir prices import, from a list of LiteLLM.\n"
            "# Check the prices you bill by against the provider's page.\n"
            "prices:\n  \"big\": {input: 1.25, output: 10.00}\n");
}

TEST_F(PricesCommand, Import_OfSomethingElse_ChangesNothing) {
  Write("prices.yaml", "kept");
  Outcome outcome = Prices({"import", Write("a.json", "{}"), "--out", Path("prices.yaml")});
  EXPECT_EQ(outcome.code, kExitFailed);
  EXPECT_THAT(outcome.err,
              HasSubstr("a.json is neither LiteLLM's list of prices nor models.dev's"));
  outcome = Prices({"import", Path("missing"), "--out", Path("prices.yaml")});
  EXPECT_EQ(outcome.code, kExitFailed);
  EXPECT_THAT(outcome.err, HasSubstr("cannot read"));
  outcome = Prices({"import", Path("a.json"), "--out", Path("no/such/dir"), "--format", "litellm"});
  EXPECT_EQ(outcome.code, kExitFailed);
  EXPECT_THAT(outcome.err, HasSubstr("cannot write"));
  EXPECT_EQ(Prices({"import", Path("a.json"), "--out", "-", "--format", "x"}).code, kExitUsage);
  EXPECT_EQ(Read("prices.yaml"), "kept");
}

constexpr std::string_view kConfig = R"(upstreams: [{name: up, kind: sandbox}]
price_files: [prices.yaml]
models:
  - id: m
    price:
      - {input: 1, output: 2}
      - {input: 3, output: 4, valid_from: 2100-01-01}
  - {id: fast, routes: [{upstream: up, model: big}], price: catalog}
  - {id: "*", price: catalog}
  - {id: bare}
)";

TEST_F(PricesCommand, Show_HasWhatIsInForceAndWhatIsToCome) {
  Write("prices.yaml", "prices: {big: {input: 5, output: 6}}\n");
  const std::string config = Write("weir.yaml", kConfig);
  const Outcome all = Prices({"show", "--config", config});
  EXPECT_EQ(all.code, kExitDone) << all.err;
  EXPECT_THAT(all.out, HasSubstr("m {input: 1.00, output: 2.00} version "));
  EXPECT_THAT(all.out, HasSubstr(" from 2100-01-01T00:00:00Z (not in force)\n"));
  EXPECT_THAT(all.out, HasSubstr("fast {input: 5.00, output: 6.00}"));
  EXPECT_THAT(all.out, HasSubstr("* by the catalog, as callers name it\n"));
  EXPECT_THAT(all.out, HasSubstr("bare has no price and is not served\n"));
  EXPECT_THAT(Prices({"show", "big", "--config", config}).out,
              HasSubstr("big {input: 5.00, output: 6.00}"));
  EXPECT_THAT(Prices({"show", "other", "--config", config}).out, HasSubstr("other by the catalog"));
  const Outcome json = Prices({"show", "m", "--config", config, "--json"});
  const auto parsed = boost::json::parse(json.out);
  const auto& prices = parsed.at("models").at(0).at("prices").as_array();
  ASSERT_EQ(prices.size(), 2U);
  EXPECT_TRUE(prices[0].at("in_force").as_bool());
  EXPECT_FALSE(prices[1].at("in_force").as_bool());
  EXPECT_NE(prices[0].at("version").as_int64(), prices[1].at("version").as_int64());
}

TEST_F(PricesCommand, Diff_NamesEachChange) {
  const std::string before =
      Write("a.yaml",
            "prices: {gone: {input: 1, output: 1}, same: {input: 1, output: 1},\n"
            "  other: {input: 1, output: 1}}\n");
  const std::string after =
      Write("b.yaml",
            "prices: {new: {input: 1, output: 1}, other: {input: 2, output: 1},\n"
            "  same: {input: 1.00, cached_input: 1, output: 1.0}}\n");
  const Outcome outcome = Prices({"diff", before, after});
  EXPECT_EQ(outcome.code, kExitDone) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("- gone: {input: 1.00, output: 1.00}\n"));
  EXPECT_THAT(outcome.out, HasSubstr("+ new: {input: 1.00, output: 1.00}\n"));
  EXPECT_THAT(outcome.out, HasSubstr("~ other: {input: 1.00, output: 1.00}\n"));
  EXPECT_THAT(outcome.out, HasSubstr("1 added, 1 removed, 1 changed\n"));
  EXPECT_THAT(outcome.out, Not(HasSubstr("same")));
  EXPECT_EQ(Prices({"diff", before, Write("bad.yaml", "prices: 3\n")}).code, kExitFailed);
}

TEST_F(PricesCommand, Rerate_ComparesWhatWasBooked_AndChangesNothing) {
  timespec clock{};
  clock_gettime(CLOCK_REALTIME, &clock);
  const Instant now{static_cast<std::int64_t>(clock.tv_sec) * 1'000'000'000};
  {
    auto log = store::RequestLog::Open(Path("requests.db"));
    ASSERT_TRUE(log);
    for (std::uint64_t i = 0; i < 2'500; ++i) {  // more than two pages
      telemetry::ExchangeRecord record;
      record.started_at = Instant{now.ns - static_cast<std::int64_t>(i) * 3'600'000'000'000 / 100};
      record.request = {static_cast<std::uint64_t>(record.started_at.ns / 1'000'000) << 16, i + 1};
      record.model = i % 2 == 0 ? "m" : "gone";
      record.usage = {.input_tokens = 1000, .output_tokens = 100, .source = UsageSource::kProvider};
      record.charged = {900'000};
      record.overrun = {100'000};
      (*log)->Append(record);
    }
    (*log)->Flush();
    ASSERT_EQ((*log)->written(), 2'500U);
  }
  const std::string config = Write("weir.yaml",
                                   "upstreams: [{name: up, kind: sandbox}]\n"
                                   "models: [{id: m, price: {input: 1, output: 2}}]\n");
  const Outcome outcome = Prices({"rerate", "--dry-run", "--since", "24h", "--config", config,
                                  "--data-dir", directory_.string(), "--json"});
  ASSERT_EQ(outcome.code, kExitDone) << outcome.err;
  const auto result = boost::json::parse(outcome.out);
  const auto& gone = result.at("models").at(0);
  const auto& m = result.at("models").at(1);
  EXPECT_EQ(m.at("model").as_string(), "m");
  // The 2,400 of 24 hours, less the one or two that became older since `now` was read.
  EXPECT_NEAR(static_cast<double>(m.at("requests").as_int64()), 1'200.0, 2.0);
  EXPECT_EQ(m.at("changed_requests").as_int64(), m.at("requests").as_int64());
  // 1,000 x 1.00 + 100 x 2.00 is 0.0012; 0.001 was booked.
  if (m.at("requests").as_int64() == 1'200) {
    EXPECT_EQ(m.at("booked_usd").as_string(), "1.2");
    EXPECT_EQ(m.at("now_usd").as_string(), "1.44");
    EXPECT_EQ(m.at("difference_usd").as_string(), "0.24");
  }
  EXPECT_EQ(gone.at("requests").as_int64(), 0);
  EXPECT_GT(gone.at("unpriced_requests").as_int64(), 1'000);
  EXPECT_EQ(result.at("total").at("requests").as_int64(), m.at("requests").as_int64());

  EXPECT_THAT(
      Prices({"rerate", "--dry-run", "--config", config, "--data-dir", directory_.string()}).out,
      HasSubstr("total: 1250 requests, 1250 would differ: booked 1.25 USD, now 1.5 USD, "
                "difference 0.25 USD; 1250 more have no price now\n"));
  EXPECT_EQ(Prices({"rerate", "--config", config}).code, kExitUsage) << "never but dry";
  EXPECT_EQ(Prices({"rerate", "--dry-run", "--since", "soon", "--config", config}).code,
            kExitUsage);
  const Outcome nowhere =
      Prices({"rerate", "--dry-run", "--config", config, "--data-dir", Path("nowhere")});
  EXPECT_EQ(nowhere.code, kExitFailed);
  EXPECT_FALSE(std::filesystem::exists(Path("nowhere")));
}

}  // namespace
}  // namespace weir::cli
