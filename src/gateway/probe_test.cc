#include "gateway/probe.h"

#include <gtest/gtest.h>

#include <deque>
#include <string>
#include <utility>

namespace weir::gateway {
namespace {

using routing::Outcome;

class FixedTime final : public Runtime {
 public:
  Instant WallNow() override { return {1'795'173'844'000'000'000}; }
  Tick Now() override { return {1'000}; }
  Task<void> Sleep(Duration) override { co_return; }
  Random& Entropy() override { return random_; }

 private:
  SeededRandom random_{1};
};

class Answer final : public UpstreamReply {
 public:
  Answer(int status, std::string body) : status_(status), body_(std::move(body)) {}
  int status() const override { return status_; }
  std::string_view Find(std::string_view) const override { return {}; }
  const std::vector<HeaderView>& headers() const override { return headers_; }
  Task<Result<std::string_view>> Read(Duration) override {
    last_ = std::exchange(body_, std::string());
    co_return std::string_view(last_);
  }

 private:
  int status_;
  std::string body_;
  std::string last_;
  std::vector<HeaderView> headers_;
};

// Answers every call the same, and keeps what was asked.
class OneAnswer final : public Upstreams {
 public:
  Task<Result<std::unique_ptr<UpstreamReply>>> Send(UpstreamRequest request, Interrupt&) override {
    asked = request.method;
    target = request.target;
    headers = request.headers;
    deadline = request.deadline;
    EXPECT_TRUE(request.body.empty());
    if (status == 0) co_return std::unexpected(error);
    co_return std::make_unique<Answer>(status, body);
  }
  int status = 0;
  std::string body;
  Error error{ErrorCode::kConnectFailed, ErrorSource::kUpstream, Retry::kOther, "refused"};
  std::string asked, target, headers;
  Tick deadline;
};

Outcome Ask(OneAnswer& upstreams, const config::Upstream& upstream,
            const config::Account& account) {
  FixedTime time;
  Interrupt interrupt;
  Outcome outcome = Outcome::kNothing;
  Spawn([&]() -> Task<void> {
    outcome = co_await Probe(upstream, account, upstreams, interrupt, time);
  }());
  return outcome;
}

TEST(Probe, EachAnswer_MeansWhatItShows) {
  const struct {
    int status;
    const char* body;
    Outcome outcome;
  } rows[] = {
      {200, R"({"object":"list","data":[]})", Outcome::kServed},
      {401, R"({"error":{"message":"Incorrect API key","code":"invalid_api_key"}})",
       Outcome::kAuthDead},
      {403, R"({"error":{"message":"forbidden"}})", Outcome::kAuthDead},
      {404, "not found", Outcome::kNothing},
      {405, "", Outcome::kNothing},
      {429, R"({"error":{"message":"slow down"}})", Outcome::kNothing},
      {500, "", Outcome::kServerError},
      {502, "<html>", Outcome::kServerError},
      {503, "", Outcome::kNothing},
  };
  for (const auto& row : rows) {
    OneAnswer upstreams;
    upstreams.status = row.status;
    upstreams.body = row.body;
    EXPECT_EQ(Ask(upstreams, {}, {}), row.outcome) << row.status;
  }
}

TEST(Probe, NoAnswer_IsTheUpstreamsFaultUnlessWeEndedIt) {
  OneAnswer upstreams;
  EXPECT_EQ(Ask(upstreams, {}, {}), Outcome::kServerError);
  upstreams.error.code = ErrorCode::kInterrupted;
  EXPECT_EQ(Ask(upstreams, {}, {}), Outcome::kNothing);
}

TEST(Probe, Question_CarriesTheAccountsCredentialWhereItsFamilyLooks) {
  config::Upstream upstream;
  upstream.base_path = "/v1";
  config::Account account;
  account.api_key = Secret("sk-1234");
  const struct {
    config::UpstreamKind kind;
    const char* line;
  } rows[] = {{config::UpstreamKind::kOpenAi, "authorization: Bearer sk-1234\r\n"},
              {config::UpstreamKind::kAnthropic, "x-api-key: sk-1234\r\n"},
              {config::UpstreamKind::kGemini, "x-goog-api-key: sk-1234\r\n"}};
  for (const auto& row : rows) {
    upstream.kind = row.kind;
    OneAnswer upstreams;
    upstreams.status = 200;
    Ask(upstreams, upstream, account);
    EXPECT_EQ(upstreams.asked, "GET");
    EXPECT_EQ(upstreams.target, "/v1/models");
    EXPECT_NE(upstreams.headers.find(row.line), std::string::npos) << upstreams.headers;
    EXPECT_EQ(upstreams.deadline, Tick{1'000} + Seconds(15));
  }
}

}  // namespace
}  // namespace weir::gateway
