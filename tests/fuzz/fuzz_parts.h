// fuzz_parts.h: the part that targets of modules share: a safetensors file of a few tensors that belong
// together, with the configuration that goes with them as one more tensor, and changes that make them not fit
// each other.
#ifndef TESTS_FUZZ_FUZZ_PARTS_H
#define TESTS_FUZZ_FUZZ_PARTS_H

#include "format/checkpoint.h"
#include "fuzz_driver.h"

enum { FUZZ_PARTS = 7, FUZZ_CONFIG = 512 };

typedef struct fuzz_part {
  const char *name, *dtype;
  uint64_t rows, columns; // rows 0: a list
  const char *text;       // what it begins with; NULL: noise
  uint64_t text_bytes;
} fuzz_part;

typedef struct fuzz_parts {
  char config[FUZZ_CONFIG];
  fuzz_part parts[FUZZ_PARTS];
} fuzz_parts;

// One of the bases with up to three changes. `config` names the tensor that holds the configuration.
void fuzz_parts_make(fuzz_random *r, const fuzz_parts *bases, size_t count, const char *config,
                     fuzz_bytes *out);
// The configuration in "{...}" behind `begin`; false if the file has none that can be read.
bool fuzz_parts_config(fg_checkpoint *c, const char *name, const char *begin,
                       char out[static FUZZ_CONFIG + 64]);
// Reads every row of every tensor: a failure has a reason.
void fuzz_parts_read_all(fg_checkpoint *c);

#endif
