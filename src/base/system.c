#include "base/system.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"

#if defined(__APPLE__)

#include <errno.h>
#include <mach-o/dyld.h>
#include <stdint.h>
#include <sys/random.h>

// fsync leaves the data in the disk's own cache. A file system may know nothing stronger.
int fg_sync_data(int fd) {
  return fcntl(fd, F_FULLFSYNC) == 0 ? 0 : fsync(fd);
}

void fg_forget_cached(int fd, off_t offset, off_t bytes) {
  (void)fd, (void)offset, (void)bytes;
}

int fg_reserve_blocks(int fd, off_t bytes) {
  off_t there = lseek(fd, 0, SEEK_END);
  if (there < 0) return -1;
  if (there >= bytes) return 0;
  fstore_t wanted = {.fst_flags = F_ALLOCATEALL, .fst_posmode = F_PEOFPOSMODE, .fst_length = bytes - there};
  if (fcntl(fd, F_PREALLOCATE, &wanted) != 0) {
    if (errno == ENOTSUP || errno == EINVAL) errno = EOPNOTSUPP;
    return -1;
  }
  return ftruncate(fd, bytes);
}

bool fg_random_bytes(void *out, size_t count) {
  return getentropy(out, count) == 0;
}

typedef struct ordering {
  fg_compare_fn *compare;
  void *user;
} ordering;

static int compare_by(void *arg, const void *a, const void *b) {
  const ordering *o = arg;
  return o->compare(a, b, o->user);
}

void fg_sort(void *items, size_t count, size_t item_bytes, fg_compare_fn *compare, void *user) {
  qsort_r(items, count, item_bytes, &(ordering){compare, user}, compare_by);
}

static bool be_quiet(int fd) { // neither blocks nor is inherited
  return fd >= 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

int fg_wake_open(int *wait_fd, int *wake_fd) {
  int ends[2];
  if (pipe(ends) != 0) return -1;
  *wait_fd = ends[0], *wake_fd = ends[1];
  if (be_quiet(ends[0]) && be_quiet(ends[1])) return 0;
  fg_wake_close(ends[0], ends[1]);
  return -1;
}

int fg_stream_socket(int family) {
  int fd = socket(family, SOCK_STREAM, 0);
  if (fd < 0 || be_quiet(fd)) return fd;
  close(fd);
  return -1;
}

bool fg_program_path(char *out, size_t size) {
  uint32_t room = size > UINT32_MAX ? UINT32_MAX : (uint32_t)size;
  return _NSGetExecutablePath(out, &room) == 0;
}

#else

#include <sys/eventfd.h>
#include <sys/random.h>

int fg_sync_data(int fd) {
  return fdatasync(fd);
}

void fg_forget_cached(int fd, off_t offset, off_t bytes) {
  (void)posix_fadvise(fd, offset, bytes, POSIX_FADV_DONTNEED);
}

int fg_reserve_blocks(int fd, off_t bytes) {
  return fallocate(fd, 0, 0, bytes);
}

bool fg_random_bytes(void *out, size_t count) {
  return getrandom(out, count, 0) == (ssize_t)count;
}

void fg_sort(void *items, size_t count, size_t item_bytes, fg_compare_fn *compare, void *user) {
  qsort_r(items, count, item_bytes, compare, user);
}

int fg_wake_open(int *wait_fd, int *wake_fd) {
  *wait_fd = *wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return *wait_fd < 0 ? -1 : 0;
}

int fg_stream_socket(int family) {
  return socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

bool fg_program_path(char *out, size_t size) {
  ssize_t length = readlink("/proc/self/exe", out, size);
  if (length <= 0 || (size_t)length >= size) return false; // as long as the room: perhaps cut
  out[length] = 0;
  return true;
}

#endif

void fg_wake_close(int wait_fd, int wake_fd) {
  if (wait_fd >= 0) close(wait_fd);
  if (wake_fd >= 0 && wake_fd != wait_fd) close(wake_fd);
}

void *fg_grow(void *items, size_t count, size_t item_bytes) {
  uint64_t bytes;
  if (!fg_mul_u64(count, item_bytes, &bytes) || bytes > PTRDIFF_MAX) return NULL;
  return realloc(items, bytes ? bytes : 1);
}
