// Attention in plain C: one query at a time, keys in blocks as attention.h says.
#include <float.h>
#include <math.h>
#include <string.h>

#include "kernels/choose_tmpl.h"
#include "kernels/kernels_internal.h"
#include "kernels/kv_codes_tmpl.h"
#include "tensor/half.h"

// For the largest user, blocks_tmpl.h: dimensions padded to 64; keys transposed, keys or values as rows,
// queries, outputs, weights, and a maximum and a sum a query.
uint64_t fg_attend_scratch_bytes(uint32_t head_dim) {
  uint64_t dim = ((uint64_t)head_dim + 63) / 64 * 64;
  uint64_t keys = 2 * FG_KEY_BLOCK * dim, queries = FG_QUERY_BLOCK * (2 * dim + FG_KEY_BLOCK + 2);
  return (keys + queries) * sizeof(float);
}

typedef struct query {
  const fg_attention *a;
  const int32_t *pages;
  const float *q;
  float *out;
  uint32_t head, kv_head;
  uint32_t position;
  uint32_t begin, end; // keys that it sees
  float *row;          // a key or a value in float32
  float *state;        // where it resumes or pauses
  bool resumes, pauses;
} query;

static const uint8_t *page_of(const query *q, uint32_t position) {
  const fg_kv_geometry *kv = &q->a->kv;
  return q->a->cache + (uint64_t)q->pages[position / kv->page_tokens] * fg_kv_page_bytes(kv);
}

static void load_row(const query *q, const uint8_t *from, uint32_t dim) {
  fg_dtype dtype = q->a->kv.dtype;
  if (dtype == FG_I8G64M)
    kv_get_i8g64m(from, dim, q->row);
  else if (dtype == FG_I4G64M)
    kv_get_i4g64m(from, dim, q->row);
  else
    fg_dtype_get(dtype)->to_f32(from, q->row, dim);
}

static float in_bf16(float x) {
  return fg_bf16_to_f32(fg_bf16_from_f32(x));
}

static float bias_of(const fg_attention *a, uint32_t head, uint32_t i, uint32_t j) {
  if (a->head_kind == FG_HEAD_ALIBI) return a->head_numbers[head] * (float)((int32_t)j - (int32_t)i);
  if (a->head_kind == FG_HEAD_ALIBI_BF16)
    return a->scale * in_bf16(in_bf16(a->head_numbers[head]) * in_bf16((float)j));
  return 0;
}

static float score(const query *q, uint32_t position) {
  const fg_kv_geometry *kv = &q->a->kv;
  float sum = 0;
  load_row(q, page_of(q, position) + fg_kv_key_offset(kv, q->kv_head, position % kv->page_tokens), kv->k_dim);
  for (uint32_t i = 0; i < kv->k_dim; i++) sum += q->q[i] * q->row[i];
  float scaled = sum * q->a->scale, cap = q->a->softcap;
  if (cap != 0) scaled = cap * tanhf(scaled / cap);
  return scaled + bias_of(q->a, q->head, q->position, position);
}

static void attend_one(const query *q) {
  const fg_kv_geometry *kv = &q->a->kv;
  const bool sink = q->a->head_kind == FG_HEAD_SINK;
  float max = sink ? q->a->head_numbers[q->head] : -FLT_MAX, sum = sink ? 1 : 0, scores[FG_KEY_BLOCK];
  if (q->resumes)
    max = q->state[0], sum = q->state[1];
  else
    memset(q->out, 0, kv->v_dim * sizeof *q->out);
  for (uint32_t first = q->begin / FG_KEY_BLOCK * FG_KEY_BLOCK; first < q->end; first += FG_KEY_BLOCK) {
    uint32_t lo = q->begin > first ? q->begin : first;
    uint32_t hi = q->end < first + FG_KEY_BLOCK ? q->end : first + FG_KEY_BLOCK;
    float before = max;
    for (uint32_t p = lo; p < hi; p++) {
      scores[p - first] = score(q, p);
      max = fmaxf(max, scores[p - first]);
    }
    float factor = expf(before - max);
    sum *= factor;
    for (uint32_t i = 0; i < kv->v_dim; i++) q->out[i] *= factor;
    for (uint32_t p = lo; p < hi; p++) {
      float weight = expf(scores[p - first] - max);
      sum += weight;
      load_row(q, page_of(q, p) + fg_kv_value_offset(kv, q->kv_head, p % kv->page_tokens), kv->v_dim);
      for (uint32_t i = 0; i < kv->v_dim; i++) q->out[i] += weight * q->row[i];
    }
  }
  if (q->pauses)
    q->state[0] = max, q->state[1] = sum;
  else
    for (uint32_t i = 0; i < kv->v_dim; i++) q->out[i] /= sum;
}

// The block's query i; scratch: a row.
static query query_of(const fg_attention *a, const fg_query_block *block, uint32_t i, void *scratch) {
  uint32_t head = block->head + i % block->heads, r = i / block->heads;
  const bool carries = block->resumes || block->pauses;
  return (query){
      .a = a,
      .pages = block->pages,
      .q = fg_query_vector(a, block, i),
      .out = fg_query_output(a, block, i),
      .head = head,
      .kv_head = head / (a->heads / a->kv.kv_heads),
      .position = fg_block_position(block, r),
      .begin = fg_first_key(a, block, r),
      .end = fg_end_key(block, r),
      .row = scratch,
      .state = carries ? fg_query_state(a, block, i) : NULL,
      .resumes = block->resumes,
      .pauses = block->pauses,
  };
}

static void attend(const fg_attention *a, const fg_query_block *block, void *scratch) {
  for (uint32_t i = 0; i < block->rows * block->heads; i++) {
    query q = query_of(a, block, i, scratch);
    attend_one(&q);
  }
}

// ---- sparse --------------------------------------------------------------------------------------------

static void score_block(const fg_attention *a, const fg_query_block *block, float *scores, uint64_t stride,
                        void *scratch) {
  uint32_t first = fg_first_key(a, block, 0);
  first -= first % FG_KEY_BLOCK;
  for (uint32_t i = 0; i < block->rows * block->heads; i++) {
    query q = query_of(a, block, i, scratch);
    for (uint32_t p = q.begin; p < q.end; p++) scores[i * stride + (p - first)] = score(&q, p);
  }
}

static void sparse_values(const fg_attention *a, const int32_t *pages, const fg_sparse_query *s,
                          void *scratch) {
  const fg_query_block block = {
      .pages = pages, .row = s->row, .rows = 1, .position = s->end - 1, .head = s->head, .heads = 1};
  const query q = query_of(a, &block, 0, scratch);
  const fg_kv_geometry *kv = &a->kv;
  const bool sink = a->head_kind == FG_HEAD_SINK;
  const uint32_t old = s->end - s->begin - 1;
  float max = sink ? a->head_numbers[s->head] : -FLT_MAX, sum = 0;
  for (uint32_t i = 0; i <= old; i++) max = fmaxf(max, s->scores[i]);
  if (sink) sum = expf(a->head_numbers[s->head] - max);
  for (uint32_t i = 0; i <= old; i++) sum += expf(s->scores[i] - max);
  choose_largest(s->scores, old, s->kept, s->chosen, s->weights);
  s->chosen[s->kept] = old;
  s->weights[s->kept] = s->scores[old];
  memset(q.out, 0, kv->v_dim * sizeof *q.out);
  for (uint32_t i = 0; i <= s->kept; i++) {
    uint32_t p = s->begin + s->chosen[i];
    float weight = expf(s->weights[i] - max) / sum;
    load_row(&q, page_of(&q, p) + fg_kv_value_offset(kv, q.kv_head, p % kv->page_tokens), kv->v_dim);
    for (uint32_t c = 0; c < kv->v_dim; c++) q.out[c] += weight * q.row[c];
  }
}

void fg_attention_ref(fg_kernels *k) {
  k->attend[FG_F32] = attend;
  k->attend[FG_F16] = attend;
  k->attend[FG_BF16] = attend;
  k->attend[FG_I8G64M] = attend;
  k->attend[FG_I4G64M] = attend;
  for (int dtype = 0; dtype < FG_DTYPE_COUNT; dtype++)
    if (k->attend[dtype]) k->score[dtype] = score_block;
  k->sparse_values = sparse_values;
}
