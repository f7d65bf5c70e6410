// attend_avx512.h: what the two kernels of attention for AVX-512 share: where the keys of a block are, asking
// for them ahead of their use, and the softmax. Scores are in powers of two.
#ifndef FG_KERNELS_ATTEND_AVX512_H
#define FG_KERNELS_ATTEND_AVX512_H

#include <float.h>
#include <math.h>

#include "kernels/kernels_internal.h"
#include "kernels/vec_avx512.h"
// vectors come first
#include "kernels/head_scores_tmpl.h"

#define POWERS_OF_TWO 1.44269504f // 1 / ln 2: the unit of scores

// Four vectors: variables of their own, since compilers keep an array of them in memory.
typedef struct vec_4 {
  vec v0, v1, v2, v3;
} vec_4;

static inline vec_4 load_4(const float *p) {
  return (vec_4){vec_load(p), vec_load(p + VEC), vec_load(p + 2 * VEC), vec_load(p + 3 * VEC)};
}
static inline void store_4(float *p, vec_4 x) {
  vec_store(p, x.v0);
  vec_store(p + VEC, x.v1);
  vec_store(p + 2 * VEC, x.v2);
  vec_store(p + 3 * VEC, x.v3);
}

// ---- keys and values -----------------------------------------------------------------------------------

typedef enum side { KEYS, VALUES } side;

// Rows that lie one behind the other.
typedef struct run {
  const uint8_t *begin, *end;
} run;

// Where the rows of a block of keys and of values are; a row of zeros for positions that no query of the
// block sees.
typedef struct key_block {
  const uint8_t *rows[2][FG_KEY_BLOCK + 8]; // [side], padded
  run runs[2][FG_KEY_BLOCK];
  uint32_t run_count;
} key_block;

static inline uint32_t first_block(const fg_attention *a, const fg_query_block *block) {
  return fg_block_first_key(a, block) / FG_KEY_BLOCK * FG_KEY_BLOCK;
}

// What is the same for all blocks of keys.
typedef struct row_places {
  uint64_t page_bytes, bytes[2], at[2]; // [side]: from row to row, and of a KV head's first row in a page
  __m512i steps[2];                     // 0 to 7 rows
  const uint8_t *zeros;                 // a row
} row_places;

static inline row_places places_of(const fg_attention *a, const fg_query_block *block, const uint8_t *zeros) {
  const fg_kv_geometry *kv = &a->kv;
  uint32_t kv_head = block->head / (a->heads / kv->kv_heads);
  row_places r = {
      .page_bytes = fg_kv_page_bytes(kv),
      .bytes = {fg_kv_row_bytes(kv->dtype, kv->k_dim), fg_kv_value_step(kv)},
      .at = {fg_kv_key_offset(kv, kv_head, 0), fg_kv_value_offset(kv, kv_head, 0)},
      .zeros = zeros,
  };
  const __m512i numbers = _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0);
  for (int i = 0; i < 2; i++)
    r.steps[i] = _mm512_mullo_epi64(numbers, _mm512_set1_epi64((long long)r.bytes[i]));
  return r;
}

// Eight at a time; those too many are overwritten by the next or lie in the padding.
static inline void put_rows(const uint8_t **rows, const uint8_t *begin, uint64_t bytes, __m512i steps,
                            uint32_t count) {
  for (uint32_t k = 0; k < count; k += 8) {
    __m512i base = _mm512_set1_epi64((long long)(uintptr_t)(begin + k * bytes));
    _mm512_storeu_si512(rows + k, _mm512_add_epi64(base, steps));
  }
}

static inline void put_zeros(const row_places *r, key_block *b, uint32_t i, uint32_t count) {
  put_rows(b->rows[KEYS] + i, r->zeros, 0, _mm512_setzero_si512(), count);
  put_rows(b->rows[VALUES] + i, r->zeros, 0, _mm512_setzero_si512(), count);
}

static inline void put_run(const row_places *r, side of, const uint8_t *begin, uint32_t count, uint32_t i,
                           key_block *b) {
  put_rows(b->rows[of] + i, begin, r->bytes[of], r->steps[of], count);
  b->runs[of][b->run_count] = (run){begin, begin + count * r->bytes[of]};
}

// Of the keys [first, first + 64) those that `block` sees, which are in [begin, end).
static inline void find_rows(const fg_attention *a, const fg_query_block *block, uint32_t first,
                             const row_places *r, key_block *b) {
  uint32_t begin = fg_block_first_key(a, block), end = fg_block_end_key(block), tokens = a->kv.page_tokens;
  uint32_t i = begin > first ? begin - first : 0,
           last = end < first + FG_KEY_BLOCK ? end : first + FG_KEY_BLOCK;
  b->run_count = 0;
  if (i > FG_KEY_BLOCK || end <= first) i = FG_KEY_BLOCK;
  put_zeros(r, b, 0, i);
  uint32_t page = (first + i) / tokens, token = (first + i) % tokens;
  for (; first + i < last; page++, token = 0) {
    uint32_t count = last - first - i < tokens - token ? last - first - i : tokens - token;
    const uint8_t *at = a->cache + (uint64_t)block->pages[page] * r->page_bytes;
    put_run(r, KEYS, at + r->at[KEYS] + token * r->bytes[KEYS], count, i, b);
    put_run(r, VALUES, at + r->at[VALUES] + token * r->bytes[VALUES], count, i, b);
    b->run_count++;
    i += count;
  }
  put_zeros(r, b, i, FG_KEY_BLOCK - i);
}

// Asks for the rows of a block ahead of their use, line by line in order of address: pages lie anywhere and
// their runs are too short for the CPU to foresee.
typedef struct fetcher {
  const run *next, *end;
  const uint8_t *at;
} fetcher;

enum {
  LINE = 64, // bytes of a line of the CPU's caches
  // Bytes of a block: smaller ones are asked for a whole block ahead, others half a block, so that requests
  // run 4 to 16 KB ahead: less, and they come too late; more, and the first cache does not keep them.
  FAR_BELOW = 16384,
};

static inline const uint8_t *line_of(const uint8_t *p) {
  return p - (uintptr_t)p % LINE;
}

static inline fetcher fetch_rows(const key_block *b, side of) {
  return (fetcher){b->runs[of], b->runs[of] + b->run_count,
                   b->run_count ? line_of(b->runs[of]->begin) : NULL};
}

static inline void fetch_lines(fetcher *f, uint32_t count) {
  while (count > 0 && f->next < f->end) {
    for (; count > 0 && f->at < f->next->end; f->at += LINE, count--) __builtin_prefetch(f->at, 0, 3);
    if (f->at < f->next->end) return;
    if (++f->next < f->end) f->at = line_of(f->next->begin);
  }
}

static inline void fetch_all(fetcher f) {
  fetch_lines(&f, UINT32_MAX);
}

// What a kernel does with keys [first, first + 64), which `keys` tells; ahead[side] is to be asked for while
// that side is used.
typedef void keys_fn(const void *context, uint32_t first, const key_block *keys, const fetcher ahead[2]);

// Whether both sides are asked for a whole block ahead.
static inline bool fetches_far(const fg_attention *a) {
  const fg_kv_geometry *kv = &a->kv;
  return (fg_kv_row_bytes(kv->dtype, kv->k_dim) + fg_kv_value_step(kv)) * FG_KEY_BLOCK < FAR_BELOW;
}

// Of what a kernel may ask for, the keys of the next block.
static inline fetcher keys_ahead(const fg_attention *a, const fetcher ahead[2]) {
  return ahead[fetches_far(a) ? KEYS : VALUES];
}

// `zeros`: a row.
static inline void walk_keys(const fg_attention *a, const fg_query_block *block, const uint8_t *zeros,
                             keys_fn *attend, const void *context) {
  const row_places places = places_of(a, block, zeros);
  const bool far = fetches_far(a);
  key_block blocks[2];
  uint32_t first = first_block(a, block), end = fg_block_end_key(block);
  find_rows(a, block, first, &places, &blocks[0]);
  if (!block->fetched) {
    fetch_all(fetch_rows(&blocks[0], KEYS));
    if (far) fetch_all(fetch_rows(&blocks[0], VALUES));
  }
  for (uint32_t turn = 0; first < end; first += FG_KEY_BLOCK, turn ^= 1) {
    const key_block *keys = &blocks[turn];
    key_block *next = &blocks[turn ^ 1];
    if (first + FG_KEY_BLOCK < end || !block->next)
      find_rows(a, block, first + FG_KEY_BLOCK, &places, next);
    else
      find_rows(a, block->next, first_block(a, block->next), &places, next);
    const fetcher ahead[2] = {far ? fetch_rows(next, KEYS) : fetch_rows(keys, VALUES),
                              fetch_rows(next, far ? VALUES : KEYS)};
    attend(context, first, keys, ahead);
  }
}

// ---- softmax -------------------------------------------------------------------------------------------

// Of the queries of a block.
typedef struct softmax {
  float *scores;     // [queries, 64]
  float *out;        // [queries, stride], not yet divided by sums
  uint64_t stride;   // a multiple of 64
  float *max, *sums; // [queries]
} softmax;

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

// A query's turn in the online softmax: of the block it sees the keys in `seen`. Returns its weights; its
// output so far is brought to the new maximum.
static inline vec_4 soften(const softmax *t, uint32_t query, uint64_t seen) {
  const float *s = t->scores + (uint64_t)query * FG_KEY_BLOCK;
  if (!seen) return (vec_4){vec_set(0), vec_set(0), vec_set(0), vec_set(0)};
  vec lowest = vec_set(-INFINITY);
  vec s0 = _mm512_mask_loadu_ps(lowest, quarter(seen, 0), s);
  vec s1 = _mm512_mask_loadu_ps(lowest, quarter(seen, 1), s + VEC);
  vec s2 = _mm512_mask_loadu_ps(lowest, quarter(seen, 2), s + 2 * VEC);
  vec s3 = _mm512_mask_loadu_ps(lowest, quarter(seen, 3), s + 3 * VEC);
  float max = vec_highest(vec_max(vec_max(s0, s1), vec_max(s2, s3)));
  if (max > t->max[query]) {
    vec factor = exp2_vec(vec_set(t->max[query] - max));
    float *out = t->out + query * t->stride;
    for (uint64_t i = 0; i < t->stride; i += VEC) vec_store(out + i, vec_mul(vec_load(out + i), factor));
    t->sums[query] *= _mm512_cvtss_f32(factor);
    t->max[query] = max;
  }
  vec top = vec_set(t->max[query]);
  s0 = exp2_vec(vec_sub(s0, top));
  s1 = exp2_vec(vec_sub(s1, top));
  s2 = exp2_vec(vec_sub(s2, top));
  s3 = exp2_vec(vec_sub(s3, top));
  t->sums[query] += vec_sum(vec_add(vec_add(s0, s1), vec_add(s2, s3)));
  return (vec_4){s0, s1, s2, s3};
}

// Of the keys [first, first + 64), those that a row of the block's queries sees.
static inline uint64_t seen_of(const fg_attention *a, const fg_query_block *block, uint32_t row,
                               uint32_t first) {
  uint32_t begin = fg_first_key(a, block, row), end = fg_end_key(block, row);
  if (end <= first || begin >= first + FG_KEY_BLOCK) return 0;
  uint32_t lo = begin > first ? begin - first : 0, hi = end - first;
  return (hi < FG_KEY_BLOCK ? (1ull << hi) - 1 : ~0ull) & (~0ull << lo);
}

#endif
