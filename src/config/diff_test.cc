#include "config/diff.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "config/accounts.h"
#include "config/defaults.h"
#include "config/policy_text.h"

namespace weir::config {
namespace {

std::string Described(const Config& before, const Config& after) {
  return DescribeChanges(DiffConfigs(before, after));
}

TEST(DiffConfigs, EqualConfigs_HaveNoChanges) {
  EXPECT_EQ(Described(EmbeddedDefault(), EmbeddedDefault()), "no changes");
}

TEST(DiffConfigs, SaysWhatChangedFromWhatToWhat) {
  const Config before = EmbeddedDefault();
  Config after = before;
  after.caller_limits.idle_deadline = Seconds(60);
  after.listen.port = 9090;
  Price dearer = after.models[0].price.versions().front().price;
  dearer.input = {6'000'000};
  dearer.version = DerivedVersion(dearer);
  after.models[0].price = dearer;
  after.models[1].price = {};
  after.models.erase(after.models.begin() + 4);
  Model added;
  added.id = "new";
  added.routes.push_back({0, "new"});
  after.models.push_back(added);
  EXPECT_EQ(Described(before, after),
            "6 changes: listen 127.0.0.1:8080 -> 127.0.0.1:9090 (needs a restart); "
            "limits.idle_deadline 75s -> 1m; models.gpt-5.5.price.input 5.00 -> 6.00; "
            "models.gpt-5.4.price removed; models.new added; "
            "models.gpt-4o-mini-transcribe removed");
}

TEST(DiffConfigs, AWebhooksUrl_IsASecretToo) {
  Config before = EmbeddedDefault();
  before.webhooks = {{.name = "ops", .url = "https://h.example.com/canary", .events = {}}};
  Config after = before;
  after.webhooks[0].url = "https://h.example.com/canary2";
  after.webhooks[0].secret = Secret("canary");
  after.webhooks[0].events = {"wallet.low"};
  EXPECT_EQ(Described(before, after),
            "3 changes: webhooks.ops.url changed; webhooks.ops.secret changed; "
            "webhooks.ops.events [] -> [wallet.low]");
  after.webhooks.clear();
  EXPECT_EQ(Described(before, after), "1 change: webhooks.ops removed");
}

TEST(DiffConfigs, PoliciesAndWebhooks_AreComparedByName) {
  Config before = EmbeddedDefault();
  Policy policy;
  policy.id = "monthly";
  policy.unit = QuotaUnit::kUsd;
  policy.limit = 500 * kNanoPerUsd;
  policy.match = {{Dimension::kTeam, {"support"}}};
  policy.version = DerivedVersion(policy);
  before.policies = {policy};
  before.webhooks = {{.name = "ops",
                      .url = "https://a.example/",
                      .secret = Secret("whsec_a"),
                      .events = {},
                      .allow_private = false}};
  Config after = before;
  EXPECT_EQ(Described(before, after), "no changes");
  Policy& changed = after.policies[0];
  changed.limit = 750'500'000'000;
  changed.match = {{Dimension::kTeam, {"sales", "support"}}};
  changed.per = {Dimension::kUser};
  auto zone = std::make_shared<Zone>();
  zone->name = "Europe/Berlin";
  changed.window.zone = zone;
  changed.alert_percent = {90};
  changed.retry.attempts = 3;
  changed.version = DerivedVersion(changed);
  after.webhooks[0].secret = Secret("whsec_b");
  after.webhooks[0].events = {"policy.alert"};
  EXPECT_EQ(Described(before, after),
            "8 changes: policies.monthly.match {team: support} -> {team: [sales, support]}; "
            "policies.monthly.per [] -> [user]; policies.monthly.limit 500 -> 750.5; "
            "policies.monthly.timezone UTC -> Europe/Berlin; "
            "policies.monthly.alerts [50, 75, 90, 100] -> [90]; "
            "policies.monthly.retry.attempts none -> 3; webhooks.ops.secret changed; "
            "webhooks.ops.events [] -> [policy.alert]");
  // A version that was chosen is one of the things a file says.
  changed = policy;
  changed.version = 7;
  after.webhooks = before.webhooks;
  EXPECT_TRUE(Described(before, after).contains("policies.monthly.version"));
  // What the admin API keeps is not the file's.
  after.policies = {policy, policy};
  after.policies[1].id = "stored";
  after.policies[1].stored = true;
  EXPECT_EQ(Described(before, after), "no changes");
  EXPECT_EQ(Described(after, EmbeddedDefault()),
            "2 changes: policies.monthly removed; webhooks.ops removed");
}

TEST(DiffConfigs, AttributesOfKeysAndModels_AreCompared) {
  Config before = EmbeddedDefault();
  before.keys = {KeySpec{.name = "ci"}};
  Config after = before;
  after.keys[0].attributes = {{Dimension::kTeam, "growth"}, {Dimension::kCampaign, "spring 26"}};
  after.keys[0].metadata = BitOf(Dimension::kUser) | BitOf(Dimension::kWorkflow);
  after.models[0].family = "gpt-5";
  after.models[0].model_class = "premium";
  after.metadata_secret = Secret("0123456789abcdef");
  EXPECT_EQ(Described(before, after),
            "5 changes: metadata_secret changed; models.gpt-5.5.family none -> gpt-5; "
            "models.gpt-5.5.class standard -> premium; "
            "keys.ci.attributes {} -> {team: growth, campaign: spring 26}; "
            "keys.ci.metadata [] -> [user, workflow]");
}

TEST(DiffConfigs, SecretsAreNamedButNeverShown) {
  const Config before = OpenAiDefault(Secret("sk-before"));
  Config after = OpenAiDefault(Secret("sk-after"));
  EXPECT_EQ(Described(before, after), "1 change: upstreams.openai.api_key changed");
  after.upstreams[0].api_key = Secret();
  EXPECT_EQ(Described(before, after), "1 change: upstreams.openai.api_key changed");
}

TEST(DiffConfigs, OrderMattersForRoutesAndNothingElse) {
  Config before = EmbeddedDefault();
  Upstream second;
  second.name = "second";
  second.host = "b.example";
  before.upstreams.push_back(second);
  before.models[0].routes = {{0, "gpt-5.5"}, {1, "other"}};
  Config after = before;
  // The same upstreams in the other order, and routes that name the same ones.
  std::swap(after.upstreams[0], after.upstreams[1]);
  for (Model& model : after.models) {
    for (ModelRoute& route : model.routes) route.upstream = 1 - route.upstream;
  }
  EXPECT_EQ(Described(before, after), "no changes");
  std::swap(after.models[0].routes[0], after.models[0].routes[1]);
  EXPECT_EQ(Described(before, after),
            "1 change: models.gpt-5.5.routes [sandbox, {upstream: second, model: other}] -> "
            "[{upstream: second, model: other}, sandbox]");
}

// Two upstreams, accounts, a pool of both, packages: what a test changes a part of.
Config Pooled() {
  Config config;
  config.upstreams.resize(2);
  config.upstreams[0].name = "one";
  config.upstreams[1].name = "two";
  config.accounts.resize(3);
  config.accounts[0].id = "one/a";
  config.accounts[1].id = "one/b";
  config.accounts[2].id = "two/c";
  config.accounts[2].upstream = 1;
  config.pools = {{.name = "p", .accounts = {0, 1}}, {.name = "q", .accounts = {2}}};
  config.packages = {{.name = "plain", .pools = {0, 1}}, {.name = "gold", .pools = {1}}};
  config.workspaces = {{.name = "acme", .package = "gold"}};
  config.models.resize(1);
  config.models[0].id = "m";
  config.models[0].downgrade = Downgrade{"n", 80};
  FinishAccounts(config);
  return config;
}

TEST(DiffConfigs, AccountsAndWhatIsMadeOfThem_AreComparedByName) {
  const Config before = Pooled();
  EXPECT_EQ(Described(before, Pooled()), "no changes");
  Config after = Pooled();
  after.concurrency = 9;
  after.accounts[1].weight = 3;
  after.accounts[1].api_key = Secret("sk-new");
  after.accounts[1].proxy = Proxy{"::1", 3128};
  after.accounts[0].id = "one/z";
  after.pools[1].queue.size = 5;
  after.packages[0].pools = {1, 0};
  after.workspaces[0].package = "plain";
  after.models[0].downgrade->above_percent = 60;
  EXPECT_EQ(Described(before, after),
            "11 changes: concurrency 0 -> 9; accounts.one/z added; "
            "accounts.one/b.api_key changed; accounts.one/b.weight 1 -> 3; "
            "accounts.one/b.proxy none -> http://[::1]:3128; accounts.one/a removed; "
            "pools.p.accounts [one/a, one/b] -> [one/b, one/z]; pools.q.queue.size 0 -> 5; "
            "packages.plain.pools [p, q] -> [q, p]; workspaces.acme.package gold -> plain; "
            "models.m.downgrade.above 80 -> 60");
  after = Pooled();
  after.models[0].downgrade.reset();
  std::swap(after.packages[0], after.packages[1]);
  EXPECT_EQ(Described(before, after),
            "2 changes: packages first plain -> first gold; models.m.downgrade removed");
}

TEST(DiffConfigs, TheOrderOfAccounts_IsNoChange) {
  Config after = Pooled();
  std::swap(after.accounts[0], after.accounts[1]);
  std::swap(after.accounts[0], after.accounts[2]);  // now c, a, b
  after.pools[0].accounts = {1, 2};
  after.pools[1].accounts = {0};
  EXPECT_EQ(Described(Pooled(), after), "no changes");
}

// What FinishAccounts adds is not the operator's: only what it was made from is named.
TEST(DiffConfigs, ImpliedAccountsAndReservedPools_AreNotNamed) {
  Config before = Pooled();
  Config after;
  after.upstreams = before.upstreams;
  after.accounts = {before.accounts.begin(), before.accounts.begin() + 3};
  after.accounts[2].keys = {"hers"};
  after.pools = {{.name = "p", .accounts = {0, 1}}, {.name = "q", .accounts = {2}}};
  after.packages = {before.packages[0], before.packages[1]};
  after.workspaces = before.workspaces;
  after.models = before.models;
  FinishAccounts(after);
  EXPECT_EQ(Described(before, after), "1 change: accounts.two/c.reserved_for [] -> [hers]");
}

TEST(DescribeChanges, ALongList_IsCut) {
  const Config before = EmbeddedDefault();
  Config after = before;
  for (int i = 0; i < 30; ++i) {
    KeySpec key;
    key.name = "k" + std::to_string(i);
    after.keys.push_back(key);
  }
  EXPECT_TRUE(Described(before, after).ends_with("keys.k19 added; and 10 more"));
}

TEST(WithoutRestartChanges, KeepsWhatOnlyARestartCanChange) {
  const Config before = EmbeddedDefault();
  Config after = before;
  after.listen.port = 9090;
  after.admin.port = 9091;
  after.workers = 3;
  after.data_dir = "elsewhere";
  after.durability = Durability::kPower;
  after.caller_limits.idle_deadline = Seconds(60);
  const Config published = WithoutRestartChanges(before, after);
  EXPECT_EQ(Described(before, published), "1 change: limits.idle_deadline 75s -> 1m");
  const auto changes = DiffConfigs(before, after);
  EXPECT_EQ(std::ranges::count(changes, true, &ConfigChange::needs_restart), 5);
}

TEST(DiffConfigs, Prices_ByRateWhereThatIsAll_ElseAsTheFileHasThem) {
  Config before = EmbeddedDefault();
  Config after = before;
  before.models.resize(1);
  after.models.resize(1);
  const Price price = before.models[0].price.versions().front().price;
  Price reasoned = price;
  reasoned.reasoning = {40'000'000};
  after.models[0].price = reasoned;
  EXPECT_EQ(Described(before, after), "1 change: models.gpt-5.5.price.reasoning none -> 40.00");
  Price renumbered = price;
  renumbered.version = 9;
  after.models[0].price = renumbered;
  EXPECT_EQ(Described(before, after),
            "1 change: models.gpt-5.5.price.version " + std::to_string(price.version) + " -> 9");
  after.models[0].price = price;
  after.models[0].price.Add(Instant{1'800'000'000'000'000'000}, reasoned);
  EXPECT_EQ(Described(before, after).substr(0, 80),
            "1 change: models.gpt-5.5.price {input: 5.00, cached_input: 0.50, output: 30.00} ");
  after = before;
  after.models[0].price_by_name = true;
  EXPECT_EQ(Described(before, after), "1 change: models.gpt-5.5.price from the catalog now");
}

TEST(DiffConfigs, ACatalog_IsTheNumberOfItsChanges) {
  const auto catalog = [](std::vector<std::pair<std::string, std::int64_t>> prices) {
    PriceCatalog made;
    for (auto& [model, input] : prices) made.Set(model, Price{.input = {input}});
    made.Seal();
    return std::make_shared<const PriceCatalog>(std::move(made));
  };
  Config before = EmbeddedDefault();
  Config after = before;
  after.catalog = catalog({{"a", 1}, {"b", 2}});
  EXPECT_EQ(Described(before, after), "1 change: catalog 2 added, 0 removed, 0 changed");
  before.catalog = catalog({{"b", 3}, {"c", 4}, {"d", 5}});
  EXPECT_EQ(Described(before, after), "1 change: catalog 1 added, 2 removed, 1 changed");
  after.catalog = catalog({{"d", 5}, {"c", 4}, {"b", 3}});
  EXPECT_EQ(Described(before, after), "no changes");
  after.price_ceiling = Price{.input = {1}};
  EXPECT_EQ(Described(before, after), "1 change: price_ceiling added");
}

}  // namespace
}  // namespace weir::config
