#include "telemetry/log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string>
#include <thread>
#include <vector>

namespace weir::telemetry {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class Pipe {
 public:
  Pipe() { EXPECT_EQ(pipe(fds_.data()), 0); }
  ~Pipe() {
    CloseRead();
    CloseWrite();
  }
  int write_end() const { return fds_[1]; }
  void CloseRead() { Close(fds_[0]); }
  void CloseWrite() { Close(fds_[1]); }
  // What is in the pipe now.
  std::string Drain() {
    std::string text;
    std::array<char, 65536> buffer;
    pollfd ready{fds_[0], POLLIN, 0};
    while (poll(&ready, 1, 0) == 1 && (ready.revents & POLLIN) != 0) {
      const ssize_t n = read(fds_[0], buffer.data(), buffer.size());
      if (n <= 0) break;
      text.append(buffer.data(), static_cast<std::size_t>(n));
    }
    return text;
  }

 private:
  static void Close(int& fd) {
    if (fd >= 0) close(fd);
    fd = -1;
  }
  std::array<int, 2> fds_{};
};

ExchangeRecord Example() {
  ExchangeRecord record;
  record.request = RequestId{MakeId({1'767'225'599'000'000'000}, 1, 2)};
  record.key = KeyId{MakeId({1'700'000'000'000'000'000}, 3, 4)};
  record.started_at = {1'767'225'598'000'000'000};
  record.ending = EndingKind::kServed;
  record.status = 200;
  record.operation = "responses";
  record.model = "gpt-5.5";
  record.model_served = "gpt-5.5-2026";
  record.upstream = "main";
  record.attempts = 2;
  record.stream = true;
  record.usage = {.input_tokens = 100,
                  .cached_input_tokens = 40,
                  .output_tokens = 20,
                  .reasoning_tokens = 7,
                  .source = UsageSource::kProvider};
  record.held = {5000};
  record.charged = {4000};
  record.overrun = {1};
  record.total = Milliseconds(1000);
  record.upstream_time = Milliseconds(900);
  record.first_byte = Milliseconds(50);
  record.durable_time = Microseconds(1500);
  return record;
}

TEST(Log, AnExchangeLine_IsThisText) {
  const ExchangeRecord record = Example();
  std::string line;
  AppendExchangeLine(record, line);
  EXPECT_EQ(
      line,
      R"({"ts":"2025-12-31T23:59:59.000000Z","level":"info","msg":"exchange","request_id":"req_)" +
          ToString(record.request) + R"(","key_id":"key_)" + ToString(record.key) +
          R"(","operation":"responses","model":"gpt-5.5","model_served":"gpt-5.5-2026",)"
          R"("upstream":"main","attempts":2,"status":200,"ending":"served",)"
          R"("refusal":null,"stream":true,"sandbox":false,"input_tokens":100,)"
          R"("cached_tokens":40,"output_tokens":20,"reasoning_tokens":7,)"
          R"("usage_source":"provider","held_nano_usd":5000,"charged_nano_usd":4000,)"
          R"("overrun_nano_usd":1,"total_us":1000000,"upstream_us":900000,)"
          R"("first_byte_us":50000,"durable_us":1500,"overhead_us":100000})"
          "\n");
}

TEST(Log, AnExchangeWithAudio_SaysHowMuch) {
  ExchangeRecord record = Example();
  record.usage.audio_ms = 8'470;
  std::string line;
  AppendExchangeLine(record, line);
  EXPECT_THAT(line, HasSubstr(R"("reasoning_tokens":7,"audio_ms":8470,"usage_source")"));
}

TEST(Log, AnExchangeThatAWalletPaid_SaysWhatItPaid) {
  ExchangeRecord record = Example();
  record.wallet = {.unit = "quota_token",
                   .multiplier_ppm = 3'000'000,
                   .held = 20'000,
                   .charged = 15'600,
                   .overrun = 0,
                   .left = 84'400};
  std::string line;
  AppendExchangeLine(record, line);
  EXPECT_THAT(line, HasSubstr(R"("overrun_nano_usd":1,"wallet_unit":"quota_token",)"
                              R"("multiplier_ppm":3000000,"wallet_held":20000,)"
                              R"("wallet_charged":15600,"wallet_overrun":0,"wallet_left":84400,)"
                              R"("total_us")"));
}

TEST(ExchangeLine, WaitSessionAndChanges_AreToldWhenThereAreAny) {
  ExchangeRecord record;
  record.total = Milliseconds(10);
  record.upstream_time = Milliseconds(3);
  record.queue_time = Milliseconds(5);
  record.sticky = "escaped";
  record.changes = "model=a->b;simple, drop:\"x\"";
  std::string line;
  AppendExchangeLine(record, line);
  EXPECT_THAT(line, HasSubstr(R"("sticky":"escaped","changes":"model=a->b;simple, drop:\"x\"")"));
  EXPECT_THAT(line, HasSubstr(R"("queue_us":5000,"upstream_us":3000)"));
  EXPECT_THAT(line, HasSubstr(R"("overhead_us":2000})")) << "waiting for an account is not ours";
  line.clear();
  AppendExchangeLine(ExchangeRecord{}, line);
  for (const char* absent : {"sticky", "changes", "queue_us"}) {
    EXPECT_THAT(line, testing::Not(HasSubstr(absent)));
  }
}

TEST(ExchangeLine, WhatPoliciesSawAndSaid_IsToldWhenThereIsAny) {
  ExchangeRecord record = Example();
  record.attributes.Add(config::Dimension::kKey, "support-bot");
  record.attributes.Add(config::Dimension::kTeam, "support");
  record.attributes.Add(config::Dimension::kWorkflow, "say \"hi\"");
  record.action = "ticket-7";
  record.policy_refused = "team-month";
  record.policies_shadow = "new-cap, other";
  std::string line;
  AppendExchangeLine(record, line);
  EXPECT_THAT(line, HasSubstr(R"("attempts":2,"attributes":{"key":"support-bot","team":"support",)"
                              R"("workflow":"say \"hi\""},"action":"ticket-7",)"
                              R"("policy_refused":"team-month",)"
                              R"("policies_shadow":"new-cap, other","status":200)"));
  EXPECT_THAT(line, Not(HasSubstr("policy_degraded")));
}

TEST(ExchangeLine, TheLongestOfEveryText_Fits) {
  ExchangeRecord record;
  const std::string longest(1000, '\x01');  // each byte becomes six
  for (std::size_t i = 0; i < config::kDimensions; ++i) {
    record.attributes.Add(static_cast<config::Dimension>(i), longest);
  }
  record.operation = record.model = record.model_served = record.upstream = record.changes =
      record.action = record.policy_refused = record.policy_degraded = record.policies_shadow =
          longest;
  record.refusal = Refusal::kPolicyRequestExceedsBudget;
  record.held = record.charged = record.overrun = record.fallback_spend = {INT64_MIN};
  std::string line;
  AppendExchangeLine(record, line);
  EXPECT_GT(line.size(), std::size_t{26 * 6 * 256});
  EXPECT_EQ(line.back(), '\n');
}

TEST(Log, AnExchangeWithoutKey_SaysNull_AndNamesItsRefusal) {
  ExchangeRecord record;
  record.ending = EndingKind::kRefused;
  record.refusal = Refusal::kInvalidApiKey;
  record.status = 401;
  record.upstream_time = Milliseconds(5);  // longer than the total: clocks differ, never negative
  std::string line;
  AppendExchangeLine(record, line);
  EXPECT_THAT(line, HasSubstr(R"("request_id":null,"key_id":null,"operation":null,"model":null)"));
  EXPECT_THAT(line, HasSubstr(R"("ending":"refused","refusal":"InvalidApiKey")"));
  EXPECT_THAT(line, HasSubstr(R"("overhead_us":0})"));
}

TEST(Log, TheLevel_FollowsFromTheEnding) {
  struct Case {
    EndingKind ending;
    Refusal refusal;
    std::string_view level;
  };
  for (const Case& c : {Case{EndingKind::kServed, Refusal::kNone, "info"},
                        Case{EndingKind::kRefused, Refusal::kBudgetExceeded, "info"},
                        Case{EndingKind::kCallerGone, Refusal::kNone, "info"},
                        Case{EndingKind::kUpstreamFailed, Refusal::kUpstreamError, "warning"},
                        Case{EndingKind::kCut, Refusal::kNone, "warning"},
                        Case{EndingKind::kRefused, Refusal::kInternal, "error"},
                        Case{EndingKind::kRefused, Refusal::kLedgerUnavailable, "error"}}) {
    ExchangeRecord record;
    record.ending = c.ending;
    record.refusal = c.refusal;
    std::string line;
    AppendExchangeLine(record, line);
    EXPECT_THAT(line, HasSubstr("\"level\":\"" + std::string(c.level) + "\""));
  }
}

TEST(Log, Texts_AreEscapedSoThatALineStaysOneLine) {
  struct Case {
    std::string_view text;
    std::string_view json;
  };
  for (const Case& c :
       {Case{"plain", R"("plain")"}, Case{"a\"b\\c", R"("a\"b\\c")"},
        Case{"a\nb\r\x1b[31m\x7f", R"("a\u000ab\u000d\u001b[31m\u007f")"},
        Case{std::string_view("\0x", 2), R"("\u0000x")"}, Case{"\xC3\xA9", "\"\xC3\xA9\""},
        Case{"\xF0\x9F\x98\x80", "\"\xF0\x9F\x98\x80\""},
        Case{"\xC2\x9B", R"("\u009b")"},                            // a control character of C1
        Case{"\xE2\x80\xAE", R"("\u202e")"},                        // right-to-left override
        Case{"\xE2\x80\xA8", R"("\u2028")"},                        // line separator
        Case{"\xFF", R"("\ufffd")"},                                // never in UTF-8
        Case{"\xC0\x80", R"("\ufffd\ufffd")"},                      // overlong NUL
        Case{"\xED\xA0\x80", R"("\ufffd\ufffd\ufffd")"},            // a surrogate
        Case{"\xF4\x90\x80\x80", R"("\ufffd\ufffd\ufffd\ufffd")"},  // above U+10FFFF
        Case{"\xE2\x82", R"("\ufffd\ufffd")"}}) {                   // cut short
    std::string out;
    AppendJsonText(c.text, 256, out);
    EXPECT_EQ(out, c.json);
  }
}

TEST(Log, ALongText_IsCutBetweenCharacters) {
  std::string out;
  AppendJsonText("abcd", 4, out);
  EXPECT_EQ(out, "\"abcd\"");
  out.clear();
  AppendJsonText("abcde", 4, out);
  EXPECT_EQ(out, "\"abcd\xE2\x80\xA6\"");
  out.clear();
  AppendJsonText("abc\xC3\xA9", 4, out);  // the two bytes of the last letter do not fit
  EXPECT_EQ(out, "\"abc\xE2\x80\xA6\"");
}

TEST(Log, AHostileModelName_CannotForgeALine) {
  Pipe pipe;
  {
    Log log({.fd = pipe.write_end()});
    ExchangeRecord record = Example();
    record.model = "x\"}\n{\"level\":\"error\",\"msg\":\"forged\"}" + std::string(100'000, 'A');
    log.Exchange(std::move(record));
  }
  const std::string text = pipe.Drain();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
  EXPECT_THAT(text, HasSubstr(R"("model":"x\"}\u000a{\"level\")"));
  EXPECT_LT(text.size(), 1500U);
}

TEST(Log, Write_PutsFieldsOfEveryKind) {
  Pipe pipe;
  {
    Log log({.fd = pipe.write_end(), .now = [] { return Instant{1'500'000}; }});
    const std::string path = "/etc/weir.yaml";
    log.Write(Level::kWarning, "configuration reloaded",
              {{"path", path}, {"models", 5}, {"changed", true}, {"by", "signal"}});
    log.Write(Level::kDebug, "not written");
  }
  EXPECT_EQ(
      pipe.Drain(),
      R"({"ts":"1970-01-01T00:00:00.001500Z","level":"warning","msg":"configuration reloaded",)"
      R"("path":"/etc/weir.yaml","models":5,"changed":true,"by":"signal"})"
      "\n");
}

TEST(Log, Exchanges_CanBeTurnedOff) {
  Pipe pipe;
  {
    Log log({.fd = pipe.write_end(), .exchanges = false});
    log.Exchange(Example());
  }
  EXPECT_EQ(pipe.Drain(), "");
}

TEST(Log, Flush_ReturnsWhenEveryEarlierLineIsWritten) {
  Pipe pipe;
  Log log({.fd = pipe.write_end()});
  for (int i = 0; i < 50; ++i) log.Exchange(Example());
  log.Flush();
  const std::string text = pipe.Drain();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 50);
  EXPECT_EQ(log.dropped(), 0);
}

TEST(Log, LinesOfManyThreads_ArriveWholeAndInTheOrderOfEach) {
  const auto path = testing::TempDir() + "weir_log_test." + std::to_string(getpid());
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  ASSERT_GE(fd, 0);
  constexpr int kThreads = 4;
  constexpr int kEach = 500;
  {
    Log log({.fd = fd});
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&log, t] {
        for (int i = 0; i < kEach; ++i) log.Write(Level::kInfo, "n", {{"t", t}, {"i", i}});
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(log.dropped(), 0);
  }
  std::string text(1 << 20, '\0');
  text.resize(static_cast<std::size_t>(pread(fd, text.data(), text.size(), 0)));
  close(fd);
  unlink(path.c_str());
  std::array<int, kThreads> next{};
  std::size_t lines = 0;
  for (std::size_t at = 0; at < text.size(); ++lines) {
    const std::size_t end = text.find('\n', at);
    ASSERT_NE(end, std::string::npos);
    int t = -1;
    int i = -1;
    const std::string line = text.substr(at, end - at);
    ASSERT_EQ(std::sscanf(line.c_str() + line.find("\"t\":"), "\"t\":%d,\"i\":%d}", &t, &i), 2);
    EXPECT_EQ(i, next[static_cast<std::size_t>(t)]++);
    at = end + 1;
  }
  EXPECT_EQ(lines, static_cast<std::size_t>(kThreads * kEach));
}

// Places of the queue are used again: nothing of what was there before may show.
TEST(Log, LinesAndExchanges_InTurns_AreEachTheirOwn) {
  Pipe pipe;
  std::string expected;
  {
    Log log({.fd = pipe.write_end(), .queue_lines_max = 2, .now = [] { return Instant{}; }});
    for (int i = 0; i < 9; ++i) {
      ExchangeRecord record = Example();
      record.model = std::string(static_cast<std::size_t>(i * 5), 'm');
      if (i % 3 == 0) {
        log.Write(Level::kInfo, "n", {{"i", i}});
        expected += R"({"ts":"1970-01-01T00:00:00.000000Z","level":"info","msg":"n","i":)" +
                    std::to_string(i) + "}\n";
      } else {
        log.Exchange(record);
        AppendExchangeLine(record, expected);
      }
      log.Flush();
    }
  }
  EXPECT_EQ(pipe.Drain(), expected);
}

TEST(Log, TheLongestExchangeLine_FitsWhereLinesAreMade) {
  ExchangeRecord record;
  record.request = RequestId{{UINT64_MAX, UINT64_MAX}};
  record.key = KeyId{{UINT64_MAX, UINT64_MAX}};
  record.ending = EndingKind::kUpstreamFailed;
  record.refusal = Refusal::kLedgerUnavailable;
  record.status = record.attempts = INT32_MIN;
  record.operation = record.model = record.model_served = record.upstream =
      std::string(1000, '\xFF');
  record.usage = {INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN, UsageSource::kCheckpoint};
  record.held = record.charged = record.overrun = {INT64_MIN};
  record.wallet = {.unit = "quota_token",
                   .multiplier_ppm = INT64_MIN,
                   .held = INT64_MIN,
                   .charged = INT64_MIN,
                   .overrun = INT64_MIN,
                   .left = INT64_MIN};
  record.first_byte = record.durable_time = {INT64_MIN};
  std::string line;
  AppendExchangeLine(record, line);  // the sanitizer watches the bounds
  EXPECT_GT(line.size(), 4 * 6 * kTextBytesMax);
  EXPECT_THAT(line, HasSubstr("\"held_nano_usd\":-9223372036854775808,"));
  EXPECT_TRUE(line.ends_with("}\n"));
}

// A log whose reader stopped must cost callers nothing, and the end of the program at most a
// second.
TEST(Log, AReaderThatDoesNotRead_LosesLinesAndBlocksNobody) {
  Pipe pipe;
  {
    Log log({.fd = pipe.write_end(), .queue_lines_max = 8});
    for (int i = 0; i < 5000; ++i) log.Exchange(Example());
    EXPECT_GT(log.dropped(), 0);
  }
  const std::string text = pipe.Drain();
  EXPECT_LE(text.size(), 65536U);
}

TEST(Log, DroppedLines_AreReportedInTheLogItself) {
  Pipe pipe;
  Log log({.fd = pipe.write_end(), .queue_lines_max = 2});
  while (log.dropped() == 0) log.Exchange(Example());
  log.Flush();
  log.Write(Level::kInfo, "next");
  log.Flush();
  EXPECT_THAT(pipe.Drain(), HasSubstr("\"msg\":\"log lines were dropped\",\"dropped_lines\":"));
}

TEST(Log, AReaderThatWentAway_IsCountedAndNotASignal) {
  Pipe pipe;
  pipe.CloseRead();
  Log log({.fd = pipe.write_end()});
  log.Exchange(Example());
  log.Flush();
  EXPECT_EQ(log.dropped(), 1);
}

TEST(FormatInstant, KnowsLeapYearsAndTimesBefore1970) {
  struct Case {
    std::int64_t ns;
    std::string_view text;
  };
  for (const Case& c :
       {Case{0, "1970-01-01T00:00:00.000000Z"}, Case{-1, "1969-12-31T23:59:59.999999Z"},
        Case{951'782'400LL * 1'000'000'000, "2000-02-29T00:00:00.000000Z"},
        Case{1'709'251'199'999'999'999, "2024-02-29T23:59:59.999999Z"},
        Case{4'107'542'400LL * 1'000'000'000, "2100-03-01T00:00:00.000000Z"}}) {
    EXPECT_EQ(FormatInstant({c.ns}), c.text);
  }
}

TEST(Ring, Full_IsAnAnswer_AndOrderIsKept) {
  Ring<int> ring(4);
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < 4; ++i) {
      EXPECT_TRUE(ring.Push([&](int& place) { place = i; }));
    }
    EXPECT_FALSE(ring.Push([](int&) { ADD_FAILURE() << "filled although full"; }));
    int value = -1;
    for (int i = 0; i < 4; ++i) {
      EXPECT_TRUE(ring.Pop([&](int& place) { value = place; }));
      EXPECT_EQ(value, i);
    }
    EXPECT_FALSE(ring.Pop([](int&) { ADD_FAILURE() << "taken although empty"; }));
  }
  EXPECT_EQ(ring.claimed(), 40U);
}

}  // namespace
}  // namespace weir::telemetry
