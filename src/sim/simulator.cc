#include "sim/simulator.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <list>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "config/accounts.h"
#include "gateway/pipeline.h"
#include "identity/key_record.h"
#include "sim/caller.h"
#include "sim/hosts.h"
#include "sim/request.h"
#include "sim/upstreams.h"

namespace weir::sim {
namespace {

using Kind = Action::Kind;

// Far more than any schedule needs: one that comes here goes round in circles.
constexpr std::uint64_t kEventsMax = 3'000'000;
constexpr Duration kWriteStall = Seconds(30);
// The key of the request that must be served when all is over.
constexpr std::size_t kProbeKey = kKeys;

config::Price PriceOf(Draw draw, std::uint32_t version) {
  config::Price price;
  price.version = version;
  price.input = {draw.Between(0, 3'000'000)};
  price.cached_input = {price.input.p / draw.Between(1, 10)};
  price.cache_write = {price.input.p + draw.Between(0, 1'000'000)};
  price.output = {draw.Between(0, 12'000'001)};
  price.per_request = {draw.Chance(300) ? draw.Between(0, 100'000) : 0};
  return price;
}

std::string SecretOf(std::size_t key) { return fmt::format("secret-of-{}", key); }

std::shared_ptr<const config::Config> MakeConfig(const Settings& settings, std::uint64_t seed,
                                                 std::uint32_t version, config::HangUpRule rule) {
  config::Config config;
  config.hang_up_rule = rule;
  config.durability = settings.durability;
  config.useful_output_tokens_min = 16;
  config.caller_limits.heartbeat_interval = Seconds(3);
  config.caller_limits.write_stall_deadline = kWriteStall;
  config::Upstream upstream;
  upstream.name = "u";
  upstream.host = "u.example";
  upstream.base_path = "/v1";
  upstream.first_byte_deadline = Seconds(20);
  upstream.event_deadline = Seconds(8);
  upstream.total_deadline = Seconds(90);
  config.upstreams.push_back(std::move(upstream));
  for (std::int64_t i = 0; i < settings.accounts; ++i) {
    config::Account account;
    account.id = fmt::format("u/a{}", i);
    account.concurrency = settings.account_slots;
    account.priority = 50 + static_cast<std::int32_t>(i % 2);
    config.accounts.push_back(std::move(account));
  }
  config.pools.push_back({.name = "default"});
  config.pools.front().queue = {.size = settings.queue_size, .per_key = 4, .wait = Seconds(6)};
  for (std::size_t i = 0; i < kModels; ++i) {
    config::Model model;
    model.id = ModelName(i);
    model.routes.push_back({0, fmt::format("upstream-{}", i)});
    model.price = PriceOf(Draw(SeedOf(seed, i)), version);
    model.output_tokens_max = kOutputTokensMax;
    model.input_tokens_max = 8192;
    config.models.push_back(std::move(model));
  }
  config::FinishAccounts(config);
  return std::make_shared<const config::Config>(std::move(config));
}

class World {
 public:
  World(const Schedule& schedule, Canary canary, dialect::RequestReader& reader,
        std::shared_ptr<const identity::Pepper> pepper);
  ~World();
  Outcome Run();

 private:
  // One life of the process.
  struct Node {
    Node(World& world, std::uint64_t life);
    CreditHost credit;
    AccountHost accounts;
    bool draining = false;
  };
  // One request, from its arrival to its end or the crash that takes it.
  struct Call {
    std::uint64_t seed = 0;
    bool calm_caller = false;
    bool calm_upstreams = false;
    std::int64_t tries_left = 0;
    CallTruth* truth = nullptr;
    std::string number;  // text of kCallHeader
    std::string body;
    std::string path;
    std::string authorization;
    gateway::RequestHead head;
    std::shared_ptr<const gateway::Snapshot> snapshot;
    gateway::Exchange x;
    std::unique_ptr<SimCaller> caller;
    std::unique_ptr<gateway::Ports> ports;
    Root root;  // last: it refers to all of the above
    std::list<Call>::iterator self;
  };

  void Do(const Action& action);
  void StartCall(std::uint64_t seed, bool calm_caller, bool calm_upstreams, std::int64_t tries_left,
                 bool probe);
  Root Serve(Call& call);
  void OnServed(Call& call);
  void Crash(bool power);
  void Restart(bool power_cut_may_lose, std::uint64_t lost, bool repeated);
  void Drain();
  void PollDrain(int left);
  void FillDisk(Duration how_long);
  void Reload(std::uint64_t seed);
  void SetBudget(std::uint64_t seed);
  void Publish();
  void Heal();
  void RunUntilQuiet();
  void Probe();

  const Schedule& schedule_;
  const Canary canary_;
  dialect::RequestReader& reader_;
  std::shared_ptr<const identity::Pepper> pepper_;
  FaultSet faults_;
  Executor executor_;
  Disk disk_;
  Auditor auditor_;
  Draw draw_;
  std::array<KeyId, kKeys + 1> ids_;
  std::array<config::KeyLimits, kKeys + 1> limits_;
  identity::KeyTable keys_;
  std::vector<identity::KeyRecord> records_;
  std::shared_ptr<const config::Config> config_;
  std::uint32_t config_version_ = 1;
  std::shared_ptr<const gateway::Snapshot> snapshot_;
  SimUpstreams upstreams_;
  std::unique_ptr<Node> node_;
  std::unique_ptr<Node> dead_;  // freed when it is on nobody's stack
  std::list<Call> calls_;
  std::uint64_t lives_ = 0;
  std::uint64_t crashes_ = 0;
  std::uint64_t power_cuts_ = 0;
};

World::Node::Node(World& world, std::uint64_t life)
    : credit(
          world.executor_, world.disk_, world.auditor_, SeedOf(world.schedule_.seed, 20'000 + life),
          {.commit_time = world.faults_.Has(Fault::kDiskSlow) ? world.schedule_.settings.commit_time
                                                              : Milliseconds(5),
           .canary = world.canary_,
           .on_broken = [&world] { world.Crash(false); }}),
      accounts(world.executor_, world.config_, SeedOf(world.schedule_.seed, 30'000 + life)) {}

World::World(const Schedule& schedule, Canary canary, dialect::RequestReader& reader,
             std::shared_ptr<const identity::Pepper> pepper)
    : schedule_(schedule),
      canary_(canary),
      reader_(reader),
      pepper_(std::move(pepper)),
      faults_(schedule.faults),
      executor_(SeedOf(schedule.seed, 3)),
      disk_(schedule.settings.durability, SeedOf(schedule.seed, 4)),
      auditor_(executor_, disk_),
      draw_(SeedOf(schedule.seed, 5)),
      config_(MakeConfig(schedule.settings, SeedOf(schedule.seed, 6), 1,
                         schedule.settings.hang_up_rule)),
      upstreams_(executor_, auditor_,
                 {.faults = schedule.faults, .think_time = schedule.settings.think_time}) {
  for (std::size_t i = 0; i <= kKeys; ++i) {
    limits_[i].requests_per_minute = 0;
    if (i < kKeys) limits_[i] = schedule.settings.keys[i];
    identity::NewKey wanted{.name = fmt::format("k{}", i),
                            .environment = "production",
                            .permissions = {"openai"},
                            .models = {},
                            .expires_at = {},
                            .workspace = {},
                            .package = {},
                            .limits = limits_[i]};
    ids_[i] = KeyId{{7, i + 1}};
    records_.push_back(identity::MakeKeyWithSecret(wanted, ids_[i], "wr_", *pepper_,
                                                   Secret(SecretOf(i)), executor_.WallNow())
                           .record);
  }
  keys_ = identity::KeyTable::Of(records_);
  Publish();
}

World::~World() {
  // Coroutines before what they use.
  if (node_) {
    node_->credit.Die();
    node_->accounts.Die();
  }
  calls_.clear();
}

void World::Publish() {
  snapshot_ = std::make_shared<const gateway::Snapshot>(
      gateway::Snapshot{config_, std::make_shared<const identity::KeyTable>(keys_), pepper_});
}

Outcome World::Run() {
  Restart(false, 0, false);
  Tick last{0};
  for (const Action& action : schedule_.actions) {
    executor_.At(action.at, [this, &action] { Do(action); });
    last = std::max(last, action.at);
  }
  executor_.At(last + Milliseconds(draw_.Between(0, 3000)), [this] { Heal(); });
  RunUntilQuiet();
  if (!auditor_.violation()) Probe();
  Outcome outcome;
  outcome.violation = auditor_.violation();
  outcome.hash = executor_.hash();
  outcome.events = executor_.events();
  outcome.counts = auditor_.counts();
  outcome.crashes = crashes_;
  outcome.power_cuts = power_cuts_;
  outcome.simulated = executor_.Now() - Tick{0};
  return outcome;
}

void World::RunUntilQuiet() {
  while (!auditor_.violation()) {
    if (executor_.events() > kEventsMax) {
      auditor_.Report("I20", "goes round in circles");
      return;
    }
    if (!executor_.Step()) break;
  }
  if (auditor_.violation()) return;
  if (!calls_.empty()) {
    auditor_.Report("I20", fmt::format("{} requests never end, the first is request {}",
                                       calls_.size(), calls_.front().truth->number));
    return;
  }
  CHECK(node_ != nullptr, "a process that ended was started again");
  const routing::PoolView pool = node_->accounts.View();
  if (pool.in_flight != 0 || pool.waiting != 0) {
    auditor_.Report("I20", fmt::format("{} slots of accounts are held and {} calls wait, for "
                                       "nobody",
                                       pool.in_flight, pool.waiting));
  }
  auditor_.OnQuiet(node_->credit.machine());
}

// After the faults a plain request must be served, and a start must find what was there.
void World::Probe() {
  node_->accounts.ClearAll(*config_);
  const std::uint64_t served = auditor_.counts().served;
  StartCall(SeedOf(schedule_.seed, 7), true, true, 0, true);
  RunUntilQuiet();
  if (!auditor_.violation() && auditor_.counts().served != served + 1) {
    auditor_.Report("I20", "all is well, and a request is not served");
  }
  if (auditor_.violation()) return;
  Crash(false);
  RunUntilQuiet();
}

void World::Heal() {
  faults_ = {};
  disk_.full = false;
  disk_.breaks = false;
  upstreams_.Heal();
}

void World::Do(const Action& action) {
  executor_.Note(static_cast<std::uint64_t>(action.number) << 8 |
                 static_cast<std::uint64_t>(action.kind));
  Draw draw(action.seed);
  switch (action.kind) {
    case Kind::kRequest:
      return StartCall(action.seed, action.calm_caller, action.calm_upstreams, -1, false);
    case Kind::kCrash:
      return Crash(false);
    case Kind::kPowerCut:
      return Crash(true);
    case Kind::kDiskFull:
      return FillDisk(draw.Pause(Seconds(20)));
    case Kind::kDiskBroken:
      disk_.breaks = true;
      return;
    case Kind::kClockJump:
      executor_.SetWallBy({draw.Between(-Seconds(7200).ns, Seconds(7200).ns)});
      return;
    case Kind::kDrain:
      return Drain();
    case Kind::kReload:
      return Reload(action.seed);
    case Kind::kBudgetChange:
      return SetBudget(action.seed);
  }
}

// ---- requests -----------------------------------------------------------------------------------

void World::StartCall(std::uint64_t seed, bool calm_caller, bool calm_upstreams,
                      std::int64_t tries_left, bool probe) {
  const FaultSet faults = calm_caller ? FaultSet{} : faults_;
  const CallerPlan plan = PlanOfCaller(seed, faults);
  if (tries_left < 0) tries_left = plan.retries;
  if (!node_ || node_->draining) {  // nobody listens
    if (tries_left > 0) {
      executor_.In(draw_.Pause(Seconds(2)), [=, this] {
        StartCall(SeedOf(seed, 2), calm_caller, calm_upstreams, tries_left - 1, probe);
      });
    }
    return;
  }
  Request request = MakeRequest(seed, faults);
  if (probe) request.key = kProbeKey;

  calls_.emplace_back();
  Call& call = calls_.back();
  call.self = std::prev(calls_.end());
  call.seed = seed;
  call.calm_caller = calm_caller;
  call.calm_upstreams = calm_upstreams;
  call.tries_left = tries_left;
  call.snapshot = snapshot_;
  gateway::Exchange& x = call.x;
  x.started_at = executor_.WallNow();
  x.id = RequestId{MakeId(x.started_at, executor_.Entropy().Next(), executor_.Entropy().Next())};
  const bool known = request.key < ids_.size();
  call.truth = &auditor_.OnCall(x.id, known ? ids_[request.key] : KeyId{},
                                known ? limits_[request.key] : config::KeyLimits{});
  call.body = std::move(request.body);
  call.body.reserve(call.body.size() + 64);
  call.path = std::move(request.path);
  call.authorization = "Bearer " + SecretOf(request.key);
  call.number =
      std::to_string(upstreams_.Add({.truth = call.truth,
                                     .seed = seed,
                                     .body_bytes = static_cast<std::int64_t>(call.body.size()),
                                     .calm = calm_upstreams}));
  call.head.method = "POST";
  call.head.path = call.path;
  call.head.headers = {{"authorization", call.authorization},
                       {"content-type", "application/json"},
                       {kCallHeader, call.number}};
  x.head = &call.head;
  x.snapshot = call.snapshot.get();
  x.reader = &reader_;
  x.timings.started_at = executor_.Now();
  call.caller = std::make_unique<SimCaller>(executor_, auditor_, *call.truth, plan, call.body,
                                            kWriteStall, SeedOf(seed, 5));
  call.ports = std::make_unique<gateway::Ports>(
      gateway::Ports{*call.caller, upstreams_, node_->credit, node_->accounts});
  call.root = Serve(call);
  call.root.Start();
}

Root World::Serve(Call& call) {
  co_await gateway::Serve(call.x, *call.ports, executor_);
  OnServed(call);
}

void World::OnServed(Call& call) {
  auditor_.OnFinished(*call.truth, call.x);
  // The coroutine still runs: what it lives in goes with the next event.
  executor_.In({0}, [this, self = call.self, seed = call.seed, truth = call.truth] {
    // A crash may have taken it first.
    const auto here =
        std::ranges::find_if(calls_, [&](const Call& one) { return one.truth == truth; });
    if (here == calls_.end()) return;
    const bool again =
        self->tries_left > 0 && !truth->hung_up && (truth->status == 429 || truth->status >= 500);
    if (again) {
      executor_.In(draw_.Pause(Seconds(5)),
                   [=, this, calm_caller = self->calm_caller, calm_upstreams = self->calm_upstreams,
                    left = self->tries_left - 1] {
                     StartCall(SeedOf(seed, 2), calm_caller, calm_upstreams, left, false);
                   });
    }
    calls_.erase(self);
  });
}

// ---- the process --------------------------------------------------------------------------------

void World::Crash(bool power) {
  if (!node_) return;
  executor_.Note(power ? "power cut" : "crash");
  ++crashes_;
  power_cuts_ += power;
  node_->credit.Die();
  node_->accounts.Die();
  calls_.clear();
  dead_ = std::move(node_);
  disk_.breaks = false;
  const std::uint64_t lost = power ? disk_.CutPower() : 0;
  const bool may_lose = power && schedule_.settings.durability == config::Durability::kProcess;
  executor_.In(draw_.Pause(Seconds(2)), [this, may_lose, lost] { Restart(may_lose, lost, false); });
}

void World::Restart(bool power_cut_may_lose, std::uint64_t lost, bool repeated) {
  dead_.reset();
  node_ = std::make_unique<Node>(*this, lives_++);
  auditor_.OnRestart(power_cut_may_lose, lost, repeated);
  const bool cut_off = faults_.Has(Fault::kCrashInRecovery) && draw_.Chance(300);
  const bool started = node_->credit.Start(cut_off);
  if (started && !cut_off) return;
  node_->credit.Die();
  node_->accounts.Die();
  dead_ = std::move(node_);
  executor_.In(Milliseconds(100), [this] { Restart(false, 0, true); });
}

void World::Drain() {
  if (!node_ || node_->draining) return;
  node_->draining = true;
  for (Call& call : calls_) call.caller->Drain();
  PollDrain(500);
}

// The process ends when nothing runs any more and everything is written, or after five seconds.
void World::PollDrain(int left) {
  executor_.In(Milliseconds(10), [this, left, life = lives_] {
    if (!node_ || lives_ != life) return;  // a crash was first
    if (left > 0 && (!calls_.empty() || !node_->credit.quiet())) return PollDrain(left - 1);
    Crash(false);
  });
}

void World::FillDisk(Duration how_long) {
  disk_.full = true;
  executor_.In(how_long, [this] { disk_.full = false; });
}

void World::Reload(std::uint64_t seed) {
  ++config_version_;
  config_ = MakeConfig(schedule_.settings, seed, config_version_,
                       static_cast<config::HangUpRule>(Draw(seed).Below(3)));
  if (node_) node_->accounts.Configure(config_);
  Publish();
}

void World::SetBudget(std::uint64_t seed) {
  Draw draw(seed);
  const auto key = static_cast<std::size_t>(draw.Below(kKeys));
  limits_[key].budget = DrawBudget(draw.Next());
  records_[key].limits = limits_[key];
  keys_ = keys_.With(records_[key]);
  Publish();
}

}  // namespace

Outcome Simulator::Run(const Schedule& schedule) {
  World world(schedule, canary_, reader_, pepper_);
  return world.Run();
}

}  // namespace weir::sim
