#include "gateway/idempotency.h"

namespace weir::gateway {

void IdempotencyTable::Forget(Instant now) {
  while (!begun_.empty() && (begun_.front().at + kLifetime <= now || entries_.size() > kKeysMax)) {
    const Begun oldest = begun_.front();
    const Entry* const entry = entries_.Find(oldest.key);
    if (entry != nullptr && entry->request == oldest.request) {
      // One that has run for a day still runs: its key is free when it ends.
      if (!entry->finished) break;
      entries_.Erase(oldest.key);
    }
    begun_.pop_front();
  }
}

IdempotencyTable::Found IdempotencyTable::Look(const IdempotencyUse& use, Instant now) {
  Forget(now);
  const Entry* const entry = entries_.Find(use.key);
  if (entry == nullptr) return {};
  if (entry->body != use.body) return {State::kOtherRequest, entry->request};
  return {entry->finished ? State::kFinished : State::kInProgress, entry->request};
}

IdempotencyTable::Found IdempotencyTable::Replace(const IdempotencyUse& use, Instant now) {
  Forget(now);
  const Entry* const entry = entries_.Find(use.key);
  if (entry == nullptr) return {};
  if (!entry->finished) return {State::kInProgress, entry->request};
  entries_.Erase(use.key);
  return {};
}

void IdempotencyTable::Begin(const IdempotencyUse& use, const RequestId& request, Instant now) {
  entries_.Insert(use.key, {.request = request, .body = use.body});
  begun_.push_back({now, use.key, request});
}

void IdempotencyTable::End(const Id128& key, bool keep) {
  Entry* const entry = entries_.Find(key);
  if (entry == nullptr) return;
  if (keep) {
    entry->finished = true;
  } else {
    entries_.Erase(key);
  }
}

}  // namespace weir::gateway
