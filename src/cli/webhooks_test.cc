// `weir webhooks` against a listener that answers as the admin API does: what is asked, what is
// printed, and the exit codes. The rest runs against the real program in test/webhooks.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <cstdio>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cli/cli.h"

namespace weir::cli {
namespace {

namespace asio = boost::asio;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Outcome {
  int code = 0;
  std::string out;
  std::string err;
  std::vector<std::string> asked;  // "GET /admin/v1/webhooks"
};

using Replies = std::vector<std::pair<int, std::string>>;

// Runs the command while a listener gives one reply to each of its requests.
Outcome Weir(std::vector<std::string> words, const Replies& replies = {}) {
  asio::io_context io;
  asio::ip::tcp::acceptor acceptor(io, {asio::ip::address_v4::loopback(), 0});
  Outcome outcome;
  std::thread listener([&] {
    for (const auto& [status, body] : replies) {
      boost::system::error_code error;
      asio::ip::tcp::socket socket = acceptor.accept(error);
      std::string request;
      asio::read_until(socket, asio::dynamic_buffer(request), "\r\n\r\n", error);
      if (error) return;
      outcome.asked.push_back(request.substr(0, request.find(" HTTP/")));
      const std::string reply =
          "HTTP/1.1 " + std::to_string(status) +
          " X\r\ncontent-type: application/json\r\ncontent-length: " + std::to_string(body.size()) +
          "\r\nconnection: close\r\n\r\n" + body;
      asio::write(socket, asio::buffer(reply), error);
    }
  });
  words.insert(words.begin(), {"weir", "webhooks"});
  if (!replies.empty()) {
    words.insert(words.end(),
                 {"--token", "wadm_x", "--admin-url",
                  "http://127.0.0.1:" + std::to_string(acceptor.local_endpoint().port())});
  }
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  outcome.code = RunCli(static_cast<int>(words.size()), argv.data());
  std::fflush(stdout);
  outcome.out = testing::internal::GetCapturedStdout();
  outcome.err = testing::internal::GetCapturedStderr();
  listener.join();
  return outcome;
}

std::string Delivery(const std::string& state, int attempts, const std::string& last) {
  return R"({"id":"dlv_7","endpoint":"ops","state":")" + state +
         R"(","event_id":"evt_1","event_type":"webhook.test","attempts":)" +
         std::to_string(attempts) + "," + last + "}";
}

TEST(WebhooksCli, List_SaysHowEndpointsFare) {
  const Outcome outcome = Weir(
      {"list"},
      {{200,
        R"({"data":[{"name":"ops","origin":"https://h.example.com","events":null,"state":"ok",)"
        R"("pending":0,"last_success_at":null,"last_error":null},)"
        R"({"name":"money","origin":"https://m.example.com","events":["wallet.low","key.created"],)"
        R"("state":"failing","pending":3,"last_success_at":null,"last_error":"it answered 500"}]})"}});
  EXPECT_EQ(outcome.code, kExitDone) << outcome.err;
  EXPECT_THAT(outcome.asked, ElementsAre("GET /admin/v1/webhooks"));
  EXPECT_THAT(outcome.out, HasSubstr("https://h.example.com"));
  EXPECT_THAT(outcome.out, HasSubstr("wallet.low key.created"));
  EXPECT_THAT(outcome.out, HasSubstr("it answered 500"));
  const Outcome none = Weir({"list"}, {{200, R"({"data":[]})"}});
  EXPECT_EQ(none.code, kExitDone);
  EXPECT_THAT(none.out, HasSubstr("no webhooks; name some in the configuration file"));
}

TEST(WebhooksCli, Deliveries_AreFilteredAndPaged) {
  const Outcome outcome = Weir(
      {"deliveries", "--endpoint", "ops", "--state", "failed", "--limit", "1", "--cursor", "dlv_9"},
      {{200, R"({"data":[)" + Delivery("failed", 10, R"("last_error":"it answered 500")") +
                 R"(],"next_cursor":"dlv_7"})"}});
  EXPECT_EQ(outcome.code, kExitDone) << outcome.err;
  EXPECT_THAT(outcome.asked,
              ElementsAre("GET /admin/v1/webhooks/deliveries?limit=1&endpoint=ops&state=failed"
                          "&cursor=dlv_9"));
  EXPECT_THAT(outcome.out, HasSubstr("dlv_7"));
  EXPECT_THAT(outcome.out, HasSubstr("it answered 500"));
  EXPECT_THAT(outcome.out, HasSubstr("more: --cursor dlv_7"));
}

TEST(WebhooksCli, Test_WaitsForTheAttempt_AndItsExitCodeSaysHowItWent) {
  const std::string begun = Delivery("pending", 0, R"("last_status":null)");
  Outcome outcome =
      Weir({"test", "ops"},
           {{202, begun},
            {200, R"({"data":[)" + begun + "]}"},
            {200, R"({"data":[)" + Delivery("delivered", 1, R"("last_status":204)") + "]}"}});
  EXPECT_EQ(outcome.code, kExitDone) << outcome.err;
  EXPECT_EQ(outcome.out, "ops took dlv_7: status 204\n");
  ASSERT_EQ(outcome.asked.size(), 3U);
  EXPECT_EQ(outcome.asked[0], "POST /admin/v1/webhooks/ops/test");

  outcome = Weir(
      {"test", "ops"},
      {{202, begun},
       {200, R"({"data":[)" + Delivery("pending", 1, R"("last_error":"it answered 500")") + "]}"}});
  EXPECT_EQ(outcome.code, kExitFailed);
  EXPECT_THAT(outcome.err, HasSubstr("ops did not take it: it answered 500; "));
}

TEST(WebhooksCli, RetryAndEnable_SayWhatTheyDid) {
  Outcome outcome =
      Weir({"retry", "dlv_7"}, {{202, Delivery("pending", 0, R"("last_status":null)")}});
  EXPECT_EQ(outcome.code, kExitDone) << outcome.err;
  EXPECT_THAT(outcome.asked, ElementsAre("POST /admin/v1/webhooks/deliveries/dlv_7/retry"));
  EXPECT_EQ(outcome.out, "dlv_7 is sent to ops again\n");
  outcome = Weir({"enable", "ops"}, {{200, R"({"name":"ops","pending_again":2})"}});
  EXPECT_EQ(outcome.code, kExitDone) << outcome.err;
  EXPECT_THAT(outcome.asked, ElementsAre("POST /admin/v1/webhooks/ops/enable"));
  EXPECT_EQ(outcome.out, "ops is enabled; 2 deliveries are pending again\n");
  outcome = Weir({"enable", "ops", "--json"}, {{200, R"({"name":"ops","pending_again":2})"}});
  EXPECT_EQ(outcome.out, "{\"name\":\"ops\",\"pending_again\":2}\n");
}

TEST(WebhooksCli, AProblem_IsOneSentence_AndANameThatIsNone_IsNotSent) {
  const Outcome outcome =
      Weir({"test", "ops"}, {{404, R"({"detail":"There is no webhook of this name."})"}});
  EXPECT_EQ(outcome.code, kExitFailed);
  EXPECT_EQ(outcome.err, "weir: There is no webhook of this name.\n");
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{"test"},
                                             {"test", "../keys"},
                                             {"test", "a b"},
                                             {"retry", "dlv_7/x"},
                                             {"enable", "a?b"},
                                             {"deliveries", "--state", "gone"},
                                             {"deliveries", "--endpoint", "a&b=c"},
                                             {"deliveries", "--limit", "0"},
                                             {}}) {
    EXPECT_EQ(Weir(words).code, kExitUsage);
  }
}

}  // namespace
}  // namespace weir::cli
