// system.h: what Linux and macOS have under different names, so that nobody above asks which of the two it
// is.
#ifndef FG_BASE_SYSTEM_H
#define FG_BASE_SYSTEM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

// The name of a shared library's file: "libz.so.1" is "libz.1.dylib" on macOS.
#if defined(__APPLE__)
#define FG_SHARED_LIBRARY(name, version) name "." version ".dylib"
#define FG_OPEN_FILE_PATH                "/dev/fd/%d" // of a descriptor, a path
#else
#define FG_SHARED_LIBRARY(name, version) name ".so." version
#define FG_OPEN_FILE_PATH                "/proc/self/fd/%d"
#endif

// Brings what was written to the disk; 0, or -1 with errno.
int fg_sync_data(int fd);
// Tells the page cache that a range is not needed any more; bytes 0: all from `offset` on. macOS has no such
// call.
void fg_forget_cached(int fd, off_t offset, off_t bytes);
// Reserves blocks for the first `bytes` of a file, which becomes at least as long; 0, or -1 with errno:
// EOPNOTSUPP where the file system cannot.
int fg_reserve_blocks(int fd, off_t bytes);

// When a file was last changed.
#if defined(__APPLE__)
#define FG_CHANGED(st) ((st).st_mtimespec)
#else
#define FG_CHANGED(st) ((st).st_mtim)
#endif

// At most 256 bytes nobody can guess; false if the system gave none.
bool fg_random_bytes(void *out, size_t count);

// qsort whose comparison sees `user` too.
typedef int fg_compare_fn(const void *a, const void *b, void *user);
void fg_sort(void *items, size_t count, size_t item_bytes, fg_compare_fn *compare, void *user);

// A descriptor that poll finds readable once 8 bytes were written to the other, from a signal handler too;
// neither blocks. They may be one. 0, or -1 with errno.
int fg_wake_open(int *wait_fd, int *wake_fd);
void fg_wake_close(int wait_fd, int wake_fd);
// A socket of one of <sys/socket.h>'s families that does not block and is closed by exec; -1 with errno.
int fg_stream_socket(int family);

// realloc of an array; NULL too where its size cannot be said.
void *fg_grow(void *items, size_t count, size_t item_bytes);

// The file of the program that runs, as it was started by the system; false: not known, or no room.
bool fg_program_path(char *out, size_t size);

#endif
