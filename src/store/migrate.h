// Brings a database file to the schema this program knows: runs
// migrations/sqlite/<set>/NNNN_name.sql in order, each in a transaction with its line in
// `schema_version`. The files are in the binary.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "store/sqlite.h"

namespace weir::store {

// Runs what is missing and returns the version the schema is at.
//   set    the folder under migrations/sqlite: one for each database file.
//   fails  kConflict when the file was made by a newer program, kUnavailable when SQLite fails.
Result<std::int64_t> Migrate(sqlite3* db, std::string_view set);

}  // namespace weir::store
