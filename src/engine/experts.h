// experts.h: where the experts of a graph stand in a store.
//
// A unit is an expert of a layer; units are counted layer by layer.
#ifndef FG_ENGINE_EXPERTS_H
#define FG_ENGINE_EXPERTS_H

#include "engine/expert_cache.h"
#include "model/graph.h"

typedef struct fg_experts_map {
  fg_expert_unit *units;
  uint32_t unit_count;
  uint32_t most_used;                // by a row, of any layer
  uint32_t *first_unit;              // [layers] of those that have experts
  uint32_t (*weights)[FG_MAX_SLOTS]; // [units] of each slot of the expert's program
} fg_experts_map;

// FG_CORRUPT names a weight that the store lacks or has in another shape. Without experts all is empty.
fg_status fg_experts_map_create(fg_experts_map *out, const fg_graph *graph, const fg_store *store,
                                fg_error *err);
void fg_experts_map_free(fg_experts_map *map);

#endif
