// rows.h: rows of a weight, put together from the tensors that it is made of.
//
// It takes two moves, so that the disk and the threads work at the same time. A fetch brings a run of a
// weight's rows into a buffer as the checkpoint has them; several fetches are on their way at once. When one
// is there, any thread may take any rows out of it, in our order and in the type that the weight will have.
//
// Threads: one owner begins and waits; takes may run side by side.
#ifndef FG_MODEL_ROWS_H
#define FG_MODEL_ROWS_H

#include "model/pack.h"

typedef struct fg_rows {
  fg_checkpoint *checkpoint;
  fg_io *io;           // of the checkpoint; NULL: read_rows alone is used
  fg_threads *threads; // may be NULL
} fg_rows;

// Rows of a tensor that follow each other and are read at once.
typedef struct fg_rows_run {
  uint64_t first, lines;
  char *data; // [lines, columns] in the part's type; transposed ones: [count, k]
  bool reading;
  fg_io_read read;
} fg_rows_run;

// What one tensor gives to a fetch.
typedef struct fg_rows_part {
  const fg_checkpoint_tensor *tensor; // NULL: an optional vector that is absent
  const fg_source *source;
  uint32_t row, count; // of the weight's rows
  uint32_t begin;      // the first of them among the source's rows
  uint32_t from, to;   // rows of the source that are read: whole heads where these are turned
  fg_dtype dtype;      // the tensor's, or f32 where blocks had to be opened to be turned
  fg_rows_run *runs;   // in the fetch's buffer: more than one where rows between slices are left out
  uint32_t run_count;
} fg_rows_part;

typedef struct fg_rows_fetch {
  const fg_pack_item *item;
  uint32_t row, count;
  char *buffer; // given by the owner, aligned to FG_IO_ALIGN
  uint64_t buffer_bytes;
  fg_rows_part parts[FG_MAX_SOURCES];
  uint32_t part_count;
} fg_rows_fetch;

// Bytes of the buffer for a fetch of rows [row, row + count).
uint64_t fg_rows_fetch_bytes(const fg_pack_item *item, uint32_t row, uint32_t count);
// Bytes of a row as the checkpoint has it, of the source that has most.
uint64_t fg_rows_source_bytes(const fg_pack_item *item);
// float32 values that a take of this item needs as scratch.
uint64_t fg_rows_wide_values(const fg_pack_item *item);

// item, row, count, buffer and buffer_bytes of the fetch are set. After FG_OK it must be waited for.
fg_status fg_rows_begin(const fg_rows *rows, fg_rows_fetch *fetch, fg_error *err);
fg_status fg_rows_wait(const fg_rows *rows, fg_rows_fetch *fetch, fg_error *err);

// Rows [row, row + count), which the fetch holds, as they are in its buffer; NULL if they have to be taken.
const void *fg_rows_borrow(const fg_rows_fetch *fetch, uint32_t row, uint32_t count);
// The same, turned and converted. // wide: scratch; out: [count, k] of the item's type
void fg_rows_take(const fg_rows_fetch *fetch, uint32_t row, uint32_t count, float *wide, void *out);
// A whole vector. // out: [n]
void fg_rows_take_vector(const fg_rows_fetch *fetch, float *wide, float *out);

#endif
