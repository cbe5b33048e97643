#include "net/http_server.h"

#include <array>
#include <boost/asio/ip/address.hpp>
#include <ctime>

#include "base/check.h"
#include "net/byte_buffer.h"
#include "net/http1.h"
#include "net/stream.h"

namespace weir::net {
namespace {

using gateway::Interruption;
using gateway::ReplyHead;

iovec Piece(std::string_view bytes) { return {const_cast<char*>(bytes.data()), bytes.size()}; }

// Room that is always left behind a head, for the framing of a chunked body and for what a caller
// sends ahead; the views into the head forbid the buffer to move later.
constexpr std::size_t kRoomBehindHead = 1024;
constexpr std::size_t kLingerBytesMax = 1 << 20;
constexpr Duration kLingerDeadline = Seconds(2);

// The Date header, made once a second (RFC 9110 section 6.6.1).
std::string_view DateLine(Instant now) {
  static thread_local std::int64_t second = -1;
  static thread_local std::array<char, 64> line{};
  static thread_local std::size_t size = 0;
  const std::int64_t current = now.ns / 1'000'000'000;
  if (current != second) {
    second = current;
    const auto time = static_cast<std::time_t>(current);
    std::tm parts{};
    gmtime_r(&time, &parts);
    size = std::strftime(line.data(), line.size(), "date: %a, %d %b %Y %H:%M:%S GMT\r\n", &parts);
  }
  return {line.data(), size};
}

}  // namespace

class HttpConnection final : public gateway::Downstream, private TcpStream::Watcher {
 public:
  HttpConnection(HttpServer& server, TcpSocket socket)
      : server_(server), loop_(server.loop_), stream_(server.loop_, std::move(socket)) {
    server_.Link(this);
  }
  ~HttpConnection() override { server_.Unlink(this); }

  static Task<void> Run(std::unique_ptr<HttpConnection> connection) {
    while (co_await connection->ServeOne()) {
    }
  }

  Task<Result<std::string_view>> ReadBody(std::int64_t bytes_max) override;
  Task<bool> Reply(ReplyHead head, std::string_view body) override;
  void Start(ReplyHead head) override;
  Task<bool> Send(std::string_view bytes) override;
  Task<bool> End(std::string_view last_bytes) override;
  void Cut() override;
  bool started() const override { return started_; }
  void WatchHangUp(gateway::Interrupt& interrupt) override;

  void CloseIfIdle() {
    if (idle_) stream_.Cancel();
  }
  void FireInterrupt() {
    if (interrupt_ != nullptr) {
      interrupt_->Fire(Interruption::kDrain);
    } else {
      stream_.Cancel();
    }
  }

 private:
  friend class HttpServer;

  Task<bool> ServeOne();
  Task<bool> ReadHead();
  Task<bool> RefuseHead(int status, std::string_view reason);
  Task<void> Linger();
  Task<Result<std::string_view>> ReadLengthBody();
  Task<Result<std::string_view>> ReadChunkedBody(std::int64_t bytes_max);
  Task<Result<std::size_t>> ReadBodyBytes(std::span<char> into);
  void SkipUnreadBody();
  void BuildHead(const ReplyHead& head, std::int64_t content_length);
  Task<bool> Write(std::span<iovec> pieces);
  Tick WriteDeadline() { return loop_.Now() + server_.limits_.write_stall_deadline; }
  void OnReadable() override;

  HttpServer& server_;
  Loop& loop_;
  TcpStream stream_;
  HttpConnection* previous_ = nullptr;  // in the server's list
  HttpConnection* next_ = nullptr;

  ByteBuffer in_;    // head, then what follows it
  ByteBuffer body_;  // a body that does not fit behind its head
  HeadScanner scanner_;
  RequestFrame frame_;
  std::string out_;  // the reply's head, until it is sent
  gateway::Interrupt* interrupt_ = nullptr;
  Tick started_at_;
  Tick body_started_at_;
  std::uint64_t body_received_ = 0;
  std::size_t head_size_ = 0;
  std::size_t used_ = 0;  // bytes of in_ that belong to this request
  std::int32_t requests_ = 0;
  bool idle_ = false;
  bool body_read_ = false;
  bool started_ = false;       // a byte of the reply was written
  bool complete_ = false;      // the whole reply was written
  bool head_pending_ = false;  // out_ waits for the first body bytes
  bool keep_alive_ = true;
  bool gone_ = false;  // the caller's connection is of no use any more
};

Task<bool> HttpConnection::ReadHead() {
  const auto& limits = server_.limits_;
  const HeadLimits head_limits;
  scanner_.Reset();
  if (in_.size() == 0) {
    in_.Release();
    body_.Release();
    idle_ = true;
    const Duration patience = requests_ == 0 ? limits.header_deadline : limits.idle_deadline;
    const IoStatus status = co_await stream_.AwaitReadable(loop_.Now() + patience);
    idle_ = false;
    if (status != IoStatus::kOk) co_return false;
  }
  started_at_ = loop_.Now();
  const Tick deadline = started_at_ + limits.header_deadline;
  bool leading_crlf = true;
  while (true) {
    // One empty line before a request line is tolerated (RFC 9112 section 2.2): old clients send it
    // after a body.
    if (leading_crlf && in_.size() >= 2) {
      if (in_.view().starts_with("\r\n")) in_.Consume(2);
      leading_crlf = false;
    }
    switch (leading_crlf && in_.view() == "\r" ? HeadScanner::State::kIncomplete
                                               : scanner_.Scan(in_.view(), head_limits)) {
      case HeadScanner::State::kComplete:
        co_return true;
      case HeadScanner::State::kBad:
        co_return co_await RefuseHead(400, "malformed request head");
      case HeadScanner::State::kTooLarge:
        co_return co_await RefuseHead(431, "the request head is too large");
      case HeadScanner::State::kTooManyFields:
        co_return co_await RefuseHead(431, "too many headers");
      case HeadScanner::State::kIncomplete:
        break;
    }
    char* room = in_.Grow(kRoomBehindHead);
    const IoResult read = co_await stream_.ReadSome({room, in_.capacity() - in_.size()}, deadline,
                                                    Stream::Expect::kBytesNow);
    if (read.status == IoStatus::kTimeout && in_.size() > 0) {
      co_return co_await RefuseHead(408, "the request head did not arrive in time");
    }
    if (read.status != IoStatus::kOk) co_return false;
    in_.Commit(read.bytes);
  }
}

Task<bool> HttpConnection::RefuseHead(int status, std::string_view reason) {
  keep_alive_ = false;
  frame_.http_1_0 = false;
  frame_.head.method = "GET";
  ReplyHead head;
  head.status = status;
  co_await Reply(std::move(head), server_.handler_.BadRequestBody(status, reason));
  co_await Linger();
  co_return false;
}

Task<bool> HttpConnection::ServeOne() {
  started_ = complete_ = head_pending_ = body_read_ = false;
  head_size_ = used_ = 0;
  body_received_ = 0;
  if (!co_await ReadHead()) co_return false;
  head_size_ = used_ = scanner_.head_size();
  in_.Grow(kRoomBehindHead);  // now, because from here on views forbid it to move
  const HeadLimits head_limits;
  const HeadError error = ParseRequest(in_.view().substr(0, head_size_), head_limits, frame_);
  if (error.status != 0) co_return co_await RefuseHead(error.status, error.reason);

  ++requests_;
  keep_alive_ = frame_.keep_alive && !server_.draining_ &&
                requests_ < server_.limits_.requests_per_connection_max;
  SkipUnreadBody();  // a reply that comes before the body was read must know whether it may keep
  co_await server_.handler_.Handle(frame_.head, *this, started_at_);
  interrupt_ = nullptr;
  stream_.Unwatch();
  if (!complete_ || gone_) co_return false;
  if (!keep_alive_) {
    co_await Linger();
    co_return false;
  }
  in_.Consume(used_);
  body_.Release();
  co_return true;
}

// Until the handler asks for the body, it counts as unread: if all of it has arrived it can be
// stepped over, otherwise the connection cannot be used again after the reply.
void HttpConnection::SkipUnreadBody() {
  if (frame_.framing == BodyFraming::kNone) {
    body_read_ = true;
  } else if (frame_.framing == BodyFraming::kLength && frame_.length <= in_.size() - head_size_) {
    used_ = head_size_ + static_cast<std::size_t>(frame_.length);
    body_read_ = true;
  }
}

Task<Result<std::size_t>> HttpConnection::ReadBodyBytes(std::span<char> into) {
  // At least body_bytes_per_second_min after a grace: the deadline moves on with what arrived.
  const auto& limits = server_.limits_;
  const auto rate = static_cast<std::uint64_t>(limits.body_bytes_per_second_min);
  const auto earned =
      rate == 0 ? std::int64_t{0}
                : static_cast<std::int64_t>(static_cast<unsigned __int128>(body_received_) *
                                            1'000'000'000U / rate);
  const Tick deadline =
      rate == 0 ? kNoDeadline : body_started_at_ + limits.body_stall_deadline + Duration{earned};
  const IoResult read = co_await stream_.ReadSome(into, deadline, Stream::Expect::kBytesNow);
  switch (read.status) {
    case IoStatus::kOk:
      body_received_ += read.bytes;
      co_return read.bytes;
    case IoStatus::kTimeout:
      keep_alive_ = false;
      co_return Fail(ErrorCode::kTimeout, ErrorSource::kCaller, "the body came too slowly");
    case IoStatus::kCancelled:
      gone_ = true;
      co_return Fail(ErrorCode::kInterrupted, ErrorSource::kUs, "draining");
    default:
      gone_ = true;
      co_return Fail(ErrorCode::kConnectionLost, ErrorSource::kCaller, "the body was cut");
  }
}

Task<Result<std::string_view>> HttpConnection::ReadBody(std::int64_t bytes_max) {
  if (frame_.framing == BodyFraming::kNone) co_return std::string_view();
  if (frame_.framing == BodyFraming::kLength &&
      frame_.length > static_cast<std::uint64_t>(bytes_max)) {
    keep_alive_ = keep_alive_ && body_read_;
    co_return Fail(ErrorCode::kTooLarge, ErrorSource::kCaller, "the body is too large");
  }
  if (body_read_) {  // all of it is behind the head
    co_return in_.view().substr(head_size_, static_cast<std::size_t>(frame_.length));
  }
  body_started_at_ = loop_.Now();
  if (frame_.expect_continue && in_.size() == head_size_) {
    std::array<iovec, 1> pieces{Piece("HTTP/1.1 100 Continue\r\n\r\n")};
    if (co_await stream_.WriteAll(pieces, WriteDeadline()) != IoStatus::kOk) gone_ = true;
  }
  co_return frame_.framing == BodyFraming::kLength ? co_await ReadLengthBody()
                                                   : co_await ReadChunkedBody(bytes_max);
}

Task<Result<std::string_view>> HttpConnection::ReadLengthBody() {
  const auto length = static_cast<std::size_t>(frame_.length);
  const bool in_place = length <= in_.capacity() - head_size_;
  ByteBuffer& into = in_place ? in_ : body_;
  const std::size_t start = in_place ? head_size_ : 0;
  if (!in_place) {
    // At once what a usual body needs: memory that is promised but not sent is never touched, so it
    // costs address space only. Beyond that, room grows with what has arrived.
    body_.Grow(std::min(length, ByteBuffer::kBodyBlock));
    body_.Append(in_.view().substr(head_size_));
    used_ = in_.size();  // everything behind the head is this body's
  }
  while (into.size() - start < length) {
    const std::size_t left = length - (into.size() - start);
    char* room =
        in_place ? in_.data() + in_.size() : into.Grow(std::min<std::size_t>(left, 64 << 10));
    const std::size_t free = in_place ? left : into.capacity() - into.size();
    const auto read = co_await ReadBodyBytes({room, std::min(left, free)});
    if (!read) co_return std::unexpected(read.error());
    into.Commit(*read);
  }
  if (in_place) used_ = head_size_ + length;
  body_read_ = true;
  if (!in_place) co_return into.view();
  co_return in_.view().substr(head_size_, length);
}

Task<Result<std::string_view>> HttpConnection::ReadChunkedBody(std::int64_t bytes_max) {
  ChunkedDecoder decoder;
  std::size_t at = head_size_;  // of in_: decoded up to here
  while (true) {
    std::string_view in = in_.view().substr(at);
    std::string_view data;
    const auto state = decoder.Next(in, data);
    at = in_.size() - in.size();
    switch (state) {
      case ChunkedDecoder::State::kData:
        if (body_.size() + data.size() > static_cast<std::size_t>(bytes_max)) {
          keep_alive_ = false;
          co_return Fail(ErrorCode::kTooLarge, ErrorSource::kCaller, "the body is too large");
        }
        body_.Append(data);
        break;
      case ChunkedDecoder::State::kEnd:
        used_ = at;
        body_read_ = true;
        co_return body_.view();
      case ChunkedDecoder::State::kBad:
        keep_alive_ = false;
        co_return Fail(ErrorCode::kBadInput, ErrorSource::kCaller, "malformed chunked body");
      case ChunkedDecoder::State::kNeedMore: {
        // All that was there is decoded: read over it, behind the head.
        in_.Truncate(head_size_);
        at = head_size_;
        const auto read =
            co_await ReadBodyBytes({in_.data() + head_size_, in_.capacity() - head_size_});
        if (!read) co_return std::unexpected(read.error());
        in_.Commit(*read);
        break;
      }
    }
  }
}

void HttpConnection::BuildHead(const ReplyHead& head, std::int64_t content_length) {
  keep_alive_ = keep_alive_ && !head.close && body_read_ && !server_.draining_;
  out_.clear();
  out_ += "HTTP/1.1 ";
  out_ += static_cast<char>('0' + head.status / 100);
  out_ += static_cast<char>('0' + head.status / 10 % 10);
  out_ += static_cast<char>('0' + head.status % 10);
  out_ += ' ';
  out_ += ReasonPhrase(head.status);
  out_ += "\r\n";
  if (head.status != 204 && head.status != 304) {
    if (!head.content_type.empty()) {
      out_ += "content-type: ";
      out_ += head.content_type;
      out_ += "\r\n";
    }
    if (content_length >= 0) {
      out_ += "content-length: ";
      out_ += std::to_string(content_length);
      out_ += "\r\n";
    } else if (frame_.http_1_0) {
      keep_alive_ = false;  // the end of the connection is the end of the body
    } else {
      out_ += "transfer-encoding: chunked\r\n";
    }
  }
  out_ += head.headers;
  out_ += DateLine(loop_.WallNow());
  if (!keep_alive_) {
    out_ += "connection: close\r\n";
  } else if (frame_.http_1_0) {
    out_ += "connection: keep-alive\r\n";
  }
  out_ += "\r\n";
}

Task<bool> HttpConnection::Write(std::span<iovec> pieces) {
  if (gone_) co_return false;
  started_ = true;
  const IoStatus status = co_await stream_.WriteAll(pieces, WriteDeadline());
  if (status != IoStatus::kOk) gone_ = true;
  co_return !gone_;
}

Task<bool> HttpConnection::Reply(ReplyHead head, std::string_view body) {
  CHECK(!started_ && !head_pending_, "one reply to one request");
  BuildHead(head, static_cast<std::int64_t>(body.size()));
  const bool bodiless = frame_.head.method == "HEAD" || head.status == 204 || head.status == 304;
  std::array<iovec, 2> pieces{Piece(out_), Piece(bodiless ? std::string_view() : body)};
  complete_ = co_await Write({pieces.data(), bodiless || body.empty() ? 1U : 2U});
  co_return complete_;
}

void HttpConnection::Start(ReplyHead head) {
  CHECK(!started_ && !head_pending_, "one reply to one request");
  BuildHead(head, -1);
  head_pending_ = true;
}

Task<bool> HttpConnection::Send(std::string_view bytes) {
  if (bytes.empty()) co_return !gone_;
  std::array<iovec, 4> pieces;
  std::size_t count = 0;
  const ChunkHead chunk = MakeChunkHead(bytes.size());
  if (std::exchange(head_pending_, false)) pieces[count++] = Piece(out_);
  if (frame_.head.method != "HEAD") {
    if (!frame_.http_1_0) pieces[count++] = Piece(chunk.view());
    pieces[count++] = Piece(bytes);
    if (!frame_.http_1_0) pieces[count++] = Piece("\r\n");
  }
  co_return co_await Write({pieces.data(), count});
}

Task<bool> HttpConnection::End(std::string_view last_bytes) {
  std::array<iovec, 4> pieces;
  std::size_t count = 0;
  const ChunkHead chunk = MakeChunkHead(last_bytes.size());
  if (std::exchange(head_pending_, false)) pieces[count++] = Piece(out_);
  if (frame_.head.method != "HEAD") {
    if (!last_bytes.empty()) {
      if (!frame_.http_1_0) pieces[count++] = Piece(chunk.view());
      pieces[count++] = Piece(last_bytes);
    }
    if (!frame_.http_1_0) {
      pieces[count++] = Piece(last_bytes.empty() ? "0\r\n\r\n" : "\r\n0\r\n\r\n");
    }
  }
  complete_ = co_await Write({pieces.data(), count});
  co_return complete_;
}

void HttpConnection::Cut() {
  gone_ = true;
  if (frame_.http_1_0) {
    // The end of an HTTP/1.0 body is the end of its connection, so only a reset says "cut".
    stream_.CloseWithReset();
  }
  stream_.Close();
}

void HttpConnection::WatchHangUp(gateway::Interrupt& interrupt) {
  interrupt_ = &interrupt;
  if (gone_) {
    interrupt.Fire(Interruption::kCallerGone);
    return;
  }
  stream_.Watch(this);
}

// Something can be read while an exchange runs: the caller's end, or a request sent ahead, which is
// kept while there is room behind the head. A caller that pipelines more than that is not watched.
void HttpConnection::OnReadable() {
  const std::size_t room = in_.capacity() - in_.size();
  if (room == 0) return;
  const auto read = stream_.ReadNow({in_.data() + in_.size(), room});
  if (!read || read->status == IoStatus::kOk) {
    if (read) in_.Commit(read->bytes);
    stream_.Watch(this);
    return;
  }
  gone_ = true;
  if (interrupt_ != nullptr) interrupt_->Fire(Interruption::kCallerGone);
}

// Closes without losing the reply: a close with unread bytes in the socket sends a reset, which may
// overtake the reply (RFC 9112 section 9.6). So first our FIN, then read the rest, within bounds.
Task<void> HttpConnection::Linger() {
  if (gone_ || server_.closing_) co_return;
  stream_.ShutdownSend();
  const Tick deadline = loop_.Now() + kLingerDeadline;
  std::size_t total = 0;
  in_.Clear();
  while (total < kLingerBytesMax) {
    in_.Grow(kRoomBehindHead);
    const IoResult read = co_await stream_.ReadSome({in_.data(), in_.capacity()}, deadline,
                                                    Stream::Expect::kBytesNow);
    if (read.status != IoStatus::kOk) co_return;
    total += read.bytes;
  }
}

HttpServer::HttpServer(Loop& loop, HttpHandler& handler, const config::CallerLimits& limits)
    : loop_(loop), handler_(handler), limits_(limits), acceptor_(loop.context()) {}

HttpServer::~HttpServer() = default;

void HttpServer::Link(HttpConnection* connection) {
  connection->next_ = connections_;
  if (connections_ != nullptr) connections_->previous_ = connection;
  connections_ = connection;
  open_.fetch_add(1, std::memory_order_relaxed);
}

void HttpServer::Unlink(HttpConnection* connection) {
  if (connection->previous_ != nullptr) connection->previous_->next_ = connection->next_;
  if (connection->next_ != nullptr) connection->next_->previous_ = connection->previous_;
  if (connections_ == connection) connections_ = connection->next_;
  open_.fetch_sub(1, std::memory_order_relaxed);
}

Result<std::uint16_t> HttpServer::Listen(const std::string& host, std::uint16_t port) {
  using ReusePort = asio::detail::socket_option::boolean<SOL_SOCKET, SO_REUSEPORT>;
  const auto failed = [&](std::string_view what, const boost::system::error_code& error) {
    return Fail(ErrorCode::kConflict, ErrorSource::kEnvironment,
                "cannot " + std::string(what) + " " + host + ":" + std::to_string(port) + ": " +
                    error.message() + "; choose another address in the configuration");
  };
  boost::system::error_code error;
  const auto address = asio::ip::make_address(host, error);
  if (error) return failed("understand", error);
  const asio::ip::tcp::endpoint endpoint(address, port);
  acceptor_.open(endpoint.protocol(), error);
  if (error) return failed("open a socket for", error);
  acceptor_.set_option(TcpAcceptor::reuse_address(true), error);
  acceptor_.set_option(ReusePort(true), error);
  acceptor_.bind(endpoint, error);
  if (error) return failed("listen on", error);
  acceptor_.listen(4096, error);
  if (error) return failed("listen on", error);
  const std::uint16_t bound = acceptor_.local_endpoint(error).port();
  Spawn(AcceptLoop());
  return bound;
}

Task<void> HttpServer::AcceptLoop() {
  struct Accept {
    TcpAcceptor& acceptor;
    TcpSocket socket;
    boost::system::error_code error;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> waiter) {
      acceptor.async_accept(socket, [this, waiter](boost::system::error_code code) {
        error = code;
        waiter.resume();
      });
    }
    void await_resume() const noexcept {}
  };
  while (true) {
    Accept accept{acceptor_, TcpSocket(loop_.context()), {}};
    co_await accept;
    if (accept.error == asio::error::operation_aborted || draining_) co_return;
    if (accept.error) {
      // Out of descriptors, most likely: pause instead of spinning until some are free.
      co_await loop_.Sleep(Milliseconds(50));
      continue;
    }
    if (open() >= limits_.connections_max) continue;  // the socket closes here
    Spawn(HttpConnection::Run(std::make_unique<HttpConnection>(*this, std::move(accept.socket))));
  }
}

void HttpServer::Drain() {
  if (std::exchange(draining_, true)) return;
  boost::system::error_code ignored;
  acceptor_.close(ignored);
  for (auto* connection = connections_; connection != nullptr; connection = connection->next_) {
    connection->CloseIfIdle();
  }
}

void HttpServer::CloseAll() {
  closing_ = true;
  Drain();
  InterruptAll();
}

void HttpServer::InterruptAll() {
  HttpConnection* connection = connections_;
  while (connection != nullptr) {
    HttpConnection* const next = connection->next_;  // firing may end and free this one
    connection->FireInterrupt();
    connection = next;
  }
}

}  // namespace weir::net
