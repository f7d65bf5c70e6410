// sparsity.h: when attention may be sparse.
//
// Generated tokens read the values of the heaviest keys only (kernels/sparse_attention.h), wherever these
// lie: rows of a hundred bytes or two from anywhere in the cache. That spares memory traffic where values are
// rows of their own in memory. It would spare nothing where a token's values are the beginning of its key,
// and on a disk less than the blocks around such rows, so both are refused.
#ifndef FG_ENGINE_SPARSITY_H
#define FG_ENGINE_SPARSITY_H

#include "flexgen/error.h"
#include "model/graph.h"

// `share`: 0 or 1 = attention is not sparse, which is always allowed. `max_len`: tokens of the longest
// sequence, by the user's word or the model's, 0 = neither says.
fg_status fg_sparsity_check(double share, const fg_graph *graph, uint32_t max_len, bool cache_on_disk,
                            fg_error *err);

// What an executor and its device are told: 0 for attention that is not sparse.
double fg_sparsity_of(double share);
// The most query heads that share a KV head.
uint32_t fg_sparsity_heads(const fg_graph *graph);

#endif
