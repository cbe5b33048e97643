// What is filled in where a file says nothing, so that the path needs to know one form only.
#include "config/accounts.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "config/defaults.h"

namespace weir::config {
namespace {

using Indices = std::vector<std::uint32_t>;

Upstream Named(std::string name) {
  Upstream upstream;
  upstream.api_key = Secret("sk-" + name);
  upstream.name = std::move(name);
  return upstream;
}

Account On(std::uint32_t upstream, std::string id, std::vector<std::string> keys = {}) {
  Account account;
  account.upstream = upstream;
  account.id = std::move(id);
  account.keys = std::move(keys);
  return account;
}

TEST(FinishAccounts, AnUpstreamWithoutAccounts_GetsOneWithItsNameAndKey) {
  Config config;
  config.upstreams = {Named("a"), Named("b"), Named("c")};
  config.accounts = {On(1, "b/one"), On(1, "b/two")};
  FinishAccounts(config);
  ASSERT_EQ(config.accounts.size(), 4U);
  EXPECT_EQ(config.accounts[0].id, "b/one");  // those of the file keep their places
  EXPECT_EQ(config.accounts[2].id, "a");
  EXPECT_EQ(config.accounts[2].upstream, 0U);
  EXPECT_EQ(config.accounts[2].api_key, Secret("sk-a"));
  EXPECT_EQ(config.accounts[3].id, "c");
  EXPECT_EQ(config.accounts[3].upstream, 2U);
  EXPECT_TRUE(config.accounts[0].api_key.empty());  // an account never takes its upstream's key
}

TEST(FinishAccounts, WithoutPools_ThereIsOneOfAllThatAreShared) {
  Config config;
  config.upstreams = {Named("a")};
  config.accounts = {On(0, "a/one"), On(0, "a/hers", {"hers"}), On(0, "a/two")};
  FinishAccounts(config);
  ASSERT_EQ(config.pools.size(), 2U);
  EXPECT_EQ(config.pools[0].name, "default");
  EXPECT_EQ(config.pools[0].accounts, (Indices{0, 2}));
  EXPECT_EQ(config.pools[0].queue.size, 0);  // nobody waits unless the file says so
  ASSERT_EQ(config.packages.size(), 2U);
  EXPECT_EQ(config.packages[0].name, "default");
  EXPECT_EQ(config.packages[0].pools, Indices{0});
}

TEST(FinishAccounts, APoolWithoutAccounts_GetsTheSharedOnes_OthersKeepTheirs) {
  Config config;
  config.upstreams = {Named("a")};
  config.accounts = {On(0, "a/one"), On(0, "a/hers", {"hers"}), On(0, "a/two")};
  config.pools = {{.name = "some", .accounts = {2}}, {.name = "all"}};
  FinishAccounts(config);
  EXPECT_EQ(config.pools[0].accounts, Indices{2});
  EXPECT_EQ(config.pools[1].accounts, (Indices{0, 2}));
  EXPECT_EQ(config.packages[0].pools, Indices{0});  // the first pool only
}

TEST(FinishAccounts, ReservedAccounts_AreAskedFirstAndThePoolsOfTheKeyBehindThem) {
  Config config;
  config.upstreams = {Named("a")};
  config.accounts = {On(0, "a/shared"), On(0, "a/both", {"zoe", "ann"}), On(0, "a/anns", {"ann"})};
  config.pools = {{.name = "first"}, {.name = "second", .queue = {.size = 7}}};
  config.packages = {{.name = "plain", .pools = {0}}, {.name = "gold", .pools = {1, 0}}};
  config.workspaces = {{.name = "acme", .package = "gold"}};
  config.keys = {{.name = "zoe", .workspace = "acme"}, {.name = "ann"}};
  FinishAccounts(config);

  const Package& anns = config.packages[config.PackageOf("ann", "", "")];
  EXPECT_EQ(anns.name, "key:ann");
  ASSERT_EQ(anns.pools.size(), 2U);
  EXPECT_EQ(config.pools[anns.pools[0]].name, "key:ann");
  EXPECT_EQ(config.pools[anns.pools[0]].accounts, (Indices{1, 2}));
  EXPECT_EQ(config.pools[anns.pools[0]].queue.size, 0);
  EXPECT_EQ(anns.pools[1], 0U);

  const Package& zoes = config.packages[config.PackageOf("zoe", "acme", "")];
  ASSERT_EQ(zoes.pools.size(), 3U);
  EXPECT_EQ(config.pools[zoes.pools[0]].accounts, Indices{1});
  EXPECT_EQ(config.pools[zoes.pools[0]].queue.size, 7);  // that of the pool it would wait in
  EXPECT_EQ(zoes.pools[1], 1U);
  EXPECT_EQ(zoes.pools[2], 0U);
}

TEST(PackageOf, TheNearestSayWins) {
  Config config;
  config.upstreams = {Named("a")};
  config.accounts = {On(0, "a/shared"), On(0, "a/hers", {"hers"})};
  config.pools = {{.name = "p"}};
  config.packages = {{.name = "plain", .pools = {0}},
                     {.name = "silver", .pools = {0}},
                     {.name = "gold", .pools = {0}}};
  config.workspaces = {{.name = "acme", .package = "silver"}, {.name = "bare"}};
  FinishAccounts(config);
  struct Case {
    const char* key;
    const char* workspace;
    const char* package;
    const char* want;
  };
  const Case cases[] = {
      {"k", "", "", "plain"},
      {"k", "acme", "", "silver"},
      {"k", "acme", "gold", "gold"},
      {"k", "bare", "", "plain"},
      {"k", "gone", "", "plain"},
      {"k", "acme", "gone", "plain"},
      {"hers", "acme", "gold", "key:hers"},
      {"her", "", "", "plain"},    // just below the reserved name
      {"hersx", "", "", "plain"},  // just above it
      {"", "", "", "plain"},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(config.packages[config.PackageOf(c.key, c.workspace, c.package)].name, c.want)
        << c.key << " " << c.workspace << " " << c.package;
  }
}

TEST(FinishAccounts, TheDefaults_AreFinished) {
  for (const Config& config : {EmbeddedDefault(), OpenAiDefault(Secret("sk-test"))}) {
    ASSERT_EQ(config.accounts.size(), 1U);
    EXPECT_EQ(config.accounts[0].id, config.upstreams[0].name);
    EXPECT_EQ(config.accounts[0].api_key, config.upstreams[0].api_key);
    ASSERT_EQ(config.pools.size(), 1U);
    EXPECT_EQ(config.pools[0].accounts, Indices{0});
    EXPECT_EQ(config.PackageOf("any", "any", "any"), 0U);
  }
}

// Two upstreams, "a" with a key and "b" without one; a pool of each kind.
Config Filed() {
  Config config;
  config.upstreams = {Named("a"), Named("b"), Named("here")};
  config.upstreams[1].api_key = Secret();
  config.upstreams[2].kind = UpstreamKind::kSandbox;
  config.accounts = {On(0, "a/one"), On(0, "a/two")};
  config.pools = {{.name = "named", .accounts = {0}, .members = {"a/one"}},
                  {.name = "of-a", .accounts = {0, 1}, .members = {"a/*"}},
                  {.name = "all"}};
  config.packages = {{.name = "plain", .pools = {0}}, {.name = "gold", .pools = {2, 1}}};
  FinishAccounts(config);
  return config;
}

StoredAccount Stored(std::string upstream, std::string id, std::vector<std::string> keys = {}) {
  return {std::move(upstream), On(99, std::move(id), std::move(keys))};
}

TEST(WithAccounts, Nothing_ChangesNothing) {
  const Config file = Filed();
  const WithAccountsReply reply = WithAccounts(file, {}, {}, {});
  EXPECT_TRUE(reply.left_out.empty());
  EXPECT_EQ(reply.config.accounts.size(), file.accounts.size());
  ASSERT_EQ(reply.config.pools.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(reply.config.pools[i].accounts, file.pools[i].accounts);
  }
  EXPECT_TRUE(reply.config.reserved_packages.empty());
}

TEST(WithAccounts, PoolsOfPatternsOrOfAll_TakeSharedOnesIn_OthersDoNot) {
  const Config file = Filed();  // accounts: a/one a/two b here
  const StoredAccount stored[] = {Stored("b", "b/x"), Stored("a", "a/new"),
                                  Stored("a", "a/hers", {"hers"})};
  const Config config = WithAccounts(file, stored, {}, {}).config;
  ASSERT_EQ(config.accounts.size(), 7U);
  EXPECT_EQ(config.accounts[4].id, "b/x");
  EXPECT_EQ(config.accounts[4].upstream, 1U);
  EXPECT_EQ(config.accounts[5].upstream, 0U);
  EXPECT_EQ(config.pools[0].accounts, Indices{0});
  EXPECT_EQ(config.pools[1].accounts, (Indices{0, 1, 5}));
  EXPECT_EQ(config.pools[2].accounts, (Indices{0, 1, 2, 3, 4, 5}));
  ASSERT_EQ(config.pools.size(), 4U);
  EXPECT_EQ(config.pools[3].name, "key:hers");
  EXPECT_EQ(config.pools[3].accounts, Indices{6});
}

TEST(WithAccounts, AKeyTheFileDoesNotName_KeepsItsPackageBehindItsOwnAccounts) {
  const Config file = Filed();
  const StoredAccount stored[] = {Stored("a", "a/hers", {"hers"})};
  const KeyPlace places[] = {{.key = "hers", .workspace = {}, .package = "gold"}};
  const Config config = WithAccounts(file, stored, {}, places).config;
  const Package& package = config.packages[config.PackageOf("hers", "", "gold")];
  EXPECT_EQ(package.name, "key:hers");
  EXPECT_EQ(package.pools, (std::vector<std::uint32_t>{3, 2, 1}));
}

TEST(WithAccounts, ReservedAccountsOfTheFile_JoinThoseOfTheStore_AndAreMadeOnce) {
  Config file = Filed();
  file.accounts.push_back(On(0, "a/filed", {"hers"}));
  file.keys = {{.name = "hers"}};
  FinishAccounts(file);
  const StoredAccount stored[] = {Stored("a", "a/hers", {"hers"})};
  const Config config = WithAccounts(file, stored, {}, {}).config;
  ASSERT_EQ(config.pools.size(), 4U);
  EXPECT_EQ(config.pools[3].accounts, (Indices{4, 5}));
  EXPECT_EQ(config.packages.size(), 3U);
  EXPECT_EQ(config.reserved_packages.size(), 1U);
}

TEST(WithAccounts, WhatHasNoUpstreamOrATakenId_IsLeftOutAndSaidSo) {
  const Config file = Filed();
  const StoredAccount stored[] = {Stored("gone", "gone/x"), Stored("a", "a/two"),
                                  Stored("a", "a/new")};
  const WithAccountsReply reply = WithAccounts(file, stored, {}, {});
  EXPECT_EQ(reply.left_out, (std::vector<std::string>{"gone/x", "a/two"}));
  EXPECT_EQ(reply.config.accounts.size(), file.accounts.size() + 1);
}

TEST(WithAccounts, AnImpliedAccountWithoutAKey_GivesWay_UnlessAnOverrideKeepsIt) {
  const Config file = Filed();
  const auto implied = [&](std::string_view id, std::span<const StoredAccount> stored,
                           std::span<const AccountOverride> overrides = {}) {
    const Config config = WithAccounts(file, stored, overrides, {}).config;
    return std::ranges::find(config.accounts, id, &Account::id)->enabled;
  };
  const StoredAccount shared[] = {Stored("b", "b/x")};
  const StoredAccount reserved[] = {Stored("b", "b/x", {"hers"})};
  const StoredAccount sandbox[] = {Stored("here", "here/x")};
  const AccountOverride keep[] = {{.account = "b", .enabled = true, .draining = {}}};
  EXPECT_TRUE(implied("b", {}));
  EXPECT_FALSE(implied("b", shared));
  EXPECT_TRUE(implied("b", reserved));
  EXPECT_TRUE(implied("here", sandbox));
  EXPECT_TRUE(implied("b", shared, keep));
}

TEST(WithAccounts, Overrides_ReachAccountsOfTheFileOnly) {
  const Config file = Filed();
  const StoredAccount stored[] = {Stored("a", "a/new")};
  const AccountOverride overrides[] = {{.account = "a/one", .enabled = false, .draining = {}},
                                       {.account = "a/two", .enabled = {}, .draining = true},
                                       {.account = "a/new", .enabled = false, .draining = {}},
                                       {.account = "a/gone", .enabled = false, .draining = true}};
  const Config config = WithAccounts(file, stored, overrides, {}).config;
  EXPECT_FALSE(config.accounts[0].enabled);
  EXPECT_FALSE(config.accounts[0].draining);
  EXPECT_TRUE(config.accounts[1].enabled);
  EXPECT_TRUE(config.accounts[1].draining);
  EXPECT_TRUE(config.accounts.back().enabled);
}

}  // namespace
}  // namespace weir::config
