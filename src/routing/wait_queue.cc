#include "routing/wait_queue.h"

#include <algorithm>
#include <ranges>
#include <utility>
#include <vector>

#include "base/check.h"

namespace weir::routing {

std::size_t WaitQueue::SizeOf(const KeyId& key) const {
  const auto lane = lanes_.find(key);
  return lane == lanes_.end() ? 0 : lane->second->entries.size();
}

std::size_t WaitQueue::PositionOf(const KeyId& key) const {
  // Each other key is served as often as this one before the new entry's turn, as far as it has
  // entries.
  const std::size_t turns = SizeOf(key) + 1;
  std::size_t ahead = 0;
  for (const Lane& lane : ring_) {
    if (lane.key == key) {
      ahead += lane.entries.size();
    } else {
      ahead += std::min(lane.entries.size(), turns);
    }
  }
  return ahead + 1;
}

void WaitQueue::Add(const KeyId& key, Entry entry) {
  CHECK(entry.cost >= 1 && entry.cost <= kCostMax, "a deficit covers every cost in the end");
  auto [lane, added] = lanes_.try_emplace(key);
  if (added) lane->second = ring_.insert(ring_.end(), Lane{key, {}, 0});
  lane->second->entries.push_back(entry);
  ++size_;
}

bool WaitQueue::Remove(const KeyId& key, TicketId ticket) {
  const auto lane = lanes_.find(key);
  if (lane == lanes_.end()) return false;
  auto& entries = lane->second->entries;
  const auto found = std::ranges::find(entries, ticket, &Entry::ticket);
  if (found == entries.end()) return false;
  entries.erase(found);
  --size_;
  if (entries.empty()) {
    // An idle key saves nothing up: its deficit goes with it.
    ring_.erase(lane->second);
    lanes_.erase(lane);
  }
  return true;
}

void WaitQueue::Serve(const std::function<Offer(TicketId)>& offer) {
  bool more = true;
  bool again = true;
  // Who saved since something was last taken, and what it had before. If it turns out that there
  // was nothing to take, those were no turns.
  std::vector<std::pair<Lane*, std::int64_t>> saved;
  while (more && again) {
    again = false;
    auto next = ring_.begin();
    for (std::size_t lanes = ring_.size(); more && lanes > 0; --lanes) {
      const auto at = next++;
      Lane& lane = *at;
      bool took = false;
      bool saves = false;  // for an entry that its deficit does not cover yet
      const std::int64_t before = lane.deficit;
      lane.deficit = std::min(lane.deficit + kQuantum, kCostMax);
      for (auto entry = lane.entries.begin(); more && entry != lane.entries.end();) {
        if (entry->cost > lane.deficit) {
          saves = true;
          break;
        }
        switch (offer(entry->ticket)) {
          case Offer::kTaken:
            took = true;
            lane.deficit -= entry->cost;
            entry = lane.entries.erase(entry);
            --size_;
            break;
          case Offer::kNotNow:  // one behind it may ask for another model
            ++entry;
            break;
          case Offer::kNoMore:
            more = false;
            break;
        }
      }
      again = again || took || saves;
      if (took) saved.clear();
      if (lane.entries.empty()) {
        lanes_.erase(lane.key);
        ring_.erase(at);
      } else if (took) {
        ring_.splice(ring_.end(), ring_, at);
      } else if (saves) {
        saved.emplace_back(&lane, before);
      } else {
        // Its turn has not come to anything: it keeps its place in line, and saves nothing up.
        lane.deficit = before;
      }
    }
  }
  if (more) return;
  for (const auto& [lane, before] : std::views::reverse(saved)) lane->deficit = before;
}

}  // namespace weir::routing
