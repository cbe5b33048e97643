// Policies in a file and alone, and what stands beside them for policies' sake: attributes of keys,
// families and classes of models, the secret of signed metadata.
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "config/parse.h"
#include "config/policy_text.h"

namespace weir::config {
namespace {

std::shared_ptr<const Zone> Zones(std::string_view name) {
  if (name != "Europe/Berlin" && name != "America/New_York") return nullptr;
  Zone zone;
  zone.name = std::string(name);
  return std::make_shared<const Zone>(std::move(zone));
}

constexpr std::string_view kLeast =
    "upstreams: [{name: up, kind: sandbox}, {name: other, kind: sandbox}]\n"
    "models:\n"
    "  - {id: big, routes: [up], family: gpt-5, class: premium}\n"
    "  - {id: small, routes: [up], family: gpt-5-mini, class: house_wine}\n";

const EnvLookup kEnv = [](std::string_view name) -> std::optional<std::string> {
  if (name == "OWNER") return "finance";
  if (name == "METADATA_SECRET") return "0123456789abcdef0123456789abcdef";
  if (name == "ZONE") return "Nowhere/Secret";
  return std::nullopt;
};

std::string Lines(const std::vector<ConfigError>& errors) {
  std::string lines;
  for (const ConfigError& error : errors) {
    EXPECT_FALSE(error.fix.empty()) << error.message;
    lines += FormatConfigError(error) + "\n";
  }
  return lines;
}

Config Parsed(std::string_view more) {
  auto config = ParseConfig(std::string(kLeast) + std::string(more), "f", kEnv, {}, Zones);
  EXPECT_TRUE(config) << Lines(config.error());
  return config ? *std::move(config) : Config();
}

std::string FileErrors(std::string_view more) {
  const auto config = ParseConfig(std::string(kLeast) + std::string(more), "f", kEnv, {}, Zones);
  return config ? "no errors" : Lines(config.error());
}

const Config& Base() {
  static const Config config = Parsed("");
  return config;
}

std::string PolicyErrors(std::string_view text) {
  const auto policy = ParsePolicy(text, "p", Zones, Base());
  return policy ? "no errors" : Lines(policy.error());
}

Policy ParsedPolicy(std::string_view text) {
  auto policy = ParsePolicy(text, "p", Zones, Base());
  EXPECT_TRUE(policy) << PolicyErrors(text);
  return policy ? *std::move(policy) : Policy();
}

TEST(ParseConfig, APolicyOfEveryMember_IsReadWhole) {
  const Config config = Parsed(R"(
policies:
  - id: support-monthly
    owner: ${OWNER}
    match: {team: support, model_class: [premium, house_wine], model: [small, big]}
    except: {environment: [production]}
    per: [user, key]
    limit: 500.25
    unit: usd
    cap: firm
    window: month
    every: 3
    anchor: 2026-01-31T09:05
    timezone: Europe/Berlin
    action: degrade
    degrade_to: small
    shadow: true
    clamp: false
    alerts: [25, 100]
    forecast: false
    over_limit_status: 429
    approval: {approvers: [alice, bob], condition: "launch only", amount_max: 1000, duration_max: 7d}
    retry: {attempts: 2, fallback_attempts: 1, fallback_spend: 0.50, non_retryable: [timeout]}
    logging: [key, user, workflow, model, status, usage]
    review: weekly
    contact: https://budget.example/ask
    note: the launch
    version: 3
  - {id: second, unit: requests, limit: 10}
)");
  ASSERT_EQ(config.policies.size(), 2U);
  const Policy& policy = config.policies[0];
  EXPECT_EQ(policy.id, "support-monthly");
  EXPECT_EQ(policy.owner, "finance");
  // Sorted by dimension, and by value.
  const std::vector<Condition> match = {{Dimension::kTeam, {"support"}},
                                        {Dimension::kModel, {"big", "small"}},
                                        {Dimension::kModelClass, {"house_wine", "premium"}}};
  EXPECT_EQ(policy.match, match);
  EXPECT_EQ(policy.except, (std::vector<Condition>{{Dimension::kEnvironment, {"production"}}}));
  EXPECT_EQ(policy.per, (std::vector{Dimension::kKey, Dimension::kUser}));
  EXPECT_EQ(policy.unit, QuotaUnit::kUsd);
  EXPECT_EQ(policy.limit, 500'250'000'000);
  EXPECT_EQ(policy.cap, CapKind::kFirm);
  EXPECT_EQ(policy.window.kind, WindowKind::kMonth);
  EXPECT_EQ(policy.window.every, 3);
  EXPECT_EQ(policy.window.anchor_seconds, 1'769'850'300);
  EXPECT_EQ(policy.window.zone->name, "Europe/Berlin");
  EXPECT_EQ(policy.action, PolicyAction::kDegrade);
  EXPECT_EQ(policy.degrade_to, "small");
  EXPECT_TRUE(policy.shadow);
  EXPECT_FALSE(policy.clamp);
  EXPECT_EQ(policy.alert_percent, (std::vector<std::int64_t>{25, 100}));
  EXPECT_FALSE(policy.forecast);
  EXPECT_EQ(policy.over_limit_status, 429);
  EXPECT_EQ(policy.approval.approvers, (std::vector<std::string>{"alice", "bob"}));
  EXPECT_EQ(policy.approval.condition, "launch only");
  EXPECT_EQ(policy.approval.amount_max, 1'000 * kNanoPerUsd);
  EXPECT_EQ(policy.approval.duration_max, Minutes(7 * 24 * 60));
  EXPECT_EQ(policy.retry.attempts, 2);
  EXPECT_EQ(policy.retry.fallback_attempts, 1);
  EXPECT_EQ(policy.retry.fallback_spend, NanoUsd{500'000'000});
  EXPECT_EQ(policy.retry.non_retryable, (std::vector<std::string>{"timeout"}));
  EXPECT_EQ(policy.logging.size(), 6U);
  EXPECT_EQ(policy.review, ReviewCadence::kWeekly);
  EXPECT_EQ(policy.contact, "https://budget.example/ask");
  EXPECT_EQ(policy.note, "the launch");
  EXPECT_EQ(policy.version, 3U);
  EXPECT_FALSE(policy.stored);

  const Policy& second = config.policies[1];
  EXPECT_TRUE(second.match.empty());
  EXPECT_TRUE(second.per.empty());
  EXPECT_EQ(second.window.kind, WindowKind::kMonth);
  EXPECT_EQ(second.window.anchor_seconds, kDefaultAnchorSeconds);
  EXPECT_EQ(second.window.zone, nullptr);
  EXPECT_EQ(second.alert_percent, (std::vector<std::int64_t>{50, 75, 90, 100}));
  EXPECT_EQ(second.over_limit_status, 0);
  EXPECT_EQ(second.version, DerivedVersion(second));
}

TEST(ParsePolicy, UnitsThatHaveOneWindow_HaveItWithoutAWord) {
  const std::pair<const char*, WindowKind> cases[] = {
      {"concurrent", WindowKind::kLifetime},   {"context_tokens", WindowKind::kRequest},
      {"attempts", WindowKind::kAction},       {"fallback_attempts", WindowKind::kAction},
      {"fallback_spend", WindowKind::kAction}, {"usd", WindowKind::kMonth},
      {"video_rerenders", WindowKind::kMonth}};
  for (const auto& [unit, kind] : cases) {
    const std::string text = std::string("{id: p, limit: 1, unit: ") + unit;
    EXPECT_EQ(ParsedPolicy(text + "}").window.kind, kind) << unit;
    EXPECT_EQ(ParsedPolicy(text + ", window: " + std::string(Name(kind)) + "}").window.kind, kind);
  }
}

TEST(ParsePolicy, WindowsOfEveryKind) {
  for (const char* kind :
       {"minute", "hour", "day", "week", "month", "lifetime", "request", "action"}) {
    const Policy policy =
        ParsedPolicy(std::string("{id: p, unit: usd, limit: 1, window: ") + kind + "}");
    EXPECT_EQ(Name(policy.window.kind), kind);
  }
  const Policy campaign = ParsedPolicy(
      "{id: p, unit: usd, limit: 1, window: campaign, starts_at: 2026-06-01, "
      "ends_at: '2026-07-01T00:00:00+02:00'}");
  EXPECT_EQ(campaign.window.starts_at, Instant{Seconds(1'780'272'000).ns});
  EXPECT_EQ(campaign.window.ends_at, Instant{Seconds(1'782'856'800).ns});
  EXPECT_TRUE(ParsedPolicy("{id: p, unit: usd, limit: 1, sliding: true}").window.sliding);
  // No is no contradiction.
  EXPECT_FALSE(
      ParsedPolicy("{id: p, unit: usd, limit: 1, window: request, sliding: false}").window.sliding);
  // UTC is known without a database.
  EXPECT_EQ(ParsedPolicy("{id: p, unit: usd, limit: 1, timezone: UTC}").window.zone, nullptr);
}

TEST(ParsePolicy, WhatIsWrong_IsSaidWithTheFix) {
  struct Case {
    const char* members;  // besides id, unit: usd and limit: 5, unless it names them
    const char* want;     // "PATH: MESSAGE; FIX"
  };
  const Case cases[] = {
      // Dimensions.
      {"match: {taem: a}", "match.taem: is not a dimension; did you mean team?"},
      {"match: {colour: a}",
       "match.colour: is not a dimension; known: key, team, user, customer, customer_tier, "
       "workspace, workflow, feature, environment, campaign, provider, model, model_family, "
       "model_class, endpoint, modality, image_class"},
      {"match: [team]",
       "match: is a list, not a mapping; write a mapping, such as {team: growth, environment: "
       "[dev, staging]}"},
      {"match: {team: []}", "match.team: is empty; name at least one value"},
      {"match: {team: }",
       "match.team: is nothing, not a single value; give it a value or remove "
       "the line"},
      {"match: {team: [a, a]}", "match.team[1]: is in the list twice; keep one of the two"},
      {"match: {team: [[a]]}", "match.team[0]: is a list, not a single value; write a text"},
      {"match: {team: \"\"}", "match.team: has 0 characters; use 1..128 characters"},
      {"except: {team: \"b\\u00e4r\"}",
       "except.team: has characters that are not ASCII; use letters, digits and punctuation"},
      {"match: {modality: vidoe}", "match.modality: is no value of modality; did you mean video?"},
      {"match: {image_class: huge}",
       "match.image_class: is no value of image_class; write one of draft, preview, edit, final, "
       "retry"},
      {"match: {endpoint: chat_completion}",
       "match.endpoint: is no value of endpoint; did you mean chat_completions?"},
      {"match: {model: smal}", "match.model: no model has the id \"smal\"; did you mean small?"},
      {"match: {provider: [up, openai]}",
       "match.provider: no upstream is named \"openai\"; correct it, or remove it here"},
      {"match: {model_family: gpt-6}",
       "match.model_family: no model has the family \"gpt-6\"; did you mean gpt-5?"},
      {"except: {model_class: premum}",
       "except.model_class: no model has the class \"premum\"; did you mean premium?"},
      {"per: [team, team]", "per[1]: is in the list twice; keep one of the two"},
      {"per: team", "per: is a single value, not a list; write a list, such as [team, user]"},
      {"per: [usr]", "per[0]: is not a dimension; did you mean user?"},
      {"per: [key, team, user, model, provider]", "per: has 5 dimensions; use at most 4"},
      // Units and amounts.
      {"unit: tokens",
       "unit: \"tokens\" is not a choice; write one of requests, input_tokens, output_tokens, "
       "total_tokens, cached_tokens, uncached_tokens, usd, credits, quota_tokens, concurrent, "
       "context_tokens, images, video_jobs, video_seconds, video_rerenders, audio_seconds, "
       "embeddings, attempts, fallback_attempts, fallback_spend"},
      {"limit: 5 USD",
       "limit: \"5 USD\" is not an amount of usd; write USD with at most nine decimals, such as "
       "12.50"},
      {"limit: -1",
       "limit: \"-1\" is not an amount of usd; write USD with at most nine decimals, such as "
       "12.50"},
      {"unit: requests, limit: 1.5",
       "limit: \"1.5\" is not an amount of requests; write a whole number up to "
       "2305843009213693951"},
      {"unit: credits, limit: 0.5",
       "limit: \"0.5\" is not an amount of credits; write a whole number up to 2305843009213693"},
      {"unit: video_seconds, limit: 0.0005",
       "limit: \"0.0005\" is not an amount of video_seconds; write seconds with at most three "
       "decimals, such as 90 or 7.5"},
      {"limit: [5]",
       "limit: is a list, not a single value; write an amount of the policy's unit, such as 500"},
      {"approval: {amount_max: much}",
       "approval.amount_max: \"much\" is not an amount of usd; write USD with at most nine "
       "decimals, such as 12.50"},
      // Windows.
      {"window: year",
       "window: \"year\" is not a choice; write one of minute, hour, day, week, "
       "month, campaign, lifetime, request, action"},
      {"every: 0", "every: \"0\" is out of bounds; use 1..1000"},
      {"every: 1001", "every: \"1001\" is out of bounds; use 1..1000"},
      {"anchor: 2026-02-29",
       "anchor: \"2026-02-29\" is not a local time; write 2026-01-31 or 2026-01-31T09:00, without "
       "a "
       "zone"},
      {"anchor: \"2026-01-31T09:00Z\"",
       "anchor: \"2026-01-31T09:00Z\" is not a local time; write 2026-01-31 or 2026-01-31T09:00, "
       "without a zone"},
      {"timezone: Europe/Berlim",
       "timezone: \"Europe/Berlim\" is not a time zone; write an IANA name, such as Europe/Berlin; "
       "this machine's tzdata must have it"},
      {"timezone: america/new york",
       "timezone: \"america/new york\" is not a time zone; did you mean America/New_York?"},
      {"window: request, sliding: true",
       "sliding: means nothing with window: request; remove it, or write window: minute, hour, "
       "day, week or month"},
      {"window: action, sliding: true",
       "sliding: means nothing with window: action; remove it, or write window: minute, hour, day, "
       "week or month"},
      {"window: lifetime, every: 2",
       "every: means nothing with window: lifetime; remove it, or write window: minute, hour, day, "
       "week or month"},
      {"window: campaign, starts_at: 2026-01-01, ends_at: 2026-02-01, timezone: Europe/Berlin",
       "timezone: means nothing with window: campaign; remove it, or write window: minute, hour, "
       "day, week or month"},
      {"sliding: true, anchor: 2026-01-31",
       "anchor: means nothing with sliding: true, which always ends now; remove it, or remove "
       "sliding"},
      {"sliding: true, timezone: UTC",
       "timezone: means nothing with sliding: true, which always ends now; remove it, or remove "
       "sliding"},
      {"window: campaign, starts_at: 2026-01-01",
       "ends_at: is missing; a campaign has two dates, such as starts_at: 2026-06-01 and ends_at: "
       "2026-07-01"},
      {"window: campaign, ends_at: 2026-01-01",
       "starts_at: is missing; a campaign has two dates, such as starts_at: 2026-06-01 and "
       "ends_at: 2026-07-01"},
      {"window: campaign, starts_at: 2026-01-01, ends_at: 2026-01-01",
       "ends_at: is not later than starts_at; write the moment from which it is over"},
      {"starts_at: 2026-01-01",
       "starts_at: means nothing with window: month; remove it, or write window: campaign"},
      {"unit: concurrent, window: month",
       "window: cannot be month: concurrent is counted while requests run and has no window; write "
       "lifetime, or remove it"},
      {"unit: context_tokens, window: day",
       "window: cannot be day: context_tokens is of one request; write request, or remove it"},
      {"unit: attempts, window: request",
       "window: cannot be request: attempts is of one action of a user; write action, or remove "
       "it"},
      {"unit: fallback_attempts, window: lifetime",
       "window: cannot be lifetime: fallback_attempts is of one action of a user; write action, or "
       "remove it"},
      {"unit: fallback_spend, window: month",
       "window: cannot be month: fallback_spend is of one action of a user; write action, or "
       "remove it"},
      {"unit: concurrent, every: 2",
       "every: means nothing with window: lifetime; remove it, or write window: minute, hour, day, "
       "week or month"},
      // Actions.
      {"action: degrade", "degrade_to: is missing; name the model that serves beyond the limit"},
      {"action: degrade, degrade_to: \"\"",
       "degrade_to: is missing; name the model that serves beyond the limit"},
      {"degrade_to: small",
       "degrade_to: means nothing with action: block; remove it, or write action: degrade"},
      {"action: degrade, degrade_to: smal",
       "degrade_to: no model has the id \"smal\"; did you mean small?"},
      {"action: degrade, degrade_to: nothing-like-it",
       "degrade_to: no model has the id \"nothing-like-it\"; name a model of the file"},
      {"action: degrade, degrade_to: \"*\"",
       "degrade_to: no model has the id \"*\"; name a model of the file"},
      {"action: degrade, degrade_to: small, match: {model: small}",
       "degrade_to: is the only model the policy is about; name another model, or write action: "
       "block"},
      {"action: blok",
       "action: \"blok\" is not a choice; did you mean block? write one of block, degrade, "
       "approval, alert"},
      {"cap: soft", "cap: \"soft\" is not a choice; write one of hard, firm"},
      {"over_limit_status: 403",
       "over_limit_status: \"403\" is not a choice; did you mean 402? write one of 402, 429"},
      {"alerts: [50, 50]", "alerts: has 50 behind 50; write each once, the smallest first"},
      {"alerts: [90, 50]", "alerts: has 50 behind 90; write each once, the smallest first"},
      {"alerts: [0]", "alerts[0]: \"0\" is out of bounds; use 1..100"},
      {"alerts: [101]", "alerts[0]: \"101\" is out of bounds; use 1..100"},
      {"alerts: [1, 2, 3, 4, 5, 6, 7, 8, 9]", "alerts: has 9 items; use at most 8"},
      {"alerts: 50", "alerts: is a single value, not a list; write a list, such as [50, 100]"},
      {"alerts: [half]",
       "alerts[0]: \"half\" is not a whole number; write a whole number, such as 100"},
      {"retry: {attempts: 0}", "retry.attempts: \"0\" is out of bounds; use 1..100"},
      {"retry: {non_retryable: [timeuot]}",
       "retry.non_retryable[0]: \"timeuot\" is not a choice; did you mean timeout? write one of "
       "burst, window_exhausted, overloaded, auth_dead, billing_dead, model_gone, server_error, "
       "unknown, timeout, connect_failed, connection_lost"},
      {"approval: {duration_max: 401d}",
       "approval.duration_max: \"401d\" is out of bounds; use 1m..400d"},
      {"version: 0", "version: \"0\" is out of bounds; use 1..4294967295"},
      // Names.
      {"id: \"a b\"",
       "id: \"a b\" has characters that are not allowed; use letters, digits, '.', '_' and '-'"},
      {"id: \"\"", "id: has 0 characters; use 1..64 characters"},
      {"scope: {team: a}", "scope: is not an option; did you mean match?"},
      {"tz: UTC", "tz: is not an option; did you mean timezone?"},
      {"stored: true",
       "stored: is not an option; known here: id, owner, match, except, per, unit, limit, cap, "
       "window, every, sliding, anchor, timezone, starts_at, ends_at, action, degrade_to, shadow, "
       "clamp, alerts, forecast, over_limit_status, approval, retry, logging, review, contact, "
       "note, version"},
      {"retry: {attempt: 1}", "retry.attempt: is not an option; did you mean attempts?"},
  };
  for (const Case& c : cases) {
    std::string text = "{";
    const std::string members = c.members;
    const auto names = [&](std::string_view member) {
      return members.starts_with(member) || members.contains(", " + std::string(member));
    };
    if (!names("id:")) text += "id: p, ";
    if (!names("unit:")) text += "unit: usd, ";
    if (!names("limit:")) text += "limit: 5, ";
    const std::string errors = PolicyErrors(text + members + "}");
    // "p:1:29: " in front, one line.
    const auto at = errors.find(": ");
    EXPECT_EQ(errors.substr(at == std::string::npos ? 0 : at + 2), c.want + std::string("\n"))
        << c.members;
  }
}

TEST(ParsePolicy, WhatMustBeThere_IsAskedFor) {
  EXPECT_EQ(PolicyErrors("{}"),
            "p:1:1: id: is missing; add it: How replies, logs and reports call it. What it has "
            "counted is kept under this name.\n"
            "p:1:1: limit: is missing; add it: How much of it: USD with at most nine decimals, "
            "seconds with at most three, all else in whole numbers.\n"
            "p:1:1: unit: is missing; add it: What is counted. fallback_spend is USD that failed "
            "attempts may have cost; credits are millionths of a USD.\n");
  EXPECT_EQ(PolicyErrors(""), "p: is nothing, not a mapping; give it a value or remove the line\n");
  EXPECT_EQ(PolicyErrors("[]"),
            "p:1:1: is a list, not a mapping; write NAME: VALUE lines below it\n");
}

TEST(ParsePolicy, JsonIsYaml) {
  const Policy policy = ParsedPolicy(
      "\t{\r\n\t\"id\":\"p\",\"unit\":\"usd\",\"limit\":\"0.000000001\",\n"
      "\t\"note\":\"a\\/b \\u00fc \\ud83d\\ude00 \\\\ud83d \\\"q\\\"\",\"shadow\":true,\r\n"
      "\t\"per\":[\"user\"],\"match\":{\"team\":[\"a\",\"b\"]}}\r\n");
  EXPECT_EQ(policy.limit, 1);
  EXPECT_EQ(policy.note, "a/b \xC3\xBC \xF0\x9F\x98\x80 \\ud83d \"q\"");
  EXPECT_TRUE(policy.shadow);
  EXPECT_EQ(policy.per, std::vector{Dimension::kUser});
  // As is, because it is not the operator's file.
  EXPECT_EQ(ParsedPolicy("{id: p, unit: usd, limit: 1, note: \"${OWNER}\"}").note, "${OWNER}");
  EXPECT_EQ(ParsedPolicy("{id: p, unit: usd, limit: 1, note: \"$${\"}").note, "$${");
}

TEST(ParsePolicy, HostileTexts_AreErrors) {
  for (const std::string& text :
       {std::string("{\"id\":\"p\",\"id\":\"q\",\"unit\":\"usd\",\"limit\":1}"),
        std::string("{\"id\":\"p\",\"unit\":\"usd\",\"limit\":null}"),
        std::string("{\"id\":\"p\",\"unit\":\"usd\",\"limit\":1e3}"),
        std::string("{\"id\":\"p\",\"unit\":\"usd\",\"limit\":1,\"note\":\"a\\u0000b\"}"),
        std::string("{\"id\":\"p\",\"unit\":\"usd\",\"limit\":1,\"note\":\"\\ud83d\"}"),
        std::string("{\"id\":\"p\",\"unit\":\"usd\",\"limit\":1"), std::string("&a {id: *a}"),
        std::string(200, '['), std::string(kPolicyBytesMax + 1, ' '), std::string("\0", 1),
        std::string("\xFF\xFE"), std::string("{id: p\n---\nid: q}"), std::string("\\ud83d\\ud"),
        std::string("{\"\\ud83d\\u")}) {
    const auto policy = ParsePolicy(text, "p", Zones, Base());
    EXPECT_FALSE(policy) << text;
    if (!policy) EXPECT_FALSE(policy.error().empty()) << text;
  }
}

TEST(ParsePolicies, ReadsAFileAListOrOne) {
  const auto ids = [](std::string_view text) {
    const auto policies = ParsePolicies(text, "p", Zones, Base());
    if (!policies) return Lines(policies.error());
    std::string all;
    for (const Policy& policy : *policies) all += policy.id + " ";
    return all;
  };
  EXPECT_EQ(ids("policies: [{id: a, unit: usd, limit: 1}, {id: b, unit: usd, limit: 1}]"), "a b ");
  EXPECT_EQ(ids("- {id: a, unit: usd, limit: 1}\n- {id: b, unit: usd, limit: 1}\n"), "a b ");
  EXPECT_EQ(ids("id: a\nunit: usd\nlimit: 1\n"), "a ");
  EXPECT_EQ(ids("[]"), "");
  EXPECT_EQ(ids("- {id: a, unit: usd, limit: 1}\n- {id: a, unit: usd, limit: 2}\n"),
            "p:2:8: [1].id: \"a\" is taken since line 1; give each its own\n");
  EXPECT_EQ(ids("policies: []\nmodels: []\n"),
            "p:2:1: models: is not an option; a file of policies has policies alone\n");
  EXPECT_EQ(ids("policies: {}"),
            "p:1:11: policies: is a mapping, not a list; write - before each item\n");
}

TEST(ParseConfig, ErrorsOfPolicies_HaveTheirPlaces) {
  EXPECT_EQ(FileErrors("policies:\n"
                       "  - {id: a, unit: usd, limit: 5}\n"
                       "  - id: a\n"
                       "    unit: requests\n"
                       "    match:\n"
                       "      model: [big, bigg]\n"
                       "    limit: 1.5\n"
                       "    window: campaign\n"),
            "f:7:5: policies[1].ends_at: is missing; a campaign has two dates, such as starts_at: "
            "2026-06-01 and ends_at: 2026-07-01\n"
            "f:7:5: policies[1].starts_at: is missing; a campaign has two dates, such as "
            "starts_at: 2026-06-01 and ends_at: 2026-07-01\n"
            "f:7:9: policies[1].id: \"a\" is taken since line 6; give each its own\n"
            "f:10:14: policies[1].match.model: no model has the id \"bigg\"; did you mean big?\n"
            "f:11:12: policies[1].limit: \"1.5\" is not an amount of requests; write a whole "
            "number up to 2305843009213693951\n");
  EXPECT_EQ(FileErrors("policies: 5\n"),
            "f:5:11: policies: is a single value, not a list; write - before each item\n");
  // What a variable holds is not shown.
  EXPECT_EQ(FileErrors("policies: [{id: a, unit: usd, limit: 5, timezone: \"${ZONE}\"}]\n"),
            "f:5:51: policies[0].timezone: the value is not a time zone; write an IANA name, such "
            "as Europe/Berlin; this machine's tzdata must have it\n");
}

TEST(ParseConfig, WithoutALookup_OnlyUtcIsAZone) {
  const std::string file =
      std::string(kLeast) + "policies: [{id: a, unit: usd, limit: 5, timezone: ";
  EXPECT_TRUE(ParseConfig(file + "UTC}]\n", "f", kEnv));
  EXPECT_FALSE(ParseConfig(file + "Europe/Berlin}]\n", "f", kEnv));
}

TEST(ParseConfig, WithAWildcard_AnyModelMayBeNamed) {
  const auto config = ParseConfig(
      "upstreams: [{name: up, kind: sandbox}]\n"
      "models: [{id: \"*\"}]\n"
      "policies: [{id: a, unit: usd, limit: 5, match: {model: gpt-9}, action: degrade, "
      "degrade_to: gpt-8}]\n",
      "f", kEnv);
  EXPECT_TRUE(config);
}

TEST(ParseConfig, AttributesAndMetadataOfKeys) {
  const Config config = Parsed(R"(
keys:
  - name: ci
    attributes: {workflow: nightly run, team: growth, image_class: draft}
    metadata: [workflow, user]
  - name: plain
)");
  const std::vector<Attribute> attributes = {{Dimension::kTeam, "growth"},
                                             {Dimension::kWorkflow, "nightly run"},
                                             {Dimension::kImageClass, "draft"}};
  EXPECT_EQ(config.keys[0].attributes, attributes);
  EXPECT_EQ(config.keys[0].metadata, BitOf(Dimension::kUser) | BitOf(Dimension::kWorkflow));
  EXPECT_TRUE(config.keys[1].attributes.empty());
  EXPECT_EQ(config.keys[1].metadata, 0U);
  EXPECT_EQ(FileErrors("keys: [{name: a, attributes: {model: big, taem: x, team: [a]}, "
                       "metadata: [key, usr]}]\n"),
            "f:5:31: keys[0].attributes.model: is known of each request by itself; remove it here; "
            "policies may name it all the same\n"
            "f:5:43: keys[0].attributes.taem: is not a dimension; did you mean team?\n"
            "f:5:58: keys[0].attributes.team: is a list, not a single value; write a text\n"
            "f:5:75: keys[0].metadata[0]: is known of each request by itself; remove it here; "
            "policies may name it all the same\n"
            "f:5:80: keys[0].metadata[1]: is not a dimension; did you mean user?\n");
}

TEST(ParseConfig, FamiliesAndClassesOfModels) {
  const Config config = Parsed("");
  EXPECT_EQ(config.models[0].family, "gpt-5");
  EXPECT_EQ(config.models[0].model_class, "premium");
  const auto plain =
      ParseConfig("upstreams: [{name: up, kind: sandbox}]\nmodels: [{id: m}]\n", "f", kEnv);
  EXPECT_EQ(plain->models[0].family, "");
  EXPECT_EQ(plain->models[0].model_class, "standard");
}

TEST(ParseConfig, TheSecretOfMetadata) {
  EXPECT_EQ(Parsed("metadata_secret: ${METADATA_SECRET}\n").metadata_secret.Reveal(),
            "0123456789abcdef0123456789abcdef");
  EXPECT_TRUE(Parsed("").metadata_secret.empty());
  EXPECT_EQ(FileErrors("metadata_secret: short\n"),
            "f:5:18: metadata_secret: has 5 characters; use 16..512 characters\n");
}

}  // namespace
}  // namespace weir::config
