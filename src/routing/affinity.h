// Which account made what: response ids and turn states that later calls refer to. Bounded: the
// oldest is forgotten first, and a call that refers to something forgotten is routed like any
// other.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

namespace weir::routing {

class Affinity {
 public:
  explicit Affinity(std::size_t entries_max) : ring_(entries_max) {}

  // `what` is not 0.
  void Remember(std::uint64_t what, std::uint32_t account);
  // The account, or kNoAccount (balancer.h).
  std::uint32_t Find(std::uint64_t what) const;
  std::size_t size() const { return accounts_.size(); }

 private:
  std::vector<std::uint64_t> ring_;  // in the order they were made; 0: free
  std::size_t next_ = 0;
  std::unordered_map<std::uint64_t, std::uint32_t> accounts_;
};

}  // namespace weir::routing
