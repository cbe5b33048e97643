// Over real files: what is on the disk is the point. A credential has one text, kCanary, which must
// never be found in a file.
#include "store/account_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "store/sqlite.h"

namespace weir::store {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::string_view kCanary = "sk-canary-credential";
constexpr Instant kNow{1'767'225'600'000'000'000};

AuditNote Note(std::string action) {
  return {.at = kNow, .actor = "admin", .action = std::move(action), .detail = "why"};
}

config::StoredAccount Made(std::string name) {
  config::StoredAccount stored;
  stored.upstream = "openai";
  stored.account.id = "openai/" + name;
  stored.account.api_key = Secret(std::string(kCanary) + "-" + name);
  return stored;
}

class AccountStoreTest : public testing::Test {
 protected:
  AccountStoreTest() {
    dir_ = (std::filesystem::temp_directory_path() /
            ("weir_account_store." + std::to_string(getpid()) + "." +
             testing::UnitTest::GetInstance()->current_test_info()->name()))
               .string();
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directories(dir_);
  }
  ~AccountStoreTest() override { std::filesystem::remove_all(dir_); }

  std::string path() const { return dir_ + "/accounts.db"; }
  Result<std::unique_ptr<AccountStore>> TryOpen(std::optional<Secret> key = std::nullopt) {
    return AccountStore::Open(path(), MasterKeySource(dir_, std::move(key)));
  }
  std::unique_ptr<AccountStore> Open() {
    auto store = TryOpen();
    EXPECT_TRUE(store.has_value()) << store.error().detail;
    return std::move(*store);
  }
  std::string FailOpen(ErrorCode code, std::optional<Secret> key = std::nullopt) {
    const auto store = TryOpen(std::move(key));
    EXPECT_FALSE(store.has_value());
    if (store.has_value()) return {};
    EXPECT_EQ(store.error().code, code) << store.error().detail;
    EXPECT_THAT(store.error().detail, Not(HasSubstr("canary")));
    return store.error().detail;
  }
  void Sql(const char* sql) {
    auto db = OpenSqlite(path());
    ASSERT_TRUE(db.has_value());
    ASSERT_TRUE(Execute(db->get(), sql).has_value()) << SqliteProblem(db->get());
  }
  bool OnDisk(std::string_view text) const {
    for (const auto& file : std::filesystem::directory_iterator(dir_)) {
      std::ifstream in(file.path(), std::ios::binary);
      std::stringstream bytes;
      bytes << in.rdbuf();
      if (bytes.str().find(text) != std::string::npos) return true;
    }
    return false;
  }

  std::string dir_;
};

TEST_F(AccountStoreTest, EveryField_ComesBackAfterAReopen) {
  config::StoredAccount all = Made("a");
  all.account.enabled = false;
  all.account.draining = true;
  all.account.models = {"gpt-5.5", "gpt-5.4"};
  all.account.capabilities = config::kCapChat;
  all.account.weight = 7;
  all.account.priority = 3;
  all.account.concurrency = 11;
  all.account.requests_per_minute = 12;
  all.account.tokens_per_minute = 13;
  all.account.expires_at = kNow + Seconds(5);
  all.account.keys = {"hers", "his"};
  all.account.adapt = config::AdaptProfile::kResponsesStrict;
  all.account.proxy = config::Proxy{"10.0.0.1", 3128};
  config::StoredAccount bare = Made("b");
  bare.account.api_key = Secret();
  {
    const auto store = Open();
    ASSERT_TRUE(store->Insert(bare, Note("create")).has_value());
    EXPECT_FALSE(std::filesystem::exists(dir_ + "/master.key"));  // nothing to seal yet
    ASSERT_TRUE(store->Insert(all, Note("create")).has_value());
    EXPECT_TRUE(std::filesystem::exists(dir_ + "/master.key"));
  }
  const auto accounts = Open()->accounts();
  ASSERT_EQ(accounts.size(), 2U);
  const config::Account& read = accounts[0].account;
  EXPECT_EQ(accounts[0].upstream, "openai");
  EXPECT_EQ(read.id, "openai/a");
  EXPECT_EQ(read.api_key, all.account.api_key);
  EXPECT_FALSE(read.enabled);
  EXPECT_TRUE(read.draining);
  EXPECT_EQ(read.models, all.account.models);
  EXPECT_EQ(read.capabilities, all.account.capabilities);
  EXPECT_EQ(read.weight, 7);
  EXPECT_EQ(read.priority, 3);
  EXPECT_EQ(read.concurrency, 11);
  EXPECT_EQ(read.requests_per_minute, 12);
  EXPECT_EQ(read.tokens_per_minute, 13);
  EXPECT_EQ(read.expires_at, all.account.expires_at);
  EXPECT_EQ(read.keys, all.account.keys);
  EXPECT_EQ(read.adapt, config::AdaptProfile::kResponsesStrict);
  EXPECT_EQ(read.proxy, all.account.proxy);
  EXPECT_TRUE(accounts[1].account.api_key.empty());
  EXPECT_TRUE(accounts[1].account.enabled);
  EXPECT_FALSE(accounts[1].account.proxy.has_value());
}

TEST_F(AccountStoreTest, ACredential_IsNeverOnTheDisk_NeitherTheOldOneNorTheNew) {
  {
    const auto store = Open();
    ASSERT_TRUE(store->Insert(Made("a"), Note("create")).has_value());
    config::StoredAccount changed = Made("a");
    changed.account.api_key = Secret(std::string(kCanary) + "-changed");
    ASSERT_TRUE(store->Update(changed, Note("change")).has_value());
    EXPECT_TRUE(OnDisk("openai/a"));
    EXPECT_FALSE(OnDisk(kCanary));
  }
  EXPECT_FALSE(OnDisk(kCanary));
  EXPECT_EQ(Open()->accounts()[0].account.api_key.Reveal(), std::string(kCanary) + "-changed");
}

TEST_F(AccountStoreTest, Changes_AreRefusedWhereTheyMeanNothing) {
  const auto store = Open();
  ASSERT_TRUE(store->Insert(Made("a"), Note("create")).has_value());
  EXPECT_EQ(store->Insert(Made("a"), Note("create")).error().code, ErrorCode::kConflict);
  EXPECT_EQ(store->Update(Made("b"), Note("change")).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(store->Remove("openai/b", Note("delete")).error().code, ErrorCode::kNotFound);
  config::StoredAccount lines = Made("c");
  lines.account.models = {"a\nb"};
  EXPECT_EQ(store->Insert(lines, Note("create")).error().code, ErrorCode::kBadInput);
  EXPECT_EQ(store->accounts().size(), 1U);
  EXPECT_EQ(store->Audit(0, 10)->size(), 1U);  // what was refused left no trace
  ASSERT_TRUE(store->Remove("openai/a", Note("delete")).has_value());
  EXPECT_TRUE(store->accounts().empty());
}

TEST_F(AccountStoreTest, Overrides_ReplaceAndVanish) {
  {
    const auto store = Open();
    ASSERT_TRUE(store->Override({"openai", false, {}}, Note("disable")).has_value());
    ASSERT_TRUE(store->Override({"other", {}, true}, Note("drain")).has_value());
    ASSERT_TRUE(store->Override({"openai", false, true}, Note("drain")).has_value());
  }
  {
    const auto store = Open();
    const auto overrides = store->overrides();
    ASSERT_EQ(overrides.size(), 2U);
    EXPECT_EQ(overrides[0].account, "openai");
    EXPECT_EQ(overrides[0].enabled, false);
    EXPECT_EQ(overrides[0].draining, true);
    EXPECT_FALSE(overrides[1].enabled.has_value());
    ASSERT_TRUE(store->Override({"openai", {}, {}}, Note("undrain")).has_value());
  }
  EXPECT_EQ(Open()->overrides().size(), 1U);
}

TEST_F(AccountStoreTest, TheTrail_IsNewestFirstAndPaged) {
  const auto store = Open();
  ASSERT_TRUE(store->Insert(Made("a"), Note("create")).has_value());
  ASSERT_TRUE(store->Note("openai/a", Note("cool")).has_value());
  ASSERT_TRUE(store->Remove("openai/a", Note("delete")).has_value());
  const auto newest = store->Audit(0, 2);
  ASSERT_TRUE(newest.has_value());
  ASSERT_EQ(newest->size(), 2U);
  EXPECT_EQ((*newest)[0].note.action, "delete");
  EXPECT_EQ((*newest)[0].account, "openai/a");
  EXPECT_EQ((*newest)[1].note.action, "cool");
  const auto older = store->Audit((*newest)[1].sequence, 2);
  ASSERT_EQ(older->size(), 1U);
  EXPECT_EQ((*older)[0].note.action, "create");
}

TEST_F(AccountStoreTest, AWrongOrLostMasterKey_IsSaidWithTheFix) {
  ASSERT_TRUE(Open()->Insert(Made("a"), Note("create")).has_value());
  const std::string wrong = FailOpen(ErrorCode::kConflict, Secret(std::string(64, 'a')));
  EXPECT_THAT(wrong, HasSubstr("openai/a"));
  EXPECT_THAT(wrong, HasSubstr("reseal"));
  std::filesystem::remove(dir_ + "/master.key");
  EXPECT_THAT(FailOpen(ErrorCode::kConflict), HasSubstr("WEIR_MASTER_KEY"));
  EXPECT_FALSE(std::filesystem::exists(dir_ + "/master.key"));  // a new one would open nothing
}

TEST_F(AccountStoreTest, BoxesThatChangedPlaces_AreRefused) {
  {
    const auto store = Open();
    ASSERT_TRUE(store->Insert(Made("a"), Note("create")).has_value());
    ASSERT_TRUE(store->Insert(Made("b"), Note("create")).has_value());
  }
  Sql("UPDATE accounts SET credential = (SELECT credential FROM accounts WHERE id = 'openai/b') "
      "WHERE id = 'openai/a'");
  EXPECT_THAT(FailOpen(ErrorCode::kBadInput), HasSubstr("openai/a is damaged"));
}

TEST_F(AccountStoreTest, ARowThatMakesNoSense_IsRefused) {
  for (const char* change :
       {"UPDATE accounts SET id = 'openai/z'", "UPDATE accounts SET upstream = 'evil'",
        "UPDATE accounts SET upstream = ''", "UPDATE accounts SET credential = x'01'",
        "UPDATE accounts SET credential = substr(credential, 1, length(credential) - 1)",
        "UPDATE accounts SET credential = zeroblob(60)", "UPDATE accounts SET weight = 0",
        "UPDATE accounts SET capabilities = -1",
        "UPDATE accounts SET proxy_host = 'h', proxy_port = 0"}) {
    std::filesystem::remove(path());
    ASSERT_TRUE(Open()->Insert(Made("a"), Note("create")).has_value());
    Sql(change);
    EXPECT_NE(FailOpen(ErrorCode::kBadInput), "") << change;
  }
}

TEST_F(AccountStoreTest, Reseal_MovesEveryBoxToTheNewKey_AllOrNone) {
  const ResealKeys keys{*MasterKeySource(dir_, std::nullopt).LoadOrCreate(),
                        Secret(std::string(32, '\xaa'))};
  const Secret new_text(std::string(64, 'a'));
  {
    const auto store = Open();
    ASSERT_TRUE(store->Insert(Made("a"), Note("create")).has_value());
    ASSERT_TRUE(store->Insert(Made("b"), Note("create")).has_value());
    // Beside a running gateway it would leave boxes under two keys.
    const auto busy = AccountStore::Reseal(path(), keys, Note("reseal"));
    ASSERT_FALSE(busy.has_value());
    EXPECT_THAT(busy.error().detail, HasSubstr("stop the gateway"));
  }
  const auto wrong = AccountStore::Reseal(path(), {keys.to, keys.from}, Note("reseal"));
  ASSERT_FALSE(wrong.has_value());
  EXPECT_EQ(wrong.error().code, ErrorCode::kConflict);
  EXPECT_EQ(Open()->accounts().size(), 2U);

  EXPECT_EQ(AccountStore::Reseal(path(), keys, Note("reseal")), 2);
  FailOpen(ErrorCode::kConflict);
  const auto store = TryOpen(new_text);
  ASSERT_TRUE(store.has_value()) << store.error().detail;
  EXPECT_EQ((*store)->accounts()[1].account.api_key, Made("b").account.api_key);
  EXPECT_EQ((*store)->Audit(0, 1)->front().note.action, "reseal");
  EXPECT_FALSE(OnDisk(kCanary));
}

}  // namespace
}  // namespace weir::store
