#include "config/with_policies.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Policy Named(std::string id, QuotaUnit unit = QuotaUnit::kUsd) {
  Policy policy;
  policy.id = std::move(id);
  policy.unit = unit;
  policy.limit = 10;
  return policy;
}

StoredRaise Raised(std::string policy, QuotaUnit unit = QuotaUnit::kUsd, std::int64_t amount = 5) {
  return {.raise = {.approval = "apr_1",
                    .policy = std::move(policy),
                    .values = "team=growth",
                    .amount = amount,
                    .from = Instant{100},
                    .to = Instant{200}},
          .unit = unit};
}

Config File() {
  Config config;
  config.policies = {Named("f1"), Named("f2", QuotaUnit::kRequests)};
  config.models.push_back({.id = "small"});
  return config;
}

std::string Ids(const Config& config) {
  std::string out;
  for (const Policy& policy : config.policies) out += policy.id + (policy.stored ? "* " : " ");
  return out;
}

TEST(WithPolicies, TheFilesComeFirst_ThenTheStoredOnes) {
  const std::vector<Policy> stored = {Named("s1"), Named("s2")};
  const auto reply = WithPolicies(File(), stored, {});
  EXPECT_EQ(Ids(reply.config), "f1 f2 s1* s2* ");
  EXPECT_EQ(reply.config.models.size(), 1U);
  EXPECT_THAT(reply.left_out, IsEmpty());
}

TEST(WithPolicies, TheFileWins) {
  std::vector<Policy> stored = {Named("f1"), Named("s1")};
  stored[0].limit = 99;
  const auto reply = WithPolicies(File(), stored, {});
  EXPECT_EQ(Ids(reply.config), "f1 f2 s1* ");
  EXPECT_EQ(reply.config.policies[0].limit, 10);
  EXPECT_THAT(reply.left_out, ElementsAre(HasSubstr("f1 is not in force: the file has one")));
}

TEST(WithPolicies, OnItsOwnResult_ReplacesWhatWasStored) {
  const std::vector<Policy> before = {Named("s1"), Named("s2")};
  const std::vector<StoredRaise> raises = {Raised("s1")};
  auto reply = WithPolicies(File(), before, raises);
  EXPECT_EQ(reply.config.raises.size(), 1U);
  const std::vector<Policy> after = {Named("s3")};
  reply = WithPolicies(std::move(reply.config), after, {});
  EXPECT_EQ(Ids(reply.config), "f1 f2 s3* ");
  EXPECT_THAT(reply.config.raises, IsEmpty());
}

// A limit that could not be kept as it was written must not become no limit.
TEST(WithPolicies, ADegradeToAModelThatIsGone_Blocks) {
  std::vector<Policy> stored = {Named("s1"), Named("s2")};
  stored[0].action = stored[1].action = PolicyAction::kDegrade;
  stored[0].degrade_to = "small";
  stored[1].degrade_to = "gone";
  const auto reply = WithPolicies(File(), stored, {});
  EXPECT_EQ(reply.config.policies[2].action, PolicyAction::kDegrade);
  EXPECT_EQ(reply.config.policies[3].action, PolicyAction::kBlock);
  EXPECT_THAT(reply.left_out, ElementsAre(HasSubstr("s2 blocks: the model gone")));
}

TEST(WithPolicies, MoreThanThereMayBe_AreLeftOut) {
  Config file;
  for (std::size_t i = 0; i + 1 < kPoliciesMax; ++i) {
    file.policies.push_back(Named("f" + std::to_string(i)));
  }
  const std::vector<Policy> stored = {Named("s1"), Named("s2")};
  const std::vector<StoredRaise> raises = {Raised("s2")};
  const auto reply = WithPolicies(std::move(file), stored, raises);
  EXPECT_EQ(reply.config.policies.size(), kPoliciesMax);
  EXPECT_THAT(reply.left_out, ElementsAre(HasSubstr("s2 is not in force: there are too many"),
                                          HasSubstr("has no effect: its policy is gone")));
}

TEST(WithPolicies, ARaise_IsOfAPolicyThatIsThere_InItsUnit) {
  const std::vector<Policy> stored = {Named("s1")};
  std::vector<StoredRaise> raises = {
      Raised("f1"), Raised("s1"), Raised("f2"), Raised("gone"), Raised("f1", QuotaUnit::kUsd, 0),
      Raised("f1")};
  raises[5].raise.to = raises[5].raise.from;
  const auto reply = WithPolicies(File(), stored, raises);
  ASSERT_EQ(reply.config.raises.size(), 2U);
  EXPECT_EQ(reply.config.raises[0].policy, "f1");
  EXPECT_EQ(reply.config.raises[0].values, "team=growth");
  EXPECT_EQ(reply.config.raises[1].policy, "s1");
  EXPECT_THAT(reply.left_out,
              ElementsAre(HasSubstr("of more of f2 has no effect: its policy counts another unit"),
                          HasSubstr("of more of gone has no effect: its policy is gone"),
                          HasSubstr("it allows nothing"), HasSubstr("it allows nothing")));
}

}  // namespace
}  // namespace weir::config
