#include "sim/replies.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>

namespace weir::sim {
namespace {

RequestId Request(std::uint64_t n) { return {{1, n}}; }
gateway::KeptReply Reply(const std::string& body) {
  return {.status = 200, .stream = false, .content_type = "application/json", .body = body};
}

struct RepliesTest : testing::Test {
  Executor executor{1};
  std::string found;

  Root Ask(SimReplies& replies, RequestId request) {
    const auto reply = co_await replies.Find(request);
    found = reply ? reply->body : "none";
  }
  std::string Find(SimReplies& replies, std::uint64_t n) {
    found.clear();
    Root root = Ask(replies, Request(n));
    root.Start();
    while (found.empty() && executor.Step()) {
    }
    return found;
  }
  void RunAll() {
    while (executor.Step()) {
    }
  }
};

TEST_F(RepliesTest, WhatIsKept_IsFoundAtOnce_AndBehindACrashOnlyWhenItWasWritten) {
  SimReplies replies(executor, 7, false);
  replies.Keep(Request(1), Reply("one"));
  EXPECT_EQ(Find(replies, 1), "one");
  RunAll();
  replies.Keep(Request(2), Reply("two"));
  replies.Crash(false);
  RunAll();
  EXPECT_EQ(Find(replies, 1), "one");
  EXPECT_EQ(Find(replies, 2), "none");
}

TEST_F(RepliesTest, WhoLoses_LosesSome_UntilItIsHealed) {
  SimReplies replies(executor, 7, true);
  int lost = 0;
  for (std::uint64_t n = 0; n < 100; ++n) {
    replies.Keep(Request(n), Reply("x"));
    lost += Find(replies, n) == "none";
  }
  EXPECT_GT(lost, 10);
  EXPECT_LT(lost, 60);
  replies.Heal();
  for (std::uint64_t n = 200; n < 230; ++n) {
    replies.Keep(Request(n), Reply("x"));
    EXPECT_EQ(Find(replies, n), "x");
  }
}

}  // namespace
}  // namespace weir::sim
