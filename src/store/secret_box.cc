#include "store/secret_box.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <memory>
#include <utility>

#include "base/check.h"
#include "store/key_file.h"
#include "store/pepper.h"

namespace weir::store {
namespace {

constexpr std::uint8_t kVersion = 1;  // frozen: in every box
constexpr std::size_t kNonceBytes = 12;
constexpr std::size_t kTagBytes = 16;
constexpr std::size_t kNonceAt = 1 + kMasterKeyIdBytes;
constexpr std::size_t kTextAt = kNonceAt + kNonceBytes;
// Far above a credential; keeps lengths within the library's int.
constexpr std::size_t kPlainBytesMax = 1 << 20;

constexpr std::string_view kIdText = "weir: the id of this master key";

constexpr KeyFileFixes kFixes = {
    .unusable = "make the directory usable for this user, or give the key in WEIR_MASTER_KEY",
    .others =
        "run chmod 600 on it, and if they did, replace it (weir accounts reseal) and the "
        "credentials sealed with it",
    .length = "put it back from a backup, because without it no stored credential can be opened"};

struct FreeContext {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};
using Context = std::unique_ptr<EVP_CIPHER_CTX, FreeContext>;

const unsigned char* Bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

// What the tag covers besides the text: the head of the box without its nonce, then `associated`.
bool AddAssociated(EVP_CIPHER_CTX* context, std::span<const std::uint8_t> head,
                   std::string_view associated) {
  int ignored = 0;
  return EVP_CipherUpdate(context, nullptr, &ignored, head.data(), static_cast<int>(kNonceAt)) ==
             1 &&
         EVP_CipherUpdate(context, nullptr, &ignored, Bytes(associated),
                          static_cast<int>(associated.size())) == 1;
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

int Base64Digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+' || c == '-') return 62;
  if (c == '/' || c == '_') return 63;
  return -1;
}

// The bytes, or empty when `text` is not of the form.
std::string Decode(std::string_view text, int bits, int (*digit)(char)) {
  std::string out;
  unsigned pending = 0;
  int held = 0;
  for (const char c : text) {
    const int value = digit(c);
    if (value < 0) return {};
    pending = (pending << bits) | static_cast<unsigned>(value);
    held += bits;
    if (held < 8) continue;
    held -= 8;
    out += static_cast<char>((pending >> held) & 0xFF);
    pending &= (1U << held) - 1;
  }
  if (pending != 0) return {};  // bits behind the last byte: cut off, or not base64 at all
  return out;
}

}  // namespace

SecretBox::SecretBox(const Secret& master_key) : key_(master_key) {
  CHECK(key_.Reveal().size() == kMasterKeyBytes, "whoever reads a master key checks its length");
  // A hash of 256 random bits tells nothing of them.
  std::string text(kIdText);
  text += key_.Reveal();
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(Bytes(text), text.size(), digest.data());
  OPENSSL_cleanse(text.data(), text.size());
  std::copy_n(digest.begin(), id_.size(), id_.begin());
}

Result<std::vector<std::uint8_t>> SecretBox::Seal(std::string_view plain,
                                                  std::string_view associated) const {
  const auto refused = [] {
    return Fail(ErrorCode::kUnavailable, ErrorSource::kUs, "OpenSSL refuses to seal a credential");
  };
  if (plain.size() > kPlainBytesMax || associated.size() > kPlainBytesMax) return refused();
  const auto random = SystemRandom32();
  if (!random) return std::unexpected(random.error());
  std::vector<std::uint8_t> box(kTextAt + plain.size() + kTagBytes);
  box[0] = kVersion;
  std::ranges::copy(id_, box.begin() + 1);
  std::copy_n(random->begin(), kNonceBytes, box.begin() + kNonceAt);
  const Context context(EVP_CIPHER_CTX_new());
  int size = 0;
  if (!context ||
      EVP_EncryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, Bytes(key_.Reveal()),
                         box.data() + kNonceAt) != 1 ||
      !AddAssociated(context.get(), box, associated) ||
      EVP_EncryptUpdate(context.get(), box.data() + kTextAt, &size, Bytes(plain),
                        static_cast<int>(plain.size())) != 1 ||
      EVP_EncryptFinal_ex(context.get(), box.data() + kTextAt + size, &size) != 1 ||
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_GET_TAG, kTagBytes,
                          box.data() + kTextAt + plain.size()) != 1) {
    return refused();
  }
  return box;
}

Result<Secret> SecretBox::Open(std::span<const std::uint8_t> box,
                               std::string_view associated) const {
  const auto damaged = [] {
    return Fail(ErrorCode::kBadInput, ErrorSource::kEnvironment,
                "is damaged, or was sealed for something else");
  };
  if (box.size() < kTextAt + kTagBytes || box.size() > kTextAt + kPlainBytesMax + kTagBytes ||
      associated.size() > kPlainBytesMax || box[0] != kVersion) {
    return damaged();
  }
  MasterKeyId sealed_with;
  std::copy_n(box.begin() + 1, sealed_with.size(), sealed_with.begin());
  if (sealed_with != id_) {
    return Fail(ErrorCode::kConflict, ErrorSource::kEnvironment,
                fmt::format("was sealed with master key {}, not with {}",
                            MasterKeyName(sealed_with), MasterKeyName(id_)));
  }
  const std::size_t text_bytes = box.size() - kTextAt - kTagBytes;
  std::array<std::uint8_t, kTagBytes> tag{};
  std::copy_n(box.end() - kTagBytes, kTagBytes, tag.begin());
  std::string plain(text_bytes + 1, '\0');  // never empty, so that the library gets a place
  const Context context(EVP_CIPHER_CTX_new());
  int size = 0;
  const bool opened =
      context &&
      EVP_DecryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, Bytes(key_.Reveal()),
                         box.data() + kNonceAt) == 1 &&
      AddAssociated(context.get(), box, associated) &&
      EVP_DecryptUpdate(context.get(), reinterpret_cast<unsigned char*>(plain.data()), &size,
                        box.data() + kTextAt, static_cast<int>(text_bytes)) == 1 &&
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_SET_TAG, kTagBytes, tag.data()) == 1 &&
      EVP_DecryptFinal_ex(context.get(), reinterpret_cast<unsigned char*>(plain.data()) + size,
                          &size) == 1;
  if (!opened) {
    OPENSSL_cleanse(plain.data(), plain.size());  // not checked by any tag: nobody may see it
    return damaged();
  }
  plain.resize(text_bytes);
  return Secret(std::move(plain));
}

std::string MasterKeyName(const MasterKeyId& id) {
  std::string text;
  for (const std::uint8_t byte : id) text += fmt::format("{:02x}", byte);
  return text;
}

Result<Secret> ParseMasterKey(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) {
    text.remove_suffix(1);
  }
  std::string bytes;
  if (text.size() == 2 * kMasterKeyBytes) {
    bytes = Decode(text, 4, HexDigit);
  } else {
    if (text.ends_with('=')) text.remove_suffix(1);  // 32 bytes have just one
    if (text.size() == 43) bytes = Decode(text, 6, Base64Digit);
  }
  if (bytes.size() != kMasterKeyBytes) {
    return Fail(ErrorCode::kBadInput, ErrorSource::kEnvironment,
                "the master key must be 32 bytes in base64 or hex; make one with: openssl rand "
                "-base64 32");
  }
  return Secret(std::move(bytes));
}

Result<Secret> ReadMasterKeyFile(const std::string& path) {
  std::string text(128, '\0');
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    return Fail(ErrorCode::kNotFound, ErrorSource::kCaller, path + ": cannot be read");
  }
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (text.size() == kMasterKeyBytes) return Secret(std::move(text));
  auto key = ParseMasterKey(text);
  OPENSSL_cleanse(text.data(), text.size());
  if (!key) {
    return Fail(ErrorCode::kBadInput, ErrorSource::kCaller,
                path + ": holds no master key: 32 bytes, or their base64 or hex");
  }
  return key;
}

Result<std::optional<Secret>> MasterKeySource::Load() const {
  if (!given_) return ReadKeyFile(data_dir_ + "/master.key", kFixes);
  auto key = ParseMasterKey(given_->Reveal());
  if (!key) return std::unexpected(key.error());
  return std::move(*key);
}

Result<Secret> MasterKeySource::LoadOrCreate() const {
  if (given_) return ParseMasterKey(given_->Reveal());
  return ReadOrCreateKeyFile(data_dir_, "master.key", kFixes);
}

}  // namespace weir::store
