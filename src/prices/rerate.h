// What past requests would have cost at the prices of now, beside what was booked for them. Reads
// figures and changes none.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/money.h"
#include "base/usage.h"
#include "config/price.h"

namespace weir::prices {

// A sum of amounts. 128 bits: no number of requests overflows it.
using NanoUsdSum = __int128;

// "12.5", "-0.000000001": plain decimal USD.
std::string FormatSum(NanoUsdSum sum);

struct Rerated {
  std::int64_t requests = 0;           // with usage and a price
  std::int64_t unpriced_requests = 0;  // with usage, of a model that has no price now
  std::int64_t changed_requests = 0;   // that would have cost something else
  NanoUsdSum booked = 0;               // of `requests`: what was charged and what the operator bore
  NanoUsdSum now = 0;
  NanoUsdSum difference() const { return now - booked; }
};

class Rerate {
 public:
  // One request that ended.
  //   booked  its price then: charged and overrun
  //   price   that of its model now, or null
  void Add(std::string_view model, const Usage& usage, NanoUsd booked, const config::Price* price);

  const std::map<std::string, Rerated, std::less<>>& models() const { return models_; }
  Rerated total() const;

 private:
  std::map<std::string, Rerated, std::less<>> models_;
};

}  // namespace weir::prices
