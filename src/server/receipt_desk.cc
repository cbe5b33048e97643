#include "server/receipt_desk.h"

#include <pthread.h>

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "identity/key_record.h"
#include "server/receipt.h"

namespace weir::server {
namespace {

using Clock = std::chrono::steady_clock;

std::unexpected<Error> NotThere() {
  return Fail(ErrorCode::kNotFound, ErrorSource::kCaller, "no such request of this key");
}

}  // namespace

struct ReceiptDesk::State {
  struct Waiting {
    Lookup lookup;
    Clock::time_point until;
  };

  State(store::RequestLog& with, store::ReceiptKey signer, Options given)
      : log(with), key(std::move(signer)), options(std::move(given)) {}

  store::RequestLog& log;
  const store::ReceiptKey key;
  const Options options;

  std::mutex mutex;  // everything below
  std::condition_variable wake;
  struct Work {
    KeyId key;
    Job job;
  };

  std::vector<Waiting> queue;
  std::vector<Work> jobs;
  std::size_t waiting = 0;  // in the queue, or in the thread's hands
  std::map<KeyId, std::size_t> per_key;
  bool stopping = false;
  std::mutex stop_mutex;  // one Stop at a time
  std::thread thread;

  void Run();
  bool Answer(Waiting& asked);
  bool MayStillCome(const Waiting& asked) const;
  void Finish(Waiting& asked, Result<std::string> answer);
  bool Enter(const KeyId& asker);
  void Leave(const KeyId& asker);
};

// Both REQUIRE the mutex.
bool ReceiptDesk::State::Enter(const KeyId& asker) {
  if (stopping || waiting >= options.waiting_max) return false;
  const auto known = per_key.find(asker);
  if (known != per_key.end() && known->second >= options.waiting_per_key_max) return false;
  ++per_key[asker];
  ++waiting;
  return true;
}

void ReceiptDesk::State::Leave(const KeyId& asker) {
  --waiting;
  const auto of_key = per_key.find(asker);
  if (--of_key->second == 0) per_key.erase(of_key);
}

void ReceiptDesk::State::Finish(Waiting& asked, Result<std::string> answer) {
  {
    const std::lock_guard lock(mutex);
    Leave(asked.lookup.key->id);
  }
  asked.lookup.done(std::move(answer));
}

// True when it was answered. Another key's request is looked for as long as one that is not there:
// the time it takes tells nothing either.
bool ReceiptDesk::State::Answer(Waiting& asked) {
  const auto found = log.Find(asked.lookup.request);
  if (!found) {
    Finish(asked, std::unexpected(found.error()));
    return true;
  }
  const identity::KeyRecord& owner = *asked.lookup.key;
  if (!*found || (*found)->key != owner.id) return false;
  Finish(asked, MakeReceipt(**found, &owner, *asked.lookup.config, ReceiptView::kOwner, key));
  return true;
}

bool ReceiptDesk::State::MayStillCome(const Waiting& asked) const {
  const auto began_ms = static_cast<std::int64_t>(asked.lookup.request.high >> 16);
  const std::int64_t now_ms = options.wall_now().ns / 1'000'000;
  const std::int64_t recent_ms = options.recent.ns / 1'000'000;
  return began_ms >= now_ms - recent_ms && began_ms <= now_ms + recent_ms &&
         Clock::now() < asked.until;
}

void ReceiptDesk::State::Run() {
  pthread_setname_np(pthread_self(), "weir-receipt");
  std::vector<Waiting> batch;
  std::vector<Waiting> again;
  std::vector<Work> doing;
  std::unique_lock lock(mutex);
  while (true) {
    wake.wait(lock, [&] { return stopping || !queue.empty() || !jobs.empty(); });
    batch.swap(queue);
    doing.swap(jobs);
    const bool last = stopping;
    lock.unlock();
    for (Work& work : doing) {
      work.job(last);
      const std::lock_guard left(mutex);
      Leave(work.key);
    }
    doing.clear();
    if (last) {
      for (Waiting& asked : batch) {
        Finish(asked,
               Fail(ErrorCode::kUnavailable, ErrorSource::kUs, "the gateway is shutting down"));
      }
      return;
    }
    std::erase_if(batch, [&](Waiting& asked) { return Answer(asked); });
    if (!batch.empty()) {
      log.Flush();
      for (Waiting& asked : batch) {
        if (Answer(asked)) continue;
        if (MayStillCome(asked)) {
          again.push_back(std::move(asked));
        } else {
          Finish(asked, NotThere());
        }
      }
    }
    batch.clear();
    lock.lock();
    if (again.empty()) continue;
    wake.wait_for(lock, std::chrono::nanoseconds(options.pace.ns),
                  [&] { return stopping || !jobs.empty(); });
    for (Waiting& asked : again) queue.push_back(std::move(asked));
    again.clear();
  }
}

ReceiptDesk::ReceiptDesk(store::RequestLog& log, store::ReceiptKey key, Options options)
    : state_(std::make_unique<State>(log, std::move(key), std::move(options))) {
  state_->thread = std::thread([state = state_.get()] { state->Run(); });
}

ReceiptDesk::~ReceiptDesk() { Stop(); }

const store::ReceiptKey& ReceiptDesk::key() const { return state_->key; }

void ReceiptDesk::Stop() {
  const std::lock_guard stopping(state_->stop_mutex);
  if (!state_->thread.joinable()) return;
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  state_->wake.notify_one();
  state_->thread.join();
}

bool ReceiptDesk::Ask(Lookup lookup) {
  State& state = *state_;
  {
    const std::lock_guard lock(state.mutex);
    if (!state.Enter(lookup.key->id)) return false;
    state.queue.push_back(
        {.lookup = std::move(lookup),
         .until = Clock::now() + std::chrono::nanoseconds(state.options.patience.ns)});
  }
  state.wake.notify_one();
  return true;
}

bool ReceiptDesk::Run(const KeyId& key, Job job) {
  State& state = *state_;
  {
    const std::lock_guard lock(state.mutex);
    if (!state.Enter(key)) return false;
    state.jobs.push_back({key, std::move(job)});
  }
  state.wake.notify_one();
  return true;
}

Task<Result<std::string>> ReceiptPort::Find(RequestId request,
                                            std::shared_ptr<const identity::KeyRecord> key,
                                            std::shared_ptr<const config::Config> config) {
  // Shared with the desk, which may answer after this coroutine is gone with its loop.
  struct Wait {
    Signal answered;
    Result<std::string> answer;
  };
  const auto wait = std::make_shared<Wait>();
  const bool asked = desk_.Ask({.request = request,
                                .key = std::move(key),
                                .config = std::move(config),
                                .done = [wait, post = post_](Result<std::string> answer) {
                                  post([wait, answer = std::move(answer)] {
                                    wait->answer = answer;
                                    wait->answered.Set();
                                  });
                                }});
  if (!asked) {
    co_return Fail(ErrorCode::kUnavailable, ErrorSource::kUs, "too many receipts are looked up");
  }
  co_await wait->answered;
  co_return std::move(wait->answer);
}

}  // namespace weir::server
