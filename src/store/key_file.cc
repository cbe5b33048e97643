#include "store/key_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "store/pepper.h"

namespace weir::store {
namespace {

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

std::unexpected<Error> Unusable(const std::string& path, int error, const KeyFileFixes& fixes) {
  return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment,
              fmt::format("{}: {}; {}", path, std::strerror(error), fixes.unusable));
}

std::unexpected<Error> Unfit(const std::string& path, std::string_view why) {
  return Fail(ErrorCode::kBadInput, ErrorSource::kEnvironment, fmt::format("{}: {}", path, why));
}

Result<Secret> ReadWhole(const std::string& path, int fd, const KeyFileFixes& fixes) {
  struct stat status{};
  if (fstat(fd, &status) != 0) return Unusable(path, errno, fixes);
  if (!S_ISREG(status.st_mode)) return Unfit(path, "is not a file; remove it");
  if ((status.st_mode & 077) != 0) {
    return Unfit(path, fmt::format("others may read it; {}", fixes.others));
  }
  std::string bytes(kKeyFileBytes + 1, '\0');
  std::size_t size = 0;
  while (size < bytes.size()) {
    const ssize_t got = read(fd, bytes.data() + size, bytes.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Unusable(path, errno, fixes);
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  if (size != kKeyFileBytes) {
    return Unfit(path, fmt::format("is not 32 bytes long; {}", fixes.length));
  }
  bytes.resize(kKeyFileBytes);
  return Secret(std::move(bytes));
}

Result<void> WriteWhole(const std::string& path, int fd, std::string_view bytes,
                        const KeyFileFixes& fixes) {
  while (!bytes.empty()) {
    const ssize_t put = write(fd, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return Unusable(path, errno, fixes);
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
  if (fsync(fd) != 0) return Unusable(path, errno, fixes);
  return {};
}

// Written beside and then linked to its name, which fails if the name is taken: a crash leaves no
// half file, and of two first starts at once one wins and both use its bytes.
Result<void> Create(const std::string& data_dir, const std::string& path,
                    const KeyFileFixes& fixes) {
  const auto random = SystemRandom32();
  const auto name = SystemRandom32();
  if (!random) return std::unexpected(random.error());
  if (!name) return std::unexpected(name.error());
  // A name nobody else picks: two first starts may be two processes or two threads.
  const std::string part = fmt::format("{}.{:02x}{:02x}{:02x}{:02x}", path, (*name)[0], (*name)[1],
                                       (*name)[2], (*name)[3]);
  {
    const File file(open(part.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (file.get() < 0) return Unusable(path, errno, fixes);
    const std::string_view bytes(reinterpret_cast<const char*>(random->data()), random->size());
    if (auto written = WriteWhole(part, file.get(), bytes, fixes); !written) {
      unlink(part.c_str());
      return written;
    }
  }
  const int linked = link(part.c_str(), path.c_str());
  const int error = errno;
  unlink(part.c_str());
  if (linked != 0 && error != EEXIST) return Unusable(path, error, fixes);
  const File directory(open(data_dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() < 0 || fsync(directory.get()) != 0) return Unusable(data_dir, errno, fixes);
  return {};
}

}  // namespace

Result<std::optional<Secret>> ReadKeyFile(const std::string& path, const KeyFileFixes& fixes) {
  const File file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (file.get() < 0) {
    if (errno == ENOENT) return std::nullopt;
    return Unusable(path, errno, fixes);
  }
  auto bytes = ReadWhole(path, file.get(), fixes);
  if (!bytes) return std::unexpected(bytes.error());
  return std::move(*bytes);
}

Result<Secret> ReadOrCreateKeyFile(const std::string& data_dir, std::string_view name,
                                   const KeyFileFixes& fixes) {
  const std::string path = fmt::format("{}/{}", data_dir, name);
  for (int attempt = 0; attempt < 2; ++attempt) {
    auto found = ReadKeyFile(path, fixes);
    if (!found) return std::unexpected(found.error());
    if (*found) return std::move(**found);
    if (auto created = Create(data_dir, path, fixes); !created) {
      return std::unexpected(created.error());
    }
  }
  return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment,
              fmt::format("{}: vanished while it was made", path));
}

}  // namespace weir::store
