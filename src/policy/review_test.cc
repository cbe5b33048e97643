// The signals of the guide, each made by requests that show it, and by others that nearly do.
#include "policy/review.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

namespace weir::policy {
namespace {

using config::Dimension;
using config::Policy;

constexpr Duration kDay = Seconds(86'400);
constexpr Instant kFrom{1'767'225'600'000'000'000};
constexpr Review::Periods kPeriods{kFrom, kFrom + kDay, Instant{kFrom.ns + 2 * kDay.ns}};

Policy Of(std::string owner, std::string id, QuotaUnit unit) {
  Policy policy;
  policy.id = std::move(id);
  policy.owner = std::move(owner);
  policy.unit = unit;
  policy.limit = 1000;
  policy.match = {{Dimension::kTeam, {policy.owner}}};
  return policy;
}

// A world of one team, "support", whose requests are a thousand tokens in and two hundred out.
class World {
 public:
  explicit World(std::vector<Policy> policies) : set_(policies, {}), review_(set_, kPeriods) {
    usual_ = Know({});
  }
  std::uint32_t Know(std::vector<std::pair<Dimension, std::string_view>> more,
                     std::string_view team = "support") {
    Facts facts;
    facts[Dimension::kKey] = "bot";
    facts[Dimension::kTeam] = team;
    facts[Dimension::kEnvironment] = "production";
    facts[Dimension::kModelClass] = "standard";
    facts[Dimension::kModality] = "text";
    for (const auto& [dimension, value] : more) facts[dimension] = value;
    facts.action_scope = "bot";
    return review_.Know(facts);
  }
  using Change = std::function<void(ReviewedRequest&)>;
  // So many in one of the two periods.
  void Add(int count, bool now, const Change& change = {}) {
    for (int i = 0; i < count; ++i) {
      ReviewedRequest request{
          .facts = usual_,
          .started_at = (now ? kPeriods.middle : kPeriods.from) + Seconds(i),
          .served = true,
          .attempts = 1,
          .output_granted = 4000,
          .usage = {.input_tokens = 1000, .output_tokens = 200, .source = UsageSource::kProvider},
          .cost = {1'200'000}};
      if (change) change(request);
      review_.Add(request);
    }
  }
  // "input_up 1000>1500 context".
  std::string Signals(std::string_view owner = "support") {
    report = review_.Finish();
    std::string text;
    for (const OwnerReview& one : report.owners) {
      if (one.owner != owner) continue;
      for (const Signal& signal : one.signals) {
        if (!text.empty()) text += "; ";
        text += Name(signal.kind);
        if (!signal.subject.empty()) text += "(" + signal.subject + ")";
        text += " " + (signal.before ? std::to_string(*signal.before) : std::string("-")) + ">" +
                std::to_string(signal.now) + " " + (signal.policy.empty() ? "-" : signal.policy);
      }
    }
    return text;
  }
  Review& review() { return review_; }
  std::uint32_t usual_ = 0;
  Review::Report report;

 private:
  PolicySet set_;
  Review review_;
};

World::Change Input(std::int64_t tokens) {
  return [tokens](ReviewedRequest& request) { request.usage.input_tokens = tokens; };
}

TEST(Review, NothingMoved_NothingIsSaid) {
  World world({Of("support", "month", QuotaUnit::kUsd)});
  world.Add(50, false);
  world.Add(50, true);
  EXPECT_EQ(world.Signals(), "");
  ASSERT_EQ(world.report.owners.size(), 1U);
  EXPECT_EQ(world.report.owners[0].figures.now.requests, 50);
  EXPECT_EQ(world.report.owners[0].figures.now.input_each(), 1000);
  EXPECT_EQ(world.report.owners[0].figures.now.output_ratio(), 200);
  EXPECT_EQ(world.report.all.before.cost, NanoUsdSum{50} * 1'200'000);
}

TEST(Review, MoreInput_PointsToTheCapOnContext) {
  World world({Of("support", "month", QuotaUnit::kTotalTokens),
               Of("support", "context", QuotaUnit::kContextTokens)});
  world.Add(20, false);
  world.Add(20, true, [](ReviewedRequest& r) {
    r.usage.input_tokens = 1250;
    r.usage.output_tokens = 250;
    r.cost = {1'500'000};
  });
  EXPECT_EQ(world.Signals(), "input_up 1000>1250 context");
}

TEST(Review, ALittleMoreOrTooFew_IsNoSignal) {
  World little({Of("support", "context", QuotaUnit::kContextTokens)});
  little.Add(20, false);
  little.Add(20, true, Input(1249));
  EXPECT_EQ(little.Signals(), "");
  World few({Of("support", "context", QuotaUnit::kContextTokens)});
  few.Add(19, false);
  few.Add(20, true, Input(9000));
  EXPECT_EQ(few.Signals(), "");
}

TEST(Review, NoPolicyLimitsIt_IsSaidToo) {
  World world({Of("support", "month", QuotaUnit::kUsd)});
  world.Add(20, false);
  world.Add(20, true, Input(2000));
  EXPECT_EQ(world.Signals(), "input_up 1000>2000 -");
}

TEST(Review, LongerAnswersAndTruncation) {
  World world({Of("support", "out", QuotaUnit::kOutputTokens)});
  world.Add(20, false);
  world.Add(20, true, [](ReviewedRequest& r) { r.usage.output_tokens = 300; });
  EXPECT_EQ(world.Signals(), "output_up 200>300 out");
  World cut({Of("support", "out", QuotaUnit::kOutputTokens)});
  cut.Add(20, false);
  cut.Add(19, true);
  cut.Add(1, true, [](ReviewedRequest& r) { r.output_granted = 200; });
  EXPECT_EQ(cut.Signals(), "truncated 0>50 out");
}

TEST(Review, FinalQualityBeforeAHumanChose) {
  Policy images = Of("support", "final", QuotaUnit::kImages);
  images.match.push_back({Dimension::kImageClass, {"final"}});
  World world({Of("support", "images", QuotaUnit::kImages), images});
  const auto draft = world.Know({{Dimension::kImageClass, "draft"}});
  const auto final = world.Know({{Dimension::kImageClass, "final"}});
  const auto image = [](std::uint32_t facts) {
    return [facts](ReviewedRequest& r) {
      r.facts = facts;
      r.usage = {.source = UsageSource::kProvider, .images = 2};
    };
  };
  world.Add(8, false, image(draft));
  world.Add(2, false, image(final));
  world.Add(5, true, image(draft));
  world.Add(5, true, image(final));
  EXPECT_EQ(world.Signals(), "final_images 200>500 final");
}

TEST(Review, VideosMadeAgain) {
  World world({Of("support", "again", QuotaUnit::kVideoRerenders)});
  const auto video = world.Know({{Dimension::kModality, "video"}});
  const auto retry =
      world.Know({{Dimension::kModality, "video"}, {Dimension::kImageClass, "retry"}});
  const auto of = [&](std::uint32_t facts, std::string_view action) {
    return [facts, action](ReviewedRequest& r) {
      r.facts = facts;
      r.action = action;
      r.usage = {.source = UsageSource::kProvider, .video_ms = 5000};
    };
  };
  world.Add(3, true, of(video, "one"));  // the second and third are again
  world.Add(1, true, of(video, "two"));
  world.Add(5, true, of(video, ""));
  world.Add(1, true, of(retry, ""));
  EXPECT_EQ(world.Signals(), "rerenders ->300 again");
}

TEST(Review, FewerCacheHits) {
  World world({Of("support", "uncached", QuotaUnit::kUncachedTokens)});
  const auto cached = [](std::int64_t tokens) {
    return [tokens](ReviewedRequest& r) { r.usage.cached_input_tokens = tokens; };
  };
  world.Add(20, false, cached(500));
  world.Add(20, true, cached(400));
  EXPECT_EQ(world.Signals(), "cache_down 500>400 uncached");
}

TEST(Review, MoreThanOneBillableAttemptForAnAcceptedResult) {
  Policy month = Of("support", "month", QuotaUnit::kUsd);
  month.retry.attempts = 3;
  World world({month});
  for (const char* action : {"a", "b", "c"}) world.review().TellOutcome("bot", action, true);
  world.review().TellOutcome("bot", "d", false);
  world.review().TellOutcome("other", "e", true);
  const auto of = [](std::string_view action, std::int64_t attempts) {
    return [action, attempts](ReviewedRequest& r) {
      r.action = action;
      r.attempts = attempts;
    };
  };
  world.Add(1, false, of("a", 1));
  world.Add(1, true, of("b", 1));
  world.Add(2, true, of("c", 1));
  world.Add(1, true, of("d", 2));  // what was rejected was paid all the same
  world.Add(1, true, of("e", 9));  // another's action of that name
  EXPECT_EQ(world.Signals(), "attempts 1000>2500 month; key_up(bot) 1200000>6000000 -");
  const Figures& now = world.report.owners[0].figures.now;
  EXPECT_EQ(now.accepted, 2);
  EXPECT_EQ(now.rejected, 1);
  EXPECT_EQ(now.cost_per_accepted(), 4 * 1'200'000 / 2);
  EXPECT_EQ(world.report.policies[0].figures.now.cost_per_accepted(), 4 * 1'200'000 / 2);
}

TEST(Review, AKeyAboveItsBaseline) {
  Policy key = Of("support", "each-key", QuotaUnit::kUsd);
  key.per = {Dimension::kKey};
  World world({Of("support", "month", QuotaUnit::kUsd), key});
  const auto other = world.Know({{Dimension::kKey, "leaked"}});
  const auto of_other = [other](ReviewedRequest& r) { r.facts = other; };
  world.Add(50, false);
  world.Add(10, false, of_other);
  world.Add(50, true);
  world.Add(20, true, of_other);
  EXPECT_EQ(world.Signals(), "key_up(leaked) 12000000>24000000 each-key");
}

TEST(Review, AKeyThatIsSmallOrNew_IsNoise) {
  World world({Of("support", "month", QuotaUnit::kUsd)});
  const auto small = world.Know({{Dimension::kKey, "small"}});
  const auto fresh = world.Know({{Dimension::kKey, "fresh"}});
  world.Add(500, false);
  world.Add(1, false, [small](ReviewedRequest& r) { r.facts = small; });
  world.Add(500, true);
  world.Add(10, true, [small](ReviewedRequest& r) { r.facts = small; });
  world.Add(100, true, [fresh](ReviewedRequest& r) { r.facts = fresh; });
  EXPECT_EQ(world.Signals(), "");
}

TEST(Review, StagingThatBecomesALoadTest) {
  Policy staging = Of("support", "staging", QuotaUnit::kRequests);
  staging.match.push_back({Dimension::kEnvironment, {"staging"}});
  World world({Of("support", "month", QuotaUnit::kUsd), staging});
  const auto elsewhere = world.Know({{Dimension::kEnvironment, "staging"}});
  const auto batch = world.Know({{Dimension::kEnvironment, "batch"}});
  const auto of = [](std::uint32_t facts) {
    return [facts](ReviewedRequest& r) { r.facts = facts; };
  };
  world.Add(30, false);
  world.Add(10, false, of(elsewhere));
  world.Add(20, true);
  world.Add(10, true, of(batch));
  world.Add(30, true, of(elsewhere));
  EXPECT_EQ(world.Signals(), "load_test 250>500 staging");
}

TEST(Review, DearerModels) {
  Policy premium = Of("support", "premium", QuotaUnit::kUsd);
  premium.match.push_back({Dimension::kModelClass, {"premium"}});
  World world({Of("support", "month", QuotaUnit::kUsd), premium});
  const auto dear = world.Know({{Dimension::kModelClass, "premium"}});
  world.Add(20, false);
  world.Add(15, true);
  world.Add(5, true, [dear](ReviewedRequest& r) {
    r.facts = dear;
    r.cost = {6'000'000};
  });
  // The key spends twice as much by it, which is a signal of its own.
  EXPECT_EQ(world.Signals(), "key_up(bot) 24000000>48000000 -; dearer 1000>2000 premium");
  EXPECT_EQ(world.report.owners[0].figures.now.dear_share(), 625);
}

TEST(Review, PoliciesSayWhatTheyDid) {
  Policy cap = Of("support", "cap", QuotaUnit::kRequests);
  Policy other = Of("data", "other", QuotaUnit::kRequests);
  World world({cap, other});
  world.Add(3, true);
  world.Add(2, true, [](ReviewedRequest& r) {
    r.served = false;
    r.refused = true;
    r.refused_by = "cap";
    r.cost = {};
  });
  world.Add(1, true, [](ReviewedRequest& r) {
    r.degraded_by = "cap";
    r.shadows = "other, cap";
  });
  world.Add(1, true, [](ReviewedRequest& r) { r.refused_by = "gone"; });
  world.Signals();
  const Figures& of_cap = world.report.policies[0].figures.now;
  EXPECT_EQ(of_cap.requests, 7);
  EXPECT_EQ(of_cap.refused, 2);
  EXPECT_EQ(of_cap.degraded, 1);
  EXPECT_EQ(of_cap.shadow_refused, 1);
  EXPECT_EQ(world.report.policies[1].figures.now.shadow_refused, 1);
  EXPECT_EQ(world.report.owners[0].figures.now.refused, 2);
  EXPECT_EQ(world.report.owners[0].figures.now.degraded, 1);
  EXPECT_EQ(world.report.owners[0].figures.now.shadow_refused, 2);
}

TEST(Review, WhoseARequestIs_FollowsFromThePoliciesItMeets) {
  World world({Of("support", "a", QuotaUnit::kRequests), Of("data", "b", QuotaUnit::kRequests)});
  const auto data = world.Know({}, "data");
  const auto nobody = world.Know({}, "nobody");
  world.Add(2, true);
  world.Add(3, true, [data](ReviewedRequest& r) { r.facts = data; });
  world.Add(4, true, [nobody](ReviewedRequest& r) { r.facts = nobody; });
  world.Signals();
  ASSERT_EQ(world.report.owners.size(), 3U);
  EXPECT_EQ(world.report.owners[0].owner, "");
  EXPECT_EQ(world.report.owners[0].figures.now.requests, 4);
  EXPECT_EQ(world.report.owners[1].owner, "data");
  EXPECT_EQ(world.report.owners[1].figures.now.requests, 3);
  EXPECT_EQ(world.report.owners[2].figures.now.requests, 2);
  EXPECT_EQ(world.report.all.now.requests, 9);
}

TEST(Review, APeriodThatIsKeptInPart_IsComparedByItsRate) {
  Policy key = Of("support", "each-key", QuotaUnit::kUsd);
  key.per = {Dimension::kKey};
  World world({key});
  // The last quarter of the day before: a fourth of the requests is the same rate.
  world.Add(25, false, [](ReviewedRequest& r) {
    r.started_at = Instant{kPeriods.middle.ns - kDay.ns / 4} + (r.started_at - kPeriods.from);
  });
  world.Add(100, true);
  EXPECT_EQ(world.Signals(), "");
  EXPECT_EQ(world.report.periods.from, Instant{kPeriods.middle.ns - kDay.ns / 4});
  World none({key});
  none.Add(100, true);
  EXPECT_EQ(none.Signals(), "");
  EXPECT_EQ(none.report.periods.from, kPeriods.middle) << "nothing is kept of it";
}

TEST(Review, OutsideThePeriods_IsNotCounted) {
  World world({});
  world.Add(1, false, [](ReviewedRequest& r) { r.started_at = Instant{kFrom.ns - 1}; });
  world.Add(1, true, [](ReviewedRequest& r) { r.started_at = kPeriods.to; });
  world.Signals();
  EXPECT_TRUE(world.report.owners.empty());
}

TEST(Figures, NothingToDivideBy_IsNoNumber) {
  const Figures none;
  EXPECT_EQ(none.input_each(), std::nullopt);
  EXPECT_EQ(none.cost_per_accepted(), std::nullopt);
  EXPECT_EQ(none.cache_share(), std::nullopt);
  EXPECT_EQ(none.elsewhere_share(), std::nullopt);
}

TEST(Signal, EachHasANameATitleAndAdvice) {
  for (std::size_t i = 0; i < kSignalKinds; ++i) {
    const auto kind = static_cast<SignalKind>(i);
    EXPECT_FALSE(Name(kind).empty());
    EXPECT_FALSE(TitleOf(kind).empty());
    EXPECT_FALSE(AdviceOf(kind).empty());
  }
}

}  // namespace
}  // namespace weir::policy
