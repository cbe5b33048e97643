// Approvals from their request to their review, over the real store. Time is a variable.

#include "server/approvals.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/check.h"

namespace weir::server {
namespace {

using store::Approval;
using store::ApprovalState;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Kind = ApprovalFault::Kind;

constexpr Instant kStart{1'767'225'600'000'000'000};  // 2026-01-01T00:00:00Z
constexpr Duration kHour = Seconds(3'600);
constexpr Duration kDay = Seconds(86'400);
constexpr std::int64_t kUsd = 1'000'000'000;

class ApprovalsTest : public testing::Test {
 protected:
  ApprovalsTest() {
    config::Policy monthly;
    monthly.id = "growth-monthly";
    monthly.owner = "growth-lead";
    monthly.unit = config::QuotaUnit::kUsd;
    monthly.limit = 100 * kUsd;
    monthly.per = {config::Dimension::kTeam};
    config::Policy daily = monthly;
    daily.id = "growth-daily";
    daily.window.kind = config::WindowKind::kDay;
    daily.approval.amount_max = 50 * kUsd;
    daily.approval.approvers = {"bob", "carol"};
    config::Policy requests;
    requests.id = "requests";
    requests.unit = config::QuotaUnit::kRequests;
    requests.limit = 10;
    config::Config config;
    config.policies = {monthly, daily, requests};
    Use(std::move(config));
    auto opened = store::PolicyStore::Open(":memory:");
    CHECK(opened.has_value(), "an in-memory database opens");
    store_ = std::move(*opened);
    approvals_ = std::make_unique<Approvals>(
        *store_, Approvals::Options{
                     .now = [this] { return now_; },
                     .random = [this]() -> Result<std::array<std::uint8_t, 32>> {
                       std::array<std::uint8_t, 32> bytes{};
                       bytes[0] = ++random_;
                       return bytes;
                     },
                     .config = [this] { return config_; },
                     .changed = [this]() -> Result<void> {
                       ++published_;
                       if (broken_)
                         return Fail(ErrorCode::kUnavailable, ErrorSource::kUs, "broken");
                       return {};
                     },
                     .tell = [this](const telemetry::Event& event) { events_.push_back(event); }});
  }

  void Use(config::Config config) {
    config_ = std::make_shared<const config::Config>(std::move(config));
  }

  ApprovalAsk Wanted(std::string policy = "growth-monthly") {
    return {.policy = std::move(policy),
            .counter = "team=growth",
            .amount = 20 * kUsd,
            .duration = kDay,
            .from = {},
            .reason = "launch",
            .requester = "alice",
            .rollback_owner = {}};
  }
  Approval Asked(const ApprovalAsk& ask) {
    auto asked = approvals_->Ask(ask);
    EXPECT_TRUE(asked) << asked.error().detail;
    return asked ? *asked : Approval();
  }
  Approval Stored(const store::ApprovalId& id) {
    auto found = store_->Find(id);
    EXPECT_TRUE(found && *found);
    return **found;
  }
  template <class T>
  void ExpectFault(const ApprovalResult<T>& result, Kind kind, std::string_view said) {
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().kind, kind) << result.error().detail;
    EXPECT_THAT(result.error().member + " " + result.error().detail, HasSubstr(std::string(said)));
  }
  std::vector<std::string> Types() {
    std::vector<std::string> types;
    for (const telemetry::Event& event : events_) types.push_back(event.type);
    return types;
  }
  std::vector<std::string> Trail() {
    std::vector<std::string> lines;
    for (const store::AuditRow& row : *store_->Audit(0, 100)) {
      lines.push_back(row.event.actor + " " + row.event.action);
    }
    return lines;
  }

  std::shared_ptr<const config::Config> config_;
  std::unique_ptr<store::PolicyStore> store_;
  Instant now_ = kStart;
  std::uint8_t random_ = 0;
  int published_ = 0;
  bool broken_ = false;
  std::vector<telemetry::Event> events_;
  std::unique_ptr<Approvals> approvals_;
};

TEST_F(ApprovalsTest, Ask_IsWrittenAndTold_AndGrantsNothing) {
  const Approval asked = Asked(Wanted());
  EXPECT_EQ(asked.state, ApprovalState::kRequested);
  EXPECT_EQ(asked.asked_at, kStart);
  EXPECT_EQ(asked.decide_by, kStart + Seconds(7 * 86'400));
  EXPECT_EQ(asked.rollback_owner, "growth-lead");
  EXPECT_EQ(ApprovalJson(Stored(asked.id)), ApprovalJson(asked));
  EXPECT_EQ(published_, 0);
  EXPECT_THAT(*store_->Granted(), IsEmpty());
  EXPECT_THAT(Types(), ElementsAre("approval.requested"));
  EXPECT_EQ(events_[0].data, ApprovalJson(asked));
  EXPECT_THAT(Trail(), ElementsAre("alice approval.request"));
}

TEST_F(ApprovalsTest, Ask_RefusesWhatCannotBe) {
  struct Case {
    std::function<void(ApprovalAsk&)> change;
    Kind kind;
    std::string_view said;
  };
  for (const Case& c : std::initializer_list<Case>{
           {[](auto& a) { a.policy = "nope"; }, Kind::kNotFound, "no policy of this id"},
           {[](auto& a) { a.amount = 0; }, Kind::kInvalid, "amount must be above 0"},
           {[](auto& a) { a.amount = -1; }, Kind::kInvalid, "amount must be above 0"},
           {[](auto& a) { a.amount = INT64_MAX; }, Kind::kInvalid, "amount must be above 0"},
           {[](auto& a) { a.duration = {}; }, Kind::kInvalid, "duration must be above 0"},
           {[](auto& a) { a.duration = Seconds(8 * 86'400); }, Kind::kInvalid,
            "duration is longer than the policy lets anybody approve"},
           {[](auto& a) { a.from = Instant{kStart.ns - 1}; }, Kind::kInvalid,
            "from must be in the"},
           {[](auto& a) { a.from = kStart + Seconds(400 * 86'400); }, Kind::kInvalid, "within a"},
           {[](auto& a) { a.counter = "user=ada"; }, Kind::kInvalid, "such as \"team=...\""},
           {[](auto& a) { a.reason = ""; }, Kind::kInvalid, "reason is missing"},
           {[](auto& a) { a.reason = std::string(2'001, 'x'); }, Kind::kInvalid, "reason has more"},
           {[](auto& a) { a.reason = std::string("a\0b", 3); }, Kind::kInvalid, "control"},
           {[](auto& a) { a.rollback_owner = "\x1b"; }, Kind::kInvalid, "rollback_owner must not"},
       }) {
    ApprovalAsk ask = Wanted();
    c.change(ask);
    ExpectFault(approvals_->Ask(ask), c.kind, c.said);
  }
  ApprovalAsk ask = Wanted("requests");
  ExpectFault(approvals_->Ask(ask), Kind::kInvalid, "the policy has one counter for all");
  EXPECT_THAT(events_, IsEmpty());
  EXPECT_EQ(store_->head().seq, 0);
}

// Each window of the time gets the amount, so it is all of them that the rule bounds.
TEST_F(ApprovalsTest, AmountMax_BoundsWhatAllWindowsGetTogether) {
  ApprovalAsk ask = Wanted("growth-daily");
  ask.amount = 50 * kUsd;
  EXPECT_EQ(Asked(ask).state, ApprovalState::kRequested);  // from midnight, a day: one window
  ask.amount = 50 * kUsd + 1;
  ExpectFault(approvals_->Ask(ask), Kind::kInvalid, "amount is more than the policy lets");
  ask.amount = 20 * kUsd;
  ask.duration = Seconds(3 * 86'400);
  ExpectFault(approvals_->Ask(ask), Kind::kInvalid, "the time touches 3 windows");
  ask.amount = 16 * kUsd;
  Asked(ask);
  // Begun in the middle of a day it touches one more; by then it is decided anew.
  const Approval tight = Asked([&] {
    ApprovalAsk whole = Wanted("growth-daily");
    whole.amount = 50 * kUsd;
    return whole;
  }());
  now_ = kStart + kHour;
  ExpectFault(approvals_->Approve(tight.id, "bob", {}), Kind::kInvalid, "touches 2 windows");
  EXPECT_TRUE(approvals_->Approve(tight.id, "bob", {.amount = 25 * kUsd}));
}

TEST_F(ApprovalsTest, Approve_PutsItInForceAtOnce) {
  const Approval asked = Asked(Wanted());
  now_ = kStart + kHour;
  const auto approved = approvals_->Approve(asked.id, "bob",
                                            {.amount = 5 * kUsd,
                                             .duration = kHour,
                                             .from = {},
                                             .rollback_owner = "dave",
                                             .note = "a quarter of it"});
  ASSERT_TRUE(approved) << approved.error().detail;
  EXPECT_EQ(approved->state, ApprovalState::kActive);
  EXPECT_EQ(approved->decided_by, "bob");
  EXPECT_EQ(approved->granted->amount, 5 * kUsd);
  EXPECT_EQ(approved->granted->starts_at, now_);
  EXPECT_EQ(approved->granted->ends_at, now_ + kHour);
  EXPECT_EQ(approved->rollback_owner, "dave");
  EXPECT_EQ(published_, 1);
  EXPECT_THAT(Types(), ElementsAre("approval.requested", "approval.decided"));
  EXPECT_NE(events_[0].id, events_[1].id);
  const config::Raise raise = RaiseOf(store_->Granted()->front());
  EXPECT_EQ(raise.approval, ApprovalIdText(asked.id));
  EXPECT_EQ(raise.policy, "growth-monthly");
  EXPECT_EQ(raise.values, "team=growth");
  EXPECT_EQ(raise.amount, 5 * kUsd);
  EXPECT_EQ(raise.from, now_);
  EXPECT_EQ(raise.to, now_ + kHour);
  EXPECT_THAT(Trail(), ElementsAre("bob approval.approve", "alice approval.request"));
}

TEST_F(ApprovalsTest, WhoAsked_CannotApprove_ButMayTakeItBack) {
  const Approval asked = Asked(Wanted());
  ExpectFault(approvals_->Approve(asked.id, "alice", {}), Kind::kForbidden, "somebody else");
  EXPECT_EQ(Stored(asked.id).state, ApprovalState::kRequested);
  EXPECT_EQ(published_, 0);
  const auto denied = approvals_->Deny(asked.id, "alice", "not needed any more");
  ASSERT_TRUE(denied);
  EXPECT_EQ(denied->state, ApprovalState::kDenied);
  EXPECT_EQ(denied->decision, "not needed any more");
  EXPECT_THAT(Types(), ElementsAre("approval.requested", "approval.decided"));
}

TEST_F(ApprovalsTest, OnlyThePolicysApprovers_Approve) {
  const Approval asked = Asked(Wanted("growth-daily"));
  ExpectFault(approvals_->Approve(asked.id, "admin", {}), Kind::kForbidden,
              "Only these approve more of this policy: bob, carol");
  EXPECT_TRUE(approvals_->Approve(asked.id, "carol", {}));
  // One who is named but has asked is still the one who asked.
  ApprovalAsk own = Wanted("growth-daily");
  own.requester = "bob";
  ExpectFault(approvals_->Approve(Asked(own).id, "bob", {}), Kind::kForbidden, "somebody else");
}

TEST_F(ApprovalsTest, ADecision_MayOnlyLowerWhatWasAskedFor) {
  const Approval asked = Asked(Wanted());
  for (const auto& [answer, said] : std::initializer_list<std::pair<ApprovalAnswer, const char*>>{
           {{.amount = 20 * kUsd + 1}, "amount must be above 0, and at most"},
           {{.amount = 0}, "amount must be above 0"},
           {{.duration = kDay + Duration{1}}, "duration must be above 0, and at most"},
           {{.duration = Duration{}}, "duration must be above 0"},
           {{.from = Instant{kStart.ns - 1}}, "from must be in the future"},
           {{.note = std::string(3'000, 'x')}, "note has more than"},
           {{.rollback_owner = "\n\x01"}, "rollback_owner must not"}}) {
    ExpectFault(approvals_->Approve(asked.id, "bob", answer), Kind::kInvalid, said);
  }
  EXPECT_EQ(Stored(asked.id).state, ApprovalState::kRequested);
  EXPECT_TRUE(approvals_->Approve(asked.id, "bob", {.amount = 1}));
}

TEST_F(ApprovalsTest, OneDecision_AndNoOther) {
  const Approval asked = Asked(Wanted());
  ASSERT_TRUE(approvals_->Approve(asked.id, "bob", {}));
  ExpectFault(approvals_->Approve(asked.id, "carol", {}), Kind::kConflict, "It is active");
  ExpectFault(approvals_->Deny(asked.id, "carol", ""), Kind::kConflict, "It is active");
  const Approval other = Asked(Wanted());
  ASSERT_TRUE(approvals_->Deny(other.id, "bob", ""));
  ExpectFault(approvals_->Approve(other.id, "bob", {}), Kind::kConflict, "It was denied");
  ExpectFault(approvals_->End(other.id, "bob", ""), Kind::kConflict, "nothing to end");
  const store::ApprovalId none{Id128{9, 9}};
  ExpectFault(approvals_->Approve(none, "bob", {}), Kind::kNotFound, "no approval");
  ExpectFault(approvals_->Deny(none, "bob", ""), Kind::kNotFound, "no approval");
  ExpectFault(approvals_->End(none, "bob", ""), Kind::kNotFound, "no approval");
  ExpectFault(approvals_->Review(none, "bob", "x"), Kind::kNotFound, "no approval");
}

TEST_F(ApprovalsTest, WhatWasAskedForOfAPolicyThatIsGone_CannotBeApproved) {
  const Approval asked = Asked(Wanted());
  config::Config config = *config_;
  config.policies[0].unit = config::QuotaUnit::kCredits;
  Use(config);
  ExpectFault(approvals_->Approve(asked.id, "bob", {}), Kind::kConflict, "counts another unit");
  config.policies.erase(config.policies.begin());
  Use(config);
  ExpectFault(approvals_->Approve(asked.id, "bob", {}), Kind::kConflict, "is gone");
  EXPECT_TRUE(approvals_->Deny(asked.id, "bob", "its policy is gone"));
}

TEST_F(ApprovalsTest, ATimeAhead_IsApprovedNowAndActiveThen) {
  ApprovalAsk ask = Wanted();
  ask.from = kStart + kDay;
  const Approval asked = Asked(ask);
  const auto approved = approvals_->Approve(asked.id, "bob", {});
  ASSERT_TRUE(approved);
  EXPECT_EQ(approved->state, ApprovalState::kApproved);
  EXPECT_EQ(approved->granted->starts_at, kStart + kDay);
  // In the configuration already: the raise has its beginning.
  EXPECT_EQ(store_->Granted()->size(), 1U);
  now_ = Instant{(kStart + kDay).ns - 1};
  EXPECT_EQ(*approvals_->Sweep(), 0U);
  now_ = kStart + kDay;
  EXPECT_EQ(*approvals_->Sweep(), 1U);
  EXPECT_EQ(Stored(asked.id).state, ApprovalState::kActive);
  now_ = kStart + kDay + kDay;
  EXPECT_EQ(*approvals_->Sweep(), 1U);
  EXPECT_EQ(Stored(asked.id).state, ApprovalState::kEnded);
  EXPECT_EQ(*approvals_->Sweep(), 0U);
  EXPECT_THAT(Trail(), ElementsAre("weir approval.end", "weir approval.begin",
                                   "bob approval.approve", "alice approval.request"));
}

// Down for longer than the time lasted: it was never active, and is booked as ended when it did.
TEST_F(ApprovalsTest, WhatEndedUnnoticed_EndsWhenItDid) {
  ApprovalAsk ask = Wanted();
  ask.from = kStart + kDay;
  const Approval asked = Asked(ask);
  ASSERT_TRUE(approvals_->Approve(asked.id, "bob", {}));
  now_ = kStart + Seconds(30 * 86'400);
  EXPECT_EQ(*approvals_->Sweep(), 1U);
  const Approval ended = Stored(asked.id);
  EXPECT_EQ(ended.state, ApprovalState::kEnded);
  EXPECT_EQ(ended.ended_at, kStart + kDay + kDay);
  EXPECT_EQ(ended.ended_by, "");
  EXPECT_THAT(Types(), ElementsAre("approval.requested", "approval.decided", "approval.expired"));
  EXPECT_THAT(*store_->Granted(), IsEmpty());
}

TEST_F(ApprovalsTest, NobodyDecided_IsExpired) {
  const Approval asked = Asked(Wanted());
  now_ = asked.decide_by;
  // Too late also before the sweep has come by.
  ExpectFault(approvals_->Approve(asked.id, "bob", {}), Kind::kConflict, "nobody decided in time");
  EXPECT_EQ(*approvals_->Sweep(), 1U);
  EXPECT_EQ(Stored(asked.id).state, ApprovalState::kExpired);
  ExpectFault(approvals_->Approve(asked.id, "bob", {}), Kind::kConflict, "nobody decided in time");
  EXPECT_THAT(Types(), ElementsAre("approval.requested", "approval.expired"));
  EXPECT_THAT(events_[1].data, HasSubstr("\"state\":\"expired\""));
}

TEST_F(ApprovalsTest, EndedEarly_IsOutOfForce_AndThenReviewed) {
  const Approval asked = Asked(Wanted());
  ASSERT_TRUE(approvals_->Approve(asked.id, "bob", {}));
  ExpectFault(approvals_->Review(asked.id, "bob", "fine"), Kind::kConflict,
              "is reviewed when it has ended");
  now_ = kStart + kHour;
  const auto ended = approvals_->End(asked.id, "carol", "launch is over");
  ASSERT_TRUE(ended);
  EXPECT_EQ(ended->state, ApprovalState::kEnded);
  EXPECT_EQ(ended->ended_at, now_);
  EXPECT_EQ(ended->ended_by, "carol");
  EXPECT_EQ(published_, 2);
  EXPECT_THAT(*store_->Granted(), IsEmpty());
  EXPECT_EQ(store_->List({.review_missing = true})->size(), 1U);
  ExpectFault(approvals_->Review(asked.id, "bob", ""), Kind::kInvalid, "text is missing");
  const auto reviewed = approvals_->Review(asked.id, "alice", "3 of 20 were spent");
  ASSERT_TRUE(reviewed);
  EXPECT_THAT(ApprovalJson(*reviewed), HasSubstr("3 of 20 were spent"));
  ExpectFault(approvals_->Review(asked.id, "bob", "again"), Kind::kConflict,
              "reviewed already, by alice");
  EXPECT_TRUE(store_->List({.review_missing = true})->empty());
  EXPECT_THAT(Types(), ElementsAre("approval.requested", "approval.decided", "approval.expired"));
}

TEST_F(ApprovalsTest, WhatCannotBePutInForce_IsNotToldAsDone) {
  const Approval asked = Asked(Wanted());
  broken_ = true;
  ExpectFault(approvals_->Approve(asked.id, "bob", {}), Kind::kUnavailable, "broken");
  EXPECT_THAT(Types(), ElementsAre("approval.requested"));
}

TEST_F(ApprovalsTest, AsJson_AmountsAreTextsOfTheUnit) {
  ApprovalAsk ask = Wanted();
  ask.amount = 12'500'000'000;
  const Approval asked = Asked(ask);
  EXPECT_THAT(ApprovalJson(asked), HasSubstr(R"("asked":{"amount":"12.5","duration":")"));
  EXPECT_THAT(ApprovalJson(asked), HasSubstr(R"("granted":null)"));
  EXPECT_THAT(ApprovalJson(asked), HasSubstr(R"("spent":null)"));
  EXPECT_THAT(ApprovalJson(asked, 3 * kUsd), HasSubstr(R"("spent":"3")"));
  const auto id = ParseApprovalId(ApprovalIdText(asked.id));
  ASSERT_TRUE(id);
  EXPECT_EQ(*id, asked.id);
  EXPECT_EQ(ParseApprovalId(ToString(asked.id)), asked.id);
  EXPECT_FALSE(ParseApprovalId("apr_x"));
  EXPECT_FALSE(ParseApprovalId(""));
}

}  // namespace
}  // namespace weir::server
