// faulty_write.h: replaces write(2) of the whole test program, so that a chosen write is cut short, refused,
// or ends the process in its middle.
#ifndef FG_TESTS_FAULTY_WRITE_H
#define FG_TESTS_FAULTY_WRITE_H

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef struct write_fault {
  uint64_t at;     // which of the writes to files from now on; 0 = none
  size_t bytes;    // that many of its bytes arrive
  int error;       // then the next write fails with this, and all after it
  bool kill;       // or the process dies
  uint64_t writes; // so far
  bool broken;
} write_fault;

static write_fault fault;

ssize_t write(int fd, const void *bytes, size_t count) {
  if (fd > 2 && fault.at) {
    if (fault.broken) {
      errno = fault.error;
      return -1;
    }
    if (++fault.writes == fault.at) {
      size_t some = fault.bytes < count ? fault.bytes : count;
      ssize_t wrote = some ? syscall(SYS_write, fd, bytes, some) : 0;
      if (fault.kill) kill(getpid(), SIGKILL);
      fault.broken = fault.error != 0;
      if (wrote > 0 || !fault.broken) return wrote;
      errno = fault.error;
      return -1;
    }
  }
  return syscall(SYS_write, fd, bytes, count);
}

#endif
