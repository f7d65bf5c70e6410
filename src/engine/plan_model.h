// plan_model.h: a graph and its store as the cost model sees them.
#ifndef FG_ENGINE_PLAN_MODEL_H
#define FG_ENGINE_PLAN_MODEL_H

#include "model/graph.h"
#include "plan/policy.h"
#include "plan/step_time.h"

// compute: fg_compute. graph->kv is set. FG_CORRUPT as fg_experts_map_create.
fg_status fg_plan_model_of(fg_plan_model *out, const fg_graph *graph, const fg_store *store, int compute,
                           fg_error *err);

// What the steps of a policy read from the disk, wherever they stand in the job.
typedef struct fg_plan_traffic {
  double body_bytes, tail_bytes;     // weights of every step; of those that want logits, besides
  double table_bytes;                // of a token's rows of tables that are not resident
  double missing_experts;            // share of the experts that are not in memory
  double open_bytes;                 // read before the first step
  double ring_bytes;                 // read ahead of a step that never comes
  double page_bytes;                 // of the KV cache, all layers
  double weights_ahead, pages_ahead; // bytes that are read before they are wanted, of a layer's pages
  double hidden_row_bytes;           // of the residual stream
  // Over the link to a device with memory of its own, in every step; in those that want logits, besides; for
  // every token.
  double link_body_bytes, link_tail_bytes, link_token_bytes;
} fg_plan_traffic;

fg_plan_traffic fg_plan_traffic_of(const fg_plan_model *model, const fg_plan_input *input,
                                   const fg_policy *policy);

#endif
