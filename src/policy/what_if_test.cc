// What policies would have done with requests that are told one by one.
#include "policy/what_if.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "policy/quote.h"

namespace weir::policy {
namespace {

using config::CapKind;
using config::Dimension;
using config::Policy;
using config::PolicyAction;
using config::WindowKind;

constexpr Instant kStart{1'767'225'600'000'000'000};  // 2026-01-01T00:00:00Z

config::Price ATokenCosts(std::int64_t nano) {
  config::Price price;
  price.input = price.cached_input = price.cache_write = price.output = {nano * 1000};
  return price;
}

Policy Make(std::string id, QuotaUnit unit, std::int64_t limit,
            WindowKind window = WindowKind::kDay) {
  Policy policy;
  policy.id = std::move(id);
  policy.unit = unit;
  policy.limit = limit;
  policy.window.kind = window;
  return policy;
}

// A replay of requests of which each is 100 tokens in and 50 out unless it says otherwise.
class World {
 public:
  explicit World(std::vector<Policy> policies, std::vector<config::Raise> raises = {},
                 Replay::Options options = {})
      : set_(policies, raises),
        replay_(
            set_,
            [this](std::string_view model, const Facts& facts) { return FindLesser(model, facts); },
            options) {}

  std::uint32_t Know(std::string_view team, std::string_view model = "big") {
    Facts facts;
    facts[Dimension::kKey] = team;
    facts[Dimension::kTeam] = team;
    facts[Dimension::kModel] = model;
    facts[Dimension::kModelClass] = "premium";
    facts.action_scope = team;
    return replay_.Know(facts);
  }

  PastRequest Ask(std::uint32_t facts, Duration at, Duration takes = Seconds(1)) {
    PastRequest request{
        .facts = facts,
        .started_at = kStart + at,
        .ended_at = kStart + at + takes,
        .price = &price_,
        .bounds = {.input = 100},
        .output_asked = 200,
        .output_useful = 10,
        .usage = {.input_tokens = 100, .output_tokens = 50, .source = UsageSource::kProvider}};
    request.cost = PriceOf(price_, request.usage);
    return request;
  }
  Fate Add(const PastRequest& request) { return replay_.Add(request).fate; }

  const PolicyReplayed& Of(std::string_view id) const {
    for (const PolicyReplayed& replayed : replay_.policies()) {
      if (replayed.policy->id == id) return replayed;
    }
    ADD_FAILURE() << "no policy " << id;
    return replay_.policies().front();
  }

  std::optional<LesserModel> FindLesser(std::string_view model, const Facts&) {
    ++asked_for_lesser;
    if (model != "small") return std::nullopt;
    return LesserModel{.id = "small",
                       .family = "s",
                       .model_class = "standard",
                       .price = ATokenCosts(1),
                       .output_tokens_max = 1000,
                       .input_tokens_max = 1000};
  }

  Replay& replay() { return replay_; }
  int asked_for_lesser = 0;
  config::Price price_ = ATokenCosts(10);

 private:
  PolicySet set_;
  Replay replay_;
};

TEST(Replay, NoPolicies_EverythingIsAsItWas) {
  World world({});
  const auto growth = world.Know("growth");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(world.Add(world.Ask(growth, Seconds(i))), Fate::kServed);
  world.replay().Finish();
  EXPECT_EQ(world.replay().totals().requests, 3);
  EXPECT_EQ(world.replay().totals().cost, 3 * 1500);
  EXPECT_EQ(world.replay().totals().fates[0], 3);
}

TEST(Replay, BeyondTheLimit_IsRefusedUntilTheWindowEnds) {
  Policy cap = Make("cap", QuotaUnit::kRequests, 2);
  cap.per = {Dimension::kTeam};
  World world({cap});
  const auto growth = world.Know("growth");
  const auto data = world.Know("data");
  EXPECT_EQ(world.Add(world.Ask(growth, Seconds(0))), Fate::kServed);
  EXPECT_EQ(world.Add(world.Ask(growth, Seconds(10))), Fate::kServed);
  EXPECT_EQ(world.Add(world.Ask(growth, Seconds(20))), Fate::kRefused);
  EXPECT_EQ(world.Add(world.Ask(data, Seconds(30))), Fate::kServed) << "a counter of its own";
  EXPECT_EQ(world.Add(world.Ask(growth, Seconds(40))), Fate::kRefused);
  EXPECT_EQ(world.Add(world.Ask(growth, Seconds(86'400))), Fate::kServed) << "the next day";
  world.replay().Finish();
  const PolicyReplayed& replayed = world.Of("cap");
  EXPECT_EQ(replayed.met, 6);
  EXPECT_EQ(replayed.tally.refused, 2);
  EXPECT_EQ(replayed.tally.saved, 2 * 1500);
  EXPECT_EQ(replayed.tally.first_at, kStart + Seconds(20));
  EXPECT_EQ(replayed.tally.last_at, kStart + Seconds(40));
  ASSERT_EQ(replayed.who.size(), 1U);
  EXPECT_EQ(replayed.who.begin()->first, "team=growth");
  EXPECT_EQ(replayed.who.begin()->second.refused, 2);
  EXPECT_EQ(replayed.most_permille(), 1000);
  EXPECT_EQ(replayed.most_who, "team=growth");
  EXPECT_EQ(replayed.most_at, kStart + Seconds(10));
  EXPECT_EQ(replayed.cost, 4 * 1500);
  EXPECT_EQ(world.replay().totals().counters, 2U);
}

TEST(Replay, RequestsOverlapAsTheyDid) {
  World world({Make("at-once", QuotaUnit::kConcurrent, 1, WindowKind::kLifetime)});
  const auto growth = world.Know("growth");
  EXPECT_EQ(world.Add(world.Ask(growth, Seconds(0), Seconds(10))), Fate::kServed);
  EXPECT_EQ(world.Add(world.Ask(growth, Seconds(5), Seconds(1))), Fate::kRefused);
  EXPECT_EQ(world.Add(world.Ask(growth, Seconds(10), Seconds(1))), Fate::kServed);
  EXPECT_EQ(world.Add(world.Ask(growth, Seconds(30), Seconds(1))), Fate::kServed);
}

TEST(Replay, WhatIsInFlight_IsHeldAtItsWorst) {
  // 100 tokens in and up to 200 out are 3000 nUSD; 1500 are what one comes to.
  World world({Make("month", QuotaUnit::kUsd, 4500)});
  const auto growth = world.Know("growth");
  EXPECT_EQ(world.Add(world.Ask(growth, Seconds(0), Seconds(10))), Fate::kServed);
  PastRequest second = world.Ask(growth, Seconds(1), Seconds(1));
  EXPECT_EQ(world.Add(second), Fate::kClamped) << "1500 are left: 50 tokens of output";
  EXPECT_EQ(world.Add(world.Ask(growth, Seconds(3), Seconds(1))), Fate::kRefused);
  EXPECT_EQ(world.Add(world.Ask(growth, Seconds(20), Seconds(1))), Fate::kClamped)
      << "3000 were settled";
  world.replay().Finish();
  EXPECT_EQ(world.Of("month").tally.clamped, 2);
  EXPECT_EQ(world.Of("month").tally.refused, 1);
  EXPECT_EQ(world.Of("month").most_permille(), 1000);
}

TEST(Replay, AShorterAnswer_CostsLess) {
  World world({Make("out", QuotaUnit::kOutputTokens, 30, WindowKind::kRequest)});
  const auto growth = world.Know("growth");
  EXPECT_EQ(world.Add(world.Ask(growth, Seconds(0))), Fate::kClamped);
  world.replay().Finish();
  const PolicyReplayed& replayed = world.Of("out");
  EXPECT_EQ(replayed.tally.clamped, 1);
  EXPECT_EQ(replayed.tally.saved, 20 * 10);
  EXPECT_EQ(world.replay().totals().cost, 1300);
  EXPECT_EQ(replayed.who.begin()->first, "") << "a policy that tells nobody apart";
}

TEST(Replay, ALesserModel_ServesAtItsPrice) {
  Policy premium = Make("premium", QuotaUnit::kRequests, 1);
  premium.match = {{Dimension::kModelClass, {"premium"}}};
  premium.per = {Dimension::kTeam};
  premium.action = PolicyAction::kDegrade;
  premium.degrade_to = "small";
  World world({premium});
  const auto growth = world.Know("growth");
  EXPECT_EQ(world.Add(world.Ask(growth, Seconds(0))), Fate::kServed);
  EXPECT_EQ(world.Add(world.Ask(growth, Seconds(5))), Fate::kDegraded);
  EXPECT_EQ(world.Add(world.Ask(growth, Seconds(9))), Fate::kDegraded);
  world.replay().Finish();
  EXPECT_EQ(world.replay().totals().cost, 1500 + 150 + 150);
  EXPECT_EQ(world.Of("premium").tally.degraded, 2);
  EXPECT_EQ(world.Of("premium").tally.saved, 2 * 1350);
  EXPECT_EQ(world.Of("premium").who.begin()->first, "team=growth");
  EXPECT_EQ(world.asked_for_lesser, 1) << "and remembered";
}

TEST(Replay, NoSuchLesserModel_IsRefused) {
  Policy premium = Make("premium", QuotaUnit::kRequests, 0);
  premium.action = PolicyAction::kDegrade;
  premium.degrade_to = "gone";
  Policy itself = premium;
  itself.id = "itself";
  itself.degrade_to = "big";
  for (const Policy& policy : {premium, itself}) {
    World world({policy});
    EXPECT_EQ(world.Add(world.Ask(world.Know("growth"), Seconds(0))), Fate::kRefused);
  }
}

TEST(Replay, ALesserModelHasPoliciesOfItsOwn) {
  Policy premium = Make("premium", QuotaUnit::kRequests, 0);
  premium.match = {{Dimension::kModel, {"big"}}};
  premium.action = PolicyAction::kDegrade;
  premium.degrade_to = "small";
  Policy small = Make("small", QuotaUnit::kRequests, 1);
  small.match = {{Dimension::kModelFamily, {"s"}}};
  World world({premium, small});
  const auto growth = world.Know("growth");
  EXPECT_EQ(world.Add(world.Ask(growth, Seconds(0))), Fate::kDegraded);
  EXPECT_EQ(world.Add(world.Ask(growth, Seconds(5))), Fate::kRefused);
  world.replay().Finish();
  EXPECT_EQ(world.Of("small").met, 2);
  EXPECT_EQ(world.Of("small").tally.refused, 1);
  EXPECT_EQ(world.Of("premium").tally.degraded, 2) << "it did send it on";
}

TEST(Replay, MoreAttemptsThanAllowed_EndWithoutAnAnswer) {
  Policy recovery = Make("r", QuotaUnit::kUsd, config::kQuotaMax);
  recovery.retry.attempts = 2;
  recovery.retry.fallback_spend = NanoUsd{100};
  World world({recovery});
  const auto growth = world.Know("growth");
  PastRequest request = world.Ask(growth, Seconds(0));
  request.action = "one";
  request.attempts = 2;
  EXPECT_EQ(world.Add(request), Fate::kServed);
  request = world.Ask(growth, Seconds(10));
  request.action = "one";
  EXPECT_EQ(world.Add(request), Fate::kRefused) << "the action has used its two";
  request = world.Ask(growth, Seconds(20));
  request.action = "two";
  request.attempts = 3;
  EXPECT_EQ(world.Add(request), Fate::kStopped);
  request = world.Ask(growth, Seconds(30));
  request.action = "three";
  request.attempts = 2;
  request.fallback_spend = NanoUsd{101};
  EXPECT_EQ(world.Add(request), Fate::kStopped);
  request = world.Ask(growth, Seconds(40));
  request.attempts = 3;
  EXPECT_EQ(world.Add(request), Fate::kStopped) << "a request is an action of its own";
  world.replay().Finish();
  EXPECT_EQ(world.Of("r/attempts").tally.stopped, 2);
  EXPECT_EQ(world.Of("r/attempts").tally.refused, 1);
  EXPECT_EQ(world.Of("r/fallback_spend").tally.stopped, 1);
  EXPECT_EQ(world.Of("r/attempts").tally.saved, 3 * 1500);
  EXPECT_EQ(world.replay().totals().fates[static_cast<std::size_t>(Fate::kStopped)], 3);
}

TEST(Replay, WhatWasRefusedThen_IsTakenToUseWhatOthersDid) {
  World world({});
  const auto growth = world.Know("growth");
  PastRequest first = world.Ask(growth, Seconds(0));
  first.refused = true;
  first.usage = {};
  first.cost = {};
  first.output_asked = 5000;
  EXPECT_EQ(world.Add(first), Fate::kServed);
  EXPECT_EQ(world.replay().totals().cost, (25 + 1024) * 10) << "nothing is known yet";
  world.Add(world.Ask(growth, Seconds(1)));
  world.Add(world.Ask(growth, Seconds(2)));
  PastRequest other = first;
  other.started_at = kStart + Seconds(5);
  const auto outcome = world.replay().Add(other);
  EXPECT_EQ(outcome.cost, NanoUsd{1500});
  EXPECT_EQ(world.replay().totals().estimated, 2);
}

TEST(Replay, WhatWasDegradedThen_IsPricedAsItWasAsked) {
  World world({});
  PastRequest request = world.Ask(world.Know("growth"), Seconds(0));
  request.degraded = true;
  request.cost = {150};
  EXPECT_EQ(world.replay().Add(request).cost, NanoUsd{1500});
}

TEST(Replay, AnApprovalCountsForItsTime) {
  const config::Raise raise{.approval = "a",
                            .policy = "cap",
                            .values = "",
                            .amount = 1,
                            .from = kStart + Seconds(10),
                            .to = kStart + Seconds(20)};
  World world({Make("cap", QuotaUnit::kRequests, 1)}, {raise});
  const auto growth = world.Know("growth");
  EXPECT_EQ(world.Add(world.Ask(growth, Seconds(0))), Fate::kServed);
  EXPECT_EQ(world.Add(world.Ask(growth, Seconds(5))), Fate::kRefused);
  EXPECT_EQ(world.Add(world.Ask(growth, Seconds(10))), Fate::kServed);
  EXPECT_EQ(world.Add(world.Ask(growth, Seconds(15))), Fate::kRefused);
}

TEST(Replay, Shadows_AreCountedAndRefuseNothing) {
  Policy shadow = Make("shadow", QuotaUnit::kRequests, 1);
  shadow.shadow = true;
  Policy alert = Make("alert", QuotaUnit::kRequests, 1);
  alert.action = PolicyAction::kAlert;
  World world({shadow, alert});
  const auto growth = world.Know("growth");
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(world.Add(world.Ask(growth, Seconds(5 * i))), Fate::kServed);
  }
  EXPECT_EQ(world.Of("shadow").tally.shadow, 2);
  EXPECT_EQ(world.Of("shadow").tally.refused, 0);
  EXPECT_EQ(world.Of("shadow").who.begin()->second.shadow, 2);
  EXPECT_EQ(world.Of("alert").tally.shadow, 0);
}

TEST(Replay, ThresholdsAreCountedOnceAWindow) {
  Policy alert = Make("alert", QuotaUnit::kRequests, 4);
  alert.action = PolicyAction::kAlert;
  alert.forecast = false;
  World world({alert}, {}, {.alerts = true});
  const auto growth = world.Know("growth");
  for (int i = 0; i < 6; ++i) world.Add(world.Ask(growth, Seconds(10 * i)));
  world.Add(world.Ask(growth, Seconds(86'400)));
  world.Add(world.Ask(growth, Seconds(86'500)));
  world.replay().Finish();
  EXPECT_EQ(world.Of("alert").alerts, 4 + 1) << "50, 75, 90 and 100 percent, then 50 again";
  EXPECT_EQ(world.Of("alert").most_permille(), 1500);
}

TEST(Replay, WhatCameBefore_FillsWindowsAndIsNotNoted) {
  Policy alert = Make("alert", QuotaUnit::kRequests, 10);
  alert.action = PolicyAction::kAlert;
  alert.forecast = false;
  World world({alert}, {}, {.alerts = true, .notes_from = kStart + Seconds(1000)});
  const auto growth = world.Know("growth");
  for (int i = 0; i < 6; ++i) world.Add(world.Ask(growth, Seconds(10 * i)));
  for (int i = 0; i < 2; ++i) world.Add(world.Ask(growth, Seconds(1000 + 10 * i)));
  world.replay().Finish();
  EXPECT_EQ(world.Of("alert").alerts, 1) << "75 percent, and not the 50 of before";
  EXPECT_EQ(world.Of("alert").most_permille(), 800);
}

TEST(Replay, AFirmCap_HoldsWhatIsUsual) {
  Policy firm = Make("firm", QuotaUnit::kOutputTokens, 2048);
  firm.cap = CapKind::kFirm;
  World world({firm});
  const auto growth = world.Know("growth");
  const auto ask = [&](int at) {
    PastRequest request = world.Ask(growth, Seconds(at), Seconds(100));
    request.output_asked = 100'000;
    return request;
  };
  // A chunk of 1024 is held of each until it is known how long answers are.
  EXPECT_EQ(world.Add(ask(0)), Fate::kServed);
  EXPECT_EQ(world.Add(ask(1)), Fate::kServed);
  EXPECT_EQ(world.Add(ask(2)), Fate::kRefused);
  EXPECT_EQ(world.Add(ask(200)), Fate::kServed) << "100 were used";
}

TEST(Replay, TooManyToTellApart_AreTheOthers) {
  Policy cap = Make("cap", QuotaUnit::kRequests, 0);
  cap.per = {Dimension::kTeam};
  World world({cap}, {}, {.who_max = 2});
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(world.Add(world.Ask(world.Know("team" + std::to_string(i)), Seconds(i))),
              Fate::kRefused);
  }
  const PolicyReplayed& replayed = world.Of("cap");
  EXPECT_EQ(replayed.who.size(), 3U);
  EXPECT_EQ(replayed.who.at("(others)").refused, 3);
  EXPECT_EQ(replayed.who_left_out, 3);
  EXPECT_EQ(replayed.tally.refused, 5);
}

TEST(Replay, AProviderIsAScopeLikeAnyOther) {
  Policy cap = Make("cap", QuotaUnit::kRequests, 1);
  cap.per = {Dimension::kProvider};
  World world({cap});
  const auto know = [&](std::string_view provider) {
    Facts facts;
    facts[Dimension::kModel] = "big";
    facts.providers = {&provider, 1};
    return world.replay().Know(facts);
  };
  const auto openai = know("openai");
  const auto other = know("other");
  EXPECT_EQ(world.Add(world.Ask(openai, Seconds(0))), Fate::kServed);
  EXPECT_EQ(world.Add(world.Ask(other, Seconds(5))), Fate::kServed);
  EXPECT_EQ(world.Add(world.Ask(openai, Seconds(10))), Fate::kRefused);
  EXPECT_EQ(world.Of("cap").who.begin()->first, "provider=openai");
}

TEST(WhatIf, TellsWhatChanges) {
  const std::vector<Policy> loose = {Make("cap", QuotaUnit::kRequests, 3)};
  const std::vector<Policy> tight = {Make("cap", QuotaUnit::kRequests, 1)};
  const PolicySet before(loose, {});
  const PolicySet after(tight, {});
  WhatIf what_if(before, after, {}, {}, {});
  Facts facts;
  facts[Dimension::kKey] = "k";
  const std::uint32_t known = what_if.Know(facts, facts);
  const config::Price price = ATokenCosts(10);
  for (int i = 0; i < 4; ++i) {
    PastRequest request{.facts = known,
                        .started_at = kStart + Seconds(i * 10),
                        .ended_at = kStart + Seconds(i * 10 + 1),
                        .price = &price,
                        .usage = {.input_tokens = 10, .source = UsageSource::kProvider},
                        .cost = {100}};
    request.refused = i == 3;
    if (request.refused) request.cost = {};
    what_if.Add(request);
  }
  what_if.Finish();
  EXPECT_EQ(what_if.moved(Fate::kServed, Fate::kServed), 1);
  EXPECT_EQ(what_if.moved(Fate::kServed, Fate::kRefused), 2);
  EXPECT_EQ(what_if.moved(Fate::kRefused, Fate::kRefused), 1);
  EXPECT_EQ(what_if.booked(), 300);
  EXPECT_EQ(what_if.refused(), 1);
  EXPECT_EQ(what_if.before().totals().cost, 300);
  EXPECT_EQ(what_if.after().totals().cost, 100);
}

// Over random policies and requests: nothing is left held, and no hard limit is passed.
TEST(Replay, AnyPast_LeavesNothingHeldAndPassesNoHardLimit) {
  SeededRandom random(7);
  constexpr QuotaUnit kUnits[] = {QuotaUnit::kRequests, QuotaUnit::kTotalTokens, QuotaUnit::kUsd,
                                  QuotaUnit::kConcurrent, QuotaUnit::kOutputTokens};
  for (int round = 0; round < 60; ++round) {
    std::vector<Policy> policies;
    for (int i = 0; i < 4; ++i) {
      const QuotaUnit unit = kUnits[random.Next() % std::size(kUnits)];
      Policy policy =
          Make("p" + std::to_string(i), unit, static_cast<std::int64_t>(random.Next() % 5000),
               random.Next() % 2 == 0 ? WindowKind::kMinute : WindowKind::kHour);
      policy.window.sliding = random.Next() % 3 == 0;
      if (random.Next() % 2 == 0) policy.per = {Dimension::kTeam};
      if (random.Next() % 4 == 0) policy.clamp = false;
      if (random.Next() % 4 == 0) policy.retry.attempts = 2;
      policies.push_back(policy);
    }
    World world(policies);
    const std::uint32_t teams[] = {world.Know("a"), world.Know("b"), world.Know("c")};
    Duration at{};
    for (int i = 0; i < 500; ++i) {
      at = at + Milliseconds(static_cast<std::int64_t>(random.Next() % 2000));
      PastRequest request =
          world.Ask(teams[random.Next() % 3], at,
                    Milliseconds(static_cast<std::int64_t>(random.Next() % 5000)));
      request.usage.output_tokens = static_cast<std::int64_t>(random.Next() % 200);
      request.cost = PriceOf(world.price_, request.usage);
      request.attempts = static_cast<std::int64_t>(random.Next() % 4);
      if (random.Next() % 3 == 0) request.action = random.Next() % 2 == 0 ? "x" : "y";
      request.refused = random.Next() % 10 == 0;
      world.Add(request);
      for (std::uint32_t n = 0; n < world.replay().table().numbers(); ++n) {
        const auto view = world.replay().table().View(n, request.started_at);
        if (view) {
          ASSERT_LE(view->settled + view->held, view->limit) << view->policy;
        }
      }
    }
    world.replay().Finish();
    for (std::uint32_t n = 0; n < world.replay().table().numbers(); ++n) {
      const auto view = world.replay().table().View(n, kStart + at);
      if (view) {
        EXPECT_EQ(view->held, 0) << view->policy;
      }
    }
    const ReplayTotals& totals = world.replay().totals();
    std::int64_t fates = 0;
    for (const std::int64_t count : totals.fates) fates += count;
    EXPECT_EQ(fates, 500);
  }
}

}  // namespace
}  // namespace weir::policy
