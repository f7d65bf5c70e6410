// The mutable globals of the program: a signal handler has nothing else to read and write.
#include "interrupt.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

static volatile sig_atomic_t caught, woken = -1;

static void on_signal(int number) {
  const int before = errno;
  const uint64_t one = 1;
  caught = number;
  if (woken >= 0 && write(woken, &one, sizeof one) < 0)
    caught = number; // a counter that is full wakes as well
  errno = before;
  signal(SIGINT, SIG_DFL); // the next one of either kind ends the process
  signal(SIGTERM, SIG_DFL);
}

void fg_interrupt_install(void) {
  struct sigaction action = {.sa_handler = on_signal};
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART; // no call is torn by the first one
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
}

const volatile sig_atomic_t *fg_interrupt_flag(void) {
  return &caught;
}

void fg_interrupt_wake(int fd) {
  woken = fd;
}

void fg_interrupt_raise(void) {
  int number = caught;
  if (!number) return;
  signal(number, SIG_DFL);
  raise(number);
}
