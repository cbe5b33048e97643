#include "store/account_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <span>
#include <utility>

#include "store/migrate.h"
#include "store/sqlite.h"
#include "store/text_list.h"

namespace weir::store {
namespace {

constexpr std::string_view kLists = "a model or key of an account";

using config::Account;
using config::AccountOverride;
using config::StoredAccount;

// In the order of config::AdaptProfile, whose values are not frozen; these are.
constexpr std::int64_t kProfileOpenAiApi = 0;
constexpr std::int64_t kProfileResponsesStrict = 1;

constexpr std::string_view kSelect =
    "SELECT id, upstream, credential, enabled, draining, models, capabilities, weight, priority, "
    "concurrency, requests_per_minute, tokens_per_minute, expires_at, reserved_for, profile, "
    "proxy_host, proxy_port FROM accounts ORDER BY id";
constexpr std::string_view kInsert =
    "INSERT INTO accounts (id, upstream, credential, enabled, draining, models, capabilities, "
    "weight, priority, concurrency, requests_per_minute, tokens_per_minute, expires_at, "
    "reserved_for, profile, proxy_host, proxy_port, created_at, changed_at) "
    "VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?18)";
constexpr std::string_view kUpdate =
    "UPDATE accounts SET upstream=?2, credential=?3, enabled=?4, draining=?5, models=?6, "
    "capabilities=?7, weight=?8, priority=?9, concurrency=?10, requests_per_minute=?11, "
    "tokens_per_minute=?12, expires_at=?13, reserved_for=?14, profile=?15, proxy_host=?16, "
    "proxy_port=?17, changed_at=?18 WHERE id=?1";

// What a box is bound to: the row and the column it is for.
std::string Associated(std::string_view id) { return fmt::format("accounts.credential:{}", id); }

std::unexpected<Error> Unusable(const std::string& path, sqlite3* db) {
  // What another process has open is not a fault of the disk.
  const int code = sqlite3_errcode(db) & 0xFF;
  if (code == SQLITE_BUSY || code == SQLITE_LOCKED) {
    return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment,
                fmt::format("{}: another process has it; stop the gateway that runs on this data "
                            "directory first",
                            path));
  }
  return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment,
              fmt::format("{}: {}", path, SqliteProblem(db)));
}

// Everything of a row but its credential; none for a row that makes no sense.
std::optional<StoredAccount> AccountOf(const Statement& row) {
  StoredAccount stored;
  Account& account = stored.account;
  account.id = row.Text(0);
  stored.upstream = row.Text(1);
  // The box is bound to the id, so the id alone may say where the credential is sent.
  if (stored.upstream.empty() || !account.id.starts_with(stored.upstream + "/")) {
    return std::nullopt;
  }
  account.enabled = row.Int(3) != 0;
  account.draining = row.Int(4) != 0;
  account.models = SplitLines(row.Text(5));
  const std::int64_t capabilities = row.Int(6);
  const std::int64_t weight = row.Int(7);
  const std::int64_t priority = row.Int(8);
  const std::int64_t profile = row.Int(14);
  if (capabilities < 0 || capabilities > config::kCapsAll || weight < 1 || weight > 1000 ||
      priority < 0 || priority > 1000 || row.Int(9) < 0 || row.Int(10) < 0 || row.Int(11) < 0 ||
      profile < kProfileOpenAiApi || profile > kProfileResponsesStrict) {
    return std::nullopt;
  }
  account.capabilities = static_cast<std::uint32_t>(capabilities);
  account.weight = static_cast<std::int32_t>(weight);
  account.priority = static_cast<std::int32_t>(priority);
  account.concurrency = row.Int(9);
  account.requests_per_minute = row.Int(10);
  account.tokens_per_minute = row.Int(11);
  if (!row.IsNull(12)) account.expires_at = Instant{row.Int(12)};
  account.keys = SplitLines(row.Text(13));
  account.adapt = profile == kProfileResponsesStrict ? config::AdaptProfile::kResponsesStrict
                                                     : config::AdaptProfile::kOpenAiApi;
  if (!row.Text(15).empty()) {
    const std::int64_t port = row.Int(16);
    if (port < 1 || port > 65535) return std::nullopt;
    account.proxy = config::Proxy{std::string(row.Text(15)), static_cast<std::uint16_t>(port)};
  }
  return stored;
}

Result<SqliteHandle> OpenFile(const std::string& path) {
  auto db = OpenSqlite(path);
  if (!db) return db;
  // A rollback journal and a sync for each change, as for keys. Overwritten and deleted boxes do
  // not stay behind in free pages: after a reseal nothing is left that the old key opens.
  const char* const settings =
      "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=DELETE; PRAGMA synchronous=FULL; "
      "PRAGMA secure_delete=ON; BEGIN EXCLUSIVE; COMMIT";
  if (!Execute(db->get(), settings)) return Unusable(path, db->get());
  if (auto version = Migrate(db->get(), "accounts"); !version) {
    return std::unexpected(version.error());
  }
  return db;
}

Error OfAccount(const std::string& path, std::string_view id, Error error) {
  const bool wrong_key = error.code == ErrorCode::kConflict;
  error.detail = fmt::format(
      "{}: the credential of {:.160} {}; {}", path, id, error.detail,
      wrong_key ? "put that key back (WEIR_MASTER_KEY, or master.key in the data directory), or "
                  "run weir accounts reseal with --old-key-file"
                : "restore the file from a backup, or move it away to begin with no accounts of "
                  "its own");
  return error;
}

}  // namespace

struct AccountStore::State {
  State(std::string at, MasterKeySource source) : path(std::move(at)), keys(std::move(source)) {}

  const std::string path;
  const MasterKeySource keys;
  SqliteHandle db;
  mutable std::mutex mutex;  // guards everything below, and the one connection
  std::optional<SecretBox> box;
  std::map<std::string, StoredAccount, std::less<>> accounts;
  std::map<std::string, AccountOverride, std::less<>> overrides;

  Result<void> Load();
  Result<std::vector<std::uint8_t>> Seal(const Account& account);
  Result<void> WriteRow(std::string_view sql, const StoredAccount& account,
                        std::span<const std::uint8_t> sealed, Instant now);
  Result<void> WriteAudit(std::string_view id, const AuditNote& note);
  Result<void> Run(Statement& statement);
  // `write` and its audit entry, both or neither.
  template <class Write>
  Result<void> Commit(std::string_view id, const AuditNote& note, Write write);
};

Result<void> AccountStore::State::Run(Statement& statement) {
  if (statement.Step() != SQLITE_DONE) return Unusable(path, db.get());
  return {};
}

Result<void> AccountStore::State::Load() {
  auto read = Prepare(db.get(), kSelect);
  if (!read) return std::unexpected(read.error());
  int step = read->Step();
  for (; step == SQLITE_ROW; step = read->Step()) {
    auto stored = AccountOf(*read);
    if (!stored) {
      return Fail(ErrorCode::kBadInput, ErrorSource::kEnvironment,
                  fmt::format("{}: the account \"{:.160}\" is damaged; restore the file from a "
                              "backup",
                              path, read->Text(0)));
    }
    if (!read->IsNull(2)) {
      if (!box) {
        auto key = keys.Load();
        if (!key) return std::unexpected(key.error());
        if (!*key) {
          return Fail(ErrorCode::kConflict, ErrorSource::kEnvironment,
                      fmt::format("{}: holds sealed credentials and there is no master key; give "
                                  "the one they were sealed with in WEIR_MASTER_KEY or put "
                                  "master.key back into the data directory, or move the file away "
                                  "to begin with no accounts of its own",
                                  path));
        }
        box.emplace(**key);
      }
      auto opened = box->Open(read->Blob(2), Associated(stored->account.id));
      if (!opened) {
        return std::unexpected(OfAccount(path, stored->account.id, std::move(opened.error())));
      }
      stored->account.api_key = std::move(*opened);
    }
    std::string id = stored->account.id;
    accounts.emplace(std::move(id), std::move(*stored));
  }
  if (step != SQLITE_DONE) return Unusable(path, db.get());

  auto set = Prepare(db.get(), "SELECT id, enabled, draining FROM account_overrides");
  if (!set) return std::unexpected(set.error());
  for (step = set->Step(); step == SQLITE_ROW; step = set->Step()) {
    AccountOverride change{.account = std::string(set->Text(0)), .enabled = {}, .draining = {}};
    if (!set->IsNull(1)) change.enabled = set->Int(1) != 0;
    if (!set->IsNull(2)) change.draining = set->Int(2) != 0;
    std::string id = change.account;
    overrides.emplace(std::move(id), std::move(change));
  }
  if (step != SQLITE_DONE) return Unusable(path, db.get());
  return {};
}

// The sealed credential, empty when there is none.
Result<std::vector<std::uint8_t>> AccountStore::State::Seal(const Account& account) {
  if (account.api_key.empty()) return std::vector<std::uint8_t>();
  if (!box) {
    auto key = keys.LoadOrCreate();
    if (!key) return std::unexpected(key.error());
    box.emplace(*key);
  }
  return box->Seal(account.api_key.Reveal(), Associated(account.id));
}

Result<void> AccountStore::State::WriteRow(std::string_view sql, const StoredAccount& stored,
                                           std::span<const std::uint8_t> sealed, Instant now) {
  const Account& account = stored.account;
  const auto models = JoinLines(account.models, kLists);
  if (!models) return std::unexpected(models.error());
  const auto reserved_for = JoinLines(account.keys, kLists);
  if (!reserved_for) return std::unexpected(reserved_for.error());
  auto write = Prepare(db.get(), sql);
  if (!write) return std::unexpected(write.error());
  write->Bind(1, account.id);
  write->Bind(2, stored.upstream);
  if (sealed.empty()) {
    write->BindNull(3);
  } else {
    write->Bind(3, sealed);
  }
  write->Bind(4, std::int64_t{account.enabled});
  write->Bind(5, std::int64_t{account.draining});
  write->Bind(6, *models);
  write->Bind(7, std::int64_t{account.capabilities});
  write->Bind(8, std::int64_t{account.weight});
  write->Bind(9, std::int64_t{account.priority});
  write->Bind(10, account.concurrency);
  write->Bind(11, account.requests_per_minute);
  write->Bind(12, account.tokens_per_minute);
  if (account.expires_at) {
    write->Bind(13, account.expires_at->ns);
  } else {
    write->BindNull(13);
  }
  write->Bind(14, *reserved_for);
  write->Bind(15, account.adapt == config::AdaptProfile::kResponsesStrict ? kProfileResponsesStrict
                                                                          : kProfileOpenAiApi);
  write->Bind(16, account.proxy ? std::string_view(account.proxy->host) : std::string_view());
  write->Bind(17, std::int64_t{account.proxy ? account.proxy->port : 0});
  write->Bind(18, now.ns);
  return Run(*write);
}

Result<void> AccountStore::State::WriteAudit(std::string_view id, const AuditNote& note) {
  auto write = Prepare(db.get(),
                       "INSERT INTO account_audit (at, account_id, actor, action, detail) "
                       "VALUES (?1, ?2, ?3, ?4, ?5)");
  if (!write) return std::unexpected(write.error());
  write->Bind(1, note.at.ns);
  write->Bind(2, id);
  write->Bind(3, note.actor);
  write->Bind(4, note.action);
  write->Bind(5, note.detail);
  return Run(*write);
}

template <class Write>
Result<void> AccountStore::State::Commit(std::string_view id, const AuditNote& note, Write write) {
  if (!Execute(db.get(), "BEGIN IMMEDIATE")) return Unusable(path, db.get());
  Result<void> written = write();
  if (written) written = WriteAudit(id, note);
  if (written) written = Execute(db.get(), "COMMIT");
  if (!written) (void)Execute(db.get(), "ROLLBACK");  // fails only when SQLite has rolled back
  return written;
}

AccountStore::AccountStore(std::unique_ptr<State> state) : state_(std::move(state)) {}
AccountStore::~AccountStore() = default;

Result<std::unique_ptr<AccountStore>> AccountStore::Open(const std::string& path,
                                                         MasterKeySource keys) {
  auto state = std::make_unique<State>(path, std::move(keys));
  auto db = OpenFile(path);
  if (!db) return std::unexpected(db.error());
  state->db = *std::move(db);
  if (auto loaded = state->Load(); !loaded) return std::unexpected(loaded.error());
  return std::unique_ptr<AccountStore>(new AccountStore(std::move(state)));
}

std::vector<StoredAccount> AccountStore::accounts() const {
  const std::scoped_lock lock(state_->mutex);
  std::vector<StoredAccount> all;
  all.reserve(state_->accounts.size());
  for (const auto& [id, account] : state_->accounts) all.push_back(account);
  return all;
}

std::vector<AccountOverride> AccountStore::overrides() const {
  const std::scoped_lock lock(state_->mutex);
  std::vector<AccountOverride> all;
  for (const auto& [id, change] : state_->overrides) all.push_back(change);
  return all;
}

Result<void> AccountStore::Insert(const StoredAccount& account, const AuditNote& note) {
  const std::scoped_lock lock(state_->mutex);
  const std::string& id = account.account.id;
  if (state_->accounts.contains(id)) {
    return Fail(ErrorCode::kConflict, ErrorSource::kCaller,
                fmt::format("there is an account {:.160} already", id));
  }
  if (state_->accounts.size() >= kStoredAccountsMax) {
    return Fail(
        ErrorCode::kConflict, ErrorSource::kCaller,
        fmt::format("there are {} accounts already, which is the most", kStoredAccountsMax));
  }
  const auto sealed = state_->Seal(account.account);
  if (!sealed) return std::unexpected(sealed.error());
  auto done = state_->Commit(id, note,
                             [&] { return state_->WriteRow(kInsert, account, *sealed, note.at); });
  if (done) state_->accounts.emplace(id, account);
  return done;
}

Result<void> AccountStore::Update(const StoredAccount& account, const AuditNote& note) {
  const std::scoped_lock lock(state_->mutex);
  const std::string& id = account.account.id;
  const auto known = state_->accounts.find(id);
  if (known == state_->accounts.end()) {
    return Fail(ErrorCode::kNotFound, ErrorSource::kCaller,
                fmt::format("there is no account {:.160}", id));
  }
  const auto sealed = state_->Seal(account.account);
  if (!sealed) return std::unexpected(sealed.error());
  auto done = state_->Commit(id, note,
                             [&] { return state_->WriteRow(kUpdate, account, *sealed, note.at); });
  if (done) known->second = account;
  return done;
}

Result<void> AccountStore::Remove(std::string_view id, const AuditNote& note) {
  const std::scoped_lock lock(state_->mutex);
  const auto known = state_->accounts.find(id);
  if (known == state_->accounts.end()) {
    return Fail(ErrorCode::kNotFound, ErrorSource::kCaller,
                fmt::format("there is no account {:.160}", id));
  }
  auto done = state_->Commit(id, note, [&]() -> Result<void> {
    auto remove = Prepare(state_->db.get(), "DELETE FROM accounts WHERE id = ?1");
    if (!remove) return std::unexpected(remove.error());
    remove->Bind(1, id);
    return state_->Run(*remove);
  });
  if (done) state_->accounts.erase(known);
  return done;
}

Result<void> AccountStore::Override(const AccountOverride& change, const AuditNote& note) {
  const std::scoped_lock lock(state_->mutex);
  const bool nothing = !change.enabled && !change.draining;
  auto done = state_->Commit(change.account, note, [&]() -> Result<void> {
    auto write = Prepare(state_->db.get(),
                         nothing ? "DELETE FROM account_overrides WHERE id = ?1"
                                 : "INSERT OR REPLACE INTO account_overrides (id, enabled, "
                                   "draining) VALUES (?1, ?2, ?3)");
    if (!write) return std::unexpected(write.error());
    write->Bind(1, change.account);
    const auto bind = [&](int at, const std::optional<bool>& flag) {
      if (flag) {
        write->Bind(at, std::int64_t{*flag});
      } else {
        write->BindNull(at);
      }
    };
    if (!nothing) {
      bind(2, change.enabled);
      bind(3, change.draining);
    }
    return state_->Run(*write);
  });
  if (!done) return done;
  if (nothing) {
    state_->overrides.erase(change.account);
  } else {
    state_->overrides.insert_or_assign(change.account, change);
  }
  return done;
}

Result<void> AccountStore::Note(std::string_view id, const AuditNote& note) {
  const std::scoped_lock lock(state_->mutex);
  return state_->WriteAudit(id, note);
}

Result<std::vector<AccountAuditEntry>> AccountStore::Audit(std::int64_t before, int limit) const {
  const std::scoped_lock lock(state_->mutex);
  auto read = Prepare(state_->db.get(),
                      "SELECT sequence, at, account_id, actor, action, detail FROM account_audit "
                      "WHERE sequence < ?1 ORDER BY sequence DESC LIMIT ?2");
  if (!read) return std::unexpected(read.error());
  read->Bind(1, before > 0 ? before : INT64_MAX);
  read->Bind(2, std::int64_t{std::clamp(limit, 1, 1000)});
  std::vector<AccountAuditEntry> entries;
  int step = read->Step();
  for (; step == SQLITE_ROW; step = read->Step()) {
    entries.push_back({read->Int(0), std::string(read->Text(2)),
                       AuditNote{Instant{read->Int(1)}, std::string(read->Text(3)),
                                 std::string(read->Text(4)), std::string(read->Text(5))}});
  }
  if (step != SQLITE_DONE) return Unusable(state_->path, state_->db.get());
  return entries;
}

Result<std::int64_t> AccountStore::Reseal(const std::string& path, const ResealKeys& keys,
                                          const AuditNote& note) {
  const SecretBox from(keys.from);
  const SecretBox to(keys.to);
  State state(path, MasterKeySource({}, std::nullopt));
  auto db = OpenFile(path);
  if (!db) return std::unexpected(db.error());
  state.db = *std::move(db);
  std::vector<std::pair<std::string, std::vector<std::uint8_t>>> sealed;
  {
    auto read =
        Prepare(state.db.get(), "SELECT id, credential FROM accounts WHERE credential IS NOT NULL");
    if (!read) return std::unexpected(read.error());
    int step = read->Step();
    for (; step == SQLITE_ROW; step = read->Step()) {
      std::string id(read->Text(0));
      auto opened = from.Open(read->Blob(1), Associated(id));
      if (!opened) return std::unexpected(OfAccount(path, id, std::move(opened.error())));
      auto box = to.Seal(opened->Reveal(), Associated(id));
      if (!box) return std::unexpected(box.error());
      sealed.emplace_back(std::move(id), std::move(*box));
    }
    if (step != SQLITE_DONE) return Unusable(path, state.db.get());
  }
  auto done = state.Commit("*", note, [&]() -> Result<void> {
    auto write = Prepare(state.db.get(), "UPDATE accounts SET credential = ?2 WHERE id = ?1");
    if (!write) return std::unexpected(write.error());
    for (const auto& [id, box] : sealed) {
      write->Bind(1, id);
      write->Bind(2, std::span<const std::uint8_t>(box));
      if (auto run = state.Run(*write); !run) return run;
      write->Reset();
    }
    return {};
  });
  if (!done) return std::unexpected(done.error());
  return static_cast<std::int64_t>(sealed.size());
}

}  // namespace weir::store
