// What the policies that a request meets say to it together, when nothing else has a say: no budget
// of its key, no wallet, no limit per minute. What the replay of stored requests and the evaluator
// decide by; the credit machine makes the same steps with budget and wallet among them.
//
// Pure. It decides with quota_fit and holds nothing; whoever wants to hold does so by the amounts
// of AmountOf with what is granted here.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "policy/quota_fit.h"

namespace weir::policy {

struct Decision {
  Verdict verdict;          // kNone: it is allowed
  Ask ask;                  // shortened to what policies allow of any one request
  std::int64_t output = 0;  // granted, per choice
  bool clamped = false;     // below what was asked for
  NanoUsd hold;             // what it costs at most with that output; 0 without a price
  RecoveryLeft recovery;

  bool allowed() const { return verdict.refusal == Refusal::kNone; }
};

// Kept between decisions for its memory.
struct DecisionScratch {
  std::vector<QuotaUse> uses;
  std::vector<Standing> standings;
};

// Decides about a request that meets `uses`, each of which stands as in `standings`.
//   ask            `output` is what it asks for per choice, `output_usual` what such requests make;
//                  `output_useful` as it was written, the decision bounds it
//   spend_percent  of the hold, that attempts after the first may cost
//   REQUIRES       a price where a use counts money
Decision Decide(std::span<const QuotaUse> uses, std::span<const Standing> standings, Ask ask,
                std::int64_t spend_percent, DecisionScratch& scratch);

// The policies whose room is why the output was shortened to what was granted: those that alone
// leave no more. Appends indices into `uses`.   REQUIRES a decision that was clamped
void WhoClamped(std::span<const QuotaUse> uses, std::span<const Standing> standings,
                const Decision& decision, std::int64_t asked, std::vector<std::size_t>& out);

}  // namespace weir::policy
