#include "policy/what_if.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "policy/quote.h"

namespace weir::policy {
namespace {

using config::Dimension;
using config::Policy;

// A ring of policies must end: as on the path.
constexpr int kMovesMax = 4;
constexpr std::int64_t kBytesPerToken = 4;

bool LaterEnd(const auto& a, const auto& b) { return a.at > b.at; }

// The values of what the policy counts apart, its action aside.
std::string WhoOf(const Policy& policy, const QuotaUse& use, const Facts& facts) {
  const auto bit = static_cast<std::size_t>(std::countr_zero(use.providers));
  Facts without = facts;
  without.action = {};
  return CounterText(policy, without,
                     bit < facts.providers.size() ? facts.providers[bit] : std::string_view());
}

}  // namespace

std::int64_t PolicyReplayed::most_permille() const {
  if (most_limit <= 0) return most > 0 ? 1000 : 0;
  return static_cast<std::int64_t>(std::min<__int128>(most * 1000 / most_limit, INT64_MAX));
}

Replay::Replay(const PolicySet& set, FindLesser find_lesser, Options options)
    : set_(set),
      find_lesser_(std::move(find_lesser)),
      options_(options),
      now_{INT64_MIN},
      matches_until_{INT64_MIN} {
  for (const Policy* policy : set.all()) {
    index_.emplace_back(policy, static_cast<std::uint32_t>(policies_.size()));
    policies_.push_back({.policy = policy});
  }
  std::ranges::sort(index_);
  most_of_.resize(policies_.size());
}

std::uint32_t Replay::Know(const Facts& facts) {
  Known& known = known_.emplace_back();
  std::size_t bytes = facts.action_scope.size();
  for (const std::string_view value : facts.values) bytes += value.size();
  for (const std::string_view provider : facts.providers) bytes += provider.size();
  known.texts.reserve(bytes);  // the views stay where they point
  const auto keep = [&](std::string_view text) {
    const std::size_t at = known.texts.size();
    known.texts += text;
    return std::string_view(known.texts).substr(at);
  };
  for (std::size_t i = 0; i < facts.values.size(); ++i) {
    known.facts.values[i] = keep(facts.values[i]);
  }
  for (const std::string_view provider : facts.providers) known.providers.push_back(keep(provider));
  known.facts.action_scope = keep(facts.action_scope);
  known.facts.providers = known.providers;
  const auto [estimate, is_new] = estimate_of_.try_emplace(
      {std::string(facts[Dimension::kKey]), std::string(facts[Dimension::kModel])},
      static_cast<std::uint32_t>(estimates_.size()));
  if (is_new) estimates_.emplace_back();
  known.estimate = estimate->second;
  return static_cast<std::uint32_t>(known_.size() - 1);
}

void Replay::MatchAll(Known& known) {
  known.matched = true;
  known.judged = set_.Match(known.facts, now_, known.uses);
  known.of.clear();
  for (const QuotaUse& use : known.uses) {
    known.of.push_back(
        std::ranges::lower_bound(index_, use.policy, {}, &decltype(index_)::value_type::first)
            ->second);
  }
}

// The policies that the request meets at `known`, into uses_ and of_; how they stand, into
// standings_.
void Replay::Meet(const PastRequest& request, Known& known) {
  if (!known.matched) MatchAll(known);
  uses_ = known.uses;
  of_ = known.of;
  if (!request.action.empty() && set_.LooksAtActions()) {
    // Counters of an action have its name: the others are as they were.
    own_facts_ = known.facts;
    own_facts_.action = request.action;
    const bool judged = set_.Match(own_facts_, now_, own_uses_);
    own_of_.assign(known.of.begin(), known.of.end());
    CHECK(judged == known.judged && own_uses_.size() == own_of_.size(),
          "an action changes counters and not policies");
    uses_ = own_uses_;
    of_ = own_of_;
  }
  standings_.clear();
  for (const QuotaUse& use : uses_) standings_.push_back(table_.Look(use, now_));
}

Decision Replay::Judge(const PastRequest& request, const Course& course) {
  Ask ask{.demand = {.price = course.price,
                     .bounds = course.bounds,
                     .choices = request.choices,
                     .multiplier_ppm = course.multiplier_ppm,
                     .attempts = options_.attempts_max},
          .output = course.output,
          .output_useful = std::min(request.output_useful, course.output),
          .output_usual = course.output};
  const bool firm = std::ranges::any_of(
      uses_, [](const QuotaUse& use) { return use.policy->cap == config::CapKind::kFirm; });
  if (firm) ask.output_usual = estimates_[course.known->estimate].usual.tokens();
  return Decide(uses_, standings_, ask, options_.fallback_spend_percent, scratch_);
}

// True when the policy that refuses sends it on, to the model that `course` then is of.
bool Replay::Degrade(const PastRequest& request, const Decision& decision, Course& course) {
  const std::size_t at = decision.verdict.use;
  const Policy& policy = *uses_[at].policy;
  if (policy.action != config::PolicyAction::kDegrade || !find_lesser_) return false;
  const auto same = [&](const auto& one) { return *one.first == policy.degrade_to; };
  auto found = std::ranges::find_if(course.known->lessers, same);
  if (found == course.known->lessers.end()) {
    Lesser lesser;
    const Facts& facts = course.known->facts;
    if (policy.degrade_to != facts[Dimension::kModel]) {
      if (auto model = find_lesser_(policy.degrade_to, facts)) {
        lesser = {.there = true, .model = *std::move(model)};
        Facts moved = facts;
        moved[Dimension::kModel] = lesser.model.id;
        moved[Dimension::kModelFamily] = lesser.model.family;
        moved[Dimension::kModelClass] = lesser.model.model_class;
        const std::string_view provider = lesser.model.provider;
        if (!provider.empty()) moved.providers = {&provider, 1};
        lesser.facts = Know(moved);
      }
    }
    course.known->lessers.emplace_back(&policy.degrade_to,
                                       static_cast<std::uint32_t>(lessers_.size()));
    lessers_.push_back(std::make_unique<Lesser>(std::move(lesser)));
    found = course.known->lessers.end() - 1;
  }
  const Lesser& lesser = *lessers_[found->second];
  if (!lesser.there) return false;
  Note(Fate::kDegraded, of_[at], uses_[at], course.known->facts, 0);
  course.moved_by = &policy;
  course.moved_by_index = of_[at];
  course.known = &known_[lesser.facts];
  course.price = &lesser.model.price;
  course.multiplier_ppm = lesser.model.multiplier_ppm;
  course.output = std::min(request.output_asked, lesser.model.output_tokens_max);
  course.bounds.input = std::min(request.bounds.input, lesser.model.input_tokens_max);
  return true;
}

Replay::Outcome Replay::Add(const PastRequest& request) {
  now_ = std::max(now_, request.started_at);
  SettleUntil(now_);
  if (now_ >= matches_until_) {
    for (Known& known : known_) known.matched = false;
    matches_until_ = set_.ChangesAfter(now_);
  }
  ++totals_.requests;
  Course course{.known = &known_[request.facts],
                .price = request.price,
                .bounds = request.bounds,
                .output = request.output_asked,
                .multiplier_ppm = request.multiplier_ppm};
  Known& asked = *course.known;
  Usage usage = request.usage;
  NanoUsd cost = request.cost;
  Duration duration = request.ended_at - request.started_at;
  bool charged = request.charged && usage.source != UsageSource::kNone;
  if (request.refused) {
    ++totals_.estimated;
    const Estimate& estimate = estimates_[asked.estimate];
    usage = Estimated(request, asked);
    cost = PriceOf(*request.price, usage);
    charged = true;
    duration = {estimate.count > 0 ? static_cast<std::int64_t>(estimate.duration / estimate.count)
                                   : 0};
  } else if (request.degraded && charged) {
    cost = PriceOf(*request.price, usage);
  }

  Decision decision;
  for (int moves = 0;; ++moves) {
    Meet(request, *course.known);
    if (!course.known->judged) decision.verdict = {.refusal = Refusal::kInternal};
    if (course.known->judged) decision = Judge(request, course);
    if (decision.allowed() || !course.known->judged || moves == kMovesMax ||
        !Degrade(request, decision, course)) {
      break;
    }
  }
  const Facts& facts = course.known->facts;
  for (const std::uint32_t policy : of_) ++policies_[policy].met;
  const NanoUsd was = request.refused ? NanoUsd{0} : request.cost;
  if (!decision.allowed()) {
    ++totals_.fates[static_cast<std::size_t>(Fate::kRefused)];
    if (!course.known->judged) return {.fate = Fate::kRefused};
    const std::size_t at = decision.verdict.use;
    Note(Fate::kRefused, of_[at], uses_[at], facts, was.n);
    return {.fate = Fate::kRefused, .policy = uses_[at].policy};
  }

  Outcome outcome;
  if (course.moved_by != nullptr) {
    outcome.fate = Fate::kDegraded;
    outcome.policy = course.moved_by;
    if (charged) cost = PriceOf(*course.price, usage);
  }
  Spent spent{.charged = charged,
              .attempts = request.refused ? 1 : request.attempts,
              .fallback_spend = request.fallback_spend,
              .multiplier_ppm = course.multiplier_ppm};
  const RecoveryLeft& left = decision.recovery;
  std::int64_t attempts_left = left.attempts.value_or(INT64_MAX);
  if (left.fallback_attempts) {
    attempts_left = std::min(attempts_left, *left.fallback_attempts + 1);
  }
  const bool too_dear =
      left.fallback_spend && spent.attempts > 1 && request.fallback_spend > *left.fallback_spend;
  if (spent.attempts > attempts_left || too_dear) {
    outcome.fate = Fate::kStopped;
    const std::uint32_t at = Stopper(request);
    outcome.policy = uses_[at].policy;
    spent.attempts = std::max<std::int64_t>(too_dear ? 1 : attempts_left, 1);
    spent.fallback_spend = {};
    spent.charged = charged = false;
    usage = {};
    cost = {};
    Note(Fate::kStopped, of_[at], uses_[at], facts, was.n);
  } else if (decision.clamped && decision.output < course.output) {
    const std::int64_t most = decision.output * std::max<std::int64_t>(request.choices, 1);
    if (usage.output_tokens > most) {
      usage.output_tokens = most;
      usage = Plausible(usage);
      if (charged) cost = PriceOf(*course.price, usage);
    }
    if (outcome.fate == Fate::kServed) outcome.fate = Fate::kClamped;
    clamped_.clear();
    WhoClamped(uses_, standings_, decision, course.output, clamped_);
    bool first = true;
    for (const std::size_t at : clamped_) {
      const bool saves = std::exchange(first, false) && course.moved_by == nullptr;
      Note(Fate::kClamped, of_[at], uses_[at], facts,
           saves && !request.refused ? request.cost.n - cost.n : 0);
    }
  }
  if (course.moved_by != nullptr && !request.refused) {
    policies_[course.moved_by_index].tally.saved += request.cost.n - cost.n;
  }
  ++totals_.fates[static_cast<std::size_t>(outcome.fate)];
  totals_.cost += cost.n;
  outcome.cost = cost;
  for (const std::uint32_t policy : of_) policies_[policy].cost += cost.n;
  if (!request.refused && usage.source == UsageSource::kProvider) {
    Estimate& estimate = estimates_[asked.estimate];
    ++estimate.count;
    estimate.input += usage.input_tokens;
    estimate.cached += usage.cached_input_tokens;
    estimate.output += usage.output_tokens;
    estimate.duration += duration.ns;
    estimate.usual.Note(usage.output_tokens);
  }
  spent.usage = usage;
  spent.price = cost;
  if (spent.attempts > 1 && charged) {
    // One after the first served it.
    spent.fallback_spend = {std::min(spent.fallback_spend.n + cost.n, kMaxNanoUsd.n)};
  }
  if (!uses_.empty()) Hold(request, decision, course, spent, now_ + duration);
  return outcome;
}

void Replay::Hold(const PastRequest& request, const Decision& decision, const Course& course,
                  const Spent& spent, Instant ends_at) {
  const Facts& facts = course.known->facts;
  const bool own = uses_.data() == own_uses_.data();
  OpenCounters(own ? own_facts_ : facts);
  const std::uint32_t number = NewOpen();
  Open& open = open_[number];
  open.spent = spent;
  const std::int64_t output = decision.output * std::max<std::int64_t>(request.choices, 1);
  for (std::size_t i = 0; i < uses_.size(); ++i) {
    const QuotaUse& use = uses_[i];
    const Standing& standing = standings_[i];
    if (use.policy->shadow && WouldRefuse(use, standing, decision.ask)) {
      Tally& tally = TallyOf(of_[i], use, facts);
      ++tally.shadow;
      ++policies_[of_[i]].tally.shadow;
    }
    if (use.counter.empty()) continue;
    const std::int64_t amount =
        AmountOf(use, standing, decision.ask, output, decision.hold, decision.recovery);
    NoteMost(of_[i], use, standing,
             static_cast<__int128>(standing.settled) + standing.held + amount, facts);
    if (amount == 0 && standing.rule == QuotaRule::kHard && !GrowsWithOutput(use.policy->unit)) {
      continue;
    }
    // Look knew it already where there was a counter.
    const std::uint32_t counter = standing.counter != Standing::kNone
                                      ? standing.counter
                                      : table_.NumberOf(use.counter).value_or(Standing::kNone);
    auto leg = table_.Hold(counter, amount, now_);
    CHECK(leg.has_value(), "the hold was checked against the policy");
    leg->providers = use.providers;
    open.legs.push_back(*leg);
    if (options_.alerts) {
      open.of.push_back(of_[i]);
      table_.SetAlerts(counter, *use.policy);
    }
  }
  ends_.push_back({std::max(ends_at, now_), number});
  std::ranges::push_heap(ends_, LaterEnd<End, End>);
}

// As the credit machine: counters that are there get their new windows before one is dropped to
// make room for a new one.
void Replay::OpenCounters(const Facts& facts) {
  const auto turn = [&](std::size_t i) {
    if (standings_[i].current) return;
    if (const auto window = table_.Turning(uses_[i], standings_[i], now_)) {
      CHECK(table_.Apply(*window), "a window follows from its counter");
    }
  };
  bool any_new = false;
  for (std::size_t i = 0; i < uses_.size(); ++i) {
    if (standings_[i].counter != Standing::kNone) {
      turn(i);
    } else {
      any_new = any_new || !uses_[i].counter.empty();
    }
  }
  if (!any_new) return;
  for (std::size_t i = 0; i < uses_.size(); ++i) {
    if (standings_[i].counter != Standing::kNone) continue;
    const auto counter = table_.Opening(uses_[i], standings_[i], facts, now_);
    if (!counter) continue;
    CHECK(table_.Apply(*counter), "a counter is opened under a number that is free");
    turn(i);
  }
}

std::uint32_t Replay::NewOpen() {
  if (free_ == kNone) {
    open_.emplace_back();
    return static_cast<std::uint32_t>(open_.size() - 1);
  }
  const std::uint32_t number = free_;
  free_ = open_[number].next_free;
  return number;
}

void Replay::SettleUntil(Instant now) {
  while (!ends_.empty() && ends_.front().at <= now) {
    std::ranges::pop_heap(ends_, LaterEnd<End, End>);
    const End end = ends_.back();
    ends_.pop_back();
    Settle(end.open, end.at);
  }
}

void Replay::Settle(std::uint32_t number, Instant at) {
  Open& open = open_[number];
  for (const QuotaLeg& leg : open.legs) {
    const std::int64_t used = UsedOf(leg.unit, open.spent, leg.held);
    table_.Resolve(leg, leg.rule == QuotaRule::kHard ? std::min(used, leg.held) : used);
  }
  for (std::size_t i = 0; i < open.of.size(); ++i) {
    crossed_.clear();
    table_.Crossed(open.legs[i].counter, at, crossed_);
    for (const ledger::AlertRecord& alert : crossed_) {
      CHECK(table_.Apply(alert), "an alert is of a counter");
    }
    if (at >= options_.notes_from) policies_[open.of[i]].alerts += std::ssize(crossed_);
  }
  open.of.clear();
  open.legs.clear();
  open.next_free = free_;
  free_ = number;
}

void Replay::Finish() {
  SettleUntil({INT64_MAX});
  for (std::size_t i = 0; i < policies_.size(); ++i) {
    const auto& [facts, providers] = most_of_[i];
    if (facts == nullptr) continue;
    policies_[i].most_who = WhoOf(*policies_[i].policy, {.providers = providers}, *facts);
  }
  totals_.counters = table_.size();
}

Tally& Replay::TallyOf(std::uint32_t policy, const QuotaUse& use, const Facts& facts) {
  PolicyReplayed& replayed = policies_[policy];
  std::string who = WhoOf(*replayed.policy, use, facts);
  auto found = replayed.who.find(who);
  if (found == replayed.who.end()) {
    if (replayed.who.size() >= options_.who_max) {
      ++replayed.who_left_out;
      found = replayed.who.try_emplace("(others)").first;
    } else {
      found = replayed.who.try_emplace(std::move(who)).first;
    }
  }
  Tally& tally = found->second;
  for (Tally* one : {&tally, &replayed.tally}) {
    one->first_at = std::min(one->first_at, now_);
    one->last_at = std::max(one->last_at, now_);
  }
  return tally;
}

void Replay::Note(Fate fate, std::uint32_t policy, const QuotaUse& use, const Facts& facts,
                  NanoUsdSum saved) {
  for (Tally* tally : {&TallyOf(policy, use, facts), &policies_[policy].tally}) {
    switch (fate) {
      case Fate::kServed:
        break;
      case Fate::kClamped:
        ++tally->clamped;
        break;
      case Fate::kDegraded:
        ++tally->degraded;
        break;
      case Fate::kStopped:
        ++tally->stopped;
        break;
      case Fate::kRefused:
        ++tally->refused;
        break;
    }
    tally->saved += saved;
  }
}

// Compared as products: no division for each policy of each request.
void Replay::NoteMost(std::uint32_t policy, const QuotaUse& use, const Standing& standing,
                      __int128 committed, const Facts& facts) {
  // Of recovery the most that could be needed is held, which says nothing of what is.
  if (now_ < options_.notes_from || IsRecovery(use.policy->unit)) return;
  PolicyReplayed& replayed = policies_[policy];
  if (replayed.most_limit > 0 || replayed.most > 0) {
    // Amounts are below 2^60, so the products are below 2^121.
    if (committed * replayed.most_limit <= replayed.most * standing.limit) return;
  } else if (committed == 0) {
    return;
  }
  replayed.most = committed;
  replayed.most_limit = standing.limit;
  replayed.most_at = now_;
  most_of_[policy] = {&facts, use.providers};
}

// The first policy on recovery that has no room for what the request did.
std::uint32_t Replay::Stopper(const PastRequest& request) const {
  for (std::uint32_t i = 0; i < uses_.size(); ++i) {
    const QuotaUnit unit = uses_[i].policy->unit;
    if (!IsRecovery(unit) || standings_[i].rule == QuotaRule::kNone) continue;
    std::int64_t made = request.attempts;
    if (unit == QuotaUnit::kFallbackAttempts) made -= 1;
    if (unit == QuotaUnit::kFallbackSpend) made = request.fallback_spend.n;
    if (made > std::max<__int128>(standings_[i].Available(), 0)) return i;
  }
  return 0;
}

Usage Replay::Estimated(const PastRequest& request, const Known& known) const {
  const Estimate& estimate = estimates_[known.estimate];
  Usage usage{.source = UsageSource::kEstimated};
  const std::int64_t most = request.output_asked * std::max<std::int64_t>(request.choices, 1);
  if (estimate.count > 0) {
    usage.input_tokens = static_cast<std::int64_t>(estimate.input / estimate.count);
    usage.cached_input_tokens = static_cast<std::int64_t>(estimate.cached / estimate.count);
    usage.output_tokens = static_cast<std::int64_t>(estimate.output / estimate.count);
  } else {
    usage.input_tokens = (request.bounds.input + kBytesPerToken - 1) / kBytesPerToken;
    usage.output_tokens = UsualOutput::kChunk;
  }
  usage.input_tokens = std::min(usage.input_tokens, request.bounds.input);
  usage.output_tokens = std::min(usage.output_tokens, most);
  usage.audio_ms = request.bounds.audio_ms;
  usage.images = request.bounds.images;
  usage.image_kind = request.bounds.image_kind;
  usage.video_ms = request.bounds.video_ms;
  return Plausible(usage);
}

std::uint32_t WhatIf::Know(const Facts& before, const Facts& after) {
  // Either replay also numbers facts of its own, of requests that it sends to other models.
  numbers_.emplace_back(before_.Know(before), after_.Know(after));
  return static_cast<std::uint32_t>(numbers_.size() - 1);
}

void WhatIf::Add(PastRequest request) {
  const auto [in_before, in_after] = numbers_[request.facts];
  request.facts = in_before;
  const Replay::Outcome before = before_.Add(request);
  request.facts = in_after;
  const Replay::Outcome after = after_.Add(request);
  ++moved_[static_cast<std::size_t>(before.fate)][static_cast<std::size_t>(after.fate)];
  booked_ += request.cost.n;
  refused_ += request.refused ? 1 : 0;
  degraded_ += request.degraded ? 1 : 0;
}

void WhatIf::Finish() {
  before_.Finish();
  after_.Finish();
}

}  // namespace weir::policy
