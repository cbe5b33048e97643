#include "store/key_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <span>
#include <utility>

#include "config/attribute.h"
#include "store/migrate.h"
#include "store/sqlite.h"
#include "store/text_list.h"

namespace weir::store {
namespace {

constexpr std::string_view kLists = "a permission, model, payload rule or attribute of a key";

using identity::KeyDigest;
using identity::KeyRecord;
using identity::KeyState;
using identity::KeyTable;

constexpr std::string_view kProofText = "weir: the pepper of this deployment";

constexpr std::string_view kColumns =
    "id, name, display, digest, previous_digest, previous_valid_until, state, environment, "
    "permissions, models, expires_at, workspace, requests_per_minute, tokens_per_minute, "
    "concurrent_requests, budget_nano_usd, created_at, rotated_at, revoked_at, package, "
    "codex_adaptation, allow_downgrade, payload_rules, attributes, metadata";

constexpr std::string_view kInsertKey =
    "INSERT INTO keys (id, name, display, digest, previous_digest, previous_valid_until, state, "
    "environment, permissions, models, expires_at, workspace, requests_per_minute, "
    "tokens_per_minute, concurrent_requests, budget_nano_usd, created_at, rotated_at, revoked_at, "
    "package, codex_adaptation, allow_downgrade, payload_rules, attributes, metadata) "
    "VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21,?22,?23,"
    "?24,?25)";
constexpr std::string_view kUpdateKey =
    "UPDATE keys SET name=?2, display=?3, digest=?4, previous_digest=?5, previous_valid_until=?6, "
    "state=?7, environment=?8, permissions=?9, models=?10, expires_at=?11, workspace=?12, "
    "requests_per_minute=?13, tokens_per_minute=?14, concurrent_requests=?15, "
    "budget_nano_usd=?16, created_at=?17, rotated_at=?18, revoked_at=?19, "
    "package=?20, codex_adaptation=?21, allow_downgrade=?22, payload_rules=?23, attributes=?24, "
    "metadata=?25 WHERE id=?1";

void BindOptional(Statement& statement, int at, const std::optional<Instant>& instant) {
  if (instant) {
    statement.Bind(at, instant->ns);
  } else {
    statement.BindNull(at);
  }
}

std::optional<Instant> OptionalInstant(const Statement& row, int column) {
  if (row.IsNull(column)) return std::nullopt;
  return Instant{row.Int(column)};
}

std::optional<KeyDigest> DigestOf(std::span<const std::uint8_t> blob) {
  KeyDigest digest;
  if (blob.size() != digest.bytes.size()) return std::nullopt;
  std::ranges::copy(blob, digest.bytes.begin());
  return digest;
}

bool IsAttribute(config::Dimension dimension, std::string_view value) {
  return (config::BitOf(dimension) & config::kAttributeBits) != 0 &&
         config::AttributeFault(value).empty();
}

std::optional<KeyRecord> RecordOf(const Statement& row) {
  KeyRecord record;
  const auto id = ParseId(row.Text(0));
  const auto digest = DigestOf(row.Blob(3));
  const std::int64_t state = row.Int(6);
  if (!id || !digest || state < 1 || state > 3) return std::nullopt;
  record.id = KeyId{*id};
  record.name = row.Text(1);
  record.display = row.Text(2);
  record.digest = *digest;
  if (!row.IsNull(4)) {
    const auto previous = DigestOf(row.Blob(4));
    if (!previous) return std::nullopt;
    record.previous = identity::PreviousSecret{*previous, Instant{row.Int(5)}};
  }
  record.state = static_cast<KeyState>(state);
  record.environment = row.Text(7);
  record.permissions = SplitLines(row.Text(8));
  record.models = identity::ModelAllowList(SplitLines(row.Text(9)));
  record.expires_at = OptionalInstant(row, 10);
  record.workspace = row.Text(11);
  record.limits.requests_per_minute = row.Int(12);
  record.limits.tokens_per_minute = row.Int(13);
  record.limits.concurrent_requests = row.Int(14);
  if (!row.IsNull(15)) record.limits.budget = NanoUsd{row.Int(15)};
  record.created_at = Instant{row.Int(16)};
  record.rotated_at = OptionalInstant(row, 17);
  record.revoked_at = OptionalInstant(row, 18);
  record.package = row.Text(19);
  record.codex_adaptation = row.Int(20) != 0;
  record.allow_downgrade = row.Int(21) != 0;
  for (const std::string& line : SplitLines(row.Text(22))) {
    const std::size_t blank = std::min(line.find(' '), line.size());
    auto rule = dialect::ParsePayloadRule(line.substr(0, blank), line.substr(blank));
    if (!rule) return std::nullopt;
    record.payload_rules.push_back(*std::move(rule));
  }
  for (const std::string& line : SplitLines(row.Text(23))) {
    const std::size_t blank = std::min(line.find(' '), line.size());
    const auto dimension = config::DimensionOf(std::string_view(line).substr(0, blank));
    const auto value = std::string_view(line).substr(std::min(blank + 1, line.size()));
    if (!dimension || !IsAttribute(*dimension, value)) return std::nullopt;
    config::SetAttribute(record.attributes, *dimension, value);
  }
  const std::int64_t metadata = row.Int(24);
  if ((metadata & ~std::int64_t{config::kAttributeBits}) != 0) return std::nullopt;
  record.metadata = static_cast<std::uint32_t>(metadata);
  return record;
}

std::unexpected<Error> Unusable(const std::string& path, sqlite3* db) {
  return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment,
              fmt::format("{}: {}", path, SqliteProblem(db)));
}

}  // namespace

struct KeyStore::State {
  std::string path;
  SqliteHandle db;
  mutable std::mutex mutex;  // guards everything below, and the one connection
  std::shared_ptr<const KeyTable> table;

  Result<void> CheckPepper(const identity::Pepper& pepper);
  Result<void> Load();
  Result<void> CheckFree(const KeyRecord& record) const;
  Result<void> Write(std::string_view sql, const KeyRecord& record, const AuditNote& note);
  Result<void> WriteRow(std::string_view sql, const KeyRecord& record);
  Result<void> WriteAudit(const KeyId& key, const AuditNote& note);
};

// A changed pepper leaves every digest in the file without a key that makes it. Nobody could come
// in, and nothing would say why; so the first start leaves a proof and every other one checks it.
Result<void> KeyStore::State::CheckPepper(const identity::Pepper& pepper) {
  const KeyDigest proof = pepper.Digest(kProofText);
  auto read = Prepare(db.get(), "SELECT proof FROM pepper_proof");
  if (!read) return std::unexpected(read.error());
  const int step = read->Step();
  if (step == SQLITE_ROW) {
    const auto stored = DigestOf(read->Blob(0));
    if (stored && identity::EqualsInConstantTime(*stored, proof)) return {};
    return Fail(ErrorCode::kConflict, ErrorSource::kEnvironment,
                fmt::format("{}: its keys were made with another pepper; put the old one back, or "
                            "move the file away to begin with no keys",
                            path));
  }
  if (step != SQLITE_DONE) return Unusable(path, db.get());
  auto write = Prepare(db.get(), "INSERT INTO pepper_proof (only_row, proof) VALUES (1, ?1)");
  if (!write) return std::unexpected(write.error());
  write->Bind(1, std::span<const std::uint8_t>(proof.bytes));
  if (write->Step() != SQLITE_DONE) return Unusable(path, db.get());
  return {};
}

Result<void> KeyStore::State::Load() {
  auto read = Prepare(db.get(), fmt::format("SELECT {} FROM keys", kColumns));
  if (!read) return std::unexpected(read.error());
  std::vector<KeyRecord> records;
  int step = read->Step();
  for (; step == SQLITE_ROW; step = read->Step()) {
    auto record = RecordOf(*read);
    if (!record) {
      return Fail(ErrorCode::kBadInput, ErrorSource::kEnvironment,
                  fmt::format("{}: the key \"{}\" is damaged; restore the file from a backup", path,
                              read->Text(1)));
    }
    records.push_back(*std::move(record));
  }
  if (step != SQLITE_DONE) return Unusable(path, db.get());
  table = std::make_shared<const KeyTable>(KeyTable::Of(std::move(records)));
  return {};
}

// The unique index knows current secrets only; a secret that is another key's previous one would
// lead to two keys as well.
Result<void> KeyStore::State::CheckFree(const KeyRecord& record) const {
  const auto taken = [&](const KeyDigest& digest) {
    const auto* found = table->FindByDigest(digest);
    return found != nullptr && (*found)->id != record.id;
  };
  if (taken(record.digest) || (record.previous && taken(record.previous->digest))) {
    return Fail(ErrorCode::kConflict, ErrorSource::kCaller, "another key has this secret");
  }
  return {};
}

Result<void> KeyStore::State::WriteRow(std::string_view sql, const KeyRecord& record) {
  const auto permissions = JoinLines(record.permissions, kLists);
  if (!permissions) return std::unexpected(permissions.error());
  const auto models = record.models ? JoinLines(*record.models, kLists) : Result<std::string>("");
  if (!models) return std::unexpected(models.error());
  std::vector<std::string> rules;
  for (const dialect::PayloadRule& rule : record.payload_rules) {
    rules.push_back(dialect::PathText(rule) + " " + rule.value);
  }
  const auto payload_rules = JoinLines(rules, kLists);
  if (!payload_rules) return std::unexpected(payload_rules.error());
  std::vector<std::string> attribute_lines;
  for (const auto& [dimension, value] : record.attributes) {
    // What could not be read back is not written: the file would not open again.
    if (!IsAttribute(dimension, value)) {
      return Fail(ErrorCode::kBadInput, ErrorSource::kCaller,
                  fmt::format("a key cannot have this attribute: {}", Name(dimension)));
    }
    attribute_lines.push_back(fmt::format("{} {}", Name(dimension), value));
  }
  if ((record.metadata & ~config::kAttributeBits) != 0) {
    return Fail(ErrorCode::kBadInput, ErrorSource::kCaller,
                "requests of a key cannot say this of themselves");
  }
  const auto attributes = JoinLines(attribute_lines, kLists);
  if (!attributes) return std::unexpected(attributes.error());
  const std::string id = ToString(record.id);
  auto write = Prepare(db.get(), sql);
  if (!write) return std::unexpected(write.error());
  write->Bind(1, id);
  write->Bind(2, record.name);
  write->Bind(3, record.display);
  write->Bind(4, std::span<const std::uint8_t>(record.digest.bytes));
  if (record.previous) {
    write->Bind(5, std::span<const std::uint8_t>(record.previous->digest.bytes));
    write->Bind(6, record.previous->valid_until.ns);
  } else {
    write->BindNull(5);
    write->BindNull(6);
  }
  write->Bind(7, static_cast<std::int64_t>(record.state));
  write->Bind(8, record.environment);
  write->Bind(9, *permissions);
  write->Bind(10, *models);
  BindOptional(*write, 11, record.expires_at);
  write->Bind(12, record.workspace);
  write->Bind(13, record.limits.requests_per_minute);
  write->Bind(14, record.limits.tokens_per_minute);
  write->Bind(15, record.limits.concurrent_requests);
  if (record.limits.budget) {
    write->Bind(16, record.limits.budget->n);
  } else {
    write->BindNull(16);
  }
  write->Bind(17, record.created_at.ns);
  BindOptional(*write, 18, record.rotated_at);
  BindOptional(*write, 19, record.revoked_at);
  write->Bind(20, record.package);
  write->Bind(21, std::int64_t{record.codex_adaptation});
  write->Bind(22, std::int64_t{record.allow_downgrade});
  write->Bind(23, *payload_rules);
  write->Bind(24, *attributes);
  write->Bind(25, std::int64_t{record.metadata});
  const int step = write->Step();
  if (step == SQLITE_DONE) return {};
  if ((step & 0xFF) == SQLITE_CONSTRAINT) {
    return Fail(ErrorCode::kConflict, ErrorSource::kCaller,
                fmt::format("another key has this name, id or secret: {}", record.name));
  }
  return Unusable(path, db.get());
}

Result<void> KeyStore::State::WriteAudit(const KeyId& key, const AuditNote& note) {
  const std::string id = ToString(key);
  auto write = Prepare(db.get(),
                       "INSERT INTO key_audit (at, key_id, actor, action, detail) "
                       "VALUES (?1, ?2, ?3, ?4, ?5)");
  if (!write) return std::unexpected(write.error());
  write->Bind(1, note.at.ns);
  write->Bind(2, id);
  write->Bind(3, note.actor);
  write->Bind(4, note.action);
  write->Bind(5, note.detail);
  if (write->Step() != SQLITE_DONE) return Unusable(path, db.get());
  return {};
}

// The row and its audit entry together, then the table: what workers see is never ahead of the
// disk.
Result<void> KeyStore::State::Write(std::string_view sql, const KeyRecord& record,
                                    const AuditNote& note) {
  if (auto free = CheckFree(record); !free) return free;
  if (auto begun = Execute(db.get(), "BEGIN IMMEDIATE"); !begun) return begun;
  auto written = WriteRow(sql, record);
  if (written) written = WriteAudit(record.id, note);
  if (written) written = Execute(db.get(), "COMMIT");
  if (!written) {
    (void)Execute(db.get(), "ROLLBACK");  // fails only when SQLite has rolled back by itself
    return written;
  }
  table = std::make_shared<const KeyTable>(table->With(record));
  return {};
}

KeyStore::KeyStore(std::unique_ptr<State> state) : state_(std::move(state)) {}
KeyStore::~KeyStore() = default;

Result<std::unique_ptr<KeyStore>> KeyStore::Open(const std::string& path,
                                                 const identity::Pepper& pepper) {
  auto state = std::make_unique<State>();
  state->path = path;
  auto db = OpenSqlite(path);
  if (!db) return std::unexpected(db.error());
  state->db = *std::move(db);
  // A rollback journal and a sync for each change: changes are rare, and a key that was shown to
  // someone must not be gone after a power cut.
  if (auto set = Execute(state->db.get(), "PRAGMA journal_mode=DELETE; PRAGMA synchronous=FULL");
      !set) {
    return std::unexpected(set.error());
  }
  if (auto version = Migrate(state->db.get(), "keys"); !version) {
    return std::unexpected(version.error());
  }
  if (auto checked = state->CheckPepper(pepper); !checked) return std::unexpected(checked.error());
  if (auto loaded = state->Load(); !loaded) return std::unexpected(loaded.error());
  return std::unique_ptr<KeyStore>(new KeyStore(std::move(state)));
}

std::shared_ptr<const KeyTable> KeyStore::table() const {
  const std::scoped_lock lock(state_->mutex);
  return state_->table;
}

identity::KeyRecordPtr KeyStore::FindByName(std::string_view name) const {
  const std::scoped_lock lock(state_->mutex);
  auto read = Prepare(state_->db.get(), "SELECT id FROM keys WHERE name = ?1 AND state <> 3");
  if (!read) return nullptr;
  read->Bind(1, name);
  if (read->Step() != SQLITE_ROW) return nullptr;
  const auto id = ParseId(read->Text(0));
  return id ? state_->table->FindById(KeyId{*id}) : nullptr;
}

Result<void> KeyStore::Insert(const KeyRecord& record, const AuditNote& note) {
  const std::scoped_lock lock(state_->mutex);
  return state_->Write(kInsertKey, record, note);
}

Result<void> KeyStore::Update(const KeyRecord& record, const AuditNote& note) {
  const std::scoped_lock lock(state_->mutex);
  if (!state_->table->FindById(record.id)) {
    return Fail(ErrorCode::kNotFound, ErrorSource::kCaller,
                fmt::format("there is no key {}", ToString(record.id)));
  }
  return state_->Write(kUpdateKey, record, note);
}

Result<std::vector<AuditEntry>> KeyStore::Audit(std::int64_t before, int limit) const {
  const std::scoped_lock lock(state_->mutex);
  auto read = Prepare(state_->db.get(),
                      "SELECT sequence, at, key_id, actor, action, detail FROM key_audit "
                      "WHERE sequence < ?1 ORDER BY sequence DESC LIMIT ?2");
  if (!read) return std::unexpected(read.error());
  read->Bind(1, before > 0 ? before : INT64_MAX);
  read->Bind(2, std::int64_t{std::clamp(limit, 1, 1000)});
  std::vector<AuditEntry> entries;
  int step = read->Step();
  for (; step == SQLITE_ROW; step = read->Step()) {
    const auto id = ParseId(read->Text(2));
    entries.push_back({read->Int(0), id ? KeyId{*id} : KeyId{},
                       AuditNote{Instant{read->Int(1)}, std::string(read->Text(3)),
                                 std::string(read->Text(4)), std::string(read->Text(5))}});
  }
  if (step != SQLITE_DONE) return Unusable(state_->path, state_->db.get());
  return entries;
}

}  // namespace weir::store
