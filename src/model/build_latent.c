// build_latent.c: multi-head latent attention (DeepSeek-AI 2024, section 2.1), in the form in which no head's
// keys and values are ever made. What makes a head's keys is applied to its query instead, which then meets
// the short vector itself, and what makes its values to the sum that comes out. So all heads share one key,
// the short vector and behind it the turned values, and its beginning is their value: one head of keys and
// values, of which rank + head_dim numbers are kept.
#include "model/build.h"

// So many rows from `first` on of each head's in a tensor.
static fg_part head_part(const fg_build *b, const char *tensor, uint32_t first, uint32_t count,
                         uint32_t period) {
  const uint32_t heads = b->config->heads;
  return (fg_part){.tensor = tensor,
                   .rows = heads * count,
                   .slice = {.first = first, .block = count, .period = period, .rows = heads * period}};
}

// The short vector and the values that are turned: the key.
static void build_key(fg_build *b, const fg_latent_registers *r, uint32_t column) {
  const fg_config *c = b->config;
  fg_linear kv = {.slot = "kv_a", .k = c->hidden, .bias = c->qkv_bias, .in = r->in, .out = r->wide};
  kv.parts[0] = (fg_part){.tensor = b->names->kv_a, .rows = c->latent.rank + c->head_dim};
  kv.out_column = column;
  fg_build_linear(b, &kv);
  fg_build_norm_of(b, &(fg_norm_spec){.slot = "kv_a_norm",
                                      .tensor = b->names->kv_a_norm,
                                      .reg = r->wide,
                                      .out = r->wide,
                                      .column = column,
                                      .width = c->latent.rank,
                                      .segments = 1,
                                      .eps = c->latent.norm_eps});
}

// What queries are made from: x, or a short vector of their own in `spare`.
static uint32_t build_query_source(fg_build *b, const fg_latent_registers *r) {
  const fg_config *c = b->config;
  if (!c->latent.q_rank) return r->in;
  fg_linear q = {.slot = "q_a", .k = c->hidden, .bias = c->qkv_bias, .in = r->in, .out = r->spare};
  q.parts[0] = (fg_part){.tensor = b->names->q_a, .rows = c->latent.q_rank};
  fg_build_linear(b, &q);
  fg_build_norm_of(b, &(fg_norm_spec){.slot = "q_a_norm",
                                      .tensor = b->names->q_a_norm,
                                      .reg = r->spare,
                                      .out = r->spare,
                                      .width = c->latent.q_rank,
                                      .segments = 1,
                                      .eps = c->latent.norm_eps});
  return r->spare;
}

// Queries as they meet keys: what is turned goes to its place at once, the rest by way of what makes keys.
static void build_queries(fg_build *b, const fg_latent_registers *r) {
  const fg_config *c = b->config;
  const fg_latent *l = &c->latent;
  const uint32_t key = l->rank + c->head_dim, own = l->nope + c->head_dim;
  const char *tensor = l->q_rank ? b->names->q_b : b->names->q;
  fg_linear q = {.k = l->q_rank ? l->q_rank : c->hidden, .in = build_query_source(b, r)};
  q.slot = "q_rope";
  q.parts[0] = head_part(b, tensor, l->nope, c->head_dim, own);
  q.out = r->wide;
  q.out_column = l->rank;
  q.segments = c->heads;
  q.out_step = key;
  fg_build_linear(b, &q);
  q.slot = "q_nope";
  q.parts[0] = head_part(b, tensor, 0, l->nope, own);
  q.out = l->q_rank ? r->out : r->spare; // not where it comes from
  q.out_column = q.segments = q.out_step = 0;
  fg_build_linear(b, &q);

  fg_linear up = {.slot = "key_up", .k = l->nope, .in = q.out, .out = r->wide};
  up.parts[0] = head_part(b, b->names->kv_b, 0, l->nope, l->nope + l->value);
  up.parts[0].transform = FG_TRANSFORM_TRANSPOSE_HEADS;
  if (l->split) up.parts[0] = (fg_part){.tensor = b->names->k_b};
  up.parts[0].rows = c->heads * l->rank;
  up.segments = c->heads;
  up.in_step = l->nope;
  up.out_step = key;
  fg_build_linear(b, &up);
}

static void build_values(fg_build *b, const fg_latent_registers *r) {
  const fg_config *c = b->config;
  const fg_latent *l = &c->latent;
  fg_linear up = {.slot = "value_up", .k = l->rank, .in = r->spare, .out = r->out};
  up.parts[0] = head_part(b, b->names->kv_b, l->nope, l->value, l->nope + l->value);
  if (l->split) up.parts[0] = (fg_part){.tensor = b->names->v_b, .rows = c->heads * l->value};
  up.segments = c->heads;
  up.in_step = l->rank;
  up.out_step = l->value;
  fg_build_linear(b, &up);
}

void fg_build_latent(fg_build *b, const fg_latent_registers *r) {
  const fg_config *c = b->config;
  const uint32_t key = c->latent.rank + c->head_dim, column = c->heads * key; // the key stands behind queries
  build_key(b, r, column);
  build_queries(b, r);
  fg_build_rope(b, fg_build_operand(r->wide, c->latent.rank), c->heads + 1, key);
  fg_build_attend(b, r->wide, column, column, r->spare);
  build_values(b, r);
}
