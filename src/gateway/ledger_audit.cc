#include "gateway/ledger_audit.h"

#include <utility>
#include <variant>

#include "policy/quote.h"

namespace weir::gateway {
namespace {

using ledger::Saturated;
using ledger::Sum;

config::Price PriceFrom(const ledger::PinnedPrice& price) {
  return {.input = price.input,
          .cached_input = price.cached_input,
          .cache_write = price.cache_write,
          .output = price.output,
          .per_request = price.per_request,
          .audio_second = price.audio_second,
          .version = price.version};
}

std::string Nano(Sum sum) { return std::to_string(Saturated(sum).n) + " nUSD"; }

std::string Of(const RequestId& id) { return "request req_" + ToString(id); }

}  // namespace

void LedgerAudit::Broken(std::string_view invariant, std::string what) {
  ++violation_count_;
  if (violations_.size() >= kViolationsKept) return;
  violations_.push_back({invariant, position_, std::move(what)});
}

LedgerAudit::KeyBook& LedgerAudit::BookOf(const KeyId& key) {
  if (KeyBook* known = keys_.Find(key)) return *known;
  return keys_.Insert(key, {});
}

void LedgerAudit::See(const ledger::Record& record) {
  ++position_;
  std::visit([this](const auto& one) { Record(one); }, record);
}

void LedgerAudit::Record(const ledger::IntentRecord& record) {
  if (record.hold < NanoUsd{0}) Broken("I5", Of(record.request) + " holds less than nothing");
  if (requests_.Find(record.request) != nullptr) {
    Broken("I9", Of(record.request) + " was admitted before");
    return;
  }
  requests_.Insert(record.request, {.key = record.key,
                                    .open = true,
                                    .hold = record.hold,
                                    .price = record.price,
                                    .input_bound = record.input_tokens_bound,
                                    .output_bound = record.output_tokens_bound});
  KeyBook& book = BookOf(record.key);
  book.held += record.hold.n;
  ++book.open;
  held_ += record.hold.n;
  CheckI3WithinBudget(record.key, book);
}

void LedgerAudit::Record(const ledger::CheckpointRecord& record) {
  const Request* request = CheckI4IsOpen(record.request, record.key, "a checkpoint");
  if (request != nullptr) CheckI24PriceIsThatOfAdmission(*request, record.price, record.request);
}

void LedgerAudit::Record(const ledger::SettleRecord& record) {
  Request* request = CheckI4IsOpen(record.request, record.key, "a settlement");
  if (request == nullptr) return;
  CheckI5SettledAtItsPrice(*request, record);
  CheckI24PriceIsThatOfAdmission(*request, record.price, record.request);
  CheckI26NoOverrunWithinBounds(*request, record);
  request->open = false;
  KeyBook& book = BookOf(record.key);
  book.held -= request->hold.n;
  book.charged += record.charged.n;
  --book.open;
  held_ -= request->hold.n;
  charged_ += record.charged.n;
  overrun_ += record.overrun.n;
  CheckI3WithinBudget(record.key, book);
}

void LedgerAudit::Record(const ledger::VoidRecord& record) {
  Request* request = CheckI4IsOpen(record.request, record.key, "a void");
  if (request == nullptr) return;
  if (record.released != request->hold) {
    Broken("I5", Of(record.request) + " held " + Nano(request->hold.n) + " and released " +
                     Nano(record.released.n));
  }
  CheckI24PriceIsThatOfAdmission(*request, record.price, record.request);
  request->open = false;
  KeyBook& book = BookOf(record.key);
  book.held -= request->hold.n;
  --book.open;
  held_ -= request->hold.n;
}

void LedgerAudit::Record(const ledger::FundRecord& record) {
  KeyBook& book = BookOf(record.key);
  book.funded += record.amount.n;
  book.capped = record.capped;
  CheckI3WithinBudget(record.key, book);
}

LedgerAudit::Request* LedgerAudit::CheckI4IsOpen(const RequestId& id, const KeyId& key,
                                                 std::string_view record) {
  Request* request = requests_.Find(id);
  const std::string subject = std::string(record) + " of " + Of(id);
  if (request == nullptr) {
    Broken("I4", subject + ", which was never admitted");
    return nullptr;
  }
  if (!request->open) {
    Broken("I4", subject + ", which is resolved already");
    return nullptr;
  }
  if (request->key != key) {
    Broken("I4", subject + " names another key than its admission");
    return nullptr;
  }
  return request;
}

void LedgerAudit::CheckI3WithinBudget(const KeyId& key, const KeyBook& book) {
  if (unknown_ > 0 || !book.capped || book.charged + book.held <= book.funded) return;
  Broken("I3", "key key_" + ToString(key) + " has spent " + Nano(book.charged) + " and holds " +
                   Nano(book.held) + " of a budget of " + Nano(book.funded));
}

void LedgerAudit::CheckI5SettledAtItsPrice(const Request& request,
                                           const ledger::SettleRecord& record) {
  if (record.charged < NanoUsd{0} || record.charged > request.hold) {
    Broken("I5", Of(record.request) + " held " + Nano(request.hold.n) + " and was charged " +
                     Nano(record.charged.n));
  }
  const NanoUsd price = policy::PriceOf(PriceFrom(request.price), record.usage);
  const Sum booked = static_cast<Sum>(record.charged.n) + record.overrun.n;
  if (booked != price.n || record.overrun < NanoUsd{0}) {
    Broken("I5", Of(record.request) + " was charged " + Nano(record.charged.n) + " with " +
                     Nano(record.overrun.n) + " above its hold; its usage costs " + Nano(price.n));
  }
}

void LedgerAudit::CheckI24PriceIsThatOfAdmission(const Request& request,
                                                 const ledger::PinnedPrice& price,
                                                 const RequestId& id) {
  if (!(price == request.price)) Broken("I24", Of(id) + " has another price than at admission");
}

void LedgerAudit::CheckI26NoOverrunWithinBounds(const Request& request,
                                                const ledger::SettleRecord& record) {
  // The bound of audio is not in the record.
  const bool within = record.usage.input_tokens <= request.input_bound &&
                      record.usage.output_tokens <= request.output_bound &&
                      record.usage.audio_ms == 0;
  if (within && record.overrun > NanoUsd{0}) {
    Broken("I26", Of(record.request) + " was within its bounds and cost " + Nano(record.overrun.n) +
                      " more than its hold");
  }
}

void LedgerAudit::Compare(const CreditControl& machine) {
  position_ = 0;
  CheckI1DebitsAreCredits(machine.book());
  CheckI2BalancesAreFolds(machine);
  CheckI3Rules(machine.book());
  CheckI11ChargesWereReceived(machine);
  if (auto problem = machine.book().CheckInvariants()) Broken("I1", *std::move(problem));
  position_ = machine.last_position().n;
}

void LedgerAudit::CheckI1DebitsAreCredits(const ledger::Book& book) {
  Sum pending = 0;
  Sum posted = 0;
  for (std::size_t i = 0; i < book.account_count(); ++i) {
    const ledger::Account& account = book.Get({static_cast<std::uint32_t>(i)});
    pending += account.debits_pending - account.credits_pending;
    posted += account.debits_posted - account.credits_posted;
  }
  if (pending != 0) Broken("I1", "pending debits exceed pending credits by " + Nano(pending));
  if (posted != 0) Broken("I1", "posted debits exceed posted credits by " + Nano(posted));
}

void LedgerAudit::CheckI2BalancesAreFolds(const CreditControl& machine) {
  if (unknown_ > 0) return;
  keys_.ForEach([&](const KeyId& key, const KeyBook& book) {
    const auto standing = machine.Standing(key);
    const bool same = standing && standing->settled == Saturated(book.charged) &&
                      standing->held == Saturated(book.held) &&
                      standing->requests_open == book.open &&
                      (!book.capped || standing->budget == Saturated(book.funded));
    if (same) return;
    Broken("I2", "key key_" + ToString(key) + ": the records add up to " + Nano(book.charged) +
                     " spent and " + Nano(book.held) + " held, the book says " +
                     (standing ? Nano(standing->settled.n) + " and " + Nano(standing->held.n)
                               : std::string("nothing")));
  });
}

void LedgerAudit::CheckI3Rules(const ledger::Book& book) {
  for (std::size_t i = 0; i < book.account_count(); ++i) {
    const ledger::Account& account = book.Get({static_cast<std::uint32_t>(i)});
    if (account.debits_must_not_exceed_credits &&
        account.debits_pending + account.debits_posted > account.credits_posted) {
      Broken("I3",
             "the account of " + ToString(account.id.owner) + " owes " +
                 Nano(account.debits_pending + account.debits_posted - account.credits_posted));
    }
  }
}

void LedgerAudit::CheckI11ChargesWereReceived(const CreditControl& machine) {
  if (unknown_ > 0) return;
  const CreditTotals totals = machine.Totals();
  if (totals.charged != Saturated(charged_) || totals.overrun != Saturated(overrun_) ||
      totals.held != Saturated(held_)) {
    Broken("I11", "keys were charged " + Nano(charged_) + ", the operator received " +
                      Nano(totals.charged.n) + "; overrun " + Nano(overrun_) + " and " +
                      Nano(totals.overrun.n) + "; held " + Nano(held_) + " and " +
                      Nano(totals.held.n));
  }
}

void LedgerAudit::Resolve(CreditControl& machine, Instant now) {
  ledger::RecordBuffer records;
  machine.ResolveOpen(now, records);
  const CreditTotals totals = machine.Totals();
  if (totals.requests_open != 0 || totals.held != NanoUsd{0} ||
      machine.book().pending_count() != 0) {
    Broken("I20", Nano(totals.held.n) + " stay held after everything was resolved");
  }
}

}  // namespace weir::gateway
