#include "sim/books.h"

#include <fmt/format.h>

#include <algorithm>

namespace weir::sim {
namespace {

Breach Of(std::string_view rule, const RequestId& request, std::string_view what) {
  return {std::string(rule), fmt::format("request {}: {}", ToString(request), what)};
}

}  // namespace

NanoUsd PriceByHand(const config::Price& price, const Usage& usage) {
  if (usage.source == UsageSource::kNone) return {};
  const auto times = [](std::int64_t rate, std::int64_t count) {
    return static_cast<__int128>(rate) * count;
  };
  const std::int64_t plain =
      usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens;
  const __int128 pico =
      times(price.input.p, plain) + times(price.cached_input.p, usage.cached_input_tokens) +
      times(price.cache_write.p, usage.cache_write_tokens) +
      times(price.output.p, usage.output_tokens) + times(price.audio_second.n, usage.audio_ms) +
      times(price.per_request.n, 1000);
  __int128 nano = pico / 1000;
  if (nano * 1000 < pico) ++nano;
  return nano > kMaxNanoUsd.n ? kMaxNanoUsd : NanoUsd{static_cast<std::int64_t>(nano)};
}

Books::Key Books::Of(const KeyId& key) const {
  const auto found = keys_.find(key);
  return found == keys_.end() ? Key{} : found->second;
}

std::optional<Breach> Books::Add(const ledger::Record& record) {
  ++position_;
  auto breach = std::visit([&](const auto& one) { return Take(one); }, record);
  if (breach) return breach;
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
  open_[record.request] = {record.key, record.price_id, record.hold, record.output_tokens_bound,
                           {},         position_};
  Key& key = keys_[record.key];
  key.held += record.hold.n;
  ++key.open;
  return std::nullopt;
}

std::optional<Breach> Books::Take(const ledger::ExtendRecord& record) {
  const auto found = open_.find(record.request);
  if (found == open_.end()) return sim::Of("I4", record.request, "an extension of none open");
  if (record.hold < NanoUsd{0}) return sim::Of("I5", record.request, "a negative hold");
  found->second.hold = found->second.hold + record.hold;
  found->second.output_tokens_bound += record.output_tokens_bound;
  keys_[found->second.key].held += record.hold.n;
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
  if (closed.cause == ledger::ResolveCause::kRecovery) {
    const bool as_delivered =
        open.delivered ? !closed.voided && closed.usage == *open.delivered : closed.voided;
    if (!as_delivered) return sim::Of("recovery", request, "not resolved at its last checkpoint");
  }
  Key& book = keys_[key];
  book.held -= open.hold.n;
  book.settled += closed.charged.n;
  --book.open;
  closed_[request] = closed;
  closed_[request].position = position_;
  open_.erase(found);
  return std::nullopt;
}

std::optional<Breach> Books::Take(const ledger::SettleRecord& record) {
  return Close(record.request, record.key, record.price_id,
               {.charged = record.charged,
                .overrun = record.overrun,
                .usage = record.usage,
                .cause = record.cause},
               {});
}

std::optional<Breach> Books::Take(const ledger::VoidRecord& record) {
  return Close(record.request, record.key, std::nullopt,
               {.usage = record.usage, .voided = true, .cause = record.cause}, record.released);
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
