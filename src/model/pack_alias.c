// Layers of a plan that share what is written of others.
#include <string.h>

#include "model/pack.h"

// The items of one layer.
typedef struct run {
  const fg_pack_plan *plan;
  uint32_t first, count;
} run;

static run layer_run(const fg_pack_plan *plan, uint32_t layer, uint32_t from) {
  run r = {.plan = plan, .first = from};
  while (r.first < plan->count && plan->items[r.first].weight.layer < (int32_t)layer) r.first++;
  while (r.first + r.count < plan->count && plan->items[r.first + r.count].weight.layer == (int32_t)layer)
    r.count++;
  return r;
}

static bool same_item(const fg_pack_item *a, const fg_pack_item *b) {
  const fg_weight *v = &a->weight, *w = &b->weight;
  return v->kind == w->kind && v->dtype == w->dtype && v->n == w->n && v->k == w->k &&
         v->segments == w->segments && strcmp(v->layout, w->layout) == 0 && a->panel_rows == b->panel_rows;
}

static bool same_shape(run a, run b) {
  if (a.count != b.count) return false;
  for (uint32_t i = 0; i < a.count; i++)
    if (!same_item(&a.plan->items[a.first + i], &b.plan->items[b.first + i])) return false;
  return true;
}

// Layers of the same shape before this one that are written themselves; of them the one whose turn it is.
static uint32_t count_kept(const fg_pack_plan *plan, run layer, uint32_t *before) {
  uint32_t kept = 0;
  *before = 0;
  for (uint32_t at = 0; at < layer.first;) {
    const int32_t number = plan->items[at].weight.layer;
    if (number < 0) {
      at++;
      continue;
    }
    const run r = layer_run(plan, (uint32_t)number, at);
    at = r.first + r.count;
    if (!same_shape(r, layer)) continue;
    ++*before;
    kept += plan->items[r.first].weight.same_as == 0;
  }
  return kept;
}

// The index-th kept layer of this shape; there is one.
static run kept_layer(const fg_pack_plan *plan, run layer, uint32_t index) {
  run r = {.plan = plan};
  for (uint32_t at = 0; at < layer.first; at = r.first + r.count) {
    const int32_t number = plan->items[at].weight.layer;
    r = number < 0 ? (run){plan, at, 1} : layer_run(plan, (uint32_t)number, at);
    if (number < 0 || plan->items[r.first].weight.same_as || !same_shape(r, layer)) continue;
    if (index-- == 0) return r;
  }
  return layer;
}

void fg_pack_plan_alias(fg_pack_plan *plan, uint32_t layers, uint32_t kept) {
  plan->bytes = 0;
  for (uint32_t i = 0; i < plan->count; i++) {
    plan->items[i].weight.same_as = 0;
    plan->bytes += plan->items[i].bytes;
  }
  for (uint32_t layer = 0, at = 0; layer < layers && kept; layer++) {
    const run own = layer_run(plan, layer, at);
    at = own.first + own.count;
    uint32_t before;
    const uint32_t written = own.count ? count_kept(plan, own, &before) : 0;
    if (written < kept) continue;
    const run of = kept_layer(plan, own, before % kept);
    for (uint32_t i = 0; i < own.count; i++) {
      plan->items[own.first + i].weight.same_as = 1 + of.first + i;
      plan->bytes -= plan->items[own.first + i].bytes;
    }
  }
}

// Of the layers that are written: more than the memory of most machines and of the drives in them, and packed
// within a minute or two.
static const uint64_t most_kept_bytes = 16ull << 30;

uint32_t fg_pack_plan_alias_into(fg_pack_plan *plan, uint32_t layers, uint64_t room) {
  uint64_t outside = 0;
  for (uint32_t i = 0; i < plan->count; i++) {
    const int32_t layer = plan->items[i].weight.layer;
    if (layer < 0 || layer >= (int32_t)layers) outside += plan->items[i].bytes;
  }
  uint32_t kept = layers > 1 ? layers - 1 : 1;
  for (;; kept--) {
    fg_pack_plan_alias(plan, layers, kept);
    if (kept == 1 || (plan->bytes <= room && plan->bytes - outside <= most_kept_bytes)) return kept;
  }
}
