// A question that costs nothing, to learn whether an account is well: GET /models with its
// credential.
#pragma once

#include "base/runtime.h"
#include "base/task.h"
#include "config/config.h"
#include "gateway/ports.h"
#include "routing/account_health.h"

namespace weir::gateway {

// Asks, and says what the answer means for the account:
//   kServed       any 2xx: the credential is good and the upstream is there
//   kAuthDead     the credential was refused
//   kServerError  no connection, no answer in time, 5xx
//   kNothing      all else: a list of models is not a limit's business, and an upstream that has
//                 none says nothing of its accounts
Task<routing::Outcome> Probe(const config::Upstream& upstream, const config::Account& account,
                             Upstreams& upstreams, Interrupt& interrupt, Runtime& runtime);

}  // namespace weir::gateway
