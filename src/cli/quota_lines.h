// Names what records say of policies by number: which counter a number stands for, and which of
// them the figures of a settlement are of. Told every record, in order; for rows that people read.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/id.h"
#include "config/policy.h"
#include "ledger/record.h"

namespace weir::cli {

// So much of one counter: held by an admission or an extension, used by what ends it.
struct NamedLine {
  std::uint32_t counter = 0;
  std::string policy;  // empty: no record before has the number
  std::string values;
  config::QuotaUnit unit = config::QuotaUnit::kRequests;
  std::int64_t amount = 0;  // in steps of the unit
};

class QuotaLines {
 public:
  // What the record itself says, lines that used nothing included; none for other kinds.
  std::vector<NamedLine> See(const ledger::Record& record);

  // The counter of a number now; null for none.
  const ledger::CounterRecord* Find(std::uint32_t number) const;

 private:
  struct Held {
    std::uint32_t counter = 0;
    std::uint32_t window = 0;  // of the counter: an extension in a later one is a line of its own
  };
  struct Known {
    ledger::CounterRecord made;
    ledger::WindowRecord window;
    std::uint32_t windows = 0;
  };
  NamedLine Name(std::uint32_t counter, std::int64_t amount) const;
  std::vector<NamedLine> Hold(const RequestId& request,
                              const std::vector<ledger::QuotaLine>& lines);
  std::vector<NamedLine> End(const RequestId& request, const std::vector<ledger::Amount>& used);

  std::unordered_map<std::uint32_t, Known> counters_;
  std::map<RequestId, std::vector<Held>> open_;
};

}  // namespace weir::cli
