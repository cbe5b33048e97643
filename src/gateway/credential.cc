#include "gateway/credential.h"

namespace weir::gateway {
namespace {

constexpr std::string_view kAnthropicVersion = "2023-06-01";

}  // namespace

void AppendCredential(const config::Upstream& upstream, const config::Account& account,
                      std::string_view anthropic_version, std::string& out) {
  const std::string_view key = account.api_key.Reveal();
  switch (upstream.kind) {
    case config::UpstreamKind::kSandbox:
    case config::UpstreamKind::kOpenAi:
      out += "authorization: Bearer ";
      break;
    case config::UpstreamKind::kAnthropic:
      out += "anthropic-version: ";
      out += anthropic_version.empty() ? kAnthropicVersion : anthropic_version;
      out += "\r\n";
      if (key.empty()) return;
      out += "x-api-key: ";
      break;
    case config::UpstreamKind::kGemini:
      if (key.empty()) return;
      out += "x-goog-api-key: ";
      break;
  }
  out += key;
  out += "\r\n";
}

}  // namespace weir::gateway
