#include "cli/admin_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <thread>

namespace weir::cli {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(ParseReply, ReadsEveryFraming) {
  struct Case {
    std::string_view bytes;
    int status;
    std::string_view body;
  };
  for (const Case& c : std::initializer_list<Case>{
           {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, "hi"},
           {"HTTP/1.1 200 OK\r\ncontent-length:2 \r\n\r\nhi, more", 200, "hi"},
           {"HTTP/1.1 204 No Content\r\n\r\n", 204, ""},
           {"HTTP/1.0 404 x\r\n\r\nuntil the end", 404, "until the end"},
           {"HTTP/1.1 200 OK\r\nTransfer-Encoding: "
            "chunked\r\n\r\n2\r\nhi\r\n1;x=y\r\n!\r\n0\r\n\r\n",
            200, "hi!"},
       }) {
    const auto reply = ParseReply(c.bytes);
    ASSERT_TRUE(reply.has_value()) << c.bytes;
    EXPECT_EQ(reply->status, c.status);
    EXPECT_EQ(reply->body, c.body);
  }
}

TEST(ParseReply, RefusesWhatIsCutOrNotHttp) {
  for (const std::string_view bytes :
       {"", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 2x0 OK\r\n\r\n", "HTTP/2 200\r\n\r\n",
        "SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhi",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nhi\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhixx0\r\n\r\n", "HTTP/1.1 99"}) {
    EXPECT_FALSE(ParseReply(bytes).has_value()) << bytes;
  }
}

TEST(AdminClient, TakesAnAddressAndNothingElse) {
  for (const std::string_view url : {"http://127.0.0.1:8081", "http://localhost:1",
                                     "http://[::1]:8081", "http://127.0.0.1:8081/"}) {
    EXPECT_TRUE(AdminClient::Make(url, Secret("t")).has_value()) << url;
  }
  for (const std::string_view url :
       {"", "127.0.0.1:8081", "https://h:1", "http://h", "http://:1", "http://h:0",
        "http://h:65536", "http://h:x", "http://h:1/path", "http://u@h:1", "http://h:1?x",
        "http://h\r\nx: y:1"}) {
    EXPECT_FALSE(AdminClient::Make(url, Secret("t")).has_value()) << url;
  }
}

// A listener that answers one request with `reply` and keeps what it was sent.
class OneReply {
 public:
  explicit OneReply(std::string reply) : acceptor_(io_, {asio::ip::address_v4::loopback(), 0}) {
    thread_ = std::thread([this, reply = std::move(reply)] {
      boost::system::error_code error;
      tcp::socket socket = acceptor_.accept(error);
      if (error) return;
      asio::read_until(socket, asio::dynamic_buffer(request_), "\r\n\r\n", error);
      if (reply.empty()) {
        std::array<char, 1> byte;
        socket.read_some(asio::buffer(byte), error);  // until the client gives up
        return;
      }
      asio::write(socket, asio::buffer(reply), error);
    });
  }
  ~OneReply() { thread_.join(); }
  std::string url() const {
    return "http://127.0.0.1:" + std::to_string(acceptor_.local_endpoint().port());
  }
  const std::string& request() {
    if (thread_.joinable()) thread_.join();
    thread_ = std::thread([] {});
    return request_;
  }

 private:
  asio::io_context io_;
  tcp::acceptor acceptor_;
  std::string request_;
  std::thread thread_;
};

TEST(AdminClient, SendsTheTokenAndReadsTheReply) {
  OneReply server("HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}");
  const auto client = AdminClient::Make(server.url(), Secret("wadm_x"));
  const auto reply = client->Send("POST", "/admin/v1/keys", "{\"name\":\"a\"}");
  ASSERT_TRUE(reply.has_value()) << reply.error().detail;
  EXPECT_EQ(reply->status, 201);
  EXPECT_EQ(reply->body, "{}");
  EXPECT_THAT(server.request(), HasSubstr("POST /admin/v1/keys HTTP/1.1\r\nhost: 127.0.0.1:"));
  EXPECT_THAT(server.request(), HasSubstr("\r\nauthorization: Bearer wadm_x\r\n"));
  EXPECT_THAT(server.request(), HasSubstr("\r\ncontent-length: 12\r\n"));
}

TEST(AdminClient, AServerThatDoesNotAnswer_IsATimeout) {
  OneReply server("");
  const auto client = AdminClient::Make(server.url(), Secret("wadm_x"));
  const auto reply = client->Send("GET", "/", {}, {}, Milliseconds(50));
  ASSERT_FALSE(reply.has_value());
  EXPECT_EQ(reply.error().code, ErrorCode::kTimeout);
  EXPECT_THAT(reply.error().detail, Not(HasSubstr("wadm_x")));
}

TEST(AdminClient, NobodyListening_SaysHowToStart) {
  std::uint16_t port = 0;
  {
    asio::io_context io;
    const tcp::acceptor acceptor(io, {asio::ip::address_v4::loopback(), 0});
    port = acceptor.local_endpoint().port();
  }
  const auto client =
      AdminClient::Make("http://127.0.0.1:" + std::to_string(port), Secret("wadm_x"));
  const auto reply = client->Send("GET", "/");
  ASSERT_FALSE(reply.has_value());
  EXPECT_EQ(reply.error().code, ErrorCode::kConnectFailed);
  EXPECT_THAT(reply.error().detail, HasSubstr("start weir serve"));
}

}  // namespace
}  // namespace weir::cli
