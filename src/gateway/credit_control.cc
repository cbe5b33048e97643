#include "gateway/credit_control.h"

#include <algorithm>

#include "base/check.h"
#include "policy/quota_fit.h"
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
// Somebody must give more: to ask again within the day is of no use.
constexpr Duration kNotByItself = Seconds(24 * 3600);

// The legs of a request's transfers. Frozen: a recovery computes the same ids.
constexpr std::uint32_t kLegHold = 0;
constexpr std::uint32_t kLegResolve = 1;
constexpr std::uint32_t kLegOverrun = 2;
constexpr std::uint32_t kLegWalletOverrun = 3;
constexpr std::uint32_t kLegMore = 16;  // the n-th further hold and its resolution: + 2n, + 2n + 1
// A request holds of so many grants, and is extended so often, at most.
constexpr std::size_t kLegsMax = 4096;
// Held at first in kAdaptive, and by which extensions are meant to grow.
constexpr std::int64_t kOutputChunk = 1024;
constexpr std::size_t kRecentPricesMax = 8;

// The price of a record of versions 1 and 2, which had these dimensions only.
config::Price Unpin(const ledger::PinnedPrice& price) {
  config::Price unpinned;
  unpinned.input = price.input;
  unpinned.cached_input = price.cached_input;
  unpinned.cache_write = price.cache_write;
  unpinned.output = price.output;
  unpinned.per_request = price.per_request;
  unpinned.audio_second = price.audio_second;
  unpinned.version = price.version;
  return unpinned;
}

policy::TokenBounds BoundsOf(const Quote& quote, std::int64_t output) {
  return {.input = quote.input_tokens_bound,
          .output = output,
          .audio_ms = quote.audio_ms_bound,
          .tool_calls = quote.tool_calls_bound};
}

// Per choice. Rounded up: a bound that the choices do not divide is held for the larger share.
std::int64_t AskedOf(const Quote& quote) {
  const std::int64_t choices = std::max<std::int64_t>(quote.output_choices, 1);
  const std::int64_t bound =
      std::clamp<std::int64_t>(quote.output_tokens_bound, 0, policy::kTokensMax);
  return bound / choices + (bound % choices != 0 ? 1 : 0);
}

NanoUsd InRange(NanoUsd budget) { return std::clamp(budget, NanoUsd{0}, kMaxNanoUsd); }

std::string NotItsLines(const RequestId& request, std::string_view record) {
  return std::string(record) + " of request " + ToString(request) +
         ": its figures of policies are not those of its hold";
}

// Until when a caller should wait. Nothing for what waiting does not change.
Duration RetryAfterOf(Refusal refusal, const AdmitReply& reply, Instant now) {
  switch (refusal) {
    case Refusal::kPolicyInFlight:
    case Refusal::kPolicyConcurrency:
      return kInFlightRetryAfter;
    case Refusal::kQuotaExceeded:
    case Refusal::kPolicyBudgetLater:
    case Refusal::kAttemptsExhausted:
      return reply.quota_resets_at.ns == INT64_MAX ? kNotByItself : reply.quota_resets_at - now;
    default:
      return {};
  }
}

std::string Unexpected(const RequestId& request, std::string_view record, TransferStatus status) {
  return std::string(record) + " of request " + ToString(request) + ": " +
         std::string(Name(status));
}

}  // namespace

// What the budget says to a request.
struct CreditControl::Grant {
  Refusal refusal = Refusal::kNone;
  NanoUsd hold{};
  ledger::Amount wallet_hold{};
  std::int64_t output_per_choice = 0;
  std::int64_t output_held = 0;  // over all choices
  bool clamped = false;
  std::int64_t output_fitting = 0;            // per choice, with kRequestExceedsBudget
  std::optional<policy::Verdict> quota = {};  // of the policy that refuses
};

CreditControl::CreditControl(Options options)
    : book_({.accounts_expected = options.keys_expected + 3}),
      source_(operators_.Of(ledger::AccountKind::kSource, ledger::Unit::kNanoUsd)),
      revenue_(operators_.Of(ledger::AccountKind::kRevenue, ledger::Unit::kNanoUsd)),
      key_index_(options.keys_expected) {
  keys_.reserve(options.keys_expected);
  // A trial balance has it, also while it is zero.
  operators_.Of(ledger::AccountKind::kOverrun, ledger::Unit::kNanoUsd);
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
  wall_high_ = std::max(wall_high_, now);
  return clock_;
}

// Every withdrawal raised the debits without being spent; credits_posted - funded is their sum.
Sum CreditControl::Spent(const KeyState& key) const {
  const ledger::Account& account = book_.Get(key.account);
  return account.debits_posted - (account.credits_posted - key.funded_nano);
}

// What the request wants at most, shortened to what policies allow of any one request.
policy::Ask CreditControl::AskOf(const KeyState& key, const AdmitCommand& command,
                                 config::PriceId price) const {
  const Quote& quote = command.quote;
  const std::int64_t choices = std::max<std::int64_t>(quote.output_choices, 1);
  policy::Ask ask{.demand = {.price = &quote.price,
                             .bounds = BoundsOf(quote, 0),
                             .choices = choices,
                             .multiplier_ppm = quote.multiplier_ppm,
                             .attempts = command.attempts_max},
                  .output = AskedOf(quote)};
  std::vector<policy::QuotaUse> alone;
  std::vector<policy::Standing> standings;
  for (std::size_t i = 0; i < command.quotas.size(); ++i) {
    if (!command.quotas[i].counter.empty()) continue;
    alone.push_back(command.quotas[i]);
    standings.push_back(standings_[i]);
  }
  if (!alone.empty()) {
    const auto left =
        policy::OutputLeft(alone, standings, ask, ask.output, policy::Room::kAvailable);
    if (left && *left > 0) ask.output = *left;
  }
  ask.output_useful = std::min(ask.output, std::max<std::int64_t>(quote.output_tokens_useful, 1));
  ask.output_usual = ask.output;
  if (command.mode == HoldMode::kAdaptive || !command.quotas.empty()) {
    ask.output_usual = std::min(ask.output, UsualOutput(key, price));
  }
  return ask;
}

CreditControl::Grant CreditControl::Fit(const KeyState& key, const AdmitCommand& command,
                                        const policy::Ask& ask, Instant now) const {
  const Quote& quote = command.quote;
  const std::int64_t choices = ask.demand.choices;
  const bool adaptive = command.mode == HoldMode::kAdaptive;
  const std::int64_t first = adaptive ? ask.output_usual : ask.output;
  const std::int64_t useful = std::min(first, ask.output_useful);

  // What each of the two has: now, if nothing else were in flight, and if nothing had been spent.
  struct Room {
    Sum budget = kMaxNanoUsd.n;
    Sum wallet = ledger::kMaxAmount.n;
  };
  Room available, alone, whole;
  if (command.limits.budget) {
    whole.budget = InRange(*command.limits.budget).n;
    alone.budget = whole.budget - Spent(key);
    available.budget = alone.budget - book_.Get(key.account).debits_pending;
  }
  if (command.wallet) {
    const WalletUse& use = *command.wallet;
    available.wallet = wallets_.Available(use.wallet, use.rate.unit, now);
    alone.wallet = wallets_.Alone(use.wallet, use.rate.unit, now);
  }
  const policy::TokenBounds bounds = BoundsOf(quote, 0);
  // The output per choice that fits; nothing when not even the input does.
  const auto fitting = [&](const Room& room) -> std::optional<std::int64_t> {
    if (room.budget < 0 || room.wallet < 0) return std::nullopt;
    auto fits =
        policy::OutputFitting(quote.price, bounds, choices, first, ledger::Saturated(room.budget));
    if (!fits || !command.wallet) return fits;
    return policy::WalletOutputFitting(command.wallet->rate, quote.price, bounds, choices, *fits,
                                       ledger::Clipped(room.wallet));
  };
  const auto worth = [&](std::optional<std::int64_t> output) {
    return output && (*output == first || *output >= useful);
  };

  // The same with what policies have left.
  const auto fitting_all = [&](const Room& room) {
    auto fits = fitting(room);
    if (!fits || command.quotas.empty()) return fits;
    return policy::OutputLeft(command.quotas, standings_, ask, *fits, policy::Room::kAvailable);
  };

  if (const auto fits = fitting_all(available); worth(fits)) {
    const std::int64_t total = *fits * choices;
    // Where not even the usual fits there is nothing to grow into: clamped as in kStrict, so that
    // the answer ends within the hold instead of being cut at its first tokens.
    const bool grows = adaptive && *fits == first;
    Grant grant{.hold = policy::HoldOf(quote.price, BoundsOf(quote, total)),
                .output_per_choice = grows ? ask.output : *fits,
                .output_held = total,
                .clamped = (grows ? ask.output : *fits) < AskedOf(quote)};
    if (command.wallet) {
      grant.wallet_hold =
          policy::WalletHoldOf(command.wallet->rate, quote.price, BoundsOf(quote, total));
    }
    return grant;
  }
  if (worth(fitting(available))) {
    policy::Ask of_policies = ask;
    of_policies.output = first;
    of_policies.output_useful = useful;
    const auto verdict = policy::JudgeOutput(command.quotas, standings_, of_policies);
    CHECK(verdict.refusal != Refusal::kNone, "what leaves too little is a policy with too little");
    return {.refusal = verdict.refusal, .quota = verdict};
  }
  const auto fits_alone = fitting(alone);
  if (worth(fits_alone)) return {.refusal = Refusal::kInFlightReserved};
  // Whose fault it is: the wallet's if the budget alone would do.
  Room budget_alone;
  budget_alone.budget = alone.budget;
  if (command.wallet && worth(fitting(budget_alone))) {
    return {.refusal = Refusal::kInsufficientBalance};
  }
  if (fits_alone.value_or(0) > 0) {
    return {.refusal = Refusal::kRequestExceedsBudget, .output_fitting = *fits_alone};
  }
  const auto fits_whole = fitting(whole);
  const bool spent_is_in_the_way = fits_whole && (*fits_whole > 0 || first == 0);
  return {.refusal =
              spent_is_in_the_way ? Refusal::kBudgetExceeded : Refusal::kRequestExceedsBudget};
}

// Nearly the largest of the last few: the 95th percentile of twenty, in whole chunks.
std::int64_t CreditControl::UsualOutput(const KeyState& key, config::PriceId price) const {
  const auto found = std::ranges::find(key.recent, price, &RecentOutputs::price);
  if (found == key.recent.end()) return kOutputChunk;
  auto outputs = found->outputs;
  const std::size_t count = std::min(found->count, RecentOutputs::kKept);
  std::sort(outputs.begin(), outputs.begin() + static_cast<std::ptrdiff_t>(count));
  const std::int64_t usual = outputs[(count * 95 + 99) / 100 - 1];
  return (usual / kOutputChunk + 1) * kOutputChunk;
}

void CreditControl::NoteOutput(KeyState& key, config::PriceId price, std::int64_t output_tokens) {
  auto found = std::ranges::find(key.recent, price, &RecentOutputs::price);
  if (found == key.recent.end()) {
    if (key.recent.size() >= kRecentPricesMax) key.recent.erase(key.recent.begin());
    found = key.recent.insert(key.recent.end(), {.price = price});
  }
  found->outputs[found->count++ % RecentOutputs::kKept] = output_tokens;
}

// Later records may refer to the price: a journal that began with version 1 or 2 has prices that no
// record of their own has yet.
config::PriceId CreditControl::Know(const Quote& quote, Instant now,
                                    ledger::RecordBuffer& records) {
  if (quote.price_id.n != 0) {
    const KnownPrice* const known = prices_.Find(quote.price_id);
    if (known != nullptr && known->written) return quote.price_id;
  }
  ledger::PriceRecord record{.time = now, .id = 0, .bytes = {}};
  config::EncodePrice(quote.price, record.bytes);
  const config::PriceId id = config::IdOf(record.bytes);
  KnownPrice* known = prices_.Find(id);
  if (known == nullptr) known = &prices_.Insert(id, {.price = quote.price});
  if (!known->written) {
    record.id = id.n;
    ledger::Encode(record, records);
    ++position_.n;
    known->written = true;
  }
  return id;
}

const config::Price& CreditControl::PriceOf(const OpenRequest& request) const {
  const KnownPrice* const known = prices_.Find(request.price);
  CHECK(known != nullptr, "the price of an open request is known");
  return known->price;
}

ledger::WalletHold CreditControl::LinesOf(const WalletUse& use, ledger::Amount amount,
                                          Instant now) const {
  ledger::WalletHold hold{.wallet = use.wallet,
                          .unit = use.rate.unit,
                          .multiplier_ppm = use.rate.multiplier_ppm,
                          .lines = {}};
  for (const GrantHold& line : wallets_.Plan(use.wallet, amount, now)) {
    hold.lines.push_back({wallets_.IdOf(line.grant), line.amount});
  }
  return hold;
}

TransferStatus CreditControl::AddLeg(const RequestId& id, OpenRequest& request, const Leg& leg) {
  if (request.legs.size() >= kLegsMax) return TransferStatus::kAmountOutOfRange;
  const auto n = static_cast<std::uint32_t>(request.legs.size());
  const TransferStatus status = book_.Create(
      {.id = {id, kLegMore + 2 * n},
       .kind = TransferKind::kPending,
       .pending = {},
       .debit = leg.account,
       .credit = operators_.Of(ledger::AccountKind::kRevenue, book_.Get(leg.account).id.unit),
       .amount = leg.amount});
  if (status == TransferStatus::kCreated) request.legs.push_back(leg);
  return status;
}

TransferStatus CreditControl::AddWalletLegs(const RequestId& id, OpenRequest& request,
                                            const ledger::WalletHold& hold) {
  const auto lines = wallets_.Resolve(hold.lines);
  if (!lines) return TransferStatus::kDebitAccountNotFound;
  for (const GrantHold& line : *lines) {
    const TransferStatus status =
        AddLeg(id, request, {true, wallets_.AccountOf(line.grant), line.amount});
    if (status != TransferStatus::kCreated) return status;
    request.wallet_held = ledger::Clipped(Sum{request.wallet_held.n} + line.amount.n);
  }
  return TransferStatus::kCreated;
}

void CreditControl::EndGrants(const WalletId& id, Instant now, ledger::RecordBuffer& records) {
  std::vector<ledger::GrantEndRecord> ending;
  wallets_.Ending(id, now, ending);
  for (const ledger::GrantEndRecord& record : ending) {
    ledger::Encode(record, records);
    ++position_.n;
    CHECK(wallets_.Apply(record), "what no request holds can be taken off");
  }
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
                                                .amount = {deposit ? amount.n : -amount.n}});
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
    if (command.wallet) {
      reply.wallet_remaining = ledger::Clipped(
          wallets_.Available(command.wallet->wallet, command.wallet->rate.unit, now, SIZE_MAX));
    }
    return reply;
  };
  if (command.idempotency) {
    const auto found = idempotency_.Look(*command.idempotency, now);
    switch (found.state) {
      case IdempotencyTable::State::kFree:
        break;
      case IdempotencyTable::State::kInProgress:
        return refuse(Refusal::kIdempotencyKeyInUse, kInFlightRetryAfter);
      case IdempotencyTable::State::kOtherRequest:
        return refuse(Refusal::kIdempotencyKeyReused, {});
      case IdempotencyTable::State::kFinished:
        reply.replay = found.request;
        return refuse(Refusal::kNone, {});
    }
  }
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
  const bool needs_usual = command.mode == HoldMode::kAdaptive || !command.quotas.empty();
  const config::PriceId usual_of = needs_usual && command.quote.price_id.n == 0
                                       ? config::IdOf(command.quote.price)
                                       : command.quote.price_id;
  const Instant window_time = WindowTime(now);
  standings_.clear();
  for (const policy::QuotaUse& use : command.quotas) {
    standings_.push_back(quotas_.Look(use, window_time));
  }
  policy::Ask ask = AskOf(key, command, usual_of);
  const auto refuse_by_policy = [&](const policy::Verdict& verdict) {
    NoteQuota(command, verdict.use, verdict.amount, window_time, reply);
    return refuse(verdict.refusal, RetryAfterOf(verdict.refusal, reply, window_time));
  };
  const policy::Verdict fixed = policy::JudgeFixed(command.quotas, standings_, ask);
  if (fixed.refusal != Refusal::kNone) return refuse_by_policy(fixed);
  const Grant grant = Fit(key, command, ask, now);
  if (grant.quota) return refuse_by_policy(*grant.quota);
  if (grant.refusal != Refusal::kNone) {
    reply.output_tokens_fitting = grant.output_fitting;
    return refuse(grant.refusal,
                  grant.refusal == Refusal::kInFlightReserved ? kInFlightRetryAfter : Duration{});
  }

  // Do. Nothing below can fail.
  if (command.wallet) EndGrants(command.wallet->wallet, now, records);
  ApplyBudget(key, limits.budget, now, records);
  const config::PriceId price = Know(command.quote, now, records);
  const TransferStatus held = book_.Create({.id = {command.request, kLegHold},
                                            .kind = TransferKind::kPending,
                                            .pending = {},
                                            .debit = key.account,
                                            .credit = revenue_,
                                            .amount = ledger::AmountOf(grant.hold)});
  CHECK(held == TransferStatus::kCreated, "the hold was checked against the budget, its id is new");
  key.requests = request_taken.after;
  key.tokens = tokens_decision.after;
  ++key.open;
  ledger::IntentRecord intent{
      .time = now,
      .request = command.request,
      .key = command.key,
      .price_id = price.n,
      .hold = grant.hold,
      .input_tokens_bound = std::max<std::int64_t>(command.quote.input_tokens_bound, 0),
      .output_tokens_bound = grant.output_held,
      .idempotency = command.idempotency};
  OpenRequest open{.key = key_index,
                   .tokens_taken = tokens.limit > 0 ? tokens_taken : -1,
                   .first_held = grant.hold,
                   .held = grant.hold,
                   .price = price,
                   .bounds = BoundsOf(command.quote, grant.output_held),
                   .legs = {},
                   .wallet = command.wallet,
                   .quotas = {},
                   .multiplier_ppm = command.quote.multiplier_ppm};
  if (command.wallet) {
    intent.wallet = LinesOf(*command.wallet, grant.wallet_hold, now);
    const TransferStatus status = AddWalletLegs(command.request, open, *intent.wallet);
    CHECK(status == TransferStatus::kCreated, "the hold was checked against the wallet");
  }
  if (!command.quotas.empty()) {
    ask.demand.fallback_spend =
        ledger::Saturated(static_cast<Sum>(grant.hold.n) * command.fallback_spend_percent / 100);
    HoldQuotas(command, ask, grant, window_time, intent, open, reply, records);
  }
  ledger::Encode(intent, records);
  open.position = {++position_.n};
  if (command.idempotency) {
    idempotency_.Begin(*command.idempotency, command.request, now);
    open.idempotency = command.idempotency->key;
  }
  open_.Insert(command.request, std::move(open));
  reply.requests = policy::View(key.requests, tick);
  reply.tokens = policy::View(key.tokens, tick);
  reply.held = grant.hold;
  if (limits.budget) {
    reply.budget_remaining = ledger::Saturated(book_.Get(key.account).available());
  }
  reply.output_tokens_granted = grant.output_per_choice;
  reply.output_tokens_held = grant.output_held;
  reply.clamped = grant.clamped;
  reply.position = position_;
  if (command.wallet) {
    reply.wallet_held = grant.wallet_hold;
    reply.wallet_remaining = ledger::Clipped(
        wallets_.Available(command.wallet->wallet, command.wallet->rate.unit, now, SIZE_MAX));
  }
  return reply;
}

SettleReply CreditControl::Settle(const SettleCommand& command, Instant now,
                                  ledger::RecordBuffer& records) {
  const OpenRequest* request = open_.Find(command.request);
  CHECK(request != nullptr, "an admission is settled exactly once");
  const Tick tick = Advance(now);
  const Usage usage = policy::Plausible(command.usage);
  KeyState& key = keys_[request->key];
  if (request->tokens_taken >= 0) {
    const std::int64_t used =
        usage.source == UsageSource::kNone ? 0 : usage.input_tokens + usage.output_tokens;
    key.tokens = policy::Correct(key.tokens, used - request->tokens_taken, tick);
  }
  if (usage.source == UsageSource::kProvider) {
    NoteOutput(key, request->price, usage.output_tokens);
  }
  return Close(command, ledger::ResolveCause::kSettled, now, records);
}

SettleReply CreditControl::Close(const SettleCommand& command, ledger::ResolveCause cause,
                                 Instant now, ledger::RecordBuffer& records) {
  const RequestId& id = command.request;
  const Usage usage = policy::Plausible(command.usage);
  OpenRequest& request = *open_.Find(id);
  const KeyId key = keys_[request.key].id;
  const config::Price& price = PriceOf(request);
  const std::optional<WalletUse> wallet = request.wallet;
  const bool charged = command.charge && usage.source != UsageSource::kNone;
  SettleReply reply;
  reply.price = policy::PriceOf(price, usage);
  std::vector<ledger::Amount> used;
  if (!request.quotas.empty()) {
    used = UsedOfQuotas(
        request,
        {.usage = usage,
         .price = reply.price,
         .charged = charged,
         .attempts = command.attempts,
         .fallback_spend = ledger::Saturated(Sum{command.fallback_spend.n} +
                                             (command.by_fallback && charged ? reply.price.n : 0)),
         .multiplier_ppm = request.multiplier_ppm},
        command.providers);
  }
  if (wallet) reply.wallet = wallet->rate;
  if (charged) {
    reply.charged = std::min(reply.price, request.held);
    reply.overrun = reply.price - reply.charged;
    Know({.price = price, .price_id = request.price}, now, records);
    ledger::SettleRecord record{.time = now,
                                .request = id,
                                .key = key,
                                .price_id = request.price.n,
                                .charged = reply.charged,
                                .overrun = reply.overrun,
                                .cause = cause,
                                .usage = usage};
    if (wallet) {
      const ledger::Amount due = policy::WalletPriceOf(wallet->rate, price, usage);
      reply.wallet_charged = std::min(due, request.wallet_held);
      reply.wallet_overrun = due - reply.wallet_charged;
      record.wallet = ledger::WalletCharge{reply.wallet_charged, reply.wallet_overrun};
    }
    record.quotas = used;
    ledger::Encode(record, records);
    const TransferStatus status = Post(id, reply.charged, reply.overrun, record.wallet);
    CHECK(status == TransferStatus::kCreated, "an open request has open holds");
  } else {
    ledger::VoidRecord record{.time = now,
                              .request = id,
                              .key = key,
                              .released = request.held,
                              .cause = cause,
                              .usage = usage};
    // Nothing used is what a record without figures says.
    if (std::ranges::any_of(used, [](ledger::Amount amount) { return amount.n != 0; })) {
      record.quotas = used;
    }
    ledger::Encode(record, records);
    const TransferStatus status = Void(id);
    CHECK(status == TransferStatus::kCreated, "an open request has open holds");
  }
  const std::vector<policy::QuotaLeg> quotas = request.quotas;
  CHECK(ResolveQuotas(id, used), "the figures are those of the request's lines");
  Forget(id, charged);
  reply.position = {++position_.n};
  TellCrossed(quotas, now, records);
  if (wallet) {
    EndGrants(wallet->wallet, now, records);
    reply.wallet_remaining =
        ledger::Clipped(wallets_.Available(wallet->wallet, wallet->rate.unit, now, SIZE_MAX));
    reply.wallet_low =
        wallet->low > ledger::Amount{0} && wallets_.NoteLow(wallet->wallet, wallet->low, now);
  }
  return reply;
}

TransferStatus CreditControl::Post(const RequestId& id, NanoUsd charged, NanoUsd overrun,
                                   const std::optional<ledger::WalletCharge>& wallet) {
  const OpenRequest* request = open_.Find(id);
  if (request == nullptr) return TransferStatus::kPendingNotFound;
  // Looked at before the first leg, so that all are made or none is.
  const auto in_range = [](std::int64_t n) { return n >= 0 && n <= ledger::kMaxAmount.n; };
  if (!in_range(charged.n) || !in_range(overrun.n)) return TransferStatus::kAmountOutOfRange;
  if (wallet && (!in_range(wallet->charged.n) || !in_range(wallet->overrun.n))) {
    return TransferStatus::kAmountOutOfRange;
  }
  const ledger::Amount of_wallet = wallet ? wallet->charged : ledger::Amount{};
  if (charged > request->held || of_wallet > request->wallet_held) {
    return TransferStatus::kExceedsPendingAmount;
  }
  // In the order of the holds, which for a wallet is that in which its grants burn.
  std::int64_t left = charged.n;
  std::int64_t wallet_left = of_wallet.n;
  const auto take = [](std::int64_t& from, std::int64_t held) {
    const std::int64_t taken = std::min(from, held);
    from -= taken;
    return ledger::Amount{taken};
  };
  TransferStatus status = book_.Create({.id = {id, kLegResolve},
                                        .kind = TransferKind::kPost,
                                        .pending = {id, kLegHold},
                                        .debit = keys_[request->key].account,
                                        .credit = revenue_,
                                        .amount = take(left, request->first_held.n)});
  for (std::uint32_t i = 0; status == TransferStatus::kCreated && i < request->legs.size(); ++i) {
    const Leg& leg = request->legs[i];
    status = book_.Create(
        {.id = {id, kLegMore + 2 * i + 1},
         .kind = TransferKind::kPost,
         .pending = {id, kLegMore + 2 * i},
         .debit = leg.account,
         .credit = operators_.Of(ledger::AccountKind::kRevenue, book_.Get(leg.account).id.unit),
         .amount = take(leg.of_wallet ? wallet_left : left, leg.amount.n)});
  }
  const auto overrun_of = [&](std::uint32_t leg, ledger::Unit unit, std::int64_t amount) {
    if (status != TransferStatus::kCreated || amount == 0) return;
    status = book_.Create({.id = {id, leg},
                           .kind = TransferKind::kSingle,
                           .pending = {},
                           .debit = operators_.Of(ledger::AccountKind::kOverrun, unit),
                           .credit = operators_.Of(ledger::AccountKind::kRevenue, unit),
                           .amount = {amount}});
  };
  overrun_of(kLegOverrun, ledger::Unit::kNanoUsd, overrun.n);
  if (wallet && request->wallet) {
    overrun_of(kLegWalletOverrun, request->wallet->rate.unit, wallet->overrun.n);
  }
  if (status == TransferStatus::kCreated) keys_overrun_ += overrun.n;
  return status;
}

TransferStatus CreditControl::Void(const RequestId& id) {
  const OpenRequest* request = open_.Find(id);
  if (request == nullptr) return TransferStatus::kPendingNotFound;
  TransferStatus status = book_.Create({.id = {id, kLegResolve},
                                        .kind = TransferKind::kVoid,
                                        .pending = {id, kLegHold},
                                        .debit = keys_[request->key].account,
                                        .credit = revenue_,
                                        .amount = ledger::AmountOf(request->first_held)});
  // The other way round than they were made.
  for (auto i = static_cast<std::uint32_t>(request->legs.size());
       status == TransferStatus::kCreated && i-- > 0;) {
    const Leg& leg = request->legs[i];
    status = book_.Create(
        {.id = {id, kLegMore + 2 * i + 1},
         .kind = TransferKind::kVoid,
         .pending = {id, kLegMore + 2 * i},
         .debit = leg.account,
         .credit = operators_.Of(ledger::AccountKind::kRevenue, book_.Get(leg.account).id.unit),
         .amount = leg.amount});
  }
  return status;
}

void CreditControl::Forget(const RequestId& id, bool keep_reply) {
  const OpenRequest& request = *open_.Find(id);
  --keys_[request.key].open;
  if (request.wallet) wallets_.Tidy(request.wallet->wallet);
  if (request.idempotency) idempotency_.End(*request.idempotency, keep_reply);
  open_.Erase(id);
}

ExtendReply CreditControl::Extend(const ExtendCommand& command, Instant now,
                                  ledger::RecordBuffer& records) {
  OpenRequest* const request = open_.Find(command.request);
  CHECK(request != nullptr, "only an open request is extended");
  Advance(now);
  const KeyState& key = keys_[request->key];
  const std::int64_t more = std::clamp<std::int64_t>(command.output_tokens, 0, policy::kTokensMax);
  policy::TokenBounds bounds = request->bounds;
  bounds.output = std::min(bounds.output + more, policy::kTokensMax);
  const config::Price& price = PriceOf(*request);
  const NanoUsd added = policy::HoldOf(price, bounds) - request->held;
  const ExtendReply refused{
      .granted = false, .output_tokens_held = request->bounds.output, .position = position_};
  const ledger::Account& account = book_.Get(key.account);
  if (account.debits_must_not_exceed_credits && added.n > account.available()) return refused;
  if (request->legs.size() + 1 + ledger::kHoldLinesMax > kLegsMax) return refused;
  ledger::ExtendRecord record{.time = now,
                              .request = command.request,
                              .hold = added,
                              .output_tokens_bound = bounds.output - request->bounds.output};
  if (request->wallet) {
    const WalletUse& use = *request->wallet;
    const ledger::Amount wallet_added =
        policy::WalletHoldOf(use.rate, price, bounds) - request->wallet_held;
    if (wallet_added.n > wallets_.Available(use.wallet, use.rate.unit, now)) return refused;
    record.wallet = LinesOf(use, wallet_added, now);
  }
  if (!request->uses.empty() && !ExtendQuotas(*request, bounds, now, record, records)) {
    ExtendReply by_policy = refused;
    by_policy.by_policy = true;
    return by_policy;
  }
  ledger::Encode(record, records);
  ++position_.n;
  const auto broken = Apply(record, *request, WindowTime(now));
  CHECK(!broken, "an extension was checked against all that pays for it");
  return {.granted = true,
          .output_tokens_held = bounds.output,
          .position = position_,
          .held = request->held,
          .wallet_held = request->wallet_held};
}

std::optional<std::string> CreditControl::Apply(const ledger::ExtendRecord& record,
                                                OpenRequest& request, Instant at) {
  TransferStatus status = AddLeg(
      record.request, request, {false, keys_[request.key].account, ledger::AmountOf(record.hold)});
  if (status == TransferStatus::kCreated && record.wallet) {
    status = AddWalletLegs(record.request, request, *record.wallet);
  }
  if (status != TransferStatus::kCreated) return Unexpected(record.request, "extension", status);
  for (const ledger::QuotaLine& line : record.quotas) {
    if (!AddToQuotaLine(request, line, at)) {
      return "extension of request " + ToString(record.request) + ": counter " +
             std::to_string(line.counter) + " has no room for it";
    }
  }
  request.held = ledger::Saturated(static_cast<Sum>(request.held.n) + record.hold.n);
  request.bounds.output += record.output_tokens_bound;
  return std::nullopt;
}

GrantReply CreditControl::Give(ledger::GrantRecord grant, Instant now,
                               ledger::RecordBuffer& records) {
  Advance(now);
  grant.time = now;
  if (auto known = wallets_.Find(grant.grant)) {
    known->time = grant.time;
    return {*known == grant ? GrantStatus::kExists : GrantStatus::kConflict, position_};
  }
  if (!wallets_.MayCreate(grant)) return {GrantStatus::kConflict, position_};
  ledger::Encode(grant, records);
  CHECK(wallets_.Apply(grant), "it may be created");
  return {GrantStatus::kCreated, {++position_.n}};
}

RevokeReply CreditControl::Revoke(const GrantId& grant, Instant now,
                                  ledger::RecordBuffer& records) {
  Advance(now);
  const auto record = wallets_.Revoking(grant, now);
  if (!record) return {.found = wallets_.Find(grant).has_value(), .position = position_};
  ledger::Encode(*record, records);
  CHECK(wallets_.Apply(*record), "what no request holds can be taken off");
  return {.found = true, .removed = record->removed, .position = {++position_.n}};
}

JournalPosition CreditControl::Sweep(Instant now, ledger::RecordBuffer& records) {
  Advance(now);
  for (std::size_t i = 0; i < wallets_.size(); ++i) EndGrants(wallets_.WalletAt(i), now, records);
  return position_;
}

std::optional<WalletView> CreditControl::ViewWallet(const WalletId& id, Instant now) const {
  return wallets_.View(id, now);
}

void CreditControl::NoteQuota(const AdmitCommand& command, std::size_t use, std::int64_t amount,
                              Instant now, AdmitReply& reply) const {
  const policy::Standing& standing = standings_[use];
  reply.quota = use;
  reply.quota_limit = standing.limit;
  reply.quota_remaining = ledger::Clipped(std::max<Sum>(standing.Available(), 0)).n;
  reply.quota_resets_at = command.quotas[use].counter.empty()
                              ? Instant{INT64_MAX}
                              : quotas_.AvailableAt(standing, amount, now);
}

// Two passes: a counter whose window is over may be dropped to make room for a new one, so those
// that are there get their new windows first.
void CreditControl::OpenCounters(std::span<const policy::QuotaUse> uses,
                                 std::span<const policy::Standing> standings,
                                 const policy::Facts& facts, Instant now,
                                 ledger::RecordBuffer& records) {
  const auto turn = [&](std::size_t i) {
    const auto window = quotas_.Turning(uses[i], standings[i], now);
    if (!window) return;
    ledger::Encode(*window, records);
    ++position_.n;
    CHECK(quotas_.Apply(*window), "a window follows from its counter");
  };
  for (std::size_t i = 0; i < uses.size(); ++i) {
    if (standings[i].counter != policy::Standing::kNone) turn(i);
  }
  for (std::size_t i = 0; i < uses.size(); ++i) {
    if (standings[i].counter != policy::Standing::kNone) continue;
    const auto counter = quotas_.Opening(uses[i], standings[i], facts, now);
    if (!counter) continue;
    ledger::Encode(*counter, records);
    ++position_.n;
    CHECK(quotas_.Apply(*counter), "a counter is opened under a number that is free");
    turn(i);
  }
}

void CreditControl::HoldQuotas(const AdmitCommand& command, const policy::Ask& ask,
                               const Grant& grant, Instant now, ledger::IntentRecord& intent,
                               OpenRequest& open, AdmitReply& reply,
                               ledger::RecordBuffer& records) {
  const std::span<const policy::QuotaUse> uses = command.quotas;
  reply.recovery = policy::LeftForRecovery(uses, standings_);
  OpenCounters(uses, standings_, *command.facts, now, records);
  ledger::QuotaHold hold{
      .multiplier_ppm = command.quote.multiplier_ppm, .behind = now - intent.time, .lines = {}};
  hold.lines.reserve(uses.size());
  open.quotas.reserve(uses.size());
  // The policy that has the least left for its size is what callers are shown.
  Sum least_left = 0;
  Sum least_limit = 0;
  for (std::size_t i = 0; i < uses.size(); ++i) {
    const policy::QuotaUse& use = uses[i];
    const policy::Standing& standing = standings_[i];
    if (use.policy->shadow && i < 64 && policy::WouldRefuse(use, standing, ask)) {
      reply.shadow_refusals |= std::uint64_t{1} << i;
    }
    if (use.counter.empty()) continue;
    const std::int64_t amount =
        policy::AmountOf(use, standing, ask, grant.output_held, grant.hold, reply.recovery);
    const Sum left = standing.Available() - amount;
    if (standing.rule != ledger::QuotaRule::kNone && !policy::IsRecovery(use.policy->unit) &&
        (!reply.quota || left * least_limit < least_left * standing.limit)) {
      least_left = left;
      least_limit = standing.limit;
      reply.quota = i;
      reply.quota_limit = standing.limit;
      reply.quota_remaining = ledger::Clipped(std::max<Sum>(left, 0)).n;
      reply.quota_resets_at = standing.window.ends_at;
    }
    // What is not touched is not written, unless it may be used without having been held.
    const bool grows = policy::GrowsWithOutput(use.policy->unit);
    if (amount == 0 && standing.rule == ledger::QuotaRule::kHard && !grows) continue;
    const auto number = quotas_.NumberOf(use.counter);
    CHECK(number.has_value(), "the counters of an admission are open");
    quotas_.SetAlerts(*number, *use.policy);
    const ledger::QuotaLine line{*number, ledger::Amount{amount}};
    CHECK(AddQuotaLine(open, line, now), "the hold was checked against the policy");
    open.quotas.back().providers = use.providers;
    hold.lines.push_back(line);
  }
  if (hold.lines.empty()) return;
  intent.quotas = std::move(hold);
  if (command.mode == HoldMode::kAdaptive) {
    open.uses = uses;
    open.facts = command.facts;
  }
}

bool CreditControl::AddQuotaLine(OpenRequest& request, const ledger::QuotaLine& line, Instant at) {
  auto leg = quotas_.Hold(line.counter, line.amount.n, at);
  if (!leg) return false;
  request.quotas.push_back(*leg);
  return true;
}

bool CreditControl::AddToQuotaLine(OpenRequest& request, const ledger::QuotaLine& line,
                                   Instant at) {
  for (policy::QuotaLeg& leg : request.quotas) {
    if (leg.counter == line.counter && quotas_.HoldMore(leg, line.amount.n)) return true;
  }
  if (request.quotas.size() >= ledger::kQuotaLegsMax) return false;
  auto leg = quotas_.Hold(line.counter, line.amount.n, at);
  if (!leg) return false;
  for (const policy::QuotaLeg& other : request.quotas) {
    if (other.counter == leg->counter) leg->providers = other.providers;
  }
  request.quotas_repeat = true;
  request.quotas.push_back(*leg);
  return true;
}

bool CreditControl::ExtendQuotas(OpenRequest& request, const policy::TokenBounds& bounds,
                                 Instant now, ledger::ExtendRecord& record,
                                 ledger::RecordBuffer& records) {
  const Instant at = WindowTime(now);
  const config::Price& price = PriceOf(request);
  policy::Ask ask{
      .demand = {.price = &price, .bounds = bounds, .multiplier_ppm = request.multiplier_ppm},
      .output = bounds.output,
      .output_usual = bounds.output};
  standings_.clear();
  std::vector<std::int64_t> more(request.uses.size());
  for (std::size_t i = 0; i < request.uses.size(); ++i) {
    const policy::QuotaUse& use = request.uses[i];
    standings_.push_back(quotas_.Look(use, at));
    if (use.counter.empty() || !policy::GrowsWithOutput(use.policy->unit)) continue;
    const auto amount = [&](std::int64_t output, NanoUsd usd) {
      return policy::AmountOf(use, standings_[i], ask, output, usd, {});
    };
    more[i] = amount(bounds.output, request.held + record.hold) -
              amount(request.bounds.output, request.held);
    if (standings_[i].rule == ledger::QuotaRule::kHard && more[i] > standings_[i].Available()) {
      return false;
    }
  }
  if (request.quotas.size() + request.uses.size() > ledger::kQuotaLegsMax) return false;
  // Nothing below can fail.
  record.quotas_behind = at - now;
  OpenCounters(request.uses, standings_, *request.facts, at, records);
  for (std::size_t i = 0; i < request.uses.size(); ++i) {
    if (more[i] <= 0) continue;
    const auto number = quotas_.NumberOf(request.uses[i].counter);
    CHECK(number.has_value(), "the counters of an extension are open");
    record.quotas.push_back({*number, ledger::Amount{more[i]}});
  }
  return true;
}

std::vector<ledger::Amount> CreditControl::UsedOfQuotas(const OpenRequest& request,
                                                        const policy::Spent& spent,
                                                        std::uint64_t providers) const {
  const std::vector<policy::QuotaLeg>& legs = request.quotas;
  std::vector<ledger::Amount> used(legs.size());
  for (std::size_t i = 0; i < legs.size(); ++i) {
    const policy::QuotaLeg& leg = legs[i];
    if (leg.providers != 0 && providers != 0 && (leg.providers & providers) == 0) continue;
    // Lines of one counter are of windows that followed each other: what was used fills the first
    // up to its hold, then the next.
    std::int64_t held = leg.held;
    std::int64_t before = 0;
    bool last = true;
    for (std::size_t j = 0; request.quotas_repeat && j < legs.size(); ++j) {
      if (j == i || legs[j].counter != leg.counter) continue;
      held += legs[j].held;
      if (j < i) before += used[j].n;
      last = last && j < i;
    }
    const std::int64_t left =
        std::max<std::int64_t>(policy::UsedOf(leg.unit, spent, held) - before, 0);
    const bool bounded = !last || leg.rule == ledger::QuotaRule::kHard;
    used[i] = ledger::Clipped(bounded ? std::min(left, leg.held) : left);
  }
  return used;
}

bool CreditControl::ResolveQuotas(const RequestId& id, std::span<const ledger::Amount> used) {
  OpenRequest& request = *open_.Find(id);
  if (!used.empty() && used.size() != request.quotas.size()) return false;
  for (std::size_t i = 0; i < used.size(); ++i) {
    const policy::QuotaLeg& leg = request.quotas[i];
    if (leg.rule == ledger::QuotaRule::kHard && used[i].n > leg.held) return false;
  }
  for (std::size_t i = 0; i < request.quotas.size(); ++i) {
    quotas_.Resolve(request.quotas[i], used.empty() ? 0 : used[i].n);
  }
  request.quotas.clear();
  return true;
}

void CreditControl::TellCrossed(std::span<const policy::QuotaLeg> legs, Instant now,
                                ledger::RecordBuffer& records) {
  std::vector<ledger::AlertRecord> crossed;
  for (std::size_t i = 0; i < legs.size(); ++i) {
    // Whose window ended while it grew has several lines of a counter.
    const auto same = [&](const policy::QuotaLeg& leg) { return leg.counter == legs[i].counter; };
    if (std::ranges::any_of(legs.first(i), same)) continue;
    quotas_.Crossed(legs[i].counter, WindowTime(now), crossed);
  }
  for (const ledger::AlertRecord& record : crossed) {
    ledger::Encode(record, records);
    ++position_.n;
    CHECK(!Replay(record), "an alert is of a counter");
  }
}

std::optional<policy::CounterView> CreditControl::ViewQuota(std::uint32_t number) const {
  return quotas_.View(number, wall_high_);
}

std::vector<QuotaStanding> CreditControl::LookQuotas(std::span<const policy::QuotaUse> uses,
                                                     Instant now) const {
  const Instant at = WindowTime(now);
  std::vector<QuotaStanding> looked;
  looked.reserve(uses.size());
  for (const policy::QuotaUse& use : uses) {
    QuotaStanding& one = looked.emplace_back();
    one.standing = quotas_.Look(use, at);
    const Sum more = std::max<Sum>(one.standing.Available(), 0) + 1;
    one.more_at = use.counter.empty()
                      ? Instant{INT64_MAX}
                      : quotas_.AvailableAt(one.standing, ledger::Clipped(more).n, at);
  }
  return looked;
}

std::int64_t CreditControl::UsualOutputOf(const KeyId& key, config::PriceId price) const {
  const std::uint32_t* const index = key_index_.Find(key);
  return index == nullptr ? kOutputChunk : UsualOutput(keys_[*index], price);
}

CheckpointReply CreditControl::Checkpoint(const CheckpointCommand& command, Instant now,
                                          ledger::RecordBuffer& records) {
  OpenRequest* request = open_.Find(command.request);
  CHECK(request != nullptr, "only an open request delivers");
  Advance(now);
  Usage usage = policy::Plausible(command.usage);
  usage.source = UsageSource::kCheckpoint;
  const Usage& before = request->delivered;
  if (before.source != UsageSource::kNone &&
      (usage.output_tokens < before.output_tokens || usage.input_tokens < before.input_tokens)) {
    return {position_};
  }
  request->delivered = usage;
  ledger::Encode(ledger::CheckpointRecord{.time = now, .request = command.request, .usage = usage},
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
  if (const auto* extend = std::get_if<ExtendCommand>(&command)) {
    return Extend(*extend, now, records);
  }
  return Checkpoint(std::get<CheckpointCommand>(command), now, records);
}

std::optional<std::string> CreditControl::Replay(const ledger::Record& record) {
  ++position_.n;
  std::visit([&](const auto& one) { wall_high_ = std::max(wall_high_, one.time); }, record);
  return std::visit([&](const auto& one) { return Replay(one); }, record);
}

std::optional<std::string> CreditControl::Replay(const ledger::PriceRecord& record) {
  const auto price = config::DecodePrice(record.bytes);
  if (!price || config::IdOf(record.bytes).n != record.id) {
    return "price " + config::Format({record.id}) + ": its bytes are not those of a price";
  }
  KnownPrice* known = prices_.Find({record.id});
  if (known == nullptr) known = &prices_.Insert({record.id}, {.price = *price});
  known->written = true;
  return std::nullopt;
}

std::optional<std::string> CreditControl::Replay(const ledger::IntentRecord& record) {
  config::PriceId price{record.price_id};
  if (price.n == 0) {
    const config::Price unpinned = Unpin(record.price);
    price = config::IdOf(unpinned);
    if (prices_.Find(price) == nullptr) prices_.Insert(price, {.price = unpinned});
  } else if (prices_.Find(price) == nullptr) {
    return "intent of request " + ToString(record.request) + ": no record has its price " +
           config::Format(price);
  }
  const std::uint32_t key_index = IndexOf(record.key);
  TransferStatus status = book_.Create({.id = {record.request, kLegHold},
                                        .kind = TransferKind::kPending,
                                        .pending = {},
                                        .debit = keys_[key_index].account,
                                        .credit = revenue_,
                                        .amount = ledger::AmountOf(record.hold)});
  OpenRequest open{
      .key = key_index,
      .first_held = record.hold,
      .held = record.hold,
      .position = position_,
      .price = price,
      .bounds = {.input = record.input_tokens_bound, .output = record.output_tokens_bound},
      .legs = {}};
  if (status == TransferStatus::kCreated && record.wallet) {
    open.wallet = WalletUse{.wallet = record.wallet->wallet,
                            .rate = {record.wallet->unit, record.wallet->multiplier_ppm},
                            .low = {}};
    status = AddWalletLegs(record.request, open, *record.wallet);
  }
  if (status != TransferStatus::kCreated) return Unexpected(record.request, "intent", status);
  if (record.idempotency) {
    // One that has finished was forgotten when this was admitted, by a clock that no record shows
    // (set forward and back): only one that is open cannot have been.
    const auto found = idempotency_.Replace(*record.idempotency, record.time);
    if (found.state != IdempotencyTable::State::kFree) {
      return "intent of request " + ToString(record.request) +
             ": its idempotency key is that of request " + ToString(found.request);
    }
    idempotency_.Begin(*record.idempotency, record.request, record.time);
    open.idempotency = record.idempotency->key;
  }
  if (record.quotas) {
    open.multiplier_ppm = record.quotas->multiplier_ppm;
    const Instant window_time = ledger::WindowTimeOf(record.time, record.quotas->behind);
    wall_high_ = std::max(wall_high_, window_time);
    for (const ledger::QuotaLine& line : record.quotas->lines) {
      if (!AddQuotaLine(open, line, window_time)) {
        return "intent of request " + ToString(record.request) + ": counter " +
               std::to_string(line.counter) + " has no room for it";
      }
    }
  }
  ++keys_[key_index].open;
  open_.Insert(record.request, std::move(open));
  return std::nullopt;
}

std::optional<std::string> CreditControl::Replay(const ledger::ExtendRecord& record) {
  OpenRequest* const request = open_.Find(record.request);
  if (request == nullptr) {
    return Unexpected(record.request, "extension", TransferStatus::kPendingNotFound);
  }
  const Instant window_time = ledger::WindowTimeOf(record.time, record.quotas_behind);
  wall_high_ = std::max(wall_high_, window_time);
  return Apply(record, *request, window_time);
}

std::optional<std::string> CreditControl::Replay(const ledger::GrantRecord& record) {
  if (wallets_.Apply(record)) return std::nullopt;
  return "grant " + ToString(record.grant) + ": made twice, or of another unit than its wallet";
}

std::optional<std::string> CreditControl::Replay(const ledger::GrantEndRecord& record) {
  if (wallets_.Apply(record)) return std::nullopt;
  return "end of grant " + ToString(record.grant) + ": unknown, or more than is left of it";
}

std::optional<std::string> CreditControl::Replay(const ledger::CounterRecord& record) {
  if (quotas_.Apply(record)) return std::nullopt;
  return "counter " + std::to_string(record.number) + " of policy " + record.policy +
         ": its number is in use or out of order";
}

std::optional<std::string> CreditControl::Replay(const ledger::WindowRecord& record) {
  if (quotas_.Apply(record)) return std::nullopt;
  return "window of counter " + std::to_string(record.number) + ": there is no such counter";
}

std::optional<std::string> CreditControl::Replay(const ledger::AlertRecord& record) {
  const auto counter = quotas_.View(record.number, record.time);
  if (!counter || !quotas_.Apply(record)) {
    return "alert of counter " + std::to_string(record.number) + ": there is no such counter";
  }
  alerts_.push_back({.position = position_,
                     .time = record.time,
                     .policy = std::string(counter->policy),
                     .values = std::string(counter->values),
                     .unit = counter->unit,
                     .percent = record.percent,
                     .settled = record.settled.n,
                     .limit = record.limit.n,
                     .window_starts_at = counter->window.starts_at,
                     .window_ends_at = counter->window.ends_at});
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
  const TransferStatus status = Post(record.request, record.charged, record.overrun, record.wallet);
  if (status != TransferStatus::kCreated) return Unexpected(record.request, "settle", status);
  if (!ResolveQuotas(record.request, record.quotas)) return NotItsLines(record.request, "settle");
  Forget(record.request, true);
  return std::nullopt;
}

std::optional<std::string> CreditControl::Replay(const ledger::VoidRecord& record) {
  const TransferStatus status = Void(record.request);
  if (status != TransferStatus::kCreated) return Unexpected(record.request, "void", status);
  if (!ResolveQuotas(record.request, record.quotas)) return NotItsLines(record.request, "void");
  Forget(record.request, false);
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
  Advance(now);
  std::vector<std::pair<JournalPosition, RequestId>> open;
  open.reserve(open_.size());
  open_.ForEach([&](const RequestId& id, const OpenRequest& request) {
    open.emplace_back(request.position, id);
  });
  std::ranges::sort(open, {}, [](const auto& entry) { return entry.first; });
  Resolution done;
  for (const auto& [position, id] : open) {
    const Usage delivered = open_.Find(id)->delivered;
    const NanoUsd held = open_.Find(id)->held;
    // How many attempts it had made nobody knows; one is what it must have.
    const SettleReply reply = Close({.request = id, .usage = delivered, .attempts = 1},
                                    ledger::ResolveCause::kRecovery, now, records);
    ++(delivered.source == UsageSource::kNone ? done.voided : done.settled);
    const auto add = [](NanoUsd& sum, NanoUsd amount) {
      sum = ledger::Saturated(static_cast<Sum>(sum.n) + amount.n);
    };
    add(done.charged, reply.charged);
    add(done.overrun, reply.overrun);
    add(done.released, held - reply.charged);
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
  Sum charged = 0;
  Sum held = 0;
  for (const KeyState& key : keys_) {
    charged += Spent(key);
    held += book_.Get(key.account).debits_pending;
  }
  CreditTotals totals{.charged = ledger::Saturated(charged),
                      .overrun = ledger::Saturated(keys_overrun_),
                      .held = ledger::Saturated(held),
                      .requests_open = open_.size(),
                      .keys = keys_.size()};
  for (std::size_t unit = 0; unit < totals.breakage.size(); ++unit) {
    totals.breakage.at(unit) = wallets_.Breakage(static_cast<ledger::Unit>(unit));
  }
  return totals;
}

}  // namespace weir::gateway
