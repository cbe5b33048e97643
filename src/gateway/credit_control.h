// Credit control: the one deterministic machine that says whether a request may run and what it
// is charged. Owns the limits of every key, the book and the open requests.
//
//                 Admit refused: no trace
//   (unknown) --Admit--> OPEN --Checkpoint--> OPEN --Settle--> (forgotten; booked for ever)
//                          \--crash, ResolveOpen--> settled at the last checkpoint, or voided
//
// What it is not: it reads no clock, takes no lock, writes no file. Its owner (server/credit_host,
// or the simulator) calls it from one thread at a time with a `now` that it read under the same
// lock, and makes the records it appends durable in the order in which they were appended.
//
// Invariants:
//   1. For every key with a budget: settled + held <= budget, at every instant (the book's I3). A
//      budget lowered below that is kept at what is committed until requests settle.
//   2. charged <= held, and charged + overrun = price of the usage at the price of the admission.
//   3. An admission that is refused changes no limit and no account and appends no record.
//   4. The records, replayed from the first, rebuild every account; the rates start anew.
//   5. Position n is the n-th record ever appended, counted from 1 across restarts.
//   7. For every counter of a hard policy: settled + held <= its limit, whenever something is held.
//   6. A request that a wallet pays for holds of its grants what it can cost there, beside the
//      key's budget; both holds are made or neither, and resolved together.
//
// A key without a budget has an account like any other, without the rule: its usage is seen, and
// a budget set later counts what was spent before it (a budget is for the life of the key).
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "gateway/credit_command.h"
#include "gateway/idempotency.h"
#include "gateway/wallets.h"
#include "ledger/book.h"
#include "ledger/id_table.h"
#include "ledger/record.h"
#include "policy/limiter.h"
#include "policy/quota_table.h"

namespace weir::gateway {

struct CheckpointReply {
  JournalPosition position;
};

using CreditCommand = std::variant<AdmitCommand, SettleCommand, CheckpointCommand, ExtendCommand>;
using CreditReply = std::variant<AdmitReply, SettleReply, CheckpointReply, ExtendReply>;

// Of all keys, each call once: at its price in dollars, as its key's account has it. A wallet pays
// beside that account and not in its place, so what wallets paid and hold is not added (a call of a
// dollar wallet would count twice); ViewWallet has it.
struct CreditTotals {
  NanoUsd charged;  // ever
  NanoUsd overrun;  // what calls cost above their holds, ever
  NanoUsd held;     // now
  std::size_t requests_open = 0;
  std::size_t keys = 0;
  // What expired unused of grants, ever, by unit.
  std::array<ledger::Amount, ledger::kUnitMax + 1> breakage{};
};

// What ResolveOpen did.
struct Resolution {
  std::size_t settled = 0;  // at their last checkpoint
  std::size_t voided = 0;   // nothing was delivered that we know of
  NanoUsd charged;
  NanoUsd overrun;
  NanoUsd released;
};

class CreditControl {
 public:
  struct Options {
    std::size_t keys_expected = 0;  // sizes the tables once; more keys than that only grow them
  };

  CreditControl() : CreditControl(Options{}) {}
  explicit CreditControl(Options options);

  // Reserves the most a request can cost and takes its place in the limits, all or none.
  //   returns  the admission, or the first refusal in this order: idempotency key, requests at
  //            once, requests per minute, tokens per minute, policies on what does not shrink with
  //            the answer, budget and wallet, the other policies. Views of the limits are filled
  //            either way. With reply.replay nothing was admitted.
  //   wallet   kInsufficientBalance when it, and not the budget, has too little for the request.
  //   budget   the whole bound, else the output clamped per choice to what fits (never below
  //            quote.output_tokens_useful), else
  //              kInFlightReserved      it would fit if nothing were in flight: later, then
  //              kRequestExceedsBudget  it does not fit beside what was spent, but with
  //                                     output_tokens_fitting > 0 as its maximum it would; or it is
  //                                     larger than the whole budget
  //              kBudgetExceeded        what was spent leaves nothing for even one token of it
  //   CHECKs   that the request is not open already: ids are ours.
  //   cost     O(1), allocates only when a table grows.
  //   source   TigerBeetle two-phase transfers; RFC 8506.
  AdmitReply Admit(const AdmitCommand& command, Instant now, ledger::RecordBuffer& records);

  // The per-minute limits of a key as they stand; changes nothing.
  RateViews Peek(const KeyId& key, const config::KeyLimits& limits, Instant now);

  // Resolves an open request: charges min(price, held), books the rest to the operator, corrects
  // the tokens per minute, gives its place back. CHECKs that the request is open: an admission is a
  // ticket that is settled once, and settling an unknown one would mean we lost track of money.
  SettleReply Settle(const SettleCommand& command, Instant now, ledger::RecordBuffer& records);

  // Holds more for an open request, all or nothing: what was refused has had no effect.
  ExtendReply Extend(const ExtendCommand& command, Instant now, ledger::RecordBuffer& records);

  // `grant.time` is set to now.
  GrantReply Give(ledger::GrantRecord grant, Instant now, ledger::RecordBuffer& records);
  // Takes back what no request holds of a grant, and the rest when requests give it back.
  RevokeReply Revoke(const GrantId& grant, Instant now, ledger::RecordBuffer& records);
  // Takes what has expired off the grants of every wallet.
  JournalPosition Sweep(Instant now, ledger::RecordBuffer& records);

  // Notes what an open request has delivered. Counts never go down: a lower one is ignored.
  CheckpointReply Checkpoint(const CheckpointCommand& command, Instant now,
                             ledger::RecordBuffer& records);

  // Commands of requests as one, for replays and the simulator.
  CreditReply Step(const CreditCommand& command, Instant now, ledger::RecordBuffer& records);

  // Applies one record of the journal, in order. The sentence says why a journal is not one that
  // this machine wrote; the start must then stop. Only before the first command.
  std::optional<std::string> Replay(const ledger::Record& record);

  // Ends a replay: requests that were open at the crash are settled at their last checkpoint or
  // voided, oldest first, by records appended like any other. Killed half way and repeated, it
  // comes to the same accounts, since what is resolved is no longer open.
  Resolution ResolveOpen(Instant now, ledger::RecordBuffer& records);

  // Nothing for a key that was never admitted.
  std::optional<KeyStanding> Standing(const KeyId& key) const;
  CreditTotals Totals() const;  // visits every key
  std::size_t requests_open() const { return open_.size(); }
  std::optional<WalletView> ViewWallet(const WalletId& id, Instant now) const;
  const Wallets& wallets() const { return wallets_; }
  const policy::QuotaTable& quotas() const { return quotas_; }
  // The counter of this number; none if it stands for none.
  std::optional<policy::CounterView> ViewQuota(std::uint32_t number) const;
  // How the counters of these uses stand, for whoever asks and holds nothing.
  std::vector<QuotaStanding> LookQuotas(std::span<const policy::QuotaUse> uses, Instant now) const;
  // When a counter that stands so will have `amount` available.
  Instant QuotaAvailableAt(const policy::Standing& standing, std::int64_t amount,
                           Instant now) const {
    return quotas_.AvailableAt(standing, amount, WindowTime(now));
  }
  // What requests of the key at that price usually answer.
  std::int64_t UsualOutputOf(const KeyId& key, config::PriceId price) const;
  // What was crossed since this was called last, in the order of the records. After a replay, what
  // the journal has.
  std::vector<QuotaAlert> TakeAlerts() { return std::exchange(alerts_, {}); }
  JournalPosition last_position() const { return position_; }
  const ledger::Book& book() const { return book_; }

 private:
  // The last outputs of a key's calls at one price, for kAdaptive.
  struct RecentOutputs {
    static constexpr std::size_t kKept = 20;
    config::PriceId price;
    std::array<std::int64_t, kKept> outputs{};
    std::size_t count = 0;
  };
  struct KeyState {
    KeyId id;
    ledger::AccountIndex account;
    std::uint32_t fund_legs = 0;   // funding transfers so far: the next one's id
    std::int32_t open = 0;         // requests at once
    std::int64_t funded_nano = 0;  // deposits minus withdrawals = the budget when last applied
    policy::Rate requests;
    policy::Rate tokens;
    std::vector<RecentOutputs> recent;
  };
  // A pending transfer of a request behind its first, which is `held` of the key.
  struct Leg {
    bool of_wallet = false;
    ledger::AccountIndex account;
    ledger::Amount amount;
  };
  struct OpenRequest {
    std::uint32_t key = 0;
    std::int64_t tokens_taken = -1;  // -1: no tokens-per-minute limit at admission
    NanoUsd first_held;
    NanoUsd held;  // with extensions
    JournalPosition position;
    config::PriceId price;
    policy::TokenBounds bounds;  // what the holds cover
    Usage delivered;             // of the last checkpoint; source kNone: none yet
    std::vector<Leg> legs;
    std::optional<WalletUse> wallet;
    ledger::Amount wallet_held;
    std::optional<Id128> idempotency;
    std::vector<policy::QuotaLeg> quotas;
    bool quotas_repeat =
        false;  // a counter has several lines: its window ended and it was extended
    std::int64_t multiplier_ppm = 1'000'000;
    // Of kAdaptive, for extensions: what the exchange, which outlives them, asked by.
    std::span<const policy::QuotaUse> uses;
    const policy::Facts* facts = nullptr;
  };
  struct Grant;
  struct KnownPrice {
    config::Price price;
    bool written = false;  // a record has it
  };

  std::uint32_t IndexOf(const KeyId& id);
  Tick Advance(Instant now);
  // Windows run on a clock that is never set back: one that has ended is never opened again.
  Instant WindowTime(Instant now) const { return std::max(now, wall_high_); }
  Grant Fit(const KeyState& key, const AdmitCommand& command, const policy::Ask& ask,
            Instant now) const;
  policy::Ask AskOf(const KeyState& key, const AdmitCommand& command, config::PriceId price) const;
  void NoteQuota(const AdmitCommand& command, std::size_t use, std::int64_t amount, Instant now,
                 AdmitReply& reply) const;
  // Opens and turns the counters of the uses, so that something can be held of each.
  void OpenCounters(std::span<const policy::QuotaUse> uses,
                    std::span<const policy::Standing> standings, const policy::Facts& facts,
                    Instant now, ledger::RecordBuffer& records);
  void HoldQuotas(const AdmitCommand& command, const policy::Ask& ask, const Grant& grant,
                  Instant now, ledger::IntentRecord& intent, OpenRequest& open, AdmitReply& reply,
                  ledger::RecordBuffer& records);
  // False, and no effect, when policies have no room for it.
  bool ExtendQuotas(OpenRequest& request, const policy::TokenBounds& bounds, Instant now,
                    ledger::ExtendRecord& record, ledger::RecordBuffer& records);
  // Both false, and no effect, when the counter is unknown or has no room for it.
  bool AddQuotaLine(OpenRequest& request, const ledger::QuotaLine& line, Instant at);
  bool AddToQuotaLine(OpenRequest& request, const ledger::QuotaLine& line, Instant at);
  std::vector<ledger::Amount> UsedOfQuotas(const OpenRequest& request, const policy::Spent& spent,
                                           std::uint64_t providers) const;
  // False when the figures are not those of the request's lines.
  bool ResolveQuotas(const RequestId& id, std::span<const ledger::Amount> used);
  void TellCrossed(std::span<const policy::QuotaLeg> legs, Instant now,
                   ledger::RecordBuffer& records);
  std::int64_t UsualOutput(const KeyState& key, config::PriceId price) const;
  void NoteOutput(KeyState& key, config::PriceId price, std::int64_t output_tokens);
  config::PriceId Know(const Quote& quote, Instant now, ledger::RecordBuffer& records);
  const config::Price& PriceOf(const OpenRequest& request) const;
  // The hold of an admission or an extension, as a record has it.
  ledger::WalletHold LinesOf(const WalletUse& use, ledger::Amount amount, Instant now) const;
  ledger::TransferStatus AddLeg(const RequestId& id, OpenRequest& request, const Leg& leg);
  ledger::TransferStatus AddWalletLegs(const RequestId& id, OpenRequest& request,
                                       const ledger::WalletHold& hold);
  void EndGrants(const WalletId& id, Instant now, ledger::RecordBuffer& records);
  void ApplyBudget(KeyState& key, const std::optional<NanoUsd>& budget, Instant now,
                   ledger::RecordBuffer& records);
  void Fund(KeyState& key, NanoUsd amount, bool capped);
  // Both book the resolution of an open request, or say why it cannot be booked (only a replay of a
  // journal that is not ours meets that).
  ledger::TransferStatus Post(const RequestId& id, NanoUsd charged, NanoUsd overrun,
                              const std::optional<ledger::WalletCharge>& wallet);
  ledger::TransferStatus Void(const RequestId& id);
  void Forget(const RequestId& id, bool keep_reply);
  SettleReply Close(const SettleCommand& command, ledger::ResolveCause cause, Instant now,
                    ledger::RecordBuffer& records);
  std::optional<std::string> Apply(const ledger::ExtendRecord& record, OpenRequest& request,
                                   Instant at);
  std::optional<std::string> Replay(const ledger::IntentRecord& record);
  std::optional<std::string> Replay(const ledger::CheckpointRecord& record);
  std::optional<std::string> Replay(const ledger::SettleRecord& record);
  std::optional<std::string> Replay(const ledger::VoidRecord& record);
  std::optional<std::string> Replay(const ledger::FundRecord& record);
  std::optional<std::string> Replay(const ledger::PriceRecord& record);
  std::optional<std::string> Replay(const ledger::GrantRecord& record);
  std::optional<std::string> Replay(const ledger::GrantEndRecord& record);
  std::optional<std::string> Replay(const ledger::ExtendRecord& record);
  std::optional<std::string> Replay(const ledger::CounterRecord& record);
  std::optional<std::string> Replay(const ledger::WindowRecord& record);
  std::optional<std::string> Replay(const ledger::AlertRecord& record);
  ledger::Sum Spent(const KeyState& key) const;

  struct PriceIdHash {
    std::size_t operator()(config::PriceId id) const { return id.n; }
  };

  ledger::Book book_;
  OperatorAccounts operators_{book_};
  Wallets wallets_{book_, operators_};
  IdempotencyTable idempotency_;
  policy::QuotaTable quotas_;
  std::vector<QuotaAlert> alerts_;
  std::vector<policy::Standing> standings_;  // of the request that is decided; kept for its memory
  ledger::AccountIndex source_;              // of nano-USD, as the next
  ledger::AccountIndex revenue_;
  ledger::Sum keys_overrun_ = 0;  // above the holds of keys' accounts; those of wallets apart
  ledger::IdTable<config::PriceId, KnownPrice, PriceIdHash> prices_;
  std::vector<KeyState> keys_;  // never removed; a key is its index here
  ledger::IdTable<KeyId, std::uint32_t, IdHash> key_index_;
  ledger::IdTable<RequestId, OpenRequest, IdHash> open_;
  JournalPosition position_;
  // Limits run on a clock of the machine's own that follows the wall clock forward and stands
  // still when it is set back: a clock set back by an hour must not block every key for an hour.
  Instant wall_seen_;
  Instant wall_high_;
  Tick clock_;
};

}  // namespace weir::gateway
