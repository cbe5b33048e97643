// The mock's handler over a fake connection: every fault is set through the JSON of its control
// endpoint and seen from the caller's side, as bytes, cuts and waits. Time moves only by sleeping.
#include "cli/mock_upstream.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "cli/mock_fault.h"

namespace weir::cli {
namespace {

using gateway::HeaderView;
using gateway::Interrupt;
using gateway::Interruption;
using gateway::ReplyHead;
using gateway::RequestHead;

class FakeRuntime final : public Runtime {
 public:
  Instant WallNow() override { return {1'795'173'844'000'000'000 + slept_ns}; }
  Tick Now() override { return {slept_ns}; }
  Task<void> Sleep(Duration duration) override {
    slept_ns += duration.ns;
    ++sleeps;
    co_return;
  }
  Random& Entropy() override { return random_; }

  std::int64_t slept_ns = 0;
  int sleeps = 0;

 private:
  SeededRandom random_{1};
};

// What reached the caller, and when, on the fake clock.
class FakeDownstream final : public gateway::Downstream {
 public:
  FakeDownstream(FakeRuntime& runtime, std::string body)
      : runtime_(runtime), body_(std::move(body)) {}

  Task<Result<std::string_view>> ReadBody(std::int64_t bytes_max) override {
    if (static_cast<std::int64_t>(body_.size()) > bytes_max) {
      co_return Fail(ErrorCode::kTooLarge, ErrorSource::kCaller, "too large");
    }
    co_return std::string_view(body_);
  }
  Task<bool> Reply(ReplyHead reply, std::string_view body) override {
    Keep(std::move(reply));
    in_one = true;
    complete = co_await Send(body);
    co_return complete;
  }
  void Start(ReplyHead reply) override { Keep(std::move(reply)); }
  Task<bool> Send(std::string_view piece) override {
    if (static_cast<int>(writes.size()) == gone_after_writes) co_return false;
    writes.emplace_back(piece);
    sent_at.push_back(runtime_.slept_ns);
    bytes += piece;
    co_return true;
  }
  Task<bool> End(std::string_view last) override {
    bytes += last;
    complete = true;
    co_return true;
  }
  void Cut() override { cut = true; }
  bool started() const override { return !writes.empty(); }
  void WatchHangUp(Interrupt& to) override { interrupt = &to; }

  int status = 0;
  std::string content_type;
  std::string headers;
  std::string bytes;
  std::vector<std::string> writes;
  std::vector<std::int64_t> sent_at;
  bool in_one = false;
  bool complete = false;
  bool cut = false;
  int gone_after_writes = -1;
  Interrupt* interrupt = nullptr;

 private:
  void Keep(ReplyHead reply) {
    status = reply.status;
    content_type = reply.content_type;
    headers = std::move(reply.headers);
  }
  FakeRuntime& runtime_;
  std::string body_;
};

struct Call {
  std::string method = "POST";
  std::string path = "/v1/responses";
  std::string body = R"({"model":"m","stream":true,"input":"Count from 1 to 3"})";
  std::string key = "sk-account-0001";
  bool upgrade = false;
};

constexpr const char* kJson = R"({"model":"m","input":"ECHO:hello"})";
constexpr const char* kChat =
    R"({"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"Count from 1 to 3"}]})";

class MockUpstreamTest : public testing::Test {
 protected:
  // Runs one request; the fake is returned even when the request still hangs.
  std::unique_ptr<FakeDownstream> Make(Call call, int gone_after_writes = -1) {
    auto& held = calls_.emplace_back(std::make_unique<Held>());
    held->call = std::move(call);
    held->authorization = "Bearer " + held->call.key;
    held->head.method = held->call.method;
    held->head.path = held->call.path;
    held->head.headers = {{"Authorization", held->authorization},
                          {"X-Client-Request-Id", "client-7"},
                          {"X-Odd", "\xFF\"quote"}};
    if (held->call.upgrade) held->head.headers.push_back({"Upgrade", "websocket"});
    auto fake = std::make_unique<FakeDownstream>(runtime_, held->call.body);
    fake->gone_after_writes = gone_after_writes;
    Spawn(Run(held->head, *fake, held->done));
    held_ = held.get();
    return fake;
  }
  bool last_done() const { return held_->done; }

  void Set(std::string_view json) {
    const auto set = state_.SetFault(json);
    ASSERT_TRUE(set.has_value()) << set.error().detail;
  }
  void Fault(std::string_view fault) { Set(fmt::format(R"({{"fault":{}}})", fault)); }

  Task<void> Run(const RequestHead& head, gateway::Downstream& downstream, bool& done) {
    co_await ServeMock(head, downstream, runtime_, state_);
    done = true;
  }

  struct Held {
    Call call;
    std::string authorization;
    RequestHead head;
    bool done = false;
  };
  FakeRuntime runtime_;
  MockState state_;
  std::vector<std::unique_ptr<Held>> calls_;
  Held* held_ = nullptr;
};

std::string At(std::string_view text, std::string_view pointer) {
  boost::json::error_code failed;
  const auto value = boost::json::parse({text.data(), text.size()}, failed);
  EXPECT_FALSE(failed) << text;
  const auto* found = value.find_pointer({pointer.data(), pointer.size()}, failed);
  if (found == nullptr) return "(absent)";
  return found->is_string() ? std::string(found->get_string()) : boost::json::serialize(*found);
}

// ---- without faults ----

TEST_F(MockUpstreamTest, Json_IsOneReply) {
  const auto fake = Make({.body = kJson});
  EXPECT_TRUE(last_done());
  EXPECT_TRUE(fake->in_one && fake->complete);
  EXPECT_EQ(fake->status, 200);
  EXPECT_EQ(fake->content_type, "application/json");
  EXPECT_NE(fake->headers.find("x-request-id: req_"), std::string::npos);
  EXPECT_EQ(At(fake->bytes, "/output/0/content/0/text"), "hello");
}

TEST_F(MockUpstreamTest, Stream_IsOneWritePerEvent) {
  const auto fake = Make({});
  EXPECT_TRUE(fake->complete);
  EXPECT_EQ(fake->content_type, "text/event-stream; charset=utf-8");
  EXPECT_EQ(fake->writes.size(), 11u);
  for (const auto& write : fake->writes) EXPECT_TRUE(write.ends_with("\n\n"));
  EXPECT_EQ(runtime_.sleeps, 0);
}

TEST_F(MockUpstreamTest, Paths_WithAndWithoutPrefix) {
  EXPECT_EQ(Make({.method = "GET", .path = "/openai/v1/models", .body = ""})->status, 200);
  EXPECT_EQ(Make({.method = "GET", .path = "/v1/models/x", .body = ""})->status, 200);
  EXPECT_EQ(Make({.path = "/v1/audio/transcriptions", .body = "\xFF"})->status, 200);
  EXPECT_EQ(Make({.path = "/v1/embeddings", .body = R"({"model":"e","input":"a"})"})->status, 200);
  EXPECT_EQ(Make({.path = "/v1/images"})->status, 404);
  EXPECT_EQ(Make({.method = "GET"})->status, 405);
  EXPECT_EQ(Make({.method = "GET", .upgrade = true})->status, 426);
  EXPECT_EQ(Make({.body = "{"})->status, 400);
  EXPECT_EQ(Make({.body = std::string((64 << 20) + 1, ' ')})->status, 413);
}

TEST_F(MockUpstreamTest, CallerWhoLeaves_CountsAsAborted) {
  const auto fake = Make({}, 3);
  EXPECT_TRUE(last_done());
  EXPECT_TRUE(fake->cut);
  EXPECT_EQ(At(state_.Stats(), "/aborted"), "1");
  EXPECT_EQ(At(state_.Stats(), "/open_streams"), "0");
}

// ---- the control endpoint ----

TEST_F(MockUpstreamTest, Control_SetListClear) {
  EXPECT_EQ(Make({.path = "/_control", .body = R"({"times":2,"fault":{"status":503}})"})->status,
            200);
  const auto list = Make({.method = "GET", .path = "/_control", .body = ""});
  EXPECT_EQ(At(list->bytes, "/faults/0/times_left"), "2");
  EXPECT_EQ(At(list->bytes, "/faults/0/rule/fault/status"), "503");
  EXPECT_EQ(Make({})->status, 503);
  EXPECT_EQ(At(state_.ListFaults(), "/faults/0/hits"), "1");
  EXPECT_EQ(Make({})->status, 503);
  EXPECT_EQ(state_.ListFaults(), R"({"faults":[]})");
  EXPECT_EQ(Make({})->status, 200);
  Fault(R"({"status":500})");
  EXPECT_EQ(Make({})->status, 500);
  EXPECT_EQ(Make({})->status, 500) << "without times it stays";
  EXPECT_EQ(Make({.method = "DELETE", .path = "/_control", .body = ""})->status, 200);
  EXPECT_EQ(Make({})->status, 200);
  EXPECT_EQ(Make({.method = "PUT", .path = "/_control", .body = ""})->status, 404);
  EXPECT_EQ(Make({.method = "POST", .path = "/_stats", .body = ""})->status, 404);
  EXPECT_EQ(Make({.path = "/_control", .body = std::string((64 << 10) + 1, ' ')})->status, 400);
}

TEST_F(MockUpstreamTest, Match_ByKeyModelPathAndStream) {
  Set(R"({"match":{"authorization_suffix":"0002"},"fault":{"status":401}})");
  Set(R"({"match":{"model":"other"},"fault":{"status":404}})");
  Set(R"({"match":{"path":"/chat/completions"},"fault":{"status":409}})");
  Set(R"({"match":{"stream":false},"fault":{"status":503}})");
  EXPECT_EQ(Make({})->status, 200);
  EXPECT_EQ(Make({.key = "sk-0002"})->status, 401);
  EXPECT_EQ(Make({.body = R"({"model":"other","input":"x","stream":true})"})->status, 404);
  EXPECT_EQ(Make({.path = "/v1/chat/completions", .body = kChat})->status, 409);
  EXPECT_EQ(Make({.body = kJson})->status, 503);
}

TEST_F(MockUpstreamTest, FirstRuleThatFits_Wins) {
  Set(R"({"times":1,"fault":{"status":429}})");
  Set(R"({"times":1,"fault":{"status":500}})");
  EXPECT_EQ(Make({})->status, 429);
  EXPECT_EQ(Make({})->status, 500);
  EXPECT_EQ(Make({})->status, 200);
}

TEST_F(MockUpstreamTest, BadControlBodies_NameTheField) {
  struct Case {
    const char* body;
    const char* sentence;
  };
  const Case cases[] = {
      {"{", "the body is not valid JSON"},
      {"[]", "the body must be a JSON object"},
      {"{}", "fault must be an object"},
      {R"({"fault":1})", "fault must be an object"},
      {R"({"fault":{},"match":1})", "match must be an object"},
      {R"({"fault":{},"time":1})", "time is not a field here"},
      {R"({"fault":{},"times":0})", "times must be an integer from 1 to"},
      {R"({"fault":{},"times":99999999999999999999})", "times must be an integer"},
      {R"({"fault":{},"match":{"key":"x"}})", "match.key is not a field here"},
      {R"({"fault":{},"match":{"stream":1}})", "match.stream must be true or false"},
      {R"({"fault":{"status":"429"}})", "fault.status must be an integer from 200 to 599"},
      {R"({"fault":{"status":100}})", "fault.status must be"},
      {R"({"fault":{"latency":5}})", "fault.latency is not a field here"},
      {R"({"fault":{"latency_ms":-1}})", "fault.latency_ms must be"},
      {R"({"fault":{"latency_ms":1.5}})", "fault.latency_ms must be"},
      {R"({"fault":{"hang":"forever"}})",
       "fault.hang must be one of before_head, after_head, mid_stream"},
      {R"({"fault":{"body":"teapot"}})", "fault.body must be one of rate_limit"},
      {R"({"fault":{"malformed_sse":"x"}})", "fault.malformed_sse must be one of"},
      {R"({"fault":{"retry_after":"1\r\nx: y"}})", "fault.retry_after must be a text that fits"},
      {R"({"fault":{"headers":{"a b":"c"}}})", "fault.headers must be"},
      {R"({"fault":{"headers":{"a":"\n"}}})", "fault.headers must be"},
      {R"({"fault":{"headers":[]}})", "fault.headers must be"},
      {R"({"fault":{"usage":{"tokens":1}}})", "fault.usage must be made of input_tokens"},
      {R"({"fault":{"crlf":"yes"}})", "fault.crlf must be true or false"},
  };
  for (const auto& c : cases) {
    const auto set = state_.SetFault(c.body);
    ASSERT_FALSE(set.has_value()) << c.body;
    EXPECT_TRUE(set.error().detail.starts_with(c.sentence)) << set.error().detail;
    const auto fake = Make({.path = "/_control", .body = c.body});
    EXPECT_EQ(fake->status, 400);
    EXPECT_TRUE(At(fake->bytes, "/error").starts_with(c.sentence));
  }
  EXPECT_EQ(state_.ListFaults(), R"({"faults":[]})");
}

TEST_F(MockUpstreamTest, Faults_AreBounded) {
  for (int i = 0; i < 1000; ++i) Fault("{}");
  EXPECT_FALSE(state_.SetFault(R"({"fault":{}})").has_value());
}

// ---- errors instead of answers ----

TEST_F(MockUpstreamTest, ErrorBodies_Table) {
  struct Case {
    const char* fault;
    int status;
    const char* type;
    const char* code;
  };
  const Case cases[] = {
      {R"({"status":400})", 400, "invalid_request_error", "invalid_value"},
      {R"({"status":401})", 401, "invalid_request_error", "invalid_api_key"},
      {R"({"status":404})", 404, "invalid_request_error", "model_not_found"},
      {R"({"status":429})", 429, "requests", "rate_limit_exceeded"},
      {R"({"status":429,"body":"insufficient_quota"})", 429, "insufficient_quota",
       "insufficient_quota"},
      {R"({"status":429,"body":"usage_limit_reached"})", 429, "usage_limit_reached", "null"},
      {R"({"status":500})", 500, "server_error", "null"},
      {R"({"status":529})", 529, "service_unavailable_error", "server_is_overloaded"},
      {R"({"status":400,"body":"context_length_exceeded"})", 400, "invalid_request_error",
       "context_length_exceeded"},
  };
  for (const auto& c : cases) {
    state_.ClearFaults();
    Fault(c.fault);
    const auto fake = Make({});
    EXPECT_EQ(fake->status, c.status) << c.fault;
    EXPECT_EQ(fake->content_type, "application/json");
    EXPECT_EQ(At(fake->bytes, "/error/type"), c.type) << c.fault;
    EXPECT_EQ(At(fake->bytes, "/error/code"), c.code) << c.fault;
    EXPECT_TRUE(fake->in_one && fake->complete);
  }
}

TEST_F(MockUpstreamTest, RetryHintsAndResets) {
  Fault(
      R"({"status":429,"body":"usage_limit_reached","retry_after":"Wed, 21 Oct 2026 07:28:00 GMT",)"
      R"("retry_after_ms":1500,"resets_in_seconds":60,"resets_at_in":90,"headers":{"x-codex-primary-used-percent":"100"}})");
  const auto fake = Make({});
  EXPECT_NE(fake->headers.find("retry-after: Wed, 21 Oct 2026 07:28:00 GMT\r\n"),
            std::string::npos);
  EXPECT_NE(fake->headers.find("retry-after-ms: 1500\r\n"), std::string::npos);
  EXPECT_NE(fake->headers.find("x-codex-primary-used-percent: 100\r\n"), std::string::npos);
  EXPECT_EQ(At(fake->bytes, "/error/resets_in_seconds"), "60");
  EXPECT_EQ(At(fake->bytes, "/error/resets_at"), "1795173934");
  state_.ClearFaults();
  Fault(R"({"status":429})");
  EXPECT_EQ(Make({})->headers.find("retry-after"), std::string::npos);
  state_.ClearFaults();
  Fault(R"({"status":429,"body":"usage_limit_reached"})");
  EXPECT_EQ(At(Make({})->bytes, "/error/resets_in_seconds"), "3600");
  state_.ClearFaults();
  Fault(R"({"status":429,"body":"usage_limit_reached","resets_at_in":5})");
  EXPECT_EQ(At(Make({})->bytes, "/error/resets_in_seconds"), "(absent)") << "resets_at only";
}

TEST_F(MockUpstreamTest, BodiesThatAreNotJson) {
  Fault(R"({"status":502,"body":"html"})");
  const auto html = Make({});
  EXPECT_EQ(html->content_type, "text/html");
  EXPECT_TRUE(html->bytes.starts_with("<html>"));
  state_.ClearFaults();
  Fault(R"({"status":504,"body":"not_json"})");
  EXPECT_EQ(Make({})->content_type, "text/plain");
  state_.ClearFaults();
  Fault(R"({"status":302,"headers":{"location":"http://127.0.0.1:1/"}})");
  const auto redirect = Make({});
  EXPECT_EQ(redirect->status, 302);
  EXPECT_EQ(redirect->bytes, "");
  EXPECT_TRUE(redirect->complete);
  state_.ClearFaults();
  Fault(R"({"body_text":"{\"half\":","content_type":"application/json; charset=x"})");
  const auto half = Make({});
  EXPECT_EQ(half->status, 200);
  EXPECT_EQ(half->bytes, "{\"half\":");
  EXPECT_EQ(half->content_type, "application/json; charset=x");
  state_.ClearFaults();
  Fault(R"({"content_encoding":"gzip"})");
  EXPECT_NE(Make({})->headers.find("content-encoding: gzip\r\n"), std::string::npos);
}

// ---- time ----

TEST_F(MockUpstreamTest, Delays_AreWhereTheyWereAskedFor) {
  Fault(R"({"latency_ms":100,"first_event_delay_ms":30,"event_delay_ms":5})");
  const auto fake = Make({});
  ASSERT_EQ(fake->sent_at.size(), 11u);
  EXPECT_EQ(fake->sent_at[0], 130'000'000);
  EXPECT_EQ(fake->sent_at[1], 135'000'000);
  EXPECT_EQ(fake->sent_at[10], 180'000'000);
  EXPECT_TRUE(fake->complete);
}

TEST_F(MockUpstreamTest, Slowly_PausesWithoutAFault) {
  const auto fake =
      Make({.body = R"({"model":"m","stream":true,"input":"Count from 1 to 3 slowly"})"});
  EXPECT_EQ(fake->sent_at.back(), 10 * 200'000'000LL);
}

TEST_F(MockUpstreamTest, Drip_IsThatSlow) {
  Fault(R"({"drip_bytes_per_second":1,"end_at_byte":5})");
  const auto fake = Make({});
  EXPECT_EQ(fake->writes.size(), 5u);
  EXPECT_EQ(fake->sent_at.back(), 5'000'000'000);
  EXPECT_EQ(fake->bytes, "event");
}

TEST_F(MockUpstreamTest, HangBeforeHead_SendsNothingUntilTheCallerLeaves) {
  Fault(R"({"hang":"before_head"})");
  const auto fake = Make({});
  EXPECT_FALSE(last_done());
  EXPECT_TRUE(fake->writes.empty());
  EXPECT_EQ(At(state_.Stats(), "/open_streams"), "1");
  ASSERT_NE(fake->interrupt, nullptr);
  fake->interrupt->Fire(Interruption::kCallerGone);
  EXPECT_TRUE(last_done());
  EXPECT_TRUE(fake->cut);
  EXPECT_EQ(At(state_.Stats(), "/open_streams"), "0");
  EXPECT_EQ(At(state_.Stats(), "/aborted"), "1");
}

TEST_F(MockUpstreamTest, HangAfterHead_SendsOneHarmlessByte) {
  Fault(R"({"hang":"after_head"})");
  const auto stream = Make({});
  EXPECT_EQ(stream->bytes, "\n");
  EXPECT_FALSE(last_done());
  stream->interrupt->Fire(Interruption::kCallerGone);
  EXPECT_TRUE(last_done());
  const auto json = Make({.body = kJson});
  EXPECT_EQ(json->bytes, "\n");
  json->interrupt->Fire(Interruption::kDrain);
  EXPECT_TRUE(json->cut);
}

TEST_F(MockUpstreamTest, HangMidStream_StopsAtHalf) {
  Fault(R"({"hang":"mid_stream"})");
  const auto stream = Make({});
  EXPECT_EQ(stream->writes.size(), 5u);
  stream->interrupt->Fire(Interruption::kCallerGone);
  const auto json = Make({.body = kJson});
  EXPECT_EQ(json->writes.size(), 1u);
  EXPECT_GT(json->bytes.size(), 100u);
  json->interrupt->Fire(Interruption::kCallerGone);
}

TEST_F(MockUpstreamTest, HangWithATime_GoesOnAfterIt) {
  for (const auto* where : {"before_head", "after_head", "mid_stream"}) {
    state_.ClearFaults();
    Fault(fmt::format(R"({{"hang":"{}","hang_ms":2500}})", where));
    const std::int64_t before = runtime_.slept_ns;
    const auto fake = Make({.body = kJson});
    EXPECT_TRUE(last_done() && fake->complete) << where;
    EXPECT_EQ(runtime_.slept_ns - before, 2'500'000'000) << where;
    EXPECT_EQ(At(fake->bytes, "/output/0/content/0/text"), "hello");
  }
}

// ---- where the bytes end ----

TEST_F(MockUpstreamTest, ResetAtByte_CutsThere) {
  const std::string whole = Make({})->bytes;
  for (const std::size_t at : {std::size_t{0}, std::size_t{1}, std::size_t{700}, whole.size()}) {
    state_.ClearFaults();
    Fault(fmt::format(R"({{"reset_at_byte":{}}})", at));
    const auto fake = Make({});
    EXPECT_TRUE(fake->cut) << at;
    EXPECT_FALSE(fake->complete) << at;
    EXPECT_EQ(fake->bytes, whole.substr(0, at));
  }
  const auto json = Make({.body = kJson});
  EXPECT_TRUE(json->cut && !json->in_one);
}

TEST_F(MockUpstreamTest, EndAtByte_EndsCleanlyThere) {
  Fault(R"({"end_at_byte":40})");
  const auto fake = Make({.body = kJson});
  EXPECT_TRUE(fake->complete && !fake->cut);
  EXPECT_EQ(fake->bytes.size(), 40u);
}

TEST_F(MockUpstreamTest, ChunkBytes_SplitsEveryWrite) {
  const std::string whole = Make({})->bytes;
  Fault(R"({"chunk_bytes":7})");
  const auto fake = Make({});
  for (const auto& write : fake->writes) EXPECT_LE(write.size(), 7u);
  EXPECT_EQ(fake->bytes.size(), whole.size());
  EXPECT_TRUE(fake->complete);
}

TEST_F(MockUpstreamTest, Framing_ContradictsItself) {
  Fault(R"({"framing":"two_content_lengths"})");
  const auto two = Make({.body = kJson});
  EXPECT_TRUE(two->in_one);
  EXPECT_NE(two->headers.find(fmt::format("content-length: {}\r\n", two->bytes.size() + 7)),
            std::string::npos);
  state_.ClearFaults();
  Fault(R"({"framing":"content_length_and_chunked"})");
  const auto both = Make({.body = kJson});
  EXPECT_FALSE(both->in_one);
  EXPECT_NE(both->headers.find("content-length: 7\r\n"), std::string::npos);
}

// ---- what the bytes say ----

TEST_F(MockUpstreamTest, MissingUsage_InBothDialects) {
  Fault(R"({"missing_usage":true})");
  EXPECT_EQ(Make({})->bytes.find("input_tokens"), std::string::npos);
  EXPECT_EQ(Make({.path = "/v1/chat/completions", .body = kChat})->bytes.find("usage"),
            std::string::npos);
}

TEST_F(MockUpstreamTest, Usage_SaysWhatItIsTold) {
  Fault(R"({"usage":{"input_tokens":-5,"output_tokens":9223372036854775807,"total_tokens":"x"}})");
  const auto responses = Make({.body = kJson});
  EXPECT_EQ(At(responses->bytes, "/usage/input_tokens"), "-5");
  EXPECT_EQ(At(responses->bytes, "/usage/output_tokens"), "9223372036854775807");
  EXPECT_EQ(At(responses->bytes, "/usage/total_tokens"), "x");
  const auto chat = Make({.path = "/v1/chat/completions", .body = kChat});
  EXPECT_NE(chat->bytes.find(R"("prompt_tokens":-5,)"), std::string::npos);
}

TEST_F(MockUpstreamTest, Crlf_ChangesOnlyLineEnds) {
  std::string plain = Make({})->bytes;
  Fault(R"({"crlf":true})");
  std::string crlf = Make({})->bytes;
  EXPECT_NE(crlf.find("\r\n\r\n"), std::string::npos);
  std::erase(crlf, '\r');
  EXPECT_EQ(crlf, plain);
}

TEST_F(MockUpstreamTest, TerminalEvents_MissingOrTwice) {
  Fault(R"({"no_terminal_event":true})");
  const auto none = Make({});
  EXPECT_EQ(none->bytes.find("response.completed"), std::string::npos);
  EXPECT_TRUE(none->complete) << "a clean end";
  const auto chat = Make({.path = "/v1/chat/completions", .body = kChat});
  EXPECT_EQ(chat->bytes.find("[DONE]"), std::string::npos);
  EXPECT_EQ(chat->bytes.find("\"stop\""), std::string::npos);
  state_.ClearFaults();
  Fault(R"({"duplicate_terminal":true})");
  const auto twice = Make({});
  EXPECT_EQ(twice->writes.size(), 12u);
  EXPECT_EQ(twice->writes[10], twice->writes[11]);
}

TEST_F(MockUpstreamTest, ErrorEvent_EndsTheStream) {
  Fault(R"({"error_event":"server_error"})");
  const auto responses = Make({});
  EXPECT_EQ(responses->writes.size(), 6u);
  EXPECT_TRUE(responses->writes.back().starts_with(
      "event: error\ndata: {\"type\":\"error\",\"sequence_number\":5,\"code\":\"server_error\","));
  EXPECT_TRUE(responses->complete);
  const auto chat = Make({.path = "/v1/chat/completions", .body = kChat});
  EXPECT_TRUE(chat->writes.back().starts_with("data: {\"error\":{\"message\":"));
  state_.ClearFaults();
  Fault(
      R"({"error_event":"usage_limit_reached","error_event_as":"response.failed","error_after_events":2})");
  const auto failed = Make({});
  ASSERT_EQ(failed->writes.size(), 3u);
  const auto& event = failed->writes.back();
  const std::string data = event.substr(event.find('{'));
  EXPECT_EQ(At(data, "/type"), "response.failed");
  EXPECT_EQ(At(data, "/sequence_number"), "2");
  EXPECT_EQ(At(data, "/response/status"), "failed");
  EXPECT_EQ(At(data, "/response/error/code"), "usage_limit_reached");
  state_.ClearFaults();
  Fault(R"({"error_event":"usage_limit_reached","resets_in_seconds":60})");
  EXPECT_NE(
      Make({.path = "/v1/chat/completions", .body = kChat})->bytes.find("\"resets_in_seconds\":60"),
      std::string::npos);
}

TEST_F(MockUpstreamTest, MalformedSse_Table) {
  struct Case {
    const char* kind;
    const char* sign;
  };
  const Case cases[] = {{"no_blank_line", "}\nevent: "},
                        {"bad_field", "dat: what"},
                        {"cr_only", "}\r\r"},
                        {"bom",
                         "\xEF\xBB\xBF"
                         "event"},
                        {"bad_json", "\n\n"},
                        {"bad_utf8", "\xC3\x28\xFF"},
                        {"huge_event", "\"padding\":\"xxx"}};
  const std::string whole = Make({})->bytes;
  for (const auto& c : cases) {
    state_.ClearFaults();
    Fault(fmt::format(R"({{"malformed_sse":"{}"}})", c.kind));
    const auto fake = Make({});
    EXPECT_NE(fake->bytes, whole) << c.kind;
    EXPECT_NE(fake->bytes.find(c.sign), std::string::npos) << c.kind;
    EXPECT_EQ(fake->writes.size(), 11u);
  }
}

TEST_F(MockUpstreamTest, CommentsAndPadding) {
  Fault(R"({"comments":true,"pad_bytes":1000})");
  const auto stream = Make({});
  EXPECT_TRUE(stream->bytes.starts_with(": xxx"));
  EXPECT_TRUE(stream->writes[1].starts_with(": ping\n\nevent: "));
  const auto json = Make({.body = kJson});
  EXPECT_EQ(json->bytes.substr(0, 1001), std::string(1000, ' ') + "{");
}

// ---- stats and the log ----

TEST_F(MockUpstreamTest, Stats_ShowRequestsButNoKeys) {
  Make({.key = "sk-very-secret-0007"});
  Make({.path = "/v1/chat/completions", .body = kChat});
  const auto stats = Make({.method = "GET", .path = "/_stats", .body = ""})->bytes;
  EXPECT_EQ(At(stats, "/requests"), "2");
  EXPECT_EQ(At(stats, "/by_path/~1responses"), "1");
  EXPECT_EQ(At(stats, "/by_path/~1chat~1completions"), "1");
  EXPECT_EQ(At(stats, "/last/0/path"), "/v1/chat/completions");
  EXPECT_EQ(At(stats, "/last/0/body"), kChat);
  EXPECT_EQ(At(stats, "/last/1/headers/0"), R"(["Authorization","0007"])");
  EXPECT_EQ(At(stats, "/last/1/headers/2/1"), "?\"quote");
  EXPECT_EQ(stats.find("secret"), std::string::npos);
  for (int i = 0; i < 200; ++i) Make({.body = "not json \xFF"});
  const auto later = state_.Stats();
  EXPECT_EQ(At(later, "/last/63/n"), "139");
  EXPECT_EQ(At(later, "/last/64"), "(absent)");
  EXPECT_EQ(At(later, "/last/0/body"), "null");
}

TEST_F(MockUpstreamTest, Log_SaysWhatWasSent) {
  const std::string path = testing::TempDir() + fmt::format("mock_log_{}.jsonl", ::getpid());
  std::remove(path.c_str());
  ASSERT_TRUE(state_.OpenLog(path).has_value());
  const auto whole = Make({});
  Make({}, 4);
  Set(R"({"times":1,"fault":{"status":429}})");
  Make({.body = kJson});
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  std::remove(path.c_str());
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(At(lines[0], "/client_request_id"), "client-7");
  EXPECT_EQ(At(lines[0], "/authorization_suffix"), "0001");
  EXPECT_EQ(At(lines[0], "/model"), "m");
  EXPECT_EQ(At(lines[0], "/stream"), "true");
  EXPECT_EQ(At(lines[0], "/bytes_sent"), std::to_string(whole->bytes.size()));
  EXPECT_EQ(At(lines[0], "/events_sent"), "11");
  EXPECT_EQ(At(lines[0], "/usage/output_tokens"), "2");
  EXPECT_EQ(At(lines[0], "/finished"), "true");
  EXPECT_EQ(At(lines[1], "/events_sent"), "4");
  EXPECT_EQ(At(lines[1], "/usage"), "null");
  EXPECT_EQ(At(lines[1], "/finished"), "false");
  EXPECT_EQ(At(lines[2], "/status"), "429");
  EXPECT_EQ(At(lines[2], "/fault"), "1");
  EXPECT_EQ(At(lines[2], "/usage"), "null");
}

TEST_F(MockUpstreamTest, LogThatCannotBeOpened_IsASentence) {
  const auto opened = state_.OpenLog("/nowhere/at/all.jsonl");
  ASSERT_FALSE(opened.has_value());
  EXPECT_TRUE(opened.error().detail.starts_with("cannot open the log /nowhere/at/all.jsonl: "));
}

}  // namespace
}  // namespace weir::cli
