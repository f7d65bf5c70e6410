#include "kernels/matmul.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "kernels/cpu.h"
#include "kernels/product.h"

enum {
  CHUNK_F32 = 256,   // rows whose x is in scratch at once: 5.5 MiB of float32 at k = 5632
  CHUNK_16 = 2048,   // the same of bfloat16, which takes half of that and is what large steps use
  ROW_BLOCK = 128,   // most rows of a product: 98 % of what one call over all rows reaches
  FINISH_AHEAD = 8,  // rows; with it 2 % of a step go to this instead of 3.5 %
  COPY_ROWS = 8,     // rows of x that a thread copies at a time
  MAX_BLOCKS = 21,   // of a chunk: CHUNK_16 / ROW_BLOCK, then at most 64, 32, 16, 8 and one of fewer rows
  ITEMS_A_THREAD = 4 // wanted, so that threads end together
};

// What oneDNN holds for itself: its engine, code pages that it touches (1.5 MiB measured), and about 70 KiB
// for each shape kept. It cannot be counted one by one, so it is charged as a lump.
#define ONEDNN_BYTES (((uint64_t)1536 + 72 * FG_PRODUCT_SHAPES) << 10)

// What x becomes in scratch.
typedef enum x_form { X_F32, X_BF16, X_INT8, X_FORMS } x_form;

// The call whose x is in scratch, all of it.
typedef struct held_x {
  x_form form;
  uint32_t rows, k; // rows 0: none
  fg_dtype dtype;   // X_INT8: of the weights it was quantised for
} held_x;

struct fg_matmul {
  fg_matmul_options options;
  fg_product *product; // of float32; NULL: the kernel table's
  bool bf16;
  uint64_t x_bytes, thread_bytes;
  uint64_t lump;
  held_x held;
  void *x;          // [chunk, padded k], float32 or bfloat16; or quantised rows
  uint8_t *scratch; // [threads, thread_bytes]: an expanded tile, then sums [ROW_BLOCK, 64]
};

typedef struct row_block {
  uint32_t row, rows;      // within the chunk; a shape may have more, which are padding
  fg_product_shape *shape; // X_F32; NULL: the kernel table's product
} row_block;

typedef struct job {
  fg_matmul *m;
  const fg_matmul_call *call;
  x_form form;
  uint32_t chunk;     // rows at once, at most
  uint32_t row, rows; // the chunk, within the call
  uint64_t k;         // padded
  fg_q_rows q;        // X_INT8
  uint32_t tiles;
  row_block blocks[MAX_BLOCKS];
  uint32_t block_count;
  uint32_t parts; // into which the blocks are divided; an item is a tile and a part
} job;

// ---- sizes ---------------------------------------------------------------------------------------------

static bool takes_bf16(const fg_matmul_options *o) {
  return o->bf16 && o->features & FG_CPU_AVX512_BF16;
}

static bool takes_onednn(const fg_matmul_options *o) {
#if defined(FG_HAVE_ONEDNN)
  return o->features & FG_CPU_AVX512 && !takes_bf16(o);
#else
  (void)o;
  return false;
#endif
}

static uint32_t whole_rows(uint32_t rows, uint32_t most) {
  uint32_t taken = rows < most ? rows : most;
  return (taken / COPY_ROWS + (taken % COPY_ROWS != 0 || taken == 0)) * COPY_ROWS;
}

// Of the largest form that the products of this device take x in.
static uint64_t x_bytes(const fg_matmul_options *o) {
  const uint32_t rows = whole_rows(o->max_rows, takes_bf16(o) ? CHUNK_16 : CHUNK_F32);
  uint64_t bytes = rows * fg_tile_k(o->max_k) * (takes_bf16(o) ? sizeof(uint16_t) : sizeof(float));
  uint64_t codes = o->int8 ? fg_q_rows_bytes(rows, o->max_k) : 0;
  return fg_align_up(bytes < codes ? codes : bytes, 4096);
}

static uint64_t form_bytes(x_form form, uint32_t rows, uint32_t k) {
  return form == X_INT8 ? fg_q_rows_bytes(rows, k) : rows * fg_tile_k(k) * (form == X_BF16 ? 2 : 4);
}

// Rows of this call that fit into scratch at once. What quantised rows take is rounded up for all of them
// together: by that of one row the last few would be left for a chunk of their own.
static uint32_t chunk_rows(const fg_matmul *m, x_form form, uint32_t k) {
  const uint64_t estimate = m->x_bytes / form_bytes(form, COPY_ROWS, k) * COPY_ROWS;
  uint32_t rows = estimate < COPY_ROWS ? COPY_ROWS : estimate < CHUNK_16 ? (uint32_t)estimate : CHUNK_16;
  while (rows < CHUNK_16 && form_bytes(form, rows + COPY_ROWS, k) <= m->x_bytes) rows += COPY_ROWS;
  return rows;
}

static uint64_t thread_scratch_bytes(const fg_matmul_options *o) {
  return fg_align_up((fg_tile_k(o->max_k) + ROW_BLOCK) * FG_TILE_ROWS * 4, 4096);
}

uint64_t fg_matmul_scratch_bytes(const fg_matmul_options *options) {
  uint64_t lump = takes_onednn(options) ? ONEDNN_BYTES : 0;
  return lump + x_bytes(options) + fg_threads_count(options->threads) * thread_scratch_bytes(options);
}

// ---- one chunk -----------------------------------------------------------------------------------------

typedef void x_row_fn(const job *j, const float *x, uint32_t r); // x [k] becomes row r of the scratch

static void x_row_f32(const job *j, const float *x, uint32_t r) {
  float *out = (float *)j->m->x + r * j->k;
  memcpy(out, x, (uint64_t)j->call->k * sizeof *out);
  memset(out + j->call->k, 0, (j->k - j->call->k) * sizeof *out);
}

static void x_row_bf16(const job *j, const float *x, uint32_t r) {
  uint16_t *out = (uint16_t *)j->m->x + r * j->k;
  j->m->options.kernels->to_bf16(x, out, j->call->k);
  memset(out + j->call->k, 0, (j->k - j->call->k) * sizeof *out);
}

static void x_row_int8(const job *j, const float *x, uint32_t r) {
  j->m->options.kernels->quantise(x, &j->q, r);
}

static x_row_fn *const x_rows[X_FORMS] = {x_row_f32, x_row_bf16, x_row_int8};

static void copy_rows(void *arg, uint32_t item, uint32_t thread) {
  const job *j = arg;
  uint32_t end = (item + 1) * COPY_ROWS < j->rows ? (item + 1) * COPY_ROWS : j->rows;
  (void)thread;
  for (uint32_t r = item * COPY_ROWS; r < end; r++)
    x_rows[j->form](j, j->call->x + (uint64_t)(j->row + r) * j->call->x_stride, r);
}

// Whether weights of 16 bits are widened by the product itself. oneDNN's is faster over an expanded tile.
static bool is_wide(const job *j) {
  return j->form == X_F32 && !j->m->product && j->call->layout->kind == FG_LAYOUT_N64 &&
         j->m->options.kernels->product_wide[j->call->dtype];
}

// Whether the product reads the tile's bytes as they lie.
static bool in_place(const job *j) {
  if (j->form == X_INT8 || is_wide(j)) return true;
  return j->call->layout->kind == FG_LAYOUT_N64 && j->call->dtype == (j->form == X_BF16 ? FG_BF16 : FG_F32);
}

static const void *tile_of(const job *j, uint32_t tile, uint32_t columns, void *scratch) {
  const fg_matmul_call *c = j->call;
  const fg_kernels *kernels = j->m->options.kernels;
  const uint8_t *block = (const uint8_t *)c->panel + tile * c->layout->bytes(c->dtype, FG_TILE_ROWS, c->k);
  if (in_place(j)) return block;
  fg_tile_fn *const *expand =
      j->form == X_BF16 ? kernels->tile_bf16[c->layout->kind] : kernels->tile_f32[c->layout->kind];
  expand[c->dtype](c->dtype, block, columns, c->k, scratch);
  return scratch;
}

// Where the tile that this thread will take after an item's lies, if that is read in place: the threads take
// turns.
static const void *next_tile(const job *j, uint32_t item) {
  const fg_matmul_call *c = j->call;
  uint32_t next = (item + fg_threads_count(j->m->options.threads)) / j->parts;
  if (!in_place(j) || next == item / j->parts || next >= j->tiles) return NULL;
  return (const uint8_t *)c->panel + next * c->layout->bytes(c->dtype, FG_TILE_ROWS, c->k);
}

// A tile and what of it is multiplied.
typedef struct tile_item {
  const void *tile, *next;
  uint32_t columns, thread;
} tile_item;

// sums [b's rows, 64]
static void multiply_block(const job *j, const row_block *b, const tile_item *t, float *sums) {
  const fg_matmul_call *c = j->call;
  const fg_kernels *kernels = j->m->options.kernels;
  const uint32_t k = (uint32_t)j->k;
  const uint64_t at = b->row * j->k;
  if (j->form == X_INT8)
    kernels->q_product[c->layout->kind][c->dtype](&j->q, b->row, b->rows, c->dtype, t->tile, t->columns,
                                                  sums);
  else if (j->form == X_BF16)
    kernels->product_bf16((const uint16_t *)j->m->x + at, b->rows, k, t->tile, t->next, sums);
  else if (is_wide(j))
    kernels->product_wide[c->dtype]((const float *)j->m->x + at, b->rows, k, t->tile, sums);
  else if (b->shape)
    fg_product_run(b->shape, t->thread, (const float *)j->m->x + at, t->tile, sums);
  else
    kernels->product((const float *)j->m->x + at, b->rows, k, t->tile, sums);
}

// The sums [b's rows, 64] go to their places from `column` on. Rows there lie so far apart that no CPU reads
// ahead by itself: those of the next few are asked for.
static void finish_block(const job *j, const row_block *b, const float *sums, uint32_t column,
                         uint32_t columns) {
  const fg_matmul_call *c = j->call;
  float *out = c->out + (uint64_t)(j->row + b->row) * c->out_stride + column;
  for (uint32_t r = 0; r < b->rows; r++, sums += FG_TILE_ROWS, out += c->out_stride) {
    if (r + FINISH_AHEAD < b->rows)
      for (uint32_t i = 0; i < columns; i += 64 / sizeof *out)
        __builtin_prefetch(out + FINISH_AHEAD * (uint64_t)c->out_stride + i, 1, 3);
    j->m->options.kernels->finish(sums, c->bias ? c->bias + column : NULL, out, columns, c->accumulate);
  }
}

static void multiply_tile(void *arg, uint32_t item, uint32_t thread) {
  const job *j = arg;
  const fg_matmul_call *c = j->call;
  uint8_t *scratch = j->m->scratch + thread * j->m->thread_bytes;
  float *sums = (float *)(scratch + fg_tile_k(j->m->options.max_k) * FG_TILE_ROWS * 4);
  uint32_t tile_index = item / j->parts, part = item % j->parts, column = tile_index * FG_TILE_ROWS;
  uint32_t columns = c->n - column < FG_TILE_ROWS ? c->n - column : FG_TILE_ROWS;
  const tile_item t = {tile_of(j, tile_index, columns, scratch), next_tile(j, item), columns, thread};
  for (uint32_t i = part; i < j->block_count; i += j->parts) {
    multiply_block(j, &j->blocks[i], &t, sums);
    finish_block(j, &j->blocks[i], sums, column, columns);
  }
}

// Rows of the next block: as many as there are, but oneDNN has shapes, and takes the largest power of two
// that the rows fill; fewer than 8 rows are rounded up, which costs less than reading the tile again.
static uint32_t block_rows(bool shapes, uint32_t rows) {
  uint32_t shape = 1;
  if (!shapes) return rows < ROW_BLOCK ? rows : ROW_BLOCK;
  while (shape < ROW_BLOCK && shape * 2 <= rows) shape *= 2;
  return shape < rows && rows < COPY_ROWS ? shape * 2 : shape;
}

static fg_status cut_rows(job *j, fg_error *err) {
  const bool shapes = j->m->product && j->form == X_F32;
  j->block_count = 0;
  for (uint32_t row = 0; row < j->rows;) {
    row_block *b = &j->blocks[j->block_count++];
    uint32_t left = j->rows - row, shape = block_rows(shapes, left);
    *b = (row_block){.row = row, .rows = left < shape ? left : shape};
    if (shapes) {
      fg_status status = fg_product_prepare(j->m->product, shape, (uint32_t)j->k, &b->shape, err);
      if (status) return status;
    }
    row += b->rows;
  }
  uint32_t wanted = fg_threads_count(j->m->options.threads) * ITEMS_A_THREAD,
           threads_parts = wanted / j->tiles;
  j->parts = threads_parts < 1 ? 1 : threads_parts > j->block_count ? j->block_count : threads_parts;
  return FG_OK;
}

static void run_items(const job *j, uint32_t items, fg_thread_fn *fn) {
  fg_threads_run(j->m->options.threads, items, fn, (job *)(uintptr_t)j);
}

static x_form form_of(const fg_matmul *m, const fg_matmul_call *call) {
  bool own_bits = m->options.int8 && m->options.kernels->q_product[call->layout->kind][call->dtype];
  return own_bits ? X_INT8 : m->bf16 ? X_BF16 : X_F32;
}

// Whether scratch holds this call's x already; if not, says what it will hold.
static bool holds_x(fg_matmul *m, const job *j) {
  const fg_matmul_call *c = j->call;
  const held_x *h = &m->held;
  bool same = c->same_x && c->rows <= j->chunk && h->form == j->form && h->rows == c->rows && h->k == c->k &&
              (j->form != X_INT8 || h->dtype == c->dtype);
  m->held = (held_x){j->form, c->rows <= j->chunk ? c->rows : 0, c->k, c->dtype};
  return same;
}

fg_status fg_matmul_run(fg_matmul *matmul, const fg_matmul_call *call, fg_error *err) {
  if (call->k == 0 || call->k > matmul->options.max_k)
    return fg_fail(err, FG_INTERNAL, "a product with k = %u on a device made for at most %u", call->k,
                   matmul->options.max_k);
  if (call->layout->bytes(call->dtype, call->n, call->k) == UINT64_MAX)
    return fg_fail(err, FG_INTERNAL, "weights [%u, %u] of type %s cannot be multiplied", call->n, call->k,
                   fg_dtype_get(call->dtype)->name);
  if (call->n == 0) return FG_OK;
  job j = {.m = matmul, .call = call, .form = form_of(matmul, call), .k = fg_tile_k(call->k)};
  j.chunk = chunk_rows(matmul, j.form, call->k);
  j.tiles = (call->n - 1) / FG_TILE_ROWS + 1;
  const bool held = holds_x(matmul, &j);
  for (; j.row < call->rows; j.row += j.rows) {
    j.rows = call->rows - j.row < j.chunk ? call->rows - j.row : j.chunk;
    if (j.form == X_INT8) j.q = fg_q_rows_place(matmul->x, j.rows, call->k, call->dtype);
    fg_status status = cut_rows(&j, err);
    if (status) return status;
    if (!held) run_items(&j, (j.rows - 1) / COPY_ROWS + 1, copy_rows);
    run_items(&j, j.tiles * j.parts, multiply_tile);
  }
  return FG_OK;
}

// ---- life ----------------------------------------------------------------------------------------------

static fg_status create_product(fg_matmul *m, fg_error *err) {
  m->bf16 = takes_bf16(&m->options);
  if (!takes_onednn(&m->options)) return FG_OK;
  m->lump = ONEDNN_BYTES;
  fg_status status = fg_budget_reserve(m->options.budget, m->lump, "oneDNN", err);
  if (status) {
    m->lump = 0;
    return status;
  }
  status = fg_product_create(&m->product, fg_threads_count(m->options.threads), NULL);
  // Refused (an instruction set switched off in its environment): the table's product serves.
  if (status == FG_UNSUPPORTED) return FG_OK;
  return status ? fg_fail(err, status, "oneDNN could not be started") : FG_OK;
}

fg_status fg_matmul_create(fg_matmul **out, const fg_matmul_options *options, fg_error *err) {
  fg_matmul *m = calloc(1, sizeof *m);
  if (!m) return fg_fail(err, FG_NO_SPACE, "no memory for the matrix products");
  m->options = *options;
  m->x_bytes = x_bytes(options);
  m->thread_bytes = thread_scratch_bytes(options);
  fg_budget *budget = options->budget;
  fg_status status = fg_budget_alloc(budget, m->x_bytes, "activations of a product", &m->x, err);
  if (!status) {
    void *scratch;
    status = fg_budget_alloc(budget, fg_threads_count(options->threads) * m->thread_bytes, "expanded weights",
                             &scratch, err);
    if (!status) m->scratch = scratch;
    if (!status) fg_prefer_huge_pages(m->x, m->x_bytes);
  }
  if (!status) status = create_product(m, err);
  if (status) {
    fg_matmul_destroy(m);
    return status;
  }
  *out = m;
  return FG_OK;
}

void fg_matmul_destroy(fg_matmul *matmul) {
  if (!matmul) return;
  fg_product_destroy(matmul->product);
  fg_budget_release(matmul->options.budget, matmul->lump);
  fg_budget_free(matmul->options.budget, matmul->scratch);
  fg_budget_free(matmul->options.budget, matmul->x);
  free(matmul);
}

bool fg_matmul_is_bf16(const fg_matmul *matmul) {
  return matmul->bf16;
}
