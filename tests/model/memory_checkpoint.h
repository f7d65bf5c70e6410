// memory_checkpoint.h: a checkpoint whose tensors are arrays of the test.
#ifndef TESTS_MODEL_MEMORY_CHECKPOINT_H
#define TESTS_MODEL_MEMORY_CHECKPOINT_H

#include <string.h>

#include "format/checkpoint.h"

enum { MEMORY_TENSORS = 8 };

typedef struct memory_checkpoint {
  fg_checkpoint base;
  fg_checkpoint_tensor tensors[MEMORY_TENSORS];
  const void *data[MEMORY_TENSORS];
  uint64_t reads, rows_read;
} memory_checkpoint;

static inline fg_status memory_read_rows(fg_checkpoint *self, const fg_checkpoint_tensor *tensor,
                                         uint64_t row, uint64_t count, void *out, fg_error *err) {
  memory_checkpoint *m = (memory_checkpoint *)self;
  uint64_t bytes;
  if (row + count > tensor->rows || !fg_dtype_bytes(tensor->dtype, tensor->columns, &bytes)) {
    return fg_fail(err, FG_INTERNAL, "rows beyond the tensor");
  }
  memcpy(out, (const char *)m->data[tensor->file] + row * bytes, count * bytes);
  m->reads++;
  m->rows_read += count;
  return FG_OK;
}

static const fg_checkpoint_ops memory_ops = {.format = "memory", .read_rows = memory_read_rows};

// Names must be added in their order. rows 0: a vector of `columns`.
static inline const fg_checkpoint_tensor *memory_add(memory_checkpoint *m, const char *name, fg_dtype dtype,
                                                     uint64_t rows, uint64_t columns, const void *data) {
  fg_checkpoint_tensor *t = &m->tensors[m->base.count];
  *t = (fg_checkpoint_tensor){
      .name = name, .dtype = dtype, .dims = rows ? 2 : 1, .file = (uint32_t)m->base.count};
  t->rows = rows ? rows : 1;
  t->columns = columns;
  t->shape[0] = rows ? rows : columns;
  t->shape[1] = rows ? columns : 0;
  m->data[m->base.count] = data;
  m->base.ops = &memory_ops;
  m->base.tensors = m->tensors;
  m->base.count++;
  return t;
}

#endif
