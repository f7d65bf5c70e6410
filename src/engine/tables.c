#include "engine/tables.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "format/store_file.h"

enum { READS = 128 }; // rows in flight: single blocks want a deep queue

struct fg_table {
  fg_store *store;
  fg_io *io;
  fg_budget *budget;
  const fg_weight *weight;
  const fg_dtype_info *type;
  uint64_t row_bytes, slot_bytes;
  char *rows;  // the whole table, or NULL
  char *slots; // READS buffers for single rows
};

static uint64_t row_bytes_of(const fg_weight *w) {
  uint64_t bytes = 0;
  (void)fg_dtype_bytes(w->dtype, w->k, &bytes);
  return bytes;
}

// A row may begin and end anywhere in a block.
static uint64_t slot_bytes_of(const fg_weight *w) {
  return fg_align_up(row_bytes_of(w), FG_IO_ALIGN) + FG_IO_ALIGN;
}

uint64_t fg_table_bytes(const fg_weight *w, bool resident) {
  return resident ? fg_align_up(row_bytes_of(w) * w->n, FG_IO_ALIGN) : READS * slot_bytes_of(w);
}

static fg_status load_whole(fg_table *t, fg_error *err) {
  const fg_panel *panel = &t->store->panels[t->weight->panel];
  fg_status status =
      fg_budget_alloc(t->budget, fg_table_bytes(t->weight, true), t->weight->name, (void **)&t->rows, err);
  if (status == FG_OK)
    status =
        fg_io_read_now(t->io, t->store->file, panel->offset, t->rows, fg_table_bytes(t->weight, true), err);
  if (status != FG_OK || fg_io_is_simulated(t->io)) return status;
  if (fg_store_table_hash(0, t->rows, panel->bytes) != panel->hash)
    return fg_fail(
        err, FG_CORRUPT,
        "%s: table %s does not match its checksum; remove the store (flexgen store clear) and run again "
        "to pack it anew",
        fg_file_path(t->store->file), t->weight->name);
  return FG_OK;
}

fg_status fg_table_create(fg_table **out, fg_store *store, uint32_t weight, bool resident, fg_io *io,
                          fg_budget *budget, fg_error *err) {
  *out = NULL;
  fg_table *t = calloc(1, sizeof *t);
  if (!t) return fg_fail(err, FG_NO_SPACE, "out of memory for a table");
  const fg_weight *w = &store->weights[weight];
  *t = (fg_table){.store = store, .io = io, .budget = budget, .weight = w, .type = fg_dtype_get(w->dtype)};
  t->row_bytes = row_bytes_of(w);
  t->slot_bytes = slot_bytes_of(w);
  fg_status status =
      resident ? load_whole(t, err)
               : fg_budget_alloc(budget, READS * t->slot_bytes, "rows of a table", (void **)&t->slots, err);
  if (status != FG_OK) {
    fg_table_destroy(t);
    return status;
  }
  *out = t;
  return FG_OK;
}

void fg_table_destroy(fg_table *t) {
  if (!t) return;
  fg_budget_free(t->budget, t->rows);
  fg_budget_free(t->budget, t->slots);
  free(t);
}

// ---- gathering -----------------------------------------------------------------------------------------

static void expand(const fg_table *t, const char *row, float scale, float *out) {
  t->type->to_f32(row, out, t->weight->k);
  if (scale != 1.0f)
    for (uint32_t i = 0; i < t->weight->k; i++) out[i] *= scale;
}

static void begin_row(fg_table *t, uint32_t slot, int32_t row, fg_io_read *read) {
  uint64_t at = t->store->panels[t->weight->panel].offset + (uint64_t)row * t->row_bytes;
  uint64_t from = at & ~(uint64_t)(FG_IO_ALIGN - 1);
  *read = (fg_io_read){.file = t->store->file,
                       .buffer = t->slots + slot * t->slot_bytes,
                       .offset = from,
                       .bytes = fg_align_up(at + t->row_bytes - from, FG_IO_ALIGN),
                       .layer = -1};
  fg_io_read_begin(t->io, read);
}

// Up to READS rows from disk, all in flight at once.
static fg_status gather_read(fg_table *t, const int32_t *rows, uint32_t count, float scale, float *out,
                             uint32_t stride, fg_error *err) {
  fg_io_read reads[READS];
  fg_status status = FG_OK;
  for (uint32_t i = 0; i < count; i++) begin_row(t, i, rows[i], &reads[i]);
  for (uint32_t i = 0; i < count; i++) {
    fg_status waited = fg_io_read_wait(t->io, &reads[i], status == FG_OK ? err : NULL);
    if (status == FG_OK) status = waited;
    if (status != FG_OK) continue; // the others must end before the buffers are used again
    if (fg_io_is_simulated(t->io)) continue;
    uint64_t at = t->store->panels[t->weight->panel].offset + (uint64_t)rows[i] * t->row_bytes;
    expand(t, (char *)reads[i].buffer + (at - reads[i].offset), scale, out + (size_t)i * stride);
  }
  return status;
}

fg_status fg_table_gather(fg_table *t, const int32_t *rows, uint32_t count, float scale, float *out,
                          uint32_t stride, fg_error *err) {
  for (uint32_t i = 0; i < count; i++)
    if (rows[i] < 0 || (uint32_t)rows[i] >= t->weight->n)
      return fg_fail(err, FG_INTERNAL, "row %" PRId32 " is outside table %s of %" PRIu32, rows[i],
                     t->weight->name, t->weight->n);
  if (t->rows && fg_io_is_simulated(t->io)) return FG_OK;
  if (t->rows) {
    for (uint32_t i = 0; i < count; i++)
      expand(t, t->rows + (uint64_t)rows[i] * t->row_bytes, scale, out + (size_t)i * stride);
    return FG_OK;
  }
  for (uint32_t i = 0; i < count; i += READS) {
    uint32_t n = count - i < READS ? count - i : READS;
    fg_status status = gather_read(t, rows + i, n, scale, out + (size_t)i * stride, stride, err);
    if (status != FG_OK) return status;
  }
  return FG_OK;
}
