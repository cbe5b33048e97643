#include "policy/decision.h"

#include <algorithm>

#include "ledger/account.h"
#include "policy/quote.h"

namespace weir::policy {
namespace {

// What policies that count nothing allow of any one request: it is shortened to that first, so that
// the rest is judged by what it can come to.
void ShortenToOne(std::span<const QuotaUse> uses, std::span<const Standing> standings, Ask& ask,
                  DecisionScratch& scratch) {
  const auto alone = [](const QuotaUse& use) { return use.counter.empty(); };
  if (std::ranges::none_of(uses, alone)) return;
  scratch.uses.clear();
  scratch.standings.clear();
  for (std::size_t i = 0; i < uses.size(); ++i) {
    if (!alone(uses[i])) continue;
    scratch.uses.push_back(uses[i]);
    scratch.standings.push_back(standings[i]);
  }
  const auto left = OutputLeft(scratch.uses, scratch.standings, ask, ask.output, Room::kAvailable);
  if (left && *left > 0) ask.output = *left;
}

}  // namespace

Decision Decide(std::span<const QuotaUse> uses, std::span<const Standing> standings, Ask ask,
                std::int64_t spend_percent, DecisionScratch& scratch) {
  const std::int64_t asked = ask.output;
  ShortenToOne(uses, standings, ask, scratch);
  ask.output_useful = std::min(ask.output, std::max<std::int64_t>(ask.output_useful, 1));
  ask.output_usual = std::min(ask.output, ask.output_usual);
  Decision decision{.ask = ask};
  decision.verdict = JudgeFixed(uses, standings, ask);
  if (!decision.allowed()) return decision;
  const auto fits = OutputLeft(uses, standings, ask, ask.output, Room::kAvailable);
  if (!fits || (*fits < ask.output && *fits < ask.output_useful)) {
    decision.verdict = JudgeOutput(uses, standings, ask);
    if (!decision.allowed()) return decision;
  }
  decision.output = fits.value_or(0);
  decision.clamped = decision.output < asked;
  const std::int64_t choices = std::max<std::int64_t>(ask.demand.choices, 1);
  if (ask.demand.price != nullptr) {
    TokenBounds bounds = ask.demand.bounds;
    bounds.output = decision.output * choices;
    decision.hold = HoldOf(*ask.demand.price, bounds);
    decision.ask.demand.fallback_spend =
        ledger::Saturated(static_cast<__int128>(decision.hold.n) * spend_percent / 100);
  }
  decision.recovery = LeftForRecovery(uses, standings);
  return decision;
}

void WhoClamped(std::span<const QuotaUse> uses, std::span<const Standing> standings,
                const Decision& decision, std::int64_t asked, std::vector<std::size_t>& out) {
  for (std::size_t i = 0; i < uses.size(); ++i) {
    const auto left = OutputLeft(uses.subspan(i, 1), standings.subspan(i, 1), decision.ask, asked,
                                 Room::kAvailable);
    if (left && *left <= decision.output && *left < asked) out.push_back(i);
  }
}

}  // namespace weir::policy
