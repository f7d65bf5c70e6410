#include "model/pack.h"

#include <string.h>

#include "base/checked.h"
#include "base/hash.h"
#include "model/rows.h"

typedef struct packer {
  const fg_model_options *options;
  fg_store_writer *writer;
  fg_rows rows;
  char *dense;  // rows of one panel, or of a piece of a table, in the weight's type
  char *packed; // the panel
  uint64_t dense_bytes;
  uint64_t done, total;
  uint64_t content;
  fg_error *err;
} packer;

static uint64_t row_bytes(const fg_weight *w) {
  uint64_t bytes = 0;
  fg_dtype_bytes(w->dtype, w->k, &bytes);
  return bytes;
}

static fg_status advance(packer *p, uint64_t bytes) {
  p->done += bytes;
  if (!p->options->progress || p->options->progress(p->options->user, p->done, p->total)) return FG_OK;
  return fg_fail(p->err, FG_CANCELLED, "packing was interrupted; nothing of it is left");
}

// The hash goes on row by row, so that it does not depend on panels.
static void hash_rows(packer *p, const fg_weight *w, const char *data, uint64_t count) {
  const uint64_t bytes = row_bytes(w);
  for (uint64_t r = 0; r < count; r++) p->content = fg_hash_more(p->content, data + r * bytes, bytes);
}

static fg_status write_vector(packer *p, const fg_pack_item *item) {
  const uint64_t bytes = (uint64_t)item->weight.n * sizeof(float);
  fg_status status = fg_rows_read_vector(&p->rows, item, (float *)(void *)p->dense, p->err);
  if (status) return status;
  p->content = fg_hash_more(p->content, p->dense, bytes);
  status = fg_store_writer_panel(p->writer, 0, item->weight.n, p->dense, bytes, p->err);
  return status ? status : advance(p, fg_align_up(bytes, FG_IO_ALIGN));
}

static fg_status write_matrix(packer *p, const fg_pack_item *item) {
  const fg_weight *w = &item->weight;
  for (uint32_t row = 0; row < w->n; row += item->panel_rows) {
    uint32_t count = w->n - row < item->panel_rows ? w->n - row : item->panel_rows;
    uint64_t bytes = item->layout->bytes(w->dtype, count, w->k);
    fg_status status = fg_rows_read(&p->rows, item, row, count, p->dense, p->err);
    if (status) return status;
    hash_rows(p, w, p->dense, count);
    item->layout->pack(w->dtype, p->dense, count, w->k, p->packed);
    status = fg_store_writer_panel(p->writer, row, count, p->packed, bytes, p->err);
    if (!status) status = advance(p, fg_align_up(bytes, FG_IO_ALIGN));
    if (status) return status;
  }
  return FG_OK;
}

// Pieces are whole blocks: what is left of a block waits for the next rows.
static fg_status write_table(packer *p, const fg_pack_item *item) {
  const fg_weight *w = &item->weight;
  const uint64_t bytes = row_bytes(w), step = (p->dense_bytes - FG_IO_ALIGN) / bytes;
  uint64_t waiting = 0;
  for (uint64_t row = 0; row < w->n; row += step) {
    uint32_t count = (uint32_t)(w->n - row < step ? w->n - row : step);
    fg_status status = fg_rows_read(&p->rows, item, (uint32_t)row, count, p->dense + waiting, p->err);
    if (status) return status;
    hash_rows(p, w, p->dense + waiting, count);
    uint64_t have = waiting + count * bytes;
    bool last = row + count == w->n;
    uint64_t piece = last ? have : have & ~(uint64_t)(FG_IO_ALIGN - 1);
    // The end of the last block is written as zeros; until the last piece there is none.
    status = piece ? fg_store_writer_table_piece(p->writer, p->dense, piece, p->err) : FG_OK;
    if (!status) status = advance(p, fg_align_up(piece, FG_IO_ALIGN));
    if (status) return status;
    waiting = have - piece;
    memmove(p->dense, p->dense + piece, waiting);
  }
  return FG_OK;
}

static fg_status (*const writers[])(packer *p, const fg_pack_item *item) = {
    [FG_WEIGHT_VECTOR] = write_vector,
    [FG_WEIGHT_MATRIX] = write_matrix,
    [FG_WEIGHT_TABLE] = write_table,
};

static fg_status write_weight(packer *p, const fg_pack_item *item) {
  const fg_weight *w = &item->weight;
  const char *type = fg_dtype_get(w->dtype)->name;
  p->content = fg_hash_more(p->content, w->name, strlen(w->name));
  p->content = fg_hash_more(p->content, type, strlen(type));
  fg_status status = fg_store_writer_weight(p->writer, w, p->err);
  return status ? status : writers[w->kind](p, item);
}

static uint64_t largest(uint64_t a, uint64_t b) {
  return a > b ? a : b;
}

static fg_status allocate(packer *p, const fg_pack_plan *plan, fg_checkpoint *checkpoint) {
  uint64_t dense = 1 << 20, packed = FG_IO_ALIGN;
  for (uint32_t i = 0; i < plan->count; i++) {
    const fg_pack_item *item = &plan->items[i];
    const fg_weight *w = &item->weight;
    uint64_t rows = w->kind == FG_WEIGHT_TABLE ? 1 : item->panel_rows;
    dense = largest(dense, fg_align_up(rows * row_bytes(w), FG_IO_ALIGN) + FG_IO_ALIGN);
    if (item->layout) {
      packed =
          largest(packed, fg_align_up(item->layout->bytes(w->dtype, item->panel_rows, w->k), FG_IO_ALIGN));
    }
  }
  fg_budget *host = p->options->host;
  void *block = NULL;
  fg_status status = fg_budget_alloc(host, dense, "packing: rows of a panel", &block, p->err);
  p->dense = block;
  p->dense_bytes = dense;
  block = NULL;
  if (!status) status = fg_budget_alloc(host, packed, "packing: a panel", &block, p->err);
  p->packed = block;
  return status ? status : fg_rows_create(&p->rows, plan, checkpoint, host, p->err);
}

fg_status fg_pack_write(const fg_pack_plan *plan, const fg_pack_source *source,
                        const fg_model_options *options, fg_store_writer *writer, uint64_t *content,
                        fg_error *err) {
  packer p = {.options = options, .writer = writer, .total = plan->bytes, .err = err};
  p.rows.budget = options->host;
  fg_status status = allocate(&p, plan, source->checkpoint);
  for (uint32_t i = 0; !status && i < plan->count; i++) status = write_weight(&p, &plan->items[i]);
  *content = p.content;
  fg_rows_destroy(&p.rows);
  fg_budget_free(options->host, p.dense);
  fg_budget_free(options->host, p.packed);
  return status;
}
