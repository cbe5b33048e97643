#include "identity/key_table.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "base/random.h"

namespace weir::identity {
namespace {

const Pepper kPepper("the pepper of these tests");

KeyRecord Key(std::uint64_t n, std::string_view secret) {
  KeyRecord record;
  record.id = KeyId{MakeId(Instant{static_cast<std::int64_t>(n) * 1'000'000}, 7, n)};
  record.name = "key-" + std::to_string(n);
  record.digest = kPepper.Digest(secret);
  return record;
}

TEST(KeyTable, Empty_FindsNothing) {
  const KeyTable table;
  EXPECT_EQ(table.FindByDigest(kPepper.Digest("x")), nullptr);
  EXPECT_EQ(table.FindById(KeyId{}), nullptr);
  EXPECT_EQ(table.size(), 0U);
  EXPECT_TRUE(table.All().empty());
}

TEST(KeyTable, With_LeavesTheTableItCameFromAsItWas) {
  const KeyTable before = KeyTable().With(Key(1, "one"));
  KeyRecord changed = Key(1, "one");
  changed.state = KeyState::kRevoked;
  const KeyTable after = before.With(changed).With(Key(2, "two"));

  ASSERT_NE(before.FindByDigest(kPepper.Digest("one")), nullptr);
  EXPECT_EQ((*before.FindByDigest(kPepper.Digest("one")))->state, KeyState::kActive);
  EXPECT_EQ(before.FindByDigest(kPepper.Digest("two")), nullptr);
  EXPECT_EQ(before.size(), 1U);
  EXPECT_EQ((*after.FindByDigest(kPepper.Digest("one")))->state, KeyState::kRevoked);
  EXPECT_EQ(after.FindById(Key(1, "").id)->state, KeyState::kRevoked);
  EXPECT_EQ(after.size(), 2U);
}

TEST(KeyTable, ARotatedKey_IsFoundUnderBothSecretsAndNoOlderOne) {
  std::array<std::uint8_t, 32> random{};
  KeyTable table = KeyTable().With(Key(1, "first"));
  const MadeKey second =
      Rotate(*table.FindById(Key(1, "").id), "wr_", kPepper, random, Instant{10}, Seconds(5));
  table = table.With(second.record);
  EXPECT_NE(table.FindByDigest(kPepper.Digest("first")), nullptr);
  EXPECT_NE(table.FindByDigest(kPepper.Digest(second.secret.Reveal())), nullptr);

  random[0] = 1;
  const MadeKey third = Rotate(second.record, "wr_", kPepper, random, Instant{20}, Seconds(5));
  table = table.With(third.record);
  EXPECT_EQ(table.FindByDigest(kPepper.Digest("first")), nullptr);
  EXPECT_NE(table.FindByDigest(kPepper.Digest(second.secret.Reveal())), nullptr);
  EXPECT_NE(table.FindByDigest(kPepper.Digest(third.secret.Reveal())), nullptr);
  EXPECT_EQ(table.size(), 1U);

  table = table.With(Revoke(third.record, Instant{30}));
  EXPECT_EQ(table.FindByDigest(kPepper.Digest(second.secret.Reveal())), nullptr);
}

TEST(KeyTable, ARecord_OutlivesTheTableItWasFoundIn) {
  KeyRecordPtr kept;
  {
    const KeyTable table = KeyTable().With(Key(1, "one"));
    kept = *table.FindByDigest(kPepper.Digest("one"));
  }
  EXPECT_EQ(kept->name, "key-1");
}

// All of a hundred thousand keys, found by digest and by id; and nothing else is found.
TEST(KeyTable, AHundredThousandKeys_AreAllFound) {
  constexpr std::uint64_t kCount = 100'000;
  std::vector<KeyRecord> records;
  records.reserve(kCount);
  for (std::uint64_t n = 0; n < kCount; ++n) records.push_back(Key(n, "s" + std::to_string(n)));
  const KeyTable table = KeyTable::Of(std::move(records));
  ASSERT_EQ(table.size(), kCount);
  for (std::uint64_t n = 0; n < kCount; ++n) {
    const KeyRecordPtr* found = table.FindByDigest(kPepper.Digest("s" + std::to_string(n)));
    ASSERT_NE(found, nullptr) << n;
    ASSERT_EQ((*found)->id.low, n);
    ASSERT_EQ(table.FindById((*found)->id), *found);
  }
  for (std::uint64_t n = 0; n < 1000; ++n) {
    EXPECT_EQ(table.FindByDigest(kPepper.Digest("t" + std::to_string(n))), nullptr);
  }
  const auto all = table.All();
  ASSERT_EQ(all.size(), kCount);
  for (std::size_t i = 1; i < all.size(); ++i) ASSERT_LT(all[i - 1]->id.high, all[i]->id.high);
}

// Any sequence of changes leaves the same table as building it from the final records.
TEST(KeyTable, RandomChanges_AgreeWithAMap) {
  SeededRandom random(42);
  std::map<std::uint64_t, std::string> model;  // number -> secret
  KeyTable table;
  for (int step = 0; step < 3000; ++step) {
    const std::uint64_t n = random.Next() % 200;
    const std::string secret = std::to_string(n) + "/" + std::to_string(random.Next());
    if (const auto it = model.find(n); it != model.end()) {
      ASSERT_NE(table.FindByDigest(kPepper.Digest(it->second)), nullptr);
      table = table.With(Key(n, secret));
      ASSERT_EQ(table.FindByDigest(kPepper.Digest(it->second)), nullptr);
    } else {
      table = table.With(Key(n, secret));
    }
    model[n] = secret;
  }
  EXPECT_EQ(table.size(), model.size());
  for (const auto& [n, secret] : model) {
    ASSERT_NE(table.FindByDigest(kPepper.Digest(secret)), nullptr);
    EXPECT_EQ((*table.FindByDigest(kPepper.Digest(secret)))->id.low, n);
  }
}

TEST(KeyRecord, PermissionsAndModels_AreExact) {
  KeyRecord key = Key(1, "one");
  EXPECT_FALSE(HasPermission(key, "openai"));  // none given, none had
  key.permissions = {"audio", "openai"};
  EXPECT_TRUE(HasPermission(key, "openai"));
  EXPECT_FALSE(HasPermission(key, "open"));
  EXPECT_FALSE(HasPermission(key, ""));

  EXPECT_TRUE(AllowsModel(key, "anything"));
  key.models = ModelAllowList({"gpt-5.5", "gpt-5.2", "gpt-5.5"});
  EXPECT_EQ(key.models->size(), 2U);
  EXPECT_TRUE(AllowsModel(key, "gpt-5.2"));
  EXPECT_TRUE(AllowsModel(key, "gpt-5.5"));
  EXPECT_FALSE(AllowsModel(key, "gpt-5"));
  EXPECT_FALSE(AllowsModel(key, "gpt-5.5-pro"));
  EXPECT_EQ(ModelAllowList({}), nullptr);
}

TEST(KeyRecord, MakeKey_KeepsTheDigestAndNotTheSecret) {
  const std::array<std::uint8_t, 32> random{9};
  NewKey wanted;
  wanted.name = "ci";
  wanted.environment = "production";
  wanted.permissions = {"openai"};
  wanted.limits.requests_per_minute = 7;
  wanted.workspace = "acme";
  wanted.package = "gold";
  wanted.codex_adaptation = true;
  wanted.payload_rules = {{{"a", "0"}, "1"}};
  wanted.allow_downgrade = false;
  wanted.attributes = {{config::Dimension::kTeam, "growth"}};
  wanted.metadata = config::BitOf(config::Dimension::kUser);
  const MadeKey made = MakeKey(wanted, KeyId{Id128{1, 2}}, "wr_", kPepper, random, Instant{5});
  EXPECT_TRUE(LooksGenerated(made.secret.Reveal(), "wr_"));
  EXPECT_EQ(made.record.digest, kPepper.Digest(made.secret.Reveal()));
  EXPECT_EQ(made.record.display.find(made.secret.Reveal()), std::string::npos);
  EXPECT_EQ(made.record.state, KeyState::kActive);
  EXPECT_EQ(made.record.limits.requests_per_minute, 7);
  EXPECT_EQ(made.record.workspace, "acme");
  EXPECT_EQ(made.record.package, "gold");
  EXPECT_TRUE(made.record.codex_adaptation);
  EXPECT_EQ(made.record.payload_rules, wanted.payload_rules);
  EXPECT_FALSE(made.record.allow_downgrade);
  EXPECT_EQ(made.record.attributes, wanted.attributes);
  EXPECT_EQ(made.record.metadata, wanted.metadata);
  EXPECT_EQ(made.record.created_at, Instant{5});
  EXPECT_EQ(made.record.models, nullptr);
}

TEST(KeyRecord, Rotate_WithoutOverlap_KeepsNoOldSecret) {
  const std::array<std::uint8_t, 32> random{9};
  const KeyRecord key = Key(1, "one");
  EXPECT_FALSE(Rotate(key, "wr_", kPepper, random, Instant{5}, Seconds(0)).record.previous);
  const auto endless = Rotate(key, "wr_", kPepper, random, Instant{5}, Duration{INT64_MAX});
  EXPECT_EQ(endless.record.previous->valid_until, Instant{INT64_MAX});
}

TEST(KeyRecord, Revoke_Twice_KeepsTheFirstTime) {
  const KeyRecord once = Revoke(Key(1, "one"), Instant{5});
  EXPECT_EQ(once.state, KeyState::kRevoked);
  EXPECT_EQ(Revoke(once, Instant{9}).revoked_at, Instant{5});
}

}  // namespace
}  // namespace weir::identity
