// The auditor: joins what callers were handed, what upstreams produced and what is on the disk, and
// says which promise was broken first. Its books are its own (books.h); of the credit machine it
// reads balances only to compare them with those.
//
//   I1 I2        the machine's balances are those of the records, and its book balances
//   I3           settled + held <= budget, of the records and of the budget at the admission
//   I4 I5 I24    resolved once; charged <= hold; charged + overrun = price at the price of
//   admission I6           the end of a reply is handed to a caller after its settlement is on the
//   disk I7           bytes of one attempt at most reach a caller I8           no byte of a reply
//   before its intent is on the disk I20          every exchange ends, none leaves a hold, and
//   after the faults nothing is held I26          no overrun while the upstreams stay within the
//   bounds they were given refusal      a refused admission leaves no trace exact        a reply
//   that was whole is charged by what its upstream said unserved     a caller who got an error
//   instead of a reply pays nothing delivered    what a start charges for a call that was cut off
//   was delivered promise      what was said to be durable is there after a crash recovery repeated
//   after a crash in the middle, it comes to the same accounts (E9)
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/credit_control.h"
#include "gateway/exchange.h"
#include "sim/books.h"
#include "sim/disk.h"
#include "sim/executor.h"

namespace weir::sim {

struct Violation {
  std::string rule;
  std::string detail;
  Tick at;
  friend bool operator==(const Violation&, const Violation&) = default;
};

// One attempt at an upstream, as the upstream knows it.
struct AttemptTruth {
  bool told_lies = false;       // usage that is not so, or more than the bound
  bool garbled = false;         // its text is not what kTextByte counts
  bool whole = false;           // the gateway took all of it
  std::optional<Usage> usage;   // as it was told; none: it was not
  std::int64_t text_bytes = 0;  // generated text that the gateway took
};

// One request of a caller.
struct CallTruth {
  std::uint32_t number = 0;
  RequestId id;
  KeyId key;
  config::KeyLimits limits;
  std::vector<AttemptTruth> attempts;
  // What was handed to the caller.
  int status = 0;
  std::int64_t text_bytes = 0;
  std::optional<std::uint32_t> attempt;  // whose bytes they were
  bool got_reply = false;                // any of it with status 2xx
  bool got_end = false;                  // the end of a reply with status 2xx
  std::optional<NanoUsd> told_charge;
  bool hung_up = false;
  bool settled_gone = false;  // had hung up before its settlement
  bool finished = false;
  bool forgiven = false;  // a power cut took its end, as Durability::kProcess allows
  // Of the records.
  std::uint64_t intent = 0;
  std::uint64_t settlement = 0;
};

struct AuditCounts {
  std::uint64_t requests = 0;
  std::uint64_t admitted = 0;
  std::uint64_t refused = 0;
  std::uint64_t attempts = 0;
  std::uint64_t served = 0;
  std::uint64_t settled = 0;
  std::uint64_t voided = 0;
  std::uint64_t recovered = 0;  // resolved by a start
  std::uint64_t overruns = 0;
  std::uint64_t records = 0;
  std::uint64_t restarts = 0;
  std::uint64_t lost_records = 0;
};

class Auditor {
 public:
  Auditor(Executor& executor, const Disk& disk) : executor_(executor), disk_(disk) {}

  const std::optional<Violation>& violation() const { return violation_; }
  const AuditCounts& counts() const { return counts_; }
  void Report(std::string_view rule, std::string detail);

  // Callers. A call is known from its start to the end of the run.
  CallTruth& OnCall(const RequestId& id, const KeyId& key, const config::KeyLimits& limits);
  void OnHandOver(CallTruth& call, std::string_view bytes, bool end);
  void OnFinished(CallTruth& call, const gateway::Exchange& x);

  // Upstreams. The number of the attempt is in the text that AttemptMark gives.
  std::uint32_t OnAttempt(CallTruth& call);

  // The credit machine; `records` is what the command appended.
  void OnAdmit(const gateway::AdmitCommand& command, const gateway::AdmitReply& reply,
               std::span<const std::uint8_t> records, const gateway::CreditControl& machine);
  void OnCommand(std::span<const std::uint8_t> records, const gateway::CreditControl& machine);
  // Somebody was told that everything up to here is on the disk.
  void OnDurable(std::uint64_t position);

  // A start after a crash. `lost`: records that a power cut took where it may.
  void OnRestart(bool power_cut_may_lose, std::uint64_t lost, bool repeated);
  void OnReplayed(const gateway::CreditControl& machine);
  void OnResolved(std::span<const std::uint8_t> records, const gateway::CreditControl& machine);

  // The run is over and the faults are, too.
  void OnQuiet(const gateway::CreditControl& machine);

 private:
  void Add(std::span<const std::uint8_t> records);
  void Compare(const gateway::CreditControl& machine);

  Executor& executor_;
  const Disk& disk_;
  std::optional<Violation> violation_;
  AuditCounts counts_;
  Books books_;
  std::map<RequestId, std::unique_ptr<CallTruth>> calls_;
  std::uint64_t promised_ = 0;
  // Of a recovery that was itself cut off: what every key had paid by it.
  std::optional<std::uint64_t> cut_recovery_at_;
  std::map<KeyId, ledger::Sum> cut_recovery_;
};

// How a reply names the attempt it is of: "~NUMBER~" in its id, which nothing else in it contains.
std::string AttemptMark(std::uint32_t attempt);
// Generated text consists of this and of nothing else, and nothing else contains it.
inline constexpr char kTextByte = '#';

}  // namespace weir::sim
