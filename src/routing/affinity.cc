#include "routing/affinity.h"

#include "routing/balancer.h"

namespace weir::routing {

void Affinity::Remember(std::uint64_t what, std::uint32_t account) {
  const auto [found, added] = accounts_.insert_or_assign(what, account);
  if (!added) return;  // it keeps its age: a turn's state comes back with each of its calls
  if (ring_[next_] != 0) accounts_.erase(ring_[next_]);
  ring_[next_] = what;
  next_ = (next_ + 1) % ring_.size();
}

std::uint32_t Affinity::Find(std::uint64_t what) const {
  const auto found = accounts_.find(what);
  return found == accounts_.end() ? kNoAccount : found->second;
}

}  // namespace weir::routing
