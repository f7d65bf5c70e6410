// wide_product_tmpl.h: products of float32 rows with a tile of 16-bit weights as it lies, each widened in a
// register where it is used, over the vectors of a vec_*.h and the quads of row_products_tmpl.h, which are
// included before. An element of the result is the same chain of additions as that over the expanded tile.
#ifndef FG_KERNELS_WIDE_PRODUCT_TMPL_H
#define FG_KERNELS_WIDE_PRODUCT_TMPL_H

#define WIDE_INLINE static inline __attribute__((always_inline))

// Four vectors of weights w[column .. column + 4 VEC, 2 pair + odd] of a tile in the layout n64.
typedef quad wide_load_fn(const uint8_t *tile, uint64_t pair, uint32_t odd, uint32_t column);

WIDE_INLINE quad wide_load_bf16(const uint8_t *tile, uint64_t pair, uint32_t odd, uint32_t column) {
  const uint8_t *p = tile + (pair * FG_TILE_ROWS + column) * 4;
  if (odd)
    return (quad){vec_odd_bf16(p), vec_odd_bf16(p + 4 * VEC), vec_odd_bf16(p + 8 * VEC),
                  vec_odd_bf16(p + 12 * VEC)};
  return (quad){vec_even_bf16(p), vec_even_bf16(p + 4 * VEC), vec_even_bf16(p + 8 * VEC),
                vec_even_bf16(p + 12 * VEC)};
}

WIDE_INLINE quad wide_load_f16(const uint8_t *tile, uint64_t pair, uint32_t odd, uint32_t column) {
  const uint8_t *p = tile + ((2 * pair + odd) * FG_TILE_ROWS + column) * 2;
  return (quad){vec_load_f16(p, VEC), vec_load_f16(p + 2 * VEC, VEC), vec_load_f16(p + 4 * VEC, VEC),
                vec_load_f16(p + 6 * VEC, VEC)};
}

// out [3 rows, 64] from `column` on; x [3, k].
WIDE_INLINE void wide_rows_3(wide_load_fn *load, const float *x, uint32_t k, const uint8_t *tile,
                             uint32_t column, float *out) {
  const quad zero = {vec_set(0), vec_set(0), vec_set(0), vec_set(0)};
  quad c0 = zero, c1 = zero, c2 = zero;
  const float *x1 = x + k, *x2 = x1 + k;
  for (uint32_t pair = 0; pair < k / 2; pair++) {
    const quad even = load(tile, pair, 0, column);
    c0 = quad_add(x[2 * pair], even, c0);
    c1 = quad_add(x1[2 * pair], even, c1);
    c2 = quad_add(x2[2 * pair], even, c2);
    const quad odd = load(tile, pair, 1, column);
    c0 = quad_add(x[2 * pair + 1], odd, c0);
    c1 = quad_add(x1[2 * pair + 1], odd, c1);
    c2 = quad_add(x2[2 * pair + 1], odd, c2);
  }
  quad_store(out + column, c0);
  quad_store(out + FG_TILE_ROWS + column, c1);
  quad_store(out + 2 * FG_TILE_ROWS + column, c2);
}

WIDE_INLINE void wide_rows_1(wide_load_fn *load, const float *x, uint32_t k, const uint8_t *tile,
                             uint32_t column, float *out) {
  quad c = {vec_set(0), vec_set(0), vec_set(0), vec_set(0)};
  for (uint32_t pair = 0; pair < k / 2; pair++) {
    c = quad_add(x[2 * pair], load(tile, pair, 0, column), c);
    c = quad_add(x[2 * pair + 1], load(tile, pair, 1, column), c);
  }
  quad_store(out + column, c);
}

WIDE_INLINE void wide_product(wide_load_fn *load, const float *x, uint32_t rows, uint32_t k, const void *tile,
                              float *out) {
  for (uint32_t column = 0; column < FG_TILE_ROWS; column += 4 * VEC) {
    uint32_t row = 0;
    for (; row + 3 <= rows; row += 3)
      wide_rows_3(load, x + (uint64_t)row * k, k, tile, column, out + row * FG_TILE_ROWS);
    for (; row < rows; row++)
      wide_rows_1(load, x + (uint64_t)row * k, k, tile, column, out + row * FG_TILE_ROWS);
  }
}

static void wide_product_bf16(const float *x, uint32_t rows, uint32_t k, const void *tile, float *out) {
  wide_product(wide_load_bf16, x, rows, k, tile, out);
}
static void wide_product_f16(const float *x, uint32_t rows, uint32_t k, const void *tile, float *out) {
  wide_product(wide_load_f16, x, rows, k, tile, out);
}

#endif
