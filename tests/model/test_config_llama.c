// Configurations of the families that descend from Llama: what missing keys and nulls mean, old and new
// forms, which layers are local and how they are turned, what is refused and by which name.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "json_config.h"
#include "model/arch.h"

#define SIZES(layers)                                                                                        \
  "\"hidden_size\":64,\"num_hidden_layers\":" #layers                                                        \
  ",\"num_attention_heads\":8,\"num_key_value_heads\":2,\"intermediate_size\":96,\"vocab_size\":100"
#define MODEL(type, layers) "{\"model_type\":\"" type "\"," SIZES(layers)
#define MIXED               "\"layer_types\":[\"full_attention\",\"sliding_attention\",\"full_attention\"]"

static const fg_layer_kind *kind_of(const fg_config *c, uint32_t layer) {
  return &c->kinds[c->kind_of_layer[layer]];
}

// The windows of a configuration's layers are `expected`, the last one's repeated.
static void assert_windows(const char *json, const uint32_t *expected, uint32_t count) {
  fg_config c = load(json);
  for (uint32_t i = 0; i < c.layers; i++) {
    uint32_t want = expected[i < count ? i : count - 1];
    if (kind_of(&c, i)->window != want)
      fail_msg("%s: layer %u sees %u keys, not %u", json, i, kind_of(&c, i)->window, want);
  }
}

#define WINDOWS(json, ...)                                                                                   \
  assert_windows(json, (const uint32_t[]){__VA_ARGS__},                                                      \
                 sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

static void test_a_missing_window_is_the_family_s_and_null_is_none(void **state) {
  (void)state;
  WINDOWS(MODEL("mistral", 2) "}", 4096);
  WINDOWS(MODEL("mistral", 2) ",\"sliding_window\":null}", 0);
  WINDOWS(MODEL("mistral", 2) ",\"sliding_window\":24}", 24);
  WINDOWS(MODEL("phi3", 2) "}", 0);
  WINDOWS(MODEL("phi3", 2) ",\"sliding_window\":24}", 24);
  WINDOWS(MODEL("gemma2", 3) "}", 4096, 0, 4096);
  WINDOWS(MODEL("ministral", 3) ",\"sliding_window\":null}", 0);
  WINDOWS(MODEL("olmo3", 5) "}", 4096, 4096, 4096, 0, 4096);
  WINDOWS(MODEL("exaone4", 5) "}", 4096, 4096, 4096, 0, 4096);
  WINDOWS(MODEL("exaone4", 5) ",\"sliding_window\":null,\"sliding_window_pattern\":\"LLLG\"}", 0);
}

static void test_layer_types_win_over_what_a_family_does_without_them(void **state) {
  (void)state;
  WINDOWS(MODEL("ministral", 3) ",\"sliding_window\":24}", 24);
  WINDOWS(MODEL("ministral", 3) ",\"sliding_window\":24," MIXED "}", 0, 24, 0);
  WINDOWS(MODEL("gemma2", 3) ",\"sliding_window\":24," MIXED "}", 0, 24, 0);
  WINDOWS(MODEL("gemma3_text", 3) ",\"sliding_window\":24," MIXED "}", 0, 24, 0);
  WINDOWS(MODEL("cohere2", 3) ",\"sliding_window\":24," MIXED "}", 0, 24, 0);
  WINDOWS(MODEL("qwen2", 3) ",\"use_sliding_window\":true,\"sliding_window\":24," MIXED "}", 0, 24, 0);
  WINDOWS(MODEL("olmo3", 3) ",\"sliding_window\":24," MIXED "}", 0, 24, 0);
  // As LGAI-EXAONE/EXAONE-4.0-32B has it.
  WINDOWS(MODEL("exaone4", 3) ",\"sliding_window\":24,\"sliding_window_pattern\":\"LLLG\"," MIXED "}", 0, 24,
          0);
}

static void test_qwen_has_windows_only_if_it_says_so_and_from_a_layer_on(void **state) {
  (void)state;
  WINDOWS(MODEL("qwen2", 3) ",\"sliding_window\":24,\"max_window_layers\":1}", 0);
  WINDOWS(MODEL("qwen3", 3) ",\"sliding_window\":24,\"max_window_layers\":1,\"use_sliding_window\":true}", 0,
          24, 24);
  WINDOWS(MODEL("qwen2", 3) ",\"sliding_window\":24,\"use_sliding_window\":true}", 0); // from layer 28 on
}

static void test_every_nth_layer_is_global(void **state) {
  (void)state;
  WINDOWS(MODEL("gemma3_text", 7) ",\"sliding_window\":24}", 24, 24, 24, 24, 24, 0, 24);
  WINDOWS(MODEL("gemma3_text", 4) ",\"sliding_window\":24,\"sliding_window_pattern\":2}", 24, 0, 24, 0);
  WINDOWS(MODEL("cohere2", 5) ",\"sliding_window\":24}", 24, 24, 24, 0, 24);
  WINDOWS(MODEL("exaone4", 3) ",\"sliding_window\":24,\"sliding_window_pattern\":2}", 24, 0, 24);
}

static void test_soft_caps_of_gemma2_are_usual_where_missing_and_none_where_null(void **state) {
  (void)state;
  fg_config usual = load(MODEL("gemma2", 2) "}");
  assert_true(usual.score_softcap == 50 && usual.logit_softcap == 30);
  assert_true(usual.score_scale == 1.0 / 16 && usual.embed_scale == 8 && usual.head_dim == 256);
  fg_config none =
      load(MODEL("gemma2", 2) ",\"attn_logit_softcapping\":null,\"final_logit_softcapping\":null,"
                              "\"query_pre_attn_scalar\":64}");
  assert_true(none.score_softcap == 0 && none.logit_softcap == 0 && none.score_scale == 1.0 / 8);
}

static void test_gemma3_caps_logits_but_not_scores(void **state) {
  (void)state;
  fg_config c =
      load(MODEL("gemma3_text", 2) ",\"attn_logit_softcapping\":50.0,\"final_logit_softcapping\":30.0}");
  assert_true(c.score_softcap == 0 && c.logit_softcap == 30);
}

static void test_gelu_of_gemma_is_the_tanh_form_and_others_stay(void **state) {
  (void)state;
  assert_int_equal(load(MODEL("gemma", 2) ",\"hidden_act\":\"gelu\"}").activation, FG_ACT_GELU_TANH);
  assert_int_equal(load(MODEL("gemma", 2) ",\"hidden_act\":\"silu\"}").activation, FG_ACT_SILU);
}

static void assert_gemma3_ropes(const char *json) {
  fg_config c = load(json);
  assert_true(c.rope[0].theta == 500000 && c.rope[0].scaling == FG_ROPE_LINEAR && c.rope[0].factor == 8);
  assert_true(c.rope[1].theta == 700 && c.rope[1].scaling == FG_ROPE_DEFAULT);
  assert_int_equal(kind_of(&c, 0)->rope, FG_LAYER_ROPE_LOCAL);
  assert_int_equal(kind_of(&c, 1)->rope, FG_LAYER_ROPE);
}

static void test_local_layers_of_gemma3_have_a_base_of_their_own_in_both_forms(void **state) {
  (void)state;
  assert_gemma3_ropes(MODEL("gemma3_text", 2) ",\"sliding_window_pattern\":2,\"rope_theta\":500000,"
                                              "\"rope_local_base_freq\":700,"
                                              "\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":8}}");
  assert_gemma3_ropes(MODEL(
      "gemma3_text", 2) ",\"layer_types\":[\"sliding_attention\",\"full_attention\"],\"rope_parameters\":"
                        "{\"full_attention\":{\"rope_type\":\"linear\",\"factor\":8,\"rope_theta\":500000},"
                        "\"sliding_attention\":{\"rope_type\":\"default\",\"rope_theta\":700}}}");
  fg_config c = load(MODEL("gemma3_text", 2) "}");
  assert_true(c.rope[0].theta == 1000000 && c.rope[1].theta == 10000);
}

// In the older form the scaling is that of layers without a window alone.
static void test_olmo3_scales_layers_without_a_window_in_both_forms(void **state) {
  (void)state;
  static const char *const forms[] = {
      MODEL("olmo3", 4) ",\"rope_theta\":7000,\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":8}}",
      MODEL("olmo3", 4) ",\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"linear\",\"factor\":8,"
                        "\"rope_theta\":7000},\"sliding_attention\":{\"rope_type\":\"default\","
                        "\"rope_theta\":7000}}}"};
  for (size_t i = 0; i < 2; i++) {
    fg_config c = load(forms[i]);
    assert_true(c.rope[0].scaling == FG_ROPE_LINEAR && c.rope[0].factor == 8 && c.rope[0].theta == 7000);
    assert_true(c.rope[1].scaling == FG_ROPE_DEFAULT && c.rope[1].theta == 7000);
    assert_true(kind_of(&c, 0)->rope == FG_LAYER_ROPE_LOCAL && kind_of(&c, 3)->rope == FG_LAYER_ROPE);
  }
  fg_config c = load(MODEL("olmo3", 4) "}");
  assert_true(c.rope[0].theta == 500000 && c.rope[1].theta == 500000);
}

// As in google/gemma-3-4b-it's first config.json.
static void test_text_of_a_model_that_sees_leaves_out_what_is_usual(void **state) {
  (void)state;
  fg_config c =
      load("{\"model_type\":\"gemma3\",\"text_config\":{\"hidden_size\":2560,\"intermediate_size\":10240,"
           "\"model_type\":\"gemma3_text\",\"num_hidden_layers\":34,\"rope_scaling\":{\"factor\":8.0,"
           "\"rope_type\":\"linear\"},\"sliding_window\":1024},\"vision_config\":{\"hidden_size\":1152}}");
  assert_string_equal(c.arch->name, "gemma3_text");
  assert_true(c.hidden == 2560 && c.layers == 34 && c.heads == 8 && c.kv_heads == 4 && c.head_dim == 256);
  assert_true(c.vocab == 262208 && c.max_positions == 131072 && c.tied && c.rope[0].factor == 8);
}

static void test_layers_that_are_not_turned(void **state) {
  (void)state;
  fg_config c = load(MODEL("cohere2", 4) "}");
  assert_true(kind_of(&c, 0)->rope == FG_LAYER_ROPE && kind_of(&c, 3)->rope == FG_LAYER_NO_ROPE);
  c = load(MODEL("exaone4", 4) "}");
  assert_true(kind_of(&c, 0)->rope == FG_LAYER_ROPE && kind_of(&c, 3)->rope == FG_LAYER_NO_ROPE);
  c = load(MODEL("exaone4", 4) ",\"sliding_window\":null}");
  assert_int_equal(kind_of(&c, 3)->rope, FG_LAYER_ROPE);
  c = load(MODEL("smollm3", 4) ",\"no_rope_layer_interval\":2}");
  assert_true(kind_of(&c, 0)->rope == FG_LAYER_ROPE && kind_of(&c, 1)->rope == FG_LAYER_NO_ROPE);
  c = load(
      MODEL("smollm3", 3) ",\"no_rope_layers\":[0,1,1],\"use_sliding_window\":true,\"sliding_window\":24}");
  assert_true(kind_of(&c, 0)->rope == FG_LAYER_NO_ROPE && kind_of(&c, 0)->window == 24);
  assert_true(kind_of(&c, 1)->rope == FG_LAYER_ROPE && kind_of(&c, 1)->window == 0);
}

static void test_numbers_of_single_families(void **state) {
  (void)state;
  fg_config c = load(MODEL("olmo", 2) ",\"clip_qkv\":null,\"layer_norm_eps\":0.5}");
  assert_true(!c.norm_affine && c.clip_qkv == 0 && c.norm_eps == 1e-5); // the reference does not read the key
  assert_true(load(MODEL("olmo", 2) ",\"clip_qkv\":8.0}").clip_qkv == 8);
  c = load(MODEL("granite", 2) ",\"logits_scaling\":16.0,\"embedding_multiplier\":12.0,"
                               "\"attention_multiplier\":0.0078125,\"residual_multiplier\":0.22}");
  assert_true(c.logit_scale == 1.0 / 16 && c.embed_scale == 12 && c.score_scale == 0.0078125);
  assert_true(c.residual_scale == 0.22 && load(MODEL("granite", 2) "}").score_scale == 1);
  c = load(MODEL("phi", 2) "}");
  assert_true(c.rotary == 4 && c.head_bias && c.qkv_bias && c.qk_norm == FG_QK_NORM_NONE);
  assert_int_equal(load(MODEL("phi", 2) ",\"rope_parameters\":{\"partial_rotary_factor\":0.25}}").rotary, 2);
  c = load(MODEL("cohere", 2) "}");
  assert_true(c.logit_scale == 0.0625 && c.rope[0].theta == 500000 && c.rope_interleaved && !c.norm_bias);
  assert_int_equal(load(MODEL("cohere", 2) ",\"use_qk_norm\":true}").qk_norm, FG_QK_NORM_APART);
  assert_true(load(MODEL("qwen2", 2) "}").qkv_bias && !load(MODEL("qwen2", 2) "}").out_bias);
  assert_int_equal(load(MODEL("qwen3", 2) "}").head_dim, 128);
  c = load(MODEL("seed_oss", 2) "}");
  assert_true(c.qkv_bias && !c.out_bias && !c.mlp_bias && c.head_dim == 128);
  c = load(MODEL("helium", 2) ",\"attention_bias\":true}");
  assert_true(c.qkv_bias && !c.out_bias && c.rope_interleaved && c.rope[0].theta == 100000);
  c = load(MODEL("ernie4_5", 2) ",\"use_bias\":true}");
  assert_true(c.qkv_bias && c.out_bias && c.mlp_bias && c.tied && c.rope_interleaved);
  c = load(MODEL("nemotron", 2) "}");
  assert_true(c.rotary == 4 && c.norm_bias && c.activation == FG_ACT_RELU_SQUARED);
  assert_int_equal(load(MODEL("nemotron", 2) ",\"rope_parameters\":{\"partial_rotary_factor\":0.25}}").rotary,
                   2);
  assert_int_equal(load(MODEL("arcee", 2) ",\"hidden_act\":\"silu\"}").activation, FG_ACT_SILU);
  assert_int_equal(load(MODEL("internlm2", 2) ",\"bias\":false}").qkv_groups, 2);
}

static const struct {
  const char *json;
  fg_status status;
  const char *named; // must be in the message
} refusals[] = {
    {MODEL("gemma2", 2) ",\"query_pre_attn_scalar\":0}", FG_INVALID, "query_pre_attn_scalar"},
    {MODEL("gemma3_text", 2) ",\"sliding_window_pattern\":0}", FG_INVALID, "sliding_window_pattern"},
    {MODEL("gemma3_text", 2) ",\"rope_local_base_freq\":-1}", FG_INVALID, "rotary base"},
    {MODEL("gemma3_text", 2) ",\"use_bidirectional_attention\":true}", FG_UNSUPPORTED, "bidirectional"},
    {MODEL("gemma", 2) ",\"use_bidirectional_attention\":true}", FG_UNSUPPORTED, "bidirectional"},
    {MODEL("cohere2", 2) ",\"sliding_window_pattern\":0}", FG_INVALID, "sliding_window_pattern"},
    {MODEL("exaone4", 2) ",\"sliding_window_pattern\":0}", FG_INVALID, "sliding_window_pattern"},
    {MODEL("exaone4", 2) ",\"sliding_window_pattern\":\"LLLG\"}", FG_INVALID, "sliding_window_pattern"},
    {MODEL("olmo3", 2) "," MIXED "}", FG_INVALID, "layer_types"},
    {MODEL("olmo3", 2) ",\"rope_parameters\":{\"sliding_attention\":{\"rope_theta\":0}}}", FG_INVALID,
     "rotary base"},
    {MODEL("ministral", 2) "," MIXED "}", FG_INVALID, "layer_types"},
    {MODEL("ministral", 1) ",\"layer_types\":[\"chunked_attention\"]}", FG_UNSUPPORTED, "chunked_attention"},
    {MODEL("mistral", 3) "," MIXED "}", FG_UNSUPPORTED, "layer_types"},
    {MODEL("mistral", 2) ",\"sliding_window\":-5}", FG_INVALID, "sliding_window"},
    {MODEL("smollm3", 2) ",\"no_rope_layers\":[1]}", FG_INVALID, "no_rope_layers"},
    {MODEL("smollm3", 2) ",\"no_rope_layer_interval\":0}", FG_INVALID, "no_rope_layer_interval"},
    {MODEL("granite", 2) ",\"logits_scaling\":0}", FG_INVALID, "logits_scaling"},
    {MODEL("olmo2", 2) ",\"clip_qkv\":8.0}", FG_UNSUPPORTED, "clip_qkv"},
    {MODEL("phi3", 2) ",\"rope_scaling\":{\"type\":\"su\",\"short_factor\":[1,1],\"long_factor\":[1,2,3,4]}}",
     FG_INVALID, "long_factor"},
    {MODEL("phi3", 2) ",\"rope_scaling\":{\"type\":\"su\",\"short_factor\":[1,0],\"long_factor\":[1,2]}}",
     FG_INVALID, "short_factor"},
    {MODEL("phi3",
           2) ",\"rope_scaling\":{\"type\":\"su\",\"short_factor\":[1,1,1,1],\"long_factor\":[1,2,3,4],"
              "\"original_max_position_embeddings\":1e300}}",
     FG_INVALID, "original positions"},
    {MODEL("phi3",
           2) ",\"rope_scaling\":{\"type\":\"su\",\"short_factor\":[1,1,1,1],\"long_factor\":[1,2,3,4],"
              "\"original_max_position_embeddings\":1,\"factor\":4}}",
     FG_INVALID, "magnitude"},
};

static void test_what_makes_no_sense_is_refused_by_name(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
    fg_config config;
    fg_error err = {FG_OK, ""};
    fg_status status = try_load(&config, refusals[i].json, &err);
    if (status != refusals[i].status || !strstr(err.message, refusals[i].named))
      fail_msg("%s: status %d, %s", refusals[i].json, status, err.message);
  }
}

// As a GGUF's rope_factors_long and _short are kept.
static void test_long_and_short_rotary_factors_must_belong_together(void **state) {
  (void)state;
  static const struct {
    const char *facts;
    fg_status status;
  } cases[] = {{"{\"rope_long\":[1,2,3,4],\"rope_short\":[1,1,1,1]}", FG_OK},
               {"{\"rope_long\":[1,2,3,4],\"rope_short\":[1,1,1]}", FG_INVALID},
               {"{\"rope_long\":[1,2,3,4],\"rope_divisor\":[1,1,1,1]}", FG_INVALID},
               {"{\"rope_long\":[1,2,3],\"rope_short\":[1,1,1]}", FG_INVALID}, // of 8 values
               {"{\"rope_long\":[1,2,3,-4],\"rope_short\":[1,1,1,1]}", FG_CORRUPT}};
  static const char json[] = MODEL("phi3", 2) ",\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":1,"
                                              "\"original_max_position_embeddings\":48}}";
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    fg_assets assets = {0};
    fg_config c;
    fg_error err = {FG_OK, ""};
    assert_int_equal(fg_assets_add(&assets, "config.json", json, strlen(json), &err), FG_OK);
    assert_int_equal(fg_assets_add(&assets, FG_ASSET_FACTS, cases[i].facts, strlen(cases[i].facts), &err),
                     FG_OK);
    fg_status status = fg_config_load(&c, &assets, &err);
    fg_assets_free(&assets);
    if (status != cases[i].status) fail_msg("%s: status %d, %s", cases[i].facts, status, err.message);
    if (status) continue;
    float inv[4];
    assert_int_equal(c.rope[0].scaling, FG_ROPE_LONG);
    fg_rope_frequencies(&c.rope[0], 8, true, inv);
    assert_true(fabsf(inv[1] - 0.1f / 2) < 1e-8f);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_missing_window_is_the_family_s_and_null_is_none),
      cmocka_unit_test(test_layer_types_win_over_what_a_family_does_without_them),
      cmocka_unit_test(test_qwen_has_windows_only_if_it_says_so_and_from_a_layer_on),
      cmocka_unit_test(test_every_nth_layer_is_global),
      cmocka_unit_test(test_soft_caps_of_gemma2_are_usual_where_missing_and_none_where_null),
      cmocka_unit_test(test_gemma3_caps_logits_but_not_scores),
      cmocka_unit_test(test_gelu_of_gemma_is_the_tanh_form_and_others_stay),
      cmocka_unit_test(test_local_layers_of_gemma3_have_a_base_of_their_own_in_both_forms),
      cmocka_unit_test(test_olmo3_scales_layers_without_a_window_in_both_forms),
      cmocka_unit_test(test_text_of_a_model_that_sees_leaves_out_what_is_usual),
      cmocka_unit_test(test_layers_that_are_not_turned),
      cmocka_unit_test(test_numbers_of_single_families),
      cmocka_unit_test(test_what_makes_no_sense_is_refused_by_name),
      cmocka_unit_test(test_long_and_short_rotary_factors_must_belong_together),
  };
  return cmocka_run_group_tests_name("config_llama", tests, NULL, NULL);
}
