#include "routing/account_health.h"

#include <algorithm>
#include <string_view>

namespace weir::routing {
namespace {

constexpr std::int32_t kShareOne = 1024;
constexpr std::int32_t kErrsShare = 512;
constexpr std::int32_t kErrsSamples = 5;
// An opinion nobody renews is dropped, so that an account that was left alone is tried again.
constexpr Duration kOpinionLifetime = Seconds(30);

// What each rests on:
//  burst      Vendors send Retry-After of seconds; gateways that kept one for hours froze accounts
//             that were fit again in a minute, so a longer one is not believed here.
//  window     The reset is exact and may be a week away; cutting it short wastes a call on every
//             return. Without a time: five minutes, then longer.
//  overloaded 503 and 529 are states of the vendor, not of the account: short and soft.
//  auth       A refused credential heals by an operator's hand or not at all. Half an hour and one
//             probe costs a failover and never a caller.
//  money      The same; topping up takes minutes.
//  server     A single 500 means little and the next account gets the call anyway; three in a row
//             mean something.
//  empty      A stream that ends well and holds nothing comes from accounts that are limited
//             silently; two in a row rest it.
constexpr CooldownRule kBurstRule{Seconds(1), Seconds(60), Minutes(10), 1, false};
constexpr CooldownRule kWindowRule{Minutes(5), Minutes(60), Seconds(31 * 86'400), 1, false};
constexpr CooldownRule kOverloadedRule{Seconds(2), Seconds(60), Minutes(10), 1, true};
constexpr CooldownRule kAuthRule{Minutes(30), Minutes(30), Minutes(30), 1, false};
constexpr CooldownRule kBillingRule{Minutes(30), Minutes(30), Minutes(30), 1, false};
constexpr CooldownRule kServerRule{Seconds(5), Minutes(5), Minutes(10), 3, true};
constexpr CooldownRule kEmptyRule{Seconds(30), Minutes(10), Minutes(10), 2, true};

}  // namespace

constexpr CooldownRule kModelGoneRule{Minutes(10), Minutes(360), Minutes(360), 1, false};

std::string_view Name(Outcome outcome) {
  constexpr std::array<std::string_view, kOutcomes> kNames = {
      "served",       "burst",      "window_exhausted", "overloaded",  "auth_dead",
      "billing_dead", "model_gone", "server_error",     "empty_reply", "nothing"};
  return kNames[static_cast<std::size_t>(outcome)];
}

const CooldownRule* RuleOf(Outcome outcome) {
  switch (outcome) {
    case Outcome::kBurst:
      return &kBurstRule;
    case Outcome::kWindowExhausted:
      return &kWindowRule;
    case Outcome::kOverloaded:
      return &kOverloadedRule;
    case Outcome::kAuthDead:
      return &kAuthRule;
    case Outcome::kBillingDead:
      return &kBillingRule;
    case Outcome::kServerError:
      return &kServerRule;
    case Outcome::kEmptyReply:
      return &kEmptyRule;
    case Outcome::kServed:
    case Outcome::kModelGone:
    case Outcome::kNothing:
      break;
  }
  return nullptr;
}

Duration RestOf(const CooldownRule& rule, std::int32_t failures, std::optional<Duration> given) {
  if (given && given->ns > 0) return std::min(*given, rule.given_cap);
  Duration rest = rule.first;
  for (std::int32_t i = 1; i < failures && rest < rule.cap; ++i) rest = rest + rest;
  return std::min(rest, rule.cap);
}

Fitness AccountHealth::At(Tick now) const {
  if (!cooling_) return Fitness::kOpen;
  if (now >= until_) return Fitness::kHalfOpen;
  return soft_ ? Fitness::kCoolingSoft : Fitness::kCooling;
}

bool AccountHealth::Note(Outcome outcome, std::optional<Duration> given, Tick now) {
  if (outcome == Outcome::kNothing) return false;
  const bool failed = outcome != Outcome::kServed;
  // A missing model is no opinion on the account.
  if (outcome == Outcome::kModelGone) return false;
  error_share_ += ((failed ? kShareOne : 0) - error_share_) / 5;
  samples_ = std::min(samples_ + 1, kErrsSamples);
  last_sample_ = now;
  if (!failed) {
    // A call from before the rest that ends well now says nothing about a limit reached since.
    if (cooling_ && now < until_ && !soft_) return false;
    const bool changed = cooling_;
    cooling_ = false;
    failures_ = strikes_ = 0;
    why_ = Outcome::kServed;
    return changed;
  }
  const CooldownRule& rule = *RuleOf(outcome);
  ++strikes_;
  if (outcome != why_) failures_ = 0;
  // Calls that were under way together fail together: they are one failure, not a row of them.
  const bool resting = cooling_ && now < until_;
  if (resting && outcome == why_ && !given) return false;
  if (strikes_ < rule.strikes && !cooling_) return false;
  ++failures_;
  const Tick until = now + RestOf(rule, failures_, given);
  // A rest is never cut short by a lesser reason.
  if (resting && until <= until_ && !soft_) return false;
  why_ = outcome;
  until_ = resting ? std::max(until, until_) : until;
  cooling_ = true;
  soft_ = rule.soft;
  return true;
}

bool AccountHealth::WantsProbe(Tick now) const {
  return cooling_ && now < until_ && (why_ == Outcome::kAuthDead || why_ == Outcome::kServerError);
}

bool AccountHealth::NoteProbe(Outcome outcome, Tick now) {
  const bool resting = cooling_ && now < until_;
  switch (outcome) {
    case Outcome::kServed:
      if (!WantsProbe(now)) return false;
      until_ = now;
      return true;
    case Outcome::kAuthDead:
      if (!resting || why_ != Outcome::kAuthDead) return Note(outcome, std::nullopt, now);
      until_ = std::max(until_, now + kAuthRule.first);
      return true;
    case Outcome::kServerError:
      return Note(outcome, std::nullopt, now);
    default:
      return false;
  }
}

void AccountHealth::NoteLatency(Duration first_content) {
  latency_ = latency_.ns == 0 ? first_content
                              : Duration{latency_.ns + (first_content.ns - latency_.ns) / 5};
}

void AccountHealth::Cool(Duration rest, Tick now) {
  cooling_ = true;
  soft_ = false;
  why_ = Outcome::kNothing;
  until_ = now + rest;
}

bool AccountHealth::Errs(Tick now) const {
  return samples_ >= kErrsSamples && error_share_ >= kErrsShare &&
         now - last_sample_ < kOpinionLifetime;
}

}  // namespace weir::routing
