// The part of a file that is about accounts: good files to values, bad ones to lists of errors.
#include <gtest/gtest.h>

#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "config/accounts.h"
#include "config/option_table.h"
#include "config/parse.h"

namespace weir::config {
namespace {

using Indices = std::vector<std::uint32_t>;

std::optional<std::string> Env(std::string_view name) {
  if (name == "SECRET") return "sk-from-the-environment";
  return std::nullopt;
}

std::string Errors(std::string_view text) {
  const auto config = ParseConfig(text, "f", Env);
  if (config) return "no errors";
  std::string lines;
  for (const ConfigError& error : config.error()) {
    EXPECT_FALSE(error.fix.empty()) << error.message;
    lines += FormatConfigError(error).substr(2) + "\n";
  }
  return lines;
}

Config Parsed(std::string_view text) {
  auto config = ParseConfig(text, "f", Env);
  if (!config) throw std::runtime_error(Errors(text));  // nothing to look at: the test is over
  return *std::move(config);
}

const Account& Find(const Config& config, std::string_view id) {
  static const Account none;
  for (const Account& account : config.accounts) {
    if (account.id == id) return account;
  }
  ADD_FAILURE() << "no account " << id;
  return none;
}

// In the order of the lists that is hardest: each stands before what it refers to.
constexpr std::string_view kWhole = R"(
keys:
  - {name: plain, workspace: acme}
  - name: hers
    package: gold
    codex_adaptation: true
    payload_rules:
      - {path: reasoning.effort, value: '"low"'}
      - {path: tools.0, value: '{"type": "web_search"}'}
      - {path: parallel_tool_calls, value: false}
    allow_downgrade: false
workspaces:
  - {name: acme, package: silver}
  - name: bare
packages:
  - {name: gold, pools: [default, reserve]}
  - {name: silver, pools: [reserve]}
pools:
  - name: default
    accounts: [openai/team-a, "openai/*"]
    concurrency: 40
    queue: {size: 100, per_key: 3, wait: 5s}
  - {name: reserve, accounts: [second/demo, third]}
  - {name: every, accounts: ["*"]}
models:
  - {id: big, routes: [openai], downgrade: {to: small, above: 90}}
  - {id: other, routes: [second], downgrade: {to: small}, capabilities: [chat]}
  - {id: small, routes: [openai, second]}
upstreams:
  - name: openai
    base_url: https://api.openai.com/v1
    concurrency: 9
    accounts:
      - name: team-a
        api_key: ${SECRET}
        draining: true
        models: [big]
        capabilities: [responses, chat, audioTranscription]
        weight: 1000
        priority: 0
        concurrency: 8
        requests_per_minute: 60
        tokens_per_minute: 1000000
        expires_at: 2027-01-31
        profile: responses_strict
        proxy: http://10.0.0.1:3128
      - {name: hers, api_key: k, reserved_for: [hers]}
      - {name: off, api_key: "", enabled: false}
  - {name: second, kind: sandbox, accounts: [{name: demo}]}
  - {name: third, kind: sandbox}
concurrency: 77
)";

TEST(ParseAccounts, EveryOption_IsRead) {
  const Config config = Parsed(kWhole);
  EXPECT_EQ(config.concurrency, 77);
  ASSERT_EQ(config.accounts.size(), 5U);
  const Account& a = Find(config, "openai/team-a");
  EXPECT_EQ(a.upstream, 0U);
  EXPECT_EQ(a.api_key, Secret("sk-from-the-environment"));
  EXPECT_TRUE(a.enabled);
  EXPECT_TRUE(a.draining);
  EXPECT_EQ(a.models, std::vector<std::string>{"big"});
  EXPECT_EQ(a.capabilities, kCapResponses | kCapChat | kCapTranscription);
  EXPECT_EQ(a.weight, 1000);
  EXPECT_EQ(a.priority, 0);
  EXPECT_EQ(a.concurrency, 8);
  EXPECT_EQ(a.requests_per_minute, 60);
  EXPECT_EQ(a.tokens_per_minute, 1'000'000);
  EXPECT_EQ(a.expires_at->ns, 1'801'353'600'000'000'000);
  EXPECT_EQ(a.adapt, AdaptProfile::kResponsesStrict);
  EXPECT_EQ(a.proxy, (Proxy{"10.0.0.1", 3128}));

  const Account& off = Find(config, "openai/off");
  EXPECT_FALSE(off.enabled);
  EXPECT_TRUE(off.api_key.empty());
  EXPECT_EQ(off.capabilities, kCapsAll);
  EXPECT_EQ(off.adapt, AdaptProfile::kOpenAiApi);
  EXPECT_FALSE(off.proxy);
  EXPECT_EQ(Find(config, "openai/hers").keys, std::vector<std::string>{"hers"});
  EXPECT_EQ(Find(config, "second/demo").upstream, 1U);
  EXPECT_EQ(Find(config, "third").upstream, 2U);
  EXPECT_EQ(config.upstreams[0].concurrency, 9);
}

TEST(ParseAccounts, NamesBecomeTheirIndices_WhateverTheOrderOfTheFile) {
  const Config config = Parsed(kWhole);
  const auto ids = [&](const Pool& pool) {
    std::vector<std::string> names;
    for (const auto i : pool.accounts) names.push_back(config.accounts[i].id);
    return names;
  };
  using Ids = std::vector<std::string>;
  EXPECT_EQ(ids(config.pools[0]), (Ids{"openai/team-a", "openai/off"}));  // each once
  EXPECT_EQ(config.pools[0].concurrency, 40);
  EXPECT_EQ(config.pools[0].queue.size, 100);
  EXPECT_EQ(config.pools[0].queue.per_key, 3);
  EXPECT_EQ(config.pools[0].queue.wait, Seconds(5));
  EXPECT_EQ(ids(config.pools[1]), (Ids{"second/demo", "third"}));
  EXPECT_EQ(config.pools[1].queue.size, 0);
  EXPECT_EQ(ids(config.pools[2]), (Ids{"openai/team-a", "openai/off", "second/demo", "third"}));

  EXPECT_EQ(config.packages[0].pools, (Indices{0, 1}));
  EXPECT_EQ(config.packages[1].pools, Indices{1});
  EXPECT_EQ(config.workspaces[0].package, "silver");
  EXPECT_EQ(config.workspaces[1].package, "");
  EXPECT_EQ(config.keys[0].workspace, "acme");
  EXPECT_FALSE(config.keys[0].codex_adaptation);
  EXPECT_TRUE(config.keys[0].allow_downgrade);
  EXPECT_EQ(config.keys[1].package, "gold");
  EXPECT_TRUE(config.keys[1].codex_adaptation);
  EXPECT_FALSE(config.keys[1].allow_downgrade);
  EXPECT_TRUE(config.keys[0].payload_rules.empty());
  EXPECT_EQ(FormatPayloadRules(config.keys[1].payload_rules),
            R"([reasoning.effort = "low", tools.0 = {"type": "web_search"}, )"
            R"(parallel_tool_calls = false])");
  EXPECT_EQ(config.PackageOf("plain", "acme", ""), 1U);

  // What is reserved is finished: its key asks it first.
  const Package& hers = config.packages[config.PackageOf("hers", "", "gold")];
  EXPECT_EQ(ids(config.pools[hers.pools[0]]), Ids{"openai/hers"});
  EXPECT_EQ(hers.pools[1], 0U);

  EXPECT_EQ(config.models[0].downgrade->to, "small");
  EXPECT_EQ(config.models[0].downgrade->above_percent, 90);
  EXPECT_EQ(config.models[1].downgrade->above_percent, 80);
  EXPECT_FALSE(config.models[2].downgrade);
}

TEST(ParseAccounts, APayloadRule_IsRefusedWithItsPlaceAndTheReason) {
  const auto errors = [](std::string_view rules, std::string_view codex = "true") {
    return Errors(
        "upstreams: [{name: up, kind: sandbox}]\nmodels: [{id: m}]\n"
        "keys:\n  - name: k\n    codex_adaptation: " +
        std::string(codex) + "\n    payload_rules: " + std::string(rules) + "\n");
  };
  const std::string fix =
      "; write a path such as reasoning.effort and a value such as true, 5 or '\"low\"'\n";
  EXPECT_EQ(errors("[{path: a, value: 1}, {path: model, value: '\"x\"'}]"),
            "6:42: keys[0].payload_rules[1]: 'model' cannot be set by a payload rule: it decides "
            "price, permission or the form of the reply" +
                fix);
  EXPECT_EQ(
      errors("[{path: a, value: low}]"),
      "6:21: keys[0].payload_rules[0]: the value must be JSON; a text needs its quotes" + fix);
  EXPECT_TRUE(errors("[{path: a}]").contains("payload_rules[0].value: is missing"));
  EXPECT_TRUE(errors("[{path: a, value: {b: 1}}]").contains("is a mapping, not a single value"));
  EXPECT_TRUE(errors("[{path: a, value: 1, valueType: json}]").contains("is not an option"));
  EXPECT_TRUE(errors("{path: a, value: 1}").contains("is a mapping, not a list"));
  EXPECT_TRUE(errors("[{path: a, value: 1}]", "false")
                  .contains("payload_rules: means nothing without codex_adaptation"));
  std::string many = "[";
  for (int i = 0; i < 33; ++i) many += "{path: a, value: 1},";
  EXPECT_TRUE(errors(many + "]").contains("has 33 items; use at most 32"));
}

TEST(ParseAccounts, APoolRemembersItsPatterns_SoThatLaterAccountsComeIn) {
  const Config file = Parsed(
      "upstreams:\n  - {name: up, base_url: https://h/v1, accounts: [{name: a, api_key: k}]}\n"
      "models: [{id: m, routes: [up]}]\n"
      "pools:\n  - {name: named, accounts: [up/a]}\n  - {name: pattern, accounts: [up/*]}\n"
      "  - {name: star, accounts: [\"*\"]}\n  - {name: none}\n");
  StoredAccount stored{.upstream = "up", .account = {}};
  stored.account.id = "up/b";
  const Config config = WithAccounts(file, std::span(&stored, 1), {}, {}).config;
  EXPECT_EQ(config.pools[0].accounts.size(), 1U);
  for (std::size_t i = 1; i < 4; ++i) EXPECT_EQ(config.pools[i].accounts.size(), 2U) << i;
}

TEST(ParseAccounts, AFileWithoutAnyOfIt_HasOneAccountPoolAndPackage) {
  const Config config = Parsed(
      "upstreams: [{name: up, base_url: 'https://h', api_key: '${SECRET}'}]\n"
      "models: [{id: m}]\nkeys: [{name: k, package: default}]\n"
      "packages: [{name: default, pools: [default]}]\n");
  ASSERT_EQ(config.accounts.size(), 1U);
  EXPECT_EQ(config.accounts[0].id, "up");
  EXPECT_EQ(config.accounts[0].api_key, Secret("sk-from-the-environment"));
  ASSERT_EQ(config.pools.size(), 1U);
  EXPECT_EQ(config.pools[0].accounts, Indices{0});
  EXPECT_EQ(config.packages.size(), 1U);
}

// One upstream "up" with the accounts a and b (of the key k), the model m, and more.
std::string With(std::string_view more) {
  return "upstreams:\n"
         "  - {name: up, kind: sandbox, accounts: [{name: a}, {name: b, reserved_for: [k]}]}\n"
         "models: [{id: m}]\nkeys: [{name: k}]\n" +
         std::string(more) + "\n";
}

TEST(ParseAccounts, EveryReference_MustMeanSomething) {
  struct Case {
    const char* more;
    const char* want;
  };
  const Case cases[] = {
      {"pools: [{name: p, accounts: [up/A]}]",
       "5:30: pools[0].accounts: no account is named \"up/A\"; did you mean up/a?"},
      {"pools: [{name: p, accounts: [up/a, up]}]",
       "5:36: pools[0].accounts: no account is named \"up\"; known: up/a, up/b"},
      {"pools: [{name: p, accounts: ['op/*']}]",
       "5:30: pools[0].accounts: no account that is not reserved matches \"op/*\"; name an"},
      {"pools: [{name: p, accounts: ['/*']}]",
       "5:30: pools[0].accounts: no account that is not reserved matches \"/*\""},
      {"pools: [{name: p, accounts: ['u*']}]",
       "5:30: pools[0].accounts: no account is named \"u*\""},
      {"pools: [{name: p, accounts: [up/b]}]",
       "5:30: pools[0].accounts: \"up/b\" is reserved for keys; remove it here, or"},
      {"pools: [{name: p, accounts: []}]", "5:29: pools[0].accounts: is empty"},
      {"pools: [{name: p, accounts: up/a}]", "5:29: pools[0].accounts: is a single value"},
      {"pools: [{name: p, accounts: [up/a, up/a]}]", "5:36: pools[0].accounts[1]: is in the list"},
      {"pools: [{name: p}, {name: p}]", "5:27: pools[1].name: \"p\" is taken since line 5"},
      {"pools: [{accounts: [up/a]}]", "5:9: pools[0].name: is missing; add it: How packages"},
      {"pools: [{name: 'key:k'}]", "5:16: pools[0].name: \"key:k\" has characters that are not"},
      {"pools: [{name: p, slots: 3}]",
       "5:19: pools[0].slots: is not an option; did you mean concurrency?"},
      {"pools: [{name: p, queue: {size: 3, timeout: 3s}}]",
       "5:36: pools[0].queue.timeout: is not an option; did you mean wait?"},
      {"pools: [{name: p, queue: {wait: 30}}]", "5:33: pools[0].queue.wait: \"30\" is not a"},
      {"pools: [{name: p, queue: {per_key: 0}}]", "5:36: pools[0].queue.per_key: \"0\" is out of"},
      {"packages: [{name: g, pools: [dfault]}]",
       "5:30: packages[0].pools: no pool is named \"dfault\"; did you mean default?"},
      {"packages: [{name: g, pools: [q]}]\npools: [{name: p}]",
       "5:30: packages[0].pools: no pool is named \"q\"; known: p"},
      {"packages: [{name: g, pools: []}]", "5:29: packages[0].pools: is empty; name at least one"},
      {"packages: [{name: g}]", "5:12: packages[0].pools: is missing"},
      {"packages: [{name: g, pools: [default]}, {name: g, pools: [default]}]",
       "5:48: packages[1].name: \"g\" is taken"},
      {"workspaces: [{name: w, package: glod}]\npackages: [{name: gold, pools: [default]}]",
       "5:33: workspaces[0].package: no package is named \"glod\"; did you mean gold?"},
      {"workspaces: [{name: w}, {name: w}]", "5:32: workspaces[1].name: \"w\" is taken"},
      {"workspaces: [{name: w, pool: p}]", "5:24: workspaces[0].pool: is not an option"},
      {"concurrency: -1", "5:14: concurrency: \"-1\" is out of bounds; use 0..1000000"},
  };
  for (const Case& c : cases) {
    const std::string errors = Errors(With(c.more));
    EXPECT_TRUE(errors.starts_with(c.want)) << c.more << "\n" << errors;
    EXPECT_EQ(errors.find('\n'), errors.size() - 1) << "more than one error: " << errors;
  }
}

TEST(ParseAccounts, AccountsThatCannotBe_AreRefused) {
  struct Case {
    const char* upstream;  // behind "upstreams: [{name: up, ", on line 1
    const char* want;
  };
  constexpr std::string_view kRest =
      "models: [{id: m, routes: [up]}, {id: n, routes: [other]}]\nkeys: [{name: k}]\n";
  const Case cases[] = {
      {"base_url: 'http://h', api_key: k, accounts: [{name: a, api_key: k}]",
       "1:55: upstreams[0].api_key: is given beside accounts; move it to an account of its own"},
      {"kind: sandbox, api_key: k, accounts: [{name: a}]",
       "1:13: upstreams[0].api_key: means nothing for a sandbox"},
      {"base_url: 'http://h', accounts: [{name: a}]",
       "1:57: upstreams[0].accounts[0].api_key: is missing; add api_key: ${NAME}, or \"\" to"},
      {"kind: sandbox, accounts: []", "1:49: upstreams[0].accounts: is empty"},
      {"kind: sandbox, accounts: {name: a}", "1:49: upstreams[0].accounts: is a mapping, not a"},
      {"kind: sandbox, accounts: [{name: a}, {name: a}]",
       "1:68: upstreams[0].accounts[1].name: \"a\" is taken since line 1"},
      {"kind: sandbox, accounts: [{weight: 1}]", "1:50: upstreams[0].accounts[0].name: is missing"},
      {"kind: sandbox, accounts: [{name: a/b}]", "1:57: upstreams[0].accounts[0].name: \"a/b\""},
      {"kind: sandbox, accounts: [{name: a, weight: 0}]",
       "1:68: upstreams[0].accounts[0].weight: \"0\" is out of bounds; use 1..1000"},
      {"kind: sandbox, accounts: [{name: a, priority: 1001}]",
       "1:70: upstreams[0].accounts[0].priority: \"1001\" is out of bounds; use 0..1000"},
      {"kind: sandbox, accounts: [{name: a, wieght: 1}]",
       "1:60: upstreams[0].accounts[0].wieght: is not an option; did you mean weight?"},
      {"kind: sandbox, accounts: [{name: a, rpm: 1}]",
       "1:60: upstreams[0].accounts[0].rpm: is not an option; did you mean requests_per_minute?"},
      {"kind: sandbox, accounts: [{name: a, keys: [k]}]",
       "1:60: upstreams[0].accounts[0].keys: is not an option; did you mean reserved_for?"},
      {"kind: sandbox, accounts: [{name: a, capabilities: [audio]}]",
       "1:75: upstreams[0].accounts[0].capabilities[0]: \"audio\" is not a choice"},
      {"kind: sandbox, accounts: [{name: a, profile: codex}]",
       "1:69: upstreams[0].accounts[0].profile: \"codex\" is not a choice; write one of "
       "openai_api"},
      {"kind: sandbox, accounts: [{name: a, models: [x]}]",
       "1:68: upstreams[0].accounts[0].models: no model has the id \"x\""},
      {"kind: sandbox, accounts: [{name: a, models: [n]}]",
       "1:68: upstreams[0].accounts[0].models: \"n\" has no route to up; add up to the routes"},
      {"kind: sandbox, accounts: [{name: a, reserved_for: [kk]}]",
       "1:74: upstreams[0].accounts[0].reserved_for: no key of this file is named \"kk\""},
      {"kind: sandbox, accounts: [{name: a, proxy: 'https://h:1'}]",
       "1:67: upstreams[0].accounts[0].proxy: \"https://h:1\" is not a proxy; write http://HOST:"},
      {"kind: sandbox, concurrency: many", "1:52: upstreams[0].concurrency: \"many\" is not a"},
  };
  for (const Case& c : cases) {
    const std::string errors = Errors("upstreams: [{name: up, " + std::string(c.upstream) +
                                      "}, {name: other, kind: sandbox}]\n" + std::string(kRest));
    EXPECT_TRUE(errors.starts_with(c.want)) << c.upstream << "\n" << errors;
    EXPECT_EQ(errors.find('\n'), errors.size() - 1) << "more than one error: " << errors;
  }
}

// A wildcard takes every name, so an account may name any, if the wildcard leads to it.
TEST(ParseAccounts, ModelsOfAnAccount_MayBeTheWildcards) {
  EXPECT_EQ(Errors("upstreams: [{name: up, kind: sandbox, accounts: [{name: a, models: [x]}]}]\n"
                   "models: [{id: '*'}]\n"),
            "no errors");
}

TEST(ParseAccounts, KeysOfAnAccount_NeverShowInErrors) {
  const std::string errors = Errors(
      "upstreams: [{name: up, base_url: 'http://h', accounts: [{name: a, api_key: 'a b'}, "
      "{name: b, api_key: \"x ${SECRET}\"}]}]\nmodels: [{id: m}]\n");
  EXPECT_TRUE(errors.contains("accounts[0].api_key: the value has characters")) << errors;
  EXPECT_FALSE(errors.contains("a b")) << errors;
  EXPECT_FALSE(errors.contains("sk-from")) << errors;
}

TEST(ParseAccounts, Downgrades_LeadToAModelThatCanAnswer) {
  struct Case {
    const char* downgrade;
    const char* want;
  };
  const Case cases[] = {
      {"{to: small}", "no errors"},
      {"{to: small, above: 1}", "no errors"},
      {"{to: small, above: 0}",
       "2:102: models[0].downgrade.above: \"0\" is out of bounds; use 1..1"},
      {"{to: small, above: 101}", "2:102: models[0].downgrade.above: \"101\" is out of bounds"},
      {"{above: 80}", "2:83: models[0].downgrade.to: is missing"},
      {"small", "2:83: models[0].downgrade: is a single value, not a mapping"},
      {"{to: smal}", "2:88: models[0].downgrade.to: no model has the id \"smal\"; did you mean sm"},
      {"{to: '*'}", "2:88: models[0].downgrade.to: no model has the id \"*\"; name another"},
      {"{to: big}", "2:88: models[0].downgrade.to: is the model itself"},
      {"{to: ear}", "2:88: models[0].downgrade.to: \"ear\" has not all capabilities of this"},
      {"{to: free}", "2:88: models[0].downgrade.to: \"free\" has no price, so it would not be"},
  };
  for (const Case& c : cases) {
    const std::string errors = Errors(
        "upstreams: [{name: up, kind: sandbox}]\n"
        "models: [{id: big, capabilities: [chat], price: {input: 2, output: 2}, downgrade: " +
        std::string(c.downgrade) +
        "},\n {id: small, capabilities: [chat, responses], price: {input: 1, output: 1}},\n"
        " {id: ear, capabilities: [transcription], price: {input: 1, output: 1}},\n"
        " {id: free}, {id: '*'}]\n");
    EXPECT_TRUE(errors.starts_with(c.want)) << c.downgrade << "\n" << errors;
  }
}

TEST(ParseAccounts, Keys_NameWorkspacesAndPackagesThatExist) {
  EXPECT_EQ(Errors(With("workspaces: [{name: acme}]\npackages: [{name: gold, pools: [default]}]")),
            "no errors");
  EXPECT_EQ(Errors("upstreams: [{name: up, kind: sandbox}]\nmodels: [{id: m}]\n"
                   "workspaces: [{name: acme}]\n"
                   "keys: [{name: k, workspace: amce, package: gold, allow_downgrades: true}]\n"),
            "4:29: keys[0].workspace: no workspace is named \"amce\"; did you mean acme?\n"
            "4:44: keys[0].package: no package is named \"gold\"; known: default\n"
            "4:50: keys[0].allow_downgrades: is not an option; did you mean allow_downgrade?\n");
}

// Ten thousand accounts are a file a program wrote; it must be read in one go, not in hours.
TEST(ParseAccounts, TenThousandAccounts_AreReadAndOneMoreIsNot) {
  const auto file = [](int accounts) {
    std::string text = "models: [{id: m}]\nupstreams:\n- name: u\n  kind: sandbox\n  accounts:\n";
    for (int i = 0; i < accounts; ++i) text += "  - {name: a" + std::to_string(i) + "}\n";
    return text;
  };
  EXPECT_EQ(Parsed(file(10'000)).pools[0].accounts.size(), 10'000U);
  EXPECT_TRUE(Errors(file(10'001)).contains("has 10001 items; use at most 10000"));
}

}  // namespace
}  // namespace weir::config
