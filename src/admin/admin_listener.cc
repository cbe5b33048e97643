#include "admin/admin_listener.h"

#include <ctime>
#include <utility>

#include "admin/admin_api.h"
#include "admin/public_docs.h"
#include "base/version.h"
#include "store/pepper.h"

namespace weir::admin {
namespace {

class AdminListener final : public net::HttpHandler {
 public:
  AdminListener(server::Server& server, std::string token_hash)
      : server_(server), api_(Ports(server), std::move(token_hash)) {}

  Task<void> Handle(const gateway::RequestHead& head, gateway::Downstream& downstream,
                    Tick) override {
    gateway::ReplyHead reply;
    if (auto page = server::HealthPage(head.path, server_.draining())) {
      reply.status = page->status;
      reply.content_type = page->content_type;
      co_await downstream.Reply(std::move(reply), page->body);
      co_return;
    }
    if (head.path == "/metrics" && (head.method == "GET" || head.method == "HEAD")) {
      const std::string text = server_.metrics().Text();
      reply.content_type = telemetry::kMetricsContentType;
      co_await downstream.Reply(std::move(reply), text);
      co_return;
    }
    const auto body = co_await downstream.ReadBody(kBodyBytesMax);
    AdminResponse response;
    if (body) {
      response = api_.Handle({.method = head.method,
                              .path = head.path,
                              .query = head.query,
                              .headers = head.headers,
                              .body = *body});
    } else if (body.error().code == ErrorCode::kTooLarge) {
      response = BodyTooLarge();
    } else {
      downstream.Cut();
      co_return;
    }
    reply.status = response.status;
    reply.content_type = response.content_type;
    reply.headers = std::move(response.headers);
    co_await downstream.Reply(std::move(reply), response.body);
  }

  std::string BadRequestBody(int status, std::string_view reason) override {
    return "{\"type\":\"about:blank\",\"title\":\"Bad Request\",\"status\":" +
           std::to_string(status) + ",\"detail\":\"" + std::string(reason) + "\"}";
  }

 private:
  static AdminPorts Ports(server::Server& server) {
    return {.keys = server.keys(),
            .requests = server.requests(),
            .pepper = server.pepper(),
            .config = [&server] { return server.config(); },
            .status = [&server] { return Status(server); },
            .now = [] {
              timespec now{};
              clock_gettime(CLOCK_REALTIME, &now);
              return Instant{static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec};
            },
            .random = store::SystemRandom32,
            .keys_changed = [&server] { server.PublishKeys(); },
            .standing = [&server](KeyId key) { return server.credit().Standing(key); }};
  }

  static NodeStatus Status(server::Server& server) {
    const auto counters = server.credit().Counters();
    return {.version = kVersion,
            .started_at = server.started_at(),
            .config_hash = {},
            .journal_position = counters.records,
            .journal_durable = counters.records,
            .draining = server.draining(),
            .connections = server.connections(),
            .requests = server.metrics().Now(telemetry::Live::kRequests),
            .streams = server.metrics().Now(telemetry::Live::kStreams),
            .workers = server.workers()};
  }

  server::Server& server_;
  AdminApi api_;
};

}  // namespace

std::unique_ptr<net::HttpHandler> MakeAdminListener(server::Server& server,
                                                    std::string token_hash) {
  return std::make_unique<AdminListener>(server, std::move(token_hash));
}

std::optional<server::Page> PublicPage(const config::Config& config, std::string_view path,
                                       std::string_view host) {
  const std::string base_url = "http://" + std::string(host.empty() ? "127.0.0.1" : host);
  if (path == "/llms.txt") {
    return server::Page{200, "text/plain; charset=utf-8", LlmsText(config, base_url)};
  }
  if (path == "/llms-full.txt") {
    return server::Page{200, "text/plain; charset=utf-8", LlmsFullText(config, base_url)};
  }
  if (path == "/openapi.yaml") {
    return server::Page{200, "application/yaml", std::string(OpenApiYaml())};
  }
  return std::nullopt;
}

}  // namespace weir::admin
