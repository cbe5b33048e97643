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
#include "gateway/wallet_owner.h"
#include "identity/key_record.h"
#include "sim/caller.h"
#include "sim/hosts.h"
#include "sim/policy_plan.h"
#include "sim/replies.h"
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

std::int64_t MultiplierOf(Draw draw) {
  constexpr std::int64_t kUsual[] = {1'000'000, 1'000'000, 3'000'000, 500'000, 0, 8'000'000};
  const auto which = static_cast<std::size_t>(draw.Below(8));
  return which < std::size(kUsual) ? kUsual[which] : draw.Between(1, 4'000'000);
}

std::string PackageName(std::size_t package) { return fmt::format("p{}", package); }

std::string SecretOf(std::size_t key) { return fmt::format("secret-of-{}", key); }

// What the operator may change while it runs.
struct Deployment {
  std::uint64_t seed = 0;  // of prices and multipliers
  std::uint32_t version = 1;
  config::HangUpRule rule = config::HangUpRule::kAbortAndBillObserved;
  std::vector<config::Policy> policies;
  std::vector<config::Raise> raises;
};

std::shared_ptr<const config::Config> MakeConfig(const Settings& settings,
                                                 const Deployment& deployment) {
  const auto& [seed, version, rule, policies, raises] = deployment;
  config::Config config;
  config.policies = policies;
  config.raises = raises;
  config.fallback.attempts = settings.attempts;
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
  upstream.total_deadline = Seconds(600);  // a long answer in small pieces takes minutes
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
  for (std::size_t i = 0; i < kPackages; ++i) {
    config::Package package{.name = PackageName(i), .pools = {0}};
    package.wallet = WalletOfPackage(i);
    package.wallet_low = i == 1 ? 2'000 : 3;
    package.hold = settings.holds[i];
    config.packages.push_back(std::move(package));
  }
  for (std::size_t i = 0; i < kModels; ++i) {
    config::Model model;
    model.id = ModelName(i);
    model.routes.push_back({0, fmt::format("upstream-{}", i)});
    model.price = PriceOf(Draw(SeedOf(seed, i)), version);
    model.multiplier.ppm = MultiplierOf(Draw(SeedOf(seed, 100 + i)));
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
  // What is sent, and by whom.
  struct CallSpec {
    std::uint64_t seed = 0;  // of what is sent
    std::uint64_t salt = 0;  // of how it goes when the same is sent again
    bool other_body = false;
    bool calm_caller = false;
    bool calm_upstreams = false;
    std::int64_t tries_left = -1;  // -1: as its caller plans
    bool probe = false;
    std::uint64_t behaviour() const { return salt == 0 ? seed : salt; }
    // Whoever tries again sends the same if it has an Idempotency-Key, or else something new.
    CallSpec Retry(bool same) const {
      CallSpec next = *this;
      (same ? next.salt : next.seed) = SeedOf(same ? behaviour() : seed, 2);
      if (!same) next.salt = 0;
      --next.tries_left;
      return next;
    }
  };
  // One request, from its arrival to its end or the crash that takes it.
  struct Call {
    CallSpec spec;
    CallTruth* truth = nullptr;
    std::string number;  // text of kCallHeader
    std::string body;
    std::string path;
    std::string authorization;
    std::string idempotency;
    std::string user;
    std::string action;
    gateway::RequestHead head;
    std::shared_ptr<const gateway::Snapshot> snapshot;
    gateway::Exchange x;
    std::unique_ptr<SimCaller> caller;
    std::unique_ptr<gateway::Ports> ports;
    Root root;  // last: it refers to all of the above
    std::list<Call>::iterator self;
  };

  void Do(const Action& action);
  void StartCall(CallSpec spec);
  void StartRepeats(const CallSpec& spec);
  Root Serve(Call& call);
  void OnServed(Call& call);
  void NotePayer(const Request& request, CallTruth& truth) const;
  void NoteAsker(const Request& request, CallTruth& truth) const;
  void Crash(bool power);
  void Restart(bool power_cut_may_lose, std::uint64_t lost, bool repeated);
  void Drain();
  void PollDrain(int left);
  void FillDisk(Duration how_long);
  void Reload(std::uint64_t seed);
  void ChangePolicies(std::uint64_t seed);
  void Configure();
  void SetBudget(std::uint64_t seed);
  void GiveAtStart();
  void Give(std::size_t key, std::uint64_t seed);
  void ChangeGrants(std::uint64_t seed);
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
  Deployment deployment_;
  std::shared_ptr<const config::Config> config_;
  std::shared_ptr<const gateway::Snapshot> snapshot_;
  SimUpstreams upstreams_;
  SimReplies replies_;
  std::vector<ledger::GrantRecord> grants_;  // ever given
  std::unique_ptr<Node> node_;
  std::unique_ptr<Node> dead_;  // freed when it is on nobody's stack
  std::list<Call> calls_;
  std::uint64_t lives_ = 0;
  std::uint64_t crashes_ = 0;
  std::uint64_t power_cuts_ = 0;
  std::string probe_end_ = "it never ended";
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
      deployment_{.seed = SeedOf(schedule.seed, 6),
                  .rule = schedule.settings.hang_up_rule,
                  .policies = schedule.settings.policies,
                  .raises = {}},
      config_(MakeConfig(schedule.settings, deployment_)),
      upstreams_(executor_, auditor_,
                 {.faults = schedule.faults, .think_time = schedule.settings.think_time}),
      replies_(executor_, SeedOf(schedule.seed, 8), schedule.faults.Has(Fault::kRepliesLost)) {
  for (std::size_t i = 0; i <= kKeys; ++i) {
    limits_[i].requests_per_minute = 0;
    if (i < kKeys) limits_[i] = schedule.settings.keys[i];
    identity::NewKey wanted{.name = fmt::format("k{}", i),
                            .environment = "production",
                            .permissions = {"openai"},
                            .models = {},
                            .expires_at = {},
                            .workspace = schedule.settings.shared_wallet && i < 2 ? "shared" : "",
                            .package = PackageName(i < kKeys ? schedule.settings.packages[i] : 0),
                            .attributes = {{config::Dimension::kTeam, TeamOf(i)}},
                            .metadata = config::BitOf(config::Dimension::kUser),
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
  snapshot_ = std::make_shared<const gateway::Snapshot>(gateway::Snapshot{
      config_, std::make_shared<const identity::KeyTable>(keys_), pepper_,
      std::make_shared<const policy::PolicySet>(config_->policies, config_->raises)});
}

Outcome World::Run() {
  Restart(false, 0, false);
  GiveAtStart();
  Tick last{0};
  for (const Action& action : schedule_.actions) {
    executor_.At(action.at, [this, &action] { Do(action); });
    last = std::max(last, action.at);
  }
  // Later than the last action: of events of one time any may be first, and what breaks behind the
  // healing stays broken.
  executor_.At(last + Milliseconds(draw_.Between(1, 3000)), [this] { Heal(); });
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
  StartCall({.seed = SeedOf(schedule_.seed, 7),
             .calm_caller = true,
             .calm_upstreams = true,
             .tries_left = 0,
             .probe = true});
  RunUntilQuiet();
  if (!auditor_.violation() && auditor_.counts().served != served + 1) {
    auditor_.Report("I20", fmt::format("all is well, and a request is not served: {}", probe_end_));
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
  replies_.Heal();
}

void World::Do(const Action& action) {
  executor_.Note(static_cast<std::uint64_t>(action.number) << 8 |
                 static_cast<std::uint64_t>(action.kind));
  Draw draw(action.seed);
  switch (action.kind) {
    case Kind::kRequest:
      return StartRepeats({.seed = action.seed,
                           .calm_caller = action.calm_caller,
                           .calm_upstreams = action.calm_upstreams});
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
      // Mostly hours; now and then days, in which Idempotency-Keys are forgotten.
      executor_.SetWallBy(draw.Chance(850)
                              ? Duration{draw.Between(-Seconds(7200).ns, Seconds(7200).ns)}
                              : Duration{draw.Between(-Seconds(300'000).ns, Seconds(300'000).ns)});
      return;
    case Kind::kDrain:
      return Drain();
    case Kind::kReload:
      return Reload(action.seed);
    case Kind::kBudgetChange:
      return SetBudget(action.seed);
    case Kind::kGrants:
      return ChangeGrants(action.seed);
    case Kind::kPolicyChange:
      return ChangePolicies(action.seed);
  }
}

// ---- requests -----------------------------------------------------------------------------------

// A request, and the same Idempotency-Key again as its caller plans.
void World::StartRepeats(const CallSpec& spec) {
  StartCall(spec);
  const FaultSet faults = spec.calm_caller ? FaultSet{} : faults_;
  if (MakeRequest(spec.seed, faults).idempotency.empty()) return;
  std::uint64_t number = 0;
  for (const Repeat& repeat : RepeatsOf(spec.seed, faults)) {
    CallSpec again = spec;
    again.salt = SeedOf(spec.seed, 60 + number++);
    again.other_body = repeat.other_body;
    executor_.In(repeat.after, [this, again] { StartCall(again); });
  }
}

void World::StartCall(CallSpec spec) {
  const FaultSet faults = spec.calm_caller ? FaultSet{} : faults_;
  const CallerPlan plan = PlanOfCaller(spec.behaviour(), faults);
  if (spec.tries_left < 0) spec.tries_left = plan.retries;
  Request request =
      spec.other_body ? MakeOtherRequest(spec.seed, faults) : MakeRequest(spec.seed, faults);
  if (!node_ || node_->draining) {  // nobody listens
    if (spec.tries_left > 0) {
      executor_.In(draw_.Pause(Seconds(2)),
                   [this, next = spec.Retry(!request.idempotency.empty())] { StartCall(next); });
    }
    return;
  }
  if (spec.probe) {
    request.key = kProbeKey;
    request.idempotency.clear();
  }

  calls_.emplace_back();
  Call& call = calls_.back();
  call.self = std::prev(calls_.end());
  call.spec = spec;
  call.snapshot = snapshot_;
  gateway::Exchange& x = call.x;
  x.started_at = executor_.WallNow();
  x.id = RequestId{MakeId(x.started_at, executor_.Entropy().Next(), executor_.Entropy().Next())};
  const bool known = request.key < ids_.size();
  call.truth = &auditor_.OnCall(x.id, known ? ids_[request.key] : KeyId{},
                                known ? limits_[request.key] : config::KeyLimits{});
  if (known) NotePayer(request, *call.truth);
  if (known) NoteAsker(request, *call.truth);
  call.truth->asked_at = x.started_at;
  if (!request.idempotency.empty()) {
    call.truth->idempotency = request.idempotency;
    call.truth->asked = request.path + "\n" + request.body;
  }
  call.body = std::move(request.body);
  call.body.reserve(call.body.size() + 64);
  call.path = std::move(request.path);
  call.authorization = "Bearer " + SecretOf(request.key);
  call.number =
      std::to_string(upstreams_.Add({.truth = call.truth,
                                     .seed = spec.behaviour(),
                                     .body_bytes = static_cast<std::int64_t>(call.body.size()),
                                     .calm = spec.calm_upstreams}));
  call.head.method = "POST";
  call.head.path = call.path;
  call.head.headers = {{"authorization", call.authorization},
                       {"content-type", "application/json"},
                       {kCallHeader, call.number}};
  call.user = std::move(request.user);
  call.action = std::move(request.action);
  if (!call.user.empty()) call.head.headers.push_back({"x-weir-user", call.user});
  if (!call.action.empty()) call.head.headers.push_back({"x-weir-action-id", call.action});
  call.idempotency = std::move(request.idempotency);
  if (!call.idempotency.empty()) {
    call.head.headers.push_back({"idempotency-key", call.idempotency});
  }
  x.head = &call.head;
  x.snapshot = call.snapshot.get();
  x.reader = &reader_;
  x.timings.started_at = executor_.Now();
  call.caller = std::make_unique<SimCaller>(executor_, auditor_, *call.truth, plan, call.body,
                                            kWriteStall, SeedOf(spec.behaviour(), 5));
  call.ports = std::make_unique<gateway::Ports>(
      gateway::Ports{*call.caller, upstreams_, node_->credit, node_->accounts, nullptr, &replies_});
  call.root = Serve(call);
  call.root.Start();
}

Root World::Serve(Call& call) {
  co_await gateway::Serve(call.x, *call.ports, executor_);
  OnServed(call);
}

void World::OnServed(Call& call) {
  auditor_.OnFinished(*call.truth, call.x);
  if (call.spec.probe) {
    probe_end_ = fmt::format("status {}, ending {}, refusal {}, {} attempts", call.x.status,
                             static_cast<int>(call.x.ending), TextOf(call.x.reason.refusal).name,
                             call.x.attempts.size());
  }
  // The coroutine still runs: what it lives in goes with the next event.
  executor_.In({0}, [this, self = call.self, truth = call.truth] {
    // A crash may have taken it first.
    const auto here =
        std::ranges::find_if(calls_, [&](const Call& one) { return one.truth == truth; });
    if (here == calls_.end()) return;
    const CallSpec& spec = self->spec;
    const bool again =
        spec.tries_left > 0 && !truth->hung_up && (truth->status == 429 || truth->status >= 500);
    if (again) {
      executor_.In(draw_.Pause(Seconds(5)),
                   [this, next = spec.Retry(!truth->idempotency.empty())] { StartCall(next); });
    }
    calls_.erase(self);
  });
}

// What the configuration says of who pays, for the auditor.
void World::NotePayer(const Request& request, CallTruth& truth) const {
  const config::Package& package =
      config_->packages[request.key < kKeys ? schedule_.settings.packages[request.key] : 0];
  truth.adaptive = package.hold == config::HoldRule::kAdaptive && request.stream;
  const auto unit = gateway::UnitOf(package.wallet);
  if (!unit) return;
  truth.wallet = gateway::WalletUse{.wallet = gateway::WalletOf(records_[request.key], *unit),
                                    .rate = {*unit, config_->models[request.model].multiplier.ppm},
                                    .low = {}};
  for (const std::string& model : ModelsFor(*config_, ModelName(request.model))) {
    truth.multipliers.push_back(config_->FindModel(model)->multiplier.ppm);
  }
}

// What policies may look at, for the auditor.
void World::NoteAsker(const Request& request, CallTruth& truth) const {
  truth.config = config_;
  truth.asker = {
      .key = records_[request.key].name,
      .workspace = records_[request.key].workspace,
      .team = TeamOf(request.key),
      .user = request.user,
      .action = request.action,
      .model = ModelName(request.model),
      .endpoint = request.path.ends_with("/responses") ? "responses" : "chat_completions"};
}

// ---- grants -------------------------------------------------------------------------------------

void World::GiveAtStart() {
  for (std::size_t key = 0; key < kKeys; ++key) {
    Draw draw(SeedOf(schedule_.seed, 40 + key));
    for (std::int64_t left = draw.Between(0, 5); left > 0; --left) Give(key, draw.Next());
  }
}

void World::Give(std::size_t key, std::uint64_t seed) {
  const config::WalletKind kind = WalletOfPackage(schedule_.settings.packages[key]);
  const auto unit = gateway::UnitOf(kind);
  if (!unit || !node_) return;
  const GrantPlan plan = DrawGrant(seed, kind);
  const Instant now = executor_.WallNow();
  ledger::GrantRecord grant{.grant = {Id128{9, grants_.size() + 1}},
                            .wallet = gateway::WalletOf(records_[key], *unit),
                            .unit = *unit,
                            .amount = {plan.amount},
                            .priority = plan.priority,
                            .effective_at = now + plan.effective_in};
  if (plan.expires_in) grant.expires_at = now + *plan.expires_in;
  grants_.push_back(grant);
  node_->credit.Give(grant);
}

// The operator's hand: gives, gives the same again, revokes, or ends what is over.
void World::ChangeGrants(std::uint64_t seed) {
  if (!node_) return;
  Draw draw(seed);
  const std::int64_t what = draw.Below(8);
  const auto key = static_cast<std::size_t>(draw.Below(kKeys));
  if (what < 4 || grants_.empty()) return Give(key, draw.Next());
  const auto& grant =
      grants_[static_cast<std::size_t>(draw.Below(static_cast<std::int64_t>(grants_.size())))];
  if (what == 4) {
    node_->credit.Give(grant);
  } else if (what < 7) {
    node_->credit.Revoke(grant.grant);
  } else {
    node_->credit.Sweep();
  }
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
  replies_.Crash(power);
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
  ++deployment_.version;
  deployment_.seed = seed;
  deployment_.rule = static_cast<config::HangUpRule>(Draw(seed).Below(3));
  Configure();
}

void World::ChangePolicies(std::uint64_t seed) {
  sim::ChangePolicies(seed, schedule_.settings.policies_seed, executor_.WallNow(),
                      deployment_.policies, deployment_.raises);
  Configure();
}

void World::Configure() {
  config_ = MakeConfig(schedule_.settings, deployment_);
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
