// One worker: a thread, its event loop, its listener, its upstream connections and its view of the
// configuration. Workers share nothing but credit control, the log and the metrics, each of which
// says how.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "base/result.h"
#include "dialect/request_shape.h"
#include "gateway/exchange.h"
#include "gateway/sandbox_upstream.h"
#include "net/http_server.h"
#include "net/loop.h"
#include "net/upstream_pool.h"
#include "server/crash_point.h"
#include "server/credit_host.h"
#include "server/pool_host.h"
#include "server/prober.h"
#include "server/session.h"

namespace weir::server {

class Worker {
 public:
  // `workers` share the connections a node may have. `crash` is for tests and nearly always null.
  Worker(std::int32_t index, std::int32_t workers, const SessionShared& shared, CreditHost& credit,
         PoolHost& pool, std::shared_ptr<const gateway::Snapshot> snapshot,
         std::shared_ptr<CrashPoint> crash);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Before Run(): listens. 0 asks for any free port; returns the port.
  Result<std::uint16_t> Listen(const config::Listen& listen);
  void Run();

  // From any thread: done on the worker's own, soon.
  void Publish(std::shared_ptr<const gateway::Snapshot> snapshot);
  void Drain();
  void Interrupt();
  // From any thread: returns once everything asked for before has been done.
  void Sync();
  void StopAndJoin();

  // From any thread.
  std::int64_t open_connections() const { return http_.open(); }

 private:
  // Which adapter an upstream needs is its own affair; the path knows one port.
  class AnyUpstreams final : public gateway::Upstreams {
   public:
    explicit AnyUpstreams(net::Loop& loop) : pool(loop), sandbox(loop) {}
    Task<Result<std::unique_ptr<gateway::UpstreamReply>>> Send(
        gateway::UpstreamRequest request, gateway::Interrupt& interrupt) override;
    net::UpstreamPool pool;
    gateway::SandboxUpstreams sandbox;
  };
  class Mailbox final : public WorkerMailbox, public PoolMailbox {
   public:
    explicit Mailbox(Worker& worker) : worker_(worker) {}
    void NotifyDurable() override;
    void NotifyGrants() override;

   private:
    Worker& worker_;
  };

  config::CallerLimits ShareOf(const config::CallerLimits& node) const;
  Task<void> KeepHouse();
  Task<void> KeepProbing();

  std::int32_t index_;
  std::int32_t workers_;
  net::Loop loop_;
  AnyUpstreams upstreams_;
  Mailbox mailbox_;
  CreditPort credit_;
  AccountPort accounts_;
  Prober prober_;
  std::unique_ptr<CrashPorts> crash_;  // nearly always null
  Session session_;
  net::HttpServer http_;
  std::thread thread_;
};

}  // namespace weir::server
