// The account pool among threads: whose wait ends when, and that no grant is lost between a hang-up
// and a release. Ports stand on threads of their own; a clock that the test moves decides what is
// due.
#include "server/pool_host.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "base/random.h"
#include "config/accounts.h"

namespace weir::server {
namespace {

using routing::AcquireCommand;
using routing::AcquireReply;
using Kind = AcquireReply::Kind;

std::shared_ptr<const config::Config> Accounts(std::int32_t n, std::int64_t concurrency,
                                               config::QueueLimits queue) {
  config::Config c;
  c.upstreams.push_back({.name = "u"});
  for (std::int32_t i = 0; i < n; ++i) {
    config::Account account;
    account.id = "a" + std::to_string(i);
    account.concurrency = concurrency;
    c.accounts.push_back(std::move(account));
  }
  c.pools.push_back({.name = "default", .queue = queue});
  config::Model model;
  model.id = "m";
  model.routes.push_back({.upstream = 0, .upstream_model = "m"});
  c.models.push_back(std::move(model));
  config::FinishAccounts(c);
  return std::make_shared<const config::Config>(std::move(c));
}

// A worker: runs what is posted to it, in order, on the thread that calls Run.
class Worker final : public PoolMailbox {
 public:
  explicit Worker(PoolHost& host) : port(host, *this) {}
  void NotifyGrants() override {
    Post([this] { port.Resume(); });
  }
  void Post(std::function<void()> work) {
    const std::lock_guard lock(mutex_);
    work_.push_back(std::move(work));
    changed_.notify_all();
  }
  // Runs work until `done`.
  void Run(const std::function<bool()>& done) {
    while (!done()) {
      std::function<void()> work;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return !work_.empty(); });
        work = std::move(work_.front());
        work_.pop_front();
      }
      work();
    }
  }
  AccountPort port;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> work_;
};

struct Call {
  gateway::Interrupt interrupt;
  AcquireReply reply;
  bool done = false;
};

Task<void> Ask(AccountPort& port, const config::Config& config, std::uint64_t key, Call& call) {
  AcquireCommand command;
  command.config = &config;
  command.need.capability = config::kCapResponses;
  command.key = KeyId{{0, key}};
  call.reply = co_await port.Acquire(command, call.interrupt);
  call.done = true;
}

struct Clock {
  std::atomic<std::int64_t> ns{1'000'000'000};
  PoolHost::Options Options() {
    return {.now = [this] { return Tick{ns.load()}; },
            .wall_now = [this] { return Instant{ns.load()}; },
            .seed = 1,
            .on_rest = {}};
  }
};

TEST(PoolHost, ReleaseOnOneWorker_EndsTheWaitOfAnother) {
  Clock clock;
  const auto config = Accounts(1, 1, {.size = 10, .per_key = 10, .wait = Seconds(30)});
  PoolHost host(config, clock.Options());
  Worker first(host);
  Worker second(host);
  Call running;
  Call waiting;
  Spawn(Ask(first.port, *config, 1, running));
  ASSERT_TRUE(running.done);
  Spawn(Ask(second.port, *config, 2, waiting));
  ASSERT_FALSE(waiting.done);
  std::thread other([&] { first.port.Release(running.reply.lease, {}); });
  second.Run([&] { return waiting.done; });
  other.join();
  EXPECT_EQ(waiting.reply.kind, Kind::kGranted);
  EXPECT_EQ(waiting.reply.position, 1);
  second.port.Release(waiting.reply.lease, {});
  EXPECT_EQ(host.ViewPool(0).in_flight, 0);
}

TEST(PoolHost, WaitThatRunsOut_IsEndedByTheHostsOwnThread) {
  Clock clock;
  const auto config = Accounts(1, 1, {.size = 10, .per_key = 10, .wait = Milliseconds(1)});
  PoolHost host(config, clock.Options());
  Worker worker(host);
  Call running;
  Call waiting;
  Spawn(Ask(worker.port, *config, 1, running));
  Spawn(Ask(worker.port, *config, 1, waiting));
  ASSERT_FALSE(waiting.done);
  clock.ns += Seconds(1).ns;  // the thread sleeps for a real millisecond and then finds it due
  worker.Run([&] { return waiting.done; });
  EXPECT_EQ(waiting.reply.refusal, Refusal::kCapacityQueueTimeout);
  worker.port.Release(running.reply.lease, {});
}

TEST(PoolHost, RestThatEnds_LetsThoseWhoWaitGoOn) {
  Clock clock;
  const auto config = Accounts(1, 0, {.size = 10, .per_key = 10, .wait = Seconds(30)});
  std::vector<routing::RestBegan> rests;
  auto options = clock.Options();
  options.on_rest = [&](const routing::RestBegan& rest) { rests.push_back(rest); };
  PoolHost host(config, std::move(options));
  Worker worker(host);
  Call first;
  Spawn(Ask(worker.port, *config, 1, first));
  routing::Report report{.outcome = routing::Outcome::kBurst, .rest = Milliseconds(2)};
  worker.port.Release(first.reply.lease, report);
  ASSERT_EQ(rests.size(), 1U);
  EXPECT_EQ(rests[0].account, "a0");
  EXPECT_EQ(rests[0].rest, Milliseconds(2));
  Call waiting;
  Spawn(Ask(worker.port, *config, 1, waiting));
  ASSERT_FALSE(waiting.done);
  clock.ns += Seconds(1).ns;
  worker.Run([&] { return waiting.done; });
  EXPECT_EQ(waiting.reply.kind, Kind::kGranted);
  worker.port.Release(waiting.reply.lease, {});
}

TEST(PoolHost, CallerWhoLeaves_IsNoLongerInTheQueue) {
  Clock clock;
  const auto config = Accounts(1, 1, {.size = 1, .per_key = 1, .wait = Seconds(30)});
  PoolHost host(config, clock.Options());
  Worker worker(host);
  Call running;
  Call waiting;
  Spawn(Ask(worker.port, *config, 1, running));
  Spawn(Ask(worker.port, *config, 1, waiting));
  EXPECT_EQ(host.ViewPool(0).waiting, 1);
  waiting.interrupt.Fire(gateway::Interruption::kCallerGone);
  EXPECT_TRUE(waiting.done);
  EXPECT_EQ(waiting.reply.kind, Kind::kRefused);
  EXPECT_EQ(host.ViewPool(0).waiting, 0);
  worker.port.Release(running.reply.lease, {});
  EXPECT_EQ(host.ViewPool(0).in_flight, 0);
}

TEST(PoolHost, CallerWhoLeavesAsItsGrantArrives_GivesTheAccountBack) {
  Clock clock;
  const auto config = Accounts(1, 1, {.size = 2, .per_key = 2, .wait = Seconds(30)});
  PoolHost host(config, clock.Options());
  Worker worker(host);
  Call running;
  Call leaving;
  Call next;
  Spawn(Ask(worker.port, *config, 1, running));
  Spawn(Ask(worker.port, *config, 1, leaving));
  Spawn(Ask(worker.port, *config, 1, next));
  worker.port.Release(running.reply.lease, {});  // the grant is in the box, not yet taken
  leaving.interrupt.Fire(gateway::Interruption::kCallerGone);
  EXPECT_FALSE(leaving.done);
  worker.Run([&] { return next.done; });
  EXPECT_TRUE(leaving.done);
  EXPECT_EQ(leaving.reply.kind, Kind::kRefused);
  EXPECT_EQ(next.reply.kind, Kind::kGranted);
  worker.port.Release(next.reply.lease, {});
  EXPECT_EQ(host.ViewPool(0).in_flight, 0);
}

TEST(PoolHost, ManyThreads_NeverExceedTheSlotsAndLoseNobody) {
  Clock clock;
  constexpr std::int64_t kSlots = 3;
  const auto config = Accounts(2, kSlots, {.size = 1000, .per_key = 1000, .wait = Seconds(600)});
  PoolHost host(config, clock.Options());
  std::atomic<std::int64_t> in_flight{0};
  std::atomic<bool> exceeded{false};
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      Worker worker(host);
      SeededRandom random(t);
      std::deque<Call> calls;
      for (int i = 0; i < 500; ++i) {
        Call& call = calls.emplace_back();
        Spawn(Ask(worker.port, *config, t, call));
        if (random.Next() % 8 == 0) call.interrupt.Fire(gateway::Interruption::kCallerGone);
        // What was granted meanwhile runs and ends, in any order.
        while (calls.size() > random.Next() % 5) {
          Call& oldest = calls.front();
          worker.Run([&] { return oldest.done; });
          if (oldest.reply.kind == Kind::kGranted) {
            if (in_flight.fetch_add(1) >= 2 * kSlots) exceeded = true;
            in_flight.fetch_sub(1);
            worker.port.Release(oldest.reply.lease, {});
          }
          calls.pop_front();
        }
      }
      for (Call& call : calls) {
        worker.Run([&] { return call.done; });
        if (call.reply.kind == Kind::kGranted) worker.port.Release(call.reply.lease, {});
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_FALSE(exceeded);
  const auto view = host.ViewPool(0);
  EXPECT_EQ(view.in_flight, 0);
  EXPECT_EQ(view.waiting, 0);
}

}  // namespace
}  // namespace weir::server
