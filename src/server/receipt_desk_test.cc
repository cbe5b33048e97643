// Receipts over a real request log: what has just ended is found, others' is not, and nobody can
// make the rest wait without end.
#include "server/receipt_desk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <future>
#include <string>
#include <vector>

#include "identity/key_record.h"

namespace weir::server {
namespace {

using testing::HasSubstr;

constexpr Instant kNow{1'700'000'000'000'000'000};

std::shared_ptr<const identity::KeyRecord> Key(std::uint64_t n) {
  auto key = std::make_shared<identity::KeyRecord>();
  key->id = KeyId{{1, n}};
  key->name = "key-" + std::to_string(n);
  return key;
}

RequestId Request(std::uint64_t n, Instant at = kNow) { return RequestId{MakeId(at, 0, n)}; }

telemetry::ExchangeRecord Row(std::uint64_t n, std::uint64_t key) {
  telemetry::ExchangeRecord row;
  row.request = Request(n);
  row.key = Key(key)->id;
  row.started_at = kNow;
  row.ending = EndingKind::kServed;
  row.status = 200;
  return row;
}

struct ReceiptDeskTest : testing::Test {
  std::string folder = testing::TempDir() + "desk_" + std::to_string(::getpid()) + "_" +
                       testing::UnitTest::GetInstance()->current_test_info()->name();
  std::unique_ptr<store::RequestLog> log;
  std::unique_ptr<ReceiptDesk> desk;

  ReceiptDeskTest() {
    std::filesystem::create_directory(folder);
    // It writes when it is told to and not before.
    auto opened =
        store::RequestLog::Open(folder + "/requests.db", {.write_interval = Seconds(3600)});
    EXPECT_TRUE(opened);
    log = std::move(*opened);
  }
  ~ReceiptDeskTest() override {
    desk.reset();
    log.reset();
    std::filesystem::remove_all(folder);
  }

  void Open(ReceiptDesk::Options options = {}) {
    options.wall_now = [] { return kNow; };
    desk = std::make_unique<ReceiptDesk>(*log, store::ReceiptKey(Secret(std::string(32, 's'))),
                                         std::move(options));
  }

  std::future<Result<std::string>> Ask(RequestId request, std::uint64_t key) {
    auto answer = std::make_shared<std::promise<Result<std::string>>>();
    auto future = answer->get_future();
    const bool asked = desk->Ask(
        {.request = request,
         .key = Key(key),
         .config = std::make_shared<const config::Config>(),
         .done = [answer](Result<std::string> result) { answer->set_value(std::move(result)); }});
    if (!asked) answer->set_value(Fail(ErrorCode::kTooLarge, ErrorSource::kCaller, "not taken"));
    return future;
  }
};

TEST_F(ReceiptDeskTest, WhatIsStillInTheLogsQueue_IsFound) {
  Open();
  log->Append(Row(1, 1));
  const auto receipt = Ask(Request(1), 1).get();
  ASSERT_TRUE(receipt) << receipt.error().detail;
  EXPECT_THAT(*receipt, HasSubstr("req_" + ToString(Request(1))));
  EXPECT_THAT(*receipt, HasSubstr("key-1"));
}

TEST_F(ReceiptDeskTest, WhatComesWithinItsPatience_IsFound) {
  Open({.patience = Seconds(60), .pace = Milliseconds(1)});
  auto answer = Ask(Request(1), 1);
  log->Append(Row(2, 1));
  EXPECT_TRUE(Ask(Request(2), 1).get());  // the one that waits holds up no other
  log->Append(Row(1, 1));
  EXPECT_TRUE(answer.get());
}

TEST_F(ReceiptDeskTest, AnotherKeysRequestAndNone_AreTheSame) {
  Open({.patience = Milliseconds(5), .pace = Milliseconds(1)});
  log->Append(Row(1, 1));
  const auto others = Ask(Request(1), 2).get();
  const auto none = Ask(Request(2), 2).get();
  ASSERT_FALSE(others);
  ASSERT_FALSE(none);
  EXPECT_EQ(others.error().code, ErrorCode::kNotFound);
  EXPECT_EQ(none.error().code, others.error().code);
  EXPECT_EQ(none.error().detail, others.error().detail);
}

TEST_F(ReceiptDeskTest, WhatCannotComeAnyMore_IsNotWaitedFor) {
  Open({.patience = Seconds(3600)});
  EXPECT_FALSE(Ask(Request(1, Instant{kNow.ns - Seconds(3600).ns}), 1).get());
  EXPECT_FALSE(Ask(Request(1, kNow + Seconds(3600)), 1).get());
  EXPECT_FALSE(Ask(RequestId{{UINT64_MAX, 0}}, 1).get());
}

TEST_F(ReceiptDeskTest, WhoAsksTooMuch_IsRefusedAtOnce) {
  Open({.waiting_max = 3, .waiting_per_key_max = 2, .patience = Seconds(3600)});
  std::vector<std::future<Result<std::string>>> waiting;
  waiting.push_back(Ask(Request(1), 1));
  waiting.push_back(Ask(Request(2), 1));
  EXPECT_EQ(Ask(Request(3), 1).get().error().code, ErrorCode::kTooLarge);
  waiting.push_back(Ask(Request(4), 2));
  EXPECT_EQ(Ask(Request(5), 2).get().error().code, ErrorCode::kTooLarge);  // the node's bound
  log->Append(Row(1, 1));
  EXPECT_TRUE(waiting[0].get());
  log->Append(Row(6, 1));
  EXPECT_TRUE(Ask(Request(6), 1).get());  // its place is free again
  desk->Stop();
  EXPECT_EQ(waiting[1].get().error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(waiting[2].get().error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(Ask(Request(1), 1).get().error().code, ErrorCode::kTooLarge);
}

Task<void> FindOne(ReceiptPort& port, RequestId request, Result<std::string>& out) {
  out = co_await port.Find(request, Key(1), std::make_shared<const config::Config>());
}

TEST_F(ReceiptDeskTest, APort_AnswersOnItsOwnThread) {
  Open();
  std::promise<std::function<void()>> posted;
  ReceiptPort port(*desk, [&](std::function<void()> f) { posted.set_value(std::move(f)); });
  log->Append(Row(1, 1));
  Result<std::string> answer = Fail(ErrorCode::kTimeout, ErrorSource::kUs, "none yet");
  Spawn(FindOne(port, Request(1), answer));
  EXPECT_FALSE(answer);
  posted.get_future().get()();  // as a worker's loop does
  EXPECT_TRUE(answer);
  desk->Stop();
  Spawn(FindOne(port, Request(1), answer));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace weir::server
