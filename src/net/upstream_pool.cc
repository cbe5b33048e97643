#include "net/upstream_pool.h"

#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <utility>

#include "base/check.h"
#include "net/address.h"
#include "net/byte_buffer.h"
#include "net/http1.h"

namespace weir::net {
namespace {

using gateway::Interruption;
using gateway::UpstreamReply;
using gateway::UpstreamRequest;

constexpr Duration kAddressLifetime = Seconds(30);
constexpr std::size_t kIdlePerOriginMax = 512;
constexpr std::size_t kBodyPiecesMax = 60;

// Where an SSL_CTX keeps its origin. Not SSL_CTX_set_app_data: Asio keeps its own there.
int OriginIndex() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

iovec Piece(std::string_view bytes) { return {const_cast<char*>(bytes.data()), bytes.size()}; }

// Asks a proxy for a tunnel to host:port. Empty when it stands, else why not; a cancelled socket
// ends it. Nothing comes behind the head before we speak, so what does is no proxy's.
Task<std::string> OpenTunnel(TcpSocket& socket, const std::string& host, std::uint16_t port) {
  struct Wait {
    TcpSocket& socket;
    TcpSocket::wait_type what;
    SystemError error;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> waiter) {
      socket.async_wait(what, [this, waiter](SystemError code) {
        error = code;
        waiter.resume();
      });
    }
    void await_resume() const noexcept {}
  };
  SystemError error;
  socket.non_blocking(true, error);
  const bool v6 = host.find(':') != std::string::npos;
  const std::string target = (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
  const std::string ask = "CONNECT " + target + " HTTP/1.1\r\nhost: " + target + "\r\n\r\n";
  std::size_t sent = 0;
  while (sent < ask.size()) {
    sent += socket.write_some(asio::buffer(ask.data() + sent, ask.size() - sent), error);
    if (error == asio::error::would_block) {
      Wait wait{socket, TcpSocket::wait_write, {}};
      co_await wait;
      error = wait.error;
    }
    if (error) co_return "proxy: " + error.message();
  }
  std::string head;
  HeadScanner scanner;
  const HeadLimits limits;
  while (true) {
    Wait wait{socket, TcpSocket::wait_read, {}};
    co_await wait;
    if (wait.error) co_return "proxy: " + wait.error.message();
    std::array<char, 1024> room;
    const std::size_t count = socket.read_some(asio::buffer(room), error);
    if (error == asio::error::would_block) continue;
    if (error) co_return "proxy: " + error.message();
    head.append(room.data(), count);
    switch (scanner.Scan(head, limits)) {
      case HeadScanner::State::kIncomplete:
        continue;
      case HeadScanner::State::kComplete:
        break;
      default:
        co_return "proxy: not an HTTP reply";
    }
    ResponseFrame frame;
    const HeadError fault =
        ParseResponse(std::string_view(head).substr(0, scanner.head_size()), limits, frame);
    if (fault.status != 0) co_return "proxy: not an HTTP reply";
    if (frame.status < 200 || frame.status > 299) {
      co_return "proxy: it answered " + std::to_string(frame.status);
    }
    if (scanner.head_size() != head.size()) co_return "proxy: bytes behind its reply";
    co_return std::string();
  }
}

}  // namespace

// One connection to an upstream and the HTTP state on it. Also the hook that a hang-up fires.
class UpstreamConnection final : public gateway::Interrupt::Hook {
 public:
  UpstreamConnection(UpstreamPool& pool, UpstreamPool::Origin& origin,
                     std::unique_ptr<Stream> stream)
      : pool(pool), origin(origin), stream(std::move(stream)) {}

  void OnInterrupt() override { stream->Cancel(); }

  UpstreamPool& pool;
  UpstreamPool::Origin& origin;
  std::unique_ptr<Stream> stream;
  ByteBuffer in;
  ResponseFrame frame;
  HeadScanner scanner;
  Tick last_used;
  bool reused = false;
};

// The reply on a pooled connection. Gives the connection back when its body was read to the end,
// closes it otherwise.
class PooledReply final : public UpstreamReply {
 public:
  PooledReply(std::unique_ptr<UpstreamConnection> connection, gateway::Interrupt& interrupt,
              Tick deadline, std::size_t head_size)
      : connection_(std::move(connection)),
        interrupt_(interrupt),
        deadline_(deadline),
        at_(head_size),
        left_(connection_->frame.length) {
    done_ = connection_->frame.framing == BodyFraming::kNone;
  }
  PooledReply(const PooledReply&) = delete;
  PooledReply& operator=(const PooledReply&) = delete;
  ~PooledReply() override {
    interrupt_.SetHook(nullptr);
    const bool clean = done_ && !failed_ && connection_->frame.keep_alive &&
                       at_ == Source().size() &&  // nothing unasked behind the reply
                       interrupt_.why() == Interruption::kNone;
    if (clean) {
      UpstreamPool& pool = connection_->pool;
      pool.Give(std::move(connection_));
    }
  }

  int status() const override { return connection_->frame.status; }
  const std::vector<gateway::HeaderView>& headers() const override {
    return connection_->frame.headers;
  }
  std::string_view Find(std::string_view lower_name) const override {
    for (const auto& header : headers()) {
      if (gateway::EqualsIgnoreCase(header.name, lower_name)) return header.value;
    }
    return {};
  }

  Task<Result<std::string_view>> Read(Duration wait) override {
    if (done_) co_return std::string_view();
    while (true) {
      if (interrupt_.why() != Interruption::kNone) {
        co_return Failed(Fail(weir::ErrorCode::kInterrupted, ErrorSource::kCaller, "interrupted"));
      }
      ByteBuffer& source = Source();
      if (at_ < source.size()) {
        std::string_view bytes = source.view().substr(at_);
        std::string_view data;
        switch (connection_->frame.framing) {
          case BodyFraming::kLength: {
            const std::size_t take =
                left_ < bytes.size() ? static_cast<std::size_t>(left_) : bytes.size();
            data = bytes.substr(0, take);
            at_ += take;
            left_ -= take;
            done_ = left_ == 0;
            co_return data;
          }
          case BodyFraming::kUntilClose:
            at_ = source.size();
            co_return bytes;
          case BodyFraming::kChunked: {
            const auto state = decoder_.Next(bytes, data);
            at_ = source.size() - bytes.size();
            if (state == ChunkedDecoder::State::kData) {
              // The end often arrives with the last data; knowing it now lets the connection go
              // back without another read.
              std::string_view rest = bytes;
              ChunkedDecoder ahead = decoder_;
              std::string_view none;
              if (ahead.Next(rest, none) == ChunkedDecoder::State::kEnd) {
                at_ = source.size() - rest.size();
                done_ = true;
              }
              co_return data;
            }
            if (state == ChunkedDecoder::State::kEnd) {
              done_ = true;
              co_return std::string_view();
            }
            if (state == ChunkedDecoder::State::kBad) {
              co_return Failed(Fail(weir::ErrorCode::kBadInput, ErrorSource::kUpstream,
                                    "malformed chunked reply"));
            }
            break;
          }
          case BodyFraming::kNone:
            co_return std::string_view();
        }
      }
      head_kept_ = true;  // all that came with the head is consumed
      body_.Clear();
      at_ = 0;
      char* room = body_.Grow(next_read_);
      const Tick limit = std::min(connection_->pool.loop_.Now() + wait, deadline_);
      const IoResult read = co_await connection_->stream->ReadSome({room, body_.capacity()}, limit,
                                                                   Stream::Expect::kBytesLater);
      if (read.status == IoStatus::kEof && connection_->frame.framing == BodyFraming::kUntilClose) {
        done_ = true;
        co_return std::string_view();
      }
      // A wait that ran out may be repeated; anything else is the end of this reply.
      if (read.status == IoStatus::kTimeout) co_return ReadFailure(read.status);
      if (read.status != IoStatus::kOk) co_return Failed(ReadFailure(read.status));
      body_.Commit(read.bytes);
      // A read that fills its room is followed by a larger one: bulk replies take few system calls,
      // quiet streams a small buffer.
      next_read_ =
          read.bytes == body_.capacity() ? ByteBuffer::kLargeBlock : ByteBuffer::kSmallBlock;
    }
  }

 private:
  // Behind the head at first, then a buffer of its own: the views into the head must stay valid.
  ByteBuffer& Source() { return head_kept_ ? body_ : connection_->in; }
  std::unexpected<Error> Failed(std::unexpected<Error> error) {
    failed_ = true;
    return error;
  }
  std::unexpected<Error> ReadFailure(IoStatus status) const {
    if (interrupt_.why() != Interruption::kNone) {
      return Fail(weir::ErrorCode::kInterrupted, ErrorSource::kCaller, "interrupted");
    }
    if (status == IoStatus::kTimeout) {
      return Fail(weir::ErrorCode::kTimeout, ErrorSource::kUpstream, "the reply stalled",
                  Retry::kOther);
    }
    return Fail(weir::ErrorCode::kConnectionLost, ErrorSource::kUpstream, "the reply was cut",
                Retry::kOther);
  }

  std::unique_ptr<UpstreamConnection> connection_;
  gateway::Interrupt& interrupt_;
  Tick deadline_;
  ByteBuffer body_;
  ChunkedDecoder decoder_;
  std::size_t at_;
  std::uint64_t left_;
  std::size_t next_read_ = ByteBuffer::kSmallBlock;
  bool head_kept_ = false;
  bool done_ = false;
  bool failed_ = false;
};

UpstreamPool::Origin::~Origin() {
  if (session != nullptr) SSL_SESSION_free(session);
}

UpstreamPool::UpstreamPool(Loop& loop, Reach reach) : loop_(loop), reach_(reach) {}
UpstreamPool::~UpstreamPool() = default;

UpstreamPool::Origin& UpstreamPool::FindOrigin(const config::Upstream& upstream,
                                               const config::Account* account) {
  std::string key = upstream.tls ? "https://" : "http://";
  key += upstream.host;
  key += ':';
  key += std::to_string(upstream.port);
  key += '|';
  key += upstream.ca_file;
  const bool tunnel = account != nullptr && account->proxy.has_value();
  if (tunnel) {
    key += '|';
    key += account->proxy->host;
    key += ':';
    key += std::to_string(account->proxy->port);
  }
  auto& slot = origins_[key];
  if (slot) return *slot;
  slot = std::make_unique<Origin>();
  slot->key = key;
  slot->host = upstream.host;
  slot->port = upstream.port;
  slot->tls = upstream.tls;
  slot->tunnel = tunnel;
  slot->dial_host = tunnel ? account->proxy->host : upstream.host;
  slot->dial_port = tunnel ? account->proxy->port : upstream.port;
  if (!upstream.tls) return *slot;

  auto context = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_client);
  SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_2_VERSION);
  SystemError error;
  if (upstream.ca_file.empty()) {
    context->set_default_verify_paths(error);
  } else {
    context->load_verify_file(upstream.ca_file, error);
  }
  if (error) {
    slot->tls_error = "cannot load certificates: " + error.message();
    return *slot;
  }
  // Sessions are resumed: a full handshake costs 764 us of CPU, a resumed one 135.
  SSL_CTX_set_session_cache_mode(context->native_handle(),
                                 SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_set_ex_data(context->native_handle(), OriginIndex(), slot.get());
  SSL_CTX_sess_set_new_cb(context->native_handle(), [](SSL* ssl, SSL_SESSION* session) {
    auto* origin = static_cast<Origin*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), OriginIndex()));
    if (origin->session != nullptr) SSL_SESSION_free(origin->session);
    origin->session = session;
    return 1;  // the reference is ours now
  });
  slot->tls_context = std::move(context);
  return *slot;
}

bool UpstreamPool::MayReach(const std::vector<asio::ip::tcp::endpoint>& addresses) const {
  return reach_ == Reach::kAnywhere ||
         std::ranges::all_of(addresses, [](const auto& one) { return IsPublic(one.address()); });
}

Task<Result<void>> UpstreamPool::ResolveHost(Origin& origin, Tick deadline,
                                             gateway::Interrupt& interrupt) {
  const auto not_public = [&] {
    return Fail(weir::ErrorCode::kConnectFailed, ErrorSource::kEnvironment,
                origin.dial_host + " is at an address of this machine or of a private network");
  };
  if (!origin.addresses.empty() && loop_.Now() < origin.addresses_until) co_return Result<void>();
  SystemError error;
  const auto literal = asio::ip::make_address(origin.dial_host, error);
  if (!error) {
    if (!MayReach({{literal, origin.dial_port}})) co_return not_public();
    origin.addresses.assign(1, {literal, origin.dial_port});
    origin.addresses_until = kNoDeadline;
    co_return Result<void>();
  }
  // Asio resolves on a thread of its own and posts the answer back. That thread cannot be hurried,
  // so who waits may give up: the answer then finds nobody.
  struct Answer {
    Signal* waiter = nullptr;
    SystemError error;
    TcpResolver::results_type results;
  };
  struct Waiting final : Deadline, gateway::Interrupt::Hook {
    void OnDeadline() override { signal.Set(); }
    void OnInterrupt() override { signal.Set(); }
    Signal signal;
  };
  const auto answer = std::make_shared<Answer>();
  Waiting waiting;
  answer->waiter = &waiting.signal;
  const auto resolver = std::make_shared<TcpResolver>(loop_.context());
  resolver->async_resolve(origin.dial_host, std::to_string(origin.dial_port),
                          asio::ip::resolver_base::numeric_service,
                          [answer, resolver](SystemError code, TcpResolver::results_type found) {
                            if (answer->waiter == nullptr) return;
                            answer->error = code;
                            answer->results = std::move(found);
                            std::exchange(answer->waiter, nullptr)->Set();
                          });
  interrupt.SetHook(&waiting);
  waiting.Arm(loop_, deadline);
  co_await waiting.signal;
  waiting.Disarm();
  interrupt.SetHook(nullptr);
  const bool gave_up = std::exchange(answer->waiter, nullptr) != nullptr;
  if (gave_up || answer->error) {
    if (!origin.addresses.empty()) co_return Result<void>();  // stale beats none: names seldom move
    co_return Fail(weir::ErrorCode::kConnectFailed, ErrorSource::kEnvironment,
                   "cannot resolve " + origin.dial_host + ": " +
                       (gave_up ? "no answer in time" : answer->error.message()),
                   Retry::kOther);
  }
  origin.addresses.clear();
  for (const auto& entry : answer->results) origin.addresses.push_back(entry.endpoint());
  if (!MayReach(origin.addresses)) {
    origin.addresses.clear();
    co_return not_public();
  }
  origin.addresses_until = loop_.Now() + kAddressLifetime;
  co_return Result<void>();
}

Task<Result<std::unique_ptr<UpstreamConnection>>> UpstreamPool::Connect(
    Origin& origin, Tick deadline, gateway::Interrupt& interrupt) {
  // A connect under way: cancelled by its deadline or by an interrupt.
  struct Connecting final : Deadline, gateway::Interrupt::Hook {
    explicit Connecting(Loop& loop) : socket(loop.context()) {}
    void OnDeadline() override { OnInterrupt(); }
    void OnInterrupt() override {
      SystemError ignored;
      socket.cancel(ignored);
    }
    TcpSocket socket;
  };
  struct Awaiter {
    TcpSocket& socket;
    asio::ip::tcp::endpoint endpoint;
    SystemError error;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> waiter) {
      socket.async_connect(endpoint, [this, waiter](SystemError code) {
        error = code;
        waiter.resume();
      });
    }
    void await_resume() const noexcept {}
  };
  if (origin.tls && !origin.tls_context) {
    co_return Fail(weir::ErrorCode::kConnectFailed, ErrorSource::kEnvironment, origin.tls_error,
                   Retry::kOther);
  }
  if (auto resolved = co_await ResolveHost(origin, deadline, interrupt); !resolved) {
    co_return std::unexpected(resolved.error());
  }
  const auto addresses = origin.addresses;
  std::string why = "no address";
  for (const auto& address : addresses) {
    if (interrupt.why() != Interruption::kNone) {
      co_return Fail(weir::ErrorCode::kInterrupted, ErrorSource::kCaller, "interrupted");
    }
    Connecting connecting(loop_);
    interrupt.SetHook(&connecting);
    connecting.Arm(loop_, deadline);
    Awaiter attempt{connecting.socket, address, {}};
    co_await attempt;
    std::string refused;
    if (!attempt.error && origin.tunnel) {
      refused = co_await OpenTunnel(connecting.socket, origin.host, origin.port);
    }
    connecting.Disarm();
    interrupt.SetHook(nullptr);
    if (attempt.error) {
      why = attempt.error == asio::error::operation_aborted ? "timed out" : attempt.error.message();
      continue;
    }
    if (!refused.empty()) {
      why = std::move(refused);
      continue;
    }
    ++connects_;
    if (!origin.tls) {
      co_return std::make_unique<UpstreamConnection>(
          *this, origin, std::make_unique<TcpStream>(loop_, std::move(connecting.socket)));
    }
    auto tls =
        std::make_unique<TlsStream>(loop_, std::move(connecting.socket), *origin.tls_context);
    const IoStatus status = co_await tls->Handshake(origin.host, origin.session, deadline, why);
    if (status == IoStatus::kOk) {
      co_return std::make_unique<UpstreamConnection>(*this, origin, std::move(tls));
    }
    why = "TLS: " + (why.empty() ? std::string("handshake failed") : why);
  }
  if (interrupt.why() != Interruption::kNone) {
    co_return Fail(weir::ErrorCode::kInterrupted, ErrorSource::kCaller, "interrupted");
  }
  co_return Fail(
      weir::ErrorCode::kConnectFailed, ErrorSource::kUpstream,
      "cannot connect to " + origin.dial_host + ":" + std::to_string(origin.dial_port) + ": " + why,
      Retry::kOther);
}

std::unique_ptr<UpstreamConnection> UpstreamPool::TakeIdle(Origin& origin) {
  while (!origin.idle.empty()) {
    auto connection = std::move(origin.idle.back());
    origin.idle.pop_back();
    --idle_;
    // What has not been heard of yet is repaired by the retry.
    if (connection->stream->IdleAndOpen()) {
      connection->reused = true;
      return connection;
    }
  }
  return nullptr;
}

void UpstreamPool::Give(std::unique_ptr<UpstreamConnection> connection) {
  Origin& origin = connection->origin;
  if (origin.idle.size() >= kIdlePerOriginMax) return;
  connection->in.Release();
  connection->last_used = loop_.Now();
  origin.idle.push_back(std::move(connection));
  ++idle_;
}

void UpstreamPool::CloseIdle(Duration unused_for) {
  const Tick now = loop_.Now();
  for (auto& [key, origin] : origins_) {
    auto& idle = origin->idle;
    std::size_t expired = 0;
    while (expired < idle.size() && now - idle[expired]->last_used > unused_for) ++expired;
    idle.erase(idle.begin(), idle.begin() + static_cast<std::ptrdiff_t>(expired));
    idle_ -= static_cast<std::int64_t>(expired);
  }
}

Task<Result<std::unique_ptr<UpstreamReply>>> UpstreamPool::Send(UpstreamRequest request,
                                                                gateway::Interrupt& interrupt) {
  using Code = weir::ErrorCode;
  const config::Upstream& upstream = *request.upstream;
  Origin& origin = FindOrigin(upstream, request.account);
  std::size_t body_size = 0;
  for (const auto piece : request.body) body_size += piece.size();

  std::string head;
  head.reserve(request.headers.size() + 256);
  head += request.method;
  head += ' ';
  head += request.target;
  head += " HTTP/1.1\r\nhost: ";
  head += upstream.host;
  if (upstream.port != (upstream.tls ? 443 : 80)) {
    head += ':';
    head += std::to_string(upstream.port);
  }
  head += "\r\n";
  head += request.headers;
  if (request.method != "GET") {
    head += "content-length: ";
    head += std::to_string(body_size);
    head += "\r\n";
  }
  head += "\r\n";

  while (true) {
    if (interrupt.why() != Interruption::kNone) {
      co_return Fail(Code::kInterrupted, ErrorSource::kCaller, "interrupted");
    }
    auto connection = TakeIdle(origin);
    if (!connection) {
      const Tick connect_by = std::min(loop_.Now() + upstream.connect_deadline, request.deadline);
      auto connected = co_await Connect(origin, connect_by, interrupt);
      if (!connected) co_return std::unexpected(connected.error());
      connection = std::move(*connected);
    }
    interrupt.SetHook(connection.get());
    std::array<iovec, kBodyPiecesMax + 1> pieces;
    std::size_t count = 0;
    pieces[count++] = Piece(head);
    for (const auto piece : request.body) {
      CHECK(count < pieces.size(), "a body is edited in a handful of places");
      if (!piece.empty()) pieces[count++] = Piece(piece);
    }
    const Tick first_byte_by =
        std::min(loop_.Now() + upstream.first_byte_deadline, request.deadline);
    // A failed write is not the end: an upstream that refuses early has answered already.
    const IoStatus written =
        co_await connection->stream->WriteAll({pieces.data(), count}, first_byte_by);

    const HeadLimits limits;
    auto& in = connection->in;
    in.Clear();
    connection->scanner.Reset();
    IoStatus status = IoStatus::kOk;
    HeadScanner::State state = HeadScanner::State::kIncomplete;
    HeadError error;
    while (true) {
      while (state == HeadScanner::State::kIncomplete) {
        char* room = in.Grow(1024);
        const IoResult read = co_await connection->stream->ReadSome(
            {room, in.capacity() - in.size()}, first_byte_by,
            written == IoStatus::kOk ? Stream::Expect::kBytesLater : Stream::Expect::kBytesNow);
        status = read.status;
        if (status != IoStatus::kOk) break;
        in.Commit(read.bytes);
        state = connection->scanner.Scan(in.view(), limits);
      }
      if (state != HeadScanner::State::kComplete) break;
      const std::size_t head_size = connection->scanner.head_size();
      error = ParseResponse(in.view().substr(0, head_size), limits, connection->frame);
      if (error.status == 0 && connection->frame.status < 200) {
        if (connection->frame.status == 101) {
          error = {502, "the upstream switched protocols unasked"};
          break;
        }
        in.Consume(head_size);  // an interim reply (100, 103): the real one follows
        connection->scanner.Reset();
        state = connection->scanner.Scan(in.view(), limits);
        continue;
      }
      break;
    }
    interrupt.SetHook(nullptr);
    if (interrupt.why() != Interruption::kNone) {
      co_return Fail(Code::kInterrupted, ErrorSource::kCaller, "interrupted");
    }
    if (status != IoStatus::kOk) {
      if (connection->reused && in.size() == 0 && status != IoStatus::kTimeout) continue;
      if (status == IoStatus::kTimeout) {
        co_return Fail(Code::kTimeout, ErrorSource::kUpstream, "no reply in time", Retry::kOther);
      }
      co_return Fail(Code::kConnectionLost, ErrorSource::kUpstream,
                     "the connection ended before a reply", Retry::kOther);
    }
    if (state != HeadScanner::State::kComplete || error.status != 0) {
      co_return Fail(
          Code::kBadInput, ErrorSource::kUpstream,
          "not an HTTP reply: " + std::string(error.status != 0 ? error.reason : "malformed head"),
          Retry::kOther);
    }
    if (written != IoStatus::kOk) connection->frame.keep_alive = false;
    const std::size_t head_size = connection->scanner.head_size();
    auto& hook = *connection;
    auto reply = std::make_unique<PooledReply>(std::move(connection), interrupt, request.deadline,
                                               head_size);
    interrupt.SetHook(&hook);
    co_return reply;
  }
}

}  // namespace weir::net
