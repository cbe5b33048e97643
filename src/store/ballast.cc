#include "store/ballast.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace weir::store {
namespace {

// Whether the file has all its blocks. A file of holes would give nothing back.
bool IsWhole(int fd, std::int64_t bytes) {
  struct stat found{};
  return ::fstat(fd, &found) == 0 && found.st_size >= bytes && found.st_blocks * 512 >= bytes;
}

}  // namespace

bool Ballast::Restore() {
  if (bytes_ <= 0) return false;
  const int fd = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return false;
  bool held = IsWhole(fd, bytes_);
  if (!held) {
    struct statvfs disk{};
    const bool space =
        ::fstatvfs(fd, &disk) == 0 &&
        static_cast<__int128>(disk.f_bavail) * disk.f_frsize >= static_cast<__int128>(2) * bytes_;
    held = space && ::posix_fallocate(fd, 0, bytes_) == 0;
  }
  ::close(fd);
  if (!held) ::unlink(path_.c_str());
  return held;
}

bool Ballast::Release() {
  struct stat found{};
  if (bytes_ <= 0 || ::stat(path_.c_str(), &found) != 0) return false;
  return ::unlink(path_.c_str()) == 0 && found.st_blocks > 0;
}

}  // namespace weir::store
