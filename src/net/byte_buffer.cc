#include "net/byte_buffer.h"

#include <array>
#include <cstdlib>
#include <new>

#include "base/check.h"

namespace weir::net {
namespace {

// Blocks of the two usual sizes, kept per thread up to a bound.
class BlockCache {
 public:
  ~BlockCache() {
    for (auto& shelf : shelves_) {
      while (shelf.count > 0) std::free(shelf.blocks[--shelf.count]);
    }
  }
  char* Take(std::size_t size) {
    auto& shelf = ShelfOf(size);
    if (shelf.count > 0) return shelf.blocks[--shelf.count];
    return New(size);
  }
  void Give(char* block, std::size_t size) {
    auto& shelf = ShelfOf(size);
    if (shelf.count < shelf.count_max) {
      shelf.blocks[shelf.count++] = block;
    } else {
      std::free(block);
    }
  }
  static char* New(std::size_t size) {
    auto* block = static_cast<char*>(std::malloc(size + ByteBuffer::kPadding));
    if (block == nullptr) throw std::bad_alloc();
    std::memset(block + size, 0, ByteBuffer::kPadding);
    return block;
  }

 private:
  struct Shelf {
    std::array<char*, 256> blocks{};
    std::size_t count = 0;
    std::size_t count_max = 256;
  };
  Shelf& ShelfOf(std::size_t size) {
    return shelves_[size == ByteBuffer::kSmallBlock ? 0 : size == ByteBuffer::kLargeBlock ? 1 : 2];
  }
  // Of the largest blocks only a few are kept: they are for one big body after the other, which
  // would otherwise map and unmap fresh memory each time.
  std::array<Shelf, 3> shelves_{Shelf{}, Shelf{}, Shelf{.blocks = {}, .count_max = 16}};
};

bool IsCached(std::size_t size) {
  return size == ByteBuffer::kSmallBlock || size == ByteBuffer::kLargeBlock ||
         size == ByteBuffer::kBodyBlock;
}

BlockCache& Cache() {
  static thread_local BlockCache cache;
  return cache;
}

}  // namespace

char* ByteBuffer::Grow(std::size_t room) {
  if (capacity_ - size_ >= room) return block_ + size_;
  const std::size_t need = size_ + room;
  std::size_t next = need <= kSmallBlock   ? kSmallBlock
                     : need <= kLargeBlock ? kLargeBlock
                     : need <= kBodyBlock  ? kBodyBlock
                                           : 0;
  if (next == 0) {
    next = capacity_ > kBodyBlock ? capacity_ : kBodyBlock;
    while (next < need) next += next / 2;
  }
  char* block = IsCached(next) ? Cache().Take(next) : BlockCache::New(next);
  const std::size_t size = size_;
  if (size > 0) std::memcpy(block, block_, size);
  Release();
  block_ = block;
  size_ = size;
  capacity_ = next;
  return block_ + size_;
}

void ByteBuffer::Release() {
  if (block_ != nullptr) {
    if (IsCached(capacity_)) {
      Cache().Give(block_, capacity_);
    } else {
      std::free(block_);
    }
  }
  block_ = nullptr;
  size_ = capacity_ = 0;
}

}  // namespace weir::net
