// Files, good and hostile. What matters about a bad file is that every fault is named at once, with
// the line and column an editor jumps to; so most tests compare the whole list of errors as text.
#include "config/parse.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <sstream>

#include "base/random.h"

namespace weir::config {
namespace {

using Variables = std::map<std::string, std::string, std::less<>>;

EnvLookup Env(Variables variables) {
  return [variables = std::move(variables)](std::string_view name) -> std::optional<std::string> {
    const auto it = variables.find(name);
    if (it == variables.end()) return std::nullopt;
    return it->second;
  };
}

const EnvLookup kNoEnv = Env({});

// The errors, one a line, without the file's name.
std::string Errors(std::string_view text, const EnvLookup& env = kNoEnv) {
  const auto config = ParseConfig(text, "f", env);
  if (config) return "no errors";
  std::string lines;
  for (const ConfigError& error : config.error()) {
    EXPECT_EQ(error.file, "f");
    EXPECT_FALSE(error.fix.empty()) << error.message;
    lines += FormatConfigError(error).substr(2) + "\n";
  }
  return lines;
}

Config Parsed(std::string_view text, const EnvLookup& env = kNoEnv) {
  auto config = ParseConfig(text, "f", env);
  EXPECT_TRUE(config) << Errors(text, env);
  return config ? *std::move(config) : Config();
}

// The least that is a configuration, to which a test adds the lines it is about.
constexpr std::string_view kLeast =
    "upstreams: [{name: up, kind: sandbox}]\n"
    "models: [{id: m}]\n";

std::string Least(std::string_view more) { return std::string(kLeast) + std::string(more); }

TEST(ParseConfig, TheLeastFile_HasEveryDefault) {
  const Config config = Parsed(kLeast);
  EXPECT_EQ(config.brand.name, "Weir");
  EXPECT_EQ(config.listen.port, 8080);
  EXPECT_EQ(config.caller_limits.drain_deadline, Seconds(600));
  ASSERT_EQ(config.models.size(), 1U);
  EXPECT_FALSE(config.models[0].price);
  ASSERT_EQ(config.models[0].routes.size(), 1U);  // the only upstream there is
  EXPECT_EQ(config.models[0].routes[0].upstream_model, "m");
  EXPECT_TRUE(config.keys.empty());
}

TEST(ParseConfig, AFullFile_IsReadWhole) {
  const Config config = Parsed(R"(
brand: {name: "Quota: host", key_prefix: "qta_{env}_", header_prefix: x-quota}
environment: dev-1
listen: "[::]:80"
admin: {listen: 127.0.0.1:81}
workers: 3
data_dir: /var/lib/weir
durability: power
on_hang_up: drain_and_bill
useful_output_tokens_min: 16
limits:
  body_bytes_max: 1MiB
  connections_max: 10
  header_deadline: 250ms
  requests_per_connection_max: 5
log: {exchanges: false}
# keys stand before what they refer to: the order of the file does not matter
keys:
  - name: ci
    environment: other
    permissions: [openai, audio]
    models: [big]
    expires_at: 2027-01-31T12:00:00Z
    limits: {requests_per_minute: 5, budget: 0.000000001}
    secret: sk-chosen-by-me
  - name: plain
  - name: unbounded
    limits: {requests_per_minute: 0, budget: none}
key_defaults: {requests_per_minute: 7, tokens_per_minute: 8, concurrent_requests: 9, budget: 2.50}
models:
  - id: big
    owned_by: acme
    created: 1700000000
    capabilities: [chat, transcription]
    permission: acme
    routes: [second, {upstream: first, model: big-2026}]
    price: {input: 2.50, output: 10, request: 0.001, audio_second: 0.0001, version: 4}
    output_tokens_max: 1000
    input_tokens_max: 2000
  - id: "*"
    routes: [first]
    price: {input: 0.000001, cached_input: 0, cache_write: 3, output: 1000000}
upstreams:
  - name: first
    base_url: http://127.0.0.1:9090/v1/
    api_key: k
    connect_deadline: 1s
    total_deadline: 1h
  - {name: second, kind: sandbox}
  - {name: third, kind: anthropic, base_url: "https://api.anthropic.com/v1"}
  - {name: fourth, kind: gemini, base_url: "https://generativelanguage.googleapis.com/v1beta"}
)");
  EXPECT_EQ(config.brand.name, "Quota: host");
  EXPECT_EQ(config.brand.key_prefix, "qta_dev_1_");
  EXPECT_EQ(config.listen.host, "::");
  EXPECT_EQ(config.admin.port, 81);
  EXPECT_EQ(config.workers, 3);
  EXPECT_EQ(config.durability, Durability::kPower);
  EXPECT_EQ(config.hang_up_rule, HangUpRule::kDrainAndBill);
  EXPECT_EQ(config.useful_output_tokens_min, 16);
  EXPECT_EQ(config.caller_limits.body_bytes_max, 1 << 20);
  EXPECT_EQ(config.caller_limits.header_deadline, Milliseconds(250));
  EXPECT_EQ(config.caller_limits.requests_per_connection_max, 5);
  EXPECT_FALSE(config.log_exchanges);

  ASSERT_EQ(config.upstreams.size(), 4U);
  EXPECT_FALSE(config.upstreams[0].tls);
  EXPECT_EQ(config.upstreams[0].host, "127.0.0.1");
  EXPECT_EQ(config.upstreams[0].port, 9090);
  EXPECT_EQ(config.upstreams[0].base_path, "/v1");
  EXPECT_EQ(config.upstreams[0].api_key, Secret("k"));
  EXPECT_EQ(config.upstreams[0].total_deadline, Minutes(60));
  EXPECT_EQ(config.upstreams[1].kind, UpstreamKind::kSandbox);
  EXPECT_EQ(config.upstreams[2].kind, UpstreamKind::kAnthropic);
  EXPECT_EQ(config.upstreams[3].kind, UpstreamKind::kGemini);
  EXPECT_EQ(config.upstreams[3].base_path, "/v1beta");

  ASSERT_EQ(config.models.size(), 2U);
  const Model& big = config.models[0];
  EXPECT_EQ(big.capabilities, kCapChat | kCapTranscription);
  EXPECT_EQ(big.permission, "acme");
  ASSERT_EQ(big.routes.size(), 2U);
  EXPECT_EQ(big.routes[0].upstream, 1U);
  EXPECT_EQ(big.routes[0].upstream_model, "big");
  EXPECT_EQ(big.routes[1].upstream, 0U);
  EXPECT_EQ(big.routes[1].upstream_model, "big-2026");
  EXPECT_EQ(big.price.versions().front().price.input.p, 2'500'000);
  EXPECT_EQ(big.price.versions().front().price.cached_input.p, 2'500'000);  // as input
  EXPECT_EQ(big.price.versions().front().price.cache_write.p, 2'500'000);
  EXPECT_EQ(big.price.versions().front().price.output.p, 10'000'000);
  EXPECT_EQ(big.price.versions().front().price.per_request.n, 1'000'000);
  EXPECT_EQ(big.price.versions().front().price.audio_second.n, 100'000);
  EXPECT_EQ(big.price.versions().front().price.version, 4U);
  EXPECT_EQ(config.models[1].routes[0].upstream_model, "");  // the wildcard: as the caller said
  EXPECT_EQ(config.models[1].price.versions().front().price.input.p, 1);
  EXPECT_EQ(config.models[1].price.versions().front().price.cached_input.p, 0);
  EXPECT_EQ(config.models[1].price.versions().front().price.output.p, 1'000'000'000'000);

  ASSERT_EQ(config.keys.size(), 3U);
  EXPECT_EQ(config.keys[0].permissions, (std::vector<std::string>{"openai", "audio"}));
  EXPECT_EQ(config.keys[0].expires_at->ns, 1'801'396'800'000'000'000);
  EXPECT_EQ(config.keys[0].limits, (KeyLimits{5, 8, 9, NanoUsd{1}}));  // two its own, two defaults
  EXPECT_EQ(config.keys[0].secret, Secret("sk-chosen-by-me"));
  EXPECT_EQ(config.keys[1].limits, config.key_defaults);
  EXPECT_EQ(config.keys[1].permissions, (std::vector<std::string>{"openai"}));
  EXPECT_EQ(config.keys[2].limits, (KeyLimits{0, 8, 9, std::nullopt}));
}

// A name nobody has heard of may be of any family; a model that is named is OpenAI's unless the
// file says so.
TEST(ParseConfig, Capabilities_OfAWildcardAreAllThatGenerates_UnlessListed) {
  const std::string head = "upstreams: [{name: up, kind: sandbox}]\nmodels: [{id: ";
  EXPECT_EQ(Parsed(head + "'*'}]\n").models[0].capabilities,
            kCapResponses | kCapChat | kCapMessages | kCapGenerateContent);
  EXPECT_EQ(Parsed(head + "'*', capabilities: [messages]}]\n").models[0].capabilities,
            kCapMessages);
  EXPECT_EQ(Parsed(head + "m}]\n").models[0].capabilities, kCapResponses | kCapChat);
  EXPECT_EQ(Parsed(head + "m, capabilities: [generate_content]}]\n").models[0].capabilities,
            kCapGenerateContent);
  EXPECT_EQ(Parsed(head + "m}]\n").models[0].permission, "");
}

// 2.50 in the file is two dollars fifty, not the double nearest to it. These would all go wrong
// through a double, or through YAML's own reading of numbers.
TEST(ParseConfig, Prices_AreTakenFromTheCharactersOfTheFile) {
  struct Case {
    const char* text;
    std::int64_t pico;
  };
  const Case cases[] = {{"2.50", 2'500'000},
                        {"0.1", 100'000},
                        {"0.000001", 1},
                        {"123456.789012", 123'456'789'012},
                        {"999999.999999", 999'999'999'999},
                        {"\"2.50\"", 2'500'000},
                        {"2.5000000", 2'500'000},
                        {"0", 0}};
  for (const Case& c : cases) {
    const Config config =
        Parsed("upstreams: [{name: up, kind: sandbox}]\nmodels: [{id: m, price: {input: " +
               std::string(c.text) + ", output: 1}}]\n");
    EXPECT_EQ(config.models[0].price.versions().front().price.input.p, c.pico) << c.text;
  }
  for (const auto* bad :
       {"1e3", "0x10", ".5", "1.", "-1", "+1", "1_000", "1,50", ".inf", "0.0000001",
        "1000000.000001", "99999999999999999999", "2.50 USD", "$2.50", "true"}) {
    const std::string errors =
        Errors("upstreams: [{name: up, kind: sandbox}]\nmodels: [{id: m, price: {input: \"" +
               std::string(bad) + "\", output: 1}}]\n");
    EXPECT_TRUE(errors.starts_with("2:33: models[0].price.input: \"" + std::string(bad) + "\" is "))
        << errors;
  }
}

TEST(ParseConfig, EveryFault_IsReportedAtOnceWithItsPlace) {
  EXPECT_EQ(
      Errors(R"(brand:
  nmae: X
listen: 8080
workers: many
limits:
  idle_deadline: 75
  body_bytes_max: 64GiB
upstreams:
  - name: a
    base_url: ftp://x
  - name: a
    kind: sandbx
  - kind: sandbox
    base_url: http://x
models:
  - id: m
    routes: [b, {upstream: a, modle: x}]
    price: {input: cheap}
  - routes: [a]
    capabilities: [talk]
keys:
  - name: k k
    models: [n]
    expires_at: soon
    limits: {rpm: 3}
colour: blue
)"),
      "2:3: brand.nmae: is not an option; did you mean name?\n"
      "3:9: listen: \"8080\" is not an address; write an address and a port, such as "
      "127.0.0.1:8080, 0.0.0.0:8080 or \"[::1]:8080\"\n"
      "4:10: workers: \"many\" is not a whole number; write a whole number, such as 100\n"
      "6:18: limits.idle_deadline: \"75\" is not a duration; write a number with its unit, "
      "such as 250ms, 5s or 30m\n"
      "7:19: limits.body_bytes_max: \"64GiB\" is out of bounds; use 1KiB..1GiB\n"
      "10:15: upstreams[0].base_url: \"ftp://x\" is not a URL; write "
      "https://HOST[:PORT][/PATH] without user, query or fragment\n"
      "11:5: upstreams[1].base_url: is missing; add base_url: https://HOST/v1, or write kind: "
      "sandbox\n"
      "11:11: upstreams[1].name: \"a\" is taken since line 9; give each its own\n"
      "12:11: upstreams[1].kind: \"sandbx\" is not a choice; did you mean sandbox? write one "
      "of sandbox, openai, anthropic, gemini\n"
      "13:5: upstreams[2].base_url: means nothing for a sandbox; remove it, or write kind: "
      "openai\n"
      "13:5: upstreams[2].name: is missing; add it: How routes, pools, logs and metrics call "
      "it.\n"
      "17:14: models[0].routes[0]: no upstream is named \"b\"; known: a\n"
      "17:31: models[0].routes[1].modle: is not an option; a route has upstream and model\n"
      "18:12: models[0].price.output: is missing; add it: Of output tokens.\n"
      "18:20: models[0].price.input: \"cheap\" is not USD per million tokens; write USD per "
      "million tokens with at most six decimals, such as 2.50\n"
      "19:5: models[1].id: is missing; add it: As callers name it; \"*\" takes every name no "
      "other model has.\n"
      "20:20: models[1].capabilities[0]: \"talk\" is not a choice; write "
      "one of responses, chat, transcription, messages, generate_content\n"
      "22:11: keys[0].name: \"k k\" has characters that are not allowed; use letters, digits, "
      "'.', '_' and '-'\n"
      "23:13: keys[0].models: no model has the id \"n\"; add it to models, or "
      "remove it here\n"
      "24:17: keys[0].expires_at: \"soon\" is not a time; write 2027-01-31 or "
      "2027-01-31T12:00:00Z\n"
      "25:14: keys[0].limits.rpm: is not an option; did you mean requests_per_minute?\n"
      "26:1: colour: is not an option; known here: environment, listen, workers, data_dir, "
      "durability, on_hang_up, useful_output_tokens_min, concurrency, price_files, price_ceiling, "
      "metadata_secret, fallback, brand, admin, limits, key_defaults, log, upstreams, "
      "pools, packages, workspaces, models, keys, policies, webhooks\n");
}

TEST(ParseConfig, WrongShapes_SayWhatWasFoundAndWhatIsNeeded) {
  struct Case {
    const char* text;
    const char* want;
  };
  const Case cases[] = {
      {"limits: 5\n", "3:9: limits: is a single value, not a mapping"},
      {"limits: [1]\n", "3:9: limits: is a list, not a mapping"},
      {"limits:\n", "3:1: limits: is nothing, not a mapping; give it a value or remove the line"},
      {"workers: [1]\n", "3:10: workers: is a list, not a single value"},
      {"workers: {a: 1}\n", "3:10: workers: is a mapping, not a single value"},
      {"workers: ~\n", "3:1: workers: is nothing, not a single value"},
      {"workers: null\n", "3:1: workers: is nothing, not a single value"},
      {"keys: {name: a}\n", "3:7: keys: is a mapping, not a list; write - before each item"},
      {"keys: [a]\n", "3:8: keys[0]: is a single value, not a mapping"},
      {"keys: [{name: a, permissions: openai}]\n",
       "3:31: keys[0].permissions: is a single value, not a list; write a list, such as [a, b]"},
      {"keys: [{name: a, permissions: [[x]]}]\n",
       "3:32: keys[0].permissions[0]: is a list, not a single value"},
      {"keys: [{name: a, permissions: [x, x]}]\n",
       "3:35: keys[0].permissions[1]: is in the list twice"},
      {"limits.idle_deadline: 5s\n", "3:1: limits.idle_deadline: is written as one name"},
      {"log: {exchanges: yes}\n", "3:18: log.exchanges: \"yes\" is not true or false"},
      {"workers: -1\n", "3:10: workers: \"-1\" is out of bounds; use 0..256"},
      {"workers: 257\n", "3:10: workers: \"257\" is out of bounds; use 0..256"},
      {"data_dir: \"\"\n", "3:11: data_dir: has 0 characters; use 1..4096 characters"},
      {"data_dir: \"a\\0b\"\n", "3:11: data_dir: \"a?b\" has characters that are not allowed"},
      {"environment: Prod\n", "3:14: environment: \"Prod\" has characters that are not allowed"},
      {"brand: {key_prefix: qf-}\n", "3:21: brand.key_prefix: \"qf-\" has characters that are not"},
      {"brand: {header_prefix: 'x: y'}\n", "3:24: brand.header_prefix: \"x: y\" has characters"},
      {"listen: 127.0.0.1:9\nadmin: {listen: 127.0.0.1:9}\n",
       "4:17: admin.listen: is the same address as listen"},
      {"keys: [{name: a, secret: short}]\n",
       "3:26: keys[0].secret: has 5 characters; use 8..512 characters"},
      {"keys: [{name: a, secret: 'long enough'}]\n",
       "3:26: keys[0].secret: the value has characters that are not allowed; use visible ASCII"},
      {"keys: [{name: a, secret: same-secret}, {name: b, secret: same-secret}]\n",
       "3:58: keys[1].secret: is the secret of the key on line 3 too"},
      {"keys: [{name: a}, {name: a}]\n", "3:26: keys[1].name: \"a\" is taken since line 3"},
      {"<<: {workers: 1}\n", "3:1: <<: is not an option"},
  };
  for (const Case& c : cases) {
    const std::string errors = Errors(Least(c.text));
    EXPECT_TRUE(errors.starts_with(c.want)) << c.text << errors;
    EXPECT_EQ(errors.find('\n'), errors.size() - 1) << "more than one error: " << errors;
  }
}

TEST(ParseConfig, WhatIsMissingAltogether_IsNamed) {
  EXPECT_EQ(Errors("workers: 1\n"),
            "1:1: models: is missing; name at least one model; id: \"*\" takes every name\n"
            "1:1: upstreams: is missing; name at least one account at a provider, or one of kind: "
            "sandbox\n");
  EXPECT_EQ(Errors(""), "1:1: is empty; name upstreams and models, or start without a file\n");
  EXPECT_EQ(Errors("# only a comment\n"),
            "1:1: is empty; name upstreams and models, or start without a file\n");
  EXPECT_TRUE(Errors("- a\n- b\n").starts_with("1:1: is a list, not a mapping"));
  EXPECT_TRUE(Errors("just text").starts_with("1:1: is a single value, not a mapping"));
  // Two upstreams: which one serves a model is the operator's to say.
  EXPECT_TRUE(Errors("upstreams: [{name: a, kind: sandbox}, {name: b, kind: sandbox}]\n"
                     "models:\n  - id: m\n")
                  .starts_with("3:5: models[0].routes: is missing"));
}

TEST(ParseConfig, Routes_NameUpstreamsThatExist) {
  const std::string upstreams = "upstreams: [{name: first, kind: sandbox}]\n";
  EXPECT_TRUE(Errors(upstreams + "models: [{id: m, routes: [frist]}]")
                  .starts_with("2:27: models[0].routes[0]: no upstream is named \"frist\"; did you "
                               "mean first?"));
  EXPECT_TRUE(Errors(upstreams + "models: [{id: m, routes: []}]")
                  .starts_with("2:26: models[0].routes: is empty"));
  EXPECT_TRUE(Errors(upstreams + "models: [{id: m, routes: [first, first]}]")
                  .starts_with("2:34: models[0].routes[1]: is in the list twice"));
  EXPECT_TRUE(Errors(upstreams + "models: [{id: m, routes: [{model: x}]}]")
                  .starts_with("2:27: models[0].routes[0].upstream: is missing"));
  EXPECT_TRUE(Errors(upstreams + "models: [{id: m, upstream: first}]")
                  .starts_with("2:18: models[0].upstream: is not an option; did you mean routes?"));
  // One upstream may serve a model under two names.
  EXPECT_EQ(Parsed(upstreams + "models: [{id: m, routes: [first, {upstream: first, model: n}]}]")
                .models[0]
                .routes.size(),
            2U);
}

TEST(ParseConfig, Keys_MayNameAnyModelWhenThereIsAWildcard) {
  EXPECT_EQ(Errors("upstreams: [{name: a, kind: sandbox}]\nmodels: [{id: '*'}]\n"
                   "keys: [{name: k, models: [whatever]}]\n"),
            "no errors");
}

TEST(ParseConfig, Environment_IsPutIntoValues) {
  const EnvLookup env = Env({{"KEY", "sk-1"},
                             {"EMPTY", ""},
                             {"PORT", "99"},
                             {"NESTED", "${KEY}"},
                             {"INJECT", "x\nworkers: 9"}});
  const auto key_of = [&](const std::string& value) {
    return std::string(Parsed("upstreams: [{name: a, base_url: 'http://h', api_key: \"" + value +
                                  "\"}]\nmodels: [{id: m}]",
                              env)
                           .upstreams[0]
                           .api_key.Reveal());
  };
  EXPECT_EQ(key_of("${KEY}"), "sk-1");
  EXPECT_EQ(key_of("a${KEY}b${KEY}"), "ask-1bsk-1");
  EXPECT_EQ(key_of("${NONE:-fallback}"), "fallback");
  EXPECT_EQ(key_of("${EMPTY:-fallback}"), "fallback");
  EXPECT_EQ(key_of("${KEY:-fallback}"), "sk-1");
  EXPECT_EQ(key_of("${NONE:-}"), "");
  EXPECT_EQ(key_of("$${KEY}"), "${KEY}");
  EXPECT_EQ(key_of("$KEY$"), "$KEY$");
  EXPECT_EQ(key_of("$$$"), "$$$");
  EXPECT_EQ(key_of("${NESTED}"), "${KEY}");  // not looked at again
  EXPECT_EQ(Parsed(Least("listen: 127.0.0.1:${PORT}"), env).listen.port, 99);
  // Not quoted, as people write it.
  EXPECT_EQ(Parsed(Least("data_dir: ${NONE:-http://a.b}"), env).data_dir, "http://a.b");

  EXPECT_EQ(Errors(Least("data_dir: ${NONE}\n"), env),
            "3:11: data_dir: the environment variable NONE is not set; set NONE, or write "
            "${NONE:-VALUE} to do without it\n");
  EXPECT_TRUE(Errors(Least("data_dir: ${EMPTY}\n"), env)
                  .starts_with("3:11: data_dir: the environment variable EMPTY is set but empty"));
  EXPECT_TRUE(Errors(Least("data_dir: ${KEY\n"), env)
                  .starts_with("3:11: data_dir: has a ${ without its }"));
  for (const auto* bad : {"${}", "${1A}", "${A-B}", "${A B}", "${:-x}"}) {
    EXPECT_TRUE(
        Errors(Least("data_dir: \"" + std::string(bad) + "\"\n"), env)
            .starts_with("3:11: data_dir: " + std::string(bad) + " does not name a variable"))
        << bad;
  }
  // A variable is a value, never YAML; and its text is not shown in an error.
  EXPECT_EQ(Errors(Least("environment: ${INJECT}\n"), env),
            "3:14: environment: the value has characters that are not allowed; use lower-case "
            "letters, digits, '_' and '-'\n");
  EXPECT_FALSE(Errors(Least("workers: ${KEY}\n"), env).contains("sk-1"));
  EXPECT_FALSE(Errors(Least("durability: ${KEY}\n"), env).contains("sk-1"));
}

TEST(ParseConfig, AVariableOfAMegabyte_IsRefused) {
  const EnvLookup env = Env({{"BIG", std::string(60'000, 'x')}});
  EXPECT_TRUE(Errors(Least("data_dir: \"${BIG}${BIG}\"\n"), env)
                  .starts_with("3:11: data_dir: is longer than 65536 bytes"));
}

TEST(ParseConfig, KeysGivenTwice_AreRefused) {
  EXPECT_EQ(Errors(Least("workers: 1\nworkers: 2\n")),
            "4:1: \"workers\" is given twice; keep one of the two\n");
  EXPECT_EQ(Errors(Least("limits: {idle_deadline: 1s, idle_deadline: 1s}\n")),
            "3:29: \"idle_deadline\" is given twice; keep one of the two\n");
  EXPECT_EQ(Errors(Least("models: []\n")), "3:1: \"models\" is given twice; keep one of the two\n");
}

TEST(ParseConfig, AnchorsAliasesAndTags_AreRefused) {
  EXPECT_EQ(Errors(Least("data_dir: &a x\nenvironment: *a\n")),
            "3:11: an anchor (&name) is not allowed here; remove it and write values out\n"
            "4:14: an alias (*name) is not allowed here; write the value out again\n");
  EXPECT_TRUE(
      Errors(Least("workers: !!int 1\n")).starts_with("3:10: a tag (!name) is not allowed"));
  EXPECT_TRUE(Errors(Least("workers: !x 1\n")).contains("a tag (!name) is not allowed"));
  EXPECT_TRUE(Errors(Least("[a, b]: 1\n")).contains("a key must be plain text"));
  EXPECT_TRUE(Errors(Least("~: 1\n")).contains("a key must be plain text"));
  EXPECT_TRUE(Errors(Least("---\nworkers: 1\n")).contains("a second document begins here"));
}

// Nine levels of nine aliases each would be 387 million values if anyone followed them.
TEST(ParseConfig, ABillionLaughs_AreRefusedAtOnce) {
  std::string bomb = "a: &a [lol,lol,lol,lol,lol,lol,lol,lol,lol]\n";
  for (char c = 'b'; c <= 'i'; ++c) {
    const std::string from(1, static_cast<char>(c - 1));
    bomb += std::string(1, c) + ": &" + std::string(1, c) + " [";
    for (int i = 0; i < 9; ++i) bomb += (i == 0 ? "*" : ",*") + from;
    bomb += "]\n";
  }
  const auto config = ParseConfig(bomb, "f", kNoEnv);
  ASSERT_FALSE(config);
  EXPECT_LE(config.error().size(), kConfigErrorsMax + 1);
}

TEST(ParseConfig, NotYaml_SaysWhereReadingStopped) {
  EXPECT_TRUE(Errors("upstreams: [\nmodels: x\n").contains("is not YAML: "));
  EXPECT_TRUE(Errors("a: 'x").contains("is not YAML: "));
  EXPECT_EQ(Errors("upstreams:\n  - {name: a, api_key: ${K}}\n"),
            "2:25: is not YAML: end of map flow not found; inside { } and [ ] put quotes around "
            "\"${NAME}\"\n");
  EXPECT_TRUE(Errors("models:\n  - id: *\n").contains("put quotes around \"*\""));
  // yaml-cpp lets a quote that is open at the end of the file pass.
  EXPECT_TRUE(Errors(Least("data_dir: 'x\n")).starts_with("3:11: data_dir: \"x \" has characters"));
  EXPECT_TRUE(Errors(Least("brand: {name: ' x'}\n")).starts_with("3:15: brand.name: \" x\" has"));
  EXPECT_TRUE(Errors("a: b: c\n").starts_with("1:5: is not YAML: "));
  EXPECT_TRUE(Errors("\tworkers: 1\n").contains("is not YAML: "));
  EXPECT_TRUE(Errors("workers: 1\n  listen: 2\n").contains("is not YAML: "));
}

TEST(ParseConfig, BytesThatAreNoText_AreRefusedWithTheirPlace) {
  struct Case {
    std::string text;
    const char* want;
  };
  const Case cases[] = {
      {std::string("workers: 1\na\0b", 14), "2:2: byte 0x00 is not text"},
      {"workers: \x1b[2J", "1:10: byte 0x1b is not text"},
      {"a: \x7f", "1:4: byte 0x7f is not text"},
      {"a: \xff", "1:4: byte 0xff is not text"},
      {"a: \xc0\xaf", "1:4: byte 0xc0 is not text"},          // overlong '/'
      {"a: \xed\xa0\x80", "1:4: byte 0xed is not text"},      // a surrogate
      {"a: \xf4\x90\x80\x80", "1:4: byte 0xf4 is not text"},  // above U+10FFFF
      {"a: \xe2\x82", "1:4: byte 0xe2 is not text"},          // cut off
      {std::string("\xff\xfe"
                   "a\0",
                   4),
       "1:1: byte 0xff is not text"},  // UTF-16
  };
  for (const Case& c : cases) EXPECT_TRUE(Errors(c.text).starts_with(c.want)) << Errors(c.text);
  EXPECT_EQ(Parsed(Least("brand: {name: \"W\xc3\xa9ir \xf0\x9f\x8c\x8a\"}")).brand.name,
            "W\xc3\xa9ir \xf0\x9f\x8c\x8a");
  EXPECT_EQ(Parsed("\xef\xbb\xbf" + std::string(kLeast)).models.size(), 1U);  // a BOM
  EXPECT_EQ(Parsed("upstreams: [{name: up, kind: sandbox}]\r\nmodels: [{id: m}]\r\n").models.size(),
            1U);
}

TEST(ParseConfig, OneByteTooMany_IsTooLarge) {
  std::string text = Least("# ");
  text.append(kConfigBytesMax - text.size(), 'x');
  EXPECT_EQ(Errors(text), "no errors");
  text += 'x';
  EXPECT_TRUE(Errors(text).starts_with(" the file is larger than 1048576 bytes")) << Errors(text);
}

TEST(ParseConfig, DeepNesting_IsRefusedAndDoesNotRecurse) {
  const std::string ten(10, '[');
  EXPECT_TRUE(Errors(Least("x: " + std::string(20, '[') + std::string(20, ']') + "\n"))
                  .starts_with("3:1: x: is not an option"));
  EXPECT_TRUE(Errors(Least("x: " + std::string(20, '[') + std::string(20, ']') + "\n"))
                  .contains("is nested deeper than 16 levels"));
  for (const char c : {'[', '{'}) {
    const auto config = ParseConfig(std::string(100'000, c), "f", kNoEnv);
    ASSERT_FALSE(config);
    EXPECT_FALSE(config.error().empty());
  }
  std::string indented;
  for (int i = 0; i < 700; ++i) indented += std::string(static_cast<std::size_t>(i), ' ') + "a:\n";
  EXPECT_FALSE(ParseConfig(indented, "f", kNoEnv));
  std::string dashes;
  for (int i = 0; i < 50'000; ++i) dashes += "- ";
  EXPECT_FALSE(ParseConfig(dashes, "f", kNoEnv));
}

TEST(ParseConfig, ManyErrors_AreCutWithAWord) {
  std::string text(kLeast);
  for (int i = 0; i < 500; ++i) text += "x" + std::to_string(i) + ": 1\n";
  const auto config = ParseConfig(text, "f", kNoEnv);
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().size(), kConfigErrorsMax + 1);
  EXPECT_EQ(config.error().back().message, "there are more errors");
}

TEST(ParseConfig, MoreThanATableHolds_IsRefused) {
  std::string text = "upstreams: [{name: up, kind: sandbox}]\nmodels:\n";
  for (int i = 0; i < 1001; ++i) text += "  - id: m" + std::to_string(i) + "\n";
  EXPECT_TRUE(Errors(text).starts_with("3:3: models: has 1001 items; use at most 1000"))
      << Errors(text);
  std::string wide = "x: [";
  for (int i = 0; i < 250'000; ++i) wide += "a,";
  EXPECT_TRUE(Errors(Least(wide + "]\n")).contains("the file has more than 200000 values"));
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

const std::string kQuotaFlow = std::string(WEIR_SOURCE_DIR) + "/examples/quotaflow/weir.yaml";

TEST(ParseConfig, TheQuotaFlowExample_IsWhatItsPagePromises) {
  const std::string text = ReadFile(kQuotaFlow);
  const Config config = Parsed(text);
  EXPECT_EQ(config.brand.name, "QuotaFlow");
  EXPECT_EQ(config.brand.key_prefix, "qf_");
  // The ids of the Quickstart, and only one of them for audio.
  std::vector<std::string> ids;
  for (const Model& model : config.models) {
    ids.push_back(model.id);
    EXPECT_TRUE(model.price) << model.id;
    EXPECT_EQ(model.permission, "");
    EXPECT_EQ(model.capabilities,
              model.id == "gpt-4o-mini-transcribe" ? kCapTranscription : kCapResponses | kCapChat)
        << model.id;
  }
  EXPECT_EQ(ids, (std::vector<std::string>{"gpt-5.2", "gpt-5.3-codex", "gpt-5.4", "gpt-5.5",
                                           "gpt-4o-mini-transcribe"}));
  EXPECT_EQ(config.upstreams[0].host, "api.openai.com");

  // Two accounts for text, one for audio and nothing else, all in one pool with a queue.
  ASSERT_EQ(config.accounts.size(), 3U);
  EXPECT_EQ(config.accounts[0].id, "openai/primary");
  EXPECT_EQ(config.accounts[1].id, "openai/secondary");
  EXPECT_EQ(config.accounts[2].id, "openai/audio");
  for (const Account& account : config.accounts) {
    EXPECT_FALSE(account.api_key.empty()) << account.id;  // the demo starts with nothing set
    EXPECT_GT(account.concurrency, 0) << account.id;      // or the pool would never be full
    EXPECT_EQ(account.capabilities,
              account.id == "openai/audio" ? kCapTranscription : kCapResponses | kCapChat);
  }
  ASSERT_EQ(config.pools.size(), 1U);
  EXPECT_EQ(config.pools[0].accounts.size(), 3U);
  EXPECT_GT(config.pools[0].queue.size, 0);
  EXPECT_EQ(config.PackageOf("codex", "acme", ""), 0U);
  EXPECT_EQ(config.FindModel("gpt-5.5")->downgrade->to, "gpt-5.4");

  ASSERT_EQ(config.keys.size(), 5U);
  EXPECT_EQ(config.keys[0].name, "quickstart");
  EXPECT_TRUE(config.keys[0].secret.empty());
  EXPECT_EQ(config.keys[0].limits.requests_per_minute, 100);
  EXPECT_EQ(config.keys[1].name, "no-openai");
  EXPECT_TRUE(config.keys[1].permissions.empty());
  EXPECT_EQ(config.keys[2].limits.requests_per_minute, 3);
  EXPECT_EQ(config.keys[3].limits.budget, NanoUsd{50'000'000});
  EXPECT_EQ(config.keys[4].name, "codex");
  EXPECT_EQ(config.keys[4].workspace, "acme");
  EXPECT_TRUE(config.keys[4].codex_adaptation);

  const Config demo = Parsed(text, Env({{"WEIR_UPSTREAM_URL", "http://127.0.0.1:4242/v1"},
                                        {"WEIR_LISTEN", "127.0.0.1:0"},
                                        {"WEIR_ADMIN_LISTEN", "127.0.0.1:0"},
                                        {"OPENAI_API_KEY", "sk-first"},
                                        {"OPENAI_API_KEY_AUDIO", "sk-third"},
                                        {"QUOTAFLOW_API_KEY", "qf_your_key_here"}}));
  EXPECT_EQ(demo.upstreams[0].port, 4242);
  EXPECT_FALSE(demo.upstreams[0].tls);
  EXPECT_EQ(demo.listen.port, 0);
  EXPECT_EQ(demo.accounts[0].api_key, Secret("sk-first"));
  EXPECT_EQ(demo.accounts[2].api_key, Secret("sk-third"));
  EXPECT_EQ(demo.keys[0].secret, Secret("qf_your_key_here"));
}

// Whatever is done to a good file, parsing ends with a configuration or with errors that say where.
TEST(ParseConfig, AMangledFile_NeverCrashes) {
  const std::string good = ReadFile(kQuotaFlow);
  constexpr std::string_view kBytes = "[]{}:,-#&*!|>'\"%@`$~ \n\t\\a0";
  SeededRandom random(7);
  int refused = 0;
  for (int round = 0; round < 1500; ++round) {
    std::string text = good;
    const std::uint64_t edits = 1 + random.Next() % 4;
    for (std::uint64_t i = 0; i < edits; ++i) {
      const std::size_t at = random.Next() % text.size();
      switch (random.Next() % 4) {
        case 0:
          text[at] = kBytes[random.Next() % kBytes.size()];
          break;
        case 1:
          text.insert(at, 1, kBytes[random.Next() % kBytes.size()]);
          break;
        case 2:
          text.erase(at, random.Next() % 20);
          break;
        case 3:
          text.insert(at, text.substr(random.Next() % text.size(), random.Next() % 60));
          break;
      }
    }
    const auto config = ParseConfig(text, "f", kNoEnv);
    if (config) continue;
    ++refused;
    ASSERT_FALSE(config.error().empty());
    for (const ConfigError& error : config.error()) ASSERT_FALSE(error.message.empty());
  }
  EXPECT_GT(refused, 500);
}

const Price& FirstPrice(const Config& config, std::size_t model = 0) {
  return config.models[model].price.versions().front().price;
}

TEST(ParsePrice, EveryDimension_TiersAndImages) {
  const Config config = Parsed(R"(
upstreams: [{name: up, kind: sandbox}]
models:
  - id: m
    price:
      tiers:
        - {above_input_tokens: 200000, input: 4, output: 18}
        - {above_input_tokens: 500000, output_audio: 99}
      images: [{size: 1024x1024, quality: high, price: 0.167}, {price: 0.04}]
      input: 2
      output: 12
      cached_input: 0.20
      cache_write_1h: 4
      input_audio: 3
      reasoning: 12.5
      request: 0.01
      audio_second: 0.0001
      video_second: 0.5
      tool_call: 0.014
)");
  const Price& price = FirstPrice(config);
  EXPECT_EQ(price.cache_write.p, 2'000'000);
  EXPECT_EQ(price.cache_write_1h.p, 4'000'000);
  EXPECT_EQ(price.input_audio.p, 3'000'000);
  EXPECT_EQ(price.reasoning.p, 12'500'000);
  EXPECT_EQ(price.output_audio, kNotGiven);
  EXPECT_EQ(price.video_second.n, 500'000'000);
  EXPECT_EQ(price.tool_call.n, 14'000'000);
  ASSERT_EQ(price.tiers.size(), 2U);
  EXPECT_EQ(price.tiers[0].above_input_tokens, 200'000);
  EXPECT_EQ(price.tiers[0].rates.input.p, 4'000'000);
  EXPECT_EQ(price.tiers[0].rates.cached_input.p, 200'000);  // as below the tier
  EXPECT_EQ(price.tiers[1].rates.output.p, 18'000'000);
  EXPECT_EQ(price.tiers[1].rates.output_audio.p, 99'000'000);
  ASSERT_EQ(price.images.size(), 2U);
  EXPECT_EQ(price.images[0].quality, "high");
  EXPECT_EQ(price.images[0].each.n, 167'000'000);
  EXPECT_EQ(price.images[1].size, "");
  EXPECT_EQ(price.version, DerivedVersion(price));
}

TEST(ParsePrice, WhatIsWrongWithIt_IsSaidWithItsPlace) {
  const std::string head = "upstreams: [{name: up, kind: sandbox}]\nmodels: [{id: m, price: ";
  const struct {
    const char* price;
    const char* error;
  } rows[] = {
      {"{input: 2, output: 9, tiers: [{above_input_tokens: 5, output: 8}]}",
       "2:25: models[0].price: output falls from 9.00 to 8.00 above 5 input tokens, so that more "
       "tokens could cost less than fewer; correct the price\n"},
      {"{input: 2, output: 9, tiers: [{output: 8}]}",
       "2:55: models[0].price.tiers[0].above_input_tokens: is missing; add it: With more input "
       "than "
       "this the rates of the tier are those of the whole request. No rate may fall from one tier "
       "to the next.\n"},
      {"{input: 2, output: 9, tiers: {}}",
       "2:54: models[0].price.tiers: is a mapping, not a list; write - before each item\n"},
      {"{input: 2, output: 9, images: [{price: 1}, {price: 2}]}",
       "2:25: models[0].price: images 1 and 2 are of the same size and quality; correct the "
       "price\n"},
      {"{input: 2, output: 9, imagez: []}",
       "2:47: models[0].price.imagez: is not an option; did you mean images?\n"},
      {"free",
       "2:25: models[0].price: is a single value, not a mapping; write a mapping, such as "
       "{input: 2.50, output: 10.00}\n"},
      {"[]", "2:25: models[0].price: is empty; write at least one price\n"},
      {"[{input: 1, output: 1}, {input: 2, output: 2}]",
       "2:49: models[0].price[1].valid_from: is missing; write the prices in the order in which "
       "they become valid\n"},
      {"[{input: 1, output: 1, valid_from: 2026-02-01}, {valid_from: 2026-02-01, input: 2, output: "
       "2}]",
       "2:86: models[0].price[1].valid_from: is not later than that of the price before it; write "
       "the prices in the order in which they become valid\n"},
      {"catalog",
       "2:25: models[0].price: no price file has \"m\"; import it, give the model a "
       "price of its own, or set price_ceiling\n"},
  };
  for (const auto& row : rows) EXPECT_EQ(Errors(head + row.price + "}]\n"), row.error) << row.price;
}

TEST(ParsePrice, Versions_AreValidFromTheirTimeOn) {
  const Config config = Parsed(R"(
upstreams: [{name: up, kind: sandbox}]
models:
  - id: m
    price:
      - {input: 1, output: 2, version: 7}
      - {input: 3, output: 4, valid_from: 2026-06-01}
      - {input: 5, output: 6, valid_from: "2026-06-01T12:00:00.5+02:00"}
  - {id: later, price: [{input: 1, output: 1, valid_from: 2026-06-01}]}
)");
  const auto input = [&](std::size_t model, std::int64_t ns) -> std::int64_t {
    const PriceVersion* found =
        config.PriceOf(config.models[model], config.models[model].id, Instant{ns});
    return found == nullptr ? -1 : found->price.input.p;
  };
  constexpr std::int64_t kJune = 1'780'272'000'000'000'000;
  EXPECT_EQ(input(0, 0), 1'000'000);
  EXPECT_EQ(input(0, kJune - 1), 1'000'000);
  EXPECT_EQ(input(0, kJune), 3'000'000);
  EXPECT_EQ(input(0, kJune + 36'000'499'999'999), 3'000'000);
  EXPECT_EQ(input(0, kJune + 36'000'500'000'000), 5'000'000);
  EXPECT_EQ(input(0, INT64_MAX), 5'000'000);
  EXPECT_EQ(input(1, kJune - 1), -1) << "not yet for sale: refused, not free";
  EXPECT_EQ(input(1, kJune), 1'000'000);
  const auto versions = config.models[0].price.versions();
  EXPECT_EQ(versions[0].price.version, 7U);
  EXPECT_EQ(versions[1].price.version, DerivedVersion(versions[1].price));
  EXPECT_EQ(versions[1].id, IdOf(versions[1].price));
}

FileLookup Files(Variables files) {
  return [files = std::move(files)](std::string_view name) -> std::optional<std::string> {
    const auto it = files.find(name);
    if (it == files.end()) return std::nullopt;
    return it->second;
  };
}

std::string CatalogErrors(std::string_view text, Variables files) {
  const auto config = ParseConfig(text, "f", kNoEnv, Files(std::move(files)));
  if (config) return "no errors";
  std::string lines;
  for (const ConfigError& error : config.error()) lines += FormatConfigError(error) + "\n";
  return lines;
}

TEST(PriceFiles, AModel_TakesTheCatalogsPriceWhenItSaysSo) {
  const auto config = ParseConfig(R"(
upstreams: [{name: openai, kind: sandbox}, {name: other, kind: sandbox}]
price_files: [a.yaml, b.yaml]
models:
  - {id: fast, routes: [{upstream: openai, model: big}], price: catalog}
  - {id: plain, routes: [other], price: catalog}
  - {id: own, routes: [openai], price: {input: 9, output: 9}}
  - {id: none, routes: [openai]}
  - {id: same, routes: [openai, {upstream: other, model: twin}], price: catalog}
  - {id: "*", routes: [other], price: catalog}
)",
                                  "f", kNoEnv,
                                  Files({{"a.yaml",
                                          "prices:\n"
                                          "  \"openai/big\": {input: 1, output: 1}\n"
                                          "  big: {input: 2, output: 2}\n"
                                          "  fast: {input: 3, output: 3}\n"
                                          "  plain: {input: 4, output: 4}\n"
                                          "  own: {input: 5, output: 5}\n"
                                          "  none: {input: 6, output: 6}\n"
                                          "  same: {input: 7, output: 7}\n"
                                          "  other/x: {input: 10, output: 10}\n"
                                          "  x: {input: 11, output: 11}\n"
                                          "  y: {input: 12, output: 12}\n"},
                                         {"b.yaml",
                                          "prices: {plain: {input: 8, output: 8}, "
                                          "twin: {input: 7, output: 7}}"}}));
  ASSERT_TRUE(config) << FormatConfigError(config.error().front());
  const auto input = [&](std::string_view asked) -> std::int64_t {
    const PriceVersion* found = config->PriceOf(*config->FindModel(asked), asked, Instant{});
    return found == nullptr ? -1 : found->price.input.p / 1'000'000;
  };
  EXPECT_EQ(input("fast"), 1) << "the upstream's own name comes first";
  EXPECT_EQ(input("plain"), 8) << "a later file wins";
  EXPECT_EQ(input("own"), 9);
  EXPECT_EQ(input("none"), -1) << "the catalog is never taken unasked";
  EXPECT_EQ(input("same"), 7);
  EXPECT_EQ(input("x"), 10);
  EXPECT_EQ(input("y"), 12);
  EXPECT_EQ(input("Y"), -1);
  EXPECT_EQ(input(""), -1);
}

TEST(PriceFiles, TheCeiling_IsForWhatTheCatalogDoesNotKnow) {
  const auto config = ParseConfig(R"(
upstreams: [{name: up, kind: sandbox}]
price_ceiling: {input: 100, output: 200}
models: [{id: a, price: catalog}, {id: "*", price: catalog}, {id: b}]
)",
                                  "f", kNoEnv);
  ASSERT_TRUE(config) << FormatConfigError(config.error().front());
  for (const char* asked : {"a", "anything"}) {
    const PriceVersion* found = config->PriceOf(*config->FindModel(asked), asked, Instant{});
    ASSERT_NE(found, nullptr) << asked;
    EXPECT_EQ(found->price.input.p, 100'000'000) << asked;
  }
  EXPECT_EQ(config->PriceOf(config->models[2], "b", Instant{}), nullptr);
}

TEST(PriceFiles, WhatIsWrong_IsSaidOfTheRightFile) {
  const std::string head = "upstreams: [{name: up, kind: sandbox}]\n";
  EXPECT_EQ(CatalogErrors(head + "price_files: [x]\nmodels: [{id: m}]\n", {}),
            "f:2:14: price_files[0]: cannot be read; check the path; it is beside this file unless "
            "it begins with /\n");
  EXPECT_EQ(
      CatalogErrors(head + "price_files: [x]\nmodels: [{id: m, wrong: 1}]\n",
                    {{"x", "prices: {m: {input: -1, output: 1}}\n"}}),
      "f:3:18: models[0].wrong: is not an option; known here: id, routes, owned_by, family, class, "
      "created, capabilities, permission, price, on_hang_up, multiplier, service_tiers, "
      "output_tokens_max, "
      "input_tokens_max, downgrade\n"
      "x:1:21: prices.m.input: \"-1\" is not USD per million tokens; write USD per million tokens "
      "with at most six decimals, such as 2.50\n");
  EXPECT_EQ(CatalogErrors(head + "models: [{id: \"*\", price: catalog}]\n", {}),
            "f:2:27: models[0].price: there is no catalog; name price_files, or give a "
            "price_ceiling\n");
  EXPECT_EQ(CatalogErrors(head + "price_files: [x]\nmodels: [{id: m, price: catalog, routes: [up, "
                                 "{upstream: up, model: n}]}]\n",
                          {{"x", "prices: {m: {input: 1, output: 1}, n: {input: 2, output: 1}}"}}),
            "f:3:25: models[0].price: its routes have different prices in the price files; give "
            "the model a price of its own\n");
}

TEST(ParsePriceFile, HostileFiles_AreRefused) {
  for (const char* text :
       {"", "[]", "price: {}", "prices: []", "prices: {m: catalog}", "prices: {m: {}}",
        "prices: {m: {input: \"${HOME}\", output: 1}}", "prices: {\"\": {input: 1, output: 1}}",
        "prices: {\"a\\u0001b\": {input: 1, output: 1}}", "prices: {m: {input: 1}}",
        "prices: {m: {input: 1, output: 1}, m: {input: 1, output: 1}}"}) {
    EXPECT_FALSE(ParsePriceFile(text, "p")) << text;
  }
  EXPECT_FALSE(
      ParsePriceFile("prices: {" + std::string(257, 'x') + ": {input: 1, output: 1}}", "p"));
  EXPECT_FALSE(ParsePriceFile(std::string(kPriceFileBytesMax + 1, ' '), "p"));
  EXPECT_TRUE(ParsePriceFile("prices: {}", "p"));
}

// ------------------------------------------------------------------------------ webhooks

TEST(ParseConfig, Webhooks_AreRead) {
  const EnvLookup env = Env({{"SECRET", "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}});
  const Config config = Parsed(Least(R"(webhooks:
  - name: ops
    url: https://hooks.example.com/in?x=1
    secret: ${SECRET}
    events: [wallet.low, policy.alert]
  - name: inside
    url: http://10.0.0.7:9000/
    secret: "${SECRET} ${SECRET}"
    allow_private: true
)"),
                               env);
  ASSERT_EQ(config.webhooks.size(), 2U);
  EXPECT_EQ(config.webhooks[0].name, "ops");
  EXPECT_EQ(config.webhooks[0].url, "https://hooks.example.com/in?x=1");
  EXPECT_EQ(config.webhooks[0].secret.Reveal(), "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
  EXPECT_EQ(config.webhooks[0].events, (std::vector<std::string>{"wallet.low", "policy.alert"}));
  EXPECT_FALSE(config.webhooks[0].allow_private);
  EXPECT_TRUE(config.webhooks[1].events.empty());
  EXPECT_TRUE(config.webhooks[1].allow_private);
  EXPECT_EQ(config.webhooks[1].secret.Reveal().size(), 77U);
}

TEST(ParseConfig, Webhooks_ThatCannotBeSentTo_AreNamed_WithoutTheirSecrets) {
  const std::string errors = Errors(Least(R"(webhooks:
  - name: a
    url: https://user:canary@h.example.com/
    secret: whsec_canary
    events: [wallet.lo, nothing.like.it]
  - name: b
    url: http://h.example.com/canary
    secret: whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
  - name: a
    url: https://h.example.com/
    secret: whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
  - name: c
    url: ""
    allow_private: maybe
  - url: https://h.example.com/
    secret: ""
)"));
  EXPECT_EQ(errors.find("canary"), std::string::npos) << errors;
  for (const char* part :
       {"webhooks[0].url: is not the URL of a webhook", "webhooks[0].secret: is not a secret",
        "webhooks[0].events[0]: \"wallet.lo\" is not a type of event; did you mean wallet.low?",
        "webhooks[0].events[1]: \"nothing.like.it\" is not a type of event; write some of ",
        "webhooks[1].url: is http://", "webhooks[2].name: ", "webhooks[3].secret: is missing",
        "webhooks[3].allow_private: ", "webhooks[4].name: is missing"}) {
    EXPECT_NE(errors.find(part), std::string::npos) << part << "\n" << errors;
  }
}

}  // namespace
}  // namespace weir::config
