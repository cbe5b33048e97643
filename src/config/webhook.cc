#include "config/webhook.h"

#include <algorithm>
#include <utility>

#include "config/scalar.h"

namespace weir::config {
namespace {

constexpr std::string_view kSecretPrefix = "whsec_";
constexpr std::size_t kKeyBytesMin = 24;
constexpr std::size_t kKeyBytesMax = 64;

int Base64Digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  if (c == '/') return 63;
  return -1;
}

// RFC 4648 section 4, with its padding or without, and strict: one text for one value.
std::optional<std::string> DecodeBase64(std::string_view text) {
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  if (padding > 0 && text.size() % 4 != 0) return std::nullopt;
  text.remove_suffix(padding);
  if (text.size() % 4 == 1) return std::nullopt;
  std::string bytes;
  unsigned held = 0;
  int bits = 0;
  for (const char c : text) {
    const int digit = Base64Digit(c);
    if (digit < 0) return std::nullopt;
    held = (held << 6) | static_cast<unsigned>(digit);
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes += static_cast<char>((held >> bits) & 0xFF);
    held &= (1U << bits) - 1;
  }
  if (held != 0) return std::nullopt;
  return bytes;
}

}  // namespace

std::optional<WebhookUrl> ParseWebhookUrl(std::string_view text) {
  if (text.size() > kWebhookUrlBytesMax) return std::nullopt;
  // A backslash is a slash to some readers and a part of the host to others: nobody needs one.
  const bool plain = std::ranges::all_of(
      text, [](char c) { return c > 0x20 && c < 0x7F && c != '\\' && c != '#'; });
  const auto scheme = text.find("://");
  if (!plain || scheme == std::string_view::npos) return std::nullopt;
  const auto end = std::min(text.find_first_of("/?", scheme + 3), text.size());
  const auto origin = ParseUrl(text.substr(0, end));
  if (!origin) return std::nullopt;
  std::string target(text.substr(end));
  if (!target.starts_with('/')) target.insert(0, 1, '/');
  return WebhookUrl{
      .tls = origin->tls, .host = origin->host, .port = origin->port, .target = std::move(target)};
}

std::string OriginText(const WebhookUrl& url) {
  return FormatUrl({.tls = url.tls, .host = url.host, .port = url.port, .path = {}});
}

std::optional<std::vector<std::string>> ParseWebhookSecret(std::string_view text) {
  std::vector<std::string> keys;
  while (true) {
    const auto blank = std::min(text.find(' '), text.size());
    std::string_view one = text.substr(0, blank);
    if (!one.starts_with(kSecretPrefix)) return std::nullopt;
    one.remove_prefix(kSecretPrefix.size());
    auto key = DecodeBase64(one);
    if (!key || key->size() < kKeyBytesMin || key->size() > kKeyBytesMax) return std::nullopt;
    keys.push_back(*std::move(key));
    if (blank == text.size()) return keys;
    if (keys.size() == 2) return std::nullopt;
    text.remove_prefix(blank + 1);
  }
}

}  // namespace weir::config
