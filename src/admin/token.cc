#include "admin/token.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <span>

#include "store/pepper.h"

namespace weir::admin {

namespace {

constexpr std::string_view kBase64Url =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::size_t kTokenLength = 5 + 43;

std::string Base64Url(std::span<const std::uint8_t> bytes) {
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t left = std::min<std::size_t>(bytes.size() - i, 3);
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j) group = group << 8 | (j < left ? bytes[i + j] : 0U);
    for (std::size_t j = 0; j <= left; ++j) out += kBase64Url[group >> (18 - 6 * j) & 63U];
  }
  return out;
}

std::string PathOf(const std::string& data_dir) { return data_dir + "/" + std::string(kTokenFile); }

bool LooksLikeToken(std::string_view text) {
  return text.size() == kTokenLength && text.starts_with(kTokenPrefix) &&
         text.find_first_not_of(kBase64Url, kTokenPrefix.size()) == std::string_view::npos;
}

std::unexpected<Error> CannotWrite(const std::string& path, int error) {
  return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment,
              "cannot write the admin token to " + path + ": " + std::strerror(error) +
                  "; make the directory writable or set another data_dir");
}

}  // namespace

Result<Secret> GenerateToken() {
  const auto bytes = store::SystemRandom32();
  if (!bytes) return std::unexpected(bytes.error());
  return MakeToken(*bytes);
}

Secret MakeToken(const std::array<std::uint8_t, 32>& bytes) {
  return Secret(std::string(kTokenPrefix) + Base64Url(bytes));
}

std::string DisplayToken(std::string_view token) {
  std::string text = std::string(kTokenPrefix) + "...";
  if (token.size() == kTokenLength) text += token.substr(token.size() - 4);
  return text;
}

std::array<std::uint8_t, 32> TokenDigest(std::string_view token) {
  std::array<std::uint8_t, SHA256_DIGEST_LENGTH> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), digest.data());
  return digest;
}

std::string HashToken(std::string_view token) {
  const std::array<std::uint8_t, 32> digest = TokenDigest(token);
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string out;
  for (const std::uint8_t byte : digest) {
    out += kHex[byte >> 4U];
    out += kHex[byte & 15U];
  }
  return out;
}

bool TokenHasHash(std::string_view token, std::string_view hash) {
  const std::string own = HashToken(token);
  return own.size() == hash.size() && CRYPTO_memcmp(own.data(), hash.data(), own.size()) == 0;
}

Result<Secret> LoadToken(const std::string& data_dir) {
  const std::string path = PathOf(data_dir);
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    const int error = errno;
    if (error == ENOENT || error == ENOTDIR) {
      return Fail(ErrorCode::kNotFound, ErrorSource::kEnvironment, "there is no " + path);
    }
    return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment,
                "cannot read " + path + ": " + std::strerror(error));
  }
  struct stat status{};
  std::array<char, 256> buffer{};
  const bool private_file = fstat(fd, &status) == 0 && (status.st_mode & 077U) == 0;
  const ssize_t size = read(fd, buffer.data(), buffer.size());
  close(fd);
  if (!private_file) {
    return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment,
                path + " can be read by others; run: chmod 600 " + path);
  }
  std::string_view text(buffer.data(), size < 0 ? 0 : static_cast<std::size_t>(size));
  while (text.ends_with('\n') || text.ends_with('\r')) text.remove_suffix(1);
  if (!LooksLikeToken(text)) {
    return Fail(
        ErrorCode::kUnavailable, ErrorSource::kEnvironment,
        path + " does not hold an admin token; remove it and the next start makes a new one");
  }
  return Secret(std::string(text));
}

Result<TokenFile> LoadOrCreateToken(const std::string& data_dir) {
  auto known = LoadToken(data_dir);
  if (known) return TokenFile{.token = std::move(*known), .created = false};
  if (known.error().code != ErrorCode::kNotFound) return std::unexpected(known.error());
  auto token = GenerateToken();
  if (!token) return std::unexpected(token.error());
  // Written beside and moved into place, so that a crash cannot leave half a token.
  const std::string path = PathOf(data_dir);
  const std::string part = path + ".new";
  const int fd = open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return CannotWrite(path, errno);
  const std::string text = std::string(token->Reveal()) + "\n";
  const bool written = fchmod(fd, 0600) == 0 &&
                       write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
                       fsync(fd) == 0;
  const int error = errno;
  close(fd);
  if (!written) {
    unlink(part.c_str());
    return CannotWrite(path, error);
  }
  if (rename(part.c_str(), path.c_str()) != 0) return CannotWrite(path, errno);
  return TokenFile{.token = std::move(*token), .created = true};
}

}  // namespace weir::admin
