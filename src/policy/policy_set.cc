#include "policy/policy_set.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <tuple>

namespace weir::policy {
namespace {

using config::Condition;
using config::Dimension;
using config::Policy;

// The dimension that tells most: an index is built over the first of these that a policy names.
constexpr std::array kMostTelling = {
    Dimension::kUser,         Dimension::kKey,         Dimension::kCustomer,
    Dimension::kCampaign,     Dimension::kWorkflow,    Dimension::kFeature,
    Dimension::kTeam,         Dimension::kWorkspace,   Dimension::kModel,
    Dimension::kCustomerTier, Dimension::kModelFamily, Dimension::kModelClass,
    Dimension::kImageClass,   Dimension::kEndpoint,    Dimension::kModality,
    Dimension::kEnvironment};

// FNV-1a in 128 bits. Frozen: counters are on disk under it. A caller who may name values can make
// two of them meet in one counter, and then shares its limit: nobody gains by that.
class CounterHash {
 public:
  CounterHash() = default;
  CounterHash(std::uint64_t high, std::uint64_t low)
      : state_((static_cast<unsigned __int128>(high) << 64) | low) {}
  void Byte(unsigned char byte) { state_ = (state_ ^ byte) * kPrime; }
  void Number(std::uint64_t n) {
    for (int shift = 0; shift < 64; shift += 8) Byte(static_cast<unsigned char>(n >> shift));
  }
  void Text(std::string_view text) {
    for (const char c : text) Byte(static_cast<unsigned char>(c));
    Byte(0);  // no value has a zero byte: "ab","c" is not "a","bc"
  }
  std::uint64_t high() const { return static_cast<std::uint64_t>(state_ >> 64); }
  std::uint64_t low() const { return static_cast<std::uint64_t>(state_); }

 private:
  static constexpr unsigned __int128 kPrime =
      (static_cast<unsigned __int128>(1) << 88) + (1 << 8) + 0x3B;
  unsigned __int128 state_ =
      (static_cast<unsigned __int128>(0x6C62272E07BB0142) << 64) | 0x62B821756295C58D;
};

std::uint64_t PlaceHash(Dimension dimension, std::string_view value) {
  std::uint64_t hash = 0xCBF29CE484222325ULL + static_cast<std::uint64_t>(dimension);
  for (const char c : value) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  hash ^= hash >> 32;
  return hash == 0 ? 1 : hash;
}

bool Holds(const Condition& condition, std::string_view value) {
  if (value.empty()) return false;
  return condition.values.size() == 1
             ? condition.values.front() == value
             : std::ranges::binary_search(condition.values, value, std::less<>());
}

// Conditions on anything but the provider.
bool HoldsAll(const Policy& policy, const Facts& facts) {
  for (const Condition& condition : policy.match) {
    if (condition.dimension != Dimension::kProvider &&
        !Holds(condition, facts[condition.dimension]))
      return false;
  }
  for (const Condition& condition : policy.except) {
    if (condition.dimension != Dimension::kProvider && Holds(condition, facts[condition.dimension]))
      return false;
  }
  return true;
}

bool HoldsFor(const Policy& policy, std::string_view provider) {
  const auto on_provider = [](const Condition& c) { return c.dimension == Dimension::kProvider; };
  for (const Condition& condition : policy.match) {
    if (on_provider(condition) && !Holds(condition, provider)) return false;
  }
  for (const Condition& condition : policy.except) {
    if (on_provider(condition) && Holds(condition, provider)) return false;
  }
  return true;
}

bool Names(const Policy& policy, Dimension dimension) {
  const auto is = [dimension](const Condition& c) { return c.dimension == dimension; };
  return std::ranges::any_of(policy.match, is) || std::ranges::any_of(policy.except, is) ||
         std::ranges::find(policy.per, dimension) != policy.per.end();
}

// What a policy counts for one request or action alone has no counter that lives on.
bool CountsAlone(const Policy& policy, const Facts& facts) {
  return policy.window.kind == config::WindowKind::kRequest ||
         (policy.window.kind == config::WindowKind::kAction && facts.action.empty());
}

void AppendEscaped(std::string& out, std::string_view value) {
  static constexpr std::string_view kHex = "0123456789ABCDEF";
  for (const char c : value) {
    if (c == '%' || c == ',' || c == '=') {
      const auto byte = static_cast<unsigned char>(c);
      out += '%';
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
}

// A budget of recovery as a policy of its own.
Policy Derived(const Policy& policy, std::string_view suffix, config::QuotaUnit unit,
               std::int64_t limit) {
  Policy derived = policy;
  derived.id += suffix;
  derived.unit = unit;
  derived.limit = limit;
  derived.cap = config::CapKind::kHard;
  derived.window = {.kind = config::WindowKind::kAction, .zone = nullptr};
  derived.action = config::PolicyAction::kBlock;
  derived.degrade_to.clear();
  derived.alert_percent.clear();
  derived.forecast = false;
  derived.over_limit_status = 0;
  derived.retry = {};
  return derived;
}

}  // namespace

PolicySet::PolicySet(std::span<const Policy> policies, std::span<const config::Raise> raises) {
  for (const Policy& policy : policies) {
    Add(policy, raises);
    const config::RetryRule& retry = policy.retry;
    if (retry.attempts) {
      Add(Derived(policy, "/attempts", config::QuotaUnit::kAttempts, *retry.attempts), raises);
    }
    if (retry.fallback_attempts) {
      Add(Derived(policy, "/fallback_attempts", config::QuotaUnit::kFallbackAttempts,
                  *retry.fallback_attempts),
          raises);
    }
    if (retry.fallback_spend) {
      Add(Derived(policy, "/fallback_spend", config::QuotaUnit::kFallbackSpend,
                  retry.fallback_spend->n),
          raises);
    }
  }
  std::ranges::sort(changes_);
  BuildIndex();
}

Instant PolicySet::ChangesAfter(Instant now) const {
  const auto next = std::ranges::upper_bound(changes_, now);
  return next == changes_.end() ? Instant{INT64_MAX} : *next;
}

void PolicySet::Add(const Policy& policy, std::span<const config::Raise> raises) {
  Entry& entry = policies_.emplace_back();
  entry.policy = policy;
  entry.on_provider = Names(policy, Dimension::kProvider);
  // A counter of another unit or another window is another counter: what it has counted means
  // nothing there. Limits and conditions may change under it.
  CounterHash hash;
  hash.Text(policy.id);
  hash.Byte(static_cast<unsigned char>(policy.unit));
  hash.Byte(static_cast<unsigned char>(policy.window.kind));
  hash.Byte(policy.window.sliding ? 1 : 0);
  hash.Number(static_cast<std::uint64_t>(policy.window.every));
  for (const Dimension dimension : policy.per) hash.Byte(static_cast<unsigned char>(dimension));
  entry.identity_high = hash.high();
  entry.identity_low = hash.low();
  for (const config::Raise& raise : raises) {
    if (raise.policy != policy.id) continue;
    entry.raises.push_back(raise);
    changes_.insert(changes_.end(), {raise.from, raise.to});
  }
  if (policy.window.kind == config::WindowKind::kCampaign) {
    for (const auto& at : {policy.window.starts_at, policy.window.ends_at}) {
      if (at) changes_.push_back(*at);
    }
  }
  actions_ = actions_ || policy.window.kind == config::WindowKind::kAction;
  order_.push_back(&entry.policy);
}

void PolicySet::BuildIndex() {
  struct Pointer {
    Dimension dimension;
    std::string_view value;
    std::uint32_t policy;
  };
  std::vector<Pointer> pointers;
  for (std::uint32_t i = 0; i < policies_.size(); ++i) {
    const Policy& policy = policies_[i].policy;
    const Condition* chosen = nullptr;
    for (const Dimension dimension : kMostTelling) {
      const auto found = std::ranges::find(policy.match, dimension, &Condition::dimension);
      if (found == policy.match.end()) continue;
      chosen = &*found;
      break;
    }
    if (chosen == nullptr) {
      always_.push_back(i);
      continue;
    }
    for (const std::string& value : chosen->values) {
      pointers.push_back({chosen->dimension, value, i});
    }
  }
  std::ranges::sort(pointers, {},
                    [](const Pointer& p) { return std::tuple(p.dimension, p.value, p.policy); });
  std::size_t distinct = 0;
  for (std::size_t i = 0; i < pointers.size(); ++i) {
    distinct += i == 0 || pointers[i].dimension != pointers[i - 1].dimension ||
                pointers[i].value != pointers[i - 1].value;
  }
  if (distinct == 0) return;
  places_.resize(std::bit_ceil(distinct * 2));
  for (std::size_t i = 0; i < pointers.size();) {
    const Pointer& pointer = pointers[i];
    Place place{.hash = PlaceHash(pointer.dimension, pointer.value),
                .dimension = pointer.dimension,
                .value = pointer.value,
                .first = static_cast<std::uint32_t>(listed_.size())};
    for (; i < pointers.size() && pointers[i].dimension == place.dimension &&
           pointers[i].value == place.value;
         ++i) {
      listed_.push_back(pointers[i].policy);
      ++place.count;
    }
    std::size_t at = place.hash & (places_.size() - 1);
    while (places_[at].hash != 0) at = (at + 1) & (places_.size() - 1);
    places_[at] = place;
    dimensions_ |= config::BitOf(place.dimension);
  }
}

bool PolicySet::Match(const Facts& facts, Instant now, std::vector<QuotaUse>& out) const {
  out.clear();
  if (policies_.empty()) return true;
  // Found by one dimension after the other, then put into the order of the file. Nearly always
  // few: an insertion into a small array beats a sort of pointers.
  std::array<std::uint32_t, kUsesMax> found;
  std::size_t count = 0;
  bool all = true;
  const auto candidate = [&](std::uint32_t i) {
    if (!HoldsAll(policies_[i].policy, facts)) return;
    if (count < found.size()) {
      found[count++] = i;
    } else {
      all = false;
    }
  };
  for (const std::uint32_t i : always_) candidate(i);
  for (std::uint32_t bits = dimensions_; bits != 0; bits &= bits - 1) {
    const auto dimension = static_cast<Dimension>(std::countr_zero(bits));
    const std::string_view value = facts[dimension];
    if (value.empty()) continue;
    const std::uint64_t hash = PlaceHash(dimension, value);
    for (std::size_t at = hash & (places_.size() - 1); places_[at].hash != 0;
         at = (at + 1) & (places_.size() - 1)) {
      const Place& place = places_[at];
      if (place.hash != hash || place.dimension != dimension || place.value != value) continue;
      for (std::uint32_t i = 0; i < place.count; ++i) candidate(listed_[place.first + i]);
      break;
    }
  }
  std::sort(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(count));
  for (std::size_t i = 0; i < count; ++i) Consider(policies_[found[i]], facts, now, out);
  return all && out.size() <= kUsesMax;
}

void PolicySet::Consider(const Entry& entry, const Facts& facts, Instant now,
                         std::vector<QuotaUse>& out) const {
  const Policy& policy = entry.policy;
  if (policy.window.kind == config::WindowKind::kCampaign &&
      ((policy.window.starts_at && now < *policy.window.starts_at) ||
       (policy.window.ends_at && now >= *policy.window.ends_at))) {
    return;
  }
  if (!entry.on_provider) return Use(entry, facts, {}, 0, now, out);
  const bool each = std::ranges::find(policy.per, Dimension::kProvider) != policy.per.end();
  // Of more upstreams than there are bits the rest cannot be told apart: they count as serving.
  std::uint64_t met = 0;
  const std::size_t known = std::min<std::size_t>(facts.providers.size(), 63);
  for (std::size_t i = 0; i < known; ++i) {
    if (!HoldsFor(policy, facts.providers[i])) continue;
    met |= std::uint64_t{1} << i;
    if (each) {
      Use(entry, facts, facts.providers[i], std::uint64_t{1} << i, now, out);
    }
  }
  if (met != 0 && !each) Use(entry, facts, {}, met, now, out);
}

void PolicySet::Use(const Entry& entry, const Facts& facts, std::string_view provider,
                    std::uint64_t providers, Instant now, std::vector<QuotaUse>& out) const {
  if (out.size() > kUsesMax) return;
  const Policy& policy = entry.policy;
  QuotaUse use{.policy = &policy, .limit = policy.limit, .providers = providers};
  if (!CountsAlone(policy, facts)) {
    CounterHash hash(entry.identity_high, entry.identity_low);
    for (const Dimension dimension : policy.per) {
      hash.Text(dimension == Dimension::kProvider ? provider : facts[dimension]);
    }
    if (policy.window.kind == config::WindowKind::kAction) {
      hash.Text(facts.action_scope);
      hash.Text(facts.action);
    }
    use.counter = {hash.high(), hash.low()};
  }
  if (!entry.raises.empty()) {
    const std::string text = CounterText(policy, facts, provider);
    __int128 limit = use.limit;
    for (const config::Raise& raise : entry.raises) {
      if (now < raise.from || now >= raise.to) continue;
      if (raise.values.empty() || raise.values == text) limit += raise.amount;
    }
    use.limit = static_cast<std::int64_t>(std::clamp<__int128>(limit, 0, config::kQuotaMax));
  }
  out.push_back(use);
}

const Policy* PolicySet::Find(std::string_view id) const {
  const auto found =
      std::ranges::find(order_, id, [](const Policy* p) -> std::string_view { return p->id; });
  return found == order_.end() ? nullptr : *found;
}

std::string CounterText(const Policy& policy, const Facts& facts, std::string_view provider) {
  std::string text;
  const auto add = [&](std::string_view name, std::string_view value) {
    if (!text.empty()) text += ',';
    text += name;
    text += '=';
    AppendEscaped(text, value);
  };
  for (const Dimension dimension : policy.per) {
    add(Name(dimension), dimension == Dimension::kProvider ? provider : facts[dimension]);
  }
  if (policy.window.kind == config::WindowKind::kAction && !facts.action.empty()) {
    add("action", facts.action);
  }
  return text;
}

std::string CounterText(const QuotaUse& use, const Facts& facts) {
  const auto bit = static_cast<std::size_t>(std::countr_zero(use.providers));
  return CounterText(*use.policy, facts,
                     bit < facts.providers.size() ? facts.providers[bit] : std::string_view());
}

}  // namespace weir::policy
