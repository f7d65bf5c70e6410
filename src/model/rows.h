// rows.h: rows of a weight, put together from the tensors that it is made of.
//
// The reader hands out dense rows in the type that the weight will have, whatever types and order the
// tensors have them in. It keeps three buffers of about a MiB, sized and charged once for a whole plan.
#ifndef FG_MODEL_ROWS_H
#define FG_MODEL_ROWS_H

#include "model/pack.h"

typedef struct fg_rows {
  fg_checkpoint *checkpoint;
  fg_budget *budget;
  void *raw;     // rows in the tensor's own type, on their way to another
  float *wide;   // the same as float32
  void *scratch; // rows in the order of the file: one head, or rows of a transposed matrix
  const fg_checkpoint_tensor *head_tensor; // whose head is in scratch
  uint64_t head;
} fg_rows;

fg_status fg_rows_create(fg_rows *out, const fg_pack_plan *plan, fg_checkpoint *checkpoint, fg_budget *budget,
                         fg_error *err);
void fg_rows_destroy(fg_rows *rows);

// Rows [first, first + count) of a matrix or table. // out: [count, k] of the item's type
fg_status fg_rows_read(fg_rows *rows, const fg_pack_item *item, uint32_t first, uint32_t count, void *out,
                       fg_error *err);
// A whole vector. // out: [n]
fg_status fg_rows_read_vector(fg_rows *rows, const fg_pack_item *item, float *out, fg_error *err);

#endif
