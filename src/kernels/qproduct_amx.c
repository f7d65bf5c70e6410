// Quantised products by tiles (amx.h), for more than a few rows. Compiled for AMX int8 (src/CMakeLists.txt).
//
// One activation group at a time, as everywhere. A cell is at most 16 rows of it and 16 columns: for each
// group of weights a tile of exact sums. What comes then, the chain of floats of qproduct.h, takes about as
// long as the tiles, on other units of the CPU; so a step of a cell is one instruction on tiles, the store of
// the tile before, and a few rows of floats of the cell before. The rows' activations stay in tiles for all
// 64 columns; weights stay in the first-level cache for all rows. Codes of 4 bits become bytes once for all
// rows.
#if defined(__AMX_INT8__) && defined(__AVX512VNNI__)

#include "kernels/amx.h"
#include "kernels/qproduct_vec512.h"

#include "kernels/qproduct_tmpl.h"

enum {
  CHUNK = FG_AMX_ROW_BYTES,                // values along k of a tile; of groups of 32, as many
  MOST_GROUPS = FG_Q_GROUP / FG_GROUP_RUN, // of weights in one of activations
  QUARTERS = FG_TILE_ROWS / FG_AMX_COLUMNS,
  CELL = FG_AMX_ROWS * FG_AMX_COLUMNS, // sums of a tile
};

// One activation group of the weights, and what its cells share.
typedef struct a_part {
  const fg_q_rows *x;
  uint32_t a, groups;            // the group's number, and groups of weights in it
  const uint8_t *heads, *codes;  // of the first group, codes as bytes
  uint64_t head_step, code_step; // to the next group's
  uint32_t tile_rows;            // of a tile; a cell of fewer begins before its rows
  // The heads.
  float d[MOST_GROUPS][FG_TILE_ROWS] __attribute__((aligned(64)));
  float m[MOST_GROUPS][FG_TILE_ROWS] __attribute__((aligned(64)));
} a_part;

typedef struct a_cell {
  uint32_t rows, column; // rows 0: there is none
  uint32_t skipped;      // rows of its tiles before its own
  uint32_t stride;       // of minima
  const int8_t *x;       // [rows, 256], from the first row of the tile
  const float *minima;   // [groups, stride]: sums of the rows' codes
  const float *scales;   // [rows]
  int32_t *sums;         // [groups, 16, 16]
  float *out;            // [rows, 64], from `column`
} a_cell;

// out [rows, 16] of rows [r, r + count) += the chain of floats over a cell's sums.
Q_INLINE void a_floats(const bool minimum, const uint32_t groups, const a_part *part, const a_cell *cell,
                       uint32_t r, const uint32_t count) {
  const int32_t *sums = cell->sums + (cell->skipped + r) * FG_AMX_COLUMNS;
  const float *minima = cell->minima + r, *scales = cell->scales + r;
  float *out = cell->out + r * FG_TILE_ROWS;
  fvec d[MOST_GROUPS], m[MOST_GROUPS];
  for (uint32_t g = 0; g < groups; g++) {
    d[g] = f_load(part->d[g] + cell->column);
    if (minimum) m[g] = f_load(part->m[g] + cell->column);
  }
#pragma GCC unroll 4
  for (uint32_t i = 0; i < count; i++) {
    fvec s = f_set(0);
#pragma GCC unroll 8
    for (uint32_t g = 0; g < groups; g++) {
      s = f_fma(q_to_f32(q_load(sums + g * CELL + i * FG_AMX_COLUMNS)), d[g], s);
      if (minimum) s = f_fma(m[g], f_set(minima[g * cell->stride + i]), s);
    }
    f_store(out + i * FG_TILE_ROWS, f_fma(s, f_set(scales[i]), f_load(out + i * FG_TILE_ROWS)));
  }
}

// The same of what no whole step of rows and groups takes.
static __attribute__((noinline)) void a_other_floats(const bool minimum, const a_part *part,
                                                     const a_cell *cell, uint32_t r, uint32_t count) {
  for (const uint32_t end = r + count < cell->rows ? r + count : cell->rows; r < end; r++) {
    const int32_t *sums = cell->sums + (cell->skipped + r) * FG_AMX_COLUMNS;
    float *out = cell->out + r * FG_TILE_ROWS;
    fvec s = f_set(0);
    for (uint32_t g = 0; g < part->groups; g++) {
      s = f_fma(q_to_f32(q_load(sums + g * CELL)), f_load(part->d[g] + cell->column), s);
      if (minimum) s = f_fma(f_load(part->m[g] + cell->column), f_set(cell->minima[g * cell->stride + r]), s);
    }
    f_store(out, f_fma(s, f_set(cell->scales[r]), f_load(out)));
  }
}

// A step: the products of a piece of k with tile b, of the rows in tile a, go to c; where a group ends with
// the step before, its sums leave from `left`, which may be c.
#define A_LEAVE(i, left, to)                                                                                 \
  if ((to)->rows && (i) < steps && ((i) + 1) * width % group == 0)                                           \
    FG_AMX_STORE(left, (to)->sums + (i)*width / group * CELL, sizeof(int32_t) * FG_AMX_COLUMNS);
#define A_STEP(i, a, b, c, left, previous, from)                                                             \
  if (group > 2 * CHUNK) A_LEAVE(previous, left, from)                                                       \
  if (now->rows && (i) < steps) {                                                                            \
    if (group < CHUNK || now->column == 0) FG_AMX_LOAD(a, now->x + (i)*width, FG_Q_GROUP);                   \
    FG_AMX_LOAD(b, codes + (i)*width / group * part->code_step + (i)*width % group * FG_TILE_ROWS,           \
                FG_AMX_B_STRIDE);                                                                            \
    if ((i)*width % group == 0) FG_AMX_ZERO(c);                                                              \
    if (minimum)                                                                                             \
      FG_AMX_DOT_UNSIGNED(c, a, b);                                                                          \
    else                                                                                                     \
      FG_AMX_DOT_INT8(c, a, b);                                                                              \
  }                                                                                                          \
  if (group <= 2 * CHUNK) A_LEAVE(previous, left, from)                                                      \
  if (whole && ((i) + 1) * width / 16 <= before->rows)                                                       \
    a_floats(minimum, FG_Q_GROUP / group, part, before, (i)*width / 16, width / 16);                         \
  else                                                                                                       \
    a_other_floats(minimum, part, before, (i)*width / 16, width / 16);

Q_INLINE void a_steps(const bool minimum, const uint32_t group, const bool whole, const a_part *part,
                      const a_cell *now, const a_cell *before) {
  const uint32_t width = group < CHUNK ? group : CHUNK;
  const uint32_t steps = whole ? FG_Q_GROUP / width : part->groups * (group / width);
  const uint8_t *codes = part->codes + 4 * now->column;
  if (group < CHUNK) {
    A_STEP(0, 0, 4, 6, 7, 7, before)
    A_STEP(1, 1, 5, 7, 6, 0, now)
    A_STEP(2, 2, 4, 6, 7, 1, now)
    A_STEP(3, 3, 5, 7, 6, 2, now)
    A_STEP(4, 0, 4, 6, 7, 3, now)
    A_STEP(5, 1, 5, 7, 6, 4, now)
    A_STEP(6, 2, 4, 6, 7, 5, now)
    A_STEP(7, 3, 5, 7, 6, 6, now)
  } else if (group == CHUNK) {
    A_STEP(0, 0, 4, 6, 7, 3, before)
    A_STEP(1, 1, 5, 7, 6, 0, now)
    A_STEP(2, 2, 4, 6, 7, 1, now)
    A_STEP(3, 3, 5, 7, 6, 2, now)
  } else if (group == 2 * CHUNK) {
    A_STEP(0, 0, 4, 6, 7, 3, before)
    A_STEP(1, 1, 5, 6, 6, 0, now)
    A_STEP(2, 2, 4, 7, 6, 1, now)
    A_STEP(3, 3, 5, 7, 7, 2, now)
  } else {
    A_STEP(0, 0, 4, 6, 6, 3, before)
    A_STEP(1, 1, 5, 6, 6, 0, now)
    A_STEP(2, 2, 4, 6, 6, 1, now)
    A_STEP(3, 3, 5, 6, 6, 2, now)
  }
}

typedef void a_steps_fn(const a_part *part, const a_cell *now, const a_cell *before);

#define A_STEPS(name, minimum, group)                                                                        \
  static __attribute__((noinline)) void name(const a_part *part, const a_cell *now, const a_cell *before) {  \
    if (part->groups == FG_Q_GROUP / (group))                                                                \
      a_steps(minimum, group, true, part, now, before);                                                      \
    else                                                                                                     \
      a_steps(minimum, group, false, part, now, before);                                                     \
  }
A_STEPS(a_steps_32, false, 32)
A_STEPS(a_steps_64, false, 64)
A_STEPS(a_steps_128, false, 128)
A_STEPS(a_steps_256, false, 256)
A_STEPS(a_steps_32_minimum, true, 32)
A_STEPS(a_steps_64_minimum, true, 64)
A_STEPS(a_steps_128_minimum, true, 128)
A_STEPS(a_steps_256_minimum, true, 256)

// By the size of a group: of fewer rows the dot products are as fast (a Sapphire Rapids, weights from
// memory).
static const struct {
  uint32_t group;
  uint32_t least_rows[2]; // of codes of 8 bits, of 4
  a_steps_fn *of[2];      // with a minimum: 1
} a_forms[] = {{32, {14, 48}, {a_steps_32, a_steps_32_minimum}},
               {64, {10, 10}, {a_steps_64, a_steps_64_minimum}},
               {128, {10, 10}, {a_steps_128, a_steps_128_minimum}},
               {256, {10, 10}, {a_steps_256, a_steps_256_minimum}}};

static uint32_t a_form_of(uint32_t group) {
  uint32_t i = 0;
  while (a_forms[i].group != group) i++;
  return i;
}

// A group of 4 bits as bytes, a unit of 64 columns for each 4 values along k.
Q_INLINE void a_expand(bool minimum, const uint8_t *codes, uint32_t group, uint8_t *out) {
  const ivec zero_point = _mm512_set1_epi8(minimum ? 0 : 8);
  for (uint32_t i = 0; i < group / 8; i++) {
    uint8_t *low = out + (i / 4 * 8 + i % 4) * Q_UNIT, *high = low + 4 * Q_UNIT;
    for (uint32_t v = 0; v < Q_UNIT; v += 64, codes += 64) {
      ivec w = q_load(codes);
      _mm512_storeu_si512(low + v, _mm512_sub_epi8(q_low(w), zero_point));
      _mm512_storeu_si512(high + v, _mm512_sub_epi8(q_high(w), zero_point));
    }
  }
}

static fg_amx_shapes a_shapes(uint32_t rows, uint32_t group) {
  const uint32_t width = group < CHUNK ? group : CHUNK;
  fg_amx_shapes s = {0};
  for (uint32_t t = 0; t < 4; t++) fg_amx_shape(&s, t, rows, width);
  for (uint32_t t = 4; t < 6; t++) fg_amx_shape(&s, t, width / 4, FG_AMX_ROW_BYTES);
  for (uint32_t t = 6; t < 8; t++) fg_amx_shape(&s, t, rows, FG_AMX_ROW_BYTES);
  return s;
}

// The rows [row, row + count) of x and their places, as a cell of column 0.
static a_cell a_cell_of(const a_part *part, uint32_t row, uint32_t count, float *out) {
  const fg_q_rows *x = part->x;
  const uint64_t first = (uint64_t)part->a * x->rows + row, groups = FG_Q_GROUP / x->group;
  const uint32_t skipped = part->tile_rows - count;
  return (a_cell){.rows = count,
                  .skipped = skipped,
                  .stride = x->rows,
                  .x = x->codes + (first - skipped) * FG_Q_GROUP,
                  .minima = x->sums + part->a * groups * x->rows + row,
                  .scales = x->scales + first,
                  .out = out};
}

// The weights of the next activation group, or what lies behind the last, are asked for by the cells, each
// its share.
static void a_ask(const a_part *part, uint32_t cell, uint32_t cells) {
  const uint64_t bytes = part->groups * part->head_step;
  const uint8_t *next = part->heads + bytes, *end = next + bytes * (cell + 1) / cells;
  for (const uint8_t *line = next + bytes * cell / cells; line < end; line += 64)
    __builtin_prefetch(line, 0, 2);
}

// So are the rows' codes of the next cell of column 0, a quarter by each cell of this one: other threads have
// just made half of them.
static void a_ask_rows(const a_cell *now, uint32_t count) {
  const uint32_t bytes = count * FG_Q_GROUP / QUARTERS;
  const int8_t *next =
      now->x + (now->skipped + now->rows) * FG_Q_GROUP + now->column / FG_AMX_COLUMNS * bytes;
  for (uint32_t i = 0; i < bytes; i += 64) __builtin_prefetch(next + i, 0, 3);
}

// out [rows, 64] += the products of activation group `a`, in cells of at most 16 rows, evenly.
static void a_cells(const a_part *part, a_steps_fn *steps, uint32_t first, uint32_t rows, float *out) {
  int32_t sums[2][MOST_GROUPS * CELL] __attribute__((aligned(64))); // of two cells in turn
  const uint32_t blocks = (rows - 1) / FG_AMX_ROWS + 1;
  a_cell before = {0};
  for (uint32_t block = 0, row = first; block < blocks; block++) {
    const uint32_t count = rows / blocks + (block < rows % blocks);
    a_cell now = a_cell_of(part, row, count, out);
    for (; now.column < FG_TILE_ROWS; now.column += FG_AMX_COLUMNS, now.out += FG_AMX_COLUMNS) {
      now.sums = sums[now.column / FG_AMX_COLUMNS % 2];
      a_ask(part, block * QUARTERS + now.column / FG_AMX_COLUMNS, blocks * QUARTERS);
      a_ask_rows(&now, count);
      steps(part, &now, &before);
      before = now;
    }
    row += count;
    out += (uint64_t)count * FG_TILE_ROWS;
  }
  steps(part, &(a_cell){0}, &before);
}

static void a_heads(bool minimum, a_part *part) {
  const uint8_t *head = part->heads;
  for (uint32_t g = 0; g < part->groups; g++, head += part->head_step)
    for (uint32_t i = 0; i < FG_TILE_ROWS; i += Q_VEC) {
      f_store(part->d[g] + i, f_load_f16(head + 2 * i));
      if (minimum) f_store(part->m[g] + i, f_load_f16(head + Q_HALF_UNIT + 2 * i));
    }
}

// out [64] += value times one column of the group's weights, each of these rounded as its format says. Few
// rows have an outlier in the same column, so columns are not kept.
Q_INLINE void a_outlier(const bool minimum, const a_part *part, const fg_q_outlier *o, float *out) {
  const uint32_t group = part->x->group, g = o->column / group, place = o->column % group;
  const uint8_t *word = part->codes + g * part->code_step + (uint64_t)place / 4 * Q_UNIT;
  const __m128i highest = _mm_cvtsi32_si128((int)(24 - place % 4 * 8)); // the byte goes there, and down again
  const fvec value = f_set(o->value);
#pragma GCC unroll 4
  for (uint32_t i = 0; i < FG_TILE_ROWS; i += Q_VEC) {
    ivec code = _mm512_sll_epi32(q_load(word + 4 * i), highest);
    code = minimum ? _mm512_srli_epi32(code, 24) : _mm512_srai_epi32(code, 24);
    fvec w = f_mul(f_load(part->d[g] + i), q_to_f32(code));
    if (minimum) w = f_add(w, f_load(part->m[g] + i));
    f_store(out + i, f_fma(value, w, f_load(out + i)));
  }
}

// What a gated activation leaves has one in about every group of 256.
Q_INLINE void a_outliers(const bool minimum, const a_part *part, uint32_t first, uint32_t rows, float *out) {
  const uint64_t at = (uint64_t)part->a * part->x->rows + first;
  const uint8_t *counts = part->x->outlier_count + at;
  for (uint32_t r = 0; r < rows; r += 64) {
    const uint32_t left = rows - r;
    const ivec some = _mm512_maskz_loadu_epi8(left < 64 ? (1ull << left) - 1 : ~0ull, counts + r);
    for (uint64_t have = _mm512_test_epi8_mask(some, some); have; have &= have - 1) {
      const uint32_t row = r + (uint32_t)__builtin_ctzll(have);
      const fg_q_outlier *o = part->x->outliers + (at + row) * FG_Q_OUTLIERS;
      for (uint32_t n = counts[row]; n; n--, o++)
        a_outlier(minimum, part, o, out + (uint64_t)row * FG_TILE_ROWS);
    }
  }
}

Q_INLINE void a_product(const q_kind kind, const fg_q_rows *x, uint32_t first, uint32_t rows,
                        const uint8_t *block, float *out) {
  uint8_t bytes[FG_Q_GROUP * FG_TILE_ROWS] __attribute__((aligned(64)));
  const uint64_t step = q_group_bytes(kind, x->group);
  a_steps_fn *const steps = a_forms[a_form_of(x->group)].of[q_has_minimum(kind)];
  a_part part = {.x = x, .head_step = step, .heads = block};
  part.tile_rows = (rows - 1) / ((rows - 1) / FG_AMX_ROWS + 1) + 1;
  const fg_amx_shapes shapes = a_shapes(part.tile_rows, x->group);
  memset(out, 0, (size_t)rows * FG_TILE_ROWS * sizeof *out);
  fg_amx_begin(&shapes);
  for (; part.a < fg_q_groups(x->k); part.a++, part.heads += part.groups * step) {
    const uint32_t left = x->k - part.a * FG_Q_GROUP;
    part.groups = (left < FG_Q_GROUP ? left : FG_Q_GROUP) / x->group;
    part.codes = q_is_four(kind) ? bytes : part.heads + q_head_bytes(kind);
    part.code_step = q_is_four(kind) ? (uint64_t)x->group * FG_TILE_ROWS : step;
    for (uint32_t g = 0; q_is_four(kind) && g < part.groups; g++)
      a_expand(q_has_minimum(kind), part.heads + g * step + q_head_bytes(kind), x->group,
               bytes + g * part.code_step);
    a_heads(q_has_minimum(kind), &part);
    a_cells(&part, steps, first, rows, out);
    a_outliers(q_has_minimum(kind), &part, first, rows, out);
  }
  fg_amx_end();
}

#define A_PRODUCT(name, kind)                                                                                \
  static void a_##name(const fg_q_rows *x, uint32_t first, uint32_t rows, fg_dtype dtype, const void *block, \
                       uint32_t columns, float *out) {                                                       \
    if (rows < a_forms[a_form_of(x->group)].least_rows[q_is_four(kind)])                                     \
      name(x, first, rows, dtype, block, columns, out);                                                      \
    else                                                                                                     \
      a_product(kind, x, first, rows, block, out);                                                           \
  }
A_PRODUCT(q_product_four, Q_FOUR)
A_PRODUCT(q_product_four_minimum, Q_FOUR_MINIMUM)
A_PRODUCT(q_product_eight, Q_EIGHT)
A_PRODUCT(q_product_eight_minimum, Q_EIGHT_MINIMUM)

void fg_q_product_amx(fg_kernels *k) {
  k->name = "amx";
  q_fill(k, (fg_q_product_fn *const[Q_KINDS]){a_q_product_four, a_q_product_four_minimum, a_q_product_eight,
                                              a_q_product_eight_minimum});
}

#else
typedef int fg_amx_int8_is_not_of_this_cpu;
#endif
