#include "cli/quota_lines.h"

#include <algorithm>
#include <utility>
#include <variant>

namespace weir::cli {

const ledger::CounterRecord* QuotaLines::Find(std::uint32_t number) const {
  const auto found = counters_.find(number);
  return found == counters_.end() ? nullptr : &found->second.made;
}

NamedLine QuotaLines::Name(std::uint32_t counter, std::int64_t amount) const {
  NamedLine line{.counter = counter, .policy = {}, .values = {}, .amount = amount};
  const ledger::CounterRecord* const made = Find(counter);
  if (made == nullptr || made->unit >= config::kQuotaUnits) return line;
  line.policy = made->policy;
  line.values = made->values;
  line.unit = static_cast<config::QuotaUnit>(made->unit);
  return line;
}

std::vector<NamedLine> QuotaLines::Hold(const RequestId& request,
                                        const std::vector<ledger::QuotaLine>& lines) {
  std::vector<NamedLine> named;
  for (const ledger::QuotaLine& line : lines) {
    named.push_back(Name(line.counter, line.amount.n));
    const auto known = counters_.find(line.counter);
    const Held held{line.counter, known == counters_.end() ? 0 : known->second.windows};
    auto& open = open_[request];
    const bool grows = std::ranges::any_of(open, [&](const Held& one) {
      return one.counter == held.counter && one.window == held.window;
    });
    if (!grows) open.push_back(held);
  }
  return named;
}

std::vector<NamedLine> QuotaLines::End(const RequestId& request,
                                       const std::vector<ledger::Amount>& used) {
  std::vector<NamedLine> named;
  const auto found = open_.find(request);
  if (found == open_.end()) return named;
  for (std::size_t i = 0; i < used.size() && i < found->second.size(); ++i) {
    named.push_back(Name(found->second[i].counter, used[i].n));
  }
  open_.erase(found);
  return named;
}

std::vector<NamedLine> QuotaLines::See(const ledger::Record& record) {
  if (const auto* counter = std::get_if<ledger::CounterRecord>(&record)) {
    counters_[counter->number] = {.made = *counter, .window = {}};
  } else if (const auto* window = std::get_if<ledger::WindowRecord>(&record)) {
    Known& known = counters_[window->number];
    const bool begins = known.windows == 0 || known.window.starts_at != window->starts_at ||
                        known.window.ends_at != window->ends_at;
    if (begins) ++known.windows;
    known.window = *window;
  } else if (const auto* intent = std::get_if<ledger::IntentRecord>(&record)) {
    if (intent->quotas) return Hold(intent->request, intent->quotas->lines);
  } else if (const auto* more = std::get_if<ledger::ExtendRecord>(&record)) {
    return Hold(more->request, more->quotas);
  } else if (const auto* settle = std::get_if<ledger::SettleRecord>(&record)) {
    return End(settle->request, settle->quotas);
  } else if (const auto* voided = std::get_if<ledger::VoidRecord>(&record)) {
    return End(voided->request, voided->quotas);
  }
  return {};
}

}  // namespace weir::cli
