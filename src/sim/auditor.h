// The auditor: joins what callers were handed, what upstreams produced and what is on the disk, and
// says which promise was broken first. Its books are its own (books.h); of the credit machine it
// reads balances only to compare them with those.
//
//   I1 I2        the machine's balances are those of the records, and its book balances
//   I3           settled + held <= budget, of the records and of the budget at the admission; the
//                same for every grant of a wallet, and for every hard counter with its limit
//   I4 I5 I24    resolved once; charged <= hold; charged + overrun = price, at the price and the
//                multiplier of the admission; an extension only adds
//   I6           the end of a reply is handed to a caller after its settlement is on the disk
//   I7           bytes of one attempt at most reach a caller
//   I8           no byte of a reply before its intent is on the disk
//   I10          one charged request at most for an Idempotency-Key, by the records and by what
//                callers sent
//   I9           the number of a counter is its own while something is held of it
//   I17 I18      windows follow each other; a threshold that is crossed is told with the settlement
//                that crossed it, once, and the machine tells what the records say
//   I19          holds take grants in burn order; nothing that is held is taken off a grant
//   I20          every exchange ends, none leaves a hold, and after the faults nothing is held
//   I26          no overrun while the upstreams stay within the bounds that are held for; no more
//                attempts and no more of any unit than is held of hard counters
//   policy       an admission is held on each counter of each policy it meets, by hand, on no
//   other,
//                for what it can use, in the window of the moment and under its limit
//   refusal      a refused admission leaves no trace; nobody is told that a free key is in use, or
//                a policy used up that has room
//   replay       who asks again gets what the first caller got, byte for byte
//   exact        a reply that was whole is charged by what its upstream said
//   told         a caller is told what is booked, of the key and of the wallet
//   unserved     a caller who got an error instead of a reply pays nothing
//   delivered    what a start charges for a call that was cut off was delivered
//   promise      what was said to be durable is there after a crash
//   recovery     repeated after a crash in the middle, it comes to the same accounts (E9)
#pragma once

#include <algorithm>
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
#include "sim/quota_law.h"

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
  std::optional<std::int64_t> told_wallet;
  bool hung_up = false;
  bool settled_gone = false;  // had hung up before its settlement
  bool finished = false;
  bool forgiven = false;  // a power cut took its end, as Durability::kProcess allows
  // What pays, by the configuration of its day; none: the key's budget alone.
  std::optional<gateway::WalletUse> wallet;
  bool adaptive = false;                       // its hold may be smaller than what it may send
  std::vector<std::int64_t> multipliers = {};  // of the models that a policy may move it to
  // What policies look at, and those of its day; none: there is nothing they could be about.
  std::shared_ptr<const config::Config> config;
  Asker asker;
  Instant asked_at;
  std::vector<Due> dues = {};               // the limits it met when it was admitted
  std::int64_t multiplier_ppm = 1'000'000;  // of the model that serves
  // Of a request with an Idempotency-Key.
  std::string idempotency;
  std::string asked;  // path and body
  Instant admitted_at;
  std::string received;              // of its reply, without heartbeats
  std::optional<RequestId> replays;  // it was handed the reply of this one
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
  std::uint64_t grants = 0;
  std::uint64_t extensions = 0;
  std::uint64_t replays = 0;      // replies sent again
  std::uint64_t out_of_hold = 0;  // replies that were cut because nothing paid for more
  std::uint64_t counters = 0;     // of policies, opened
  std::uint64_t windows = 0;      // of them, begun or with another limit
  std::uint64_t quota_lines = 0;  // held
  std::uint64_t alerts = 0;
  std::uint64_t policy_refusals = 0;
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
  // The machine was told the time, and wrote nothing.
  void OnPeek() { seen_ = std::max(seen_, executor_.WallNow()); }
  // What the machine says was crossed, after each command and after a replay.
  void OnAlerts(std::span<const gateway::QuotaAlert> alerts);
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
  void CheckKeyOfAdmission(const gateway::AdmitCommand& command, const gateway::AdmitReply& reply);
  // What windows go by: the latest time the machine has seen in this life, or in the records.
  Instant WindowTime() const { return std::max(books_.recorded(), seen_); }
  void CheckPayer(const CallTruth& call, const Books::Open& open);
  void CompareCounters(const policy::QuotaTable& table);
  // The model that serves, by what policies were told, which must be one that may.
  std::optional<Asker> AskerOf(const CallTruth& call, const gateway::AdmitCommand& command);
  void CheckPolicies(CallTruth& call, const gateway::AdmitCommand& command,
                     const Books::Open& open);
  void CheckCounter(const CallTruth& call, const Due& due, const CounterBooks::Counter& counter,
                    ledger::Sum held);
  void CheckPolicyRefusal(const CallTruth& call, const gateway::AdmitCommand& command,
                          const gateway::AdmitReply& reply);
  void CheckUses(const CallTruth& call, const Books::Closed& closed, bool within_bounds);
  void CheckAlertsOf(const RequestId& request);
  void OnReplayBytes(CallTruth& call, std::string_view bytes, bool end);
  // Whether it was charged, or may yet be.
  bool UsesItsKey(const CallTruth& call) const;

  Executor& executor_;
  const Disk& disk_;
  std::optional<Violation> violation_;
  AuditCounts counts_;
  Books books_;
  std::map<RequestId, std::unique_ptr<CallTruth>> calls_;
  // The calls with one Idempotency-Key that were admitted.
  std::map<std::pair<KeyId, std::string>, std::vector<const CallTruth*>> keyed_;
  Instant latest_asked_;  // with an Idempotency-Key
  Instant seen_;
  std::vector<RequestId> resolved_now_;  // by the command under way
  std::size_t alerts_taken_ = 0;
  // Which counter is which: by policy, values and whose action it is.
  std::map<std::string, Id128> counter_ids_;
  std::map<Id128, std::string> counter_names_;
  std::uint64_t promised_ = 0;
  // Of a recovery that was itself cut off: what every key and grant had paid by it.
  std::optional<std::uint64_t> cut_recovery_at_;
  std::map<Id128, ledger::Sum> cut_recovery_;
};

// How a reply names the attempt it is of: "~NUMBER~" in its id, which nothing else in it contains.
std::string AttemptMark(std::uint32_t attempt);
// Generated text consists of this and of nothing else, and nothing else contains it.
inline constexpr char kTextByte = '#';

}  // namespace weir::sim
