// Products of bfloat16 rows and tiles by AMX (kernels.h: product_bf16). Compiled for it (src/CMakeLists.txt).
//
// A sum is one chain over k in pieces of 32, however many rows there are: an instruction adds the products of
// even and of odd places each in a chain from zero, their sum to what was there before; denormals count as
// zeros, as operands and as results.
//
// At most 16 rows take all 64 columns, so that weights are read from memory in one run. More rows are taken
// in pairs of tiles over a step of the tile along k, which stays in the first-level cache: each of two tiles
// of rows meets each of two of columns. Between steps the sums wait in `out`.
#if defined(__AMX_BF16__)

#include "kernels/amx.h"
#include "kernels/kernels_internal.h"

enum {
  PIECE = FG_AMX_ROW_BYTES / 2,              // of k, that an instruction takes
  PIECE_BYTES = PIECE / 2 * FG_AMX_B_STRIDE, // of the tile
  STEP = 8,                                  // pieces in a step: 32 KiB of the tile
  PAIR = 2 * FG_AMX_ROWS,
  OUT_STRIDE = FG_TILE_ROWS * sizeof(float),
  LINE = 64,
  AHEAD = 2 * PIECE_BYTES, // few rows ask for what lies so far ahead
};
_Static_assert((int)PIECE == FG_TILE_K, "k is padded to whole pieces");

// ---- at most 16 rows -----------------------------------------------------------------------------------

static void ask(const uint8_t *from, uint64_t bytes) {
  for (uint64_t i = 0; i < bytes; i += LINE) __builtin_prefetch(from + i, 0, 2);
}

static void few_rows(const uint16_t *x, uint32_t rows, uint32_t k, const uint8_t *tile, float *out) {
  fg_amx_shapes shapes = {0};
  for (uint32_t t = 0; t < 5; t++) fg_amx_shape(&shapes, t, rows, FG_AMX_ROW_BYTES);
  for (uint32_t t = 5; t < 8; t++) fg_amx_shape(&shapes, t, FG_AMX_ROWS, FG_AMX_ROW_BYTES);
  const uint64_t stride = (uint64_t)k * sizeof *x;
  const uint8_t *const end = tile + (uint64_t)k / PIECE * PIECE_BYTES;
  fg_amx_begin(&shapes);
  for (; tile < end; tile += PIECE_BYTES, x += PIECE) {
    if (end - tile > AHEAD) ask(tile + AHEAD, PIECE_BYTES);
    FG_AMX_LOAD(4, x, stride);
    FG_AMX_LOAD(5, tile, FG_AMX_B_STRIDE);
    FG_AMX_DOT_BF16(0, 4, 5);
    FG_AMX_LOAD(6, tile + LINE, FG_AMX_B_STRIDE);
    FG_AMX_DOT_BF16(1, 4, 6);
    FG_AMX_LOAD(7, tile + 2 * LINE, FG_AMX_B_STRIDE);
    FG_AMX_DOT_BF16(2, 4, 7);
    FG_AMX_LOAD(5, tile + 3 * LINE, FG_AMX_B_STRIDE);
    FG_AMX_DOT_BF16(3, 4, 5);
  }
  FG_AMX_STORE(0, out, OUT_STRIDE);
  FG_AMX_STORE(1, out + FG_AMX_COLUMNS, OUT_STRIDE);
  FG_AMX_STORE(2, out + 2 * FG_AMX_COLUMNS, OUT_STRIDE);
  FG_AMX_STORE(3, out + 3 * FG_AMX_COLUMNS, OUT_STRIDE);
  fg_amx_end();
}

// ---- more rows -----------------------------------------------------------------------------------------

// A step of the tile and the rows that pass over it.
typedef struct pass {
  const uint16_t *x; // [rows, 32 * pieces], rows `stride` bytes apart
  uint64_t stride;
  const uint8_t *tile; // [16 * pieces, 64, 2]
  uint32_t pieces;
  bool first;     // the sums begin here
  uint32_t upper; // of the rows, those in the first of two tiles
  float *out;     // [rows, 64]
} pass;

static void shape_pair(uint32_t rows, uint32_t upper) {
  fg_amx_shapes s = {0};
  for (uint32_t t = 0; t < 2; t++) {
    fg_amx_shape(&s, t, upper, FG_AMX_ROW_BYTES);
    fg_amx_shape(&s, 2 + t, rows - upper, FG_AMX_ROW_BYTES);
    fg_amx_shape(&s, 6 + t, FG_AMX_ROWS, FG_AMX_ROW_BYTES);
  }
  fg_amx_shape(&s, 4, upper, FG_AMX_ROW_BYTES);
  fg_amx_shape(&s, 5, rows - upper, FG_AMX_ROW_BYTES);
  fg_amx_begin(&s);
}

// out [rows, 32 columns from `column`]
static void pass_columns(const pass *p, uint32_t column) {
  float *upper = p->out + column, *lower = upper + (uint64_t)p->upper * FG_TILE_ROWS;
  const uint16_t *x = p->x, *y = x + p->upper * (p->stride / sizeof *x);
  const uint8_t *tile = p->tile + 4 * column, *const end = tile + (uint64_t)p->pieces * PIECE_BYTES;
  if (p->first) {
    FG_AMX_ZERO(0);
    FG_AMX_ZERO(1);
    FG_AMX_ZERO(2);
    FG_AMX_ZERO(3);
  } else {
    FG_AMX_LOAD(0, upper, OUT_STRIDE);
    FG_AMX_LOAD(1, upper + FG_AMX_COLUMNS, OUT_STRIDE);
    FG_AMX_LOAD(2, lower, OUT_STRIDE);
    FG_AMX_LOAD(3, lower + FG_AMX_COLUMNS, OUT_STRIDE);
  }
  for (; tile < end; tile += PIECE_BYTES, x += PIECE, y += PIECE) {
    FG_AMX_LOAD(6, tile, FG_AMX_B_STRIDE);
    FG_AMX_LOAD(4, x, p->stride);
    FG_AMX_DOT_BF16(0, 4, 6);
    FG_AMX_LOAD(7, tile + LINE, FG_AMX_B_STRIDE);
    FG_AMX_DOT_BF16(1, 4, 7);
    FG_AMX_LOAD(5, y, p->stride);
    FG_AMX_DOT_BF16(2, 5, 6);
    FG_AMX_DOT_BF16(3, 5, 7);
  }
  FG_AMX_STORE(0, upper, OUT_STRIDE);
  FG_AMX_STORE(1, upper + FG_AMX_COLUMNS, OUT_STRIDE);
  FG_AMX_STORE(2, lower, OUT_STRIDE);
  FG_AMX_STORE(3, lower + FG_AMX_COLUMNS, OUT_STRIDE);
}

// All rows over one step, in pairs of tiles, evenly; each asks for its share of `next`, the step after it.
static void step(pass p, uint32_t rows, const uint8_t *next) {
  const uint32_t pairs = (rows - 1) / PAIR + 1;
  const uint64_t bytes = next ? (uint64_t)p.pieces * PIECE_BYTES : 0;
  for (uint32_t pair = 0, shaped = 0; pair < pairs; pair++) {
    const uint32_t count = rows / pairs + (pair < rows % pairs);
    p.upper = (count + 1) / 2;
    if (count != shaped) shape_pair(count, p.upper);
    shaped = count;
    const uint64_t begin = bytes * pair / pairs / LINE * LINE;
    if (next) ask(next + begin, bytes * (pair + 1) / pairs / LINE * LINE - begin);
    pass_columns(&p, 0);
    pass_columns(&p, FG_TILE_ROWS / 2);
    p.x += count * (p.stride / sizeof *p.x);
    p.out += count * FG_TILE_ROWS;
  }
}

static void many_rows(const uint16_t *x, uint32_t rows, uint32_t k, const uint8_t *tile, const uint8_t *next,
                      float *out) {
  pass p = {.x = x, .stride = (uint64_t)k * sizeof *x, .tile = tile, .first = true, .out = out};
  for (uint32_t left = k / PIECE; left; left -= p.pieces, p.first = false) {
    p.pieces = left < STEP ? left : STEP;
    const uint8_t *after = p.tile + (uint64_t)p.pieces * PIECE_BYTES;
    step(p, rows, p.pieces < left ? after : next);
    p.x += p.pieces * PIECE;
    p.tile = after;
  }
  fg_amx_end();
}

static void product_bf16(const uint16_t *x, uint32_t rows, uint32_t k, const void *tile, const void *next,
                         float *out) {
  if (rows > FG_AMX_ROWS)
    many_rows(x, rows, k, tile, next, out);
  else if (rows)
    few_rows(x, rows, k, tile, out);
}

void fg_product_amx(fg_kernels *k) {
  k->name = "amx";
  k->product_bf16 = product_bf16;
}

#else
typedef int fg_product_amx_is_not_of_this_cpu;
#endif
