// Which Idempotency-Keys are in use: at most one settlement for each (I10).
//
//   (free) --Begin--> in progress --End(keep)--> finished --a day--> (free)
//                          \--End(!keep): nothing was charged--> (free)
//
// A request that was refused never gets here, so it does not use its key up. Part of the credit
// machine: deterministic, rebuilt from the journal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>

#include "base/id.h"
#include "base/time.h"
#include "ledger/id_table.h"
#include "ledger/record.h"

namespace weir::gateway {

using ledger::IdempotencyUse;

class IdempotencyTable {
 public:
  static constexpr Duration kLifetime = Seconds(86'400);  // as OpenAI and Stripe keep them
  static constexpr std::size_t kKeysMax = 1 << 20;        // beyond it the oldest are forgotten

  enum class State : std::uint8_t {
    kFree,
    kInProgress,
    kFinished,
    kOtherRequest,  // the key is in use for another body
  };
  struct Found {
    State state = State::kFree;
    RequestId request;  // that has the key
  };

  Found Look(const IdempotencyUse& use, Instant now);
  // Look, for a request that was admitted once before: a key that has finished is free.
  Found Replace(const IdempotencyUse& use, Instant now);
  // REQUIRES a free key.
  void Begin(const IdempotencyUse& use, const RequestId& request, Instant now);
  // The request of a key ended. Without `keep` the key is free again.
  void End(const Id128& key, bool keep);

  std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    RequestId request;
    Id128 body;
    bool finished = false;
  };
  struct Begun {
    Instant at;
    Id128 key;
    RequestId request;
  };

  void Forget(Instant now);

  ledger::IdTable<Id128, Entry, IdHash> entries_;
  std::deque<Begun> begun_;  // oldest first; some were freed meanwhile
};

}  // namespace weir::gateway
