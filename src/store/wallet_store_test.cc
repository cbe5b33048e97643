// Codes go to one wallet once, whatever is asked in which order and however often.
#include "store/wallet_store.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

namespace weir::store {
namespace {

constexpr Instant kNow{1'800'000'000'000'000'000};
constexpr ledger::WalletId kMine{{1, 1}};
constexpr ledger::WalletId kYours{{1, 2}};
constexpr KeyId kKey{{2, 1}};
constexpr Id128 kBatch{5, 0};
const AuditNote kNote{kNow, "admin", "create", "3 codes of 100 quota tokens"};

identity::KeyDigest Digest(std::uint8_t n) {
  identity::KeyDigest digest;
  digest.bytes.fill(n);
  return digest;
}

CodeRecord Code(std::uint8_t n) {
  return {.id = CodeId{{7, n}},
          .batch = kBatch,
          .digest = Digest(n),
          .display = "...000" + std::to_string(n),
          .amount = {100},
          .valid_for = {},
          .expires_at = {},
          .redeem_by = {},
          .created_at = kNow,
          .revoked_at = {},
          .redeemed_at = {}};
}

struct WalletStoreTest : testing::Test {
  std::unique_ptr<WalletStore> store = *WalletStore::Open(":memory:");

  WalletStore::Redemption Redeem(std::uint8_t n, ledger::WalletId wallet = kMine,
                                 Instant now = kNow,
                                 ledger::Unit unit = ledger::Unit::kQuotaToken) {
    auto redemption = store->Redeem(Digest(n), wallet, unit, kKey, now);
    EXPECT_TRUE(redemption);
    return redemption ? *redemption : WalletStore::Redemption{};
  }
};

TEST_F(WalletStoreTest, Redeem_BindsToOneWallet_AndSaysTheSameAgain) {
  ASSERT_TRUE(store->Insert({Code(1)}, "batch", kNote));
  const auto first = Redeem(1);
  EXPECT_EQ(first.outcome, RedeemOutcome::kBound);
  EXPECT_EQ(first.code.redeemed_at, kNow);
  const auto again = Redeem(1, kMine, kNow + Seconds(5));
  EXPECT_EQ(again.outcome, RedeemOutcome::kBound);
  EXPECT_EQ(GrantOf(again.code), GrantOf(first.code));
  EXPECT_EQ(Redeem(1, kYours).outcome, RedeemOutcome::kTaken);
  EXPECT_EQ(Redeem(2).outcome, RedeemOutcome::kNotValid);
}

TEST_F(WalletStoreTest, WhatIsNoLongerValid_IsAsIfThereWereNone) {
  CodeRecord late = Code(1), expired = Code(2), revoked = Code(3);
  late.redeem_by = kNow;
  expired.expires_at = kNow;
  ASSERT_TRUE(store->Insert({late, expired, revoked}, "batch", kNote));
  ASSERT_EQ(*store->Revoke(revoked.id, kNote), 1);
  for (const int n : {1, 2, 3}) {
    EXPECT_EQ(Redeem(static_cast<std::uint8_t>(n)).outcome, RedeemOutcome::kNotValid) << n;
  }
  EXPECT_EQ(Redeem(1, kMine, kNow + Duration{-1}).outcome, RedeemOutcome::kBound);
  EXPECT_EQ(Redeem(2, kMine, kNow + Duration{-1}).outcome, RedeemOutcome::kBound);
  // What was redeemed in time stays so.
  EXPECT_EQ(Redeem(2, kMine, kNow + Seconds(5)).outcome, RedeemOutcome::kBound);
}

TEST_F(WalletStoreTest, AnotherUnit_IsSaidAndBindsNothing) {
  ASSERT_TRUE(store->Insert({Code(1)}, "batch", kNote));
  EXPECT_EQ(Redeem(1, kMine, kNow, ledger::Unit::kNanoUsd).outcome, RedeemOutcome::kOtherUnit);
  EXPECT_EQ(Redeem(1, kYours).outcome, RedeemOutcome::kBound);
}

TEST_F(WalletStoreTest, TheGrant_FollowsFromTheRedemption) {
  CodeRecord code = Code(1);
  code.valid_for = Seconds(60);
  code.priority = -3;
  code.category = ledger::GrantCategory::kPromo;
  ASSERT_TRUE(store->Insert({code}, "batch", kNote));
  const ledger::GrantRecord grant = GrantOf(Redeem(1).code);
  EXPECT_EQ(grant.grant, (ledger::GrantId{code.id}));
  EXPECT_EQ(grant.wallet, kMine);
  EXPECT_EQ(grant.amount.n, 100);
  EXPECT_EQ(grant.priority, -3);
  EXPECT_EQ(grant.category, ledger::GrantCategory::kPromo);
  EXPECT_EQ(grant.effective_at, kNow);
  EXPECT_EQ(grant.expires_at, kNow + Seconds(60));
  code.valid_for = Duration{INT64_MAX};
  code.redeemed_at = kNow;
  EXPECT_EQ(GrantOf(code).expires_at, ledger::kNoExpiry);
}

TEST_F(WalletStoreTest, Revoke_OfABatch_LeavesWhatWasRedeemed) {
  ASSERT_TRUE(store->Insert({Code(1), Code(2), Code(3)}, "batch", kNote));
  EXPECT_EQ(Redeem(2).outcome, RedeemOutcome::kBound);
  EXPECT_EQ(*store->Revoke(kBatch, kNote), 2);
  EXPECT_EQ(*store->Revoke(kBatch, kNote), 0);
  EXPECT_EQ(Redeem(1).outcome, RedeemOutcome::kNotValid);
  EXPECT_EQ(Redeem(2).outcome, RedeemOutcome::kBound);
  EXPECT_EQ(store->Audit(0, 10)->size(), 2U);  // a revocation that did nothing is no line
}

TEST_F(WalletStoreTest, Insert_IsAllOrNone) {
  ASSERT_TRUE(store->Insert({Code(1)}, "batch", kNote));
  const auto twice = store->Insert({Code(2), Code(1)}, "batch", kNote);
  ASSERT_FALSE(twice);
  EXPECT_EQ(twice.error().code, ErrorCode::kConflict);
  EXPECT_EQ(Redeem(2).outcome, RedeemOutcome::kNotValid);
  EXPECT_EQ(store->Audit(0, 10)->size(), 1U);
}

TEST_F(WalletStoreTest, List_IsNewestFirst_PageByPage) {
  ASSERT_TRUE(store->Insert({Code(1), Code(2), Code(3)}, "batch", kNote));
  CodeRecord other = Code(9);
  other.batch = {6, 6};
  ASSERT_TRUE(store->Insert({other}, "batch", kNote));
  const auto page = store->List({.batch = kBatch, .before = {}, .limit = 2});
  ASSERT_TRUE(page);
  ASSERT_EQ(page->size(), 2U);
  EXPECT_EQ(page->front().id, Code(3).id);
  const auto next = store->List({.batch = kBatch, .before = page->back().id});
  ASSERT_EQ(next->size(), 1U);
  EXPECT_EQ(next->front().display, "...0001");
  EXPECT_EQ(store->List({})->size(), 4U);
  EXPECT_TRUE(store->Find(other.id)->has_value());
  EXPECT_FALSE(store->Find(CodeId{{7, 77}})->has_value());
}

TEST(WalletStore, ARedemption_IsThereAfterARestart) {
  const std::string path = testing::TempDir() + "wallets_" + std::to_string(::getpid()) + ".db";
  CodeRecord code = Code(1);
  code.valid_for = Seconds(60);
  {
    auto store = *WalletStore::Open(path);
    ASSERT_TRUE(store->Insert({code}, "batch", kNote));
    ASSERT_TRUE(store->Redeem(Digest(1), kMine, code.unit, kKey, kNow));
  }
  auto store = *WalletStore::Open(path);
  const auto again = store->Redeem(Digest(1), kMine, code.unit, kKey, kNow + Seconds(99));
  EXPECT_EQ(again->outcome, RedeemOutcome::kBound);
  EXPECT_EQ(GrantOf(again->code).expires_at, kNow + Seconds(60));
  EXPECT_EQ(store->Redeem(Digest(1), kYours, code.unit, kKey, kNow)->outcome,
            RedeemOutcome::kTaken);
  const auto trail = store->Audit(0, 10);
  ASSERT_EQ(trail->size(), 1U);
  EXPECT_EQ(trail->front().subject, "batch");
  EXPECT_EQ(trail->front().note.detail, kNote.detail);
  store.reset();
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace weir::store
