#include "store/pepper.h"

#include <fmt/format.h>
#include <sys/random.h>

#include <cerrno>
#include <cstring>

#include "store/key_file.h"

namespace weir::store {
namespace {

constexpr KeyFileFixes kFixes = {
    .unusable = "make the directory writable for this user, or give the pepper in the environment",
    .others = "run chmod 600 on it, and rotate the keys if they did",
    .length = "put it back from a backup, because without it no key works"};

}  // namespace

Result<std::array<std::uint8_t, 32>> SystemRandom32() {
  std::array<std::uint8_t, 32> bytes{};
  // Up to 256 bytes come whole or not at all (getrandom(2)); only a signal before the generator is
  // seeded interrupts.
  for (;;) {
    const ssize_t got = getrandom(bytes.data(), bytes.size(), 0);
    if (got == static_cast<ssize_t>(bytes.size())) return bytes;
    if (got < 0 && errno != EINTR) {
      return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment,
                  fmt::format("the system gives no random bytes: {}", std::strerror(errno)));
    }
  }
}

Result<Secret> LoadOrCreatePepper(const std::string& data_dir, const std::optional<Secret>& given) {
  if (given) {
    if (given->Reveal().size() < kKeyFileBytes) {
      return Fail(ErrorCode::kBadInput, ErrorSource::kEnvironment,
                  "the pepper given is shorter than 32 characters; make one with: openssl rand "
                  "-base64 32");
    }
    return *given;
  }
  return ReadOrCreateKeyFile(data_dir, "pepper", kFixes);
}

}  // namespace weir::store
