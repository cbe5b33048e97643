#include "store/request_log.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "store/sqlite.h"

namespace weir::store {
namespace {

constexpr Instant kStart{1'700'000'000'000'000'000};

telemetry::ExchangeRecord Row(std::uint64_t n) {
  telemetry::ExchangeRecord row;
  static_cast<Id128&>(row.request) =
      MakeId(kStart + Milliseconds(static_cast<std::int64_t>(n)), 0, n);
  static_cast<Id128&>(row.key) = Id128{7, n % 3 + 1};
  row.started_at = kStart + Milliseconds(static_cast<std::int64_t>(n));
  row.status = n % 4 == 0 ? 429 : 200;
  row.operation = "chat_completions";
  row.model = n % 2 == 0 ? "gpt-even" : "gpt-odd";
  return row;
}

struct RequestLogTest : testing::Test {
  std::string folder = testing::TempDir() + "requests_" + std::to_string(::getpid()) + "_" +
                       testing::UnitTest::GetInstance()->current_test_info()->name();
  std::string path = folder + "/requests.db";
  RequestLogTest() { std::filesystem::create_directory(folder); }
  ~RequestLogTest() override { std::filesystem::remove_all(folder); }

  std::unique_ptr<RequestLog> Open(RequestLog::Options options = {}) const {
    auto log = RequestLog::Open(path, options);
    EXPECT_TRUE(log) << log.error().detail;
    return log ? std::move(*log) : nullptr;
  }
};

std::vector<std::uint64_t> Numbers(RequestLog& log, const RequestQuery& query) {
  std::vector<std::uint64_t> numbers;
  const auto rows = log.List(query);
  EXPECT_TRUE(rows);
  for (const auto& row : rows.value()) numbers.push_back(row.request.low);
  return numbers;
}

TEST_F(RequestLogTest, EveryField_ReadsBackAsWritten) {
  telemetry::ExchangeRecord row = Row(1);
  row.ending = telemetry::EndingKind::kCut;
  row.refusal = Refusal::kUpstreamTimeout;
  row.status = 504;
  row.operation = "responses";
  row.model = "a model with 'quotes' and \n lines";
  row.model_served = "gpt-x-2026-01-01";
  row.upstream = "openai-1";
  row.attempts = 3;
  row.stream = true;
  row.sandbox = true;
  row.usage = {1, 2, 3, 4, 5, UsageSource::kCheckpoint};
  row.held = {INT64_MAX};
  row.charged = {11};
  row.overrun = {12};
  row.total = Microseconds(13);
  row.upstream_time = Microseconds(14);
  row.first_byte = Microseconds(15);
  row.durable_time = Microseconds(16);
  {
    auto log = Open();
    log->Append(row);  // written by the destructor
  }
  auto log = Open();
  const auto found = log->Find(row.request);
  ASSERT_TRUE(found && *found);
  const telemetry::ExchangeRecord& is = **found;
  EXPECT_EQ(is.request, row.request);
  EXPECT_EQ(is.key, row.key);
  EXPECT_EQ(is.started_at, row.started_at);
  EXPECT_EQ(is.ending, row.ending);
  EXPECT_EQ(is.refusal, row.refusal);
  EXPECT_EQ(is.status, row.status);
  EXPECT_EQ(is.operation, row.operation);
  EXPECT_EQ(is.model, row.model);
  EXPECT_EQ(is.model_served, row.model_served);
  EXPECT_EQ(is.upstream, row.upstream);
  EXPECT_EQ(is.attempts, row.attempts);
  EXPECT_EQ(is.stream, row.stream);
  EXPECT_EQ(is.sandbox, row.sandbox);
  EXPECT_EQ(is.usage, row.usage);
  EXPECT_EQ(is.held, row.held);
  EXPECT_EQ(is.charged, row.charged);
  EXPECT_EQ(is.overrun, row.overrun);
  EXPECT_EQ(is.total, row.total);
  EXPECT_EQ(is.upstream_time, row.upstream_time);
  EXPECT_EQ(is.first_byte, row.first_byte);
  EXPECT_EQ(is.durable_time, row.durable_time);
}

TEST_F(RequestLogTest, Unauthenticated_HasNoKey) {
  auto log = Open();
  telemetry::ExchangeRecord row = Row(1);
  row.key = {};
  log->Append(row);
  log->Flush();
  EXPECT_TRUE(log->List({})->front().key.empty());
}

TEST_F(RequestLogTest, List_IsNewestFirst_Filtered_AndPaged) {
  auto log = Open();
  for (std::uint64_t n = 1; n <= 20; ++n) log->Append(Row(n));
  log->Flush();
  EXPECT_EQ(Numbers(*log, {.limit = 3}), (std::vector<std::uint64_t>{20, 19, 18}));
  EXPECT_EQ(Numbers(*log, {.after = Row(18).request, .limit = 2}),
            (std::vector<std::uint64_t>{17, 16}));
  EXPECT_EQ(Numbers(*log, {.key = Row(3).key, .limit = 3}),
            (std::vector<std::uint64_t>{18, 15, 12}));
  EXPECT_EQ(Numbers(*log, {.model = "gpt-odd", .limit = 2}), (std::vector<std::uint64_t>{19, 17}));
  EXPECT_EQ(Numbers(*log, {.status = 429}), (std::vector<std::uint64_t>{20, 16, 12, 8, 4}));
  EXPECT_EQ(
      Numbers(*log,
              {.key = Row(3).key, .model = "gpt-even", .status = 429, .after = Row(20).request}),
      (std::vector<std::uint64_t>{12}));
  EXPECT_EQ(Numbers(*log, {.limit = 0}).size(), 1U);  // the limit is brought into 1..1000
  EXPECT_EQ(Numbers(*log, {.model = "none"}).size(), 0U);
}

// Parts of a list, each of which looks at a few rows of the file, are the whole of it together.
TEST_F(RequestLogTest, ListSome_GivesUpInTime_AndSaysWhereToGoOn) {
  auto log = Open();
  std::vector<std::uint64_t> charged;
  for (std::uint64_t n = 1; n <= 40; ++n) {
    telemetry::ExchangeRecord row = Row(n * 1'100);  // a slot each
    if (n % 5 == 0) row.charged = {1};
    if (n % 7 == 0) row.wallet = {.unit = "quota_token", .charged = 1};
    if (n % 5 == 0 || n % 7 == 0) charged.insert(charged.begin(), n * 1'100);
    log->Append(row);
  }
  log->Flush();
  EXPECT_EQ(Numbers(*log, {.charged = true}), charged);
  for (const std::int64_t limit : {1, 2, 100}) {
    for (const std::size_t batches : {1U, 3U, 100U}) {
      std::vector<std::uint64_t> seen;
      RequestQuery query{.limit = limit, .charged = true};
      for (int parts = 0; parts < 100; ++parts) {
        const auto part = log->ListSome(query, batches);
        ASSERT_TRUE(part);
        for (const auto& row : part->records) seen.push_back(row.request.low);
        if (!part->next) break;
        query.after = part->next;
      }
      EXPECT_EQ(seen, charged) << limit << " " << batches;
    }
  }
}

TEST_F(RequestLogTest, Find_Unknown_IsNothing) {
  auto log = Open();
  const auto found = log->Find(Row(5).request);
  ASSERT_TRUE(found);
  EXPECT_FALSE(*found);
}

// Exchanges are written when they end and listed by when they began: slots and rows of the file
// must not show in the order.
TEST_F(RequestLogTest, List_IsInTheOrderOfIds_HoweverExchangesEnded) {
  auto log = Open();
  std::vector<std::uint64_t> expected;
  for (std::uint64_t n = 0; n < 60; ++n) {
    const std::uint64_t scattered = n * 37 % 60;  // each of 0..59 once
    log->Append(Row(1 + scattered * 250));        // over 15 slots
    if (n % 7 == 0) log->Flush();
    expected.push_back(1 + (59 - n) * 250);
  }
  log->Flush();
  EXPECT_EQ(Numbers(*log, {.limit = 1000}), expected);
  std::vector<std::uint64_t> paged;
  RequestQuery query{.limit = 7};
  for (auto page = Numbers(*log, query); !page.empty(); page = Numbers(*log, query)) {
    paged.insert(paged.end(), page.begin(), page.end());
    query.after = Row(page.back()).request;
  }
  EXPECT_EQ(paged, expected);
  for (const std::uint64_t n : expected) {
    const auto found = log->Find(Row(n).request);
    ASSERT_TRUE(found && *found) << n;
    EXPECT_EQ((*found)->request, Row(n).request);
  }
}

TEST_F(RequestLogTest, MoreThanOneRowHolds_IsListedWhole) {
  auto log = Open();
  std::vector<std::uint64_t> expected;
  for (std::uint64_t n = 1; n <= 900; ++n) {
    telemetry::ExchangeRecord row = Row(0);
    row.request.low = n;
    row.model_served = std::string(300, static_cast<char>('a' + n % 2));  // never as before
    log->Append(row);
    expected.push_back(901 - n);
  }
  log->Flush();
  EXPECT_EQ(Numbers(*log, {.limit = 1000}), expected);
}

// A file of schema version 1 had one row for each exchange.
TEST_F(RequestLogTest, OldFile_IsMovedOver) {
  const auto execute = [&](const std::string& sql) {
    auto db = OpenSqlite(path);
    ASSERT_TRUE(db);
    const auto done = Execute(db->get(), sql.c_str());
    ASSERT_TRUE(done) << done.error().detail;
  };
  execute(
      "CREATE TABLE schema_version (version INTEGER PRIMARY KEY, name TEXT NOT NULL,"
      " applied_at TEXT NOT NULL DEFAULT '') STRICT;"
      "INSERT INTO schema_version (version, name) VALUES (1, '0001_exchange');"
      "CREATE TABLE exchange (request BLOB PRIMARY KEY, key BLOB, started_at_us, ending, refusal,"
      " status, operation, model, model_served, upstream, attempts, flags, usage_source,"
      " input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens,"
      " held_nano_usd, charged_nano_usd, overrun_nano_usd, total_us, upstream_us, first_byte_us,"
      " durable_us) WITHOUT ROWID;"
      // Ids of three slots; the last has no key.
      "INSERT INTO exchange VALUES"
      " (x'018bcfe568000000000000000000000b', x'00000000000000070000000000000002',"
      "  1700000000000123, 1, 0, 200, 'responses', 'm', 'm-2', 'up', 2, 3, 1, 10, 11, 12, 13, 14,"
      "  15, 16, 17, 18, 19, 20, 21),"
      " (x'018bcfe570000000000000000000000c', x'00000000000000070000000000000003',"
      "  1700000002048000, 5, 0, 502, 'responses', 'm', '', 'up', 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,"
      "  0, 0, 0, 0),"
      " (x'018bcfe570000000000000000000000d', x'00000000000000070000000000000003',"
      "  1700000002048000, 1, 0, 200, 'responses', 'm', '', 'up', 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,"
      "  0, 0, 0, 0),"
      " (x'018bcfe590000000000000000000000e', NULL,"
      "  1700000010240000, 2, 0, 401, '', '', '', '', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, "
      "0)");
  for (int opening = 0; opening < 2; ++opening) {  // the second finds it done
    auto log = Open();
    ASSERT_NE(log, nullptr);
    EXPECT_EQ(Numbers(*log, {}), (std::vector<std::uint64_t>{14, 13, 12, 11}));
    EXPECT_EQ(Numbers(*log, {.key = KeyId{{7, 3}}, .status = 502}),
              (std::vector<std::uint64_t>{12}));
    const auto found = log->Find(RequestId{{0x018bcfe568000000, 11}});
    ASSERT_TRUE(found && *found);
    const telemetry::ExchangeRecord& is = **found;
    EXPECT_EQ(is.key, (KeyId{{7, 2}}));
    EXPECT_EQ(is.started_at.ns, 1'700'000'000'000'123'000);
    EXPECT_EQ(is.ending, telemetry::EndingKind::kServed);
    EXPECT_EQ(is.operation, "responses");
    EXPECT_EQ(is.model_served, "m-2");
    EXPECT_EQ(is.upstream, "up");
    EXPECT_EQ(is.attempts, 2);
    EXPECT_TRUE(is.stream && is.sandbox);
    EXPECT_EQ(is.usage, (Usage{10, 11, 12, 13, 14, UsageSource::kProvider}));
    EXPECT_EQ(is.held.n, 15);
    EXPECT_EQ(is.overrun.n, 17);
    EXPECT_EQ(is.total, Microseconds(18));
    EXPECT_EQ(is.durable_time, Microseconds(21));
    EXPECT_TRUE(log->List({.limit = 1})->front().key.empty());
  }
}

TEST_F(RequestLogTest, DamagedRow_IsNamedAndNotReadAsSomethingElse) {
  {
    auto log = Open();
    log->Append(Row(1));
  }
  {
    auto db = OpenSqlite(path);
    ASSERT_TRUE(db);
    ASSERT_TRUE(Execute(db->get(), "UPDATE batch SET records = substr(records, 1, 20)"));
  }
  auto log = Open();
  const auto listed = log->List({});
  ASSERT_FALSE(listed);
  EXPECT_NE(listed.error().detail.find("damaged"), std::string::npos) << listed.error().detail;
  EXPECT_FALSE(log->Find(Row(2).request));
}

TEST_F(RequestLogTest, FullQueue_DropsAndCounts) {
  // A writer that waits an hour for a batch larger than the queue: what does not fit is dropped.
  auto log = Open({.queue_rows_max = 10, .batch_rows_max = 1000, .write_interval = Seconds(3600)});
  for (std::uint64_t n = 1; n <= 25; ++n) log->Append(Row(n));
  EXPECT_EQ(log->dropped(), 15U);
  log->Flush();
  EXPECT_EQ(log->written(), 10U);
  EXPECT_EQ(Numbers(*log, {.limit = 1}), (std::vector<std::uint64_t>{10}));
}

TEST_F(RequestLogTest, OldExchanges_AreDeletedAsNewOnesCome) {
  auto log = Open({.keep = Seconds(100)});
  for (std::uint64_t n = 1; n <= 10; ++n) log->Append(Row(1000 * 10 * n));
  log->Flush();
  EXPECT_EQ(Numbers(*log, {}).size(), 10U);
  log->Append(Row(145'000));
  log->Flush();
  // Two rows go with each that comes; 10 to 40 seconds are older than 145 - 100.
  EXPECT_EQ(Numbers(*log, {}).back(), 30'000U);
  log->Append(Row(145'001));
  log->Flush();
  EXPECT_EQ(Numbers(*log, {}).back(), 50'000U);
  log->Append(Row(145'002));
  log->Flush();
  EXPECT_EQ(Numbers(*log, {}).back(), 50'000U);
}

TEST_F(RequestLogTest, ManyThreads_WriteAndReadAtOnce) {
  auto log = Open({.batch_rows_max = 50, .write_interval = Milliseconds(1)});
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (std::uint64_t n = 0; n < 200; ++n) {
        log->Append(Row(1000 * t + n));
        if (n % 50 == 0) EXPECT_TRUE(log->List({.limit = 5}));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  log->Flush();
  EXPECT_EQ(log->written(), 800U);
  EXPECT_EQ(Numbers(*log, {.limit = 1000}).size(), 800U);
}

telemetry::ExchangeRecord OfAction(std::uint64_t n, std::string_view action,
                                   std::string_view workspace = "acme") {
  telemetry::ExchangeRecord row = Row(n);
  row.action = action;
  row.attributes.Add(config::Dimension::kKey, "k");
  row.attributes.Add(config::Dimension::kWorkspace, workspace);
  return row;
}

std::vector<std::uint64_t> OfAction(RequestLog& log, std::string_view scope,
                                    std::string_view action, Instant since = kStart,
                                    std::size_t limit = 1000) {
  std::vector<std::uint64_t> numbers;
  const auto rows = log.FindAction(scope, action, since, limit);
  EXPECT_TRUE(rows);
  for (const auto& row : rows.value()) numbers.push_back(row.request.low);
  return numbers;
}

TEST_F(RequestLogTest, AnAction_IsFoundWithAllItsRequests) {
  const auto log = Open();
  for (std::uint64_t n = 0; n < 5000; n += 10) log->Append(Row(n));
  // Over several slots and batches, and not in order.
  log->Append(OfAction(4001, "a"));
  log->Append(OfAction(1, "a"));
  log->Append(OfAction(2, "b"));
  log->Flush();
  log->Append(OfAction(3, "a"));
  log->Append(OfAction(4, "a", "other"));
  log->Append(OfAction(5, "a", ""));  // the key's own
  log->Flush();
  EXPECT_EQ(OfAction(*log, "acme", "a"), (std::vector<std::uint64_t>{1, 3, 4001}));
  EXPECT_EQ(OfAction(*log, "acme", "b"), (std::vector<std::uint64_t>{2}));
  EXPECT_EQ(OfAction(*log, "other", "a"), (std::vector<std::uint64_t>{4}));
  EXPECT_EQ(OfAction(*log, "k", "a"), (std::vector<std::uint64_t>{5}));
  EXPECT_TRUE(OfAction(*log, "acme", "c").empty());
  EXPECT_TRUE(OfAction(*log, "", "").empty());
  EXPECT_EQ(OfAction(*log, "acme", "a", kStart + Seconds(3)), (std::vector<std::uint64_t>{4001}));
  EXPECT_EQ(OfAction(*log, "acme", "a", kStart, 1), (std::vector<std::uint64_t>{4001}));
  EXPECT_EQ(OfAction(*log, "acme", "a", kStart, 2), (std::vector<std::uint64_t>{3, 4001}));
}

TEST_F(RequestLogTest, WhatIsTooOld_IsForgottenWithItsActions) {
  const auto log = Open({.keep = Seconds(10)});
  log->Append(OfAction(1, "a"));
  log->Flush();
  log->Append(OfAction(60'000, "b"));
  log->Flush();
  EXPECT_TRUE(OfAction(*log, "acme", "a").empty());
  EXPECT_EQ(OfAction(*log, "acme", "b"), (std::vector<std::uint64_t>{60'000}));
  auto db = OpenSqlite(path, true);
  auto count = Prepare(db->get(), "SELECT count(*) FROM batch_action");
  ASSERT_EQ(count->Step(), SQLITE_ROW);
  EXPECT_EQ(count->Int(0), 1);
}

TEST(ActionHash, IsFrozen) {
  EXPECT_EQ(ActionHash("", ""), 0x29620A93U);
  EXPECT_EQ(ActionHash("acme", "ticket-7"), 0x5A06BC68U);
  EXPECT_NE(ActionHash("ab", "c"), ActionHash("a", "bc"));
}

}  // namespace
}  // namespace weir::store
