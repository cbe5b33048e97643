// How fit an account is: what its last replies said, and how long it rests because of them. Pure
// state with `now` as a parameter; the rules, with what each rests on, are in account_health.cc.
//
//   open ---failure of a class---> cooling ---its time is over---> half open ---a call serves--->
//   open
//                                     ^                                |
//                                     +-------another failure----------+   (rests longer)
//
// Half open admits one call at a time. A class that is `soft` speaks of the vendor rather than of
// the account: such an account is still used when nothing better is left.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/time.h"

namespace weir::routing {

// What one attempt says about its account. Frozen: in metrics and in the request log.
enum class Outcome : std::uint8_t {
  kServed = 0,
  kBurst = 1,            // 429 that passes in seconds
  kWindowExhausted = 2,  // a usage window is used up
  kOverloaded = 3,       // the vendor has no capacity: 503, 529
  kAuthDead = 4,         // the credential is refused
  kBillingDead = 5,      // no money, or a spend limit
  kModelGone = 6,        // this account does not serve the model
  kServerError = 7,      // 5xx, no connection, no reply in time, a reply that makes no sense
  kEmptyReply = 8,       // it ended well and held nothing
  kNothing = 9,          // nothing was learnt: the caller's own fault, or the caller left
};
inline constexpr std::size_t kOutcomes = 10;
std::string_view Name(Outcome outcome);

// One class's rest.
struct CooldownRule {
  Duration first;        // when the upstream names no time; doubles with each failure in a row
  Duration cap;          // of the doubling
  Duration given_cap;    // of a time the upstream names
  std::int32_t strikes;  // failures in a row before the account rests
  bool soft;             // used all the same when no account is better
};
// Null for what does not rest the account: kServed, kNothing, and kModelGone, which rests the
// account for one model only (kModelGoneRule).
const CooldownRule* RuleOf(Outcome outcome);
extern const CooldownRule kModelGoneRule;

// `first` doubled for each failure in a row behind the first, at most `cap`; or the time given.
Duration RestOf(const CooldownRule& rule, std::int32_t failures, std::optional<Duration> given);

enum class Fitness : std::uint8_t { kOpen, kHalfOpen, kCoolingSoft, kCooling };

class AccountHealth {
 public:
  Fitness At(Tick now) const;
  // When the rest ends; meaningful while cooling.
  Tick until() const { return until_; }
  Outcome why() const { return why_; }
  std::int32_t failures() const { return failures_; }

  // An attempt's end, or the first content of a reply (kServed), which is as good a sign and comes
  // earlier. True when the account's fitness may have changed.
  //   given  the rest the upstream asked for.
  bool Note(Outcome outcome, std::optional<Duration> given, Tick now);
  // How long the first content took; for `slow`.
  void NoteLatency(Duration first_content);

  // What asking the account for something that costs nothing showed. Success ends a rest for a
  // refused credential or a dead connection, but only half: the next call decides. Limits are of
  // calls and not of questions, so that nothing else is learnt of them. A credential that is still
  // refused rests on.
  //   outcome  kServed, kAuthDead, kServerError; others change nothing.
  bool NoteProbe(Outcome outcome, Tick now);
  // Whether a probe could tell something new.
  bool WantsProbe(Tick now) const;

  // An operator's word.
  void Cool(Duration rest, Tick now);
  void Clear() { *this = AccountHealth(); }

  // Half of the last five or so attempts failed: sessions go elsewhere, other calls may still come.
  bool Errs(Tick now) const;
  // The average time to first content, 0 before the first sample.
  Duration latency() const { return latency_; }

 private:
  Tick until_;  // of the rest; 0: none since the last success
  Outcome why_ = Outcome::kServed;
  std::int32_t failures_ = 0;  // in a row, of the class `why_`
  std::int32_t strikes_ = 0;   // in a row, of any class
  bool cooling_ = false;       // resting, or half open behind a rest
  bool soft_ = false;
  std::int32_t error_share_ = 0;  // of 1024, exponentially weighted with 1/5
  std::int32_t samples_ = 0;
  Tick last_sample_;
  Duration latency_;
};

}  // namespace weir::routing
