// A growing byte buffer whose storage is reused per thread: connections take a block when bytes
// arrive and give it back when they are idle, so an idle connection holds none.
//
// Always followed by kPadding readable bytes, because simdjson reads past the end.
#pragma once

#include <cstddef>
#include <cstring>
#include <string_view>
#include <utility>

namespace weir::net {

class ByteBuffer {
 public:
  static constexpr std::size_t kPadding = 64;
  static constexpr std::size_t kSmallBlock = 4 << 10;
  static constexpr std::size_t kLargeBlock = 32 << 10;
  static constexpr std::size_t kBodyBlock = 160 << 10;

  ByteBuffer() = default;
  ByteBuffer(ByteBuffer&& other) noexcept { Swap(other); }
  ByteBuffer& operator=(ByteBuffer&& other) noexcept {
    Release();
    Swap(other);
    return *this;
  }
  ByteBuffer(const ByteBuffer&) = delete;
  ByteBuffer& operator=(const ByteBuffer&) = delete;
  ~ByteBuffer() { Release(); }

  char* data() { return block_; }
  std::size_t size() const { return size_; }
  std::size_t capacity() const { return capacity_; }
  std::string_view view() const { return {block_, size_}; }

  // Room to write at least `room` bytes behind the content; the content may move.
  char* Grow(std::size_t room);
  void Commit(std::size_t written) { size_ += written; }
  void Append(std::string_view bytes) {
    if (bytes.empty()) return;
    std::memcpy(Grow(bytes.size()), bytes.data(), bytes.size());
    Commit(bytes.size());
  }
  // Drops `count` bytes from the front by moving the rest.
  void Consume(std::size_t count) {
    size_ -= count;
    if (size_ > 0) std::memmove(block_, block_ + count, size_);
  }
  void Truncate(std::size_t size) { size_ = size; }
  void Clear() { size_ = 0; }
  // Gives the storage back.
  void Release();

 private:
  void Swap(ByteBuffer& other) noexcept {
    std::swap(block_, other.block_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }

  char* block_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace weir::net
