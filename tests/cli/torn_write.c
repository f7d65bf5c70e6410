// Preloaded into the command by kill_resume: the TORN_WRITE_AT-th write to a file whose name ends with
// TORN_WRITE_NAME writes half of its bytes and the process then dies as by SIGKILL.
#include <dlfcn.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static int is_meant(int fd) {
  const char *suffix = getenv("TORN_WRITE_NAME");
  char link[64], name[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = suffix ? readlink(link, name, sizeof name) : -1;
  return length > 0 && (size_t)length >= strlen(suffix) &&
         memcmp(name + length - strlen(suffix), suffix, strlen(suffix)) == 0;
}

// Whether this write is the one to tear.
static int is_due(int fd) {
  static long writes;
  const char *at = getenv("TORN_WRITE_AT");
  return at && is_meant(fd) && ++writes == atol(at);
}

typedef ssize_t write_fn(int, const void *, size_t);

static ssize_t write_through(int fd, const void *data, size_t bytes) {
  write_fn *next;
  *(void **)&next = dlsym(RTLD_NEXT, "write");
  return next(fd, data, bytes);
}

ssize_t write(int fd, const void *data, size_t bytes) {
  if (is_due(fd)) {
    write_through(fd, data, bytes / 2);
    raise(SIGKILL);
  }
  return write_through(fd, data, bytes);
}

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset) {
  ssize_t (*next)(int, const void *, size_t, off_t);
  *(void **)&next = dlsym(RTLD_NEXT, "pwrite");
  if (is_due(fd)) {
    next(fd, data, bytes / 2, offset);
    raise(SIGKILL);
  }
  return next(fd, data, bytes, offset);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  ssize_t (*next)(int, const struct iovec *, int);
  *(void **)&next = dlsym(RTLD_NEXT, "writev");
  if (is_due(fd)) {
    write_through(fd, parts[0].iov_base, count > 1 ? parts[0].iov_len : parts[0].iov_len / 2);
    raise(SIGKILL);
  }
  return next(fd, parts, count);
}
