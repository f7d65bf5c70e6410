#include "model/calibration.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/half.h"

static uint64_t values_of(const fg_calibration_item *item) {
  return (uint64_t)item->segments * item->k;
}

static fg_status no_memory(const char *name, fg_error *err) {
  return fg_fail(err, FG_NO_SPACE, "no memory for the calibration of %s", name);
}

fg_status fg_calibration_create(fg_calibration *out, const fg_weight *weights, uint32_t count, uint64_t key,
                                fg_error *err) {
  *out = (fg_calibration){.key = key};
  out->items = calloc(count + 1u, sizeof *out->items);
  if (!out->items) return no_memory("the model", err);
  for (uint32_t i = 0; i < count; i++) {
    const fg_weight *w = &weights[i];
    if (w->kind != FG_WEIGHT_MATRIX) continue;
    fg_calibration_item *item = &out->items[out->count++];
    memcpy(item->name, w->name, sizeof item->name);
    item->k = w->k;
    item->segments = w->segments ? w->segments : 1;
    item->sums = malloc(values_of(item) * sizeof *item->sums);
    if (!item->sums) {
      fg_calibration_free(out);
      return no_memory(w->name, err);
    }
    for (uint64_t j = 0; j < values_of(item); j++) item->sums[j] = 0;
  }
  return FG_OK;
}

void fg_calibration_free(fg_calibration *c) {
  for (uint32_t i = 0; i < c->count; i++) {
    free(c->items[i].sums);
    free(c->items[i].means);
  }
  free(c->items);
  *c = (fg_calibration){.key = c->key};
}

fg_calibration_item *fg_calibration_find(const fg_calibration *c, const char *name, uint32_t near) {
  for (uint32_t i = 0; i < c->count; i++) {
    fg_calibration_item *item = &c->items[(i + (uint64_t)near) % c->count];
    if (strcmp(item->name, name) == 0) return item;
  }
  return NULL;
}

void fg_calibration_add(fg_calibration_item *item, uint32_t segment, const float *x, uint32_t rows,
                        uint32_t stride) {
  double *sums = item->sums + (uint64_t)segment * item->k;
  for (uint32_t r = 0; r < rows; r++, x += stride)
    for (uint32_t i = 0; i < item->k; i++) sums[i] += (double)x[i] * (double)x[i];
  if (segment == 0) item->rows += rows;
}

// Values that are all zero say nothing about which error counts.
static bool is_useful(const fg_calibration_item *item) {
  double all = 0;
  for (uint64_t i = 0; i < values_of(item); i++) all += item->sums[i];
  return item->rows > 0 && isfinite(all) && all > 0;
}

fg_status fg_calibration_finish(fg_calibration *c, fg_error *err) {
  for (uint32_t i = 0; i < c->count; i++) {
    fg_calibration_item *item = &c->items[i];
    if (is_useful(item)) {
      item->means = malloc(values_of(item) * sizeof *item->means);
      if (!item->means) return no_memory(item->name, err);
      for (uint64_t j = 0; j < values_of(item); j++)
        item->means[j] = fg_bf16_to_f32(fg_bf16_from_f32((float)(item->sums[j] / (double)item->rows)));
    }
    free(item->sums);
    item->sums = NULL;
  }
  return FG_OK;
}
