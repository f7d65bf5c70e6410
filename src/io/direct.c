#include "io/direct.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>

#include "base/system.h"

static int open_retrying(const char *path, int flags) {
  int fd;
  do {
    fd = open(path, flags | O_CLOEXEC, 0666);
  } while (fd < 0 && errno == EINTR);
  return fd;
}

#if defined(__APPLE__)

// A hint for this descriptor, which every file system takes: what it does not do, it caches.
int fg_direct_open(const char *path, int flags, bool *direct) {
  int fd = open_retrying(path, flags);
  *direct = fd >= 0 && fcntl(fd, F_NOCACHE, 1) == 0;
  return fd;
}

bool fg_direct_leave(int fd) {
  return fcntl(fd, F_NOCACHE, 0) == 0;
}

int fg_cache_leave(int fd, off_t offset, off_t bytes, bool written) {
  (void)written;
  fg_forget_cached(fd, offset, bytes);
  return 0;
}

#else

int fg_direct_open(const char *path, int flags, bool *direct) {
  *direct = true;
  int fd = open_retrying(path, flags | O_DIRECT);
  if (fd >= 0 || errno != EINVAL) return fd;
  *direct = false;
  return open_retrying(path, flags);
}

bool fg_direct_leave(int fd) {
  int flags = fcntl(fd, F_GETFL);
  return flags >= 0 && fcntl(fd, F_SETFL, flags & ~O_DIRECT) == 0;
}

int fg_cache_leave(int fd, off_t offset, off_t bytes, bool written) {
  // Dirty pages do not go, so they are written first.
  unsigned flags = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  int error = written && sync_file_range(fd, offset, bytes, flags) != 0 ? errno : 0;
  fg_forget_cached(fd, offset, bytes);
  return error == EINVAL || error == ESPIPE || error == ENOSYS ? 0 : error; // not a thing of this file system
}

#endif
