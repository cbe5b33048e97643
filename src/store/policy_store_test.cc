#include "store/policy_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "store/sqlite.h"

namespace weir::store {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

AuditEvent Event(std::string action, std::string object = "policy:p") {
  return {.at = Instant{1'000},
          .actor = "alice",
          .action = std::move(action),
          .object = std::move(object),
          .before = {},
          .after = "{}",
          .reason = "why",
          .outcome = "done"};
}

PolicyVersion Version(std::string id, std::uint32_t version, std::string json = "{}") {
  return {.id = std::move(id),
          .version = version,
          .json = std::move(json),
          .created_at = Instant{version},
          .created_by = "alice",
          .retired_at = {}};
}

Approval Asked(std::uint64_t n, std::string requester = "key:ci") {
  Approval approval;
  approval.id = ApprovalId{Id128{n, n}};
  approval.policy = "support-monthly";
  approval.counter = "team=growth";
  approval.unit = config::QuotaUnit::kCredits;
  approval.requester = std::move(requester);
  approval.reason = "the launch's 'traffic'; DROP TABLE approvals";
  approval.asked_amount = 7'000;
  approval.asked_duration = Seconds(3'600);
  approval.asked_from = Instant{2'000};
  approval.asked_at = Instant{1'000};
  approval.decide_by = Instant{9'000};
  approval.rollback_owner = "carol";
  return approval;
}

Approval Granted(std::uint64_t n, ApprovalState state = ApprovalState::kActive) {
  Approval approval = Asked(n);
  approval.state = state;
  approval.decided_by = "bob";
  approval.decided_at = Instant{1'500};
  approval.decision = "half of it";
  approval.granted = {.amount = 3'500, .starts_at = Instant{2'000}, .ends_at = Instant{5'000}};
  return approval;
}

void ExpectSame(const Approval& a, const Approval& b) {
  EXPECT_EQ(a.id, b.id);
  EXPECT_EQ(a.policy, b.policy);
  EXPECT_EQ(a.counter, b.counter);
  EXPECT_EQ(a.unit, b.unit);
  EXPECT_EQ(a.requester, b.requester);
  EXPECT_EQ(a.reason, b.reason);
  EXPECT_EQ(a.asked_amount, b.asked_amount);
  EXPECT_EQ(a.asked_duration, b.asked_duration);
  EXPECT_EQ(a.asked_from, b.asked_from);
  EXPECT_EQ(a.asked_at, b.asked_at);
  EXPECT_EQ(a.decide_by, b.decide_by);
  EXPECT_EQ(a.state, b.state);
  EXPECT_EQ(a.decided_by, b.decided_by);
  EXPECT_EQ(a.decided_at, b.decided_at);
  EXPECT_EQ(a.decision, b.decision);
  ASSERT_EQ(a.granted.has_value(), b.granted.has_value());
  if (a.granted) {
    EXPECT_EQ(a.granted->amount, b.granted->amount);
    EXPECT_EQ(a.granted->starts_at, b.granted->starts_at);
    EXPECT_EQ(a.granted->ends_at, b.granted->ends_at);
  }
  EXPECT_EQ(a.rollback_owner, b.rollback_owner);
  EXPECT_EQ(a.ended_at, b.ended_at);
  EXPECT_EQ(a.ended_by, b.ended_by);
  EXPECT_EQ(a.review, b.review);
  EXPECT_EQ(a.reviewed_by, b.reviewed_by);
  EXPECT_EQ(a.reviewed_at, b.reviewed_at);
}

class PolicyStoreTest : public testing::Test {
 protected:
  PolicyStoreTest() {
    directory_ = (fs::temp_directory_path() /
                  ("weir_policy_store_test." + std::to_string(getpid()) + "." +
                   testing::UnitTest::GetInstance()->current_test_info()->name()))
                     .string();
    fs::create_directories(directory_);
    path_ = directory_ + "/policies.db";
  }
  ~PolicyStoreTest() override { fs::remove_all(directory_); }

  std::unique_ptr<PolicyStore> Open() {
    auto store = PolicyStore::Open(path_);
    EXPECT_TRUE(store) << store.error().detail;
    return store ? std::move(*store) : nullptr;
  }

  std::string directory_;
  std::string path_;
};

TEST_F(PolicyStoreTest, EveryVersion_IsKept_AndTheLastIsActive) {
  {
    const auto store = Open();
    EXPECT_EQ(*store->NextVersion("p"), 1U);
    ASSERT_TRUE(store->Put(Version("p", 1, R"({"limit":1})"), Event("policy.put")));
    ASSERT_TRUE(store->Put(Version("p", 2, R"({"limit":2})"), Event("policy.put")));
    ASSERT_TRUE(store->Put(Version("a", 1, R"({"limit":3})"), Event("policy.put")));
    EXPECT_EQ(*store->NextVersion("p"), 3U);
  }
  const auto store = Open();
  const auto active = store->Active();
  ASSERT_TRUE(active);
  ASSERT_EQ(active->size(), 2U);
  EXPECT_EQ(active->at(0).id, "a");
  EXPECT_EQ(active->at(1).version, 2U);
  EXPECT_EQ(active->at(1).json, R"({"limit":2})");
  EXPECT_EQ(active->at(1).created_by, "alice");
  EXPECT_EQ((*store->Find("p"))->version, 2U);
  EXPECT_FALSE(*store->Find("q"));
  EXPECT_FALSE(*store->Find(""));
  const auto versions = store->Versions("p");
  ASSERT_EQ(versions->size(), 2U);
  EXPECT_EQ(versions->at(0).version, 2U);
  EXPECT_FALSE(versions->at(0).retired_at);
  EXPECT_EQ(versions->at(1).json, R"({"limit":1})");
  EXPECT_EQ(versions->at(1).retired_at, Instant{2});
  EXPECT_TRUE(store->Versions("q")->empty());
  EXPECT_EQ(store->head().seq, 3);
}

TEST_F(PolicyStoreTest, AVersionThatIsNotTheNext_IsAConflictAndLeavesNoLine) {
  const auto store = Open();
  ASSERT_TRUE(store->Put(Version("p", 1), Event("policy.put")));
  for (const std::uint32_t wrong : {0U, 1U, 3U}) {
    const auto put = store->Put(Version("p", wrong), Event("policy.put"));
    ASSERT_FALSE(put);
    EXPECT_EQ(put.error().code, ErrorCode::kConflict);
  }
  EXPECT_EQ(store->Put(Version("p", 2, std::string(kPolicyJsonMax + 1, ' ')), Event("policy.put"))
                .error()
                .code,
            ErrorCode::kTooLarge);
  EXPECT_EQ((*store->Find("p"))->version, 1U);
  EXPECT_EQ(store->head().seq, 1);
}

TEST_F(PolicyStoreTest, ARetiredPolicy_GoesOnCountingItsVersions) {
  const auto store = Open();
  EXPECT_EQ(store->Retire("p", Event("policy.delete")).error().code, ErrorCode::kNotFound);
  ASSERT_TRUE(store->Put(Version("p", 1), Event("policy.put")));
  ASSERT_TRUE(store->Retire("p", Event("policy.delete")));
  EXPECT_FALSE(*store->Find("p"));
  EXPECT_TRUE(store->Active()->empty());
  EXPECT_EQ(store->Versions("p")->front().retired_at, Instant{1'000});
  EXPECT_EQ(store->Retire("p", Event("policy.delete")).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(*store->NextVersion("p"), 2U);
  ASSERT_TRUE(store->Put(Version("p", 2), Event("policy.put")));
  EXPECT_EQ(store->head().seq, 3);
}

TEST_F(PolicyStoreTest, Approvals_AreReadBackWithEveryField) {
  Approval ended = Granted(2, ApprovalState::kEnded);
  ended.ended_at = Instant{5'000};
  Approval reviewed = ended;
  reviewed.id = ApprovalId{Id128{3, 3}};
  reviewed.ended_by = "carol";
  reviewed.review = "spent 3 of 3.5, the launch went well";
  reviewed.reviewed_by = "dave";
  reviewed.reviewed_at = Instant{6'000};
  Approval plain = Asked(4);
  plain.asked_from.reset();
  plain.counter.clear();
  {
    const auto store = Open();
    for (const Approval& approval : {Asked(1), ended, reviewed, plain}) {
      ASSERT_TRUE(store->Insert(approval, Event("approval.request")));
    }
  }
  const auto store = Open();
  for (const Approval& approval : {Asked(1), ended, reviewed, plain}) {
    const auto found = store->Find(approval.id);
    ASSERT_TRUE(found && *found);
    ExpectSame(**found, approval);
  }
  EXPECT_FALSE(*store->Find(ApprovalId{Id128{9, 9}}));
}

TEST_F(PolicyStoreTest, Update_IsForTheStateThatWasSeen) {
  const auto store = Open();
  ASSERT_TRUE(store->Insert(Asked(1), Event("approval.request")));
  ASSERT_TRUE(store->Update(Granted(1), ApprovalState::kRequested, Event("approval.approve")));
  ExpectSame(**store->Find(ApprovalId{Id128{1, 1}}), Granted(1));
  // Another operator's answer comes second.
  Approval denied = Asked(1);
  denied.state = ApprovalState::kDenied;
  const auto late = store->Update(denied, ApprovalState::kRequested, Event("approval.deny"));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::kConflict);
  EXPECT_EQ(store->Update(Granted(7), ApprovalState::kRequested, Event("x")).error().code,
            ErrorCode::kNotFound);
  ExpectSame(**store->Find(ApprovalId{Id128{1, 1}}), Granted(1));
  EXPECT_EQ(store->head().seq, 2);
}

TEST_F(PolicyStoreTest, List_IsNewestFirstByStateAndInPages) {
  const auto store = Open();
  Approval reviewed = Granted(4, ApprovalState::kEnded);
  reviewed.ended_at = Instant{5'000};
  reviewed.review = "fine";
  reviewed.reviewed_by = "dave";
  reviewed.reviewed_at = Instant{6'000};
  Approval ended = Granted(3, ApprovalState::kEnded);
  ended.ended_at = Instant{5'000};
  for (const Approval& approval : {Asked(1), Granted(2), ended, reviewed, Asked(5)}) {
    ASSERT_TRUE(store->Insert(approval, Event("approval.request")));
  }
  const auto ids = [&](const ApprovalQuery& query) {
    std::string out;
    const auto listed = store->List(query);
    EXPECT_TRUE(listed);
    for (const Approval& approval : *listed) out += std::to_string(approval.id.low);
    return out;
  };
  EXPECT_EQ(ids({}), "54321");
  EXPECT_EQ(ids({.state = ApprovalState::kRequested}), "51");
  EXPECT_EQ(ids({.state = ApprovalState::kExpired}), "");
  EXPECT_EQ(ids({.review_missing = true}), "3");
  EXPECT_EQ(ids({.limit = 2}), "54");
  EXPECT_EQ(ids({.before = ApprovalId{Id128{4, 4}}, .limit = 2}), "32");
  EXPECT_EQ(ids({.state = ApprovalState::kRequested, .before = ApprovalId{Id128{5, 5}}}), "1");
  std::string granted;
  for (const Approval& approval : *store->Granted()) granted += std::to_string(approval.id.low);
  EXPECT_EQ(granted, "2");
}

TEST_F(PolicyStoreTest, Due_IsWhatTimeHasMovedOn) {
  const auto store = Open();
  Approval waiting = Granted(2, ApprovalState::kApproved);
  ASSERT_TRUE(store->Insert(Asked(1), Event("approval.request")));    // to be decided by 9,000
  ASSERT_TRUE(store->Insert(waiting, Event("approval.request")));     // begins at 2,000
  ASSERT_TRUE(store->Insert(Granted(3), Event("approval.request")));  // ends at 5,000
  Approval denied = Asked(4);
  denied.state = ApprovalState::kDenied;
  ASSERT_TRUE(store->Insert(denied, Event("approval.request")));
  const auto due = [&](std::int64_t now) {
    std::string out;
    for (const Approval& approval : *store->Due(Instant{now})) {
      out += std::to_string(approval.id.low);
    }
    return out;
  };
  EXPECT_EQ(due(1'999), "");
  EXPECT_EQ(due(2'000), "2");
  EXPECT_EQ(due(4'999), "2");
  EXPECT_EQ(due(5'000), "23");
  EXPECT_EQ(due(8'999), "23");
  EXPECT_EQ(due(9'000), "123");
}

TEST_F(PolicyStoreTest, OneRequester_CannotFillTheList) {
  const auto store = Open();
  for (std::int64_t i = 0; i < kOpenApprovalsMax; ++i) {
    ASSERT_TRUE(store->Insert(Asked(static_cast<std::uint64_t>(i + 1)), Event("x")));
  }
  const auto more = store->Insert(Asked(100), Event("x"));
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().code, ErrorCode::kConflict);
  EXPECT_THAT(more.error().detail, HasSubstr("20 requests wait for a decision"));
  EXPECT_TRUE(store->Insert(Asked(100, "key:other"), Event("x")));
  // One decided makes room for one.
  ASSERT_TRUE(store->Update(Granted(1), ApprovalState::kRequested, Event("approval.approve")));
  EXPECT_TRUE(store->Insert(Asked(101), Event("x")));
}

// The line cannot be written: then neither is the change.
TEST_F(PolicyStoreTest, NoLine_NoChange) {
  const auto store = Open();
  ASSERT_TRUE(store->Put(Version("p", 1), Event("policy.put")));
  {
    auto db = OpenSqlite(path_);
    ASSERT_TRUE(db);
    ASSERT_TRUE(Execute(db->get(),
                        "CREATE TRIGGER deny BEFORE INSERT ON audit "
                        "BEGIN SELECT RAISE(ABORT, 'denied'); END"));
  }
  EXPECT_EQ(store->Put(Version("p", 2), Event("policy.put")).error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(store->Retire("p", Event("policy.delete")).error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(store->Insert(Asked(1), Event("x")).error().code, ErrorCode::kUnavailable);
  EXPECT_FALSE(store->Note(Event("x")));
  EXPECT_EQ((*store->Find("p"))->version, 1U);
  EXPECT_TRUE(store->List({})->empty());
  EXPECT_EQ(store->head().seq, 1);
}

TEST_F(PolicyStoreTest, Lines_FollowOneAnotherAcrossStarts) {
  {
    ASSERT_TRUE(Open()->Put(Version("p", 1), Event("policy.put")));
  }
  {
    ASSERT_TRUE(Open()->Insert(Asked(1), Event("approval.request", "approval:1")));
  }
  const auto store = Open();
  ASSERT_TRUE(store->Note(Event("auth.refused", "route:GET /admin/v1/keys")));
  EXPECT_EQ(store->head().seq, 3);
  const auto check = VerifyAudit(path_, std::nullopt);
  ASSERT_TRUE(check);
  EXPECT_EQ(check->head, store->head());
  EXPECT_EQ(check->first_bad, 0);
}

TEST_F(PolicyStoreTest, ADamagedApproval_IsSaid) {
  const auto store = Open();
  ASSERT_TRUE(store->Insert(Asked(1), Event("x")));
  {
    auto db = OpenSqlite(path_);
    ASSERT_TRUE(db);
    ASSERT_TRUE(Execute(db->get(), "UPDATE approvals SET unit = 99"));
  }
  const auto listed = store->List({});
  ASSERT_FALSE(listed);
  EXPECT_THAT(listed.error().detail, HasSubstr("restore the file from a backup"));
}

}  // namespace
}  // namespace weir::store
