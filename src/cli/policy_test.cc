// `weir policy` as an operator meets it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "cli/cli.h"

namespace weir::cli {
namespace {

using ::testing::HasSubstr;

struct Outcome {
  int code = 0;
  std::string out;
  std::string err;
};

Outcome Windows(std::vector<std::string> words) {
  words.insert(words.begin(), {"weir", "policy", "windows"});
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

TEST(PolicyWindows, ShowsLocalTimesAndLengths) {
  EXPECT_EQ(Windows({"--window", "day", "--timezone", "America/Havana", "--from",
                     "2026-10-31T12:00:00Z", "--count", "2"})
                .out,
            "2026-10-31T00:00-04:00  2026-11-01T00:00-04:00  1d\n"
            "2026-11-01T00:00-04:00  2026-11-02T00:00-05:00  1d1h\n");
  EXPECT_EQ(Windows({"--window", "day", "--timezone", "Africa/Cairo", "--from", "2026-04-24",
                     "--count", "1"})
                .out,
            "2026-04-24T01:00+03:00  2026-04-25T00:00+03:00  23h\n");
  EXPECT_EQ(Windows({"--window", "day", "--timezone", "Australia/Lord_Howe", "--from", "2026-04-05",
                     "--count", "1"})
                .out,
            "2026-04-05T00:00+11:00  2026-04-06T00:00+10:30  1d30m\n");
  EXPECT_EQ(Windows({"--window", "hour", "--timezone", "Africa/Monrovia", "--anchor",
                     "1970-01-01T00:00", "--from", "1970-01-01T01:00:00Z", "--count", "1"})
                .out,
            "1970-01-01T00:00-00:44:30  1970-01-01T01:00-00:44:30  1h\n");
}

TEST(PolicyWindows, AreMonthsOfUtcUnlessSaid) {
  EXPECT_EQ(Windows({"--from", "2026-02-03", "--to", "2026-04-01"}).out,
            "2026-02-01T00:00+00:00  2026-03-01T00:00+00:00  28d\n"
            "2026-03-01T00:00+00:00  2026-04-01T00:00+00:00  31d\n");
  EXPECT_EQ(Windows({"--anchor", "2026-01-31", "--from", "2026-02-03", "--count", "1"}).out,
            "2026-01-31T00:00+00:00  2026-02-28T00:00+00:00  28d\n");
  EXPECT_EQ(Windows({"--every", "3", "--from", "2026-02-03", "--count", "1"}).out,
            "2026-01-01T00:00+00:00  2026-04-01T00:00+00:00  90d\n");
  // Without a time, from now on.
  const Outcome now = Windows({"--window", "minute"});
  EXPECT_EQ(std::ranges::count(now.out, '\n'), 12);
}

TEST(PolicyWindows, ForOtherPrograms_AreSecondsAndRuns) {
  EXPECT_EQ(Windows({"--window", "day", "--timezone", "America/New_York", "--from",
                     "2026-03-06T12:00:00Z", "--to", "2026-03-10T12:00:00Z", "--unix"})
                .out,
            "1772773200 1772859600\n1772859600 1772946000\n1772946000 1773028800\n"
            "1773028800 1773115200\n1773115200 1773201600\n");
  EXPECT_EQ(Windows({"--window", "day", "--timezone", "America/New_York", "--from",
                     "2026-03-06T12:00:00Z", "--to", "2026-03-10T12:00:00Z", "--unix", "--runs"})
                .out,
            "1772773200 1772946000 2\n1772946000 1773028800 1\n1773028800 1773201600 2\n");
  EXPECT_EQ(
      Windows({"--window", "hour", "--from", "2026-01-01", "--to", "2027-01-01", "--runs"}).out,
      "2026-01-01T00:00+00:00  2027-01-01T00:00+00:00  1h x 8760\n");
}

TEST(PolicyWindows, OfAPolicyOfAFile) {
  const std::filesystem::path file = std::filesystem::temp_directory_path() /
                                     ("weir_policy_test." + std::to_string(getpid()) + ".yaml");
  std::ofstream(file) << R"(
upstreams: [{name: up, kind: sandbox}]
models: [{id: m}]
policies:
  - {id: daily, unit: usd, limit: 5, window: day, timezone: Africa/Cairo}
  - {id: launch, unit: usd, limit: 5, window: campaign, starts_at: 2026-06-01, ends_at: 2026-07-01}
  - {id: ever, unit: usd, limit: 5, window: lifetime}
  - {id: slow, unit: requests, limit: 5, window: day, sliding: true}
  - {id: long, unit: context_tokens, limit: 5}
)";
  const auto of = [&](std::vector<std::string> words) {
    words.insert(words.end(), {"--config", file.string()});
    return Windows(words);
  };
  EXPECT_EQ(of({"daily", "--from", "2026-04-24", "--count", "1"}).out,
            "2026-04-24T01:00+03:00  2026-04-25T00:00+03:00  23h\n");
  EXPECT_EQ(of({"launch"}).out, "2026-06-01T00:00+00:00  2026-07-01T00:00+00:00  30d\n");
  EXPECT_EQ(of({"ever"}).out, "never begins anew\n");
  EXPECT_EQ(of({"slow"}).out, "slides: the last 1d, in steps of 24m\n");
  EXPECT_EQ(of({"long"}).out, "is of each request alone\n");
  const Outcome unknown = of({"dialy"});
  EXPECT_EQ(unknown.code, kExitFailed);
  EXPECT_THAT(unknown.err, HasSubstr("has no policy of that id"));
  EXPECT_EQ(of({"daily", "--timezone", "UTC"}).code, kExitUsage);
  EXPECT_EQ(Windows({"--config", file.string()}).code, kExitUsage);
  std::filesystem::remove(file);
}

TEST(PolicyWindows, WhatIsWrong_IsSaidWithTheFix) {
  const std::pair<std::vector<std::string>, const char*> cases[] = {
      {{"--timezone", "Europe/Berlim"}, "there is no time zone of that name"},
      {{"--anchor", "2026-01-31T09:00Z"}, "--anchor is a local time"},
      {{"--from", "yesterday"}, "--from is a time"},
      {{"--to", "2026-13-01"}, "--to is a time"},
      {{"--window", "year"}, "--window"},
      {{"--every", "0"}, "--every"},
      {{"--count", "0"}, "--count"}};
  for (const auto& [words, what] : cases) {
    const Outcome outcome = Windows(words);
    EXPECT_EQ(outcome.code, kExitUsage) << what;
    EXPECT_EQ(outcome.out, "");
    EXPECT_THAT(outcome.err, HasSubstr(what));
  }
}

}  // namespace
}  // namespace weir::cli
