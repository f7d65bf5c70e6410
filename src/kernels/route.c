#include "kernels/route.h"

#include <math.h>

bool fg_route_form_ok(const fg_route_form *f) {
  if ((unsigned)f->kind >= FG_ROUTE_COUNT || f->experts == 0 || f->experts > FG_MAX_EXPERTS || f->used == 0 ||
      f->used > f->experts)
    return false;
  if (f->groups <= 1) return true;
  if (f->experts % f->groups || f->top_groups == 0 || f->top_groups > f->groups) return false;
  const uint32_t size = f->experts / f->groups;
  return f->group_best > 0 && f->group_best <= size && f->used <= f->top_groups * size;
}

// In place: what is largest counts as 0, so that nothing overflows.
static void softmax(float *x, uint32_t count) {
  float largest = x[0], sum = 0;
  for (uint32_t i = 1; i < count; i++)
    if (x[i] > largest) largest = x[i];
  for (uint32_t i = 0; i < count; i++) {
    x[i] = expf(x[i] - largest);
    sum += x[i];
  }
  for (uint32_t i = 0; i < count; i++) x[i] /= sum;
}

static void score_softmax(const float *logits, uint32_t count, float *out) {
  for (uint32_t i = 0; i < count; i++) out[i] = logits[i];
  softmax(out, count);
}

static void score_logits(const float *logits, uint32_t count, float *out) {
  for (uint32_t i = 0; i < count; i++) out[i] = logits[i];
}

static void score_sigmoid(const float *logits, uint32_t count, float *out) {
  for (uint32_t i = 0; i < count; i++) out[i] = 1 / (1 + expf(-logits[i]));
}

static void (*const scores_of[FG_ROUTE_COUNT])(const float *, uint32_t, float *) = {
    [FG_ROUTE_SOFTMAX] = score_softmax,
    [FG_ROUTE_CHOSEN] = score_logits,
    [FG_ROUTE_SIGMOID] = score_sigmoid,
};

// The best that is not taken yet; the first of equals. Something is found even among values that are no
// numbers, so that a choice is always made of different entries.
static uint32_t take_best(const float *x, bool *taken, uint32_t first, uint32_t count) {
  uint32_t best = UINT32_MAX;
  for (uint32_t i = first; i < first + count; i++)
    if (!taken[i] && (best == UINT32_MAX || x[i] > x[best])) best = i;
  taken[best] = true;
  return best;
}

// Marks the experts of all but the best groups as taken.
static void keep_best_groups(const fg_route_form *f, const float *rank, bool *taken) {
  const uint32_t size = f->experts / f->groups;
  float group_rank[FG_MAX_EXPERTS];
  bool kept[FG_MAX_EXPERTS] = {false};
  for (uint32_t g = 0; g < f->groups; g++) {
    bool seen[FG_MAX_EXPERTS] = {false};
    group_rank[g] = 0;
    for (uint32_t i = 0; i < f->group_best; i++) group_rank[g] += rank[take_best(rank, seen, g * size, size)];
  }
  for (uint32_t i = 0; i < f->top_groups; i++) take_best(group_rank, kept, 0, f->groups);
  for (uint32_t i = 0; i < f->experts; i++) taken[i] = !kept[i / size];
}

void fg_route(const fg_route_form *f, const float *logits, const float *bias, int32_t *chosen,
              float *weights) {
  float score[FG_MAX_EXPERTS], rank[FG_MAX_EXPERTS], sum = 0;
  bool taken[FG_MAX_EXPERTS] = {false};
  scores_of[f->kind](logits, f->experts, score);
  for (uint32_t i = 0; i < f->experts; i++) rank[i] = score[i] + (bias ? bias[i] : 0);
  if (f->groups > 1) keep_best_groups(f, rank, taken);
  for (uint32_t i = 0; i < f->used; i++) {
    uint32_t best = take_best(rank, taken, 0, f->experts);
    chosen[i] = (int32_t)best;
    weights[i] = score[best];
  }
  if (f->kind == FG_ROUTE_CHOSEN) softmax(weights, f->used);
  for (uint32_t i = 0; i < f->used; i++) sum += weights[i];
  const float factor = f->normalise ? f->scale / (sum + 1e-20f) : f->scale;
  for (uint32_t i = 0; i < f->used; i++) weights[i] *= factor;
}
