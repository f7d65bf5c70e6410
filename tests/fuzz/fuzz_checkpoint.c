#include "fuzz_checkpoint.h"

#include <stdlib.h>
#include <string.h>

#include "format/checkpoint.h"

static fg_budget *budget;
static fg_io *io;

bool fuzz_checkpoint_setup(void) {
  fg_error err = {0};
  return !fg_budget_create(&budget, "host memory", "--host-memory", 0, &err) &&
         !fg_io_create(&io, &(fg_io_options){.budget = budget, .backend = FG_IO_THREADS}, &err);
}

void fuzz_checkpoint_teardown(void) {
  fg_io_destroy(io);
  fg_budget_destroy(budget);
}

// All of a tensor that is small, the first and last rows of others.
static void read_tensor(fg_checkpoint *c, const fg_checkpoint_tensor *t) {
  enum { BYTES = 1 << 16 };
  uint64_t row_bytes;
  fg_error err = {0};
  if (!fg_dtype_bytes(t->dtype, t->columns, &row_bytes) || row_bytes > BYTES || t->rows == 0) return;
  uint64_t rows = row_bytes ? BYTES / row_bytes : t->rows;
  if (rows > t->rows) rows = t->rows;
  unsigned char *data = malloc(rows * row_bytes + 1);
  if (!data) return;
  // A checkpoint whose offsets were checked can be read; the sum lets the sanitizers see every byte.
  if (fg_checkpoint_read_rows(c, t, 0, rows, data, &err) ||
      fg_checkpoint_read_rows(c, t, t->rows - rows, rows, data, &err)) {
    fuzz_broken("an accepted tensor cannot be read: %s", err.message);
  }
  free(data);
}

fuzz_outcome fuzz_checkpoint_run(const char *path, const char *const *past) {
  fg_checkpoint *c;
  fg_error err = {0};
  if (fg_checkpoint_open(&c, path, io, &err) == FG_OK) {
    for (size_t i = 0; i < c->count; i++) {
      if (fg_checkpoint_find(c, c->tensors[i].name) != &c->tensors[i])
        fuzz_broken("tensor %zu cannot be found", i);
      if (i < 16) read_tensor(c, &c->tensors[i]);
    }
    fg_checkpoint_destroy(c);
    return FUZZ_ACCEPTED;
  }
  if (err.message[0] == 0) fuzz_broken("refused without a reason");
  for (; *past; past++) {
    if (strstr(err.message, *past)) return FUZZ_PAST_HEADER;
  }
  return FUZZ_REFUSED;
}
