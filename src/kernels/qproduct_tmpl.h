// qproduct_tmpl.h: products of quantised rows with blocks of the layout n64 (qproduct.h), over the integer
// vectors of the file that includes it:
//
//   ivec, fvec              Q_VEC 32-bit integers or float32
//   Q_SHAPES(X)             X(1, vectors) X(2, vectors) ...: how many vectors of columns are taken at once
//                           with that many rows, at most 16 sums
//   q_load, q_broadcast, q_zero, q_low, q_high (halves of each byte), q_flip (the top bit of each byte),
//   q_byte (byte i of each word), q_to_f32, f_set, f_add, f_mul, f_fma, f_load, f_store, f_load_f16
//   q_spread                4 activations from memory in all places
//   q_dot4, q_dot8          acc += sums of 4 products of codes and spread activations; codes of 4 bits, or
//                           of 8 bits that are unsigned if Q_UNSIGNED, else signed
//
// All rows pass over one activation group of the weights before the next: 64 columns of it stay in the
// first-level cache, 8 to 16 KiB of codes, while the next is asked for.
//
// Sums are variables of their own: gcc 12 keeps an array of them in memory when it unrolls late. Sums of
// floats, which are wanted at the end of a group only, are an array: what finds no register waits in memory.
#ifndef FG_KERNELS_QPRODUCT_TMPL_H
#define FG_KERNELS_QPRODUCT_TMPL_H

#include <string.h>

#include "kernels/kernels_internal.h"
#include "tensor/groups.h"

#define Q_INLINE static inline __attribute__((always_inline))

enum {
  Q_UNIT = 4 * FG_TILE_ROWS,
  Q_HALF_UNIT = 2 * FG_TILE_ROWS,
};

// What varies by type, the size of groups aside.
typedef enum q_kind { Q_FOUR, Q_FOUR_MINIMUM, Q_EIGHT, Q_EIGHT_MINIMUM, Q_KINDS } q_kind;

Q_INLINE bool q_is_four(q_kind kind) {
  return kind == Q_FOUR || kind == Q_FOUR_MINIMUM;
}
Q_INLINE bool q_has_minimum(q_kind kind) {
  return kind == Q_FOUR_MINIMUM || kind == Q_EIGHT_MINIMUM;
}
Q_INLINE uint32_t q_head_bytes(q_kind kind) {
  return (q_has_minimum(kind) ? 2 : 1) * Q_HALF_UNIT;
}
Q_INLINE uint64_t q_group_bytes(q_kind kind, uint32_t group) {
  return q_head_bytes(kind) + (uint64_t)group / (q_is_four(kind) ? 8 : 4) * Q_UNIT;
}

// Codes of 8 bits in the form that q_dot8 takes.
Q_INLINE ivec q_load_eight(q_kind kind, const uint8_t *p) {
  return (kind == Q_EIGHT_MINIMUM) == Q_UNSIGNED ? q_load(p) : q_flip(q_load(p));
}
// What that form's distance from the code adds to a sum, taken off beforehand.
Q_INLINE int32_t q_start(q_kind kind, const int32_t *start, const float *sum) {
  if (kind == Q_FOUR || (kind == Q_EIGHT && Q_UNSIGNED)) return *start;
  return kind == Q_EIGHT_MINIMUM && !Q_UNSIGNED ? 128 * (int32_t)*sum : 0;
}

// One activation group of some rows and a block's groups of the same columns.
typedef struct q_part {
  const int8_t *x;       // [rows, 256]
  const int32_t *starts; // [groups, stride], of which the first are meant; so are sums
  const float *sums;
  const float *scales;    // [rows]
  uint32_t stride;        // rows of the whole
  uint32_t groups, words; // groups, and words of codes in a group
  const uint8_t *weights; // of the first of the columns; of a group's head:
  const uint8_t *next, *end;
  float *out; // [rows, 64]
} q_part;

// A cell is a sum: row i / v, vector i % v of R rows and v vectors.
#define Q_CELLS(X)   X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define Q_PICK(i, w) ((i) % v == 0 ? w##0 : (i) % v == 1 ? w##1 : (i) % v == 2 ? w##2 : w##3)
#define Q_START(i)                                                                                           \
  ivec a##i = (i) >= rows * v ? q_zero() : q_broadcast(q_start(kind, starts + ((i) / v), sums + ((i) / v)));
// A row's activations are spread once for all of its vectors.
#define Q_DOT4(i)                                                                                            \
  if ((i) < rows * v) {                                                                                      \
    if ((i) % v == 0) b = q_spread(y + ((i) / v) * FG_Q_GROUP);                                              \
    a##i = q_dot4(a##i, Q_PICK(i, w), b);                                                                    \
  }
#define Q_DOT8(i)                                                                                            \
  if ((i) < rows * v) {                                                                                      \
    if ((i) % v == 0) b = q_spread(y + ((i) / v) * FG_Q_GROUP);                                              \
    a##i = q_dot8(a##i, Q_PICK(i, w), b);                                                                    \
  }
#define Q_SCALE(i)                                                                                           \
  if ((i) < rows * v) {                                                                                      \
    fvec f = f_fma(q_to_f32(a##i), Q_PICK(i, d), g ? f_load(s + (i)*Q_VEC) : f_set(0));                      \
    if (q_has_minimum(kind)) f = f_fma(Q_PICK(i, m), f_set(sums[(i) / v]), f);                               \
    f_store(s + (i)*Q_VEC, f);                                                                               \
  }
#define Q_FINISH(i)                                                                                          \
  if ((i) < rows * v) {                                                                                      \
    float *p = out + ((i) / v) * FG_TILE_ROWS + ((i) % v) * Q_VEC;                                           \
    f_store(p, f_fma(f_load(s + (i)*Q_VEC), f_set(scales[(i) / v]), f_load(p)));                             \
  }

// Loads of v vectors of a unit; what is beyond v is never used.
#define Q_EACH(name, load, at, size)                                                                         \
  name##0 = load((at));                                                                                      \
  if (v > 1) name##1 = load((at) + (size)*Q_VEC);                                                            \
  if (v > 2) name##2 = load((at) + 2 * (size)*Q_VEC);                                                        \
  if (v > 3) name##3 = load((at) + 3 * (size)*Q_VEC);

Q_INLINE ivec q_load_low(const uint8_t *p) {
  return q_low(q_load(p));
}
Q_INLINE ivec q_load_high(const uint8_t *p) {
  return q_high(q_load(p));
}
#define q_load_word(p) q_load_eight(kind, p)

// Asks for the next bytes that other rows, or these, will read from memory: 128 bytes for 16 dot products.
#define Q_ASK                                                                                                \
  if (next < end) {                                                                                          \
    for (uint32_t line = 0; line < (q_is_four(kind) ? 256 : 128); line += 64)                                \
      __builtin_prefetch(next + line, 0, 2);                                                                 \
    next += q_is_four(kind) ? 256 : 128;                                                                     \
  }

// out[r, v vectors] += the products of a part and v vectors of output rows from `column`.
Q_INLINE void q_dense(const q_kind kind, const int rows, const int v, const q_part *part, uint32_t column) {
  const int8_t *x = part->x;
  const int32_t *starts = part->starts;
  const float *sums = part->sums, *const scales = part->scales;
  const uint8_t *weights = part->weights;
  float *out = part->out + column;
  const uint8_t *next = part->next, *const end = part->end;
  float s[16 * Q_VEC] __attribute__((aligned(64)));
  const uint32_t words = part->words;
  uint32_t g = 0;
  do {
    const uint8_t *head = weights + column * 2, *codes = weights + q_head_bytes(kind) + column * 4;
    Q_ASK
    Q_CELLS(Q_START)
    ivec w0, w1, w2, w3, b;
    uint32_t i = 0;
    do {
      Q_ASK
      if (q_is_four(kind)) {
        const int8_t *y = x + i / 4 * FG_GROUP_RUN + i % 4 * 4;
        Q_EACH(w, q_load_low, codes, 4)
        Q_CELLS(Q_DOT4)
        y += FG_GROUP_RUN / 2;
        Q_EACH(w, q_load_high, codes, 4)
        Q_CELLS(Q_DOT4)
      } else {
        const int8_t *y = x + 4 * i;
        Q_EACH(w, q_load_word, codes, 4)
        Q_CELLS(Q_DOT8)
      }
      codes += Q_UNIT;
    } while (++i < words);
    x += words * (q_is_four(kind) ? 8 : 4);
    fvec d0, d1, d2, d3, m0, m1, m2, m3;
    d1 = d2 = d3 = m0 = m1 = m2 = m3 = f_set(0);
    Q_EACH(d, f_load_f16, head, 2)
    if (q_has_minimum(kind)) {
      Q_EACH(m, f_load_f16, head + Q_HALF_UNIT, 2)
    }
    Q_CELLS(Q_SCALE)
    weights += q_head_bytes(kind) + (uint64_t)words * Q_UNIT;
    starts += part->stride, sums += part->stride;
  } while (++g < part->groups);
  Q_CELLS(Q_FINISH)
}

// An instruction set may have its own way; it comes behind this file.
#if defined(Q_DENSE)
Q_INLINE void Q_DENSE(const q_kind kind, const int rows, const int v, const q_part *part, uint32_t column);
#else
#define Q_DENSE q_dense
#endif

typedef void q_dense_fn(const q_part *part, uint32_t column);

#define Q_FUNCTION(r, v)                                                                                     \
  static __attribute__((noinline)) void q_four_##r(const q_part *part, uint32_t column) {                    \
    Q_DENSE(Q_FOUR, r, v, part, column);                                                                     \
  }                                                                                                          \
  static __attribute__((noinline)) void q_four_minimum_##r(const q_part *part, uint32_t column) {            \
    Q_DENSE(Q_FOUR_MINIMUM, r, v, part, column);                                                             \
  }                                                                                                          \
  static __attribute__((noinline)) void q_eight_##r(const q_part *part, uint32_t column) {                   \
    Q_DENSE(Q_EIGHT, r, v, part, column);                                                                    \
  }                                                                                                          \
  static __attribute__((noinline)) void q_eight_minimum_##r(const q_part *part, uint32_t column) {           \
    Q_DENSE(Q_EIGHT_MINIMUM, r, v, part, column);                                                            \
  }
Q_SHAPES(Q_FUNCTION)

typedef struct q_shape {
  uint32_t vectors;
  q_dense_fn *of[Q_KINDS];
} q_shape;

#define Q_ROW(r, v) {v, {q_four_##r, q_four_minimum_##r, q_eight_##r, q_eight_minimum_##r}},
static const q_shape q_shapes[] = {Q_SHAPES(Q_ROW)}; // by rows, from 1
enum { Q_MOST = sizeof q_shapes / sizeof *q_shapes };
_Static_assert(Q_MOST <= 4, "the rows of which q_has_outliers speaks");

// Rows from which on weights are asked for ahead. Codes of 4 bits always: without it a Zen 5 reads 0.55 to
// 0.85 of what its memory gives. Fewer than 5 rows with codes of 8 bits follow one stream that the CPU
// foresees.
Q_INLINE uint32_t q_asking_rows(q_kind kind) {
  return q_is_four(kind) ? 1 : 5;
}

// w [64], one column of an activation group's weights, each rounded as its format says.
Q_INLINE void q_column(const q_kind kind, uint32_t group, const uint8_t *weights, uint32_t column, float *w) {
  const uint32_t run = column % group / FG_GROUP_RUN, place = column % FG_GROUP_RUN;
  const uint32_t byte = q_is_four(kind) ? place % (FG_GROUP_RUN / 2) : place;
  const uint8_t *head = weights + column / group * q_group_bytes(kind, group);
  const uint8_t *word =
      head + q_head_bytes(kind) + (run * FG_GROUP_RUN / (q_is_four(kind) ? 8 : 4) + byte / 4) * Q_UNIT;
  for (uint32_t i = 0; i < FG_TILE_ROWS; i += Q_VEC) {
    ivec codes = q_load(word + 4 * i);
    if (q_is_four(kind)) codes = byte == place ? q_low(codes) : q_high(codes);
    if (kind == Q_EIGHT) codes = q_flip(codes);
    codes = q_byte(codes, byte % 4);
    if (!q_has_minimum(kind)) codes = q_add(codes, q_broadcast(kind == Q_FOUR ? -8 : -128));
    fvec value = f_mul(f_load_f16(head + 2 * i), q_to_f32(codes));
    if (q_has_minimum(kind)) value = f_add(value, f_load_f16(head + Q_HALF_UNIT + 2 * i));
    f_store(w + i, value);
  }
}

// Columns of an activation group's weights as floats: outliers of many rows are in the same few.
enum { Q_KEPT = 16 };
typedef struct q_columns {
  uint32_t column[Q_KEPT]; // kept where column % Q_KEPT says; FG_Q_GROUP: none yet
  float w[Q_KEPT][FG_TILE_ROWS];
} q_columns;

// out [64] += the products of row `row`'s outliers in activation group `a`.
Q_INLINE void q_outliers(const q_kind kind, const fg_q_rows *x, uint64_t row, uint32_t a,
                         const uint8_t *weights, q_columns *kept, float *out) {
  const uint64_t at = (uint64_t)a * x->rows + row;
  const fg_q_outlier *o = x->outliers + at * FG_Q_OUTLIERS;
  for (uint32_t n = x->outlier_count[at]; n; n--, o++) {
    uint32_t slot = o->column % Q_KEPT;
    float *w = kept->w[slot];
    if (kept->column[slot] != o->column) q_column(kind, x->group, weights, o->column, w);
    kept->column[slot] = o->column;
    for (uint32_t i = 0; i < FG_TILE_ROWS; i += Q_VEC)
      f_store(out + i, f_fma(f_set(o->value), f_load(w + i), f_load(out + i)));
  }
}

// Whether one of four rows may have outliers in activation group `a`: most have none.
Q_INLINE bool q_has_outliers(const fg_q_rows *x, uint64_t row, uint32_t a) {
  uint32_t four;
  memcpy(&four, x->outlier_count + (uint64_t)a * x->rows + row, sizeof four);
  return four;
}

// out[r, 64] += the products of activation group `a`; part: all but the rows' own.
Q_INLINE void q_group_product(const q_kind kind, const fg_q_rows *x, uint32_t first, uint32_t rows,
                              uint32_t a, q_part *part) {
  const uint32_t blocks = (rows - 1) / Q_MOST + 1; // of as many rows as fit, evenly
  const uint64_t bytes = part->groups * q_group_bytes(kind, x->group);
  const uint64_t share = rows < q_asking_rows(kind) ? 0 : ((bytes + 255) / 256 + blocks - 1) / blocks * 256;
  const uint8_t *next = part->weights + bytes;
  float *out = part->out;
  q_columns kept;
  for (uint32_t i = 0; i < Q_KEPT; i++) kept.column[i] = FG_Q_GROUP;
  for (uint32_t block = 0, row = first; block < blocks; block++, next += share) {
    const uint32_t count = rows / blocks + (block < rows % blocks);
    const uint64_t groups = (uint64_t)a * (FG_Q_GROUP / x->group) * x->rows;
    const q_shape *shape = &q_shapes[count - 1];
    part->x = x->codes + ((uint64_t)a * x->rows + row) * FG_Q_GROUP;
    part->starts = x->starts + groups + row;
    part->sums = x->sums + groups + row;
    part->scales = x->scales + (uint64_t)a * x->rows + row;
    part->next = next, part->end = next + share;
    for (uint32_t c = 0; c < FG_TILE_ROWS; c += shape->vectors * Q_VEC) shape->of[kind](part, c);
    const uint32_t end = row + count;
    if (q_has_outliers(x, row, a)) {
      for (; row < end; row++, part->out += FG_TILE_ROWS)
        q_outliers(kind, x, row, a, part->weights, &kept, part->out);
    }
    part->out += (uint64_t)(end - row) * FG_TILE_ROWS;
    row = end;
  }
  part->out = out;
  part->weights += bytes;
}

Q_INLINE void q_product(const q_kind kind, const fg_q_rows *x, uint32_t first, uint32_t rows,
                        const uint8_t *block, float *out) {
  q_part part = {
      .stride = x->rows, .words = x->group / (q_is_four(kind) ? 8 : 4), .weights = block, .out = out};
  memset(out, 0, (size_t)rows * FG_TILE_ROWS * sizeof *out);
  for (uint32_t a = 0; rows && a < fg_q_groups(x->k); a++) {
    const uint32_t left = x->k - a * FG_Q_GROUP;
    part.groups = (left < FG_Q_GROUP ? left : FG_Q_GROUP) / x->group;
    q_group_product(kind, x, first, rows, a, &part);
  }
}

#define Q_PRODUCT(name, kind)                                                                                \
  static void name(const fg_q_rows *x, uint32_t first, uint32_t rows, fg_dtype dtype, const void *block,     \
                   uint32_t columns, float *out) {                                                           \
    (void)dtype, (void)columns;                                                                              \
    q_product(kind, x, first, rows, block, out);                                                             \
  }
Q_PRODUCT(q_product_four, Q_FOUR)
Q_PRODUCT(q_product_four_minimum, Q_FOUR_MINIMUM)
Q_PRODUCT(q_product_eight, Q_EIGHT)
Q_PRODUCT(q_product_eight_minimum, Q_EIGHT_MINIMUM)

static fg_q_product_fn *const q_products[Q_KINDS] = {q_product_four, q_product_four_minimum, q_product_eight,
                                                     q_product_eight_minimum};

static void q_fill(fg_kernels *k, fg_q_product_fn *const products[Q_KINDS]) {
  for (fg_dtype dtype = 0; dtype < FG_DTYPE_COUNT; dtype++) {
    const fg_dtype_info *type = fg_dtype_get(dtype);
    const q_kind kind = (type->bits == 8 ? Q_EIGHT : Q_FOUR) + type->minimum;
    if (type->bits) k->q_product[FG_LAYOUT_N64][dtype] = products[kind];
  }
}

#endif
