// Quantised products by tiles (amx.h), for more than a few rows. Compiled for AMX int8 (src/CMakeLists.txt).
//
// One activation group at a time, as everywhere: 16 rows of its activations stay in four tiles while 4 times
// 16 columns of weights pass. A weight group's sums of products leave as a tile of integers; what comes then,
// the chain of floats of qproduct.h, takes 16 rows of them from the first-level cache. Codes of 4 bits
// become bytes once for all rows.
#if defined(__AMX_INT8__) && defined(__AVX512VNNI__)

#include "kernels/amx.h"
#include "kernels/qproduct_vec512.h"

#include "kernels/qproduct_tmpl.h"

enum {
  LEAST_ROWS = 5,                           // fewer: the dot products are as fast (docs/performance.md)
  CHUNK = FG_AMX_ROW_BYTES,                 // values along k of a tile; of groups of 32, as many
  MOST_GROUPS = FG_Q_GROUP / FG_GROUP_RUN,  // of weights in one of activations
  CELL = FG_AMX_ROWS * FG_AMX_COLUMNS,      // sums of a tile
};

// One activation group of the weights and the rows.
typedef struct a_part {
  const fg_q_rows *x;
  uint32_t a;                          // the group's number
  uint32_t groups;                     // of weights in it
  const uint8_t *heads, *codes;        // of the first group; codes are bytes
  uint64_t head_step, code_step;       // to the next group's
  const uint8_t *next;                 // what will be read after it
  uint64_t next_bytes;
  float *out;                          // of row `row`: [rows, 64]
  uint32_t row, rows;                  // those at hand, at most 16
  uint32_t tile_rows;                  // of a tile, rows or more: it then begins before `row`
} a_part;

// sums [groups, tile rows, 16] = the products of the rows and the columns from `column`.
#define A_CHUNK(i, a, b, c)                                                                                  \
  if ((i) < part->groups * group / width) {                                                                  \
    const uint32_t g = (i)*width / group, within = (i)*width % group;                                        \
    if (group < CHUNK || load) FG_AMX_LOAD(a, x + (i)*width, FG_Q_GROUP);                                    \
    FG_AMX_LOAD(b, codes + g * part->code_step + within * FG_TILE_ROWS, FG_AMX_B_STRIDE);                    \
    if (within == 0) FG_AMX_ZERO(c);                                                                         \
    if (minimum)                                                                                             \
      FG_AMX_DOT_UNSIGNED(c, a, b);                                                                          \
    else                                                                                                     \
      FG_AMX_DOT_INT8(c, a, b);                                                                              \
    if (within + width == group) FG_AMX_STORE(c, sums + g * CELL, sizeof *sums *FG_AMX_COLUMNS);             \
  }
Q_INLINE void a_sums(const bool minimum, const uint32_t group, const a_part *part, uint32_t column,
                     const bool load, int32_t *sums) {
  const uint32_t width = group < CHUNK ? group : CHUNK;
  const uint64_t first = (uint64_t)part->a * part->x->rows + part->row + part->rows - part->tile_rows;
  const int8_t *x = part->x->codes + first * FG_Q_GROUP;
  const uint8_t *codes = part->codes + 4 * column;
  if (group <= CHUNK) {
    A_CHUNK(0, 0, 4, 6) A_CHUNK(1, 1, 5, 7) A_CHUNK(2, 2, 4, 6) A_CHUNK(3, 3, 5, 7)
    A_CHUNK(4, 0, 4, 6) A_CHUNK(5, 1, 5, 7) A_CHUNK(6, 2, 4, 6) A_CHUNK(7, 3, 5, 7)
  } else {
    A_CHUNK(0, 0, 4, 6) A_CHUNK(1, 1, 5, 6) A_CHUNK(2, 2, 4, 6) A_CHUNK(3, 3, 5, 6)
  }
}

// out [rows, 16] += the chain of floats over the groups of `sums`.
Q_INLINE void a_finish(const bool minimum, const uint32_t groups, const a_part *part, uint32_t column,
                       const int32_t *sums) {
  const fg_q_rows *x = part->x;
  const uint64_t at = (uint64_t)part->a * x->rows + part->row;
  const float *minima = x->sums + (uint64_t)part->a * (FG_Q_GROUP / x->group) * x->rows + part->row;
  const float *scales = x->scales + at;
  float *out = part->out + column;
  fvec d[MOST_GROUPS], m[MOST_GROUPS];
  for (uint32_t g = 0; g < groups; g++) {
    const uint8_t *head = part->heads + g * part->head_step + 2 * column;
    d[g] = f_load_f16(head);
    m[g] = minimum ? f_load_f16(head + Q_HALF_UNIT) : f_set(0);
  }
  sums += (part->tile_rows - part->rows) * FG_AMX_COLUMNS;
  for (uint32_t r = 0; r < part->rows; r++, sums += FG_AMX_COLUMNS, out += FG_TILE_ROWS) {
    fvec s = f_set(0);
    for (uint32_t g = 0; g < groups; g++) {
      s = f_fma(q_to_f32(q_load(sums + g * CELL)), d[g], s);
      if (minimum) s = f_fma(m[g], f_set(minima[g * x->rows + r]), s);
    }
    f_store(out, f_fma(s, f_set(scales[r]), f_load(out)));
  }
}

Q_INLINE void a_rows(const bool minimum, const uint32_t group, const a_part *part) {
  int32_t sums[MOST_GROUPS * CELL] __attribute__((aligned(64)));
  for (uint32_t column = 0; column < FG_TILE_ROWS; column += FG_AMX_COLUMNS) {
    a_sums(minimum, group, part, column, column == 0, sums);
    if (part->groups == FG_Q_GROUP / group)
      a_finish(minimum, FG_Q_GROUP / group, part, column, sums);
    else
      a_finish(minimum, part->groups, part, column, sums);
  }
}

typedef void a_rows_fn(const a_part *part);

#define A_ROWS(group)                                                                                        \
  static __attribute__((noinline)) void a_rows_##group(const a_part *part) {                                 \
    a_rows(false, group, part);                                                                              \
  }                                                                                                          \
  static __attribute__((noinline)) void a_rows_##group##_minimum(const a_part *part) {                       \
    a_rows(true, group, part);                                                                               \
  }
A_ROWS(32)
A_ROWS(64)
A_ROWS(128)
A_ROWS(256)

static const struct {
  uint32_t group;
  a_rows_fn *of[2]; // with a minimum: 1
} a_groups[] = {{32, {a_rows_32, a_rows_32_minimum}},
                {64, {a_rows_64, a_rows_64_minimum}},
                {128, {a_rows_128, a_rows_128_minimum}},
                {256, {a_rows_256, a_rows_256_minimum}}};

static a_rows_fn *a_rows_of(uint32_t group, bool minimum) {
  uint32_t i = 0;
  while (a_groups[i].group != group) i++;
  return a_groups[i].of[minimum];
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

// All rows over one activation group, in blocks of at most 16, evenly.
Q_INLINE void a_group(const q_kind kind, a_rows_fn *fn, a_part *part, uint32_t first, uint32_t rows) {
  const uint32_t blocks = (rows - 1) / FG_AMX_ROWS + 1;
  float *const out = part->out;
  q_columns kept;
  for (uint32_t i = 0; i < Q_KEPT; i++) kept.column[i] = FG_Q_GROUP;
  part->row = first;
  for (uint32_t block = 0; block < blocks; block++) {
    part->rows = rows / blocks + (block < rows % blocks);
    fn(part);
    for (uint32_t r = 0; r < part->rows; r++)
      q_outliers(kind, part->x, part->row + r, part->a, part->heads, &kept, part->out + r * FG_TILE_ROWS);
    part->row += part->rows;
    part->out += (uint64_t)part->rows * FG_TILE_ROWS;
  }
  part->out = out;
}

Q_INLINE void a_product(const q_kind kind, const fg_q_rows *x, uint32_t first, uint32_t rows,
                        const uint8_t *block, float *out) {
  uint8_t bytes[FG_Q_GROUP * FG_TILE_ROWS] __attribute__((aligned(64)));
  const uint64_t step = q_group_bytes(kind, x->group);
  a_rows_fn *const fn = a_rows_of(x->group, q_has_minimum(kind));
  a_part part = {.x = x, .head_step = step, .heads = block, .out = out};
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
    a_group(kind, fn, &part, first, rows);
  }
  fg_amx_end();
}

#define A_PRODUCT(name, kind)                                                                                \
  static void a_##name(const fg_q_rows *x, uint32_t first, uint32_t rows, fg_dtype dtype, const void *block, \
                       uint32_t columns, float *out) {                                                       \
    if (rows < LEAST_ROWS)                                                                                   \
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
