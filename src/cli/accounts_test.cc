// `weir accounts` without a gateway: where a credential may come from, and reseal, which works on
// the file alone. The rest runs against the real program in test/operate.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "cli/cli.h"
#include "store/account_store.h"

namespace weir::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kVariable = "WEIR_TEST_ACCOUNT_CREDENTIAL";

struct Outcome {
  int code = 0;
  std::string out;
  std::string err;
};

Outcome Weir(std::vector<std::string> words) {
  words.insert(words.begin(), {"weir", "accounts"});
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  Outcome outcome;
  outcome.code = RunCli(static_cast<int>(words.size()), argv.data());
  std::fflush(stdout);
  outcome.out = testing::internal::GetCapturedStdout();
  outcome.err = testing::internal::GetCapturedStderr();
  return outcome;
}

class AccountsCliTest : public testing::Test {
 protected:
  AccountsCliTest() {
    directory_ = (std::filesystem::temp_directory_path() /
                  ("weir_accounts_cli." + std::to_string(getpid()) + "." +
                   testing::UnitTest::GetInstance()->current_test_info()->name()))
                     .string();
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_ + "/data");
    unsetenv("WEIR_MASTER_KEY");
  }
  ~AccountsCliTest() override {
    std::filesystem::remove_all(directory_);
    unsetenv("WEIR_MASTER_KEY");
    unsetenv(kVariable);
  }

  std::string data() const { return directory_ + "/data"; }
  Result<std::unique_ptr<store::AccountStore>> Open(std::optional<Secret> key = std::nullopt) {
    return store::AccountStore::Open(data() + "/accounts.db",
                                     store::MasterKeySource(data(), std::move(key)));
  }

  std::string directory_;
};

TEST_F(AccountsCliTest, ACredential_IsNoArgument) {
  for (const char* option : {"--key", "--api-key", "--credential"}) {
    EXPECT_EQ(Weir({"create", "--upstream", "u", "--name", "n", option, "sk-canary"}).code,
              kExitUsage)
        << option;
  }
  // Only one source at a time.
  EXPECT_EQ(
      Weir({"create", "--upstream", "u", "--name", "n", "--key-env", "A", "--key-stdin"}).code,
      kExitUsage);
}

TEST_F(AccountsCliTest, AnUnsetOrEmptyVariable_IsSaidAndNothingIsSent) {
  const std::vector<std::string> create = {"create",
                                           "--upstream",
                                           "u",
                                           "--name",
                                           "n",
                                           "--key-env",
                                           kVariable,
                                           "--token",
                                           "t",
                                           "--admin-url",
                                           "http://127.0.0.1:9"};
  EXPECT_THAT(Weir(create).err, HasSubstr("holds no credential"));
  setenv(kVariable, "", 1);
  EXPECT_THAT(Weir(create).err, HasSubstr("holds no credential"));
  setenv(kVariable, "sk-canary", 1);
  const Outcome sent = Weir(create);  // nobody listens there
  EXPECT_EQ(sent.code, kExitFailed);
  EXPECT_THAT(sent.err, Not(HasSubstr("holds no credential")));
  EXPECT_THAT(sent.out + sent.err, Not(HasSubstr("canary")));
}

TEST_F(AccountsCliTest, AnUpdateOfNothing_IsAMistake) {
  EXPECT_EQ(Weir({"update", "u/n"}).code, kExitUsage);
  EXPECT_EQ(Weir({"update", "u/n", "--enable", "--disable"}).code, kExitUsage);
}

TEST_F(AccountsCliTest, Reseal_ChangesTheMasterKey) {
  config::StoredAccount stored;
  stored.upstream = "u";
  stored.account.id = "u/n";
  stored.account.api_key = Secret("sk-canary");
  {
    auto store = Open();
    ASSERT_TRUE(store.has_value());
    ASSERT_TRUE((*store)->Insert(stored, {.actor = "test", .action = "create"}).has_value());
  }
  const std::string old_key = directory_ + "/old.key";
  std::filesystem::rename(data() + "/master.key", old_key);
  EXPECT_FALSE(Open().has_value());
  EXPECT_EQ(Weir({"reseal", "--data-dir", data(), "--old-key-file", directory_ + "/none"}).code,
            kExitFailed);

  // To a key file that is made, then to one that is given.
  Outcome outcome = Weir({"reseal", "--data-dir", data(), "--old-key-file", old_key, "--json"});
  ASSERT_EQ(outcome.code, kExitDone) << outcome.err;
  EXPECT_EQ(outcome.out, "{\"resealed\":1}\n");
  ASSERT_TRUE(Open().has_value());
  setenv("WEIR_MASTER_KEY", std::string(64, 'a').c_str(), 1);
  EXPECT_THAT(Weir({"reseal", "--data-dir", data(), "--old-key-file", old_key}).err,
              HasSubstr("was sealed with master key"));
  outcome = Weir({"reseal", "--data-dir", data(), "--old-key-file", data() + "/master.key"});
  ASSERT_EQ(outcome.code, kExitDone) << outcome.err;
  auto store = Open(Secret(std::string(64, 'a')));
  ASSERT_TRUE(store.has_value()) << store.error().detail;
  EXPECT_EQ((*store)->accounts()[0].account.api_key, stored.account.api_key);
}

}  // namespace
}  // namespace weir::cli
