// config_experts.c: which layers have experts, and whether their numbers make sense.
#include <string.h>

#include "model/arch.h"

fg_status fg_config_sparse(fg_config *config, const bool *sparse, fg_error *err) {
  fg_layer_kind old[FG_MAX_LAYER_KINDS];
  memcpy(old, config->kinds, sizeof old);
  config->kind_count = 0;
  for (uint32_t i = 0; i < config->layers && i < FG_MAX_LAYERS; i++) {
    fg_layer_kind kind = old[config->kind_of_layer[i]];
    kind.experts = config->route.experts > 0 && (!sparse || sparse[i]);
    fg_status status = fg_config_kind(config, &kind, &config->kind_of_layer[i], err);
    if (status) return status;
  }
  return FG_OK;
}

uint32_t fg_config_expert_ffn(const fg_config *config) {
  return config->expert_ffn ? config->expert_ffn : config->ffn;
}

fg_status fg_config_check_experts(const fg_config *c, fg_error *err) {
  enum { MAX_WIDTH = 1 << 23 };
  const fg_route_form *r = &c->route;
  if (r->experts == 0) return FG_OK;
  if (!fg_route_form_ok(r)) {
    return fg_fail(err, FG_INVALID,
                   "%u experts (at most %d) in %u groups, of which tokens take %u of %u groups", r->experts,
                   FG_MAX_EXPERTS, r->groups, r->used, r->top_groups);
  }
  if (fg_config_expert_ffn(c) > MAX_WIDTH || c->shared_ffn > MAX_WIDTH) {
    return fg_fail(err, FG_INVALID, "experts of width %u, the shared one of %u", fg_config_expert_ffn(c),
                   c->shared_ffn);
  }
  const fg_names *names = fg_config_names(c);
  if (!(c->experts_fused ? names->experts_fused : names->experts)) {
    return fg_fail(err, FG_UNSUPPORTED, "experts of %s are not supported in this form", c->arch->name);
  }
  return FG_OK;
}
