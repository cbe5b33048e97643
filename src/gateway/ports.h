// The ports of the path: all that the coroutines of gateway/ know of callers, upstreams and the
// ledger. net/ implements them over sockets, sim/ over a simulated network; the path cannot tell.
//
// Everything here is used on one thread, the worker that owns the connection, except where Credit
// says otherwise.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/runtime.h"
#include "base/task.h"
#include "base/time.h"
#include "config/config.h"
#include "gateway/credit_command.h"
#include "gateway/wallets.h"
#include "routing/acquire.h"

namespace weir::identity {
struct KeyRecord;
}  // namespace weir::identity

namespace weir::gateway {

struct HeaderView {
  std::string_view name;  // as sent; compare with EqualsIgnoreCase
  std::string_view value;
};

bool EqualsIgnoreCase(std::string_view a, std::string_view b);

// The head of a request, already strict: every byte was checked by net/http1.
struct RequestHead {
  std::string_view method;
  std::string_view path;   // before '?'
  std::string_view query;  // after '?', or empty
  std::vector<HeaderView> headers;

  // The value of the first header of that name, or empty. Names in lower case.
  std::string_view Find(std::string_view lower_name) const;
};

// Why a call must stop although nothing is wrong with it.
enum class Interruption : std::uint8_t { kNone, kCallerGone, kDrain };

// Tells whoever is waiting for an upstream that the exchange must end. The waiting adapter hooks
// itself in; a hang-up or a drain fires it, at most once.
class Interrupt {
 public:
  class Hook {
   public:
    virtual void OnInterrupt() = 0;

   protected:
    ~Hook() = default;
  };

  Interruption why() const { return why_; }
  // A caller who hangs up does not end the call: the upstream may finish.
  void IgnoreCaller() { ignores_caller_ = true; }
  void SetHook(Hook* hook) { hook_ = hook; }
  void Fire(Interruption why) {
    if (why_ != Interruption::kNone) return;
    if (why == Interruption::kCallerGone && ignores_caller_) return;
    why_ = why;
    if (hook_ != nullptr) hook_->OnInterrupt();
  }

 private:
  Interruption why_ = Interruption::kNone;
  Hook* hook_ = nullptr;
  bool ignores_caller_ = false;
};

// The head of a reply to the caller. `headers` are finished lines, "name: value\r\n" each, without
// the framing headers, which the adapter owns.
struct ReplyHead {
  int status = 200;
  std::string_view content_type = "application/json";
  std::string headers;
  bool close = false;  // the connection cannot be used again
};

// The caller's side of one exchange. Every Send returns false when the caller is gone; then nothing
// more needs to be sent.
class Downstream {
 public:
  virtual ~Downstream() = default;
  // The whole request body, followed by at least 64 readable bytes (simdjson reads past the end).
  // Fails with kTooLarge, kTimeout, kBadInput (framing) or kConnectionLost.
  virtual Task<Result<std::string_view>> ReadBody(std::int64_t bytes_max) = 0;
  // A whole reply in one write.
  virtual Task<bool> Reply(ReplyHead head, std::string_view body) = 0;
  // A reply whose length is not known: Start, Send*, then End or Cut. Start itself writes nothing;
  // the head leaves with the first Send or End.
  virtual void Start(ReplyHead head) = 0;
  virtual Task<bool> Send(std::string_view bytes) = 0;
  virtual Task<bool> End(std::string_view last_bytes) = 0;
  // Ends the connection without the end of the message, so that a cut is never taken for success.
  virtual void Cut() = 0;
  // True once a byte of the reply was handed to the caller's connection.
  virtual bool started() const = 0;
  // From now on the caller's connection is watched, and `interrupt` fired when it ends.
  virtual void WatchHangUp(Interrupt& interrupt) = 0;
};

struct UpstreamRequest {
  const config::Upstream* upstream = nullptr;
  const config::Account* account = nullptr;
  std::string_view method = "POST";
  std::string target;                      // path and query at the upstream
  std::string headers;                     // finished lines without host, framing and connection
  std::span<const std::string_view> body;  // sent in order, without copying
  Tick deadline = kNoDeadline;             // of the whole call
};

// The upstream's side of one attempt, from its head on. Destroying it before the end of the body
// closes the connection; after the end the connection goes back to its pool.
class UpstreamReply {
 public:
  virtual ~UpstreamReply() = default;
  virtual int status() const = 0;
  virtual std::string_view Find(std::string_view lower_name) const = 0;
  virtual const std::vector<HeaderView>& headers() const = 0;
  // The next bytes of the body, valid until the next Read; empty at its end. `wait` bounds this
  // read alone. Fails with kTimeout, kConnectionLost, kBadInput (framing), kInterrupted.
  virtual Task<Result<std::string_view>> Read(Duration wait) = 0;
};

class Upstreams {
 public:
  virtual ~Upstreams() = default;
  // Sends a request and waits for the head of the reply. Fails with kConnectFailed, kTimeout,
  // kConnectionLost, kBadInput (a reply that is not HTTP), kInterrupted.
  virtual Task<Result<std::unique_ptr<UpstreamReply>>> Send(UpstreamRequest request,
                                                            Interrupt& interrupt) = 0;
};

// Limits, budgets and the journal: the one place where workers meet. Admit and Settle enter the
// deterministic credit machine under its lock and return at once; Durable waits for the disk.
class Credit {
 public:
  virtual ~Credit() = default;
  virtual AdmitReply Admit(const AdmitCommand& command) = 0;
  // The limits of a key as they stand; takes nothing.
  virtual RateViews Peek(const KeyId& key, const config::KeyLimits& limits) = 0;
  virtual SettleReply Settle(const SettleCommand& command) = 0;
  // What an open stream has delivered so far; rides along with the next commit, never awaited.
  virtual void Checkpoint(const CheckpointCommand& command) = 0;
  // More output for an open stream, or a refusal that has had no effect.
  virtual ExtendReply Extend(const ExtendCommand& command) = 0;
  // Gives a wallet something; wait for the position before telling anybody.
  virtual GrantReply Give(const ledger::GrantRecord& grant) = 0;
  // None: nothing was ever given to it.
  virtual std::optional<WalletView> Wallet(const WalletId& id) = 0;
  // None: the key never made a request.
  virtual std::optional<KeyStanding> Standing(const KeyId& key) = 0;
  // How the counters of these uses stand.
  virtual std::vector<QuotaStanding> Quotas(std::span<const policy::QuotaUse> uses) {
    static_cast<void>(uses);
    return {};
  }
  // True when everything up to `position` is on disk; false when it cannot be written.
  virtual Task<bool> Durable(JournalPosition position) = 0;
};

// The operator's accounts: which one serves the next attempt, now or after a wait.
class Accounts {
 public:
  virtual ~Accounts() = default;
  // A lease or a refusal; waits in the queue in between, for as long as `interrupt` lets it. After
  // an interrupt the reply is a refusal without a reason.
  virtual Task<routing::AcquireReply> Acquire(routing::AcquireCommand command,
                                              Interrupt& interrupt) = 0;
  virtual void NoteAlive(const routing::Lease& lease, Duration first_content) = 0;
  virtual void Release(const routing::Lease& lease, const routing::Report& report) = 0;
  // How full a package's first pool is, in 1/1000; 0 when it has no limit.
  virtual std::int64_t Pressure(std::uint32_t package) = 0;
};

// What is kept of requests that ended, for the keys that made them.
class Receipts {
 public:
  virtual ~Receipts() = default;
  // The signed receipt of a request of `key`: a JSON document. Sees a request as soon as its caller
  // has its reply.   fails  kNotFound (there is none, or it is another key's), kUnavailable
  virtual Task<Result<std::string>> Find(RequestId request,
                                         std::shared_ptr<const identity::KeyRecord> key,
                                         std::shared_ptr<const config::Config> config) = 0;
};

// A reply that is kept to be sent again to whoever asks with the same Idempotency-Key.
struct KeptReply {
  int status = 200;
  bool stream = false;
  std::string content_type;
  std::string body;
};

class Replies {
 public:
  virtual ~Replies() = default;
  // Returns at once; a reply that cannot be kept is as if there had been none.
  virtual void Keep(const RequestId& request, KeptReply reply) = 0;
  // Sees what was kept before, of any worker.
  virtual Task<std::optional<KeptReply>> Find(RequestId request) = 0;
};

// What redeeming a code came to.
enum class RedeemStatus : std::uint8_t {
  kGiven,        // now or before, to the same wallet; on disk
  kNotValid,     // there is none, or it is revoked, or too late
  kTaken,        // another wallet had it
  kOtherUnit,    // it is for wallets of another unit
  kTooMany,      // codes of this key that were not valid
  kUnavailable,  // cannot be looked up, or not be written, now
};
struct RedeemReply {
  RedeemStatus status = RedeemStatus::kUnavailable;
  Duration retry_after;       // with kTooMany
  ledger::GrantRecord grant;  // with kGiven
};

// Whose wallet is asked about.
struct WalletAsker {
  std::shared_ptr<const identity::KeyRecord> key;
  std::optional<WalletId> wallet;  // none: the key has a budget at most
  ledger::Unit unit = ledger::Unit::kQuotaToken;
};

// What owners of keys ask of their wallets that needs a disk, and so another thread.
class WalletDesk {
 public:
  virtual ~WalletDesk() = default;
  // REQUIRES a wallet.
  //   code  as somebody typed it
  virtual Task<RedeemReply> Redeem(WalletAsker asker, std::string code) = 0;
  // A page of what came in and what was charged, newest first: a JSON document.
  //   limit   1..kStatementMax
  //   before  empty, or the next_before of the page before
  //   fails   kBadInput (before), kUnavailable
  virtual Task<Result<std::string>> Statement(WalletAsker asker, std::int64_t limit,
                                              std::string before) = 0;
};
inline constexpr std::int64_t kStatementMax = 100;

// What the owner of a key asks for: more of a policy for a while.
struct ApprovalWish {
  std::shared_ptr<const identity::KeyRecord> key;
  std::string policy;   // one that its requests can meet
  std::string counter;  // of the policy: the one of these requests
  std::int64_t amount = 0;
  Duration duration;
  std::string reason;
};
enum class ApprovalStatus : std::uint8_t {
  kDone,
  kRefused,      // `message` says why, of `param`
  kNotFound,     // none of that id is of this key
  kUnavailable,  // it cannot be written or looked up now
};
struct ApprovalReply {
  ApprovalStatus status = ApprovalStatus::kUnavailable;
  std::string body;  // with kDone: the approval, a JSON document
  std::string param;
  std::string message;
};

// Approvals need a disk, and so another thread.
class ApprovalDesk {
 public:
  virtual ~ApprovalDesk() = default;
  virtual Task<ApprovalReply> Ask(ApprovalWish wish) = 0;
  virtual Task<ApprovalReply> Find(std::shared_ptr<const identity::KeyRecord> key,
                                   std::string id) = 0;
};

// Whose action of a user is asked about.
struct ActionAsker {
  std::shared_ptr<const identity::KeyRecord> key;
  std::string scope;   // whose action: policy::Facts::action_scope
  std::string action;  // what its callers call it
};

// What came of an action, as whoever used its result says.
struct ActionOutcome {
  bool accepted = false;
  std::string note;  // empty: none
};

// What is kept of actions that needs a disk, and so another thread.
class Actions {
 public:
  virtual ~Actions() = default;
  // The requests of the action, what they came to and its outcome: a JSON document.
  //   fails  kNotFound (no request of the scope was part of it), kUnavailable
  virtual Task<Result<std::string>> Find(ActionAsker asker) = 0;
  // Notes the outcome; the last one counts, told again it changes nothing. On disk when it returns
  // the same document.
  virtual Task<Result<std::string>> Tell(ActionAsker asker, ActionOutcome outcome) = 0;
};
inline constexpr std::size_t kOutcomeNoteMax = 1024;  // bytes of UTF-8

struct Ports {
  Downstream& downstream;
  Upstreams& upstreams;
  Credit& credit;
  Accounts& accounts;
  Receipts* receipts = nullptr;       // none: every request is unknown
  Replies* replies = nullptr;         // none: no reply is kept
  WalletDesk* wallets = nullptr;      // none: no code is valid, and there is no statement
  ApprovalDesk* approvals = nullptr;  // none: nothing can be asked for
  Actions* actions = nullptr;         // none: every action is unknown
};

}  // namespace weir::gateway
