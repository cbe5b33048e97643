// Whether a request fits beside what the policies it meets have left, and how much output it may
// make. Pure: the credit machine, the evaluator and the replay of stored requests all decide by
// this.
//
// Two steps. What a request uses whatever it answers (requests, input, images, slots) fits or does
// not. What grows with its answer is bounded by shortening the answer, as with budgets.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/error_list.h"
#include "policy/policy_set.h"
#include "policy/quota_table.h"
#include "policy/quota_unit.h"

namespace weir::policy {

// What a request wants at most.
struct Ask {
  Demand demand;
  std::int64_t output = 0;         // per choice
  std::int64_t output_useful = 1;  // per choice: a shorter answer is worth nothing
  std::int64_t output_usual = 0;   // per choice: what such requests make, for firm caps
};

// Which part of a limit counts: what nobody used or holds, what nobody used, all of it.
enum class Room : std::uint8_t { kAvailable, kAlone, kWhole };

struct Verdict {
  Refusal refusal = Refusal::kNone;
  std::size_t use = 0;      // whose policy refuses
  std::int64_t amount = 0;  // what of its unit is needed
};

// The first policy that has no room for what does not shrink with the answer.
Verdict JudgeFixed(std::span<const QuotaUse> uses, std::span<const Standing> standings,
                   const Ask& ask);

// The largest output per choice, at most `output_max`, that all policies have room for. Nothing
// when one has none for the input alone.
std::optional<std::int64_t> OutputLeft(std::span<const QuotaUse> uses,
                                       std::span<const Standing> standings, const Ask& ask,
                                       std::int64_t output_max, Room room);

// The policy to blame when OutputLeft leaves less than is useful. kNone: none is.
Verdict JudgeOutput(std::span<const QuotaUse> uses, std::span<const Standing> standings,
                    const Ask& ask);

// What attempts to recover a request may make, by the policies on that. None: no policy says so.
struct RecoveryLeft {
  std::optional<std::int64_t> attempts;
  std::optional<std::int64_t> fallback_attempts;
  std::optional<NanoUsd> fallback_spend;
};
RecoveryLeft LeftForRecovery(std::span<const QuotaUse> uses, std::span<const Standing> standings);

// What is held of a use whose request was granted `output` over all choices.
//   usd      what it costs at most with that output
//   granted  of recovery
std::int64_t AmountOf(const QuotaUse& use, const Standing& standing, const Ask& ask,
                      std::int64_t output, NanoUsd usd, const RecoveryLeft& granted);

// Whether a policy in shadow would have refused the request.
bool WouldRefuse(const QuotaUse& use, const Standing& standing, const Ask& ask);

}  // namespace weir::policy
