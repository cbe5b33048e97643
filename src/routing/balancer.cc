#include "routing/balancer.h"

#include <bit>
#include <string_view>

#include "base/check.h"

namespace weir::routing {
namespace {

constexpr std::size_t kFlatMax = 64;
constexpr std::size_t kGroups = 64;
constexpr int kDraws = 8;
// Seeds the scores of groups apart from those of accounts.
constexpr std::uint64_t kGroupSeed = 0x67726F7570ULL;

std::uint64_t Mix(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

// -log2(hash / 2^64) in 1/65536, at least 1. The curve between powers of two is a parabola that is
// off by less than 0.009, which moves an account's share by less than one percent.
std::uint64_t MinusLog2(std::uint64_t hash) {
  constexpr std::uint64_t kOne = 1 << 16;
  constexpr std::uint64_t kBow = 22'717;  // 0.34664 of kOne
  if (hash == 0) return 64 * kOne;
  const int zeros = std::countl_zero(hash);
  const std::uint64_t fraction = ((hash << zeros) >> 47) & (kOne - 1);
  const std::uint64_t log = fraction + ((kBow * ((fraction * (kOne - fraction)) >> 16)) >> 16);
  const std::uint64_t minus = static_cast<std::uint64_t>(zeros + 1) * kOne - log;
  return minus == 0 ? 1 : minus;
}

}  // namespace

std::uint64_t HashText(std::string_view text, std::uint64_t seed) {
  std::uint64_t hash = seed ^ 0xCBF29CE484222325ULL;  // FNV-1a, then mixed
  for (const char c : text) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  }
  return Mix(hash ^ (static_cast<std::uint64_t>(text.size()) << 56));
}

std::uint64_t RendezvousHash(SessionHash session, std::uint64_t id_hash) {
  return Mix(session ^ id_hash);
}

// The score is weight / -log2(hash), compared without the division.
bool Wins(std::uint64_t hash_a, std::uint64_t weight_a, std::uint64_t hash_b,
          std::uint64_t weight_b) {
  if (weight_a == weight_b) return hash_a > hash_b;
  const std::uint64_t left = weight_a * MinusLog2(hash_b);
  const std::uint64_t right = weight_b * MinusLog2(hash_a);
  return left != right ? left > right : hash_a > hash_b;
}

Tier::Tier(std::span<const Member> members) : members_(members.begin(), members.end()) {
  is_usable_.resize(members_.size(), true);
  sums_.resize(members_.size() + 1);
  group_of_.resize(members_.size());
  const std::size_t groups = members_.size() <= kFlatMax ? 1 : kGroups;
  groups_.resize(groups);
  for (std::size_t g = 0; g < groups; ++g) groups_[g].id_hash = Mix(kGroupSeed + g);
  for (std::uint32_t i = 0; i < members_.size(); ++i) {
    AddWeight(i, members_[i].weight);
    // High bits: the low ones already chose within scores.
    const auto g = static_cast<std::uint32_t>(groups == 1 ? 0 : members_[i].id_hash >> 58);
    group_of_[i] = g;
    groups_[g].members.push_back(i);
    groups_[g].weight += members_[i].weight;
    ++groups_[g].usable;
  }
  usable_ = members_.size();
}

void Tier::AddWeight(std::size_t i, std::int64_t by) {
  total_ += by;
  for (std::size_t at = i + 1; at < sums_.size(); at += at & (~at + 1)) sums_[at] += by;
}

// The usable member at which the running sum of weights passes `random` modulo the sum of all.
std::uint32_t Tier::Draw(std::uint64_t random) const {
  auto left = static_cast<std::int64_t>(random % static_cast<std::uint64_t>(total_));
  std::size_t at = 0;
  for (std::size_t step = std::bit_floor(sums_.size() - 1); step > 0; step /= 2) {
    if (at + step >= sums_.size() || sums_[at + step] > left) continue;
    at += step;
    left -= sums_[at];
  }
  return static_cast<std::uint32_t>(at);
}

void Tier::SetUsable(std::size_t i, bool usable) {
  if (is_usable_[i] == usable) return;
  is_usable_[i] = usable;
  const std::int64_t weight = members_[i].weight;
  AddWeight(i, usable ? weight : -weight);
  Group& group = groups_[group_of_[i]];
  if (usable) {
    ++usable_;
    ++group.usable;
  } else {
    --usable_;
    --group.usable;
  }
}

std::uint32_t Tier::PickLeastLoaded(const LoadOf& load, Random& random) const {
  if (usable_ == 0) return kNoAccount;
  const auto draw = [&]() -> const Member* {
    for (int i = 0; i < kDraws; ++i) {
      const Member& member = members_[Draw(random.Next())];
      if (!load.Skip(member.account)) return &member;
    }
    // Nearly all are skipped, which only a call with many attempts behind it sees.
    for (std::size_t i = 0; i < members_.size(); ++i) {
      if (is_usable_[i] && !load.Skip(members_[i].account)) return &members_[i];
    }
    return nullptr;
  };
  const Member* const a = draw();
  if (a == nullptr || usable_ == 1) return a == nullptr ? kNoAccount : a->account;
  const Member* const b = draw();
  // The first of equals: it was drawn by weight.
  return load.InFlight(a->account) * b->weight <= load.InFlight(b->account) * a->weight
             ? a->account
             : b->account;
}

// The member of the group that fits best; with `load`, of those that are usable and not skipped.
std::uint32_t Tier::Best(const Group& group, SessionHash session, const LoadOf* load) const {
  std::uint32_t best = kNoAccount;
  std::uint64_t best_hash = 0;
  for (const std::uint32_t i : group.members) {
    const std::uint64_t hash = RendezvousHash(session, members_[i].id_hash);
    if (best != kNoAccount && !Wins(hash, members_[i].weight, best_hash, members_[best].weight)) {
      continue;
    }
    if (load != nullptr && (!IsUsable(i) || load->Skip(members_[i].account))) continue;
    best = i;
    best_hash = hash;
  }
  return best;
}

std::uint32_t Tier::PickForSession(SessionHash session, const LoadOf& load,
                                   std::uint32_t& home) const {
  home = kNoAccount;
  if (members_.empty()) return kNoAccount;
  // The groups by how well they fit: the first is home's, and each is asked until one has an
  // account for this call, nearly always the first.
  std::vector<bool> asked;
  while (true) {
    const Group* best = nullptr;
    std::size_t best_at = 0;
    std::uint64_t best_hash = 0;
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      if (groups_[g].members.empty() || (!asked.empty() && asked[g])) continue;
      const std::uint64_t hash = RendezvousHash(session, groups_[g].id_hash);
      if (best != nullptr && !Wins(hash, groups_[g].weight, best_hash, best->weight)) continue;
      best = &groups_[g];
      best_at = g;
      best_hash = hash;
    }
    if (best == nullptr) return kNoAccount;
    if (home == kNoAccount) home = members_[Best(*best, session, nullptr)].account;
    const std::uint32_t found = best->usable == 0 ? kNoAccount : Best(*best, session, &load);
    if (found != kNoAccount) return members_[found].account;
    if (asked.empty()) asked.resize(groups_.size());
    asked[best_at] = true;
    if (usable_ == 0) return kNoAccount;
  }
}

}  // namespace weir::routing
