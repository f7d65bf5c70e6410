// Preloaded into the command by test_kv_tiers.py: writes of the KV cache's file (by pwrite, so with --io
// threads) fail. After BAD_WRITE_AFTER good ones each fails with the errno BAD_WRITE_ERRNO.
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int is_cache(int fd) {
  char link[64], name[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, name, sizeof name - 1);
  if (length < 0) return 0;
  name[length] = 0;
  return strstr(name, "/kv-") && strstr(name, "(deleted)");
}

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset) {
  static atomic_long writes;
  ssize_t (*next)(int, const void *, size_t, off_t);
  *(void **)&next = dlsym(RTLD_NEXT, "pwrite");
  const char *after = getenv("BAD_WRITE_AFTER"), *error = getenv("BAD_WRITE_ERRNO");
  if (!after || !error || !is_cache(fd) || atomic_fetch_add(&writes, 1) < atol(after))
    return next(fd, data, bytes, offset);
  errno = atoi(error);
  return -1;
}

ssize_t pwrite64(int fd, const void *data, size_t bytes, off_t offset) {
  return pwrite(fd, data, bytes, offset);
}
