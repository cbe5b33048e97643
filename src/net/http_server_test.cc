// The server over real sockets: what callers see on the wire, and that their end is noticed. The
// loop runs on a thread of its own; the test is the caller, with blocking sockets and a receive
// timeout that only a failure meets.
#include "net/http_server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <future>
#include <string>
#include <thread>
#include <utility>

namespace weir::net {
namespace {

using gateway::Downstream;
using gateway::ReplyHead;
using gateway::RequestHead;

class Caller {
 public:
  explicit Caller(std::uint16_t port) {
    fd_ = ::socket(AF_INET, SOCK_STREAM, 0);
    const timeval patience{10, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  ~Caller() { Close(); }
  Caller(const Caller&) = delete;
  Caller& operator=(const Caller&) = delete;

  void Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (count <= 0) return;
      bytes.remove_prefix(static_cast<std::size_t>(count));
    }
  }
  // Reads until `mark` was received; what was received so far, or all of it at the end.
  std::string ReadUntil(std::string_view mark) {
    std::string all;
    char buffer[4096];
    while (all.find(mark) == std::string::npos) {
      const ssize_t count = ::recv(fd_, buffer, sizeof(buffer), 0);
      if (count <= 0) return all + (count == 0 ? "<eof>" : "<error>");
      all.append(buffer, static_cast<std::size_t>(count));
    }
    return all;
  }
  std::string ReadAll() { return ReadUntil("\xff\xff no such bytes"); }
  void Close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_ = -1;
};

// Answers with whatever the test says.
class Handler final : public HttpHandler {
 public:
  using Act = std::function<Task<void>(const RequestHead&, Downstream&)>;
  Task<void> Handle(const RequestHead& head, Downstream& downstream, Tick) override {
    return act(head, downstream);
  }
  std::string BadRequestBody(int, std::string_view reason) override { return std::string(reason); }
  Act act;
};

Task<void> Echo(const RequestHead& head, Downstream& downstream) {
  auto body = co_await downstream.ReadBody(1 << 20);
  ReplyHead reply;
  if (!body) {
    reply.status = body.error().code == ErrorCode::kTooLarge ? 413 : 400;
    co_await downstream.Reply(std::move(reply), "no");
    co_return;
  }
  const std::string text = std::string(head.method) + " " + std::string(head.path) + " " +
                           std::to_string(body->size()) + " " + std::string(body->substr(0, 16));
  co_await downstream.Reply(std::move(reply), text);
}

class HttpServerTest : public testing::Test {
 protected:
  HttpServerTest() {
    handler_.act = Echo;
    limits_.drain_deadline = Seconds(1);
  }
  ~HttpServerTest() override {
    loop_.Stop();
    if (thread_.joinable()) thread_.join();
    server_->CloseAll();
    loop_.Finish([this] { return server_->open() == 0; });
  }
  std::uint16_t Start() {
    server_ = std::make_unique<HttpServer>(loop_, handler_, limits_);
    const auto port = server_->Listen("127.0.0.1", 0);
    EXPECT_TRUE(port.has_value());
    thread_ = std::thread([this] { loop_.Run(); });
    return *port;
  }
  void OnLoop(const std::function<void()>& act) {
    std::promise<void> done;
    loop_.Post([&] {
      act();
      done.set_value();
    });
    done.get_future().wait();
  }

  Handler handler_;
  config::CallerLimits limits_;
  Loop loop_;
  std::unique_ptr<HttpServer> server_;
  std::thread thread_;
};

TEST_F(HttpServerTest, SeveralRequests_OnOneConnection_AreAnsweredInOrder) {
  Caller caller(Start());
  caller.Send(
      "GET /a HTTP/1.1\r\nHost: h\r\n\r\nPOST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n"
      "abcGET /c HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  const std::string all = caller.ReadAll();
  const auto a = all.find("GET /a 0");
  const auto b = all.find("POST /b 3 abc");
  const auto c = all.find("GET /c 0");
  EXPECT_TRUE(a < b && b < c && c != std::string::npos) << all;
  EXPECT_TRUE(all.ends_with("<eof>"));
  EXPECT_NE(all.find("date: "), std::string::npos);
}

TEST_F(HttpServerTest, Body_ArrivesWhole_HoweverItIsSent) {
  const std::uint16_t port = Start();
  const std::string big(300'000, 'x');
  {
    Caller caller(port);
    caller.Send("POST /big HTTP/1.1\r\nHost: h\r\nContent-Length: 300000\r\n\r\n" + big);
    EXPECT_NE(caller.ReadUntil("POST /big 300000 xxxx").find("200 OK"), std::string::npos);
    caller.Send("GET /next HTTP/1.1\r\nHost: h\r\n\r\n");
    EXPECT_NE(caller.ReadUntil("GET /next 0").find("200 OK"), std::string::npos);
  }
  Caller caller(port);
  caller.Send("POST /chunked HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 100; ++i) caller.Send("3e8\r\n" + std::string(1000, 'y') + "\r\n");
  caller.Send("0\r\n\r\nGET /next HTTP/1.1\r\nHost: h\r\n\r\n");
  const std::string all = caller.ReadUntil("GET /next 0");
  EXPECT_NE(all.find("POST /chunked 100000 yyyy"), std::string::npos) << all.substr(0, 400);
}

TEST_F(HttpServerTest, ByteByByte_IsStillARequest) {
  Caller caller(Start());
  for (const char c : std::string("POST /s HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nok")) {
    caller.Send(std::string_view(&c, 1));
  }
  EXPECT_NE(caller.ReadUntil("POST /s 2 ok").find("200 OK"), std::string::npos);
}

TEST_F(HttpServerTest, TooLargeBody_IsRefusedUnread_AndTheConnectionEnds) {
  Caller caller(Start());
  caller.Send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\n" +
              std::string(70'000, 'x'));
  const std::string all = caller.ReadAll();
  EXPECT_NE(all.find("413 Content Too Large"), std::string::npos) << all;
  EXPECT_NE(all.find("connection: close"), std::string::npos);
}

TEST_F(HttpServerTest, UnreadBody_IsNeverReadAsTheNextRequest) {
  handler_.act = [](const RequestHead&, Downstream& downstream) -> Task<void> {
    ReplyHead reply;
    reply.status = 401;
    co_await downstream.Reply(std::move(reply), "no key");
  };
  const std::uint16_t port = Start();
  const std::string smuggled = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
  {
    // All of it has arrived: it is stepped over and the connection lives on.
    Caller caller(port);
    caller.Send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: " + std::to_string(smuggled.size()) +
                "\r\n\r\n" + smuggled +
                "GET /real HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    const std::string all = caller.ReadAll();
    std::size_t replies = 0;
    for (auto at = all.find("HTTP/1.1 401"); at != std::string::npos;
         at = all.find("HTTP/1.1 401", at + 1)) {
      ++replies;
    }
    EXPECT_EQ(replies, 2U) << all;
  }
  // Part of it is still to come: the connection ends after the reply.
  Caller caller(port);
  caller.Send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\n");
  EXPECT_NE(caller.ReadUntil("no key").find("connection: close"), std::string::npos);
  caller.Send(smuggled);
  EXPECT_EQ(caller.ReadAll().find("401"), std::string::npos);
}

TEST_F(HttpServerTest, ExpectContinue_IsAnsweredWhenTheBodyIsWanted) {
  Caller caller(Start());
  caller.Send("POST /c HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(caller.ReadUntil("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  caller.Send("ok");
  EXPECT_NE(caller.ReadUntil("POST /c 2 ok").find("200 OK"), std::string::npos);
}

TEST_F(HttpServerTest, Head_HasNoBody_AndStaysInSync) {
  Caller caller(Start());
  caller.Send(
      "HEAD /h HTTP/1.1\r\nHost: h\r\n\r\nGET /g HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  const std::string all = caller.ReadAll();
  EXPECT_EQ(all.find("HEAD /h 0"), std::string::npos);
  EXPECT_NE(all.find("content-length: 10"), std::string::npos);
  EXPECT_NE(all.find("GET /g 0"), std::string::npos);
}

Task<void> TwoPieces(const RequestHead&, Downstream& downstream) {
  downstream.Start({.content_type = "text/event-stream"});
  co_await downstream.Send("data: 1\n\n");
  co_await downstream.End("data: 2\n\n");
}

TEST_F(HttpServerTest, Stream_IsChunked_OrEndsWithTheConnectionFor10) {
  handler_.act = TwoPieces;
  const std::uint16_t port = Start();
  Caller modern(port);
  modern.Send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_NE(modern.ReadUntil("0\r\n\r\n").find("9\r\ndata: 1\n\n\r\n9\r\ndata: 2\n\n\r\n0\r\n\r\n"),
            std::string::npos);
  Caller old(port);
  old.Send("GET / HTTP/1.0\r\n\r\n");
  const std::string all = old.ReadAll();
  EXPECT_TRUE(all.ends_with("\r\n\r\ndata: 1\n\ndata: 2\n\n<eof>")) << all;
  EXPECT_EQ(all.find("chunked"), std::string::npos);
}

TEST_F(HttpServerTest, Cut_IsNeverTakenForAnEnd) {
  handler_.act = [](const RequestHead&, Downstream& downstream) -> Task<void> {
    downstream.Start({.content_type = "text/event-stream"});
    co_await downstream.Send("data: 1\n\n");
    downstream.Cut();
  };
  const std::uint16_t port = Start();
  Caller modern(port);
  modern.Send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(modern.ReadAll().find("0\r\n\r\n"), std::string::npos);
  Caller old(port);
  old.Send("GET / HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(old.ReadAll().ends_with("<error>"));  // a reset, because an end would be a success
}

TEST_F(HttpServerTest, HangUp_FiresTheInterrupt_WhileTheHandlerWaits) {
  struct Wake final : gateway::Interrupt::Hook {
    void OnInterrupt() override { signal.Set(); }
    Signal signal;
  };
  std::promise<void> watching;
  std::promise<gateway::Interruption> seen;
  handler_.act = [&](const RequestHead&, Downstream& downstream) -> Task<void> {
    gateway::Interrupt interrupt;
    Wake wake;
    interrupt.SetHook(&wake);
    downstream.WatchHangUp(interrupt);
    watching.set_value();
    co_await wake.signal;
    seen.set_value(interrupt.why());
  };
  Caller caller(Start());
  caller.Send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  watching.get_future().wait();
  caller.Close();
  EXPECT_EQ(seen.get_future().get(), gateway::Interruption::kCallerGone);
}

TEST_F(HttpServerTest, SlowHead_IsToldSo_AndClosed) {
  limits_.header_deadline = Milliseconds(100);
  Caller caller(Start());
  caller.Send("GET / HTTP/1.1\r\nHo");
  EXPECT_NE(caller.ReadAll().find("408 Request Timeout"), std::string::npos);
}

TEST_F(HttpServerTest, SlowBody_IsCutOff) {
  limits_.body_stall_deadline = Milliseconds(100);
  Caller caller(Start());
  caller.Send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\nab");
  const std::string all = caller.ReadAll();
  EXPECT_NE(all.find("400 Bad Request"), std::string::npos) << all;
  EXPECT_NE(all.find("connection: close"), std::string::npos);
}

TEST_F(HttpServerTest, Drain_ClosesIdleConnections_AndFinishesTheRest) {
  std::promise<void> entered;
  Signal go;
  handler_.act = [&](const RequestHead& head, Downstream& downstream) -> Task<void> {
    if (head.path == "/slow") {
      entered.set_value();
      co_await go;
    }
    co_await downstream.Reply({}, "done");
  };
  const std::uint16_t port = Start();
  Caller idle(port);
  idle.Send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  idle.ReadUntil("done");
  Caller busy(port);
  busy.Send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
  entered.get_future().wait();
  OnLoop([&] { server_->Drain(); });
  EXPECT_EQ(idle.ReadAll(), "<eof>");
  OnLoop([&] { go.Set(); });
  const std::string all = busy.ReadAll();
  EXPECT_NE(all.find("done"), std::string::npos);
  EXPECT_NE(all.find("connection: close"), std::string::npos);
}

TEST_F(HttpServerTest, RequestsPerConnection_AreBounded) {
  limits_.requests_per_connection_max = 2;
  Caller caller(Start());
  caller.Send(
      "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n"
      "GET /3 HTTP/1.1\r\nHost: h\r\n\r\n");
  const std::string all = caller.ReadAll();
  EXPECT_NE(all.find("GET /2 0"), std::string::npos);
  EXPECT_EQ(all.find("GET /3 0"), std::string::npos);
}

TEST_F(HttpServerTest, MoreConnectionsThanAllowed_AreClosedAtOnce) {
  limits_.connections_max = 1;
  const std::uint16_t port = Start();
  Caller first(port);
  first.Send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  first.ReadUntil("GET / 0");
  Caller second(port);
  second.Send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(second.ReadAll().find("200"), std::string::npos);
}

}  // namespace
}  // namespace weir::net
