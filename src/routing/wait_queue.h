// Those who wait for an account: bounded in all and for each key, and served fairly between keys by
// deficit round robin (Shreedhar, Varghese 1995). Keys take turns; each turn adds the key's quantum
// to its deficit, and the key is served while the deficit covers the cost of its next call. A key
// that sends a thousand calls waits for its own, not for others'.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <unordered_map>

#include "base/id.h"

namespace weir::routing {

using TicketId = std::uint64_t;  // never 0, never used again

class WaitQueue {
 public:
  // What a turn is worth, in units of cost: a call of the usual size. A larger call waits for more
  // turns, at most kCostMax / kQuantum of them; no deficit grows beyond that either.
  static constexpr std::int64_t kQuantum = 16;
  static constexpr std::int64_t kCostMax = 8 * kQuantum;

  struct Entry {
    TicketId ticket = 0;
    std::int64_t cost = kQuantum;  // 1 .. kCostMax
  };
  enum class Offer : std::uint8_t {
    kTaken,
    kNotNow,  // no account for this one; for others there may be
    kNoMore,  // no account for any
  };

  std::size_t size() const { return size_; }
  std::size_t SizeOf(const KeyId& key) const;
  // How many would be served before a new entry of the key if all cost the same.
  std::size_t PositionOf(const KeyId& key) const;

  void Add(const KeyId& key, Entry entry);
  // False when it is not there.
  bool Remove(const KeyId& key, TicketId ticket);

  // Offers entries in the order of fairness until there is no more to give, or nobody left who
  // could take it.
  void Serve(const std::function<Offer(TicketId)>& offer);

 private:
  struct Lane {
    KeyId key;
    std::deque<Entry> entries;
    std::int64_t deficit = 0;
  };
  using Ring = std::list<Lane>;
  Ring ring_;  // the front's turn is next
  std::unordered_map<KeyId, Ring::iterator, IdHash> lanes_;
  std::size_t size_ = 0;
};

}  // namespace weir::routing
