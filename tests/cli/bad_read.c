// Preloaded into the command by test_bad_reads.py: reads of a packed store (by pread, so with --io threads)
// go wrong. After BAD_READ_AFTER good ones each fails with EIO, or, with BAD_READ_SHORT set, gives a part of
// what was asked for.
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int is_store(int fd) {
  static const char suffix[] = ".fgstore";
  char link[64], name[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, name, sizeof name);
  return length >= (ssize_t)sizeof suffix &&
         memcmp(name + length - (sizeof suffix - 1), suffix, sizeof suffix - 1) == 0;
}

ssize_t pread(int fd, void *data, size_t bytes, off_t offset) {
  static atomic_long reads;
  ssize_t (*next)(int, void *, size_t, off_t);
  *(void **)&next = dlsym(RTLD_NEXT, "pread");
  const char *after = getenv("BAD_READ_AFTER");
  if (!after || !is_store(fd) || atomic_fetch_add(&reads, 1) < atol(after))
    return next(fd, data, bytes, offset);
  if (getenv("BAD_READ_SHORT")) return next(fd, data, bytes > 4096 ? 4096 : bytes, offset);
  errno = EIO;
  return -1;
}

ssize_t pread64(int fd, void *data, size_t bytes, off_t offset) {
  return pread(fd, data, bytes, offset);
}
