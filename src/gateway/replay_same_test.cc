// A what-if is only worth something when it decides as the credit machine does: random requests
// under random policies go through both, and every decision and every counter must be the same.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "gateway/credit_control.h"
#include "policy/quote.h"
#include "policy/what_if.h"

namespace weir::gateway {
namespace {

using config::Dimension;
using config::Policy;
using config::QuotaUnit;
using config::WindowKind;

constexpr Instant kStart{1'767'225'600'000'000'000};
constexpr std::int64_t kAttemptsMax = 3;

config::Price ATokenCosts(std::int64_t nano) {
  config::Price price;
  price.input = price.cached_input = price.cache_write = price.output = {nano * 1000};
  return price;
}

std::vector<Policy> SomePolicies(SeededRandom& random) {
  constexpr QuotaUnit kUnits[] = {QuotaUnit::kRequests,     QuotaUnit::kTotalTokens,
                                  QuotaUnit::kUsd,          QuotaUnit::kConcurrent,
                                  QuotaUnit::kOutputTokens, QuotaUnit::kInputTokens};
  constexpr WindowKind kWindows[] = {WindowKind::kMinute, WindowKind::kHour, WindowKind::kLifetime,
                                     WindowKind::kRequest};
  std::vector<Policy> policies;
  for (int i = 0; i < 5; ++i) {
    Policy policy;
    policy.id = "p" + std::to_string(i);
    policy.unit = kUnits[random.Next() % std::size(kUnits)];
    policy.limit = static_cast<std::int64_t>(random.Next() % 6000);
    policy.window.kind = kWindows[random.Next() % std::size(kWindows)];
    policy.window.sliding = random.Next() % 3 == 0 && policy.window.kind <= WindowKind::kHour;
    policy.clamp = random.Next() % 3 != 0;
    policy.shadow = random.Next() % 6 == 0;
    if (random.Next() % 2 == 0) policy.per = {Dimension::kTeam};
    policies.push_back(policy);
  }
  return policies;
}

// "policy values settled held" of every counter that has one now.
std::vector<std::string> Counters(const policy::QuotaTable& table, Instant now) {
  std::vector<std::string> counters;
  for (std::uint32_t n = 0; n < table.numbers(); ++n) {
    const auto view = table.View(n, now);
    if (!view || (view->settled == 0 && view->held == 0)) continue;
    counters.push_back(std::string(view->policy) + " " + std::string(view->values) + " " +
                       std::to_string(view->settled) + " " + std::to_string(view->held));
  }
  std::ranges::sort(counters);
  return counters;
}

TEST(Replay, DecidesAsTheCreditMachine) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SeededRandom random(seed);
    const std::vector<Policy> policies = SomePolicies(random);
    const policy::PolicySet set(policies, {});
    policy::Replay replay(set, {}, {.attempts_max = kAttemptsMax});
    CreditControl machine;
    ledger::RecordBuffer records;
    const config::Price price = ATokenCosts(1);
    std::vector<policy::Facts> facts(3);
    for (std::size_t i = 0; i < facts.size(); ++i) {
      facts[i][Dimension::kKey] = "k";
      facts[i][Dimension::kTeam] = i == 0 ? "a" : (i == 1 ? "b" : "c");
      facts[i].action_scope = "k";
      replay.Know(facts[i]);
    }
    struct Open {
      Instant ends_at;
      RequestId id;
      Usage usage;
    };
    std::vector<Open> open;
    std::deque<std::vector<policy::QuotaUse>> uses;
    const auto settle_until = [&](Instant now) {
      // By their ends, as the replay does.
      std::ranges::sort(open, {}, [](const Open& one) { return std::pair(one.ends_at, one.id); });
      while (!open.empty() && open.front().ends_at <= now) {
        machine.Settle({.request = open.front().id, .usage = open.front().usage, .attempts = 1},
                       open.front().ends_at, records);
        open.erase(open.begin());
      }
    };
    Instant now = kStart;
    for (std::uint64_t n = 1; n <= 300; ++n) {
      now = now + Milliseconds(static_cast<std::int64_t>(random.Next() % 3000));
      settle_until(now);
      const auto which = static_cast<std::uint32_t>(random.Next() % facts.size());
      const auto output = static_cast<std::int64_t>(random.Next() % 300);
      policy::PastRequest past{
          .facts = which,
          .started_at = now,
          .ended_at = now + Milliseconds(static_cast<std::int64_t>(random.Next() % 9000)),
          .price = &price,
          .bounds = {.input = 100},
          .choices = static_cast<std::int64_t>(1 + random.Next() % 2),
          .output_asked = 200,
          .output_useful = static_cast<std::int64_t>(1 + random.Next() % 100),
          .usage = {.input_tokens = 60, .output_tokens = output, .source = UsageSource::kProvider}};
      past.cost = policy::PriceOf(price, past.usage);
      auto& mine = uses.emplace_back();
      ASSERT_TRUE(set.Match(facts[which], now, mine));
      AdmitCommand command{.request = {{seed, n}}, .key = {{1, 1}}, .limits = {}, .quote = {}};
      command.limits.requests_per_minute = 0;
      command.quote = {.price = price,
                       .input_tokens_bound = 100,
                       .output_tokens_bound = past.output_asked * past.choices,
                       .output_choices = past.choices,
                       .output_tokens_useful = past.output_useful};
      command.quotas = mine;
      command.facts = &facts[which];
      command.attempts_max = kAttemptsMax;
      command.fallback_spend_percent = 300;
      const AdmitReply reply = machine.Admit(command, now, records);
      const policy::Replay::Outcome outcome = replay.Add(past);
      ASSERT_EQ(reply.refusal == Refusal::kNone, outcome.fate != policy::Fate::kRefused)
          << "seed " << seed << " request " << n << " " << TextOf(reply.refusal).name;
      if (reply.refusal != Refusal::kNone) {
        ASSERT_TRUE(reply.quota);
        EXPECT_EQ(mine[*reply.quota].policy->id, outcome.policy->id)
            << "seed " << seed << " request " << n;
      } else {
        EXPECT_EQ(reply.clamped, outcome.fate == policy::Fate::kClamped)
            << "seed " << seed << " request " << n;
        Usage usage = past.usage;
        // Only a request that was shortened made less than it did; some made more than they asked.
        if (reply.clamped) {
          usage.output_tokens =
              std::min(usage.output_tokens, reply.output_tokens_granted * past.choices);
        }
        open.push_back({past.ended_at, command.request, usage});
      }
      ASSERT_EQ(Counters(machine.quotas(), now), Counters(replay.table(), now))
          << "seed " << seed << " request " << n;
      records.Clear();
    }
  }
}

}  // namespace
}  // namespace weir::gateway
