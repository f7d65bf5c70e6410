// interrupt.h: Ctrl-C and SIGTERM for commands that run a model.
//
// The first signal asks: the flag becomes its number, the current step ends, what is finished is written, and
// main raises the signal again, so that a shell sees 130 or 143. The second one ends the process at once.
#ifndef FG_APPS_INTERRUPT_H
#define FG_APPS_INTERRUPT_H

#include <signal.h>

void fg_interrupt_install(void);
// The number of the signal that came, 0 = none. The address may be kept.
const volatile sig_atomic_t *fg_interrupt_flag(void);
// Somebody who sleeps is to be woken by a signal: 8 bytes are written to this descriptor; -1: nobody.
void fg_interrupt_wake(int fd);
// Ends the process by the signal's default action.
void fg_interrupt_raise(void);

#endif
