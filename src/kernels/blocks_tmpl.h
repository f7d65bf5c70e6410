// blocks_tmpl.h: products of small float32 blocks and attention, over the vectors of a vec_*.h, which is
// included before.
#ifndef FG_KERNELS_BLOCKS_TMPL_H
#define FG_KERNELS_BLOCKS_TMPL_H

#include <float.h>
#include <math.h>
#include <string.h>

#include "kernels/choose_tmpl.h"
#include "kernels/exp_tmpl.h"
#include "kernels/head_scores_tmpl.h"
#include "kernels/kernels_internal.h"
#include "kernels/kv_codes_tmpl.h"

// ---- products ------------------------------------------------------------------------------------------

#define ROW_FACTOR float
static inline vec row_factor_add(float a, vec b, vec c) {
  return vec_fma(vec_set(a), b, c);
}
#include "kernels/row_products_tmpl.h"
#include "kernels/wide_product_tmpl.h"

static void vec_tile_product(const float *x, uint32_t rows, uint32_t k, const float *tile, float *out) {
  static const float zeros[FG_TILE_ROWS];
  multiply_rows(&(row_product){x, tile, zeros, out, k, FG_TILE_ROWS, 0, FG_TILE_ROWS, rows, k, FG_TILE_ROWS});
}

// ---- attention -----------------------------------------------------------------------------------------

// Rows of scratch are padded to this, so that products of four vectors fit.
enum { VEC_DIM = 64 };

typedef struct vec_attend {
  const fg_attention *a;
  const fg_query_block *block;
  uint64_t k_stride, v_stride; // of rows in scratch
  float *keys;                 // [k_stride, 64]: the block's keys, transposed
  float *rows;                 // [64, the larger stride]: keys as rows, then values
  float *q;                    // [queries, k_stride], scaled
  float *out;                  // [queries, v_stride], not yet divided by sums
  float *weights;              // [queries, 64]: scores, then their exponentials
  float *max, *sums;           // [queries]
  uint32_t queries;
} vec_attend;

static void vec_expand_f32(const uint8_t *src, uint32_t count, float *dst) {
  memcpy(dst, src, (uint64_t)count * 4);
}
static void vec_expand_f16(const uint8_t *src, uint32_t count, float *dst) {
  uint32_t i = 0;
  for (; i + VEC <= count; i += VEC) vec_store(dst + i, vec_load_f16(src + 2 * (uint64_t)i, VEC));
  if (i < count) vec_store(dst + i, vec_load_f16(src + 2 * (uint64_t)i, count - i));
}
static void vec_expand_bf16(const uint8_t *src, uint32_t count, float *dst) {
  uint32_t i = 0;
  for (; i + VEC <= count; i += VEC) vec_store(dst + i, vec_load_bf16(src + 2 * (uint64_t)i, VEC));
  if (i < count) vec_store(dst + i, vec_load_bf16(src + 2 * (uint64_t)i, count - i));
}

// A row; of plain types any number of values.
static void (*const vec_expand[FG_DTYPE_COUNT])(const uint8_t *src, uint32_t count, float *dst) = {
    [FG_F32] = vec_expand_f32,   [FG_F16] = vec_expand_f16,   [FG_BF16] = vec_expand_bf16,
    [FG_I8G64M] = kv_get_i8g64m, [FG_I4G64M] = kv_get_i4g64m,
};

typedef enum vec_part { VEC_KEYS, VEC_VALUES } vec_part;

static uint32_t vec_dim(const vec_attend *t, vec_part part) {
  return part == VEC_KEYS ? t->a->kv.k_dim : t->a->kv.v_dim;
}

// From a row of the cache to the next token's.
static uint64_t vec_step(const vec_attend *t, vec_part part) {
  const fg_kv_geometry *kv = &t->a->kv;
  return part == VEC_KEYS ? fg_kv_row_bytes(kv->dtype, kv->k_dim) : fg_kv_value_step(kv);
}

// Where the block's KV head has the keys (values) of positions [p, p + *run), which lie in one page.
static const uint8_t *vec_run(const vec_attend *t, vec_part part, uint32_t p, uint32_t end, uint32_t *run) {
  const fg_kv_geometry *kv = &t->a->kv;
  uint32_t kv_head = t->block->head / (t->a->heads / kv->kv_heads), token = p % kv->page_tokens;
  uint32_t left = kv->page_tokens - token;
  *run = end - p < left ? end - p : left;
  return t->a->cache + (uint64_t)t->block->pages[p / kv->page_tokens] * fg_kv_page_bytes(kv) +
         (part == VEC_KEYS ? fg_kv_key_offset : fg_kv_value_offset)(kv, kv_head, token);
}

// Row j becomes the key (value) at position first + j, for positions [begin, end).
static void vec_gather(const vec_attend *t, vec_part part, uint32_t first, uint32_t begin, uint32_t end) {
  fg_dtype dtype = t->a->kv.dtype;
  uint32_t dim = vec_dim(t, part), run;
  uint64_t stride = part == VEC_KEYS ? t->k_stride : t->v_stride, bytes = vec_step(t, part);
  bool together = stride == dim && fg_dtype_get(dtype)->block == 1 && bytes == fg_kv_row_bytes(dtype, dim);
  for (uint32_t p = begin; p < end; p += run) {
    const uint8_t *src = vec_run(t, part, p, end, &run);
    float *rows = t->rows + (p - first) * stride;
    if (together)
      vec_expand[dtype](src, run * dim, rows);
    else
      for (uint32_t i = 0; i < run; i++) vec_expand[dtype](src + i * bytes, dim, rows + i * stride);
  }
}

// Asks for the keys (values) of positions [begin, end), which the next block of keys will read: pages lie
// anywhere, and their runs are too short for the CPU to foresee (6.5 to 10.9 GB/s a thread, bfloat16).
static void vec_prefetch(const vec_attend *t, vec_part part, uint32_t begin, uint32_t end) {
  uint32_t run;
  uint64_t bytes = vec_step(t, part);
  for (uint32_t p = begin; p < end; p += run) {
    const uint8_t *src = vec_run(t, part, p, end, &run);
    for (uint64_t at = 0; at < run * bytes; at += 64) __builtin_prefetch(src + at, 0, 2);
  }
}

static void vec_transpose_keys(const vec_attend *t, uint32_t begin, uint32_t end) {
  for (uint32_t j = begin / VEC * VEC; j < end; j += VEC)
    for (uint32_t c = 0; c < t->a->kv.k_dim; c += VEC)
      vec_transpose(t->rows + j * t->k_stride + c, t->k_stride, t->keys + (uint64_t)c * FG_KEY_BLOCK + j,
                    FG_KEY_BLOCK);
}

static void vec_scale_row(float *row, float factor, uint64_t width) {
  for (uint64_t i = 0; i < width; i += VEC) vec_store(row + i, vec_mul(vec_load(row + i), vec_set(factor)));
}

// One query's turn in the online softmax: it sees keys [begin, end) of the block. Its scores become
// weights, its output so far is brought to the new maximum.
static void vec_soften(const vec_attend *t, uint32_t query, int32_t begin, int32_t end) {
  float *w = t->weights + (uint64_t)query * FG_KEY_BLOCK;
  vec lowest = vec_set(-INFINITY), high = lowest, sum = vec_set(0);
  if (begin >= end) {
    memset(w, 0, FG_KEY_BLOCK * sizeof *w);
    return;
  }
  for (int32_t i = 0; i < FG_KEY_BLOCK; i += VEC) {
    vec s = vec_range(vec_load(w + i), begin - i, end - i, lowest);
    vec_store(w + i, s);
    high = vec_max(high, s);
  }
  float before = t->max[query], max = vec_highest(high);
  if (max > before) {
    float factor[VEC];
    vec_store(factor, vec_exp(vec_set(before - max)));
    vec_scale_row(t->out + query * t->v_stride, factor[0], t->v_stride);
    t->sums[query] *= factor[0];
    t->max[query] = max;
  } else {
    max = before;
  }
  for (int32_t i = 0; i < FG_KEY_BLOCK; i += VEC) {
    vec e = vec_exp(vec_sub(vec_load(w + i), vec_set(max)));
    vec_store(w + i, e);
    sum = vec_add(sum, e);
  }
  t->sums[query] += vec_sum(sum);
}

static void vec_attend_keys(const vec_attend *t, uint32_t first) {
  const fg_query_block *block = t->block;
  uint32_t last = fg_block_end_key(block), begin = fg_block_first_key(t->a, block);
  begin = begin > first ? begin : first;
  uint32_t next = first + FG_KEY_BLOCK, end = last < next ? last : next;
  uint32_t next_end = last < next + FG_KEY_BLOCK ? last : next + FG_KEY_BLOCK;
  vec_prefetch(t, VEC_KEYS, next, next_end);
  vec_gather(t, VEC_KEYS, first, begin, end);
  vec_transpose_keys(t, begin - first, end - first);
  static const float zeros[FG_KEY_BLOCK];
  multiply_rows(&(row_product){t->q, t->keys, zeros, t->weights, t->k_stride, FG_KEY_BLOCK, 0, FG_KEY_BLOCK,
                               t->queries, t->a->kv.k_dim, FG_KEY_BLOCK});
  for (uint32_t i = 0; i < t->queries; i++) {
    uint32_t r = i / block->heads, from = fg_first_key(t->a, block, r), to = fg_end_key(block, r);
    if (has_head_scores(t->a))
      vec_head_scores(t->a, block, i, first, 1, t->weights + (uint64_t)i * FG_KEY_BLOCK);
    vec_soften(t, i, from > first ? (int32_t)(from - first) : 0,
               to <= first                 ? 0
               : to < first + FG_KEY_BLOCK ? (int32_t)(to - first)
                                           : FG_KEY_BLOCK);
  }
  vec_prefetch(t, VEC_VALUES, next, next_end);
  vec_gather(t, VEC_VALUES, first, begin, end);
  multiply_rows(&(row_product){t->weights + (begin - first), t->rows + (begin - first) * t->v_stride, t->out,
                               t->out, FG_KEY_BLOCK, t->v_stride, t->v_stride, t->v_stride, t->queries,
                               end - begin, (uint32_t)t->v_stride});
}

static void vec_load_queries(const vec_attend *t) {
  const fg_attention *a = t->a;
  for (uint32_t i = 0; i < t->queries; i++) {
    const float *q = fg_query_vector(a, t->block, i);
    for (uint32_t c = 0; c < a->kv.k_dim; c++) t->q[i * t->k_stride + c] = q[c] * a->scale;
    begin_softmax(a, t->block, i, 1, &t->max[i], &t->sums[i]);
  }
  memset(t->out, 0, t->queries * t->v_stride * sizeof(float));
  for (uint32_t i = 0; i < t->queries; i++) begin_output(a, t->block, i, t->out + i * t->v_stride);
}

static void vec_store_outputs(const vec_attend *t) {
  for (uint32_t i = 0; i < t->queries; i++)
    end_query(t->a, t->block, i, t->max[i], t->sums[i], t->out + i * t->v_stride);
}

static vec_attend vec_attend_of(const fg_attention *a, const fg_query_block *block, void *scratch) {
  vec_attend t = {.a = a, .block = block, .queries = block->rows * block->heads};
  t.k_stride = ((uint64_t)a->kv.k_dim + VEC_DIM - 1) / VEC_DIM * VEC_DIM;
  t.v_stride = ((uint64_t)a->kv.v_dim + VEC_DIM - 1) / VEC_DIM * VEC_DIM;
  t.keys = scratch;
  t.rows = t.keys + t.k_stride * FG_KEY_BLOCK;
  t.q = t.rows + (t.k_stride > t.v_stride ? t.k_stride : t.v_stride) * FG_KEY_BLOCK;
  t.out = t.q + t.k_stride * FG_QUERY_BLOCK;
  t.weights = t.out + t.v_stride * FG_QUERY_BLOCK;
  t.max = t.weights + (uint64_t)FG_KEY_BLOCK * FG_QUERY_BLOCK;
  t.sums = t.max + FG_QUERY_BLOCK;
  return t;
}

static void vec_attention(const fg_attention *a, const fg_query_block *block, void *scratch) {
  const vec_attend t = vec_attend_of(a, block, scratch);
  vec_load_queries(&t);
  uint32_t begin = fg_block_first_key(a, block) / FG_KEY_BLOCK * FG_KEY_BLOCK, end = fg_block_end_key(block);
  for (uint32_t first = begin; first < end; first += FG_KEY_BLOCK) vec_attend_keys(&t, first);
  vec_store_outputs(&t);
}

// ---- sparse attention ----------------------------------------------------------------------------------

static void vec_score(const fg_attention *a, const fg_query_block *block, float *scores, uint64_t stride,
                      void *scratch) {
  static const float zeros[FG_KEY_BLOCK];
  const vec_attend t = vec_attend_of(a, block, scratch);
  const uint32_t last = fg_block_end_key(block), lowest = fg_block_first_key(a, block);
  vec_load_queries(&t);
  for (uint32_t first = lowest / FG_KEY_BLOCK * FG_KEY_BLOCK; first < last;
       first += FG_KEY_BLOCK, scores += FG_KEY_BLOCK) {
    uint32_t begin = lowest > first ? lowest : first, next = first + FG_KEY_BLOCK;
    uint32_t end = last < next ? last : next;
    vec_prefetch(&t, VEC_KEYS, next, last < next + FG_KEY_BLOCK ? last : next + FG_KEY_BLOCK);
    vec_gather(&t, VEC_KEYS, first, begin, end);
    vec_transpose_keys(&t, begin - first, end - first);
    multiply_rows(&(row_product){t.q, t.keys, zeros, scores, t.k_stride, FG_KEY_BLOCK, 0, stride, t.queries,
                                 a->kv.k_dim, FG_KEY_BLOCK});
    for (uint32_t i = 0; has_head_scores(a) && i < t.queries; i++)
      vec_head_scores(a, block, i, first, 1, scores + i * stride);
  }
}

// Of `count` scores.
static vec vec_load_scores(const float *scores, uint32_t i, uint32_t count) {
  vec lowest = vec_set(-INFINITY);
  return count - i < VEC ? vec_range(vec_load_part(scores + i, count - i), 0, (int32_t)(count - i), lowest)
                         : vec_load(scores + i);
}

// weights = exp(weights - max) / sum over all scores, and the sink's share
static void vec_soften_chosen(const fg_attention *a, const fg_sparse_query *s, float max, float sum) {
  const bool sink = a->head_kind == FG_HEAD_SINK;
  if (sink) {
    float share[VEC];
    vec_store(share, vec_exp(vec_set(a->head_numbers[s->head] - max)));
    sum += share[0];
  }
  for (uint32_t i = 0; i <= s->kept; i += VEC) // what lies behind is never used
    vec_store(s->weights + i,
              vec_div(vec_exp(vec_sub(vec_load(s->weights + i), vec_set(max))), vec_set(sum)));
}

// Where the values of a query's chosen positions are.
typedef struct vec_places {
  const fg_attention *a;
  const int32_t *pages;
  const fg_sparse_query *query;
  uint64_t page_bytes, at, step;
} vec_places;

static inline const uint8_t *vec_value_at(const vec_places *v, uint32_t i) {
  uint32_t p = v->query->begin + v->query->chosen[i], tokens = v->a->kv.page_tokens;
  return v->a->cache + (uint64_t)v->pages[p / tokens] * v->page_bytes + v->at + p % tokens * v->step;
}

// out += weights * values, the rows of 64 positions at a time; the next ones are asked for before.
static void vec_add_chosen(const vec_places *v, const vec_attend *t) {
  const fg_sparse_query *s = v->query;
  const fg_kv_geometry *kv = &v->a->kv;
  const uint64_t bytes = fg_kv_row_bytes(kv->dtype, kv->v_dim);
  for (uint32_t i = 0, ahead = 0, n; i <= s->kept; i += n) {
    n = s->kept + 1 - i < FG_KEY_BLOCK ? s->kept + 1 - i : FG_KEY_BLOCK;
    for (; ahead <= s->kept && ahead < i + n + FG_KEY_BLOCK; ahead++) {
      const uint8_t *row = vec_value_at(v, ahead);
      for (uint64_t byte = 0; byte < bytes; byte += 64) __builtin_prefetch(row + byte, 0, 3);
      __builtin_prefetch(row + bytes - 1, 0, 3);
    }
    for (uint32_t j = 0; j < n; j++)
      vec_expand[kv->dtype](vec_value_at(v, i + j), kv->v_dim, t->rows + j * t->v_stride);
    multiply_rows(&(row_product){s->weights + i, t->rows, t->out, t->out, FG_KEY_BLOCK, t->v_stride,
                                 t->v_stride, t->v_stride, 1, n, (uint32_t)t->v_stride});
  }
}

static void vec_sparse_values(const fg_attention *a, const int32_t *pages, const fg_sparse_query *s,
                              void *scratch) {
  const fg_query_block block = {.pages = pages, .rows = 1, .heads = 1, .head = s->head};
  const vec_attend t = vec_attend_of(a, &block, scratch);
  const uint32_t count = s->end - s->begin, kv_head = s->head / (a->heads / a->kv.kv_heads);
  float max, sum;
  begin_softmax(a, &block, 0, 1, &max, &sum);
  vec high = vec_set(max), total = vec_set(0);
  for (uint32_t i = 0; i < count; i += VEC) high = vec_max(high, vec_load_scores(s->scores, i, count));
  max = vec_highest(high);
  for (uint32_t i = 0; i < count; i += VEC)
    total = vec_add(total, vec_exp(vec_sub(vec_load_scores(s->scores, i, count), vec_set(max))));
  choose_largest(s->scores, count - 1, s->kept, s->chosen, s->weights);
  s->chosen[s->kept] = count - 1;
  s->weights[s->kept] = s->scores[count - 1];
  vec_soften_chosen(a, s, max, vec_sum(total));
  memset(t.out, 0, t.v_stride * sizeof *t.out);
  const vec_places places = {a,
                             pages,
                             s,
                             fg_kv_page_bytes(&a->kv),
                             fg_kv_value_offset(&a->kv, kv_head, 0),
                             fg_kv_value_step(&a->kv)};
  vec_add_chosen(&places, &t);
  memcpy(a->out + (uint64_t)s->row * a->out_stride + (uint64_t)s->head * a->kv.v_dim, t.out,
         a->kv.v_dim * sizeof *t.out);
}

static void vec_blocks(fg_kernels *k) {
  k->product = vec_tile_product;
  k->product_wide[FG_BF16] = wide_product_bf16;
  k->product_wide[FG_F16] = wide_product_f16;
  k->attend[FG_F32] = vec_attention;
  k->attend[FG_F16] = vec_attention;
  k->attend[FG_BF16] = vec_attention;
  k->attend[FG_I8G64M] = vec_attention;
  k->attend[FG_I4G64M] = vec_attention;
  for (int dtype = 0; dtype < FG_DTYPE_COUNT; dtype++)
    if (k->attend[dtype]) k->score[dtype] = vec_score;
  k->sparse_values = vec_sparse_values;
}

#endif
