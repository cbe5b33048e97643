// Actions and their outcomes over a real request log and store.
#include "server/action_desk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <filesystem>
#include <future>
#include <string>
#include <vector>

#include "identity/key_record.h"
#include "store/receipt_key.h"

namespace weir::server {
namespace {

namespace json = boost::json;

constexpr Instant kNow{1'800'000'000'000'000'000};

gateway::ActionAsker Asker(std::string action, std::string scope = "acme") {
  auto key = std::make_shared<identity::KeyRecord>();
  key->id = KeyId{{3, 1}};
  return {.key = key, .scope = std::move(scope), .action = std::move(action)};
}

struct ActionBookTest : testing::Test {
  std::string folder = testing::TempDir() + "actions_" + std::to_string(::getpid()) + "_" +
                       testing::UnitTest::GetInstance()->current_test_info()->name();
  Instant now = kNow;
  std::unique_ptr<store::OutcomeStore> outcomes;
  std::unique_ptr<store::RequestLog> log;
  std::unique_ptr<ActionBook> book;

  ActionBookTest() {
    std::filesystem::create_directory(folder);
    log = *store::RequestLog::Open(folder + "/requests.db");
    outcomes = *store::OutcomeStore::Open(folder + "/outcomes.db");
    book = std::make_unique<ActionBook>(
        *outcomes, *log,
        ActionBook::Options{.requests_max = 3, .wall_now = [this] { return now; }});
  }
  ~ActionBookTest() override {
    book.reset();
    log.reset();
    outcomes.reset();
    std::filesystem::remove_all(folder);
  }
  void Ended(std::uint64_t n, std::string action, std::int64_t charged, std::int32_t attempts = 1,
             int status = 200) {
    telemetry::ExchangeRecord row;
    row.started_at = kNow + Seconds(static_cast<std::int64_t>(n) - 60);
    row.request = RequestId{MakeId(row.started_at, 1, n)};
    row.total = Milliseconds(1500);
    row.status = status;
    row.ending = status == 200 ? EndingKind::kServed : EndingKind::kRefused;
    row.model = n % 2 == 0 ? "even" : "odd";
    row.attempts = attempts;
    row.charged = {charged};
    row.action = std::move(action);
    row.attributes.Add(config::Dimension::kKey, "k");
    row.attributes.Add(config::Dimension::kWorkspace, "acme");
    log->Append(row);
  }
};

TEST_F(ActionBookTest, AnActionIsAllItsRequests) {
  Ended(1, "a", 1'000'000'000, 2);
  Ended(2, "a", 500'000'000);
  Ended(3, "a", 0, 0, 429);
  Ended(4, "b", 7);
  const auto found = book->Find(Asker("a"));
  ASSERT_TRUE(found) << "also what is not written yet";
  const json::object action = json::parse(*found).as_object();
  EXPECT_EQ(action.at("object"), "action");
  EXPECT_EQ(action.at("id"), "a");
  EXPECT_EQ(action.at("requests"), 3);
  EXPECT_EQ(action.at("served"), 2);
  EXPECT_EQ(action.at("refused"), 1);
  EXPECT_EQ(action.at("attempts"), 3);
  EXPECT_EQ(action.at("charged_usd"), "1.5");
  EXPECT_EQ(action.at("started_at"), "2027-01-15T07:59:01.000000Z");
  EXPECT_EQ(action.at("ended_at"), "2027-01-15T07:59:04.500000Z");
  EXPECT_EQ(json::serialize(action.at("models")), R"(["even","odd"])");
  EXPECT_EQ(action.at("request_ids").as_array().size(), 3U);
  EXPECT_TRUE(action.at("outcome").is_null());
  EXPECT_TRUE(action.at("history").as_array().empty());
}

TEST_F(ActionBookTest, AnOutcomeIsNoted_TheLastWordCounts) {
  Ended(1, "a", 10);
  const auto accepted = book->Tell(Asker("a"), {.accepted = true, .note = "good"});
  ASSERT_TRUE(accepted);
  now = kNow + Seconds(60);
  ASSERT_TRUE(book->Tell(Asker("a"), {.accepted = true, .note = "good"}));
  const auto rejected = book->Tell(Asker("a"), {.accepted = false});
  ASSERT_TRUE(rejected);
  const json::object action = json::parse(*rejected).as_object();
  EXPECT_EQ(json::serialize(action.at("outcome")),
            R"({"accepted":false,"note":null,"told_at":"2027-01-15T08:01:00.000000Z"})");
  ASSERT_EQ(action.at("history").as_array().size(), 2U) << "the same again is not another word";
  EXPECT_EQ(json::serialize(action.at("history").as_array()[1]),
            R"({"accepted":true,"note":"good","told_at":"2027-01-15T08:00:00.000000Z"})");
}

TEST_F(ActionBookTest, NoRequest_NoAction) {
  Ended(1, "a", 10);
  for (const auto& asker : {Asker("b"), Asker("a", "other"), Asker("a", "k"), Asker("")}) {
    EXPECT_EQ(book->Find(asker).error().code, ErrorCode::kNotFound);
    EXPECT_EQ(book->Tell(asker, {.accepted = true}).error().code, ErrorCode::kNotFound);
  }
  EXPECT_TRUE(outcomes->Of("acme", "b")->empty());
  now = kNow + Seconds(8 * 24 * 3600);
  EXPECT_EQ(book->Find(Asker("a")).error().code, ErrorCode::kNotFound) << "too long ago";
}

TEST_F(ActionBookTest, OfVeryManyRequests_TheNewestCount) {
  for (std::uint64_t n = 0; n < 10; ++n) Ended(n, "a", 1);
  log->Flush();
  const auto found = book->Find(Asker("a"));
  ASSERT_TRUE(found);
  EXPECT_EQ(json::parse(*found).as_object().at("requests"), 3);
}

TEST_F(ActionBookTest, OnTheDesk_AWorkerIsAnswered_AndRefusedWhenItStops) {
  Ended(1, "a", 10);
  ReceiptDesk::Options options;
  options.wall_now = [] { return kNow; };
  ReceiptDesk desk(*log, store::ReceiptKey(Secret(std::string(32, 's'))), std::move(options));
  // In place of the worker's loop: whatever is posted runs at once, on the desk's thread.
  ActionPort port(*book, desk, [](std::function<void()> f) { f(); });
  const auto ask = [&](std::string action) {
    auto answer = std::make_shared<std::promise<Result<std::string>>>();
    auto future = answer->get_future();
    Spawn([](ActionPort& to, std::string id,
             std::shared_ptr<std::promise<Result<std::string>>> promise) -> Task<void> {
      promise->set_value(co_await to.Tell(Asker(std::move(id)), {.accepted = true}));
    }(port, std::move(action), answer));
    return future.get();
  };
  const auto told = ask("a");
  ASSERT_TRUE(told);
  EXPECT_THAT(*told, testing::HasSubstr(R"("accepted":true)"));
  EXPECT_EQ(ask("b").error().code, ErrorCode::kNotFound);
  desk.Stop();
  EXPECT_EQ(ask("a").error().code, ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace weir::server
