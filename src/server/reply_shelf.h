// Kept replies among threads: one ReplyShelf for the process with a thread of its own, one
// ReplyPort for each worker, which must not wait for a disk.
//
//   worker   Keep() -> lock { queue } -> goes on
//            Find() -> lock { queue } -> sleeps until the thread has posted the answer to its loop
//
// The queue is in order, so a Find sees what was kept before it, by any worker. What does not fit
// into the queue is not kept: its caller gets response_not_stored when it asks again, and is not
// charged twice.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include "base/time.h"
#include "gateway/ports.h"
#include "store/reply_store.h"

namespace weir::server {

class ReplyShelf {
 public:
  struct Options {
    std::size_t queue_bytes_max = 64 << 20;
    Duration keep = Seconds(86'400);
    // Between two deletions of what is older.
    Duration delete_interval = Seconds(60);
    std::function<Instant()> wall_now;
    // The disk refused; from the shelf's thread.
    std::function<void(const Error&)> on_problem;
  };

  ReplyShelf(std::unique_ptr<store::ReplyStore> store, Options options);
  // Writes what is queued.
  ~ReplyShelf();
  ReplyShelf(const ReplyShelf&) = delete;
  ReplyShelf& operator=(const ReplyShelf&) = delete;

  // Any thread; both return at once. False: not kept, the queue is full.
  bool Keep(const RequestId& request, gateway::KeptReply reply);
  // `done` is called once, on the shelf's thread; must not block. False when it will not be.
  bool Ask(const RequestId& request, std::function<void(std::optional<gateway::KeptReply>)> done);
  // Writes what is queued and answers no more. Call while the loops of the ports still run.
  void Stop();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Replies as one worker sees them. Used on the worker's thread; it must not die while a Find() of
// it waits.
class ReplyPort final : public gateway::Replies {
 public:
  // `post` brings a function to the worker's thread, from any thread.
  using Post = std::function<void(std::function<void()>)>;
  ReplyPort(ReplyShelf& shelf, Post post) : shelf_(shelf), post_(std::move(post)) {}

  void Keep(const RequestId& request, gateway::KeptReply reply) override;
  Task<std::optional<gateway::KeptReply>> Find(RequestId request) override;

 private:
  ReplyShelf& shelf_;
  Post post_;
};

}  // namespace weir::server
