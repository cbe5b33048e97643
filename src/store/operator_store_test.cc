#include "store/operator_store.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "store/sqlite.h"

namespace weir::store {
namespace {

namespace fs = std::filesystem;

OperatorRecord Operator(std::uint64_t n, std::string name, Role role = Role::kViewer) {
  OperatorRecord record;
  record.id = OperatorId{Id128{n, n}};
  record.name = std::move(name);
  record.role = role;
  record.token_hash.fill(static_cast<std::uint8_t>(n));
  record.display = "wadm_...abcd";
  record.created_at = Instant{5};
  record.created_by = "admin";
  return record;
}

void ExpectSame(const OperatorRecord& a, const OperatorRecord& b) {
  EXPECT_EQ(a.id, b.id);
  EXPECT_EQ(a.name, b.name);
  EXPECT_EQ(a.role, b.role);
  EXPECT_EQ(a.token_hash, b.token_hash);
  EXPECT_EQ(a.display, b.display);
  EXPECT_EQ(a.state, b.state);
  EXPECT_EQ(a.created_at, b.created_at);
  EXPECT_EQ(a.created_by, b.created_by);
  EXPECT_EQ(a.deleted_at, b.deleted_at);
}

class OperatorStoreTest : public testing::Test {
 protected:
  OperatorStoreTest() {
    directory_ = (fs::temp_directory_path() /
                  ("weir_operator_test." + std::to_string(getpid()) + "." +
                   testing::UnitTest::GetInstance()->current_test_info()->name()))
                     .string();
    fs::create_directories(directory_);
    path_ = directory_ + "/operators.db";
  }
  ~OperatorStoreTest() override { fs::remove_all(directory_); }

  std::unique_ptr<OperatorStore> Open() {
    auto store = OperatorStore::Open(path_);
    EXPECT_TRUE(store) << store.error().detail;
    return store ? std::move(*store) : nullptr;
  }

  std::string directory_;
  std::string path_;
};

TEST_F(OperatorStoreTest, Reopened_HasEveryFieldOfEveryOperator) {
  OperatorRecord gone = Operator(2, "bob", Role::kAdmin);
  gone.state = OperatorState::kDeleted;
  gone.deleted_at = Instant{9};
  {
    const auto store = Open();
    ASSERT_TRUE(store->Insert(Operator(1, "alice", Role::kApprover)));
    ASSERT_TRUE(store->Insert(Operator(2, "bob", Role::kAdmin)));
    ASSERT_TRUE(store->Update(gone));
  }
  const auto store = Open();
  const auto all = store->All();
  ASSERT_EQ(all.size(), 2U);
  ExpectSame(all[0], Operator(1, "alice", Role::kApprover));
  ExpectSame(all[1], gone);
  ExpectSame(*store->Find(gone.id), gone);
  EXPECT_FALSE(store->Find(OperatorId{Id128{3, 3}}));
}

TEST_F(OperatorStoreTest, OnlyAnActiveOnesToken_IsKnown) {
  const auto store = Open();
  OperatorRecord record = Operator(1, "alice");
  EXPECT_FALSE(store->FindByToken(record.token_hash));
  ASSERT_TRUE(store->Insert(record));
  EXPECT_EQ(store->FindByToken(record.token_hash)->name, "alice");
  EXPECT_FALSE(store->FindByToken(Operator(2, "").token_hash));
  EXPECT_FALSE(store->FindByToken({}));

  record.state = OperatorState::kDisabled;
  ASSERT_TRUE(store->Update(record));
  EXPECT_FALSE(store->FindByToken(record.token_hash));
  EXPECT_TRUE(store->FindByName("alice"));
  record.state = OperatorState::kActive;
  ASSERT_TRUE(store->Update(record));
  EXPECT_TRUE(store->FindByToken(record.token_hash));
  record.state = OperatorState::kDeleted;
  record.deleted_at = Instant{7};
  ASSERT_TRUE(store->Update(record));
  EXPECT_FALSE(store->FindByToken(record.token_hash));
  EXPECT_FALSE(store->FindByName("alice"));
}

TEST_F(OperatorStoreTest, ATakenNameOrToken_IsAConflictAndChangesNothing) {
  const auto store = Open();
  ASSERT_TRUE(store->Insert(Operator(1, "alice")));
  ASSERT_TRUE(store->Insert(Operator(2, "bob")));
  OperatorRecord same_token = Operator(3, "carol");
  same_token.token_hash = Operator(1, "").token_hash;
  for (const OperatorRecord& record : {Operator(3, "alice"), Operator(1, "carol"), same_token}) {
    const auto inserted = store->Insert(record);
    ASSERT_FALSE(inserted);
    EXPECT_EQ(inserted.error().code, ErrorCode::kConflict);
  }
  OperatorRecord renamed = Operator(2, "alice");
  EXPECT_EQ(store->Update(renamed).error().code, ErrorCode::kConflict);
  EXPECT_EQ(store->Update(Operator(9, "z")).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(store->All().size(), 2U);
  EXPECT_EQ(store->Find(OperatorId{Id128{2, 2}})->name, "bob");
}

TEST_F(OperatorStoreTest, ADeletedName_IsFreeAgain) {
  const auto store = Open();
  OperatorRecord record = Operator(1, "alice");
  ASSERT_TRUE(store->Insert(record));
  record.state = OperatorState::kDeleted;
  record.deleted_at = Instant{7};
  ASSERT_TRUE(store->Update(record));
  ASSERT_TRUE(store->Insert(Operator(2, "alice")));
  EXPECT_EQ(store->FindByName("alice")->id.low, 2U);
}

TEST_F(OperatorStoreTest, ARowThatMakesNoSense_IsRefusedByName) {
  {
    ASSERT_TRUE(Open()->Insert(Operator(1, "broken")));
  }
  {
    auto db = OpenSqlite(path_);
    ASSERT_TRUE(db);
    ASSERT_TRUE(Execute(db->get(), "UPDATE operators SET id = 'not an id'"));
  }
  const auto store = OperatorStore::Open(path_);
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, ErrorCode::kBadInput);
  EXPECT_TRUE(store.error().detail.contains("broken"));
}

TEST_F(OperatorStoreTest, TheFile_IsPrivate) {
  ASSERT_TRUE(Open()->Insert(Operator(1, "alice")));
  EXPECT_EQ(fs::status(path_).permissions() & (fs::perms::group_all | fs::perms::others_all),
            fs::perms::none);
}

}  // namespace
}  // namespace weir::store
