// What the owner of a key asks for, through the desk's thread and back.
#include "server/approval_desk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <future>

#include "base/check.h"
#include "identity/key_record.h"
#include "store/request_log.h"

namespace weir::server {
namespace {

using gateway::ApprovalReply;
using gateway::ApprovalStatus;
using ::testing::HasSubstr;

constexpr Instant kNow{1'800'000'000'000'000'000};

std::shared_ptr<const identity::KeyRecord> Key(std::string name) {
  auto key = std::make_shared<identity::KeyRecord>();
  key->id = KeyId{{1, name.size()}};
  key->name = std::move(name);
  return key;
}

class ApprovalDeskTest : public testing::Test {
 protected:
  ApprovalDeskTest()
      : folder_(testing::TempDir() + "approval_desk_" + std::to_string(::getpid()) + "_" +
                testing::UnitTest::GetInstance()->current_test_info()->name()) {
    std::filesystem::create_directory(folder_);
    log_ = *store::RequestLog::Open(folder_ + "/requests.db");
    store_ = *store::PolicyStore::Open(":memory:");
    config::Policy policy;
    policy.id = "growth";
    policy.unit = config::QuotaUnit::kRequests;
    policy.per = {config::Dimension::kTeam};
    policy.limit = 10;
    policy.approval.amount_max = 100;
    auto config = std::make_shared<config::Config>();
    config->policies.push_back(policy);
    approvals_ = std::make_unique<Approvals>(
        *store_, Approvals::Options{.now = [] { return kNow; },
                                    .random = [this]() -> Result<std::array<std::uint8_t, 32>> {
                                      std::array<std::uint8_t, 32> bytes{};
                                      bytes[0] = ++random_;
                                      return bytes;
                                    },
                                    .config = [config] { return config; },
                                    .changed = []() -> Result<void> { return {}; },
                                    .tell = nullptr});
    desk_ = std::make_unique<ReceiptDesk>(*log_, store::ReceiptKey(Secret(std::string(32, 's'))),
                                          ReceiptDesk::Options{.wall_now = [] { return kNow; }});
    port_ = std::make_unique<ApprovalPort>(*store_, *approvals_, *desk_,
                                           [](std::function<void()> f) { f(); });
  }
  ~ApprovalDeskTest() override {
    desk_.reset();
    log_.reset();
    std::filesystem::remove_all(folder_);
  }

  static Task<void> Await(Task<ApprovalReply> task,
                          std::shared_ptr<std::promise<ApprovalReply>> out) {
    out->set_value(co_await std::move(task));
  }
  static ApprovalReply Get(Task<ApprovalReply> task) {
    auto out = std::make_shared<std::promise<ApprovalReply>>();
    auto future = out->get_future();
    Spawn(Await(std::move(task), out));
    return future.get();
  }
  ApprovalReply Ask(std::int64_t amount, std::string policy = "growth") {
    return Get(port_->Ask({.key = Key("ci"),
                           .policy = std::move(policy),
                           .counter = "team=growth",
                           .amount = amount,
                           .duration = Seconds(60),
                           .reason = "launch"}));
  }

  std::string folder_;
  std::uint8_t random_ = 0;
  std::unique_ptr<store::RequestLog> log_;
  std::unique_ptr<store::PolicyStore> store_;
  std::unique_ptr<Approvals> approvals_;
  std::unique_ptr<ReceiptDesk> desk_;
  std::unique_ptr<ApprovalPort> port_;
};

TEST_F(ApprovalDeskTest, WhatAKeyAsksFor_IsWrittenInItsName_AndFoundByItAlone) {
  const ApprovalReply asked = Ask(5);
  ASSERT_EQ(asked.status, ApprovalStatus::kDone) << asked.message;
  EXPECT_THAT(asked.body, HasSubstr(R"("requester":"key:ci")"));
  EXPECT_THAT(asked.body, HasSubstr(R"("state":"requested")"));
  const store::Approval stored = store_->List({})->front();
  EXPECT_EQ(stored.counter, "team=growth");
  const std::string id = ApprovalIdText(stored.id);
  EXPECT_EQ(Get(port_->Find(Key("ci"), id)).body, asked.body);
  for (const std::string& other : {std::string("x"), std::string(), id + "0"}) {
    EXPECT_EQ(Get(port_->Find(Key("ci"), other)).status, ApprovalStatus::kNotFound) << other;
  }
  EXPECT_EQ(Get(port_->Find(Key("other"), id)).status, ApprovalStatus::kNotFound);
}

TEST_F(ApprovalDeskTest, WhatTheRulesRefuse_IsSaidWithItsMember) {
  const ApprovalReply refused = Ask(101);
  EXPECT_EQ(refused.status, ApprovalStatus::kRefused);
  EXPECT_EQ(refused.param, "amount");
  EXPECT_THAT(refused.message, HasSubstr("more than the policy lets anybody approve"));
  EXPECT_EQ(Ask(1, "nope").status, ApprovalStatus::kNotFound);
}

TEST_F(ApprovalDeskTest, OneKey_CannotFillTheList) {
  for (std::int64_t i = 0; i < store::kOpenApprovalsMax; ++i) {
    EXPECT_EQ(Ask(1).status, ApprovalStatus::kDone);
  }
  const ApprovalReply more = Ask(1);
  EXPECT_EQ(more.status, ApprovalStatus::kRefused);
  EXPECT_THAT(more.message, HasSubstr("wait for a decision"));
}

TEST_F(ApprovalDeskTest, AStoppedDesk_IsUnavailable) {
  desk_->Stop();
  EXPECT_EQ(Ask(1).status, ApprovalStatus::kUnavailable);
}

}  // namespace
}  // namespace weir::server
