#include "model/rows.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "tensor/groups.h"

static uint64_t largest(uint64_t a, uint64_t b) {
  return a > b ? a : b;
}

static uint64_t row_bytes(fg_dtype dtype, uint64_t columns) {
  uint64_t bytes = 0;
  fg_dtype_bytes(dtype, columns, &bytes); // the plan has checked that rows are whole blocks
  return bytes;
}

static bool is_turned(const fg_pack_item *item, const fg_source *source) {
  return fg_source_is_turned(item->slot, source);
}

// Of a source's rows when they are fetched. Blocks run along the tensor's rows: to be turned they are opened.
static fg_dtype fetched_type(const fg_pack_item *item, uint32_t source) {
  const fg_dtype dtype = item->tensors[source]->dtype;
  return is_turned(item, &item->slot->sources[source]) && fg_dtype_get(dtype)->block > 1 ? FG_F32 : dtype;
}

// In the tensor, whichever expert's part of it.
static uint64_t tensor_row(const fg_source *source, uint64_t row) {
  return source->base + fg_source_row(source, row);
}

// ---- what is fetched -----------------------------------------------------------------------------------

// Slices further apart than this are read one by one: a request costs about what the disk reads meanwhile.
enum { LEAST_GAP = 32 << 10 };

// The tensor's rows that rows [row, row + count) of the weight come from, as a part.
static fg_rows_part part_of(const fg_pack_item *item, uint32_t index, uint64_t begin, uint64_t row,
                            uint64_t count) {
  const fg_source *source = &item->slot->sources[index];
  const fg_row_slice *slice = &source->slice;
  const fg_checkpoint_tensor *t = item->tensors[index];
  fg_rows_part p = {.tensor = t, .source = source, .row = (uint32_t)row, .count = (uint32_t)count};
  if (!t) return p;
  p.run_count = 1;
  p.dtype = fetched_type(item, index);
  if (item->slot->kind == FG_WEIGHT_VECTOR) return p;
  p.begin = p.from = (uint32_t)(row - begin);
  p.to = p.from + p.count;
  if (source->transform == FG_TRANSFORM_UNPERMUTE_ROPE) { // whole heads
    p.from -= p.from % source->head_dim;
    p.to = (uint32_t)fg_align_up(p.to, source->head_dim);
    if (p.to > source->rows) p.to = source->rows;
  } else if (source->transform == FG_TRANSFORM_NONE && slice->block &&
             (slice->period - slice->block) * row_bytes(t->dtype, t->columns) >= LEAST_GAP) {
    p.run_count = (p.to - 1) / slice->block - p.from / slice->block + 1;
  }
  return p;
}

// Where one of its runs stands.
static fg_rows_run run_of(const fg_pack_item *item, const fg_rows_part *p, uint32_t index) {
  const fg_source *source = p->source;
  uint64_t from = p->from, to = p->to;
  if (item->slot->kind == FG_WEIGHT_VECTOR) {
    const uint64_t rows = p->tensor->rows;
    return (fg_rows_run){.first = source->base,
                         .lines = source->experts    ? 1
                                  : item->head_count ? item->head_count * rows
                                                     : rows};
  }
  if (p->run_count > 1) {
    const uint64_t begin = (from / source->slice.block + index) * source->slice.block;
    from = largest(from, begin);
    if (to > begin + source->slice.block) to = begin + source->slice.block;
  }
  const uint64_t first = tensor_row(source, from);
  return (fg_rows_run){.first = first, .lines = tensor_row(source, to - 1) + 1 - first};
}

static uint32_t find_parts(const fg_pack_item *item, uint32_t row, uint32_t count,
                           fg_rows_part parts[FG_MAX_SOURCES]) {
  uint64_t begin = 0, end = (uint64_t)row + count; // begin: of the source among the weight's rows
  uint32_t found = 0;
  for (uint32_t i = 0; i < item->slot->source_count; i++) {
    uint64_t next = begin + item->slot->sources[i].rows;
    uint64_t from = largest(row, begin), to = next < end ? next : end;
    if (from < to) parts[found++] = part_of(item, i, begin, from, to - from);
    begin = next;
  }
  return found;
}

static uint64_t run_bytes(const fg_pack_item *item, const fg_rows_part *p, const fg_rows_run *run) {
  if (is_turned(item, p->source)) return p->count * row_bytes(p->dtype, item->weight.k);
  return run->lines * row_bytes(p->tensor->dtype, p->tensor->columns);
}

// What a direct read of these bytes may take, wherever they begin.
static uint64_t room_for(uint64_t bytes) {
  return fg_align_up(bytes, FG_IO_ALIGN) + FG_IO_ALIGN;
}

// Of the table of runs, which stands before what they read.
static uint64_t table_bytes(const fg_rows_part *parts, uint32_t count) {
  uint64_t runs = 0;
  for (uint32_t i = 0; i < count; i++) runs += parts[i].run_count;
  return fg_align_up(runs * sizeof(fg_rows_run), FG_IO_ALIGN);
}

uint64_t fg_rows_fetch_bytes(const fg_pack_item *item, uint32_t row, uint32_t count) {
  fg_rows_part parts[FG_MAX_SOURCES];
  uint32_t n = find_parts(item, row, count, parts);
  uint64_t sum = table_bytes(parts, n);
  for (uint32_t i = 0; i < n; i++) {
    for (uint32_t r = 0; r < parts[i].run_count; r++) {
      const fg_rows_run run = run_of(item, &parts[i], r);
      sum += room_for(run_bytes(item, &parts[i], &run));
    }
  }
  return sum;
}

uint64_t fg_rows_source_bytes(const fg_pack_item *item) {
  uint64_t most = 1;
  for (uint32_t i = 0; i < item->slot->source_count; i++)
    if (item->tensors[i]) most = largest(most, row_bytes(fetched_type(item, i), item->weight.k));
  return most;
}

uint64_t fg_rows_wide_values(const fg_pack_item *item) {
  uint64_t most = item->slot->kind == FG_WEIGHT_VECTOR ? item->weight.n : item->weight.k;
  for (uint32_t i = 0; item->slot->kind == FG_WEIGHT_VECTOR && i < item->slot->source_count; i++)
    most = largest(most, fg_source_tensor_rows(&item->slot->sources[i]));
  return most;
}

// ---- fetching ------------------------------------------------------------------------------------------

enum { STRIP_BYTES = 1 << 20 }; // of a matrix that is turned

// Lines of a tensor on their way to be turned, and the same opened where they are blocks.
typedef struct strip {
  uint64_t step, line; // lines at a time, bytes of one
  char *raw, *lines;   // [step]
} strip;

static fg_status create_strip(strip *s, const fg_rows_part *p, fg_error *err) {
  const fg_checkpoint_tensor *t = p->tensor;
  const uint64_t raw = row_bytes(t->dtype, t->columns);
  s->line = row_bytes(p->dtype, t->columns);
  s->step = s->line < STRIP_BYTES ? STRIP_BYTES / s->line : 1;
  s->raw = malloc(s->step * raw);
  s->lines = t->dtype == p->dtype ? s->raw : malloc(s->step * s->line);
  if (s->raw && s->lines) return FG_OK;
  return fg_fail(err, FG_NO_SPACE, "tensor %s: no memory to turn it", t->name);
}

static void free_strip(strip *s) {
  if (s->lines != s->raw) free(s->lines);
  free(s->raw);
}

// Lines [row, row + count) of the tensor into the strip.
static fg_status read_strip(const fg_rows *rows, const strip *s, const fg_rows_part *p, uint64_t row,
                            uint64_t count, fg_error *err) {
  const fg_checkpoint_tensor *t = p->tensor;
  fg_status status = fg_checkpoint_read_rows(rows->checkpoint, t, row, count, s->raw, err);
  const uint64_t raw = row_bytes(t->dtype, t->columns);
  for (uint64_t i = 0; i < count && !status && s->lines != s->raw; i++)
    fg_dtype_get(t->dtype)->to_f32(s->raw + i * raw, (float *)(void *)(s->lines + i * s->line), t->columns);
  return status;
}

// Our rows [r, end) of the part are columns of one matrix [height, ?], which begins at line `base`.
// out: [count, height]
static fg_status turn_run(const fg_rows *rows, const strip *s, const fg_rows_part *p, uint64_t r,
                          uint64_t end, uint64_t height, char *out, fg_error *err) {
  const uint64_t bytes = fg_dtype_get(p->dtype)->bytes, base = fg_source_turned_base(p->source, p->begin + r);
  fg_status status = FG_OK;
  for (uint64_t k = 0; k < height && !status; k += s->step) {
    const uint64_t lines = height - k < s->step ? height - k : s->step;
    status = read_strip(rows, s, p, base + k, lines, err);
    for (uint64_t row = r; row < end && !status; row++) {
      const char *from = s->lines + fg_source_row(p->source, p->begin + row) * bytes;
      char *to = out + (row * height + k) * bytes;
      for (uint64_t i = 0; i < lines; i++) memcpy(to + i * bytes, from + i * s->line, bytes);
    }
  }
  return status;
}

// The tensor, or the expert's or the head's part of it, is [k, n]: our rows are its columns.
// out: [count, height]
static fg_status read_turned(const fg_rows *rows, const fg_rows_part *p, uint64_t height, char *out,
                             fg_error *err) {
  strip s = {0};
  fg_status status = create_strip(&s, p, err);
  for (uint64_t r = 0, end; r < p->count && !status; r = end) {
    const uint64_t base = fg_source_turned_base(p->source, p->begin + r);
    for (end = r + 1; end < p->count && fg_source_turned_base(p->source, p->begin + end) == base;) end++;
    status = turn_run(rows, &s, p, r, end, height, out, err);
  }
  free_strip(&s);
  return status;
}

// The tensors of all heads, one behind the other.
static fg_status read_heads(const fg_rows *rows, const fg_pack_item *item, char *out, fg_error *err) {
  fg_status status = FG_OK;
  for (uint32_t i = 0; i < item->head_count && !status; i++) {
    const fg_checkpoint_tensor *t = item->heads[i];
    status = fg_checkpoint_read_rows(rows->checkpoint, t, 0, t->rows, out, err);
    out += t->rows * row_bytes(t->dtype, t->columns);
  }
  return status;
}

// Values that are made up on the spot are made by all threads.
typedef struct making {
  const fg_rows *rows;
  const fg_checkpoint_tensor *tensor;
  const fg_rows_run *run;
  uint64_t step;
  atomic_int failed;
} making;

static void make_lines(void *arg, uint32_t item, uint32_t thread) {
  (void)thread;
  making *m = arg;
  const fg_checkpoint_tensor *t = m->tensor;
  uint64_t first = item * m->step, left = m->run->lines - first;
  char *out = m->run->data + first * row_bytes(t->dtype, t->columns);
  fg_status status = fg_checkpoint_read_rows(m->rows->checkpoint, t, m->run->first + first,
                                             left < m->step ? left : m->step, out, NULL);
  if (status) atomic_store(&m->failed, (int)status);
}

static fg_status make_run(const fg_rows *rows, const fg_checkpoint_tensor *t, const fg_rows_run *run,
                          fg_error *err) {
  const uint64_t pieces = 4ull * fg_threads_count(rows->threads);
  making m = {.rows = rows, .tensor = t, .run = run, .step = run->lines / pieces + 1};
  fg_threads_run(rows->threads, (uint32_t)((run->lines + m.step - 1) / m.step), make_lines, &m);
  int failed = atomic_load(&m.failed);
  return failed ? fg_fail(err, (fg_status)failed, "tensor %s: cannot be made", t->name) : FG_OK;
}

// Begins to read a run where it stands, or brings it at once if it has to be put together.
static fg_status begin_run(const fg_rows *rows, const fg_rows_fetch *fetch, const fg_rows_part *p,
                           fg_rows_run *run, fg_error *err) {
  fg_checkpoint *c = rows->checkpoint;
  fg_checkpoint_place place;
  char *to = run->data;
  if (is_turned(fetch->item, p->source)) return read_turned(rows, p, fetch->item->weight.k, to, err);
  if (fetch->item->head_count) return read_heads(rows, fetch->item, to, err);
  if (!rows->io || !c->ops->place || !c->ops->place(c, p->tensor, run->first, run->lines, &place)) {
    if (c->ops->concurrent && rows->threads) return make_run(rows, p->tensor, run, err);
    return fg_checkpoint_read_rows(c, p->tensor, run->first, run->lines, to, err);
  }
  uint64_t skip = place.offset % FG_IO_ALIGN;
  run->data = to + skip;
  run->reading = true;
  run->read = (fg_io_read){.file = place.file,
                           .buffer = to,
                           .offset = place.offset - skip,
                           .bytes = fg_align_up(skip + place.bytes, FG_IO_ALIGN),
                           .layer = -1};
  fg_io_read_begin(rows->io, &run->read);
  return FG_OK;
}

// *used: of the fetch's buffer.
static fg_status begin_part(const fg_rows *rows, const fg_rows_fetch *fetch, fg_rows_part *p, uint64_t *used,
                            fg_error *err) {
  fg_status status = FG_OK;
  for (uint32_t i = 0; i < p->run_count && !status; i++) {
    fg_rows_run *run = &p->runs[i];
    *run = run_of(fetch->item, p, i);
    const uint64_t room = room_for(run_bytes(fetch->item, p, run));
    if (room > fetch->buffer_bytes - *used)
      return fg_fail(err, FG_INTERNAL, "%s: no room for its rows", fetch->item->weight.name);
    run->data = fetch->buffer + *used;
    *used += room;
    status = begin_run(rows, fetch, p, run, err);
  }
  return status;
}

fg_status fg_rows_begin(const fg_rows *rows, fg_rows_fetch *fetch, fg_error *err) {
  fetch->part_count = find_parts(fetch->item, fetch->row, fetch->count, fetch->parts);
  uint64_t used = table_bytes(fetch->parts, fetch->part_count);
  if (used > fetch->buffer_bytes) {
    fetch->part_count = 0;
    return fg_fail(err, FG_INTERNAL, "%s: no room for its rows", fetch->item->weight.name);
  }
  memset(fetch->buffer, 0, used);
  fg_rows_run *runs = (fg_rows_run *)(void *)fetch->buffer;
  for (uint32_t i = 0; i < fetch->part_count; i++) {
    fetch->parts[i].runs = runs;
    runs += fetch->parts[i].run_count;
  }
  fg_status status = FG_OK;
  for (uint32_t i = 0; i < fetch->part_count && !status; i++)
    status = begin_part(rows, fetch, &fetch->parts[i], &used, err);
  if (status) fg_rows_wait(rows, fetch, NULL);
  return status;
}

static fg_status wait_for_part(const fg_rows *rows, const fg_rows_part *p, fg_error *err) {
  fg_status status = FG_OK;
  for (uint32_t i = 0; i < p->run_count; i++) {
    fg_rows_run *run = &p->runs[i];
    if (!run->reading) continue;
    run->reading = false;
    fg_status one = fg_io_read_wait(rows->io, &run->read, status ? NULL : err);
    if (one && !status) status = fg_fail_prefix(err, "tensor \"%s\"", p->tensor->name);
  }
  return status;
}

fg_status fg_rows_wait(const fg_rows *rows, fg_rows_fetch *fetch, fg_error *err) {
  fg_status status = FG_OK;
  for (uint32_t i = 0; i < fetch->part_count; i++) {
    fg_status one = wait_for_part(rows, &fetch->parts[i], status ? NULL : err);
    if (!status) status = one;
  }
  return status;
}

// ---- taking --------------------------------------------------------------------------------------------

static const fg_rows_part *part_with(const fg_rows_fetch *fetch, uint32_t row) {
  const fg_rows_part *p = fetch->parts;
  while (row - p->row >= p->count) p++;
  return p;
}

// Place of the weight's row in what was read.
static const char *raw_row(const fg_rows_fetch *fetch, const fg_rows_part *p, uint32_t row) {
  const uint64_t bytes = row_bytes(p->dtype, fetch->item->weight.k);
  const uint32_t line = row - p->row;
  if (is_turned(fetch->item, p->source)) return p->runs->data + line * bytes;
  const uint64_t at = p->begin + line, block = p->source->slice.block;
  const fg_rows_run *run = p->run_count > 1 ? &p->runs[at / block - p->from / block] : p->runs;
  return run->data + (tensor_row(p->source, at) - run->first) * bytes;
}

// Rows [row, row + count) of the weight are that many consecutive rows of the tensor.
static bool is_in_order(const fg_rows_part *p, uint32_t row, uint32_t count) {
  const fg_source *s = p->source;
  uint64_t begin = p->begin + (row - p->row);
  return s->transform != FG_TRANSFORM_UNPERMUTE_ROPE &&
         fg_source_row(s, begin + count - 1) - fg_source_row(s, begin) == count - 1;
}

const void *fg_rows_borrow(const fg_rows_fetch *fetch, uint32_t row, uint32_t count) {
  const fg_rows_part *p = part_with(fetch, row);
  bool as_it_is = p->dtype == fetch->item->weight.dtype && row + count <= p->row + p->count &&
                  (is_turned(fetch->item, p->source) || is_in_order(p, row, count));
  return as_it_is ? raw_row(fetch, p, row) : NULL;
}

// How much the errors of a row count, channel by channel; NULL: all the same.
static const float *row_means(const fg_pack_item *item, uint32_t row) {
  const fg_calibration_item *seen = item->seen;
  if (!seen || !seen->means || seen->k != item->weight.k) return NULL;
  const uint32_t each = item->weight.n / seen->segments;
  return seen->means + (uint64_t)(each ? row / each : 0) * seen->k;
}

// wide: row `row`; out: the same in the item's type
static void encode(const fg_pack_item *item, uint32_t row, const float *wide, void *out) {
  const fg_dtype_info *type = fg_dtype_get(item->weight.dtype);
  const uint32_t k = item->weight.k;
  const float *means = type->bits == 4 ? row_means(item, row) : NULL;
  if (means) {
    const fg_group_form form = {type->bits, type->block, type->minimum};
    fg_groups_from_f32_weighted(form, item->per_row ? k : type->block, means, wide, out, k);
  } else if (item->per_row) {
    fg_groups_from_f32((fg_group_form){type->bits, type->block, type->minimum}, k, wide, out, k);
  } else {
    type->from_f32(wide, out, k);
  }
}

void fg_rows_take(const fg_rows_fetch *fetch, uint32_t row, uint32_t count, float *wide, void *out) {
  const fg_weight *w = &fetch->item->weight;
  const uint64_t bytes = row_bytes(w->dtype, w->k);
  char *to = out;
  for (uint32_t r = row; r < row + count; r++, to += bytes) {
    const fg_rows_part *p = part_with(fetch, r);
    const char *from = raw_row(fetch, p, r);
    if (p->dtype == w->dtype) {
      memcpy(to, from, bytes);
    } else {
      fg_dtype_get(p->dtype)->to_f32(from, wide, w->k);
      encode(fetch->item, r, wide, to);
    }
  }
}

void fg_rows_take_vector(const fg_rows_fetch *fetch, float *wide, float *out) {
  for (uint32_t i = 0; i < fetch->part_count; i++) {
    const fg_rows_part *p = &fetch->parts[i];
    const fg_source *source = p->source;
    float *to = out + p->row;
    if (!p->tensor) {
      for (uint32_t j = 0; j < source->rows; j++) to[j] = source->missing;
      continue;
    }
    fg_dtype_get(p->tensor->dtype)->to_f32(p->runs->data, wide, fg_source_tensor_rows(source));
    const float more = source->transform == FG_TRANSFORM_PLUS_ONE ? 1 : 0;
    for (uint32_t j = 0; j < source->rows; j++) to[j] = wide[fg_source_row(source, j)] + more;
  }
}
