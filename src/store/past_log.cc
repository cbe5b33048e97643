#include "store/past_log.h"

#include <algorithm>

#include "config/price_codec.h"
#include "policy/quote.h"

namespace weir::store {
namespace {

using config::Dimension;

// The model as policies know it: before any of them moved the request, or after.
std::string_view ModelOf(const ExchangeReader& exchange, PastView view) {
  const std::string_view before = exchange.attribute(Dimension::kModel);
  if (view == PastView::kAsAsked && !before.empty()) return before;
  const std::string_view charged = exchange.word(ExchangeReader::kModelCharged);
  return charged.empty() || charged == "*" ? exchange.word(ExchangeReader::kModel) : charged;
}

bool WasDegraded(const ExchangeReader& exchange) {
  return !exchange.word(ExchangeReader::kPolicyDegraded).empty();
}

constexpr std::int64_t kFlagCharge = 4;  // ExchangeReader::kFlags

}  // namespace

Instant StartOf(const ExchangeReader& exchange) {
  // As ExchangeReader::Record: unsigned, so that damaged numbers do not overflow.
  const std::uint64_t us = static_cast<std::uint64_t>(exchange.number(ExchangeReader::kStartedUs)) +
                           (exchange.request().high >> 16) * 1000;
  return {static_cast<std::int64_t>(us * 1000)};
}

Usage UsageOf(const ExchangeReader& exchange) {
  Usage usage;
  usage.source = static_cast<UsageSource>(exchange.number(ExchangeReader::kUsageSource));
  usage.input_tokens = exchange.number(ExchangeReader::kInputTokens);
  usage.cached_input_tokens = exchange.number(ExchangeReader::kCachedInputTokens);
  usage.cache_write_tokens = exchange.number(ExchangeReader::kCacheWriteTokens);
  usage.cache_write_1h_tokens = exchange.number(ExchangeReader::kCacheWrite1hTokens);
  usage.output_tokens = exchange.number(ExchangeReader::kOutputTokens);
  usage.reasoning_tokens = exchange.number(ExchangeReader::kReasoningTokens);
  usage.input_audio_tokens = exchange.number(ExchangeReader::kInputAudioTokens);
  usage.output_audio_tokens = exchange.number(ExchangeReader::kOutputAudioTokens);
  usage.audio_ms = exchange.number(ExchangeReader::kAudioMs);
  usage.tool_calls = exchange.number(ExchangeReader::kToolCalls);
  usage.images = exchange.number(ExchangeReader::kImages);
  usage.video_ms = exchange.number(ExchangeReader::kVideoMs);
  usage.image_kind = static_cast<std::uint32_t>(exchange.number(ExchangeReader::kImageKind)) - 1;
  return policy::Plausible(usage);
}

NanoUsd CostOf(const ExchangeReader& exchange) {
  const auto nano = [&](ExchangeReader::Number which) {
    return std::clamp<std::int64_t>(exchange.number(which), 0, kMaxNanoUsd.n);
  };
  return {nano(ExchangeReader::kChargedNanoUsd) + nano(ExchangeReader::kOverrunNanoUsd)};
}

void AppendFactsKey(const ExchangeReader& exchange, PastView view, std::string& key) {
  const auto add = [&](std::string_view text) {
    key += text;
    key += '\0';
  };
  add(exchange.word(ExchangeReader::kOperation));
  add(ModelOf(exchange, view));
  key += WasDegraded(exchange) ? 'd' : '-';
  for (std::size_t i = 0; i < config::kDimensions; ++i) {
    add(exchange.attribute(static_cast<Dimension>(i)));
  }
}

std::uint32_t Interned::Of(std::string_view text, bool& is_new) {
  const auto found = numbers_.find(text);
  is_new = found == numbers_.end();
  if (!is_new) return found->second;
  const auto number = static_cast<std::uint32_t>(numbers_.size());
  numbers_.emplace(text, number);
  return number;
}

policy::Facts FactsOf(const ExchangeReader& exchange, const config::Config& config, PastView view,
                      std::string_view& provider) {
  policy::Facts facts;
  for (std::size_t i = 0; i < facts.values.size(); ++i) {
    facts.values[i] = exchange.attribute(static_cast<Dimension>(i));
  }
  provider = facts[Dimension::kProvider];
  facts[Dimension::kProvider] = {};
  if (!provider.empty()) facts.providers = {&provider, 1};
  facts[Dimension::kEndpoint] = exchange.word(ExchangeReader::kOperation);
  facts[Dimension::kModel] = ModelOf(exchange, view);
  const config::Model* const model = config.FindModel(facts[Dimension::kModel]);
  if (model != nullptr) {
    facts[Dimension::kModelFamily] = model->family;
    facts[Dimension::kModelClass] = model->model_class;
  } else if (view == PastView::kAsAsked && WasDegraded(exchange)) {
    // Those of then are of the model that served.
    facts[Dimension::kModelFamily] = {};
    facts[Dimension::kModelClass] = {};
  }
  const std::string_view workspace = facts[Dimension::kWorkspace];
  facts.action_scope = workspace.empty() ? facts[Dimension::kKey] : workspace;
  return facts;
}

bool MetPolicies(const ExchangeReader& exchange) {
  // What generates has a body, and a body has a bound; a count of tokens has none.
  return exchange.number(ExchangeReader::kInputBound) > 0 &&
         (exchange.number(ExchangeReader::kHoldPosition) != 0 ||
          !exchange.word(ExchangeReader::kPolicyRefused).empty());
}

policy::Replay::FindLesser LesserOf(const config::Config& config, Instant now) {
  return [&config, now](std::string_view id,
                        const policy::Facts&) -> std::optional<policy::LesserModel> {
    const config::Model* const model = config.FindModel(id);
    const config::PriceVersion* const price =
        model == nullptr ? nullptr : config.PriceOf(*model, id, now);
    if (price == nullptr) return std::nullopt;
    policy::LesserModel lesser{.id = model->id == "*" ? std::string(id) : model->id,
                               .family = model->family,
                               .model_class = model->model_class,
                               .price = price->price,
                               .multiplier_ppm = model->multiplier.ppm,
                               .output_tokens_max = model->output_tokens_max,
                               .input_tokens_max = model->input_tokens_max,
                               .provider = {}};
    if (!model->routes.empty()) {
      lesser.provider = config.upstreams[model->routes.front().upstream].name;
    }
    return lesser;
  };
}

std::uint32_t PastLog::FactsNumber(const ExchangeReader& exchange, bool first) {
  const auto at = [&](ExchangeReader::Word word) { return exchange.word(word).data(); };
  const Place place{at(ExchangeReader::kOperation), at(ExchangeReader::kModel),
                    at(ExchangeReader::kModelCharged)};
  if (!first && exchange.attributes_changed() == 0 && place == last_place_) return last_facts_;
  last_place_ = place;
  key_.clear();
  AppendFactsKey(exchange, view_, key_);
  bool is_new = false;
  const std::uint32_t number = facts_.Of(key_, is_new);
  if (is_new) sink_.Know(exchange);
  last_facts_ = number;
  return number;
}

const config::Price* PastLog::PriceOf(const ExchangeReader& exchange, bool degraded,
                                      Instant started_at) {
  if (degraded) {
    // Kept is the price of what served.
    const std::string_view asked = ModelOf(exchange, view_);
    const config::Model* const model = config_.FindModel(asked);
    const config::PriceVersion* const version =
        model == nullptr ? nullptr : config_.PriceOf(*model, asked, started_at);
    return version == nullptr ? nullptr : &version->price;
  }
  const std::string_view kept = exchange.word(ExchangeReader::kPrice);
  if (kept.data() == last_price_at_ && last_price_at_ != nullptr) return last_price_;
  bool is_new = false;
  const std::uint32_t number = prices_of_.Of(kept, is_new);
  if (is_new) {
    const std::string bytes = exchange.price();
    auto price =
        config::DecodePrice({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
    prices_.push_back(price ? std::make_unique<config::Price>(*std::move(price)) : nullptr);
  }
  last_price_at_ = kept.data();
  last_price_ = prices_[number].get();
  return last_price_;
}

void PastLog::Take(const ExchangeReader& exchange, bool first) {
  if (first) last_price_at_ = nullptr;  // another batch has other texts at the same place
  const Instant started_at = StartOf(exchange);
  if (started_at < from_ || started_at >= to_) return ForgetPlace();
  if (!MetPolicies(exchange)) {
    ++counts_.others;
    return ForgetPlace();
  }
  if (exchange.number(ExchangeReader::kOutputChoices) == 0) {
    ++counts_.too_old;
    return ForgetPlace();
  }
  const bool refused = exchange.number(ExchangeReader::kHoldPosition) == 0;
  if (refused && view_ == PastView::kAsServed) return ForgetPlace();
  const bool degraded = view_ == PastView::kAsAsked && WasDegraded(exchange);
  const config::Price* const price = PriceOf(exchange, degraded, started_at);
  if (price == nullptr) {
    ++counts_.unpriced;
    return ForgetPlace();
  }
  ++counts_.taken;
  const auto number = [&](ExchangeReader::Number which) { return exchange.number(which); };
  Waiting& waiting = waiting_.emplace_back();
  policy::PastRequest& request = waiting.request;
  request.facts = FactsNumber(exchange, first || forgotten_);
  forgotten_ = false;
  request.started_at = started_at;
  const std::int64_t total_us =
      std::clamp<std::int64_t>(number(ExchangeReader::kTotalUs), 0, Seconds(86'400).ns / 1000);
  request.ended_at = started_at + Microseconds(total_us);
  request.price = price;
  request.bounds = {.input = number(ExchangeReader::kInputBound),
                    .audio_ms = number(ExchangeReader::kAudioBoundMs),
                    .tool_calls = number(ExchangeReader::kToolCallsBound)};
  request.choices = std::clamp<std::int64_t>(number(ExchangeReader::kOutputChoices), 1, 1024);
  const std::int64_t asked =
      std::clamp<std::int64_t>(number(ExchangeReader::kOutputAsked), 0, policy::kTokensMax);
  request.output_asked = asked / request.choices + (asked % request.choices != 0 ? 1 : 0);
  request.output_useful = number(ExchangeReader::kOutputUseful);
  request.multiplier_ppm = std::clamp<std::int64_t>(number(ExchangeReader::kMultiplierPpm), 0,
                                                    1'000 * std::int64_t{1'000'000});
  request.attempts = std::max<std::int64_t>(number(ExchangeReader::kAttempts), 0);
  request.fallback_spend = {
      std::clamp<std::int64_t>(number(ExchangeReader::kFallbackSpendNanoUsd), 0, kMaxNanoUsd.n)};
  request.usage = UsageOf(exchange);
  request.charged = (number(ExchangeReader::kFlags) & kFlagCharge) != 0;
  request.cost = CostOf(exchange);
  request.refused = refused;
  request.degraded = degraded;
  const std::string_view action = exchange.word(ExchangeReader::kAction);
  waiting.action_at = actions_.size();
  waiting.action_size = action.size();
  actions_ += action;
}

void PastLog::EndSlot() {
  order_.clear();
  for (std::uint32_t i = 0; i < waiting_.size(); ++i) {
    order_.emplace_back(waiting_[i].request.started_at.ns, i);
  }
  std::ranges::sort(order_);
  for (const auto& [at, i] : order_) {
    Waiting& waiting = waiting_[i];
    waiting.request.action =
        std::string_view(actions_).substr(waiting.action_at, waiting.action_size);
    sink_.Add(waiting.request);
  }
  waiting_.clear();
  actions_.clear();
}

void WhatIfSink::Know(const ExchangeReader& exchange) {
  std::string_view provider_before, provider_after;
  const policy::Facts before = FactsOf(exchange, before_, PastView::kAsAsked, provider_before);
  const policy::Facts after = FactsOf(exchange, after_, PastView::kAsAsked, provider_after);
  what_if_.Know(before, after);
}

}  // namespace weir::store
