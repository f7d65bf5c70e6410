#include "model/synthetic.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "model/arch.h"
#include "tensor/half.h"

// Values of matrices that all of them are made of: drawing each one anew takes longer than rounding it to
// codes.
enum { POOL_VALUES = 1 << 19 };

typedef struct synthetic {
  fg_checkpoint checkpoint; // first, so that a pointer to it is one to the whole
  uint16_t pool[POOL_VALUES];
} synthetic;

// What values a tensor has: center + spread * u, u uniform in [-1, 1).
typedef struct values {
  float center, spread;
} values;

// A matrix of deviation 0.02, as models are initialised; norms near 1; small biases.
enum { VALUES_MATRIX, VALUES_NORM, VALUES_BIAS };
static const values kinds[] = {
    [VALUES_MATRIX] = {0, 0.035f},
    [VALUES_NORM] = {1, 0.1f},
    [VALUES_BIAS] = {0, 0.02f},
};

// SplitMix64's output function: four values of 16 bits from one counter.
static uint64_t mix(uint64_t z) {
  z *= 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

static uint16_t value(values v, uint64_t word) {
  return fg_bf16_from_f32(v.center + v.spread * ((float)(int16_t)(word & 0xffff) * 0x1p-15f));
}

// Values [i, end) of a sequence.
static void draw(values v, uint64_t seed, uint64_t i, uint64_t end, uint16_t *to) {
  while (i < end) {
    uint64_t word = mix(seed + i / 4) >> (16 * (i % 4));
    if (i % 4 == 0 && end - i >= 4) {
      for (int j = 0; j < 4; j++) to[j] = value(v, word >> (16 * j));
      to += 4, i += 4;
    } else {
      *to++ = value(v, word);
      i++;
    }
  }
}

// A row is one run of the pool with signs from another: so of the 2^38 rows that there are no two are likely
// the same. // to: [columns]
static void compose(const uint16_t *pool, uint64_t word, uint64_t columns, uint16_t *to) {
  uint64_t at = word % POOL_VALUES, signs = (word >> 32) % POOL_VALUES;
  while (columns) {
    uint64_t run = POOL_VALUES - (at > signs ? at : signs);
    if (run > columns) run = columns;
    for (uint64_t i = 0; i < run; i++) to[i] = pool[at + i] ^ (pool[signs + i] & 0x8000);
    at = (at + run) % POOL_VALUES;
    signs = (signs + run) % POOL_VALUES;
    to += run;
    columns -= run;
  }
}

static fg_status read_rows(fg_checkpoint *self, const fg_checkpoint_tensor *tensor, uint64_t row,
                           uint64_t count, void *out, fg_error *err) {
  (void)err;
  const synthetic *s = (const synthetic *)self;
  const uint64_t columns = tensor->columns;
  uint16_t *to = out;
  if (tensor->file != VALUES_MATRIX) {
    draw(kinds[tensor->file], tensor->offset, row * columns, (row + count) * columns, to);
    return FG_OK;
  }
  for (uint64_t r = row; r < row + count; r++, to += columns)
    compose(s->pool, mix(tensor->offset + r), columns, to);
  return FG_OK;
}

static void destroy(fg_checkpoint *self) {
  for (size_t i = 0; i < self->count; i++) free((char *)self->tensors[i].name);
  free(self->tensors);
  free(self);
}

static const fg_checkpoint_ops ops = {
    .format = "synthetic", .read_rows = read_rows, .concurrent = true, .destroy = destroy};

static uint32_t kind_of(const fg_slot *slot, const char *tensor) {
  if (slot->kind != FG_WEIGHT_VECTOR) return VALUES_MATRIX;
  size_t length = strlen(tensor);
  return length > 5 && strcmp(tensor + length - 5, ".bias") == 0 ? VALUES_BIAS : VALUES_NORM;
}

static fg_status add_tensor(fg_checkpoint *c, const fg_slot *slot, const fg_source *source, uint32_t layer,
                            const char *shape, fg_error *err) {
  char name[128];
  fg_status status = fg_tensor_name(name, sizeof name, source->tensor, layer, err);
  if (status) return status;
  char *kept = strdup(name);
  if (!kept) return fg_fail(err, FG_NO_SPACE, "no memory for the tensors of %s", shape);
  fg_checkpoint_tensor *t = &c->tensors[c->count++];
  const bool vector = slot->kind == FG_WEIGHT_VECTOR;
  *t = (fg_checkpoint_tensor){
      .name = kept, .dtype = FG_BF16, .dims = vector ? 1 : 2, .file = kind_of(slot, name)};
  fg_source_shape(slot, source, &t->rows, &t->columns);
  if (vector) {
    t->rows = source->experts ? source->experts : 1;
    t->columns = fg_source_tensor_rows(source);
  }
  if (vector && source->experts) t->dims = 2;
  t->shape[0] = t->dims == 1 ? t->columns : t->rows;
  t->shape[1] = t->dims == 1 ? 0 : t->columns;
  t->offset = fg_hash_more(fg_hash(shape, strlen(shape)), name, strlen(name));
  return FG_OK;
}

static fg_status add_program(fg_checkpoint *c, const fg_program *program, uint32_t layer, const char *shape,
                             fg_error *err) {
  for (uint32_t i = 0; i < program->slot_count; i++) {
    const fg_slot *slot = &program->slots[i];
    for (uint32_t j = 0; j < slot->source_count; j++) {
      fg_status status = add_tensor(c, slot, &slot->sources[j], layer, shape, err);
      if (status) return status;
    }
  }
  return FG_OK;
}

static fg_status add_experts(fg_checkpoint *c, const fg_graph *graph, uint32_t layer, const char *shape,
                             fg_error *err) {
  const fg_program *program = fg_graph_expert_program(graph, (int32_t)layer);
  const uint32_t experts = fg_graph_program(graph, (int32_t)layer)->experts.count;
  fg_status status = FG_OK;
  for (uint32_t e = 0; program && e < experts; e++) {
    for (uint32_t i = 0; i < program->slot_count; i++) {
      fg_slot slot;
      status = fg_graph_expert_slot(&program->slots[i], e, &slot, err);
      for (uint32_t j = 0; !status && j < slot.source_count; j++)
        if (e == 0 || !slot.sources[j].experts)
          status = add_tensor(c, &slot, &slot.sources[j], layer, shape, err);
      if (status) return status;
    }
  }
  return status;
}

static int compare_tensors(const void *a, const void *b) {
  return strcmp(((const fg_checkpoint_tensor *)a)->name, ((const fg_checkpoint_tensor *)b)->name);
}

// A tied head names the embedding's tensor a second time.
static void sort_unique(fg_checkpoint *c) {
  qsort(c->tensors, c->count, sizeof *c->tensors, compare_tensors);
  size_t kept = 0;
  for (size_t i = 0; i < c->count; i++) {
    if (kept && strcmp(c->tensors[kept - 1].name, c->tensors[i].name) == 0) {
      free((char *)c->tensors[i].name);
    } else {
      c->tensors[kept++] = c->tensors[i];
    }
  }
  c->count = kept;
}

fg_status fg_synthetic_create(fg_checkpoint **out, const fg_graph *graph, const char *shape, fg_error *err) {
  *out = NULL;
  synthetic *s = calloc(1, sizeof *s);
  fg_checkpoint *c = s ? &s->checkpoint : NULL;
  size_t slots = ((size_t)graph->layers + 2) * FG_MAX_SLOTS;
  for (uint32_t i = 0; i < graph->layers; i++) {
    const fg_program *expert = fg_graph_expert_program(graph, (int32_t)i);
    if (expert) slots += (size_t)fg_graph_program(graph, (int32_t)i)->experts.count * expert->slot_count;
  }
  const size_t room = slots * FG_MAX_SOURCES;
  if (c) c->tensors = calloc(room, sizeof *c->tensors);
  if (!c || !c->tensors) {
    free(s);
    return fg_fail(err, FG_NO_SPACE, "no memory for the tensors of %s", shape);
  }
  c->ops = &ops;
  draw(kinds[VALUES_MATRIX], fg_hash(shape, strlen(shape)), 0, POOL_VALUES, s->pool);
  fg_status status = FG_OK;
  for (int64_t layer = -1; !status && layer <= (int64_t)graph->layers; layer++) {
    const fg_program *program = fg_graph_program(graph, (int32_t)layer);
    status = add_program(c, program, layer < 0 ? 0 : (uint32_t)layer, shape, err);
    if (!status && layer >= 0) status = add_experts(c, graph, (uint32_t)layer, shape, err);
  }
  if (status) {
    destroy(c);
    return status;
  }
  sort_unique(c);
  *out = c;
  return FG_OK;
}
