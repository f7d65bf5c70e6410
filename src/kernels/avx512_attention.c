// Attention over a bfloat16 cache by dot products of bfloat16 pairs. Compiled for AVX-512 with BF16
// (src/CMakeLists.txt).
//
// Queries are rounded to bfloat16 once, keys and values are taken as stored, weights are rounded for their
// product with the values; sums, maxima and outputs are float32. Each score and each output is one chain of
// dot products: over pairs of dimensions, over pairs of positions that begin at even ones. So a row's bits do
// not depend on what else is in its block.
#if defined(__AVX512BF16__)

#include <string.h>

#include "kernels/attend_avx512.h"

enum {
  DIMS = 64,                // rows of scratch are padded to a multiple of it: four vectors of float32
  HALVES = 32,              // of 16 bits in a vector
  PAIRS = FG_KEY_BLOCK / 2, // of positions
};

// ---- products ------------------------------------------------------------------------------------------

// Of pairs of bfloat16 in 32 bits.
static inline vec add_pair(uint32_t a, vec b, vec c) {
  return _mm512_dpbf16_ps(c, (__m512bh)_mm512_set1_epi32((int)a), (__m512bh)b);
}

#define ROW_FACTOR     uint32_t
#define row_factor_add add_pair
#include "kernels/row_products_tmpl.h"

// ---- keys and values -----------------------------------------------------------------------------------

typedef struct attend {
  const fg_attention *a;
  const fg_query_block *block;
  uint32_t queries;
  uint32_t q_pairs;  // of dimensions in a row of q
  float *keys;       // [q_pairs, 64]: pairs along dimensions, bits in float32 as in vectors
  float *values;     // [32, s.stride]: pairs along positions, likewise
  uint32_t *q;       // [queries, q_pairs], scaled
  uint32_t *weights; // [queries, 32]: pairs along positions
  softmax s;
  uint8_t *zeros; // a row
} attend;

// Of the halves [at, at + 32) of a row those before dim.
static __mmask32 halves_of(uint32_t dim, uint32_t at) {
  return dim - at >= HALVES ? 0xffffffffu : (1u << (dim - at)) - 1;
}

// 32 halves from `at` on, those of the mask.
static inline __m512i load_halves(const uint8_t *row, uint32_t at, __mmask32 mask) {
  return _mm512_maskz_loadu_epi16(mask, row + 2 * (uint64_t)at);
}

static void transpose_keys(const attend *t, const key_block *b) {
  uint32_t dim = t->a->kv.k_dim;
  for (uint32_t c = 0; c < dim; c += HALVES) {
    __mmask32 mask = halves_of(dim, c);
    for (uint32_t j = 0; j < FG_KEY_BLOCK; j += VEC) {
      const uint8_t *const *rows = &b->rows[KEYS][j];
      vec r[VEC];
      for (int i = 0; i < VEC; i++) r[i] = _mm512_castsi512_ps(load_halves(rows[i], c, mask));
      vec_store_transposed(r, t->keys + (uint64_t)c / 2 * FG_KEY_BLOCK + j, FG_KEY_BLOCK);
    }
  }
}

// Where the halves of the first 16 pairs of two vectors of 32 halves are.
static inline __m512i low_pairs(void) {
  return _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6, 37, 5,
                          36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
}

static void pair_values(const attend *t, const key_block *b) {
  uint32_t dim = t->a->kv.v_dim;
  __m512i low = low_pairs(), high = _mm512_add_epi16(low, _mm512_set1_epi16(VEC));
  const uint8_t *const *rows = b->rows[VALUES];
  for (uint32_t c = 0; c < dim; c += HALVES) {
    __mmask32 mask = halves_of(dim, c);
    for (uint32_t i = 0; i < PAIRS; i++) {
      __m512i even = load_halves(rows[2 * i], c, mask);
      __m512i odd = load_halves(rows[2 * i + 1], c, mask);
      float *to = t->values + i * t->s.stride + c;
      _mm512_storeu_si512(to, _mm512_permutex2var_epi16(even, low, odd));
      _mm512_storeu_si512(to + VEC, _mm512_permutex2var_epi16(even, high, odd));
    }
  }
}

// ---- few queries ---------------------------------------------------------------------------------------
//
// One to eight queries, as in decode, take keys and values from the cache into registers and use them there:
// the sums and their order are those of the products above, without a copy of the block.

enum { FEW = 8 };

// Scores of 16 keys and queries [0, 4): += 16 pairs of dimensions. keys: [16 pairs, 16 keys].
static inline void score_4(const vec keys[VEC], const uint32_t *q, uint64_t q_stride, float *scores) {
  const uint32_t *q1 = q + q_stride, *q2 = q1 + q_stride, *q3 = q2 + q_stride;
  vec s0 = vec_load(scores), s1 = vec_load(scores + FG_KEY_BLOCK);
  vec s2 = vec_load(scores + 2 * FG_KEY_BLOCK), s3 = vec_load(scores + 3 * FG_KEY_BLOCK);
#pragma GCC unroll 16
  for (int i = 0; i < VEC; i++) {
    s0 = add_pair(q[i], keys[i], s0);
    s1 = add_pair(q1[i], keys[i], s1);
    s2 = add_pair(q2[i], keys[i], s2);
    s3 = add_pair(q3[i], keys[i], s3);
  }
  vec_store(scores, s0);
  vec_store(scores + FG_KEY_BLOCK, s1);
  vec_store(scores + 2 * FG_KEY_BLOCK, s2);
  vec_store(scores + 3 * FG_KEY_BLOCK, s3);
}

static inline void score_1(const vec keys[VEC], const uint32_t *q, float *scores) {
  vec s = vec_load(scores);
#pragma GCC unroll 16
  for (int i = 0; i < VEC; i++) s = add_pair(q[i], keys[i], s);
  vec_store(scores, s);
}

static void score_few(const attend *t, const key_block *b, fetcher ahead) {
  uint32_t dim = t->a->kv.k_dim;
  memset(t->s.scores, 0, (uint64_t)t->queries * FG_KEY_BLOCK * sizeof(float));
  for (uint32_t j = 0; j < FG_KEY_BLOCK; j += VEC) {
    const uint8_t *const *rows = &b->rows[KEYS][j];
    for (uint32_t c = 0; c < dim; c += HALVES) {
      __mmask32 mask = halves_of(dim, c);
      vec r[VEC], keys[VEC];
      for (int i = 0; i < VEC; i++) r[i] = _mm512_castsi512_ps(load_halves(rows[i], c, mask));
      fetch_lines(&ahead, VEC);
      vec_transpose_16(r, keys);
      const uint32_t *q = t->q + c / 2;
      float *scores = t->s.scores + j;
      uint32_t i = 0;
      for (; i + 4 <= t->queries; i += 4)
        score_4(keys, q + (uint64_t)i * t->q_pairs, t->q_pairs, scores + (uint64_t)i * FG_KEY_BLOCK);
      for (; i < t->queries; i++)
        score_1(keys, q + (uint64_t)i * t->q_pairs, scores + (uint64_t)i * FG_KEY_BLOCK);
    }
  }
}

// 32 dimensions of an output.
typedef struct duo {
  vec v0, v1;
} duo;

static inline duo load_duo(const float *p) {
  return (duo){vec_load(p), vec_load(p + VEC)};
}
static inline void store_duo(float *p, duo d) {
  vec_store(p, d.v0);
  vec_store(p + VEC, d.v1);
}
// Values of two positions, 32 dimensions from c on, as pairs.
static inline duo load_value_pair(const uint8_t *const *rows, uint32_t c, __mmask32 mask) {
  __m512i even = load_halves(rows[0], c, mask);
  __m512i odd = load_halves(rows[1], c, mask);
  __m512i low = low_pairs(), high = _mm512_add_epi16(low, _mm512_set1_epi16(VEC));
  return (duo){_mm512_castsi512_ps(_mm512_permutex2var_epi16(even, low, odd)),
               _mm512_castsi512_ps(_mm512_permutex2var_epi16(even, high, odd))};
}
static inline duo add_duo(uint32_t weight, duo values, duo sum) {
  return (duo){add_pair(weight, values.v0, sum.v0), add_pair(weight, values.v1, sum.v1)};
}

// One query, 64 dimensions at a time where there are so many: two more chains hide the latency of the first.
static void add_values_1(const attend *t, const uint8_t *const *rows, fetcher *ahead) {
  uint32_t dim = t->a->kv.v_dim;
  const uint32_t *w = t->weights;
  for (uint32_t c = 0; c < dim; c += 2 * HALVES) {
    __mmask32 mask = halves_of(dim, c), more = dim - c > HALVES ? halves_of(dim, c + HALVES) : 0;
    duo sum = load_duo(t->s.out + c), sum_more = load_duo(t->s.out + c + HALVES);
    for (uint32_t i = 0; i < PAIRS; i++) {
      fetch_lines(ahead, 4);
      sum = add_duo(w[i], load_value_pair(rows + 2 * i, c, mask), sum);
      sum_more = add_duo(w[i], load_value_pair(rows + 2 * i, c + HALVES, more), sum_more);
    }
    store_duo(t->s.out + c, sum);
    store_duo(t->s.out + c + HALVES, sum_more);
  }
}

// Four queries' sums of 32 dimensions, rows of out and of weights apart.
typedef struct duo_4 {
  duo d0, d1, d2, d3;
} duo_4;

static inline duo_4 load_duo_4(const float *p, uint64_t stride) {
  return (duo_4){load_duo(p), load_duo(p + stride), load_duo(p + 2 * stride), load_duo(p + 3 * stride)};
}
static inline void store_duo_4(float *p, uint64_t stride, duo_4 d) {
  store_duo(p, d.d0);
  store_duo(p + stride, d.d1);
  store_duo(p + 2 * stride, d.d2);
  store_duo(p + 3 * stride, d.d3);
}
static inline duo_4 add_duo_4(const uint32_t *w, duo values, duo_4 sum) {
  return (duo_4){add_duo(w[0], values, sum.d0), add_duo(w[PAIRS], values, sum.d1),
                 add_duo(w[2 * PAIRS], values, sum.d2), add_duo(w[3 * PAIRS], values, sum.d3)};
}

static void add_values_4(const attend *t, const uint8_t *const *rows, fetcher *ahead) {
  for (uint32_t c = 0; c < t->a->kv.v_dim; c += HALVES) {
    __mmask32 mask = halves_of(t->a->kv.v_dim, c);
    duo_4 sum = load_duo_4(t->s.out + c, t->s.stride);
    for (uint32_t i = 0; i < PAIRS; i++) {
      sum = add_duo_4(t->weights + i, load_value_pair(rows + 2 * i, c, mask), sum);
      fetch_lines(ahead, 2);
    }
    store_duo_4(t->s.out + c, t->s.stride, sum);
  }
}

static void add_values_8(const attend *t, const uint8_t *const *rows, fetcher *ahead) {
  for (uint32_t c = 0; c < t->a->kv.v_dim; c += HALVES) {
    __mmask32 mask = halves_of(t->a->kv.v_dim, c);
    float *out = t->s.out + c, *more = out + 4 * t->s.stride;
    duo_4 sum = load_duo_4(out, t->s.stride), sum_more = load_duo_4(more, t->s.stride);
    for (uint32_t i = 0; i < PAIRS; i++) {
      duo values = load_value_pair(rows + 2 * i, c, mask);
      sum = add_duo_4(t->weights + i, values, sum);
      sum_more = add_duo_4(t->weights + 4 * PAIRS + i, values, sum_more);
      fetch_lines(ahead, 2);
    }
    store_duo_4(out, t->s.stride, sum);
    store_duo_4(more, t->s.stride, sum_more);
  }
}

// ---- a block of queries --------------------------------------------------------------------------------

static void score(const attend *t, const key_block *keys, fetcher ahead) {
  static const float zeros[FG_KEY_BLOCK];
  if (t->queries <= FEW) {
    score_few(t, keys, ahead);
    return;
  }
  fetch_all(ahead);
  transpose_keys(t, keys);
  multiply_rows(&(row_product){t->q, t->keys, zeros, t->s.scores, t->q_pairs, FG_KEY_BLOCK, 0, FG_KEY_BLOCK,
                               t->queries, (t->a->kv.k_dim + 1) / 2, FG_KEY_BLOCK});
}

static void add_values(const attend *t, const key_block *keys, fetcher ahead) {
  const uint8_t *const *rows = keys->rows[VALUES];
  if (t->queries <= FEW) {
    // Two to four count as four, more as eight: what is no query has weights of 0 and an output in scratch,
    // too.
    (t->queries == 1 ? add_values_1 : t->queries <= 4 ? add_values_4 : add_values_8)(t, rows, &ahead);
    return;
  }
  fetch_all(ahead);
  pair_values(t, keys);
  multiply_rows(&(row_product){t->weights, t->values, t->s.out, t->s.out, PAIRS, t->s.stride, t->s.stride,
                               t->s.stride, t->queries, PAIRS, (uint32_t)t->s.stride});
}

static void attend_keys(const void *context, uint32_t first, const key_block *keys, const fetcher ahead[2]) {
  const attend *t = context;
  score(t, keys, ahead[KEYS]);
  for (uint32_t i = 0; i < t->queries; i++) {
    uint32_t *w = t->weights + (uint64_t)i * PAIRS;
    if (has_head_scores(t->a))
      vec_head_scores(t->a, t->block, i, first, POWERS_OF_TWO, t->s.scores + (uint64_t)i * FG_KEY_BLOCK);
    vec_4 exact = soften(&t->s, i, seen_of(t->a, t->block, i / t->block->heads, first));
    _mm512_storeu_si512(w, (__m512i)_mm512_cvtne2ps_pbh(exact.v1, exact.v0));
    _mm512_storeu_si512(w + VEC, (__m512i)_mm512_cvtne2ps_pbh(exact.v3, exact.v2));
  }
  add_values(t, keys, ahead[VALUES]);
}

static void load_queries(const attend *t) {
  const fg_attention *a = t->a;
  const vec scale = vec_set(a->scale * POWERS_OF_TWO);
  for (uint32_t i = 0; i < t->queries; i++) {
    const float *q = fg_query_vector(a, t->block, i);
    for (uint32_t c = 0; c < 2 * t->q_pairs; c += VEC) {
      uint32_t left = c < a->kv.k_dim ? a->kv.k_dim - c : 0;
      vec scaled = vec_mul(vec_load_part(q + (left ? c : 0), left < VEC ? left : VEC), scale);
      _mm256_storeu_si256((void *)((uint16_t *)(t->q + (uint64_t)i * t->q_pairs) + c), vec_to_bf16(scaled));
    }
  }
  uint32_t rows = t->queries > FEW ? t->queries : FEW;
  memset(t->s.out, 0, rows * t->s.stride * sizeof(float));
  for (uint32_t i = 0; i < t->queries; i++) {
    begin_softmax(a, t->block, i, POWERS_OF_TWO, &t->s.max[i], &t->s.sums[i]);
    begin_output(a, t->block, i, t->s.out + i * t->s.stride);
  }
  memset(t->weights, 0, (uint64_t)rows * PAIRS * sizeof *t->weights);
}

static void store_outputs(const attend *t) {
  for (uint32_t i = 0; i < t->queries; i++)
    end_query(t->a, t->block, i, t->s.max[i], t->s.sums[i], t->s.out + i * t->s.stride);
}

static void attention(const fg_attention *a, const fg_query_block *block, void *scratch) {
  attend t = {.a = a, .block = block, .queries = block->rows * block->heads};
  uint64_t k_stride = ((uint64_t)a->kv.k_dim + DIMS - 1) / DIMS * DIMS;
  t.s.stride = ((uint64_t)a->kv.v_dim + DIMS - 1) / DIMS * DIMS;
  t.q_pairs = (uint32_t)(k_stride / 2);
  t.keys = scratch;
  t.values = t.keys + (uint64_t)t.q_pairs * FG_KEY_BLOCK;
  t.q = (uint32_t *)(t.values + t.s.stride * PAIRS);
  t.weights = t.q + (uint64_t)t.q_pairs * FG_QUERY_BLOCK;
  t.s.scores = (float *)(t.weights + (uint64_t)PAIRS * FG_QUERY_BLOCK);
  t.s.out = t.s.scores + (uint64_t)FG_KEY_BLOCK * FG_QUERY_BLOCK;
  t.s.max = t.s.out + t.s.stride * FG_QUERY_BLOCK;
  t.s.sums = t.s.max + FG_QUERY_BLOCK;
  t.zeros = (uint8_t *)(t.s.sums + FG_QUERY_BLOCK);
  memset(t.zeros, 0, 2 * (k_stride > t.s.stride ? k_stride : t.s.stride));
  // Columns of values beyond v_dim are multiplied, but not always written.
  if (t.s.stride - a->kv.v_dim >= HALVES) memset(t.values, 0, t.s.stride * PAIRS * sizeof *t.values);
  load_queries(&t);
  walk_keys(a, block, t.zeros, attend_keys, &t);
  store_outputs(&t);
}

void fg_attention_avx512_bf16(fg_kernels *k) {
  k->attend_rounded[FG_BF16] = attention;
}

#else
typedef int fg_avx512_bf16_is_not_of_this_cpu;
#endif
