#include "server/reply_shelf.h"

#include <pthread.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace weir::server {

struct ReplyShelf::State {
  // A reply to keep, or a question.
  struct Job {
    RequestId request;
    std::optional<gateway::KeptReply> reply;
    std::function<void(std::optional<gateway::KeptReply>)> done;
  };

  State(std::unique_ptr<store::ReplyStore> with, Options given)
      : store(std::move(with)), options(std::move(given)) {}

  const std::unique_ptr<store::ReplyStore> store;  // the thread's alone
  const Options options;

  std::mutex mutex;  // everything below
  std::condition_variable wake;
  std::vector<Job> queue;
  std::size_t queue_bytes = 0;
  bool stopping = false;
  std::thread thread;

  void Run();
  void Work(std::vector<Job>& jobs);
};

void ReplyShelf::State::Work(std::vector<Job>& jobs) {
  bool writing = false;
  const auto commit = [&] {
    if (!std::exchange(writing, false)) return;
    if (const auto done = store->Commit(); !done && options.on_problem) {
      options.on_problem(done.error());
    }
  };
  for (Job& job : jobs) {
    if (job.reply) {
      if (!std::exchange(writing, true)) store->Begin();
      store->Keep(job.request, *job.reply);
    } else {
      commit();
      job.done(store->Find(job.request));
    }
  }
  commit();
}

void ReplyShelf::State::Run() {
  pthread_setname_np(pthread_self(), "weir-replies");
  using Clock = std::chrono::steady_clock;
  const std::chrono::nanoseconds interval(options.delete_interval.ns);
  auto delete_at = Clock::now() + interval;
  std::vector<Job> jobs;
  std::unique_lock lock(mutex);
  while (true) {
    wake.wait_until(lock, delete_at, [&] { return stopping || !queue.empty(); });
    jobs.swap(queue);
    queue_bytes = 0;
    const bool last = stopping;
    lock.unlock();
    Work(jobs);
    jobs.clear();
    if (Clock::now() >= delete_at) {
      store->DeleteBefore(options.wall_now() + Duration{-options.keep.ns});
      delete_at = Clock::now() + interval;
    }
    lock.lock();
    if (last && queue.empty()) return;
  }
}

ReplyShelf::ReplyShelf(std::unique_ptr<store::ReplyStore> store, Options options)
    : state_(std::make_unique<State>(std::move(store), std::move(options))) {
  state_->thread = std::thread([state = state_.get()] { state->Run(); });
}

ReplyShelf::~ReplyShelf() { Stop(); }

void ReplyShelf::Stop() {
  if (!state_->thread.joinable()) return;
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  state_->wake.notify_one();
  state_->thread.join();
}

bool ReplyShelf::Keep(const RequestId& request, gateway::KeptReply reply) {
  {
    const std::lock_guard lock(state_->mutex);
    const std::size_t bytes = reply.body.size();
    if (state_->stopping || state_->queue_bytes + bytes > state_->options.queue_bytes_max) {
      return false;
    }
    state_->queue_bytes += bytes;
    state_->queue.push_back({.request = request, .reply = std::move(reply), .done = {}});
  }
  state_->wake.notify_one();
  return true;
}

bool ReplyShelf::Ask(const RequestId& request,
                     std::function<void(std::optional<gateway::KeptReply>)> done) {
  {
    const std::lock_guard lock(state_->mutex);
    if (state_->stopping) return false;
    state_->queue.push_back({.request = request, .reply = {}, .done = std::move(done)});
  }
  state_->wake.notify_one();
  return true;
}

void ReplyPort::Keep(const RequestId& request, gateway::KeptReply reply) {
  shelf_.Keep(request, std::move(reply));
}

Task<std::optional<gateway::KeptReply>> ReplyPort::Find(RequestId request) {
  // Shared with the shelf, which may answer after this coroutine is gone with its loop.
  struct Wait {
    Signal answered;
    std::optional<gateway::KeptReply> answer;
  };
  const auto wait = std::make_shared<Wait>();
  const bool asked =
      shelf_.Ask(request, [wait, post = post_](std::optional<gateway::KeptReply> answer) {
        post([wait, answer = std::move(answer)] {
          wait->answer = answer;
          wait->answered.Set();
        });
      });
  if (!asked) co_return std::nullopt;
  co_await wait->answered;
  co_return std::move(wait->answer);
}

}  // namespace weir::server
