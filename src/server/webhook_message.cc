#include "server/webhook_message.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include <array>

#include "base/check.h"
#include "telemetry/log.h"

namespace weir::server {
namespace {

std::string Base64(std::span<const unsigned char> bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');  // EVP_EncodeBlock ends it with a NUL
  const int length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), bytes.data(),
                                     static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(length));
  return text;
}

}  // namespace

std::string WebhookBody(const telemetry::Event& event) {
  std::string body = "{\"type\":";
  telemetry::AppendJsonText(event.type, telemetry::kTextBytesMax, body);
  body += ",\"timestamp\":\"";
  body += telemetry::FormatInstant(event.time);
  body += "\",\"data\":";
  body += event.data;
  body += '}';
  return body;
}

std::string WebhookSignature(std::string_view id, std::int64_t unix_seconds, std::string_view body,
                             std::span<const std::string> keys) {
  const std::string text = fmt::format("{}.{}.{}", id, unix_seconds, body);
  std::string signature;
  for (const std::string& key : keys) {
    std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
    unsigned int size = 0;
    const auto* made = HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
                            reinterpret_cast<const unsigned char*>(text.data()), text.size(),
                            digest.data(), &size);
    CHECK(made != nullptr && size == digest.size(), "HMAC-SHA256 takes any key and any text");
    if (!signature.empty()) signature += ' ';
    signature += "v1,";
    signature += Base64(digest);
  }
  return signature;
}

std::string WebhookHeaders(const telemetry::Event& event, std::string_view body, Instant now,
                           std::span<const std::string> keys) {
  const std::int64_t seconds = now.ns / Seconds(1).ns;
  return fmt::format(
      "content-type: application/json\r\n"
      "webhook-id: {}\r\n"
      "webhook-timestamp: {}\r\n"
      "webhook-signature: {}\r\n"
      "accept-encoding: identity\r\n"
      "user-agent: weir\r\n",
      event.id, seconds, WebhookSignature(event.id, seconds, body, keys));
}

}  // namespace weir::server
