#include "gateway/ledger_audit.h"

#include <algorithm>
#include <tuple>
#include <utility>
#include <variant>

#include "config/price_codec.h"
#include "policy/quote.h"

namespace weir::gateway {
namespace {

using ledger::Clipped;
using ledger::Saturated;
using ledger::Sum;
using ledger::Unit;

config::Price PriceFrom(const ledger::PinnedPrice& price) {
  config::Price from;
  from.input = price.input;
  from.cached_input = price.cached_input;
  from.cache_write = price.cache_write;
  from.output = price.output;
  from.per_request = price.per_request;
  from.audio_second = price.audio_second;
  from.version = price.version;
  return from;
}

std::string Nano(Sum sum) { return std::to_string(Saturated(sum).n) + " nUSD"; }

std::string Text(Sum sum, Unit unit) {
  return std::to_string(Clipped(sum).n) + " " + std::string(Name(unit));
}

std::string Of(const RequestId& id) { return "request req_" + ToString(id); }
std::string Of(const GrantId& id) { return "grant " + ToString(id); }

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

const config::Price& LedgerAudit::PriceOf(const Request& request) const {
  static const config::Price kNone;
  const config::Price* const price = prices_.Find(request.price_id);
  return price == nullptr ? kNone : *price;  // that it is missing was said at the admission
}

void LedgerAudit::See(const ledger::Record& record) {
  ++position_;
  std::visit(
      [this](const auto& one) {
        latest_ = std::max(latest_, one.time);
        Record(one);
      },
      record);
  NoteFindings();
}

void LedgerAudit::NoteFindings() {
  for (QuotaAudit::Finding& finding : quotas_.TakeFindings()) {
    Broken(finding.invariant, std::move(finding.what));
  }
}

void LedgerAudit::Record(const ledger::PriceRecord& record) {
  const auto price = config::DecodePrice(record.bytes);
  if (!price || config::IdOf(record.bytes).n != record.id) {
    Broken("I24", "price " + config::Format({record.id}) + " has bytes that are not its own");
    return;
  }
  if (written_.Find(record.id) != nullptr) {
    Broken("I9", "price " + config::Format({record.id}) + " was written before");
    return;
  }
  written_.Insert(record.id, true);
  if (prices_.Find(record.id) == nullptr) prices_.Insert(record.id, *price);
}

void LedgerAudit::Record(const ledger::IntentRecord& record) {
  if (record.hold < NanoUsd{0}) Broken("I5", Of(record.request) + " holds less than nothing");
  if (requests_.Find(record.request) != nullptr) {
    Broken("I9", Of(record.request) + " was admitted before");
    return;
  }
  Request request{.key = record.key,
                  .hold = record.hold.n,
                  .price_id = record.price_id,
                  .pinned = {},
                  .input_bound = record.input_tokens_bound,
                  .output_bound = record.output_tokens_bound,
                  .wallet = {},
                  .idempotency = {},
                  .quotas = {}};
  if (record.price_id == 0) {
    request.pinned = record.price;
    const config::Price price = PriceFrom(record.price);
    request.price_id = config::IdOf(price).n;
    if (prices_.Find(request.price_id) == nullptr) prices_.Insert(request.price_id, price);
  } else if (written_.Find(record.price_id) == nullptr) {
    Broken("I24", Of(record.request) + " has price " + config::Format({record.price_id}) +
                      ", which no record before it has");
  }
  if (record.idempotency) {
    CheckI10KeyIsFree(record);
    request.idempotency = record.idempotency->key;
  }
  if (record.wallet) {
    request.wallet = WalletShare{.wallet = record.wallet->wallet,
                                 .rate = {record.wallet->unit, record.wallet->multiplier_ppm},
                                 .lines = {}};
    HoldOfWallet(record.request, *record.wallet, record.time, *request.wallet);
  }
  if (record.quotas) {
    request.multiplier_ppm = record.quotas->multiplier_ppm;
    latest_ = std::max(latest_, ledger::WindowTimeOf(record.time, record.quotas->behind));
    quotas_.Hold(Of(record.request), record.quotas->lines, latest_, request.quotas);
  }
  requests_.Insert(record.request, std::move(request));
  KeyBook& book = BookOf(record.key);
  book.held += record.hold.n;
  ++book.open;
  FlowsIn(Unit::kNanoUsd).held += record.hold.n;
  CheckI3WithinBudget(record.key, book);
}

void LedgerAudit::Record(const ledger::ExtendRecord& record) {
  Request* const request = CheckI4IsOpen(record.request, {}, "an extension");
  if (request == nullptr) return;
  if (record.hold < NanoUsd{0} || record.output_tokens_bound < 0) {
    Broken("I5", Of(record.request) + " was extended by less than nothing");
  }
  if (record.wallet.has_value() != request->wallet.has_value()) {
    Broken("I5", Of(record.request) + " was extended for another payer than at admission");
    return;
  }
  if (record.wallet) {
    const policy::WalletRate rate{record.wallet->unit, record.wallet->multiplier_ppm};
    if (record.wallet->wallet != request->wallet->wallet || rate != request->wallet->rate) {
      Broken("I5", Of(record.request) + " was extended for another wallet than at admission");
      return;
    }
    HoldOfWallet(record.request, *record.wallet, record.time, *request->wallet);
  }
  latest_ = std::max(latest_, ledger::WindowTimeOf(record.time, record.quotas_behind));
  quotas_.Hold(Of(record.request), record.quotas, latest_, request->quotas);
  request->hold += record.hold.n;
  request->output_bound += record.output_tokens_bound;
  KeyBook& book = BookOf(request->key);
  book.held += record.hold.n;
  FlowsIn(Unit::kNanoUsd).held += record.hold.n;
  CheckI3WithinBudget(request->key, book);
}

void LedgerAudit::HoldOfWallet(const RequestId& id, const ledger::WalletHold& hold, Instant now,
                               WalletShare& share) {
  CheckI19BurnOrder(id, hold, now);
  for (const ledger::HoldLine& line : hold.lines) {
    GrantBook* const grant = grants_.Find(line.grant);
    if (grant == nullptr || line.amount <= ledger::Amount{0}) {
      Broken("I19", Of(id) + " holds " + Text(line.amount.n, hold.unit) + " of " + Of(line.grant) +
                        (grant == nullptr ? ", which was never given" : ""));
      continue;
    }
    grant->held += line.amount.n;
    share.lines.push_back(line);
    share.held += line.amount.n;
    FlowsIn(grant->made.unit).held += line.amount.n;
    CheckI3Grant(*grant);
  }
}

void LedgerAudit::Record(const ledger::CheckpointRecord& record) {
  const Request* request = CheckI4IsOpen(record.request, record.key, "a checkpoint");
  if (request == nullptr) return;
  CheckI24PriceIsThatOfAdmission(*request, 0, record.price, record.request);
}

void LedgerAudit::Record(const ledger::SettleRecord& record) {
  Request* request = CheckI4IsOpen(record.request, record.key, "a settlement");
  if (request == nullptr) return;
  CheckI5SettledAtItsPrice(*request, record);
  CheckI5WalletCharge(*request, record);
  CheckI24PriceIsThatOfAdmission(*request, record.price_id, record.price, record.request);
  CheckI26NoOverrunWithinBounds(*request, record);
  const QuotaAudit::Outcome outcome{.usage = record.usage,
                                    .price = policy::PriceOf(PriceOf(*request), record.usage),
                                    .multiplier_ppm = request->multiplier_ppm};
  quotas_.Resolve(Of(record.request), record.quotas, &outcome, request->quotas);
  Flows& flows = FlowsIn(Unit::kNanoUsd);
  flows.charged += record.charged.n;
  flows.overrun += record.overrun.n;
  if (record.wallet && request->wallet) {
    Flows& of_wallet = FlowsIn(request->wallet->rate.unit);
    of_wallet.charged += record.wallet->charged.n;
    of_wallet.overrun += record.wallet->overrun.n;
  }
  Release(record.request, *request, record.charged, record.wallet ? record.wallet->charged.n : 0);
}

void LedgerAudit::Record(const ledger::VoidRecord& record) {
  Request* request = CheckI4IsOpen(record.request, record.key, "a void");
  if (request == nullptr) return;
  if (record.released.n != request->hold) {
    Broken("I5", Of(record.request) + " held " + Nano(request->hold) + " and released " +
                     Nano(record.released.n));
  }
  CheckI24PriceIsThatOfAdmission(*request, 0, record.price, record.request);
  if (request->idempotency) idempotency_.Erase(*request->idempotency);
  quotas_.Resolve(Of(record.request), record.quotas, nullptr, request->quotas);
  Release(record.request, *request, {}, 0);
}

void LedgerAudit::Release(const RequestId& id, Request& request, NanoUsd charged, Sum of_wallet) {
  request.open = false;
  KeyBook& book = BookOf(request.key);
  book.held -= request.hold;
  book.charged += charged.n;
  --book.open;
  FlowsIn(Unit::kNanoUsd).held -= request.hold;
  CheckI3WithinBudget(request.key, book);
  if (!request.wallet) return;
  for (const ledger::HoldLine& line : request.wallet->lines) {
    GrantBook& grant = *grants_.Find(line.grant);
    const Sum taken = std::clamp<Sum>(of_wallet, 0, line.amount.n);
    of_wallet -= taken;
    grant.held -= line.amount.n;
    grant.charged += taken;
    FlowsIn(grant.made.unit).held -= line.amount.n;
    CheckI3Grant(grant);
  }
  // What is used up never burns again: a wallet with a long past is judged as quickly as a new one.
  if (WalletBook* const wallet = wallets_.Find(request.wallet->wallet)) {
    std::erase_if(wallet->grants, [this](const GrantId& grant) {
      const GrantBook& of_it = *grants_.Find(grant);
      return of_it.left() == 0 && of_it.held == 0;
    });
  }
  if (of_wallet != 0) {
    Broken("I5", Of(id) + " was charged " + Text(of_wallet, request.wallet->rate.unit) +
                     " that none of its grants paid");
  }
}

void LedgerAudit::Record(const ledger::FundRecord& record) {
  KeyBook& book = BookOf(record.key);
  book.funded += record.amount.n;
  book.capped = record.capped;
  Flows& flows = FlowsIn(Unit::kNanoUsd);
  (record.amount > NanoUsd{0} ? flows.given : flows.returned) +=
      record.amount > NanoUsd{0} ? record.amount.n : -record.amount.n;
  CheckI3WithinBudget(record.key, book);
}

void LedgerAudit::Record(const ledger::GrantRecord& record) {
  if (grants_.Find(record.grant) != nullptr) {
    Broken("I9", Of(record.grant) + " was given before");
    return;
  }
  WalletBook* wallet = wallets_.Find(record.wallet);
  if (wallet == nullptr) {
    wallet = &wallets_.Insert(record.wallet, {.unit = record.unit, .grants = {}});
  }
  if (wallet->unit != record.unit || record.amount < ledger::Amount{0}) {
    Broken("I19", Of(record.grant) + " is " + Text(record.amount.n, record.unit) +
                      " for a wallet that counts " + std::string(Name(wallet->unit)));
    return;
  }
  grants_.Insert(record.grant, {.made = record});
  FlowsIn(record.unit).given += record.amount.n;
  // By priority, then the sooner end, then age.
  const auto rank = [this](const GrantId& id) {
    const ledger::GrantRecord& made = grants_.Find(id)->made;
    return std::pair(made.priority, made.expires_at);
  };
  auto at = wallet->grants.end();
  while (at != wallet->grants.begin() && rank(record.grant) < rank(*(at - 1))) --at;
  wallet->grants.insert(at, record.grant);
}

void LedgerAudit::Record(const ledger::GrantEndRecord& record) {
  GrantBook* const grant = grants_.Find(record.grant);
  if (grant == nullptr) {
    Broken("I19", "the end of " + Of(record.grant) + ", which was never given");
    return;
  }
  const Unit unit = grant->made.unit;
  const bool expired = record.reason == ledger::GrantEndReason::kExpired;
  if (record.removed < ledger::Amount{0} || record.removed.n > grant->left()) {
    Broken("I19", Text(record.removed.n, unit) + " were taken off " + Of(record.grant) +
                      ", of which no request held " + Text(grant->left(), unit));
  }
  if (expired && (grant->revoked || record.time < grant->made.expires_at)) {
    Broken("I19", Of(record.grant) + " expired before its time, or behind its end");
  }
  grant->removed += record.removed.n;
  grant->revoked = grant->revoked || !expired;
  Flows& flows = FlowsIn(unit);
  (expired ? flows.forfeited : flows.returned) += record.removed.n;
  CheckI3Grant(*grant);
}

void LedgerAudit::Record(const ledger::CounterRecord& record) { quotas_.See(record, latest_); }
void LedgerAudit::Record(const ledger::WindowRecord& record) { quotas_.See(record, latest_); }
void LedgerAudit::Record(const ledger::AlertRecord& record) { quotas_.See(record, latest_); }

LedgerAudit::Request* LedgerAudit::CheckI4IsOpen(const RequestId& id, const KeyId& key,
                                                 std::string_view record) {
  Request* request = requests_.Find(id);
  const auto subject = [&] { return std::string(record) + " of " + Of(id); };
  if (request == nullptr) {
    Broken("I4", subject() + ", which was never admitted");
    return nullptr;
  }
  if (!request->open) {
    Broken("I4", subject() + ", which is resolved already");
    return nullptr;
  }
  // From version 3 on not every record names it.
  if (!key.empty() && request->key != key) {
    Broken("I4", subject() + " names another key than its admission");
    return nullptr;
  }
  return request;
}

void LedgerAudit::CheckI3WithinBudget(const KeyId& key, const KeyBook& book) {
  if (!book.capped || book.charged + book.held <= book.funded) return;
  Broken("I3", "key key_" + ToString(key) + " has spent " + Nano(book.charged) + " and holds " +
                   Nano(book.held) + " of a budget of " + Nano(book.funded));
}

void LedgerAudit::CheckI3Grant(const GrantBook& grant) {
  if (grant.left() >= 0 && grant.held >= 0 && grant.charged >= 0 && grant.removed >= 0) return;
  const Unit unit = grant.made.unit;
  Broken("I3", Of(grant.made.grant) + " of " + Text(grant.made.amount.n, unit) + " has " +
                   Text(grant.charged, unit) + " spent, " + Text(grant.held, unit) + " held and " +
                   Text(grant.removed, unit) + " taken off");
}

void LedgerAudit::CheckI5SettledAtItsPrice(const Request& request,
                                           const ledger::SettleRecord& record) {
  if (record.charged < NanoUsd{0} || record.charged.n > request.hold) {
    Broken("I5", Of(record.request) + " held " + Nano(request.hold) + " and was charged " +
                     Nano(record.charged.n));
  }
  const NanoUsd price = policy::PriceOf(PriceOf(request), record.usage);
  const Sum booked = static_cast<Sum>(record.charged.n) + record.overrun.n;
  if (booked != price.n || record.overrun < NanoUsd{0}) {
    Broken("I5", Of(record.request) + " was charged " + Nano(record.charged.n) + " with " +
                     Nano(record.overrun.n) + " above its hold; its usage costs " + Nano(price.n));
  }
}

void LedgerAudit::CheckI5WalletCharge(const Request& request, const ledger::SettleRecord& record) {
  if (record.wallet.has_value() != request.wallet.has_value()) {
    Broken("I5", Of(record.request) + " was settled for another payer than at admission");
    return;
  }
  if (!record.wallet) return;
  const WalletShare& share = *request.wallet;
  const Unit unit = share.rate.unit;
  const ledger::Amount due = policy::WalletPriceOf(share.rate, PriceOf(request), record.usage);
  const Sum charged = record.wallet->charged.n;
  const Sum overrun = record.wallet->overrun.n;
  if (charged < 0 || charged > share.held) {
    Broken("I5", Of(record.request) + " held " + Text(share.held, unit) +
                     " of its wallet and paid " + Text(charged, unit));
  }
  if (charged + overrun != due.n || overrun < 0) {
    Broken("I5", Of(record.request) + " took " + Text(charged, unit) + " of its wallet with " +
                     Text(overrun, unit) + " above its hold; its usage costs " + Text(due.n, unit));
  }
}

void LedgerAudit::CheckI10KeyIsFree(const ledger::IntentRecord& record) {
  const ledger::IdempotencyUse& use = *record.idempotency;
  KeyInUse* const known = idempotency_.Find(use.key);
  if (known == nullptr) {
    idempotency_.Insert(use.key, {record.request, record.time});
    return;
  }
  const Request* const before = requests_.Find(known->request);
  // By the latest time of all records: whoever sets a clock back does not make keys live longer.
  const bool forgotten = known->since + IdempotencyTable::kLifetime <= latest_ ||
                         idempotency_.size() > IdempotencyTable::kKeysMax;
  if (before != nullptr && (before->open || !forgotten)) {
    Broken("I10", Of(record.request) + " has the Idempotency-Key of " + Of(known->request));
  }
  *known = {record.request, record.time};
}

void LedgerAudit::CheckI19BurnOrder(const RequestId& id, const ledger::WalletHold& hold,
                                    Instant now) {
  if (hold.lines.empty()) return;  // what costs nothing holds nothing
  const WalletBook* const wallet = wallets_.Find(hold.wallet);
  if (wallet == nullptr || wallet->unit != hold.unit || hold.lines.size() > ledger::kHoldLinesMax) {
    Broken("I19", Of(id) + " holds of a wallet that has no such unit");
    return;
  }
  std::size_t next = 0;
  for (const GrantId& grant_id : wallet->grants) {
    const GrantBook& grant = *grants_.Find(grant_id);
    const bool usable = !grant.revoked && grant.made.effective_at <= now &&
                        now < grant.made.expires_at && grant.left() > 0;
    if (!usable) continue;
    const ledger::HoldLine& line = hold.lines[next++];
    const bool last = next == hold.lines.size();
    // Of all but the last everything is taken.
    if (line.grant != grant_id || (!last && line.amount.n != grant.left())) {
      Broken("I19",
             Of(id) + " holds of " + Of(line.grant) + " where " + Of(grant_id) + " burns first");
      return;
    }
    if (last) return;
  }
  Broken("I19", Of(id) + " holds of a grant that cannot be used at its time");
}

void LedgerAudit::CheckI24PriceIsThatOfAdmission(const Request& request, std::uint64_t price_id,
                                                 const ledger::PinnedPrice& price,
                                                 const RequestId& id) {
  // A start may resolve in version 3 what was admitted in an older one.
  const bool same = price_id != 0                    ? price_id == request.price_id
                    : price == ledger::PinnedPrice{} ? true
                                                     : request.pinned == price;
  if (!same) Broken("I24", Of(id) + " has another price than at admission");
}

void LedgerAudit::CheckI26NoOverrunWithinBounds(const Request& request,
                                                const ledger::SettleRecord& record) {
  // The bounds of what is not sold by the token are not in the record.
  const Usage& usage = record.usage;
  const bool within = usage.input_tokens <= request.input_bound &&
                      usage.output_tokens <= request.output_bound && usage.audio_ms == 0 &&
                      usage.tool_calls == 0 && usage.images == 0 && usage.video_ms == 0;
  if (!within) return;
  if (record.overrun > NanoUsd{0}) {
    Broken("I26", Of(record.request) + " was within its bounds and cost " + Nano(record.overrun.n) +
                      " more than its hold");
  }
  if (record.wallet && request.wallet && record.wallet->overrun > ledger::Amount{0}) {
    Broken("I26", Of(record.request) + " was within its bounds and cost " +
                      Text(record.wallet->overrun.n, request.wallet->rate.unit) +
                      " more than it held of its wallet");
  }
}

void LedgerAudit::Compare(const CreditControl& machine) {
  position_ = 0;
  CheckI1DebitsAreCredits(machine.book());
  CheckI2BalancesAreFolds(machine);
  CheckI2GrantsAreFolds(machine.book());
  CheckI3Rules(machine.book());
  CheckI11ChargesWereReceived(machine.book());
  quotas_.Compare(machine.quotas(), latest_);
  NoteFindings();
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

void LedgerAudit::CheckI2GrantsAreFolds(const ledger::Book& book) {
  std::size_t seen = 0;
  for (std::size_t i = 0; i < book.account_count(); ++i) {
    const ledger::Account& account = book.Get({static_cast<std::uint32_t>(i)});
    if (account.id.kind != ledger::AccountKind::kGrant) continue;
    ++seen;
    const GrantBook* const grant = grants_.Find(GrantId{account.id.owner});
    const bool same = grant != nullptr && account.id.unit == grant->made.unit &&
                      account.debits_must_not_exceed_credits &&
                      account.credits_posted == grant->made.amount.n &&
                      account.debits_posted == grant->charged + grant->removed &&
                      account.debits_pending == grant->held;
    if (same) continue;
    const Unit unit = account.id.unit;
    Broken("I2", Of(GrantId{account.id.owner}) + ": the records add up to " +
                     (grant == nullptr ? std::string("nothing")
                                       : Text(grant->charged + grant->removed, unit) +
                                             " gone and " + Text(grant->held, unit) + " held") +
                     ", the book says " + Text(account.debits_posted, unit) + " and " +
                     Text(account.debits_pending, unit));
  }
  if (seen != grants_.size()) {
    Broken("I2", std::to_string(grants_.size()) + " grants were given, the book has " +
                     std::to_string(seen));
  }
}

void LedgerAudit::CheckI11ChargesWereReceived(const ledger::Book& book) {
  struct Row {
    std::string_view what;
    Sum by_records;
    Sum by_book = 0;
  };
  for (std::size_t n = 0; n < flows_.size(); ++n) {
    const Flows& flows = flows_[n];
    const auto unit = static_cast<Unit>(n);
    Row charged{"charged", flows.charged + flows.overrun};
    Row held{"held", flows.held};
    Row overrun{"above holds", flows.overrun};
    Row given{"given", flows.given};
    Row returned{"returned", flows.returned};
    Row forfeited{"expired", flows.forfeited};
    for (std::size_t i = 0; i < book.account_count(); ++i) {
      const ledger::Account& account = book.Get({static_cast<std::uint32_t>(i)});
      if (account.id.unit != unit) continue;
      switch (account.id.kind) {
        case ledger::AccountKind::kRevenue:
          charged.by_book += account.credits_posted;
          held.by_book += account.credits_pending;
          break;
        case ledger::AccountKind::kOverrun:
          overrun.by_book += account.debits_posted;
          break;
        case ledger::AccountKind::kSource:
          given.by_book += account.debits_posted;
          returned.by_book += account.credits_posted;
          break;
        case ledger::AccountKind::kBreakage:
          forfeited.by_book += account.credits_posted;
          break;
        case ledger::AccountKind::kKey:
        case ledger::AccountKind::kGrant:
          break;
      }
    }
    for (const Row& row : {charged, held, overrun, given, returned, forfeited}) {
      if (row.by_records == row.by_book) continue;
      Broken("I11", "by the records " + Text(row.by_records, unit) + " were " +
                        std::string(row.what) + ", by the operator's accounts " +
                        Text(row.by_book, unit));
    }
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
  CheckI20NothingIsHeld(machine.quotas());
}

void LedgerAudit::CheckI20NothingIsHeld(const policy::QuotaTable& counters) {
  for (std::uint32_t number = 0; number < counters.numbers(); ++number) {
    // As of the first of all times no window is over.
    const auto view = counters.View(number, Instant{INT64_MIN});
    if (!view || view->held == 0) continue;
    Broken("I20", std::to_string(view->held) + " of policy " + std::string(view->policy) +
                      " stay held after everything was resolved");
  }
}

}  // namespace weir::gateway
