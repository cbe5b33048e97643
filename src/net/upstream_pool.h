// The client side towards upstreams: keep-alive connections per upstream, TLS with verification,
// name resolution off the loop, and the port the path calls. One pool per worker, nothing shared.
//
// A request on a reused connection that dies before a byte of the reply is sent once more on a
// fresh one: the usual race with an upstream that closes idle connections. On a fresh connection
// nothing is ever sent twice from here; that is the path's decision.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/task.h"
#include "config/config.h"
#include "gateway/ports.h"
#include "net/loop.h"
#include "net/stream.h"

namespace weir::net {

class UpstreamConnection;

// Where the connections of a pool may go.
enum class Reach : std::uint8_t {
  kAnywhere,    // to whatever the operator's file names
  kPublicOnly,  // only to names all of whose addresses are public (net/address); the connection
                // goes to the address that was looked at, so a name that changes in between is no
                // way in
};

class UpstreamPool final : public gateway::Upstreams {
 public:
  explicit UpstreamPool(Loop& loop, Reach reach = Reach::kAnywhere);
  ~UpstreamPool() override;

  Task<Result<std::unique_ptr<gateway::UpstreamReply>>> Send(
      gateway::UpstreamRequest request, gateway::Interrupt& interrupt) override;

  // Closes idle connections that were not used for a while; called by the worker now and then.
  void CloseIdle(Duration unused_for);
  std::int64_t idle() const { return idle_; }
  std::int64_t connects() const { return connects_; }

 private:
  friend class UpstreamConnection;
  friend class PooledReply;

  // All that is kept for one upstream address. Found by what makes a connection equal to another.
  struct Origin {
    std::string key;
    std::string host;
    std::uint16_t port = 0;
    // Where the connection goes: the upstream itself, or the account's proxy, which is then asked
    // for a tunnel to it (CONNECT, RFC 9110 section 9.3.6).
    std::string dial_host;
    std::uint16_t dial_port = 0;
    bool tunnel = false;
    bool tls = false;
    std::vector<std::unique_ptr<UpstreamConnection>> idle;  // last used at the back
    std::vector<asio::ip::tcp::endpoint> addresses;
    Tick addresses_until;
    std::unique_ptr<asio::ssl::context> tls_context;
    std::string tls_error;  // why there is no context
    SSL_SESSION* session = nullptr;

    Origin() = default;
    Origin(const Origin&) = delete;
    Origin& operator=(const Origin&) = delete;
    ~Origin();
  };

  Origin& FindOrigin(const config::Upstream& upstream, const config::Account* account);
  Task<Result<std::unique_ptr<UpstreamConnection>>> Connect(Origin& origin, Tick deadline,
                                                            gateway::Interrupt& interrupt);
  Task<Result<void>> ResolveHost(Origin& origin, Tick deadline, gateway::Interrupt& interrupt);
  std::unique_ptr<UpstreamConnection> TakeIdle(Origin& origin);
  void Give(std::unique_ptr<UpstreamConnection> connection);

  // Whether connections may go to all of `addresses`.
  bool MayReach(const std::vector<asio::ip::tcp::endpoint>& addresses) const;

  Loop& loop_;
  Reach reach_;
  std::unordered_map<std::string, std::unique_ptr<Origin>> origins_;
  std::int64_t idle_ = 0;
  std::int64_t connects_ = 0;
};

}  // namespace weir::net
