// What the choice of an account costs a request: AccountPool's Acquire and the Release that gives
// the slot back, with more and more accounts.
//
//   ./dev bench pool
//
// `session`: each call belongs to one of 4,096 sessions, else to none. `resting`: every second
// account is at its usage limit. A few calls are under way all the time, as in a gateway with work
// to do, so that loads differ and the choice of two has something to choose. The cost must hardly
// grow from 1 to 10,000 accounts: nothing on the path may look at all of them.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/random.h"
#include "config/config.h"
#include "routing/account_pool.h"

namespace weir::routing {
namespace {

constexpr std::size_t kSessions = 4096;
constexpr std::int64_t kConcurrency = 8;
constexpr Duration kStep{20'000};  // between two commands

std::string AccountName(std::int64_t n) { return "u/acct-" + std::to_string(n); }

std::shared_ptr<const config::Config> Accounts(std::int64_t count) {
  auto config = std::make_shared<config::Config>();
  config->upstreams.push_back({.name = "u"});
  config::Pool pool{.name = "p"};
  for (std::int64_t i = 0; i < count; ++i) {
    config::Account account;
    account.id = AccountName(i);
    account.concurrency = kConcurrency;
    config->accounts.push_back(std::move(account));
    pool.accounts.push_back(static_cast<std::uint32_t>(i));
  }
  pool.queue = {.size = 100, .per_key = 50, .wait = Seconds(30)};
  config->pools.push_back(std::move(pool));
  config->packages.push_back({.name = "default", .pools = {0}});
  config::Model model;
  model.id = "m";
  model.routes.push_back({.upstream = 0, .upstream_model = "m"});
  config->models.push_back(std::move(model));
  return config;
}

void AcquireAndRelease(benchmark::State& state, bool with_session, bool half_rests) {
  const std::int64_t count = state.range(0);
  const auto config = Accounts(count);
  AccountPool pool(config, 1);
  std::vector<Grant> grants;
  Tick now{1'000'000'000'000};
  if (half_rests) {
    for (std::int64_t i = 1; i < count; i += 2) {
      CHECK(pool.Cool(AccountName(i), Seconds(30 * 86'400), now, grants), "it is configured");
    }
  }
  SeededRandom random(1);
  std::vector<SessionHash> sessions(with_session ? kSessions : 1);
  if (with_session) std::ranges::generate(sessions, [&] { return random.Next() | 1; });

  AcquireCommand command;
  command.config = config.get();
  command.need = {.package = 0, .model = 0, .capability = config::kCapResponses};
  command.key = KeyId{{0, 1}};
  std::size_t turn = 0;
  // The lane of a kind of call is built by the first of its kind: that is not what is measured.
  std::vector<Lease> under_way(static_cast<std::size_t>(std::min<std::int64_t>(count * 2, 32)));
  const auto acquire = [&] {
    command.session = sessions[turn % sessions.size()];
    auto reply = pool.Acquire(command, now, grants);
    CHECK(reply.kind == AcquireReply::Kind::kGranted, "there is always room");
    return std::move(reply.lease);
  };
  for (Lease& lease : under_way) {
    lease = acquire();
    ++turn;
  }
  for (auto _ : state) {
    now = now + kStep;
    Lease& oldest = under_way[turn % under_way.size()];
    pool.Release(oldest, {.outcome = Outcome::kServed}, now, grants);
    oldest = acquire();
    ++turn;
  }
  CHECK(grants.empty(), "nobody waited");
  for (const Lease& lease : under_way) pool.Release(lease, {}, now, grants);
  state.counters["accounts"] = static_cast<double>(count);
}

void Register() {
  for (const bool session : {false, true}) {
    for (const bool rests : {false, true}) {
      const std::string name = std::string("AcquireAndRelease/") +
                               (session ? "session" : "no_session") +
                               (rests ? "/half_resting" : "/all_healthy");
      benchmark::RegisterBenchmark(
          name.c_str(),
          [session, rests](benchmark::State& state) { AcquireAndRelease(state, session, rests); })
          ->RangeMultiplier(10)
          ->Range(1, 10'000);
    }
  }
}

}  // namespace
}  // namespace weir::routing

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  weir::routing::Register();
  benchmark::RunSpecifiedBenchmarks();
}
