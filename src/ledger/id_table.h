// A hash table in one array: open addressing, linear probing, deletion by shifting back. For the
// tables of the ledger's hot path, where a node per entry would be an allocation per request.
//
// Not for iteration order that matters: ForEach visits slots, whose order depends on the history.
// Keys are ids with random bits that we made, so an attacker cannot choose collisions.
// Pointers to values are valid until the next Insert or Erase.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "base/check.h"

namespace weir::ledger {

template <class Key, class Value, class Hash>
class IdTable {
 public:
  explicit IdTable(std::size_t expected = 0) {
    std::size_t slots = kSlotsMin;
    while (slots * kLoadNumerator < expected * kLoadDenominator) slots *= 2;
    slots_.resize(slots);
  }

  std::size_t size() const { return size_; }

  Value* Find(const Key& key) {
    for (std::size_t at = Home(key);; at = Next(at)) {
      if (!slots_[at].used) return nullptr;
      if (slots_[at].key == key) return &slots_[at].value;
    }
  }
  const Value* Find(const Key& key) const { return const_cast<IdTable*>(this)->Find(key); }

  // REQUIRES: the key is not in the table.
  Value& Insert(const Key& key, Value value) {
    if ((size_ + 1) * kLoadDenominator > slots_.size() * kLoadNumerator) Grow();
    ++size_;
    return Place(key, std::move(value));
  }

  bool Erase(const Key& key) {
    std::size_t hole = Home(key);
    while (slots_[hole].used && !(slots_[hole].key == key)) hole = Next(hole);
    if (!slots_[hole].used) return false;
    // Every entry after the hole whose home lies at or before it moves back, so that no probe
    // meets a gap that was not there when the entry was placed.
    for (std::size_t at = Next(hole); slots_[at].used; at = Next(at)) {
      const std::size_t home = Home(slots_[at].key);
      if (((at - home) & Mask()) >= ((at - hole) & Mask())) {
        slots_[hole] = std::move(slots_[at]);
        hole = at;
      }
    }
    slots_[hole] = Slot{};
    --size_;
    return true;
  }

  template <class Visit>
  void ForEach(Visit visit) const {
    for (const Slot& slot : slots_) {
      if (slot.used) visit(slot.key, slot.value);
    }
  }

 private:
  static constexpr std::size_t kSlotsMin = 16;
  static constexpr std::size_t kLoadNumerator = 3;  // at most 3/4 full
  static constexpr std::size_t kLoadDenominator = 4;

  struct Slot {
    Key key{};
    Value value{};
    bool used = false;
  };

  std::size_t Mask() const { return slots_.size() - 1; }
  std::size_t Next(std::size_t at) const { return (at + 1) & Mask(); }
  std::size_t Home(const Key& key) const {
    std::size_t hash = Hash{}(key);
    hash ^= hash >> 32;  // the slot is taken from the low bits: bring the high ones down
    hash *= 0x9E3779B97F4A7C15ULL;
    return (hash ^ (hash >> 29)) & Mask();
  }
  Value& Place(const Key& key, Value value) {
    std::size_t at = Home(key);
    while (slots_[at].used) {
      CHECK(!(slots_[at].key == key), "IdTable::Insert requires a new key");
      at = Next(at);
    }
    slots_[at] = Slot{key, std::move(value), true};
    return slots_[at].value;
  }
  void Grow() {
    std::vector<Slot> old(slots_.size() * 2);
    old.swap(slots_);
    for (Slot& slot : old) {
      if (slot.used) Place(slot.key, std::move(slot.value));
    }
  }

  std::vector<Slot> slots_;
  std::size_t size_ = 0;
};

}  // namespace weir::ledger
