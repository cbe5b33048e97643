// The little of SQLite's C interface that the stores use, with owners for its handles. Nothing here
// throws. Only store/ includes it.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace weir::store {

struct SqliteClose {
  void operator()(sqlite3* db) const { sqlite3_close_v2(db); }
};
struct SqliteFinalize {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using SqliteHandle = std::unique_ptr<sqlite3, SqliteClose>;

// A prepared statement. Binds and columns count as SQLite counts them: from 1 and from 0. Texts and
// blobs are bound without a copy and must live until Reset.
class Statement {
 public:
  Statement() = default;
  explicit Statement(sqlite3_stmt* statement) : statement_(statement) {}

  void Bind(int at, std::int64_t value) { sqlite3_bind_int64(statement_.get(), at, value); }
  void Bind(int at, std::string_view text) {
    sqlite3_bind_text64(statement_.get(), at, text.data() == nullptr ? "" : text.data(),
                        text.size(), SQLITE_STATIC, SQLITE_UTF8);
  }
  void Bind(int at, std::span<const std::uint8_t> bytes) {
    sqlite3_bind_blob64(statement_.get(), at,
                        bytes.empty() ? reinterpret_cast<const std::uint8_t*>("") : bytes.data(),
                        bytes.size(), SQLITE_STATIC);
  }
  void BindNull(int at) { sqlite3_bind_null(statement_.get(), at); }

  // SQLITE_ROW, SQLITE_DONE or an error code.
  int Step() { return sqlite3_step(statement_.get()); }
  void Reset() {
    sqlite3_reset(statement_.get());
    sqlite3_clear_bindings(statement_.get());
  }

  std::int64_t Int(int column) const { return sqlite3_column_int64(statement_.get(), column); }
  bool IsNull(int column) const {
    return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
  }
  // Valid until the next Step or Reset.
  std::string_view Text(int column) const {
    const auto* text = sqlite3_column_text(statement_.get(), column);
    return {reinterpret_cast<const char*>(
                text == nullptr ? reinterpret_cast<const unsigned char*>("") : text),
            static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column))};
  }
  std::span<const std::uint8_t> Blob(int column) const {
    const auto* blob =
        static_cast<const std::uint8_t*>(sqlite3_column_blob(statement_.get(), column));
    return {blob, blob == nullptr
                      ? 0
                      : static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column))};
  }

 private:
  std::unique_ptr<sqlite3_stmt, SqliteFinalize> statement_;
};

// Opens or makes a database file, for one thread at a time (SQLITE_OPEN_NOMUTEX), readable by its
// owner only. `read_only` never creates.
Result<SqliteHandle> OpenSqlite(const std::string& path, bool read_only = false);

Result<Statement> Prepare(sqlite3* db, std::string_view sql);

// Runs statements that return nothing we read.
Result<void> Execute(sqlite3* db, const char* sql);

// "disk I/O error (extended code 1034)"
std::string SqliteProblem(sqlite3* db);

}  // namespace weir::store
