#include "kernels/matmul.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "kernels/cpu.h"
#include "kernels/product.h"

enum {
  ROW_CHUNK = 256,   // rows whose x is in scratch at once: 2.8 MiB of bfloat16 at k = 5632
  ROW_BLOCK = 128,   // largest shape: 98 % of what one call over all rows reaches
  COPY_ROWS = 8,     // rows of x that a thread copies at a time
  MAX_BLOCKS = 8,    // of a chunk: at most 128, 64, 32, 16, 8 and one of fewer rows
  ITEMS_A_THREAD = 4 // wanted, so that threads end together
};

// What oneDNN holds for itself: its engine, code pages that it touches (1.5 MiB measured), and about 70 KiB
// for each shape kept. It cannot be counted one by one, so it is charged as a lump.
#define ONEDNN_BYTES (((uint64_t)1536 + 72 * FG_PRODUCT_SHAPES) << 10)

struct fg_matmul {
  fg_matmul_options options;
  fg_product *product; // NULL: the kernel table's
  bool bf16;
  uint32_t chunk; // rows
  uint64_t thread_bytes;
  uint64_t lump;
  void *x;          // [chunk, padded k], float32 or bfloat16
  uint8_t *scratch; // [threads, thread_bytes]: an expanded tile, then sums [ROW_BLOCK, 64]
};

typedef struct row_block {
  uint32_t row, rows;      // within the chunk; a shape may have more, which are padding
  fg_product_shape *shape; // NULL: the kernel table's product
} row_block;

typedef struct job {
  fg_matmul *m;
  const fg_matmul_call *call;
  uint32_t row, rows; // the chunk, within the call
  uint64_t k;         // padded
  uint32_t tiles;
  row_block blocks[MAX_BLOCKS];
  uint32_t block_count;
  uint32_t parts; // into which the blocks are divided; an item is a tile and a part
} job;

// ---- sizes ---------------------------------------------------------------------------------------------

static uint32_t thread_count(const fg_matmul_options *o) {
  return o->threads ? fg_threads_count(o->threads) : 1;
}

static uint32_t chunk_rows(const fg_matmul_options *o) {
  uint32_t rows = o->max_rows < ROW_CHUNK ? o->max_rows : ROW_CHUNK;
  return (rows / COPY_ROWS + (rows % COPY_ROWS != 0 || rows == 0)) * COPY_ROWS;
}

static bool takes_onednn(const fg_matmul_options *o) {
  return o->features & FG_CPU_AVX512;
}

static bool takes_bf16(const fg_matmul_options *o) {
  return o->bf16 && takes_onednn(o) && o->features & FG_CPU_AVX512_BF16;
}

// Sized for float32 even where bfloat16 is wanted: oneDNN may yet refuse it.
static uint64_t x_bytes(const fg_matmul_options *o) {
  return fg_align_up(chunk_rows(o) * fg_tile_k(o->max_k) * 4, 4096);
}

static uint64_t thread_scratch_bytes(const fg_matmul_options *o) {
  return fg_align_up((fg_tile_k(o->max_k) + ROW_BLOCK) * FG_TILE_ROWS * 4, 4096);
}

uint64_t fg_matmul_scratch_bytes(const fg_matmul_options *options) {
  uint64_t lump = takes_onednn(options) ? ONEDNN_BYTES : 0;
  return lump + x_bytes(options) + thread_count(options) * thread_scratch_bytes(options);
}

// ---- one chunk -----------------------------------------------------------------------------------------

static void copy_rows(void *arg, uint32_t item, uint32_t thread) {
  const job *j = arg;
  const fg_matmul *m = j->m;
  uint32_t k = j->call->k, end = (item + 1) * COPY_ROWS < j->rows ? (item + 1) * COPY_ROWS : j->rows;
  (void)thread;
  for (uint32_t r = item * COPY_ROWS; r < end; r++) {
    const float *x = j->call->x + (uint64_t)(j->row + r) * j->call->x_stride;
    if (m->bf16) {
      uint16_t *out = (uint16_t *)m->x + r * j->k;
      m->options.kernels->to_bf16(x, out, k);
      memset(out + k, 0, (j->k - k) * sizeof *out);
    } else {
      float *out = (float *)m->x + r * j->k;
      memcpy(out, x, (uint64_t)k * sizeof *out);
      memset(out + k, 0, (j->k - k) * sizeof *out);
    }
  }
}

// The tile's bytes if they can be used as they lie; else NULL.
static const void *tile_in_place(const job *j, const uint8_t *block) {
  bool fits = j->call->layout->kind == FG_LAYOUT_N64 && j->call->dtype == (j->m->bf16 ? FG_BF16 : FG_F32);
  return fits ? block : NULL;
}

static const void *tile_of(const job *j, uint32_t tile, void *scratch) {
  const fg_matmul_call *c = j->call;
  const fg_kernels *kernels = j->m->options.kernels;
  uint32_t rows = c->n - tile * FG_TILE_ROWS < FG_TILE_ROWS ? c->n - tile * FG_TILE_ROWS : FG_TILE_ROWS;
  const uint8_t *block = (const uint8_t *)c->panel + tile * c->layout->bytes(c->dtype, FG_TILE_ROWS, c->k);
  const void *in_place = tile_in_place(j, block);
  if (in_place) return in_place;
  fg_tile_fn *const *expand =
      j->m->bf16 ? kernels->tile_bf16[c->layout->kind] : kernels->tile_f32[c->layout->kind];
  expand[c->dtype](c->dtype, block, rows, c->k, scratch);
  return scratch;
}

static void multiply_block(const job *j, const row_block *b, const void *tile, uint32_t thread, float *sums) {
  uint64_t at = b->row * j->k;
  if (b->shape)
    fg_product_run(b->shape, thread, (const uint8_t *)j->m->x + at * (j->m->bf16 ? 2 : 4), tile, sums);
  else
    j->m->options.kernels->product((const float *)j->m->x + at, b->rows, (uint32_t)j->k, tile, sums);
}

static void multiply_tile(void *arg, uint32_t item, uint32_t thread) {
  const job *j = arg;
  const fg_matmul_call *c = j->call;
  uint8_t *scratch = j->m->scratch + thread * j->m->thread_bytes;
  float *sums = (float *)(scratch + fg_tile_k(j->m->options.max_k) * FG_TILE_ROWS * 4);
  uint32_t tile_index = item / j->parts, part = item % j->parts, column = tile_index * FG_TILE_ROWS;
  uint32_t columns = c->n - column < FG_TILE_ROWS ? c->n - column : FG_TILE_ROWS;
  const void *tile = tile_of(j, tile_index, scratch);
  for (uint32_t i = part; i < j->block_count; i += j->parts) {
    const row_block *b = &j->blocks[i];
    multiply_block(j, b, tile, thread, sums);
    float *out = c->out + (uint64_t)(j->row + b->row) * c->out_stride + column;
    for (uint32_t r = 0; r < b->rows; r++)
      j->m->options.kernels->finish(sums + (uint64_t)r * FG_TILE_ROWS, c->bias ? c->bias + column : NULL,
                                    out + (uint64_t)r * c->out_stride, columns, c->accumulate);
  }
}

// The largest power of two that the rows fill; fewer than 8 rows are rounded up, which costs less than
// reading the tile again.
static uint32_t shape_rows(uint32_t rows) {
  uint32_t shape = 1;
  while (shape < ROW_BLOCK && shape * 2 <= rows) shape *= 2;
  return shape < rows && rows < COPY_ROWS ? shape * 2 : shape;
}

static fg_status cut_rows(job *j, fg_error *err) {
  j->block_count = 0;
  for (uint32_t row = 0; row < j->rows;) {
    row_block *b = &j->blocks[j->block_count++];
    uint32_t left = j->rows - row, shape = shape_rows(left);
    *b = (row_block){.row = row, .rows = left < shape ? left : shape};
    if (j->m->product) {
      fg_status status = fg_product_prepare(j->m->product, shape, (uint32_t)j->k, &b->shape, err);
      if (status) return status;
    }
    row += b->rows;
  }
  uint32_t wanted = thread_count(&j->m->options) * ITEMS_A_THREAD, threads_parts = wanted / j->tiles;
  j->parts = threads_parts < 1 ? 1 : threads_parts > j->block_count ? j->block_count : threads_parts;
  return FG_OK;
}

static void run_items(const job *j, uint32_t items, fg_thread_fn *fn) {
  job *arg = (job *)(uintptr_t)j;
  if (j->m->options.threads) {
    fg_threads_run(j->m->options.threads, items, fn, arg);
    return;
  }
  for (uint32_t i = 0; i < items; i++) fn(arg, i, 0);
}

fg_status fg_matmul_run(fg_matmul *matmul, const fg_matmul_call *call, fg_error *err) {
  if (call->k == 0 || call->k > matmul->options.max_k)
    return fg_fail(err, FG_INTERNAL, "a product with k = %u on a device made for at most %u", call->k,
                   matmul->options.max_k);
  if (call->layout->bytes(call->dtype, call->n, call->k) == UINT64_MAX)
    return fg_fail(err, FG_INTERNAL, "weights [%u, %u] of type %s cannot be multiplied", call->n, call->k,
                   fg_dtype_get(call->dtype)->name);
  if (call->n == 0) return FG_OK;
  job j = {.m = matmul, .call = call, .k = fg_tile_k(call->k)};
  j.tiles = (call->n - 1) / FG_TILE_ROWS + 1;
  for (; j.row < call->rows; j.row += j.rows) {
    j.rows = call->rows - j.row < matmul->chunk ? call->rows - j.row : matmul->chunk;
    fg_status status = cut_rows(&j, err);
    if (status) return status;
    run_items(&j, (j.rows - 1) / COPY_ROWS + 1, copy_rows);
    run_items(&j, j.tiles * j.parts, multiply_tile);
  }
  return FG_OK;
}

// ---- life ----------------------------------------------------------------------------------------------

static fg_status create_product(fg_matmul *m, fg_error *err) {
  if (!takes_onednn(&m->options)) return FG_OK;
  m->lump = ONEDNN_BYTES;
  fg_status status = fg_budget_reserve(m->options.budget, m->lump, "oneDNN", err);
  if (status) {
    m->lump = 0;
    return status;
  }
  uint32_t threads = thread_count(&m->options);
  m->bf16 = takes_bf16(&m->options);
  status = FG_UNSUPPORTED;
  if (m->bf16) status = fg_product_create(&m->product, FG_PRODUCT_BF16, threads, NULL);
  if (status == FG_UNSUPPORTED) {
    m->bf16 = false;
    status = fg_product_create(&m->product, FG_PRODUCT_F32, threads, NULL);
  }
  // Refused altogether (an instruction set switched off in its environment): the table's product serves.
  if (status == FG_UNSUPPORTED) return FG_OK;
  return status ? fg_fail(err, status, "oneDNN could not be started") : FG_OK;
}

fg_status fg_matmul_create(fg_matmul **out, const fg_matmul_options *options, fg_error *err) {
  fg_matmul *m = calloc(1, sizeof *m);
  if (!m) return fg_fail(err, FG_NO_SPACE, "no memory for the matrix products");
  m->options = *options;
  m->chunk = chunk_rows(options);
  m->thread_bytes = thread_scratch_bytes(options);
  fg_budget *budget = options->budget;
  fg_status status = fg_budget_alloc(budget, x_bytes(options), "activations of a product", &m->x, err);
  if (!status) {
    void *scratch;
    status =
        fg_budget_alloc(budget, thread_count(options) * m->thread_bytes, "expanded weights", &scratch, err);
    if (!status) m->scratch = scratch;
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
