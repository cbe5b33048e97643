// What the file says of a webhook, taken apart: the address to call, and the keys to sign with. One
// reading for whoever checks the file and for whoever sends. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::config {

// Every type of event there is. Receivers know them by these names: frozen, only added to.
inline constexpr std::array<std::string_view, 10> kWebhookEvents = {
    "policy.alert", "policy.forecast", "approval.requested", "approval.decided", "approval.expired",
    "wallet.low",   "account.rested",  "key.created",        "key.revoked",      "webhook.test"};

inline constexpr std::size_t kWebhooksMax = 100;
inline constexpr std::size_t kWebhookUrlBytesMax = 2048;

struct WebhookUrl {
  bool tls = true;
  std::string host;  // without brackets
  std::uint16_t port = 443;
  std::string target;  // path and query as written, "/" at least

  friend bool operator==(const WebhookUrl&, const WebhookUrl&) = default;
};

// "https://hooks.example.com/weir?token=1". Unlike an upstream's address it may have escapes, a
// query and a slash at its end, all of which mean something to whoever gave it out; no user and no
// fragment.
std::optional<WebhookUrl> ParseWebhookUrl(std::string_view text);

// "https://hooks.example.com": as much of a URL as may be shown. What stands behind it is often all
// that keeps others from calling it.
std::string OriginText(const WebhookUrl& url);

// The keys of "whsec_BASE64", as bytes; of "whsec_NEW whsec_OLD" both, to sign with both while a
// receiver changes over. None: not of that form, or a key is not 24 to 64 bytes long.
std::optional<std::vector<std::string>> ParseWebhookSecret(std::string_view text);

}  // namespace weir::config
