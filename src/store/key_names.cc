#include "store/key_names.h"

#include "store/sqlite.h"

namespace weir::store {

std::vector<std::pair<KeyId, std::string>> ReadKeyNames(const std::string& path) {
  std::vector<std::pair<KeyId, std::string>> names;
  auto db = OpenSqlite(path, /*read_only=*/true);
  if (!db) return names;
  // Those in use come last, so that whoever fills a table by name ends with them.
  auto rows = Prepare(db->get(), "SELECT id, name FROM keys ORDER BY state = 3 DESC, created_at");
  if (!rows) return names;
  while (rows->Step() == SQLITE_ROW) {
    if (const auto id = ParseId(rows->Text(0))) names.emplace_back(KeyId{*id}, rows->Text(1));
  }
  return names;
}

}  // namespace weir::store
