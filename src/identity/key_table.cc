#include "identity/key_table.h"

#include <algorithm>
#include <cstdint>
#include <utility>

namespace weir::identity {
namespace {

constexpr std::size_t kFanOut = 256;

std::size_t NodeIndex(std::uint64_t tag) { return static_cast<std::size_t>(tag >> 56); }
std::size_t LeafIndex(std::uint64_t tag) { return static_cast<std::size_t>((tag >> 48) & 0xFF); }

// The leading bits of an id are a clock and so nearly equal; these are spread.
std::uint64_t TagOf(const KeyId& id) {
  std::uint64_t mixed = (id.high * 0x9E3779B97F4A7C15ULL) ^ id.low;
  mixed ^= mixed >> 32;
  return mixed * 0xD6E8FEB86659FD93ULL;
}

std::uint64_t TagOf(const KeyDigest& digest) { return digest.Leading(); }

}  // namespace

struct KeyTable::Entry {
  std::uint64_t tag = 0;
  KeyRecordPtr record;
};

struct KeyTable::Leaf {
  std::vector<Entry> entries;
};

struct KeyTable::Node {
  std::array<std::shared_ptr<const Leaf>, kFanOut> leaves;
};

struct KeyTable::Tree {
  std::array<std::shared_ptr<const Node>, kFanOut> nodes;

  const Leaf* Find(std::uint64_t tag) const {
    const Node* node = nodes[NodeIndex(tag)].get();
    return node == nullptr ? nullptr : node->leaves[LeafIndex(tag)].get();
  }

  // This tree without the entry (tag, old_record) and with (tag, new_record); either may be null.
  std::shared_ptr<const Tree> Replace(std::uint64_t tag, const KeyRecord* old_record,
                                      const KeyRecordPtr& new_record) const {
    auto tree = std::make_shared<Tree>(*this);
    auto& node_slot = tree->nodes[NodeIndex(tag)];
    auto node = node_slot ? std::make_shared<Node>(*node_slot) : std::make_shared<Node>();
    auto& leaf_slot = node->leaves[LeafIndex(tag)];
    auto leaf = leaf_slot ? std::make_shared<Leaf>(*leaf_slot) : std::make_shared<Leaf>();
    std::erase_if(leaf->entries, [&](const Entry& entry) {
      return entry.tag == tag && entry.record.get() == old_record;
    });
    if (new_record) leaf->entries.push_back({tag, new_record});
    leaf_slot = std::move(leaf);
    node_slot = std::move(node);
    return tree;
  }

  // A tree of `entries`, built leaf by leaf rather than by a million copies of paths.
  static std::shared_ptr<const Tree> Of(std::vector<Entry> entries) {
    std::ranges::sort(entries, std::less<>(), &Entry::tag);
    auto tree = std::make_shared<Tree>();
    for (std::size_t i = 0; i < entries.size();) {
      const std::size_t node_index = NodeIndex(entries[i].tag);
      auto node = std::make_shared<Node>();
      while (i < entries.size() && NodeIndex(entries[i].tag) == node_index) {
        const std::size_t leaf_index = LeafIndex(entries[i].tag);
        const std::size_t from = i;
        while (i < entries.size() && entries[i].tag >> 48 == entries[from].tag >> 48) ++i;
        auto leaf = std::make_shared<Leaf>();
        leaf->entries.assign(std::make_move_iterator(entries.begin() + std::ptrdiff_t(from)),
                             std::make_move_iterator(entries.begin() + std::ptrdiff_t(i)));
        node->leaves[leaf_index] = std::move(leaf);
      }
      tree->nodes[node_index] = std::move(node);
    }
    return tree;
  }
};

KeyTable::KeyTable()
    : by_digest_(std::make_shared<const Tree>()), by_id_(std::make_shared<const Tree>()) {}

KeyTable KeyTable::Of(std::vector<KeyRecord> records) {
  std::vector<Entry> digests;
  std::vector<Entry> ids;
  digests.reserve(records.size());
  ids.reserve(records.size());
  for (KeyRecord& record : records) {
    const auto shared = std::make_shared<const KeyRecord>(std::move(record));
    digests.push_back({TagOf(shared->digest), shared});
    if (shared->previous) digests.push_back({TagOf(shared->previous->digest), shared});
    ids.push_back({TagOf(shared->id), shared});
  }
  KeyTable table;
  table.size_ = ids.size();
  table.by_digest_ = Tree::Of(std::move(digests));
  table.by_id_ = Tree::Of(std::move(ids));
  return table;
}

KeyTable KeyTable::With(KeyRecord record) const {
  const auto added = std::make_shared<const KeyRecord>(std::move(record));
  const KeyRecordPtr replaced = FindById(added->id);
  KeyTable table = *this;
  if (replaced) {
    table.by_digest_ = table.by_digest_->Replace(TagOf(replaced->digest), replaced.get(), nullptr);
    if (replaced->previous) {
      table.by_digest_ =
          table.by_digest_->Replace(TagOf(replaced->previous->digest), replaced.get(), nullptr);
    }
  } else {
    ++table.size_;
  }
  table.by_digest_ = table.by_digest_->Replace(TagOf(added->digest), nullptr, added);
  if (added->previous) {
    table.by_digest_ = table.by_digest_->Replace(TagOf(added->previous->digest), nullptr, added);
  }
  table.by_id_ = table.by_id_->Replace(TagOf(added->id), replaced.get(), added);
  return table;
}

const KeyRecordPtr* KeyTable::FindByDigest(const KeyDigest& digest) const {
  const std::uint64_t tag = TagOf(digest);
  const Leaf* leaf = by_digest_->Find(tag);
  if (leaf == nullptr) return nullptr;
  for (const Entry& entry : leaf->entries) {
    if (entry.tag != tag) continue;
    const KeyRecord& record = *entry.record;
    if (EqualsInConstantTime(record.digest, digest) ||
        (record.previous && EqualsInConstantTime(record.previous->digest, digest))) {
      return &entry.record;
    }
  }
  return nullptr;
}

KeyRecordPtr KeyTable::FindById(const KeyId& id) const {
  const std::uint64_t tag = TagOf(id);
  const Leaf* leaf = by_id_->Find(tag);
  if (leaf == nullptr) return nullptr;
  for (const Entry& entry : leaf->entries) {
    if (entry.tag == tag && entry.record->id == id) return entry.record;
  }
  return nullptr;
}

std::vector<KeyRecordPtr> KeyTable::All() const {
  std::vector<KeyRecordPtr> records;
  records.reserve(size_);
  for (const auto& node : by_id_->nodes) {
    if (!node) continue;
    for (const auto& leaf : node->leaves) {
      if (!leaf) continue;
      for (const Entry& entry : leaf->entries) records.push_back(entry.record);
    }
  }
  std::ranges::sort(records, [](const KeyRecordPtr& a, const KeyRecordPtr& b) {
    return static_cast<const Id128&>(a->id) < static_cast<const Id128&>(b->id);
  });
  return records;
}

}  // namespace weir::identity
