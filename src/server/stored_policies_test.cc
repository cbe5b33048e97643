#include "server/stored_policies.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/check.h"
#include "config/policy_text.h"
#include "store/time_zones.h"

namespace weir::server {
namespace {

using ::testing::HasSubstr;

config::Config File() {
  config::Config config;
  config.models.push_back({.id = "big"});
  config.models.push_back({.id = "small"});
  return config;
}

store::AuditEvent Event() {
  return {.at = Instant{1},
          .actor = "alice",
          .action = "x",
          .object = "y",
          .before = {},
          .after = {},
          .reason = {},
          .outcome = "done"};
}

class StoredPoliciesTest : public testing::Test {
 protected:
  StoredPoliciesTest() {
    auto opened = store::PolicyStore::Open(":memory:");
    CHECK(opened.has_value(), "an in-memory database opens");
    store_ = std::move(*opened);
  }
  void Put(std::string id, std::uint32_t version, std::string json) {
    const auto put = store_->Put({.id = std::move(id),
                                  .version = version,
                                  .json = std::move(json),
                                  .created_at = Instant{1},
                                  .created_by = "alice",
                                  .retired_at = {}},
                                 Event());
    ASSERT_TRUE(put) << put.error().detail;
  }
  std::unique_ptr<store::PolicyStore> store_;
};

TEST_F(StoredPoliciesTest, EveryActivePolicy_IsReadWithItsVersion) {
  Put("p", 1, R"({"id":"p","unit":"usd","limit":"1"})");
  Put("p", 2, R"({"id":"p","unit":"usd","limit":"2.5","match":{"team":["a"]},"version":7})");
  Put("gone", 1, R"({"id":"gone","unit":"usd","limit":"1"})");
  ASSERT_TRUE(store_->Retire("gone", Event()));
  const auto stored = ReadStoredPolicies(*store_, File(), store::FindZone);
  ASSERT_TRUE(stored) << stored.error().detail;
  ASSERT_EQ(stored->policies.size(), 1U);
  EXPECT_EQ(stored->policies[0].limit, 2'500'000'000);
  EXPECT_EQ(stored->policies[0].version, 2U);  // the store's, whatever the text says
  EXPECT_TRUE(stored->policies[0].stored);
  EXPECT_TRUE(stored->raises.empty());
}

TEST_F(StoredPoliciesTest, WhatFormatPolicyWrites_ReadsBack) {
  config::Policy policy = *ReadPolicy(
      R"({"id":"p","unit":"usd","limit":"0.000000001","window":"day","timezone":"Europe/Berlin",
          "per":["team"],"action":"degrade","degrade_to":"small","note":"a \"b\" \u00fc"})",
      File(), store::FindZone);
  policy.version = 3;
  Put("p", 1, config::FormatPolicy(policy));
  const auto stored = ReadStoredPolicies(*store_, File(), store::FindZone);
  ASSERT_TRUE(stored) << stored.error().detail;
  policy.version = 1;
  EXPECT_EQ(config::FormatPolicy(stored->policies[0]), config::FormatPolicy(policy));
}

// To leave it out would be to have no limit.
TEST_F(StoredPoliciesTest, APolicyThatDoesNotFitTheFile_IsNotLeftOut) {
  Put("p", 1, R"({"id":"p","unit":"usd","limit":"1","match":{"model":["big"]}})");
  EXPECT_TRUE(ReadStoredPolicies(*store_, File(), store::FindZone));
  config::Config without = File();
  without.models.erase(without.models.begin());
  const auto stored = ReadStoredPolicies(*store_, without, store::FindZone);
  ASSERT_FALSE(stored);
  EXPECT_EQ(stored.error().code, ErrorCode::kConflict);
  EXPECT_THAT(stored.error().detail, HasSubstr("the policy p (version 1)"));
  EXPECT_THAT(stored.error().detail, HasSubstr("big"));
  EXPECT_THAT(stored.error().detail, HasSubstr("Put back what it names"));
}

TEST_F(StoredPoliciesTest, WhatIsApproved_IsARaise) {
  store::Approval approval;
  approval.id = store::ApprovalId{Id128{1, 1}};
  approval.policy = "p";
  approval.counter = "team=a";
  approval.unit = config::QuotaUnit::kRequests;
  approval.requester = "alice";
  approval.reason = "x";
  approval.asked_amount = 5;
  approval.asked_duration = Seconds(60);
  approval.state = store::ApprovalState::kRequested;
  ASSERT_TRUE(store_->Insert(approval, Event()));
  EXPECT_TRUE(ReadStoredPolicies(*store_, File(), store::FindZone)->raises.empty());
  approval.state = store::ApprovalState::kActive;
  approval.decided_by = "bob";
  approval.decided_at = Instant{1};
  approval.granted = {.amount = 4, .starts_at = Instant{2}, .ends_at = Instant{3}};
  ASSERT_TRUE(store_->Update(approval, store::ApprovalState::kRequested, Event()));
  const auto stored = ReadStoredPolicies(*store_, File(), store::FindZone);
  ASSERT_EQ(stored->raises.size(), 1U);
  EXPECT_EQ(stored->raises[0].unit, config::QuotaUnit::kRequests);
  EXPECT_EQ(stored->raises[0].raise.amount, 4);
  EXPECT_EQ(stored->raises[0].raise.values, "team=a");
}

}  // namespace
}  // namespace weir::server
