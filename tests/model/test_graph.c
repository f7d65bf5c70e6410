// The graphs of the families, written out, and what the check of a graph finds.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/text_buffer.h"
#include "model/arch.h"

static fg_graph *build(const char *json) {
  fg_assets assets = {0};
  fg_config config;
  fg_graph *graph;
  fg_error err = {FG_OK, ""};
  assert_int_equal(fg_assets_add(&assets, "config.json", json, strlen(json), &err), FG_OK);
  fg_status status = fg_config_load(&config, &assets, &err);
  if (!status) status = fg_graph_build(&graph, &config, &err);
  fg_assets_free(&assets);
  if (status) fail_msg("%s", err.message);
  return graph;
}

// ---- graphs as text ------------------------------------------------------------------------------------

static const char *const op_names[FG_OP_COUNT] = {[FG_OP_NORM] = "norm",
                                                  [FG_OP_MATMUL] = "matmul",
                                                  [FG_OP_ROPE] = "rope",
                                                  [FG_OP_KV_STORE] = "kv_store",
                                                  [FG_OP_ATTENTION] = "attention",
                                                  [FG_OP_ACT] = "act",
                                                  [FG_OP_GLU] = "glu",
                                                  [FG_OP_ADD] = "add",
                                                  [FG_OP_SELECT] = "select"};

static void write_operand(fg_text *text, const fg_program *p, const char *label, const fg_operand *o) {
  static const char kinds[] = {[FG_OPERAND_REGISTER] = 'r', [FG_OPERAND_CONSTANT] = 'c'};
  if (o->kind == FG_OPERAND_NONE) return;
  if (o->kind == FG_OPERAND_SLOT) {
    fg_text_printf(text, " %s=%s", label, p->slots[o->index].name);
  } else {
    fg_text_printf(text, " %s=%c%u", label, kinds[o->kind], o->index);
    if (o->column) fg_text_printf(text, ".%u", o->column);
  }
}

static void write_program(fg_text *text, const fg_program *p) {
  for (uint32_t i = 0; i < p->node_count; i++) {
    const fg_node *n = &p->nodes[i];
    fg_text_append_string(text, op_names[n->op]);
    write_operand(text, p, "a", &n->a);
    write_operand(text, p, "b", &n->b);
    write_operand(text, p, "c", &n->c);
    write_operand(text, p, "out", &n->out);
    if (n->op == FG_OP_MATMUL) {
      fg_text_printf(text, " [%u,%u]%s", n->params.matmul.n, n->params.matmul.k,
                     n->params.matmul.accumulate ? " +=" : "");
    }
    fg_text_append_string(text, "\n");
  }
}

static void write_slots(fg_text *text, const fg_program *p) {
  for (uint32_t i = 0; i < p->slot_count; i++) {
    const fg_slot *s = &p->slots[i];
    fg_text_printf(text, "%s [%u,%u]", s->name, s->n, s->k);
    for (uint32_t j = 0; j < s->source_count; j++) {
      fg_text_printf(text, " %s:%u", s->sources[j].tensor, s->sources[j].rows);
      if (s->sources[j].transform) fg_text_printf(text, "~%u", s->sources[j].head_dim);
    }
    fg_text_append_string(text, "\n");
  }
}

static void assert_text(fg_text *text, const char *expected) {
  assert_false(fg_text_failed(text));
  if (strcmp(text->data, expected) != 0) fail_msg("got\n%s\nexpected\n%s", text->data, expected);
  fg_text_free(text);
}

static void assert_nodes(const fg_program *p, const char *expected) {
  fg_text text = {0};
  fg_text_append_string(&text, "");
  write_program(&text, p);
  assert_text(&text, expected);
}

static void assert_slots(const fg_program *p, const char *expected) {
  fg_text text = {0};
  write_slots(&text, p);
  assert_text(&text, expected);
}

#define LLAMA                                                                                                \
  "{\"model_type\":\"llama\",\"hidden_size\":64,\"num_hidden_layers\":3,\"num_attention_heads\":8,"          \
  "\"num_key_value_heads\":2,\"intermediate_size\":96,\"vocab_size\":100"
#define OPT                                                                                                  \
  "{\"model_type\":\"opt\",\"hidden_size\":64,\"num_hidden_layers\":2,\"num_attention_heads\":4,\"ffn_"      \
  "dim\":256,"                                                                                               \
  "\"vocab_size\":100,\"max_position_embeddings\":32"

static void test_llama_layer(void **state) {
  (void)state;
  fg_graph *g = build(LLAMA "}");
  assert_nodes(&g->programs[0], "norm a=r0 b=attn_norm out=r1\n"
                                "matmul a=r1 b=qkv out=r2 [96,64]\n"
                                "rope a=c0 out=r2\n"
                                "kv_store a=r2.64 b=r2.80\n"
                                "attention a=r2 out=r1\n"
                                "matmul a=r1 b=attn_out out=r0 [64,64] +=\n"
                                "norm a=r0 b=mlp_norm out=r1\n"
                                "matmul a=r1 b=gate_up out=r2 [192,64]\n"
                                "glu a=r2 out=r3\n"
                                "matmul a=r3 b=down out=r0 [64,96] +=\n");
  assert_slots(&g->programs[0],
               "attn_norm [64,1] layers.%u.input_layernorm.weight:64\n"
               "qkv [96,64] layers.%u.self_attn.q_proj.weight:64 layers.%u.self_attn.k_proj.weight:16"
               " layers.%u.self_attn.v_proj.weight:16\n"
               "attn_out [64,64] layers.%u.self_attn.o_proj.weight:64\n"
               "mlp_norm [64,1] layers.%u.post_attention_layernorm.weight:64\n"
               "gate_up [192,64] layers.%u.mlp.gate_proj.weight:96 layers.%u.mlp.up_proj.weight:96\n"
               "down [64,96] layers.%u.mlp.down_proj.weight:64\n");
  const fg_node *rope = &g->programs[0].nodes[2], *attention = &g->programs[0].nodes[4];
  assert_int_equal(rope->params.rope.heads, 10); // q's and k's lie side by side
  assert_int_equal(rope->params.rope.rotary, 8);
  assert_false(rope->params.rope.interleaved);
  assert_int_equal(attention->params.attention.heads, 8);
  assert_int_equal(attention->params.attention.kv.kv_heads, 2);
  assert_true(attention->params.attention.scale == 0.353553391f);
  assert_int_equal(g->programs[0].nodes[0].params.norm.kind, FG_NORM_RMS);
  assert_int_equal(g->constant_count_of[0], 4);
  fg_graph_destroy(g);
}

static void test_llama_ends(void **state) {
  (void)state;
  fg_graph *g = build(LLAMA "}");
  assert_nodes(&g->prologue, "");
  assert_slots(&g->prologue, "embed [100,64] embed_tokens.weight:100\n");
  assert_int_equal(g->input_count, 1);
  assert_int_equal(g->inputs[0].reg, 0);
  assert_nodes(&g->epilogue, "norm a=r1 b=norm out=r1\n");
  assert_slots(&g->epilogue, "norm [64,1] norm.weight:64\nhead [100,64] lm_head.weight:100\n");
  assert_int_equal(g->selected_reg, 1);
  assert_int_equal(g->head_reg, 1);
  fg_graph_destroy(g);
  g = build(LLAMA ",\"tie_word_embeddings\":true}");
  assert_slots(&g->epilogue, "norm [64,1] norm.weight:64\nhead [100,64] embed_tokens.weight:100\n");
  fg_graph_destroy(g);
}

static void test_biases_become_vectors_of_fused_matrices(void **state) {
  (void)state;
  fg_graph *g = build(LLAMA ",\"attention_bias\":true,\"mlp_bias\":true}");
  const fg_program *p = &g->programs[0];
  const fg_slot *bias = NULL;
  for (uint32_t i = 0; i < p->slot_count; i++) {
    if (strcmp(p->slots[i].name, "qkv_bias") == 0) bias = &p->slots[i];
  }
  assert_non_null(bias);
  assert_int_equal(bias->n, 96);
  assert_string_equal(bias->sources[1].tensor, "layers.%u.self_attn.k_proj.bias");
  assert_int_equal(p->nodes[1].c.kind, FG_OPERAND_SLOT);
  assert_int_equal(p->nodes[5].c.kind, FG_OPERAND_SLOT);
  assert_int_equal(p->nodes[7].c.kind, FG_OPERAND_SLOT);
  assert_int_equal(p->nodes[9].c.kind, FG_OPERAND_SLOT);
  fg_graph_destroy(g);
}

static void test_opt_normalises_before(void **state) {
  (void)state;
  fg_graph *g = build(OPT "}");
  assert_nodes(&g->programs[0], "norm a=r0 b=attn_norm c=attn_norm_bias out=r1\n"
                                "matmul a=r1 b=qkv c=qkv_bias out=r2 [192,64]\n"
                                "kv_store a=r2.64 b=r2.128\n"
                                "attention a=r2 out=r1\n"
                                "matmul a=r1 b=attn_out c=attn_out_bias out=r0 [64,64] +=\n"
                                "norm a=r0 b=mlp_norm c=mlp_norm_bias out=r1\n"
                                "matmul a=r1 b=up c=up_bias out=r2 [256,64]\n"
                                "act out=r2\n"
                                "matmul a=r2 b=down c=down_bias out=r0 [64,256] +=\n");
  assert_nodes(&g->prologue, "add a=r1 out=r0\n");
  assert_slots(&g->prologue, "embed [100,64] embed_tokens.weight:100\n"
                             "positions [34,64] embed_positions.weight:34\n");
  assert_int_equal(g->inputs[1].index, FG_INPUT_POSITION);
  assert_int_equal(g->inputs[1].index_offset, 2);
  assert_nodes(&g->epilogue, "norm a=r1 b=norm c=norm_bias out=r1\n");
  assert_int_equal(g->max_positions, 32);
  fg_graph_destroy(g);
}

static void test_opt_350m_normalises_behind_and_projects(void **state) {
  (void)state;
  fg_graph *g = build(OPT ",\"do_layer_norm_before\":false,\"word_embed_proj_dim\":32}");
  assert_nodes(&g->programs[0], "matmul a=r0 b=qkv c=qkv_bias out=r2 [192,64]\n"
                                "kv_store a=r2.64 b=r2.128\n"
                                "attention a=r2 out=r1\n"
                                "matmul a=r1 b=attn_out c=attn_out_bias out=r0 [64,64] +=\n"
                                "norm a=r0 b=attn_norm c=attn_norm_bias out=r0\n"
                                "matmul a=r0 b=up c=up_bias out=r2 [256,64]\n"
                                "act out=r2\n"
                                "matmul a=r2 b=down c=down_bias out=r0 [64,256] +=\n"
                                "norm a=r0 b=mlp_norm c=mlp_norm_bias out=r0\n");
  assert_nodes(&g->prologue, "matmul a=r2 b=project_in out=r0 [64,32]\nadd a=r1 out=r0\n");
  assert_nodes(&g->epilogue, "matmul a=r1 b=project_out out=r2 [32,64]\n");
  assert_int_equal(g->head_reg, 2);
  assert_int_equal(g->epilogue.slots[g->head_slot].k, 32);
  fg_graph_destroy(g);
}

static void test_opt_without_affine_norms_and_biases(void **state) {
  (void)state;
  fg_graph *g = build(OPT ",\"enable_bias\":false,\"layer_norm_elementwise_affine\":false}");
  for (uint32_t i = 0; i < g->programs[0].slot_count; i++) {
    assert_int_equal(g->programs[0].slots[i].kind, FG_WEIGHT_MATRIX);
  }
  assert_int_equal(g->programs[0].slot_count, 4);
  assert_int_equal(g->epilogue.slot_count, 1);
  fg_graph_destroy(g);
}

static void test_final_norm_can_be_removed(void **state) {
  (void)state;
  fg_graph *g = build(OPT ",\"_remove_final_layer_norm\":true}");
  assert_nodes(&g->epilogue, "");
  fg_graph_destroy(g);
}

static void test_weights_are_named_by_their_place(void **state) {
  (void)state;
  fg_graph *g = build(LLAMA "}");
  char name[64];
  fg_graph_weight_name(g, -1, &g->prologue.slots[0], name);
  assert_string_equal(name, "prologue.embed");
  fg_graph_weight_name(g, 2, &g->programs[0].slots[1], name);
  assert_string_equal(name, "layers.2.qkv");
  fg_graph_weight_name(g, 3, &g->epilogue.slots[g->head_slot], name);
  assert_string_equal(name, "epilogue.head");
  fg_graph_destroy(g);
}

// ---- the check -----------------------------------------------------------------------------------------

static void break_register(fg_graph *g) {
  g->programs[0].nodes[0].a.index = 9;
}
static void break_width(fg_graph *g) {
  g->programs[0].nodes[3].b.column = 180;
}
static void break_slot(fg_graph *g) {
  g->programs[0].nodes[1].b.index = 30;
}
static void break_kind(fg_graph *g) {
  g->programs[0].slots[1].kind = FG_WEIGHT_TABLE;
}
static void break_shape(fg_graph *g) {
  g->programs[0].nodes[1].params.matmul.k = 63;
}
static void break_aliasing(fg_graph *g) {
  g->programs[0].nodes[1].out.index = 1;
}
static void break_constant(fg_graph *g) {
  g->constant_count_of[0] = 3;
}
static void break_heads(fg_graph *g) {
  g->programs[0].nodes[4].params.attention.heads = 7;
}
static void break_glu(fg_graph *g) {
  g->programs[0].nodes[8].params.act.width = 97;
}
static void break_rows(fg_graph *g) {
  g->programs[0].slots[1].sources[0].rows--;
}
static void break_use(fg_graph *g) {
  g->programs[0].nodes[0].b.kind = FG_OPERAND_NONE;
}
static void break_input(fg_graph *g) {
  g->inputs[0].reg = 3;
  g->register_width[3] = 8;
}
static void break_head(fg_graph *g) {
  g->head_reg = 15;
}
static void break_selected(fg_graph *g) {
  g->selected_reg = 0;
}
static void break_layer(fg_graph *g) {
  g->program_of_layer[2] = 1;
}
static void break_op(fg_graph *g) {
  g->programs[0].nodes[0].op = FG_OP_SELECT;
}
static void break_vocab(fg_graph *g) {
  g->vocab++;
}

static void test_check_finds_what_does_not_fit(void **state) {
  (void)state;
  static void (*const breaks[])(fg_graph * g) = {
      break_register, break_width,    break_slot,  break_kind, break_shape, break_aliasing,
      break_constant, break_heads,    break_glu,   break_rows, break_use,   break_input,
      break_head,     break_selected, break_layer, break_op,   break_vocab,
  };
  for (size_t i = 0; i < sizeof breaks / sizeof *breaks; i++) {
    fg_graph *g = build(LLAMA "}");
    fg_error err = {FG_OK, ""};
    assert_int_equal(fg_graph_check(g, &err), FG_OK);
    breaks[i](g);
    if (fg_graph_check(g, &err) != FG_INTERNAL) fail_msg("damage %zu passes the check", i);
    fg_graph_destroy(g);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_llama_layer),
      cmocka_unit_test(test_llama_ends),
      cmocka_unit_test(test_biases_become_vectors_of_fused_matrices),
      cmocka_unit_test(test_opt_normalises_before),
      cmocka_unit_test(test_opt_350m_normalises_behind_and_projects),
      cmocka_unit_test(test_opt_without_affine_norms_and_biases),
      cmocka_unit_test(test_final_norm_can_be_removed),
      cmocka_unit_test(test_weights_are_named_by_their_place),
      cmocka_unit_test(test_check_finds_what_does_not_fit),
  };
  return cmocka_run_group_tests_name("graph", tests, NULL, NULL);
}
