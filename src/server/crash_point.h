// Ends the process, as kill -9 would, at a named point in the life of a request: how the crash
// harness (test/crash) reaches what a random kill hits once in a thousand times. Behind the hidden
// option `--crash-at NAME[:N]` of `weir serve`; who does not give it runs none of this code.
//
// Nothing on the path looks whether a point is reached: the ports and the journal are wrapped by
// others that do, and only when a plan is given. The wrappers add no rule and change no value.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "gateway/ports.h"
#include "net/http_server.h"
#include "store/journal.h"

namespace weir::server {

// In the order in which a request meets them. "On disk" is what the journal calls durable.
enum class CrashAt : std::uint8_t {
  kIntentCommit,   // intent_commit: a batch with an intent is about to be appended
  kIntentDurable,  // intent_durable: an intent is on disk, nothing was sent upstream
  kDispatched,    // dispatched: the upstream answers, the intent is on disk, the caller has nothing
  kCheckpoint,    // checkpoint: a batch with a checkpoint is on disk
  kExtended,      // extended: a batch with an extension of a hold is on disk, the stream goes on
  kUsageRead,     // usage_read: what a call used is known and not yet handed to the ledger
  kSettleCommit,  // settle_commit: a batch with a settlement is about to be appended
  kCommitted,     // committed: a batch with a settlement is on disk, nobody was told
  kUnkept,     // unkept: the settlement of a request with an Idempotency-Key is on disk, its reply
               // is not kept for whoever asks again
  kSettled,    // settled: the settlement is on disk, the end of the reply has not been sent
  kFinalByte,  // final_byte: the end of the reply was handed to the caller's connection
  kRecovery,   // recovery: what a crash left open is about to be resolved on disk
  kRecovered,  // recovered: it is resolved on disk, nothing is listened on yet
};

// The nth time that the point is reached, from 1.
struct CrashPlan {
  CrashAt at = CrashAt::kIntentCommit;
  std::int64_t nth = 1;
};

// "settled" or "checkpoint:3"; none when it is neither.
std::optional<CrashPlan> ParseCrashPlan(std::string_view text);

// Any thread.
class CrashPoint {
 public:
  explicit CrashPoint(CrashPlan plan) : plan_(plan), left_(plan.nth) {}
  // Does not return when this was the planned time.
  void Reached(CrashAt at);
  bool wants(CrashAt at) const { return plan_.at == at; }

 private:
  CrashPlan plan_;
  std::atomic<std::int64_t> left_;
};

std::unique_ptr<store::Journal> WithCrashPoint(std::unique_ptr<store::Journal> journal,
                                               std::shared_ptr<CrashPoint> point);

// The ports of one worker, wrapped. What is wrapped must outlive it; used on the worker's thread.
class CrashPorts {
 public:
  CrashPorts(std::shared_ptr<CrashPoint> point, gateway::Upstreams& upstreams,
             gateway::Credit& credit);
  ~CrashPorts();
  gateway::Upstreams& upstreams();
  gateway::Credit& credit();
  // At most once.
  net::HttpHandler& Wrap(net::HttpHandler& handler);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace weir::server
