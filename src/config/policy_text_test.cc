#include "config/policy_text.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "base/random.h"
#include "config/parse.h"

namespace weir::config {
namespace {

TEST(ParseAmount, IsExactInTheStepsOfItsUnit) {
  struct Case {
    QuotaUnit unit;
    const char* text;
    std::int64_t steps;
    const char* shortest;
  };
  const Case cases[] = {
      {QuotaUnit::kUsd, "500", 500'000'000'000, "500"},
      {QuotaUnit::kUsd, "12.50", 12'500'000'000, "12.5"},
      {QuotaUnit::kUsd, "0.000000001", 1, "0.000000001"},
      {QuotaUnit::kUsd, "0.1", 100'000'000, "0.1"},
      {QuotaUnit::kUsd, "0", 0, "0"},
      {QuotaUnit::kFallbackSpend, "0.50", 500'000'000, "0.5"},
      // The largest: a quarter of what an int64 holds.
      {QuotaUnit::kUsd, "2305843009.213693951", 2'305'843'009'213'693'951, "2305843009.213693951"},
      {QuotaUnit::kCredits, "1", 1'000, "1"},
      {QuotaUnit::kCredits, "2000000", 2'000'000'000, "2000000"},
      {QuotaUnit::kVideoSeconds, "7.5", 7'500, "7.5"},
      {QuotaUnit::kAudioSeconds, "0.001", 1, "0.001"},
      {QuotaUnit::kAudioSeconds, "3600", 3'600'000, "3600"},
      {QuotaUnit::kRequests, "1000", 1'000, "1000"},
      {QuotaUnit::kTotalTokens, "2305843009213693951", 2'305'843'009'213'693'951,
       "2305843009213693951"},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(ParseAmount(c.unit, c.text), c.steps) << Name(c.unit) << " " << c.text;
    EXPECT_EQ(FormatAmount(c.unit, c.steps), c.shortest);
  }
  const std::pair<QuotaUnit, const char*> bad[] = {
      {QuotaUnit::kUsd, ""},
      {QuotaUnit::kUsd, "-1"},
      {QuotaUnit::kUsd, "+1"},
      {QuotaUnit::kUsd, ".5"},
      {QuotaUnit::kUsd, "5."},
      {QuotaUnit::kUsd, "05"},
      {QuotaUnit::kUsd, "1e3"},
      {QuotaUnit::kUsd, "1,000"},
      {QuotaUnit::kUsd, "1 000"},
      {QuotaUnit::kUsd, "$5"},
      {QuotaUnit::kUsd, "0.0000000001"},
      {QuotaUnit::kUsd, "1.2.3"},
      {QuotaUnit::kUsd, "2305843009.213693952"},
      {QuotaUnit::kUsd, "99999999999999999999999999999999999999999999"},
      {QuotaUnit::kCredits, "0.5"},
      {QuotaUnit::kCredits, "2305843009213694"},
      {QuotaUnit::kVideoSeconds, "7.5001"},
      {QuotaUnit::kRequests, "1.0"},
      {QuotaUnit::kRequests, "2305843009213693952"},
      {QuotaUnit::kRequests, "inf"},
  };
  for (const auto& [unit, text] : bad) EXPECT_FALSE(ParseAmount(unit, text)) << text;
}

TEST(FormatPolicy, LeavesOutWhatIsAsWithoutIt) {
  Policy policy;
  policy.id = "p";
  policy.unit = QuotaUnit::kRequests;
  policy.limit = 10;
  EXPECT_EQ(FormatPolicy(policy), R"({"id":"p","unit":"requests","limit":10})");
  policy.unit = QuotaUnit::kConcurrent;
  policy.window.kind = WindowKind::kLifetime;
  EXPECT_EQ(FormatPolicy(policy), R"({"id":"p","unit":"concurrent","limit":10})");
}

TEST(FormatPolicy, WithDefaults_WritesWhatHolds) {
  Policy policy;
  policy.id = "p";
  policy.limit = 1'500'000'000;
  EXPECT_EQ(FormatPolicy(policy, Defaults::kWritten),
            R"({"id":"p","match":{},"except":{},"per":[],"unit":"usd","limit":"1.5","cap":"hard",)"
            R"("window":"month","every":1,"sliding":false,"anchor":"2024-01-01T00:00",)"
            R"("timezone":"UTC","action":"block","shadow":false,"clamp":true,)"
            R"("alerts":[50,75,90,100],"forecast":true,)"
            R"("approval":{"approvers":[],"duration_max":"7d"},"retry":{"non_retryable":[]},)"
            R"("logging":[],"review":"monthly"})");
}

TEST(FormatPolicy, AFullOne_IsWrittenWhole) {
  auto zone = std::make_shared<Zone>();
  zone->name = "Europe/Berlin";
  Policy policy;
  policy.id = "support-monthly";
  policy.owner = "support \"team\"";
  policy.match = {{Dimension::kTeam, {"support"}}, {Dimension::kModelClass, {"a", "b"}}};
  policy.except = {{Dimension::kEnvironment, {"production"}}};
  policy.per = {Dimension::kUser};
  policy.limit = 500 * kNanoPerUsd;
  policy.cap = CapKind::kFirm;
  policy.window.every = 3;
  policy.window.anchor_seconds = 1'769'850'300;
  policy.window.zone = zone;
  policy.action = PolicyAction::kDegrade;
  policy.degrade_to = "small";
  policy.shadow = true;
  policy.clamp = false;
  policy.alert_percent = {};
  policy.forecast = false;
  policy.over_limit_status = 429;
  policy.approval = {.approvers = {"alice"},
                     .condition = "launch only",
                     .amount_max = 1'000 * kNanoPerUsd,
                     .duration_max = Minutes(90)};
  policy.retry = {.attempts = 2,
                  .fallback_attempts = 1,
                  .fallback_spend = NanoUsd{500'000'000},
                  .non_retryable = {"timeout"}};
  policy.logging = {"key", "usage"};
  policy.review = ReviewCadence::kWeekly;
  policy.contact = "https://x/";
  policy.note = "a\\b";
  policy.version = 3;
  EXPECT_EQ(FormatPolicy(policy),
            R"({"id":"support-monthly","owner":"support \"team\"",)"
            R"("match":{"team":["support"],"model_class":["a","b"]},)"
            R"("except":{"environment":["production"]},"per":["user"],"unit":"usd","limit":"500",)"
            R"("cap":"firm","every":3,"anchor":"2026-01-31T09:05","timezone":"Europe/Berlin",)"
            R"("action":"degrade","degrade_to":"small","shadow":true,"clamp":false,"alerts":[],)"
            R"("forecast":false,"over_limit_status":429,"approval":{"approvers":["alice"],)"
            R"("condition":"launch only","amount_max":"1000","duration_max":"90m"},)"
            R"("retry":{"attempts":2,"fallback_attempts":1,"fallback_spend":"0.5",)"
            R"("non_retryable":["timeout"]},"logging":["key","usage"],"review":"weekly",)"
            R"("contact":"https://x/","note":"a\\b","version":3})");
  policy.version = DerivedVersion(policy);
  EXPECT_FALSE(FormatPolicy(policy).contains("version")) << "it follows from the rest";
}

TEST(DerivedVersion, FollowsFromEveryMember) {
  Policy policy;
  policy.id = "p";
  policy.unit = QuotaUnit::kRequests;
  policy.limit = 10;
  // For ever: it is kept with what was decided.
  EXPECT_EQ(DerivedVersion(policy), 705'314'201U);
  std::set<std::uint32_t> versions = {DerivedVersion(policy)};
  const auto expect_other = [&](auto change) {
    Policy other = policy;
    change(other);
    const std::uint32_t version = DerivedVersion(other);
    EXPECT_TRUE(versions.insert(version).second) << FormatPolicy(other);
    EXPECT_GT(version, 0U);
    EXPECT_LE(version, 0x7FFF'FFFFU);
  };
  expect_other([](Policy& p) { p.id = "q"; });
  expect_other([](Policy& p) { p.owner = "q"; });
  expect_other([](Policy& p) { p.match = {{Dimension::kTeam, {"a"}}}; });
  expect_other([](Policy& p) { p.except = {{Dimension::kTeam, {"a"}}}; });
  expect_other([](Policy& p) { p.per = {Dimension::kTeam}; });
  expect_other([](Policy& p) { p.unit = QuotaUnit::kImages; });
  expect_other([](Policy& p) { p.limit = 11; });
  expect_other([](Policy& p) { p.cap = CapKind::kFirm; });
  expect_other([](Policy& p) { p.window.kind = WindowKind::kDay; });
  expect_other([](Policy& p) { p.window.every = 2; });
  expect_other([](Policy& p) { p.window.sliding = true; });
  expect_other([](Policy& p) { p.window.anchor_seconds += 1; });
  expect_other([](Policy& p) { p.action = PolicyAction::kAlert; });
  expect_other([](Policy& p) { p.shadow = true; });
  expect_other([](Policy& p) { p.clamp = false; });
  expect_other([](Policy& p) { p.alert_percent = {50}; });
  expect_other([](Policy& p) { p.forecast = false; });
  expect_other([](Policy& p) { p.over_limit_status = 402; });
  expect_other([](Policy& p) { p.approval.approvers = {"a"}; });
  expect_other([](Policy& p) { p.approval.condition = "a"; });
  expect_other([](Policy& p) { p.approval.amount_max = 1; });
  expect_other([](Policy& p) { p.approval.duration_max = Minutes(1); });
  expect_other([](Policy& p) { p.retry.attempts = 1; });
  expect_other([](Policy& p) { p.retry.fallback_attempts = 1; });
  expect_other([](Policy& p) { p.retry.fallback_spend = NanoUsd{1}; });
  expect_other([](Policy& p) { p.retry.non_retryable = {"burst"}; });
  expect_other([](Policy& p) { p.logging = {"key"}; });
  expect_other([](Policy& p) { p.review = ReviewCadence::kNone; });
  expect_other([](Policy& p) { p.contact = "a"; });
  expect_other([](Policy& p) { p.note = "a"; });
  Policy same = policy;
  same.version = 9;
  same.stored = true;
  EXPECT_EQ(DerivedVersion(same), DerivedVersion(policy))
      << "not of itself, nor of where it is kept";
}

// ---------------------------------------------------------------- a round trip of anything

std::shared_ptr<const Zone> Zones(std::string_view name) {
  if (!name.contains('/')) return nullptr;
  auto zone = std::make_shared<Zone>();
  zone->name = std::string(name);
  return zone;
}

// Any policy that the parser accepts, of texts that are hard to quote.
class AnyPolicy {
 public:
  explicit AnyPolicy(std::uint64_t seed) : random_(seed) {}

  Policy Make() {
    Policy policy;
    policy.id = "p-" + std::to_string(random_.Next() % 1'000);
    policy.owner = Text();
    policy.match = Conditions();
    policy.except = Conditions();
    policy.per = Dimensions();
    policy.unit = static_cast<QuotaUnit>(Below(kQuotaUnits));
    policy.limit = Steps(policy.unit);
    policy.cap = static_cast<CapKind>(Below(2));
    policy.window = MakeWindow(policy.unit);
    policy.action = static_cast<PolicyAction>(Below(4));
    if (policy.action == PolicyAction::kDegrade) policy.degrade_to = "small";
    policy.shadow = Coin();
    policy.clamp = Coin();
    if (Coin()) policy.alert_percent.clear();
    for (std::int64_t n = Coin() ? 0 : Below(8), percent = 0; n > 0; --n) {
      if (percent == 0) policy.alert_percent.clear();
      policy.alert_percent.push_back(percent += 1 + Below(12));
    }
    policy.forecast = Coin();
    policy.over_limit_status = Coin() ? 0 : Coin() ? 402 : 429;
    if (Coin()) {
      policy.approval.approvers = {"alice", Text() + "x"};
      policy.approval.condition = Text();
      if (Coin()) policy.approval.amount_max = Steps(policy.unit);
      policy.approval.duration_max = Minutes(1 + Below(400 * 24 * 60 - 1));
    }
    if (Coin()) policy.retry.attempts = 1 + Below(100);
    if (Coin()) policy.retry.fallback_attempts = Below(100);
    if (Coin()) policy.retry.fallback_spend = NanoUsd{Below(1'000'000'000'000)};
    if (Coin()) policy.retry.non_retryable = {"timeout", "burst"};
    if (Coin()) policy.logging = {"key", "usage"};
    policy.review = static_cast<ReviewCadence>(Below(4));
    policy.contact = Text();
    policy.note = Text();
    policy.version = Coin() ? static_cast<std::uint32_t>(1 + Below(UINT32_MAX)) : 0;
    if (policy.version == 0) policy.version = DerivedVersion(policy);
    return policy;
  }

 private:
  std::int64_t Below(std::int64_t n) {
    return static_cast<std::int64_t>(random_.Next() % static_cast<std::uint64_t>(n));
  }
  bool Coin() { return Below(2) == 0; }

  std::string Text() {
    constexpr std::string_view kTexts[] = {
        "",           "plain",      "a: b",    "# no comment", "{x}",   "'",
        "\"",         "\\",         "\\u0041", "null",         "true",  "*a &b !c",
        "12.50",      "ünïcode 😀", "- a",     "a, b]",        "${A}x", "%",
        "\\ud83d\\u", "~",          "\\\"",
    };
    return std::string(kTexts[Below(std::size(kTexts))]);
  }
  std::string Value(Dimension dimension) {
    switch (dimension) {
      case Dimension::kModality:
        return std::string(kModalityNames[Below(kModalityNames.size())]);
      case Dimension::kImageClass:
        return std::string(kImageClassNames[Below(kImageClassNames.size())]);
      case Dimension::kEndpoint:
        return std::string(kEndpointNames[Below(kEndpointNames.size())]);
      case Dimension::kProvider:
        return "up";
      case Dimension::kModel:
        return "model-" + std::to_string(Below(9));  // the wildcard takes any
      case Dimension::kModelFamily:
        return "family";
      case Dimension::kModelClass:
        return std::string(kModelClassNames[Below(kModelClassNames.size())]);
      default:
        return Coin() ? "it's \"a\": \\b, {c}" : "v" + std::to_string(Below(99));
    }
  }
  std::vector<Dimension> Dimensions() {
    std::set<Dimension> dimensions;
    for (std::int64_t n = Below(5); n > 0; --n) {
      dimensions.insert(static_cast<Dimension>(Below(kDimensions)));
    }
    return {dimensions.begin(), dimensions.end()};
  }
  std::vector<Condition> Conditions() {
    std::vector<Condition> conditions;
    for (const Dimension dimension : Dimensions()) {
      std::set<std::string> values;
      for (std::int64_t n = 1 + Below(3); n > 0; --n) values.insert(Value(dimension));
      conditions.push_back({dimension, {values.begin(), values.end()}});
    }
    return conditions;
  }
  std::int64_t Steps(QuotaUnit unit) {
    const std::int64_t steps = Below(Coin() ? 1'000'000 : kQuotaMax);
    return unit == QuotaUnit::kCredits ? steps / 1'000 * 1'000 : steps;
  }
  Window MakeWindow(QuotaUnit unit) {
    Window window;
    window.kind = DefaultWindow(unit);
    if (window.kind != WindowKind::kMonth) return window;
    window.kind = static_cast<WindowKind>(Below(9));
    if (window.kind == WindowKind::kCampaign) {
      window.starts_at = Instant{Seconds(Below(2'000'000'000)).ns};
      window.ends_at = *window.starts_at + Duration{1 + Below(1'000'000'000'000)};
    }
    if (!Repeats(window.kind)) return window;
    window.every = Coin() ? 1 : 1 + Below(1'000);
    window.sliding = Coin();
    if (window.sliding) return window;
    if (Coin()) window.anchor_seconds = Below(4'000'000'000) - 1'000'000'000;
    if (Coin()) window.zone = Zones("Europe/Berlin");
    return window;
  }

  SeededRandom random_;
};

TEST(FormatPolicy, WhatIsWritten_ReadsBackAsTheSame) {
  const auto config = ParseConfig(
      "upstreams: [{name: up, kind: sandbox}]\n"
      "models: [{id: small}, {id: \"*\", family: family}]\n",
      "c", nullptr);
  ASSERT_TRUE(config);
  AnyPolicy any(5);
  for (int i = 0; i < 3'000; ++i) {
    const Policy policy = any.Make();
    for (const Defaults defaults : {Defaults::kOmitted, Defaults::kWritten}) {
      const std::string text = FormatPolicy(policy, defaults);
      const auto read = ParsePolicy(text, "p", Zones, *config);
      ASSERT_TRUE(read) << text << "\n" << FormatConfigError(read.error().front());
      ASSERT_EQ(FormatPolicy(*read, Defaults::kWritten), FormatPolicy(policy, Defaults::kWritten))
          << text;
      ASSERT_EQ(read->version, policy.version);
      ASSERT_EQ(read->limit, policy.limit);
      ASSERT_EQ(read->match, policy.match);
      ASSERT_EQ(read->window.starts_at, policy.window.starts_at);
      ASSERT_EQ(read->window.kind, policy.window.kind);
    }
  }
}

}  // namespace
}  // namespace weir::config
