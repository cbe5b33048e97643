/* Loaded before the C library: lets a write or a sync of one file fail, or be cut by a kill, from the moment a
 * test wants it. FAULT_TARGET is the file, FAULT_ORDER a file that holds what shall happen, once it exists:
 *
 *   write-eio   every write to the target fails with EIO
 *   sync-eio    every sync of it does
 *   torn        half of the next write is made, then the process gets SIGKILL
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int ordered(int fd, const char *what) {
  const char *target = getenv("FAULT_TARGET");
  const char *order = getenv("FAULT_ORDER");
  struct stat wanted, is;
  char text[32] = {0};
  if (!target || !order) return 0;
  const int file = open(order, O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  const ssize_t size = read(file, text, sizeof text - 1);
  close(file);
  return size > 0 && strncmp(text, what, strlen(what)) == 0 && stat(target, &wanted) == 0 && fstat(fd, &is) == 0 &&
         wanted.st_ino == is.st_ino && wanted.st_dev == is.st_dev;
}

typedef ssize_t (*write_at)(int, const void *, size_t, off64_t);
typedef int (*sync_of)(int);

static ssize_t faulty_write(write_at real, int fd, const void *bytes, size_t size, off64_t at) {
  if (ordered(fd, "write-eio")) {
    errno = EIO;
    return -1;
  }
  if (ordered(fd, "torn")) {
    real(fd, bytes, size / 2, at);
    kill(getpid(), SIGKILL);
    for (;;) pause();
  }
  return real(fd, bytes, size, at);
}

static int faulty_sync(sync_of real, int fd) {
  if (ordered(fd, "sync-eio")) {
    errno = EIO;
    return -1;
  }
  return real(fd);
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t at) {
  return faulty_write((write_at)dlsym(RTLD_NEXT, "pwrite64"), fd, bytes, size, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at) {
  return faulty_write((write_at)dlsym(RTLD_NEXT, "pwrite"), fd, bytes, size, at);
}

int fsync(int fd) { return faulty_sync((sync_of)dlsym(RTLD_NEXT, "fsync"), fd); }

int fdatasync(int fd) { return faulty_sync((sync_of)dlsym(RTLD_NEXT, "fdatasync"), fd); }
