#include "store/operator_store.h"

#include <fmt/format.h>
#include <openssl/crypto.h>

#include <algorithm>
#include <mutex>
#include <span>
#include <utility>

#include "store/migrate.h"
#include "store/sqlite.h"

namespace weir::store {
namespace {

std::optional<OperatorRecord> RecordOf(const Statement& row) {
  OperatorRecord record;
  const auto id = ParseId(row.Text(0));
  const std::int64_t role = row.Int(2), state = row.Int(5);
  const auto hash = row.Blob(3);
  if (!id || role < 1 || role > 3 || state < 1 || state > 3 ||
      hash.size() != record.token_hash.size()) {
    return std::nullopt;
  }
  record.id = OperatorId{*id};
  record.name = row.Text(1);
  record.role = static_cast<Role>(role);
  std::ranges::copy(hash, record.token_hash.begin());
  record.display = row.Text(4);
  record.state = static_cast<OperatorState>(state);
  record.created_at = Instant{row.Int(6)};
  record.created_by = row.Text(7);
  if (!row.IsNull(8)) record.deleted_at = Instant{row.Int(8)};
  return record;
}

}  // namespace

struct OperatorStore::State {
  std::string path;
  SqliteHandle db;
  mutable std::mutex mutex;               // guards what is below, and the one connection
  std::vector<OperatorRecord> operators;  // as on disk, by id

  std::unexpected<Error> Unusable() const {
    return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment,
                fmt::format("{}: {}", path, SqliteProblem(db.get())));
  }
  Result<void> Load();
  Result<void> Write(const OperatorRecord& record);
};

Result<void> OperatorStore::State::Load() {
  auto read = Prepare(db.get(),
                      "SELECT id, name, role, token_hash, display, state, created_at, created_by, "
                      "deleted_at FROM operators ORDER BY id");
  if (!read) return std::unexpected(read.error());
  int step = read->Step();
  for (; step == SQLITE_ROW; step = read->Step()) {
    auto record = RecordOf(*read);
    if (!record) {
      return Fail(ErrorCode::kBadInput, ErrorSource::kEnvironment,
                  fmt::format("{}: the operator \"{}\" is damaged; restore the file from a backup",
                              path, read->Text(1)));
    }
    operators.push_back(*std::move(record));
  }
  if (step != SQLITE_DONE) return Unusable();
  return {};
}

// The row, then what is looked at: a token never works before it is on disk.
Result<void> OperatorStore::State::Write(const OperatorRecord& record) {
  auto write = Prepare(db.get(),
                       "INSERT INTO operators (id, name, role, token_hash, display, state, "
                       "created_at, created_by, deleted_at) "
                       "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) "
                       "ON CONFLICT (id) DO UPDATE SET name=?2, role=?3, token_hash=?4, "
                       "display=?5, state=?6, created_at=?7, created_by=?8, deleted_at=?9");
  if (!write) return std::unexpected(write.error());
  const std::string id = ToString(record.id);
  write->Bind(1, id);
  write->Bind(2, record.name);
  write->Bind(3, static_cast<std::int64_t>(record.role));
  write->Bind(4, std::span<const std::uint8_t>(record.token_hash));
  write->Bind(5, record.display);
  write->Bind(6, static_cast<std::int64_t>(record.state));
  write->Bind(7, record.created_at.ns);
  write->Bind(8, record.created_by);
  if (record.deleted_at) {
    write->Bind(9, record.deleted_at->ns);
  } else {
    write->BindNull(9);
  }
  const int step = write->Step();
  if ((step & 0xFF) == SQLITE_CONSTRAINT) {
    return Fail(ErrorCode::kConflict, ErrorSource::kCaller,
                fmt::format("another operator has this name or token: {}", record.name));
  }
  if (step != SQLITE_DONE) return Unusable();
  const auto at = std::ranges::lower_bound(operators, record.id, {}, &OperatorRecord::id);
  if (at != operators.end() && at->id == record.id) {
    *at = record;
  } else {
    operators.insert(at, record);
  }
  return {};
}

OperatorStore::OperatorStore(std::unique_ptr<State> state) : state_(std::move(state)) {}
OperatorStore::~OperatorStore() = default;

Result<std::unique_ptr<OperatorStore>> OperatorStore::Open(const std::string& path) {
  auto state = std::make_unique<State>();
  state->path = path;
  auto db = OpenSqlite(path);
  if (!db) return std::unexpected(db.error());
  state->db = *std::move(db);
  // As keys.db: changes are rare, and a token that was shown must not be gone after a power cut,
  // nor one that was taken away be back.
  if (auto set = Execute(state->db.get(), "PRAGMA journal_mode=DELETE; PRAGMA synchronous=FULL");
      !set) {
    return std::unexpected(set.error());
  }
  if (auto version = Migrate(state->db.get(), "operators"); !version) {
    version.error().detail = path + ": " + version.error().detail;
    return std::unexpected(version.error());
  }
  if (auto loaded = state->Load(); !loaded) return std::unexpected(loaded.error());
  return std::unique_ptr<OperatorStore>(new OperatorStore(std::move(state)));
}

std::optional<OperatorRecord> OperatorStore::FindByToken(const TokenHash& hash) const {
  const std::scoped_lock lock(state_->mutex);
  for (const OperatorRecord& record : state_->operators) {
    if (record.state == OperatorState::kActive &&
        CRYPTO_memcmp(record.token_hash.data(), hash.data(), hash.size()) == 0) {
      return record;
    }
  }
  return std::nullopt;
}

std::optional<OperatorRecord> OperatorStore::FindByName(std::string_view name) const {
  const std::scoped_lock lock(state_->mutex);
  for (const OperatorRecord& record : state_->operators) {
    if (record.state != OperatorState::kDeleted && record.name == name) return record;
  }
  return std::nullopt;
}

std::optional<OperatorRecord> OperatorStore::Find(const OperatorId& id) const {
  const std::scoped_lock lock(state_->mutex);
  const auto at = std::ranges::lower_bound(state_->operators, id, {}, &OperatorRecord::id);
  if (at == state_->operators.end() || at->id != id) return std::nullopt;
  return *at;
}

std::vector<OperatorRecord> OperatorStore::All() const {
  const std::scoped_lock lock(state_->mutex);
  return state_->operators;
}

Result<void> OperatorStore::Insert(const OperatorRecord& record) {
  const std::scoped_lock lock(state_->mutex);
  std::size_t present = 0;
  for (const OperatorRecord& known : state_->operators) {
    if (known.state != OperatorState::kDeleted) ++present;
    if (known.id == record.id) {
      return Fail(ErrorCode::kConflict, ErrorSource::kUs, "there is an operator of this id");
    }
  }
  if (present >= kOperatorsMax) {
    return Fail(ErrorCode::kConflict, ErrorSource::kCaller,
                fmt::format("there are {} operators; delete one first", kOperatorsMax));
  }
  return state_->Write(record);
}

Result<void> OperatorStore::Update(const OperatorRecord& record) {
  const std::scoped_lock lock(state_->mutex);
  const bool known =
      std::ranges::binary_search(state_->operators, record.id, {}, &OperatorRecord::id);
  if (!known) {
    return Fail(ErrorCode::kNotFound, ErrorSource::kCaller,
                fmt::format("there is no operator {}", ToString(record.id)));
  }
  return state_->Write(record);
}

}  // namespace weir::store
