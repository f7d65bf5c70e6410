// Quantised products by the matrix products of ARMv8.6: two rows of 8 activations times two output rows of 8
// codes, in one instruction. One row alone, and what is left of an odd number, takes dot products. Compiled
// for both (src/CMakeLists.txt).
#if defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD) && defined(__ARM_FEATURE_MATMUL_INT8)

#include "kernels/qproduct_vec_neon.h"

#define Q_DOT(a, w, x)  vdotq_s32(a, vreinterpretq_s8_s32(w), vreinterpretq_s8_s32(x))
#define q_dot4(a, w, x) Q_DOT(a, w, x)
#define q_dot8(a, w, x) Q_DOT(a, w, x)
#define Q_DENSE         mm_dense

#include "kernels/qproduct_tmpl.h"

// Sums of two rows and four columns: [row][column] as {00, 01, 10, 11} of columns 0 and 1, and of 2 and 3.
typedef struct mm_cell {
  int32x4_t left, right;
} mm_cell;

// 8 activations of two rows.
Q_INLINE int8x16_t mm_rows(const int8_t *row, const int8_t *other) {
  return vcombine_s8(vld1_s8(row), vld1_s8(other));
}

// Words i and i + 1 of four columns are 8 codes of each.
Q_INLINE mm_cell mm_add(mm_cell c, ivec even, ivec odd, int8x16_t x) {
  c.left = vmmlaq_s32(c.left, x, vreinterpretq_s8_s32(vzip1q_s32(even, odd)));
  c.right = vmmlaq_s32(c.right, x, vreinterpretq_s8_s32(vzip2q_s32(even, odd)));
  return c;
}

Q_INLINE ivec mm_row(mm_cell c, int row) {
  return row ? vcombine_s32(vget_high_s32(c.left), vget_high_s32(c.right))
             : vcombine_s32(vget_low_s32(c.left), vget_low_s32(c.right));
}

// One group's sums of two rows with 16 columns, whose words begin at `codes`.
Q_INLINE void mm_group(const q_kind kind, uint32_t words, const int8_t *x, const int8_t *other,
                       const uint8_t *codes, ivec sums[2][4]) {
  mm_cell c0 = {q_zero(), q_zero()}, c1 = c0, c2 = c0, c3 = c0;
#define MM_ADD(c, i, load, xs) c = mm_add(c, load(codes + 16 * (i)), load(codes + Q_UNIT + 16 * (i)), xs);
#define MM_ADD_ALL(load, xs)                                                                                 \
  MM_ADD(c0, 0, load, xs) MM_ADD(c1, 1, load, xs) MM_ADD(c2, 2, load, xs) MM_ADD(c3, 3, load, xs)
  for (uint32_t i = 0; i < words; i += 2, codes += 2 * Q_UNIT) {
    if (q_is_four(kind)) {
      const uint32_t at = i / 4 * FG_GROUP_RUN + i % 4 * 4, high = at + FG_GROUP_RUN / 2;
      const int8x16_t low_x = mm_rows(x + at, other + at), high_x = mm_rows(x + high, other + high);
      MM_ADD_ALL(q_load_low, low_x)
      MM_ADD_ALL(q_load_high, high_x)
    } else {
      const int8x16_t xs = mm_rows(x + 4 * i, other + 4 * i);
      MM_ADD_ALL(q_load_word, xs)
    }
  }
#undef MM_ADD
#undef MM_ADD_ALL
  for (int row = 0; row < 2; row++) {
    sums[row][0] = mm_row(c0, row), sums[row][1] = mm_row(c1, row);
    sums[row][2] = mm_row(c2, row), sums[row][3] = mm_row(c3, row);
  }
}

// What comes after a group's sums is the same chain as in q_dense.
Q_INLINE void mm_pair(const q_kind kind, const q_part *part, uint32_t row, uint32_t column) {
  const int8_t *x = part->x + (uint64_t)row * FG_Q_GROUP;
  const uint8_t *weights = part->weights;
  const uint64_t bytes = q_group_bytes(kind, part->words * (q_is_four(kind) ? 8 : 4));
  fvec s[2][4];
  for (uint32_t v = 0; v < 4; v++) s[0][v] = s[1][v] = f_set(0);
  for (uint32_t g = 0; g < part->groups; g++, weights += bytes) {
    const uint8_t *head = weights + 2 * column;
    ivec sums[2][4];
    mm_group(kind, part->words, x, x + FG_Q_GROUP, weights + q_head_bytes(kind) + 4 * column, sums);
    x += part->words * (q_is_four(kind) ? 8 : 4);
    for (uint32_t r = 0; r < 2; r++) {
      const uint64_t at = (uint64_t)g * part->stride + row + r;
      const ivec start = q_broadcast(q_start(kind, part->starts + at, part->sums + at));
      for (uint32_t v = 0; v < 4; v++) {
        fvec f = f_fma(q_to_f32(q_add(sums[r][v], start)), f_load_f16(head + 8 * v), s[r][v]);
        if (q_has_minimum(kind)) f = f_fma(f_load_f16(head + Q_HALF_UNIT + 8 * v), f_set(part->sums[at]), f);
        s[r][v] = f;
      }
    }
  }
  for (uint32_t r = 0; r < 2; r++)
    for (uint32_t v = 0; v < 4; v++) {
      float *p = part->out + (uint64_t)(row + r) * FG_TILE_ROWS + column + 4 * v;
      f_store(p, f_fma(s[r][v], f_set(part->scales[row + r]), f_load(p)));
    }
}

Q_INLINE void mm_dense(const q_kind kind, const int rows, const int v, const q_part *part, uint32_t column) {
  (void)v; // always four
  for (int row = 0; row + 2 <= rows; row += 2) mm_pair(kind, part, (uint32_t)row, column);
  if (rows % 2 == 0) return;
  q_part last = *part;
  last.x += (uint64_t)(rows - 1) * FG_Q_GROUP;
  last.starts += rows - 1, last.sums += rows - 1, last.scales += rows - 1;
  last.out += (uint64_t)(rows - 1) * FG_TILE_ROWS;
  q_dense(kind, 1, v, &last, column);
}

void fg_q_product_i8mm(fg_kernels *k) {
  k->name = "neon_i8mm";
  q_fill(k, q_products);
}

#else
typedef int fg_i8mm_is_not_of_this_cpu;
#endif
