// Choosing one of many accounts, at a cost that hardly grows with their number: a draw by weight
// among the usable ones walks a tree of sums, and a session's account is found by rendezvous
// hashing (Thaler, Ravishankar 1998) over at most a few hundred.
//
// Rendezvous: every account gets a score from a hash of session and account; the highest wins.
// Nodes agree without talking, an account that is away gives its sessions to all others, and when
// it is back it has the same sessions again. Weights as in "Weighted Distributed Hash Tables"
// (Schindelhauer, Schomaker 2005), in integers, so that every machine computes the same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/random.h"

namespace weir::routing {

// An account as a Tier sees it; indices are the pool's.
struct Member {
  std::uint32_t account = 0;
  std::uint32_t weight = 1;   // 1 .. 1000
  std::uint64_t id_hash = 0;  // of its name, which nodes share; its index they do not
};

// A session, or anything else that should meet the same account again. 0: none.
using SessionHash = std::uint64_t;

std::uint64_t HashText(std::string_view text, std::uint64_t seed = 0);

// How well `session` and an account fit: compare with Wins.
std::uint64_t RendezvousHash(SessionHash session, std::uint64_t id_hash);
// Whether (hash a, weight a) wins over (hash b, weight b).
bool Wins(std::uint64_t hash_a, std::uint64_t weight_a, std::uint64_t hash_b,
          std::uint64_t weight_b);

// How many calls an account has under way, for the choice of two.
class LoadOf {
 public:
  virtual std::int64_t InFlight(std::uint32_t account) const = 0;
  // True: pass it over in this choice alone.
  virtual bool Skip(std::uint32_t account) const = 0;

 protected:
  ~LoadOf() = default;
};

inline constexpr std::uint32_t kNoAccount = UINT32_MAX;

// Accounts of equal rank for one kind of call.
class Tier {
 public:
  explicit Tier(std::span<const Member> members);

  std::size_t size() const { return members_.size(); }
  std::size_t usable() const { return usable_; }
  const Member& member(std::size_t i) const { return members_[i]; }
  bool IsUsable(std::size_t i) const { return is_usable_[i]; }
  void SetUsable(std::size_t i, bool usable);

  // One of the usable accounts: of two drawn by weight the one with fewer calls for its weight
  // (Mitzenmacher 1996). kNoAccount when all are skipped.
  std::uint32_t PickLeastLoaded(const LoadOf& load, Random& random) const;

  // The usable account that fits the session best. `home` is the one that fits best of all,
  // usable or not.
  std::uint32_t PickForSession(SessionHash session, const LoadOf& load, std::uint32_t& home) const;

 private:
  // Members whose names hash alike. One of them for a small tier; for a large one enough that
  // looking at all groups and then at one group's members stays cheap.
  struct Group {
    std::vector<std::uint32_t> members;
    std::uint64_t weight = 0;
    std::uint64_t id_hash = 0;
    std::uint32_t usable = 0;
  };
  std::uint32_t Best(const Group& group, SessionHash session, const LoadOf* load) const;

  std::uint32_t Draw(std::uint64_t random) const;
  void AddWeight(std::size_t i, std::int64_t by);

  std::vector<Member> members_;
  std::vector<bool> is_usable_;
  std::size_t usable_ = 0;
  // The weights of usable members as a Fenwick tree (1994): sums_[i] is over the lowest bit of i.
  std::vector<std::int64_t> sums_;
  std::int64_t total_ = 0;
  std::vector<Group> groups_;
  std::vector<std::uint32_t> group_of_;
};

}  // namespace weir::routing
