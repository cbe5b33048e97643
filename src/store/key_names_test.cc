#include "store/key_names.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "store/sqlite.h"

namespace weir::store {
namespace {

struct KeyNamesTest : testing::Test {
  std::string path = testing::TempDir() + "key_names_" + std::to_string(::getpid()) + ".db";
  ~KeyNamesTest() override { std::filesystem::remove(path); }
};

TEST_F(KeyNamesTest, NamesOfAllKeys_ThoseInUseLast) {
  const KeyId revoked{{1, 1}};
  const KeyId active{{2, 2}};
  {
    auto db = OpenSqlite(path);
    ASSERT_TRUE(db);
    const std::string rows =
        "CREATE TABLE keys (id TEXT, name TEXT, state INTEGER, created_at INTEGER);"
        "INSERT INTO keys VALUES ('" +
        ToString(active) +
        "', 'ci', 1, 5);"
        "INSERT INTO keys VALUES ('" +
        ToString(revoked) +
        "', 'ci', 3, 1);"
        "INSERT INTO keys VALUES ('not an id', 'x', 1, 1);";
    ASSERT_TRUE(Execute(db->get(), rows.c_str()));
  }
  EXPECT_EQ(ReadKeyNames(path),
            (std::vector<std::pair<KeyId, std::string>>{{revoked, "ci"}, {active, "ci"}}));
}

TEST_F(KeyNamesTest, NoFile_OrNotOne_HasNoNames_AndIsNotMade) {
  EXPECT_TRUE(ReadKeyNames(path).empty());
  EXPECT_FALSE(std::filesystem::exists(path));
  std::ofstream(path) << "not a database, and long enough to be read as the head of one: no.......";
  EXPECT_TRUE(ReadKeyNames(path).empty());
}

}  // namespace
}  // namespace weir::store
