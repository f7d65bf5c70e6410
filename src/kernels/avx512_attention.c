// Attention by dot products of bfloat16 pairs, over a bfloat16 cache or one of codes, which are expanded to
// bfloat16 block by block. Compiled for AVX-512 with BF16
// (src/CMakeLists.txt).
//
// Queries are rounded to bfloat16 once, keys and values are taken as stored, weights are rounded for their
// product with the values; sums, maxima and outputs are float32. Scores are in powers of two. Each score
// and each output is one chain of dot products: over pairs of dimensions, over pairs of positions that begin
// at even ones. So a row's bits do not depend on what else is in its block.
#if defined(__AVX512BF16__)

#include <float.h>
#include <math.h>
#include <string.h>

#include "kernels/kernels_internal.h"
#include "kernels/kv_codes_tmpl.h"
#include "kernels/vec_avx512.h"
// vectors come first
#include "kernels/head_scores_tmpl.h"

enum {
  DIMS = 64,                // rows of scratch are padded to a multiple of it: four vectors of float32
  GROUP = 64,               // codes with a scale and a minimum
  HALVES = 32,              // of 16 bits in a vector
  PAIRS = FG_KEY_BLOCK / 2, // of positions
  LINE = 64,                // bytes of a line of the CPU's caches
};

#define POWERS_OF_TWO 1.44269504f // 1 / ln 2: the unit of scores

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
  uint64_t v_stride; // of rows of values and out
  float *keys;       // [q_pairs, 64]: pairs along dimensions, bits in float32 as in vectors
  float *values;     // [32, v_stride]: pairs along positions, likewise
  uint32_t *q;       // [queries, q_pairs], scaled
  uint32_t *weights; // [queries, 32]: pairs along positions
  float *scores;     // [queries, 64]
  float *out;        // [queries, v_stride], not yet divided by sums
  uint16_t *plain;   // [64, the larger stride]: a side of a block of keys, if the cache has codes
  uint8_t *zeros;    // a row of zeros, in the cache's type as in bfloat16
  float *max, *sums; // [queries]
} attend;

typedef enum side { KEYS, VALUES } side;

// The rows of a block of keys and of values, as in the cache or expanded from it; zeros at positions that no
// query of the block sees.
typedef struct key_block {
  const uint8_t *rows[2][FG_KEY_BLOCK]; // [side]
} key_block;

static uint32_t first_key(const fg_attention *a, const fg_query_block *block, uint32_t row) {
  uint32_t end = block->position + row + 1;
  return a->window && end > a->window ? end - a->window : 0;
}

static uint32_t first_block(const fg_attention *a, const fg_query_block *block) {
  return first_key(a, block, 0) / FG_KEY_BLOCK * FG_KEY_BLOCK;
}

// Of the keys [first, first + 64) that `block` sees.
static void find_rows(const attend *t, const fg_query_block *block, uint32_t first, key_block *b) {
  const fg_kv_geometry *kv = &t->a->kv;
  uint32_t begin = first_key(t->a, block, 0), end = block->position + block->rows, run;
  uint32_t kv_head = block->head / (t->a->heads / kv->kv_heads);
  uint64_t page_bytes = fg_kv_page_bytes(kv), key_bytes = fg_kv_row_bytes(kv->dtype, kv->k_dim),
           value_bytes = fg_kv_value_step(kv);
  for (uint32_t i = 0; i < FG_KEY_BLOCK; i += run) {
    uint32_t p = first + i, token = p % kv->page_tokens;
    bool seen = p >= begin && p < end;
    run = seen ? kv->page_tokens - token : 1;
    if (seen && run > end - p) run = end - p;
    if (run > FG_KEY_BLOCK - i) run = FG_KEY_BLOCK - i;
    const uint8_t *key = t->zeros, *value = t->zeros;
    if (seen) {
      const uint8_t *page = t->a->cache + (uint64_t)block->pages[p / kv->page_tokens] * page_bytes;
      key = page + fg_kv_key_offset(kv, kv_head, token);
      value = page + fg_kv_value_offset(kv, kv_head, token);
    }
    for (uint32_t k = 0; k < run; k++) {
      b->rows[KEYS][i + k] = key + k * key_bytes;
      b->rows[VALUES][i + k] = value + k * value_bytes;
    }
  }
}

// Asks for the rows of a block ahead of their use, line by line in order of address: pages lie anywhere and
// their runs are too short for the CPU to foresee.
typedef struct fetcher {
  const uint8_t *const *rows, *const *end;
  uint32_t bytes, at; // of a row
} fetcher;

static inline fetcher fetch_rows(const attend *t, const key_block *b, side of) {
  const fg_kv_geometry *kv = &t->a->kv;
  return (fetcher){b->rows[of], b->rows[of] + FG_KEY_BLOCK,
                   (uint32_t)fg_kv_row_bytes(kv->dtype, of == KEYS ? kv->k_dim : kv->v_dim), 0};
}

static inline void fetch_line(fetcher *f) {
  if (f->rows == f->end) return;
  __builtin_prefetch(*f->rows + f->at, 0, 2);
  f->at += LINE;
  if (f->at < f->bytes) return;
  f->at = 0;
  f->rows++;
}

static void fetch_all(fetcher f) {
  while (f.rows < f.end) fetch_line(&f);
}

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
      float *to = t->values + i * t->v_stride + c;
      _mm512_storeu_si512(to, _mm512_permutex2var_epi16(even, low, odd));
      _mm512_storeu_si512(to + VEC, _mm512_permutex2var_epi16(even, high, odd));
    }
  }
}

// ---- codes ---------------------------------------------------------------------------------------------

// The scale and the minimum of a group (kv_codes_tmpl.h).
typedef struct group_range {
  vec d, m;
} group_range;

static inline group_range load_range(const uint8_t *p) {
  int32_t both;
  memcpy(&both, p, sizeof both);
  __m128 r = _mm_cvtph_ps(_mm_cvtsi32_si128(both));
  return (group_range){_mm512_broadcastss_ps(r), _mm512_broadcastss_ps(_mm_movehdup_ps(r))};
}

static inline vec expand_8(const uint8_t *p, group_range r) {
  return vec_fma(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p))), r.d, r.m);
}

static inline void expand_group_8(const uint8_t *in, uint32_t count, group_range r, uint16_t *out) {
  uint32_t i = 0;
  for (; i + HALVES <= count; i += HALVES)
    _mm512_storeu_si512(out + i,
                        (__m512i)_mm512_cvtne2ps_pbh(expand_8(in + i + VEC, r), expand_8(in + i, r)));
  if (i < count) _mm256_storeu_si256((__m256i *)(out + i), (__m256i)_mm512_cvtneps_pbh(expand_8(in + i, r)));
}

// A group of 4 bits has 16 values: they are computed once and then looked up, 32 at a time.
static inline __m512i values_4(group_range r) {
  vec codes = _mm512_set_ps(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  return _mm512_broadcast_i64x4((__m256i)_mm512_cvtneps_pbh(vec_fma(codes, r.d, r.m)));
}

// Two runs of codes, 8 bytes each. Words [0, 8) are of the first run's bytes, [8, 16) of the same, shifted to
// the high halves, and so on; a look-up takes 5 bits of a word, and the table is there twice.
static inline __m512i look_up_4(__m128i runs, __m512i values) {
  const __m512i bytes =
      _mm512_set_epi64(0x800f800e800d800c, 0x800b800a80098008, 0x800f800e800d800c, 0x800b800a80098008,
                       0x8007800680058004, 0x8003800280018000, 0x8007800680058004, 0x8003800280018000);
  const __m512i halves = _mm512_set_epi64(0x0004000400040004, 0x0004000400040004, 0, 0, 0x0004000400040004,
                                          0x0004000400040004, 0, 0);
  __m512i words = _mm512_shuffle_epi8(_mm512_broadcast_i32x4(runs), bytes);
  return _mm512_permutexvar_epi16(_mm512_srlv_epi16(words, halves), values);
}

static inline void expand_group_4(const uint8_t *in, uint32_t count, group_range r, uint16_t *out) {
  __m512i values = values_4(r);
  uint32_t i = 0;
  for (; i + HALVES <= count; i += HALVES)
    _mm512_storeu_si512(out + i, look_up_4(_mm_loadu_si128((const __m128i *)(in + i / 2)), values));
  if (i < count)
    _mm256_storeu_si256((__m256i *)(out + i), _mm512_castsi512_si256(look_up_4(
                                                  _mm_loadl_epi64((const __m128i *)(in + i / 2)), values)));
}

// Whole groups have a count that the compiler knows.
static inline void expand_group(const uint8_t *in, uint32_t count, uint32_t bits, uint16_t *out) {
  if (bits == 8)
    expand_group_8(in + 4, count, load_range(in), out);
  else
    expand_group_4(in + 4, count, load_range(in), out);
}

static inline void expand_row(const uint8_t *in, uint32_t dim, uint32_t bits, uint16_t *out) {
  uint32_t i = 0;
  for (; i + GROUP <= dim; i += GROUP, in += 4 + GROUP * bits / 8) expand_group(in, GROUP, bits, out + i);
  if (i < dim) expand_group(in, dim - i, bits, out + i);
}

// One side of a block of codes as bfloat16.
static void expand(const attend *t, const key_block *codes, side of, key_block *plain) {
  const fg_kv_geometry *kv = &t->a->kv;
  uint32_t dim = of == KEYS ? kv->k_dim : kv->v_dim, bits = fg_dtype_get(kv->dtype)->bits;
  for (uint32_t i = 0; i < FG_KEY_BLOCK; i++) {
    const uint8_t *row = codes->rows[of][i];
    uint16_t *to = t->plain + (uint64_t)i * dim;
    plain->rows[of][i] = row == t->zeros ? t->zeros : (const uint8_t *)to;
    if (row == t->zeros) continue;
    if (bits == 8)
      expand_row(row, dim, 8, to);
    else
      expand_row(row, dim, 4, to);
  }
}

// ---- softmax -------------------------------------------------------------------------------------------

// 2^x: the power of the whole part times a polynomial of the rest, in [0, 1), that is 1 at 0 and within
// 3e-7 of itself elsewhere (degree 5, fitted to the least largest error). 2^-inf is 0.
static inline vec exp2_vec(vec x) {
  vec f = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  vec sum = vec_set(0.00178836874f);
  sum = vec_fma(sum, f, vec_set(0.0091993876f));
  sum = vec_fma(sum, f, vec_set(0.0556570544f));
  sum = vec_fma(sum, f, vec_set(0.240207194f));
  sum = vec_fma(sum, f, vec_set(0.693147568f));
  return _mm512_scalef_ps(vec_fma(sum, f, vec_set(1)), x);
}

static inline __mmask16 quarter(uint64_t seen, int i) {
  return (__mmask16)(seen >> (i * VEC));
}

// A query's turn in the online softmax: of the block it sees the keys in `seen`. Its scores become weights,
// its output so far is brought to the new maximum.
static void soften(const attend *t, uint32_t query, uint64_t seen) {
  const float *s = t->scores + (uint64_t)query * FG_KEY_BLOCK;
  uint32_t *w = t->weights + (uint64_t)query * PAIRS;
  if (!seen) {
    memset(w, 0, PAIRS * sizeof *w);
    return;
  }
  vec lowest = vec_set(-INFINITY);
  vec s0 = _mm512_mask_loadu_ps(lowest, quarter(seen, 0), s);
  vec s1 = _mm512_mask_loadu_ps(lowest, quarter(seen, 1), s + VEC);
  vec s2 = _mm512_mask_loadu_ps(lowest, quarter(seen, 2), s + 2 * VEC);
  vec s3 = _mm512_mask_loadu_ps(lowest, quarter(seen, 3), s + 3 * VEC);
  float max = vec_highest(vec_max(vec_max(s0, s1), vec_max(s2, s3)));
  if (max > t->max[query]) {
    vec factor = exp2_vec(vec_set(t->max[query] - max));
    float *out = t->out + query * t->v_stride;
    for (uint64_t i = 0; i < t->v_stride; i += VEC) vec_store(out + i, vec_mul(vec_load(out + i), factor));
    t->sums[query] *= _mm512_cvtss_f32(factor);
    t->max[query] = max;
  }
  vec top = vec_set(t->max[query]);
  s0 = exp2_vec(vec_sub(s0, top));
  s1 = exp2_vec(vec_sub(s1, top));
  s2 = exp2_vec(vec_sub(s2, top));
  s3 = exp2_vec(vec_sub(s3, top));
  _mm512_storeu_si512(w, (__m512i)_mm512_cvtne2ps_pbh(s1, s0));
  _mm512_storeu_si512(w + VEC, (__m512i)_mm512_cvtne2ps_pbh(s3, s2));
  t->sums[query] += vec_sum(vec_add(vec_add(s0, s1), vec_add(s2, s3)));
}

// Of the keys [first, first + 64), those in [begin, end).
static uint64_t seen_of(uint32_t first, uint32_t begin, uint32_t end) {
  if (end <= first || begin >= first + FG_KEY_BLOCK) return 0;
  uint32_t lo = begin > first ? begin - first : 0, hi = end - first;
  return (hi < FG_KEY_BLOCK ? (1ull << hi) - 1 : ~0ull) & (~0ull << lo);
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

static void score_few(const attend *t, const key_block *b, const key_block *next) {
  uint32_t dim = t->a->kv.k_dim;
  memset(t->scores, 0, (uint64_t)t->queries * FG_KEY_BLOCK * sizeof(float));
  fetcher ahead = fetch_rows(t, next, KEYS);
  for (uint32_t j = 0; j < FG_KEY_BLOCK; j += VEC) {
    const uint8_t *const *rows = &b->rows[KEYS][j];
    for (uint32_t c = 0; c < dim; c += HALVES) {
      __mmask32 mask = halves_of(dim, c);
      vec r[VEC], keys[VEC];
      for (int i = 0; i < VEC; i++) r[i] = _mm512_castsi512_ps(load_halves(rows[i], c, mask));
      for (int i = 0; i < VEC; i++) fetch_line(&ahead);
      vec_transpose_16(r, keys);
      const uint32_t *q = t->q + c / 2;
      float *scores = t->scores + j;
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
    duo sum = load_duo(t->out + c), sum_more = load_duo(t->out + c + HALVES);
    for (uint32_t i = 0; i < PAIRS; i++) {
      for (int l = 0; l < 4; l++) fetch_line(ahead);
      sum = add_duo(w[i], load_value_pair(rows + 2 * i, c, mask), sum);
      sum_more = add_duo(w[i], load_value_pair(rows + 2 * i, c + HALVES, more), sum_more);
    }
    store_duo(t->out + c, sum);
    store_duo(t->out + c + HALVES, sum_more);
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
    duo_4 sum = load_duo_4(t->out + c, t->v_stride);
    for (uint32_t i = 0; i < PAIRS; i++) {
      sum = add_duo_4(t->weights + i, load_value_pair(rows + 2 * i, c, mask), sum);
      fetch_line(ahead);
      fetch_line(ahead);
    }
    store_duo_4(t->out + c, t->v_stride, sum);
  }
}

static void add_values_8(const attend *t, const uint8_t *const *rows, fetcher *ahead) {
  for (uint32_t c = 0; c < t->a->kv.v_dim; c += HALVES) {
    __mmask32 mask = halves_of(t->a->kv.v_dim, c);
    float *out = t->out + c, *more = out + 4 * t->v_stride;
    duo_4 sum = load_duo_4(out, t->v_stride), sum_more = load_duo_4(more, t->v_stride);
    for (uint32_t i = 0; i < PAIRS; i++) {
      duo values = load_value_pair(rows + 2 * i, c, mask);
      sum = add_duo_4(t->weights + i, values, sum);
      sum_more = add_duo_4(t->weights + 4 * PAIRS + i, values, sum_more);
      fetch_line(ahead);
      fetch_line(ahead);
    }
    store_duo_4(out, t->v_stride, sum);
    store_duo_4(more, t->v_stride, sum_more);
  }
}

// ---- a block of queries --------------------------------------------------------------------------------

static void score(const attend *t, const key_block *keys, const key_block *next) {
  static const float zeros[FG_KEY_BLOCK];
  if (t->queries <= FEW) {
    score_few(t, keys, next);
    return;
  }
  fetch_all(fetch_rows(t, next, KEYS));
  transpose_keys(t, keys);
  multiply_rows(&(row_product){t->q, t->keys, zeros, t->scores, t->q_pairs, FG_KEY_BLOCK, 0, FG_KEY_BLOCK,
                               t->queries, (t->a->kv.k_dim + 1) / 2, FG_KEY_BLOCK});
}

static void add_values(const attend *t, const key_block *keys, const key_block *next) {
  fetcher ahead = fetch_rows(t, next, VALUES);
  const uint8_t *const *rows = keys->rows[VALUES];
  if (t->queries == 1 || t->queries == 4 || t->queries == 8) {
    (t->queries == 1 ? add_values_1 : t->queries == 4 ? add_values_4 : add_values_8)(t, rows, &ahead);
    return;
  }
  fetch_all(ahead);
  pair_values(t, keys);
  multiply_rows(&(row_product){t->weights, t->values, t->out, t->out, PAIRS, t->v_stride, t->v_stride,
                               t->v_stride, t->queries, PAIRS, (uint32_t)t->v_stride});
}

// Keys [first, first + 64), which `keys` tells; `next` is asked for meanwhile.
static void attend_keys(const attend *t, uint32_t first, const key_block *keys, const key_block *next) {
  const fg_query_block *block = t->block;
  bool codes = fg_dtype_get(t->a->kv.dtype)->bits > 0;
  key_block plain;
  if (codes) expand(t, keys, KEYS, &plain);
  score(t, codes ? &plain : keys, next);
  for (uint32_t i = 0; i < t->queries; i++) {
    uint32_t row = i / block->heads;
    if (has_head_scores(t->a))
      vec_head_scores(t->a, block, i, first, POWERS_OF_TWO, t->scores + (uint64_t)i * FG_KEY_BLOCK);
    soften(t, i, seen_of(first, first_key(t->a, block, row), block->position + row + 1));
  }
  if (codes) expand(t, keys, VALUES, &plain);
  add_values(t, codes ? &plain : keys, next);
}

static void load_queries(const attend *t) {
  const fg_attention *a = t->a;
  const vec scale = vec_set(a->scale * POWERS_OF_TWO);
  for (uint32_t i = 0; i < t->queries; i++) {
    uint64_t row = t->block->row + i / t->block->heads, head = t->block->head + i % t->block->heads;
    const float *q = a->q + row * a->q_stride + head * a->kv.k_dim;
    for (uint32_t c = 0; c < 2 * t->q_pairs; c += VEC) {
      uint32_t left = c < a->kv.k_dim ? a->kv.k_dim - c : 0;
      vec scaled = vec_mul(vec_load_part(q + (left ? c : 0), left < VEC ? left : VEC), scale);
      _mm256_storeu_si256((void *)((uint16_t *)(t->q + (uint64_t)i * t->q_pairs) + c), vec_to_bf16(scaled));
    }
    begin_softmax(a, t->block, i, POWERS_OF_TWO, &t->max[i], &t->sums[i]);
  }
  memset(t->out, 0, t->queries * t->v_stride * sizeof(float));
}

static void store_outputs(const attend *t) {
  const fg_attention *a = t->a;
  for (uint32_t i = 0; i < t->queries; i++) {
    uint64_t row = t->block->row + i / t->block->heads, head = t->block->head + i % t->block->heads;
    float *out = a->out + row * a->out_stride + head * a->kv.v_dim;
    const float *sums = t->out + i * t->v_stride;
    for (uint32_t c = 0; c < a->kv.v_dim; c++) out[c] = sums[c] / t->sums[i];
  }
}

static void attention(const fg_attention *a, const fg_query_block *block, void *scratch) {
  attend t = {.a = a, .block = block, .queries = block->rows * block->heads};
  uint64_t k_stride = ((uint64_t)a->kv.k_dim + DIMS - 1) / DIMS * DIMS;
  t.v_stride = ((uint64_t)a->kv.v_dim + DIMS - 1) / DIMS * DIMS;
  t.q_pairs = (uint32_t)(k_stride / 2);
  t.keys = scratch;
  t.values = t.keys + (uint64_t)t.q_pairs * FG_KEY_BLOCK;
  t.q = (uint32_t *)(t.values + t.v_stride * PAIRS);
  t.weights = t.q + (uint64_t)t.q_pairs * FG_QUERY_BLOCK;
  t.scores = (float *)(t.weights + (uint64_t)PAIRS * FG_QUERY_BLOCK);
  t.out = t.scores + (uint64_t)FG_KEY_BLOCK * FG_QUERY_BLOCK;
  t.max = t.out + t.v_stride * FG_QUERY_BLOCK;
  t.sums = t.max + FG_QUERY_BLOCK;
  uint64_t stride = k_stride > t.v_stride ? k_stride : t.v_stride;
  t.plain = (uint16_t *)(t.sums + FG_QUERY_BLOCK);
  t.zeros = (uint8_t *)(t.plain + stride * FG_KEY_BLOCK);
  memset(t.zeros, 0, 2 * stride);
  // Columns of values beyond v_dim are multiplied, but not always written.
  if (t.v_stride - a->kv.v_dim >= HALVES) memset(t.values, 0, t.v_stride * PAIRS * sizeof *t.values);
  load_queries(&t);
  key_block blocks[2];
  uint32_t first = first_block(a, block), end = block->position + block->rows;
  find_rows(&t, block, first, &blocks[0]);
  if (!block->fetched) {
    fetch_all(fetch_rows(&t, &blocks[0], KEYS));
    fetch_all(fetch_rows(&t, &blocks[0], VALUES));
  }
  for (uint32_t turn = 0; first < end; first += FG_KEY_BLOCK, turn ^= 1) {
    if (first + FG_KEY_BLOCK < end || !block->next)
      find_rows(&t, block, first + FG_KEY_BLOCK, &blocks[turn ^ 1]);
    else
      find_rows(&t, block->next, first_block(a, block->next), &blocks[turn ^ 1]);
    attend_keys(&t, first, &blocks[turn], &blocks[turn ^ 1]);
  }
  store_outputs(&t);
}

void fg_attention_avx512_bf16(fg_kernels *k) {
  k->attend_bf16[FG_BF16] = attention;
  k->attend_bf16[FG_I8G64M] = attention;
  k->attend_bf16[FG_I4G64M] = attention;
}

#else
typedef int fg_avx512_bf16_is_not_of_this_cpu;
#endif
