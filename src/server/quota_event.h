// A threshold that a policy's counter crossed, as it is told: to the log and to webhooks.
#pragma once

#include <string>

#include "config/config.h"
#include "gateway/credit_command.h"
#include "telemetry/event.h"
#include "telemetry/log.h"

namespace weir::server {

// "policy.alert" at a threshold, "policy.forecast" when the limit will be used up before the window
// ends at the rate so far. With owner and contact of the policy as `config` has it; one that is
// gone is told without them.
//   id  the same for the same record of the journal, so that a receiver which gets it again knows
telemetry::Event EventOf(const gateway::QuotaAlert& alert, const config::Config& config);

// When the limit is used up at the rate of the window so far, rounded down. REQUIRES settled > 0.
Instant UsedUpAt(const gateway::QuotaAlert& alert);

void LogAlert(const gateway::QuotaAlert& alert, const config::Config& config, telemetry::Log& log);

}  // namespace weir::server
