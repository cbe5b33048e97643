#include "store/wallet_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <utility>

#include "store/migrate.h"
#include "store/sqlite.h"

namespace weir::store {
namespace {

constexpr std::string_view kColumns =
    "id, batch, digest, display, unit, amount, category, priority, valid_for, expires_at, "
    "redeem_by, created_at, revoked_at, redeemed_at, redeemed_wallet, redeemed_key";
constexpr std::int64_t kListMax = 1000;

std::optional<Instant> OptionalInstant(const Statement& row, int column) {
  if (row.IsNull(column)) return std::nullopt;
  return Instant{row.Int(column)};
}

void BindOptional(Statement& statement, int at, const std::optional<Instant>& instant) {
  if (instant) {
    statement.Bind(at, instant->ns);
  } else {
    statement.BindNull(at);
  }
}

std::optional<CodeRecord> RecordOf(const Statement& row) {
  CodeRecord code;
  const auto id = ParseId(row.Text(0));
  const auto batch = ParseId(row.Text(1));
  const auto digest = row.Blob(2);
  const std::int64_t unit = row.Int(4), amount = row.Int(5), category = row.Int(6);
  const std::int64_t priority = row.Int(7);
  if (!id || !batch || digest.size() != code.digest.bytes.size() || unit < 0 ||
      unit > ledger::kUnitMax || amount < 1 || amount > ledger::kMaxAmount.n || category < 0 ||
      category > ledger::kGrantCategoryMax || priority < INT32_MIN || priority > INT32_MAX) {
    return std::nullopt;
  }
  code.id = CodeId{*id};
  code.batch = *batch;
  std::ranges::copy(digest, code.digest.bytes.begin());
  code.display = row.Text(3);
  code.unit = static_cast<ledger::Unit>(unit);
  code.amount = {amount};
  code.category = static_cast<ledger::GrantCategory>(category);
  code.priority = static_cast<std::int32_t>(priority);
  if (!row.IsNull(8)) code.valid_for = Duration{row.Int(8)};
  code.expires_at = OptionalInstant(row, 9);
  code.redeem_by = OptionalInstant(row, 10);
  code.created_at = Instant{row.Int(11)};
  code.revoked_at = OptionalInstant(row, 12);
  code.redeemed_at = OptionalInstant(row, 13);
  if (code.redeemed_at) {
    const auto wallet = ParseId(row.Text(14));
    const auto key = ParseId(row.Text(15));
    if (!wallet || !key) return std::nullopt;
    code.redeemed_wallet = ledger::WalletId{*wallet};
    code.redeemed_key = KeyId{*key};
  }
  return code;
}

}  // namespace

ledger::GrantRecord GrantOf(const CodeRecord& code) {
  const Instant from = code.redeemed_at.value_or(Instant{});
  Instant until = code.expires_at.value_or(ledger::kNoExpiry);
  if (code.valid_for && code.valid_for->ns < ledger::kNoExpiry.ns - from.ns) {
    until = from + *code.valid_for;
  }
  return {.time = {},
          .grant = ledger::GrantId{code.id},
          .wallet = code.redeemed_wallet,
          .unit = code.unit,
          .amount = code.amount,
          .priority = code.priority,
          .effective_at = from,
          .expires_at = until,
          .category = code.category};
}

struct WalletStore::State {
  std::string path;
  SqliteHandle db;
  mutable std::mutex mutex;  // of the one connection

  std::unexpected<Error> Unusable() const {
    return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment,
                fmt::format("{}: {}", path, SqliteProblem(db.get())));
  }
  std::unexpected<Error> Damaged() const {
    return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment,
                fmt::format("{}: a code is damaged; restore the file from a backup", path));
  }
  Result<void> WriteAudit(std::string_view subject, const AuditNote& note);
  Result<void> WriteCode(const CodeRecord& code);

  // `body` in one transaction.
  template <class Body>
  Result<void> Together(Body&& body) {
    if (auto begun = Execute(db.get(), "BEGIN IMMEDIATE"); !begun) return begun;
    Result<void> done = body();
    if (done) done = Execute(db.get(), "COMMIT");
    if (!done) (void)Execute(db.get(), "ROLLBACK");  // fails only when SQLite has done so itself
    return done;
  }
};

Result<void> WalletStore::State::WriteAudit(std::string_view subject, const AuditNote& note) {
  auto write = Prepare(db.get(),
                       "INSERT INTO wallet_audit (at, subject, actor, action, detail) "
                       "VALUES (?1, ?2, ?3, ?4, ?5)");
  if (!write) return std::unexpected(write.error());
  write->Bind(1, note.at.ns);
  write->Bind(2, subject);
  write->Bind(3, note.actor);
  write->Bind(4, note.action);
  write->Bind(5, note.detail);
  if (write->Step() != SQLITE_DONE) return Unusable();
  return {};
}

Result<void> WalletStore::State::WriteCode(const CodeRecord& code) {
  auto write = Prepare(db.get(),
                       "INSERT INTO codes (id, batch, digest, display, unit, amount, category, "
                       "priority, valid_for, expires_at, redeem_by, created_at) "
                       "VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12)");
  if (!write) return std::unexpected(write.error());
  const std::string id = ToString(code.id);
  const std::string batch = ToString(code.batch);
  write->Bind(1, id);
  write->Bind(2, batch);
  write->Bind(3, std::span<const std::uint8_t>(code.digest.bytes));
  write->Bind(4, code.display);
  write->Bind(5, static_cast<std::int64_t>(code.unit));
  write->Bind(6, code.amount.n);
  write->Bind(7, static_cast<std::int64_t>(code.category));
  write->Bind(8, std::int64_t{code.priority});
  if (code.valid_for) {
    write->Bind(9, code.valid_for->ns);
  } else {
    write->BindNull(9);
  }
  BindOptional(*write, 10, code.expires_at);
  BindOptional(*write, 11, code.redeem_by);
  write->Bind(12, code.created_at.ns);
  const int step = write->Step();
  if (step == SQLITE_DONE) return {};
  if ((step & 0xFF) == SQLITE_CONSTRAINT) {
    return Fail(ErrorCode::kConflict, ErrorSource::kUs, "there is such a code already");
  }
  return Unusable();
}

WalletStore::WalletStore(std::unique_ptr<State> state) : state_(std::move(state)) {}
WalletStore::~WalletStore() = default;

Result<std::unique_ptr<WalletStore>> WalletStore::Open(const std::string& path) {
  auto state = std::make_unique<State>();
  state->path = path;
  auto db = OpenSqlite(path);
  if (!db) return std::unexpected(db.error());
  state->db = *std::move(db);
  // As keys.db: changes are rare, and none may be gone after a power cut.
  if (auto set = Execute(state->db.get(), "PRAGMA journal_mode=DELETE; PRAGMA synchronous=FULL");
      !set) {
    return std::unexpected(set.error());
  }
  if (auto version = Migrate(state->db.get(), "wallets"); !version) {
    version.error().detail = path + ": " + version.error().detail;
    return std::unexpected(version.error());
  }
  return std::unique_ptr<WalletStore>(new WalletStore(std::move(state)));
}

Result<void> WalletStore::Insert(const std::vector<CodeRecord>& codes, std::string_view subject,
                                 const AuditNote& note) {
  const std::scoped_lock lock(state_->mutex);
  return state_->Together([&]() -> Result<void> {
    for (const CodeRecord& code : codes) {
      if (auto written = state_->WriteCode(code); !written) return written;
    }
    return state_->WriteAudit(subject, note);
  });
}

Result<std::vector<CodeRecord>> WalletStore::List(const CodeQuery& query) const {
  const std::scoped_lock lock(state_->mutex);
  const std::string batch = query.batch ? ToString(*query.batch) : std::string();
  // Ids begin with their time and sort like it.
  const std::string before = query.before ? ToString(*query.before) : std::string("~");
  auto read = Prepare(state_->db.get(),
                      fmt::format("SELECT {} FROM codes WHERE id < ?1 {} ORDER BY id DESC LIMIT ?2",
                                  kColumns, query.batch ? "AND batch = ?3" : ""));
  if (!read) return std::unexpected(read.error());
  read->Bind(1, before);
  read->Bind(2, std::clamp<std::int64_t>(query.limit, 1, kListMax));
  if (query.batch) read->Bind(3, batch);
  std::vector<CodeRecord> codes;
  int step = read->Step();
  for (; step == SQLITE_ROW; step = read->Step()) {
    auto code = RecordOf(*read);
    if (!code) return state_->Damaged();
    codes.push_back(*std::move(code));
  }
  if (step != SQLITE_DONE) return state_->Unusable();
  return codes;
}

Result<std::optional<CodeRecord>> WalletStore::Find(const CodeId& id) const {
  const std::scoped_lock lock(state_->mutex);
  auto read =
      Prepare(state_->db.get(), fmt::format("SELECT {} FROM codes WHERE id = ?1", kColumns));
  if (!read) return std::unexpected(read.error());
  const std::string text = ToString(id);
  read->Bind(1, text);
  const int step = read->Step();
  if (step == SQLITE_DONE) return std::nullopt;
  if (step != SQLITE_ROW) return state_->Unusable();
  auto code = RecordOf(*read);
  if (!code) return state_->Damaged();
  return code;
}

Result<std::int64_t> WalletStore::Revoke(const Id128& code_or_batch, const AuditNote& note) {
  const std::scoped_lock lock(state_->mutex);
  std::int64_t count = 0;
  const std::string id = ToString(code_or_batch);
  auto done = state_->Together([&]() -> Result<void> {
    auto write = Prepare(state_->db.get(),
                         "UPDATE codes SET revoked_at = ?2 WHERE (id = ?1 OR batch = ?1) "
                         "AND revoked_at IS NULL AND redeemed_at IS NULL");
    if (!write) return std::unexpected(write.error());
    write->Bind(1, id);
    write->Bind(2, note.at.ns);
    if (write->Step() != SQLITE_DONE) return state_->Unusable();
    count = sqlite3_changes64(state_->db.get());
    if (count == 0) return {};
    return state_->WriteAudit("codes_" + id, note);
  });
  if (!done) return std::unexpected(done.error());
  return count;
}

Result<WalletStore::Redemption> WalletStore::Redeem(const identity::KeyDigest& digest,
                                                    const ledger::WalletId& wallet,
                                                    ledger::Unit unit, const KeyId& key,
                                                    Instant now) {
  const std::scoped_lock lock(state_->mutex);
  Redemption redemption;
  auto read =
      Prepare(state_->db.get(), fmt::format("SELECT {} FROM codes WHERE digest = ?1", kColumns));
  if (!read) return std::unexpected(read.error());
  read->Bind(1, std::span<const std::uint8_t>(digest.bytes));
  const int step = read->Step();
  if (step == SQLITE_DONE) return redemption;
  if (step != SQLITE_ROW) return state_->Unusable();
  auto found = RecordOf(*read);
  read->Reset();
  if (!found) return state_->Damaged();
  CodeRecord& code = *found;
  if (code.redeemed_at) {
    redemption.outcome =
        code.redeemed_wallet == wallet ? RedeemOutcome::kBound : RedeemOutcome::kTaken;
    redemption.code = std::move(code);
    return redemption;
  }
  if (code.revoked_at || (code.redeem_by && *code.redeem_by <= now) ||
      (code.expires_at && *code.expires_at <= now)) {
    return redemption;
  }
  if (code.unit != unit) {
    redemption.outcome = RedeemOutcome::kOtherUnit;
    return redemption;
  }
  auto write = Prepare(state_->db.get(),
                       "UPDATE codes SET redeemed_at = ?2, redeemed_wallet = ?3, redeemed_key = ?4 "
                       "WHERE id = ?1 AND redeemed_at IS NULL AND revoked_at IS NULL");
  if (!write) return std::unexpected(write.error());
  const std::string id = ToString(code.id);
  const std::string wallet_text = ToString(wallet);
  const std::string key_text = ToString(key);
  write->Bind(1, id);
  write->Bind(2, now.ns);
  write->Bind(3, wallet_text);
  write->Bind(4, key_text);
  if (write->Step() != SQLITE_DONE) return state_->Unusable();
  code.redeemed_at = now;
  code.redeemed_wallet = wallet;
  code.redeemed_key = key;
  redemption.outcome = RedeemOutcome::kBound;
  redemption.code = std::move(code);
  return redemption;
}

Result<void> WalletStore::Note(std::string_view subject, const AuditNote& note) {
  const std::scoped_lock lock(state_->mutex);
  return state_->WriteAudit(subject, note);
}

Result<std::vector<WalletAuditEntry>> WalletStore::Audit(std::int64_t before, int limit) const {
  const std::scoped_lock lock(state_->mutex);
  auto read = Prepare(state_->db.get(),
                      "SELECT sequence, at, subject, actor, action, detail FROM wallet_audit "
                      "WHERE sequence < ?1 ORDER BY sequence DESC LIMIT ?2");
  if (!read) return std::unexpected(read.error());
  read->Bind(1, before > 0 ? before : INT64_MAX);
  read->Bind(2, std::int64_t{std::clamp(limit, 1, 1000)});
  std::vector<WalletAuditEntry> entries;
  int step = read->Step();
  for (; step == SQLITE_ROW; step = read->Step()) {
    entries.push_back({read->Int(0), std::string(read->Text(2)),
                       AuditNote{Instant{read->Int(1)}, std::string(read->Text(3)),
                                 std::string(read->Text(4)), std::string(read->Text(5))}});
  }
  if (step != SQLITE_DONE) return state_->Unusable();
  return entries;
}

}  // namespace weir::store
