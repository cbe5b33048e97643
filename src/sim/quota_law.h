// Which counters a request has to be held on, and how much of each: worked out by hand from the
// policies of its day, without policy/'s matching, windows and units. For the auditor.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/money.h"
#include "base/time.h"
#include "config/config.h"
#include "ledger/record.h"

namespace weir::sim {

// Who asked for what, as whoever sent it knows.
struct Asker {
  std::string key;
  std::string workspace;
  std::string team;
  std::string user;
  std::string action;
  std::string model;  // that serves
  std::string endpoint;
};

// What an admission is held for at most.
struct HeldFor {
  std::int64_t input_tokens = 0;
  std::int64_t output_tokens = 0;
  NanoUsd usd;
  std::int64_t multiplier_ppm = 1'000'000;
};

// One limit that a request meets.
struct Due {
  std::string policy;  // its id, with "/attempts" or the like behind it
  std::string values;
  std::string scope;  // whose action it is of, where it is of one
  config::QuotaUnit unit = config::QuotaUnit::kRequests;
  config::WindowKind kind = config::WindowKind::kMonth;
  Duration length;  // of its windows; 0: they are not of a fixed length
  bool sliding = false;
  std::int64_t limit = 0;
  ledger::QuotaRule rule = ledger::QuotaRule::kHard;
  // What is held. None: several amounts would be right.
  std::optional<std::int64_t> amount;
  bool may_be_left_out = false;  // nothing is held of it
  bool alone = false;            // it is of this request, and no counter is kept
};

std::vector<Due> DuesOf(const config::Config& config, const Asker& asker, Instant asked_at,
                        const HeldFor& held);

// Where a policy that degrades may send a request of that model, itself included.
std::vector<std::string> ModelsFor(const config::Config& config, const std::string& model);

// The window of a due that holds `at`; REQUIRES a length and that it does not slide.
struct Bounds {
  Instant starts_at;
  Instant ends_at;
};
Bounds WindowByHand(const Due& due, Instant at);

// What usage comes to in a unit; none where the usage does not say.
std::optional<ledger::Sum> UseByHand(config::QuotaUnit unit, const Usage& usage, NanoUsd price,
                                     std::int64_t multiplier_ppm);

}  // namespace weir::sim
