#include "gateway/credit_control.h"

#include <algorithm>

#include "base/check.h"
#include "policy/quote.h"

namespace weir::gateway {
namespace {

using ledger::Sum;
using ledger::TransferId;
using ledger::TransferKind;
using ledger::TransferStatus;

// How long until the holds of other requests may be gone. Nobody knows; one second is what a caller
// can usefully wait before it asks again.
constexpr Duration kInFlightRetryAfter = Seconds(1);

// The legs of a request's transfers. Frozen: a recovery computes the same ids.
constexpr std::uint32_t kLegHold = 0;
constexpr std::uint32_t kLegResolve = 1;
constexpr std::uint32_t kLegOverrun = 2;

ledger::PinnedPrice Pin(const config::Price& price) {
  return {.version = price.version,
          .input = price.input,
          .cached_input = price.cached_input,
          .cache_write = price.cache_write,
          .output = price.output,
          .per_request = price.per_request,
          .audio_second = price.audio_second};
}

config::Price Unpin(const ledger::PinnedPrice& price) {
  return {.input = price.input,
          .cached_input = price.cached_input,
          .cache_write = price.cache_write,
          .output = price.output,
          .per_request = price.per_request,
          .audio_second = price.audio_second,
          .version = price.version};
}

NanoUsd InRange(NanoUsd budget) { return std::clamp(budget, NanoUsd{0}, kMaxNanoUsd); }

std::string Unexpected(const RequestId& request, std::string_view record, TransferStatus status) {
  return std::string(record) + " of request " + ToString(request) + ": " +
         std::string(Name(status));
}

}  // namespace

// What the budget says to a request.
struct CreditControl::Grant {
  Refusal refusal = Refusal::kNone;
  NanoUsd hold{};
  std::int64_t output_per_choice = 0;
  std::int64_t output_total = 0;
  bool clamped = false;
  std::int64_t output_fitting = 0;  // per choice, with kRequestExceedsBudget
};

CreditControl::CreditControl(Options options)
    : book_({.accounts_expected = options.keys_expected + 3}),
      source_(book_.Open({ledger::AccountKind::kSource, {}}, false)),
      revenue_(book_.Open({ledger::AccountKind::kRevenue, {}}, false)),
      overrun_(book_.Open({ledger::AccountKind::kOverrun, {}}, false)),
      key_index_(options.keys_expected) {
  keys_.reserve(options.keys_expected);
}

std::uint32_t CreditControl::IndexOf(const KeyId& id) {
  if (const std::uint32_t* known = key_index_.Find(id)) return *known;
  CHECK(keys_.size() < UINT32_MAX, "a key index has 32 bits");
  const auto index = static_cast<std::uint32_t>(keys_.size());
  KeyState& key = keys_.emplace_back();
  key.id = id;
  key.account = book_.Open({ledger::AccountKind::kKey, id}, false);
  key_index_.Insert(id, index);
  return index;
}

Tick CreditControl::Advance(Instant now) {
  if (now > wall_seen_) clock_ = clock_ + (now - wall_seen_);
  wall_seen_ = now;
  return clock_;
}

// Every withdrawal raised the debits without being spent; credits_posted - funded is their sum.
Sum CreditControl::Spent(const KeyState& key) const {
  const ledger::Account& account = book_.Get(key.account);
  return account.debits_posted - (account.credits_posted - key.funded_nano);
}

CreditControl::Grant CreditControl::FitBudget(const KeyState& key,
                                              const AdmitCommand& command) const {
  const Quote& quote = command.quote;
  const std::int64_t choices = std::max<std::int64_t>(quote.output_choices, 1);
  const std::int64_t bound =
      std::clamp<std::int64_t>(quote.output_tokens_bound, 0, policy::kTokensMax);
  // Rounded up: a bound that the choices do not divide is held for the larger share.
  const std::int64_t asked = bound / choices + (bound % choices != 0 ? 1 : 0);
  const std::int64_t useful = std::max<std::int64_t>(quote.output_tokens_useful, 1);
  const auto fitting = [&](Sum amount) -> std::optional<std::int64_t> {
    if (amount < 0) return std::nullopt;
    return policy::OutputFitting(
        quote.price, {.input = quote.input_tokens_bound, .audio_ms = quote.audio_ms_bound}, choices,
        asked, ledger::Saturated(amount));
  };
  const auto worth = [&](std::optional<std::int64_t> output) {
    return output && (*output == asked || *output >= useful);
  };

  Sum available = kMaxNanoUsd.n;
  Sum alone = available;
  Sum whole = available;
  if (command.limits.budget) {
    whole = InRange(*command.limits.budget).n;
    alone = whole - Spent(key);
    available = alone - book_.Get(key.account).debits_pending;
  }
  const auto fits = fitting(available);
  if (worth(fits)) {
    const std::int64_t total = *fits * choices;
    return {.hold = policy::HoldOf(quote.price, {.input = quote.input_tokens_bound,
                                                 .output = total,
                                                 .audio_ms = quote.audio_ms_bound}),
            .output_per_choice = *fits,
            .output_total = total,
            .clamped = *fits < asked};
  }
  const auto fits_alone = fitting(alone);
  if (worth(fits_alone)) return {.refusal = Refusal::kInFlightReserved};
  if (fits_alone.value_or(0) > 0) {
    return {.refusal = Refusal::kRequestExceedsBudget, .output_fitting = *fits_alone};
  }
  const auto fits_whole = fitting(whole);
  const bool spent_is_in_the_way = fits_whole && (*fits_whole > 0 || asked == 0);
  return {.refusal =
              spent_is_in_the_way ? Refusal::kBudgetExceeded : Refusal::kRequestExceedsBudget};
}

void CreditControl::Fund(KeyState& key, NanoUsd amount, bool capped) {
  // A deposit comes before the rule, so that an account which spent without a budget is covered
  // when the rule begins to hold; a withdrawal is checked by the caller to leave what is committed.
  const std::uint32_t leg = key.fund_legs++;
  if (amount != NanoUsd{0}) {
    const bool deposit = amount > NanoUsd{0};
    const TransferStatus status = book_.Create({.id = {key.id, leg},
                                                .kind = TransferKind::kSingle,
                                                .pending = {},
                                                .debit = deposit ? source_ : key.account,
                                                .credit = deposit ? key.account : source_,
                                                .amount = deposit ? amount : NanoUsd{-amount.n}});
    CHECK(status == TransferStatus::kCreated, "funding was checked against what is committed");
  }
  key.funded_nano += amount.n;
  CHECK(book_.SetRule(key.account, capped), "a budget is never set below what is committed");
}

void CreditControl::ApplyBudget(KeyState& key, const std::optional<NanoUsd>& budget, Instant now,
                                ledger::RecordBuffer& records) {
  const bool capped = budget.has_value();
  const NanoUsd amount{capped ? InRange(*budget).n - key.funded_nano : 0};
  if (amount == NanoUsd{0} && book_.Get(key.account).debits_must_not_exceed_credits == capped) {
    return;
  }
  ledger::Encode(
      ledger::FundRecord{
          .time = now, .key = key.id, .amount = amount, .capped = capped, .leg = key.fund_legs},
      records);
  ++position_.n;
  Fund(key, amount, capped);
}

RateViews CreditControl::Peek(const KeyId& key, const config::KeyLimits& limits, Instant now) {
  const Tick tick = Advance(now);
  const std::uint32_t* index = key_index_.Find(key);
  const policy::Rate requests = index != nullptr ? keys_[*index].requests : policy::Rate{};
  const policy::Rate tokens = index != nullptr ? keys_[*index].tokens : policy::Rate{};
  return {
      .requests = policy::View(policy::WithLimit(requests, limits.requests_per_minute, tick), tick),
      .tokens = policy::View(policy::WithLimit(tokens, limits.tokens_per_minute, tick), tick)};
}

AdmitReply CreditControl::Admit(const AdmitCommand& command, Instant now,
                                ledger::RecordBuffer& records) {
  CHECK(open_.Find(command.request) == nullptr, "a request is admitted once");
  const Tick tick = Advance(now);
  const std::uint32_t key_index = IndexOf(command.key);
  KeyState& key = keys_[key_index];
  const config::KeyLimits& limits = command.limits;

  // Decide. Nothing below changes anything until every check has passed.
  const policy::Rate requests = policy::WithLimit(key.requests, limits.requests_per_minute, tick);
  const policy::Rate tokens = policy::WithLimit(key.tokens, limits.tokens_per_minute, tick);
  AdmitReply reply;
  const auto refuse = [&](Refusal refusal, Duration retry_after) {
    reply.requests = policy::View(requests, tick);
    reply.tokens = policy::View(tokens, tick);
    reply.refusal = refusal;
    reply.retry_after = retry_after;
    if (limits.budget) {
      const Sum left =
          InRange(*limits.budget).n - Spent(key) - book_.Get(key.account).debits_pending;
      reply.budget_remaining = ledger::Saturated(std::max<Sum>(left, 0));
    }
    return reply;
  };
  if (limits.concurrent_requests > 0 && key.open >= limits.concurrent_requests) {
    return refuse(Refusal::kConcurrencyLimit, policy::kConcurrencyRetryAfter);
  }
  const policy::RateDecision request_taken = policy::Take(requests, 1, tick);
  if (!request_taken.allowed) {
    return refuse(Refusal::kRateLimitRequests, request_taken.retry_after);
  }
  const std::int64_t tokens_taken =
      std::min(policy::TokensTaken({.input = command.quote.input_tokens_bound,
                                    .output = command.quote.output_tokens_bound}),
               tokens.limit);
  const policy::RateDecision tokens_decision = policy::Take(tokens, tokens_taken, tick);
  if (!tokens_decision.allowed) {
    return refuse(Refusal::kRateLimitTokens, tokens_decision.retry_after);
  }
  const Grant grant = FitBudget(key, command);
  if (grant.refusal != Refusal::kNone) {
    reply.output_tokens_fitting = grant.output_fitting;
    return refuse(grant.refusal,
                  grant.refusal == Refusal::kInFlightReserved ? kInFlightRetryAfter : Duration{});
  }

  // Do. Nothing below can fail.
  ApplyBudget(key, limits.budget, now, records);
  const TransferStatus held = book_.Create({.id = {command.request, kLegHold},
                                            .kind = TransferKind::kPending,
                                            .pending = {},
                                            .debit = key.account,
                                            .credit = revenue_,
                                            .amount = grant.hold});
  CHECK(held == TransferStatus::kCreated, "the hold was checked against the budget, its id is new");
  key.requests = request_taken.after;
  key.tokens = tokens_decision.after;
  ++key.open;
  const ledger::PinnedPrice price = Pin(command.quote.price);
  ledger::Encode(ledger::IntentRecord{.time = now,
                                      .request = command.request,
                                      .key = command.key,
                                      .price = price,
                                      .hold = grant.hold,
                                      .input_tokens_bound = std::max<std::int64_t>(
                                          command.quote.input_tokens_bound, 0),
                                      .output_tokens_bound = grant.output_total},
                 records);
  ++position_.n;
  open_.Insert(command.request, {.key = key_index,
                                 .tokens_taken = tokens.limit > 0 ? tokens_taken : -1,
                                 .held = grant.hold,
                                 .position = position_,
                                 .price = price,
                                 .delivered = {}});
  reply.requests = policy::View(key.requests, tick);
  reply.tokens = policy::View(key.tokens, tick);
  reply.held = grant.hold;
  if (limits.budget) {
    reply.budget_remaining = ledger::Saturated(book_.Get(key.account).available());
  }
  reply.output_tokens_granted = grant.output_per_choice;
  reply.clamped = grant.clamped;
  reply.position = position_;
  return reply;
}

SettleReply CreditControl::Settle(const SettleCommand& command, Instant now,
                                  ledger::RecordBuffer& records) {
  const OpenRequest* found = open_.Find(command.request);
  CHECK(found != nullptr, "an admission is settled exactly once");
  const OpenRequest request = *found;
  const Tick tick = Advance(now);
  const Usage usage = policy::Plausible(command.usage);
  KeyState& key = keys_[request.key];
  if (request.tokens_taken >= 0) {
    const std::int64_t used =
        usage.source == UsageSource::kNone ? 0 : usage.input_tokens + usage.output_tokens;
    key.tokens = policy::Correct(key.tokens, used - request.tokens_taken, tick);
  }
  return Close(command.request, request, usage, command.charge, ledger::ResolveCause::kSettled, now,
               records);
}

SettleReply CreditControl::Close(const RequestId& id, const OpenRequest& request,
                                 const Usage& usage, bool charge, ledger::ResolveCause cause,
                                 Instant now, ledger::RecordBuffer& records) {
  const KeyId key = keys_[request.key].id;
  SettleReply reply;
  reply.price = policy::PriceOf(Unpin(request.price), usage);
  if (charge && usage.source != UsageSource::kNone) {
    reply.charged = std::min(reply.price, request.held);
    reply.overrun = reply.price - reply.charged;
    ledger::Encode(ledger::SettleRecord{.time = now,
                                        .request = id,
                                        .key = key,
                                        .price = request.price,
                                        .charged = reply.charged,
                                        .overrun = reply.overrun,
                                        .cause = cause,
                                        .usage = usage},
                   records);
    const TransferStatus status = Post(id, reply.charged, reply.overrun);
    CHECK(status == TransferStatus::kCreated, "an open request has an open hold");
  } else {
    ledger::Encode(ledger::VoidRecord{.time = now,
                                      .request = id,
                                      .key = key,
                                      .price = request.price,
                                      .released = request.held,
                                      .cause = cause,
                                      .usage = usage},
                   records);
    const TransferStatus status = Void(id);
    CHECK(status == TransferStatus::kCreated, "an open request has an open hold");
  }
  Forget(id);
  reply.position = {++position_.n};
  return reply;
}

TransferStatus CreditControl::Post(const RequestId& id, NanoUsd charged, NanoUsd overrun) {
  const OpenRequest* request = open_.Find(id);
  if (request == nullptr) return TransferStatus::kPendingNotFound;
  // Looked at before the first of the two legs, so that both are made or none is.
  if (overrun < NanoUsd{0} || overrun > kMaxNanoUsd) return TransferStatus::kAmountOutOfRange;
  const TransferStatus status = book_.Create({.id = {id, kLegResolve},
                                              .kind = TransferKind::kPost,
                                              .pending = {id, kLegHold},
                                              .debit = keys_[request->key].account,
                                              .credit = revenue_,
                                              .amount = charged});
  if (status != TransferStatus::kCreated || overrun == NanoUsd{0}) return status;
  return book_.Create({.id = {id, kLegOverrun},
                       .kind = TransferKind::kSingle,
                       .pending = {},
                       .debit = overrun_,
                       .credit = revenue_,
                       .amount = overrun});
}

TransferStatus CreditControl::Void(const RequestId& id) {
  const OpenRequest* request = open_.Find(id);
  if (request == nullptr) return TransferStatus::kPendingNotFound;
  return book_.Create({.id = {id, kLegResolve},
                       .kind = TransferKind::kVoid,
                       .pending = {id, kLegHold},
                       .debit = keys_[request->key].account,
                       .credit = revenue_,
                       .amount = request->held});
}

void CreditControl::Forget(const RequestId& id) {
  --keys_[open_.Find(id)->key].open;
  open_.Erase(id);
}

CheckpointReply CreditControl::Checkpoint(const CheckpointCommand& command, Instant now,
                                          ledger::RecordBuffer& records) {
  OpenRequest* request = open_.Find(command.request);
  CHECK(request != nullptr, "only an open request delivers");
  Usage usage = policy::Plausible(command.usage);
  usage.source = UsageSource::kCheckpoint;
  const Usage& before = request->delivered;
  if (before.source != UsageSource::kNone &&
      (usage.output_tokens < before.output_tokens || usage.input_tokens < before.input_tokens)) {
    return {position_};
  }
  request->delivered = usage;
  ledger::Encode(ledger::CheckpointRecord{.time = now,
                                          .request = command.request,
                                          .key = keys_[request->key].id,
                                          .price = request->price,
                                          .usage = usage},
                 records);
  ++position_.n;
  return {position_};
}

CreditReply CreditControl::Step(const CreditCommand& command, Instant now,
                                ledger::RecordBuffer& records) {
  if (const auto* admit = std::get_if<AdmitCommand>(&command)) return Admit(*admit, now, records);
  if (const auto* settle = std::get_if<SettleCommand>(&command)) {
    return Settle(*settle, now, records);
  }
  return Checkpoint(std::get<CheckpointCommand>(command), now, records);
}

std::optional<std::string> CreditControl::Replay(const ledger::Record& record) {
  ++position_.n;
  return std::visit([&](const auto& one) { return Replay(one); }, record);
}

std::optional<std::string> CreditControl::Replay(const ledger::IntentRecord& record) {
  const std::uint32_t key_index = IndexOf(record.key);
  const TransferStatus status = book_.Create({.id = {record.request, kLegHold},
                                              .kind = TransferKind::kPending,
                                              .pending = {},
                                              .debit = keys_[key_index].account,
                                              .credit = revenue_,
                                              .amount = record.hold});
  if (status != TransferStatus::kCreated) return Unexpected(record.request, "intent", status);
  ++keys_[key_index].open;
  open_.Insert(record.request, {.key = key_index,
                                .tokens_taken = -1,
                                .held = record.hold,
                                .position = position_,
                                .price = record.price,
                                .delivered = {}});
  return std::nullopt;
}

std::optional<std::string> CreditControl::Replay(const ledger::CheckpointRecord& record) {
  OpenRequest* request = open_.Find(record.request);
  if (request == nullptr) {
    return Unexpected(record.request, "checkpoint", TransferStatus::kPendingNotFound);
  }
  request->delivered = record.usage;
  return std::nullopt;
}

std::optional<std::string> CreditControl::Replay(const ledger::SettleRecord& record) {
  const TransferStatus status = Post(record.request, record.charged, record.overrun);
  if (status != TransferStatus::kCreated) return Unexpected(record.request, "settle", status);
  Forget(record.request);
  return std::nullopt;
}

std::optional<std::string> CreditControl::Replay(const ledger::VoidRecord& record) {
  const TransferStatus status = Void(record.request);
  if (status != TransferStatus::kCreated) return Unexpected(record.request, "void", status);
  Forget(record.request);
  return std::nullopt;
}

std::optional<std::string> CreditControl::Replay(const ledger::FundRecord& record) {
  KeyState& key = keys_[IndexOf(record.key)];
  // In 128 bits, because a journal that was altered may hold any amount.
  const Sum funded = static_cast<Sum>(key.funded_nano) + record.amount.n;
  const Sum committed = Spent(key) + book_.Get(key.account).debits_pending;
  if (record.leg != key.fund_legs || funded < 0 || funded > kMaxNanoUsd.n ||
      (record.capped ? funded < committed : record.amount != NanoUsd{0})) {
    return "fund " + std::to_string(record.leg) + " of key " + ToString(record.key) +
           ": out of order or below what is committed";
  }
  Fund(key, record.amount, record.capped);
  return std::nullopt;
}

Resolution CreditControl::ResolveOpen(Instant now, ledger::RecordBuffer& records) {
  std::vector<std::pair<JournalPosition, RequestId>> open;
  open.reserve(open_.size());
  open_.ForEach([&](const RequestId& id, const OpenRequest& request) {
    open.emplace_back(request.position, id);
  });
  std::ranges::sort(open, {}, [](const auto& entry) { return entry.first; });
  Resolution done;
  for (const auto& [position, id] : open) {
    const OpenRequest request = *open_.Find(id);
    const SettleReply reply =
        Close(id, request, request.delivered, true, ledger::ResolveCause::kRecovery, now, records);
    ++(request.delivered.source == UsageSource::kNone ? done.voided : done.settled);
    const auto add = [](NanoUsd& sum, NanoUsd amount) {
      sum = ledger::Saturated(static_cast<Sum>(sum.n) + amount.n);
    };
    add(done.charged, reply.charged);
    add(done.overrun, reply.overrun);
    add(done.released, request.held - reply.charged);
  }
  return done;
}

std::optional<KeyStanding> CreditControl::Standing(const KeyId& id) const {
  const std::uint32_t* index = key_index_.Find(id);
  if (index == nullptr) return std::nullopt;
  const KeyState& key = keys_[*index];
  const ledger::Account& account = book_.Get(key.account);
  KeyStanding standing;
  if (account.debits_must_not_exceed_credits) standing.budget = NanoUsd{key.funded_nano};
  standing.settled = ledger::Saturated(Spent(key));
  standing.held = ledger::Saturated(account.debits_pending);
  standing.requests_open = key.open;
  return standing;
}

CreditTotals CreditControl::Totals() const {
  const ledger::Account& revenue = book_.Get(revenue_);
  const ledger::Account& overrun = book_.Get(overrun_);
  return {.charged = ledger::Saturated(revenue.credits_posted - overrun.debits_posted),
          .overrun = ledger::Saturated(overrun.debits_posted),
          .held = ledger::Saturated(revenue.credits_pending),
          .requests_open = open_.size(),
          .keys = keys_.size()};
}

}  // namespace weir::gateway
