// OpenSSL's one-shot HMAC looks its algorithm up and allocates on every call, about two
// microseconds; the SHA-256 functions below it do neither. OpenSSL 3 marks them deprecated in
// favour of the former, not because they are wrong.
#define OPENSSL_SUPPRESS_DEPRECATED

#include "identity/api_key.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>

namespace weir::identity {
namespace {

constexpr std::size_t kBlockBytes = SHA256_CBLOCK;
constexpr std::string_view kBase62 =
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

bool IsBase62(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

constexpr auto kCrcTable = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) ? 0xEDB88320U : 0U);
    table[i] = value;
  }
  return table;
}();

// CRC-32 as in IEEE 802.3, zlib and GitHub's tokens.
std::uint32_t Crc32(std::string_view text) {
  std::uint32_t crc = 0xFFFFFFFFU;
  for (const char c : text)
    crc = kCrcTable[(crc ^ static_cast<std::uint8_t>(c)) & 0xFF] ^ (crc >> 8);
  return crc ^ 0xFFFFFFFFU;
}

// 62^6 is above 2^32, so six digits hold every checksum.
std::array<char, kKeyChecksumLength> ChecksumText(std::string_view prefix_and_body) {
  std::array<char, kKeyChecksumLength> text{};
  std::uint32_t value = Crc32(prefix_and_body);
  for (std::size_t i = text.size(); i-- > 0;) {
    text[i] = kBase62[value % 62];
    value /= 62;
  }
  return text;
}

// 62^43 is above 2^256, so 43 digits hold every 32 bytes.
std::array<char, kKeyBodyLength> BodyText(std::span<const std::uint8_t, 32> bytes) {
  std::array<std::uint32_t, 8> number{};  // most significant first
  for (std::size_t i = 0; i < bytes.size(); ++i) number[i / 4] = (number[i / 4] << 8) | bytes[i];
  std::array<char, kKeyBodyLength> text{};
  for (std::size_t i = text.size(); i-- > 0;) {
    std::uint64_t remainder = 0;
    for (std::uint32_t& limb : number) {
      const std::uint64_t value = (remainder << 32) | limb;
      limb = static_cast<std::uint32_t>(value / 62);
      remainder = value % 62;
    }
    text[i] = kBase62[static_cast<std::size_t>(remainder)];
  }
  return text;
}

bool HasGeneratedForm(std::string_view text, std::string_view prefix) {
  return text.size() == prefix.size() + kKeyBodyLength + kKeyChecksumLength &&
         text.starts_with(prefix) && std::ranges::all_of(text.substr(prefix.size()), IsBase62);
}

bool ChecksumHolds(std::string_view text) {
  const auto at = text.size() - kKeyChecksumLength;
  const auto want = ChecksumText(text.substr(0, at));
  return text.substr(at) == std::string_view(want.data(), want.size());
}

std::array<std::uint32_t, 8> StateAfter(std::span<const std::uint8_t, kBlockBytes> block) {
  SHA256_CTX context;
  SHA256_Init(&context);
  SHA256_Update(&context, block.data(), block.size());
  std::array<std::uint32_t, 8> state{};
  std::copy_n(context.h, state.size(), state.begin());
  return state;
}

// SHA-256 of one block already hashed to `state`, followed by `bytes`.
void FinishFrom(const std::array<std::uint32_t, 8>& state, const void* bytes, std::size_t size,
                std::uint8_t* digest) {
  SHA256_CTX context;
  SHA256_Init(&context);
  std::copy(state.begin(), state.end(), context.h);
  context.Nl = kBlockBytes * 8;  // bits so far
  SHA256_Update(&context, bytes, size);
  SHA256_Final(digest, &context);
}

}  // namespace

bool EqualsInConstantTime(const KeyDigest& a, const KeyDigest& b) {
  return CRYPTO_memcmp(a.bytes.data(), b.bytes.data(), a.bytes.size()) == 0;
}

Pepper::Pepper(std::string_view secret) {
  std::array<std::uint8_t, kBlockBytes> key{};
  if (secret.size() > key.size()) {  // RFC 2104: longer keys are hashed first
    SHA256(reinterpret_cast<const std::uint8_t*>(secret.data()), secret.size(), key.data());
  } else {
    std::copy(secret.begin(), secret.end(), key.begin());
  }
  std::array<std::uint8_t, kBlockBytes> pad{};
  std::ranges::transform(key, pad.begin(), [](std::uint8_t b) { return std::uint8_t(b ^ 0x36); });
  inner_ = StateAfter(pad);
  std::ranges::transform(key, pad.begin(), [](std::uint8_t b) { return std::uint8_t(b ^ 0x5C); });
  outer_ = StateAfter(pad);
  OPENSSL_cleanse(key.data(), key.size());
  OPENSSL_cleanse(pad.data(), pad.size());
}

KeyDigest Pepper::Digest(std::string_view text) const {
  KeyDigest inner;
  FinishFrom(inner_, text.data(), text.size(), inner.bytes.data());
  KeyDigest digest;
  FinishFrom(outer_, inner.bytes.data(), inner.bytes.size(), digest.bytes.data());
  return digest;
}

Secret GenerateKey(std::string_view prefix, std::span<const std::uint8_t, 32> random_bytes) {
  const auto body = BodyText(random_bytes);
  std::string text;
  text.reserve(prefix.size() + kKeyBodyLength + kKeyChecksumLength);
  text.append(prefix).append(body.data(), body.size());
  const auto checksum = ChecksumText(text);
  text.append(checksum.data(), checksum.size());
  return Secret(std::move(text));
}

bool LooksGenerated(std::string_view text, std::string_view prefix) {
  return HasGeneratedForm(text, prefix) && ChecksumHolds(text);
}

bool PlausibleKey(std::string_view text, std::string_view prefix) {
  if (text.empty() || text.size() > kKeyLengthMax) return false;
  return !HasGeneratedForm(text, prefix) || ChecksumHolds(text);
}

std::string DisplayKey(std::string_view text, std::string_view prefix) {
  constexpr std::size_t kShown = 4;
  constexpr std::size_t kHiddenMin = 12;
  std::string display;
  if (text.starts_with(prefix)) {
    display = prefix;
    text.remove_prefix(prefix.size());
  }
  display += "...";
  if (text.size() >= kShown + kHiddenMin) display += text.substr(text.size() - kShown);
  return display;
}

}  // namespace weir::identity
