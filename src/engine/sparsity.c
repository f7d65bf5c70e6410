#include "engine/sparsity.h"

fg_status fg_sparsity_check(double share, const fg_graph *graph, uint32_t max_len, bool cache_on_disk,
                            fg_error *err) {
  if (!(share >= 0 && share <= 1))
    return fg_fail(err, FG_INVALID, "--attn-sparsity %g: a share of the values, above 0 and at most 1",
                   share);
  if (fg_sparsity_of(share) == 0) return FG_OK;
  if (graph->kv.v_in_k)
    return fg_fail(
        err, FG_UNSUPPORTED,
        "--attn-sparsity %g: this model's values are part of its keys, which are all read, so there "
        "is nothing to spare; leave it out",
        share);
  if (cache_on_disk)
    return fg_fail(err, FG_UNSUPPORTED,
                   "--attn-sparsity %g: values would be picked from a KV cache on disk row by row, which "
                   "spares nothing there; keep the cache in memory or leave it out",
                   share);
  if (!max_len)
    return fg_fail(
        err, FG_INVALID,
        "--attn-sparsity %g keeps a number for each key of the longest sequence, and this model sets "
        "no limit to it; give --max-model-len",
        share);
  return FG_OK;
}

uint32_t fg_sparsity_heads(const fg_graph *g) {
  uint32_t most = 1;
  for (uint32_t p = 0; p < g->program_count; p++)
    for (uint32_t i = 0; i < g->programs[p].node_count; i++) {
      const fg_node *node = &g->programs[p].nodes[i];
      if (node->op == FG_OP_ATTENTION && node->params.attention.heads / g->kv.kv_heads > most)
        most = node->params.attention.heads / g->kv.kv_heads;
    }
  return most;
}

double fg_sparsity_of(double share) {
  return share < 1 ? share : 0;
}
