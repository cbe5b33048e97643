#include "store/request_scan.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "store/request_log.h"
#include "store/sqlite.h"

namespace weir::store {
namespace {

constexpr Instant kStart{1'700'000'000'000'000'000};

telemetry::ExchangeRecord Row(std::uint64_t n, Duration after) {
  telemetry::ExchangeRecord row;
  row.started_at = kStart + after;
  row.request = RequestId{MakeId(row.started_at, 0, n)};
  row.operation = "responses";
  row.model = "m" + std::to_string(n % 3);
  row.attributes.Add(config::Dimension::kUser, "u" + std::to_string(n));
  return row;
}

struct Seen final : RequestScan::Taker {
  void Take(const ExchangeReader& exchange, bool first) override {
    numbers.push_back(exchange.request().low);
    users += exchange.attribute(config::Dimension::kUser);
    users += ' ';
    if (first) ++batches;
  }
  void EndSlot() override {
    std::sort(numbers.begin() + static_cast<std::ptrdiff_t>(in_order), numbers.end());
    in_order = numbers.size();
    ++slots;
  }
  std::vector<std::uint64_t> numbers;
  std::string users;
  std::size_t in_order = 0;
  int batches = 0;
  int slots = 0;
};

struct RequestScanTest : testing::Test {
  std::string folder = testing::TempDir() + "scan_" + std::to_string(::getpid()) + "_" +
                       testing::UnitTest::GetInstance()->current_test_info()->name();
  std::string path = folder + "/requests.db";
  RequestScanTest() { std::filesystem::create_directory(folder); }
  ~RequestScanTest() override { std::filesystem::remove_all(folder); }

  std::unique_ptr<RequestScan> Open() const {
    auto scan = RequestScan::Open(path);
    EXPECT_TRUE(scan) << scan.error().detail;
    return scan ? std::move(*scan) : nullptr;
  }
};

TEST_F(RequestScanTest, ReadsFromTheOldestOnWhileTheLogIsWritten) {
  auto log = *RequestLog::Open(path);
  // Of an hour and a half, and not in order: each step and each slot is put right.
  for (const std::uint64_t n : {3U, 1U, 2U}) log->Append(Row(n, Milliseconds(100 * (5 - n))));
  log->Flush();
  log->Append(Row(4, Minutes(90)));
  log->Append(Row(0, Milliseconds(1)));
  log->Flush();
  const auto scan = Open();
  Seen seen;
  ASSERT_TRUE(scan->Run(kStart, kStart + Minutes(1000), seen));
  EXPECT_EQ(seen.numbers, (std::vector<std::uint64_t>{0, 1, 2, 3, 4}));
  EXPECT_EQ(seen.users.size(), 5U * 3);
  EXPECT_EQ(seen.slots, 2);
  EXPECT_EQ(seen.batches, 3);
  log->Append(Row(5, Minutes(91)));
  log->Flush();
  Seen again;
  ASSERT_TRUE(scan->Run(kStart, kStart + Minutes(1000), again));
  EXPECT_EQ(again.numbers.size(), 6U) << "what was written since is seen";
  EXPECT_TRUE(scan->Oldest());
  EXPECT_LE((*scan->Oldest())->ns, kStart.ns);
  EXPECT_GT((*scan->Oldest())->ns, kStart.ns - 1'024'000'000);
}

TEST_F(RequestScanTest, OnlyTheTimeAskedFor_IsRead) {
  {
    auto log = *RequestLog::Open(path);
    for (std::uint64_t n = 0; n < 50; ++n) {
      log->Append(Row(n, Minutes(static_cast<std::int64_t>(n) * 10)));
    }
  }
  // Of a stopped gateway.
  const auto scan = Open();
  Seen seen;
  ASSERT_TRUE(scan->Run(kStart + Minutes(100), kStart + Minutes(129), seen));
  EXPECT_EQ(seen.numbers, (std::vector<std::uint64_t>{10, 11, 12}));
  Seen none;
  ASSERT_TRUE(scan->Run(kStart + Minutes(130), kStart + Minutes(130), none));
  ASSERT_TRUE(scan->Run(kStart + Minutes(5000), kStart + Minutes(6000), none));
  EXPECT_TRUE(none.numbers.empty());
  EXPECT_EQ(none.slots, 0);
}

TEST_F(RequestScanTest, AnEmptyLog_IsEmpty) {
  {
    auto log = *RequestLog::Open(path);
  }
  const auto scan = Open();
  Seen seen;
  ASSERT_TRUE(scan->Run(kStart, kStart + Minutes(1), seen));
  EXPECT_TRUE(seen.numbers.empty());
  EXPECT_EQ(*scan->Oldest(), std::nullopt);
}

TEST_F(RequestScanTest, NoLog_IsSaidAndMadeNeither) {
  const auto scan = RequestScan::Open(path);
  ASSERT_FALSE(scan);
  EXPECT_EQ(scan.error().code, ErrorCode::kNotFound);
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(RequestScanTest, ALogThatIsNone_IsSaid) {
  auto db = OpenSqlite(path);
  ASSERT_TRUE(db);
  ASSERT_TRUE(Execute(db->get(), "CREATE TABLE other (a INTEGER)"));
  const auto scan = RequestScan::Open(path);
  ASSERT_FALSE(scan);
  EXPECT_NE(scan.error().detail.find("when a gateway starts on it"), std::string::npos);
}

TEST_F(RequestScanTest, ADamagedBatch_IsSaid) {
  {
    auto log = *RequestLog::Open(path);
    log->Append(Row(1, {}));
  }
  {
    auto db = OpenSqlite(path);
    ASSERT_TRUE(db);
    ASSERT_TRUE(Execute(db->get(), "UPDATE batch SET records = x'05FF'"));
  }
  Seen seen;
  const auto run = Open()->Run(kStart, kStart + Minutes(1), seen);
  ASSERT_FALSE(run);
  EXPECT_NE(run.error().detail.find("is damaged in slot"), std::string::npos);
}

}  // namespace
}  // namespace weir::store
