// One connected byte stream, plain or TLS, as coroutines await it: read some, write all, each with
// a deadline. Sockets are non-blocking and are tried before they are waited for, so the usual write
// costs one system call and no trip through the loop, and plain ones wait at net/poller.h.
//
// One read and one write may be outstanding at a time; everything on the loop's thread.
#pragma once

#include <sys/uio.h>

#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/task.h"
#include "net/loop.h"

namespace weir::net {

enum class IoStatus : std::uint8_t {
  kOk,
  kEof,        // orderly end by the peer
  kTimeout,    // the deadline passed
  kCancelled,  // Cancel() was called
  kError,      // reset, broken pipe, TLS failure
};

struct IoResult {
  IoStatus status = IoStatus::kOk;
  std::size_t bytes = 0;
};

class Stream {
 public:
  // Whether a read should try the socket at once (bytes are likely there) or wait first (they are
  // not: a request was just sent), which saves a system call that would fail.
  enum class Expect : std::uint8_t { kBytesNow, kBytesLater };

  virtual ~Stream() = default;
  virtual Task<IoResult> ReadSome(std::span<char> into, Tick deadline, Expect expect) = 0;
  // Writes all pieces. The pieces and what they point to stay valid until the task ends; the array
  // is used as scratch.
  virtual Task<IoStatus> WriteAll(std::span<iovec> pieces, Tick deadline) = 0;
  // Whoever waits is resumed with kCancelled, from the loop, not from inside this call.
  virtual void Cancel() = 0;
  virtual void Close() = 0;
  // False when the peer has closed an idle connection or sent something unasked.
  virtual bool IdleAndOpen() = 0;
};

class TcpStream final : public Stream, private Poller::Waiter {
 public:
  // Takes the connected socket over.
  TcpStream(Loop& loop, TcpSocket socket);
  ~TcpStream() override;

  Task<IoResult> ReadSome(std::span<char> into, Tick deadline, Expect expect) override;
  Task<IoStatus> WriteAll(std::span<iovec> pieces, Tick deadline) override;
  void Cancel() override;
  void Close() override;
  bool IdleAndOpen() override;

  // Waits for bytes without holding a buffer for them.
  Task<IoStatus> AwaitReadable(Tick deadline);
  // Reads what is there without waiting; nothing when there is nothing yet.
  std::optional<IoResult> ReadNow(std::span<char> into);
  // Ends our side with a FIN; what the peer still sends can be read.
  void ShutdownSend();
  // Ends both sides with a RST, which nobody can take for the end of a message.
  void CloseWithReset();

  // Watches for the peer while nothing is being read: `watcher` is told once, from the loop, when
  // there is something to read, the peer's end included. A read takes the watch over.
  class Watcher {
   public:
    virtual void OnReadable() = 0;

   protected:
    ~Watcher() = default;
  };
  void Watch(Watcher* watcher);
  void Unwatch() { watcher_ = nullptr; }

 private:
  enum class Side : std::uint8_t { kRead, kWrite };
  struct Timeout final : Deadline {
    Timeout(TcpStream& stream, Side side) : stream(stream), side(side) {}
    void OnDeadline() override;
    TcpStream& stream;
    Side side;
    bool passed = false;
  };
  void Note(std::uint32_t events) override;
  void ResumeWriter() override;
  void ResumeReader() override;
  Task<IoStatus> AwaitWritable(Tick deadline);
  IoStatus AfterWait(Timeout& timeout);

  Loop& loop_;
  int fd_;
  Poller::Token token_;
  Signal readable_;
  Signal writable_;
  Watcher* watcher_ = nullptr;
  Timeout read_timeout_{*this, Side::kRead};
  Timeout write_timeout_{*this, Side::kWrite};
  // What the kernel last said, since it says it once: set by its event, cleared by a read that
  // found less than it had room for, or by a write that did not fit.
  bool has_bytes_ = false;
  bool has_room_ = true;
  bool ended_ = false;  // the peer's end or an error stands behind the bytes, so they never run out
  bool cancelled_ = false;
};

class TlsStream final : public Stream {
 public:
  using Engine = asio::ssl::stream<TcpSocket>;

  TlsStream(Loop& loop, TcpSocket socket, asio::ssl::context& context);
  ~TlsStream() override;

  // The client's handshake, with SNI and with the certificate checked against `host`. `session` is
  // a session of an earlier connection to resume, or null. On failure `error` says why.
  Task<IoStatus> Handshake(std::string host, SSL_SESSION* session, Tick deadline,
                           std::string& error);

  Task<IoResult> ReadSome(std::span<char> into, Tick deadline, Expect expect) override;
  Task<IoStatus> WriteAll(std::span<iovec> pieces, Tick deadline) override;
  void Cancel() override;
  void Close() override;
  bool IdleAndOpen() override;
  SSL* native() { return engine_->native_handle(); }

 private:
  struct Timeout final : Deadline {
    explicit Timeout(TlsStream& stream) : stream(stream) {}
    void OnDeadline() override;
    TlsStream& stream;
  };
  IoStatus StatusOf(SystemError error) const;

  Loop& loop_;
  std::shared_ptr<Engine> engine_;  // shared with handlers that may outlive the stream
  Timeout timeout_{*this};
  bool timed_out_ = false;
  bool cancelled_ = false;
};

}  // namespace weir::net
