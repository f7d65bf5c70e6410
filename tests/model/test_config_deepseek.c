// DeepSeek's models: what published configurations make of layers, sizes and the cache; what is refused.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "gguf_header.h"
#include "json_config.h"
#include "model/arch.h"

#define YARN(mscale)                                                                                         \
  ",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":40,\"beta_fast\":32,\"beta_slow\":1,\"mscale\":" mscale   \
  ",\"mscale_all_dim\":" mscale ",\"original_max_position_embeddings\":4096}"

// As published: what is not here is the class's default.
#define V2_LITE                                                                                              \
  "\"model_type\":\"deepseek_v2\",\"vocab_size\":102400,\"hidden_size\":2048,\"intermediate_size\":10944,"   \
  "\"num_hidden_layers\":27,\"num_attention_heads\":16,\"num_key_value_heads\":16,"                          \
  "\"moe_intermediate_size\":1408,\"n_routed_experts\":64,\"n_shared_experts\":2,\"num_experts_per_tok\":6," \
  "\"first_k_dense_replace\":1,\"moe_layer_freq\":1,\"n_group\":1,\"topk_group\":1,\"q_lora_rank\":null,"    \
  "\"scoring_func\":\"softmax\",\"norm_topk_prob\":false" YARN("0.707")
#define V2                                                                                                   \
  "\"model_type\":\"deepseek_v2\",\"vocab_size\":102400,\"hidden_size\":5120,\"intermediate_size\":12288,"   \
  "\"num_hidden_layers\":60,\"num_attention_heads\":128,\"moe_intermediate_size\":1536,"                     \
  "\"n_routed_experts\":160,\"n_shared_experts\":2,\"num_experts_per_tok\":6,\"first_k_dense_replace\":1,"   \
  "\"n_group\":8,\"topk_group\":3,\"topk_method\":\"group_limited_greedy\",\"routed_scaling_factor\":16.0"
#define V3                                                                                                   \
  "\"model_type\":\"deepseek_v3\",\"vocab_size\":129280,\"hidden_size\":7168,\"intermediate_size\":18432,"   \
  "\"num_hidden_layers\":61,\"num_attention_heads\":128,\"num_nextn_predict_layers\":1" YARN("1.0")

static fg_graph *build(const char *json) {
  fg_config config = load(json);
  fg_graph *graph = NULL;
  fg_error err = {FG_OK, ""};
  if (fg_graph_build(&graph, &config, &err)) fail_msg("%s", err.message);
  return graph;
}

static double values_of(const fg_program *program) {
  double sum = 0;
  for (uint32_t i = 0; program && i < program->slot_count; i++)
    sum += (double)program->slots[i].n * program->slots[i].k;
  return sum;
}

static double parameters_of(const fg_graph *g) {
  double sum = values_of(&g->prologue) + values_of(&g->epilogue);
  for (int32_t i = 0; i < (int32_t)g->layers; i++)
    sum += values_of(fg_graph_program(g, i)) +
           fg_graph_program(g, i)->experts.count * values_of(fg_graph_expert_program(g, i));
  return sum;
}

static void test_sizes_are_the_published_ones(void **state) {
  (void)state;
  static const struct {
    const char *json;
    double billions;
  } models[] = {{"{" V2_LITE "}", 15.706}, {"{" V2 "}", 235.741}, {"{" V3 "}", 671.026}};
  for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
    fg_graph *g = build(models[i].json);
    double billions = parameters_of(g) * 1e-9;
    if (fabs(billions - models[i].billions) > 0.001) fail_msg("model %zu has %g billion", i, billions);
    fg_graph_destroy(g);
  }
}

// What is kept of a token is one short vector and one turned key, whatever the number of heads.
static void test_cache_holds_576_values_a_token(void **state) {
  (void)state;
  fg_graph *g = build("{" V3 "}");
  assert_int_equal(g->kv.kv_heads, 1);
  assert_int_equal(g->kv.k_dim, 576);
  assert_int_equal(g->kv.v_dim, 512);
  assert_true(g->kv.v_in_k);
  g->kv.page_tokens = 1;
  g->kv.dtype = FG_BF16;
  assert_int_equal(fg_kv_page_bytes(&g->kv), 1152);
  fg_graph_destroy(g);
}

static void test_scores_are_scaled_by_both_parts_of_a_key_and_yarn(void **state) {
  (void)state;
  const double plain = 1 / sqrt(192.0), m = 0.1 * log(40) + 1, lite = 0.0707 * log(40) + 1;
  fg_config c = load("{" V3 "}");
  assert_true(fabs(c.score_scale - plain * m * m) < 1e-9 && c.rope[0].magnitude == 1);
  c = load("{" V2_LITE "}");
  assert_true(fabs(c.score_scale - plain * lite * lite) < 1e-9);
  c = load("{" V2 "}");
  assert_true(fabs(c.score_scale - plain) < 1e-9);
}

static void test_routes_are_those_of_the_version(void **state) {
  (void)state;
  fg_config c = load("{" V2_LITE "}");
  assert_true(c.route.kind == FG_ROUTE_SOFTMAX && c.route.groups == 0 && !c.route_correction);
  assert_true(!c.route.normalise && c.route_scale == 1);
  assert_int_equal(c.shared_ffn, 2816);
  c = load("{" V2 "}");
  assert_true(c.route.groups == 8 && c.route.top_groups == 3 && c.route.group_best == 1);
  c = load("{" V3 "}");
  assert_true(c.route.kind == FG_ROUTE_SIGMOID && c.route.groups == 8 && c.route.top_groups == 4);
  assert_true(c.route.group_best == 2 && c.route.normalise && c.route_correction && c.route_scale == 2.5);
}

static void test_first_layers_are_dense(void **state) {
  (void)state;
  fg_config c = load("{" V3 "}");
  for (uint32_t i = 0; i < 61; i++) assert_int_equal(c.kinds[c.kind_of_layer[i]].experts, i >= 3);
  c = load("{" V3 ",\"n_routed_experts\":null}");
  for (uint32_t i = 0; i < 61; i++) assert_false(c.kinds[c.kind_of_layer[i]].experts);
}

// null is no short vector for queries, and nothing is the class's own number.
static void test_query_rank_that_is_null_is_none(void **state) {
  (void)state;
  assert_int_equal(load("{" V2_LITE "}").latent.q_rank, 0);
  assert_int_equal(load("{" V2 "}").latent.q_rank, 1536);
  assert_true(load("{" V3 "}").rope_interleaved);
  assert_false(load("{" V3 ",\"rope_interleave\":false}").rope_interleaved);
}

static const struct {
  const char *json;
  fg_status status;
  const char *named;
} refusals[] = {
    {"{" V2 ",\"norm_topk_prob\":true}", FG_UNSUPPORTED, "norm_topk_prob"},
    {"{" V2 ",\"mlp_bias\":true}", FG_UNSUPPORTED, "mlp_bias"},
    {"{" V2 ",\"moe_layer_freq\":2}", FG_UNSUPPORTED, "moe_layer_freq"},
    {"{" V2 ",\"scoring_func\":\"sigmoid\"}", FG_UNSUPPORTED, "scoring_func"},
    {"{" V3 ",\"scoring_func\":\"softmax\"}", FG_UNSUPPORTED, "scoring_func"},
    {"{" V3 ",\"topk_method\":\"greedy\"}", FG_UNSUPPORTED, "topk_method"},
    {"{" V2_LITE ",\"topk_method\":\"noaux_tc\"}", FG_UNSUPPORTED, "topk_method"},
    {"{" V3 ",\"n_group\":7}", FG_INVALID, "7 groups"},
    {"{" V3 ",\"n_group\":1,\"topk_group\":0}", FG_INVALID, "topk_group"},
    {"{" V3 ",\"kv_lora_rank\":0}", FG_INVALID, "rank 0"},
    {"{" V3 ",\"kv_lora_rank\":1000}", FG_INVALID, "rank 1000"},
    {"{" V3 ",\"qk_nope_head_dim\":0}", FG_INVALID, "128 heads of 0"},
    {"{" V3 ",\"v_head_dim\":4294967295}", FG_INVALID, "4294967295"},
    {"{" V3 ",\"qk_rope_head_dim\":63}", FG_INVALID, "63"},
    {"{" V3 ",\"n_shared_experts\":4000000}", FG_INVALID, "4294967295"},
    {"{" V3 ",\"q_lora_rank\":\"many\"}", FG_INVALID, "q_lora_rank"},
};

static void test_what_is_not_built_is_refused_by_name(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
    fg_config config;
    fg_error err = {FG_OK, ""};
    fg_status status = try_load(&config, refusals[i].json, &err);
    if (status != refusals[i].status || !strstr(err.message, refusals[i].named))
      fail_msg("%s: status %d, %s", refusals[i].json, (int)status, err.message);
  }
}

// ---- GGUF ----------------------------------------------------------------------------------------------

// As llama.cpp writes V3, without what the tests say themselves.
static header gguf(void) {
  header h = gguf_header("deepseek2");
  put_u32(&h, "deepseek2.embedding_length", 64);
  put_u32(&h, "deepseek2.block_count", 5);
  put_u32(&h, "deepseek2.feed_forward_length", 96);
  put_u32(&h, "deepseek2.attention.head_count", 4);
  put_u32(&h, "deepseek2.attention.head_count_kv", 1);
  put_u32(&h, "deepseek2.context_length", 512);
  put_f32(&h, "deepseek2.attention.layer_norm_rms_epsilon", 1e-6f);
  put_u32(&h, "deepseek2.vocab_size", 100);
  put_u32(&h, "deepseek2.attention.kv_lora_rank", 48);
  put_u32(&h, "deepseek2.rope.dimension_count", 16);
  put_u32(&h, "deepseek2.expert_count", 8);
  put_u32(&h, "deepseek2.expert_used_count", 3);
  put_u32(&h, "deepseek2.expert_shared_count", 2);
  put_u32(&h, "deepseek2.expert_feed_forward_length", 24);
  put_u32(&h, "deepseek2.leading_dense_block_count", 2);
  return h;
}

static void test_gguf_says_heads_in_two_ways(void **state) {
  (void)state;
  fg_config c;
  fg_error err = {FG_OK, ""};
  header h = gguf();
  put_u32(&h, "deepseek2.attention.key_length", 40);
  put_u32(&h, "deepseek2.attention.value_length", 32);
  if (load_gguf(&h, &c, &err)) fail_msg("%s", err.message);
  assert_true(!c.latent.split && c.latent.nope == 24 && c.latent.value == 32);
  h = gguf();
  put_u32(&h, "deepseek2.attention.key_length", 64);
  put_u32(&h, "deepseek2.attention.value_length", 48);
  put_u32(&h, "deepseek2.attention.key_length_mla", 40);
  put_u32(&h, "deepseek2.attention.value_length_mla", 32);
  if (load_gguf(&h, &c, &err)) fail_msg("%s", err.message);
  assert_true(c.latent.split && c.latent.nope == 24 && c.latent.value == 32 && c.latent.rank == 48);
  assert_true(c.latent.q_rank == 0 && c.kv_heads == 1 && c.head_dim == 16);
}

static void test_gguf_layers_that_predict_more_are_not_run(void **state) {
  (void)state;
  fg_config c;
  fg_error err = {FG_OK, ""};
  header h = gguf();
  put_u32(&h, "deepseek2.attention.key_length", 40);
  put_u32(&h, "deepseek2.nextn_predict_layers", 1);
  if (load_gguf(&h, &c, &err)) fail_msg("%s", err.message);
  assert_int_equal(c.layers, 4);
  for (uint32_t i = 0; i < 4; i++) assert_int_equal(c.kinds[c.kind_of_layer[i]].experts, i >= 2);
}

static void test_gguf_says_which_version_it_is_by_its_scores(void **state) {
  (void)state;
  fg_config c;
  fg_error err = {FG_OK, ""};
  header h = gguf();
  put_u32(&h, "deepseek2.attention.key_length", 40);
  if (load_gguf(&h, &c, &err)) fail_msg("%s", err.message);
  assert_true(c.route.kind == FG_ROUTE_SOFTMAX && !c.route_correction && c.route_scale == 1);
  assert_int_equal(c.shared_ffn, 48);
  put_u32(&h, "deepseek2.expert_gating_func", 2);
  put_f32(&h, "deepseek2.expert_weights_scale", 2.5f);
  put_string(&h, "deepseek2.rope.scaling.type", "yarn");
  put_f32(&h, "deepseek2.rope.scaling.factor", 40);
  put_u32(&h, "deepseek2.rope.scaling.original_context_length", 64);
  put_f32(&h, "deepseek2.rope.scaling.yarn_log_multiplier", 0.1f);
  if (load_gguf(&h, &c, &err)) fail_msg("%s", err.message);
  assert_true(c.route.kind == FG_ROUTE_SIGMOID && c.route_correction && c.route_scale == 2.5);
  const double m = 0.1 * log(40) + 1;
  assert_true(c.rope[0].magnitude == 1 && fabs(c.score_scale - m * m / sqrt(40)) < 1e-6);
}

// The first files of V3's kind do not name the function, but have its corrections.
static void test_gguf_with_corrections_has_sigmoids(void **state) {
  (void)state;
  const uint32_t dims = 1, f32 = 0;
  const uint64_t experts = 8, offset = 0, tensors = 1;
  fg_config c;
  fg_error err = {FG_OK, ""};
  header h = gguf();
  put_u32(&h, "deepseek2.attention.key_length", 40);
  memcpy(h.data + 8, &tensors, 8);
  put_text(&h, "blk.2.exp_probs_b.bias");
  put(&h, &dims, 4);
  put(&h, &experts, 8);
  put(&h, &f32, 4);
  put(&h, &offset, 8);
  if (load_gguf(&h, &c, &err)) fail_msg("%s", err.message);
  assert_true(c.route.kind == FG_ROUTE_SIGMOID && c.route_correction);
}

static void test_gguf_that_makes_no_sense_is_refused_by_name(void **state) {
  (void)state;
  static const struct {
    const char *key;
    uint32_t value;
    fg_status status;
    const char *named;
  } cases[] = {
      {"deepseek2.expert_gating_func", 3, FG_UNSUPPORTED, "expert_gating_func"},
      {"deepseek2.nextn_predict_layers", 5, FG_INVALID, "5 layers"},
      {"deepseek2.attention.key_length_mla", 16, FG_INVALID, "keys of 16"},
      {"deepseek2.attention.value_length_mla", 0, FG_INVALID, "0 values"},
      {"deepseek2.expert_group_count", 3, FG_INVALID, "3 groups"},
      {"deepseek2.attention.temperature_scale", 1, FG_UNSUPPORTED, "temperature_scale"}, // Mistral Large 3
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    fg_config c;
    fg_error err = {FG_OK, ""};
    header h = gguf();
    put_u32(&h, cases[i].key, cases[i].value);
    if (strcmp(cases[i].key, "deepseek2.attention.value_length_mla") == 0)
      put_u32(&h, "deepseek2.attention.key_length_mla", 40);
    fg_status status = load_gguf(&h, &c, &err);
    if (status != cases[i].status || !strstr(err.message, cases[i].named))
      fail_msg("%s: status %d, %s", cases[i].key, (int)status, err.message);
  }
}

// ---- graphs --------------------------------------------------------------------------------------------

static uint32_t slot_of(const fg_program *program, const char *name) {
  for (uint32_t i = 0; i < program->slot_count; i++)
    if (strcmp(program->slots[i].name, name) == 0) return i;
  fail_msg("no slot %s", name);
  return 0;
}

static fg_node *node_of(fg_program *program, const char *name) {
  const uint32_t slot = slot_of(program, name);
  for (uint32_t i = 0; i < program->node_count; i++)
    if (program->nodes[i].b.kind == FG_OPERAND_SLOT && program->nodes[i].b.index == slot)
      return &program->nodes[i];
  fail_msg("no node with %s", name);
  return NULL;
}

// Lines of kv_b_proj: 128 of a head's key, then 128 of its value.
static void test_keys_and_values_are_made_by_slices_of_one_tensor(void **state) {
  (void)state;
  fg_graph *g = build("{" V3 "}");
  const fg_program *p = &g->programs[0];
  const fg_slot *key = &p->slots[slot_of(p, "key_up")], *value = &p->slots[slot_of(p, "value_up")];
  uint64_t rows, columns;
  assert_string_equal(key->sources[0].tensor, "layers.%u.self_attn.kv_b_proj.weight");
  assert_int_equal(key->segments, 128);
  fg_source_shape(key, &key->sources[0], &rows, &columns);
  assert_true(rows == 128 * 256 && columns == 512);
  fg_source_shape(value, &value->sources[0], &rows, &columns);
  assert_true(rows == 128 * 256 && columns == 512);
  assert_int_equal(fg_source_turned_base(&key->sources[0], 3 * 512 + 17), 3 * 256);
  assert_int_equal(fg_source_row(&key->sources[0], 3 * 512 + 17), 17);
  assert_int_equal(fg_source_row(&value->sources[0], 3 * 128 + 17), 3 * 256 + 128 + 17);
  fg_graph_destroy(g);
}

static void break_in_step(fg_program *p) {
  node_of(p, "value_up")->in_step = 4096;
}
static void break_out_step(fg_program *p) {
  node_of(p, "key_up")->out_step = 511; // heads would overlap
}
static void break_out(fg_program *p) {
  node_of(p, "q_rope")->out.column++; // the key is in the way, and then the end
  node_of(p, "q_rope")->out_step += 5;
}
static void break_segments(fg_program *p) {
  p->slots[slot_of(p, "key_up")].segments = 127;
}
static void break_store(fg_program *p) {
  for (uint32_t i = 0; i < p->node_count; i++)
    if (p->nodes[i].op == FG_OP_KV_STORE) p->nodes[i].b = p->nodes[i].a; // values have no place of their own
}
static void break_rope(fg_program *p) {
  for (uint32_t i = 0; i < p->node_count; i++)
    if (p->nodes[i].op == FG_OP_ROPE) p->nodes[i].params.rope.heads = 0;
}

static void test_check_finds_segments_that_do_not_fit(void **state) {
  (void)state;
  static void (*const breaks[])(fg_program *) = {break_in_step,  break_out_step, break_out,
                                                 break_segments, break_store,    break_rope};
  for (size_t i = 0; i < sizeof breaks / sizeof *breaks; i++) {
    fg_graph *g = build("{" V3 "}");
    fg_error err = {FG_OK, ""};
    breaks[i](&g->programs[0]);
    if (fg_graph_check(g, &err) != FG_INTERNAL) fail_msg("break %zu was not found", i);
    fg_graph_destroy(g);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sizes_are_the_published_ones),
      cmocka_unit_test(test_cache_holds_576_values_a_token),
      cmocka_unit_test(test_scores_are_scaled_by_both_parts_of_a_key_and_yarn),
      cmocka_unit_test(test_routes_are_those_of_the_version),
      cmocka_unit_test(test_first_layers_are_dense),
      cmocka_unit_test(test_query_rank_that_is_null_is_none),
      cmocka_unit_test(test_what_is_not_built_is_refused_by_name),
      cmocka_unit_test(test_gguf_says_heads_in_two_ways),
      cmocka_unit_test(test_gguf_layers_that_predict_more_are_not_run),
      cmocka_unit_test(test_gguf_says_which_version_it_is_by_its_scores),
      cmocka_unit_test(test_gguf_with_corrections_has_sigmoids),
      cmocka_unit_test(test_gguf_that_makes_no_sense_is_refused_by_name),
      cmocka_unit_test(test_keys_and_values_are_made_by_slices_of_one_tensor),
      cmocka_unit_test(test_check_finds_segments_that_do_not_fit),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
