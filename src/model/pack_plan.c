#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "model/pack.h"
#include "tensor/groups.h"

typedef struct planner {
  fg_pack_plan *plan;
  const fg_pack_source *source;
  const fg_model_options *options;
  uint64_t panel_bytes;
  uint32_t kept; // matrices that could not have the type asked for
  uint32_t near; // the calibration's item that is likely to be the next
  fg_error *err;
} planner;

enum { LEAST_PANEL = 512 << 10, LARGEST_PANEL = 8 << 20, PANELS_OF_A_MODEL = 128 };

uint64_t fg_pack_panel_bytes(const fg_graph *graph, uint64_t wish) {
  if (wish) return wish;
  uint64_t bytes = 0, panel = LEAST_PANEL;
  for (int64_t layer = -1; layer <= (int64_t)graph->layers; layer++) {
    const fg_program *program = fg_graph_program(graph, (int32_t)layer);
    for (uint32_t i = 0; i < program->slot_count; i++)
      if (program->slots[i].kind == FG_WEIGHT_MATRIX)
        bytes += 2ull * program->slots[i].n * program->slots[i].k;
  }
  for (uint32_t layer = 0; layer < graph->layers; layer++) {
    const fg_program *program = fg_graph_expert_program(graph, (int32_t)layer);
    for (uint32_t i = 0; program && i < program->slot_count; i++)
      if (program->slots[i].kind == FG_WEIGHT_MATRIX)
        bytes += 2ull * fg_graph_program(graph, (int32_t)layer)->experts.count * program->slots[i].n *
                 program->slots[i].k;
  }
  while (panel < LARGEST_PANEL && panel < bytes / PANELS_OF_A_MODEL) panel *= 2;
  return panel;
}

uint32_t fg_pack_panel_rows(const fg_layout *layout, const fg_weight *w, uint64_t panel_bytes) {
  const uint32_t segment = w->segments ? w->n / w->segments : 0;
  // Segments that are no whole blocks have panels of their own.
  if (segment % layout->row_multiple) return segment;
  const uint32_t step = segment ? segment : layout->row_multiple;
  uint64_t blocks = w->n / step + (w->n % step != 0);
  uint64_t per_panel = panel_bytes / layout->bytes(w->dtype, step, w->k);
  if (per_panel == 0) per_panel = 1;
  uint64_t panels = (blocks + per_panel - 1) / per_panel;
  return (uint32_t)((blocks + panels - 1) / panels * step);
}

// ---- tensors -------------------------------------------------------------------------------------------

static fg_status wrong_shape(const planner *p, const fg_checkpoint_tensor *t, uint64_t rows,
                             uint64_t columns) {
  char found[128];
  size_t used = 0;
  for (uint32_t i = 0; i < t->dims && used < sizeof found; i++) {
    int n = snprintf(found + used, sizeof found - used, "%s%" PRIu64, i ? ", " : "", t->shape[i]);
    used += n > 0 ? (size_t)n : 0;
  }
  char expected[64];
  if (columns) {
    snprintf(expected, sizeof expected, "%" PRIu64 ", %" PRIu64, rows, columns);
  } else {
    snprintf(expected, sizeof expected, "%" PRIu64, rows);
  }
  return fg_fail(p->err, FG_INVALID, "tensor %s has the shape [%s], the configuration asks for [%s]", t->name,
                 t->dims ? found : "", expected);
}

static fg_status find_tensor(const planner *p, const fg_slot *slot, uint32_t index, uint32_t layer,
                             const fg_checkpoint_tensor **out) {
  const fg_source *s = &slot->sources[index];
  char name[128];
  fg_status status = fg_tensor_name(name, sizeof name, s->tensor, layer, p->err);
  if (status) return status;
  const bool vector = slot->kind == FG_WEIGHT_VECTOR;
  uint64_t rows, columns;
  fg_source_shape(slot, s, &rows, &columns);
  if (vector) {
    rows = (uint64_t)(s->experts ? s->experts : 1) * fg_source_tensor_rows(s);
    columns = 0;
  }
  const fg_checkpoint_tensor *t = fg_tensor_find(p->source->checkpoint, p->source->names, name);
  *out = t;
  if (!t && s->optional && vector) return FG_OK;
  if (!t) {
    return fg_fail(p->err, FG_NOT_FOUND,
                   vector ? "tensor %s is missing (%" PRIu64 " values)"
                          : "tensor %s is missing (%" PRIu64 " by %" PRIu64 ")",
                   name, rows, columns);
  }
  uint64_t elements;
  bool fits = vector ? fg_mul_u64(t->rows, t->columns, &elements) && elements == rows &&
                           (!s->experts || t->rows == s->experts)
                     : t->rows == rows && t->columns == columns;
  if (!fits) return wrong_shape(p, t, rows, columns);
  const fg_dtype_info *type = fg_dtype_get(t->dtype);
  if (p->options->reasons && !type->to_f32 && type->block > 1) return FG_OK; // said once for all of them
  if (!type->to_f32) {
    return fg_fail(p->err, FG_UNSUPPORTED, "tensor %s: values of type %s cannot be used", t->name,
                   type->name);
  }
  return FG_OK;
}

// The tensors of a vector that is stored head by head: equal parts of it.
static fg_status find_heads(const planner *p, fg_pack_item *item, uint32_t layer) {
  const fg_source *source = &item->slot->sources[0];
  const char *place = strstr(source->tensor, "%h");
  const uint32_t count = source->rows / source->head_dim;
  item->heads = calloc(count ? count : 1, sizeof *item->heads);
  if (!item->heads) return fg_fail(p->err, FG_NO_SPACE, "no memory for the tensors of %u heads", count);
  fg_slot one = {.kind = FG_WEIGHT_VECTOR, .n = source->head_dim, .k = 1, .source_count = 1};
  for (uint32_t i = 0; i < count; i++) {
    one.sources[0] = (fg_source){.rows = source->head_dim};
    snprintf(one.sources[0].tensor, sizeof one.sources[0].tensor, "%.*s%u%s", (int)(place - source->tensor),
             source->tensor, i, place + 2);
    fg_status status = find_tensor(p, &one, 0, layer, &item->heads[i]);
    if (status) return status;
    if (item->heads[i]->dtype != item->heads[0]->dtype) {
      return fg_fail(p->err, FG_UNSUPPORTED, "tensor %s has another type than the one of the first head",
                     item->heads[i]->name);
    }
  }
  item->head_count = count;
  item->tensors[0] = item->heads[0];
  return FG_OK;
}

// ---- one weight ----------------------------------------------------------------------------------------

// The type all tensors have, or float32 where they differ.
static fg_dtype common_type(planner *p, const fg_pack_item *item) {
  if (!p->source->checkpoint) return p->source->assumed;
  const fg_checkpoint_tensor *first = NULL;
  for (uint32_t i = 0; i < item->slot->source_count; i++) {
    const fg_checkpoint_tensor *t = item->tensors[i];
    if (!t) continue;
    // What is turned out of blocks has to be kept as values.
    if (fg_source_is_turned(item->slot, &item->slot->sources[i]) && fg_dtype_get(t->dtype)->block > 1)
      return FG_F32;
    if (first && t->dtype != first->dtype) {
      fg_log_line(p->options->log, FG_LOG_DEBUG, "%s: %s is %s, %s is %s: kept as f32", item->weight.name,
                  first->name, fg_dtype_get(first->dtype)->name, t->name, fg_dtype_get(t->dtype)->name);
      return FG_F32;
    }
    if (!first) first = t;
  }
  return first ? first->dtype : FG_F32;
}

// The type that is asked for, or the weight's own.
static fg_dtype wanted_type(planner *p, fg_pack_item *item) {
  const fg_weight *w = &item->weight;
  const fg_graph *g = p->source->graph;
  const bool head = item->slot == &g->epilogue.slots[g->head_slot], table = w->kind == FG_WEIGHT_TABLE;
  const fg_weight_form *form = &p->options->weights.parts[head    ? FG_PART_HEAD
                                                          : table ? FG_PART_TABLE
                                                                  : FG_PART_LAYERS];
  fg_dtype dtype;
  if (!form->set) return common_type(p, item);
  if (fg_weight_form_type(form, w->k, &dtype)) {
    uint64_t own = UINT64_MAX, bytes = 0;
    if (form->smaller) fg_dtype_bytes(common_type(p, item), w->k, &own);
    fg_dtype_bytes(dtype, w->k, &bytes);
    if (own <= bytes) return common_type(p, item);
    item->per_row = form->per_row;
    return dtype;
  }
  p->kept += !table;
  return common_type(p, item);
}

static fg_status choose_type(planner *p, fg_pack_item *item) {
  fg_weight *w = &item->weight;
  const fg_layout_family *family = p->options->family;
  w->dtype = wanted_type(p, item);
  bool usable =
      w->kind == FG_WEIGHT_TABLE ? w->dtype != FG_F64 : family->choose(w->dtype, w->n, w->k) != NULL;
  uint64_t row_bytes;
  if (!usable || !fg_dtype_bytes(w->dtype, w->k, &row_bytes)) {
    fg_log_line(p->options->log, FG_LOG_DEBUG, "%s: no layout of %s for %s, kept as f32", w->name,
                family->name, fg_dtype_get(w->dtype)->name);
    w->dtype = FG_F32;
  }
  if (w->kind == FG_WEIGHT_TABLE) return FG_OK;
  item->layout = family->choose(w->dtype, w->n, w->k);
  if (!item->layout) {
    return fg_fail(p->err, FG_UNSUPPORTED, "%s: %s has no layout for %s", w->name, family->name,
                   fg_dtype_get(w->dtype)->name);
  }
  return FG_OK;
}

uint64_t fg_pack_weight_bytes(const fg_weight *w, const fg_layout *layout, uint32_t panel_rows) {
  if (!layout) {
    uint64_t row_bytes = 0;
    fg_dtype_bytes(w->dtype, w->k, &row_bytes);
    return fg_align_up(w->n * row_bytes, FG_IO_ALIGN);
  }
  uint64_t bytes = 0;
  for (uint32_t row = 0; row < w->n; row += panel_rows) {
    uint32_t rows = w->n - row < panel_rows ? w->n - row : panel_rows;
    bytes += fg_align_up(layout->bytes(w->dtype, rows, w->k), FG_IO_ALIGN);
  }
  return bytes;
}

static void choose_panels(planner *p, fg_pack_item *item) {
  fg_weight *w = &item->weight;
  item->panel_rows = w->n;
  if (item->layout) item->panel_rows = fg_pack_panel_rows(item->layout, w, p->panel_bytes);
  w->panels = w->n / item->panel_rows + (w->n % item->panel_rows != 0);
  snprintf(w->layout, sizeof w->layout, "%s", item->layout ? item->layout->name : "rows");
  item->bytes = fg_pack_weight_bytes(w, item->layout, item->panel_rows);
}

// A made-up checkpoint has one tensor, by the name of the pattern.
static bool is_by_heads(const planner *p, const fg_slot *slot, uint32_t layer) {
  char name[128];
  const char *pattern = slot->sources[0].tensor;
  return slot->kind == FG_WEIGHT_VECTOR && slot->source_count == 1 && strstr(pattern, "%h") &&
         !fg_tensor_name(name, sizeof name, pattern, layer, NULL) &&
         !fg_tensor_find(p->source->checkpoint, p->source->names, name);
}

static fg_status plan_weight(planner *p, const fg_slot *slot, int32_t layer, const char *name) {
  fg_pack_item *item = &p->plan->items[p->plan->count++];
  *item = (fg_pack_item){
      .slot = slot,
      .weight = {.kind = slot->kind, .n = slot->n, .k = slot->k, .segments = slot->segments, .layer = layer}};
  snprintf(item->weight.name, sizeof item->weight.name, "%s", name);
  for (uint32_t i = 0; p->source->checkpoint && i < slot->source_count; i++) {
    const uint32_t number = layer < 0 ? 0 : (uint32_t)layer;
    fg_status status = is_by_heads(p, slot, number) ? find_heads(p, item, number)
                                                    : find_tensor(p, slot, i, number, &item->tensors[i]);
    status = fg_reasons_keep(p->options->reasons, status, p->err);
    if (status) return status;
  }
  fg_status status = FG_OK;
  item->weight.dtype = FG_F32;
  if (slot->kind != FG_WEIGHT_VECTOR) status = choose_type(p, item);
  if (!status) choose_panels(p, item);
  if (p->options->calibration && slot->kind == FG_WEIGHT_MATRIX) {
    item->seen = fg_calibration_find(p->options->calibration, name, p->near);
    if (item->seen) p->near = (uint32_t)(item->seen - p->options->calibration->items) + 1;
  }
  p->plan->bytes += item->bytes;
  return status;
}

// ---- all weights ---------------------------------------------------------------------------------------

// Slots in the order in which the program's nodes use them; tables come first, the head last.
static uint32_t order_of_use(const fg_program *program, uint32_t order[FG_MAX_SLOTS]) {
  bool seen[FG_MAX_SLOTS] = {false};
  uint32_t count = 0;
  for (uint32_t i = 0; i < program->slot_count; i++) {
    if (program->slots[i].kind == FG_WEIGHT_TABLE) seen[order[count++] = i] = true;
  }
  for (uint32_t i = 0; i < program->node_count; i++) {
    const fg_operand *operands[] = {&program->nodes[i].a, &program->nodes[i].b, &program->nodes[i].c};
    for (int j = 0; j < 3; j++) {
      if (operands[j]->kind != FG_OPERAND_SLOT || seen[operands[j]->index]) continue;
      seen[order[count++] = operands[j]->index] = true;
    }
  }
  for (uint32_t i = 0; i < program->slot_count; i++) {
    if (!seen[i]) order[count++] = i;
  }
  return count;
}

static fg_status plan_program(planner *p, const fg_program *program, int32_t layer) {
  uint32_t order[FG_MAX_SLOTS];
  uint32_t count = order_of_use(program, order);
  for (uint32_t i = 0; i < count; i++) {
    char name[64];
    fg_graph_weight_name(p->source->graph, layer, &program->slots[order[i]], name);
    fg_status status = plan_weight(p, &program->slots[order[i]], layer, name);
    if (status) return status;
  }
  return FG_OK;
}

// The experts of a layer, one after the other; an expert's matrices are one run of panels.
static fg_status plan_experts(planner *p, uint32_t layer) {
  const fg_program *program = fg_graph_expert_program(p->source->graph, (int32_t)layer);
  const uint32_t experts = fg_graph_program(p->source->graph, (int32_t)layer)->experts.count;
  for (uint32_t e = 0; program && e < experts; e++) {
    for (uint32_t i = 0; i < 2 * program->slot_count; i++) {
      const fg_slot *slot = &program->slots[i % program->slot_count];
      if ((slot->kind == FG_WEIGHT_MATRIX) != (i < program->slot_count)) continue;
      char name[64];
      fg_slot *own = &p->plan->slots[p->plan->slot_count++];
      fg_graph_expert_weight_name(layer, e, slot, name);
      fg_status status = fg_graph_expert_slot(slot, e, own, p->err);
      if (!status) status = plan_weight(p, own, (int32_t)layer, name);
      if (status) return status;
    }
  }
  return FG_OK;
}

fg_status fg_pack_plan_create(fg_pack_plan *out, const fg_pack_source *source,
                              const fg_model_options *options, fg_error *err) {
  const fg_graph *g = source->graph;
  *out = (fg_pack_plan){0};
  size_t room = 0, experts = 0;
  for (int64_t i = -1; i <= (int64_t)g->layers; i++) {
    const fg_program *expert = fg_graph_expert_program(g, (int32_t)i);
    room += fg_graph_program(g, (int32_t)i)->slot_count;
    if (expert) experts += (size_t)fg_graph_program(g, (int32_t)i)->experts.count * expert->slot_count;
  }
  room += experts;
  out->items = calloc(room, sizeof *out->items);
  out->slots = calloc(experts + 1, sizeof *out->slots);
  if (!out->items || !out->slots) fg_pack_plan_free(out);
  if (!out->items) return fg_fail(err, FG_NO_SPACE, "no memory for a plan of %zu weights", room);
  planner p = {.plan = out, .source = source, .options = options, .err = err};
  p.panel_bytes = fg_pack_panel_bytes(g, options->panel_bytes);
  fg_status status = FG_OK;
  for (int64_t i = -1; !status && i <= (int64_t)g->layers; i++) {
    status = plan_program(&p, fg_graph_program(g, (int32_t)i), (int32_t)i);
    if (!status && i >= 0) status = plan_experts(&p, (uint32_t)i);
  }
  if (!status && p.kept) {
    fg_log_line(options->log, FG_LOG_INFO,
                "%u of the matrices keep their own type: their rows are no multiple of %d values", p.kept,
                FG_GROUP_RUN);
  }
  out->apparent = out->bytes;
  if (status) fg_pack_plan_free(out);
  return status;
}

void fg_pack_plan_free(fg_pack_plan *plan) {
  for (uint32_t i = 0; i < plan->count; i++) free((void *)plan->items[i].heads);
  free(plan->items);
  free(plan->slots);
  *plan = (fg_pack_plan){0};
}
