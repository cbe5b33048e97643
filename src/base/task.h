// Task<T>: a coroutine that yields one value. Ours and not a library's, so that the same code runs
// on the sockets of net/ and on the simulated runtime of sim/.
//
//   Task<int> Twice() { int n = co_await Once(); co_return 2 * n; }
//
// Rules, each of which keeps a lifetime right:
//   1. A Task starts when it is awaited, and is awaited exactly once.
//   2. Parameters are taken by value, or are owned by something that outlives the coroutine (the
//      Exchange, the connection). A reference to a temporary dangles at the first suspension.
//   3. There are no exceptions on the path: one that escapes ends the process. Adapters catch what
//      their libraries throw.
//   4. A task and all it awaits live on one thread. Only Spawn() starts one from outside.
//
// Frames come from per-thread free lists: a request needs some ten frames, and a general allocator
// for each is what makes coroutines look slow.
#pragma once

#include <array>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <utility>

#include "base/check.h"

namespace weir {

namespace internal {

// Free lists of coroutine frames by size class of 64 bytes, up to 4 KiB; larger ones go to the
// allocator. A frame freed on another thread joins that thread's list, which is harmless.
class FramePool {
 public:
  static void* Allocate(std::size_t size) {
#if defined(__SANITIZE_ADDRESS__) || WEIR_PLAIN_FRAMES
    return ::operator new(size);  // the sanitizer must see every frame die
#else
    const std::size_t index = (size + kStep - 1) / kStep;
    if (index >= kClasses) return ::operator new(size);
    Node*& head = heads_[index];
    if (head == nullptr) return ::operator new(index * kStep);
    Node* node = head;
    head = node->next;
    return node;
#endif
  }
  static void Release(void* frame, std::size_t size) {
#if defined(__SANITIZE_ADDRESS__) || WEIR_PLAIN_FRAMES
    ::operator delete(frame, size);
#else
    const std::size_t index = (size + kStep - 1) / kStep;
    if (index >= kClasses) {
      ::operator delete(frame);
      return;
    }
    auto* node = static_cast<Node*>(frame);
    node->next = heads_[index];
    heads_[index] = node;
#endif
  }

 private:
  static constexpr std::size_t kStep = 64;
  static constexpr std::size_t kClasses = 65;
  struct Node {
    Node* next;
  };
  // Constant-initialised and without a destructor, so that reaching it is one instruction and not a
  // call. What it holds when its thread ends is not given back: threads live as long as the
  // process.
  static constinit inline thread_local std::array<Node*, kClasses> heads_{};
};

struct PromiseBase {
  static void* operator new(std::size_t size) { return FramePool::Allocate(size); }
  static void operator delete(void* frame, std::size_t size) { FramePool::Release(frame, size); }

  struct FinalAwaiter {
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> self) noexcept {
      return self.promise().continuation;
    }
    void await_resume() const noexcept {}
  };

  std::suspend_always initial_suspend() const noexcept { return {}; }
  FinalAwaiter final_suspend() const noexcept { return {}; }
  [[noreturn]] void unhandled_exception() const noexcept { std::terminate(); }

  std::coroutine_handle<> continuation = std::noop_coroutine();
};

template <class T>
struct Promise : PromiseBase {
  auto get_return_object() { return std::coroutine_handle<Promise>::from_promise(*this); }
  template <class U>
  void return_value(U&& v) {
    value.emplace(std::forward<U>(v));
  }
  T Take() { return std::move(*value); }
  std::optional<T> value;
};

template <>
struct Promise<void> : PromiseBase {
  auto get_return_object() { return std::coroutine_handle<Promise>::from_promise(*this); }
  void return_void() const noexcept {}
  void Take() const noexcept {}
};

}  // namespace internal

template <class T = void>
class [[nodiscard]] Task {
 public:
  using promise_type = internal::Promise<T>;
  using Handle = std::coroutine_handle<promise_type>;

  Task(Handle handle) : handle_(handle) {}  // implicit: made by get_return_object
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&&) = delete;
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;
  ~Task() {
    if (handle_) handle_.destroy();
  }

  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> caller) noexcept {
    handle_.promise().continuation = caller;
    return handle_;
  }
  T await_resume() { return handle_.promise().Take(); }

 private:
  Handle handle_;
};

namespace internal {

struct Detached {
  struct promise_type {
    static void* operator new(std::size_t size) { return FramePool::Allocate(size); }
    static void operator delete(void* frame, std::size_t size) { FramePool::Release(frame, size); }
    Detached get_return_object() const noexcept { return {}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    [[noreturn]] void unhandled_exception() const noexcept { std::terminate(); }
  };
};

inline Detached RunDetached(Task<void> task) { co_await std::move(task); }

}  // namespace internal

// Starts a task that nobody awaits; it runs at once until its first suspension and frees itself at
// its end. Whatever it refers to must outlive it.
inline void Spawn(Task<void> task) { internal::RunDetached(std::move(task)); }

// One waiter, one signal, one thread: how callbacks of adapters become resumptions. Set() before
// Wait() is remembered once. Set() resumes the waiter inside the call, so the caller must not
// touch what the waiter may destroy.
class Signal {
 public:
  void Set() {
    if (waiter_) {
      std::exchange(waiter_, nullptr).resume();
    } else {
      set_ = true;
    }
  }
  bool HasWaiter() const { return static_cast<bool>(waiter_); }
  void Reset() { set_ = false; }

  bool await_ready() noexcept { return std::exchange(set_, false); }
  void await_suspend(std::coroutine_handle<> waiter) noexcept {
    CHECK(!waiter_, "a Signal has one waiter");
    waiter_ = waiter;
  }
  void await_resume() const noexcept {}

 private:
  std::coroutine_handle<> waiter_;
  bool set_ = false;
};

}  // namespace weir
