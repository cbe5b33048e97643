// The HTTP/1.1 server side of a connection: reads strict requests, hands each to a handler as a
// gateway::Downstream, writes the reply, and keeps the connection while both sides may.
//
// A connection lives on one loop and frees itself. The handler decides everything above HTTP.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "base/task.h"
#include "config/config.h"
#include "gateway/ports.h"
#include "net/loop.h"

namespace weir::net {

class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  // One exchange. The handler must have sent a whole reply, or Cut, when the task ends.
  //   head        views, valid until the task ends.
  //   started_at  when the first byte of the request was read.
  virtual Task<void> Handle(const gateway::RequestHead& head, gateway::Downstream& downstream,
                            Tick started_at) = 0;
  // The reply to a request whose head is not HTTP as we accept it. Body of an error in whatever
  // shape the handler's callers expect.
  virtual std::string BadRequestBody(int status, std::string_view reason) = 0;
};

class HttpConnection;

// The open connections of one loop: counted, bounded, told to drain.
class HttpServer {
 public:
  HttpServer(Loop& loop, HttpHandler& handler, const config::CallerLimits& limits);
  ~HttpServer();

  // Listens on host:port (0: any free port) with SO_REUSEPORT, so that every worker has a listener
  // of its own. Returns the port, or a sentence for the operator.
  Result<std::uint16_t> Listen(const std::string& host, std::uint16_t port);

  // No new connections; open ones end after their exchange. Idle ones are closed at once.
  void Drain();
  // Fires kDrain on every exchange that is still running.
  void InterruptAll();
  // The end: no new connections, exchanges are interrupted, nobody is lingered for. The loop must
  // still run until open() is 0; see Loop::Finish.
  void CloseAll();
  // Connections open now; may be read from any thread.
  std::int64_t open() const { return open_.load(std::memory_order_relaxed); }
  void set_limits(const config::CallerLimits& limits) { limits_ = limits; }

 private:
  friend class HttpConnection;
  Task<void> AcceptLoop();
  void Link(HttpConnection* connection);
  void Unlink(HttpConnection* connection);

  Loop& loop_;
  HttpHandler& handler_;
  config::CallerLimits limits_;
  TcpAcceptor acceptor_;
  HttpConnection* connections_ = nullptr;  // intrusive list
  std::atomic<std::int64_t> open_{0};
  bool draining_ = false;
  bool closing_ = false;
};

}  // namespace weir::net
