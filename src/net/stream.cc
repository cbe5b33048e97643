#include "net/stream.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <cerrno>

namespace weir::net {
namespace {

// Moves past `written` bytes of a scatter list.
void Advance(std::span<iovec>& pieces, std::size_t written) {
  while (!pieces.empty() && written >= pieces.front().iov_len) {
    written -= pieces.front().iov_len;
    pieces = pieces.subspan(1);
  }
  if (!pieces.empty() && written > 0) {
    pieces.front().iov_base = static_cast<char*>(pieces.front().iov_base) + written;
    pieces.front().iov_len -= written;
  }
}

constexpr std::size_t kIovMax = 64;  // well under the kernel's 1024

}  // namespace

TcpStream::TcpStream(Loop& loop, TcpSocket socket) : loop_(loop) {
  SystemError ignored;
  socket.non_blocking(true, ignored);
  socket.set_option(asio::ip::tcp::no_delay(true), ignored);
  fd_ = socket.release(ignored);  // out of Asio's reactor: the poller watches it from here on
  token_ = loop_.poller().Add(fd_, *this);
}

TcpStream::~TcpStream() {
  loop_.poller().Remove(token_);
  Close();
}

void TcpStream::Timeout::OnDeadline() {
  passed = true;
  Signal& waiter = side == Side::kRead ? stream.readable_ : stream.writable_;
  if (waiter.HasWaiter()) waiter.Set();
}

void TcpStream::Note(std::uint32_t events) {
  constexpr std::uint32_t kEnd = EPOLLRDHUP | EPOLLHUP | EPOLLERR;
  if ((events & (EPOLLIN | kEnd)) != 0) has_bytes_ = true;
  if ((events & kEnd) != 0) ended_ = true;
  if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) has_room_ = true;
}

void TcpStream::ResumeWriter() {
  if (writable_.HasWaiter() && (has_room_ || cancelled_ || fd_ < 0)) writable_.Set();
}

void TcpStream::ResumeReader() {
  if (readable_.HasWaiter()) {
    if (has_bytes_ || cancelled_ || fd_ < 0) readable_.Set();
  } else if (watcher_ != nullptr && fd_ >= 0 && (has_bytes_ || cancelled_)) {
    std::exchange(watcher_, nullptr)->OnReadable();
  }
}

void TcpStream::Watch(Watcher* watcher) {
  watcher_ = watcher;
  if (has_bytes_) loop_.poller().Wake(token_);
}

IoStatus TcpStream::AfterWait(Timeout& timeout) {
  timeout.Disarm();
  const bool passed = std::exchange(timeout.passed, false);
  if (cancelled_) return IoStatus::kCancelled;
  return passed ? IoStatus::kTimeout : IoStatus::kOk;
}

Task<IoStatus> TcpStream::AwaitReadable(Tick deadline) {
  watcher_ = nullptr;
  if (cancelled_) co_return IoStatus::kCancelled;
  // Bytes are there, but others have their turn first: a peer that never stops sending must not
  // have the loop for itself.
  if (has_bytes_ || fd_ < 0) loop_.poller().Wake(token_);
  read_timeout_.Arm(loop_, deadline);
  co_await readable_;
  co_return AfterWait(read_timeout_);
}

std::optional<IoResult> TcpStream::ReadNow(std::span<char> into) {
  while (true) {
    const ssize_t count = ::recv(fd_, into.data(), into.size(), MSG_DONTWAIT);
    if (count > 0) {
      const auto bytes = static_cast<std::size_t>(count);
      // Less than there was room for: the socket is empty, and whatever comes now is an event.
      if (bytes < into.size() && !ended_) has_bytes_ = false;
      return IoResult{IoStatus::kOk, bytes};
    }
    if (count == 0) return IoResult{IoStatus::kEof, 0};
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return IoResult{IoStatus::kError, 0};
    has_bytes_ = ended_ = false;
    return std::nullopt;
  }
}

Task<IoResult> TcpStream::ReadSome(std::span<char> into, Tick deadline, Expect expect) {
  if (cancelled_) co_return IoResult{IoStatus::kCancelled, 0};
  bool wait = expect == Expect::kBytesLater;
  while (true) {
    if (wait) {
      const IoStatus status = co_await AwaitReadable(deadline);
      if (status != IoStatus::kOk) co_return IoResult{status, 0};
    }
    if (const auto result = ReadNow(into)) co_return *result;
    wait = true;
  }
}

Task<IoStatus> TcpStream::AwaitWritable(Tick deadline) {
  if (cancelled_) co_return IoStatus::kCancelled;
  has_room_ = false;
  write_timeout_.Arm(loop_, deadline);
  co_await writable_;
  co_return AfterWait(write_timeout_);
}

Task<IoStatus> TcpStream::WriteAll(std::span<iovec> pieces, Tick deadline) {
  while (!pieces.empty()) {
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = pieces.size() < kIovMax ? pieces.size() : kIovMax;
    const ssize_t count = ::sendmsg(fd_, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count >= 0) {
      Advance(pieces, static_cast<std::size_t>(count));
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) co_return IoStatus::kError;
    const IoStatus status = co_await AwaitWritable(deadline);
    if (status != IoStatus::kOk) co_return status;
  }
  co_return IoStatus::kOk;
}

void TcpStream::Cancel() {
  cancelled_ = true;
  loop_.poller().Wake(token_);
}

void TcpStream::Close() {
  if (fd_ < 0) return;
  ::close(std::exchange(fd_, -1));
  // Who still waits learns of it from the loop.
  if (readable_.HasWaiter() || writable_.HasWaiter()) loop_.poller().Wake(token_);
}

void TcpStream::CloseWithReset() {
  const linger reset{1, 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
  Close();
}

void TcpStream::ShutdownSend() { ::shutdown(fd_, SHUT_WR); }

bool TcpStream::IdleAndOpen() {
  if (!has_bytes_) return true;
  char byte = 0;
  const ssize_t count = ::recv(fd_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  if (count >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) return false;
  has_bytes_ = ended_ = false;
  return true;
}

TlsStream::TlsStream(Loop& loop, TcpSocket socket, asio::ssl::context& context)
    : loop_(loop), engine_(std::make_shared<Engine>(std::move(socket), context)) {
  SystemError ignored;
  engine_->next_layer().non_blocking(true, ignored);
  engine_->next_layer().set_option(asio::ip::tcp::no_delay(true), ignored);
}

TlsStream::~TlsStream() { Close(); }

void TlsStream::Timeout::OnDeadline() {
  stream.timed_out_ = true;
  SystemError ignored;
  stream.engine_->next_layer().cancel(ignored);
}

IoStatus TlsStream::StatusOf(SystemError error) const {
  if (cancelled_) return IoStatus::kCancelled;
  if (timed_out_) return IoStatus::kTimeout;
  if (!error) return IoStatus::kOk;
  // A TCP end without close_notify (stream_truncated) is not an orderly end: a body that is
  // delimited by it may have been cut by someone on the way.
  if (error == asio::error::eof) return IoStatus::kEof;
  return IoStatus::kError;
}

Task<IoStatus> TlsStream::Handshake(std::string host, SSL_SESSION* session, Tick deadline,
                                    std::string& error) {
  struct Awaiter {
    std::shared_ptr<Engine> engine;
    SystemError result;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> waiter) {
      engine->async_handshake(asio::ssl::stream_base::client,
                              [this, waiter, keep = engine](SystemError code) {
                                result = code;
                                waiter.resume();
                              });
    }
    SystemError await_resume() const { return result; }
  };
  SSL_set_tlsext_host_name(native(), host.c_str());
  if (session != nullptr) SSL_set_session(native(), session);
  SystemError code;
  engine_->set_verify_mode(asio::ssl::verify_peer, code);
  engine_->set_verify_callback(asio::ssl::host_name_verification(host), code);
  timeout_.Arm(loop_, deadline);
  code = co_await Awaiter{engine_, {}};
  timeout_.Disarm();
  if (code) error = code.message();
  co_return StatusOf(code);
}

Task<IoResult> TlsStream::ReadSome(std::span<char> into, Tick deadline, Expect) {
  struct Awaiter {
    std::shared_ptr<Engine> engine;
    std::span<char> into;
    SystemError code;
    std::size_t count = 0;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> waiter) {
      engine->async_read_some(asio::buffer(into.data(), into.size()),
                              [this, waiter, keep = engine](SystemError error, std::size_t bytes) {
                                code = error;
                                count = bytes;
                                waiter.resume();
                              });
    }
    void await_resume() const noexcept {}
  };
  if (cancelled_) co_return IoResult{IoStatus::kCancelled, 0};
  timed_out_ = false;
  timeout_.Arm(loop_, deadline);
  Awaiter read{engine_, into, {}};
  co_await read;
  timeout_.Disarm();
  co_return IoResult{StatusOf(read.code), read.count};
}

Task<IoStatus> TlsStream::WriteAll(std::span<iovec> pieces, Tick deadline) {
  struct Awaiter {
    std::shared_ptr<Engine> engine;
    asio::const_buffer bytes;
    SystemError code;
    std::size_t count = 0;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> waiter) {
      engine->async_write_some(
          bytes, [this, waiter, keep = engine](SystemError error, std::size_t written) {
            code = error;
            count = written;
            waiter.resume();
          });
    }
    void await_resume() const noexcept {}
  };
  timed_out_ = false;
  while (!pieces.empty()) {
    if (cancelled_) co_return IoStatus::kCancelled;
    timeout_.Arm(loop_, deadline);
    Awaiter write{engine_, asio::const_buffer(pieces.front().iov_base, pieces.front().iov_len), {}};
    co_await write;
    timeout_.Disarm();
    const IoStatus status = StatusOf(write.code);
    if (status != IoStatus::kOk) co_return status;
    Advance(pieces, write.count);
  }
  co_return IoStatus::kOk;
}

void TlsStream::Cancel() {
  cancelled_ = true;
  SystemError ignored;
  engine_->next_layer().cancel(ignored);
}

void TlsStream::Close() {
  SystemError ignored;
  engine_->next_layer().close(ignored);
}

bool TlsStream::IdleAndOpen() {
  // Between requests a TLS 1.3 server may send session tickets, so bytes alone are no bad sign; an
  // end is. What is behind the bytes shows at the next use, which may be retried.
  char byte = 0;
  const ssize_t count =
      ::recv(engine_->next_layer().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return count > 0 || (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK));
}

}  // namespace weir::net
