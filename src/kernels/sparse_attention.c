#include "kernels/sparse_attention.h"

#include <string.h>

uint32_t fg_sparse_kept(double share, uint32_t old) {
  double kept = share * old;
  return kept < old ? (uint32_t)kept : old;
}

// Of scores: keys from a multiple of FG_KEY_BLOCK on, up to another one.
static uint64_t stride_of(uint32_t context) {
  return ((uint64_t)context + 2 * FG_KEY_BLOCK - 1) / FG_KEY_BLOCK * FG_KEY_BLOCK;
}

// Scores of each head, positions and weights of one, and a byte for each position.
uint64_t fg_sparse_scratch_bytes(uint32_t head_dim, uint32_t heads, uint32_t context) {
  uint64_t stride = stride_of(context);
  return fg_attend_scratch_bytes(head_dim) +
         stride * (heads * sizeof(float) + sizeof(uint32_t) + sizeof(float) + 1);
}

// Marks what is chosen and returns what was not marked before.
static uint32_t mark(const fg_sparse_query *query, uint8_t *marks) {
  uint32_t fresh = 0;
  for (uint32_t i = 0; i <= query->kept; i++) {
    uint8_t *m = &marks[query->chosen[i]];
    fresh += !*m;
    *m = 1;
  }
  return fresh;
}

uint32_t fg_attend_sparse(const fg_sparse_kernels *kernels, const fg_attention *a,
                          const fg_query_block *block, double share, void *scratch) {
  const fg_kv_geometry *kv = &a->kv;
  const uint32_t end = block->position + 1, begin = fg_first_key(a, block, 0);
  const uint32_t skip = begin % FG_KEY_BLOCK;
  const uint64_t stride = stride_of(end - begin);
  const uint64_t used = fg_attend_scratch_bytes(kv->k_dim > kv->v_dim ? kv->k_dim : kv->v_dim);
  float *scores = (float *)((uint8_t *)scratch + used), *weights = scores + stride * block->heads;
  uint32_t *chosen = (uint32_t *)(weights + stride), read = 0;
  uint8_t *marks = (uint8_t *)(chosen + stride);
  memset(marks, 0, end - begin);
  kernels->score(a, block, scores, stride, scratch);
  for (uint32_t i = 0; i < block->heads; i++) {
    const fg_sparse_query query = {.row = block->row,
                                   .head = block->head + i,
                                   .begin = begin,
                                   .end = end,
                                   .kept = fg_sparse_kept(share, end - 1 - begin),
                                   .scores = scores + stride * i + skip,
                                   .chosen = chosen,
                                   .weights = weights};
    kernels->values(a, block->pages, &query, scratch);
    read += mark(&query, marks);
  }
  return read;
}
