// sparse_attention.h: attention that reads the values of the heaviest keys only (FlexGen's --attn-sparsity).
//
// Of one query: scores of all keys that it sees, their exact softmax, and then of the `kept` old keys of the
// largest weights, and of the query's own key, the values, weighted as they were in the full softmax: what
// is left out is not made up for. Equal scores: the lower position goes first. So every key is read and few
// values are; which, each query head decides for itself. Two kernels do it, scores of a block of queries
// and the values of one query, so that each instruction set may have either; fg_attend_sparse joins them.
// A query's bits are a function of its position and the keys it sees, as in attention.h.
#ifndef FG_KERNELS_SPARSE_ATTENTION_H
#define FG_KERNELS_SPARSE_ATTENTION_H

#include "kernels/attention.h"

// Scores of the block's queries, with all that a head adds: scores[i * stride + p - first], first the last
// multiple of FG_KEY_BLOCK that is not above the first key seen. What no query sees is left undefined.
typedef void fg_score_fn(const fg_attention *a, const fg_query_block *block, float *scores, uint64_t stride,
                         void *scratch);

// What becomes of one query's scores.
typedef struct fg_sparse_query {
  uint32_t row, head;
  uint32_t begin, end; // positions it sees; the last is its own
  uint32_t kept;       // of the others, at most end - begin - 1
  float *scores;       // [end - begin], destroyed
  uint32_t *chosen;    // [kept + 1]: positions less begin, in rising order
  float *weights;      // [kept + 1, padded to 64]
} fg_sparse_query;

typedef void fg_sparse_values_fn(const fg_attention *a, const int32_t *pages, const fg_sparse_query *query,
                                 void *scratch);

typedef struct fg_sparse_kernels {
  fg_score_fn *score;
  fg_sparse_values_fn *values;
} fg_sparse_kernels;

// int(share * old), as FlexGen has it; share in [0, 1].
uint32_t fg_sparse_kept(double share, uint32_t old);

// The block has one row. Returns of how many positions the values were read, by any of its heads.
uint32_t fg_attend_sparse(const fg_sparse_kernels *kernels, const fg_attention *a,
                          const fg_query_block *block, double share, void *scratch);

// Scratch of one thread, for blocks of up to `heads` heads that see up to `context` keys.
uint64_t fg_sparse_scratch_bytes(uint32_t head_dim, uint32_t heads, uint32_t context);

#endif
