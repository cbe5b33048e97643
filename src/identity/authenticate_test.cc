// Who gets in. Every way of being no good must look the same, to the caller and to a stopwatch: the
// tests count digests, because a count cannot flake and a stopwatch does.
#include "identity/authenticate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>

namespace weir::identity {
namespace {

const Pepper kPepper("the pepper of these tests");
constexpr Instant kNow{1'800'000'000'000'000'000};

KeyRecord Key(std::string_view secret, std::uint64_t n = 1) {
  KeyRecord record;
  record.id = KeyId{Id128{1, n}};
  record.digest = kPepper.Digest(secret);
  record.environment = "production";
  return record;
}

std::string Extract(const PresentedHeaders& headers) {
  std::string scratch;
  return std::string(ExtractKey(headers, scratch));
}

Refusal RefusalOf(const KeyTable& table, std::string_view presented, Instant now = kNow) {
  const auto principal = Authenticate(table, kPepper, presented, "production", now);
  return principal ? Refusal::kNone : principal.error();
}

TEST(ExtractKey, FirstNonEmptyPlace_Wins) {
  PresentedHeaders all{"a", "b", "Bearer c", "d", "key=e"};
  EXPECT_EQ(Extract(all), "a");
  all.x_api_key = "";
  EXPECT_EQ(Extract(all), "b");
  all.x_goog_api_key = " \t ";
  EXPECT_EQ(Extract(all), "c");
  all.authorization = "Bearer ";
  EXPECT_EQ(Extract(all), "d");
  all.api_key = "";
  EXPECT_EQ(Extract(all), "e");
  all.query = "";
  EXPECT_EQ(Extract(all), "");
}

TEST(ExtractKey, Authorization_TakesBearerInAnyCaseOrABareValue) {
  struct Case {
    std::string_view value;
    std::string_view want;
  };
  const Case cases[] = {
      {"Bearer qf_1", "qf_1"},
      {"bearer qf_1", "qf_1"},
      {"BEARER\tqf_1", "qf_1"},
      {"  Bearer   qf_1  ", "qf_1"},
      {"qf_1", "qf_1"},
      {"Bearerqf_1", "Bearerqf_1"},
      {"Bearer", ""},
      {"Bearer  ", ""},
      {"Basic dXNlcg==", "Basic dXNlcg=="},
      {"Bear", "Bear"},
      {"", ""},
      {"Bearer Bearer x", "Bearer x"},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(Extract({.x_api_key = {},
                       .x_goog_api_key = {},
                       .authorization = c.value,
                       .api_key = {},
                       .query = {}}),
              c.want)
        << c.value;
  }
}

TEST(ExtractKey, Query_IsDecodedAndNeverCrashes) {
  struct Case {
    std::string_view query;
    std::string_view want;
  };
  const Case cases[] = {
      {"key=qf_1", "qf_1"},
      {"a=b&key=qf_1&c=d", "qf_1"},
      {"key=&key=second", "second"},
      {"key=qf%5F1", "qf_1"},
      {"key=qf%5f1", "qf_1"},
      {"key=%71f_1", "qf_1"},
      {"key=100%", "100%"},
      {"key=100%2", "100%2"},
      {"key=%zz", "%zz"},
      {"key=a+b", "a+b"},
      {"monkey=qf_1", ""},
      {"KEY=qf_1", ""},
      {"key", ""},
      {"&&&", ""},
      {"key=%20%20", ""},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(Extract({.x_api_key = {},
                       .x_goog_api_key = {},
                       .authorization = {},
                       .api_key = {},
                       .query = c.query}),
              c.want)
        << c.query;
  }
}

TEST(Authenticate, AGoodKey_IsThePrincipal) {
  const KeyTable table = KeyTable().With(Key("good")).With(Key("other", 2));
  const auto principal = Authenticate(table, kPepper, "good", "production", kNow);
  ASSERT_TRUE(principal);
  EXPECT_EQ(principal->key->id.low, 1U);
  EXPECT_FALSE(principal->by_previous_secret);
}

TEST(Authenticate, NoKey_IsMissingAndEverythingElseInvalid) {
  KeyRecord disabled = Key("disabled", 2);
  disabled.state = KeyState::kDisabled;
  KeyRecord expired = Key("expired", 3);
  expired.expires_at = kNow;
  KeyRecord elsewhere = Key("elsewhere", 4);
  elsewhere.environment = "development";
  const KeyTable table = KeyTable()
                             .With(Key("good"))
                             .With(disabled)
                             .With(expired)
                             .With(elsewhere)
                             .With(Revoke(Key("revoked", 5), kNow));
  EXPECT_EQ(RefusalOf(table, ""), Refusal::kMissingApiKey);
  EXPECT_EQ(RefusalOf(table, "good"), Refusal::kNone);
  for (const std::string& bad :
       {std::string("disabled"), std::string("expired"), std::string("elsewhere"),
        std::string("revoked"), std::string("unknown"), std::string("Good"), std::string("good "),
        std::string("goo"), std::string("good\0", 5), std::string(513, 'x'),
        std::string(1 << 20, 'x')}) {
    EXPECT_EQ(RefusalOf(table, bad), Refusal::kInvalidApiKey) << bad.substr(0, 20);
  }
}

// A secret of 512 characters works; 513 that begin with it do not, though their digest is found.
TEST(Authenticate, OneCharacterTooLong_IsRefusedEvenWhenItsStartIsAKey) {
  const std::string longest(kKeyLengthMax, 'k');
  const KeyTable table = KeyTable().With(Key(longest));
  EXPECT_EQ(RefusalOf(table, longest), Refusal::kNone);
  EXPECT_EQ(RefusalOf(table, longest + "k"), Refusal::kInvalidApiKey);
}

TEST(Authenticate, Expiry_IsExactToTheNanosecond) {
  KeyRecord key = Key("good");
  key.expires_at = kNow;
  const KeyTable table = KeyTable().With(key);
  EXPECT_EQ(RefusalOf(table, "good", Instant{kNow.ns - 1}), Refusal::kNone);
  EXPECT_EQ(RefusalOf(table, "good", kNow), Refusal::kInvalidApiKey);
}

TEST(Authenticate, TheOldSecret_WorksUntilTheOverlapEnds) {
  const std::array<std::uint8_t, 32> random{3};
  const MadeKey made = Rotate(Key("old"), "wr_", kPepper, random, kNow, Seconds(60));
  const KeyTable table = KeyTable().With(made.record);
  const Instant last{kNow.ns + Seconds(60).ns - 1};

  const auto by_old = Authenticate(table, kPepper, "old", "production", last);
  ASSERT_TRUE(by_old);
  EXPECT_TRUE(by_old->by_previous_secret);
  EXPECT_EQ(RefusalOf(table, "old", Instant{last.ns + 1}), Refusal::kInvalidApiKey);

  const auto by_new = Authenticate(table, kPepper, made.secret.Reveal(), "production", last);
  ASSERT_TRUE(by_new);
  EXPECT_FALSE(by_new->by_previous_secret);
}

TEST(Authenticate, TheOldSecret_SharesTheFateOfItsKey) {
  const std::array<std::uint8_t, 32> random{3};
  KeyRecord key = Rotate(Key("old"), "wr_", kPepper, random, kNow, Seconds(60)).record;
  key.state = KeyState::kDisabled;
  EXPECT_EQ(RefusalOf(KeyTable().With(key), "old"), Refusal::kInvalidApiKey);
  key.state = KeyState::kActive;
  key.expires_at = kNow;
  EXPECT_EQ(RefusalOf(KeyTable().With(key), "old"), Refusal::kInvalidApiKey);
}

// An all-zero digest stands in for what is not there; it must not let anyone in.
TEST(Authenticate, AnAllZeroDigest_IsNobody) {
  EXPECT_FALSE(JudgeDigest(KeyTable(), KeyDigest{}, true, "", kNow));
  const KeyTable table = KeyTable().With(Key("good"));
  EXPECT_FALSE(JudgeDigest(table, KeyDigest{}, true, "production", kNow));
}

struct CountingPepper {
  mutable int count = 0;
  mutable std::size_t bytes_max = 0;
  KeyDigest Digest(std::string_view text) const {
    ++count;
    bytes_max = std::max(bytes_max, text.size());
    return kPepper.Digest(text);
  }
};

TEST(Authenticate, GoodOrBad_CostsExactlyOneDigestOfBoundedLength) {
  KeyRecord disabled = Key("disabled", 2);
  disabled.state = KeyState::kDisabled;
  const std::string mistyped = "wr_" + std::string(49, 'a');
  const KeyTable table = KeyTable().With(Key("good")).With(disabled);
  for (const std::string& presented : {std::string("good"), std::string("disabled"), mistyped,
                                       std::string("unknown"), std::string(100'000, 'x')}) {
    CountingPepper counting;
    (void)Authenticate(table, counting, presented, "production", kNow);
    EXPECT_EQ(counting.count, 1) << presented.substr(0, 20);
    EXPECT_LE(counting.bytes_max, kKeyLengthMax);
  }
}

// The principal keeps the key it came in with, whatever happens to the table.
TEST(Authenticate, ThePrincipal_OutlivesAChangeOfTheTable) {
  auto table = std::make_unique<KeyTable>(KeyTable().With(Key("good")));
  const auto principal = Authenticate(*table, kPepper, "good", "production", kNow);
  *table = table->With(Revoke(Key("good"), kNow));
  table.reset();
  ASSERT_TRUE(principal);
  EXPECT_EQ(principal->key->state, KeyState::kActive);
}

}  // namespace
}  // namespace weir::identity
