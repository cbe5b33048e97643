#include "store/pepper.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>

namespace weir::store {
namespace {

constexpr std::size_t kPepperBytes = 32;

// A file descriptor that is closed at the end of its scope.
class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

std::unexpected<Error> Unwritable(const std::string& path, int error) {
  return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment,
              fmt::format("{}: {}; make the directory writable for this user, or give the pepper "
                          "in the environment",
                          path, std::strerror(error)));
}

std::unexpected<Error> Unfit(const std::string& path, std::string_view why) {
  return Fail(ErrorCode::kBadInput, ErrorSource::kEnvironment, fmt::format("{}: {}", path, why));
}

Result<Secret> ReadPepper(const std::string& path, int fd) {
  struct stat status{};
  if (fstat(fd, &status) != 0) return Unwritable(path, errno);
  if (!S_ISREG(status.st_mode)) return Unfit(path, "is not a file; remove it");
  if ((status.st_mode & 077) != 0) {
    return Unfit(path, "others may read it; run chmod 600 on it, and rotate the keys if they did");
  }
  std::string bytes(kPepperBytes + 1, '\0');
  std::size_t size = 0;
  while (size < bytes.size()) {
    const ssize_t got = read(fd, bytes.data() + size, bytes.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Unwritable(path, errno);
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  if (size != kPepperBytes) {
    return Unfit(path,
                 "is not 32 bytes long; put it back from a backup, because without it no key "
                 "works");
  }
  bytes.resize(kPepperBytes);
  return Secret(std::move(bytes));
}

Result<void> WriteWhole(const std::string& path, int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t put = write(fd, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return Unwritable(path, errno);
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
  if (fsync(fd) != 0) return Unwritable(path, errno);
  return {};
}

// Written beside and then linked to its name, which fails if the name is taken: a crash leaves no
// half pepper, and of two first starts at once one wins and both use its bytes.
Result<void> CreatePepper(const std::string& data_dir, const std::string& path) {
  const auto random = SystemRandom32();
  const auto name = SystemRandom32();
  if (!random) return std::unexpected(random.error());
  if (!name) return std::unexpected(name.error());
  // A name nobody else picks: two first starts may be two processes or two threads.
  const std::string part = fmt::format("{}.{:02x}{:02x}{:02x}{:02x}", path, (*name)[0], (*name)[1],
                                       (*name)[2], (*name)[3]);
  {
    const File file(open(part.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (file.get() < 0) return Unwritable(path, errno);
    const std::string_view bytes(reinterpret_cast<const char*>(random->data()), random->size());
    if (auto written = WriteWhole(part, file.get(), bytes); !written) {
      unlink(part.c_str());
      return written;
    }
  }
  const int linked = link(part.c_str(), path.c_str());
  const int error = errno;
  unlink(part.c_str());
  if (linked != 0 && error != EEXIST) return Unwritable(path, error);
  const File directory(open(data_dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() < 0 || fsync(directory.get()) != 0) return Unwritable(data_dir, errno);
  return {};
}

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
    if (given->Reveal().size() < kPepperBytes) {
      return Fail(ErrorCode::kBadInput, ErrorSource::kEnvironment,
                  "the pepper given is shorter than 32 characters; make one with: openssl rand "
                  "-base64 32");
    }
    return *given;
  }
  const std::string path = data_dir + "/pepper";
  for (int attempt = 0; attempt < 2; ++attempt) {
    const File file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (file.get() >= 0) return ReadPepper(path, file.get());
    if (errno != ENOENT) return Unwritable(path, errno);
    if (auto created = CreatePepper(data_dir, path); !created) {
      return std::unexpected(created.error());
    }
  }
  return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment,
              fmt::format("{}: vanished while it was made", path));
}

}  // namespace weir::store
