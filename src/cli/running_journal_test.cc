// The ledger of a running gateway as it is read from outside: slices put together, each batch
// checked, and what is said when it does not fit or nobody answers.
#include "cli/running_journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio.hpp>
#include <thread>
#include <vector>

#include "store/journal_chain.h"

namespace weir::cli {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;
using asio::ip::tcp;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// An admin listener that gives these answers, one a connection, and keeps what was asked.
class Listener {
 public:
  explicit Listener(std::vector<std::string> bodies, int status = 200)
      : acceptor_(io_, {asio::ip::address_v4::loopback(), 0}) {
    thread_ = std::thread([this, bodies = std::move(bodies), status] {
      for (const std::string& body : bodies) {
        boost::system::error_code error;
        tcp::socket socket = acceptor_.accept(error);
        std::string request;
        asio::read_until(socket, asio::dynamic_buffer(request), "\r\n\r\n", error);
        if (error) return;
        asked_.push_back(request.substr(0, request.find(" HTTP/")));
        asio::write(socket,
                    asio::buffer("HTTP/1.1 " + std::to_string(status) + " x\r\ncontent-length: " +
                                 std::to_string(body.size()) + "\r\n\r\n" + body),
                    error);
      }
    });
  }
  ~Listener() {
    if (thread_.joinable()) thread_.join();
  }
  // Once all answers are given.
  std::vector<std::string> asked() {
    thread_.join();
    return asked_;
  }
  Connection connection() const {
    return {.admin_url = "http://127.0.0.1:" + std::to_string(acceptor_.local_endpoint().port()),
            .token = "t"};
  }

 private:
  asio::io_context io_;
  tcp::acceptor acceptor_;
  std::vector<std::string> asked_;
  std::thread thread_;
};

std::string Hex(const store::Chain& chain) {
  std::string text;
  for (const std::uint8_t byte : chain) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

struct RunningJournalTest : testing::Test {
  // Four batches: positions 1 and 2, 3, 4 to 6, 7. In base64 with two, one, no and two paddings.
  struct Stored {
    std::uint64_t first;
    std::uint32_t count;
    std::vector<std::uint8_t> records;
    const char* base64;
    store::Chain chain = {};
  };
  std::vector<Stored> stored = {{1, 2, {0xff}, "/w=="},
                                {3, 1, {0xfe, 1}, "/gE="},
                                {4, 3, {1, 2, 3}, "AQID"},
                                {7, 1, {9}, "CQ=="}};
  std::vector<std::vector<std::uint8_t>> seen;

  RunningJournalTest() {
    store::Chainer chainer;
    store::Chain chain{};
    for (Stored& batch : stored) {
      chain = batch.chain = chainer.Next(chain, {batch.first, batch.count, batch.records});
    }
  }
  std::string Slice(std::uint64_t end, std::vector<std::size_t> batches) const {
    json::array list;
    for (const std::size_t i : batches) {
      list.push_back(json::object{{"first_position", stored[i].first},
                                  {"count", stored[i].count},
                                  {"records", stored[i].base64},
                                  {"chain", Hex(stored[i].chain)}});
    }
    return json::serialize(
        json::object{{"position", end}, {"chain", Hex(stored[0].chain)}, {"batches", list}});
  }
  std::string Read(RunningJournal& journal) {
    const auto read =
        journal.ReadAll([&](const store::JournalBatch& batch) -> std::optional<std::string> {
          seen.emplace_back(batch.records.begin(), batch.records.end());
          return std::nullopt;
        });
    return read ? "" : read.error().detail;
  }
};

TEST_F(RunningJournalTest, Slices_AreReadUpToWhereTheLedgerEndedInTheBeginning) {
  Listener listener({Slice(6, {0, 1}), Slice(7, {2, 3})});
  RunningJournal journal(listener.connection());
  std::vector<std::uint64_t> chained;
  journal.OnChain([&](std::uint64_t position, auto) { chained.push_back(position); });
  EXPECT_EQ(Read(journal), "");
  EXPECT_THAT(seen, ElementsAre(stored[0].records, stored[1].records, stored[2].records));
  EXPECT_THAT(chained, ElementsAre(2, 3, 6));
  EXPECT_EQ(journal.Tail().position, 6U);
  EXPECT_EQ(journal.Tail().batches, 3U);
  EXPECT_EQ(journal.Tail().chain, stored[2].chain);
  EXPECT_THAT(listener.asked(), ElementsAre("GET /admin/v1/ledger/journal?after=0",
                                            "GET /admin/v1/ledger/journal?after=3"));
}

TEST_F(RunningJournalTest, ALedgerOfNothing_IsGood) {
  Listener listener({Slice(0, {})});
  RunningJournal journal(listener.connection());
  EXPECT_EQ(Read(journal), "");
  EXPECT_EQ(journal.Tail().position, 0U);
}

TEST_F(RunningJournalTest, WhatDoesNotFit_IsNamed) {
  {
    Listener listener({Slice(7, {0, 2})});
    RunningJournal journal(listener.connection());
    EXPECT_THAT(Read(journal), HasSubstr("journal row 4: records from 3 are missing"));
  }
  {
    Listener listener({Slice(7, {0, 1}), Slice(7, {})});
    RunningJournal journal(listener.connection());
    EXPECT_THAT(Read(journal), HasSubstr("goes on to position 7, and shows nothing behind 3"));
  }
  stored[1].base64 = "/gI=";
  Listener listener({Slice(7, {0, 1})});
  RunningJournal journal(listener.connection());
  EXPECT_THAT(Read(journal), HasSubstr("journal row 3: its chain does not fit"));
}

TEST_F(RunningJournalTest, NobodyThere_OrAnotherToken_IsSaid) {
  {
    Listener listener({R"({"detail":"Send the right token."})"}, 401);
    const RunningJournal journal(listener.connection());
    EXPECT_EQ(journal.Reach().error().detail, "Send the right token.");
  }
  Connection gone;
  gone.token = "t";
  {
    Listener listener({});
    gone.admin_url = listener.connection().admin_url;
  }
  RunningJournal journal(gone);
  EXPECT_FALSE(journal.Reach());
  EXPECT_THAT(Read(journal), HasSubstr("cannot reach the admin listener"));
}

TEST_F(RunningJournalTest, AnAnswerOfAnotherForm_IsRefused) {
  const std::string right = Slice(6, {0});
  ASSERT_TRUE(ParseSlice(json::parse(right)));
  // The slice with one of its members given another value.
  const auto with = [&](std::string_view member, std::string_view value) {
    std::string text = right;
    const std::size_t at = text.rfind('"' + std::string(member) + "\":") + member.size() + 3;
    const std::size_t end = member == "batches" ? text.size() - 1 : text.find_first_of(",}", at);
    return ParseSlice(json::parse(text.replace(at, end - at, value)));
  };
  ASSERT_TRUE(with("position", "8"));
  ASSERT_TRUE(with("records", R"("")"));
  ASSERT_TRUE(with("batches", "[]"));
  const std::string zeros(62, '0');
  const std::pair<const char*, std::string> rows[] = {
      {"position", "-1"},
      {"position", R"("6")"},
      {"batches", "null"},
      {"batches", "[1]"},
      {"batches", "[{}]"},
      {"first_position", "-1"},
      {"count", "0"},
      {"count", "4294967296"},
      {"records", "1"},
      {"records", R"("abc")"},
      {"records", R"("!!!!")"},
      {"chain", "5"},
      {"chain", '"' + zeros + '"'},
      {"chain", '"' + zeros + R"(x0")"},
      {"chain", '"' + zeros + R"(0x")"},
  };
  for (const auto& [member, value] : rows) {
    const auto slice = with(member, value);
    ASSERT_FALSE(slice) << member << ' ' << value;
    EXPECT_THAT(slice.error().detail, HasSubstr("does not answer as this program expects"));
  }
  EXPECT_FALSE(ParseSlice(json::value(3)));
  EXPECT_FALSE(ParseSlice(json::parse(R"({"position":1,"batches":[]})")));
}

}  // namespace
}  // namespace weir::cli
