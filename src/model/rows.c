#include "model/rows.h"

#include <string.h>

#include "base/checked.h"
#include "tensor/groups.h"

enum { PIECE_BYTES = 1 << 20 }; // of a conversion: large enough for the disk, small enough for the cache

static uint64_t largest(uint64_t a, uint64_t b) {
  return a > b ? a : b;
}

static uint64_t row_bytes(fg_dtype dtype, uint64_t columns) {
  uint64_t bytes = 0;
  fg_dtype_bytes(dtype, columns, &bytes); // the plan has checked that rows are whole blocks
  return bytes;
}

// Rows of one piece of a conversion: both its forms stay below PIECE_BYTES, unless one row is larger.
static uint64_t piece_rows(fg_dtype dtype, uint64_t columns) {
  uint64_t rows = PIECE_BYTES / largest(row_bytes(dtype, columns), columns * sizeof(float));
  return rows ? rows : 1;
}

typedef struct sizes {
  uint64_t raw, wide, scratch;
} sizes;

static void measure(sizes *s, const fg_pack_item *item, uint32_t index) {
  const fg_checkpoint_tensor *t = item->tensors[index];
  const fg_source *source = &item->slot->sources[index];
  if (!t) return;
  if (item->slot->kind == FG_WEIGHT_VECTOR) {
    s->raw = largest(s->raw, t->rows * row_bytes(t->dtype, t->columns));
    s->wide = largest(s->wide, source->rows * sizeof(float));
    return;
  }
  if (t->dtype != item->weight.dtype) {
    uint64_t rows = piece_rows(t->dtype, item->weight.k);
    s->raw = largest(s->raw, rows * row_bytes(t->dtype, item->weight.k));
    s->wide = largest(s->wide, rows * item->weight.k * sizeof(float));
  }
  if (source->transform == FG_TRANSFORM_UNPERMUTE_ROPE) {
    s->scratch = largest(s->scratch, source->head_dim * row_bytes(t->dtype, t->columns));
  } else if (source->transform == FG_TRANSFORM_TRANSPOSE) {
    s->scratch = largest(s->scratch, largest(PIECE_BYTES, row_bytes(t->dtype, t->columns)));
  }
}

fg_status fg_rows_create(fg_rows *out, const fg_pack_plan *plan, fg_checkpoint *checkpoint, fg_budget *budget,
                         fg_error *err) {
  *out = (fg_rows){.checkpoint = checkpoint, .budget = budget};
  sizes s = {0};
  for (uint32_t i = 0; i < plan->count; i++) {
    for (uint32_t j = 0; j < plan->items[i].slot->source_count; j++) measure(&s, &plan->items[i], j);
  }
  void *wide = NULL;
  fg_status status = fg_budget_alloc(budget, s.raw, "packing: rows of the checkpoint", &out->raw, err);
  if (!status) status = fg_budget_alloc(budget, s.wide, "packing: rows in float32", &wide, err);
  if (!status) status = fg_budget_alloc(budget, s.scratch, "packing: rows out of order", &out->scratch, err);
  out->wide = wide;
  if (status) fg_rows_destroy(out);
  return status;
}

void fg_rows_destroy(fg_rows *rows) {
  fg_budget_free(rows->budget, rows->raw);
  fg_budget_free(rows->budget, rows->wide);
  fg_budget_free(rows->budget, rows->scratch);
  *rows = (fg_rows){0};
}

// Row r of a head in our order is this row in a GGUF: halves (i, i + d/2) were interleaved to (2i, 2i + 1).
static uint32_t interleaved_row(uint32_t r, uint32_t head_dim) {
  uint32_t half = head_dim / 2;
  return 2 * (r % half) + r / half;
}

// One source, in the tensor's own type. // out: [count, columns]
static fg_status fetch_unpermuted(fg_rows *rows, const fg_checkpoint_tensor *t, uint32_t head_dim,
                                  uint64_t first, uint64_t count, char *out, fg_error *err) {
  const uint64_t bytes = row_bytes(t->dtype, t->columns);
  for (uint64_t r = first; r < first + count; r++) {
    uint64_t head = r / head_dim;
    if (rows->head_tensor != t || rows->head != head) {
      rows->head_tensor = NULL;
      fg_status status =
          fg_checkpoint_read_rows(rows->checkpoint, t, head * head_dim, head_dim, rows->scratch, err);
      if (status) return status;
      rows->head_tensor = t;
      rows->head = head;
    }
    uint32_t from = interleaved_row((uint32_t)(r % head_dim), head_dim);
    memcpy(out + (r - first) * bytes, (char *)rows->scratch + from * bytes, bytes);
  }
  return FG_OK;
}

// The tensor is [k, n]: our rows are its columns. // out: [count, k]
static fg_status fetch_transposed(fg_rows *rows, const fg_checkpoint_tensor *t, uint64_t first,
                                  uint64_t count, char *out, fg_error *err) {
  const uint64_t bytes = fg_dtype_get(t->dtype)->bytes, line = row_bytes(t->dtype, t->columns);
  const uint64_t step = line < PIECE_BYTES ? PIECE_BYTES / line : 1;
  rows->head_tensor = NULL;
  for (uint64_t k = 0; k < t->rows; k += step) {
    uint64_t lines = t->rows - k < step ? t->rows - k : step;
    fg_status status = fg_checkpoint_read_rows(rows->checkpoint, t, k, lines, rows->scratch, err);
    if (status) return status;
    for (uint64_t r = 0; r < count; r++) {
      const char *from = (char *)rows->scratch + (first + r) * bytes;
      char *to = out + (r * t->rows + k) * bytes;
      for (uint64_t i = 0; i < lines; i++) memcpy(to + i * bytes, from + i * line, bytes);
    }
  }
  return FG_OK;
}

static fg_status fetch(fg_rows *rows, const fg_source *source, const fg_checkpoint_tensor *t, uint64_t first,
                       uint64_t count, void *out, fg_error *err) {
  switch (source->transform) {
  case FG_TRANSFORM_UNPERMUTE_ROPE:
    return fetch_unpermuted(rows, t, source->head_dim, first, count, out, err);
  case FG_TRANSFORM_TRANSPOSE: return fetch_transposed(rows, t, first, count, out, err);
  case FG_TRANSFORM_NONE: break;
  }
  return fg_checkpoint_read_rows(rows->checkpoint, t, first, count, out, err);
}

// wide: [count, k]; out: the same in the item's type
static void encode(const fg_pack_item *item, const float *wide, uint64_t count, void *out) {
  const fg_dtype_info *type = fg_dtype_get(item->weight.dtype);
  const uint32_t k = item->weight.k;
  if (item->per_row) {
    fg_groups_from_f32((fg_group_form){type->bits, type->block, type->minimum}, k, wide, out, count * k);
  } else {
    type->from_f32(wide, out, count * k);
  }
}

// Rows of one source in the item's type.
static fg_status read_source(fg_rows *rows, const fg_pack_item *item, uint32_t index, uint64_t first,
                             uint64_t count, char *out, fg_error *err) {
  const fg_weight *w = &item->weight;
  const fg_source *source = &item->slot->sources[index];
  const fg_checkpoint_tensor *t = item->tensors[index];
  if (t->dtype == w->dtype) return fetch(rows, source, t, first, count, out, err);
  const uint64_t step = piece_rows(t->dtype, w->k), bytes = row_bytes(w->dtype, w->k);
  for (uint64_t done = 0; done < count; done += step) {
    uint64_t part = count - done < step ? count - done : step;
    fg_status status = fetch(rows, source, t, first + done, part, rows->raw, err);
    if (status) return status;
    fg_dtype_get(t->dtype)->to_f32(rows->raw, rows->wide, part * w->k);
    encode(item, rows->wide, part, out + done * bytes);
  }
  return FG_OK;
}

fg_status fg_rows_read(fg_rows *rows, const fg_pack_item *item, uint32_t first, uint32_t count, void *out,
                       fg_error *err) {
  const uint64_t bytes = row_bytes(item->weight.dtype, item->weight.k), end = (uint64_t)first + count;
  uint64_t begin = 0; // of the source among the weight's rows
  for (uint32_t i = 0; i < item->slot->source_count; i++) {
    uint64_t next = begin + item->slot->sources[i].rows;
    uint64_t from = largest(first, begin), to = next < end ? next : end;
    if (from < to) {
      char *place = (char *)out + (from - first) * bytes;
      fg_status status = read_source(rows, item, i, from - begin, to - from, place, err);
      if (status) return status;
    }
    begin = next;
  }
  return FG_OK;
}

fg_status fg_rows_read_vector(fg_rows *rows, const fg_pack_item *item, float *out, fg_error *err) {
  for (uint32_t i = 0; i < item->slot->source_count; i++) {
    const fg_source *source = &item->slot->sources[i];
    const fg_checkpoint_tensor *t = item->tensors[i];
    if (!t) {
      for (uint32_t j = 0; j < source->rows; j++) out[j] = source->missing;
    } else {
      fg_status status = fg_checkpoint_read_rows(rows->checkpoint, t, 0, t->rows, rows->raw, err);
      if (status) return status;
      fg_dtype_get(t->dtype)->to_f32(rows->raw, rows->wide, source->rows);
      for (uint32_t j = 0; j < source->rows; j++) {
        uint32_t d = source->head_dim;
        bool turned = source->transform == FG_TRANSFORM_UNPERMUTE_ROPE;
        out[j] = rows->wide[turned ? j / d * d + interleaved_row(j % d, d) : j];
      }
    }
    out += source->rows;
  }
  return FG_OK;
}
