#include "routing/account_pool.h"

#include <algorithm>
#include <map>
#include <queue>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/check.h"
#include "base/random.h"
#include "policy/limiter.h"

namespace weir::routing {
namespace {

constexpr std::uint32_t kNoIndex = UINT32_MAX;
// Refusals say when to come back; nobody is told to come back sooner than this or later than that,
// but for a usage window, whose end is known.
constexpr Duration kRetryMin = Seconds(1);
constexpr Duration kRetryMax = Seconds(60);
constexpr std::size_t kAffinityEntries = 1 << 17;  // about eight megabytes when full
// A rest that grows by less is the one that was told of.
constexpr Duration kSameRest = Seconds(2);
// How old the count of a pool's capacity may be that decides on downgrades.
constexpr Duration kPressureLifetime = Milliseconds(50);
// An account is slow when it takes this many times as long as its lane, and long in itself.
constexpr std::int64_t kSlowTimes = 3;
constexpr Duration kSlowMin = Seconds(2);

Duration Smooth(Duration average, Duration sample) {
  return average.ns == 0 ? sample : Duration{average.ns + (sample.ns - average.ns) / 5};
}

// A model that an account does not serve, for a while.
struct ModelRest {
  std::uint64_t model = 0;  // hash of its id
  Tick until;
  std::int32_t failures = 0;
};

// Where an account stands in a tier.
struct Place {
  std::uint32_t lane = 0;
  std::uint32_t tier = 0;
  std::uint32_t member = 0;
};

struct AccountSlot {
  std::string id;
  std::uint64_t id_hash = 0;
  const config::Account* spec = nullptr;  // null: not in the configuration any more
  std::uint32_t config_index = 0;
  std::uint32_t upstream = 0;  // slot
  AccountHealth health;
  std::int64_t in_flight = 0;
  std::int64_t served = 0;
  std::int64_t failed = 0;
  policy::Rate requests;
  policy::Rate tokens;
  Tick rate_until;  // its own rate per minute allows the next call then
  Tick expires = kNoDeadline;
  bool probing = false;  // half open, and its one call is under way
  bool proven = false;   // a call or a probe has told something of it
  Tick next_probe;       // not before
  std::vector<ModelRest> model_rests;
  std::vector<Place> places;
};

struct UpstreamSlot {
  std::string name;
  std::int64_t limit = 0;
  std::int64_t in_flight = 0;
};

struct PoolSlot {
  std::string name;
  std::int64_t limit = 0;
  config::QueueLimits queue_limits;
  std::int64_t in_flight = 0;
  Duration service;  // how long a call holds its slot, on average
  WaitQueue queue;
  // What Serve needs to know when to stop: how many wait for each plan, and how many for an account
  // of their own.
  std::unordered_map<std::uint32_t, std::int64_t> waiting_for;
  std::int64_t waiting_pinned = 0;
  // What Pressure counted last.
  std::int64_t capacity = 0;
  bool any_usable = false;
  Tick counted_at{INT64_MIN / 2};
};

struct RankedTier {
  std::uint32_t route = 0;
  std::int32_t priority = 0;
  std::uint32_t upstream = 0;        // slot
  std::vector<std::uint32_t> slots;  // of the members
  Tier tier{{}};
};

// The accounts of one pool for one kind of call.
struct Lane {
  std::uint32_t pool = 0;   // slot
  std::uint32_t model = 0;  // index in the configuration
  std::uint64_t model_hash = 0;
  std::vector<RankedTier> tiers;
  std::unordered_map<std::uint64_t, std::pair<std::uint32_t, std::uint32_t>> by_id;  // tier, member
  Duration latency;
};

// A need with its lanes, in the order of the package's pools.
struct Plan {
  std::uint32_t pool = kNoIndex;  // slot whose queue is waited in
  std::vector<std::uint32_t> lanes;
  std::size_t members = 0;
};

struct Waiter {
  TicketId ticket = 0;
  std::uint32_t plan = 0;
  Need need;
  KeyId key;
  SessionHash session = 0;
  std::uint32_t pinned = kNoAccount;
  bool only_pinned = false;  // its account is busy and will be free in time
  std::vector<std::uint32_t> tried;
  std::int64_t tokens = 0;
  std::int64_t cost = 0;
};

struct Due {
  Tick at;
  std::uint32_t slot = 0;
  friend bool operator>(const Due& a, const Due& b) { return a.at > b.at; }
};
struct WaitEnd {
  Tick at;
  TicketId ticket = 0;
  friend bool operator>(const WaitEnd& a, const WaitEnd& b) {
    return a.at != b.at ? a.at > b.at : a.ticket > b.ticket;
  }
};
template <class T>
using Soonest = std::priority_queue<T, std::vector<T>, std::greater<>>;

// Whether an upstream of the kind can be asked for it: nothing translates between families.
bool Serves(config::UpstreamKind kind, std::uint32_t capability) {
  switch (kind) {
    case config::UpstreamKind::kSandbox:
    case config::UpstreamKind::kOpenAi:
      return (capability & (config::kCapMessages | config::kCapGenerateContent)) == 0;
    case config::UpstreamKind::kAnthropic:
      return capability == config::kCapMessages;
    case config::UpstreamKind::kGemini:
      return capability == config::kCapGenerateContent;
  }
  return false;
}

std::uint64_t Pack(const Need& need) {
  // A package and a model fit in 24 bits each: a configuration is one file.
  return (static_cast<std::uint64_t>(need.package) << 40) |
         (static_cast<std::uint64_t>(need.model) << 16) | need.capability;
}

}  // namespace

struct AccountPool::State {
  std::shared_ptr<const config::Config> config;
  SeededRandom random;
  // Never renumbered, so that a lease finds its account again after any number of reloads.
  std::vector<AccountSlot> accounts;
  std::vector<UpstreamSlot> upstreams;
  std::vector<PoolSlot> pools;
  std::unordered_map<std::string, std::uint32_t> account_of;
  std::unordered_map<std::string, std::uint32_t> upstream_of;
  std::unordered_map<std::string, std::uint32_t> pool_of;
  std::vector<std::uint32_t> config_pools;  // slots, by index in the configuration
  std::int64_t in_flight = 0;

  std::vector<Lane> lanes;
  std::vector<Plan> plans;
  std::unordered_map<std::uint64_t, std::uint32_t> plan_of;
  std::unordered_map<std::uint64_t, std::uint32_t> lane_of;

  std::map<TicketId, Waiter> waiters;  // oldest first
  TicketId last_ticket = 0;
  Soonest<Due> dues;
  Soonest<WaitEnd> wait_ends;
  StickyCounts sticky;
  Affinity affinity{kAffinityEntries};

  explicit State(std::uint64_t seed) : random(seed) {}

  // --- configuration ---------------------------------------------------------------------------

  void Configure(std::shared_ptr<const config::Config> next, Tick now, Instant wall) {
    const auto previous = std::exchange(config, std::move(next));
    lanes.clear();
    plans.clear();
    plan_of.clear();
    lane_of.clear();
    std::vector<const config::Account*> old_specs;
    for (auto& slot : accounts) {
      old_specs.push_back(std::exchange(slot.spec, nullptr));
      slot.places.clear();
    }
    std::vector<std::uint32_t> config_upstreams;
    for (const auto& upstream : config->upstreams) {
      const std::uint32_t slot = SlotOf(upstream_of, upstreams, upstream.name);
      upstreams[slot].name = upstream.name;
      upstreams[slot].limit = upstream.concurrency;
      config_upstreams.push_back(slot);
    }
    for (std::uint32_t i = 0; i < config->accounts.size(); ++i) {
      const config::Account& spec = config->accounts[i];
      const std::uint32_t index = SlotOf(account_of, accounts, spec.id);
      AccountSlot& slot = accounts[index];
      slot.id = spec.id;
      slot.id_hash = HashText(spec.id);
      slot.spec = &spec;
      if (slot.next_probe == Tick{} && now != Tick{}) {
        slot.next_probe = now + config->upstreams[spec.upstream].health_probe;
      }
      slot.config_index = i;
      slot.upstream = config_upstreams[spec.upstream];
      // A new credential has not been refused yet.
      const config::Account* const old = index < old_specs.size() ? old_specs[index] : nullptr;
      if (old != nullptr && old->api_key.Reveal() != spec.api_key.Reveal()) slot.health.Clear();
      slot.requests = policy::WithLimit(slot.requests, spec.requests_per_minute, now);
      slot.tokens = policy::WithLimit(slot.tokens, spec.tokens_per_minute, now);
      slot.rate_until = {};
      slot.expires = spec.expires_at ? now + (*spec.expires_at - wall) : kNoDeadline;
      if (slot.expires != kNoDeadline && slot.expires > now) dues.push({slot.expires, index});
    }
    config_pools.clear();
    for (const auto& pool : config->pools) {
      const std::uint32_t slot = SlotOf(pool_of, pools, pool.name);
      pools[slot].name = pool.name;
      pools[slot].limit = pool.concurrency;
      pools[slot].queue_limits = pool.queue;
      pools[slot].counted_at = Tick{INT64_MIN / 2};
      config_pools.push_back(slot);
    }
  }

  template <class Slots>
  static std::uint32_t SlotOf(std::unordered_map<std::string, std::uint32_t>& names, Slots& slots,
                              const std::string& name) {
    const auto [found, added] = names.try_emplace(name, static_cast<std::uint32_t>(slots.size()));
    if (added) slots.emplace_back();
    return found->second;
  }

  // A need in the words of our configuration, when the call still has an older one.
  std::optional<Need> Translate(const config::Config& from, Need need) const {
    if (&from == config.get()) return need;
    const auto& model = from.models[need.model].id;
    const auto& package = from.packages[need.package].name;
    const auto new_model = std::ranges::find(config->models, model, &config::Model::id);
    const auto new_package = std::ranges::find(config->packages, package, &config::Package::name);
    if (new_model == config->models.end() || new_package == config->packages.end()) {
      return std::nullopt;
    }
    need.model = static_cast<std::uint32_t>(new_model - config->models.begin());
    need.package = static_cast<std::uint32_t>(new_package - config->packages.begin());
    return need;
  }

  // --- lanes -----------------------------------------------------------------------------------

  std::uint32_t PlanOf(const Need& need, Tick now) {
    const auto [found, added] =
        plan_of.try_emplace(Pack(need), static_cast<std::uint32_t>(plans.size()));
    if (!added) return found->second;
    Plan plan;
    for (const std::uint32_t pool : config->packages[need.package].pools) {
      const std::uint32_t lane = LaneOf(pool, need, now);
      if (plan.pool == kNoIndex) plan.pool = config_pools[pool];
      for (const auto& tier : lanes[lane].tiers) plan.members += tier.slots.size();
      plan.lanes.push_back(lane);
    }
    plans.push_back(std::move(plan));
    return found->second;
  }

  std::uint32_t LaneOf(std::uint32_t config_pool, const Need& need, Tick now) {
    const auto [found, added] = lane_of.try_emplace(
        Pack({config_pool, need.model, need.capability}), static_cast<std::uint32_t>(lanes.size()));
    if (!added) return found->second;
    const std::uint32_t lane_index = found->second;
    const config::Model& model = config->models[need.model];
    Lane lane;
    lane.pool = config_pools[config_pool];
    lane.model = need.model;
    lane.model_hash = HashText(model.id);
    for (std::uint32_t route = 0; route < model.routes.size(); ++route) {
      const std::uint32_t upstream = model.routes[route].upstream;
      if (!Serves(config->upstreams[upstream].kind, need.capability)) continue;
      std::vector<std::uint32_t> of_route;
      for (const std::uint32_t index : config->pools[config_pool].accounts) {
        const config::Account& spec = config->accounts[index];
        if (spec.upstream != upstream) continue;
        if ((spec.capabilities & need.capability) == 0) continue;
        if (!spec.models.empty() && std::ranges::find(spec.models, model.id) == spec.models.end()) {
          continue;
        }
        of_route.push_back(account_of.at(spec.id));
      }
      // By priority; among equals in the order of the file, so that every run is the same.
      std::ranges::sort(of_route, {}, [&](std::uint32_t slot) {
        return std::pair(accounts[slot].spec->priority, accounts[slot].config_index);
      });
      for (std::size_t at = 0; at < of_route.size();) {
        RankedTier tier;
        tier.route = route;
        tier.priority = accounts[of_route[at]].spec->priority;
        tier.upstream = accounts[of_route[at]].upstream;
        std::vector<Member> members;
        for (; at < of_route.size() && accounts[of_route[at]].spec->priority == tier.priority;
             ++at) {
          AccountSlot& slot = accounts[of_route[at]];
          // Of two routes over one upstream the first counts.
          if (lane.by_id.contains(slot.id_hash)) continue;
          lane.by_id[slot.id_hash] = {static_cast<std::uint32_t>(lane.tiers.size()),
                                      static_cast<std::uint32_t>(members.size())};
          slot.places.push_back({lane_index, static_cast<std::uint32_t>(lane.tiers.size()),
                                 static_cast<std::uint32_t>(members.size())});
          members.push_back(
              {of_route[at], static_cast<std::uint32_t>(slot.spec->weight), slot.id_hash});
          tier.slots.push_back(of_route[at]);
        }
        tier.tier = Tier(members);
        lane.tiers.push_back(std::move(tier));
      }
    }
    lanes.push_back(std::move(lane));
    for (const auto& tier : lanes[lane_index].tiers) {
      for (const std::uint32_t slot : tier.slots) Refresh(slot, now);
    }
    return lane_index;
  }

  // --- who is usable ---------------------------------------------------------------------------

  // Apart from rests of single models.
  bool Usable(const AccountSlot& slot, Tick now) const {
    const config::Account* const spec = slot.spec;
    if (spec == nullptr || !spec->enabled || spec->draining || slot.expires <= now) return false;
    if (spec->concurrency > 0 && slot.in_flight >= spec->concurrency) return false;
    if (slot.rate_until > now) return false;
    const Fitness fitness = slot.health.At(now);
    return fitness == Fitness::kOpen || (fitness == Fitness::kHalfOpen && !slot.probing);
  }

  // Usable only because nothing better is: what it suffers from is the vendor's.
  bool UsableInNeed(const AccountSlot& slot, Tick now) const {
    const config::Account* const spec = slot.spec;
    if (spec == nullptr || !spec->enabled || spec->draining || slot.expires <= now) return false;
    if (spec->concurrency > 0 && slot.in_flight >= spec->concurrency) return false;
    return slot.rate_until <= now && slot.health.At(now) == Fitness::kCoolingSoft;
  }

  static bool ModelRests(const AccountSlot& slot, std::uint64_t model, Tick now) {
    return std::ranges::any_of(slot.model_rests, [&](const ModelRest& rest) {
      return rest.model == model && rest.until > now;
    });
  }

  // Brings the account's places up to date.
  void Refresh(std::uint32_t index, Tick now) {
    const AccountSlot& slot = accounts[index];
    const bool usable = Usable(slot, now);
    for (const Place& place : slot.places) {
      Lane& lane = lanes[place.lane];
      lane.tiers[place.tier].tier.SetUsable(place.member,
                                            usable && !ModelRests(slot, lane.model_hash, now));
    }
  }

  bool HasRoom(const Lane& lane) const {
    if (config->concurrency > 0 && in_flight >= config->concurrency) return false;
    const PoolSlot& pool = pools[lane.pool];
    return pool.limit == 0 || pool.in_flight < pool.limit;
  }
  bool HasRoom(const RankedTier& tier) const {
    const UpstreamSlot& upstream = upstreams[tier.upstream];
    return upstream.limit == 0 || upstream.in_flight < upstream.limit;
  }

  bool IsSlow(const AccountSlot& slot, const Lane& lane) const {
    const Duration own = slot.health.latency();
    return own > kSlowMin && lane.latency.ns > 0 && own.ns / kSlowTimes > lane.latency.ns;
  }

  // --- choice ----------------------------------------------------------------------------------

  // One call's view of the accounts: how loaded they are, and which it passes over.
  struct View final : LoadOf {
    View(const State& state, const Lane& lane, std::span<const std::uint32_t> tried, Tick now)
        : state(state), lane(lane), tried(tried), now(now) {}
    std::int64_t InFlight(std::uint32_t account) const override {
      return state.accounts[account].in_flight;
    }
    bool Skip(std::uint32_t account) const override {
      if (std::ranges::find(tried, account) != tried.end()) return true;
      return picky && (state.accounts[account].health.Errs(now) ||
                       state.IsSlow(state.accounts[account], lane));
    }
    const State& state;
    const Lane& lane;
    std::span<const std::uint32_t> tried;
    Tick now;
    bool picky = false;  // sessions leave accounts that err or are slow
  };

  struct Choice {
    std::uint32_t account = kNoAccount;
    std::uint32_t lane = 0;
    std::uint32_t tier = 0;
    Stickiness stickiness = Stickiness::kNone;
  };

  struct Asked {
    SessionHash session = 0;
    std::uint32_t pinned = kNoAccount;  // slot
    bool only_pinned = false;
    std::span<const std::uint32_t> tried;
  };

  Choice Choose(const Plan& plan, const Asked& asked, Tick now) {
    if (asked.pinned != kNoAccount) {
      for (const std::uint32_t index : plan.lanes) {
        const Lane& lane = lanes[index];
        const auto found = lane.by_id.find(accounts[asked.pinned].id_hash);
        if (found == lane.by_id.end()) continue;
        const auto [tier_index, member] = found->second;
        const RankedTier& tier = lane.tiers[tier_index];
        const View view(*this, lane, asked.tried, now);
        const std::uint32_t account = tier.slots[member];
        if (tier.tier.IsUsable(member) && !view.Skip(account) && HasRoom(lane) && HasRoom(tier)) {
          return {account, index, tier_index, Stickiness::kKept};
        }
      }
      if (asked.only_pinned) return {};
    }
    std::uint32_t home = kNoAccount;
    for (const std::uint32_t index : plan.lanes) {
      const Lane& lane = lanes[index];
      if (!HasRoom(lane)) continue;
      for (std::uint32_t t = 0; t < lane.tiers.size(); ++t) {
        const RankedTier& tier = lane.tiers[t];
        if (tier.slots.empty() || !HasRoom(tier)) continue;
        View view(*this, lane, asked.tried, now);
        std::uint32_t account = kNoAccount;
        if (asked.session != 0) {
          std::uint32_t tier_home = kNoAccount;
          view.picky = true;
          account = tier.tier.PickForSession(asked.session, view, tier_home);
          if (account == kNoAccount && tier.tier.usable() > 0) {
            view.picky = false;  // all err or are slow: then its own does as well as another
            account = tier.tier.PickForSession(asked.session, view, tier_home);
          }
          if (home == kNoAccount) home = tier_home;
        } else {
          account = tier.tier.PickLeastLoaded(view, random);
        }
        if (account != kNoAccount) {
          return {account, index, t, StickinessOf(asked, account, home, now)};
        }
      }
    }
    return ChooseInNeed(plan, asked, home, now);
  }

  // Nothing is fit: of the accounts that only suffer from their vendor, the least loaded.
  Choice ChooseInNeed(const Plan& plan, const Asked& asked, std::uint32_t home, Tick now) const {
    Choice best;
    for (const std::uint32_t index : plan.lanes) {
      const Lane& lane = lanes[index];
      if (!HasRoom(lane)) continue;
      const View view(*this, lane, asked.tried, now);
      for (std::uint32_t t = 0; t < lane.tiers.size(); ++t) {
        const RankedTier& tier = lane.tiers[t];
        if (!HasRoom(tier)) continue;
        for (const std::uint32_t slot : tier.slots) {
          if (!UsableInNeed(accounts[slot], now) || view.Skip(slot)) continue;
          if (ModelRests(accounts[slot], lane.model_hash, now)) continue;
          if (best.account != kNoAccount &&
              accounts[slot].in_flight >= accounts[best.account].in_flight) {
            continue;
          }
          best = {slot, index, t, StickinessOf(asked, slot, home, now)};
        }
      }
    }
    return best;
  }

  Stickiness StickinessOf(const Asked& asked, std::uint32_t account, std::uint32_t home,
                          Tick now) const {
    if (asked.session == 0) {
      return asked.pinned == kNoAccount ? Stickiness::kNone : Stickiness::kAway;
    }
    if (account == home) return Stickiness::kKept;
    const AccountSlot& slot = accounts[home];
    const bool tried = std::ranges::find(asked.tried, home) != asked.tried.end();
    const bool off = slot.spec == nullptr || !slot.spec->enabled || slot.spec->draining ||
                     slot.expires <= now || slot.health.At(now) != Fitness::kOpen;
    return tried || off ? Stickiness::kAway : Stickiness::kEscaped;
  }

  AcquireReply Take(const Choice& choice, std::int64_t tokens, Tick now) {
    Lane& lane = lanes[choice.lane];
    const RankedTier& tier = lane.tiers[choice.tier];
    AccountSlot& slot = accounts[choice.account];
    AcquireReply reply;
    reply.kind = AcquireReply::Kind::kGranted;
    reply.stickiness = choice.stickiness;
    reply.lease = {.config = config,
                   .account = slot.config_index,
                   .model = lane.model,
                   .route = tier.route,
                   .slot = choice.account,
                   .pool = lane.pool,
                   .upstream = slot.upstream,
                   .model_hash = lane.model_hash,
                   .tokens = 0,
                   .since = now,
                   .probe = false};
    ++slot.in_flight;
    ++in_flight;
    ++pools[lane.pool].in_flight;
    ++upstreams[slot.upstream].in_flight;
    if (slot.health.At(now) == Fitness::kHalfOpen) reply.lease.probe = slot.probing = true;
    if (slot.requests.limit > 0 || slot.tokens.limit > 0) {
      slot.requests = policy::Correct(slot.requests, 1, now);
      slot.tokens = policy::Correct(slot.tokens, tokens, now);
      reply.lease.tokens = tokens;
      NoteRate(choice.account, now);
    }
    if (slot.probing || slot.rate_until > now ||
        (slot.spec->concurrency > 0 && slot.in_flight >= slot.spec->concurrency)) {
      Refresh(choice.account, now);
    }
    switch (choice.stickiness) {
      case Stickiness::kNone:
        break;
      case Stickiness::kKept:
        ++sticky.kept;
        break;
      case Stickiness::kAway:
        ++sticky.away;
        break;
      case Stickiness::kEscaped:
        ++sticky.escaped;
        break;
    }
    return reply;
  }

  // When the account's own rate lets the next call pass.
  void NoteRate(std::uint32_t index, Tick now) {
    AccountSlot& slot = accounts[index];
    Duration wait;
    for (const auto* rate : {&slot.requests, &slot.tokens}) {
      if (rate->limit == 0) continue;
      const auto next = policy::Take(*rate, 1, now);
      if (!next.allowed) wait = std::max(wait, next.retry_after);
    }
    slot.rate_until = wait.ns > 0 ? now + wait : Tick{};
    if (wait.ns > 0) dues.push({slot.rate_until, index});
  }

  // --- waiting ---------------------------------------------------------------------------------

  // When the first account of the plan is back that is away for a reason with an end; `now` when
  // one is merely busy, whose end nobody knows. kNoDeadline: none is coming.
  struct Return {
    Tick at = kNoDeadline;
    bool busy = false;
    bool only_windows = true;  // nothing but usage windows is waited for
  };
  Return FirstReturn(const Plan& plan, std::span<const std::uint32_t> tried, std::uint32_t pinned,
                     Tick now) const {
    Return result;
    bool any = false;
    for (const std::uint32_t index : plan.lanes) {
      const Lane& lane = lanes[index];
      for (const auto& tier : lane.tiers) {
        for (const std::uint32_t account : tier.slots) {
          const AccountSlot& slot = accounts[account];
          if (pinned != kNoAccount && account != pinned) continue;
          const config::Account* const spec = slot.spec;
          if (spec == nullptr || !spec->enabled || spec->draining || slot.expires <= now) continue;
          if (std::ranges::find(tried, account) != tried.end()) {
            // It failed this call. It may be asked again once its rest is over, not before.
            if (slot.health.At(now) == Fitness::kOpen) continue;
          }
          any = true;
          Tick at = now;
          const Fitness fitness = slot.health.At(now);
          const bool resting = fitness == Fitness::kCooling || fitness == Fitness::kCoolingSoft;
          if (resting) at = slot.health.until();
          at = std::max(at, slot.rate_until);
          for (const ModelRest& rest : slot.model_rests) {
            if (rest.model == lane.model_hash) at = std::max(at, rest.until);
          }
          if (at <= now) result.busy = true;
          if (!resting || slot.health.why() != Outcome::kWindowExhausted) {
            result.only_windows = false;
          }
          result.at = std::min(result.at, at);
        }
      }
    }
    result.only_windows = result.only_windows && any;
    return result;
  }

  // An honest guess at when `ahead` calls have gone through the pool.
  Duration QueueEta(const PoolSlot& pool, std::int64_t ahead) const {
    const std::int64_t parallel = std::max<std::int64_t>(pool.in_flight, 1);
    const std::int64_t service = std::clamp(pool.service.ns, Milliseconds(1).ns, Minutes(10).ns);
    const Duration all{service * std::max<std::int64_t>(ahead, 1) / parallel};
    return std::clamp(all, kRetryMin, kRetryMax);
  }

  AcquireReply Refused(Refusal refusal, Duration retry_after) const {
    AcquireReply reply;
    reply.kind = AcquireReply::Kind::kRefused;
    reply.refusal = refusal;
    reply.retry_after = std::max(retry_after, kRetryMin);
    return reply;
  }

  AcquireReply RefuseFor(const Return& back, const PoolSlot& pool, Tick now) const {
    if (back.only_windows) return Refused(Refusal::kUsageLimitReached, back.at - now);
    if (back.busy) return Refused(Refusal::kNoCapacity, QueueEta(pool, 1));
    if (back.at == kNoDeadline) return Refused(Refusal::kNoCapacity, kRetryMax);
    return Refused(Refusal::kNoCapacity, back.at - now);
  }

  // A place in the queue, or the refusal that stands for it.
  AcquireReply Wait(const AcquireCommand& command, const Need& need, std::uint32_t plan_index,
                    std::uint32_t pinned, Tick now) {
    const Plan& plan = plans[plan_index];
    PoolSlot& pool = pools[plan.pool];
    const config::QueueLimits& limits = pool.queue_limits;
    const Tick deadline = now + limits.wait;
    const Return back = FirstReturn(plan, command.tried, kNoAccount, now);
    if (!command.may_wait || limits.size == 0 || back.at > deadline) {
      return RefuseFor(back, pool, now);
    }
    const auto waiting = static_cast<std::int64_t>(pool.queue.size());
    const auto of_key = static_cast<std::int64_t>(pool.queue.SizeOf(command.key));
    if (waiting >= limits.size || of_key >= limits.per_key) {
      return Refused(Refusal::kCapacityQueueFull, QueueEta(pool, waiting));
    }
    Waiter waiter;
    waiter.ticket = ++last_ticket;
    waiter.plan = plan_index;
    waiter.need = need;
    waiter.key = command.key;
    waiter.session = command.session;
    waiter.pinned = pinned;
    waiter.only_pinned = pinned != kNoAccount && command.must_meet &&
                         FirstReturn(plan, command.tried, pinned, now).at <= deadline;
    // What failed this call and rests for it may be asked again after the rest.
    for (const std::uint32_t slot : command.tried) {
      if (accounts[slot].health.At(now) == Fitness::kOpen) waiter.tried.push_back(slot);
    }
    waiter.tokens = command.tokens;
    waiter.cost = std::clamp(command.cost, std::int64_t{1}, WaitQueue::kCostMax);
    AcquireReply reply;
    reply.kind = AcquireReply::Kind::kQueued;
    reply.ticket = waiter.ticket;
    reply.position = static_cast<std::int64_t>(pool.queue.PositionOf(command.key));
    reply.deadline = deadline;
    pool.queue.Add(command.key, {waiter.ticket, waiter.cost});
    CountWaiter(pool, waiter, 1);
    wait_ends.push({deadline, waiter.ticket});
    waiters.emplace(waiter.ticket, std::move(waiter));
    return reply;
  }

  static void CountWaiter(PoolSlot& pool, const Waiter& waiter, std::int64_t by) {
    if (waiter.only_pinned) {
      pool.waiting_pinned += by;
      return;
    }
    std::int64_t& count = pool.waiting_for[waiter.plan];
    count += by;
    if (count == 0) pool.waiting_for.erase(waiter.plan);
  }

  void ServeQueue(PoolSlot& pool, Tick now, std::vector<Grant>& grants) {
    if (pool.queue.size() == 0) return;
    std::vector<std::uint32_t> exhausted;  // plans without an account left
    pool.queue.Serve([&](TicketId ticket) {
      const auto found = waiters.find(ticket);
      CHECK(found != waiters.end(), "a queued ticket has its waiter");
      const Waiter& waiter = found->second;
      if (!waiter.only_pinned && std::ranges::find(exhausted, waiter.plan) != exhausted.end()) {
        return WaitQueue::Offer::kNotNow;
      }
      const Choice choice = Choose(plans[waiter.plan],
                                   {.session = waiter.session,
                                    .pinned = waiter.pinned,
                                    .only_pinned = waiter.only_pinned,
                                    .tried = waiter.tried},
                                   now);
      if (choice.account == kNoAccount) {
        // With accounts passed over, another of the same plan may still be lucky.
        if (!waiter.only_pinned && waiter.tried.empty()) exhausted.push_back(waiter.plan);
        const bool all = exhausted.size() == pool.waiting_for.size() && pool.waiting_pinned == 0;
        return all ? WaitQueue::Offer::kNoMore : WaitQueue::Offer::kNotNow;
      }
      grants.push_back({ticket, Take(choice, waiter.tokens, now)});
      CountWaiter(pool, waiter, -1);
      waiters.erase(found);
      return WaitQueue::Offer::kTaken;
    });
  }

  void ServeQueues(Tick now, std::vector<Grant>& grants) {
    if (waiters.empty()) return;
    for (PoolSlot& pool : pools) ServeQueue(pool, now, grants);
  }

  void Advance(Tick now, std::vector<Grant>& grants) {
    bool freed = false;
    while (!dues.empty() && dues.top().at <= now) {
      const std::uint32_t slot = dues.top().slot;
      dues.pop();
      Refresh(slot, now);
      freed = true;
    }
    if (freed) ServeQueues(now, grants);
    while (!wait_ends.empty() && wait_ends.top().at <= now) {
      const TicketId ticket = wait_ends.top().ticket;
      wait_ends.pop();
      const auto found = waiters.find(ticket);
      if (found == waiters.end()) continue;
      PoolSlot& pool = pools[plans[found->second.plan].pool];
      const auto waiting = static_cast<std::int64_t>(pool.queue.size());
      grants.push_back({ticket, Refused(Refusal::kCapacityQueueTimeout, QueueEta(pool, waiting))});
      Forget(found, pool);
    }
  }

  void Forget(std::map<TicketId, Waiter>::iterator waiter, PoolSlot& pool) {
    CHECK(pool.queue.Remove(waiter->second.key, waiter->first), "a waiter stands in its queue");
    CountWaiter(pool, waiter->second, -1);
    waiters.erase(waiter);
  }

  // An account's health changed: its places, and the time it is to be looked at again.
  void HealthChanged(std::uint32_t slot, Tick now) {
    Refresh(slot, now);
    const AccountHealth& health = accounts[slot].health;
    const Fitness fitness = health.At(now);
    if (fitness == Fitness::kCooling || fitness == Fitness::kCoolingSoft) {
      dues.push({health.until(), slot});
    }
  }

  AccountSlot* Find(std::string_view id) {
    const auto found = account_of.find(std::string(id));
    if (found == account_of.end() || accounts[found->second].spec == nullptr) return nullptr;
    return &accounts[found->second];
  }
  const AccountSlot* Find(std::string_view id) const { return const_cast<State*>(this)->Find(id); }

  PoolView ViewPool(std::uint32_t config_pool, Tick now) const {
    const PoolSlot& slot = pools[config_pools[config_pool]];
    PoolView view;
    view.in_flight = slot.in_flight;
    view.waiting = static_cast<std::int64_t>(slot.queue.size());
    bool unlimited = false;
    for (const std::uint32_t index : config->pools[config_pool].accounts) {
      const AccountSlot& account = accounts[account_of.at(config->accounts[index].id)];
      ++view.accounts;
      const Fitness fitness = account.health.At(now);
      const bool off = !account.spec->enabled || account.spec->draining || account.expires <= now;
      const bool rests = fitness == Fitness::kCooling || fitness == Fitness::kCoolingSoft;
      if (!off && rests) ++view.resting;
      if (off || rests) continue;
      ++view.usable;
      // Half open it takes one call at a time.
      const std::int64_t takes = fitness == Fitness::kHalfOpen ? 1 : account.spec->concurrency;
      unlimited = unlimited || takes == 0;
      view.capacity += takes;
    }
    if (unlimited) view.capacity = 0;
    if (slot.limit > 0 && view.usable > 0) {
      view.capacity = unlimited ? slot.limit : std::min(view.capacity, slot.limit);
    }
    return view;
  }
};

AccountPool::AccountPool(std::shared_ptr<const config::Config> config, std::uint64_t seed)
    : state_(std::make_unique<State>(seed)) {
  state_->Configure(std::move(config), {}, {});
}

AccountPool::~AccountPool() = default;

void AccountPool::Configure(std::shared_ptr<const config::Config> config, Tick now, Instant wall,
                            std::vector<Grant>& grants) {
  State& s = *state_;
  const std::shared_ptr<const config::Config> old = s.config;
  s.Configure(std::move(config), now, wall);
  // Who waits gets in line again, oldest first, where what it waits for still exists. Its pool may
  // be another one now.
  for (PoolSlot& pool : s.pools) {
    pool.queue = WaitQueue();
    pool.waiting_for.clear();
    pool.waiting_pinned = 0;
  }
  for (auto at = s.waiters.begin(); at != s.waiters.end();) {
    Waiter& waiter = at->second;
    const auto need = s.Translate(*old, waiter.need);
    const std::uint32_t plan = need ? s.PlanOf(*need, now) : kNoIndex;
    if (!need || s.plans[plan].members == 0) {
      grants.push_back({at->first, s.Refused(Refusal::kNoCapacity, kRetryMin)});
      at = s.waiters.erase(at);
      continue;
    }
    waiter.need = *need;
    waiter.plan = plan;
    PoolSlot& pool = s.pools[s.plans[plan].pool];
    pool.queue.Add(waiter.key, {at->first, waiter.cost});
    State::CountWaiter(pool, waiter, 1);
    ++at;
  }
  s.ServeQueues(now, grants);
}

AcquireReply AccountPool::Acquire(const AcquireCommand& command, Tick now,
                                  std::vector<Grant>& grants) {
  State& s = *state_;
  s.Advance(now, grants);
  const auto need = s.Translate(*command.config, command.need);
  if (!need) return s.Refused(Refusal::kNoCapacity, kRetryMin);
  const std::uint32_t plan_index = s.PlanOf(*need, now);
  const Plan& plan = s.plans[plan_index];
  if (plan.members == 0) return s.Refused(Refusal::kCapabilityUnavailable, kRetryMax);
  PoolSlot& pool = s.pools[plan.pool];
  const std::uint32_t pinned =
      command.refers_to == 0 ? kNoAccount : s.affinity.Find(command.refers_to);
  // Who comes while others wait gets in line: the next free account is theirs.
  const bool others_first = command.may_wait && pool.queue.size() > 0;
  if (!others_first) {
    const auto choice =
        s.Choose(plan, {.session = command.session, .pinned = pinned, .tried = command.tried}, now);
    // Who must meet its account waits for it rather than go elsewhere, if it will be free in time.
    const bool strays =
        pinned != kNoAccount && command.must_meet && choice.account != pinned && command.may_wait &&
        pool.queue_limits.size > 0 &&
        s.FirstReturn(plan, command.tried, pinned, now).at <= now + pool.queue_limits.wait;
    if (choice.account != kNoAccount && !strays) return s.Take(choice, command.tokens, now);
  }
  AcquireReply reply = s.Wait(command, *need, plan_index, pinned, now);
  if (reply.kind != AcquireReply::Kind::kQueued || !others_first) return reply;
  // The line may move at once: those ahead may wait for other accounts than this call.
  const std::size_t before = grants.size();
  s.ServeQueue(pool, now, grants);
  for (std::size_t i = before; i < grants.size(); ++i) {
    if (grants[i].ticket != reply.ticket) continue;
    reply = std::move(grants[i].reply);
    grants.erase(grants.begin() + static_cast<std::ptrdiff_t>(i));
    break;
  }
  return reply;
}

void AccountPool::NoteAlive(const Lease& lease, Duration latency, Tick now,
                            std::vector<Grant>& grants) {
  State& s = *state_;
  AccountSlot& slot = s.accounts[lease.slot];
  slot.health.NoteLatency(latency);
  for (const Place& place : slot.places) {
    Lane& lane = s.lanes[place.lane];
    if (lane.model_hash == lease.model_hash) lane.latency = Smooth(lane.latency, latency);
  }
  if (!slot.probing && slot.health.At(now) == Fitness::kOpen) return;
  if (!slot.health.Note(Outcome::kServed, {}, now)) return;
  slot.probing = false;
  s.HealthChanged(lease.slot, now);
  s.ServeQueues(now, grants);
}

std::optional<RestBegan> AccountPool::Release(const Lease& lease, const Report& report, Tick now,
                                              std::vector<Grant>& grants) {
  State& s = *state_;
  AccountSlot& slot = s.accounts[lease.slot];
  PoolSlot& pool = s.pools[lease.pool];
  CHECK(slot.in_flight > 0 && s.in_flight > 0 && pool.in_flight > 0, "a lease is released once");
  const bool was_full = slot.spec != nullptr && slot.spec->concurrency > 0 &&
                        slot.in_flight >= slot.spec->concurrency;
  --slot.in_flight;
  --s.in_flight;
  --pool.in_flight;
  --s.upstreams[lease.upstream].in_flight;
  pool.service = Smooth(pool.service, now - lease.since);
  slot.proven = slot.proven || report.outcome != Outcome::kNothing;
  if (report.outcome == Outcome::kServed) {
    ++slot.served;
  } else if (report.outcome != Outcome::kNothing) {
    ++slot.failed;
  }
  for (const std::uint64_t made : report.made) {
    if (made != 0) s.affinity.Remember(made, lease.slot);
  }
  if (lease.probe) slot.probing = false;
  if (slot.tokens.limit > 0 && report.tokens != lease.tokens) {
    slot.tokens = policy::Correct(slot.tokens, report.tokens - lease.tokens, now);
    s.NoteRate(lease.slot, now);
  }
  std::optional<RestBegan> began;
  const bool rested = slot.health.until() > now;
  const Tick rested_until = slot.health.until();
  bool changed = slot.health.Note(report.outcome, report.rest, now);
  // Calls that were under way together tell of the same limit, each a little later.
  const bool again = rested && slot.health.until() - rested_until <= kSameRest;
  if (changed && !again && slot.health.At(now) != Fitness::kOpen) {
    began = RestBegan{slot.id, report.outcome, slot.health.until() - now, {}};
  }
  if (report.outcome == Outcome::kModelGone) {
    const auto found = std::ranges::find(slot.model_rests, lease.model_hash, &ModelRest::model);
    ModelRest& rest = found != slot.model_rests.end() ? *found : slot.model_rests.emplace_back();
    rest.model = lease.model_hash;
    rest.until = now + RestOf(kModelGoneRule, ++rest.failures, report.rest);
    s.dues.push({rest.until, lease.slot});
    began =
        RestBegan{slot.id, report.outcome, rest.until - now, lease.config->models[lease.model].id};
    changed = true;
  } else if (report.outcome == Outcome::kServed && !slot.model_rests.empty()) {
    std::erase_if(slot.model_rests,
                  [&](const ModelRest& rest) { return rest.model == lease.model_hash; });
    changed = true;
  }
  if (changed) {
    s.HealthChanged(lease.slot, now);
  } else if (was_full || lease.probe || slot.rate_until.ns != 0) {
    s.Refresh(lease.slot, now);
  }
  s.Advance(now, grants);
  s.ServeQueues(now, grants);
  return began;
}

bool AccountPool::Leave(TicketId ticket, Tick now, std::vector<Grant>& grants) {
  State& s = *state_;
  s.Advance(now, grants);
  const auto found = s.waiters.find(ticket);
  if (found == s.waiters.end()) return false;
  s.Forget(found, s.pools[s.plans[found->second.plan].pool]);
  return true;
}

void AccountPool::Advance(Tick now, std::vector<Grant>& grants) { state_->Advance(now, grants); }

Tick AccountPool::NextDue() const {
  const State& s = *state_;
  if (s.waiters.empty()) return kNoDeadline;  // what recovers meanwhile is seen by the next command
  Tick next = kNoDeadline;
  if (!s.dues.empty()) next = s.dues.top().at;
  if (!s.wait_ends.empty()) next = std::min(next, s.wait_ends.top().at);
  return next;
}

bool AccountPool::Cool(std::string_view id, Duration rest, Tick now, std::vector<Grant>& grants) {
  State& s = *state_;
  s.Advance(now, grants);
  AccountSlot* const slot = s.Find(id);
  if (slot == nullptr) return false;
  slot->health.Cool(rest, now);
  s.HealthChanged(static_cast<std::uint32_t>(slot - s.accounts.data()), now);
  return true;
}

bool AccountPool::Clear(std::string_view id, Tick now, std::vector<Grant>& grants) {
  State& s = *state_;
  s.Advance(now, grants);
  AccountSlot* const slot = s.Find(id);
  if (slot == nullptr) return false;
  slot->health.Clear();
  slot->model_rests.clear();
  slot->probing = false;
  s.Refresh(static_cast<std::uint32_t>(slot - s.accounts.data()), now);
  s.ServeQueues(now, grants);
  return true;
}

std::vector<ProbeDue> AccountPool::TakeProbes(Tick now, std::size_t max) {
  State& s = *state_;
  std::vector<ProbeDue> due;
  for (AccountSlot& slot : s.accounts) {
    if (due.size() >= max) break;
    const config::Account* const spec = slot.spec;
    if (spec == nullptr || slot.next_probe > now) continue;
    const config::Upstream& upstream = s.config->upstreams[spec->upstream];
    if (upstream.health_probe.ns <= 0 || upstream.kind == config::UpstreamKind::kSandbox) continue;
    if (!spec->enabled || spec->draining || slot.expires <= now) continue;
    if (slot.proven && !slot.health.WantsProbe(now)) continue;
    slot.next_probe = now + upstream.health_probe;
    due.push_back({s.config, slot.config_index});
  }
  return due;
}

std::optional<RestBegan> AccountPool::NoteProbe(std::string_view id, Outcome outcome, Tick now,
                                                std::vector<Grant>& grants) {
  State& s = *state_;
  s.Advance(now, grants);
  AccountSlot* const slot = s.Find(id);
  if (slot == nullptr) return std::nullopt;  // gone meanwhile
  slot->proven = true;
  const bool rested = slot->health.until() > now;
  if (!slot->health.NoteProbe(outcome, now)) return std::nullopt;
  s.HealthChanged(static_cast<std::uint32_t>(slot - s.accounts.data()), now);
  s.ServeQueues(now, grants);
  if (rested || slot->health.At(now) == Fitness::kHalfOpen) return std::nullopt;
  return RestBegan{slot->id, outcome, slot->health.until() - now, {}};
}

std::optional<AccountView> AccountPool::ViewAccount(std::string_view id, Tick now) const {
  const State& s = *state_;
  const AccountSlot* const slot = s.Find(id);
  if (slot == nullptr) return std::nullopt;
  AccountView view;
  view.fitness = slot->health.At(now);
  view.why = slot->health.why();
  if (view.fitness == Fitness::kCooling || view.fitness == Fitness::kCoolingSoft) {
    view.rests_for = slot->health.until() - now;
  }
  view.usable = s.Usable(*slot, now);
  view.errs = slot->health.Errs(now);
  for (const Place& place : slot->places) {
    view.slow = view.slow || s.IsSlow(*slot, s.lanes[place.lane]);
  }
  view.in_flight = slot->in_flight;
  view.served = slot->served;
  view.failed = slot->failed;
  view.latency = slot->health.latency();
  return view;
}

PoolView AccountPool::ViewPool(std::uint32_t pool, Tick now) const {
  // Whoever asks may hold a configuration that had more pools.
  if (pool >= state_->config->pools.size()) return {};
  return state_->ViewPool(pool, now);
}

std::int64_t AccountPool::Pressure(std::uint32_t package, Tick now) {
  State& s = *state_;
  if (package >= s.config->packages.size() || s.config->packages[package].pools.empty()) return 0;
  const std::uint32_t index = s.config->packages[package].pools.front();
  PoolSlot& pool = s.pools[s.config_pools[index]];
  if (now - pool.counted_at > kPressureLifetime) {
    const PoolView view = s.ViewPool(index, now);
    pool.capacity = view.capacity;
    pool.any_usable = view.usable > 0;
    pool.counted_at = now;
  }
  if (pool.capacity == 0) return pool.any_usable ? 0 : 1000;
  const std::int64_t wanted = pool.in_flight + static_cast<std::int64_t>(pool.queue.size());
  return wanted * 1000 / pool.capacity;
}

const StickyCounts& AccountPool::sticky() const { return state_->sticky; }

}  // namespace weir::routing
