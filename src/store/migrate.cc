#include "store/migrate.h"

#include <array>
#include <string>

namespace weir::store {
namespace {

struct Migration {
  std::string_view set;
  std::int64_t version;
  std::string_view name;
  const char* sql;
};

// In order of set and version; generated from migrations/sqlite by store/embed_migrations.cmake.
constexpr auto kMigrations = std::to_array<Migration>({
#include "store/migrations.inc"
});

}  // namespace

Result<std::int64_t> Migrate(sqlite3* db, std::string_view set) {
  auto made = Execute(db,
                      "CREATE TABLE IF NOT EXISTS schema_version ("
                      "  version INTEGER PRIMARY KEY,"
                      "  name TEXT NOT NULL,"
                      "  applied_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))"
                      ") STRICT");
  if (!made) return std::unexpected(made.error());
  auto read = Prepare(db, "SELECT coalesce(max(version), 0) FROM schema_version");
  if (!read) return std::unexpected(read.error());
  if (read->Step() != SQLITE_ROW) {
    return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment, SqliteProblem(db));
  }
  std::int64_t version = read->Int(0);
  read->Reset();
  std::int64_t newest = 0;
  for (const Migration& migration : kMigrations) {
    if (migration.set != set) continue;
    newest = migration.version;
    if (newest <= version) continue;
    auto applied = Execute(db, "BEGIN IMMEDIATE");
    if (applied) applied = Execute(db, migration.sql);
    if (applied) {
      auto note = Prepare(db, "INSERT INTO schema_version (version, name) VALUES (?1, ?2)");
      if (!note) return std::unexpected(note.error());
      note->Bind(1, migration.version);
      note->Bind(2, migration.name);
      if (note->Step() != SQLITE_DONE) {
        applied = Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment, SqliteProblem(db));
      }
    }
    if (applied) applied = Execute(db, "COMMIT");
    if (!applied) {
      sqlite3_exec(db, "ROLLBACK", nullptr, nullptr, nullptr);
      Error error = applied.error();
      error.detail = "migration " + std::string(migration.name) + ": " + error.detail;
      return std::unexpected(error);
    }
    version = newest;
  }
  if (version > newest) {
    return Fail(ErrorCode::kConflict, ErrorSource::kEnvironment,
                "the file has schema version " + std::to_string(version) +
                    " and this program knows " + std::to_string(newest) +
                    ": start the newer program, or restore a backup made before it ran");
  }
  return version;
}

}  // namespace weir::store
