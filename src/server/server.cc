#include "server/server.h"

#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <future>
#include <thread>

#include "config/accounts.h"
#include "config/diff.h"
#include "gateway/wallet_owner.h"
#include "identity/key_record.h"
#include "server/events.h"
#include "server/quota_event.h"
#include "server/steady_wall.h"
#include "store/pepper.h"
#include "store/sqlite_journal.h"
#include "store/time_zones.h"

namespace weir::server {
namespace {

constexpr rlim_t kDescriptorsWanted = 1 << 20;
// After the drain deadline: how long cut exchanges may take to settle.
constexpr Duration kCutDeadline = Seconds(5);

// Frozen: grants are on disk.
constexpr std::uint64_t kPrepaidScope = 0x70726570616964;

Tick MonotonicNow() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return {static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec};
}

Instant WallNow() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return {static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec};
}

void SleepFor(Duration duration) {
  const timespec wait{duration.ns / 1'000'000'000, duration.ns % 1'000'000'000};
  nanosleep(&wait, nullptr);
}

std::string Hex(std::span<const std::uint8_t> bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : bytes) text += {kDigits[byte >> 4], kDigits[byte & 15]};
  return text;
}

Result<void> MakeDataDir(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) {
    return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment,
                "cannot create the data directory " + path + ": " + error.message() +
                    "; set data_dir to a directory this user may write");
  }
  ::chmod(path.c_str(), 0700);
  return {};
}

// Secrets are in memory: no core file, no ptrace by other processes of this user.
void HardenProcess() {
  ::prctl(PR_SET_DUMPABLE, 0);
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  rlimit descriptors{};
  if (::getrlimit(RLIMIT_NOFILE, &descriptors) == 0) {
    descriptors.rlim_cur = std::min(descriptors.rlim_max, kDescriptorsWanted);
    ::setrlimit(RLIMIT_NOFILE, &descriptors);
  }
}

}  // namespace

Result<std::unique_ptr<Server>> Server::Start(ServerOptions options) {
  HardenProcess();
  std::unique_ptr<Server> server(new Server());
  server->started_at_ = WallNow();
  if (options.crash) server->crash_ = std::make_shared<CrashPoint>(*options.crash);
  server->log_ = std::make_unique<telemetry::Log>(
      telemetry::LogOptions{.fd = options.log_fd, .exchanges = true});
  server->file_ = std::make_shared<const config::Config>(options.config);
  server->config_ = server->file_;
  if (auto opened = server->OpenStores(options); !opened) return std::unexpected(opened.error());
  if (auto ensured = server->EnsureKeys(options.config); !ensured) {
    return std::unexpected(ensured.error());
  }
  auto policies = ReadStoredPolicies(*server->policy_store_, *server->file_, store::FindZone);
  if (!policies) return std::unexpected(policies.error());
  server->stored_policies_ = *std::move(policies);
  server->config_ = std::make_shared<const config::Config>(server->InForce(*server->file_));
  if (auto told = server->StartCourier(options.config); !told) {
    return std::unexpected(told.error());
  }
  server->MakeApprovals();
  server->MakeWorkers(options);
  server->RegisterGauges();
  return server;
}

Result<void> Server::OpenStores(const ServerOptions& options) {
  const std::string& dir = options.config.data_dir;
  if (auto made = MakeDataDir(dir); !made) return made;
  auto pepper = store::LoadOrCreatePepper(dir, options.pepper);
  if (!pepper) return std::unexpected(pepper.error());
  pepper_ = std::make_shared<const identity::Pepper>(pepper->Reveal());
  auto keys = store::KeyStore::Open(dir + "/keys.db", *pepper_);
  if (!keys) return std::unexpected(keys.error());
  keys_ = std::move(*keys);
  auto accounts = store::AccountStore::Open(dir + "/accounts.db",
                                            store::MasterKeySource(dir, options.master_key));
  if (!accounts) return std::unexpected(accounts.error());
  accounts_ = std::move(*accounts);
  auto wallets = store::WalletStore::Open(dir + "/wallets.db");
  if (!wallets) return std::unexpected(wallets.error());
  wallets_ = std::move(*wallets);
  auto operators = store::OperatorStore::Open(dir + "/operators.db");
  if (!operators) return std::unexpected(operators.error());
  operators_ = std::move(*operators);
  auto policies = store::PolicyStore::Open(dir + "/policies.db");
  if (!policies) return std::unexpected(policies.error());
  policy_store_ = std::move(*policies);

  auto journal = store::SqliteJournal::Open(dir + "/ledger.db", options.config.durability);
  if (!journal) return std::unexpected(journal.error());
  CreditStart found;
  CreditHost::Options credit_options;
  // Called under the host's lock, so one state serves all workers.
  credit_options.wall_now = [this, wall = SteadyWall(), doubted = false]() mutable {
    const Instant shown = WallNow();
    const Instant now = wall.At(shown, MonotonicNow());
    if (wall.doubts() != doubted) {
      doubted = wall.doubts();
      log_->Write(doubted ? telemetry::Level::kError : telemetry::Level::kWarning,
                  doubted ? "the clock jumped ahead; windows wait until it is confirmed"
                          : "windows follow the clock again",
                  {{"ahead_ms", (shown - now).ns / 1'000'000}});
    }
    return now;
  };
  credit_options.keys_expected = keys_->table()->size();
  credit_options.on_alerts = [this](const std::vector<gateway::QuotaAlert>& alerts) {
    TellAlerts(alerts);
  };
  auto ballast = std::make_shared<store::Ballast>(dir + "/ballast", options.ballast_bytes);
  if (options.ballast_bytes > 0) {
    if (!ballast->Restore()) {
      log_->Write(telemetry::Level::kWarning, "no space for a ballast",
                  {{"bytes", ballast->bytes()},
                   {"means", "when the disk is full, open requests may not be settled on it"}});
    }
    credit_options.release_space = [this, ballast] {
      const bool gained = ballast->Release();
      if (gained) {
        log_->Write(telemetry::Level::kError, "disk full, new requests are refused",
                    {{"ballast_released_bytes", ballast->bytes()}});
      }
      return gained;
    };
    credit_options.restore_space = [this, ballast] {
      const bool held = ballast->Restore();
      if (held) {
        log_->Write(telemetry::Level::kInfo, "there is space again, requests are admitted");
      }
      return held;
    };
  }
  std::unique_ptr<store::Journal> ledger = std::move(*journal);
  if (crash_) ledger = WithCrashPoint(std::move(ledger), crash_);
  auto credit = CreditHost::Start(std::move(ledger), std::move(credit_options), found);
  if (!credit) return std::unexpected(credit.error());
  credit_ = std::move(*credit);
  alerts_found_ = std::move(found.alerts);
  log_->Write(telemetry::Level::kInfo, "ledger opened",
              {{"records", static_cast<std::int64_t>(found.records)},
               {"batches", static_cast<std::int64_t>(found.tail.batches)},
               {"chain", Hex(found.tail.chain)},
               {"replay_us", found.replay_time.ns / 1000},
               {"open_settled", static_cast<std::int64_t>(found.resolution.settled)},
               {"open_voided", static_cast<std::int64_t>(found.resolution.voided)},
               {"charged_nano_usd", found.totals.charged.n},
               {"overrun_nano_usd", found.totals.overrun.n},
               {"sqlite", store::SqliteJournal::SqliteVersion()},
               {"durability",
                options.config.durability == config::Durability::kPower ? "power" : "process"}});

  auto requests = store::RequestLog::Open(dir + "/requests.db");
  if (!requests) return std::unexpected(requests.error());
  requests_ = std::move(*requests);
  auto replies = store::ReplyStore::Open(dir + "/replies.db");
  if (!replies) return std::unexpected(replies.error());
  replies_ = std::make_unique<ReplyShelf>(
      *std::move(replies),
      ReplyShelf::Options{.wall_now = WallNow, .on_problem = [this](const Error& error) {
                            log_->Write(telemetry::Level::kWarning, "replies are not kept",
                                        {{"why", error.detail}});
                          }});
  auto receipt_key = store::ReceiptKey::LoadOrCreate(dir);
  if (!receipt_key) return std::unexpected(receipt_key.error());
  teller_ = std::make_unique<Teller>(*wallets_, *requests_, *credit_, *pepper_,
                                     Teller::Options{.wall_now = WallNow});
  auto outcomes = store::OutcomeStore::Open(dir + "/outcomes.db");
  if (!outcomes) return std::unexpected(outcomes.error());
  outcomes_ = std::move(*outcomes);
  actions_ = std::make_unique<ActionBook>(*outcomes_, *requests_,
                                          ActionBook::Options{.wall_now = WallNow});
  ReceiptDesk::Options desk_options;
  desk_options.wall_now = WallNow;
  receipts_ =
      std::make_unique<ReceiptDesk>(*requests_, *std::move(receipt_key), std::move(desk_options));
  return {};
}

// What the file gives a key once in its life. The grant's id is made of the key's, so a start that
// was cut off, or any later one, gives nothing twice; a changed amount changes nothing.
Result<void> Server::EnsurePrepaid(const config::Config& config, const config::KeySpec& spec,
                                   const identity::KeyRecord& key) {
  const config::Package& package =
      config.packages[config.PackageOf(key.name, key.workspace, key.package)];
  const auto unit = gateway::UnitOf(package.wallet);
  if (spec.prepaid == 0 || !unit) return {};
  const ledger::GrantId id{{key.id.high, key.id.low ^ kPrepaidScope}};
  if (credit_->FindGrant(id)) return {};
  const auto given = credit_->Give({.time = {},
                                    .grant = id,
                                    .wallet = gateway::WalletOf(key, *unit),
                                    .unit = *unit,
                                    .amount = gateway::WalletAmount(spec.prepaid, *unit)});
  if (!given) return std::unexpected(given.error());
  return {};
}

// The file is the truth for the keys it names: missing ones are made, others follow their entry.
// Keys made through the admin API are not touched.
Result<void> Server::EnsureKeys(const config::Config& config) {
  const Instant now = WallNow();
  for (const auto& spec : config.keys) {
    const std::string environment =
        spec.environment.empty() ? config.environment : spec.environment;
    const identity::KeyRecordPtr existing = keys_->FindByName(spec.name);
    if (existing) {
      if (auto given = EnsurePrepaid(config, spec, *existing); !given) return given;
      identity::KeyRecord wanted = *existing;
      wanted.environment = environment;
      wanted.permissions = spec.permissions;
      wanted.models = identity::ModelAllowList(spec.models);
      wanted.expires_at = spec.expires_at;
      wanted.limits = spec.limits;
      wanted.workspace = spec.workspace;
      wanted.package = spec.package;
      wanted.codex_adaptation = spec.codex_adaptation;
      wanted.payload_rules = spec.payload_rules;
      wanted.allow_downgrade = spec.allow_downgrade;
      wanted.attributes = spec.attributes;
      wanted.metadata = spec.metadata;
      const bool same_models = (wanted.models == nullptr) == (existing->models == nullptr) &&
                               (wanted.models == nullptr || *wanted.models == *existing->models);
      if (same_models && wanted.environment == existing->environment &&
          wanted.permissions == existing->permissions &&
          wanted.expires_at == existing->expires_at && wanted.limits == existing->limits &&
          wanted.workspace == existing->workspace && wanted.package == existing->package &&
          wanted.codex_adaptation == existing->codex_adaptation &&
          wanted.payload_rules == existing->payload_rules &&
          wanted.allow_downgrade == existing->allow_downgrade &&
          wanted.attributes == existing->attributes && wanted.metadata == existing->metadata) {
        continue;
      }
      const store::AuditNote note{now, "config", "update", "follows the configuration file"};
      if (auto updated = keys_->Update(wanted, note); !updated) return updated;
      continue;
    }
    const identity::NewKey wanted{.name = spec.name,
                                  .environment = environment,
                                  .permissions = spec.permissions,
                                  .models = spec.models,
                                  .expires_at = spec.expires_at,
                                  .workspace = spec.workspace,
                                  .package = spec.package,
                                  .codex_adaptation = spec.codex_adaptation,
                                  .payload_rules = spec.payload_rules,
                                  .allow_downgrade = spec.allow_downgrade,
                                  .attributes = spec.attributes,
                                  .metadata = spec.metadata,
                                  .limits = spec.limits};
    auto random = store::SystemRandom32();
    if (!random) return std::unexpected(random.error());
    auto id_random = store::SystemRandom32();
    if (!id_random) return std::unexpected(id_random.error());
    std::uint64_t id_bits[2];
    std::memcpy(id_bits, id_random->data(), sizeof(id_bits));
    const KeyId id{MakeId(now, id_bits[0], id_bits[1])};
    identity::MadeKey made =
        spec.secret.empty()
            ? identity::MakeKey(wanted, id, config.brand.key_prefix, *pepper_, *random, now)
            : identity::MakeKeyWithSecret(wanted, id, config.brand.key_prefix, *pepper_,
                                          spec.secret, now);
    const store::AuditNote note{now, "config", "create", "named in the configuration file"};
    if (auto inserted = keys_->Insert(made.record, note); !inserted) return inserted;
    if (auto given = EnsurePrepaid(config, spec, made.record); !given) return given;
    first_secrets_.push_back({spec.name, std::move(made.secret)});
  }
  return {};
}

Result<void> Server::StartCourier(const config::Config& config) {
  auto courier = Courier::Start(config.webhooks, {.path = config.data_dir + "/webhooks.db",
                                                  .store = {.durability = config.durability},
                                                  .log = log_.get(),
                                                  .wall_now = WallNow});
  if (!courier) return std::unexpected(courier.error());
  courier_ = *std::move(courier);
  // What a kill lost between the journal and the outbox.
  const auto taken = courier_->taken();
  std::vector<telemetry::Event> events;
  std::int64_t last = 0;
  for (const gateway::QuotaAlert& alert : std::exchange(alerts_found_, {})) {
    last = static_cast<std::int64_t>(alert.position.n);
    if (taken && last > *taken) events.push_back(EventOf(alert, config));
  }
  // Without events too: whoever is told for the first time has all that is lost from here on.
  courier_->Take(std::move(events), last);
  return {};
}

void Server::TellAlerts(const std::vector<gateway::QuotaAlert>& alerts) {
  const auto now = config();
  std::vector<telemetry::Event> events;
  for (const gateway::QuotaAlert& alert : alerts) {
    LogAlert(alert, *now, *log_);
    events.push_back(EventOf(alert, *now));
  }
  alerts_told_.fetch_add(static_cast<std::int64_t>(alerts.size()), std::memory_order_relaxed);
  const auto last = static_cast<std::int64_t>(alerts.back().position.n);
  // Nobody asks before there are workers, so there is a courier by then; a start offers the rest.
  if (courier_) courier_->Take(std::move(events), last);
}

void Server::MakeWorkers(const ServerOptions& options) {
  const auto cores = static_cast<std::int32_t>(std::max(1U, std::thread::hardware_concurrency()));
  const std::int32_t count = options.config.workers > 0 ? options.config.workers : cores;
  metrics_ = std::make_unique<telemetry::Metrics>(count, options.version, started_at_);
  shared_ = std::make_unique<SessionShared>(
      SessionShared{*log_, *metrics_, *requests_, *receipts_, *replies_, *teller_, *policy_store_,
                    *approvals_, *courier_, *actions_, draining_, options.page});
  const auto snapshot = MakeSnapshot();
  pool_ = std::make_unique<PoolHost>(
      config_,
      PoolHost::Options{
          .now = MonotonicNow,
          .wall_now = WallNow,
          .seed = static_cast<std::uint64_t>(started_at_.ns),
          .on_rest = [this](const routing::RestBegan& rest) { LogRest(rest); },
          .on_probe = [this](routing::Outcome outcome) { pool_metrics_.CountProbe(outcome); }});
  for (std::int32_t i = 0; i < count; ++i) {
    workers_.push_back(
        std::make_unique<Worker>(i, count, *shared_, *credit_, *pool_, snapshot, crash_));
  }
}

Result<void> Server::Listen() {
  config::Listen listen = config()->listen;
  for (auto& worker : workers_) {
    const auto port = worker->Listen(listen);
    if (!port) return std::unexpected(port.error());
    listen.port = port_ = *port;  // with port 0 the others share the one the first was given
  }
  for (auto& worker : workers_) worker->Run();
  listening_.store(true);
  return {};
}

void Server::RegisterGauges() {
  metrics_->AddGauge("weir_open_connections", "Connections of callers that are open now.", "",
                     [this] { return connections(); });
  metrics_->AddCounter("weir_journal_records_total", "Records handed to the journal.", "",
                       [this] { return static_cast<std::int64_t>(credit_->Counters().records); });
  metrics_->AddCounter("weir_journal_commits_total", "Transactions of the journal.", "",
                       [this] { return static_cast<std::int64_t>(credit_->Counters().commits); });
  metrics_->AddCounter("weir_journal_failures_total", "Appends that found no space.", "",
                       [this] { return static_cast<std::int64_t>(credit_->Counters().failures); });
  metrics_->AddCounter("weir_request_log_dropped_total",
                       "Rows the request log lost to a full queue.", "",
                       [this] { return static_cast<std::int64_t>(requests_->dropped()); });
  metrics_->AddCounter("weir_log_lines_dropped_total", "Log lines lost to a full queue.", "",
                       [this] { return log_->dropped(); });
  metrics_->AddGauge("weir_open_reservations", "Requests that hold a reservation now.", "",
                     [this] { return static_cast<std::int64_t>(credit_->RequestsOpen()); });
  metrics_->AddGauge("weir_keys", "API keys, revoked ones included.", "",
                     [this] { return static_cast<std::int64_t>(keys_->table()->size()); });
  for (const auto& [unit, labels] :
       {std::pair(ledger::Unit::kNanoUsd, "unit=\"nano_usd\""),
        std::pair(ledger::Unit::kQuotaToken, "unit=\"quota_token\"")}) {
    metrics_->AddCounter("weir_wallet_breakage_total", "What expired unused of grants, by unit.",
                         labels, [this, of = unit] { return credit_->Breakage(of).n; });
  }
  metrics_->AddGauge("weir_quota_counters", "Counters of quota policies that are kept now.", "",
                     [this] { return credit_->QuotaCounters(); });
  metrics_->AddCounter("weir_quota_alerts_total", "Thresholds of quota policies that were crossed.",
                       "", [this] { return alerts_told_.load(std::memory_order_relaxed); });
  pool_metrics_.Register(*metrics_, *pool_, [this] { return config(); });
  courier_->Register(*metrics_);
}

Server::~Server() {
  if (admin_loop_) {
    admin_loop_->Stop();
    if (admin_thread_.joinable()) admin_thread_.join();
    admin_http_->CloseAll();
    admin_loop_->Finish([this] { return admin_http_->open() == 0; });
  }
  // While the loops run: who waits for a receipt is told so on them.
  if (receipts_) receipts_->Stop();
  if (replies_) replies_->Stop();
  for (auto& worker : workers_) worker->StopAndJoin();
  workers_.clear();
  // The journal's thread tells of alerts until it has ended.
  receipts_.reset();
  teller_.reset();
  credit_.reset();
  if (courier_) courier_->Stop();
}

Result<std::uint16_t> Server::StartAdmin(net::HttpHandler& handler) {
  admin_loop_ = std::make_unique<net::Loop>();
  admin_http_ = std::make_unique<net::HttpServer>(*admin_loop_, handler, config()->caller_limits);
  const config::Listen listen = config()->admin;
  auto port = admin_http_->Listen(listen.host, listen.port);
  if (!port) return port;
  admin_port_ = *port;
  admin_thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "weir-admin");
    Spawn(SweepApprovals());
    admin_loop_->Run();
  });
  return port;
}

std::shared_ptr<const config::Config> Server::config() const {
  const std::lock_guard lock(config_mutex_);
  return config_;
}

std::shared_ptr<const config::Config> Server::file() const {
  const std::lock_guard lock(config_mutex_);
  return file_;
}

void Server::LogRest(const routing::RestBegan& rest) {
  pool_metrics_.CountRest(rest.why);
  log_->Write(telemetry::Level::kWarning, "account rests",
              {{"account", rest.account},
               {"why", routing::Name(rest.why)},
               {"model", rest.model.empty() ? std::string_view("all") : rest.model},
               {"rest_ms", rest.rest.ns / 1'000'000}});
  if (!courier_->has_endpoints()) return;
  if (const auto random = store::SystemRandom32()) {
    courier_->Offer(AccountRestedEvent(rest, WallNow(), *random));
  }
}

// A key that is made or changed leaves the configuration as it is, and its policies with it.
std::shared_ptr<const gateway::Snapshot> Server::MakeSnapshot() {
  const auto config = this->config();
  if (policies_of_ != config) {
    policies_ = std::make_shared<const policy::PolicySet>(config->policies, config->raises);
    policies_of_ = config;
  }
  return std::make_shared<const gateway::Snapshot>(
      gateway::Snapshot{config, keys_->table(), pepper_, policies_});
}

void Server::Publish() {
  const auto snapshot = MakeSnapshot();
  for (auto& worker : workers_) worker->Publish(snapshot);
  for (auto& worker : workers_) worker->Sync();
}

config::Config Server::InForce(const config::Config& file) {
  const auto stored = accounts_->accounts();
  std::vector<config::KeyPlace> places;
  for (const config::StoredAccount& account : stored) {
    for (const std::string& name : account.account.keys) {
      if (const auto key = keys_->FindByName(name)) {
        places.push_back({.key = name, .workspace = key->workspace, .package = key->package});
      }
    }
  }
  auto merged = config::WithAccounts(file, stored, accounts_->overrides(), places);
  for (const std::string& id : merged.left_out) {
    log_->Write(telemetry::Level::kWarning,
                "stored account left out: its upstream is gone from the file, or the file has one "
                "of that id",
                {{"account", id}});
  }
  auto with_policies = config::WithPolicies(std::move(merged.config), stored_policies_.policies,
                                            stored_policies_.raises);
  for (const std::string& what : with_policies.left_out) {
    log_->Write(telemetry::Level::kWarning, what, {});
  }
  return std::move(with_policies.config);
}

void Server::Apply(std::shared_ptr<const config::Config> file) {
  auto next = std::make_shared<const config::Config>(InForce(*file));
  {
    const std::lock_guard lock(config_mutex_);
    file_ = std::move(file);
    config_ = next;
  }
  // The pool first: a worker must not ask it for what it has not heard of.
  pool_->Configure(std::move(next));
  Publish();
}

void Server::PublishKeys() {
  const std::lock_guard lock(change_mutex_);
  // Which pools stand behind an account that is reserved for a key follows the key's package.
  const bool reserved = std::ranges::any_of(
      accounts_->accounts(), [](const auto& stored) { return !stored.account.keys.empty(); });
  if (reserved) {
    Apply(file());
  } else {
    Publish();
  }
}

void Server::PublishAccounts() {
  const std::lock_guard lock(change_mutex_);
  Apply(file());
}

Result<void> Server::PublishPolicies() {
  const std::lock_guard lock(change_mutex_);
  auto stored = ReadStoredPolicies(*policy_store_, *file(), store::FindZone);
  if (!stored) return std::unexpected(stored.error());
  stored_policies_ = *std::move(stored);
  Apply(file());
  return {};
}

void Server::MakeApprovals() {
  approvals_ = std::make_unique<Approvals>(
      *policy_store_,
      Approvals::Options{.now = WallNow,
                         .random = store::SystemRandom32,
                         .config = [this] { return config(); },
                         .changed = [this] { return PublishPolicies(); },
                         .tell = [this](const telemetry::Event& event) { Tell(event); }});
}

// On the admin listener's thread, which may wait for the disk. Nothing depends on when: approvals
// end by their own time.
Task<void> Server::SweepApprovals() {
  constexpr Duration kEvery = Seconds(1);
  std::string last_problem;
  while (!admin_loop_->finishing()) {
    co_await admin_loop_->Sleep(kEvery);
    // Not before the workers run, for whom a change waits: a start that fails must come to its end.
    if (!listening_.load() || admin_loop_->finishing()) continue;
    const auto swept = approvals_->Sweep();
    const std::string problem = swept ? std::string() : swept.error().detail;
    if (!problem.empty() && problem != last_problem) {
      log_->Write(telemetry::Level::kError, "approvals cannot be moved on", {{"why", problem}});
    }
    last_problem = problem;
  }
}

void Server::Tell(const telemetry::Event& event) {
  log_->Write(telemetry::Level::kInfo, "event", {{"type", event.type}, {"id", event.id}});
  courier_->Keep(event);
}

Result<std::string> Server::Reload(config::Config next) {
  const std::lock_guard lock(change_mutex_);
  const auto before = file();
  for (const auto& spec : next.keys) {
    if (!spec.secret.empty() || keys_->FindByName(spec.name)) continue;
    return Fail(ErrorCode::kConflict, ErrorSource::kEnvironment,
                "the file names a new key, " + spec.name +
                    ", whose secret nobody would see; make it with `weir keys create`, or give it "
                    "a secret");
  }
  std::string changes = config::DescribeChanges(config::DiffConfigs(*before, next));
  next = config::WithoutRestartChanges(*before, std::move(next));
  auto policies = ReadStoredPolicies(*policy_store_, next, store::FindZone);
  if (!policies) return std::unexpected(policies.error());
  if (auto ensured = EnsureKeys(next); !ensured) return std::unexpected(ensured.error());
  if (auto told = courier_->Configure(next.webhooks); !told) {
    return std::unexpected(told.error());
  }
  stored_policies_ = *std::move(policies);
  Apply(std::make_shared<const config::Config>(std::move(next)));
  return changes;
}

std::int64_t Server::connections() const {
  std::int64_t open = 0;
  for (const auto& worker : workers_) open += worker->open_connections();
  return open;
}

void Server::BlockSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, signal);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
}

void Server::WaitForSignal(const std::function<void()>& reload) {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, signal);
  while (true) {
    int signal = 0;
    if (sigwait(&set, &signal) != 0) continue;
    if (signal == SIGHUP) {
      reload();
      continue;
    }
    Drain();
    return;
  }
}

void Server::Drain() {
  const Duration deadline = config()->caller_limits.drain_deadline;
  log_->Write(telemetry::Level::kInfo, "draining",
              {{"connections", connections()}, {"deadline_s", deadline.ns / 1'000'000'000}});
  draining_.store(true);
  for (auto& worker : workers_) worker->Drain();
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  const timespec step{0, 20'000'000};
  Instant until = WallNow() + deadline;
  while (connections() > 0 && WallNow() < until) {
    if (sigtimedwait(&set, nullptr, &step) > 0) break;  // asked again: cut now
  }
  if (connections() > 0) {
    log_->Write(telemetry::Level::kWarning, "drain deadline passed, cutting",
                {{"connections", connections()}});
    for (auto& worker : workers_) worker->Interrupt();
    until = WallNow() + kCutDeadline;
    while (connections() > 0 && WallNow() < until) SleepFor(Milliseconds(20));
  }
  log_->Write(telemetry::Level::kInfo, "drained", {{"connections", connections()}});
}

}  // namespace weir::server
