// How the node does: for programs at /admin/v1/status, for people at /.

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

#include <array>

#include "admin/handlers.h"
#include "admin/json_writer.h"
#include "store/key_store.h"
#include "telemetry/log.h"
#include "telemetry/metrics.h"

namespace weir::admin {

namespace {

constexpr std::string_view kStyle =
    "body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem;"
    "color:#1b1f24;background:#fff}table{border-collapse:collapse}td{padding:.15rem 1rem .15rem 0}"
    "code{background:#f2f4f6;padding:.1rem .3rem}"
    "@media(prefers-color-scheme:dark){body{color:#e6e8ea;background:#14171a}"
    "code{background:#24292e}a{color:#8ab4f8}}";

std::string EscapeHtml(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

// The hash that lets exactly this style sheet run under the page's policy.
std::string StyleHash() {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(kStyle.data()), kStyle.size(), digest.data());
  std::array<unsigned char, 48> text{};
  const int length = EVP_EncodeBlock(text.data(), digest.data(), digest.size());
  return {reinterpret_cast<const char*>(text.data()), static_cast<std::size_t>(length)};
}

}  // namespace

AdminResponse GetStatus(const Call& call) {
  const NodeStatus status = call.ports.status();
  const routing::StickyCounts sticky = call.ports.accounts.sticky();
  JsonWriter json;
  json.Open('{')
      .Text("version", status.version)
      .Time("started_at", status.started_at)
      .Number("uptime_seconds", (call.now - status.started_at).ns / 1'000'000'000)
      .Text("state", status.draining ? "draining" : "serving")
      .Text("config_hash", ConfigHash(*call.ports.config()))
      .Open("journal", '{')
      .Flag("available", status.journal_available)
      .Number("records", static_cast<std::int64_t>(status.journal_records))
      .Number("commits", static_cast<std::int64_t>(status.journal_commits))
      .Close('}')
      .Number("workers", status.workers)
      .Number("connections", status.connections)
      .Number("requests_in_progress", status.requests)
      .Number("keys", static_cast<std::int64_t>(call.ports.keys.table()->size()))
      .Open("sticky", '{')
      .Number("kept", sticky.kept)
      .Number("away", sticky.away)
      .Number("escaped", sticky.escaped)
      .Close('}')
      .Close('}');
  return JsonResponse(json.Take());
}

AdminResponse GetMetrics(const Call& call) {
  AdminResponse response;
  response.content_type = telemetry::kMetricsContentType;
  response.body = call.ports.metrics();
  return response;
}

AdminResponse GetLive(const Call&) { return JsonResponse("{\"status\":\"ok\"}\n"); }

AdminResponse GetReady(const Call& call) {
  const bool draining = call.ports.status().draining;
  return draining ? JsonResponse("{\"status\":\"draining\"}\n", 503)
                  : JsonResponse("{\"status\":\"ok\"}\n");
}

AdminResponse StatusPage(const Call& call) {
  const NodeStatus status = call.ports.status();
  const auto config = call.ports.config();
  AdminResponse response;
  response.content_type = "text/html; charset=utf-8";
  response.headers = fmt::format(
      "content-security-policy: default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; "
      "form-action 'none'; frame-ancestors 'none'\r\n",
      StyleHash());
  response.body = fmt::format(
      R"(<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{brand}: admin</title><style>{style}</style></head>
<body>
<h1>{brand}</h1>
<p>This is the admin listener. The API is at <code>/admin/v1</code>; send
<code>Authorization: Bearer</code> with the admin token, or use <code>weir keys list</code>.</p>
<table>
<tr><td>State</td><td>{state}</td></tr>
<tr><td>Version</td><td>{version}</td></tr>
<tr><td>Running since</td><td>{since}</td></tr>
<tr><td>Environment</td><td>{environment}</td></tr>
<tr><td>Requests in progress</td><td>{requests}</td></tr>
<tr><td>Connections</td><td>{connections}</td></tr>
</table>
<p>The contract is <code>/openapi.yaml</code> on the gateway listener.</p>
</body>
</html>
)",
      fmt::arg("brand", EscapeHtml(config->brand.name)), fmt::arg("style", kStyle),
      fmt::arg("state", status.draining ? "draining" : "serving"),
      fmt::arg("version", EscapeHtml(status.version)),
      fmt::arg("since", telemetry::FormatInstant(status.started_at)),
      fmt::arg("environment", EscapeHtml(config->environment)),
      fmt::arg("requests", status.requests), fmt::arg("connections", status.connections));
  return response;
}

}  // namespace weir::admin
