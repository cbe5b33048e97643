#include "prices/rerate.h"

#include "policy/quote.h"

namespace weir::prices {

std::string FormatSum(NanoUsdSum sum) {
  const bool negative = sum < 0;
  auto magnitude =
      negative ? -static_cast<unsigned __int128>(sum) : static_cast<unsigned __int128>(sum);
  const std::string fraction =
      FormatUsd({static_cast<std::int64_t>(magnitude % kNanoPerUsd)}).substr(1);
  magnitude /= kNanoPerUsd;
  std::string digits;
  do {
    digits.insert(digits.begin(), static_cast<char>('0' + static_cast<int>(magnitude % 10)));
    magnitude /= 10;
  } while (magnitude != 0);
  return (negative ? "-" : "") + digits + fraction;
}

void Rerate::Add(std::string_view model, const Usage& usage, NanoUsd booked,
                 const config::Price* price) {
  // Usage that nobody charged for (a hang-up, a failure) has no price to compare with.
  if (usage.source == UsageSource::kNone || booked.n == 0) return;
  auto found = models_.find(model);
  if (found == models_.end()) found = models_.emplace(std::string(model), Rerated{}).first;
  Rerated& line = found->second;
  if (price == nullptr) {
    ++line.unpriced_requests;
    return;
  }
  const NanoUsd now = policy::PriceOf(*price, usage);
  ++line.requests;
  line.booked += booked.n;
  line.now += now.n;
  if (now != booked) ++line.changed_requests;
}

Rerated Rerate::total() const {
  Rerated total;
  for (const auto& [model, line] : models_) {
    total.requests += line.requests;
    total.unpriced_requests += line.unpriced_requests;
    total.changed_requests += line.changed_requests;
    total.booked += line.booked;
    total.now += line.now;
  }
  return total;
}

}  // namespace weir::prices
