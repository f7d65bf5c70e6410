// row_products_tmpl.h: c = start + a b of small blocks, over the vectors of a vec_*.h, which is included
// before, for two kinds of factors: float32, and pairs of bfloat16 in 32 bits. The includer names the type of
// a factor in a, ROW_FACTOR, and how vectors of b are multiplied by one and added,
//   static inline vec row_factor_add(ROW_FACTOR a, vec b, vec c);
// An element of c is one chain of additions over k in order, however many rows are taken at once.
#ifndef FG_KERNELS_ROW_PRODUCTS_TMPL_H
#define FG_KERNELS_ROW_PRODUCTS_TMPL_H

// a: [rows, k]; b: [k, columns], columns a multiple of 4 vectors; start, c: [rows, columns], c may be start;
// strides in elements, that of start may be 0.
typedef struct row_product {
  const ROW_FACTOR *a;
  const float *b, *start; // b: bits of factors
  float *c;
  uint64_t a_stride, b_stride, start_stride, c_stride;
  uint32_t rows, k, columns;
} row_product;

// Four vectors of a row of c. They are variables of their own, not an array, since compilers keep an array
// of accumulators in memory when they unroll its loop late.
typedef struct quad {
  vec v0, v1, v2, v3;
} quad;

static inline quad quad_load(const float *p) {
  return (quad){vec_load(p), vec_load(p + VEC), vec_load(p + 2 * VEC), vec_load(p + 3 * VEC)};
}
static inline void quad_store(float *p, quad q) {
  vec_store(p, q.v0);
  vec_store(p + VEC, q.v1);
  vec_store(p + 2 * VEC, q.v2);
  vec_store(p + 3 * VEC, q.v3);
}
static inline quad quad_add(ROW_FACTOR a, quad b, quad c) {
  return (quad){row_factor_add(a, b.v0, c.v0), row_factor_add(a, b.v1, c.v1), row_factor_add(a, b.v2, c.v2),
                row_factor_add(a, b.v3, c.v3)};
}

static void rows_1(const row_product *p, const ROW_FACTOR *a, const float *b, const float *start, float *c) {
  quad c0 = quad_load(start);
  for (uint32_t i = 0; i < p->k; i++) c0 = quad_add(a[i], quad_load(b + i * p->b_stride), c0);
  quad_store(c, c0);
}

static void rows_2(const row_product *p, const ROW_FACTOR *a, const float *b, const float *start, float *c) {
  uint64_t as = p->a_stride;
  quad c0 = quad_load(start), c1 = quad_load(start + p->start_stride);
  for (uint32_t i = 0; i < p->k; i++) {
    quad column = quad_load(b + i * p->b_stride);
    c0 = quad_add(a[i], column, c0);
    c1 = quad_add(a[as + i], column, c1);
  }
  quad_store(c, c0);
  quad_store(c + p->c_stride, c1);
}

static void rows_3(const row_product *p, const ROW_FACTOR *a, const float *b, const float *start, float *c) {
  uint64_t as = p->a_stride, ss = p->start_stride, cs = p->c_stride;
  quad c0 = quad_load(start), c1 = quad_load(start + ss), c2 = quad_load(start + 2 * ss);
  for (uint32_t i = 0; i < p->k; i++) {
    quad column = quad_load(b + i * p->b_stride);
    c0 = quad_add(a[i], column, c0);
    c1 = quad_add(a[as + i], column, c1);
    c2 = quad_add(a[2 * as + i], column, c2);
  }
  quad_store(c, c0);
  quad_store(c + cs, c1);
  quad_store(c + 2 * cs, c2);
}

static void rows_6(const row_product *p, const ROW_FACTOR *a, const float *b, const float *start, float *c) {
  uint64_t as = p->a_stride, ss = p->start_stride, cs = p->c_stride;
  quad c0 = quad_load(start), c1 = quad_load(start + ss), c2 = quad_load(start + 2 * ss);
  quad c3 = quad_load(start + 3 * ss), c4 = quad_load(start + 4 * ss), c5 = quad_load(start + 5 * ss);
  for (uint32_t i = 0; i < p->k; i++) {
    quad column = quad_load(b + i * p->b_stride);
    c0 = quad_add(a[i], column, c0);
    c1 = quad_add(a[as + i], column, c1);
    c2 = quad_add(a[2 * as + i], column, c2);
    c3 = quad_add(a[3 * as + i], column, c3);
    c4 = quad_add(a[4 * as + i], column, c4);
    c5 = quad_add(a[5 * as + i], column, c5);
  }
  quad_store(c, c0);
  quad_store(c + cs, c1);
  quad_store(c + 2 * cs, c2);
  quad_store(c + 3 * cs, c3);
  quad_store(c + 4 * cs, c4);
  quad_store(c + 5 * cs, c5);
}

static void multiply_rows(const row_product *p) {
  for (uint32_t column = 0; column < p->columns; column += 4 * VEC)
    for (uint32_t row = 0, taken; row < p->rows; row += taken) {
      uint32_t left = p->rows - row;
      taken = VEC_ROWS >= 6 && left >= 6 ? 6 : left >= 3 ? 3 : left;
      (taken == 6   ? rows_6
       : taken == 3 ? rows_3
       : taken == 2 ? rows_2
                    : rows_1)(p, p->a + row * p->a_stride, p->b + column,
                              p->start + row * p->start_stride + column, p->c + row * p->c_stride + column);
    }
}

#endif
