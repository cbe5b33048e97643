#include "sim/books.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <utility>

namespace weir::sim {
namespace {

Breach Of(std::string_view rule, const RequestId& request, std::string_view what) {
  return {std::string(rule), fmt::format("request {}: {}", ToString(request), what)};
}

}  // namespace

namespace {

__int128 PicoByHand(const config::Price& price, const Usage& usage) {
  const auto times = [](std::int64_t rate, std::int64_t count) {
    return static_cast<__int128>(rate) * count;
  };
  const std::int64_t plain =
      usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens;
  return times(price.input.p, plain) + times(price.cached_input.p, usage.cached_input_tokens) +
         times(price.cache_write.p, usage.cache_write_tokens) +
         times(price.output.p, usage.output_tokens) + times(price.audio_second.n, usage.audio_ms) +
         times(price.per_request.n, 1000);
}

// Rounded up, and no more than an account can be asked for.
std::int64_t Up(__int128 value, std::int64_t divisor) {
  __int128 whole = value / divisor;
  if (whole * divisor < value) ++whole;
  return whole > kMaxNanoUsd.n ? kMaxNanoUsd.n : static_cast<std::int64_t>(whole);
}

// A request's key of its own day: at most one of them is charged.
constexpr Duration kDay = Seconds(86'400);

}  // namespace

NanoUsd PriceByHand(const config::Price& price, const Usage& usage) {
  if (usage.source == UsageSource::kNone) return {};
  return {Up(PicoByHand(price, usage), 1000)};
}

std::int64_t WalletPriceByHand(ledger::Unit unit, std::int64_t multiplier_ppm,
                               const config::Price& price, const Usage& usage) {
  if (usage.source == UsageSource::kNone) return 0;
  if (unit == ledger::Unit::kNanoUsd) {
    return Up(PicoByHand(price, usage) * multiplier_ppm, 1'000'000'000);
  }
  const __int128 tokens = static_cast<__int128>(usage.input_tokens) + usage.output_tokens;
  return Up(tokens * multiplier_ppm, 1'000'000);
}

ledger::Sum Books::Open::wallet_held() const {
  ledger::Sum sum = 0;
  if (wallet) {
    for (const ledger::HoldLine& line : wallet->lines) sum += line.amount.n;
  }
  return sum;
}

Books::Key Books::Of(const KeyId& key) const {
  const auto found = keys_.find(key);
  return found == keys_.end() ? Key{} : found->second;
}

std::optional<Breach> Books::Add(const ledger::Record& record) {
  ++position_;
  std::visit(
      [&](const auto& one) {
        Passed(one.time);
        recorded_ = std::max(recorded_, one.time);
      },
      record);
  auto breach = std::visit([&](const auto& one) { return Take(one); }, record);
  if (breach) return breach;
  for (const auto& [id, grant] : grants_) {
    if (grant.free() < 0 || grant.held < 0 || grant.spent < 0 || grant.ended < 0) {
      return Breach{"I3",
                    fmt::format("grant {}: {} spent, {} held and {} ended of {}", ToString(id),
                                grant.spent, grant.held, grant.ended, grant.made.amount.n)};
    }
  }
  for (const auto& [id, key] : keys_) {
    if (key.capped && key.settled + key.held > key.funded) {
      return Breach{"I3", fmt::format("key {}: {} settled and {} held of a budget of {} nUSD",
                                      ToString(id), key.settled, key.held, key.funded)};
    }
  }
  return std::nullopt;
}

std::optional<Breach> Books::Take(const ledger::IntentRecord& record) {
  if (open_.contains(record.request) || closed_.contains(record.request)) {
    return sim::Of("I4", record.request, "admitted twice");
  }
  if (record.hold < NanoUsd{0}) return sim::Of("I5", record.request, "a negative hold");
  if (!prices_.contains(record.price_id)) {
    return sim::Of("price", record.request, "admitted at a price that no record has");
  }
  if (record.idempotency) {
    const auto before = key_uses_.find(record.idempotency->key);
    if (before != key_uses_.end()) {
      const RequestId& first = before->second.request;
      const auto closed = closed_.find(first);
      const bool charged = closed != closed_.end() && !closed->second.voided;
      if (open_.contains(first) || (charged && before->second.since + kDay > latest_)) {
        return sim::Of("I10", record.request,
                       "admitted with the Idempotency-Key of " + ToString(first));
      }
    }
    key_uses_[record.idempotency->key] = {record.request, record.time};
  }
  if (record.wallet) {
    if (auto breach = Hold(record.request, *record.wallet, record.time)) return breach;
  }
  Open open{.key = record.key,
            .price_id = record.price_id,
            .hold = record.hold,
            .output_tokens_bound = record.output_tokens_bound,
            .delivered = {},
            .position = position_,
            .wallet = record.wallet,
            .idempotency = record.idempotency,
            .input_tokens_bound = record.input_tokens_bound};
  if (record.quotas) {
    open.multiplier_ppm = record.quotas->multiplier_ppm;
    recorded_ = std::max(recorded_, record.time + record.quotas->behind);
    if (auto breach = quotas_.Hold(record.quotas->lines, recorded_, open.legs)) {
      return sim::Of(breach->rule, record.request, breach->detail);
    }
  }
  open_.emplace(record.request, std::move(open));
  Key& key = keys_[record.key];
  key.held += record.hold.n;
  ++key.open;
  return std::nullopt;
}

std::optional<Breach> Books::Take(const ledger::ExtendRecord& record) {
  const auto found = open_.find(record.request);
  if (found == open_.end()) return sim::Of("I4", record.request, "an extension of none open");
  if (record.hold < NanoUsd{0} || record.output_tokens_bound < 0) {
    return sim::Of("I5", record.request, "a negative extension");
  }
  auto& wallet = found->second.wallet;
  if (wallet.has_value() != record.wallet.has_value() ||
      (wallet && (wallet->wallet != record.wallet->wallet || wallet->unit != record.wallet->unit ||
                  wallet->multiplier_ppm != record.wallet->multiplier_ppm))) {
    return sim::Of("I5", record.request, "extended for another payer");
  }
  if (wallet) {
    if (auto breach = Hold(record.request, *record.wallet, record.time)) return breach;
    wallet->lines.insert(wallet->lines.end(), record.wallet->lines.begin(),
                         record.wallet->lines.end());
  }
  recorded_ = std::max(recorded_, record.time + record.quotas_behind);
  if (auto breach = quotas_.Hold(record.quotas, recorded_, found->second.legs)) {
    return sim::Of(breach->rule, record.request, breach->detail);
  }
  found->second.hold = found->second.hold + record.hold;
  found->second.output_tokens_bound += record.output_tokens_bound;
  keys_[found->second.key].held += record.hold.n;
  return std::nullopt;
}

// What may be used at that time burns by lower priority, then sooner end, then age, each whole
// before the next.
std::optional<Breach> Books::Hold(const RequestId& request, const ledger::WalletHold& hold,
                                  Instant at) {
  std::vector<std::tuple<std::int32_t, Instant, std::size_t>> usable;
  for (std::size_t age = 0; age < grant_order_.size(); ++age) {
    const Grant& grant = grants_.at(grant_order_[age]);
    if (grant.made.wallet == hold.wallet && grant.made.unit == hold.unit && !grant.revoked &&
        grant.made.effective_at <= at && at < grant.made.expires_at && grant.free() > 0) {
      usable.emplace_back(grant.made.priority, grant.made.expires_at, age);
    }
  }
  std::ranges::sort(usable);
  for (std::size_t i = 0; i < hold.lines.size(); ++i) {
    const ledger::HoldLine& line = hold.lines[i];
    if (i >= usable.size() || grant_order_[std::get<2>(usable[i])] != line.grant) {
      return sim::Of("I19", request, "holds of a grant that is not the next to burn");
    }
    Grant& grant = grants_.at(line.grant);
    if (line.amount.n <= 0 || (i + 1 < hold.lines.size() && line.amount.n != grant.free())) {
      return sim::Of("I19", request, "leaves some of a grant and takes of the next");
    }
    grant.held += line.amount.n;
  }
  return std::nullopt;
}

std::optional<Breach> Books::Take(const ledger::GrantRecord& record) {
  if (record.amount.n < 0 || !grants_.emplace(record.grant, Grant{.made = record}).second) {
    return Breach{
        "I4", fmt::format("grant {}: given twice, or less than nothing", ToString(record.grant))};
  }
  grant_order_.push_back(record.grant);
  return std::nullopt;
}

std::optional<Breach> Books::Take(const ledger::GrantEndRecord& record) {
  const auto found = grants_.find(record.grant);
  if (found == grants_.end()) return Breach{"I19", "the end of a grant that nobody gave"};
  Grant& grant = found->second;
  const bool expired = record.reason == ledger::GrantEndReason::kExpired;
  if (record.removed.n < 0 || record.removed.n > grant.free() ||
      (expired && (grant.revoked || record.time < grant.made.expires_at))) {
    return Breach{"I19", fmt::format("grant {}: {} taken off, {} are free", ToString(record.grant),
                                     record.removed.n, grant.free())};
  }
  grant.ended += record.removed.n;
  grant.revoked = grant.revoked || !expired;
  return std::nullopt;
}

std::optional<Breach> Books::Take(const ledger::PriceRecord& record) {
  const auto price = config::DecodePrice(record.bytes);
  if (!price) return Breach{"price", "a record of a price holds none"};
  if (!prices_.emplace(record.id, *price).second) {
    return Breach{"price", "a price was written down twice"};
  }
  return std::nullopt;
}

std::optional<Breach> Books::Take(const ledger::CheckpointRecord& record) {
  const auto found = open_.find(record.request);
  if (found == open_.end()) return sim::Of("I4", record.request, "a checkpoint of none open");
  const auto& before = found->second.delivered;
  if (before && record.usage.output_tokens < before->output_tokens) {
    return sim::Of("checkpoint", record.request, "delivered less than before");
  }
  found->second.delivered = record.usage;
  return std::nullopt;
}

std::optional<Breach> Books::Close(const RequestId& request, const KeyId& key,
                                   std::optional<std::uint64_t> price_id, const Closed& closed,
                                   NanoUsd released) {
  const auto found = open_.find(request);
  if (found == open_.end()) {
    return sim::Of("I4", request,
                   closed_.contains(request) ? "resolved twice" : "resolved and never admitted");
  }
  const Open& open = found->second;
  if (!(open.key == key)) return sim::Of("I4", request, "resolved for another key");
  if (price_id && *price_id != open.price_id) {
    return sim::Of("I24", request, "settled at another price");
  }
  if (closed.charged < NanoUsd{0} || closed.charged > open.hold) {
    return sim::Of("I5", request,
                   fmt::format("{} charged of {} nUSD held", closed.charged.n, open.hold.n));
  }
  if (closed.voided) {
    if (released != open.hold) return sim::Of("I5", request, "released another amount than held");
  } else {
    const NanoUsd by_hand = PriceByHand(prices_.at(open.price_id), closed.usage);
    if (closed.charged + closed.overrun != by_hand ||
        closed.charged != std::min(by_hand, open.hold)) {
      return sim::Of("I5", request,
                     fmt::format("{} charged and {} overrun, but the usage costs {} of {} held",
                                 closed.charged.n, closed.overrun.n, by_hand.n, open.hold.n));
    }
  }
  if (!closed.voided && closed.wallet.has_value() != open.wallet.has_value()) {
    return sim::Of("I5", request, "settled for another payer");
  }
  if (closed.wallet) {
    const std::int64_t by_hand = WalletPriceByHand(open.wallet->unit, open.wallet->multiplier_ppm,
                                                   prices_.at(open.price_id), closed.usage);
    const ledger::Sum charged = closed.wallet->charged.n;
    if (charged != std::min<ledger::Sum>(by_hand, open.wallet_held()) ||
        charged + closed.wallet->overrun.n != by_hand) {
      return sim::Of("I5", request,
                     fmt::format("its wallet paid {} and {} are overrun, but the usage costs {} of "
                                 "{} held",
                                 charged, closed.wallet->overrun.n, by_hand, open.wallet_held()));
    }
  }
  if (closed.cause == ledger::ResolveCause::kRecovery) {
    const bool as_delivered =
        open.delivered ? !closed.voided && closed.usage == *open.delivered : closed.voided;
    if (!as_delivered) return sim::Of("recovery", request, "not resolved at its last checkpoint");
  }
  const CounterBooks::Came came{.usage = closed.usage,
                                .price = PriceByHand(prices_.at(open.price_id), closed.usage),
                                .multiplier_ppm = open.multiplier_ppm};
  if (auto breach = quotas_.Close(open.legs, closed.quotas, closed.voided ? nullptr : &came)) {
    return sim::Of(breach->rule, request, breach->detail);
  }
  if (open.wallet) {
    ledger::Sum left = closed.wallet ? closed.wallet->charged.n : 0;
    for (const ledger::HoldLine& line : open.wallet->lines) {
      Grant& grant = grants_.at(line.grant);
      const ledger::Sum taken = std::min<ledger::Sum>(left, line.amount.n);
      left -= taken;
      grant.held -= line.amount.n;
      grant.spent += taken;
    }
  }
  Key& book = keys_[key];
  book.held -= open.hold.n;
  book.settled += closed.charged.n;
  --book.open;
  Closed& kept = closed_[request] = closed;
  kept.position = position_;
  kept.output_tokens_bound = open.output_tokens_bound;
  kept.legs = open.legs;
  kept.multiplier_ppm = open.multiplier_ppm;
  open_.erase(found);
  return std::nullopt;
}

std::optional<Breach> Books::Take(const ledger::SettleRecord& record) {
  return Close(record.request, record.key, record.price_id,
               {.charged = record.charged,
                .overrun = record.overrun,
                .usage = record.usage,
                .wallet = record.wallet,
                .quotas = record.quotas,
                .cause = record.cause},
               {});
}

std::optional<Breach> Books::Take(const ledger::VoidRecord& record) {
  return Close(
      record.request, record.key, std::nullopt,
      {.usage = record.usage, .quotas = record.quotas, .voided = true, .cause = record.cause},
      record.released);
}

std::optional<Breach> Books::Take(const ledger::FundRecord& record) {
  Key& key = keys_[record.key];
  if (record.leg != key.fund_legs) {
    return Breach{"I4", fmt::format("key {}: funded twice by one leg", ToString(record.key))};
  }
  ++key.fund_legs;
  key.funded += record.amount.n;
  key.capped = record.capped;
  return std::nullopt;
}

}  // namespace weir::sim
