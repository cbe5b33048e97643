// Between a connection and the path: makes an Exchange of each request, lets gateway::Serve run it,
// and turns its ending into a log line, a row of the request log and metrics. Also answers the few
// paths that are about the program and not about models. Holds no rule.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "dialect/request_shape.h"
#include "gateway/exchange.h"
#include "gateway/ports.h"
#include "net/http_server.h"
#include "net/loop.h"
#include "server/action_desk.h"
#include "server/approval_desk.h"
#include "server/courier.h"
#include "server/receipt_desk.h"
#include "server/reply_shelf.h"
#include "server/wallet_desk.h"
#include "store/request_log.h"
#include "telemetry/log.h"
#include "telemetry/metrics.h"

namespace weir::server {

// A page about the program itself.
struct Page {
  int status = 200;
  std::string content_type;
  std::string body;
};

// What all sessions share; outlives them. Everything in it may be used from any thread.
struct SessionShared {
  telemetry::Log& log;
  telemetry::Metrics& metrics;
  store::RequestLog& requests;
  ReceiptDesk& receipts;
  ReplyShelf& replies;
  Teller& teller;
  store::PolicyStore& policies;
  Approvals& approvals;
  Courier& courier;
  ActionBook& actions;
  const std::atomic<bool>& draining;
  // The page at a path of the gateway's own ("/llms.txt"), or none. `host` is the request's.
  std::function<std::optional<Page>(const config::Config& config, std::string_view path,
                                    std::string_view host)>
      page;
};

class Session final : public net::HttpHandler {
 public:
  Session(std::int32_t worker, const SessionShared& shared, net::Loop& loop,
          gateway::Upstreams& upstreams, gateway::Credit& credit, gateway::Accounts& accounts,
          std::shared_ptr<const gateway::Snapshot> snapshot);

  Task<void> Handle(const gateway::RequestHead& head, gateway::Downstream& downstream,
                    Tick started_at) override;
  std::string BadRequestBody(int status, std::string_view reason) override;

  void set_snapshot(std::shared_ptr<const gateway::Snapshot> snapshot) {
    snapshot_ = std::move(snapshot);
  }

 private:
  void Record(gateway::Exchange& x);

  std::int32_t worker_;
  SessionShared shared_;
  net::Loop& loop_;
  gateway::Upstreams& upstreams_;
  gateway::Credit& credit_;
  gateway::Accounts& accounts_;
  std::shared_ptr<const gateway::Snapshot> snapshot_;
  dialect::RequestReader reader_;
  ReceiptPort receipts_;
  ReplyPort replies_;
  WalletPort wallets_;
  ApprovalPort approvals_;
  ActionPort actions_;
};

// Where the key that receipts are checked with is published, for everybody.
inline constexpr std::string_view kReceiptKeyPath = "/.well-known/receipt-key";

// {"status":"ok"} for /livez; for /readyz 503 while draining. None for other paths.
std::optional<Page> HealthPage(std::string_view path, bool draining);

}  // namespace weir::server
