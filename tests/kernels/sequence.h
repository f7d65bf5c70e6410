// sequence.h: a sequence in a KV cache, its attention by the definition, and by a kernel.
#ifndef FG_TESTS_KERNELS_SEQUENCE_H
#define FG_TESTS_KERNELS_SEQUENCE_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "random.h"

// One sequence: q, k and v of all its tokens in float32 (k and v as the cache holds them), and a cache
// whose pages lie in a shuffled order. Memory of no token is NaN.
typedef struct sequence {
  fg_kv_geometry kv;
  uint32_t heads, tokens, window;
  float scale, softcap;
  fg_head_kind head_kind;
  float *numbers; // [heads]
  float *q, *k, *v;
  uint8_t *cache;
  int32_t *pages;
} sequence;

// A row of a cache as float32, by the types' definitions (kv_codes_tmpl.h has that of codes).
static inline void get_row(fg_dtype dtype, const uint8_t *row, uint32_t dim, float *out) {
  const fg_dtype_info *info = fg_dtype_get(dtype);
  if (info->block == 1) {
    info->to_f32(row, out, dim);
    return;
  }
  for (uint32_t i = 0; i < dim; i++) {
    uint32_t group = i / info->block, place = i % info->block, run = place / 16, lane = place % 16;
    const uint8_t *at = row + (uint64_t)group * (4 + info->block * info->bits / 8);
    float d, m;
    fg_dtype_get(FG_F16)->to_f32(at, &d, 1);
    fg_dtype_get(FG_F16)->to_f32(at + 2, &m, 1);
    at += 4 + run * 2 * info->bits;
    uint32_t code = info->bits == 8 ? at[lane] : at[lane % 8] >> lane / 8 * 4 & 15;
    out[i] = d * (float)code + m;
  }
}

// What the cache holds becomes the sequence's k and v.
static inline void put_row(fg_dtype dtype, float *x, uint32_t dim, uint8_t *row) {
  fg_kernels reference;
  fg_kernels_init(&reference, 0);
  reference.to_cache[dtype](x, row, dim);
  get_row(dtype, row, dim, x);
}

static inline void put_token(sequence *s, uint32_t token) {
  const fg_kv_geometry *kv = &s->kv;
  uint8_t *page = s->cache + (uint64_t)s->pages[token / kv->page_tokens] * fg_kv_page_bytes(kv);
  uint32_t place = token % kv->page_tokens;
  uint64_t k_bytes = fg_kv_row_bytes(kv->dtype, kv->k_dim), v_bytes = fg_kv_row_bytes(kv->dtype, kv->v_dim);
  const bool apart = !kv->v_in_k;
  uint8_t *values = page + kv->kv_heads * kv->page_tokens * k_bytes;
  for (uint32_t h = 0; h < kv->kv_heads; h++) {
    float *k = s->k + ((uint64_t)token * kv->kv_heads + h) * kv->k_dim;
    float *v = s->v + ((uint64_t)token * kv->kv_heads + h) * kv->v_dim;
    put_row(kv->dtype, k, kv->k_dim, page + (h * kv->page_tokens + place) * k_bytes);
    if (apart)
      put_row(kv->dtype, v, kv->v_dim, values + (h * kv->page_tokens + place) * v_bytes);
    else
      memcpy(v, k, kv->v_dim * sizeof *v);
  }
}

static inline sequence make_sequence(fg_kv_geometry kv, uint32_t heads, uint32_t tokens, uint32_t window,
                                     uint64_t seed) {
  uint64_t state = seed;
  sequence s = {.kv = kv, .heads = heads, .tokens = tokens, .window = window, .scale = 0.3f};
  if (kv.k_dim > 256)
    s.scale *= sqrtf(256 / (float)kv.k_dim); // scores no larger than those of 256 dimensions
  s.q = random_floats(&state, (size_t)tokens * heads * kv.k_dim);
  s.k = random_floats(&state, (size_t)tokens * kv.kv_heads * kv.k_dim);
  s.v = random_floats(&state, (size_t)tokens * kv.kv_heads * kv.v_dim);
  for (size_t i = 0; i < (size_t)tokens * heads * kv.k_dim; i++) s.q[i] *= 6; // weights far from uniform
  uint32_t pages = (tokens - 1) / kv.page_tokens + 1;
  s.cache = malloc(pages * fg_kv_page_bytes(&kv));
  memset(s.cache, 0xff, pages * fg_kv_page_bytes(&kv));
  s.pages = malloc(pages * sizeof *s.pages);
  for (uint32_t i = 0; i < pages; i++) {
    uint32_t j = (uint32_t)(random_u64(&state) % (i + 1));
    s.pages[i] = s.pages[j];
    s.pages[j] = (int32_t)i;
  }
  for (uint32_t t = 0; t < tokens; t++) put_token(&s, t);
  s.numbers = random_floats(&state, heads); // slopes or sinks
  return s;
}

// What a test runs over: a row of its table.
typedef struct setting {
  fg_kv_geometry kv;
  uint32_t heads, tokens, window;
  float softcap;
  fg_head_kind head_kind;
} setting;

static inline sequence sequence_of(const setting *s) {
  sequence made = make_sequence(s->kv, s->heads, s->tokens, s->window, s->tokens * 31 + s->heads);
  made.softcap = s->softcap;
  made.head_kind = s->head_kind;
  return made;
}

// Of a block of queries.
static inline uint32_t most_rows(const setting *s) {
  return FG_QUERY_BLOCK / (s->heads / s->kv.kv_heads);
}

static inline void drop_sequence(sequence *s) {
  free(s->q), free(s->k), free(s->v), free(s->cache), free(s->pages), free(s->numbers);
}

static inline double to_bf16(double x) {
  float wide = (float)x;
  uint16_t half;
  fg_dtype_get(FG_BF16)->from_f32(&wide, &half, 1);
  fg_dtype_get(FG_BF16)->to_f32(&half, &wide, 1);
  return wide;
}

static inline double head_score(const sequence *s, uint32_t head, double scaled, uint32_t i, uint32_t j) {
  const double number = s->numbers[head];
  if (s->softcap != 0) scaled = s->softcap * tanh(scaled / s->softcap);
  if (s->head_kind == FG_HEAD_ALIBI) scaled -= number * (i - j);
  if (s->head_kind == FG_HEAD_ALIBI_BF16) scaled += s->scale * to_bf16(to_bf16(number) * to_bf16(j));
  return scaled;
}

// The definition, in doubles.
static inline void naive(const sequence *s, uint32_t token, uint32_t head, double *out) {
  const fg_kv_geometry *kv = &s->kv;
  uint32_t kv_head = head / (s->heads / kv->kv_heads);
  uint32_t first = s->window && token + 1 > s->window ? token + 1 - s->window : 0;
  double *weights = calloc(token + 1, sizeof *weights), max = -INFINITY, sum = 0;
  const float *q = s->q + ((size_t)token * s->heads + head) * kv->k_dim;
  for (uint32_t j = first; j <= token; j++) {
    for (uint32_t c = 0; c < kv->k_dim; c++)
      weights[j] += (double)q[c] * s->k[((size_t)j * kv->kv_heads + kv_head) * kv->k_dim + c];
    weights[j] = head_score(s, head, weights[j] * s->scale, token, j);
    max = fmax(max, weights[j]);
  }
  if (s->head_kind == FG_HEAD_SINK) sum = exp(s->numbers[head] - max);
  for (uint32_t j = first; j <= token; j++) sum += weights[j] = exp(weights[j] - max);
  for (uint32_t c = 0; c < kv->v_dim; c++) out[c] = 0;
  for (uint32_t j = first; j <= token; j++)
    for (uint32_t c = 0; c < kv->v_dim; c++)
      out[c] += weights[j] / sum * s->v[((size_t)j * kv->kv_heads + kv_head) * kv->v_dim + c];
  free(weights);
}

// From this token's query on; out: of its row.
static inline fg_attention attention_of(const sequence *s, uint32_t token, float *out) {
  const uint32_t q_width = s->heads * s->kv.k_dim;
  return (fg_attention){.kv = s->kv,
                        .heads = s->heads,
                        .window = s->window,
                        .scale = s->scale,
                        .softcap = s->softcap,
                        .head_kind = s->head_kind,
                        .head_numbers = s->numbers,
                        .q = s->q + (size_t)token * q_width,
                        .out = out,
                        .q_stride = q_width,
                        .out_stride = s->heads * s->kv.v_dim,
                        .cache = s->cache};
}

// All tokens, in chunks of `chunk` rows, each cut into blocks of `rows` queries; out [tokens, heads, v_dim].
static inline float *attend(fg_attend_fn *attend_block, const sequence *s, uint32_t chunk, uint32_t rows) {
  uint32_t group = s->heads / s->kv.kv_heads, width = s->heads * s->kv.v_dim;
  uint32_t dim = s->kv.k_dim > s->kv.v_dim ? s->kv.k_dim : s->kv.v_dim;
  float *out = malloc((size_t)s->tokens * width * sizeof *out);
  void *scratch = malloc(fg_attend_scratch_bytes(dim));
  memset(scratch, 0xff, fg_attend_scratch_bytes(dim)); // what is left from earlier work must not matter
  for (uint32_t begin = 0; begin < s->tokens; begin += chunk) {
    uint32_t count = s->tokens - begin < chunk ? s->tokens - begin : chunk;
    fg_attention a = attention_of(s, begin, out + (size_t)begin * width);
    fg_query_block blocks[2] = {{0}};
    uint32_t units = ((count - 1) / rows + 1) * s->kv.kv_heads;
    for (uint32_t u = 0; u <= units; u++) { // each block knows the next
      uint32_t first = u / s->kv.kv_heads * rows;
      blocks[u % 2] = (fg_query_block){.pages = s->pages,
                                       .row = first,
                                       .rows = count - first < rows ? count - first : rows,
                                       .position = begin + first,
                                       .head = u % s->kv.kv_heads * group,
                                       .heads = group,
                                       .fetched = u > 0};
      fg_query_block *before = &blocks[(u + 1) % 2];
      before->next = u < units ? &blocks[u % 2] : NULL;
      if (u > 0) attend_block(&a, before, scratch);
    }
  }
  free(scratch);
  return out;
}

#endif
