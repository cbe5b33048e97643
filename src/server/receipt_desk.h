// Looks up receipts for workers, which must not wait for a disk: one thread for the process, one
// ReceiptPort for each worker. What else a caller may ask that needs a disk runs there too
// (server/wallet_desk).
//
//   worker   Find() -> lock { queue } -> sleeps
//   weir-receipt   takes the queue; reads the request log; what is not there yet is looked for
//   again
//                  behind a flush of the log, until `patience` has passed -> posts the answer to
//                  the worker's loop
//
// A receipt asked for right after the reply is found: its row is at most still in the log's queue,
// or about to be handed to it by a worker that is done with the caller.
//
// Bounds: lookups that wait, of the node and of a key; beyond them Find fails at once. So nobody
// who asks for receipts holds up the log, which is flushed once for all that wait, at most every
// `pace`.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include "base/result.h"
#include "base/task.h"
#include "base/time.h"
#include "gateway/ports.h"
#include "store/receipt_key.h"
#include "store/request_log.h"

namespace weir::server {

class ReceiptDesk {
 public:
  struct Options {
    std::size_t waiting_max = 512;
    std::size_t waiting_per_key_max = 8;
    Duration patience = Seconds(1);
    Duration pace = Milliseconds(20);
    // Only a request that began this recently can still be on its way into the log.
    Duration recent = Minutes(35);
    std::function<Instant()> wall_now;
  };

  // `log` outlives the desk.
  ReceiptDesk(store::RequestLog& log, store::ReceiptKey key, Options options);
  ~ReceiptDesk();
  ReceiptDesk(const ReceiptDesk&) = delete;
  ReceiptDesk& operator=(const ReceiptDesk&) = delete;

  const store::ReceiptKey& key() const;
  // Any thread. Every lookup that waits fails, and so does every later one. Call it while the loops
  // of the ports still run what is posted to them.
  void Stop();

  struct Lookup {
    RequestId request;
    std::shared_ptr<const identity::KeyRecord> key;
    std::shared_ptr<const config::Config> config;
    // Called once, on the desk's thread or the caller's; must not block.
    std::function<void(Result<std::string>)> done;
  };
  // Any thread. False when too many wait: `done` is then not called.
  bool Ask(Lookup lookup);

  // Runs something on the desk's thread, before the lookups that wait, within the same bounds. It
  // is told whether the desk stops: then it must do no more than say so to whoever waits.
  //   returns  false when too many wait: `job` is then not called
  using Job = std::function<void(bool stopping)>;
  bool Run(const KeyId& key, Job job);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Receipts as one worker sees them. Used on the worker's thread; it must not die while a Find() of
// it waits.
class ReceiptPort final : public gateway::Receipts {
 public:
  // `post` brings a function to the worker's thread, from any thread.
  using Post = std::function<void(std::function<void()>)>;
  ReceiptPort(ReceiptDesk& desk, Post post) : desk_(desk), post_(std::move(post)) {}

  Task<Result<std::string>> Find(RequestId request, std::shared_ptr<const identity::KeyRecord> key,
                                 std::shared_ptr<const config::Config> config) override;

 private:
  ReceiptDesk& desk_;
  Post post_;
};

}  // namespace weir::server
