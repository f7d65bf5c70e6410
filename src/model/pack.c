// Packing as a line of three: reads that are on their way, the rows that all threads convert, lay out and
// hash, and writes that are on their way. The owner walks through the plan piece by piece, in order; a piece
// is some rows of a panel. What is written depends on the checkpoint alone, not on pieces, threads or who was
// first.
#include "model/pack.h"

#include <stdatomic.h>
#include <string.h>

#include "base/checked.h"
#include "base/hash.h"
#include "model/rows.h"

enum { MOST_FETCHES = 8, MOST_OUTPUTS = 4, BLOCK_ROWS = 64 };

// Some rows of a panel.
typedef struct piece {
  const fg_pack_item *item;
  uint32_t panel, panel_rows; // first row of the panel, and how many it has
  uint32_t row, count;
} piece;

// Where in the plan the next piece begins.
typedef struct cursor {
  uint32_t item, row;
} cursor;

// A panel, or a piece of a table, as it will stand in the file.
typedef struct output {
  fg_store_piece piece;
  const fg_pack_item *item;
  char *data;
  bool first; // of its weight
  bool writing;
} output;

typedef struct fetch {
  fg_rows_fetch rows;
  piece piece;
} fetch;

// How much memory packing takes: the first that fits into three quarters of what the budget has left, or the
// last.
typedef struct extent {
  uint32_t fetches, outputs;
  uint32_t threads; // that compute; 0: all
  uint64_t piece_bytes;
} extent;
static const extent extents[] = {
    {MOST_FETCHES, MOST_OUTPUTS, 0, 4 << 20}, // 32 MiB on their way keep any disk busy
    {MOST_FETCHES, 3, 0, 1 << 20},
    {4, 2, 0, 1 << 20},
    {2, 2, 0, 512 << 10},
    {2, 2, 1, 256 << 10},
};
enum { EXTENTS = sizeof extents / sizeof *extents };

typedef struct packer {
  const fg_pack_plan *plan;
  const fg_model_options *options;
  fg_store_writer *writer;
  fg_rows rows;
  extent extent;
  void *memory;
  fetch fetches[MOST_FETCHES];
  output outputs[MOST_OUTPUTS];
  char *scratch; // [threads, scratch_bytes]: a row in float32, then rows of a block in the weight's type
  uint64_t wide_bytes, scratch_bytes;
  uint64_t *row_hashes;  // of the rows of a piece
  cursor ahead;          // of what has not begun to be fetched
  uint32_t begun, taken; // fetches; the difference is on its way
  uint32_t opened;       // outputs
  uint32_t registered;   // items that the store's list has
  output *current;       // that pieces go into
  output *whole;         // complete, to be hashed and written
  char *tail;            // [FG_IO_ALIGN] a table's bytes that do not fill a block of the file
  uint64_t tail_bytes, table_hash;
  uint64_t done, total, content;
  fg_error *err;
} packer;

static uint64_t row_bytes(const fg_weight *w) {
  uint64_t bytes = 0;
  fg_dtype_bytes(w->dtype, w->k, &bytes);
  return bytes;
}

static uint64_t largest(uint64_t a, uint64_t b) {
  return a > b ? a : b;
}

// ---- pieces --------------------------------------------------------------------------------------------

// Rows of a piece: about piece_bytes of the checkpoint, and whole blocks of the layout.
static uint32_t piece_rows(const fg_pack_item *item, uint64_t piece_bytes) {
  uint64_t rows = piece_bytes / fg_rows_source_bytes(item),
           step = item->layout ? item->layout->row_multiple : 1;
  rows -= rows % step;
  if (rows == 0) rows = step;
  return rows < item->panel_rows ? (uint32_t)rows : item->panel_rows;
}

static bool next_piece(const fg_pack_plan *plan, uint64_t piece_bytes, cursor *at, piece *out) {
  while (at->item < plan->count && plan->items[at->item].weight.same_as) at->item++;
  if (at->item == plan->count) return false;
  const fg_pack_item *item = &plan->items[at->item];
  const fg_weight *w = &item->weight;
  const uint32_t panel = at->row - at->row % item->panel_rows, left = w->n - panel;
  *out = (piece){.item = item, .panel = panel, .row = at->row};
  out->panel_rows = left < item->panel_rows ? left : item->panel_rows;
  out->count = w->kind == FG_WEIGHT_VECTOR ? w->n : piece_rows(item, piece_bytes);
  uint32_t rest = panel + out->panel_rows - at->row;
  if (out->count > rest) out->count = rest;
  at->row += out->count;
  if (at->row == w->n) *at = (cursor){at->item + 1, 0};
  return true;
}

static uint64_t output_bytes(const piece *p) {
  const fg_weight *w = &p->item->weight;
  if (w->kind == FG_WEIGHT_VECTOR) return w->n * sizeof(float);
  if (w->kind == FG_WEIGHT_TABLE)
    return FG_IO_ALIGN + p->count * row_bytes(w); // behind the last piece's rest
  return p->item->layout->bytes(w->dtype, p->panel_rows, w->k);
}

// ---- what all threads do -------------------------------------------------------------------------------

typedef struct job {
  packer *p;
  const fetch *from;
  output *to;
  char *begin; // of the panel, or of the table's rows
  uint32_t step, slots;
  _Atomic uint32_t next; // block
} job;

static void convert_block(const job *j, uint32_t row, uint32_t count, char *scratch) {
  const fg_rows_fetch *from = &j->from->rows;
  const fg_pack_item *item = from->item;
  const fg_weight *w = &item->weight;
  const uint64_t bytes = row_bytes(w);
  char *dense = scratch + j->p->wide_bytes;
  const void *rows = fg_rows_borrow(from, row, count);
  if (w->kind == FG_WEIGHT_TABLE) {
    dense = j->begin + (row - j->from->piece.row) * bytes;
    if (rows) memcpy(dense, rows, count * bytes);
  }
  if (!rows) {
    fg_rows_take(from, row, count, (float *)(void *)scratch, dense);
    rows = dense;
  }
  for (uint32_t r = 0; r < count; r++)
    j->p->row_hashes[row - j->from->piece.row + r] = fg_hash((const char *)rows + r * bytes, bytes);
  if (w->kind == FG_WEIGHT_TABLE) return;
  char *to = j->begin + item->layout->bytes(w->dtype, row - j->from->piece.panel, w->k);
  item->layout->pack(w->dtype, rows, count, w->k, to);
}

static void convert_blocks(job *j, char *scratch) {
  const piece *p = &j->from->piece;
  if (p->item->weight.kind == FG_WEIGHT_VECTOR) {
    fg_rows_take_vector(&j->from->rows, (float *)(void *)scratch, (float *)(void *)j->begin);
    return;
  }
  for (;;) {
    uint64_t first = (uint64_t)atomic_fetch_add(&j->next, 1) * j->step;
    if (first >= p->count) return;
    uint32_t count = p->count - first < j->step ? (uint32_t)(p->count - first) : j->step;
    convert_block(j, p->row + (uint32_t)first, count, scratch);
  }
}

static void hash_output(packer *p, output *o) {
  if (o->item->weight.kind != FG_WEIGHT_TABLE) {
    o->piece.hash = fg_hash(o->piece.data, o->piece.bytes);
    return;
  }
  p->table_hash = fg_store_table_hash(o->first ? 0 : p->table_hash, o->piece.data, o->piece.bytes);
  o->piece.hash = p->table_hash;
}

// The last item hashes what the run before has completed; the others convert.
static void run_item(void *arg, uint32_t item, uint32_t thread) {
  (void)thread;
  job *j = arg;
  if (item == j->slots) {
    hash_output(j->p, j->p->whole);
  } else {
    convert_blocks(j, j->p->scratch + item * j->p->scratch_bytes);
  }
}

static void run(packer *p, job *j) {
  uint32_t items = j->slots + (p->whole != NULL);
  fg_threads_run(p->options->threads, items, run_item, j);
}

// ---- the line ------------------------------------------------------------------------------------------

static fg_status advance(packer *p, uint64_t bytes) {
  p->done += bytes;
  if (!p->options->progress || p->options->progress(p->options->user, p->done, p->total)) return FG_OK;
  return fg_fail(p->err, FG_CANCELLED, "packing was interrupted; nothing of it is left");
}

static fg_status fetch_ahead(packer *p) {
  while (p->begun - p->taken < p->extent.fetches) {
    fetch *f = &p->fetches[p->begun % p->extent.fetches];
    if (!next_piece(p->plan, p->extent.piece_bytes, &p->ahead, &f->piece)) return FG_OK;
    f->rows.item = f->piece.item;
    f->rows.row = f->piece.row;
    f->rows.count = f->piece.count;
    fg_status status = fg_rows_begin(&p->rows, &f->rows, p->err);
    if (status) return status;
    p->begun++;
  }
  return FG_OK;
}

static fg_status finish_write(packer *p, output *o) {
  if (!o->writing) return FG_OK;
  o->writing = false;
  return fg_store_writer_wait(p->writer, &o->piece, p->err);
}

// The next output in turn, as soon as the disk has what it held.
static fg_status open_output(packer *p, const piece *from) {
  output *o = &p->outputs[p->opened++ % p->extent.outputs];
  fg_status status = finish_write(p, o);
  if (status) return status;
  o->item = from->item;
  o->first = from->row == 0;
  o->piece = (fg_store_piece){.row = from->panel, .rows = from->panel_rows, .data = o->data};
  o->piece.bytes = output_bytes(from);
  p->current = o;
  return FG_OK;
}

// Weights that share the extents of earlier ones stand in the list where their own would have stood.
static fg_status register_shared(packer *p, uint32_t until) {
  fg_status status = FG_OK;
  for (; p->registered < until && !status; p->registered++) {
    const fg_weight *w = &p->plan->items[p->registered].weight;
    status = fg_store_writer_same(p->writer, w, w->same_as - 1, p->err);
  }
  return status;
}

static fg_status register_weight(packer *p, const fg_pack_item *item) {
  fg_status status = register_shared(p, (uint32_t)(item - p->plan->items));
  p->registered++;
  return status ? status : fg_store_writer_weight(p->writer, &item->weight, p->err);
}

static fg_status write_whole(packer *p) {
  output *o = p->whole;
  p->whole = NULL;
  if (!o) return FG_OK;
  fg_status status = o->first ? register_weight(p, o->item) : FG_OK;
  if (!status && o->piece.bytes) {
    status = fg_store_writer_begin(p->writer, &o->piece, p->err);
    o->writing = status == FG_OK;
  }
  return status ? status : advance(p, fg_align_up(o->piece.bytes, FG_IO_ALIGN));
}

// What does not fill a block of the file waits for the next rows; the last piece has no rest.
static void cut_table(packer *p, const piece *from) {
  output *o = p->current;
  uint64_t have = p->tail_bytes + from->count * row_bytes(&from->item->weight);
  bool last = from->row + from->count == from->item->weight.n;
  o->piece.bytes = last ? have : have & ~(uint64_t)(FG_IO_ALIGN - 1);
  p->tail_bytes = have - o->piece.bytes;
  memcpy(p->tail, o->data + o->piece.bytes, p->tail_bytes);
}

// The hash of the content goes on by name, type and each row's own hash, so that rows may be hashed side by
// side.
static void hash_content(packer *p, const piece *from) {
  const fg_weight *w = &from->item->weight;
  if (from->row == 0) {
    const char *type = fg_dtype_get(w->dtype)->name;
    p->content = fg_hash_more(p->content, w->name, strlen(w->name));
    p->content = fg_hash_more(p->content, type, strlen(type));
  }
  if (w->kind == FG_WEIGHT_VECTOR) {
    p->content = fg_hash_more(p->content, p->current->data, w->n * sizeof(float));
    return;
  }
  for (uint32_t r = 0; r < from->count; r++)
    p->content = fg_hash_more(p->content, &p->row_hashes[r], sizeof p->row_hashes[r]);
}

// Converts the oldest fetch while the last whole output is hashed.
static fg_status convert(packer *p, const fetch *f) {
  const fg_weight *w = &f->piece.item->weight;
  const bool table = w->kind == FG_WEIGHT_TABLE, vector = w->kind == FG_WEIGHT_VECTOR;
  fg_status status = FG_OK;
  if (table || f->piece.row == f->piece.panel) status = open_output(p, &f->piece);
  if (status) return status;
  job j = {.p = p, .from = f, .to = p->current, .begin = p->current->data, .step = BLOCK_ROWS};
  j.slots = vector ? 1 : p->extent.threads;
  if (f->piece.row == 0) p->tail_bytes = 0;
  if (table) {
    memcpy(j.begin, p->tail, p->tail_bytes);
    j.begin += p->tail_bytes;
  }
  run(p, &j);
  hash_content(p, &f->piece);
  if (table) cut_table(p, &f->piece);
  return write_whole(p);
}

static fg_status pack_piece(packer *p, fetch *f) {
  const piece *of = &f->piece;
  fg_status status = fg_rows_wait(&p->rows, &f->rows, p->err);
  if (!status) status = convert(p, f);
  // The weight that the last output belongs to is complete before the next one begins.
  bool ends = of->item->weight.kind == FG_WEIGHT_TABLE || of->row + of->count == of->panel + of->panel_rows;
  if (ends) p->whole = p->current;
  return status;
}

static fg_status pack_all(packer *p) {
  fg_status status = fetch_ahead(p);
  while (!status && p->taken < p->begun) {
    status = pack_piece(p, &p->fetches[p->taken % p->extent.fetches]);
    p->taken++;
    if (!status) status = fetch_ahead(p);
  }
  if (!status && p->whole) hash_output(p, p->whole);
  if (!status) status = write_whole(p);
  return status ? status : register_shared(p, p->plan->count);
}

// The content of weights that share others' extents is that of the others.
static uint64_t hash_shared(const fg_pack_plan *plan, uint64_t content) {
  for (uint32_t i = 0; i < plan->count; i++) {
    const fg_weight *w = &plan->items[i].weight;
    if (!w->same_as) continue;
    const char *of = plan->items[w->same_as - 1].weight.name;
    content = fg_hash_more(fg_hash_more(content, w->name, strlen(w->name)), of, strlen(of));
  }
  return content;
}

// Waits for all that is on its way; after a failure nobody asks how it went.
static fg_status finish(packer *p, fg_status status) {
  for (; p->taken < p->begun; p->taken++)
    fg_rows_wait(&p->rows, &p->fetches[p->taken % p->extent.fetches].rows, NULL);
  for (uint32_t i = 0; i < p->extent.outputs; i++) {
    output *o = &p->outputs[i];
    if (!o->writing) continue;
    o->writing = false;
    fg_status one = fg_store_writer_wait(p->writer, &o->piece, status ? NULL : p->err);
    if (!status) status = one;
  }
  return status;
}

// ---- memory --------------------------------------------------------------------------------------------

// The largest of each kind of buffer.
typedef struct sizes {
  uint64_t fetch, output, wide, dense, rows;
} sizes;

static sizes measure(const fg_pack_plan *plan, uint64_t piece_bytes) {
  sizes s = {.rows = 1};
  cursor at = {0, 0};
  for (piece p; next_piece(plan, piece_bytes, &at, &p);) {
    const uint32_t block = p.count < BLOCK_ROWS ? p.count : BLOCK_ROWS;
    s.fetch = largest(s.fetch, fg_rows_fetch_bytes(p.item, p.row, p.count));
    s.output = largest(s.output, fg_align_up(output_bytes(&p), FG_IO_ALIGN));
    s.wide = largest(s.wide, fg_align_up(fg_rows_wide_values(p.item) * sizeof(float), 64));
    if (p.item->layout) s.dense = largest(s.dense, fg_align_up(block * row_bytes(&p.item->weight), 64));
    s.rows = largest(s.rows, p.count);
  }
  return s;
}

static uint64_t total_bytes(const sizes *s, const extent *e) {
  return e->fetches * s->fetch + e->outputs * s->output + FG_IO_ALIGN + e->threads * (s->wide + s->dense) +
         s->rows * sizeof(uint64_t);
}

static void place(packer *p, const sizes *s) {
  char *at = p->memory;
  for (uint32_t i = 0; i < p->extent.fetches; i++, at += s->fetch) {
    p->fetches[i].rows.buffer = at;
    p->fetches[i].rows.buffer_bytes = s->fetch;
  }
  for (uint32_t i = 0; i < p->extent.outputs; i++, at += s->output) p->outputs[i].data = at;
  p->tail = at;
  p->scratch = p->tail + FG_IO_ALIGN;
  p->wide_bytes = s->wide;
  p->scratch_bytes = s->wide + s->dense;
  p->row_hashes = (uint64_t *)(void *)(p->scratch + p->extent.threads * p->scratch_bytes);
}

static fg_status allocate(packer *p) {
  const uint32_t threads = fg_threads_count(p->options->threads);
  sizes s = {0};
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < EXTENTS; i++) {
    p->extent = extents[i];
    if (!p->extent.threads) p->extent.threads = threads;
    s = measure(p->plan, p->extent.piece_bytes);
    bytes = total_bytes(&s, &p->extent);
    if (bytes <= fg_budget_left(p->options->host) / 4 * 3) break;
  }
  fg_status status = fg_budget_alloc(p->options->host, bytes, "packing", &p->memory, p->err);
  if (!status) place(p, &s);
  return status;
}

fg_status fg_pack_write(const fg_pack_plan *plan, const fg_pack_source *source,
                        const fg_model_options *options, fg_store_writer *writer, uint64_t *content,
                        fg_error *err) {
  packer p = {.plan = plan, .options = options, .writer = writer, .total = plan->bytes, .err = err};
  p.rows = (fg_rows){.checkpoint = source->checkpoint, .io = options->io, .threads = options->threads};
  fg_status status = allocate(&p);
  if (!status) status = fg_store_writer_reserve(writer, plan->bytes, err);
  if (!status) status = finish(&p, pack_all(&p));
  *content = hash_shared(plan, p.content);
  fg_budget_free(options->host, p.memory);
  return status;
}
