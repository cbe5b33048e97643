// All keys of a deployment, as an immutable value: the snapshot workers authenticate against.
//
// A table with one key changed shares everything else with the one before, so that changing a key
// among a million copies some twenty kilobytes and every running request keeps the table it started
// with. It is a radix tree of fixed depth: 256 nodes of 256 leaves, chosen by the first 16 bits of
// a digest. Digests are uniform (they are HMACs), so a million keys are about fifteen per leaf.
//
// Invariants:
//   1. A digest leads to at most one record.
//   2. A record is found under its digest, under its previous secret's digest if it has one, and
//      under its id; With() keeps the three in step.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <vector>

#include "base/id.h"
#include "identity/api_key.h"
#include "identity/key_record.h"

namespace weir::identity {

using KeyRecordPtr = std::shared_ptr<const KeyRecord>;

class KeyTable {
 public:
  KeyTable();  // no keys

  // Of records with different ids and digests. Of two with one digest the later is lost, so the
  // caller (store/key_store, which has a unique index) must not let that happen.
  static KeyTable Of(std::vector<KeyRecord> records);

  // This table with `record` added, or in the place of the one with its id.
  [[nodiscard]] KeyTable With(KeyRecord record) const;

  // The record whose current or previous secret has this digest; null if there is none. The
  // pointer in the table is returned by address so that a lookup touches no reference count.
  const KeyRecordPtr* FindByDigest(const KeyDigest& digest) const;
  KeyRecordPtr FindById(const KeyId& id) const;

  std::size_t size() const { return size_; }

  // Every record, by id: oldest first.   cost  O(n log n)
  std::vector<KeyRecordPtr> All() const;

 private:
  struct Entry;
  struct Leaf;
  struct Node;
  struct Tree;

  std::shared_ptr<const Tree> by_digest_;
  std::shared_ptr<const Tree> by_id_;
  std::size_t size_ = 0;
};

}  // namespace weir::identity
