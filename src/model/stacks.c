#include "model/stacks.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"

enum { STACKS = 3, PARTS = 3 };

static const struct {
  const char *slot, *parts[PARTS];
} stacks[STACKS] = {
    {"qkv", {"q", "k", "v"}},
    {"gate_up", {"gate", "up"}},
    {"shared_gate_up", {"shared_gate", "shared_up"}},
};

const char *const *fg_stack_parts(const fg_config *config, const char *slot) {
  for (int i = 0; i < STACKS; i++)
    if ((config->apart & 1u << i) && strcmp(stacks[i].slot, slot) == 0) return stacks[i].parts;
  return NULL;
}

// ---- the fact ------------------------------------------------------------------------------------------

// Tensors that are stacked, of layers or of experts; NULL: not in this family.
typedef struct stacked {
  uint32_t stack;
  const char *tensors[PARTS];
  const char *suffix;
} stacked;

// Experts that have tensors of their own ("%e") are not looked at: nobody gives gate and up of one two types.
static fg_status types_differ(bool *out, const fg_checkpoint *checkpoint, const fg_config *config,
                              const stacked *s, fg_error *err) {
  *out = false;
  for (uint32_t layer = 0; layer < config->layers && !*out; layer++) {
    const fg_checkpoint_tensor *first = NULL;
    for (int i = 0; i < PARTS && s->tensors[i]; i++) {
      char name[128];
      fg_status status = fg_tensor_name(name, sizeof name - 8, s->tensors[i], layer, err);
      if (status) return status;
      strcat(name, s->suffix);
      const fg_checkpoint_tensor *t = fg_tensor_find(checkpoint, fg_config_names(config), name);
      *out |= t && first && t->dtype != first->dtype;
      if (t && !first) first = t;
    }
  }
  return FG_OK;
}

fg_status fg_stacks_gather(json_t *facts, const fg_checkpoint *checkpoint, const fg_config *config,
                           fg_error *err) {
  const fg_names *n = fg_config_names(config);
  const fg_expert_names none = {0}, *e = config->experts_fused ? n->experts_fused : n->experts;
  if (!e) e = &none;
  const stacked all[] = {{0, {n->q, n->k, n->v}, ".weight"},
                         {1, {n->gate, n->up}, ".weight"},
                         {1, {e->gate, e->up}, e->bare ? "" : ".weight"},
                         {2, {n->shared_gate, n->shared_up}, ".weight"}};
  uint32_t apart = 0;
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    bool differ;
    fg_status status = types_differ(&differ, checkpoint, config, &all[i], err);
    if (status) return status;
    if (differ) apart |= 1u << all[i].stack;
  }
  if (!apart) return FG_OK;
  json_t *list = json_array();
  for (int i = 0; i < STACKS; i++)
    if (apart & 1u << i) json_array_append_new(list, json_string(stacks[i].slot));
  return json_object_set_new(facts, "apart", list) == 0
             ? FG_OK
             : fg_fail(err, FG_NO_SPACE, "no memory for %s", FG_ASSET_FACTS);
}

fg_status fg_stacks_apply(fg_config *config, const json_t *facts, fg_error *err) {
  const json_t *list = json_object_get(facts, "apart");
  for (size_t i = 0; i < json_array_size(list); i++) {
    const char *slot = json_string_value(json_array_get(list, i));
    int stack = 0;
    while (stack < STACKS && (!slot || strcmp(slot, stacks[stack].slot) != 0)) stack++;
    if (stack == STACKS) return fg_fail(err, FG_CORRUPT, "%s: \"apart\": entry %zu", FG_ASSET_FACTS, i);
    config->apart |= 1u << stack;
  }
  return FG_OK;
}
