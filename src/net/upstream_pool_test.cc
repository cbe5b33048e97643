// The upstream client over real sockets, against a peer that does what each test says: reuse,
// strictness towards replies, deadlines, interrupts, and TLS that refuses the wrong certificate.
#include "net/upstream_pool.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace weir::net {
namespace {

using gateway::Interrupt;
using gateway::Interruption;
using gateway::UpstreamReply;
using gateway::UpstreamRequest;

// One accepted connection, plain or TLS, with blocking calls.
class Wire {
 public:
  Wire(int fd, SSL* ssl) : fd_(fd), ssl_(ssl) {}
  // The head and, when it has a content-length, the body of one request; empty at the end.
  std::string ReadRequest() {
    std::string all;
    std::size_t want = std::string::npos;
    char buffer[4096];
    while (true) {
      const auto head = all.find("\r\n\r\n");
      if (head != std::string::npos && want == std::string::npos) {
        const auto at = all.find("content-length: ");
        want = head + 4 + (at < head ? std::stoul(all.substr(at + 16)) : 0);
      }
      if (all.size() >= want) return all;
      const ssize_t count = ssl_ != nullptr ? SSL_read(ssl_, buffer, sizeof(buffer))
                                            : ::recv(fd_, buffer, sizeof(buffer), 0);
      if (count <= 0) return {};
      all.append(buffer, static_cast<std::size_t>(count));
    }
  }
  void Write(std::string_view bytes) {
    if (ssl_ != nullptr) {
      SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size()));
    } else {
      EXPECT_GE(::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL), 0);
    }
  }
  // Returns once the other side has ended the connection.
  void AwaitEnd() {
    char buffer[256];
    while (::recv(fd_, buffer, sizeof(buffer), 0) > 0) {
    }
  }

 private:
  int fd_;
  SSL* ssl_;
};

class Peer {
 public:
  using Act = std::function<void(Wire&)>;
  // Serves one connection after the other with `acts`, then refuses to accept more.
  explicit Peer(std::vector<Act> acts, SSL_CTX* tls = nullptr) : acts_(std::move(acts)), tls_(tls) {
    fd_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(::listen(fd_, 16), 0);
    socklen_t size = sizeof(address);
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size);
    port = ntohs(address.sin_port);
    thread_ = std::thread([this] { Run(); });
  }
  ~Peer() {
    ::shutdown(fd_, SHUT_RDWR);
    thread_.join();
    ::close(fd_);
  }
  std::uint16_t port = 0;
  std::atomic<int> connections{0};

 private:
  void Run() {
    for (const auto& act : acts_) {
      const int fd = ::accept(fd_, nullptr, nullptr);
      if (fd < 0) return;
      ++connections;
      SSL* ssl = nullptr;
      if (tls_ != nullptr) {
        ssl = SSL_new(tls_);
        SSL_set_fd(ssl, fd);
        if (SSL_accept(ssl) != 1) {
          SSL_free(ssl);
          ::close(fd);
          continue;
        }
      }
      Wire wire(fd, ssl);
      act(wire);
      if (ssl != nullptr) SSL_free(ssl);
      ::close(fd);
    }
  }
  std::vector<Act> acts_;
  SSL_CTX* tls_;
  int fd_ = -1;
  std::thread thread_;
};

// What a test looks at after a call.
struct Outcome {
  std::optional<Error> error;
  int status = 0;
  std::string body;
};

class UpstreamPoolTest : public testing::Test {
 protected:
  config::Upstream UpstreamAt(std::uint16_t port) {
    config::Upstream upstream;
    upstream.name = "u";
    upstream.tls = false;
    upstream.host = "127.0.0.1";
    upstream.port = port;
    upstream.connect_deadline = Seconds(5);
    upstream.first_byte_deadline = Seconds(5);
    return upstream;
  }
  Task<void> CallTask(const config::Upstream& upstream, Outcome& outcome, Interrupt& interrupt,
                      std::function<void()> after_head) {
    const std::array<std::string_view, 2> body = {"{\"a\":", "1}"};
    UpstreamRequest request;
    request.upstream = &upstream;
    request.account = &account_;
    request.target = "/v1/responses";
    request.headers = "content-type: application/json\r\n";
    request.body = body;
    auto reply = co_await pool_.Send(std::move(request), interrupt);
    if (!reply) {
      outcome.error = reply.error();
      co_return;
    }
    outcome.status = (*reply)->status();
    if (after_head) after_head();
    while (true) {
      const auto bytes = co_await (*reply)->Read(read_wait_);
      if (!bytes) {
        outcome.error = bytes.error();
        co_return;
      }
      if (bytes->empty()) co_return;
      outcome.body.append(*bytes);
    }
  }
  void RunToEnd(Task<void> task) {
    bool done = false;
    Spawn([](Task<void> inner, bool& finished) -> Task<void> {
      co_await std::move(inner);
      finished = true;
    }(std::move(task), done));
    while (!done) loop_.context().run_one();
    loop_.context().restart();
  }
  Outcome Call(const config::Upstream& upstream, std::function<void()> after_head = {}) {
    Outcome outcome;
    Interrupt interrupt;
    RunToEnd(CallTask(upstream, outcome, interrupt, std::move(after_head)));
    return outcome;
  }

  Duration read_wait_ = Seconds(5);
  config::Account account_;
  Loop loop_;
  UpstreamPool pool_{loop_};
};

std::string Ok(const std::string& body) {
  return "HTTP/1.1 200 OK\r\ncontent-length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

TEST_F(UpstreamPoolTest, Request_IsSerialisedAnew_AndConnectionsAreReused) {
  std::vector<std::string> seen;
  Peer peer({[&](Wire& wire) {
    for (std::string request; !(request = wire.ReadRequest()).empty();) {
      seen.push_back(request);
      wire.Write(Ok("hello"));
    }
  }});
  const auto upstream = UpstreamAt(peer.port);
  EXPECT_EQ(Call(upstream).body, "hello");
  EXPECT_EQ(Call(upstream).body, "hello");
  EXPECT_EQ(pool_.connects(), 1);
  EXPECT_EQ(pool_.idle(), 1);
  pool_.CloseIdle(Duration{-1});
  EXPECT_EQ(pool_.idle(), 0);
  ASSERT_EQ(seen.size(), 2U);
  EXPECT_EQ(seen[0],
            "POST /v1/responses HTTP/1.1\r\nhost: 127.0.0.1:" + std::to_string(peer.port) +
                "\r\ncontent-type: application/json\r\ncontent-length: 7\r\n\r\n{\"a\":1}");
}

TEST_F(UpstreamPoolTest, ChunkedAndUnbounded_AreReadToTheirEnd) {
  Peer peer({[](Wire& wire) {
               wire.ReadRequest();
               wire.Write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n");
               wire.Write("2\r\nde\r\n0\r\n\r\n");
               wire.AwaitEnd();
             },
             [](Wire& wire) {
               wire.ReadRequest();
               wire.Write("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nuntil the end");
             }});
  const auto upstream = UpstreamAt(peer.port);
  EXPECT_EQ(Call(upstream).body, "abcde");
  EXPECT_EQ(pool_.idle(), 1);
  pool_.CloseIdle(Duration{-1});
  EXPECT_EQ(Call(upstream).body, "until the end");
  EXPECT_EQ(pool_.idle(), 0);  // nothing can follow a body without a length
}

TEST_F(UpstreamPoolTest, InterimReplies_AreSkipped) {
  Peer peer({[](Wire& wire) {
    wire.ReadRequest();
    wire.Write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\na: b\r\n\r\n" + Ok("x"));
    wire.AwaitEnd();
  }});
  const auto upstream = UpstreamAt(peer.port);
  const Outcome outcome = Call(upstream);
  EXPECT_EQ(outcome.status, 200);
  EXPECT_EQ(outcome.body, "x");
  pool_.CloseIdle(Duration{-1});
}

TEST_F(UpstreamPoolTest, StaleConnection_IsReplacedOnce_WithoutAnError) {
  const auto serve_one = [](Wire& wire) {
    wire.ReadRequest();
    wire.Write(Ok("x"));
  };  // and closes: the next request on it finds the end
  Peer peer({serve_one, serve_one});
  const auto upstream = UpstreamAt(peer.port);
  EXPECT_EQ(Call(upstream).body, "x");
  EXPECT_EQ(Call(upstream).body, "x");
  EXPECT_EQ(peer.connections, 2);
}

TEST_F(UpstreamPoolTest, FreshConnectionThatDies_IsAnError_NeverSentTwice) {
  Peer peer({[](Wire& wire) { wire.ReadRequest(); }, [](Wire& wire) { wire.ReadRequest(); }});
  const auto upstream = UpstreamAt(peer.port);
  const Outcome outcome = Call(upstream);
  ASSERT_TRUE(outcome.error.has_value());
  EXPECT_EQ(outcome.error->code, weir::ErrorCode::kConnectionLost);
  EXPECT_EQ(outcome.error->retry, Retry::kOther);
  EXPECT_EQ(peer.connections, 1);
}

TEST_F(UpstreamPoolTest, EveryBadReply_IsAnError_AndEndsTheConnection) {
  const std::vector<std::pair<std::string, weir::ErrorCode>> rows = {
      {"SSH-2.0-x\r\n\r\n", weir::ErrorCode::kBadInput},
      {"HTTP/1.1 200 OK\ncontent-length: 1\n\nx", weir::ErrorCode::kBadInput},
      {"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\nx",
       weir::ErrorCode::kBadInput},
      {"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
       weir::ErrorCode::kBadInput},
      {"HTTP/1.1 101 Switching Protocols\r\n\r\n", weir::ErrorCode::kBadInput},
      {"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort", weir::ErrorCode::kConnectionLost},
      {"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nab",
       weir::ErrorCode::kConnectionLost},
      {"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n", weir::ErrorCode::kBadInput},
      {"HTTP/1.1 200 OK\r\nA: " + std::string(40'000, 'a'), weir::ErrorCode::kBadInput},
  };
  for (const auto& row : rows) {
    const std::string& bytes = row.first;
    const weir::ErrorCode code = row.second;
    Peer peer({[&bytes](Wire& wire) {
      wire.ReadRequest();
      wire.Write(bytes);
    }});
    const auto upstream = UpstreamAt(peer.port);
    const Outcome outcome = Call(upstream);
    ASSERT_TRUE(outcome.error.has_value()) << bytes.substr(0, 80);
    EXPECT_EQ(outcome.error->code, code) << bytes.substr(0, 80);
    EXPECT_EQ(outcome.error->source, ErrorSource::kUpstream);
    EXPECT_EQ(pool_.idle(), 0);
  }
}

TEST_F(UpstreamPoolTest, BytesBehindAReply_MakeTheConnectionUnusable) {
  Peer peer({[](Wire& wire) {
    wire.ReadRequest();
    wire.Write(Ok("x") + "HTTP/1.1 200 OK\r\n");
    wire.AwaitEnd();
  }});
  const auto upstream = UpstreamAt(peer.port);
  EXPECT_EQ(Call(upstream).body, "x");
  EXPECT_EQ(pool_.idle(), 0);
}

TEST_F(UpstreamPoolTest, PublicOnly_ConnectsToNothingOfThisMachine_HoweverItIsWritten) {
  Peer peer({[](Wire& wire) {
    wire.ReadRequest();
    wire.Write(Ok("x"));
  }});
  UpstreamPool guarded(loop_, Reach::kPublicOnly);
  for (const char* host :
       {"127.0.0.1", "127.1", "0x7f000001", "2130706433", "0", "localhost", "::1",
        "::ffff:127.0.0.1", "64:ff9b::7f00:1", "169.254.169.254", "10.0.0.1"}) {
    config::Upstream upstream = UpstreamAt(peer.port);
    upstream.host = host;
    std::optional<Error> error;
    Interrupt interrupt;
    RunToEnd([](UpstreamPool& pool, const config::Upstream& to, Interrupt& by,
                std::optional<Error>& out) -> Task<void> {
      UpstreamRequest request;
      request.upstream = &to;
      request.target = "/";
      const auto reply = co_await pool.Send(std::move(request), by);
      if (!reply) out = reply.error();
    }(guarded, upstream, interrupt, error));
    ASSERT_TRUE(error.has_value()) << host;
    EXPECT_EQ(error->code, weir::ErrorCode::kConnectFailed) << host;
    EXPECT_EQ(guarded.connects(), 0) << host << ": " << error->detail;
  }
  EXPECT_EQ(peer.connections, 0);
  EXPECT_EQ(Call(UpstreamAt(peer.port)).body, "x");  // the other pool may
  pool_.CloseIdle(Duration{-1});
}

TEST_F(UpstreamPoolTest, AccountWithAProxy_GoesThroughATunnel_WhichIsReused) {
  std::vector<std::string> seen;
  Peer proxy({[&](Wire& wire) {
    seen.push_back(wire.ReadRequest());
    wire.Write("HTTP/1.1 200 Connection established\r\n\r\n");
    for (std::string request; !(request = wire.ReadRequest()).empty();) {
      seen.push_back(request);
      wire.Write(Ok("through"));
    }
  }});
  config::Upstream upstream = UpstreamAt(4711);
  upstream.host = "api.example.com";  // for the proxy to resolve
  account_.proxy = config::Proxy{.host = "127.0.0.1", .port = proxy.port};
  EXPECT_EQ(Call(upstream).body, "through");
  EXPECT_EQ(Call(upstream).body, "through");
  EXPECT_EQ(pool_.connects(), 1);
  pool_.CloseIdle(Duration{-1});
  ASSERT_EQ(seen.size(), 3U);
  EXPECT_EQ(seen[0], "CONNECT api.example.com:4711 HTTP/1.1\r\nhost: api.example.com:4711\r\n\r\n");
  EXPECT_TRUE(seen[1].starts_with("POST /v1/responses HTTP/1.1\r\nhost: api.example.com:4711\r\n"));
}

TEST_F(UpstreamPoolTest, ProxyThatRefusesOrBabbles_IsConnectFailed) {
  for (const std::string_view answer :
       {"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nbytes nobody asked for", "SSH-2.0-OpenSSH\r\n\r\n", ""}) {
    Peer proxy({[&](Wire& wire) {
      wire.ReadRequest();
      if (!answer.empty()) wire.Write(answer);
    }});
    account_.proxy = config::Proxy{.host = "127.0.0.1", .port = proxy.port};
    const Outcome outcome = Call(UpstreamAt(1));
    ASSERT_TRUE(outcome.error) << answer;
    EXPECT_EQ(outcome.error->code, weir::ErrorCode::kConnectFailed) << answer;
    EXPECT_NE(outcome.error->detail.find("proxy"), std::string::npos) << outcome.error->detail;
  }
}

TEST_F(UpstreamPoolTest, NothingListens_IsConnectFailed) {
  std::uint16_t port = 0;
  {
    const Peer gone({});
    port = gone.port;
  }
  const auto upstream = UpstreamAt(port);
  const Outcome outcome = Call(upstream);
  ASSERT_TRUE(outcome.error.has_value());
  EXPECT_EQ(outcome.error->code, weir::ErrorCode::kConnectFailed);
}

TEST_F(UpstreamPoolTest, NoHeadInTime_AndNoBytesInTime_AreTimeouts) {
  Peer peer({[](Wire& wire) {
               wire.ReadRequest();
               wire.AwaitEnd();
             },
             [](Wire& wire) {
               wire.ReadRequest();
               wire.Write("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab");
               wire.AwaitEnd();
             }});
  auto upstream = UpstreamAt(peer.port);
  upstream.first_byte_deadline = Milliseconds(100);
  EXPECT_EQ(Call(upstream).error->code, weir::ErrorCode::kTimeout);
  upstream.first_byte_deadline = Seconds(5);
  read_wait_ = Milliseconds(100);
  const Outcome outcome = Call(upstream);
  EXPECT_EQ(outcome.body, "ab");
  EXPECT_EQ(outcome.error->code, weir::ErrorCode::kTimeout);
}

TEST_F(UpstreamPoolTest, Interrupt_EndsTheWait_AndTheConnection) {
  Peer peer({[](Wire& wire) {
    wire.ReadRequest();
    wire.Write("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab");
    wire.AwaitEnd();  // returns only because our side closes
  }});
  const auto upstream = UpstreamAt(peer.port);
  Outcome outcome;
  Interrupt interrupt;
  RunToEnd(CallTask(upstream, outcome, interrupt,
                    [&] { loop_.Post([&] { interrupt.Fire(Interruption::kCallerGone); }); }));
  ASSERT_TRUE(outcome.error.has_value());
  EXPECT_EQ(outcome.error->code, weir::ErrorCode::kInterrupted);
  EXPECT_EQ(pool_.idle(), 0);
}

// A certificate for `host`, signed by itself, and the file of it.
struct Certificate {
  Certificate(const std::string& host, const std::string& file) : path(file) {
    key = EVP_EC_gen("P-256");
    cert = X509_new();
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    X509_NAME* name = X509_get_subject_name(cert);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(host.c_str()), -1, -1, 0);
    X509_set_issuer_name(cert, name);
    const std::string alternative = "DNS:" + host;
    X509_EXTENSION* extension =
        X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, alternative.c_str());
    X509_add_ext(cert, extension, -1);
    X509_EXTENSION_free(extension);
    X509_sign(cert, key, EVP_sha256());
    FILE* out = std::fopen(path.c_str(), "w");
    PEM_write_X509(out, cert);
    std::fclose(out);
    context = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate(context, cert);
    SSL_CTX_use_PrivateKey(context, key);
  }
  ~Certificate() {
    SSL_CTX_free(context);
    X509_free(cert);
    EVP_PKEY_free(key);
    std::filesystem::remove(path);
  }
  std::string path;
  EVP_PKEY* key = nullptr;
  X509* cert = nullptr;
  SSL_CTX* context = nullptr;
};

TEST_F(UpstreamPoolTest, Tls_WithATrustedCertificate_WorksAndIsReused) {
  const Certificate certificate("localhost", testing::TempDir() + "weir-tls-good.pem");
  Peer peer({[](Wire& wire) {
              while (!wire.ReadRequest().empty()) wire.Write(Ok("secret"));
            }},
            certificate.context);
  auto upstream = UpstreamAt(peer.port);
  upstream.tls = true;
  upstream.host = "localhost";
  upstream.ca_file = certificate.path;
  const Outcome first = Call(upstream);
  EXPECT_EQ(first.body, "secret") << (first.error ? first.error->detail : "");
  EXPECT_EQ(Call(upstream).body, "secret");
  EXPECT_EQ(pool_.connects(), 1);
  pool_.CloseIdle(Duration{-1});
}

TEST_F(UpstreamPoolTest, Tls_ForAnotherHost_OrUnknownIssuer_IsRefused) {
  const Certificate certificate("elsewhere.example", testing::TempDir() + "weir-tls-other.pem");
  const auto never = [](Wire& wire) { EXPECT_EQ(wire.ReadRequest(), ""); };
  Peer peer({never, never, never, never}, certificate.context);
  auto upstream = UpstreamAt(peer.port);
  upstream.tls = true;
  upstream.host = "localhost";
  upstream.ca_file = certificate.path;
  Outcome outcome = Call(upstream);
  ASSERT_TRUE(outcome.error.has_value());
  EXPECT_EQ(outcome.error->code, weir::ErrorCode::kConnectFailed);
  EXPECT_NE(outcome.error->detail.find("TLS"), std::string::npos) << outcome.error->detail;
  upstream.ca_file.clear();  // the system's issuers do not know it
  outcome = Call(upstream);
  ASSERT_TRUE(outcome.error.has_value());
  EXPECT_EQ(outcome.error->code, weir::ErrorCode::kConnectFailed);
}

}  // namespace
}  // namespace weir::net
