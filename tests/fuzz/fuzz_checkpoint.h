// fuzz_checkpoint.h: the part that the targets of weights share: open the file, read all rows of what
// was accepted, and tell from the message how far the reader got.
#ifndef TESTS_FUZZ_FUZZ_CHECKPOINT_H
#define TESTS_FUZZ_FUZZ_CHECKPOINT_H

#include "fuzz_driver.h"

bool fuzz_checkpoint_setup(void);
void fuzz_checkpoint_teardown(void);
// `past` are parts of messages (NULL at the end) that only a reader past the header gives.
fuzz_outcome fuzz_checkpoint_run(const char *path, const char *const *past);

#endif
