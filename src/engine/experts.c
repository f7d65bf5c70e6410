#include "engine/experts.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static uint32_t count_units(const fg_graph *g, uint32_t *most_used) {
  uint32_t units = 0;
  for (uint32_t layer = 0; layer < g->layers; layer++) {
    const fg_experts *e = &fg_graph_program(g, (int32_t)layer)->experts;
    units += e->count;
    if (e->count && e->used > *most_used) *most_used = e->used;
  }
  return units;
}

// Panels of a unit are one run: that of its matrices, as they were packed.
static fg_status add_panels(fg_expert_unit *unit, const fg_store *store, const fg_weight *w, fg_error *err) {
  if (unit->panels == 0) unit->panel = w->panel;
  if (w->panel != unit->panel + unit->panels)
    return fg_fail(err, FG_CORRUPT, "%s: weight %s does not follow its expert's others",
                   fg_file_path(store->file), w->name);
  unit->panels += w->panels;
  return FG_OK;
}

static fg_status find_unit(fg_experts_map *m, const fg_program *p, uint32_t layer, uint32_t expert,
                           const fg_store *store, uint32_t *next, fg_error *err) {
  const uint32_t number = m->first_unit[layer] + expert;
  fg_expert_unit *unit = &m->units[number];
  unit->layer = (int32_t)layer;
  for (uint32_t i = 0; i < p->slot_count; i++) {
    const fg_slot *slot = &p->slots[i];
    char name[64];
    fg_graph_expert_weight_name(layer, expert, slot, name);
    uint32_t index = fg_store_find_near(store, name, *next);
    const fg_weight *w = index == UINT32_MAX ? NULL : &store->weights[index];
    if (!w || w->kind != slot->kind || w->n != slot->n || w->k != slot->k || w->segments)
      return fg_fail(err, FG_CORRUPT,
                     "%s: weight %s [%" PRIu32 ", %" PRIu32 "] is missing or has another shape",
                     fg_file_path(store->file), name, slot->n, slot->k);
    *next = index + 1;
    m->weights[number][i] = index;
    fg_status status = w->kind == FG_WEIGHT_MATRIX ? add_panels(unit, store, w, err) : FG_OK;
    if (status != FG_OK) return status;
  }
  return FG_OK;
}

fg_status fg_experts_map_create(fg_experts_map *out, const fg_graph *g, const fg_store *store,
                                fg_error *err) {
  *out = (fg_experts_map){0};
  out->unit_count = count_units(g, &out->most_used);
  if (out->unit_count == 0) return FG_OK;
  out->units = calloc(out->unit_count, sizeof *out->units);
  out->first_unit = calloc(g->layers, sizeof *out->first_unit);
  out->weights = calloc(out->unit_count, sizeof *out->weights);
  fg_status status = FG_OK;
  if (!out->units || !out->first_unit || !out->weights)
    status = fg_fail(err, FG_NO_SPACE, "out of memory for a table of %" PRIu32 " experts", out->unit_count);
  uint32_t unit = 0, next = 0;
  for (uint32_t layer = 0; status == FG_OK && layer < g->layers; layer++) {
    const fg_program *p = fg_graph_expert_program(g, (int32_t)layer);
    const uint32_t experts = fg_graph_program(g, (int32_t)layer)->experts.count;
    out->first_unit[layer] = unit;
    for (uint32_t e = 0; status == FG_OK && p && e < experts; e++)
      status = find_unit(out, p, layer, e, store, &next, err);
    unit += experts;
  }
  if (status != FG_OK) fg_experts_map_free(out);
  return status;
}

void fg_experts_map_free(fg_experts_map *map) {
  free(map->units);
  free(map->first_unit);
  free(map->weights);
  *map = (fg_experts_map){0};
}
