#include "routing/account_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace weir::routing {
namespace {

using Kind = AcquireReply::Kind;
constexpr Tick kStart{1'000'000'000'000};

KeyId Key(std::uint64_t n) { return {{0, n}}; }

// One upstream, accounts a0, a1, ..., one pool of all of them, models m0 and m1 over it.
struct World {
  explicit World(std::uint32_t accounts, std::int64_t concurrency = 0) {
    auto c = std::make_shared<config::Config>();
    c->upstreams.push_back({.name = "u"});
    config::Pool pool{.name = "p"};
    for (std::uint32_t i = 0; i < accounts; ++i) {
      config::Account account;
      account.id = "a" + std::to_string(i);
      account.concurrency = concurrency;
      c->accounts.push_back(std::move(account));
      pool.accounts.push_back(i);
    }
    pool.queue = {.size = 100, .per_key = 50, .wait = Seconds(30)};
    c->pools.push_back(std::move(pool));
    c->packages.push_back({.name = "default", .pools = {0}});
    for (const char* id : {"m0", "m1"}) {
      config::Model model;
      model.id = id;
      model.routes.push_back({.upstream = 0, .upstream_model = id});
      c->models.push_back(std::move(model));
    }
    config = std::move(c);
  }

  config::Config& edit() {
    config = std::make_shared<config::Config>(*config);
    return *config;
  }
  AccountPool& pool() {
    if (!machine) machine = std::make_unique<AccountPool>(config, 1);
    return *machine;
  }
  AcquireCommand Command() {
    AcquireCommand command;
    command.config = config.get();
    command.need = {.package = 0, .model = 0, .capability = config::kCapResponses};
    command.key = Key(1);
    return command;
  }
  AcquireReply Acquire(const AcquireCommand& command) {
    return pool().Acquire(command, now, grants);
  }
  AcquireReply Acquire() { return Acquire(Command()); }
  // A call that refers to what the account made.
  AcquireCommand Referring(const Lease& maker, std::uint64_t what) {
    pool().Release(maker, {.outcome = Outcome::kServed, .made = {what, 0}}, now, grants);
    auto command = Command();
    command.refers_to = what;
    command.must_meet = true;
    return command;
  }
  void Release(const Lease& lease, Outcome outcome = Outcome::kServed,
               std::optional<Duration> rest = {}) {
    pool().Release(lease, {.outcome = outcome, .rest = rest}, now, grants);
  }
  std::string NameOf(const Lease& lease) const { return lease.config->accounts[lease.account].id; }
  std::vector<Grant> Granted() { return std::exchange(grants, {}); }

  std::shared_ptr<config::Config> config;
  std::unique_ptr<AccountPool> machine;
  std::vector<Grant> grants;
  Tick now = kStart;
};

TEST(AccountPool, Session_StaysThroughReleasesAndComesBackAfterARest) {
  World w(20);
  auto command = w.Command();
  command.session = 4711;
  const auto first = w.Acquire(command);
  ASSERT_EQ(first.kind, Kind::kGranted);
  EXPECT_EQ(first.stickiness, Stickiness::kKept);
  w.Release(first.lease);
  const auto second = w.Acquire(command);
  EXPECT_EQ(second.lease.slot, first.lease.slot);
  w.Release(second.lease, Outcome::kWindowExhausted, Seconds(3600));

  const auto away = w.Acquire(command);
  EXPECT_NE(away.lease.slot, first.lease.slot);
  EXPECT_EQ(away.stickiness, Stickiness::kAway);
  w.Release(away.lease);
  w.now = w.now + Seconds(3600);
  const auto back = w.Acquire(command);
  EXPECT_EQ(back.lease.slot, first.lease.slot) << "fails back";
  EXPECT_TRUE(back.lease.probe) << "one call at first";
  w.Release(back.lease);
  EXPECT_EQ(w.pool().sticky().kept, 3);
  EXPECT_EQ(w.pool().sticky().away, 1);
}

TEST(AccountPool, SessionOfABusyOrErringAccount_Escapes) {
  World w(5, 1);
  auto command = w.Command();
  command.session = 99;
  const auto first = w.Acquire(command);
  const auto second = w.Acquire(command);
  EXPECT_NE(second.lease.slot, first.lease.slot);
  EXPECT_EQ(second.stickiness, Stickiness::kEscaped);
  w.Release(second.lease);
  // Fails every second call: never three in a row, so it does not rest, but sessions leave it.
  w.Release(first.lease, Outcome::kServerError);
  for (int i = 0; i < 10; ++i) {
    const auto next = w.Acquire(command);
    if (next.lease.slot != first.lease.slot) {
      w.Release(next.lease);
      continue;
    }
    w.Release(next.lease, i % 2 == 0 ? Outcome::kServerError : Outcome::kServed);
  }
  const auto last = w.Acquire(command);
  EXPECT_NE(last.lease.slot, first.lease.slot);
  EXPECT_EQ(last.stickiness, Stickiness::kEscaped);
}

TEST(AccountPool, SlowAccount_LosesItsSessions) {
  World w(4);
  auto command = w.Command();
  command.session = 5;
  const auto own = w.Acquire(command);
  for (int i = 0; i < 40; ++i) {
    const auto any = w.Acquire();
    w.pool().NoteAlive(any.lease,
                       any.lease.slot == own.lease.slot ? Seconds(60) : Milliseconds(300), w.now,
                       w.grants);
    w.Release(any.lease);
  }
  const auto next = w.Acquire(command);
  EXPECT_NE(next.lease.slot, own.lease.slot);
  EXPECT_EQ(next.stickiness, Stickiness::kEscaped);
}

TEST(AccountPool, LowerPriority_IsUsedOnlyWhenNothingBetterIs) {
  World w(4, 1);
  w.edit().accounts[3].priority = 10;
  w.config->accounts[0].priority = 90;
  EXPECT_EQ(w.NameOf(w.Acquire().lease), "a3");
  std::set<std::string> middle = {w.NameOf(w.Acquire().lease), w.NameOf(w.Acquire().lease)};
  EXPECT_EQ(middle, (std::set<std::string>{"a1", "a2"}));
  EXPECT_EQ(w.NameOf(w.Acquire().lease), "a0");
  EXPECT_EQ(w.Acquire().kind, Kind::kQueued);
}

TEST(AccountPool, EveryLimitLayer_IsKept) {
  const auto granted = [](World& w) {
    int n = 0;
    while (n < 50 && w.Acquire().kind == Kind::kGranted) ++n;
    return n;
  };
  World account(3, 2);
  EXPECT_EQ(granted(account), 6);
  World pool(3, 2);
  pool.edit().pools[0].concurrency = 4;
  EXPECT_EQ(granted(pool), 4);
  World upstream(3, 2);
  upstream.edit().upstreams[0].concurrency = 3;
  EXPECT_EQ(granted(upstream), 3);
  World node(3, 2);
  node.edit().concurrency = 1;
  EXPECT_EQ(granted(node), 1);
  World rate(3);
  for (auto& spec : rate.edit().accounts) spec.requests_per_minute = 5;
  EXPECT_EQ(granted(rate), 15);
  rate.now = rate.now + Seconds(12);
  EXPECT_EQ(rate.Acquire().kind, Kind::kGranted);
  EXPECT_EQ(rate.Granted().size(), 1U) << "and the one who waited";
}

TEST(AccountPool, TokensOfAnAccount_CountWhatWasUsed) {
  World w(1);
  w.edit().accounts[0].tokens_per_minute = 1000;
  w.config->pools[0].queue.size = 0;
  auto command = w.Command();
  command.tokens = 900;
  const auto first = w.Acquire(command);
  ASSERT_EQ(first.kind, Kind::kGranted);
  // It turned out to be small: the rest is free again.
  w.pool().Release(first.lease, {.outcome = Outcome::kServed, .tokens = 100}, w.now, w.grants);
  const auto second = w.Acquire(command);
  ASSERT_EQ(second.kind, Kind::kGranted);
  w.pool().Release(second.lease, {.outcome = Outcome::kServed, .tokens = 2000}, w.now, w.grants);
  const auto third = w.Acquire(command);
  EXPECT_EQ(third.kind, Kind::kRefused);
  EXPECT_GT(third.retry_after, Seconds(60)) << "what was used beyond the minute counts too";
}

TEST(AccountPool, NotEligible_IsNeverChosen) {
  World w(7);
  auto& accounts = w.edit().accounts;
  accounts[0].enabled = false;
  accounts[1].draining = true;
  accounts[2].expires_at = Instant{0};
  accounts[3].models = {"m1"};
  accounts[4].capabilities = config::kCapChat;
  std::map<std::string, int> chosen;
  w.pool().Configure(w.config, w.now, Instant{1}, w.grants);
  for (int i = 0; i < 200; ++i) {
    const auto reply = w.Acquire();
    ASSERT_EQ(reply.kind, Kind::kGranted);
    ++chosen[w.NameOf(reply.lease)];
    w.Release(reply.lease);
  }
  EXPECT_EQ(chosen.size(), 2U);
  EXPECT_TRUE(chosen.contains("a5") && chosen.contains("a6"));
  auto audio = w.Command();
  audio.need.capability = config::kCapTranscription;
  for (auto& spec : w.edit().accounts) spec.capabilities = config::kCapChat;
  w.pool().Configure(w.config, w.now, Instant{1}, w.grants);
  audio.config = w.config.get();
  EXPECT_EQ(w.Acquire(audio).refusal, Refusal::kCapabilityUnavailable);
}

TEST(AccountPool, ModelGone_RestsTheAccountForThatModelOnly) {
  World w(2);
  const auto first = w.Acquire();
  w.Release(first.lease, Outcome::kModelGone);
  for (int i = 0; i < 50; ++i) {
    const auto reply = w.Acquire();
    EXPECT_NE(reply.lease.slot, first.lease.slot);
    w.Release(reply.lease);
  }
  auto other = w.Command();
  other.need.model = 1;
  std::set<std::uint32_t> slots;
  for (int i = 0; i < 50; ++i) {
    const auto reply = w.Acquire(other);
    slots.insert(reply.lease.slot);
    w.Release(reply.lease);
  }
  EXPECT_EQ(slots.size(), 2U);
  w.now = w.now + Minutes(10);
  slots.clear();
  for (int i = 0; i < 50; ++i) {
    const auto reply = w.Acquire();
    slots.insert(reply.lease.slot);
    w.Release(reply.lease);
  }
  EXPECT_EQ(slots.size(), 2U);
}

TEST(AccountPool, AllRest_SaysWhenTheFirstIsBack) {
  World w(3);
  w.edit().pools[0].queue.size = 0;
  std::vector<Lease> leases;
  for (int i = 0; i < 3; ++i) leases.push_back(w.Acquire().lease);
  // Three calls on three accounts, or on fewer: release by account.
  for (int i = 0; i < 3; ++i) w.Release(leases[static_cast<std::size_t>(i)], Outcome::kNothing);
  for (const char* id : {"a0", "a1", "a2"}) {
    EXPECT_TRUE(w.pool().Cool(id, Seconds(id[1] == '1' ? 20 : 50), w.now, w.grants));
  }
  const auto reply = w.Acquire();
  EXPECT_EQ(reply.refusal, Refusal::kNoCapacity);
  EXPECT_EQ(reply.retry_after, Seconds(20));
  EXPECT_TRUE(w.pool().Clear("a2", w.now, w.grants));
  EXPECT_EQ(w.NameOf(w.Acquire().lease), "a2");
  EXPECT_FALSE(w.pool().Clear("nobody", w.now, w.grants));
}

TEST(AccountPool, AllWindowsUsedUp_IsTheUsageLimitWithItsReset) {
  World w(2);
  for (int i = 0; i < 2; ++i) {
    const auto reply = w.Acquire();
    w.Release(reply.lease, Outcome::kWindowExhausted, Seconds(i == 0 ? 7200 : 3600));
  }
  const auto reply = w.Acquire();
  EXPECT_EQ(reply.kind, Kind::kRefused) << "nobody waits an hour in a queue";
  EXPECT_EQ(reply.refusal, Refusal::kUsageLimitReached);
  EXPECT_EQ(reply.retry_after, Seconds(3600));
}

TEST(AccountPool, SoftRest_DoesNotTurnTheLastAccountAway) {
  World w(1);
  const auto first = w.Acquire();
  w.Release(first.lease, Outcome::kOverloaded, Seconds(30));
  EXPECT_EQ(w.Acquire().kind, Kind::kGranted) << "the vendor is overloaded, asking costs nothing";
  World hard(1);
  const auto other = hard.Acquire();
  hard.Release(other.lease, Outcome::kBurst, Seconds(20));
  EXPECT_EQ(hard.Acquire().kind, Kind::kQueued);
  hard.now = hard.now + Seconds(20);
  hard.pool().Advance(hard.now, hard.grants);
  EXPECT_EQ(hard.Granted().size(), 1U);
}

TEST(AccountPool, Queue_IsBoundedFairAndTimesOut) {
  World w(1, 1);
  w.edit().pools[0].queue = {.size = 4, .per_key = 3, .wait = Seconds(10)};
  const auto running = w.Acquire();
  auto greedy = w.Command();
  auto modest = w.Command();
  modest.key = Key(2);
  std::vector<TicketId> tickets;
  for (int i = 0; i < 3; ++i) {
    const auto reply = w.Acquire(greedy);
    ASSERT_EQ(reply.kind, Kind::kQueued);
    EXPECT_EQ(reply.position, i + 1);
    EXPECT_EQ(reply.deadline, w.now + Seconds(10));
    tickets.push_back(reply.ticket);
  }
  EXPECT_EQ(w.Acquire(greedy).refusal, Refusal::kCapacityQueueFull) << "three of one key";
  const auto second = w.Acquire(modest);
  EXPECT_EQ(second.position, 2) << "behind the first of the other key only";
  const auto full = w.Acquire(modest);
  EXPECT_EQ(full.refusal, Refusal::kCapacityQueueFull);
  EXPECT_GE(full.retry_after, Seconds(1));
  EXPECT_EQ(w.pool().ViewPool(0, w.now).waiting, 4);

  w.Release(running.lease);
  auto grants = w.Granted();
  ASSERT_EQ(grants.size(), 1U);
  EXPECT_EQ(grants[0].ticket, tickets[0]);
  w.Release(grants[0].reply.lease);
  grants = w.Granted();
  ASSERT_EQ(grants.size(), 1U);
  EXPECT_EQ(grants[0].ticket, second.ticket);
  EXPECT_TRUE(w.pool().Leave(tickets[1], w.now, w.grants));
  EXPECT_FALSE(w.pool().Leave(tickets[1], w.now, w.grants));
  EXPECT_FALSE(w.pool().Leave(second.ticket, w.now, w.grants)) << "it was granted";
  EXPECT_EQ(w.pool().NextDue(), w.now + Seconds(10));
  w.now = w.now + Seconds(10);
  w.pool().Advance(w.now, w.grants);
  grants = w.Granted();
  ASSERT_EQ(grants.size(), 1U);
  EXPECT_EQ(grants[0].ticket, tickets[2]);
  EXPECT_EQ(grants[0].reply.refusal, Refusal::kCapacityQueueTimeout);
  EXPECT_GE(grants[0].reply.retry_after, Seconds(1));
}

TEST(AccountPool, CallForAnotherModel_PassesThoseWhoWait) {
  World w(2, 1);
  w.edit().accounts[0].models = {"m0"};
  w.config->accounts[1].models = {"m1"};
  const auto running = w.Acquire();
  EXPECT_EQ(w.Acquire().kind, Kind::kQueued);
  auto other = w.Command();
  other.need.model = 1;
  EXPECT_EQ(w.Acquire(other).kind, Kind::kGranted);
  w.Release(running.lease);
  EXPECT_EQ(w.Granted().size(), 1U);
}

TEST(AccountPool, CallThatRefersToAReply_WaitsForItsAccountAndNotForever) {
  World w(3, 1);
  const auto maker = w.Acquire();
  auto command = w.Referring(maker.lease, 4711);
  const auto first = w.Acquire(command);
  EXPECT_EQ(first.lease.slot, maker.lease.slot);
  auto soft = command;
  soft.must_meet = false;
  const auto elsewhere = w.Acquire(soft);
  EXPECT_EQ(elsewhere.kind, Kind::kGranted) << "a preference does not wait";
  w.Release(elsewhere.lease);
  const auto second = w.Acquire(command);
  EXPECT_EQ(second.kind, Kind::kQueued) << "others are free, and of no use to it";
  w.Release(first.lease);
  auto grants = w.Granted();
  ASSERT_EQ(grants.size(), 1U);
  EXPECT_EQ(grants[0].reply.lease.slot, maker.lease.slot);
  w.Release(grants[0].reply.lease, Outcome::kWindowExhausted, Seconds(3600));
  EXPECT_EQ(w.Acquire(command).kind, Kind::kGranted) << "it will not be back in time";
  auto unknown = w.Command();
  unknown.refers_to = 12345;
  unknown.must_meet = true;
  EXPECT_EQ(w.Acquire(unknown).kind, Kind::kGranted) << "the upstream knows what to say";
}

TEST(AccountPool, TriedAccounts_AreNotTriedAgain) {
  World w(3);
  std::vector<std::uint32_t> tried;
  auto command = w.Command();
  command.session = 8;
  for (int i = 0; i < 3; ++i) {
    command.tried = tried;
    const auto reply = w.Acquire(command);
    ASSERT_EQ(reply.kind, Kind::kGranted);
    EXPECT_EQ(std::ranges::count(tried, reply.lease.slot), 0);
    tried.push_back(reply.lease.slot);
    w.Release(reply.lease, Outcome::kServerError);
  }
  command.tried = tried;
  EXPECT_EQ(w.Acquire(command).kind, Kind::kRefused) << "no fourth, and nobody to wait for";
}

TEST(AccountPool, Reload_KeepsHealthCallsAndThoseWhoWait) {
  World w(2, 1);
  const auto a = w.Acquire();
  const auto b = w.Acquire();
  const auto waiting = w.Acquire();
  ASSERT_EQ(waiting.kind, Kind::kQueued);
  auto& next = w.edit();
  std::ranges::reverse(next.accounts);  // other indices, the same accounts
  next.models.insert(next.models.begin(), config::Model{.id = "new"});
  w.pool().Configure(w.config, w.now, Instant{0}, w.grants);
  EXPECT_TRUE(w.Granted().empty()) << "both are still busy";
  w.Release(a.lease, Outcome::kWindowExhausted, Seconds(600));
  EXPECT_TRUE(w.Granted().empty());
  w.Release(b.lease);
  const auto grants = w.Granted();
  ASSERT_EQ(grants.size(), 1U);
  EXPECT_EQ(grants[0].reply.lease.slot, b.lease.slot);
  EXPECT_EQ(w.NameOf(grants[0].reply.lease), b.lease.config->accounts[b.lease.account].id);
  EXPECT_EQ(w.pool().ViewPool(0, w.now).resting, 1);
  // A call with the configuration of before finds its model under its name.
  auto late = w.Command();
  late.config = b.lease.config.get();
  EXPECT_EQ(w.Acquire(late).kind, Kind::kQueued);
  auto& last = w.edit();
  last.models.clear();
  w.pool().Configure(w.config, w.now, Instant{0}, w.grants);
  const auto refused = w.Granted();
  ASSERT_EQ(refused.size(), 1U);
  EXPECT_EQ(refused[0].reply.kind, Kind::kRefused);
}

TEST(AccountPool, NewCredential_IsTriedAtOnce) {
  World w(1);
  w.edit().accounts[0].api_key = Secret("old");
  w.config->pools[0].queue.size = 0;
  const auto first = w.Acquire();
  w.Release(first.lease, Outcome::kAuthDead);
  EXPECT_EQ(w.Acquire().kind, Kind::kRefused);
  w.edit().accounts[0].api_key = Secret("new");
  w.pool().Configure(w.config, w.now, Instant{0}, w.grants);
  EXPECT_EQ(w.Acquire().kind, Kind::kGranted);
}

TEST(AccountPool, Capacity_ShrinksAndRecovers) {
  World w(4, 5);
  EXPECT_EQ(w.pool().ViewPool(0, w.now).capacity, 20);
  const auto reply = w.Acquire();
  w.Release(reply.lease, Outcome::kBurst, Seconds(5));
  EXPECT_EQ(w.pool().ViewPool(0, w.now).capacity, 15);
  w.now = w.now + Seconds(5);
  EXPECT_EQ(w.pool().ViewPool(0, w.now).capacity, 16) << "half open: one call";
  std::vector<Lease> leases;
  for (int i = 0; i < 8; ++i) leases.push_back(w.Acquire().lease);
  EXPECT_EQ(w.pool().Pressure(0, w.now), 500);
  for (const auto& lease : leases) w.Release(lease);
  EXPECT_EQ(w.pool().ViewPool(0, w.now).capacity, 20);
}

std::vector<std::string> Names(const std::vector<ProbeDue>& due) {
  std::vector<std::string> names;
  for (const ProbeDue& one : due) names.push_back(one.config->accounts[one.account].id);
  return names;
}

TEST(AccountPool, Probes_AskWhomNobodyUsedAndWhomAQuestionCanHeal) {
  World world(4);
  world.edit().accounts[3].enabled = false;
  world.pool().Configure(world.config, world.now, Instant{1}, world.grants);
  EXPECT_TRUE(world.pool().TakeProbes(world.now, 10).empty())
      << "an account has a minute to be used";
  const AcquireReply used = world.Acquire();
  const std::string proven = world.NameOf(used.lease);
  world.Release(used.lease);
  world.now = world.now + Seconds(60);
  std::vector<std::string> others = {"a0", "a1", "a2"};
  std::erase(others, proven);
  EXPECT_EQ(Names(world.pool().TakeProbes(world.now, 1)), std::vector{others[0]});
  EXPECT_EQ(Names(world.pool().TakeProbes(world.now, 10)), std::vector{others[1]});
  EXPECT_TRUE(world.pool().TakeProbes(world.now, 10).empty()) << "each once in its interval";

  // One is well and is not asked again; the other's credential is refused, before any call was.
  EXPECT_FALSE(world.pool().NoteProbe(others[0], Outcome::kServed, world.now, world.grants));
  const auto began = world.pool().NoteProbe(others[1], Outcome::kAuthDead, world.now, world.grants);
  ASSERT_TRUE(began);
  EXPECT_EQ(began->account, others[1]);
  EXPECT_EQ(began->why, Outcome::kAuthDead);
  for (int i = 0; i < 20; ++i) {
    const AcquireReply reply = world.Acquire();
    EXPECT_NE(world.NameOf(reply.lease), others[1]);
    world.Release(reply.lease);
  }
  world.now = world.now + Seconds(60);
  EXPECT_EQ(Names(world.pool().TakeProbes(world.now, 10)), std::vector{others[1]});
  world.pool().NoteProbe(others[1], Outcome::kServed, world.now, world.grants);
  EXPECT_EQ(world.pool().ViewAccount(others[1], world.now)->fitness, Fitness::kHalfOpen);
}

TEST(AccountPool, ProbeThatHeals_LetsTheNextCallIn) {
  World world(1, 1);
  world.Release(world.Acquire().lease, Outcome::kAuthDead);
  ASSERT_EQ(world.Acquire().refusal, Refusal::kNoCapacity);
  world.pool().NoteProbe("a0", Outcome::kServed, world.now, world.grants);
  EXPECT_EQ(world.Acquire().kind, Kind::kGranted);
  EXPECT_FALSE(world.pool().NoteProbe("gone", Outcome::kServed, world.now, world.grants));
}

TEST(AccountPool, Probes_OfZeroIntervalOrOfTheSandbox_AreNotAsked) {
  World world(2);
  world.edit().upstreams[0].health_probe = {};
  world.pool().Configure(world.config, world.now, Instant{1}, world.grants);
  EXPECT_TRUE(world.pool().TakeProbes(world.now + Minutes(60), 10).empty());
  world.edit().upstreams[0].health_probe = Seconds(1);
  world.edit().upstreams[0].kind = config::UpstreamKind::kSandbox;
  world.pool().Configure(world.config, world.now, Instant{1}, world.grants);
  EXPECT_TRUE(world.pool().TakeProbes(world.now + Minutes(60), 10).empty());
}

// Random commands against an auditor that keeps its own books.
TEST(AccountPool, RandomRuns_KeepTheInvariants) {
  for (std::uint64_t seed = 1; seed <= 150; ++seed) {
    SeededRandom random(seed);
    World w(static_cast<std::uint32_t>(1 + random.Next() % 8),
            static_cast<std::int64_t>(random.Next() % 4));
    auto& c = w.edit();
    c.pools[0].concurrency = static_cast<std::int64_t>(random.Next() % 12);
    c.pools[0].queue.size = static_cast<std::int64_t>(random.Next() % 20);
    c.pools[0].queue.wait = Seconds(static_cast<std::int64_t>(1 + random.Next() % 60));
    for (auto& account : c.accounts) {
      account.priority = random.Next() % 3 == 0 ? 10 : 50;
      if (random.Next() % 4 == 0) account.models = {"m1"};
      if (random.Next() % 5 == 0) account.requests_per_minute = 30;
    }
    std::vector<Lease> open;
    std::map<TicketId, std::uint32_t> waiting;  // model
    std::map<std::uint32_t, std::int64_t> in_flight;
    const auto grant = [&](const Lease& lease, std::uint32_t model) {
      const auto& spec = lease.config->accounts[lease.account];
      EXPECT_TRUE(spec.models.empty() || model == 1) << "not eligible";
      const auto n = ++in_flight[lease.slot];
      if (spec.concurrency > 0) EXPECT_LE(n, spec.concurrency);
      open.push_back(lease);
      if (w.config->pools[0].concurrency > 0) {
        EXPECT_LE(static_cast<std::int64_t>(open.size()), w.config->pools[0].concurrency);
      }
    };
    const auto collect = [&] {
      for (const Grant& g : w.Granted()) {
        ASSERT_TRUE(waiting.contains(g.ticket)) << "granted twice, or to nobody";
        const auto model = waiting[g.ticket];
        waiting.erase(g.ticket);
        if (g.reply.kind == Kind::kGranted) grant(g.reply.lease, model);
      }
    };
    for (int step = 0; step < 400; ++step) {
      w.now = w.now + Milliseconds(static_cast<std::int64_t>(random.Next() % 2000));
      const auto what = random.Next() % 10;
      if (what < 5) {
        auto command = w.Command();
        command.key = Key(random.Next() % 4);
        command.need.model = static_cast<std::uint32_t>(random.Next() % 2);
        command.session = random.Next() % 3 == 0 ? 0 : 1 + random.Next() % 20;
        if (random.Next() % 8 == 0) {
          command.refers_to = 1 + random.Next() % 10;
          command.must_meet = random.Next() % 2 == 0;
        }
        const auto reply = w.Acquire(command);
        if (reply.kind == Kind::kGranted) grant(reply.lease, command.need.model);
        if (reply.kind == Kind::kQueued) waiting[reply.ticket] = command.need.model;
        if (reply.kind == Kind::kRefused) {
          EXPECT_NE(reply.refusal, Refusal::kNone);
          EXPECT_GE(reply.retry_after, Seconds(1));
        }
      } else if (what < 8 && !open.empty()) {
        const auto at = random.Next() % open.size();
        const Lease lease = open[at];
        open.erase(open.begin() + static_cast<std::ptrdiff_t>(at));
        --in_flight[lease.slot];
        const auto outcome = random.Next() % 3 != 0
                                 ? Outcome::kServed
                                 : static_cast<Outcome>(random.Next() % kOutcomes);
        Report report{.outcome = outcome, .made = {1 + random.Next() % 10, 0}};
        if (random.Next() % 2 == 0)
          report.rest = Seconds(static_cast<std::int64_t>(random.Next() % 30));
        w.pool().Release(lease, report, w.now, w.grants);
      } else if (what == 8 && !waiting.empty()) {
        const auto ticket = waiting.begin()->first;
        if (w.pool().Leave(ticket, w.now, w.grants)) waiting.erase(ticket);
      } else {
        w.pool().Advance(w.now, w.grants);
      }
      collect();
      EXPECT_EQ(w.pool().ViewPool(0, w.now).waiting, static_cast<std::int64_t>(waiting.size()));
      EXPECT_EQ(w.pool().ViewPool(0, w.now).in_flight, static_cast<std::int64_t>(open.size()));
      if (HasFailure()) FAIL() << "seed " << seed << " step " << step;
    }
    // Everything ends: release all, let all waits run out, and nothing is left.
    for (int i = 0; i < 1000 && (!open.empty() || !waiting.empty()); ++i) {
      const auto leases = std::exchange(open, {});
      for (const Lease& lease : leases) {
        --in_flight[lease.slot];
        w.Release(lease);
        collect();
      }
      w.now = w.now + Seconds(1);
      w.pool().Advance(w.now, w.grants);
      collect();
    }
    EXPECT_TRUE(open.empty() && waiting.empty()) << "seed " << seed;
    EXPECT_EQ(w.pool().NextDue(), kNoDeadline);
  }
}

}  // namespace
}  // namespace weir::routing
