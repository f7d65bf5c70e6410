// fuzz_memory.h: what is allocated between begin and end, counted in the whole process, libraries too.
#ifndef TESTS_FUZZ_FUZZ_MEMORY_H
#define TESTS_FUZZ_FUZZ_MEMORY_H

#include <stddef.h>

typedef struct fuzz_memory {
  size_t largest; // one block
  size_t peak;    // all blocks allocated since the beginning and not yet freed
} fuzz_memory;

void fuzz_memory_begin(void);
fuzz_memory fuzz_memory_end(void);

#endif
