// The header lines that name the operator's account to its upstream.
#pragma once

#include <string>
#include <string_view>

#include "config/config.h"

namespace weir::gateway {

// Appends finished header lines: the account's key where the upstream's family looks for one, and
// for Anthropic the version of the API.
//   anthropic_version  as the caller names it; empty: the only one there has been since 2023.
void AppendCredential(const config::Upstream& upstream, const config::Account& account,
                      std::string_view anthropic_version, std::string& out);

}  // namespace weir::gateway
