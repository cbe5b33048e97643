// The keys on disk. What must hold: what is read back is what was written, a change and its audit
// row are one, no secret reaches the file, and a wrong pepper is said rather than suffered.
#include "store/key_store.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "identity/authenticate.h"
#include "store/sqlite.h"

namespace weir::store {
namespace {

namespace fs = std::filesystem;
using identity::KeyRecord;
using identity::KeyState;

const identity::Pepper kPepper("the pepper of these tests, long enough");

class KeyStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "weir-keys-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    directory_ = name;
    path_ = directory_ + "/keys.db";
  }
  void TearDown() override { fs::remove_all(directory_); }

  std::unique_ptr<KeyStore> Open() {
    auto store = KeyStore::Open(path_, kPepper);
    EXPECT_TRUE(store) << store.error().detail;
    return store ? *std::move(store) : nullptr;
  }

  std::string directory_;
  std::string path_;
};

AuditNote Note(std::string action) { return {Instant{1'000}, "admin", std::move(action), ""}; }

KeyRecord Key(std::uint64_t n, std::string name, std::string_view secret) {
  KeyRecord record;
  record.id = KeyId{Id128{n, n}};
  record.name = std::move(name);
  record.display = "wr_...abcd";
  record.digest = kPepper.Digest(secret);
  record.environment = "production";
  record.created_at = Instant{5};
  return record;
}

KeyRecord FullKey() {
  KeyRecord record = Key(1, "full", "current");
  record.previous = identity::PreviousSecret{kPepper.Digest("previous"), Instant{INT64_MAX}};
  record.state = KeyState::kDisabled;
  record.permissions = {"openai", "audio"};
  record.models = identity::ModelAllowList({"b", "a"});
  record.expires_at = Instant{7};
  record.workspace = "caf\xc3\xa9 'quoted'; DROP TABLE keys";
  record.package = "gold";
  record.codex_adaptation = true;
  record.payload_rules = {
      *dialect::ParsePayloadRule("a.0.b-c", R"({"x": "a b", "y": [1.10, null]})"),
      *dialect::ParsePayloadRule("service_tier", "\"flex\\n\"")};
  record.allow_downgrade = false;
  record.attributes = {{config::Dimension::kTeam, "growth and sales"},
                       {config::Dimension::kImageClass, "user x"}};
  record.metadata =
      config::BitOf(config::Dimension::kUser) | config::BitOf(config::Dimension::kImageClass);
  record.limits = {0, INT64_MAX, 3, NanoUsd{4}};
  record.rotated_at = Instant{8};
  record.revoked_at = Instant{9};
  return record;
}

void ExpectSame(const KeyRecord& a, const KeyRecord& b) {
  EXPECT_EQ(a.id, b.id);
  EXPECT_EQ(a.name, b.name);
  EXPECT_EQ(a.display, b.display);
  EXPECT_EQ(a.digest, b.digest);
  EXPECT_EQ(a.previous, b.previous);
  EXPECT_EQ(a.state, b.state);
  EXPECT_EQ(a.environment, b.environment);
  EXPECT_EQ(a.permissions, b.permissions);
  ASSERT_EQ(a.models == nullptr, b.models == nullptr);
  if (a.models) EXPECT_EQ(*a.models, *b.models);
  EXPECT_EQ(a.expires_at, b.expires_at);
  EXPECT_EQ(a.workspace, b.workspace);
  EXPECT_EQ(a.package, b.package);
  EXPECT_EQ(a.codex_adaptation, b.codex_adaptation);
  EXPECT_EQ(a.payload_rules, b.payload_rules);
  EXPECT_EQ(a.allow_downgrade, b.allow_downgrade);
  EXPECT_EQ(a.attributes, b.attributes);
  EXPECT_EQ(a.metadata, b.metadata);
  EXPECT_EQ(a.limits, b.limits);
  EXPECT_EQ(a.created_at, b.created_at);
  EXPECT_EQ(a.rotated_at, b.rotated_at);
  EXPECT_EQ(a.revoked_at, b.revoked_at);
}

TEST_F(KeyStoreTest, Reopened_HasEveryFieldOfEveryKey) {
  const KeyRecord full = FullKey();
  const KeyRecord plain = Key(2, "plain", "other");
  {
    const auto store = Open();
    ASSERT_TRUE(store->Insert(full, Note("create")));
    ASSERT_TRUE(store->Insert(plain, Note("create")));
    ExpectSame(*store->table()->FindById(full.id), full);
  }
  const auto store = Open();
  EXPECT_EQ(store->table()->size(), 2U);
  ExpectSame(*store->table()->FindById(full.id), full);
  ExpectSame(*store->table()->FindById(plain.id), plain);
  EXPECT_NE(store->table()->FindByDigest(kPepper.Digest("previous")), nullptr);
}

TEST_F(KeyStoreTest, Update_WritesEveryFieldToo) {
  KeyRecord record = FullKey();
  {
    const auto store = Open();
    ASSERT_TRUE(store->Insert(Key(1, "plain", "current"), Note("create")));
    ASSERT_TRUE(store->Update(record, Note("change")));
  }
  ExpectSame(*Open()->table()->FindById(record.id), record);
}

// A file of the first schema: its keys are as they were, with what such keys always had.
TEST_F(KeyStoreTest, AFileFromBeforePackages_IsBroughtUpToDate) {
  const KeyRecord plain = Key(2, "plain", "other");
  ASSERT_TRUE(Open()->Insert(plain, Note("create")));
  {
    auto db = OpenSqlite(path_);
    ASSERT_TRUE(db);
    const auto undone = Execute(db->get(),
                                "ALTER TABLE keys DROP COLUMN package;"
                                "ALTER TABLE keys DROP COLUMN codex_adaptation;"
                                "ALTER TABLE keys DROP COLUMN allow_downgrade;"
                                "ALTER TABLE keys DROP COLUMN payload_rules;"
                                "ALTER TABLE keys DROP COLUMN attributes;"
                                "ALTER TABLE keys DROP COLUMN metadata;"
                                "DELETE FROM schema_version WHERE version >= 2");
    ASSERT_TRUE(undone) << undone.error().detail;
  }
  const auto store = Open();
  ExpectSame(*store->table()->FindById(plain.id), plain);
  EXPECT_TRUE(store->table()->FindById(plain.id)->allow_downgrade);
  ASSERT_TRUE(store->Update(plain, Note("change")));
}

TEST_F(KeyStoreTest, TheFile_IsPrivateAndHoldsNoSecret) {
  const std::array<std::uint8_t, 32> random{1, 2, 3};
  identity::NewKey wanted;
  wanted.name = "ci";
  const auto made =
      identity::MakeKey(wanted, KeyId{Id128{1, 1}}, "wr_", kPepper, random, Instant{5});
  {
    const auto store = Open();
    ASSERT_TRUE(store->Insert(made.record, Note("create")));
  }
  EXPECT_EQ(fs::status(path_).permissions() & (fs::perms::group_all | fs::perms::others_all),
            fs::perms::none);
  std::ostringstream bytes;
  bytes << std::ifstream(path_, std::ios::binary).rdbuf();
  EXPECT_TRUE(bytes.str().contains("ci"));
  EXPECT_FALSE(bytes.str().contains(made.secret.Reveal().substr(3, 20)));
}

TEST_F(KeyStoreTest, Update_ReplacesTheKeyInFileAndTableAndNotInOldTables) {
  const auto store = Open();
  ASSERT_TRUE(store->Insert(Key(1, "a", "secret"), Note("create")));
  const auto before = store->table();
  ASSERT_TRUE(store->Update(identity::Revoke(Key(1, "a", "secret"), Instant{9}), Note("revoke")));
  EXPECT_EQ(before->FindById(KeyId{Id128{1, 1}})->state, KeyState::kActive);
  EXPECT_EQ(store->table()->FindById(KeyId{Id128{1, 1}})->state, KeyState::kRevoked);
  EXPECT_FALSE(
      identity::Authenticate(*store->table(), kPepper, "secret", "production", Instant{10}));
  EXPECT_TRUE(identity::Authenticate(*before, kPepper, "secret", "production", Instant{10}));
}

TEST_F(KeyStoreTest, Update_OfAnUnknownKey_IsNotFound) {
  const auto store = Open();
  const auto updated = store->Update(Key(1, "a", "secret"), Note("revoke"));
  ASSERT_FALSE(updated);
  EXPECT_EQ(updated.error().code, ErrorCode::kNotFound);
  EXPECT_TRUE(store->Audit(0, 10)->empty());
}

TEST_F(KeyStoreTest, ATakenNameIdOrSecret_IsAConflictAndChangesNothing) {
  const auto store = Open();
  KeyRecord rotated = Key(1, "a", "secret-a");
  rotated.previous = identity::PreviousSecret{kPepper.Digest("old-a"), Instant{100}};
  ASSERT_TRUE(store->Insert(rotated, Note("create")));
  ASSERT_TRUE(store->Insert(Key(2, "b", "secret-b"), Note("create")));
  KeyRecord previous_taken = Key(3, "c", "secret-c");
  previous_taken.previous = identity::PreviousSecret{kPepper.Digest("secret-b"), Instant{100}};
  for (const KeyRecord& record : {Key(3, "a", "secret-c"), Key(1, "c", "secret-c"),
                                  Key(3, "c", "secret-a"), Key(3, "c", "old-a"), previous_taken}) {
    const auto inserted = store->Insert(record, Note("create"));
    ASSERT_FALSE(inserted);
    EXPECT_EQ(inserted.error().code, ErrorCode::kConflict);
  }
  const auto renamed = store->Update(Key(2, "a", "secret-b"), Note("rename"));
  ASSERT_FALSE(renamed);
  EXPECT_EQ(renamed.error().code, ErrorCode::kConflict);
  EXPECT_EQ(store->table()->size(), 2U);
  EXPECT_EQ(store->table()->FindById(KeyId{Id128{2, 2}})->name, "b");
  EXPECT_EQ(store->Audit(0, 10)->size(), 2U);
}

TEST_F(KeyStoreTest, ARevokedKey_GivesItsNameFree) {
  const auto store = Open();
  ASSERT_TRUE(store->Insert(Key(1, "a", "first"), Note("create")));
  EXPECT_EQ(store->FindByName("a")->id.low, 1U);
  ASSERT_TRUE(store->Update(identity::Revoke(Key(1, "a", "first"), Instant{9}), Note("revoke")));
  EXPECT_EQ(store->FindByName("a"), nullptr);
  ASSERT_TRUE(store->Insert(Key(2, "a", "second"), Note("create")));
  EXPECT_EQ(store->FindByName("a")->id.low, 2U);
  EXPECT_EQ(store->FindByName("b"), nullptr);
}

TEST_F(KeyStoreTest, ALineBreakInAnItem_IsRefused) {
  const auto store = Open();
  KeyRecord record = Key(1, "a", "secret");
  record.permissions = {"audio\nopenai"};  // would be two permissions when read back
  EXPECT_EQ(store->Insert(record, Note("create")).error().code, ErrorCode::kBadInput);
  record.permissions = {""};
  EXPECT_EQ(store->Insert(record, Note("create")).error().code, ErrorCode::kBadInput);
  record.permissions = {};
  record.models = std::make_shared<const std::vector<std::string>>(1, "a\nb");
  EXPECT_EQ(store->Insert(record, Note("create")).error().code, ErrorCode::kBadInput);
  EXPECT_EQ(store->table()->size(), 0U);
}

TEST_F(KeyStoreTest, AnAttributeThatKeysCannotHave_IsRefused) {
  const auto store = Open();
  for (const config::Attribute& wrong : std::initializer_list<config::Attribute>{
           {config::Dimension::kKey, "other"},
           {config::Dimension::kWorkspace, "other"},
           {config::Dimension::kModel, "gpt-5.5"},
           {config::Dimension::kTeam, ""},
           {config::Dimension::kTeam, "a\nuser root"},
           {config::Dimension::kTeam, std::string(129, 'x')}}) {
    KeyRecord record = Key(1, "a", "secret");
    record.attributes = {wrong};
    EXPECT_EQ(store->Insert(record, Note("create")).error().code, ErrorCode::kBadInput);
  }
  KeyRecord record = Key(1, "a", "secret");
  record.metadata = config::BitOf(config::Dimension::kKey);
  EXPECT_EQ(store->Insert(record, Note("create")).error().code, ErrorCode::kBadInput);
  EXPECT_EQ(store->table()->size(), 0U);
}

// Somebody's hand in the file: what it says cannot be trusted with who pays.
TEST_F(KeyStoreTest, AttributesThatMakeNoSense_AreRefusedByName) {
  {
    ASSERT_TRUE(Open()->Insert(Key(1, "broken", "secret"), Note("create")));
  }
  for (const char* set :
       {"attributes = 'tame growth'", "attributes = 'workspace acme'", "attributes = 'team'",
        "attributes = 'team '", "metadata = 1", "attributes = '', metadata = 1 << 40"}) {
    {
      auto db = OpenSqlite(path_);
      ASSERT_TRUE(db);
      const std::string sql = std::string("UPDATE keys SET ") + set;
      ASSERT_TRUE(Execute(db->get(), sql.c_str()));
    }
    const auto store = KeyStore::Open(path_, kPepper);
    ASSERT_FALSE(store) << set;
    EXPECT_TRUE(store.error().detail.contains("broken"));
  }
}

TEST_F(KeyStoreTest, Audit_IsNewestFirstInPages) {
  const auto store = Open();
  for (std::uint64_t n = 1; n <= 5; ++n) {
    ASSERT_TRUE(store->Insert(Key(n, "k" + std::to_string(n), std::to_string(n)),
                              {Instant{static_cast<std::int64_t>(n)}, "cli", "create", "why"}));
  }
  const auto first = store->Audit(0, 2);
  ASSERT_EQ(first->size(), 2U);
  EXPECT_EQ(first->at(0).sequence, 5);
  EXPECT_EQ(first->at(0).key.low, 5U);
  EXPECT_EQ(first->at(0).note.at, Instant{5});
  EXPECT_EQ(first->at(0).note.actor, "cli");
  EXPECT_EQ(first->at(0).note.action, "create");
  EXPECT_EQ(first->at(0).note.detail, "why");
  const auto second = store->Audit(first->back().sequence, 1000);
  ASSERT_EQ(second->size(), 3U);
  EXPECT_EQ(second->back().sequence, 1);
  EXPECT_TRUE(store->Audit(1, 10)->empty());
  EXPECT_EQ(store->Audit(0, -7)->size(), 1U);
}

TEST_F(KeyStoreTest, AnotherPepper_IsRefusedBeforeAnyKeyIsTried) {
  {
    ASSERT_TRUE(Open()->Insert(Key(1, "a", "secret"), Note("create")));
  }
  const auto store = KeyStore::Open(path_, identity::Pepper("another pepper"));
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, ErrorCode::kConflict);
  EXPECT_TRUE(store.error().detail.contains("another pepper"));
  EXPECT_TRUE(Open());
}

TEST_F(KeyStoreTest, ADamagedFile_IsRefused) {
  {
    std::ofstream(path_) << std::string(4096, 'x');
    fs::permissions(path_, fs::perms::owner_read | fs::perms::owner_write);
  }
  EXPECT_FALSE(KeyStore::Open(path_, kPepper));
  EXPECT_FALSE(KeyStore::Open(directory_ + "/no/such/place/keys.db", kPepper));
}

TEST_F(KeyStoreTest, ARowThatMakesNoSense_IsRefusedByName) {
  {
    ASSERT_TRUE(Open()->Insert(Key(1, "broken", "secret"), Note("create")));
  }
  {
    auto db = OpenSqlite(path_);
    ASSERT_TRUE(db);
    ASSERT_TRUE(Execute(db->get(), "UPDATE keys SET id = 'not an id'"));
  }
  const auto store = KeyStore::Open(path_, kPepper);
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, ErrorCode::kBadInput);
  EXPECT_TRUE(store.error().detail.contains("broken"));
}

// The audit row cannot be written: then neither is the key, and workers do not see it either.
TEST_F(KeyStoreTest, NoAuditRow_NoChange) {
  const auto store = Open();
  {
    auto db = OpenSqlite(path_);
    ASSERT_TRUE(db);
    ASSERT_TRUE(Execute(db->get(),
                        "CREATE TRIGGER deny BEFORE INSERT ON key_audit "
                        "BEGIN SELECT RAISE(ABORT, 'denied'); END"));
  }
  const auto inserted = store->Insert(Key(1, "a", "secret"), Note("create"));
  ASSERT_FALSE(inserted);
  EXPECT_EQ(inserted.error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(store->table()->size(), 0U);
  EXPECT_EQ(store->FindByName("a"), nullptr);
}

}  // namespace
}  // namespace weir::store
