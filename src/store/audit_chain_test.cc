// What somebody with a hand on the file can do to the trail, and that each of it is found and the
// first row that is wrong is named.

#include "store/audit_chain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "store/migrate.h"
#include "store/policy_store.h"
#include "store/sqlite.h"

namespace weir::store {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

AuditEvent Event(int n) {
  const std::string number = std::to_string(n);
  return {.at = Instant{n},
          .actor = "alice",
          .action = "policy.put",
          .object = "policy:p" + number,
          .before = "",
          .after = R"({"limit":)" + number + "}",
          .reason = "why",
          .outcome = "done"};
}

class AuditChainTest : public testing::Test {
 protected:
  AuditChainTest() {
    directory_ = (fs::temp_directory_path() /
                  ("weir_audit_test." + std::to_string(getpid()) + "." +
                   testing::UnitTest::GetInstance()->current_test_info()->name()))
                     .string();
    fs::create_directories(directory_);
    path_ = directory_ + "/policies.db";
  }
  ~AuditChainTest() override { fs::remove_all(directory_); }

  // Rows 1 to n; returns the head.
  AuditHead Fill(int n) {
    auto store = PolicyStore::Open(path_);
    EXPECT_TRUE(store) << store.error().detail;
    for (int i = 1; i <= n; ++i) EXPECT_TRUE((*store)->Note(Event(i)));
    return (*store)->head();
  }

  // What a hand that knows SQL does.
  void Tamper(const std::string& sql) {
    auto db = OpenSqlite(path_);
    ASSERT_TRUE(db);
    const std::string all =
        "DROP TRIGGER audit_is_never_changed; DROP TRIGGER audit_is_never_deleted;" + sql;
    const auto done = Execute(db->get(), all.c_str());
    ASSERT_TRUE(done) << done.error().detail;
  }

  std::string directory_;
  std::string path_;
};

TEST_F(AuditChainTest, AWholeTrail_VerifiesToItsHead) {
  const AuditHead head = Fill(20);
  EXPECT_EQ(head.seq, 20);
  const auto check = VerifyAudit(path_, std::nullopt);
  ASSERT_TRUE(check) << check.error().detail;
  EXPECT_EQ(check->first_bad, 0) << check->why;
  EXPECT_EQ(check->head, head);
  EXPECT_EQ(VerifyAudit(path_, head)->first_bad, 0);
  EXPECT_TRUE(PolicyStore::Open(path_));
}

TEST_F(AuditChainTest, AnEmptyTrail_IsRight) {
  Fill(0);
  const auto check = VerifyAudit(path_, std::nullopt);
  ASSERT_TRUE(check);
  EXPECT_EQ(check->first_bad, 0);
  EXPECT_EQ(check->head, AuditHead());
  EXPECT_EQ(VerifyAudit(path_, AuditHead())->first_bad, 0);
}

TEST_F(AuditChainTest, AFileThatIsNotThere_IsSaidAndNotMade) {
  const auto check = VerifyAudit(path_, std::nullopt);
  ASSERT_FALSE(check);
  EXPECT_EQ(check.error().code, ErrorCode::kNotFound);
  EXPECT_FALSE(fs::exists(path_));
}

// Each column of a row in the middle, to something it was not.
TEST_F(AuditChainTest, AChangedRow_IsTheFirstBadOne) {
  for (const std::string& set :
       {std::string("ts = ts + 1"), std::string("actor = 'bob'"), std::string("action = 'x'"),
        std::string("object = 'policy:p8'"), std::string("before = 'x'"), std::string("after = ''"),
        std::string("reason = 'whyy'"), std::string("outcome = 'refused'"),
        std::string("prev_hash = zeroblob(32)"), std::string("hash = zeroblob(32)"),
        // What one column loses the next one gains: lengths are hashed, too.
        std::string("actor = 'alicep', action = 'olicy.put'")}) {
    fs::remove(path_);
    Fill(10);
    Tamper("UPDATE audit SET " + set + " WHERE seq = 7");
    const auto check = VerifyAudit(path_, std::nullopt);
    ASSERT_TRUE(check) << set;
    EXPECT_EQ(check->first_bad, 7) << set;
    EXPECT_EQ(check->head.seq, 6) << set;
    const auto store = PolicyStore::Open(path_);
    ASSERT_FALSE(store) << set;
    EXPECT_EQ(store.error().code, ErrorCode::kBadInput);
    EXPECT_THAT(store.error().detail, HasSubstr("row 7"));
  }
}

TEST_F(AuditChainTest, ADeletedRow_IsMissing) {
  for (const int seq : {1, 5, 9}) {
    fs::remove(path_);
    Fill(10);
    Tamper("DELETE FROM audit WHERE seq = " + std::to_string(seq));
    const auto check = VerifyAudit(path_, std::nullopt);
    ASSERT_TRUE(check);
    EXPECT_EQ(check->first_bad, seq);
    EXPECT_THAT(check->why, HasSubstr("is missing"));
  }
}

TEST_F(AuditChainTest, ADeletedRow_WithTheOthersMovedUp_IsFound) {
  Fill(10);
  Tamper("DELETE FROM audit WHERE seq = 4; UPDATE audit SET seq = seq - 1 WHERE seq > 4");
  EXPECT_EQ(VerifyAudit(path_, std::nullopt)->first_bad, 4);
}

TEST_F(AuditChainTest, TwoRowsThatChangedPlaces_AreFound) {
  Fill(10);
  Tamper(
      "UPDATE audit SET seq = -1 WHERE seq = 3; UPDATE audit SET seq = 3 WHERE seq = 8;"
      "UPDATE audit SET seq = 8 WHERE seq = -1");
  EXPECT_EQ(VerifyAudit(path_, std::nullopt)->first_bad, 3);
}

TEST_F(AuditChainTest, ARowPutIn_IsFound) {
  Fill(10);
  Tamper(
      "UPDATE audit SET seq = seq + 100 WHERE seq > 4; UPDATE audit SET seq = seq - 99 WHERE seq > "
      "100; INSERT INTO audit SELECT 5, ts, actor, action, object, before, after, reason, outcome, "
      "prev_hash, hash FROM audit WHERE seq = 4");
  EXPECT_EQ(VerifyAudit(path_, std::nullopt)->first_bad, 5);
}

// A chain cannot know what came after its end; a head that was kept does.
TEST_F(AuditChainTest, ATailThatWasCutOff_IsSeenAgainstAKeptHead) {
  const AuditHead head = Fill(10);
  Tamper("DELETE FROM audit WHERE seq > 7");
  const auto alone = VerifyAudit(path_, std::nullopt);
  EXPECT_EQ(alone->first_bad, 0);
  EXPECT_EQ(alone->head.seq, 7);
  const auto check = VerifyAudit(path_, head);
  EXPECT_EQ(check->first_bad, 8);
  EXPECT_THAT(check->why, HasSubstr("the trail ended at 10 before"));
}

// Whoever can compute hashes can write all of it anew; a kept head does not follow.
TEST_F(AuditChainTest, ATrailThatWasWrittenAnew_IsSeenAgainstAKeptHead) {
  const AuditHead head = Fill(10);
  fs::remove(path_);
  {
    auto store = PolicyStore::Open(path_);
    ASSERT_TRUE(store);
    for (int i = 1; i <= 12; ++i) {
      AuditEvent event = Event(i);
      if (i == 3) event.actor = "bob";
      ASSERT_TRUE((*store)->Note(event));
    }
  }
  EXPECT_EQ(VerifyAudit(path_, std::nullopt)->first_bad, 0);
  const auto check = VerifyAudit(path_, head);
  EXPECT_EQ(check->first_bad, 10);
  EXPECT_THAT(check->why, HasSubstr("was written anew"));
}

TEST_F(AuditChainTest, TheFile_LetsNoRowBeChangedOrDeletedByAccident) {
  Fill(3);
  auto db = OpenSqlite(path_);
  ASSERT_TRUE(db);
  EXPECT_FALSE(Execute(db->get(), "UPDATE audit SET actor = 'bob' WHERE seq = 2"));
  EXPECT_FALSE(Execute(db->get(), "DELETE FROM audit"));
  EXPECT_EQ(VerifyAudit(path_, std::nullopt)->first_bad, 0);
}

TEST_F(AuditChainTest, CanBeVerified_WhileAGatewayWrites) {
  auto store = PolicyStore::Open(path_);
  ASSERT_TRUE(store);
  for (int i = 1; i <= 5; ++i) {
    ASSERT_TRUE((*store)->Note(Event(i)));
    const auto check = VerifyAudit(path_, std::nullopt);
    ASSERT_TRUE(check) << check.error().detail;
    EXPECT_EQ(check->head.seq, i);
  }
}

TEST_F(AuditChainTest, Rows_AreListedNewestFirst) {
  const AuditHead head = Fill(5);
  auto store = PolicyStore::Open(path_);
  ASSERT_TRUE(store);
  const auto rows = (*store)->Audit(0, 2);
  ASSERT_TRUE(rows);
  ASSERT_EQ(rows->size(), 2U);
  EXPECT_EQ(rows->front().head, head);
  EXPECT_EQ(rows->front().event.object, "policy:p5");
  EXPECT_EQ(rows->back().head.seq, 4);
  EXPECT_EQ((*store)->Audit(4, 10)->size(), 3U);
  EXPECT_TRUE((*store)->Audit(1, 10)->empty());
}

TEST(AuditHead, AsText_IsReadBackAndNothingElseIs) {
  AuditHead head = NextHead({}, Event(1));
  const std::string text = FormatAuditHead(head);
  EXPECT_EQ(text.size(), 2U + 64U);
  EXPECT_EQ(ParseAuditHead(text), head);
  EXPECT_EQ(ParseAuditHead(FormatAuditHead({})), AuditHead());
  for (const std::string& wrong :
       {std::string(), std::string("1"), std::string("1:"), text + "0", text.substr(1), "-" + text,
        "x" + text, text.substr(0, text.size() - 1) + "g", ":" + text.substr(2)}) {
    EXPECT_FALSE(ParseAuditHead(wrong)) << wrong;
  }
}

// FROZEN: what is on the disks of others.
TEST(AuditHead, Hash_IsAsItAlwaysWas) {
  EXPECT_EQ(FormatAuditHead(NextHead({}, Event(1))),
            "1:9eed0d572ea7e3417050a87ccc2790d32dc6ad257aecfd4f7364dde904cc5acb");
  EXPECT_NE(NextHead({}, Event(1)), NextHead({}, Event(2)));
}

}  // namespace
}  // namespace weir::store
