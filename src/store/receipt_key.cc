#include "store/receipt_key.h"

#include <openssl/evp.h>

#include <memory>
#include <span>
#include <utility>

#include "base/check.h"
#include "store/key_file.h"

namespace weir::store {
namespace {

constexpr std::string_view kFile = "receipt.key";
constexpr KeyFileFixes kFixes{
    .unusable = "give the gateway's user the right to read and write the data directory",
    .others = "chmod 600 it",
    .length = "put the right file back, or remove it for a new key"};

struct KeyFree {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
struct ContextFree {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
using Key = std::unique_ptr<EVP_PKEY, KeyFree>;
using Context = std::unique_ptr<EVP_MD_CTX, ContextFree>;

const std::uint8_t* Bytes(std::string_view text) {
  return reinterpret_cast<const std::uint8_t*>(text.data());
}

std::string Hex(std::span<const std::uint8_t> bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 0xF];
  }
  return text;
}

// Either case, exactly as many bytes as `out` has.
bool Unhex(std::string_view text, std::span<std::uint8_t> out) {
  if (text.size() != 2 * out.size()) return false;
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  for (std::size_t i = 0; i < out.size(); ++i) {
    const int high = digit(text[2 * i]);
    const int low = digit(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    out[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  return true;
}

}  // namespace

Result<ReceiptKey> ReceiptKey::LoadOrCreate(const std::string& data_dir) {
  auto seed = ReadOrCreateKeyFile(data_dir, kFile, kFixes);
  if (!seed) return std::unexpected(seed.error());
  return ReceiptKey(*std::move(seed));
}

ReceiptKey::ReceiptKey(Secret seed) : seed_(std::move(seed)) {
  const std::string_view bytes = seed_.Reveal();
  CHECK(bytes.size() == kReceiptKeyBytes, "a seed of Ed25519 has 32 bytes");
  const Key key(
      EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, Bytes(bytes), bytes.size()));
  std::array<std::uint8_t, kReceiptKeyBytes> half{};
  std::size_t size = half.size();
  CHECK(key != nullptr && EVP_PKEY_get_raw_public_key(key.get(), half.data(), &size) == 1 &&
            size == half.size(),
        "any 32 bytes are a seed of Ed25519");
  public_key_ = Hex(half);
}

std::string ReceiptKey::Sign(std::string_view text) const {
  const std::string_view bytes = seed_.Reveal();
  const Key key(
      EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, Bytes(bytes), bytes.size()));
  const Context context(EVP_MD_CTX_new());
  std::array<std::uint8_t, kReceiptSignatureBytes> signature{};
  std::size_t size = signature.size();
  CHECK(key != nullptr && context != nullptr &&
            EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key.get()) == 1 &&
            EVP_DigestSign(context.get(), signature.data(), &size, Bytes(text), text.size()) == 1 &&
            size == signature.size(),
        "Ed25519 signs any text");
  return Hex(signature);
}

std::optional<std::string> ParseReceiptPublicKey(std::string_view text) {
  std::array<std::uint8_t, kReceiptKeyBytes> half{};
  if (!Unhex(text, half)) return std::nullopt;
  return Hex(half);
}

bool VerifyReceiptSignature(std::string_view text, std::string_view signature,
                            std::string_view public_key) {
  std::array<std::uint8_t, kReceiptKeyBytes> half{};
  std::array<std::uint8_t, kReceiptSignatureBytes> bytes{};
  if (!Unhex(public_key, half) || !Unhex(signature, bytes)) return false;
  const Key key(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, half.data(), half.size()));
  const Context context(EVP_MD_CTX_new());
  return key != nullptr && context != nullptr &&
         EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key.get()) == 1 &&
         EVP_DigestVerify(context.get(), bytes.data(), bytes.size(), Bytes(text), text.size()) == 1;
}

}  // namespace weir::store
