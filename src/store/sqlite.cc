#include "store/sqlite.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace weir::store {

Result<SqliteHandle> OpenSqlite(const std::string& path, bool read_only) {
  if (!read_only && path != ":memory:") {
    // SQLite would make the file readable by everybody; made first, its rights are kept, and the
    // WAL beside it takes them over.
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
      return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment,
                  "cannot open " + path + ": " + std::strerror(errno));
    }
    ::close(fd);
  }
  sqlite3* raw = nullptr;
  const int flags =
      (read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE) | SQLITE_OPEN_NOMUTEX;
  const int code = sqlite3_open_v2(path.c_str(), &raw, flags, nullptr);
  SqliteHandle db(raw);
  if (code != SQLITE_OK) {
    return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment,
                "cannot open " + path + ": " +
                    (raw == nullptr ? std::string("no memory") : SqliteProblem(raw)));
  }
  sqlite3_extended_result_codes(raw, 1);
  return db;
}

Result<Statement> Prepare(sqlite3* db, std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v3(db, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT,
                         &statement, nullptr) != SQLITE_OK) {
    return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment, SqliteProblem(db));
  }
  return Statement(statement);
}

Result<void> Execute(sqlite3* db, const char* sql) {
  if (sqlite3_exec(db, sql, nullptr, nullptr, nullptr) != SQLITE_OK) {
    return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment, SqliteProblem(db));
  }
  return {};
}

std::string SqliteProblem(sqlite3* db) {
  return std::string(sqlite3_errmsg(db)) + " (SQLite code " +
         std::to_string(sqlite3_extended_errcode(db)) + ")";
}

}  // namespace weir::store
