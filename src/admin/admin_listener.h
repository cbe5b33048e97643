// The admin API on its listener: HTTP on one side, AdminApi::Handle on the other. Also what the
// gateway's own listener says about the program (/llms.txt, /llms-full.txt, /openapi.yaml).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "config/config.h"
#include "net/http_server.h"
#include "server/server.h"
#include "server/session.h"

namespace weir::admin {

// The handler for Server::StartAdmin. `server` outlives it.
std::unique_ptr<net::HttpHandler> MakeAdminListener(server::Server& server, std::string token_hash);

// SessionShared::page.
std::optional<server::Page> PublicPage(const config::Config& config, std::string_view path,
                                       std::string_view host);

}  // namespace weir::admin
