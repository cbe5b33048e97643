// What every way of forwarding shares: what an attempt's end means for the exchange and for the
// account, and our own count where the upstream gives none.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/runtime.h"
#include "gateway/exchange.h"
#include "gateway/ports.h"

namespace weir::gateway {

// What a failure says of the account.
routing::Outcome OutcomeOf(dialect::FailureClass failure);

// The attempt failed as the upstream said: what the caller will see if no other follows.
//   status, body   of the upstream's reply; 200 and nothing for an error inside a stream
void Fail(Exchange& x, Attempt& attempt, const dialect::UpstreamFailure& failure, int status,
          std::string body, bool body_whole);
// No reply at all: connection, TLS, framing, time; or the journal.
void FailWithoutReply(Exchange& x, Attempt& attempt, const Error& error);
Error JournalError();

// The reply is under way or whole: good news of the account, told once.
void NoteAlive(Attempt& attempt, Ports& ports, Tick now);
// What later calls may refer to: the reply's id, and the state of the turn it belongs to. And what
// it used, for an account with tokens per minute.   REQUIRES x.reply, x.usage
void NoteMade(Exchange& x, Attempt& attempt, std::string_view response_id);

// Our own count: a quarter of the body's bytes for the input, or what the audio's length makes.
Usage OwnCount(const Exchange& x, std::int64_t output_tokens, UsageSource source);

bool IsEventStream(const UpstreamReply& reply);

// An attempt's clock on its upstream: what is spent waiting for it is not our overhead.
class UpstreamClock {
 public:
  UpstreamClock(Exchange& x, Runtime& runtime) : x_(x), runtime_(runtime), since_(runtime.Now()) {}
  Tick Stop() {
    const Tick now = runtime_.Now();
    x_.timings.upstream = x_.timings.upstream + (now - since_);
    return now;
  }
  void Start() { since_ = runtime_.Now(); }

 private:
  Exchange& x_;
  Runtime& runtime_;
  Tick since_;
};

}  // namespace weir::gateway
