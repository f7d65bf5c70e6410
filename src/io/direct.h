// direct.h: how a system reads and writes past its page cache: O_DIRECT on Linux, F_NOCACHE on macOS.
#ifndef FG_IO_DIRECT_H
#define FG_IO_DIRECT_H

#include <stdbool.h>
#include <sys/types.h>

// open(path, flags), past the cache if the file system takes that (*direct), else through it; -1 with errno.
int fg_direct_open(const char *path, int flags, bool *direct);
// Goes on through the cache; false if that cannot be.
bool fg_direct_leave(int fd);
// Writes what the cache holds of a range and forgets it; 0, or the errno of a write that failed only now.
int fg_cache_leave(int fd, off_t offset, off_t bytes, bool written);

#endif
