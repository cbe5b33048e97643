// The whole gateway as a value: stores opened, credit recovered, workers listening. The command
// line makes one, mounts the admin API on it, and waits for a signal.
//
// The configuration in force is that of the file with the accounts of one store on top
// (config::WithAccounts), and the policies and approvals of another (config::WithPolicies). Each
// may change while it runs; changes are applied one at a time.
//
// Start order, each step failing with one sentence: data directory, pepper, keys, accounts (every
// credential opened), journal (replay,
// resolve what was open), request log, listeners. Nothing is listened on before the ledger is
// right. Stop order: not ready, listeners closed, exchanges finish (drain deadline), the rest is
// cut with its settlement, journal written, events that are not told yet left to the next start.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/secret.h"
#include "config/config.h"
#include "gateway/exchange.h"
#include "net/http_server.h"
#include "server/action_desk.h"
#include "server/approvals.h"
#include "server/courier.h"
#include "server/crash_point.h"
#include "server/credit_host.h"
#include "server/pool_host.h"
#include "server/pool_metrics.h"
#include "server/receipt_desk.h"
#include "server/reply_shelf.h"
#include "server/session.h"
#include "server/stored_policies.h"
#include "server/wallet_desk.h"
#include "server/worker.h"
#include "store/account_store.h"
#include "store/ballast.h"
#include "store/key_store.h"
#include "store/operator_store.h"
#include "store/outcome_store.h"
#include "store/policy_store.h"
#include "store/request_log.h"
#include "store/wallet_store.h"
#include "telemetry/log.h"
#include "telemetry/metrics.h"

namespace weir::server {

struct ServerOptions {
  config::Config config;
  std::optional<Secret> pepper;  // from the environment; none: the data directory's
  // The text of WEIR_MASTER_KEY; none: the data directory's file, made at first need.
  std::optional<Secret> master_key;
  int log_fd = 2;
  std::string version;
  decltype(SessionShared::page) page;  // see SessionShared
  std::optional<CrashPlan> crash;      // for tests: where the process ends itself
  // Kept on the ledger's disk to settle with when it is full (store/ballast); 0: none.
  std::int64_t ballast_bytes = 64 << 20;
};

// A key that was made now, because the configuration names it: the only time its secret is known.
struct FirstSecret {
  std::string name;
  Secret secret;
};

class Server {
 public:
  static Result<std::unique_ptr<Server>> Start(ServerOptions options);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Listens for callers: the last step, after StartAdmin, so that whoever sees the gateway answer
  // finds the admin API too.
  Result<void> Listen();
  std::uint16_t port() const { return port_; }
  std::uint16_t admin_port() const { return admin_port_; }
  const std::vector<FirstSecret>& first_secrets() const { return first_secrets_; }

  // Serves `handler` on the admin listener, on a thread of its own where it may wait for a disk.
  // At most once.
  Result<std::uint16_t> StartAdmin(net::HttpHandler& handler);

  // Takes over what can change without a restart; exchanges under way keep what they started with.
  // Returns in words what changed. Fails, with nothing changed, when the file names a new key
  // without a secret: a running server has nowhere to show one.
  Result<std::string> Reload(config::Config config);
  // Makes workers see the keys as they are stored now; returns when all of them do.
  void PublishKeys();
  // Takes over the accounts as they are stored now; returns when all workers see them. Calls under
  // way keep what they started with, those that wait are asked again where they stand.
  void PublishAccounts();
  // Takes over the policies and approvals as they are stored now; returns when all workers see
  // them. Requests under way keep those they began with.
  Result<void> PublishPolicies();

  // Blocks until SIGTERM or SIGINT, then drains; SIGHUP calls `reload`. A second SIGTERM cuts the
  // drain short. REQUIRES BlockSignals() before any thread was started.
  void WaitForSignal(const std::function<void()>& reload);
  static void BlockSignals();

  std::shared_ptr<const config::Config> config() const;  // the one in force
  std::shared_ptr<const config::Config> file() const;    // what the file says of it
  store::KeyStore& keys() { return *keys_; }
  store::AccountStore& accounts() { return *accounts_; }
  store::WalletStore& wallets() { return *wallets_; }
  store::OperatorStore& operators() { return *operators_; }
  store::PolicyStore& policy_store() { return *policy_store_; }
  Approvals& approvals() { return *approvals_; }
  const identity::Pepper& pepper() const { return *pepper_; }
  store::RequestLog& requests() { return *requests_; }
  const store::ReceiptKey& receipt_key() const { return receipts_->key(); }
  CreditHost& credit() { return *credit_; }
  PoolHost& pool() { return *pool_; }
  Courier& courier() { return *courier_; }
  telemetry::Metrics& metrics() { return *metrics_; }
  telemetry::Log& log() { return *log_; }
  bool draining() const { return draining_.load(); }
  Instant started_at() const { return started_at_; }
  std::int64_t connections() const;
  std::int64_t workers() const { return static_cast<std::int64_t>(workers_.size()); }

 private:
  Server() = default;
  Result<void> OpenStores(const ServerOptions& options);
  Result<void> EnsureKeys(const config::Config& config);
  Result<void> EnsurePrepaid(const config::Config& config, const config::KeySpec& spec,
                             const identity::KeyRecord& key);
  Result<void> StartCourier(const config::Config& config);
  void MakeWorkers(const ServerOptions& options);
  void RegisterGauges();
  void LogRest(const routing::RestBegan& rest);
  // On the journal's thread.
  void TellAlerts(const std::vector<gateway::QuotaAlert>& alerts);
  void MakeApprovals();
  Task<void> SweepApprovals();
  // What happened that somebody may want to be told.
  void Tell(const telemetry::Event& event);
  // The configuration that `file` and the stores give.
  config::Config InForce(const config::Config& file);
  // Puts the stores' present state on `file` and shows it to all. REQUIRES change_mutex_.
  void Apply(std::shared_ptr<const config::Config> file);
  void Publish();
  // REQUIRES change_mutex_, or that no other thread is there yet.
  std::shared_ptr<const gateway::Snapshot> MakeSnapshot();
  void Drain();

  std::shared_ptr<CrashPoint> crash_;  // null but in tests
  Instant started_at_;
  std::uint16_t port_ = 0;
  std::uint16_t admin_port_ = 0;
  std::atomic<bool> draining_{false};
  std::atomic<bool> listening_{false};  // workers run: a change that waits for them comes back
  std::vector<FirstSecret> first_secrets_;

  std::mutex change_mutex_;  // one change at a time, from the signal's and the admin's thread
  mutable std::mutex config_mutex_;
  std::shared_ptr<const config::Config> file_;
  std::shared_ptr<const config::Config> config_;
  StoredPolicies stored_policies_;  // as they were read for file_; REQUIRES change_mutex_
  std::shared_ptr<const identity::Pepper> pepper_;
  std::shared_ptr<const policy::PolicySet> policies_;
  std::shared_ptr<const config::Config> policies_of_;  // whose they are

  std::unique_ptr<telemetry::Log> log_;
  std::unique_ptr<telemetry::Metrics> metrics_;
  std::unique_ptr<store::KeyStore> keys_;
  std::unique_ptr<store::AccountStore> accounts_;
  std::unique_ptr<store::WalletStore> wallets_;
  std::unique_ptr<store::OperatorStore> operators_;
  std::unique_ptr<store::PolicyStore> policy_store_;
  std::unique_ptr<Approvals> approvals_;
  std::unique_ptr<store::RequestLog> requests_;
  std::unique_ptr<Courier> courier_;               // what is behind it offers it events
  std::vector<gateway::QuotaAlert> alerts_found_;  // in the journal, for the courier's start
  std::atomic<std::int64_t> alerts_told_{0};
  std::unique_ptr<CreditHost> credit_;
  std::unique_ptr<Teller> teller_;
  std::unique_ptr<store::OutcomeStore> outcomes_;
  std::unique_ptr<ActionBook> actions_;
  std::unique_ptr<ReplyShelf> replies_;
  std::unique_ptr<ReceiptDesk> receipts_;  // its thread uses the teller and the actions
  PoolMetrics pool_metrics_;
  std::unique_ptr<PoolHost> pool_;
  std::unique_ptr<SessionShared> shared_;
  std::vector<std::unique_ptr<Worker>> workers_;

  std::unique_ptr<net::Loop> admin_loop_;
  std::unique_ptr<net::HttpServer> admin_http_;
  std::thread admin_thread_;
};

}  // namespace weir::server
