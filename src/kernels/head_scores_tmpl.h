// head_scores_tmpl.h: what becomes of scores between the products and the softmax, over the vectors of a
// vec_*.h, which is included before. Most models have none of it.
#ifndef FG_KERNELS_HEAD_SCORES_TMPL_H
#define FG_KERNELS_HEAD_SCORES_TMPL_H

#include <string.h>

#include "kernels/attention.h"
#include "kernels/exp_tmpl.h"
#include "tensor/half.h"

// What the head adds to the score of query i and key j.
static inline float head_bias(const fg_attention *a, float number, uint32_t i, uint32_t j) {
  if (a->head_kind == FG_HEAD_ALIBI) return number * (float)((int32_t)j - (int32_t)i);
  float product = fg_bf16_to_f32(fg_bf16_from_f32(number)) * fg_bf16_to_f32(fg_bf16_from_f32((float)j));
  return a->scale * fg_bf16_to_f32(fg_bf16_from_f32(product));
}

static inline bool has_head_scores(const fg_attention *a) {
  return a->softcap != 0 || a->head_kind == FG_HEAD_ALIBI || a->head_kind == FG_HEAD_ALIBI_BF16;
}

// scores [64], of the block's query `query` and the keys from `first` on, in units of 1 / `unit`.
static void vec_head_scores(const fg_attention *a, const fg_query_block *block, uint32_t query,
                            uint32_t first, float unit, float *scores) {
  if (a->softcap != 0) {
    vec cap = vec_set(a->softcap * unit);
    for (uint32_t i = 0; i < FG_KEY_BLOCK; i += VEC)
      vec_store(scores + i, vec_mul(cap, vec_tanh(vec_div(vec_load(scores + i), cap))));
  }
  if (a->head_kind != FG_HEAD_ALIBI && a->head_kind != FG_HEAD_ALIBI_BF16) return;
  float number = a->head_numbers[block->head + query % block->heads];
  uint32_t position = fg_block_position(block, query / block->heads);
  for (uint32_t i = 0; i < FG_KEY_BLOCK; i++) scores[i] += unit * head_bias(a, number, position, first + i);
}

// A query's maximum and sum before its first key, or those that the segment before has left.
static inline void begin_softmax(const fg_attention *a, const fg_query_block *block, uint32_t query,
                                 float unit, float *max, float *sum) {
  const bool sink = a->head_kind == FG_HEAD_SINK;
  if (block->resumes) {
    const float *state = fg_query_state(a, block, query);
    *max = state[0];
    *sum = state[1];
    return;
  }
  *max = sink ? a->head_numbers[block->head + query % block->heads] * unit : -FLT_MAX;
  *sum = sink ? 1 : 0;
}

static inline void leave_softmax(const fg_attention *a, const fg_query_block *block, uint32_t query,
                                 float max, float sum) {
  float *state = fg_query_state(a, block, query);
  state[0] = max;
  state[1] = sum;
}

// Its output so far, [v_dim] of `out`.
static inline void begin_output(const fg_attention *a, const fg_query_block *block, uint32_t query,
                                float *out) {
  const uint64_t bytes = a->kv.v_dim * sizeof *out;
  if (block->resumes)
    memcpy(out, fg_query_output(a, block, query), bytes);
  else
    memset(out, 0, bytes);
}

// What the query's turn leaves behind: its output, or its state.
static inline void end_query(const fg_attention *a, const fg_query_block *block, uint32_t query, float max,
                             float sum, const float *sums) {
  float *out = fg_query_output(a, block, query);
  if (!block->pauses) {
    for (uint32_t c = 0; c < a->kv.v_dim; c++) out[c] = sums[c] / sum;
    return;
  }
  memcpy(out, sums, a->kv.v_dim * sizeof *out);
  leave_softmax(a, block, query, max, sum);
}

#endif
