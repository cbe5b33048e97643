#include "store/migrate.h"

#include <gtest/gtest.h>

namespace weir::store {
namespace {

TEST(Migrate, FreshFile_GetsEveryMigration_AndASecondRunNone) {
  const auto db = OpenSqlite(":memory:");
  ASSERT_TRUE(db);
  EXPECT_EQ(Migrate(db->get(), "journal").value(), 1);
  EXPECT_EQ(Migrate(db->get(), "journal").value(), 1);
  auto count = Prepare(db->get(), "SELECT count(*), min(name) FROM schema_version");
  ASSERT_TRUE(count);
  ASSERT_EQ(count->Step(), SQLITE_ROW);
  EXPECT_EQ(count->Int(0), 1);
  EXPECT_EQ(count->Text(1), "0001_journal");
  EXPECT_TRUE(Execute(db->get(), "INSERT INTO journal VALUES (1, 1, x'00', zeroblob(32))"));
  EXPECT_FALSE(Execute(db->get(), "INSERT INTO journal VALUES (2, 1, x'00', 'text')"));
}

TEST(Migrate, FileOfANewerProgram_IsRefusedWithAFix) {
  const auto db = OpenSqlite(":memory:");
  ASSERT_TRUE(db);
  ASSERT_TRUE(Migrate(db->get(), "requests"));
  ASSERT_TRUE(Execute(db->get(), "INSERT INTO schema_version (version, name) VALUES (99, 'x')"));
  const auto refused = Migrate(db->get(), "requests");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kConflict);
  EXPECT_NE(refused.error().detail.find("99"), std::string::npos);
}

TEST(Migrate, FailingMigration_LeavesNothingBehind) {
  const auto db = OpenSqlite(":memory:");
  ASSERT_TRUE(db);
  ASSERT_TRUE(Execute(db->get(), "CREATE TABLE exchange (x)"));  // in the way of the first one
  const auto failed = Migrate(db->get(), "requests");
  ASSERT_FALSE(failed);
  EXPECT_NE(failed.error().detail.find("0001_exchange"), std::string::npos);
  auto count = Prepare(db->get(), "SELECT count(*) FROM schema_version");
  ASSERT_TRUE(count);
  ASSERT_EQ(count->Step(), SQLITE_ROW);
  EXPECT_EQ(count->Int(0), 0);
}

}  // namespace
}  // namespace weir::store
