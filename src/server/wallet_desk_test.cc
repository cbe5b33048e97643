// Codes and statements over a real journal, store and request log: exactly once, whoever asks how
// often, and pages that leave nothing out.
#include "server/wallet_desk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <filesystem>
#include <future>
#include <string>
#include <vector>

#include "gateway/wallet_owner.h"
#include "identity/key_record.h"
#include "identity/redeem_code.h"
#include "store/sqlite_journal.h"

namespace weir::server {
namespace {

namespace json = boost::json;
using gateway::RedeemStatus;
using testing::HasSubstr;

constexpr Instant kNow{1'800'000'000'000'000'000};
constexpr ledger::Unit kUnit = ledger::Unit::kQuotaToken;

gateway::WalletAsker Asker(std::uint64_t n) {
  auto key = std::make_shared<identity::KeyRecord>();
  key->id = KeyId{{3, n}};
  gateway::WalletAsker asker{.key = key, .wallet = gateway::WalletOfKey(key->id, kUnit)};
  return asker;
}

struct TellerTest : testing::Test {
  std::string folder = testing::TempDir() + "teller_" + std::to_string(::getpid()) + "_" +
                       testing::UnitTest::GetInstance()->current_test_info()->name();
  Instant now = kNow;
  identity::Pepper pepper{"0123456789abcdef0123456789abcdef"};
  std::unique_ptr<store::WalletStore> wallets;
  std::unique_ptr<store::RequestLog> log;
  std::unique_ptr<CreditHost> credit;
  std::unique_ptr<Teller> teller;

  TellerTest() {
    std::filesystem::create_directory(folder);
    log = *store::RequestLog::Open(folder + "/requests.db");
    wallets = *store::WalletStore::Open(folder + "/wallets.db");
    Start();
  }
  ~TellerTest() override {
    teller.reset();
    credit.reset();
    log.reset();
    wallets.reset();
    std::filesystem::remove_all(folder);
  }
  void Start() {
    teller.reset();
    credit.reset();
    auto journal = store::SqliteJournal::Open(folder + "/ledger.db", config::Durability::kProcess);
    ASSERT_TRUE(journal);
    CreditHost::Options options;
    options.wall_now = [this] { return now; };
    CreditStart start;
    auto host = CreditHost::Start(std::move(*journal), std::move(options), start);
    ASSERT_TRUE(host) << host.error().detail;
    credit = std::move(*host);
    teller = std::make_unique<Teller>(
        *wallets, *log, *credit, pepper,
        Teller::Options{.misses_max = 3, .keys_max = 2, .wall_now = [this] { return now; }});
  }

  // A new code of 100.
  std::string Code(std::uint8_t n, std::optional<Duration> valid_for = std::nullopt) {
    std::array<std::uint8_t, 32> bytes{};
    bytes.fill(n);
    std::string text(identity::GenerateCode("qta_", bytes).Reveal());
    store::CodeRecord code;
    code.id = store::CodeId{{9, n}};
    code.batch = {9, 1000};
    code.digest = identity::DigestOfCode(pepper, *identity::NormalCode(text));
    code.display = "...";
    code.unit = kUnit;
    code.amount = {100};
    code.valid_for = valid_for;
    code.created_at = kNow;
    EXPECT_TRUE(wallets->Insert({code}, "batch", {kNow, "admin", "create", ""}));
    return text;
  }
  void Charge(std::uint64_t n, Instant at, std::uint64_t key, std::int64_t charged = 7) {
    telemetry::ExchangeRecord row;
    row.request = RequestId{MakeId(at, 1, n)};
    row.key = KeyId{{3, key}};
    row.started_at = at;
    row.status = 200;
    row.model = "quota/sonnet";
    row.wallet = {.unit = "quota_token",
                  .multiplier_ppm = 3'000'000,
                  .held = 9,
                  .charged = charged,
                  .overrun = 0,
                  .left = 1};
    log->Append(row);
  }
  json::object Page(std::uint64_t key, std::int64_t limit = 50, std::string_view before = {}) {
    const auto page = teller->Statement(Asker(key), limit, before);
    EXPECT_TRUE(page);
    return page ? json::parse(*page).as_object() : json::object();
  }
  std::int64_t Available(std::uint64_t key) {
    const auto view = credit->Wallet(*Asker(key).wallet);
    return view ? view->available.n : -1;
  }
};

TEST_F(TellerTest, ACode_GivesOnce_HoweverOftenItIsShown) {
  const std::string code = Code(1, Seconds(60));
  const auto first = teller->Redeem(Asker(1), code);
  EXPECT_EQ(first.status, RedeemStatus::kGiven);
  EXPECT_EQ(first.grant.expires_at, kNow + Seconds(60));
  EXPECT_EQ(Available(1), 100);
  now = kNow + Seconds(30);
  const auto again = teller->Redeem(Asker(1), code);
  EXPECT_EQ(again.status, RedeemStatus::kGiven);
  EXPECT_EQ(again.grant, first.grant);
  EXPECT_EQ(teller->Redeem(Asker(2), code).status, RedeemStatus::kTaken);
  EXPECT_EQ(Available(1), 100);
  EXPECT_EQ(Available(2), -1);
  Start();
  EXPECT_EQ(teller->Redeem(Asker(1), code).status, RedeemStatus::kGiven);
  EXPECT_EQ(Available(1), 100) << "after a restart, too";
}

TEST_F(TellerTest, ACrashBetweenCodeAndGrant_IsHealedByTheNextTry) {
  const std::string code = Code(1);
  const auto digest = identity::DigestOfCode(pepper, *identity::NormalCode(code));
  ASSERT_TRUE(wallets->Redeem(digest, *Asker(1).wallet, kUnit, KeyId{{3, 1}}, now));
  EXPECT_EQ(Available(1), -1);
  now = kNow + Seconds(5);
  EXPECT_EQ(teller->Redeem(Asker(2), code).status, RedeemStatus::kTaken);
  EXPECT_EQ(teller->Redeem(Asker(1), code).status, RedeemStatus::kGiven);
  EXPECT_EQ(Available(1), 100);
}

TEST_F(TellerTest, AnOlderCopyOfTheStore_GivesNothingTwice) {
  const std::string code = Code(1);
  ASSERT_EQ(teller->Redeem(Asker(1), code).status, RedeemStatus::kGiven);
  // As if wallets.db came from a backup: nobody redeemed it, as far as that knows.
  teller.reset();
  wallets = *store::WalletStore::Open(":memory:");
  Start();
  Code(1);
  EXPECT_EQ(teller->Redeem(Asker(2), code).status, RedeemStatus::kTaken);
  EXPECT_EQ(Available(1), 100);
  EXPECT_EQ(Available(2), -1);
}

TEST_F(TellerTest, Guesses_AreBounded_ForEachKey) {
  const std::string code = Code(1);
  for (const char* guess : {"QTA-0000-0000-0000-0000-0001", "", "nonsense"}) {
    EXPECT_EQ(teller->Redeem(Asker(1), guess).status, RedeemStatus::kNotValid) << guess;
  }
  now = kNow + Seconds(20);
  const auto waits = teller->Redeem(Asker(1), code);
  EXPECT_EQ(waits.status, RedeemStatus::kTooMany) << "even with one that is good";
  EXPECT_EQ(waits.retry_after, Seconds(40));
  EXPECT_EQ(teller->Redeem(Asker(2), "guess").status, RedeemStatus::kNotValid);
  now = kNow + Seconds(60);
  EXPECT_EQ(teller->Redeem(Asker(1), code).status, RedeemStatus::kGiven);
  // What is remembered is bounded.
  for (std::uint64_t key = 10; key < 20; ++key) {
    EXPECT_EQ(teller->Redeem(Asker(key), "guess").status, RedeemStatus::kNotValid);
  }
}

TEST_F(TellerTest, AStatement_HasAllOfIt_NewestFirst) {
  const std::string first = Code(1, Seconds(10));
  ASSERT_EQ(teller->Redeem(Asker(1), first).status, RedeemStatus::kGiven);
  Charge(1, kNow + Seconds(1), 1);
  Charge(2, kNow + Seconds(2), 2);     // another's
  Charge(3, kNow + Seconds(3), 1, 0);  // that cost nothing
  now = kNow + Seconds(20);
  credit->Sweep();
  now = kNow + Seconds(30);
  ASSERT_EQ(teller->Redeem(Asker(1), Code(2)).status, RedeemStatus::kGiven);
  ASSERT_TRUE(credit->Revoke(ledger::GrantId{{9, 2}}));
  const json::object page = Page(1);
  std::vector<std::string> told;
  for (const json::value& line : page.at("data").as_array()) {
    told.push_back(std::string(line.at("type").as_string()) + " " +
                   json::serialize(line.at("amount")));
  }
  EXPECT_THAT(told, testing::ElementsAre("revoked -100", "grant 100", "expired -100", "charge -7",
                                         "grant 100"));
  EXPECT_TRUE(page.at("next_before").is_null());
  EXPECT_EQ(page.at("data").at(3).at("multiplier").as_string(), "x3");
  EXPECT_EQ(page.at("data").at(3).at("request_id").as_string(),
            "req_" + ToString(MakeId(kNow + Seconds(1), 1, 1)));
}

TEST_F(TellerTest, Pages_JoinWithoutAGapOrARepeat) {
  std::vector<std::string> whole;
  for (int i = 0; i < 40; ++i) {
    now = kNow + Seconds(i * 3);
    ASSERT_TRUE(credit->Give({.time = {},
                              .grant = ledger::GrantId{{8, static_cast<std::uint64_t>(i) + 1}},
                              .wallet = *Asker(1).wallet,
                              .unit = kUnit,
                              .amount = {1}}));
    if (i % 4 == 0) Charge(static_cast<std::uint64_t>(i), now + Seconds(1), 1);
  }
  for (const json::value& line : Page(1, 100).at("data").as_array()) {
    whole.push_back(json::serialize(line));
  }
  ASSERT_EQ(whole.size(), 50U);
  for (const std::int64_t limit : {1, 3, 7, 50}) {
    std::vector<std::string> joined;
    std::string before;
    for (int pages = 0; pages < 100; ++pages) {
      const json::object page = Page(1, limit, before);
      EXPECT_LE(page.at("data").as_array().size(), static_cast<std::size_t>(limit));
      for (const json::value& line : page.at("data").as_array()) {
        joined.push_back(json::serialize(line));
      }
      if (page.at("next_before").is_null()) break;
      before = page.at("next_before").as_string();
    }
    EXPECT_EQ(joined, whole) << limit;
  }
  const auto bad = teller->Statement(Asker(1), 10, "nonsense");
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().code, ErrorCode::kBadInput);
}

// A page looks at a bounded part of the log and says where it stopped.
TEST_F(TellerTest, ALongLog_IsReadInParts) {
  for (int i = 0; i < 30; ++i) {
    Charge(static_cast<std::uint64_t>(i), kNow + Seconds(i * 3), i % 10 == 0 ? 1 : 2);
    log->Flush();  // a row of the file each
  }
  Teller brief(*wallets, *log, *credit, pepper,
               {.batches_max = 4, .wall_now = [this] { return now; }});
  std::size_t found = 0, pages = 0;
  std::string before;
  for (; pages < 30; ++pages) {
    const auto text = brief.Statement(Asker(1), 10, before);
    ASSERT_TRUE(text);
    const json::object page = json::parse(*text).as_object();
    found += page.at("data").as_array().size();
    if (page.at("next_before").is_null()) break;
    before = page.at("next_before").as_string();
  }
  EXPECT_EQ(found, 3U);
  EXPECT_GE(pages, 7U);
}

TEST_F(TellerTest, OnTheDesk_AWorkerIsAnswered_AndRefusedWhenItStops) {
  ReceiptDesk::Options options;
  options.wall_now = [] { return kNow; };
  ReceiptDesk desk(*log, store::ReceiptKey(Secret(std::string(32, 's'))), std::move(options));
  // In place of the worker's loop: whatever is posted runs at once, on the desk's thread.
  WalletPort port(*teller, desk, [](std::function<void()> f) { f(); });
  const auto ask = [&](std::string code) {
    auto answer = std::make_shared<std::promise<RedeemStatus>>();
    auto future = answer->get_future();
    Spawn([](WalletPort& to, std::string text,
             std::shared_ptr<std::promise<RedeemStatus>> promise) -> Task<void> {
      const auto reply = co_await to.Redeem(Asker(1), std::move(text));
      promise->set_value(reply.status);
    }(port, std::move(code), answer));
    return future.get();
  };
  EXPECT_EQ(ask(Code(1)), RedeemStatus::kGiven);
  EXPECT_EQ(ask("nonsense"), RedeemStatus::kNotValid);
  desk.Stop();
  EXPECT_EQ(ask(Code(2)), RedeemStatus::kUnavailable);
}

}  // namespace
}  // namespace weir::server
