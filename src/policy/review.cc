#include "policy/review.h"

#include <algorithm>
#include <functional>
#include <utility>

namespace weir::policy {
namespace {

using config::Dimension;
using config::Policy;
using config::QuotaUnit;

std::optional<std::int64_t> Divided(NanoUsdSum sum, NanoUsdSum by, NanoUsdSum times = 1) {
  if (by <= 0) return std::nullopt;
  return static_cast<std::int64_t>(
      std::clamp<NanoUsdSum>(sum * times / by, 0, std::int64_t{1} << 62));
}

constexpr NanoUsdSum kPermille = 1000;

std::uint64_t HashOf(std::string_view scope, std::string_view action) {
  std::uint64_t hash = 0xCBF29CE484222325ULL;  // FNV-1a
  const auto add = [&](unsigned char byte) { hash = (hash ^ byte) * 0x100000001B3ULL; };
  for (const char c : scope) add(static_cast<unsigned char>(c));
  add(0);
  for (const char c : action) add(static_cast<unsigned char>(c));
  return hash;
}

bool Looks(const Policy& policy, Dimension dimension) {
  const auto is = [dimension](const config::Condition& c) { return c.dimension == dimension; };
  return std::ranges::any_of(policy.match, is) || std::ranges::any_of(policy.except, is) ||
         std::ranges::find(policy.per, dimension) != policy.per.end();
}

// The policies that limit what a signal is about, the most telling first.
bool IsAbout(SignalKind kind, const Policy& policy, int choice) {
  const auto unit_is = [&](std::initializer_list<QuotaUnit> units) {
    return std::ranges::find(units, policy.unit) != units.end();
  };
  switch (kind) {
    case SignalKind::kInputUp:
      return choice == 0 ? unit_is({QuotaUnit::kContextTokens, QuotaUnit::kInputTokens})
                         : unit_is({QuotaUnit::kUncachedTokens, QuotaUnit::kTotalTokens});
    case SignalKind::kOutputUp:
    case SignalKind::kTruncated:
      return choice == 0 ? unit_is({QuotaUnit::kOutputTokens}) : unit_is({QuotaUnit::kTotalTokens});
    case SignalKind::kFinalImages:
      return unit_is({QuotaUnit::kImages}) &&
             (choice == 1 || Looks(policy, Dimension::kImageClass));
    case SignalKind::kRerenders:
      return choice == 0 ? unit_is({QuotaUnit::kVideoRerenders})
                         : unit_is({QuotaUnit::kVideoJobs, QuotaUnit::kVideoSeconds});
    case SignalKind::kCacheDown:
      return choice == 0 ? unit_is({QuotaUnit::kUncachedTokens, QuotaUnit::kCachedTokens})
                         : unit_is({QuotaUnit::kInputTokens});
    case SignalKind::kAttempts:
      return unit_is(
                 {QuotaUnit::kAttempts, QuotaUnit::kFallbackAttempts, QuotaUnit::kFallbackSpend}) ||
             policy.retry.attempts || policy.retry.fallback_attempts || policy.retry.fallback_spend;
    case SignalKind::kKeyUp:
      return Looks(policy, Dimension::kKey) && (choice == 1 || config::IsMoney(policy.unit));
    case SignalKind::kLoadTest:
      return Looks(policy, Dimension::kEnvironment) &&
             (choice == 1 || policy.unit == QuotaUnit::kRequests);
    case SignalKind::kDearer:
      return config::IsMoney(policy.unit) &&
             (choice == 1 || Looks(policy, Dimension::kModelClass) ||
              Looks(policy, Dimension::kModelFamily) || Looks(policy, Dimension::kModel));
  }
  return false;
}
constexpr int kChoices = 2;

// Where load is meant to be.
bool IsProduction(std::string_view environment) {
  return environment.empty() || environment == "production" || environment == "batch" ||
         environment == "customer_facing";
}

}  // namespace

std::optional<std::int64_t> Figures::input_each() const { return Divided(input_tokens, served); }
std::optional<std::int64_t> Figures::output_each() const { return Divided(output_tokens, served); }
std::optional<std::int64_t> Figures::output_ratio() const {
  return Divided(output_tokens, input_tokens, kPermille);
}
std::optional<std::int64_t> Figures::truncated_share() const {
  return Divided(truncated, served, kPermille);
}
std::optional<std::int64_t> Figures::cache_share() const {
  return Divided(cached_tokens, input_tokens, kPermille);
}
std::optional<std::int64_t> Figures::final_share() const {
  return Divided(final_images, images, kPermille);
}
std::optional<std::int64_t> Figures::rerender_share() const {
  return Divided(video_rerenders, videos, kPermille);
}
std::optional<std::int64_t> Figures::elsewhere_share() const {
  return Divided(elsewhere, production + elsewhere, kPermille);
}
std::optional<std::int64_t> Figures::nano_usd_per_token() const {
  return Divided(cost, input_tokens + output_tokens);
}
std::optional<std::int64_t> Figures::dear_share() const {
  return Divided(dear_cost, cost, kPermille);
}
std::optional<std::int64_t> Figures::attempts_per_accepted() const {
  return Divided(told_attempts, accepted, kPermille);
}
std::optional<std::int64_t> Figures::cost_per_accepted() const {
  return Divided(told_cost, accepted);
}

std::string_view Name(SignalKind kind) {
  static constexpr std::array<std::string_view, kSignalKinds> kNames = {
      "input_up",   "output_up", "truncated", "final_images", "rerenders",
      "cache_down", "attempts",  "key_up",    "load_test",    "dearer"};
  return kNames[static_cast<std::size_t>(kind)];
}

std::string_view TitleOf(SignalKind kind) {
  static constexpr std::array<std::string_view, kSignalKinds> kTitles = {
      "Input tokens per served request",
      "Output to input, in thousandths",
      "Answers that end at their bound, in thousandths",
      "Images in final quality, in thousandths",
      "Videos made again, in thousandths",
      "Input from a cache, in thousandths",
      "Billable attempts per accepted result, in thousandths",
      "A key above its baseline, nano-USD a day",
      "Requests outside production, in thousandths",
      "Price of a token, nano-USD"};
  return kTitles[static_cast<std::size_t>(kind)];
}

std::string_view AdviceOf(SignalKind kind) {
  static constexpr std::array<std::string_view, kSignalKinds> kAdvice = {
      "Cap input by workflow and refuse payloads above the approved context",
      "Set the most output by feature, and ask for an approval of long generation",
      "Raise the bound where long answers are wanted, or ask for shorter ones",
      "Give drafts, previews, edits and final renders quotas of their own",
      "Limit rerenders and jobs in flight, and stop while a job is pending",
      "Count cached and uncached input apart, and budget without the savings",
      "Limit attempts and what fallbacks may cost for one action",
      "Look whether the key leaked or its use grew; raise its cap by an approval or stop it",
      "Keep other environments to small limits and cheap models",
      "Ask for an approval of dearer models, or send what is beyond a cap to a cheaper one"};
  return kAdvice[static_cast<std::size_t>(kind)];
}

Review::Review(const PolicySet& set, Periods periods, ReviewThresholds thresholds)
    : set_(set), periods_(periods), thresholds_(thresholds) {
  for (const Policy* policy : set.all()) {
    policy_of_.emplace(policy->id, static_cast<std::uint32_t>(policies_.size()));
    policies_.push_back({.policy = policy, .id = policy->id, .figures = {}});
  }
}

std::uint32_t Review::OwnerIndex(const std::string& name) {
  const auto [found, is_new] =
      owner_of_.try_emplace(name, static_cast<std::uint32_t>(owners_.size()));
  if (is_new) owners_.push_back({.name = name, .figures = {}, .keys = {}});
  return found->second;
}

std::uint32_t Review::PolicyIndex(std::string_view id) const {
  const auto found = policy_of_.find(id);
  return found == policy_of_.end() ? kNone : found->second;
}

std::uint32_t Review::Know(const Facts& facts) {
  Known& known = known_.emplace_back();
  std::size_t bytes = facts.action_scope.size();
  for (const std::string_view value : facts.values) bytes += value.size();
  known.texts.reserve(bytes);  // the views stay where they point
  const auto keep = [&](std::string_view text) {
    const std::size_t at = known.texts.size();
    known.texts += text;
    return std::string_view(known.texts).substr(at);
  };
  for (std::size_t i = 0; i < facts.values.size(); ++i) {
    known.facts.values[i] = keep(facts.values[i]);
  }
  known.facts.action_scope = keep(facts.action_scope);
  known.key = facts[Dimension::kKey];
  // Whose it is does not change with time: a campaign that is over has an owner all the same.
  std::vector<QuotaUse> uses;
  Facts asked = facts;
  for (const Instant at : {periods_.from, periods_.middle, Instant{periods_.to.ns - 1}}) {
    static_cast<void>(set_.Match(asked, at, uses));
    for (const QuotaUse& use : uses) {
      const std::uint32_t policy = PolicyIndex(use.policy->id);
      if (std::ranges::find(known.policies, policy) != known.policies.end()) continue;
      known.policies.push_back(policy);
      if (use.policy->owner.empty()) continue;
      const std::uint32_t owner = OwnerIndex(use.policy->owner);
      if (std::ranges::find(known.owners, owner) == known.owners.end()) {
        known.owners.push_back(owner);
      }
    }
  }
  if (known.owners.empty()) known.owners.push_back(OwnerIndex({}));
  return static_cast<std::uint32_t>(known_.size() - 1);
}

void Review::TellOutcome(std::string_view scope, std::string_view action, bool accepted) {
  if (actions_.size() >= kActionsMax) {
    ++actions_left_out_;
    return;
  }
  Action& known = actions_[HashOf(scope, action)];
  known.told = true;
  known.accepted = accepted;
}

void Review::Count(const ReviewedRequest& request, const Known& known, const Action* action,
                   bool first_of_action, bool rerender, Figures& figures) const {
  const Facts& facts = known.facts;
  ++figures.requests;
  figures.refused += request.refused ? 1 : 0;
  ++(IsProduction(facts[Dimension::kEnvironment]) ? figures.production : figures.elsewhere);
  figures.cost += request.cost.n;
  if (facts[Dimension::kModelClass] != "standard" && !facts[Dimension::kModelClass].empty()) {
    figures.dear_cost += request.cost.n;
  }
  if (request.served) {
    ++figures.served;
    figures.input_tokens += request.usage.input_tokens;
    figures.cached_tokens += request.usage.cached_input_tokens;
    figures.output_tokens += request.usage.output_tokens;
    figures.truncated +=
        request.output_granted > 0 && request.usage.output_tokens >= request.output_granted ? 1 : 0;
    figures.images += request.usage.images;
    if (facts[Dimension::kImageClass] == "final") figures.final_images += request.usage.images;
    if (facts[Dimension::kModality] == "video" || request.usage.video_ms > 0) {
      ++figures.videos;
      figures.video_rerenders += rerender ? 1 : 0;
    }
  }
  if (action != nullptr && action->told) {
    figures.told_attempts += request.attempts;
    figures.told_cost += request.cost.n;
    if (first_of_action) ++(action->accepted ? figures.accepted : figures.rejected);
  }
}

void Review::Add(const ReviewedRequest& request) {
  if (request.started_at < periods_.from || request.started_at >= periods_.to) return;
  const bool is_now = request.started_at >= periods_.middle;
  if (!is_now) first_seen_ = std::min(first_seen_, request.started_at);
  const Known& known = known_[request.facts];
  const bool video = known.facts[Dimension::kModality] == "video" || request.usage.video_ms > 0;
  Action* action = nullptr;
  bool rerender = known.facts[Dimension::kImageClass] == "retry";
  bool first = false;
  if (!request.action.empty()) {
    const std::uint64_t hash = HashOf(known.facts.action_scope, request.action);
    const auto found = actions_.find(hash);
    if (found != actions_.end()) {
      action = &found->second;
    } else if (video) {
      // Kept only to tell a second video from a first.
      if (actions_.size() < kActionsMax) {
        action = &actions_[hash];
      } else {
        ++actions_left_out_;
      }
    }
    if (action != nullptr) {
      first = !std::exchange(action->counted[is_now ? 1 : 0], true);
      // One action is counted in the period of its first request.
      if (is_now && action->counted[0]) first = false;
      if (video) rerender = std::exchange(action->video, true) || rerender;
    }
  }
  const auto side = [is_now](Compared& compared) -> Figures& {
    return is_now ? compared.now : compared.before;
  };
  Count(request, known, action, first, rerender, side(all_));
  for (const std::uint32_t owner : known.owners) {
    Count(request, known, action, first, rerender, side(owners_[owner].figures));
    if (!known.key.empty()) {
      Count(request, known, action, first, rerender, side(owners_[owner].keys[known.key]));
    }
  }
  for (const std::uint32_t policy : known.policies) {
    Figures& figures = side(policies_[policy].figures);
    Count(request, known, action, first, rerender, figures);
    figures.refused -= request.refused ? 1 : 0;  // by it, which is counted below
  }
  const auto by = [&](std::string_view id, std::int64_t Figures::* which, bool to_all) {
    if (id.empty()) return;
    if (to_all) {
      ++(side(all_).*which);
      for (const std::uint32_t owner : known.owners) ++(side(owners_[owner].figures).*which);
    }
    if (const std::uint32_t policy = PolicyIndex(id); policy != kNone) {
      ++(side(policies_[policy].figures).*which);
    }
  };
  by(request.refused_by, &Figures::refused, false);
  by(request.degraded_by, &Figures::degraded, true);
  std::string_view rest = request.shadows;
  while (!rest.empty()) {
    const std::size_t comma = std::min(rest.find(", "), rest.size());
    by(rest.substr(0, comma), &Figures::shadow_refused, true);
    rest.remove_prefix(std::min(comma + 2, rest.size()));
  }
}

std::string Review::PolicyFor(SignalKind kind, const std::string& owner) const {
  for (int choice = 0; choice < kChoices; ++choice) {
    for (const PolicyReview& review : policies_) {
      // The budgets of recovery are named by the policy that has them.
      const Policy& policy = *review.policy;
      if (policy.owner == owner && !policy.id.contains('/') && IsAbout(kind, policy, choice)) {
        return policy.id;
      }
    }
  }
  return {};
}

bool Review::IsEnough(const Compared& compared) const {
  return compared.now.served >= thresholds_.requests_min;
}

std::vector<Signal> Review::SignalsOf(const Owner& owner) const {
  std::vector<Signal> signals;
  const Figures& before = owner.figures.before;
  const Figures& now = owner.figures.now;
  const auto tell = [&](SignalKind kind, std::optional<std::int64_t> was, std::int64_t is,
                        std::string subject = {}) {
    signals.push_back({.kind = kind,
                       .subject = std::move(subject),
                       .before = was,
                       .now = is,
                       .policy = PolicyFor(kind, owner.name)});
  };
  const bool compares = before.served >= thresholds_.requests_min;
  const bool enough = IsEnough(owner.figures);
  // A ratio that grew by so many thousandths.
  const auto grew = [&](SignalKind kind, std::optional<std::int64_t> was,
                        std::optional<std::int64_t> is, std::int64_t growth) {
    if (!enough || !compares || !was || !is || *was == 0) return;
    if (static_cast<NanoUsdSum>(*is) * 1000 >= static_cast<NanoUsdSum>(*was) * growth) {
      tell(kind, was, *is);
    }
  };
  // A share that is above a mark, and not below what it was.
  const auto above = [&](SignalKind kind, std::optional<std::int64_t> was,
                         std::optional<std::int64_t> is, std::int64_t mark) {
    if (is && *is >= mark) tell(kind, was, *is);
  };
  grew(SignalKind::kInputUp, before.input_each(), now.input_each(), thresholds_.input_growth);
  grew(SignalKind::kOutputUp, before.output_ratio(), now.output_ratio(),
       thresholds_.output_ratio_growth);
  if (enough) {
    above(SignalKind::kTruncated, before.truncated_share(), now.truncated_share(),
          thresholds_.truncated_share);
  }
  above(SignalKind::kFinalImages, before.final_share(), now.final_share(), thresholds_.final_share);
  above(SignalKind::kRerenders, before.rerender_share(), now.rerender_share(),
        thresholds_.rerender_share);
  const auto cached_before = before.cache_share();
  const auto cached_now = now.cache_share();
  if (enough && compares && cached_before && cached_now && *cached_before > 0 &&
      *cached_now * 1000 <= *cached_before * thresholds_.cache_drop) {
    tell(SignalKind::kCacheDown, cached_before, *cached_now);
  }
  above(SignalKind::kAttempts, before.attempts_per_accepted(), now.attempts_per_accepted(),
        thresholds_.attempts_per_accepted);
  // Sums are compared as rates: the log may not reach back to the begin of the period before.
  const Instant began = std::max(periods_.from, std::min(first_seen_, periods_.middle));
  const NanoUsdSum length_before = periods_.middle.ns - began.ns;
  const NanoUsdSum length_now = periods_.to.ns - periods_.middle.ns;
  constexpr NanoUsdSum kDay = NanoUsdSum{86'400} * 1'000'000'000;
  for (const auto& [key, figures] : owner.keys) {
    const auto was = Divided(figures.before.cost, length_before, kDay);
    const auto is = Divided(figures.now.cost, length_now, kDay);
    if (!was || !is || figures.before.requests == 0) continue;
    const bool matters = figures.now.cost * 1000 >= now.cost * thresholds_.key_share;
    if (matters &&
        static_cast<NanoUsdSum>(*is) * 1000 >=
            static_cast<NanoUsdSum>(*was) * thresholds_.key_growth &&
        *is > 0) {
      tell(SignalKind::kKeyUp, was, *is, key);
    }
  }
  if (now.production > 0 && now.elsewhere >= thresholds_.requests_min) {
    above(SignalKind::kLoadTest, before.elsewhere_share(), now.elsewhere_share(),
          thresholds_.elsewhere_share);
  }
  grew(SignalKind::kDearer, before.nano_usd_per_token(), now.nano_usd_per_token(),
       thresholds_.price_growth);
  return signals;
}

Review::Report Review::Finish() {
  Report report{.periods = periods_,
                .all = all_,
                .owners = {},
                .policies = policies_,
                .actions_left_out = actions_left_out_};
  if (first_seen_ < periods_.middle) {
    report.periods.from = std::max(periods_.from, first_seen_);
  } else {
    report.periods.from = periods_.middle;  // nothing is kept of it
  }
  for (const auto& [name, index] : owner_of_) {
    const Owner& owner = owners_[index];
    if (owner.figures.before.requests + owner.figures.now.requests == 0) continue;
    report.owners.push_back({.owner = name, .figures = owner.figures, .signals = SignalsOf(owner)});
  }
  return report;
}

}  // namespace weir::policy
