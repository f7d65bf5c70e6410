// qproduct_tmpl.h: products of quantised rows with blocks of the layout n64 (qproduct.h), over the integer
// vectors of the file that includes it:
//
//   ivec, fvec              Q_VEC 32-bit integers or float32
//   Q_ROWS, Q_VECTORS(rows) rows taken at once, and vectors of columns for a number of rows: rows times
//                           vectors accumulators of each kind must fit the registers
//   q_load, q_broadcast, q_zero, q_low, q_high (halves of each byte), q_flip (the top bit of each byte),
//   q_byte (byte i of each word), q_to_f32, f_set, f_add, f_mul, f_fma, f_load, f_store, f_load_f16
//   q_dot4, q_dot8          acc += sums of 4 products of codes and activations; codes of 4 bits, or of 8
//   bits:
//                           unsigned if Q_UNSIGNED, else signed
//
// All rows pass over one activation group of the weights before the next: 64 columns of it stay in the
// first-level cache, 8 to 16 KiB of codes.
//
// Accumulators are variables of their own: gcc 12 keeps an array of them in memory when it unrolls late.
#ifndef FG_KERNELS_QPRODUCT_TMPL_H
#define FG_KERNELS_QPRODUCT_TMPL_H

#include "kernels/kernels_internal.h"
#include "kernels/quantise_tmpl.h"

#define Q_INLINE static inline __attribute__((always_inline))

enum { Q_UNIT = 4 * FG_TILE_ROWS, Q_HALF_UNIT = 2 * FG_TILE_ROWS };

// What varies by type, the size of groups aside.
typedef enum q_kind { Q_FOUR, Q_FOUR_MINIMUM, Q_EIGHT, Q_EIGHT_MINIMUM } q_kind;

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

Q_INLINE ivec q_activations(const int8_t *p) {
  int32_t word;
  memcpy(&word, p, sizeof word);
  return q_broadcast(word);
}

// A cell is an accumulator: row i / v, vector i % v of R rows and v vectors.
#define Q_CELLS(X)   X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define Q_PICK(i, w) ((i) % v == 0 ? w##0 : (i) % v == 1 ? w##1 : (i) % v == 2 ? w##2 : w##3)
#define Q_DECLARE(i)                                                                                         \
  ivec a##i = q_zero();                                                                                      \
  fvec s##i = f_set(0);
#define Q_START(i)                                                                                           \
  if (i < rows * v)                                                                                          \
    a##i = q_broadcast(q_start(kind, starts + (uint64_t)(i / v) * groups, sums + (uint64_t)(i / v) * groups));
#define Q_DOT4(i)                                                                                            \
  if (i < rows * v) a##i = q_dot4(a##i, Q_PICK(i, w), q_activations(x + (uint64_t)(i / v) * k));
#define Q_DOT8(i)                                                                                            \
  if (i < rows * v) a##i = q_dot8(a##i, Q_PICK(i, w), q_activations(x + (uint64_t)(i / v) * k));
#define Q_SCALE(i)                                                                                           \
  if (i < rows * v) s##i = f_fma(q_to_f32(a##i), Q_PICK(i, d), s##i);
#define Q_MINIMUM(i)                                                                                         \
  if (i < rows * v) s##i = f_fma(Q_PICK(i, d), f_set(sums[(uint64_t)(i / v) * groups]), s##i);
#define Q_FINISH(i)                                                                                          \
  if (i < rows * v) {                                                                                        \
    float *p = out + (i / v) * FG_TILE_ROWS + (i % v) * Q_VEC;                                               \
    f_store(p, f_fma(s##i, f_set(scales[(uint64_t)(i / v) * fg_q_groups(q->k)]), f_load(p)));                \
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

// out[r, v vectors] += the products of columns [k0, k0 + count), one activation group, of v vectors of output
// rows from `column`; weights: the block's groups of these columns.
Q_INLINE void q_dense(const q_kind kind, const int rows, const int v, const fg_q_rows *q, uint32_t row,
                      uint32_t k0, uint32_t count, const uint8_t *weights, uint32_t column, float *out) {
  const uint64_t k = q->k, groups = k / q->group;
  const int8_t *x = q->codes + row * k + k0;
  const int32_t *starts = q->starts + row * groups + k0 / q->group;
  const float *sums = q->sums + row * groups + k0 / q->group;
  const float *scales = q->scales + row * (uint64_t)fg_q_groups(q->k) + k0 / FG_Q_GROUP;
  Q_CELLS(Q_DECLARE)
  ivec w0 = q_zero(), w1 = w0, w2 = w0, w3 = w0;
  for (uint32_t left = count; left; left -= q->group, starts++, sums++) {
    const uint8_t *head = weights + column * 2, *codes = weights + q_head_bytes(kind) + column * 4;
    Q_CELLS(Q_START)
    for (uint32_t runs = q->group / FG_GROUP_RUN; runs; runs--) {
      if (q_is_four(kind)) {
        for (uint32_t i = 0; i < FG_GROUP_RUN / 8; i++, codes += Q_UNIT, x += 4) {
          Q_EACH(w, q_load_low, codes, 4)
          Q_CELLS(Q_DOT4)
          Q_EACH(w, q_load_high, codes, 4)
          x += FG_GROUP_RUN / 2;
          Q_CELLS(Q_DOT4)
          x -= FG_GROUP_RUN / 2;
        }
        x += FG_GROUP_RUN / 2;
      } else {
        for (uint32_t i = 0; i < FG_GROUP_RUN / 4; i++, codes += Q_UNIT, x += 4) {
          Q_EACH(w, q_load_word, codes, 4)
          Q_CELLS(Q_DOT8)
        }
      }
    }
    fvec d0, d1, d2, d3;
    d1 = d2 = d3 = f_set(0);
    Q_EACH(d, f_load_f16, head, 2)
    Q_CELLS(Q_SCALE)
    if (q_has_minimum(kind)) {
      Q_EACH(d, f_load_f16, head + Q_HALF_UNIT, 2)
      Q_CELLS(Q_MINIMUM)
    }
    weights += q_group_bytes(kind, q->group);
  }
  Q_CELLS(Q_FINISH)
}

// out [64] += value * w[:, column], each weight rounded as its format says.
Q_INLINE void q_outlier(const q_kind kind, uint32_t group, const uint8_t *block, const fg_q_outlier *o,
                        float *out) {
  const uint32_t run = o->column % group / FG_GROUP_RUN, place = o->column % FG_GROUP_RUN;
  const uint32_t byte = q_is_four(kind) ? place % (FG_GROUP_RUN / 2) : place;
  const uint8_t *head = block + o->column / group * q_group_bytes(kind, group);
  const uint8_t *word =
      head + q_head_bytes(kind) + (run * FG_GROUP_RUN / (q_is_four(kind) ? 8 : 4) + byte / 4) * Q_UNIT;
  for (uint32_t i = 0; i < FG_TILE_ROWS; i += Q_VEC) {
    ivec codes = q_load(word + 4 * i);
    if (q_is_four(kind)) codes = byte == place ? q_low(codes) : q_high(codes);
    if (kind == Q_EIGHT) codes = q_flip(codes);
    codes = q_byte(codes, byte % 4);
    if (!q_has_minimum(kind)) codes = q_add(codes, q_broadcast(kind == Q_FOUR ? -8 : -128));
    fvec w = f_mul(f_load_f16(head + 2 * i), q_to_f32(codes));
    if (q_has_minimum(kind)) w = f_add(w, f_load_f16(head + Q_HALF_UNIT + 2 * i));
    f_store(out + i, f_fma(f_set(o->value), w, f_load(out + i)));
  }
}

#define Q_SHAPE(r)                                                                                           \
  case r:                                                                                                    \
    for (uint32_t c = 0; c < FG_TILE_ROWS; c += Q_VECTORS(r) * Q_VEC)                                        \
      q_dense(kind, r, Q_VECTORS(r), x, row, k0, count, weights, c, to + c);                                 \
    break;

Q_INLINE void q_product(const q_kind kind, const fg_q_rows *x, uint32_t first, uint32_t rows,
                        const uint8_t *block, float *out) {
  const uint8_t *weights = block;
  memset(out, 0, (size_t)rows * FG_TILE_ROWS * sizeof *out);
  for (uint32_t k0 = 0; k0 < x->k; k0 += FG_Q_GROUP) {
    uint32_t count = x->k - k0 < FG_Q_GROUP ? x->k - k0 : FG_Q_GROUP;
    for (uint32_t r = 0; r < rows; r += Q_ROWS) {
      uint32_t row = first + r;
      float *to = out + r * FG_TILE_ROWS;
      switch (rows - r < Q_ROWS ? rows - r : Q_ROWS) { Q_SHAPES(Q_SHAPE) }
    }
    weights += count / x->group * q_group_bytes(kind, x->group);
  }
  for (uint32_t r = 0; r < rows; r++) {
    const fg_q_outlier *o = x->outliers + (uint64_t)(first + r) * fg_q_groups(x->k) * FG_Q_OUTLIER;
    for (uint32_t i = 0; i < x->outlier_count[first + r]; i++)
      q_outlier(kind, x->group, block, &o[i], out + r * FG_TILE_ROWS);
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

static void q_fill(fg_kernels *k) {
  k->quantise = q_quantise;
  for (fg_dtype dtype = 0; dtype < FG_DTYPE_COUNT; dtype++) {
    const fg_dtype_info *type = fg_dtype_get(dtype);
    fg_q_product_fn **slot = &k->q_product[FG_LAYOUT_N64][dtype];
    if (type->bits == 4) *slot = type->minimum ? q_product_four_minimum : q_product_four;
    if (type->bits == 8) *slot = type->minimum ? q_product_eight_minimum : q_product_eight;
  }
}

#endif
