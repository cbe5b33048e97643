#include "server/worker.h"

#include <pthread.h>

#include <future>
#include <utility>

namespace weir::server {
namespace {

constexpr Duration kIdleUpstreamLifetime = Seconds(60);
// How exactly health_probe is kept.
constexpr Duration kProbeRound = Seconds(1);

}  // namespace

Task<Result<std::unique_ptr<gateway::UpstreamReply>>> Worker::AnyUpstreams::Send(
    gateway::UpstreamRequest request, gateway::Interrupt& interrupt) {
  if (request.upstream->kind == config::UpstreamKind::kSandbox) {
    return sandbox.Send(std::move(request), interrupt);
  }
  return pool.Send(std::move(request), interrupt);
}

void Worker::Mailbox::NotifyDurable() {
  worker_.loop_.Post([this] { worker_.credit_.Resume(); });
}

void Worker::Mailbox::NotifyGrants() {
  worker_.loop_.Post([this] { worker_.accounts_.Resume(); });
}

Worker::Worker(std::int32_t index, std::int32_t workers, const SessionShared& shared,
               CreditHost& credit, PoolHost& pool,
               std::shared_ptr<const gateway::Snapshot> snapshot, std::shared_ptr<CrashPoint> crash)
    : index_(index),
      workers_(workers),
      upstreams_(loop_),
      mailbox_(*this),
      credit_(credit, mailbox_),
      accounts_(pool, mailbox_),
      prober_(pool, upstreams_, loop_),
      crash_(crash == nullptr
                 ? nullptr
                 : std::make_unique<CrashPorts>(std::move(crash), upstreams_, credit_)),
      session_(index, shared, loop_,
               crash_ ? crash_->upstreams() : static_cast<gateway::Upstreams&>(upstreams_),
               crash_ ? crash_->credit() : static_cast<gateway::Credit&>(credit_), accounts_,
               snapshot),
      http_(loop_, crash_ ? crash_->Wrap(session_) : static_cast<net::HttpHandler&>(session_),
            ShareOf(snapshot->config->caller_limits)) {}

Worker::~Worker() { StopAndJoin(); }

Result<std::uint16_t> Worker::Listen(const config::Listen& listen) {
  return http_.Listen(listen.host, listen.port);
}

void Worker::Run() {
  Spawn(KeepHouse());
  if (index_ == 0) Spawn(KeepProbing());
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "weir-worker");
    loop_.Run();
  });
}

config::CallerLimits Worker::ShareOf(const config::CallerLimits& node) const {
  config::CallerLimits limits = node;
  limits.connections_max = (node.connections_max + workers_ - 1) / workers_;
  return limits;
}

Task<void> Worker::KeepHouse() {
  while (!loop_.finishing()) {
    co_await loop_.Sleep(Seconds(10));
    upstreams_.pool.CloseIdle(kIdleUpstreamLifetime);
  }
}

Task<void> Worker::KeepProbing() {
  while (!loop_.finishing()) {
    co_await loop_.Sleep(kProbeRound);
    if (!loop_.finishing()) prober_.Begin();
  }
}

void Worker::Publish(std::shared_ptr<const gateway::Snapshot> snapshot) {
  loop_.Post([this, next = std::move(snapshot)] {
    http_.set_limits(ShareOf(next->config->caller_limits));
    session_.set_snapshot(next);
  });
}

void Worker::Drain() {
  loop_.Post([this] { http_.Drain(); });
}

void Worker::Interrupt() {
  loop_.Post([this] { http_.InterruptAll(); });
}

void Worker::Sync() {
  std::promise<void> done;
  loop_.Post([&done] { done.set_value(); });
  done.get_future().wait();
}

void Worker::StopAndJoin() {
  if (!thread_.joinable()) return;
  loop_.Stop();
  thread_.join();
  http_.CloseAll();
  prober_.Stop();
  loop_.Finish([this] { return http_.open() == 0 && prober_.idle(); });
}

}  // namespace weir::server
