// The one mutable global of the program: a signal handler has nothing else to write to.
#include "interrupt.h"

#include <stddef.h>

static volatile sig_atomic_t caught;

static void on_signal(int number) {
  caught = number;
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

void fg_interrupt_raise(void) {
  int number = caught;
  if (!number) return;
  signal(number, SIG_DFL);
  raise(number);
}
