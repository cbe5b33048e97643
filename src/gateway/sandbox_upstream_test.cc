#include "gateway/sandbox_upstream.h"

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "gateway/sandbox_reply.h"

namespace weir::gateway {
namespace {

// Time moves only by sleeping.
class FakeRuntime final : public Runtime {
 public:
  Instant WallNow() override { return {1'795'173'844'000'000'000 + now_.ns}; }
  Tick Now() override { return now_; }
  Task<void> Sleep(Duration duration) override {
    now_ = now_ + duration;
    ++sleeps;
    if (on_sleep != nullptr) on_sleep->Fire(Interruption::kCallerGone);
    co_return;
  }
  Random& Entropy() override { return random_; }

  int sleeps = 0;
  Interrupt* on_sleep = nullptr;

 private:
  Tick now_{1};
  SeededRandom random_{1};
};

// What a caller of the port would see: the outcome of Send and all reads.
struct Seen {
  bool sent = false;
  ErrorCode code = ErrorCode::kUnavailable;
  int status = 0;
  std::string content_type;
  std::string request_id;
  std::vector<std::string> reads;
  bool ended = false;
};

Task<void> Call(Upstreams& upstreams, std::string target, std::vector<std::string> body,
                Tick deadline, Interrupt& interrupt, Seen& seen) {
  std::vector<std::string_view> parts(body.begin(), body.end());
  UpstreamRequest request;
  request.target = std::move(target);
  request.body = parts;
  request.deadline = deadline;
  auto reply = co_await upstreams.Send(std::move(request), interrupt);
  if (!reply) {
    seen.code = reply.error().code;
    co_return;
  }
  seen.sent = true;
  seen.status = (*reply)->status();
  seen.content_type = (*reply)->Find("content-type");
  seen.request_id = (*reply)->Find("x-request-id");
  EXPECT_EQ((*reply)->Find("absent"), "");
  for (;;) {
    auto bytes = co_await (*reply)->Read(Seconds(1));
    if (!bytes) {
      seen.code = bytes.error().code;
      co_return;
    }
    if (bytes->empty()) break;
    seen.reads.emplace_back(*bytes);
  }
  const auto again = co_await (*reply)->Read(Seconds(1));
  EXPECT_TRUE(again.has_value() && again->empty()) << "the end stays the end";
  seen.ended = true;
}

Seen Observe(FakeRuntime& runtime, std::string target, std::vector<std::string> body,
             Interrupt& interrupt, Tick deadline = kNoDeadline) {
  SandboxUpstreams upstreams(runtime);
  Seen seen;
  Spawn(Call(upstreams, std::move(target), std::move(body), deadline, interrupt, seen));
  return seen;
}

constexpr const char* kCount = R"({"model":"m","stream":true,"input":"Count from 1 to 3"})";
constexpr const char* kSlow = R"({"model":"m","stream":true,"input":"Count from 1 to 3 slowly"})";

TEST(SandboxUpstreams, Json_ComesInOneRead) {
  FakeRuntime runtime;
  Interrupt interrupt;
  const auto seen =
      Observe(runtime, "/v1/responses?x=1", {R"({"model":"m",)", R"("input":"hi"})"}, interrupt);
  EXPECT_TRUE(seen.ended);
  EXPECT_EQ(seen.status, 200);
  EXPECT_EQ(seen.content_type, "application/json");
  EXPECT_TRUE(seen.request_id.starts_with("req_"));
  ASSERT_EQ(seen.reads.size(), 1u);
  EXPECT_EQ(seen.reads[0], MakeSandboxReply({.target = {SandboxOperation::kResponses, {}},
                                             .body = R"({"model":"m","input":"hi"})",
                                             .now = runtime.WallNow()})
                               .body);
}

TEST(SandboxUpstreams, Stream_ComesEventByEventWithoutWaiting) {
  FakeRuntime runtime;
  Interrupt interrupt;
  const auto seen = Observe(runtime, "/responses", {kCount}, interrupt);
  EXPECT_TRUE(seen.ended);
  EXPECT_EQ(seen.content_type, "text/event-stream; charset=utf-8");
  EXPECT_EQ(seen.reads.size(), 11u);
  for (const auto& read : seen.reads) {
    EXPECT_TRUE(read.starts_with("event: ") && read.ends_with("\n\n")) << read;
  }
  EXPECT_EQ(runtime.sleeps, 0);
}

TEST(SandboxUpstreams, Slowly_SleepsBetweenEvents) {
  FakeRuntime runtime;
  Interrupt interrupt;
  const auto seen = Observe(runtime, "/responses", {kSlow}, interrupt);
  EXPECT_TRUE(seen.ended);
  EXPECT_EQ(runtime.sleeps, static_cast<int>(seen.reads.size()) - 1);
}

TEST(SandboxUpstreams, HangUp_EndsASlowStream) {
  FakeRuntime runtime;
  Interrupt interrupt;
  runtime.on_sleep = &interrupt;
  const auto seen = Observe(runtime, "/responses", {kSlow}, interrupt);
  EXPECT_FALSE(seen.ended);
  EXPECT_EQ(seen.code, ErrorCode::kInterrupted);
  EXPECT_EQ(seen.reads.size(), 1u);
}

TEST(SandboxUpstreams, Deadline_EndsASlowStream) {
  FakeRuntime runtime;
  Interrupt interrupt;
  const auto seen = Observe(runtime, "/responses", {kSlow}, interrupt,
                            runtime.Now() + kSandboxSlowPause + kSandboxSlowPause);
  EXPECT_EQ(seen.code, ErrorCode::kTimeout);
  EXPECT_EQ(seen.reads.size(), 2u);
}

TEST(SandboxUpstreams, InterruptedBefore_SendsNothing) {
  FakeRuntime runtime;
  Interrupt interrupt;
  interrupt.Fire(Interruption::kDrain);
  const auto seen = Observe(runtime, "/responses", {kCount}, interrupt);
  EXPECT_FALSE(seen.sent);
  EXPECT_EQ(seen.code, ErrorCode::kInterrupted);
}

TEST(SandboxUpstreams, UnknownPathAndBadBody_AreReplies) {
  FakeRuntime runtime;
  Interrupt interrupt;
  EXPECT_EQ(Observe(runtime, "/v1/images/generations", {"{}"}, interrupt).status, 404);
  EXPECT_EQ(Observe(runtime, "/v1/responses", {"{"}, interrupt).status, 400);
  EXPECT_EQ(Observe(runtime, "/v1/responses", {}, interrupt).status, 400);
}

}  // namespace
}  // namespace weir::gateway
